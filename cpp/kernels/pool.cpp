// SPDX-License-Identifier: Apache-2.0
// Pooling on the CPU: sliding and adaptive windows are the same loops over a list of spans for each
// axis.
//   max_pool: y[, indices]; x     avg_pool: y; x     adaptive_max_pool, adaptive_avg_pool: as these
//   max_pool_grad: dx; dy, indices     avg_pool_grad, adaptive_avg_pool_grad: dx; dy
// Slots: nd (avg_pool: + 256 if padding counts), then nd each of kernel, stride, padding[,
// dilation][, divisor]; max_pool_grad needs nd only. All operands are contiguous; threads share the
// planes. Halves accumulate in float. Compiled once for each instruction set;
// register_pool_kernels() is called by register.cpp.
#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/threads.h"
#include "fn/partial.h"
#include "graph/call.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

using ::gradstep::convert;  // between any two storage types

// ---- windows ----

/// One window along one axis: elements begin, begin + step, .. below end; `full` is its length with
/// padding.
struct Span {
  int64_t begin, end, full;
};

struct Axis {
  int64_t in = 1, out = 1, step = 1;
  int64_t kernel = 1, stride = 0, pad = 0;  // of sliding windows; adaptive ones have stride 0
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
      for (const Span& s : a.spans)
        longest = std::max(longest, (s.end - s.begin + a.step - 1) / a.step);
      window *= longest;
    }
  }
  int64_t grain() const {
    return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, out_plane * window));
  }
};

