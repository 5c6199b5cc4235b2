// SPDX-License-Identifier: Apache-2.0
// Softmax, normalisations and losses for Python, with the signatures of torch.nn.functional. See
// python/function.h for the rows.
#include "ops/loss.h"
#include "ops/nn_norm.h"
#include "ops/pointwise.h"
#include "python/function.h"

namespace gradstep::python {

namespace {

constexpr unsigned kEverywhere = Fn | Method | NnFunctional;
constexpr unsigned kNn = NnFunctional;
constexpr unsigned kFnAndNn = Fn | NnFunctional;

/// reduction= or, where they are given, the old size_average= and reduce=.
Reduction reduction_from(const Args& a, int reduction, int size_average, int reduce) {
  if (!a.has(size_average) && !a.has(reduce)) return reduction_of(a.str(reduction));
  const bool averaged = a.opt_flag(size_average).value_or(true);
  if (!a.opt_flag(reduce).value_or(true)) return Reduction::None;
  return averaged ? Reduction::Mean : Reduction::Sum;
}

/// The axis that softmax takes where none is given: F.softmax's old rule.
int64_t softmax_dim(const Args& a, int i) {
  if (a.has(i)) return a.i(i);
  const int n = a.tensor(0).ndim();
  return n == 0 || n == 1 || n == 3 ? 0 : 1;
}

PyObject* call_kl_div(Args& a) {
  const std::string reduction = a.str(4);
  const bool batch_mean = reduction == "batchmean" && !a.has(2) && !a.has(3);
  const Reduction r = batch_mean ? Reduction::Sum : reduction_from(a, 4, 2, 3);
  return wrap(kl_div(a.tensor(0), a.tensor(1), r, batch_mean, a.flag(5)));
}

const FunctionRow kRows[] = {
    // ---- softmax ----
    {"softmax", "(Tensor input, int dim, dtype? dtype=None, *, Tensor? out=None)", Fn | Method,
     "exp(input) / sum(exp(input)) along dim.",
     [](Args& a) { return wrap_out(a, 3, softmax(a.tensor(0), a.i(1), a.opt_dtype(2))); }},
    {"log_softmax", "(Tensor input, int dim, dtype? dtype=None, *, Tensor? out=None)", Fn | Method,
     "log(softmax(input)) along dim.",
     [](Args& a) { return wrap_out(a, 3, log_softmax(a.tensor(0), a.i(1), a.opt_dtype(2))); }},
    {"softmax", "(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNn,
     "exp(input) / sum(exp(input)) along dim.",
     [](Args& a) { return wrap(softmax(a.tensor(0), softmax_dim(a, 1), a.opt_dtype(3))); }},
    {"log_softmax", "(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNn,
     "log(softmax(input)) along dim.",
     [](Args& a) { return wrap(log_softmax(a.tensor(0), softmax_dim(a, 1), a.opt_dtype(3))); }},
    {"softmin", "(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)", kNn,
     "softmax(-input).",
     [](Args& a) { return wrap(softmax(neg(a.tensor(0)), softmax_dim(a, 1), a.opt_dtype(3))); }},

    // ---- normalisation ----
    {"layer_norm",
     "(Tensor input, IntList normalized_shape, Tensor? weight=None, Tensor? bias=None, float "
     "eps=1e-05, "
     "bool cudnn_enable=True)",
     kFnAndNn, "Each row of the last axes to mean 0 and variance 1, then times weight plus bias.",
     [](Args& a) {
       return wrap(layer_norm(a.tensor(0), a.dims(1), a.tensor(2), a.tensor(3), a.f(4)));
     }},
    {"rms_norm", "(Tensor input, IntList normalized_shape, Tensor? weight=None, float? eps=None)",
     kFnAndNn, "Each row of the last axes divided by its root mean square, then times weight.",
     [](Args& a) { return wrap(rms_norm(a.tensor(0), a.dims(1), a.tensor(2), a.opt_double(3))); }},
    {"group_norm",
     "(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, "
     "bool cudnn_enabled=True)",
     kFnAndNn, "Each group of channels to mean 0 and variance 1, then times weight plus bias.",
     [](Args& a) {
       return wrap(group_norm(a.tensor(0), a.i(1), a.tensor(2), a.tensor(3), a.f(4)));
     }},
    {"batch_norm",
     "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool "
     "training, "
     "float momentum, float eps, bool cudnn_enabled)",
     Fn, "Each channel to mean 0 and variance 1 over the batch, then times weight plus bias.",
     [](Args& a) {
       return wrap(batch_norm(a.tensor(0), a.tensor(1), a.tensor(2), a.tensor(3), a.tensor(4),
                              a.flag(5), a.f(6), a.f(7)));
     }},
    {"batch_norm",
     "(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? "
     "bias=None, "
     "bool training=False, float momentum=0.1, float eps=1e-05)",
     kNn, "Each channel to mean 0 and variance 1 over the batch, then times weight plus bias.",
     [](Args& a) {
       return wrap(batch_norm(a.tensor(0), a.tensor(3), a.tensor(4), a.tensor(1), a.tensor(2),
                              a.flag(5), a.f(6), a.f(7)));
     }},
    {"instance_norm",
     "(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, "
     "Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-05)",
     kNn, "Each channel of each sample to mean 0 and variance 1, then times weight plus bias.",
     [](Args& a) {
       return wrap(instance_norm(a.tensor(0), a.tensor(1), a.tensor(2), a.tensor(3), a.tensor(4),
                                 a.flag(5), a.f(6), a.f(7)));
     }},

    // ---- classes ----
    {"cross_entropy",
     "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int "
     "ignore_index=-100, "
     "bool? reduce=None, str reduction='mean', float label_smoothing=0.0)",
     kNn, "The cross entropy of logits with class indices or class probabilities.",
     [](Args& a) {
       return wrap(cross_entropy(a.tensor(0), a.tensor(1), a.tensor(2), a.i(4),
                                 reduction_from(a, 6, 3, 5), a.f(7)));
     }},
    {"nll_loss",
     "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int "
     "ignore_index=-100, "
     "bool? reduce=None, str reduction='mean')",
     kNn, "The negative log-likelihood of the target classes.",
     [](Args& a) {
       return wrap(
           nll_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.i(4), reduction_from(a, 6, 3, 5)));
     }},

