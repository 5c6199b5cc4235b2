// SPDX-License-Identifier: Apache-2.0
// launch_grid(call, kernel, blocks, threads, args...) runs a kernel on the current stream of the
// call's device and says which op failed if it can't; with shared memory:
//   launch_shared(call, kernel, blocks, threads, bytes, args...)   // GS_DYNAMIC_SHARED(float,
//   name) in the kernel
// Also what kernels use: reporting of bad indices.
#pragma once
#include "cuda/runtime.h"
#include "fn/config.h"

#ifdef GS_CUDA_SHIM
#define GS_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::shim::dynamic_shared())
#define GS_DEVICE inline
#define GS_NOINLINE inline __attribute__((noinline))
#define GS_UNROLL
#else
// One symbol for all types: nvcc refuses different types of one name.
#define GS_DYNAMIC_SHARED(T, name)                           \
  extern __shared__ __align__(16) unsigned char gs_shared[]; \
  T* const name = reinterpret_cast<T*>(gs_shared)
#define GS_DEVICE __device__ __forceinline__
#define GS_NOINLINE __device__ __noinline__
#define GS_UNROLL _Pragma("unroll")
#endif

namespace gradstep::cuda {

/// After a launch: what it left in the runtime's error state; with the sync flag, what the kernel
/// did.
void after_launch(const Call& call);

template <class... P, class... A>
void launch_shared(const Call& call, void (*kernel)(P...), dim3 blocks, dim3 threads, size_t shared,
                   A... args) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
#ifdef GS_CUDA_SHIM
  shim::launch(stream_of(call), blocks, threads, shared, [=] { kernel(args...); });
#else
  if (shared > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)),
          call.op->name);
  }
  kernel<<<blocks, threads, shared, stream_of(call)>>>(args...);
#endif
  after_launch(call);
}

template <class... P, class... A>
void launch_grid(const Call& call, void (*kernel)(P...), dim3 blocks, dim3 threads, A... args) {
  launch_shared(call, kernel, blocks, threads, 0, args...);
}

/// Blocks for n elements of which a thread takes `each` at a time, at most `waves` full devices:
/// kernels loop over the rest (`for (i = first_index(); i < n; i += index_stride())`).
inline unsigned blocks_for(const Call& call, int64_t n, int threads, int each = 1, int waves = 8) {
  const int64_t want = (n + int64_t(threads) * each - 1) / (int64_t(threads) * each);
  const int64_t most = int64_t(multiprocessors(call.operands[0]->device.index)) *
                       (2048 / threads > 0 ? 2048 / threads : 1) * waves;
  return unsigned(want < most ? want : most);
}

GS_DEVICE int64_t first_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
GS_DEVICE int64_t index_stride() { return int64_t(gridDim.x) * blockDim.x; }

/// Notes the first trouble of a device; see Note [Errors in kernels].
GS_DEVICE void report_trouble(Reporter r, Trouble trouble, int64_t rule, int64_t index, int64_t dim,
                              int64_t size) {
  if (atomicCAS(&r.report->trouble, 0, int32_t(trouble)) == 0) {
    r.report->op = r.op;
    r.report->rule = rule;
    r.report->index = index;
    r.report->dim = dim;
    r.report->size = size;
  }
}

}  // namespace gradstep::cuda
