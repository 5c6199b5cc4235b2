// SPDX-License-Identifier: Apache-2.0
// gradstep's own matrix product, used by gemm.cpp: for small and narrow shapes always, for all
// shapes where there is no BLAS. gemm_own.cpp is compiled once per instruction set and fills one
// table each. All matrices are row-major; A and B are read through a row and a column stride, so a
// transpose is free.
#pragma once
#include <cstdint>

namespace gradstep {

/// C (m x n) = alpha * A (m x k) B (k x n) + beta * C. Strides are in elements; C's column stride
/// is 1.
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
};

template <class T>
struct GemmOwn {
  int64_t slice;                      ///< rows of one packed slice of A
  int64_t panel;                      ///< columns of one packed panel of B
  int64_t depth;                      ///< largest k of one packed block
  void (*small)(const GemmArgs<T>&);  ///< nothing of A is packed, nothing allocated; k <= depth
  /// Packs slices [begin, end) of A: `packed` holds k * slice elements for each.
  void (*pack_rows)(const GemmArgs<T>&, int64_t begin, int64_t end, T* packed);
  /// Packs panels [begin, end) of B: `packed` holds k * panel elements for each.
  void (*pack_columns)(const GemmArgs<T>&, int64_t begin, int64_t end, T* packed);
  /// Slices times panels.
  void (*packed)(const GemmArgs<T>&, int64_t slice_begin, int64_t slice_end, int64_t panel_begin,
                 int64_t panel_end, const T* packed_a, const T* packed_b);
  /// y (rows, stride y_step) = alpha * M x + beta * y; M has contiguous rows of k elements, x is
  /// contiguous.
  void (*dot_rows)(int64_t rows, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x,
                   T beta, T* y, int64_t y_step);
  /// y (cols, contiguous) = alpha * sum_p x[p] M[p] + beta * y; M has k rows of cols contiguous
  /// elements.
  void (*sum_rows)(int64_t cols, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x,
                   T beta, T* y);
};

struct GemmOwnTable {
  GemmOwn<float> f32;
  GemmOwn<double> f64;
};

}  // namespace gradstep
