// SPDX-License-Identifier: Apache-2.0
// Shapes, dtypes and derivatives of reductions. See ops/reduce.h; scans and order statistics are in
// scan.cpp.
#include "ops/reduce.h"

#include <cmath>
#include <limits>

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/sort.h"
#include "ops/view.h"

namespace gradstep {

// ---- shapes ----

Dims reduced_sizes(const Dims& sizes, uint32_t mask, bool keepdim) {
  Dims out;
  for (int d = 0; d < sizes.size(); ++d) {
    if (!(mask >> d & 1)) {
      out.push_back(sizes[d]);
    } else if (keepdim) {
      out.push_back(1);
    }
  }
  return out;
}

Tensor restore_dims(const Tensor& reduced, int ndim, uint32_t mask, bool keepdim) {
  if (keepdim || reduced.ndim() == 0) return reduced;
  Tensor r = reduced;
  for (int d = 0; d < ndim; ++d) {
    if (mask >> d & 1) r = unsqueeze(r, d);
  }
  return r;
}

namespace {

int64_t reduced_count(const Dims& sizes, uint32_t mask) {
  int64_t n = 1;
  for (int d = 0; d < sizes.size(); ++d) {
    if (mask >> d & 1) n *= sizes[d];
  }
  return n;
}

/// Runs the kernel `op` over the axes of mask.
Tensor reduce(const Op& op, const Tensor& x, uint32_t mask, bool keepdim, DType out_type,
              Compute compute, double parameter = 0) {
  const Tensor out = empty(reduced_sizes(x.sizes(), mask, keepdim), out_type, x.device());
  run(op, params(static_cast<int64_t>(mask), parameter), {&out}, {&x}, compute);
  return out;
}

Dims one_dim(std::optional<int64_t> dim) { return dim ? Dims{*dim} : Dims{}; }

/// What the node of a reduction remembers: mask, keepdim.
Params node_params(uint32_t mask, bool keepdim) {
  return params(static_cast<int64_t>(mask), static_cast<int64_t>(keepdim));
}
uint32_t mask_of(const Backward& b) { return static_cast<uint32_t>(b.i(0)); }

/// The gradient (or the result) in the shape of the input, size 1 along reduced axes.
Tensor restored(const Backward& b, const Tensor& reduced, int ndim) {
  return restore_dims(reduced, ndim, mask_of(b), b.i(1) != 0);
}

Tensor zero_where(const Tensor& condition, const Tensor& x) { return where(condition, 0, x); }

// ---- sum, mean ----

// params: mask, keepdim, dtype of the input, its sizes
Params sum_params(const Tensor& x, uint32_t mask, bool keepdim) {
  return params(static_cast<int64_t>(mask), static_cast<int64_t>(keepdim),
                static_cast<int64_t>(x.dtype()), x.sizes());
}

Dims sizes_of(const Backward& b) { return Dims(&b.node.params.s[3].i, b.node.params.count - 3); }

void sum_backward(Backward& b) {
  const Dims sizes = sizes_of(b);
  const Tensor dy = to(b.grad(), static_cast<DType>(b.i(2)));
  b.set(0, expand(restored(b, dy, sizes.size()), sizes));
}

void mean_backward(Backward& b) {
  const Dims sizes = sizes_of(b);
  const Tensor dy = to(b.grad(), static_cast<DType>(b.i(2)));
  const double n = static_cast<double>(reduced_count(sizes, mask_of(b)));
  b.set(0, expand(restored(b, dy / n, sizes.size()), sizes));
}

void nansum_backward(Backward& b) {
  const Tensor x = b.saved(0);
  const Tensor dy = restored(b, to(b.grad(), x.dtype()), x.ndim());
  b.set(0, zero_where(isnan(x), expand(dy, x.sizes())));
}

/// `shown` is its name where axes were given.
void record_sum(const Op& op, const Tensor& out, const Tensor& x, const Dims& dims, uint32_t mask,
                bool keepdim, Shown shown) {
  record(op, sum_params(x, mask, keepdim), {&out}, {&x}, {});
  if (!dims.empty()) show_as(out, shown);
}

}  // namespace

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  static const Op& op = define("sum", &sum_backward);
  const DType out_type = dtype ? *dtype : is_floating(x.dtype()) ? x.dtype() : DType::Int64;
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Tensor out = reduce(op, x, mask, keepdim, out_type, compute_type(out_type));
  if (needs_grad(x)) record_sum(op, out, x, dims, mask, keepdim, Shown::Sum1);
  return out;
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  static const Op& op = define("mean", &mean_backward);
  const DType out_type = dtype ? *dtype : x.dtype();
  GS_CHECK(is_floating(out_type),
           "mean(): could not infer output dtype. {} dtype must be either a floating point or "
           "complex dtype. "
           "Got: {}",
           dtype ? "Optional" : "Input", scalar_name(out_type));
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Tensor out = reduce(op, x, mask, keepdim, out_type, compute_type(out_type));
  if (needs_grad(x)) record_sum(op, out, x, dims, mask, keepdim, Shown::Mean1);
  return out;
}

