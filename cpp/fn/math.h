// SPDX-License-Identifier: Apache-2.0
// Elementary and special functions of float, double and Vec of them: exp(x), pow(x, y), erf(x)...
// with IEEE special values, about 1 ulp, no branch on the main path. A scalar on the host runs the
// same formula as a lane of a Vec (the compiler may fuse multiply-adds differently, an ulp or two).
// Under CUDA the names map to CUDA's. Outside this namespace write gradstep::exp(x): plain exp is
// libm's. Polynomials are our own minimax fits (Remez, relative error). Includes fn/config.h and
// fn/simd.h.
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

#if GS_CUDA
// ---- CUDA ----

#define GS_CUDA_UNARY(name, f32, f64)            \
  GS_FN float name(float x) { return ::f32(x); } \
  GS_FN double name(double x) { return ::f64(x); }
GS_CUDA_UNARY(abs, fabsf, fabs)
GS_CUDA_UNARY(sqrt, sqrtf, sqrt)
GS_CUDA_UNARY(floor, floorf, floor)
GS_CUDA_UNARY(ceil, ceilf, ceil)
GS_CUDA_UNARY(trunc, truncf, trunc)
GS_CUDA_UNARY(round, rintf, rint)
GS_CUDA_UNARY(exp, expf, exp)
GS_CUDA_UNARY(exp2, exp2f, exp2)
GS_CUDA_UNARY(expm1, expm1f, expm1)
GS_CUDA_UNARY(log, logf, log)
GS_CUDA_UNARY(log2, log2f, log2)
GS_CUDA_UNARY(log10, log10f, log10)
GS_CUDA_UNARY(log1p, log1pf, log1p)
GS_CUDA_UNARY(sin, sinf, sin)
GS_CUDA_UNARY(cos, cosf, cos)
GS_CUDA_UNARY(tan, tanf, tan)
GS_CUDA_UNARY(asin, asinf, asin)
GS_CUDA_UNARY(acos, acosf, acos)
GS_CUDA_UNARY(atan, atanf, atan)
GS_CUDA_UNARY(sinh, sinhf, sinh)
GS_CUDA_UNARY(cosh, coshf, cosh)
GS_CUDA_UNARY(tanh, tanhf, tanh)
GS_CUDA_UNARY(asinh, asinhf, asinh)
GS_CUDA_UNARY(acosh, acoshf, acosh)
GS_CUDA_UNARY(atanh, atanhf, atanh)
GS_CUDA_UNARY(erf, erff, erf)
GS_CUDA_UNARY(erfc, erfcf, erfc)
GS_CUDA_UNARY(lgamma, lgammaf, lgamma)
#undef GS_CUDA_UNARY
// Device only in CUDA's headers: a host pass sees them and never calls them.
#ifdef __CUDA_ARCH__
GS_FN float erfinv(float x) { return ::erfinvf(x); }
GS_FN double erfinv(double x) { return ::erfinv(x); }
GS_FN float i0(float x) { return ::cyl_bessel_i0f(x); }
GS_FN double i0(double x) { return ::cyl_bessel_i0(x); }
GS_FN float i1(float x) { return ::cyl_bessel_i1f(x); }
GS_FN double i1(double x) { return ::cyl_bessel_i1(x); }
#else
GS_FN float erfinv(float x) { return x; }
GS_FN double erfinv(double x) { return x; }
GS_FN float i0(float x) { return x; }
GS_FN double i0(double x) { return x; }
GS_FN float i1(float x) { return x; }
GS_FN double i1(double x) { return x; }
#endif

#define GS_CUDA_BINARY(name, f32, f64)                       \
  GS_FN float name(float a, float b) { return ::f32(a, b); } \
  GS_FN double name(double a, double b) { return ::f64(a, b); }
GS_CUDA_BINARY(copysign, copysignf, copysign)
GS_CUDA_BINARY(pow, powf, pow)
GS_CUDA_BINARY(atan2, atan2f, atan2)
GS_CUDA_BINARY(hypot, hypotf, hypot)
GS_CUDA_BINARY(fmod, fmodf, fmod)
#undef GS_CUDA_BINARY

template <Real T>
GS_FN bool signbit(T x) {
  return copysign(T(1), x) < T(0);
}

#else
// ---- bits, rounding ----

template <Real T>
inline constexpr int kMantissa = kIsFloat<T> ? 23 : 52;
template <Real T>
inline constexpr uint64_t kSignBit = kIsFloat<T> ? 0x80000000u : 0x8000000000000000u;
template <Real T>
inline constexpr int kBias = kIsFloat<T> ? 127 : 1023;
/// x + kRound - kRound rounds to the nearest integer; the sum's low bits are that integer.
template <Real T>
inline constexpr double kRound = kIsFloat<T> ? 0x1.8p23 : 0x1.8p52;

template <Real T>
GS_FN UBits<T> ubits(T x) {
  return bit_cast<UBits<T>>(x);
}
template <Real T>
GS_FN T abs(T x) {
  return bit_cast<T>(ubits(x) & UBits<T>(kSignBit<T> - 1));
}
template <Real T>
GS_FN T copysign(T x, T s) {
  using U = UBits<T>;
  return bit_cast<T>((ubits(x) & U(kSignBit<T> - 1)) | (ubits(s) & U(kSignBit<T>)));
}
template <Real T>
GS_FN auto signbit(T x) {
  return (ubits(x) & UBits<T>(kSignBit<T>)) != UBits<T>(0);
}
template <Real T>
GS_FN T sqrt(T x) {
  return map_lanes(
      [](auto a) {
        if constexpr (sizeof(a) == 4)
          return __builtin_sqrtf(a);
        else
          return __builtin_sqrt(a);
      },
      x);
}

