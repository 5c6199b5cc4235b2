// SPDX-License-Identifier: Apache-2.0
// Index arithmetic of windows over up to three axes, for convolution and pooling: Splitter divides
// any index by a size known before the launch, Planes splits one into plane and coordinates.
#pragma once
#include "cuda/strides.h"

namespace gradstep::cuda {

/// x / d and x % d for any x >= 0; a multiplication where both are below 2^31.
struct Splitter {
  int64_t d = 1;
  Divider fast;
  bool small = true;
  Splitter() = default;
  /// For dividends up to `most`.
  Splitter(int64_t divisor, int64_t most) : d(divisor > 0 ? divisor : 1) {
    small = d < (int64_t(1) << 31) && most < (int64_t(1) << 31);
    if (small) fast = Divider(d);
  }
  GS_DEVICE int64_t divide(int64_t x) const { return small ? fast.divide(uint32_t(x)) : x / d; }
  /// The quotient; x becomes the remainder.
  GS_DEVICE int64_t split(int64_t& x) const {
    const int64_t q = divide(x);
    x -= q * d;
    return q;
  }
};

/// Three sizes; an index is (plane, 0, 1, 2) with the last axis innermost.
struct Planes {
  int64_t size[3] = {1, 1, 1};
  int64_t plane = 1;
  Splitter by_plane, by_rows, by_row;
  Planes() = default;
  /// The last nd of `sizes`; for indices up to `most`.
  Planes(const int64_t* sizes, int nd, int64_t most) {
    for (int d = 0; d < nd; ++d) size[3 - nd + d] = sizes[d];
    plane = size[0] * size[1] * size[2];
    by_plane = Splitter(plane, most);
    by_rows = Splitter(size[1] * size[2], most);
    by_row = Splitter(size[2], most);
  }
  /// The plane; at becomes the coordinates.
  GS_DEVICE int64_t split(int64_t index, int64_t (&at)[3]) const {
    const int64_t p = by_plane.split(index);
    at[0] = by_rows.split(index);
    at[1] = by_row.split(index);
    at[2] = index;
    return p;
  }
  GS_DEVICE int64_t offset(int64_t z, int64_t y, int64_t x) const {
    return (z * size[1] + y) * size[2] + x;
  }
};

}  // namespace gradstep::cuda
