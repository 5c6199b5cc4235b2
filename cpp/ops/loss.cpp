// SPDX-License-Identifier: Apache-2.0
// Losses. See ops/loss.h.
#include "ops/loss.h"

#include <cmath>

#include "ops/create.h"
#include "ops/index.h"
#include "ops/nn_norm.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

Reduction reduction_of(const std::string& name) {
  if (name == "mean") return Reduction::Mean;
  if (name == "sum") return Reduction::Sum;
  GS_CHECK_VALUE(name == "none", "{} is not a valid value for reduction", name);
  return Reduction::None;
}

Tensor reduced(const Tensor& values, Reduction reduction) {
  switch (reduction) {
    case Reduction::Mean: return mean(values);
    case Reduction::Sum: return sum(values);
    case Reduction::None: break;
  }
  return values;
}

// ---- negative log-likelihood ----

namespace {

/// Losses of classes seen as input [N, C, inner], target [N, inner].
struct ClassShape {
  int64_t n, classes, inner;
  Dims loss_sizes;  // of the loss without reduction
};

ClassShape class_shape(const Tensor& x, const Tensor& target, const Tensor& weight) {
  GS_CHECK_VALUE(x.ndim() >= 1, "Expected 1 or more dimensions (got {})", x.ndim());
  ClassShape s;
  if (x.ndim() == 1) {
    GS_CHECK_VALUE(target.ndim() == 0 || (target.ndim() == 1 && target.numel() == 1),
                   "size mismatch (got input: {}, target: {})", x.sizes(), target.sizes());
    s = {1, x.size(0), 1, target.sizes()};
  } else {
    GS_CHECK_VALUE(target.ndim() > 0 && x.size(0) == target.size(0),
                   "Expected input batch_size ({}) to match target batch_size ({}).", x.size(0),
                   target.ndim() > 0 ? target.size(0) : 0);
    GS_CHECK(x.ndim() != 2 || target.ndim() == 1,
             "0D or 1D target tensor expected, multi-target not supported");
    Dims expected = x.sizes();
    expected.erase(1);
    GS_CHECK(target.sizes() == expected, "Expected target size {}, got {}", expected,
             target.sizes());
    s = {x.size(0), x.size(1), 1, expected};
    for (int d = 2; d < x.ndim(); ++d) s.inner *= x.sizes()[d];
  }
  GS_CHECK(target.dtype() == DType::Int64 || target.dtype() == DType::UInt8,
           "expected target dtype to be Long or Byte, but got {}", scalar_name(target.dtype()));
  if (weight.defined()) {
    GS_CHECK(weight.ndim() == 1 && weight.numel() == s.classes,
             "weight tensor should be defined either for all {} classes or no classes but got "
             "weight tensor of "
             "shape: {}",
             s.classes, weight.sizes());
    GS_CHECK(weight.dtype() == x.dtype(), "expected scalar type {} but found {}",
             scalar_name(x.dtype()), scalar_name(weight.dtype()));
  }
  return s;
}

Tensor target_rows(const Tensor& target, const ClassShape& s) {
  return contiguous(reshape(to(target, DType::Int64), {s.n, s.inner}));
}

// The gradient of nll_rows with respect to its input, itself linear in the incoming gradient.
Tensor nll_rows_gradient(const Tensor& dy, const Tensor& target, const Tensor& weight,
                         const Params& p);

// params: ignore_index, classes. Kept: target, weight.
void nll_rows_backward(Backward& b) {
  b.set(0, nll_rows_gradient(b.grad(), b.saved(0), b.saved(1), b.node.params));
}

struct NllRows {
  Tensor loss, weight;  // [N, inner]; the weight is 0 where the target is ignored
};

NllRows nll_rows(const Tensor& x, const Tensor& target, const Tensor& weight, const Params& p) {
  static const Op& op = define("nll_rows", &nll_rows_backward);
  const NllRows out = {empty(target.sizes(), options_of(x)), empty(target.sizes(), options_of(x))};
  const Tensor source = contiguous(detach(x));
  const Tensor class_weight = weight.defined() ? contiguous(detach(weight)) : weight;
  run(op, p, {&out.loss, &out.weight}, {&source, &target, &class_weight});
  if (needs_grad(x)) record(op, p, {&out.loss}, {&x}, {keep(target), keep(class_weight)});
  return out;
}

// Kept: target, weight.
void nll_rows_gradient_backward(Backward& b) {
  b.set(0, nll_rows(b.grad(), b.saved(0), b.saved(1), b.node.params).loss);
}

Tensor nll_rows_gradient(const Tensor& dy, const Tensor& target, const Tensor& weight,
                         const Params& p) {
  static const Op& op = define("nll_rows_backward", &nll_rows_gradient_backward);
  const Tensor dx = empty({target.size(0), p.s[1].i, target.size(1)}, options_of(dy));
  const Tensor source = contiguous(detach(dy));
  run(op, p, {&dx}, {&source, &target, &weight});
  if (needs_grad(dy)) record(op, p, {&dx}, {&dy}, {keep(target), keep(weight)});
  return dx;
}

Tensor reduce_nll(const NllRows& rows, const ClassShape& s, Reduction reduction) {
  if (reduction == Reduction::None) return reshape(rows.loss, s.loss_sizes);
  const Tensor total = sum(rows.loss);
  return reduction == Reduction::Sum ? total : total / sum(rows.weight);
}

}  // namespace

Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight,
                int64_t ignore_index, Reduction reduction) {
  const ClassShape s = class_shape(input, target, weight);
  const Tensor x = reshape(input, {s.n, s.classes, s.inner});
  return show_as(
      reduce_nll(nll_rows(x, target_rows(target, s), weight, params(ignore_index, s.classes)), s,
                 reduction),
      input.ndim() > 2 ? Shown::NllLoss2D : Shown::NllLoss);
}

