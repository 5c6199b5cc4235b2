// SPDX-License-Identifier: Apache-2.0
// Small blocks: size classes, a list per class in each thread, a shared list behind it, slabs
// behind that. Big blocks: own mappings of 8 sizes per doubling, kept in one bin per size when
// free.
#include "core/memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace gradstep {
namespace {

constexpr size_t kSmallMax = size_t{64} << 10;
constexpr size_t kFineMax = 1024;  // up to here a class per 64 bytes, then 4 per doubling
constexpr int kSmallClasses = 40;
constexpr int kBigClasses = (47 - 16) * 8;
constexpr int kBigBorrow = 2;  // a free block up to this many sizes larger (25 %) serves a request
constexpr size_t kBytesMax = size_t{1} << 47;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSlab = size_t{1} << 20;
constexpr size_t kThreadClassBytes = size_t{512} << 10;  // free bytes per class that a thread keeps
constexpr int64_t kFlushBytes = 64 << 10;                // uncounted change per thread

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); }
constexpr int log2_floor(size_t n) { return std::bit_width(n) - 1; }

constexpr int small_class(size_t bytes) {
  if (bytes <= kFineMax) return static_cast<int>((bytes - 1) >> 6);
  const int e = log2_floor(bytes - 1);
  return 16 + (e - 10) * 4 + static_cast<int>(((bytes - 1) >> (e - 2)) & 3);
}
constexpr size_t small_size(int c) {
  if (c < 16) return static_cast<size_t>(c + 1) * 64;
  return size_t(5 + (c - 16) % 4) << ((c - 16) / 4 + 8);
}
constexpr int big_class(size_t bytes) {
  const int e = log2_floor(bytes - 1);
  return (e - 16) * 8 + static_cast<int>(((bytes - 1) >> (e - 3)) & 7);
}
constexpr size_t big_size(int c) { return size_t(9 + c % 8) << (c / 8 + 13); }

static_assert(small_class(kSmallMax) == kSmallClasses - 1 &&
              small_size(kSmallClasses - 1) == kSmallMax);
static_assert(small_size(small_class(1025)) == 1280 && small_size(small_class(1281)) == 1536);
static_assert(big_class(kSmallMax + 1) == 0 && big_size(0) == kSmallMax + 8192);
static_assert(big_class(kBytesMax) == kBigClasses - 1 && big_size(kBigClasses - 1) == kBytesMax);

/// How many free blocks of a class a thread keeps before it hands half to the others.
constexpr auto kKeep = [] {
  std::array<uint32_t, kSmallClasses> keep{};
  for (int c = 0; c < kSmallClasses; ++c) {
    keep[c] = static_cast<uint32_t>(std::clamp<size_t>(kThreadClassBytes / small_size(c), 8, 256));
  }
  return keep;
}();

// What is kept for reuse: twice what was ever in use at once, and this. Sizes that change from step
// to step would otherwise leave a set of free blocks for each.
constexpr size_t kSpare = size_t{64} << 20;

struct FreeBlock {
  FreeBlock* next;
};

struct FreeBig {
  void* p;
  uint64_t freed_at;  // in frees of big blocks
};

struct FreeList {
  FreeBlock* head = nullptr;
  uint32_t count = 0;
};

using Counter = std::atomic<int64_t>;  // one writer: its thread
void bump(Counter& counter, int64_t by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

struct ThreadCache {
  FreeList list[kSmallClasses];
  Counter pending{0};  // change of the allocated bytes that is not in Central::allocated yet
  Counter n_allocations{0};
  Counter n_frees{0};
  ThreadCache* next = nullptr;
  bool in_use = true;  // by a living thread; under Central::mutex
};

struct Central {
  std::mutex mutex;
  FreeList list[kSmallClasses];
  char* slab = nullptr;
  char* slab_end = nullptr;
  std::vector<FreeBig> bin[kBigClasses];  // the last one freed is the last one
  std::unordered_map<void*, int> big;     // every big block, free or not: its class
  ThreadCache* caches = nullptr;          // of all threads, living or not; never deleted
  size_t cached = 0;
  uint64_t n_big_frees = 0;
  size_t cache_limit = 0;
  size_t memory = 0;  // what the machine has
  int64_t reserved = 0;
  int64_t peak_reserved = 0;
  std::atomic<int64_t> allocated{0};
  std::atomic<int64_t> peak_allocated{0};

  Central();
};

// Never destroyed: blocks are freed until the very end of the process.
Central& central() {
  static Central& instance = *new Central;
  return instance;
}

/// RAM and swap, or what the container may use.
size_t machine_memory() {
  size_t total =
      static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (std::FILE* file = std::fopen("/proc/meminfo", "re")) {
    char line[128];
    unsigned long kib = 0;
    while (std::fgets(line, sizeof line, file)) {
      if (std::sscanf(line, "SwapTotal: %lu kB", &kib) == 1) total += size_t{kib} << 10;
    }
    std::fclose(file);
  }
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (std::FILE* file = std::fopen(path, "re")) {
      unsigned long limit = 0;
      if (std::fscanf(file, "%lu", &limit) == 1 && limit > 0)
        total = std::min(total, size_t{limit});
      std::fclose(file);
    }
  }
  return total;
}

