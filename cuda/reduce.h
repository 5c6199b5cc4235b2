// SPDX-License-Identifier: Apache-2.0
// The reduce skeleton on a GPU: one kernel for a reducer of fn/reduce.h, any strides, any axes.
//   ReduceArgs a = reduce_args(call, x, mask);  a.out[0] = ..; run_reduction<Fold<Sum,
//   float>>(call, a);
// A block of kReduceThreads threads reduces a few outputs: threads are numbered (down, output,
// across), across fastest. Reductions along the memory have up to 32 threads across, which read
// neighbours; reductions of rows have neighbouring outputs side by side. See Note [Shape of a
// reduction].
#pragma once
#include "cuda/block.h"
#include "cuda/strides.h"
#include "cuda/values.h"
#include "fn/reduce.h"

namespace gradstep::cuda {

constexpr int kReduceThreads = 256;
constexpr int kReduceBlocks = 4;  // that a multiprocessor runs at once: 64 registers a thread
// Multiprocessors to fill: an H100's, whatever the device is, so that its sums do not depend on it.
constexpr int kReduceProcessors = 128;

/// What a reduction reads and writes; by value in kernel arguments.
struct ReduceArgs {
  const char* in[2] = {};  // the second for reducers of pairs; laid out as the first
  DType type[2];
  char* out[2] = {};  // null: not wanted
  DType out_type[2];
  const char* centre = nullptr;  // of pairs: a number for each `per_centre` outputs
  DType centre_type;
  int64_t per_centre = 1;
  int64_t outputs, count;  // results, elements of each
  double param = 0;
  bool few;              // elements are read kFew at a time
  bool columns = false;  // a thread has kFew neighbouring outputs, in memory side by side
  int across, side,
      down;        // threads of a block: for one output side by side, outputs, again for one
  int pieces = 1;  // blocks that share a reduction
  char* partial = nullptr;  // their states, [pieces, outputs]
  Layout<2> kept;           // the place of an output: in the input, in the outputs
  Layout<1> reduced;
};

// ---- the reducers' side ----

/// Reducers of pairs have a type Pairs, take<W>(state, x, y) and start(state, centre).
template <class R>
constexpr bool kOfPairs = requires { typename R::Pairs; };

/// Where element i of a reduction over several axes lies.
static GS_NOINLINE int64_t reduced_offset(const Layout<1>& reduced, int64_t i) {
  int64_t at[1];
  reduced.offsets(i, at);
  return at[0];
}

/// Chunks of W elements, from `first` in steps of `step`.
template <class R, int W>
GS_DEVICE void take_chunks(typename R::State& s, const ReduceArgs& a, int64_t base, int64_t first,
                           int64_t step, int64_t chunks) {
  using C = typename R::C;
  constexpr int kAhead = W == 1 ? 8 : 4;  // chunks in flight
  const bool in_line = a.reduced.ndim <= 1;
  const int64_t stride = a.reduced.ndim ? a.reduced.strides[0][0] * W : 0;
  const auto place = [&](int64_t k) {
    return base + (in_line ? k * stride : reduced_offset(a.reduced, k * W));
  };
  const auto take = [&](const Few<C, W>& x, const Few<C, W>& y, int64_t k) {
    if constexpr (kOfPairs<R>)
      R::template take<W>(s, x.v, y.v);
    else
      R::template take<W>(s, x.v, k * W);
  };
  int64_t k = first;
  for (; k + (kAhead - 1) * step < chunks; k += kAhead * step) {
    Few<C, W> x[kAhead], y[kAhead] = {};
    GS_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int64_t at = place(k + u * step);
      x[u] = load_few<W, C>(a.in[0], a.type[0], at);
      if constexpr (kOfPairs<R>) y[u] = load_few<W, C>(a.in[1], a.type[1], at);
    }
    GS_UNROLL
    for (int u = 0; u < kAhead; ++u) take(x[u], y[u], k + u * step);
  }
  for (; k < chunks; k += step) {
    const int64_t at = place(k);
    Few<C, W> y = {};
    const Few<C, W> x = load_few<W, C>(a.in[0], a.type[0], at);
    if constexpr (kOfPairs<R>) y = load_few<W, C>(a.in[1], a.type[1], at);
    take(x, y, k);
  }
}

