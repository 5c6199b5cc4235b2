// SPDX-License-Identifier: Apache-2.0
#include "core/overlap.h"

#include "core/error.h"
#include "core/layout.h"

namespace gradstep {

Overlap overlap(const TensorImpl& a, const TensorImpl& b) {
  if (&a == &b) return Overlap::Same;
  if (a.storage != b.storage || a.numel == 0 || b.numel == 0) return Overlap::None;
  const auto dense = [](const TensorImpl& t) {
    return t.contiguous || is_dense(t.sizes, t.strides);
  };
  if (!dense(a) || !dense(b)) return Overlap::Unknown;
  const auto end = [](const TensorImpl& t) {
    return t.data + t.numel * static_cast<int64_t>(element_size(t.dtype));
  };
  if (a.data == b.data && end(a) == end(b)) {
    return a.strides == b.strides ? Overlap::Same : Overlap::Some;
  }
  return a.data < end(b) && b.data < end(a) ? Overlap::Some : Overlap::None;
}

void check_writable(const TensorImpl& written) {
  if (written.contiguous || written.numel == 0) return;
  for (int d = 0; d < written.ndim(); ++d) {
    GS_CHECK(
        written.strides[d] != 0 || written.sizes[d] <= 1,
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation.");
  }
}

void fail_overlap() {
  fail(ErrorKind::Runtime,
       "unsupported operation: some elements of the input tensor and the written-to tensor refer "
       "to a single memory location. Please clone() the tensor before performing the operation.");
}

}  // namespace gradstep
