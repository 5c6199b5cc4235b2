// SPDX-License-Identifier: Apache-2.0
// The row skeleton on the CPU: softmax, normalisations and cross entropy, forward and backward one
// pass each over rows that stay in L1. Tensors are contiguous, of type float or double. Sums over
// many rows are formed in pieces that depend on the shape only, so results do not depend on the
// number of threads. Compiled once for each instruction set; register_row_kernels() is called by
// register.cpp.
#include <algorithm>

#include "core/threads.h"
#include "fn/reduce.h"
#include "graph/call.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

// ---- rows ----

/// y[i] = f(load) for i < n, where load(p) is a vector of p[i], .. .
template <class C, class F>
GS_FN void map_row(C* y, int64_t n, F f) {
  using V = Native<C>;
  constexpr int N = V::size;
  int64_t i = 0;
  for (; i + N <= n; i += N) f([=](const C* p) { return V::load(p + i); }).store(y + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_some(y + i, f([=](const C* p) { return load_some<V>(p + i, rest); }), rest);
  }
}

/// The sum of f(load) over a row, blocks in double.
template <class C, class F>
GS_FN double sum_row(int64_t n, F f) {
  using V = Native<C>;
  constexpr int N = V::size;
  double total = 0;
  int64_t i = 0;
  while (i + N <= n) {
    const int64_t end = std::min<int64_t>(n, i + kReduceBlock);
    V a = V(C(0)), b = V(C(0));
    for (; i + 2 * N <= end; i += 2 * N) {
      a += f([=](const C* p) { return V::load(p + i); });
      b += f([=](const C* p) { return V::load(p + i + N); });
    }
    for (; i + N <= end; i += N) a += f([=](const C* p) { return V::load(p + i); });
    total += hsum(a + b);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const V v = f([=](const C* p) { return load_some<V>(p + i, rest); });
    total += hsum(select(lane_numbers<V>() < V(C(rest)), v, V(C(0))));
  }
  return total;
}

template <class C>
GS_FN C max_row(const C* x, int64_t n) {
  C m = C(-kInf);
  for (int64_t i = 0; i < n; i += kReduceBlock) {
    const C b = fold_row(
        x + i, static_cast<int>(std::min<int64_t>(n - i, kReduceBlock)), C(-kInf),
        [](auto v) { return v; }, [](auto a, auto c) { return Max().combine(a, c); });
    m = Max().combine(m, b);
  }
  return m;
}

template <class F>
void for_rows(int64_t rows, int64_t n, F f) {
  parallel_for(rows, std::max<int64_t>(1, kGrain / 2 / std::max<int64_t>(n, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) f(r);
               });
}

/// Calls f(float) or f(double).
template <class F>
void by_compute(const Call& c, F f) {
  GS_CHECK(c.compute != Compute::I64, "\"{}\" not implemented for 'Long'", c.op->name);
  if (c.compute == Compute::F32) {
    f(float{});
  } else {
    f(double{});
  }
}

template <class C>
C* data_of(const TensorImpl& t) {
  return reinterpret_cast<C*>(t.data);
}
template <class C>
const C* data_or_null(const TensorImpl* t) {
  return t ? reinterpret_cast<const C*>(t->data) : nullptr;
}

// ---- softmax ----

struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Lines(const TensorImpl& t, int64_t axis) {
    for (int d = 0; d < t.ndim(); ++d) (d < axis ? outer : d == axis ? n : inner) *= t.sizes[d];
  }
};

/// Calls f(first element, columns) for blocks of neighbouring lines; elements of a line lie inner
/// apart.
constexpr int64_t kLineBlock = 128;
template <class F>
void for_line_blocks(const Lines& l, F f) {
  const int64_t blocks = (l.inner + kLineBlock - 1) / kLineBlock;
  for_rows(l.outer * blocks, l.n * std::min(l.inner, kLineBlock), [&](int64_t task) {
    const int64_t column = task % blocks * kLineBlock;
    f(task / blocks * l.n * l.inner + column, std::min(kLineBlock, l.inner - column));
  });
}

