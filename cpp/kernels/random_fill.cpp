// SPDX-License-Identifier: Apache-2.0
// Compiled once; run_fast() picks AVX2 and fused multiply-add, which PyTorch's results have, at run
// time. The flags change the speed only: -O3 -fno-math-errno vectorises the normal distribution.
#include "kernels/random_fill.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/random_args.h"
#include "core/threads.h"
#include "kernels/random_doubles.h"

#define GS_INLINE_LAMBDA __attribute__((always_inline))

namespace gradstep {
namespace {

constexpr int64_t kBlock = 65536;          // draws between two parallel regions: 512 KiB of 64 bits
constexpr int64_t kTransformGrain = 2048;  // a transformed draw costs about 20 ns

// ---- instruction set ----

#if defined(__x86_64__)
template <class F>
[[gnu::target("avx2,fma")]] void run_with_fma(F& f) {
  f();
}
#endif

/// Runs f, compiled for AVX2 and FMA where the machine has them. The bits do not depend on it: what
/// PyTorch's compiler fuses is written as std::fma, and nothing else has the form a * b + c.
template <class F>
void run_fast(F f) {
#if defined(__x86_64__)
  static const bool has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_fma) return run_with_fma(f);
#endif
  f();
}

// ---- draws ----

/// Uniform in [0, 1), from 24 bits.
inline float uniform_float(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word & 0xffffffu)) * 0x1p-24f;
}

/// out[i] = f(u, i) for uniform doubles u.
template <class T, class F>
void from_doubles(Generator& gen, T* out, int64_t n, F f) {
  const Scratch<uint64_t> words(std::min(n, kBlock));
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t count = std::min(kBlock, n - at);
    gen.draw64(words.data(), count);
    parallel_for(count, kTransformGrain, [&](int64_t begin, int64_t end) {
      run_fast([&]() GS_INLINE_LAMBDA {
        for (int64_t i = begin; i < end; ++i) {
          out[at + i] = f(uniform_double(words.data()[i]), at + i);
        }
      });
    });
  }
}

/// out[i] = f(word, i) for 32-bit draws.
template <class T, class F>
void from_words(Generator& gen, T* out, int64_t n, F f) {
  uint32_t words[512];
  for (int64_t at = 0; at < n; at += 512) {
    const int64_t count = std::min<int64_t>(512, n - at);
    gen.draw(words, count);
    run_fast([&]() GS_INLINE_LAMBDA {
      for (int64_t i = 0; i < count; ++i) out[at + i] = f(words[i], at + i);
    });
  }
}

template <class T, class F>
void from_words64(Generator& gen, T* out, int64_t n, F f) {
  uint64_t words[256];
  for (int64_t at = 0; at < n; at += 256) {
    const int64_t count = std::min<int64_t>(256, n - at);
    gen.draw64(words, count);
    for (int64_t i = 0; i < count; ++i) out[at + i] = f(words[i], at + i);
  }
}

// ---- normal ----

/// The natural logarithm of x in (0, 1] by Cephes' single precision polynomial.
struct LogUnit {
  GS_INLINE_LAMBDA float operator()(float x) const {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    const float m = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);  // [0.5, 1)
    const float high = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126);
    const bool low_half = m < 0.707106781186547524f;
    const float e = low_half ? high - 1.0f : high;
    const float t = low_half ? (m - 1.0f) + m : m - 1.0f;
    const float z = t * t;
    float y = 7.0376836292e-2f;
    y = std::fma(y, t, -1.1514610310e-1f);
    y = std::fma(y, t, 1.1676998740e-1f);
    y = std::fma(y, t, -1.2420140846e-1f);
    y = std::fma(y, t, 1.4249322787e-1f);
    y = std::fma(y, t, -1.6668057665e-1f);
    y = std::fma(y, t, 2.0000714765e-1f);
    y = std::fma(y, t, -2.4999993993e-1f);
    y = std::fma(y, t, 3.3333331174e-1f);
    y = std::fma(y * t, z, e * -2.12194440e-4f);
    y = std::fma(z, -0.5f, y);
    return std::fma(e, 0.693359375f, t + y);
  }
};

