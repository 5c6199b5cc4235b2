// SPDX-License-Identifier: Apache-2.0
// Attention as graphs of operations that cuDNN's flash attention recognizes. See Note [Attention by
// cuDNN]. Host code only: tests/cuda_api asks cuDNN for plans of these graphs without a GPU.
//   Graph g(api());
//   attention_graph(g, shape);
//   g.finish(handle);
#pragma once
#include "cuda/cudnn_graph.h"

namespace gradstep::cuda::cudnn {

// Note [Attention by cuDNN]
// cuDNN has no function for attention: its engines look for a pattern of operations, the one that
// NVIDIA's own front end makes, and run all of it as a flash attention kernel. An operation more,
// less or in another order means no engine. There is a single operation for all of it since 9.13
// (CUDNN_BACKEND_OPERATION_SDPA_FWD), but as of 9.19 it takes neither a mask nor causality, and
// its gradient is newer still; the pattern serves them all in every cuDNN 9.
//   forward:  s = q k^T * scale + mask, -inf where j > i; p = softmax(s); out = p v;
//             log_sums = the logarithms of softmax's sums, natural ones
//   backward: delta = sum of dout * out over a row; p = exp(s - log_sums); dv = p^T dout;
//             ds = (dout v^T - delta) * p * scale; dk = ds^T q; dq = ds k
// dq's parts are added up in float32 by atomics, in memory of ours, and converted at the end. Where
// heads share keys, dk and dv are made for each head of q and then summed.

/// Everything that a graph depends on; compared byte by byte.
struct AttentionShape {
  int64_t batch, heads, groups, queries, keys, width, v_width;
  Data type;
  int32_t backward, causal, masked;
  Four q, k, v, out;      // strides
  Four mask, mask_sizes;  // of float32; sizes 1 where the mask is broadcast; zeros without one
  Four dout, dq, dk, dv;  // zeros in the forward direction

