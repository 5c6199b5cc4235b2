// SPDX-License-Identifier: Apache-2.0
// Rows of random numbers, dropout and the default generator.
#include "ops/random.h"

#include "ops/pointwise.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

// ---- what the functions that make tensors share ----

#define GS_NEW_TENSOR                                                                             \
  "Generator? generator=None, Tensor? out=None, dtype? dtype=None, layout? layout=None, device? " \
  "device=None, "                                                                                 \
  "bool requires_grad=False, bool pin_memory=False)"
#define GS_NEW_LIKE                                                                          \
  "Generator? generator=None, dtype? dtype=None, layout? layout=None, device? device=None, " \
  "bool requires_grad=False, bool pin_memory=False, memory_format? memory_format=None)"

PyObject* finished(const Tensor& made, bool requires_grad, bool pin) {
  const Tensor t = pin ? pinned(made) : made;
  if (requires_grad) {
    GS_CHECK(is_floating(t.dtype()),
             "Only Tensors of floating point and complex dtype can require gradients");
    t->requires_grad = true;
  }
  return wrap(t);
}

/// The keyword arguments of GS_NEW_TENSOR, `generator` being argument `first`.
Options new_options(const Args& a, int first, DType fallback) {
  if (!a.has(first + 1)) {
    return {a.opt_dtype(first + 2).value_or(fallback), usable_device(a.opt_device(first + 4))};
  }
  const Tensor out = a.tensor(first + 1);
  const DType wanted = a.opt_dtype(first + 2).value_or(out.dtype());
  GS_CHECK(wanted == out.dtype(), "dtype {} does not match dtype of out parameter ({})",
           scalar_name(wanted), scalar_name(out.dtype()));
  return options_of(out);
}

PyObject* finish_new(const Args& a, int first, const Tensor& made) {
  if (a.has(first + 1)) return wrap(write_out(a.tensor(first + 1), made));
  return finished(made, a.flag(first + 5), a.flag(first + 6));
}

/// The keyword arguments of GS_NEW_LIKE, `generator` being argument `first`.
Tensor new_like(const Args& a, int first) {
  const Tensor x = a.tensor(0);
  const DType dtype = a.opt_dtype(first + 1).value_or(x.dtype());
  const Device device = a.has(first + 3) ? usable_device(a.opt_device(first + 3)) : x.device();
  return device == x.device() ? map_output_like(x, dtype) : empty(x.sizes(), dtype, device);
}

PyObject* finish_like(const Args& a, int first, const Tensor& made) {
  return finished(made, a.flag(first + 4), a.flag(first + 5));
}

Generator& gen(const Args& a, int i) { return *a.generator(i); }

// ---- the default generator ----

PyObject* call_default_generator(const char* method, PyObject* argument) {
  PyObject* module = PyImport_ImportModule("gradstep._C");
  PyObject* object = module ? PyObject_GetAttrString(module, "default_generator") : nullptr;
  Py_XDECREF(module);
  if (!object) return nullptr;
  PyObject* name = PyUnicode_FromString(method);
  PyObject* result = name ? PyObject_CallMethodObjArgs(object, name, argument, nullptr) : nullptr;
  Py_XDECREF(name);
  Py_DECREF(object);
  return result;
}

/// All of them, whether CUDA is there or not: they need no device to be seeded.
void seed_gpus(uint64_t seed) {
  for (int i = 0; i < kMostGpus; ++i) {
    default_generator({DeviceType::CUDA, static_cast<int8_t>(i)}).manual_seed(seed);
  }
}

/// Any int of 64 bits, signed or not, or what int() makes one of.
PyObject* manual_seed_row(Args& a) {
  PyObject* seed = PyNumber_Long(a.object(0));
  if (!seed) return nullptr;
  int overflow = 0;
  if (PyLong_AsLongLongAndOverflow(seed, &overflow) == -1 && overflow > 0) {
    const unsigned long long bits = PyLong_AsUnsignedLongLong(seed);
    Py_DECREF(seed);
    if (PyErr_Occurred()) {
      PyErr_Clear();
      overflow = -1;
    } else {
      seed = PyLong_FromLongLong(static_cast<long long>(bits));
    }
  } else if (overflow < 0) {
    Py_DECREF(seed);
  }
  GS_CHECK_VALUE(overflow >= 0, "Overflow when unpacking long long");
  if (seed) seed_gpus(static_cast<uint64_t>(PyLong_AsLongLong(seed)));
  PyObject* result = seed ? call_default_generator("manual_seed", seed) : nullptr;
  Py_XDECREF(seed);
  return result;
}

