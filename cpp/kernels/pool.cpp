// SPDX-License-Identifier: Apache-2.0
// Pooling on the CPU: sliding and adaptive windows are the same loops over a list of spans for each axis.
//   max_pool: y[, indices]; x     avg_pool: y; x     adaptive_max_pool, adaptive_avg_pool: as these
//   max_pool_grad: dx; dy, indices     avg_pool_grad, adaptive_avg_pool_grad: dx; dy
// Slots: nd (avg_pool: + 256 if padding counts), then nd each of kernel, stride, padding[, dilation][, divisor].
// All operands are contiguous; threads share the planes. Halves accumulate in float.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/threads.h"
#include "graph/call.h"

namespace gradstep {

namespace {

// ---- windows ----

/// One window along one axis: elements begin, begin + step, .. below end; `full` is its length with padding.
struct Span {
  int64_t begin, end, full;
};

struct Axis {
  int64_t in = 1, out = 1, step = 1;
  std::vector<Span> spans = {{0, 1, 1}};
};

/// Missing leading axes have one window of one element.
struct Geometry {
  Axis axis[3];
  int64_t planes = 0;
  int64_t in_plane = 1, out_plane = 1, window = 1;

  Geometry(int nd, const TensorImpl& x, const TensorImpl& y) {
    for (int d = 0; d < nd; ++d) {
      Axis& a = axis[3 - nd + d];
      a.in = x.sizes[x.ndim() - nd + d];
      a.out = y.sizes[y.ndim() - nd + d];
      in_plane *= a.in;
      out_plane *= a.out;
    }
    planes = in_plane ? x.numel / in_plane : 0;
  }

  void finish() {
    for (const Axis& a : axis) {
      int64_t longest = 1;
      for (const Span& s : a.spans) longest = std::max(longest, (s.end - s.begin + a.step - 1) / a.step);
      window *= longest;
    }
  }
  int64_t grain() const { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, out_plane * window)); }
};

Geometry sliding(const Call& call, const TensorImpl& x, const TensorImpl& y, bool has_dilation) {
  const int nd = static_cast<int>(call.i(0) & 0xff);
  Geometry g(nd, x, y);
  for (int d = 0; d < nd; ++d) {
    Axis& a = g.axis[3 - nd + d];
    const int64_t kernel = call.i(1 + d), stride = call.i(1 + nd + d), pad = call.i(1 + 2 * nd + d);
    a.step = has_dilation ? call.i(1 + 3 * nd + d) : 1;
    a.spans.resize(static_cast<size_t>(a.out));
    for (int64_t o = 0; o < a.out; ++o) {
      const int64_t first = o * stride - pad;
      const int64_t last = first + (kernel - 1) * a.step + 1;
      const int64_t skipped = first < 0 ? (-first + a.step - 1) / a.step : 0;
      a.spans[static_cast<size_t>(o)] = {first + skipped * a.step, std::min(last, a.in),
                                         std::min(last, a.in + pad) - first};
    }
  }
  g.finish();
  return g;
}

Geometry adaptive(const Call& call, const TensorImpl& x, const TensorImpl& y) {
  const int nd = static_cast<int>(call.i(0));
  Geometry g(nd, x, y);
  for (int d = 0; d < nd; ++d) {
    Axis& a = g.axis[3 - nd + d];
    a.spans.resize(static_cast<size_t>(a.out));
    for (int64_t o = 0; o < a.out; ++o) {
      const int64_t begin = o * a.in / a.out;
      const int64_t end = ((o + 1) * a.in + a.out - 1) / a.out;
      a.spans[static_cast<size_t>(o)] = {begin, end, end - begin};
    }
  }
  g.finish();
  return g;
}

/// Calls f(output position, spans of the three axes) for each window of a plane.
template <class F>
inline void each_window(const Geometry& g, F&& f) {
  int64_t o = 0;
  for (const Span& d : g.axis[0].spans) {
    for (const Span& h : g.axis[1].spans) {
      for (const Span& w : g.axis[2].spans) f(o++, d, h, w);
    }
  }
}

