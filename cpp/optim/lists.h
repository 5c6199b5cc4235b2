// SPDX-License-Identifier: Apache-2.0
// Lists of tensors, worked on in one fused call for each device and compute type:
//   Tensor before = clip_norm(grads, 1.0, 2);      // all gradients scaled to a total norm of 1
//   multi_zero(grads);
// See Note [Operands of a multi call] in kernels/multi.cpp. May include core, graph, ops.
#pragma once
#include <span>

#include "core/tensor.h"
#include "graph/call.h"

namespace gradstep {

constexpr size_t kMaxOperands = 60000;  // of a call: n_in has 16 bits
constexpr int kExtras = 3;              // operands after the parameters: LiveNumbers

inline void launch_list(const Op& op, Compute compute, std::span<TensorImpl* const> operands,
                        const Params& params) {
  launch({&op, compute, 0, static_cast<uint16_t>(operands.size()), operands.data(), params});
}

/// Gradients to None, or detached and zeroed in place.
void zero_grad(std::span<TensorImpl* const> params, bool set_to_none);
/// x = 0 for all, of any dtypes.
void multi_zero(std::span<TensorImpl* const> tensors);
/// x += alpha * y
void multi_add_scaled(std::span<TensorImpl* const> x, std::span<TensorImpl* const> y, double alpha);
/// x += weight * (y - x)
void multi_lerp(std::span<TensorImpl* const> x, std::span<TensorImpl* const> y, double weight);
/// x = min(max(x, low), high)
void multi_clamp(std::span<TensorImpl* const> tensors, double low, double high);

// ---- norms ----

/// The norm (order 1, 2 or infinity) of all tensors as one vector: a number on the device of the
/// first, in the type that they promote to. There is at least one.
Tensor total_norm(std::span<TensorImpl* const> tensors, double order);
/// x *= min(1, largest / (total + 1e-6)), where `total` is one number.
void scale_to_norm(std::span<TensorImpl* const> tensors, double largest, const Tensor& total);
/// total_norm() and scale_to_norm() in one; returns the norm before.
Tensor clip_norm(std::span<TensorImpl* const> tensors, double largest, double order);

// ---- the scale of a loss ----

/// x *= factor; found_inf, a float, becomes 1 if an element was infinite or NaN. All on one device.
void unscale(std::span<TensorImpl* const> tensors, TensorImpl* found_inf, TensorImpl* factor);
/// After an iteration: adapts the scale (float) by what its steps found, counted in tracker
/// (int32).
void update_loss_scale(TensorImpl* scale, TensorImpl* tracker, TensorImpl* found_inf, double growth,
                       double backoff, int64_t interval);

}  // namespace gradstep
