// SPDX-License-Identifier: Apache-2.0
// A whole training step of a 784-256-128-10 net in C++: zero_grad, forward, cross-entropy,
// backward, fused SGD with momentum. The same step from Python is bench/train.py.
#include <cmath>
#include <vector>

#include "core/threads.h"
#include "device.h"
#include "graph/node.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "optim/optimizer.h"

namespace {

using namespace gradstep;
using bench::generator;
using bench::options;

struct Linear {
  Tensor weight, bias;
  Linear(int64_t in, int64_t out)
      : weight(empty({out, in}, options())), bias(empty({out}, options())) {
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    for (const Tensor& t : {weight, bias}) {
      uniform_(t, -bound, bound, generator());
      t->requires_grad = true;
    }
  }
  Tensor operator()(const Tensor& x) const { return linear(x, weight, bias); }
};

/// Arguments: batch size, threads.
void train_mlp(benchmark::State& state) {
  const int64_t batch = state.range(0);
  set_num_threads(static_cast<int>(state.range(1)));
  Generator& gen = generator();
  gen.manual_seed(0);
  const Linear first(784, 256);
  const Linear second(256, 128);
  const Linear third(128, 10);
  std::vector<Tensor> params;
  for (const Linear& layer : {first, second, third}) {
    params.push_back(layer.weight);
    params.push_back(layer.bias);
  }
  SGD optimizer(params, {.lr = 1e-3, .momentum = 0.9});
  const Tensor inputs = randn({batch, 784}, gen, options());
  const Tensor labels = randint(0, 10, {batch}, gen, options(DType::Int64));
  bench::repeat(state, [&] {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(third(relu(second(relu(first(inputs))))), labels);
    backward({&loss, 1}, {}, false, false);
    optimizer.step();
  });
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(train_mlp)
    ->ArgNames({"batch", "threads"})
    ->Args({1, 1})
    ->Args({64, 1})
    ->Args({64, 2})
    ->Args({512, 1})
    ->Args({512, 2})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
