// SPDX-License-Identifier: Apache-2.0
#include "core/layout.h"

namespace gradstep {

void order_by_stride(const Dims& strides, int* order) {
  // Insertion sort: at most kMaxDims axes, mostly in order already.
  for (int i = 0; i < strides.size(); ++i) {
    int at = i;
    for (; at > 0 && strides[order[at - 1]] < strides[i]; --at) order[at] = order[at - 1];
    order[at] = i;
  }
}

bool is_dense(const Dims& sizes, const Dims& strides) {
  int order[kMaxDims];
  order_by_stride(strides, order);
  int64_t expected = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    const int axis = order[i];
    if (sizes[axis] == 1) continue;
    if (strides[axis] != expected) return false;
    expected *= sizes[axis];
  }
  return true;
}

}  // namespace gradstep
