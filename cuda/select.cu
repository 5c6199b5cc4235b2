// SPDX-License-Identifier: Apache-2.0
// What is found and counted in index tensors and masks: nonzero, statistics, repetitions,
// histograms; the places of a triangle.
#include "cuda/block.h"
#include "cuda/index.h"
#include "cuda/scan.h"
#include "cuda/values.h"

namespace gradstep::cuda {

namespace {

constexpr int kSelectThreads = 256;
using Count = unsigned long long;  // what CUDA adds atomically; sums of integers have no order

// ---- nonzero ----

/// A contiguous tensor's elements as bits.
struct Bits {
  const char* data;
  uint32_t size;  // of an element
  uint64_t mask;  // of the bits that make it differ from 0: not the sign of a float

  GS_DEVICE bool set(int64_t i) const {
    switch (size) {
      case 1: return reinterpret_cast<const uint8_t*>(data)[i] & mask;
      case 2: return reinterpret_cast<const uint16_t*>(data)[i] & mask;
      case 4: return reinterpret_cast<const uint32_t*>(data)[i] & mask;
      default: return reinterpret_cast<const uint64_t*>(data)[i] & mask;
    }
  }
};
Bits bits_of(const TensorImpl& t) {
  const auto size = uint32_t(element_size(t.dtype));
  const uint64_t sign = is_floating(t.dtype) ? uint64_t(1) << (8 * size - 1) : 0;
  return {t.data, size, ~sign};
}

__global__ void __launch_bounds__(kSelectThreads)
    nonzero_count_kernel(Bits x, int64_t n, Count* out) {
  int64_t count = 0;
  for (int64_t i = first_index(); i < n; i += index_stride()) count += x.set(i);
  count = block_sum(count);
  if (threadIdx.x == 0 && count != 0) atomicAdd(out, Count(count));
}

/// out[0] = the number of elements that are not zero; self is contiguous.
void nonzero_count(const Call& call) {
  const TensorImpl& self = call.in(0);
  const DeviceGuard guard(self.device.index);
  auto* out = reinterpret_cast<Count*>(call.out(0).data);
  check(cudaMemsetAsync(out, 0, sizeof(Count), stream_of(call)), call.op->name);
  launch_grid(call, &nonzero_count_kernel, blocks_for(call, self.numel, kSelectThreads, 8),
              kSelectThreads, bits_of(self), self.numel, out);
}

struct NonzeroArgs {
  Bits x;
  int64_t n;
  int64_t* of_tile;  // how many are set: in it, or before it
  int64_t* out;      // null: tiles are counted
  int ndim;
  int64_t sizes[kMaxDims];
};
constexpr int kNonzeroEach = 8;
constexpr int64_t kNonzeroTile = int64_t(kSelectThreads) * kNonzeroEach;

__global__ void __launch_bounds__(kSelectThreads)
    nonzero_kernel(const __grid_constant__ NonzeroArgs a) {
  const int64_t tiles = (a.n + kNonzeroTile - 1) / kNonzeroTile;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t begin = tile * kNonzeroTile + threadIdx.x * kNonzeroEach;
    unsigned set = 0;
    for (int e = 0; e < kNonzeroEach; ++e) {
      if (begin + e < a.n && a.x.set(begin + e)) set |= 1u << e;
    }
    int total;
    const int before = block_scan(__popc(set), AddValues{}, 0, &total);
    if (!a.out) {
      if (threadIdx.x == 0) a.of_tile[tile] = total;
      continue;
    }
    int64_t* to = a.out + (a.of_tile[tile] + before) * a.ndim;
    for (int e = 0; e < kNonzeroEach; ++e) {
      if (!(set >> e & 1)) continue;
      int64_t rest = begin + e;
      for (int d = a.ndim - 1; d > 0; --d) {
        const int64_t q = rest / a.sizes[d];
        to[d] = rest - q * a.sizes[d];
        rest = q;
      }
      if (a.ndim > 0) to[0] = rest;
      to += a.ndim;
    }
  }
}

/// out [n, ndim]: the positions of the elements that are not zero, in row-major order; self is
/// contiguous.
void nonzero(const Call& call) {
  const TensorImpl& self = call.in(0);
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(self.device.index);
  const int64_t tiles = (self.numel + kNonzeroTile - 1) / kNonzeroTile;
  const DeviceScratch<int64_t> of_tile(tiles, call);
  NonzeroArgs a{bits_of(self), self.numel, of_tile.data(), nullptr, self.ndim(), {}};
  for (int d = 0; d < self.ndim(); ++d) a.sizes[d] = self.sizes[d];
  const unsigned blocks = blocks_for(call, tiles * kSelectThreads, kSelectThreads);
  launch_grid(call, &nonzero_kernel, blocks, kSelectThreads, a);
  scan_exclusive(call, of_tile.data(), tiles, AddValues{}, int64_t(0));
  a.out = reinterpret_cast<int64_t*>(call.out(0).data);
  launch_grid(call, &nonzero_kernel, blocks, kSelectThreads, a);
}

// ---- statistics and repetitions ----

struct Statistics {
  long long low, high, sum;
};

__global__ void first_statistics(const int64_t* x, Statistics* out) { *out = {x[0], x[0], 0}; }

__global__ void __launch_bounds__(kSelectThreads)
    statistics_kernel(const int64_t* x, int64_t n, Statistics* out) {
  Statistics s{x[0], x[0], 0};
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    const long long v = x[i];
    s.low = v < s.low ? v : s.low;
    s.high = v > s.high ? v : s.high;
    s.sum = static_cast<long long>(Count(s.sum) + Count(v));
  }
  s = block_reduce(
      s,
      [] GS_LAMBDA(const Statistics& a, const Statistics& b) {
        return Statistics{a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high,
                          static_cast<long long>(Count(a.sum) + Count(b.sum))};
      },
      Statistics{x[0], x[0], 0});
  if (threadIdx.x != 0) return;
  atomicMin(&out->low, s.low);
  atomicMax(&out->high, s.high);
  atomicAdd(reinterpret_cast<Count*>(&out->sum), Count(s.sum));
}