Tensor nansum(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  static const Op& op = define("nansum", &nansum_backward);
  if (!is_floating(x.dtype())) return sum(x, dims, keepdim, dtype);
  const DType out_type = dtype ? *dtype : x.dtype();
  GS_CHECK(is_floating(out_type), "nansum does not support integral output types");
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Tensor out = reduce(op, x, mask, keepdim, out_type, compute_type(out_type));
  if (needs_grad(x)) record(op, node_params(mask, keepdim), {&out}, {&x}, {keep(x)});
  return out;
}

Tensor nanmean(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  GS_CHECK(is_floating(x.dtype()),
           "nanmean(): expected input to have floating point or complex dtype but got {}",
           scalar_name(x.dtype()));
  const Tensor present = logical_not(isnan(detach(x)));
  return nansum(x, dims, keepdim, dtype) / sum(present, dims, keepdim);
}

Tensor count_nonzero(const Tensor& x, const Dims& dims) {
  static const Op& op = Op::get("count_nonzero");
  return reduce(op, x, dim_mask(dims, x.ndim()), false, DType::Int64, compute_type(x.dtype()));
}

Tensor trace(const Tensor& x) {
  GS_CHECK(x.ndim() == 2, "trace: expected a matrix, but got tensor with dim {}", x.ndim());
  return sum(diagonal(x));
}

// ---- prod ----

namespace {

Tensor prod_over(const Tensor& x, uint32_t mask, bool keepdim, std::optional<DType> dtype = {});

// For each element along the last axis the product of all the others: differentiable, quadratic in
// memory.
Tensor product_of_others(const Tensor& x) {
  if (x.ndim() == 0) return ones_like(x);
  const Tensor own = eye(x.size(-1), x.size(-1), {DType::Bool, x.device()});
  return prod(where(own, 1, unsqueeze(x, -2)), -1);
}

bool has_zero(const Tensor& x) { return !host_value<bool>(all(detach(x))); }

void prod_backward(Backward& b) {
  const Tensor x = b.saved(0);
  const uint32_t mask = mask_of(b);
  const Tensor dy = restored(b, to(b.grad(), x.dtype()), x.ndim());
  if (!has_zero(x)) {
    return b.set(0, dy * restored(b, to(b.saved(1), x.dtype()), x.ndim()) / x);
  }
  if (grad_enabled()) {
    const bool all_axes = x.ndim() <= 1 || mask == dim_mask({}, x.ndim());
    int axis = 0;
    while (!all_axes && !(mask >> axis & 1)) ++axis;
    const Tensor lines = all_axes ? reshape(x, {x.numel()}) : transpose(x, axis, -1);
    const Tensor others = product_of_others(lines);
    b.set(0, dy * (all_axes ? reshape(others, x.sizes()) : transpose(others, axis, -1)));
    return;
  }
  // A zero has a gradient only if it is the only one.
  const Tensor is_zero = eq(x, 0);
  const Tensor zeros = reduce(Op::get("sum"), is_zero, mask, true, DType::Int64, Compute::I64);
  const Tensor safe = where(is_zero, 1, x);
  const Tensor product = prod_over(safe, mask, true);
  const Tensor at_zero = where(logical_and(eq(zeros, 1), is_zero), product, 0);
  b.set(0, dy * where(eq(zeros, 0), product / safe, at_zero));
}

Tensor prod_over(const Tensor& x, uint32_t mask, bool keepdim, std::optional<DType> dtype) {
  static const Op& op = define("prod", &prod_backward);
  const DType out_type = dtype ? *dtype : is_floating(x.dtype()) ? x.dtype() : DType::Int64;
  const Tensor out = reduce(op, x, mask, keepdim, out_type, compute_type(out_type));
  if (needs_grad(x))
    record(op, node_params(mask, keepdim), {&out}, {&x}, {keep(x), keep_output(out)});
  return out;
}

}  // namespace

Tensor prod(const Tensor& x, std::optional<int64_t> dim, bool keepdim, std::optional<DType> dtype) {
  return prod_over(x, dim_mask(one_dim(dim), x.ndim()), keepdim, dtype);
}

// ---- logsumexp ----

