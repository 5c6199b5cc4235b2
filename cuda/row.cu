// SPDX-License-Identifier: Apache-2.0
// Softmax and cross entropy on a GPU, forward and backward (cuda/rows.h). Maximum and sum of a row
// come from one pass. Tensors are contiguous. Halves may come as they are; arithmetic is in float.
#include "cuda/reduce.h"
#include "cuda/rows.h"

namespace gradstep::cuda {

namespace {

// ---- softmax ----

template <class C>
using Sums = LogSumExp<C, C>;
template <class C>
using SumState = typename Sums<C>::State;

template <class C>
struct MergeSums {
  GS_DEVICE SumState<C> operator()(SumState<C> a, const SumState<C>& b) const {
    Sums<C>::merge(a, b);
    return a;
  }
};

/// A row with +inf has no probabilities.
template <class C>
GS_DEVICE C proper_sum(const SumState<C>& s) {
  return s.sum == C(kInf) ? C(kNan) : s.sum;
}

/// The sum of exp of a row, for its threads; false: there is no more to do in this launch.
template <class C, RowKind kKind>
GS_DEVICE bool row_sums(const RowShape& s, const RowPart<C>& part, const Row<C, kKind>& x,
                        int64_t row, bool exists, SumState<C>& sums) {
  sums = Sums<C>::init();
  if (exists && combines<kKind>(s)) {
    part.template each<kKind, 4>([&](int64_t k) { return x.at(k); },
                                 [&](int64_t, const typename RowPart<C>::Vector& v) {
                                   Sums<C>::template take<RowPart<C>::W>(sums, v.v, 0);
                                 });
  }
  return row_total<kKind>(s, row, sums, MergeSums<C>{}, Sums<C>::init());
}

struct SoftmaxArgs {
  RowShape shape;
  Operand y, x, dy;  // backward: y is an input, x the gradient that is written
  int64_t second;    // where y stands in shared memory, behind dy
};

template <class C, bool kLog>
GS_DEVICE C softmax_value(C x, const SumState<C>& s, C total) {
  return kLog ? x - s.shift - total : exp(x - s.shift) * total;
}
template <class C, bool kLog>
GS_DEVICE C softmax_total(const SumState<C>& s) {
  return kLog ? log(proper_sum<C>(s)) : C(1) / proper_sum<C>(s);
}
// softmax: dx = y * (dy - sum(dy * y)); log_softmax: dx = dy - exp(y) * sum(dy).
template <class C, bool kLog>
GS_DEVICE C softmax_term(C dy, C y) {
  return kLog ? dy : dy * y;
}
template <class C, bool kLog>
GS_DEVICE C softmax_gradient(C dy, C y, C sum) {
  return kLog ? dy - exp(y) * sum : y * (dy - sum);
}

template <class C, bool kLog, RowKind kKind>
__global__ void __launch_bounds__(kRowMost) softmax_rows(const __grid_constant__ SoftmaxArgs a) {
  GS_DYNAMIC_SHARED(char, shared);
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    const Row<C, kKind> x(part, a.x.p, a.x.type, r, exists, C(-kInf), shared);
    SumState<C> s;
    if (!row_sums<C, kKind>(a.shape, part, x, r, exists, s)) return;
    const C total = softmax_total<C, kLog>(s);
    if (!exists) return;
    part.template each<kKind, 4>([&](int64_t k) { return x.at(k); },
                                 [&](int64_t k, typename RowPart<C>::Vector v) {
                                   GS_UNROLL
                                   for (C& e : v.v) e = softmax_value<C, kLog>(e, s, total);
                                   part.store(a.y.p, a.y.type, x.base, k, v);
                                 });
  });
}