    // ---- regression ----
    {"mse_loss",
     "(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str "
     "reduction='mean', "
     "Tensor? weight=None)",
     kNn, "The mean of (input - target)^2.",
     [](Args& a) {
       return wrap(mse_loss(a.tensor(0), a.tensor(1), reduction_from(a, 4, 2, 3), a.tensor(5)));
     }},
    {"l1_loss",
     "(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str "
     "reduction='mean', "
     "Tensor? weight=None)",
     kNn, "The mean of |input - target|.",
     [](Args& a) {
       return wrap(l1_loss(a.tensor(0), a.tensor(1), reduction_from(a, 4, 2, 3), a.tensor(5)));
     }},
    {"smooth_l1_loss",
     "(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str "
     "reduction='mean', "
     "float beta=1.0)",
     kNn, "Quadratic below beta, linear above.",
     [](Args& a) {
       return wrap(smooth_l1_loss(a.tensor(0), a.tensor(1), reduction_from(a, 4, 2, 3), a.f(5)));
     }},
    {"huber_loss",
     "(Tensor input, Tensor target, str reduction='mean', float delta=1.0, Tensor? weight=None)",
     kNn, "Quadratic up to delta, linear above.",
     [](Args& a) {
       return wrap(
           huber_loss(a.tensor(0), a.tensor(1), reduction_of(a.str(2)), a.f(3), a.tensor(4)));
     }},
    {"poisson_nll_loss",
     "(Tensor input, Tensor target, bool log_input=True, bool full=False, bool? size_average=None, "
     "float eps=1e-08, bool? reduce=None, str reduction='mean')",
     kNn, "The negative log-likelihood of a Poisson distribution.",
     [](Args& a) {
       return wrap(poisson_nll_loss(a.tensor(0), a.tensor(1), a.flag(2), a.flag(3), a.f(5),
                                    reduction_from(a, 7, 4, 6)));
     }},
    {"gaussian_nll_loss",
     "(Tensor input, Tensor target, Operand var, bool full=False, float eps=1e-06, str "
     "reduction='mean')",
     kNn, "The negative log-likelihood of a normal distribution.",
     [](Args& a) {
       return wrap(gaussian_nll_loss(a.tensor(0), a.tensor(1), a.operand(2), a.flag(3), a.f(4),
                                     reduction_of(a.str(5))));
     }},