// ---- cross entropy ----

namespace {

/// A weight of one number for each class, in the shape that broadcasts over x.
Tensor along_classes(const Tensor& weight, const Tensor& x) {
  if (x.ndim() == 1) return weight;
  Dims sizes = Dims::filled(x.ndim(), 1);
  sizes[1] = weight.numel();
  return reshape(weight, sizes);
}

Tensor probability_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight,
                                 int64_t ignore_index, Reduction reduction, double smoothing) {
  GS_CHECK(is_floating(target.dtype()),
           "Expected floating point type for target with class probabilities, got {}",
           scalar_name(target.dtype()));
  GS_CHECK(ignore_index < 0, "ignore_index is not supported for floating point target");
  const int64_t dim = x.ndim() == 1 ? 0 : 1;
  const int64_t classes = x.size(dim);
  GS_CHECK(!weight.defined() || (weight.ndim() == 1 && weight.numel() == classes),
           "cross_entropy: weight tensor should be defined either for all {} classes or no classes "
           "but got weight "
           "tensor of shape: {}",
           classes, weight.sizes());
  const Tensor goal =
      smoothing > 0 ? target * (1 - smoothing) + smoothing / static_cast<double>(classes) : target;
  Tensor terms = log_softmax(x, dim) * goal;
  if (weight.defined()) terms = terms * along_classes(weight, x);
  switch (reduction) {
    case Reduction::None: return neg(sum(terms, {dim}));
    case Reduction::Sum: return neg(sum(terms));
    case Reduction::Mean: break;
  }
  const double rows = classes == 0 ? 0 : static_cast<double>(x.numel() / classes);
  return neg(sum(terms)) / rows;
}

// Rows [N, C] with class indices [N, 1]: the loss and its gradient without log-probabilities in
// between. params: ignore_index, classes, reduction. Kept: x, target, weight, log of the sums of
// rows, total weight.
void cross_entropy_backward(Backward& b) {
  static const Op& kernel = Op::get("cross_entropy_backward");
  const Tensor x = b.saved(0), target = b.saved(1), weight = b.saved(2), total = b.saved(4);
  const auto reduction = static_cast<Reduction>(b.i(2));
  if (!grad_enabled()) {
    const Tensor dx = empty(x.sizes(), options_of(x)), sums = b.saved(3), dy = contiguous(b.grad());
    run(kernel, b.node.params, {&dx}, {&dy, &x, &target, &sums, &total, &weight});
    return b.set(0, dx);
  }
  Tensor dy = widened(b.grad());
  if (reduction == Reduction::Mean) dy = dy / total;
  dy = reduction == Reduction::None ? reshape(dy, target.sizes()) : expand(dy, target.sizes());
  const Tensor wide = widened(x), w = widened(weight);
  const Tensor row_weight = nll_rows(detach(wide), target, w, b.node.params).weight;
  const Tensor at_target = reshape(nll_rows_gradient(dy, target, w, b.node.params), x.sizes());
  b.set(0, to(softmax(wide, 1) * (row_weight * dy) + at_target, x.dtype()));
}

