// SPDX-License-Identifier: Apache-2.0
// Pointwise functors: torch.add, torch.clamp.., and in fn/unary.h torch.exp.. Add one and name it
// in the list at the end, with a row in tests/op_samples.py. No branches, no std::, constants as
// T(1). A gradient is written only where the Dual of the forward would be slower or differ from
// PyTorch; its formula then is the whole of it.
#pragma once
#include "fn/unary.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- binary: arithmetic ----

struct Add : BinaryMap {
  static constexpr auto name = "add";
  static constexpr bool narrow = true;
  static constexpr auto doc = "input + other.";
  static constexpr Types types = Arithmetic;
  static constexpr int pass(int) { return 1; }
  template <class T> GS_FN T operator()(T a, T b) const { return a + b; }
  template <int K, class T> GS_FN T grad(T dy, T, T) const { return dy; }
};
struct Sub : BinaryMap {
  static constexpr auto name = "sub";
  static constexpr bool narrow = true;
  static constexpr auto doc = "input - other.";
  static constexpr Types types = Arithmetic;
  static constexpr int pass(int k) { return k == 0 ? 1 : -1; }
  template <class T> GS_FN T operator()(T a, T b) const { return a - b; }
  template <int K, class T> GS_FN T grad(T dy, T, T) const {
    if constexpr (K == 0)
      return dy;
    else
      return -dy;
  }
};
struct AddScaled : TernaryMap {
  static constexpr auto name = "add_scaled";
  static constexpr bool narrow = true;
  static constexpr auto doc = "input + alpha * other.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 2;
  static constexpr int pass(int k) { return k == 0 ? 1 : 0; }
  static constexpr unsigned reads(int) { return 0; }
  template <class T> GS_FN T operator()(T a, T b, T alpha) const { return a + alpha * b; }
  template <int K, class T> GS_FN T grad(T dy, T, T, T alpha) const {
    if constexpr (K == 0)
      return dy;
    else
      return alpha * dy;
  }
};
struct SubScaled : TernaryMap {
  static constexpr auto name = "sub_scaled";
  static constexpr bool narrow = true;
  static constexpr auto doc = "input - alpha * other.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 2;
  static constexpr int pass(int k) { return k == 0 ? 1 : 0; }
  static constexpr unsigned reads(int) { return 0; }
  template <class T> GS_FN T operator()(T a, T b, T alpha) const { return a - alpha * b; }
  template <int K, class T> GS_FN T grad(T dy, T, T, T alpha) const {
    if constexpr (K == 0)
      return dy;
    else
      return -(alpha * dy);
  }
};
struct Mul : BinaryMap {
  static constexpr auto name = "mul";
  static constexpr bool narrow = true;
  static constexpr auto doc = "input * other.";
  static constexpr Types types = Arithmetic;
  static constexpr int multilinear = 2;
  static constexpr const char* first = "Operand input";
  static constexpr const char* params = "Operand other";
  template <class T> GS_FN T operator()(T a, T b) const { return a * b; }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * b;
    else
      return dy * a;
  }
};
struct Div : BinaryMap {
  static constexpr auto name = "div";
  static constexpr auto doc = "input / other, always in floating point.";
  static constexpr int multilinear = 1;
  template <class T> GS_FN T operator()(T a, T b) const { return a / b; }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy / b;
    else
      return -dy * ((a / b) / b);
  }
};
struct FloorDivide : BinaryMap {
  static constexpr auto name = "floor_divide";
  static constexpr auto doc = "input // other, rounded down.";
  static constexpr Types types = Arithmetic;
  static constexpr bool divides_integers = true;
  static constexpr unsigned reads(int) { return 0; }
  template <class T> GS_FN T operator()(T a, T b) const { return floor_div(a, b); }
  template <int K, class T> GS_FN T grad(T, T, T) const { return T(0); }
};
struct TruncDivide : BinaryMap {
  static constexpr auto name = "div_trunc";
  static constexpr auto doc = "input / other, rounded towards 0.";
  static constexpr Types types = Arithmetic;
  static constexpr bool divides_integers = true;
  static constexpr unsigned as = Internal;
  static constexpr unsigned reads(int) { return 0; }
  template <class T> GS_FN T operator()(T a, T b) const { return trunc_div(a, b); }
  template <int K, class T> GS_FN T grad(T, T, T) const { return T(0); }
};
struct Remainder : BinaryMap {
  static constexpr auto name = "remainder";
  static constexpr auto doc = "Python's input % other: the result has the sign of other.";
  static constexpr Types types = Arithmetic;
  static constexpr bool divides_integers = true;
  template <class T> GS_FN T operator()(T a, T b) const { return remainder(a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy;
    else
      return -dy * floor(a / b);
  }
};
struct Fmod : BinaryMap {
  static constexpr auto name = "fmod";
  static constexpr auto doc = "C's fmod: the result has the sign of input.";
  static constexpr Types types = Arithmetic;
  static constexpr bool divides_integers = true;
  static constexpr const char* params = "Operand other";
  template <class T> GS_FN T operator()(T a, T b) const { return fmod(a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy;
    else
      return -dy * trunc(a / b);
  }
};
struct Pow : BinaryMap {
  static constexpr auto name = "pow";
  static constexpr auto doc = "input to the power of exponent.";
  static constexpr Types types = Arithmetic;
  static constexpr const char* params = "Tensor exponent";
  template <class T> GS_FN T operator()(T a, T b) const { return pow(a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * pow_grad_base(a, b);
    else
      return dy * pow_grad_exponent(a, b, pow(a, b));
  }
};

// ---- binary: order (a tie gives each side half of the gradient; NaN wins in maximum, loses in
// fmax) ----

struct Maximum : BinaryMap {
  static constexpr auto name = "maximum";
  static constexpr auto doc = "The larger of the two; NaN if either is.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const { return select((a > b) | (a != a), a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return select(a == b, dy * T(0.5), select(a < b, T(0), dy));
    else
      return select(a == b, dy * T(0.5), select(b < a, T(0), dy));
  }
};
struct Minimum : BinaryMap {
  static constexpr auto name = "minimum";
  static constexpr auto doc = "The smaller of the two; NaN if either is.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const { return select((a < b) | (a != a), a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return select(a == b, dy * T(0.5), select(a > b, T(0), dy));
    else
      return select(a == b, dy * T(0.5), select(b > a, T(0), dy));
  }
};
struct Fmax : BinaryMap {
  static constexpr auto name = "fmax";
  static constexpr auto doc = "The larger of the two; a NaN gives way to a number.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a >= b) | (b != b), a, b);
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return select((a >= b) | (b != b), dy, T(0));
    else
      return select((a >= b) | (b != b), T(0), dy);
  }
};
struct Fmin : BinaryMap {
  static constexpr auto name = "fmin";
  static constexpr auto doc = "The smaller of the two; a NaN gives way to a number.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a <= b) | (b != b), a, b);
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return select((a <= b) | (b != b), dy, T(0));
    else
      return select((a <= b) | (b != b), T(0), dy);
  }
};
struct ClampMin : BinaryMap {
  static constexpr auto name = "clamp_min";
  static constexpr auto doc = "max(input, min).";
  static constexpr Types types = Arithmetic;
  static constexpr const char* params = "Tensor min";
  template <class T> GS_FN T operator()(T x, T lo) const {
    return select((x < lo) | (lo != lo), lo, x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T lo) const {
    if constexpr (K == 0)
      return select(x >= lo, dy, T(0));
    else
      return select(x < lo, dy, T(0));
  }
};
struct ClampMax : BinaryMap {
  static constexpr auto name = "clamp_max";
  static constexpr auto doc = "min(input, max).";
  static constexpr Types types = Arithmetic;
  static constexpr const char* params = "Tensor max";
  template <class T> GS_FN T operator()(T x, T hi) const {
    return select((x > hi) | (hi != hi), hi, x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T hi) const {
    if constexpr (K == 0)
      return select(x <= hi, dy, T(0));
    else
      return select(x > hi, dy, T(0));
  }
};
struct Clamp : TernaryMap {
  static constexpr auto name = "clamp";
  static constexpr auto doc = "min(max(input, min), max).";
  static constexpr Types types = Arithmetic;
  static constexpr const char* params = "Tensor min=None, Tensor max=None";
  template <class T> GS_FN T operator()(T x, T lo, T hi) const {
    T y = select((x < lo) | (lo != lo), lo, x);
    return select((y > hi) | (hi != hi), hi, y);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T lo, T hi) const {
    if constexpr (K == 0)
      return select((x >= lo) & (x <= hi), dy, T(0));
    else if constexpr (K == 1)
      return select((x < lo) & (lo < hi), dy, T(0));
    else
      return select((x > hi) | (hi < lo), dy, T(0));
  }
};
struct Heaviside : BinaryMap {
  static constexpr auto name = "heaviside";
  static constexpr auto doc = "0 below 0, 1 above, values at 0.";
  static constexpr Types types = Arithmetic;
  static constexpr bool differentiable = false;
  static constexpr const char* params = "Tensor values";
  template <class T> GS_FN T operator()(T x, T values) const {
    return select(x == T(0), values, select(x > T(0), T(1), T(0)));
  }
};

// ---- binary: special ----

struct Atan2 : BinaryMap {
  static constexpr auto name = "atan2";
  static constexpr auto doc = "The angle of the point (other, input), in (-pi, pi].";
  template <class T> GS_FN T operator()(T a, T b) const { return atan2(a, b); }
};
struct Hypot : BinaryMap {
  static constexpr auto name = "hypot";
  static constexpr auto doc = "sqrt(input^2 + other^2) without overflow.";
  template <class T> GS_FN T operator()(T a, T b) const { return hypot(a, b); }
};
struct Copysign : BinaryMap {
  static constexpr auto name = "copysign";
  static constexpr auto doc = "The magnitude of input with the sign of other.";
  static constexpr const char* params = "Operand other";
  template <class T> GS_FN T operator()(T a, T b) const { return copysign(a, b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * sign(a) * copysign(T(1), b);
    else
      return T(0);
  }
};
// Equal operands (infinities too) have no difference to compute.
struct Logaddexp : BinaryMap {
  static constexpr auto name = "logaddexp";
  static constexpr auto doc = "log(exp(input) + exp(other)) without overflow.";
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const {
    T gap = select(a == b, T(0), abs(a - b));
    return select(a > b, a, b) + log1p(exp(-gap));
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * sigmoid(select(a == b, T(0), a - b));
    else
      return dy * sigmoid(select(a == b, T(0), b - a));
  }
};
struct Logaddexp2 : BinaryMap {
  static constexpr auto name = "logaddexp2";
  static constexpr auto doc = "log2(2^input + 2^other) without overflow.";
  static constexpr unsigned as = Fn | Method;
  template <class T> GS_FN T operator()(T a, T b) const {
    T gap = select(a == b, T(0), abs(a - b));
    return select(a > b, a, b) + log1p(exp2(-gap)) * T(kLog2e);
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * sigmoid(select(a == b, T(0), (a - b) * T(kLn2)));
    else
      return dy * sigmoid(select(a == b, T(0), (b - a) * T(kLn2)));
  }
};
struct Xlogy : BinaryMap {
  static constexpr auto name = "xlogy";
  static constexpr auto doc = "input * log(other), 0 where input is 0.";
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a == T(0)) & (b == b), T(0), a * log(b));
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return select((a == T(0)) & (b <= T(0)), T(0), dy * log(b));
    else
      return dy * a / b;
  }
};
struct Ldexp : BinaryMap {
  static constexpr auto name = "ldexp";
  static constexpr auto doc = "input * 2^other.";
  template <class T> GS_FN T operator()(T a, T b) const { return a * exp2(b); }
  template <int K, class T> GS_FN T grad(T dy, T a, T b) const {
    if constexpr (K == 0)
      return dy * exp2(b);
    else
      return dy * a * exp2(b) * T(kLn2);
  }
};

