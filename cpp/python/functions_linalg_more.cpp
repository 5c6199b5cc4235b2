// SPDX-License-Identifier: Apache-2.0
// Rows of composed products, distances and attention.
#include "ops/attention.h"
#include "ops/autocast.h"
#include "ops/linalg_more.h"
#include "python/function.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

Dims int_list(PyObject* o) {
  if (!PyTuple_Check(o) && !PyList_Check(o)) return {unwrap_int(o)};
  Dims out;
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) {
    out.push_back(unwrap_int(PySequence_Fast_ITEMS(o)[k]));
  }
  return out;
}

/// dims: how many last axes of a meet the first of b, or a list for each.
Tensor tensordot_row(const Tensor& a, const Tensor& b, PyObject* dims) {
  if (PyTuple_Check(dims) || PyList_Check(dims)) {
    GS_CHECK(PySequence_Fast_GET_SIZE(dims) == 2,
             "tensordot expects dims to be a number or a pair of lists");
    return tensordot(a, b, int_list(PySequence_Fast_ITEMS(dims)[0]),
                     int_list(PySequence_Fast_ITEMS(dims)[1]));
  }
  const int64_t n = unwrap_int(dims);
  GS_CHECK(n >= 0, "tensordot expects dims >= 0, but got dims={}", n);
  GS_CHECK(n <= std::min(a.ndim(), b.ndim()),
           "tensordot expects dims < ndim_a or ndim_b, but got dims={}", n);
  Dims from, to;
  for (int64_t k = 0; k < n; ++k) {
    from.push_back(a.ndim() - n + k);
    to.push_back(k);
  }
  return tensordot(a, b, from, to);
}

// Whether autocast casts hangs on the operands: only where there is a product to be made.
Tensor lower(const Tensor& x) { return autocasts(x) ? autocast(x, autocast_dtype(x)) : x; }

PyObject* einsum_row(Args& a) {
  std::vector<Tensor> operands = a.tensors(1);
  for (Tensor& x : operands) {
    if (operands.size() > 1) x = lower(x);
  }
  return wrap(einsum(a.str(0), operands));
}

PyObject* inner_row(Args& a) {
  Tensor x = a.tensor(0), y = a.tensor(1);
  const bool product = (x.ndim() > 1 || y.ndim() > 1) && !a.has(2);
  if (product && modes().autocast) autocast_arguments("tensordot", {&x, &y});
  return wrap_out(a, 2, inner(x, y));
}

const FunctionRow kRows[] = {
    {"einsum", "(str equation, TensorList* operands)", Fn,
     "Sums of products by Einstein's convention: \"ij,jk->ik\".", &einsum_row},
    {"einsum", "(str equation, Tensor operand)", Fn, "",
     [](Args& a) {
       const Tensor x = a.tensor(1);
       return wrap(einsum(a.str(0), {&x, 1}));
     }},
    {"tensordot", "(Tensor a, Tensor b, object dims=2, Tensor? out=None)", Fn,
     "Sums products over the last axes of a and the first of b, or over pairs of axes.",
     [](Args& a) { return wrap_out(a, 3, tensordot_row(a.tensor(0), a.tensor(1), a.object(2))); }},
    {"inner", "(Tensor input, Tensor other, *, Tensor? out=None)", Fn | Method,
     "Sums products over the last axes.", &inner_row},
    {"kron", "(Tensor input, Tensor other, *, Tensor? out=None)", Fn | Method,
     "The Kronecker product.",
     [](Args& a) { return wrap_out(a, 2, kron(a.tensor(0), a.tensor(1))); }},
    {"cross", "(Tensor input, Tensor other, int? dim=None, *, Tensor? out=None)", Fn | Method,
     "The cross product along an axis of size 3, by default the first.",
     [](Args& a) { return wrap_out_apart(a, 3, cross(a.tensor(0), a.tensor(1), a.opt_int(2))); }},
    {"chain_matmul", "(TensorList* matrices, *, Tensor? out=None)", Fn,
     "The product of matrices in the order that costs least.",
     [](Args& a) { return wrap_out(a, 1, chain_matmul(a.tensors(0))); }},
    {"chain_matmul", "(Tensor matrix)", Fn, "", [](Args& a) { return wrap(a.tensor(0)); }},
    {"cdist", "(Tensor x1, Tensor x2, float p=2.0, str? compute_mode=None)", Fn,
     "The p-norm distance of each row of x1 to each row of x2.",
     [](Args& a) { return wrap(cdist(a.tensor(0), a.tensor(1), a.f(2), a.str(3))); }},
    {"bilinear", "(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None)",
     Fn | NnFunctional, "input1 @ weight[o] @ input2 + bias[o].",
     [](Args& a) { return wrap(bilinear(a.tensor(0), a.tensor(1), a.tensor(2), a.tensor(3))); }},
    {"normalize", "(Tensor input, float p=2.0, int dim=1, float eps=1e-12, Tensor? out=None)",
     NnFunctional, "input / max(norm along dim, eps).",
     [](Args& a) { return wrap_out(a, 4, normalize(a.tensor(0), a.f(1), a.i(2), a.f(3))); }},
    {"scaled_dot_product_attention",
     "(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool "
     "is_causal=False, *, "
     "float? scale=None, bool enable_gqa=False)",
     NnFunctional, "softmax(query @ key^T * scale + mask) @ value.",
     [](Args& a) {
       return wrap(scaled_dot_product_attention(a.tensor(0), a.tensor(1), a.tensor(2), a.tensor(3),
                                                a.f(4), a.flag(5), a.opt_double(6), a.flag(7),
                                                default_generator()));
     }},
};

}  // namespace

void add_linalg_more_functions() { add_functions(kRows); }

}  // namespace gradstep::python
