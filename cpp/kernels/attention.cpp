// SPDX-License-Identifier: Apache-2.0
// Attention in blocks: softmax(scale * q k^T + mask) v and its gradients without the matrix of all
// scores. A block of scores stays in the cache; forward keeps the running maximum and sum of each
// row, backward computes the scores again from the log-sums that forward left.
//   scaled_dot_product_attention(out, log_sums; q, k, v, mask)
//   scaled_dot_product_attention_backward(dq, dk, dv; dout, q, k, v, mask, out, log_sums)
// with the params scale, causal.
// q is (B, H, L, E), k (B, G, S, E), v (B, G, S, V), G a divisor of H: neighbouring heads of q
// share one of k and v. Any strides but 1 in the last axis; log_sums is contiguous. mask is added
// to the scores: (B, H, L, S) with 0 or 1 as last stride, or null. Compiled once for each
// instruction set; register_attention_kernels() is called by register.cpp.
#include <algorithm>
#include <utility>

#include "core/threads.h"
#include "fn/math.h"
#include "fn/partial.h"
#include "graph/call.h"
#include "graph/cut.h"
#include "kernels/gemm.h"
#include "kernels/gemm_own.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {

extern const GemmOwnTable kGemmOwn;

namespace {

constexpr int64_t kBlockBytes = 49152;  // of one transposed block of keys; 16K to 64K differ by 5 %
constexpr int64_t kQueries = 64;        // rows of one block of scores,
constexpr int64_t kFewQueries = 32;     // where a causal mask leaves half of a larger one unused
constexpr int64_t kFewTasks = 8;        // fewer pairs of batch entry and head are cut into pieces,
constexpr int64_t kTasks = 16;          // about so many
constexpr int64_t kTaskRows = 256;      // a piece of the queries has at least so many

/// 2^x for x that is not large: 0 below the normal numbers, within an ulp elsewhere.
template <class V>
GS_FN V exp2_of_score(V x) {
  using T = ScalarT<V>;
  const V low = V(T(sizeof(T) == 4 ? -126 : -1022));
  V y;
  if constexpr (sizeof(T) == 4) {
    // With the bias in it, the low bits of t are the exponent that 2^n has.
    constexpr double kShift = kRound<V> + kBias<V>;
    const V t = x + V(T(kShift)), r = x - (t - V(T(kShift)));
    y = poly(r, 0x1.5bba12p-10, 0x1.3cea88p-7, 0x1.c6b752p-5, 0x1.ebf9bcp-3, 0x1.62e42ap-1, 1.0) *
        bit_cast<V>(ubits(t) << kMantissa<V>);
  } else {
    y = exp2(x);
  }
  return select(x < low, V(T(0)), y);
}

/// A (B, H, rows, columns) operand.
template <class T>
struct Heads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0, col = 0;
  explicit Heads(const TensorImpl* t) {
    if (!t) return;
    data = reinterpret_cast<T*>(t->data);
    batch = t->strides[0];
    head = t->strides[1];
    row = t->strides[2];
    col = t->strides[3];
  }
  T* at(int64_t b, int64_t h, int64_t i) const { return data + b * batch + h * head + i * row; }
};

/// Tasks of one chunk, from the multiplications of a task.
int64_t grain_of(int64_t work) {
  return std::max<int64_t>(1, (int64_t{1} << 18) / std::max<int64_t>(work, 1));
}

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
struct Problem {
  using V = Native<T>;
  Heads<const T> q, k, v, mask;
  int64_t n_batch, n_heads, n_groups, n_queries, n_keys, width, v_width;
  T scale, exponent;  // exponent: scale in powers of 2
  bool causal;
  const GemmOwn<T>& own;
  int64_t block;    // keys of a block: whole panels
  int64_t queries;  // rows of a block of scores