/// Sine and cosine of x in [0, 2 pi] by Cephes' single precision polynomials.
struct SinCosTurn {
  GS_INLINE_LAMBDA void operator()(float x, float& sine, float& cosine) const {
    const int32_t octant = (static_cast<int32_t>(x * 1.27323954473516f) + 1) & ~1;
    const float k = static_cast<float>(octant);
    float r = std::fma(k, -0.78515625f, x);
    r = std::fma(k, -2.4187564849853515625e-4f, r);
    r = std::fma(k, -3.77489497744594108e-8f, r);
    const float z = r * r;
    float c = 2.443315711809948e-5f;
    c = std::fma(c, z, -1.388731625493765e-3f);
    c = std::fma(c, z, 4.166664568298827e-2f);
    c = std::fma(c * z, z, z * -0.5f) + 1.0f;
    float s = -1.9515295891e-4f;
    s = std::fma(s, z, 8.3321608736e-3f);
    s = std::fma(s, z, -1.6666654611e-1f);
    s = std::fma(s * z, r, r);
    const bool swap = (octant & 2) != 0;
    const uint32_t sine_sign = static_cast<uint32_t>(octant & 4) << 29;
    const uint32_t cosine_sign = static_cast<uint32_t>(~(octant - 2) & 4) << 29;
    sine = std::bit_cast<float>(std::bit_cast<uint32_t>(swap ? c : s) ^ sine_sign);
    cosine = std::bit_cast<float>(std::bit_cast<uint32_t>(swap ? s : c) ^ cosine_sign);
  }
};

// Box-Muller on 16 uniform values in place: the first 8 give the radii, the others the angles.

GS_INLINE_LAMBDA inline void normal_16(float* data, float mean, float std) {
  float radius[8], sine[8], cosine[8];
  for (int j = 0; j < 8; ++j) radius[j] = std::sqrt(-2.0f * LogUnit{}(1.0f - data[j]));
  for (int j = 0; j < 8; ++j)
    SinCosTurn{}(static_cast<float>(2.0 * M_PI) * data[j + 8], sine[j], cosine[j]);
  for (int j = 0; j < 8; ++j) {
    data[j] = std::fma(radius[j] * cosine[j], std, mean);
    data[j + 8] = std::fma(radius[j] * sine[j], std, mean);
  }
}

GS_INLINE_LAMBDA inline void normal_16(double* data, double mean, double std) {
  for (int j = 0; j < 8; ++j) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - data[j]));
    const double theta = 2.0 * M_PI * data[j + 8];
    data[j] = std::fma(radius * std::cos(theta), std, mean);
    data[j + 8] = std::fma(radius * std::sin(theta), std, mean);
  }
}

template <class T>
void draw_uniform(Generator& gen, T* out, int64_t n) {
  if constexpr (std::is_same_v<T, double>) {
    from_words64(gen, out, n, [](uint64_t w, int64_t) { return uniform_double(w); });
  } else {
    from_words(gen, out, n, [](uint32_t w, int64_t) GS_INLINE_LAMBDA { return uniform_float(w); });
  }
}

/// `draw_rest`: for a size that is no multiple of 16 PyTorch draws the rest too, and then replaces
/// it by a last block; but not for halves.
template <class T>
void normal_blocks(Generator& gen, T* out, int64_t n, T mean, T std, bool draw_rest) {
  draw_uniform(gen, out, draw_rest ? n : n / 16 * 16);
  const auto transform = [&](T* data, int64_t n_blocks) {
    run_fast([=]() GS_INLINE_LAMBDA {
      for (int64_t b = 0; b < n_blocks; ++b) normal_16(data + 16 * b, mean, std);
    });
  };
  parallel_for(n / 16, 256,
               [&](int64_t begin, int64_t end) { transform(out + 16 * begin, end - begin); });
  if (n % 16 != 0) {
    T* tail = out + n - 16;
    draw_uniform(gen, tail, 16);
    transform(tail, 1);
  }
}

// ---- integers ----

template <class T>
constexpr bool kFloating =
    std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

