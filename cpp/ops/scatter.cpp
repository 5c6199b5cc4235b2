// SPDX-License-Identifier: Apache-2.0
// gather and the scatters, embedding, one_hot, bincount. Declared in ops/index.h.
#include <cmath>
#include <limits>

#include "core/overlap.h"
#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

namespace {

enum ScatterMode : int64_t { kWrite, kAdd, kMultiply, kMax, kMin };  // as in kernels/index.cpp

Dims dims_from(const Backward& b, int slot) {
  return Dims(&b.node.params.s[slot].i, b.node.params.count - slot);
}

int rank(const Tensor& t) { return std::max(t.ndim(), 1); }
int64_t extent(const Tensor& t, int d) { return t.ndim() == 0 ? 1 : t.sizes()[d]; }

/// An index tensor as int64.
Tensor checked_index_tensor(const Tensor& index, const char* op) {
  GS_CHECK(index.dtype() == DType::Int64 || index.dtype() == DType::Int32 || index.numel() == 0,
           "{}(): Expected dtype int32/int64 for index", op);
  return index.dtype() == DType::Int64 ? index : to(index, DType::Int64);
}

/// A 0-d tensor as one of size 1, without history.
Tensor at_least_1d(const Tensor& t) { return t.ndim() == 0 ? alias(t, {1}, {1}, t.offset()) : t; }

}  // namespace

// ---- gather ----

namespace {
// dself = zeros with dy added where it came from
void gather_backward(Backward& b) {
  const Dims sizes = dims_from(b, 1);
  b.set(0, scatter_add(zeros(sizes, options_of(b.grad())), b.i(0), b.saved(0), b.grad(), true));
}
}  // namespace

Tensor gather(const Tensor& self, int64_t dim, const Tensor& index) {
  static const Op& op = define("gather", &gather_backward);
  dim = wrap_dim(dim, self.ndim());
  const Tensor at = checked_index_tensor(index, "gather");
  if (at.numel() != 0) {
    GS_CHECK(rank(self) == rank(at),
             "Index tensor must have the same number of dimensions as input tensor");
    for (int d = 0; d < rank(self); ++d) {
      GS_CHECK(d == dim || extent(at, d) <= extent(self, d),
               "Size does not match at dimension {} expected index {} to be no larger than self {} "
               "apart from "
               "dimension {}",
               d, at.sizes(), self.sizes(), dim);
    }
  }
  const Tensor out = empty(at.sizes(), options_of(self));
  if (at.numel() != 0) {
    const Tensor to = at_least_1d(out), from = at_least_1d(self), where_from = at_least_1d(at);
    run(op, params(dim), {&to}, {&from, &where_from});
  }
  if (needs_grad(self)) record(op, params(dim, self.sizes()), {&out}, {&self}, {keep(at)});
  return out;
}

Tensor take_along_dim(const Tensor& self, const Tensor& indices, std::optional<int64_t> dim) {
  if (!dim) return gather(reshape(self, {-1}), 0, reshape(indices, {-1}));
  GS_CHECK(self.ndim() == indices.ndim(),
           "torch.take_along_dim(): input and indices should have the same number of dimensions, "
           "but got {} "
           "dimensions for input, and {} dimensions for indices",
           self.ndim(), indices.ndim());
  const int64_t d = wrap_dim(*dim, self.ndim());
  Dims a = self.sizes(), b = indices.sizes();
  if (a.empty()) return gather(self, 0, indices);
  a[static_cast<int>(d)] = b[static_cast<int>(d)];
  const Dims for_index = broadcast(a, b);
  Dims for_self = for_index;
  for_self[static_cast<int>(d)] = self.size(d);
  // Unlike gather's, these indices may count from the end.
  const Tensor wrapped = where(lt(indices, 0), add(indices, self.size(d)), indices);
  return gather(expand(self, for_self), d, expand(wrapped, for_index));
}

// ---- scatter ----

