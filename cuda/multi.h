// SPDX-License-Identifier: Apache-2.0
// The multi skeleton on a GPU: one launch for a list of tensors of any sizes. Every tensor is cut
// into chunks of one block each; sizes, types and pointers come by value in the kernel's arguments.
// register_updates<AdamUpdate>("..") makes the kernels of a functor of fn/optim.h.
// See Note [Room in the arguments] and Note [Counters on the device].
#pragma once
#include <utility>
#include <vector>

#include "cuda/block.h"
#include "cuda/graph.h"
#include "cuda/values.h"
#include "fn/optim.h"

namespace gradstep::cuda {

constexpr int kMultiThreads = 512;
// Eight turns of 16 bytes a thread: 124 million elements are 14 waves of blocks on an H100, so the
// last one costs little, and a block is long against its start.
constexpr int64_t kMultiChunk = 16384;

// Note [Room in the arguments]
// Every device and driver takes 4 KB of arguments; compiled since CUDA 12.1 and with drivers from
// R530 on it is 32764 bytes. A kernel's arguments have one size, so each is compiled for both: the
// small one for short lists, whose launch then copies less and which run with any driver, the large
// one for what does not fit there: 500 tensors of Adam. Longer lists take several launches.
constexpr size_t kFewArguments = 4096;
#if !defined(CUDART_VERSION) || CUDART_VERSION >= 12010
constexpr size_t kManyArguments = 32764;
#else
constexpr size_t kManyArguments = kFewArguments;
#endif
/// Whether this machine's driver takes kManyArguments.
bool takes_many_arguments();

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
  GS_FN unsigned blocks() const { return first[count]; }
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

/// Elements [from, from + n) of tensor k.
struct Piece {
  int k;
  int64_t from, n;
};
template <int kMost>
GS_DEVICE Piece piece_of(const Chunks<kMost>& chunks, const int64_t* sizes, int64_t chunk,
                         uint32_t at) {
  const int k = chunks.find(at);
  const int64_t from = int64_t(at - chunks.first[k]) * chunk, rest = sizes[k] - from;
  return {k, from, rest < chunk ? rest : chunk};
}

// ---- updates ----

// Note [Counters on the device]
// What a rule computes from its step count must be right in a captured replay, too, so counters and
// a learning rate in a tensor are read on the device: the first thread of each block makes its
// parameter's rule with F::make, some powers of doubles, which other blocks' memory traffic hides.
// A counter may only be advanced when all blocks have read it. Each block takes a ticket after its
// read, and the block with the last one advances all counters of the launch and puts the tickets
// back. Rules without counters whose numbers the host knows come in the arguments. Counters that
// lie on the CPU (PyTorch's default; ours are made beside the parameter) go by value and are
// advanced by the host.

constexpr int kExtras = 3;  // Note [Operands of a multi call] in kernels/multi.cpp

constexpr uint32_t kWide = 1u << 31;  // all tensors may be read 16 bytes at a time
constexpr uint8_t kByValue = 0x80;

template <class F, size_t kBytes>
struct UpdateArgs {
  static constexpr int kTensors = F::kTensors, kCounters = F::kCounters;
  static constexpr int kSpots = kCounters ? kCounters : 1;
  static constexpr size_t kEach = 8 * size_t(kTensors) + 9 * size_t(kCounters) + 8 + 4 + 4;
  static constexpr int kMost = int((kBytes - 256 - sizeof(F)) / kEach);
  union Counter {
    char* in_memory;
    double value;
  };

