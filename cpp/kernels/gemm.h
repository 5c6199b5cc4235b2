// SPDX-License-Identifier: Apache-2.0
// Matrix products on plain pointers, row-major, threaded by core/threads.h:
//   gemm<float>(false, true, m, n, k, 1, x, k, weight, k, 0, y, n);   // y = x @ weight.T
// The work is done by gemm_own.h. Results do not depend on the number of threads. m, n and k may be
// 0; beta = 0 ignores what C holds.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/threads.h"
#include "kernels/gemm_own.h"

namespace gradstep {

/// C (m x n) = alpha * op(A) op(B) + beta * C; op(A) is m x k and op(B) k x n. T is float or
/// double. lda is the distance between rows of A as stored (m x k, or k x m if trans_a); so are ldb
/// and ldc.
template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc);

/// The same as a record, without bias.
template <class T>
GemmArgs<T> gemm_args(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha,
                      const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  return {m,
          n,
          k,
          alpha,
          a,
          trans_a ? 1 : lda,
          trans_a ? lda : 1,
          b,
          trans_b ? 1 : ldb,
          trans_b ? ldb : 1,
          beta,
          c,
          ldc,
          nullptr};
}

/// The same in the calling thread only; for use inside parallel_for.
template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc);

/// C = alpha * op(A) op(B) + bias in every row; bias has n elements, `step` apart.
template <class T>
void gemm_bias(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
               int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc, const T* bias,
               int64_t step);

/// Whether gemm_cuts() and gemm_part() know a product with one column; its strides become those
/// that they work with.
template <class T>
bool gemm_column(GemmArgs<T>& g);
/// How gemm() cuts a product of more than one row and column, or one of gemm_column(), into blocks:
/// by sizes and strides.
struct GemmCuts {
  int64_t rows, cols, depth;
};
template <class T>
GemmCuts gemm_cuts(const GemmArgs<T>& g);
/// What it takes in one thread, in half cycles of a core.
template <class T>
int64_t gemm_cost(const GemmArgs<T>& g);
/// Rows [i, i + rows) and columns [j, j + cols) of it in the calling thread, with the bits of
/// gemm(): `cuts` are those of the whole.
template <class T>
void gemm_part(const GemmArgs<T>& g, const GemmCuts& cuts, int64_t i, int64_t rows, int64_t j,
               int64_t cols);
/// The layers [begin, end) of it, each `cuts.depth` of k: layer 0 becomes C, layer i > 0 becomes
/// the m x n matrix i - 1 of `more`.
template <class T>
void gemm_layers(const GemmArgs<T>& g, const GemmCuts& cuts, int64_t begin, int64_t end, T* more);
/// Adds the first `n` matrices of `more` to rows [begin, end) of C.
template <class T>
void gemm_add_layers(const GemmArgs<T>& g, const T* more, int64_t n, int64_t begin, int64_t end);
/// One product per batch entry; entry i starts at a + i * stride_a, and so on. A stride of 0 shares
/// a matrix.
template <class T>
void gemm_batched(int64_t batch, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  T alpha, const T* a, int64_t lda, int64_t stride_a, const T* b, int64_t ldb,
                  int64_t stride_b, T beta, T* c, int64_t ldc, int64_t stride_c);

/// Plain product for any type, sums in Acc: integers (wrapping, as PyTorch), halves with Acc =
/// float.
template <class T, class Acc = T>
void gemm_plain(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, Acc alpha, const T* a,
                int64_t lda, const T* b, int64_t ldb, Acc beta, T* c, int64_t ldc) {
  constexpr int64_t kCols = 256;
  const int64_t a_row = trans_a ? 1 : lda, a_col = trans_a ? lda : 1;
  const int64_t b_row = trans_b ? 1 : ldb, b_col = trans_b ? ldb : 1;
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 16) / std::max<int64_t>(1, n * k));
  parallel_for(m, grain, [&](int64_t begin, int64_t end) {
    Acc sum[kCols];
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < n; j += kCols) {
        const int64_t cols = std::min(kCols, n - j);
        std::fill(sum, sum + cols, Acc(0));
        for (int64_t p = 0; p < k; ++p) {
          const Acc x = static_cast<Acc>(a[i * a_row + p * a_col]);
          const T* row = b + p * b_row + j * b_col;
          for (int64_t q = 0; q < cols; ++q) sum[q] += x * static_cast<Acc>(row[q * b_col]);
        }
        T* out = c + i * ldc + j;
        for (int64_t q = 0; q < cols; ++q) {
          const Acc value = alpha * sum[q];
          out[q] = static_cast<T>(beta == Acc(0) ? value : value + beta * static_cast<Acc>(out[q]));
        }
      }
    }
  });
}

}  // namespace gradstep
