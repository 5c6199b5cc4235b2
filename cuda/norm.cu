// SPDX-License-Identifier: Apache-2.0
// Batch norm, forward and backward, and the backward of group norm on a GPU: sums over planes
// (cuda/reduce.h), a small kernel that makes coefficients of them, and one pass that applies them;
// or cuDNN (norm_cudnn.cu).
// Tensors are contiguous. Halves may come as they are.
#include <algorithm>

#include "cuda/norm.h"
#include "cuda/reduce.h"
#include "cuda/rows.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 256;

/// The sums of dy * (x - centre) and of dy.
template <class C_>
struct GradientSums {
  using C = C_;
  using Pairs = void;
  struct State {
    C centre;
    double with_x, alone;
  };
  GS_FN static State init() { return {C(0), 0, 0}; }
  GS_FN static void start(State& s, C centre) { s.centre = centre; }
  template <int W>
  GS_FN static void take(State& s, const C* x, const C* dy) {
    C a = C(0), b = C(0);
    for (int k = 0; k < W; ++k) {
      a += dy[k] * (x[k] - s.centre);
      b += dy[k];
    }
    s.with_x += double(a);
    s.alone += double(b);
  }
  GS_FN static void merge(State& s, const State& t) {
    s.with_x += t.with_x;
    s.alone += t.alone;
  }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t, double, Put put) {
    put(0, s.with_x);
    put(1, s.alone);
  }
};

struct Channels {
  int64_t n, channels, inner;
  explicit Channels(const TensorImpl& x) : n(x.sizes[0]), channels(x.sizes[1]), inner(1) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x.sizes[d];
  }
};

// ---- the pass over all elements ----
// out = dy * from_dy - (x - centre) * from_x - rest, coefficients by plane or by channel

struct ApplyArgs {
  int64_t n, inner, coefficients;  // plane p has coefficients p % coefficients
  bool few, small;
  Divider inner_divider, coefficients_divider;
  Operand out, x, dy;    // x or dy may be absent
  const char* of_plane;  // [4, coefficients] of the compute type: from_dy, from_x, centre, rest

  GS_DEVICE int64_t row_of(int64_t i) const {
    if (small) {
      const uint32_t plane = inner_divider.divide(uint32_t(i));
      const uint32_t q = coefficients_divider.divide(plane);
      return plane - q * uint32_t(coefficients);
    }
    return i / inner % coefficients;
  }
};

template <class C>
GS_DEVICE C applied(const ApplyArgs& a, int64_t row, C x, C dy) {
  const C* k = reinterpret_cast<const C*>(a.of_plane) + row;
  const C from_dy = a.dy.p ? dy * k[0] : C(0);
  if (!a.x.p) return from_dy;
  const C from_x = (x - k[2 * a.coefficients]) * k[a.coefficients];
  return a.dy.p ? from_dy - from_x - k[3 * a.coefficients] : from_x + k[3 * a.coefficients];
}

template <class C>
__global__ void __launch_bounds__(kThreads) apply_planes(const __grid_constant__ ApplyArgs a) {
  constexpr int W = kFew<C>;
  if (a.few) {
    for (int64_t k = first_index(); k * W < a.n; k += index_stride()) {
      Few<C, W> x = {}, dy = {};
      if (a.x.p) x = load_few<W, C>(a.x.p, a.x.type, k * W);
      if (a.dy.p) dy = load_few<W, C>(a.dy.p, a.dy.type, k * W);
      const int64_t row = a.row_of(k * W);
      GS_UNROLL
      for (int e = 0; e < W; ++e) x.v[e] = applied(a, row, x.v[e], dy.v[e]);
      store_few<W, C>(a.out.p, a.out.type, k * W, x);
    }
    return;
  }
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    const C x = a.x.p ? a.x.get<C>(i) : C(0), dy = a.dy.p ? a.dy.get<C>(i) : C(0);
    a.out.set(i, applied(a, a.row_of(i), x, dy));
  }
}

