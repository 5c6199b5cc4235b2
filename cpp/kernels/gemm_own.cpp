// SPDX-License-Identifier: Apache-2.0
// The blocked matrix product in GCC vector extensions; compiled once per instruction set (GS_ISA).
// See Note [Forms of the product].
#include "kernels/gemm_own.h"

#include <algorithm>
#include <utility>

#include "kernels/gemm_folded.h"
#include "kernels/gemm_vectors.h"

namespace gradstep {
inline namespace GS_ISA {

namespace {

// Note [Forms of the product]
// A register tile of up to kRows x kVectors vectors runs over k: it loads a row of B and broadcasts
// elements of A. A is read where it is, by rows or by columns, from the L2; a panel of B, as wide
// as a tile, is copied so that its rows are contiguous. The first tile of a panel makes the copy
// while it computes, which costs less than a copy before it. Only a B that is stored transposed
// must be turned beforehand; where A has fewer rows than B has columns it is cheaper to turn A, and
// C^T = B^T A^T is made by the same tiles, written transposed ("swapped"). That also serves
// products with few columns, whose vectors would be mostly empty. Where both have short sides and
// long rows, tiles of dot products need no copy at all. A few columns are folded, see
// gemm_folded.h; if they are the last of many, they are a product by themselves. A few steps of k
// are worth no tile: C is written row by row ("thin"). Every element is a sum over k from front to
// back within blocks of k; dot products and rows that are folded have a sum for each lane.

#if defined(__AVX512F__)
constexpr int kRows = 8;  // 24 of 32 registers hold the tile
constexpr int kVectors = 3;
constexpr int kTallRows = 16;  // of a tile of one vector
constexpr int kDotRows = 4;
#elif defined(__AVX__)
constexpr int kRows = 6;  // 12 of 16
constexpr int kVectors = 2;
constexpr int kTallRows = 12;
constexpr int kDotRows = 2;
#else
constexpr int kRows = 6;
constexpr int kVectors = 2;
constexpr int kTallRows = 12;
constexpr int kDotRows = 2;
#endif
constexpr int kDotCols = 4;
constexpr int64_t kInPlaceRows = 32;    // with fewer rows of A a panel is not copied
constexpr int64_t kDepth = kFoldDepth;  // k of one block
// Columns of A, a cache line each, meet in few sets of the caches if their distance is a power
// of 2.
constexpr int64_t kDepthOfColumns = 256;
static_assert(kGemmOneSum <= kDepth && kGemmOneSum <= kDepthOfColumns);
constexpr int kLongSums = 96;             // k of tiles that prefetch C and the next rows of A
constexpr int64_t kBlockBytes = 1 << 20;  // of A, which the panels share: half of the L2

// ---- the register tile ----

/// What the tiles of one panel share.
template <class T>
struct Panel {
  int64_t k;
  int64_t lda;  ///< distance of A's rows, or of its columns
  const T* b;
  int64_t b_row;
  int last;   ///< elements of a row's last vector
  T* packed;  ///< where the first tile leaves the panel's copy
  T alpha, beta;
  const T* bias;
  int64_t ldc;
  const T* fetch;  ///< what the next panel will read: a line is prefetched in four steps of k
  int64_t fetch_step;
  const T* next;  ///< rows of A that the first panel will read next, or null
};

/// c = the product of R rows of A with the panel, C vectors wide. ByRows: A's rows are contiguous,
/// else its columns. Pack: the panel is copied on the way.
template <class T, int R, int C, bool ByRows, bool Pack>
__attribute__((noinline)) void tile(const Panel<T>& t, const T* a, T* c) {
  constexpr int width = Traits<T>::width;
  Vector<T> sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) sum[r][v] = Vector<T>{};
  }
  const int last = t.last;
  const int64_t lda = t.lda, b_row = t.b_row;
  const T* b = t.b;
  T* packed = t.packed;
  // Every addition of a pointer may take a multiplication's turn. Four steps and four rows share
  // one: x86 adds 0, 1 or 2 times a distance for nothing.
  constexpr int groups = ByRows ? (R + 3) / 4 : 1;
  const T* row[groups];
#pragma GCC unroll 4
  for (int q = 0; q < groups; ++q) row[q] = a + q * 4 * lda;
  int64_t lda3 = 3 * lda, b_row3 = 3 * b_row;
  asm("" : "+r"(lda3), "+r"(b_row3));  // keeps them registers of their own
  const auto step = [&](int p) __attribute__((always_inline)) {
    const T* const from = p == 0 ? b : p == 1 ? b + b_row : p == 2 ? b + 2 * b_row : b + b_row3;
    Vector<T> x[C];
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) {
      // A mask takes a multiplication's turn too, so only the copy is read with one.
      x[v] = Pack && kMasks && v == C - 1 ? load_first<Vector<T>>(from + v * width, last)
                                          : load<T>(from + v * width);
      if constexpr (Pack) store(packed + (p * C + v) * width, x[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T* const q = ByRows ? row[r / 4] + p : a + r;
      const int near = ByRows ? r % 4 : 0;
      const Vector<T> y = broadcast<T>(near == 0   ? q[0]
                                       : near == 1 ? q[lda]
                                       : near == 2 ? q[2 * lda]
                                                   : q[lda3]);
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) sum[r][v] = add_product<T>(sum[r][v], x[v], y);
    }
    if constexpr (!ByRows) {
      __builtin_prefetch(a + 64 / sizeof(T));  // for the next rows
      a += lda;
    }
  };
  const T* fetch = t.fetch;
  const int64_t fetch_step = t.fetch_step;
  int64_t p = t.k;
  const auto four = [&]() __attribute__((always_inline)) {
    __builtin_prefetch(fetch, 0, 2);
    fetch += fetch_step;
    step(0);
    step(1);
    step(2);
    step(3);
#pragma GCC unroll 4
    for (int q = 0; q < groups; ++q) row[q] += 4;
    b += 4 * b_row;
    if constexpr (Pack) packed += 4 * C * width;
  };
  if (t.k >= std::max(4 * R * C, kLongSums)) {
    // Of the next rows of A, where no panel has read them yet: a line of each for every line of k.
    const T* next = t.next ? t.next : a;
    const int64_t next_row = t.next ? lda : 0;
    const int64_t next_line = t.next ? int64_t{64 / sizeof(T)} - 3 * lda : 0;
    const auto four_and_next = [&]() __attribute__((always_inline)) {
      if constexpr (ByRows) {
#pragma GCC unroll 4
        for (int q = 0; q < groups; ++q) __builtin_prefetch(next + q * 4 * next_row, 0, 2);
        next += p % 16 == 4 ? next_line : next_row;
      }
      four();
    };
    // C's lines are asked for one by one while the sums are made: all at once they would keep A's
    // and B's waiting.
    for (int v = 0; v < C; ++v) {
      const T* to = c + v * width;
      for (int r = 0; r < R; ++r, p -= 4) {
        __builtin_prefetch(to, 1);
        to += t.ldc;
        four_and_next();
      }
    }
    for (; p >= 4; p -= 4) four_and_next();
  } else if (t.beta != T(0)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) __builtin_prefetch(c + r * t.ldc + v * width, 1);
    }
  }
  for (; p >= 4; p -= 4) four();
  for (; p > 0; --p) {
    step(0);
#pragma GCC unroll 4
    for (int q = 0; q < groups; ++q) ++row[q];
    b += b_row;
    if constexpr (Pack) packed += C * width;
  }
  const auto each = [&](auto&& visit) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) visit(sum[r][v], c + r * t.ldc + v * width, v);
    }
  };
  const auto old = [&](const T* p, int v) {
    return v < C - 1 || last == width ? load<T>(p) : load_first<Vector<T>>(p, last);
  };
  if (t.alpha != T(1)) each([&](Vector<T>& x, T*, int) { x *= t.alpha; });
  if (t.bias) {
    Vector<T> bias[C];
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) bias[v] = old(t.bias + v * width, v);
    each([&](Vector<T>& x, T*, int v) { x += bias[v]; });
  }
  if (t.beta == T(1)) {
    each([&](Vector<T>& x, T* to, int v) { x += old(to, v); });
  } else if (t.beta != T(0)) {
    each([&](Vector<T>& x, T* to, int v) { x += t.beta * old(to, v); });
  }
  each([&](Vector<T>& x, T* to, int v) {
    if (v < C - 1 || last == width) {
      store(to, x);
    } else {
      store_first(to, x, last);
    }
  });
}

