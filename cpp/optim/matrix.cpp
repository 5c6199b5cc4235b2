// SPDX-License-Identifier: Apache-2.0
// Adafactor and Muon. See matrix.h.
#include "optim/matrix.h"

#include <cmath>

#include "graph/node.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

namespace {

constexpr StateSpec kStep[] = {{"step", true}};
constexpr StateSpec kRelative[] = {{"relative"}, kStep[0]};
constexpr StateSpec kBuffer[] = {{"momentum_buffer"}};
constexpr Variant kFactors = {"multi_adafactor", kRelative};
constexpr Variant kMomentum = {"multi_muon_momentum", kBuffer};
constexpr Variant kUpdate = {"multi_muon", {}};

Tensor handle(TensorImpl* t) { return Tensor(Ref<TensorImpl>(t)); }

/// The root of the mean square.
Tensor root_mean_square(const Tensor& x, double divided_by = 1) {
  return vector_norm(x) / (std::sqrt(static_cast<double>(x.numel())) * divided_by);
}

void move_towards(const Tensor& average, const Tensor& value, const Tensor& weight) {
  static const Op& lerp = Op::get("lerp");
  map_inplace(lerp, {average, value, weight});
}

Tensor mean_square(const Tensor& x, int64_t dim) {
  return square(vector_norm(x, 2, {dim}, true)) / static_cast<double>(x.size(dim));
}

double epsilon_of(DType dtype) {
  switch (dtype) {
    case DType::Float64: return 0x1p-52;
    case DType::Float16: return 0x1p-10;
    case DType::BFloat16: return 0x1p-7;
    default: return 0x1p-23;
  }
}

}  // namespace

// ---- Adafactor ----

std::vector<AdafactorFactors> adafactor_factors(std::span<TensorImpl* const> params,
                                                std::span<TensorImpl* const> steps,
                                                std::span<const double> h, TensorImpl* lr) {
  std::vector<AdafactorFactors> out;
  out.reserve(params.size());
  UpdateList list(kFactors, h, {.lr = lr}, params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    const DType dtype = wide_type(params[i]->dtype);
    const Tensor numbers = empty({3}, dtype, params[i]->device);
    const auto number = [&](int64_t k) { return alias(numbers, {}, {}, k); };
    const AdafactorFactors& f = out.emplace_back(AdafactorFactors{number(0), number(1), number(2)});
    TensorImpl* const states[] = {f.step.get(), steps[i]};
    list.add(f.shrink.get(), f.weight.get(), states);
  }
  list.run();
  return out;
}

void adafactor_update(const Tensor& p, const Tensor& g, const AdafactorState& state,
                      const AdafactorFactors& factors, double eps1, double eps2, double d) {
  static const Op& multiply = Op::get("mul");
  static const Op& add_product = Op::get("addcmul");
  const GradMode off(false);
  if (eps1 < 0) eps1 = epsilon_of(p.dtype());
  const Tensor step = maximum(root_mean_square(p), eps2) * factors.step;
  Tensor squares = state.each;
  if (state.row.defined()) {
    move_towards(state.row, mean_square(g, -1), factors.weight);
    move_towards(state.col, mean_square(g, -2), factors.weight);
    squares = state.row * state.col / maximum(mean(state.row, {-2}, true), eps1);
  } else {
    move_towards(state.each, square(g), factors.weight);
  }
  const Tensor update = rsqrt(maximum(squares, eps1 * eps1)) * g;
  const Tensor clipped = step / maximum(root_mean_square(update, d), 1);
  map_inplace(multiply, {p, factors.shrink});
  map_inplace(add_product, {p, update, clipped, 1});
}

// ---- Muon ----

std::vector<Tensor> muon_directions(std::span<TensorImpl* const> params,
                                    std::span<TensorImpl* const> grads,
                                    std::span<TensorImpl* const> buffers, std::span<const double> h,
                                    TensorImpl* lr) {
  std::vector<Tensor> out;
  out.reserve(params.size());
  UpdateList list(kMomentum, h, {.lr = lr}, params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& direction = out.emplace_back(empty_like(handle(params[i])));
    list.add(direction.get(), grads[i], &buffers[i]);
  }
  list.run();
  return out;
}

Tensor newton_schulz(const Tensor& matrix, double a, double b, double c, int64_t steps,
                     double eps) {
  const GradMode off(false);
  const bool tall = matrix.size(0) > matrix.size(1);
  Tensor x = to(matrix, DType::BFloat16);
  if (tall) x = t(x);
  x = x / maximum(vector_norm(x), eps);
  for (int64_t k = 0; k < steps; ++k) {
    const Tensor gram = mm(x, t(x));
    x = addmm(x, addmm(gram, gram, gram, b, c), x, a);
  }
  return tall ? t(x) : x;
}

void muon_update(std::span<TensorImpl* const> params, std::span<const Tensor> directions,
                 std::span<const double> h, TensorImpl* lr) {
  UpdateList list(kUpdate, h, {.lr = lr}, params.size());
  for (size_t i = 0; i < params.size(); ++i) list.add(params[i], directions[i].get(), nullptr);
  list.run();
}

}  // namespace gradstep