template <bool kLog>
void softmax(const Call& c) {
  if (c.out(0).numel == 0) return;
  const Lines l(c.in(0), c.i(0));
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* px = data_of<C>(c.in(0));
    C* py = data_of<C>(c.out(0));
    if (l.inner == 1) {
      return for_rows(l.outer, l.n, [&](int64_t r) {
        const C* x = px + r * l.n;
        C* y = py + r * l.n;
        const C m = max_row(x, l.n);
        if constexpr (kLog) {
          const double s = sum_row<C>(l.n, [&](auto load) { return exp(load(x) - V(m)); });
          const C logarithm = C(log(s));
          map_row(y, l.n, [&](auto load) { return load(x) - V(m) - V(logarithm); });
        } else {
          map_row(y, l.n, [&](auto load) { return exp(load(x) - V(m)); });
          const double s = sum_row<C>(l.n, [&](auto load) { return load(y); });
          const V factor = V(C(1 / s));
          map_row(y, l.n, [&](auto load) { return load(y) * factor; });
        }
      });
    }
    for_line_blocks(l, [&](int64_t start, int64_t w) {
      C m[kLineBlock], s[kLineBlock];
      std::copy_n(px + start, w, m);
      std::fill_n(s, w, C(0));
      for (int64_t i = 1; i < l.n; ++i) {
        const C* x = px + start + i * l.inner;
        map_row(m, w, [&](auto load) { return Max().combine(load(m), load(x)); });
      }
      for (int64_t i = 0; i < l.n; ++i) {
        const C* x = px + start + i * l.inner;
        map_row(s, w, [&](auto load) { return load(s) + exp(load(x) - load(m)); });
      }
      if (kLog) {
        map_row(s, w, [&](auto load) { return log(load(s)); });
      } else {
        map_row(s, w, [&](auto load) { return V(C(1)) / load(s); });
      }
      for (int64_t i = 0; i < l.n; ++i) {
        const C* x = px + start + i * l.inner;
        map_row(py + start + i * l.inner, w, [&](auto load) {
          if constexpr (kLog)
            return load(x) - load(m) - load(s);
          else
            return exp(load(x) - load(m)) * load(s);
        });
      }
    });
  });
}

// softmax: dx = y * (dy - sum(dy * y)); log_softmax: dx = dy - exp(y) * sum(dy).
template <bool kLog>
void softmax_backward(const Call& c) {
  if (c.out(0).numel == 0) return;
  const Lines l(c.in(0), c.i(0));
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* py = data_of<C>(c.in(1));
    C* pdx = data_of<C>(c.out(0));
    const auto term = [](V dy, V y) { return kLog ? dy : dy * y; };
    const auto result = [](V dy, V y, V s) { return kLog ? dy - exp(y) * s : y * (dy - s); };
    if (l.inner == 1) {
      return for_rows(l.outer, l.n, [&](int64_t r) {
        const C* dy = pdy + r * l.n;
        const C* y = py + r * l.n;
        const V s = V(C(sum_row<C>(l.n, [&](auto load) { return term(load(dy), load(y)); })));
        map_row(pdx + r * l.n, l.n, [&](auto load) { return result(load(dy), load(y), s); });
      });
    }
    for_line_blocks(l, [&](int64_t start, int64_t w) {
      C s[kLineBlock];
      std::fill_n(s, w, C(0));
      for (int64_t i = 0; i < l.n; ++i) {
        const C* dy = pdy + start + i * l.inner;
        const C* y = py + start + i * l.inner;
        map_row(s, w, [&](auto load) { return load(s) + term(load(dy), load(y)); });
      }
      for (int64_t i = 0; i < l.n; ++i) {
        const C* dy = pdy + start + i * l.inner;
        const C* y = py + start + i * l.inner;
        map_row(pdx + start + i * l.inner, w,
                [&](auto load) { return result(load(dy), load(y), load(s)); });
      }
    });
  });
}

// ---- cross entropy of rows ----
// params: ignore_index, classes, reduction (0 none, 1 mean, 2 sum)

