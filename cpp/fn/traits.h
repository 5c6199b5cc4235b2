// SPDX-License-Identifier: Apache-2.0
// What a functor says about itself: name, where it appears in Python, dtype rule, what its gradient
// needs. A functor derives from UnaryMap, BinaryMap.. and overrides what differs:
//   struct Exp : UnaryMap {
//     static constexpr auto name = "exp", doc = "e to the input.";
//     template <class T> GS_FN T operator()(T x) const { return exp(x); }
//   };
// Ops<Exp, ...> lists them for folding. Includes nothing but fn/config.h.
#pragma once
#include "fn/config.h"

namespace gradstep {
inline namespace GS_ISA {

// Where a functor appears in Python (`as`). None is internal: called by composed ops only.
inline constexpr unsigned Internal = 0;
inline constexpr unsigned Fn = 1;            // gradstep.name(x)
inline constexpr unsigned Method = 2;        // x.name()
inline constexpr unsigned InPlace = 4;       // x.name_(), and inplace=True where PyTorch has it
inline constexpr unsigned NnFunctional = 8;  // gradstep.nn.functional.name(x)

/// The dtype rule (`types`).
enum Types : unsigned char {
  Floating,    // integers promote to the default float type; computes in float or double
  Arithmetic,  // computes in the promoted type: float, double or int64
  Comparison,  // any in, bool out: operator() returns T(1) or T(0)
  Logical,     // any in, read as x != 0, bool out
  Bitwise,     // integers and bool
  Predicate,   // one operand of any type, bool out
};

/// What a hand-written unary gradient takes besides dy (`saves`).
enum Saves : unsigned char { Inputs, Output };

template <int N>
struct Map {
  static constexpr int arity = N;
  /// The leading operands that may be tensors and get gradients; the rest are always scalars.
  static constexpr unsigned tensor_operands = N;
  static constexpr unsigned as = Fn | Method | InPlace;
  static constexpr Types types = Floating;
  static constexpr Saves saves = Inputs;
  static constexpr bool differentiable = true;
  /// Integers of one type may be computed in it: its wrapped result is the low bits of int64's.
  static constexpr bool narrow = false;
  /// The op is linear in each of the first so many operands: d/d(operand k) is the op with dy
  /// there.
  static constexpr int multilinear = 0;
  /// Unary: the power of x in dy * F'(x) as the gradient sees it, 1 or 2, if derivatives of every
  /// order follow from that (c * dy * x, or a + c * x^2). See Note [Any order] in ops/op.cpp.
  static constexpr int gradient_degree = 0;
  /// +1 or -1 where d/d(operand k) is that number: dy is passed on without a kernel.
  static constexpr int pass(int) { return 0; }
  /// Bit j: the gradient of operand k reads operand j.
  static constexpr unsigned reads(int) { return ~0u; }
  /// The Python signature: the first argument, and the rest. An Operand is a tensor or a number.
  static constexpr const char* first = "Tensor input";
  static constexpr const char* params = N == 2 ? "Tensor other" : "";
};
using UnaryMap = Map<1>;
using BinaryMap = Map<2>;
using TernaryMap = Map<3>;
using QuaternaryMap = Map<4>;

struct CompareMap : BinaryMap {
  static constexpr bool narrow = true;
  static constexpr const char* params = "Operand other";
  static constexpr Types types = Comparison;
  static constexpr bool differentiable = false;
};
struct LogicalMap : BinaryMap {
  static constexpr bool narrow = true;
  static constexpr Types types = Logical;
  static constexpr bool differentiable = false;
};
struct BitwiseMap : BinaryMap {
  static constexpr bool narrow = true;
  static constexpr const char* first = "Operand input";
  static constexpr const char* params = "Operand other";
  static constexpr Types types = Bitwise;
  static constexpr bool differentiable = false;
};
struct PredicateMap : UnaryMap {
  static constexpr unsigned as = Fn | Method;
  static constexpr Types types = Predicate;
  static constexpr bool differentiable = false;
};

/// A list of functors: [&]<class... F>(Ops<F...>) { (use<F>(), ...); }(UnaryOps{}).
template <class... F>
struct Ops {
  static constexpr int size = sizeof...(F);
};
template <class... A, class... B>
constexpr Ops<A..., B...> operator+(Ops<A...>, Ops<B...>) {
  return {};
}

}  // namespace GS_ISA
}  // namespace gradstep
