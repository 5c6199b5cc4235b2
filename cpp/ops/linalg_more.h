// SPDX-License-Identifier: Apache-2.0
// Products that are composed of matrix products and elementwise ops; derivatives come by
// themselves.
//   einsum("bij,bjk->bik", {a, b})
// May include core, fn, graph.
#pragma once
#include <span>
#include <string>

#include "ops/op.h"

namespace gradstep {

Tensor einsum(const std::string& equation, std::span<const Tensor> operands);
/// Sums products over pairs of axes.
Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b);
Tensor inner(const Tensor& a, const Tensor& b);
Tensor kron(const Tensor& a, const Tensor& b);
/// By default along the first axis of size 3.
Tensor cross(const Tensor& a, const Tensor& b, std::optional<int64_t> dim = {});
/// The product of matrices in the order that costs least.
Tensor chain_matmul(std::span<const Tensor> matrices);
/// x1: [.., P, M], x2: [.., R, M] -> [.., P, R]. mode as PyTorch's compute_mode; empty is its
/// default.
Tensor cdist(const Tensor& x1, const Tensor& x2, double p = 2, const std::string& mode = {});
/// y[n, o] = x1[n, :] @ weight[o] @ x2[n, :] + bias[o]
Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& weight, const Tensor& bias);
/// x / max(norm of x along dim, eps)
Tensor normalize(const Tensor& x, double p = 2, int64_t dim = 1, double eps = 1e-12);

}  // namespace gradstep
