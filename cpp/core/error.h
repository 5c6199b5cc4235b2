// SPDX-License-Identifier: Apache-2.0
// Errors that a user can cause. GS_CHECK(cond, "mat1 is {}", shape) throws; the Python layer turns
// each Error into the exception type that PyTorch raises. format() fills `{}` with anything that
// has an overload of append(). A broken invariant of our own is GS_ASSERT: an internal error, never
// an abort.
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

/// What the CUDA part, a shared object of its own, takes from the program that loads it.
#define GS_API __attribute__((visibility("default")))

namespace gradstep {

enum class ErrorKind : uint8_t {
  Runtime,
  Value,
  Index,
  Type,
  NotImplemented,
  OutOfMemory,
  Overflow,
  Linalg,
  Assertion,
  Capture  // what a captured step can't do
};

class GS_API Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
  std::string message_;
};

// ---- formatting ----

inline void append(std::string& out, std::string_view s) { out += s; }
inline void append(std::string& out, const char* s) { out += s; }
inline void append(std::string& out, const std::string& s) { out += s; }
inline void append(std::string& out, char c) { out += c; }
inline void append(std::string& out, bool b) { out += b ? "True" : "False"; }
inline void append(std::string& out, int v) { out += std::to_string(v); }
inline void append(std::string& out, long v) { out += std::to_string(v); }
inline void append(std::string& out, long long v) { out += std::to_string(v); }
inline void append(std::string& out, unsigned v) { out += std::to_string(v); }
inline void append(std::string& out, unsigned long v) { out += std::to_string(v); }
GS_API void append(std::string& out,
                   double v);  // shortest form that reads back, as Python prints it

inline void format_into(std::string& out, std::string_view fmt) { out += fmt; }

template <class First, class... Rest>
void format_into(std::string& out, std::string_view fmt, const First& first, const Rest&... rest) {
  const size_t at = fmt.find("{}");
  if (at == std::string_view::npos) {
    out += fmt;
    return;
  }
  out += fmt.substr(0, at);
  append(out, first);
  format_into(out, fmt.substr(at + 2), rest...);
}

template <class... Args>
[[nodiscard]] std::string format(std::string_view fmt, const Args&... args) {
  std::string out;
  format_into(out, fmt, args...);
  return out;
}

template <class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, std::string_view fmt,
                                                 const Args&... args) {
  throw Error(kind, format(fmt, args...));
}

}  // namespace gradstep

#define GS_CHECK_KIND(kind, cond, ...)                            \
  do {                                                            \
    if (!(cond)) [[unlikely]]                                     \
      ::gradstep::fail(::gradstep::ErrorKind::kind, __VA_ARGS__); \
  } while (false)
#define GS_CHECK(cond, ...) GS_CHECK_KIND(Runtime, cond, __VA_ARGS__)
#define GS_CHECK_VALUE(cond, ...) GS_CHECK_KIND(Value, cond, __VA_ARGS__)
#define GS_CHECK_INDEX(cond, ...) GS_CHECK_KIND(Index, cond, __VA_ARGS__)
#define GS_CHECK_TYPE(cond, ...) GS_CHECK_KIND(Type, cond, __VA_ARGS__)
#define GS_ASSERT(cond) GS_CHECK(cond, "internal error: {} ({}:{})", #cond, __FILE__, __LINE__)
