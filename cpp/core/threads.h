// SPDX-License-Identifier: Apache-2.0
// One thread pool: parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { .. }) runs [0, n) in
// chunks of at most kGrain. They depend on n and grain only, never on the number of threads, so
// sums per chunk are reproducible: a chunk's index is begin / chunk_size(n, grain), NOT begin /
// grain. Threads claim chunks, so a chunk must not wait for another. Nested calls run in their
// caller; an exception reaches the caller.
#pragma once
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace gradstep {

/// Elements of a cheap elementwise loop: about 5 us, more than a region costs.
constexpr int64_t kGrain = 32768;

/// Threads that a region may use, the caller included.
int num_threads();
void set_num_threads(int n);

/// Runs once in every worker before its first chunk, e.g. to make a library single-threaded there.
/// Workers that run already call it before their next chunk.
void set_worker_init(void (*init)());

/// True inside a body: a parallel_for there runs in its caller.
bool in_parallel_region();

/// One round of waiting for another thread: a pause at first, later giving way to other threads of
/// the machine.
void wait_a_little(int round);

// ---- chunks ----

/// The length of all chunks but the last: at most grain, split evenly, a multiple of 64 when grain
/// is one.
constexpr int64_t chunk_size(int64_t n, int64_t grain) {
  if (n <= grain) return n < 1 ? 1 : n;
  int64_t count = (n - 1) / grain + 1;
  if (count < 16)
    count = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));  // even shares
  const int64_t size = (n - 1) / count + 1;
  return grain % 64 == 0 ? (size + 63) & ~int64_t{63} : size;
}

constexpr int64_t chunk_count(int64_t n, int64_t grain) {
  return n < 1 ? 0 : (n - 1) / chunk_size(n, grain) + 1;
}

// ---- parallel_for ----

namespace detail {
using ChunkFn = void (*)(void* body, int64_t begin, int64_t end);
// One compiled copy of a body: inlined several times its multiplications and additions may be
// contracted differently, and the last bit would depend on the number of threads.
template <class Body>
[[gnu::noinline, gnu::noclone]] void run_body(Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}
void run_region(int64_t n, int64_t chunk, ChunkFn run, void* body);
}  // namespace detail

template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  if (grain < 1) grain = 1;
  if (n <= grain) {
    if (n > 0) detail::run_body(body, int64_t{0}, n);
    return;
  }
  const int64_t chunk = chunk_size(n, grain);
  if (num_threads() == 1 || in_parallel_region()) {
    for (int64_t begin = 0; begin < n; begin += chunk) {
      detail::run_body(body, begin, begin + chunk < n ? begin + chunk : n);
    }
    return;
  }
  using Plain = std::remove_reference_t<Body>;
  detail::run_region(
      n, chunk,
      [](void* self, int64_t begin, int64_t end) {
        detail::run_body(*static_cast<Plain*>(self), begin, end);
      },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

}  // namespace gradstep
