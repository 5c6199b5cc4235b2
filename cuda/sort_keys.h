// SPDX-License-Identifier: Apache-2.0
// Rows of items sorted on the GPU:
//   Word* sorted = sort_items(call, items, spare, rows, n);   // one of the two arrays
// An item is any trivially copyable type with operator< and last(), which no item is above; items
// with their place as the tie break make the sort stable. Tiles are sorted in shared memory by a
// bitonic network, then merged, twice the length with each launch.
#pragma once
#include "cuda/launch.h"

namespace gradstep::cuda {

/// A key and a place that fit one word together: key << bits | place.
struct Word {
  uint64_t v;
  GS_FN bool operator<(const Word& o) const { return v < o.v; }
  static GS_FN Word last() { return {~uint64_t(0)}; }
};
/// A wide key with its place.
struct Pair {
  uint64_t key;
  int64_t place;
  GS_FN bool operator<(const Pair& o) const {
    return key < o.key || (key == o.key && place < o.place);
  }
  static GS_FN Pair last() { return {~uint64_t(0), INT64_MAX}; }
};

constexpr int kSortTile = 2048;  // items of a block; 32 KiB of Pairs
constexpr int kSortThreads = 256;
constexpr int kSortEach = kSortTile / kSortThreads;

template <class Item>
struct alignas(16) ItemBytes {
  unsigned char bytes[kSortTile * sizeof(Item)];
};

template <class Item>
struct SortArgs {
  const Item* in;
  Item* out;
  int64_t rows, n;
  int64_t run;  // tiles: a power of two up to kSortTile; merges: what is sorted already
};

/// A block sorts kSortTile / run pieces of `run` items, none of which crosses the end of its row.
template <class Item>
__global__ void __launch_bounds__(kSortThreads)
    sort_tiles_kernel(const __grid_constant__ SortArgs<Item> a) {
  __shared__ ItemBytes<Item> raw;
  Item* const tile = reinterpret_cast<Item*>(raw.bytes);
  const int run = int(a.run);
  const int64_t per_row = (a.n + run - 1) / run, pieces = a.rows * per_row;
  const int per_block = kSortTile / run;
  for (int64_t first = blockIdx.x * int64_t(per_block); first < pieces;
       first += gridDim.x * int64_t(per_block)) {
    for (int s = int(threadIdx.x); s < kSortTile; s += kSortThreads) {
      const int64_t piece = first + s / run, row = piece / per_row;
      const int64_t at = (piece - row * per_row) * run + s % run;
      tile[s] = piece < pieces && at < a.n ? a.in[row * a.n + at] : Item::last();
    }
    __syncthreads();
    for (int k = 2; k <= run; k *= 2) {
      for (int j = k / 2; j > 0; j /= 2) {
        for (int s = int(threadIdx.x); s < kSortTile / 2; s += kSortThreads) {
          const int low = 2 * s - (s & (j - 1)), high = low + j;
          const bool down = k < run && (low & k);
          const Item x = tile[low], y = tile[high];
          if (down ? x < y : y < x) {
            tile[low] = y;
            tile[high] = x;
          }
        }
        __syncthreads();
      }
    }
    for (int s = int(threadIdx.x); s < kSortTile; s += kSortThreads) {
      const int64_t piece = first + s / run, row = piece / per_row;
      const int64_t at = (piece - row * per_row) * run + s % run;
      if (piece < pieces && at < a.n) a.out[row * a.n + at] = tile[s];
    }
    __syncthreads();
  }
}

/// How many of the first d items of the merger of x and y come from x.
template <class Item>
GS_DEVICE int64_t merge_split(const Item* x, int64_t nx, const Item* y, int64_t ny, int64_t d) {
  int64_t low = d > ny ? d - ny : 0, high = d < nx ? d : nx;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (y[d - 1 - middle] < x[middle])
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/// A block writes kSortTile items of the merger of two runs; a thread merges kSortEach of them.
template <class Item>
__global__ void __launch_bounds__(kSortThreads)
    merge_kernel(const __grid_constant__ SortArgs<Item> a) {
  __shared__ ItemBytes<Item> raw;
  __shared__ int64_t split[2];
  Item* const tile = reinterpret_cast<Item*>(raw.bytes);
  const int64_t per_row = (a.n + kSortTile - 1) / kSortTile;
  for (int64_t t = blockIdx.x; t < a.rows * per_row; t += gridDim.x) {
    const int64_t row = t / per_row, at = (t - row * per_row) * kSortTile;
    const int64_t pair = at / (2 * a.run) * (2 * a.run);
    const int64_t left = a.n - pair;
    const int64_t nx = left < a.run ? left : a.run;
    const int64_t ny = left - nx < a.run ? left - nx : a.run;
    const Item* const x = a.in + row * a.n + pair;
    const Item* const y = x + nx;
    const int64_t from = at - pair, end = from + kSortTile < nx + ny ? from + kSortTile : nx + ny;
    if (threadIdx.x < 2) split[threadIdx.x] = merge_split(x, nx, y, ny, threadIdx.x ? end : from);
    __syncthreads();
    const int64_t x0 = split[0], y0 = from - x0;
    const int mx = int(split[1] - x0), my = int(end - from) - mx;
    for (int s = int(threadIdx.x); s < mx + my; s += kSortThreads) {
      tile[s] = s < mx ? x[x0 + s] : y[y0 + s - mx];
    }
    __syncthreads();
    const int d = int(threadIdx.x) * kSortEach < mx + my ? int(threadIdx.x) * kSortEach : mx + my;
    int i = int(merge_split(tile, mx, tile + mx, my, d)), j = d - i;
    Item merged[kSortEach];
    GS_UNROLL
    for (int e = 0; e < kSortEach; ++e) {
      const bool first = i < mx && (j >= my || !(tile[mx + j] < tile[i]));
      if (first)
        merged[e] = tile[i++];
      else if (j < my)
        merged[e] = tile[mx + j++];
      else
        merged[e] = Item::last();
    }
    __syncthreads();
    GS_UNROLL
    for (int e = 0; e < kSortEach; ++e) {
      if (d + e < mx + my) tile[d + e] = merged[e];
    }
    __syncthreads();
    for (int s = int(threadIdx.x); s < mx + my; s += kSortThreads) {
      a.out[row * a.n + at + s] = tile[s];
    }
    __syncthreads();
  }
}

/// Each of `rows` rows of n items in order; both arrays are written, and the one with the result is
/// returned.
template <class Item>
Item* sort_items(const Call& call, Item* items, Item* spare, int64_t rows, int64_t n) {
  if (rows * n == 0) return items;
  int64_t run = 2;
  while (run < n && run < kSortTile) run *= 2;
  SortArgs<Item> a{items, items, rows, n, run};
  const int64_t pieces = rows * ((n + run - 1) / run), per_block = kSortTile / run;
  launch_grid(call, &sort_tiles_kernel<Item>,
              blocks_for(call, (pieces + per_block - 1) / per_block * kSortThreads, kSortThreads),
              kSortThreads, a);
  const int64_t tiles = rows * ((n + kSortTile - 1) / kSortTile);
  for (; a.run < n; a.run *= 2) {
    a.in = items;
    a.out = spare;
    launch_grid(call, &merge_kernel<Item>, blocks_for(call, tiles * kSortThreads, kSortThreads),
                kSortThreads, a);
    Item* const merged = spare;
    spare = items;
    items = merged;
  }
  return items;
}

}  // namespace gradstep::cuda
