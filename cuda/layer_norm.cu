// SPDX-License-Identifier: Apache-2.0
// Layer, rms and group norm of rows on a GPU (cuda/rows.h); group norm's backward is in norm.cu.
// Tensors are contiguous. Halves may come as they are; statistics are summed in double.
#include "cuda/reduce.h"
#include "cuda/rows.h"

namespace gradstep::cuda {

namespace {

// Two rows and their sums of columns take more registers than threads of a full block have.
constexpr int kBackwardMost = 512;

struct NormArgs {
  RowShape shape;
  double eps;
  Operand x, weight, bias, mean, scale, y;
  int64_t inner = 0;  // 0: a weight for each element of a row; else one for so many neighbours,
  int64_t groups = 1, per_group = 1;  // the channels of group r % groups
  Operand dy, dx;                     // backward
  char* partial = nullptr;  // of the compute type, [2, blocks, n]: shares of dweight and dbias
  int64_t second = 0, columns = 0;  // in shared memory: dy behind x, the block's shares

  GS_DEVICE int64_t affine_place(int64_t row, int64_t j) const {
    return inner == 0 ? j : row % groups * per_group + j / inner;
  }
  /// Weights (or biases) of vector k; `absent` where there are none.
  template <class C>
  GS_DEVICE Few<C, kFew<C>> affine(const Operand& v, const RowPart<C>& part, int64_t row, int64_t k,
                                   C absent) const {
    constexpr int W = kFew<C>;
    Few<C, W> r;
    if (v.p && inner == 0) {
      if (part.few) return part.load(v.p, v.type, 0, k);
    }
    GS_UNROLL
    for (int e = 0; e < W; ++e) {
      const int64_t j = part.place(k, e);
      r.v[e] = v.p && j < part.n ? v.get<C>(affine_place(row, j)) : absent;
    }
    return r;
  }
};

template <class R>
struct MergeStates {
  using State = typename R::State;
  GS_DEVICE State operator()(State a, const State& b) const {
    R::merge(a, b);
    return a;
  }
};

template <class C>
struct Pair {
  C a, b;
  GS_FN Pair operator+(const Pair& o) const { return {a + o.a, b + o.b}; }
};

// y = weight * (x - mean) * scale + bias
template <class C, bool kCentered, RowKind kKind>
__global__ void __launch_bounds__(kRowMost) norm_rows(const __grid_constant__ NormArgs a) {
  using M = ShiftedMoments<C, false>;
  using Q = Fold<RootSumSquares, C>;
  GS_DYNAMIC_SHARED(char, shared);
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    using V = typename RowPart<C>::Vector;
    const Row<C, kKind> x(part, a.x.p, a.x.type, r, exists, C(0), shared);
    const auto values = [&](int64_t k) { return x.at(k); };
    const bool counts = exists && combines<kKind>(a.shape);
    double centre = 0, var = 0;
    if constexpr (kCentered) {
      auto none = M::init();
      if (exists && part.n > 0) M::start(none, a.x.get<C>(x.base));
      auto s = none;
      if (counts) {
        part.template each<kKind, 4>(values, [&](int64_t k, const V& v) {
          GS_UNROLL
          for (int e = 0; e < part.W; ++e) {
            if (part.place(k, e) < part.n) M::template take<1>(s, v.v + e, 0);
          }
        });
      }
      if (!row_total<kKind>(a.shape, r, s, MergeStates<M>{}, none)) return;
      auto m = Moments<C, false>::init();
      if (part.n > 0) m = Moments<C, false>::moments(double(part.n), double(s.centre), s.s1, s.s2);
      centre = m.mean;
      var = m.m2 / double(part.n);
    } else {
      auto s = Q::init();
      if (counts) {
        part.template each<kKind, 4>(
            values, [&](int64_t, const V& v) { Q::template take<part.W>(s, v.v, 0); });
      }
      if (!row_total<kKind>(a.shape, r, s, AddValues{}, Q::init())) return;
      var = double(s) / double(part.n);
    }
    if (!exists) return;
    const C mean = C(centre), scale = C(1 / sqrt(var + a.eps));
    if (part.t == 0) {
      if (kCentered) a.mean.set(r, mean);
      a.scale.set(r, scale);
    }
    part.template each<kKind, 4>(values, [&](int64_t k, V v) {
      const auto w = a.affine<C>(a.weight, part, r, k, C(1));
      const auto b = a.affine<C>(a.bias, part, r, k, C(0));
      GS_UNROLL
      for (int e = 0; e < part.W; ++e) v.v[e] = (v.v[e] - mean) * scale * w.v[e] + b.v[e];
      part.store(a.y.p, a.y.type, x.base, k, v);
    });
  });
}

