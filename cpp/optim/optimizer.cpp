// SPDX-License-Identifier: Apache-2.0
// The table of algorithms and the optimizers that run them.
#include "optim/optimizer.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/layout.h"
#include "graph/node.h"
#include "ops/pointwise.h"
#include "optim/lists.h"

namespace gradstep {

// ---- the table ----

namespace {

constexpr double kAny = -__builtin_huge_val();
constexpr double kEvery = __builtin_huge_val();

constexpr HyperSpec kLr = {"lr", -1, 0, kEvery, "Invalid learning rate: {}"};
constexpr HyperSpec kEps = {"eps", -1, 0, kEvery, "Invalid epsilon value: {}"};
constexpr HyperSpec kDecay = {"weight_decay", -1, 0, kEvery, "Invalid weight_decay value: {}"};
constexpr HyperSpec kBeta1 = {"betas", 0, 0, 1, "Invalid beta parameter at index 0: {}"};
constexpr HyperSpec kBeta2 = {"betas", 1, 0, 1, "Invalid beta parameter at index 1: {}"};
constexpr HyperSpec kMomentum = {"momentum", -1, 0, kEvery, "Invalid momentum value: {}"};
constexpr StateSpec kStep = {"step", true};

constexpr HyperSpec flag(const char* name) { return {name}; }

// SGD: lr, momentum, dampening, weight_decay, nesterov, maximize
constexpr HyperSpec kSgdHyper[] = {
    kLr,    kMomentum,        {"dampening", -1, kAny, kEvery, nullptr},
    kDecay, flag("nesterov"), flag("maximize")};
constexpr StateSpec kSgdStates[] = {{"momentum_buffer"}};
constexpr Variant kSgdPlain = {"multi_sgd", {}};
constexpr Variant kSgdMomentum = {"multi_sgd_momentum", kSgdStates};
constexpr Variant kSgdFirst = {"multi_sgd_first", kSgdStates};
const Variant& sgd_variant(const double* h) { return h[1] != 0 ? kSgdMomentum : kSgdPlain; }
void check_sgd(const double* h) {
  GS_CHECK_VALUE(h[4] == 0 || (h[1] > 0 && h[2] == 0),
                 "Nesterov momentum requires a momentum and zero dampening");
}

// Adam, AdamW: lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay
constexpr HyperSpec kAdamHyper[] = {
    kLr,    kBeta1,          kBeta2,           kEps,
    kDecay, flag("amsgrad"), flag("maximize"), flag("decoupled_weight_decay")};
constexpr StateSpec kAdamStates[] = {{"exp_avg"}, {"exp_avg_sq"}, kStep};
constexpr StateSpec kAmsgradStates[] = {{"exp_avg"}, {"exp_avg_sq"}, {"max_exp_avg_sq"}, kStep};
constexpr Variant kAdamPlain = {"multi_adam", kAdamStates};
constexpr Variant kAdamAmsgrad = {"multi_adam_amsgrad", kAmsgradStates};
const Variant& adam_variant(const double* h) { return h[5] != 0 ? kAdamAmsgrad : kAdamPlain; }

// NAdam: lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize
constexpr HyperSpec kNadamHyper[] = {
    kLr,
    kBeta1,
    kBeta2,
    kEps,
    kDecay,
    {"momentum_decay", -1, 0, kEvery, "Invalid momentum_decay value: {}"},
    flag("decoupled_weight_decay"),
    flag("maximize")};
constexpr StateSpec kNadamStates[] = {{"exp_avg"}, {"exp_avg_sq"}, kStep, {"mu_product", true, 1}};
constexpr Variant kNadam = {"multi_nadam", kNadamStates};

// RAdam: lr, beta1, beta2, eps, weight_decay, decoupled_weight_decay, maximize
constexpr HyperSpec kRadamHyper[] = {
    kLr, kBeta1, kBeta2, kEps, kDecay, flag("decoupled_weight_decay"), flag("maximize")};
constexpr Variant kRadam = {"multi_radam", kAdamStates};

// Adamax: lr, beta1, beta2, eps, weight_decay, maximize
constexpr HyperSpec kAdamaxHyper[] = {kLr, kBeta1, kBeta2, kEps, kDecay, flag("maximize")};
constexpr StateSpec kAdamaxStates[] = {{"exp_avg"}, {"exp_inf"}, kStep};
constexpr Variant kAdamax = {"multi_adamax", kAdamaxStates};

// RMSprop: lr, alpha, eps, weight_decay, momentum, centered, maximize
constexpr HyperSpec kRmspropHyper[] = {kLr,
                                       {"alpha", -1, 0, kEvery, "Invalid alpha value: {}"},
                                       kEps,
                                       kDecay,
                                       kMomentum,
                                       flag("centered"),
                                       flag("maximize")};
constexpr StateSpec kSquareAvg = {"square_avg"}, kGradAvg = {"grad_avg"},
                    kBuffer = {"momentum_buffer"};
constexpr StateSpec kRmspropStates[] = {kSquareAvg, kStep};
constexpr StateSpec kRmspropCenteredStates[] = {kSquareAvg, kGradAvg, kStep};
constexpr StateSpec kRmspropMomentumStates[] = {kSquareAvg, kBuffer, kStep};
constexpr StateSpec kRmspropBothStates[] = {kSquareAvg, kGradAvg, kBuffer, kStep};
constexpr Variant kRmspropPlain = {"multi_rmsprop", kRmspropStates};
constexpr Variant kRmspropCentered = {"multi_rmsprop_centered", kRmspropCenteredStates};
constexpr Variant kRmspropMomentum = {"multi_rmsprop_momentum", kRmspropMomentumStates};
constexpr Variant kRmspropBoth = {"multi_rmsprop_centered_momentum", kRmspropBothStates};
const Variant& rmsprop_variant(const double* h) {
  if (h[4] > 0) return h[5] != 0 ? kRmspropBoth : kRmspropMomentum;
  return h[5] != 0 ? kRmspropCentered : kRmspropPlain;
}

// Adagrad: lr, lr_decay, eps, weight_decay, initial_accumulator_value, maximize
constexpr HyperSpec kAdagradHyper[] = {
    kLr,
    {"lr_decay", -1, 0, kEvery, "Invalid lr_decay value: {}"},
    kEps,
    kDecay,
    {"initial_accumulator_value", -1, 0, kEvery, "Invalid initial_accumulator_value value: {}"},
    flag("maximize")};
constexpr StateSpec kAdagradStates[] = {{"sum", false, 0, 4}, kStep};
constexpr Variant kAdagrad = {"multi_adagrad", kAdagradStates};

// Adadelta: lr, rho, eps, weight_decay, maximize
constexpr double kJustOverOne = 1 + __DBL_EPSILON__;  // rho may be 1
constexpr HyperSpec kAdadeltaHyper[] = {
    kLr, {"rho", -1, 0, kJustOverOne, "Invalid rho value: {}"}, kEps, kDecay, flag("maximize")};
constexpr StateSpec kAdadeltaStates[] = {kSquareAvg, {"acc_delta"}, kStep};
constexpr Variant kAdadelta = {"multi_adadelta", kAdadeltaStates};

// Rprop: lr, eta_minus, eta_plus, smallest step, largest step, maximize
constexpr HyperSpec kRpropHyper[] = {kLr,
                                     {"etas", 0, kAny, kEvery, nullptr},
                                     {"etas", 1, kAny, kEvery, nullptr},
                                     {"step_sizes", 0, kAny, kEvery, nullptr},
                                     {"step_sizes", 1, kAny, kEvery, nullptr},
                                     flag("maximize")};
constexpr StateSpec kRpropStates[] = {{"prev"}, {"step_size", false, 0, 0}, kStep};
constexpr Variant kRprop = {"multi_rprop", kRpropStates};
void check_rprop(const double* h) {
  GS_CHECK_VALUE(0 < h[1] && h[1] < 1 && 1 < h[2], "Invalid eta values: {}, {}", h[1], h[2]);
}

// ASGD: lr, lambd, alpha, t0, weight_decay, maximize
constexpr HyperSpec kAsgdHyper[] = {kLr,
                                    {"lambd", -1, kAny, kEvery, nullptr},
                                    {"alpha", -1, kAny, kEvery, nullptr},
                                    {"t0", -1, kAny, kEvery, nullptr},
                                    kDecay,
                                    flag("maximize")};
constexpr StateSpec kAsgdStates[] = {{"ax"}, kStep, {"eta", true, 0, 0}, {"mu", true, 1}};
constexpr Variant kAsgd = {"multi_asgd", kAsgdStates};

// Adafactor: lr, beta2_decay, weight_decay, maximize. Its other numbers and its state: matrix.h.
constexpr HyperSpec kAdafactorHyper[] = {
    {"lr", -1, 0, kEvery, "Learning rate should be >= 0 but is: {}"},
    {"beta2_decay", -1, kAny, 0 + __DBL_DENORM_MIN__, "beta2_decay should be <= 0 but is: {}"},
    {"weight_decay", -1, 0, kEvery, "weight_decay should be >= 0 but is: {}"},
    flag("maximize")};
constexpr Variant kAdafactor = {"multi_adafactor", {}};

// Muon: lr, weight_decay, momentum, nesterov. The same.
constexpr HyperSpec kMuonHyper[] = {
    {"lr", -1, 0, kEvery, "Learning rate should be >= 0 but is: {}"},
    {"weight_decay", -1, 0, kEvery, "weight decay should be >= 0 but is: {}"},
    {"momentum", -1, 0, kEvery, "momentum should be >= 0 but is: {}"},
    flag("nesterov")};
constexpr Variant kMuon = {"multi_muon", {}};

template <const Variant& kOnly>
const Variant& only(const double*) {
  return kOnly;
}

const Algorithm kAlgorithms[] = {
    {"SGD", kSgdHyper, &sgd_variant, &kSgdFirst, &check_sgd},
    {"Adam", kAdamHyper, &adam_variant},
    {"NAdam", kNadamHyper, &only<kNadam>},
    {"RAdam", kRadamHyper, &only<kRadam>},
    {"Adamax", kAdamaxHyper, &only<kAdamax>},
    {"RMSprop", kRmspropHyper, &rmsprop_variant},
    {"Adagrad", kAdagradHyper, &only<kAdagrad>},
    {"Adadelta", kAdadeltaHyper, &only<kAdadelta>},
    {"Rprop", kRpropHyper, &only<kRprop>, nullptr, &check_rprop},
    {"ASGD", kAsgdHyper, &only<kAsgd>},
    {"Adafactor", kAdafactorHyper, &only<kAdafactor>},
    {"Muon", kMuonHyper, &only<kMuon>},
};

static_assert(std::size(kAdamHyper) <= kMaxHyper && kMaxHyper <= Params::kSlots);

}  // namespace

const Algorithm& Algorithm::find(std::string_view name) {
  for (const Algorithm& a : kAlgorithms) {
    if (a.name == name) return a;
  }
  fail(ErrorKind::Value, "there is no optimizer of the name {}", name);
}

int Algorithm::position(std::string_view wanted) const {
  for (size_t i = 0; i < hyper.size(); ++i) {
    const std::string_view key = hyper[i].name;
    if (hyper[i].index < 0 ? wanted == key
                           : wanted == std::string(key) + '.' + std::to_string(hyper[i].index)) {
      return static_cast<int>(i);
    }
  }
  fail(ErrorKind::Value, "{} has no hyperparameter {}", name, wanted);
}

void Algorithm::check_values(const double* h) const {
  for (size_t i = 0; i < hyper.size(); ++i) {
    const HyperSpec& s = hyper[i];
    if (!s.message) continue;
    GS_CHECK_VALUE(s.low <= h[i] && (h[i] < s.below || s.below == kEvery), s.message, h[i]);
  }
  if (check) check(h);
}

// ---- state ----

Tensor make_state(const StateSpec& spec, const TensorImpl& p, const double* h) {
  const GradMode off(false);
  const double value = spec.initial_hyper >= 0 ? h[spec.initial_hyper] : spec.initial;
  Tensor t;
  if (spec.counter) {
    // Beside the parameter: a kernel advances it, so that a captured step counts on.
    t = empty({}, default_dtype() == DType::Float64 ? DType::Float64 : DType::Float32, p.device);
  } else if (p.contiguous || !is_dense(p.sizes, p.strides)) {
    t = empty(p.sizes, p.dtype, p.device);
  } else {
    t = empty_strided(p.sizes, p.strides, p.dtype, p.device);
  }
  if (value == 0) {
    TensorImpl* const only = t.get();
    multi_zero({&only, 1});
  } else {
    fill_(t, value);
  }
  return t;
}

// ---- launches ----

UpdateList::UpdateList(const Variant& variant, std::span<const double> h, LiveNumbers live,
                       size_t expected)
    : variant_(variant), op_(Op::get(variant.op)), live_(live), expected_(expected) {
  for (const double v : h) params_.push(v);
}

UpdateList::Bucket& UpdateList::bucket_of(const TensorImpl& p) {
  const Compute compute = compute_type(p.dtype);
  for (Bucket& b : buckets_) {
    if (b.compute == compute && b.device == p.device) return b;
  }
  GS_CHECK(is_floating(p.dtype), "optimizer can only update floating point tensors, got {}",
           p.dtype);
  buckets_.push_back({p.device, compute, {}});
  buckets_.back().operands.reserve(expected_ * (2 + variant_.states.size()) + kExtras);
  return buckets_.back();
}

void UpdateList::add(TensorImpl* p, TensorImpl* g, TensorImpl* const* states) {
  GS_CHECK(g->sizes == p->sizes,
           "optimizer: a gradient of shape {} does not fit its parameter of shape {}", g->sizes,
           p->sizes);
  GS_CHECK(g->device == p->device, "optimizer: expected the gradient on {}, got {}", p->device,
           g->device);
  std::vector<TensorImpl*>& operands = bucket_of(*p).operands;
  operands.push_back(p);
  operands.push_back(g);
  for (size_t k = 0; k < variant_.states.size(); ++k) {
    TensorImpl* const s = states[k];
    if (variant_.states[k].counter) {
      GS_CHECK(
          s->numel == 1 && (s->device == p->device || s->device.type == DeviceType::CPU),
          "optimizer: the state {} must be a single number on {} or the CPU, got shape {} on {}",
          variant_.states[k].name, p->device, s->sizes, s->device);
    } else {
      GS_CHECK(s->sizes == p->sizes && s->device == p->device,
               "optimizer: the state {} of shape {} does not fit its parameter of shape {}",
               variant_.states[k].name, s->sizes, p->sizes);
    }
    operands.push_back(s);
  }
}

void UpdateList::run() {
  const size_t width = 2 + variant_.states.size();
  const size_t most = (kMaxOperands - kExtras) / width * width;
  for (Bucket& b : buckets_) {
    // Each device reads the numbers in its own memory; a rate on the CPU goes by value everywhere.
    const auto beside = [&](TensorImpl* t, DType dtype) {
      return t ? to(Tensor(Ref(t)), dtype, b.device) : Tensor();
    };
    const bool here = !live_.lr || live_.lr->device.type == DeviceType::CPU;
    const Tensor lr = here ? Tensor() : beside(live_.lr, live_.lr->dtype);
    const Tensor grad_scale = beside(live_.grad_scale, DType::Float32);
    const Tensor found_inf = beside(live_.found_inf, DType::Float32);
    TensorImpl* const extras[] = {here ? live_.lr : lr.get(), grad_scale.get(), found_inf.get()};
    const size_t n = b.operands.size();
    for (size_t from = 0; from < n; from += most) {
      const size_t end = std::min(from + most, n);
      if (end == n) {
        b.operands.insert(b.operands.end(), extras, extras + kExtras);
        launch_list(op_, b.compute, {b.operands.data() + from, end - from + kExtras}, params_);
      } else {
        std::vector<TensorImpl*> part(b.operands.begin() + static_cast<long>(from),
                                      b.operands.begin() + static_cast<long>(end));
        part.insert(part.end(), extras, extras + kExtras);
        launch_list(op_, b.compute, part, params_);
      }
    }
    for (size_t i = 0; i < n; ++i) {
      if (i % width != 1 || grad_scale.defined()) ++b.operands[i]->version();
    }
  }
  buckets_.clear();
}

// ---- optimizers ----

Optimizer::Optimizer(std::string_view algorithm, std::vector<Tensor> params,
                     std::vector<double> defaults)
    : algorithm_(Algorithm::find(algorithm)), defaults_(std::move(defaults)) {
  GS_ASSERT(defaults_.size() == algorithm_.hyper.size());
  algorithm_.check_values(defaults_.data());
  GS_CHECK_VALUE(!params.empty(), "optimizer got an empty parameter list");
  add_param_group(std::move(params));
}

void Optimizer::add_param_group(std::vector<Tensor> params, Values values) {
  for (size_t i = 0; i < params.size(); ++i) {
    GS_CHECK_TYPE(params[i].defined(),
                  "optimizer can only optimize Tensors, but one of the params is undefined");
    GS_CHECK_VALUE(is_leaf(params[i]) || (params[i]->meta && params[i]->meta->retains_grad),
                   "can't optimize a non-leaf Tensor");
    const auto is_it = [&](const Tensor& t) { return t.get() == params[i].get(); };
    bool known = std::any_of(params.begin(), params.begin() + static_cast<long>(i), is_it);
    for (const ParamGroup& g : groups_)
      known |= std::any_of(g.params.begin(), g.params.end(), is_it);
    GS_CHECK_VALUE(!known, "some parameters appear in more than one parameter group");
  }
  ParamGroup group{std::move(params), defaults_, &algorithm_};
  for (const auto& [name, value] : values) group.set(name, value);
  groups_.push_back(std::move(group));
}

void Optimizer::zero_grad(bool set_to_none) {
  std::vector<TensorImpl*> all;
  for (const ParamGroup& g : groups_) {
    for (const Tensor& p : g.params) all.push_back(p.get());
  }
  gradstep::zero_grad(all, set_to_none);
}

void Optimizer::step() {
  for (ParamGroup& g : groups_) update_group(g);
}

void Optimizer::update_group(ParamGroup& group) {
  const double* h = group.hyper.data();
  const Variant& variant = algorithm_.variant(h);
  UpdateList list(variant, group.hyper, {}, group.params.size());
  std::optional<UpdateList> first;
  for (const Tensor& p : group.params) {
    TensorImpl* const g = read_grad(*p.get());
    if (!g) continue;
    TensorImpl* states[kMaxStates];
    bool fresh = false;
    if (!variant.states.empty()) {
      State& kept = state_[p.get()];
      for (size_t k = 0; k < variant.states.size(); ++k) {
        const StateSpec& spec = variant.states[k];
        auto it = std::find_if(kept.begin(), kept.end(),
                               [&](const auto& s) { return std::strcmp(s.first, spec.name) == 0; });
        if (it == kept.end()) {
          kept.emplace_back(spec.name, make_state(spec, *p.get(), h));
          it = kept.end() - 1;
          fresh = true;
        }
        states[k] = it->second.get();
      }
    }
    if (fresh && algorithm_.first) {
      if (!first) first.emplace(*algorithm_.first, group.hyper, LiveNumbers(), group.params.size());
      first->add(p.get(), g, states);
    } else {
      list.add(p.get(), g, states);
    }
  }
  if (first) first->run();
  list.run();
}

Tensor Optimizer::state(const Tensor& param, std::string_view name) const {
  const auto it = state_.find(param.get());
  if (it == state_.end()) return Tensor();
  for (const auto& [key, t] : it->second) {
    if (key == name) return t;
  }
  return Tensor();
}

SGD::SGD(std::vector<Tensor> params, SgdOptions o)
    : Optimizer(
          "SGD", std::move(params),
          {o.lr, o.momentum, o.dampening, o.weight_decay, double(o.nesterov), double(o.maximize)}) {
}
Adam::Adam(std::vector<Tensor> params, AdamOptions o)
    : Optimizer("Adam", std::move(params),
                {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, double(o.amsgrad),
                 double(o.maximize), 0}) {}
AdamW::AdamW(std::vector<Tensor> params, AdamWOptions o)
    : Optimizer("Adam", std::move(params),
                {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, double(o.amsgrad),
                 double(o.maximize), 1}) {}
RMSprop::RMSprop(std::vector<Tensor> params, RmspropOptions o)
    : Optimizer("RMSprop", std::move(params),
                {o.lr, o.alpha, o.eps, o.weight_decay, o.momentum, double(o.centered),
                 double(o.maximize)}) {}
Adagrad::Adagrad(std::vector<Tensor> params, AdagradOptions o)
    : Optimizer("Adagrad", std::move(params),
                {o.lr, o.lr_decay, o.eps, o.weight_decay, o.initial_accumulator_value,
                 double(o.maximize)}) {}

}  // namespace gradstep
