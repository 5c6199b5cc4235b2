// SPDX-License-Identifier: Apache-2.0
// Random numbers and dropout. Every draw is a call that fills contiguous memory
// (kernels/random.cpp).
#include "ops/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "core/layout.h"
#include "core/overlap.h"
#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// ---- filling ----

/// The ops that draw, for who has to keep or restore their generators.
const bool marked = [] {
  for (const char* name : {"random_uniform", "random_normal", "random_log_normal", "random_cauchy",
                           "random_exponential", "random_geometric", "random_bernoulli",
                           "random_integers", "random_permutation", "random_multinomial",
                           "random_poisson", "random_gamma", "random_binomial", "dropout_mask"}) {
    Op::get(name).draws = true;
  }
  return true;
}();

int64_t address(Generator& gen) { return static_cast<int64_t>(std::bit_cast<intptr_t>(&gen)); }

/// The axes from the largest stride to the smallest: PyTorch draws in the order of memory.
Dims memory_order(const Tensor& t) {
  int axes[kMaxDims];
  order_by_stride(t.strides(), axes);
  Dims order;
  for (int d = 0; d < t.ndim(); ++d) order.push_back(axes[d]);
  return order;
}

Tensor permuted_alias(const Tensor& t, const Dims& order) {
  Dims sizes = order, strides = order;
  for (int d = 0; d < order.size(); ++d) {
    sizes[d] = t.sizes()[static_cast<int>(order[d])];
    strides[d] = t.strides()[static_cast<int>(order[d])];
  }
  return alias(t, sizes, strides, t.offset());
}

/// Fills t, whatever its strides; `p` (may be undefined) has one value for each element of t.
void fill_random_values(const Op& op, const Params& params, const Tensor& t, const Tensor& p = {}) {
  const auto launch_into = [&](const Tensor& target, const Tensor& values) {
    if (values.defined()) {
      run(op, params, {&target}, {&values});
    } else {
      run(op, params, {&target}, {});
    }
  };
  if (t.contiguous()) return launch_into(t, p);
  const Dims order = memory_order(t);
  const Tensor target = permuted_alias(t, order);
  Tensor values;
  if (p.defined()) values = contiguous(permuted_alias(p, order));
  if (target.contiguous()) return launch_into(target, values);
  const Tensor dense = empty_like(target);
  launch_into(dense, values);
  static const Op& copy = Op::get("copy");
  run(copy, gradstep::params(), {&target}, {&dense});
}

// The value that was overwritten has no part in the result.
void overwritten_backward(Backward& b) { b.set(0, zeros_like(b.grad())); }

Tensor fill_inplace(const char* history, const char* kernel, const Params& params,
                    const Tensor& self, const Tensor& p = {}) {
  check_inplace(self);
  if (p.defined()) check_partial_overlap(*self.get(), *p.get());
  fill_random_values(Op::get(kernel), params, self, p);
  bump_version(self);
  if (needs_grad(self) && is_floating(self.dtype())) {
    const Tensor* inputs[] = {&self};
    rebase_history(self, make_node(define(history, &overwritten_backward), {}, inputs, {}, 1));
  }
  return self;
}

/// A result whose derivative with respect to its parameters is zero, as PyTorch defines it.
void record_zero(const char* name, const Tensor& out, const Tensor& x) {
  if (needs_grad(x)) record(define(name, &overwritten_backward), {}, {&out}, {&x}, {});
}

}  // namespace

// ---- in place ----

Tensor uniform_(const Tensor& self, double from, double to, Generator& gen) {
  return fill_inplace("uniform", "random_uniform", params(address(gen), from, to), self);
}

Tensor normal_(const Tensor& self, double mean, double std, Generator& gen) {
  GS_CHECK(std >= 0.0, "normal expects std >= 0.0, but found std {}", std);
  return fill_inplace("normal", "random_normal",
                      params(address(gen), mean, std, static_cast<int64_t>(self.contiguous())),
                      self);
}

Tensor log_normal_(const Tensor& self, double mean, double std, Generator& gen) {
  return fill_inplace("log_normal", "random_log_normal", params(address(gen), mean, std), self);
}

