// SPDX-License-Identifier: Apache-2.0
// Type promotion and the one path of all elementwise ops: dtype rule, broadcasting, output, launch,
// node.
#include "ops/op.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/layout.h"
#include "core/overlap.h"
#include "ops/create.h"
#include "ops/pointwise.h"

namespace gradstep {

// ---- promotion ----

namespace {

/// Three ranks of operands: tensors, 0-d tensors, numbers. A lower rank changes the result only if
/// its category (bool, int, float) is higher.
struct Promotion {
  std::optional<DType> dim, zero, number;

  static void join(std::optional<DType>& have, DType t) { have = have ? promote(*have, t) : t; }

  void add(const Operand& o) {
    if (!o.tensor) {
      switch (o.number.category()) {
        case Category::Bool: return join(number, DType::Bool);
        case Category::Int: return join(number, DType::Int64);
        case Category::Float: return join(number, default_dtype());
      }
    } else if (o.tensor->ndim() == 0) {
      join(zero, o.tensor->dtype());
    } else {
      join(dim, o.tensor->dtype());
    }
  }

  static std::optional<DType> combine(std::optional<DType> higher, std::optional<DType> lower) {
    if (!higher) return lower;
    if (!lower || category(*higher) >= category(*lower)) return higher;
    return *lower;
  }

