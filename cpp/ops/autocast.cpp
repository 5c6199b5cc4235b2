// SPDX-License-Identifier: Apache-2.0
// The lists of autocast and its casts. See autocast.h.
#include "ops/autocast.h"

#include <unordered_map>
#include <vector>

#include "graph/node.h"
#include "ops/pointwise.h"

namespace gradstep {

namespace {

// ---- the lists: what PyTorch 2.13 registers for AutocastCPU ----

constexpr std::string_view kLower[] = {
    "_addmm_activation",
    "addbmm",
    "addmm",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linear",
    "lstm",
    "matmul",
    "mm",
    "prelu",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "scaled_dot_product_attention",
    "tensordot",
};

constexpr std::string_view kFloat[] = {
    "adaptive_avg_pool3d",
    "adaptive_max_pool3d",
    "avg_pool3d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cdist",
    "cosine_embedding_loss",
    "cross_entropy",
    "grid_sampler",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "max_pool3d",
    "mse_loss",
    "multi_margin_loss",
    "nanquantile",
    "nll_loss",
    "poisson_nll_loss",
    "prod",
    "quantile",
    "smooth_l1_loss",
    "soft_margin_loss",
    "trace",
    "triplet_margin_loss",
};

constexpr std::string_view kPromote[] = {"cat", "concat", "concatenate", "index_copy", "stack"};

// By PyTorch only the products inside run in the lower precision; the states keep their type.
constexpr std::string_view kFirst[] = {"gru", "gru_cell", "lstm_cell"};

// ---- the lists of AutocastCUDA; what it says of parts of our functions stands for the whole ----

constexpr std::string_view kLowerCuda[] = {
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
    "einsum",
    "gru",
    "gru_cell",
    "linear",
    "lstm",
    "lstm_cell",
    "matmul",
    "mm",
    "mv",
    "prelu",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "scaled_dot_product_attention",
};

constexpr std::string_view kFloatCuda[] = {
    "acos",
    "asin",
    "binary_cross_entropy_with_logits",
    "cdist",
    "cosh",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "cumprod",
    "cumsum",
    "dist",
    "erfinv",
    "exp",
    "expm1",
    "group_norm",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linalg_vector_norm",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_softmax",
    "logsumexp",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "norm",
    "pairwise_distance",
    "pdist",
    "poisson_nll_loss",
    "pow",
    "prod",
    "reciprocal",
    "renorm",
    "resize_axes",
    "rms_norm",
    "rsqrt",
    "sinh",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "square",
    "sum",
    "sum_to_size",
    "tan",
    "triplet_margin_loss",
};

constexpr std::string_view kPromoteCuda[] = {
    "addcdiv",      "addcmul",   "atan2",       "bilinear",  "cross", "dot",
    "grid_sampler", "index_put", "scatter_add", "tensordot", "vdot"};

// ---- the casts of leaves ----

/// The cast of a leaf, with what it was made from: it is made anew where that has changed.
struct Kept {
  Ref<TensorImpl> leaf;
  Tensor cast;
  uint32_t version;
  bool grad;  // a cast made without history would lose the gradient
};

std::unordered_map<TensorImpl*, Kept>& kept() {
  thread_local std::unordered_map<TensorImpl*, Kept> map;
  return map;
}

bool is_kept(const Tensor& x, DType to) {
  const AutocastState& state = autocast_state();
  return state.cache && state.nesting > 0 && to == autocast_dtype(x) && x->requires_grad &&
         !x->grad_fn && !x->base && x.dtype() == DType::Float32;
}

}  // namespace

Cast cast_of(std::string_view function, DeviceType device) {
  using Table = std::unordered_map<std::string_view, Cast>;
  static const auto* cpu = [] {
    auto* t = new Table;
    for (const auto name : kLower) t->emplace(name, Cast::Lower);
    for (const auto name : kFloat) t->emplace(name, Cast::Float);
    for (const auto name : kPromote) t->emplace(name, Cast::Promote);
    for (const auto name : kFirst) t->emplace(name, Cast::First);
    return t;
  }();
  static const auto* cuda = [] {
    auto* t = new Table;
    for (const auto name : kLowerCuda) t->emplace(name, Cast::Lower);
    for (const auto name : kFloatCuda) t->emplace(name, Cast::Float);
    for (const auto name : kPromoteCuda) t->emplace(name, Cast::Promote);
    t->emplace("binary_cross_entropy", Cast::Unsafe);
    return t;
  }();
  const Table& table = device == DeviceType::CPU ? *cpu : *cuda;
  const auto found = table.find(function);
  return found == table.end() ? Cast::None : found->second;
}

void set_autocast(DeviceType device, bool on) {
  AutocastState& state = autocast_state();
  state.on[static_cast<int>(device)] = on;
  modes().autocast = state.on[0] || state.on[1];
}

AutocastState& autocast_state() {
  thread_local AutocastState state;
  return state;
}

Tensor autocast(const Tensor& x, DType to_type) {
  if (!x.defined() || !is_floating(x.dtype()) || x.dtype() == DType::Float64 ||
      x.dtype() == to_type) {
    return x;
  }
  if (!is_kept(x, to_type)) return to(x, to_type);
  const Tensor known = kept_cast(x);
  if (known.defined() && known.dtype() == to_type) return known;
  const Tensor cast = to(x, to_type);
  keep_cast(x, cast);
  return cast;
}

Tensor kept_cast(const Tensor& leaf) {
  const auto found = kept().find(leaf.get());
  if (found == kept().end() || !is_kept(leaf, found->second.cast.dtype()) ||
      found->second.version != leaf->version() || found->second.grad != grad_enabled()) {
    return Tensor();
  }
  return found->second.cast;
}

void keep_cast(const Tensor& leaf, const Tensor& cast) {
  kept().insert_or_assign(leaf.get(), Kept{leaf.ref(), cast, leaf->version(), grad_enabled()});
}

void forget_cast(const Tensor& leaf) { kept().erase(leaf.get()); }

DType autocast_type(Cast cast, DeviceType device, std::span<const Tensor> arguments) {
  const DType lower = autocast_state().dtype[static_cast<int>(device)];
  GS_CHECK(
      cast != Cast::Unsafe,
      "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
      "Many models use a sigmoid layer right before the binary cross entropy layer.\nIn this "
      "case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits"
      "\nor torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are"
      "\nsafe to autocast.");
  if (cast == Cast::Float) return DType::Float32;
  if (cast == Cast::Lower) return lower;
  for (const Tensor& t : arguments) {
    if (!t.defined() || !is_floating(t.dtype()) || t.dtype() == DType::Float64) continue;
    if (t.dtype() == DType::Float32 || cast == Cast::First) return t.dtype();
    GS_CHECK(t.dtype() == lower, "Unexpected floating ScalarType in at::autocast::prioritize");
  }
  return lower;
}

void autocast_arguments(std::string_view function, std::initializer_list<Tensor*> arguments) {
  DeviceType device = DeviceType::CPU;
  std::vector<Tensor> tensors;
  for (const Tensor* t : arguments) {
    if (!t->defined()) continue;
    tensors.push_back(*t);
    if (t->device().type == DeviceType::CUDA) device = DeviceType::CUDA;
  }
  if (!autocast_state().on[static_cast<int>(device)]) return;
  const Cast cast = cast_of(function, device);
  if (cast == Cast::None) return;
  const DType to_type = autocast_type(cast, device, tensors);
  for (Tensor* t : arguments) {
    if (t->defined() && t->device().type == device) *t = autocast(*t, to_type);
  }
}

void clear_autocast_cache() { kept().clear(); }

}  // namespace gradstep