Tensor cauchy_(const Tensor& self, double median, double sigma, Generator& gen) {
  GS_CHECK(is_floating(self.dtype()),
           "Cauchy distribution is a continuous probability distribution. dtype must be a floating "
           "point but you "
           "specified {}",
           scalar_name(self.dtype()));
  return fill_inplace("cauchy", "random_cauchy", params(address(gen), median, sigma), self);
}

Tensor exponential_(const Tensor& self, double lambda, Generator& gen) {
  GS_CHECK(is_floating(self.dtype()),
           "Exponential distribution is a continuous probability distribution. dtype must be a "
           "floating point but "
           "you specified {}",
           scalar_name(self.dtype()));
  return fill_inplace("exponential", "random_exponential", params(address(gen), lambda), self);
}

Tensor geometric_(const Tensor& self, double p, Generator& gen) {
  return fill_inplace("geometric", "random_geometric", params(address(gen), p), self);
}

Tensor bernoulli_(const Tensor& self, double p, Generator& gen) {
  return fill_inplace("bernoulli", "random_bernoulli", params(address(gen), p), self);
}

Tensor bernoulli_(const Tensor& self, const Tensor& p, Generator& gen) {
  Tensor values;
  {
    const GradMode off(false);
    GS_CHECK(expandable_to(p.sizes(), self.sizes()),
             "The expanded size of the tensor ({}) must match the existing size ({}) at "
             "non-singleton dimension {}.  "
             "Target sizes: {}.  Tensor sizes: {}",
             self.ndim() ? self.sizes().back() : 1, p.ndim() ? p.sizes().back() : 1,
             self.ndim() - 1, self.sizes(), p.sizes());
    values = contiguous(expand(p, self.sizes()));
  }
  return fill_inplace("bernoulli", "random_bernoulli", params(address(gen)), self, values);
}

Tensor random_(const Tensor& self, Generator& gen) {
  return fill_inplace("random", "random_integers", params(address(gen), int64_t{0}), self);
}

Tensor random_(const Tensor& self, int64_t from, std::optional<int64_t> to, Generator& gen) {
  const Params p =
      to ? params(address(gen), int64_t{2}, from, *to) : params(address(gen), int64_t{1}, from);
  return fill_inplace("random", "random_integers", p, self);
}

// ---- new tensors ----

Tensor rand(const Dims& sizes, Generator& gen, Options options) {
  return uniform_(empty(sizes, options), 0, 1, gen);
}

Tensor randn(const Dims& sizes, Generator& gen, Options options) {
  return normal_(empty(sizes, options), 0, 1, gen);
}

Tensor randint(int64_t low, int64_t high, const Dims& sizes, Generator& gen, Options options) {
  return random_(empty(sizes, options), low, high, gen);
}

Tensor randperm(int64_t n, Generator& gen, Options options) {
  const Tensor out = empty({n}, options);  // raises for a negative n
  GS_CHECK(options.dtype != DType::Float16 || n <= (1 << 11) + 1,
           "n cannot be greater than 2049 for Half type.");
  GS_CHECK(options.dtype != DType::Float32 || n <= (1 << 24) + 1,
           "n cannot be greater than 2^24+1 for Float type.");
  dispatch(options.dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      GS_CHECK(static_cast<int64_t>(static_cast<T>(n)) == n,
               "value cannot be converted to type {}_t without overflow", name(options.dtype));
    }
  });
  static const Op& op = Op::get("random_permutation");
  run(op, params(address(gen)), {&out}, {});
  return out;
}

namespace {

Dims sizes_in(const Params& p, int at) { return Dims(&p.s[at + 1].i, p.s[at].i); }

// The result is not a function of mean and std: zeros in their shapes.
void normal_backward(Backward& b) {
  int at = 0;
  for (int k = 0; k < b.node.n_edges; ++k) {
    if (b.needs(k)) b.set(k, zeros(sizes_in(b.node.params, at), options_of(b.grad())));
    at += 1 + static_cast<int>(b.i(at));
  }
}

void check_no_negative(const Tensor& std) {
  if (std.numel() == 0) return;
  GS_CHECK(!host_value<bool>(any(lt(detach(std), 0))), "normal expects all elements of std >= 0.0");
}

}  // namespace