template <class T>
using Tile = void (*)(const Panel<T>&, const T* a, T* c);

/// tiles[r - 1] has r rows.
template <class T, int C, bool ByRows, size_t... R>
constexpr auto make_tiles(std::index_sequence<R...>) {
  struct Table {
    Tile<T> of[kRows];
  };
  return Table{{&tile<T, R + 1, C, ByRows, false>...}};
}
template <class T, int C, bool ByRows>
constexpr auto kTiles = make_tiles<T, C, ByRows>(std::make_index_sequence<kRows>());

/// Copies `cols` columns of B, contiguous ones, into a panel of `width` columns (a multiple of the
/// vector's).
template <class T>
void pack_columns(int64_t k, int cols, int width, const T* b, int64_t b_col, T* out) {
  constexpr int block = Traits<T>::block;
  for_columns<T>(k, cols, b, b_col,
                 [&](int64_t p, int j, Block<T> x, int) { store(out + p * width + j, x); });
  for (int j = (cols + block - 1) / block * block; j < width; j += block) {
    for (int64_t p = 0; p < k; ++p) store(out + p * width + j, Block<T>{});
  }
}

template <class T>
void pack_rows(int64_t k, int cols, int width, const T* b, int64_t b_row, T* out) {
  constexpr int step = Traits<T>::width;
  for (int64_t p = 0; p < k; ++p, b += b_row, out += width) {
    for (int j = 0; j < width; j += step) {
      store(out + j, cols - j < step ? load_first<Vector<T>>(b + j, cols - j) : load<T>(b + j));
    }
  }
}

