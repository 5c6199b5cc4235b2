// SPDX-License-Identifier: Apache-2.0
// Elements by position: x[...], gather and scatter, index_select and its kin, masks, embedding.
//   index(x, {IndexItem::integer(0), IndexItem::ellipsis(), IndexItem::advanced(t)})      x[0, ...,
//   t] scatter_add(x, 1, index, src)              a new tensor;  scatter_add(x, 1, index, src,
//   true) writes x
// Functions with a last argument `inplace` write into self where it is true, and return self.
#pragma once
#include <span>
#include <vector>

#include "core/index_rule.h"
#include "ops/op.h"

namespace gradstep {

// ---- x[...] ----

/// One part of what stands between the brackets.
struct IndexItem {
  enum class Kind : uint8_t { Integer, Slice, NewAxis, Ellipsis, Bool, Advanced };
  Kind kind = Kind::NewAxis;
  int64_t start = 0, stop = INT64_MAX, step = 1;  // Integer: start; Bool: start is 0 or 1
  Tensor tensor;                                  // Advanced: int64, int32, uint8 or bool

  static IndexItem integer(int64_t i) { return {Kind::Integer, i, 0, 0, {}}; }
  /// stop = INT64_MAX stands for the end
  static IndexItem slice(int64_t start, int64_t stop = INT64_MAX, int64_t step = 1) {
    return {Kind::Slice, start, stop, step, {}};
  }
  static IndexItem new_axis() { return {}; }
  static IndexItem ellipsis() { return {Kind::Ellipsis, 0, 0, 0, {}}; }
  static IndexItem boolean(bool b) { return {Kind::Bool, b, 0, 0, {}}; }
  static IndexItem advanced(Tensor t) { return {Kind::Advanced, 0, 0, 0, std::move(t)}; }
};

/// x[items]: a view unless a tensor is among the items.
Tensor index(const Tensor& self, std::span<const IndexItem> items);
/// x[items] = value; value has self's dtype or is converted where PyTorch converts.
void assign_index(const Tensor& self, std::span<const IndexItem> items, const Tensor& value);
void assign_index(const Tensor& self, std::span<const IndexItem> items, const Scalar& value);

/// Tensors by axis; an undefined one stands for `:`. The rule of where their axes go is numpy's.
Tensor index(const Tensor& self, std::span<const Tensor> indices,
             IndexRule rule = IndexRule::Advanced);
Tensor index_put(const Tensor& self, std::span<const Tensor> indices, const Tensor& values,
                 bool accumulate = false, bool inplace = false);

// ---- along one axis ----

Tensor index_select(const Tensor& self, int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha = 1, bool inplace = false);
Tensor index_copy(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source,
                  bool inplace = false);
/// value is a number or a 0-d tensor.
Tensor index_fill(const Tensor& self, int64_t dim, const Tensor& index, const Operand& value,
                  bool inplace = false);
Tensor gather(const Tensor& self, int64_t dim, const Tensor& index);
/// src is a tensor or a number.
Tensor scatter(const Tensor& self, int64_t dim, const Tensor& index, const Operand& src,
               bool inplace = false);
Tensor scatter_add(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                   bool inplace = false);
/// reduce: sum, prod, mean, amax, amin.
Tensor scatter_reduce(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src,
                      const std::string& reduce, bool include_self = true, bool inplace = false);
Tensor take_along_dim(const Tensor& self, const Tensor& indices, std::optional<int64_t> dim);

// ---- flat ----

Tensor take(const Tensor& self, const Tensor& index);
Tensor put(const Tensor& self, const Tensor& index, const Tensor& source, bool accumulate = false,
           bool inplace = false);

// ---- masks ----

Tensor masked_fill(const Tensor& self, const Tensor& mask, const Operand& value,
                   bool inplace = false);
Tensor masked_select(const Tensor& self, const Tensor& mask);
Tensor masked_scatter(const Tensor& self, const Tensor& mask, const Tensor& source,
                      bool inplace = false);
/// int64 [n, ndim]
Tensor nonzero(const Tensor& self);
/// One int64 [n] for each axis.
std::vector<Tensor> nonzero_tuple(const Tensor& self);

// ---- tables ----

/// Rows of weight. padding_idx < 0: none.
Tensor embedding(const Tensor& weight, const Tensor& indices, int64_t padding_idx = -1,
                 bool scale_grad_by_freq = false);
/// Scales the rows that indices name down to a norm of at most max_norm, in place, without history.
void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm,
                       double norm_type);
Tensor one_hot(const Tensor& self, int64_t num_classes = -1);
/// How many elements lie in each of equal parts of [min, max]; of the data's range if they are
/// equal.
Tensor histc(const Tensor& self, int64_t bins, Scalar min, Scalar max);
Tensor bincount(const Tensor& self, const Tensor& weights, int64_t minlength);

// ---- for the ops beside these ----

/// The tensor that a functional (a copy) or in-place (self, checked) op writes into. In place it
/// must have no memory of what the op reads; `may_repeat` as in check_inplace.
Tensor write_target(const Tensor& self, bool inplace,
                    std::initializer_list<const Tensor*> reads = {}, bool may_repeat = false);
/// After the write: raises the version and hangs the history on `out`; inputs[0] is self.
void finish_write(const Op& op, const Params& params, const Tensor& out, bool inplace,
                  std::initializer_list<const Tensor*> inputs, std::initializer_list<Save> saves);
/// Smallest, largest and sum of a non-empty int64 tensor, on the host.
struct IndexStatistics {
  int64_t low, high, sum;
};
IndexStatistics index_statistics(const Tensor& index);

}  // namespace gradstep
