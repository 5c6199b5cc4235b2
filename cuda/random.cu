// SPDX-License-Identifier: Apache-2.0
// The fills: each distribution is a functor on the words of a turn.
#include "cuda/random.h"

#include <bit>

#include "core/generator.h"
#include "core/random_args.h"
#include "cuda/graph.h"

namespace gradstep::cuda {

// ---- the generator ----

Philox take_draws(const Call& call, uint64_t draws) {
  const Device device = call.operands[0]->device;
  Generator& g = generator_on(*std::bit_cast<Generator*>(static_cast<intptr_t>(call.i(0))), device);
  if (&g == &default_generator(device)) return take_random(device.index, draws);
  GS_CHECK(
      !is_capturing(),
      "CUDA graphs: only the device's default generator can be used while a graph is captured");
  return {g.initial_seed(), g.take(draws), nullptr};
}

DrawPlan plan_draws(const Call& call, int64_t n, int each) {
  if (n == 0) return {};
  const int64_t most = resident_threads(call.operands[0]->device.index) / kRandomThreads;
  const int64_t want = (n + kRandomThreads - 1) / kRandomThreads;
  const int64_t blocks = want < most ? want : most;
  const int64_t turns = (n - 1) / (kRandomThreads * blocks * each) + 1;
  return {take_draws(call, 4 * uint64_t(turns)), unsigned(blocks)};
}

namespace {

// ---- distributions: draw() makes kEach numbers of a turn, operator() transforms each ----

template <class S>
struct FromUniform {
  using C = S;
  static constexpr int kEach = std::is_same_v<S, double> ? 2 : 4;
  GS_DEVICE static void draw(const Random4& r, S* out) {
    if constexpr (kEach == 2) {
      out[0] = uniform_closed(r.x[0], r.x[1]);
      out[1] = uniform_closed(r.x[2], r.x[3]);
    } else {
      GS_UNROLL
      for (int k = 0; k < 4; ++k) out[k] = uniform_closed(r.x[k]);
    }
  }
};

template <class S>
struct FromNormal {
  using C = S;
  static constexpr int kEach = std::is_same_v<S, double> ? 2 : 4;
  GS_DEVICE static void draw(const Random4& r, S* out) {
    if constexpr (kEach == 2) {
      normal_pair(r, out[0], out[1]);
    } else {
      normal_pair(r.x[0], r.x[1], out[0], out[1]);
      normal_pair(r.x[2], r.x[3], out[2], out[3]);
    }
  }
};

template <class S>
struct UniformFill : FromUniform<S> {
  S from, to, range;
  /// (0, 1] becomes [from, to): what is `to` is returned as `from`.
  GS_DEVICE S operator()(S u, DType t) const {
    const S v = as_stored(u * range + from, t);
    return v == to ? from : v;
  }
};

template <class S>
struct NormalFill : FromNormal<S> {
  S mean, std;
  GS_DEVICE S operator()(S z, DType) const { return z * std + mean; }
};

template <class S>
struct LogNormalFill : FromNormal<S> {
  S mean, std;
  GS_DEVICE S operator()(S z, DType) const { return quick_exp(z * std + mean); }
};

template <class S>
struct CauchyFill : FromUniform<S> {
  S median, sigma;
  GS_DEVICE S operator()(S u, DType) const {
    if constexpr (std::is_same_v<S, float>) {  // the quick tangent is infinite beyond
      u = u > 1 - 0x1p-23f ? 1 - 0x1p-23f : u;
      u = u < 0x1p-23f ? 0x1p-23f : u;
    }
    return median + sigma * quick_tan(S(3.14159265358979323846) * (u - S(0.5)));
  }
};

template <class S>
struct ExponentialFill : FromUniform<S> {
  S lambda;
  /// Never 0, not even where the quick logarithm of a number close to 1 is.
  GS_DEVICE S operator()(S u, DType) const {
    constexpr S half_eps = std::is_same_v<S, double> ? S(0x1p-53) : S(0x1p-24);
    const S l = u >= 1 - half_eps ? -half_eps : quick_log(u);
    return S(-1) / lambda * l;
  }
};

template <class S>
struct GeometricFill : FromUniform<S> {
  S log_q;
  GS_DEVICE S operator()(S u, DType) const { return ceil(quick_log(u) / log_q); }
};

template <class S>
struct BernoulliFill : FromUniform<S> {
  S p;
  GS_DEVICE S operator()(S u, DType) const { return S(u < p); }
};

struct IntegerFill {  // from + x % count
  uint64_t from, count;
  GS_DEVICE int64_t operator()(int64_t x, DType) const {
    return int64_t((count ? uint64_t(x) % count : uint64_t(x)) + from);
  }
};
struct NarrowFill : IntegerFill {
  using C = int64_t;
  static constexpr int kEach = 4;
  GS_DEVICE static void draw(const Random4& r, int64_t* out) {
    GS_UNROLL
    for (int k = 0; k < 4; ++k) out[k] = int64_t(r.x[k]);
  }
  GS_DEVICE int64_t operator()(int64_t x, DType) const {
    return int64_t(uint32_t(x) % uint32_t(count) + from);
  }
};
struct WideFill : IntegerFill {
  using C = int64_t;
  static constexpr int kEach = 2;
  GS_DEVICE static void draw(const Random4& r, int64_t* out) {
    out[0] = int64_t(uint64_t(r.x[0]) << 32 | r.x[1]);
    out[1] = int64_t(uint64_t(r.x[2]) << 32 | r.x[3]);
  }
};

// ---- the driver ----

template <class D>
struct FillArgs {
  int64_t n;
  char* out;
  DType type;
  Philox state;
  D distribution;
};

template <class D>
__global__ void __launch_bounds__(kRandomThreads)
    random_kernel(const __grid_constant__ FillArgs<D> a) {
  using C = typename D::C;
  Draws draws(a.state, first_index());
  const int64_t threads = index_stride();
  for (int64_t i = first_index(); i < a.n; i += threads * D::kEach) {
    C v[D::kEach];
    D::draw(draws.next(), v);
    GS_UNROLL
    for (int k = 0; k < D::kEach; ++k) {
      const int64_t at = i + threads * k;
      if (at < a.n) store_as<C>(a.out, a.type, at, a.distribution(v[k], a.type));
    }
  }
}

template <class D>
void fill(const Call& call, const TensorImpl& out, const D& distribution) {
  const DeviceGuard guard(out.device.index);
  const DrawPlan plan = plan_draws(call, out.numel, D::kEach);
  const FillArgs<D> a{out.numel, out.data, out.dtype, plan.state, distribution};
  launch_grid(call, &random_kernel<D>, plan.blocks, kRandomThreads, a);
}

/// Calls f(double{}) for float64, else f(float{}).
template <class F>
void by_type(DType t, F f) {
  if (t == DType::Float64)
    f(double{});
  else
    f(float{});
}

/// x rounded to the type, as a C.
template <class C>
C rounded_to(DType t, double x) {
  double r = x;
  dispatch(t, [&](auto tag) { r = convert<double>(convert<decltype(tag)>(x)); });
  return C(r);
}

// Slot 0 is the generator; the others are the arguments of kernels/random_fill.h.

void random_uniform(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_uniform(out.dtype, call.f(1), call.f(2));
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    const S from = rounded_to<S>(out.dtype, call.f(1)), to = rounded_to<S>(out.dtype, call.f(2));
    fill(call, out, UniformFill<S>{{}, from, to, rounded_to<S>(out.dtype, double(to - from))});
  });
}