  DType result() const { return *combine(dim, combine(zero, number)); }
};

}  // namespace

DType result_type(std::span<const Operand> operands) {
  Promotion p;
  for (const Operand& o : operands) p.add(o);
  return p.result();
}

Device common_device(std::initializer_list<const Tensor*> tensors, const char* op) {
  const Tensor* first = nullptr;
  for (const Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (!first) first = t;
    GS_CHECK(
        t->device() == first->device(),
        "Expected all tensors to be on the same device, but found at least two devices, {} and {}! "
        "(in {})",
        first->device(), t->device(), op);
  }
  return first ? first->device() : Device{};
}

void check_same_dtype(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Tensor* first = nullptr;
  for (const Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (!first) first = t;
    GS_CHECK(t->dtype() == first->dtype(), "{}: expected scalar type {} but found {}", op,
             scalar_name(first->dtype()), scalar_name(t->dtype()));
  }
}

// ---- launching ----

void run(const Op& op, const Params& params, std::span<const Tensor* const> outputs,
         std::span<const Tensor* const> inputs, Compute compute) {
  constexpr size_t kInline = 16;
  GS_CHECK(inputs.size() <= UINT16_MAX,
           "{}: more than {} tensors at once are not supported, got {}", op.name, UINT16_MAX,
           inputs.size());
  TensorImpl* fixed[kInline];
  std::vector<TensorImpl*> many;
  TensorImpl** operands = fixed;
  if (outputs.size() + inputs.size() > kInline) {
    many.resize(outputs.size() + inputs.size());
    operands = many.data();
  }
  size_t n = 0;
  const Device device = outputs.empty() ? (*inputs[0])->device : (*outputs[0])->device;
  bool together = true;
  const auto add = [&](const Tensor* t) {
    operands[n++] = t->get();
    together &= !t->defined() || t->device() == device;
  };
  for (const Tensor* t : outputs) add(t);
  for (const Tensor* t : inputs) add(t);
  // A kernel that gets memory of another device would take the process with it.
  if (!together) [[unlikely]] {
    for (const Tensor* t : inputs)
      common_device({outputs.empty() ? inputs[0] : outputs[0], t}, op.name);
    for (const Tensor* t : outputs) common_device({outputs[0], t}, op.name);
  }
  launch({&op, compute, static_cast<uint8_t>(outputs.size()), static_cast<uint16_t>(inputs.size()),
          operands, params});
}

void run(const Op& op, const Params& params, std::initializer_list<const Tensor*> outputs,
         std::initializer_list<const Tensor*> inputs, std::optional<Compute> compute) {
  run(op, params, std::span<const Tensor* const>(outputs.begin(), outputs.size()),
      std::span<const Tensor* const>(inputs.begin(), inputs.size()),
      compute ? *compute : compute_type((*outputs.begin())->dtype()));
}

Op& define(const char* name, BackwardFn backward) {
  Op& op = Op::get(name);
  op.backward = backward;
  return op;
}

// ---- map ----

namespace {

struct Plan {
  DType common;  // the type of the arithmetic before rounding to a compute type
  DType result;
  Dims sizes;
  Device device;
  bool mixed = false;  // numbers in CPU tensors stand beside CUDA tensors: see OneDevice
};

DType common_type(std::span<const Operand> operands) {
  // The usual case without the general rule: tensors of one dtype, numbers of no higher category.
  const Tensor* first = nullptr;
  for (const Operand& o : operands) {
    if (!o.tensor) continue;
    if (!first) {
      if (o.tensor->ndim() == 0) return result_type(operands);
      first = o.tensor;
    } else if (o.tensor->dtype() != first->dtype()) {
      return result_type(operands);
    }
  }
  if (!first) return result_type(operands);
  for (const Operand& o : operands) {
    if (!o.tensor && o.number.category() > category(first->dtype())) return result_type(operands);
  }
  return first->dtype();
}

/// Whose device the others have to be on: a CPU tensor without axes may join CUDA tensors.
Device device_of_many(const Op& op, std::span<const Operand> operands) {
  const auto may_join = [](const Tensor& t) {
    return t.ndim() == 0 && t.device().type == DeviceType::CPU;
  };
  const Tensor* first = nullptr;
  for (const Operand& o : operands) {
    if (o.tensor && (!first || (may_join(*first) && !may_join(*o.tensor)))) first = o.tensor;
  }
  for (const Operand& o : operands) {
    if (o.tensor && !may_join(*o.tensor)) common_device({first, o.tensor}, op.name);
  }
  return first->device();
}

Plan make_plan(const Op& op, std::span<const Operand> operands, std::optional<DType> common = {}) {
  Plan plan;
  const Tensor* first = nullptr;
  for (const Operand& o : operands) {
    if (!o.tensor) continue;
    GS_ASSERT(o.tensor->defined());
    if (!first) {
      first = o.tensor;
      plan.sizes = first->sizes();
      plan.device = first->device();
      continue;
    }
    if (!(o.tensor->sizes() == plan.sizes)) plan.sizes = broadcast(plan.sizes, o.tensor->sizes());
    if (!(o.tensor->device() == plan.device) && !plan.mixed) [[unlikely]] {
      plan.device = device_of_many(op, operands);
      plan.mixed = true;
    }
  }
  // Plain attributes (a slope, a bound) take no part in promotion.
  plan.common = common ? *common : common_type(operands.first(op.tensor_operands));
  plan.result = plan.common;
  switch (op.rule) {
    case TypeRule::Floating:
      if (!is_floating(plan.common)) plan.common = plan.result = default_dtype();
      break;
    case TypeRule::Comparison: plan.result = DType::Bool; break;
    case TypeRule::Bitwise:
      GS_CHECK_KIND(NotImplemented, !is_floating(plan.common),
                    "\"{}_cpu\" not implemented for '{}'", op.name, scalar_name(plan.common));
      break;
    default: break;
  }
  return plan;
}

Scalar number_in(const Tensor& t) {
  return dispatch(t.dtype(), [&](auto tag) -> Scalar {
    using T = decltype(tag);
    const auto v = host_value<T>(t);
    if constexpr (std::is_integral_v<T>) {
      return Scalar(v);
    } else if constexpr (std::is_same_v<T, double>) {
      return Scalar(v);
    } else {
      return Scalar(static_cast<double>(static_cast<float>(v)));
    }
  });
}

/// The operands of a mixed plan on one device: numbers in CPU tensors become plain ones, or are
/// moved where a gradient goes through them. The dtypes are those of the plan, made before.
struct OneDevice {
  std::array<Operand, kMaxMapOperands> operands{Scalar(0), Scalar(0), Scalar(0),
                                                Scalar(0), Scalar(0), Scalar(0)};
  std::array<Tensor, kMaxMapOperands> moved;
  std::span<const Operand> all;

