// SPDX-License-Identifier: Apache-2.0
// Pooling. Averages and im2col are linear: each has an adjoint as its derivative, whose derivative
// it is itself. The gradient of a maximum is scattered to the places that forward has found.
#include "ops/pool.h"

#include <algorithm>

#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// ---- shapes ----

Tensor dense(const Tensor& t) {
  if (t.contiguous()) return t;
  const GradMode off(false);
  return contiguous(t);
}

/// The last nd sizes.
Dims pooled_axes(const Tensor& x, int nd) { return Dims(x.sizes().end() - nd, nd); }

Dims with_pooled_axes(const Tensor& x, const Dims& to) {
  Dims sizes = x.sizes();
  for (int d = 0; d < to.size(); ++d) sizes[x.ndim() - to.size() + d] = to[d];
  return sizes;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }

int64_t window_count(int64_t in, const Window& w, int d) {
  const int64_t reach = in + 2 * w.padding[d] - w.dilation[d] * (w.kernel[d] - 1) - 1;
  int64_t n = floor_div(reach + (w.ceil_mode ? w.stride[d] - 1 : 0), w.stride[d]) + 1;
  // The last window must start inside the input or the padding before it.
  if (w.ceil_mode && (n - 1) * w.stride[d] >= in + w.padding[d]) --n;
  return n;
}

std::string by_x(const Dims& sizes) {
  std::string out;
  for (const int64_t s : sizes) out += "x" + std::to_string(s);
  return out;
}

bool any_below(const Dims& list, int64_t bound) {
  return std::any_of(list.begin(), list.end(), [&](int64_t v) { return v < bound; });
}

/// Up to 31 bits, so that windows can be computed without overflow.
void check_range(const Dims& list) {
  for (const int64_t v : list) GS_CHECK(v >= INT32_MIN && v <= INT32_MAX, "integer out of range");
}

/// PyTorch's checks of 2-d and 3-d pooling; returns the pooled sizes.
Dims pooled_sizes(const Tensor& x, const Window& w) {
  const int nd = w.nd();
  for (const Dims* list : {&w.kernel, &w.stride, &w.padding, &w.dilation}) check_range(*list);
  GS_CHECK(!any_below(w.stride, 1), "stride should not be zero");
  GS_CHECK(!any_below(w.kernel, 1), "kernel size should be greater than zero, but got {}",
           w.kernel);
  static constexpr const char* kAxes[3] = {"T", "H", "W"};
  if (any_below(w.dilation, 1)) {
    std::string got;
    for (int d = 0; d < nd; ++d) got += format(" dilation{}: {}", kAxes[3 - nd + d], w.dilation[d]);
    fail(ErrorKind::Runtime, "dilation should be greater than zero, but got{}", got);
  }
  bool empty_axis = false;
  for (int d = x.ndim() - nd - 1; d < x.ndim(); ++d) empty_axis |= d >= 0 && x.sizes()[d] == 0;
  if (nd == 3) {
    GS_CHECK((x.ndim() == 4 || x.ndim() == 5) && !empty_axis,
             "non-empty 4D or 5D (batch mode) tensor expected for input");
  } else {
    GS_CHECK(x.ndim() == nd + 1 || x.ndim() == nd + 2,
             "non-empty {}D or {}D (batch mode) tensor expected for input", nd + 1, nd + 2);
    GS_CHECK(!empty_axis,
             "Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, "
             "but got:{}",
             nd + 1, nd + 2, x.sizes());
  }
  Dims out = Dims::filled(nd, 0);
  for (int d = 0; d < nd; ++d) {
    GS_CHECK(w.padding[d] >= 0, "pad must be non-negative, but got pad: {}", w.padding[d]);
    GS_CHECK(w.padding[d] <= ((w.kernel[d] - 1) * w.dilation[d] + 1) / 2,
             "pad should be at most half of effective kernel size, but got pad={}, kernel_size={} "
             "and dilation={}",
             w.padding[d], w.kernel[d], w.dilation[d]);
    out[d] = window_count(pooled_axes(x, nd)[d], w, d);
  }
  const int64_t channels = x.sizes()[x.ndim() - nd - 1];
  // PyTorch pools one axis as an image of height 1.
  const char* height = nd == 1 ? "x1" : "";
  GS_CHECK(!any_below(out, 1),
           "Given input size: ({}{}{}). Calculated output size: ({}{}{}). Output size is too small",
           channels, height, by_x(pooled_axes(x, nd)), channels, height, by_x(out));
  return out;
}

