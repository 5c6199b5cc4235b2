// SPDX-License-Identifier: Apache-2.0
// Mixed precision: which functions run in a lower precision, and the casts of their arguments.
//   modes().autocast = true;                // bfloat16, or what autocast_state().dtype says
//   const Cast cast = cast_of("linear");    // Cast::Lower
//   Tensor w = autocast(weight, autocast_state().dtype);  // differentiable; kept for leaves
//
// The casts are made once, where a call comes in from outside (python/function.cpp): what the
// function is composed of then sees the types that it was given. Backward casts nothing: it runs in
// the types of the forward pass.
#pragma once
#include <span>
#include <string_view>

#include "core/tensor.h"

namespace gradstep {

/// What a function does to its floating arguments (never to float64) while autocast is on.
enum class Cast : uint8_t {
  None,     // runs in the types that it gets
  Lower,    // all to the lower precision
  Float,    // all to float32
  Promote,  // all to float32 if one of them is, else to the lower precision
  First,    // all to the type of the first
};

/// PyTorch's lists of the CPU, by the function's Python name.
Cast cast_of(std::string_view function);

struct AutocastState {
  DType dtype = DType::BFloat16;
  bool cache = true;  // a leaf's cast is kept until the outermost region ends
  int nesting = 0;
};
/// This thread's.
AutocastState& autocast_state();

/// x in type `to` if it is of another floating type than float64, else x itself. Undefined stays
/// so.
Tensor autocast(const Tensor& x, DType to);
/// The type that a function with this rule gives its arguments.
DType autocast_type(Cast cast, std::span<const Tensor> arguments);

void clear_autocast_cache();

}  // namespace gradstep