/// out = {smallest, largest, sum} of a contiguous int64 tensor with at least one element.
void index_statistics(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  auto* out = reinterpret_cast<Statistics*>(call.out(0).data);
  const auto* x = reinterpret_cast<const int64_t*>(call.in(0).data);
  const int64_t n = call.in(0).numel;
  launch_grid(call, &first_statistics, 1, 1, x, out);
  launch_grid(call, &statistics_kernel, blocks_for(call, n, kSelectThreads, 8), kSelectThreads, x,
              n, out);
}

/// out[j] = the last i whose repetitions begin at or before j.
__global__ void __launch_bounds__(kSelectThreads)
    repeat_index_kernel(const int64_t* starts, int64_t n, int64_t* out, int64_t n_out) {
  for (int64_t j = first_index(); j < n_out; j += index_stride()) {
    int64_t low = 0, high = n;  // starts[low] <= j < starts[high]
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (starts[middle] <= j)
        low = middle;
      else
        high = middle;
    }
    out[j] = low;
  }
}

/// out = 0 x[0] times, 1 x[1] times, ..
void repeat_interleave_index(const Call& call) {
  const TensorImpl& x = call.in(0);
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const DeviceScratch<int64_t> starts(x.numel, call);
  check(cudaMemcpyAsync(starts.data(), x.data, size_t(x.numel) * sizeof(int64_t),
                        cudaMemcpyDeviceToDevice, stream_of(call)),
        call.op->name);
  scan_exclusive(call, starts.data(), x.numel, AddValues{}, int64_t(0));
  launch_grid(call, &repeat_index_kernel, blocks_for(call, out.numel, kSelectThreads),
              kSelectThreads, starts.data(), x.numel, reinterpret_cast<int64_t*>(out.data),
              out.numel);
}

// ---- counting ----

template <class C>
struct CountArgs {
  const char* x;
  DType dtype;
  int64_t n, bins;
  C low, high;  // floats: equal parts of this range, high itself in the last
  Count* out;
  bool shared;  // a block counts by itself first
};
constexpr int64_t kSharedBins = 8192;  // 32 KiB

template <class C>
GS_DEVICE int64_t bin_of(const CountArgs<C>& a, C v) {
  if constexpr (std::is_same_v<C, int64_t>) {
    return v;
  } else {
    if (!(v >= a.low && v <= a.high)) return -1;
    const C at = (v - a.low) * C(a.bins) / (a.high - a.low);
    // What overflowed counts in the first part, as on the CPU.
    if (!(at < C(9.2e18))) return 0;
    return int64_t(at) < a.bins ? int64_t(at) : a.bins - 1;
  }
}