namespace {
void logsumexp_backward(Backward& b) {
  const Tensor x = b.saved(0);
  const Tensor y = restored(b, b.saved(1), x.ndim());
  b.set(0, restored(b, b.grad(), x.ndim()) * exp(x - y));
}
}  // namespace

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  static const Op& op = define("logsumexp", &logsumexp_backward);
  if (!is_floating(x.dtype())) return logsumexp(to(x, default_dtype()), dims, keepdim);
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Tensor out = reduce(op, x, mask, keepdim, x.dtype(), compute_type(x.dtype()));
  if (needs_grad(x))
    record(op, node_params(mask, keepdim), {&out}, {&x}, {keep(x), keep_output(out)});
  return out;
}

// ---- extremes ----

namespace {

void check_not_empty(const char* name, const Tensor& x, uint32_t mask, bool dims_given) {
  if (x.numel() != 0) return;
  GS_CHECK(dims_given,
           "{}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
           "reduction dim with the "
           "'dim' argument.",
           name);
  for (int d = 0; d < x.ndim(); ++d) {
    GS_CHECK_INDEX(!(mask >> d & 1) || x.sizes()[d] != 0,
                   "{}(): Expected reduction dim {} to have non-zero size.", name, d);
  }
}

/// dy in equal parts to the places that hold y, or NaN where y is NaN.
Tensor spread_evenly(const Tensor& dy, const Tensor& x, const Tensor& y) {
  const Tensor places = logical_or(eq(x, y), logical_and(isnan(x), isnan(y)));
  return where(places, dy / sum(places), 0);
}

void amax_backward(Backward& b) {
  const Tensor x = b.saved(0);
  const Tensor places = eq(detach(x), restored(b, b.saved(1), x.ndim()));
  const Tensor dy = restored(b, b.grad(), x.ndim());
  const Tensor count = reduce(Op::get("sum"), places, mask_of(b), true, DType::Int64, Compute::I64);
  b.set(0, dy * places / count);
}

Tensor extreme(const Op& op, const Tensor& x, const Dims& dims, bool keepdim) {
  const uint32_t mask = dim_mask(dims, x.ndim());
  check_not_empty(op.name, x, mask, !dims.empty());
  const Tensor out = reduce(op, x, mask, keepdim, x.dtype(), compute_type(x.dtype()));
  if (needs_grad(x))
    record(op, node_params(mask, keepdim), {&out}, {&x}, {keep(x), keep_output(out)});
  return out;
}

void extreme_all_backward(Backward& b) {
  b.set(0, spread_evenly(b.grad(), detach(b.saved(0)), detach(b.saved(1))));
}

Tensor extreme_all(const Op& kernel, const Op& op, const Tensor& x) {
  check_not_empty(op.name, x, 0, false);
  const Tensor out =
      reduce(kernel, x, dim_mask({}, x.ndim()), false, x.dtype(), compute_type(x.dtype()));
  if (needs_grad(x)) record(op, params(), {&out}, {&x}, {keep(x), keep_output(out)});
  return out;
}

ValuesIndices extreme_along(const Op& op, const char* name, const Tensor& x, int64_t dim,
                            bool keepdim) {
  const uint32_t mask = dim_mask({dim}, x.ndim());
  check_not_empty(name, x, mask, true);
  const Dims sizes = reduced_sizes(x.sizes(), mask, keepdim);
  const ValuesIndices out = {empty(sizes, options_of(x)), empty(sizes, DType::Int64, x.device())};
  run(op, params(static_cast<int64_t>(mask)), {&out.values, &out.indices}, {&x},
      compute_type(x.dtype()));
  record_selection(op.name, x, out.values, out.indices, wrap_dim(dim, x.ndim()), keepdim);
  return out;
}

Tensor place(const Op& op, const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  GS_CHECK_KIND(NotImplemented, x.dtype() != DType::Bool, "\"{}_cpu\" not implemented for 'Bool'",
                op.name);
  const uint32_t mask = dim_mask(one_dim(dim), x.ndim());
  GS_CHECK_INDEX(dim || x.numel() != 0,
                 "{}(): Expected reduction dim to be specified for input.numel() == 0.", op.name);
  check_not_empty(op.name, x, mask, true);
  if (dim) return reduce(op, x, mask, keepdim, DType::Int64, compute_type(x.dtype()));
  const Tensor flat = reshape(detach(x), {x.numel()});
  const Tensor out = reduce(op, flat, 1, false, DType::Int64, compute_type(x.dtype()));
  return keepdim ? reshape(out, Dims::filled(x.ndim(), 1)) : out;
}

Tensor truth(const Op& op, const Tensor& x, const Dims& dims, bool keepdim) {
  const DType out_type = x.dtype() == DType::UInt8 ? DType::UInt8 : DType::Bool;
  return reduce(op, x, dim_mask(dims, x.ndim()), keepdim, out_type, compute_type(x.dtype()));
}

}  // namespace

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  static const Op& op = define("amax", &amax_backward);
  return extreme(op, x, dims, keepdim);
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  static const Op& op = define("amin", &amax_backward);
  return extreme(op, x, dims, keepdim);
}

