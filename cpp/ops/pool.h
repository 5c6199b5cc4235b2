// SPDX-License-Identifier: Apache-2.0
// Pooling over the last nd = 1, 2 or 3 axes, sliding windows as columns, and shuffles between
// channels and pixels.
//   max_pool(x, {{2, 2}, {2, 2}, {0, 0}, {1, 1}, false}).values      x: [N, C, H, W] or [C, H, W]
// May include core, fn, graph.
#pragma once
#include "ops/op.h"
#include "ops/reduce.h"

namespace gradstep {

/// Each list has one value for each pooled axis.
struct Window {
  Dims kernel, stride, padding, dilation;
  bool ceil_mode = false;  // a window may start inside and end outside
  int nd() const { return kernel.size(); }
};

/// indices: flat positions in the pooled axes of the input; undefined unless with_indices.
ValuesIndices max_pool(const Tensor& x, const Window& window, bool with_indices = false);
/// divisor: what a window's sum is divided by; by default its number of elements, padding included
/// or not.
Tensor avg_pool(const Tensor& x, const Window& window, bool count_include_pad = true,
                std::optional<int64_t> divisor = {});
Tensor adaptive_avg_pool(const Tensor& x, const Dims& output_size);
ValuesIndices adaptive_max_pool(const Tensor& x, const Dims& output_size);

/// [N, C, H, W] -> [N, C * kernel, windows] and its adjoint, which sums; lists of two.
Tensor im2col(const Tensor& x, const Dims& kernel, const Dims& dilation, const Dims& padding,
              const Dims& stride);
Tensor col2im(const Tensor& x, const Dims& output_size, const Dims& kernel, const Dims& dilation,
              const Dims& padding, const Dims& stride);

/// [.., C r^2, H, W] -> [.., C, H r, W r] and back.
Tensor pixel_shuffle(const Tensor& x, int64_t r);
Tensor pixel_unshuffle(const Tensor& x, int64_t r);
/// Channels (g, C / g) in the order (C / g, g).
Tensor channel_shuffle(const Tensor& x, int64_t groups);

}  // namespace gradstep
