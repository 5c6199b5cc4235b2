// SPDX-License-Identifier: Apache-2.0
// Reductions, scans and order statistics. `dims` empty means all axes, as in PyTorch.
//   sum(x, {0, 2}, true)    max(x, 1) -> {values, indices}    cumsum(x, -1)
// May include core, fn, graph.
#pragma once
#include "ops/op.h"

namespace gradstep {

struct ValuesIndices {
  Tensor values, indices;
};

/// The shape that is left after reducing the axes of `mask`.
Dims reduced_sizes(const Dims& sizes, uint32_t mask, bool keepdim);
/// Gives a reduced tensor its axes of size 1 back.
Tensor restore_dims(const Tensor& reduced, int ndim, uint32_t mask, bool keepdim);

// ---- sums ----

Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
           std::optional<DType> dtype = {});
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
Tensor nansum(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
              std::optional<DType> dtype = {});
Tensor nanmean(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
               std::optional<DType> dtype = {});
Tensor prod(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
Tensor count_nonzero(const Tensor& x, const Dims& dims = {});
Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);
Tensor trace(const Tensor& x);

// ---- extremes ----

Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Of all elements; the gradient goes to all places of the extreme in equal parts.
Tensor max(const Tensor& x);
Tensor min(const Tensor& x);
ValuesIndices max(const Tensor& x, int64_t dim, bool keepdim = false);
ValuesIndices min(const Tensor& x, int64_t dim, bool keepdim = false);
Tensor argmax(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
Tensor argmin(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

// ---- moments and norms ----

Tensor variance(const Tensor& x, const Dims& dims = {}, double correction = 1,
                bool keepdim = false);
Tensor std_dev(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
struct Moment {
  Tensor spread, mean;
};
Moment var_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                bool keepdim = false);
Moment std_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                bool keepdim = false);
Tensor vector_norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false,
                   std::optional<DType> dtype = {});
Tensor dist(const Tensor& a, const Tensor& b, double p = 2);

// ---- scans ----

Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor logcumsumexp(const Tensor& x, int64_t dim);
ValuesIndices cummax(const Tensor& x, int64_t dim);
ValuesIndices cummin(const Tensor& x, int64_t dim);
Tensor diff(const Tensor& x, int64_t n = 1, int64_t dim = -1);

// ---- order statistics ----

/// The lower median.
Tensor median(const Tensor& x, bool ignore_nan = false);
ValuesIndices median(const Tensor& x, int64_t dim, bool keepdim, bool ignore_nan = false);
ValuesIndices mode(const Tensor& x, int64_t dim = -1, bool keepdim = false);
enum class Interpolation : uint8_t { Linear, Lower, Higher, Midpoint, Nearest };
Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim, bool keepdim,
                Interpolation interpolation, bool ignore_nan);

}  // namespace gradstep
