// SPDX-License-Identifier: Apache-2.0
// The matmul call on the CPU: finds out how each operand lies in memory and hands it to gemm.
#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "graph/call.h"
#include "graph/cut.h"
#include "kernels/gemm.h"
#include "kernels/matmul.h"

namespace gradstep {

Matrix layout(const TensorImpl& t) {
  const int n = t.ndim();
  const int64_t rows = t.sizes[n - 2], cols = t.sizes[n - 1];
  const int64_t rs = t.strides[n - 2], cs = t.strides[n - 1];
  const int64_t batch_stride = n == 3 ? t.strides[0] : 0;
  const bool by_rows = (cs == 1 || cols == 1) && (rs >= cols || rows == 1);
  if (by_rows) return {false, rows == 1 ? std::max<int64_t>(cols, 1) : rs, batch_stride};
  return {true, cols == 1 ? std::max<int64_t>(rows, 1) : cs, batch_stride};
}

namespace {

template <class T>
void product(const Call& call, const T* a, const T* b, T* c, Matrix la, Matrix lb,
             int64_t c_stride) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& left = call.in(0);
  const int n = out.ndim();
  const int64_t rows = out.sizes[n - 2], cols = out.sizes[n - 1], k = left.sizes[n - 1];
  const T alpha = static_cast<T>(call.f(0));
  const T beta = static_cast<T>(call.f(1));
  if (n == 2) {
    gemm(la.transposed, lb.transposed, rows, cols, k, alpha, a, la.ld, b, lb.ld, beta, c, cols);
  } else {
    gemm_batched(out.sizes[0], la.transposed, lb.transposed, rows, cols, k, alpha, a, la.ld,
                 la.batch_stride, b, lb.ld, lb.batch_stride, beta, c, cols, c_stride);
  }
}

template <class T>
void matmul_native(const Call& call) {
  const TensorImpl& out = call.out(0);
  const auto* a = reinterpret_cast<const T*>(call.in(0).data);
  const auto* b = reinterpret_cast<const T*>(call.in(1).data);
  auto* c = reinterpret_cast<T*>(out.data);
  const Matrix la = layout(call.in(0)), lb = layout(call.in(1));
  const int n = out.ndim();
  if (call.n_in < 3) return product(call, a, b, c, la, lb, out.sizes[n - 2] * out.sizes[n - 1]);
  const TensorImpl& bias = call.in(2);
  gemm_bias(la.transposed, lb.transposed, out.sizes[0], out.sizes[1], call.in(0).sizes[1],
            static_cast<T>(call.f(0)), a, la.ld, b, lb.ld, c, out.sizes[1],
            reinterpret_cast<const T*>(bias.data), bias.ndim() ? bias.strides[0] : 0);
}

// Integers: plain loops.
template <class T>
void matmul_integer(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& a = call.in(0);
  const TensorImpl& b = call.in(1);
  const int n = out.ndim();
  const int64_t batches = n == 3 ? out.sizes[0] : 1;
  const int64_t rows = out.sizes[n - 2], cols = out.sizes[n - 1], depth = a.sizes[n - 1];
  const auto alpha = static_cast<int64_t>(call.f(0));
  const auto beta = static_cast<int64_t>(call.f(1));
  const T* bias = call.n_in == 3 ? reinterpret_cast<const T*>(call.in(2).data) : nullptr;
  const int64_t bias_step = bias && call.in(2).ndim() ? call.in(2).strides[0] : 0;
  auto* c = reinterpret_cast<T*>(out.data);
  const auto row = [&](int64_t g, int64_t i) {
    const T* pa = reinterpret_cast<const T*>(a.data) + (n == 3 ? g * a.strides[0] : 0);
    const T* pb = reinterpret_cast<const T*>(b.data) + (n == 3 ? g * b.strides[0] : 0);
    for (int64_t j = 0; j < cols; ++j) {
      int64_t sum = 0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<int64_t>(pa[i * a.strides[n - 2] + k * a.strides[n - 1]]) *
               static_cast<int64_t>(pb[k * b.strides[n - 2] + j * b.strides[n - 1]]);
      }
      T& dst = c[(g * rows + i) * cols + j];
      const int64_t plus = bias ? static_cast<int64_t>(bias[j * bias_step]) : 0;
      dst = convert<T>(alpha * sum + plus + (beta ? beta * static_cast<int64_t>(dst) : 0));
    }
  };
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cols * depth));
  parallel_for(batches * rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r / rows, r % rows);
  });
}

