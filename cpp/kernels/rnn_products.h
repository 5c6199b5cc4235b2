// SPDX-License-Identifier: Apache-2.0
// Matrix products of the recurrent kernels: small ones with packed weights in the middle of a step,
// and those over all steps at once. For rnn.cpp, within its instruction set.
//   for_product_rows(r0, r1, blocks, k, Left<T>::by_rows(h, ld, k), packed, step, [&](r, sums) ..)
//   multiply_rows(rows, columns, k, left_of, packed, block_rows, result, add)
#pragma once
#include <algorithm>

#include "core/threads.h"
#include "fn/partial.h"

namespace gradstep {
inline namespace GS_ISA {

// Note [Blocks of columns]
// What only these kernels read (packed weights, gates, cells, gradients of sums) lies in blocks of
// one vector of columns: block q holds, row after row, columns [q * width, (q + 1) * width). Each
// gate starts a block, so columns of padding follow it; they hold zeros, or in kept gates values
// that meet only zeros. Such a matrix can be any operand of a product without being packed: read
// along rows, along columns, or as the packed one. A general product packs the recurrent weights
// again at each step, which costs as much as the product itself; and here the sums of the gates
// never leave the L1.

template <class T>
inline constexpr int kWidth = Native<T>::size;
template <class T>
GS_FN int64_t blocks_of(int64_t columns) {
  return (columns + kWidth<T> - 1) / kWidth<T>;
}

/// Rows of a block of a matrix with so many rows: never a multiple of a large power of 2, where all
/// blocks would share some sets of the caches (an LSTM step of 51 ms took 62).
inline int64_t block_rows_of(int64_t rows) { return rows + (8 - rows % 64 + 64) % 64; }

/// Where a matrix lies: its vector q of row i is at(i, q).
template <class T>
struct Matrix {
  T* p = nullptr;
  int64_t row = 0, block = 0;

  static Matrix by_rows(T* p, int64_t ld) { return {p, ld, kWidth<T>}; }
  static Matrix by_blocks(T* p, int64_t block_rows) {
    return {p, kWidth<T>, block_rows * kWidth<T>};
  }
  T* at(int64_t i, int64_t q) const { return p + i * row + q * block; }
};

template <class V>
GS_FN V load_lanes(const ScalarT<V>* p, int lanes) {
  return lanes == V::size ? V::load(p) : load_some<V>(p, lanes);
}
template <class V>
GS_FN void store_lanes(ScalarT<V>* p, V v, int lanes) {
  if (lanes == V::size) {
    v.store(p);
  } else {
    store_some(p, v, lanes);
  }
}
/// How many of the columns of block q exist.
template <class T>
GS_FN int lanes_of(int64_t columns, int64_t q) {
  return static_cast<int>(std::min<int64_t>(kWidth<T>, columns - q * kWidth<T>));
}

// ---- packing ----

/// Packs the transpose of m (columns x k, contiguous) into blocks of block_rows >= k rows.
template <class T>
void pack_transposed(const T* m, int64_t columns, int64_t k, T* out, int64_t block_rows) {
  using V = Native<T>;
  constexpr int width = kWidth<T>;
  parallel_for(
      blocks_of<T>(columns), std::max<int64_t>(1, kGrain / std::max<int64_t>(1, k * width)),
      [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q) {
          const int here = lanes_of<T>(columns, q);
          for (int64_t p = 0; p < k; p += width) {
            const int depth = static_cast<int>(std::min<int64_t>(width, k - p));
            V square[width];
            for (int j = 0; j < width; ++j) {
              square[j] = j < here ? load_lanes<V>(m + (q * width + j) * k + p, depth) : V(T(0));
            }
            transpose(square);
            for (int i = 0; i < depth; ++i) square[i].store(out + (q * block_rows + p + i) * width);
          }
        }
      });
}

/// Packs `columns` columns of m (k rows, ld apart) into blocks of block_rows rows, of which it
/// fills those from `first` on, the rows up to first + rows_padded with zeros.
template <class T>
void pack(const T* m, int64_t columns, int64_t k, int64_t ld, T* out, int64_t block_rows,
          int64_t first, int64_t rows_padded) {
  using V = Native<T>;
  constexpr int width = kWidth<T>;
  parallel_for(blocks_of<T>(columns),
               std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows_padded * width)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t q = begin; q < end; ++q) {
                   const int here = lanes_of<T>(columns, q);
                   T* const to = out + (q * block_rows + first) * width;
                   for (int64_t p = 0; p < k; ++p)
                     load_lanes<V>(m + p * ld + q * width, here).store(to + p * width);
                   std::fill(to + k * width, to + rows_padded * width, T(0));
                 }
               });
}

