// SPDX-License-Identifier: Apache-2.0
// The row skeleton on the CPU: softmax, layer norm and cross entropy, forward and backward one
// pass each over rows that stay in L1. Tensors are contiguous, of type float or double; halves
// are converted (in_float). Sums over
// many rows are formed in pieces that depend on the shape only, so results do not depend on the
// number of threads. Compiled once for each instruction set; register_row_kernels() is called by
// register.cpp.
#include <algorithm>
#include <numeric>

#include "graph/cut.h"
#include "kernels/rows.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

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
    const RowWriter<C> writer(c.out(0), l.n);
    if (l.inner == 1) {
      return for_rows(l.outer, l.n, [&](int64_t r) {
        const C* x = px + r * l.n;
        const V m = V(max_row(x, l.n));
        writer.write(r, [&](C* y) {
          if constexpr (kLog) {
            const V logarithm = V(C(log(sum_row<C>(l.n, [&](auto load) {
              prefetch(load, x + l.n);
              return exp(load(x) - m);
            }))));
            map_row(y, l.n, [&](auto load) { return load(x) - m - logarithm; });
          } else {
            const double s = sum_row<C>(l.n, [&](auto load, auto keep) {
              prefetch(load, x + l.n);
              return keep(y, exp(load(x) - m));
            });
            const V factor = V(C(1 / s));
            map_row(y, l.n, [&](auto load) { return load(y) * factor; });
          }
        });
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
    const RowWriter<C> writer(c.out(0), l.n);
    const auto term = [](V dy, V y) { return kLog ? dy : dy * y; };
    const auto result = [](V dy, V y, V s) { return kLog ? dy - exp(y) * s : y * (dy - s); };
    if (l.inner == 1) {
      return for_rows(l.outer, l.n, [&](int64_t r) {
        const C* dy = pdy + r * l.n;
        const C* y = py + r * l.n;
        const V s = V(C(sum_row<C>(l.n, [&](auto load) { return term(load(dy), load(y)); })));
        writer.write(r, [&](C* dx) {
          map_row(dx, l.n, [&](auto load) { return result(load(dy), load(y), s); });
        });
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

constexpr int64_t kRowBlock = 64;  // rows that share passes over vectors

/// out = exp(x - shift[row]) for a block of rows shorter than a vector, as one run of elements.
template <class C>
GS_FN void exp_short_rows(C* out, const C* x, const C* shift, int64_t rows, int64_t n) {
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t j = 0; j < n; ++j) out[k * n + j] = x[k * n + j] - shift[k];
  }
  map_row(out, rows * n, [&](auto load) { return exp(load(out)); });
}

/// Of a block of rows: the largest elements, and the sums of exp(x - largest).
template <class C>
GS_FN void exp_sums(const C* x, int64_t rows, int64_t n, C* most, double* sums) {
  using V = Native<C>;
  if (n >= V::size) {
    for (int64_t k = 0; k < rows; ++k) {
      const C m = most[k] = max_row(x + k * n, n);
      sums[k] = sum_row<C>(n, [&](auto load) {
        prefetch(load, x + (k + 1) * n);
        return exp(load(x + k * n) - V(m));
      });
    }
    return;
  }
  C terms[kRowBlock * V::size];
  for (int64_t k = 0; k < rows; ++k) {
    C m = C(-kInf);
    for (int64_t j = 0; j < n; ++j) m = Max().combine(m, x[k * n + j]);
    most[k] = m;
  }
  exp_short_rows(terms, x, most, rows, n);
  for (int64_t k = 0; k < rows; ++k) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += double(terms[k * n + j]);
    sums[k] = sum;
  }
}

// cross_entropy(loss, total weight, log-sums of rows; x, target, weight)
void cross_entropy(const Call& c) {
  const int64_t rows = c.in(0).sizes[0], n = c.i(1), reduction = c.i(2);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    const Targets<C> targets(c, 1, 2);
    const C* px = data_of<C>(c.in(0));
    C* loss = data_of<C>(c.out(0));
    C* sums = data_of<C>(c.out(2));
    const int64_t grain = std::max<int64_t>(1, kGrain / 4 / std::max<int64_t>(n, 1));
    const int64_t size = chunk_size(rows, grain), chunks = chunk_count(rows, grain);
    const Scratch<double> partial(2 * chunks);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      double total = 0, total_weight = 0, logs[kRowBlock];
      C most[kRowBlock];
      for (int64_t from = begin; from < end; from += kRowBlock) {
        const int64_t count = std::min(kRowBlock, end - from);
        exp_sums(px + from * n, count, n, most, logs);
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
    const RowWriter<C> writer(c.out(0), n);
    const C whole = reduction == 1 ? dy[0] / total : dy[0];
    parallel_for(rows, std::max<int64_t>(1, kGrain / 4 / std::max<int64_t>(n, 1)),
                 [&](int64_t begin, int64_t end) {
                   const auto factor = [&](int64_t r) {
                     return targets.of(r) * (reduction == 0 ? dy[r] : whole);
                   };
                   const bool is_short = n < V::size;
                   for (int64_t from = begin; from < end; from += kRowBlock) {
                     const int64_t count = std::min(kRowBlock, end - from);
                     if (is_short)
                       exp_short_rows(pdx + from * n, px + from * n, sums + from, count, n);
                     for (int64_t r = from; r < from + count; ++r) {
                       const int64_t t = targets.target[r];
                       const C k = factor(r);
                       if (is_short) {
                         C* dx = pdx + r * n;
                         for (int64_t j = 0; j < n; ++j)
                           dx[j] = t == targets.ignore ? C(0) : dx[j] * k;
                         if (t != targets.ignore) dx[t] -= k;
                         continue;
                       }
                       writer.write(r, [&](C* dx) {
                         if (t == targets.ignore) return void(std::fill_n(dx, n, C(0)));
                         const V f = V(k), s = V(sums[r]);
                         map_row(dx, n, [&](auto load) { return exp(load(px + r * n) - s) * f; });
                         dx[t] -= k;
                       });
                     }
                   }
                   stream_end();
                 });
  });
}

// ---- layer and rms norm ----
// params: eps, .., elements of a row

/// Rows whose roots and quotients are computed together: one by one, each row would wait for its
/// own. Their elements stay in the L1 until they are read again.
constexpr int64_t kNormRows = 16;
int64_t norm_rows(int64_t row_bytes) {
  return std::clamp<int64_t>((int64_t{1} << 14) / std::max<int64_t>(row_bytes, 1), 1, kNormRows);
}

// layer_norm(y, mean, scale; x, weight, bias); rms_norm has no mean and no bias.
template <bool kCentered>
void layer_norm(const Call& c) {
  const int64_t n = c.i(2), rows = c.out(2).numel;
  const double eps = c.f(0);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* const px = data_of<C>(c.in(0));
    const C* const w = data_or_null<C>(c.maybe_in(1));
    const C* const b = data_or_null<C>(c.maybe_in(2));
    C* const means = kCentered ? data_of<C>(c.out(1)) : nullptr;
    C* const scales = data_of<C>(c.out(2));
    const RowWriter<C> writer(c.out(0), n);
    const int64_t block = norm_rows(n * int64_t(sizeof(C)));
    const auto normalise = [&](int64_t begin, int64_t end) {
      double variance[kNormRows];
      for (int64_t r = begin; r < end; ++r) {
        const C* const x = px + r * n;
        if constexpr (kCentered) {
          const auto s = row_moments(x, n);
          means[r] = C(s.mean);
          variance[r - begin] = s.m2 / double(n);
        } else {
          variance[r - begin] =
              sum_row<C>(n, [&](auto load) { return load(x) * load(x); }) / double(n);
        }
      }
      map_row(variance, end - begin, [&](auto load) {
        using D = Native<double>;
        return D(1.0) / sqrt(load(variance) + D(eps));
      });
      for (int64_t r = begin; r < end; ++r) scales[r] = C(variance[r - begin]);
      for (int64_t r = begin; r < end; ++r) {
        const C* const x = px + r * n;
        const V m = V(kCentered ? means[r] : C(0)), k = V(scales[r]);
        writer.write(r, [=](C* y) {
          map_row(y, n, [=](auto load) {
            V v = (load(x) - m) * k;
            if (w) v = v * load(w);
            return b ? v + load(b) : v;
          });
        });
      }
    };
    parallel_for(rows, std::max<int64_t>(1, kGrain / 2 / std::max<int64_t>(n, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; r += block)
                     normalise(r, std::min(r + block, end));
                   stream_end();
                 });
  });
}