Geometry sliding(const Call& call, const TensorImpl& x, const TensorImpl& y, bool has_dilation) {
  const int nd = static_cast<int>(call.i(0) & 0xff);
  Geometry g(nd, x, y);
  if (x.numel == 0 || y.numel == 0) {
    for (Axis& a : g.axis) a.spans.clear();
    return g;
  }
  for (int d = 0; d < nd; ++d) {
    Axis& a = g.axis[3 - nd + d];
    const int64_t kernel = a.kernel = call.i(1 + d);
    const int64_t stride = a.stride = call.i(1 + nd + d);
    const int64_t pad = a.pad = call.i(1 + 2 * nd + d);
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
  if (x.numel == 0 || y.numel == 0) {
    for (Axis& a : g.axis) a.spans.clear();
    return g;
  }
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

// Note [Windows by rows]
// A row of sliding windows is worked off tap by tap: for one position inside the window the
// elements of all windows lie `stride` apart, so the loop over windows has no inner loop and no
// branch. Strides 1 and 2 in the compute type keep a vector of windows in registers for all of its
// taps; otherwise the row is kept in memory. The order of the taps is that of the elements in a
// window, which decides between equal maxima and rounds sums.

/// The elements 0, stride, 2 * stride, .. of the first n lanes; reads nothing behind the last one.
template <class V, int stride>
GS_FN V load_apart(const ScalarT<V>* p, int n) {
  constexpr int N = V::size;
  if constexpr (stride == 1) {
    return n == N ? V::load(p) : load_some<V>(p, n);
  } else {
    // The second vector starts one element early, so that its last lane is the last element.
    typename Register<IntFor<ScalarT<V>>, V::size>::type even;
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) even[j] = 2 * j < N ? 2 * j : 2 * j + 1;
    const int elements = 2 * n - 1;
    const V low = elements < N ? load_some<V>(p, elements) : V::load(p);
    const V high = n == N         ? V::load(p + N - 1)
                   : elements > N ? load_some<V>(p + N - 1, elements - (N - 1))
                                  : low;
    return V(__builtin_shuffle(low.v, high.v, even));
  }
}

/// The windows [first, last) of a row have all of their elements along the last axis.
struct Inside {
  int64_t first, last;
  explicit Inside(const Axis& a) : first(0), last(0) {
    if (a.stride == 0) return;
    const int64_t reach = (a.kernel - 1) * a.step - a.pad;  // of the first window
    first = std::min(a.out, (a.pad + a.stride - 1) / a.stride);
    last = a.in - 1 < reach ? first : std::clamp((a.in - 1 - reach) / a.stride + 1, first, a.out);
  }
};

/// Strides that load_apart knows.
bool is_short_stride(const Geometry& g) { return g.axis[2].stride == 1 || g.axis[2].stride == 2; }

/// Calls f(first window, last window + 1, position of the first one's element) for each tap of a
/// row of windows.
template <class F>
inline void each_tap(const Geometry& g, const Span& d, const Span& h, F&& f) {
  const Axis& a = g.axis[2];
  for (int64_t z = d.begin; z < d.end; z += g.axis[0].step) {
    for (int64_t y = h.begin; y < h.end; y += g.axis[1].step) {
      const int64_t row = (z * g.axis[1].in + y) * a.in;
      // No window of the row has an element at the taps before and after these.
      const int64_t before = a.pad - (a.out - 1) * a.stride;
      const int64_t taps = std::min(a.kernel, (a.in - 1 + a.pad) / a.step + 1);
      for (int64_t k = before > 0 ? before / a.step : 0; k < taps; ++k) {
        const int64_t shift = k * a.step - a.pad;  // the element of window o is o * stride + shift
        const int64_t first = shift < 0 ? (-shift + a.stride - 1) / a.stride : 0;
        const int64_t last =
            a.in - 1 - shift < 0 ? 0 : std::min(a.out, (a.in - 1 - shift) / a.stride + 1);
        if (first < last) f(first, last, row + first * a.stride + shift);
      }
    }
  }
}

/// Calls f(position of the first output, spans) for each row of windows.
template <class F>
inline void each_row(const Geometry& g, F&& f) {
  int64_t o = 0;
  for (const Span& d : g.axis[0].spans) {
    for (const Span& h : g.axis[1].spans) {
      f(o, d, h);
      o += g.axis[2].out;
    }
  }
}

/// Calls f with the stride as a constant where it is a usual one.
template <class F>
inline void with_stride(int64_t stride, F&& f) {
  switch (stride) {
    case 1: return f(std::integral_constant<int64_t, 1>{});
    case 2: return f(std::integral_constant<int64_t, 2>{});
    default: return f(stride);
  }
}

// ---- maximum ----

/// Integers as wide as C.
template <class C>
using Position = std::conditional_t<sizeof(C) == 4, int32_t, int64_t>;

template <class C>
constexpr C kLeast = std::is_floating_point_v<C> ? -std::numeric_limits<C>::infinity()
                                                 : std::numeric_limits<C>::lowest();

/// A maximum is replaced by what is greater and by NaN.
template <class C>
bool replaces(C v, C best) {
  if constexpr (std::is_floating_point_v<C>) return (v > best) | (v != v);
  return v > best;
}

// Masks rather than a choice, which the compiler makes a badly predicted branch of in short rows.
template <class C, class P>
void take_maximum(C& best, P& at, C v, P i) {
  const P mask = -static_cast<P>(replaces(v, best));
  best = std::bit_cast<C>((std::bit_cast<P>(v) & mask) | (std::bit_cast<P>(best) & ~mask));
  at = (i & mask) | (at & ~mask);
}

/// One tap of a row: the element of window w is p[w * stride] at position from + w * stride.
template <class T, class C, class P, class Stride>
void take_maxima(const T* __restrict p, C* __restrict best, P* __restrict at, P count, P from,
                 Stride stride) {
  const P step = static_cast<P>(stride);
  for (P w = 0; w < count; ++w) {
    C b = best[w];
    P i = at[w];
    take_maximum(b, i, convert<C>(p[w * step]), from + w * step);
    best[w] = b;
    at[w] = i;
  }
}

/// What the rows of windows are gathered in.
template <class C>
struct Rows {
  std::vector<C> best;
  std::vector<Position<C>> at;
  explicit Rows(const Geometry& g)
      : best(static_cast<size_t>(g.axis[2].out)), at(static_cast<size_t>(g.axis[2].out)) {}
};

template <class T, class C>
void max_rows(const Geometry& g, Rows<C>& rows, const T* x, T* y, int64_t* indices) {
  const int64_t n = g.axis[2].out;
  C* __restrict best = rows.best.data();
  Position<C>* __restrict at = rows.at.data();
  each_row(g, [&](int64_t o, const Span& d, const Span& h) {
    const int64_t first_row = (d.begin * g.axis[1].in + h.begin) * g.axis[2].in;
    for (int64_t w = 0; w < n; ++w) {
      best[w] = kLeast<C>;
      at[w] = static_cast<Position<C>>(first_row + g.axis[2].spans[static_cast<size_t>(w)].begin);
    }
    each_tap(g, d, h, [&](int64_t begin, int64_t end, int64_t from) {
      with_stride(g.axis[2].stride, [&](auto stride) {
        take_maxima(x + from, best + begin, at + begin, static_cast<Position<C>>(end - begin),
                    static_cast<Position<C>>(from), stride);
      });
    });
    for (int64_t w = 0; w < n; ++w) y[o + w] = convert<T>(best[w]);
    if (indices) std::copy_n(at, n, indices + o);
  });
}

/// One window; `at` becomes the position of its maximum.
template <class T>
compute_t<T> max_window(const Geometry& g, const T* x, const Span& d, const Span& h, const Span& w,
                        int64_t& at) {
  using C = compute_t<T>;
  at = (d.begin * g.axis[1].in + h.begin) * g.axis[2].in + w.begin;
  C best = kLeast<C>;
  each_element(g, d, h, w, [&](int64_t i) {
    const C v = convert<C>(x[i]);
    if (replaces(v, best)) {
      best = v;
      at = i;
    }
  });
  return best;
}

template <class C, int stride>
void max_vectors(const Geometry& g, const Inside& inside, const C* x, C* y, int64_t* indices) {
  using V = Native<C>;
  using I = Bits<V>;
  using P = Position<C>;
  constexpr int N = V::size;
  const Axis& a = g.axis[2];
  const I apart = lane_numbers<I>() * I(P(stride));
  each_row(g, [&](int64_t o, const Span& d, const Span& h) {
    for (int64_t w = inside.first; w < inside.last; w += N) {
      const int n = static_cast<int>(std::min<int64_t>(N, inside.last - w));
      const int64_t column = w * stride - a.pad;
      V best = V(kLeast<C>);
      I at = I(static_cast<P>((d.begin * g.axis[1].in + h.begin) * a.in + column)) + apart;
      for (int64_t z = d.begin; z < d.end; z += g.axis[0].step) {
        for (int64_t r = h.begin; r < h.end; r += g.axis[1].step) {
          const int64_t from = (z * g.axis[1].in + r) * a.in + column;
          for (int64_t k = 0; k < a.kernel; ++k) {
            const V v = load_apart<V, stride>(x + from + k * a.step, n);
            const auto greater = (v > best) | (v != v);
            best = select(greater, v, best);
            at = select(greater, I(static_cast<P>(from + k * a.step)) + apart, at);
          }
        }
      }
      if (n == N) {
        best.store(y + o + w);
      } else {
        store_some(y + o + w, best, n);
      }
      if (!indices) continue;
      P places[N];
      at.store(places);
      if (n == N) {
        for (int i = 0; i < N; ++i) indices[o + w + i] = places[i];
      } else {
        for (int i = 0; i < n; ++i) indices[o + w + i] = places[i];
      }
    }
    const auto window = [&](int64_t w) {
      int64_t at;
      y[o + w] = max_window(g, x, d, h, a.spans[static_cast<size_t>(w)], at);
      if (indices) indices[o + w] = at;
    };
    for (int64_t w = 0; w < inside.first; ++w) window(w);
    for (int64_t w = inside.last; w < a.out; ++w) window(w);
  });
}

template <class T>
void max_plane(const Geometry& g, const T* x, T* y, int64_t* indices) {
  each_window(g, [&](int64_t o, const Span& d, const Span& h, const Span& w) {
    int64_t at;
    y[o] = convert<T>(max_window(g, x, d, h, w, at));
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
    using C = compute_t<T>;
    const bool small = g.in_plane <= std::numeric_limits<int32_t>::max();
    const bool by_rows = small && g.axis[2].stride > 0;
    [[maybe_unused]] const bool by_vectors = by_rows && is_short_stride(g);
    const Inside inside(g.axis[2]);
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      Rows<C> rows(g);
      for (int64_t p = begin; p < end; ++p) {
        int64_t* at = indices ? indices + p * g.out_plane : nullptr;
        if constexpr (std::is_same_v<T, C> && std::is_floating_point_v<C>) {
          if (by_vectors) {
            const auto run = g.axis[2].stride == 1 ? &max_vectors<C, 1> : &max_vectors<C, 2>;
            run(g, inside, x + p * g.in_plane, y + p * g.out_plane, at);
            continue;
          }
        }
        if (by_rows) {
          max_rows<T, C>(g, rows, x + p * g.in_plane, y + p * g.out_plane, at);
        } else {
          max_plane(g, x + p * g.in_plane, y + p * g.out_plane, at);
        }
      }
    });
  });
}