template <class C>
void apply(const Call& call, int64_t inner, int64_t coefficients, const C* of_plane,
           const TensorImpl* x, const TensorImpl* dy) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  ApplyArgs a{};
  a.n = out.numel;
  a.inner = inner;
  a.coefficients = coefficients;
  a.small = out.numel < (int64_t(1) << 31);
  if (a.small) {
    a.inner_divider = Divider(inner);
    a.coefficients_divider = Divider(coefficients);
  }
  a.few = inner % kFew<C> == 0;
  for (const TensorImpl* t : {&out, x, dy}) a.few = a.few && (!t || aligned_few(t->data, t->dtype));
  a.out = &out;
  a.x = x;
  a.dy = dy;
  a.of_plane = reinterpret_cast<const char*>(of_plane);
  launch_grid(call, &apply_planes<C>, blocks_for(call, a.n, kThreads, a.few ? kFew<C> : 1),
              kThreads, a);
}

// ---- batch norm ----
// params: eps, training, momentum. x is [N, C, inner].

struct ChannelArgs {
  int64_t channels;
  double eps, momentum, count;
  bool training;
  Operand weight, bias, mean, scale, running_mean, running_var;
  int64_t mean_step, var_step;  // strides of the running statistics
  const double* sums;           // forward: the variances; backward: [2, C], GradientSums
  char* of_plane;               // coefficients of ApplyArgs
  Operand dweight, dbias;
};

/// running = (1 - momentum) * running + momentum * value
GS_DEVICE void update_running(const Operand& running, int64_t at, double value, double momentum) {
  if (!running.p) return;
  running.set(at, (1 - momentum) * running.get<double>(at) + momentum * value);
}

template <class C>
__global__ void __launch_bounds__(kThreads)
    batch_norm_channels(const __grid_constant__ ChannelArgs a) {
  for (int64_t k = first_index(); k < a.channels; k += index_stride()) {
    if (!a.training) a.mean.set(k, a.running_mean.get<C>(k * a.mean_step));
    const C mean = a.mean.get<C>(k);
    const C var = a.training ? C(a.sums[k]) : a.running_var.get<C>(k * a.var_step);
    const C scale = C(1 / sqrt(double(var) + a.eps));
    a.scale.set(k, scale);
    C* const out = reinterpret_cast<C*>(a.of_plane) + k;
    out[a.channels] = a.weight.p ? scale * a.weight.get<C>(k) : scale;
    out[2 * a.channels] = mean;
    out[3 * a.channels] = a.bias.p ? a.bias.get<C>(k) : C(0);
    if (!a.training) continue;
    const double others = a.count - 1 > 1 ? a.count - 1 : 1.0;
    update_running(a.running_mean, k * a.mean_step, double(mean), a.momentum);
    update_running(a.running_var, k * a.var_step, a.count / others * double(var), a.momentum);
  }
}

constexpr uint64_t kAllButChannels = 0xff & ~uint64_t(2);

// batch_norm(y, mean, scale; x, weight, bias, running mean, running var)
void batch_norm(const Call& call) {
  const TensorImpl& x = call.in(0);
  const Channels s(x);
  if (s.channels == 0) return;
  const DeviceGuard guard(x.device.index);
  if (cudnn_batch_norm(call)) return;
  const TensorImpl *running_mean = call.maybe_in(3), *running_var = call.maybe_in(4);
  const DeviceScratch<double> var(s.channels, call);
  ChannelArgs a{};
  a.channels = s.channels;
  a.eps = call.f(0);
  a.training = call.i(1) != 0;
  a.momentum = call.f(2);
  a.count = double(s.n * s.inner);
  a.weight = call.maybe_in(1);
  a.bias = call.maybe_in(2);
  a.mean = &call.out(1);
  a.scale = &call.out(2);
  a.running_mean = running_mean;
  a.running_var = running_var;
  a.mean_step = running_mean ? running_mean->strides[0] : 0;
  a.var_step = running_var ? running_var->strides[0] : 0;
  a.sums = var.data();
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    if (a.training) {
      ReduceArgs r = reduce_args(call, x, kAllButChannels);
      r.out[0] = reinterpret_cast<char*>(var.data());
      r.out_type[0] = DType::Float64;
      r.out[1] = a.mean.p;
      r.out_type[1] = a.mean.type;
      run_reduction<ShiftedMoments<C, false>>(call, r);
    }
    const DeviceScratch<C> of_plane(4 * s.channels, call);
    a.of_plane = reinterpret_cast<char*>(of_plane.data());
    launch_grid(call, &batch_norm_channels<C>, blocks_for(call, s.channels, kThreads), kThreads, a);
    apply<C>(call, s.inner, s.channels, of_plane.data(), &x, nullptr);
  });
}

