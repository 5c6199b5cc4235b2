// SPDX-License-Identifier: Apache-2.0
// The matmul call, and the matrix product of our own: for integers, for operands that cuBLASLt
// doesn't take, and for machines without it.
#include "cuda/gemm.h"

#include "cuda/values.h"

namespace gradstep::cuda {

namespace {

// A block makes 64 x 64 elements of C from panels of 16 columns of A and 16 rows of B in shared
// memory; a thread 4 x 4 of them in registers, so that a step of two 16-byte reads feeds 16
// multiplications.
constexpr int kTile = 64, kDepth = 16, kThreads = 256, kMine = 4;
constexpr int kPitch = kTile + 4;  // keeps 16-byte alignment, spreads a column over the banks

struct GemmArgs {
  Product p;
  int64_t tiles_n;
  int64_t depth;  // columns of A for one block: splits of k fill a GPU when C is small
  void* partial;  // sums of the splits in the compute type; null: there is one split
};

/// alpha * sum + bias + beta * C.
template <class C>
GS_DEVICE void finish(const Product& p, int64_t entry, int64_t i, int64_t j, C sum) {
  char* const out = static_cast<char*>(p.c);
  const int64_t at = entry * p.c_batch + i * p.c_row + j;
  C v = C(p.alpha) * sum;
  if (p.bias) v += load_as<C>(static_cast<const char*>(p.bias), p.type, j * p.bias_step);
  if (p.beta != 0) v += C(p.beta) * load_as<C>(out, p.type, at);
  store_as<C>(out, p.type, at, v);
}

/// Rows [i0, i0 + kTile) and columns [l0, l0 + kDepth) of a factor, transposed, zeros beyond it.
/// Neighbouring threads read along the contiguous axis.
template <class C>
GS_DEVICE void load_panel(C (&to)[kDepth][kPitch], const char* data, DType type, int64_t row,
                          int64_t col, int64_t i0, int64_t rows, int64_t l0, int64_t l_end) {
  const int t = int(threadIdx.x);
  GS_UNROLL
  for (int e = 0; e < kTile * kDepth / kThreads; ++e) {
    const int at = t + e * kThreads;
    const int i = col == 1 ? at / kDepth : at % kTile, l = col == 1 ? at % kDepth : at / kTile;
    const bool inside = i0 + i < rows && l0 + l < l_end;
    to[l][i] = inside ? load_as<C>(data, type, (i0 + i) * row + (l0 + l) * col) : C(0);
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads) gemm_kernel(const __grid_constant__ GemmArgs g) {
  __align__(16) __shared__ C a[kDepth][kPitch];
  __align__(16) __shared__ C b[kDepth][kPitch];
  const Product& p = g.p;
  const int64_t i0 = blockIdx.x / g.tiles_n * kTile, j0 = blockIdx.x % g.tiles_n * kTile;
  const int ti = int(threadIdx.x) / 16 * kMine, tj = int(threadIdx.x) % 16 * kMine;
  const int64_t begin = int64_t(blockIdx.z) * g.depth,
                end = begin + g.depth < p.k ? begin + g.depth : p.k;
  for (int64_t entry = blockIdx.y; entry < p.batch; entry += gridDim.y) {
    const int64_t size = int64_t(element_size(p.type));
    const char* const pa = static_cast<const char*>(p.a.data) + entry * p.a.batch * size;
    const char* const pb = static_cast<const char*>(p.b.data) + entry * p.b.batch * size;
    C sum[kMine][kMine] = {};
    for (int64_t l0 = begin; l0 < end; l0 += kDepth) {
      load_panel<C>(a, pa, p.type, p.a.row, p.a.col, i0, p.m, l0, end);
      load_panel<C>(b, pb, p.type, p.b.col, p.b.row, j0, p.n, l0, end);
      __syncthreads();
      GS_UNROLL
      for (int l = 0; l < kDepth; ++l) {
        C x[kMine], y[kMine];
        GS_UNROLL
        for (int e = 0; e < kMine; ++e) {
          x[e] = a[l][ti + e];
          y[e] = b[l][tj + e];
        }
        GS_UNROLL
        for (int r = 0; r < kMine; ++r) {
          GS_UNROLL
          for (int c = 0; c < kMine; ++c) sum[r][c] += x[r] * y[c];
        }
      }
      __syncthreads();
    }
    GS_UNROLL
    for (int r = 0; r < kMine; ++r) {
      GS_UNROLL
      for (int c = 0; c < kMine; ++c) {
        const int64_t i = i0 + ti + r, j = j0 + tj + c;
        if (i >= p.m || j >= p.n) continue;
        if (g.partial) {
          static_cast<C*>(g.partial)[((blockIdx.z * p.batch + entry) * p.m + i) * p.n + j] =
              sum[r][c];
        } else {
          finish(p, entry, i, j, sum[r][c]);
        }
      }
    }
  }
}

/// Adds the splits up, in their order.
template <class C>
__global__ void add_splits_kernel(const __grid_constant__ GemmArgs g, int splits) {
  const Product& p = g.p;
  const int64_t n = p.batch * p.m * p.n;
  for (int64_t at = first_index(); at < n; at += index_stride()) {
    C sum = C(0);
    for (int s = 0; s < splits; ++s) sum += static_cast<const C*>(g.partial)[s * n + at];
    finish(p, at / (p.m * p.n), at / p.n % p.m, at % p.n, sum);
  }
}

template <class C>
void multiply_own(const Call& call, const Product& p) {
  const int64_t tiles_n = (p.n + kTile - 1) / kTile, tiles = (p.m + kTile - 1) / kTile * tiles_n;
  const int device = call.operands[0]->device.index;
  // Each split has 256 columns of A or more, and the partial sums stay below the operands' size.
  constexpr int64_t kLeastDepth = 256;
  int64_t splits = 1;
  while (tiles * p.batch * splits * 2 <= 2 * multiprocessors(device) &&
         p.k >= 2 * splits * kLeastDepth) {
    splits *= 2;
  }
  const int64_t depth = ((p.k + splits - 1) / splits + kDepth - 1) / kDepth * kDepth;
  const DeviceScratch<C> partial(splits > 1 ? splits * p.batch * p.m * p.n : 0, device);
  const GemmArgs g{p, tiles_n, depth, partial.data()};
  const unsigned entries = unsigned(p.batch < 65535 ? p.batch : 65535);
  launch_grid(call, &gemm_kernel<C>, dim3(unsigned(tiles), entries, unsigned(splits)), kThreads, g);
  if (splits > 1) {
    launch_grid(call, &add_splits_kernel<C>, blocks_for(call, p.batch * p.m * p.n, kThreads),
                kThreads, g, int(splits));
  }
}

Factor factor(const TensorImpl& t) {
  const int n = t.ndim();
  return {t.data, t.strides[n - 2], t.strides[n - 1], n == 3 ? t.strides[0] : 0};
}

void matmul(const Call& call) {
  Product p = product_of(call);
  if (call.n_in == 3) set_bias(p, call.in(2));
  multiply(call, p);
}
GS_CUDA_KERNEL("matmul", matmul);

}  // namespace

Product product_of(const Call& call) {
  const TensorImpl& out = call.out(0);
  const int n = out.ndim();
  return {.type = out.dtype,
          .batch = n == 3 ? out.sizes[0] : 1,
          .m = out.sizes[n - 2],
          .n = out.sizes[n - 1],
          .k = call.in(0).sizes[n - 1],
          .a = factor(call.in(0)),
          .b = factor(call.in(1)),
          .c = out.data,
          .c_row = out.sizes[n - 1],
          .c_batch = out.sizes[n - 2] * out.sizes[n - 1],
          .alpha = call.f(0),
          .beta = call.f(1)};
}

void set_bias(Product& p, const TensorImpl& bias) {
  p.bias = bias.data;
  p.bias_step = bias.ndim() ? bias.strides[0] : 0;
}

bool multiply_fused(const Call& call, const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batch != 1) return false;
  const DeviceGuard guard(call.operands[0]->device.index);
  return multiply_by_library(call, p);
}

void multiply(const Call& call, const Product& p) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  const DeviceGuard guard(call.operands[0]->device.index);
  if (multiply_by_library(call, p)) return;
  by_compute(compute_type(p.type), [&](auto tag) { multiply_own<decltype(tag)>(call, p); });
}

}  // namespace gradstep::cuda
