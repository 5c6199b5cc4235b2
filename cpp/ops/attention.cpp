// SPDX-License-Identifier: Apache-2.0
// Attention: one kernel that never holds all scores, and a composed form for what it does not take:
// dropout, a mask with a gradient, derivatives of the derivative, heads or batches that broadcast.
#include "ops/attention.h"

#include <algorithm>
#include <cmath>

#include "core/cuda_api.h"
#include "core/layout.h"
#include "ops/create.h"
#include "ops/index.h"
#include "ops/linalg.h"
#include "ops/nn_norm.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// ---- composed ----

/// softmax over the last axis; a row in which everything is masked gives zeros, and no gradient.
Tensor safe_softmax(const Tensor& scores) {
  const Tensor masked = all(eq(scores, -INFINITY), {-1}, true);
  return masked_fill(softmax(masked_fill(scores, masked, 0), -1), masked, 0);
}

/// What a query gives to each key.
Tensor attention_weights(const Tensor& query, const Tensor& key, const Tensor& attn_mask,
                         bool is_causal, double scale) {
  // Each side takes the root of the scale, as in PyTorch: halves overflow later.
  const double root = std::sqrt(std::abs(scale));
  Tensor scores = matmul(mul(query, scale < 0 ? -root : root), mul(mT(key), root));
  if (is_causal) {
    const Tensor hidden =
        triu(ones({query.size(-2), key.size(-2)}, {DType::Bool, query.device()}), 1);
    scores = masked_fill(scores, hidden, -INFINITY);
  }
  if (attn_mask.defined()) {
    scores = attn_mask.dtype() == DType::Bool
                 ? masked_fill(scores, logical_not(attn_mask), -INFINITY)
                 : add(scores, attn_mask);
  }
  return attn_mask.defined() || is_causal ? safe_softmax(scores) : softmax(scores, -1);
}

/// Heads of key or value, repeated for the heads of the query.
Tensor repeat_heads(const Tensor& x, int64_t heads) {
  return x.size(-3) == heads ? x : repeat_interleave(x, heads / x.size(-3), -3);
}

/// The gradient of repeat_heads.
Tensor sum_heads(const Tensor& g, int64_t heads) {
  if (g.size(1) == heads) return g;
  return sum(unflatten(g, 1, {heads, -1}), {2});
}

// ---- the kernel's call ----
// Tensors are (B, H, L, E), key and value may have fewer heads. The last axis is contiguous.

Tensor contiguous_rows(const Tensor& x) {
  return x.sizes().back() <= 1 || x.strides().back() == 1 ? x : contiguous(x);
}

/// Memory for rows of `width` with x's other axes in x's order. For the heads of a (B, L, C) tensor
/// that is (B, L, H, width): joining them needs no copy.
Tensor empty_ordered_as(const Tensor& x, int64_t width) {
  Dims sizes = x.sizes();
  sizes[3] = width;
  const Dims outer(x.strides().begin(), 3);
  int order[kMaxDims];
  order_by_stride(outer, order);
  Dims strides = Dims::filled(4, 1);
  int64_t step = width;
  for (int k = 2; k >= 0; --k) {
    strides[order[k]] = step;
    step *= sizes[order[k]];
  }
  return empty_strided(sizes, strides, x.dtype(), x.device());
}

/// Gradients of query, key and value. Where those three are the thirds of the rows of one tensor,
/// so are the gradients: split's backward has nothing to copy then.
void empty_gradients(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& dq, Tensor& dk,
                     Tensor& dv) {
  const Dims& s = q.sizes();
  const int64_t third = s[1] * s[3], row = 3 * third;
  const bool one_tensor = q.sizes() == k.sizes() && q.sizes() == v.sizes() &&
                          q.strides() == k.strides() && q.strides() == v.strides() &&
                          k->storage.get() == q->storage.get() &&
                          v->storage.get() == q->storage.get() &&
                          k.offset() == q.offset() + third && v.offset() == k.offset() + third;
  const bool by_rows = q.strides() == Dims{s[2] * row, s[3], row, 1};
  const bool by_batch = q.strides() == Dims{row, s[3], s[0] * row, 1};
  if (one_tensor && (by_rows || by_batch)) {
    const Tensor all = empty({s[0] * s[2] * row}, options_of(q));
    dq = alias(all, s, q.strides(), 0);
    dk = alias(all, s, q.strides(), third);
    dv = alias(all, s, q.strides(), 2 * third);
    return;
  }
  dq = empty_ordered_as(q, s[3]);
  dk = empty_ordered_as(k, s[3]);
  dv = empty_ordered_as(v, v.sizes()[3]);
}

