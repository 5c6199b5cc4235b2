// SPDX-License-Identifier: Apache-2.0
#include "ops/create.h"

#include <cmath>

#include "core/cuda_api.h"

namespace gradstep {

namespace {
// Rejects a number that the type cannot hold at all (not a silent wrap).
void fill_new(const Tensor& t, Scalar value) {
  static const Op& op = Op::get("fill");
  const Compute compute = compute_type(t.dtype());
  Params p;
  p.push(value, compute);
  run(op, p, {&t}, {}, compute);
}

void check_finite_step(double start, double end, double step, const char* name) {
  GS_CHECK(step != 0, "step must be nonzero");
  GS_CHECK(std::isfinite(start) && std::isfinite(end), "unsupported range: {} -> {} ({})", start,
           end, name);
  GS_CHECK((step > 0 && end >= start) || (step < 0 && end <= start),
           "upper bound and lower bound inconsistent with step sign");
}

/// out[i] = start + i * step in the compute type; with kSymmetric, from the end in the second half.
void sequence(const Tensor& out, Scalar start, Scalar step, bool symmetric, Scalar end) {
  static const Op& op = Op::get("sequence");
  const Compute c = compute_type(out.dtype());
  Params p;
  p.push(start, c);
  p.push(step, c);
  p.push(end, c);
  p.push(static_cast<int64_t>(symmetric));
  run(op, p, {&out}, {}, c);
}
}  // namespace

Tensor empty_pinned(const Dims& sizes, const Dims& strides, DType dtype) {
  const size_t bytes = static_cast<size_t>(count_elements(sizes)) * element_size(dtype);
  void* p = cuda_api().allocate_pinned(bytes);
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->storage = Ref(Storage::wrap(
      p, bytes, {}, [](void* block) { find_cuda()->deallocate_pinned(block, 0); }, p));
  t->sizes = sizes;
  t->strides = strides;
  t->dtype = dtype;
  t->data = t->storage->data;
  t->update_geometry();
  return out;
}

Tensor full(const Dims& sizes, Scalar value, Options options) {
  const Tensor t = empty(sizes, options);
  fill_new(t, value);
  return t;
}

Tensor arange(Scalar start, Scalar end, Scalar step, Options options) {
  check_finite_step(start.to_double(), end.to_double(), step.to_double(), "arange");
  int64_t n;
  if (options.dtype != DType::Int64 && (start.is_float() || end.is_float() || step.is_float())) {
    n = static_cast<int64_t>(std::ceil((end.to_double() - start.to_double()) / step.to_double()));
  } else {
    const __int128 d = static_cast<__int128>(end.to_int()) - start.to_int();
    const int64_t s = step.to_int();
    GS_CHECK(s != 0, "step must be nonzero");
    const __int128 count = (d + s - (s > 0 ? 1 : -1)) / s;
    GS_CHECK(count < (int64_t{1} << 60), "arange: more elements than memory can hold");
    n = static_cast<int64_t>(count);
  }
  const Tensor out = empty({n}, options);
  sequence(out, start, step, false, end);
  return out;
}

Tensor linspace(Scalar start, Scalar end, int64_t steps, Options options) {
  GS_CHECK(steps >= 0, "number of steps must be non-negative");
  const Tensor out = empty({steps}, options);
  if (steps == 0) return out;
  if (steps == 1) {
    fill_new(out, start);
    return out;
  }
  if (compute_type(options.dtype) == Compute::I64) {
    // PyTorch takes whole ends and steps in double, rounding each value towards zero.
    const auto first = static_cast<double>(start.to_int()),
               last = static_cast<double>(end.to_int());
    const Tensor wide = linspace(first, last, steps, {DType::Float64, options.device});
    static const Op& copy = Op::get("copy");
    run(copy, params(), {&out}, {&wide});
    return out;
  }
  const double step = (end.to_double() - start.to_double()) / static_cast<double>(steps - 1);
  const Scalar exact =
      options.dtype == DType::Float64
          ? Scalar(step)
          : Scalar((static_cast<float>(end.to_double()) - static_cast<float>(start.to_double())) /
                   static_cast<float>(steps - 1));
  sequence(out, start.to_double(), exact, true, end.to_double());
  return out;
}

Tensor logspace(Scalar start, Scalar end, int64_t steps, double base, Options options) {
  // To integers the ends are truncated first.
  const auto exponent = [&](const Scalar& s) {
    return is_floating(options.dtype) ? s.to_double() : std::trunc(s.to_double());
  };
  const Tensor exponents =
      linspace(exponent(start), exponent(end), steps, {DType::Float64, options.device});
  static const Op& pow = Op::get("pow");
  const Tensor wide = map(pow, {Scalar(base), exponents});
  const Tensor out = empty({steps}, options);
  static const Op& copy = Op::get("copy");
  run(copy, params(), {&out}, {&wide});
  return out;
}

Tensor eye(int64_t n, int64_t m, Options options) {
  GS_CHECK(n >= 0, "n must be greater or equal to 0, got {}", n);
  GS_CHECK(m >= 0, "m must be greater or equal to 0, got {}", m);
  const Tensor out = full({n, m}, 0, options);
  const int64_t k = std::min(n, m);
  fill_new(alias(out, {k}, {m + 1}, 0), 1);
  return out;
}

}  // namespace gradstep
