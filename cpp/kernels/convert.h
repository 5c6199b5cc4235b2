// SPDX-License-Identifier: Apache-2.0
// Contiguous conversions between storage types, for kernels that are compiled once.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace gradstep {

using ConvertLoop = void (*)(void* dst, const void* src, int64_t n);

/// The loop that was compiled for this machine's instruction set.
ConvertLoop convert_loop_for(DType to, DType from);

}  // namespace gradstep
