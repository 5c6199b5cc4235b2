// SPDX-License-Identifier: Apache-2.0
// Softmax and normalisations. Kernels take halves as they are and compute them in float32, as do
// the composed derivatives. See ops/nn_norm.h.
#include "ops/nn_norm.h"

#include <algorithm>
#include <limits>

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/view.h"

namespace gradstep {

namespace {

/// For numbers that a kernel keeps for each row of x.
Tensor statistics(const Tensor& x, int64_t n) {
  return empty({n}, wide_type(x.dtype()), x.device());
}

Tensor contiguous_or_none(const Tensor& t) { return t.defined() ? contiguous(t) : t; }

}  // namespace

// ---- softmax ----

namespace {

// params: axis. Kept: the result.
void softmax_backward(Backward& b) {
  static const Op& kernel = Op::get("softmax_backward");
  const Tensor y = b.saved(0), dy = b.grad();
  const int64_t axis = b.i(0);
  if (grad_enabled()) {
    const Tensor p = widened(y), g = widened(dy) * p;
    return b.set(0, to(g - p * sum(g, {axis}, true), y.dtype()));
  }
  const Tensor g = contiguous(dy), dx = empty(y.sizes(), options_of(y));
  run(kernel, params(axis), {&dx}, {&g, &y});
  b.set(0, dx);
}

void log_softmax_backward(Backward& b) {
  static const Op& kernel = Op::get("log_softmax_backward");
  const Tensor y = b.saved(0), dy = b.grad();
  const int64_t axis = b.i(0);
  if (grad_enabled()) {
    const Tensor g = widened(dy);
    return b.set(0, to(g - exp(widened(y)) * sum(g, {axis}, true), y.dtype()));
  }
  const Tensor g = contiguous(dy), dx = empty(y.sizes(), options_of(y));
  run(kernel, params(axis), {&dx}, {&g, &y});
  b.set(0, dx);
}

Tensor along_axis(const Op& op, const Tensor& input, int64_t dim, std::optional<DType> dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  const int64_t axis = wrap_dim(dim, x.ndim());
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()),
                "\"{}_lastdim_kernel_impl\" not implemented for '{}'", op.name,
                scalar_name(x.dtype()));
  const Tensor source = contiguous(x);
  const Tensor out = empty(x.sizes(), options_of(x));
  run(op, params(axis), {&out}, {&source});
  if (needs_grad(x)) record(op, params(axis), {&out}, {&x}, {keep_output(out)});
  return out;
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  static const Op& op = define("softmax", &softmax_backward);
  return along_axis(op, x, dim, dtype);
}

Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  static const Op& op = define("log_softmax", &log_softmax_backward);
  return along_axis(op, x, dim, dtype);
}

// ---- normalisation, in general ----
// All of them are y = weight * (x - mean) * scale + bias over groups of elements. The kernels give
// mean and scale of each group beside y; the backward kernels give dx, dweight, dbias. When the
// backward itself must be differentiable, the same gradients are composed here from the statistics
// as functions of x.

namespace {

struct Statistics {
  Tensor normalized, scale;  // (x - mean) * scale; 1 / sqrt(var + eps)
};

Statistics standardize(const Tensor& x, const Dims& dims, double eps, bool centered) {
  const Tensor centre = centered ? x - mean(x, dims, true) : x;
  const Tensor scale = rsqrt(mean(square(centre), dims, true) + eps);
  return {centre * scale, scale};
}

/// dx from the gradient of the normalized values.
Tensor standardize_gradient(const Tensor& g, const Statistics& s, const Dims& dims, bool centered) {
  Tensor rest = g - s.normalized * mean(g * s.normalized, dims, true);
  if (centered) rest = rest - mean(g, dims, true);
  return rest * s.scale;
}

Dims last_dims(int ndim, int count) {
  Dims d;
  for (int i = ndim - count; i < ndim; ++i) d.push_back(i);
  return d;
}

/// All axes but the channels'.
Dims channel_dims(int ndim) {
  Dims d;
  for (int i = 0; i < ndim; ++i) {
    if (i != 1) d.push_back(i);
  }
  return d;
}

/// A value for each channel in the shape that broadcasts over x.
Tensor per_channel(const Tensor& v, int ndim) {
  Dims sizes = Dims::filled(ndim, 1);
  sizes[1] = v.numel();
  return reshape(v, sizes);
}

/// Weights of halves may be halves or float32.
void check_affine(const char* name, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  for (const Tensor* t : {&weight, &bias}) {
    if (!t->defined()) continue;
    const DType type = t->dtype(), wanted = wide_type(x.dtype());
    GS_CHECK(type == x.dtype() || (is_half(x.dtype()) && (is_half(type) || type == wanted)),
             "{}: expected scalar type {} but found {}", name, scalar_name(wanted),
             scalar_name(type));
  }
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()), "\"{}\" not implemented for '{}'", name,
                scalar_name(x.dtype()));
}

