// SPDX-License-Identifier: Apache-2.0
// Which matrix product runs, and how it is cut for the thread pool; see gemm.h. Cuts depend on the
// shape only, so that results do not depend on the number of threads.
#include "kernels/gemm.h"

#include <cstdlib>
#include <limits>

#include "core/memory.h"
#include "kernels/gemm_own.h"
#include "kernels/instruction_set.h"

#ifdef GS_WITH_OPENBLAS
extern "C" {
void scipy_openblas_set_num_threads(int);
void scipy_cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                       const float* a, int lda, const float* b, int ldb, float beta, float* c,
                       int ldc);
void scipy_cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha,
                       const double* a, int lda, const double* b, int ldb, double beta, double* c,
                       int ldc);
}
#endif

GS_DECLARE_ISA_TABLE(GemmOwnTable, kGemmOwn)

namespace gradstep {

namespace {

// Counted in multiplications; measured on one Sapphire Rapids core against OpenBLAS 0.3.34, with
// AVX-512 and AVX2.
constexpr int64_t kUnpackedWork = 1 << 24;  // up to here the own product does not pack A
constexpr int64_t kUnpackedA = 1 << 17;     // elements of A, which must stay in the L2
constexpr int64_t kParallelWork = 1 << 20;  // worth a parallel region
constexpr int64_t kTileWork = 1 << 20;      // least work of one chunk
constexpr int64_t kUnpackedTiles = 8;       // each packs its part of B again
constexpr int64_t kVectorWork = 1 << 17;    // worth a parallel region of a matrix times a vector
constexpr int64_t kMaxTiles = 16;
constexpr int64_t kOwnSide = 4096;            // rows of A and columns of B packed at once
constexpr int64_t kPackedElements = 1 << 21;  // more than one block of k is packed if that is all
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kVectorElements = 4096;  // stack copy of a strided vector

GemmBackend backend_ = GemmBackend::Auto;

template <class T>
const GemmOwn<T>& own() {
  const GemmOwnTable& table = GS_ISA_TABLE(kGemmOwn);
  if constexpr (sizeof(T) == 4) {
    return table.f32;
  } else {
    return table.f64;
  }
}

template <class T>
GemmArgs<T> arguments(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha,
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
          ldc};
}

/// Rows [i, i + m) and columns [j, j + n) of the product.
template <class T>
GemmArgs<T> tile(GemmArgs<T> g, int64_t i, int64_t j, int64_t m, int64_t n) {
  g.m = m;
  g.n = n;
  g.a += i * g.a_row;
  g.b += j * g.b_col;
  g.c += i * g.ldc + j;
  return g;
}

template <class T>
GemmArgs<T> depth_block(GemmArgs<T> g, int64_t p, int64_t k) {
  g.a += p * g.a_col;
  g.b += p * g.b_row;
  g.k = k;
  if (p > 0) g.beta = T(1);
  return g;
}

// ---- vectors ----

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
  if (!threads || rows * k < kVectorWork) {
    return own<T>().dot_rows(rows, k, alpha, matrix, ld, x, beta, y, y_step);
  }
  const int64_t grain = std::max<int64_t>(1, (rows + kMaxTiles - 1) / kMaxTiles);
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
  const int64_t grain = std::max<int64_t>(64, (cols + kMaxTiles - 1) / kMaxTiles);
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

// ---- own product ----

template <class Body>
void each(bool threads, int64_t n, Body&& body) {
  if (threads) {
    parallel_for(n, std::max<int64_t>(1, n / kMaxChunks), body);
  } else {
    body(int64_t{0}, n);
  }
}

/// Packs A and B in one parallel region, multiplies tiles of C in a second one.
template <class T>
void own_block(const GemmArgs<T>& g, bool threads) {
  const GemmOwn<T>& f = own<T>();
  const int64_t n_slices = (g.m + f.slice - 1) / f.slice, n_panels = (g.n + f.panel - 1) / f.panel;
  const int64_t a_size = n_slices * f.slice, b_size = n_panels * f.panel;  // elements per unit of k
  const int64_t n_blocks = (g.k + f.depth - 1) / f.depth;
  const int64_t at_once =
      std::clamp<int64_t>(kPackedElements / ((a_size + b_size) * f.depth), 1, n_blocks);
  const int64_t depth = n_blocks == 1 ? g.k : f.depth;
  const size_t bytes = sizeof(T) * (a_size + b_size) * depth * at_once;
  T* const packed_a = static_cast<T*>(allocate(bytes));
  T* const packed_b = packed_a + a_size * depth * at_once;
  // Tiles of about 96 x 256, smaller if there would be few.
  int64_t slices = std::min<int64_t>(n_slices, 96 / f.slice),
          panels = std::min<int64_t>(n_panels, 256 / f.panel);
  const auto count = [](int64_t n, int64_t step) { return (n + step - 1) / step; };
  while (threads && count(n_slices, slices) * count(n_panels, panels) < kMaxTiles) {
    if (panels * f.panel >= slices * f.slice && panels > 1) {
      panels = (panels + 1) / 2;
    } else if (slices > 2) {
      slices = (slices + 1) / 2;
    } else {
      break;
    }
  }
  const int64_t tiles_across = count(n_panels, panels),
                n_tiles = count(n_slices, slices) * tiles_across;
  const int64_t slice_units = count(n_slices, 4), panel_units = count(n_panels, 2);

  for (int64_t first = 0; first < n_blocks; first += at_once) {
    const int64_t here = std::min(at_once, n_blocks - first);
    const auto block = [&](int64_t q) {
      const int64_t p = (first + q) * f.depth;
      return depth_block(g, p, std::min(f.depth, g.k - p));
    };
    each(threads, here * (slice_units + panel_units), [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t q = u / (slice_units + panel_units), unit = u % (slice_units + panel_units);
        if (unit < slice_units) {
          f.pack_rows(block(q), unit * 4, std::min(unit * 4 + 4, n_slices),
                      packed_a + q * a_size * depth);
        } else {
          const int64_t panel = (unit - slice_units) * 2;
          f.pack_columns(block(q), panel, std::min(panel + 2, n_panels),
                         packed_b + q * b_size * depth);
        }
      }
    });
    each(threads, n_tiles, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t slice = t / tiles_across * slices, panel = t % tiles_across * panels;
        for (int64_t q = 0; q < here; ++q) {
          f.packed(block(q), slice, std::min(slice + slices, n_slices), panel,
                   std::min(panel + panels, n_panels), packed_a + q * a_size * depth,
                   packed_b + q * b_size * depth);
        }
      }
    });
  }
  deallocate(packed_a, bytes);
}

