// SPDX-License-Identifier: Apache-2.0
// A stand-in for the few functions of the driver that load and launch what fake_nvrtc.cpp compiled.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "cuda/fused_kernel.h"

#define GS_EXPORT extern "C" __attribute__((visibility("default")))

using gradstep::cuda::FusedArgs;
using Function = void (*)(const FusedArgs*, unsigned blocks, unsigned threads);

GS_EXPORT int cuModuleLoadData(void** module, const void* image) {
  uint64_t bytes;
  std::memcpy(&bytes, image, sizeof(bytes));
  std::string file = std::filesystem::temp_directory_path() / "fake_driver.XXXXXX";
  const int fd = mkstemp(file.data());
  if (fd < 0) return 1;
  const bool ok =
      write(fd, static_cast<const char*>(image) + sizeof(bytes), bytes) == ssize_t(bytes);
  (void)close(fd);
  *module = ok ? dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  (void)unlink(file.c_str());
  return *module ? 0 : 200;
}

GS_EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = dlsym(module, name);
  return *function ? 0 : 500;
}

/// The arguments are copied, as the driver does; the work is done when the stream comes to it.
GS_EXPORT int cuLaunchKernel(void* function, unsigned blocks, unsigned, unsigned, unsigned threads,
                             unsigned, unsigned, unsigned, cudaStream_t stream, void** arguments,
                             void**) {
  static const auto run = [] {
    void* const shim = dlopen(std::getenv("GRADSTEP_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
    return reinterpret_cast<void (*)(cudaStream_t, const std::function<void()>*)>(
        dlsym(shim, "shim_run"));
  }();
  const std::function<void()> work = [=, a = *static_cast<const FusedArgs*>(arguments[0])] {
    reinterpret_cast<Function>(function)(&a, blocks, threads);
  };
  run(stream, &work);
  return 0;
}