/// The bias in the type that its gradient will have: the weight's, or the input's without one.
Tensor bias_of(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!bias.defined()) return bias;
  return contiguous(to(bias, weight.defined() ? weight.dtype() : x.dtype()));
}

/// Runs a backward kernel: dx, and dweight, dbias where they are wanted.
void run_norm_backward(Backward& b, const Op& kernel, const Params& p, const Tensor& x,
                       const Tensor& weight, int64_t affine,
                       std::initializer_list<const Tensor*> statistics) {
  const Tensor dy = contiguous(b.grad());
  const Tensor dx = empty(x.sizes(), options_of(x));
  const Options of_affine = options_of(weight.defined() ? weight : x);
  const Tensor dweight = b.needs(1) ? empty({affine}, of_affine) : Tensor();
  const Tensor dbias = b.needs(2) ? empty({affine}, of_affine) : Tensor();
  const Tensor* outputs[] = {&dx, &dweight, &dbias};
  const Tensor* inputs[5] = {&dy, &x, &weight};
  size_t n = 3;
  for (const Tensor* t : statistics) inputs[n++] = t;
  run(kernel, p, outputs, std::span<const Tensor* const>(inputs, n), compute_type(x.dtype()));
  b.set(0, dx);
  if (b.needs(1)) b.set(1, dweight);
  if (b.needs(2)) b.set(2, dbias);
}

/// The gradients as composed in float32, where they are wanted, in the types of what they belong
/// to.
template <class X, class W, class B>
void set_composed(Backward& b, const Tensor& x, const Tensor& weight, X dx, W dweight, B dbias) {
  const DType of_affine = weight.defined() ? weight.dtype() : x.dtype();
  if (b.needs(0)) b.set(0, to(dx(), x.dtype()));
  if (b.needs(1)) b.set(1, to(dweight(), of_affine));
  if (b.needs(2)) b.set(2, to(dbias(), of_affine));
}

}  // namespace

// ---- layer and rms norm: the last axes ----

