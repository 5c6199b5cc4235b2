// SPDX-License-Identifier: Apache-2.0
// Running sums and the like along one axis, and order statistics that need no full sort, on the
// CPU.
//   cumsum(out; x)   cumprod   logcumsumexp            params: axis, 1 to run from the end
//   cumprod_backward(dx; x, dy)                        exact where x has zeros
//   cummax(values, indices; x)   cummin                params: axis
//   median(values, indices; x)   mode                  params: axis, 1 to ignore NaN; outputs lack
//   the axis
// All tensors are contiguous, values of one dtype. May include core, fn, graph/call.h.
#include <algorithm>
#include <utility>

#include "fn/scan.h"
#include "graph/call.h"
#include "kernels/walk.h"

namespace gradstep {

namespace {

/// The tensor seen as [outer, n, inner] around an axis.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;

  Lines(const TensorImpl& t, int64_t axis) {
    for (int d = 0; d < t.ndim(); ++d) {
      if (d < axis) outer *= t.sizes[d];
      if (d == axis) n = t.sizes[d];
      if (d > axis) inner *= t.sizes[d];
    }
  }
  int64_t count() const { return outer * inner; }
  /// The first element of line i; its elements lie `inner` apart.
  int64_t start(int64_t i) const { return i / inner * n * inner + i % inner; }
};

/// Calls f(first element) for each line, in parallel.
template <class F>
void for_lines(const Lines& lines, F f) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(lines.n, 1));
  parallel_for(lines.count(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(lines.start(i), i);
  });
}

// ---- running sums ----

/// The type in which floats are accumulated.
template <class T>
using Wide = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

template <template <class> class Running>
void scan(const Call& c) {
  const TensorImpl& x = c.in(0);
  TensorImpl& out = c.out(0);
  if (out.numel == 0) return;
  const bool reverse = c.i(1) != 0;
  const auto body = [&](auto tag) {
    using T = decltype(tag);
    using A = Wide<T>;
    using R = Running<A>;
    const Lines lines(x, c.i(0));
    const int64_t n = lines.n, inner = lines.inner;
    const T* src = reinterpret_cast<const T*>(x.data);
    T* dst = reinterpret_cast<T*>(out.data);
    // Neighbouring lines run together, up to a block of them.
    constexpr int64_t kBlock = 64;
    const int64_t width = std::min(inner, kBlock);
    const int64_t blocks = inner == 0 ? 0 : (inner + width - 1) / width;
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n * width));
    parallel_for(lines.outer * blocks, grain, [&](int64_t begin, int64_t end) {
      A total[kBlock];
      for (int64_t task = begin; task < end; ++task) {
        const int64_t column = task % blocks * width;
        const int64_t base = task / blocks * n * inner + column;
        const int64_t w = std::min(width, inner - column);
        if (inner == 1) {
          A sum = R::init();
          for (int64_t i = 0; i < n; ++i) {
            const int64_t at = base + (reverse ? n - 1 - i : i);
            sum = R::step(sum, convert<A>(src[at]));
            dst[at] = convert<T>(sum);
          }
          continue;
        }
        std::fill_n(total, w, R::init());
        for (int64_t i = 0; i < n; ++i) {
          const int64_t at = base + (reverse ? n - 1 - i : i) * inner;
          for (int64_t j = 0; j < w; ++j) {
            total[j] = R::step(total[j], convert<A>(src[at + j]));
            dst[at + j] = convert<T>(total[j]);
          }
        }
      }
    });
  };
  if constexpr (std::is_same_v<Running<double>, RunningLogSum<double>>) {
    dispatch_floating(out.dtype, c.op->name, body);
  } else {
    dispatch(out.dtype, body);
  }
}

void cumsum(const Call& c) { scan<RunningSum>(c); }
void cumprod(const Call& c) { scan<RunningProduct>(c); }
void logcumsumexp(const Call& c) { scan<RunningLogSum>(c); }

// dx[k] = sum over i >= k of dy[i] * (product of x[0..i] without x[k]).
void cumprod_backward(const Call& c) {
  const TensorImpl& x = c.in(0);
  if (x.numel == 0) return;
  const Lines lines(x, c.i(0));
  dispatch_floating(x.dtype, "cumprod_backward", [&](auto tag) {
    using T = decltype(tag);
    for_lines(lines, [&](int64_t start, int64_t) {
      const int64_t n = lines.n, step = lines.inner;
      const T* px = reinterpret_cast<const T*>(x.data) + start;
      const T* pdy = reinterpret_cast<const T*>(c.in(1).data) + start;
      T* pdx = reinterpret_cast<T*>(c.out(0).data) + start;
      const auto at = [&](const T* p, int64_t i) { return convert<double>(p[i * step]); };
      int64_t zero = 0;
      while (zero < n && at(px, zero) != 0) ++zero;
      double before = 1;  // the product in front of the first zero
      for (int64_t i = 0; i < zero; ++i) before *= at(px, i);
      double product = before, sum = 0;
      for (int64_t k = zero - 1; k >= 0; --k) {
        sum += at(pdy, k) * product;
        pdx[k * step] = convert<T>(sum / at(px, k));
        product /= at(px, k);
      }
      if (zero == n) return;
      product = before;
      sum = at(pdy, zero) * product;
      for (int64_t i = zero + 1; i < n && product != 0; ++i) {
        product *= at(px, i);
        sum += at(pdy, i) * product;
      }
      pdx[zero * step] = convert<T>(sum);
      for (int64_t k = zero + 1; k < n; ++k) pdx[k * step] = convert<T>(0.0);
    });
  });
}

