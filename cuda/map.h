// SPDX-License-Identifier: Apache-2.0
// The map skeleton on a GPU: register_maps(UnaryOps{}) makes one kernel for each functor and
// compute type, gradients to second order included. Operands that lie as the output does, or are
// one number, are read 16 bytes at a time; others by their strides. Storage types are switched at
// load and store. See cuda/map.cu for the driver.
#pragma once
#include <string>
#include <utility>

#include "cuda/strides.h"
#include "cuda/values.h"
#include "fn/grad.h"

namespace gradstep::cuda {

constexpr int kMapThreads = 256;

/// What a map kernel reads and writes; by value in its arguments.
template <int N>
struct MapArgs {
  int64_t n;
  char* out;
  DType out_type;
  // `vector`: W neighbouring elements of the output lie side by side in every operand (`inner`), or
  // are one and the same there (a bias); `flat`: they all lie as the output does.
  bool vector, flat;
  bool inner[N];
  DType type[N];
  bool constant[N];
  const char* in[N];  // null: a number
  Params::Slot number[N];
  Layout<N + 1> layout;  // the output first
};

/// A number or an element of a constant operand.
template <class C, int N>
GS_DEVICE C constant_of(const MapArgs<N>& a, int j) {
  if (a.in[j]) return load_as<C>(a.in[j], a.type[j], 0);
  if constexpr (std::is_same_v<C, int64_t>)
    return a.number[j].i;
  else
    return C(a.number[j].f);
}

/// One element by its strides. Kept apart from what is copied W times into each kernel.
template <class F, class C, int N, int... J>
GS_DEVICE void map_one(const MapArgs<N>& a, const C (&numbers)[N], int64_t i,
                       std::integer_sequence<int, J...>) {
  int64_t at[N + 1];
  a.layout.offsets(i, at);
  store_as<C>(a.out, a.out_type, at[0],
              F{}((a.constant[J] ? numbers[J] : load_as<C>(a.in[J], a.type[J], at[J + 1]))...));
}

/// W elements a turn: whole turns in one access for each operand, other strides and the last few
/// elements one by one.
template <class F, class C, int W, int N, int... J>
GS_DEVICE void map_elements(const MapArgs<N>& a, std::integer_sequence<int, J...> operands) {
  const C numbers[] = {(a.constant[J] ? constant_of<C>(a, J) : C(0))...};
  // One element a turn needs the loop below only.
  const int64_t whole = W > 1 && a.vector ? a.n / W : 0;
  for (int64_t k = first_index(); k < whole; k += index_stride()) {
    Few<C, W> in[N];
    int64_t at[N + 1];
    GS_UNROLL
    for (int j = 0; j <= N; ++j) at[j] = W * k;
    if (!a.flat) a.layout.offsets(W * k, at);
    GS_UNROLL
    for (int j = 0; j < N; ++j) {
      if (!a.constant[j] && a.inner[j]) {
        in[j] = load_few<W, C>(a.in[j], a.type[j], at[j + 1]);
      } else {
        const C same = a.constant[j] ? numbers[j] : load_as<C>(a.in[j], a.type[j], at[j + 1]);
        GS_UNROLL
        for (int e = 0; e < W; ++e) in[j].v[e] = same;
      }
    }
    Few<C, W> out;
    GS_UNROLL
    for (int e = 0; e < W; ++e) out.v[e] = F{}(in[J].v[e]...);
    store_few<W, C>(a.out, a.out_type, at[0], out);
  }
  for (int64_t i = whole * W + first_index(); i < a.n; i += index_stride()) {
    map_one<F, C>(a, numbers, i, operands);
  }
}

template <class F, class C, int W>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(const __grid_constant__ MapArgs<F::arity> a) {
  map_elements<F, C, W>(a, std::make_integer_sequence<int, F::arity>{});
}

/// Fills in the arguments of a call.
template <int W, int N>
MapArgs<N> map_args(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl* operands[N + 1] = {&out};
  for (int j = 0; j < N; ++j) operands[j + 1] = call.maybe_in(j);
  MapArgs<N> a;
  a.n = out.numel;
  a.out = out.data;
  a.out_type = out.dtype;
  a.layout = Layout<N + 1>(out.sizes, operands);
  const Layout<N + 1>& l = a.layout;
  // True if operand j's elements may be moved W at a time along the innermost axis.
  const auto in_rows = [&](int j, const TensorImpl& t) {
    bool ok = aligned_few(t.data, t.dtype) && (l.ndim == 0 || l.strides[j][0] == 1);
    for (int k = 1; k < l.ndim; ++k) ok = ok && l.strides[j][k] % W == 0;
    return ok;
  };
  a.flat = l.ndim <= 1;
  a.vector = (a.flat || l.sizes[0] % W == 0) && in_rows(0, out);
  int slot = 0;
  for (int j = 0; j < N; ++j) {
    const TensorImpl* t = operands[j + 1];
    a.in[j] = t ? t->data : nullptr;
    a.type[j] = t ? t->dtype : DType::Float32;
    a.constant[j] = !t || l.is_constant(j + 1);
    a.inner[j] = a.constant[j] || in_rows(j + 1, *t);
    if (!t) a.number[j] = call.params.s[slot++];
    a.vector = a.vector && (a.inner[j] || (!a.flat && l.strides[j + 1][0] == 0));
  }
  return a;
}

using MapLaunch = void (*)(const Call&);

template <class F, class C, int W>
void launch_map(const Call& call) {
  launch_grid(call, &map_kernel<F, C, W>, blocks_for(call, call.out(0).numel, kMapThreads, W),
              kMapThreads, map_args<W, F::arity>(call));
}

/// The driver, which picks the compute type and checks that the op has it; cuda/map.cu.
void map_driver(const Call& call);
/// As map_driver; an integer division by zero is reported.
void division_driver(const Call& call);

namespace detail {

template <class F, class C, int W = std::is_same_v<C, double> ? 1 : kFew<C>>
void set_map(Op& op, Compute c) {
  constexpr auto device = static_cast<int>(DeviceType::CUDA);
  op.loops[device][static_cast<int>(c)] = reinterpret_cast<const void*>(&launch_map<F, C, W>);
  if constexpr (requires { F::divides_integers; }) {
    op.kernel[device] = &division_driver;
  } else {
    op.kernel[device] = &map_driver;
  }
}

template <class F>
void set_float_maps(Op& op) {
  set_map<F, float>(op, Compute::F32);
  set_map<F, double>(op, Compute::F64);
}

template <class F>
void set_second_maps(Op& op) {
  set_map<F, float, 1>(op, Compute::F32);
  set_map<F, double, 1>(op, Compute::F64);
}

template <class F, int K, int... J>
void set_grad(std::integer_sequence<int, J...>) {
  if constexpr (F::pass(K) == 0 && K >= F::multilinear) {
    const std::string grad = std::string(F::name) + "_grad" + char('0' + K);
    set_float_maps<Grad<F, K>>(Op::get(grad));
    // Second derivatives are rare, and half of all functors: one element a turn compiles fastest.
    (set_second_maps<GradGrad<F, K, J>>(Op::get(grad + "_grad" + char('0' + J))), ...);
  }
}

template <class F, int... K>
void set_maps(std::integer_sequence<int, K...> operands) {
  Op& op = Op::get(F::name);
  if constexpr (F::types != Bitwise) set_float_maps<F>(op);
  if constexpr (F::types != Floating) set_map<F, int64_t>(op, Compute::I64);
  if constexpr (F::differentiable) (set_grad<F, K>(operands), ...);
}

}  // namespace detail

template <class... F>
void register_maps(Ops<F...>) {
  (detail::set_maps<F>(std::make_integer_sequence<int, int(F::tensor_operands)>{}), ...);
}

}  // namespace gradstep::cuda
