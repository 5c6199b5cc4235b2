// SPDX-License-Identifier: Apache-2.0
// Where a grid reads an image, along one axis: GridAxis<float> a{size, kZeros, align};
//   a.taps<kZeros>(mode, a.place(g), put)   // put(k, element, weight, slope) for each tap
// An element that put gets may lie outside of [0, size): then it counts as 0. Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {
namespace grid {

enum Interpolation : int64_t { kBilinear, kNearest, kBicubic };
enum Padding : int64_t { kZeros, kBorder, kReflection };

template <class T>
GS_FN T clip(T x, T limit) {
  return x > T(0) ? (x < limit ? x : limit) : T(0);  // NaN is 0
}

/// Mirrors x at the ends of [low, low + span]; `sign` is the derivative.
template <class T>
GS_FN T reflect(T x, T low, T span, T& sign) {
  if (span <= 0) {
    sign = 0;
    return 0;
  }
  sign = x < low ? T(-1) : T(1);
  const T d = abs(x - low);
  const T turns = floor(d / span);
  const T rest = d - turns * span;
  const bool odd = turns - 2 * floor(turns / 2) == 1;
  sign = odd ? -sign : sign;
  return (odd ? span - rest : rest) + low;
}

/// One axis of the image as the grid sees it.
template <class T>
struct GridAxis {
  int64_t size;
  Padding padding;
  bool align;

  GS_FN T limit() const { return static_cast<T>(size - 1); }
  GS_FN T scale() const { return static_cast<T>(align ? size - 1 : size) / 2; }
  GS_FN T place(T g) const {
    return align ? (g + 1) / 2 * limit() : ((g + 1) * static_cast<T>(size) - 1) / 2;
  }
  /// A place moved into the image, with the derivative of that.
  template <Padding kPadding>
  GS_FN T inside(T x, T& slope) const {
    slope = 1;
    if constexpr (kPadding == kZeros) return x;
    if constexpr (kPadding == kReflection) {
      x = align ? reflect(x, T(0), limit(), slope)
                : reflect(x, T(-0.5), static_cast<T>(size), slope);
    }
    slope = x > T(0) && x < limit() ? slope : T(0);
    return clip(x, limit());
  }

  /// Bilinear: calls put(k, element, weight, slope of the weight by the grid) for both taps.
  template <Padding kPadding, class Put>
  GS_FN void linear(T at, Put put) const {
    T s;
    const T x = inside<kPadding>(at, s), low = floor(x);
    put(0, low, T(1) - (x - low), -s * scale());
    put(1, low + T(1), x - low, s * scale());
  }
  template <Padding kPadding, class Put>
  GS_FN void nearest(T at, Put put) const {
    T s;
    put(0, round(inside<kPadding>(at, s)), T(1), T(0));
  }
  // Keys' cubic convolution with a = -3/4. The place stays where it is; each tap is moved inside.
  template <Padding kPadding, class Put>
  GS_FN void cubic(T at, Put put) const {
    constexpr T a = T(-0.75);
    const auto outer = [](T t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; };
    const auto inner = [](T t) { return ((a + 2) * t - (a + 3)) * t * t + 1; };
    const auto outer_slope = [](T t) { return (3 * a * t - 10 * a) * t + 8 * a; };
    const auto inner_slope = [](T t) { return (3 * (a + 2) * t - 2 * (a + 3)) * t; };
    const T low = floor(at), f = at - low;
    const T w[4] = {outer(f + 1), inner(f), inner(1 - f), outer(2 - f)};
    const T s[4] = {outer_slope(f + 1), inner_slope(f), -inner_slope(1 - f), -outer_slope(2 - f)};
    for (int k = 0; k < 4; ++k) {
      T unused;
      put(k, inside<kPadding>(low + T(k - 1), unused), w[k], s[k] * scale());
    }
  }
  template <Padding kPadding, class Put>
  GS_FN void taps(Interpolation mode, T at, Put put) const {
    if (mode == kNearest)
      nearest<kPadding>(at, put);
    else if (mode == kBilinear)
      linear<kPadding>(at, put);
    else
      cubic<kPadding>(at, put);
  }
};

}  // namespace grid
}  // namespace GS_ISA
}  // namespace gradstep
