// SPDX-License-Identifier: Apache-2.0
// Linear layers and their activations in as few passes over memory as there can be. See Note
// [Passes of a linear layer] in cpp/ops/linear.cpp. Where cuBLASLt has no kernel that does two
// things at once, they are done one after the other.
#include <algorithm>

#include "cuda/block.h"
#include "cuda/gemm.h"
#include "cuda/values.h"
#include "fn/activation.h"

namespace gradstep::cuda {

namespace {

/// out = op(in)
void run_other(const char* op, TensorImpl& out, TensorImpl& in, const Params& params = Params()) {
  TensorImpl* const operands[] = {&out, &in};
  run_here({&Op::get(op), compute_type(out.dtype), 1, 1, operands, params});
}

// ---- a product and the sums of a factor ----

/// out 0 = alpha a @ b + beta out 0; out 1: the sums of a's rows (params 2 = 0) or of b's columns.
void matmul_sums(const Call& call) {
  const bool of_a = call.i(2) == 0;
  Product p = product_of(call);
  p.fused = of_a ? Fused::SumA : Fused::SumB;
  p.sums = call.out(1).data;
  // cuBLASLt has fewer kernels that also sum. For halves they are those that training libraries
  // rely on; large products of float keep the best kernel there is, small ones save a launch.
  const bool small = p.m * p.n < (int64_t(1) << 27) / std::max<int64_t>(p.k, 1);
  if ((is_half(p.type) || small) && multiply_fused(call, p)) return;
  p.fused = Fused::None;
  p.sums = nullptr;
  multiply(call, p);
  Params axis;
  axis.push(int64_t(of_a ? 2 : 1));  // a mask
  run_other("sum", call.out(1), call.in(of_a ? 0 : 1), axis);
}
GS_CUDA_KERNEL("matmul_sums", matmul_sums);

// ---- a product and an activation ----

/// out 0 = activation(alpha a @ b + bias); params 2: 0 relu, 1 gelu's tanh form, for which out 1
/// gets what it is applied to.
void linear_activation(const Call& call) {
  const bool gelu = call.i(2) == 1, keeps = call.n_out == 2;
  Product p = product_of(call);
  if (call.n_in == 3) set_bias(p, call.in(2));
  p.fused = !gelu ? Fused::Relu : keeps ? Fused::GeluKeep : Fused::Gelu;
  if (keeps) p.aux = call.out(1).data;
  if (multiply_fused(call, p)) return;
  TensorImpl& before = call.out(keeps ? 1 : 0);
  p.fused = Fused::None;
  p.aux = nullptr;
  p.c = before.data;
  multiply(call, p);
  run_other(gelu ? "gelu_tanh" : "relu", call.out(0), before);
}
GS_CUDA_KERNEL("linear_activation", linear_activation);

/// out = (a @ b) * gelu'(z), the tanh form. Inputs a, b, z.
void product_gelu_grad(const Call& call) {
  Product p = product_of(call);
  p.fused = Fused::GeluGrad;
  p.aux = call.in(2).data;
  if (multiply_fused(call, p)) return;
  p.fused = Fused::None;
  p.aux = nullptr;
  multiply(call, p);
  TensorImpl* const operands[] = {call.operands[0], call.operands[0], call.operands[3]};
  run_here({&Op::get("gelu_tanh_grad0"), compute_type(p.type), 1, 2, operands, Params()});
}
GS_CUDA_KERNEL("product_gelu_grad", product_gelu_grad);

// ---- an activation's gradient and its sums ----

// A thread has W neighbouring columns, a warp 32 W of them: 16 bytes of float, 8 of halves an
// access. The block's 8 warps take every 8th row of their piece, and add their sums up at the end.
constexpr int kWarps = 8;
constexpr int kBlocks = 4;  // that a multiprocessor runs at once: 64 registers a thread

struct SumArgs {
  const char *dy, *saved;
  char *dx, *sums;
  DType type;
  int64_t rows, cols, depth;  // depth: rows of a piece
  void* partial;              // pieces x cols; null where there is one piece
};

template <class F, class C, int W>
__global__ void __launch_bounds__(kWarps * 32, kBlocks)
    activation_grad_kernel(const __grid_constant__ SumArgs a) {
  __shared__ C shared[kWarps][32 * W];
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int64_t col = (int64_t(blockIdx.x) * 32 + lane) * W;
  const int64_t begin = int64_t(blockIdx.y) * a.depth,
                end = begin + a.depth < a.rows ? begin + a.depth : a.rows;
  C sum[W] = {};
  if (col < a.cols) {
    constexpr int kAhead = 2;  // rows in flight: more take the registers of other blocks
    for (int64_t first = begin + warp; first < end; first += kAhead * kWarps) {
      Few<C, W> dy[kAhead] = {}, saved[kAhead] = {};
      GS_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const int64_t row = first + u * kWarps;
        if (row >= end) continue;
        dy[u] = load_few<W, C>(a.dy, a.type, row * a.cols + col);
        saved[u] = load_few<W, C>(a.saved, a.type, row * a.cols + col);
      }
      GS_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const int64_t row = first + u * kWarps;
        if (row >= end) continue;
        GS_UNROLL
        for (int e = 0; e < W; ++e) {
          dy[u].v[e] = F{}.grad(dy[u].v[e], saved[u].v[e]);
          sum[e] += dy[u].v[e];
        }
        store_few<W, C>(a.dx, a.type, row * a.cols + col, dy[u]);
      }
    }
  }
  GS_UNROLL
  for (int e = 0; e < W; ++e) shared[warp][lane * W + e] = sum[e];
  __syncthreads();
  for (int at = int(threadIdx.x); at < 32 * W; at += kWarps * 32) {
    const int64_t j = int64_t(blockIdx.x) * 32 * W + at;
    if (j >= a.cols) continue;
    C total = C(0);
    for (int w = 0; w < kWarps; ++w) total += shared[w][at];
    if (a.partial)
      static_cast<C*>(a.partial)[blockIdx.y * a.cols + j] = total;
    else
      store_as<C>(a.sums, a.type, j, total);
  }
}

