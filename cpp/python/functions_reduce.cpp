// SPDX-License-Identifier: Apache-2.0
// Reductions, scans and order statistics for Python. See python/function.h for the rows.
#include <cmath>
#include <limits>

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/view.h"
#include "python/function.h"

namespace gradstep::python {

namespace {

constexpr unsigned kBoth = Fn | Method;

Dims one_or_all(const Args& a, int i) { return a.has(i) ? a.dims(i) : Dims{}; }

/// values and indices, written into out=(values, indices) where it is given.
PyObject* values_indices_out(Args& a, int out, const char* type, const ValuesIndices& r) {
  return wrap_named_out(a, out, type, {"values", "indices"}, r.values, r.indices);
}

double correction_of(const Args& a, int i) {
  const std::optional<Scalar> c = a.opt_scalar(i);
  return c ? c->to_double() : 1.0;
}
double unbiased(const Args& a, int i) { return a.flag(i) ? 1.0 : 0.0; }

PyObject* pair(const Tensor& first, const Tensor& second) {
  return wrap(std::vector<Tensor>{first, second});
}

bool is_nuclear(const Args& a, int i) {
  return a.has(i) && PyUnicode_Check(a.object(i)) && a.str(i) == "nuc";
}

/// norm(p='nuc'): the sum of a matrix's singular values, which linalg knows.
PyObject* nuclear_norm(const Args& a) {
  const Dims dim = a.has(2) ? one_or_all(a, 2) : Dims{-2, -1};
  GS_CHECK(dim.size() == 2, "nuclear norm requires a 'dim' argument of size 2, but got {}", dim);
  const Tensor x = a.opt_dtype(4) ? to(a.tensor(0), *a.opt_dtype(4)) : a.tensor(0);
  PyObject* const linalg = PyImport_ImportModule("gradstep.linalg");
  if (!linalg) return nullptr;
  PyObject* const result =
      PyObject_CallMethod(linalg, "norm", "Ns(LL)i", wrap(x), "nuc", static_cast<long long>(dim[0]),
                          static_cast<long long>(dim[1]), int{a.flag(3)});
  Py_DECREF(linalg);
  return result;
}

/// p of norm(): a number, "fro" or None; inf may be spelled as a string.
double norm_order(const Args& a, int i) {
  if (!a.has(i)) return 2;
  PyObject* p = a.object(i);
  if (PyUnicode_Check(p)) {
    const std::string s = a.str(i);
    if (s == "inf") return std::numeric_limits<double>::infinity();
    if (s == "-inf") return -std::numeric_limits<double>::infinity();
    GS_CHECK(s == "fro", "norm(): the order '{}' is not supported", s);
    return 2;
  }
  const double v = PyFloat_AsDouble(p);
  if (PyErr_Occurred()) {
    PyErr_Clear();
    fail(ErrorKind::Type, "norm(): argument 'p' must be a number, 'fro', 'inf' or '-inf'");
  }
  return v;
}

Tensor difference(const Args& a) {
  Tensor x = a.tensor(0);
  const int64_t dim = a.i(2);
  if (a.i(1) == 0) return diff(x, 0, dim);  // PyTorch then leaves out what is to be put beside it
  std::vector<Tensor> parts;
  if (a.has(3)) parts.push_back(a.tensor(3));
  parts.push_back(x);
  if (a.has(4)) parts.push_back(a.tensor(4));
  if (parts.size() > 1) {
    GS_CHECK(x.ndim() >= 1, "diff expects input to be at least one-dimensional");
    for (Tensor& p : parts) {
      if (p.ndim() != 0) continue;
      Dims sizes = x.sizes();
      sizes[static_cast<int>(wrap_dim(dim, x.ndim()))] = 1;
      p = expand(p, sizes);
    }
    x = cat(parts, dim);
  }
  return diff(x, a.i(1), dim);
}

Interpolation interpolation_of(const std::string& name) {
  if (name == "linear") return Interpolation::Linear;
  if (name == "lower") return Interpolation::Lower;
  if (name == "higher") return Interpolation::Higher;
  if (name == "midpoint") return Interpolation::Midpoint;
  GS_CHECK(name == "nearest",
           "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, "
           "but got {}",
           name);
  return Interpolation::Nearest;
}

PyObject* call_quantile(Args& a, bool ignore_nan) {
  const Tensor x = a.tensor(0);
  const Tensor q = a.is_tensor(1) ? a.tensor(1) : scalar_tensor(a.f(1), options_of(x));
  return wrap_out(a, 5,
                  quantile(x, q, a.opt_int(2), a.flag(3), interpolation_of(a.str(4)), ignore_nan));
}

const FunctionRow kRows[] = {
    // ---- sums ----
    {"sum", "(Tensor input, *, dtype? dtype=None)", kBoth, "The sum of all elements.",
     [](Args& a) { return wrap(sum(a.tensor(0), {}, false, a.opt_dtype(1))); }},
    {"sum",
     "(Tensor input, IntList? dim, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None)",
     kBoth, "The sum along dim.",
     [](Args& a) {
       return wrap_out(a, 4, sum(a.tensor(0), one_or_all(a, 1), a.flag(2), a.opt_dtype(3)));
     }},
    {"nansum",
     "(Tensor input, IntList? dim=None, bool keepdim=False, *, dtype? dtype=None, Tensor? "
     "out=None)",
     kBoth, "The sum of the elements that are not NaN.",
     [](Args& a) {
       return wrap_out(a, 4, nansum(a.tensor(0), one_or_all(a, 1), a.flag(2), a.opt_dtype(3)));
     }},
    {"mean", "(Tensor input, *, dtype? dtype=None, Tensor? out=None)", kBoth,
     "The mean of all elements.",
     [](Args& a) { return wrap_out(a, 2, mean(a.tensor(0), {}, false, a.opt_dtype(1))); }},
    {"mean",
     "(Tensor input, IntList? dim, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None)",
     kBoth, "The mean along dim.",
     [](Args& a) {
       return wrap_out(a, 4, mean(a.tensor(0), one_or_all(a, 1), a.flag(2), a.opt_dtype(3)));
     }},
    {"nanmean",
     "(Tensor input, IntList? dim=None, bool keepdim=False, *, dtype? dtype=None, Tensor? "
     "out=None)",
     kBoth, "The mean of the elements that are not NaN.",
     [](Args& a) {
       return wrap_out(a, 4, nanmean(a.tensor(0), one_or_all(a, 1), a.flag(2), a.opt_dtype(3)));
     }},
    {"prod", "(Tensor input, *, dtype? dtype=None, Tensor? out=None)", kBoth,
     "The product of all elements.",
     [](Args& a) { return wrap_out(a, 2, prod(a.tensor(0), {}, false, a.opt_dtype(1))); }},
    {"prod", "(Tensor input, int dim, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None)",
     kBoth, "The product along dim.",
     [](Args& a) { return wrap_out(a, 4, prod(a.tensor(0), a.i(1), a.flag(2), a.opt_dtype(3))); }},
    {"count_nonzero", "(Tensor input, IntList? dim=None)", kBoth,
     "The number of elements that are not 0.",
     [](Args& a) { return wrap(count_nonzero(a.tensor(0), one_or_all(a, 1))); }},
    {"count_nonzero", "(Tensor input, IntList* dim)", kBoth, "",
     [](Args& a) { return wrap(count_nonzero(a.tensor(0), a.dims(1))); }},
    {"logsumexp", "(Tensor input, IntList dim, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "log(sum(exp(input))) along dim.",
     [](Args& a) { return wrap_out(a, 3, logsumexp(a.tensor(0), a.dims(1), a.flag(2))); }},
    {"trace", "(Tensor input)", kBoth, "The sum of the diagonal.",
     [](Args& a) { return wrap(trace(a.tensor(0))); }},

    // ---- extremes ----
    {"max", "(Tensor input, *, Tensor? out=None)", kBoth, "The largest element.",
     [](Args& a) { return wrap_out(a, 1, max(a.tensor(0))); }},
    {"max", "(Tensor input, Tensor other, *, Tensor? out=None)", kBoth,
     "The larger of two elements.",
     [](Args& a) { return wrap_out(a, 2, maximum(a.tensor(0), a.tensor(1))); }},
    {"max", "(Tensor input, int dim, bool keepdim=False, *, TensorList? out=None)", kBoth,
     "The largest elements along dim and their places.",
     [](Args& a) { return values_indices_out(a, 3, "max", max(a.tensor(0), a.i(1), a.flag(2))); }},
    {"min", "(Tensor input, *, Tensor? out=None)", kBoth, "The smallest element.",
     [](Args& a) { return wrap_out(a, 1, min(a.tensor(0))); }},
    {"min", "(Tensor input, Tensor other, *, Tensor? out=None)", kBoth,
     "The smaller of two elements.",
     [](Args& a) { return wrap_out(a, 2, minimum(a.tensor(0), a.tensor(1))); }},
    {"min", "(Tensor input, int dim, bool keepdim=False, *, TensorList? out=None)", kBoth,
     "The smallest elements along dim and their places.",
     [](Args& a) { return values_indices_out(a, 3, "min", min(a.tensor(0), a.i(1), a.flag(2))); }},
    {"amax", "(Tensor input, IntList? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "The largest elements along dim; ties share the gradient.",
     [](Args& a) { return wrap_out(a, 3, amax(a.tensor(0), one_or_all(a, 1), a.flag(2))); }},
    {"amin", "(Tensor input, IntList? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "The smallest elements along dim; ties share the gradient.",
     [](Args& a) { return wrap_out(a, 3, amin(a.tensor(0), one_or_all(a, 1), a.flag(2))); }},
    {"aminmax", "(Tensor input, *, int? dim=None, bool keepdim=False, TensorList? out=None)", kBoth,
     "The smallest and the largest element.",
     [](Args& a) {
       const Tensor x = a.tensor(0);
       const Dims dims = a.has(1) ? Dims{a.i(1)} : Dims{};
       for (const Tensor& out : a.tensors(3)) {
         GS_CHECK(out.dtype() == x.dtype(),
                  "Expected out tensor to have dtype {}, but got {} instead",
                  element_name(x.dtype()), element_name(out.dtype()));
       }
       return wrap_named_out(a, 3, "aminmax", {"min", "max"}, amin(x, dims, a.flag(2)),
                             amax(x, dims, a.flag(2)));
     }},
    {"argmax", "(Tensor input, int? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "The place of the largest element.",
     [](Args& a) { return wrap_out(a, 3, argmax(a.tensor(0), a.opt_int(1), a.flag(2))); }},
    {"argmin", "(Tensor input, int? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "The place of the smallest element.",
     [](Args& a) { return wrap_out(a, 3, argmin(a.tensor(0), a.opt_int(1), a.flag(2))); }},
    {"any", "(Tensor input, IntList? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "True if an element is not 0.",
     [](Args& a) { return wrap_out(a, 3, any(a.tensor(0), one_or_all(a, 1), a.flag(2))); }},
    {"all", "(Tensor input, IntList? dim=None, bool keepdim=False, *, Tensor? out=None)", kBoth,
     "True if no element is 0.",
     [](Args& a) { return wrap_out(a, 3, all(a.tensor(0), one_or_all(a, 1), a.flag(2))); }},

    // ---- moments ----
    {"var", "(Tensor input, IntList? dim, bool unbiased, bool keepdim=False, *, Tensor? out=None)",
     kBoth, "The variance along dim.",
     [](Args& a) {
       return wrap_out(a, 4, variance(a.tensor(0), one_or_all(a, 1), unbiased(a, 2), a.flag(3)));
     }},
    {"var", "(Tensor input, bool unbiased, *, Tensor? out=None)", kBoth,
     "The variance of all elements.",
     [](Args& a) { return wrap_out(a, 2, variance(a.tensor(0), {}, unbiased(a, 1))); }},
    {"var",
     "(Tensor input, IntList? dim=None, *, Scalar? correction=None, bool keepdim=False, Tensor? "
     "out=None)",
     kBoth, "The variance along dim, with the divisor n - correction (1).",
     [](Args& a) {
       return wrap_out(a, 4,
                       variance(a.tensor(0), one_or_all(a, 1), correction_of(a, 2), a.flag(3)));
     }},
    {"std", "(Tensor input, IntList? dim, bool unbiased, bool keepdim=False, *, Tensor? out=None)",
     kBoth, "The standard deviation along dim.",
     [](Args& a) {
       return wrap_out(a, 4, std_dev(a.tensor(0), one_or_all(a, 1), unbiased(a, 2), a.flag(3)));
     }},
    {"std", "(Tensor input, bool unbiased, *, Tensor? out=None)", kBoth,
     "The standard deviation of all elements.",
     [](Args& a) { return wrap_out(a, 2, std_dev(a.tensor(0), {}, unbiased(a, 1))); }},
    {"std",
     "(Tensor input, IntList? dim=None, *, Scalar? correction=None, bool keepdim=False, Tensor? "
     "out=None)",
     kBoth, "The standard deviation along dim, with the divisor n - correction (1).",
     [](Args& a) {
       return wrap_out(a, 4,
                       std_dev(a.tensor(0), one_or_all(a, 1), correction_of(a, 2), a.flag(3)));
     }},
    {"var_mean", "(Tensor input, IntList? dim, bool unbiased, bool keepdim=False)", Fn,
     "Variance and mean.",
     [](Args& a) {
       const Moment m = var_mean(a.tensor(0), one_or_all(a, 1), unbiased(a, 2), a.flag(3));
       return pair(m.spread, m.mean);
     }},
    {"var_mean", "(Tensor input, bool unbiased)", Fn, "Variance and mean.",
     [](Args& a) {
       const Moment m = var_mean(a.tensor(0), {}, unbiased(a, 1));
       return pair(m.spread, m.mean);
     }},
    {"var_mean",
     "(Tensor input, IntList? dim=None, *, Scalar? correction=None, bool keepdim=False)", Fn,
     "Variance and mean.",
     [](Args& a) {
       const Moment m = var_mean(a.tensor(0), one_or_all(a, 1), correction_of(a, 2), a.flag(3));
       return pair(m.spread, m.mean);
     }},
    {"std_mean", "(Tensor input, IntList? dim, bool unbiased, bool keepdim=False)", Fn,
     "Standard deviation and mean.",
     [](Args& a) {
       const Moment m = std_mean(a.tensor(0), one_or_all(a, 1), unbiased(a, 2), a.flag(3));
       return pair(m.spread, m.mean);
     }},
    {"std_mean", "(Tensor input, bool unbiased)", Fn, "Standard deviation and mean.",
     [](Args& a) {
       const Moment m = std_mean(a.tensor(0), {}, unbiased(a, 1));
       return pair(m.spread, m.mean);
     }},
    {"std_mean",
     "(Tensor input, IntList? dim=None, *, Scalar? correction=None, bool keepdim=False)", Fn,
     "Standard deviation and mean.",
     [](Args& a) {
       const Moment m = std_mean(a.tensor(0), one_or_all(a, 1), correction_of(a, 2), a.flag(3));
       return pair(m.spread, m.mean);
     }},

    // ---- norms ----
    {"norm",
     "(Tensor input, object? p='fro', IntList? dim=None, bool keepdim=False, *, dtype? dtype=None)",
     kBoth, "The vector norm of order p: along dim, or of all elements.",
     [](Args& a) {
       if (is_nuclear(a, 1)) return nuclear_norm(a);
       return wrap(
           vector_norm(a.tensor(0), norm_order(a, 1), one_or_all(a, 2), a.flag(3), a.opt_dtype(4)));
     }},
    {"linalg_vector_norm",
     "(Tensor x, Scalar ord=2, IntList? dim=None, bool keepdim=False, *, dtype? dtype=None)", Fn,
     "The vector norm of order ord: along dim, or of all elements.",
     [](Args& a) {
       return wrap(vector_norm(a.tensor(0), a.scalar(1).to_double(), one_or_all(a, 2), a.flag(3),
                               a.opt_dtype(4)));
     }},
    {"dist", "(Tensor input, Tensor other, Scalar p=2)", kBoth, "The norm of input - other.",
     [](Args& a) { return wrap(dist(a.tensor(0), a.tensor(1), a.scalar(2).to_double())); }},

    // ---- scans ----
    {"cumsum", "(Tensor input, int dim, *, dtype? dtype=None, Tensor? out=None)", kBoth,
     "Running sums along dim.",
     [](Args& a) { return wrap_out(a, 3, cumsum(a.tensor(0), a.i(1), a.opt_dtype(2))); }},
    {"cumprod", "(Tensor input, int dim, *, dtype? dtype=None, Tensor? out=None)", kBoth,
     "Running products along dim.",
     [](Args& a) { return wrap_out(a, 3, cumprod(a.tensor(0), a.i(1), a.opt_dtype(2))); }},
    {"cumsum_", "(Tensor input, int dim, *, dtype? dtype=None)", Method, "cumsum in place.",
     [](Args& a) {
       return wrap(assign_by(a.tensor(0),
                             [&](const Tensor& x) { return cumsum(x, a.i(1), a.opt_dtype(2)); }));
     }},
    {"cumprod_", "(Tensor input, int dim, *, dtype? dtype=None)", Method, "cumprod in place.",
     [](Args& a) {
       return wrap(assign_by(a.tensor(0),
                             [&](const Tensor& x) { return cumprod(x, a.i(1), a.opt_dtype(2)); }));
     }},
    {"logcumsumexp", "(Tensor input, int dim, *, Tensor? out=None)", kBoth,
     "log(cumsum(exp(input))) along dim.",
     [](Args& a) { return wrap_out(a, 2, logcumsumexp(a.tensor(0), a.i(1))); }},
    {"cummax", "(Tensor input, int dim, *, TensorList? out=None)", kBoth,
     "Running maxima along dim and their places.",
     [](Args& a) { return values_indices_out(a, 2, "cummax", cummax(a.tensor(0), a.i(1))); }},
    {"cummin", "(Tensor input, int dim, *, TensorList? out=None)", kBoth,
     "Running minima along dim and their places.",
     [](Args& a) { return values_indices_out(a, 2, "cummin", cummin(a.tensor(0), a.i(1))); }},
    {"diff",
     "(Tensor input, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None, *, Tensor? "
     "out=None)",
     kBoth, "Differences of neighbours along dim, n times.",
     [](Args& a) { return wrap_out(a, 5, difference(a)); }},

    // ---- order statistics ----
    {"median", "(Tensor input, *, Tensor? out=None)", kBoth, "The lower median of all elements.",
     [](Args& a) { return wrap_out(a, 1, median(a.tensor(0))); }},
    {"median", "(Tensor input, int dim, bool keepdim=False, *, TensorList? out=None)", kBoth,
     "The lower medians along dim and their places.",
     [](Args& a) {
       return values_indices_out(a, 3, "median", median(a.tensor(0), a.i(1), a.flag(2)));
     }},
    {"nanmedian", "(Tensor input, *, Tensor? out=None)", kBoth,
     "The lower median of the elements that are not NaN.",
     [](Args& a) { return wrap_out(a, 1, median(a.tensor(0), true)); }},
    {"nanmedian", "(Tensor input, int dim, bool keepdim=False, *, TensorList? out=None)", kBoth,
     "The lower medians of the elements that are not NaN and their places.",
     [](Args& a) {
       return values_indices_out(a, 3, "nanmedian", median(a.tensor(0), a.i(1), a.flag(2), true));
     }},
    {"mode", "(Tensor input, int dim=-1, bool keepdim=False, *, TensorList? out=None)", kBoth,
     "The most frequent values and their places.",
     [](Args& a) {
       return values_indices_out(a, 3, "mode", mode(a.tensor(0), a.i(1), a.flag(2)));
     }},
    {"quantile",
     "(Tensor input, Operand q, int? dim=None, bool keepdim=False, *, str interpolation='linear', "
     "Tensor? out=None)",
     kBoth, "The q-th quantiles.", [](Args& a) { return call_quantile(a, false); }},
    {"nanquantile",
     "(Tensor input, Operand q, int? dim=None, bool keepdim=False, *, str interpolation='linear', "
     "Tensor? out=None)",
     kBoth, "The q-th quantiles of the elements that are not NaN.",
     [](Args& a) { return call_quantile(a, true); }},
};

}  // namespace

void add_reduce_functions() { add_functions(kRows); }

}  // namespace gradstep::python
