// SPDX-License-Identifier: Apache-2.0
// Vec<T, N>: N values in registers, on GCC's vector extensions. The same expressions work on a Vec
// and on a scalar, so a functor is written once:
//   using V = Native<float>;  V x = V::load(p);  select(x > V(0), x, V(0)).store(q);
// What the extensions do not reach (masks of AVX-512, min and max, rounding to an integer,
// exponents) goes through the compiler's intrinsics where the machine has it. Host only (CUDA uses
// the scalar functions of math.h). Includes fn/config.h.
#pragma once
#if defined(__SSE4_1__)
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 takes the undefined registers in its own header for a mistake (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

#include <cstring>

#include "fn/config.h"

namespace gradstep {
inline namespace GS_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <int Bytes>
struct IntOfSize;
template <>
struct IntOfSize<1> {
  using type = int8_t;
  using unsigned_type = uint8_t;
};
template <>
struct IntOfSize<2> {
  using type = int16_t;
  using unsigned_type = uint16_t;
};
template <>
struct IntOfSize<4> {
  using type = int32_t;
  using unsigned_type = uint32_t;
};
template <>
struct IntOfSize<8> {
  using type = int64_t;
  using unsigned_type = uint64_t;
};
template <class T>
using IntFor = typename IntOfSize<sizeof(T)>::type;
template <class T>
using UIntFor = typename IntOfSize<sizeof(T)>::unsigned_type;

// ---- masks ----

/// With the codes of AVX-512: a quiet NaN is unequal to everything and in no order.
enum CompareOp : int { kEqual = 0, kNotEqual = 4, kLess = 17, kLessEqual = 18 };

/// The result of comparing two Vecs: all bits of a lane set or clear.
template <class I, int N>
struct Mask {
  typedef I V __attribute__((vector_size(sizeof(I) * N)));
  V m;

  GS_FN friend Mask operator&(Mask a, Mask b) { return {a.m & b.m}; }
  GS_FN friend Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
  GS_FN friend Mask operator^(Mask a, Mask b) { return {a.m ^ b.m}; }
  GS_FN friend Mask operator!(Mask a) { return {~a.m}; }

  GS_FN friend bool any(Mask a) {
    constexpr int kWords = int(sizeof(V) / 8);
    int64_t words[kWords], bits = 0;
    __builtin_memcpy(words, &a.m, sizeof(V));
    for (int i = 0; i < kWords; ++i) bits |= words[i];
    return bits != 0;
  }
  GS_FN friend bool all(Mask a) { return !any(!a); }
};

#if defined(__AVX512F__)
/// With 64-byte registers a comparison leaves one bit for each lane in a register of its own; as a
/// vector it would be converted there and back for every select.
template <class I, int N>
  requires(sizeof(I) * N == 64 && sizeof(I) >= 4)
struct Mask<I, N> {
  using V = ScalarT<decltype([] {
    if constexpr (N == 16)
      return __mmask16{};
    else
      return __mmask8{};
  }())>;
  V m;

  GS_FN friend Mask operator&(Mask a, Mask b) { return {V(a.m & b.m)}; }
  GS_FN friend Mask operator|(Mask a, Mask b) { return {V(a.m | b.m)}; }
  GS_FN friend Mask operator^(Mask a, Mask b) { return {V(a.m ^ b.m)}; }
  GS_FN friend Mask operator!(Mask a) { return {V(~a.m)}; }
  GS_FN friend bool any(Mask a) { return a.m != 0; }
  GS_FN friend bool all(Mask a) { return V(~a.m) == 0; }
};

template <int kOp, class R>
GS_FN __mmask16 compare_lanes(R a, R b, float) {
  return _mm512_cmp_ps_mask(__m512(a), __m512(b), kOp);
}
template <int kOp, class R>
GS_FN __mmask8 compare_lanes(R a, R b, double) {
  return _mm512_cmp_pd_mask(__m512d(a), __m512d(b), kOp);
}
template <int kOp, class R>
GS_FN __mmask16 compare_lanes(R a, R b, int32_t) {
  return _mm512_cmp_epi32_mask(__m512i(a), __m512i(b), kOp & 7);
}
template <int kOp, class R>
GS_FN __mmask16 compare_lanes(R a, R b, uint32_t) {
  return _mm512_cmp_epu32_mask(__m512i(a), __m512i(b), kOp & 7);
}
template <int kOp, class R>
GS_FN __mmask8 compare_lanes(R a, R b, int64_t) {
  return _mm512_cmp_epi64_mask(__m512i(a), __m512i(b), kOp & 7);
}
template <int kOp, class R>
GS_FN __mmask8 compare_lanes(R a, R b, uint64_t) {
  return _mm512_cmp_epu64_mask(__m512i(a), __m512i(b), kOp & 7);
}
/// a where the bit is set, b elsewhere.
template <class R>
GS_FN R blend_lanes(__mmask16 m, R a, R b) {
  return R(_mm512_mask_blend_ps(m, __m512(b), __m512(a)));
}
template <class R>
GS_FN R blend_lanes(__mmask8 m, R a, R b) {
  return R(_mm512_mask_blend_pd(m, __m512d(b), __m512d(a)));
}
#endif

GS_FN bool any(bool m) { return m; }
GS_FN bool all(bool m) { return m; }

// ---- vectors ----

template <class T, int N>
struct Register {
  typedef T type __attribute__((vector_size(sizeof(T) * N)));
};

template <class T, int N>
struct Vec {
  using V = typename Register<T, N>::type;
  using value_type = T;
  using M = Mask<IntFor<T>, N>;
  static constexpr int size = N;
  V v;

  Vec() = default;
  GS_FN Vec(V x) : v(x) {}
  template <Builtin S>
  GS_FN explicit Vec(S s) : v(V{} + T(s)) {}
  GS_FN Vec(T s) : v(s - V{}) {}  // keeps -0

  GS_FN static Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof(V));
    return r;
  }
  GS_FN void store(T* p) const { __builtin_memcpy(p, &v, sizeof(V)); }

  /// The first n lanes from memory, the others 0.
  GS_FN static Vec load_partial(const T* p, int n) {
    T lanes[N] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  GS_FN void store_partial(T* p, int n) const {
    T lanes[N];
    store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
  GS_FN T operator[](int i) const { return v[i]; }

  GS_FN friend Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  GS_FN friend Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  GS_FN friend Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  GS_FN friend Vec operator/(Vec a, Vec b) {
    if constexpr (kSame<T, float> || kSame<T, double>) {
      return a.v / b.v;
    } else {  // x / 0 is 0 and x / -1 wraps: a lane never traps
      V r;
      for (int i = 0; i < N; ++i) {
        T d = b.v[i];
        r[i] = d == 0 ? T(0) : d == -1 ? T(-UIntFor<T>(a.v[i])) : a.v[i] / d;
      }
      return r;
    }
  }
  GS_FN friend Vec operator-(Vec a) { return -a.v; }
  GS_FN Vec& operator+=(Vec b) { return *this = *this + b; }
  GS_FN Vec& operator-=(Vec b) { return *this = *this - b; }
  GS_FN Vec& operator*=(Vec b) { return *this = *this * b; }

  GS_FN friend M operator<(Vec a, Vec b) { return compare<kLess>(a.v, b.v); }
  GS_FN friend M operator<=(Vec a, Vec b) { return compare<kLessEqual>(a.v, b.v); }
  GS_FN friend M operator>(Vec a, Vec b) { return compare<kLess>(b.v, a.v); }
  GS_FN friend M operator>=(Vec a, Vec b) { return compare<kLessEqual>(b.v, a.v); }
  GS_FN friend M operator==(Vec a, Vec b) { return compare<kEqual>(a.v, b.v); }
  GS_FN friend M operator!=(Vec a, Vec b) { return compare<kNotEqual>(a.v, b.v); }

  // Integers only.
  GS_FN friend Vec operator&(Vec a, Vec b) { return a.v & b.v; }
  GS_FN friend Vec operator|(Vec a, Vec b) { return a.v | b.v; }
  GS_FN friend Vec operator^(Vec a, Vec b) { return a.v ^ b.v; }
  GS_FN friend Vec operator~(Vec a) { return ~a.v; }
  GS_FN friend Vec operator<<(Vec a, int n) { return a.v << n; }
  GS_FN friend Vec operator>>(Vec a, int n) { return a.v >> n; }
  GS_FN friend Vec operator<<(Vec a, Vec n) { return a.v << n.v; }
  GS_FN friend Vec operator>>(Vec a, Vec n) { return a.v >> n.v; }

  template <CompareOp kOp>
  GS_FN static M compare(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 64 && sizeof(T) >= 4)
      return {compare_lanes<kOp>(a, b, T())};
    else
#endif
        if constexpr (kOp == kLess)
      return {typename M::V(a < b)};
    else if constexpr (kOp == kLessEqual)
      return {typename M::V(a <= b)};
    else if constexpr (kOp == kEqual)
      return {typename M::V(a == b)};
    else
      return {typename M::V(a != b)};
  }
  GS_FN friend Vec select(M m, Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 64 && sizeof(T) >= 4)
      return blend_lanes(m.m, a.v, b.v);
    else
#endif
      return m.m ? a.v : b.v;
  }
};

