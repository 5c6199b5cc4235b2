// SPDX-License-Identifier: Apache-2.0
// Dims: up to kMaxDims sizes, strides or axes, inline. Plus the shape arithmetic that every op
// needs: broadcast, wrap a negative axis, contiguous strides.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/error.h"

namespace gradstep {

constexpr int kMaxDims = 8;

struct Dims {
  int64_t v[kMaxDims];
  uint8_t n = 0;

  Dims() {}
  Dims(std::initializer_list<int64_t> l) : Dims(l.begin(), static_cast<int64_t>(l.size())) {}
  Dims(const int64_t* p, int64_t count) {
    check_count(count);
    n = static_cast<uint8_t>(count);
    std::copy(p, p + n, v);
  }
  Dims(const Dims& o) : n(o.n) { std::copy(o.v, o.v + n, v); }
  Dims& operator=(const Dims& o) {
    n = o.n;
    std::copy(o.v, o.v + n, v);
    return *this;
  }
  static Dims filled(int64_t count, int64_t value) {
    check_count(count);
    Dims d;
    d.n = static_cast<uint8_t>(count);
    std::fill(d.v, d.v + d.n, value);
    return d;
  }

  int size() const { return n; }
  bool empty() const { return n == 0; }
  int64_t& operator[](int i) { return v[i]; }
  int64_t operator[](int i) const { return v[i]; }
  const int64_t* begin() const { return v; }
  const int64_t* end() const { return v + n; }
  int64_t back() const { return v[n - 1]; }
  void push_back(int64_t x) {
    check_count(n + 1);
    v[n++] = x;
  }
  void insert(int at, int64_t x) {
    check_count(n + 1);
    std::copy_backward(v + at, v + n, v + n + 1);
    v[at] = x;
    ++n;
  }
  void erase(int at) {
    std::copy(v + at + 1, v + n, v + at);
    --n;
  }
  friend bool operator==(const Dims& a, const Dims& b) {
    return a.n == b.n && std::equal(a.v, a.v + a.n, b.v);
  }

 private:
  static void check_count(int64_t count) {
    GS_CHECK(count <= kMaxDims, "tensors of more than {} dimensions are not supported, got {}",
             kMaxDims, count);
  }
};

/// "[2, 3]", as in PyTorch's messages.
inline void append(std::string& out, const Dims& d) {
  out += '[';
  for (int i = 0; i < d.n; ++i) {
    if (i) out += ", ";
    out += std::to_string(d[i]);
  }
  out += ']';
}

/// The number of elements; raises when it does not fit 63 bits or a size is negative.
int64_t count_elements(const Dims& sizes);

Dims contiguous_strides(const Dims& sizes);
bool is_contiguous(const Dims& sizes, const Dims& strides);

/// The common shape of two shapes, by the broadcasting rule; raises PyTorch's error otherwise.
Dims broadcast(const Dims& a, const Dims& b);

/// True if `from` can be expanded to `to`.
bool expandable_to(const Dims& from, const Dims& to);

/// Maps axis -ndim..ndim-1 to 0..ndim-1; a 0-d tensor counts as 1-d, as in PyTorch.
int64_t wrap_dim(int64_t dim, int64_t ndim);

/// The bit mask of axes; an empty list means all. Duplicates are an error.
uint32_t dim_mask(const Dims& dims, int64_t ndim);

}  // namespace gradstep
