// SPDX-License-Identifier: Apache-2.0
// What the source of a fused map consists of, which cuda/fused.cu writes and NVRTC compiles:
//   struct Body0 : Body { template <int W> GS_DEVICE static void run(const FusedArgs& a, const
//   int64_t* at) {
//     const auto v0 = load<Float32, W>(a, 1, at);
//     const auto v1 = map<Float32, float, Functor<"mul">>(v0, Number<float>{a.number[0]});
//     store<Float32>(a, 0, at, v1);
//   } };
//   GS_FUSED_KERNEL(fused0, Body0)
// Values are kept as memory holds them, and what a member reads is converted as load_as and
// store_as do it, so each member computes what its own kernel would. The host includes it for
// FusedArgs. See Note [Fused maps on a GPU] in cuda/fused.cu.
#pragma once
#ifdef GS_RUNTIME_COMPILED
#include <cstdint>
#ifdef __CUDACC_RTC__
#define GS_DEVICE __device__ __forceinline__
#define GS_UNROLL _Pragma("unroll")
#else  // a host's compiler, for the emulated GPU
#include "core/half.h"
#define GS_CUDA_SHIM 1
#define GS_DEVICE inline
#define GS_UNROLL
struct Index {
  unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;
static unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
#endif
namespace gradstep {
constexpr int kMaxDims = 8;
}
#include "cuda/strides.h"
#include "fn/grad.h"
#else
#include "cuda/strides.h"
#endif

namespace gradstep::cuda {

constexpr int kFusedThreads = 256;
constexpr int kFusedWidth = 4;      // neighbouring elements that a thread takes at once
constexpr int kFusedOperands = 24;  // FusedMap::kMaxValues
constexpr int kFusedNumbers = 96;

/// By value in the kernel's arguments. Operands: outputs first.
struct FusedArgs {
  union Slot {
    int64_t i;
    double f;
  };
  int64_t n;
  // As in MapArgs (cuda/map.h): `vector`, four neighbours lie side by side in every operand
  // (`inner`) or are one and the same there; `flat`, all lie as the first output does.
  bool vector, flat;
  bool inner[kFusedOperands];
  bool constant[kFusedOperands];
  char* data[kFusedOperands];
  Slot number[kFusedNumbers];
  Layout<kFusedOperands> layout;
};
static_assert(sizeof(FusedArgs) <= 4096);

#ifdef GS_RUNTIME_COMPILED

// ---- storage types ----

#ifdef __CUDACC_RTC__
GS_DEVICE float half_to_float(uint16_t bits) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
}
GS_DEVICE uint16_t float_to_half(float f) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(f));
  return bits;
}
GS_DEVICE uint16_t float_to_bfloat(float f) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(f));
  return bits;
}
GS_DEVICE float bfloat_to_float(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }
#else
inline float half_to_float(uint16_t bits) {
  Half h;
  h.bits = bits;
  return float(h);
}
inline float bfloat_to_float(uint16_t bits) {
  BFloat16 b;
  b.bits = bits;
  return float(b);
}
inline uint16_t float_to_half(float f) { return Half(f).bits; }
inline uint16_t float_to_bfloat(float f) { return BFloat16(f).bits; }
#endif

template <class M>
inline constexpr bool kIsWhole = M(0.5) == M(0);

/// Memory: how an element is held; as<C>(m) reads it, put(v) writes it.
template <class M>
struct Plain {
  using Memory = M;
  template <class C>
  GS_DEVICE static C as(M m) {
    return C(m);
  }
  template <class C>
  GS_DEVICE static M put(C v) {
    if constexpr (kIsWhole<M>)
      return M(int64_t(v));
    else
      return M(v);
  }
};
using Float32 = Plain<float>;
using Float64 = Plain<double>;
using Int64 = Plain<int64_t>;
using Int32 = Plain<int32_t>;
using Int16 = Plain<int16_t>;
using Int8 = Plain<int8_t>;
using UInt8 = Plain<uint8_t>;
struct Bool : Plain<uint8_t> {
  template <class C>
  GS_DEVICE static uint8_t put(C v) {
    return v != C(0);
  }
};
struct Float16 {
  using Memory = uint16_t;
  template <class C>
  GS_DEVICE static C as(uint16_t m) {
    return C(half_to_float(m));
  }
  template <class C>
  GS_DEVICE static uint16_t put(C v) {
    return float_to_half(float(v));
  }
};
struct BFloat16Bits {
  using Memory = uint16_t;
  template <class C>
  GS_DEVICE static C as(uint16_t m) {
    return C(bfloat_to_float(m));
  }
  template <class C>
  GS_DEVICE static uint16_t put(C v) {
    return float_to_bfloat(float(v));
  }
};

// ---- values: W elements as memory holds them ----

template <class T, int W>
struct Lanes {
  typename T::Memory v[W];
};
template <class C>
struct Number {
  FusedArgs::Slot slot;
};

template <class C, class T, int W>
GS_DEVICE C lane(const Lanes<T, W>& x, int e) {
  return T::template as<C>(x.v[e]);
}
template <class C>
GS_DEVICE C lane(const Number<C>& x, int) {
  if constexpr (kSame<C, int64_t>)
    return x.slot.i;
  else
    return C(x.slot.f);
}