namespace {

void check_scatter(const Tensor& self, int64_t dim, const Tensor& index, const Tensor* src) {
  if (src) {
    GS_CHECK(self.dtype() == src->dtype(),
             "scatter(): Expected self.dtype to be equal to src.dtype");
  }
  if (index.numel() == 0) return;
  GS_CHECK(rank(self) == rank(index),
           "Index tensor must have the same number of dimensions as self tensor");
  if (src) {
    GS_CHECK(rank(*src) == rank(index),
             "Index tensor must have the same number of dimensions as src tensor");
  }
  for (int d = 0; d < rank(self); ++d) {
    const bool fits_self = d == dim || extent(index, d) <= extent(self, d);
    const bool fits_src = !src || extent(index, d) <= extent(*src, d);
    if (fits_self && fits_src) continue;
    GS_CHECK(src, "Expected index {} to be no larger than self {} apart from dimension {}",
             index.sizes(), self.sizes(), dim);
    fail(ErrorKind::Runtime,
         "Expected index {} to be no larger than self {} apart from dimension {} and to be no "
         "larger size than "
         "src {}",
         index.sizes(), self.sizes(), dim, src->sizes());
  }
}

/// The part of src that index names, so that its gradient has the index's shape.
Tensor trim(const Tensor& src, const Tensor& index) {
  if (src.sizes() == index.sizes() || index.numel() == 0) return src;
  if (src.ndim() != index.ndim()) return reshape(src, index.sizes());
  Tensor out = src;
  for (int d = 0; d < src.ndim(); ++d) {
    if (out.sizes()[d] != index.sizes()[d]) out = narrow(out, d, 0, index.sizes()[d]);
  }
  return out;
}

void write_scatter(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                   ScatterMode mode) {
  static const Op& op = Op::get("scatter");
  const GradMode off(false);
  const Tensor to = at_least_1d(self), at = at_least_1d(index);
  const Tensor from = src->storage == self->storage ? clone(src) : src;
  run(op, params(dim, int64_t{mode}), {&to}, {&to, &at, &from}, compute_type(self.dtype()));
}

// dself = dy with 0 at index, dsrc = dy gathered
void scatter_backward(Backward& b) {
  if (b.needs(0)) b.set(0, scatter(b.grad(), b.i(0), b.saved(0), 0));
  if (b.needs(1)) {
    const Tensor g = gather(b.grad(), b.i(0), b.saved(0));
    b.set(1, b.i(1) ? sum_to_size(g, {}) : g);
  }
}

void scatter_add_backward(Backward& b) {
  if (b.needs(0)) b.set(0, b.grad());
  if (b.needs(1)) b.set(1, gather(b.grad(), b.i(0), b.saved(0)));
}

}  // namespace

Tensor scatter(const Tensor& self, int64_t dim, const Tensor& index, const Operand& src,
               bool inplace) {
  static const Op& op = define("scatter", &scatter_backward);
  dim = wrap_dim(dim, self.ndim());
  const Tensor at = checked_index_tensor(index, "scatter");
  check_scatter(self, dim, at, src.tensor);
  const Tensor values =
      src.tensor ? trim(*src.tensor, at) : scalar_tensor(src.number, options_of(self));
  const Tensor out = write_target(self, inplace, {&index, &values});
  if (at.numel() != 0) write_scatter(out, dim, at, values, kWrite);
  finish_write(op, params(dim, int64_t{src.tensor == nullptr}), out, inplace, {&self, &values},
               {keep(at)});
  return out;
}

Tensor scatter_add(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                   bool inplace) {
  static const Op& op = define("scatter_add", &scatter_add_backward);
  dim = wrap_dim(dim, self.ndim());
  const Tensor at = checked_index_tensor(index, "scatter");
  check_scatter(self, dim, at, &src);
  const Tensor values = trim(src, at);
  const Tensor out = write_target(self, inplace, {&index, &values});
  if (at.numel() != 0) write_scatter(out, dim, at, values, kAdd);
  finish_write(op, params(dim), out, inplace, {&self, &values}, {keep(at)});
  return out;
}

// ---- scatter_reduce ----

