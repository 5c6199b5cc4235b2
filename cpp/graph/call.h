// SPDX-License-Identifier: Apache-2.0
// The call record and the narrow waist. Every kernel, forward, backward, optimizer and random, is
// run as
//   TensorImpl* operands[] = {out, a, b};
//   launch({&op, compute, 1, 2, operands, params});
// An operand that is null is a Python number: its value is the next slot of `params`, in order.
// An Op is found by name and shared by all layers: shape rules and derivatives fill it from
// cpp/ops, each device fills in its kernel. May include core and fn.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/scalar.h"
#include "core/tensor.h"

namespace gradstep {

struct Call;
struct Op;
struct Backward;
using Kernel = void (*)(const Call&);
using BackwardFn = void (*)(Backward&);

constexpr int kMaxMapOperands = 6;  // tensors and numbers that a map functor takes

/// How a map op's result type follows from its operands.
enum class TypeRule : uint8_t { None, Floating, Arithmetic, Comparison, Bitwise };
// None: not a map op. Comparison: any operands, bool result.

/// What the engine knows about an operation. One object for each name, for the whole process.
struct GS_API Op {
  const char* name = nullptr;
  Kernel kernel[kDevices] = {};
  /// Loops of a map op by device and compute type (kernels/map.h, cuda/map.h); null where it has
  /// none.
  const void* loops[kDevices][kComputes] = {};
  /// The CPU's for tensors that are all of one integer type narrower than int64, from UInt8 on.
  const void* narrow_loops[kNarrowIntegers] = {};
  /// Sends the gradient of the outputs to the inputs; null if the op has no derivative.
  BackwardFn backward = nullptr;
  bool draws = false;           // random numbers of the generator whose address is in slot 0
  uint32_t written_inputs = 0;  // bit k: input k is written, too (from 31 on all)

  // ---- map ops only ----
  TypeRule rule = TypeRule::None;
  uint8_t arity = 0;            // functor operands
  uint8_t tensor_operands = 0;  // leading operands that may be tensors with gradients
  bool saves_output = false;    // the gradient functor reads the result in place of operand 0
  // See Note [Derivatives of map ops] in ops/op.cpp.
  uint8_t multilinear = 0;              // linear in each of the first so many operands
  int8_t pass[kMaxMapOperands] = {};    // +1, -1: d/d(operand k) is that number
  uint8_t reads[kMaxMapOperands] = {};  // bit j: the gradient of operand k reads operand j
  Op* grad[kMaxMapOperands] = {};       // grad[k](dy, operands...) = dy * d/d(operand k)

  /// The op of that name, made at first use.
  static Op& get(std::string_view name);
  /// The op of that name or null.
  static Op* find(std::string_view name);
};

/// Small plain arguments of a call: numbers by position. The op gives each slot its meaning.
struct Params {
  static constexpr int kSlots = 14;
  union Slot {
    int64_t i;
    double f;
  };
  Slot s[kSlots];
  uint8_t count = 0;

  Params() {}
  void push(int64_t v) { s[count++].i = v; }
  void push(double v) { s[count++].f = v; }
  /// A number in the representation that the compute type reads.
  void push(const Scalar& v, Compute c) {
    if (c == Compute::I64) {
      push(v.to_int());
    } else {
      push(v.to_double());
    }
  }
  void push(const Dims& d) {
    for (const int64_t x : d) push(x);
  }
};

struct Call {
  const Op* op;
  Compute compute;  // map and reduce: the type of the arithmetic
  uint8_t n_out;
  uint16_t n_in;
  TensorImpl* const* operands;  // outputs, then inputs
  Params params;

  TensorImpl& out(int i) const { return *operands[i]; }
  TensorImpl& in(int i) const { return *operands[n_out + i]; }
  TensorImpl* maybe_in(int i) const { return operands[n_out + i]; }
  int64_t i(int slot) const { return params.s[slot].i; }
  double f(int slot) const { return params.s[slot].f; }
};

/// Whether a call of this op writes operand k. Calls without outputs work on their inputs (see
/// Note [Operands of a multi call]).
inline bool writes_operand(const Op& op, int n_out, int k) {
  return k < n_out || n_out == 0 || (op.written_inputs >> std::min(k - n_out, 31) & 1);
}

[[noreturn]] void fail_no_kernel(const Call& call, DeviceType device);

/// The same where somebody looks on.
void launch_watched(const Call& call, Kernel kernel);

/// Runs a call on the device of its first operand: the only way to a kernel.
inline void launch(const Call& call) {
  const DeviceType device = call.operands[0]->device.type;
  const Kernel kernel = call.op->kernel[static_cast<int>(device)];
  if (!kernel) [[unlikely]]
    fail_no_kernel(call, device);
  if (g_watcher) [[unlikely]]
    return launch_watched(call, kernel);
  kernel(call);
}

/// For static initialisers in kernels/ and cuda/: `const KernelRegistration r("gather",
/// DeviceType::CPU, &gather);`
struct KernelRegistration {
  KernelRegistration(const char* op, DeviceType device, Kernel kernel) {
    Op::get(op).kernel[static_cast<int>(device)] = kernel;
  }
};
#define GS_CPU_KERNEL(op, function)                                                                \
  static const ::gradstep::KernelRegistration register_##function(op, ::gradstep::DeviceType::CPU, \
                                                                  &function)

}  // namespace gradstep
