// SPDX-License-Identifier: Apache-2.0
// Vec<T, N>: N values in registers, on GCC's vector extensions. The same expressions work on a Vec
// and on a scalar, so a functor is written once:
//   using V = Native<float>;  V x = V::load(p);  select(x > V(0), x, V(0)).store(q);
// Host only (CUDA uses the scalar functions of math.h). Includes fn/config.h.
#pragma once
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

  GS_FN friend M operator<(Vec a, Vec b) { return {typename M::V(a.v < b.v)}; }
  GS_FN friend M operator<=(Vec a, Vec b) { return {typename M::V(a.v <= b.v)}; }
  GS_FN friend M operator>(Vec a, Vec b) { return {typename M::V(a.v > b.v)}; }
  GS_FN friend M operator>=(Vec a, Vec b) { return {typename M::V(a.v >= b.v)}; }
  GS_FN friend M operator==(Vec a, Vec b) { return {typename M::V(a.v == b.v)}; }
  GS_FN friend M operator!=(Vec a, Vec b) { return {typename M::V(a.v != b.v)}; }

  // Integers only.
  GS_FN friend Vec operator&(Vec a, Vec b) { return a.v & b.v; }
  GS_FN friend Vec operator|(Vec a, Vec b) { return a.v | b.v; }
  GS_FN friend Vec operator^(Vec a, Vec b) { return a.v ^ b.v; }
  GS_FN friend Vec operator~(Vec a) { return ~a.v; }
  GS_FN friend Vec operator<<(Vec a, int n) { return a.v << n; }
  GS_FN friend Vec operator>>(Vec a, int n) { return a.v >> n; }
  GS_FN friend Vec operator<<(Vec a, Vec n) { return a.v << n.v; }
  GS_FN friend Vec operator>>(Vec a, Vec n) { return a.v >> n.v; }

  GS_FN friend Vec select(M m, Vec a, Vec b) { return m.m ? a.v : b.v; }
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