Params window_params(const Window& w) {
  return params(static_cast<int64_t>(w.nd()), w.kernel, w.stride, w.padding, w.dilation);
}

// ---- maximum ----

/// x in the shape [planes, elements of the last nd axes].
Tensor flat_planes(const Tensor& x, int nd) {
  const int64_t plane = count_elements(pooled_axes(x, nd));
  return reshape(x, {plane == 0 ? 0 : x.numel() / plane, plane});
}

// Params of the node: nd, the pooled sizes of x and, of sliding windows, two lists of two: 31 bits
// each.
Dims pack(const Dims& low, const Dims& high) {
  Dims both = low;
  for (int d = 0; d < low.size(); ++d) both[d] |= high[d] << 32;
  return both;
}
Dims unpack(const Params::Slot* both, int nd, int shift) {
  Dims list = Dims::filled(nd, 0);
  for (int d = 0; d < nd; ++d) list[d] = both[d].i >> shift & INT32_MAX;
  return list;
}

/// The call's: nd and the window, by which a GPU finds what to gather; nd alone if adaptive.
Params grad_params(const Params& node) {
  const int nd = static_cast<int>(node.s[0].i);
  if (node.count == 1 + nd) return params(node.s[0].i);
  const Params::Slot* const first = node.s + 1 + nd;
  const Params::Slot* const second = first + nd;
  return params(node.s[0].i, unpack(first, nd, 0), unpack(first, nd, 32), unpack(second, nd, 0),
                unpack(second, nd, 32));
}

// dx = dy at the indices of the maxima, summed where windows share one.
void max_pool_backward(Backward& b) {
  static const Op& op = Op::get("max_pool_grad");
  const int nd = static_cast<int>(b.i(0));
  const Dims in(&b.node.params.s[1].i, nd);
  const Tensor& dy = b.grad();
  const Tensor indices = b.saved(0);
  if (!grad_enabled()) {
    const Tensor dx = empty(with_pooled_axes(dy, in), options_of(dy));
    const Tensor from = dense(dy);
    run(op, grad_params(b.node.params), {&dx}, {&from, &indices});
    b.set(0, dx);
    return;
  }
  const Tensor flat = flat_planes(dy, nd);
  const Tensor dx = scatter_add(zeros({flat.sizes()[0], count_elements(in)}, options_of(dy)), 1,
                                flat_planes(indices, nd), flat);
  b.set(0, reshape(dx, with_pooled_axes(dy, in)));
}

ValuesIndices record_maxima(const Tensor& x, const Tensor& values, const Tensor& indices, int nd,
                            const Window* window) {
  static const Op& op = define("max_pool_with_indices", &max_pool_backward);
  if (needs_grad(x)) {
    Params p = params(static_cast<int64_t>(nd), pooled_axes(x, nd));
    if (window) {
      p.push(pack(window->kernel, window->stride));
      p.push(pack(window->padding, window->dilation));
    }
    record(op, p, {&values}, {&x}, {keep(indices)});
  }
  return {values, indices};
}

}  // namespace

namespace {
/// max_pool1d has texts of its own.
void check_max_pool1d(const Tensor& x, const Window& w) {
  GS_CHECK(x.ndim() == 2 || x.ndim() == 3,
           "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
           "input, but got:{}",
           x.sizes());
  GS_CHECK(w.kernel[0] > 0, "max_pool1d() kernel_size must be greater than zero, but got {}",
           w.kernel[0]);
  GS_CHECK(w.stride[0] > 0, "max_pool1d() stride must be greater than zero, but got {}",
           w.stride[0]);
  GS_CHECK(w.padding[0] >= 0, "max_pool1d() padding must be non-negative, but got {}",
           w.padding[0]);
  GS_CHECK(w.padding[0] <= w.kernel[0] / 2,
           "max_pool1d() padding should be at most half of kernel size, but got padding={} and "
           "kernel_size={}",
           w.padding[0], w.kernel[0]);
  for (const Dims* list : {&w.kernel, &w.stride, &w.padding, &w.dilation}) check_range(*list);
  GS_CHECK(w.dilation[0] > 0, "max_pool1d() dilation must be greater than zero, but got {}",
           w.dilation[0]);
  const int64_t n = window_count(x.sizes().back(), w, 0);
  GS_CHECK(n > 0, "max_pool1d() Invalid computed output size: {}", n);
}
}  // namespace

