// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
// random words as a function of a 128-bit counter and a 64-bit key, the same on every device and in
// any order:
//   Random4 r = Philox{}(seed, stream, offset);  float u = uniform_closed(r.x[0]);
// Includes fn/math.h.
#pragma once
#include "fn/math.h"

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

// ---- cuRAND's distributions of the words ----

/// In (0, 1], as curand_uniform.
GS_FN float uniform_closed(uint32_t x) { return float(x) * 0x1p-32f + 0x1p-33f; }
/// In (0, 1], 53 bits, as curand_uniform2_double.
GS_FN double uniform_closed(uint32_t low, uint32_t high) {
  return double(uint64_t(low) ^ uint64_t(high) << 21) * 0x1p-53 + 0x1p-54;
}

/// Two normal numbers of mean 0 and deviation 1, as curand_normal4 makes them of two words
/// (Box and Muller, 1958).
GS_FN void normal_pair(uint32_t x, uint32_t y, float& a, float& b) {
  constexpr float kTurn = 6.2831855f * 0x1p-32f;
  const float angle = float(y) * kTurn + kTurn / 2;
  const float radius = sqrt(-2.0f * log(uniform_closed(x)));
#ifdef __CUDA_ARCH__
  __sincosf(angle, &a, &b);
#else
  a = sin(angle);
  b = cos(angle);
#endif
  a *= radius;
  b *= radius;
}
/// The same of four words, as curand_normal2_double.
GS_FN void normal_pair(Random4 r, double& a, double& b) {
  const double half_turns = 2 * uniform_closed(r.x[2], r.x[3]);
  const double radius = sqrt(-2.0 * log(uniform_closed(r.x[0], r.x[1])));
#ifdef __CUDA_ARCH__
  sincospi(half_turns, &a, &b);
#else
  a = sin(half_turns * 3.14159265358979323846);
  b = cos(half_turns * 3.14159265358979323846);
#endif
  a *= radius;
  b *= radius;
}

// PyTorch's kernels take the fast functions of the hardware for float.
#ifdef __CUDA_ARCH__
GS_FN float quick_log(float x) { return __logf(x); }
GS_FN float quick_exp(float x) { return __expf(x); }
GS_FN float quick_tan(float x) { return __tanf(x); }
#else
GS_FN float quick_log(float x) { return log(x); }
GS_FN float quick_exp(float x) { return exp(x); }
GS_FN float quick_tan(float x) { return tan(x); }
#endif
GS_FN double quick_log(double x) { return log(x); }
GS_FN double quick_exp(double x) { return exp(x); }
GS_FN double quick_tan(double x) { return tan(x); }

}  // namespace GS_ISA
}  // namespace gradstep
