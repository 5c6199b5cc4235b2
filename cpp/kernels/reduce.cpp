// SPDX-License-Identifier: Apache-2.0
// The reduce skeleton on the CPU: one driver for all reductions, any strides and any set of axes.
// A reducer of fn/reduce.h gives four functions (table Reducer); the driver brings elements to them
// in the compute type, either as blocks (the reduction runs along the memory) or as tiles of rows
// whose columns are reduced side by side. Long reductions are cut in pieces that depend on the
// shape only; the pieces' states are merged pairwise, so results do not depend on the number of
// threads. Compiled once for each instruction set; register_reduce_kernels() is called by
// register.cpp.
#include "fn/reduce.h"

#include <algorithm>
#include <cstring>

#include "core/threads.h"
#include "graph/call.h"
#include "graph/cut.h"
#include "kernels/map.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

constexpr int kMaxState = 24;            // bytes of a reducer's state
constexpr int64_t kPiece = 32768;        // elements of one output that a task takes
constexpr int64_t kRowPiece = 512;       // rows of a column reduction that a task takes
constexpr int kShortReduction = 16;      // below this, outputs lie side by side in lanes
constexpr int64_t kReduceGrain = 32768;  // elements of a task

// ---- reducers behind pointers ----

struct Outputs {
  char* data[2] = {};
  DType dtype[2] = {};
};

struct Reducer {
  DType type;  // of the elements it takes
  int state_size;
  void (*init)(void* states, int n);
  void (*block)(void* state, const void* x, int n, int64_t index);
  void (*tile)(void* states, const void* x, int64_t row_stride, int rows, int columns,
               int64_t index);
  /// The whole of short reductions: outputs [0, n_rows), each of n elements in a row.
  void (*rows)(const void* x, int64_t row_stride, int64_t n_rows, int64_t n, double param,
               const Outputs& out, int64_t index, int64_t step);
  void (*merge)(void* state, const void* other);
  /// Writes n results, at elements index, index + step, ..
  void (*emit)(const void* states, int n, int64_t count, double param, const Outputs& out,
               int64_t index, int64_t step);
};

template <class V>
void put_value(const Outputs& out, int k, int64_t index, V value) {
  if (out.dtype[k] == dtype_of<V>) {
    reinterpret_cast<V*>(out.data[k])[index] = value;
  } else {
    dispatch(out.dtype[k], [&](auto tag) {
      using T = decltype(tag);
      reinterpret_cast<T*>(out.data[k])[index] = convert<T>(value);
    });
  }
}

template <class R>
struct Erased {
  using State = typename R::State;
  using C = typename R::C;
  static_assert(sizeof(State) <= kMaxState);

  static void init(void* states, int n) {
    for (int i = 0; i < n; ++i) static_cast<State*>(states)[i] = R::init();
  }
  static void block(void* state, const void* x, int n, int64_t index) {
    R::block(*static_cast<State*>(state), static_cast<const C*>(x), n, index);
  }
  static void tile(void* states, const void* x, int64_t row_stride, int rows, int columns,
                   int64_t index) {
    R::tile(static_cast<State*>(states), static_cast<const C*>(x), row_stride, rows, columns,
            index);
  }
  static void rows(const void* x, int64_t row_stride, int64_t n_rows, int64_t n, double param,
                   const Outputs& out, int64_t index, int64_t step) {
    for (int64_t r = 0; r < n_rows; ++r, index += step) {
      const C* row = static_cast<const C*>(x) + r * row_stride;
      State s = R::init();
      for (int64_t i = 0; i < n; i += kReduceBlock) {
        R::block(s, row + i, static_cast<int>(std::min<int64_t>(kReduceBlock, n - i)), i);
      }
      R::emit(s, n, param, [&](int k, auto value) {
        if (out.data[k]) put_value(out, k, index, value);
      });
    }
  }
  static void merge(void* state, const void* other) {
    R::merge(*static_cast<State*>(state), *static_cast<const State*>(other));
  }
  static void emit(const void* states, int n, int64_t count, double param, const Outputs& out,
                   int64_t index, int64_t step) {
    for (int i = 0; i < n; ++i) {
      R::emit(static_cast<const State*>(states)[i], count, param, [&](int k, auto value) {
        if (out.data[k]) put_value(out, k, index, value);
      });
      index += step;
    }
  }
  static constexpr Reducer table = {dtype_of<C>, sizeof(State), &init,  &block,
                                    &tile,       &rows,         &merge, &emit};
};

// ---- geometry ----

