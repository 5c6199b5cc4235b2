// SPDX-License-Identifier: Apache-2.0
// Mixed precision: which functions run in a lower precision, and the casts of their arguments.
//   set_autocast(DeviceType::CPU, true);    // bfloat16, or what autocast_state() says
//   const Cast cast = cast_of("linear", DeviceType::CPU);    // Cast::Lower
//   Tensor w = autocast(weight, DType::BFloat16);            // differentiable; kept for leaves
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
  Unsafe,   // is refused
};

/// PyTorch's lists of each device, by the function's Python name.
Cast cast_of(std::string_view function, DeviceType device);

struct AutocastState {
  bool on[kDevices] = {};
  DType dtype[kDevices] = {DType::BFloat16, DType::Float16};
  bool cache = true;  // a leaf's cast is kept until the outermost region ends
  int nesting = 0;
};
/// This thread's.
AutocastState& autocast_state();
/// Turns it on or off; modes().autocast tells whether it is on for any device.
void set_autocast(DeviceType device, bool on);
/// Whether it is on where x is.
inline bool autocasts(const Tensor& x) {
  return modes().autocast && autocast_state().on[static_cast<int>(x.device().type)];
}
/// The lower precision where x is.
inline DType autocast_dtype(const Tensor& x) {
  return autocast_state().dtype[static_cast<int>(x.device().type)];
}

/// x in type `to` if it is of another floating type than float64, else x itself. Undefined stays
/// so.
Tensor autocast(const Tensor& x, DType to);
/// The type that a function with this rule gives its arguments on a device.
DType autocast_type(Cast cast, DeviceType device, std::span<const Tensor> arguments);

/// The casts that a function of that name makes of its arguments where one of them is: those on a
/// GPU make it the GPU's, and only they are cast.
void autocast_arguments(std::string_view function, std::initializer_list<Tensor*> arguments);

/// The cast of a leaf that a function would take now; undefined if it would make one.
Tensor kept_cast(const Tensor& leaf);
/// Keeps a cast, as if a function had made it.
void keep_cast(const Tensor& leaf, const Tensor& cast);
void forget_cast(const Tensor& leaf);
void clear_autocast_cache();

}  // namespace gradstep