  Problem(const Call& c, int first)
      : q(&c.in(first)),
        k(&c.in(first + 1)),
        v(&c.in(first + 2)),
        mask(c.maybe_in(first + 3)),
        n_batch(c.in(first).sizes[0]),
        n_heads(c.in(first).sizes[1]),
        n_groups(c.in(first + 1).sizes[1]),
        n_queries(c.in(first).sizes[2]),
        n_keys(c.in(first + 1).sizes[2]),
        width(c.in(first).sizes[3]),
        v_width(c.in(first + 2).sizes[3]),
        scale(T(c.f(0))),
        exponent(T(c.f(0) * kLog2e)),
        causal(c.i(1) != 0),
        own([]() -> const GemmOwn<T>& {
          if constexpr (sizeof(T) == 4) {
            return kGemmOwn.f32;
          } else {
            return kGemmOwn.f64;
          }
        }()) {
    const int64_t wide = std::max<int64_t>({width, v_width, 1}) * int64_t{sizeof(T)};
    block = std::clamp<int64_t>(kBlockBytes / wide / own.panel, 1, 256 / own.panel) * own.panel;
    queries = causal && n_queries <= 2 * kQueries ? kFewQueries : kQueries;
  }

  int64_t heads_per_group() const { return n_heads / n_groups; }
  int64_t n_blocks() const { return (n_keys + block - 1) / block; }

  /// Panels of rows as columns: x is n rows of `columns` elements.
  void transpose(const T* x, int64_t row, int64_t n, int64_t columns, T* out) const {
    GemmArgs<T> g{};
    g.n = n;
    g.k = columns;
    g.b = x;
    g.b_row = 1;
    g.b_col = row;
    own.pack_columns(g, 0, (n + own.panel - 1) / own.panel, out);
  }

  /// out (rows x n, rows of `block` elements) = alpha * a b^T, b as transpose() left it. Columns up
  /// to the end of the last panel are written.
  void multiply_transposed(const T* a, int64_t a_row, int64_t rows, int64_t columns, T alpha,
                           const T* b, int64_t n, T* out) const {
    for (int64_t j = 0; j < n; j += own.panel) {
      gemm_serial<T>(false, false, rows, own.panel, columns, alpha, a, a_row, b + j * columns,
                     own.panel, T(0), out + j, block);
    }
  }

  /// Of row i, how many of the n keys from j on are not hidden.
  int64_t visible(int64_t i, int64_t j, int64_t n) const {
    return causal ? std::clamp<int64_t>(i - j + 1, 0, n) : n;
  }

  /// Completes one row of a block, of which n places are not hidden: adds the mask, puts -inf into
  /// the others up to `end`. Scores and masks count in powers of 2.
  GS_FN void finish_row(T* s, const T* m, int64_t n, int64_t end) const {
    constexpr int N = V::size;
    if (m) {
      const V unit = V(T(kLog2e));
      for (int64_t j = 0; j < n; j += N) {
        const V x = mask.col == 0 ? V(*m)
                    : n - j >= N  ? V::load(m + j)
                                  : load_some<V>(m + j, static_cast<int>(n - j));
        (V::load(s + j) + x * unit).store(s + j);
      }
    }
    if (n == end) return;
    int64_t j = n / N * N;
    const V x = V::load(s + j);
    select(lane_numbers<V>() < V(T(n - j)), x, V(T(-kInf))).store(s + j);
    while ((j += N) < end) V(T(-kInf)).store(s + j);
  }
  const T* mask_row(int64_t b, int64_t h, int64_t i, int64_t j) const {
    return mask.data ? mask.at(b, h, i) + j * mask.col : nullptr;
  }
};

// ---- forward ----

/// One block of queries of one head: running maximum and sum of each row, and the sum of values.
template <class T>
struct Rows {
  T highest[kQueries], sum[kQueries];
};