struct Axis {
  int64_t n;
  int64_t in;   // stride of the input in bytes
  int64_t out;  // stride of the outputs in elements
};

struct Axes {
  Axis axis[kMaxDims];
  int count = 0;
  int64_t numel = 1;

  // Outermost first; merged where both strides allow.
  void sort_and_merge() {
    for (int i = 1; i < count; ++i) {
      for (int j = i; j > 0 && axis[j - 1].in < axis[j].in; --j) std::swap(axis[j - 1], axis[j]);
    }
    int last = 0;
    for (int i = 1; i < count; ++i) {
      Axis& a = axis[last];
      const Axis& b = axis[i];
      if (a.in == b.in * b.n && a.out == b.out * b.n) {
        a = {a.n * b.n, b.in, b.out};
      } else {
        axis[++last] = b;
      }
    }
    count = count ? last + 1 : 0;
  }
};

/// A position in Axes, counted in order.
struct Cursor {
  const Axes& axes;
  int64_t index[kMaxDims];
  int64_t in = 0, out = 0;

  Cursor(const Axes& a, int64_t at) : axes(a) {
    for (int k = a.count - 1; k >= 0; --k) {
      const int64_t n = a.axis[k].n;
      index[k] = k ? at % n : at;
      at = k ? at / n : 0;
      in += index[k] * a.axis[k].in;
      out += index[k] * a.axis[k].out;
    }
  }
  /// Steps by n along the innermost axis, not beyond its end.
  void advance(int64_t n) {
    int k = axes.count - 1;
    if (k < 0) return;
    in += n * axes.axis[k].in;
    out += n * axes.axis[k].out;
    index[k] += n;
    while (index[k] == axes.axis[k].n && k > 0) {
      in += axes.axis[k - 1].in - index[k] * axes.axis[k].in;
      out += axes.axis[k - 1].out - index[k] * axes.axis[k].out;
      index[k] = 0;
      ++index[--k];
    }
  }
};

/// Brings elements of any type and stride to packed elements of the compute type.
struct Loader {
  ConvertLoop convert = nullptr;  // null: it is the compute type
  int64_t item = 0;
  int64_t wide = 0;  // size of the compute type

  template <class T>
  static void gather_as(const char* src, int64_t stride, void* dst, int64_t n) {
    T* d = static_cast<T*>(dst);
    for (int64_t i = 0; i < n; ++i) std::memcpy(d + i, src + i * stride, sizeof(T));
  }
  void gather(const char* src, int64_t stride, void* dst, int64_t n) const {
    switch (item) {
      case 1: return gather_as<uint8_t>(src, stride, dst, n);
      case 2: return gather_as<uint16_t>(src, stride, dst, n);
      case 4: return gather_as<uint32_t>(src, stride, dst, n);
      default: return gather_as<uint64_t>(src, stride, dst, n);
    }
  }
  /// n is at most kChunk.
  void load(const char* src, int64_t stride, void* dst, int64_t n) const {
    if (!convert) {
      if (stride == item) {
        std::memcpy(dst, src, static_cast<size_t>(n * item));
      } else {
        gather(src, stride, dst, n);
      }
    } else if (stride == item) {
      convert(dst, src, n);
    } else {
      alignas(64) char packed[kChunk * 8];
      gather(src, stride, packed, n);
      convert(dst, packed, n);
    }
  }
};

constexpr int64_t kLeastColumns = 4;  // with fewer each is reduced by itself

struct Plan {
  const Reducer& r;
  const char* data;
  Axes kept, reduced;
  Loader loader;
  Outputs out;
  double param = 0;
  bool columns = false;
  Axis lane = {1, 0, 0};  // the kept axis whose elements lie side by side; not in `kept`
};

// Reduces elements [begin, end) of one output's reduction.
void reduce_blocks(const Plan& p, void* state, const char* base, int64_t begin, int64_t end) {
  Cursor at(p.reduced, begin);
  const Axis run = p.reduced.count ? p.reduced.axis[p.reduced.count - 1] : Axis{1, 0, 0};
  const bool direct = !p.loader.convert && (run.in == p.loader.item || run.n == 1);
  if (direct && (run.n >= 64 || p.reduced.count <= 1)) {
    while (begin < end) {
      const int64_t left = p.reduced.count ? run.n - at.index[p.reduced.count - 1] : 1;
      const int64_t n = std::min<int64_t>({kReduceBlock, left, end - begin});
      p.r.block(state, base + at.in, static_cast<int>(n), begin);
      begin += n;
      if (begin < end) at.advance(n);
    }
    return;
  }
  alignas(64) char buffer[kChunk * 8];
  while (begin < end) {
    int64_t filled = 0;
    while (filled < kChunk && begin + filled < end) {
      const int64_t left = p.reduced.count ? run.n - at.index[p.reduced.count - 1] : 1;
      const int64_t n = std::min<int64_t>({kChunk - filled, left, end - begin - filled});
      p.loader.load(base + at.in, run.in, buffer + filled * p.loader.wide, n);
      filled += n;
      at.advance(n);
    }
    p.r.block(state, buffer, static_cast<int>(filled), begin);
    begin += filled;
  }
}

