// SPDX-License-Identifier: Apache-2.0
// Running sums and the like along one axis: cumsum, cumprod, logcumsumexp, cumprod_backward,
// cummax, cummin; operands and params as in cpp/kernels/scan.cpp. Many lines side by side have a
// thread each; others are run through by blocks, tile after tile, in pieces where they are few.
// Floats are accumulated in double.
#include "cuda/scan.h"

#include "cuda/values.h"
#include "fn/scan.h"

namespace gradstep::cuda {

namespace {

constexpr int kLineThreads = 256;

struct LineArgs {
  int64_t outer, n, inner;  // around the axis
  bool reverse;
  DType type;
  const char* x;
  const char* dy;
  char* out;
  int64_t* places;
  void* terms;  // of cumprod's gradient
  GS_FN int64_t count() const { return outer * inner; }
  /// Element i of a line, counted from where the run begins.
  GS_FN int64_t at(int64_t line, int64_t i) const {
    return line / inner * n * inner + line % inner + (reverse ? n - 1 - i : i) * inner;
  }
};

LineArgs lines_of(const Call& call, bool reverse) {
  const TensorImpl& x = call.in(0);
  LineArgs a{1, 1, 1, reverse, x.dtype, x.data, nullptr, call.out(0).data, nullptr, nullptr};
  for (int d = 0; d < x.ndim(); ++d)
    (d < call.i(0) ? a.outer : d == call.i(0) ? a.n : a.inner) *= x.sizes[d];
  return a;
}

// ---- what runs: the state of an element, how states combine, what is written ----

template <template <class> class R, class A>
struct Sums {
  using State = A;
  static GS_DEVICE State load(const LineArgs& a, int64_t at, int64_t) {
    return load_as<A>(a.x, a.type, at);
  }
  static GS_DEVICE State identity() { return R<A>::init(); }
  GS_DEVICE State operator()(State x, State y) const { return R<A>::step(x, y); }
  static GS_DEVICE void store(const LineArgs& a, int64_t, int64_t, int64_t at, State s) {
    store_as<A>(a.out, a.type, at, s);
  }
};

template <class V>
struct Best {
  V value;
  int64_t place;  // -1: none yet
};
template <bool kMax, class V>
struct Extremes {
  using State = Best<V>;
  static GS_DEVICE State load(const LineArgs& a, int64_t at, int64_t i) {
    return {load_as<V>(a.x, a.type, at), i};
  }
  static GS_DEVICE State identity() { return {V(0), -1}; }
  GS_DEVICE State operator()(State x, State y) const {
    if (x.place < 0 || y.place < 0) return x.place < 0 ? y : x;
    return replaces_extreme<kMax>(y.value, x.value) ? y : x;
  }
  static GS_DEVICE void store(const LineArgs& a, int64_t, int64_t, int64_t at, State s) {
    store_as<V>(a.out, a.type, at, s.value);
    a.places[at] = s.place;
  }
};

/// A thread for each line.
template <class Run>
__global__ void lines_kernel(const __grid_constant__ LineArgs a) {
  for (int64_t line = first_index(); line < a.count(); line += index_stride()) {
    typename Run::State sum = Run::identity();
    for (int64_t i = 0; i < a.n; ++i) {
      const int64_t at = a.at(line, i);
      sum = Run{}(sum, Run::load(a, at, i));
      Run::store(a, line, i, at, sum);
    }
  }
}

/// Long lines: a block takes tile after tile of a piece of a line. Few lines are cut into pieces,
/// whose combinations are found first.
struct PieceArgs {
  LineArgs of;
  int64_t piece, pieces;  // elements of a piece, pieces of a line
  void* totals;           // of all pieces; null: there is one for each line
};

/// A piece's prefixes, from what the pieces before it combine to; or, first, its combination.
template <class Run, bool kTotals>
__global__ void __launch_bounds__(kLineThreads) pieces_kernel(const __grid_constant__ PieceArgs p) {
  using State = typename Run::State;
  const LineArgs& a = p.of;
  State* const totals = static_cast<State*>(p.totals);
  for (int64_t task = blockIdx.x; task < a.count() * p.pieces; task += gridDim.x) {
    const int64_t line = task / p.pieces, begin = task % p.pieces * p.piece;
    const int64_t end = begin + p.piece < a.n ? begin + p.piece : a.n;
    State carry = kTotals || !totals ? Run::identity() : totals[task];
    for (int64_t tile = begin; tile < end; tile += kLineThreads) {
      const int64_t i = tile + threadIdx.x, at = a.at(line, i < end ? i : end - 1);
      const State mine = i < end ? Run::load(a, at, i) : Run::identity();
      State total;
      const State before = block_scan(mine, Run{}, Run::identity(), &total);
      if (!kTotals && i < end) Run::store(a, line, i, at, Run{}(Run{}(carry, before), mine));
      carry = Run{}(carry, total);
    }
    if (kTotals && threadIdx.x == 0) totals[task] = carry;
  }
}

/// A block for each line: totals[piece] = the combination of the pieces before it.
template <class Run>
__global__ void __launch_bounds__(kLineThreads) totals_kernel(const __grid_constant__ PieceArgs p) {
  using State = typename Run::State;
  for (int64_t line = blockIdx.x; line < p.of.count(); line += gridDim.x) {
    State* const totals = static_cast<State*>(p.totals) + line * p.pieces;
    State carry = Run::identity();
    for (int64_t tile = 0; tile < p.pieces; tile += kLineThreads) {
      const int64_t k = tile + threadIdx.x;
      State total;
      const State before =
          block_scan(k < p.pieces ? totals[k] : Run::identity(), Run{}, Run::identity(), &total);
      if (k < p.pieces) totals[k] = Run{}(carry, before);
      carry = Run{}(carry, total);
    }
  }
}

// By sizes only, so that sums don't depend on the device.
constexpr int64_t kFewLines = 2048;  // enough threads or blocks for a device
constexpr int64_t kLeastPiece = 16 * kLineThreads;

template <class Run>
void run_lines(const Call& call, const LineArgs& a) {
  if (a.n <= 32 || (a.inner > 1 && a.count() >= kFewLines)) {
    return launch_grid(call, &lines_kernel<Run>, blocks_for(call, a.count(), 128), 128, a);
  }
  int64_t piece = (a.n * a.count() + kFewLines - 1) / kFewLines;
  if (piece < kLeastPiece) piece = kLeastPiece;
  if (piece > a.n) piece = a.n;
  PieceArgs p{a, piece, (a.n + piece - 1) / piece, nullptr};
  const DeviceScratch<typename Run::State> totals(p.pieces > 1 ? a.count() * p.pieces : 0, call);
  const auto blocks = [&](int64_t n) { return blocks_for(call, n * kLineThreads, kLineThreads); };
  if (p.pieces > 1) {
    p.totals = totals.data();
    launch_grid(call, &pieces_kernel<Run, true>, blocks(a.count() * p.pieces), kLineThreads, p);
    launch_grid(call, &totals_kernel<Run>, blocks(a.count()), kLineThreads, p);
  }
  launch_grid(call, &pieces_kernel<Run, false>, blocks(a.count() * p.pieces), kLineThreads, p);
}

template <template <class> class R>
void running(const Call& call) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  const LineArgs a = lines_of(call, call.i(1) != 0);
  if (is_floating(a.type)) return run_lines<Sums<R, double>>(call, a);
  if constexpr (!std::is_same_v<R<double>, RunningLogSum<double>>) {
    run_lines<Sums<R, int64_t>>(call, a);
  } else {
    fail(ErrorKind::NotImplemented, "\"{}\" not implemented for '{}'", call.op->name,
         scalar_name(a.type));
  }
}

template <bool kMax>
void extremes(const Call& call) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  LineArgs a = lines_of(call, false);
  a.places = reinterpret_cast<int64_t*>(call.out(1).data);
  by_compute(compute_type(a.type),
             [&](auto tag) { run_lines<Extremes<kMax, decltype(tag)>>(call, a); });
}