namespace {

// params: eps, number of axes, elements of a row. Kept: x, weight, mean, scale; rms norm has no
// mean.
void layer_norm_backward_of(Backward& b, bool centered) {
  const Tensor x = b.saved(0), weight = b.saved(1);
  if (!grad_enabled()) {
    static const Op& layer = Op::get("layer_norm_backward");
    static const Op& rms = Op::get("rms_norm_backward");
    const Op& kernel = centered ? layer : rms;
    const Tensor mean = b.saved(2), scale = b.saved(3);
    run_norm_backward(b, kernel, b.node.params, x, weight, b.i(2), {&mean, &scale});
    Dims shape;
    for (const int64_t d : last_dims(x.ndim(), static_cast<int>(b.i(1)))) {
      shape.push_back(x.sizes()[static_cast<int>(d)]);
    }
    for (const int k : {1, 2}) {
      if (b.needs(k)) b.set(k, reshape(b.in_grads[static_cast<size_t>(k)], shape));
    }
    return;
  }
  const Dims dims = last_dims(x.ndim(), static_cast<int>(b.i(1)));
  const Statistics s = standardize(widened(x), dims, b.f(0), centered);
  const Tensor dy = widened(b.grad());
  Dims shape;
  for (const int64_t d : dims) shape.push_back(x.sizes()[static_cast<int>(d)]);
  const Tensor g = weight.defined() ? dy * widened(weight) : dy;
  set_composed(
      b, x, weight, [&] { return standardize_gradient(g, s, dims, centered); },
      [&] { return sum_to_size(dy * s.normalized, shape); },
      [&] { return sum_to_size(dy, shape); });
}
void layer_norm_backward(Backward& b) { layer_norm_backward_of(b, true); }
void rms_norm_backward(Backward& b) { layer_norm_backward_of(b, false); }

Tensor norm_of_rows(const Op& op, const char* name, bool centered, const Tensor& x,
                    const Dims& shape, const Tensor& weight, const Tensor& bias, double eps) {
  GS_CHECK(!shape.empty(),
           "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
           "element, but got "
           "normalized_shape = {}",
           shape);
  bool fits = x.ndim() >= shape.size();
  for (int d = 0; fits && d < shape.size(); ++d)
    fits = x.sizes()[x.ndim() - shape.size() + d] == shape[d];
  if (!fits) {
    std::string list;
    for (const int64_t n : shape) list += format(", {}", n);
    fail(ErrorKind::Runtime,
         "Given normalized_shape={}, expected input with shape [*{}], but got input of size{}",
         shape, list, x.sizes());
  }
  GS_CHECK(
      !weight.defined() || weight.sizes() == shape,
      "Expected weight to be of same shape as normalized_shape, but got weight of shape {} and "
      "normalized_shape = {}",
      weight.defined() ? weight.sizes() : shape, shape);
  GS_CHECK(!bias.defined() || bias.sizes() == shape,
           "Expected bias to be of same shape as normalized_shape, but got bias of shape {} and "
           "normalized_shape = "
           "{}",
           bias.defined() ? bias.sizes() : shape, shape);
  check_affine(name, x, weight, bias);
  const int64_t n = count_elements(shape);
  const int64_t rows = n == 0 ? 0 : x.numel() / n;
  const Tensor source = contiguous(x), w = contiguous_or_none(weight);
  const Tensor c = bias_of(x, weight, bias);
  const Tensor out = empty(x.sizes(), options_of(x)), scale = statistics(x, rows);
  const Tensor mean = centered ? statistics(x, rows) : Tensor();
  const Params p = params(eps, static_cast<int64_t>(shape.size()), n);
  run(op, p, {&out, &mean, &scale}, {&source, &w, &c});
  if (needs_grad(x, weight, bias)) {
    record(op, p, {&out}, {&source, &w, &c}, {keep(source), keep(w), keep(mean), keep(scale)});
  }
  return out;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& weight,
                  const Tensor& bias, double eps) {
  static const Op& op = define("layer_norm", &layer_norm_backward);
  return norm_of_rows(op, "LayerNormKernelImpl", true, x, normalized_shape, weight, bias, eps);
}

Tensor rms_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& weight,
                std::optional<double> eps) {
  static const Op& op = define("rms_norm", &rms_norm_backward);
  const double e = eps                            ? *eps
                   : x.dtype() == DType::Float64  ? std::numeric_limits<double>::epsilon()
                   : x.dtype() == DType::Float16  ? 0x1p-10
                   : x.dtype() == DType::BFloat16 ? 0x1p-7
                                                  : std::numeric_limits<float>::epsilon();
  return norm_of_rows(op, "rms_norm", false, x, normalized_shape, weight, {}, e);
}

// ---- group norm ----