Tensor max(const Tensor& x) {
  static const Op& op = define("max", &extreme_all_backward);
  return show_as(extreme_all(Op::get("amax"), op, x), Shown::Max1);
}
Tensor min(const Tensor& x) {
  static const Op& op = define("min", &extreme_all_backward);
  return show_as(extreme_all(Op::get("amin"), op, x), Shown::Min1);
}

ValuesIndices max(const Tensor& x, int64_t dim, bool keepdim) {
  static const Op& op = Op::get("max_dim");
  return extreme_along(op, "max", x, dim, keepdim);
}
ValuesIndices min(const Tensor& x, int64_t dim, bool keepdim) {
  static const Op& op = Op::get("min_dim");
  return extreme_along(op, "min", x, dim, keepdim);
}

Tensor argmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  static const Op& op = Op::get("argmax");
  return place(op, x, dim, keepdim);
}
Tensor argmin(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  static const Op& op = Op::get("argmin");
  return place(op, x, dim, keepdim);
}

Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  static const Op& op = Op::get("any");
  return truth(op, x, dims, keepdim);
}
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  static const Op& op = Op::get("all");
  return truth(op, x, dims, keepdim);
}

// ---- moments ----

namespace {

// params: mask, keepdim, correction
Params moment_params(uint32_t mask, bool keepdim, double correction) {
  Params p = node_params(mask, keepdim);
  p.push(correction);
  return p;
}

Tensor variance_gradient(const Backward& b, const Tensor& dy, const Tensor& x) {
  const uint32_t mask = mask_of(b);
  Dims dims;
  for (int d = 0; d < x.ndim(); ++d) {
    if (mask >> d & 1) dims.push_back(d);
  }
  const double freedom = static_cast<double>(reduced_count(x.sizes(), mask)) - b.f(2);
  const Tensor deviation = x - mean(x, dims, true);
  const Tensor g = restored(b, dy, x.ndim());
  if (freedom <= 0) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return g * to(where(eq(detach(deviation), 0), std::nan(""), kInfinity), x.dtype());
  }
  return g * (2.0 / freedom) * deviation;
}

Tensor deviation_to_variance(const Tensor& dy, const Tensor& spread) {
  return zero_where(eq(detach(spread), 0), dy / (spread * 2));
}

Tensor mean_gradient(const Backward& b, const Tensor& dy, const Tensor& x) {
  const double n = static_cast<double>(reduced_count(x.sizes(), mask_of(b)));
  return expand(restored(b, dy / n, x.ndim()), x.sizes());
}

void var_backward(Backward& b) { b.set(0, variance_gradient(b, b.grad(), b.saved(0))); }

void std_backward(Backward& b) {
  b.set(0, variance_gradient(b, deviation_to_variance(b.grad(), b.saved(1)), b.saved(0)));
}

void two_moments_backward(Backward& b, bool root) {
  const Tensor x = b.saved(0);
  Tensor g;
  if (b.grad(0).defined()) {
    g = variance_gradient(b, root ? deviation_to_variance(b.grad(0), b.saved(1)) : b.grad(0), x);
  }
  if (b.grad(1).defined()) {
    const Tensor from_mean = mean_gradient(b, b.grad(1), x);
    g = g.defined() ? g + from_mean : from_mean;
  }
  b.set(0, g);
}
void var_mean_backward(Backward& b) { two_moments_backward(b, false); }
void std_mean_backward(Backward& b) { two_moments_backward(b, true); }

void check_moments(const char* name, const Tensor& x) {
  GS_CHECK(is_floating(x.dtype()), "{} only support floating point and complex dtypes", name);
}

Tensor moment(const Op& op, const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  check_moments("std and var", x);
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Tensor out = reduce(op, x, mask, keepdim, x.dtype(), compute_type(x.dtype()), correction);
  if (needs_grad(x)) {
    record(op, moment_params(mask, keepdim, correction), {&out}, {&x}, {keep(x), keep_output(out)});
  }
  return out;
}