void random_range(Generator& gen, DType dtype, void* out, int64_t n, const IntegerRange& range) {
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    T* const p = static_cast<T*>(out);
    const auto value = [from = static_cast<uint64_t>(range.from)](uint64_t x) {
      return convert<T>(static_cast<int64_t>(x + from));
    };
    const std::lock_guard lock(gen.mutex);
    if (range.count == 0) {
      from_words64(gen, p, n, [=](uint64_t w, int64_t) { return value(w); });
    } else if (range.wide) {
      from_words64(gen, p, n, [=](uint64_t w, int64_t) { return value(w % range.count); });
    } else {
      const uint32_t count = static_cast<uint32_t>(range.count);
      from_words(gen, p, n, [=](uint32_t w, int64_t) { return value(w % count); });
    }
  });
}

// ---- multinomial ----

template <class C, class T>
void load_row(C* row, const T* weights, int64_t n) {
  for (int64_t j = 0; j < n; ++j) row[j] = convert<C>(weights[j]);
}

template <class C, class T>
void multinomial_with_replacement(Generator& gen, const T* weights, int64_t* out, int64_t n_rows,
                                  int64_t n_categories, int64_t n_samples) {
  const Scratch<C> cumulative(n_categories);
  C* const c = cumulative.data();
  for (int64_t i = 0; i < n_rows; ++i) {
    load_row(c, weights + i * n_categories, n_categories);
    C sum = 0;
    for (int64_t j = 0; j < n_categories; ++j) {
      GS_CHECK(c[j] >= 0, "invalid multinomial distribution (encountering probability entry < 0)");
      GS_CHECK(
          std::isfinite(c[j]),
          "invalid multinomial distribution (encountering probability entry = infinity or NaN)");
      sum += c[j];
      c[j] = sum;
    }
    GS_CHECK(sum > 0, "invalid multinomial distribution (sum of probabilities <= 0)");
    for (int64_t j = 0; j < n_categories; ++j) c[j] /= sum;
    c[n_categories - 1] = 1;
    for (int64_t j = 0; j < n_samples; ++j) {
      const double u = uniform_double(gen);
      out[i * n_samples + j] =
          std::lower_bound(c, c + n_categories, u,
                           [](C p, double x) { return static_cast<double>(p) < x; }) -
          c;
    }
  }
}

/// The largest of weight / exponential draw: Gumbel's trick without logarithms.
template <class C, class T>
void multinomial_without_replacement(Generator& gen, DType dtype, const T* weights, int64_t* out,
                                     int64_t n_rows, int64_t n_categories, int64_t n_samples) {
  const int64_t n = n_rows * n_categories;
  for (int64_t i = 0; i < n_rows; ++i) {
    C sum = 0;
    for (int64_t j = 0; j < n_categories; ++j) {
      const C w = convert<C>(weights[i * n_categories + j]);
      GS_CHECK(w >= 0 && w < std::numeric_limits<C>::infinity(),
               "probability tensor contains either `inf`, `nan` or element < 0");
      sum += w;
    }
    GS_CHECK(sum > 0, "invalid multinomial distribution (sum of probabilities <= 0)");
  }
  const Scratch<T> q(n);
  fill_exponential(gen, dtype, q.data(), n, 1.0);
  using Entry = std::pair<C, int64_t>;
  std::vector<Entry> row(static_cast<size_t>(n_categories));
  const auto larger = [](const Entry& a, const Entry& b) { return a.first > b.first; };
  for (int64_t i = 0; i < n_rows; ++i) {
    for (int64_t j = 0; j < n_categories; ++j) {
      const int64_t at = i * n_categories + j;
      const T ratio = convert<T>(convert<C>(weights[at]) / convert<C>(q.data()[at]));
      row[static_cast<size_t>(j)] = {convert<C>(ratio), j};
    }
    // The same algorithms as PyTorch's topk, so that equal values come in the same order.
    const auto first = row.begin(), last = row.end();
    if (n_samples == 1) {
      std::iter_swap(
          first, std::max_element(first, last, [](auto& a, auto& b) { return a.first < b.first; }));
    } else if (n_samples * 64 <= n_categories) {
      std::partial_sort(first, first + n_samples, last, larger);
    } else {
      std::nth_element(first, first + (n_samples - 1), last, larger);
      std::sort(first, first + (n_samples - 1), larger);
    }
    for (int64_t j = 0; j < n_samples; ++j)
      out[i * n_samples + j] = row[static_cast<size_t>(j)].second;
  }
}

}  // namespace