  OneDevice(std::span<const Operand> given, const Plan& plan) : all(operands.data(), given.size()) {
    for (size_t k = 0; k < given.size(); ++k) {
      const Tensor* t = given[k].tensor;
      if (!t || t->device() == plan.device) {
        operands[k] = given[k];
      } else if (needs_grad(*t)) {
        moved[k] = to(*t, t->dtype(), plan.device);
        operands[k] = moved[k];
      } else {
        operands[k] = number_in(*t);
      }
    }
  }
  OneDevice(const OneDevice&) = delete;
  OneDevice& operator=(const OneDevice&) = delete;
};

/// The operands and numbers of a call; numbers are null operands with their value in params.
void launch_map(const Op& op, const Tensor& out, std::span<const Operand> operands,
                Compute compute) {
  TensorImpl* list[1 + kMaxMapOperands];
  list[0] = out.get();
  Call call{&op, compute, 1, static_cast<uint16_t>(operands.size()), list, {}};
  for (size_t k = 0; k < operands.size(); ++k) {
    if (operands[k].tensor) {
      list[k + 1] = operands[k].tensor->get();
    } else {
      list[k + 1] = nullptr;
      call.params.push(operands[k].number, compute);
    }
  }
  launch(call);
}

/// Dense in some order of axes other than the contiguous one (a transposed matrix, channels last).
bool dense_permuted(const Tensor& t) {
  return !t.contiguous() && t.numel() != 0 && is_dense(t.sizes(), t.strides());
}

/// A new output: contiguous, unless the full-size operands share another dense layout.
Tensor make_output(const Plan& plan, std::span<const Operand> operands) {
  const Tensor* like = nullptr;
  for (const Operand& o : operands) {
    if (!o.tensor || o.tensor->contiguous() || !(o.tensor->sizes() == plan.sizes)) continue;
    like = o.tensor;
    break;
  }
  if (!like) return empty(plan.sizes, plan.result, plan.device);
  for (const Operand& o : operands) {
    if (o.tensor && o.tensor->sizes() == plan.sizes && !(o.tensor->strides() == like->strides())) {
      return empty(plan.sizes, plan.result, plan.device);
    }
  }
  return dense_permuted(*like)
             ? empty_strided(plan.sizes, like->strides(), plan.result, plan.device)
             : empty(plan.sizes, plan.result, plan.device);
}

// Note [Derivatives of map ops]
// The gradient of operand k comes from one of three places, first match:
//   pass[k] = +1 or -1        dx_k = +dy or -dy, no kernel (add, sub, neg)
//   k < multilinear           the op itself with operand k replaced by dy (mul; every gradient
//   functor is
//                             linear in dy, so that its own derivative with respect to dy needs no
//                             functor)
//   grad[k]                   a functor grad(dy, operands...), made from the op by cpp/fn/dual.h or
//   written by hand
// Gradient functors are map ops themselves, with gradients one level further down. The kept
// operands are those that a wanted gradient reads; numbers live in params; a shape is kept where
// broadcasting must be undone.

/// Which operands the wanted gradients read.
unsigned operands_to_keep(const Op& op, std::span<const Operand> operands) {
  unsigned keep = 0;
  for (int k = 0; k < op.tensor_operands; ++k) {
    const Tensor* t = operands[static_cast<size_t>(k)].tensor;
    if (t && t->wants_grad()) keep |= op.reads[k];
  }
  return keep;
}

/// A tensor without storage that only tells sizes and dtype.
Tensor geometry_of(const Tensor& t) {
  Tensor g(TensorImpl::create());
  g->sizes = t.sizes();
  g->dtype = t.dtype();
  g->numel = t.numel();
  return g;
}

Ref<Node> make_map_node(const Op& op, const Tensor& out, std::span<const Operand> operands,
                        Compute compute) {
  const auto n = static_cast<size_t>(op.arity);
  const unsigned keep = operands_to_keep(op, operands);
  // A derivative of its own has a place for a note.
  const int more = op.backward != &map_backward && out.device().type == DeviceType::CUDA ? 1 : 0;
  Ref<Node> node(Node::create(op, op.tensor_operands, static_cast<int>(n) + more, 1));
  node->compute = compute;
  for (size_t k = 0; k < n; ++k) {
    const Tensor* t = operands[k].tensor;
    Saved& s = node->saved[k];
    if (!t) {
      node->params.push(operands[k].number, compute);
      s.output = -3;
      continue;
    }
    if (k < op.tensor_operands && is_floating(t->dtype())) node->edges[k] = gradient_edge(*t);
    if (op.saves_output && k == 0) {
      s.output = 0;
      if (!(keep & 1)) continue;
      s.tensor = alias(out).ref();
    } else if (keep >> k & 1) {
      s.tensor = t->ref();
    } else if (!(t->sizes() == out.sizes()) || t->dtype() != out.dtype()) {
      s.output = -2;
      s.tensor = geometry_of(*t).ref();
      continue;
    } else {
      continue;
    }
    s.version = s.tensor->version();
    GS_CHECK(
        !(*t)->inference,
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
        "inference mode "
        "in computation tracked by autograd. To work around this, you can make a clone to get a "
        "normal tensor "
        "and use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.");
  }
  if (modes().packer) [[unlikely]]
    pack_saved(*node);
  return node;
}

}  // namespace

namespace {
Tensor map_planned(const Op& op, std::span<const Operand> operands, const Plan& plan) {
  const Compute compute = compute_type(plan.common);
  Tensor out = make_output(plan, operands);
  launch_map(op, out, operands, compute);
  if (op.backward && grad_enabled()) {
    for (int k = 0; k < op.tensor_operands; ++k) {
      const Tensor* t = operands[static_cast<size_t>(k)].tensor;
      if (t && t->wants_grad() && is_floating(plan.result)) {
        set_history(out, make_map_node(op, out, operands, compute), 0);
        break;
      }
    }
  }
  return out;
}

Tensor map_by(const Op& op, std::span<const Operand> operands, const Plan& plan) {
  GS_ASSERT(operands.size() == op.arity);
  return plan.mixed ? map_planned(op, OneDevice(operands, plan).all, plan)
                    : map_planned(op, operands, plan);
}
}  // namespace

Tensor map(const Op& op, std::span<const Operand> operands) {
  return map_by(op, operands, make_plan(op, operands));
}

Tensor map(const Op& op, std::span<const Operand> operands, DType common) {
  return map_by(op, operands, make_plan(op, operands, common));
}

Tensor map_output_like(const Tensor& x, DType dtype) {
  return dense_permuted(x) ? empty_strided(x.sizes(), x.strides(), dtype, x.device())
                           : empty(x.sizes(), dtype, x.device());
}

void map_into(const Op& op, const Tensor& out, std::span<const Operand> operands) {
  const Plan plan = make_plan(op, operands);
  const Compute compute = compute_type(plan.common);
  if (plan.mixed) return launch_map(op, out, OneDevice(operands, plan).all, compute);
  launch_map(op, out, operands, compute);
}

namespace {
Tensor map_inplace_planned(const Op& op, std::span<const Operand> operands, const Plan& plan) {
  const Tensor& self = *operands[0].tensor;
  GS_CHECK(plan.sizes == self.sizes(), "output with shape {} doesn't match the broadcast shape {}",
           self.sizes(), plan.sizes);
  GS_CHECK(category(plan.result) <= category(self.dtype()) || plan.result == DType::Bool,
           "result type {} can't be cast to the desired output type {}", scalar_name(plan.result),
           scalar_name(self.dtype()));
  bool wanted = op.backward && needs_grad(self);
  for (int k = 1; k < op.tensor_operands && op.backward && !wanted; ++k) {
    const Tensor* t = operands[static_cast<size_t>(k)].tensor;
    wanted = t && needs_grad(*t);
  }
  check_inplace(self);
  for (size_t k = 1; k < operands.size(); ++k) {
    if (operands[k].tensor) check_partial_overlap(*self.get(), *operands[k].tensor->get());
  }
  const Compute compute = compute_type(plan.common);
  if (!wanted) {
    launch_map(op, self, operands, compute);
    bump_version(self);
    return self;
  }
  if (op.saves_output) {
    launch_map(op, self, operands, compute);
    bump_version(self);
    rebase_history(self, make_map_node(op, self, operands, compute));
    return self;
  }
  // A gradient that reads the value which is overwritten keeps a copy of it.
  std::array<Operand, kMaxMapOperands> kept{Scalar(0), Scalar(0), Scalar(0),
                                            Scalar(0), Scalar(0), Scalar(0)};
  std::copy(operands.begin(), operands.end(), kept.begin());
  Tensor original;
  if (operands_to_keep(op, operands) & 1) {
    original = clone(self);
    kept[0] = original;
  }
  const Ref<Node> node =
      make_map_node(op, self, std::span<const Operand>(kept.data(), operands.size()), compute);
  launch_map(op, self, operands, compute);
  bump_version(self);
  rebase_history(self, node);
  return self;
}
}  // namespace

Tensor map_inplace(const Op& op, std::span<const Operand> operands) {
  const Plan plan = make_plan(op, operands);
  if (!plan.mixed) return map_inplace_planned(op, operands, plan);
  for (const Operand& o : operands) {  // self is no number to be moved
    if (o.tensor && o.tensor->device() == plan.device) {
      common_device({operands[0].tensor, o.tensor}, op.name);
    }
  }
  return map_inplace_planned(op, OneDevice(operands, plan).all, plan);
}

namespace {

/// Undoes broadcasting and promotion of an operand whose tensor or geometry was kept.
Tensor to_shape_of(const Saved& saved, Tensor g) {
  if (!saved.tensor || saved.output >= 0) return g;
  g = sum_to_size(g, saved.tensor->sizes);
  return g.dtype() == saved.tensor->dtype ? g : to(g, saved.tensor->dtype);
}

// Note [Any order]
// Gradient functors exist to second order: grad(dy, x) and second(v, dy, x) = v * d grad / dx. The
// third derivative (a residual with u_xx in a physics-informed net) comes from one of
//   the degree    dy * (1 - y^2) has the second derivative -2 * v * dy * y, which is linear in y
//                 like in v and dy, so it is its own gradient with any of them replaced; exp and
//                 square end one order earlier (gradient_degree in fn/traits.h)
//   this table    other common functions: their third derivative made of ops, which have
//                 derivatives themselves. div and pow are made of ops from the first on.
/// The gradient of operand k, x[] being the operands; undefined where this form has none.
using ComposedGradient = Tensor (*)(int k, const Tensor& dy, const Operand* x);

/// A gradient of the second derivative, whose operands are (v, dy, x): third(x) times all of them.
template <auto kThird>
Tensor third(int, const Tensor& w, const Operand* x) {
  return kThird(mul(mul(w, x[0]), x[1]), x + 2);
}

ComposedGradient composed_gradient(const Op& op) {
  static const auto* table = new std::unordered_map<const Op*, ComposedGradient>{
      {&Op::get("sigmoid_grad0_grad0"),  // of y (1 - y) by y, twice
       &third<[](const Tensor& all, const Operand*) { return mul(all, -2); }>},
      {&Op::get("sqrt_grad0_grad0"),  // of 1 / (2 y) by y, twice
       &third<[](const Tensor& all, const Operand* y) { return div(all, mul(mul(*y, *y), *y)); }>},
      {&Op::get("rsqrt_grad0_grad0"),  // of -y^3 / 2 by y, twice
       &third<[](const Tensor& all, const Operand* y) { return mul(mul(all, *y), -3); }>},
      {&Op::get("inverse_square_grad0_grad0"),
       &third<[](const Tensor& all, const Operand* x) { return mul(div(all, pow(*x, 5)), -24); }>},
      {&Op::get("log_grad0_grad0"), &third<[](const Tensor& all, const Operand* x) {
         return div(mul(all, 2), mul(mul(*x, *x), *x));
       }>},
      {&Op::get("sin_grad0_grad0"), &third<[](const Tensor& all, const Operand* x) {
         return neg(all * map(Op::get("cos"), {*x}));
       }>},
      {&Op::get("cos_grad0_grad0"),
       &third<[](const Tensor& all, const Operand* x) { return all * map(Op::get("sin"), {*x}); }>},
      {&Op::get("silu_grad0_grad0"), &third<[](const Tensor& all, const Operand* x) {
         // Of x s, thrice: 3 s2 + x s3, with s1 = s (1 - s), s2 = s1 (1 - 2 s).
         const Tensor s = map(Op::get("sigmoid"), {*x});
         const Tensor s1 = s * sub(1, s), turn = sub(1, mul(s, 2)), s2 = s1 * turn;
         return all * (mul(s2, 3) + mul(*x, s2 * turn - mul(s1 * s1, 2)));
       }>},
      {&Op::get("softplus_grad0_grad0"), &third<[](const Tensor& all, const Operand* x) {
         const Tensor scaled = mul(x[0], x[1]);
         const Tensor s = map(Op::get("sigmoid"), {scaled});
         const double beta = x[1].number.to_double();
         const Tensor inner = mul(all * (s * sub(1, s) * sub(1, mul(s, 2))), beta * beta);
         return where(gt(scaled, x[2]), 0, inner);
       }>},
      {&Op::get("div"),
       [](int k, const Tensor& dy, const Operand* x) {
         return k == 0 ? Tensor() : neg(div(dy * div(x[0], x[1]), x[1]));
       }},
      {&Op::get("pow"),
       [](int k, const Tensor& dy, const Operand* x) {
         // A constant exponent only: n * x^(n-1).
         if (k != 0 || x[1].tensor || !x[0].tensor) return Tensor();
         const double n = x[1].number.to_double();
         return n == 0 ? zeros_like(dy) : dy * mul(pow(x[0], n - 1), n);
       }},
  };
  const auto at = table->find(&op);
  return at == table->end() ? nullptr : at->second;
}

/// n * x^(n-1) with n - 1 a power that has an op of its own: cheaper in ops than by the functor.
bool lowers_to_special_power(const Op& op, int k, const Operand* x) {
  static const Op& pow = Op::get("pow");
  return &op == &pow && k == 0 && x[0].tensor && !x[1].tensor &&
         special_power(x[0], x[1].number.to_double() - 1);
}

}  // namespace

void map_backward(Backward& b) {
  const Op& op = *b.node.op;
  const Tensor& dy = b.grad();
  // [0] is dy; the others are what forward had, as far as they were kept.
  std::array<Operand, 1 + kMaxMapOperands> operands{Scalar(0), Scalar(0), Scalar(0), Scalar(0),
                                                    Scalar(0), Scalar(0), Scalar(0)};
  std::array<Tensor, kMaxMapOperands> kept;
  operands[0] = dy;
  int slot = 0;
  for (int k = 0; k < op.arity; ++k) {
    const auto at = static_cast<size_t>(k);
    const Saved& s = b.node.saved[k];
    if (s.output == -3) {
      operands[at + 1] = Scalar(b.node.params.s[slot++].f);
    } else if (s.output != -2 && (s.tensor || (b.node.released && op.reads[k]))) {
      kept[at] = b.saved(k);
      if (kept[at].defined()) operands[at + 1] = kept[at];
    }
  }
  for (int k = 0; k < op.tensor_operands; ++k) {
    if (!b.needs(k)) continue;
    const auto at = static_cast<size_t>(k);
    Tensor g;
    if (op.pass[k] != 0) {
      g = op.pass[k] > 0 ? dy : neg(dy);
    } else if (k < op.multilinear) {
      std::array<Operand, kMaxMapOperands> with_dy{Scalar(0), Scalar(0), Scalar(0),
                                                   Scalar(0), Scalar(0), Scalar(0)};
      std::copy(operands.begin() + 1, operands.begin() + 1 + op.arity, with_dy.begin());
      with_dy[at] = dy;
      g = map(op, std::span<const Operand>(with_dy.data(), op.arity));
    } else {
      // Without a graph only where there is no functor, of third order, or a cheaper way.
      const bool compose =
          grad_enabled() || !op.grad[k] || lowers_to_special_power(op, k, &operands[1]);
      if (const ComposedGradient composed = compose ? composed_gradient(op) : nullptr) {
        g = composed(k, dy, &operands[1]);
      }
      if (!g.defined()) {
        GS_CHECK_KIND(NotImplemented, op.grad[k], "the derivative for '{}' is not implemented.",
                      op.name);
        g = map(*op.grad[k],
                std::span<const Operand>(operands.data(), static_cast<size_t>(op.arity) + 1));
      }
    }
    b.set(k, to_shape_of(b.node.saved[k], std::move(g)));
  }
}

void make_map_op(Op& op, BackwardFn backward) { op.backward = backward; }

// ---- assign ----

Tensor assign(const Tensor& self, const Tensor& value) {
  check_inplace(self);
  GS_CHECK(expandable_to(value.sizes(), self.sizes()),
           "output with shape {} doesn't match the broadcast shape {}", self.sizes(),
           broadcast(self.sizes(), value.sizes()));
  GS_CHECK(category(value.dtype()) <= category(self.dtype()),
           "result type {} can't be cast to the desired output type {}", scalar_name(value.dtype()),
           scalar_name(self.dtype()));
  return copy_(self, value);
}

Tensor write_out(const Tensor& out, const Tensor& result) {
  GS_CHECK(!needs_grad(out) && !(grad_enabled() && result.wants_grad()),
           "out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires "
           "grad.");
  GS_CHECK(category(result.dtype()) <= category(out.dtype()),
           "result type {} can't be cast to the desired output type {}",
           scalar_name(result.dtype()), scalar_name(out.dtype()));
  if (!(out.sizes() == result.sizes())) {
    const Tensor fresh = empty(result.sizes(), out.dtype(), out.device());
    TensorImpl* t = out.get();
    t->sizes = fresh.sizes();
    t->strides = fresh.strides();
    t->storage = fresh->storage;
    t->data = fresh->data;
    t->update_geometry();
  }
  copy_(out, result);
  return out;
}

}  // namespace gradstep
