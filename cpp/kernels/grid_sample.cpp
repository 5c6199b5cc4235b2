// SPDX-License-Identifier: Apache-2.0
// Values of an image (N, C, [D,] H, W) at the places of a grid (N, [Do,] Ho, Wo, 2 or 3) in [-1,
// 1].
//   grid_sample: y; x, grid     grid_sample_dx: dx; dy, grid     grid_sample_dgrid: dgrid; dy, x,
//   grid
// Slots: interpolation (bilinear, nearest, bicubic), padding (zeros, border, reflection),
// align_corners. float or double, contiguous. Places are worked off in chunks, for each of which
// the elements to read and their weights are found once and used for all channels.
#include <algorithm>
#include <vector>

#include "core/threads.h"
#include "fn/grid_sample.h"
#include "graph/call.h"
#include "kernels/instruction_set.h"
#include "kernels/resample.h"

GS_DECLARE_ISA_TABLE(ResampleTable, kResample)

namespace gradstep {

namespace {

using namespace grid;

constexpr int64_t kPlaces = 256;  // of a chunk: its tables stay in L1 and L2

/// The taps of a chunk along one axis: element, weight and the weight's derivative by the grid.
template <class T>
struct Line {
  int32_t at[4][kPlaces];
  T weight[4][kPlaces], slope[4][kPlaces], place[kPlaces];

  /// A tap at element e (a whole number); outside of the image it has weight 0.
  void set(int k, int64_t i, T e, T w, T s, T limit) {
    const bool valid = (e >= 0) & (e <= limit);
    at[k][i] = static_cast<int32_t>(clip(e, limit));
    weight[k][i] = valid ? w : T(0);
    slope[k][i] = valid ? s : T(0);
  }

  /// places: m numbers, `step` apart.
  void fill(const GridAxis<T>& axis, Interpolation mode, const T* places, int64_t step, int64_t m) {
    for (int64_t i = 0; i < m; ++i) place[i] = axis.place(places[i * step]);
    switch (axis.padding) {
      case kZeros: return fill_padded<kZeros>(axis, mode, m);
      case kBorder: return fill_padded<kBorder>(axis, mode, m);
      case kReflection: return fill_padded<kReflection>(axis, mode, m);
    }
  }

  template <Padding kPadding>
  void fill_padded(const GridAxis<T>& axis, Interpolation mode, int64_t m) {
    const T limit = axis.limit();
    // A loop for each mode: the compiler makes vectors of it.
    const auto all = [&](auto taps) {
      for (int64_t i = 0; i < m; ++i) {
        taps(place[i], [&](int k, T e, T w, T s) { set(k, i, e, w, s, limit); });
      }
    };
    switch (mode) {
      case kNearest: return all([&](T x, auto put) { axis.template nearest<kPadding>(x, put); });
      case kBilinear: return all([&](T x, auto put) { axis.template linear<kPadding>(x, put); });
      case kBicubic: return all([&](T x, auto put) { axis.template cubic<kPadding>(x, put); });
    }
  }
};

template <class T>
struct Sampler {
  int nd;
  Interpolation mode;
  int64_t taps_of_axis, taps = 1;
  GridAxis<T> axis[3];  // in the order of the grid's last axis: x, y, z
  int64_t batch, channels, plane = 1, places;
  const T* grid;

  Sampler(const Call& call, const TensorImpl& x, const TensorImpl& g)
      : nd(x.ndim() - 2),
        mode(static_cast<Interpolation>(call.i(0))),
        taps_of_axis(mode == kNearest    ? 1
                     : mode == kBilinear ? 2
                                         : 4),
        batch(x.sizes[0]),
        channels(x.sizes[1]),
        grid(reinterpret_cast<const T*>(g.data)) {
    for (int a = 0; a < nd; ++a) {
      axis[a] = {x.sizes[x.ndim() - 1 - a], static_cast<Padding>(call.i(1)), call.i(2) != 0};
      plane *= axis[a].size;
      taps *= taps_of_axis;
    }
    places = batch ? g.numel / batch / nd : 0;
  }
  int64_t chunks() const { return (places + kPlaces - 1) / kPlaces; }
  int64_t length(int64_t chunk) const { return std::min(kPlaces, places - chunk * kPlaces); }
  int64_t chunk_grain() const {
    return std::max<int64_t>(1, kGrain / (kPlaces * std::max<int64_t>(channels, 1) * taps));
  }

  /// Scratch of one thread.
  struct Tables {
    Line<T> line[3];
    std::vector<int32_t> at;
    std::vector<T> weight, slope[3];
    std::vector<T> sums;
  };

