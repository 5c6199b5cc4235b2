// SPDX-License-Identifier: Apache-2.0
// Convolution. See Note [Three products].
#include "ops/conv.h"

#include <algorithm>
#include <array>

#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// Note [Three products]
// sum(y * conv(x, w)) is linear in each of x, w and y, so its three gradients
//   forward(x, w) = y-shaped    data(y, w) = x-shaped    weight(x, y) = w-shaped
// are each other's derivatives: d forward = (data, weight), d data = (forward, weight), d weight =
// (data, forward). Written as ops they can be differentiated to any order. A transposed convolution
// is `data`.

struct Geometry {
  int nd = 0;
  int64_t groups = 1;
  Dims stride, padding, dilation;

  Params params() const {
    return gradstep::params(static_cast<int64_t>(nd), groups, stride, padding, dilation);
  }
  static Geometry of(const Params& p) {
    Geometry g;
    g.nd = static_cast<int>(p.s[0].i);
    g.groups = p.s[1].i;
    g.stride = Dims(&p.s[2].i, g.nd);
    g.padding = Dims(&p.s[2 + g.nd].i, g.nd);
    g.dilation = Dims(&p.s[2 + 2 * g.nd].i, g.nd);
    return g;
  }
  int64_t out_size(int64_t in, int64_t kernel, int d) const {
    return (in + 2 * padding[d] - dilation[d] * (kernel - 1) - 1) / stride[d] + 1;
  }
};

Dims spatial(const Dims& sizes) { return Dims(sizes.begin() + 2, sizes.size() - 2); }

Dims full_sizes(int64_t first, int64_t second, const Dims& rest) {
  Dims sizes{first, second};
  for (const int64_t x : rest) sizes.push_back(x);
  return sizes;
}

/// Contiguous, without history.
Tensor dense(const Tensor& t) {
  if (!t.defined() || t.contiguous()) return t;
  const GradMode off(false);
  return contiguous(t);
}

void launch_product(const Op& op, const Params& p, const Tensor& out, const Tensor& a,
                    const Tensor& b, const Tensor& bias) {
  const Tensor left = dense(a), right = dense(b), shift = dense(bias);
  if (bias.defined()) {
    run(op, p, {&out}, {&left, &right, &shift});
  } else {
    run(op, p, {&out}, {&left, &right});
  }
}

Tensor forward_product(const Tensor& x, const Tensor& w, const Tensor& bias, const Geometry& g);
Tensor data_product(const Tensor& y, const Tensor& w, const Tensor& bias, const Geometry& g,
                    const Dims& in);
Tensor weight_product(const Tensor& x, const Tensor& y, const Geometry& g, const Dims& kernel);

Tensor channel_sum(const Tensor& y) {
  Dims axes{0};
  for (int d = 2; d < y.ndim(); ++d) axes.push_back(d);
  return sum(y, axes);
}

// ---- derivatives ----

/// The gradients of weight and bias in one pass over dy.
void weight_and_bias(Backward& b, const Tensor& x, const Tensor& dy, const Geometry& g,
                     const Dims& kernel) {
  static const Op& op = Op::get("conv_weight");
  const Tensor dw =
      empty(full_sizes(dy.sizes()[1], x.sizes()[1] / g.groups, kernel), options_of(dy));
  const Tensor db = empty({dy.sizes()[1]}, options_of(dy));
  const Tensor in = dense(x), out = dense(dy);
  run(op, g.params(), {&dw, &db}, {&in, &out});
  b.set(1, dw);
  b.set(2, db);
}

/// The weight's sizes. Its values may have been written since, which x's gradient alone would
/// notice.
const Dims& kernel_of(const Backward& b, const Tensor& x, const Tensor& y, const Geometry& g) {
  const Dims& w = b.node.saved[1].tensor->sizes;
  bool fits = w.size() == g.nd + 2 && x.ndim() == w.size() && y.ndim() == w.size() &&
              w[0] == y.sizes()[1] && w[1] * g.groups == x.sizes()[1];
  for (int d = 0; fits && d < g.nd; ++d) {
    const int64_t window = g.dilation[d] * (w[2 + d] - 1) + 1;
    fits = (y.sizes()[2 + d] - 1) * g.stride[d] + window <= x.sizes()[2 + d] + 2 * g.padding[d];
  }
  GS_CHECK(fits, "convolution: the weight was given the shape {}, which forward did not see", w);
  return w;
}