// ---- comparisons, logic, bits ----

struct Eq : CompareMap {
  static constexpr auto name = "eq";
  static constexpr auto doc = "True where input == other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a == b, T(1), T(0)); }
};
struct Ne : CompareMap {
  static constexpr auto name = "ne";
  static constexpr auto doc = "True where input != other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a != b, T(1), T(0)); }
};
struct Lt : CompareMap {
  static constexpr auto name = "lt";
  static constexpr auto doc = "True where input < other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a < b, T(1), T(0)); }
};
struct Le : CompareMap {
  static constexpr auto name = "le";
  static constexpr auto doc = "True where input <= other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a <= b, T(1), T(0)); }
};
struct Gt : CompareMap {
  static constexpr auto name = "gt";
  static constexpr auto doc = "True where input > other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a > b, T(1), T(0)); }
};
struct Ge : CompareMap {
  static constexpr auto name = "ge";
  static constexpr auto doc = "True where input >= other.";
  template <class T> GS_FN T operator()(T a, T b) const { return select(a >= b, T(1), T(0)); }
};
// Equal infinities are close; a NaN is close to nothing (equal_nan is for the caller).
struct IsClose : QuaternaryMap {
  static constexpr auto name = "isclose";
  static constexpr auto doc = "True where |input - other| <= atol + rtol * |other|.";
  static constexpr Types types = Comparison;
  static constexpr bool differentiable = false;
  static constexpr unsigned tensor_operands = 2;
  static constexpr const char* params =
      "Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False";
  template <class T> GS_FN T operator()(T a, T b, T rtol, T atol) const {
    T gap = abs(a - b);
    return select((a == b) | ((gap - gap == T(0)) & (gap <= atol + abs(rtol * b))), T(1), T(0));
  }
};
struct LogicalAnd : LogicalMap {
  static constexpr auto name = "logical_and";
  static constexpr auto doc = "True where both are not 0.";
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a != T(0)) & (b != T(0)), T(1), T(0));
  }
};
struct LogicalOr : LogicalMap {
  static constexpr auto name = "logical_or";
  static constexpr auto doc = "True where either is not 0.";
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a != T(0)) | (b != T(0)), T(1), T(0));
  }
};
struct LogicalXor : LogicalMap {
  static constexpr auto name = "logical_xor";
  static constexpr auto doc = "True where exactly one is not 0.";
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((a != T(0)) ^ (b != T(0)), T(1), T(0));
  }
};
struct BitwiseAnd : BitwiseMap {
  static constexpr auto name = "bitwise_and";
  static constexpr auto doc = "input & other, bit by bit.";
  template <class T> GS_FN T operator()(T a, T b) const { return a & b; }
};
struct BitwiseOr : BitwiseMap {
  static constexpr auto name = "bitwise_or";
  static constexpr auto doc = "input | other, bit by bit.";
  template <class T> GS_FN T operator()(T a, T b) const { return a | b; }
};
struct BitwiseXor : BitwiseMap {
  static constexpr auto name = "bitwise_xor";
  static constexpr auto doc = "input ^ other, bit by bit.";
  template <class T> GS_FN T operator()(T a, T b) const { return a ^ b; }
};
struct LeftShift : BitwiseMap {
  static constexpr auto name = "bitwise_left_shift";
  static constexpr bool narrow = false;
  static constexpr auto doc = "input << other; 0 where other is not in [0, 64).";
  template <class T> GS_FN T operator()(T a, T b) const {
    return select((b < T(0)) | (b > T(63)), T(0), a << (b & T(63)));
  }
};
struct RightShift : BitwiseMap {
  static constexpr auto name = "bitwise_right_shift";
  static constexpr bool narrow = false;
  static constexpr auto doc = "input >> other; the sign where other is not in [0, 64).";
  template <class T> GS_FN T operator()(T a, T b) const {
    return a >> select((b < T(0)) | (b > T(63)), T(63), b);
  }
};

