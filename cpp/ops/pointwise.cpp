// SPDX-License-Identifier: Apache-2.0
// Elementwise ops under their C++ names; copies and conversions.
#include "ops/pointwise.h"

#include "core/cuda_api.h"
#include "core/layout.h"
#include "core/overlap.h"

#include "ops/create.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

#define GS_UNARY(name)                    \
  Tensor name(const Tensor& x) {          \
    static const Op& op = Op::get(#name); \
    return map(op, {x});                  \
  }
GS_UNARY(abs)
GS_UNARY(exp)
GS_UNARY(log)
GS_UNARY(sqrt)
GS_UNARY(rsqrt)
GS_UNARY(square)
GS_UNARY(reciprocal)
GS_UNARY(sigmoid)
GS_UNARY(tanh)
GS_UNARY(relu)
GS_UNARY(sign)
GS_UNARY(isnan)
GS_UNARY(logical_not)
#undef GS_UNARY

Tensor neg(const Tensor& x) {
  static const Op& op = Op::get("neg");
  GS_CHECK(x.dtype() != DType::Bool,
           "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
           "invert a mask, use the `~` "
           "or `logical_not()` operator instead.");
  return map(op, {x});
}

#define GS_BINARY(name)                             \
  Tensor name(const Operand& a, const Operand& b) { \
    static const Op& op = Op::get(#name);           \
    return map(op, {a, b});                         \
  }
GS_BINARY(mul)
GS_BINARY(div)
GS_BINARY(maximum)
GS_BINARY(minimum)
GS_BINARY(eq)
GS_BINARY(ne)
GS_BINARY(lt)
GS_BINARY(le)
GS_BINARY(gt)
GS_BINARY(ge)
GS_BINARY(logical_and)
GS_BINARY(logical_or)
#undef GS_BINARY

// Note [Powers of a number]
// x ** 2, 3, 0.5, -0.5, -1 and -2 of a Python number are ops of their own, as PyTorch computes
// them: one rounding or two, ten times as fast as a power. Integers have 2 and 3 only.
const Op* special_power(const Operand& a, const Operand& b) {
  static const Op* const ops[] = {&Op::get("square"),     &Op::get("cube"),
                                  &Op::get("reciprocal"), &Op::get("inverse_square"),
                                  &Op::get("sqrt"),       &Op::get("rsqrt")};
  if (!a.tensor || b.tensor || a.tensor->dtype() == DType::Bool) return nullptr;
  const double n = b.number.to_double();
  if (!is_floating(a.tensor->dtype())) {
    return b.number.category() != Category::Int ? nullptr
           : n == 2                             ? ops[0]
           : n == 3                             ? ops[1]
                                                : nullptr;
  }
  return n == 2      ? ops[0]
         : n == 3    ? ops[1]
         : n == -1   ? ops[2]
         : n == -2   ? ops[3]
         : n == 0.5  ? ops[4]
         : n == -0.5 ? ops[5]
                     : nullptr;
}

namespace {
void check_power(const Operand& a, const Operand& b) {
  GS_CHECK(b.tensor || !a.tensor || is_floating(a.tensor->dtype()) || b.number.is_float() ||
               b.number.to_int() >= 0,
           "Integers to negative integer powers are not allowed.");
}
}  // namespace

Tensor pow(const Operand& a, const Operand& b) {
  static const Op& op = Op::get("pow");
  check_power(a, b);
  if (const Op* special = special_power(a, b)) return map(*special, {a});
  return map(op, {a, b});
}

Tensor pow_inplace(const Tensor& self, const Operand& exponent) {
  static const Op& op = Op::get("pow");
  check_power(self, exponent);
  if (const Op* special = special_power(self, exponent)) return map_inplace(*special, {self});
  return map_inplace(op, {self, exponent});
}

namespace {
bool is_one(const Scalar& s) { return s.to_double() == 1.0; }

/// a + alpha * b or a - alpha * b, by op.
Tensor scaled(const Op& op, const Operand& a, const Operand& b, const Scalar& alpha) {
  const DType common = result_type({a, b});
  GS_CHECK(alpha.category() != Category::Bool || common == DType::Bool,
           "Boolean alpha only supported for Boolean results.");
  GS_CHECK(is_floating(common) || !alpha.is_float(),
           "For integral input tensors, argument alpha must not be a floating point number.");
  const Operand operands[] = {a, b, alpha};
  return map(op, operands, common);
}
}  // namespace

Tensor add(const Operand& a, const Operand& b, Scalar alpha) {
  static const Op& plain = Op::get("add");
  static const Op& with_alpha = Op::get("add_scaled");
  return is_one(alpha) ? map(plain, {a, b}) : scaled(with_alpha, a, b, alpha);
}

Tensor sub(const Operand& a, const Operand& b, Scalar alpha) {
  static const Op& plain = Op::get("sub");
  static const Op& with_alpha = Op::get("sub_scaled");
  return is_one(alpha) ? map(plain, {a, b}) : scaled(with_alpha, a, b, alpha);
}

// ---- where ----

Tensor where(const Tensor& condition, const Operand& a, const Operand& b) {
  static const Op& op = Op::get("where");
  GS_CHECK(condition.dtype() == DType::Bool || condition.dtype() == DType::UInt8,
           "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
           scalar_name(condition.dtype()));
  const Operand values[] = {a, b};
  const Operand all[] = {condition, a, b};
  return map(op, all, result_type(values));
}

// ---- conversion and copies ----

namespace {

/// transfer(out; in): the bytes of a dense tensor go to another device. params: non_blocking
void transfer(const Call& call) {
  const TensorImpl &to = call.out(0), &from = call.in(0);
  cuda_api().copy_bytes(to.data, to.device, from.data, from.device,
                        static_cast<size_t>(from.numel) * element_size(from.dtype), call.i(0) != 0);
}
const KernelRegistration to_cpu("transfer", DeviceType::CPU, &transfer);
const KernelRegistration to_cuda("transfer", DeviceType::CUDA, &transfer);

void copy_into(const Tensor& dst, const Tensor& src, bool non_blocking = false) {
  static const Op& op = Op::get("copy");
  if (dst.device() == src.device()) {
    run(op, params(), {&dst}, {&src});
    return;
  }
  // Between devices go bytes: what has to be converted or gathered is so on the source's side, what
  // has to be spread on the destination's.
  if (dst.numel() == 0) return;
  const bool alike = src.dtype() == dst.dtype() && src.sizes() == dst.sizes() &&
                     src.strides() == dst.strides() && is_dense(src.sizes(), src.strides());
  Tensor from = src;
  if (!alike && (!src.contiguous() || src.dtype() != dst.dtype())) {
    from = empty(src.sizes(), dst.dtype(), src.device());
    run(op, params(), {&from}, {&src});
  }
  const bool direct = alike || (dst.contiguous() && dst.numel() == src.numel());
  const Tensor into = direct ? dst : empty(src.sizes(), dst.dtype(), dst.device());
  static const Op& move = Op::get("transfer");
  TensorImpl* const operands[] = {into.get(), from.get()};
  launch({&move, compute_type(from.dtype()), 1, 1, operands,
          params(static_cast<int64_t>(non_blocking))});
  if (!direct) run(op, params(), {&dst}, {&into});
}

Params type_and_device(const Tensor& x) {
  return params(static_cast<int64_t>(x.dtype()), static_cast<int64_t>(x.device().type),
                static_cast<int64_t>(x.device().index));
}
Tensor as_type_and_device(const Tensor& dy, const Backward& b) {
  return to(dy, static_cast<DType>(b.i(0)),
            Device{static_cast<DeviceType>(b.i(1)), static_cast<int8_t>(b.i(2))});
}

// d/dsrc = dy converted back, on its device.
void to_backward(Backward& b) { b.set(0, as_type_and_device(b.grad(), b)); }

void clone_backward(Backward& b) { b.set(0, b.grad()); }

// self = src: nothing of the old self is left; src gets dy, summed where it was broadcast.
void copy_backward(Backward& b) {
  if (b.needs(0)) b.set(0, zeros_like(b.grad()));
  if (!b.needs(1)) return;
  const auto n = static_cast<int>(b.i(3));
  Dims sizes;
  for (int d = 0; d < n; ++d) sizes.push_back(b.i(4 + d));
  b.set(1, as_type_and_device(sum_to_size(b.grad(), sizes), b));
}

void fill_backward(Backward& b) {
  if (b.needs(0)) b.set(0, zeros_like(b.grad()));
}

}  // namespace

Tensor to(const Tensor& x, DType dtype, Device device, bool copy, bool non_blocking) {
  static const Op& op = define("to_copy", &to_backward);
  if (device.type == DeviceType::CUDA) device = full_device(device);
  const bool moves = device != x.device();
  if (x.dtype() == dtype && !moves) return copy ? clone(x) : x;
  const bool permuted = !x.contiguous() && is_dense(x.sizes(), x.strides());
  const Dims strides = permuted ? x.strides() : contiguous_strides(x.sizes());
  // What is to arrive later needs pinned memory, as in PyTorch.
  const bool pins = non_blocking && moves && device.type == DeviceType::CPU && x.numel() != 0;
  const Tensor out = pins       ? empty_pinned(x.sizes(), strides, dtype)
                     : permuted ? empty_strided(x.sizes(), strides, dtype, device)
                                : empty(x.sizes(), dtype, device);
  copy_into(out, x, non_blocking);
  if (needs_grad(x) && is_floating(dtype)) record(op, type_and_device(x), {&out}, {&x}, {});
  return out;
}
Tensor to(const Tensor& x, DType dtype, bool copy) { return to(x, dtype, x.device(), copy); }

namespace {
Tensor copy_as(const Tensor& x, const Tensor& out) {
  static const Op& op = define("clone", &clone_backward);
  copy_into(out, x);
  if (needs_grad(x)) record(op, params(), {&out}, {&x}, {});
  return out;
}
}  // namespace

Tensor clone(const Tensor& x) {
  return copy_as(x, x.contiguous() ? empty_like(x) : map_output_like(x, x.dtype()));
}

Tensor contiguous(const Tensor& x) { return x.contiguous() ? x : copy_as(x, empty_like(x)); }

Tensor copy_(const Tensor& self, const Tensor& src, bool non_blocking) {
  static const Op& op = define("copy_inplace", &copy_backward);
  check_inplace(self);
  GS_CHECK(
      expandable_to(src.sizes(), self.sizes()),
      "The size of tensor a ({}) must match the size of tensor b ({}) at non-singleton dimension 0",
      self.sizes(), src.sizes());
  if (self.get() == src.get()) return self;
  check_partial_overlap(*self.get(), *src.get());
  // A source of which that can't be told (another view of the same storage) is copied first.
  const Tensor source =
      self->storage == src->storage && !(self->data == src->data && self.strides() == src.strides())
          ? [&] {
              const GradMode off(false);
              return clone(src);
            }()
          : src;
  copy_into(self, source, non_blocking);
  bump_version(self);
  if (needs_grad(self, src) && is_floating(self.dtype())) {
    Params p = type_and_device(src);
    p.push(static_cast<int64_t>(src.ndim()));
    p.push(src.sizes());
    const Tensor* inputs[] = {&self, &src};
    rebase_history(self, make_node(op, p, inputs, {}, 1));
  }
  return self;
}

Tensor fill_(const Tensor& self, const Operand& value) {
  static const Op& op = define("fill", &fill_backward);
  if (value.tensor) {
    GS_CHECK(value.tensor->ndim() == 0,
             "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
             value.tensor->ndim());
    return copy_(self, *value.tensor);
  }
  check_inplace(self, true);
  const Compute compute = compute_type(self.dtype());
  Params p;
  p.push(value.number, compute);
  run(op, p, {&self}, {}, compute);
  bump_version(self);
  if (needs_grad(self)) {
    const Tensor* inputs[] = {&self};
    rebase_history(self, make_node(op, params(), inputs, {}, 1));
  }
  return self;
}

Tensor zero_(const Tensor& self) { return fill_(self, 0); }

Tensor detach(const Tensor& x) {
  Tensor out = alias(x);
  out->inference = x->inference;
  return out;
}

Tensor sum_to_size(const Tensor& x, const Dims& sizes) {
  if (x.sizes() == sizes) return x;
  const int extra = x.ndim() - sizes.size();
  Dims axes;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < extra || (sizes[d - extra] == 1 && x.sizes()[d] != 1)) axes.push_back(d);
  }
  const Tensor reduced = axes.empty() ? x : sum(x, axes, true);
  return reduced.sizes() == sizes ? reduced : reshape(reduced, sizes);
}

// ---- what the engine needs ----

namespace {
const bool kEngineOps = [] {
  engine_ops() = {
      .add = [](const Tensor& a, const Tensor& b) { return add(a, b); },
      .add_inplace =
          [](const Tensor& a, const Tensor& b) {
            static const Op& op = Op::get("add");
            map_into(op, a, std::array<Operand, 2>{a, b});
            bump_version(a);
          },
      .clone = [](const Tensor& t) { return copy_as(t, empty_like(t)); },
      .copy_inplace = [](const Tensor& dst, const Tensor& src) { copy_(dst, src); },
      .zero_inplace = [](const Tensor& t) { zero_(t); },
      .ones_like = [](const Tensor& t) { return ones_like(t); },
      .as_view =
          [](const Tensor& base, const Dims& sizes, const Dims& strides, int64_t offset) {
            return as_strided(base, sizes, strides, base.offset() + offset);
          },
  };
  return true;
}();
}  // namespace

}  // namespace gradstep
