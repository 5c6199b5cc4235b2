// SPDX-License-Identifier: Apache-2.0
// Lists of tensors: the norm of all, clipping to a norm, unscaling with a search for infinities,
// and the scale of a loss. See Note [Clipping in two launches].
#include "cuda/multi.h"
#include "fn/reduce.h"

namespace gradstep::cuda {

namespace {

// ---- norms ----

// Note [Clipping in two launches]
// The first launch has as many blocks as run at one time; each walks over chunks of all tensors and
// leaves one partial result in double. In the second each block adds them up, some hundred numbers
// that lie in L2, in one fixed order, so that all blocks get the same bits, and scales its chunk if
// the norm is too large. No host knows the norm.

template <size_t kBytes>
struct ListArgs {
  static constexpr int kMost = int((kBytes - 64) / 24);
  Chunks<kMost> chunks;
  uint32_t types[kMost];  // and kWide
  int64_t sizes[kMost];
  char* data[kMost][1];
};

template <class F>
struct CombineDoubles {
  GS_FN double operator()(double x, double y) const { return F{}.combine(x, y); }
};

/// partial[block]: in the compute type over a chunk, then in double.
template <class F, class S, size_t kBytes>
__global__ void __launch_bounds__(kMultiThreads)
    norm_kernel(const __grid_constant__ ListArgs<kBytes> a, double* partial) {
  static_assert(sizeof(a) + sizeof(partial) <= kBytes);
  constexpr int W = kFew<S>;
  constexpr F f;
  double all = F::template init<double>();
  for (uint32_t c = blockIdx.x; c < a.chunks.blocks(); c += gridDim.x) {
    const Piece piece = piece_of(a.chunks, a.sizes, kMultiChunk, c);
    const DType type = DType(a.types[piece.k] & 15u);
    const char* const p = a.data[piece.k][0];
    S sum[W];
    GS_UNROLL
    for (int e = 0; e < W; ++e) sum[e] = F::template init<S>();
    const int64_t whole = a.types[piece.k] & kWide ? piece.n / W * W : 0;
    for (int64_t i = int64_t(threadIdx.x) * W; i < whole; i += int64_t(blockDim.x) * W) {
      const Few<S, W> v = load_few<W, S>(p, type, piece.from + i);
      GS_UNROLL
      for (int e = 0; e < W; ++e) sum[e] = f.combine(sum[e], f.map(v.v[e]));
    }
    for (int64_t i = whole + threadIdx.x; i < piece.n; i += blockDim.x) {
      sum[0] = f.combine(sum[0], f.map(load_as<S>(p, type, piece.from + i)));
    }
    GS_UNROLL
    for (int e = 0; e < W; ++e) all = f.combine(all, double(sum[e]));
  }
  all = block_reduce(all, CombineDoubles<F>{}, F::template init<double>());
  if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

/// The norm for all threads of the block, as the type of the result keeps it.
template <class F>
GS_DEVICE double total_of(const double* partial, int n, DType type) {
  constexpr F f;
  double all = F::template init<double>();
  for (int i = int(threadIdx.x); i < n; i += int(blockDim.x)) all = f.combine(all, partial[i]);
  all = block_reduce(all, CombineDoubles<F>{}, F::template init<double>());
  alignas(8) char kept[8];
  store_as<double>(kept, type, 0, f.finish(all, 1));
  return load_as<double>(kept, type, 0);
}

template <class F>
__global__ void __launch_bounds__(kMultiThreads)
    total_kernel(const double* partial, int n, char* out, DType type) {
  const double total = total_of<F>(partial, n, type);
  if (threadIdx.x == 0) store_as<double>(out, type, 0, total);
}

template <size_t kBytes>
struct ClipArgs {
  static constexpr int kMost = int((kBytes - 128) / 24);
  const double* partial;
  char* total;
  double largest;
  int32_t n_partial;
  DType total_type;
  Chunks<kMost> chunks;
  uint32_t types[kMost];
  int64_t sizes[kMost];
  char* data[kMost][1];
};

template <class F, class S, size_t kBytes>
__global__ void __launch_bounds__(kMultiThreads)
    clip_kernel(const __grid_constant__ ClipArgs<kBytes> a) {
  static_assert(sizeof(a) <= kBytes);
  const double total = total_of<F>(a.partial, a.n_partial, a.total_type);
  if (blockIdx.x == 0 && threadIdx.x == 0) store_as<double>(a.total, a.total_type, 0, total);
  const double h[] = {total, a.largest};
  const auto rule = ScaleToNorm<S>::make(h, nullptr, true);
  if (rule.factor == S(1) || a.chunks.blocks() == 0) return;
  const Piece piece = piece_of(a.chunks, a.sizes, kMultiChunk, blockIdx.x);
  update_piece<ScaleToNorm<S>, S>(a, piece, rule, nullptr, std::make_integer_sequence<int, 1>{});
}

/// Tensors as dense memory; those that are not come as copies.
class Dense {
 public:
  Dense(const Call& call, int n, bool written) {
    tensors.reserve(size_t(n));
    for (int i = 0; i < n; ++i) {
      TensorImpl* t = call.maybe_in(i);
      same_layout(&t, 1, written, copies_);
      tensors.push_back(t);
    }
  }
  void finish() const { copies_.finish(); }
  std::vector<TensorImpl*> tensors;

 private:
  Copies copies_;
};

/// Calls launch_one(args) for as many tensors at a time as the arguments hold; `args` is filled.
template <class Args, class Launch>
void in_lists(const std::vector<TensorImpl*>& tensors, Args& args, Launch launch_one) {
  for (TensorImpl* t : tensors) {
    if (args.chunks.full()) {
      launch_one();
      args.chunks.count = 0;
    }
    add_tensors(args, &t);
  }
  launch_one();
}

/// Calls run(size_t constant) with the arguments' size for n tensors; the shorter list counts.
template <class Run>
void by_length(size_t n, Run run) {
  if (n > size_t(ClipArgs<kFewArguments>::kMost) && takes_many_arguments())
    run(std::integral_constant<size_t, kManyArguments>{});
  else
    run(std::integral_constant<size_t, kFewArguments>{});
}

/// What the blocks of the first launch found.
template <class F, class S, size_t kBytes>
class Partials {
 public:
  Partials(const Call& call, const std::vector<TensorImpl*>& tensors)
      : wave_(multiprocessors(call.operands[0]->device.index) * (2048 / kMultiThreads)),
        lists_(int64_t(tensors.size()) / ListArgs<kBytes>::kMost + 1),
        scratch_(wave_ * lists_, call) {
    ListArgs<kBytes> a;
    in_lists(tensors, a, [&] {
      const unsigned blocks = std::min(a.chunks.blocks(), unsigned(wave_));
      launch_grid(call, &norm_kernel<F, S, kBytes>, blocks, kMultiThreads, a,
                  scratch_.data() + count);
      count += int(blocks);
    });
  }
  const double* data() const { return scratch_.data(); }
  int count = 0;

 private:
  int64_t wave_, lists_;
  DeviceScratch<double> scratch_;
};

template <class Run>
void by_order(double order, Run run) {
  if (order == 2)
    run(RootSumSquares{});
  else if (order == 1)
    run(AbsSum{});
  else
    run(AbsMax{});
}

template <class S>
void total_norm_of(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  const Dense list(call, call.n_in, false);
  by_order(call.f(0), [&](auto f) {
    using F = decltype(f);
    by_length(list.tensors.size(), [&](auto bytes) {
      const Partials<F, S, bytes()> partials(call, list.tensors);
      launch_grid(call, &total_kernel<F>, 1, kMultiThreads, partials.data(), partials.count,
                  call.out(0).data, call.out(0).dtype);
    });
  });
}

/// params: the order, 1, 2 or infinity. Output: the norm of all inputs, of any floating types.
void total_norm(const Call& call) {
  if (call.compute == Compute::F64)
    total_norm_of<double>(call);
  else
    total_norm_of<float>(call);
}

template <class S>
void clip_norm_of(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  const Dense list(call, call.n_in - 1, true);
  const TensorImpl& total = call.in(call.n_in - 1);
  by_order(call.f(0), [&](auto f) {
    using F = decltype(f);
    by_length(list.tensors.size(), [&](auto bytes) {
      const Partials<F, S, bytes()> partials(call, list.tensors);
      ClipArgs<bytes()> a;
      a.partial = partials.data();
      a.n_partial = partials.count;
      a.total = total.data;
      a.total_type = total.dtype;
      a.largest = call.f(1);
      in_lists(list.tensors, a, [&] {
        const unsigned blocks = std::max(a.chunks.blocks(), 1u);  // one writes the norm
        launch_grid(call, &clip_kernel<F, S, bytes()>, blocks, kMultiThreads, a);
      });
    });
  });
  list.finish();
}

/// params: the order, the largest norm. Inputs: tensors of one compute type, which are scaled to
/// that, and last one number, where the norm that they had is written.
void clip_norm(const Call& call) {
  if (call.compute == Compute::F64)
    clip_norm_of<double>(call);
  else
    clip_norm_of<float>(call);
}

// ---- the scale of a loss ----

template <class S, size_t kBytes>
__global__ void __launch_bounds__(kMultiThreads)
    unscale_kernel(const __grid_constant__ ListArgs<kBytes> a, const float* factor,
                   float* found_inf) {
  static_assert(sizeof(a) + sizeof(factor) + sizeof(found_inf) <= kBytes);
  constexpr int W = kFew<S>;
  const Piece piece = piece_of(a.chunks, a.sizes, kMultiChunk, blockIdx.x);
  const DType type = DType(a.types[piece.k] & 15u);
  char* const p = a.data[piece.k][0];
  const S by = S(*factor);
  bool bad = false;
  const int64_t whole = a.types[piece.k] & kWide ? piece.n / W * W : 0;
  for (int64_t i = int64_t(threadIdx.x) * W; i < whole; i += int64_t(blockDim.x) * W) {
    Few<S, W> v = load_few<W, S>(p, type, piece.from + i);
    GS_UNROLL
    for (int e = 0; e < W; ++e) {
      bad |= v.v[e] - v.v[e] != S(0);
      v.v[e] = v.v[e] * by;
    }
    if (by != S(1)) store_few<W, S>(p, type, piece.from + i, v);
  }
  for (int64_t i = whole + threadIdx.x; i < piece.n; i += blockDim.x) {
    const S v = load_as<S>(p, type, piece.from + i);
    bad |= v - v != S(0);
    if (by != S(1)) store_as<S>(p, type, piece.from + i, v * by);
  }
  if (bad) *found_inf = 1;  // whoever writes, it is the same
}

template <class S>
void unscale_of(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  const int n = call.n_in - 2;
  const Dense list(call, n, true);
  const auto* factor = reinterpret_cast<const float*>(call.in(n).data);
  auto* found_inf = reinterpret_cast<float*>(call.in(n + 1).data);
  by_length(list.tensors.size(), [&](auto bytes) {
    ListArgs<bytes()> a;
    in_lists(list.tensors, a, [&] {
      launch_grid(call, &unscale_kernel<S, bytes()>, a.chunks.blocks(), kMultiThreads, a, factor,
                  found_inf);
    });
  });
  list.finish();
}

/// Inputs: tensors of one compute type, which are multiplied; a float, the factor; a float that
/// becomes 1 if an element was infinite or NaN.
void unscale(const Call& call) {
  if (call.compute == Compute::F64)
    unscale_of<double>(call);
  else
    unscale_of<float>(call);
}

__global__ void loss_scale_kernel(float* scale, int32_t* tracker, const float* found_inf,
                                  double growth, double backoff, int64_t interval) {
  update_loss_scale(*scale, *tracker, *found_inf != 0, growth, backoff, interval);
}

/// Inputs: scale (float), tracker (int32), found_inf (float). params: growth factor, backoff
/// factor, growth interval.
void loss_scale(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  launch_grid(call, &loss_scale_kernel, 1, 1, reinterpret_cast<float*>(call.in(0).data),
              reinterpret_cast<int32_t*>(call.in(1).data),
              reinterpret_cast<const float*>(call.in(2).data), call.f(0), call.f(1), call.i(2));
}

GS_CUDA_KERNEL("multi_total_norm", total_norm);
GS_CUDA_KERNEL("multi_clip_norm", clip_norm);
GS_CUDA_KERNEL("multi_unscale", unscale);
GS_CUDA_KERNEL("update_loss_scale", loss_scale);

}  // namespace

}  // namespace gradstep::cuda
