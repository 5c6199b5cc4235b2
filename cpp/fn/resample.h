// SPDX-License-Identifier: Apache-2.0
// The taps of resampling along one axis: which inputs output i is a weighted sum of.
//   ResampleAxis<float> axis{mode, align, in, out, slot};  axis.taps(i, put) calls put(k, index,
//   weight)
// for each k < axis.count(), in PyTorch's type of arithmetic. Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {

enum class Resampling : int64_t {  // as in ops/resample.h
  Nearest,
  NearestExact,
  Linear,
  Cubic,
  LinearSmooth,
  CubicSmooth,
  Reflect,
  Replicate,
  Circular
};

/// Keys' cubic convolution: 1 at 0, 0 at the other integers.
template <class T>
GS_FN T keys_cubic(T t, T a) {
  t = abs(t);
  if (t <= T(1)) return ((a + T(2)) * t - (a + T(3))) * t * t + T(1);
  return t < T(2) ? ((a * t - T(5) * a) * t + T(8) * a) * t - T(4) * a : T(0);
}

template <class T>
struct ResampleAxis {
  Resampling mode;
  bool align;
  int64_t in, out;
  double scale;    // resizing: the user's, 0: from the sizes
  int64_t before;  // padding: how much stands before the first input

  /// The spacing of the inputs that the outputs stand for.
  GS_FN T spacing() const {
    if (align) return out > 1 ? T(in - 1) / T(out - 1) : T(0);
    return scale > 0 ? T(1.0 / scale) : T(in) / T(out);
  }
  GS_FN bool is_smooth() const {
    return mode == Resampling::LinearSmooth || mode == Resampling::CubicSmooth;
  }
  /// How far a smooth filter reaches: it widens with the spacing, so that no input is skipped.
  GS_FN T support() const {
    const T step = spacing(), reach = mode == Resampling::CubicSmooth ? T(2) : T(1);
    return step >= T(1) ? reach * step : reach;
  }
  GS_FN int64_t count() const {
    if (mode == Resampling::Cubic) return 4;
    if (mode == Resampling::Linear) return 2;
    if (!is_smooth()) return 1;
    const int64_t most = int64_t(ceil(support())) * 2 + 1;
    return most < in ? most : in;
  }

  template <class Put>
  GS_FN void taps(int64_t i, Put put) const {
    if (mode >= Resampling::Reflect) return put(0, padding_source(i), T(1));
    if (is_smooth()) return smooth(i, put);
    const T step = spacing(), place = T(i);
    if (mode == Resampling::Nearest && (out == in || out == 2 * in)) {
      return put(0, out == in ? i : i / 2, T(1));  // whatever the scale says, as PyTorch
    }
    if (mode == Resampling::Nearest || mode == Resampling::NearestExact) {
      const T at = mode == Resampling::Nearest ? place * step : (place + T(0.5)) * step;
      return put(0, least(int64_t(floor(at)), in - 1), T(1));
    }
    T at = align ? place * step : (place + T(0.5)) * step - T(0.5);
    if (mode == Resampling::Cubic) {
      const T base = floor(at), t = at - base;
      for (int k = 0; k < 4; ++k) {
        put(k, inside(int64_t(base) + k - 1), keys_cubic(t - T(k - 1), T(-0.75)));
      }
      return;
    }
    at = at > T(0) ? at : T(0);
    const int64_t low = least(int64_t(at), in - 1);
    T part = at - T(low);
    part = part > T(1) ? T(1) : part > T(0) ? part : T(0);
    put(0, low, T(1) - part);
    put(1, least(low + 1, in - 1), part);
  }

 private:
  GS_FN static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
  GS_FN int64_t inside(int64_t i) const { return i < 0 ? 0 : least(i, in - 1); }

  GS_FN int64_t padding_source(int64_t i) const {
    const int64_t after = out - in - before;
    // A circle is closed by what negative padding leaves.
    const bool circle = mode == Resampling::Circular;
    const int64_t cut = circle && before < 0 ? -before : 0;
    const int64_t n = circle ? in - cut - (after < 0 ? -after : 0) : in;
    int64_t at = i - before - cut;
    if (mode == Resampling::Reflect) at = at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at;
    if (mode == Resampling::Replicate) at = at < 0 ? 0 : least(at, n - 1);
    if (circle) at = (at % n + n) % n;
    return at + cut;
  }

  template <class Put>
  GS_FN void smooth(int64_t i, Put put) const {
    const bool cubic = mode == Resampling::CubicSmooth;
    const T step = spacing(), reach = support(), shrink = step >= T(1) ? T(1) / step : T(1);
    const T center = step * (T(i) + T(0.5));
    const int64_t begin = int64_t(center - reach + T(0.5)), first = begin > 0 ? begin : 0;
    const int64_t last = least(int64_t(center + reach + T(0.5)), in);
    const auto weight = [&](int64_t j) {
      const T t = (T(j) - center + T(0.5)) * shrink;
      if (cubic) return keys_cubic(t, T(-0.5));
      const T w = T(1) - abs(t);
      return w > T(0) ? w : T(0);
    };
    T total = T(0);
    for (int64_t j = first; j < last; ++j) total += weight(j);
    const T divisor = total == T(0) ? T(1) : total;
    for (int64_t j = first; j < last; ++j) put(j - first, j, weight(j) / divisor);
    // What is left over reads an element that is read anyway: 0 times infinity elsewhere is NaN.
    for (int64_t k = last - first; k < count(); ++k) put(k, first, T(0));
  }
};

}  // namespace GS_ISA
}  // namespace gradstep
