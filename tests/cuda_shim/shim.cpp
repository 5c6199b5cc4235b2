// SPDX-License-Identifier: Apache-2.0
// The scheduler and the memory behind tests/cuda_shim/cuda_runtime.h.
// A thread runs until it ends or waits; only then another goes on, so kernels without barriers are
// plain loops. Warps run in forward, reverse or shuffled order, changing from launch to launch (or
// as GS_SHIM_ORDER=forward|reverse|shuffle says): a missing barrier that one order hides, another
// shows. Device memory is unreadable while no kernel and no copy runs: a host that reads it crashes
// (GS_SHIM_GUARD=0 leaves it open). GS_SHIM_SKIP=1 runs no kernel: what is left is the host's
// overhead. Fresh memory is filled with 0xA5, freed memory with 0x5A.
// GS_SHIM_ASYNC=1: what a stream is given runs when somebody waits for it, and not before: a
// missing wait shows. GS_SHIM_DEVICES=2: so many devices; a kernel may touch the memory of its own
// only.
#include <cuda_runtime.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

// ---- fibers ----

// Saves the callee-saved registers on the old stack and takes them from the new one.
extern "C" void shim_switch(void** save_stack, void* new_stack);
asm(R"(
.text
.globl shim_switch
.hidden shim_switch
.type shim_switch,@function
shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace shim {
namespace {

constexpr size_t kStack = 128 * 1024;

struct Fiber {
  char* memory;
  void* stack;  // where it goes on
};

enum class State : uint8_t { Fresh, Ready, AtBarrier, AtWarp, Done };

struct Thread {
  State state;
  Fiber* fiber;
  unsigned mask;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<uint64_t> slots;
  std::vector<int> warps;  // the order in which they run
  Body body = nullptr;
  void* context = nullptr;
  int current = -1;
};

Block g_block;
void* g_scheduler = nullptr;
std::vector<Fiber*> g_idle;
std::vector<char> g_dynamic;
int g_predicates[1024];

void set_indices(int t) {
  threadIdx.x = unsigned(t) % blockDim.x;
  threadIdx.y = unsigned(t) / blockDim.x % blockDim.y;
  threadIdx.z = unsigned(t) / (blockDim.x * blockDim.y);
}

void fiber_main() {
  while (true) {
    Block& b = g_block;
    const int t = b.current;
    b.body(b.context);
    b.threads[t].state = State::Done;
    g_idle.push_back(b.threads[t].fiber);
    shim_switch(&b.threads[t].fiber->stack, g_scheduler);
  }
}

Fiber* new_fiber() {
  auto* f = new Fiber;
  f->memory = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  void** top = reinterpret_cast<void**>(f->memory + kStack - 64);
  *--top = nullptr;  // return address of fiber_main: never used
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f->stack = top;
  return f;
}

void run_thread(int t) {
  Block& b = g_block;
  Thread& thread = b.threads[t];
  if (thread.state == State::Fresh) {
    if (g_idle.empty()) g_idle.push_back(new_fiber());
    thread.fiber = g_idle.back();
    g_idle.pop_back();
  }
  thread.state = State::Ready;
  b.current = t;
  set_indices(t);
  shim_switch(&g_scheduler, thread.fiber->stack);
}

void wait(State s, unsigned mask) {
  Block& b = g_block;
  const int t = b.current;
  b.threads[t].state = s;
  b.threads[t].mask = mask;
  shim_switch(&b.threads[t].fiber->stack, g_scheduler);
}

/// Lets lanes of a warp go on whose whole mask has arrived.
bool release_warp(int warp) {
  Block& b = g_block;
  const int first = warp * 32, n = std::min<int>(32, int(b.threads.size()) - first);
  bool any = false;
  for (int l = 0; l < n; ++l) {
    Thread& t = b.threads[first + l];
    if (t.state != State::AtWarp) continue;
    bool all = true;
    for (int k = 0; k < n; ++k) {
      if (!(t.mask >> k & 1)) continue;
      const Thread& o = b.threads[first + k];
      all = all && (o.state == State::Done || (o.state == State::AtWarp && o.mask == t.mask));
    }
    if (!all) continue;
    const unsigned mask = t.mask;
    for (int k = 0; k < n; ++k) {
      if ((mask >> k & 1) && b.threads[first + k].state == State::AtWarp) {
        b.threads[first + k].state = State::Ready;
      }
    }
    any = true;
  }
  return any;
}

[[noreturn]] void stuck(const char* what) {
  std::fprintf(stderr, "cuda shim: %s (block %u,%u,%u of %u threads)\n", what, blockIdx.x,
               blockIdx.y, blockIdx.z, unsigned(g_block.threads.size()));
  std::abort();
}

void run_block() {
  Block& b = g_block;
  const int n = int(b.threads.size());
  for (Thread& t : b.threads) t = {State::Fresh, nullptr, 0};
  while (true) {
    for (const int w : b.warps) {
      // A warp runs greedily until all of its lanes have ended or wait for the block.
      bool again = true;
      while (again) {
        again = false;
        for (int t = w * 32; t < std::min(n, w * 32 + 32); ++t) {
          if (b.threads[t].state == State::Fresh || b.threads[t].state == State::Ready)
            run_thread(t);
        }
        again = release_warp(w);
      }
    }
    int done = 0, at_barrier = 0;
    for (const Thread& t : b.threads) {
      done += t.state == State::Done;
      at_barrier += t.state == State::AtBarrier;
    }
    if (done == n) return;
    if (done + at_barrier != n)
      stuck("some lanes wait for others that never arrive at a warp barrier");
    if (done != 0) stuck("__syncthreads() was not reached by all threads of the block");
    for (Thread& t : b.threads) t.state = State::Ready;
  }
}

// ---- memory ----

constexpr size_t kArena = size_t(1) << 36;  // addresses; memory comes as it is touched
constexpr int kMostDevices = 4;
bool is_set(const char* name) {
  const char* v = std::getenv(name);
  return v && std::string(v) != "0";
}
const bool kGuard = !std::getenv("GS_SHIM_GUARD") || is_set("GS_SHIM_GUARD");
const bool kAsync = is_set("GS_SHIM_ASYNC");
const int kDevices = [] {
  const char* n = std::getenv("GS_SHIM_DEVICES");
  return n ? std::clamp(std::atoi(n), 1, kMostDevices) : 1;
}();
size_t memory_limit() {
  const char* m = std::getenv("GS_SHIM_MEMORY");
  return m ? std::strtoull(m, nullptr, 10) : size_t(8) << 30;
}

constexpr size_t kLargeBlock = 65536;

struct Arena {  // a device's memory
  char* base = nullptr;
  size_t top = 0;
  size_t used = 0;
  int depth = 0;  // kernels and copies that may touch it
  std::map<size_t, std::vector<size_t>> free_by_size;
  std::map<size_t, size_t> sizes;
};
Arena g_arenas[kMostDevices];
thread_local int t_device = 0;

void protect(const Arena& a, int mode) {
  if (kGuard && a.top) mprotect(a.base, a.top, mode);
}
class Access {  // a device's memory, or that of all (-1), may be touched while one lives
 public:
  explicit Access(int device) : device_(device) {
    each([](Arena& a) {
      if (a.depth++ == 0) protect(a, PROT_READ | PROT_WRITE);
    });
  }
  ~Access() {
    each([](Arena& a) {
      if (--a.depth == 0) protect(a, PROT_NONE);
    });
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  template <class F>
  void each(F f) {
    for (int d = 0; d < kDevices; ++d) {
      if (device_ < 0 || device_ == d) f(g_arenas[d]);
    }
  }
  int device_;
};

}  // namespace

void wait_block() { wait(State::AtBarrier, 0); }
void wait_warp(unsigned mask) { wait(State::AtWarp, mask); }
int lane() { return g_block.current % 32; }
uint64_t* lane_slot(int l) { return &g_block.slots[size_t(g_block.current / 32 * 32 + l)]; }
bool lane_exists(int l) { return g_block.current / 32 * 32 + l < int(g_block.threads.size()); }
void* dynamic_shared() {
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(g_dynamic.data()) + 127) &
                                 ~uintptr_t(127));
}

int64_t g_launches = 0;

void run_grid(int device, dim3 grid, dim3 block, size_t shared_bytes, Body body, void* context) {
  const unsigned n = block.x * block.y * block.z;
  if (n == 0 || n > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || grid.x > 0x7fffffffu || shared_bytes > 227 * 1024) {
    throw std::runtime_error("cuda shim: a grid that no GPU takes");
  }
  static const bool skip = std::getenv("GS_SHIM_SKIP") != nullptr;
  if (skip) return;
  const Access access(device);
  ++g_launches;
  static unsigned launches = 0;
  static const std::string order = std::getenv("GS_SHIM_ORDER") ? std::getenv("GS_SHIM_ORDER") : "";
  const unsigned kind = order == "forward"   ? 0
                        : order == "reverse" ? 1
                        : order == "shuffle" ? 2
                                             : launches++ % 3;
  Block& b = g_block;
  b.threads.resize(n);
  b.slots.assign((n + 31) / 32 * 32, 0);
  b.warps.resize((n + 31) / 32);
  std::iota(b.warps.begin(), b.warps.end(), 0);
  if (kind == 1) std::reverse(b.warps.begin(), b.warps.end());
  static std::mt19937 random(1);
  b.body = body;
  b.context = context;
  g_dynamic.assign(shared_bytes + 128, char(0xa5));
  gridDim = grid;
  blockDim = block;
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  for (uint64_t k = 0; k < blocks; ++k) {
    // Blocks come in any order on a GPU; here forward or reverse.
    const uint64_t at = kind == 1 ? blocks - 1 - k : k;
    blockIdx.x = unsigned(at % grid.x);
    blockIdx.y = unsigned(at / grid.x % grid.y);
    blockIdx.z = unsigned(at / grid.x / grid.y);
    if (kind == 2) std::shuffle(b.warps.begin(), b.warps.end(), random);
    run_block();
  }
}

}  // namespace shim