// ---- products ----

// Rows of a register tile of 1 .. 4 blocks: as many sums as the registers hold, at least 8, which
// hide an addition's latency. Most products take 3 blocks at once, which read least for each
// multiplication; the gates of an LSTM are 4.
#if defined(__AVX512F__)
inline constexpr int kTileRows[] = {8, 8, 8, 4};
#else
inline constexpr int kTileRows[] = {8, 6, 4, 2};
#endif
inline constexpr int kBlocks = 3;
inline constexpr int kMaxTile = 24;  // vectors
inline constexpr int64_t kRowsAhead = 64;
inline constexpr int64_t kDepth = 1024;  // of one pass of a product over many rows

/// The left operand: rows or, for a product with a transpose, columns of a matrix. Element (r, p)
/// is at r * row + p, elements of p beyond `depth` lie in further blocks.
template <class T>
struct Left {
  const T* p;
  int64_t row, depth, block;

  static Left by_rows(const T* p, int64_t ld, int64_t k) { return {p, ld, k, 0}; }
  /// Rows of a matrix in blocks from `first` on.
  static Left rows_of(const Matrix<T>& m, int64_t first, int64_t stride = 1) {
    return {m.p + first * m.row, stride * m.row, kWidth<T>, m.block};
  }
};

/// Vector c of row r of `to` = or, with `add`, += (row r of a) * (block c of b); blocks of b lie
/// b_step apart. With Transposed, a is a block and r its column.
template <class T, int R, int C, bool Transposed>
[[gnu::noinline]] void tile(int64_t k, const Left<T>& left, const T* b, int64_t b_step,
                            const Matrix<T>& to, bool add) {
  using V = typename Native<T>::V;
  constexpr int width = kWidth<T>;
  V sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[r][c] = V{};
  }
  const T* a = left.p;
  const int64_t row_step = left.row;
  for (int64_t rest = k; rest > 0; rest -= left.depth, a += left.block) {
    const int64_t depth = std::min(rest, left.depth);
    if constexpr (!Transposed) {
      // The rows that come next: they lie in runs too short for the machine's own prefetching.
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) __builtin_prefetch(a + (r + kRowsAhead) * row_step);
    }
    for (int64_t p = 0; p < depth; ++p, b += width) {
      V row[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) row[c] = Native<T>::load(b + c * b_step).v;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const T x = Transposed ? a[p * width + r] : a[r * row_step + p];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[r][c] += x * row[c];
      }
    }
  }
  if (add) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[r][c] += Native<T>::load(to.at(r, c)).v;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) Native<T>(sum[r][c]).store(to.at(r, c));
  }
}

template <class T, bool Transposed, int C, int R = kTileRows[C - 1]>
void tile_of(int rows, int64_t k, const Left<T>& left, const T* b, int64_t b_step,
             const Matrix<T>& to, bool add) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<T, Transposed, C, R - 1>(rows, k, left, b, b_step, to, add);
  }
  tile<T, R, C, Transposed>(k, left, b, b_step, to, add);
}

