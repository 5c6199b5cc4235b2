// SPDX-License-Identifier: Apache-2.0
// Turns functors into the contiguous loops of the map skeleton and puts them into their Op:
//   register_loops(UnaryOps{});
// Each functor gets a forward loop per compute type, and for the float types its gradients to
// second order.
#pragma once
#include <algorithm>
#include <iterator>
#include <string>

#include "fn/grad.h"
#include "fn/partial.h"
#include "kernels/map.h"

namespace gradstep {
inline namespace GS_ISA {

void register_map_driver(Op& op);
/// As the map driver; an integer division by zero raises.
void register_division_driver(Op& op);

namespace detail {

template <class F, class T, int... I>
void map_loop(void* out, const void* const* in, int64_t n, std::integer_sequence<int, I...>) {
  using V = Native<T>;
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  T* o = static_cast<T*>(out);
  const T* p[] = {static_cast<const T*>(in[I])...};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) F{}(V::load(p[I] + i)...).store(o + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_some(o + i, F{}(load_some<V>(p[I] + i, rest)...), rest);
  }
}

template <class F, class T>
void loop(void* out, const void* const* in, int64_t n) {
  map_loop<F, T>(out, in, n, std::make_integer_sequence<int, F::arity>{});
}

template <class F, class T>
void set_loop(Op& op, Compute c) {
  const MapLoop fn = &loop<F, T>;
  op.loops[static_cast<int>(DeviceType::CPU)][static_cast<int>(c)] =
      reinterpret_cast<const void*>(fn);
  if constexpr (requires { F::divides_integers; }) {
    register_division_driver(op);
  } else {
    register_map_driver(op);
  }
}

template <class F>
void set_float_loops(Op& op) {
  set_loop<F, float>(op, Compute::F32);
  set_loop<F, double>(op, Compute::F64);
}

template <class F, int K, int J>
void set_grad_grad() {
  set_float_loops<GradGrad<F, K, J>>(
      Op::get(std::string(F::name) + "_grad" + char('0' + K) + "_grad" + char('0' + J)));
}

template <class F, int K, int... J>
void set_grad(std::integer_sequence<int, J...>) {
  if constexpr (F::pass(K) == 0 && K >= F::multilinear) {
    set_float_loops<Grad<F, K>>(Op::get(std::string(F::name) + "_grad" + char('0' + K)));
    (set_grad_grad<F, K, J>(), ...);
  }
}

template <class F, int... K>
void set_grads(std::integer_sequence<int, K...> operands) {
  (set_grad<F, K>(operands), ...);
}

template <class F, class... T>
void set_narrow_loops(Op& op) {
  const MapLoop fns[] = {&loop<F, T>...};
  static_assert(std::size(fns) == kNarrowIntegers);
  std::transform(fns, fns + kNarrowIntegers, op.narrow_loops,
                 [](MapLoop fn) { return reinterpret_cast<const void*>(fn); });
}

template <class F>
void set_loops() {
  Op& op = Op::get(F::name);
  if constexpr (F::narrow) set_narrow_loops<F, uint8_t, int8_t, int16_t, int32_t>(op);
  if constexpr (F::types != Bitwise) set_float_loops<F>(op);
  if constexpr (F::types != Floating) set_loop<F, int64_t>(op, Compute::I64);
  if constexpr (F::differentiable)
    set_grads<F>(std::make_integer_sequence<int, int(F::tensor_operands)>{});
}

}  // namespace detail

template <class... F>
void register_loops(Ops<F...>) {
  (detail::set_loops<F>(), ...);
}

}  // namespace GS_ISA
}  // namespace gradstep
