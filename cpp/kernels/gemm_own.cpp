// SPDX-License-Identifier: Apache-2.0
// The blocked matrix product in GCC vector extensions; compiled once per instruction set (GS_ISA).
// A register tile of kRows x 2 vectors runs over k; A and B are packed so that it reads both
// forwards.
#include "kernels/gemm_own.h"

#include <cstring>
#include <type_traits>

#ifdef __AVX__
#include <immintrin.h>
#endif

#include "kernels/instruction_set.h"

#define GS_INLINE inline __attribute__((always_inline))

namespace gradstep {
inline namespace GS_ISA {

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRows = 12;  // 24 of 32 registers hold the tile
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
constexpr int kRows = 6;  // 12 of 16
#else
constexpr int kVectorBytes = 16;
constexpr int kRows = 6;
#endif
constexpr int kDirectRows = 6;        // rows of the tile that reads A in place: one pointer each
constexpr int64_t kDepth = 256;       // k of one packed block
constexpr int64_t kInPlaceRows = 24;  // up to here a small product reads B where it is,
constexpr int64_t kInPlaceBytes = 36864;  // and if all of B's rows stay in the L1
#if defined(__AVX2__)
constexpr bool kMasks = true;  // a row's last elements can be loaded and stored without a copy
#else
constexpr bool kMasks = false;
#endif
#if defined(__AVX2__) && !defined(__AVX512F__)
constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
constexpr int64_t kMask64[8] = {-1, -1, -1, -1};
#endif

template <class T>
struct Traits {
  using Int = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef Int Index __attribute__((vector_size(kVectorBytes)));
  static constexpr int width = kVectorBytes / sizeof(T);
  static constexpr int panel = 2 * width;
};
template <class T>
using Vector = typename Traits<T>::Vector;

template <class T>
GS_INLINE Vector<T> load(const T* p) {
  Vector<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
GS_INLINE void store(T* p, Vector<T> v) {
  std::memcpy(p, &v, sizeof v);
}

/// The first n elements, 0 after them; reads nothing else.
template <class T>
GS_INLINE Vector<T> load_first(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
  } else {
    return (Vector<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return (Vector<T>)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i*)(kMask32 + 8 - n)));
  } else {
    return (Vector<T>)_mm256_maskload_pd(p, _mm256_loadu_si256((const __m256i*)(kMask64 + 4 - n)));
  }
#else
  Vector<T> v{};
  std::memcpy(&v, p, n * sizeof(T));
  return v;
#endif
}

/// Writes the first n elements only.
template <class T>
GS_INLINE void store_first(T* p, Vector<T> v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i*)(kMask32 + 8 - n)), (__m256)v);
  } else {
    _mm256_maskstore_pd(p, _mm256_loadu_si256((const __m256i*)(kMask64 + 4 - n)), (__m256d)v);
  }
#else
  std::memcpy(p, &v, n * sizeof(T));
#endif
}

/// Transposes a square of vectors in place, by exchanging ever larger blocks.
template <class T>
GS_INLINE void transpose(Vector<T> (&v)[Traits<T>::width]) {
  constexpr int width = Traits<T>::width;
  using Index = typename Traits<T>::Index;
#pragma GCC unroll 4
  for (int h = 1; h < width; h *= 2) {
    Index low, high;
#pragma GCC unroll 16
    for (int j = 0; j < width; ++j) {
      low[j] = j & h ? width + j - h : j;
      high[j] = j & h ? width + j : j + h;
    }
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) {
      if (i & h) continue;
      const Vector<T> x = v[i], y = v[i + h];
      v[i] = __builtin_shuffle(x, y, low);
      v[i + h] = __builtin_shuffle(x, y, high);
    }
  }
}

// ---- the register tile ----

/// sum = A B for R rows and C vectors of columns; with Tail, the last vector has `last` elements.
template <class T, int R, int C, bool Tail = false>
GS_INLINE void multiply(int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b,
                        int64_t b_row, Vector<T> (&sum)[R][C], int last = 0) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) sum[r][c] = Vector<T>{};
  }
  for (int64_t p = 0; p < k; ++p) {
    Vector<T> row[C];
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) {
      const T* from = b + c * Traits<T>::width;
      row[c] = Tail && c == C - 1 ? load_first<T>(from, last) : load<T>(from);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T x = a[r * a_row];
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) sum[r][c] += x * row[c];
    }
    a += a_col;
    b += b_row;
  }
}

