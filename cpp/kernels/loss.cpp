// SPDX-License-Identifier: Apache-2.0
// The negative log-likelihood of classes on the CPU, and the check of probabilities. Input is [N,
// C, inner], target int64 [N, inner], both contiguous; weight, one number for each class, may be
// absent. params: ignore_index, C.
//   nll_rows(loss, row weight; x, target, weight)      loss = -weight[target] * x[target], 0 if
//   ignored nll_rows_backward(dx; dy, target, weight)          the transposed map of dy [N, inner]
// May include core, graph/call.h.
#include <algorithm>

#include "core/threads.h"
#include "graph/call.h"

namespace gradstep {

namespace {

/// Calls f(row, class, weight) for each row that counts; the weight is 0 for an ignored one.
template <class T, class F>
void for_targets(const Call& c, const TensorImpl& target, const TensorImpl* weight, F f) {
  const int64_t* t = reinterpret_cast<const int64_t*>(target.data);
  const T* w = weight ? reinterpret_cast<const T*>(weight->data) : nullptr;
  const int64_t ignore = c.i(0), classes = c.i(1);
  parallel_for(target.numel, kGrain / 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t k = t[i];
      if (k == ignore) {
        f(i, int64_t{-1}, T());
        continue;
      }
      GS_CHECK_INDEX(k >= 0 && k < classes, "Target {} is out of bounds.", k);
      f(i, k, w ? w[k] : convert<T>(1.0f));
    }
  });
}

void nll_rows(const Call& c) {
  const TensorImpl& target = c.in(1);
  const int64_t classes = c.i(1), inner = target.sizes[1];
  dispatch_floating(c.out(0).dtype, "nll_loss", [&](auto tag) {
    using T = decltype(tag);
    using A = compute_t<T>;
    const T* x = reinterpret_cast<const T*>(c.in(0).data);
    T* loss = reinterpret_cast<T*>(c.out(0).data);
    T* row_weight = reinterpret_cast<T*>(c.out(1).data);
    for_targets<T>(c, target, c.maybe_in(2), [&](int64_t i, int64_t k, T w) {
      row_weight[i] = w;
      const A wide = convert<A>(w);
      loss[i] =
          k < 0 ? convert<T>(A(0))
                : convert<T>(-wide * convert<A>(x[(i / inner * classes + k) * inner + i % inner]));
    });
  });
}

void nll_rows_backward(const Call& c) {
  const TensorImpl& target = c.in(1);
  const int64_t classes = c.i(1), inner = target.sizes[1];
  TensorImpl& out = c.out(0);
  dispatch_floating(out.dtype, "nll_loss", [&](auto tag) {
    using T = decltype(tag);
    using A = compute_t<T>;
    const T* dy = reinterpret_cast<const T*>(c.in(0).data);
    T* dx = reinterpret_cast<T*>(out.data);
    parallel_for(out.numel, kGrain,
                 [&](int64_t begin, int64_t end) { std::fill(dx + begin, dx + end, T()); });
    for_targets<T>(c, target, c.maybe_in(2), [&](int64_t i, int64_t k, T w) {
      if (k < 0) return;
      dx[(i / inner * classes + k) * inner + i % inner] =
          convert<T>(-convert<A>(w) * convert<A>(dy[i]));
    });
  });
}

/// check_probabilities(; x), contiguous: raises for elements outside of [0, 1].
void check_probabilities(const Call& c) {
  const TensorImpl& x = c.in(0);
  dispatch_floating(x.dtype, "binary_cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    using A = compute_t<T>;
    const T* p = reinterpret_cast<const T*>(x.data);
    parallel_for(x.numel, kGrain, [&](int64_t begin, int64_t end) {
      bool inside = true;
      for (int64_t i = begin; i < end; ++i) {
        const A v = convert<A>(p[i]);
        inside &= v >= A(0) && v <= A(1);
      }
      GS_CHECK(inside, "all elements of input should be between 0 and 1");
    });
  });
}

GS_CPU_KERNEL("check_probabilities", check_probabilities);
GS_CPU_KERNEL("nll_rows", nll_rows);
GS_CPU_KERNEL("nll_rows_backward", nll_rows_backward);

}  // namespace

}  // namespace gradstep
