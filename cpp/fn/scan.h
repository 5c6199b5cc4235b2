// SPDX-License-Identifier: Apache-2.0
// What running sums and the like combine, in their wide type: R::init(), R::step(total, next), both
// associative. Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {

template <class A>
struct RunningSum {
  static GS_FN A init() { return A(0); }
  static GS_FN A step(A a, A x) { return a + x; }
};
template <class A>
struct RunningProduct {
  static GS_FN A init() { return A(1); }
  static GS_FN A step(A a, A x) { return a * x; }
};
template <class A>
struct RunningLogSum {
  static GS_FN A init() { return A(-kInf); }
  static GS_FN A step(A a, A x) {
    const A high = a > x || a != a ? a : x, low = a > x || a != a ? x : a;
    if (high != high || low != low) return a + x;
    return abs(high) == A(kInf) ? high : high + log1p(exp(low - high));
  }
};

/// True if v takes the place of the greatest (least) value so far: the last of equal ones, the last
/// NaN.
template <bool kMax, class V>
GS_FN bool replaces_extreme(V v, V best) {
  return v != v || (best == best && (kMax ? v >= best : v <= best));
}

}  // namespace GS_ISA
}  // namespace gradstep