  Four scores() const { return {batch, heads, queries, keys}; }
  Four rows() const { return {batch, heads, queries, 1}; }
};

/// What pointers go by.
enum AttentionId : int64_t {
  kQ = 1,
  kK,
  kV,
  kMask,
  kOut,
  kLogSums,
  kScale,
  kHidden,
  kDOut,
  kDQ,
  kDK,
  kDV,
  kDelta,
  kDQSums,
  kOne
};

namespace attention_parts {

using Tensor = Graph::Tensor;

inline Four transposed(const Four& x) { return {x[0], x[1], x[3], x[2]}; }

/// k or v with its last axes swapped.
inline Tensor columns(Graph& g, const AttentionShape& s, int64_t id, int64_t width,
                      const Four& strides) {
  return g.memory(id, s.type, {s.batch, s.groups, width, s.keys}, transposed(strides));
}

inline Tensor binary(Graph& g, Pointwise mode, const Four& sizes, Tensor x, Tensor b) {
  return g.pointwise(mode, x, g.passing(Data::Float, sizes), b);
}
inline Tensor unary(Graph& g, Pointwise mode, const Four& sizes, Tensor x) {
  return g.pointwise(mode, x, g.passing(Data::Float, sizes));
}

/// q k^T * scale + mask
inline Tensor scaled_scores(Graph& g, const AttentionShape& s, Tensor q, Tensor k_columns,
                            Tensor scale) {
  Tensor x = g.matmul(q, k_columns, g.passing(Data::Float, s.scores()));
  x = binary(g, Pointwise::Mul, s.scores(), x, scale);
  if (!s.masked) return x;
  return binary(g, Pointwise::Add, s.scores(), x,
                g.memory(kMask, Data::Float, s.mask_sizes, s.mask));
}

/// -inf where the key comes after the query.
inline Tensor hide_later_keys(Graph& g, const AttentionShape& s, Tensor x) {
  const auto index = [&](int64_t axis) {
    return g.pointwise(Pointwise::Index, x, g.passing(Data::Int32, s.scores()), -1, -1, Data::Float,
                       axis);
  };
  const Tensor row = index(2), column = index(3);
  const Tensor seen = g.pointwise(Pointwise::IsGreaterOrEqual, row,
                                  g.passing(Data::Boolean, s.scores()), column, -1, Data::Boolean);
  return g.pointwise(Pointwise::Select, x, g.passing(Data::Float, s.scores()),
                     g.number(kHidden, Data::Float), seen);
}

/// x^T (of scores) times rows of q or dout, summed over the heads that share keys.
inline void key_gradient(Graph& g, const AttentionShape& s, Tensor x, Tensor rows, int64_t width,
                         int64_t id, const Four& strides) {
  const Four turned = {s.batch, s.heads, s.keys, s.queries},
             each = {s.batch, s.heads, s.keys, width};
  x = g.reshape(x, g.passing(s.type, turned, transposed(packed(s.scores()))));
  const Tensor sum = g.memory(id, s.type, {s.batch, s.groups, s.keys, width}, strides);
  if (s.heads == s.groups) {
    g.matmul(x, rows, sum);
  } else {
    g.reduce(Reduce::Add, g.matmul(x, rows, g.passing(s.type, each)), sum);
  }
}

inline void forward_graph(Graph& g, const AttentionShape& s) {
  const Four scores = s.scores(), rows = s.rows();
  const Tensor q = g.memory(kQ, s.type, {s.batch, s.heads, s.queries, s.width}, s.q);
  const Tensor k = columns(g, s, kK, s.width, s.k);
  Tensor x = scaled_scores(g, s, q, k, g.number(kScale, Data::Float));
  if (s.causal) x = hide_later_keys(g, s, x);
  const Tensor highest = g.reduce(Reduce::Max, x, g.passing(Data::Float, rows));
  x = binary(g, Pointwise::Sub, scores, x, highest);
  x = unary(g, Pointwise::Exp, scores, x);
  const Tensor sum = g.reduce(Reduce::Add, x, g.passing(Data::Float, rows));
  const Tensor log = unary(g, Pointwise::Log, rows, sum);
  g.pointwise(Pointwise::Add, highest, g.memory(kLogSums, Data::Float, rows, packed(rows)), log);
  x = g.pointwise(Pointwise::Div, x, g.passing(s.type, scores), sum);
  const Tensor v = g.memory(kV, s.type, {s.batch, s.groups, s.keys, s.v_width}, s.v);
  g.matmul(x, v, g.memory(kOut, s.type, {s.batch, s.heads, s.queries, s.v_width}, s.out));
}

inline void gradient_graph(Graph& g, const AttentionShape& s) {
  const Four scores = s.scores(), rows = s.rows();
  const Four of_q = {s.batch, s.heads, s.queries, s.width};
  const Four of_out = {s.batch, s.heads, s.queries, s.v_width};
  const Tensor dout = g.memory(kDOut, s.type, of_out, s.dout);
  const Tensor out = g.memory(kOut, s.type, of_out, s.out);
  // The strides are those of (batch, rows, heads, width), as in the front end.
  Tensor delta = g.pointwise(
      Pointwise::Mul, dout,
      g.passing(Data::Float, of_out,
                {s.heads * s.queries * s.v_width, s.queries * s.v_width, s.heads * s.v_width, 1}),
      out);
  delta = g.reduce(Reduce::Add, delta, g.passing(Data::Float, rows));
  delta = g.pointwise(Pointwise::Mul, delta, g.memory(kDelta, Data::Float, rows, packed(rows)),
                      g.number(kOne, Data::Float));

  const Tensor q = g.memory(kQ, s.type, of_q, s.q);
  const Tensor k = columns(g, s, kK, s.width, s.k), v = columns(g, s, kV, s.v_width, s.v);
  const Tensor scale = g.number(kScale, Data::Float);
  Tensor p = scaled_scores(g, s, q, k, scale);
  p = binary(g, Pointwise::Sub, scores, p, g.memory(kLogSums, Data::Float, rows, packed(rows)));
  if (s.causal) p = hide_later_keys(g, s, p);
  p = unary(g, Pointwise::Exp, scores, p);
  key_gradient(g, s, p, dout, s.v_width, kDV, s.dv);

  Tensor ds = g.matmul(dout, v, g.passing(Data::Float, scores));
  ds = binary(g, Pointwise::Sub, scores, ds, delta);
  ds = binary(g, Pointwise::Mul, scores, ds, p);
  ds = binary(g, Pointwise::Mul, scores, ds, scale);
  key_gradient(g, s, ds, q, s.width, kDK, s.dk);

  const Tensor k_rows =
      g.reshape(k, g.passing(Data::Float, {s.batch, s.groups, s.keys, s.width}, s.k));
  const Tensor sums = g.matmul(ds, k_rows, g.memory(kDQSums, Data::Float, of_q, packed(of_q)));
  g.pointwise(Pointwise::Identity, sums, g.memory(kDQ, s.type, of_q, s.dq));
}

}  // namespace attention_parts

inline void attention_graph(Graph& g, const AttentionShape& s) {
  s.backward ? attention_parts::gradient_graph(g, s) : attention_parts::forward_graph(g, s);
}

}  // namespace gradstep::cuda::cudnn