// ---- products by tiles ----

/// One panel of B with all rows of A, k <= kDepth. Swapped: c is C^T.
template <class T, int C, bool ByRows, bool Swapped>
void panel(const GemmArgs<T>& g, int64_t j, int cols, T* buffer) {
  constexpr int width = Traits<T>::width, panel_width = C * width;
  const int last = cols - (C - 1) * width;
  const int64_t m = g.m;
  const T* next = g.b + (j + panel_width) * g.b_col;
  Panel<T> t{g.k,
             ByRows ? g.a_row : g.a_col,
             g.b + j * g.b_col,
             g.b_row,
             last,
             buffer,
             g.alpha,
             g.beta,
             g.bias ? g.bias + j : nullptr,
             g.ldc,
             next,
             g.b_col == 1 ? g.b_row : g.b_col,
             nullptr};
  alignas(64) T square[Swapped ? (C == 1 ? kTallRows : kRows) * panel_width : 1];
  T* const c = Swapped ? g.c + j * g.ldc : g.c + j;
  if constexpr (Swapped) {
    t.alpha = 1;
    t.beta = 0;
    t.bias = nullptr;
    t.ldc = panel_width;
  }
  const auto run = [&](Tile<T> f, int64_t i, int rows) {
    const T* a = g.a + i * g.a_row;
    // The lines of a column of lines, then the next column.
    const int64_t call = i / kRows;
    t.fetch = g.b_col == 1 ? next + call % C * width + call / C * (g.k / 4) * g.b_row
                           : next + call * int64_t{64 / sizeof(T)};
    t.next = ByRows && j == 0 && i + rows < m ? a + rows * g.a_row : nullptr;
    if constexpr (Swapped) {
      f(t, a, square);
      for_columns<T>(cols, rows, square, panel_width, [&](int64_t p, int r, Block<T> x, int n) {
        write_vector<T>(x, g.alpha, g.beta, g.bias ? g.bias + i + r : nullptr,
                        c + p * g.ldc + i + r, n);
      });
    } else {
      f(t, a, c + i * g.ldc);
    }
  };
  const auto use_copy = [&] {
    t.b = buffer;
    t.b_row = panel_width;
    if constexpr (Swapped) t.last = width;
  };
  int64_t i = 0;
  if (g.b_col != 1) {
    pack_columns<T>(g.k, cols, panel_width, t.b, g.b_col, buffer);
    use_copy();
  } else if (m >= kRows && ((m > kInPlaceRows && g.b_row != panel_width) || last < width) &&
             (kMasks || last == width)) {
    run(&tile<T, kRows, C, ByRows, true>, 0, kRows);
    i = kRows;
    use_copy();
  } else if (last < width) {
    pack_rows<T>(g.k, cols, panel_width, t.b, g.b_row, buffer);
    use_copy();
  }
  if constexpr (C == 1) {
    for (; m - i >= kTallRows; i += kTallRows) {
      run(&tile<T, kTallRows, 1, ByRows, false>, i, kTallRows);
    }
  }
  // Even shares of what is left: a tile of few rows waits for its own sums.
  const int64_t slices = (m - i + kRows - 1) / kRows;
  if (slices == 0) return;
  const int rows = static_cast<int>((m - i) / slices);
  int64_t more = m - i - slices * rows;  // slices with one row more
  while (i < m) {
    const int here = rows + (more-- > 0);
    run(kTiles<T, C, ByRows>.of[here - 1], i, here);
    i += here;
  }
}

