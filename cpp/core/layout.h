// SPDX-License-Identifier: Apache-2.0
// Questions about strides that several layers ask.
#pragma once
#include "core/shape.h"

namespace gradstep {

/// Fills order[] with the axes from the largest stride to the smallest; equal ones keep their
/// order.
GS_API void order_by_stride(const Dims& strides, int* order);

/// True if every place of the memory that is spanned belongs to exactly one element: a contiguous
/// tensor or a permutation of one.
GS_API bool is_dense(const Dims& sizes, const Dims& strides);

}  // namespace gradstep