Moment two_moments(const Op& op, const Tensor& x, const Dims& dims, double correction,
                   bool keepdim) {
  check_moments(op.name, x);
  const uint32_t mask = dim_mask(dims, x.ndim());
  const Dims sizes = reduced_sizes(x.sizes(), mask, keepdim);
  const Moment out = {empty(sizes, options_of(x)), empty(sizes, options_of(x))};
  run(op, params(static_cast<int64_t>(mask), correction), {&out.spread, &out.mean}, {&x});
  if (needs_grad(x)) {
    record(op, moment_params(mask, keepdim, correction), {&out.spread, &out.mean}, {&x},
           {keep(x), keep_output(out.spread)});
  }
  return out;
}

}  // namespace

Tensor variance(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  static const Op& op = define("var", &var_backward);
  return moment(op, x, dims, correction, keepdim);
}
Tensor std_dev(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  static const Op& op = define("std", &std_backward);
  return moment(op, x, dims, correction, keepdim);
}
Moment var_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  static const Op& op = define("var_mean", &var_mean_backward);
  return two_moments(op, x, dims, correction, keepdim);
}
Moment std_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  static const Op& op = define("std_mean", &std_mean_backward);
  return two_moments(op, x, dims, correction, keepdim);
}

// ---- norms ----

namespace {

/// dy / y, and 0 where y is 0, to every order.
Tensor over(const Tensor& dy, const Tensor& y) {
  const Tensor none = eq(y, 0);
  return zero_where(none, dy / where(none, 1, y));
}

// params: mask, keepdim, p. The subgradient at 0 is 0.
void norm_backward(Backward& b) {
  const Tensor x = b.saved(0);
  const double p = b.f(2);
  if (p == 0) return b.set(0, zeros_like(x));
  const Tensor dy = restored(b, b.grad(), x.ndim());
  if (p == 1) return b.set(0, to(dy * sign(x), x.dtype()));
  const Tensor y = restored(b, b.saved(1), x.ndim());
  Tensor dx;
  if (p == 2) {
    dx = x * over(dy, y);
  } else if (std::isinf(p)) {
    const Tensor size = abs(detach(x));
    const Tensor places = logical_or(eq(size, y), isnan(size));
    const Tensor count =
        reduce(Op::get("sum"), places, mask_of(b), true, DType::Int64, Compute::I64);
    dx = sign(x) * (dy / count * places);
  } else if (p < 1) {
    dx = sign(x) * zero_where(eq(x, 0), pow(abs(x), p - 1)) * dy * pow(y, 1 - p);
  } else {
    const Tensor scaled = p < 2 ? sign(x) * pow(abs(x), p - 1) : x * pow(abs(x), p - 2);
    dx = scaled * over(dy, pow(y, p - 1));
  }
  b.set(0, to(dx, x.dtype()));
}

Tensor norm_value(const Tensor& x, double p, uint32_t mask, bool keepdim, DType out_type) {
  const char* name = p == 2           ? "norm_2"
                     : p == 1         ? "norm_1"
                     : p == 0         ? "count_nonzero"
                     : !std::isinf(p) ? nullptr
                     : p > 0          ? "norm_inf"
                                      : "norm_neg_inf";
  if (name) return reduce(Op::get(name), x, mask, keepdim, out_type, compute_type(out_type));
  const GradMode off(false);
  const DType wide = is_half(out_type) ? DType::Float32 : out_type;
  const Tensor powers = pow(abs(to(x, wide)), p);
  const Tensor total = reduce(Op::get("sum"), powers, mask, keepdim, wide, compute_type(out_type));
  return to(pow(total, 1 / p), out_type);
}

}  // namespace

Tensor vector_norm(const Tensor& x, double p, const Dims& dims, bool keepdim,
                   std::optional<DType> dtype) {
  static const Op& op = define("vector_norm", &norm_backward);
  GS_CHECK(is_floating(x.dtype()),
           "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
           scalar_name(x.dtype()));
  const uint32_t mask = dim_mask(dims, x.ndim());
  if ((p < 0 || std::isinf(p)) && x.numel() == 0) {
    GS_CHECK(reduced_count(x.sizes(), mask) != 0,
             "linalg.vector_norm cannot compute the {} norm on an empty tensor because the "
             "operation does not "
             "have an identity",
             p);
  }
  const Tensor out = norm_value(x, p, mask, keepdim, dtype ? *dtype : x.dtype());
  if (needs_grad(x)) {
    record(op, moment_params(mask, keepdim, p), {&out}, {&x}, {keep(x), keep_output(out)});
  }
  return out;
}

Tensor dist(const Tensor& a, const Tensor& b, double p) { return vector_norm(a - b, p); }

}  // namespace gradstep
