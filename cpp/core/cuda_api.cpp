// SPDX-License-Identifier: Apache-2.0
// Finds and loads the CUDA part. Environment: GRADSTEP_CUDA_PLUGIN = the shared object to load in
// place of the one beside this program; it is then loaded without looking for a driver.
#include "core/cuda_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <string>

#include "core/error.h"

namespace gradstep {

namespace {

struct Loaded {
  const CudaApi* api = nullptr;
  std::string why;
  ErrorKind kind = ErrorKind::Runtime;
};

/// The folder of the program or shared object that this code is in; its symbols become visible to
/// what is loaded from now on, since the plug-in takes the core from there.
std::string publish_own_symbols() {
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(&publish_own_symbols), &self) || !self.dli_fname) return ".";
  dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  const std::string path = self.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

Loaded load() {
  Loaded out;
  const char* chosen = std::getenv("GRADSTEP_CUDA_PLUGIN");
  const std::string folder = publish_own_symbols();
  const std::string path = chosen ? chosen : folder + "/libgradstep_cuda.so";
  if (!chosen) {
    if (access(path.c_str(), F_OK) != 0) {
      out.kind = ErrorKind::Assertion;  // as in PyTorch
      out.why =
          "Torch not compiled with CUDA enabled: this gradstep was built without its CUDA part, as "
          "no nvcc was found then.";
    } else if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) {
      out.why =
          "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
          "installed a driver from NVIDIA's site.";
    }
  }
  if (out.why.empty()) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* error = dlerror();
      out.why = format("gradstep's CUDA part could not be loaded: {}", error ? error : path);
      return out;
    }
    const auto entry =
        reinterpret_cast<const CudaApi* (*)()>(dlsym(handle, "gradstep_cuda_plugin"));
    const CudaApi* api = entry ? entry() : nullptr;
    if (!api || api->version != kCudaApiVersion) {
      out.why = format("gradstep's CUDA part {} is of another build.", path);
    } else if (api->device_count() == 0) {
      out.why = "No CUDA GPUs are available";
    } else {
      out.api = api;
    }
  }
  return out;
}

std::once_flag g_once;
bool g_tried = false;
bool g_forked = false;  // a child of fork() has no CUDA, whatever its parent had

const Loaded& loaded() {
  static auto* result = new Loaded;  // never destroyed: kernels may run until the process ends
  std::call_once(g_once, [] {
    *result = load();
    g_tried = true;
    if (result->api) pthread_atfork(nullptr, nullptr, [] { g_forked = true; });
  });
  return *result;
}

}  // namespace

CudaFlags& cuda_flags() {
  static CudaFlags flags = [] {
    CudaFlags start;
    const char* sync = std::getenv("GRADSTEP_CUDA_SYNC");
    start.sync = sync && std::string(sync) != "0";
    return start;
  }();
  return flags;
}

const CudaApi* find_cuda() { return loaded().api; }

const CudaApi& cuda_api() {
  const Loaded& l = loaded();
  if (!l.api) fail(l.kind, "{}", l.why);
  GS_CHECK(!g_forked,
           "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you "
           "must use the 'spawn' start method");
  return *l.api;
}

Device full_device(Device d) {
  if (d.type == DeviceType::CPU) return {};
  const CudaApi& cuda = cuda_api();
  if (d.index < 0) d.index = static_cast<int8_t>(cuda.current_device());
  GS_CHECK(d.index < cuda.device_count(),
           "CUDA error: invalid device ordinal ({} where {} devices are there)",
           static_cast<int>(d.index), cuda.device_count());
  return d;
}

bool cuda_is_loaded() { return g_tried && loaded().api; }

const char* why_no_cuda() { return loaded().why.c_str(); }

}  // namespace gradstep