template <class C, bool kLog, RowKind kKind>
__global__ void __launch_bounds__(kRowMost)
    softmax_rows_backward(const __grid_constant__ SoftmaxArgs a) {
  GS_DYNAMIC_SHARED(char, shared);
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    using V = typename RowPart<C>::Vector;
    const Row<C, kKind> dy(part, a.dy.p, a.dy.type, r, exists, C(0), shared);
    const Row<C, kKind> y(part, a.y.p, a.y.type, r, exists, C(0), shared + a.second);
    const auto both = [&](int64_t k) { return Two<V>{dy.at(k), y.at(k)}; };
    C sum = C(0);
    if (exists && combines<kKind>(a.shape)) {
      part.template each<kKind, 2>(both, [&](int64_t, const Two<V>& v) {
        GS_UNROLL
        for (int e = 0; e < part.W; ++e) sum += softmax_term<C, kLog>(v.a.v[e], v.b.v[e]);
      });
    }
    if (!row_total<kKind>(a.shape, r, sum, AddValues{}, C(0)) || !exists) return;
    part.template each<kKind, 2>(both, [&](int64_t k, Two<V> v) {
      GS_UNROLL
      for (int e = 0; e < part.W; ++e)
        v.a.v[e] = softmax_gradient<C, kLog>(v.a.v[e], v.b.v[e], sum);
      part.store(a.x.p, a.x.type, dy.base, k, v.a);
    });
  });
}

// Along an outer axis: lines side by side, `down` threads for each.

struct Lines {
  int64_t lines, n, inner;
  int side, down;
};

/// Calls f(first element, exists, first and step of the thread, its line in the block).
template <class F>
GS_DEVICE void for_lines(const Lines& l, F f) {
  const int x = int(threadIdx.x) % l.side, row = int(threadIdx.x) / l.side;
  for (int64_t from = int64_t(blockIdx.x) * l.side; from < l.lines;
       from += int64_t(gridDim.x) * l.side) {
    const int64_t line = from + x;
    f(line / l.inner * l.n * l.inner + line % l.inner, line < l.lines, row, x);
    __syncthreads();
  }
}

struct LineArgs {
  Lines lines;
  Operand y, x, dy;
};

template <class C, bool kLog>
__global__ void __launch_bounds__(kReduceThreads)
    softmax_lines(const __grid_constant__ LineArgs a) {
  __shared__ SumState<C> results[kReduceThreads];
  const Lines& l = a.lines;
  for_lines(l, [&](int64_t base, bool exists, int row, int x) {
    SumState<C> s = Sums<C>::init();
    for (int64_t i = row; exists && i < l.n; i += l.down) {
      const C v = a.x.get<C>(base + i * l.inner);
      Sums<C>::template take<1>(s, &v, i);
    }
    merge_block<Sums<C>>(s, 1, l.side, l.down);
    if (row == 0) results[x] = s;
    __syncthreads();
    s = results[x];
    const C total = softmax_total<C, kLog>(s);
    for (int64_t i = row; exists && i < l.n; i += l.down) {
      const int64_t at = base + i * l.inner;
      a.y.set(at, softmax_value<C, kLog>(a.x.get<C>(at), s, total));
    }
  });
}

template <class C, bool kLog>
__global__ void __launch_bounds__(kReduceThreads)
    softmax_lines_backward(const __grid_constant__ LineArgs a) {
  __shared__ C results[kReduceThreads];
  const Lines& l = a.lines;
  for_lines(l, [&](int64_t base, bool exists, int row, int x) {
    auto s = Fold<Sum, C>::init();
    for (int64_t i = row; exists && i < l.n; i += l.down) {
      const int64_t at = base + i * l.inner;
      s += softmax_term<C, kLog>(a.dy.get<C>(at), a.y.get<C>(at));
    }
    merge_block<Fold<Sum, C>>(s, 1, l.side, l.down);
    if (row == 0) results[x] = C(s);
    __syncthreads();
    const C sum = results[x];
    for (int64_t i = row; exists && i < l.n; i += l.down) {
      const int64_t at = base + i * l.inner;
      a.x.set(at, softmax_gradient<C, kLog>(a.dy.get<C>(at), a.y.get<C>(at), sum));
    }
  });
}