void convolution_backward(Backward& b) {
  const Geometry g = Geometry::of(b.node.params);
  const Tensor& dy = b.grad();
  const Tensor w = b.needs(0) ? b.saved(1) : Tensor();
  const Tensor x = b.needs(1) ? b.saved(0) : Tensor();
  if (b.needs(0))
    b.set(0, data_product(dy, w, {}, g, Dims(&b.node.params.s[2 + 3 * g.nd].i, g.nd)));
  if (b.needs(1) && b.needs(2) && !grad_enabled()) {
    weight_and_bias(b, x, dy, g, spatial(kernel_of(b, x, dy, g)));
    return;
  }
  if (b.needs(1)) b.set(1, weight_product(x, dy, g, spatial(kernel_of(b, x, dy, g))));
  if (b.needs(2)) b.set(2, channel_sum(dy));
}

// Of x = data(y, w): dy = forward(dx, w), dw = weight(dx, y).
void transposed_backward(Backward& b) {
  const Geometry g = Geometry::of(b.node.params);
  const Tensor& dx = b.grad();
  if (b.needs(0)) b.set(0, forward_product(dx, b.saved(1), {}, g));
  if (b.needs(1))
    b.set(1, weight_product(dx, b.saved(0), g, spatial(kernel_of(b, dx, b.saved(0), g))));
  if (b.needs(2)) b.set(2, channel_sum(dx));
}

// Of w = weight(x, y): dx = data(y, dw), dy = forward(x, dw).
void weight_backward(Backward& b) {
  const Geometry g = Geometry::of(b.node.params);
  const Tensor& dw = b.grad();
  if (b.needs(0)) b.set(0, data_product(b.saved(1), dw, {}, g, spatial(b.saved(0).sizes())));
  if (b.needs(1)) b.set(1, forward_product(b.saved(0), dw, {}, g));
}

// ---- the products ----

const Tensor kNone;

Tensor forward_product(const Tensor& x, const Tensor& w, const Tensor& bias, const Geometry& g) {
  static const Op& op = define("convolution", &convolution_backward);
  static const Op& kernel = Op::get("conv_forward");
  Dims sizes{x.sizes()[0], w.sizes()[0]};
  for (int d = 0; d < g.nd; ++d) sizes.push_back(g.out_size(x.sizes()[2 + d], w.sizes()[2 + d], d));
  const Tensor y = empty(sizes, options_of(x));
  Params p = g.params();
  launch_product(kernel, p, y, x, w, bias);
  if (needs_grad(x, w, bias)) {
    p.push(spatial(x.sizes()));
    // The weight is kept always: its sizes are read.
    record(op, p, {&y}, {&x, &w, &bias}, {keep(w.wants_grad() ? x : kNone), keep(w)});
  }
  return y;
}

Tensor data_product(const Tensor& y, const Tensor& w, const Tensor& bias, const Geometry& g,
                    const Dims& in) {
  static const Op& op = define("convolution_transposed", &transposed_backward);
  static const Op& kernel = Op::get("conv_data");
  const Tensor x = empty(full_sizes(y.sizes()[0], w.sizes()[1] * g.groups, in), options_of(y));
  const Params p = g.params();
  launch_product(kernel, p, x, y, w, bias);
  if (needs_grad(y, w, bias))
    record(op, p, {&x}, {&y, &w, &bias}, {keep(w.wants_grad() ? y : kNone), keep(w)});
  return x;
}

Tensor weight_product(const Tensor& x, const Tensor& y, const Geometry& g,
                      const Dims& kernel_sizes) {
  static const Op& op = define("convolution_weight", &weight_backward);
  static const Op& kernel = Op::get("conv_weight");
  const Tensor w =
      empty(full_sizes(y.sizes()[1], x.sizes()[1] / g.groups, kernel_sizes), options_of(x));
  const Params p = g.params();
  launch_product(kernel, p, w, x, y, {});
  if (needs_grad(x, y)) record(op, p, {&w}, {&x, &y}, {keep(x), keep(y)});
  return w;
}

// ---- checks, with PyTorch's texts ----

