// SPDX-License-Identifier: Apache-2.0
// Devices, streams and errors of the CUDA part, and the table that the core gets of them.
#include "cuda/runtime.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/generator.h"
#include "core/index_rule.h"
#include "cuda/graph.h"
#include "cuda/launch.h"
#include "cuda/libraries.h"
#include "cuda/memory.h"

namespace gradstep::cuda {

// ---- errors of the runtime ----

void check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) [[likely]]
    return;
  (void)cudaGetLastError();  // clears it, unless the context is lost
  fail(ErrorKind::Runtime, "CUDA error: {} ({}) in {}. {}", cudaGetErrorString(e),
       cudaGetErrorName(e), what,
       flags().sync
           ? "It is the call that failed."
           : "Kernels run later than their calls: set GRADSTEP_CUDA_SYNC=1 to see which failed.");
}

// ---- devices and streams ----

namespace {

struct DeviceState {
  bool ready = false;
  cudaDeviceProp properties;
  Report* report = nullptr;  // pinned: the host looks at it without a copy
};
DeviceState g_devices[kMostDevices];
thread_local int t_current = 0;
thread_local cudaStream_t t_stream[kMostDevices];
int g_count = -1;

DeviceState& state(int device) {
  if (device < 0) device = t_current;
  DeviceState& d = g_devices[device];
  if (!d.ready) {
    const DeviceGuard guard(device);
    check(cudaGetDeviceProperties(&d.properties, device), "cudaGetDeviceProperties");
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    uint64_t keep = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
          "cudaMemPoolSetAttribute");
    check(cudaHostAlloc(reinterpret_cast<void**>(&d.report), sizeof(Report),
                        cudaHostAllocMapped | cudaHostAllocPortable),
          "cudaHostAlloc");
    *d.report = {};
    d.ready = true;
  }
  return d;
}

}  // namespace

int current_device() { return t_current; }

DeviceGuard::DeviceGuard(int device) : before_(t_current) {
  if (device >= 0 && device != t_current) {
    check(cudaSetDevice(device), "cudaSetDevice");
    t_current = device;
  }
}
DeviceGuard::~DeviceGuard() {
  if (before_ != t_current && cudaSetDevice(before_) == cudaSuccess) t_current = before_;
}

cudaStream_t current_stream(int device) {
  state(device);
  return t_stream[device < 0 ? t_current : device];
}
int multiprocessors(int device) { return state(device).properties.multiProcessorCount; }
int shared_limit(int device) { return int(state(device).properties.sharedMemPerBlockOptin) - 4096; }
int compute_capability(int device) {
  const cudaDeviceProp& p = state(device).properties;
  return 10 * p.major + p.minor;
}
int resident_threads(int device) {
  const cudaDeviceProp& p = state(device).properties;
  return p.multiProcessorCount * p.maxThreadsPerMultiProcessor;
}

// ---- errors found by kernels ----

namespace {
struct Message {
  const char* text;
  ErrorKind kind;
};
std::vector<const char*> g_ops;
std::vector<Message> g_messages;
}  // namespace

Reporter reporter(const Call& call) {
  static std::unordered_map<const Op*, int32_t> numbers;
  const auto [at, added] = numbers.try_emplace(call.op, int32_t(g_ops.size()));
  if (added) g_ops.push_back(call.op->name);
  return {state(call.operands[0]->device.index).report, at->second};
}

int64_t message_number(const char* text, ErrorKind kind) {
  for (size_t i = 0; i < g_messages.size(); ++i) {
    if (g_messages[i].text == text) return int64_t(i);
  }
  g_messages.push_back({text, kind});
  return int64_t(g_messages.size()) - 1;
}

void raise_reported(int device) {
  Report& pending = *state(device).report;
  if (*static_cast<volatile int32_t*>(&pending.trouble) == 0) [[likely]]
    return;
  const Report r = pending;
  pending = {};
  const char* op = g_ops[size_t(r.op)];
  std::string text;
  ErrorKind kind = ErrorKind::Index;
  switch (Trouble(r.trouble)) {
    case Trouble::Target: text = format("Target {} is out of bounds.", r.index); break;
    case Trouble::Message:
      text = g_messages[size_t(r.rule)].text;
      kind = g_messages[size_t(r.rule)].kind;
      break;
    default: try { fail_index(IndexRule(r.rule), r.index, r.dim, r.size);
      } catch (const Error& e) {
        text = e.what();
        kind = e.kind();
      }
  }
  fail(kind, "{} (found on the GPU by '{}')", text, op);
}

void synchronize(int device) {
  GS_CHECK(!is_capturing(), "CUDA graphs: synchronize() is not possible while a graph is captured");
  if (device < 0) device = t_current;
  const DeviceGuard guard(device);
  check(cudaDeviceSynchronize(), "synchronize");
  raise_reported(device);
}

void after_launch(const Call& call) {
  check(cudaGetLastError(), call.op->name);
  if (flags().sync && !is_capturing()) [[unlikely]] {
    check(cudaDeviceSynchronize(), call.op->name);
    raise_reported(call.operands[0]->device.index);
  }
}

void run_here(const Call& call) {
  const Kernel kernel = call.op->kernel[static_cast<int>(DeviceType::CUDA)];
  GS_CHECK_KIND(NotImplemented, kernel, "\"{}\" is not implemented on CUDA", call.op->name);
  kernel(call);
}

// ---- random numbers ----

Philox take_random(int device, uint64_t draws) {
  if (is_capturing()) return take_random_while_capturing(draws);
  Generator& g = default_generator(Device{DeviceType::CUDA, int8_t(device)});
  return {g.initial_seed(), g.take(draws), nullptr};
}

// ---- the table ----