// Reduces rows [begin, end) of `columns` outputs side by side.
void reduce_tiles(const Plan& p, void* states, const char* base, int columns, int64_t begin,
                  int64_t end) {
  alignas(64) char buffer[kReduceRows * kReduceColumns * 8];
  Cursor at(p.reduced, begin);
  const Axis run = p.reduced.count ? p.reduced.axis[p.reduced.count - 1] : Axis{1, 0, 0};
  const bool direct =
      !p.loader.convert && p.lane.in == p.loader.item && run.in % p.loader.item == 0;
  while (begin < end) {
    const int64_t left = p.reduced.count ? run.n - at.index[p.reduced.count - 1] : 1;
    const int rows = static_cast<int>(std::min<int64_t>({kReduceRows, left, end - begin}));
    if (direct) {
      p.r.tile(states, base + at.in, run.in / p.loader.item, rows, columns, begin);
    } else {
      for (int r = 0; r < rows; ++r) {
        p.loader.load(base + at.in + r * run.in, p.lane.in, buffer + r * columns * p.loader.wide,
                      columns);
      }
      p.r.tile(states, buffer, columns, rows, columns, begin);
    }
    begin += rows;
    if (begin < end) at.advance(rows);
  }
}

// Merges `pieces` states that lie `step` bytes apart into the first, pairwise.
void merge_pieces(const Reducer& r, char* states, int64_t pieces, int64_t step) {
  for (int64_t width = 1; width < pieces; width *= 2) {
    for (int64_t i = 0; i + width < pieces; i += 2 * width) {
      r.merge(states + i * step, states + (i + width) * step);
    }
  }
}

void run_plan(const Plan& p) {
  const int64_t width = p.columns ? std::min<int64_t>(kReduceColumns, p.lane.n) : 1;
  const int64_t groups = p.columns ? (p.lane.n + width - 1) / width : 1;
  const int64_t units = p.kept.numel * groups;
  const int64_t count = p.reduced.numel;
  const int64_t piece = p.columns ? kRowPiece : kPiece;
  const int64_t pieces = count > 2 * piece ? (count + piece - 1) / piece : 1;
  const int64_t task_cost =
      std::max<int64_t>(1, std::min(count, pieces > 1 ? piece : count) * width);
  const int64_t grain = std::max<int64_t>(1, kReduceGrain / task_cost);

  // Reduces one piece of one unit into states.
  const auto reduce_unit = [&](void* states, int64_t unit_in, int64_t group, int64_t begin,
                               int64_t end) {
    if (p.columns) {
      const int n = static_cast<int>(std::min(width, p.lane.n - group * width));
      p.r.init(states, n);
      reduce_tiles(p, states, p.data + unit_in + group * width * p.lane.in, n, begin, end);
    } else {
      p.r.init(states, 1);
      reduce_blocks(p, states, p.data + unit_in, begin, end);
    }
  };
  const auto emit_unit = [&](const void* states, int64_t unit_out, int64_t group) {
    const int n = p.columns ? static_cast<int>(std::min(width, p.lane.n - group * width)) : 1;
    p.r.emit(states, n, count, p.param, p.out, unit_out + group * width * p.lane.out, p.lane.out);
  };

  // Rows that lie in memory as they are needed, a fixed distance apart.
  const bool rows = !p.columns && !p.loader.convert && p.kept.count == 1 && p.reduced.count == 1 &&
                    p.reduced.axis[0].in == p.loader.item && p.kept.axis[0].in % p.loader.item == 0;
  if (pieces == 1 && rows) {
    const Axis& kept = p.kept.axis[0];
    return parallel_for(units, grain, [&](int64_t begin, int64_t end) {
      p.r.rows(p.data + begin * kept.in, kept.in / p.loader.item, end - begin, count, p.param,
               p.out, begin * kept.out, kept.out);
    });
  }
  if (pieces == 1) {
    parallel_for(units, grain, [&](int64_t begin, int64_t end) {
      alignas(64) char states[kReduceColumns * kMaxState];
      Cursor at(p.kept, begin / groups);
      int64_t group = begin % groups;
      for (int64_t u = begin; u < end; ++u) {
        reduce_unit(states, at.in, group, 0, count);
        emit_unit(states, at.out, group);
        if (++group == groups) {
          group = 0;
          if (u + 1 < end) at.advance(1);
        }
      }
    });
    return;
  }

  const int64_t step = width * p.r.state_size;
  const Scratch<char> partials(units * pieces * step);
  parallel_for(units * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t unit = task / pieces, first = task % pieces * piece;
      const Cursor at(p.kept, unit / groups);
      reduce_unit(partials.data() + task * step, at.in, unit % groups, first,
                  std::min(count, first + piece));
    }
  });
  parallel_for(units, std::max<int64_t>(1, kReduceGrain / (pieces * width)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   char* states = partials.data() + unit * pieces * step;
                   const int64_t group = unit % groups;
                   const int64_t n = std::min(width, p.lane.n - group * width);
                   for (int64_t k = 0; k < n; ++k) {
                     merge_pieces(p.r, states + k * p.r.state_size, pieces, step);
                   }
                   emit_unit(states, Cursor(p.kept, unit / groups).out, group);
                 }
               });
}