template <class C>
__global__ void __launch_bounds__(kSelectThreads)
    count_kernel(const __grid_constant__ CountArgs<C> a) {
  GS_DYNAMIC_SHARED(unsigned, own);
  if (a.shared) {
    for (int64_t k = threadIdx.x; k < a.bins; k += kSelectThreads) own[k] = 0;
    __syncthreads();
  }
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    const int64_t at = bin_of(a, load_as<C>(a.x, a.dtype, i));
    if (at < 0 || at >= a.bins) continue;
    if (a.shared)
      atomicAdd(own + at, 1u);
    else
      atomicAdd(a.out + at, Count(1));
  }
  if (!a.shared) return;
  __syncthreads();
  for (int64_t k = threadIdx.x; k < a.bins; k += kSelectThreads) {
    if (own[k] != 0) atomicAdd(a.out + k, Count(own[k]));
  }
}

template <class C>
void count(const Call& call, CountArgs<C> a) {
  if (a.bins == 0) return;
  check(cudaMemsetAsync(a.out, 0, size_t(a.bins) * sizeof(Count), stream_of(call)), call.op->name);
  a.shared = a.bins <= kSharedBins;
  launch_shared(call, &count_kernel<C>, blocks_for(call, a.n, kSelectThreads, 16, 2),
                kSelectThreads, a.shared ? size_t(a.bins) * sizeof(unsigned) : 0, a);
}

/// out[v] = how many of x are v, for int64 x that are known to lie inside.
void bincount(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  count_values(call, reinterpret_cast<const int64_t*>(call.in(0).data), call.in(0).numel,
               reinterpret_cast<int64_t*>(call.out(0).data), call.out(0).numel);
}

/// out[k] = how many of x lie in the k-th of equal parts of [low, high].
void histc(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& x = call.in(0);
  const DeviceGuard guard(out.device.index);
  by_compute(compute_type(x.dtype), [&](auto tag) {
    using C = decltype(tag);
    if constexpr (!std::is_same_v<C, int64_t>) {
      count<C>(call, {x.data, x.dtype, x.numel, out.numel, C(call.f(0)), C(call.f(1)),
                      reinterpret_cast<Count*>(out.data), false});
    }
  });
}

}  // namespace

void count_values(const Call& call, const int64_t* x, int64_t n, int64_t* counts, int64_t bins) {
  count<int64_t>(call, {reinterpret_cast<const char*>(x), DType::Int64, n, bins, 0, 0,
                        reinterpret_cast<Count*>(counts), false});
}

// ---- the places of a triangle ----

namespace {

struct TriangleArgs {
  int64_t rows, cols, reach;  // the last diagonal of the lower triangle
  bool upper;                 // the places above it
  int64_t n;
  char* out;
  DType dtype;

  /// How many places the rows before row r have.
  GS_DEVICE int64_t before(int64_t r) const {
    const int64_t first = clamp(-reach - 1, 0, r);  // up to here rows of the lower triangle are
                                                    // empty, from `full` on whole
    const int64_t full = clamp(cols - reach - 1, first, r), sloped = full - first;
    const int64_t lower = sloped * (2 * (reach + 1) + first + full - 1) / 2 + (r - full) * cols;
    return upper ? r * cols - lower : lower;
  }
  static GS_DEVICE int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
  }
};

__global__ void __launch_bounds__(kSelectThreads)
    triangle_indices_kernel(const __grid_constant__ TriangleArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t low = 0, high = a.rows;  // before(low) <= i < before(high)
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (a.before(middle) <= i)
        low = middle;
      else
        high = middle;
    }
    const int64_t left = a.upper ? TriangleArgs::clamp(low + a.reach + 1, 0, a.cols) : 0;
    store_as<int64_t>(a.out, a.dtype, i, low);
    store_as<int64_t>(a.out, a.dtype, a.n + i, left + i - a.before(low));
  }
}

/// out [2, n] = rows and columns of the places of a triangle, row by row.
void triangle_indices(const Call& call) {
  const TensorImpl& out = call.out(0);
  const DeviceGuard guard(out.device.index);
  const TriangleArgs a{call.i(0),     call.i(1), call.i(2), call.i(3) != 0,
                       out.numel / 2, out.data,  out.dtype};
  launch_grid(call, &triangle_indices_kernel, blocks_for(call, a.n, kSelectThreads), kSelectThreads,
              a);
}

}  // namespace

GS_CUDA_KERNEL("nonzero_count", nonzero_count);
GS_CUDA_KERNEL("nonzero", nonzero);
GS_CUDA_KERNEL("index_statistics", index_statistics);
GS_CUDA_KERNEL("repeat_interleave_index", repeat_interleave_index);
GS_CUDA_KERNEL("bincount", bincount);
GS_CUDA_KERNEL("histc", histc);
GS_CUDA_KERNEL("triangle_indices", triangle_indices);

}  // namespace gradstep::cuda