Dims expand_list(const Dims& list, int nd, const char* what) {
  if (list.size() == 1 && nd != 1) return Dims::filled(nd, list[0]);
  GS_CHECK(list.size() == nd,
           "expected {} to be a single integer value or a list of {} values to match the "
           "convolution dimensions, but "
           "got {}={}",
           what, nd, what, list);
  return list;
}

bool any_below(const Dims& list, int64_t bound) {
  return std::any_of(list.begin(), list.end(), [&](int64_t v) { return v < bound; });
}

std::string by_x(const int64_t* sizes, int n) {
  std::string out;
  for (int d = 0; d < n; ++d) out += (d ? " x " : "") + std::to_string(sizes[d]);
  return out;
}

/// "Float" as in torch.FloatTensor.
std::string type_string(const Tensor& t) {
  return format("torch.{}Tensor", scalar_name(t.dtype()));
}

/// Integers on the CPU, transposed only int64, as in PyTorch.
bool has_kernel(const Tensor& x, bool transposed) {
  if (is_floating(x.dtype())) return true;
  if (x.device().type != DeviceType::CPU || x.dtype() == DType::Bool) return false;
  return !transposed || x.dtype() == DType::Int64;
}

void check_types(const Tensor& x, const Tensor& w, const Tensor& bias, bool transposed) {
  common_device({&x, &w, &bias}, "convolution");
  GS_CHECK(!bias.defined() || x.dtype() == bias.dtype(),
           "Input type ({}) and bias type ({}) should be the same", element_name(x.dtype()),
           element_name(bias.dtype()));
  if (x.dtype() != w.dtype()) {
    const bool half = is_half(x.dtype());
    GS_CHECK(half, "expected scalar type {} but found {}", scalar_name(x.dtype()),
             scalar_name(w.dtype()));
    fail(ErrorKind::Runtime,
         "Input type ({}) and weight type ({}) should be the same or input should be a MKLDNN "
         "tensor and weight is a "
         "dense tensor",
         type_string(x), type_string(w));
  }
  GS_CHECK_KIND(NotImplemented, has_kernel(x, transposed),
                "\"convolution\" not implemented for '{}'", scalar_name(x.dtype()));
}

void check_shapes(const Tensor& x, const Tensor& w, const Tensor& bias, const Geometry& g,
                  bool transposed) {
  const int n = g.nd;
  GS_CHECK(!any_below(g.padding, 0), "negative padding is not supported");
  GS_CHECK(!any_below(g.stride, 1), "non-positive stride is not supported");
  GS_CHECK(!any_below(g.dilation, 1), "dilation should be greater than zero, but got {}",
           g.dilation);
  GS_CHECK(g.groups > 0, "non-positive groups is not supported");
  for (const Dims* list : {&g.padding, &g.stride, &g.dilation}) {
    for (const int64_t v : *list) GS_CHECK(v <= INT32_MAX, "integer out of range");
  }
  GS_CHECK(w.ndim() == x.ndim(),
           "Expected {}-dimensional input for {}-dimensional weight {}, but got {}-dimensional "
           "input of size {} instead",
           w.ndim(), w.ndim(), w.sizes(), x.ndim(), x.sizes());
  GS_CHECK(w.sizes()[0] >= g.groups,
           "Given groups={}, expected weight to be at least {} at dimension 0, but got weight of "
           "size {} instead",
           g.groups, g.groups, w.sizes());
  GS_CHECK(w.sizes()[0] % g.groups == 0,
           "Given groups={}, expected weight to be divisible by {} at dimension 0, but got weight "
           "of size [{}] instead",
           g.groups, g.groups, w.sizes());
  const int64_t c = x.sizes()[1];
  if (transposed) {
    GS_CHECK(c == w.sizes()[0],
             "Given transposed=1, weight of size {}, expected input{} to have {} channels, but got "
             "{} channels instead",
             w.sizes(), x.sizes(), w.sizes()[0], c);
    GS_CHECK(!bias.defined() || (bias.ndim() == 1 && bias.sizes()[0] == w.sizes()[1] * g.groups),
             "Given transposed=1, weight of size {}, expected bias to be 1-dimensional with {} "
             "elements, but got bias "
             "of size {} instead",
             w.sizes(), w.sizes()[1] * g.groups, bias.sizes());
    return;
  }
  GS_CHECK(c == w.sizes()[1] * g.groups,
           "Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} "
           "channels instead",
           g.groups, w.sizes(), x.sizes(), w.sizes()[1] * g.groups, c);
  GS_CHECK(!bias.defined() || (bias.ndim() == 1 && bias.sizes()[0] == w.sizes()[0]),
           "Given weight of size {}, expected bias to be 1-dimensional with {} elements, but got "
           "bias of size {} "
           "instead",
           w.sizes(), w.sizes()[0], bias.sizes());
  int64_t padded[3], window[3];
  bool fits = true;
  for (int d = 0; d < n; ++d) {
    padded[d] = x.sizes()[2 + d] + 2 * g.padding[d];
    window[d] = g.dilation[d] * (w.sizes()[2 + d] - 1) + 1;
    fits &= padded[d] >= window[d];
  }
  GS_CHECK(fits,
           "Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size can't "
           "be greater than "
           "actual input size",
           by_x(padded, n), by_x(window, n));
}

