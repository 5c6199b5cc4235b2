// SPDX-License-Identifier: Apache-2.0
// Gradient functors: Grad<F, K>(dy, x...) = dy * dF/dx_K and GradGrad<F, K, J>(v, dy, x...) = v *
// dGrad/dx_J. A hand-written F::grad is used where there is one, Dual numbers otherwise. Unary
// functors that keep their output get it as x. MapOps is the list of all elementwise functors.
// Includes fn/ only.
#pragma once
#include <utility>

#include "fn/activation.h"
#include "fn/pointwise.h"

namespace gradstep {
inline namespace GS_ISA {

template <class F, int K>
struct Grad {
  static constexpr int arity = F::arity + 1;

  template <class T, class... X>
  GS_FN T operator()(T dy, X... x) const {
    if constexpr (requires { F{}.grad(dy, x...); }) {
      return F{}.grad(dy, x...);
    } else if constexpr (requires { F{}.template grad<K>(dy, x...); }) {
      return F{}.template grad<K>(dy, x...);
    } else {
      return dy * derivative(std::make_integer_sequence<int, F::arity>{}, x...);
    }
  }

 private:
  template <int... I, class... X>
  GS_FN static auto derivative(std::integer_sequence<int, I...>, X... x) {
    return F{}(Dual<X>(x, X(I == K ? 1 : 0))...).d;
  }
};

template <class F, int K, int J>
struct GradGrad {
  static constexpr int arity = F::arity + 2;

  template <class T, class... X>
  GS_FN T operator()(T v, T dy, X... x) const {
    return v * derivative(std::make_integer_sequence<int, F::arity>{}, dy, x...);
  }

 private:
  template <int... I, class T, class... X>
  GS_FN static T derivative(std::integer_sequence<int, I...>, T dy, X... x) {
    return Grad<F, K>{}(Dual<T>(dy, T(0)), Dual<X>(x, X(I == J ? 1 : 0))...).d;
  }
};

using MapOps = decltype(UnaryOps{} + Predicates{} + BinaryOps{} + Comparisons{} + BitwiseOps{} +
                        TernaryOps{} + Activations{} + Losses{});

}  // namespace GS_ISA
}  // namespace gradstep
