// SPDX-License-Identifier: Apache-2.0
// Pooling on a GPU; operands and slots are those of cpp/kernels/pool.cpp. A thread computes one
// element of the result: an output looks through its window, a gradient of an input gathers from
// the windows that contain it, in their order, so that results never depend on which thread comes
// first. Neighbouring threads have neighbouring elements of the innermost axis. All operands are
// contiguous; halves are computed in float.
#include <limits>

#include "cuda/values.h"
#include "cuda/window.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 256;

// ---- windows ----

/// Elements begin, begin + step, .. below end; `full` is the length with padding.
struct Span {
  int64_t begin, end, full;
};
/// Windows first .. last.
struct Range {
  int64_t first, last;
};

struct Axis {
  int64_t in = 1, out = 1;
  int64_t kernel = 1, stride = 1, pad = 0, step = 1;  // of sliding windows
  Splitter by_stride, by_step, by_in, by_out;

  void finish() {
    const int64_t reach = in + (kernel - 1) * step + 2 * pad;
    by_stride = Splitter(stride, reach + stride);
    by_step = Splitter(step, reach + step);
    const int64_t cross = (in + 1) * (out + 1);
    by_in = Splitter(in, cross);
    by_out = Splitter(out, cross + out);
  }

  GS_DEVICE Span window(int64_t o, bool adaptive) const {
    if (adaptive) {
      const int64_t begin = by_out.divide(o * in);
      const int64_t end = by_out.divide((o + 1) * in + out - 1);
      return {begin, end, end - begin};
    }
    const int64_t first = o * stride - pad;
    const int64_t last = first + (kernel - 1) * step + 1;
    const int64_t skipped = first < 0 ? by_step.divide(-first + step - 1) : 0;
    return {first + skipped * step, last < in ? last : in,
            (last < in + pad ? last : in + pad) - first};
  }

  /// The windows whose bounds contain element i.
  GS_DEVICE Range windows(int64_t i, bool adaptive) const {
    // begin(o) <= i and i < end(o), solved for o.
    if (adaptive) return {by_in.divide(i * out), by_in.divide((i + 1) * out - 1)};
    const int64_t late = i + pad - (kernel - 1) * step;
    const int64_t first = late > 0 ? by_stride.divide(late + stride - 1) : 0;
    const int64_t last = by_stride.divide(i + pad);
    return {first, last < out ? last : out - 1};
  }
  /// True if element i is one of the window's and not between two of them.
  GS_DEVICE bool has(int64_t o, int64_t i) const {
    if (step == 1) return true;
    int64_t r = i + pad - o * stride;
    by_step.split(r);
    return r == 0;
  }
};

/// What the sum of a window is divided by.
struct Divisor {
  bool include_pad = true;
  int64_t fixed = 0;  // 0: by the number of elements
  GS_DEVICE int64_t operator()(const Span& d, const Span& h, const Span& w) const {
    if (fixed) return fixed;
    if (include_pad) return d.full * h.full * w.full;
    return (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin);
  }
};

/// x is the image, y has an element for each window. Missing leading axes have one window of one
/// element.
struct PoolArgs {
  Axis axis[3];
  Planes in, out;
  bool adaptive = true;
  Divisor divisor;
  DType type;
  int64_t n;  // elements of the result
  const char* from = nullptr;
  char* to = nullptr;
  int64_t* indices = nullptr;

  GS_DEVICE Span window(int d, const int64_t (&at)[3]) const {
    return axis[d].window(at[d], adaptive);
  }
  GS_DEVICE Range windows(int d, const int64_t (&at)[3]) const {
    return axis[d].windows(at[d], adaptive);
  }
};

PoolArgs pool_args(const Call& call, const TensorImpl& x, const TensorImpl& y) {
  PoolArgs a;
  const int nd = int(call.i(0) & 0xff);
  const int64_t most = x.numel > y.numel ? x.numel : y.numel;
  a.in = Planes(x.sizes.end() - nd, nd, most);
  a.out = Planes(y.sizes.end() - nd, nd, most);
  for (int d = 0; d < 3; ++d) {
    a.axis[d].in = a.in.size[d];
    a.axis[d].out = a.out.size[d];
    a.axis[d].finish();
  }
  a.type = call.out(0).dtype;
  a.n = call.out(0).numel;
  a.from = call.in(0).data;
  a.to = call.out(0).data;
  return a;
}

