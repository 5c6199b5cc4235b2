// SPDX-License-Identifier: Apache-2.0
// Convolution in 1, 2 and 3 dimensions.
//   conv(2, x, weight, bias, {1, 1}, {1, 1}, {1, 1}, 1)      x: [N, C, H, W] or [C, H, W]
// May include core, fn, graph.
#pragma once
#include <string>

#include "ops/op.h"

namespace gradstep {

/// weight: [c_out, c_in / groups, kernel..]; bias: [c_out] or undefined. Lists have one value or
/// nd.
Tensor conv(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
            const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups);
/// padding: "same" (the output is as large as the input) or "valid" (none).
Tensor conv(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
            const Dims& stride, const std::string& padding, const Dims& dilation, int64_t groups);
/// weight: [c_in, c_out / groups, kernel..].
Tensor conv_transpose(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
                      const Dims& stride, const Dims& padding, const Dims& output_padding,
                      int64_t groups, const Dims& dilation);
/// Either of them, batched, by the rank of weight.
Tensor convolution(const Tensor& input, const Tensor& weight, const Tensor& bias,
                   const Dims& stride, const Dims& padding, const Dims& dilation, bool transposed,
                   const Dims& output_padding, int64_t groups);

}  // namespace gradstep
