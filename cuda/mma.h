// SPDX-License-Identifier: Apache-2.0
// Products of small tiles of halves on the tensor cores, sums in float (sm_80 and later). A warp
// multiplies a (16 x 16) and b (16 x 8); of both, pairs of neighbours along the summed axis k share
// a register, the lower k in the lower bits. Lane l holds, with g = l / 4 and t = 2 * (l % 4):
//   a[0], a[2]   row g, k = t and t + 8         a[1], a[3]   row g + 8
//   b[0], b[1]   column g, k = t and t + 8
//   d[0], d[1]   row g, columns t and t + 1     d[2], d[3]   row g + 8
// Hence the registers of a result, rounded to halves, are those of an operand a.
#pragma once
#include "cuda/values.h"

namespace gradstep::cuda {

/// Two values as neighbouring halves.
template <bool kBFloat>
GS_DEVICE uint32_t pack_halves(float low, float high) {
  if constexpr (kBFloat) return float_to_bfloat(low) | uint32_t(float_to_bfloat(high)) << 16;
  return float_to_half(low) | uint32_t(float_to_half(high)) << 16;
}

#ifdef GS_CUDA_SHIM

template <bool kBFloat>
inline void add_tile_product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  uint32_t all[6][32];  // by register and lane
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  for (int r = 0; r < 6; ++r) {
    *shim::lane_slot(shim::lane()) = mine[r];
    shim::wait_warp(~0u);
    for (int l = 0; l < 32; ++l) all[r][l] = uint32_t(*shim::lane_slot(l));
    shim::wait_warp(~0u);
  }
  const auto half = [&](int r, int l, int k) {
    const auto bits = uint16_t(all[r][l] >> 16 * (k % 2));
    return kBFloat ? bfloat_to_float(bits) : half_to_float(bits);
  };
  const int lane = shim::lane();
  for (int e = 0; e < 4; ++e) {
    const int row = lane / 4 + e / 2 * 8, col = lane % 4 * 2 + e % 2;
    for (int k = 0; k < 16; ++k) {
      const int of_k = k % 8 / 2;
      d[e] += half(row / 8 + k / 8 * 2, row % 8 * 4 + of_k, k) * half(4 + k / 8, col * 4 + of_k, k);
    }
  }
}

#else

/// d += a b
template <bool kBFloat>
GS_DEVICE void add_tile_product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kBFloat) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

#endif

}  // namespace gradstep::cuda
