// SPDX-License-Identifier: Apache-2.0
#include "core/shape.h"

namespace gradstep {

int64_t count_elements(const Dims& sizes) {
  int64_t n = 1;
  bool overflow = false;
  bool zero = false;
  for (const int64_t s : sizes) {
    GS_CHECK(s >= 0, "Trying to create tensor with negative dimension {}: {}", s, sizes);
    zero |= s == 0;
    overflow |= !zero && __builtin_mul_overflow(n, s, &n);
  }
  if (zero) return 0;
  GS_CHECK(!overflow && n < (int64_t{1} << 60), "Storage size calculation overflowed with sizes={}",
           sizes);
  return n;
}

Dims contiguous_strides(const Dims& sizes) {
  Dims strides = sizes;
  int64_t step = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(sizes[i], 1);
  }
  return strides;
}

bool is_contiguous(const Dims& sizes, const Dims& strides) {
  int64_t expected = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    if (sizes[i] == 0) return true;
    if (sizes[i] == 1) continue;
    if (strides[i] != expected) {
      return std::find(sizes.begin(), sizes.begin() + i, 0) != sizes.begin() + i;
    }
    expected *= sizes[i];
  }
  return true;
}

Dims broadcast(const Dims& a, const Dims& b) {
  const Dims& longer = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  const int offset = longer.size() - shorter.size();
  Dims out = longer;
  for (int i = longer.size() - 1; i >= offset; --i) {  // the last mismatch is named, as in PyTorch
    const int64_t x = longer[i];
    const int64_t y = shorter[i - offset];
    if (x == y || y == 1) continue;
    GS_CHECK(x == 1,
             "The size of tensor a ({}) must match the size of tensor b ({}) at non-singleton "
             "dimension {}",
             a[i - longer.size() + a.size()], b[i - longer.size() + b.size()], i);
    out[i] = y;
  }
  return out;
}

bool expandable_to(const Dims& from, const Dims& to) {
  const int offset = to.size() - from.size();
  if (offset < 0) return false;
  for (int i = 0; i < from.size(); ++i) {
    if (from[i] != 1 && from[i] != to[i + offset]) return false;
  }
  return true;
}

int64_t wrap_dim(int64_t dim, int64_t ndim) {
  const int64_t n = std::max<int64_t>(ndim, 1);
  GS_CHECK_INDEX(dim >= -n && dim < n,
                 "Dimension out of range (expected to be in range of [{}, {}], but got {})", -n,
                 n - 1, dim);
  return dim < 0 ? dim + n : dim;
}

uint32_t dim_mask(const Dims& dims, int64_t ndim) {
  if (dims.empty()) return (1u << ndim) - 1u;
  uint32_t mask = 0;
  for (const int64_t d : dims) {
    const uint32_t bit = 1u << wrap_dim(d, ndim);
    GS_CHECK(!(mask & bit), "dim {} appears multiple times in the list of dims", wrap_dim(d, ndim));
    mask |= bit;
  }
  return ndim == 0 ? 0u : mask;
}

}  // namespace gradstep
