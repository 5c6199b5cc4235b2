// SPDX-License-Identifier: Apache-2.0
// Random numbers: PyTorch's values for the same seed.
//   Generator& gen = default_generator();  gen.manual_seed(0);
//   Tensor x = randn({2, 3}, gen, {});     uniform_(x, 0, 1, gen);
// Functions that end in _ overwrite their first argument and return it; the gradient of what they
// overwrite is zero. May include core, fn, graph.
#pragma once
#include "core/generator.h"
#include "ops/op.h"

namespace gradstep {

// ---- in place ----

Tensor uniform_(const Tensor& self, double from, double to, Generator& gen);
Tensor normal_(const Tensor& self, double mean, double std, Generator& gen);
Tensor log_normal_(const Tensor& self, double mean, double std, Generator& gen);
Tensor cauchy_(const Tensor& self, double median, double sigma, Generator& gen);
Tensor exponential_(const Tensor& self, double lambda, Generator& gen);
Tensor geometric_(const Tensor& self, double p, Generator& gen);
Tensor bernoulli_(const Tensor& self, double p, Generator& gen);
/// One probability for each element; p is broadcast to self.
Tensor bernoulli_(const Tensor& self, const Tensor& p, Generator& gen);
/// All values of the type from 0 on.
Tensor random_(const Tensor& self, Generator& gen);
/// from .. to - 1, or up to the type's largest value.
Tensor random_(const Tensor& self, int64_t from, std::optional<int64_t> to, Generator& gen);

// ---- new tensors ----

Tensor rand(const Dims& sizes, Generator& gen, Options options);
Tensor randn(const Dims& sizes, Generator& gen, Options options);
Tensor randint(int64_t low, int64_t high, const Dims& sizes, Generator& gen, Options options);
Tensor randperm(int64_t n, Generator& gen, Options options);

/// mean and std are tensors or numbers, at least one of them a tensor.
Tensor normal(const Operand& mean, const Operand& std, Generator& gen);
/// 1 with the probability that the element of p says.
Tensor bernoulli(const Tensor& p, Generator& gen);
Tensor bernoulli(const Tensor& like, double p, Generator& gen);
/// Indices of weights (one row or a matrix of rows), drawn in proportion to them.
Tensor multinomial(const Tensor& weights, int64_t n_samples, bool replacement, Generator& gen);
Tensor poisson(const Tensor& rates, Generator& gen);
/// Gamma numbers of rate 1, differentiable in their shapes (Figurnov et al., "Implicit
/// reparameterization gradients", 2018).
Tensor standard_gamma(const Tensor& shapes, Generator& gen);
/// dx/da of numbers x drawn with shapes a.
Tensor standard_gamma_grad(const Tensor& shapes, const Tensor& x);
/// How many of `counts` trials succeed with probability p each, in counts' dtype.
Tensor binomial(const Tensor& counts, const Tensor& p, Generator& gen);

// ---- dropout ----

Tensor dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen);
/// Whole channels: one draw for each [batch, channel].
Tensor feature_dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen);
/// Keeps mean and variance of SELU's outputs (Klambauer et al., 2017).
Tensor alpha_dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen);
Tensor feature_alpha_dropout(const Tensor& x, double p, bool training, bool inplace,
                             Generator& gen);

}  // namespace gradstep