template <class C>
__global__ void __launch_bounds__(kThreads)
    batch_norm_gradients(const __grid_constant__ ChannelArgs a) {
  for (int64_t k = first_index(); k < a.channels; k += index_stride()) {
    const C scale = a.scale.get<C>(k);
    const C dw = a.count > 0 ? C(a.sums[k] * double(scale)) : C(0);
    const C db = C(a.sums[a.channels + k]);
    if (a.dweight.p) a.dweight.set(k, dw);
    if (a.dbias.p) a.dbias.set(k, db);
    const C share = C(1 / a.count), factor = a.weight.p ? scale * a.weight.get<C>(k) : scale;
    C* const out = reinterpret_cast<C*>(a.of_plane) + k;
    out[0] = factor;
    out[a.channels] = factor * (dw * share * scale);
    out[2 * a.channels] = a.mean.get<C>(k);
    out[3 * a.channels] = factor * (db * share);
  }
}

/// The sums of dy * (x - mean) and dy over the axes in mask, to doubles [2, outputs].
template <class C>
void gradient_sums(const Call& call, const TensorImpl& x, const TensorImpl& dy,
                   const TensorImpl& mean, uint64_t mask, int64_t per_mean, double* sums) {
  ReduceArgs r = reduce_args(call, x, mask);
  r.in[1] = dy.data;
  r.type[1] = dy.dtype;
  r.centre = mean.data;
  r.centre_type = mean.dtype;
  r.per_centre = per_mean;
  for (int k = 0; k < 2; ++k) {
    r.out[k] = reinterpret_cast<char*>(sums + k * r.outputs);
    r.out_type[k] = DType::Float64;
  }
  run_reduction<GradientSums<C>>(call, r);
}

// batch_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
// dx = factor * (dy - mean(dy) - normalized x * mean(dy * normalized x)); constants in eval mode.
void batch_norm_backward(const Call& call) {
  const TensorImpl &dy = call.in(0), &x = call.in(1);
  const Channels s(x);
  if (s.channels == 0) return;
  const DeviceGuard guard(x.device.index);
  if (cudnn_batch_norm_backward(call)) return;
  const bool training = call.i(1) != 0;
  const DeviceScratch<double> sums(2 * s.channels, call);
  ChannelArgs a{};
  a.channels = s.channels;
  a.count = double(s.n * s.inner);
  a.weight = call.maybe_in(2);
  a.mean = &call.in(3);
  a.scale = &call.in(4);
  a.sums = sums.data();
  a.dweight = call.operands[1];
  a.dbias = call.operands[2];
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    gradient_sums<C>(call, x, dy, call.in(3), kAllButChannels, 1, sums.data());
    const DeviceScratch<C> of_plane(4 * s.channels, call);
    a.of_plane = reinterpret_cast<char*>(of_plane.data());
    launch_grid(call, &batch_norm_gradients<C>, blocks_for(call, s.channels, kThreads), kThreads,
                a);
    apply<C>(call, s.inner, s.channels, of_plane.data(), training ? &x : nullptr, &dy);
  });
}

