// SPDX-License-Identifier: Apache-2.0
// The allocator of device memory, pinned host memory, and copies. See Note [CUDA memory].
#include "cuda/memory.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/graph.h"

namespace gradstep::cuda {

// Note [CUDA memory]
// Blocks come from the driver's stream-ordered pool (cudaMallocAsync), which reuses and joins
// memory by itself and works while a stream is captured. In front of it stand lists of free blocks
// by size class and stream: four classes an octave, so at most a fifth is wasted, and a hit costs
// no call of the driver. A block goes back to the list of the stream that it was allocated on; work
// on another stream is waited for with an event (record_stream). When memory runs out the lists are
// emptied, the pool is trimmed and the allocation tried once more. While a stream is captured into
// a graph, blocks come from a pool of that graph, which lives as long: a replay writes them again.

namespace {
constexpr int kClasses = 4 * 48;
}

struct MemoryPool {
  int device = 0;
  cudaStream_t stream = nullptr;
  bool is_private = false, closed = false;
  int64_t live = 0;  // blocks of a private pool in use
  std::vector<void*> free[kClasses];
};

namespace {

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

struct User {
  int device;
  cudaStream_t stream;
  bool operator==(const User&) const = default;
};
struct Elsewhere {  // what is known of a block that does not simply belong to the default stream
  MemoryPool* pool = nullptr;  // null: the default stream's
  std::vector<User> also;
};

/// What `after` is given from now on comes behind the work of `before` so far.
cudaError_t order(User before, User after) {
  cudaEvent_t e = nullptr;
  cudaError_t result;
  {
    const DeviceGuard guard(before.device);
    result = cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    if (result != cudaSuccess) return result;
    result = cudaEventRecord(e, before.stream);
  }
  if (result == cudaSuccess) {
    const DeviceGuard guard(after.device);
    result = cudaStreamWaitEvent(after.stream, e, 0);
  }
  (void)cudaEventDestroy(e);
  return result;
}

std::vector<std::unique_ptr<MemoryPool>> g_pools;  // of streams
thread_local MemoryPool* t_private = nullptr;      // the one in use while a stream is captured
std::unordered_map<void*, Elsewhere> g_elsewhere;
CudaMemory g_memory[kMostDevices];
std::mutex g_mutex;
bool g_forked = false;
[[maybe_unused]] const int kAtFork = pthread_atfork(nullptr, nullptr, [] { g_forked = true; });

MemoryPool& pool_of(int device, cudaStream_t stream) {
  for (const auto& p : g_pools) {
    if (p->device == device && p->stream == stream) return *p;
  }
  g_pools.push_back(std::make_unique<MemoryPool>());
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

/// Memory that outlives a captured graph: the driver's pool would make it part of the graph.
cudaError_t malloc_while_capturing(void** p, size_t bytes) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  const cudaError_t e = cudaMalloc(p, bytes);
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  return e;
}

/// "20.00 GiB"
std::string size_text(double bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB"};
  int u = 0;
  for (; u < 3 && bytes >= 1024; ++u) bytes /= 1024;
  char text[64];
  (void)std::snprintf(text, sizeof(text), "%.*f %s", u == 0 ? 0 : 2, bytes, units[u]);
  return text;
}

[[noreturn]] void fail_memory(size_t bytes, int device) {
  ++g_memory[device].n_failures;
  size_t free = 0, total = 0;
  (void)cudaMemGetInfo(&free, &total);
  const CudaMemory& m = g_memory[device];
  fail(ErrorKind::OutOfMemory,
       "CUDA out of memory. Tried to allocate {}. GPU {} has a total capacity of {} of which {} is "
       "free. Of the memory of this process, {} is allocated by gradstep, and {} is reserved by "
       "gradstep but unallocated.",
       size_text(double(bytes)), device, size_text(double(total)), size_text(double(free)),
       size_text(double(m.allocated)), size_text(double(m.reserved - m.allocated)));
}

}  // namespace

bool is_forked() { return g_forked; }

void* allocate(size_t bytes, int device) {
  if (bytes == 0) return nullptr;
  if (device < 0) device = current_device();
  const cudaStream_t stream = current_stream(device);
  const int size_class = class_of(bytes);
  const std::lock_guard lock(g_mutex);
  if (size_class >= kClasses) fail_memory(bytes, device);
  const auto size = int64_t(size_of(size_class));
  const bool is_private = t_private && t_private->device == device;
  MemoryPool& pool = is_private ? *t_private : pool_of(device, stream);
  auto& list = pool.free[size_class];
  void* p = nullptr;
  if (!list.empty()) {
    p = list.back();
    list.pop_back();
    count(device, size, 0);
  } else {
    const DeviceGuard guard(device);
    cudaError_t e = is_private ? malloc_while_capturing(&p, size_t(size))
                               : cudaMallocAsync(&p, size_t(size), stream);
    if (e == cudaErrorMemoryAllocation && !is_private) {
      (void)cudaGetLastError();
      ++g_memory[device].n_retries;
      release_lists();
      (void)cudaDeviceSynchronize();
      cudaMemPool_t driver;
      if (cudaDeviceGetDefaultMemPool(&driver, device) == cudaSuccess)
        (void)cudaMemPoolTrimTo(driver, 0);
      e = cudaMallocAsync(&p, size_t(size), stream);
    }
    if (e == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      fail_memory(bytes, device);
    }
    check(e, "allocation");
    count(device, size, size);
  }
  ++g_memory[device].n_allocations;
  if (is_private || stream) g_elsewhere[p].pool = &pool;
  if (is_private) ++pool.live;
  return p;
}

void deallocate(void* p, size_t bytes, int device) noexcept {
  if (!p || g_forked) return;
  if (device < 0) device = current_device();
  const int size_class = class_of(bytes);
  const std::lock_guard lock(g_mutex);
  MemoryPool* pool = nullptr;
  if (!g_elsewhere.empty()) {
    const auto found = g_elsewhere.find(p);
    if (found != g_elsewhere.end()) {
      pool = found->second.pool;
      for (const User& other : found->second.also) {
        // The home stream waits for the other one's work so far.
        if (order(other, {device, pool ? pool->stream : nullptr}) != cudaSuccess)
          (void)cudaGetLastError();
      }
      g_elsewhere.erase(found);
    }
  }
  const auto size = int64_t(size_of(size_class));
  if (!pool) pool = &pool_of(device, nullptr);
  count(device, -size, 0);
  ++g_memory[device].n_frees;
  if (pool->is_private) --pool->live;
  if (pool->closed) {
    (void)cudaFree(p);
    count(device, 0, -size);
    if (pool->live == 0) delete pool;
  } else {
    pool->free[size_class].push_back(p);
  }
}

MemoryPool* open_private_pool(int device, cudaStream_t stream) {
  auto* pool = new MemoryPool;
  pool->device = device;
  pool->stream = stream;
  pool->is_private = true;
  return pool;
}

void use_private_pool(MemoryPool* pool) { t_private = pool; }

void close_private_pool(MemoryPool* pool) {
  const std::lock_guard lock(g_mutex);
  const DeviceGuard guard(pool->device);
  for (int c = 0; c < kClasses; ++c) {
    for (void* p : pool->free[c]) {
      (void)cudaFree(p);
      count(pool->device, 0, -int64_t(size_of(c)));
    }
    pool->free[c].clear();
  }
  pool->closed = true;
  if (pool->live == 0) delete pool;
}

// ---- copies ----

// Pinned memory is reused, as asking for it takes the driver milliseconds. A block that copies may
// still be using when it is freed waits for the events behind them, one for each stream.

namespace {
struct PinnedBlock {
  int size_class;
  std::vector<std::pair<User, cudaEvent_t>> copies;  // those that nobody waited for
};
std::vector<void*> g_pinned_free[kClasses];
std::map<const char*, PinnedBlock> g_pinned_live;
std::vector<std::pair<void*, PinnedBlock>> g_pinned_waiting;

void reuse_pinned() {
  std::erase_if(g_pinned_waiting, [](auto& w) {
    std::erase_if(w.second.copies, [](const auto& copy) {
      if (cudaEventQuery(copy.second) == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return false;
      }
      (void)cudaEventDestroy(copy.second);
      return true;
    });
    if (!w.second.copies.empty()) return false;
    g_pinned_free[w.second.size_class].push_back(w.first);
    return true;
  });
}

}  // namespace

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
  g_pinned_live[static_cast<char*>(p)] = {size_class, {}};
  return p;
}