/// All panels; A is a block that fits the L2.
template <class T, bool ByRows, bool Swapped>
void panels(const GemmArgs<T>& g) {
  constexpr int width = Traits<T>::width;
  alignas(64) T buffer[kDepth * kVectors * Traits<T>::width];
  const int64_t n_vectors = (g.n + width - 1) / width;
  for (int64_t v = 0; v < n_vectors;) {
    // No panel of one vector where there are more.
    const int64_t left = n_vectors - v;
    const int64_t here = left == 4 ? 2 : left < kVectors ? left : kVectors;
    const int64_t j = v * width;
    const int cols = static_cast<int>((g.n - j < here * width) ? g.n - j : here * width);
    if (here == 1) {
      panel<T, 1, ByRows, Swapped>(g, j, cols, buffer);
    } else if (here == 2) {
      panel<T, 2, ByRows, Swapped>(g, j, cols, buffer);
    } else {
      panel<T, kVectors, ByRows, Swapped>(g, j, cols, buffer);
    }
    v += here;
  }
}

/// Blocks of k and of A's rows. Swapped: g is C^T = B^T A^T, but for c, which is C.
template <class T, bool Swapped>
void tiles(const GemmArgs<T>& g) {
  const bool by_rows = g.a_col == 1;
  const int64_t most = by_rows ? kDepth : kDepthOfColumns;
  const int64_t n_blocks = (g.k + most - 1) / most;
  const int64_t depth = n_blocks == 1 ? g.k : ((g.k + n_blocks - 1) / n_blocks + 3) / 4 * 4;
  const int64_t fitting = kBlockBytes / (depth * int64_t{sizeof(T)});
  const int64_t m_blocks = (g.m + fitting - 1) / fitting;
  const int64_t rows = m_blocks == 1 ? g.m : ((g.m + m_blocks - 1) / m_blocks + 23) / 24 * 24;
  for (int64_t i = 0; i < g.m; i += rows) {
    for (int64_t p = 0; p < g.k; p += depth) {
      GemmArgs<T> part = steps_of_k(g, p, depth);
      part.m = g.m - i < rows ? g.m - i : rows;
      part.a += i * g.a_row;
      part.c += Swapped ? i : i * g.ldc;
      if (Swapped && part.bias) part.bias += i;
      if (by_rows) {
        panels<T, true, Swapped>(part);
      } else {
        panels<T, false, Swapped>(part);
      }
    }
  }
}

// ---- products of a few steps of k ----

constexpr int kThin = 4;
constexpr int kThinVectors = kVectorBytes == 64 ? 4 : 2;  // of columns, kept for each step