template <class V>
GS_DEVICE V sum(V a, const V& b) {
  GS_UNROLL
  for (int e = 0; e < int(sizeof(a.v) / sizeof(a.v[0])); ++e) a.v[e] += b.v[e];
  return a;
}

/// Vector k to its place in a row of columns.
template <class C>
GS_DEVICE void write_vector(const RowPart<C>& part, int64_t k, const Few<C, kFew<C>>& v, C* out) {
  GS_UNROLL
  for (int e = 0; e < part.W; ++e) {
    if (part.place(k, e) < part.n) out[part.place(k, e)] = v.v[e];
  }
}

/// The sums over the block's rows of what its threads have for each column, to row blockIdx.x of
/// `out`.
template <class C>
GS_DEVICE void write_columns(const RowShape& s, const RowPart<C>& part, const Few<C, kFew<C>>* mine,
                             C* out) {
  constexpr int kColumns = kRowsBlock * kRowHeld;
  if (s.threads > 32) {
    GS_UNROLL
    for (int k = 0; k < kRowHeld / part.W; ++k) write_vector(part, k, mine[k], out);
    return;
  }
  __shared__ C columns[kColumns];
  const int group = int(threadIdx.x) / s.threads;
  __syncthreads();
  GS_UNROLL
  for (int k = 0; k < kRowHeld / part.W; ++k) {
    GS_UNROLL
    for (int e = 0; e < part.W; ++e) {
      columns[group * s.threads * kRowHeld + part.place(k, e)] = mine[k].v[e];
    }
  }
  __syncthreads();
  for (int j = int(threadIdx.x); j < int(s.n); j += kRowsBlock) {
    C sum = C(0);
    for (int g = 0; g < s.in_block(); ++g) sum += columns[g * s.threads * kRowHeld + j];
    out[j] = sum;
  }
}

// dx = scale * (g - mean(g) - xn * mean(g * xn)), g = dy * weight, xn = (x - mean) * scale;
// dweight = sum(dy * xn), dbias = sum(dy): a block adds up its rows in registers or, where rows
// stand in shared memory, there.
template <class C, bool kCentered, RowKind kKind>
__global__ void __launch_bounds__(kBackwardMost)
    norm_rows_backward(const __grid_constant__ NormArgs a) {
  constexpr int W = RowPart<C>::W, kVectors = kRowHeld / W;
  using V = Few<C, W>;
  GS_DYNAMIC_SHARED(char, shared);
  V dw[kVectors] = {}, db[kVectors] = {};
  V* const columns = reinterpret_cast<V*>(shared + a.columns);  // dweight's, then dbias's
  const int64_t vectors = a.shape.turns(W) * a.shape.threads;
  if (kKind == RowKind::Shared && a.partial) {
    for (int64_t v = threadIdx.x; v < 2 * vectors; v += a.shape.threads) columns[v] = V{};
  }
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    const Row<C, kKind> x(part, a.x.p, a.x.type, r, exists, C(0), shared);
    const Row<C, kKind> dy(part, a.dy.p, a.dy.type, r, exists, C(0), shared + a.second);
    const auto both = [&](int64_t k) { return Two<V>{x.at(k), dy.at(k)}; };
    const C mean = kCentered && exists ? a.mean.get<C>(r) : C(0);
    const C scale = exists ? a.scale.get<C>(r) : C(0);
    Pair<double> sums = {0, 0};
    if (exists && combines<kKind>(a.shape)) {
      part.template each<kKind, 2>(both, [&](int64_t k, const Two<V>& v) {
        const auto w = a.affine<C>(a.weight, part, r, k, C(1));
        Pair<C> s = {C(0), C(0)};
        GS_UNROLL
        for (int e = 0; e < W; ++e) {
          // dy is 0 behind the row.
          const C xn = (v.a.v[e] - mean) * scale, gw = v.b.v[e] * w.v[e];
          s = s + Pair<C>{gw, gw * xn};
        }
        sums = sums + Pair<double>{double(s.a), double(s.b)};
      });
    }
    if (!row_total<kKind>(a.shape, r, sums, AddValues{}, Pair<double>{0, 0}) || !exists) return;
    const C s1 = kCentered ? C(sums.a / double(part.n)) : C(0), s2 = C(sums.b / double(part.n));
    part.template each<kKind, 2>(both, [&](int64_t k, const Two<V>& v) {
      const auto w = a.affine<C>(a.weight, part, r, k, C(1));
      V out, of_weight;
      GS_UNROLL
      for (int e = 0; e < W; ++e) {
        const C xn = (v.a.v[e] - mean) * scale;
        out.v[e] = scale * (v.b.v[e] * w.v[e] - s1 - xn * s2);
        of_weight.v[e] = v.b.v[e] * xn;
        if constexpr (kKind == RowKind::Held) {
          dw[k].v[e] += of_weight.v[e];
          db[k].v[e] += v.b.v[e];
        }
      }
      if (kKind == RowKind::Shared && a.partial) {
        const int64_t at = k * part.threads + part.t;
        columns[at] = sum(columns[at], of_weight);
        columns[vectors + at] = sum(columns[vectors + at], v.b);
      }
      part.store(a.dx.p, a.dx.type, x.base, k, out);
    });
  });
  if (kKind == RowKind::Again || !a.partial) return;
  const int group = a.shape.threads > 32 ? 0 : int(threadIdx.x) / a.shape.threads;
  const RowPart<C> part{a.shape.n, a.shape.threads, int(threadIdx.x) - group * a.shape.threads,
                        a.shape.few};
  C* const out = reinterpret_cast<C*>(a.partial) + blockIdx.x * a.shape.n;
  C* const out_bias = out + gridDim.x * a.shape.n;
  if constexpr (kKind == RowKind::Held) {
    write_columns<C>(a.shape, part, dw, out);
    write_columns<C>(a.shape, part, db, out_bias);
  } else {
    for (int64_t k = 0; k < a.shape.turns(W); ++k) {
      write_vector(part, k, columns[k * part.threads + part.t], out);
      write_vector(part, k, columns[vectors + k * part.threads + part.t], out_bias);
    }
  }
}