// ---- the kernel ----

// params: 0 = the mask of reduced axes, 1 = the reducer's own parameter, a double.
void run_reducer(const Call& call, const Reducer& r) {
  const TensorImpl& x = call.in(0);
  const int64_t item = static_cast<int64_t>(element_size(x.dtype));
  const bool packed = x.dtype == r.type || (x.dtype == DType::Bool && r.type == DType::UInt8);
  Outputs out;
  for (int k = 0; k < call.n_out && k < 2; ++k) {
    out.data[k] = call.out(k).data;
    out.dtype[k] = call.out(k).dtype;
  }
  const int64_t n_out = call.out(0).numel;
  if (n_out == 0) return;
  const double param = call.params.count > 1 ? call.f(1) : 0;
  if (n_out == 1 && x.contiguous && packed && x.numel <= kReduceBlock) {
    alignas(64) char state[kMaxState];
    r.init(state, 1);
    if (x.numel > 0) r.block(state, x.data, static_cast<int>(x.numel), 0);
    r.emit(state, 1, x.numel, param, out, 0, 1);
    return;
  }

  Plan p{r, x.data, {}, {}, {}, out, param};
  p.loader.item = item;
  p.loader.wide = static_cast<int64_t>(element_size(r.type));
  p.loader.convert = packed ? nullptr : convert_loop(r.type, x.dtype);
  const auto mask = static_cast<uint64_t>(call.i(0));
  int64_t out_stride = 1;
  for (int d = x.ndim() - 1; d >= 0; --d) {
    const int64_t n = x.sizes[d];
    const bool is_reduced = mask >> d & 1;
    Axes& axes = is_reduced ? p.reduced : p.kept;
    axes.numel *= n;
    if (n != 1) axes.axis[axes.count++] = {n, x.strides[d] * item, is_reduced ? 0 : out_stride};
    if (!is_reduced) out_stride *= n;
  }
  if (p.reduced.numel == 0) {
    alignas(64) char state[kMaxState];
    r.init(state, 1);
    for (int64_t i = 0; i < n_out; ++i) r.emit(state, 1, 0, param, out, i, 1);
    return;
  }
  // The reduced axes were collected from the innermost outwards.
  std::reverse(p.reduced.axis, p.reduced.axis + p.reduced.count);
  std::reverse(p.kept.axis, p.kept.axis + p.kept.count);
  p.reduced.sort_and_merge();
  p.kept.sort_and_merge();
  if (p.kept.count > 0) {
    const Axis& inner = p.kept.axis[p.kept.count - 1];
    const bool along = p.reduced.count == 0 || inner.in < p.reduced.axis[p.reduced.count - 1].in;
    if ((along && inner.n >= kLeastColumns && inner.in > 0) ||
        (p.reduced.numel <= kShortReduction && inner.n >= 16)) {
      p.columns = true;
      p.lane = inner;
      --p.kept.count;
      p.kept.numel /= inner.n;
    }
  }
  run_plan(p);
}

