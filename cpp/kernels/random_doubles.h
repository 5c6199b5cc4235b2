// SPDX-License-Identifier: Apache-2.0
// One double from a generator of the CPU, as PyTorch makes it of the same words:
//   double u = uniform_double(gen), x = normal_double(gen, 0.0, 1.0);
#pragma once
#include <cmath>
#include <cstdint>

#include "core/generator.h"

namespace gradstep {

/// Uniform in [0, 1), from 53 bits.
inline double uniform_double(uint64_t word) {
  constexpr uint64_t kMask = (uint64_t{1} << 53) - 1;
  return static_cast<double>(static_cast<int64_t>(word & kMask)) *
         0x1p-53;  // signed: has an instruction
}
inline double uniform_double(Generator& gen) { return uniform_double(gen.random64()); }

/// A pair of normal values from one Box-Muller step; the second is kept for the next call.
inline double normal_double(Generator& gen, double mean, double std) {
  double value;
  if (gen.next_double_normal) {
    value = *gen.next_double_normal;
    gen.next_double_normal.reset();
  } else {
    const double u1 = uniform_double(gen);
    const double u2 = uniform_double(gen);
    const double r = std::sqrt(-2.0 * std::log1p(-u2));
    const double theta = 2.0 * M_PI * u1;
    gen.next_double_normal = r * std::sin(theta);
    value = r * std::cos(theta);
  }
  return std::fma(value, std, mean);
}

}  // namespace gradstep
