// SPDX-License-Identifier: Apache-2.0
// What every op of the device-free layer is written with.
//   map(op, {x, y, 2.0})            an elementwise op: dtype rule, broadcasting, output, node
//   result_type({x, y, 2.0})        PyTorch's promotion over tensors, 0-d tensors and numbers
//   run(op, params, {out}, {a, b})  launches a call
//   static const Op& op = define("gather", &gather_backward);   an op with its derivative
// An op with a derivative of its own is: checks, output, run(), and `if (needs_grad(a))
// record(..)`. An op composed of differentiable ones needs neither. May include core, fn, graph.
#pragma once
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "core/scalar.h"
#include "core/tensor.h"
#include "graph/call.h"
#include "graph/node.h"
#include "graph/node_names.h"

namespace gradstep {

// ---- operands ----

/// A tensor or a Python number.
struct Operand {
  const Tensor* tensor = nullptr;
  Scalar number;
  Operand(const Tensor& t) : tensor(&t) {}
  Operand(Scalar s) : number(s) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  Operand(T v) : number(v) {}
};

DType result_type(std::span<const Operand> operands);
inline DType result_type(std::initializer_list<Operand> operands) {
  return result_type(std::span<const Operand>(operands.begin(), operands.size()));
}
/// Raises unless all defined tensors live on one device; returns it.
Device common_device(std::initializer_list<const Tensor*> tensors, const char* op);

/// Raises "expected scalar type Float but found Double" unless all have the dtype of the first.
void check_same_dtype(const char* op, std::initializer_list<const Tensor*> tensors);

// ---- map ops ----

Tensor map(const Op& op, std::span<const Operand> operands);
inline Tensor map(const Op& op, std::initializer_list<Operand> operands) {
  return map(op, std::span<const Operand>(operands.begin(), operands.size()));
}
/// With the type of the arithmetic given, for ops one of whose operands does not take part in
/// promotion.
Tensor map(const Op& op, std::span<const Operand> operands, DType common);
/// An empty tensor of x's shape that keeps x's layout if that is dense.
Tensor map_output_like(const Tensor& x, DType dtype);
/// Writes the result over operands[0], with PyTorch's rules for in-place.
Tensor map_inplace(const Op& op, std::span<const Operand> operands);
inline Tensor map_inplace(const Op& op, std::initializer_list<Operand> operands) {
  return map_inplace(op, std::span<const Operand>(operands.begin(), operands.size()));
}
/// Gives a map op its derivative (see Note [Derivatives of map ops]), or one that calls it.
void map_backward(Backward& b);
void make_map_op(Op& op, BackwardFn backward = &map_backward);
/// Writes into `out`, elementwise over broadcast operands, without any history (kernels' raw
/// material).
void map_into(const Op& op, const Tensor& out, std::span<const Operand> operands);

// ---- other ops ----

/// The op of that name with its derivative filled in.
Op& define(const char* name, BackwardFn backward = nullptr);

/// Launches; no history. `compute` defaults to that of the first output.
void run(const Op& op, const Params& params, std::initializer_list<const Tensor*> outputs,
         std::initializer_list<const Tensor*> inputs, std::optional<Compute> compute = {});
void run(const Op& op, const Params& params, std::span<const Tensor* const> outputs,
         std::span<const Tensor* const> inputs, Compute compute);

template <class... Slots>
Params params(const Slots&... slots) {
  Params p;
  (p.push(slots), ...);
  return p;
}
inline Params params() { return Params(); }

/// Replaces `self`'s values by those of `value` (same shape after broadcasting, any dtype) and
/// makes the history of self that of `value`: the way to an in-place form of a composed op.
Tensor assign(const Tensor& self, const Tensor& value);

/// For `out=`: resizes out when needed, copies the result into it and returns it.
Tensor write_out(const Tensor& out, const Tensor& result);

}  // namespace gradstep
