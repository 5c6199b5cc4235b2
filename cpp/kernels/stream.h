// SPDX-License-Identifier: Apache-2.0
// Stores past the caches, for outputs that are too large to be found there later.
//   if (is_streamed(bytes)) { compute into a buffer in L1; stream_out(dst, buffer, n); ..
//   stream_end(); }
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "fn/simd.h"

namespace gradstep {
inline namespace GS_ISA {

// Note [Streaming stores]
// An ordinary store reads the line first, and evicts what would have been of use. Measured on
// 260 MB of shared cache (Sapphire Rapids), outputs of 40 MB: forward and backward of one op gain a
// factor of 1.2 to 1.8, a chain of copies is 1.00 with one thread and 0.81 with two. From 80 MB on
// everything gains. Writing over an input loses always.
constexpr int64_t kStreamBytes = int64_t{32} << 20;

inline bool is_streamed(int64_t bytes) { return bytes >= kStreamBytes; }

/// Copies n bytes from L1.
inline void stream_out(void* to, const void* from, int64_t n) {
  char* dst = static_cast<char*>(to);
  const char* src = static_cast<const char*>(from);
#if defined(__SSE4_1__)
  int64_t i = std::min<int64_t>(n, -reinterpret_cast<intptr_t>(dst) & 63);
  std::memcpy(dst, src, static_cast<size_t>(i));
  for (; i + 64 <= n; i += 64) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), _mm512_loadu_si512(src + i));
#else
    for (int k = 0; k < 64; k += 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(dst + i + k),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i + k)));
    }
#endif
  }
  std::memcpy(dst + i, src + i, static_cast<size_t>(n - i));
#else
  std::memcpy(dst, src, static_cast<size_t>(n));
#endif
}

/// After the last stream_out of a chunk: other threads will see what was written.
inline void stream_end() {
#if defined(__SSE4_1__)
  _mm_sfence();
#endif
}

}  // namespace GS_ISA
}  // namespace gradstep
