// SPDX-License-Identifier: Apache-2.0
// Reductions. A fold functor has
//   map(x)          applied to each element
//   combine(a, b)   associative and commutative, of mapped elements
//   init<T>()       the identity of combine
//   finish(a, n)    applied to the result of n elements
//   kWide           floats are summed in blocks, the blocks in double
// Below them: what the drivers call, a reducer = State + init() + merge() + emit(), and how
// elements come into a state. Fold<F, C> makes one of a fold functor; ArgReduce, Moments and
// LogSumExp carry more than a value. The CPU's driver calls block() for up to kReduceBlock elements
// in a row and tile() for up to kReduceRows rows of columns, each column reduced by itself (host
// only); a thread of a GPU calls take<W>() for W neighbours. Includes fn/math.h.
#pragma once
#include "fn/math.h"
#if !GS_CUDA
#include "fn/partial.h"
#endif

namespace gradstep {
inline namespace GS_ISA {

// ---- fold functors ----

struct FoldBase {
  static constexpr bool kWide = true;
  template <class T>
  GS_FN static T init() {
    return T(0);
  }
  template <class T>
  GS_FN T map(T x) const {
    return x;
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return a + b;
  }
  template <class T>
  GS_FN T finish(T a, int64_t) const {
    return a;
  }
};

struct Sum : FoldBase {};

struct Mean : FoldBase {
  template <class T>
  GS_FN T finish(T a, int64_t n) const {
    return a / T(n);
  }
};

struct NanSum : FoldBase {
  template <class T>
  GS_FN T map(T x) const {
    return select(x != x, T(0), x);
  }
};

struct CountNonzero : FoldBase {
  template <class T>
  GS_FN T map(T x) const {
    return select(x != T(0), T(1), T(0));
  }
};

struct Prod : FoldBase {
  template <class T>
  GS_FN static T init() {
    return T(1);
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return a * b;
  }
};

struct AbsSum : FoldBase {
  template <class T>
  GS_FN T map(T x) const {
    return abs(x);
  }
};

/// The Euclidean norm.
struct RootSumSquares : FoldBase {
  template <class T>
  GS_FN T map(T x) const {
    return x * x;
  }
  template <class T>
  GS_FN T finish(T a, int64_t) const {
    return sqrt(a);
  }
};

/// The lowest and the highest value of a scalar type.
template <class T>
GS_FN T lowest() {
  if constexpr (kSame<T, float> || kSame<T, double>)
    return T(-kInf);
  else if constexpr (T(-1) > T(0))
    return T(0);
  else
    return T(uint64_t(1) << (8 * sizeof(T) - 1));
}
template <class T>
GS_FN T highest() {
  if constexpr (kSame<T, float> || kSame<T, double>)
    return T(kInf);
  else
    return T(~lowest<T>());
}

/// The largest element, NaN if there is one.
struct Max : FoldBase {
  static constexpr bool kWide = false;
  template <class T>
  GS_FN static T init() {
    return T(lowest<ScalarT<T>>());
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return select((a > b) | (a != a), a, b);
  }
};

/// The smallest element, NaN if there is one.
struct Min : FoldBase {
  static constexpr bool kWide = false;
  template <class T>
  GS_FN static T init() {
    return T(highest<ScalarT<T>>());
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return select((a < b) | (a != a), a, b);
  }
};

struct AbsMax : Max {
  template <class T>
  GS_FN static T init() {
    return T(0);
  }
  template <class T>
  GS_FN T map(T x) const {
    return abs(x);
  }
};

struct AbsMin : Min {
  template <class T>
  GS_FN T map(T x) const {
    return abs(x);
  }
};

/// 1 if an element is not 0 (NaN counts), else 0.
struct Any : FoldBase {
  static constexpr bool kWide = false;
  template <class T>
  GS_FN T map(T x) const {
    return select(x != T(0), T(1), T(0));
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return select(a > b, a, b);
  }
};

/// 1 if no element is 0, else 0.
struct All : Any {
  template <class T>
  GS_FN static T init() {
    return T(1);
  }
  template <class T>
  GS_FN T combine(T a, T b) const {
    return select(a < b, a, b);
  }
};

/// x comes before y in a search for the largest (the smallest); NaN comes before all.
struct Greater {
  using Fold = Max;
  template <class T>
  GS_FN auto operator()(T x, T y) const {
    return (x > y) | ((x != x) & (y == y));
  }
};
struct Less {
  using Fold = Min;
  template <class T>
  GS_FN auto operator()(T x, T y) const {
    return (x < y) | ((x != x) & (y == y));
  }
};

#if !GS_CUDA
// ---- elements in vector lanes ----

inline constexpr int kReduceBlock = 2048;
inline constexpr int kReduceRows = 32;
inline constexpr int kReduceColumns = 128;

/// op over x[0..n) after map, in vector lanes.
template <class C, class MapOp, class CombineOp>
GS_FN C fold_row(const C* x, int n, C identity, MapOp map, CombineOp combine) {
  using V = Native<C>;
  constexpr int N = V::size;
  V a = V(identity);
  int i = 0;
  if (n >= N) {
    a = map(V::load(x));
    i = N;
    if (n >= 4 * N) {
      V b = map(V::load(x + N)), c = map(V::load(x + 2 * N)), d = map(V::load(x + 3 * N));
      for (i = 4 * N; i + 4 * N <= n; i += 4 * N) {
        a = combine(a, map(V::load(x + i)));
        b = combine(b, map(V::load(x + i + N)));
        c = combine(c, map(V::load(x + i + 2 * N)));
        d = combine(d, map(V::load(x + i + 3 * N)));
      }
      a = combine(combine(a, b), combine(c, d));
    }
    for (; i + N <= n; i += N) a = combine(a, map(V::load(x + i)));
  }
  if (i < n) {
    const V rest = map(load_some<V>(x + i, n - i));
    a = combine(a, select(lane_numbers<V>() < V(C(n - i)), rest, V(identity)));
  }
  return reduce(a, combine);
}

/// Calls f(column, lanes, rows, load) for groups of columns of a tile, where load(row) gives a
/// vector V of that row from `column` on, of which the first `lanes` columns exist. f is called
/// with V = Native<C>; the rows whose vector would reach beyond the tile are loaded lane by lane.
template <class C, class F>
GS_FN void for_columns(const C* x, int64_t row_stride, int rows, int columns, F f) {
  using V = Native<C>;
  constexpr int N = V::size;
  int j = 0;
  for (; j + N <= columns; j += N) {
    f(j, N, rows, [=](int r) { return V::load(x + r * row_stride + j); });
  }
  if (j < columns) {
    // Loads may read into the next row, as long as they stay before the tile's last element.
    const int64_t last = (rows - 1) * row_stride + columns - N - j;
    const int lanes = columns - j;
    f(j, lanes, rows, [=](int r) {
      const C* p = x + r * row_stride + j;
      return r * row_stride <= last ? V::load(p) : load_some<V>(p, lanes);
    });
  }
}

#endif

// ---- reducers ----

template <class C, bool kWide>
struct FoldState {
  using type = C;
};
template <>
struct FoldState<float, true> {
  using type = double;
};

template <class F, class C_>
struct Fold {
  using C = C_;
  using State = typename FoldState<C, F::kWide>::type;

  GS_FN static State init() { return F::template init<State>(); }

  /// Elements index .. index + W - 1 of the reduction, W a power of two.
  template <int W>
  GS_FN static void take(State& s, const C* x, int64_t) {
    C a[W];
    for (int k = 0; k < W; ++k) a[k] = F{}.map(x[k]);
    for (int step = 1; step < W; step *= 2) {
      for (int k = 0; k < W; k += 2 * step) a[k] = F{}.combine(a[k], a[k + step]);
    }
    s = F{}.combine(s, State(a[0]));
  }

#if !GS_CUDA
  static constexpr F f{};

  static void block(State& s, const C* x, int n, int64_t) {
    const C r = fold_row(
        x, n, F::template init<C>(), [](auto v) { return f.map(v); },
        [](auto a, auto b) { return f.combine(a, b); });
    s = f.combine(s, State(r));
  }

  static void tile(State* s, const C* x, int64_t row_stride, int rows, int columns, int64_t) {
    using V = Native<C>;
    constexpr int N = V::size;
    C lanes[kReduceColumns + N];
    int j = 0;
    for (; j + 4 * N <= columns; j += 4 * N) {
      const C* p = x + j;
      V a = f.map(V::load(p)), b = f.map(V::load(p + N));
      V c = f.map(V::load(p + 2 * N)), d = f.map(V::load(p + 3 * N));
      for (int r = 1; r < rows; ++r) {
        p += row_stride;
        a = f.combine(a, f.map(V::load(p)));
        b = f.combine(b, f.map(V::load(p + N)));
        c = f.combine(c, f.map(V::load(p + 2 * N)));
        d = f.combine(d, f.map(V::load(p + 3 * N)));
      }
      a.store(lanes + j);
      b.store(lanes + j + N);
      c.store(lanes + j + 2 * N);
      d.store(lanes + j + 3 * N);
    }
    for_columns(x + j, row_stride, rows, columns - j, [&](int k, int, int n, auto load) {
      V a = f.map(load(0));
      for (int r = 1; r < n; ++r) a = f.combine(a, f.map(load(r)));
      a.store(lanes + j + k);
    });
    for (int k = 0; k < columns; ++k) s[k] = f.combine(s[k], State(lanes[k]));
  }
#endif

  GS_FN static void merge(State& s, const State& t) { s = F{}.combine(s, t); }
  /// put(k, value): value of output k.
  template <class Put>
  GS_FN static void emit(const State& s, int64_t count, double, Put put) {
    put(0, F{}.finish(s, count));
  }
};

/// The first place of the largest or smallest element. Outputs: value, index; or the index alone.
template <class Before, class C_, bool kWithValue>
struct ArgReduce {
  using C = C_;
  struct State {
    C value;
    int64_t index;  // -1: nothing yet
  };

  GS_FN static State init() { return {C(0), -1}; }

  template <int W>
  GS_FN static void take(State& s, const C* x, int64_t index) {
    for (int k = 0; k < W; ++k) {
      if (s.index < 0 || Before{}(x[k], s.value)) s = {x[k], index + k};
    }
  }

#if !GS_CUDA
  static constexpr Before before{};
  static constexpr typename Before::Fold fold{};

  static void block(State& s, const C* x, int n, int64_t index) {
    using V = Native<C>;
    const C best = fold_row(
        x, n, Before::Fold::template init<C>(), [](auto v) { return v; },
        [](auto a, auto b) { return fold.combine(a, b); });
    if (s.index >= 0 && !before(best, s.value)) return;
    const V wanted = V(best);
    int i = 0;
    for (; i + V::size <= n; i += V::size) {
      const V v = V::load(x + i);
      if (any((v == wanted) | (v != v))) break;
    }
    while (x[i] != best && x[i] == x[i]) ++i;
    s = {x[i], index + i};
  }

  static void tile(State* s, const C* x, int64_t row_stride, int rows, int columns, int64_t index) {
    using V = Native<C>;
    using I = Bits<V>;
    C best[V::size];
    IntFor<C> at[V::size];
    for_columns(x, row_stride, rows, columns, [&](int j, int lanes, int n, auto load) {
      V b = load(0);
      I where = I(ScalarT<I>(0));
      for (int r = 1; r < n; ++r) {
        const V v = load(r);
        const auto m = before(v, b);
        b = select(m, v, b);
        where = select(m, I(ScalarT<I>(r)), where);
      }
      b.store(best);
      where.store(at);
      for (int k = 0; k < lanes; ++k) {
        State& t = s[j + k];
        if (t.index < 0 || before(best[k], t.value)) t = {best[k], index + at[k]};
      }
    });
  }

#endif

  GS_FN static void merge(State& s, const State& t) {
    if (t.index < 0) return;
    // Of a tie the first: on a GPU t may be the earlier one.
    if (s.index < 0 || Before{}(t.value, s.value) ||
        (t.index < s.index && !Before{}(s.value, t.value))) {
      s = t;
    }
  }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t, double, Put put) {
    if constexpr (kWithValue) {
      put(0, s.value);
      put(1, s.index);
    } else {
      put(0, s.index);
    }
  }
};

/// Count, mean and sum of squared deviations, merged as Chan does. Outputs: the variance or its
/// root, with the divisor max(0, n - correction); and the mean where there is a second output.
template <class C_, bool kRoot>
struct Moments {
  using C = C_;
  struct State {
    double n, mean, m2;
  };
  GS_FN static State init() { return {0, 0, 0}; }

