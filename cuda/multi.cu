// SPDX-License-Identifier: Apache-2.0
// Lists of tensors: zeroing, plain arithmetic, SGD; and what all lists share on the host.
#include "cuda/multi.h"

#include <mutex>

#include "core/layout.h"
#include "cuda/graph.h"

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

bool takes_many_arguments() {
  static const bool takes = [] {
    int version = 0;
    check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
    return kManyArguments > kFewArguments && version >= 12010;
  }();
  return takes;
}

// Kernels of one stream never overlap, so a stream needs one number, which every kernel leaves at
// 0. A captured graph may run beside its stream: it brings its own.
Tickets::Tickets(const Call& call, bool wanted) {
  if (!wanted) return;
  const int device = call.operands[0]->device.index;
  const cudaStream_t stream = stream_of(call);
  if (is_capturing()) {
    device_ = device;
    p_ = static_cast<uint32_t*>(allocate(sizeof(uint32_t), device));
    check(cudaMemsetAsync(p_, 0, sizeof(uint32_t), stream), call.op->name);
    return;
  }
  struct OfStream {
    int device;
    cudaStream_t stream;
    uint32_t* p;
  };
  static std::mutex mutex;
  static auto* known = new std::vector<OfStream>;  // never freed, as streams are
  const std::lock_guard lock(mutex);
  for (const OfStream& k : *known) {
    if (k.device == device && k.stream == stream) p_ = k.p;
  }
  if (p_) return;
  void* made = nullptr;
  check(cudaMalloc(&made, sizeof(uint32_t)), call.op->name);
  check(cudaMemsetAsync(made, 0, sizeof(uint32_t), stream), call.op->name);
  p_ = static_cast<uint32_t*>(made);
  known->push_back({device, stream, p_});
}

Tickets::~Tickets() {
  if (device_ >= 0) deallocate(p_, sizeof(uint32_t), device_);
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
  static constexpr int kMost = int((kFewArguments - 64) / 20);
  Chunks<kMost> chunks;
  int64_t sizes[kMost];  // in bytes
  char* data[kMost];
};
static_assert(sizeof(ZeroArgs) <= kFewArguments);
constexpr int64_t kZeroChunk = 8 * 16 * kMultiThreads;  // bytes

__global__ void __launch_bounds__(kMultiThreads) zero_kernel(const __grid_constant__ ZeroArgs a) {
  const Piece piece = piece_of(a.chunks, a.sizes, kZeroChunk, blockIdx.x);
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

GS_CUDA_KERNEL("multi_zero", zero);

// ---- updates ----

template <class S>
using SgdFirst = SgdMomentumUpdate<S, true>;
template <class S>
using SgdNext = SgdMomentumUpdate<S, false>;

const bool registered = [] {
  register_update<SgdUpdate>("multi_sgd");
  register_update<SgdFirst>("multi_sgd_first");
  register_update<SgdNext>("multi_sgd_momentum");
  register_update<ScaleToNorm>("multi_scale_to_norm");
  register_update<ClampInPlace>("multi_clamp");
  register_update<AddScaled>("multi_add_scaled");
  register_update<LerpInPlace>("multi_lerp");
  return true;
}();

}  // namespace

}  // namespace gradstep::cuda
