// SPDX-License-Identifier: Apache-2.0
// Vectors for gemm_own.cpp in GCC's extensions: loads, stores, sums of products, transposing. For
// files that are compiled once per instruction set.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __AVX__
#include <immintrin.h>
#endif

#include "kernels/instruction_set.h"

#define GS_INLINE inline __attribute__((always_inline))

namespace gradstep {
inline namespace GS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
#if defined(__AVX2__)
constexpr bool kMasks = true;  // a row's last elements can be loaded and stored without a copy
#else
constexpr bool kMasks = false;
#endif
#if defined(__AVX2__)
constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
constexpr int64_t kMask64[8] = {-1, -1, -1, -1};
#endif

template <class T, int Bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};

template <class T>
struct Traits {
  using Int = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  using Vector = typename VectorOf<T, kVectorBytes>::type;
  using Index = typename VectorOf<Int, kVectorBytes>::type;
  static constexpr int width = kVectorBytes / sizeof(T);
  // Vectors of the transposition: two lanes of 16 bytes, whose shuffles run on two ports.
  static constexpr int lane = 16 / sizeof(T);
  static constexpr int block = (kVectorBytes > 32 ? 32 : kVectorBytes) / sizeof(T);
  using Block = typename VectorOf<T, block * sizeof(T)>::type;
  using Lane = typename VectorOf<T, 16>::type;
};
template <class T>
using Vector = typename Traits<T>::Vector;
template <class T>
using Block = typename Traits<T>::Block;
template <class T>
using Lane = typename Traits<T>::Lane;

template <class V, class T>
GS_INLINE V load_as(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
GS_INLINE Vector<T> load(const T* p) {
  return load_as<Vector<T>>(p);
}
template <class T, class V>
GS_INLINE void store(T* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

/// The first n elements, 0 after them; reads nothing else.
template <class V, class T>
GS_INLINE V load_first(const T* p, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if constexpr (sizeof(T) == 4) {
      return (V)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
    } else {
      return (V)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
    }
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) {
    if constexpr (sizeof(T) == 4) {
      return (V)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i*)(kMask32 + 8 - n)));
    } else {
      return (V)_mm256_maskload_pd(p, _mm256_loadu_si256((const __m256i*)(kMask64 + 4 - n)));
    }
  }
  if constexpr (sizeof(V) == 16) {
    if constexpr (sizeof(T) == 4) {
      return (V)_mm_maskload_ps(p, _mm_loadu_si128((const __m128i*)(kMask32 + 8 - n)));
    } else {
      return (V)_mm_maskload_pd(p, _mm_loadu_si128((const __m128i*)(kMask64 + 4 - n)));
    }
  }
#endif
  V v{};
  for (int i = 0; i < static_cast<int>(sizeof(V) / sizeof(T)); ++i) {
    if (i < n) v[i] = p[i];
  }
  return v;
}

/// Writes the first n elements only.
template <class T, class V>
GS_INLINE void store_first(T* p, V v, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if constexpr (sizeof(T) == 4) {
      return _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
    } else {
      return _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
    }
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) {
    if constexpr (sizeof(T) == 4) {
      return _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i*)(kMask32 + 8 - n)),
                                 (__m256)v);
    } else {
      return _mm256_maskstore_pd(p, _mm256_loadu_si256((const __m256i*)(kMask64 + 4 - n)),
                                 (__m256d)v);
    }
  }
  if constexpr (sizeof(V) == 16) {
    if constexpr (sizeof(T) == 4) {
      return _mm_maskstore_ps(p, _mm_loadu_si128((const __m128i*)(kMask32 + 8 - n)), (__m128)v);
    } else {
      return _mm_maskstore_pd(p, _mm_loadu_si128((const __m128i*)(kMask64 + 4 - n)), (__m128d)v);
    }
  }
#endif
  for (int i = 0; i < static_cast<int>(sizeof(V) / sizeof(T)); ++i) {
    if (i < n) p[i] = v[i];
  }
}

template <class T>
GS_INLINE Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

/// sum + x * y, in the register where sum is: the compiler moves sums about if it may, and a tile
/// leaves it no registers for that.
template <class T>
GS_INLINE Vector<T> add_product(Vector<T> sum, Vector<T> x, Vector<T> y) {
#if defined(__AVX512F__) || defined(__FMA__)
  if constexpr (sizeof(T) == 4) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
  } else {
    asm("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
  }
  return sum;
#else
  return sum + x * y;
#endif
}

/// Writes alpha * x + beta * to + bias to the first n elements.
template <class T, class V>
GS_INLINE void write_vector(V x, T alpha, T beta, const T* bias, T* to, int n) {
  constexpr int width = sizeof(V) / sizeof(T);
  if (alpha != T(1)) x *= alpha;
  if (n == width) {
    if (bias) x += load_as<V>(bias);
    if (beta == T(1)) {
      x += load_as<V>(to);
    } else if (beta != T(0)) {
      x += beta * load_as<V>(to);
    }
    store(to, x);
  } else {
    if (bias) x += load_first<V>(bias, n);
    if (beta != T(0)) x += beta * load_first<V>(to, n);
    store_first(to, x, n);
  }
}