/// scores -> exp(scores - highest); `values` (rows of v_width) is scaled to a new maximum.
template <class T>
void softmax_block(const Problem<T>& p, int64_t b, int64_t h, int64_t i0, int64_t rows, int64_t j0,
                   int64_t cols, T* scores, Rows<T>& state, T* values) {
  using V = Native<T>;
  constexpr int N = V::size;
  const int64_t end = round_up(cols, 2 * N);
  T base[kQueries];
  // Two passes over the rows, two chains in each: there is no waiting for the end of a row.
  for (int64_t r = 0; r < rows; ++r) {
    T* s = scores + r * p.block;
    p.finish_row(s, p.mask_row(b, h, i0 + r, j0), p.visible(i0 + r, j0, cols), end);
    V top0 = V(state.highest[r]), top1 = top0;
    for (int64_t j = 0; j < end; j += 2 * N) {
      const V x0 = V::load(s + j), x1 = V::load(s + j + N);
      top0 = select(x0 > top0, x0, top0);
      top1 = select(x1 > top1, x1, top1);
    }
    const T highest =
        reduce(select(top0 > top1, top0, top1), [](auto x, auto y) { return select(x > y, x, y); });
    // All hidden so far: any finite number, so that the power is 0.
    base[r] = highest == T(-kInf) ? T(0) : highest;
    if (j0 > 0 && highest != state.highest[r]) {
      const T factor = exp2_of_score(V(state.highest[r] - base[r]))[0];
      state.sum[r] *= factor;
      T* o = values + r * p.v_width;
      for (int64_t e = 0; e < p.v_width; ++e) o[e] *= factor;
    }
    state.highest[r] = highest;
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* s = scores + r * p.block;
    const V top = V(base[r]);
    V sum0 = V(T(0)), sum1 = sum0;
    for (int64_t j = 0; j < end; j += 2 * N) {
      const V e0 = exp2_of_score(V::load(s + j) - top);
      const V e1 = exp2_of_score(V::load(s + j + N) - top);
      e0.store(s + j);
      e1.store(s + j + N);
      sum0 += e0;
      sum1 += e1;
    }
    state.sum[r] += hsum(sum0 + sum1);
  }
}

/// Queries first .. last of one head against the transposed keys.
template <class T>
void query_rows(const Problem<T>& p, const Heads<T>& out, T* log_sums, int64_t b, int64_t h,
                int64_t first, int64_t last, const T* keys, T* scores, T* values) {
  const int64_t g = h / p.heads_per_group();
  Rows<T> state;
  for (int64_t i = first; i < last; i += p.queries) {
    const int64_t rows = std::min(p.queries, last - i);
    const int64_t n = p.causal ? std::min(p.n_keys, i + rows) : p.n_keys;
    std::fill_n(state.highest, rows, T(-kInf));
    std::fill_n(state.sum, rows, T(0));
    if (n == 0) std::fill_n(values, rows * p.v_width, T(0));
    for (int64_t j = 0; j < n; j += p.block) {
      const int64_t cols = std::min(p.block, n - j);
      p.multiply_transposed(p.q.at(b, h, i), p.q.row, rows, p.width, p.exponent, keys + j * p.width,
                            cols, scores);
      softmax_block(p, b, h, i, rows, j, cols, scores, state, values);
      gemm_serial<T>(false, false, rows, p.v_width, cols, T(1), scores, p.block, p.v.at(b, g, j),
                     p.v.row, T(j > 0), values, p.v_width);
    }
    T* const sums = log_sums + (b * p.n_heads + h) * p.n_queries + i;
    for (int64_t r = 0; r < rows; ++r) {
      // A row that sees nothing gives zeros, and no gradient.
      const bool blind = state.sum[r] == T(0);
      const T factor = blind ? T(0) : T(1) / state.sum[r];
      sums[r] = blind ? T(kInf) : state.highest[r] + log2(state.sum[r]);
      T* o = out.at(b, h, i + r);
      const T* from = values + r * p.v_width;
      for (int64_t e = 0; e < p.v_width; ++e) o[e] = from[e] * factor;
    }
  }
}

