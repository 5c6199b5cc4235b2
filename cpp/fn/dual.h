// SPDX-License-Identifier: Apache-2.0
// Dual<T>: a value and its derivative. f(Dual<T>{x, T(1)}).d is f'(x), so a functor's backward
// kernel needs no second formula; Dual<Dual<T>> gives second derivatives. Every function of math.h
// is here with its rule, written in the same functions, and PyTorch's conventions at kinks.
// Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {

template <class T>
struct Dual {
  T v, d;
  Dual() = default;
  GS_FN Dual(T value, T derivative) : v(value), d(derivative) {}
  GS_FN explicit Dual(T value) : v(value), d(T(0)) {}
  template <Builtin S>
    requires(!kSame<S, T>)
  GS_FN explicit Dual(S value) : v(T(value)), d(T(0)) {}

  GS_FN friend Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
  GS_FN friend Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
  GS_FN friend Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  GS_FN friend Dual operator/(Dual a, Dual b) {
    T q = a.v / b.v;
    return {q, (a.d - q * b.d) / b.v};
  }
  GS_FN friend Dual operator-(Dual a) { return {-a.v, -a.d}; }
  GS_FN Dual& operator+=(Dual b) { return *this = *this + b; }
  GS_FN Dual& operator-=(Dual b) { return *this = *this - b; }
  GS_FN Dual& operator*=(Dual b) { return *this = *this * b; }

  GS_FN friend auto operator<(Dual a, Dual b) { return a.v < b.v; }
  GS_FN friend auto operator<=(Dual a, Dual b) { return a.v <= b.v; }
  GS_FN friend auto operator>(Dual a, Dual b) { return a.v > b.v; }
  GS_FN friend auto operator>=(Dual a, Dual b) { return a.v >= b.v; }
  GS_FN friend auto operator==(Dual a, Dual b) { return a.v == b.v; }
  GS_FN friend auto operator!=(Dual a, Dual b) { return a.v != b.v; }
};

template <class T>
struct ScalarOf<Dual<T>> {
  using type = ScalarT<T>;
};

template <class M, class T>
GS_FN Dual<T> select(M m, Dual<T> a, Dual<T> b) {
  return {select(m, a.v, b.v), select(m, a.d, b.d)};
}
template <class T>
GS_FN Dual<T> max(Dual<T> a, Dual<T> b) {
  return select(a.v > b.v, a, b);
}
template <class T>
GS_FN Dual<T> min(Dual<T> a, Dual<T> b) {
  return select(a.v < b.v, a, b);
}
template <class T>
GS_FN auto signbit(Dual<T> x) {
  return signbit(x.v);
}

// ---- one operand: {f(v), d * f'(v)} ----

#define GS_DUAL(name, ...)           \
  template <class T>                 \
  GS_FN Dual<T> name(Dual<T> x) {    \
    T v = x.v, y = name(v);          \
    return {y, x.d * (__VA_ARGS__)}; \
  }
#define GS_DUAL_STEP(name)        \
  template <class T>              \
  GS_FN Dual<T> name(Dual<T> x) { \
    return {name(x.v), T(0)};     \
  }