/// Slots from 1 on: kernel, stride, padding[, dilation].
PoolArgs sliding_args(const Call& call, const TensorImpl& x, const TensorImpl& y, bool dilated) {
  PoolArgs a = pool_args(call, x, y);
  const int nd = int(call.i(0) & 0xff);
  a.adaptive = false;
  for (int d = 0; d < nd; ++d) {
    Axis& axis = a.axis[3 - nd + d];
    axis.kernel = call.i(1 + d);
    axis.stride = call.i(1 + nd + d);
    axis.pad = call.i(1 + 2 * nd + d);
    axis.step = dilated ? call.i(1 + 3 * nd + d) : 1;
    axis.finish();
  }
  if (!dilated) a.divisor = {(call.i(0) >> 8) != 0, call.i(1 + 3 * nd)};
  return a;
}

template <class F>
void by_floating(const Call& call, const char* what, F f) {
  const DType type = call.out(0).dtype;
  GS_CHECK_KIND(NotImplemented, is_floating(type), "\"{}\" not implemented for '{}'", what,
                scalar_name(type));
  if (type == DType::Float64) return f(double{});
  f(float{});
}

/// As launch_grid with one thread for each element of the result.
template <class A, class... P>
void launch_elements(const Call& call, void (*kernel)(P...), const A& a) {
  launch_grid(call, kernel, blocks_for(call, a.n, kThreads), kThreads, a);
}

/// Nothing to gather from: a gradient of zeros.
bool fill_zero(const Call& call) {
  if (call.in(0).numel != 0) return false;
  const TensorImpl& out = call.out(0);
  check(cudaMemsetAsync(out.data, 0, size_t(out.numel) * element_size(out.dtype), stream_of(call)),
        call.op->name);
  return true;
}

// ---- maximum ----

template <class C>
__global__ void __launch_bounds__(kThreads) max_kernel(const __grid_constant__ PoolArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    const int64_t from = a.out.split(k, at) * a.in.plane;
    const Span d = a.window(0, at), h = a.window(1, at), w = a.window(2, at);
    C best = std::is_integral_v<C> ? std::numeric_limits<C>::lowest()
                                   : -std::numeric_limits<C>::infinity();
    int64_t place = a.in.offset(d.begin, h.begin, w.begin);
    for (int64_t z = d.begin; z < d.end; z += a.axis[0].step) {
      for (int64_t y = h.begin; y < h.end; y += a.axis[1].step) {
        for (int64_t x = w.begin; x < w.end; x += a.axis[2].step) {
          const int64_t i = a.in.offset(z, y, x);
          const C v = load_as<C>(a.from, a.type, from + i);
          if (v > best || v != v) {  // a maximum is replaced by what is greater and by NaN
            best = v;
            place = i;
          }
        }
      }
    }
    store_as<C>(a.to, a.type, k, best);
    if (a.indices) a.indices[k] = place;
  }
}

void launch_maximum(const Call& call, PoolArgs a) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  if (call.n_out > 1) a.indices = reinterpret_cast<int64_t*>(call.out(1).data);
  by_compute(compute_type(out.dtype), [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &max_kernel<C>, a);
  });
}

void max_pool(const Call& call) {
  launch_maximum(call, sliding_args(call, call.in(0), call.out(0), true));
}
void adaptive_max_pool(const Call& call) {
  launch_maximum(call, pool_args(call, call.in(0), call.out(0)));
}

// dx[i] = sum of dy[o] over the windows o of i whose maximum is i.
template <class C>
__global__ void __launch_bounds__(kThreads) max_grad_kernel(const __grid_constant__ PoolArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    const int64_t from = a.in.split(k, at) * a.out.plane;
    const int64_t place = a.in.offset(at[0], at[1], at[2]);
    const Range d = a.windows(0, at), h = a.windows(1, at), w = a.windows(2, at);
    C sum = 0;
    for (int64_t z = d.first; z <= d.last; ++z) {
      for (int64_t y = h.first; y <= h.last; ++y) {
        for (int64_t x = w.first; x <= w.last; ++x) {
          const int64_t o = from + a.out.offset(z, y, x);
          if (a.indices[o] == place) sum += load_as<C>(a.from, a.type, o);
        }
      }
    }
    store_as<C>(a.to, a.type, k, sum);
  }
}

