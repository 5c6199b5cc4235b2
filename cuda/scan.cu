// SPDX-License-Identifier: Apache-2.0
// Running sums and the like along one axis: cumsum, cumprod, logcumsumexp, cumprod_backward,
// cummax, cummin; operands and params as in cpp/kernels/scan.cpp. A line that lies in memory as one
// is run through by a block, tile after tile; lines side by side have a thread each. Floats are
// accumulated in double.
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
  GS_FN int64_t count() const { return outer * inner; }
  /// Element i of a line, counted from where the run begins.
  GS_FN int64_t at(int64_t line, int64_t i) const {
    return line / inner * n * inner + line % inner + (reverse ? n - 1 - i : i) * inner;
  }
};

LineArgs lines_of(const Call& call, bool reverse) {
  const TensorImpl& x = call.in(0);
  LineArgs a{1, 1, 1, reverse, x.dtype, x.data, nullptr, call.out(0).data, nullptr};
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

/// A block for each line: a tile's prefixes, and what the tiles before it sum up to.
template <class Run>
__global__ void __launch_bounds__(kLineThreads)
    long_lines_kernel(const __grid_constant__ LineArgs a) {
  using State = typename Run::State;
  for (int64_t line = blockIdx.x; line < a.count(); line += gridDim.x) {
    State carry = Run::identity();
    for (int64_t tile = 0; tile < a.n; tile += kLineThreads) {
      const int64_t i = tile + threadIdx.x, at = a.at(line, i < a.n ? i : a.n - 1);
      const State mine = i < a.n ? Run::load(a, at, i) : Run::identity();
      State total;
      const State before = block_scan(mine, Run{}, Run::identity(), &total);
      if (i < a.n) Run::store(a, line, i, at, Run{}(Run{}(carry, before), mine));
      carry = Run{}(carry, total);
    }
  }
}

template <class Run>
void run_lines(const Call& call, const LineArgs& a) {
  if (a.inner == 1 && a.n > 32) {
    launch_grid(call, &long_lines_kernel<Run>,
                blocks_for(call, a.count() * kLineThreads, kLineThreads), kLineThreads, a);
  } else {
    launch_grid(call, &lines_kernel<Run>, blocks_for(call, a.count(), 128), 128, a);
  }
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

// dx[k] = sum over i >= k of dy[i] * (product of x[0..i] without x[k]); exact where x has zeros.
__global__ void cumprod_backward_kernel(const __grid_constant__ LineArgs a) {
  for (int64_t line = first_index(); line < a.count(); line += index_stride()) {
    const auto x = [&](int64_t i) { return load_as<double>(a.x, a.type, a.at(line, i)); };
    const auto dy = [&](int64_t i) { return load_as<double>(a.dy, a.type, a.at(line, i)); };
    const auto put = [&](int64_t i, double v) {
      store_as<double>(a.out, a.type, a.at(line, i), v);
    };
    int64_t zero = 0;
    double before = 1;  // the product in front of the first zero
    for (; zero < a.n && x(zero) != 0; ++zero) before *= x(zero);
    double product = before, sum = 0;
    for (int64_t k = zero - 1; k >= 0; --k) {
      sum += dy(k) * product;
      put(k, sum / x(k));
      product /= x(k);
    }
    if (zero == a.n) continue;
    product = before;
    sum = dy(zero) * product;
    for (int64_t i = zero + 1; i < a.n && product != 0; ++i) {
      product *= x(i);
      sum += dy(i) * product;
    }
    put(zero, sum);
    for (int64_t k = zero + 1; k < a.n; ++k) put(k, 0.0);
  }
}

void cumprod_backward(const Call& call) {
  if (call.in(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  LineArgs a = lines_of(call, false);
  a.dy = call.in(1).data;
  launch_grid(call, &cumprod_backward_kernel, blocks_for(call, a.count(), 128), 128, a);
}

GS_CUDA_KERNEL("cumprod_backward", cumprod_backward);

}  // namespace

}  // namespace gradstep::cuda
