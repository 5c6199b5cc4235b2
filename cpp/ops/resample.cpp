// SPDX-License-Identifier: Apache-2.0
// Images at other sizes and places. Resizing and borders are linear: one kernel, whose adjoint is
// its derivative; kernels/resample.cpp has the details.
#include "ops/resample.h"

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// ---- the linear map ----

/// The last sizes of x replaced.
Dims with_last(const Tensor& x, const Dims& to) {
  Dims sizes = x.sizes();
  for (int d = 0; d < to.size(); ++d) sizes[x.ndim() - to.size() + d] = to[d];
  return sizes;
}

void resample_backward(Backward& b);
void resample_grad_backward(Backward& b);

const Op& resample_op() {
  static const Op& op = define("resample", &resample_backward);
  return op;
}
const Op& resample_grad_op() {
  static const Op& op = define("resample_grad", &resample_grad_backward);
  return op;
}

/// p: the call's parameters; the node has x's last sizes behind them. Halves are computed as float.
Tensor linear_map(const Op& op, const Tensor& x, const Dims& to, Params p) {
  if (is_half(x.dtype())) {
    return gradstep::to(linear_map(op, gradstep::to(x, DType::Float32), to, p), x.dtype());
  }
  for (const int64_t s : to)
    GS_CHECK(s <= INT32_MAX, "{}: axes beyond 2^31 are not supported", op.name);
  const Tensor in = [&] {
    const GradMode off(false);
    return contiguous(x);
  }();
  const Tensor out = empty(with_last(x, to), options_of(x));
  run(op, p, {&out}, {&in});
  if (needs_grad(x)) {
    p.push(Dims(x.sizes().end() - to.size(), to.size()));
    record(op, p, {&out}, {&x}, {});
  }
  return out;
}

void adjoint(Backward& b, const Op& op) {
  const int nd = static_cast<int>(b.i(0) & 7);
  Params p = b.node.params;
  p.count = static_cast<uint8_t>(p.count - nd);
  b.set(0, linear_map(op, b.grad(), Dims(&p.s[p.count].i, nd), p));
}
void resample_backward(Backward& b) { adjoint(b, resample_grad_op()); }
void resample_grad_backward(Backward& b) { adjoint(b, resample_op()); }

int64_t first_slot(int nd, int64_t mode, bool align) {
  return nd | mode << 3 | int64_t{align} << 7;
}

}  // namespace

Tensor resize(const Tensor& x, const Dims& to, Resize mode, bool align_corners,
              const std::array<double, 3>& scales) {
  const bool nearest = mode == Resize::Nearest || mode == Resize::NearestExact;
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()) || (nearest && x.dtype() == DType::UInt8),
                "\"{}\" not implemented for '{}'",
                nearest ? "compute_indices_weights_nearest" : "compute_indices_weights_linear",
                scalar_name(x.dtype()));
  GS_CHECK(x.ndim() == to.size() + 2, "resize: expected {} dimensions, got {}", to.size() + 2,
           x.ndim());
  for (int d = 0; d < to.size(); ++d) {
    GS_CHECK(to[d] > 0 && x.sizes()[d + 2] > 0,
             "Input and output sizes should be greater than 0, but got input {} output {}",
             x.sizes(), to);
  }
  Params p = params(first_slot(to.size(), static_cast<int64_t>(mode), align_corners));
  for (int d = 0; d < to.size(); ++d) p.push(scales[static_cast<size_t>(d)]);
  constexpr Shown kNearest[] = {Shown::UpsampleNearest1D, Shown::UpsampleNearest2D,
                                Shown::UpsampleNearest3D};
  constexpr Shown kLinear[] = {Shown::UpsampleLinear1D, Shown::UpsampleBilinear2D,
                               Shown::UpsampleTrilinear3D};
  const auto axes = static_cast<size_t>(to.size() - 1);
  return show_as(linear_map(resample_op(), x, to, p), mode == Resize::Nearest  ? kNearest[axes]
                                                      : mode == Resize::Linear ? kLinear[axes]
                                                      : mode == Resize::Cubic
                                                          ? Shown::UpsampleBicubic2D
                                                          : Shown::NameOfOp);
}

Tensor pad_repeat(const Tensor& x, std::span<const int64_t> pad, Border border) {
  const auto nd = static_cast<int>(pad.size() / 2);
  Params p = params(first_slot(nd, static_cast<int64_t>(border), false));
  Dims to(x.sizes().end() - nd, nd);
  for (int d = 0; d < nd; ++d) {
    const auto k = static_cast<size_t>(2 * (nd - 1 - d));
    to[d] += pad[k] + pad[k + 1];
    p.push(pad[k]);
  }
  return linear_map(resample_op(), x, to, p);
}