/// Side lengths of the tiles that C is cut into.
template <class T>
void tile_sides(const GemmArgs<T>& g, int64_t& rows, int64_t& cols) {
  rows = g.m;
  cols = g.n;
  int64_t n_tiles = 1;
  while (rows * cols * g.k >= 2 * kTileWork && n_tiles < kUnpackedTiles) {
    // Halves, rounded up to whole register tiles.
    int64_t& side = rows >= cols ? rows : cols;
    const int64_t half = ((side + 1) / 2 + 31) / 32 * 32;
    if (half >= side) break;
    side = half;
    n_tiles = ((g.m + rows - 1) / rows) * ((g.n + cols - 1) / cols);
  }
}

/// A product whose A stays in the cache, which need not be packed.
template <class T>
void own_unpacked(const GemmArgs<T>& g) {
  const GemmOwn<T>& f = own<T>();
  if (g.k <= f.depth) return f.small(g);
  for (int64_t p = 0; p < g.k; p += f.depth) f.small(depth_block(g, p, std::min(f.depth, g.k - p)));
}

template <class T>
void own_unpacked_tiles(const GemmArgs<T>& g) {
  int64_t rows, cols;
  tile_sides(g, rows, cols);
  const int64_t n_cols = (g.n + cols - 1) / cols, n_tiles = ((g.m + rows - 1) / rows) * n_cols;
  parallel_for(n_tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t i = t / n_cols * rows, j = t % n_cols * cols;
      own_unpacked(tile(g, i, j, std::min(rows, g.m - i), std::min(cols, g.n - j)));
    }
  });
}

template <class T>
void own_packed(const GemmArgs<T>& g, bool threads) {
  for (int64_t i = 0; i < g.m; i += kOwnSide) {
    for (int64_t j = 0; j < g.n; j += kOwnSide) {
      own_block(tile(g, i, j, std::min(kOwnSide, g.m - i), std::min(kOwnSide, g.n - j)), threads);
    }
  }
}

// ---- OpenBLAS ----

