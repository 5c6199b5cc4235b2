// SPDX-License-Identifier: Apache-2.0
// Prefix sums, or prefixes of any associative combination:
//   T before = block_scan(v, combine, identity, &total);   // of the threads before this one
//   scan_exclusive(call, data, n, combine, identity);      // a whole array, in place
// The order of the combinations depends on n only, so results are reproducible.
#pragma once
#include "cuda/block.h"

namespace gradstep::cuda {

/// The value of the lane `by` below, the lane's own where there is none.
template <class T>
GS_DEVICE T shuffle_up(T v, int by) {
  return exchange_words(v, [=](auto x) { return __shfl_up_sync(~0u, x, by); });
}

/// The combination of this lane's value and those of all lanes below.
template <class T, class Combine>
GS_DEVICE T warp_scan(T v, Combine combine) {
  const int lane = int(threadIdx.x) % 32;
  GS_UNROLL
  for (int by = 1; by < 32; by *= 2) {
    const T below = shuffle_up(v, by);
    if (lane >= by) v = combine(below, v);
  }
  return v;
}

/// The combination of the values of all threads below this one in a one-dimensional block, the
/// identity for the first; the whole block's in *total. All threads call.
template <class T, class Combine>
GS_DEVICE T block_scan(T v, Combine combine, T identity, T* total) {
  struct alignas(16) Raw {
    unsigned char bytes[(sizeof(T) + 15) / 16 * 16];
  };
  __shared__ Raw of_warp[32];
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32,
            warps = int(blockDim.x) / 32;
  const T upto = warp_scan(v, combine);
  T before = shuffle_up(upto, 1);
  if (lane == 0) before = identity;
  __syncthreads();  // a former use of of_warp is over
  if (lane == 31) memcpy(&of_warp[warp], &upto, sizeof(T));
  __syncthreads();
  T mine = identity;
  if (lane < warps) memcpy(&mine, &of_warp[lane], sizeof(T));
  mine = warp_scan(mine, combine);
  __syncthreads();
  if (warp == 0) memcpy(&of_warp[lane], &mine, sizeof(T));
  __syncthreads();
  T lower = identity;
  if (warp > 0) memcpy(&lower, &of_warp[warp - 1], sizeof(T));
  memcpy(total, &of_warp[warps - 1], sizeof(T));
  return warp > 0 ? combine(lower, before) : before;
}

// ---- whole arrays ----

constexpr int kScanThreads = 256;
constexpr int kScanEach = 8;  // neighbours that a thread combines
constexpr int64_t kScanTile = int64_t(kScanThreads) * kScanEach;

template <class T, class Combine>
struct ScanArgs {
  T* data;
  T* of_tile;  // null: there is one tile
  int64_t n;
  T identity;
  Combine combine;
  bool write;  // the prefixes, from what stands in of_tile; else the combinations of the tiles
};

template <class T, class Combine>
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(const __grid_constant__ ScanArgs<T, Combine> a) {
  const int64_t tiles = (a.n + kScanTile - 1) / kScanTile;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t begin = tile * kScanTile + threadIdx.x * kScanEach;
    T each[kScanEach], sum = a.identity;
    GS_UNROLL
    for (int e = 0; e < kScanEach; ++e) {
      each[e] = begin + e < a.n ? a.data[begin + e] : a.identity;
      sum = a.combine(sum, each[e]);
    }
    T total;
    T before = block_scan(sum, a.combine, a.identity, &total);
    if (!a.write) {
      if (threadIdx.x == 0) a.of_tile[tile] = total;
      continue;
    }
    if (a.of_tile) before = a.combine(a.of_tile[tile], before);
    GS_UNROLL
    for (int e = 0; e < kScanEach; ++e) {
      if (begin + e < a.n) a.data[begin + e] = before;
      before = a.combine(before, each[e]);
    }
  }
}

/// data[i] = the combination of what stood in data[0] to data[i - 1]; the identity first.
template <class T, class Combine>
void scan_exclusive(const Call& call, T* data, int64_t n, Combine combine, T identity) {
  if (n == 0) return;
  const int64_t tiles = (n + kScanTile - 1) / kScanTile;
  const DeviceScratch<T> of_tile(tiles > 1 ? tiles : 0, call);
  ScanArgs<T, Combine> a{data, of_tile.data(), n, identity, combine, false};
  const unsigned blocks = blocks_for(call, tiles * kScanThreads, kScanThreads);
  if (tiles > 1) {
    launch_grid(call, &scan_kernel<T, Combine>, blocks, kScanThreads, a);
    scan_exclusive(call, of_tile.data(), tiles, combine, identity);
  }
  a.write = true;
  launch_grid(call, &scan_kernel<T, Combine>, blocks, kScanThreads, a);
}

}  // namespace gradstep::cuda
