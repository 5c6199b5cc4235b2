// SPDX-License-Identifier: Apache-2.0
// Resizing and padding of the last 1 to 3 axes, one axis apart from the other.
//   resample: y; x     resample_grad: dx; dy (the adjoint)
// Slots: nd + 8 * mode + 128 * align_corners, then for each axis its scale (0: from the sizes), or
// the padding before it. Operands are contiguous: float or double, any type where no weights are
// needed. See Note [Taps].
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/threads.h"
#include "fn/resample.h"
#include "graph/call.h"
#include "kernels/instruction_set.h"
#include "kernels/resample.h"

GS_DECLARE_ISA_TABLE(ResampleTable, kResample)

namespace gradstep {

namespace {

// Note [Taps]
// Along one axis every output is a weighted sum of a few inputs, its taps. A table of them, as many
// for each output (what is left over has weight 0), says all about a mode; the table the other way
// round is that of the adjoint, so that forward and backward are one kernel that only reads where
// it needs and writes each element once. A row of the output is a mix of input rows and then,
// inside the row, a gather.

/// For output i the k-th tap is element at[k * n + i] with weight[k * n + i].
template <class T>
struct Taps {
  int64_t n = 1, count = 1;
  std::vector<int32_t> at = {0};
  std::vector<T> weight = {1};
  // Outputs copy_begin .. copy_end read successive inputs.
  int64_t copy_begin = 0, copy_end = 0;

  void resize(int64_t outputs, int64_t taps) {
    n = outputs;
    count = taps;
    at.assign(static_cast<size_t>(n * taps), 0);
    weight.assign(static_cast<size_t>(n * taps), T(0));
  }
  void set(int64_t i, int64_t k, int64_t index, T w) {
    at[static_cast<size_t>(k * n + i)] = static_cast<int32_t>(index);
    weight[static_cast<size_t>(k * n + i)] = w;
  }
  int32_t index(int64_t i, int64_t k) const { return at[static_cast<size_t>(k * n + i)]; }
  T weight_of(int64_t i, int64_t k) const { return weight[static_cast<size_t>(k * n + i)]; }

  /// What is left over reads an element that is read anyway: 0 times infinity elsewhere is NaN.
  void point_unused() {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 1; k < count; ++k) {
        if (weight_of(i, k) == 0) set(i, k, index(i, 0), 0);
      }
    }
  }

  void find_run() {
    int64_t begin = 0;
    for (int64_t i = 1; i <= n; ++i) {
      if (i < n && index(i, 0) == index(i - 1, 0) + 1) continue;
      if (i - begin > copy_end - copy_begin) copy_begin = begin, copy_end = i;
      begin = i;
    }
  }
};

template <class T>
Taps<T> make_taps(const ResampleAxis<T>& axis) {
  Taps<T> taps;
  taps.resize(axis.out, axis.count());
  for (int64_t i = 0; i < axis.out; ++i) {
    axis.taps(i, [&](int64_t k, int64_t index, T w) { taps.set(i, k, index, w); });
  }
  return taps;
}

/// For each of n inputs the outputs that read it.
template <class T>
Taps<T> adjoint(const Taps<T>& taps, int64_t n) {
  std::vector<int64_t> used(static_cast<size_t>(n), 0);
  const auto each = [&](auto&& f) {
    for (int64_t i = 0; i < taps.n; ++i) {
      for (int64_t k = 0; k < taps.count; ++k) {
        if (const T w = taps.weight_of(i, k); w != 0) f(taps.index(i, k), i, w);
      }
    }
  };
  each([&](int32_t at, int64_t, T) { ++used[static_cast<size_t>(at)]; });
  Taps<T> out;
  out.resize(n, std::max<int64_t>(1, *std::max_element(used.begin(), used.end())));
  std::fill(used.begin(), used.end(), 0);
  each([&](int32_t at, int64_t i, T w) { out.set(at, used[static_cast<size_t>(at)]++, i, w); });
  out.point_unused();
  return out;
}

/// The tables of the three axes; missing leading ones are single elements.
template <class T>
struct Geometry {
  Taps<T> axis[3];
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  int64_t planes;

  Geometry(const Call& call, bool is_adjoint) {
    const TensorImpl &x = call.in(0), &y = call.out(0);
    const int nd = static_cast<int>(call.i(0) & 7);
    for (int d = 0; d < nd; ++d) {
      const int k = 3 - nd + d;
      in[k] = x.sizes[x.ndim() - nd + d];
      out[k] = y.sizes[y.ndim() - nd + d];
      ResampleAxis<T> spec{static_cast<Resampling>(call.i(0) >> 3 & 15),
                           (call.i(0) >> 7 & 1) != 0,
                           in[k],
                           out[k],
                           call.f(1 + d),
                           call.i(1 + d)};
      if (is_adjoint) std::swap(spec.in, spec.out);
      axis[k] = is_adjoint ? adjoint(make_taps(spec), out[k]) : make_taps(spec);
    }
    planes = x.numel / (in[0] * in[1] * in[2]);
  }
  int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  int64_t rows() const { return planes * out[0] * out[1]; }

