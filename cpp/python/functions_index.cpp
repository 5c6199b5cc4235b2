// SPDX-License-Identifier: Apache-2.0
// Rows of the ops in ops/index.h, ops/sort.h and ops/shape_ops.h, with PyTorch's signatures.
#include "ops/autocast.h"
#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/shape_ops.h"
#include "ops/sort.h"
#include "ops/view.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

// ---- along one axis ----

/// The tensor itself, or a new one that may go to out= (argument i).
template <bool kInPlace>
PyObject* given(const Args& a, int i, const Tensor& result) {
  if constexpr (kInPlace) return wrap(result);
  return wrap_out(a, i, result);
}

PyObject* gather_row(Args& a) {
  const Tensor x = a.tensor(0), index = a.tensor(2);
  GS_CHECK(!a.has(4) || a.tensor(4).dtype() == x.dtype(),
           "Expected out tensor to have dtype {}, but got {} instead", element_name(x.dtype()),
           element_name(a.tensor(4).dtype()));
  return wrap_out_apart(a, 4, gather(x, a.i(1), index));
}

PyObject* cat_row(Args& a) { return wrap_out_apart(a, 2, cat(a.tensors(0), a.i(1))); }

template <bool kInPlace>
PyObject* scatter_row(Args& a) {
  const Operand src = a.operand(3);
  const std::string reduce = a.str(4);
  const Tensor self = a.tensor(0), at = a.tensor(2);
  if (reduce.empty()) return given<kInPlace>(a, 5, scatter(self, a.i(1), at, src, kInPlace));
  GS_CHECK(reduce == "add" || reduce == "multiply",
           "reduce argument must be either add or multiply.");
  Tensor values;
  if (src.tensor) {
    values = *src.tensor;
  } else {
    values = expand(scalar_tensor(src.number, options_of(self)), at.sizes());
  }
  return given<kInPlace>(
      a, 5,
      scatter_reduce(self, a.i(1), at, values, reduce == "add" ? "sum" : "prod", true, kInPlace));
}

template <bool kInPlace>
PyObject* scatter_add_row(Args& a) {
  return given<kInPlace>(a, 4,
                         scatter_add(a.tensor(0), a.i(1), a.tensor(2), a.tensor(3), kInPlace));
}
template <bool kInPlace>
PyObject* scatter_reduce_row(Args& a) {
  return given<kInPlace>(
      a, 6,
      scatter_reduce(a.tensor(0), a.i(1), a.tensor(2), a.tensor(3), a.str(4), a.flag(5), kInPlace));
}
template <bool kInPlace>
PyObject* index_add_row(Args& a) {
  return given<kInPlace>(
      a, 5, index_add(a.tensor(0), a.i(1), a.tensor(2), a.tensor(3), a.scalar(4), kInPlace));
}
template <bool kInPlace>
PyObject* index_copy_row(Args& a) {
  return given<kInPlace>(a, 4, index_copy(a.tensor(0), a.i(1), a.tensor(2), a.tensor(3), kInPlace));
}
template <bool kInPlace>
PyObject* index_fill_row(Args& a) {
  return wrap(index_fill(a.tensor(0), a.i(1), a.tensor(2), a.operand(3), kInPlace));
}

// ---- flat, masks, advanced ----

template <bool kInPlace>
PyObject* put_row(Args& a) {
  return wrap(put(a.tensor(0), a.tensor(1), a.tensor(2), a.flag(3), kInPlace));
}

template <bool kInPlace>
PyObject* index_put_row(Args& a) {
  PyObject* list = a.object(1);
  GS_CHECK_TYPE(PyTuple_Check(list) || PyList_Check(list),
                "index_put(): argument 'indices' (position 2) must be tuple of Tensors, not {}",
                Py_TYPE(list)->tp_name);
  std::vector<Tensor> indices;
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(list); ++k) {
    PyObject* o = PySequence_Fast_ITEMS(list)[k];
    GS_CHECK_TYPE(o == Py_None || is_tensor(o),
                  "index_put(): argument 'indices' must be tuple of Tensors, but found element of "
                  "type {} at pos {}",
                  Py_TYPE(o)->tp_name, k);
    indices.push_back(o == Py_None ? Tensor() : unwrap(o));
  }
  return wrap(index_put(a.tensor(0), indices, a.tensor(2), a.flag(3), kInPlace));
}