/// Calls f(input position) for each element of a window.
template <class F>
inline void each_element(const Geometry& g, const Span& d, const Span& h, const Span& w, F&& f) {
  for (int64_t z = d.begin; z < d.end; z += g.axis[0].step) {
    for (int64_t y = h.begin; y < h.end; y += g.axis[1].step) {
      const int64_t row = (z * g.axis[1].in + y) * g.axis[2].in;
      for (int64_t x = w.begin; x < w.end; x += g.axis[2].step) f(row + x);
    }
  }
}

// ---- maximum ----

template <class C>
bool is_nan(C v) {
  if constexpr (std::is_floating_point_v<C>) return v != v;
  return false;
}

/// All windows are 2 x 2, side by side or not: the usual case, without inner loops.
bool two_by_two(const Geometry& g) {
  const auto pairs = [](const Axis& a) {
    return a.step == 1 &&
           std::all_of(a.spans.begin(), a.spans.end(), [](const Span& s) { return s.end - s.begin == 2; });
  };
  return g.axis[0].in == 1 && pairs(g.axis[1]) && pairs(g.axis[2]);
}

template <class T>
void max_plane_2x2(const Geometry& g, const T* x, T* y, int64_t* indices) {
  using C = compute_t<T>;
  const int64_t width = g.axis[2].in;
  int64_t o = 0;
  for (const Span& h : g.axis[1].spans) {
    const int64_t row = h.begin * width;
    for (const Span& w : g.axis[2].spans) {
      int64_t at = row + w.begin;
      C best = convert<C>(x[at]);
      const int64_t others[3] = {at + 1, at + width, at + width + 1};
      for (const int64_t i : others) {
        const C v = convert<C>(x[i]);
        const bool take = (v > best) | is_nan(v);
        best = take ? v : best;
        at = take ? i : at;
      }
      y[o] = convert<T>(best);
      if (indices) indices[o] = at;
      ++o;
    }
  }
}

template <class T>
void max_plane(const Geometry& g, const T* x, T* y, int64_t* indices) {
  using C = compute_t<T>;
  each_window(g, [&](int64_t o, const Span& d, const Span& h, const Span& w) {
    int64_t at = (d.begin * g.axis[1].in + h.begin) * g.axis[2].in + w.begin;
    C best = std::numeric_limits<C>::lowest();
    if constexpr (std::is_floating_point_v<C>) best = -std::numeric_limits<C>::infinity();
    each_element(g, d, h, w, [&](int64_t i) {
      const C v = convert<C>(x[i]);
      const bool take = (v > best) | is_nan(v);
      best = take ? v : best;
      at = take ? i : at;
    });
    y[o] = convert<T>(best);
    if (indices) indices[o] = at;
  });
}

void maximum(const Call& call, const Geometry& g) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  dispatch(out.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* x = reinterpret_cast<const T*>(call.in(0).data);
    T* y = reinterpret_cast<T*>(out.data);
    int64_t* indices = call.n_out > 1 ? reinterpret_cast<int64_t*>(call.out(1).data) : nullptr;
    const auto plane = two_by_two(g) ? &max_plane_2x2<T> : &max_plane<T>;
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        plane(g, x + p * g.in_plane, y + p * g.out_plane, indices ? indices + p * g.out_plane : nullptr);
      }
    });
  });
}

void max_pool(const Call& call) { maximum(call, sliding(call, call.in(0), call.out(0), true)); }
GS_CPU_KERNEL("max_pool", max_pool);

void adaptive_max_pool(const Call& call) { maximum(call, adaptive(call, call.in(0), call.out(0))); }
GS_CPU_KERNEL("adaptive_max_pool", adaptive_max_pool);

