// SPDX-License-Identifier: Apache-2.0
// A stand-in for CUDA's header, so that cuda/*.cu compile with a C++ compiler and their kernels run
// on the CPU: a block is emulated by one fiber for each thread, switched at barriers and shuffles
// only. Test-only; what it proves and what not stands in docs/cuda.md. shim.cpp has the scheduler
// and memory.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#define GS_CUDA_SHIM 1
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static  // one block runs at a time
#define __align__(n) alignas(n)
#define __constant__ static
#define __grid_constant__

// ---- built-in types and variables ----

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) double2 {
  double x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace shim {
/// Waits at a barrier of the block, or of the lanes in mask.
void wait_block();
void wait_warp(unsigned mask);
/// This thread's slot for values that its warp exchanges, and those of the other lanes.
uint64_t* lane_slot(int lane);
int lane();
bool lane_exists(int lane);
using Body = void (*)(void*);
void run_grid(int device, dim3 grid, dim3 block, size_t shared_bytes, Body body, void* context);
void* dynamic_shared();
}  // namespace shim

// ---- barriers, shuffles, votes ----

inline void __syncthreads() { shim::wait_block(); }
inline void __syncwarp(unsigned mask = ~0u) { shim::wait_warp(mask); }
int __syncthreads_or(int predicate);
int __syncthreads_and(int predicate);
int __syncthreads_count(int predicate);

namespace shim {
template <class T, class Pick>
T exchange(unsigned mask, T v, Pick pick) {
  static_assert(sizeof(T) <= 8);
  std::memcpy(lane_slot(lane()), &v, sizeof(T));
  wait_warp(mask);
  const int from = pick(lane());
  T out = v;
  if (from >= 0 && from < 32 && lane_exists(from)) std::memcpy(&out, lane_slot(from), sizeof(T));
  wait_warp(mask);
  return out;
}
}  // namespace shim
template <class T>
T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  return shim::exchange(mask, v, [=](int l) { return l / width * width + from % width; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
  return shim::exchange(mask, v,
                        [=](int l) { return ((l % width) ^ bits) < width ? l ^ bits : l; });
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned n, int width = 32) {
  return shim::exchange(mask, v,
                        [=](int l) { return l % width + int(n) < width ? l + int(n) : l; });
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned n, int width = 32) {
  return shim::exchange(mask, v, [=](int l) { return l % width >= int(n) ? l - int(n) : l; });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  *shim::lane_slot(shim::lane()) = predicate != 0;
  shim::wait_warp(mask);
  unsigned bits = 0;
  for (int l = 0; l < 32; ++l) {
    if ((mask >> l & 1) && shim::lane_exists(l) && *shim::lane_slot(l)) bits |= 1u << l;
  }
  shim::wait_warp(mask);
  return bits;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }
inline unsigned __activemask() { return 1u << shim::lane(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- atomics, bits, loads ----

template <class T, class U> T atomicAdd(T* p, U v) {
  const T old = *p;
  *p = old + T(v);
  return old;
}
template <class T, class U> T atomicMax(T* p, U v) {
  const T old = *p;
  *p = std::max(old, T(v));
  return old;
}
template <class T, class U> T atomicMin(T* p, U v) {
  const T old = *p;
  *p = std::min(old, T(v));
  return old;
}
template <class T, class U> T atomicExch(T* p, U v) {
  const T old = *p;
  *p = T(v);
  return old;
}
template <class T, class U> T atomicOr(T* p, U v) {
  const T old = *p;
  *p = old | T(v);
  return old;
}
template <class T, class U> T atomicAnd(T* p, U v) {
  const T old = *p;
  *p = old & T(v);
  return old;
}
template <class T, class U, class W> T atomicCAS(T* p, U expected, W v) {
  const T old = *p;
  if (old == T(expected)) *p = T(v);
  return old;
}
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(unsigned(x)) + 1 : 0; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

// ---- the runtime's functions that cuda/ uses; device memory is a guarded part of the host's ----

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
using cudaStream_t = struct ShimStream*;
using cudaEvent_t = struct ShimEvent*;
using cudaMemPool_t = struct ShimPool*;
constexpr unsigned cudaStreamNonBlocking = 1, cudaStreamDefault = 0, cudaEventDisableTiming = 2,
                   cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaHostAllocDefault = 0,
                   cudaHostAllocMapped = 2, cudaHostAllocPortable = 1;
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 };
enum cudaDeviceAttr {
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMultiProcessorCount = 16
};
enum cudaMemoryType {
  cudaMemoryTypeUnregistered,
  cudaMemoryTypeHost,
  cudaMemoryTypeDevice,
  cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void *devicePointer, *hostPointer;
};
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerMultiprocessor, sharedMemPerBlockOptin;
  int regsPerMultiprocessor, warpSize, major, minor, multiProcessorCount, l2CacheSize, integrated;
  int maxThreadsPerMultiProcessor;
};

const char* cudaGetErrorString(cudaError_t e);
const char* cudaGetErrorName(cudaError_t e);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaGetDeviceCount(int* n);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaRuntimeGetVersion(int* v);
cudaError_t cudaDriverGetVersion(int* v);
cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr a, void* value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p);
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemcpyPeerAsync(void* dst, int dst_device, const void* src, int src_device,
                                size_t bytes, cudaStream_t stream);
cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b);
using cudaGraph_t = struct ShimGraph*;
using cudaGraphExec_t = struct ShimGraph*;
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph);
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

// ---- launches ----

namespace shim {
/// The device, if a kernel given to the stream runs at once; -1: enqueue() it; -2: the stream is of
/// another device than the current one, the error is noted.
int may_run_now(cudaStream_t stream);
void enqueue(cudaStream_t stream, std::function<void(int)> work);

template <class Kernel>  // a copy is run as each thread's body
void launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, Kernel kernel) {
  const auto run = [=](int device) mutable {
    run_grid(
        device, grid, block, shared_bytes, [](void* p) { (*static_cast<Kernel*>(p))(); }, &kernel);
  };
  const int device = may_run_now(stream);
  if (device >= 0) {
    auto now = run;
    now(device);
  } else if (device == -1) {
    enqueue(stream, run);
  }
}
}  // namespace shim
