// SPDX-License-Identifier: Apache-2.0
// Loops over strided tensors where values only move.
//   Walk<2> walk;  walk.add(size, {stride_dst, stride_src}) for each axis, outermost first, strides
//   in bytes; walk.run(begin, end, {dst, src}, [&](const auto& p, int64_t n) { n elements at
//   walk.step(0), .. apart }); by_size(4, [&](auto unit) { using U = decltype(unit); ... });
#pragma once
#include <algorithm>
#include <array>
#include <cstring>

#include "core/memory.h"
#include "core/tensor.h"
#include "core/threads.h"

namespace gradstep {

/// Calls f with an unsigned integer of the element's size.
template <class F>
void by_size(size_t element, F&& f) {
  switch (element) {
    case 1: f(uint8_t{}); break;
    case 2: f(uint16_t{}); break;
    case 4: f(uint32_t{}); break;
    default: f(uint64_t{}); break;
  }
}

template <int N>
struct Walk {
  static constexpr int kMax = 2 * kMaxDims;
  using Steps = std::array<int64_t, N>;
  using Pointers = std::array<char*, N>;

  int n = 0;
  int64_t numel = 1;
  int64_t size[kMax];
  Steps stride[kMax];

  /// The next inner axis; merged with the one before where the strides allow it.
  void add(int64_t s, const Steps& steps) {
    numel *= s;
    if (s == 1) return;
    if (n > 0) {
      bool merge = true;
      for (int k = 0; k < N; ++k) merge &= stride[n - 1][k] == s * steps[k];
      if (merge) {
        size[n - 1] *= s;
        stride[n - 1] = steps;
        return;
      }
    }
    size[n] = s;
    stride[n++] = steps;
  }
  int64_t step(int k) const { return n == 0 ? 0 : stride[n - 1][k]; }
  int64_t inner() const { return n == 0 ? 1 : size[n - 1]; }

  /// Elements begin..end in row-major order, as runs along the last axis.
  template <class F>
  void run(int64_t begin, int64_t end, Pointers p, F&& f) const {
    if (begin >= end) return;
    if (n <= 1) {
      if (n == 1) {
        for (int k = 0; k < N; ++k) p[k] += begin * stride[0][k];
      }
      f(p, end - begin);
      return;
    }
    int64_t at[kMax];
    int64_t rest = begin;
    for (int d = n - 1; d >= 0; --d) {
      at[d] = rest % size[d];
      rest /= size[d];
      for (int k = 0; k < N; ++k) p[k] += at[d] * stride[d][k];
    }
    const int last = n - 1;
    while (true) {
      const int64_t m = std::min(size[last] - at[last], end - begin);
      f(static_cast<const Pointers&>(p), m);
      begin += m;
      if (begin >= end) return;
      for (int k = 0; k < N; ++k) p[k] -= at[last] * stride[last][k];
      at[last] = 0;
      for (int d = last - 1; d >= 0; --d) {
        for (int k = 0; k < N; ++k) p[k] += stride[d][k];
        if (++at[d] < size[d]) break;
        for (int k = 0; k < N; ++k) p[k] -= size[d] * stride[d][k];
        at[d] = 0;
      }
    }
  }
  template <class F>
  void run(Pointers p, F&& f) const {
    run(0, numel, p, f);
  }
};

template <class U>
inline void copy_run(char* dst, int64_t dst_step, const char* src, int64_t src_step, int64_t n) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(U));
  if (dst_step == kSize && src_step == kSize) {
    std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(U));
  } else if (dst_step == kSize && src_step == 0) {
    std::fill_n(reinterpret_cast<U*>(dst), n, *reinterpret_cast<const U*>(src));
  } else if (dst_step == kSize && src_step == -kSize) {
    U* __restrict d = reinterpret_cast<U*>(dst);
    const U* __restrict s = reinterpret_cast<const U*>(src) - (n - 1);
    for (int64_t j = 0; j < n; ++j) d[j] = s[n - 1 - j];
  } else {
    for (int64_t j = 0; j < n; ++j) {
      *reinterpret_cast<U*>(dst + j * dst_step) = *reinterpret_cast<const U*>(src + j * src_step);
    }
  }
}

/// Copies all elements of a walk over {dst, src}, in parallel.
inline void copy_walk(const Walk<2>& walk, char* dst, char* src, size_t element) {
  if (walk.numel == 0) return;
  by_size(element, [&](auto unit) {
    using U = decltype(unit);
    parallel_for(walk.numel, kGrain, [&](int64_t begin, int64_t end) {
      walk.run(begin, end, {dst, src}, [&](const auto& p, int64_t n) {
        copy_run<U>(p[0], walk.step(0), p[1], walk.step(1), n);
      });
    });
  });
}

inline int64_t byte_stride(const TensorImpl& t, int d) {
  return t.strides[d] * static_cast<int64_t>(element_size(t.dtype));
}

}  // namespace gradstep