// ---- rows ----

const FunctionRow kRows[] = {
    {"rand", "(IntList* size, *, " GS_NEW_TENSOR, Fn, "Uniform numbers in [0, 1).",
     [](Args& a) {
       return finish_new(a, 1, rand(a.dims(0), gen(a, 1), new_options(a, 1, default_dtype())));
     }},
    {"randn", "(IntList* size, *, " GS_NEW_TENSOR, Fn,
     "Normal numbers with mean 0 and standard deviation 1.",
     [](Args& a) {
       return finish_new(a, 1, randn(a.dims(0), gen(a, 1), new_options(a, 1, default_dtype())));
     }},
    {"randint", "(int high, IntList size, *, " GS_NEW_TENSOR, Fn, "Integers from 0 to high - 1.",
     [](Args& a) {
       return finish_new(a, 2,
                         randint(0, a.i(0), a.dims(1), gen(a, 2), new_options(a, 2, DType::Int64)));
     }},
    {"randint", "(int low, int high, IntList size, *, " GS_NEW_TENSOR, Fn,
     "Integers from low to high - 1.",
     [](Args& a) {
       return finish_new(
           a, 3, randint(a.i(0), a.i(1), a.dims(2), gen(a, 3), new_options(a, 3, DType::Int64)));
     }},
    {"randperm", "(int n, *, " GS_NEW_TENSOR, Fn, "A permutation of 0 .. n - 1.",
     [](Args& a) {
       return finish_new(a, 1, randperm(a.i(0), gen(a, 1), new_options(a, 1, DType::Int64)));
     }},
    {"rand_like", "(Tensor input, *, " GS_NEW_LIKE, Fn, "Uniform numbers in the shape of input.",
     [](Args& a) { return finish_like(a, 1, uniform_(new_like(a, 1), 0, 1, gen(a, 1))); }},
    {"randn_like", "(Tensor input, *, " GS_NEW_LIKE, Fn, "Normal numbers in the shape of input.",
     [](Args& a) { return finish_like(a, 1, normal_(new_like(a, 1), 0, 1, gen(a, 1))); }},
    {"randint_like", "(Tensor input, int high, *, " GS_NEW_LIKE, Fn, "Integers from 0 to high - 1.",
     [](Args& a) { return finish_like(a, 2, random_(new_like(a, 2), 0, a.i(1), gen(a, 2))); }},
    {"randint_like", "(Tensor input, int low, int high, *, " GS_NEW_LIKE, Fn,
     "Integers from low to high - 1.",
     [](Args& a) { return finish_like(a, 3, random_(new_like(a, 3), a.i(1), a.i(2), gen(a, 3))); }},

    {"normal", "(float mean, float std, IntList size, *, " GS_NEW_TENSOR, Fn, "Normal numbers.",
     [](Args& a) {
       return finish_new(a, 3,
                         normal_(empty(a.dims(2), new_options(a, 3, default_dtype())), a.f(0),
                                 a.f(1), gen(a, 3)));
     }},
    {"normal", "(Tensor mean, Tensor std, *, Generator? generator=None, Tensor? out=None)", Fn,
     "Normal numbers, with a mean and a deviation for each element.",
     [](Args& a) { return wrap_out(a, 3, normal(a.tensor(0), a.tensor(1), gen(a, 2))); }},
    {"normal", "(Tensor mean, float std=1, *, Generator? generator=None, Tensor? out=None)", Fn, "",
     [](Args& a) { return wrap_out(a, 3, normal(a.tensor(0), a.f(1), gen(a, 2))); }},
    {"normal", "(float mean, Tensor std, *, Generator? generator=None, Tensor? out=None)", Fn, "",
     [](Args& a) { return wrap_out(a, 3, normal(a.f(0), a.tensor(1), gen(a, 2))); }},

    {"bernoulli", "(Tensor input, *, Generator? generator=None, Tensor? out=None)", Fn | Method,
     "1 with the probability that the element says, else 0.",
     [](Args& a) { return wrap_out(a, 2, bernoulli(a.tensor(0), gen(a, 1))); }},
    {"bernoulli", "(Tensor input, float p, *, Generator? generator=None)", Fn | Method,
     "1 with probability p, else 0.",
     [](Args& a) { return wrap(bernoulli(a.tensor(0), a.f(1), gen(a, 2))); }},
    {"multinomial",
     "(Tensor input, int num_samples, bool replacement=False, *, Generator? generator=None, "
     "Tensor? out=None)",
     Fn | Method, "Indices drawn in proportion to the weights of each row.",
     [](Args& a) {
       GS_CHECK(!a.has(4) || a.tensor(4).dtype() == DType::Int64,
                "multinomial expects Long tensor out, got: {}", scalar_name(a.tensor(4).dtype()));
       return wrap_out(a, 4, multinomial(a.tensor(0), a.i(1), a.flag(2), gen(a, 3)));
     }},
    {"poisson", "(Tensor input, Generator? generator=None)", Fn,
     "Poisson counts with the rates of input.",
     [](Args& a) { return wrap(poisson(a.tensor(0), gen(a, 1))); }},
    {"binomial", "(Tensor count, Tensor prob, Generator? generator=None)", Fn,
     "How many of count trials succeed with probability prob each.",
     [](Args& a) { return wrap(binomial(a.tensor(0), a.tensor(1), gen(a, 2))); }},
    {"_standard_gamma", "(Tensor input, Generator? generator=None)", Fn,
     "Gamma numbers of the shapes in input and rate 1, differentiable in the shapes.",
     [](Args& a) { return wrap(standard_gamma(a.tensor(0), gen(a, 1))); }},
    {"_standard_gamma_grad", "(Tensor input, Tensor output)", Fn,
     "The derivative of gamma numbers by their shapes at a fixed quantile.",
     [](Args& a) { return wrap(standard_gamma_grad(a.tensor(0), a.tensor(1))); }},

    {"uniform_", "(Tensor input, float from=0, float to=1, *, Generator? generator=None)", Method,
     "Fills with uniform numbers in [from, to).",
     [](Args& a) { return wrap(uniform_(a.tensor(0), a.f(1), a.f(2), gen(a, 3))); }},
    {"normal_", "(Tensor input, float mean=0, float std=1, *, Generator? generator=None)", Method,
     "Fills with normal numbers.",
     [](Args& a) { return wrap(normal_(a.tensor(0), a.f(1), a.f(2), gen(a, 3))); }},
    {"log_normal_", "(Tensor input, float mean=1, float std=2, *, Generator? generator=None)",
     Method, "Fills with exp of normal numbers.",
     [](Args& a) { return wrap(log_normal_(a.tensor(0), a.f(1), a.f(2), gen(a, 3))); }},
    {"cauchy_", "(Tensor input, float median=0, float sigma=1, *, Generator? generator=None)",
     Method, "Fills with numbers of the Cauchy distribution.",
     [](Args& a) { return wrap(cauchy_(a.tensor(0), a.f(1), a.f(2), gen(a, 3))); }},
    {"exponential_", "(Tensor input, float lambd=1, *, Generator? generator=None)", Method,
     "Fills with numbers of the exponential distribution with rate lambd.",
     [](Args& a) { return wrap(exponential_(a.tensor(0), a.f(1), gen(a, 2))); }},
    {"geometric_", "(Tensor input, float p, *, Generator? generator=None)", Method,
     "Fills with numbers of trials up to the first success.",
     [](Args& a) { return wrap(geometric_(a.tensor(0), a.f(1), gen(a, 2))); }},
    {"random_", "(Tensor input, *, Generator? generator=None)", Method,
     "Fills with integers of the type's range.",
     [](Args& a) { return wrap(random_(a.tensor(0), gen(a, 1))); }},
    {"random_", "(Tensor input, int to, *, Generator? generator=None)", Method,
     "Fills with integers below to.",
     [](Args& a) { return wrap(random_(a.tensor(0), 0, a.i(1), gen(a, 2))); }},
    {"random_", "(Tensor input, int from, int? to, *, Generator? generator=None)", Method,
     "Fills with integers from `from` to `to` - 1.",
     [](Args& a) { return wrap(random_(a.tensor(0), a.i(1), a.opt_int(2), gen(a, 3))); }},
    {"bernoulli_", "(Tensor input, Tensor p, *, Generator? generator=None)", Method,
     "Fills with 1 with the probabilities of p, else 0.",
     [](Args& a) { return wrap(bernoulli_(a.tensor(0), a.tensor(1), gen(a, 2))); }},
    {"bernoulli_", "(Tensor input, float p=0.5, *, Generator? generator=None)", Method,
     "Fills with 1 with probability p, else 0.",
     [](Args& a) { return wrap(bernoulli_(a.tensor(0), a.f(1), gen(a, 2))); }},

    {"_cuda_generator", "(int index)", Fn, "The default generator of a GPU.",
     [](Args& a) {
       return wrap_default_generator({DeviceType::CUDA, static_cast<int8_t>(a.i(0))});
     }},
    {"manual_seed", "(object seed)", Fn, "Seeds the default generator; returns it.",
     &manual_seed_row},
    {"seed", "()", Fn, "Seeds the default generator from the system's entropy; returns the seed.",
     [](Args&) {
       PyObject* seed = call_default_generator("seed", nullptr);
       if (seed) seed_gpus(PyLong_AsUnsignedLongLong(seed));
       return seed;
     }},
    {"initial_seed", "()", Fn, "The seed of the default generator.",
     [](Args&) { return call_default_generator("initial_seed", nullptr); }},
    {"get_rng_state", "()", Fn,
     "The state of the default generator, a uint8 tensor in PyTorch's layout.",
     [](Args&) { return call_default_generator("get_state", nullptr); }},
    {"set_rng_state", "(Tensor new_state)", Fn, "Sets the state of the default generator.",
     [](Args& a) { return call_default_generator("set_state", a.object(0)); }},
};

