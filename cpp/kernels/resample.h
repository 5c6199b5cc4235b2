// SPDX-License-Identifier: Apache-2.0
// The inner loops of resampling, compiled once per instruction set (resample_loops.cpp).
#pragma once
#include <cstdint>

namespace gradstep {

template <class T>
struct ResampleLoops {
  /// out[i] = sum over k of weights[k] * rows[k][i]
  void (*mix)(const T* const* rows, const T* weights, int64_t n_rows, T* out, int64_t n);
  /// out[i] = sum over k < taps of weights[k * n + i] * src[at[k * n + i]]
  void (*gather)(int64_t taps, const int32_t* at, const T* weights, const T* src, T* out,
                 int64_t n);
  /// sums[k * n + i] += factor[i] * src[at[k * n + i]]
  void (*gather_products)(int64_t taps, const int32_t* at, const T* src, const T* factor, T* sums,
                          int64_t n);
};

struct ResampleTable {
  ResampleLoops<float> f32;
  ResampleLoops<double> f64;
};

}  // namespace gradstep
