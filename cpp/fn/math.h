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

#if GS_CUDA || !defined(__FMA__)
/// p / (1 + h).
template <class T>
GS_FN T over_one_plus(T p, T h) {
  return p / (T(1) + h);
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
GS_FN float normal_cdf(float x) { return ::normcdff(x); }
GS_FN double normal_cdf(double x) { return ::normcdf(x); }
GS_FN float i0(float x) { return ::cyl_bessel_i0f(x); }
GS_FN double i0(double x) { return ::cyl_bessel_i0(x); }
GS_FN float i1(float x) { return ::cyl_bessel_i1f(x); }
GS_FN double i1(double x) { return ::cyl_bessel_i1(x); }
#else
GS_FN float erfinv(float x) { return x; }
GS_FN double erfinv(double x) { return x; }
GS_FN float normal_cdf(float x) { return x; }
GS_FN double normal_cdf(double x) { return x; }
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
template <Real T>
GS_FN T normal_pdf(T x) {
  return exp(T(-0.5) * x * x) * T(0x1.9884533d43651p-2);
}
template <Real T>
GS_FN T times_normal_cdf(T x) {
  return x * normal_cdf(x);
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
  if constexpr (requires { blend_bits(x, s, x); })
    return blend_bits(x, s, bit_cast<T>(U(kSignBit<T>)));
  else
    return bit_cast<T>((ubits(x) & U(kSignBit<T> - 1)) | (ubits(s) & U(kSignBit<T>)));
}
template <Real T>
GS_FN auto signbit(T x) {
  return (ubits(x) & UBits<T>(kSignBit<T>)) != UBits<T>(0);
}
template <Real T>
GS_FN T plain_sqrt(T x) {
  return map_lanes(
      [](auto a) {
        if constexpr (sizeof(a) == 4)
          return __builtin_sqrtf(a);
        else
          return __builtin_sqrt(a);
      },
      x);
}
/// The instruction takes 11 (20) cycles on a 64-byte register, refining a rough value half of that
/// with the same result. It needs numbers whose square's rounding error is a normal number.
template <Real T>
GS_FN T sqrt(T x) {
  if constexpr (requires { rough_rsqrt(x); }) {
    using U = UBits<T>;
    constexpr int kBits = kMantissa<T>;
    constexpr uint64_t kLeast = uint64_t(kIsFloat<T> ? 32 : 128) << kBits,
                       kInfinity = uint64_t(2 * kBias<T> + 1) << kBits;
    if (any(ubits(x) - U(kLeast) >= U(kInfinity - kLeast))) [[unlikely]]
      return plain_sqrt(x);
    T y = rough_rsqrt(x), g = x * y, h = y * T(0.5);
    for (int i = 0; i < (kIsFloat<T> ? 1 : 2); ++i) {
      T r = T(0.5) - g * h;
      g = g + g * r;
      h = h + h * r;
    }
    return g + (x - g * g) * h;
  } else {
    return plain_sqrt(x);
  }
}

template <Real T>
GS_FN T round(T x) {  // half to even
  if constexpr (requires { round_to<0>(x); }) {
    return round_to<0>(x);
  } else {
    T a = abs(x), m = T(kIsFloat<T> ? 0x1p23 : 0x1p52);  // beyond it there is no fraction
    return select(a < m, copysign((a + m) - m, x), x);
  }
}
template <Real T>
GS_FN T floor(T x) {
  if constexpr (requires { round_to<1>(x); }) {
    return round_to<1>(x);
  } else {
    T r = round(x);
    return copysign(r - select(r > x, T(1), T(0)), x);
  }
}
template <Real T>
GS_FN T ceil(T x) {
  return -floor(-x);
}
template <Real T>
GS_FN T trunc(T x) {
  if constexpr (requires { round_to<3>(x); })
    return round_to<3>(x);
  else
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
  if constexpr (requires { mul_sub(a, b, p); }) {
    return {p, mul_sub(a, b, p)};
  } else if constexpr (kIsVec<T>) {
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

/// ln2 in two parts; products of the first with an exponent are exact.
template <Real T>
inline constexpr double kLn2High = kIsFloat<T> ? 0x1.62e4p-1 : 0x1.62e42fefa38p-1;
template <Real T>
inline constexpr double kLn2Low = kIsFloat<T> ? 0x1.7f7d1cp-20 : 0x1.ef35793c7673p-45;
/// kRound plus the bias.
template <Real T>
inline constexpr double kExpRound = kRound<T> + kBias<T>;

/// x = n ln2 + r with |r| <= ln2 / 2; n is a small integer.
template <Real T>
struct ExpParts {
  UBits<T> biased;  // its low bits are n + bias
  T n, r;
};
template <Real T>
GS_FN ExpParts<T> exp_parts(T x, double factor = 1) {  // of factor x; r is that of x alone
  T t = x * T(factor * kLog2e) + T(kExpRound<T>);
  T n = t - T(kExpRound<T>);
  return {ubits(t), n, (x - n * T(kLn2High<T>)) - n * T(kLn2Low<T>)};
}
/// (exp(r) - 1 - r) / r^2.
template <Real T>
GS_FN T exp_poly(T r) {
  if constexpr (kIsFloat<T>) {
    return poly(r, 0x1.6ff094p-10, 0x1.1257d2p-7, 0x1.5552fep-5, 0x1.555466p-3, 0x1p-1);
  } else {
    return poly(r, 0x1.1f98a01cd795fp-29, 0x1.af63bb3b85538p-26, 0x1.27e4c3895be26p-22,
                0x1.71ddf5ac4502dp-19, 0x1.a01a01b1afa71p-16, 0x1.a01a01b0db68ap-13,
                0x1.6c16c16c1413dp-10, 0x1.111111110f484p-7, 0x1.555555555555bp-5,
                0x1.5555555555559p-3, 0x1p-1);
  }
}
/// exp(r) - 1, to the last bit of r.
template <Real T>
GS_FN T expm1_poly(T r) {
  return r * r * exp_poly(r) + r;
}
/// 2^n while that is a normal number.
template <Real T>
GS_FN T pow2(UBits<T> biased) {
  return bit_cast<T>(biased << kMantissa<T>);
}
/// p 2^n, which may be denormal or infinite.
template <Real T>
GS_FN T scale(T p, ExpParts<T> e) {
  if constexpr (requires { scale_by(p, e.n); }) {
    return scale_by(p, e.n);
  } else {  // in two steps
    using U = UBits<T>;
    U n = e.biased - ubits(T(kExpRound<T>)), half = ((n + U(4096)) >> 1) - U(2048);
    return p * pow2<T>(half + U(kBias<T>)) * pow2<T>(n - half + U(kBias<T>));
  }
}
/// x within the two limits, NaN as it is.
template <Real T>
GS_FN T clamp_exp(T x, double low, double high) {
  return max(T(low), min(T(high), x));
}
/// exp(x + lo) 2^k, for |lo| << |x|.
template <Real T>
GS_FN T exp_scaled(T x, T lo, int k) {
  auto e = exp_parts(clamp_exp(x, kIsFloat<T> ? -105. : -747., kIsFloat<T> ? 90. : 711.));
  if (k) e.n = e.n + T(k), e.biased = e.biased + UBits<T>(k);
  return scale(T(1) + expm1_poly(e.r + lo), e);
}
template <Real T>
GS_FN T exp(T x) {
  if constexpr (requires { scale_by(x, x); }) {
    // n may be any number, NaN and infinity among them: r must only stay finite.
    auto e = exp_parts(x);
    T r = clamp_size(e.r, T(1));
    return scale_by(T(1) + (T(1) + r * exp_poly(r)) * r, e.n);
  } else {
    auto e = exp_parts(clamp_exp(x, kIsFloat<T> ? -105. : -747., kIsFloat<T> ? 90. : 711.));
    return scale(T(1) + (T(1) + e.r * exp_poly(e.r)) * e.r, e);
  }
}
/// exp(-a b / 2) for a, b >= 0 and a b <= 4000, without the error that rounding the product would
/// make.
template <Real T>
GS_FN T exp_minus_half(T a, T b) {
  auto e = exp_parts(a * b, -0.5);
  T r;
  if constexpr (requires { mul_sub(a, b, a); }) {
    // -2 r: the powers of -1/2 go into the coefficients.
    r = e.n * T(2 * kLn2Low<T>) + mul_sub(a, b, e.n * T(-2 * kLn2High<T>));
    if constexpr (kIsFloat<T>) {
      T p = poly(r, 0x1.6ff094p-16, -0x1.1257d2p-12, 0x1.5552fep-9, -0x1.555466p-6, 0x1p-3);
      return scale(T(1) + (T(-0.5) + r * p) * r, e);
    }
    r = r * T(-0.5);
  } else {
    auto [h, l] = two_prod(a, T(0.5) * b);
    r = exp_parts(-h).r - l;
  }
  return scale(T(1) + (T(1) + r * exp_poly(r)) * r, e);
}
template <Real T>
GS_FN T exp2(T x) {
  x = clamp_exp(x, kIsFloat<T> ? -151. : -1076., kIsFloat<T> ? 129. : 1025.);
  T t = x + T(kExpRound<T>), n = t - T(kExpRound<T>);
  return scale(T(1) + expm1_poly((x - n) * T(kLn2)), ExpParts<T>{ubits(t), n, n});
}
/// exp(x) - 1 for x <= 89 (710); sums of powers of two stay exact.
template <Real T>
GS_FN T expm1(T x) {
  auto e = exp_parts(clamp_exp(x, -50., kIsFloat<T> ? 89. : 710.));
  T q = expm1_poly(e.r), s = pow2<T>(e.biased - UBits<T>(1));
  T y = s * q + (s - T(0.5));
  return select(x == T(0), x, y + y);
}

// ---- log ----

/// x = m 2^e with m in [sqrt(1/2), sqrt(2)), for x > 0.
template <Real T>
GS_FN Pair<T> split_log(T x) {
  if constexpr (requires { mantissa_of(x); }) {
    T m = mantissa_of(x), e = exponent_of(x);
    auto high = m > T(0x1.6a09e667f3bcdp+0);
    return {select(high, m * T(0.5), m), select(high, e + T(1), e)};
  }
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
  if constexpr (kIsFloat<T>) {
    return f + (f * f *
                    poly(f, -0x1.38b602p-4, 0x1.055bd4p-3, -0x1.0d855ap-3, 0x1.22da1p-3,
                         -0x1.54724p-3, 0x1.99a008p-3, -0x1.000228p-2, 0x1.555554p-2, -0.5) +
                more);
  } else {
    T s = f / (f + T(2)), z = s * s, h = T(0.5) * f * f;
    T r = z * poly(z, 0x1.2f0d54d0bf7d5p-3, 0x1.39a0fa5a64d1ep-3, 0x1.746645fc4287bp-3,
                   0x1.c71c51e8c649dp-3, 0x1.2492494216cf5p-2, 0x1.999999997fb3cp-2,
                   0x1.5555555555593p-1);
    return f - (h - (s * (h + r) + more));
  }
}
/// e ln2 + log(1 + f) + c, for a small c.
template <Real T>
GS_FN T log_sum(T f, T e, T c) {
  return e * T(kLn2High<T>) + log_poly(f, e * T(kLn2Low<T>) + c);
}
/// log of 0, of infinity and below 0, where y is not that already.
template <Real T>
GS_FN T log_special(T x, T y) {
  y = select(x < T(kInf), y, x);
  y = select(x < T(0), T(kNan), y);
  return select(x == T(0), T(-kInf), y);
}
/// The same after split_log(x) of a machine whose exponents are infinite at 0 and infinity.
template <Real T>
GS_FN T log_ends(T x, T y) {
  if constexpr (requires { mantissa_of(x); })
    return y;
  else
    return log_special(x, y);
}
template <Real T>
GS_FN T log(T x) {
  auto [m, e] = split_log(x);
  return log_ends(x, log_sum(m - T(1), e, T(0)));
}
template <Real T>
GS_FN T log2(T x) {
  auto [m, e] = split_log(x);
  return log_ends(x, e + log_poly(m - T(1), T(0)) * T(kLog2e));
}
template <Real T>
GS_FN T log10(T x) {
  auto [m, e] = split_log(x);
  T hi = T(kIsFloat<T> ? 0x1.344p-2 : 0x1.34413509f78p-2);
  T lo = T(kIsFloat<T> ? 0x1.3509f8p-18 : 0x1.fef311f12b358p-46);
  return log_ends(x, e * hi + (log_poly(m - T(1), T(0)) * T(kInvLn10) + e * lo));
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
  Pair<T> g = fast_two_sum(e * T(kLn2High<T>), h.hi);
  g.lo = g.lo + (h.lo + e * T(kLn2Low<T>));
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

// ---- quotients ----

/// 1 / d, to 14 bits or better.
template <Real T>
GS_FN T about_reciprocal(T d) {
  if constexpr (requires { rough_reciprocal(d); })
    return rough_reciprocal(d);
  else
    return T(1) / d;
}
#ifdef __FMA__
/// p / (1 + h), without the error that rounding the sum would make: what y (1 + h) lacks of p comes
/// from h itself.
template <Real T>
GS_FN T over_one_plus(T p, T h) {
  T r = about_reciprocal(T(1) + h), y = p * r;
  return y + ((p - y) - y * h) * r;
}
#endif

// ---- hyperbolic ----

/// h / (h + 1) with h = (exp(2|x|) - 1) / 2; it is 1 from 9.1 (19.1) on.
template <Real T>
GS_FN T tanh(T x) {
  T a = min(T(kIsFloat<T> ? 9.1 : 19.1), abs(x));
  // a = n ln2 / 2 + r. The factors 2 and 1/2 go into the coefficients of exp_poly.
  T t = a * T(2 * kLog2e) + T(kExpRound<T>), n = t - T(kExpRound<T>);
  T r = (a - n * T(kLn2High<T> / 2)) - n * T(kLn2Low<T> / 2), s = pow2<T>(ubits(t)), p;
  if constexpr (kIsFloat<T>)
    p = r * r * poly(r, 0x1.6ff094p-5, 0x1.1257d2p-3, 0x1.5552fep-2, 0x1.555466p-1, 1.) + r;
  else
    p = T(0.5) * expm1_poly(r + r);
  T h = s * p + (s * T(0.5) - T(0.5));
  return copysign(over_one_plus(h, h), x);
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

template <Real T>
inline constexpr double kTrigRange = kIsFloat<T> ? 1e4 : 1e6;

/// x - n pi/2 for |x| <= kTrigRange and an integer n close to it. With multiply-adds the first step
/// is exact; without, pi/2 comes in pieces whose products with n are.
template <Real T>
GS_FN T minus_half_pis(T x, T n) {
#ifdef __FMA__
  if constexpr (kIsFloat<T>)
    return ((x - n * T(0x1.921fb6p+0)) - n * T(-0x1.777a5cp-25)) - n * T(-0x1.ee59dap-50);
  else
    return ((x - n * T(0x1.921fb54442d18p+0)) - n * T(0x1.1a62633145c07p-54)) -
           n * T(-0x1.f1976b7ed8fbcp-110);
#else
  T p1 = T(kIsFloat<T> ? 0x1.92p+0 : 0x1.921fb544p+0),
    p2 = T(kIsFloat<T> ? 0x1.fb4p-12 : 0x1.0b4611a6p-34);
  T p3 = T(kIsFloat<T> ? 0x1.444p-24 : 0x1.3198a2ep-69);
  T p4 = T(kIsFloat<T> ? 0x1.68c234p-39 : 0x1.b839a252049c1p-104);
  // Each difference is exact where it cancels; its rounding error goes to lo where it does not.
  T a = x - n * p1, b = a - n * p2, c = b - n * p3;
  T lo = (((a - b) - n * p2) + ((b - c) - n * p3)) - n * p4;
  return c + lo;
#endif
}
/// x = q pi/2 + r with |r| <= pi/4.
template <Real T>
struct Quadrant {
  UBits<T> q;
  T r;
};
template <Real T>
GS_FN Quadrant<T> quadrant(T x) {
  T t = x * T(0x1.45f306dc9c883p-1) + T(kRound<T>);
  return {ubits(t), minus_half_pis(x, t - T(kRound<T>))};
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
/// sin(r) for |r| <= pi/2.
template <Real T>
GS_FN T wide_sin_poly(T r) {
  T z = r * r, p;
  if constexpr (kIsFloat<T>) {
    p = poly(z, 0x1.5dc8c4p-19, -0x1.9f70eep-13, 0x1.110edap-7, -0x1.55554cp-3);
  } else {
    p = poly(z, 0x1.882981024c4aap-49, -0x1.ae431c5d4e787p-41, 0x1.6123cb246528ap-33,
             -0x1.ae6454cb45665p-26, 0x1.71de3a5287a16p-19, -0x1.a01a01a0148b7p-13,
             0x1.11111111110c1p-7, -0x1.5555555555555p-3);
  }
  return r * z * p + r;
}
/// sin(x + k pi/2) for k = 0 and 1: with m = the integer at (x + k pi/2) / pi it is (-1)^m times
/// the sine of what is left, so one polynomial serves.
template <Real T>
GS_FN T sin_shifted(T x, int k) {
  T t = x * T(0x1.45f306dc9c883p-2) + T(0.5 * k) + T(kRound<T>);
  T m = t - T(kRound<T>), r = minus_half_pis(x, m + m - T(k));
  return bit_cast<T>(ubits(wide_sin_poly(r)) ^ (ubits(t) << (kIsFloat<T> ? 31 : 63)));
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

/// The tail of the normal distribution beyond a is exp(-a^2/2) mills(a), for 0 <= a <= kTailEnd,
/// where it is 0. Float: a quotient of polynomials whose terms are all positive. Double: a
/// polynomial in u = (a - k) / (a + k), over a + k.
template <Real T>
inline constexpr double kTailEnd = kIsFloat<T> ? 14.5 : 39.6;
template <Real T>
GS_FN T mills(T a) {
  if constexpr (kIsFloat<T>) {
    T n = poly(a, 0x1.0db8e6p-8, 0x1.4cd71p-5, 0x1.773fbep-3, 0x1.c0ce42p-2);
    T d = poly(a, 0x1.520af4p-7, 0x1.a12dfap-4, 0x1.e0b72ap-2, 0x1.33d556p+0, 0x1.aca952p+0);
    T num = a * n + T(0.5), den = a * d + T(1);
#ifdef __FMA__
    // The remainder from n and d: the last step of neither sum is rounded.
    T r = about_reciprocal(den), y = num * r;
    return y + (a * (n - y * d) + (T(0.5) - y)) * r;
#else
    return num / den;
#endif
  } else {
    T k = T(0x1.6a09e667f3bcdp+2), t = T(1) / (a + k), u = (a - k) * t;
    u = u + t * ((a - k * (u + T(1))) - u * a);  // the quotient's rounding error
    return t * poly(u, 0x1.941324e3abee6p-31, -0x1.f0c6b0bc03e9fp-33, -0x1.7610dbb8f3036p-27,
                    0x1.dc9ccd75c6b1dp-30, 0x1.78275724596e8p-24, -0x1.d8a84fdb78a10p-25,
                    -0x1.411db60ef7b48p-21, 0x1.0eac81bc0bac6p-20, 0x1.bd832a43eb54dp-19,
                    -0x1.bf8658587f880p-17, -0x1.58fea3ed764b4p-19, 0x1.0632ad7e808e6p-13,
                    -0x1.5166b462e2981p-12, -0x1.a0a30bc4d2ab0p-13, 0x1.1b3d0c1715409p-8,
                    -0x1.3180da4a55d01p-6, 0x1.ba72f15ef69e7p-5, -0x1.f7fd507666b89p-4,
                    0x1.df1fd0ae6d74ap-3, -0x1.879eb8b072eb4p-2, 0x1.17ee739ebb100p-1,
                    -0x1.618c6444f0716p-1, 0x1.8ccaf5d4dc327p-1);
  }
}
/// erfc(a) / 2 for a >= 0.
template <Real T>
GS_FN T half_erfc(T a) {
  a = min(T(kTailEnd<T> * 0.70710678), a);
  return exp_minus_half(a, a + a) * mills(a * T(0x1.6a09e667f3bcdp+0));
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
  return copysign(select(a < T(1), a + a * erf_poly(a * a), T(1) - T(2) * half_erfc(a)), x);
}
template <Real T>
GS_FN T erfc(T x) {
  T a = abs(x), r = T(2) * half_erfc(a);
  return select(a < T(0.5), T(1) - (x + x * erf_poly(x * x)), select(x < T(0), T(2) - r, r));
}
/// The density and distribution function of the normal distribution. Both need one exponential, and
/// the compiler finds that it is the same.
template <Real T>
GS_FN T normal_pdf(T x) {
  T a = min(T(kTailEnd<T>), abs(x));
  return exp_minus_half(a, a) * T(0x1.9884533d43651p-2);
}
template <Real T>
GS_FN T normal_cdf(T x) {
  T a = min(T(kTailEnd<T>), abs(x)), tail = exp_minus_half(a, a) * mills(a);
  return select(x > T(0), T(1) - tail, tail);
}
/// x normal_cdf(x), in an operation less; -0 where it vanishes, NaN at -inf (-inf times 0).
template <Real T>
GS_FN T times_normal_cdf(T x) {
  T a = max(T(-kTailEnd<T>), -abs(x));
  return max(-T(0), x) + (min(x, a) * exp_minus_half(a, a)) * mills(-a);
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
/// Exact, as fmod is: a quotient below 2^24 (2^53) has the right integer part or, rounded up, one
/// more; both remainders are multiples of the operands' last bits, so they are found exactly.
template <Real T>
GS_FN T fmod(T a, T b) {
  constexpr auto by_lane = [](auto x, auto y) -> ScalarT<T> {
    if constexpr (kIsFloat<T>)
      return __builtin_fmodf(x, y);
    else
      return __builtin_fmod(x, y);
  };
  if constexpr (requires { mul_sub(a, b, a); }) {
    const T x = abs(a), y = abs(b), q = trunc(x / y);
    if (any(!(q < T(kIsFloat<T> ? 0x1p24 : 0x1p53)))) return apply_lanes(by_lane, a, b);
    const T r = -mul_sub(q, y, x);
    return copysign(select(q == T(0), x, select(r < T(0), r + y, r)), a);
  } else {
    return apply_lanes(by_lane, a, b);
  }
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
  T e = exp(-abs(x));  // so that the result is right to the last denormal
  return over_one_plus(select(x < T(0), e, T(1)), e);
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
