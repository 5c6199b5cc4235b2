// SPDX-License-Identifier: Apache-2.0
#include "core/dtype.h"

#include <algorithm>

namespace gradstep {

namespace {
DType g_default_dtype = DType::Float32;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);
  // uint8 with a signed type of the same width needs the next wider one.
  if (a == DType::UInt8 && b == DType::Int8) return DType::Int16;
  // Neither 16-bit float holds the other.
  if (a == DType::Float16 && b == DType::BFloat16) return DType::Float32;
  return b;
}

DType default_dtype() { return g_default_dtype; }

void set_default_dtype(DType t) {
  GS_CHECK_TYPE(is_floating(t), "only floating-point types are supported as the default type");
  g_default_dtype = t;
}

}  // namespace gradstep
