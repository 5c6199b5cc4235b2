// SPDX-License-Identifier: Apache-2.0
// Distances of cdist: what a difference adds to a sum, what the sum stands for, and the slopes of
// that. All take scalars and vectors. Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {
namespace distance {

// ---- norms: what a difference adds, and what the sum stands for ----

struct Count {
  template <class V> GS_FN V add(V sum, V d) const { return sum + select(d != V(0), V(1), V(0)); }
  template <class T> GS_FN T finish(T sum) const { return sum; }
};
struct Sum {
  template <class V> GS_FN V add(V sum, V d) const { return sum + d; }
  template <class T> GS_FN T finish(T sum) const { return sum; }
};
struct Euclid {
  template <class V> GS_FN V add(V sum, V d) const { return sum + d * d; }
  template <class T> GS_FN T finish(T sum) const { return sqrt(sum); }
};
struct Largest {
  template <class V> GS_FN V add(V sum, V d) const { return select((d > sum) | (d != d), d, sum); }
  template <class T> GS_FN T finish(T sum) const { return sum; }
};
struct Power {
  double p;
  template <class V> GS_FN V add(V sum, V d) const { return sum + pow(d, V(p)); }
  template <class T> GS_FN T finish(T sum) const { return pow(sum, T(1 / p)); }
};

// ---- slopes: d(distance)/d(x1 - x2), up to a factor of the pair ----

struct SumSlope {
  template <class T> GS_FN T factor(T dy, T) const { return dy; }
  template <class V> GS_FN V slope(V d, V) const { return sign(d); }
};
struct EuclidSlope {
  template <class T> GS_FN T factor(T dy, T y) const { return y == 0 ? T(0) : dy / y; }
  template <class V> GS_FN V slope(V d, V) const { return d; }
};
struct LargestSlope {
  template <class T> GS_FN T factor(T dy, T) const { return dy; }
  template <class V> GS_FN V slope(V d, V y) const { return select(abs(d) == y, sign(d), V(0)); }
};
struct PowerSlope {
  double p;
  template <class T> GS_FN T factor(T dy, T y) const {
    return y == 0 ? T(0) : dy / pow(y, T(p - 1));
  }
  template <class V> GS_FN V slope(V d, V) const {
    return select(d == V(0), V(0), sign(d) * pow(abs(d), V(p - 1)));
  }
};

}  // namespace distance
}  // namespace GS_ISA
}  // namespace gradstep