Tensor fused_cross_entropy(const Tensor& rows, const Tensor& target, const Tensor& weight,
                           int64_t ignore_index, Reduction reduction, const Dims& loss_sizes) {
  static const Op& op = define("cross_entropy", &cross_entropy_backward);
  const Tensor x = contiguous(rows);
  const Tensor loss = empty(reduction == Reduction::None ? loss_sizes : Dims{}, options_of(x));
  const DType wide = wide_type(x.dtype());
  const Tensor total = empty({}, wide, x.device()), sums = empty({x.size(0)}, wide, x.device());
  const Tensor class_weight = weight.defined() ? contiguous(detach(weight)) : weight;
  const Params p = params(ignore_index, x.size(1), static_cast<int64_t>(reduction));
  run(op, p, {&loss, &total, &sums}, {&x, &target, &class_weight});
  if (needs_grad(x)) {
    record(op, p, {&loss}, {&x},
           {keep(x), keep(target), keep(class_weight), keep(sums), keep(total)});
  }
  return loss;
}

/// The part of label smoothing: -sum of the log-probabilities of all classes.
Tensor smooth_part(const Tensor& log_probability, const Tensor& target, const Tensor& weight,
                   const NllRows& rows, const ClassShape& s, int64_t ignore_index,
                   Reduction reduction) {
  const int64_t dim = log_probability.ndim() == 1 ? 0 : 1;
  const Tensor weighted =
      weight.defined() ? log_probability * along_classes(weight, log_probability) : log_probability;
  const Tensor all_classes = reshape(neg(sum(weighted, {dim})), s.loss_sizes);
  const Tensor losses = where(eq(target, ignore_index), 0, all_classes);
  if (reduction == Reduction::None) return losses;
  return reduction == Reduction::Sum ? sum(losses) : sum(losses) / sum(rows.weight);
}

}  // namespace

Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight,
                     int64_t ignore_index, Reduction reduction, double label_smoothing) {
  GS_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
           "label_smoothing must be between 0.0 and 1.0. Got: {}",
           std::trunc(label_smoothing) == label_smoothing
               ? Scalar(static_cast<int64_t>(label_smoothing))
               : Scalar(label_smoothing));
  if (input.sizes() == target.sizes()) {
    return probability_cross_entropy(input, target, weight, ignore_index, reduction,
                                     label_smoothing);
  }
  const ClassShape s = class_shape(input, target, weight);
  if (label_smoothing == 0 && s.inner == 1 && s.n > 0 && s.classes > 0 &&
      is_floating(input.dtype())) {
    const Tensor rows = reshape(input, {s.n, s.classes});
    return fused_cross_entropy(rows, target_rows(target, s), weight, ignore_index, reduction,
                               s.loss_sizes);
  }
  const Tensor log_probability = log_softmax(input, input.ndim() == 1 ? 0 : 1);
  const Tensor x = reshape(log_probability, {s.n, s.classes, s.inner});
  const NllRows rows = nll_rows(x, target_rows(target, s), weight, params(ignore_index, s.classes));
  const Tensor loss = reduce_nll(rows, s, reduction);
  if (label_smoothing == 0) return show_as(loss, Shown::NllLoss2D);
  const Tensor smooth =
      smooth_part(log_probability, target, weight, rows, s, ignore_index, reduction);
  return loss * (1 - label_smoothing) + smooth * (label_smoothing / static_cast<double>(s.classes));
}

// ---- regression ----

namespace {

/// Sizes as PyTorch prints them where it shows a Python object.
std::string torch_size(const Dims& d) { return format("torch.Size({})", d); }

Tensor weighted(const Tensor& values, const Tensor& weight, const Tensor& x) {
  GS_CHECK_VALUE(weight.sizes() == x.sizes(), "Weights and input must have the same size.");
  return values * weight;
}

/// The mean is over the weights.
Tensor reduce_weighted(const Tensor& values, const Tensor& weight, const Tensor& x,
                       Reduction reduction, Shown shown) {
  if (!weight.defined()) return show_as(reduced(values, reduction), shown);
  const Tensor w = weighted(values, weight, x);
  return reduction == Reduction::Mean ? sum(w) / sum(weight) : reduced(w, reduction);
}

}  // namespace

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction, const Tensor& weight) {
  static const Op& op = Op::get("mse_elementwise");
  return reduce_weighted(map(op, {x, target}), weight, x, reduction, Shown::MseLoss);
}

Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction, const Tensor& weight) {
  static const Op& op = Op::get("l1_elementwise");
  return reduce_weighted(map(op, {x, target}), weight, x, reduction, Shown::NameOfOp);
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, Reduction reduction, double beta) {
  static const Op& op = Op::get("smooth_l1_elementwise");
  GS_CHECK(beta >= 0, "smooth_l1_loss does not support negative values for beta.");
  return beta == 0 ? l1_loss(x, target, reduction)
                   : show_as(reduced(map(op, {x, target, beta}), reduction), Shown::SmoothL1Loss);
}

