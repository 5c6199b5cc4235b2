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
#include <string>

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
constexpr int64_t kTwoPieces = 128;      // with so many rows there are two pieces in any case
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
  void (*merge)(void* states, const void* others, int n);
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
  static void merge(void* states, const void* others, int n) {
    for (int i = 0; i < n; ++i)
      R::merge(static_cast<State*>(states)[i], static_cast<const State*>(others)[i]);
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

// Merges the n states of each piece, `step` bytes from one to the next, into the first, pairwise.
void merge_pieces(const Reducer& r, char* states, int n, int64_t pieces, int64_t step) {
  for (int64_t width = 1; width < pieces; width *= 2) {
    for (int64_t i = 0; i + width < pieces; i += 2 * width) {
      r.merge(states + i * step, states + (i + width) * step, n);
    }
  }
}

/// How a plan is divided: units are outputs, or groups of columns that are reduced side by side;
/// long reductions are made of pieces, whose states lie one after the other for each unit.
struct Pieces {
  int64_t width, groups, units;
  int64_t count;  // elements, or rows, that are reduced
  int64_t piece = 0, pieces = 1;
  int64_t step;  // bytes from a piece's states to the next one's

  explicit Pieces(const Plan& p)
      : width(p.columns ? std::min<int64_t>(kReduceColumns, p.lane.n) : 1),
        groups(p.columns ? (p.lane.n + width - 1) / width : 1),
        units(p.kept.numel * groups),
        count(p.reduced.numel),
        step(width * p.r.state_size) {
    const int64_t most = p.columns ? kRowPiece : kPiece;
    if (count > 2 * most) {
      piece = most;
    } else if (p.columns && count >= kTwoPieces) {
      piece = (count / 2 + kReduceRows - 1) / kReduceRows * kReduceRows;
    } else {
      return;
    }
    pieces = (count + piece - 1) / piece;
  }
  int columns(const Plan& p, int64_t group) const {
    return p.columns ? static_cast<int>(std::min(width, p.lane.n - group * width)) : 1;
  }
  int64_t bytes() const { return units * pieces * step; }
};

/// Reduces elements [begin, end) of one unit into states.
void reduce_unit(const Plan& p, const Pieces& d, void* states, int64_t unit_in, int64_t group,
                 int64_t begin, int64_t end) {
  const int n = d.columns(p, group);
  p.r.init(states, n);
  if (p.columns) {
    reduce_tiles(p, states, p.data + unit_in + group * d.width * p.lane.in, n, begin, end);
  } else {
    reduce_blocks(p, states, p.data + unit_in, begin, end);
  }
}

void emit_unit(const Plan& p, const Pieces& d, const void* states, int64_t unit_out,
               int64_t group) {
  p.r.emit(states, d.columns(p, group), d.count, p.param, p.out,
           unit_out + group * d.width * p.lane.out, p.lane.out);
}

void reduce_piece(const Plan& p, const Pieces& d, char* partials, int64_t unit, int64_t piece) {
  const Cursor at(p.kept, unit / d.groups);
  reduce_unit(p, d, partials + (unit * d.pieces + piece) * d.step, at.in, unit % d.groups,
              piece * d.piece, std::min(d.count, (piece + 1) * d.piece));
}

void finish_unit(const Plan& p, const Pieces& d, char* partials, int64_t unit) {
  char* states = partials + unit * d.pieces * d.step;
  const int64_t group = unit % d.groups;
  merge_pieces(p.r, states, d.columns(p, group), d.pieces, d.step);
  emit_unit(p, d, states, Cursor(p.kept, unit / d.groups).out, group);
}

void run_plan(const Plan& p) {
  const Pieces d(p);
  const int64_t task = std::min(d.count, d.pieces > 1 ? d.piece : d.count) * d.width;
  const int64_t grain = std::max<int64_t>(1, kReduceGrain / std::max<int64_t>(1, task));

  // Rows that lie in memory as they are needed, a fixed distance apart.
  const bool rows = !p.columns && !p.loader.convert && p.kept.count == 1 && p.reduced.count == 1 &&
                    p.reduced.axis[0].in == p.loader.item && p.kept.axis[0].in % p.loader.item == 0;
  if (d.pieces == 1 && rows) {
    const Axis& kept = p.kept.axis[0];
    return parallel_for(d.units, grain, [&](int64_t begin, int64_t end) {
      p.r.rows(p.data + begin * kept.in, kept.in / p.loader.item, end - begin, d.count, p.param,
               p.out, begin * kept.out, kept.out);
    });
  }
  if (d.pieces == 1) {
    parallel_for(d.units, grain, [&](int64_t begin, int64_t end) {
      alignas(64) char states[kReduceColumns * kMaxState];
      Cursor at(p.kept, begin / d.groups);
      int64_t group = begin % d.groups;
      for (int64_t u = begin; u < end; ++u) {
        reduce_unit(p, d, states, at.in, group, 0, d.count);
        emit_unit(p, d, states, at.out, group);
        if (++group == d.groups) {
          group = 0;
          if (u + 1 < end) at.advance(1);
        }
      }
    });
    return;
  }

  const Scratch<char> partials(d.bytes());
  parallel_for(d.units * d.pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      reduce_piece(p, d, partials.data(), k / d.pieces, k % d.pieces);
  });
  parallel_for(d.units, std::max<int64_t>(1, kReduceGrain / (d.pieces * d.width)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t u = begin; u < end; ++u) finish_unit(p, d, partials.data(), u);
               });
}

