// SPDX-License-Identifier: Apache-2.0
// The CUDA part's host side: devices, streams, memory, errors. What a driver needs of it:
//   launch_grid(call, kernel, blocks, threads, args...);             // cuda/launch.h
//   const DeviceScratch<float> partial(n, device);                   // freed in stream order
//   report(call)                                                     // where kernels put index
//   errors
// May include core, fn, graph/call.h and CUDA's headers.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "core/cuda_api.h"
#include "core/tensor.h"
#include "graph/call.h"

namespace gradstep::cuda {

/// Raises what a failed call of the runtime means; `what` is the op or the function.
void check(cudaError_t e, const char* what);

// ---- the current device and stream ----

constexpr int kMostDevices = 16;
int device_count();
int current_device();
/// Makes a device current for as long as it lives; -1 is the current one.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_;
};
cudaStream_t current_stream(int device);
inline cudaStream_t stream_of(const Call& call) {
  return current_stream(call.operands[0]->device.index);
}
int multiprocessors(int device);
/// Bytes of dynamic shared memory that a block may have, beside a little of its own.
int shared_limit(int device);
/// 90 is sm_90.
int compute_capability(int device);
/// Threads that a whole device can hold at once.
int resident_threads(int device);

// ---- memory ----

/// Stream-ordered memory of a device: raises Error(OutOfMemory) after the cache was emptied and the
/// allocation tried again. allocate(0) is nullptr.
void* allocate(size_t bytes, int device);
void deallocate(void* p, size_t bytes, int device) noexcept;

/// Device memory for the kernels launched while it lives.
template <class T>
class DeviceScratch {
 public:
  DeviceScratch(int64_t n, int device)
      : bytes_(static_cast<size_t>(n) * sizeof(T)),
        device_(device),
        p_(static_cast<T*>(allocate(bytes_, device))) {}
  DeviceScratch(int64_t n, const Call& call) : DeviceScratch(n, call.operands[0]->device.index) {}
  ~DeviceScratch() { deallocate(p_, bytes_, device_); }
  DeviceScratch(const DeviceScratch&) = delete;
  DeviceScratch& operator=(const DeviceScratch&) = delete;
  T* data() const { return p_; }

 private:
  size_t bytes_;
  int device_;
  T* p_;
};

/// Copies to the device in stream order; the host's memory may be reused at once.
void upload(void* dst, const void* src, size_t bytes, const Call& call);
/// Copies from the device and waits for it.
void download(void* dst, const void* src, size_t bytes, int device);

// ---- errors found by kernels ----

// Note [Errors in kernels]
// A kernel that meets an index out of range writes what it met into the device's Report (the first
// one stays), uses index 0 or skips the element, and goes on: nothing faults, the process stays
// usable. The host looks at the report whenever it waits for the device (synchronize, item(), a
// copy to the host) and raises it then, with the op's name. GRADSTEP_CUDA_SYNC=1 waits after every
// call, so an error is raised by the line that caused it.

enum class Trouble : int32_t {
  None,
  Index,   // IndexError / RuntimeError of core/index_rule.h: rule, index, dim, size
  Target,  // "Target {index} is out of bounds."
  Message  // the text of messages[rule]
};

struct Report {  // in pinned memory
  int32_t trouble;
  int32_t op;  // which op: a number of the host's
  int64_t rule, index, dim, size;
};

/// What a kernel gets to report with.
struct Reporter {
  Report* report;
  int32_t op;
};
/// For the kernels of this call.
Reporter reporter(const Call& call);
/// A number for a text that kernels report with Trouble::Message; `text` is a literal.
int64_t message_number(const char* text, ErrorKind kind);
/// Raises what kernels reported since the last time; call it after waiting for the device.
void raise_reported(int device);
/// Waits for all work of a device, then raises what went wrong.
void synchronize(int device);

/// The switches of torch.backends.
inline CudaFlags& flags() { return cuda_flags(); }

// ---- random numbers ----

struct Philox {
  uint64_t seed, offset;  // offset counts draws of 32 bits, a multiple of 4
  const uint64_t* live;   // in a captured graph: seed and offset of this replay, on the device
};
/// The state to draw with; afterwards the device's generator is `draws` further (rounded up to 4).
Philox take_random(int device, uint64_t draws);

// ---- other ops ----

/// Runs a call with the kernel that its op has here.
void run_here(const Call& call);

// ---- registration ----

struct CudaKernel {
  CudaKernel(const char* op, Kernel kernel) {
    Op::get(op).kernel[static_cast<int>(DeviceType::CUDA)] = kernel;
  }
};
#define GS_CUDA_KERNEL(op, function) \
  static const ::gradstep::cuda::CudaKernel register_##function(op, &function)

}  // namespace gradstep::cuda