/// |x| below this may have a fraction.
template <Real T>
GS_FN T round(T x) {  // half to even
  T a = abs(x), m = T(kIsFloat<T> ? 0x1p23 : 0x1p52);
  return select(a < m, copysign((a + m) - m, x), x);
}
template <Real T>
GS_FN T floor(T x) {
  T r = round(x);
  return copysign(r - select(r > x, T(1), T(0)), x);
}
template <Real T>
GS_FN T ceil(T x) {
  return -floor(-x);
}
template <Real T>
GS_FN T trunc(T x) {
  return copysign(floor(abs(x)), x);
}

// ---- lane by lane ----

/// libm for each lane. Out of line: it is the rare path, or a function without a branch-free form.
template <Real T, class F>
__attribute__((noinline)) T apply_lanes(F f, T a) {
  ScalarT<T> x[kLanes<T>];
  store_as<T>(x, a);
#pragma GCC unroll 1
  for (int i = 0; i < kLanes<T>; ++i) x[i] = f(x[i]);
  return load_as<T>(x);
}
template <Real T, class F>
__attribute__((noinline)) T apply_lanes(F f, T a, T b) {
  ScalarT<T> x[kLanes<T>], y[kLanes<T>];
  store_as<T>(x, a);
  store_as<T>(y, b);
#pragma GCC unroll 1
  for (int i = 0; i < kLanes<T>; ++i) x[i] = f(x[i], y[i]);
  return load_as<T>(x);
}

// ---- sums and products with their rounding errors ----