Central::Central() : memory(machine_memory()) {
  const char* text = std::getenv("GRADSTEP_CACHE_LIMIT");
  cache_limit = text ? static_cast<size_t>(std::strtoull(text, nullptr, 10)) : memory / 2;
  // A child must not inherit a lock that another thread held at the fork.
  pthread_atfork([] { central().mutex.lock(); }, [] { central().mutex.unlock(); },
                 [] { central().mutex.unlock(); });
}

[[noreturn, gnu::cold]] void out_of_memory(size_t bytes) {
  fail(ErrorKind::OutOfMemory,
       "[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried to "
       "allocate {} "
       "bytes. Error code 12 (Cannot allocate memory)",
       bytes);
}

// ---- counting ----

void raise_to(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

[[gnu::noinline]] void count(Central& c, int64_t bytes) {
  const int64_t now = c.allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes > 0) raise_to(c.peak_allocated, now);
}

void flush(ThreadCache& cache) {
  const int64_t bytes = cache.pending.load(std::memory_order_relaxed);
  cache.pending.store(0, std::memory_order_relaxed);
  count(central(), bytes);
}

// ---- mappings; the caller holds the mutex ----

void* map_locked(Central& c, size_t bytes) {
  if (static_cast<size_t>(c.reserved) + bytes > c.memory) return nullptr;
  const size_t extra = bytes >= kHugePage ? kHugePage : 0;
  void* raw =
      mmap(nullptr, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(raw);
  if (extra != 0) {
    char* aligned = reinterpret_cast<char*>(round_up(reinterpret_cast<size_t>(begin), kHugePage));
    const size_t before = static_cast<size_t>(aligned - begin);
    if (before != 0) munmap(begin, before);
    if (extra != before) munmap(aligned + bytes, extra - before);
    begin = aligned;
    madvise(begin, bytes, MADV_HUGEPAGE);
  }
  c.reserved += static_cast<int64_t>(bytes);
  c.peak_reserved = std::max(c.peak_reserved, c.reserved);
  return begin;
}

void unmap_locked(Central& c, void* p, size_t bytes) {
  munmap(p, bytes);
  c.reserved -= static_cast<int64_t>(bytes);
}

void empty_cache_locked(Central& c) {
  for (int k = 0; k < kBigClasses; ++k) {
    for (const FreeBig& block : c.bin[k]) {
      c.big.erase(block.p);
      unmap_locked(c, block.p, big_size(k));
    }
    c.bin[k].clear();
  }
  c.cached = 0;
}

// ---- small blocks ----

void push(FreeList& list, void* p) {
  FreeBlock* block = static_cast<FreeBlock*>(p);
  block->next = list.head;
  list.head = block;
  ++list.count;
}

void* pop(FreeList& list) {
  FreeBlock* block = list.head;
  list.head = block->next;
  --list.count;
  return block;
}

/// One block of class k from the shared list or a slab; nullptr if there is no memory.
void* take_shared_locked(Central& c, int k) {
  if (c.list[k].head) return pop(c.list[k]);
  const size_t size = small_size(k);
  if (static_cast<size_t>(c.slab_end - c.slab) < size) {
    void* slab = map_locked(c, kSlab);
    if (!slab) {
      empty_cache_locked(c);
      slab = map_locked(c, kSlab);
      if (!slab) return nullptr;
    }
    // What is left of the old slab becomes the largest blocks that fit.
    while (static_cast<size_t>(c.slab_end - c.slab) >= 64) {
      const size_t left = static_cast<size_t>(c.slab_end - c.slab);
      int fit = small_class(left);
      if (small_size(fit) > left) --fit;
      push(c.list[fit], c.slab);
      c.slab += small_size(fit);
    }
    c.slab = static_cast<char*>(slab);
    c.slab_end = c.slab + kSlab;
  }
  void* p = c.slab;
  c.slab += size;
  return p;
}

// Only a pointer is thread-local: initial-exec storage is scarce in a library that is loaded late.
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadCache* this_cache = nullptr;
[[gnu::tls_model("initial-exec")]] constinit thread_local bool thread_ended = false;

/// At the thread's end its free blocks go to the others; its cache waits for the next new thread.
struct ThreadEnd {
  ~ThreadEnd() {
    ThreadCache* cache = this_cache;
    this_cache = nullptr;
    thread_ended = true;
    if (!cache) return;
    flush(*cache);
    Central& c = central();
    const std::lock_guard lock(c.mutex);
    for (int k = 0; k < kSmallClasses; ++k) {
      while (cache->list[k].head) push(c.list[k], pop(cache->list[k]));
    }
    cache->in_use = false;
  }
};

/// The thread's cache, made at first use; nullptr when the thread is ending.
ThreadCache* get_cache() {
  if (this_cache) [[likely]]
    return this_cache;
  if (thread_ended) return nullptr;
  static thread_local ThreadEnd end;
  static_cast<void>(end);
  Central& c = central();
  const std::lock_guard lock(c.mutex);
  for (ThreadCache* cache = c.caches; cache; cache = cache->next) {
    if (!cache->in_use) {
      cache->in_use = true;
      return this_cache = cache;
    }
  }
  auto* cache = new ThreadCache;
  cache->next = c.caches;
  c.caches = cache;
  return this_cache = cache;
}

[[gnu::noinline, maybe_unused]] void* allocate_small_slowly(size_t bytes) {
  const int k = small_class(bytes);
  const int64_t counted = static_cast<int64_t>(round_up(bytes, 64));
  Central& c = central();
  ThreadCache* cache = get_cache();
  const std::lock_guard lock(c.mutex);
  void* p = take_shared_locked(c, k);
  if (!p) out_of_memory(bytes);
  if (!cache) {
    count(c, counted);
    return p;
  }
  for (uint32_t i = 1; i < kKeep[k] / 4; ++i) {
    void* more = take_shared_locked(c, k);
    if (!more) break;
    push(cache->list[k], more);
  }
  bump(cache->n_allocations, 1);
  bump(cache->pending, counted);
  return p;
}

/// The thread holds more than it should: half of the list goes to the others.
[[gnu::noinline, maybe_unused]] void hand_over(FreeList& list, int k) {
  Central& c = central();
  const std::lock_guard lock(c.mutex);
  for (uint32_t i = kKeep[k] / 2; i > 0; --i) push(c.list[k], pop(list));
}

[[gnu::noinline, maybe_unused]] void deallocate_small_slowly(void* p, size_t bytes) {
  Central& c = central();
  if (ThreadCache* cache = get_cache()) {  // a thread that has only freed so far
    push(cache->list[small_class(bytes)], p);
    bump(cache->n_frees, 1);
    bump(cache->pending, -static_cast<int64_t>(round_up(bytes, 64)));
    return;
  }
  count(c, -static_cast<int64_t>(round_up(bytes, 64)));
  const std::lock_guard lock(c.mutex);
  push(c.list[small_class(bytes)], p);
}

// ---- big blocks ----

/// Makes room for a new mapping: gives the blocks that were free longest back to the system.
void drop_oldest_locked(Central& c, size_t wanted) {
  const auto peak = static_cast<size_t>(c.peak_allocated.load(std::memory_order_relaxed));
  const size_t limit = 2 * peak + kSpare;
  while (c.cached != 0 && static_cast<size_t>(c.reserved) + wanted > limit) {
    int oldest = -1;
    for (int k = 0; k < kBigClasses; ++k) {
      if (c.bin[k].empty()) continue;
      if (oldest < 0 || c.bin[k].front().freed_at < c.bin[oldest].front().freed_at) oldest = k;
    }
    void* p = c.bin[oldest].front().p;
    c.bin[oldest].erase(c.bin[oldest].begin());
    c.big.erase(p);
    c.cached -= big_size(oldest);
    unmap_locked(c, p, big_size(oldest));
  }
}

void* take_big_locked(Central& c, int wanted) {
  for (int k = wanted; k <= std::min(wanted + kBigBorrow, kBigClasses - 1); ++k) {
    if (c.bin[k].empty()) continue;
    void* p = c.bin[k].back().p;  // the last one freed: the warmest
    c.bin[k].pop_back();
    c.cached -= big_size(k);
    return p;
  }
  const size_t size = big_size(wanted);
  drop_oldest_locked(c, size);
  void* p = map_locked(c, size);
  if (!p && c.cached != 0) {
    empty_cache_locked(c);
    p = map_locked(c, size);
  }
  if (p) c.big.emplace(p, wanted);
  return p;
}

[[gnu::noinline, maybe_unused]] void* allocate_big(size_t bytes) {
  if (bytes >= kBytesMax) out_of_memory(bytes);
  Central& c = central();
  void* p;
  {
    const std::lock_guard lock(c.mutex);
    p = take_big_locked(c, big_class(bytes));
  }
  if (!p) out_of_memory(bytes);
  if (ThreadCache* cache = get_cache()) {
    bump(cache->n_allocations, 1);
    flush(*cache);
  }
  count(c, static_cast<int64_t>(round_up(bytes, 64)));
  return p;
}

[[gnu::noinline, maybe_unused]] void deallocate_big(void* p, size_t bytes) {
  Central& c = central();
  if (ThreadCache* cache = get_cache()) bump(cache->n_frees, 1);
  count(c, -static_cast<int64_t>(round_up(bytes, 64)));
  const std::lock_guard lock(c.mutex);
  const auto found = c.big.find(p);
  const int k = found->second;
  if (c.cached + big_size(k) > c.cache_limit) {
    c.big.erase(found);
    unmap_locked(c, p, big_size(k));
    return;
  }
  c.bin[k].push_back({p, ++c.n_big_frees});
  c.cached += big_size(k);
}

}  // namespace

