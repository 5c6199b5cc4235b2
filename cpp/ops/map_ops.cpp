// SPDX-License-Identifier: Apache-2.0
// Fills the Op of every functor in cpp/fn: dtype rule, operands, and where its derivatives are.
// See Note [Derivatives of map ops] in op.cpp.
#include <string>

#include "fn/grad.h"
#include "ops/linalg.h"

namespace gradstep {

namespace {

constexpr TypeRule rule_of(Types t) {
  switch (t) {
    case Floating: return TypeRule::Floating;
    case Arithmetic: return TypeRule::Arithmetic;
    case Bitwise: return TypeRule::Bitwise;
    default: return TypeRule::Comparison;
  }
}

constexpr uint8_t all_but(int k) { return static_cast<uint8_t>(~(1u << k)); }

/// grad = "name_gradK" takes (dy, operands...); grad_grad = "name_gradK_gradJ" takes (v, dy,
/// operands...).
template <class F>
void define_gradients(Op& op) {
  for (int k = 0; k < op.tensor_operands; ++k) {
    op.pass[k] = static_cast<int8_t>(F::pass(k));
    op.reads[k] = op.pass[k] != 0 ? 0 : static_cast<uint8_t>(F::reads(k));
    if (op.pass[k] != 0) continue;
    if (k < op.multilinear) {
      op.reads[k] &= all_but(k);
      continue;
    }
    const std::string name = std::string(F::name) + "_grad" + std::to_string(k);
    Op& grad = Op::get(name);
    grad.rule = TypeRule::Floating;
    grad.arity = static_cast<uint8_t>(F::arity + 1);
    grad.tensor_operands = static_cast<uint8_t>(op.tensor_operands + 1);
    grad.multilinear = F::gradient_degree == 1 ? 2 : 1;
    for (int i = 0; i < grad.multilinear; ++i) grad.reads[i] = all_but(i);
    make_map_op(grad);
    op.grad[k] = &grad;
    if (F::gradient_degree == 1) continue;
    for (int j = 0; j < op.tensor_operands; ++j) {
      Op& second = Op::get(name + "_grad" + std::to_string(j));
      second.rule = TypeRule::Floating;
      second.arity = static_cast<uint8_t>(F::arity + 2);
      second.tensor_operands = static_cast<uint8_t>(op.tensor_operands + 2);
      second.multilinear = F::gradient_degree == 2 ? 3 : 2;
      for (int i = 0; i < second.tensor_operands; ++i) {
        second.reads[i] = i < second.multilinear ? all_but(i) : 0xff;
      }
      make_map_op(second);
      grad.grad[j + 1] = &second;
      grad.reads[j + 1] = 0xff;
    }
  }
}

template <class F>
void define_op() {
  Op& op = Op::get(F::name);
  op.rule = rule_of(F::types);
  op.arity = static_cast<uint8_t>(F::arity);
  op.tensor_operands = static_cast<uint8_t>(F::tensor_operands);
  op.saves_output = F::saves == Output;
  op.multilinear = static_cast<uint8_t>(F::multilinear);
  static_assert(F::arity + 2 <= kMaxMapOperands);
  if constexpr (F::differentiable) {
    constexpr bool follows_linear =
        std::is_same_v<F, Relu> || std::is_same_v<F, Gelu> || std::is_same_v<F, GeluTanh>;
    make_map_op(op, follows_linear ? &activation_backward : &map_backward);
    define_gradients<F>(op);
  }
}

const bool kDefined = [] {
  [&]<class... F>(Ops<F...>) { (define_op<F>(), ...); }(MapOps{});
  return true;
}();

}  // namespace

}  // namespace gradstep
