// SPDX-License-Identifier: Apache-2.0
// Order: sort, topk, kthvalue, unique, searchsorted. NaN is greater than everything, as in PyTorch.
//   auto [values, indices] = sort(x, -1, /*descending=*/true);
#pragma once
#include <utility>

#include "ops/op.h"

namespace gradstep {

struct Sorted {
  Tensor values, indices;
};
/// Always stable.
Sorted sort(const Tensor& self, int64_t dim = -1, bool descending = false);
Tensor argsort(const Tensor& self, int64_t dim = -1, bool descending = false);
Sorted topk(const Tensor& self, int64_t k, int64_t dim = -1, bool largest = true,
            bool sorted = true);
/// The k-th smallest, k from 1.
Sorted kthvalue(const Tensor& self, int64_t k, int64_t dim = -1, bool keepdim = false);

struct Unique {
  Tensor values, inverse, counts;
};
/// Of all elements, or of the slices along dim. consecutive: equal neighbours only, nothing is
/// sorted.
Unique unique(const Tensor& self, std::optional<int64_t> dim = {}, bool consecutive = false);

/// Where values belong in the sorted last axis; sorter (may be undefined) tells the order of an
/// unsorted one.
Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false,
                    const Tensor& sorter = {});

/// values with the derivative of picking `indices` along dim from self (for sort, topk, max with
/// dim, ..). keepdim = false: dim is gone in values and indices.
void record_selection(const char* name, const Tensor& self, const Tensor& values,
                      const Tensor& indices, int64_t dim, bool keepdim = true);

}  // namespace gradstep