/// Writes alpha * sum + beta * c for `rows` x `cols` of the tile.
template <class T, int R, int C>
GS_INLINE void write(Vector<T> (&sum)[R][C], T alpha, T beta, T* c, int64_t ldc, int rows,
                     int cols) {
  constexpr int width = Traits<T>::width;
  const int last = cols - (C - 1) * width;  // below 1 if the last vector is all padding
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    if (r >= rows) return;
    T* out = c + r * ldc;
#pragma GCC unroll 2
    for (int v = 0; v < C; ++v) {
      Vector<T> x = alpha * sum[r][v];
      T* to = out + v * width;
      const int here = v == C - 1 ? last : last < 0 ? width + last : width;
      if (here >= width) {
        if (beta != T(0)) x += beta * load<T>(to);
        store<T>(to, x);
      } else if (here > 0) {
        if (beta != T(0)) x += beta * load_first<T>(to, here);
        store_first<T>(to, x, here);
      }
    }
  }
}

// ---- packing ----

/// Copies one panel of B (k x cols, zero-padded to the panel's width) so that its rows are
/// contiguous.
template <class T, int Panel>
void pack_panel(int64_t k, int cols, const T* b, int64_t b_row, int64_t b_col, T* out) {
  constexpr int width = Traits<T>::width;
  if (b_col == 1) {
    if (cols == Panel) {
      for (int64_t p = 0; p < k; ++p)
        std::memcpy(out + p * Panel, b + p * b_row, Panel * sizeof(T));
      return;
    }
    for (int64_t p = 0; p < k; ++p) {
#pragma GCC unroll 2
      for (int j = 0; j < Panel; j += width) {
        const T* from = b + p * b_row + j;
        const Vector<T> v = cols - j >= width ? load<T>(from)
                            : cols > j        ? load_first<T>(from, cols - j)
                                              : Vector<T>{};
        store<T>(out + p * Panel + j, v);
      }
    }
  } else if (b_row == 1) {
    for (int j = 0; j < Panel; j += width) {
      const int count = cols - j < width ? cols - j : width;
      const T* from = b + j * b_col;
      T* to = out + j;
      for (int64_t p = 0; p < k; p += width, from += width, to += width * Panel) {
        const int depth = k - p < width ? static_cast<int>(k - p) : width;
        Vector<T> square[width];
        if (count == width && depth == width) {
#pragma GCC unroll 16
          for (int i = 0; i < width; ++i) square[i] = load<T>(from + i * b_col);
        } else {
          for (int i = 0; i < width; ++i) {
            square[i] = i < count ? load_first<T>(from + i * b_col, depth) : Vector<T>{};
          }
        }
        transpose<T>(square);
        if (depth == width) {
#pragma GCC unroll 16
          for (int i = 0; i < width; ++i) store<T>(to + i * Panel, square[i]);
        } else {
          for (int i = 0; i < depth; ++i) store<T>(to + i * Panel, square[i]);
        }
      }
    }
  } else {
    for (int64_t p = 0; p < k; ++p) {
      for (int j = 0; j < Panel; ++j)
        out[p * Panel + j] = j < cols ? b[p * b_row + j * b_col] : T(0);
    }
  }
}

/// Copies rows [0, rows) of A into slices of kRows rows each, zero-padded.
template <class T>
void pack_a(int64_t rows, int64_t k, const T* a, int64_t a_row, int64_t a_col, T* out) {
  constexpr int width = Traits<T>::width;
  constexpr int groups = (kRows + width - 1) / width;
  for (int64_t i = 0; i < rows; i += kRows, out += k * kRows) {
    const int here = rows - i < kRows ? static_cast<int>(rows - i) : kRows;
    const T* src = a + i * a_row;
    if (here == kRows && a_row == 1) {
      for (int64_t p = 0; p < k; ++p)
        std::memcpy(out + p * kRows, src + p * a_col, kRows * sizeof(T));
    } else if (here == kRows && a_col == 1) {
      int64_t p = 0;
      for (; p + width < k; p += width) {
        Vector<T> square[groups][width];
#pragma GCC unroll 4
        for (int q = 0; q < groups; ++q) {
#pragma GCC unroll 16
          for (int r = 0; r < width; ++r) {
            square[q][r] =
                q * width + r < kRows ? load<T>(src + (q * width + r) * a_row + p) : Vector<T>{};
          }
          transpose<T>(square[q]);
        }
        // The lanes beyond kRows are overwritten by the next store; the last rows of k go one by
        // one below.
#pragma GCC unroll 16
        for (int d = 0; d < width; ++d) {
#pragma GCC unroll 4
          for (int q = 0; q < groups; ++q)
            store<T>(out + (p + d) * kRows + q * width, square[q][d]);
        }
      }
      for (; p < k; ++p) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) out[p * kRows + r] = src[r * a_row + p];
      }
    } else {
      for (int64_t p = 0; p < k; ++p) {
        for (int r = 0; r < kRows; ++r)
          out[p * kRows + r] = r < here ? src[r * a_row + p * a_col] : T(0);
      }
    }
  }
}

