// SPDX-License-Identifier: Apache-2.0
// Square matrix products through the op, forward and with backward; the counter is floating-point
// operations.
#include <cstdint>

#include "core/threads.h"
#include "device.h"
#include "graph/node.h"
#include "ops/linalg.h"
#include "ops/random.h"
#include "ops/reduce.h"

namespace {

using namespace gradstep;
using bench::generator;
using bench::options;
using bench::repeat;

benchmark::Counter flops(double per_iteration) {
  return benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate,
                            benchmark::Counter::kIs1000);
}

/// Arguments: rows and columns, threads.
void matmul(benchmark::State& state) {
  const int64_t n = state.range(0);
  set_num_threads(static_cast<int>(state.range(1)));
  const Tensor a = randn({n, n}, generator(), options());
  const Tensor b = randn({n, n}, generator(), options());
  repeat(state, [&] { benchmark::DoNotOptimize(mm(a, b).get()); });
  const auto side = static_cast<double>(n);
  state.counters["FLOP"] = flops(2 * side * side * side);
}

void matmul_backward(benchmark::State& state) {
  const int64_t n = state.range(0);
  set_num_threads(static_cast<int>(state.range(1)));
  const Tensor a = randn({n, n}, generator(), options());
  const Tensor b = randn({n, n}, generator(), options());
  const Tensor leaves[] = {a, b};
  for (const Tensor& t : leaves) t->requires_grad = true;
  repeat(state, [&] {
    for (const Tensor& t : leaves) set_grad(t, {});
    const Tensor total = sum(mm(a, b));
    backward({&total, 1}, {}, false, false);
  });
  const auto side = static_cast<double>(n);
  state.counters["FLOP"] = flops(6 * side * side * side);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "threads"})->UseRealTime();
  for (const int64_t n : {8, 16, 64, 256, 512}) b->Args({n, 1});
  b->Args({1024, 1})->Args({1024, 2});
}
BENCHMARK(matmul)->Apply(sizes);
BENCHMARK(matmul_backward)->Apply(sizes);

}  // namespace