/// V vectors of columns, `last` elements of the last one, of all rows: B stays in registers, and C
/// is written row by row. Adds: beta is not 0.
template <class T, int K, int V, bool Adds>
__attribute__((noinline)) void thin_columns(const GemmArgs<T> g, int64_t j, int last) {
  constexpr int width = Traits<T>::width;
  const bool whole = last == width;
  const auto get = [&](const T* p, int v) __attribute__((always_inline)) {
    return v < V - 1 || whole ? load<T>(p + v * width) : load_first<Vector<T>>(p + v * width, last);
  };
  Vector<T> x[K][V], bias[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 4
    for (int p = 0; p < K; ++p) x[p][v] = g.alpha * get(g.b + p * g.b_row + j, v);
    bias[v] = g.bias ? get(g.bias + j, v) : Vector<T>{};
  }
  const T* a = g.a;
  T* c = g.c + j;
  const int64_t a_row = g.a_row, a_col = g.a_col, ldc = g.ldc;
  for (int64_t i = g.m; i > 0; --i, a += a_row, c += ldc) {
    Vector<T> sum[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[v] = bias[v];
#pragma GCC unroll 4
    for (int p = 0; p < K; ++p) {
      const Vector<T> y = broadcast<T>(a[p * a_col]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[v] = add_product<T>(sum[v], x[p][v], y);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if constexpr (Adds) sum[v] += g.beta * get(c, v);
      if (v < V - 1 || whole) {
        store(c + v * width, sum[v]);
      } else {
        store_first(c + v * width, sum[v], last);
      }
    }
  }
}

template <class T, int K, bool Adds>
void thin(const GemmArgs<T>& g) {
  constexpr int width = Traits<T>::width, most = kThinVectors * width;
  for (int64_t j = 0; j < g.n; j += most) {
    const int cols = g.n - j < most ? static_cast<int>(g.n - j) : most;
    const int vectors = (cols + width - 1) / width, last = cols - (vectors - 1) * width;
    switch (vectors) {
      case 1: thin_columns<T, K, 1, Adds>(g, j, last); break;
      case 2: thin_columns<T, K, 2, Adds>(g, j, last); break;
      case 3: thin_columns<T, K, 3, Adds>(g, j, last); break;
      default: thin_columns<T, K, kThinVectors, Adds>(g, j, last);
    }
  }
}

template <class T>
void thin(const GemmArgs<T>& g) {
  const auto of = [&](auto k) {
    return g.beta == T(0) ? thin<T, k(), false>(g) : thin<T, k(), true>(g);
  };
  switch (g.k) {
    case 1: return of(std::integral_constant<int, 1>());
    case 2: return of(std::integral_constant<int, 2>());
    case 3: return of(std::integral_constant<int, 3>());
    default: return of(std::integral_constant<int, kThin>());
  }
}

// ---- products by dots ----

/// sums[r * kDotCols + c] = a row r times b row c; both are contiguous.
template <class T, int R>
GS_INLINE void dot_tile(int64_t k, const T* const (&a)[kDotRows], const T* const (&b)[kDotCols],
                        T* sums) {
  constexpr int width = Traits<T>::width, n = (R * kDotCols + width - 1) / width * width;
  Vector<T> sum[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) sum[i] = Vector<T>{};
  const auto step = [&](auto&& get) __attribute__((always_inline)) {
    Vector<T> y[kDotCols];
#pragma GCC unroll 4
    for (int c = 0; c < kDotCols; ++c) y[c] = get(b[c]);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vector<T> x = get(a[r]);
#pragma GCC unroll 4
      for (int c = 0; c < kDotCols; ++c) {
        Vector<T>& s = sum[r * kDotCols + c];
        s = add_product<T>(s, x, y[c]);
      }
    }
  };
  int64_t p = 0;
  for (; p + width <= k; p += width) {
    step([&](const T* x) { return load<T>(x + p); });
  }
  if (p < k) {
    const int rest = static_cast<int>(k - p);
    step([&](const T* x) { return load_first<Vector<T>>(x + p, rest); });
  }
#pragma GCC unroll 8
  for (int g = 0; g < n; g += width) {
    Vector<T> group[width];
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) group[i] = sum[g + i];
    add_lanes<T>(group);
    store(sums + g, group[0]);
  }
}

