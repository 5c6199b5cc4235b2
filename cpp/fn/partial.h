// SPDX-License-Identifier: Apache-2.0
// The first n lanes of a vector, n below the vector's length: by masked loads and stores where the
// machine has them, since the way through memory takes half of a tiny tensor's time. Host only.
//   V x = load_some<V>(p, n);  store_some(q, x, n);
#pragma once
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "fn/simd.h"

namespace gradstep {
inline namespace GS_ISA {

/// 0, 1, 2, ..
template <class V>
GS_FN V lane_numbers() {
  typename V::V r{};
  for (int i = 0; i < V::size; ++i) r[i] = ScalarT<V>(i);
  return V(r);
}

/// The first n lanes from memory, 0 < n < lanes; the others 0.
template <class V>
GS_FN V load_some(const ScalarT<V>* p, int n) {
  using T [[maybe_unused]] = ScalarT<V>;
#if defined(__AVX512F__)
  using R = typename V::V;
  const auto mask = (uint64_t(1) << n) - 1u;
  if constexpr (kSame<T, float>)
    return V(R(_mm512_maskz_loadu_ps(__mmask16(mask), p)));
  else if constexpr (kSame<T, double>)
    return V(R(_mm512_maskz_loadu_pd(__mmask8(mask), p)));
  else
    return V::load_partial(p, n);
#elif defined(__AVX2__)
  using R = typename V::V;
  const auto mask = (lane_numbers<V>() < V(T(n))).m;
  if constexpr (kSame<T, float>)
    return V(R(_mm256_maskload_ps(p, __m256i(mask))));
  else if constexpr (kSame<T, double>)
    return V(R(_mm256_maskload_pd(p, __m256i(mask))));
  else
    return V::load_partial(p, n);
#else
  return V::load_partial(p, n);
#endif
}

/// The first n lanes to memory, 0 < n < lanes.
template <class V>
GS_FN void store_some(ScalarT<V>* p, V v, int n) {
  using T [[maybe_unused]] = ScalarT<V>;
#if defined(__AVX512F__)
  const auto mask = (uint64_t(1) << n) - 1u;
  if constexpr (kSame<T, float>)
    _mm512_mask_storeu_ps(p, __mmask16(mask), __m512(v.v));
  else if constexpr (kSame<T, double>)
    _mm512_mask_storeu_pd(p, __mmask8(mask), __m512d(v.v));
  else
    v.store_partial(p, n);
#elif defined(__AVX2__)
  const auto mask = (lane_numbers<V>() < V(T(n))).m;
  if constexpr (kSame<T, float>)
    _mm256_maskstore_ps(p, __m256i(mask), __m256(v.v));
  else if constexpr (kSame<T, double>)
    _mm256_maskstore_pd(p, __m256i(mask), __m256d(v.v));
  else
    v.store_partial(p, n);
#else
  v.store_partial(p, n);
#endif
}

}  // namespace GS_ISA
}  // namespace gradstep
