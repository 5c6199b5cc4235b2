// SPDX-License-Identifier: Apache-2.0
// The CUDA part as the rest of the program sees it: a table of functions that its shared object
// fills in. It is loaded at the first use of CUDA, by this file's functions only:
//   if (const CudaApi* cuda = find_cuda()) ..        // null without a driver, a GPU or a CUDA part
//   cuda_api().synchronize(0);                       // raises what PyTorch raises there
// Kernels come with it: they put themselves into their ops when the shared object is loaded.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/device.h"
#include "core/error.h"

namespace gradstep {

constexpr int kCudaApiVersion = 6;  // raise with every change of the table

struct CudaProperties {
  char name[256];
  int major, minor;
  int64_t total_memory;
  int multi_processor_count;
  int max_threads_per_multi_processor;
  int warp_size;
  int64_t l2_cache_size;
  int64_t shared_memory_per_block, shared_memory_per_multiprocessor;
  int64_t regs_per_multiprocessor;
  bool is_integrated;
};

struct CudaMemory {  // bytes, one device
  int64_t allocated, reserved, peak_allocated, peak_reserved;
  int64_t n_allocations, n_frees;  // calls since the start
  int64_t n_retries;               // allocations that emptied the cache first
  int64_t n_failures;              // allocations for which there was no memory then, either
};

/// The switches of torch.backends. They may be set before the CUDA part is loaded.
struct CudaFlags {
  bool allow_tf32 = false;  // float32 products with 10 bits of the operands
  bool cudnn_tf32 = true;   // the same in convolutions and recurrent layers
  bool cudnn_benchmark = false;
  bool cudnn_enabled = true;
  bool deterministic = false;  // no algorithm whose results differ from run to run
  bool sync = false;           // wait for each kernel: GRADSTEP_CUDA_SYNC=1
  // What may compute scaled_dot_product_attention: cuDNN, kernels of our own (either of two), ops.
  bool cudnn_sdp = true, flash_sdp = true, mem_efficient_sdp = true, math_sdp = true;
  int64_t cudnn_attention_runs = 0;  // counted, for tests
};
GS_API CudaFlags& cuda_flags();

struct CudaApi {
  int version;              // kCudaApiVersion of the build
  const char* description;  // "CUDA 13.0", or what stands in for it in tests

  // ---- devices ----
  int (*device_count)();
  int (*current_device)();
  void (*set_device)(int device);
  void (*properties)(int device, CudaProperties* out);
  void (*synchronize)(int device);  // reports pending errors, too

  // ---- memory: on a device's current stream ----
  void* (*allocate)(size_t bytes, int device);
  void (*deallocate)(void* p, size_t bytes, int device);  // never throws
  /// Copies bytes between any two devices, one of them CUDA, in order with the current stream. It
  /// returns when the copy is done, but where non_blocking and the host's memory is pinned.
  void (*copy_bytes)(void* dst, Device dst_device, const void* src, Device src_device, size_t bytes,
                     bool non_blocking);
  void (*empty_cache)();
  void (*memory)(int device, CudaMemory* out);
  void (*reset_peak)(int device);
  void (*memory_info)(int device, int64_t* free, int64_t* total);
  void* (*allocate_pinned)(size_t bytes);
  void (*deallocate_pinned)(void* p, size_t bytes);
  bool (*is_pinned)(const void* p);
  int (*device_of)(const void* p);  // whose memory this is; -1: no GPU's
  /// The block is used on another stream, too: it is not given away before that has finished.
  void (*record_stream)(void* p, int device, void* stream, int stream_device);

  // ---- streams and events: opaque handles; a null stream is the default one. Streams are never
  // ended: free memory belongs to them. The current device and streams are those of the thread.
  void* (*create_stream)(int device, int priority);
  void* (*current_stream)(int device);
  void (*set_stream)(int device, void* stream);
  bool (*query_stream)(int device, void* stream);
  void (*synchronize_stream)(int device, void* stream);
  void* (*create_event)(int device, bool timing, bool blocking);
  void (*destroy_event)(void* event);
  void (*record_event)(void* event, int device, void* stream);
  void (*wait_event)(int device, void* stream, void* event);
  bool (*query_event)(void* event);
  void (*synchronize_event)(void* event);
  float (*elapsed_time)(void* start, void* end);  // milliseconds

  // ---- libraries ----
  /// The version of a library ("cublaslt", "cudnn", "nvrtc", "nccl"), loaded at need; 0 if missing.
  int64_t (*library_version)(const char* name);

  // ---- graphs: what is launched on the current stream in between is recorded, not run ----
  void (*begin_capture)(int device);
  /// The graph, to be destroyed; null with keep = false (something failed in between).
  void* (*end_capture)(bool keep);
  /// Runs it on the current stream. `numbers`: those of its live calls in order, null if they are
  /// what they were.
  void (*replay_graph)(void* graph, const double* numbers);
  void (*destroy_graph)(void* graph);
  bool (*is_capturing)();
  /// Between these the numbers of a call's params are live: its kernels find them in the graph's
  /// memory, n of them. False at the end if they did not look there, so that the numbers are
  /// frozen.
  void (*begin_live_call)(int n);
  bool (*end_live_call)();
};

/// The loaded CUDA part, or null where it can't be used. The first call may load it.
const CudaApi* find_cuda();
/// The same, or PyTorch's error that says why not.
const CudaApi& cuda_api();
/// The device with its number: "cuda" is the current one. Raises where there is no such device.
Device full_device(Device d);
/// True if the CUDA part is loaded already; never loads it.
bool cuda_is_loaded();
/// Why find_cuda() is null, one sentence.
const char* why_no_cuda();

}  // namespace gradstep
