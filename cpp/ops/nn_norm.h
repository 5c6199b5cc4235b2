// SPDX-License-Identifier: Apache-2.0
// Ops along rows: softmax and normalisations, forward and backward one kernel each. Their second
// derivatives come from the composed formula.
//   softmax(x, -1)    layer_norm(x, {64}, weight, bias)    batch_norm(x, w, b, mean, var, training,
//   0.1, 1e-5)
// May include core, fn, graph.
#pragma once
#include "ops/op.h"

namespace gradstep {

Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});

/// Undefined weight, bias: none.
Tensor layer_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
Tensor rms_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& weight = {},
                std::optional<double> eps = {});
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
/// In training, updates the running statistics that are given: the variance with divisor n - 1.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var, bool training,
                  double momentum, double eps);
Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, bool use_input_stats,
                     double momentum, double eps);

}  // namespace gradstep
