// SPDX-License-Identifier: Apache-2.0
// Products of few columns, folded, for gemm_own.cpp; compiled once per instruction set.
//
// Note [Folded products]
// With few columns most of a vector along a row of C would be empty. It is filled with several
// lanes in place, one for each of F columns:
//   folded        A's rows are contiguous: a lane holds steps of k, and is added up at the end
//   folded_down   A's columns are contiguous: a lane holds rows
// What is loaded of A is spread into all lanes and multiplied with all columns at once.
#pragma once
#include <algorithm>
#include <utility>

#include "kernels/gemm_own.h"
#include "kernels/gemm_vectors.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

constexpr int kFold = kVectorBytes / 16;  // columns of a vector,
constexpr int kFewer =
    kFold == 4 ? 2 : kFold;  // .. or so many, in longer lanes, if there are no more
constexpr int kFolds = 2;    // vectors side by side; with more, one of the other forms is as fast
constexpr int64_t kFoldDepth = 512;  // k of one block
#if defined(__AVX512F__)
constexpr int kFoldRows = 8;
#else
constexpr int kFoldRows = 4;
#endif
constexpr int kDownVectors = 8;  // of rows, each a sum of its own

/// Steps [p, p + most) of k, whose product is added to that of the steps before them.
template <class T>
GemmArgs<T> steps_of_k(const GemmArgs<T>& g, int64_t p, int64_t most) {
  GemmArgs<T> part = g;
  part.k = g.k - p < most ? g.k - p : most;
  part.a += p * g.a_col;
  part.b += p * g.b_row;
  if (p > 0) {
    part.beta = T(1);
    part.bias = nullptr;
  }
  return part;
}

template <class T, int F>
constexpr int lane_of = Traits<T>::width / F;
template <class T, int F>
using LaneOf = typename VectorOf<T, kVectorBytes / F>::type;

/// x in each of F lanes.
template <class T, int F>
GS_INLINE Vector<T> spread(LaneOf<T, F> x) {
#if defined(__AVX512F__)
  if constexpr (F == 2) return (Vector<T>)_mm512_maskz_broadcast_f32x8(0xffff, (__m256)x);
  if constexpr (F == 4) return (Vector<T>)_mm512_maskz_broadcast_f32x4(0xffff, (__m128)x);
#elif defined(__AVX__)
  if constexpr (F == 2)
    return (Vector<T>)_mm256_insertf128_ps(_mm256_castps128_ps256((__m128)x), (__m128)x, 1);
#else
  if constexpr (F == 1) return x;
#endif
}

template <class T, class F>
GS_INLINE void with_fold(int64_t n, const F& f) {
  if (n <= kFewer) {
    f(std::integral_constant<int, kFewer>());
  } else {
    f(std::integral_constant<int, kFold>());
  }
}

// ---- A's rows are contiguous ----

/// out[r * F + c] = row r of A times column c of B, then the same for each further vector of
/// columns.
template <class T, int F, int G>
__attribute__((noinline)) void folded_tile(int64_t k, const T* const (&a)[kFoldRows], const T* b,
                                           T* out) {
  constexpr int width = Traits<T>::width, lane = lane_of<T, F>;
  Vector<T> sum[G][kFoldRows];
#pragma GCC unroll 16
  for (int i = 0; i < G * kFoldRows; ++i) sum[i / kFoldRows][i % kFoldRows] = Vector<T>{};
  const auto step = [&](auto&& get) __attribute__((always_inline)) {
    Vector<T> y[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) y[g] = load<T>(b + g * width);
#pragma GCC unroll 16
    for (int r = 0; r < kFoldRows; ++r) {
      const Vector<T> x = spread<T, F>(get(a[r]));
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) sum[g][r] = add_product<T>(sum[g][r], x, y[g]);
    }
    b += G * width;
  };
  int64_t p = 0;
  for (; p + lane <= k; p += lane) {
    step([&](const T* x) __attribute__((always_inline)) { return load_as<LaneOf<T, F>>(x + p); });
  }
  if (p < k) {
    const int rest = static_cast<int>(k - p);
    step([&](const T* x)
             __attribute__((always_inline)) { return load_first<LaneOf<T, F>>(x + p, rest); });
  }
  typename Traits<T>::Index rows;
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) rows[i] = i % F * lane + i / F;
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) {
#pragma GCC unroll 4
    for (int r = 0; r < kFoldRows; r += lane) {
      Vector<T> v[lane];
#pragma GCC unroll 8
      for (int i = 0; i < lane; ++i) v[i] = sum[g][r + i];
      add_lanes<T>(v);
      store(out + (g * kFoldRows + r) * F, __builtin_shuffle(v[0], rows));
    }
  }
}