  /// The moments of n values from their rough mean, the sum of deviations from it and of their
  /// squares.
  GS_FN static State moments(double n, double rough, double s1, double s2) {
    const double shift = s1 / n;
    const double m2 = s2 - s1 * shift;
    return {n, rough + shift, m2 < 0 ? 0 : m2};
  }

#if !GS_CUDA
  static void block(State& s, const C* x, int n, int64_t) {
    using V = Native<C>;
    constexpr int N = V::size;
    const auto plus = [](auto a, auto b) { return a + b; };
    const C rough = fold_row(x, n, C(0), [](auto v) { return v; }, plus) / C(n);
    const V centre = V(rough);
    V d1[4], d2[4];
    for (int k = 0; k < 4; ++k) d1[k] = d2[k] = V(C(0));
    const auto take = [&](int k, V v) {
      d1[k] += v;
      d2[k] += v * v;
    };
    int i = 0;
    for (; i + 4 * N <= n; i += 4 * N) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) take(k, V::load(x + i + k * N) - centre);
    }
    for (; i + N <= n; i += N) take(0, V::load(x + i) - centre);
    if (i < n) {
      const V rest = load_some<V>(x + i, n - i) - centre;
      take(1, select(lane_numbers<V>() < V(C(n - i)), rest, V(C(0))));
    }
    const C s1 = hsum((d1[0] + d1[1]) + (d1[2] + d1[3]));
    const C s2 = hsum((d2[0] + d2[1]) + (d2[2] + d2[3]));
    merge(s, moments(n, rough, s1, s2));
  }

  static void tile(State* s, const C* x, int64_t row_stride, int rows, int columns, int64_t) {
    using V = Native<C>;
    C rough[V::size], s1[V::size], s2[V::size];
    for_columns(x, row_stride, rows, columns, [&](int j, int lanes, int n, auto load) {
      V sum = load(0);
      for (int r = 1; r < n; ++r) sum += load(r);
      const V mean = sum / V(C(n));
      V d1 = V(C(0)), d2 = V(C(0));
      for (int r = 0; r < n; ++r) {
        const V d = load(r) - mean;
        d1 += d;
        d2 += d * d;
      }
      mean.store(rough);
      d1.store(s1);
      d2.store(s2);
      for (int k = 0; k < lanes; ++k) merge(s[j + k], moments(n, rough[k], s1[k], s2[k]));
    });
  }

