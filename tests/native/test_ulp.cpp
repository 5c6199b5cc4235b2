// SPDX-License-Identifier: Apache-2.0
// The error of every unary float function over all 2^32 floats, against the double functions of the
// same header (within some 10^-16; test_fn.cpp compares those with libm in long double).
//   test_ulp [every] [name ..]   each every-th float (default 4099; 1 is all of them: half a
//                                minute a function), of the functions named or all
// Prints a row of docs/accuracy.md for each; fails where an error exceeds the function's limit.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "fn/activation.h"
#include "fn/pointwise.h"

using namespace gradstep;

namespace {

constexpr int kBlock = 4096;
constexpr int kThreads = 2;
#ifdef __FMA__
constexpr bool kFused = true;
#else
constexpr bool kFused = false;  // no multiply-adds
#endif

struct Worst {
  double ulp = 0;
  float at = 0;
  void take(double error, float x) {
    if (!(error <= ulp)) ulp = error, at = x;
  }
};

/// Units in the last place of the float nearest to `want`; special values must be equal.
double error_of(float got, double want) {
  const float nearest = float(want);
  if (std::isnan(nearest) || std::isnan(got))
    return std::isnan(nearest) && std::isnan(got) ? 0 : INFINITY;
  if (got == nearest) return std::signbit(got) == std::signbit(nearest) ? 0 : INFINITY;
  if (std::isinf(nearest))  // one step before the overflow
    return std::fabs(got) == 0x1.fffffep127f && got * nearest > 0 ? 1 : INFINITY;
  if (std::isinf(got)) return std::fabs(want) > 0x1.fffffdp127 && got * want > 0 ? 1 : INFINITY;
  const int e = std::max(std::ilogb(want) - 23, -149);
  return std::ldexp(std::fabs(double(got) - want), -e);
}

/// The same for a block; exact where the error is above one half.
void errors_of(const float* got, const double* want, double* error, int n) {
  for (int i = 0; i < n; ++i) {
    const int64_t exponent = bit_cast<int64_t>(want[i]) & 0x7ff0000000000000;
    const double power = bit_cast<double>(exponent) * 0x1p-23;
    const double ulp = power > 0x1p-149 ? power : 0x1p-149;
    const double distance = std::fabs(double(got[i]) - want[i]);
    const bool ordinary = std::fabs(want[i]) < 3e38 && std::fabs(got[i]) < 3e38f && got[i] != 0;
    error[i] = ordinary ? distance / ulp : -1;
  }
}

template <class F>
Worst search(F f, float low, float high, uint64_t first, uint64_t end, uint64_t every) {
  Worst worst;
  alignas(64) float x[kBlock], y[kBlock];
  alignas(64) double wide[kBlock], want[kBlock], error[kBlock];
  using V = Native<float>;
  using W = Native<double>;
  for (uint64_t at = first; at < end;) {
    int n = 0;
    for (; n < kBlock && at < end; at += every) {
      const float v = bit_cast<float>(uint32_t(at));
      if (!(v < low) && !(v > high)) x[n++] = v;  // NaN is visited
    }
    for (int i = n; i % V::size; ++i) x[i] = 1;
    for (int i = 0; i < n; ++i) wide[i] = x[i];
    for (int i = n; i % W::size; ++i) wide[i] = 1;
    for (int i = 0; i < n; i += V::size) f(V::load(x + i)).store(y + i);
    for (int i = 0; i < n; i += W::size) f(W::load(wide + i)).store(want + i);
    errors_of(y, want, error, n);
    for (int i = 0; i < n; ++i) {
      if (error[i] < 0)
        worst.take(error_of(y[i], want[i]), x[i]);
      else if (error[i] > worst.ulp)
        worst.take(error[i], x[i]);
    }
  }
  return worst;
}

struct Options {
  uint64_t every = 4099;
  char** names = nullptr;
  int n_names = 0;
  int failures = 0;
};

template <class F>
void row(Options& o, const char* name, double limit, F f, float low = -INFINITY,
         float high = INFINITY) {
  bool wanted = o.n_names == 0;
  for (int i = 0; i < o.n_names; ++i) wanted |= !std::strcmp(name, o.names[i]);
  if (!wanted) return;
  constexpr uint64_t kAll = uint64_t(1) << 32;
  Worst part[kThreads];
  std::thread threads[kThreads];
  for (int t = 0; t < kThreads; ++t) {
    // Shares that interleave blocks would be even; halves of the patterns (the signs) are simpler.
    const uint64_t begin = kAll / kThreads * uint64_t(t);
    threads[t] = std::thread([=, &part, &o] {
      part[t] = search(f, low, high, begin + uint64_t(t), begin + kAll / kThreads, o.every);
    });
  }
  Worst worst;
  for (int t = 0; t < kThreads; ++t) {
    threads[t].join();
    worst.take(part[t].ulp, part[t].at);
  }
  const bool bad = !(worst.ulp <= limit);
  o.failures += bad;
  std::printf("| %s | %.3f | %.9g |%s\n", name, worst.ulp, double(worst.at), bad ? " FAIL" : "");
  std::fflush(stdout);
}

#define ROW(name, limit, ...) \
  row(o, #name, limit, [](auto x) { return gradstep::name(x); }, ##__VA_ARGS__)

}  // namespace

int main(int argc, char** argv) {
  Options o;
  if (argc > 1) o.every = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2) o.names = argv + 2, o.n_names = argc - 2;
  if (o.every == 0) return 2;
  const float range = float(kTrigRange<float>);  // beyond it both are libm's
  std::printf("%d-byte vectors, every %llu-th float\n", kVectorBytes,
              static_cast<unsigned long long>(o.every));
  ROW(exp, 1.2);
  ROW(exp2, 1.4);
  ROW(expm1, 1.9);
  ROW(log, 1.3);
  ROW(log2, 2);
  ROW(log10, 2.1);
  ROW(log1p, 2);
  ROW(sqrt, 0.5);
  ROW(rsqrt, 1.5);
  ROW(sin, 2.2, -range, range);
  ROW(cos, 2.2, -range, range);
  ROW(tan, 4, -range, range);
  ROW(asin, 2.5);
  ROW(acos, 2);
  ROW(atan, 2);
  ROW(sinh, 2.5);
  ROW(cosh, 2);
  ROW(tanh, kFused ? 1.8 : 2.6);
  ROW(asinh, 3);
  ROW(acosh, 3);
  ROW(atanh, 3);
  ROW(sigmoid, kFused ? 1.5 : 2.5);
  ROW(softplus, 2.5);
  ROW(erf, 1.5);
  ROW(erfc, kFused ? 6 : 7);
  ROW(erfinv, 4);
  ROW(normal_cdf, 6);
  row(o, "gelu", kFused ? 5 : 7, Gelu{}, -12.5);  // below, the distribution function is denormal
  row(o, "gelu, x >= -1", kFused ? 3 : 4, Gelu{}, -1);
  row(o, "silu", 3, Silu{}, -80);  // below, sigmoid(x) is denormal
  row(o, "mish", 8, Mish{}, -40);
  std::printf("%d failures\n", o.failures);
  return o.failures != 0;
}