// params: scale, causal. Kept: query, key, value, mask, output, log-sums of the rows of scores.
void attention_backward(Backward& b) {
  static const Op& kernel = Op::get("scaled_dot_product_attention_backward");
  const Tensor q = b.saved(0), k = b.saved(1), v = b.saved(2), mask = b.saved(3);
  if (!grad_enabled()) {
    const Tensor dy = contiguous_rows(b.grad()), out = b.saved(4), log_sums = b.saved(5);
    Tensor dq, dk, dv;
    empty_gradients(q, k, v, dq, dk, dv);
    run(kernel, b.node.params, {&dq, &dk, &dv}, {&dy, &q, &k, &v, &mask, &out, &log_sums});
    if (b.needs(0)) b.set(0, dq);
    if (b.needs(1)) b.set(1, dk);
    if (b.needs(2)) b.set(2, dv);
    return;
  }
  // With weights P: dP = dy v^T, dS = P (dP - rowsum(P dP)), dq = scale dS k, dk = scale dS^T q,
  // dv = P^T dy.
  const double scale = b.f(0);
  const Tensor dy = widened(b.grad()), queries = widened(q);
  const int64_t heads = q.size(1), groups = k.size(1);
  const Tensor keys = repeat_heads(widened(k), heads);
  const auto set = [&](int j, const Tensor& g) { b.set(j, to(g, q.dtype())); };
  const Tensor weights = attention_weights(queries, keys, mask, b.i(1) != 0, scale);
  if (b.needs(2)) set(2, sum_heads(matmul(mT(weights), dy), groups));
  if (!b.needs(0) && !b.needs(1)) return;
  const Tensor products = matmul(dy, mT(repeat_heads(widened(v), heads)));
  const Tensor dscores = mul(weights * (products - sum(products * weights, {-1}, true)), scale);
  if (b.needs(0)) set(0, matmul(dscores, keys));
  if (b.needs(1)) set(1, sum_heads(matmul(mT(dscores), queries), groups));
}

/// A mask that is added, as the kernel reads it: in the type of the scores, expanded to (B, H, L,
/// S), last stride 0 or 1.
Tensor additive_mask(const Tensor& mask, DType dtype, const Dims& scores, const Dims& four) {
  if (!mask.defined()) return mask;
  const GradMode off(false);
  Tensor m = mask.dtype() == DType::Bool ? masked_fill(zeros(mask.sizes(), {dtype, mask.device()}),
                                                       logical_not(mask), -INFINITY)
                                         : to(mask, dtype);
  m = reshape(expand(m, scores), four);
  return m.strides()[3] == 0 ? m : contiguous_rows(m);
}

/// Leading axes of any rank as two.
Dims four_sizes(const Dims& lead, int64_t rows, int64_t columns) {
  const int n = lead.size();
  if (n < 2) return {n == 0 ? 1 : lead[0], 1, rows, columns};
  return {count_elements(Dims(lead.begin(), n - 1)), lead[n - 1], rows, columns};
}

Tensor as_four(const Tensor& x, const Dims& lead) {
  Dims sizes = lead;
  const int64_t rows = x.size(-2), columns = x.size(-1);
  sizes.push_back(rows);
  sizes.push_back(columns);
  const Tensor y = x.sizes() == sizes ? x : expand(x, sizes);
  return contiguous_rows(y.ndim() == 4 ? y : reshape(y, four_sizes(lead, rows, columns)));
}