template <bool kInPlace>
PyObject* masked_fill_row(Args& a) {
  return wrap(masked_fill(a.tensor(0), a.tensor(1), a.operand(2), kInPlace));
}
template <bool kInPlace>
PyObject* masked_scatter_row(Args& a) {
  return wrap(masked_scatter(a.tensor(0), a.tensor(1), a.tensor(2), kInPlace));
}

PyObject* nonzero_row(Args& a) {
  const Tensor x = a.tensor(0);
  if (a.flag(2)) return wrap(nonzero_tuple(x));
  return wrap_out(a, 1, nonzero(x));
}

// ---- tables ----

PyObject* embedding_row(Args& a) {
  const Tensor indices = a.tensor(0), weight = a.tensor(1);
  int64_t padding = -1;
  if (a.has(2)) {
    const int64_t rows = weight.ndim() > 0 ? weight.sizes()[0] : 0;
    padding = a.i(2);
    if (padding >= rows || padding < -rows) {
      PyErr_SetString(PyExc_AssertionError, "Padding_idx must be within num_embeddings");
      throw PythonError();
    }
    if (padding < 0) padding += rows;
  }
  if (a.has(3)) embedding_renorm_(weight, indices, a.f(3), a.f(4));
  return wrap(embedding(weight, indices, padding, a.flag(5)));
}

// ---- order ----

PyObject* sort_row(Args& a) {
  const Sorted s = sort(a.tensor(0), a.i(1), a.flag(2));
  return wrap_named_out(a, 4, "sort", {"values", "indices"}, s.values, s.indices);
}

PyObject* unique_result(const Unique& u, bool inverse, bool counts) {
  if (!inverse && !counts) return wrap(u.values);
  std::vector<Tensor> out{u.values};
  if (inverse) out.push_back(u.inverse);
  if (counts) out.push_back(u.counts);
  return wrap(out);
}

Tensor sized_index(const Tensor& index, bool int32) {
  return int32 ? to(index, DType::Int32) : index;
}

/// The tensor behind a number or tensor; numbers get the type that lets them compare with `other`.
Tensor as_tensor(const Operand& o, const Tensor& other) {
  if (o.tensor) return *o.tensor;
  const DType type = o.number.is_float() ? default_dtype() : DType::Int64;
  return scalar_tensor(o.number,
                       {is_floating(other.dtype()) ? other.dtype() : type, other.device()});
}

PyObject* searchsorted_row(Args& a) {
  const Tensor sorted = a.tensor(0);
  bool right = a.flag(3);
  if (a.has(4)) {
    const std::string side = a.str(4);
    GS_CHECK(side == "left" || side == "right",
             "torch.searchsorted(): side can only be 'left' or 'right' but got {}", side);
    GS_CHECK(side == "right" || !right,
             "torch.searchsorted(): side and right can't be set to opposites, got side of left "
             "while right was True");
    right = side == "right";
  }
  const Tensor at = searchsorted(sorted, as_tensor(a.operand(1), sorted), right, a.tensor(5));
  return wrap_out(a, 6, sized_index(at, a.flag(2)));
}

PyObject* bucketize_row(Args& a) {
  const Tensor bounds = a.tensor(1);
  GS_CHECK(bounds.ndim() == 1, "boundaries tensor must be 1 dimension, but got dim({})",
           bounds.ndim());
  return wrap_out(
      a, 4,
      sized_index(searchsorted(bounds, as_tensor(a.operand(0), bounds), a.flag(3)), a.flag(2)));
}

// ---- shapes ----