template <bool kMax>
void running_extreme(const Call& c) {
  const TensorImpl& x = c.in(0);
  if (x.numel == 0) return;
  const Lines lines(x, c.i(0));
  dispatch(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_lines(lines, [&](int64_t start, int64_t) {
      const T* src = reinterpret_cast<const T*>(x.data) + start;
      T* values = reinterpret_cast<T*>(c.out(0).data) + start;
      int64_t* indices = reinterpret_cast<int64_t*>(c.out(1).data) + start;
      int64_t best = 0;
      auto high = convert<compute_t<T>>(lines.n > 0 ? src[0] : T());
      for (int64_t i = 0; i < lines.n; ++i) {
        const auto v = convert<compute_t<T>>(src[i * lines.inner]);
        if (replaces_extreme<kMax>(v, high)) {
          high = v;
          best = i;
        }
        values[i * lines.inner] = src[best * lines.inner];
        indices[i * lines.inner] = best;
      }
    });
  });
}

void cummax(const Call& c) { running_extreme<true>(c); }
void cummin(const Call& c) { running_extreme<false>(c); }

// ---- order statistics ----

/// Calls pick(pairs of (value, place), n) -> the chosen pair for each line, with place < 0 for
/// none.
template <class Pick>
void select_pair(const Call& c, Pick pick) {
  const TensorImpl& x = c.in(0);
  const Lines lines(x, c.i(0));
  dispatch(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    using V = compute_t<T>;
    const int64_t grain = std::max<int64_t>(1, kGrain / 16 / std::max<int64_t>(lines.n, 1));
    parallel_for(lines.count(), grain, [&](int64_t begin, int64_t end) {
      const Scratch<std::pair<V, int64_t>> pairs(lines.n);
      for (int64_t line = begin; line < end; ++line) {
        const T* src = reinterpret_cast<const T*>(x.data) + lines.start(line);
        for (int64_t i = 0; i < lines.n; ++i) pairs[i] = {convert<V>(src[i * lines.inner]), i};
        const int64_t place = pick(pairs.data(), lines.n);
        reinterpret_cast<T*>(c.out(0).data)[line] = src[place * lines.inner];
        reinterpret_cast<int64_t*>(c.out(1).data)[line] = place;
      }
    });
  });
}

void median(const Call& c) {
  const bool ignore_nan = c.i(1) != 0;
  select_pair(c, [=](auto* p, int64_t n) {
    auto* end = std::partition(p, p + n, [](const auto& e) { return e.first == e.first; });
    int64_t first_nan = n;
    for (auto* q = end; q < p + n; ++q) first_nan = std::min(first_nan, q->second);
    if (end == p || (end != p + n && !ignore_nan)) return first_nan;
    auto* middle = p + (end - p - 1) / 2;
    std::nth_element(p, middle, end);
    return middle->second;
  });
}

void mode(const Call& c) {
  select_pair(c, [](auto* p, int64_t n) {
    std::sort(p, p + n, [](const auto& a, const auto& b) {
      const bool a_nan = a.first != a.first, b_nan = b.first != b.first;
      if (a_nan || b_nan) return a_nan == b_nan ? a.second < b.second : b_nan;
      return a < b;
    });
    int64_t best = 0, best_run = 0;
    for (int64_t i = 0; i < n;) {
      int64_t j = i + 1;
      while (j < n && p[j].first == p[i].first) ++j;
      if (j - i > best_run) {
        best_run = j - i;
        best = p[j - 1].second;
      }
      i = j;
    }
    return best;
  });
}

GS_CPU_KERNEL("cumsum", cumsum);
GS_CPU_KERNEL("cumprod", cumprod);
GS_CPU_KERNEL("logcumsumexp", logcumsumexp);
GS_CPU_KERNEL("cumprod_backward", cumprod_backward);
GS_CPU_KERNEL("cummax", cummax);
GS_CPU_KERNEL("cummin", cummin);
GS_CPU_KERNEL("median", median);
GS_CPU_KERNEL("mode", mode);

}  // namespace

}  // namespace gradstep
