// SPDX-License-Identifier: Apache-2.0
// Elementary and special functions of float, double and Vec of them: exp(x), pow(x, y), erf(x)...
// with IEEE special values, about 1 ulp, no branch on the main path. A scalar on the host runs the
// same formula as a lane of a Vec (the compiler may fuse multiply-adds differently, an ulp or two).
// Under CUDA the names map to CUDA's. Outside this namespace write gradstep::exp(x): plain exp is
// libm's. Polynomials are our own minimax fits (Remez, relative error). What is elementary stands
// in fn/elementary.h; here are error functions, and what is built from others. Includes
// fn/numbers.h.
#pragma once
#include "fn/numbers.h"
#if GS_CUDA
#include "fn/math_cuda.h"
#else
#include "fn/elementary.h"
#endif

namespace gradstep {
inline namespace GS_ISA {

#if !GS_CUDA
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
#endif  // !GS_CUDA

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