template <class T, bool Transposed>
void run_tile(int rows, int blocks, int64_t k, const Left<T>& left, const T* b, int64_t b_step,
              const Matrix<T>& to, bool add) {
  switch (blocks) {
    case 1: return tile_of<T, Transposed, 1>(rows, k, left, b, b_step, to, add);
    case 2: return tile_of<T, Transposed, 2>(rows, k, left, b, b_step, to, add);
    case 3: return tile_of<T, Transposed, 3>(rows, k, left, b, b_step, to, add);
    default: return tile_of<T, Transposed, 4>(rows, k, left, b, b_step, to, add);
  }
}

/// Calls use(i, sums) for rows [begin, end) of the product with `blocks` blocks of b; row i's sums
/// lie one after the other. left.p is row `begin`.
template <class T, bool Transposed = false, class F>
GS_FN void for_product_rows(int64_t begin, int64_t end, int blocks, int64_t k, Left<T> left,
                            const T* b, int64_t b_step, F&& use) {
  alignas(64) T sums[kMaxTile * kWidth<T>];
  const Matrix<T> to{sums, blocks * kWidth<T>, kWidth<T>};
  while (begin < end) {
    const int rows = static_cast<int>(std::min<int64_t>(end - begin, kTileRows[blocks - 1]));
    run_tile<T, Transposed>(rows, blocks, k, left, b, b_step, to, false);
    left.p += Transposed ? rows : rows * left.row;
    for (int r = 0; r < rows; ++r, ++begin) use(begin, sums + r * blocks * kWidth<T>);
  }
}

/// Rows [begin, end) of c = or, with `add`, += left * b, where b has blocks of block_rows rows and
/// c `columns` columns.
template <class T, bool Transposed = false>
void multiply(int64_t begin, int64_t end, int64_t columns, int64_t k, const Left<T>& left,
              const T* b, int64_t block_rows, const Matrix<T>& c, bool add) {
  using V = Native<T>;
  constexpr int width = kWidth<T>;
  const int64_t n_blocks = blocks_of<T>(columns), whole = columns / width;
  const int64_t b_step = block_rows * width;
  for (int64_t q = 0; q < whole; q += kBlocks) {
    const int here = static_cast<int>(std::min<int64_t>(kBlocks, whole - q));
    const int step = kTileRows[here - 1];
    Left<T> rows = left;
    for (int64_t i = begin; i < end; i += step) {
      const int n = static_cast<int>(std::min<int64_t>(end - i, step));
      run_tile<T, Transposed>(n, here, k, rows, b + q * b_step, b_step,
                              {c.at(i, q), c.row, c.block}, add);
      rows.p += Transposed ? n : n * left.row;
    }
  }
  if (whole == n_blocks) return;
  const int lanes = lanes_of<T>(columns, whole);
  for_product_rows<T, Transposed>(begin, end, 1, k, left, b + whole * b_step, b_step,
                                  [&](int64_t i, const T* sums) {
                                    T* const to = c.at(i, whole);
                                    V sum = V::load(sums);
                                    if (add) sum += load_lanes<V>(to, lanes);
                                    store_lanes(to, sum, lanes);
                                  });
}

/// c (rows x columns) = left * b for many rows, in parallel.
template <class T, class LeftOf>
void multiply_rows(int64_t rows, int64_t columns, int64_t k, LeftOf left_of, const T* b,
                   int64_t block_rows, const Matrix<T>& c, bool add) {
  constexpr int64_t kRows = kRowsAhead;  // 64 and 256 columns of a stay in the L2 with a panel of b
  const int64_t work = std::max<int64_t>(1, columns * k);
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 18) / (work * kRows));
  parallel_for((rows + kRows - 1) / kRows, grain, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t begin = task * kRows, end = std::min(rows, begin + kRows);
      for (int64_t p = 0; p == 0 || p < k; p += kDepth) {
        multiply<T>(begin, end, columns, std::min(kDepth, k - p), left_of(begin, p),
                    b + p * kWidth<T>, block_rows, c, add || p > 0);
      }
    }
  });
}

}  // namespace GS_ISA
}  // namespace gradstep
