// SPDX-License-Identifier: Apache-2.0
// The fused SGD-momentum step on one large tensor and on many small ones. Bytes: parameter and
// momentum are read and written, the gradient is read.
#include <vector>

#include "core/threads.h"
#include "device.h"
#include "graph/node.h"
#include "ops/create.h"
#include "optim/optimizer.h"

namespace {

using namespace gradstep;
using bench::options;

/// Arguments: tensors, elements of each, threads.
void sgd_momentum(benchmark::State& state) {
  const int64_t n_tensors = state.range(0);
  const int64_t n_elements = state.range(1);
  set_num_threads(static_cast<int>(state.range(2)));
  std::vector<Tensor> params;
  for (int64_t i = 0; i < n_tensors; ++i) {
    params.push_back(full({n_elements}, 0.5, options()));
    params.back()->requires_grad = true;
    set_grad(params.back(), full({n_elements}, 0.01, options()));
  }
  SGD optimizer(params, {.lr = 1e-6, .momentum = 0.9, .weight_decay = 1e-4});
  optimizer.step();  // makes the momentum buffers
  bench::repeat(state, [&] {
    optimizer.step();
    benchmark::ClobberMemory();
  });
  state.SetItemsProcessed(state.iterations() * n_tensors * n_elements);
  state.SetBytesProcessed(state.iterations() * n_tensors * n_elements * 5 * 4);
}
BENCHMARK(sgd_momentum)
    ->ArgNames({"tensors", "elements", "threads"})
    ->Args({161, 64, 1})
    ->Args({1, 4096, 1})
    ->Args({1, 1 << 20, 1})
    ->Args({1, 25'600'000, 1})
    ->Args({1, 25'600'000, 2})
    ->UseRealTime();

}  // namespace
