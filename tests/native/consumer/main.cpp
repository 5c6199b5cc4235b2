// SPDX-License-Identifier: Apache-2.0
// Fits y = 3 x with the installed library: ops, autograd, optimizer, a matrix product.
#include <cmath>
#include <cstdio>

#include "graph/node.h"
#include "ops/create.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/pointwise.h"
#include "ops/view.h"
#include "optim/optimizer.h"

int main() {
  using namespace gradstep;
  const Tensor x = view(linspace(-1, 1, 16, {}), {16, 1});
  const Tensor target = x * 3.0;
  const Tensor weight = zeros({1, 1}, {});
  weight->requires_grad = true;
  SGD optimizer({weight}, {.lr = 0.1, .momentum = 0.9});
  for (int i = 0; i < 200; ++i) {
    optimizer.zero_grad();
    const Tensor loss = mse_loss(mm(x, weight), target);
    backward({&loss, 1}, {}, false, false);
    optimizer.step();
  }
  const float found = *weight.data<float>();
  std::printf("weight %.4f\n", static_cast<double>(found));
  return std::abs(found - 3) < 1e-3 ? 0 : 1;
}
