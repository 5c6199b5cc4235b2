// SPDX-License-Identifier: Apache-2.0
// Optimizers: parameter groups, state for each parameter, zero_grad() and step(), without Python.
//   SGD optimizer({w, b}, {.lr = 0.1, .momentum = 0.9});
//   optimizer.zero_grad();  backward({&loss, 1}, {}, false, false);  optimizer.step();
//   optimizer.groups()[0].set("lr", 0.01);        // takes effect at the next step
// A step is one fused launch for each group (more only for several devices or float with double).
// What an algorithm is, its hyperparameters, state and kernel, stands in one table that the Python
// classes use too. May include core, graph, ops.
#pragma once
#include <initializer_list>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "graph/call.h"
#include "ops/op.h"

namespace gradstep {

// ---- algorithms ----

constexpr int kMaxHyper = 8;
constexpr int kMaxStates = 4;

/// A hyperparameter: a number, or a flag as 0 and 1.
struct HyperSpec {
  const char* name;  // its key in a parameter group
  int index = -1;    // its place if the key holds a pair: betas
  double low = -__builtin_huge_val();
  double below = __builtin_huge_val();  // valid: low <= value < below
  const char* message = nullptr;        // "Invalid learning rate: {}"
};

/// What is kept for each parameter: a tensor like it, or a counter (0-d).
struct StateSpec {
  const char* name;  // its key in Python's state
  bool counter = false;
  double initial = 0;
  int initial_hyper = -1;  // starts with the value of this hyperparameter instead
};

/// A kernel with the state that it takes, in the order of its operands: tensors, then counters.
struct Variant {
  const char* op;
  std::span<const StateSpec> states;
};

struct Algorithm {
  const char* name;  // "Adam"
  std::span<const HyperSpec> hyper;
  /// The variant for these hyperparameters.
  const Variant& (*variant)(const double* h);
  /// For parameters without state yet, whose state this variant writes without reading it; mostly
  /// null.
  const Variant* first = nullptr;
  /// Raises for combinations that make no sense.
  void (*check)(const double* h) = nullptr;

  /// Raises KeyError-like ValueError for an unknown name.
  static const Algorithm& find(std::string_view name);
  /// The position of a hyperparameter; "betas.0" is the first of a pair.
  int position(std::string_view name) const;
  /// Raises PyTorch's errors for values out of range.
  void check_values(const double* h) const;
};

/// A new state tensor for parameter p.
Tensor make_state(const StateSpec& spec, const TensorImpl& p, const double* h);

/// Numbers in tensors of one element that the kernel reads when it runs; each may be null.
struct LiveNumbers {
  TensorImpl* lr = nullptr;          // replaces h[0]
  TensorImpl* grad_scale = nullptr;  // gradients are divided by it first
  TensorImpl* found_inf = nullptr;   // not 0: a gradient was infinite, nothing happens at all
};

/// The parameters of one fused step.
class UpdateList {
 public:
  /// Keeps the pointers until run().
  UpdateList(const Variant& variant, std::span<const double> h, LiveNumbers live, size_t expected);
  /// Takes a parameter, its gradient and its states; they must live until run().
  void add(TensorImpl* p, TensorImpl* g, TensorImpl* const* states);
  /// Updates all of them and raises their versions.
  void run();

 private:
  struct Bucket {
    Device device;
    Compute compute;
    std::vector<TensorImpl*> operands;
  };
  Bucket& bucket_of(const TensorImpl& p);
  const Variant& variant_;
  const Op& op_;
  Params params_;
  LiveNumbers live_;
  size_t expected_;
  std::vector<Bucket> buckets_;
};

// ---- optimizers ----

struct ParamGroup {
  std::vector<Tensor> params;
  std::vector<double> hyper;  // in the order of the algorithm's table
  const Algorithm* algorithm;

  double get(std::string_view name) const {
    return hyper[static_cast<size_t>(algorithm->position(name))];
  }
  void set(std::string_view name, double value) {
    hyper[static_cast<size_t>(algorithm->position(name))] = value;
  }
};

class Optimizer {
 public:
  using Values = std::initializer_list<std::pair<std::string_view, double>>;

  virtual ~Optimizer() = default;
  /// Adds parameters with the defaults, changed by `values`.
  void add_param_group(std::vector<Tensor> params, Values values = {});
  std::vector<ParamGroup>& groups() { return groups_; }
  void zero_grad(bool set_to_none = true);
  virtual void step();
  /// The state tensor of that name ("momentum_buffer"); undefined before the first step.
  Tensor state(const Tensor& param, std::string_view name) const;

 protected:
  Optimizer(std::string_view algorithm, std::vector<Tensor> params, std::vector<double> defaults);

 private:
  using State = std::vector<std::pair<const char*, Tensor>>;
  void update_group(ParamGroup& group);
  const Algorithm& algorithm_;
  std::vector<double> defaults_;
  std::vector<ParamGroup> groups_;
  std::unordered_map<TensorImpl*, State> state_;  // the groups keep the parameters alive
};

struct SgdOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
};
struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false, maximize = false;
};
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
  bool amsgrad = false, maximize = false;
};
struct RmspropOptions {
  double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false, maximize = false;
};
struct AdagradOptions {
  double lr = 1e-2, lr_decay = 0, weight_decay = 0, initial_accumulator_value = 0, eps = 1e-10;
  bool maximize = false;
};

struct SGD : Optimizer {
  explicit SGD(std::vector<Tensor> params, SgdOptions o = {});
};
struct Adam : Optimizer {
  explicit Adam(std::vector<Tensor> params, AdamOptions o = {});
};
struct AdamW : Optimizer {
  explicit AdamW(std::vector<Tensor> params, AdamWOptions o = {});
};
struct RMSprop : Optimizer {
  explicit RMSprop(std::vector<Tensor> params, RmspropOptions o = {});
};
struct Adagrad : Optimizer {
  explicit Adagrad(std::vector<Tensor> params, AdagradOptions o = {});
};

}  // namespace gradstep