ValuesIndices max_pool(const Tensor& x, const Window& window, bool with_indices) {
  static const Op& op = Op::get("max_pool");
  if (window.nd() == 1) check_max_pool1d(x, window);
  const Dims out = pooled_sizes(x, window);
  GS_CHECK_KIND(NotImplemented, x.dtype() != DType::Bool,
                "\"max_pool{}d\" not implemented for 'Bool'", window.nd());
  const Tensor in = dense(x);
  const Tensor values = empty(with_pooled_axes(x, out), options_of(x));
  if (!with_indices && !needs_grad(x)) {
    run(op, window_params(window), {&values}, {&in});
    return {values, {}};
  }
  const Tensor indices = empty(values.sizes(), {DType::Int64, x.device()});
  run(op, window_params(window), {&values, &indices}, {&in});
  const ValuesIndices found = record_maxima(x, values, indices, window.nd(), &window);
  if (window.nd() != 2)
    show_as(found.values, window.nd() == 1 ? Shown::Squeeze1 : Shown::MaxPool3DWithIndices);
  return found;
}

ValuesIndices adaptive_max_pool(const Tensor& x, const Dims& output_size) {
  static const Op& op = Op::get("adaptive_max_pool");
  const int nd = output_size.size();
  GS_CHECK(x.ndim() == nd + 1 || x.ndim() == nd + 2,
           "adaptive_max_pool{}d(): Expected {}D or {}D tensor, but got: {}", nd, nd + 1, nd + 2,
           x.sizes());
  for (int d = x.ndim() == nd + 1 ? 0 : 1; d < x.ndim(); ++d) {
    GS_CHECK(x.sizes()[d] > 0,
             "adaptive_max_pool{}d(): Expected input to have non-zero size for non-batch "
             "dimensions, but input has "
             "sizes {} with dimension {} being empty",
             nd, x.sizes(), d);
  }
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()),
                "\"adaptive_max_pool{}d\" not implemented for '{}'", nd, scalar_name(x.dtype()));
  const Tensor in = dense(x);
  const Tensor values = empty(with_pooled_axes(x, output_size), options_of(x));
  const Tensor indices = empty(values.sizes(), {DType::Int64, x.device()});
  run(op, params(static_cast<int64_t>(nd)), {&values, &indices}, {&in});
  return record_maxima(x, values, indices, nd, nullptr);
}

// ---- averages ----

namespace {

// Params of the nodes: nd, the list of call params, then the pooled sizes of the operand.
Dims operand_axes(const Backward& b, int nd) {
  return Dims(&b.node.params.s[b.node.params.count - nd].i, nd);
}

void avg_pool_backward(Backward& b);
void avg_pool_grad_backward(Backward& b);
void adaptive_backward(Backward& b);
void adaptive_grad_backward(Backward& b);

const Op& avg_pool_op() {
  static const Op& op = define("avg_pool", &avg_pool_backward);
  return op;
}
const Op& avg_pool_grad_op() {
  static const Op& op = define("avg_pool_grad", &avg_pool_grad_backward);
  return op;
}
const Op& adaptive_op() {
  static const Op& op = define("adaptive_avg_pool", &adaptive_backward);
  return op;
}
const Op& adaptive_grad_op() {
  static const Op& op = define("adaptive_avg_pool_grad", &adaptive_grad_backward);
  return op;
}

/// Launches op from x's pooled axes to `to`; p are the call's params, which the node has with x's
/// axes behind them.
Tensor linear_pool(const Op& op, const Tensor& x, const Dims& to, Params p) {
  const Tensor in = dense(x);
  const Tensor out = empty(with_pooled_axes(x, to), options_of(x));
  run(op, p, {&out}, {&in});
  if (needs_grad(x)) {
    p.push(pooled_axes(x, to.size()));
    record(op, p, {&out}, {&x}, {});
  }
  return out;
}

/// The adjoint of a node's call, applied to the gradient.
void adjoint(Backward& b, const Op& op) {
  const int nd = static_cast<int>(b.i(0) & 0xff);
  Params p = b.node.params;
  const Dims to = operand_axes(b, nd);
  p.count = static_cast<uint8_t>(p.count - nd);
  b.set(0, linear_pool(op, b.grad(), to, p));
}

void avg_pool_backward(Backward& b) { adjoint(b, avg_pool_grad_op()); }
void avg_pool_grad_backward(Backward& b) { adjoint(b, avg_pool_op()); }
void adaptive_backward(Backward& b) { adjoint(b, adaptive_grad_op()); }
void adaptive_grad_backward(Backward& b) { adjoint(b, adaptive_op()); }

}  // namespace