void max_pool_grad(const Call& call) {
  const TensorImpl& dx = call.out(0);
  if (dx.numel == 0) return;
  const DeviceGuard guard(dx.device.index);
  if (fill_zero(call)) return;
  // Adaptive windows follow from the sizes.
  PoolArgs a = call.params.count == 1 ? pool_args(call, dx, call.in(0))
                                      : sliding_args(call, dx, call.in(0), true);
  a.indices = reinterpret_cast<int64_t*>(call.in(1).data);
  by_floating(call, "max_pool_backward", [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &max_grad_kernel<C>, a);
  });
}

// ---- averages ----

template <class C>
__global__ void __launch_bounds__(kThreads) average_kernel(const __grid_constant__ PoolArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    const int64_t from = a.out.split(k, at) * a.in.plane;
    const Span d = a.window(0, at), h = a.window(1, at), w = a.window(2, at);
    C sum = 0;
    for (int64_t z = d.begin; z < d.end; ++z) {
      for (int64_t y = h.begin; y < h.end; ++y) {
        for (int64_t x = w.begin; x < w.end; ++x)
          sum += load_as<C>(a.from, a.type, from + a.in.offset(z, y, x));
      }
    }
    store_as<C>(a.to, a.type, k, sum / C(a.divisor(d, h, w)));
  }
}

// dx[i] = sum of dy[o] / divisor(o) over the windows o of i.
template <class C>
__global__ void __launch_bounds__(kThreads)
    average_grad_kernel(const __grid_constant__ PoolArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    const int64_t from = a.in.split(k, at) * a.out.plane;
    const Range d = a.windows(0, at), h = a.windows(1, at), w = a.windows(2, at);
    C sum = 0;
    for (int64_t z = d.first; z <= d.last; ++z) {
      for (int64_t y = h.first; y <= h.last; ++y) {
        for (int64_t x = w.first; x <= w.last; ++x) {
          const int64_t by =
              a.divisor(a.axis[0].window(z, a.adaptive), a.axis[1].window(y, a.adaptive),
                        a.axis[2].window(x, a.adaptive));
          sum += load_as<C>(a.from, a.type, from + a.out.offset(z, y, x)) / C(by);
        }
      }
    }
    store_as<C>(a.to, a.type, k, sum);
  }
}

void launch_average(const Call& call, const PoolArgs& a) {
  if (a.n == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  by_floating(call, "avg_pool", [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &average_kernel<C>, a);
  });
}
void launch_average_grad(const Call& call, const PoolArgs& a) {
  if (a.n == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  if (fill_zero(call)) return;
  by_floating(call, "avg_pool_backward", [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &average_grad_kernel<C>, a);
  });
}

void avg_pool(const Call& call) {
  launch_average(call, sliding_args(call, call.in(0), call.out(0), false));
}
void avg_pool_grad(const Call& call) {
  launch_average_grad(call, sliding_args(call, call.out(0), call.in(0), false));
}
void adaptive_avg_pool(const Call& call) {
  launch_average(call, pool_args(call, call.in(0), call.out(0)));
}
void adaptive_avg_pool_grad(const Call& call) {
  launch_average_grad(call, pool_args(call, call.out(0), call.in(0)));
}

// ---- windows as columns ----

/// columns: [N, C * kernel, windows]; image: [N, C, H, W].
struct ColumnArgs {
  Axis axis[2];
  Planes image, windows;
  Splitter by_taps, by_kernel;
  int64_t taps;
  DType type;
  int64_t n;
  const char* from;
  char* to;
};