/// As many T as one register holds.
template <class T>
using Native = Vec<T, kVectorBytes / int(sizeof(T))>;

template <class T, int N>
struct ScalarOf<Vec<T, N>> {
  using type = T;
};

template <class T>
inline constexpr bool kIsVec = false;
template <class T, int N>
inline constexpr bool kIsVec<Vec<T, N>> = true;

/// Exchanges rows and columns of a square, by exchanging ever larger blocks.
template <class T, int N>
GS_FN void transpose(Vec<T, N> (&v)[N]) {
  typename Register<IntFor<T>, N>::type low{}, high{};
#pragma GCC unroll 4
  for (int h = 1; h < N; h *= 2) {
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      low[j] = j & h ? N + j - h : j;
      high[j] = j & h ? N + j : j + h;
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) {
      if (i & h) continue;
      const Vec<T, N> x = v[i], y = v[i + h];
      v[i].v = __builtin_shuffle(x.v, y.v, low);
      v[i + h].v = __builtin_shuffle(x.v, y.v, high);
    }
  }
}

/// The integers (signed, unsigned) that have T's bits.
template <class T>
struct BitsOf {
  using type = IntFor<T>;
  using unsigned_type = UIntFor<T>;
};
template <class T, int N>
struct BitsOf<Vec<T, N>> {
  using type = Vec<IntFor<T>, N>;
  using unsigned_type = Vec<UIntFor<T>, N>;
};
template <class T>
using Bits = typename BitsOf<T>::type;
template <class T>
using UBits = typename BitsOf<T>::unsigned_type;

