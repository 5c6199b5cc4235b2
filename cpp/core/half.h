// SPDX-License-Identifier: Apache-2.0
// Storage types of 16 bits. They only convert: arithmetic happens in float. Rounding is to nearest
// even.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

namespace gradstep {

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float f) {
    const uint32_t u = std::bit_cast<uint32_t>(f);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? 0x7fc0 : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float f) {
    const uint32_t u = std::bit_cast<uint32_t>(f);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t mag = u & 0x7fffffffu;
    uint32_t h;
    if (mag > 0x7f800000u) {
      h = 0x7e00u;  // NaN
    } else if (mag >= 0x47800000u) {
      h = 0x7c00u;  // at least 65536: infinity
    } else if (mag < 0x38800000u) {
      // Subnormal: adding 0.5 aligns the value's last bit with that of a half and rounds it.
      const float aligned = std::bit_cast<float>(mag) + 0.5f;
      h = std::bit_cast<uint32_t>(aligned) - 0x3f000000u;
    } else {
      h = (mag - 0x38000000u + 0xfffu + ((mag >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | h);
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t mag = bits & 0x7fffu;
    if (mag >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (mag & 0x3ffu) << 13);
    if (mag < 0x400u) {
      const float f = static_cast<float>(mag) * 0x1p-24f;
      return std::bit_cast<float>(std::bit_cast<uint32_t>(f) | sign);
    }
    return std::bit_cast<float>(sign | ((mag << 13) + 0x38000000u));
  }
};

/// Converts between any two element types as a C cast does, halves through float.
template <class To, class From>
inline To convert(From v) {
  if constexpr (requires { v.bits; }) {
    return convert<To>(static_cast<float>(v));
  } else if constexpr (requires(To t) { t.bits; }) {
    return To(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, bool>) {
    return v != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Through int64, so that small types wrap as PyTorch's do; out-of-range values are x86's
    // indefinite.
    if (!(v > From(-9.3e18) && v < From(9.2233720368547748e18))) return static_cast<To>(INT64_MIN);
    return static_cast<To>(static_cast<int64_t>(v));
  } else {
    return static_cast<To>(v);
  }
}

}  // namespace gradstep