void deallocate_pinned(void* p, size_t) {
  if (!p || g_forked) return;
  const std::lock_guard lock(g_mutex);
  const auto found = g_pinned_live.find(static_cast<char*>(p));
  if (found == g_pinned_live.end()) return;
  PinnedBlock block = std::move(found->second);
  g_pinned_live.erase(found);
  if (block.copies.empty()) {
    g_pinned_free[block.size_class].push_back(p);
  } else {
    g_pinned_waiting.emplace_back(p, std::move(block));
  }
}

namespace {
PinnedBlock* pinned_block(const void* p) {
  auto at = g_pinned_live.upper_bound(static_cast<const char*>(p));
  if (at == g_pinned_live.begin()) return nullptr;
  --at;
  return static_cast<const char*>(p) < at->first + size_of(at->second.size_class) ? &at->second
                                                                                  : nullptr;
}

}  // namespace

bool is_pinned(const void* p) {
  const std::lock_guard lock(g_mutex);
  return pinned_block(p) != nullptr;
}

int device_of(const void* p) {
  cudaPointerAttributes a{};
  if (cudaPointerGetAttributes(&a, p) != cudaSuccess) {
    (void)cudaGetLastError();
    return -1;
  }
  return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged ? a.device : -1;
}

namespace {
/// True if p is pinned: its block then remembers the copy that was just started on the stream.
bool note_copy(const void* p, User user) {
  const std::lock_guard lock(g_mutex);
  PinnedBlock* block = pinned_block(p);
  if (!block) return false;
  auto& copies = block->copies;
  auto at = std::find_if(copies.begin(), copies.end(),
                         [&](const auto& copy) { return copy.first == user; });
  if (at == copies.end()) {
    cudaEvent_t e = nullptr;
    check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "copy");
    at = copies.insert(at, {user, e});
  }
  check(cudaEventRecord(at->second, user.stream), "copy");
  return true;
}

