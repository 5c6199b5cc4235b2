// SPDX-License-Identifier: Apache-2.0
// Elementwise ops through the whole path (dtype rule, output, launch): from overhead to memory
// bandwidth.
#include "core/threads.h"
#include "device.h"
#include "ops/create.h"
#include "ops/pointwise.h"

namespace {

using namespace gradstep;
using bench::options;
using bench::repeat;

/// Arguments: elements, threads.
template <class F>
void elementwise(benchmark::State& state, int n_streams, F&& op) {
  const int64_t n = state.range(0);
  set_num_threads(static_cast<int>(state.range(1)));
  const Tensor a = full({n}, 0.5, options());
  const Tensor b = full({n}, 0.25, options());
  repeat(state, [&] { benchmark::DoNotOptimize(op(a, b).get()); });
  state.SetItemsProcessed(state.iterations() * n);
  state.SetBytesProcessed(state.iterations() * n * n_streams * 4);
}

void add(benchmark::State& state) {
  elementwise(state, 3, [](const Tensor& a, const Tensor& b) { return a + b; });
}
void add_transposed(benchmark::State& state) {
  const int64_t n = state.range(0);
  set_num_threads(static_cast<int>(state.range(1)));
  const Tensor a = full({n, n}, 0.5, options());
  const Tensor b = alias(a, {n, n}, {1, n}, 0);
  repeat(state, [&] { benchmark::DoNotOptimize((a + b).get()); });
  state.SetItemsProcessed(state.iterations() * n * n);
}
void scale(benchmark::State& state) {
  elementwise(state, 2, [](const Tensor& a, const Tensor&) { return a * 2.0; });
}
void exponential(benchmark::State& state) {
  elementwise(state, 2, [](const Tensor& a, const Tensor&) { return exp(a); });
}
void hyperbolic_tangent(benchmark::State& state) {
  elementwise(state, 2, [](const Tensor& a, const Tensor&) { return tanh(a); });
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"elements", "threads"})->UseRealTime();
  for (const int64_t n : {8, 4096, 1 << 20}) b->Args({n, 1});
  b->Args({1 << 24, 1})->Args({1 << 24, 2});
}
BENCHMARK(add)->Apply(sizes);
BENCHMARK(scale)->Apply(sizes);
BENCHMARK(exponential)->Apply(sizes);
BENCHMARK(hyperbolic_tangent)->Apply(sizes);
BENCHMARK(add_transposed)
    ->ArgNames({"side", "threads"})
    ->Args({64, 1})
    ->Args({1024, 1})
    ->UseRealTime();

}  // namespace