namespace {
template <class Combine>
int vote(int predicate, Combine combine) {
  const int t = shim::g_block.current;
  shim::g_predicates[t] = predicate;
  __syncthreads();
  int r = combine(shim::g_predicates, int(shim::g_block.threads.size()));
  __syncthreads();
  return r;
}
}  // namespace
int __syncthreads_or(int p) {
  return vote(p, [](const int* v, int n) {
    return int(std::any_of(v, v + n, [](int x) { return x != 0; }));
  });
}
int __syncthreads_and(int p) {
  return vote(p, [](const int* v, int n) {
    return int(std::all_of(v, v + n, [](int x) { return x != 0; }));
  });
}
int __syncthreads_count(int p) {
  return vote(p, [](const int* v, int n) {
    return int(std::count_if(v, v + n, [](int x) { return x != 0; }));
  });
}

using namespace shim;

// ---- streams and events ----

struct ShimStream {
  int device = 0;
  std::deque<std::function<void()>> queue;
};
namespace {

std::vector<ShimStream*>& all_streams() {
  static auto* all = [] {
    auto* v = new std::vector<ShimStream*>;
    for (int d = 0; d < kMostDevices; ++d) v->push_back(new ShimStream{d, {}});  // the default ones
    return v;
  }();
  return *all;
}
ShimStream* resolved(cudaStream_t s) { return s ? s : all_streams()[size_t(t_device)]; }

bool step(ShimStream& s) {
  if (s.queue.empty()) return false;
  const auto next = std::move(s.queue.front());
  s.queue.pop_front();
  next();
  return true;
}
void drain(ShimStream& s) {
  while (step(s)) {
  }
}
/// The newest stream first: an order that nobody asked for.
void drain_device(int device) {
  auto& all = all_streams();
  for (size_t i = all.size(); i-- > 0;) {
    if (all[i]->device == device) drain(*all[i]);
  }
}

/// One recording of an event.
struct Mark {
  ShimStream* stream;
  bool done = false, captured = false;
  std::chrono::steady_clock::time_point at;
};
thread_local cudaError_t t_error = cudaSuccess;
cudaError_t failed(cudaError_t e) { return t_error = e; }

}  // namespace
struct ShimEvent {
  int device;
  std::shared_ptr<Mark> last;
};

