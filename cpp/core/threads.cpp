// SPDX-License-Identifier: Apache-2.0
// The pool behind parallel_for. See Note [Chunk claiming].
#include "core/threads.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "core/error.h"

namespace gradstep {
namespace {

// Note [Chunk claiming]
// A region is announced by storing the range of its chunks into `unclaimed`, after its other
// fields. Whoever takes a chunk off the range owns it and reads the fields only then: the caller
// stays in the region until every claimed chunk is done, so the fields cannot change under an
// owner. A worker that was descheduled before it claimed anything costs nobody anything; when it
// comes back it sees an empty range, or the next region. The fields are static, so a late look at
// them is harmless too. The caller takes chunks from the front and workers from the back: what a
// core wrote in one region it mostly reads in the next one (a product of 512x16 and 16x128: 138
// against 230 GFLOP/s on two cores).

constexpr int kMaxThreads = 256;
// A region after 100 us without one: 11 us if the workers still spin, 33 us if they must be woken
// (2-core VM).
constexpr auto kWorkerSpin = std::chrono::microseconds(200);
constexpr auto kCallerSpin = std::chrono::microseconds(50);
constexpr int kPauses = 64;  // about 3 us; then give way to others between looks: see spin()

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

/// Spins until ready() or the time is over; says whether it is ready. It yields, because the thread
/// that it waits for may be queued on the same core: without that, a 40 us region took 72 us.
template <class Ready>
bool spin(std::chrono::microseconds limit, Ready ready) {
  for (int i = 0; i < kPauses; ++i) {
    if (ready()) return true;
    pause();
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    if (ready()) return true;
    sched_yield();
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

// Note [Keeping off the caller's core]
// Virtual machines report idle cores as busy, so the kernel wakes a worker on its caller's core,
// where it waits for the caller: 800 us for a region of 4 x 200 us, 445 us when workers may not run
// there. With more workers there are other cores and the calls would cost more than they bring.
constexpr int kMaxKeptOff = 8;

struct alignas(64) Worker {
  pthread_t thread{};
  std::atomic<uint32_t> asleep{0};  // 1: waits on this futex
};

struct Pool {
  // The region: written by the caller that holds `busy`, read by owners of chunks.
  detail::ChunkFn run = nullptr;
  void* body = nullptr;
  int64_t n = 0, chunk = 0;
  std::exception_ptr error;
  std::mutex error_mutex;
  std::atomic<bool> failed{false};

  alignas(64) std::atomic<uint64_t> unclaimed{0};  // (end << 32) + begin
  alignas(64) std::atomic<uint32_t> undone{0};     // chunks not finished yet; the caller's futex
  std::atomic<bool> caller_asleep{false};
  alignas(64) std::atomic<bool> busy{false};
  std::atomic<int> limit{0};  // threads per region; 0 = not determined yet
  std::atomic<void (*)()> worker_init{nullptr};
  int n_workers = 0;       // started so far; changes under `busy`
  int kept_off_core = -1;  // where no worker may run
  Worker workers[kMaxThreads];
};

// Never destroyed: workers may look at it while the process exits.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

constinit thread_local bool in_region = false;

// ---- how many threads ----

bool read_text(const char* path, char* out, size_t size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, out, size - 1);
  close(fd);
  out[got > 0 ? got : 0] = '\0';
  return got > 0;
}

/// Cores that this process may run on: siblings of one core count once.
int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    char path[96];
    char siblings[128];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                  cpu);
    cores.insert(read_text(path, siblings, sizeof siblings) ? siblings
                                                            : "cpu" + std::to_string(cpu));
  }
  return std::max(1, static_cast<int>(cores.size()));
}

/// The CPU share that a container may use, rounded up.
int quota_cores() {
  char text[64];
  double quota = -1, period = 100000;
  if (read_text("/sys/fs/cgroup/cpu.max", text, sizeof text)) {
    if (std::sscanf(text, "%lf %lf", &quota, &period) < 1) return INT_MAX;  // "max 100000"
  } else if (read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof text)) {
    quota = std::atof(text);
    if (read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text, sizeof text))
      period = std::atof(text);
  }
  if (quota <= 0 || period <= 0) return INT_MAX;
  return std::max(1, static_cast<int>((quota + period - 1) / period));
}