Tensor avg_pool(const Tensor& x, const Window& window, bool count_include_pad,
                std::optional<int64_t> divisor) {
  GS_CHECK(!divisor || *divisor != 0, "divisor must be not zero");
  Window w = window;
  w.dilation = Dims::filled(w.nd(), 1);
  const Dims out = pooled_sizes(x, w);
  // int64 is summed in float64 and divided towards zero; the others PyTorch refuses, too.
  if (x.dtype() == DType::Int64)
    return to(avg_pool(to(x, DType::Float64), window, count_include_pad, divisor), DType::Int64);
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()), "\"avg_pool{}d\" not implemented for '{}'",
                w.nd(), scalar_name(x.dtype()));
  const int64_t first = w.nd() | int64_t{count_include_pad} << 8;
  const Tensor y = linear_pool(avg_pool_op(), x, out,
                               params(first, w.kernel, w.stride, w.padding, divisor.value_or(0)));
  return w.nd() == 2 ? y : show_as(y, w.nd() == 1 ? Shown::Squeeze1 : Shown::AvgPool3D);
}

Tensor adaptive_avg_pool(const Tensor& x, const Dims& output_size) {
  const int nd = output_size.size();
  GS_CHECK(x.ndim() == nd + 1 || x.ndim() == nd + 2,
           "adaptive_avg_pool{}d(): Expected {}D or {}D tensor, but got {}", nd, nd + 1, nd + 2,
           x.sizes());
  for (int d = x.ndim() == nd + 1 ? 0 : 1; d < x.ndim(); ++d) {
    GS_CHECK(x.sizes()[d] > 0,
             "adaptive_avg_pool{}d(): Expected input to have non-zero size for non-batch "
             "dimensions, but input has "
             "sizes {} with dimension {} being empty",
             nd, x.sizes(), d);
  }
  if (any_below(output_size, 0)) {
    std::string list;
    for (const int64_t s : output_size) list += (list.empty() ? "" : ", ") + std::to_string(s);
    fail(ErrorKind::Runtime,
         "adaptive_avg_pool{}d: elements of output_size must be greater than or equal to 0 but "
         "received {}",
         nd, "{" + list + "}");
  }
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()),
                "\"adaptive_avg_pool{}d\" not implemented for '{}'", nd, scalar_name(x.dtype()));
  if (std::all_of(output_size.begin(), output_size.end(), [](int64_t s) { return s == 1; })) {
    Dims axes;
    for (int d = 0; d < nd; ++d) axes.push_back(d - nd);
    return mean(x, axes, true);
  }
  const Tensor y = linear_pool(adaptive_op(), x, output_size, params(static_cast<int64_t>(nd)));
  return nd == 2 ? y : show_as(y, nd == 1 ? Shown::Squeeze1 : Shown::AdaptiveAvgPool3D);
}

// ---- windows as columns ----