using Dropout = Tensor (*)(const Tensor&, double, bool, bool, Generator&);

// torch.nn.functional raises a ValueError, torch.dropout(x, p, train=..) a RuntimeError.
template <Dropout drop>
PyObject* drop_row(Args& a) {
  const double p = a.f(1);
  GS_CHECK_VALUE(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got {}", p);
  return wrap(drop(a.tensor(0), p, a.flag(2), a.flag(3), default_generator()));
}
template <Dropout drop>
PyObject* drop_inplace_row(Args& a) {
  return wrap(drop(a.tensor(0), a.f(1), a.flag(2), true, default_generator()));
}

// torch.dropout calls its flag `train`, torch.nn.functional.dropout `training`: both are rows.
#define GS_DROPOUT(function, training, doc)                                                    \
  {#function, "(Tensor input, float p=0.5, bool training=" training ", bool inplace=False)",   \
   Fn | NnFunctional, doc, &drop_row<&function>},                                              \
      {#function, "(Tensor input, float p, bool train)", Fn, "",                               \
       [](Args& a) {                                                                           \
         return wrap(function(a.tensor(0), a.f(1), a.flag(2), false, default_generator()));    \
       }},                                                                                     \
      {#function "_", "(Tensor input, float p=0.5, bool training=" training ")", Fn, doc,      \
       &drop_inplace_row<&function>},                                                          \
  {                                                                                            \
    #function "_", "(Tensor input, float p, bool train)", Fn, "", &drop_inplace_row<&function> \
  }

const FunctionRow kDropoutRows[] = {
    GS_DROPOUT(dropout, "True",
               "Zeros each element with probability p and multiplies the others by 1 / (1 - p)."),
    GS_DROPOUT(feature_dropout, "True", "Dropout of whole channels."),
    GS_DROPOUT(alpha_dropout, "False",
               "Dropout that keeps mean and variance of SELU's outputs (Klambauer et al., 2017)."),
    GS_DROPOUT(feature_alpha_dropout, "False", "alpha_dropout of whole channels."),
};

}  // namespace

void add_random_functions() {
  add_functions(kRows);
  add_functions(kDropoutRows);
}

}  // namespace gradstep::python
