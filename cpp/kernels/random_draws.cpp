// SPDX-License-Identifier: Apache-2.0
// Random numbers with a parameter for each element, drawn by rejection (fn/samples.h), one after
// the other as PyTorch draws them; and the slope of gamma numbers.
#include <algorithm>
#include <bit>
#include <limits>
#include <mutex>

#include "core/error.h"
#include "core/threads.h"
#include "fn/samples.h"
#include "graph/call.h"
#include "kernels/random_doubles.h"

namespace gradstep {

namespace {

/// What fn/samples.h draws from.
struct Doubles {
  Generator& gen;
  double uniform() { return uniform_double(gen); }
  double normal() { return normal_double(gen, 0.0, 1.0); }
};

/// out[i] = f(draw, x_0[i], ..) in the output's dtype; slot 0 is the generator's address.
template <class F>
void draw_each(const Call& call, const char* name, F f) {
  const TensorImpl& out = call.out(0);
  Generator& gen =
      generator_on(*std::bit_cast<Generator*>(static_cast<intptr_t>(call.i(0))), Device{});
  dispatch_floating(out.dtype, name, [&](auto tag) {
    using T = decltype(tag);
    const std::lock_guard lock(gen.mutex);
    Doubles draw{gen};
    const auto x = [&](int k, int64_t i) {
      return convert<double>(reinterpret_cast<const T*>(call.in(k).data)[i]);
    };
    T* const to = reinterpret_cast<T*>(out.data);
    for (int64_t i = 0; i < out.numel; ++i) to[i] = f(tag, draw, x, i);
  });
}

/// random_poisson(; rates)
void random_poisson(const Call& call) {
  draw_each(call, "poisson_cpu", [](auto tag, Doubles& draw, const auto& x, int64_t i) {
    const double rate = x(0, i);
    GS_CHECK(rate >= 0, "invalid Poisson rate, expected rate to be non-negative");
    return convert<decltype(tag)>(rate == 0 ? 0 : draw_poisson(draw, rate));
  });
}
GS_CPU_KERNEL("random_poisson", random_poisson);

/// random_gamma(; shapes): at least the smallest normal number, as PyTorch clamps them.
void random_gamma(const Call& call) {
  draw_each(call, "gamma_cpu", [](auto tag, Doubles& draw, const auto& x, int64_t i) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const double value = draw_gamma(draw, x(0, i));
    return convert<T>(std::max(std::numeric_limits<C>::min(), static_cast<C>(value)));
  });
}
GS_CPU_KERNEL("random_gamma", random_gamma);

/// random_binomial(; counts, probabilities)
void random_binomial(const Call& call) {
  draw_each(call, "binomial_cpu", [](auto tag, Doubles& draw, const auto& x, int64_t i) {
    return convert<decltype(tag)>(draw_binomial(draw, x(0, i), x(1, i)));
  });
}
GS_CPU_KERNEL("random_binomial", random_binomial);

/// gamma_slope(; shapes, numbers): dx/da of numbers x that were drawn with shapes a.
void gamma_slope(const Call& call) {
  const TensorImpl& out = call.out(0);
  dispatch_floating(out.dtype, "_standard_gamma_grad_cpu", [&](auto tag) {
    using T = decltype(tag);
    const auto* const a = reinterpret_cast<const T*>(call.in(0).data);
    const auto* const x = reinterpret_cast<const T*>(call.in(1).data);
    auto* const to = reinterpret_cast<T*>(out.data);
    parallel_for(out.numel, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        to[i] = convert<T>(GammaSlope{}(convert<double>(a[i]), convert<double>(x[i])));
    });
  });
}
GS_CPU_KERNEL("gamma_slope", gamma_slope);

}  // namespace

}  // namespace gradstep
