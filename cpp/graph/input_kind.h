// SPDX-License-Identifier: Apache-2.0
// The geometry that an input of a program must have: part of its signature. May include core.
#pragma once
#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace gradstep {

struct InputKind {
  Dims sizes, strides;
  DType dtype = DType::Float32;
  Device device;
  bool requires_grad = false, wants_grad = false, is_leaf = true, inference = false;
  int32_t same = -1;       // the first input that is this very tensor
  int32_t shares = -1;     // .. or that lies in the same storage
  ptrdiff_t apart = 0;     // .. and how far from its first element
  char* pinned = nullptr;  // it lies in memory that the function knows otherwise: here

  InputKind() = default;
  InputKind(const TensorImpl& t, std::span<const Tensor> before)
      : sizes(t.sizes),
        strides(t.strides),
        dtype(t.dtype),
        device(t.device),
        requires_grad(t.requires_grad),
        wants_grad(t.wants_grad()),
        is_leaf(!t.grad_fn),
        inference(t.inference) {
    find(t, before, &same, &shares);
    if (shares >= 0) apart = t.data - before[static_cast<size_t>(shares)]->data;
  }

  bool fits(const TensorImpl& t, std::span<const Tensor> before) const {
    if (!(t.sizes == sizes) || !(t.strides == strides) || t.dtype != dtype ||
        !(t.device == device) || t.requires_grad != requires_grad || t.wants_grad() != wants_grad ||
        (t.grad_fn == nullptr) != is_leaf || t.inference != inference ||
        (pinned && t.data != pinned)) {
      return false;
    }
    int32_t same_now = -1, shares_now = -1;
    find(t, before, &same_now, &shares_now);
    return same_now == same && shares_now == shares &&
           (shares < 0 || t.data - before[static_cast<size_t>(shares)]->data == apart);
  }

 private:
  static void find(const TensorImpl& t, std::span<const Tensor> before, int32_t* same,
                   int32_t* shares) {
    for (size_t k = 0; k < before.size(); ++k) {
      if (before[k]->storage != t.storage) continue;
      if (*shares < 0) *shares = static_cast<int32_t>(k);
      if (*same < 0 && before[k].get() == &t) *same = static_cast<int32_t>(k);
    }
  }
};

}  // namespace gradstep
