// SPDX-License-Identifier: Apache-2.0
// The matrix product of one thread, used by gemm.cpp. gemm_own.cpp is compiled once per instruction
// set and fills one table each. All matrices are row-major; A and B may be stored transposed.
#pragma once
#include <cstdint>

namespace gradstep {

/// C (m x n) = alpha * A (m x k) B (k x n) + beta * C + bias. Strides are in elements; of each
/// matrix one stride is 1, C's column stride always.
template <class T>
struct GemmArgs {
  int64_t m, n, k;
  T alpha;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T beta;
  T* c;
  int64_t ldc;
  const T* bias;  ///< n elements, or null
};

template <class T>
struct GemmOwn {
  int64_t panel;  ///< columns of a panel that pack_columns makes
  /// Any shape with m, n, k > 0. Nothing is allocated.
  void (*product)(const GemmArgs<T>&);
  /// Rows [i, i + rows) and columns [j, j + cols) of that, with the same bits.
  void (*part)(const GemmArgs<T>&, int64_t i, int64_t rows, int64_t j, int64_t cols);
  /// What a product takes in one thread, in half cycles of a core; from sizes and strides only.
  int64_t (*cost)(const GemmArgs<T>&);
  /// Packs panels [begin, end) of B, whose columns are contiguous, for products with `panel`
  /// columns each: `packed` holds k rows of `panel` elements for each of all panels. Columns beyond
  /// n are not specified.
  void (*pack_columns)(const GemmArgs<T>&, int64_t begin, int64_t end, T* packed);
  /// y (rows, stride y_step) = alpha * M x + beta * y; M has contiguous rows of k elements, x is
  /// contiguous.
  void (*dot_rows)(int64_t rows, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x,
                   T beta, T* y, int64_t y_step);
  /// y (cols, contiguous) = alpha * sum_p x[p] M[p] + beta * y; M has k rows of cols contiguous
  /// elements.
  void (*sum_rows)(int64_t cols, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x,
                   T beta, T* y);
};

/// With k up to this an element is one sum, to which C is added.
constexpr int64_t kGemmOneSum = 256;

struct GemmOwnTable {
  GemmOwn<float> f32;
  GemmOwn<double> f64;
};

}  // namespace gradstep