// ---- interface ----

#if defined(__SANITIZE_ADDRESS__)
// One heap block for each request, so that the sanitizer sees every overrun.
void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  Central& c = central();
  void* p = nullptr;
  if (bytes > c.memory || posix_memalign(&p, kAlignment, bytes) != 0) out_of_memory(bytes);
  if (ThreadCache* cache = get_cache()) bump(cache->n_allocations, 1);
  count(c, static_cast<int64_t>(round_up(bytes, 64)));
  return p;
}

void deallocate(void* p, size_t bytes) noexcept {
  if (!p) return;
  if (ThreadCache* cache = get_cache()) bump(cache->n_frees, 1);
  count(central(), -static_cast<int64_t>(round_up(bytes, 64)));
  std::free(p);
}
#else
void* allocate(size_t bytes) {
  if (bytes - 1 >= kSmallMax) [[unlikely]]
    return bytes == 0 ? nullptr : allocate_big(bytes);
  const int k = small_class(bytes);
  ThreadCache* cache = this_cache;
  if (!cache || !cache->list[k].head) [[unlikely]]
    return allocate_small_slowly(bytes);
  void* p = pop(cache->list[k]);
  bump(cache->n_allocations, 1);
  bump(cache->pending, static_cast<int64_t>(round_up(bytes, 64)));
  if (cache->pending.load(std::memory_order_relaxed) > kFlushBytes) [[unlikely]]
    flush(*cache);
  return p;
}