template <class T, int W>
struct alignas(W * sizeof(typename T::Memory) < 16 ? W * sizeof(typename T::Memory) : 16) Packed {
  typename T::Memory v[W];
};

template <class T, int W>
GS_DEVICE Lanes<T, W> load(const FusedArgs& a, int j, const int64_t* at) {
  using M = typename T::Memory;
  const M* const p = reinterpret_cast<const M*>(a.data[j]) + (a.constant[j] ? 0 : at[j]);
  Lanes<T, W> r;
  if (W > 1 && a.inner[j] && !a.constant[j]) {
    const Packed<T, W> all = *reinterpret_cast<const Packed<T, W>*>(p);
    GS_UNROLL
    for (int e = 0; e < W; ++e) r.v[e] = all.v[e];
  } else {
    const M same = *p;
    GS_UNROLL
    for (int e = 0; e < W; ++e) r.v[e] = same;
  }
  return r;
}

template <class T, int W>
GS_DEVICE void store(const FusedArgs& a, int j, const int64_t* at, const Lanes<T, W>& x) {
  Packed<T, W> all;
  GS_UNROLL
  for (int e = 0; e < W; ++e) all.v[e] = x.v[e];
  *reinterpret_cast<Packed<T, W>*>(a.data[j] + at[j] * int64_t(sizeof(typename T::Memory))) = all;
}

// ---- members ----

/// What a compiler that fuses multiply-adds must not look through. NVRTC is told not to fuse any.
template <class C>
GS_DEVICE C apart(C x) {
#ifndef __CUDACC_RTC__
  if constexpr (kSame<C, int64_t>)
    asm volatile("" : "+r"(x));
  else
    asm volatile("" : "+x"(x));
#endif
  return x;
}

template <int W, class T, class C, class F, class... X>
GS_DEVICE Lanes<T, W> map(const X&... x) {
  Lanes<T, W> r;
  GS_UNROLL
  for (int e = 0; e < W; ++e) {
    r.v[e] = T::template put<C>(apart<C>(F{}(apart<C>(lane<C>(x, e))...)));
  }
  return r;
}
/// To another type, C being what the copy kernel computes in.
template <int W, class T, class C, class X>
GS_DEVICE Lanes<T, W> copy(const Lanes<X, W>& x) {
  Lanes<T, W> r;
  GS_UNROLL
  for (int e = 0; e < W; ++e) {
    if constexpr (kSame<T, X>)
      r.v[e] = x.v[e];
    else
      r.v[e] = T::template put<C>(lane<C>(x, e));
  }
  return r;
}
template <int W, class T, class C>
GS_DEVICE Lanes<T, W> fill(const Number<C>& x) {
  Lanes<T, W> r;
  GS_UNROLL
  for (int e = 0; e < W; ++e) r.v[e] = T::template put<C>(lane<C>(x, e));
  return r;
}

// ---- functors by the names of their ops ----

template <int N>
struct Text {
  char s[N];
  constexpr Text(const char (&text)[N]) {
    for (int i = 0; i < N; ++i) s[i] = text[i];
  }
};
constexpr bool equal(const char* a, const char* b) {
  for (; *a && *a == *b; ++a) ++b;
  return *a == *b;
}
template <Text kName, class F, class... Rest>
constexpr auto find(Ops<F, Rest...>) {
  if constexpr (equal(F::name, kName.s))
    return F{};
  else
    return find<kName>(Ops<Rest...>{});
}
template <Text kName>
using Functor = decltype(find<kName>(MapOps{}));

// ---- the kernel ----

template <class Body>
GS_DEVICE void fused_elements(const FusedArgs& a) {
  constexpr int W = kFusedWidth;
  const int64_t first = int64_t(blockIdx.x) * blockDim.x + threadIdx.x,
                stride = int64_t(gridDim.x) * blockDim.x;
  const int64_t whole = a.vector ? a.n / W : 0;
  int64_t at[kFusedOperands];
  for (int64_t k = first; k < whole; k += stride) {
    GS_UNROLL
    for (int j = 0; j < kFusedOperands; ++j) at[j] = W * k;
    if (!a.flat) a.layout.offsets(W * k, at);
    Body::template run<W>(a, at);
  }
  for (int64_t i = whole * W + first; i < a.n; i += stride) {
    a.layout.offsets(i, at);
    Body::template run<1>(a, at);
  }
}

#ifdef __CUDACC_RTC__
#define GS_FUSED_KERNEL(name, body)                                           \
  extern "C" __global__ void __launch_bounds__(gradstep::cuda::kFusedThreads) \
      name(const __grid_constant__ gradstep::cuda::FusedArgs a) {             \
    gradstep::cuda::fused_elements<gradstep::cuda::body>(a);                  \
  }
#else
#define GS_FUSED_KERNEL(name, body)                                                      \
  extern "C" void name(const gradstep::cuda::FusedArgs* a, unsigned n, unsigned block) { \
    gridDim.x = n;                                                                       \
    blockDim.x = block;                                                                  \
    for (blockIdx.x = 0; blockIdx.x < n; ++blockIdx.x) {                                 \
      for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)                          \
        gradstep::cuda::fused_elements<gradstep::cuda::body>(*a);                        \
    }                                                                                    \
  }
#endif

#endif  // GS_RUNTIME_COMPILED

}  // namespace gradstep::cuda