template <bool kLog, bool kBackward>
void softmax_of(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const TensorImpl& first = call.in(0);
  const int64_t axis = call.i(0);
  int64_t outer = 1, n = 1, inner = 1;
  for (int d = 0; d < first.ndim(); ++d) {
    (d < axis ? outer : d == axis ? n : inner) *= first.sizes[d];
  }
  const Operand y(kBackward ? call.maybe_in(1) : &out), x(kBackward ? &out : &first),
      dy(kBackward ? &first : nullptr);
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    if (inner == 1) {
      SoftmaxArgs a{{}, y, x, dy, 0};
      if constexpr (kBackward) {
        const TensorImpl& result = call.in(1);
        a.shape = row_shape(call, outer, n, {&out, &first, &result}, {&first, &result});
        a.second = shared_row(a.shape, kFew<C>, int(element_size(first.dtype)));
      } else {
        a.shape = row_shape(call, outer, n, {&out, &first}, {&first});
      }
      return by_row_kind(a.shape, [&](auto kind) {
        if constexpr (kBackward)
          launch_rows(call, &softmax_rows_backward<C, kLog, kind.value>, a);
        else
          launch_rows(call, &softmax_rows<C, kLog, kind.value>, a);
      });
    }
    LineArgs a{{outer * inner, n, inner, 32, 8}, y, x, dy};
    for (; a.lines.down > 1 && a.lines.down * 8 > n; a.lines.down /= 2) a.lines.side *= 2;
    const unsigned blocks = blocks_for(call, outer * inner * a.lines.down, kReduceThreads);
    if constexpr (kBackward)
      launch_grid(call, &softmax_lines_backward<C, kLog>, blocks, kReduceThreads, a);
    else
      launch_grid(call, &softmax_lines<C, kLog>, blocks, kReduceThreads, a);
  });
}

// ---- cross entropy of rows ----
// params: ignore_index, classes, reduction (0 none, 1 mean, 2 sum)

struct CrossEntropyArgs {
  RowShape shape;
  Operand x, weight;
  const int64_t* target;
  int64_t ignore;
  int64_t reduction;
  Reporter reporter;
  Operand loss, total, sums;  // total: the weights of all rows
  double* partial;            // [blocks, 2]: losses and weights; null: there is one block
  Operand dy, dx;             // backward

  /// The class of row r, or -1 where it is ignored.
  GS_DEVICE int64_t class_of(int64_t r) const {
    const int64_t t = target[r];
    if (t == ignore) return -1;
    if (t >= 0 && t < shape.n) return t;
    report_trouble(reporter, Trouble::Target, 0, t, 0, 0);
    return -1;
  }
  template <class C>
  GS_DEVICE C weight_of(int64_t t) const {
    return t < 0 ? C(0) : weight.p ? weight.get<C>(t) : C(1);
  }
};

struct LossAndWeight {
  double loss, weight;
  GS_FN LossAndWeight operator+(const LossAndWeight& o) const {
    return {loss + o.loss, weight + o.weight};
  }
};

template <class C>
GS_DEVICE void write_losses(const CrossEntropyArgs& a, const LossAndWeight& s) {
  a.total.set(0, C(s.weight));
  if (a.reduction != 0) a.loss.set(0, C(a.reduction == 1 ? s.loss / s.weight : s.loss));
}

template <class C, RowKind kKind>
__global__ void __launch_bounds__(kRowMost)
    cross_entropy_rows(const __grid_constant__ CrossEntropyArgs a) {
  LossAndWeight mine = {0, 0};
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    const Row<C, kKind> x(part, a.x.p, a.x.type, r, exists, C(-kInf));
    SumState<C> s;
    if (!row_sums<C, kKind>(a.shape, part, x, r, exists, s) || !exists || part.t != 0) return;
    const double log_sum = double(s.shift) + double(log(proper_sum<C>(s)));
    a.sums.set(r, C(log_sum));
    const int64_t t = a.class_of(r);
    const double w = double(a.weight_of<C>(t));
    const double loss = t < 0 ? 0 : w * (log_sum - double(a.x.get<C>(x.base + t)));
    if (a.reduction == 0) a.loss.set(r, C(loss));
    mine = mine + LossAndWeight{loss, w};
  });
  mine = block_reduce(mine, AddValues{}, LossAndWeight{0, 0});
  if (threadIdx.x != 0) return;
  if (!a.partial) return write_losses<C>(a, mine);
  a.partial[2 * blockIdx.x] = mine.loss;
  a.partial[2 * blockIdx.x + 1] = mine.weight;
}

template <class C>
__global__ void __launch_bounds__(kReduceThreads)
    cross_entropy_total(const __grid_constant__ CrossEntropyArgs a, int64_t blocks) {
  LossAndWeight mine = {0, 0};
  for (int64_t k = threadIdx.x; k < blocks; k += kReduceThreads) {
    mine = mine + LossAndWeight{a.partial[2 * k], a.partial[2 * k + 1]};
  }
  mine = block_reduce(mine, AddValues{}, LossAndWeight{0, 0});
  if (threadIdx.x == 0) write_losses<C>(a, mine);
}

