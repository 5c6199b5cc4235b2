// SPDX-License-Identifier: Apache-2.0
#include "cuda/nvrtc.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include "core/hash.h"
#include "cuda/launch.h"
#include "cuda/libraries.h"
#include "cuda/runtime_headers.h"  // written by cmake/embed.cmake

namespace gradstep::cuda {

// Note [Compiling at run time]
// NVRTC gets the headers that this part was built from, and the flag that its maps were built with:
// no multiply-adds are fused, so a functor has the same bits wherever it is compiled. CUDA's
// functions come with the compiler, so only an NVRTC of the version that built this part is
// taken: the toolkit's own, or a package's. Machine code is kept in
// $XDG_CACHE_HOME/gradstep/kernels (~/.cache) under a hash of source, headers, flags, architecture
// and version, beside the text itself, which is compared. A file appears whole, by renaming; what
// can't be written or read is compiled.

namespace {

#define GS_NVRTC_FUNCTIONS(DO)                                                        \
  DO(Version, int, (int*, int*))                                                      \
  DO(CreateProgram, int,                                                              \
     (void**, const char*, const char*, int, const char* const*, const char* const*)) \
  DO(CompileProgram, int, (void*, int, const char* const*))                           \
  DO(DestroyProgram, int, (void**))                                                   \
  DO(GetProgramLogSize, int, (void*, size_t*))                                        \
  DO(GetProgramLog, int, (void*, char*))                                              \
  DO(GetCUBINSize, int, (void*, size_t*))                                             \
  DO(GetCUBIN, int, (void*, char*))
#define GS_DRIVER_FUNCTIONS(DO)                                                                  \
  DO(ModuleLoadData, int, (void**, const void*))                                                 \
  DO(ModuleGetFunction, int, (void**, void*, const char*))                                       \
  DO(LaunchKernel, int,                                                                          \
     (void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cudaStream_t, \
      void**, void**))

struct Compiler {
#define GS_MEMBER(name, result, arguments) result(*name) arguments = nullptr;
  GS_NVRTC_FUNCTIONS(GS_MEMBER)
  GS_DRIVER_FUNCTIONS(GS_MEMBER)
#undef GS_MEMBER
  int major = 0, minor = 0;
  std::string why_not;  // empty if all is there
};

/// NVRTC opens a library of its own by name: the one that lies beside it.
void open_builtins(const Compiler& c) {
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(c.Version), &self) || !self.dli_fname) return;
  std::string file = self.dli_fname;
  file.resize(file.rfind('/') + 1);
  file += format("libnvrtc-builtins.so.{}.{}", c.major, c.minor);
  (void)dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
}