/// What a row adds to the sums, and its dx.
template <bool kCentered, class C>
auto norm_gradient(const Call& c, int64_t n) {
  using V = Native<C>;
  const C* const pdy = data_of<C>(c.in(0));
  const C* const px = data_of<C>(c.in(1));
  const C* const w = data_or_null<C>(c.maybe_in(2));
  const C* const means = data_or_null<C>(c.maybe_in(3));
  const C* const scales = data_of<C>(c.in(4));
  const bool dw = c.operands[1], db = c.operands[2];
  return [=, writer = RowWriter<C>(c.out(0), n)](int64_t r, C* a, C* b) {
    const C* x = px + r * n;
    const C* dy = pdy + r * n;
    const V m = V(kCentered ? means[r] : C(0)), k = V(scales[r]);
    const auto gradient = [&](auto load) { return w ? load(dy) * load(w) : load(dy); };
    const V s2 = V(C(sum_row<C>(n, [&](auto load) { return gradient(load) * (load(x) - m) * k; }) /
                     double(n)));
    const V s1 = V(kCentered ? C(sum_row<C>(n, gradient) / double(n)) : C(0));
    writer.write(r, [&](C* dx) {
      map_row(dx, n, [&](auto load) { return k * (gradient(load) - s1 - (load(x) - m) * k * s2); });
    });
    if (dw) map_row(a, n, [&](auto load) { return load(a) + load(dy) * ((load(x) - m) * k); });
    if (db) map_row(b, n, [&](auto load) { return load(b) + load(dy); });
  };
}

