// SPDX-License-Identifier: Apache-2.0
// Devices, streams, memory and errors of the CUDA part, and the table that the core gets of them.
#include "cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/index_rule.h"
#include "cuda/launch.h"
#include "cuda/libraries.h"

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

constexpr int kMostDevices = 16;

struct DeviceState {
  bool ready = false;
  cudaDeviceProp properties;
  Report* report = nullptr;  // pinned: the host looks at it without a copy
  cudaStream_t stream = nullptr;
  uint64_t seed = 67280421310721, offset = 0;
};
DeviceState g_devices[kMostDevices];
int g_current = 0;
int g_count = -1;

DeviceState& state(int device) {
  if (device < 0) device = g_current;
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

int current_device() { return g_current; }

DeviceGuard::DeviceGuard(int device) : before_(g_current) {
  if (device >= 0 && device != g_current) {
    check(cudaSetDevice(device), "cudaSetDevice");
    g_current = device;
  }
}
DeviceGuard::~DeviceGuard() {
  if (before_ != g_current && cudaSetDevice(before_) == cudaSuccess) g_current = before_;
}

cudaStream_t current_stream(int device) { return state(device).stream; }
int multiprocessors(int device) { return state(device).properties.multiProcessorCount; }

Flags& flags() {
  static Flags f = [] {
    Flags start;
    const char* sync = std::getenv("GRADSTEP_CUDA_SYNC");
    start.sync = sync && std::strcmp(sync, "0") != 0;
    return start;
  }();
  return f;
}

// ---- memory ----

// Note [CUDA memory]
// Blocks come from the driver's stream-ordered pool (cudaMallocAsync), which reuses and joins
// memory by itself and works while a stream is captured. In front of it stand lists of free blocks
// by size class and stream: four classes an octave, so at most a fifth is wasted, and a hit costs
// no call of the driver. A block goes back to the list of the stream that it was allocated on; work
// on another stream is waited for with an event (record_stream). When memory runs out the lists are
// emptied, the pool is trimmed and the allocation tried once more.

namespace {

constexpr int kClasses = 4 * 48;

/// The class that holds so many bytes, and its size.
int class_of(size_t bytes) {
  if (bytes <= 512) return 0;
  const int octave = 63 - __builtin_clzll(bytes - 1);  // 2^octave < bytes <= 2^(octave + 1)
  const size_t step = (size_t(1) << octave) / 4;
  return (octave - 9) * 4 + int((bytes - (size_t(1) << octave) + step - 1) / step);
}
size_t size_of(int size_class) {
  if (size_class == 0) return 512;
  const size_t octave = size_t(512) << ((size_class - 1) / 4);
  return octave + octave / 4 * size_t((size_class - 1) % 4 + 1);
}

struct Pool {  // the free blocks of one stream
  int device;
  cudaStream_t stream;
  std::vector<void*> free[kClasses];
};
struct Elsewhere {  // what is known of a block that other streams than the default one have to do
                    // with
  cudaStream_t home;
  std::vector<cudaStream_t> also;
};

std::vector<std::unique_ptr<Pool>> g_pools;
std::unordered_map<void*, Elsewhere> g_elsewhere;
CudaMemory g_memory[kMostDevices];
std::mutex g_mutex;

Pool& pool_of(int device, cudaStream_t stream) {
  for (const auto& p : g_pools) {
    if (p->device == device && p->stream == stream) return *p;
  }
  g_pools.push_back(std::make_unique<Pool>());
  g_pools.back()->device = device;
  g_pools.back()->stream = stream;
  return *g_pools.back();
}

void count(int device, int64_t allocated, int64_t reserved) {
  CudaMemory& m = g_memory[device];
  m.allocated += allocated;
  m.reserved += reserved;
  m.peak_allocated = std::max(m.peak_allocated, m.allocated);
  m.peak_reserved = std::max(m.peak_reserved, m.reserved);
}

/// Gives all free blocks back to the driver's pools.
void release_lists() {
  for (const auto& pool : g_pools) {
    const DeviceGuard guard(pool->device);
    for (int c = 0; c < kClasses; ++c) {
      for (void* p : pool->free[c]) {
        (void)cudaFreeAsync(p, pool->stream);
        count(pool->device, 0, -int64_t(size_of(c)));
      }
      pool->free[c].clear();
    }
  }
}

[[noreturn]] void fail_memory(size_t bytes, int device) {
  size_t free = 0, total = 0;
  (void)cudaMemGetInfo(&free, &total);
  const CudaMemory& m = g_memory[device];
  fail(ErrorKind::OutOfMemory,
       "CUDA out of memory. Tried to allocate {} bytes. GPU {} has a total capacity of {} bytes of "
       "which {} bytes are free. gradstep has {} bytes in use and {} bytes reserved besides.",
       bytes, device, total, free, m.allocated, m.reserved - m.allocated);
}

}  // namespace

void* allocate(size_t bytes, int device) {
  if (bytes == 0) return nullptr;
  if (device < 0) device = g_current;
  const cudaStream_t stream = state(device).stream;
  const int size_class = class_of(bytes);
  const std::lock_guard lock(g_mutex);
  if (size_class >= kClasses) fail_memory(bytes, device);
  const auto size = int64_t(size_of(size_class));
  auto& list = pool_of(device, stream).free[size_class];
  void* p = nullptr;
  if (!list.empty()) {
    p = list.back();
    list.pop_back();
    count(device, size, 0);
  } else {
    const DeviceGuard guard(device);
    cudaError_t e = cudaMallocAsync(&p, size_t(size), stream);
    if (e == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      release_lists();
      (void)cudaDeviceSynchronize();
      cudaMemPool_t pool;
      if (cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess)
        (void)cudaMemPoolTrimTo(pool, 0);
      e = cudaMallocAsync(&p, size_t(size), stream);
    }
    if (e == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      fail_memory(bytes, device);
    }
    check(e, "cudaMallocAsync");
    count(device, size, size);
  }
  ++g_memory[device].n_allocations;
  if (stream) g_elsewhere[p].home = stream;
  return p;
}

void deallocate(void* p, size_t bytes, int device) noexcept {
  if (!p) return;
  if (device < 0) device = g_current;
  const int size_class = class_of(bytes);
  const std::lock_guard lock(g_mutex);
  cudaStream_t home = nullptr;
  if (!g_elsewhere.empty()) {
    const auto found = g_elsewhere.find(p);
    if (found != g_elsewhere.end()) {
      home = found->second.home;
      for (const cudaStream_t other : found->second.also) {
        // The home stream waits for the other one's work so far.
        cudaEvent_t e;
        if (cudaEventCreateWithFlags(&e, cudaEventDisableTiming) != cudaSuccess) continue;
        (void)cudaEventRecord(e, other);
        (void)cudaStreamWaitEvent(home, e, 0);
        (void)cudaEventDestroy(e);
      }
      g_elsewhere.erase(found);
    }
  }
  pool_of(device, home).free[size_class].push_back(p);
  count(device, -int64_t(size_of(size_class)), 0);
}

// ---- copies ----

namespace {

// Pinned memory is reused, as asking for it takes the driver milliseconds. A block that a copy may
// still be reading when it is freed waits for the event behind that copy.

struct PinnedBlock {
  int size_class;
  cudaEvent_t last_copy;  // null: none without waiting
};
std::vector<void*> g_pinned_free[kClasses];
std::map<const char*, PinnedBlock> g_pinned_live;
std::vector<std::pair<void*, PinnedBlock>> g_pinned_waiting;

void reuse_pinned() {
  std::erase_if(g_pinned_waiting, [](const auto& w) {
    if (cudaEventQuery(w.second.last_copy) == cudaErrorNotReady) {
      (void)cudaGetLastError();
      return false;
    }
    (void)cudaEventDestroy(w.second.last_copy);
    g_pinned_free[w.second.size_class].push_back(w.first);
    return true;
  });
}

void* allocate_pinned(size_t bytes) {
  if (bytes == 0) return nullptr;
  const int size_class = class_of(bytes);
  const std::lock_guard lock(g_mutex);
  if (size_class >= kClasses) fail(ErrorKind::OutOfMemory, "{} bytes of pinned memory", bytes);
  reuse_pinned();
  auto& list = g_pinned_free[size_class];
  void* p = nullptr;
  if (!list.empty()) {
    p = list.back();
    list.pop_back();
  } else {
    check(cudaHostAlloc(&p, size_of(size_class), cudaHostAllocPortable), "cudaHostAlloc");
  }
  g_pinned_live[static_cast<char*>(p)] = {size_class, nullptr};
  return p;
}

void deallocate_pinned(void* p, size_t) {
  if (!p) return;
  const std::lock_guard lock(g_mutex);
  const auto found = g_pinned_live.find(static_cast<char*>(p));
  if (found == g_pinned_live.end()) return;
  const PinnedBlock block = found->second;
  g_pinned_live.erase(found);
  if (block.last_copy) {
    g_pinned_waiting.emplace_back(p, block);
  } else {
    g_pinned_free[block.size_class].push_back(p);
  }
}

PinnedBlock* pinned_block(const void* p) {
  auto at = g_pinned_live.upper_bound(static_cast<const char*>(p));
  if (at == g_pinned_live.begin()) return nullptr;
  --at;
  return static_cast<const char*>(p) < at->first + size_of(at->second.size_class) ? &at->second
                                                                                  : nullptr;
}

bool is_pinned(const void* p) {
  const std::lock_guard lock(g_mutex);
  return pinned_block(p) != nullptr;
}

/// True if p is pinned: its block then remembers the copy that was just started on the stream.
bool note_copy(const void* p, cudaStream_t stream) {
  const std::lock_guard lock(g_mutex);
  PinnedBlock* block = pinned_block(p);
  if (!block) return false;
  if (!block->last_copy) {
    check(cudaEventCreateWithFlags(&block->last_copy, cudaEventDisableTiming), "copy");
  }
  check(cudaEventRecord(block->last_copy, stream), "copy");
  return true;
}

void copy_bytes(void* dst, Device to, const void* src, Device from, size_t bytes,
                bool non_blocking) {
  if (bytes == 0) return;
  const int device = to.type == DeviceType::CUDA ? to.index : from.index;
  const DeviceGuard guard(device);
  const cudaStream_t stream = current_stream(device);
  const bool to_host = to.type == DeviceType::CPU, from_host = from.type == DeviceType::CPU;
  check(cudaMemcpyAsync(dst, src, bytes,
                        to_host     ? cudaMemcpyDeviceToHost
                        : from_host ? cudaMemcpyHostToDevice
                                    : cudaMemcpyDeviceToDevice,
                        stream),
        "copy");
  if (!to_host && !from_host) {
    if (to.index != from.index && from.index >= 0 && to.index >= 0) synchronize(from.index);
    return;
  }
  if (non_blocking && note_copy(to_host ? dst : src, stream)) return;
  check(cudaStreamSynchronize(stream), "copy");
  if (to_host) raise_reported(device);
}

}  // namespace

void upload(void* dst, const void* src, size_t bytes, const Call& call) {
  // From pageable memory the runtime returns once the bytes are staged.
  check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, stream_of(call)), call.op->name);
}

