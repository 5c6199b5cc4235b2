// SPDX-License-Identifier: Apache-2.0
// Element types: their sizes, names, categories, and PyTorch's promotion rule. `dispatch(dtype, f)`
// calls f with a value of the C++ type: `dispatch(t.dtype(), [&](auto tag) { using T =
// decltype(tag); ... })`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/half.h"

namespace gradstep {

enum class DType : uint8_t {
  Bool,
  UInt8,
  Int8,
  Int16,
  Int32,
  Int64,
  Float16,
  BFloat16,
  Float32,
  Float64
};
constexpr int kDTypes = 10;

/// The types in which elementwise arithmetic is done; storage is converted at load and store.
enum class Compute : uint8_t { F32, F64, I64 };
constexpr int kComputes = 3;
constexpr int kNarrowIntegers = 4;  // UInt8, Int8, Int16, Int32

enum class Category : uint8_t { Bool, Int, Float };

namespace detail {
inline constexpr uint8_t kSizes[kDTypes] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};
inline constexpr const char* kNames[kDTypes] = {"bool",    "uint8",  "int8",    "int16",
                                                "int32",   "int64",  "float16", "bfloat16",
                                                "float32", "float64"};
// The scalar type's name in PyTorch's C++ messages ("expected scalar type Float but found Long").
inline constexpr const char* kScalarNames[kDTypes] = {
    "Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double"};
// The element's type in C++, as some of PyTorch's messages print it ("got: float != double").
inline constexpr const char* kElementNames[kDTypes] = {
    "bool",     "unsigned char", "signed char",   "short int", "int",
    "long int", "c10::Half",     "c10::BFloat16", "float",     "double"};
}  // namespace detail

constexpr size_t element_size(DType t) { return detail::kSizes[static_cast<int>(t)]; }
constexpr const char* name(DType t) { return detail::kNames[static_cast<int>(t)]; }
constexpr const char* scalar_name(DType t) { return detail::kScalarNames[static_cast<int>(t)]; }
constexpr const char* element_name(DType t) { return detail::kElementNames[static_cast<int>(t)]; }
constexpr bool is_half(DType t) { return t == DType::Float16 || t == DType::BFloat16; }
constexpr bool is_floating(DType t) { return t >= DType::Float16; }
constexpr bool is_integral(DType t) { return t > DType::Bool && t < DType::Float16; }
constexpr Category category(DType t) {
  return is_floating(t) ? Category::Float : t == DType::Bool ? Category::Bool : Category::Int;
}
constexpr Compute compute_type(DType t) {
  return t == DType::Float64 ? Compute::F64 : is_floating(t) ? Compute::F32 : Compute::I64;
}
constexpr DType storage_type(Compute c) {
  return c == Compute::F32 ? DType::Float32 : c == Compute::F64 ? DType::Float64 : DType::Int64;
}

/// The smallest type that holds both, by PyTorch's table.
DType promote(DType a, DType b);

/// The floating type that `torch.tensor(1.0)` gets; float32 unless the user chose another.
DType default_dtype();
void set_default_dtype(DType t);

/// PyTorch's name with its prefix, as in error messages and repr: "torch.float32".
inline void append(std::string& out, DType t) {
  out += "torch.";
  out += name(t);
}

template <class T> inline constexpr DType dtype_of = [] {
  const bool same[] = {std::is_same_v<T, bool>,    std::is_same_v<T, uint8_t>,
                       std::is_same_v<T, int8_t>,  std::is_same_v<T, int16_t>,
                       std::is_same_v<T, int32_t>, std::is_same_v<T, int64_t>,
                       std::is_same_v<T, Half>,    std::is_same_v<T, BFloat16>,
                       std::is_same_v<T, float>,   std::is_same_v<T, double>};
  int i = 0;
  while (!same[i]) ++i;
  return static_cast<DType>(i);
}();
static_assert(dtype_of<bool> == DType::Bool && dtype_of<int64_t> == DType::Int64 &&
              dtype_of<BFloat16> == DType::BFloat16 && dtype_of<double> == DType::Float64);

/// The type in which a value of storage type T is computed.
template <class T>
using compute_t = std::conditional_t<std::is_same_v<T, double>, double,
                                     std::conditional_t<std::is_integral_v<T>, int64_t, float>>;

template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::Bool: return f(bool{});
    case DType::UInt8: return f(uint8_t{});
    case DType::Int8: return f(int8_t{});
    case DType::Int16: return f(int16_t{});
    case DType::Int32: return f(int32_t{});
    case DType::Int64: return f(int64_t{});
    case DType::Float16: return f(Half{});
    case DType::BFloat16: return f(BFloat16{});
    case DType::Float32: return f(float{});
    case DType::Float64: return f(double{});
  }
  __builtin_unreachable();
}

/// As dispatch(), for floating types only; others are an error that names `what`.
template <class F>
decltype(auto) dispatch_floating(DType t, const char* what, F&& f) {
  switch (t) {
    case DType::Float16: return f(Half{});
    case DType::BFloat16: return f(BFloat16{});
    case DType::Float32: return f(float{});
    case DType::Float64: return f(double{});
    default:
      fail(ErrorKind::NotImplemented, "\"{}\" not implemented for '{}'", what, scalar_name(t));
  }
}

}  // namespace gradstep