// cross_entropy(loss, total weight, log-sums of rows; x, target, weight)
void cross_entropy(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  const TensorImpl& x = call.in(0);
  CrossEntropyArgs a{};
  a.shape = row_shape(call, x.sizes[0], call.i(1), {&x});
  a.x = &x;
  a.weight = call.maybe_in(2);
  a.target = reinterpret_cast<const int64_t*>(call.in(1).data);
  a.ignore = call.i(0);
  a.reduction = call.i(2);
  a.reporter = reporter(call);
  a.loss = &call.out(0);
  a.total = &call.out(1);
  a.sums = &call.out(2);
  const unsigned blocks = row_blocks(call, a.shape, 16);
  const DeviceScratch<double> partial(blocks > 1 ? 2 * int64_t(blocks) : 0, call);
  a.partial = partial.data();
  by_real(call, [&](auto tag) {
    using C = decltype(tag);
    by_row_kind(a.shape, [&](auto kind) {
      // A row is read once: none stands in shared memory.
      if constexpr (kind.value != RowKind::Shared)
        launch_rows(call, &cross_entropy_rows<C, kind.value>, a, blocks);
    });
    if (blocks > 1)
      launch_grid(call, &cross_entropy_total<C>, 1, kReduceThreads, a, int64_t(blocks));
  });
}

template <class C>
__global__ void __launch_bounds__(kRowMost)
    cross_entropy_gradient(const __grid_constant__ CrossEntropyArgs a) {
  const C whole = a.reduction == 0   ? C(0)
                  : a.reduction == 1 ? a.dy.get<C>(0) / a.total.get<C>(0)
                                     : a.dy.get<C>(0);
  for_rows<C>(a.shape, [&](int64_t r, const RowPart<C>& part, bool exists) {
    if (!exists) return;
    const int64_t t = a.class_of(r), base = r * part.n;
    const C factor = a.weight_of<C>(t) * (a.reduction == 0 ? a.dy.get<C>(r) : whole);
    const C sum = a.sums.get<C>(r);
    part.template each<RowKind::Again, 4>(
        [&](int64_t k) { return part.load(a.x.p, a.x.type, base, k); },
        [&](int64_t k, typename RowPart<C>::Vector v) {
          GS_UNROLL
          for (int e = 0; e < part.W; ++e) {
            const C y = exp(v.v[e] - sum) * factor;
            v.v[e] = t < 0 ? C(0) : part.place(k, e) == t ? y - factor : y;
          }
          part.store(a.dx.p, a.dx.type, base, k, v);
        });
  });
}

// cross_entropy_backward(dx; dy, x, target, log-sums, total weight, weight)
void cross_entropy_backward(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  const TensorImpl& x = call.in(1);
  CrossEntropyArgs a{};
  a.shape = row_shape(call, x.sizes[0], call.i(1), {&x, &call.out(0)});
  a.x = &x;
  a.weight = call.maybe_in(5);
  a.target = reinterpret_cast<const int64_t*>(call.in(2).data);
  a.ignore = call.i(0);
  a.reduction = call.i(2);
  a.reporter = reporter(call);
  a.total = &call.in(4);
  a.sums = &call.in(3);
  a.dy = &call.in(0);
  a.dx = &call.out(0);
  // Nothing is combined, so one launch does for pieces too.
  by_real(call, [&](auto tag) {
    launch_grid(call, &cross_entropy_gradient<decltype(tag)>, row_blocks(call, a.shape, 16),
                unsigned(a.shape.block()), a);
  });
}

GS_CUDA_KERNEL("cross_entropy", cross_entropy);
GS_CUDA_KERNEL("cross_entropy_backward", cross_entropy_backward);
const CudaKernel kSoftmax[] = {
    {"softmax", &softmax_of<false, false>},
    {"log_softmax", &softmax_of<true, false>},
    {"softmax_backward", &softmax_of<false, true>},
    {"log_softmax_backward", &softmax_of<true, true>},
};

}  // namespace

}  // namespace gradstep::cuda
