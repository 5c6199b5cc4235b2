// SPDX-License-Identifier: Apache-2.0
// How matrix products are cut for the thread pool; see gemm.h. Cuts depend on the shape only, so
// that results do not depend on the number of threads.
#include "kernels/gemm.h"

#include <algorithm>

#include "core/memory.h"
#include "kernels/instruction_set.h"

GS_DECLARE_ISA_TABLE(GemmOwnTable, kGemmOwn)

namespace gradstep {

namespace {

// Measured on two Sapphire Rapids cores.
constexpr int64_t kChunkCost = 16000;     // least half cycles of a chunk: about 2 us
constexpr int64_t kVectorWork = 1 << 17;  // worth a parallel region of a matrix times a vector
constexpr int64_t kShortRow = 128;        // many short rows times a vector are a product
constexpr int64_t kMaxTiles = 64;
constexpr int64_t kVectorChunks = 16;
constexpr int64_t kVectorElements = 4096;  // stack copy of a strided vector

template <class T>
const GemmOwn<T>& own() {
  const GemmOwnTable& table = GS_ISA_TABLE(kGemmOwn);
  if constexpr (sizeof(T) == 4) {
    return table.f32;
  } else {
    return table.f64;
  }
}

// ---- matrix times matrix ----

int64_t count(int64_t n, int64_t step) { return (n + step - 1) / step; }
int64_t half(int64_t n, int64_t unit) { return count(count(n, 2), unit) * unit; }
constexpr int64_t kLayerUnit = 16;

/// Rows [i, i + rows), columns [j, j + cols) and depth [p, p + k) of a product.
template <class T>
GemmArgs<T> block(const GemmArgs<T>& g, int64_t i, int64_t rows, int64_t j, int64_t cols, int64_t p,
                  int64_t k) {
  GemmArgs<T> b = g;
  b.m = std::min(rows, g.m - i);
  b.n = std::min(cols, g.n - j);
  b.k = std::min(k, g.k - p);
  b.a += i * g.a_row + p * g.a_col;
  b.b += j * g.b_col + p * g.b_row;
  b.c += i * g.ldc + j;
  if (g.bias) b.bias += j;
  return b;
}

/// Whether k goes down the rows of A and of B as they are stored: gradients of weights.
template <class T>
bool rows_of_both(const GemmArgs<T>& g) {
  return g.a_row == 1 && g.a_col != 1 && g.b_col == 1;
}
/// Half cycles that a thread waits for what other threads wrote, which makes that part of a product
/// of k: cutting k leaves each with the rows that it made.
template <class T>
int64_t cost_of_reading(const GemmArgs<T>& part, int64_t k) {
  return rows_of_both(part) && part.k == k ? (part.m + part.n) * k * 4 / 5 : 0;
}

/// Blocks of C and of k, each one chunk's. The product is halved again and again, along the side
/// that leaves the cheaper halves: a block turns or copies its own parts of A and B, reads what
/// other threads made, and where k is cut there are sums to add up.
template <class T>
GemmCuts cuts_of(const GemmArgs<T>& g, int64_t cost) {
  constexpr int64_t kRowUnit = 4, kColumnUnit = 16;
  GemmCuts c{g.m, g.n, g.k};
  const auto n_blocks = [&] {
    return count(g.m, c.rows) * count(g.n, c.cols) * count(g.k, c.depth);
  };
  const int64_t most = std::clamp<int64_t>(g.m * g.n * g.k >> 26, 4, kMaxTiles);
  while (cost >= 2 * kChunkCost && n_blocks() < most) {
    struct Cut {
      int64_t* side;
      int64_t half, more, cost = 0;
    } cuts[] = {{&c.rows, half(c.rows, kRowUnit), 0},
                {&c.cols, half(c.cols, kColumnUnit), 0},
                {&c.depth, half(c.depth, kLayerUnit), 2 * g.m * g.n}};
    const Cut* best = nullptr;
    for (Cut& cut : cuts) {
      const int64_t whole = *cut.side;
      if (cut.half >= whole) continue;
      *cut.side = cut.half;
      const GemmArgs<T> b = block(g, 0, c.rows, 0, c.cols, 0, c.depth);
      *cut.side = whole;
      cut.cost = own<T>().cost(b);
      cut.more += cut.cost + cost_of_reading(b, g.k);
      if (!best || cut.more < best->more) best = &cut;
    }
    if (!best) break;
    *best->side = best->half;
    cost = best->cost;
  }
  return c;
}

/// Adds a block of sums to C.
template <class T>
void add_block(T* c, int64_t ldc, const T* from, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) c[i * ldc + j] += from[i * cols + j];
  }
}

