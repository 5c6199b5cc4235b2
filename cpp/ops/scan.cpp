// SPDX-License-Identifier: Apache-2.0
// Running sums along an axis and order statistics: shapes, dtypes, derivatives. See ops/reduce.h.
#include <cmath>
#include <limits>

#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "ops/view.h"

namespace gradstep {

// ---- running sums ----

namespace {

// params: axis, from the end?, dtype of the input
Params scan_params(int64_t axis, bool reverse, DType dtype) {
  return params(axis, static_cast<int64_t>(reverse), static_cast<int64_t>(dtype));
}

DType scan_type(const Tensor& x, std::optional<DType> dtype) {
  return dtype ? *dtype : is_floating(x.dtype()) ? x.dtype() : DType::Int64;
}

/// The kernel's result; no history.
Tensor run_scan(const Op& op, const Tensor& x, int64_t axis, bool reverse, DType out_type) {
  const GradMode off(false);
  const Tensor source = contiguous(to(x, out_type));
  if (x.ndim() == 0) return clone(source);
  const Tensor out = empty(x.sizes(), out_type, x.device());
  run(op, params(axis, static_cast<int64_t>(reverse)), {&out}, {&source});
  return out;
}

Tensor running_sum(const Tensor& x, int64_t axis, bool reverse, DType out_type);
Tensor running_log_sum(const Tensor& x, int64_t axis, bool reverse);

void cumsum_backward(Backward& b) {
  const Tensor dx = running_sum(b.grad(), b.i(0), b.i(1) == 0, b.grad().dtype());
  b.set(0, to(dx, static_cast<DType>(b.i(2))));
}

Tensor running_sum(const Tensor& x, int64_t axis, bool reverse, DType out_type) {
  static const Op& op = define("cumsum", &cumsum_backward);
  const Tensor out = run_scan(op, x, axis, reverse, out_type);
  if (needs_grad(x)) record(op, scan_params(axis, reverse, x.dtype()), {&out}, {&x}, {});
  return out;
}

// dx[k] = sum over i >= k of dy[i] * (product of x[0..i] without x[k]).
void cumprod_backward(Backward& b) {
  static const Op& kernel = Op::get("cumprod_backward");
  const Tensor x = b.saved(0);
  const Tensor dy = to(b.grad(), x.dtype());
  const int64_t axis = b.i(0);
  if (x.ndim() == 0) return b.set(0, dy);
  if (!grad_enabled()) {
    const Tensor source = contiguous(x), g = contiguous(dy);
    const Tensor dx = empty(x.sizes(), options_of(x));
    run(kernel, params(axis), {&dx}, {&source, &g});
    return b.set(0, dx);
  }
  // Differentiable and exact at zeros: the products for each pair (k, i), quadratic in memory.
  const int64_t n = x.size(axis);
  const Tensor lines = unsqueeze(transpose(x, axis, -1), -2);
  const Tensor own = eye(n, n, {DType::Bool, x.device()});
  const Tensor products = cumprod(where(own, 1, lines), -1);
  const Tensor place = arange(0, n, 1, {DType::Int64, x.device()});
  const Tensor later = ge(place, unsqueeze(place, 1));
  const Tensor terms = where(later, products * unsqueeze(transpose(dy, axis, -1), -2), 0);
  b.set(0, transpose(sum(terms, {-1}), axis, -1));
}

// The gradient is split by sign, so that both halves stay in logarithms. Where a half has nothing,
// it has the lowest number rather than -inf, whose differences would be NaN.
void logcumsumexp_backward(Backward& b) {
  const Tensor x = b.saved(0), y = b.saved(1), dy = b.grad();
  const int64_t axis = b.i(0);
  const bool reverse = b.i(1) == 0;
  const double lowest = x.dtype() == DType::Float64    ? std::numeric_limits<double>::lowest()
                        : x.dtype() == DType::Float16  ? -65504.0
                        : x.dtype() == DType::BFloat16 ? -0x1.fep+127
                                                       : std::numeric_limits<float>::lowest();
  const auto half = [&](const Tensor& size) {
    const Tensor logarithm = where(gt(detach(size), 0), log(size), lowest);
    return exp(running_log_sum(logarithm - y, axis, reverse) + x);
  };
  b.set(0, half(dy) - half(neg(dy)));
}

Tensor running_log_sum(const Tensor& x, int64_t axis, bool reverse) {
  static const Op& op = define("logcumsumexp", &logcumsumexp_backward);
  const Tensor out = run_scan(op, x, axis, reverse, x.dtype());
  if (needs_grad(x)) {
    record(op, scan_params(axis, reverse, x.dtype()), {&out}, {&x}, {keep(x), keep_output(out)});
  }
  return out;
}

}  // namespace

Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  return running_sum(x, wrap_dim(dim, x.ndim()), false, scan_type(x, dtype));
}

Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  static const Op& op = define("cumprod", &cumprod_backward);
  const int64_t axis = wrap_dim(dim, x.ndim());
  const Tensor out = run_scan(op, x, axis, false, scan_type(x, dtype));
  if (needs_grad(x)) record(op, scan_params(axis, false, x.dtype()), {&out}, {&x}, {keep(x)});
  return out;
}