// ---- group norm ----
// params: eps, groups. x is [N, C, inner]; a group is a row of C / groups channels.

struct GroupArgs {
  int64_t planes, channels, per_group, samples;
  double elements;     // of a group
  const double* sums;  // [2, planes], GradientSums
  Operand weight, mean, scale, dweight, dbias;
  char* of_plane;
};

/// Coefficients of each plane; a thread has a group.
template <class C>
__global__ void __launch_bounds__(kThreads) group_norm_planes(const __grid_constant__ GroupArgs a) {
  for (int64_t g = first_index(); g < a.planes / a.per_group; g += index_stride()) {
    const double scale = a.scale.get<double>(g);
    double s1 = 0, s2 = 0;
    for (int64_t j = 0; j < a.per_group; ++j) {
      const int64_t p = g * a.per_group + j;
      const double w = a.weight.p ? a.weight.get<double>(p % a.channels) : 1.0;
      s2 += w * scale * a.sums[p];
      s1 += w * a.sums[a.planes + p];
    }
    for (int64_t j = 0; j < a.per_group; ++j) {
      const int64_t p = g * a.per_group + j;
      C* const out = reinterpret_cast<C*>(a.of_plane) + p;
      out[0] = a.weight.p ? C(scale) * a.weight.get<C>(p % a.channels) : C(scale);
      out[a.planes] = C(scale * (s2 / a.elements * scale));
      out[2 * a.planes] = a.mean.get<C>(g);
      out[3 * a.planes] = C(scale * (s1 / a.elements));
    }
  }
}

/// dweight and dbias: a thread has a channel.
__global__ void __launch_bounds__(kThreads)
    group_norm_channels(const __grid_constant__ GroupArgs a) {
  for (int64_t c = first_index(); c < a.channels; c += index_stride()) {
    double dw = 0, db = 0;
    for (int64_t i = 0; i < a.samples; ++i) {
      const int64_t p = i * a.channels + c;
      dw += a.scale.get<double>(p / a.per_group) * a.sums[p];
      db += a.sums[a.planes + p];
    }
    if (a.dweight.p) a.dweight.set(c, dw);
    if (a.dbias.p) a.dbias.set(c, db);
  }
}

// group_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
void group_norm_backward(const Call& call) {
  const TensorImpl &dy = call.in(0), &x = call.in(1);
  const Channels s(x);
  if (s.channels == 0) return;
  const DeviceGuard guard(x.device.index);
  const int64_t planes = s.n * s.channels, groups = call.i(1);
  const DeviceScratch<double> sums(2 * planes, call);
  GroupArgs a{};
  a.planes = planes;
  a.channels = s.channels;
  a.per_group = s.channels / groups;
  a.samples = s.n;
  a.elements = double(a.per_group * s.inner);
  a.sums = sums.data();
  a.weight = call.maybe_in(2);
  a.mean = &call.in(3);
  a.scale = &call.in(4);
  a.dweight = call.operands[1];
  a.dbias = call.operands[2];
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    gradient_sums<C>(call, x, dy, call.in(3), 0xff & ~uint64_t(3), a.per_group, sums.data());
    const DeviceScratch<C> of_plane(4 * planes, call);
    a.of_plane = reinterpret_cast<char*>(of_plane.data());
    launch_grid(call, &group_norm_planes<C>, blocks_for(call, planes / a.per_group, kThreads),
                kThreads, a);
    if (planes > 0) apply<C>(call, s.inner, planes, of_plane.data(), &x, &dy);
  });
  if (!a.dweight.p && !a.dbias.p) return;
  launch_grid(call, &group_norm_channels, blocks_for(call, s.channels, kThreads), kThreads, a);
}

GS_CUDA_KERNEL("batch_norm", batch_norm);
GS_CUDA_KERNEL("batch_norm_backward", batch_norm_backward);
GS_CUDA_KERNEL("group_norm_backward", group_norm_backward);

}  // namespace

}  // namespace gradstep::cuda
