// SPDX-License-Identifier: Apache-2.0
// Images at other sizes and places. Resizing and borders are linear: one kernel, whose adjoint is
// its derivative; kernels/resample.cpp has the details.
#include "ops/resample.h"

#include <algorithm>
#include <vector>

#include "ops/create.h"
#include "ops/index.h"
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

// ---- a grid's values, composed ----
// The same as cpp/fn/grid_sample.h with tensors, for derivatives of derivatives.

/// What one axis of the image gives to each place: elements, as int64, and their weights.
struct AxisTaps {
  std::vector<Tensor> elements, weights;
};

/// A place moved into the image; the ends have no slope.
Tensor moved_inside(const Tensor& at, int64_t size, Outside outside, bool align) {
  if (outside == Outside::Zeros) return at;
  const double limit = static_cast<double>(size - 1);
  Tensor x = at;
  if (outside == Outside::Reflection) {
    const double low = align ? 0 : -0.5, span = align ? limit : static_cast<double>(size);
    if (span <= 0) return zeros_like(at);
    const Tensor d = abs(sub(x, low));
    const Tensor turns = map(Op::get("floor"), {detach(div(d, span))});
    const Tensor rest = d - mul(turns, span);
    const Tensor odd = eq(map(Op::get("remainder"), {turns, 2}), 1);
    x = add(where(odd, sub(span, rest), rest), low);
  }
  const Tensor within = logical_and(gt(x, 0), lt(x, limit));
  return where(within, x, map(Op::get("clamp"), {detach(x), 0, limit}));
}

AxisTaps taps_of(const Tensor& g, int64_t size, Sampling mode, Outside outside, bool align) {
  const double n = static_cast<double>(size);
  const Tensor at = align ? mul(add(g, 1), (n - 1) / 2) : mul(sub(mul(add(g, 1), n), 1), 0.5);
  AxisTaps taps;
  const auto put = [&](const Tensor& element, const Tensor& weight) {
    const Tensor where_inside = logical_and(ge(element, 0), lt(element, n));
    taps.elements.push_back(to(where(where_inside, element, 0), DType::Int64));
    taps.weights.push_back(where(where_inside, weight, 0));
  };
  const auto whole = [](const char* how, const Tensor& x) {
    const GradMode off(false);
    return map(Op::get(how), {x});
  };
  if (mode == Sampling::Nearest) {
    put(whole("round", moved_inside(at, size, outside, align)), ones_like(at));
  } else if (mode == Sampling::Bilinear) {
    const Tensor x = moved_inside(at, size, outside, align), low = whole("floor", x);
    const Tensor f = x - low;
    put(low, sub(1, f));
    put(add(low, 1), f);
  } else {
    constexpr double a = -0.75;  // Keys' cubic convolution
    const auto outer = [](const Tensor& t) {
      return sub(mul(add(mul(sub(mul(t, a), 5 * a), t), 8 * a), t), 4 * a);
    };
    const auto inner = [](const Tensor& t) {
      return add(mul(sub(mul(t, a + 2), a + 3), t * t), 1);
    };
    const Tensor low = whole("floor", at), f = at - low;
    const Tensor weights[] = {outer(add(f, 1)), inner(f), inner(sub(1, f)), outer(sub(2, f))};
    for (int k = 0; k < 4; ++k)
      put(detach(moved_inside(add(low, k - 1), size, outside, align)), weights[k]);
  }
  return taps;
}

Tensor composed_grid_sample(const Tensor& x, const Tensor& grid, Sampling mode, Outside outside,
                            bool align) {
  const int nd = x.ndim() - 2;
  const int64_t n = x.sizes()[0], channels = x.sizes()[1];
  Dims sizes{n, channels};
  for (int d = 1; d <= nd; ++d) sizes.push_back(grid.sizes()[d]);
  const Tensor flat = reshape(x, {n, channels, -1});
  const int64_t places = grid.numel() / std::max<int64_t>(1, n * nd);
  std::vector<AxisTaps> axes;  // the grid names the last axis first
  for (int d = 0; d < nd; ++d) {
    const Tensor g = reshape(select(grid, -1, nd - 1 - d), {n, 1, places});
    axes.push_back(taps_of(g, x.sizes()[2 + d], mode, outside, align));
  }
  const size_t each = axes[0].elements.size();
  size_t combinations = 1;
  for (int d = 0; d < nd; ++d) combinations *= each;
  Tensor out;
  for (size_t c = 0; c < combinations; ++c) {
    Tensor element, weight;
    size_t rest = c;
    for (int d = 0; d < nd; ++d, rest /= each) {
      const AxisTaps& taps = axes[static_cast<size_t>(d)];
      const Tensor& e = taps.elements[rest % each];
      const Tensor& w = taps.weights[rest % each];
      element = d == 0 ? e : add(mul(element, x.sizes()[2 + d]), e);
      weight = d == 0 ? w : weight * w;
    }
    const Tensor values = gather(flat, 2, expand(element, {n, channels, places}));
    out = c == 0 ? values * weight : out + values * weight;
  }
  return reshape(out, sizes);
}

/// The gradients of the composed form: differentiable to any order.
void composed_grid_sample_backward(Backward& b) {
  Tensor inputs[] = {b.saved(0), b.saved(1)};
  std::vector<Tensor> wanted;
  for (int k = 0; k < 2; ++k) {
    if (!b.needs(k)) continue;
    inputs[k] = view(inputs[k], inputs[k].sizes());  // a point in the graph that only this reads
    wanted.push_back(inputs[k]);
  }
  const Tensor out[] = {composed_grid_sample(inputs[0], inputs[1], static_cast<Sampling>(b.i(0)),
                                             static_cast<Outside>(b.i(1)), b.i(2) != 0)};
  const Tensor grads[] = {b.grad()};
  std::vector<Tensor> found = out[0].wants_grad() ? gradients(out, grads, wanted, true, true, true)
                                                  : std::vector<Tensor>(wanted.size());
  size_t i = 0;
  for (int k = 0; k < 2; ++k) {
    if (!b.needs(k)) continue;
    b.set(k, found[i].defined() ? found[i] : zeros_like(wanted[i]));
    ++i;
  }
}

void grid_sample_backward(Backward& b) {
  static const Op& dx_op = Op::get("grid_sample_dx");
  static const Op& dgrid_op = Op::get("grid_sample_dgrid");
  if (grad_enabled()) return composed_grid_sample_backward(b);
  const Tensor x = b.saved(0), grid = b.saved(1), dy = b.grad();
  const auto inputs = [&] {
    const GradMode off(false);
    return std::array<Tensor, 3>{contiguous(dy), contiguous(x), contiguous(grid)};
  }();
  if (b.needs(0)) {
    const Tensor dx = empty(x.sizes(), options_of(x));
    run(dx_op, b.node.params, {&dx}, {&inputs[0], &inputs[2]});
    b.set(0, dx);
  }
  if (b.needs(1)) {
    const Tensor dgrid = empty(grid.sizes(), options_of(x));
    run(dgrid_op, b.node.params, {&dgrid}, {&inputs[0], &inputs[1], &inputs[2]});
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