// ---- small products ----

template <class T, int R, int C, bool Tail>
__attribute__((noinline)) void direct_tile(const GemmArgs<T>& g, int64_t i, const T* b,
                                           int64_t b_row, T* c, int cols) {
  Vector<T> sum[R][C];
  multiply<T, R, C, Tail>(g.k, g.a + i * g.a_row, g.a_row, g.a_col, b, b_row, sum,
                          cols - (C - 1) * Traits<T>::width);
  write<T, R, C>(sum, g.alpha, g.beta, c + i * g.ldc, g.ldc, R, cols);
}

template <class T, int C, bool Tail>
void direct_panel(const GemmArgs<T>& g, const T* b, int64_t b_row, T* c, int cols) {
  int64_t i = 0;
  for (; i + kDirectRows <= g.m; i += kDirectRows) {
    direct_tile<T, kDirectRows, C, Tail>(g, i, b, b_row, c, cols);
  }
  switch (g.m - i) {
    case 5: return direct_tile<T, 5, C, Tail>(g, i, b, b_row, c, cols);
    case 4: return direct_tile<T, 4, C, Tail>(g, i, b, b_row, c, cols);
    case 3: return direct_tile<T, 3, C, Tail>(g, i, b, b_row, c, cols);
    case 2: return direct_tile<T, 2, C, Tail>(g, i, b, b_row, c, cols);
    case 1: return direct_tile<T, 1, C, Tail>(g, i, b, b_row, c, cols);
    default: return;
  }
}

template <class T, int C>
void small_panel(const GemmArgs<T>& g, int64_t j, int cols, T* buffer) {
  constexpr int panel = C * Traits<T>::width;
  const T* b = g.b + j * g.b_col;
  const bool in_place =
      g.b_col == 1 && (g.m <= kInPlaceRows || g.k * g.b_row * int64_t{sizeof(T)} <= kInPlaceBytes);
  if (in_place && cols == panel) return direct_panel<T, C, false>(g, b, g.b_row, g.c + j, cols);
  if constexpr (kMasks) {
    if (in_place) return direct_panel<T, C, true>(g, b, g.b_row, g.c + j, cols);
  }
  pack_panel<T, panel>(g.k, cols, b, g.b_row, g.b_col, buffer);
  direct_panel<T, C, false>(g, buffer, panel, g.c + j, cols);
}

template <class T>
void small(const GemmArgs<T>& g) {
  constexpr int width = Traits<T>::width, panel = Traits<T>::panel;
  alignas(64) T buffer[kDepth * panel];
  for (int64_t j = 0; j < g.n; j += panel) {
    const int cols = g.n - j < panel ? static_cast<int>(g.n - j) : panel;
    if (cols <= width) {
      small_panel<T, 1>(g, j, cols, buffer);
    } else {
      small_panel<T, 2>(g, j, cols, buffer);
    }
  }
}

// ---- large products ----

template <class T>
void pack_rows(const GemmArgs<T>& g, int64_t begin, int64_t end, T* packed) {
  const int64_t first = begin * kRows, last = end * kRows < g.m ? end * kRows : g.m;
  pack_a<T>(last - first, g.k, g.a + first * g.a_row, g.a_row, g.a_col, packed + first * g.k);
}

