// SPDX-License-Identifier: Apache-2.0
// The whole engine without Python: derivatives against differences, the rules of backward(), and a
// small net that learns. Prints each failed check, exits non-zero on any.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/generator.h"
#include "core/memory.h"
#include "core/threads.h"
#include "expect.h"
#include "graph/node.h"
#include "ops/create.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/nn_norm.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/view.h"
#include "optim/optimizer.h"

namespace {

using namespace gradstep;

constexpr Options kDouble{DType::Float64, {}};

Tensor leaf(const Tensor& t) {
  t->requires_grad = true;
  return t;
}
void backward(const Tensor& root, bool retain_graph = false, bool create_graph = false) {
  gradstep::backward({&root, 1}, {}, retain_graph, create_graph);
}
double item(const Tensor& t) {
  return t.dtype() == DType::Float64 ? *t.data<double>() : static_cast<double>(*t.data<float>());
}

// ---- derivatives ----

void test_gradient_equals_differences() {
  Generator gen(1);
  const Tensor x = leaf(randn({3, 4}, gen, kDouble));
  const Tensor w = leaf(randn({5, 4}, gen, kDouble));
  const Tensor b = leaf(randn({5}, gen, kDouble));
  const Tensor labels = randint(0, 5, {3}, gen, {DType::Int64, {}});
  const auto loss = [&] {
    const Tensor hidden = layer_norm(tanh(linear(x, w, b)), {5});
    return add(cross_entropy(hidden, labels),
               mean(square(slice(transpose(hidden, 0, 1), 0, 1, 4))));
  };
  backward(loss());
  constexpr double kStep = 1e-6;
  for (const Tensor& t : {x, w, b}) {
    const Tensor grad = grad_of(t);
    for (int64_t i = 0; i < t.numel(); ++i) {
      double& value = t.data<double>()[i];
      const double before = value;
      value = before + kStep;
      const double high = item(loss());
      value = before - kStep;
      const double low = item(loss());
      value = before;
      EXPECT(std::abs((high - low) / (2 * kStep) - grad.data<double>()[i]) < 1e-7);
    }
  }
}

void test_second_derivative_of_a_cube() {
  const Tensor x = leaf(full({3}, 2.0, kDouble));
  const Tensor y = sum(x * x * x);
  const Tensor first = gradients({&y, 1}, {}, {&x, 1}, true, true, false)[0];
  EXPECT(std::abs(first.data<double>()[0] - 12) < 1e-12);
  const Tensor total = sum(first);
  const Tensor second = gradients({&total, 1}, {}, {&x, 1}, false, false, false)[0];
  EXPECT(std::abs(second.data<double>()[0] - 12) < 1e-12);
  EXPECT(!grad_of(x).defined());
}

// ---- the rules of backward ----

void test_gradients_accumulate() {
  const Tensor x = leaf(full({2}, 3.0, {}));
  backward(sum(x * 2.0));
  backward(sum(x * 2.0));
  EXPECT(grad_of(x).data<float>()[0] == 4);
}

void test_a_second_backward_needs_the_graph() {
  const Tensor x = leaf(full({2}, 3.0, {}));
  const Tensor y = sum(x * x);
  backward(y);
  std::string message;
  try {
    backward(y);
  } catch (const std::exception& error) {
    message = error.what();
  }
  EXPECT(message.find("Trying to backward through the graph a second time") != std::string::npos);
}

void test_no_graph_while_gradients_are_off() {
  const Tensor x = leaf(full({2}, 3.0, {}));
  const GradMode off(false);
  EXPECT(is_leaf(x * x));
}

void test_writing_in_place_to_a_kept_tensor_is_an_error() {
  const Tensor x = leaf(full({2}, 3.0, {}));
  const Tensor y = exp(x);
  const Tensor z = sum(y);
  fill_(detach(y), 0);
  bool thrown = false;
  try {
    backward(z);
  } catch (const std::exception&) {
    thrown = true;
  }
  EXPECT(thrown);
}

/// A chain of a million nodes must not be released by recursion.
void test_a_long_graph_is_released() {
  const Tensor x = leaf(full({1}, 1.0, {}));
  Tensor y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + x;
  y = Tensor();
  EXPECT(!grad_of(x).defined());
}

// ---- training ----

struct Linear {
  Tensor weight, bias;
  Linear(int64_t in, int64_t out, Generator& gen)
      : weight(empty({out, in}, Options{})), bias(empty({out}, Options{})) {
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    for (const Tensor& t : {weight, bias}) leaf(uniform_(t, -bound, bound, gen));
  }
  Tensor operator()(const Tensor& x) const { return linear(x, weight, bias); }
};

/// Two rings of points, one inside the other; returns the losses.
std::vector<double> train(int n_steps) {
  Generator gen(0);
  const Linear first(2, 32, gen);
  const Linear second(32, 2, gen);
  const Tensor points = randn({256, 2}, gen, {});
  const Tensor labels = to(gt(sum(square(points), {1}), 1.4), DType::Int64);
  SGD optimizer({first.weight, first.bias, second.weight, second.bias},
                {.lr = 0.5, .momentum = 0.9});
  std::vector<double> losses;
  for (int i = 0; i < n_steps; ++i) {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(second(relu(first(points))), labels);
    backward(loss);
    optimizer.step();
    losses.push_back(item(loss));
  }
  return losses;
}

void test_a_net_learns_and_the_number_of_threads_does_not_matter() {
  set_num_threads(1);
  const std::vector<double> one = train(200);
  set_num_threads(2);
  const std::vector<double> two = train(200);
  EXPECT(one.front() > 0.5);
  EXPECT(one.back() < 0.15);
  EXPECT(one == two);
}

void test_steps_leave_no_memory_behind() {
  train(2);
  const int64_t before = memory_stats().n_live;
  train(5);
  EXPECT(memory_stats().n_live == before);
}

}  // namespace

int main() {
  test_gradient_equals_differences();
  test_second_derivative_of_a_cube();
  test_gradients_accumulate();
  test_a_second_backward_needs_the_graph();
  test_no_graph_while_gradients_are_off();
  test_writing_in_place_to_a_kept_tensor_is_an_error();
  test_a_long_graph_is_released();
  test_a_net_learns_and_the_number_of_threads_does_not_matter();
  test_steps_leave_no_memory_behind();
  std::printf(n_failed == 0 ? "engine: ok\n" : "engine: %d failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
