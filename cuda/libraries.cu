// SPDX-License-Identifier: Apache-2.0
#include "cuda/libraries.h"

#include <dlfcn.h>

#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace gradstep::cuda {

namespace {

struct Library {
  const char* name;
  std::vector<const char*> files;  // sonames, newest first
  const char* folder;              // in site-packages/nvidia
  bool tried = false;
  void* handle = nullptr;
};

Library g_libraries[] = {
    {"cublaslt", {"libcublasLt.so.13", "libcublasLt.so.12"}, "cu13/lib"},
    {"cudnn", {"libcudnn.so.9"}, "cudnn/lib"},
#ifdef GS_NVRTC_LIBRARY  // of the toolkit that built this
    {"nvrtc", {GS_NVRTC_LIBRARY, "libnvrtc.so.13", "libnvrtc.so.12"}, "cu13/lib"},
#else
    {"nvrtc", {"libnvrtc.so.13", "libnvrtc.so.12"}, "cu13/lib"},
#endif
    {"nccl", {"libnccl.so.2"}, "nccl/lib"},
    {"driver", {"libcuda.so.1"}, "cu13/lib"},  // the system's: no package has it
};
std::mutex g_mutex;

/// The folder of site-packages: the plug-in lies in site-packages/gradstep.
std::string site_packages() {
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(&site_packages), &self) || !self.dli_fname) return {};
  std::string path = self.dli_fname;
  for (int i = 0; i < 2; ++i) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {};
    path.resize(slash);
  }
  return path;
}

}  // namespace

void* library(const char* name) {
  const std::lock_guard lock(g_mutex);
  for (Library& l : g_libraries) {
    if (std::strcmp(l.name, name) != 0) continue;
    if (!l.tried) {
      l.tried = true;
      const std::string folder = site_packages() + "/nvidia/" + l.folder + "/";
      for (const char* file : l.files) {
        // One that the process has already, the package's, the system's.
        l.handle = dlopen(file, RTLD_NOW | RTLD_NOLOAD);
        if (!l.handle) l.handle = dlopen((folder + file).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!l.handle) l.handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        if (l.handle) break;
      }
    }
    return l.handle;
  }
  return nullptr;
}

void* symbol(const char* lib, const char* function) {
  void* handle = library(lib);
  return handle ? dlsym(handle, function) : nullptr;
}

int64_t library_version(const char* name) {
  const std::string n = name;
  if (n == "cublaslt") {
    const auto f = reinterpret_cast<size_t (*)()>(symbol(name, "cublasLtGetVersion"));
    return f ? int64_t(f()) : 0;
  }
  if (n == "cudnn") {
    const auto f = reinterpret_cast<size_t (*)()>(symbol(name, "cudnnGetVersion"));
    return f ? int64_t(f()) : 0;
  }
  int major = 0, minor = 0;
  if (n == "nvrtc") {
    const auto f = reinterpret_cast<int (*)(int*, int*)>(symbol(name, "nvrtcVersion"));
    return f && f(&major, &minor) == 0 ? major * 1000 + minor * 10 : 0;
  }
  if (n == "nccl") {
    const auto f = reinterpret_cast<int (*)(int*)>(symbol(name, "ncclGetVersion"));
    return f && f(&major) == 0 ? major : 0;
  }
  return 0;
}

}  // namespace gradstep::cuda