void random_normal(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_normal(out.dtype, call.f(2), DeviceType::CUDA);
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    fill(call, out, NormalFill<S>{{}, S(call.f(1)), S(call.f(2))});
  });
}

void random_log_normal(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_log_normal(out.dtype, call.f(2), DeviceType::CUDA);
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    fill(call, out, LogNormalFill<S>{{}, S(call.f(1)), S(call.f(2))});
  });
}

void random_cauchy(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_cauchy(out.dtype, call.f(2), DeviceType::CUDA);
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    fill(call, out, CauchyFill<S>{{}, S(call.f(1)), S(call.f(2))});
  });
}

}  // namespace

void fill_exponential(const Call& call, const TensorImpl& out, double lambda) {
  check_exponential(out.dtype, lambda, DeviceType::CUDA);
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    fill(call, out, ExponentialFill<S>{{}, S(lambda)});
  });
}

namespace {

void random_exponential(const Call& call) { fill_exponential(call, call.out(0), call.f(1)); }

void random_geometric(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_geometric(out.dtype, call.f(1), DeviceType::CUDA);
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    fill(call, out, GeometricFill<S>{{}, S(std::log1p(-S(call.f(1))))});
  });
}

}  // namespace

void fill_integers(const Call& call, const TensorImpl& out, const IntegerRange& range) {
  const IntegerFill f{uint64_t(range.from), range.count};
  if (range.wide)
    fill(call, out, WideFill{f});
  else
    fill(call, out, NarrowFill{f});
}

