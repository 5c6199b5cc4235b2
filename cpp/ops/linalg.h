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

// ---- with activations; see Note [Passes of a linear layer] in linear.cpp ----

/// gelu(linear(..)), the tanh form: the same nodes, in one call where a GPU has that.
Tensor linear_gelu_tanh(const Tensor& input, const Tensor& weight, const Tensor& bias);
/// gelu(addmm(..)) or relu(addmm(..)). As in PyTorch, gelu is the tanh form on a GPU.
Tensor addmm_activation(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta,
                        Scalar alpha, bool use_gelu);
/// The derivative of relu, gelu and gelu_tanh.
void activation_backward(Backward& b);

}  // namespace gradstep