#endif

  GS_FN static void merge(State& s, const State& t) {
    if (t.n == 0) return;
    if (s.n == 0) {
      s = t;
      return;
    }
    const double n = s.n + t.n, delta = t.mean - s.mean;
    s.mean += delta * (t.n / n);
    s.m2 += t.m2 + delta * delta * (s.n * t.n / n);
    s.n = n;
  }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t, double correction, Put put) {
    const double divisor = s.n - correction;
    const double var = s.m2 / (divisor > 0 ? divisor : 0.0);
    put(0, kRoot ? sqrt(var) : var);
    put(1, s.n > 0 ? s.mean : kNan);
  }
};

/// The same on a GPU, where a division for each merge would cost more than the elements: all
/// threads subtract the same value, the reduction's first element, so that sums are merged.
template <class C_, bool kRoot>
struct ShiftedMoments {
  using C = C_;
  struct State {
    C centre;
    double s1, s2;  // of x - centre and its square
  };
  GS_FN static State init() { return {C(0), 0, 0}; }
  GS_FN static void start(State& s, C first) { s.centre = first; }

  template <int W>
  GS_FN static void take(State& s, const C* x, int64_t) {
    for (int k = 0; k < W; ++k) {
      const double d = double(x[k]) - double(s.centre);
      s.s1 += d;
      s.s2 += d * d;
    }
  }
  GS_FN static void merge(State& s, const State& t) {
    s.s1 += t.s1;
    s.s2 += t.s2;
  }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t count, double correction, Put put) {
    using M = Moments<C, kRoot>;
    M::emit(count > 0 ? M::moments(double(count), double(s.centre), s.s1, s.s2) : M::init(), count,
            correction, put);
  }
};