  /// Fills the taps of one chunk, and the slopes of those grids' axes that are wanted.
  void fill(Tables& t, int64_t n, int64_t chunk, bool with_slopes) const {
    const int64_t m = length(chunk);
    const T* from = grid + (n * places + chunk * kPlaces) * nd;
    const auto size = static_cast<size_t>(taps * m);
    t.at.resize(size);
    t.weight.resize(size);
    for (int a = 0; a < nd; ++a) {
      t.line[a].fill(axis[a], mode, from + a, nd, m);
      if (with_slopes) t.slope[a].resize(size);
    }
    for (int64_t k = 0; k < taps; ++k) {
      int64_t digit[3], rest = k;
      for (int a = 0; a < nd; ++a, rest /= taps_of_axis) digit[a] = rest % taps_of_axis;
      int32_t* __restrict at = t.at.data() + k * m;
      const auto product = [&](T* __restrict out, int sloped) {
        for (int a = 0; a < nd; ++a) {
          const T* w = a == sloped ? t.line[a].slope[digit[a]] : t.line[a].weight[digit[a]];
          for (int64_t i = 0; i < m; ++i) out[i] = a == 0 ? w[i] : out[i] * w[i];
        }
      };
      for (int32_t a = 0, stride = 1; a < nd; ++a) {
        const int32_t* e = t.line[a].at[digit[a]];
        for (int64_t i = 0; i < m; ++i) at[i] = a == 0 ? e[i] : at[i] + stride * e[i];
        stride *= static_cast<int32_t>(axis[a].size);
      }
      product(t.weight.data() + k * m, -1);
      for (int a = 0; a < nd && with_slopes; ++a) product(t.slope[a].data() + k * m, a);
    }
  }
};

template <class T>
void forward(const Call& call, const ResampleLoops<T>& loops) {
  const Sampler<T> s(call, call.in(0), call.in(1));
  const auto* x = reinterpret_cast<const T*>(call.in(0).data);
  auto* y = reinterpret_cast<T*>(call.out(0).data);
  parallel_for(s.batch * s.chunks(), s.chunk_grain(), [&](int64_t begin, int64_t end) {
    typename Sampler<T>::Tables t;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / s.chunks(), chunk = r % s.chunks();
      s.fill(t, n, chunk, false);
      for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c) {
        loops.gather(s.taps, t.at.data(), t.weight.data(), x + c * s.plane,
                     y + c * s.places + chunk * kPlaces, s.length(chunk));
      }
    }
  });
}

/// dgrid: of each tap the sum over the channels of dy * x, times the slope of its weight.
template <class T>
void grid_gradient(const Sampler<T>& s, const ResampleLoops<T>& loops, const T* dy, const T* x,
                   T* dgrid) {
  parallel_for(s.batch * s.chunks(), s.chunk_grain(), [&](int64_t begin, int64_t end) {
    typename Sampler<T>::Tables t;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / s.chunks(), chunk = r % s.chunks(), m = s.length(chunk);
      s.fill(t, n, chunk, true);
      T* out = dgrid + (n * s.places + chunk * kPlaces) * s.nd;
      t.sums.assign(static_cast<size_t>(m * s.taps), T(0));
      for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c) {
        loops.gather_products(s.taps, t.at.data(), x + c * s.plane,
                              dy + c * s.places + chunk * kPlaces, t.sums.data(), m);
      }
      for (int64_t i = 0; i < m; ++i) {
        for (int a = 0; a < s.nd; ++a) {
          T sum = 0;
          for (int64_t k = i; k < m * s.taps; k += m) {
            const auto at = static_cast<size_t>(k);
            sum += t.slope[a][at] * t.sums[at];
          }
          out[i * s.nd + a] = sum;
        }
      }
    }
  });
}

/// dx: each dy goes to the elements that were read. A thread has whole planes.
template <class T>
void image_gradient(const Sampler<T>& s, const T* dy, T* dx) {
  constexpr int64_t kGroup = 8;  // planes for which the taps are found once
  const int64_t groups = (s.channels + kGroup - 1) / kGroup;
  parallel_for(s.batch * groups, 1, [&](int64_t begin, int64_t end) {
    typename Sampler<T>::Tables t;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / groups, first = r % groups * kGroup;
      const int64_t last = std::min(first + kGroup, s.channels);
      std::fill(dx + (n * s.channels + first) * s.plane, dx + (n * s.channels + last) * s.plane,
                T(0));
      for (int64_t chunk = 0; chunk < s.chunks(); ++chunk) {
        const int64_t m = s.length(chunk);
        s.fill(t, n, chunk, false);
        for (int64_t c = n * s.channels + first; c < n * s.channels + last; ++c) {
          const T* __restrict g = dy + c * s.places + chunk * kPlaces;
          T* __restrict to = dx + c * s.plane;
          for (int64_t k = 0; k < s.taps; ++k) {
            const int32_t* __restrict at = t.at.data() + k * m;
            const T* __restrict w = t.weight.data() + k * m;
            for (int64_t i = 0; i < m; ++i) to[at[i]] += w[i] * g[i];
          }
        }
      }
    }
  });
}

/// Calls f(loops, number of the compute type).
template <class F>
void by_type(const Call& call, F&& f) {
  const ResampleTable& table = GS_ISA_TABLE(kResample);
  if (call.out(0).numel == 0) return;
  if (call.out(0).dtype == DType::Float64) {
    f(table.f64, double{});
  } else {
    f(table.f32, float{});
  }
}

void grid_sample(const Call& call) {
  by_type(call, [&](const auto& loops, auto) { forward(call, loops); });
}

void grid_sample_dx(const Call& call) {
  by_type(call, [&](const auto&, auto tag) {
    using T = decltype(tag);
    const Sampler<T> s(call, call.out(0), call.in(1));
    image_gradient(s, reinterpret_cast<const T*>(call.in(0).data),
                   reinterpret_cast<T*>(call.out(0).data));
  });
}

void grid_sample_dgrid(const Call& call) {
  by_type(call, [&](const auto& loops, auto tag) {
    using T = decltype(tag);
    const Sampler<T> s(call, call.in(1), call.in(2));
    grid_gradient(s, loops, reinterpret_cast<const T*>(call.in(0).data),
                  reinterpret_cast<const T*>(call.in(1).data),
                  reinterpret_cast<T*>(call.out(0).data));
  });
}

GS_CPU_KERNEL("grid_sample", grid_sample);
GS_CPU_KERNEL("grid_sample_dx", grid_sample_dx);
GS_CPU_KERNEL("grid_sample_dgrid", grid_sample_dgrid);

}  // namespace
}  // namespace gradstep