/// B for folded tiles: `lane` steps of k for F columns after each other, 0 beyond k and n.
template <class T, int F, int G>
void pack_folded(const GemmArgs<T>& g, T* out) {
  constexpr int width = Traits<T>::width, lane = lane_of<T, F>;
  const int64_t steps = (g.k + lane - 1) / lane;
  for (int64_t i = 0; i < steps * G * width; i += width) store(out + i, Vector<T>{});
  for (int64_t j = 0; j < g.n; ++j) {
    T* to = out + j * lane;
    const T* from = g.b + j * g.b_col;
    int64_t p = 0;
    if (g.b_row == 1) {
      for (; p + lane <= g.k; p += lane) store(to + p * G * F, load_as<LaneOf<T, F>>(from + p));
    }
    for (; p < g.k; ++p) to[(p / lane * lane) * G * F + p % lane] = from[p * g.b_row];
  }
}

/// Rows of F sums to n columns of C. A whole tile that is only stored, as most are, has no branches
/// in its rows.
template <class T, int F>
GS_INLINE void write_rows(const GemmArgs<T>& g, int rows, int n, const T* sums, const T* bias,
                          T* c) {
  using Row = typename VectorOf<T, F * sizeof(T)>::type;
  if (rows == kFoldRows && n == F && g.alpha == T(1) && g.beta == T(0)) {
    const int64_t ldc = g.ldc;
    const auto each = [&](auto&& result) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int r = 0; r < kFoldRows; ++r) store(c + r * ldc, result(load_as<Row>(sums + r * F)));
    };
    if (!bias) return each([](Row x) { return x; });
    const Row b = load_as<Row>(bias);
    return each([&](Row x) { return x + b; });
  }
  for (int r = 0; r < rows; ++r, sums += F, c += g.ldc)
    write_vector<T>(load_as<Row>(sums), g.alpha, g.beta, bias, c, n);
}

template <class T, int F, int G>
void folded_block(const GemmArgs<T>& g, T* buffer) {
  pack_folded<T, F, G>(g, buffer);
  alignas(64) T out[G * kFoldRows * F];
  for (int64_t i = 0; i < g.m; i += kFoldRows) {
    const int rows = g.m - i < kFoldRows ? static_cast<int>(g.m - i) : kFoldRows;
    const T* a[kFoldRows];
#pragma GCC unroll 16
    for (int r = 0; r < kFoldRows; ++r) a[r] = g.a + (i + (r < rows ? r : rows - 1)) * g.a_row;
    folded_tile<T, F, G>(g.k, a, buffer, out);
#pragma GCC unroll 4
    for (int q = 0; q < G; ++q) {
      const int64_t j = q * F;
      const int cols = g.n - j < F ? static_cast<int>(g.n - j) : F;
      write_rows<T, F>(g, rows, cols, out + q * kFoldRows * F, g.bias ? g.bias + j : nullptr,
                       g.c + i * g.ldc + j);
    }
  }
}

/// Up to kFolds * kFold columns.
template <class T>
void folded(const GemmArgs<T>& g) {
  alignas(64) T buffer[kFolds * kFold * kFoldDepth];
  for (int64_t p = 0; p < g.k; p += kFoldDepth) {
    const GemmArgs<T> part = steps_of_k(g, p, kFoldDepth);
    if (g.n > kFold) {
      folded_block<T, kFold, 2>(part, buffer);
    } else {
      with_fold<T>(g.n, [&](auto f) { folded_block<T, f(), 1>(part, buffer); });
    }
  }
}

/// In half cycles, as all costs of products.
template <class T>
int64_t folded_cost(const GemmArgs<T>& g) {
  constexpr int64_t kEnd = 14;
  const auto count = [](int64_t n, int64_t step) { return (n + step - 1) / step; };
  const int64_t fold = g.n <= kFewer ? kFewer : kFold, lane = Traits<T>::width / fold;
  return count(g.n, fold) * count(g.m, kFoldRows) * kFoldRows * (count(g.k, lane) + kEnd) +
         (g.b_row == 1 ? 1 : 2) * g.n * g.k;
}

// ---- A's columns are contiguous ----