struct ShimGraph {
  std::vector<std::function<void()>> nodes;
};
namespace {
ShimGraph* g_recorded = nullptr;
std::set<ShimStream*> g_captured;  // the streams whose work goes into it
bool g_relaxed = false;

/// What a stream is given: into the graph, behind what it has, or done at once.
template <class F>
void submit(ShimStream& s, F&& work) {
  if (g_captured.count(&s)) {
    g_recorded->nodes.push_back(std::forward<F>(work));
  } else if (kAsync) {
    s.queue.push_back(std::forward<F>(work));
  } else {
    work();
  }
}
}  // namespace

int shim::may_run_now(cudaStream_t stream) {
  ShimStream& s = *resolved(stream);
  if (s.device != t_device) {
    (void)failed(cudaErrorInvalidResourceHandle);
    return -2;
  }
  return kAsync || g_captured.count(&s) ? -1 : s.device;
}
void shim::enqueue(cudaStream_t stream, std::function<void(int)> work) {
  ShimStream& s = *resolved(stream);
  submit(s, [work = std::move(work), device = s.device] { work(device); });
}

/// How many kernels ran so far, for tests that count them.
extern "C" __attribute__((visibility("default"))) int64_t shim_launches() {
  return shim::g_launches;
}

/// Opens device memory to the host's code (1) and closes it again (0): for stand-ins of NVIDIA's
/// libraries, which find it by dlsym.
extern "C" __attribute__((visibility("default"))) void shim_access(int on) {
  static std::vector<std::unique_ptr<Access>> open;
  if (on) {
    for (int d = 0; d < kDevices; ++d) drain_device(d);
    open.push_back(std::make_unique<Access>(-1));
  } else {
    open.pop_back();
  }
}