namespace {

Scalar extreme(DType t, bool largest) {
  if (is_floating(t)) {
    const double inf = std::numeric_limits<double>::infinity();
    return largest ? inf : -inf;
  }
  return dispatch(t, [&](auto tag) -> Scalar {
    using T = decltype(tag);
    if constexpr (std::is_same_v<T, bool>) {
      return largest;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<int64_t>(largest ? std::numeric_limits<T>::max()
                                          : std::numeric_limits<T>::min());
    } else {
      return 0;
    }
  });
}

Tensor scatter_combine(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                       ScatterMode mode, bool include_self);

// The extremes share dy evenly; a product passes dy * y / x, with the product of the others where x
// = 0. saved: self, index, src, result
void scatter_combine_backward(Backward& b) {
  const Tensor self = b.saved(0), index = b.saved(1), src = b.saved(2), result = b.saved(3);
  const int64_t dim = b.i(0);
  const auto mode = static_cast<ScatterMode>(b.i(1));
  const bool include_self = b.i(2) != 0;
  const Tensor& dy = b.grad();
  const DType type = dy.dtype();
  auto excluded = [&](const Tensor& t) { return include_self ? t : scatter(t, dim, index, 0); };
  if (mode != kMultiply) {
    const Tensor self_wins = excluded(to(eq(self, result), type));
    const Tensor src_wins = to(eq(src, gather(result, dim, index)), type);
    const Tensor n = scatter_add(self_wins, dim, index, src_wins);
    const Tensor share = dy / maximum(n, 1);
    if (b.needs(0))
      b.set(0, include_self ? self_wins * share : dy * scatter(ones_like(n), dim, index, 0));
    if (b.needs(2)) b.set(2, src_wins * gather(share, dim, index));
    return;
  }
  if (b.needs(0)) {
    const Tensor others = masked_fill(self, eq(self, 0), 1);
    const Tensor product = scatter_combine(others, dim, index, src, kMultiply, include_self);
    b.set(0, excluded(dy * product / others));
  }
  if (b.needs(2)) {
    const Tensor zero = eq(src, 0);
    const Tensor n_zero =
        gather(scatter_add(zeros_like(result), dim, index, to(zero, type)), dim, index);
    const Tensor single = logical_and(zero, eq(n_zero, 1));
    const Tensor others = masked_fill(src, single, 1);
    const Tensor product = scatter_combine(self, dim, index, others, kMultiply, include_self);
    b.set(2, where(single, gather(dy * product, dim, index),
                   gather(dy * result, dim, index) / masked_fill(src, zero, 1)));
  }
}

Tensor scatter_combine(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                       ScatterMode mode, bool include_self) {
  static const Op& op = define("scatter_reduce", &scatter_combine_backward);
  const Tensor out = write_target(self, false);
  if (!include_self) {
    const Scalar start = mode == kMultiply ? Scalar(1) : extreme(self.dtype(), mode == kMin);
    const GradMode off(false);
    write_scatter(out, dim, index, scalar_tensor(start, options_of(self)), kWrite);
  }
  write_scatter(out, dim, index, src, mode);
  if (needs_grad(self, src)) {
    const Tensor none;
    record(op, params(dim, int64_t{mode}, int64_t{include_self}), {&out}, {&self, &none, &src},
           {keep(self), keep(index), keep(src), keep_output(out)});
  }
  return out;
}

Tensor scatter_mean(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                    bool include_self) {
  const Tensor sum =
      scatter_add(include_self ? self : scatter(self, dim, index, 0), dim, index, src);
  Tensor n;
  {
    const GradMode off(false);
    const Tensor start = include_self ? ones_like(self) : scatter(ones_like(self), dim, index, 0);
    n = scatter_add(start, dim, index, ones_like(src));
  }
  if (is_floating(self.dtype())) return sum / n;
  static const Op& floor_divide = Op::get("floor_divide");
  return map(floor_divide, {sum, n});
}

}  // namespace

