// SPDX-License-Identifier: Apache-2.0
// A Python number: its value and its category, which takes part in type promotion.
#pragma once
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>

#include "core/dtype.h"

namespace gradstep {

class Scalar {
 public:
  Scalar() : Scalar(int64_t{0}) {}
  Scalar(bool v) : category_(Category::Bool) { value_.i = v; }
  template <std::integral T>
  Scalar(T v) : category_(Category::Int) {
    value_.i = static_cast<int64_t>(v);
  }
  template <std::floating_point T>
  Scalar(T v) : category_(Category::Float) {
    value_.d = static_cast<double>(v);
  }
  Category category() const { return category_; }
  bool is_float() const { return category_ == Category::Float; }
  double to_double() const { return is_float() ? value_.d : static_cast<double>(value_.i); }
  int64_t to_int() const { return is_float() ? convert<int64_t>(value_.d) : value_.i; }
  bool to_bool() const { return is_float() ? value_.d != 0 : value_.i != 0; }
  template <class T>
  T to() const {
    return is_float() ? convert<T>(value_.d) : convert<T>(value_.i);
  }

 private:
  union {
    int64_t i;
    double d;
  } value_;
  Category category_;
};

inline void append(std::string& out, const Scalar& s) {
  if (s.is_float()) {
    append(out, s.to_double());
  } else {
    out += std::to_string(s.to_int());
  }
}

}  // namespace gradstep