/// Shares of long rows' dweight and dbias: a thread has a column, a block some of the rows.
template <class C, bool kCentered>
__global__ void __launch_bounds__(kReduceThreads) norm_columns(const __grid_constant__ NormArgs a) {
  const int64_t n = a.shape.n;
  C* const out = reinterpret_cast<C*>(a.partial) + blockIdx.y * n;
  for (int64_t j = first_index(); j < n; j += index_stride()) {
    C dw = C(0), db = C(0);
    for (int64_t r = blockIdx.y; r < a.shape.rows; r += gridDim.y) {
      const C dy = a.dy.get<C>(r * n + j), mean = kCentered ? a.mean.get<C>(r) : C(0);
      dw += dy * ((a.x.get<C>(r * n + j) - mean) * a.scale.get<C>(r));
      db += dy;
    }
    out[j] = dw;
    out[gridDim.y * n + j] = db;
  }
}

/// Two sums side by side.
template <class C_>
struct SumPairs {
  using C = C_;
  using State = Pair<double>;
  using Pairs = void;
  GS_FN static State init() { return {0, 0}; }
  GS_FN static void start(State&, C) {}
  template <int W>
  GS_FN static void take(State& s, const C* x, const C* y) {
    for (int k = 0; k < W; ++k) s = s + State{double(x[k]), double(y[k])};
  }
  GS_FN static void merge(State& s, const State& t) { s = s + t; }
  template <class Put>
  GS_FN static void emit(const State& s, int64_t, double, Put put) {
    put(0, s.a);
    put(1, s.b);
  }
};

/// dweight and dbias from the blocks' shares.
template <class C>
void sum_shares(const Call& call, const char* partial, int64_t blocks, int64_t n) {
  ReduceArgs a;
  a.in[0] = partial;
  a.in[1] = partial + size_t(blocks * n) * sizeof(C);
  for (int k = 0; k < 2; ++k) {
    const Operand out(call.operands[k + 1]);
    a.type[k] = dtype_of<C>;
    a.out[k] = out.p;
    a.out_type[k] = out.type;
  }
  a.outputs = n;
  a.count = blocks;
  a.kept.add(n, {1, 1});
  a.kept.finish();
  a.reduced.add(blocks, {n});
  a.reduced.finish();
  run_reduction<SumPairs<C>>(call, a);
}