namespace {

// params: eps, groups. Kept: x, weight, mean, scale.
void group_norm_backward(Backward& b) {
  static const Op& kernel = Op::get("group_norm_backward");
  const Tensor x = b.saved(0), weight = b.saved(1);
  if (!grad_enabled()) {
    const Tensor mean = b.saved(2), scale = b.saved(3);
    return run_norm_backward(b, kernel, b.node.params, x, weight, x.size(1), {&mean, &scale});
  }
  const int64_t groups = b.i(1);
  const Dims grouped = {x.size(0), groups, x.numel() / std::max<int64_t>(x.size(0) * groups, 1)};
  const Statistics s = standardize(reshape(widened(x), grouped), {2}, b.f(0), true);
  const Tensor dy = widened(b.grad());
  const Tensor g = weight.defined() ? dy * per_channel(widened(weight), x.ndim()) : dy;
  const Dims dims = channel_dims(x.ndim());
  set_composed(
      b, x, weight,
      [&] { return reshape(standardize_gradient(reshape(g, grouped), s, {2}, true), x.sizes()); },
      [&] { return sum(dy * reshape(s.normalized, x.sizes()), dims); },
      [&] { return sum(dy, dims); });
}

}  // namespace

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  static const Op& op = define("group_norm", &group_norm_backward);
  GS_CHECK(x.ndim() >= 2, "Expected at least 2 dimensions for input tensor but received {}",
           x.ndim());
  GS_CHECK(groups > 0, "num_groups must be positive, got {}", groups);
  GS_CHECK(x.size(1) % groups == 0,
           "Expected number of channels in input to be divisible by num_groups, but got input of "
           "shape {} and "
           "num_groups={}",
           x.sizes(), groups);
  for (const Tensor* t : {&weight, &bias}) {
    GS_CHECK(!t->defined() || (t->ndim() == 1 && t->numel() == x.size(1)),
             "Expected {} to be a vector of size equal to the number of channels in input, but got "
             "{} of shape {} "
             "and input of shape {}",
             t == &weight ? "weight" : "bias", t == &weight ? "weight" : "bias",
             t->defined() ? t->sizes() : Dims{}, x.sizes());
  }
  check_affine("GroupNormKernelImpl", x, weight, bias);
  const Tensor source = contiguous(x), w = contiguous_or_none(weight);
  const Tensor c = bias_of(x, weight, bias);
  const Tensor out = empty(x.sizes(), options_of(x));
  const Tensor mean = statistics(x, x.size(0) * groups), scale = statistics(x, x.size(0) * groups);
  const Params p = params(eps, groups);
  run(op, p, {&out, &mean, &scale}, {&source, &w, &c});
  if (needs_grad(x, weight, bias)) {
    record(op, p, {&out}, {&source, &w, &c}, {keep(source), keep(w), keep(mean), keep(scale)});
  }
  return out;
}

// ---- batch norm ----

