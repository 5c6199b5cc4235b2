// SPDX-License-Identifier: Apache-2.0
// Elements in memory and in registers: load_as<float>(p, dtype, i) and store_as(p, dtype, i, v)
// switch the storage type at run time, so that kernels are compiled for their compute type only;
// load_few and store_few move 16 bytes of the compute type at once. Includes core/dtype.h,
// cuda/launch.h.
#pragma once
#ifndef GS_CUDA_SHIM
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "core/dtype.h"
#include "cuda/launch.h"

namespace gradstep::cuda {

// ---- halves ----

#ifdef GS_CUDA_SHIM
GS_DEVICE float half_to_float(uint16_t bits) {
  Half h;
  h.bits = bits;
  return float(h);
}
GS_DEVICE uint16_t float_to_half(float v) { return Half(v).bits; }
GS_DEVICE uint16_t float_to_bfloat(float v) { return BFloat16(v).bits; }
#else
GS_DEVICE float half_to_float(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
GS_DEVICE uint16_t float_to_half(float v) { return __half_as_ushort(__float2half_rn(v)); }
GS_DEVICE uint16_t float_to_bfloat(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
#endif
GS_DEVICE float bfloat_to_float(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }

/// To another type as a C cast does, halves through float: value<float>(x) of a Half, BFloat16,
/// number.
template <class To, class From>
GS_DEVICE To value(From v) {
  if constexpr (std::is_same_v<From, Half>)
    return To(half_to_float(v.bits));
  else if constexpr (std::is_same_v<From, BFloat16>)
    return To(bfloat_to_float(v.bits));
  else if constexpr (std::is_same_v<To, bool>)
    return v != From(0);
  else
    return To(v);
}
/// Writes a value of any number type to an element of any storage type.
template <class To, class From>
GS_DEVICE void put(To* p, From v) {
  if constexpr (std::is_same_v<To, Half>)
    p->bits = float_to_half(float(v));
  else if constexpr (std::is_same_v<To, BFloat16>)
    p->bits = float_to_bfloat(float(v));
  else
    *p = value<To>(v);
}

// ---- one element ----

namespace detail {
/// All types but the compute type's own, which load_as and store_as handle in place: code that
/// would otherwise be copied into every kernel.
template <class C>
GS_NOINLINE C load_any(const char* p, DType t, int64_t i) {
  switch (t) {
    case DType::Float32: return C(reinterpret_cast<const float*>(p)[i]);
    case DType::BFloat16: return C(bfloat_to_float(reinterpret_cast<const uint16_t*>(p)[i]));
    case DType::Float16: return C(half_to_float(reinterpret_cast<const uint16_t*>(p)[i]));
    case DType::Float64: return C(reinterpret_cast<const double*>(p)[i]);
    case DType::Int64: return C(reinterpret_cast<const int64_t*>(p)[i]);
    case DType::Int32: return C(reinterpret_cast<const int32_t*>(p)[i]);
    case DType::Int16: return C(reinterpret_cast<const int16_t*>(p)[i]);
    case DType::Int8: return C(reinterpret_cast<const int8_t*>(p)[i]);
    default: return C(reinterpret_cast<const uint8_t*>(p)[i]);  // UInt8, Bool
  }
}
template <class C>
GS_NOINLINE void store_any(char* p, DType t, int64_t i, C v) {
  switch (t) {
    case DType::Float32: reinterpret_cast<float*>(p)[i] = float(v); break;
    case DType::BFloat16: reinterpret_cast<uint16_t*>(p)[i] = float_to_bfloat(float(v)); break;
    case DType::Float16: reinterpret_cast<uint16_t*>(p)[i] = float_to_half(float(v)); break;
    case DType::Float64: reinterpret_cast<double*>(p)[i] = double(v); break;
    case DType::Int64: reinterpret_cast<int64_t*>(p)[i] = int64_t(v); break;
    case DType::Int32: reinterpret_cast<int32_t*>(p)[i] = int32_t(int64_t(v)); break;
    case DType::Int16: reinterpret_cast<int16_t*>(p)[i] = int16_t(int64_t(v)); break;
    case DType::Int8: reinterpret_cast<int8_t*>(p)[i] = int8_t(int64_t(v)); break;
    case DType::UInt8: reinterpret_cast<uint8_t*>(p)[i] = uint8_t(int64_t(v)); break;
    default: reinterpret_cast<bool*>(p)[i] = v != C(0); break;
  }
}
}  // namespace detail

/// Element i of an array of type t, converted. C is float, double or int64_t.
template <class C>
GS_DEVICE C load_as(const char* p, DType t, int64_t i) {
  if (t == dtype_of<C>) return reinterpret_cast<const C*>(p)[i];
  return detail::load_any<C>(p, t, i);
}
template <class C>
GS_DEVICE void store_as(char* p, DType t, int64_t i, C v) {
  if (t == dtype_of<C>)
    reinterpret_cast<C*>(p)[i] = v;
  else
    detail::store_any<C>(p, t, i, v);
}

// ---- a few neighbouring elements ----

/// How many a thread moves at once: 16 bytes of the compute type.
template <class C>
inline constexpr int kFew = 16 / int(sizeof(C));

template <class C, int W>
struct alignas(W * sizeof(C)) Few {
  C v[W];
};

/// Elements [i, i + W), i a multiple of W, of an array that aligned_few() accepts.
template <int W, class C>
GS_DEVICE Few<C, W> load_few(const char* p, DType t, int64_t i) {
  Few<C, W> r;
  if (t == dtype_of<C>) return *reinterpret_cast<const Few<C, W>*>(p + i * int64_t(sizeof(C)));
  if constexpr (std::is_same_v<C, float> && W == 4) {
    if (t == DType::BFloat16 || t == DType::Float16) {
      const uint2 u = *reinterpret_cast<const uint2*>(p + i * 2);
      const uint16_t h[4] = {uint16_t(u.x), uint16_t(u.x >> 16), uint16_t(u.y),
                             uint16_t(u.y >> 16)};
      GS_UNROLL
      for (int k = 0; k < 4; ++k) {
        r.v[k] = t == DType::BFloat16 ? bfloat_to_float(h[k]) : half_to_float(h[k]);
      }
      return r;
    }
  }
  GS_UNROLL
  for (int k = 0; k < W; ++k) r.v[k] = detail::load_any<C>(p, t, i + k);
  return r;
}

template <int W, class C>
GS_DEVICE void store_few(char* p, DType t, int64_t i, const Few<C, W>& r) {
  if (t == dtype_of<C>) {
    *reinterpret_cast<Few<C, W>*>(p + i * int64_t(sizeof(C))) = r;
    return;
  }
  if constexpr (std::is_same_v<C, float> && W == 4) {
    if (t == DType::BFloat16 || t == DType::Float16) {
      uint32_t h[4];
      GS_UNROLL
      for (int k = 0; k < 4; ++k) {
        h[k] = t == DType::BFloat16 ? float_to_bfloat(r.v[k]) : float_to_half(r.v[k]);
      }
      *reinterpret_cast<uint2*>(p + i * 2) = make_uint2(h[0] | h[1] << 16, h[2] | h[3] << 16);
      return;
    }
  }
  GS_UNROLL
  for (int k = 0; k < W; ++k) detail::store_any<C>(p, t, i + k, r.v[k]);
}

/// True if load_few and store_few may be used on an array.
inline bool aligned_few(const void* p, DType t) {
  return reinterpret_cast<uintptr_t>(p) % (element_size(t) == 2 ? 8 : 16) == 0;
}

// ---- dispatch on the host ----

/// Calls f(float{}), f(double{}) or f(int64_t{}).
template <class F>
void by_compute(Compute c, F f) {
  switch (c) {
    case Compute::F32: return f(float{});
    case Compute::F64: return f(double{});
    case Compute::I64: return f(int64_t{});
  }
}

}  // namespace gradstep::cuda