Tensor normal(const Operand& mean, const Operand& std, Generator& gen) {
  static const Op& op = define("normal_sample", &normal_backward);
  static const Op& add_op = Op::get("add");
  static const Op& mul_op = Op::get("mul");
  Tensor out;
  {
    const GradMode off(false);
    if (std.tensor) check_no_negative(*std.tensor);
    if (!std.tensor) {
      out = map_output_like(*mean.tensor, mean.tensor->dtype());
      normal_(out, 0, std.number.to_double(), gen);
    } else {
      out = mean.tensor ? empty(broadcast(mean.tensor->sizes(), std.tensor->sizes()),
                                options_of(*mean.tensor))
                        : map_output_like(*std.tensor, std.tensor->dtype());
      normal_(out, 0, 1, gen);
      map_inplace(mul_op, {out, std});
    }
    map_inplace(add_op, {out, mean});
  }
  Params p;
  std::array<const Tensor*, 2> inputs{};
  size_t n = 0;
  for (const Operand* o : {&mean, &std}) {
    if (!o->tensor) continue;
    p.push(static_cast<int64_t>(o->tensor->ndim()));
    p.push(o->tensor->sizes());
    inputs[n++] = o->tensor;
  }
  const bool wanted = needs_grad(*inputs[0]) || (n > 1 && needs_grad(*inputs[1]));
  if (wanted && p.count <= Params::kSlots) {
    const Tensor* outputs[] = {&out};
    record(op, p, outputs, std::span<const Tensor* const>(inputs.data(), n), {});
  }
  return out;
}

Tensor bernoulli(const Tensor& p, Generator& gen) {
  const Tensor out = map_output_like(p, p.dtype());
  bernoulli_(out, detach(p), gen);
  record_zero("bernoulli", out, p);
  return out;
}

Tensor bernoulli(const Tensor& like, double p, Generator& gen) {
  const Tensor out = map_output_like(like, like.dtype());
  bernoulli_(out, p, gen);
  record_zero("bernoulli", out, like);
  return out;
}

Tensor multinomial(const Tensor& weights, int64_t n_samples, bool replacement, Generator& gen) {
  GS_CHECK(weights.ndim() == 1 || weights.ndim() == 2, "prob_dist must be 1 or 2 dim");
  GS_CHECK(is_floating(weights.dtype()),
           "multinomial only supports floating-point dtypes for input, got: {}",
           scalar_name(weights.dtype()));
  GS_CHECK(n_samples > 0, "cannot sample n_sample <= 0 samples");
  const bool vector = weights.ndim() == 1;
  Tensor rows;
  {
    const GradMode off(false);
    rows = contiguous(vector ? unsqueeze(weights, 0) : weights);
  }
  const Tensor out = empty({rows.sizes()[0], n_samples}, {DType::Int64, weights.device()});
  static const Op& op = Op::get("random_multinomial");
  run(op, params(address(gen), static_cast<int64_t>(replacement)), {&out}, {&rows});
  return vector ? alias(out, {n_samples}, {1}, 0) : out;
}

Tensor poisson(const Tensor& rates, Generator& gen) {
  const Tensor out = map_output_like(rates, rates.dtype());
  static const Op& op = Op::get("random_poisson");
  Tensor values;
  {
    const GradMode off(false);
    values = rates.contiguous() ? detach(rates) : contiguous(rates);
  }
  fill_random_values(op, params(address(gen)), out, values);
  record_zero("poisson", out, rates);
  return out;
}

Tensor standard_gamma_grad(const Tensor& shapes, const Tensor& x) {
  GS_CHECK(shapes.dtype() == x.dtype(),
           "expected the shape and the output of one dtype, got {} and {}",
           scalar_name(shapes.dtype()), scalar_name(x.dtype()));
  const Dims sizes = broadcast(shapes.sizes(), x.sizes());
  const Tensor out = empty(sizes, options_of(x));
  const GradMode off(false);
  const Tensor a = contiguous(expand(shapes, sizes)), values = contiguous(expand(x, sizes));
  static const Op& op = Op::get("gamma_slope");
  run(op, params(), {&out}, {&a, &values});
  return out;
}

namespace {

// Kept: shapes, the numbers drawn.
void standard_gamma_backward(Backward& b) {
  b.set(0, mul(b.grad(), standard_gamma_grad(b.saved(0), b.saved(1))));
}

// A count has no derivative: zero, as PyTorch defines it.
void binomial_backward(Backward& b) {
  for (int k = 0; k < 2; ++k)
    if (b.needs(k)) b.set(k, zeros_like(b.saved(k)));
}

}  // namespace