/// In the order of both devices' current streams: the copy runs on the source's, which waits for
/// what the other one does with the destination, and is waited for by it.
void copy_between(void* dst, int to, const void* src, int from, size_t bytes) {
  GS_CHECK(!is_capturing(),
           "CUDA graphs: a copy between GPUs is not possible while a graph is captured");
  const User source{from, current_stream(from)}, destination{to, current_stream(to)};
  check(order(destination, source), "copy");
  {
    const DeviceGuard guard(from);
    check(cudaMemcpyPeerAsync(dst, to, src, from, bytes, source.stream), "copy");
  }
  check(order(source, destination), "copy");
}

}  // namespace

void copy_bytes(void* dst, Device to, const void* src, Device from, size_t bytes,
                bool non_blocking) {
  if (bytes == 0) return;
  const bool to_host = to.type == DeviceType::CPU, from_host = from.type == DeviceType::CPU;
  if (!to_host && !from_host && to.index != from.index) {
    return copy_between(dst, to.index, src, from.index, bytes);
  }
  const int device = to_host ? from.index : to.index;
  const DeviceGuard guard(device);
  const cudaStream_t stream = current_stream(device);
  GS_CHECK(
      !is_capturing() || (!to_host && !from_host),
      "CUDA graphs: a copy between the host and the GPU (item(), print, a size that depends on "
      "values, .to()) is not possible while a graph is captured");
  check(cudaMemcpyAsync(dst, src, bytes,
                        to_host     ? cudaMemcpyDeviceToHost
                        : from_host ? cudaMemcpyHostToDevice
                                    : cudaMemcpyDeviceToDevice,
                        stream),
        "copy");
  if (!to_host && !from_host) return;
  if (non_blocking && note_copy(to_host ? dst : src, {device, stream})) return;
  check(cudaStreamSynchronize(stream), "copy");
  if (to_host) raise_reported(device);
}

void upload(void* dst, const void* src, size_t bytes, const Call& call) {
  // From pageable memory the runtime returns once the bytes are staged.
  check(cudaMemcpyAsync(dst, kept_while_capturing(src, bytes), bytes, cudaMemcpyHostToDevice,
                        stream_of(call)),
        call.op->name);
}

void download(void* dst, const void* src, size_t bytes, int device) {
  copy_bytes(dst, Device{}, src, Device{DeviceType::CUDA, int8_t(device)}, bytes, false);
}

// ---- what users ask ----

void empty_cache() {
  const std::lock_guard lock(g_mutex);
  release_lists();
  for (int d = 0; d < device_count(); ++d) {
    const DeviceGuard guard(d);
    check(cudaDeviceSynchronize(), "empty_cache");
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, d), "empty_cache");
    check(cudaMemPoolTrimTo(pool, 0), "empty_cache");
  }
}

void memory_of(int device, CudaMemory* out) { *out = g_memory[device]; }
void reset_peak(int device) {
  CudaMemory& m = g_memory[device];
  m.peak_allocated = m.allocated;
  m.peak_reserved = m.reserved;
}
void memory_info(int device, int64_t* free, int64_t* total) {
  const DeviceGuard guard(device);
  size_t f = 0, t = 0;
  check(cudaMemGetInfo(&f, &t), "mem_get_info");
  *free = int64_t(f);
  *total = int64_t(t);
}
void record_stream(void* p, int device, void* stream, int stream_device) {
  const std::lock_guard lock(g_mutex);
  Elsewhere& block = g_elsewhere[p];
  const User home{device, block.pool ? block.pool->stream : nullptr};
  const User user{stream_device, static_cast<cudaStream_t>(stream)};
  auto& also = block.also;
  if (home != user && std::find(also.begin(), also.end(), user) == also.end()) {
    also.push_back(user);
  }
}

}  // namespace gradstep::cuda
