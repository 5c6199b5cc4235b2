// SPDX-License-Identifier: Apache-2.0
// What this build is made of, for `gradstep info`, and which of it may run. Filled in by
// cpp/kernels.
#pragma once
#include <cstdint>

namespace gradstep {

const char* instruction_set_name();  // "v2", "v3", "v4" of x86-64, or "generic"
const char* bfloat16_name();         // what multiplies bfloat16: "onednn" or "float"
const char* convolution_name();      // "onednn" or "im2col"

/// 3x3 convolutions of at least so many multiplications take the algorithm that is twice as fast
/// and rounds more (INT64_MAX: none do). Returns what held before.
int64_t set_winograd_work(int64_t multiplications);

}  // namespace gradstep