#ifdef GS_WITH_OPENBLAS
template <class T>
void blas(const GemmArgs<T>& g) {
  static const bool once = (scipy_openblas_set_num_threads(1), true);
  static_cast<void>(once);
  constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
  const bool trans_a = g.a_col != 1, trans_b = g.b_col != 1;
  const int m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
  // A matrix of one row may come with any stride: BLAS insists on a legal one.
  const int lda = static_cast<int>(std::max(trans_a ? g.a_col : g.a_row, trans_a ? g.m : g.k));
  const int ldb = static_cast<int>(std::max(trans_b ? g.b_col : g.b_row, trans_b ? g.k : g.n));
  const int ldc = static_cast<int>(std::max(g.ldc, g.n));
  const auto run = [](auto* f, auto... x) { f(x...); };
  if constexpr (sizeof(T) == 4) {
    run(scipy_cblas_sgemm, kRowMajor, trans_a ? kTrans : kNoTrans, trans_b ? kTrans : kNoTrans, m,
        n, k, g.alpha, g.a, lda, g.b, ldb, g.beta, g.c, ldc);
  } else {
    run(scipy_cblas_dgemm, kRowMajor, trans_a ? kTrans : kNoTrans, trans_b ? kTrans : kNoTrans, m,
        n, k, g.alpha, g.a, lda, g.b, ldb, g.beta, g.c, ldc);
  }
}

template <class T>
bool blas_can(const GemmArgs<T>& g) {
  constexpr int64_t limit = std::numeric_limits<int>::max();
  return backend_ == GemmBackend::Auto && g.m <= limit && g.n <= limit && g.k <= limit &&
         std::max({g.a_row, g.a_col, g.b_row, g.b_col, g.ldc}) <= limit;
}
#endif

template <class T>
void product(const GemmArgs<T>& g, bool threads) {
  if (g.m <= 0 || g.n <= 0) return;
  if (g.k <= 0 || g.alpha == T(0)) {
    for (int64_t i = 0; i < g.m; ++i) {
      T* row = g.c + i * g.ldc;
      for (int64_t j = 0; j < g.n; ++j) row[j] = g.beta == T(0) ? T(0) : g.beta * row[j];
    }
    return;
  }
  if ((g.n == 1 || g.m == 1) && vector_product(g, threads)) return;
  const int64_t work = g.m * g.n * g.k;
  if (work <= kUnpackedWork && g.m * g.k <= kUnpackedA) {
    return threads && work >= kParallelWork ? own_unpacked_tiles(g) : own_unpacked(g);
  }
#ifdef GS_WITH_OPENBLAS
  if (!threads && blas_can(g)) return blas(g);
#endif
  own_packed(g, threads);
}

}  // namespace

void set_gemm_backend(GemmBackend backend) { backend_ = backend; }

const char* gemm_backend_name() {
#ifdef GS_WITH_OPENBLAS
  if (backend_ == GemmBackend::Auto) return "openblas";
#endif
  return "own";
}

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  product(arguments(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), true);
}

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  product(arguments(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), false);
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
      arguments(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  const int64_t work = std::max<int64_t>(1, m * n * k);
  const auto entry = [&](int64_t i, bool threads) {
    GemmArgs<T> g = first;
    g.a += i * stride_a;
    g.b += i * stride_b;
    g.c += i * stride_c;
    product(g, threads);
  };
  if (batch < 8 && work > kUnpackedWork) {
    for (int64_t i = 0; i < batch; ++i) entry(i, true);
  } else if (batch * work < kParallelWork) {
    for (int64_t i = 0; i < batch; ++i) entry(i, false);
  } else {
    parallel_for(batch, std::max<int64_t>(1, kTileWork / work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) entry(i, false);
    });
  }
}

#define GS_INSTANTIATE(T)                                                                      \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, \
                        int64_t, T, T*, int64_t);                                              \
  template void gemm_serial<T>(bool, bool, int64_t, int64_t, int64_t, T, const T*, int64_t,    \
                               const T*, int64_t, T, T*, int64_t);                             \
  template void gemm_batched<T>(int64_t, bool, bool, int64_t, int64_t, int64_t, T, const T*,   \
                                int64_t, int64_t, const T*, int64_t, int64_t, T, T*, int64_t,  \
                                int64_t);
GS_INSTANTIATE(float)
GS_INSTANTIATE(double)
#undef GS_INSTANTIATE

}  // namespace gradstep
