// SPDX-License-Identifier: Apache-2.0
// Asks the real cuDNN for plans of our attention graphs, for GPUs that are not here: it compiles
// the kernels and runs none. It needs cuDNN 9.12 or newer with cuBLASLt, NVRTC and a libcuda.so.1,
// for which the toolkit's stub (lib64/stubs) does.
//   LD_LIBRARY_PATH=... attention_plans          one line for each problem; 1 if one has no plan
// 77: there is no cuDNN.
#include <dlfcn.h>

#include <cstdio>
#include <string>

#include "cuda/attention_graph.h"

using namespace gradstep::cuda::cudnn;

namespace {

struct Gpu {
  const char* name;
  int version, processors, shared;
};
const Gpu kGpus[] = {{"H100", 900, 132, 232448}, {"A100", 800, 108, 166912}};

std::string properties(const Gpu& gpu) {
  const auto number = [](const char* name, int64_t v) {
    return "\"" + std::string(name) + "\":" + std::to_string(v) + ",";
  };
  return "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64]," +
         number("regsPerBlock", 65536) + number("multiProcessorCount", gpu.processors) +
         number("warpSize", 32) + number("maxSharedMemoryPerBlock", 49152) +
         number("maxSharedMemoryPerBlockOptin", gpu.shared) +
         number("reservedSharedMemoryPerBlock", 1024) + number("maxRegistersPerSM", 65536) +
         number("maxCtasPerSM", 32) + number("maxThreadsPerBlock", 1024) +
         number("maxThreadsPerSM", 2048) + number("pciDeviceId", 0) + number("isTccDriver", 0) +
         number("supportCoopLaunch", 1) + number("totalGlobalMem", 84929347584) +
         number("smClockRateKHz", 1755000) + number("memClockRateKHz", 2619000) +
         number("l2CacheSize", 52428800) + number("cudaDeviceId", 0) +
         number("deviceVer", gpu.version) + number("driverVer", 13000) + "\"deviceName\":\"" +
         gpu.name + "\"}";
}

struct Case {
  const char* name;
  int64_t heads, groups, queries, keys, width, v_width;
  Data type;
  bool causal, rows_first;  // rows_first: (batch, rows, heads, width) in memory
  Four mask;                // sizes; zeros: none
};
constexpr Four kNoMask = {};
const Case kCases[] = {
    {"plain", 8, 8, 256, 256, 64, 64, Data::Half, false, false, kNoMask},
    {"GPT-2", 6, 6, 256, 256, 64, 64, Data::BFloat16, true, true, kNoMask},
    {"long", 16, 16, 2048, 2048, 128, 128, Data::BFloat16, true, true, kNoMask},
    {"groups", 8, 2, 256, 384, 128, 128, Data::BFloat16, false, true, kNoMask},
    {"narrow", 8, 8, 256, 256, 8, 8, Data::Half, true, false, kNoMask},
    {"two widths", 8, 8, 256, 256, 40, 80, Data::Half, false, false, kNoMask},
    {"few rows", 8, 8, 7, 256, 64, 64, Data::Half, true, false, kNoMask},
    {"odd rows", 8, 8, 100, 300, 64, 64, Data::Half, true, false, kNoMask},
    {"mask", 8, 8, 256, 256, 64, 64, Data::Half, false, false, {1, 1, 256, 256}},
    {"masks", 8, 8, 256, 256, 64, 64, Data::BFloat16, false, true, {2, 1, 256, 256}},
    {"full mask", 8, 4, 256, 256, 64, 64, Data::BFloat16, false, true, {2, 8, 256, 256}},
    {"mask of keys", 8, 8, 256, 256, 64, 64, Data::Half, false, false, {2, 1, 1, 256}},
};

AttentionShape shape_of(const Case& c, bool backward) {
  AttentionShape s{};
  s.batch = 2;
  s.heads = c.heads;
  s.groups = c.groups;
  s.queries = c.queries;
  s.keys = c.keys;
  s.width = c.width;
  s.v_width = c.v_width;
  s.type = c.type;
  s.backward = backward;
  s.causal = c.causal;
  s.masked = c.mask != kNoMask;
  s.mask_sizes = c.mask;
  s.mask = packed(c.mask);
  const auto layout = [&](int64_t heads, int64_t rows, int64_t width) {
    return c.rows_first ? Four{heads * rows * width, width, heads * width, 1}
                        : packed({s.batch, heads, rows, width});
  };
  s.q = s.dq = layout(s.heads, s.queries, s.width);
  s.k = s.dk = layout(s.groups, s.keys, s.width);
  s.v = s.dv = layout(s.groups, s.keys, s.v_width);
  s.out = s.dout = layout(s.heads, s.queries, s.v_width);
  return s;
}

}  // namespace

int main() {
  void* const library = dlopen("libcudnn.so.9", RTLD_NOW);
  if (!library) {
    std::printf("no cuDNN: %s\n", dlerror());
    return 77;
  }
  Api api;
#define GS_LOAD(name, result, arguments) \
  api.name = reinterpret_cast<result(*) arguments>(dlsym(library, "cudnn" #name));
  GS_CUDNN_FUNCTIONS(GS_LOAD)
#undef GS_LOAD
  int missing = 0;
  for (const Gpu& gpu : kGpus) {
    const std::string text = properties(gpu);
    Object device(api, DescriptorType::DeviceProperties);
    device.set(Attribute::DeviceJson, ValueKind::Char, int64_t(text.size()), text.data()).finish();
    for (const Case& c : kCases) {
      for (const bool backward : {false, true}) {
        Graph g(api);
        attention_graph(g, shape_of(c, backward));
        g.finish(nullptr);
        Plan plan;
        const Status s = plan.find(g, nullptr, &device);
        std::printf("%s %-13s %-9s ", gpu.name, c.name, backward ? "gradient" : "forward");
        if (s == Status::Success) {
          std::printf("workspace %lld\n", static_cast<long long>(plan.workspace()));
        } else {
          char why[2048] = "";
          api.GetLastErrorString(why, sizeof(why) - 1);
          std::printf("no plan: %d in %s: %s\n", int(s), plan.failed_in(), why);
          ++missing;
        }
      }
    }
  }
  return missing != 0;
}
