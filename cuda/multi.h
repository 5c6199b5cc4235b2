// SPDX-License-Identifier: Apache-2.0
// The multi skeleton on a GPU: one launch for a list of tensors of any sizes. Every tensor is cut
// into chunks of one block each; sizes, types and pointers come by value in the kernel's arguments,
// 4 KB of them, so that 161 tensors need two or three launches. register_updates<AdamUpdate>("..")
// makes the kernels of a functor of fn/optim.h. See Note [Counters on the device].
#pragma once
#include <utility>
#include <vector>

#include "cuda/block.h"
#include "cuda/values.h"
#include "fn/optim.h"

namespace gradstep::cuda {

constexpr int kMultiThreads = 512;
// Eight turns of 16 bytes a thread: 124 million elements are 14 waves of blocks on an H100, so the
// last one costs little, and a block is long against its start.
constexpr int64_t kMultiChunk = 16384;
constexpr size_t kArgumentBytes = 4096;  // what every device and driver takes

/// Which block works on which tensor: found by bisection, so the number of chunks has no limit.
template <int kMost>
struct Chunks {
  int32_t count = 0;
  uint32_t first[kMost + 1] = {};  // first[k]: the chunks before tensor k

  bool full() const { return count == kMost; }
  void add(int64_t chunks) {
    first[count + 1] = first[count] + uint32_t(chunks);
    ++count;
  }
  unsigned blocks() const { return first[count]; }
  /// The tensor of a block; those without chunks are never found.
  GS_DEVICE int find(uint32_t block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= block)
        low = middle;
      else
        high = middle;
    }
    return low;
  }
};

inline int64_t chunk_count(int64_t n, int64_t chunk) { return (n + chunk - 1) / chunk; }

/// The chunk of this block: elements [from, from + n) of tensor k.
struct Piece {
  int k;
  int64_t from, n;
};
template <int kMost>
GS_DEVICE Piece piece_of_block(const Chunks<kMost>& chunks, const int64_t* sizes, int64_t chunk) {
  const int k = chunks.find(blockIdx.x);
  const int64_t from = int64_t(blockIdx.x - chunks.first[k]) * chunk, rest = sizes[k] - from;
  return {k, from, rest < chunk ? rest : chunk};
}

// ---- rules ----

// Note [Counters on the device]
// What a rule computes from its step count must be right in a captured replay, too, so counters and
// a learning rate in a tensor are read on the device. A small kernel, a thread for each parameter,
// makes the rules with F::make, writes the counters back and leaves the rules in memory for the
// update, whose blocks would else all compute powers of doubles. Rules without counters whose
// numbers the host knows come in the update's arguments: no such kernel. Counters that lie on the
// CPU (PyTorch's default; ours are made beside the parameter) go by value and are advanced here.

template <class F>
struct RuleArgs {
  static constexpr int kCounters = F::kCounters;
  static constexpr int kMost =
      kCounters == 0 ? 1 : int((kArgumentBytes - 256) / (9 * (kCounters ? kCounters : 1)));
  int32_t n;
  DType lr_type;
  const char* lr;  // null: h[0] holds
  double h[Params::kSlots];
  F* rules;
  union {
    char* in_memory;
    double value;
  } counters[kMost][kCounters ? kCounters : 1];
  uint8_t types[kMost][kCounters ? kCounters : 1];  // and kByValue
};
constexpr uint8_t kByValue = 0x80;

template <class F>
__global__ void rules_kernel(const __grid_constant__ RuleArgs<F> a) {
  const int64_t i = first_index();
  if (i >= a.n) return;
  double h[Params::kSlots];
  GS_UNROLL
  for (int k = 0; k < Params::kSlots; ++k) h[k] = a.h[k];
  if (a.lr) h[0] = load_as<double>(a.lr, a.lr_type, 0);
  double c[3] = {};
  bool single = true;
  GS_UNROLL
  for (int k = 0; k < F::kCounters; ++k) {
    const DType type = DType(a.types[i][k] & ~kByValue);
    if (k == 0) single = type != DType::Float64;
    c[k] = a.types[i][k] & kByValue ? a.counters[i][k].value
                                    : load_as<double>(a.counters[i][k].in_memory, type, 0);
  }
  a.rules[i] = F::make(h, c, single);
  GS_UNROLL
  for (int k = 0; k < F::kCounters; ++k) {
    if (!(a.types[i][k] & kByValue)) {
      store_as<double>(a.counters[i][k].in_memory, DType(a.types[i][k]), 0, c[k]);
    }
  }
}

