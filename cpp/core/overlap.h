// SPDX-License-Identifier: Apache-2.0
// Refuses writes whose result would depend on the order of the elements, with PyTorch's texts. As
// there, two tensors are compared where both are dense (core/layout.h); of others nothing is said.
#pragma once
#include "core/tensor.h"

namespace gradstep {

enum class Overlap : uint8_t { None, Same, Some, Unknown };  // Same: element by element

/// What the memory of two tensors has in common.
GS_API Overlap overlap(const TensorImpl& a, const TensorImpl& b);

/// Raises if an axis of `written` repeats its elements (expand).
GS_API void check_writable(const TensorImpl& written);

[[noreturn]] GS_API void fail_overlap();

/// Raises if an elementwise write into `written` would change elements of `read` that are read
/// later.
inline void check_partial_overlap(const TensorImpl& written, const TensorImpl& read) {
  if (written.storage == read.storage && &written != &read &&
      overlap(written, read) == Overlap::Some) [[unlikely]]
    fail_overlap();
}

/// Raises if `written` has memory of `read`.
inline void check_apart(const TensorImpl& written, const TensorImpl& read) {
  const Overlap o = overlap(written, read);
  if (o == Overlap::Same || o == Overlap::Some) fail_overlap();
}

}  // namespace gradstep
