// SPDX-License-Identifier: Apache-2.0
// Order: shapes, checks and derivatives. The derivative of all of them is to put dy back where a
// value came from.
#include "ops/sort.h"

#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// dself = zeros with dy at indices; params: dim, keepdim, sizes of self
void selection_backward(Backward& b) {
  const int64_t dim = b.i(0);
  const Dims sizes(&b.node.params.s[2].i, b.node.params.count - 2);
  Tensor dy = b.grad();
  if (!dy.defined()) return;
  Tensor at = b.saved(0);
  if (b.i(1) == 0 && !sizes.empty()) {
    dy = unsqueeze(dy, dim);
    at = unsqueeze(at, dim);
  }
  b.set(0, scatter(zeros(sizes, options_of(dy)), dim, at, dy, true));
}

Tensor sized(const Tensor& self, int64_t dim, int64_t n, DType type) {
  Dims sizes = self.sizes();
  if (!sizes.empty()) sizes[static_cast<int>(dim)] = n;
  return empty(sizes, type, self.device());
}

int64_t length(const Tensor& self, int64_t dim) {
  return self.ndim() == 0 ? 1 : self.sizes()[static_cast<int>(dim)];
}

}  // namespace

void record_selection(const char* name, const Tensor& self, const Tensor& values,
                      const Tensor& indices, int64_t dim, bool keepdim) {
  if (!needs_grad(self)) return;
  const Op& op = define(name, &selection_backward);
  record(op, params(dim, int64_t{keepdim}, self.sizes()), {&values}, {&self}, {keep(indices)});
}

Sorted sort(const Tensor& self, int64_t dim, bool descending) {
  static const Op& op = Op::get("sort");
  dim = wrap_dim(dim, self.ndim());
  Sorted out{empty(self.sizes(), options_of(self)),
             empty(self.sizes(), DType::Int64, self.device())};
  run(op, params(dim, int64_t{descending}), {&out.values, &out.indices}, {&self});
  record_selection("sort", self, out.values, out.indices, dim);
  return out;
}

Tensor argsort(const Tensor& self, int64_t dim, bool descending) {
  const GradMode off(false);
  return sort(self, dim, descending).indices;
}

Sorted topk(const Tensor& self, int64_t k, int64_t dim, bool largest, bool sorted) {
  static const Op& op = Op::get("topk");
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK(k >= 0 && k <= length(self, dim), "selected index k out of range");
  Sorted out{sized(self, dim, k, self.dtype()), sized(self, dim, k, DType::Int64)};
  run(op, params(dim, k, int64_t{largest}, int64_t{sorted}), {&out.values, &out.indices}, {&self});
  record_selection("topk", self, out.values, out.indices, dim);
  return out;
}

Sorted kthvalue(const Tensor& self, int64_t k, int64_t dim, bool keepdim) {
  static const Op& op = Op::get("kthvalue");
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK(k >= 1 && k <= length(self, dim),
           "kthvalue(): selected number k out of range for dimension {}", dim);
  Sorted out{sized(self, dim, 1, self.dtype()), sized(self, dim, 1, DType::Int64)};
  run(op, params(dim, k), {&out.values, &out.indices}, {&self});
  if (!keepdim && self.ndim() > 0) {
    const GradMode off(false);
    Dims sizes = out.values.sizes();
    sizes.erase(static_cast<int>(dim));
    out.values = alias(out.values, sizes, contiguous_strides(sizes), 0);
    out.indices = alias(out.indices, sizes, contiguous_strides(sizes), 0);
  }
  record_selection("kthvalue", self, out.values, out.indices, dim, keepdim);
  return out;
}

// ---- unique ----

Unique unique(const Tensor& self, std::optional<int64_t> dim, bool consecutive) {
  static const Op& op = Op::get("unique_rows");
  const GradMode off(false);
  Tensor rows;
  int64_t axis = 0;
  if (dim) {
    axis = wrap_dim(*dim, self.ndim());
    const Tensor moved = self.ndim() == 0 ? reshape(self, {1}) : movedim(self, {axis}, {0});
    GS_CHECK(self.numel() != 0 || moved.sizes()[0] == 0,
             "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
    rows = reshape(contiguous(moved),
                   {moved.sizes()[0], moved.numel() / std::max<int64_t>(moved.sizes()[0], 1)});
  } else {
    rows = reshape(contiguous(self), {self.numel(), 1});
  }
  const int64_t n = rows.sizes()[0];
  const Options options{DType::Int64, self.device()};
  const Tensor first = empty({n}, options), counts = empty({n}, options),
               total = empty({1}, options);
  Unique out;
  out.inverse = empty({n}, options);
  run(op, params(int64_t{consecutive}), {&first, &out.inverse, &counts, &total}, {&rows});
  const int64_t kinds = host_value<int64_t>(total);
  out.counts = clone(narrow(counts, 0, 0, kinds));
  const Tensor at = narrow(first, 0, 0, kinds);
  if (dim) {
    out.values = self.ndim() == 0 ? reshape(self, {1}) : index_select(self, axis, at);
  } else {
    out.values = index_select(reshape(rows, {n}), 0, at);
    out.inverse = reshape(out.inverse, self.sizes());
  }
  return out;
}

// ---- searchsorted ----

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right, const Tensor& sorter) {
  static const Op& op = Op::get("searchsorted");
  const GradMode off(false);
  GS_CHECK(sorted.ndim() != 0,
           "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 "
           "dimension");
  GS_CHECK(values.ndim() != 0 || sorted.ndim() == 1,
           "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
           "dimension is 1, but we "
           "got boundaries tensor dim({}) and input value's dim({}) numel({})",
           sorted.ndim(), values.ndim(), values.numel());
  bool fits = sorted.ndim() == 1 || sorted.ndim() == values.ndim();
  for (int d = 0; fits && sorted.ndim() > 1 && d < sorted.ndim() - 1; ++d) {
    fits = sorted.sizes()[d] == values.sizes()[d];
  }
  GS_CHECK(fits,
           "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
           "dimensions of boundaries "
           "tensor and input value tensor must match, but we got boundaries tensor {} and input "
           "value tensor {}",
           sorted.sizes(), values.sizes());
  GS_CHECK(!sorter.defined() || sorter.sizes() == sorted.sizes(),
           "torch.searchsorted(): boundary and sorter must have the same size, but got boundary "
           "tensor {} and got "
           "sorter tensor {}",
           sorted.sizes(), sorter.defined() ? sorter.sizes() : Dims{});
  GS_CHECK(!sorter.defined() || sorter.dtype() == DType::Int64,
           "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {}",
           scalar_name(sorter.defined() ? sorter.dtype() : DType::Int64));
  const DType type = result_type({sorted, values});
  const Tensor bounds = contiguous(to(sorted, type)), v = contiguous(to(values, type));
  const Tensor order = sorter.defined() ? contiguous(sorter) : Tensor();
  const Tensor out = empty(values.sizes(), DType::Int64, values.device());
  if (order.defined() && order.numel() > 0) {
    const IndexStatistics range = index_statistics(order);
    GS_CHECK_INDEX(range.low >= 0 && range.high < bounds.sizes().back(),
                   "torch.searchsorted(): sorter index out of range");
  }
  run(op, params(int64_t{right}), {&out}, {&bounds, &v, &order});
  return out;
}

}  // namespace gradstep
