// SPDX-License-Identifier: Apache-2.0
// Ref<T>: an intrusive pointer to a T that derives from RefCounted. T provides `static void
// destroy(T*)`. Counts are not atomic: a tensor belongs to one thread at a time (in Python, to who
// holds the GIL); kernels on worker threads see plain pointers only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace gradstep {

struct RefCounted {
  uint32_t ref_count = 0;
};

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) {
    if (p_) ++p_->ref_count;
  }
  Ref(const Ref& o) : p_(o.p_) {
    if (p_) ++p_->ref_count;
  }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_ && --p_->ref_count == 0) T::destroy(p_);
  }
  void reset() { Ref().swap(*this); }
  void swap(Ref& o) noexcept { std::swap(p_, o.p_); }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  /// Gives up ownership without changing the count; adopt() is the inverse.
  T* release() { return std::exchange(p_, nullptr); }
  static Ref adopt(T* p) {
    Ref r;
    r.p_ = p;
    return r;
  }
  friend bool operator==(const Ref& a, const Ref& b) { return a.p_ == b.p_; }

 private:
  T* p_ = nullptr;
};

}  // namespace gradstep
