// SPDX-License-Identifier: Apache-2.0
// Distances between all rows of two matrices, for each of a batch.
//   cdist: y [b, p, r]; x1 [b, p, m], x2 [b, r, m]     slots: the norm's p
//   cdist_grad: dx1; dy [b, p, r], x1, x2, y           slots: the norm's p
// float or double, contiguous. Compiled once for each instruction set; register_distance_kernels()
// is called by register.cpp.
#include "fn/distance.h"
#include "core/threads.h"
#include "fn/partial.h"
#include "graph/call.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

using namespace distance;

// ---- loops ----

struct Sizes {
  int64_t batch, p, r, m;
  /// Rows of x1 for a chunk.
  int64_t grain() const {
    const int64_t work = r * m;
    return work < kGrain ? kGrain / (work + 1) + 1 : 1;
  }
};

/// Calls f(offset, lanes) for the vectors of m elements; the last one may be shorter.
template <class V, class F>
GS_FN void each_vector(int64_t m, F f) {
  int64_t k = 0;
  for (; k + V::size <= m; k += V::size) f(k, V::size);
  if (k < m) f(k, static_cast<int>(m - k));
}
template <class V, class T>
GS_FN V load(const T* p, int n) {
  return n == V::size ? V::load(p) : load_some<V>(p, n);
}

template <class T, class Norm>
void distances(const Call& c, const Sizes& s, Norm norm) {
  using V = Native<T>;
  const auto* x1 = reinterpret_cast<const T*>(c.in(0).data);
  const auto* x2 = reinterpret_cast<const T*>(c.in(1).data);
  auto* y = reinterpret_cast<T*>(c.out(0).data);
  parallel_for(s.batch * s.p, s.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* a = x1 + i * s.m;
      for (int64_t j = 0; j < s.r; ++j) {
        const T* b = x2 + (i / s.p * s.r + j) * s.m;
        V sum(T(0));
        each_vector<V>(s.m, [&](int64_t k, int n) {
          sum = norm.add(sum, abs(load<V>(a + k, n) - load<V>(b + k, n)));
        });
        y[i * s.r + j] = norm.finish(reduce(
            sum, [&](auto u, auto v) { return kSame<Norm, Largest> ? norm.add(u, v) : u + v; }));
      }
    }
  });
}

template <class T, class Slope>
void gradients(const Call& c, const Sizes& s, Slope slope) {
  using V = Native<T>;
  const auto* dy = reinterpret_cast<const T*>(c.in(0).data);
  const auto* x1 = reinterpret_cast<const T*>(c.in(1).data);
  const auto* x2 = reinterpret_cast<const T*>(c.in(2).data);
  const auto* y = reinterpret_cast<const T*>(c.in(3).data);
  auto* dx = reinterpret_cast<T*>(c.out(0).data);
  parallel_for(s.batch * s.p, s.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* a = x1 + i * s.m;
      T* to = dx + i * s.m;
      for (int64_t k = 0; k < s.m; ++k) to[k] = 0;
      for (int64_t j = 0; j < s.r; ++j) {
        const T* b = x2 + (i / s.p * s.r + j) * s.m;
        const T distance = y[i * s.r + j];
        const V factor(slope.factor(dy[i * s.r + j], distance)), size(distance);
        each_vector<V>(s.m, [&](int64_t k, int n) {
          const V d = load<V>(a + k, n) - load<V>(b + k, n);
          const V sum = load<V>(to + k, n) + factor * slope.slope(d, size);
          if (n == V::size) {
            sum.store(to + k);
          } else {
            store_some(to + k, sum, n);
          }
        });
      }
    }
  });
}

template <class F>
void by_type(const Call& c, F f) {
  if (c.out(0).dtype == DType::Float64) {
    f(double{});
  } else {
    f(float{});
  }
}

void cdist(const Call& c) {
  const Dims &a = c.in(0).sizes, &b = c.in(1).sizes;
  const Sizes s{a[0], a[1], b[1], a[2]};
  const double p = c.f(0);
  by_type(c, [&](auto tag) {
    using T = decltype(tag);
    if (p == 0) return distances<T>(c, s, Count{});
    if (p == 1) return distances<T>(c, s, Sum{});
    if (p == 2) return distances<T>(c, s, Euclid{});
    if (p == kInf) return distances<T>(c, s, Largest{});
    distances<T>(c, s, Power{p});
  });
}

void cdist_grad(const Call& c) {
  const Dims &a = c.in(1).sizes, &b = c.in(2).sizes;
  const Sizes s{a[0], a[1], b[1], a[2]};
  const double p = c.f(0);
  by_type(c, [&](auto tag) {
    using T = decltype(tag);
    if (p == 1) return gradients<T>(c, s, SumSlope{});
    if (p == 2) return gradients<T>(c, s, EuclidSlope{});
    if (p == kInf) return gradients<T>(c, s, LargestSlope{});
    gradients<T>(c, s, PowerSlope{p});
  });
}

}  // namespace

void register_distance_kernels() {
  Op::get("cdist").kernel[static_cast<int>(DeviceType::CPU)] = &cdist;
  Op::get("cdist_grad").kernel[static_cast<int>(DeviceType::CPU)] = &cdist_grad;
}

}  // namespace GS_ISA
}  // namespace gradstep
