// SPDX-License-Identifier: Apache-2.0
// Losses: an elementwise map (fn/activation.h) or a row kernel, then a reduction.
//   cross_entropy(logits, target)    mse_loss(x, y, Reduction::Sum)
// May include core, fn, graph.
#pragma once
#include "ops/op.h"

namespace gradstep {

enum class Reduction : uint8_t { None, Mean, Sum };
/// "none", "mean" or "sum".
Reduction reduction_of(const std::string& name);
/// The values themselves, their mean or their sum.
Tensor reduced(const Tensor& values, Reduction reduction);

// ---- classes: input is [C], [N, C] or [N, C, d1, ..] ----

Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                int64_t ignore_index = -100, Reduction reduction = Reduction::Mean);
/// target holds class indices, or probabilities in the shape of input.
Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                     int64_t ignore_index = -100, Reduction reduction = Reduction::Mean,
                     double label_smoothing = 0);

// ---- regression ----

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::Mean,
                const Tensor& weight = {});
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::Mean,
               const Tensor& weight = {});
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::Mean,
                      double beta = 1);
Tensor huber_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::Mean,
                  double delta = 1, const Tensor& weight = {});
Tensor poisson_nll_loss(const Tensor& x, const Tensor& target, bool log_input, bool full,
                        double eps, Reduction reduction);
Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Operand& variance, bool full,
                         double eps, Reduction reduction);

// ---- probabilities and margins ----

Tensor binary_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight = {},
                            Reduction reduction = Reduction::Mean);
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target,
                                        const Tensor& weight = {}, const Tensor& pos_weight = {},
                                        Reduction reduction = Reduction::Mean);
/// Reduction::Mean is over all elements; batch_mean divides the sum by the first size instead.
Tensor kl_div(const Tensor& x, const Tensor& target, Reduction reduction, bool batch_mean,
              bool log_target);
Tensor soft_margin_loss(const Tensor& x, const Tensor& target,
                        Reduction reduction = Reduction::Mean);
Tensor hinge_embedding_loss(const Tensor& x, const Tensor& target, double margin,
                            Reduction reduction);
Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin,
                           Reduction reduction);
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin,
                             Reduction reduction);
Tensor multi_margin_loss(const Tensor& x, const Tensor& target, double p, double margin,
                         const Tensor& weight, Reduction reduction);
Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target, const Tensor& weight,
                                   Reduction reduction);
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           double margin, double p, double eps, bool swap, Reduction reduction);
Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double eps, bool keepdim);
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dim, double eps);

}  // namespace gradstep