void max_pool(const Call& call) { maximum(call, sliding(call, call.in(0), call.out(0), true)); }

void adaptive_max_pool(const Call& call) { maximum(call, adaptive(call, call.in(0), call.out(0))); }

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
    const int64_t grain =
        std::max<int64_t>(1, kGrain / std::max<int64_t>(1, g.in_plane + g.out_plane));
    parallel_for(g.planes, grain, [&](int64_t begin, int64_t end) {
      std::fill(to + begin * g.in_plane, to + end * g.in_plane, convert<T>(C(0)));
      for (int64_t p = begin; p < end; ++p) {
        T* plane = to + p * g.in_plane;
        for (int64_t o = p * g.out_plane; o < (p + 1) * g.out_plane; ++o) {
          // A window that lies beside the image has no place in it.
          const auto at = static_cast<uint64_t>(indices[o]);
          if (at >= static_cast<uint64_t>(g.in_plane)) continue;
          T& slot = plane[at];
          slot = convert<T>(convert<C>(slot) + convert<C>(from[o]));
        }
      }
    });
  });
}

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

/// One row of windows.
template <class C>
struct Sums {
  std::vector<C> values;
  explicit Sums(const Geometry& g) : values(static_cast<size_t>(g.axis[2].out)) {}
};

template <class T, class C>
void average_rows(const Geometry& g, Sums<C>& sums, const Divisor& divisor, const T* x, T* y) {
  const int64_t n = g.axis[2].out;
  C* __restrict sum = sums.values.data();
  each_row(g, [&](int64_t o, const Span& d, const Span& h) {
    std::fill_n(sum, n, C(0));
    each_tap(g, d, h, [&](int64_t begin, int64_t end, int64_t from) {
      with_stride(g.axis[2].stride, [&](auto stride) {
        const T* __restrict p = x + from;
        C* __restrict s = sum + begin;
        for (int64_t w = 0; w < end - begin; ++w) s[w] += convert<C>(p[w * stride]);
      });
    });
    for (int64_t w = 0; w < n; ++w) {
      y[o + w] = convert<T>(sum[w] /
                            static_cast<C>(divisor(d, h, g.axis[2].spans[static_cast<size_t>(w)])));
    }
  });
}