// ---- real distributions ----

void fill_uniform(Generator& gen, DType dtype, void* out, int64_t n, double from, double to) {
  check_uniform(dtype, from, to);
  dispatch_floating(dtype, "uniform", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const C base = static_cast<C>(from), bound = static_cast<C>(to), range = bound - base;
    const std::lock_guard lock(gen.mutex);
    if constexpr (std::is_same_v<T, double>) {
      double* const p = static_cast<double*>(out);
      draw_uniform(gen, p, n);
      if (base == 0 && range == 1) return;
      run_fast([=]() GS_INLINE_LAMBDA {
        for (int64_t i = 0; i < n; ++i) p[i] = std::fma(p[i], range, base);
      });
    } else {
      from_words(gen, static_cast<T*>(out), n, [=](uint32_t w, int64_t) GS_INLINE_LAMBDA {
        const T value = convert<T>(std::fma(uniform_float(w), range, base));
        if constexpr (std::is_same_v<T, float>) return value;
        const bool rounded_up = convert<float>(value) == convert<float>(convert<T>(bound));
        return rounded_up ? convert<T>(base) : value;
      });
    }
  });
}

void fill_normal(Generator& gen, DType dtype, void* out, int64_t n, double mean, double std,
                 bool contiguous) {
  check_normal(dtype, std);
  dispatch_floating(dtype, "normal_kernel_cpu", [&](auto tag) {
    using T = decltype(tag);
    const std::lock_guard lock(gen.mutex);
    T* const p = static_cast<T*>(out);
    if (n >= 16 && contiguous) {
      using C = compute_t<T>;
      const C m = static_cast<C>(mean), s = static_cast<C>(std);
      if constexpr (std::is_same_v<T, C>) {
        normal_blocks(gen, p, n, m, s, true);
      } else {
        const Scratch<C> values(n);
        normal_blocks(gen, values.data(), n, m, s, false);
        std::transform(values.data(), values.data() + n, p, convert<T, C>);
      }
      return;
    }
    for (int64_t i = 0; i < n; ++i) p[i] = convert<T>(normal_double(gen, mean, std));
  });
}

void fill_log_normal(Generator& gen, DType dtype, void* out, int64_t n, double mean, double std) {
  check_log_normal(dtype, std);
  dispatch_floating(dtype, "log_normal_cpu", [&](auto tag) {
    using T = decltype(tag);
    const std::lock_guard lock(gen.mutex);
    for (int64_t i = 0; i < n; ++i)
      static_cast<T*>(out)[i] = convert<T>(std::exp(normal_double(gen, mean, std)));
  });
}

void fill_cauchy(Generator& gen, DType dtype, void* out, int64_t n, double median, double sigma) {
  check_cauchy(dtype, sigma);
  dispatch_floating(dtype, "cauchy_cpu", [&](auto tag) {
    using T = decltype(tag);
    const std::lock_guard lock(gen.mutex);
    from_doubles(gen, static_cast<T*>(out), n, [=](double u, int64_t) {
      return convert<T>(std::fma(sigma, std::tan(M_PI * (u - 0.5)), median));
    });
  });
}

void fill_exponential(Generator& gen, DType dtype, void* out, int64_t n, double lambda) {
  check_exponential(dtype, lambda);
  dispatch_floating(dtype, "exponential_cpu", [&](auto tag) {
    using T = decltype(tag);
    const double scale = -1.0 / lambda;
    const std::lock_guard lock(gen.mutex);
    from_doubles(gen, static_cast<T*>(out), n,
                 [=](double u, int64_t) { return convert<T>(scale * std::log1p(-u)); });
  });
}

void fill_geometric(Generator& gen, DType dtype, void* out, int64_t n, double p) {
  check_geometric(dtype, p);
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    const double log_q = std::log1p(-p);
    const std::lock_guard lock(gen.mutex);
    from_doubles(gen, static_cast<T*>(out), n,
                 [=](double u, int64_t) { return convert<T>(std::ceil(std::log(u) / log_q)); });
  });
}

// ---- Bernoulli ----

