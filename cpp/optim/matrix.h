// SPDX-License-Identifier: Apache-2.0
// Optimizers that see a parameter as a matrix, so that their steps are no elementwise rules:
// Adafactor (Shazeer and Stern, 2018) and Muon (Jordan, 2024). What is elementwise in them, and
// depends on a group's numbers, is a fused launch with those numbers as params, in the table of
// algorithms; the rest are ops. May include core, graph, ops.
#pragma once
#include <span>
#include <vector>

#include "core/tensor.h"
#include "optim/optimizer.h"

namespace gradstep {

// ---- Adafactor ----

/// What a step number makes of a group's numbers, for one parameter. All 0-d.
struct AdafactorFactors {
  Tensor shrink;  // what weight decay leaves
  Tensor weight;  // of the new squares in their averages
  Tensor step;    // the relative step, negative
};
/// Advances the counters `steps` and computes the factors of each parameter in one launch.
std::vector<AdafactorFactors> adafactor_factors(std::span<TensorImpl* const> params,
                                                std::span<TensorImpl* const> steps,
                                                std::span<const double> h, TensorImpl* lr);
/// The averages of the squares: by rows and columns of the last two dimensions, or (the other two
/// undefined) of each element.
struct AdafactorState {
  Tensor row, col, each;
};
/// Updates one parameter. A negative eps1 means that of its type.
void adafactor_update(const Tensor& p, const Tensor& g, const AdafactorState& state,
                      const AdafactorFactors& factors, double eps1, double eps2, double d);

// ---- Muon ----

/// Updates the momentum and returns the directions, in one launch.
std::vector<Tensor> muon_directions(std::span<TensorImpl* const> params,
                                    std::span<TensorImpl* const> grads,
                                    std::span<TensorImpl* const> buffers, std::span<const double> h,
                                    TensorImpl* lr);
/// The polynomial a x + b x^3 + c x^5 of the singular values of a matrix, `steps` times, in
/// bfloat16: for Muon's coefficients nearly the orthogonal matrix next to it.
Tensor newton_schulz(const Tensor& matrix, double a, double b, double c, int64_t steps, double eps);
/// Weight decay and the step along the directions, in one launch.
void muon_update(std::span<TensorImpl* const> params, std::span<const Tensor> directions,
                 std::span<const double> h, TensorImpl* lr);

}  // namespace gradstep