Tensor huber_loss(const Tensor& x, const Tensor& target, Reduction reduction, double delta,
                  const Tensor& weight) {
  static const Op& op = Op::get("huber_elementwise");
  GS_CHECK(delta > 0, "huber_loss does not support non-positive values for delta.");
  const Tensor values = map(op, {x, target, delta});
  // Here PyTorch's weighted mean is over the elements.
  if (weight.defined()) return reduced(weighted(values, weight, x), reduction);
  return show_as(reduced(values, reduction), Shown::HuberLoss);
}

Tensor poisson_nll_loss(const Tensor& x, const Tensor& target, bool log_input, bool full,
                        double eps, Reduction reduction) {
  static const Op& plain = Op::get("poisson_nll_elementwise");
  static const Op& logarithmic = Op::get("poisson_nll_log_elementwise");
  Tensor values = log_input ? map(logarithmic, {x, target}) : map(plain, {x, target, eps});
  if (full) {  // Stirling's term, for targets above 1
    const Tensor stirling = target * log(target) - target + log(target * (2 * M_PI)) * 0.5;
    values = values + where(le(target, 1), 0, stirling);
  }
  return reduced(values, reduction);
}

Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Operand& variance, bool full,
                         double eps, Reduction reduction) {
  static const Op& op = Op::get("gaussian_nll_elementwise");
  Tensor var = variance.tensor ? *variance.tensor : full_like(x, variance.number);
  if (!(var.sizes() == x.sizes())) {
    Dims outer = x.sizes();
    if (!outer.empty()) outer.erase(outer.size() - 1);
    if (var.sizes() == outer) {
      var = unsqueeze(var, -1);
    } else {
      Dims last = outer;
      if (!x.sizes().empty()) last.push_back(1);
      GS_CHECK_VALUE(var.sizes() == last || var.ndim() == 0, "var is of incorrect size");
    }
  }
  GS_CHECK_VALUE(!host_value<bool>(any(lt(detach(var), 0))), "var has negative entry/entries");
  // The floor is not differentiated: var keeps its gradient below it.
  const Tensor floor = maximum(detach(var), eps);
  const Tensor clamped = var + (floor - detach(var));
  Tensor values = map(op, {x, target, clamped});
  if (full) values = values + 0.5 * std::log(2 * M_PI);
  return reduced(values, reduction);
}

// ---- probabilities ----

Tensor binary_cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight,
                            Reduction reduction) {
  static const Op& op = Op::get("bce_elementwise");
  GS_CHECK_VALUE(target.sizes() == x.sizes(),
                 "Using a target size ({}) that is different to the input size ({}) is deprecated. "
                 "Please ensure "
                 "they have the same size.",
                 torch_size(target.sizes()), torch_size(x.sizes()));
  Tensor values = map(op, {x, target});
  static const Op& check = Op::get("check_probabilities");  // a GPU reports it later
  const Tensor source = contiguous(detach(x));
  run(check, params(), {}, {&source}, compute_type(x.dtype()));
  if (weight.defined()) values = values * weight;
  return show_as(reduced(values, reduction), Shown::BinaryCrossEntropy);
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target, const Tensor& weight,
                                        const Tensor& pos_weight, Reduction reduction) {
  static const Op& plain = Op::get("bce_with_logits_elementwise");
  static const Op& weighted = Op::get("bce_with_logits_pos_weight_elementwise");
  GS_CHECK_VALUE(target.sizes() == x.sizes(),
                 "Target size ({}) must be the same as input size ({})", torch_size(target.sizes()),
                 torch_size(x.sizes()));
  Tensor values =
      pos_weight.defined() ? map(weighted, {x, target, pos_weight}) : map(plain, {x, target});
  if (weight.defined()) values = values * weight;
  return show_as(reduced(values, reduction), Shown::BinaryCrossEntropyWithLogits);
}

Tensor kl_div(const Tensor& x, const Tensor& target, Reduction reduction, bool batch_mean,
              bool log_target) {
  static const Op& plain = Op::get("kl_div_elementwise");
  static const Op& logarithmic = Op::get("kl_div_log_elementwise");
  const Tensor values = map(log_target ? logarithmic : plain, {x, target});
  if (!batch_mean) return reduced(values, reduction);
  GS_CHECK_INDEX(x.ndim() > 0, "Dimension specified as 0 but tensor has no dimensions");
  return sum(values) / static_cast<double>(x.size(0));
}

// ---- margins ----

namespace {
Tensor positive_part(const Tensor& x) { return relu(x); }
}  // namespace