// ---- the kernel ----

// params: 0 = the mask of reduced axes, 1 = the reducer's own parameter, a double.
double own_param(const Call& call) { return call.params.count > 1 ? call.f(1) : 0; }

bool is_packed(const Call& call, const Reducer& r) {
  const DType type = call.in(0).dtype;
  return type == r.type || (type == DType::Bool && r.type == DType::UInt8);
}

Outputs outputs_of(const Call& call) {
  Outputs out;
  for (int k = 0; k < call.n_out && k < 2; ++k) {
    out.data[k] = call.out(k).data;
    out.dtype[k] = call.out(k).dtype;
  }
  return out;
}

Plan plan_of(const Call& call, const Reducer& r) {
  const TensorImpl& x = call.in(0);
  const auto item = static_cast<int64_t>(element_size(x.dtype));
  Plan p{r, x.data, {}, {}, {}, outputs_of(call), own_param(call)};
  p.loader.item = item;
  p.loader.wide = static_cast<int64_t>(element_size(r.type));
  p.loader.convert = is_packed(call, r) ? nullptr : convert_loop(r.type, x.dtype);
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
  return p;
}

void run_reducer(const Call& call, const Reducer& r) {
  const TensorImpl& x = call.in(0);
  const int64_t n_out = call.out(0).numel;
  if (n_out == 0) return;
  if (n_out == 1 && x.contiguous && is_packed(call, r) && x.numel <= kReduceBlock) {
    alignas(64) char state[kMaxState];
    r.init(state, 1);
    if (x.numel > 0) r.block(state, x.data, static_cast<int>(x.numel), 0);
    r.emit(state, 1, x.numel, own_param(call), outputs_of(call), 0, 1);
    return;
  }
  const Plan p = plan_of(call, r);
  if (p.reduced.numel > 0) return run_plan(p);
  alignas(64) char state[kMaxState];
  r.init(state, 1);
  for (int64_t i = 0; i < n_out; ++i) r.emit(state, 1, 0, p.param, p.out, i, 1);
}

template <template <class> class Of>
const Reducer& reducer_of(const Call& call) {
  switch (call.compute) {
    case Compute::F32: return Erased<Of<float>>::table;
    case Compute::F64: return Erased<Of<double>>::table;
    case Compute::I64: break;
  }
  return Erased<Of<int64_t>>::table;
}

template <template <class> class Of>
const Reducer& real_reducer_of(const Call& call) {
  GS_CHECK(call.compute != Compute::I64, "\"{}\" not implemented for 'Long'", call.op->name);
  return call.compute == Compute::F32 ? Erased<Of<float>>::table : Erased<Of<double>>::table;
}

template <template <class> class Of>
void reduce_any(const Call& call) {
  run_reducer(call, reducer_of<Of>(call));
}