namespace {

struct Columns {
  Dims kernel, dilation, padding, stride;
  Params params() const { return gradstep::params(kernel, dilation, padding, stride); }
  static Columns of(const Params& p) {
    return {Dims(&p.s[0].i, 2), Dims(&p.s[2].i, 2), Dims(&p.s[4].i, 2), Dims(&p.s[6].i, 2)};
  }
  int64_t count(int64_t in, int d) const {
    return floor_div(in + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1, stride[d]) + 1;
  }
};

Tensor to_columns(const Tensor& x, const Columns& c);
Tensor from_columns(const Tensor& x, const Dims& size, const Columns& c);

void im2col_backward(Backward& b) {
  b.set(0, from_columns(b.grad(), Dims(&b.node.params.s[8].i, 2), Columns::of(b.node.params)));
}
void col2im_backward(Backward& b) { b.set(0, to_columns(b.grad(), Columns::of(b.node.params))); }

Tensor to_columns(const Tensor& x, const Columns& c) {
  static const Op& op = define("im2col", &im2col_backward);
  const Tensor in = dense(x);
  const int64_t rows = count_elements({x.sizes()[1], c.kernel[0], c.kernel[1]});
  const int64_t blocks = count_elements({c.count(x.sizes()[2], 0), c.count(x.sizes()[3], 1)});
  const Tensor out = empty({x.sizes()[0], rows, blocks}, options_of(x));
  Params p = c.params();
  p.push(pooled_axes(x, 2));
  run(op, p, {&out}, {&in});
  if (needs_grad(x)) record(op, p, {&out}, {&x}, {});
  return out;
}

Tensor from_columns(const Tensor& x, const Dims& size, const Columns& c) {
  static const Op& op = define("col2im", &col2im_backward);
  const Tensor in = dense(x);
  const Tensor out = empty(
      {x.sizes()[0], x.sizes()[1] / (c.kernel[0] * c.kernel[1]), size[0], size[1]}, options_of(x));
  const Params p = c.params();
  run(op, p, {&out}, {&in});
  if (needs_grad(x)) record(op, p, {&out}, {&x}, {});
  return out;
}

std::string pair(const Dims& d) { return format("({}, {})", d[0], d[1]); }

void check_columns(const Tensor& x, const char* name, const Columns& c) {
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()), "\"{}_out_cpu\" not implemented for '{}'",
                name, scalar_name(x.dtype()));
  const auto check = [&](const Dims& d, int64_t low, const char* what, const char* rule) {
    GS_CHECK(!any_below(d, low), "{} should be {}, but got {}_height: {} {}_width: {}", what, rule,
             what, d[0], what, d[1]);
  };
  check(c.kernel, 1, "kernel", "greater than zero");
  check(c.dilation, 1, "dilation", "greater than zero");
  check(c.padding, 0, "padding", "non-negative");
  check(c.stride, 1, "stride", "greater than zero");
  for (const Dims* list : {&c.kernel, &c.dilation, &c.padding, &c.stride}) check_range(*list);
}

}  // namespace

Tensor im2col(const Tensor& x, const Dims& kernel, const Dims& dilation, const Dims& padding,
              const Dims& stride) {
  const Columns c{kernel, dilation, padding, stride};
  if (x.dtype() == DType::Bool)  // moved, not computed with
    return to(im2col(to(x, DType::Float32), kernel, dilation, padding, stride), DType::Bool);
  check_columns(x, "im2col", c);
  if (x.ndim() == 3)
    return squeeze(im2col(unsqueeze(x, 0), kernel, dilation, padding, stride), {0});
  GS_CHECK(x.ndim() == 4 && x.sizes()[1] != 0 && x.sizes()[2] != 0 && x.sizes()[3] != 0,
           "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
           "dimensions for input, "
           "but got: {}",
           x.sizes());
  const Dims blocks{c.count(x.sizes()[2], 0), c.count(x.sizes()[3], 1)};
  GS_CHECK(blocks[0] >= 1 && blocks[1] >= 1,
           "Given input with spatial size {}, kernel_size={}, dilation={}, padding={}, calculated "
           "shape of the array of "
           "sliding blocks as {}, but its components must be at least one.",
           pair(pooled_axes(x, 2)), pair(kernel), pair(dilation), pair(padding), pair(blocks));
  return to_columns(x, c);
}

