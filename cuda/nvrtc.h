// SPDX-License-Identifier: Apache-2.0
// Kernels that are compiled when they are first needed, by NVRTC, from a source that may include
// cpp/fn and cuda/fused_kernel.h:
//   void* kernel = compiled_kernel(source, "fused", device);       // null: why_not_compiled()
//   launch_compiled(call, kernel, blocks, threads, &arguments);
// See Note [Compiling at run time].
#pragma once
#include <string>

#include "cuda/runtime.h"

namespace gradstep::cuda {

/// A kernel of that source for the device, or null. What was compiled before, in this process or
/// another one, is found again.
void* compiled_kernel(const std::string& source, const char* name, int device);
/// Why there are no such kernels, one sentence.
const std::string& why_not_compiled();
/// With one argument, by value.
void launch_compiled(const Call& call, void* kernel, unsigned blocks, unsigned threads,
                     void* argument);

}  // namespace gradstep::cuda
