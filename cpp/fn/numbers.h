// SPDX-License-Identifier: Apache-2.0
// What functors compute with: the concepts Real, Integer, Number; constants; poly(); selection,
// sign, order; the division and powers of integers. Includes fn/config.h and fn/simd.h.
#pragma once
#include "fn/config.h"
#if !GS_CUDA
#include "fn/simd.h"
#endif

namespace gradstep {
inline namespace GS_ISA {

#if GS_CUDA
template <class T>
inline constexpr bool kIsVec = false;
#endif

template <class T>
concept Real = (Builtin<T> || kIsVec<T>) && (kSame<ScalarT<T>, float> || kSame<ScalarT<T>, double>);
template <class T>
concept Integer = (Builtin<T> || kIsVec<T>) && kSame<ScalarT<T>, int64_t>;
template <class T>
concept Number = Real<T> || Integer<T>;

template <class T>
inline constexpr bool kIsFloat = kSame<ScalarT<T>, float>;

inline constexpr double kInf = __builtin_huge_val();
inline constexpr double kNan = __builtin_nan("");
inline constexpr double kPi = 0x1.921fb54442d18p+1;
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;
inline constexpr double kLog2e = 0x1.71547652b82fep+0;
inline constexpr double kInvLn10 = 0x1.bcb7b1526e50ep-2;
inline constexpr double kTwoOverSqrtPi = 0x1.20dd750429b6dp+0;

/// c0 x^n + c1 x^(n-1) + ... + cn.
template <class T, class... C>
GS_FN T poly(T x, double c0, C... c) {
  T r = T(c0);
  ((r = r * x + T(c)), ...);
  return r;
}

// ---- selection, sign, order ----

template <Builtin T>
GS_FN T select(bool m, T a, T b) {
  return m ? a : b;
}
template <Number T>
GS_FN T max(T a, T b) {
  return select(a > b, a, b);
}
template <Number T>
GS_FN T min(T a, T b) {
  return select(a < b, a, b);
}
template <class T>
GS_FN auto isnan(T x) {
  return x != x;
}
template <Integer T>
GS_FN T abs(T x) {
  return select(x < T(0), -x, x);
}
template <Number T>
GS_FN T sign(T x) {
  return select(x > T(0), T(1), T(0)) - select(x < T(0), T(1), T(0));
}

// Integers are their own rounding.
template <Integer T>
GS_FN T floor(T x) {
  return x;
}
template <Integer T>
GS_FN T ceil(T x) {
  return x;
}
template <Integer T>
GS_FN T trunc(T x) {
  return x;
}
template <Integer T>
GS_FN T round(T x) {
  return x;
}
template <Integer T>
GS_FN auto signbit(T x) {
  return x < T(0);
}

// ---- integers: Python's division, powers by squaring ----

template <Builtin T>
  requires Integer<T>
GS_FN T trunc_div(T a, T b) {  // x / 0 is 0 here (the caller refuses it); nothing traps
  return b == 0 ? T(0) : b == -1 ? T(0 - uint64_t(a)) : a / b;
}
#if !GS_CUDA
template <int N>
GS_FN Vec<int64_t, N> trunc_div(Vec<int64_t, N> a, Vec<int64_t, N> b) {
  return a / b;
}
#endif
template <Integer T>
GS_FN T fmod(T a, T b) {
  return a - trunc_div(a, b) * b;
}
template <Integer T>
GS_FN T remainder(T a, T b) {
  T r = fmod(a, b);
  return select((r != T(0)) & ((r < T(0)) ^ (b < T(0))), r + b, r);
}
template <Integer T>
GS_FN T floor_div(T a, T b) {
  T q = trunc_div(a, b), r = a - q * b;
  return select((r != T(0)) & ((r < T(0)) ^ (b < T(0))), q - T(1), q);
}

/// a to the b, wrapping; a negative exponent gives 0, or +-1 for a = +-1.
template <Builtin T>
  requires Integer<T>
GS_FN T pow(T a, T b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
  uint64_t r = 1, x = uint64_t(a);
  for (; b; b >>= 1, x *= x)
    if (b & 1) r *= x;
  return T(r);
}
#if !GS_CUDA
template <int N>
GS_FN Vec<int64_t, N> pow(Vec<int64_t, N> a, Vec<int64_t, N> b) {
  int64_t r[N];
#pragma GCC unroll 1
  for (int i = 0; i < N; ++i) r[i] = pow(int64_t(a.v[i]), int64_t(b.v[i]));
  return Vec<int64_t, N>::load(r);
}
#endif

#if GS_CUDA || !defined(__FMA__)
/// p / (1 + h).
template <class T>
GS_FN T over_one_plus(T p, T h) {
  return p / (T(1) + h);
}
#endif

}  // namespace GS_ISA
}  // namespace gradstep
