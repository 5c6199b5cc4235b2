// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
// random words as a function of a 128-bit counter and a 64-bit key, the same on every device and in
// any order:
//   Random4 r = Philox{}(seed, stream, offset);  float u = uniform_open(r.x[0]);
// Includes fn/config.h.
#pragma once
#include "fn/config.h"

namespace gradstep {
inline namespace GS_ISA {

struct Random4 {
  uint32_t x[4];
};

struct Philox {
  /// One block: counter and key as in Random123's philox4x32.
  GS_FN Random4 operator()(Random4 counter, uint32_t key0, uint32_t key1) const {
    uint32_t a = counter.x[0], b = counter.x[1], c = counter.x[2], d = counter.x[3];
    for (int round = 0; round < 10; ++round) {
      const uint64_t ab = uint64_t(0xd2511f53u) * a;
      const uint64_t cd = uint64_t(0xcd9e8d57u) * c;
      a = uint32_t(cd >> 32) ^ b ^ key0;
      b = uint32_t(cd);
      c = uint32_t(ab >> 32) ^ d ^ key1;
      d = uint32_t(ab);
      key0 += 0x9e3779b9u;
      key1 += 0xbb67ae85u;
    }
    return {{a, b, c, d}};
  }

  /// cuRAND's layout: block `offset` of subsequence `stream` under `seed`. curand4 with
  /// curand_init(seed, stream, 4 * offset) returns the same words.
  GS_FN Random4 operator()(uint64_t seed, uint64_t stream, uint64_t offset) const {
    return (*this)(Random4{{uint32_t(offset), uint32_t(offset >> 32), uint32_t(stream),
                            uint32_t(stream >> 32)}},
                   uint32_t(seed), uint32_t(seed >> 32));
  }
};

/// In [0, 1), 24 bits.
GS_FN float uniform_half_open(uint32_t x) { return float(x >> 8) * 0x1p-24f; }
/// In (0, 1), 23 bits: safe for log(u) and log(1 - u).
GS_FN float uniform_open(uint32_t x) { return (float(x >> 9) + 0.5f) * 0x1p-23f; }
/// In [0, 1), 53 bits.
GS_FN double uniform_half_open(uint32_t high, uint32_t low) {
  return double((uint64_t(high) << 32 | low) >> 11) * 0x1p-53;
}

}  // namespace GS_ISA
}  // namespace gradstep