/// Adds up lanes of N elements while N vectors are merged: element j of each lane of the first ends
/// as the sum of that lane of vector j.
template <class T, int N, int H = 1>
GS_INLINE void add_lanes(Vector<T> (&v)[N]) {
  constexpr int width = Traits<T>::width;
  if constexpr (H < N) {
    typename Traits<T>::Index low, high;
#pragma GCC unroll 16
    for (int j = 0; j < width; ++j) {
      low[j] = j & H ? width + j - H : j;
      high[j] = j & H ? width + j : j + H;
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; i += 2 * H) {
      const Vector<T> x = v[i], y = v[i + H];
      v[i] = __builtin_shuffle(x, y, low) + __builtin_shuffle(x, y, high);
    }
    add_lanes<T, N, 2 * H>(v);
  }
}

// ---- transposing ----

/// From `block` rows, `lane` elements each, the columns.
template <class T>
GS_INLINE void transpose(const T* const (&rows)[Traits<T>::block], int64_t p,
                         Block<T> (&out)[Traits<T>::lane]) {
  constexpr int lane = Traits<T>::lane;
  Block<T> v[lane];
#pragma GCC unroll 4
  for (int r = 0; r < lane; ++r) {
    if constexpr (sizeof(Block<T>) == 16) {
      v[r] = load_as<Lane<T>>(rows[r] + p);
    } else if constexpr (lane == 4) {
      v[r] = __builtin_shufflevector(load_as<Lane<T>>(rows[r] + p),
                                     load_as<Lane<T>>(rows[4 + r] + p), 0, 1, 2, 3, 4, 5, 6, 7);
    } else {
      v[r] = __builtin_shufflevector(load_as<Lane<T>>(rows[r] + p),
                                     load_as<Lane<T>>(rows[2 + r] + p), 0, 1, 2, 3);
    }
  }
  if constexpr (sizeof(Block<T>) == 16 && lane == 4) {
    const Block<T> x0 = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5),
                   x1 = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7),
                   y0 = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5),
                   y1 = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(x0, y0, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(x0, y0, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(x1, y1, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(x1, y1, 2, 3, 6, 7);
  } else if constexpr (sizeof(Block<T>) == 16) {
    out[0] = __builtin_shufflevector(v[0], v[1], 0, 2);
    out[1] = __builtin_shufflevector(v[0], v[1], 1, 3);
  } else if constexpr (lane == 4) {
    const Block<T> x0 = __builtin_shufflevector(v[0], v[1], 0, 8, 1, 9, 4, 12, 5, 13),
                   x1 = __builtin_shufflevector(v[0], v[1], 2, 10, 3, 11, 6, 14, 7, 15),
                   y0 = __builtin_shufflevector(v[2], v[3], 0, 8, 1, 9, 4, 12, 5, 13),
                   y1 = __builtin_shufflevector(v[2], v[3], 2, 10, 3, 11, 6, 14, 7, 15);
    out[0] = __builtin_shufflevector(x0, y0, 0, 1, 8, 9, 4, 5, 12, 13);
    out[1] = __builtin_shufflevector(x0, y0, 2, 3, 10, 11, 6, 7, 14, 15);
    out[2] = __builtin_shufflevector(x1, y1, 0, 1, 8, 9, 4, 5, 12, 13);
    out[3] = __builtin_shufflevector(x1, y1, 2, 3, 10, 11, 6, 7, 14, 15);
  } else {
    out[0] = __builtin_shufflevector(v[0], v[1], 0, 4, 2, 6);
    out[1] = __builtin_shufflevector(v[0], v[1], 1, 5, 3, 7);
  }
}

/// Calls put(p, j, the elements [j, j + block) of column p, their number) for the k columns of
/// `count` rows. Elements beyond the last row repeat it.
template <class T, class Put>
GS_INLINE void for_columns(int64_t k, int count, const T* x, int64_t ld, Put&& put) {
  constexpr int lane = Traits<T>::lane, block = Traits<T>::block;
  for (int j = 0; j < count; j += block) {
    const int here = count - j < block ? count - j : block;
    const T* rows[block];
#pragma GCC unroll 8
    for (int r = 0; r < block; ++r) rows[r] = x + (j + (r < here ? r : here - 1)) * ld;
    int64_t p = 0;
    for (; p + lane <= k; p += lane) {
      Block<T> column[lane];
      transpose<T>(rows, p, column);
#pragma GCC unroll 4
      for (int q = 0; q < lane; ++q) put(p + q, j, column[q], here);
    }
    for (; p < k; ++p) {
      Block<T> column;
      for (int r = 0; r < block; ++r) column[r] = rows[r][p];
      put(p, j, column, here);
    }
  }
}

}  // namespace
}  // namespace GS_ISA
}  // namespace gradstep
