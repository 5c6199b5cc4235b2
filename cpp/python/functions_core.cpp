// SPDX-License-Identifier: Apache-2.0
// Creation, conversion, views and matrix products.
#include <cstring>

#include "core/cuda_api.h"
#include "core/memory.h"
#include "ops/create.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/require.h"
#include "ops/view.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

std::vector<Tensor> split_list(const Tensor& x, PyObject* sizes, int64_t dim);

namespace {

PyObject* self(Args& a) { return Py_NewRef(a.object(0)); }

// ---- creation: what the keyword arguments say ----

/// `first` is the position of dtype in "dtype? dtype=None, layout? layout=None, device?
/// device=None, bool pin_memory=False, bool requires_grad=False".
#define GS_OPTIONS                                                                            \
  "dtype? dtype=None, layout? layout=None, device? device=None, bool pin_memory=False, bool " \
  "requires_grad=False"
#define GS_LIKE GS_OPTIONS ", memory_format? memory_format=None"

Options options(const Args& a, int first, DType fallback) {
  return {a.opt_dtype(first).value_or(fallback), usable_device(a.opt_device(first + 2))};
}
Options options_like(const Args& a, int first, const Tensor& t) {
  return {a.opt_dtype(first).value_or(t.dtype()),
          a.has(first + 2) ? usable_device(a.opt_device(first + 2)) : t.device()};
}
/// A new tensor on another device, without history.
Tensor on_device(const Tensor& t, Device device) {
  const GradMode off(false);
  return to(t, t.dtype(), device);
}
/// For the data at argument 0: the device asked for at `i`, the default one, or that of the data.
Device data_device(const Args& a, int i) {
  if (!a.has(i) && a.is_tensor(0) && default_device() == Device{}) return a.tensor(0).device();
  return usable_device(a.opt_device(i));
}
/// Tensors and arrays of the CPU and of GPUs as they are, else a new tensor.
Tensor shared_data(const Args& a, int i, std::optional<DType> dtype, std::optional<Device> device) {
  PyObject* o = a.object(i);
  if (a.is_tensor(i)) return a.tensor(i);
  if (std::strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray") == 0) return tensor_from_numpy(o);
  if (!PyList_Check(o) && !PyTuple_Check(o)) {
    if (PyObject_HasAttrString(o, "__dlpack__")) return tensor_from_dlpack(o, {}, {});
    if (const Tensor t = tensor_from_cuda_array(o, device)) return t;
  }
  return tensor_from_object(o, dtype);
}
PyObject* created(const Args& a, int first, const Tensor& made) {
  const Tensor t = a.flag(first + 3) ? pinned(made) : made;
  if (a.flag(first + 4)) {
    GS_CHECK(is_floating(t.dtype()),
             "Only Tensors of floating point and complex dtype can require gradients");
    t->requires_grad = true;
  }
  t->inference = modes().inference;
  return wrap(t);
}
/// With out= at `first - 1`.
PyObject* created_out(const Args& a, int first, const Tensor& t) {
  if (a.has(first - 1)) return wrap(write_out(a.tensor(first - 1), t));
  return created(a, first, t);
}

DType number_type(std::initializer_list<Scalar> numbers) {
  for (const Scalar& s : numbers) {
    if (s.is_float()) return default_dtype();
  }
  return DType::Int64;
}

Tensor full_of(const Args& a, const Dims& sizes, const Scalar& v, int first) {
  const DType natural = v.is_float()                     ? default_dtype()
                        : v.category() == Category::Bool ? DType::Bool
                                                         : DType::Int64;
  return full(sizes, v, options(a, first, natural));
}

Tensor arange_of(const Args& a, const Scalar& start, const Scalar& end, const Scalar& step,
                 int first) {
  return arange(start, end, step, options(a, first, number_type({start, end, step})));
}

// ---- conversion ----

Tensor converted(const Tensor& x, std::optional<DType> dtype, std::optional<Device> device,
                 bool copy, bool non_blocking = false) {
  return to(x, dtype.value_or(x.dtype()), device.value_or(x.device()), copy, non_blocking);
}

template <DType kType>
PyObject* as_type(Args& a) {
  return wrap(to(a.tensor(0), kType));
}

// ---- views ----

int64_t clamp_end(const Args& a, int i) {
  return a.has(i) ? a.i(i) : std::numeric_limits<int64_t>::max();
}

PyObject* split_rows(Args& a) {
  const Tensor x = a.tensor(0);
  PyObject* o = a.object(1);
  const std::vector<Tensor> parts =
      PyTuple_Check(o) || PyList_Check(o) ? split_list(x, o, a.i(2)) : split(x, a.i(1), a.i(2));
  return wrap(parts);
}

/// beta * x + alpha * product, with beta and alpha at 3 and 4. As in BLAS, beta = 0 ignores x, NaN
/// included.
Tensor add_product(const Args& a, const Tensor& x, const Tensor& product) {
  // Of integers they are truncated first, of bools they are bools.
  const DType common = promote(x.dtype(), product.dtype());
  const auto factor = [&](int i) -> Scalar {
    const Scalar s = a.scalar(i);
    if (common == DType::Bool) return s.to_bool();
    return is_floating(common) || !s.is_float() ? s : Scalar(s.to_int());
  };
  const Scalar beta = factor(3), alpha = factor(4);
  const Tensor scaled = alpha.to_double() == 1 ? product : mul(product, alpha);
  if (beta.to_double() == 0) return scaled;
  return add(beta.to_double() == 1 ? x : mul(x, beta), scaled);
}

Tensor add_outer(const Args& a, const Tensor& x) {
  const Tensor product = outer(a.tensor(1), a.tensor(2));
  const DType common = promote(x.dtype(), product.dtype());
  for (const auto& [i, name] : {std::pair(3, "beta"), std::pair(4, "alpha")}) {
    const Category kind = a.scalar(i).category();
    GS_CHECK(kind != Category::Float || is_floating(common),
             "For integral input tensors, argument {} must not be a floating point number.", name);
    GS_CHECK(kind != Category::Bool || common == DType::Bool,
             "Boolean {} only supported for Boolean results.", name);
  }
  return add_product(a, x, product);
}

/// In-place forms of views change the tensor's own geometry.
PyObject* take_geometry(Args& a, const Tensor& v) {
  const Tensor x = a.tensor(0);
  TensorImpl* t = x.get();
  t->sizes = v.sizes();
  t->strides = v.strides();
  t->data = v->data;
  t->update_geometry();
  if (v->grad_fn) set_history(x, Ref<Node>(v->grad_fn), v->output_nr);
  bump_version(x);
  return self(a);
}

PyObject* result_type_row(Args& a) { return wrap(result_type({a.operand(0), a.operand(1)})); }

const FunctionRow kRows[] = {
    // ---- creation ----
    {"tensor", "(object data, *, dtype? dtype=None, device? device=None, bool requires_grad=False, bool pin_memory=False)", Fn,
     "A new tensor with a copy of the data: numbers, nested lists, arrays or tensors.",
     [](Args& a) {
       const Device device = data_device(a, 2);
       Tensor t = on_device(tensor_from_object(a.object(0), a.opt_dtype(1)), device);
       if (a.flag(4)) t = pinned(t);
       if (a.flag(3)) {
         GS_CHECK(is_floating(t.dtype()), "Only Tensors of floating point and complex dtype can require gradients");
         t->requires_grad = true;
       }
       t->inference = modes().inference;
       return wrap(t);
     }},
    {"as_tensor", "(object data, dtype? dtype=None, device? device=None)", Fn,
     "The data as a tensor, sharing memory with tensors and numpy arrays where possible.",
     [](Args& a) {
       const Tensor t = shared_data(a, 0, a.opt_dtype(1), a.opt_device(2));
       return wrap(to(t, a.opt_dtype(1).value_or(t.dtype()), data_device(a, 2)));
     }},
    {"asarray", "(object obj, *, dtype? dtype=None, device? device=None, bool? copy=None, bool requires_grad=False)", Fn, "The data as a tensor: shared where possible, copied with copy=True, never copied with copy=False.",
     [](Args& a) {
       const Tensor t = shared_data(a, 0, a.opt_dtype(1), a.opt_device(2));
       const bool stays = t.device().type == DeviceType::CUDA && !a.has(2);
       return wrap(to(t, a.opt_dtype(1).value_or(t.dtype()), stays ? t.device() : data_device(a, 2), a.has(3) && a.flag(3)));
     }},
    {"empty", "(IntList* size, *, Tensor? out=None, " GS_LIKE ")", Fn, "Uninitialised memory.",
     [](Args& a) { return created_out(a, 2, empty(a.dims(0), options(a, 2, default_dtype()))); }},
    {"zeros", "(IntList* size, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "All zeros.",
     [](Args& a) { return created_out(a, 2, zeros(a.dims(0), options(a, 2, default_dtype()))); }},
    {"ones", "(IntList* size, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "All ones.",
     [](Args& a) { return created_out(a, 2, ones(a.dims(0), options(a, 2, default_dtype()))); }},
    {"full", "(IntList size, Number fill_value, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "One value everywhere.",
     [](Args& a) { return created_out(a, 3, full_of(a, a.dims(0), a.scalar(1), 3)); }},
    {"empty_like", "(Tensor input, *, " GS_LIKE ")", Fn, "Uninitialised memory in the shape of input.",
     [](Args& a) { return created(a, 1, empty(a.tensor(0).sizes(), options_like(a, 1, a.tensor(0)))); }},
    {"zeros_like", "(Tensor input, *, " GS_LIKE ")", Fn, "All zeros, in the shape of input.",
     [](Args& a) { return created(a, 1, zeros(a.tensor(0).sizes(), options_like(a, 1, a.tensor(0)))); }},
    {"ones_like", "(Tensor input, *, " GS_LIKE ")", Fn, "All ones, in the shape of input.",
     [](Args& a) { return created(a, 1, ones(a.tensor(0).sizes(), options_like(a, 1, a.tensor(0)))); }},
    {"full_like", "(Tensor input, Number fill_value, *, " GS_LIKE ")", Fn, "One value everywhere, in the shape of input.",
     [](Args& a) { return created(a, 2, full(a.tensor(0).sizes(), a.scalar(1), options_like(a, 2, a.tensor(0)))); }},
    {"new_empty", "(Tensor input, IntList* size, *, " GS_OPTIONS ")", Method, "Uninitialised memory, of the dtype and on the device of self.",
     [](Args& a) { return created(a, 2, empty(a.dims(1), options_like(a, 2, a.tensor(0)))); }},
    {"new_zeros", "(Tensor input, IntList* size, *, " GS_OPTIONS ")", Method, "All zeros, of the dtype and on the device of self.",
     [](Args& a) { return created(a, 2, zeros(a.dims(1), options_like(a, 2, a.tensor(0)))); }},
    {"new_ones", "(Tensor input, IntList* size, *, " GS_OPTIONS ")", Method, "All ones, of the dtype and on the device of self.",
     [](Args& a) { return created(a, 2, ones(a.dims(1), options_like(a, 2, a.tensor(0)))); }},
    {"new_full", "(Tensor input, IntList size, Number fill_value, *, " GS_OPTIONS ")", Method, "One value everywhere, of the dtype and on the device of self.",
     [](Args& a) { return created(a, 3, full(a.dims(1), a.scalar(2), options_like(a, 3, a.tensor(0)))); }},
    {"new_tensor", "(Tensor input, object data, *, dtype? dtype=None, device? device=None, bool requires_grad=False, bool pin_memory=False)", Method, "A copy of the data, of the dtype and on the device of self.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       const Device device = a.has(3) ? usable_device(a.opt_device(3)) : x.device();
       const Tensor t = on_device(tensor_from_object(a.object(1), a.opt_dtype(2).value_or(x.dtype())), device);
       t->requires_grad = a.flag(4);
       return wrap(a.flag(5) ? pinned(t) : t);
     }},
    {"empty_strided", "(IntList size, IntList stride, *, " GS_OPTIONS ")", Fn, "Uninitialised memory with these sizes and strides.",
     [](Args& a) {
       const Options o = options(a, 2, default_dtype());
       return created(a, 2, empty_strided(a.dims(0), a.dims(1), o.dtype, o.device));
     }},
    {"scalar_tensor", "(Number s, *, " GS_OPTIONS ")", Fn, "A number as a 0-d tensor.",
     [](Args& a) { return created(a, 1, scalar_tensor(a.scalar(0), options(a, 1, default_dtype()))); }},
    {"arange", "(Number end, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "0, 1, .. below end.",
     [](Args& a) { return created_out(a, 2, arange_of(a, 0, a.scalar(0), 1, 2)); }},
    {"arange", "(Number start, Number end, Number step=1, *, Tensor? out=None, " GS_OPTIONS ")", Fn,
     "start, start + step, .. below end.",
     [](Args& a) { return created_out(a, 4, arange_of(a, a.scalar(0), a.scalar(1), a.scalar(2), 4)); }},
    {"range", "(Number start, Number end, Number step=1, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "As arange, end included.",
     [](Args& a) {
       const double n = std::floor((a.f(1) - a.f(0)) / a.f(2)) + 1;
       const Scalar end = a.f(0) + (n - 0.5) * a.f(2);
       return created_out(a, 4, arange(a.f(0), end, a.f(2), options(a, 4, default_dtype())));
     }},
    {"linspace", "(Number start, Number end, int steps, *, Tensor? out=None, " GS_OPTIONS ")", Fn,
     "steps values from start to end, evenly spaced.",
     [](Args& a) { return created_out(a, 4, linspace(a.scalar(0), a.scalar(1), a.i(2), options(a, 4, default_dtype()))); }},
    {"logspace", "(Number start, Number end, int steps, float base=10.0, *, Tensor? out=None, " GS_OPTIONS ")", Fn,
     "base to the powers linspace(start, end, steps).",
     [](Args& a) {
       return created_out(a, 5, logspace(a.scalar(0), a.scalar(1), a.i(2), a.f(3), options(a, 5, default_dtype())));
     }},
    {"eye", "(int n, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "The identity matrix.",
     [](Args& a) { return created_out(a, 2, eye(a.i(0), a.i(0), options(a, 2, default_dtype()))); }},
    {"eye", "(int n, int m, *, Tensor? out=None, " GS_OPTIONS ")", Fn, "n x m with ones on the diagonal.",
     [](Args& a) { return created_out(a, 3, eye(a.i(0), a.i(1), options(a, 3, default_dtype()))); }},

    // ---- conversion ----
    {"to", "(Tensor input, dtype dtype, bool non_blocking=False, bool copy=False, *, memory_format? memory_format=None)", Method,
     "The tensor in another dtype or on another device; itself if nothing changes.",
     [](Args& a) { return wrap(converted(a.tensor(0), a.opt_dtype(1), {}, a.flag(3), a.flag(2))); }},
    {"to", "(Tensor input, device? device=None, dtype? dtype=None, bool non_blocking=False, bool copy=False, *, memory_format? memory_format=None)",
     Method, "", [](Args& a) { return wrap(converted(a.tensor(0), a.opt_dtype(2), a.opt_device(1), a.flag(4), a.flag(3))); }},
    {"to", "(Tensor input, Tensor other, bool non_blocking=False, bool copy=False, *, memory_format? memory_format=None)", Method, "",
     [](Args& a) { return wrap(converted(a.tensor(0), a.tensor(1).dtype(), a.tensor(1).device(), a.flag(3), a.flag(2))); }},
    {"cpu", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor in the memory of the CPU; itself if it is there.",
     [](Args& a) { return wrap(converted(a.tensor(0), {}, Device{}, false)); }},
    {"cuda", "(Tensor input, device? device=None, bool non_blocking=False, *, memory_format? memory_format=None)", Method, "The tensor in the memory of a GPU; itself if it is there.",
     [](Args& a) { return wrap(converted(a.tensor(0), {}, a.opt_device(1).value_or(Device{DeviceType::CUDA, -1}), false, a.flag(2))); }},
    {"type_as", "(Tensor input, Tensor other)", Method, "The tensor in the dtype and on the device of other.", [](Args& a) { return wrap(to(a.tensor(0), a.tensor(1).dtype())); }},
    {"float", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as float32.", &as_type<DType::Float32>},
    {"double", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as float64.", &as_type<DType::Float64>},
    {"half", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as float16.", &as_type<DType::Float16>},
    {"bfloat16", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as bfloat16.", &as_type<DType::BFloat16>},
    {"long", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as int64.", &as_type<DType::Int64>},
    {"int", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as int32.", &as_type<DType::Int32>},
    {"short", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as int16.", &as_type<DType::Int16>},
    {"char", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as int8.", &as_type<DType::Int8>},
    {"byte", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as uint8.", &as_type<DType::UInt8>},
    {"bool", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor as bool: True where not 0.", &as_type<DType::Bool>},
    {"clone", "(Tensor input, *, memory_format? memory_format=None)", Fn | Method, "A copy, with history.",
     [](Args& a) { return wrap(clone(a.tensor(0))); }},
    {"contiguous", "(Tensor input, *, memory_format? memory_format=None)", Method, "The tensor, copied if its memory has gaps.",
     [](Args& a) { return wrap(contiguous(a.tensor(0))); }},
    {"detach", "(Tensor input)", Fn | Method, "The same values without history, sharing memory.",
     [](Args& a) { return wrap(detach(a.tensor(0))); }},
    {"detach_", "(Tensor input)", Fn | Method, "Drops the history.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       GS_CHECK(!(x->base && x.wants_grad()), "Can't detach views in-place. Use detach() instead.");
       if (x->grad_fn) set_history(x, Ref<Node>(), 0);
       x->requires_grad = false;
       return self(a);
     }},
    {"alias", "(Tensor input)", Internal, "", [](Args& a) { return wrap(view(a.tensor(0), a.tensor(0).sizes())); }},
    {"copy_", "(Tensor input, Tensor other, bool non_blocking=False)", Method, "Overwrites self with other, broadcast and converted.",
     [](Args& a) {
       copy_(a.tensor(0), a.tensor(1), a.flag(2));
       return self(a);
     }},
    {"fill_", "(Tensor input, Operand value)", Fn | Method, "Overwrites every element.",
     [](Args& a) {
       fill_(a.tensor(0), a.operand(1));
       return self(a);
     }},
    {"fill", "(Tensor input, Operand value)", Fn, "A copy of the tensor with every element overwritten.",
     [](Args& a) {
       const Tensor out = clone(a.tensor(0));
       return wrap(fill_(out, a.operand(1)));
     }},
    {"zero_", "(Tensor input)", Fn | Method, "Overwrites every element with 0.",
     [](Args& a) {
       zero_(a.tensor(0));
       return self(a);
     }},

    // ---- views ----
    {"view", "(Tensor input, dtype dtype)", Method, "The same bytes as another dtype.",
     [](Args& a) { return wrap(view_as_type(a.tensor(0), *a.opt_dtype(1))); }},
    {"view", "(Tensor input, IntList* size)", Method, "Another shape on the same memory; one size may be -1.",
     [](Args& a) { return wrap(view(a.tensor(0), a.dims(1))); }},
    {"view_as", "(Tensor input, Tensor other)", Method, "The shape of other, on the same memory.", [](Args& a) { return wrap(view(a.tensor(0), a.tensor(1).sizes())); }},
    {"reshape", "(Tensor input, IntList* shape)", Fn | Method, "Another shape, copied only where memory demands it.",
     [](Args& a) { return wrap(reshape(a.tensor(0), a.dims(1))); }},
    {"reshape_as", "(Tensor input, Tensor other)", Method, "The shape of other, copied only where memory demands it.",
     [](Args& a) { return wrap(reshape(a.tensor(0), a.tensor(1).sizes())); }},
    {"as_strided", "(Tensor input, IntList size, IntList stride, int? storage_offset=None)", Fn | Method, "A view of the memory with sizes and strides of its own.",
     [](Args& a) {
       return wrap(as_strided(a.tensor(0), a.dims(1), a.dims(2), a.opt_int(3).value_or(a.tensor(0).offset())));
     }},
    {"as_strided_", "(Tensor input, IntList size, IntList stride, int? storage_offset=None)", Fn | Method, "Sizes and strides of its own, over the same memory.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       return take_geometry(a, as_strided(x, a.dims(1), a.dims(2), a.opt_int(3).value_or(x.offset())));
     }},
    {"sum_to_size", "(Tensor input, IntList* size)", Method, "The sum over the axes along which size was broadcast to the shape.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       const Dims sizes = a.dims(1);
       GS_CHECK(expandable_to(sizes, x.sizes()), "size {} is not expandable to size {}.", sizes, x.sizes());
       return wrap(sizes.empty() ? sum(x) : sum_to_size(x, sizes));
     }},
    {"permute", "(Tensor input, IntList* dims)", Fn | Method, "Axes in another order.",
     [](Args& a) { return wrap(permute(a.tensor(0), a.dims(1))); }},
    {"transpose", "(Tensor input, int dim0, int dim1)", Fn | Method, "Two axes swapped.",
     [](Args& a) { return wrap(transpose(a.tensor(0), a.i(1), a.i(2))); }},
    {"swapaxes", "(Tensor input, int axis0, int axis1)", Fn | Method, "Two axes swapped.",
     [](Args& a) { return wrap(transpose(a.tensor(0), a.i(1), a.i(2))); }},
    {"transpose_", "(Tensor input, int dim0, int dim1)", Method, "",
     [](Args& a) { return take_geometry(a, transpose(a.tensor(0), a.i(1), a.i(2))); }},
    {"t", "(Tensor input)", Fn | Method, "The transpose of a matrix.", [](Args& a) { return wrap(t(a.tensor(0))); }},
    {"swapaxes_", "(Tensor input, int axis0, int axis1)", Method, "",
     [](Args& a) { return take_geometry(a, transpose(a.tensor(0), a.i(1), a.i(2))); }},
    {"swapdims_", "(Tensor input, int dim0, int dim1)", Method, "",
     [](Args& a) { return take_geometry(a, transpose(a.tensor(0), a.i(1), a.i(2))); }},
    {"t_", "(Tensor input)", Method, "", [](Args& a) { return take_geometry(a, t(a.tensor(0))); }},
    {"adjoint", "(Tensor input)", Fn | Method, "The last two axes swapped: the conjugate transpose.", [](Args& a) { return wrap(mT(a.tensor(0))); }},
    {"movedim", "(Tensor input, IntList source, IntList destination)", Fn | Method, "Axes moved to new places.",
     [](Args& a) { return wrap(movedim(a.tensor(0), a.dims(1), a.dims(2))); }},
    {"expand", "(Tensor input, IntList* size, *, bool implicit=False)", Method, "Axes of size 1 repeated without copying.",
     [](Args& a) { return wrap(expand(a.tensor(0), a.dims(1))); }},
    {"expand_as", "(Tensor input, Tensor other)", Method, "Axes of size 1 repeated to the shape of other, without copying.",
     [](Args& a) { return wrap(expand(a.tensor(0), a.tensor(1).sizes())); }},
    {"broadcast_to", "(Tensor input, IntList* size)", Fn | Method, "A view of a larger shape.", [](Args& a) { return wrap(expand(a.tensor(0), a.dims(1))); }},
    {"squeeze", "(Tensor input)", Fn | Method, "Without axes of size 1.", [](Args& a) { return wrap(squeeze(a.tensor(0))); }},
    {"squeeze", "(Tensor input, IntList* dim)", Fn | Method, "", [](Args& a) { return wrap(squeeze(a.tensor(0), a.dims(1))); }},
    {"squeeze_", "(Tensor input)", Method, "", [](Args& a) { return take_geometry(a, squeeze(a.tensor(0))); }},
    {"squeeze_", "(Tensor input, IntList* dim)", Method, "",
     [](Args& a) { return take_geometry(a, squeeze(a.tensor(0), a.dims(1))); }},
    {"unsqueeze", "(Tensor input, int dim)", Fn | Method, "With a new axis of size 1.",
     [](Args& a) { return wrap(unsqueeze(a.tensor(0), a.i(1))); }},
    {"unsqueeze_", "(Tensor input, int dim)", Method, "",
     [](Args& a) { return take_geometry(a, unsqueeze(a.tensor(0), a.i(1))); }},
    {"flatten", "(Tensor input, int start_dim=0, int end_dim=-1)", Fn | Method, "Axes start_dim..end_dim merged into one.",
     [](Args& a) { return wrap(flatten(a.tensor(0), a.i(1), a.i(2))); }},
    {"ravel", "(Tensor input)", Fn | Method, "All axes merged into one.", [](Args& a) { return wrap(reshape(a.tensor(0), {-1})); }},
    {"unflatten", "(Tensor input, int dim, IntList sizes)", Fn | Method, "One axis split into several.",
     [](Args& a) { return wrap(unflatten(a.tensor(0), a.i(1), a.dims(2))); }},
    {"select", "(Tensor input, int dim, int index)", Fn | Method, "One entry of an axis, which disappears.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       const int64_t dim = a.i(1), index = a.i(2);
       const int64_t size = x.ndim() ? x.size(dim) : 0;
       GS_CHECK_INDEX(x.ndim() == 0 || (index >= -size && index < size),
                      "select(): index {} out of range for tensor of size {} at dimension {}", index, x.sizes(), dim);
       return wrap(select(x, dim, index));
     }},
    {"narrow", "(Tensor input, int dim, int start, int length)", Fn | Method, "length entries of an axis from start on.",
     [](Args& a) {
       GS_CHECK(!a.is_tensor(2) || is_integral(a.tensor(2).dtype()),
                "start must be an 0-dim integral Tensor.");
       return wrap(narrow(a.tensor(0), a.i(1), a.i(2), a.i(3)));
     }},
    {"slice", "(Tensor input, int dim=0, int? start=None, int? end=None, int step=1)", Internal, "",
     [](Args& a) {
       return wrap(slice(a.tensor(0), a.i(1), a.opt_int(2).value_or(0), clamp_end(a, 3), a.i(4)));
     }},
    {"split", "(Tensor input, object split_size_or_sections, int dim=0)", Fn | Method, "Parts of the given sizes along dim.",
     &split_rows},
    {"split", "(Tensor input, object split_size, int dim=0)", Fn | Method, "", &split_rows},
    {"split_with_sizes", "(Tensor input, object split_sizes, int dim=0)", Fn | Method, "Parts of the given sizes along dim.", &split_rows},
    {"chunk", "(Tensor input, int chunks, int dim=0)", Fn | Method, "At most `chunks` equal parts along dim.",
     [](Args& a) { return wrap(chunk(a.tensor(0), a.i(1), a.i(2))); }},
    {"unbind", "(Tensor input, int dim=0)", Fn | Method, "All entries of an axis.",
     [](Args& a) { return wrap(unbind(a.tensor(0), a.i(1))); }},
    {"diagonal", "(Tensor input, int offset=0, int dim1=0, int dim2=1)", Fn | Method, "The diagonal of two axes, as the last axis.",
     [](Args& a) { return wrap(diagonal(a.tensor(0), a.i(1), a.i(2), a.i(3))); }},
    {"unfold", "(Tensor input, int dimension, int size, int step)", Method, "Windows of an axis, as the last axis.",
     [](Args& a) { return wrap(unfold(a.tensor(0), a.i(1), a.i(2), a.i(3))); }},

    // ---- matrix products ----
    {"mm", "(Tensor input, Tensor mat2, *, Tensor? out=None)", Fn | Method, "(n x k) @ (k x m).",
     [](Args& a) { return wrap_out(a, 2, mm(a.tensor(0), a.tensor(1))); }},
    {"bmm", "(Tensor input, Tensor mat2, *, Tensor? out=None)", Fn | Method, "(b x n x k) @ (b x k x m).",
     [](Args& a) { return wrap_out(a, 2, bmm(a.tensor(0), a.tensor(1))); }},
    {"matmul", "(Tensor input, Tensor other, *, Tensor? out=None)", Fn | Method, "The product of vectors, matrices or batches.",
     [](Args& a) { return wrap_out(a, 2, matmul(a.tensor(0), a.tensor(1))); }},
    {"mv", "(Tensor input, Tensor vec, *, Tensor? out=None)", Fn | Method, "Matrix times vector.",
     [](Args& a) { return wrap_out(a, 2, mv(a.tensor(0), a.tensor(1))); }},
    {"dot", "(Tensor input, Tensor tensor, *, Tensor? out=None)", Fn | Method, "The inner product of two vectors.",
     [](Args& a) { return wrap_out(a, 2, dot(a.tensor(0), a.tensor(1))); }},
    {"outer", "(Tensor input, Tensor vec2, *, Tensor? out=None)", Fn | Method, "The outer product of two vectors.",
     [](Args& a) { return wrap_out(a, 2, outer(a.tensor(0), a.tensor(1))); }},
    {"addmm", "(Tensor input, Tensor mat1, Tensor mat2, *, Number beta=1, Number alpha=1, Tensor? out=None)", Fn | Method,
     "beta * input + alpha * (mat1 @ mat2).",
     [](Args& a) { return wrap_out(a, 5, addmm(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4))); }},
    {"_assert_async", "(Tensor input, str assert_msg='Assertion failed')", Fn,
     "RuntimeError with assert_msg unless all of input is true: on a GPU at its next synchronisation, "
     "in a captured step at each replay.",
     [](Args& a) {
       require_all(a.tensor(0), ErrorKind::Runtime, a.str(1));
       Py_RETURN_NONE;
     }},
    {"_require", "(Tensor input, str message)", Fn,
     "_assert_async() with ValueError.",
     [](Args& a) {
       require_all(a.tensor(0), ErrorKind::Value, a.str(1));
       Py_RETURN_NONE;
     }},
    {"_addmm_activation",
     "(Tensor input, Tensor mat1, Tensor mat2, *, Number beta=1, Number alpha=1, bool use_gelu=False, Tensor? out=None)", Fn | Method,
     "relu, or gelu, of beta * input + alpha * (mat1 @ mat2). On a GPU one call, and gelu is the tanh form.",
     [](Args& a) {
       return wrap_out(a, 6, addmm_activation(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4), a.flag(5)));
     }},
    {"addmm_", "(Tensor input, Tensor mat1, Tensor mat2, *, Number beta=1, Number alpha=1)", Method, "",
     [](Args& a) {
       assign_by(a.tensor(0), [&](const Tensor& x) { return addmm(x, a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); });
       return self(a);
     }},
    {"baddbmm", "(Tensor input, Tensor batch1, Tensor batch2, *, Number beta=1, Number alpha=1, Tensor? out=None)", Fn | Method,
     "beta * input + alpha * (batch1 @ batch2).",
     [](Args& a) { return wrap_out(a, 5, baddbmm(a.tensor(0), a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4))); }},
    {"baddbmm_", "(Tensor input, Tensor batch1, Tensor batch2, *, Number beta=1, Number alpha=1)", Method, "",
     [](Args& a) {
       assign_by(a.tensor(0), [&](const Tensor& x) { return baddbmm(x, a.tensor(1), a.tensor(2), a.scalar(3), a.scalar(4)); });
       return self(a);
     }},
    {"addmv", "(Tensor input, Tensor mat, Tensor vec, *, Number beta=1, Number alpha=1, Tensor? out=None)", Fn | Method,
     "beta * input + alpha * (mat @ vec).",
     [](Args& a) { return wrap_out(a, 5, add_product(a, a.tensor(0), mv(a.tensor(1), a.tensor(2)))); }},
    {"addmv_", "(Tensor input, Tensor mat, Tensor vec, *, Number beta=1, Number alpha=1)", Method, "",
     [](Args& a) {
       assign_by(a.tensor(0), [&](const Tensor& x) { return add_product(a, x, mv(a.tensor(1), a.tensor(2))); });
       return self(a);
     }},
    {"addr", "(Tensor input, Tensor vec1, Tensor vec2, *, Number beta=1, Number alpha=1, Tensor? out=None)", Fn | Method,
     "beta * input + alpha * outer(vec1, vec2).",
     [](Args& a) { return wrap_out(a, 5, add_outer(a, a.tensor(0))); }},
    {"addr_", "(Tensor input, Tensor vec1, Tensor vec2, *, Number beta=1, Number alpha=1)", Method, "",
     [](Args& a) {
       assign_by(a.tensor(0), [&](const Tensor& x) { return add_outer(a, x); });
       return self(a);
     }},
    {"linear", "(Tensor input, Tensor weight, Tensor? bias=None)", NnFunctional, "input @ weight.T + bias.",
     [](Args& a) { return wrap(linear(a.tensor(0), a.tensor(1), a.tensor(2))); }},

    // ---- facts ----
    {"result_type", "(Tensor tensor, Tensor other)", Fn, "The dtype that an operation on both has.", &result_type_row},
    {"result_type", "(Tensor tensor, Scalar other)", Fn, "", &result_type_row},
    {"result_type", "(Scalar scalar, Tensor tensor)", Fn, "", &result_type_row},
    {"result_type", "(Scalar scalar1, Scalar scalar2)", Fn, "", &result_type_row},
    {"promote_types", "(dtype type1, dtype type2)", Fn, "The smallest dtype that holds both, as operations promote.", [](Args& a) { return wrap(promote(*a.opt_dtype(0), *a.opt_dtype(1))); }},
    {"can_cast", "(dtype from_, dtype to)", Fn, "True if a result of dtype from_ may be written to dtype to: bool < integers < floating.",
     [](Args& a) { return wrap(category(*a.opt_dtype(0)) <= category(*a.opt_dtype(1))); }},
    {"numel", "(Tensor input)", Fn | Method, "The number of elements.", [](Args& a) { return wrap(a.tensor(0).numel()); }},
    {"nelement", "(Tensor input)", Method, "The number of elements.", [](Args& a) { return wrap(a.tensor(0).numel()); }},
    {"dim", "(Tensor input)", Method, "The number of axes.", [](Args& a) { return wrap(int64_t{a.tensor(0).ndim()}); }},
    {"ndimension", "(Tensor input)", Method, "The number of axes.", [](Args& a) { return wrap(int64_t{a.tensor(0).ndim()}); }},
    {"size", "(Tensor input, int? dim=None)", Method, "All sizes, or that of one axis.",
     [](Args& a) { return a.has(1) ? wrap(a.tensor(0).size(a.i(1))) : wrap(a.tensor(0).sizes()); }},
    {"stride", "(Tensor input, int? dim=None)", Method, "How far apart neighbours along each axis are, in elements.",
     [](Args& a) {
       if (a.has(1)) return wrap(a.tensor(0).stride(a.i(1)));
       PyObject* size = wrap(a.tensor(0).strides());
       PyObject* tuple = PyTuple_GetSlice(size, 0, PyTuple_GET_SIZE(size));
       Py_DECREF(size);
       return tuple;
     }},
    {"storage_offset", "(Tensor input)", Method, "Where the first element lies in its storage, in elements.", [](Args& a) { return wrap(a.tensor(0).offset()); }},
    {"is_contiguous", "(Tensor input, memory_format? memory_format=None)", Method, "True if the elements lie one behind the other in memory, the last axis fastest.",
     [](Args& a) { return wrap(a.tensor(0).contiguous()); }},
    {"element_size", "(Tensor input)", Method, "The size of an element in bytes.",
     [](Args& a) { return wrap(static_cast<int64_t>(element_size(a.tensor(0).dtype()))); }},
    {"data_ptr", "(Tensor input)", Method, "The address of the first element, in bytes.",
     [](Args& a) {
       refuse_capture("the address of a tensor is read");
       return PyLong_FromVoidPtr(a.tensor(0).numel() ? a.tensor(0)->data : nullptr);
     }},
    {"is_floating_point", "(Tensor input)", Fn | Method, "True if the dtype is a floating one.", [](Args& a) { return wrap(is_floating(a.tensor(0).dtype())); }},
    {"is_complex", "(Tensor input)", Fn | Method, "False: there are no complex dtypes.", [](Args&) { return wrap(false); }},
    {"is_signed", "(Tensor input)", Fn | Method, "True if the dtype has negative numbers.",
     [](Args& a) { return wrap(a.tensor(0).dtype() != DType::Bool && a.tensor(0).dtype() != DType::UInt8); }},
    {"is_nonzero", "(Tensor input)", Fn | Method, "True if the only element is not 0.",
     [](Args& a) {
       GS_CHECK(a.tensor(0).numel() == 1, "Boolean value of Tensor with {} is ambiguous",
                a.tensor(0).numel() ? "more than one value" : "no values");
       return wrap(item(a.tensor(0)).to_bool());
     }},
    {"is_set_to", "(Tensor input, Tensor tensor)", Method, "True if both tensors are the same memory, with the same shape and strides.",
     [](Args& a) {
       const Tensor x = a.tensor(0), y = a.tensor(1);
       return wrap(x->data == y->data && x.sizes() == y.sizes() && x.strides() == y.strides());
     }},
    {"is_inference", "(Tensor input)", Fn | Method, "True if the tensor was made in inference mode.", [](Args& a) { return wrap(a.tensor(0)->inference); }},
    {"resize_", "(Tensor input, IntList* size, *, memory_format? memory_format=None)", Method,
     "Another shape, with new memory where the old is too small.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       GS_CHECK(!x.wants_grad(), "cannot resize variables that require grad");
       const Dims sizes = a.dims(1);
       const int64_t n = count_elements(sizes);
       TensorImpl* t = x.get();
       if (!(x.sizes() == sizes)) bump_version(x);
       const size_t need = static_cast<size_t>(x.offset() + n) * element_size(x.dtype());
       if (need > t->storage->bytes) {
         const Tensor fresh = empty({n}, options_of(x));
         // What lies behind the first element in memory, whatever the old strides said.
         const auto at = static_cast<size_t>(t->data - t->storage->data);
         const size_t have = at < t->storage->bytes ? t->storage->bytes - at : 0;
         const auto kept = static_cast<int64_t>(std::min(have, fresh->storage->bytes) / element_size(x.dtype()));
         if (kept != 0) copy_(alias(fresh, {kept}, {1}, 0), alias(x, {kept}, {1}, x.offset()));
         t->storage = fresh->storage;
         t->data = fresh->data;
         t->base.reset();
       }
       t->sizes = sizes;
       t->strides = contiguous_strides(sizes);
       t->update_geometry();
       return self(a);
     }},
};

}  // namespace

namespace {
std::string listed(PyObject* const* items, Py_ssize_t n) {
  std::string out = "[";
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (i) out += ", ";
    out += std::to_string(unwrap_int(items[i]));
  }
  out += "]";
  return out;
}
}  // namespace

std::vector<Tensor> split_list(const Tensor& x, PyObject* sizes, int64_t dim) {
  // By hand rather than as Dims: there may be more parts than a tensor has axes.
  PyObject* const* items = PySequence_Fast_ITEMS(sizes);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(sizes);
  std::vector<Tensor> out;
  int64_t at = 0;
  int64_t total = 0;
  bool fits = true;
  for (Py_ssize_t i = 0; i < n; ++i) {
    const int64_t s = unwrap_int(items[i]);
    GS_CHECK(s >= 0,
             "split_with_sizes expects split_sizes have only non-negative entries, but got {}", s);
    fits &= !__builtin_add_overflow(total, s, &total);
  }
  GS_CHECK(fits && total == x.size(dim),
           "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at "
           "dimension {}), but got "
           "split_sizes={}",
           x.size(dim), dim, listed(items, n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    const int64_t s = unwrap_int(items[i]);
    out.push_back(slice(x, dim, at, at + s, 1));
    at += s;
  }
  return out;
}

void add_core_functions() {
  add_functions(kRows);
  // Second names.
  const std::pair<const char*, const char*> aliases[] = {
      {"swapdims", "transpose"}, {"moveaxis", "movedim"}, {"ger", "outer"}};
  for (const auto& [alias, name] : aliases) {
    for (const FunctionRow& row : kRows) {
      if (std::string_view(row.name) != name) continue;
      FunctionRow copy = row;
      copy.name = alias;
      add_functions(std::span<const FunctionRow>(&copy, 1));
    }
  }
}

}  // namespace gradstep::python