Geometry geometry(int nd, const Dims& stride, const Dims& padding, const Dims& dilation,
                  int64_t groups) {
  return {nd, groups, expand_list(stride, nd, "stride"), expand_list(padding, nd, "padding"),
          expand_list(dilation, nd, "dilation")};
}

/// Of a function for nd axes: its lists have nd values before they are compared with the rank of
/// the weight.
Geometry geometry(int nd, const Tensor& w, const Dims& stride, const Dims& padding,
                  const Dims& dilation, int64_t groups) {
  const auto spread = [&](const Dims& list) {
    return list.size() == 1 ? Dims::filled(nd, list[0]) : list;
  };
  GS_CHECK(w.ndim() >= 3, "weight should have at least three dimensions");
  return geometry(w.ndim() - 2, spread(stride), spread(padding), spread(dilation), groups);
}

/// Gives an input without batch axis one of size 1.
Tensor batched(const Tensor& x, int nd, const char* name, bool& added) {
  added = x.ndim() == nd + 1;
  GS_CHECK(added || x.ndim() == nd + 2,
           "Expected {}D (unbatched) or {}D (batched) input to {}{}d, but got input of size: {}",
           nd + 1, nd + 2, name, nd, x.sizes());
  return added ? unsqueeze(x, 0) : x;
}

Tensor forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Geometry& g) {
  check_shapes(x, w, bias, g, false);
  check_types(x, w, bias, false);
  return forward_product(x, w, bias, g);
}

Tensor transposed(const Tensor& x, const Tensor& w, const Tensor& bias, const Geometry& g,
                  const Dims& extra) {
  GS_CHECK(!any_below(extra, 0), "negative output_padding is not supported");
  for (const int64_t v : extra) GS_CHECK(v <= INT32_MAX, "integer out of range");
  check_shapes(x, w, bias, g, true);
  check_types(x, w, bias, true);
  bool valid = true;
  bool beyond = false;
  for (int d = 0; d < g.nd; ++d) {
    valid &= extra[d] < g.stride[d] || extra[d] < g.dilation[d];
    beyond |= extra[d] >= g.stride[d];
  }
  static constexpr const char* kAxes[3] = {"depth", "height", "width"};
  if (!valid) {
    std::string got;
    const std::pair<const char*, const Dims*> lists[] = {
        {"output_padding_", &extra}, {"stride_", &g.stride}, {"dilation_", &g.dilation}};
    for (const auto& [prefix, list] : lists) {
      for (int d = 0; d < g.nd; ++d) {
        got +=
            format("{}{}{}: {}", got.empty() ? "" : " ", prefix, kAxes[3 - g.nd + d], (*list)[d]);
      }
    }
    fail(ErrorKind::Runtime,
         "output padding must be smaller than either stride or dilation, but got {}", got);
  }
  Dims sizes = Dims::filled(g.nd, 0);
  bool positive = true;
  for (int d = 0; d < g.nd; ++d) {
    sizes[d] = (x.sizes()[2 + d] - 1) * g.stride[d] - 2 * g.padding[d] +
               g.dilation[d] * (w.sizes()[2 + d] - 1) + extra[d] + 1;
    positive &= sizes[d] >= 1;
  }
  GS_CHECK(positive,
           "Given input size per channel: ({}). Calculated output size per channel: ({}). Output "
           "size is "
           "too small",
           by_x(x.sizes().begin() + 2, g.nd), by_x(sizes.begin(), g.nd));
  if (!beyond) return data_product(x, w, bias, g, sizes);
  // Padding of a whole stride or more has no window of its own: the product without padding,
  // continued by zeros, is cut to size.
  Geometry uncut = g;
  uncut.padding = Dims::filled(g.nd, 0);
  Dims whole = sizes;
  std::array<int64_t, 6> zeros{};
  for (int d = 0; d < g.nd; ++d) {
    whole[d] = (x.sizes()[2 + d] - 1) * g.stride[d] + g.dilation[d] * (w.sizes()[2 + d] - 1) + 1;
    zeros[static_cast<size_t>(2 * (g.nd - 1 - d) + 1)] =
        std::max<int64_t>(0, g.padding[d] + sizes[d] - whole[d]);
  }
  Tensor y =
      pad(data_product(x, w, {}, uncut, whole), {zeros.data(), static_cast<size_t>(2 * g.nd)});
  for (int d = 0; d < g.nd; ++d) y = narrow(y, 2 + d, g.padding[d], sizes[d]);
  if (!bias.defined()) return contiguous(y);
  Dims shape = Dims::filled(g.nd + 1, 1);
  shape[0] = bias.sizes()[0];
  return add(contiguous(y), reshape(bias, shape));
}

}  // namespace