template <class T>
void attention_of(const Call& c) {
  const Problem<T> p(c, 0);
  const Heads<T> out(&c.out(0));
  T* const log_sums = reinterpret_cast<T*>(c.out(1).data);
  const int64_t pairs = p.n_batch * p.n_groups;
  if (pairs == 0 || p.n_queries == 0) return;
  int64_t piece = p.n_queries;
  if (pairs < kFewTasks) {
    piece = std::max(kTaskRows, round_up((p.n_queries * pairs + kTasks - 1) / kTasks, kQueries));
  }
  const int64_t pieces = (p.n_queries + piece - 1) / piece;
  const int64_t work = p.heads_per_group() * piece * p.n_keys * (p.width + p.v_width);
  parallel_for(pairs * pieces, grain_of(work), [&](int64_t begin, int64_t end) {
    const int64_t key_size = round_up(p.n_keys, p.own.panel) * p.width;
    const Scratch<T> buffer(key_size + p.queries * (p.block + p.v_width));
    T* const keys = buffer.data();
    T* const scores = keys + key_size;
    T* const values = scores + p.queries * p.block;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t pair = t / pieces, b = pair / p.n_groups, g = pair % p.n_groups;
      const int64_t first = t % pieces * piece, last = std::min(first + piece, p.n_queries);
      p.transpose(p.k.at(b, g, 0), p.k.row, p.causal ? std::min(p.n_keys, last) : p.n_keys, p.width,
                  keys);
      for (int64_t h = g * p.heads_per_group(); h < (g + 1) * p.heads_per_group(); ++h)
        query_rows(p, out, log_sums, b, h, first, last, keys, scores, values);
    }
  });
}

// ---- backward ----
// With P = exp(scores - log_sums), dP = dout v^T and delta = sum of dout * out over a row:
// dS = P * (dP - delta), dv = P^T dout, dk = scale * dS^T q, dq = scale * dS k.

/// scores -> P, products (dP) -> dS.
template <class T>
void gradient_block(const Problem<T>& p, int64_t b, int64_t h, int64_t i0, int64_t rows, int64_t j0,
                    int64_t cols, const T* log_sums, const T* delta, T* scores, T* products) {
  using V = Native<T>;
  constexpr int N = V::size;
  const int64_t end = round_up(cols, 2 * N);
  for (int64_t r = 0; r < rows; ++r) {
    T* s = scores + r * p.block;
    T* d = products + r * p.block;
    const V base = V(log_sums[r]), share = V(delta[r]);
    p.finish_row(s, p.mask_row(b, h, i0 + r, j0), p.visible(i0 + r, j0, cols), end);
    for (int64_t j = 0; j < end; j += N) {
      const V e = exp2_of_score(V::load(s + j) - base);
      e.store(s + j);
      (e * (V::load(d + j) - share)).store(d + j);
    }
  }
}

template <class T>
struct Gradients {
  using V = Native<T>;
  const Problem<T> p;
  const Heads<const T> dout, out;
  const T* const log_sums;
  const Heads<T> dq, dk, dv;
  const int64_t shared;  // heads of q that read one head of k
  // Tasks are pairs of batch entry and head of k, or pieces of their keys if those are few. Each
  // piece but the first sums its part of dq apart.
  int64_t piece, pieces;  // a piece counts in blocks
  int64_t part_size;

  explicit Gradients(const Call& c)
      : p(c, 1),
        dout(&c.in(0)),
        out(&c.in(5)),
        log_sums(reinterpret_cast<const T*>(c.in(6).data)),
        dq(&c.out(0)),
        dk(&c.out(1)),
        dv(&c.out(2)),
        shared(p.n_heads / std::max<int64_t>(1, p.n_groups)) {
    const int64_t pairs = p.n_batch * p.n_groups, blocks = std::max<int64_t>(1, p.n_blocks());
    piece =
        pairs < kFewTasks ? std::max<int64_t>(1, (blocks * pairs + kTasks - 1) / kTasks) : blocks;
    pieces = (blocks + piece - 1) / piece;
    part_size = p.n_batch * p.n_heads * p.n_queries * p.width;
  }