void matmul(const Call& call) {
  if (call.out(0).numel == 0) return;
  dispatch(call.out(0).dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_floating_point_v<T>) {
      matmul_native<T>(call);
    } else if constexpr (std::is_integral_v<T>) {
      matmul_integer<T>(call);
    } else {
      matmul_half(call);
    }
  });
}
GS_CPU_KERNEL("matmul", matmul);

// ---- a part of a product ----

/// The product of a call of matrices, with the bias if that is contiguous.
template <class T>
GemmArgs<T> args_of(const Call& call) {
  const TensorImpl& out = call.out(0);
  const Matrix la = layout(call.in(0)), lb = layout(call.in(1));
  const T beta = call.n_in < 3 ? static_cast<T>(call.f(1)) : T(0);
  GemmArgs<T> g =
      gemm_args(la.transposed, lb.transposed, out.sizes[0], out.sizes[1], call.in(0).sizes[1],
                static_cast<T>(call.f(0)), reinterpret_cast<const T*>(call.in(0).data), la.ld,
                reinterpret_cast<const T*>(call.in(1).data), lb.ld, beta,
                reinterpret_cast<T*>(out.data), out.sizes[1]);
  if (call.n_in == 3) g.bias = reinterpret_cast<const T*>(call.in(2).data);
  return g;
}

GemmCuts cuts_of(const Call& call) { return {call.i(2), call.i(3), call.i(4)}; }

template <class F>
void float_or_double(const Call& call, const F& f) {
  call.out(0).dtype == DType::Float32 ? f(float()) : f(double());
}

// matmul_part: operands of matmul; params: alpha, beta, cuts of the whole (3), 0 for rows and 1 for
// columns, begin, end.
void matmul_part(const Call& call) {
  float_or_double(call, [&](auto tag) {
    const auto g = args_of<decltype(tag)>(call);
    const int64_t begin = call.i(6), n = call.i(7) - begin;
    if (call.i(5) == 0) {
      gemm_part(g, cuts_of(call), begin, n, 0, g.n);
    } else {
      gemm_part(g, cuts_of(call), 0, g.m, begin, n);
    }
  });
}
GS_CPU_KERNEL("matmul_part", matmul_part);

// matmul_layers: the same params up to the cuts, then those of k: begin and end (multiples of the
// cut, or all), and the address of the layers but the first.
void matmul_layers(const Call& call) {
  float_or_double(call, [&](auto tag) {
    using T = decltype(tag);
    const int64_t depth = call.i(4), end = (call.i(6) + depth - 1) / depth;
    gemm_layers(args_of<T>(call), cuts_of(call), call.i(5) / depth, end,
                reinterpret_cast<T*>(static_cast<intptr_t>(call.i(7))));
  });
}
GS_CPU_KERNEL("matmul_layers", matmul_layers);

// matmul_add_layers: the same, but begin and end are rows of the output.
void matmul_add_layers(const Call& call) {
  float_or_double(call, [&](auto tag) {
    using T = decltype(tag);
    const GemmArgs<T> g = args_of<T>(call);
    gemm_add_layers(g, reinterpret_cast<const T*>(static_cast<intptr_t>(call.i(7))),
                    (g.k + call.i(4) - 1) / call.i(4) - 1, call.i(5), call.i(6));
  });
}
GS_CPU_KERNEL("matmul_add_layers", matmul_add_layers);

/// How a product is divided among threads: rows or columns of C, or k.
enum class Divided { Rows, Columns, Depth };

