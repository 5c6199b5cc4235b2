// SPDX-License-Identifier: Apache-2.0
// Where element i of an iteration lies in each operand: Layout<N> merges the axes that all N
// operands share, by value in kernel arguments; offsets(i, out) gives N offsets in elements.
// Divisions are multiplications (Divider) below 2^31 elements. Kernels that are compiled at run
// time (cuda/fused_kernel.h) include it, too, without what belongs to the host.
#pragma once
#ifdef GS_RUNTIME_COMPILED
#include "fn/config.h"
#else
#include "core/layout.h"
#include "core/shape.h"
#include "cuda/launch.h"
#endif

namespace gradstep::cuda {

/// x / d and x % d for x < 2^31 by a multiplication (Granlund and Montgomery, 1994).
struct Divider {
  uint32_t d = 1, magic = 0, shift = 0;
  Divider() = default;
  explicit Divider(int64_t divisor) : d(uint32_t(divisor)) {
    while (shift < 32 && (uint64_t(1) << shift) < d) ++shift;
    magic = uint32_t(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - d)) / d + 1);
  }
  GS_FN uint32_t divide(uint32_t x) const {
#if defined(__CUDA_ARCH__) || defined(GS_CUDA_SHIM)
    return (__umulhi(x, magic) + x) >> shift;
#else
    return x / d;
#endif
  }
};

template <int N>
struct Layout {
  int ndim = 0;
  int64_t numel = 1;
  bool small = true;  // fewer than 2^31 elements
  int64_t sizes[kMaxDims];
  Divider dividers[kMaxDims];
  int64_t strides[N][kMaxDims];  // in elements of that operand; 0 where it is broadcast

#ifndef GS_RUNTIME_COMPILED
  /// Operands broadcast to `sizes` (null ones have stride 0 everywhere); axes go from the innermost
  /// of the first operand outwards.
  Layout(const Dims& shape, const TensorImpl* const (&operands)[N]) {
    int order[kMaxDims];
    order_by_stride(operands[0]->strides, order);
    for (int k = shape.size() - 1; k >= 0; --k) {
      const int axis = order[k];
      int64_t step[N];
      for (int j = 0; j < N; ++j) {
        const TensorImpl* t = operands[j];
        const int at = t ? axis - (shape.size() - t->ndim()) : -1;
        step[j] = at < 0 || t->sizes[at] == 1 ? 0 : t->strides[at];
      }
      add(shape[axis], step);
    }
    finish();
  }
#endif
  /// Or axis by axis: add() for each, the innermost first, then finish().
  Layout() = default;
  void add(int64_t size, const int64_t (&step)[N]) {
    numel *= size;
    if (size == 1) return;
    bool joins = ndim > 0;
    for (int j = 0; j < N; ++j) joins = joins && step[j] == strides[j][ndim - 1] * sizes[ndim - 1];
    if (joins) {
      sizes[ndim - 1] *= size;
      return;
    }
    sizes[ndim] = size;
    for (int j = 0; j < N; ++j) strides[j][ndim] = step[j];
    ++ndim;
  }
  void finish() {
    small = numel < (int64_t(1) << 31);
    for (int k = 0; k < ndim; ++k) {
      if (small && numel > 0) dividers[k] = Divider(sizes[k]);
    }
  }

  /// True if operand j's elements follow each other.
  bool is_flat(int j) const { return ndim == 0 || (ndim == 1 && strides[j][0] == 1); }
  bool is_constant(int j) const {
    for (int k = 0; k < ndim; ++k) {
      if (strides[j][k] != 0) return false;
    }
    return true;
  }

  GS_DEVICE void offsets(int64_t index, int64_t (&at)[N]) const {
    GS_UNROLL
    for (int j = 0; j < N; ++j) at[j] = 0;
    if (small) {
      uint32_t i = uint32_t(index);
      for (int k = 0; k < ndim; ++k) {
        const uint32_t q = k + 1 == ndim ? 0 : dividers[k].divide(i);
        const int64_t r = i - q * uint32_t(sizes[k]);
        i = q;
        GS_UNROLL
        for (int j = 0; j < N; ++j) at[j] += r * strides[j][k];
      }
      return;
    }
    for (int k = 0; k < ndim; ++k) {
      const int64_t q = k + 1 == ndim ? 0 : index / sizes[k];
      const int64_t r = index - q * sizes[k];
      index = q;
      GS_UNROLL
      for (int j = 0; j < N; ++j) at[j] += r * strides[j][k];
    }
  }
};

}  // namespace gradstep::cuda