template <class T>
void pack_columns(const GemmArgs<T>& g, int64_t begin, int64_t end, T* packed) {
  constexpr int panel = Traits<T>::panel;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t j = i * panel;
    const int cols = g.n - j < panel ? static_cast<int>(g.n - j) : panel;
    pack_panel<T, panel>(g.k, cols, g.b + j * g.b_col, g.b_row, g.b_col, packed + i * panel * g.k);
  }
}

template <class T>
void packed(const GemmArgs<T>& g, int64_t slice_begin, int64_t slice_end, int64_t panel_begin,
            int64_t panel_end, const T* packed_a, const T* packed_b) {
  constexpr int panel = Traits<T>::panel;
  for (int64_t q = panel_begin; q < panel_end; ++q) {
    const int64_t j = q * panel;
    const int cols = g.n - j < panel ? static_cast<int>(g.n - j) : panel;
    for (int64_t s = slice_begin; s < slice_end; ++s) {
      const int64_t i = s * kRows;
      const int rows = g.m - i < kRows ? static_cast<int>(g.m - i) : kRows;
      Vector<T> sum[kRows][2];
      multiply<T, kRows, 2>(g.k, packed_a + i * g.k, 1, kRows, packed_b + j * g.k, panel, sum);
      write<T, kRows, 2>(sum, g.alpha, g.beta, g.c + i * g.ldc + j, g.ldc, rows, cols);
    }
  }
}

// ---- matrix times vector ----

template <class T>
GS_INLINE T add_lanes(Vector<T> v) {
  T s = 0;
  for (int i = 0; i < Traits<T>::width; ++i) s += v[i];
  return s;
}

template <class T>
void dot_rows(int64_t rows, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x, T beta,
              T* y, int64_t y_step) {
  constexpr int width = Traits<T>::width;
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = matrix + i * ld;
    Vector<T> s0{}, s1{}, s2{}, s3{};
    int64_t p = 0;
    for (; p + 4 * width <= k; p += 4 * width) {
      s0 += load<T>(row + p) * load<T>(x + p);
      s1 += load<T>(row + p + width) * load<T>(x + p + width);
      s2 += load<T>(row + p + 2 * width) * load<T>(x + p + 2 * width);
      s3 += load<T>(row + p + 3 * width) * load<T>(x + p + 3 * width);
    }
    for (; p + width <= k; p += width) s0 += load<T>(row + p) * load<T>(x + p);
    T s = add_lanes<T>((s0 + s1) + (s2 + s3));
    for (; p < k; ++p) s += row[p] * x[p];
    T& out = y[i * y_step];
    out = beta != T(0) ? alpha * s + beta * out : alpha * s;
  }
}

template <class T>
void sum_rows(int64_t cols, int64_t k, T alpha, const T* matrix, int64_t ld, const T* x, T beta,
              T* y) {
  constexpr int64_t kCols = 1024;  // the partial sums stay in L1
  alignas(64) T sum[kCols];
  for (int64_t j = 0; j < cols; j += kCols) {
    const int64_t n = cols - j < kCols ? cols - j : kCols;
    for (int64_t i = 0; i < n; ++i) sum[i] = T(0);
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      const T *r0 = matrix + p * ld + j, *r1 = r0 + ld, *r2 = r1 + ld, *r3 = r2 + ld;
      const T x0 = x[p], x1 = x[p + 1], x2 = x[p + 2], x3 = x[p + 3];
      for (int64_t i = 0; i < n; ++i)
        sum[i] = sum[i] + x0 * r0[i] + x1 * r1[i] + x2 * r2[i] + x3 * r3[i];
    }
    for (; p < k; ++p) {
      const T* r0 = matrix + p * ld + j;
      const T x0 = x[p];
      for (int64_t i = 0; i < n; ++i) sum[i] += x0 * r0[i];
    }
    T* out = y + j;
    if (beta != T(0)) {
      for (int64_t i = 0; i < n; ++i) out[i] = alpha * sum[i] + beta * out[i];
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = alpha * sum[i];
    }
  }
}

template <class T>
constexpr GemmOwn<T> table() {
  return {kRows,      Traits<T>::panel, kDepth,      &small<T>, &pack_rows<T>, &pack_columns<T>,
          &packed<T>, &dot_rows<T>,     &sum_rows<T>};
}

}  // namespace

extern const GemmOwnTable kGemmOwn;
const GemmOwnTable kGemmOwn = {table<float>(), table<double>()};

}  // namespace GS_ISA
}  // namespace gradstep