Compiler find_compiler() {
  Compiler c;
  bool found = true;
#define GS_FIND(name, result, arguments)                                          \
  c.name = reinterpret_cast<result(*) arguments>(symbol("nvrtc", "nvrtc" #name)); \
  found = found && c.name;
  GS_NVRTC_FUNCTIONS(GS_FIND)
#undef GS_FIND
  if (!found) {
    c.why_not = "NVRTC was not found (pip install 'gradstep[cuda]' has it)";
    return c;
  }
#define GS_FIND(name, result, arguments)                                        \
  c.name = reinterpret_cast<result(*) arguments>(symbol("driver", "cu" #name)); \
  found = found && c.name;
  GS_DRIVER_FUNCTIONS(GS_FIND)
#undef GS_FIND
  if (!found || c.Version(&c.major, &c.minor) != 0) {
    c.why_not = "the driver lacks a function";
    return c;
  }
#ifndef GS_CUDA_SHIM
  int major = 0, minor = 0;
  (void)std::sscanf(GS_CUDA_VERSION, "%d.%d", &major, &minor);
  if (major != c.major || minor != c.minor) {
    c.why_not = format("NVRTC {}.{} was found, but gradstep was built with CUDA {}.{}", c.major,
                       c.minor, major, minor);
    return c;
  }
#endif
  open_builtins(c);
  return c;
}

Compiler& compiler() {
  static auto* c = new Compiler(find_compiler());
  return *c;
}

// ---- the cache on disk ----

uint64_t hash_of(std::string_view text, uint64_t h) {
  return hash_bytes(text.data(), text.size(), h);
}

/// Makes the folder; empty if there is none.
std::string cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string path = cache && cache[0] == '/' ? cache : home ? std::string(home) + "/.cache" : "";
  if (path.empty()) return path;
  for (const char* part : {"", "/gradstep", "/kernels"}) {
    path += part;
    (void)mkdir(path.c_str(), 0700);
  }
  return path;
}

/// The text, its length before it, and the code with its length and hash.
std::string read_cached(const std::string& file, const std::string& text) {
  FILE* f = std::fopen(file.c_str(), "rb");
  if (!f) return {};
  std::string all, code;
  char part[65536];
  while (const size_t n = std::fread(part, 1, sizeof(part), f)) all.append(part, n);
  (void)std::fclose(f);
  uint64_t head[3];  // bytes of the text, bytes and hash of the code
  if (all.size() < sizeof(head)) return {};
  std::memcpy(head, all.data(), sizeof(head));
  const size_t rest = all.size() - sizeof(head);
  if (head[0] != text.size() || head[1] > rest || rest - head[1] != head[0] ||
      all.compare(sizeof(head), text.size(), text) != 0) {
    return {};
  }
  code = all.substr(sizeof(head) + text.size());
  return hash_of(code, 0) == head[2] ? code : std::string();
}

void write_cached(const std::string& file, const std::string& text, const std::string& code) {
  const std::string part = format("{}.{}", file, getpid());
  FILE* f = std::fopen(part.c_str(), "wb");
  if (!f) return;
  const uint64_t head[] = {text.size(), code.size(), hash_of(code, 0)};
  bool ok = std::fwrite(head, sizeof(head), 1, f) == 1;
  ok = ok && std::fwrite(text.data(), 1, text.size(), f) == text.size();
  ok = ok && std::fwrite(code.data(), 1, code.size(), f) == code.size();
  ok = std::fclose(f) == 0 && ok;
  if (!ok || std::rename(part.c_str(), file.c_str()) != 0) (void)unlink(part.c_str());
}

// ---- compiling ----

/// The machine code, or empty: then why_not says why.
std::string compile(Compiler& c, const std::string& source, const std::vector<std::string>& flags) {
  void* program = nullptr;
  if (c.CreateProgram(&program, source.c_str(), "fused.cu", kRuntimeHeaders, kRuntimeHeaderTexts,
                      kRuntimeHeaderNames) != 0) {
    c.why_not = "NVRTC makes no program";
    return {};
  }
  std::vector<const char*> options;
  for (const std::string& f : flags) options.push_back(f.c_str());
  std::string code;
  size_t bytes = 0;
  if (c.CompileProgram(program, int(options.size()), options.data()) == 0 &&
      c.GetCUBINSize(program, &bytes) == 0 && bytes > 0) {
    code.resize(bytes);
    if (c.GetCUBIN(program, code.data()) != 0) code.clear();
  }
  if (code.empty()) {
    std::string log;
    if (c.GetProgramLogSize(program, &bytes) == 0 && bytes > 1) {
      log.resize(bytes);
      if (c.GetProgramLog(program, log.data()) != 0) log.clear();
    }
    c.why_not = "NVRTC could not compile a kernel: " + std::string(log.c_str()).substr(0, 500);
  }
  (void)c.DestroyProgram(&program);
  return code;
}

std::mutex g_mutex;

/// The driver's functions need a context, which a thread without a call of the runtime lacks.
void take_context() {
  thread_local bool taken = false;
  if (!taken) check(cudaSetDevice(current_device()), "cudaSetDevice");
  taken = true;
}

/// Loads the code, also while a stream is captured.
void* load(const Compiler& c, const std::string& code, const char* name) {
  void *module = nullptr, *kernel = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  const bool ok = c.ModuleLoadData(&module, code.data()) == 0 &&
                  c.ModuleGetFunction(&kernel, module, name) == 0;
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  return ok ? kernel : nullptr;
}

}  // namespace

const std::string& why_not_compiled() { return compiler().why_not; }

void* compiled_kernel(const std::string& source, const char* name, int device) {
  Compiler& c = compiler();
  const std::lock_guard lock(g_mutex);
  if (!c.why_not.empty()) return nullptr;
  static auto* known = new std::map<std::pair<int, std::string>, void*>;
  const auto found = known->find({device, source});
  if (found != known->end()) return found->second;
  const std::vector<std::string> flags = {
      "-std=c++20",
      "-fmad=false",
      "-default-device",
      "-w",
      "-DGS_RUNTIME_COMPILED",
      format("--gpu-architecture=sm_{}", compute_capability(device))};
  std::string text = source;
  for (const std::string& f : flags) text += "// " + f + "\n";
  text += format("// NVRTC {}.{}, headers {}\n", c.major, c.minor, [] {
    uint64_t h = 0;
    for (const char* t : kRuntimeHeaderTexts) h = hash_of(t, h);
    return h;
  }());
  std::string file = cache_folder();
  if (!file.empty()) file += format("/{}-{}.bin", hash_of(text, kHashStart), hash_of(text, 1));
  std::string code = file.empty() ? std::string() : read_cached(file, text);
  if (code.empty()) {
    code = compile(c, source, flags);
    if (code.empty()) return nullptr;
    if (!file.empty()) write_cached(file, text, code);
  }
  const DeviceGuard guard(device);
  take_context();
  void* const kernel = load(c, code, name);
  if (!kernel) {
    c.why_not = "the driver does not take a compiled kernel";
    return nullptr;
  }
  return (*known)[{device, source}] = kernel;
}

void launch_compiled(const Call& call, void* kernel, unsigned blocks, unsigned threads,
                     void* argument) {
  if (blocks == 0) return;
  take_context();
  void* arguments[] = {argument};
  const int e = compiler().LaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream_of(call),
                                        arguments, nullptr);
  GS_CHECK(e == 0, "CUDA error: {} in the launch of {}", e, call.op->name);
  after_launch(call);
}

}  // namespace gradstep::cuda