template <class C>
struct Targets {
  const int64_t* target;
  const C* weight;
  int64_t ignore, classes;

  Targets(const Call& c, int target_at, int weight_at)
      : target(data_of<int64_t>(c.in(target_at))),
        weight(data_or_null<C>(c.maybe_in(weight_at))),
        ignore(c.i(0)),
        classes(c.i(1)) {}
  /// The weight of row r, 0 where it is ignored.
  GS_FN C of(int64_t r) const {
    const int64_t t = target[r];
    if (t == ignore) return C(0);
    GS_CHECK_INDEX(t >= 0 && t < classes, "Target {} is out of bounds.", t);
    return weight ? weight[t] : C(1);
  }
};

// cross_entropy(loss, total weight, log-sums of rows; x, target, weight)
void cross_entropy(const Call& c) {
  const int64_t rows = c.in(0).sizes[0], n = c.i(1), reduction = c.i(2);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const Targets<C> targets(c, 1, 2);
    const C* px = data_of<C>(c.in(0));
    C* loss = data_of<C>(c.out(0));
    C* sums = data_of<C>(c.out(2));
    const int64_t grain = std::max<int64_t>(1, kGrain / 4 / std::max<int64_t>(n, 1));
    const int64_t size = chunk_size(rows, grain), chunks = chunk_count(rows, grain);
    const Scratch<double> partial(2 * chunks);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      constexpr int64_t kBlock = 64;  // rows whose logarithms are taken together
      double total = 0, total_weight = 0, logs[kBlock];
      C most[kBlock];
      for (int64_t from = begin; from < end; from += kBlock) {
        const int64_t count = std::min(kBlock, end - from);
        for (int64_t k = 0; k < count; ++k) {
          const C* x = px + (from + k) * n;
          const C m = most[k] = max_row(x, n);
          logs[k] = sum_row<C>(n, [&](auto load) { return exp(load(x) - V(m)); });
        }
        map_row(logs, count, [&](auto load) { return log(load(logs)); });
        for (int64_t k = 0; k < count; ++k) {
          const int64_t r = from + k;
          const C w = targets.of(r);
          const double log_sum = double(most[k]) + logs[k];
          sums[r] = C(log_sum);
          const bool ignored = targets.target[r] == targets.ignore;
          const double l =
              ignored ? 0 : double(w) * (log_sum - double(px[r * n + targets.target[r]]));
          if (reduction == 0) loss[r] = C(l);
          total += l;
          total_weight += double(w);
        }
      }
      partial[2 * (begin / size)] = total;
      partial[2 * (begin / size) + 1] = total_weight;
    });
    double total = 0, total_weight = 0;
    for (int64_t k = 0; k < chunks; ++k) {
      total += partial[2 * k];
      total_weight += partial[2 * k + 1];
    }
    data_of<C>(c.out(1))[0] = C(total_weight);
    if (reduction != 0) loss[0] = C(reduction == 1 ? total / total_weight : total);
  });
}

// cross_entropy_backward(dx; dy, x, target, log-sums, total weight, weight)
void cross_entropy_backward(const Call& c) {
  const int64_t rows = c.in(1).sizes[0], n = c.i(1), reduction = c.i(2);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const Targets<C> targets(c, 2, 5);
    const C* dy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* sums = data_of<C>(c.in(3));
    const C total = data_of<C>(c.in(4))[0];
    C* pdx = data_of<C>(c.out(0));
    const C whole = reduction == 1 ? dy[0] / total : dy[0];
    for_rows(rows, 2 * n, [&](int64_t r) {
      const C* x = px + r * n;
      C* dx = pdx + r * n;
      if (targets.target[r] == targets.ignore) {
        std::fill_n(dx, n, C(0));
        return;
      }
      const C factor = targets.of(r) * (reduction == 0 ? dy[r] : whole);
      const V f = V(factor), s = V(sums[r]);
      map_row(dx, n, [&](auto load) { return exp(load(x) - s) * f; });
      dx[targets.target[r]] -= factor;
    });
  });
}