void cumsum(const Call& call) { running<RunningSum>(call); }
void cumprod(const Call& call) { running<RunningProduct>(call); }
void logcumsumexp(const Call& call) { running<RunningLogSum>(call); }
void cummax(const Call& call) { extremes<true>(call); }
void cummin(const Call& call) { extremes<false>(call); }

GS_CUDA_KERNEL("cumsum", cumsum);
GS_CUDA_KERNEL("cumprod", cumprod);
GS_CUDA_KERNEL("logcumsumexp", logcumsumexp);
GS_CUDA_KERNEL("cummax", cummax);
GS_CUDA_KERNEL("cummin", cummin);

// ---- cumprod_backward ----

// dx[k] = sum over i >= k of dy[i] * (product of x[0..i] without x[k]). In front of the first zero
// that is the sum of dy * product up to the zero, over x[k]; at the zero it is the sum from there
// on with the zero left out; behind it, 0. So one scan makes the terms, another one, from the end,
// sums them.

struct Product {
  double before, after;  // of the elements in front of the first zero and behind it
  int64_t zero;          // where the first zero is; -1: there is none
};
struct Term {
  double sum;
  int64_t kind;  // 0: in front of the first zero; 1: there; 2: behind it; -1: nothing
};

struct Products {
  using State = Product;
  static GS_DEVICE State load(const LineArgs& a, int64_t at, int64_t i) {
    const double x = load_as<double>(a.x, a.type, at);
    return x == 0 ? State{1, 1, i} : State{x, 1, -1};
  }
  static GS_DEVICE State identity() { return {1, 1, -1}; }
  GS_DEVICE State operator()(const State& x, const State& y) const {
    if (x.zero < 0) return {x.before * y.before, y.after, y.zero};
    // Once 0, it stays so: what follows is not looked at.
    const double next = y.zero < 0 ? y.before : y.before * 0.0;
    return {x.before, x.after == 0 ? 0.0 : x.after * next, x.zero};
  }
  static GS_DEVICE void store(const LineArgs& a, int64_t, int64_t i, int64_t at, const State& s) {
    const double product = s.zero < 0 ? s.before : s.before * s.after;
    const int64_t kind = s.zero < 0 ? 0 : i == s.zero ? 1 : 2;
    const bool counts = kind < 2 || product != 0;
    static_cast<Term*>(a.terms)[at] = {counts ? load_as<double>(a.dy, a.type, at) * product : 0.0,
                                       kind};
  }
};