template <class T>
bool cut_product(const Call& call, int parts, Cut& cut) {
  constexpr int64_t kColumnUnit = 16;
  constexpr double kNanoseconds = 0.125;  // of a half cycle
  GemmArgs<T> g = args_of<T>(call);
  if (g.m < 2 || g.k < 1 || g.alpha == T(0)) return false;
  if (g.n == 1 && !gemm_column(g)) return false;
  const GemmCuts cuts = gemm_cuts(g);
  const auto share = [&](int64_t n, int64_t unit) {
    const int64_t units = (n + unit - 1) / unit;
    return units < parts ? 0 : std::min(n, (units + parts - 1) / parts * unit);
  };
  GemmArgs<T> rows = g, cols = g, layers = g;
  rows.m = share(g.m, 1);
  cols.n = share(g.n, kColumnUnit);
  layers.k = g.n == 1 ? 0 : share(g.k, cuts.depth);
  // Who makes rows of an output has made the same rows of other tensors, and of those that are
  // weights. What lies elsewhere comes from another core, unless nobody writes it.
  constexpr double kFromAnotherCore = 1.6;  // half cycles of an element
  constexpr double kWait = 8000, kAdd = 2;
  const double elsewhere = kFromAnotherCore * (parts - 1) / parts;
  const bool a_moves = !(cut.constant >> call.n_out & 1);
  const bool b_moves = !(cut.constant >> (call.n_out + 1) & 1);
  const auto cost = [&](const GemmArgs<T>& part, bool own_a, bool own_b, double more) {
    if (part.m == 0 || part.n == 0 || part.k == 0) return HUGE_VAL;
    const int64_t read =
        (own_a || !a_moves ? 0 : part.m * part.k) + (own_b || !b_moves ? 0 : part.k * part.n);
    return static_cast<double>(gemm_cost(part)) + elsewhere * static_cast<double>(read) + more;
  };
  const auto size = static_cast<double>(g.m * g.n);
  const double sums = static_cast<double>((g.k + cuts.depth - 1) / cuts.depth - 1);
  const double by_rows = cost(rows, g.a_col == 1, false, 0);
  const double by_cols = cost(cols, false, g.b_row == 1, elsewhere * size + kWait * a_moves);
  const double by_layers = cost(layers, g.a_row == 1, g.b_col == 1, kAdd * sums * size);
  const double best = std::min({by_rows, by_cols, by_layers});
  if (best == HUGE_VAL) return false;
  const Divided by = best == by_rows   ? Divided::Rows
                     : best == by_cols ? Divided::Columns
                                       : Divided::Depth;
  static const Op &part = Op::get("matmul_part"), &some = Op::get("matmul_layers"),
                  &add = Op::get("matmul_add_layers");
  cut.op = by == Divided::Depth ? &some : &part;
  cut.params.push(call.f(0));
  cut.params.push(call.n_in < 3 ? call.f(1) : 0.0);
  cut.params.push(cuts.rows);
  cut.params.push(cuts.cols);
  cut.params.push(cuts.depth);
  cut.nanoseconds = kNanoseconds * static_cast<double>(gemm_cost(g));
  if (by == Divided::Depth) {
    cut.then = &add;
    cut.then_rows = g.m;
    cut.more_bytes = static_cast<size_t>((g.k + cuts.depth - 1) / cuts.depth - 1) * sizeof(T) *
                     static_cast<size_t>(g.m * g.n);
    cut.size = g.k;
    cut.unit = cuts.depth;
    cut.along = {-1, 1, 0};
    if (call.n_in == 3) cut.along.push_back(-1);
    return true;
  }
  const int axis = by == Divided::Rows ? 0 : 1;
  cut.params.push(int64_t{axis});
  cut.size = axis == 0 ? g.m : g.n;
  // The blocks of the whole, if there are enough: a tile of the rows that one has over waits.
  const int64_t block = axis == 0 ? cuts.rows : cuts.cols;
  cut.unit = cut.size > block * (parts - 1) ? block : axis == 0 ? 1 : kColumnUnit;
  cut.along = {static_cast<int8_t>(axis), static_cast<int8_t>(axis == 0 ? 0 : -1),
               static_cast<int8_t>(axis == 0 ? -1 : 1)};
  if (call.n_in == 3) cut.along.push_back(static_cast<int8_t>(axis == 0 ? -1 : 0));
  return true;
}

bool cut_matmul(const Call& call, int parts, Cut& cut) {
  const TensorImpl& out = call.out(0);
  const bool contiguous_bias = call.n_in < 3 || (call.in(2).ndim() == 1 && call.in(2).contiguous);
  if (out.ndim() != 2 || out.numel == 0 || !contiguous_bias) return false;
  if (out.dtype == DType::Float32) return cut_product<float>(call, parts, cut);
  return out.dtype == DType::Float64 && cut_product<double>(call, parts, cut);
}
const CutRegistration cut_matmul_registration("matmul", cut_matmul);

}  // namespace

}  // namespace gradstep