template <Tensor (*kFunction)(const Tensor&)>
PyObject* each_row(Args& a) {
  if (a.is_tensor(0)) return wrap(kFunction(a.tensor(0)));
  std::vector<Tensor> out;
  for (const Tensor& t : a.tensors(0)) out.push_back(kFunction(t));
  return wrap(out);
}

/// f(*tensors): the list, whichever way it was given.
std::vector<Tensor> list_of(const Args& a) {
  return a.is_tensor(0) ? std::vector<Tensor>{a.tensor(0)} : a.tensors(0);
}

PyObject* meshgrid_row(Args& a) { return wrap(meshgrid(list_of(a), a.has(1) ? a.str(1) : "ij")); }

std::vector<int64_t> int_list(const Args& a, int i) {
  std::vector<int64_t> out;
  for (const double v : a.floats(i)) out.push_back(static_cast<int64_t>(v));
  return out;
}

PyObject* pad_row(Args& a) {
  const std::string mode = a.str(2);
  Tensor x = a.tensor(0);
  // Whether autocast casts hangs on the mode; only the CPU's does.
  if (autocasts(x) && x.device().type == DeviceType::CPU &&
      (mode == "reflect" || mode == "replicate"))
    x = autocast(x, DType::Float32);
  return wrap(pad(x, int_list(a, 1), mode, a.opt_scalar(3)));
}

PyObject* tensor_split_row(Args& a) {
  const Tensor x = a.tensor(0);
  if (!a.is_tensor(1)) {
    if (PyTuple_Check(a.object(1)) || PyList_Check(a.object(1)))
      return wrap(tensor_split(x, int_list(a, 1), a.i(2)));
    return wrap(tensor_split(x, a.i(1), a.i(2)));
  }
  GS_CHECK(a.tensor(1).device().type == DeviceType::CPU,
           "tensor_split expected tensor_indices_or_sections to be on cpu, but it's on {}",
           a.tensor(1).device());
  const Tensor where_to = contiguous(to(a.tensor(1), DType::Int64));
  if (where_to.ndim() == 0) return wrap(tensor_split(x, item(where_to).to_int(), a.i(2)));
  return wrap(tensor_split(
      x, std::span<const int64_t>(where_to.data<int64_t>(), static_cast<size_t>(where_to.numel())),
      a.i(2)));
}

PyObject* axis_split_row(Args& a) {
  const Tensor x = a.tensor(0);
  if (PyTuple_Check(a.object(1)) || PyList_Check(a.object(1))) {
    return wrap(tensor_split(x, int_list(a, 1), split_axis(x, a.row->name, 0)));
  }
  return wrap(tensor_split(x, a.i(1), split_axis(x, a.row->name, a.i(1))));
}

template <Tensor (*kFunction)(int64_t, int64_t, int64_t, Options)>
PyObject* triangle_indices_row(Args& a) {
  const DType dtype = a.opt_dtype(3).value_or(DType::Int64);
  GS_CHECK(!a.flag(7) || is_floating(dtype),
           "Only Tensors of floating point and complex dtype can require gradients");
  const Tensor t = kFunction(a.i(0), a.i(1), a.i(2), {dtype, usable_device(a.opt_device(5))});
  t->requires_grad = a.flag(7);
  return wrap(t);
}

constexpr const char* kTriangleIndices =
    "(int row, int col, int offset=0, *, dtype? dtype=None, layout? layout=None, device? "
    "device=None, "
    "bool pin_memory=False, bool requires_grad=False)";