// dx[indices] += dy, plane by plane.
void max_pool_grad(const Call& call) {
  const TensorImpl& dx = call.out(0);
  const TensorImpl& dy = call.in(0);
  const auto nd = static_cast<int>(call.i(0));
  const Geometry g(nd, dx, dy);
  const auto* indices = reinterpret_cast<const int64_t*>(call.in(1).data);
  dispatch_floating(dx.dtype, "max_pool_backward", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* from = reinterpret_cast<const T*>(dy.data);
    T* to = reinterpret_cast<T*>(dx.data);
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, g.in_plane + g.out_plane));
    parallel_for(g.planes, grain, [&](int64_t begin, int64_t end) {
      std::fill(to + begin * g.in_plane, to + end * g.in_plane, convert<T>(C(0)));
      for (int64_t p = begin; p < end; ++p) {
        T* plane = to + p * g.in_plane;
        for (int64_t o = p * g.out_plane; o < (p + 1) * g.out_plane; ++o) {
          T& slot = plane[indices[o]];
          slot = convert<T>(convert<C>(slot) + convert<C>(from[o]));
        }
      }
    });
  });
}
GS_CPU_KERNEL("max_pool_grad", max_pool_grad);

// ---- averages ----

/// What the sum of a window is divided by.
struct Divisor {
  bool include_pad;
  int64_t fixed;  // 0: by the number of elements

  static Divisor of(const Call& call) {
    const auto nd = static_cast<int>(call.i(0) & 0xff);
    return {(call.i(0) >> 8) != 0, call.i(1 + 3 * nd)};
  }
  int64_t operator()(const Span& d, const Span& h, const Span& w) const {
    if (fixed) return fixed;
    if (include_pad) return d.full * h.full * w.full;
    return (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin);
  }
};

void average(const Call& call, const Geometry& g, const Divisor& divisor) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  dispatch_floating(out.dtype, "avg_pool", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* x = reinterpret_cast<const T*>(call.in(0).data);
    T* y = reinterpret_cast<T*>(out.data);
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const T* from = x + p * g.in_plane;
        T* to = y + p * g.out_plane;
        each_window(g, [&](int64_t o, const Span& d, const Span& h, const Span& w) {
          C sum = 0;
          each_element(g, d, h, w, [&](int64_t i) { sum += convert<C>(from[i]); });
          to[o] = convert<T>(w.begin < w.end ? sum / static_cast<C>(divisor(d, h, w)) : C(0));
        });
      }
    });
  });
}

void average_grad(const Call& call, const Geometry& g, const Divisor& divisor) {
  const TensorImpl& dx = call.out(0);
  dispatch_floating(dx.dtype, "avg_pool_backward", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* dy = reinterpret_cast<const T*>(call.in(0).data);
    T* to = reinterpret_cast<T*>(dx.data);
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      std::vector<C> sums(std::is_same_v<T, C> ? 0 : static_cast<size_t>(g.in_plane));
      for (int64_t p = begin; p < end; ++p) {
        C* plane;
        if constexpr (std::is_same_v<T, C>) {
          plane = to + p * g.in_plane;
        } else {
          plane = sums.data();
        }
        std::fill_n(plane, g.in_plane, C(0));
        const T* from = dy + p * g.out_plane;
        each_window(g, [&](int64_t o, const Span& d, const Span& h, const Span& w) {
          const C share = convert<C>(from[o]) / static_cast<C>(divisor(d, h, w));
          each_element(g, d, h, w, [&](int64_t i) { plane[i] += share; });
        });
        if constexpr (!std::is_same_v<T, C>) {
          std::transform(plane, plane + g.in_plane, to + p * g.in_plane, [](C v) { return convert<T>(v); });
        }
      }
    });
  });
}

void avg_pool(const Call& call) {
  average(call, sliding(call, call.in(0), call.out(0), false), Divisor::of(call));
}
GS_CPU_KERNEL("avg_pool", avg_pool);

void avg_pool_grad(const Call& call) {
  average_grad(call, sliding(call, call.out(0), call.in(0), false), Divisor::of(call));
}
GS_CPU_KERNEL("avg_pool_grad", avg_pool_grad);

