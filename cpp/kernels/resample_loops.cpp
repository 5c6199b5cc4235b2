// SPDX-License-Identifier: Apache-2.0
// Weighted sums of rows and of gathered elements, for one instruction set. The compiler makes
// vectors of the loops over i; a sum's terms are added in the order of k.
#include "kernels/resample.h"

#include "kernels/instruction_set.h"

namespace gradstep {
inline namespace GS_ISA {

namespace {

template <int K, bool kFirst, class T>
void mix_rows(const T* const* rows, const T* w, T* __restrict out, int64_t n) {
  const T* __restrict r[K];
  for (int k = 0; k < K; ++k) r[k] = rows[k];
  for (int64_t i = 0; i < n; ++i) {
    T sum = kFirst ? w[0] * r[0][i] : out[i] + w[0] * r[0][i];
    for (int k = 1; k < K; ++k) sum += w[k] * r[k][i];
    out[i] = sum;
  }
}

template <class T>
void mix(const T* const* rows, const T* w, int64_t n_rows, T* out, int64_t n) {
  int64_t k = 0;
  switch (n_rows < 4 ? n_rows : 4) {
    case 0:
      for (int64_t i = 0; i < n; ++i) out[i] = 0;
      return;
    case 1: return mix_rows<1, true>(rows, w, out, n);
    case 2: return mix_rows<2, true>(rows, w, out, n);
    case 3: return mix_rows<3, true>(rows, w, out, n);
    default: mix_rows<4, true>(rows, w, out, n); k = 4;
  }
  for (; k + 4 <= n_rows; k += 4) mix_rows<4, false>(rows + k, w + k, out, n);
  for (; k < n_rows; ++k) mix_rows<1, false>(rows + k, w + k, out, n);
}

template <int K, bool kFirst, class T>
void gather_taps(const int32_t* __restrict at, const T* __restrict w, const T* __restrict src,
                 T* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    T sum = kFirst ? w[i] * src[at[i]] : out[i] + w[i] * src[at[i]];
    for (int k = 1; k < K; ++k) sum += w[k * n + i] * src[at[k * n + i]];
    out[i] = sum;
  }
}

template <class T>
void gather(int64_t taps, const int32_t* at, const T* w, const T* src, T* out, int64_t n) {
  int64_t k = taps < 4 ? taps : 4;
  switch (k) {
    case 1: return gather_taps<1, true>(at, w, src, out, n);
    case 2: return gather_taps<2, true>(at, w, src, out, n);
    case 3: return gather_taps<3, true>(at, w, src, out, n);
    default: gather_taps<4, true>(at, w, src, out, n);
  }
  for (; k + 4 <= taps; k += 4) gather_taps<4, false>(at + k * n, w + k * n, src, out, n);
  for (; k < taps; ++k) gather_taps<1, false>(at + k * n, w + k * n, src, out, n);
}

template <class T>
void gather_products(int64_t taps, const int32_t* __restrict at, const T* __restrict src,
                     const T* __restrict factor, T* __restrict sums, int64_t n) {
  for (int64_t k = 0; k < taps; ++k, at += n, sums += n) {
    for (int64_t i = 0; i < n; ++i) sums[i] += factor[i] * src[at[i]];
  }
}

}  // namespace

extern const ResampleTable kResample;
const ResampleTable kResample = {
    {&mix<float>, &gather<float>, &gather_products<float>},
    {&mix<double>, &gather<double>, &gather_products<double>},
};

}  // namespace GS_ISA
}  // namespace gradstep