// ---- layer and rms norm ----
// params: eps, .., elements of a row

/// Sums over rows of two numbers for each column: f(row, first, second) adds to them. Rows are
/// summed in pieces, the pieces in double.
constexpr int64_t kPieceRows = 64;
template <class C, class F>
void sum_columns(int64_t rows, int64_t n, C* first, C* second, F f) {
  if (n == 0) return;
  const int64_t pieces = std::max<int64_t>(1, (rows + kPieceRows - 1) / kPieceRows);
  const Scratch<C> partial(pieces * 2 * n);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n * kPieceRows));
  parallel_for(pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      C* a = partial.data() + k * 2 * n;
      std::fill_n(a, 2 * n, C(0));
      for (int64_t r = k * kPieceRows; r < std::min(rows, (k + 1) * kPieceRows); ++r)
        f(r, a, a + n);
    }
  });
  parallel_for(n, std::max<int64_t>(1, kGrain / pieces), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      double a = 0, b = 0;
      for (int64_t k = 0; k < pieces; ++k) {
        a += partial[k * 2 * n + j];
        b += partial[k * 2 * n + n + j];
      }
      if (first) first[j] = C(a);
      if (second) second[j] = C(b);
    }
  });
}

/// Mean and variance (divisor n) of a row.
template <class C>
GS_FN typename Moments<C, false>::State row_moments(const C* x, int64_t n) {
  auto s = Moments<C, false>::init();
  for (int64_t i = 0; i < n; i += kReduceBlock) {
    Moments<C, false>::block(s, x + i, static_cast<int>(std::min<int64_t>(n - i, kReduceBlock)), 0);
  }
  return s;
}

// layer_norm(y, mean, scale; x, weight, bias); rms_norm has no mean and no bias.
template <bool kCentered>
void layer_norm(const Call& c) {
  const int64_t n = c.i(2), rows = c.out(2).numel;
  const double eps = c.f(0);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* px = data_of<C>(c.in(0));
    const C* w = data_or_null<C>(c.maybe_in(1));
    const C* b = data_or_null<C>(c.maybe_in(2));
    C* py = data_of<C>(c.out(0));
    for_rows(rows, n, [&](int64_t r) {
      const C* x = px + r * n;
      double centre = 0, var;
      if constexpr (kCentered) {
        const auto s = row_moments(x, n);
        centre = s.mean;
        var = s.m2 / double(n);
        data_of<C>(c.out(1))[r] = C(centre);
      } else {
        var = sum_row<C>(n, [&](auto load) { return load(x) * load(x); }) / double(n);
      }
      const C scale = C(1 / sqrt(var + eps));
      data_of<C>(c.out(2))[r] = scale;
      const V m = V(C(centre)), k = V(scale);
      map_row(py + r * n, n, [&](auto load) {
        V y = (load(x) - m) * k;
        if (w) y = y * load(w);
        return b ? y + load(b) : y;
      });
    });
  });
}

// layer_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
template <bool kCentered>
void layer_norm_backward(const Call& c) {
  const int64_t n = c.i(2), rows = c.in(4).numel;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* w = data_or_null<C>(c.maybe_in(2));
    const C* means = data_or_null<C>(c.maybe_in(3));
    const C* scales = data_of<C>(c.in(4));
    C* pdx = data_of<C>(c.out(0));
    for_rows(rows, 2 * n, [&](int64_t r) {
      const C* x = px + r * n;
      const C* dy = pdy + r * n;
      const V m = V(kCentered ? means[r] : C(0)), k = V(scales[r]);
      const auto gradient = [&](auto load) { return w ? load(dy) * load(w) : load(dy); };
      const V s2 =
          V(C(sum_row<C>(n, [&](auto load) { return gradient(load) * (load(x) - m) * k; }) /
              double(n)));
      const V s1 = V(kCentered ? C(sum_row<C>(n, gradient) / double(n)) : C(0));
      map_row(pdx + r * n, n,
              [&](auto load) { return k * (gradient(load) - s1 - (load(x) - m) * k * s2); });
    });
    C* dw = const_cast<C*>(data_or_null<C>(c.operands[1]));
    C* db = const_cast<C*>(data_or_null<C>(c.operands[2]));
    if (!dw && !db) return;
    sum_columns(rows, n, dw, db, [&](int64_t r, C* a, C* b) {
      const C* x = px + r * n;
      const C* dy = pdy + r * n;
      const V m = V(kCentered ? means[r] : C(0)), k = V(scales[r]);
      map_row(a, n, [&](auto load) { return load(a) + load(dy) * ((load(x) - m) * k); });
      map_row(b, n, [&](auto load) { return load(b) + load(dy); });
    });
  });
}

