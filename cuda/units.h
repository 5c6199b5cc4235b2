// SPDX-License-Identifier: Apache-2.0
// Elements that are moved unseen, in units of up to 16 bytes:
//   const int unit = widen(layout, element_size(dtype), 0b11, {out, in});
//   by_unit(unit, [&](auto tag) { using U = decltype(tag); ... });
#pragma once
#include <initializer_list>

#include "cuda/strides.h"

namespace gradstep::cuda {

/// Calls f with a type of so many bytes.
template <class F>
void by_unit(int bytes, F f) {
  switch (bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: return f(uint4{});
  }
}

/// Joins neighbours of the innermost axis into the widest unit that they and the addresses allow,
/// up to 16 bytes, and returns its size. The operands in the mask `moved` then count their strides
/// in units; other ones must be constant along that axis. `steps` are further distances in
/// elements, to be divided by unit / element.
template <int N>
int widen(Layout<N>& l, size_t element, unsigned moved, std::initializer_list<const void*> pointers,
          std::initializer_list<int64_t> steps = {}) {
  const auto fits = [&](int64_t k) {
    if (l.ndim == 0 || l.sizes[0] % k != 0) return false;
    for (int j = 0; j < N; ++j) {
      const bool moves = moved >> j & 1;
      if (l.strides[j][0] != int64_t(moves)) return false;
      for (int d = 1; moves && d < l.ndim; ++d) {
        if (l.strides[j][d] % k != 0) return false;
      }
    }
    for (const void* p : pointers) {
      if (reinterpret_cast<uintptr_t>(p) % (size_t(k) * element) != 0) return false;
    }
    for (const int64_t step : steps) {
      if (step % k != 0) return false;
    }
    return true;
  };
  int64_t k = 16 / int64_t(element);
  while (k > 1 && !fits(k)) k /= 2;
  if (k == 1) return int(element);
  l.numel /= k;
  l.sizes[0] /= k;
  for (int j = 0; j < N; ++j) {
    for (int d = 1; (moved >> j & 1) && d < l.ndim; ++d) l.strides[j][d] /= k;
  }
  l.finish();
  return int(k * int64_t(element));
}

}  // namespace gradstep::cuda