void fill_bernoulli(Generator& gen, DType dtype, void* out, int64_t n, double p) {
  check_bernoulli(p);
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    const T one = convert<T>(1.0f), zero = convert<T>(0.0f);
    const std::lock_guard lock(gen.mutex);
    from_words64(gen, static_cast<T*>(out), n,
                 [=](uint64_t w, int64_t) { return uniform_double(w) < p ? one : zero; });
  });
}

void fill_bernoulli(Generator& gen, DType dtype, void* out, int64_t n, DType p_dtype,
                    const void* p) {
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    const T one = convert<T>(1.0f), zero = convert<T>(0.0f);
    dispatch_floating(p_dtype, "bernoulli_tensor_cpu_p_", [&](auto p_tag) {
      using P = decltype(p_tag);
      const P* const probability = static_cast<const P*>(p);
      for (int64_t i = 0; i < n; ++i) {
        const auto x = convert<compute_t<P>>(probability[i]);
        GS_CHECK(x >= 0 && x <= 1, "Expected p_in >= 0 && p_in <= 1 to be true, but got false.");
      }
      const std::lock_guard lock(gen.mutex);
      if constexpr (std::is_same_v<P, double>) {
        from_words64(gen, static_cast<T*>(out), n, [=](uint64_t w, int64_t i) {
          return uniform_double(w) < probability[i] ? one : zero;
        });
      } else {
        from_words(gen, static_cast<T*>(out), n, [=](uint32_t w, int64_t i) {
          return uniform_float(w) < convert<float>(probability[i]) ? one : zero;
        });
      }
    });
  });
}

void fill_dropout_mask(Generator& gen, DType dtype, void* out, int64_t n, double p) {
  check_dropout(dtype, p);
  dispatch_floating(dtype, "dropout", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const double keep = 1.0 - p;
    const T kept = convert<T>(C(1) / static_cast<C>(keep)), dropped = convert<T>(0.0f);
    const std::lock_guard lock(gen.mutex);
    from_words64(gen, static_cast<T*>(out), n,
                 [=](uint64_t w, int64_t) { return uniform_double(w) < keep ? kept : dropped; });
  });
}

// ---- integers ----

void fill_random(Generator& gen, DType dtype, void* out, int64_t n) {
  random_range(gen, dtype, out, n, integer_range(dtype));
}

void fill_random(Generator& gen, DType dtype, void* out, int64_t n, int64_t from,
                 std::optional<int64_t> to) {
  if (n == 0 && !to && from == kLowestInteger) return;
  random_range(gen, dtype, out, n, integer_range(dtype, from, to));
}

void fill_randperm(Generator& gen, DType dtype, void* out, int64_t n) {
  check_randperm(dtype, n);
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    T* const p = static_cast<T*>(out);
    const std::lock_guard lock(gen.mutex);
    if (n < std::numeric_limits<uint32_t>::max() / 20) {
      for (int64_t i = 0; i < n; ++i) p[i] = convert<T>(i);
      for (int64_t i = 0; i < n - 1; ++i)
        std::swap(p[i], p[i + gen.random() % static_cast<uint32_t>(n - i)]);
      return;
    }
    for (int64_t i = 0; i < n; ++i) {  // the inside-out shuffle, 64 bits for a negligible skew
      const auto z = static_cast<int64_t>(gen.random64() % static_cast<uint64_t>(i + 1));
      p[i] = convert<T>(i);
      p[i] = p[z];
      p[z] = convert<T>(i);
    }
  });
}

// ---- samples ----

void fill_multinomial(Generator& gen, DType dtype, const void* weights, int64_t* out,
                      int64_t n_rows, int64_t n_categories, int64_t n_samples, bool replacement) {
  check_multinomial(dtype, n_categories, n_samples, replacement);
  if (n_rows == 0) return;
  dispatch(dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* const w = static_cast<const T*>(weights);
    if constexpr (kFloating<T>) {
      if (!replacement || n_samples == 1) {
        multinomial_without_replacement<C>(gen, dtype, w, out, n_rows, n_categories, n_samples);
      } else {
        const std::lock_guard lock(gen.mutex);
        multinomial_with_replacement<C>(gen, w, out, n_rows, n_categories, n_samples);
      }
    }
  });
}

}  // namespace gradstep