template <template <class> class Of>
void reduce_any(const Call& call) {
  switch (call.compute) {
    case Compute::F32: return run_reducer(call, Erased<Of<float>>::table);
    case Compute::F64: return run_reducer(call, Erased<Of<double>>::table);
    case Compute::I64: return run_reducer(call, Erased<Of<int64_t>>::table);
  }
}

/// Reducers whose result is one of the elements take the commoner small integers as they are.
template <template <class> class Of>
void reduce_narrow(const Call& call) {
  const DType type = call.in(0).dtype;
  if (element_size(type) == 1 && type != DType::Int8) {
    return run_reducer(call, Erased<Of<uint8_t>>::table);
  }
  if (type == DType::Int32) return run_reducer(call, Erased<Of<int32_t>>::table);
  return reduce_any<Of>(call);
}

template <template <class> class Of>
void reduce_real(const Call& call) {
  GS_CHECK(call.compute != Compute::I64, "\"{}\" not implemented for 'Long'", call.op->name);
  return call.compute == Compute::F32 ? run_reducer(call, Erased<Of<float>>::table)
                                      : run_reducer(call, Erased<Of<double>>::table);
}

template <class F>
struct FoldOf {
  template <class C>
  using type = Fold<F, C>;
};
template <class C>
using MaxDim = ArgReduce<Greater, C, true>;
template <class C>
using MinDim = ArgReduce<Less, C, true>;
template <class C>
using ArgMax = ArgReduce<Greater, C, false>;
template <class C>
using ArgMin = ArgReduce<Less, C, false>;
template <class C>
using Variance = Moments<C, false>;
template <class C>
using Deviation = Moments<C, true>;
template <class C>
using LogOfSum = LogSumExp<C>;

void add_kernel(const char* name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}
template <class F>
void add_fold(const char* name) {
  add_kernel(name, &reduce_any<FoldOf<F>::template type>);
}
template <class F>
void add_narrow_fold(const char* name) {
  add_kernel(name, &reduce_narrow<FoldOf<F>::template type>);
}
template <class F>
void add_real_fold(const char* name) {
  add_kernel(name, &reduce_real<FoldOf<F>::template type>);
}

/// Sums over the rows of a matrix: by columns, which are summed side by side and apart.
bool cut_columns(const Call& c, int parts, Cut& cut) {
  constexpr int64_t kUnit = 16;
  const TensorImpl &x = c.in(0), &out = c.out(0);
  const int last = x.ndim() - 1;
  if (last < 1 || !x.contiguous || x.numel == 0) return false;
  const auto leading = (uint64_t{1} << last) - 1;
  const int64_t n = x.sizes[last];
  if (static_cast<uint64_t>(c.i(0)) != leading || n <= kUnit * (parts - 1)) return false;
  // The last part is reduced by columns, too.
  if (n <= kUnit * parts && n % kUnit != 0 && n % kUnit < kLeastColumns) return false;
  cut.size = n;
  cut.unit = kUnit;
  cut.along = {static_cast<int8_t>(out.ndim() - 1), static_cast<int8_t>(last)};
  cut.nanoseconds = 0.1 * static_cast<double>(x.numel);
  return true;
}

}  // namespace

void register_reduce_kernels() {
  [[maybe_unused]] static const CutRegistration cuts[] = {
      {"sum", cut_columns}, {"mean", cut_columns}, {"amax", cut_columns}, {"amin", cut_columns}};
  add_fold<Sum>("sum");
  add_real_fold<Mean>("mean");
  add_fold<Prod>("prod");
  add_real_fold<NanSum>("nansum");
  add_fold<CountNonzero>("count_nonzero");
  add_narrow_fold<Max>("amax");
  add_narrow_fold<Min>("amin");
  add_narrow_fold<Any>("any");
  add_narrow_fold<All>("all");
  add_real_fold<RootSumSquares>("norm_2");
  add_real_fold<AbsSum>("norm_1");
  add_real_fold<AbsMax>("norm_inf");
  add_real_fold<AbsMin>("norm_neg_inf");
  add_kernel("max_dim", &reduce_any<MaxDim>);
  add_kernel("min_dim", &reduce_any<MinDim>);
  add_kernel("argmax", &reduce_any<ArgMax>);
  add_kernel("argmin", &reduce_any<ArgMin>);
  add_kernel("var", &reduce_real<Variance>);
  add_kernel("std", &reduce_real<Deviation>);
  add_kernel("var_mean", &reduce_real<Variance>);
  add_kernel("std_mean", &reduce_real<Deviation>);
  add_kernel("logsumexp", &reduce_real<LogOfSum>);
}

}  // namespace GS_ISA
}  // namespace gradstep