/// Rows of A times rows of B^T.
template <class T>
void dots(const GemmArgs<T>& g, const T* b, int64_t ldb) {
  const auto one = [&](int64_t i, int64_t j) {
    const int rows = g.m - i < kDotRows ? static_cast<int>(g.m - i) : kDotRows;
    const int cols = g.n - j < kDotCols ? static_cast<int>(g.n - j) : kDotCols;
    const T *x[kDotRows], *y[kDotCols];
    for (int r = 0; r < kDotRows; ++r) x[r] = g.a + (i + (r < rows ? r : 0)) * g.a_row;
    for (int c = 0; c < kDotCols; ++c) y[c] = b + (j + (c < cols ? c : 0)) * ldb;
    alignas(64) T sums[kDotRows * kDotCols + Traits<T>::width];
    if (rows <= kDotRows / 2) {
      dot_tile<T, kDotRows / 2>(g.k, x, y, sums);
    } else {
      dot_tile<T, kDotRows>(g.k, x, y, sums);
    }
    for (int r = 0; r < rows; ++r) {
      T* c = g.c + (i + r) * g.ldc + j;
      for (int q = 0; q < cols; ++q) {
        T v = g.alpha * sums[r * kDotCols + q];
        if (g.bias) v += g.bias[j + q];
        c[q] = g.beta != T(0) ? v + g.beta * c[q] : v;
      }
    }
  };
  // The longer side outside: the other one's rows stay in the cache.
  if (g.m > g.n) {
    for (int64_t i = 0; i < g.m; i += kDotRows) {
      for (int64_t j = 0; j < g.n; j += kDotCols) one(i, j);
    }
  } else {
    for (int64_t j = 0; j < g.n; j += kDotCols) {
      for (int64_t i = 0; i < g.m; i += kDotRows) one(i, j);
    }
  }
}

constexpr int64_t kDotSide = 24;  // columns of a B that is turned for the products by dots

template <class T>
void dots(const GemmArgs<T>& g) {
  for (int64_t p = 0; p < g.k; p += kDepth) {
    const GemmArgs<T> part = steps_of_k(g, p, kDepth);
    if (g.b_row == 1) {
      dots<T>(part, part.b, g.b_col);
    } else {
      alignas(64) T turned[kDotSide * kDepth];
      for (int64_t q = 0; q < part.k; ++q) {
        for (int64_t j = 0; j < g.n; ++j) turned[j * part.k + q] = part.b[q * g.b_row + j];
      }
      dots<T>(part, turned, part.k);
    }
  }
}

// ---- which form ----

enum class Form { kTiles, kSwapped, kThin, kDots, kFolded, kFoldedDown };

struct Choice {
  Form form;
  int64_t cost;
};

/// Costs are half cycles, in each of which a vector is multiplied. A tile of few rows waits for its
/// own sums.
template <class T>
int64_t tile_cost(int64_t m, int64_t n, int64_t k, bool b_turned) {
  constexpr int64_t kLeast = 3, kEnd = 8;
  constexpr int64_t width = Traits<T>::width;
  return (m < kLeast ? kLeast : m) * ((n + width - 1) / width) * (k + kEnd) +
         (b_turned ? n * k * 5 / 8 : 0);
}

template <class T>
Choice choose(const GemmArgs<T>& g) {
  constexpr int64_t width = Traits<T>::width;
  const auto count = [](int64_t n, int64_t step) { return (n + step - 1) / step; };
  if (g.k <= kThin && g.b_col == 1) return {Form::kThin, g.m * count(g.n, width) * (g.k + 3) + 40};
  Choice best{Form::kTiles, tile_cost<T>(g.m, g.n, g.k, g.b_col != 1)};
  if (g.b_col == 1 && g.n % width == 0) return best;
  const auto offer = [&](Form form, int64_t cost) {
    if (cost < best.cost) best = {form, cost};
  };
  // C is turned too.
  offer(Form::kSwapped, tile_cost<T>(g.n, g.m, g.k, g.a_col == 1) + g.m * g.n * 2);
  if (g.a_row == 1 && g.b_col == 1 && g.n <= kFolds * kFold)
    offer(Form::kFoldedDown, folded_down_cost<T>(g));
  if (g.a_col != 1) return best;
  if (g.b_row == 1 || g.n <= kDotSide) {
    constexpr int64_t kEnd = 80;  // adds up the lanes
    const int64_t n_tiles = count(g.m, kDotRows) * count(g.n, kDotCols);
    offer(Form::kDots, n_tiles * (kDotRows * kDotCols * count(g.k, width) + kEnd) +
                           (g.b_row == 1 ? 0 : 2 * g.n * g.k));
  }
  if (g.n <= kFolds * kFold) offer(Form::kFolded, folded_cost<T>(g));
  return best;
}

