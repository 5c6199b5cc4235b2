// SPDX-License-Identifier: Apache-2.0
// What this build is made of, for `gradstep info`. Filled in by cpp/kernels.
#pragma once

namespace gradstep {

const char* instruction_set_name();  // "v2", "v3", "v4" of x86-64, or "generic"
const char* blas_name();             // "openblas" or "own"
const char* convolution_name();      // "onednn" or "im2col"

}  // namespace gradstep