namespace {

// Slot 1: how many bounds follow (0: the type's own range; 1: from; 2: from, to).
void random_integers(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (call.i(1) == 0) return fill_integers(call, out, integer_range(out.dtype));
  const bool bounded = call.i(1) == 2;
  if (out.numel == 0 && !bounded && call.i(2) == kLowestInteger) return;
  fill_integers(call, out,
                integer_range(out.dtype, call.i(2),
                              bounded ? std::optional(call.i(3)) : std::nullopt, DeviceType::CUDA));
}

// ---- Bernoulli with a probability for each element ----

struct BernoulliArgs {
  int64_t n;
  char* out;
  const char* p;
  DType type, p_type;
  Philox state;
  Reporter reporter;
  int64_t message;
};

/// Four neighbours for each subsequence.
template <class S>
__global__ void __launch_bounds__(kRandomThreads)
    bernoulli_kernel(const __grid_constant__ BernoulliArgs a) {
  for (int64_t t = first_index(); 4 * t < a.n; t += index_stride()) {
    const Random4 r = Draws(a.state, t).next();
    GS_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int64_t i = 4 * t + k;
      if (i >= a.n) break;
      const S p = load_as<S>(a.p, a.p_type, i);
      if (!(p >= 0 && p <= 1)) report_trouble(a.reporter, Trouble::Message, a.message, 0, 0, 0);
      store_as<S>(a.out, a.type, i, S(S(uniform_closed(r.x[k])) <= p));
    }
  }
}

// One probability for all, or one for each element in a tensor.
void random_bernoulli(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (call.n_in == 0) {
    check_bernoulli(call.f(1));
    return by_type(out.dtype, [&](auto tag) {
      using S = decltype(tag);
      fill(call, out, BernoulliFill<S>{{}, S(call.f(1))});
    });
  }
  const TensorImpl& p = call.in(0);
  GS_CHECK_KIND(NotImplemented, is_floating(p.dtype),
                "\"bernoulli_tensor_cuda_p_\" not implemented for '{}'", scalar_name(p.dtype));
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const BernoulliArgs a{out.numel,
                        out.data,
                        p.data,
                        out.dtype,
                        p.dtype,
                        take_draws(call, 10),
                        reporter(call),
                        message_number("Expected p_in >= 0 && p_in <= 1 to be true, but got false.",
                                       ErrorKind::Runtime)};
  by_type(out.dtype, [&](auto tag) {
    launch_grid(call, &bernoulli_kernel<decltype(tag)>, blocks_for(call, a.n, kRandomThreads, 4),
                kRandomThreads, a);
  });
}

// ---- dropout ----

struct DropoutArgs {
  int64_t n;
  char* out;
  DType type;
  Philox state;
  double keep;   // the probability
  double scale;  // what a kept element is multiplied by
};

/// W neighbours for each turn, or two turns' worth of them if W is 2.
template <class S, int W>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_kernel(const __grid_constant__ DropoutArgs a) {
  Draws draws(a.state, first_index());
  const S keep = S(a.keep), scale = S(a.scale);
  bool second = false;
  Random4 r = {};
  for (int64_t i = first_index() * W; i < a.n; i += index_stride() * W) {
    if (!second) r = draws.next();
    GS_UNROLL
    for (int k = 0; k < W; ++k) {
      const uint32_t word = W == 2 && second ? r.x[2 + k % 2] : r.x[k];
      store_as<S>(a.out, a.type, i + k, S(uniform_closed(word)) < keep ? scale : S(0));
    }
    if (W == 2) second = !second;
  }
}

template <class S>
struct DropoutFill {  // for sizes that are no multiple of 2
  using C = S;
  static constexpr int kEach = 4;
  S keep, scale;
  GS_DEVICE static void draw(const Random4& r, S* out) {
    GS_UNROLL
    for (int k = 0; k < 4; ++k) out[k] = S(uniform_closed(r.x[k]));
  }
  GS_DEVICE S operator()(S u, DType) const { return u < keep ? scale : S(0); }
};

void dropout_mask(const Call& call) {
  const TensorImpl& out = call.out(0);
  check_dropout(out.dtype, call.f(1));
  const int64_t n = out.numel;
  by_type(out.dtype, [&](auto tag) {
    using S = decltype(tag);
    const S keep = S(1.0 - call.f(1)), scale = S(1) / keep;
    if (n % 2 != 0 || n == 0) return fill(call, out, DropoutFill<S>{keep, scale});
    const DeviceGuard guard(out.device.index);
    const DrawPlan plan = plan_draws(call, n, 4);
    const DropoutArgs a{n, out.data, out.dtype, plan.state, double(keep), double(scale)};
    launch_grid(call, n % 4 == 0 ? &dropout_kernel<S, 4> : &dropout_kernel<S, 2>, plan.blocks,
                kRandomThreads, a);
  });
}

GS_CUDA_KERNEL("random_uniform", random_uniform);
GS_CUDA_KERNEL("random_normal", random_normal);
GS_CUDA_KERNEL("random_log_normal", random_log_normal);
GS_CUDA_KERNEL("random_cauchy", random_cauchy);
GS_CUDA_KERNEL("random_exponential", random_exponential);
GS_CUDA_KERNEL("random_geometric", random_geometric);
GS_CUDA_KERNEL("random_integers", random_integers);
GS_CUDA_KERNEL("random_bernoulli", random_bernoulli);
GS_CUDA_KERNEL("dropout_mask", dropout_mask);

}  // namespace

}  // namespace gradstep::cuda
