// SPDX-License-Identifier: Apache-2.0
#include "core/random_args.h"

#include <bit>
#include <cmath>
#include <type_traits>

namespace gradstep {

namespace {

/// Significant bits of T.
template <class T>
constexpr int kDigits = std::numeric_limits<T>::digits;
template <>
constexpr int kDigits<Half> = 11;
template <>
constexpr int kDigits<BFloat16> = 8;

template <class T>
constexpr bool kFloating =
    std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class T>
constexpr double kLargest = static_cast<double>(std::numeric_limits<T>::max());
template <>
constexpr double kLargest<Half> = 65504.0;
template <>
constexpr double kLargest<BFloat16> = 0x1.fep127;

/// T as a C++ compiler names it: what PyTorch prints here.
template <class T>
constexpr const char* kCName = std::is_same_v<T, bool>       ? "bool"
                               : std::is_same_v<T, uint8_t>  ? "unsigned char"
                               : std::is_same_v<T, int8_t>   ? "signed char"
                               : std::is_same_v<T, int16_t>  ? "short int"
                               : std::is_same_v<T, int32_t>  ? "int"
                               : std::is_same_v<T, int64_t>  ? "long int"
                               : std::is_same_v<T, Half>     ? "c10::Half"
                               : std::is_same_v<T, BFloat16> ? "c10::BFloat16"
                               : std::is_same_v<T, float>    ? "float"
                                                             : "double";

/// The nearest bounds whose conversion to a floating T cannot leave [from, to).
template <class T>
int64_t inner_from(int64_t from) {
  const int64_t next =
      static_cast<int64_t>(convert<double>(convert<T>(static_cast<double>(from + 1))));
  if (next >= from) return from;
  const int n = std::bit_width(static_cast<uint64_t>(std::abs(from + 1))) - 1;
  return next + (int64_t{1} << (n - kDigits<T> + 1));
}
template <class T>
int64_t inner_to(int64_t to) {
  const int64_t last =
      static_cast<int64_t>(convert<double>(convert<T>(static_cast<double>(to - 1))));
  if (last < to) return to;
  const int n = std::bit_width(static_cast<uint64_t>(std::abs(to - 1))) - 1;
  return last - (int64_t{1} << (n - kDigits<T> + 1));
}

template <class T>
void check_bounds(int64_t from, int64_t last) {
  bool from_fits, last_fits;
  if constexpr (kFloating<T>) {
    from_fits = std::abs(static_cast<double>(from)) <= kLargest<T>;
    last_fits = std::abs(static_cast<double>(last)) <= kLargest<T>;
  } else {
    const auto fits = [](int64_t v) {
      return v >= static_cast<int64_t>(std::numeric_limits<T>::lowest()) &&
             v <= static_cast<int64_t>(std::numeric_limits<T>::max());
    };
    from_fits = fits(from);
    last_fits = fits(last);
  }
  GS_CHECK(from_fits, "from is out of bounds for {}", kCName<T>);
  GS_CHECK(last_fits, "to - 1 is out of bounds for {}", kCName<T>);
}

/// `name` is that of PyTorch's kernel on the CPU; on a GPU it ends otherwise.
std::string kernel_name(std::string name, DeviceType device) {
  if (device == DeviceType::CUDA) name.replace(name.size() - 3, 3, "cuda");
  return name;
}

void check_floating(DType dtype, const char* name, DeviceType device) {
  dispatch_floating(dtype, kernel_name(name, device).c_str(), [](auto) {});
}

}  // namespace

IntegerRange integer_range(DType dtype) {
  IntegerRange range{};
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool wide = dtype == DType::Int64 || dtype == DType::Float64;
    if constexpr (kFloating<T>) {
      range = {0, (uint64_t{1} << kDigits<T>)+1, wide};
    } else {
      range = {0, static_cast<uint64_t>(std::numeric_limits<T>::max()) + 1, wide};
    }
  });
  return range;
}