// ---- sampling by a grid ----

namespace {

// PyTorch has no second derivative either.
void grid_sample_grad_backward(Backward&) {
  fail(ErrorKind::Runtime, "derivative for aten::grid_sampler_2d_backward is not implemented");
}

void grid_sample_backward(Backward& b) {
  static const Op& dx_op = define("grid_sample_dx", &grid_sample_grad_backward);
  static const Op& dgrid_op = define("grid_sample_dgrid", &grid_sample_grad_backward);
  const Tensor x = b.saved(0), grid = b.saved(1), dy = b.grad();
  const auto inputs = [&] {
    const GradMode off(false);
    return std::array<Tensor, 3>{contiguous(dy), contiguous(x), contiguous(grid)};
  }();
  if (b.needs(0)) {
    const Tensor dx = empty(x.sizes(), options_of(x));
    run(dx_op, b.node.params, {&dx}, {&inputs[0], &inputs[2]});
    if (needs_grad(dy, grid)) record(dx_op, params(), {&dx}, {&dy, &grid}, {});
    b.set(0, dx);
  }
  if (b.needs(1)) {
    const Tensor dgrid = empty(grid.sizes(), options_of(x));
    run(dgrid_op, b.node.params, {&dgrid}, {&inputs[0], &inputs[1], &inputs[2]});
    if (needs_grad(dy, x, grid)) record(dgrid_op, params(), {&dgrid}, {&dy, &x, &grid}, {});
    b.set(1, dgrid);
  }
}

}  // namespace

Tensor grid_sample(const Tensor& x, const Tensor& grid, Sampling mode, Outside outside,
                   bool align_corners) {
  static const Op& op = define("grid_sample", &grid_sample_backward);
  common_device({&x, &grid}, "grid_sampler");
  GS_CHECK(x.dtype() == grid.dtype(),
           "grid_sampler(): expected input and grid to have same dtype, but input has {} and grid "
           "has {}",
           scalar_name(x.dtype()), scalar_name(grid.dtype()));
  GS_CHECK(x.ndim() == 4 || x.ndim() == 5,
           "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
           "got input with sizes {} and grid with sizes {}",
           x.sizes(), grid.sizes());
  GS_CHECK(x.ndim() == grid.ndim(),
           "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
           "got input with sizes {} and grid with sizes {}",
           x.sizes(), grid.sizes());
  GS_CHECK(x.sizes()[0] == grid.sizes()[0],
           "grid_sampler(): expected grid and input to have same batch size, but got input with "
           "sizes {} and grid with sizes {}",
           x.sizes(), grid.sizes());
  GS_CHECK(grid.sizes().back() == x.ndim() - 2,
           "grid_sampler(): expected grid to have size {} in last dimension, but got grid with "
           "sizes {}",
           x.ndim() - 2, grid.sizes());
  int64_t plane = 1;
  for (int d = 2; d < x.ndim(); ++d) {
    GS_CHECK(x.sizes()[d] > 0,
             "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
             "sizes {} with dimension {} being empty",
             x.sizes(), d);
    GS_CHECK(x.dtype() == DType::Float64 || x.sizes()[d] <= 1 << 24,
             "grid_sampler(): axes beyond 2^24 need float64");  // float has no such indices
    GS_CHECK(x.sizes()[d] <= INT32_MAX / plane,
             "grid_sampler(): images beyond 2^31 elements are not supported");
    plane *= x.sizes()[d];
  }
  GS_CHECK(x.ndim() == 4 || mode != Sampling::Bicubic,
           "grid_sampler(): bicubic interpolation only supports 4D input");
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()),
                "\"grid_sampler_2d_cpu\" not implemented for '{}'", scalar_name(x.dtype()));
  if (is_half(x.dtype())) {
    return to(
        grid_sample(to(x, DType::Float32), to(grid, DType::Float32), mode, outside, align_corners),
        x.dtype());
  }
  Dims sizes{x.sizes()[0], x.sizes()[1]};
  for (int d = 1; d + 1 < grid.ndim(); ++d) sizes.push_back(grid.sizes()[d]);
  const Tensor out = empty(sizes, options_of(x));
  const Params p =
      params(static_cast<int64_t>(mode), static_cast<int64_t>(outside), int64_t{align_corners});
  {
    const GradMode off(false);
    const Tensor image = contiguous(x), places = contiguous(grid);
    run(op, p, {&out}, {&image, &places});
  }
  if (needs_grad(x, grid)) record(op, p, {&out}, {&x, &grid}, {keep(x), keep(grid)});
  return out;
}

}  // namespace gradstep
