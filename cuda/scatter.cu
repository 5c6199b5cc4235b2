// SPDX-License-Identifier: Apache-2.0
// What is written to or combined into indexed places that may repeat: index_put, scatter,
// embedding_backward; embedding_renorm. Deterministic: see Note [Repeated places].
#include <bit>
#include <cmath>
#include <numeric>

#include "cuda/block.h"
#include "cuda/index.h"
#include "cuda/sort_keys.h"
#include "cuda/values.h"

namespace gradstep::cuda {

// Note [Repeated places]
// Where places repeat their elements are combined in the order of the index tensor, so that every
// run gives the same bits. There are three ways:
//   - lines: self has enough axes that are not indexed, or the index is short: a thread walks the
//   indices of its line, as the CPU does.
//   - sorted: the places become words of (place, position), which are sorted; the elements of a
//   place then follow each other in order. A thread combines those of 32 neighbouring words: places
//   that lie inside are written at once; what goes on in the next or began in the former 32 is left
//   as a partial result, and those form a list of the same kind, a sixteenth as long, for the next
//   launch.
//   - owned, writes only: each place learns the last position that names it, by an atomic maximum
//   of integers, and elements of other positions are left out. For places that are not many more.
// Writes keep the last element of a place, as the CPU does.

namespace {

constexpr int kScatterThreads = 256;
constexpr int kPiece = 32;  // words of a thread

enum Mode { kWrite, kAdd, kMultiply, kMax, kMin };  // as in kernels/index.cpp

template <class C>
GS_DEVICE C combine(int mode, C a, C b) {
  using Wrap = std::conditional_t<std::is_same_v<C, int64_t>, uint64_t, C>;
  switch (mode) {
    case kAdd: return C(Wrap(a) + Wrap(b));
    case kMultiply: return C(Wrap(a) * Wrap(b));
    case kMax: return a != a || a > b ? a : b;
    case kMin: return a != a || a < b ? a : b;
    default: return b;
  }
}

// ---- lines ----

struct LineArgs {
  char* self;
  const char* flat;
  DType dtype;
  int mode;
  Places places;
  Layout<3> lines;         // self, flat, index
  Layout<2> steps;         // flat, index
  const int64_t* divisor;  // of the elements, by row of self; null: none
};

template <class C>
__global__ void __launch_bounds__(kScatterThreads) line_kernel(const __grid_constant__ LineArgs a) {
  for (int64_t i = first_index(); i < a.lines.numel; i += index_stride()) {
    int64_t line[3];
    a.lines.offsets(i, line);
    for (int64_t s = 0; s < a.steps.numel; ++s) {
      int64_t step[2];
      a.steps.offsets(s, step);
      const int64_t place = a.places.at(line[2] + step[1]);
      if (place < 0) continue;
      C v = load_as<C>(a.flat, a.dtype, line[1] + step[0]);
      if constexpr (!std::is_same_v<C, int64_t>) {
        if (a.divisor) v = v * (C(1) / C(a.divisor[place / a.places.step]));
      }
      const int64_t to = line[0] + place;
      // Sums of halves are rounded at each addition here.
      if (a.mode != kWrite) v = combine(a.mode, load_as<C>(a.self, a.dtype, to), v);
      store_as<C>(a.self, a.dtype, to, v);
    }
  }
}

// ---- sorted ----

struct WordArgs {
  uint64_t* out;
  int bits;
  uint64_t none;  // the key of what names nothing, above all others
  Places places;
  Layout<2> items;  // self (in the unit of keys), index
};

__global__ void __launch_bounds__(kScatterThreads) word_kernel(const __grid_constant__ WordArgs a) {
  for (int64_t i = first_index(); i < a.items.numel; i += index_stride()) {
    int64_t at[2];
    a.items.offsets(i, at);
    const int64_t place = a.places.at(at[1]);
    const uint64_t key = place < 0 ? a.none : uint64_t(at[0] + place);
    a.out[i] = key << a.bits | uint64_t(i);
  }
}

constexpr uint64_t kEmpty = uint64_t(1) << 63;  // in a key: there is no element
constexpr uint64_t kNoKey = ~kEmpty;

struct PieceArgs {
  int64_t n, width;  // words or partial results, columns
  const uint64_t* words;
  int bits;             // words: of the position; partial results: 0
  const char* partial;  // null: the elements are in flat
  uint64_t* next_keys;  // two for each piece; null: there is one piece
  char* next_partial;   // [keys, width]
  uint64_t none;
  char* self;
  const char* flat;
  DType dtype;
  int mode;
  int64_t unit;       // of keys, in elements
  Layout<1> items;    // flat
  Layout<2> columns;  // self, flat
  const int64_t* divisor;
};

template <class C>
struct Piece {
  const PieceArgs& a;
  int64_t column;
  int64_t to, from;  // of the column in self and flat