Tensor soft_margin_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  static const Op& op = Op::get("soft_margin_elementwise");
  return show_as(reduced(map(op, {x, target}), reduction), Shown::SoftMarginLoss);
}

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& target, double margin,
                            Reduction reduction) {
  const Tensor apart = where(eq(target, 1), 0, positive_part(sub(margin, x)));
  const Tensor together = where(eq(target, -1), 0, x);
  return reduced(apart + together, reduction);
}

Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin,
                           Reduction reduction) {
  GS_CHECK(a.ndim() == b.ndim() && a.ndim() == target.ndim(),
           "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
           "input1: {}, input2: "
           "{}, target: {} ",
           a.sizes(), b.sizes(), target.sizes());
  return reduced(positive_part(neg(target) * (a - b) + margin), reduction);
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin,
                             Reduction reduction) {
  GS_CHECK(target.ndim() == 0 || target.ndim() == 1,
           "0D or 1D target tensor expected, multi-target not supported");
  constexpr double kEpsilon = 1e-12;
  const int64_t dim = target.ndim();
  const Tensor product = sum(a * b, {dim});
  const Tensor cosine =
      product / sqrt((sum(a * a, {dim}) + kEpsilon) * (sum(b * b, {dim}) + kEpsilon));
  const Tensor together = where(eq(target, 1), sub(1, cosine), 0);
  const Tensor apart = where(eq(target, -1), positive_part(cosine - margin), 0);
  return reduced(together + apart, reduction);
}

Tensor multi_margin_loss(const Tensor& x, const Tensor& target, double p, double margin,
                         const Tensor& weight, Reduction reduction) {
  GS_CHECK(p == 1 || p == 2, "only p == 1 and p == 2 supported");
  const Tensor rows = x.ndim() < 2 ? reshape(x, {1, x.numel()}) : x;
  const Tensor goal = reshape(target, {-1, 1});
  GS_CHECK(rows.ndim() == 2 && goal.numel() == rows.size(0),
           "inconsistent target size, expected {} but got {}", Dims{rows.size(0)}, target.sizes());
  Tensor values = positive_part(rows - gather(rows, 1, goal) + margin);
  if (p == 2) values = values * values;
  if (weight.defined())
    values = values * reshape(index_select(weight, 0, reshape(target, {-1})), {-1, 1});
  const Tensor own = scatter(zeros(rows.sizes(), {DType::Bool, x.device()}), 1, goal, true);
  const Tensor losses = sum(where(own, 0, values), {1}) / static_cast<double>(rows.size(1));
  return show_as(reduced(x.ndim() < 2 ? reshape(losses, target.sizes()) : losses, reduction),
                 Shown::MultiMarginLoss);
}

Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target, const Tensor& weight,
                                   Reduction reduction) {
  static const Op& op = Op::get("logsigmoid");
  Tensor values = neg(target * map(op, {x}) + sub(1, target) * map(op, {neg(x)}));
  if (weight.defined()) values = values * weight;
  return reduced(sum(values, {-1}) / static_cast<double>(x.size(-1)), reduction);
}

Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double eps, bool keepdim) {
  return show_as(vector_norm(a - b + eps, p, {-1}, keepdim), Shown::Norm1);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           double margin, double p, double eps, bool swap, Reduction reduction) {
  GS_CHECK_VALUE(margin > 0, "Expected margin to be greater than 0, but got {}.", margin);
  GS_CHECK(anchor.ndim() == positive.ndim() && anchor.ndim() == negative.ndim(),
           "The anchor, positive, and negative tensors are expected to have the same number of "
           "dimensions, but got: anchor {}D, positive {}D, and negative {}D inputs",
           anchor.ndim(), positive.ndim(), negative.ndim());
  const Tensor near = pairwise_distance(anchor, positive, p, eps, false);
  Tensor far = pairwise_distance(anchor, negative, p, eps, false);
  if (swap) far = minimum(far, pairwise_distance(positive, negative, p, eps, false));
  return reduced(positive_part(near - far + margin), reduction);
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dim, double eps) {
  const DType type = result_type({a, b});
  GS_CHECK(is_floating(type), "expected common dtype to be floating point, yet common dtype is {}",
           scalar_name(type));
  const Dims sizes = broadcast(a.sizes(), b.sizes());
  const Tensor x = expand(to(a, type), sizes), y = expand(to(b, type), sizes);
  // A norm below eps counts as eps, without gradient through the clamp's choice.
  const auto unit = [&](const Tensor& v) {
    const Tensor norm = vector_norm(v, 2, {dim}, true);
    return v / where(lt(detach(norm), eps), eps, norm);
  };
  return sum(unit(x) * unit(y), {dim});
}

}  // namespace gradstep