  /// Calls f(input row, weight) for each row of the plane that an output row is made of.
  template <class F>
  void each_row(int64_t row, F&& f) const {
    const int64_t h = row % out[1], d = row / out[1] % out[0];
    for (int64_t a = 0; a < axis[0].count; ++a) {
      const T wa = axis[0].weight_of(d, a);
      if (wa == 0) continue;
      for (int64_t b = 0; b < axis[1].count; ++b) {
        const T w = wa * axis[1].weight_of(h, b);
        if (w != 0) f(int64_t{axis[0].index(d, a)} * in[1] + axis[1].index(h, b), w);
      }
    }
  }
};

// ---- copies ----

/// One tap of weight 1 along each axis: nothing is computed, U is as wide as an element.
template <class U>
void copy_rows(const Call& call, Geometry<float>& g) {
  const auto* x = reinterpret_cast<const U*>(call.in(0).data);
  auto* y = reinterpret_cast<U*>(call.out(0).data);
  Taps<float>& w = g.axis[2];
  w.find_run();
  const int64_t n = w.n, begin = w.copy_begin, end = w.copy_end;
  const int32_t* __restrict at = w.at.data();
  parallel_for(g.rows(), std::max<int64_t>(1, kGrain / n), [&](int64_t first, int64_t last) {
    const U* previous = nullptr;
    for (int64_t r = first; r < last; ++r) {
      const int64_t plane = r / (g.out[0] * g.out[1]);
      const U* src = nullptr;
      g.each_row(r, [&](int64_t row, float) { src = x + plane * g.in_plane() + row * g.in[2]; });
      U* __restrict dst = y + r * n;
      if (src == previous) {
        std::memcpy(dst, dst - n, static_cast<size_t>(n) * sizeof(U));
        continue;
      }
      previous = src;
      if (end - begin < 8) {
        for (int64_t i = 0; i < n; ++i) dst[i] = src[at[i]];
        continue;
      }
      for (int64_t i = 0; i < begin; ++i) dst[i] = src[at[i]];
      std::memcpy(dst + begin, src + at[begin], static_cast<size_t>(end - begin) * sizeof(U));
      for (int64_t i = end; i < n; ++i) dst[i] = src[at[i]];
    }
  });
}

void copy_by_size(const Call& call) {
  Geometry<float> g(call, false);
  switch (element_size(call.out(0).dtype)) {
    case 1: return copy_rows<uint8_t>(call, g);
    case 2: return copy_rows<uint16_t>(call, g);
    case 4: return copy_rows<uint32_t>(call, g);
    default: return copy_rows<uint64_t>(call, g);
  }
}

// ---- weighted sums ----

template <class T>
void weighted(const Call& call, const ResampleLoops<T>& loops, bool is_adjoint) {
  const Geometry<T> g(call, is_adjoint);
  const auto* x = reinterpret_cast<const T*>(call.in(0).data);
  auto* y = reinterpret_cast<T*>(call.out(0).data);
  const Taps<T>& w = g.axis[2];
  const int64_t n_rows = g.axis[0].count * g.axis[1].count;
  const int64_t work = w.n * w.count + g.in[2] * n_rows;
  parallel_for(g.rows(), std::max<int64_t>(1, kGrain / work), [&](int64_t first, int64_t last) {
    std::vector<T> mixed(static_cast<size_t>(g.in[2]));
    std::vector<const T*> rows(static_cast<size_t>(n_rows));
    std::vector<T> weights(static_cast<size_t>(n_rows));
    for (int64_t r = first; r < last; ++r) {
      const T* plane = x + r / (g.out[0] * g.out[1]) * g.in_plane();
      size_t n = 0;
      g.each_row(r, [&](int64_t row, T weight) {
        rows[n] = plane + row * g.in[2];
        weights[n++] = weight;
      });
      const T* src = rows[0];
      if (n != 1 || weights[0] != 1) {
        loops.mix(rows.data(), weights.data(), static_cast<int64_t>(n), mixed.data(), g.in[2]);
        src = mixed.data();
      }
      loops.gather(w.count, w.at.data(), w.weight.data(), src, y + r * w.n, w.n);
    }
  });
}

template <bool kAdjoint>
void resample(const Call& call) {
  if (call.out(0).numel == 0) return;
  const auto mode = static_cast<Resampling>(call.i(0) >> 3 & 15);
  const bool nearest = mode <= Resampling::NearestExact;
  const bool copies = nearest || mode >= Resampling::Reflect;
  // PyTorch places the nearest of doubles in double precision.
  if (!kAdjoint && copies && !(nearest && call.out(0).dtype == DType::Float64)) {
    return copy_by_size(call);
  }
  const ResampleTable& table = GS_ISA_TABLE(kResample);
  if (call.out(0).dtype == DType::Float64) {
    weighted<double>(call, table.f64, kAdjoint);
  } else {
    weighted<float>(call, table.f32, kAdjoint);
  }
}

void resample_forward(const Call& call) { resample<false>(call); }
void resample_adjoint(const Call& call) { resample<true>(call); }
GS_CPU_KERNEL("resample", resample_forward);
GS_CPU_KERNEL("resample_grad", resample_adjoint);

}  // namespace
}  // namespace gradstep
