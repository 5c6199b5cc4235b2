// SPDX-License-Identifier: Apache-2.0
// main() of every native benchmark: Google Benchmark's options and --device cpu|cuda|cuda:N.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "device.h"

namespace {

/// Takes --device NAME or --device=NAME out of the arguments.
std::string take_device(int& argc, char** argv) {
  const std::string option = "--device";
  std::string name = "cpu";
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == option && i + 1 < argc) {
      name = argv[++i];
    } else if (argument.rfind(option + "=", 0) == 0) {
      name = argument.substr(option.size() + 1);
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gradstep;
  const std::string name = take_device(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  try {
    if (name.rfind("cuda", 0) == 0) {
      const int index = name.size() > 5 ? std::atoi(name.c_str() + 5) : 0;
      bench::g_device = full_device({DeviceType::CUDA, static_cast<int8_t>(index)});
      CudaProperties properties;
      cuda_api().properties(bench::g_device.index, &properties);
      benchmark::AddCustomContext("device", properties.name);
    } else if (name != "cpu") {
      std::fprintf(stderr, "there is no device %s: cpu, cuda or cuda:N\n", name.c_str());
      return 1;
    }
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  benchmark::Shutdown();
  return 0;
}