const FunctionRow kRows[] = {
    // ---- along one axis ----
    {"gather", "(Tensor input, int dim, Tensor index, *, bool sparse_grad=False, Tensor? out=None)",
     Fn | Method, "Values along dim at the places that index names.", &gather_row},
    {"scatter",
     "(Tensor input, int dim, Tensor index, Tensor src, *, str? reduce=None, Tensor? out=None)",
     Fn | Method, "A copy of input with src written along dim to the places that index names.",
     &scatter_row<false>},
    {"scatter",
     "(Tensor input, int dim, Tensor index, Scalar value, *, str? reduce=None, Tensor? out=None)",
     Fn | Method, "", &scatter_row<false>},
    {"scatter_", "(Tensor input, int dim, Tensor index, Tensor src, *, str? reduce=None)", Method,
     "scatter() into the tensor itself.", &scatter_row<true>},
    {"scatter_", "(Tensor input, int dim, Tensor index, Scalar value, *, str? reduce=None)", Method,
     "", &scatter_row<true>},
    {"scatter_add", "(Tensor input, int dim, Tensor index, Tensor src, *, Tensor? out=None)",
     Fn | Method, "A copy of input with src added along dim at the places that index names.",
     &scatter_add_row<false>},
    {"scatter_add_", "(Tensor input, int dim, Tensor index, Tensor src)", Method,
     "scatter_add() into the tensor itself.", &scatter_add_row<true>},
    {"scatter_reduce",
     "(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True, "
     "Tensor? out=None)",
     Fn | Method, "As scatter(), combining by sum, prod, mean, amax or amin.",
     &scatter_reduce_row<false>},
    {"scatter_reduce_",
     "(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)",
     Method, "scatter_reduce() into the tensor itself.", &scatter_reduce_row<true>},
    {"index_select", "(Tensor input, int dim, Tensor index, *, Tensor? out=None)", Fn | Method,
     "The slices along dim that index names.",
     [](Args& a) { return wrap_out_apart(a, 3, index_select(a.tensor(0), a.i(1), a.tensor(2))); }},
    {"index_add",
     "(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1, Tensor? out=None)",
     Fn | Method, "A copy of input with alpha * source added to the slices that index names.",
     &index_add_row<false>},
    {"index_add_", "(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1)",
     Method, "index_add() into the tensor itself.", &index_add_row<true>},
    {"index_copy", "(Tensor input, int dim, Tensor index, Tensor source, *, Tensor? out=None)",
     Fn | Method, "A copy of input with source in place of the slices that index names.",
     &index_copy_row<false>},
    {"index_copy_", "(Tensor input, int dim, Tensor index, Tensor source)", Method,
     "index_copy() into the tensor itself.", &index_copy_row<true>},
    {"index_fill", "(Tensor input, int dim, Tensor index, Operand value)", Fn | Method,
     "A copy of input with value in the slices that index names.", &index_fill_row<false>},
    {"index_fill_", "(Tensor input, int dim, Tensor index, Operand value)", Method,
     "index_fill() into the tensor itself.", &index_fill_row<true>},
    {"take_along_dim", "(Tensor input, Tensor indices, int? dim=None, *, Tensor? out=None)",
     Fn | Method,
     "Values along dim at indices, with broadcasting; without dim, of the flattened input.",
     [](Args& a) {
       return wrap_out_apart(a, 3, take_along_dim(a.tensor(0), a.tensor(1), a.opt_int(2)));
     }},

    // ---- flat, masks, advanced ----
    {"take", "(Tensor input, Tensor index, *, Tensor? out=None)", Fn | Method,
     "Values of the flattened input at index.",
     [](Args& a) { return wrap_out_apart(a, 2, take(a.tensor(0), a.tensor(1))); }},
    {"put", "(Tensor input, Tensor index, Tensor source, bool accumulate=False)", Fn | Method,
     "A copy of input with source written or added at places of the flattened input.",
     &put_row<false>},
    {"put_", "(Tensor input, Tensor index, Tensor source, bool accumulate=False)", Method,
     "put() into the tensor itself.", &put_row<true>},
    {"index_put", "(Tensor input, object indices, Tensor values, bool accumulate=False)",
     Fn | Method, "A copy of input with values at input[indices].", &index_put_row<false>},
    {"index_put_", "(Tensor input, object indices, Tensor values, bool accumulate=False)",
     Fn | Method, "index_put() into the tensor itself.", &index_put_row<true>},
    {"masked_fill", "(Tensor input, Tensor mask, Operand value)", Fn | Method,
     "A copy of input with value where mask is set.", &masked_fill_row<false>},
    {"masked_fill_", "(Tensor input, Tensor mask, Operand value)", Method,
     "masked_fill() into the tensor itself.", &masked_fill_row<true>},
    {"masked_select", "(Tensor input, Tensor mask, *, Tensor? out=None)", Fn | Method,
     "The elements where mask is set, as a vector.",
     [](Args& a) { return wrap_out_apart(a, 2, masked_select(a.tensor(0), a.tensor(1))); }},
    {"masked_scatter", "(Tensor input, Tensor mask, Tensor source)", Fn | Method,
     "A copy of input with source's elements, in order, where mask is set.",
     &masked_scatter_row<false>},
    {"masked_scatter_", "(Tensor input, Tensor mask, Tensor source)", Method,
     "masked_scatter() into the tensor itself.", &masked_scatter_row<true>},
    {"nonzero", "(Tensor input, *, Tensor? out=None, bool as_tuple=False)", Fn | Method,
     "The positions of the elements that are not zero.", &nonzero_row},
    {"argwhere", "(Tensor input)", Fn | Method, "The positions of the elements that are not zero.",
     [](Args& a) { return wrap(nonzero(a.tensor(0))); }},
    {"where", "(Tensor condition)", Fn, "nonzero() of condition, as a tuple.",
     [](Args& a) { return wrap(nonzero_tuple(a.tensor(0))); }},

    // ---- tables ----
    {"embedding",
     "(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=None, float "
     "norm_type=2.0, "
     "bool scale_grad_by_freq=False, bool sparse=False)",
     NnFunctional, "The rows of weight that input names.", &embedding_row},
    {"one_hot", "(Tensor tensor, int num_classes=-1)", NnFunctional,
     "1 at the class along a new last axis, else 0.",
     [](Args& a) { return wrap(one_hot(a.tensor(0), a.i(1))); }},
    {"histc", "(Tensor input, int bins=100, Scalar min=0, Scalar max=0, *, Tensor? out=None)",
     Fn | Method, "How many elements lie in each of `bins` equal parts of [min, max].",
     [](Args& a) { return wrap_out(a, 4, histc(a.tensor(0), a.i(1), a.scalar(2), a.scalar(3))); }},
    {"bincount", "(Tensor input, Tensor? weights=None, int minlength=0)", Fn | Method,
     "How often each value occurs, or the sum of its weights.",
     [](Args& a) { return wrap(bincount(a.tensor(0), a.tensor(1), a.i(2))); }},

    // ---- order ----
    {"sort",
     "(Tensor input, int dim=-1, bool descending=False, bool stable=False, *, TensorList? "
     "out=None)",
     Fn | Method, "Values in order along dim, and where they were. Always stable.", &sort_row},
    {"argsort",
     "(Tensor input, int dim=-1, bool descending=False, bool stable=False, *, Tensor? out=None)",
     Fn | Method, "The places that sort a tensor along dim. Always stable.",
     [](Args& a) { return wrap_out(a, 4, argsort(a.tensor(0), a.i(1), a.flag(2))); }},
    {"msort", "(Tensor input, *, Tensor? out=None)", Fn | Method, "Sorted along the first axis.",
     [](Args& a) { return wrap_out(a, 1, sort(a.tensor(0), 0).values); }},
    {"topk",
     "(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True, *, TensorList? "
     "out=None)",
     Fn | Method, "The k largest or smallest values along dim, and where they are.",
     [](Args& a) {
       const Sorted s = topk(a.tensor(0), a.i(1), a.i(2), a.flag(3), a.flag(4));
       return wrap_named_out(a, 5, "topk", {"values", "indices"}, s.values, s.indices);
     }},
    {"kthvalue", "(Tensor input, int k, int dim=-1, bool keepdim=False, *, TensorList? out=None)",
     Fn | Method, "The k-th smallest value along dim, k from 1, and where it is.",
     [](Args& a) {
       const Sorted s = kthvalue(a.tensor(0), a.i(1), a.i(2), a.flag(3));
       return wrap_named_out(a, 4, "kthvalue", {"values", "indices"}, s.values, s.indices, true);
     }},
    {"unique",
     "(Tensor input, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? "
     "dim=None)",
     Fn | Method, "The different elements, or slices along dim, in order.",
     [](Args& a) {
       return unique_result(unique(a.tensor(0), a.opt_int(4)), a.flag(2), a.flag(3));
     }},
    {"unique_consecutive",
     "(Tensor input, bool return_inverse=False, bool return_counts=False, int? dim=None)",
     Fn | Method, "One element for each run of equal ones.",
     [](Args& a) {
       return unique_result(unique(a.tensor(0), a.opt_int(3), true), a.flag(1), a.flag(2));
     }},
    {"searchsorted",
     "(Tensor sorted_sequence, Operand input, *, bool out_int32=False, bool right=False, str? "
     "side=None, "
     "Tensor? sorter=None, Tensor? out=None)",
     Fn, "Where input's values belong in the sorted last axis.", &searchsorted_row},
    {"bucketize",
     "(Operand input, Tensor boundaries, *, bool out_int32=False, bool right=False, Tensor? "
     "out=None)",
     Fn, "The bucket of each value among sorted boundaries.", &bucketize_row},

    // ---- joining ----
    {"cat", "(TensorList tensors, int dim=0, *, Tensor? out=None)", Fn,
     "Tensors one behind the other along dim.", &cat_row},
    {"concat", "(TensorList tensors, int dim=0, *, Tensor? out=None)", Fn, "As cat().", &cat_row},
    {"concatenate", "(TensorList tensors, int dim=0, *, Tensor? out=None)", Fn, "As cat().",
     &cat_row},
    {"stack", "(TensorList tensors, int dim=0, *, Tensor? out=None)", Fn,
     "Tensors of one shape along a new axis.",
     [](Args& a) { return wrap_out(a, 2, stack(a.tensors(0), a.i(1))); }},
    {"hstack", "(TensorList tensors, *, Tensor? out=None)", Fn,
     "Joined along the second axis, vectors end to end.",
     [](Args& a) { return wrap_out(a, 1, hstack(a.tensors(0))); }},
    {"vstack", "(TensorList tensors, *, Tensor? out=None)", Fn,
     "Joined along the first axis, vectors as rows.",
     [](Args& a) { return wrap_out(a, 1, vstack(a.tensors(0))); }},
    {"row_stack", "(TensorList tensors, *, Tensor? out=None)", Fn, "As vstack().",
     [](Args& a) { return wrap_out(a, 1, vstack(a.tensors(0))); }},
    {"dstack", "(TensorList tensors, *, Tensor? out=None)", Fn, "Joined along the third axis.",
     [](Args& a) { return wrap_out(a, 1, dstack(a.tensors(0))); }},
    {"column_stack", "(TensorList tensors, *, Tensor? out=None)", Fn,
     "Joined side by side, vectors as columns.",
     [](Args& a) { return wrap_out(a, 1, column_stack(a.tensors(0))); }},
    {"block_diag", "(Tensor tensors)", Fn, "Matrices along the diagonal of a larger one.",
     [](Args& a) { return wrap(block_diag(list_of(a))); }},
    {"block_diag", "(TensorList* tensors)", Fn, "",
     [](Args& a) { return wrap(block_diag(list_of(a))); }},

    // ---- repeating and turning ----
    {"repeat", "(Tensor input, IntList* repeats)", Method, "Copies of the tensor along each axis.",
     [](Args& a) { return wrap(repeat(a.tensor(0), a.dims(1))); }},
    {"tile", "(Tensor input, IntList* dims)", Fn | Method,
     "Copies of the tensor; missing axes count once.",
     [](Args& a) { return wrap(tile(a.tensor(0), a.dims(1))); }},
    {"repeat_interleave", "(Tensor input, Tensor repeats, int? dim=None, *, int? output_size=None)",
     Fn | Method, "Each element (slice along dim) repeated in place.",
     [](Args& a) {
       return wrap(repeat_interleave(a.tensor(0), a.tensor(1), a.opt_int(2), a.opt_int(3)));
     }},
    {"repeat_interleave", "(Tensor input, int repeats, int? dim=None, *, int? output_size=None)",
     Fn | Method, "",
     [](Args& a) { return wrap(repeat_interleave(a.tensor(0), a.i(1), a.opt_int(2))); }},
    {"repeat_interleave", "(Tensor repeats, *, int? output_size=None)", Fn | Method, "",
     [](Args& a) { return wrap(repeat_interleave(a.tensor(0), a.opt_int(1))); }},
    {"roll", "(Tensor input, IntList shifts, IntList dims=())", Fn | Method,
     "Shifted along axes, what falls off comes back at the other end.",
     [](Args& a) {
       const Dims dims = a.dims(2);
       GS_CHECK_INDEX(dims.empty() || a.tensor(0).ndim() > 0,
                      "Dimension specified as {} but tensor has no dimensions", dims[0]);
       return wrap(roll(a.tensor(0), a.dims(1), dims));
     }},
    {"flip", "(Tensor input, IntList* dims)", Fn | Method, "Axes reversed.",
     [](Args& a) { return wrap(flip(a.tensor(0), a.dims(1))); }},
    {"fliplr", "(Tensor input)", Fn | Method, "The second axis reversed.",
     [](Args& a) { return wrap(fliplr(a.tensor(0))); }},
    {"flipud", "(Tensor input)", Fn | Method, "The first axis reversed.",
     [](Args& a) { return wrap(flipud(a.tensor(0))); }},
    {"rot90", "(Tensor input, int k=1, IntList dims=(0, 1))", Fn | Method,
     "Turned by k * 90 degrees.",
     [](Args& a) { return wrap(rot90(a.tensor(0), a.i(1), a.dims(2))); }},

    // ---- triangles, diagonals, padding ----
    {"tril", "(Tensor input, int diagonal=0, *, Tensor? out=None)", Fn | Method,
     "The part on and below a diagonal.",
     [](Args& a) { return wrap_out(a, 2, tril(a.tensor(0), a.i(1))); }},
    {"triu", "(Tensor input, int diagonal=0, *, Tensor? out=None)", Fn | Method,
     "The part on and above a diagonal.",
     [](Args& a) { return wrap_out(a, 2, triu(a.tensor(0), a.i(1))); }},
    {"tril_", "(Tensor input, int diagonal=0)", Method, "tril() of the tensor itself.",
     [](Args& a) { return wrap(tril(a.tensor(0), a.i(1), true)); }},
    {"triu_", "(Tensor input, int diagonal=0)", Method, "triu() of the tensor itself.",
     [](Args& a) { return wrap(triu(a.tensor(0), a.i(1), true)); }},
    {"tril_indices", kTriangleIndices, Fn, "The places of a lower triangle, [2, n].",
     &triangle_indices_row<&tril_indices>},
    {"triu_indices", kTriangleIndices, Fn, "The places of an upper triangle, [2, n].",
     &triangle_indices_row<&triu_indices>},
    {"diag", "(Tensor input, int diagonal=0, *, Tensor? out=None)", Fn | Method,
     "A matrix with this diagonal, or the diagonal of a matrix.",
     [](Args& a) { return wrap_out(a, 2, diag(a.tensor(0), a.i(1))); }},
    {"diag_embed", "(Tensor input, int offset=0, int dim1=-2, int dim2=-1)", Fn | Method,
     "Matrices with the last axis on their diagonal.",
     [](Args& a) { return wrap(diag_embed(a.tensor(0), a.i(1), a.i(2), a.i(3))); }},
    {"diagflat", "(Tensor input, int offset=0)", Fn | Method,
     "A matrix with the flattened input on its diagonal.",
     [](Args& a) { return wrap(diagflat(a.tensor(0), a.i(1))); }},
    {"pad", "(Tensor input, IntList pad, str mode='constant', Scalar? value=None)", NnFunctional,
     "A border around the last axes: constant, reflect, replicate or circular.", &pad_row},

    // ---- combining and splitting shapes ----
    {"broadcast_tensors", "(Tensor tensors)", Fn, "The tensors expanded to their common shape.",
     [](Args& a) { return wrap(broadcast_tensors(list_of(a))); }},
    {"broadcast_tensors", "(TensorList* tensors)", Fn, "",
     [](Args& a) { return wrap(broadcast_tensors(list_of(a))); }},
    {"meshgrid", "(Tensor tensors, *, str? indexing=None)", Fn, "Coordinate grids of vectors.",
     &meshgrid_row},
    {"meshgrid", "(TensorList* tensors, *, str? indexing=None)", Fn, "", &meshgrid_row},
    {"cartesian_prod", "(Tensor tensors)", Fn,
     "All combinations of elements of the vectors, as rows.",
     [](Args& a) { return wrap(cartesian_prod(list_of(a))); }},
    {"cartesian_prod", "(TensorList* tensors)", Fn, "",
     [](Args& a) { return wrap(cartesian_prod(list_of(a))); }},
    {"combinations", "(Tensor input, int r=2, bool with_replacement=False)", Fn,
     "All combinations of r elements of a vector, as rows.",
     [](Args& a) { return wrap(combinations(a.tensor(0), a.i(1), a.flag(2))); }},
    {"atleast_1d", "(Tensor tensors)", Fn, "With at least one axis.", &each_row<&atleast_1d>},
    {"atleast_1d", "(TensorList* tensors)", Fn, "", &each_row<&atleast_1d>},
    {"atleast_2d", "(Tensor tensors)", Fn, "With at least two axes.", &each_row<&atleast_2d>},
    {"atleast_2d", "(TensorList* tensors)", Fn, "", &each_row<&atleast_2d>},
    {"atleast_3d", "(Tensor tensors)", Fn, "With at least three axes.", &each_row<&atleast_3d>},
    {"atleast_3d", "(TensorList* tensors)", Fn, "", &each_row<&atleast_3d>},
    {"tensor_split", "(Tensor input, Tensor tensor_indices_or_sections, int dim=0)", Fn | Method,
     "Split into nearly equal parts, or at indices.", &tensor_split_row},
    {"tensor_split", "(Tensor input, int sections, int dim=0)", Fn | Method, "", &tensor_split_row},
    {"tensor_split", "(Tensor input, IntList indices, int dim=0)", Fn | Method, "",
     &tensor_split_row},
    {"hsplit", "(Tensor input, int sections)", Fn | Method,
     "Split along the second axis (of a vector, the first).", &axis_split_row},
    {"hsplit", "(Tensor input, IntList* indices)", Fn | Method, "", &axis_split_row},
    {"vsplit", "(Tensor input, int sections)", Fn | Method, "Split along the first axis.",
     &axis_split_row},
    {"vsplit", "(Tensor input, IntList* indices)", Fn | Method, "", &axis_split_row},
    {"dsplit", "(Tensor input, int sections)", Fn | Method, "Split along the third axis.",
     &axis_split_row},
    {"dsplit", "(Tensor input, IntList* indices)", Fn | Method, "", &axis_split_row},
};

/// x.where(condition, other): its self is the second argument of the function.
pybind11::object where_method(const Tensor& self, const Tensor& condition,
                              const pybind11::object& other) {
  const Tensor out = is_tensor(other.ptr()) ? where(condition, self, unwrap(other.ptr()))
                                            : where(condition, self, unwrap_scalar(other.ptr()));
  return pybind11::reinterpret_steal<pybind11::object>(wrap(out));
}

}  // namespace

void add_index_functions() {
  add_functions(kRows);
  const pybind11::cpp_function method(
      [](const Tensor& self, const Tensor& condition, const pybind11::object& other) {
        return where_method(self, condition, other);
      },
      pybind11::arg("self"), pybind11::arg("condition"), pybind11::arg("other"));
  const auto bound =
      pybind11::reinterpret_steal<pybind11::object>(check(PyInstanceMethod_New(method.ptr())));
  set_tensor_attribute("where", bound.ptr());
}

}  // namespace gradstep::python
