// SPDX-License-Identifier: Apache-2.0
// What the arguments of the random fills mean for a type, with PyTorch's checks and messages; the
// same for all devices.
//   const IntegerRange r = integer_range(dtype, 0, 10);   // r.from + x % r.count
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"

namespace gradstep {

/// Integers [from, from + count); a count of 0 stands for all 2^64 values.
struct IntegerRange {
  int64_t from;
  uint64_t count;
  bool wide;  // 64 bits are drawn for each
};

constexpr int64_t kLowestInteger = std::numeric_limits<int64_t>::lowest();

/// random_() of a type: all non-negative values, or up to 2^mantissa bits for a floating one.
GS_API IntegerRange integer_range(DType dtype);
/// random_(from, to) of a type; without `to` up to the type's largest value, and from
/// kLowestInteger without `to` all 64 bits.
GS_API IntegerRange integer_range(DType dtype, int64_t from, std::optional<int64_t> to,
                                  DeviceType device = DeviceType::CPU);

// Errors name the kernel as PyTorch calls it on that device.
GS_API void check_uniform(DType dtype, double from, double to);
GS_API void check_normal(DType dtype, double std, DeviceType device = DeviceType::CPU);
GS_API void check_log_normal(DType dtype, double std, DeviceType device = DeviceType::CPU);
GS_API void check_cauchy(DType dtype, double sigma, DeviceType device = DeviceType::CPU);
GS_API void check_exponential(DType dtype, double lambda, DeviceType device = DeviceType::CPU);
GS_API void check_geometric(DType dtype, double p, DeviceType device = DeviceType::CPU);
GS_API void check_bernoulli(double p);
GS_API void check_dropout(DType dtype, double p);
GS_API void check_randperm(DType dtype, int64_t n, DeviceType device = DeviceType::CPU);
GS_API void check_multinomial(DType dtype, int64_t n_categories, int64_t n_samples,
                              bool replacement);

}  // namespace gradstep