// ---- updates ----

template <class F>
struct UpdateArgs {
  static constexpr int kTensors = F::kTensors;
  static constexpr int kMost =
      int((kArgumentBytes - 64 - sizeof(F)) / (8 * size_t(kTensors) + 8 + 4 + 4));
  const F* rules;  // null: `rule` is everybody's
  F rule;
  bool one_rule;  // rules[0] is everybody's
  Chunks<kMost> chunks;
  uint32_t types[kMost];  // four bits for each tensor; kWide
  int64_t sizes[kMost];
  char* data[kMost][kTensors];
};
constexpr uint32_t kWide = 1u << 31;  // all tensors may be read 16 bytes at a time

template <class F, class S, int... J>
GS_DEVICE void update_piece(const UpdateArgs<F>& a, std::integer_sequence<int, J...>) {
  constexpr int W = kFew<S>;
  const Piece piece = piece_of_block(a.chunks, a.sizes, kMultiChunk);
  const F rule = a.rules ? a.rules[a.one_rule ? 0 : piece.k] : a.rule;
  const uint32_t types = a.types[piece.k];
  char* const p[] = {a.data[piece.k][J]...};
  const DType t[] = {DType(types >> (4 * J) & 15u)...};
  const int64_t whole = types & kWide ? piece.n / W * W : 0;
  for (int64_t i = int64_t(threadIdx.x) * W; i < whole; i += int64_t(blockDim.x) * W) {
    const int64_t at = piece.from + i;
    Few<S, W> v[] = {load_few<W, S>(p[J], t[J], at)...};
    GS_UNROLL
    for (int e = 0; e < W; ++e) rule(v[J].v[e]...);
    ((F::kWrites >> J & 1 ? store_few<W, S>(p[J], t[J], at, v[J]) : void()), ...);
  }
  for (int64_t i = whole + threadIdx.x; i < piece.n; i += blockDim.x) {
    const int64_t at = piece.from + i;
    S v[] = {load_as<S>(p[J], t[J], at)...};
    rule(v[J]...);
    ((F::kWrites >> J & 1 ? store_as<S>(p[J], t[J], at, v[J]) : void()), ...);
  }
}

template <class F, class S>
__global__ void __launch_bounds__(kMultiThreads)
    update_kernel(const __grid_constant__ UpdateArgs<F> a) {
  update_piece<F, S>(a, std::make_integer_sequence<int, F::kTensors>{});
}

/// Tensors that lie otherwise than their parameter: worked on in copies.
class Copies {
 public:
  /// A copy of t with the memory layout of `like`.
  TensorImpl* take(const TensorImpl& like, TensorImpl* t, bool written);
  /// Copies back what was written.
  void finish() const;

 private:
  struct Entry {
    Tensor copy;
    TensorImpl* of;
    bool written;
  };
  std::vector<Entry> entries_;
};
/// Gives all tensors one layout, that of the first or a contiguous one.
void same_layout(TensorImpl** tensors, int n, unsigned writes, Copies& copies);

double host_number(const TensorImpl& t);
void set_host_number(const TensorImpl& t, double value);

