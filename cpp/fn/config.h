// SPDX-License-Identifier: Apache-2.0
// The two macros of fn/: GS_FN marks every function (inlined on the host, host and device under
// nvcc) and GS_ISA names the inline namespace of the instruction set that a file is compiled for,
// so that the linker never merges an AVX-512 copy with a baseline one. Includes nothing of ours.
#pragma once

#ifndef GS_ISA
#define GS_ISA generic
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GS_FN __host__ __device__ __forceinline__
#define GS_CUDA 1
#else
#define GS_FN inline __attribute__((always_inline))
#define GS_CUDA 0
#endif

#ifdef __CUDACC_RTC__
typedef int int32_t;
typedef long long int64_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <cstdint>
#endif

namespace gradstep {
inline namespace GS_ISA {

template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;

template <class T>
concept Builtin = kSame<T, float> || kSame<T, double> || kSame<T, int64_t> || kSame<T, int32_t> ||
                  kSame<T, uint32_t> || kSame<T, uint64_t> || kSame<T, uint8_t> || kSame<T, bool>;

/// ScalarT<T>: float, double or int64_t behind a scalar, a Vec or a Dual.
template <class T>
struct ScalarOf {
  using type = T;
};
template <class T>
using ScalarT = typename ScalarOf<T>::type;

}  // namespace GS_ISA
}  // namespace gradstep