template <class To, class From>
GS_FN To bit_cast(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To r;
  __builtin_memcpy(&r, &x, sizeof(To));
  return r;
}
template <class T>
GS_FN Bits<T> bits(T x) {
  return bit_cast<Bits<T>>(x);
}

/// Vec<float, N> <-> Vec<int32_t, N> and the like (truncates); lanes must fit.
template <class To, class T, int N>
GS_FN Vec<To, N> convert(Vec<T, N> a) {
  return Vec<To, N>(__builtin_convertvector(a.v, typename Vec<To, N>::V));
}
template <class To, Builtin T>
GS_FN To convert(T a) {
  return To(a);
}

// ---- one instruction ----

#if defined(__SSE4_1__)
#if defined(__AVX512F__)
#define GS_INTRINSIC(name, type) _mm512_##name##_##type
#elif defined(__AVX2__)
#define GS_INTRINSIC(name, type) _mm256_##name##_##type
#else
#define GS_INTRINSIC(name, type) _mm_##name##_##type
#endif
/// Whole registers only. The second operand wins if one is NaN: as select(a < b, a, b).
GS_FN Native<float> min(Native<float> a, Native<float> b) {
  return Native<float>::V(GS_INTRINSIC(min, ps)(a.v, b.v));
}
GS_FN Native<double> min(Native<double> a, Native<double> b) {
  return Native<double>::V(GS_INTRINSIC(min, pd)(a.v, b.v));
}
GS_FN Native<float> max(Native<float> a, Native<float> b) {
  return Native<float>::V(GS_INTRINSIC(max, ps)(a.v, b.v));
}
GS_FN Native<double> max(Native<double> a, Native<double> b) {
  return Native<double>::V(GS_INTRINSIC(max, pd)(a.v, b.v));
}
#if defined(__FMA__)
/// a b - c, rounded once.
GS_FN Native<float> mul_sub(Native<float> a, Native<float> b, Native<float> c) {
  return Native<float>::V(GS_INTRINSIC(fmsub, ps)(a.v, b.v, c.v));
}
GS_FN Native<double> mul_sub(Native<double> a, Native<double> b, Native<double> c) {
  return Native<double>::V(GS_INTRINSIC(fmsub, pd)(a.v, b.v, c.v));
}
#endif
#if defined(__AVX512F__)
#undef GS_INTRINSIC
#define GS_INTRINSIC(name, type) _mm512_##name##scale_##type
#endif
/// To an integer, by one of the modes _MM_FROUND_TO_..
template <int kMode>
GS_FN Native<float> round_to(Native<float> x) {
  return Native<float>::V(GS_INTRINSIC(round, ps)(x.v, kMode | _MM_FROUND_NO_EXC));
}
template <int kMode>
GS_FN Native<double> round_to(Native<double> x) {
  return Native<double>::V(GS_INTRINSIC(round, pd)(x.v, kMode | _MM_FROUND_NO_EXC));
}
#undef GS_INTRINSIC
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__)
/// x 2^n for an integer n of any size; the result may be denormal, 0 or infinite.
GS_FN Native<float> scale_by(Native<float> x, Native<float> n) {
  return Native<float>::V(_mm512_scalef_ps(x.v, n.v));
}
GS_FN Native<double> scale_by(Native<double> x, Native<double> n) {
  return Native<double>::V(_mm512_scalef_pd(x.v, n.v));
}
/// x moved into [-limit, limit]; NaN becomes limit.
GS_FN Native<float> clamp_size(Native<float> x, Native<float> limit) {
  return Native<float>::V(_mm512_range_ps(x.v, limit.v, 0b0010));
}
GS_FN Native<double> clamp_size(Native<double> x, Native<double> limit) {
  return Native<double>::V(_mm512_range_pd(x.v, limit.v, 0b0010));
}
/// x = mantissa 2^exponent with the mantissa in [1, 2). 0: exponent -inf; inf: exponent inf,
/// mantissa 1; below 0: NaN.
GS_FN Native<float> exponent_of(Native<float> x) { return Native<float>::V(_mm512_getexp_ps(x.v)); }
GS_FN Native<double> exponent_of(Native<double> x) {
  return Native<double>::V(_mm512_getexp_pd(x.v));
}
GS_FN Native<float> mantissa_of(Native<float> x) {
  return Native<float>::V(_mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan));
}
GS_FN Native<double> mantissa_of(Native<double> x) {
  return Native<double>::V(_mm512_getmant_pd(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan));
}
/// The bits of b where mask has them set, of a elsewhere.
template <class V>
  requires(kSame<V, Native<float>> || kSame<V, Native<double>>)
