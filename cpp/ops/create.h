// SPDX-License-Identifier: Apache-2.0
// Tensors from nothing.
#pragma once
#include "ops/op.h"

namespace gradstep {

/// Uninitialised host memory that GPUs copy from and to by themselves, for dense strides. Loads the
/// CUDA part.
Tensor empty_pinned(const Dims& sizes, const Dims& strides, DType dtype);
Tensor full(const Dims& sizes, Scalar value, Options options);
inline Tensor zeros(const Dims& sizes, Options options) { return full(sizes, 0, options); }
inline Tensor ones(const Dims& sizes, Options options) { return full(sizes, 1, options); }
inline Tensor full_like(const Tensor& t, Scalar value) {
  return full(t.sizes(), value, options_of(t));
}
inline Tensor zeros_like(const Tensor& t) { return full_like(t, 0); }
inline Tensor ones_like(const Tensor& t) { return full_like(t, 1); }
/// A 0-d tensor.
inline Tensor scalar_tensor(Scalar value, Options options) { return full({}, value, options); }
/// start, start + step, .. below end.
Tensor arange(Scalar start, Scalar end, Scalar step, Options options);
Tensor linspace(Scalar start, Scalar end, int64_t steps, Options options);
Tensor logspace(Scalar start, Scalar end, int64_t steps, double base, Options options);
Tensor eye(int64_t n, int64_t m, Options options);

}  // namespace gradstep
