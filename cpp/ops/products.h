// SPDX-License-Identifier: Apache-2.0
// What the derivatives of matrix products are written with; defined in linalg.cpp.
#pragma once
#include "ops/op.h"

namespace gradstep {

/// A matrix that BLAS can read: rows or columns contiguous. Anything else is copied.
Tensor readable(const Tensor& x);

/// Sums that may come with a product: of the rows of its left factor, of the columns of its right
/// one.
enum class Sums { None, OfLeft, OfRight };

/// The gradient of input k is alpha * left @ right: added to the gradient that is there already, or
/// made. The sums are the result where they come with it, else it is undefined.
Tensor give_product(Backward& b, int k, const Tensor& left, const Tensor& right, double alpha = 1,
                    Sums wanted = Sums::None);

/// Makes the node of beta * input + alpha * (a @ b).
void record_addmm(const Tensor& out, const Tensor& input, const Tensor& a, const Tensor& b,
                  double beta, double alpha);

}  // namespace gradstep
