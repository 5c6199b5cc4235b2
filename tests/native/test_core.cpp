// SPDX-License-Identifier: Apache-2.0
// The thread pool and the allocator, tested without Python: prints each failed check, exits
// non-zero on any.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "expect.h"

namespace {

using namespace gradstep;

// ---- threads ----

std::set<std::pair<int64_t, int64_t>> chunks_of(int64_t n, int64_t grain) {
  std::set<std::pair<int64_t, int64_t>> chunks;
  std::mutex mutex;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    chunks.emplace(begin, end);
  });
  return chunks;
}

void test_chunks_cover_the_range_once_and_ignore_the_thread_count() {
  for (int64_t n : {0, 1, 63, 64, 65, 1000, 32768, 32769, 98304, 1000001}) {
    for (int64_t grain : {1, 3, 64, 1000, 32768}) {
      if (n / grain > 5000) continue;
      set_num_threads(1);
      const auto serial = chunks_of(n, grain);
      set_num_threads(4);
      const auto parallel = chunks_of(n, grain);
      EXPECT(serial == parallel);
      EXPECT(static_cast<int64_t>(serial.size()) == chunk_count(n, grain));
      int64_t at = 0;
      for (const auto& [begin, end] : serial) {
        EXPECT(begin == at && end > begin && end - begin <= grain);
        EXPECT(begin % chunk_size(n, grain) == 0);
        at = end;
      }
      EXPECT(at == n);
    }
  }
}

void test_many_regions_lose_no_chunk() {
  set_num_threads(4);
  std::vector<int> hits(64);
  for (int round = 0; round < 20000; ++round) {
    const int64_t n = 2 + round % 63;
    parallel_for(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
    });
    if (round % 2000 == 0) usleep(200);  // let the workers fall asleep
  }
  int64_t expected = 0;
  for (int round = 0; round < 20000; ++round) expected += 2 + round % 63;
  EXPECT(std::accumulate(hits.begin(), hits.end(), int64_t{0}) == expected);
}

void test_exceptions_reach_the_caller_and_the_pool_survives() {
  set_num_threads(4);
  for (int round = 0; round < 50; ++round) {
    bool caught = false;
    try {
      parallel_for(100, 1, [&](int64_t begin, int64_t) {
        if (begin == round) throw std::runtime_error("chunk " + std::to_string(begin));
      });
    } catch (const std::runtime_error& error) {
      caught = error.what() == "chunk " + std::to_string(round);
    }
    EXPECT(caught);
    EXPECT(!in_parallel_region());
    EXPECT(chunks_of(100, 1).size() == 100);
  }
}

void test_nested_regions_run_in_their_caller() {
  set_num_threads(4);
  std::atomic<int> total{0};
  std::atomic<bool> same{true};
  parallel_for(8, 1, [&](int64_t, int64_t) {
    const auto outer = std::this_thread::get_id();
    if (!in_parallel_region()) same = false;
    parallel_for(10, 1, [&](int64_t begin, int64_t end) {
      if (std::this_thread::get_id() != outer) same = false;
      total += static_cast<int>(end - begin);
    });
  });
  EXPECT(total == 80);
  EXPECT(same);
}

