// SPDX-License-Identifier: Apache-2.0
// What every caller of oneDNN needs: owned handles, the engine, a stream for each thread, one
// OpenMP thread, scratch memory, and a cache of plans by shape. oneDNN is called single-threaded
// from our own pool. Primitives are made with user_scratch(): one whose scratch is the library's
// may not run in two threads at once.
#pragma once
#ifdef GS_WITH_ONEDNN

#include <dnnl.h>

#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "core/memory.h"

extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int);
}

namespace gradstep::onednn {

// ---- handles ----

/// Owns one oneDNN object; Destroy is its C function.
template <class T, auto Destroy>
struct Deleter {
  void operator()(T* p) const { Destroy(p); }
};
using PrimitiveDesc =
    std::unique_ptr<dnnl_primitive_desc, Deleter<dnnl_primitive_desc, dnnl_primitive_desc_destroy>>;
using Primitive = std::unique_ptr<dnnl_primitive, Deleter<dnnl_primitive, dnnl_primitive_destroy>>;
using MemoryDesc =
    std::unique_ptr<dnnl_memory_desc, Deleter<dnnl_memory_desc, dnnl_memory_desc_destroy>>;
using Memory = std::unique_ptr<dnnl_memory, Deleter<dnnl_memory, dnnl_memory_destroy>>;
using Attributes =
    std::unique_ptr<dnnl_primitive_attr, Deleter<dnnl_primitive_attr, dnnl_primitive_attr_destroy>>;

/// oneDNN refused. Never leaves the kernel that asked.
struct Unsupported {};
inline void check(dnnl_status_t status) {
  if (status != dnnl_success) throw Unsupported{};
}

inline dnnl_engine_t engine() {
  static const dnnl_engine_t e = [] {
    dnnl_engine_t made = nullptr;
    check(dnnl_engine_create(&made, dnnl_cpu, 0));
    return made;
  }();
  return e;
}

inline dnnl_stream_t stream() {
  thread_local const std::unique_ptr<dnnl_stream, Deleter<dnnl_stream, dnnl_stream_destroy>> s =
      [] {
        dnnl_stream_t made = nullptr;
        check(dnnl_stream_create(&made, engine(), dnnl_stream_default_flags));
        return std::unique_ptr<dnnl_stream, Deleter<dnnl_stream, dnnl_stream_destroy>>(made);
      }();
  return s.get();
}

/// oneDNN runs in the calling thread while this lives; the program's own OpenMP setting comes back
/// after it.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

inline size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

inline MemoryDesc clone(const_dnnl_memory_desc_t d) {
  dnnl_memory_desc_t copy = nullptr;
  check(dnnl_memory_desc_clone(&copy, d));
  return MemoryDesc(copy);
}

inline Memory memory(const MemoryDesc& d, void* data) {
  dnnl_memory_t m = nullptr;
  check(dnnl_memory_create(&m, d.get(), engine(), data));
  return Memory(m);
}

inline MemoryDesc query(const PrimitiveDesc& pd, dnnl_query_t what) {
  const const_dnnl_memory_desc_t d = dnnl_primitive_desc_query_md(pd.get(), what, 0);
  if (!d) throw Unsupported{};
  return clone(d);
}

inline Attributes user_scratch() {
  dnnl_primitive_attr_t a = nullptr;
  check(dnnl_primitive_attr_create(&a));
  Attributes owned(a);
  check(dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user));
  return owned;
}

inline Primitive make_primitive(const PrimitiveDesc& pd) {
  dnnl_primitive_t p = nullptr;
  check(dnnl_primitive_create(&p, pd.get()));
  return Primitive(p);
}

// ---- plans ----

/// Plans by shape; forgets the least recently used. Key is compared and hashed as bytes, so it has
/// no padding (or zeroed padding). Plan has a flag `supported`, false where oneDNN refused: that is
/// kept, too, so that it is asked once.
template <class Key, class Plan>
class PlanCache {
 public:
  explicit PlanCache(size_t capacity) : capacity_(capacity) {}

  /// The plan for `key`; build(plan, key) fills in a new one.
  template <class Build>
  std::shared_ptr<const Plan> get(const Key& key, Build&& build) {
    const std::lock_guard lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return found->second->second;
    }
    auto plan = std::make_shared<Plan>();
    try {
      build(*plan, key);
      plan->supported = true;
    } catch (const Unsupported&) {
      plan->supported = false;
    }
    order_.emplace_front(key, plan);
    index_.emplace(key, order_.begin());
    if (order_.size() > capacity_) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    return plan;
  }

 private:
  struct Hash {
    size_t operator()(const Key& k) const {
      return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&k), sizeof k});
    }
  };
  struct Equal {
    bool operator()(const Key& a, const Key& b) const { return std::memcmp(&a, &b, sizeof a) == 0; }
  };
  using Entry = std::pair<Key, std::shared_ptr<const Plan>>;

  std::mutex mutex_;
  size_t capacity_;
  std::list<Entry> order_;
  std::unordered_map<Key, typename std::list<Entry>::iterator, Hash, Equal> index_;
};

}  // namespace gradstep::onednn

#endif