void download(void* dst, const void* src, size_t bytes, int device) {
  copy_bytes(dst, Device{}, src, Device{DeviceType::CUDA, int8_t(device)}, bytes, false);
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
  if (device < 0) device = g_current;
  const DeviceGuard guard(device);
  check(cudaDeviceSynchronize(), "synchronize");
  raise_reported(device);
}

void after_launch(const Call& call) {
  check(cudaGetLastError(), call.op->name);
  if (flags().sync) [[unlikely]] {
    check(cudaDeviceSynchronize(), call.op->name);
    raise_reported(call.operands[0]->device.index);
  }
}

// ---- random numbers ----

Philox take_random(int device, uint64_t draws) {
  DeviceState& d = state(device);
  const Philox now{d.seed, d.offset};
  d.offset += (draws + 3) / 4 * 4;
  return now;
}

// ---- the table ----

namespace {

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

void check_index(int device) {
  GS_CHECK(device >= 0 && device < device_count(),
           "CUDA error: invalid device ordinal: {} where {} devices are there", device,
           device_count());
}

void set_device(int device) {
  check_index(device);
  check(cudaSetDevice(device), "cudaSetDevice");
  g_current = device;
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

void empty_cache() {
  const std::lock_guard lock(g_mutex);
  release_lists();
  for (int d = 0; d < device_count(); ++d) {
    if (!g_devices[d].ready) continue;
    const DeviceGuard guard(d);
    check(cudaDeviceSynchronize(), "empty_cache");
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, d), "empty_cache");
    check(cudaMemPoolTrimTo(pool, 0), "empty_cache");
  }
}