IntegerRange integer_range(DType dtype, int64_t from, std::optional<int64_t> to,
                           DeviceType device) {
  IntegerRange range{0, 0, true};
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    int64_t last;
    if (to) {
      GS_CHECK(from < *to, "random_ expects 'from' to be less than 'to', but got from={} >= to={}",
               from, *to);
      if constexpr (kFloating<T>) {
        from = inner_from<T>(from);
        to = inner_to<T>(*to);
        GS_CHECK(from < *to,
                 "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but "
                 "got from={} "
                 ">= to={}",
                 from, *to);
      }
      last = *to - 1;
    } else if (from != kLowestInteger) {
      if constexpr (kFloating<T>) {
        last = int64_t{1} << kDigits<T>;
        from = inner_from<T>(from);
        GS_CHECK(from < last,
                 "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' "
                 "casted to dtype, "
                 "but got from={} > to_inc={}",
                 from, last);
      } else {
        last = static_cast<int64_t>(std::numeric_limits<T>::max());
      }
    } else {
      if constexpr (!std::is_same_v<T, int64_t> && (!kFloating<T> || std::is_same_v<T, Half>)) {
        const std::string name = kernel_name("random_full_64_bits_range_kernel_cpu", device);
        GS_CHECK_KIND(NotImplemented, dtype != DType::Bool && dtype != DType::Float16,
                      "\"{}\" not implemented for '{}'", name, scalar_name(dtype));
        fail(ErrorKind::Runtime, "{} handles only int64, double, float and bfloat16", name);
      }
      return;
    }
    check_bounds<T>(from, last);
    // Enough bits for a small skew.
    const uint64_t count = static_cast<uint64_t>(last) - static_cast<uint64_t>(from) + 1;
    range = {from, count, count >= uint64_t{1} << 28};
  });
  return range;
}

void check_uniform(DType dtype, double from, double to) {
  dispatch_floating(dtype, "check_uniform_bounds", [&](auto tag) {
    using T = decltype(tag);
    GS_CHECK(std::abs(from) <= kLargest<T>, "from is out of bounds for {}", kCName<T>);
    GS_CHECK(std::abs(to) <= kLargest<T>, "to is out of bounds for {}", kCName<T>);
    GS_CHECK(from <= to, "uniform_ expects to return a [from, to) range, but found from={} > to={}",
             from, to);
    GS_CHECK(to - from <= kLargest<T>,
             "uniform_ expects to-from <= std::numeric_limits<{}>::max(), but found to={} and "
             "from={} which "
             "result in to-from to exceed the limit",
             scalar_name(dtype), to, from);
  });
}

void check_normal(DType dtype, double std, DeviceType device) {
  GS_CHECK(std >= 0.0, "normal expects std >= 0.0, but found std {}", std);
  check_floating(dtype, "normal_kernel_cpu", device);
}

void check_log_normal(DType dtype, double std, DeviceType device) {
  GS_CHECK(std > 0.0, "log_normal_ expects std > 0.0, but found std={}", std);
  check_floating(dtype, "log_normal_cpu", device);
}

void check_cauchy(DType dtype, double sigma, DeviceType device) {
  GS_CHECK(sigma > 0.0, "cauchy_ expects sigma > 0.0, but found sigma={}", sigma);
  check_floating(dtype, "cauchy_cpu", device);
}

void check_exponential(DType dtype, double lambda, DeviceType device) {
  GS_CHECK(lambda > 0.0, "exponential_ expects lambda > 0.0, but found lambda={}", lambda);
  check_floating(dtype, "exponential_cpu", device);
}

void check_geometric(DType dtype, double p, DeviceType device) {
  GS_CHECK(0 < p && p < 1, "geometric_ expects p to be in (0, 1), but got p={}", p);
  GS_CHECK_KIND(NotImplemented, dtype != DType::Bool, "\"{}\" not implemented for 'Bool'",
                kernel_name("geometric_cpu", device));
}

void check_bernoulli(double p) {
  GS_CHECK(0 <= p && p <= 1, "bernoulli_ expects p to be in [0, 1], but got p={}", p);
}

void check_dropout(DType dtype, double p) {
  GS_CHECK(0 <= p && p <= 1, "dropout probability has to be between 0 and 1, but got {}", p);
  check_floating(dtype, "dropout", DeviceType::CPU);
}

void check_randperm(DType dtype, int64_t n, DeviceType device) {
  GS_CHECK(n >= 0, "n must be non-negative, got{}", n);
  GS_CHECK_KIND(NotImplemented, dtype != DType::Bool, "\"{}\" not implemented for 'Bool'",
                device == DeviceType::CPU ? "randperm" : "randperm_out_cuda");
}

void check_multinomial(DType dtype, int64_t n_categories, int64_t n_samples, bool replacement) {
  GS_CHECK(n_samples > 0, "cannot sample n_sample <= 0 samples");
  GS_CHECK(replacement || n_samples <= n_categories,
           "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  GS_CHECK(n_categories <= (1 << 24), "number of categories cannot exceed 2^24");
  GS_CHECK(is_floating(dtype), "multinomial only supports floating-point dtypes for input, got: {}",
           scalar_name(dtype));
}

}  // namespace gradstep
