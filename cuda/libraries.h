// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries, loaded at first need: void* lib = library("cublaslt") is null where it is
// missing. They are looked for beside the Python packages (nvidia/cu13/lib, nvidia/cudnn/lib) and
// where the system has them.
#pragma once
#include <cstdint>

namespace gradstep::cuda {

/// A handle for dlsym, or null. Names: "cublaslt", "cudnn", "nvrtc", "nccl", "driver".
void* library(const char* name);
/// A function of a library; null if either is missing.
void* symbol(const char* library, const char* function);
/// The version that the library tells; 0 if it is missing.
int64_t library_version(const char* name);

}  // namespace gradstep::cuda