Tensor scatter_reduce(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                      const std::string& reduce, bool include_self, bool inplace) {
  dim = wrap_dim(dim, self.ndim());
  const bool known = reduce == "sum" || reduce == "prod" || reduce == "mean" || reduce == "amax" ||
                     reduce == "amin";
  GS_CHECK(known, "reduce argument must be either sum, prod, mean, amax or amin, got {}", reduce);
  const Tensor at = checked_index_tensor(index, "scatter");
  check_scatter(self, dim, at, &src);
  if (at.numel() == 0) return inplace ? self : clone(self);
  const Tensor values = trim(src, at);
  if (reduce == "sum" && include_self) return scatter_add(self, dim, at, values, inplace);
  if (inplace) check_inplace(self);
  Tensor out;
  if (reduce == "sum") {
    out = scatter_add(scatter(self, dim, at, 0), dim, at, values);
  } else if (reduce == "mean") {
    out = scatter_mean(self, dim, at, values, include_self);
  } else {
    const ScatterMode mode = reduce == "prod" ? kMultiply : reduce == "amax" ? kMax : kMin;
    // The derivative reads self, which the in-place form overwrites.
    const Tensor kept = inplace && needs_grad(self, values) ? clone(self) : self;
    out = scatter_combine(kept, dim, at, values, mode, include_self);
  }
  return inplace ? assign(self, out) : out;
}

// ---- embedding ----

namespace {

Tensor embedding_dense_backward(const Tensor& dy, const Tensor& index, int64_t rows,
                                int64_t padding, bool by_frequency);

void embedding_backward(Backward& b) {
  b.set(0, embedding_dense_backward(b.grad(), b.saved(0), b.i(2), b.i(0), b.i(1) != 0));
}

// d(dy) = the rows of the incoming gradient, 0 for padding
void embedding_double_backward(Backward& b) {
  const Tensor index = b.saved(0);
  GS_CHECK(b.i(1) == 0, "double backward for embedding with scale_grad_by_freq is not supported");
  const Tensor g = embedding(b.grad(), index);
  b.set(0, b.i(0) < 0 ? g : masked_fill(g, unsqueeze(eq(index, b.i(0)), -1), 0));
}

Tensor embedding_dense_backward(const Tensor& dy, const Tensor& index, int64_t rows,
                                int64_t padding, bool by_frequency) {
  static const Op& op = define("embedding_dense_backward", &embedding_double_backward);
  static const Op& kernel = Op::get("embedding_backward");
  const Tensor out = empty({rows, dy.sizes().back()}, options_of(dy));
  {
    const GradMode off(false);
    const Tensor g = contiguous(dy);
    const Tensor at = contiguous(index);
    run(kernel, params(padding, int64_t{by_frequency}), {&out}, {&g, &at});
  }
  if (needs_grad(dy)) {
    record(op, params(padding, int64_t{by_frequency}), {&out}, {&dy}, {keep(index)});
  }
  return out;
}

void check_embedding_indices(const Tensor& indices, int argument, std::string_view name) {
  GS_CHECK(indices.dtype() == DType::Int64 || indices.dtype() == DType::Int32,
           "Expected tensor for argument #{} 'indices' to have one of the following scalar types: "
           "Long, Int; but "
           "got torch.{}Tensor instead (while checking arguments for {})",
           argument, scalar_name(indices.dtype()), name);
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx,
                 bool scale_grad_by_freq) {
  static const Op& op = define("embedding", &embedding_backward);
  static const Op& read = Op::get("index");
  GS_CHECK(weight.ndim() == 2, "'weight' must be 2-D");
  check_embedding_indices(indices, 1, "embedding");
  const Tensor at = to(indices, DType::Int64);
  Dims sizes = at.sizes();
  sizes.push_back(weight.sizes()[1]);
  const Tensor out = empty(sizes, options_of(weight));
  run(read, params(static_cast<int64_t>(IndexRule::Select), int64_t{0}, int64_t{at.ndim()}), {&out},
      {&weight, &at});
  if (needs_grad(weight)) {
    record(op, params(padding_idx, int64_t{scale_grad_by_freq}, weight.sizes()[0]), {&out},
           {&weight}, {keep(at)});
  }
  return out;
}

void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm,
                       double norm_type) {
  static const Op& op = Op::get("embedding_renorm");
  GS_CHECK(weight.ndim() == 2,
           "Expected 2-dimensional tensor, but got {}-dimensional tensor for argument #1 'self' "
           "(while checking arguments for embedding_renorm_)",
           weight.ndim());
  check_embedding_indices(indices, 2, "embedding_renorm_");
  const GradMode off(false);
  const Tensor at = contiguous(to(indices, DType::Int64));
  run(op, params(max_norm, norm_type), {&weight}, {&weight, &at});
  bump_version(weight);
}