    // ---- probabilities and margins ----
    {"binary_cross_entropy",
     "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? "
     "reduce=None, "
     "str reduction='mean')",
     kNn, "The cross entropy of probabilities of two classes.",
     [](Args& a) {
       return wrap(
           binary_cross_entropy(a.tensor(0), a.tensor(1), a.tensor(2), reduction_from(a, 5, 3, 4)));
     }},
    {"binary_cross_entropy_with_logits",
     "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? "
     "reduce=None, "
     "str reduction='mean', Tensor? pos_weight=None)",
     kNn, "The cross entropy of two classes, from logits.",
     [](Args& a) {
       return wrap(binary_cross_entropy_with_logits(a.tensor(0), a.tensor(1), a.tensor(2),
                                                    a.tensor(6), reduction_from(a, 5, 3, 4)));
     }},
    {"kl_div",
     "(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str "
     "reduction='mean', "
     "bool log_target=False)",
     kNn, "The Kullback-Leibler divergence of log-probabilities from the target.",
     [](Args& a) { return call_kl_div(a); }},
    {"soft_margin_loss",
     "(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str "
     "reduction='mean')",
     kNn, "log(1 + exp(-target * input)).",
     [](Args& a) {
       return wrap(soft_margin_loss(a.tensor(0), a.tensor(1), reduction_from(a, 4, 2, 3)));
     }},
    {"hinge_embedding_loss",
     "(Tensor input, Tensor target, float margin=1.0, bool? size_average=None, bool? reduce=None, "
     "str reduction='mean')",
     kNn, "input where target is 1, max(0, margin - input) where it is -1.",
     [](Args& a) {
       return wrap(
           hinge_embedding_loss(a.tensor(0), a.tensor(1), a.f(2), reduction_from(a, 5, 3, 4)));
     }},
    {"margin_ranking_loss",
     "(Tensor input1, Tensor input2, Tensor target, float margin=0, bool? size_average=None, "
     "bool? reduce=None, str reduction='mean')",
     kNn, "max(0, -target * (input1 - input2) + margin).",
     [](Args& a) {
       return wrap(margin_ranking_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f(3),
                                       reduction_from(a, 6, 4, 5)));
     }},
    {"cosine_embedding_loss",
     "(Tensor input1, Tensor input2, Tensor target, float margin=0, bool? size_average=None, "
     "bool? reduce=None, str reduction='mean')",
     kNn, "1 - cos where target is 1, max(0, cos - margin) where it is -1.",
     [](Args& a) {
       return wrap(cosine_embedding_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f(3),
                                         reduction_from(a, 6, 4, 5)));
     }},
    {"multi_margin_loss",
     "(Tensor input, Tensor target, int p=1, float margin=1.0, Tensor? weight=None, bool? "
     "size_average=None, "
     "bool? reduce=None, str reduction='mean')",
     kNn, "The hinge loss of more than two classes.",
     [](Args& a) {
       return wrap(multi_margin_loss(a.tensor(0), a.tensor(1), static_cast<double>(a.i(2)), a.f(3),
                                     a.tensor(4), reduction_from(a, 7, 5, 6)));
     }},
    {"multilabel_soft_margin_loss",
     "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? "
     "reduce=None, "
     "str reduction='mean')",
     kNn, "The mean over classes of the cross entropy of two classes, from logits.",
     [](Args& a) {
       return wrap(multilabel_soft_margin_loss(a.tensor(0), a.tensor(1), a.tensor(2),
                                               reduction_from(a, 5, 3, 4)));
     }},
    {"triplet_margin_loss",
     "(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, float "
     "eps=1e-06, "
     "bool swap=False, bool? size_average=None, bool? reduce=None, str reduction='mean')",
     kNn, "max(0, |anchor - positive| - |anchor - negative| + margin).",
     [](Args& a) {
       return wrap(triplet_margin_loss(a.tensor(0), a.tensor(1), a.tensor(2), a.f(3), a.f(4),
                                       a.f(5), a.flag(6), reduction_from(a, 9, 7, 8)));
     }},
    {"pairwise_distance",
     "(Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool keepdim=False)", kFnAndNn,
     "The norm of x1 - x2 + eps along the last axis.",
     [](Args& a) {
       return wrap(pairwise_distance(a.tensor(0), a.tensor(1), a.f(2), a.f(3), a.flag(4)));
     }},
    {"cosine_similarity", "(Tensor x1, Tensor x2, int dim=1, float eps=1e-08)", kFnAndNn,
     "The cosine of the angle between x1 and x2 along dim.",
     [](Args& a) { return wrap(cosine_similarity(a.tensor(0), a.tensor(1), a.i(2), a.f(3))); }},
};

}  // namespace

void add_nn_norm_loss_functions() { add_functions(kRows); }

}  // namespace gradstep::python