/// gemm_part of a product that is none of gemm_column.
template <class T>
void blocks_part(const GemmArgs<T>& g, const GemmCuts& c, int64_t i, int64_t rows, int64_t j,
                 int64_t cols) {
  // The sum of a layer and C is the same whether the layer stood by itself before or not.
  const bool in_place = c.depth <= kGemmOneSum && g.alpha == T(1);
  const Scratch<T> more(c.depth < g.k && !in_place ? rows * cols : 0);
  for (int64_t p = 0; p < g.k; p += c.depth) {
    for (int64_t bi = i / c.rows * c.rows; bi < i + rows; bi += c.rows) {
      const int64_t top = std::max(bi, i), bottom = std::min(bi + c.rows, i + rows);
      for (int64_t bj = j / c.cols * c.cols; bj < j + cols; bj += c.cols) {
        const int64_t left = std::max(bj, j), right = std::min(bj + c.cols, j + cols);
        GemmArgs<T> b = block(g, bi, c.rows, bj, c.cols, p, c.depth);
        if (p > 0) {
          b.beta = T(in_place);
          b.bias = nullptr;
        }
        if (p > 0 && !in_place) {
          b.c = more.data() + (bi - i) * cols + (bj - j);
          b.ldc = cols;
        }
        own<T>().part(b, top - bi, bottom - top, left - bj, right - left);
      }
    }
    if (p > 0 && !in_place) add_block(g.c + i * g.ldc + j, g.ldc, more.data(), rows, cols);
  }
}

/// The block of a layer, which becomes C or its matrix of `more`.
template <class T>
GemmArgs<T> layer_block(const GemmArgs<T>& g, const GemmCuts& c, int64_t layer, int64_t i,
                        int64_t j, T* more) {
  GemmArgs<T> b = block(g, i, c.rows, j, c.cols, layer * c.depth, c.depth);
  if (layer > 0) {
    b.c = more + ((layer - 1) * g.m + i) * g.n + j;
    b.ldc = g.n;
    b.beta = T(0);
    b.bias = nullptr;
  }
  return b;
}

template <class T>
void parallel_blocks(const GemmArgs<T>& g, int64_t cost) {
  const GemmCuts c = cuts_of(g, cost);
  const int64_t across = count(g.n, c.cols), tiles = count(g.m, c.rows) * across;
  const int64_t sums = count(g.k, c.depth) - 1;  // beyond those that stand in C
  if (num_threads() == 1) return blocks_part(g, c, 0, g.m, 0, g.n);
  const Scratch<T> more(sums * g.m * g.n);
  parallel_for(tiles * (sums + 1), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      own<T>().product(layer_block(g, c, t / tiles, t % tiles / across * c.rows,
                                   t % across * c.cols, more.data()));
    }
  });
  gemm_add_layers(g, more.data(), sums, 0, g.m);
}

constexpr int64_t kTiny = 1024;  // multiplications that no shape makes worth two chunks

/// A sum over many rows of narrow matrices, a weight's gradient of a small layer, is made of two
/// layers in any case, at next to no cost: threads of a captured step have one each.
template <class T>
bool has_two_layers(const GemmArgs<T>& g) {
  constexpr int64_t kLeastDepth = 128, kNarrow = 8;
  return g.k >= kLeastDepth && g.m * g.n <= kNarrow * g.k && rows_of_both(g);
}

template <class T>
GemmCuts two_layers(const GemmArgs<T>& g) {
  return {g.m, g.n, half(g.k, kLayerUnit)};
}

template <class T>
void matrix_product(const GemmArgs<T>& g, bool threads) {
  if (threads && g.m * g.n * g.k > kTiny) {
    const int64_t cost = own<T>().cost(g);
    if (cost >= 2 * kChunkCost) return parallel_blocks(g, cost);
    if (has_two_layers(g)) return blocks_part(g, two_layers(g), 0, g.m, 0, g.n);
  }
  own<T>().product(g);
}

// ---- matrix times vector ----

/// A strided vector as a contiguous one, copied where it must be.
template <class T>
class Contiguous {
 public:
  Contiguous(const T* x, int64_t n, int64_t step) : data_(x) {
    if (step == 1) return;
    T* copy = n <= kVectorElements ? local_ : static_cast<T*>(allocate(bytes_ = n * sizeof(T)));
    if (bytes_ > 0) heap_ = copy;
    for (int64_t i = 0; i < n; ++i) copy[i] = x[i * step];
    data_ = copy;
  }
  ~Contiguous() {
    if (heap_) deallocate(heap_, bytes_);
  }
  Contiguous(const Contiguous&) = delete;
  Contiguous& operator=(const Contiguous&) = delete;
  const T* data() const { return data_; }

