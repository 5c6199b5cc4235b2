// SPDX-License-Identifier: Apache-2.0
// Keys that order as PyTorch sorts: unsigned, NaN greatest, -0 equal to 0. Includes fn/config.h.
#pragma once
#include "fn/config.h"

namespace gradstep {
inline namespace GS_ISA {

/// Of the bits of a float or a double.
GS_FN uint32_t float_key(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return ~0u;
  if (bits == 0x80000000u) bits = 0;
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
GS_FN uint64_t float_key(uint64_t bits) {
  constexpr uint64_t kSign = uint64_t(1) << 63;
  if ((bits & ~kSign) > 0x7ff0000000000000u) return ~uint64_t(0);
  if (bits == kSign) bits = 0;
  return bits >> 63 ? ~bits : bits | kSign;
}

GS_FN uint32_t integer_key(int32_t v) { return static_cast<uint32_t>(v) ^ 0x80000000u; }
GS_FN uint64_t integer_key(int64_t v) { return static_cast<uint64_t>(v) ^ uint64_t(1) << 63; }

}  // namespace GS_ISA
}  // namespace gradstep