/// For them too: does work of a stream, with device memory open, when the stream comes to it.
extern "C" __attribute__((visibility("default"))) void shim_run(cudaStream_t stream,
                                                                const std::function<void()>* work) {
  shim::enqueue(stream, [work = *work](int device) {
    const Access access(device);
    work();
  });
}

// ---- the runtime ----

const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorMemoryAllocation        ? "out of memory"
         : e == cudaErrorInvalidResourceHandle ? "invalid resource handle"
                                               : "an error of the shim";
}
const char* cudaGetErrorName(cudaError_t e) {
  return e == cudaErrorMemoryAllocation        ? "cudaErrorMemoryAllocation"
         : e == cudaErrorInvalidResourceHandle ? "cudaErrorInvalidResourceHandle"
                                               : "cudaErrorUnknown";
}
cudaError_t cudaGetLastError() { return std::exchange(t_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return t_error; }
cudaError_t cudaGetDeviceCount(int* n) {
  *n = kDevices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = t_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return failed(cudaErrorInvalidDevice);
  t_device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (!g_captured.empty() && !g_relaxed) return failed(cudaErrorStreamCaptureUnsupported);
  drain_device(t_device);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  std::strcpy(p->name, "CPU emulation of one block at a time");
  p->totalGlobalMem = memory_limit();
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerBlockOptin = 227 * 1024;
  p->sharedMemPerMultiprocessor = 228 * 1024;
  p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->major = 9;
  p->minor = 0;
  p->multiProcessorCount = 4;  // small, so that grids loop
  p->l2CacheSize = 1 << 20;
  p->maxThreadsPerMultiProcessor = 2048;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr a, int) {
  *value = a == cudaDevAttrMultiProcessorCount ? 4 : 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* v) {
  const char* const set = std::getenv("GS_SHIM_DRIVER");
  *v = set ? std::atoi(set) : 13000;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  if (g_recorded && !g_relaxed) return failed(cudaErrorStreamCaptureUnsupported);
  Arena& a = g_arenas[t_device];
  if (!a.base) {
    a.base = static_cast<char*>(
        mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  // A guard of 512 bytes behind each block keeps the pattern that cudaFree looks for.
  const size_t room = (bytes + 511) / 512 * 512 + 512;
  if (a.used + room > memory_limit()) return failed(cudaErrorMemoryAllocation);
  size_t at;
  auto& free = a.free_by_size[room];
  if (!free.empty()) {
    at = free.back();
    free.pop_back();
  } else {
    at = a.top;
    a.top += (room + 4095) / 4096 * 4096;
    if (a.top > kArena) return failed(cudaErrorMemoryAllocation);
  }
  a.used += room;
  a.sizes[at] = bytes;
  if (!kGuard) mprotect(a.base, a.top, PROT_READ | PROT_WRITE);
  const Access access(t_device);
  std::memset(a.base + at, 0xA5, room);
  *p = a.base + at;
  return cudaSuccess;
}
namespace {
/// The device whose memory this is; -1: the host's.
int device_of(const void* p) {
  for (int d = 0; d < kDevices; ++d) {
    const Arena& a = g_arenas[d];
    if (a.base && p >= a.base && p < a.base + kArena) return d;
  }
  return -1;
}
void free_now(void* p) {
  const int device = device_of(p);
  Arena& a = g_arenas[std::max(device, 0)];
  const size_t at = size_t(static_cast<char*>(p) - a.base);
  const auto found = a.sizes.find(at);
  if (device < 0 || found == a.sizes.end()) {
    std::fprintf(stderr, "cuda shim: freed what was not allocated\n");
    std::abort();
  }
  const size_t bytes = found->second, room = (bytes + 511) / 512 * 512 + 512;
  const Access access(device);
  for (size_t i = bytes; i < room; ++i) {
    if (static_cast<unsigned char>(a.base[at + i]) != 0xA5) {
      std::fprintf(stderr, "cuda shim: a kernel wrote behind a block of %zu bytes\n", bytes);
      std::abort();
    }
  }
  if (room >= kLargeBlock) {
    // Its pages go: each launch changes the protection of all pages that are there.
    const size_t first = (at + 4095) / 4096 * 4096, last = (at + room) / 4096 * 4096;
    madvise(a.base + first, last - first, MADV_DONTNEED);
  } else {
    std::memset(p, 0x5A, bytes);
  }
  a.used -= room;
  a.sizes.erase(found);
  a.free_by_size[room].push_back(at);
}
/// Work for a stream of the current device.
template <class F>
cudaError_t given(cudaStream_t stream, F&& work) {
  ShimStream& s = *resolved(stream);
  if (s.device != t_device) return failed(cudaErrorInvalidResourceHandle);
  submit(s, std::forward<F>(work));
  return cudaSuccess;
}
}  // namespace
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  drain_device(std::max(device_of(p), 0));
  free_now(p);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  if (resolved(stream)->device != t_device) return failed(cudaErrorInvalidResourceHandle);
  return cudaMalloc(p, bytes);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  return given(stream, [p] { free_now(p); });
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = memory_limit();
  *free = *total - std::min(*total, g_arenas[t_device].used);
  return cudaSuccess;
}
namespace {
std::map<const char*, size_t>& pinned_blocks() {
  static auto* blocks = new std::map<const char*, size_t>;
  return *blocks;
}
bool is_pageable(const void* p) {
  const auto at = pinned_blocks().upper_bound(static_cast<const char*>(p));
  if (at == pinned_blocks().begin()) return true;
  const auto& [start, bytes] = *std::prev(at);
  return static_cast<const char*>(p) >= start + bytes;
}
}  // namespace
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  *p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (*p) pinned_blocks()[static_cast<char*>(*p)] = bytes;
  return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  const int device = device_of(p);
  a->type = device >= 0      ? cudaMemoryTypeDevice
            : is_pageable(p) ? cudaMemoryTypeUnregistered
                             : cudaMemoryTypeHost;
  a->device = device;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  for (int d = 0; d < kDevices; ++d) drain_device(d);
  pinned_blocks().erase(static_cast<char*>(p));
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  const auto copy = [=] {
    const Access access(-1);
    std::memmove(dst, src, bytes);
  };
  ShimStream& s = *resolved(stream);
  const bool waits = kAsync && !g_captured.count(&s);
  if (waits && device_of(src) < 0 && is_pageable(src)) {
    // The bytes are taken before the call returns.
    const auto staged = std::make_shared<std::vector<char>>(static_cast<const char*>(src),
                                                            static_cast<const char*>(src) + bytes);
    return given(stream, [=] {
      const Access access(-1);
      std::memcpy(dst, staged->data(), bytes);
    });
  }
  const cudaError_t e = given(stream, copy);
  if (waits && device_of(dst) < 0 && is_pageable(dst)) drain(s);
  return e;
}
cudaError_t cudaMemcpyPeerAsync(void* dst, int dst_device, const void* src, int src_device,
                                size_t bytes, cudaStream_t stream) {
  if (device_of(dst) != dst_device || device_of(src) != src_device) {
    return failed(cudaErrorInvalidValue);
  }
  return cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, stream);
}
cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind k) {
  const cudaError_t e = cudaMemcpyAsync(dst, src, bytes, k, nullptr);
  drain(*resolved(nullptr));
  return e;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return given(stream, [=] {
    const Access access(device_of(p));
    std::memset(p, value, bytes);
  });
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned, int) {
  *s = new ShimStream{t_device, {}};
  all_streams().push_back(*s);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  drain(*resolved(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return step(*resolved(stream)) ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned) {
  const std::shared_ptr<Mark> mark = e->last;
  if (!mark) return cudaSuccess;
  if (mark->captured) g_captured.insert(resolved(stream));
  return given(stream, [mark] {
    while (!mark->done && !mark->captured) step(*mark->stream);
  });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new ShimEvent{t_device, nullptr};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
  ShimStream* const s = resolved(stream);
  if (e->device != s->device) return failed(cudaErrorInvalidResourceHandle);
  const auto mark = std::make_shared<Mark>();
  mark->stream = s;
  mark->captured = g_captured.count(s) != 0;
  e->last = mark;
  return given(stream, [mark] {
    mark->done = true;
    mark->at = std::chrono::steady_clock::now();
  });
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  if (!e->last || e->last->done) return cudaSuccess;
  step(*e->last->stream);
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  while (e->last && !e->last->done) step(*e->last->stream);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  if (!a->last || !b->last) return failed(cudaErrorInvalidResourceHandle);
  if (!a->last->done || !b->last->done) return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(b->last->at - a->last->at).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  if (!s || g_recorded) return failed(cudaErrorStreamCaptureUnsupported);
  g_recorded = new ShimGraph;
  g_captured = {s};
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = g_recorded;
  g_recorded = nullptr;
  g_captured.clear();
  return *graph ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  const bool before = g_relaxed;
  g_relaxed = *mode == cudaStreamCaptureModeRelaxed;
  *mode = before ? cudaStreamCaptureModeRelaxed : cudaStreamCaptureModeThreadLocal;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new ShimGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const auto& node : exec->nodes) {
    const cudaError_t e = given(stream, node);
    if (e != cudaSuccess) return e;
  }
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