template <class R>
GS_DEVICE void emit_state(const ReduceArgs& a, const typename R::State& s, int64_t at) {
  R::emit(s, a.count, a.param, [&](int k, auto v) {
    if (a.out[k]) store_as(a.out[k], a.out_type[k], at, v);
  });
}

/// Merges the states of the threads of each output: the thread with across = down = 0 has it all.
template <class R>
GS_DEVICE void merge_block(typename R::State& s, int across, int side, int down) {
  using State = typename R::State;
  for (int bits = across / 2; bits > 0; bits /= 2) {
    const State other = shuffle_xor(s, bits);
    R::merge(s, other);
  }
  if (down == 1) return;
  __shared__ State states[kReduceThreads];
  const int t = int(threadIdx.x), group = t / across, row = group / side;
  const bool writes = t % across == 0;
  if (writes) states[group] = s;
  for (int half = down / 2; half > 0; half /= 2) {
    __syncthreads();
    if (writes && row < half) {
      R::merge(s, states[group + half * side]);
      states[group] = s;
    }
  }
}

template <class R>
__global__ void __launch_bounds__(kReduceThreads, kReduceBlocks)
    reduce_kernel(const __grid_constant__ ReduceArgs a) {
  using C = typename R::C;
  using State = typename R::State;
  const int t = int(threadIdx.x), group = t / a.across;
  const int row = group / a.side;
  const int64_t o = int64_t(blockIdx.x) * a.side + group % a.side;
  State s = R::init();
  int64_t at[2] = {};
  if (o < a.outputs) {
    a.kept.offsets(o, at);
    if constexpr (kOfPairs<R>) {
      if (a.centre) R::start(s, load_as<C>(a.centre, a.centre_type, at[1] / a.per_centre));
    } else if constexpr (requires { R::start(s, C()); }) {
      if (a.count > 0) R::start(s, load_as<C>(a.in[0], a.type[0], at[0]));
    }
    const int64_t step = int64_t(a.across) * a.down * a.pieces;
    const int64_t first = (int64_t(blockIdx.y) * a.down + row) * a.across + t % a.across;
    int64_t taken = 0;
    if (a.few) {
      constexpr int W = kFew<C>;
      taken = a.count / W * W;
      take_chunks<R, W>(s, a, at[0], first, step, a.count / W);
    }
    take_chunks<R, 1>(s, a, at[0], taken + first, step, a.count);
  }
  merge_block<R>(s, a.across, a.side, a.down);
  if (row != 0 || t % a.across != 0 || o >= a.outputs) return;
  if (a.partial)
    reinterpret_cast<State*>(a.partial)[int64_t(blockIdx.y) * a.outputs + o] = s;
  else
    emit_state<R>(a, s, at[1]);
}

