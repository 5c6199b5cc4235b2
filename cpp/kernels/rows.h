// SPDX-License-Identifier: Apache-2.0
// What row.cpp and norm.cpp share: maps and sums over one row, loops over many.
//   for_rows(rows, n, [&](int64_t r) { map_row(y + r * n, n, [&](auto load) { return load(x + r *
//   n); }); });
// Compiled once for each instruction set. May include core, fn, graph/call.h.
#pragma once
#include <algorithm>
#include <optional>

#include "core/threads.h"
#include "fn/reduce.h"
#include "graph/call.h"
#include "kernels/stream.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {

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

/// Brings the place that load stands for in another row nearer: the row after this one, while there
/// is arithmetic to do.
template <class Load, class C>
GS_FN void prefetch(Load load, const C* row) {
  if constexpr (requires { load.at(row); }) __builtin_prefetch(load.at(row));
}

/// A whole vector at element i of a row.
template <class V>
struct LoadAt {
  int64_t i;
  GS_FN V operator()(const ScalarT<V>* p) const { return V::load(p + i); }
  GS_FN const ScalarT<V>* at(const ScalarT<V>* p) const { return p + i; }
};

/// The sum of f(load) over a row, blocks in double. f(load, keep) may also write: keep(q, v) stores
/// v into the row q and returns it.
template <class C, class F>
GS_FN double sum_row(int64_t n, F f) {
  using V = Native<C>;
  constexpr int N = V::size;
  const auto value = [&](auto load, auto keep) {
    if constexpr (requires { f(load, keep); })
      return f(load, keep);
    else
      return f(load);
  };
  const auto whole = [&](int64_t i) {
    return value(LoadAt<V>{i}, [=](C* q, V v) {
      v.store(q + i);
      return v;
    });
  };
  double total = 0;
  int64_t i = 0;
  while (i + N <= n) {
    const int64_t end = std::min<int64_t>(n, i + kReduceBlock);
    V a = V(C(0)), b = V(C(0));
    for (; i + 2 * N <= end; i += 2 * N) {
      a += whole(i);
      b += whole(i + N);
    }
    for (; i + N <= end; i += N) a += whole(i);
    total += hsum(a + b);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const V v = value([=](const C* p) { return load_some<V>(p + i, rest); },
                      [=](C* q, V x) {
                        store_some(q + i, x, rest);
                        return x;
                      });
    total += hsum(select(lane_numbers<V>() < V(C(rest)), v, V(C(0))));
  }
  return total;
}

/// Rows of an output: written where they belong, or through a buffer if the output is large. A
/// chunk of rows ends with stream_end(), as in for_rows and sum_columns.
template <class C>
class RowWriter {
 public:
  RowWriter(const TensorImpl& out, int64_t n)
      : data_(reinterpret_cast<C*>(out.data)),
        n_(n),
        streamed_(n <= kMost && is_streamed(out.numel * int64_t(sizeof(C)))) {}
  /// Calls f(row to write to) for row r; the row is complete when f returns.
  template <class F>
  GS_FN void write(int64_t r, F f) const {
    C* const row = data_ + r * n_;
    if (!streamed_) return f(row);
    alignas(64) C buffer[kMost];
    f(static_cast<C*>(buffer));
    stream_out(row, buffer, n_ * int64_t(sizeof(C)));
  }

 private:
  static constexpr int64_t kMost = 4096;
  C* data_;
  int64_t n_;
  bool streamed_;
};

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
                 stream_end();
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

/// Sums over rows of two numbers for each column: f(row, first, second) adds to them. Rows are
/// summed in pieces, the pieces in double.
constexpr int64_t kPieceRows = 64;
inline int64_t count_pieces(int64_t rows) {
  return std::max<int64_t>(1, (rows + kPieceRows - 1) / kPieceRows);
}

/// Pieces [begin, end), each 2 n elements of `partial`. One compiled copy: see run_body.
template <class C, class F>
[[gnu::noinline, gnu::noclone]] void sum_pieces(int64_t begin, int64_t end, int64_t rows, int64_t n,
                                                C* partial, const F& f) {
  for (int64_t k = begin; k < end; ++k) {
    C* a = partial + k * 2 * n;
    std::fill_n(a, 2 * n, C(0));
    for (int64_t r = k * kPieceRows; r < std::min(rows, (k + 1) * kPieceRows); ++r) f(r, a, a + n);
  }
  stream_end();
}

template <class C>
void add_pieces(int64_t pieces, int64_t n, const C* partial, C* first, C* second) {
  constexpr int64_t kBlock = 64;  // columns
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  const int64_t few = std::max<int64_t>(1, kGrain / (pieces * kBlock));
  parallel_for(blocks, few, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * kBlock; j < std::min(n, end * kBlock); j += kBlock) {
      const int64_t width = std::min(kBlock, n - j);
      for (C* out : {first, second}) {
        if (!out) continue;
        const C* p = partial + (out == second ? n : 0) + j;
        double sum[kBlock] = {};
        for (int64_t k = 0; k < pieces; ++k) {
          for (int64_t i = 0; i < width; ++i) sum[i] += p[k * 2 * n + i];
        }
        for (int64_t i = 0; i < width; ++i) out[j + i] = C(sum[i]);
      }
    }
  });
}

template <class C, class F>
void sum_columns(int64_t rows, int64_t n, C* first, C* second, const F& f) {
  if (n == 0) return;
  const int64_t pieces = count_pieces(rows);
  const Scratch<C> partial(pieces * 2 * n);
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n * kPieceRows));
  parallel_for(pieces, grain, [&](int64_t begin, int64_t end) {
    sum_pieces(begin, end, rows, n, partial.data(), f);
  });
  add_pieces(pieces, n, partial.data(), first, second);
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

/// Halves are computed in float32: runs a kernel of float and double on float copies of the
/// operands, of the first kInputs inputs.
template <Kernel kKernel, int kInputs = 6>
void in_float(const Call& c) {
  constexpr int kMost = 9;
  const int n = c.n_out + std::min<int>(c.n_in, kInputs);
  TensorImpl* operands[kMost];
  std::copy_n(c.operands, c.n_out + c.n_in, operands);
  TensorImpl floats[kMost];
  std::optional<Scratch<float>> memory[kMost];
  const auto copy = [](TensorImpl& to, TensorImpl& from) {
    static const Op& op = Op::get("copy");
    TensorImpl* pair[] = {&to, &from};
    // Not by launch(): a captured step has this call within the outer one.
    op.kernel[static_cast<int>(DeviceType::CPU)]({&op, Compute::F32, 1, 1, pair, {}});
  };
  bool halves = false;
  for (int k = 0; k < n; ++k) {
    TensorImpl* const t = c.operands[k];
    if (!t || !is_half(t->dtype)) continue;
    halves = true;
    TensorImpl& f = floats[k];
    f.sizes = t->sizes;
    f.strides = t->strides;
    f.update_geometry();
    memory[k].emplace(t->numel);
    f.data = reinterpret_cast<char*>(memory[k]->data());
    if (k >= c.n_out) copy(f, *t);
    operands[k] = &f;
  }
  if (!halves) return kKernel(c);
  Call call = c;
  call.operands = operands;
  kKernel(call);
  for (int k = 0; k < c.n_out; ++k) {
    if (operands[k] != c.operands[k]) copy(*c.operands[k], floats[k]);
  }
}

inline void add_kernel(const char* name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}

}  // namespace GS_ISA
}  // namespace gradstep
