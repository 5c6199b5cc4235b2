// SPDX-License-Identifier: Apache-2.0
// Matrix products.
#pragma once
#include "ops/op.h"

namespace gradstep {

Tensor mm(const Tensor& a, const Tensor& b);
Tensor bmm(const Tensor& a, const Tensor& b);
Tensor matmul(const Tensor& a, const Tensor& b);  // PyTorch's rule for every rank
Tensor dot(const Tensor& a, const Tensor& b);
Tensor mv(const Tensor& a, const Tensor& x);
Tensor outer(const Tensor& a, const Tensor& b);
/// beta * input + alpha * (a @ b)
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1,
             Scalar alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1,
               Scalar alpha = 1);
/// input @ weight.T + bias; bias may be undefined. One call, one node.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias);

}  // namespace gradstep