// ---- group norm ----
// params: eps, groups. x is [N, C, inner]; a group is a row of C / groups channels.

struct Channels {
  int64_t n, channels, inner;
  explicit Channels(const TensorImpl& x) : n(x.sizes[0]), channels(x.sizes[1]), inner(1) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x.sizes[d];
  }
};

// group_norm(y, mean, scale; x, weight, bias)
void group_norm(const Call& c) {
  const Channels s(c.in(0));
  const int64_t groups = c.i(1), per_group = s.channels / groups, m = per_group * s.inner;
  const double eps = c.f(0);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* w = data_or_null<C>(c.maybe_in(1));
    const C* b = data_or_null<C>(c.maybe_in(2));
    for_rows(s.n * groups, m, [&](int64_t r) {
      const C* x = data_of<C>(c.in(0)) + r * m;
      C* y = data_of<C>(c.out(0)) + r * m;
      const auto moments = row_moments(x, m);
      const C scale = C(1 / sqrt(moments.m2 / double(m) + eps));
      data_of<C>(c.out(1))[r] = C(moments.mean);
      data_of<C>(c.out(2))[r] = scale;
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t channel = r % groups * per_group + j;
        const V k = V(w ? scale * w[channel] : scale), shift = V(b ? b[channel] : C(0));
        const V centre = V(C(moments.mean));
        const C* from = x + j * s.inner;
        map_row(y + j * s.inner, s.inner,
                [&](auto load) { return (load(from) - centre) * k + shift; });
      }
    });
  });
}

// group_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
void group_norm_backward(const Call& c) {
  const Channels s(c.in(1));
  const int64_t groups = c.i(1), per_group = s.channels / groups, m = per_group * s.inner;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* w = data_or_null<C>(c.maybe_in(2));
    const C* means = data_of<C>(c.in(3));
    const C* scales = data_of<C>(c.in(4));
    // For each (sample, channel): the sums of dy * normalized x and of dy.
    const Scratch<double> sums(2 * s.n * s.channels);
    for_rows(s.n * groups, 2 * m, [&](int64_t r) {
      const C* x = px + r * m;
      const C* dy = pdy + r * m;
      const V centre = V(means[r]);
      const double scale = scales[r];
      double s1 = 0, s2 = 0;
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t at = r * per_group + j, channel = at % s.channels;
        const C* xs = x + j * s.inner;
        const C* dys = dy + j * s.inner;
        const double a =
            scale * sum_row<C>(s.inner, [&](auto load) { return load(dys) * (load(xs) - centre); });
        const double b = sum_row<C>(s.inner, [&](auto load) { return load(dys); });
        sums[2 * at] = a;
        sums[2 * at + 1] = b;
        const double weight = w ? double(w[channel]) : 1.0;
        s2 += weight * a;
        s1 += weight * b;
      }
      const V mean1 = V(C(s1 / double(m))), mean2 = V(C(s2 / double(m) * scale)), k = V(C(scale));
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t channel = (r * per_group + j) % s.channels;
        const V weight = V(w ? w[channel] : C(1));
        const C* xs = x + j * s.inner;
        const C* dys = dy + j * s.inner;
        map_row(data_of<C>(c.out(0)) + r * m + j * s.inner, s.inner, [&](auto load) {
          return k * (load(dys) * weight - mean1 - (load(xs) - centre) * mean2);
        });
      }
    });
    if (!c.operands[1] && !c.operands[2]) return;
    for (int64_t channel = 0; channel < s.channels; ++channel) {
      double a = 0, b = 0;
      for (int64_t i = 0; i < s.n; ++i) {
        a += sums[2 * (i * s.channels + channel)];
        b += sums[2 * (i * s.channels + channel) + 1];
      }
      if (c.operands[1]) data_of<C>(c.out(1))[channel] = C(a);
      if (c.operands[2]) data_of<C>(c.out(2))[channel] = C(b);
    }
  });
}