GS_FN V blend_bits(V a, V b, V mask) {
  return
      typename V::V(_mm512_ternarylogic_epi64(__m512i(mask.v), __m512i(b.v), __m512i(a.v), 0xca));
}
/// 1 / x to 14 bits.
template <class V>
  requires kSame<V, Native<float>>
GS_FN V rough_reciprocal(V x) {
  return typename V::V(_mm512_rcp14_ps(x.v));
}
/// 1 / sqrt(x) to 14 bits; 0 gives infinity.
GS_FN Native<float> rough_rsqrt(Native<float> x) {
  return Native<float>::V(_mm512_rsqrt14_ps(x.v));
}
GS_FN Native<double> rough_rsqrt(Native<double> x) {
  return Native<double>::V(_mm512_rsqrt14_pd(x.v));
}
#endif

// ---- lane by lane ----

/// f applied to each lane: for functions that have no branch-free form, and for single
/// instructions, where the compiler turns the loop into one.
template <class F, class T, int N>
GS_FN Vec<T, N> map_lanes(F f, Vec<T, N> a) {
  typename Vec<T, N>::V r;
  for (int i = 0; i < N; ++i) r[i] = f(a.v[i]);
  return r;
}
template <class F, class T, int N>
GS_FN Vec<T, N> map_lanes(F f, Vec<T, N> a, Vec<T, N> b) {
  typename Vec<T, N>::V r;
  for (int i = 0; i < N; ++i) r[i] = f(a.v[i], b.v[i]);
  return r;
}
template <class F, Builtin T, class... U>
GS_FN T map_lanes(F f, T a, U... b) {
  return f(a, b...);
}

/// All lanes folded by op: reduce(v, [](auto a, auto b) { return a + b; }). The tree is fixed:
/// halves first.
template <class T, int N, class Op>
GS_FN T reduce(Vec<T, N> a, Op op) {
  if constexpr (N == 1) {
    return a.v[0];
  } else {
    Vec<T, N / 2> lo, hi;
    __builtin_memcpy(&lo, &a, sizeof(lo));
    __builtin_memcpy(&hi, reinterpret_cast<const char*>(&a) + sizeof(lo), sizeof(hi));
    if constexpr (N == 2)
      return op(lo.v[0], hi.v[0]);
    else
      return reduce(op(lo, hi), op);
  }
}
template <Builtin T, class Op>
GS_FN T reduce(T a, Op) {
  return a;
}
template <class T>
GS_FN ScalarT<T> hsum(T a) {
  return reduce(a, [](auto x, auto y) { return x + y; });
}

/// Calls of Vec's interface on a scalar: load_as<T>(p) is *p or Vec::load(p).
template <class T>
GS_FN T load_as(const ScalarT<T>* p) {
  if constexpr (kIsVec<T>)
    return T::load(p);
  else
    return *p;
}
template <class T>
GS_FN void store_as(ScalarT<T>* p, T x) {
  if constexpr (kIsVec<T>)
    x.store(p);
  else
    *p = x;
}
template <class T>
inline constexpr int kLanes = 1;
template <class T, int N>
inline constexpr int kLanes<Vec<T, N>> = N;

}  // namespace GS_ISA
}  // namespace gradstep