/// The same where outputs lie side by side in memory: a thread reduces kFew of them.
template <class R>
__global__ void __launch_bounds__(kReduceThreads)
    reduce_columns_kernel(const __grid_constant__ ReduceArgs a) {
  using C = typename R::C;
  using State = typename R::State;
  constexpr int W = kFew<C>, kAhead = 4;
  const int row = int(threadIdx.x) / a.side;
  const int64_t o = (int64_t(blockIdx.x) * a.side + threadIdx.x % unsigned(a.side)) * W;
  State s[W];
  GS_UNROLL
  for (int e = 0; e < W; ++e) s[e] = R::init();
  int64_t at[2] = {};
  if (o < a.outputs) {
    a.kept.offsets(o, at);
    GS_UNROLL
    for (int e = 0; e < W; ++e) {
      if constexpr (kOfPairs<R>) {
        const int64_t out = at[1] + e * a.kept.strides[1][0];
        if (a.centre) R::start(s[e], load_as<C>(a.centre, a.centre_type, out / a.per_centre));
      } else if constexpr (requires { R::start(s[e], C()); }) {
        if (a.count > 0) R::start(s[e], load_as<C>(a.in[0], a.type[0], at[0] + e));
      }
    }
    const bool in_line = a.reduced.ndim <= 1;
    const int64_t stride = a.reduced.ndim ? a.reduced.strides[0][0] : 0;
    const int64_t step = int64_t(a.down) * a.pieces;
    const auto read = [&](Few<C, W>& x, Few<C, W>& y, int64_t k) {
      const int64_t from = at[0] + (in_line ? k * stride : reduced_offset(a.reduced, k));
      x = load_few<W, C>(a.in[0], a.type[0], from);
      if constexpr (kOfPairs<R>) y = load_few<W, C>(a.in[1], a.type[1], from);
    };
    const auto take = [&](const Few<C, W>& x, const Few<C, W>& y, int64_t k) {
      GS_UNROLL
      for (int e = 0; e < W; ++e) {
        if constexpr (kOfPairs<R>)
          R::template take<1>(s[e], x.v + e, y.v + e);
        else
          R::template take<1>(s[e], x.v + e, k);
      }
    };
    int64_t k = int64_t(blockIdx.y) * a.down + row;
    for (; k + (kAhead - 1) * step < a.count; k += kAhead * step) {
      Few<C, W> x[kAhead], y[kAhead] = {};
      GS_UNROLL
      for (int u = 0; u < kAhead; ++u) read(x[u], y[u], k + u * step);
      GS_UNROLL
      for (int u = 0; u < kAhead; ++u) take(x[u], y[u], k + u * step);
    }
    for (; k < a.count; k += step) {
      Few<C, W> x, y = {};
      read(x, y, k);
      take(x, y, k);
    }
  }
  GS_UNROLL
  for (int e = 0; e < W; ++e) {
    merge_block<R>(s[e], 1, a.side, a.down);
    __syncthreads();
  }
  if (row != 0 || o >= a.outputs) return;
  GS_UNROLL
  for (int e = 0; e < W; ++e) {
    if (a.partial)
      reinterpret_cast<State*>(a.partial)[int64_t(blockIdx.y) * a.outputs + o + e] = s[e];
    else
      emit_state<R>(a, s[e], at[1] + e * a.kept.strides[1][0]);
  }
}

/// A warp for each output.
template <class R>
__global__ void __launch_bounds__(kReduceThreads)
    merge_pieces_kernel(const __grid_constant__ ReduceArgs a) {
  using State = typename R::State;
  const int64_t o = first_index() / 32;
  const int lane = int(threadIdx.x) % 32;
  State s = R::init();
  if (o < a.outputs) {
    const State* from = reinterpret_cast<const State*>(a.partial) + o;
    if constexpr (requires { s.centre; }) s.centre = from->centre;
    for (int k = lane; k < a.pieces; k += 32) R::merge(s, from[k * a.outputs]);
  }
  merge_block<R>(s, 32, kReduceThreads / 32, 1);
  if (o >= a.outputs || lane != 0) return;
  int64_t at[2];
  a.kept.offsets(o, at);
  emit_state<R>(a, s, at[1]);
}

// ---- the host's side ----

/// The arguments of a reduction of x over the axes in mask, but for the outputs: they are
/// contiguous, with the kept axes in order.
ReduceArgs reduce_args(const Call& call, const TensorImpl& x, uint64_t mask);
/// The same for a second input: dy, laid out as x.
void add_second(ReduceArgs& a, const TensorImpl& dy);
/// Note [Shape of a reduction]: fills in who does what; `few` elements are read at once if they lie
/// for it.
void shape_reduction(ReduceArgs& a, int few);

template <class R>
void run_reduction(const Call& call, ReduceArgs& a) {
  if (a.outputs == 0) return;
  shape_reduction(a, kFew<typename R::C>);
  const DeviceScratch<typename R::State> partial(a.pieces > 1 ? a.pieces * a.outputs : 0, call);
  a.partial = reinterpret_cast<char*>(partial.data());
  const int64_t side = a.side * (a.columns ? kFew<typename R::C> : 1);
  const dim3 blocks(unsigned((a.outputs + side - 1) / side), unsigned(a.pieces));
  launch_grid(call, a.columns ? &reduce_columns_kernel<R> : &reduce_kernel<R>, blocks,
              kReduceThreads, a);
  if (a.pieces == 1) return;
  constexpr int kOutputs = kReduceThreads / 32;
  launch_grid(call, &merge_pieces_kernel<R>, unsigned((a.outputs + kOutputs - 1) / kOutputs),
              kReduceThreads, a);
}

}  // namespace gradstep::cuda