Tensor fused(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& attn_mask,
             bool is_causal, double scale, const Dims& lead, bool grouped) {
  static const Op& op = define("scaled_dot_product_attention", &attention_backward);
  const Tensor q = grouped ? contiguous_rows(query) : as_four(query, lead);
  const Tensor k = grouped ? contiguous_rows(key) : as_four(key, lead);
  const Tensor v = grouped ? contiguous_rows(value) : as_four(value, lead);
  Dims scores = lead;
  scores.push_back(q.size(2));
  scores.push_back(k.size(2));
  const Tensor mask = additive_mask(attn_mask, wide_type(q.dtype()), scores,
                                    {q.size(0), q.size(1), q.size(2), k.size(2)});
  const Tensor out = empty_ordered_as(q, v.size(3));
  const Tensor log_sums =
      empty({q.size(0), q.size(1), q.size(2)}, {wide_type(q.dtype()), q.device()});
  const Params p = params(scale, static_cast<int64_t>(is_causal));
  run(op, p, {&out, &log_sums}, {&q, &k, &v, &mask});
  if (needs_grad(q, k, v)) {
    record(op, p, {&out}, {&q, &k, &v},
           {keep(q), keep(k), keep(v), keep(mask), keep_output(out), keep(log_sums)});
  }
  if (lead.size() == 2) return out;
  scores[scores.size() - 1] = v.size(3);
  return reshape(out, scores);
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const Tensor& attn_mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa, Generator& gen) {
  GS_CHECK(query.dtype() == key.dtype() && query.dtype() == value.dtype(),
           "Expected query, key, and value to have the same dtype, but got query.dtype: {} "
           "key.dtype: {} and value.dtype: {} instead.",
           name(query.dtype()), name(key.dtype()), name(value.dtype()));
  GS_CHECK(query.ndim() >= 2 && key.ndim() >= 2 && value.ndim() >= 2,
           "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
           "{}, key.dim: {} and value.dim: {} instead.",
           query.ndim(), key.ndim(), value.ndim());
  GS_CHECK(!attn_mask.defined() || attn_mask.dtype() == DType::Bool ||
               attn_mask.dtype() == DType::Float32 || attn_mask.dtype() == query.dtype(),
           "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
           "attn_mask.dtype: {} and  query.dtype: {} instead.",
           name(attn_mask.dtype()), name(query.dtype()));
  GS_CHECK(!attn_mask.defined() || !is_causal,
           "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
           "is_causal=True");
  const DType dtype = query.dtype();
  const int64_t heads = enable_gqa ? query.size(-3) : 0;
  GS_CHECK(!enable_gqa || (key.size(-3) > 0 && value.size(-3) > 0 && heads % key.size(-3) == 0 &&
                           heads % value.size(-3) == 0),
           "Number of heads in key and value must divide the number of heads in query");
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));

  static const Op& kernel = Op::get("scaled_dot_product_attention");
  const auto lead_of = [](const Tensor& t) { return Dims(t.sizes().begin(), t.ndim() - 2); };
  const bool grouped = enable_gqa && (key.size(-3) != heads || value.size(-3) != heads);
  // The switches of torch.nn.attention.sdpa_kernel.
  const CudaFlags& may = cuda_flags();
  const bool on_gpu = query.device().type == DeviceType::CUDA;
  const bool may_fuse = may.flash_sdp || may.mem_efficient_sdp || (on_gpu && may.cudnn_sdp);
  GS_CHECK(may_fuse || may.math_sdp,
           "No viable backend for scaled_dot_product_attention was found. This is likely due to "
           "turning off both the math kernel and the fused kernels.");
  // The CPU's kernel takes no halves.
  const bool has_type = is_half(dtype) ? on_gpu : is_floating(dtype);
  bool fusible = may_fuse && kernel.kernel[static_cast<int>(query.device().type)] && has_type &&
                 dropout_p == 0 && !needs_grad(attn_mask) && query.size(-1) == key.size(-1) &&
                 key.size(-2) == value.size(-2);
  Dims lead = lead_of(query);
  if (grouped) {
    fusible &= lead.size() == 2 && lead_of(key) == lead_of(value) && key.ndim() == 4 &&
               key.size(0) == lead[0];
  } else {
    lead = broadcast(broadcast(lead, lead_of(key)), lead_of(value));
  }
  if (attn_mask.defined()) {
    Dims scores = lead;
    scores.push_back(query.size(-2));
    scores.push_back(key.size(-2));
    const Dims both = broadcast(scores, attn_mask.sizes());
    GS_CHECK(both == scores, "output with shape {} doesn't match the broadcast shape {}", scores,
             both);
  }
  if (fusible) return fused(query, key, value, attn_mask, is_causal, factor, lead, grouped);
  if (is_half(dtype)) {
    return to(scaled_dot_product_attention(widened(query), widened(key), widened(value),
                                           widened(attn_mask), dropout_p, is_causal, scale,
                                           enable_gqa, gen),
              dtype);
  }
  const Tensor k = enable_gqa ? repeat_heads(key, heads) : key;
  const Tensor v = enable_gqa ? repeat_heads(value, heads) : value;
  Tensor weights = attention_weights(query, k, attn_mask, is_causal, factor);
  if (dropout_p != 0) weights = dropout(weights, dropout_p, true, false, gen);
  return matmul(weights, v);
}

}  // namespace gradstep