template <Real T>
struct Pair {
  T hi, lo;
};
template <Real T>
GS_FN Pair<T> fast_two_sum(T a, T b) {  // |a| >= |b|, or a = 0
  T s = a + b;
  return {s, b - (s - a)};
}
template <Real T>
GS_FN Pair<T> two_sum(T a, T b) {
  T s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
template <Real T>
GS_FN Pair<T> two_prod(T a, T b) {
  T p = a * b;
#ifdef __FMA__
  if constexpr (kIsVec<T>) {
    typename T::V lo;
    for (int i = 0; i < kLanes<T>; ++i) {
      if constexpr (kIsFloat<T>)
        lo[i] = __builtin_fmaf(a.v[i], b.v[i], -p.v[i]);
      else
        lo[i] = __builtin_fma(a.v[i], b.v[i], -p.v[i]);
    }
    return {p, T(lo)};
  } else if constexpr (kIsFloat<T>) {
    return {p, __builtin_fmaf(a, b, -p)};
  } else {
    return {p, __builtin_fma(a, b, -p)};
  }
#else
  auto high = [](T x) {
    return bit_cast<T>(ubits(x) & UBits<T>(kIsFloat<T> ? 0xfffff000u : 0xfffffffff8000000u));
  };
  T ah = high(a), al = a - ah, bh = high(b), bl = b - bh;
  return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
#endif
}

// ---- exp ----

/// x = n ln2 + r with |r| <= ln2 / 2; n is a small integer.
template <Real T>
struct ExpParts {
  UBits<T> n;
  T r;
};
template <Real T>
GS_FN ExpParts<T> exp_parts(T x) {
  T t = x * T(kLog2e) + T(kRound<T>);
  T n = t - T(kRound<T>);
  UBits<T> ni = ubits(t) - ubits(T(kRound<T>));
  if constexpr (kIsFloat<T>)
    return {ni, (x - n * T(0x1.62e4p-1)) - n * T(0x1.7f7d1cp-20)};
  else
    return {ni, (x - n * T(0x1.62e42fefa38p-1)) - n * T(0x1.ef35793c7673p-45)};
}
/// exp(r) - 1 - r.
template <Real T>
GS_FN T exp_tail(T r) {
  if constexpr (kIsFloat<T>) {
    return r * r *
           poly(r, 0x1.a1a89ep-13, 0x1.6d7b78p-10, 0x1.11108ap-7, 0x1.5554a8p-5, 0x1.555556p-3,
                0x1p-1);
  } else {
    return r * r *
           poly(r, 0x1.1f98a01cd795fp-29, 0x1.af63bb3b85538p-26, 0x1.27e4c3895be26p-22,
                0x1.71ddf5ac4502dp-19, 0x1.a01a01b1afa71p-16, 0x1.a01a01b0db68ap-13,
                0x1.6c16c16c1413dp-10, 0x1.111111110f484p-7, 0x1.555555555555bp-5,
                0x1.5555555555559p-3, 0x1p-1);
  }
}
/// 2^n for an integer n in the range of normal numbers.
template <Real T>
GS_FN T pow2(UBits<T> n) {
  return bit_cast<T>((n + UBits<T>(kBias<T>)) << kMantissa<T>);
}
/// p 2^n in two steps, so that the result may be denormal or infinite.
template <Real T>
GS_FN T scale(T p, UBits<T> n) {
  using U = UBits<T>;
  U half = ((n + U(4096)) >> 1) - U(2048);
  return p * pow2<T>(half) * pow2<T>(n - half);
}
template <Real T>
GS_FN T clamp_exp(T x, double low, double high) {
  x = select(x > T(high), T(high), x);
  return select(x < T(low), T(low), x);
}
/// exp(x + lo) 2^k, for |lo| << |x|.
template <Real T>
GS_FN T exp_scaled(T x, T lo, int k) {
  x = clamp_exp(x, kIsFloat<T> ? -105. : -747., kIsFloat<T> ? 90. : 711.);
  auto [n, r] = exp_parts(x);
  r = r + lo;
  return scale(T(1) + (r + exp_tail(r)), n + UBits<T>(k));
}
template <Real T>
GS_FN T exp(T x) {
  x = clamp_exp(x, kIsFloat<T> ? -105. : -747., kIsFloat<T> ? 90. : 711.);
  auto [n, r] = exp_parts(x);
  return scale(T(1) + (r + exp_tail(r)), n);
}
template <Real T>
GS_FN T exp2(T x) {
  x = clamp_exp(x, kIsFloat<T> ? -151. : -1076., kIsFloat<T> ? 129. : 1025.);
  T t = x + T(kRound<T>);
  T r = (x - (t - T(kRound<T>))) * T(kLn2);
  return scale(T(1) + (r + exp_tail(r)), ubits(t) - ubits(T(kRound<T>)));
}
template <Real T>
GS_FN T expm1(T x) {
  using U = UBits<T>;
  T c = clamp_exp(x, -50., kIsFloat<T> ? 89. : 710.);
  auto [n, r] = exp_parts(c);
  T q = r + exp_tail(r), s = pow2<T>(n - U(1));
  T y = s * q + (s - T(0.5));
  return select(x == T(0), x, y + y);
}

// ---- log ----

/// x = m 2^e with m in [sqrt(1/2), sqrt(2)), for x > 0.
template <Real T>
GS_FN Pair<T> split_log(T x) {
  using U = UBits<T>;
  constexpr uint64_t kSqrtHalf = kIsFloat<T> ? 0x3f3504f3u : 0x3fe6a09e667f3bcdu;
  constexpr int kBits = kMantissa<T>;
  auto tiny = x < T(kIsFloat<T> ? 0x1p-126 : 0x1p-1022);
  U i = ubits(select(tiny, x * T(kIsFloat<T> ? 0x1p24 : 0x1p54), x));
  U e = ((i + U((uint64_t(kBias<T>) << kBits) - kSqrtHalf)) >> kBits);  // biased
  T m = bit_cast<T>(i - ((e - U(kBias<T>)) << kBits));
  // e is small: the low bits of kRound hold it, a subtraction makes it a number.
  T n = bit_cast<T>(ubits(T(kRound<T>)) + e) - T(kRound<T> + kBias<T>);
  return {m, n - select(tiny, T(kIsFloat<T> ? 24 : 54), T(0))};
}
/// log(1 + f) with f in [sqrt(1/2) - 1, sqrt(2) - 1], plus `more`, which is small.
template <Real T>
GS_FN T log_poly(T f, T more) {
  T s = f / (f + T(2)), z = s * s, r, h = T(0.5) * f * f;
  if constexpr (kIsFloat<T>) {
    r = z * poly(z, 0x1.31e69ep-2, 0x1.995e9ap-2, 0x1.55557ap-1);
  } else {
    r = z * poly(z, 0x1.2f0d54d0bf7d5p-3, 0x1.39a0fa5a64d1ep-3, 0x1.746645fc4287bp-3,
                 0x1.c71c51e8c649dp-3, 0x1.2492494216cf5p-2, 0x1.999999997fb3cp-2,
                 0x1.5555555555593p-1);
  }
  return f - (h - (s * (h + r) + more));
}
/// e ln2 + log(1 + f) + c, for a small c.
template <Real T>
GS_FN T log_sum(T f, T e, T c) {
  T hi = T(kIsFloat<T> ? 0x1.62e4p-1 : 0x1.62e42fefa38p-1);
  T lo = T(kIsFloat<T> ? 0x1.7f7d1cp-20 : 0x1.ef35793c7673p-45);
  return e * hi + log_poly(f, e * lo + c);
}
template <Real T>
GS_FN T log_special(T x, T y) {
  y = select(x < T(kInf), y, x);
  y = select(x < T(0), T(kNan), y);
  return select(x == T(0), T(-kInf), y);
}
template <Real T>
GS_FN T log(T x) {
  auto [m, e] = split_log(x);
  return log_special(x, log_sum(m - T(1), e, T(0)));
}
template <Real T>
GS_FN T log2(T x) {
  auto [m, e] = split_log(x);
  return log_special(x, e + log_poly(m - T(1), T(0)) * T(kLog2e));
}
template <Real T>
GS_FN T log10(T x) {
  auto [m, e] = split_log(x);
  T hi = T(kIsFloat<T> ? 0x1.344p-2 : 0x1.34413509f78p-2);
  T lo = T(kIsFloat<T> ? 0x1.3509f8p-18 : 0x1.fef311f12b358p-46);
  return log_special(x, e * hi + (log_poly(m - T(1), T(0)) * T(kInvLn10) + e * lo));
}
template <Real T>
GS_FN T log1p(T x) {
  auto [u, err] = two_sum(T(1), x);
  auto [m, e] = split_log(u);
  T y = log_special(u, log_sum(m - T(1), e, err / u));
  return select(x == T(0), x, y);
}

// ---- pow ----

template <Real T>
GS_FN T pow(T x, T y) {
  T ax = abs(x);
  // log|x| = hi + lo to about 1.5 words. With s = f / (2 + f): 2 s + 2/3 s^3 exactly, the rest
  // rounded.
  auto [m, e] = split_log(ax);
  T f = m - T(1);
  Pair<T> d = two_sum(T(1), m);
  T s = f / d.hi;
  Pair<T> sd = two_prod(s, d.hi);
  T s_lo = ((f - sd.hi) - sd.lo - s * d.lo) / d.hi;
  Pair<T> z = two_prod(s, s);
  z.lo = z.lo + T(2) * s * s_lo;
  Pair<T> t = two_prod(s, z.hi);
  t.lo = t.lo + (s_lo * z.hi + s * z.lo);
  T third = T(kIsFloat<T> ? 0x1.555556p-1 : 0x1.5555555555555p-1);
  T third_lo = T(kIsFloat<T> ? -0x1.555556p-26 : 0x1.5555555555555p-55);
  Pair<T> w = two_prod(t.hi, third);
  w.lo = w.lo + (t.lo * third + t.hi * third_lo);
  T q;
  if constexpr (kIsFloat<T>) {
    q = poly(z.hi, 0x1.dfa2fep-3, 0x1.24527ap-2, 0x1.999ap-2);
  } else {
    q = poly(z.hi, 0x1.eb2050c9491f1p-4, 0x1.de319ebd6011fp-4, 0x1.1120c116b2949p-3,
             0x1.3b136269ea60ap-3, 0x1.745d183370078p-3, 0x1.c71c71c57e15dp-3, 0x1.2492492493048p-2,
             0x1.9999999999996p-2);
  }
  Pair<T> h = fast_two_sum(s + s, w.hi);
  h.lo = h.lo + (s_lo + s_lo + w.lo + t.hi * z.hi * q);
  Pair<T> g = fast_two_sum(e * T(kIsFloat<T> ? 0x1.62e4p-1 : 0x1.62e42fefa38p-1), h.hi);
  g.lo = g.lo + (h.lo + e * T(kIsFloat<T> ? 0x1.7f7d1cp-20 : 0x1.ef35793c7673p-45));
  Pair<T> l = fast_two_sum(g.hi, g.lo);
  l.hi = log_special(ax, l.hi);
  // exp(y (hi + lo))
  Pair<T> p = two_prod(y, l.hi);
  T lo = p.lo + y * l.lo;
  T r = exp_scaled(p.hi, select(abs(p.hi) < T(2000), lo, T(0)), 0);
  // Signs and special values.
  auto integral = round(y) == y;
  T half = y * T(0.5);
  auto odd = integral & (round(half) != half);
  r = select((x < T(0)) & !integral & (ax < T(kInf)), T(kNan), r);
  r = select(signbit(x) & odd, -r, r);
  r = select(isnan(x), x, r);
  r = select((ax == T(1)) & (abs(y) == T(kInf)), T(1), r);
  return select((y == T(0)) | (x == T(1)), T(1), r);
}

// ---- hyperbolic ----

template <Real T>
GS_FN T tanh(T x) {
  T a = abs(x), z = a * a, p;
  if constexpr (kIsFloat<T>) {
    p = poly(z, -0x1.9a2c5cp-8, 0x1.59145ap-6, -0x1.b9243ep-5, 0x1.110d12p-3, -0x1.55554ap-2);
  } else {
    p = poly(z, -0x1.44fcefdc7b418p-16, 0x1.5ca336eca6250p-14, -0x1.e9291bb711410p-13,
             0x1.347cf8e6eea0cp-11, -0x1.7d8f0a7b33640p-10, 0x1.d6d28c9384e69p-9,
             -0x1.226e2eb96438fp-7, 0x1.664f4856ca0d1p-6, -0x1.ba1ba1b97249bp-5,
             0x1.11111111106e4p-3, -0x1.555555555554fp-2);
  }
  T far = T(1) - T(2) / (exp(a + a) + T(1));
  return copysign(select(a < T(0.55), a + a * z * p, far), x);
}
template <Real T>
GS_FN T sinh(T x) {
  T a = abs(x), z = a * a, p;
  if constexpr (kIsFloat<T>) {
    p = poly(z, 0x1.7a289ep-19, 0x1.9ffe04p-13, 0x1.111136p-7, 0x1.555556p-3);
  } else {
    p = poly(z, 0x1.b4d1115f6ca3fp-41, 0x1.611a34ff44e11p-33, 0x1.ae6467735a291p-26,
             0x1.71de3a45e7807p-19, 0x1.a01a01a02932dp-13, 0x1.11111111110a0p-7,
             0x1.5555555555556p-3);
  }
  T e = exp_scaled(a, T(0), -1);
  return copysign(select(a < T(1), a + a * z * p, e - T(0.25) / e), x);
}
template <Real T>
GS_FN T cosh(T x) {
  T e = exp_scaled(abs(x), T(0), -1);
  return e + T(0.25) / e;
}
template <Real T>
GS_FN T asinh(T x) {
  T a = abs(x);
  auto big = a > T(kIsFloat<T> ? 0x1p30 : 0x1p60);
  T b = select(big, T(1), a);
  T u = select(big, a, b + b * b / (T(1) + sqrt(b * b + T(1))));
  return copysign(log1p(u) + select(big, T(kLn2), T(0)), x);
}
template <Real T>
GS_FN T acosh(T x) {
  auto big = x > T(kIsFloat<T> ? 0x1p30 : 0x1p60);
  T t = select(big, T(1), x - T(1));
  T y = log1p(select(big, x, t + sqrt(t + t + t * t))) + select(big, T(kLn2), T(0));
  return select(x < T(1), T(kNan), y);
}
template <Real T>
GS_FN T atanh(T x) {
  T a = abs(x);
  return copysign(T(0.5) * log1p((a + a) / (T(1) - a)), x);
}

// ---- trigonometric ----

/// x = q pi/2 + r with |r| <= pi/4, for |x| <= kTrigRange; pi/2 in pieces whose products with q are
/// exact.
template <Real T>
inline constexpr double kTrigRange = kIsFloat<T> ? 1e4 : 1e6;
template <Real T>
struct Quadrant {
  UBits<T> q;
  T r;
};
template <Real T>
GS_FN Quadrant<T> quadrant(T x) {
  T t = x * T(0x1.45f306dc9c883p-1) + T(kRound<T>);
  T n = t - T(kRound<T>);
  T p1 = T(kIsFloat<T> ? 0x1.92p+0 : 0x1.921fb544p+0),
    p2 = T(kIsFloat<T> ? 0x1.fb4p-12 : 0x1.0b4611a6p-34);
  T p3 = T(kIsFloat<T> ? 0x1.444p-24 : 0x1.3198a2ep-69);
  T p4 = T(kIsFloat<T> ? 0x1.68c234p-39 : 0x1.b839a252049c1p-104);
  // Each difference is exact where it cancels; its rounding error goes to lo where it does not.
  T a = x - n * p1, b = a - n * p2, c = b - n * p3;
  T lo = (((a - b) - n * p2) + ((b - c) - n * p3)) - n * p4;
  return {ubits(t), c + lo};
}
template <Real T>
GS_FN T sin_poly(T r) {
  T z = r * r;
  if constexpr (kIsFloat<T>) {
    return r + r * z * poly(z, -0x1.993d6cp-13, 0x1.11072ep-7, -0x1.555546p-3);
  } else {
    return r + r * z *
                   poly(z, 0x1.5d8a1d8447fa0p-33, -0x1.ae5e4871deb39p-26, 0x1.71de3552e4af9p-19,
                        -0x1.a01a019be8affp-13, 0x1.111111110f741p-7, -0x1.5555555555548p-3);
  }
}
template <Real T>
GS_FN T cos_poly(T r) {
  T z = r * r, p;
  if constexpr (kIsFloat<T>) {
    p = poly(z, 0x1.99f2fap-16, -0x1.6c0c58p-10, 0x1.55554ap-5);
  } else {
    p = poly(z, -0x1.8fa4dc8c02a70p-37, 0x1.1ee9d9a822958p-29, -0x1.27e4f7efff19cp-22,
             0x1.a01a019c8f318p-16, -0x1.6c16c16c1502bp-10, 0x1.555555555554bp-5);
  }
  T h = T(0.5) * z, w = T(1) - h;
  return w + (((T(1) - w) - h) + z * z * p);
}
/// sin(x + k pi/2).
template <Real T>
GS_FN T sin_shifted(T x, int k) {
  using U = UBits<T>;
  auto [q, r] = quadrant(x);
  q = q + U(k);
  T y = select((q & U(1)) != U(0), cos_poly(r), sin_poly(r));
  return bit_cast<T>(ubits(y) ^ ((q & U(2)) << (kIsFloat<T> ? 30 : 62)));
}
template <Real T>
GS_FN T sin(T x) {
  if (any(abs(x) > T(kTrigRange<T>))) [[unlikely]]
    return apply_lanes([](auto a) { return __builtin_sin(a); }, x);
  return select(x == T(0), x, sin_shifted(x, 0));
}
template <Real T>
GS_FN T cos(T x) {
  if (any(abs(x) > T(kTrigRange<T>))) [[unlikely]]
    return apply_lanes([](auto a) { return __builtin_cos(a); }, x);
  return sin_shifted(x, 1);
}
template <Real T>
GS_FN T tan(T x) {
  using U = UBits<T>;
  if (any(abs(x) > T(kTrigRange<T>))) [[unlikely]]
    return apply_lanes([](auto a) { return __builtin_tan(a); }, x);
  auto [q, r] = quadrant(x);
  T s = sin_poly(r), c = cos_poly(r);
  auto odd = (q & U(1)) != U(0);
  return select(x == T(0), x, select(odd, -c, s) / select(odd, s, c));
}

/// atan(u) for 0 <= u <= 1.
template <Real T>
GS_FN T atan_poly(T u) {
  T z = u * u;
  if constexpr (kIsFloat<T>) {
    return u + u * z *
                   poly(z, -0x1.d63634p-10, 0x1.65aa0ap-7, -0x1.fed5p-6, 0x1.dacbd4p-5,
                        -0x1.58352cp-4, 0x1.c09a38p-4, -0x1.2421bap-3, 0x1.9991fep-3,
                        -0x1.55553ep-2);
  } else {
    return u + u * z *
                   poly(z, 0x1.bbc126fb4b07dp-17, -0x1.3f19e398b706cp-13, 0x1.b3d9292710e16p-11,
                        -0x1.7a212185b4f9fp-9, 0x1.d7a0a920c79d4p-8, -0x1.c77ded5578591p-7,
                        0x1.6832f2c4a9162p-6, -0x1.e9f1b78a9ce0cp-6, 0x1.2c2b9cf7a8b11p-5,
                        -0x1.59a293ee779fap-5, 0x1.82da44ffb5fc9p-5, -0x1.ae5e44b6457c6p-5,
                        0x1.e1bb9b4a708f2p-5, -0x1.110e5022201c1p-4, 0x1.3b136676de5fep-4,
                        -0x1.745d11ab0cc39p-4, 0x1.c71c717f96859p-4, -0x1.249249237e2f8p-3,
                        0x1.999999999554cp-3, -0x1.5555555555526p-2);
  }
}
/// pi/2 - r, with pi/2 in two words.
template <Real T>
GS_FN T half_pi_minus(T r) {
  if constexpr (kIsFloat<T>)
    return T(0x1.921fb6p+0) - (r - T(-0x1.777a5cp-25));
  else
    return T(0x1.921fb54442d18p+0) - (r - T(0x1.1a62633145c07p-54));
}
template <Real T>
GS_FN T pi_minus(T r) {
  if constexpr (kIsFloat<T>)
    return T(0x1.921fb6p+1) - (r - T(-0x1.777a5cp-24));
  else
    return T(0x1.921fb54442d18p+1) - (r - T(0x1.1a62633145c07p-53));
}
template <Real T>
GS_FN T atan(T x) {
  T a = abs(x);
  auto big = a > T(1);
  T r = atan_poly(select(big, T(1) / a, a));
  return copysign(select(big, half_pi_minus(r), r), x);
}
template <Real T>
GS_FN T atan2(T y, T x) {
  T ay = abs(y), ax = abs(x);
  auto steep = ay > ax;
  T num = select(steep, ax, ay), den = select(steep, ay, ax);
  T u = select(den == T(0), T(0), select(num == T(kInf), T(1), num / den));
  T r = atan_poly(u);
  r = select(steep, half_pi_minus(r), r);
  r = copysign(select(signbit(x), pi_minus(r), r), y);
  return select(isnan(x) | isnan(y), x + y, r);
}
/// asin(sqrt(z)) / sqrt(z) - 1 for z <= 1/4.
template <Real T>
GS_FN T asin_poly(T z) {
  if constexpr (kIsFloat<T>) {
    return z * poly(z, 0x1.59f256p-5, 0x1.8b887ep-6, 0x1.748ecep-5, 0x1.330138p-4, 0x1.5555cap-3);
  } else {
    return z * poly(z, 0x1.0be6e60e3bf8bp-5, -0x1.59ff243bcb1acp-6, 0x1.65089a66a7b25p-6,
                    0x1.e143b755a9f7dp-9, 0x1.618c6cf243bc3p-7, 0x1.75773865e83c8p-7,
                    0x1.ca214fad976a8p-7, 0x1.1c49dd7afc1e1p-6, 0x1.6e8bdfeef8982p-6,
                    0x1.f1c71a8b462d9p-6, 0x1.6db6db722c721p-5, 0x1.333333332defap-4,
                    0x1.5555555555578p-3);
  }
}
template <Real T>
GS_FN T asin(T x) {
  T a = abs(x);
  auto big = a > T(0.5);
  T z = select(big, (T(1) - a) * T(0.5), a * a), s = select(big, sqrt(z), a);
  T r = s + s * asin_poly(z);
  return copysign(select(big, half_pi_minus(r + r), r), x);
}
template <Real T>
GS_FN T acos(T x) {
  T a = abs(x);
  auto big = a > T(0.5);
  T z = select(big, (T(1) - a) * T(0.5), a * a), s = select(big, sqrt(z), a);
  T r = s + s * asin_poly(z);
  return select(big, select(x > T(0), r + r, pi_minus(r + r)), half_pi_minus(copysign(r, x)));
}

// ---- error functions ----

/// erfc(a) for a >= 0: exp(-a^2) / (1 + 2a) times a polynomial in (a - k) / (a + k).
template <Real T>
GS_FN T erfc_poly(T a) {
  a = select(a > T(kIsFloat<T> ? 10.2 : 28.), T(kIsFloat<T> ? 10.2 : 28.), a);
  T k = T(kIsFloat<T> ? 2 : 4), t = (a - k) / (a + k), p;
  if constexpr (kIsFloat<T>) {
    p = poly(t, 0x1.4f267ep-14, 0x1.6480f2p-13, -0x1.a4df8cp-12, -0x1.74acfp-10, 0x1.4877f2p-10,
             0x1.1d64c8p-7, -0x1.07286ap-7, -0x1.bc2736p-5, 0x1.4ffap-3, -0x1.5407cep-3,
             -0x1.7bf5eap-4, 0x1.46e80ep+0);
  } else {
    p = poly(t, 0x1.4a4dea175e924p-30, 0x1.ce931e53b2644p-30, -0x1.e3e9bf8909d1dp-27,
             -0x1.2c88472c647e2p-26, 0x1.d9f5b97d1943dp-24, 0x1.3e75a556ae4fep-24,
             -0x1.bb71f9d4ce820p-21, 0x1.3bcf513bfc60ap-22, 0x1.7f34881072016p-18,
             -0x1.788d9b22cb508p-17, -0x1.995acf612ba3cp-16, 0x1.3be06abc9aa9dp-13,
             -0x1.a1df161b3b78ap-13, -0x1.8d4a9c392b068p-11, 0x1.49c6726f1ac23p-8,
             -0x1.09623882b4c30p-6, 0x1.3079edf6d4596p-5, -0x1.0fb06dfe54a13p-4,
             0x1.7fee004e0fe34p-4, -0x1.9ddb23c3e89c4p-4, 0x1.16ecefcfa54a3p-4,
             0x1.f7f5df66fd6dcp-7, -0x1.1df1ad154a28fp-3, 0x1.3ba5916e9fd7fp+0);
  }
  auto [h, l] = two_prod(a, a);
  return exp_scaled(-h, -l, 0) * (p / (T(1) + a + a));
}
/// erf(a) / a - 1 as a polynomial in z = a^2, for 0 <= a <= 1.
template <Real T>
GS_FN T erf_poly(T z) {
  if constexpr (kIsFloat<T>) {
    return poly(z, 0x1.4946b2p-14, -0x1.a3eaap-11, 0x1.540416p-8, -0x1.b7f8dcp-6, 0x1.ce2cf4p-4,
                -0x1.81273ep-2, 0x1.06eba8p-3);
  } else {
    return poly(z, 0x1.055ac43aa08aap-34, -0x1.385f9342c68cbp-30, 0x1.f7a089a78f082p-27,
                -0x1.5f1ce4c00200fp-23, 0x1.b9dee8336c111p-20, -0x1.f4d1de82c70fdp-17,
                0x1.f9a32197e9b1ep-14, -0x1.c02db3d89f0f7p-11, 0x1.565bcd0dae8afp-8,
                -0x1.b82ce312848f7p-6, 0x1.ce2f21a042b1ep-4, -0x1.812746b0379e6p-2,
                0x1.06eba8214db69p-3);
  }
}
template <Real T>
GS_FN T erf(T x) {
  T a = abs(x);
  return copysign(select(a < T(1), a + a * erf_poly(a * a), T(1) - erfc_poly(a)), x);
}
template <Real T>
GS_FN T erfc(T x) {
  T a = abs(x), r = erfc_poly(a);
  return select(a < T(0.5), T(1) - (x + x * erf_poly(x * x)), select(x < T(0), T(2) - r, r));
}
template <Real T>
GS_FN T erfinv(T y) {
  T a = abs(y), w = -log((T(1) - a) * (T(1) + a)), v = sqrt(w) - T(4);
  T central = poly(w - T(2.5), -0x1.2d3054p-27, 0x1.8fc696p-26, 0x1.f43738p-22, -0x1.d0cfaap-19,
                   -0x1.4d00acp-18, 0x1.c9e782p-13, -0x1.486634p-10, -0x1.11c4f2p-8, 0x1.f91e8ap-3,
                   0x1.805c5ep+0);
  T tail = poly(v, 0x1.296ddep-24, -0x1.16e5dap-21, 0x1.d320bep-21, 0x1.699fep-19, -0x1.a6fe82p-17,
                0x1.6240fcp-16, -0x1.c4afe4p-16, 0x1.b08724p-15, -0x1.006086p-13, 0x1.53745ap-12,
                -0x1.c6c148p-11, 0x1.4a179cp-10, 0x1.026e24p+0, 0x1.eb7e0ap+1);
  T x = a * select(w < T(5), central, tail);
  if constexpr (!kIsFloat<T>) {  // one step of Halley's method: 26 bits to 53
    T g = select(a > T(0.5), (T(1) - a) - erfc(x), erf(x) - a);
    T d = g * exp(x * x) / T(kTwoOverSqrtPi);
    x = x - d / (T(1) + x * d);
  }
  return copysign(select(a == T(1), T(kInf), x), y);
}

// ---- lane by lane from libm ----

template <Real T>
GS_FN T lgamma(T x) {
  return apply_lanes(
      [](auto a) -> ScalarT<T> {
        int sign;  // the _r form writes no global
        if constexpr (kIsFloat<T>)
          return __builtin_lgammaf_r(a, &sign);
        else
          return __builtin_lgamma_r(a, &sign);
      },
      x);
}
template <Real T>
GS_FN T fmod(T a, T b) {
  return apply_lanes(
      [](auto x, auto y) -> ScalarT<T> {
        if constexpr (kIsFloat<T>)
          return __builtin_fmodf(x, y);
        else
          return __builtin_fmod(x, y);
      },
      a, b);
}
template <Real T>
GS_FN T hypot(T x, T y) {
  // Scaled by the larger: no overflow. sqrt(1 + (b/a)^2) is within 1 ulp.
  T a = abs(x), b = abs(y), hi = max(a, b), lo = min(a, b);
  T q = select(hi == T(0), T(0), lo / hi);
  T r = hi * sqrt(T(1) + q * q);
  r = select(isnan(x) | isnan(y), x + y, r);
  return select((a == T(kInf)) | (b == T(kInf)), T(kInf), r);
}

/// Modified Bessel functions of order 0 and 1: series below 20, asymptotic expansion above.
template <class S>
inline S bessel_i(int order, S x) {
  double a = x < 0 ? -double(x) : double(x), mu = 4. * order * order, term = 1, sum = 1;
  double flip = order && x < 0 ? -1 : 1;
  if (a < 20) {
    for (int k = 1; k < 70; ++k) sum += term *= a * a / 4 / (double(k) * (k + order));
    return S(flip * (order ? a / 2 : 1) * sum);
  }
  if (a > 800) return S(flip * a * kInf);
  for (int k = 1; k < 26; ++k) sum += term *= ((2 * k - 1.) * (2 * k - 1.) - mu) / (8 * k * a);
  double e = __builtin_exp(a / 2);
  return S(flip * e * (e * sum / __builtin_sqrt(2 * kPi * a)));
}
template <Real T>
GS_FN T i0(T x) {
  return apply_lanes([](auto a) { return bessel_i(0, a); }, x);
}
template <Real T>
GS_FN T i1(T x) {
  return apply_lanes([](auto a) { return bessel_i(1, a); }, x);
}
#endif  // GS_CUDA

// ---- built from the above, host and CUDA ----

template <Real T>
GS_FN T rsqrt(T x) {
  return T(1) / sqrt(x);
}
template <Real T>
GS_FN T trunc_div(T a, T b) {
  return trunc(a / b);
}
/// Python's %: the result has b's sign.
template <Real T>
GS_FN T remainder(T a, T b) {
  T r = fmod(a, b);
  return select((r != T(0)) & ((r < T(0)) ^ (b < T(0))), r + b, r);
}
/// Python's //, exact: from fmod, as a / b may round up to an integer.
template <Real T>
GS_FN T floor_div(T a, T b) {
  T m = fmod(a, b), q = (a - m) / b;
  q = select((m != T(0)) & ((m < T(0)) ^ (b < T(0))), q - T(1), q);
  T f = floor(q);
  f = select(q - f > T(0.5), f + T(1), f);
  f = select(q != T(0), f, copysign(T(0), a / b));
  return select(b == T(0), a / b, f);
}

/// 1 / (1 + exp(-x)).
template <Real T>
GS_FN T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}
/// log(1 + exp(x)) without overflow.
template <Real T>
GS_FN T softplus(T x) {
  return max(x, T(0)) + log1p(exp(-abs(x)));
}