/// Makes the rules of parameters [begin, end) in `rules`.
template <class F>
void make_rules(const Call& call, int64_t begin, int64_t end, const TensorImpl* lr, const double* h,
                F* rules) {
  constexpr int kCounters = F::kCounters, kWidth = F::kTensors + kCounters;
  using Args = RuleArgs<F>;
  static_assert(sizeof(Args) <= kArgumentBytes);
  Args a;
  a.lr = lr ? lr->data : nullptr;
  a.lr_type = lr ? lr->dtype : DType::Float32;
  for (int k = 0; k < Params::kSlots; ++k) a.h[k] = h[k];
  if constexpr (kCounters == 0) end = begin + 1;
  for (int64_t from = begin; from < end; from += Args::kMost) {
    a.n = int32_t(end - from < Args::kMost ? end - from : Args::kMost);
    a.rules = rules + (from - begin);
    for (int64_t i = 0; i < a.n && kCounters > 0; ++i) {
      TensorImpl* const* counters = call.operands + call.n_out + (from + i) * kWidth + F::kTensors;
      double c[3] = {};
      for (int k = 0; k < kCounters; ++k) {
        const TensorImpl& t = *counters[k];
        a.types[i][k] = uint8_t(t.dtype);
        if (t.device.type == DeviceType::CUDA) {
          a.counters[i][k].in_memory = t.data;
          continue;
        }
        a.types[i][k] |= kByValue;
        c[k] = a.counters[i][k].value = host_number(t);
      }
      if (!(a.types[i][0] & kByValue)) continue;
      double numbers[Params::kSlots];
      for (int k = 0; k < Params::kSlots; ++k) numbers[k] = h[k];
      if (lr) numbers[0] = host_number(*lr);
      (void)F::make(numbers, c, counters[0]->dtype != DType::Float64);
      for (int k = 0; k < kCounters; ++k) set_host_number(*counters[k], c[k]);
    }
    constexpr int kThreads = 128;
    launch_grid(call, &rules_kernel<F>, unsigned((a.n + kThreads - 1) / kThreads), kThreads, a);
  }
}

template <class F, class S>
void run_update(const Call& call) {
  constexpr int kTensors = F::kTensors, kCounters = F::kCounters, kWidth = kTensors + kCounters;
  using Args = UpdateArgs<F>;
  static_assert(sizeof(Args) <= kArgumentBytes);
  const DeviceGuard guard(call.operands[0]->device.index);
  const int64_t n_params = (call.n_in - 1) / kWidth;
  double h[Params::kSlots] = {};
  for (int i = 0; i < call.params.count; ++i) h[i] = call.f(i);
  const TensorImpl* lr = call.maybe_in(call.n_in - 1);
  if (lr && lr->device.type == DeviceType::CPU) {
    h[0] = host_number(*lr);
    lr = nullptr;
  }
  const bool on_host = kCounters == 0 && !lr;
  const DeviceScratch<F> rules(on_host ? 0 : kCounters == 0 ? 1 : n_params, call);
  Args a;
  a.rules = rules.data();
  a.one_rule = kCounters == 0;
  if (on_host) a.rule = F::make(h, nullptr, true);
  if (!on_host) make_rules<F>(call, 0, n_params, lr, h, rules.data());

  Copies copies;
  const auto flush = [&](int64_t next) {
    launch_grid(call, &update_kernel<F, S>, a.chunks.blocks(), kMultiThreads, a);
    a.chunks.count = 0;
    if (kCounters > 0) a.rules = rules.data() + next;
  };
  for (int64_t i = 0; i < n_params; ++i) {
    if (a.chunks.full()) flush(i);
    TensorImpl* t[kTensors];
    for (int j = 0; j < kTensors; ++j) t[j] = call.operands[call.n_out + i * kWidth + j];
    same_layout(t, kTensors, F::kWrites, copies);
    const int k = a.chunks.count;
    uint32_t types = kWide;
    for (int j = 0; j < kTensors; ++j) {
      a.data[k][j] = t[j]->data;
      types |= uint32_t(t[j]->dtype) << (4 * j);
      if (!aligned_few(t[j]->data, t[j]->dtype)) types &= ~kWide;
    }
    a.types[k] = types;
    a.sizes[k] = t[0]->numel;
    a.chunks.add(chunk_count(t[0]->numel, kMultiChunk));
  }
  flush(n_params);
  copies.finish();
}

template <template <class> class F>
void update(const Call& call) {
  if (call.compute == Compute::F64)
    run_update<F<double>, double>(call);
  else
    run_update<F<float>, float>(call);
}

template <template <class> class F>
void register_update(const char* op) {
  const CudaKernel registration(op, &update<F>);
}

}  // namespace gradstep::cuda