Tensor logcumsumexp(const Tensor& x, int64_t dim) {
  GS_CHECK_KIND(NotImplemented, is_floating(x.dtype()),
                "\"logcumsumexp_out_cpu\" not implemented for '{}'", scalar_name(x.dtype()));
  return running_log_sum(x, wrap_dim(dim, x.ndim()), false);
}

// ---- running extremes ----

namespace {

// params: axis, the sizes of the input. Kept: the indices.
void running_extreme_backward(Backward& b) {
  const Tensor dy = b.grad();
  if (dy.ndim() == 0) return b.set(0, dy);
  b.set(0, scatter_add(zeros_like(dy), b.i(0), b.saved(0), dy));
}

ValuesIndices running_extreme(const Op& op, const Tensor& x, int64_t dim) {
  const int64_t axis = wrap_dim(dim, x.ndim());
  const ValuesIndices out = {empty(x.sizes(), options_of(x)),
                             empty(x.sizes(), DType::Int64, x.device())};
  const Tensor source = contiguous(detach(x));
  run(op, params(axis), {&out.values, &out.indices}, {&source});
  if (needs_grad(x)) {
    record(op, params(axis), {&out.values, &out.indices}, {&x}, {keep_output(out.indices, 1)});
  }
  return out;
}

}  // namespace

ValuesIndices cummax(const Tensor& x, int64_t dim) {
  static const Op& op = define("cummax", &running_extreme_backward);
  return running_extreme(op, x, dim);
}
ValuesIndices cummin(const Tensor& x, int64_t dim) {
  static const Op& op = define("cummin", &running_extreme_backward);
  return running_extreme(op, x, dim);
}

Tensor diff(const Tensor& x, int64_t n, int64_t dim) {
  GS_CHECK(x.ndim() >= 1, "diff expects input to be at least one-dimensional");
  GS_CHECK(n >= 0, "order must be non-negative but got {}", n);
  const int64_t axis = wrap_dim(dim, x.ndim());
  Tensor y = x;
  // Each order takes one element away; an empty tensor stays as it is.
  const int64_t orders = std::min<int64_t>(n, std::max<int64_t>(x.size(axis), 1));
  for (int64_t i = 0; i < orders; ++i) {
    const int64_t m = std::max<int64_t>(y.size(axis) - 1, 0);
    const Tensor later = narrow(y, axis, y.size(axis) - m, m), earlier = narrow(y, axis, 0, m);
    y = y.dtype() == DType::Bool ? ne(later, earlier) : later - earlier;
  }
  return y;
}

// ---- order statistics ----

namespace {

ValuesIndices select_along(const Op& op, const char* name, const Tensor& x, int64_t dim,
                           bool keepdim, bool ignore_nan) {
  const int64_t axis = wrap_dim(dim, x.ndim());
  GS_CHECK_INDEX(x.ndim() == 0 || x.size(axis) > 0,
                 "{}(): Expected reduction dim {} to have non-zero size.", name, axis);
  const Dims sizes = reduced_sizes(x.sizes(), 1u << axis, keepdim);
  const ValuesIndices out = {empty(sizes, options_of(x)), empty(sizes, DType::Int64, x.device())};
  const Tensor source = contiguous(detach(x));
  run(op, params(axis, static_cast<int64_t>(ignore_nan)), {&out.values, &out.indices}, {&source});
  record_selection(op.name, x, out.values, out.indices, axis, keepdim);
  return out;
}

void median_all_backward(Backward& b) {
  const Tensor x = detach(b.saved(0)), y = detach(b.saved(1));
  const Tensor places = logical_or(eq(x, y), logical_and(isnan(x), isnan(y)));
  b.set(0, where(places, b.grad() / sum(places), 0));
}

}  // namespace

ValuesIndices median(const Tensor& x, int64_t dim, bool keepdim, bool ignore_nan) {
  static const Op& op = Op::get("median");
  return select_along(op, "median", x, dim, keepdim, ignore_nan);
}