// ---- batch norm ----
// params: eps, training, momentum. x is [N, C, inner].

/// running = (1 - momentum) * running + momentum * value, in any floating type.
template <class C>
void update_running(TensorImpl* running, const C* value, double factor, double momentum) {
  if (!running) return;
  dispatch_floating(running->dtype, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    T* p = reinterpret_cast<T*>(running->data);
    const int64_t step = running->strides[0];
    for (int64_t i = 0; i < running->numel; ++i) {
      const double old = convert<double>(p[i * step]);
      p[i * step] = convert<T>((1 - momentum) * old + momentum * factor * double(value[i]));
    }
  });
}

// batch_norm(y, mean, scale; x, weight, bias, running mean, running var)
void batch_norm(const Call& c) {
  const Channels s(c.in(0));
  if (s.channels == 0) return;
  const bool training = c.i(1) != 0;
  const double eps = c.f(0), momentum = c.f(2);
  if (training) {
    // Variance and mean by the reduce skeleton; the variance becomes the scale below.
    TensorImpl* operands[] = {c.operands[2], c.operands[1], c.operands[c.n_out]};
    Call moments{&Op::get("var_mean"), c.compute, 2, 1, operands, {}};
    moments.params.push(int64_t{0xff & ~2});
    moments.params.push(0.0);
    launch(moments);
  }
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    C* mean = data_of<C>(c.out(1));
    C* scale = data_of<C>(c.out(2));
    if (training) {
      const double count = double(s.n * s.inner);
      update_running(c.maybe_in(3), mean, 1, momentum);
      update_running(c.maybe_in(4), scale, count / std::max(count - 1, 1.0), momentum);
    } else {
      for (int k : {3, 4}) {
        const TensorImpl& running = c.in(k);
        C* to = k == 3 ? mean : scale;
        dispatch_floating(running.dtype, "batch_norm", [&](auto stored) {
          using T = decltype(stored);
          const T* p = reinterpret_cast<const T*>(running.data);
          for (int64_t i = 0; i < s.channels; ++i) to[i] = convert<C>(p[i * running.strides[0]]);
        });
      }
    }
    for (int64_t i = 0; i < s.channels; ++i) scale[i] = C(1 / sqrt(double(scale[i]) + eps));
    const C* w = data_or_null<C>(c.maybe_in(1));
    const C* b = data_or_null<C>(c.maybe_in(2));
    const C* px = data_of<C>(c.in(0));
    C* py = data_of<C>(c.out(0));
    if (c.out(0).numel == 0) return;
    if (s.inner == 1) {
      return for_rows(s.n, s.channels, [&](int64_t r) {
        const C* x = px + r * s.channels;
        map_row(py + r * s.channels, s.channels, [&](auto load) {
          V y = (load(x) - load(mean)) * load(scale);
          if (w) y = y * load(w);
          return b ? y + load(b) : y;
        });
      });
    }
    for_rows(s.n * s.channels, s.inner, [&](int64_t r) {
      const int64_t k = r % s.channels;
      const C* x = px + r * s.inner;
      const V m = V(mean[k]), factor = V(w ? scale[k] * w[k] : scale[k]),
              shift = V(b ? b[k] : C(0));
      map_row(py + r * s.inner, s.inner, [&](auto load) { return (load(x) - m) * factor + shift; });
    });
  });
}