/// out = R vectors of rows of A, of the last one `last`, times up to F columns of B.
template <class T, int F, int R>
__attribute__((noinline)) void down_tile(const GemmArgs<T>& g, const T* a, int last, const T* b,
                                         int cols, T* out) {
  constexpr int width = Traits<T>::width, lane = lane_of<T, F>;
  Vector<T> sum[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = Vector<T>{};
  typename Traits<T>::Index lanes;
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) lanes[i] = i / lane;
  for (int64_t p = 0; p < g.k; ++p, a += g.a_col, b += g.b_row) {
    const Vector<T> y =
        F == 1 ? broadcast<T>(*b) : __builtin_shuffle(load_first<Vector<T>>(b, cols), lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const T* const from = a + r * lane;
      const LaneOf<T, F> x = r < R - 1 || last == lane ? load_as<LaneOf<T, F>>(from)
                                                       : load_first<LaneOf<T, F>>(from, last);
      sum[r] = add_product<T>(sum[r], spread<T, F>(x), y);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store(out + r * width, sum[r]);
}

template <class T>
using DownTile = void (*)(const GemmArgs<T>& g, const T* a, int last, const T* b, int cols, T* out);
template <class T>
struct DownTiles {
  DownTile<T> of[kDownVectors];  // [r - 1] has r vectors
};
template <class T, int F, size_t... R>
constexpr DownTiles<T> make_down_tiles(std::index_sequence<R...>) {
  return {{&down_tile<T, F, R + 1>...}};
}
template <class T, int F>
constexpr DownTiles<T> kDownTiles = make_down_tiles<T, F>(std::make_index_sequence<kDownVectors>());

/// F columns at most.
template <class T, int F>
void down_columns(const GemmArgs<T>& g, int64_t j, int cols) {
  constexpr int lane = lane_of<T, F>, width = Traits<T>::width;
  alignas(64) T out[kDownVectors * width];
  const T* const bias = g.bias ? g.bias + j : nullptr;
  const int64_t n_vectors = (g.m + lane - 1) / lane;
  const int64_t n_tiles = (n_vectors + kDownVectors - 1) / kDownVectors;
  int64_t i = 0;
  for (int64_t t = 0; t < n_tiles; ++t) {
    const int64_t begin = n_vectors * t / n_tiles, end = n_vectors * (t + 1) / n_tiles;
    const int64_t rows = (g.m < end * lane ? g.m : end * lane) - i;
    const auto vectors = static_cast<int>(end - begin);
    const auto last = static_cast<int>(rows - (vectors - 1) * lane);
    kDownTiles<T, F>.of[vectors - 1](g, g.a + i, last, g.b + j, cols, out);
    for (int64_t r = 0; r < rows; ++r) {
      const T* const sums = out + r / lane * width + r % lane;
      T* const c = g.c + (i + r) * g.ldc + j;
      for (int q = 0; q < cols; ++q) {
        T x = g.alpha * sums[q * lane];
        if (bias) x += bias[q];
        c[q] = g.beta != T(0) ? x + g.beta * c[q] : x;
      }
    }
    i += rows;
  }
}

/// Any number of columns; a few are meant. B's rows are contiguous.
template <class T>
void folded_down(const GemmArgs<T>& g) {
  for (int64_t j = 0; j < g.n; j += kFold) {
    const auto cols = static_cast<int>(g.n - j < kFold ? g.n - j : kFold);
    with_fold<T>(cols, [&](auto f) { down_columns<T, f()>(g, j, cols); });
  }
}

template <class T>
int64_t folded_down_cost(const GemmArgs<T>& g) {
  constexpr int64_t kEnd = 40, kWait = 8;  // a sum waits for itself
  const auto cost = [&](int64_t cols) {
    const int64_t lane = Traits<T>::width / (cols <= kFewer ? kFewer : kFold);
    const int64_t n_vectors = (g.m + lane - 1) / lane;
    const int64_t n_tiles = (n_vectors + kDownVectors - 1) / kDownVectors;
    const int64_t each = n_vectors + 2 * n_tiles;
    return (each < kWait * n_tiles ? kWait * n_tiles : each) * g.k + n_tiles * kEnd +
           3 * g.m * cols;
  };
  const int64_t rest = g.n % kFold;
  return g.n / kFold * cost(kFold) + (rest > 0 ? cost(rest) : 0);
}

}  // namespace
}  // namespace GS_ISA
}  // namespace gradstep