int default_threads() {
  int n = std::min({available_cores(), quota_cores(), kMaxThreads});
  for (const char* name : {"GRADSTEP_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    const int wanted = text ? std::atoi(text) : 0;
    if (wanted > 0) return std::min(n, wanted);
  }
  return n;
}

// ---- chunks ----

constexpr uint32_t first_of(uint64_t chunks) { return static_cast<uint32_t>(chunks); }
constexpr uint32_t end_of(uint64_t chunks) { return static_cast<uint32_t>(chunks >> 32); }

/// Takes one chunk and runs it; false if none was left. Never throws.
bool run_one_chunk(Pool& p, bool from_back) {
  uint64_t left = p.unclaimed.load(std::memory_order_relaxed);
  do {
    if (first_of(left) >= end_of(left)) return false;
  } while (!p.unclaimed.compare_exchange_weak(
      left, from_back ? left - (uint64_t{1} << 32) : left + 1, std::memory_order_acq_rel));
  const int64_t begin = int64_t{from_back ? end_of(left) - 1 : first_of(left)} * p.chunk;
  const int64_t end = std::min(begin + p.chunk, p.n);
  if (!p.failed.load(std::memory_order_relaxed)) {
    try {
      p.run(p.body, begin, end);
    } catch (...) {
      const std::lock_guard lock(p.error_mutex);
      if (!p.error) p.error = std::current_exception();
      p.failed.store(true, std::memory_order_relaxed);
    }
  }
  // From here on the region may end and the next begin: touch nothing of the region's fields.
  if (p.undone.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
      p.caller_asleep.load(std::memory_order_seq_cst)) {
    futex_wake(p.undone);
  }
  return true;
}

// ---- workers ----

void* work(void* argument) {
  Pool& p = pool();
  const int index = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  std::atomic<uint32_t>& asleep = p.workers[index].asleep;
  void (*initialised)() = nullptr;
  in_region = true;  // nested regions run inline
  const auto wanted = [&] {
    const uint64_t left = p.unclaimed.load(std::memory_order_seq_cst);
    return first_of(left) < end_of(left) && index + 1 < p.limit.load(std::memory_order_relaxed);
  };
  for (;;) {
    if (spin(kWorkerSpin, wanted)) {
      void (*const init)() = p.worker_init.load(std::memory_order_acquire);
      if (init != initialised) (initialised = init)();
      while (run_one_chunk(p, true)) {
      }
      continue;
    }
    asleep.store(1, std::memory_order_seq_cst);
    // Either this look sees the region, or its caller sees us asleep.
    while (!wanted() && asleep.load(std::memory_order_relaxed) == 1) futex_wait(asleep, 1);
    asleep.store(0, std::memory_order_relaxed);
  }
  return nullptr;
}

/// See Note [Keeping off the caller's core].
void keep_off_this_core(Pool& p) {
  const int core = sched_getcpu();
  if (core == p.kept_off_core || p.n_workers > kMaxKeptOff) return;
  p.kept_off_core = core;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return;
  if (CPU_COUNT(&set) > 1) CPU_CLR(core, &set);
  for (int i = 0; i < p.n_workers; ++i)
    pthread_setaffinity_np(p.workers[i].thread, sizeof set, &set);
}

/// Starts workers up to `count`; fewer if the system refuses.
void start_workers(Pool& p, int count) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to the program's own threads
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  while (p.n_workers < count) {
    pthread_t thread;
    Worker& worker = p.workers[p.n_workers];
    worker.asleep.store(0, std::memory_order_relaxed);
    void* const index = reinterpret_cast<void*>(static_cast<intptr_t>(p.n_workers));
    if (pthread_create(&thread, &attributes, work, index) != 0) break;
    worker.thread = thread;
    ++p.n_workers;
    p.kept_off_core = -1;
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  keep_off_this_core(p);
}

/// A forked child has none of its parent's workers.
void rebuild_in_child() {
  Pool& p = pool();
  p.n_workers = 0;
  p.unclaimed.store(0);
  p.undone.store(0);
  p.failed.store(false);
  p.caller_asleep.store(false);
  p.busy.store(false);
  p.error = nullptr;
  new (&p.error_mutex) std::mutex;
}

/// After the own share of chunks: waits for those that workers have claimed.
void wait_for_workers(Pool& p) {
  const auto done = [&] { return p.undone.load(std::memory_order_acquire) == 0; };
  if (spin(kCallerSpin, done)) return;
  p.caller_asleep.store(true, std::memory_order_seq_cst);
  for (uint32_t left; (left = p.undone.load(std::memory_order_seq_cst)) != 0;)
    futex_wait(p.undone, left);
  p.caller_asleep.store(false, std::memory_order_relaxed);
}

}  // namespace

// ---- interface ----

int num_threads() {
  Pool& p = pool();
  int limit = p.limit.load(std::memory_order_relaxed);
  if (limit != 0) [[likely]]
    return limit;
  int none = 0;
  limit = default_threads();
  return p.limit.compare_exchange_strong(none, limit) ? limit : none;
}

void set_num_threads(int n) {
  GS_CHECK(n > 0, "expected a positive number of threads");
  pool().limit.store(std::min(n, kMaxThreads), std::memory_order_relaxed);
}

void set_worker_init(void (*init)()) { pool().worker_init.store(init, std::memory_order_release); }

bool in_parallel_region() { return in_region; }

void wait_a_little(int round) {
  if (round < 8 * kPauses) {
    pause();
  } else {
    sched_yield();
  }
}

void detail::run_region(int64_t n, int64_t chunk, ChunkFn run, void* body) {
  Pool& p = pool();
  const int64_t n_chunks = (n - 1) / chunk + 1;
  if (n_chunks > INT32_MAX || p.busy.exchange(true, std::memory_order_acquire)) {
    // Another thread has the pool.
    for (int64_t begin = 0; begin < n; begin += chunk) run(body, begin, std::min(begin + chunk, n));
    return;
  }
  const int helpers =
      static_cast<int>(std::min<int64_t>(p.limit.load(std::memory_order_relaxed), n_chunks)) - 1;
  if (p.n_workers < helpers) {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, rebuild_in_child); });
    start_workers(p, helpers);
  }
  p.run = run;
  p.body = body;
  p.n = n;
  p.chunk = chunk;
  p.undone.store(static_cast<uint32_t>(n_chunks), std::memory_order_relaxed);
  p.unclaimed.store(static_cast<uint64_t>(n_chunks) << 32, std::memory_order_seq_cst);
  for (int i = 0; i < std::min(helpers, p.n_workers); ++i) {
    std::atomic<uint32_t>& asleep = p.workers[i].asleep;
    if (asleep.load(std::memory_order_seq_cst) == 1 &&
        asleep.exchange(0, std::memory_order_seq_cst) == 1) {
      keep_off_this_core(p);
      futex_wake(asleep);
    }
  }
  in_region = true;
  while (run_one_chunk(p, false)) {
  }
  in_region = false;
  wait_for_workers(p);
  std::exception_ptr error;
  if (p.failed.load(std::memory_order_relaxed)) {
    error = std::exchange(p.error, nullptr);
    p.failed.store(false, std::memory_order_relaxed);
  }
  p.busy.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

}  // namespace gradstep