  const T* log_sum(int64_t b, int64_t h, int64_t i) const {
    return log_sums + (b * p.n_heads + h) * p.n_queries + i;
  }

  T row_delta(int64_t b, int64_t h, int64_t i) const {
    const T* x = dout.at(b, h, i);
    const T* y = out.at(b, h, i);
    V sum = V(T(0));
    int64_t e = 0;
    for (; e + V::size <= p.v_width; e += V::size) sum += V::load(x + e) * V::load(y + e);
    if (const int rest = static_cast<int>(p.v_width - e); rest > 0) {
      sum += load_some<V>(x + e, rest) * load_some<V>(y + e, rest);
    }
    return hsum(sum);
  }

  struct Memory {
    T *keys, *values, *scores, *products, *delta, *dk, *dv;
  };
  int64_t memory_size() const {
    return 2 * p.block * (p.width + p.v_width + p.queries) + shared * p.n_queries;
  }
  Memory carve(T* at) const {
    const auto take = [&](int64_t n) { return std::exchange(at, at + n); };
    const int64_t key_size = p.block * p.width, value_size = p.block * p.v_width,
                  score_size = p.block * p.queries;
    Memory m;
    m.keys = take(key_size);
    m.values = take(value_size);
    m.scores = take(score_size);
    m.products = take(score_size);
    m.dk = take(key_size);
    m.dv = take(value_size);
    m.delta = at;
    return m;
  }

  void task(int64_t b, int64_t g, int64_t part, T* parts, const Memory& m) const {
    for (int64_t a = 0; a < shared; ++a) {
      for (int64_t i = 0; i < p.n_queries; ++i)
        m.delta[a * p.n_queries + i] = row_delta(b, g * shared + a, i);
    }
    const int64_t first = part * piece * p.block,
                  last = std::min(p.n_keys, (part + 1) * piece * p.block);
    for (int64_t j = first; j == first || j < last; j += p.block)
      key_block(b, g, part, parts, m, j, std::min(p.block, last - j), j == first);
  }

  /// Keys j .. j + n: their gradients, and their part of dq, which the first block overwrites.
  void key_block(int64_t b, int64_t g, int64_t part, T* parts, const Memory& m, int64_t j,
                 int64_t n, bool first) const {
    p.transpose(p.k.at(b, g, j), p.k.row, n, p.width, m.keys);
    p.transpose(p.v.at(b, g, j), p.v.row, n, p.v_width, m.values);
    std::fill_n(m.dk, n * p.width, T(0));
    std::fill_n(m.dv, n * p.v_width, T(0));
    for (int64_t h = g * shared; h < (g + 1) * shared; ++h) {
      for (int64_t i = 0; i < p.n_queries; i += p.queries) {
        const int64_t rows = std::min(p.queries, p.n_queries - i);
        const int64_t cols = p.causal ? std::min(n, i + rows - j) : n;
        T* const to = part == 0 ? dq.at(b, h, i)
                                : parts + (part - 1) * part_size +
                                      ((b * p.n_heads + h) * p.n_queries + i) * p.width;
        const int64_t to_row = part == 0 ? dq.row : p.width;
        if (cols <= 0) {
          if (!first) continue;
          for (int64_t r = 0; r < rows; ++r) std::fill_n(to + r * to_row, p.width, T(0));
          continue;
        }
        const T* const q = p.q.at(b, h, i);
        const T* const dy = dout.at(b, h, i);
        p.multiply_transposed(q, p.q.row, rows, p.width, p.exponent, m.keys, cols, m.scores);
        p.multiply_transposed(dy, dout.row, rows, p.v_width, T(1), m.values, cols, m.products);
        gradient_block(p, b, h, i, rows, j, cols, log_sum(b, h, i),
                       m.delta + (h - g * shared) * p.n_queries + i, m.scores, m.products);
        gemm_serial<T>(true, false, cols, p.v_width, rows, T(1), m.scores, p.block, dy, dout.row,
                       T(1), m.dv, p.v_width);
        gemm_serial<T>(true, false, cols, p.width, rows, p.scale, m.products, p.block, q, p.q.row,
                       T(1), m.dk, p.width);
        gemm_serial<T>(false, false, rows, p.width, cols, p.scale, m.products, p.block,
                       p.k.at(b, g, j), p.k.row, T(!first), to, to_row);
      }
    }
    for (int64_t r = 0; r < n; ++r) {
      std::copy_n(m.dk + r * p.width, p.width, dk.at(b, g, j + r));
      std::copy_n(m.dv + r * p.v_width, p.v_width, dv.at(b, g, j + r));
    }
  }

