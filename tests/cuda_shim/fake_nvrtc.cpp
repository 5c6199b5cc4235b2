// SPDX-License-Identifier: Apache-2.0
// A stand-in for NVRTC: what the engine would have compiled for a GPU is compiled with this
// compiler, from the same source and headers, into a shared object, which fake_driver.cpp loads.
//   FAKE_NVRTC=refuses      nothing compiles
//   FAKE_NVRTC_KEEP=FOLDER  the sources are kept there, with their headers, for the real NVRTC
//   FAKE_NVRTC_LOG=FILE     one line for each compilation
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#define GS_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

struct Program {
  std::string source, log, code;
  std::vector<std::pair<std::string, std::string>> headers;
};

std::string setting(const char* name) {
  const char* const v = std::getenv(name);
  return v ? v : "";
}

void write(const std::string& path, const std::string& text) {
  for (size_t k = 1; (k = path.find('/', k)) != std::string::npos; ++k)
    (void)mkdir(path.substr(0, k).c_str(), 0700);
  FILE* const f = std::fopen(path.c_str(), "wb");
  if (!f) return;
  (void)std::fwrite(text.data(), 1, text.size(), f);
  (void)std::fclose(f);
}

std::string read(const std::string& path) {
  std::string all;
  if (FILE* const f = std::fopen(path.c_str(), "rb")) {
    char part[65536];
    while (const size_t n = std::fread(part, 1, sizeof(part), f)) all.append(part, n);
    (void)std::fclose(f);
  }
  return all;
}

/// What NVRTC lacks and a host has.
bool is_standard(const std::string& name) { return name.find('/') == std::string::npos; }

int compile(Program& p, int n, const char* const* options) {
  bool fused = true, marked = false;
  for (int k = 0; k < n; ++k) {
    fused = fused && std::strcmp(options[k], "-fmad=false") != 0;
    marked = marked || std::strcmp(options[k], "-DGS_RUNTIME_COMPILED") == 0;
  }
  if (fused || !marked || setting("FAKE_NVRTC") == "refuses") {
    p.log = "the stand-in refuses";
    return 6;
  }
  const std::string keep = setting("FAKE_NVRTC_KEEP");
  if (!keep.empty()) {
    const size_t name = std::hash<std::string>{}(p.source);
    write(keep + "/" + std::to_string(name) + ".cu", p.source);
    for (const auto& [file, text] : p.headers) write(keep + "/include/" + file, text);
  }
  std::string at = std::filesystem::temp_directory_path() / "fake_nvrtc.XXXXXX";
  if (!mkdtemp(at.data())) return 6;
  write(at + "/fused.cpp", p.source);
  for (const auto& [file, text] : p.headers) {
    if (!is_standard(file)) write(at + "/include/" + file, text);
  }
  const std::string command = std::string(FAKE_COMPILER) + " -DGS_RUNTIME_COMPILED -I" + at +
                              "/include -I" FAKE_INCLUDE " " + at + "/fused.cpp -o " + at +
                              "/fused.so 2> " + at + "/log";
  const int result = std::system(command.c_str());
  p.code = read(at + "/fused.so");
  p.log = read(at + "/log");
  (void)std::system(("rm -r " + at).c_str());
  if (const std::string log = setting("FAKE_NVRTC_LOG"); !log.empty()) {
    if (FILE* const f = std::fopen(log.c_str(), "a")) {
      (void)std::fprintf(f, "compiled %d\n%s", result, p.log.c_str());
      (void)std::fclose(f);
    }
  }
  if (result != 0 || p.code.empty()) return 6;
  const uint64_t bytes = p.code.size();  // an image tells its length
  p.code.insert(0, reinterpret_cast<const char*>(&bytes), sizeof(bytes));
  return 0;
}

}  // namespace

GS_EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
GS_EXPORT int nvrtcCreateProgram(void** out, const char* source, const char*, int n,
                                 const char* const* headers, const char* const* names) {
  auto* p = new Program{source, {}, {}, {}};
  for (int k = 0; k < n; ++k) p->headers.emplace_back(names[k], headers[k]);
  *out = p;
  return 0;
}
GS_EXPORT int nvrtcCompileProgram(void* p, int n, const char* const* options) {
  return compile(*static_cast<Program*>(p), n, options);
}
GS_EXPORT int nvrtcDestroyProgram(void** p) {
  delete static_cast<Program*>(*p);
  *p = nullptr;
  return 0;
}
GS_EXPORT int nvrtcGetProgramLogSize(void* p, size_t* n) {
  *n = static_cast<Program*>(p)->log.size() + 1;
  return 0;
}
GS_EXPORT int nvrtcGetProgramLog(void* p, char* text) {
  const std::string& log = static_cast<Program*>(p)->log;
  std::memcpy(text, log.c_str(), log.size() + 1);
  return 0;
}
GS_EXPORT int nvrtcGetCUBINSize(void* p, size_t* n) {
  *n = static_cast<Program*>(p)->code.size();
  return 0;
}
GS_EXPORT int nvrtcGetCUBIN(void* p, char* code) {
  const std::string& from = static_cast<Program*>(p)->code;
  std::memcpy(code, from.data(), from.size());
  return 0;
}