Tensor median(const Tensor& x, bool ignore_nan) {
  static const Op& kernel = Op::get("median");
  static const Op& op = define("median_all", &median_all_backward);
  const Tensor flat = reshape(detach(x), {x.numel()});
  if (x.numel() == 0) return full({}, std::nan(""), options_of(x));
  const Tensor out = empty({}, options_of(x)), index = empty({}, DType::Int64, x.device());
  run(kernel, params(int64_t{0}, static_cast<int64_t>(ignore_nan)), {&out, &index}, {&flat});
  if (needs_grad(x)) record(op, params(), {&out}, {&x}, {keep(x), keep_output(out)});
  return out;
}

ValuesIndices mode(const Tensor& x, int64_t dim, bool keepdim) {
  static const Op& op = Op::get("mode");
  return select_along(op, "mode", x, dim, keepdim, false);
}

namespace {

/// x with the reduced axes as one axis at the end.
Tensor lines_last(const Tensor& x, std::optional<int64_t> dim) {
  if (!dim || x.ndim() == 0) return reshape(x, {x.numel()});
  return transpose(x, *dim, -1);
}

}  // namespace

Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim, bool keepdim,
                Interpolation interpolation, bool ignore_nan) {
  GS_CHECK(x.numel() > 0, "quantile() input tensor must be non-empty");
  GS_CHECK(x.dtype() == DType::Float32 || x.dtype() == DType::Float64,
           "quantile() input tensor must be either float or double dtype");
  GS_CHECK(q.ndim() <= 1, "quantile() q must be a scalar or 1D tensor");
  GS_CHECK(q.dtype() == x.dtype(), "quantile() q tensor must be same dtype as the input tensor");
  GS_CHECK(host_value<bool>(all(logical_and(ge(detach(q), 0), le(detach(q), 1)))),
           "quantile() q must be in the range [0, 1] but got {}", "a value outside of it");
  const std::optional<int64_t> axis = dim ? std::optional(wrap_dim(*dim, x.ndim())) : std::nullopt;
  const Tensor sorted = sort(lines_last(x, axis), -1).values;
  const double last = static_cast<double>(sorted.size(-1) - 1);
  // The place in each line, [lines.., q]; NaN is sorted to the end, where a line that holds one
  // takes it.
  const Tensor missing = isnan(detach(sorted));
  Tensor ranks;
  if (ignore_nan) {
    ranks = reshape(q, {-1}) * maximum(sub(last, sum(missing, {-1}, true)), 0);
  } else {
    ranks = where(any(missing, {-1}, true), last, reshape(q, {-1}) * last);
  }
  ranks = to(ranks, x.dtype());
  const auto rounded = [&](const char* how) { return map(Op::get(how), {detach(ranks)}); };
  if (interpolation == Interpolation::Lower) ranks = rounded("floor");
  if (interpolation == Interpolation::Higher) ranks = rounded("ceil");
  if (interpolation == Interpolation::Nearest) ranks = rounded("round");
  const Tensor below = rounded("floor");
  Tensor result = gather(sorted, -1, to(below, DType::Int64));
  if (interpolation == Interpolation::Linear || interpolation == Interpolation::Midpoint) {
    const Tensor above = gather(sorted, -1, to(rounded("ceil"), DType::Int64));
    const Tensor share =
        interpolation == Interpolation::Midpoint ? full_like(ranks, 0.5) : ranks - below;
    result = map(Op::get("lerp"), {result, above, share});
  }
  // [lines.., q] -> [q, the input's axes without or with 1 for the reduced ones]
  const int n_lines = result.ndim() - 1;
  if (axis && x.ndim() > 0 && *axis < n_lines) {
    // The axis that was swapped to the end stands where the reduced one was: move it back to the
    // end.
    result = movedim(unsqueeze(result, -2), Dims{n_lines + 1}, Dims{0});
    result = transpose(result, *axis + 1, -1);
    result = keepdim ? result : squeeze(result, {*axis + 1});
  } else {
    result = movedim(result, Dims{n_lines}, Dims{0});
    if (keepdim) {
      Dims sizes = axis ? x.sizes() : Dims::filled(x.ndim(), 1);
      if (axis && x.ndim() > 0) sizes[static_cast<int>(*axis)] = 1;
      sizes.insert(0, q.numel());
      result = reshape(result, sizes);
    }
  }
  return q.ndim() == 0 ? squeeze(result, {0}) : result;
}

}  // namespace gradstep
