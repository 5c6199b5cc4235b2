// SPDX-License-Identifier: Apache-2.0
// How the operands of a matmul call lie in memory, and the part of it that is for halves.
#pragma once
#include <cstdint>

#include "graph/call.h"

namespace gradstep {

/// A matrix or a batch of them. As stored (columns by rows if transposed) its rows are contiguous
/// and `ld` elements apart.
struct Matrix {
  bool transposed;
  int64_t ld;
  int64_t batch_stride;
};
Matrix layout(const TensorImpl& t);

/// bfloat16 and float16: sums are float and rounded once.
void matmul_half(const Call& call);

/// Where products of bfloat16 run: "onednn" or "float".
const char* bfloat16_backend_name();

}  // namespace gradstep