/// tanh(log(1 + exp(x))) = n / (n + 2) with n = e^2 + 2e; it is 1 long before 20.
template <Real T>
GS_FN T tanh_softplus(T x) {
  T e = exp(select(x > T(20), T(20), x)), n = e * (e + T(2));
  return n / (n + T(2));
}

/// psi(x) = d log Gamma(x) / dx: reflection below 0, recurrence up to 10, then the asymptotic
/// series.
template <Real T>
GS_FN T digamma(T x) {
  auto negative = x < T(0);
  T y = select(negative, T(1) - x, x), acc = T(0);
  for (int i = 0; i < 10; ++i) {
    auto low = y < T(10);
    acc = acc - select(low, T(1) / y, T(0));
    y = y + select(low, T(1), T(0));
  }
  T z = T(1) / (y * y);
  T r = acc +
        (log(y) - T(0.5) / y -
         z * poly(z, 1. / 12, -691. / 32760, 1. / 132, -1. / 240, 1. / 252, -1. / 120, 1. / 12));
  T t = x - trunc(x);
  r = select(negative, r - T(kPi) / tan(T(kPi) * t), r);
  r = select(negative & (t == T(0)), T(kNan), r);
  r = select(x == T(0), copysign(T(kInf), -x), r);
  return select(x == T(kInf), x, r);
}