  double h[Params::kSlots];
  const double* live;  // in a captured program: the same numbers, of this replay
  F rule;              // valid if the host knows it
  bool known;          // .. and this says so
  uint8_t n_live;
  DType lr_type;
  const char* lr;           // null: h[0] holds
  const float* grad_scale;  // null: 1
  const float* found_inf;   // null: 0
  uint32_t* tickets;        // null: no counter in memory
  Chunks<kMost> chunks;
  uint32_t types[kMost];  // four bits for each tensor; kWide
  int64_t sizes[kMost];
  char* data[kMost][kTensors];
  Counter counters[kCounters ? kMost : 1][kSpots];
  uint8_t counter_types[kCounters ? kMost : 1][kSpots];  // and kByValue
};

/// The rule of tensor k, and with `advance` its counters afterwards.
template <class F, size_t kBytes>
GS_DEVICE F make_rule(const UpdateArgs<F, kBytes>& a, int k, bool advance) {
  double h[Params::kSlots];
  GS_UNROLL
  for (int i = 0; i < Params::kSlots; ++i) h[i] = a.h[i];
  for (int i = 0; a.live && i < a.n_live; ++i) h[i] = a.live[i];
  if (a.lr) h[0] = load_as<double>(a.lr, a.lr_type, 0);
  double c[3] = {};
  bool single = true;
  GS_UNROLL
  for (int i = 0; i < F::kCounters; ++i) {
    const uint8_t type = a.counter_types[k][i];
    if (i == 0) single = DType(type & ~kByValue) != DType::Float64;
    c[i] = type & kByValue ? a.counters[k][i].value
                           : load_as<double>(a.counters[k][i].in_memory, DType(type), 0);
  }
  const F rule = F::make(h, c, single);
  GS_UNROLL
  for (int i = 0; i < F::kCounters; ++i) {
    const uint8_t type = a.counter_types[k][i];
    if (advance && !(type & kByValue)) {
      store_as<double>(a.counters[k][i].in_memory, DType(type), 0, c[i]);
    }
  }
  return rule;
}

/// The rule of this block's tensor, for all of its threads.
template <class F, size_t kBytes>
GS_DEVICE F rule_of_block(const UpdateArgs<F, kBytes>& a, int k) {
  if (a.known) return a.rule;
  __shared__ F made;
  __shared__ bool last;
  if (threadIdx.x == 0) {
    made = make_rule(a, k, false);
    last = false;
    if (a.tickets) {
      __threadfence();
      last = atomicAdd(a.tickets, 1u) == gridDim.x - 1;
      if (last) *a.tickets = 0;
    }
  }
  __syncthreads();
  if (last) {
    for (int i = int(threadIdx.x); i < a.chunks.count; i += int(blockDim.x)) {
      (void)make_rule(a, i, true);
    }
  }
  return made;
}

template <class F, class S, class Args, int... J>
GS_DEVICE void update_piece(const Args& a, const Piece& piece, const F& rule, const float* scale,
                            std::integer_sequence<int, J...>) {
  constexpr int W = kFew<S>;
  constexpr int kGrad = F::kTensors > 1 ? 1 : 0;
  const uint32_t types = a.types[piece.k];
  char* const p[] = {a.data[piece.k][J]...};
  const DType t[] = {DType(types >> (4 * J) & 15u)...};
  const bool scaled = F::kTensors > 1 && scale;
  const S divisor = scaled ? S(*scale) : S(1);
  const int64_t whole = types & kWide ? piece.n / W * W : 0;
  for (int64_t i = int64_t(threadIdx.x) * W; i < whole; i += int64_t(blockDim.x) * W) {
    const int64_t at = piece.from + i;
    Few<S, W> v[] = {load_few<W, S>(p[J], t[J], at)...};
    if (scaled) {
      GS_UNROLL
      for (int e = 0; e < W; ++e) v[kGrad].v[e] = v[kGrad].v[e] / divisor;
      store_few<W, S>(p[kGrad], t[kGrad], at, v[kGrad]);
    }
    GS_UNROLL
    for (int e = 0; e < W; ++e) rule(v[J].v[e]...);
    ((F::kWrites >> J & 1 ? store_few<W, S>(p[J], t[J], at, v[J]) : void()), ...);
  }
  for (int64_t i = whole + threadIdx.x; i < piece.n; i += blockDim.x) {
    const int64_t at = piece.from + i;
    S v[] = {load_as<S>(p[J], t[J], at)...};
    if (scaled) {
      v[kGrad] = v[kGrad] / divisor;
      store_as<S>(p[kGrad], t[kGrad], at, v[kGrad]);
    }
    rule(v[J]...);
    ((F::kWrites >> J & 1 ? store_as<S>(p[J], t[J], at, v[J]) : void()), ...);
  }
}

template <class F, class S, size_t kBytes>
__global__ void __launch_bounds__(kMultiThreads)
    update_kernel(const __grid_constant__ UpdateArgs<F, kBytes> a) {
  if (a.found_inf && *a.found_inf != 0) return;
  const Piece piece = piece_of(a.chunks, a.sizes, kMultiChunk, blockIdx.x);
  const F rule = rule_of_block(a, piece.k);
  update_piece<F, S>(a, piece, rule, a.grad_scale, std::make_integer_sequence<int, F::kTensors>{});
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

/// A number that is 0 whenever no kernel of the call's stream runs. See Note [Counters on the
/// device].
class Tickets {
 public:
  explicit Tickets(const Call& call, bool wanted);
  ~Tickets();
  Tickets(const Tickets&) = delete;
  Tickets& operator=(const Tickets&) = delete;
  uint32_t* data() const { return p_; }

 private:
  uint32_t* p_ = nullptr;
  int device_ = -1;  // where it must be freed
};

/// Puts a tensor's parts into slot k of a list.
template <class Args>
void add_tensors(Args& a, TensorImpl* const* t) {
  constexpr int kTensors = int(std::extent_v<decltype(a.data), 1>);
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

/// Notes the counters of a parameter in slot k; those on the CPU are advanced at once.
template <class F, size_t kBytes>
void add_counters(UpdateArgs<F, kBytes>& a, int k, TensorImpl* const* counters,
                  const TensorImpl* lr) {
  double c[3] = {};
  for (int i = 0; i < F::kCounters; ++i) {
    const TensorImpl& t = *counters[i];
    a.counter_types[k][i] = uint8_t(t.dtype);
    a.counters[k][i].in_memory = t.data;
    if (t.device.type == DeviceType::CPU) {
      a.counter_types[k][i] |= kByValue;
      c[i] = a.counters[k][i].value = host_number(t);
    }
  }
  if (!(a.counter_types[k][0] & kByValue)) return;
  double h[Params::kSlots];
  for (int i = 0; i < Params::kSlots; ++i) h[i] = a.h[i];
  if (lr) h[0] = host_number(*lr);
  (void)F::make(h, c, counters[0]->dtype != DType::Float64);
  for (int i = 0; i < F::kCounters; ++i) set_host_number(*counters[i], c[i]);
}

template <class F, class S, size_t kBytes>
void run_update(const Call& call) {
  constexpr int kTensors = F::kTensors, kCounters = F::kCounters, kWidth = kTensors + kCounters;
  using Args = UpdateArgs<F, kBytes>;
  static_assert(sizeof(Args) <= kBytes);
  const DeviceGuard guard(call.operands[0]->device.index);
  const int n_tensors = call.n_in - kExtras, n_params = n_tensors / kWidth;
  const TensorImpl* lr = call.maybe_in(n_tensors);
  const TensorImpl* const grad_scale = call.maybe_in(n_tensors + 1);
  const TensorImpl* const found_inf = call.maybe_in(n_tensors + 2);
  const auto counters_of = [&](int i) {
    return call.operands + call.n_out + int64_t(i) * kWidth + kTensors;
  };
  bool in_memory = false, on_host = false;
  for (int i = 0; i < n_params && kCounters > 0; ++i) {
    (counters_of(i)[0]->device.type == DeviceType::CPU ? on_host : in_memory) = true;
  }
  // Counters on the host are advanced here, so here it must be known whether there is a step.
  if (found_inf && on_host && host_number(*found_inf) != 0) return;

  Args a;
  for (int i = 0; i < Params::kSlots; ++i) a.h[i] = i < call.params.count ? call.f(i) : 0;
  if (lr && lr->device.type == DeviceType::CPU) {
    a.h[0] = host_number(*lr);
    lr = nullptr;
  }
  a.lr = lr ? lr->data : nullptr;
  a.lr_type = lr ? lr->dtype : DType::Float32;
  a.live = live_numbers();
  a.n_live = call.params.count;
  a.known = kCounters == 0 && !lr && !a.live;
  if constexpr (kCounters == 0) a.rule = F::make(a.h, nullptr, true);
  a.grad_scale = grad_scale ? reinterpret_cast<const float*>(grad_scale->data) : nullptr;
  a.found_inf = found_inf ? reinterpret_cast<const float*>(found_inf->data) : nullptr;
  const Tickets tickets(call, in_memory);
  a.tickets = tickets.data();

  Copies copies;
  const unsigned writes = F::kWrites | (grad_scale && kTensors > 1 ? 2u : 0u);
  const auto flush = [&] {
    // Parameters without elements have counters, too.
    const unsigned blocks = a.chunks.blocks();
    launch_grid(call, &update_kernel<F, S, kBytes>, blocks ? blocks : unsigned(in_memory),
                kMultiThreads, a);
    a.chunks.count = 0;
  };
  for (int i = 0; i < n_params; ++i) {
    if (a.chunks.full()) flush();
    TensorImpl* t[kTensors];
    for (int j = 0; j < kTensors; ++j) t[j] = counters_of(i)[j - kTensors];
    same_layout(t, kTensors, writes, copies);
    if constexpr (kCounters > 0) add_counters(a, a.chunks.count, counters_of(i), lr);
    add_tensors(a, t);
  }
  if (n_params > 0) flush();
  copies.finish();
}

template <class F, class S>
void run_update_of(const Call& call) {
  const int64_t n = (call.n_in - kExtras) / (F::kTensors + F::kCounters);
  if (n > UpdateArgs<F, kFewArguments>::kMost && takes_many_arguments())
    run_update<F, S, kManyArguments>(call);
  else
    run_update<F, S, kFewArguments>(call);
}

template <template <class> class F>
void update(const Call& call) {
  if (call.compute == Compute::F64)
    run_update_of<F<double>, double>(call);
  else
    run_update_of<F<float>, float>(call);
}

template <template <class> class F>
void register_update(const char* op) {
  const CudaKernel registration(op, &update<F>);
}

}  // namespace gradstep::cuda