int device_count() {
  if (g_count < 0) {
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
      (void)cudaGetLastError();
      n = 0;
    }
    g_count = std::min(n, kMostDevices);
  }
  return g_count;
}

namespace {

void check_index(int device) {
  GS_CHECK(device >= 0 && device < device_count(),
           "CUDA error: invalid device ordinal: {} where {} devices are there", device,
           device_count());
}

void set_device(int device) {
  check_index(device);
  check(cudaSetDevice(device), "cudaSetDevice");
  t_current = device;
}

void properties(int device, CudaProperties* out) {
  check_index(device);
  const cudaDeviceProp& p = state(device).properties;
  *out = {};
  std::memcpy(out->name, p.name, sizeof(out->name) - 1);
  out->major = p.major;
  out->minor = p.minor;
  out->total_memory = int64_t(p.totalGlobalMem);
  out->multi_processor_count = p.multiProcessorCount;
  out->max_threads_per_multi_processor = p.maxThreadsPerMultiProcessor;
  out->warp_size = p.warpSize;
  out->l2_cache_size = p.l2CacheSize;
  out->shared_memory_per_block = int64_t(p.sharedMemPerBlock);
  out->shared_memory_per_multiprocessor = int64_t(p.sharedMemPerMultiprocessor);
  out->regs_per_multiprocessor = p.regsPerMultiprocessor;
  out->is_integrated = p.integrated != 0;
}

void* create_stream(int device, int priority) {
  const DeviceGuard guard(device);
  cudaStream_t s;
  check(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, priority), "Stream");
  return s;
}
void* get_stream(int device) { return current_stream(device); }
void set_stream(int device, void* s) {
  check_index(device);
  t_stream[device] = static_cast<cudaStream_t>(s);
}
bool ready(cudaError_t e, const char* what) {
  if (e == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  check(e, what);
  return true;
}
bool query_stream(int device, void* s) {
  const DeviceGuard guard(device);
  return ready(cudaStreamQuery(static_cast<cudaStream_t>(s)), "Stream.query");
}
void synchronize_stream(int device, void* s) {
  const DeviceGuard guard(device);
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(s)), "Stream.synchronize");
  raise_reported(device);
}
void* create_event(int device, bool timing, bool blocking) {
  const DeviceGuard guard(device);
  cudaEvent_t e;
  check(cudaEventCreateWithFlags(&e, (timing ? cudaEventDefault : cudaEventDisableTiming) |
                                         (blocking ? cudaEventBlockingSync : 0u)),
        "Event");
  return e;
}
void destroy_event(void* e) {
  if (!is_forked()) (void)cudaEventDestroy(static_cast<cudaEvent_t>(e));
}
void record_event(void* e, int device, void* s) {
  const DeviceGuard guard(device);  // whose default stream a null one is
  check(cudaEventRecord(static_cast<cudaEvent_t>(e), static_cast<cudaStream_t>(s)), "Event.record");
}
void wait_event(int device, void* s, void* e) {
  const DeviceGuard guard(device);
  check(cudaStreamWaitEvent(static_cast<cudaStream_t>(s), static_cast<cudaEvent_t>(e), 0),
        "Event.wait");
}
bool query_event(void* e) {
  return ready(cudaEventQuery(static_cast<cudaEvent_t>(e)), "Event.query");
}
void synchronize_event(void* e) {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(e)), "Event.synchronize");
}
float elapsed_time(void* a, void* b) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, static_cast<cudaEvent_t>(a), static_cast<cudaEvent_t>(b)),
        "elapsed_time");
  return ms;
}

#ifdef GS_CUDA_SHIM
constexpr const char* kDescription = "emulated";
#else
constexpr const char* kDescription = "CUDA " GS_CUDA_VERSION;
#endif

const CudaApi kApi = {
    .version = kCudaApiVersion,
    .description = kDescription,
    .device_count = &device_count,
    .current_device = &current_device,
    .set_device = &set_device,
    .properties = &properties,
    .synchronize = &synchronize,
    .allocate = &allocate,
    .deallocate = [](void* p, size_t bytes, int device) { deallocate(p, bytes, device); },
    .copy_bytes = &copy_bytes,
    .empty_cache = &empty_cache,
    .memory =
        [](int device, CudaMemory* out) {
          check_index(device);
          memory_of(device, out);
        },
    .reset_peak =
        [](int device) {
          check_index(device);
          reset_peak(device);
        },
    .memory_info =
        [](int device, int64_t* free, int64_t* total) {
          check_index(device);
          memory_info(device, free, total);
        },
    .allocate_pinned = &allocate_pinned,
    .deallocate_pinned = &deallocate_pinned,
    .is_pinned = &is_pinned,
    .device_of = &device_of,
    .record_stream = &record_stream,
    .create_stream = &create_stream,
    .current_stream = &get_stream,
    .set_stream = &set_stream,
    .query_stream = &query_stream,
    .synchronize_stream = &synchronize_stream,
    .create_event = &create_event,
    .destroy_event = &destroy_event,
    .record_event = &record_event,
    .wait_event = &wait_event,
    .query_event = &query_event,
    .synchronize_event = &synchronize_event,
    .elapsed_time = &elapsed_time,
    .library_version = &library_version,
    .begin_capture = &begin_capture,
    .end_capture = &end_capture,
    .replay_graph = &replay_graph,
    .destroy_graph = &destroy_graph,
    .is_capturing = &is_capturing,
    .begin_live_call = &begin_live_call,
    .end_live_call = &end_live_call,
};

}  // namespace

}  // namespace gradstep::cuda

/// The plug-in's only entry; cpp/core/cuda_api.cpp looks it up.
extern "C" __attribute__((visibility("default"))) const gradstep::CudaApi* gradstep_cuda_plugin() {
  return &gradstep::cuda::kApi;
}
