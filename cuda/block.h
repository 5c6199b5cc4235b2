// SPDX-License-Identifier: Apache-2.0
// What the threads of a warp or a block do together, for any trivially copyable T:
//   T total = block_reduce(v, [] GS_LAMBDA(T a, T b) { return a + b; }, T(0));   // known to all
//   threads
// The order of the combinations depends on the block's size only, so results are reproducible. All
// threads of the block must call; blocks are whole warps (a multiple of 32 threads).
#pragma once
#include "cuda/launch.h"

#ifdef GS_CUDA_SHIM
#define GS_LAMBDA
#else
#define GS_LAMBDA __device__
#endif

namespace gradstep::cuda {

/// A value that `exchange`, a shuffle of numbers, brings from another lane, number by number.
template <class T, class Exchange>
GS_DEVICE T exchange_words(T v, Exchange exchange) {
  if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
    if constexpr (std::is_arithmetic_v<T>) return exchange(v);
  }
  constexpr int kWords = (sizeof(T) + 3) / 4;
  struct Words {
    uint32_t w[kWords];
  } words = {};
  memcpy(&words, &v, sizeof(T));
  GS_UNROLL
  for (int k = 0; k < kWords; ++k) words.w[k] = exchange(words.w[k]);
  memcpy(&v, &words, sizeof(T));
  return v;
}

/// The value of the lane whose number differs in `bits`.
template <class T>
GS_DEVICE T shuffle_xor(T v, int bits) {
  return exchange_words(v, [=](auto x) { return __shfl_xor_sync(~0u, x, bits); });
}

/// All lanes get the combination of the warp's values.
template <class T, class Combine>
GS_DEVICE T warp_reduce(T v, Combine combine) {
  GS_UNROLL
  for (int bits = 16; bits > 0; bits /= 2) {
    const T other = shuffle_xor(v, bits);
    // The lower lane's value comes first, so that all lanes get the same bits.
    v = (threadIdx.x & unsigned(bits)) ? combine(other, v) : combine(v, other);
  }
  return v;
}

/// All threads of a one-dimensional block get the combination of the block's values.
template <class T, class Combine>
GS_DEVICE T block_reduce(T v, Combine combine, T identity) {
  struct alignas(16) Raw {
    unsigned char bytes[(sizeof(T) + 15) / 16 * 16];
  };
  __shared__ Raw of_warp[32];
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32,
            warps = int(blockDim.x) / 32;
  v = warp_reduce(v, combine);
  if (warps == 1) return v;
  __syncthreads();  // a former use of of_warp is over
  if (lane == 0) memcpy(&of_warp[warp], &v, sizeof(T));
  __syncthreads();
  T mine = identity;
  if (lane < warps) memcpy(&mine, &of_warp[lane], sizeof(T));
  return warp_reduce(mine, combine);
}

struct AddValues {
  template <class T>
  GS_FN T operator()(T a, T b) const {
    return a + b;
  }
};
template <class T>
GS_DEVICE T block_sum(T v) {
  return block_reduce(v, AddValues{}, T(0));
}

}  // namespace gradstep::cuda