template <class C>
C* sums_of(const Call& c, int k) {
  return const_cast<C*>(data_or_null<C>(c.operands[k]));
}

// layer_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
template <bool kCentered>
void layer_norm_backward(const Call& c) {
  const int64_t n = c.i(2), rows = c.in(4).numel;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    sum_columns(rows, n, sums_of<C>(c, 1), sums_of<C>(c, 2), norm_gradient<kCentered, C>(c, n));
  });
}

// ---- parts of calls ----

template <class C>
C* address_of(const Call& c) {
  return reinterpret_cast<C*>(static_cast<intptr_t>(c.i(c.params.count - 1)));
}

// params: those of the whole, begin and end along axis 0 of dx, the address of all pieces.
template <bool kCentered>
void layer_norm_backward_part(const Call& c) {
  const int64_t n = c.i(2), rows = c.in(4).numel, in_one = rows / c.out(0).sizes[0];
  const int64_t begin = c.i(c.params.count - 3) * in_one, end = c.i(c.params.count - 2) * in_one;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    sum_pieces(begin / kPieceRows, (end + kPieceRows - 1) / kPieceRows, rows, n, address_of<C>(c),
               norm_gradient<kCentered, C>(c, n));
  });
}

// params: those of the whole, the address of all pieces.
void layer_norm_backward_sums(const Call& c) {
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    add_pieces(count_pieces(c.in(4).numel), c.i(2), address_of<C>(c), sums_of<C>(c, 1),
               sums_of<C>(c, 2));
  });
}

/// Rows are apart; mean and scale have one element for each.
bool cut_norm(const Call& c, int parts, Cut& cut) {
  cut.nanoseconds = 0.4 * static_cast<double>(c.in(0).numel);
  return c.out(0).ndim() > 0 && cut_rows(c, parts, 0b1111, cut);
}

template <bool kCentered>
bool cut_norm_backward(const Call& c, int parts, Cut& cut) {
  static const Op &part =
                      Op::get(kCentered ? "layer_norm_backward_part" : "rms_norm_backward_part"),
                  &sums = Op::get("layer_norm_backward_sums");
  const TensorImpl& dy = c.in(0);
  if (dy.ndim() == 0 || dy.numel == 0 || is_half(dy.dtype) || !c.operands[0]) return false;
  const int64_t n = c.i(2), rows = c.in(4).numel;
  cut.unit = kPieceRows / std::gcd(kPieceRows, rows / dy.sizes[0]);
  if (dy.sizes[0] <= cut.unit * (parts - 1) || !cut_rows(c, parts, 0b11011001, cut)) return false;
  cut.op = &part;
  cut.then = &sums;
  cut.params = c.params;
  cut.more_bytes = static_cast<size_t>(count_pieces(rows) * 2 * n) * element_size(dy.dtype);
  cut.nanoseconds = 0.8 * static_cast<double>(dy.numel);
  return true;
}

}  // namespace

void register_row_kernels() {
  [[maybe_unused]] static const CutRegistration layer("layer_norm", cut_norm),
      rms("rms_norm", cut_norm), layer_backward("layer_norm_backward", cut_norm_backward<true>),
      rms_backward("rms_norm_backward", cut_norm_backward<false>);
  add_kernel("softmax", &in_float<&softmax<false>>);
  add_kernel("log_softmax", &in_float<&softmax<true>>);
  add_kernel("softmax_backward", &in_float<&softmax_backward<false>>);
  add_kernel("log_softmax_backward", &in_float<&softmax_backward<true>>);
  add_kernel("cross_entropy", &in_float<&cross_entropy>);
  add_kernel("cross_entropy_backward", &in_float<&cross_entropy_backward>);
  add_kernel("layer_norm", &in_float<&layer_norm<true>>);
  add_kernel("layer_norm_backward", &in_float<&layer_norm_backward<true>>);
  add_kernel("layer_norm_backward_part", &layer_norm_backward_part<true>);
  add_kernel("rms_norm_backward_part", &layer_norm_backward_part<false>);
  add_kernel("layer_norm_backward_sums", &layer_norm_backward_sums);
  add_kernel("rms_norm", &in_float<&layer_norm<false>>);
  add_kernel("rms_norm_backward", &in_float<&layer_norm_backward<false>>);
}

}  // namespace GS_ISA
}  // namespace gradstep