void memory(int device, CudaMemory* out) {
  check_index(device);
  *out = g_memory[device];
}
void reset_peak(int device) {
  check_index(device);
  CudaMemory& m = g_memory[device];
  m.peak_allocated = m.allocated;
  m.peak_reserved = m.reserved;
}
void memory_info(int device, int64_t* free, int64_t* total) {
  check_index(device);
  const DeviceGuard guard(device);
  size_t f = 0, t = 0;
  check(cudaMemGetInfo(&f, &t), "mem_get_info");
  *free = int64_t(f);
  *total = int64_t(t);
}
void record_stream(void* p, int, void* stream) {
  const std::lock_guard lock(g_mutex);
  Elsewhere& block = g_elsewhere[p];  // one of the default stream has a null home
  auto& also = block.also;
  if (block.home != stream && std::find(also.begin(), also.end(), stream) == also.end()) {
    also.push_back(static_cast<cudaStream_t>(stream));
  }
}

void* create_stream(int device, int priority) {
  const DeviceGuard guard(device);
  cudaStream_t s;
  check(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, priority), "Stream");
  return s;
}
void destroy_stream(void* s) { (void)cudaStreamDestroy(static_cast<cudaStream_t>(s)); }
void* get_stream(int device) { return current_stream(device); }
void set_stream(int device, void* s) { state(device).stream = static_cast<cudaStream_t>(s); }
bool ready(cudaError_t e, const char* what) {
  if (e == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  check(e, what);
  return true;
}
bool query_stream(void* s) {
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
void destroy_event(void* e) { (void)cudaEventDestroy(static_cast<cudaEvent_t>(e)); }
void record_event(void* e, void* s) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(e), static_cast<cudaStream_t>(s)), "Event.record");
}
void wait_event(void* s, void* e) {
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

void seed(int device, uint64_t s) {
  check_index(device);
  DeviceState& d = g_devices[device];
  d.seed = s;
  d.offset = 0;
}
uint64_t initial_seed(int device) {
  check_index(device);
  return g_devices[device].seed;
}
void get_state(int device, uint8_t* out) {
  check_index(device);
  std::memcpy(out, &g_devices[device].seed, 8);
  std::memcpy(out + 8, &g_devices[device].offset, 8);
}
void set_state(int device, const uint8_t* in) {
  check_index(device);
  std::memcpy(&g_devices[device].seed, in, 8);
  std::memcpy(&g_devices[device].offset, in + 8, 8);
}

bool* find_flag(const char* name) {
  Flags& f = flags();
  const std::pair<const char*, bool*> all[] = {
      {"allow_tf32", &f.allow_tf32},           {"cudnn_tf32", &f.cudnn_tf32},
      {"cudnn_benchmark", &f.cudnn_benchmark}, {"deterministic", &f.deterministic},
      {"cudnn_enabled", &f.cudnn_enabled},     {"sync", &f.sync}};
  for (const auto& [n, p] : all) {
    if (std::strcmp(n, name) == 0) return p;
  }
  fail(ErrorKind::Value, "there is no CUDA flag '{}'", name);
}
void set_flag(const char* name, bool value) { *find_flag(name) = value; }
bool get_flag(const char* name) { return *find_flag(name); }

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
    .memory = &memory,
    .reset_peak = &reset_peak,
    .memory_info = &memory_info,
    .allocate_pinned = &allocate_pinned,
    .deallocate_pinned = &deallocate_pinned,
    .is_pinned = &is_pinned,
    .record_stream = &record_stream,
    .create_stream = &create_stream,
    .destroy_stream = &destroy_stream,
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
    .seed = &seed,
    .initial_seed = &initial_seed,
    .get_state = &get_state,
    .set_state = &set_state,
    .set_flag = &set_flag,
    .get_flag = &get_flag,
    .library_version = &library_version,
};

}  // namespace

}  // namespace gradstep::cuda

/// The plug-in's only entry; cpp/core/cuda_api.cpp looks it up.
extern "C" __attribute__((visibility("default"))) const gradstep::CudaApi* gradstep_cuda_plugin() {
  return &gradstep::cuda::kApi;
}