template <int N, Real T>
GS_FN T raise(T a) {
  T r = a;
  for (int i = 1; i < N; ++i) r = r * a;
  return r;
}

/// The N-th derivative of psi, N >= 1. Reflection for N = 1, 2; NaN below 0 for N > 2.
template <int N, Real T>
GS_FN T polygamma(T x) {
  constexpr double kSign = N % 2 ? 1 : -1;
  constexpr double kBernoulli[] = {1. / 6,  -1. / 30,     1. / 42, -1. / 30,
                                   5. / 66, -691. / 2730, 7. / 6,  -3617. / 510};
  double factorial = 1;  // (N - 1)!
  for (int i = 2; i < N; ++i) factorial *= i;
  auto reflect = x < T(0);
  T y = select(reflect, T(1) - x, x), acc = T(0);
  for (int i = 0; i < 10 + N; ++i) {
    auto low = y < T(10 + N);
    acc = acc + select(low, T(1) / raise<N + 1>(y), T(0));
    y = y + select(low, T(1), T(0));
  }
  T v = T(1) / y, z = v * v, term = z, series = T(factorial) + T(0.5 * factorial * N) * v;
  double c = factorial * N;  // (2k + N - 1)! / (2k)!, k from 1
  c = c * (N + 1) / 2;
  for (int k = 1; k <= 8; ++k) {
    series = series + T(kBernoulli[k - 1] * c) * term;
    term = term * z;
    c = c * (2 * k + N) * (2 * k + N + 1) / ((2 * k + 1) * (2 * k + 2));
  }
  T r = T(kSign) * (acc * T(factorial * N) + series * raise<N>(v));
  T t = T(kPi) * (x - round(x)), s = sin(t);
  if constexpr (N == 1)
    r = select(reflect, T(kPi * kPi) / (s * s) - r, r);
  else if constexpr (N == 2)
    r = select(reflect, r - T(2 * kPi * kPi * kPi) * cos(t) / (s * s * s), r);
  else
    r = select(reflect, T(kNan), r);
  return select(x == T(0), T(N == 1 ? kInf : kNan), r);
}

}  // namespace GS_ISA
}  // namespace gradstep
