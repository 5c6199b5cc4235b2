// SPDX-License-Identifier: Apache-2.0
// Lists of tensors: zeroing, norms, plain arithmetic, SGD; and what all lists share on the host.
#include "cuda/multi.h"

#include "core/layout.h"
#include "fn/reduce.h"

namespace gradstep::cuda {

// ---- the host's part ----

double host_number(const TensorImpl& t) {
  double value = 0;
  dispatch(t.dtype, [&](auto tag) {
    decltype(tag) raw;
    if (t.device.type == DeviceType::CPU)
      raw = *reinterpret_cast<const decltype(tag)*>(t.data);
    else
      download(&raw, t.data, sizeof(raw), t.device.index);
    value = convert<double>(raw);
  });
  return value;
}

void set_host_number(const TensorImpl& t, double value) {
  GS_ASSERT(t.device.type == DeviceType::CPU);
  dispatch(t.dtype, [&](auto tag) {
    using T = decltype(tag);
    *reinterpret_cast<T*>(t.data) = convert<T>(value);
  });
}

namespace {

void copy(TensorImpl* to, TensorImpl* from) {
  static const Op& op = Op::get("copy");
  TensorImpl* operands[] = {to, from};
  run_here({&op, Compute::F32, 1, 1, operands, Params()});
}

}  // namespace

TensorImpl* Copies::take(const TensorImpl& like, TensorImpl* t, bool written) {
  Tensor made = like.contiguous || !is_dense(like.sizes, like.strides)
                    ? empty(t->sizes, t->dtype, t->device)
                    : empty_strided(t->sizes, like.strides, t->dtype, t->device);
  copy(made.get(), t);
  entries_.push_back({std::move(made), t, written});
  return entries_.back().copy.get();
}

void Copies::finish() const {
  for (const Entry& e : entries_) {
    if (e.written) copy(e.of, e.copy.get());
  }
}

void same_layout(TensorImpl** tensors, int n, unsigned writes, Copies& copies) {
  const TensorImpl& like = *tensors[0];
  const bool dense = like.contiguous || is_dense(like.sizes, like.strides);
  // The first one last: it is what the others are compared with.
  for (int j = n - 1; j >= 0; --j) {
    TensorImpl* const t = tensors[j];
    if (t->numel == 0) continue;
    if (dense ? (like.contiguous && t->contiguous) || t->strides == like.strides : t->contiguous) {
      continue;
    }
    tensors[j] = copies.take(like, t, writes >> j & 1);
  }
}

// ---- zero ----

namespace {

struct ZeroArgs {
  static constexpr int kMost = int((kArgumentBytes - 64) / 20);
  Chunks<kMost> chunks;
  int64_t sizes[kMost];  // in bytes
  char* data[kMost];
};
static_assert(sizeof(ZeroArgs) <= kArgumentBytes);
constexpr int64_t kZeroChunk = 8 * 16 * kMultiThreads;  // bytes

__global__ void __launch_bounds__(kMultiThreads) zero_kernel(const __grid_constant__ ZeroArgs a) {
  const Piece piece = piece_of_block(a.chunks, a.sizes, kZeroChunk);
  char* const p = a.data[piece.k] + piece.from;
  const int64_t left = int64_t((16 - reinterpret_cast<uintptr_t>(p) % 16) % 16);
  const int64_t head = left < piece.n ? left : piece.n;
  const int64_t whole = (piece.n - head) / 16;
  for (int64_t i = threadIdx.x; i < whole; i += blockDim.x) {
    *reinterpret_cast<uint4*>(p + head + 16 * i) = make_uint4(0, 0, 0, 0);
  }
  for (int64_t i = threadIdx.x; i < head; i += blockDim.x) p[i] = 0;
  for (int64_t i = head + 16 * whole + threadIdx.x; i < piece.n; i += blockDim.x) p[i] = 0;
}

/// Inputs: the tensors, of any dtypes.
void zero(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  static const Op& fill = Op::get("fill");
  ZeroArgs a;
  const auto flush = [&] {
    launch_grid(call, &zero_kernel, a.chunks.blocks(), kMultiThreads, a);
    a.chunks.count = 0;
  };
  for (int i = 0; i < call.n_in; ++i) {
    TensorImpl* const t = call.maybe_in(i);
    if (!t->contiguous && !is_dense(t->sizes, t->strides)) {
      Params number;
      number.push(int64_t{0});
      run_here({&fill, compute_type(t->dtype), 1, 0, &t, number});
      continue;
    }
    if (a.chunks.full()) flush();
    const int k = a.chunks.count;
    a.data[k] = t->data;
    a.sizes[k] = t->numel * int64_t(element_size(t->dtype));
    a.chunks.add(chunk_count(a.sizes[k], kZeroChunk));
  }
  flush();
}

// ---- norms ----

struct NormArgs {
  static constexpr int kMost = int((kArgumentBytes - 64) / 24);
  double* partial;  // one for each block
  char* out;        // one number for each tensor
  Chunks<kMost> chunks;
  uint32_t types[kMost];  // and kWide
  int64_t sizes[kMost];
  const char* data[kMost];
};
static_assert(sizeof(NormArgs) <= kArgumentBytes);
constexpr int kFinishThreads = 128;

/// A block's share in the compute type, then in double: a thread adds 32 elements.
template <class F, class S>
__global__ void __launch_bounds__(kMultiThreads) norm_kernel(const __grid_constant__ NormArgs a) {
  constexpr int W = kFew<S>;
  constexpr F f;
  const Piece piece = piece_of_block(a.chunks, a.sizes, kMultiChunk);
  const DType type = DType(a.types[piece.k] & 15u);
  const char* const p = a.data[piece.k];
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
  double all = double(sum[0]);
  GS_UNROLL
  for (int e = 1; e < W; ++e) all = f.combine(all, double(sum[e]));
  const auto combine = [] GS_LAMBDA(double x, double y) { return F{}.combine(x, y); };
  all = block_reduce(all, combine, F::template init<double>());
  if (threadIdx.x == 0) a.partial[blockIdx.x] = all;
}

/// A block for each tensor.
template <class F, class S>
__global__ void __launch_bounds__(kFinishThreads)
    norm_finish_kernel(const __grid_constant__ NormArgs a) {
  constexpr F f;
  const uint32_t begin = a.chunks.first[blockIdx.x], end = a.chunks.first[blockIdx.x + 1];
  double all = F::template init<double>();
  for (uint32_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    all = f.combine(all, a.partial[i]);
  }
  const auto combine = [] GS_LAMBDA(double x, double y) { return F{}.combine(x, y); };
  all = block_reduce(all, combine, F::template init<double>());
  if (threadIdx.x == 0) reinterpret_cast<S*>(a.out)[blockIdx.x] = S(f.finish(all, 1));
}

template <class F, class S>
void run_norm(const Call& call) {
  Copies copies;
  NormArgs a;
  a.out = call.out(0).data;
  const auto flush = [&] {
    const DeviceScratch<double> partial(a.chunks.blocks(), call);
    a.partial = partial.data();
    launch_grid(call, &norm_kernel<F, S>, a.chunks.blocks(), kMultiThreads, a);
    launch_grid(call, &norm_finish_kernel<F, S>, unsigned(a.chunks.count), kFinishThreads, a);
    a.out += int64_t(sizeof(S)) * a.chunks.count;
    a.chunks.count = 0;
  };
  for (int i = 0; i < call.n_in; ++i) {
    if (a.chunks.full()) flush();
    TensorImpl* t = call.maybe_in(i);
    same_layout(&t, 1, 0, copies);
    const int k = a.chunks.count;
    a.data[k] = t->data;
    a.types[k] = uint32_t(t->dtype) | (aligned_few(t->data, t->dtype) ? kWide : 0);
    a.sizes[k] = t->numel;
    a.chunks.add(chunk_count(t->numel, kMultiChunk));
  }
  flush();
}

template <class S>
void norm_of_type(const Call& call) {
  const double order = call.f(0);
  if (order == 2)
    run_norm<RootSumSquares, S>(call);
  else if (order == 1)
    run_norm<AbsSum, S>(call);
  else
    run_norm<AbsMax, S>(call);
}

/// params: the order, 1, 2 or infinity. Output: one number of the compute type for each input.
void norm(const Call& call) {
  const DeviceGuard guard(call.operands[0]->device.index);
  if (call.compute == Compute::F64)
    norm_of_type<double>(call);
  else
    norm_of_type<float>(call);
}

GS_CUDA_KERNEL("multi_zero", zero);
GS_CUDA_KERNEL("multi_norm", norm);

// ---- updates ----

template <class S>
using SgdFirst = SgdMomentumUpdate<S, true>;
template <class S>
using SgdNext = SgdMomentumUpdate<S, false>;

const bool registered = [] {
  register_update<SgdUpdate>("multi_sgd");
  register_update<SgdFirst>("multi_sgd_first");
  register_update<SgdNext>("multi_sgd_momentum");
  register_update<ScaleInPlace>("multi_scale");
  register_update<AddScaled>("multi_add_scaled");
  register_update<LerpInPlace>("multi_lerp");
  return true;
}();

}  // namespace

}  // namespace gradstep::cuda