template <class C, int stride>
void average_vectors(const Geometry& g, const Inside& inside, const Divisor& divisor, const C* x,
                     C* y) {
  using V = Native<C>;
  constexpr int N = V::size;
  const Axis& a = g.axis[2];
  each_row(g, [&](int64_t o, const Span& d, const Span& h) {
    if (inside.first < inside.last) {
      // All windows that are inside have the same divisor.
      const V by = V(static_cast<C>(divisor(d, h, a.spans[static_cast<size_t>(inside.first)])));
      for (int64_t w = inside.first; w < inside.last; w += N) {
        const int n = static_cast<int>(std::min<int64_t>(N, inside.last - w));
        V sum = V(C(0));
        for (int64_t z = d.begin; z < d.end; z += g.axis[0].step) {
          for (int64_t r = h.begin; r < h.end; r += g.axis[1].step) {
            const C* from = x + (z * g.axis[1].in + r) * a.in + w * stride - a.pad;
            for (int64_t k = 0; k < a.kernel; ++k)
              sum += load_apart<V, stride>(from + k * a.step, n);
          }
        }
        if (n == N) {
          (sum / by).store(y + o + w);
        } else {
          store_some(y + o + w, sum / by, n);
        }
      }
    }
    const auto window = [&](int64_t w) {
      const Span& span = a.spans[static_cast<size_t>(w)];
      C sum = 0;
      each_element(g, d, h, span, [&](int64_t i) { sum += x[i]; });
      y[o + w] = sum / static_cast<C>(divisor(d, h, span));
    };
    for (int64_t w = 0; w < inside.first; ++w) window(w);
    for (int64_t w = inside.last; w < a.out; ++w) window(w);
  });
}

/// Adds each window's share of dy to its elements.
template <class T, class C>
void average_grad_rows(const Geometry& g, Sums<C>& sums, const Divisor& divisor, const T* dy,
                       C* dx) {
  const int64_t n = g.axis[2].out;
  C* __restrict share = sums.values.data();
  each_row(g, [&](int64_t o, const Span& d, const Span& h) {
    for (int64_t w = 0; w < n; ++w) {
      share[w] = convert<C>(dy[o + w]) /
                 static_cast<C>(divisor(d, h, g.axis[2].spans[static_cast<size_t>(w)]));
    }
    each_tap(g, d, h, [&](int64_t begin, int64_t end, int64_t to) {
      with_stride(g.axis[2].stride, [&](auto stride) {
        const C* __restrict s = share + begin;
        C* __restrict p = dx + to;
        for (int64_t w = 0; w < end - begin; ++w) p[w * stride] += s[w];
      });
    });
  });
}