/// Slots: two each of kernel, dilation, padding, stride.
ColumnArgs column_args(const Call& call, const TensorImpl& image, const TensorImpl& columns) {
  ColumnArgs a;
  const int64_t most = image.numel > columns.numel ? image.numel : columns.numel;
  int64_t count[2];
  for (int d = 0; d < 2; ++d) {
    Axis& axis = a.axis[d];
    axis.in = image.sizes[2 + d];
    axis.kernel = call.i(d);
    axis.step = call.i(2 + d);
    axis.pad = call.i(4 + d);
    axis.stride = call.i(6 + d);
    count[d] = axis.out =
        (axis.in + 2 * axis.pad - axis.step * (axis.kernel - 1) - 1) / axis.stride + 1;
    axis.finish();
  }
  a.image = Planes(image.sizes.end() - 2, 2, most);
  a.windows = Planes(count, 2, most);
  a.taps = a.axis[0].kernel * a.axis[1].kernel;
  a.by_taps = Splitter(a.taps, most);
  a.by_kernel = Splitter(a.axis[1].kernel, a.taps);
  a.type = call.out(0).dtype;
  a.n = call.out(0).numel;
  a.from = call.in(0).data;
  a.to = call.out(0).data;
  return a;
}

template <class C>
__global__ void __launch_bounds__(kThreads) im2col_kernel(const __grid_constant__ ColumnArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    int64_t tap = a.windows.split(k, at);
    const int64_t plane = a.by_taps.split(tap);
    const int64_t row = a.by_kernel.split(tap);
    const int64_t y = at[1] * a.axis[0].stride + row * a.axis[0].step - a.axis[0].pad;
    const int64_t x = at[2] * a.axis[1].stride + tap * a.axis[1].step - a.axis[1].pad;
    const bool inside = y >= 0 && y < a.axis[0].in && x >= 0 && x < a.axis[1].in;
    store_as<C>(a.to, a.type, k,
                inside ? load_as<C>(a.from, a.type, plane * a.image.plane + a.image.offset(0, y, x))
                       : C(0));
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads) col2im_kernel(const __grid_constant__ ColumnArgs a) {
  for (int64_t k = first_index(); k < a.n; k += index_stride()) {
    int64_t at[3];
    const int64_t plane = a.image.split(k, at);
    const Range h = a.axis[0].windows(at[1], false), w = a.axis[1].windows(at[2], false);
    C sum = 0;
    // Later windows have the element at earlier taps: the taps come in order.
    for (int64_t y = h.last; y >= h.first; --y) {
      if (!a.axis[0].has(y, at[1])) continue;
      const int64_t row =
          a.axis[0].by_step.divide(at[1] + a.axis[0].pad - y * a.axis[0].stride) * a.axis[1].kernel;
      for (int64_t x = w.last; x >= w.first; --x) {
        if (!a.axis[1].has(x, at[2])) continue;
        const int64_t tap =
            row + a.axis[1].by_step.divide(at[2] + a.axis[1].pad - x * a.axis[1].stride);
        sum += load_as<C>(a.from, a.type,
                          (plane * a.taps + tap) * a.windows.plane + a.windows.offset(0, y, x));
      }
    }
    store_as<C>(a.to, a.type, k, sum);
  }
}

void im2col(const Call& call) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  const ColumnArgs a = column_args(call, call.in(0), call.out(0));
  by_floating(call, "im2col", [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &im2col_kernel<C>, a);
  });
}
void col2im(const Call& call) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  const ColumnArgs a = column_args(call, call.out(0), call.in(0));
  by_floating(call, "col2im", [&](auto tag) {
    using C = decltype(tag);
    launch_elements(call, &col2im_kernel<C>, a);
  });
}

}  // namespace

GS_CUDA_KERNEL("max_pool", max_pool);
GS_CUDA_KERNEL("adaptive_max_pool", adaptive_max_pool);
GS_CUDA_KERNEL("max_pool_grad", max_pool_grad);
GS_CUDA_KERNEL("avg_pool", avg_pool);
GS_CUDA_KERNEL("avg_pool_grad", avg_pool_grad);
GS_CUDA_KERNEL("adaptive_avg_pool", adaptive_avg_pool);
GS_CUDA_KERNEL("adaptive_avg_pool_grad", adaptive_avg_pool_grad);
GS_CUDA_KERNEL("im2col", im2col);
GS_CUDA_KERNEL("col2im", col2im);

}  // namespace gradstep::cuda
