// SPDX-License-Identifier: Apache-2.0
// Pointwise functors of one element: torch.exp, torch.neg, torch.isnan.. See fn/pointwise.h for the
// rules.
#pragma once
#include "fn/dual.h"
#include "fn/traits.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- unary: sign and rounding ----

struct Neg : UnaryMap {
  static constexpr auto name = "neg";
  static constexpr bool narrow = true;
  static constexpr auto doc = "The negative of each element.";
  static constexpr Types types = Arithmetic;
  static constexpr int pass(int) { return -1; }
  template <class T> GS_FN T operator()(T x) const { return -x; }
  template <class T> GS_FN T grad(T dy, T) const { return -dy; }
};
struct Abs : UnaryMap {
  static constexpr auto name = "abs";
  static constexpr auto doc = "The absolute value of each element.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return abs(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * sign(x); }
};
struct Sign : UnaryMap {
  static constexpr auto name = "sign";
  static constexpr auto doc = "-1, 0 or 1: the sign of each element; 0 of NaN.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return sign(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
struct Sgn : UnaryMap {
  static constexpr auto name = "sgn";
  static constexpr auto doc = "-1, 0 or 1, as sign (complex numbers are not supported).";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return sign(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
struct Ceil : UnaryMap {
  static constexpr auto name = "ceil";
  static constexpr auto doc = "The smallest integer not below each element.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return ceil(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
struct Floor : UnaryMap {
  static constexpr auto name = "floor";
  static constexpr auto doc = "The largest integer not above each element.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return floor(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
struct Trunc : UnaryMap {
  static constexpr auto name = "trunc";
  static constexpr auto doc = "Each element without its fraction.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return trunc(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
struct Round : UnaryMap {
  static constexpr auto name = "round";
  static constexpr auto doc = "The nearest integer, halves to even.";
  static constexpr Types types = Arithmetic;
  template <class T> GS_FN T operator()(T x) const { return round(x); }
  template <class T> GS_FN T grad(T, T) const { return T(0); }
};
/// To a decimal place: one of up and down is a power of ten, the other 1.
struct RoundScaled : TernaryMap {
  static constexpr auto name = "round_scaled";
  static constexpr auto doc = "round(input * up / down) / up * down.";
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 1;
  template <class T> GS_FN T operator()(T x, T up, T down) const {
    return round(x * up / down) / up * down;
  }
  template <int K, class T> GS_FN T grad(T, T, T, T) const { return T(0); }
};
struct Frac : UnaryMap {
  static constexpr auto name = "frac";
  static constexpr auto doc = "The fraction of each element, with its sign.";
  template <class T> GS_FN T operator()(T x) const { return x - trunc(x); }
  template <class T> GS_FN T grad(T dy, T) const { return dy; }
};

// ---- unary: powers, exponentials, logarithms ----

struct Square : UnaryMap {
  static constexpr auto name = "square";
  static constexpr auto doc = "The square of each element.";
  static constexpr Types types = Arithmetic;
  static constexpr int gradient_degree = 1;
  template <class T> GS_FN T operator()(T x) const { return x * x; }
  template <class T> GS_FN T grad(T dy, T x) const { return T(2) * x * dy; }
};
/// Powers of a Python number are these ops where they have one: see pow in ops/pointwise.cpp.
struct Cube : UnaryMap {
  static constexpr auto name = "cube";
  static constexpr auto doc = "input^3.";
  static constexpr Types types = Arithmetic;
  static constexpr int gradient_degree = 2;
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x) const { return x * x * x; }
  template <class T> GS_FN T grad(T dy, T x) const { return T(3) * (x * x) * dy; }
};
struct InverseSquare : UnaryMap {
  static constexpr auto name = "inverse_square";
  static constexpr auto doc = "1 / input^2.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x) const { return T(1) / (x * x); }
  template <class T> GS_FN T grad(T dy, T x) const { return T(-2) * dy / (x * x * x); }
};
struct Sqrt : UnaryMap {
  static constexpr auto name = "sqrt";
  static constexpr auto doc = "The square root of each element; NaN below 0.";
  static constexpr Saves saves = Output;
  template <class T> GS_FN T operator()(T x) const { return sqrt(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy / (T(2) * y); }
};
struct Rsqrt : UnaryMap {
  static constexpr auto name = "rsqrt";
  static constexpr auto doc = "1 / sqrt(input); infinity at 0, NaN below.";
  static constexpr Saves saves = Output;
  template <class T> GS_FN T operator()(T x) const { return rsqrt(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return T(-0.5) * dy * (y * y * y); }
};
struct Reciprocal : UnaryMap {
  static constexpr auto name = "reciprocal";
  static constexpr auto doc = "1 / input.";
  static constexpr Saves saves = Output;
  static constexpr int gradient_degree = 2;
  template <class T> GS_FN T operator()(T x) const { return T(1) / x; }
  template <class T> GS_FN T grad(T dy, T y) const { return -dy * (y * y); }
};
struct Exp : UnaryMap {
  static constexpr auto name = "exp";
  static constexpr auto doc = "e to the power of each element.";
  static constexpr Saves saves = Output;
  static constexpr int gradient_degree = 1;
  template <class T> GS_FN T operator()(T x) const { return exp(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * y; }
};
struct Exp2 : UnaryMap {
  static constexpr auto name = "exp2";
  static constexpr auto doc = "2 to the power of each element.";
  static constexpr Saves saves = Output;
  static constexpr int gradient_degree = 1;
  template <class T> GS_FN T operator()(T x) const { return exp2(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * y * T(kLn2); }
};
struct Expm1 : UnaryMap {
  static constexpr auto name = "expm1";
  static constexpr auto doc = "exp(input) - 1, exact near 0.";
  static constexpr Saves saves = Output;
  template <class T> GS_FN T operator()(T x) const { return expm1(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * (y + T(1)); }
};
struct Log : UnaryMap {
  static constexpr auto name = "log";
  static constexpr auto doc = "The natural logarithm of each element; -infinity at 0, NaN below.";
  template <class T> GS_FN T operator()(T x) const { return log(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / x; }
};
struct Log2 : UnaryMap {
  static constexpr auto name = "log2";
  static constexpr auto doc = "The logarithm to base 2; -infinity at 0, NaN below.";
  template <class T> GS_FN T operator()(T x) const { return log2(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / (x * T(kLn2)); }
};
struct Log10 : UnaryMap {
  static constexpr auto name = "log10";
  static constexpr auto doc = "The logarithm to base 10; -infinity at 0, NaN below.";
  template <class T> GS_FN T operator()(T x) const { return log10(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / (x * T(1 / kInvLn10)); }
};
struct Log1p : UnaryMap {
  static constexpr auto name = "log1p";
  static constexpr auto doc = "log(1 + input), exact near 0; -infinity at -1, NaN below.";
  template <class T> GS_FN T operator()(T x) const { return log1p(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / (x + T(1)); }
};

// ---- unary: trigonometric and hyperbolic ----

struct Sin : UnaryMap {
  static constexpr auto name = "sin";
  static constexpr auto doc = "The sine of each element, in radians.";
  template <class T> GS_FN T operator()(T x) const { return sin(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * cos(x); }
};
struct Cos : UnaryMap {
  static constexpr auto name = "cos";
  static constexpr auto doc = "The cosine of each element, in radians.";
  template <class T> GS_FN T operator()(T x) const { return cos(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return -dy * sin(x); }
};
struct Tan : UnaryMap {
  static constexpr auto name = "tan";
  static constexpr auto doc = "The tangent of each element, in radians.";
  static constexpr Saves saves = Output;
  template <class T> GS_FN T operator()(T x) const { return tan(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * (T(1) + y * y); }
};
struct Asin : UnaryMap {
  static constexpr auto name = "asin";
  static constexpr auto doc =
      "The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1].";
  template <class T> GS_FN T operator()(T x) const { return asin(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * rsqrt(T(1) - x * x); }
};
struct Acos : UnaryMap {
  static constexpr auto name = "acos";
  static constexpr auto doc =
      "The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1].";
  template <class T> GS_FN T operator()(T x) const { return acos(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return -dy * rsqrt(T(1) - x * x); }
};
struct Atan : UnaryMap {
  static constexpr auto name = "atan";
  static constexpr auto doc = "The arc tangent of each element, in [-pi/2, pi/2] radians.";
  template <class T> GS_FN T operator()(T x) const { return atan(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / (x * x + T(1)); }
};
struct Sinh : UnaryMap {
  static constexpr auto name = "sinh";
  static constexpr auto doc = "The hyperbolic sine of each element, (exp(x) - exp(-x)) / 2.";
  template <class T> GS_FN T operator()(T x) const { return sinh(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * cosh(x); }
};
struct Cosh : UnaryMap {
  static constexpr auto name = "cosh";
  static constexpr auto doc = "The hyperbolic cosine of each element, (exp(x) + exp(-x)) / 2.";
  template <class T> GS_FN T operator()(T x) const { return cosh(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * sinh(x); }
};
struct Tanh : UnaryMap {
  static constexpr auto name = "tanh";
  static constexpr auto doc =
      "The hyperbolic tangent of each element, (exp(x) - exp(-x)) / (exp(x) + exp(-x)).";
  static constexpr Saves saves = Output;
  static constexpr unsigned as = Fn | Method | InPlace;
  static constexpr int gradient_degree = 2;
  template <class T> GS_FN T operator()(T x) const { return tanh(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * (T(1) - y * y); }
};
struct Asinh : UnaryMap {
  static constexpr auto name = "asinh";
  static constexpr auto doc = "The inverse of sinh, log(x + sqrt(x^2 + 1)).";
  template <class T> GS_FN T operator()(T x) const { return asinh(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * rsqrt(x * x + T(1)); }
};
struct Acosh : UnaryMap {
  static constexpr auto name = "acosh";
  static constexpr auto doc = "The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1.";
  template <class T> GS_FN T operator()(T x) const { return acosh(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * rsqrt(x * x - T(1)); }
};
struct Atanh : UnaryMap {
  static constexpr auto name = "atanh";
  static constexpr auto doc =
      "The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1].";
  template <class T> GS_FN T operator()(T x) const { return atanh(x); }
  template <class T> GS_FN T grad(T dy, T x) const { return dy / (T(1) - x * x); }
};
struct Deg2rad : UnaryMap {
  static constexpr auto name = "deg2rad";
  static constexpr auto doc = "Degrees to radians: input * pi / 180.";
  template <class T> GS_FN T operator()(T x) const { return x * T(kPi / 180); }
  template <class T> GS_FN T grad(T dy, T) const { return dy * T(kPi / 180); }
};
struct Rad2deg : UnaryMap {
  static constexpr auto name = "rad2deg";
  static constexpr auto doc = "Radians to degrees: input * 180 / pi.";
  template <class T> GS_FN T operator()(T x) const { return x * T(180 / kPi); }
  template <class T> GS_FN T grad(T dy, T) const { return dy * T(180 / kPi); }
};
struct Sinc : UnaryMap {
  static constexpr auto name = "sinc";
  static constexpr auto doc = "sin(pi x) / (pi x), and 1 at 0.";
  template <class T> GS_FN T operator()(T x) const {
    T p = select(x == T(0), T(1), x * T(kPi));
    return select(x == T(0), T(1), sin(p) / p);
  }
};

// ---- unary: special ----

struct Erf : UnaryMap {
  static constexpr auto name = "erf";
  static constexpr auto doc =
      "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.";
  template <class T> GS_FN T operator()(T x) const { return erf(x); }
};
struct Erfc : UnaryMap {
  static constexpr auto name = "erfc";
  static constexpr auto doc = "1 - erf(input), exact where erf is near 1.";
  template <class T> GS_FN T operator()(T x) const { return erfc(x); }
};
struct Erfinv : UnaryMap {
  static constexpr auto name = "erfinv";
  static constexpr auto doc = "The inverse of erf on (-1, 1); infinite at the ends and NaN beyond.";
  static constexpr Saves saves = Output;
  template <class T> GS_FN T operator()(T x) const { return erfinv(x); }
  template <class T> GS_FN T grad(T dy, T y) const {
    return dy * T(1 / kTwoOverSqrtPi) * exp(y * y);
  }
};
struct Lgamma : UnaryMap {
  static constexpr auto name = "lgamma";
  static constexpr auto doc = "log |Gamma(input)|; infinite at 0, -1, -2, ..";
  template <class T> GS_FN T operator()(T x) const { return lgamma(x); }
};
struct Digamma : UnaryMap {
  static constexpr auto name = "digamma";
  static constexpr auto doc = "The derivative of lgamma, Gamma'(x) / Gamma(x).";
  template <class T> GS_FN T operator()(T x) const { return digamma(x); }
};
struct I0 : UnaryMap {
  static constexpr auto name = "i0";
  static constexpr auto doc = "The modified Bessel function of the first kind, order 0.";
  template <class T> GS_FN T operator()(T x) const { return i0(x); }
};
struct Sigmoid : UnaryMap {
  static constexpr auto name = "sigmoid";
  static constexpr auto doc = "The logistic function 1 / (1 + exp(-input)).";
  static constexpr Saves saves = Output;
  static constexpr unsigned as = Fn | Method | InPlace;
  template <class T> GS_FN T operator()(T x) const { return sigmoid(x); }
  template <class T> GS_FN T grad(T dy, T y) const { return dy * (y * (T(1) - y)); }
};
/// eps < 0 stands for None: no clamping.
struct Logit : BinaryMap {
  static constexpr auto name = "logit";
  static constexpr auto doc = "log(z / (1 - z)) with z = input clamped to [eps, 1 - eps].";
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float eps=None";
  template <class T> GS_FN T operator()(T x, T eps) const {
    T lo = select(eps < T(0), x, eps), hi = select(eps < T(0), x, T(1) - eps);
    T z = select(x < lo, lo, select(x > hi, hi, x));
    return log(z / (T(1) - z));
  }
  // Without eps the gradient outside [0, 1] is NaN, with eps it is 0 where clamped.
  template <int K, class T> GS_FN T grad(T dy, T x, T eps) const {
    auto none = eps < T(0);
    T lo = select(none, T(0), eps), hi = T(1) - lo;
    T outside = select(none, T(kNan), T(0));
    return select((x < lo) | (x > hi), outside, dy / (x * (T(1) - x)));
  }
};
struct NanToNum : QuaternaryMap {
  static constexpr auto name = "nan_to_num";
  static constexpr auto doc = "NaN, infinity and -infinity replaced by finite numbers.";
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float nan=0.0, float posinf=None, float neginf=None";
  template <class T> GS_FN T operator()(T x, T nan, T posinf, T neginf) const {
    T y = select(isnan(x), nan, x);
    y = select(x == T(kInf), posinf, y);
    return select(x == T(-kInf), neginf, y);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T, T, T) const {
    return select(x - x == T(0), dy, T(0));
  }
};

// ---- unary: predicates ----

// x - x is 0 for finite numbers (and integers), NaN otherwise.
struct IsNan : PredicateMap {
  static constexpr auto name = "isnan";
  static constexpr auto doc = "True where NaN.";
  template <class T> GS_FN T operator()(T x) const { return select(x != x, T(1), T(0)); }
};
struct IsInf : PredicateMap {
  static constexpr auto name = "isinf";
  static constexpr auto doc = "True where infinite.";
  template <class T> GS_FN T operator()(T x) const {
    return select((x == x) & (x - x != T(0)), T(1), T(0));
  }
};
struct IsFinite : PredicateMap {
  static constexpr auto name = "isfinite";
  static constexpr auto doc = "True where neither infinite nor NaN.";
  template <class T> GS_FN T operator()(T x) const { return select(x - x == T(0), T(1), T(0)); }
};
struct IsPosInf : PredicateMap {
  static constexpr auto name = "isposinf";
  static constexpr auto doc = "True where positive infinity.";
  template <class T> GS_FN T operator()(T x) const {
    return select((x > T(0)) & (x - x != T(0)), T(1), T(0));
  }
};
struct IsNegInf : PredicateMap {
  static constexpr auto name = "isneginf";
  static constexpr auto doc = "True where negative infinity.";
  template <class T> GS_FN T operator()(T x) const {
    return select((x < T(0)) & (x - x != T(0)), T(1), T(0));
  }
};
struct Signbit : PredicateMap {
  static constexpr auto name = "signbit";
  static constexpr auto doc = "True where the sign bit is set, -0 included.";
  template <class T> GS_FN T operator()(T x) const { return select(signbit(x), T(1), T(0)); }
};
struct LogicalNot : PredicateMap {
  static constexpr auto name = "logical_not";
  static constexpr bool narrow = true;
  static constexpr auto doc = "True where an element is 0.";
  static constexpr unsigned as = Fn | Method | InPlace;
  template <class T> GS_FN T operator()(T x) const { return select(x == T(0), T(1), T(0)); }
};
struct BitwiseNot : UnaryMap {
  static constexpr auto name = "bitwise_not";
  static constexpr auto doc = "Every bit flipped.";
  static constexpr Types types = Bitwise;
  static constexpr bool differentiable = false;
  template <class T> GS_FN T operator()(T x) const { return ~x; }
};

// ---- lists ----

using UnaryOps =
    Ops<Neg, Abs, Sign, Sgn, Ceil, Floor, Trunc, Round, RoundScaled, Frac, Square, Cube,
        InverseSquare, Sqrt, Rsqrt, Reciprocal, Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sin, Cos,
        Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Deg2rad, Rad2deg, Sinc, Erf,
        Erfc, Erfinv, Lgamma, Digamma, I0, Sigmoid, Logit, NanToNum, BitwiseNot>;
using Predicates = Ops<IsNan, IsInf, IsFinite, IsPosInf, IsNegInf, Signbit, LogicalNot>;

}  // namespace GS_ISA
}  // namespace gradstep