// params: eps, .., elements of a row
// layer_norm(y, mean, scale; x, weight, bias); rms_norm has no mean and no bias.
template <bool kCentered>
void layer_norm(const Call& call) {
  const TensorImpl& x = call.in(0);
  if (x.numel == 0) return;
  const DeviceGuard guard(x.device.index);
  NormArgs a;
  a.eps = call.f(0);
  a.shape = row_shape(call, call.out(2).numel, call.i(2),
                      {&x, &call.out(0), call.maybe_in(1), call.maybe_in(2)}, {&x});
  a.x = &x;
  a.weight = call.maybe_in(1);
  a.bias = call.maybe_in(2);
  a.y = &call.out(0);
  a.mean = call.operands[1];
  a.scale = &call.out(2);
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    by_row_kind(a.shape,
                [&](auto kind) { launch_rows(call, &norm_rows<C, kCentered, kind.value>, a); });
  });
}

// layer_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
template <bool kCentered>
void layer_norm_backward(const Call& call) {
  const TensorImpl& x = call.in(1);
  const int64_t n = call.i(2);
  if (n == 0) return;
  const DeviceGuard guard(x.device.index);
  NormArgs a;
  a.dy = &call.in(0);
  a.x = &x;
  a.weight = call.maybe_in(2);
  a.mean = call.maybe_in(3);
  a.scale = &call.in(4);
  a.dx = &call.out(0);
  const bool affine = call.operands[1] || call.operands[2];
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    a.shape =
        row_shape(call, call.in(4).numel, n, {&x, &call.in(0), &call.out(0), call.maybe_in(2)},
                  {&x, &call.in(0)}, kBackwardMost, affine ? 2 * int(sizeof(C)) : 0);
    a.second = shared_row(a.shape, kFew<C>, int(element_size(x.dtype)));
    a.columns = a.second + shared_row(a.shape, kFew<C>, int(element_size(call.in(0).dtype)));
    // Blocks with shares of dweight are as few as hide the memory's latency: shares are written and
    // read again.
    const int processors = multiprocessors(x.device.index);
    const bool again = a.shape.kind == RowKind::Again;
    const int64_t blocks =
        !again ? std::min<int64_t>(row_blocks(call, a.shape, 1), int64_t(processors) * 8)
               : std::min<int64_t>((a.shape.rows + 15) / 16, int64_t(processors));
    const DeviceScratch<C> partial(affine ? 2 * blocks * n : 0, call);
    a.partial = reinterpret_cast<char*>(partial.data());
    by_row_kind(a.shape, [&](auto kind) {
      launch_rows(call, &norm_rows_backward<C, kCentered, kind.value>, a,
                  affine && !again ? unsigned(blocks) : 0);
    });
    if (!affine) return;
    if (again) {
      const dim3 grid(blocks_for(call, n, kReduceThreads), unsigned(blocks));
      launch_grid(call, &norm_columns<C, kCentered>, grid, kReduceThreads, a);
    }
    sum_shares<C>(call, a.partial, blocks, n);
  });
}

// group_norm(y, mean, scale; x, weight, bias); params: eps, groups. A group is a row.
void group_norm(const Call& call) {
  const TensorImpl& x = call.in(0);
  const int64_t rows = call.out(1).numel;
  if (rows == 0) return;
  const DeviceGuard guard(x.device.index);
  NormArgs a;
  a.eps = call.f(0);
  a.groups = call.i(1);
  a.per_group = x.sizes[1] / a.groups;
  a.shape = row_shape(call, rows, x.numel / rows, {&x, &call.out(0)}, {&x});
  a.inner = std::max<int64_t>(1, a.shape.n / std::max<int64_t>(1, a.per_group));
  a.x = &x;
  a.weight = call.maybe_in(1);
  a.bias = call.maybe_in(2);
  a.y = &call.out(0);
  a.mean = &call.out(1);
  a.scale = &call.out(2);
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    by_row_kind(a.shape, [&](auto kind) { launch_rows(call, &norm_rows<C, true, kind.value>, a); });
  });
}

GS_CUDA_KERNEL("group_norm", group_norm);
const CudaKernel kKernels[] = {
    {"layer_norm", &layer_norm<true>},
    {"layer_norm_backward", &layer_norm_backward<true>},
    {"rms_norm", &layer_norm<false>},
    {"rms_norm_backward", &layer_norm_backward<false>},
};

}  // namespace

}  // namespace gradstep::cuda
