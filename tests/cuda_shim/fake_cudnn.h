// SPDX-License-Identifier: Apache-2.0
// What the files of the stand-in for cuDNN share: fake_cudnn.cpp tells how it is used.
#pragma once
#include <dlfcn.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/half.h"
#include "cuda/cudnn.h"

#define GS_EXPORT extern "C" __attribute__((visibility("default")))

namespace gradstep::cuda::cudnn {
struct HandleObject {
  cudaStream_t stream = nullptr;
};
struct TensorObject {
  Data type{};
  std::vector<int> sizes, strides;
};
}  // namespace gradstep::cuda::cudnn

using namespace gradstep::cuda::cudnn;

// What the engine declares is what is defined here.
#define GS_DECLARE(name, result, arguments) GS_EXPORT result cudnn##name arguments;
GS_CUDNN_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

namespace fake {

constexpr auto kBadParam = static_cast<Status>(2000);
constexpr auto kExecutionFailed = static_cast<Status>(5000);

inline std::string mode() {
  const char* m = std::getenv("FAKE_CUDNN");
  return m ? m : "";
}

inline bool mode_is(const char* name) { return mode() == name; }

inline void log(const char* format, ...) {
  const char* path = std::getenv("FAKE_CUDNN_LOG");
  FILE* f = path ? std::fopen(path, "a") : nullptr;
  if (!f) return;
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(f, format, arguments);
  va_end(arguments);
  std::fclose(f);
}

/// A function of the emulated GPU's.
template <class F>
F of_shim(const char* name) {
  void* shim = dlopen(std::getenv("GRADSTEP_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
  void* const f = shim ? dlsym(shim, name) : nullptr;
  if (!f) std::abort();
  return reinterpret_cast<F>(f);
}

/// Does what a kernel would do, with the emulated GPU's memory open: when the handle's stream comes
/// to it, or when a graph that is being captured is replayed.
inline void on_device(Handle h, std::function<void()> work) {
  static const auto run = of_shim<void (*)(cudaStream_t, const std::function<void()>*)>("shim_run");
  run(h->stream, &work);
}

template <class T>
float widen(const void* p, int64_t i) {
  T h;
  std::memcpy(&h, static_cast<const char*>(p) + i * 2, 2);
  return float(h);
}
inline double load(const void* p, Data t, int64_t i) {
  switch (t) {
    case Data::Double: return static_cast<const double*>(p)[i];
    case Data::Half: return double(widen<gradstep::Half>(p, i));
    case Data::BFloat16: return double(widen<gradstep::BFloat16>(p, i));
    default: return double(static_cast<const float*>(p)[i]);
  }
}
template <class T>
void narrow(void* p, int64_t i, double v) {
  const T h(static_cast<float>(v));
  std::memcpy(static_cast<char*>(p) + i * 2, &h, 2);
}
inline void store(void* p, Data t, int64_t i, double v) {
  switch (t) {
    case Data::Double: static_cast<double*>(p)[i] = v; break;
    case Data::Half: narrow<gradstep::Half>(p, i, v); break;
    case Data::BFloat16: narrow<gradstep::BFloat16>(p, i, v); break;
    default: static_cast<float*>(p)[i] = float(v);
  }
}

inline int64_t count(const std::vector<int>& sizes) {
  int64_t n = 1;
  for (const int s : sizes) n *= s;
  return n;
}

/// The elements lie one after the other.
inline bool is_packed(const TensorObject& t) {
  int64_t step = 1;
  for (size_t d = t.sizes.size(); d-- > 0; step *= t.sizes[d]) {
    if (t.sizes[d] > 1 && t.strides[d] != step) return false;
  }
  return true;
}

inline bool is_aligned(const void* p, size_t to) {
  return reinterpret_cast<uintptr_t>(p) % to == 0;
}
inline size_t size_of(Data t) { return t == Data::Double ? 8 : t == Data::Float ? 4 : 2; }

}  // namespace fake

using namespace fake;