  GS_DEVICE uint64_t key(int64_t i) const { return a.words[i] >> a.bits & ~kEmpty; }
  GS_DEVICE C value(int64_t i, uint64_t key) const {
    if (a.partial) return reinterpret_cast<const C*>(a.partial)[i * a.width + column];
    int64_t at[1];
    a.items.offsets(int64_t(a.words[i] & ((uint64_t(1) << a.bits) - 1)), at);
    C v = load_as<C>(a.flat, a.dtype, at[0] + from);
    if constexpr (!std::is_same_v<C, int64_t>) {
      if (a.divisor) v = v * (C(1) / C(a.divisor[key]));
    }
    return v;
  }
  GS_DEVICE int64_t place(uint64_t key) const { return int64_t(key) * a.unit + to; }

  GS_DEVICE void run(int64_t piece) const {
    const int64_t begin = piece * kPiece, end = begin + kPiece < a.n ? begin + kPiece : a.n;
    const uint64_t before = begin > 0 ? key(begin - 1) : kNoKey;
    const uint64_t after = end < a.n ? key(end) : kNoKey;
    uint64_t current = kNoKey;
    bool has = false, head = false, tail = false;
    C sum = C(0), of_head = C(0), of_tail = C(0);
    for (int64_t i = begin; i <= end; ++i) {
      const uint64_t k = i < end ? key(i) : kNoKey;
      if (k != current || i == end) {
        if (has) {
          if (current == before) {
            head = true;
            of_head = sum;
          } else if (current == after) {
            tail = true;
            of_tail = sum;
          } else {
            store_as<C>(a.self, a.dtype, place(current), sum);
          }
        }
        current = k;
        has = false;
        if (i == end) break;
      }
      if (k == a.none || (a.partial && (a.words[i] & kEmpty))) continue;
      const C v = value(i, k);
      if (has)
        sum = combine(a.mode, sum, v);
      else if (k == before || k == after)
        sum = v;
      else
        sum = combine(a.mode, load_as<C>(a.self, a.dtype, place(k)), v);
      has = true;
    }
    if (!a.next_keys) return;
    C* const next = reinterpret_cast<C*>(a.next_partial);
    if (head) next[2 * piece * a.width + column] = of_head;
    if (tail) next[(2 * piece + 1) * a.width + column] = of_tail;
    if (column == 0) {
      a.next_keys[2 * piece] = key(begin) | (head ? 0 : kEmpty);
      a.next_keys[2 * piece + 1] = key(end - 1) | (tail ? 0 : kEmpty);
    }
  }
};

template <class C>
__global__ void __launch_bounds__(kScatterThreads)
    piece_kernel(const __grid_constant__ PieceArgs a) {
  const int64_t pieces = (a.n + kPiece - 1) / kPiece;
  for (int64_t i = first_index(); i < pieces * a.width; i += index_stride()) {
    const int64_t piece = i / a.width, column = i - piece * a.width;
    int64_t at[2];
    a.columns.offsets(column, at);
    Piece<C>{a, column, at[0], at[1]}.run(piece);
  }
}

/// Combines the elements of sorted words, level by level.
template <class C>
void combine_sorted(const Call& call, PieceArgs a) {
  const int64_t pieces = (a.n + kPiece - 1) / kPiece;
  const bool more = pieces > 1;
  const DeviceScratch<uint64_t> keys(more ? 2 * pieces : 0, call);
  const DeviceScratch<C> partial(more ? 2 * pieces * a.width : 0, call);
  a.next_keys = keys.data();
  a.next_partial = reinterpret_cast<char*>(partial.data());
  launch_grid(call, &piece_kernel<C>, blocks_for(call, pieces * a.width, kScatterThreads),
              kScatterThreads, a);
  if (!more) return;
  a.n = 2 * pieces;
  a.words = keys.data();
  a.bits = 0;
  a.partial = a.next_partial;
  combine_sorted<C>(call, a);
}

// ---- the items of a call: what has an index of its own, in the order of the words' positions ----

struct Items {
  int64_t unit, span = 1;  // keys are places in units, and below the span
  Places places;           // in units
  Layout<2> keyed;         // self in units, index
  Layout<1> flat;
  Layout<2> columns;    // self, flat: of each item
  Indexed by_position;  // the call's axes, where the index counts positions
};

/// Positions count the steps of a line in order, and lines in any.
Items items_of(const Indexed& x) {
  Items r;
  // Of joined indices places.size is their span.
  r.unit = x.places.size > 1 ? x.places.step : 0;
  for (int k = 0; k < x.n; ++k) {
    const Indexed::Axis& axis = x.axes[k];
    if (axis.own_index() && axis.size > 1) r.unit = std::gcd(r.unit, axis.self);
  }
  if (r.unit == 0) r.unit = 1;
  r.places = x.places;
  r.places.step /= r.unit;
  if (x.places.size > 1) r.span += (x.places.size - 1) * r.places.step;
  r.by_position = x;
  r.by_position.n = 0;
  Indexed sorted = x;
  sort_axes(sorted, &Indexed::Axis::flat, &Indexed::Axis::self);
  for (const bool step : {true, false}) {
    for (int k = 0; k < x.n; ++k) {
      const Indexed::Axis& axis = step ? x.axes[k] : sorted.axes[k];
      if (axis.step != step) continue;
      r.by_position.add(axis.size, axis.self, axis.flat, axis.own_index() ? r.keyed.numel : 0,
                        step);
      if (!axis.own_index()) {
        r.columns.add(axis.size, {axis.self, axis.flat});
        continue;
      }
      if (axis.size > 1) r.span += (axis.size - 1) * (axis.self / r.unit);
      r.keyed.add(axis.size, {axis.self / r.unit, axis.index});
      r.flat.add(axis.size, {axis.flat});
    }
  }
  r.keyed.finish();
  r.flat.finish();
  r.columns.finish();
  return r;
}

void put_sorted(const Call& call, const Indexed& x, const Items& items, int mode,
                const int64_t* divisor) {
  const int64_t n = items.keyed.numel;
  const int bits = std::bit_width(uint64_t(n - 1));
  const auto none = uint64_t(items.span);
  GS_CHECK(bits + std::bit_width(none) < 64, "{}: {} indices into a tensor of {} places",
           call.op->name, n, items.span);
  const DeviceScratch<Word> words(n, call), spare(n, call);
  const WordArgs w{&words.data()->v, bits, none, items.places, items.keyed};
  launch_grid(call, &word_kernel, blocks_for(call, n, kScatterThreads), kScatterThreads, w);
  PieceArgs a{};
  a.n = n;
  a.width = items.columns.numel;
  a.words = &sort_items(call, words.data(), spare.data(), 1, n)->v;
  a.bits = bits;
  a.none = none;
  a.self = x.self;
  a.flat = x.flat;
  a.dtype = x.dtype;
  a.mode = mode;
  a.unit = items.unit;
  a.items = items.flat;
  a.columns = items.columns;
  a.divisor = divisor;
  by_compute(compute_type(x.dtype), [&](auto tag) { combine_sorted<decltype(tag)>(call, a); });
}

// ---- owned ----

struct OwnerArgs {
  uint32_t* owner;  // by key: 1 + the last position that names it
  int64_t* kept;    // by item: its place without the item's own axes, -1 if it is not the owner;
                    // null: owners are looked for
  Places places;
  Layout<2> keyed;
};

__global__ void __launch_bounds__(kScatterThreads)
    owner_kernel(const __grid_constant__ OwnerArgs a) {
  for (int64_t i = first_index(); i < a.keyed.numel; i += index_stride()) {
    int64_t at[2];
    a.keyed.offsets(i, at);
    const int64_t place = a.places.at(at[1]);
    uint32_t* const owner = a.owner + (place < 0 ? 0 : at[0] + place);
    if (a.kept)
      a.kept[i] = place >= 0 && *owner == uint32_t(i) + 1 ? place : -1;
    else if (place >= 0)
      atomicMax(owner, uint32_t(i) + 1);
  }
}

/// Only the last element of each place is written.
void write_owned(const Call& call, const Items& items) {
  const int64_t n = items.keyed.numel;
  const DeviceScratch<uint32_t> owner(items.span, call);
  const DeviceScratch<int64_t> kept(n, call);
  check(cudaMemsetAsync(owner.data(), 0, size_t(items.span) * sizeof(uint32_t), stream_of(call)),
        call.op->name);
  OwnerArgs a{owner.data(), nullptr, items.places, items.keyed};
  const unsigned blocks = blocks_for(call, n, kScatterThreads);
  launch_grid(call, &owner_kernel, blocks, kScatterThreads, a);
  a.kept = kept.data();
  launch_grid(call, &owner_kernel, blocks, kScatterThreads, a);
  Indexed x = items.by_position;
  x.places.index = kept.data();
  x.places.ready = true;
  x.places.step = items.unit;
  move_indexed(call, x, Move::Write);
}

/// Every element of flat is combined into its place.
void put_indexed(const Call& call, const Indexed& x, int mode, const int64_t* divisor = nullptr) {
  if (x.numel() == 0) return;
  LineArgs a{x.self, x.flat, x.dtype, mode, x.places, {}, {}, divisor};
  int64_t n_items = 1;
  bool same = mode == kWrite;  // places that repeat get the same
  for (int k = 0; k < x.n; ++k) {
    const Indexed::Axis& axis = x.axes[k];
    if (axis.own_index()) n_items *= axis.size;
    if (!axis.step) continue;
    a.steps.add(axis.size, {axis.flat, axis.index});
    same = same && (axis.flat == 0 || axis.size == 1);
  }
  a.steps.finish();
  if (same) return move_indexed(call, x, Move::Write);
  // A guess, not measured: sorting costs some launches, and per item what a step of a line costs
  // when thousands of lines run beside each other.
  if (a.steps.numel > 32 + n_items / 8192) {
    const Items items = items_of(x);
    if (mode == kWrite && items.span <= 32 * n_items && n_items < UINT32_MAX) {
      return write_owned(call, items);
    }
    return put_sorted(call, x, items, mode, divisor);
  }
  Indexed sorted = x;
  sort_axes(sorted, &Indexed::Axis::flat, &Indexed::Axis::self);
  for (int k = 0; k < x.n; ++k) {
    const Indexed::Axis& axis = sorted.axes[k];
    if (!axis.step) a.lines.add(axis.size, {axis.self, axis.flat, axis.index});
  }
  a.lines.finish();
  by_compute(compute_type(x.dtype), [&](auto tag) {
    launch_grid(call, &line_kernel<decltype(tag)>, blocks_for(call, a.lines.numel, kScatterThreads),
                kScatterThreads, a);
  });
}

// ---- the ops ----

void index_put(const Call& call) {
  const TensorImpl& self = call.out(0);
  const TensorImpl& values = call.in(1);
  const DeviceGuard guard(self.device.index);
  const int mode = call.i(3) != 0 ? kAdd : kWrite;
  if (call.n_in == 3 && values.numel != 0) {
    return put_indexed(call, indexed_axes(call, 2, self, values), mode);
  }
  // Where nothing is written the indices are checked all the same.
  const DeviceScratch<int64_t> buffer(values.numel == 0 ? 0 : call.in(2).numel, call);
  const JoinedIndex joined = join_index(call, 2, self, buffer.data());
  put_indexed(call, indexed_axes(call, 2, self, values, &joined), mode);
}

void scatter(const Call& call) {
  const TensorImpl& self = call.out(0);
  const DeviceGuard guard(self.device.index);
  put_indexed(call, indexed_along(call, self, call.in(2), call.in(1)), int(call.i(1)));
}

/// grad_weight[index[n]] += grad[n], for index[n] != padding; divided by how often a row occurs if
/// asked.
void embedding_backward(const Call& call) {
  const TensorImpl& grad_weight = call.out(0);  // [rows, width], contiguous
  const TensorImpl& grad = call.in(0);          // [n, width], contiguous
  const TensorImpl& index = call.in(1);         // [n], contiguous
  const DeviceGuard guard(grad_weight.device.index);
  const bool by_frequency = call.i(1) != 0;
  const int64_t rows = grad_weight.sizes[0], width = grad_weight.sizes[1], n = index.numel;
  if (grad_weight.numel != 0) {
    check(cudaMemsetAsync(grad_weight.data, 0,
                          size_t(grad_weight.numel) * element_size(grad_weight.dtype),
                          stream_of(call)),
          call.op->name);
  }
  const DeviceScratch<int64_t> count(by_frequency ? rows : 0, call);
  if (by_frequency) {
    count_values(call, reinterpret_cast<const int64_t*>(index.data), n, count.data(), rows);
  }
  Indexed x;
  x.self = grad_weight.data;
  x.flat = grad.data;
  x.dtype = grad_weight.dtype;
  x.places = places_of(call, index, IndexRule::Select, 0, rows, width);
  x.places.skipped = call.i(0);
  x.add(width, 1, 1, 0, false);
  x.add(n, 0, width, 1, true);
  put_indexed(call, x, kAdd, count.data());
}

// ---- embedding_renorm ----

struct RenormArgs {
  int64_t n, width;
  Places rows;
  int64_t step;  // between the elements of a row
  char* weight;
  DType dtype;
  int32_t* taken;  // by row: 1 once a block has it
  double max_norm, power;
  bool largest;  // the norm of an infinite power
};

/// A block for each index; the first one at a row has it.
__global__ void __launch_bounds__(kScatterThreads)
    renorm_kernel(const __grid_constant__ RenormArgs a) {
  __shared__ int64_t mine;
  for (int64_t k = blockIdx.x; k < a.n; k += gridDim.x) {
    if (threadIdx.x == 0) {
      mine = a.rows.at(k);
      const int64_t row = mine < 0 || a.rows.step == 0 ? 0 : mine / a.rows.step;
      if (mine >= 0 && atomicExch(a.taken + row, 1) != 0) mine = -1;
    }
    __syncthreads();
    const int64_t row = mine;
    __syncthreads();
    if (row < 0) continue;
    const bool largest = a.largest;
    double norm = 0;
    for (int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
      const double v = fabs(load_as<double>(a.weight, a.dtype, row + j * a.step));
      if (largest)
        norm = norm < v ? v : norm;
      else
        norm += a.power == 2 ? v * v : pow(v, a.power);
    }
    norm = block_reduce(
        norm, [largest] GS_LAMBDA(double x, double y) { return largest ? (x < y ? y : x) : x + y; },
        0.0);
    if (!largest) norm = pow(norm, 1 / a.power);
    if (!(norm > a.max_norm)) continue;
    const double scale = a.max_norm / (norm + 1e-7);
    for (int64_t j = threadIdx.x; j < a.width; j += blockDim.x) {
      const int64_t at = row + j * a.step;
      store_as<double>(a.weight, a.dtype, at, load_as<double>(a.weight, a.dtype, at) * scale);
    }
  }
}

/// Rows of weight that index names are scaled down to a norm of at most max_norm.
void embedding_renorm(const Call& call) {
  const TensorImpl& weight = call.out(0);
  const TensorImpl& index = call.in(1);
  const DeviceGuard guard(weight.device.index);
  if (index.numel == 0) return;
  const int64_t rows = weight.sizes[0];
  const DeviceScratch<int32_t> taken(rows, call);
  if (rows != 0) {
    check(cudaMemsetAsync(taken.data(), 0, size_t(rows) * sizeof(int32_t), stream_of(call)),
          call.op->name);
  }
  const RenormArgs a{index.numel,
                     weight.sizes[1],
                     places_of(call, index, IndexRule::Select, 0, rows, weight.strides[0]),
                     weight.strides[1],
                     weight.data,
                     weight.dtype,
                     taken.data(),
                     call.f(0),
                     call.f(1),
                     std::isinf(call.f(1))};
  launch_grid(call, &renorm_kernel, blocks_for(call, a.n * kScatterThreads, kScatterThreads),
              kScatterThreads, a);
}

}  // namespace

GS_CUDA_KERNEL("index_put", index_put);
GS_CUDA_KERNEL("scatter", scatter);
GS_CUDA_KERNEL("embedding_backward", embedding_backward);
GS_CUDA_KERNEL("embedding_renorm", embedding_renorm);

}  // namespace gradstep::cuda