void adaptive_avg_pool(const Call& call) { average(call, adaptive(call, call.in(0), call.out(0)), {true, 0}); }
GS_CPU_KERNEL("adaptive_avg_pool", adaptive_avg_pool);

void adaptive_avg_pool_grad(const Call& call) {
  average_grad(call, adaptive(call, call.out(0), call.in(0)), {true, 0});
}
GS_CPU_KERNEL("adaptive_avg_pool_grad", adaptive_avg_pool_grad);

// ---- windows as columns ----

/// Slots: two each of kernel, dilation, padding, stride. columns: [N, C * kernel, windows]; image: [N, C, H, W].
struct Columns {
  int64_t kernel[2], dilation[2], pad[2], stride[2], size[2], count[2];
  Columns(const Call& call, const TensorImpl& image) {
    for (int d = 0; d < 2; ++d) {
      kernel[d] = call.i(d);
      dilation[d] = call.i(2 + d);
      pad[d] = call.i(4 + d);
      stride[d] = call.i(6 + d);
      size[d] = image.sizes[2 + d];
      count[d] = (size[d] + 2 * pad[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
    }
  }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t windows() const { return count[0] * count[1]; }

  /// Calls f(window, position in the image or -1 in the padding) for each window of one tap.
  template <class F>
  void each(int64_t tap, F&& f) const {
    const int64_t row = tap / kernel[1] * dilation[0] - pad[0];
    const int64_t col = tap % kernel[1] * dilation[1] - pad[1];
    int64_t o = 0;
    for (int64_t i = 0; i < count[0]; ++i) {
      const int64_t y = row + i * stride[0];
      for (int64_t j = 0; j < count[1]; ++j, ++o) {
        const int64_t x = col + j * stride[1];
        const bool inside = y >= 0 && y < size[0] && x >= 0 && x < size[1];
        f(o, inside ? y * size[1] + x : -1);
      }
    }
  }
};

void im2col(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& image = call.in(0);
  const Columns c(call, image);
  const int64_t plane = c.size[0] * c.size[1];
  dispatch_floating(out.dtype, "im2col", [&](auto tag) {
    using T = decltype(tag);
    const T* from = reinterpret_cast<const T*>(image.data);
    T* to = reinterpret_cast<T*>(out.data);
    const T zero = convert<T>(0.0f);
    parallel_for(image.sizes[0] * image.sizes[1] * c.taps(), std::max<int64_t>(1, kGrain / c.windows()),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const T* x = from + row / c.taps() * plane;
                     T* y = to + row * c.windows();
                     c.each(row % c.taps(), [&](int64_t o, int64_t i) { y[o] = i < 0 ? zero : x[i]; });
                   }
                 });
  });
}
GS_CPU_KERNEL("im2col", im2col);

void col2im(const Call& call) {
  const TensorImpl& image = call.out(0);
  const Columns c(call, image);
  const int64_t plane = c.size[0] * c.size[1];
  dispatch_floating(image.dtype, "col2im", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* from = reinterpret_cast<const T*>(call.in(0).data);
    T* to = reinterpret_cast<T*>(image.data);
    parallel_for(image.sizes[0] * image.sizes[1], std::max<int64_t>(1, kGrain / (c.windows() * c.taps())),
                 [&](int64_t begin, int64_t end) {
                   std::vector<C> sums(static_cast<size_t>(plane));
                   for (int64_t p = begin; p < end; ++p) {
                     std::fill(sums.begin(), sums.end(), C(0));
                     for (int64_t tap = 0; tap < c.taps(); ++tap) {
                       const T* x = from + (p * c.taps() + tap) * c.windows();
                       c.each(tap, [&](int64_t o, int64_t i) {
                         if (i >= 0) sums[static_cast<size_t>(i)] += convert<C>(x[o]);
                       });
                     }
                     std::transform(sums.begin(), sums.end(), to + p * plane, [](C v) { return convert<T>(v); });
                   }
                 });
  });
}
GS_CPU_KERNEL("col2im", col2im);

}  // namespace

}  // namespace gradstep