void test_concurrent_callers() {
  set_num_threads(3);
  std::vector<std::thread> callers;
  std::vector<int64_t> sums(4);
  for (size_t t = 0; t < sums.size(); ++t) {
    callers.emplace_back([&sums, t] {
      for (int round = 0; round < 500; ++round) {
        std::atomic<int64_t> sum{0};
        parallel_for(50, 2, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) sum += i;
        });
        sums[t] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const int64_t sum : sums) EXPECT(sum == 500 * 1225);
}

void test_a_forked_child_has_a_working_pool() {
  set_num_threads(3);
  EXPECT(chunks_of(100, 1).size() == 100);
  const pid_t child = fork();
  if (child == 0) {
    alarm(2);  // a hang kills the child
    std::set<std::thread::id> ids;
    std::mutex mutex;
    parallel_for(64, 1, [&](int64_t, int64_t) {
      usleep(100);
      const std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    void* p = allocate(1 << 20);
    deallocate(p, 1 << 20);
    _exit(ids.size() > 1 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

std::atomic<int> n_initialised{0};

void test_worker_init_runs_in_each_worker() {
  set_num_threads(3);
  set_worker_init([] { ++n_initialised; });
  parallel_for(64, 1, [](int64_t, int64_t) { usleep(100); });
  EXPECT(n_initialised >= 1 && n_initialised <= 3);
}

// ---- memory ----

// Under the address sanitizer each request is a heap block of exactly its size: no spare bytes, no
// reuse.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif
size_t usable(size_t bytes) { return kPooled ? (bytes + 63) / 64 * 64 : bytes; }

void test_blocks_are_aligned_and_disjoint() {
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  unsigned char tag = 0;
  for (size_t bytes = 1; bytes < (size_t{5} << 20); bytes += bytes / 3 + 1) {
    auto* p = static_cast<unsigned char*>(allocate(bytes));
    EXPECT(reinterpret_cast<uintptr_t>(p) % kAlignment == 0);
    std::memset(p, ++tag, usable(bytes));
    blocks.emplace_back(p, bytes);
  }
  tag = 0;
  for (const auto& [p, bytes] : blocks) {
    ++tag;
    bool intact = true;
    for (size_t i = 0; i < usable(bytes); ++i) intact = intact && p[i] == tag;
    EXPECT(intact);
  }
  for (const auto& [p, bytes] : blocks) deallocate(p, bytes);
  EXPECT(allocate(0) == nullptr);
  deallocate(nullptr, 0);
}

void test_freed_blocks_are_reused() {
  for (size_t bytes : {size_t{64}, size_t{960}, size_t{65536}, size_t{70000}, size_t{10} << 20}) {
    void* p = allocate(bytes);
    deallocate(p, bytes);
    void* q = allocate(bytes - bytes / 32);  // a little less: the same block serves it
    EXPECT(p == q);
    deallocate(q, bytes - bytes / 32);
    void* r = allocate(bytes);
    EXPECT(r == p);
    deallocate(r, bytes);
  }
}

/// Blocks of ever new sizes must not pile up: what is kept is bound by what was in use at once.
void test_cache_of_changing_sizes_is_bounded() {
  empty_cache();
  reset_peak();
  for (size_t mib = 8; mib < 40; ++mib) {
    void* p = allocate(mib << 20);
    deallocate(p, mib << 20);
  }
  const MemoryStats stats = memory_stats();
  EXPECT(!kPooled || stats.reserved <= 2 * stats.peak_allocated + (int64_t{64} << 20));
  EXPECT(!kPooled || stats.cached >= int64_t{39} << 20);
  empty_cache();
}

void test_stats() {
  empty_cache();
  reset_peak();
  const MemoryStats before = memory_stats();
  EXPECT(before.cached == 0 && before.peak_allocated == before.allocated);
  const size_t big = size_t{8} << 20;
  void* p = allocate(big);
  void* q = allocate(100);
  const MemoryStats during = memory_stats();
  EXPECT(during.allocated - before.allocated == static_cast<int64_t>(big) + 128);
  EXPECT(during.n_live - before.n_live == 2 && during.n_allocations - before.n_allocations == 2);
  EXPECT(!kPooled || during.reserved - before.reserved >= static_cast<int64_t>(big));
  deallocate(p, big);
  deallocate(q, 100);
  const MemoryStats after = memory_stats();
  EXPECT(after.allocated == before.allocated && after.n_live == before.n_live);
  EXPECT(!kPooled || after.cached >= static_cast<int64_t>(big));
  EXPECT(after.peak_allocated >= before.allocated + static_cast<int64_t>(big));
  empty_cache();
  EXPECT(memory_stats().cached == 0 && memory_stats().reserved == after.reserved - after.cached);
  reset_peak();
  EXPECT(memory_stats().peak_allocated == memory_stats().allocated);
}

void test_impossible_sizes_throw_and_leave_the_process_usable() {
  const MemoryStats before = memory_stats();
  for (size_t bytes : {size_t{1} << 46, size_t{1} << 47, size_t{1} << 62, static_cast<size_t>(-1),
                       static_cast<size_t>(int64_t{-64})}) {
    bool thrown = false;
    try {
      static_cast<void>(allocate(bytes));
    } catch (const Error& error) {
      thrown = error.kind() == ErrorKind::OutOfMemory &&
               std::string(error.what())
                       .find("you tried to allocate " + std::to_string(bytes) + " bytes") !=
                   std::string::npos;
    }
    EXPECT(thrown);
  }
  EXPECT(memory_stats().allocated == before.allocated && memory_stats().n_live == before.n_live);
  void* p = allocate(1 << 20);
  std::memset(p, 1, 1 << 20);
  deallocate(p, 1 << 20);
}

void test_blocks_may_be_freed_in_another_thread() {
  const MemoryStats before = memory_stats();
  for (int round = 0; round < 4; ++round) {
    std::vector<std::pair<void*, size_t>> blocks;
    for (size_t i = 0; i < 5000; ++i) {
      const size_t bytes = 1 + (i * 7919) % 3000 + (i % 500 == 0 ? 100000 : 0);
      blocks.emplace_back(allocate(bytes), bytes);
    }
    std::thread([&] {
      for (const auto& [p, bytes] : blocks) deallocate(p, bytes);
    }).join();
  }
  const MemoryStats after = memory_stats();
  EXPECT(after.allocated == before.allocated && after.n_live == before.n_live);
  EXPECT(after.reserved - before.reserved < (64 << 20));  // reused, not 4 times as much
}

void test_threads_allocate_at_once() {
  const MemoryStats before = memory_stats();
  std::vector<std::thread> threads;
  std::atomic<bool> intact{true};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&intact, t] {
      std::vector<std::pair<unsigned char*, size_t>> held;
      unsigned state = t + 1;
      for (int i = 0; i < 20000; ++i) {
        state = state * 1664525u + 1013904223u;
        if (held.size() < 64 && (state >> 16) % 2 == 0) {
          const size_t bytes = 1 + (state >> 8) % (i % 100 == 0 ? 300000 : 2000);
          auto* p = static_cast<unsigned char*>(allocate(bytes));
          p[0] = p[bytes - 1] = static_cast<unsigned char>(t);
          held.emplace_back(p, bytes);
        } else if (!held.empty()) {
          std::swap(held[(state >> 20) % held.size()], held.back());
          const auto [p, bytes] = held.back();
          if (p[0] != t || p[bytes - 1] != t) intact = false;
          deallocate(p, bytes);
          held.pop_back();
        }
      }
      for (const auto& [p, bytes] : held) deallocate(p, bytes);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT(intact);
  EXPECT(memory_stats().allocated == before.allocated && memory_stats().n_live == before.n_live);
}

}  // namespace

int main() {
  test_chunks_cover_the_range_once_and_ignore_the_thread_count();
  test_many_regions_lose_no_chunk();
  test_exceptions_reach_the_caller_and_the_pool_survives();
  test_nested_regions_run_in_their_caller();
  test_concurrent_callers();
  test_a_forked_child_has_a_working_pool();
  test_worker_init_runs_in_each_worker();
  test_blocks_are_aligned_and_disjoint();
  if (kPooled) test_freed_blocks_are_reused();
  test_cache_of_changing_sizes_is_bounded();
  test_stats();
  test_impossible_sizes_throw_and_leave_the_process_usable();
  test_blocks_may_be_freed_in_another_thread();
  test_threads_allocate_at_once();
  std::printf(n_failed == 0 ? "core: ok\n" : "core: %d failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