// ---- the functions ----

Tensor conv(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
            const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups) {
  bool added = false;
  const Tensor x = batched(input, nd, "conv", added);
  const Geometry g = geometry(nd, weight, stride, padding, dilation, groups);
  const Tensor y = forward(x, weight, bias, g);
  return added ? squeeze(y, {0}) : y;
}

Tensor conv(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
            const Dims& stride, const std::string& padding, const Dims& dilation, int64_t groups) {
  if (padding == "valid") return conv(nd, input, weight, bias, stride, Dims{0}, dilation, groups);
  GS_CHECK(padding == "same", "Invalid padding string: '{}'", padding);
  bool added = false;
  const Tensor x = batched(input, nd, "conv", added);
  Geometry g = geometry(nd, weight, stride, Dims{0}, dilation, groups);
  GS_CHECK(std::all_of(g.stride.begin(), g.stride.end(), [](int64_t s) { return s == 1; }),
           "padding='same' is not supported for strided convolutions");
  GS_CHECK(weight.ndim() == nd + 2, "Expected {}-dimensional weight, but got weight of size {}",
           nd + 2, weight.sizes());
  // An odd total puts one zero more at the end.
  std::array<int64_t, 6> rest{};
  bool uneven = false;
  for (int d = 0; d < nd; ++d) {
    const int64_t total = g.dilation[d] * (weight.sizes()[2 + d] - 1);
    g.padding[d] = total / 2;
    rest[static_cast<size_t>(2 * (nd - 1 - d) + 1)] = total % 2;
    uneven |= total % 2 != 0;
  }
  const Tensor padded = uneven ? pad(x, {rest.data(), static_cast<size_t>(2 * nd)}) : x;
  const Tensor y = forward(padded, weight, bias, g);
  return added ? squeeze(y, {0}) : y;
}

Tensor conv_transpose(int nd, const Tensor& input, const Tensor& weight, const Tensor& bias,
                      const Dims& stride, const Dims& padding, const Dims& output_padding,
                      int64_t groups, const Dims& dilation) {
  bool added = false;
  const Tensor x = batched(input, nd, "conv_transpose", added);
  const Geometry g = geometry(nd, weight, stride, padding, dilation, groups);
  const Tensor y =
      transposed(x, weight, bias, g, expand_list(output_padding, g.nd, "output_padding"));
  return added ? squeeze(y, {0}) : y;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const Tensor& bias,
                   const Dims& stride, const Dims& padding, const Dims& dilation,
                   bool is_transposed, const Dims& output_padding, int64_t groups) {
  GS_CHECK(weight.ndim() > 2 && weight.ndim() <= 5, "weight should have at least three dimensions");
  const Geometry g = geometry(weight.ndim() - 2, stride, padding, dilation, groups);
  if (!is_transposed) return forward(input, weight, bias, g);
  return transposed(input, weight, bias, g, expand_list(output_padding, g.nd, "output_padding"));
}

}  // namespace gradstep