/// Adds the pieces up, in their order: a warp's lanes are neighbouring columns, its block's warps
/// take every 8th piece.
template <class C>
__global__ void __launch_bounds__(kWarps * 32)
    add_pieces_kernel(const __grid_constant__ SumArgs a, int pieces) {
  __shared__ C shared[kWarps][32];
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int64_t j = int64_t(blockIdx.x) * 32 + lane;
  C sum = C(0);
  if (j < a.cols) {
    for (int p = warp; p < pieces; p += kWarps) {
      sum += static_cast<const C*>(a.partial)[p * a.cols + j];
    }
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || j >= a.cols) return;
  for (int w = 1; w < kWarps; ++w) sum += shared[w][lane];
  store_as<C>(a.sums, a.type, j, sum);
}

template <class F, class C, int W>
void activation_grad(const Call& call, SumArgs a) {
  const int64_t across = (a.cols + 32 * W - 1) / (32 * W);
  // Not more blocks than four waves, whose last one is then nearly full. A piece has 64 rows or
  // more: partial sums stay far below what is read.
  const int64_t full = int64_t(multiprocessors(call.out(0).device.index)) * kBlocks * 4;
  const int64_t pieces = std::clamp<int64_t>(full / across, 1, std::max<int64_t>(a.rows / 64, 1));
  a.depth = (a.rows + pieces - 1) / pieces;
  const DeviceScratch<C> partial(pieces > 1 ? pieces * a.cols : 0, call);
  a.partial = partial.data();
  launch_grid(call, &activation_grad_kernel<F, C, W>, dim3(unsigned(across), unsigned(pieces)),
              kWarps * 32, a);
  if (pieces > 1) {
    launch_grid(call, &add_pieces_kernel<C>, unsigned((a.cols + 31) / 32), kWarps * 32, a,
                int(pieces));
  }
}

template <class F>
void activation_grad(const Call& call, const SumArgs& a) {
  by_compute(compute_type(a.type), [&](auto tag) {
    using C = decltype(tag);
    if constexpr (!std::is_same_v<C, int64_t>) {
      constexpr int W = kFew<C>;
      const bool few = a.cols % W == 0 && aligned_few(a.dy, a.type) &&
                       aligned_few(a.saved, a.type) && aligned_few(a.dx, a.type);
      few ? activation_grad<F, C, W>(call, a) : activation_grad<F, C, 1>(call, a);
    }
  });
}

/// out 0 = dy * activation'(saved), out 1: its sums over the rows. Inputs dy, saved: matrices, the
/// activation's result for relu, else its argument. params 0: 0 relu, 1 gelu, 2 its tanh form.
void activation_grad_sums(const Call& call) {
  const TensorImpl& dx = call.out(0);
  const DeviceGuard guard(dx.device.index);
  const SumArgs a{.dy = call.in(0).data,
                  .saved = call.in(1).data,
                  .dx = dx.data,
                  .sums = call.out(1).data,
                  .type = dx.dtype,
                  .rows = dx.sizes[0],
                  .cols = dx.sizes[1],
                  .depth = 0,
                  .partial = nullptr};
  switch (call.i(0)) {
    case 0: return activation_grad<Relu>(call, a);
    case 1: return activation_grad<Gelu>(call, a);
    default: return activation_grad<GeluTanh>(call, a);
  }
}
GS_CUDA_KERNEL("activation_grad_sums", activation_grad_sums);

}  // namespace

}  // namespace gradstep::cuda
