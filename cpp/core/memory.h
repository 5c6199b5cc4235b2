// SPDX-License-Identifier: Apache-2.0
// The CPU allocator: void* p = allocate(bytes); ... deallocate(p, bytes) with the same size, in any
// thread. Memory is aligned to 64 bytes and not cleared; its usable size is rounded up to a
// multiple of 64. Small blocks come from lists of the thread (no lock); big ones are cached and
// reused, with huge pages. Environment: GRADSTEP_CACHE_LIMIT = bytes of free big blocks to keep
// (default: half of the memory).
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/error.h"

namespace gradstep {

constexpr size_t kAlignment = 64;

/// Throws Error(OutOfMemory). allocate(0) is nullptr.
[[nodiscard]] GS_API void* allocate(size_t bytes);
GS_API void deallocate(void* p, size_t bytes) noexcept;

/// Memory for the time of a kernel: Scratch<float> room(n);
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t n)
      : bytes_(static_cast<size_t>(n) * sizeof(T)), p_(static_cast<T*>(allocate(bytes_))) {}
  ~Scratch() { deallocate(p_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return p_; }
  T& operator[](int64_t i) const { return p_[i]; }

 private:
  size_t bytes_;
  T* p_;
};

/// Gives the free big blocks back to the system.
void empty_cache();

struct MemoryStats {
  int64_t allocated = 0;  // bytes in use now, each request rounded up to 64
  int64_t reserved = 0;   // bytes taken from the system now
  int64_t cached = 0;     // bytes of free big blocks now
  int64_t peak_allocated =
      0;  // highest since the start or reset_peak(); exact to 64 KiB per thread
  int64_t peak_reserved = 0;
  int64_t n_allocations = 0;  // calls of allocate since the start
  int64_t n_live = 0;         // blocks in use now
};
MemoryStats memory_stats();
void reset_peak();

}  // namespace gradstep