namespace {

// params: eps, training. Kept: x, weight, mean, scale.
void batch_norm_backward(Backward& b) {
  static const Op& kernel = Op::get("batch_norm_backward");
  const Tensor x = b.saved(0), weight = b.saved(1), mean = b.saved(2), scale = b.saved(3);
  if (!grad_enabled()) {
    return run_norm_backward(b, kernel, b.node.params, x, weight, x.size(1), {&mean, &scale});
  }
  const bool training = b.i(1) != 0;
  const Dims dims = channel_dims(x.ndim());
  const Tensor fixed = per_channel(scale, x.ndim()), wide = widened(x);
  const Statistics s = training ? standardize(wide, dims, b.f(0), true)
                                : Statistics{(wide - per_channel(mean, x.ndim())) * fixed, fixed};
  const Tensor dy = widened(b.grad());
  const Tensor g = weight.defined() ? dy * per_channel(widened(weight), x.ndim()) : dy;
  set_composed(
      b, x, weight, [&] { return training ? standardize_gradient(g, s, dims, true) : g * s.scale; },
      [&] { return sum(dy * s.normalized, dims); }, [&] { return sum(dy, dims); });
}

void check_channels(const char* what, const Tensor& t, int64_t channels) {
  GS_CHECK(!t.defined() || t.numel() == channels, "{} should contain {} elements not {}", what,
           channels, t.defined() ? t.numel() : 0);
}

/// Copies statistics that were computed in another tensor; undefined: nothing to do.
void write_statistics(const Tensor& running, const Tensor& value) {
  if (!running.defined() || !value.defined() || running.get() == value.get()) return;
  const GradMode off(false);
  copy_(running, value);
}

/// Of checked sizes. Where x is of halves, all else is float32.
Tensor batch_norm_of(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const Tensor& running_mean, const Tensor& running_var, bool training,
                     double momentum, double eps) {
  static const Op& op = []() -> const Op& {
    Op& made = define("batch_norm", &batch_norm_backward);
    made.written_inputs = 0b11000;  // the running statistics
    return made;
  }();
  const Tensor mean = statistics(x, x.size(1)), scale = statistics(x, x.size(1));
  check_affine("batch_norm", mean, weight, bias);
  const Tensor source = contiguous(x), w = contiguous_or_none(weight);
  const Tensor c = bias_of(x, weight, bias);
  const Tensor out = empty(x.sizes(), options_of(x));
  // params: eps, training, momentum
  const Params p = params(eps, static_cast<int64_t>(training), momentum);
  run(op, p, {&out, &mean, &scale}, {&source, &w, &c, &running_mean, &running_var});
  if (training && running_mean.defined()) mark_written(running_mean);
  if (training && running_var.defined()) mark_written(running_var);
  if (needs_grad(x, weight, bias)) {
    record(op, p, {&out}, {&source, &w, &c}, {keep(source), keep(w), keep(mean), keep(scale)});
  }
  return out;
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var, bool training,
                  double momentum, double eps) {
  const int64_t channels = x.ndim() < 2 ? 0 : x.size(1);
  check_channels("running_mean", running_mean, channels);
  check_channels("running_var", running_var, channels);
  check_channels("weight", weight, channels);
  check_channels("bias", bias, channels);
  GS_CHECK(training || (running_mean.defined() && running_var.defined()),
           "running_mean and running_var must be defined in evaluation mode");
  if (x.ndim() < 2) {  // PyTorch takes a vector without elements
    GS_CHECK_INDEX(x.ndim() == 1 && x.numel() == 0,
                   "Dimension out of range (expected to be in range of [{}, {}], but got 1)",
                   -std::max(x.ndim(), 1), std::max(x.ndim(), 1) - 1);
    const Tensor scaled = weight.defined() ? mul(x, weight) : clone(x);
    return bias.defined() ? add(scaled, bias) : scaled;
  }
  if (training) {
    GS_CHECK_VALUE(
        channels == 0 || x.numel() / channels != 1,
        "Expected more than 1 value per channel when training, got input size torch.Size({})",
        x.sizes());
  }
  if (is_half(x.dtype())) {
    // Running statistics may be halves too: they are updated through float copies, and cuDNN
    // wants float weights; x goes as it is.
    const Tensor mean = widened(running_mean), var = widened(running_var);
    const Tensor y =
        batch_norm_of(x, widened(weight), widened(bias), mean, var, training, momentum, eps);
    write_statistics(running_mean, training ? mean : Tensor());
    write_statistics(running_var, training ? var : Tensor());
    return y;
  }
  return batch_norm_of(x, weight, bias, running_mean, running_var, training, momentum, eps);
}

// ---- instance norm: each sample's channels as channels of one batch ----

Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, bool use_input_stats,
                     double momentum, double eps) {
  GS_CHECK(x.ndim() >= 2, "Expected at least 2 dimensions for input tensor but received {}",
           x.ndim());
  GS_CHECK(use_input_stats || (running_mean.defined() && running_var.defined()),
           "Expected running_mean and running_var to be defined when use_input_stats is false");
  const int64_t n = x.size(0), channels = x.size(1);
  Dims sizes = x.sizes();
  sizes[0] = 1;
  sizes[1] = n * channels;
  GS_CHECK_VALUE(
      !use_input_stats || n * channels == 0 || x.numel() / (n * channels) != 1,
      "Expected more than 1 spatial element when training, got input size torch.Size({})",
      x.sizes());
  const auto each_sample = [&](const Tensor& t) { return t.defined() ? repeat(t, {n}) : t; };
  const auto over_samples = [&](const Tensor& t) {
    return t.defined() && use_input_stats ? mean(reshape(t, {n, channels}), {0}) : Tensor();
  };
  const Tensor all_means = each_sample(running_mean), all_vars = each_sample(running_var);
  const Tensor out = batch_norm(reshape(x, sizes), each_sample(weight), each_sample(bias),
                                all_means, all_vars, use_input_stats, momentum, eps);
  write_statistics(running_mean, over_samples(all_means));
  write_statistics(running_var, over_samples(all_vars));
  return reshape(out, x.sizes());
}

}  // namespace gradstep