Tensor one_hot(const Tensor& self, int64_t num_classes) {
  GS_CHECK(self.dtype() == DType::Int64,
           "one_hot is only applicable to index tensor of type LongTensor.");
  Dims sizes = self.sizes();
  if (self.numel() == 0) {
    GS_CHECK(num_classes > 0, "Can not infer total number of classes from empty tensor.");
    sizes.push_back(num_classes);
    return empty(sizes, options_of(self));
  }
  const IndexStatistics range = index_statistics(self);
  GS_CHECK(range.low >= 0, "Class values must be non-negative.");
  if (num_classes == -1) {
    num_classes = range.high + 1;
  } else {
    GS_CHECK(num_classes > range.high, "Class values must be smaller than num_classes.");
  }
  sizes.push_back(num_classes);
  return scatter(zeros(sizes, options_of(self)), -1, unsqueeze(self, -1), 1, true);
}

Tensor bincount(const Tensor& self, const Tensor& weights, int64_t minlength) {
  GS_CHECK_KIND(NotImplemented, !is_floating(self.dtype()) && self.dtype() != DType::Bool,
                "\"bincount_cpu\" not implemented for '{}'", scalar_name(self.dtype()));
  GS_CHECK(minlength >= 0, "minlength should be >= 0");
  GS_CHECK(self.ndim() == 1, "bincount only supports 1-d non-negative integral inputs.");
  GS_CHECK(!weights.defined() || (weights.ndim() == 1 && weights.numel() == self.numel()),
           "weights should be 1-d and have the same length as input");
  const GradMode off(false);
  DType type = DType::Int64;
  if (weights.defined()) type = weights.dtype() == DType::Float32 ? DType::Float32 : DType::Float64;
  if (self.numel() == 0) return zeros({minlength}, {DType::Int64, self.device()});
  const Tensor at = to(self, DType::Int64);
  const IndexStatistics range = index_statistics(at);
  GS_CHECK(range.low >= 0, "bincount only supports 1-d non-negative integral inputs.");
  const Options options{type, self.device()};
  const Dims bins{std::max(range.high + 1, minlength)};
  if (weights.defined()) return index_add(zeros(bins, options), 0, at, to(weights, type), 1, true);
  static const Op& op = Op::get("bincount");
  const Tensor counts = empty(bins, options), values = contiguous(at);
  run(op, params(), {&counts}, {&values});
  return counts;
}

Tensor histc(const Tensor& self, int64_t bins, Scalar min, Scalar max) {
  static const Op& op = Op::get("histc");
  GS_CHECK_KIND(NotImplemented, is_floating(self.dtype()),
                "\"histogram_cpu\" not implemented for '{}'", scalar_name(self.dtype()));
  GS_CHECK(bins > 0, "torch.histogram(): bins must be > 0, but got {} for dimension 0", bins);
  const GradMode off(false);
  double low = min.to_double(), high = max.to_double();
  if (low == high && self.numel() != 0) {
    const auto number = [](const Tensor& t) {
      const Tensor wide = to(t, DType::Float64);
      return host_value<double>(wide);
    };
    low = number(amin(self));
    high = number(amax(self));
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  GS_CHECK(std::isfinite(low) && std::isfinite(high),
           "torch.histc: range of [{}, {}] is not finite", low, high);
  GS_CHECK(low < high, "torch.histc: max must be larger than min");
  const Tensor counts = empty({bins}, DType::Int64, self.device()), x = contiguous(self);
  run(op, params(low, high), {&counts}, {&x});
  return to(counts, self.dtype());
}

}  // namespace gradstep