 private:
  const T* data_;
  T* heap_ = nullptr;
  size_t bytes_ = 0;
  T local_[kVectorElements];
};

template <class T>
void run_dot_rows(bool threads, int64_t rows, int64_t k, T alpha, const T* matrix, int64_t ld,
                  const T* x, T beta, T* y, int64_t y_step) {
  if (k <= kShortRow && rows > 1) {
    return matrix_product<T>({rows, 1, k, alpha, matrix, ld, 1, x, 1, k, beta, y, y_step, nullptr},
                             threads);
  }
  if (!threads || rows * k < kVectorWork) {
    return own<T>().dot_rows(rows, k, alpha, matrix, ld, x, beta, y, y_step);
  }
  const int64_t grain = std::max<int64_t>(1, (rows + kVectorChunks - 1) / kVectorChunks);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    own<T>().dot_rows(end - begin, k, alpha, matrix + begin * ld, ld, x, beta, y + begin * y_step,
                      y_step);
  });
}

template <class T>
void run_sum_rows(bool threads, int64_t cols, int64_t k, T alpha, const T* matrix, int64_t ld,
                  const T* x, T beta, T* y) {
  if (!threads || cols * k < kVectorWork) {
    return own<T>().sum_rows(cols, k, alpha, matrix, ld, x, beta, y);
  }
  const int64_t grain = std::max<int64_t>(64, (cols + kVectorChunks - 1) / kVectorChunks);
  parallel_for(cols, grain, [&](int64_t begin, int64_t end) {
    own<T>().sum_rows(end - begin, k, alpha, matrix + begin, ld, x, beta, y + begin);
  });
}

/// The product with one row or one column, if it is one. C's rows of one element may be strided.
template <class T>
bool vector_product(const GemmArgs<T>& g, bool threads) {
  if (g.n == 1) {
    const Contiguous<T> x(g.b, g.k, g.b_row);
    if (g.a_col == 1) {
      run_dot_rows<T>(threads, g.m, g.k, g.alpha, g.a, g.a_row, x.data(), g.beta, g.c, g.ldc);
      return true;
    }
    if (g.ldc == 1) {
      run_sum_rows<T>(threads, g.m, g.k, g.alpha, g.a, g.a_col, x.data(), g.beta, g.c);
      return true;
    }
    return false;
  }
  if (g.m == 1) {
    const Contiguous<T> x(g.a, g.k, g.a_col);
    if (g.b_col == 1) {
      run_sum_rows<T>(threads, g.n, g.k, g.alpha, g.b, g.b_row, x.data(), g.beta, g.c);
    } else {
      run_dot_rows<T>(threads, g.n, g.k, g.alpha, g.b, g.b_col, x.data(), g.beta, g.c, 1);
    }
    return true;
  }
  return false;
}

// ---- any product ----

template <class T>
void product(GemmArgs<T> g, bool threads) {
  if (g.m <= 0 || g.n <= 0) return;
  const bool nothing = g.k <= 0 || g.alpha == T(0);
  const bool vector = !nothing && (g.n == 1 || g.m == 1);
  if (nothing || (vector && g.bias)) {
    for (int64_t i = 0; i < g.m; ++i) {
      T* row = g.c + i * g.ldc;
      for (int64_t j = 0; j < g.n; ++j) {
        row[j] = (g.beta == T(0) ? T(0) : g.beta * row[j]) + (g.bias ? g.bias[j] : T(0));
      }
    }
    if (nothing) return;
    g.beta = T(1);
    g.bias = nullptr;
  }
  if (vector && vector_product(g, threads)) return;
  matrix_product(g, threads);
}

}  // namespace

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  product(gemm_args(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), true);
}

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  product(gemm_args(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), false);
}

template <class T>
void gemm_bias(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
               int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc, const T* bias,
               int64_t step) {
  const Contiguous<T> row(bias, n, step);
  GemmArgs<T> g = gemm_args(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, T(0), c, ldc);
  g.bias = row.data();
  product(g, true);
}

template <class T>
GemmCuts gemm_cuts(const GemmArgs<T>& g) {
  const GemmCuts whole{g.m, g.n, g.k};
  if (g.m * g.n * g.k <= kTiny) return whole;
  const int64_t cost = own<T>().cost(g);
  if (cost >= 2 * kChunkCost) return cuts_of(g, cost);
  return has_two_layers(g) ? two_layers(g) : whole;
}

