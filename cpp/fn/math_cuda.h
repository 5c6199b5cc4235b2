// SPDX-License-Identifier: Apache-2.0
// The names of fn/math.h under CUDA: CUDA's own functions. Includes fn/numbers.h.
#pragma once
#include "fn/numbers.h"

namespace gradstep {
inline namespace GS_ISA {

#define GS_CUDA_UNARY(name, f32, f64)            \
  GS_FN float name(float x) { return ::f32(x); } \
  GS_FN double name(double x) { return ::f64(x); }
GS_CUDA_UNARY(abs, fabsf, fabs)
GS_CUDA_UNARY(sqrt, sqrtf, sqrt)
GS_CUDA_UNARY(floor, floorf, floor)
GS_CUDA_UNARY(ceil, ceilf, ceil)
GS_CUDA_UNARY(trunc, truncf, trunc)
GS_CUDA_UNARY(round, rintf, rint)
GS_CUDA_UNARY(exp, expf, exp)
GS_CUDA_UNARY(exp2, exp2f, exp2)
GS_CUDA_UNARY(expm1, expm1f, expm1)
GS_CUDA_UNARY(log, logf, log)
GS_CUDA_UNARY(log2, log2f, log2)
GS_CUDA_UNARY(log10, log10f, log10)
GS_CUDA_UNARY(log1p, log1pf, log1p)
GS_CUDA_UNARY(sin, sinf, sin)
GS_CUDA_UNARY(cos, cosf, cos)
GS_CUDA_UNARY(tan, tanf, tan)
GS_CUDA_UNARY(asin, asinf, asin)
GS_CUDA_UNARY(acos, acosf, acos)
GS_CUDA_UNARY(atan, atanf, atan)
GS_CUDA_UNARY(sinh, sinhf, sinh)
GS_CUDA_UNARY(cosh, coshf, cosh)
GS_CUDA_UNARY(tanh, tanhf, tanh)
GS_CUDA_UNARY(asinh, asinhf, asinh)
GS_CUDA_UNARY(acosh, acoshf, acosh)
GS_CUDA_UNARY(atanh, atanhf, atanh)
GS_CUDA_UNARY(erf, erff, erf)
GS_CUDA_UNARY(erfc, erfcf, erfc)
GS_CUDA_UNARY(lgamma, lgammaf, lgamma)
#undef GS_CUDA_UNARY
// Device only in CUDA's headers: a host pass sees them and never calls them.
#ifdef __CUDA_ARCH__
GS_FN float erfinv(float x) { return ::erfinvf(x); }
GS_FN double erfinv(double x) { return ::erfinv(x); }
GS_FN float normal_cdf(float x) { return ::normcdff(x); }
GS_FN double normal_cdf(double x) { return ::normcdf(x); }
GS_FN float i0(float x) { return ::cyl_bessel_i0f(x); }
GS_FN double i0(double x) { return ::cyl_bessel_i0(x); }
GS_FN float i1(float x) { return ::cyl_bessel_i1f(x); }
GS_FN double i1(double x) { return ::cyl_bessel_i1(x); }
#else
GS_FN float erfinv(float x) { return x; }
GS_FN double erfinv(double x) { return x; }
GS_FN float normal_cdf(float x) { return x; }
GS_FN double normal_cdf(double x) { return x; }
GS_FN float i0(float x) { return x; }
GS_FN double i0(double x) { return x; }
GS_FN float i1(float x) { return x; }
GS_FN double i1(double x) { return x; }
#endif

#define GS_CUDA_BINARY(name, f32, f64)                       \
  GS_FN float name(float a, float b) { return ::f32(a, b); } \
  GS_FN double name(double a, double b) { return ::f64(a, b); }
GS_CUDA_BINARY(copysign, copysignf, copysign)
GS_CUDA_BINARY(pow, powf, pow)
GS_CUDA_BINARY(atan2, atan2f, atan2)
GS_CUDA_BINARY(hypot, hypotf, hypot)
GS_CUDA_BINARY(fmod, fmodf, fmod)
#undef GS_CUDA_BINARY

template <Real T>
GS_FN bool signbit(T x) {
  return copysign(T(1), x) < T(0);
}
template <Real T>
GS_FN T normal_pdf(T x) {
  return exp(T(-0.5) * x * x) * T(0x1.9884533d43651p-2);
}
template <Real T>
GS_FN T times_normal_cdf(T x) {
  return x * normal_cdf(x);
}

}  // namespace GS_ISA
}  // namespace gradstep