Tensor col2im(const Tensor& x, const Dims& output_size, const Dims& kernel, const Dims& dilation,
              const Dims& padding, const Dims& stride) {
  const Columns c{kernel, dilation, padding, stride};
  check_columns(x, "col2im", c);
  if (x.ndim() == 2)
    return squeeze(col2im(unsqueeze(x, 0), output_size, kernel, dilation, padding, stride), {0});
  GS_CHECK(x.ndim() == 3 && x.sizes()[1] != 0 && x.sizes()[2] != 0,
           "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
           "non-zero dimensions for "
           "input, but got: {}",
           x.sizes());
  GS_CHECK(
      x.sizes()[1] % (kernel[0] * kernel[1]) == 0,
      "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
      "input.size(1)={} and kernel_size={}.",
      x.sizes()[1], pair(kernel));
  GS_CHECK(!any_below(output_size, 1),
           "Expected output spatial size to be positive, but got: output_size={}.",
           pair(output_size));
  check_range(output_size);
  const int64_t h = c.count(output_size[0], 0), w = c.count(output_size[1], 1);
  GS_CHECK(h >= 1 && w >= 1 && x.sizes()[2] == h * w,
           "Given output_size={}, kernel_size={}, dilation={}, padding={}, stride={}, expected "
           "size of input's "
           "dimension 2 to match the calculated number of sliding blocks {} * {} = {}, but got "
           "input.size(2)={}.",
           pair(output_size), pair(kernel), pair(dilation), pair(padding), pair(stride), h, w,
           h * w, x.sizes()[2]);
  return from_columns(x, output_size, c);
}

// ---- shuffles ----

namespace {
/// The sizes before the last three.
Dims leading(const Tensor& x, const char* name) {
  GS_CHECK(x.ndim() >= 3,
           "{} expects input to have at least 3 dimensions, but got input with {} dimension(s)",
           name, x.ndim());
  return Dims(x.sizes().begin(), x.ndim() - 3);
}

Dims append_sizes(Dims sizes, std::initializer_list<int64_t> rest) {
  for (const int64_t s : rest) sizes.push_back(s);
  return sizes;
}
}  // namespace

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  const Dims lead = leading(x, "pixel_shuffle");
  GS_CHECK(r > 0, "pixel_shuffle expects a positive upscale_factor, but got {}", r);
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  GS_CHECK(r <= INT32_MAX, "integer out of range");
  GS_CHECK(c % (r * r) == 0,
           "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
           "upscale_factor, but "
           "input.size(-3)={} is not divisible by {}",
           c, r * r);
  const Tensor split = reshape(x, {count_elements(lead), c / (r * r), r, r, h, w});
  return reshape(permute(split, {0, 1, 4, 2, 5, 3}),
                 append_sizes(lead, {c / (r * r), count_elements({h, r}), count_elements({w, r})}));
}

Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  const Dims lead = leading(x, "pixel_unshuffle");
  GS_CHECK(r > 0, "pixel_unshuffle expects a positive downscale_factor, but got {}", r);
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  GS_CHECK(h % r == 0,
           "pixel_unshuffle expects height to be divisible by downscale_factor, but "
           "input.size(-2)={} is not divisible "
           "by {}",
           h, r);
  GS_CHECK(w % r == 0,
           "pixel_unshuffle expects width to be divisible by downscale_factor, but "
           "input.size(-1)={} is not divisible "
           "by {}",
           w, r);
  const Tensor split = reshape(x, {count_elements(lead), c, h / r, r, w / r, r});
  return reshape(permute(split, {0, 1, 3, 5, 2, 4}),
                 append_sizes(lead, {count_elements({c, r, r}), h / r, w / r}));
}

Tensor channel_shuffle(const Tensor& x, int64_t groups) {
  GS_CHECK(x.ndim() > 2, "channel_shuffle expects input with > 2 dims, but got input with sizes {}",
           x.sizes());
  GS_CHECK(groups > 0,
           "Number of groups to divide channels in must be positive. Value of groups:{}", groups);
  const int64_t n = x.sizes()[0], c = x.sizes()[1];
  GS_CHECK(c % groups == 0,
           "Number of channels must be divisible by groups. Got {} channels and {} groups.", c,
           groups);
  const int64_t rest = count_elements(Dims(x.sizes().begin() + 2, x.ndim() - 2));
  return reshape(transpose(reshape(x, {n, groups, c / groups, rest}), 1, 2), x.sizes());
}

}  // namespace gradstep