Tensor standard_gamma(const Tensor& shapes, Generator& gen) {
  const Tensor out = map_output_like(shapes, shapes.dtype());
  static const Op& draw = Op::get("random_gamma");
  {
    const GradMode off(false);
    fill_random_values(draw, params(address(gen)), out,
                       shapes.contiguous() ? detach(shapes) : contiguous(shapes));
  }
  static const Op& op = define("standard_gamma", &standard_gamma_backward);
  if (needs_grad(shapes)) record(op, {}, {&out}, {&shapes}, {keep(shapes), keep_output(out)});
  return out;
}

Tensor binomial(const Tensor& counts, const Tensor& p, Generator& gen) {
  GS_CHECK(counts.dtype() == p.dtype(), "Found dtype {} but expected {}", scalar_name(p.dtype()),
           scalar_name(counts.dtype()));
  const Dims sizes = broadcast(counts.sizes(), p.sizes());
  const Tensor out = empty(sizes, options_of(counts));
  static const Op& op = Op::get("random_binomial");
  {
    const GradMode off(false);
    const Tensor n = contiguous(expand(counts, sizes)), q = contiguous(expand(p, sizes));
    run(op, params(address(gen)), {&out}, {&n, &q});
  }
  static const Op& history = define("binomial", &binomial_backward);
  if (needs_grad(counts, p)) {
    record(history, {}, {&out}, {&counts, &p}, {keep(counts), keep(p)});
  }
  return out;
}

// ---- dropout ----

namespace {

void check_probability(double p) {
  GS_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got {}", p);
}

Tensor multiply(const Tensor& x, const Operand& by, bool inplace) {
  static const Op& op = Op::get("mul");
  return inplace ? map_inplace(op, {x, by}) : mul(x, by);
}

/// One value for each [batch, channel].
Tensor channel_noise(const Tensor& x) {
  GS_CHECK(x.ndim() >= 2, "Feature dropout requires at least 2 dimensions in the input");
  Dims sizes = Dims::filled(x.ndim(), 1);
  sizes[0] = x.sizes()[0];
  sizes[1] = x.sizes()[1];
  return empty(sizes, options_of(x));
}

Tensor drop(const Tensor& x, double p, bool training, bool inplace, Generator& gen, bool channels) {
  check_probability(p);
  if (p == 0 || !training || x.numel() == 0) return x;
  if (p == 1) return multiply(x, zeros({}, options_of(x)), inplace);
  const Tensor noise = channels ? channel_noise(x) : map_output_like(x, x.dtype());
  fill_random_values(Op::get("dropout_mask"), params(address(gen), p), noise);
  return multiply(x, noise, inplace);
}

Tensor drop_alpha(const Tensor& x, double p, bool training, bool inplace, Generator& gen,
                  bool channels) {
  check_probability(p);
  if (p == 0 || !training || x.numel() == 0) return x;
  if (p == 1) return multiply(x, zeros({}, options_of(x)), inplace);
  constexpr double kAlpha = 1.7580993408473766;  // -scale * alpha of SELU
  const double a = 1 / std::sqrt((kAlpha * kAlpha * p + 1) * (1 - p));
  Tensor noise = channels ? channel_noise(x) : map_output_like(x, x.dtype());
  Tensor shift;
  {
    const GradMode off(false);
    bernoulli_(noise, 1 - p, gen);
    shift = add(mul(add(noise, -1), kAlpha * a), kAlpha * a * p);
    noise = mul(noise, a);
  }
  static const Op& op = Op::get("add");
  const Tensor scaled = multiply(x, noise, inplace);
  return inplace ? map_inplace(op, {scaled, shift}) : add(scaled, shift);
}

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen) {
  return drop(x, p, training, inplace, gen, false);
}
Tensor feature_dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen) {
  return drop(x, p, training, inplace, gen, true);
}
Tensor alpha_dropout(const Tensor& x, double p, bool training, bool inplace, Generator& gen) {
  return drop_alpha(x, p, training, inplace, gen, false);
}
Tensor feature_alpha_dropout(const Tensor& x, double p, bool training, bool inplace,
                             Generator& gen) {
  return drop_alpha(x, p, training, inplace, gen, true);
}

}  // namespace gradstep