// ---- three and four operands ----

struct Addcmul : QuaternaryMap {
  static constexpr auto name = "addcmul";
  static constexpr auto doc = "input + value * tensor1 * tensor2.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned tensor_operands = 3;
  static constexpr const char* params = "Tensor tensor1, Tensor tensor2, *, Number value=1";
  static constexpr int pass(int k) { return k == 0 ? 1 : 0; }
  static constexpr unsigned reads(int k) { return k == 1 ? 4u : 2u; }
  template <class T> GS_FN T operator()(T a, T b, T c, T value) const { return a + value * b * c; }
  template <int K, class T> GS_FN T grad(T dy, T, T b, T c, T value) const {
    if constexpr (K == 0)
      return dy;
    else if constexpr (K == 1)
      return dy * value * c;
    else
      return dy * value * b;
  }
};
struct Addcdiv : QuaternaryMap {
  static constexpr auto name = "addcdiv";
  static constexpr auto doc = "input + value * tensor1 / tensor2.";
  static constexpr unsigned tensor_operands = 3;
  static constexpr const char* params = "Tensor tensor1, Tensor tensor2, *, Number value=1";
  static constexpr int pass(int k) { return k == 0 ? 1 : 0; }
  static constexpr unsigned reads(int k) { return k == 1 ? 4u : 6u; }
  template <class T> GS_FN T operator()(T a, T b, T c, T value) const { return a + value * b / c; }
  template <int K, class T> GS_FN T grad(T dy, T, T b, T c, T value) const {
    if constexpr (K == 0)
      return dy;
    else if constexpr (K == 1)
      return dy * value / c;
    else
      return -dy * value * b / (c * c);
  }
};
/// Exact at both ends: from the start for |weight| < 1/2, from the end otherwise.
struct Lerp : TernaryMap {
  static constexpr auto name = "lerp";
  static constexpr auto doc = "input + weight * (end - input).";
  static constexpr const char* params = "Tensor end, Operand weight";
  static constexpr unsigned reads(int k) { return k == 2 ? 3u : 4u; }
  template <class T> GS_FN T operator()(T a, T b, T w) const {
    T d = b - a;
    return select(abs(w) < T(0.5), a + w * d, b - d * (T(1) - w));
  }
  template <int K, class T> GS_FN T grad(T dy, T a, T b, T w) const {
    if constexpr (K == 0)
      return dy * (T(1) - w);
    else if constexpr (K == 1)
      return dy * w;
    else
      return dy * (b - a);
  }
};