// batch_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
void batch_norm_backward(const Call& c) {
  const Channels s(c.in(1));
  if (s.channels == 0) return;
  const bool training = c.i(1) != 0;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* w = data_or_null<C>(c.maybe_in(2));
    const C* mean = data_of<C>(c.in(3));
    const C* scale = data_of<C>(c.in(4));
    C* pdx = data_of<C>(c.out(0));
    // For each channel: the sums of dy * normalized x (= dweight) and of dy (= dbias).
    const Scratch<C> sums(2 * s.channels);
    C* dw = sums.data();
    C* db = sums.data() + s.channels;
    if (s.inner == 1) {
      sum_columns(s.n, s.channels, dw, db, [&](int64_t r, C* a, C* b) {
        const C* x = px + r * s.channels;
        const C* dy = pdy + r * s.channels;
        map_row(a, s.channels, [&](auto load) {
          return load(a) + load(dy) * ((load(x) - load(mean)) * load(scale));
        });
        map_row(b, s.channels, [&](auto load) { return load(b) + load(dy); });
      });
    } else {
      for_rows(s.channels, 2 * s.n * s.inner, [&](int64_t k) {
        const V m = V(mean[k]);
        double a = 0, b = 0;
        for (int64_t i = 0; i < s.n; ++i) {
          const C* x = px + (i * s.channels + k) * s.inner;
          const C* dy = pdy + (i * s.channels + k) * s.inner;
          a += sum_row<C>(s.inner, [&](auto load) { return load(dy) * (load(x) - m); });
          b += sum_row<C>(s.inner, [&](auto load) { return load(dy); });
        }
        dw[k] = C(a * double(scale[k]));
        db[k] = C(b);
      });
    }
    if (c.operands[1]) std::copy_n(dw, s.channels, data_of<C>(c.out(1)));
    if (c.operands[2]) std::copy_n(db, s.channels, data_of<C>(c.out(2)));
    if (c.out(0).numel == 0) return;
    // dx = factor * (dy - mean(dy) - normalized x * mean(dy * normalized x)); constants in eval
    // mode.
    const C share = training ? C(1 / double(s.n * s.inner)) : C(0);
    for (int64_t k = 0; k < s.channels; ++k) {
      dw[k] *= share * scale[k];
      db[k] *= share;
    }
    if (s.inner == 1) {
      return for_rows(s.n, 2 * s.channels, [&](int64_t r) {
        const C* x = px + r * s.channels;
        const C* dy = pdy + r * s.channels;
        map_row(pdx + r * s.channels, s.channels, [&](auto load) {
          const V factor = w ? load(scale) * load(w) : load(scale);
          return factor * (load(dy) - load(db) - (load(x) - load(mean)) * load(dw));
        });
      });
    }
    for_rows(s.n * s.channels, 2 * s.inner, [&](int64_t r) {
      const int64_t k = r % s.channels;
      const C* x = px + r * s.inner;
      const C* dy = pdy + r * s.inner;
      const V factor = V(w ? scale[k] * w[k] : scale[k]), m = V(mean[k]), a = V(dw[k]),
              b = V(db[k]);
      map_row(pdx + r * s.inner, s.inner,
              [&](auto load) { return factor * (load(dy) - b - (load(x) - m) * a); });
    });
  });
}

void add_kernel(const char* name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}

}  // namespace

void register_row_kernels() {
  add_kernel("softmax", &softmax<false>);
  add_kernel("log_softmax", &softmax<true>);
  add_kernel("softmax_backward", &softmax_backward<false>);
  add_kernel("log_softmax_backward", &softmax_backward<true>);
  add_kernel("cross_entropy", &cross_entropy);
  add_kernel("cross_entropy_backward", &cross_entropy_backward);
  add_kernel("layer_norm", &layer_norm<true>);
  add_kernel("layer_norm_backward", &layer_norm_backward<true>);
  add_kernel("rms_norm", &layer_norm<false>);
  add_kernel("rms_norm_backward", &layer_norm_backward<false>);
  add_kernel("group_norm", &group_norm);
  add_kernel("group_norm_backward", &group_norm_backward);
  add_kernel("batch_norm", &batch_norm);
  add_kernel("batch_norm_backward", &batch_norm_backward);
}

}  // namespace GS_ISA
}  // namespace gradstep