  /// dq += the parts, row r of all.
  void add_parts(int64_t r, const T* parts) const {
    T* const to = dq.at(r / p.n_queries / p.n_heads, r / p.n_queries % p.n_heads, r % p.n_queries);
    for (int64_t k = 0; k + 1 < pieces; ++k) {
      const T* const from = parts + k * part_size + r * p.width;
      for (int64_t e = 0; e < p.width; ++e) to[e] += from[e];
    }
  }
};

template <class T>
void attention_backward_of(const Call& c) {
  const Gradients<T> f(c);
  const Problem<T>& p = f.p;
  const Scratch<T> parts((f.pieces - 1) * f.part_size);
  const int64_t work = f.shared * p.n_queries * p.n_keys * (p.width + p.v_width) / f.pieces;
  parallel_for(p.n_batch * p.n_groups * f.pieces, grain_of(work), [&](int64_t begin, int64_t end) {
    const Scratch<T> buffer(f.memory_size());
    for (int64_t t = begin; t < end; ++t) {
      const int64_t pair = t / f.pieces;
      f.task(pair / p.n_groups, pair % p.n_groups, t % f.pieces, parts.data(),
             f.carve(buffer.data()));
    }
  });
  if (f.pieces == 1) return;
  parallel_for(p.n_batch * p.n_heads * p.n_queries,
               std::max<int64_t>(1, kGrain / std::max<int64_t>(1, p.width * f.pieces)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) f.add_parts(r, parts.data());
               });
}

void attention(const Call& c) {
  c.compute == Compute::F32 ? attention_of<float>(c) : attention_of<double>(c);
}
void attention_backward(const Call& c) {
  c.compute == Compute::F32 ? attention_backward_of<float>(c) : attention_backward_of<double>(c);
}

/// By batch entries, where no part has few enough tasks to cut them otherwise than the whole does.
bool cut_batch(const Call& c, int parts, int first, uint32_t operands, Cut& cut) {
  const TensorImpl& q = c.in(first);
  const TensorImpl& k = c.in(first + 1);
  if (q.sizes[0] / parts * k.sizes[1] < kFewTasks) return false;
  const TensorImpl* const mask = c.maybe_in(first + 3);
  const bool own_masks = mask && mask->ndim() == 4 && mask->sizes[0] == q.sizes[0];
  if (own_masks) operands |= 1u << (c.n_out + first + 3);
  cut.nanoseconds = 0.05 * static_cast<double>(q.numel * k.sizes[2] * (first + 1));
  return cut_rows(c, parts, operands, cut);
}
bool cut_attention(const Call& c, int parts, Cut& cut) {
  return cut_batch(c, parts, 0, 0b011111, cut);
}
bool cut_attention_backward(const Call& c, int parts, Cut& cut) {
  return cut_batch(c, parts, 1, 0b1101111111, cut);
}

}  // namespace

void register_attention_kernels() {
  static const CutRegistration forward("scaled_dot_product_attention", cut_attention);
  static const CutRegistration backward("scaled_dot_product_attention_backward",
                                        cut_attention_backward);
  constexpr int cpu = static_cast<int>(DeviceType::CPU);
  Op::get("scaled_dot_product_attention").kernel[cpu] = &attention;
  Op::get("scaled_dot_product_attention_backward").kernel[cpu] = &attention_backward;
}

}  // namespace GS_ISA
}  // namespace gradstep