GS_DUAL_STEP(sign)
GS_DUAL_STEP(floor)
GS_DUAL_STEP(ceil)
GS_DUAL_STEP(trunc)
GS_DUAL_STEP(round)
GS_DUAL(abs, sign(v))
GS_DUAL(sqrt, T(0.5) / y)
GS_DUAL(rsqrt, T(-0.5) * y * y * y)
GS_DUAL(exp, y)
GS_DUAL(exp2, y* T(kLn2))
GS_DUAL(expm1, y + T(1))
GS_DUAL(log, T(1) / v)
GS_DUAL(log2, T(kLog2e) / v)
GS_DUAL(log10, T(kInvLn10) / v)
GS_DUAL(log1p, T(1) / (v + T(1)))
GS_DUAL(sin, cos(v))
GS_DUAL(cos, -sin(v))
GS_DUAL(tan, T(1) + y * y)
GS_DUAL(asin, rsqrt(T(1) - v * v))
GS_DUAL(acos, -rsqrt(T(1) - v * v))
GS_DUAL(atan, T(1) / (T(1) + v * v))
GS_DUAL(sinh, cosh(v))
GS_DUAL(cosh, sinh(v))
GS_DUAL(tanh, T(1) - y * y)
GS_DUAL(asinh, rsqrt(v* v + T(1)))
GS_DUAL(acosh, rsqrt(v* v - T(1)))
GS_DUAL(atanh, T(1) / (T(1) - v * v))
GS_DUAL(erf, T(kTwoOverSqrtPi) * exp(-(v * v)))
GS_DUAL(erfc, T(-kTwoOverSqrtPi) * exp(-(v * v)))
GS_DUAL(erfinv, T(1 / kTwoOverSqrtPi) * exp(y * y))
GS_DUAL(normal_cdf, normal_pdf(v))
GS_DUAL(normal_pdf, -v* y)
GS_DUAL(times_normal_cdf, normal_cdf(v) + v * normal_pdf(v))
GS_DUAL(lgamma, digamma(v))
GS_DUAL(digamma, polygamma<1>(v))
GS_DUAL(sigmoid, y*(T(1) - y))
GS_DUAL(softplus, sigmoid(v))
GS_DUAL(tanh_softplus, sigmoid(v) * (T(1) - y * y))
GS_DUAL(i0, i1(v))
GS_DUAL(i1, select(v == T(0), T(0.5), i0(v) - y / select(v == T(0), T(1), v)))
#undef GS_DUAL
#undef GS_DUAL_STEP

template <int N, class T>
GS_FN Dual<T> polygamma(Dual<T> x) {
  return {polygamma<N>(x.v), x.d * polygamma<N + 1>(x.v)};
}

// ---- two operands ----

template <class T>
GS_FN Dual<T> copysign(Dual<T> x, Dual<T> s) {
  T y = copysign(x.v, s.v);
  return {y, x.d * sign(x.v) * copysign(T(1), s.v)};
}
template <class T>
GS_FN Dual<T> atan2(Dual<T> y, Dual<T> x) {
  T r = y.v * y.v + x.v * x.v;
  return {atan2(y.v, x.v), (y.d * x.v - x.d * y.v) * select(r == T(0), T(0), T(1) / r)};
}
template <class T>
GS_FN Dual<T> hypot(Dual<T> x, Dual<T> y) {
  T h = hypot(x.v, y.v);
  return {h, (x.d * x.v + y.d * y.v) / h};
}
template <class T>
GS_FN Dual<T> fmod(Dual<T> a, Dual<T> b) {
  return {fmod(a.v, b.v), a.d - b.d * trunc(a.v / b.v)};
}
template <class T>
GS_FN Dual<T> remainder(Dual<T> a, Dual<T> b) {
  return {remainder(a.v, b.v), a.d - b.d * floor(a.v / b.v)};
}
template <class T>
GS_FN Dual<T> trunc_div(Dual<T> a, Dual<T> b) {
  return {trunc_div(a.v, b.v), T(0)};
}
template <class T>
GS_FN Dual<T> floor_div(Dual<T> a, Dual<T> b) {
  return {floor_div(a.v, b.v), T(0)};
}

/// Zero, and so are its derivatives.
template <Real T>
GS_FN auto all_zero(T x) {
  return x == T(0);
}
template <class T>
GS_FN auto all_zero(Dual<T> x) {
  return all_zero(x.v) & all_zero(x.d);
}

/// d pow / da = b a^(b-1), 0 where b is 0.  d pow / db = a^b log a, 0 where a is 0 and b >= 0.
template <class T>
GS_FN T pow_grad_base(T a, T b) {
  return select(b == T(0), T(0), b * pow(a, b - T(1)));
}
template <class T>
GS_FN T pow_grad_exponent(T a, T b, T y) {
  return select((a == T(0)) & (b >= T(0)), T(0), y * log(a));
}
template <class T>
GS_FN Dual<T> pow(Dual<T> a, Dual<T> b) {
  T y = pow(a.v, b.v);
  // A term whose operand does not move is 0, even where its factor is NaN (log of a negative base).
  T da = select(all_zero(a.d), T(0), a.d * pow_grad_base(a.v, b.v));
  T db = select(all_zero(b.d), T(0), b.d * pow_grad_exponent(a.v, b.v, y));
  return {y, da + db};
}

}  // namespace GS_ISA
}  // namespace gradstep