void average(const Call& call, const Geometry& g, const Divisor& divisor) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  dispatch_floating(out.dtype, "avg_pool", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* x = reinterpret_cast<const T*>(call.in(0).data);
    T* y = reinterpret_cast<T*>(out.data);
    const bool short_stride = is_short_stride(g);
    const Inside inside(g.axis[2]);
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      Sums<C> sums(g);
      for (int64_t p = begin; p < end; ++p) {
        const T* from = x + p * g.in_plane;
        T* to = y + p * g.out_plane;
        if constexpr (std::is_same_v<T, C>) {
          if (short_stride) {
            const auto run =
                g.axis[2].stride == 1 ? &average_vectors<C, 1> : &average_vectors<C, 2>;
            run(g, inside, divisor, from, to);
            continue;
          }
        }
        if (g.axis[2].stride > 0) {
          average_rows<T, C>(g, sums, divisor, from, to);
          continue;
        }
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
  if (dx.numel == 0) return;
  dispatch_floating(dx.dtype, "avg_pool_backward", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* dy = reinterpret_cast<const T*>(call.in(0).data);
    T* to = reinterpret_cast<T*>(dx.data);
    parallel_for(g.planes, g.grain(), [&](int64_t begin, int64_t end) {
      std::vector<C> image(std::is_same_v<T, C> ? 0 : static_cast<size_t>(g.in_plane));
      Sums<C> sums(g);
      for (int64_t p = begin; p < end; ++p) {
        C* plane;
        if constexpr (std::is_same_v<T, C>) {
          plane = to + p * g.in_plane;
        } else {
          plane = image.data();
        }
        std::fill_n(plane, g.in_plane, C(0));
        const T* from = dy + p * g.out_plane;
        if (g.axis[2].stride > 0) {
          average_grad_rows<T, C>(g, sums, divisor, from, plane);
        } else {
          each_window(g, [&](int64_t o, const Span& d, const Span& h, const Span& w) {
            const C share = convert<C>(from[o]) / static_cast<C>(divisor(d, h, w));
            each_element(g, d, h, w, [&](int64_t i) { plane[i] += share; });
          });
        }
        if constexpr (!std::is_same_v<T, C>) {
          std::transform(plane, plane + g.in_plane, to + p * g.in_plane,
                         [](C v) { return convert<T>(v); });
        }
      }
    });
  });
}

void avg_pool(const Call& call) {
  average(call, sliding(call, call.in(0), call.out(0), false), Divisor::of(call));
}

void avg_pool_grad(const Call& call) {
  average_grad(call, sliding(call, call.out(0), call.in(0), false), Divisor::of(call));
}

void adaptive_avg_pool(const Call& call) {
  average(call, adaptive(call, call.in(0), call.out(0)), {true, 0});
}

void adaptive_avg_pool_grad(const Call& call) {
  average_grad(call, adaptive(call, call.out(0), call.in(0)), {true, 0});
}

// ---- windows as columns ----

/// Slots: two each of kernel, dilation, padding, stride. columns: [N, C * kernel, windows]; image:
/// [N, C, H, W].
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
    parallel_for(image.sizes[0] * image.sizes[1] * c.taps(),
                 std::max<int64_t>(1, kGrain / c.windows()), [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const T* x = from + row / c.taps() * plane;
                     T* y = to + row * c.windows();
                     c.each(row % c.taps(),
                            [&](int64_t o, int64_t i) { y[o] = i < 0 ? zero : x[i]; });
                   }
                 });
  });
}

void col2im(const Call& call) {
  const TensorImpl& image = call.out(0);
  const Columns c(call, image);
  const int64_t plane = c.size[0] * c.size[1];
  dispatch_floating(image.dtype, "col2im", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* from = reinterpret_cast<const T*>(call.in(0).data);
    T* to = reinterpret_cast<T*>(image.data);
    parallel_for(image.sizes[0] * image.sizes[1],
                 std::max<int64_t>(1, kGrain / (c.windows() * c.taps())),
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
                     std::transform(sums.begin(), sums.end(), to + p * plane,
                                    [](C v) { return convert<T>(v); });
                   }
                 });
  });
}

void add_kernel(const char* name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}

}  // namespace

void register_pool_kernels() {
  add_kernel("max_pool", &max_pool);
  add_kernel("adaptive_max_pool", &adaptive_max_pool);
  add_kernel("max_pool_grad", &max_pool_grad);
  add_kernel("avg_pool", &avg_pool);
  add_kernel("avg_pool_grad", &avg_pool_grad);
  add_kernel("adaptive_avg_pool", &adaptive_avg_pool);
  add_kernel("adaptive_avg_pool_grad", &adaptive_avg_pool_grad);
  add_kernel("im2col", &im2col);
  add_kernel("col2im", &col2im);
}

}  // namespace GS_ISA
}  // namespace gradstep
