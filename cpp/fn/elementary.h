// SPDX-License-Identifier: Apache-2.0
// Elementary functions of float, double and Vec of them on the host: roots, exp, log, pow,
// hyperbolic and trigonometric. See fn/math.h, which is what to include. Includes fn/numbers.h.
#pragma once
#include "fn/numbers.h"

namespace gradstep {
inline namespace GS_ISA {

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

}  // namespace GS_ISA
}  // namespace gradstep