void deallocate(void* p, size_t bytes) noexcept {
  if (!p) return;
  if (bytes > kSmallMax) [[unlikely]]
    return deallocate_big(p, bytes);
  ThreadCache* cache = this_cache;
  if (!cache) [[unlikely]]
    return deallocate_small_slowly(p, bytes);
  const int k = small_class(bytes);
  FreeList& list = cache->list[k];
  push(list, p);
  bump(cache->n_frees, 1);
  bump(cache->pending, -static_cast<int64_t>(round_up(bytes, 64)));
  if (list.count > kKeep[k]) [[unlikely]]
    hand_over(list, k);
  if (cache->pending.load(std::memory_order_relaxed) < -kFlushBytes) [[unlikely]]
    flush(*cache);
}
#endif

void empty_cache() {
  Central& c = central();
  const std::lock_guard lock(c.mutex);
  empty_cache_locked(c);
}

MemoryStats memory_stats() {
  Central& c = central();
  const std::lock_guard lock(c.mutex);
  MemoryStats stats;
  stats.allocated = c.allocated.load(std::memory_order_relaxed);
  for (ThreadCache* cache = c.caches; cache; cache = cache->next) {
    stats.allocated += cache->pending.load(std::memory_order_relaxed);
    stats.n_allocations += cache->n_allocations.load(std::memory_order_relaxed);
    stats.n_live -= cache->n_frees.load(std::memory_order_relaxed);
  }
  stats.n_live += stats.n_allocations;
  raise_to(c.peak_allocated, stats.allocated);
  stats.reserved = c.reserved;
  stats.cached = static_cast<int64_t>(c.cached);
  stats.peak_allocated = c.peak_allocated.load(std::memory_order_relaxed);
  stats.peak_reserved = c.peak_reserved;
  return stats;
}

void reset_peak() {
  const int64_t now = memory_stats().allocated;
  Central& c = central();
  const std::lock_guard lock(c.mutex);
  c.peak_allocated.store(now, std::memory_order_relaxed);
  c.peak_reserved = c.reserved;
}

}  // namespace gradstep
