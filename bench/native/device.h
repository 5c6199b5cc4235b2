// SPDX-License-Identifier: Apache-2.0
// What the native benchmarks share: where their tensors are (--device cuda, taken by main.cpp), and
// how calls are timed there:
//   repeat(state, [&] { benchmark::DoNotOptimize(exp(a).get()); });
#pragma once
#include <benchmark/benchmark.h>

#include "core/cuda_api.h"
#include "core/generator.h"
#include "core/tensor.h"

namespace gradstep::bench {

inline Device g_device;

inline Options options(DType dtype = DType::Float32) { return {dtype, g_device}; }
inline Generator& generator() { return default_generator(g_device); }

/// Runs `call` for every iteration. A GPU is waited for once for so many calls, so that the time of
/// one is the GPU's where that is the slower part, and the host's where it is not.
template <class F>
void repeat(benchmark::State& state, F&& call) {
  if (g_device.type == DeviceType::CPU) {
    for (auto _ : state) call();
    return;
  }
  constexpr int64_t kBatch = 16;
  const CudaApi& cuda = cuda_api();
  call();  // what only the first one does
  cuda.synchronize(g_device.index);
  while (state.KeepRunningBatch(kBatch)) {
    for (int64_t i = 0; i < kBatch; ++i) call();
    cuda.synchronize(g_device.index);
  }
}

}  // namespace gradstep::bench
