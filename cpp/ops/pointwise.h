// SPDX-License-Identifier: Apache-2.0
// Elementwise ops under their C++ names, for derivatives and composed ops. Any op of the lists in
// cpp/fn can also be called as map(Op::get("name"), {..}).
#pragma once
#include "ops/op.h"

namespace gradstep {

#define GS_UNARY(name) Tensor name(const Tensor& x)
GS_UNARY(neg);
GS_UNARY(abs);
GS_UNARY(exp);
GS_UNARY(log);
GS_UNARY(sqrt);
GS_UNARY(rsqrt);
GS_UNARY(square);
GS_UNARY(reciprocal);
GS_UNARY(sigmoid);
GS_UNARY(tanh);
GS_UNARY(relu);
GS_UNARY(sign);
GS_UNARY(isnan);
GS_UNARY(logical_not);
#undef GS_UNARY

/// a + alpha * b
Tensor add(const Operand& a, const Operand& b, Scalar alpha = 1);
Tensor sub(const Operand& a, const Operand& b, Scalar alpha = 1);
Tensor mul(const Operand& a, const Operand& b);
/// True division: integers give the default floating type.
Tensor div(const Operand& a, const Operand& b);
Tensor pow(const Operand& a, const Operand& b);
Tensor pow_inplace(const Tensor& self, const Operand& exponent);
/// The unary op that is a to the power of the number b, or null.
const Op* special_power(const Operand& a, const Operand& b);
Tensor maximum(const Operand& a, const Operand& b);
Tensor minimum(const Operand& a, const Operand& b);
Tensor eq(const Operand& a, const Operand& b);
Tensor ne(const Operand& a, const Operand& b);
Tensor lt(const Operand& a, const Operand& b);
Tensor le(const Operand& a, const Operand& b);
Tensor gt(const Operand& a, const Operand& b);
Tensor ge(const Operand& a, const Operand& b);
Tensor logical_and(const Operand& a, const Operand& b);
Tensor logical_or(const Operand& a, const Operand& b);
/// condition ? a : b, elementwise; condition is bool.
Tensor where(const Tensor& condition, const Operand& a, const Operand& b);

inline Tensor operator+(const Tensor& a, const Operand& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Operand& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Operand& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Operand& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }

// ---- conversion and copies ----

/// Another dtype or device; the same tensor if nothing changes (unless copy).
Tensor to(const Tensor& x, DType dtype, bool copy = false);
Tensor to(const Tensor& x, DType dtype, Device device, bool copy = false,
          bool non_blocking = false);
/// The type in which a type is computed, as far as halves go; a tensor in it.
inline DType wide_type(DType dtype) { return is_half(dtype) ? DType::Float32 : dtype; }
inline Tensor widened(const Tensor& x) {
  return x.defined() && is_half(x.dtype()) ? to(x, DType::Float32) : x;
}
/// A contiguous copy.
Tensor clone(const Tensor& x);
/// x itself if it is contiguous, else a contiguous copy.
Tensor contiguous(const Tensor& x);
/// Overwrites self with src (broadcast, converted, from any device); differentiable in src.
Tensor copy_(const Tensor& self, const Tensor& src, bool non_blocking = false);
Tensor fill_(const Tensor& self, const Operand& value);
Tensor zero_(const Tensor& self);
Tensor detach(const Tensor& x);

/// self = fn(self): the in-place form of a composed op. The old value is kept apart where the
/// gradient of fn may read it.
template <class F>
Tensor assign_by(const Tensor& self, F&& fn) {
  return assign(self, fn(needs_grad(self) ? clone(self) : self));
}

/// Sums x over the axes along which `sizes` was broadcast to x's shape.
Tensor sum_to_size(const Tensor& x, const Dims& sizes);

}  // namespace gradstep