template <template <class> class Of>
void reduce_real(const Call& call) {
  run_reducer(call, real_reducer_of<Of>(call));
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

// ---- parts of a sum over rows ----

using ReducerOf = const Reducer& (*)(const Call& call);

/// Whether the rows of a matrix are reduced: all axes but the last one.
bool reduces_rows(const Call& c) {
  const TensorImpl& x = c.in(0);
  const int last = x.ndim() - 1;
  return last >= 1 && x.contiguous && x.numel > 0 &&
         static_cast<uint64_t>(c.i(0)) == (uint64_t{1} << last) - 1;
}

/// By columns, which are reduced side by side and apart.
bool cut_columns(const Call& c, int parts, Cut& cut) {
  constexpr int64_t kUnit = 16;
  if (!reduces_rows(c)) return false;
  const TensorImpl &x = c.in(0), &out = c.out(0);
  const int last = x.ndim() - 1;
  const int64_t n = x.sizes[last];
  if (n <= kUnit * (parts - 1)) return false;
  // The last part is reduced by columns, too.
  if (n <= kUnit * parts && n % kUnit != 0 && n % kUnit < kLeastColumns) return false;
  cut.size = n;
  cut.unit = kUnit;
  cut.along = {static_cast<int8_t>(out.ndim() - 1), static_cast<int8_t>(last)};
  cut.nanoseconds = 0.1 * static_cast<double>(x.numel);
  return true;
}

// *_pieces: operands of the op; params: mask, the reducer's own, begin and end along the first
// axis, the address of all states.
template <ReducerOf reducer>
void reduce_pieces(const Call& call) {
  const Plan p = plan_of(call, reducer(call));
  const Pieces d(p);
  auto* const states = reinterpret_cast<char*>(static_cast<intptr_t>(call.i(4)));
  const int64_t rows = d.count / call.in(0).sizes[0];  // of one step along the first axis
  for (int64_t k = call.i(2) * rows / d.piece; k * d.piece < call.i(3) * rows; ++k) {
    for (int64_t u = 0; u < d.units; ++u) reduce_piece(p, d, states, u, k);
  }
}

// *_of_pieces: the same without begin and end, when all states are there.
template <ReducerOf reducer>
void merge_all_pieces(const Call& call) {
  const Plan p = plan_of(call, reducer(call));
  const Pieces d(p);
  auto* const states = reinterpret_cast<char*>(static_cast<intptr_t>(call.i(2)));
  for (int64_t u = 0; u < d.units; ++u) finish_unit(p, d, states, u);
}

/// By rows, the pieces that the reduction is made of anyway: each thread sums the rows that it
/// made.
template <ReducerOf reducer>
bool cut_pieces(const Call& c, int parts, Cut& cut) {
  if (!reduces_rows(c)) return false;
  const Plan p = plan_of(c, reducer(c));
  const Pieces d(p);
  const int64_t rows = d.count / c.in(0).sizes[0];
  if (d.pieces < parts || d.piece % rows != 0) return cut_columns(c, parts, cut);
  static const Op &part = Op::get(std::string(c.op->name) + "_pieces"),
                  &merge = Op::get(std::string(c.op->name) + "_of_pieces");
  cut.op = &part;
  cut.params.push(c.i(0));
  cut.params.push(p.param);
  cut.then = &merge;
  cut.more_bytes = static_cast<size_t>(d.bytes());
  cut.size = c.in(0).sizes[0];
  cut.unit = d.piece / rows;
  cut.along = {Cut::kWhole, 0};
  cut.nanoseconds = 0.1 * static_cast<double>(c.in(0).numel);
  return true;
}

template <ReducerOf reducer>
void add_pieces(const std::string& name) {
  add_kernel((name + "_pieces").c_str(), &reduce_pieces<reducer>);
  add_kernel((name + "_of_pieces").c_str(), &merge_all_pieces<reducer>);
}

constexpr ReducerOf kSum = &reducer_of<FoldOf<Sum>::type>;
constexpr ReducerOf kMean = &real_reducer_of<FoldOf<Mean>::type>;

}  // namespace

void register_reduce_kernels() {
  [[maybe_unused]] static const CutRegistration cuts[] = {{"sum", cut_pieces<kSum>},
                                                          {"mean", cut_pieces<kMean>},
                                                          {"amax", cut_columns},
                                                          {"amin", cut_columns}};
  add_pieces<kSum>("sum");
  add_pieces<kMean>("mean");
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
