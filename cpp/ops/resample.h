// SPDX-License-Identifier: Apache-2.0
// Images at other sizes and places: resizing, borders that mirror or repeat, sampling by a grid.
//   resize(x, {64, 64}, Resize::Linear, false, {0, 0, 0})      pad_repeat(x, pad, Border::Reflect)
// May include core, fn, graph.
#pragma once
#include <array>
#include <span>

#include "ops/op.h"

namespace gradstep {

/// Smooth filters widen where they shrink an image (antialias).
enum class Resize : int64_t { Nearest, NearestExact, Linear, Cubic, LinearSmooth, CubicSmooth };
/// The last axes of x to `to`; scales[d] is that of axis d, 0 to take it from the sizes.
Tensor resize(const Tensor& x, const Dims& to, Resize mode, bool align_corners,
              const std::array<double, 3>& scales);

enum class Border : int64_t { Reflect = 6, Replicate, Circular };
/// (before, after) from the last axis on, up to three axes; the paddings are checked by the caller.
Tensor pad_repeat(const Tensor& x, std::span<const int64_t> pad, Border border);

enum class Sampling : int64_t { Bilinear, Nearest, Bicubic };
enum class Outside : int64_t { Zeros, Border, Reflection };
/// Values of x (N, C, [D,] H, W) at grid (N, [Do,] Ho, Wo, 2 or 3), its places given in [-1, 1].
Tensor grid_sample(const Tensor& x, const Tensor& grid, Sampling mode, Outside outside,
                   bool align_corners);

}  // namespace gradstep