struct TermSums {
  using State = Term;
  static GS_DEVICE State load(const LineArgs& a, int64_t at, int64_t) {
    return static_cast<const Term*>(a.terms)[at];
  }
  static GS_DEVICE State identity() { return {0, -1}; }
  GS_DEVICE State operator()(const State& x, const State& y) const {
    if (x.kind < 0 || y.kind < 0) return x.kind < 0 ? y : x;
    return {(x.kind > 0) == (y.kind > 0) ? x.sum + y.sum : y.sum, y.kind};
  }
  static GS_DEVICE void store(const LineArgs& a, int64_t, int64_t, int64_t at, const State& s) {
    const double x = load_as<double>(a.x, a.type, at);
    store_as<double>(a.out, a.type, at, s.kind == 0 ? s.sum / x : s.kind == 1 ? s.sum : 0.0);
  }
};

void cumprod_backward(const Call& call) {
  const TensorImpl& x = call.in(0);
  if (x.numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  const DeviceScratch<Term> terms(x.numel, call);
  LineArgs a = lines_of(call, false);
  a.dy = call.in(1).data;
  a.terms = terms.data();
  run_lines<Products>(call, a);
  a.reverse = true;
  run_lines<TermSums>(call, a);
}

GS_CUDA_KERNEL("cumprod_backward", cumprod_backward);

}  // namespace

}  // namespace gradstep::cuda