struct Where : TernaryMap {
  static constexpr auto name = "where";
  static constexpr auto doc = "input where condition, else other.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Internal;
  static constexpr unsigned reads(int) { return 1; }
  template <class T> GS_FN T operator()(T condition, T a, T b) const {
    return select(condition != T(0), a, b);
  }
  template <int K, class T> GS_FN T grad(T dy, T condition, T, T) const {
    if constexpr (K == 0)
      return T(0);
    else if constexpr (K == 1)
      return select(condition != T(0), dy, T(0));
    else
      return select(condition != T(0), T(0), dy);
  }
};

// ---- lists ----

using BinaryOps = Ops<Add, Sub, AddScaled, SubScaled, Mul, Div, FloorDivide, TruncDivide, Remainder,
                      Fmod, Pow, Maximum, Minimum, Fmax, Fmin, ClampMin, ClampMax, Heaviside, Atan2,
                      Hypot, Copysign, Logaddexp, Logaddexp2, Xlogy, Ldexp>;
using Comparisons = Ops<Eq, Ne, Lt, Le, Gt, Ge, IsClose, LogicalAnd, LogicalOr, LogicalXor>;
using BitwiseOps = Ops<BitwiseAnd, BitwiseOr, BitwiseXor, LeftShift, RightShift>;
using TernaryOps = Ops<Clamp, Addcmul, Addcdiv, Lerp, Where>;

}  // namespace GS_ISA
}  // namespace gradstep