/// log(sum(exp(x))) without overflow.
template <class C_, class A = double>
struct LogSumExp {
  using C = C_;
  struct State {
    A shift, sum;  // the sum of exp(x - shift); shift is finite, or sum is 0
  };
  GS_FN static State init() { return {0, 0}; }

  template <int W>
  GS_FN static void take(State& s, const C* x, int64_t) {
    C m = x[0];
    for (int k = 1; k < W; ++k) m = Max().combine(m, x[k]);
    if (m == C(-kInf)) return;
    if (m == C(kInf) || m != m) m = C(0);
    C sum = C(0);
    for (int k = 0; k < W; ++k) sum += exp(x[k] - m);
    merge(s, {m, sum});
  }

#if !GS_CUDA
  static void block(State& s, const C* x, int n, int64_t) {
    C m = fold_row(
        x, n, C(-kInf), [](auto v) { return v; },
        [](auto a, auto b) { return Max().combine(a, b); });
    if (m == C(-kInf)) return;
    if (m == C(kInf) || m != m) m = C(0);
    const C sum = fold_row(
        x, n, C(0), [=](auto v) { return exp(v - decltype(v)(m)); },
        [](auto a, auto b) { return a + b; });
    merge(s, {m, sum});
  }

  static void tile(State* s, const C* x, int64_t row_stride, int rows, int columns, int64_t) {
    using V = Native<C>;
    C shift[V::size], sum[V::size];
    for_columns(x, row_stride, rows, columns, [&](int j, int lanes, int n, auto load) {
      V m = load(0);
      for (int r = 1; r < n; ++r) m = Max().combine(m, load(r));
      m = select((abs(m) < V(C(kInf))), m, V(C(0)));
      V total = V(C(0));
      for (int r = 0; r < n; ++r) total += exp(load(r) - m);
      m.store(shift);
      total.store(sum);
      for (int k = 0; k < lanes; ++k) merge(s[j + k], {shift[k], sum[k]});
    });
  }

#endif

  GS_FN static void merge(State& s, const State& t) {
    if (t.sum == 0 || s.sum != s.sum) return;
    if (s.sum == 0 || !(t.sum < A(kInf))) {
      s = t;
    } else if (s.sum == A(kInf)) {
      return;
    } else if (t.shift > s.shift) {
      s = {t.shift, t.sum + s.sum * exp(s.shift - t.shift)};
    } else {
      s.sum += t.sum * exp(t.shift - s.shift);
    }
  }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t, double, Put put) {
    put(0, s.shift + log(s.sum));
  }
};

}  // namespace GS_ISA
}  // namespace gradstep
