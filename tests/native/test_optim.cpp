// SPDX-License-Identifier: Apache-2.0
// The optimizers as a C++ program uses them: updates against plain loops in double, groups, state,
// errors. Prints each failed check, exits non-zero on any.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "core/threads.h"
#include "expect.h"
#include "graph/node.h"
#include "optim/optimizer.h"

namespace {

using namespace gradstep;

double value(int64_t i, int seed) { return std::sin(static_cast<double>(i * 7 + seed * 13 + 1)); }

Tensor filled(int64_t n, int seed) {
  const Tensor t = empty({n}, DType::Float32);
  for (int64_t i = 0; i < n; ++i) t.data<float>()[i] = static_cast<float>(value(i, seed));
  return t;
}

std::vector<Tensor> parameters(std::initializer_list<int64_t> sizes) {
  std::vector<Tensor> out;
  for (const int64_t n : sizes) {
    out.push_back(filled(n, static_cast<int>(out.size())));
    out.back()->requires_grad = true;
  }
  return out;
}

void give_gradients(const std::vector<Tensor>& params, int step) {
  for (size_t k = 0; k < params.size(); ++k) {
    set_grad(params[k], filled(params[k].numel(), static_cast<int>(k) + 50 * (step + 1)));
  }
}

void test_sgd_follows_its_formula() {
  for (const bool nesterov : {false, true}) {
    const SgdOptions o{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = nesterov};
    const std::vector<Tensor> params = parameters({1, 17, 0, 40000});
    SGD optimizer(params, o);
    std::vector<std::vector<double>> p(4), buf(4);
    for (size_t k = 0; k < 4; ++k) {
      for (int64_t i = 0; i < params[k].numel(); ++i) p[k].push_back(value(i, static_cast<int>(k)));
      buf[k].resize(p[k].size());
    }
    for (int step = 0; step < 3; ++step) {
      give_gradients(params, step);
      optimizer.step();
      for (size_t k = 0; k < 4; ++k) {
        for (size_t i = 0; i < p[k].size(); ++i) {
          const double g = value(static_cast<int64_t>(i), static_cast<int>(k) + 50 * (step + 1));
          const double d = g + o.weight_decay * p[k][i];
          buf[k][i] = step == 0 ? d : o.momentum * buf[k][i] + d;
          p[k][i] -= o.lr * (nesterov ? d + o.momentum * buf[k][i] : buf[k][i]);
        }
      }
    }
    double worst = 0;
    for (size_t k = 0; k < 4; ++k) {
      for (size_t i = 0; i < p[k].size(); ++i) {
        worst = std::max(worst, std::abs(p[k][i] - params[k].data<float>()[i]));
      }
    }
    EXPECT(worst < 2e-6);
    EXPECT(optimizer.state(params[1], "momentum_buffer").numel() == 17);
  }
}

void test_all_optimizers_descend() {
  // The gradient of x^2 / 2 is x itself.
  const auto run = [](auto make) {
    std::vector<Tensor> params = parameters({50});
    auto optimizer = make(params);
    double before = 0, after = 0;
    for (int64_t i = 0; i < 50; ++i) before += std::abs(params[0].data<float>()[i]);
    for (int step = 0; step < 20; ++step) {
      const Tensor g = empty({50}, DType::Float32);
      std::memcpy(g->data, params[0]->data, 200);
      optimizer.zero_grad();
      set_grad(params[0], g);
      optimizer.step();
    }
    for (int64_t i = 0; i < 50; ++i) after += std::abs(params[0].data<float>()[i]);
    return after < before;
  };
  EXPECT(run([](auto p) { return SGD(p, {.lr = 0.1, .momentum = 0.5}); }));
  EXPECT(run([](auto p) { return Adam(p, {.lr = 0.01, .amsgrad = true}); }));
  EXPECT(run([](auto p) { return AdamW(p, {.lr = 0.01}); }));
  EXPECT(run([](auto p) { return RMSprop(p, {.momentum = 0.5, .centered = true}); }));
  EXPECT(run([](auto p) { return Adagrad(p); }));
}

void test_groups_and_zero_grad() {
  const std::vector<Tensor> params = parameters({4, 4});
  SGD optimizer({params[0]}, {.lr = 1});
  optimizer.add_param_group({params[1]}, {{"lr", 0.5}});
  give_gradients(params, 0);
  set_grad(params[1], Tensor());
  const float before = params[1].data<float>()[0], first = params[0].data<float>()[0];
  optimizer.step();
  EXPECT(params[1].data<float>()[0] == before);  // no gradient: skipped
  EXPECT(params[0].data<float>()[0] == first - grad_of(params[0]).data<float>()[0]);
  optimizer.groups()[0].set("lr", 0);
  const float now = params[0].data<float>()[0];
  optimizer.step();
  EXPECT(params[0].data<float>()[0] == now);
  optimizer.zero_grad(false);
  EXPECT(grad_of(params[0]).defined() && grad_of(params[0]).data<float>()[3] == 0);
  optimizer.zero_grad();
  EXPECT(!grad_of(params[0]).defined());
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void test_errors() {
  const std::vector<Tensor> params = parameters({4});
  EXPECT(message_of([&] { SGD(params, {.lr = -0.5}); }) == "Invalid learning rate: -0.5");
  EXPECT(message_of([&] { SGD(params, {.nesterov = true}); }) ==
         "Nesterov momentum requires a momentum and zero dampening");
  EXPECT(message_of([&] { Adam(params, {.beta2 = 1}); }) ==
         "Invalid beta parameter at index 1: 1.0");
  EXPECT(message_of([] { SGD({}); }) == "optimizer got an empty parameter list");
  EXPECT(message_of([&] { SGD({params[0], params[0]}); }) ==
         "some parameters appear in more than one parameter group");
}

}  // namespace

int main() {
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    test_sgd_follows_its_formula();
    test_all_optimizers_descend();
  }
  test_groups_and_zero_grad();
  test_errors();
  std::printf(n_failed == 0 ? "optim: ok\n" : "optim: %d failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