/// The last columns by themselves, if their vector would be mostly empty and that is cheaper; 0 if
/// not.
template <class T>
int64_t cost_of_parts(const GemmArgs<T>& g, int64_t whole, GemmArgs<T> (&part)[2]) {
  constexpr int64_t width = Traits<T>::width;
  const int64_t rest = g.n % width;
  if (g.n < width || rest == 0 || 2 * rest > width) return 0;
  const int64_t j = g.n - rest;
  part[0] = part[1] = g;
  part[0].n = j;
  part[1].n = rest;
  part[1].b += j * g.b_col;
  part[1].c += j;
  if (g.bias) part[1].bias += j;
  const int64_t cost = choose(part[0]).cost + choose(part[1]).cost;
  return cost < whole ? cost : 0;
}

template <class T>
void run(Form form, const GemmArgs<T>& g) {
  switch (form) {
    case Form::kTiles: return tiles<T, false>(g);
    case Form::kDots: return dots<T>(g);
    case Form::kThin: return thin<T>(g);
    case Form::kFolded: return folded<T>(g);
    case Form::kFoldedDown: return folded_down<T>(g);
    case Form::kSwapped: {
      GemmArgs<T> s = g;
      s.m = g.n;
      s.n = g.m;
      s.a = g.b;
      s.a_row = g.b_col;
      s.a_col = g.b_row;
      s.b = g.a;
      s.b_row = g.a_col;
      s.b_col = g.a_row;
      return tiles<T, true>(s);
    }
  }
}

template <class T>
int64_t cost(const GemmArgs<T>& g) {
  const int64_t whole = choose(g).cost;
  GemmArgs<T> part[2];
  const int64_t parts = cost_of_parts(g, whole, part);
  return parts > 0 ? parts : whole;
}

/// Rows [i, i + rows) and columns [j, j + cols) of C, in the form that the whole product has: so
/// they have the same bits.
template <class T>
void part(const GemmArgs<T>& g, int64_t i, int64_t rows, int64_t j, int64_t cols) {
  const auto within = [&](Form form, const GemmArgs<T>& of, int64_t first) {
    const int64_t from = j > first ? j : first;
    const int64_t to = j + cols < first + of.n ? j + cols : first + of.n;
    if (from >= to) return;
    GemmArgs<T> p = of;
    p.m = rows;
    p.n = to - from;
    p.a += i * g.a_row;
    p.b += (from - first) * g.b_col;
    p.c += i * g.ldc + from - first;
    if (p.bias) p.bias += from - first;
    run(form, p);
  };
  const Choice whole = choose(g);
  GemmArgs<T> pieces[2];
  if (cost_of_parts(g, whole.cost, pieces) > 0) {
    within(choose(pieces[0]).form, pieces[0], 0);
    within(choose(pieces[1]).form, pieces[1], pieces[0].n);
  } else {
    within(whole.form, g, 0);
  }
}

template <class T>
void product(const GemmArgs<T>& g) {
  part(g, 0, g.m, 0, g.n);
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

constexpr int kPackedVectors = 2;  // of the panels that others keep

template <class T>
void pack_panels(const GemmArgs<T>& g, int64_t begin, int64_t end, T* packed) {
  constexpr int width = kPackedVectors * Traits<T>::width;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t j = i * width;
    const int cols = g.n - j < width ? static_cast<int>(g.n - j) : width;
    pack_columns<T>(g.k, cols, width, g.b + j * g.b_col, g.b_col, packed + i * width * g.k);
  }
}

template <class T>
constexpr GemmOwn<T> table() {
  return {kPackedVectors * Traits<T>::width,
          &product<T>,
          &part<T>,
          &cost<T>,
          &pack_panels<T>,
          &dot_rows<T>,
          &sum_rows<T>};
}

}  // namespace

extern const GemmOwnTable kGemmOwn;
const GemmOwnTable kGemmOwn = {table<float>(), table<double>()};

}  // namespace GS_ISA
}  // namespace gradstep