template <class T>
int64_t gemm_cost(const GemmArgs<T>& g) {
  return own<T>().cost(g);
}

template <class T>
bool gemm_column(GemmArgs<T>& g) {
  if (g.n != 1 || g.m < 2 || g.a_col != 1 || g.b_row != 1) return false;
  g.b_col = g.k;
  return true;
}

namespace {

/// Rows [i, i + rows) of a product of gemm_column.
template <class T>
void column_part(GemmArgs<T> g, const GemmCuts& c, int64_t i, int64_t rows) {
  T* const out = g.c + i * g.ldc;
  if (g.bias) {
    for (int64_t r = 0; r < rows; ++r) out[r * g.ldc] = g.bias[0];
    g.beta = T(1);
    g.bias = nullptr;
  }
  if (g.k <= kShortRow) return blocks_part(g, c, i, rows, 0, 1);
  own<T>().dot_rows(rows, g.k, g.alpha, g.a + i * g.a_row, g.a_row, g.b, g.beta, out, g.ldc);
}

}  // namespace

template <class T>
void gemm_part(const GemmArgs<T>& g, const GemmCuts& c, int64_t i, int64_t rows, int64_t j,
               int64_t cols) {
  GemmArgs<T> column = g;
  if (gemm_column(column)) return column_part(column, c, i, rows);
  blocks_part(g, c, i, rows, j, cols);
}

template <class T>
void gemm_layers(const GemmArgs<T>& g, const GemmCuts& c, int64_t begin, int64_t end, T* more) {
  for (int64_t layer = begin; layer < end; ++layer) {
    for (int64_t i = 0; i < g.m; i += c.rows) {
      for (int64_t j = 0; j < g.n; j += c.cols)
        own<T>().product(layer_block(g, c, layer, i, j, more));
    }
  }
}

template <class T>
void gemm_add_layers(const GemmArgs<T>& g, const T* more, int64_t n, int64_t begin, int64_t end) {
  for (int64_t layer = 0; layer < n; ++layer)
    add_block(g.c + begin * g.ldc, g.ldc, more + (layer * g.m + begin) * g.n, end - begin, g.n);
}

template <class T>
void gemm_batched(int64_t batch, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  T alpha, const T* a, int64_t lda, int64_t stride_a, const T* b, int64_t ldb,
                  int64_t stride_b, T beta, T* c, int64_t ldc, int64_t stride_c) {
  if (batch <= 0) return;
  if (stride_b == 0 && !trans_a && stride_a == m * lda && stride_c == m * ldc) {
    return gemm(trans_a, trans_b, batch * m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  }
  const GemmArgs<T> first =
      gemm_args(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  const int64_t cost = m > 0 && n > 0 && k > 0 ? own<T>().cost(first) : 1;
  const auto entry = [&](int64_t i, bool threads) {
    GemmArgs<T> g = first;
    g.a += i * stride_a;
    g.b += i * stride_b;
    g.c += i * stride_c;
    product(g, threads);
  };
  if (batch < 8 && cost >= 2 * kChunkCost) {
    for (int64_t i = 0; i < batch; ++i) entry(i, true);
  } else {
    parallel_for(batch, std::max<int64_t>(1, 2 * kChunkCost / cost),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) entry(i, false);
                 });
  }
}

#define GS_INSTANTIATE(T)                                                                      \
  template GemmCuts gemm_cuts<T>(const GemmArgs<T>&);                                          \
  template int64_t gemm_cost<T>(const GemmArgs<T>&);                                           \
  template bool gemm_column<T>(GemmArgs<T>&);                                                  \
  template void gemm_part<T>(const GemmArgs<T>&, const GemmCuts&, int64_t, int64_t, int64_t,   \
                             int64_t);                                                         \
  template void gemm_layers<T>(const GemmArgs<T>&, const GemmCuts&, int64_t, int64_t, T*);     \
  template void gemm_add_layers<T>(const GemmArgs<T>&, const T*, int64_t, int64_t, int64_t);   \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, \
                        int64_t, T, T*, int64_t);                                              \
  template void gemm_serial<T>(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t,    \
                               const T*, int64_t, T, T*, int64_t);                             \
  template void gemm_bias<T>(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t,      \
                             const T*, int64_t, T*, int64_t, const T*, int64_t);               \
  template void gemm_batched<T>(int64_t, bool, bool, int64_t, int64_t, int64_t, T, const T*,   \
                                int64_t, int64_t, const T*, int64_t, int64_t, T, T*, int64_t,  \
                                int64_t);
GS_INSTANTIATE(float)
GS_INSTANTIATE(double)
#undef GS_INSTANTIATE

}  // namespace gradstep
