// SPDX-License-Identifier: Apache-2.0
// The row skeleton on a GPU: a group of threads has a row, keeps it in registers or in shared
// memory if it fits there, and reduces it together.
//   a.shape = row_shape(call, rows, n, {&x, &y}, {&x});   // operands; those that are read twice
//   by_row_kind(a.shape, [&](auto kind) { launch_rows(call, &kernel<C, kind.value>, a); });
// In the kernel: for_rows(shape, [&](int64_t row, const RowPart<C>& part, bool exists) { .. }).
// See Note [Kinds of rows].
#pragma once
#include <algorithm>
#include <initializer_list>

#include "cuda/block.h"
#include "cuda/values.h"

namespace gradstep::cuda {

constexpr int kRowHeld = 8;      // elements of a row that a thread keeps
constexpr int kRowMost = 1024;   // threads of a block
constexpr int kRowsBlock = 128;  // threads of a block of several rows
constexpr int kLongRow = 512;    // threads of a longer row

// Note [Kinds of rows]
// Held: in registers, kRowHeld elements a thread, up to 8192 elements. Shared: in shared memory, in
// their storage type; a thread finds there what it put there itself, so nothing has to be waited
// for. Again: read from memory by each pass, several vectors ahead; where there are few such rows,
// `pieces` blocks share each, in two launches: the first leaves what each piece combines to, the
// second combines that, always in the same order, and writes. What is chosen depends on the sizes,
// on the operands' types and on how much shared memory a block may have.
enum class RowKind { Held, Shared, Again };

constexpr int64_t kFewRows = 128;        // less than a block for each multiprocessor
constexpr int64_t kLeastPiece = 8192;    // elements
constexpr int64_t kMostPieces = 1024;    // of all rows together
constexpr size_t kPieceState = 32;       // bytes of what a piece combines to
constexpr int kSmallShared = 56 * 1024;  // four blocks with so much fit a multiprocessor

struct RowShape {
  int64_t rows, n;
  int threads;  // of a row: a power of two up to 32 (some rows a block), or a block's warps
  bool few;     // rows are read kFew elements at a time
  RowKind kind = RowKind::Held;
  int shared = 0;           // bytes of shared memory for rows
  int pieces = 1;           // blocks that share a row
  bool first = false;       // of two launches
  char* partial = nullptr;  // [rows, pieces], kPieceState bytes each

  int block() const { return threads > 32 ? threads : kRowsBlock; }
  GS_FN int in_block() const { return threads > 32 ? 1 : kRowsBlock / threads; }
  GS_FN int64_t turns(int w) const {
    return (n + int64_t(w) * threads - 1) / (int64_t(w) * threads);
  }
};

/// Bytes of shared memory for a row of elements of `bytes` bytes, in vectors of w.
GS_FN int64_t shared_row(const RowShape& s, int w, int bytes) {
  return s.turns(w) * s.threads * w * bytes;
}

/// Rows of n elements of the compute type, one after another in all the operands; null ones do not
/// matter. `kept` are read twice; `beside` more bytes for each element stand beside them. Rows that
/// need more than `most` threads are not held.
inline RowShape row_shape(const Call& call, int64_t rows, int64_t n,
                          std::initializer_list<const TensorImpl*> operands,
                          std::initializer_list<const TensorImpl*> kept = {}, int most = kRowMost,
                          int beside = 0) {
  RowShape s{rows, n, 1, false};
  const int few = call.compute == Compute::F32 ? kFew<float> : kFew<double>;
  s.few = n % few == 0;
  for (const TensorImpl* t : operands) s.few = s.few && (!t || aligned_few(t->data, t->dtype));
  const int64_t want = (n + kRowHeld - 1) / kRowHeld;
  if (want <= 32) {
    while (s.threads < want) s.threads *= 2;
    return s;
  }
  if (want <= most) {
    s.threads = int((want + 31) / 32 * 32);
    return s;
  }
  s.threads = kLongRow;
  s.kind = RowKind::Again;
  if (rows > 0 && rows < kFewRows && n >= 4 * kLeastPiece) {
    s.pieces = int(std::min((n + kLeastPiece - 1) / kLeastPiece, kMostPieces / rows));
    return s;
  }
  int bytes = beside;
  for (const TensorImpl* t : kept) bytes += int(element_size(t->dtype));
  if (shared_row(s, few, bytes) > kSmallShared) s.threads = most;
  const int64_t need = shared_row(s, few, bytes);
  if (kept.size() == 0 || need > shared_limit(call.operands[0]->device.index)) {
    s.threads = kLongRow;
    return s;
  }
  s.kind = RowKind::Shared;
  s.shared = int(need);
  return s;
}

/// Calls f with a constant, the kind of the rows.
template <class F>
void by_row_kind(const RowShape& s, F f) {
  switch (s.kind) {
    case RowKind::Held: return f(std::integral_constant<RowKind, RowKind::Held>{});
    case RowKind::Shared: return f(std::integral_constant<RowKind, RowKind::Shared>{});
    case RowKind::Again: return f(std::integral_constant<RowKind, RowKind::Again>{});
  }
}

/// Blocks that fill the device `waves` times at most.
inline unsigned row_blocks(const Call& call, const RowShape& s, int waves) {
  if (s.pieces > 1) return unsigned(s.rows * s.pieces);
  const int64_t want = (s.rows + s.in_block() - 1) / s.in_block();
  const int device = call.operands[0]->device.index;
  int resident = 2048 / s.block();
  if (s.shared > 0) resident = std::clamp(shared_limit(device) / s.shared, 1, resident);
  return unsigned(std::min<int64_t>(want, int64_t(multiprocessors(device)) * resident * waves));
}

/// Runs a kernel of rows, for each piece of a row and then for all if they have pieces.
template <class... P, class Args>
void launch_rows(const Call& call, void (*kernel)(P...), Args a, unsigned blocks = 0) {
  RowShape& s = a.shape;
  if (blocks == 0) blocks = row_blocks(call, s, 16);
  const DeviceScratch<char> partial(s.pieces > 1 ? s.rows * s.pieces * int64_t(kPieceState) : 0,
                                    call);
  if (s.pieces > 1) {
    s.partial = partial.data();
    s.first = true;
    launch_grid(call, kernel, blocks, unsigned(s.block()), a);
    s.first = false;
  }
  launch_shared(call, kernel, blocks, unsigned(s.block()), size_t(s.shared), a);
}

/// What one thread has of a row: vectors 0, 1, .. of kFew elements.
template <class C>
struct RowPart {
  static constexpr int W = kFew<C>;
  using Vector = Few<C, W>;
  int64_t n;
  int threads, t;
  bool few;

  /// The place in the row of element e of vector k.
  GS_DEVICE int64_t place(int64_t k, int e) const {
    return few ? (k * threads + t) * W + e : (k * W + e) * threads + t;
  }
  /// Calls use(k, load(k)) for all vectors; kAhead loads are under way where they read memory.
  template <RowKind kKind, int kAhead, class Load, class Use>
  GS_DEVICE void each(Load load, Use use) const {
    if constexpr (kKind == RowKind::Held) {
      GS_UNROLL
      for (int k = 0; k < kRowHeld / W; ++k) use(k, load(k));
    } else {
      const int64_t turns = (n + int64_t(W) * threads - 1) / (int64_t(W) * threads);
      int64_t k = 0;
      if constexpr (kKind == RowKind::Again) {
        for (; k + kAhead <= turns; k += kAhead) {
          decltype(load(k)) v[kAhead];
          GS_UNROLL
          for (int u = 0; u < kAhead; ++u) v[u] = load(k + u);
          GS_UNROLL
          for (int u = 0; u < kAhead; ++u) use(k + u, v[u]);
        }
      }
      for (; k < turns; ++k) use(k, load(k));
    }
  }
  /// Vector k of the row that starts at element `base`; `fill` behind its end.
  GS_DEVICE Vector load(const char* p, DType type, int64_t base, int64_t k, C fill = C(0)) const {
    if (few && place(k, 0) < n) return load_few<W, C>(p, type, base + place(k, 0));
    Vector v;
    GS_UNROLL
    for (int e = 0; e < W; ++e) {
      v.v[e] = !few && place(k, e) < n ? load_as<C>(p, type, base + place(k, e)) : fill;
    }
    return v;
  }
  GS_DEVICE void store(char* p, DType type, int64_t base, int64_t k, const Vector& v) const {
    if (few) {
      if (place(k, 0) < n) store_few<W, C>(p, type, base + place(k, 0), v);
      return;
    }
    GS_UNROLL
    for (int e = 0; e < W; ++e) {
      if (place(k, e) < n) store_as<C>(p, type, base + place(k, e), v.v[e]);
    }
  }
};

/// Several vectors at once.
template <class V>
struct Two {
  V a, b;
};

/// A row of an operand, as its kind says.
template <class C, RowKind kKind>
struct Row {
  using Part = RowPart<C>;
  using Vector = typename Part::Vector;
  static constexpr bool kHeld = kKind == RowKind::Held;
  const Part& part;
  const char* p;
  DType type;
  int64_t base;
  C fill;
  char* shared;
  Vector held[kHeld ? kRowHeld / Part::W : 1];

  /// `at` is where the row stands in shared memory.
  GS_DEVICE Row(const Part& part_, const char* p_, DType type_, int64_t row, bool exists,
                C fill_ = C(0), char* at = nullptr)
      : part(part_), p(p_), type(type_), base(row * part_.n), fill(fill_), shared(at) {
    if constexpr (kHeld) {
      part.template each<kKind, 1>(
          [&](int64_t k) {
            if (exists) return part.load(p, type, base, k, fill);
            Vector v;
            GS_UNROLL
            for (C& e : v.v) e = fill;
            return v;
          },
          [&](int64_t k, const Vector& v) { held[k] = v; });
    }
    if constexpr (kKind == RowKind::Shared) {
      part.template each<RowKind::Again, 4>(
          [&](int64_t k) { return part.load(p, type, base, k, fill); },
          [&](int64_t k, const Vector& v) { store_few<Part::W, C>(shared, type, slot(k), v); });
    }
  }
  GS_DEVICE int64_t slot(int64_t k) const { return (k * part.threads + part.t) * Part::W; }
  GS_DEVICE Vector at(int64_t k) const {
    if constexpr (kHeld)
      return held[k];
    else if constexpr (kKind == RowKind::Shared)
      return load_few<Part::W, C>(shared, type, slot(k));
    else
      return part.load(p, type, base, k, fill);
  }
};

/// All threads of the row's group get the combination of their values.
template <class T, class Combine>
GS_DEVICE T row_reduce(const RowShape& s, T v, Combine combine, T identity) {
  if (s.threads > 32) return block_reduce(v, combine, identity);
  for (int bits = s.threads / 2; bits > 0; bits /= 2) {
    const T other = shuffle_xor(v, bits);
    v = (threadIdx.x & unsigned(bits)) ? combine(other, v) : combine(v, other);
  }
  return v;
}

/// True if this launch is to combine the elements of the rows.
template <RowKind kKind>
GS_DEVICE bool combines(const RowShape& s) {
  return kKind != RowKind::Again || s.pieces == 1 || s.first;
}

/// v = the combination of the row's values, for all threads of its group; false: this launch has no
/// more to do for the row.
template <RowKind kKind, class T, class Combine>
GS_DEVICE bool row_total(const RowShape& s, int64_t row, T& v, Combine combine, T identity) {
  if constexpr (kKind != RowKind::Again) {
    v = row_reduce(s, v, combine, identity);
    return true;
  } else {
    static_assert(sizeof(T) <= kPieceState);
    const auto state = [&](int64_t piece) {
      return s.partial + (row * s.pieces + piece) * int64_t(kPieceState);
    };
    if (s.pieces > 1 && !s.first) {
      v = identity;
      for (int k = int(threadIdx.x); k < s.pieces; k += s.threads) {
        T other;
        memcpy(&other, state(k), sizeof(T));
        v = combine(v, other);
      }
    }
    v = block_reduce(v, combine, identity);
    if (s.pieces == 1 || !s.first) return true;
    if (threadIdx.x == 0) memcpy(state(blockIdx.x % unsigned(s.pieces)), &v, sizeof(T));
    return false;
  }
}

/// Calls f(row, part, exists) for the rows of this thread's group, as often in all of a block: a
/// row that does not exist takes part in its barriers. With pieces, the grid has one block for
/// each.
template <class C, class F>
GS_DEVICE void for_rows(const RowShape& s, F f) {
  if (s.pieces > 1) {
    const int piece = int(blockIdx.x % unsigned(s.pieces));
    const RowPart<C> part{s.n, s.threads * s.pieces, piece * s.threads + int(threadIdx.x), s.few};
    return f(int64_t(blockIdx.x) / s.pieces, part, true);
  }
  const int group = s.threads > 32 ? 0 : int(threadIdx.x) / s.threads;
  const RowPart<C> part{s.n, s.threads, int(threadIdx.x) - group * s.threads, s.few};
  const int64_t step = int64_t(gridDim.x) * s.in_block();
  for (int64_t from = int64_t(blockIdx.x) * s.in_block(); from < s.rows; from += step) {
    f(from + group, part, from + group < s.rows);
  }
}

/// Calls f(float{}) or f(double{}).
template <class F>
void by_real(const Call& call, F f) {
  GS_CHECK(call.compute != Compute::I64, "\"{}\" not implemented for 'Long'", call.op->name);
  if (call.compute == Compute::F32)
    f(float{});
  else
    f(double{});
}

/// A pointer and its type, in kernel arguments.
struct Operand {
  char* p = nullptr;
  DType type = DType::Float32;
  Operand() = default;
  Operand(const TensorImpl* t) {  // NOLINT: null is an absent operand
    if (t) p = t->data, type = t->dtype;
  }
  template <class C>
  GS_DEVICE C get(int64_t i) const {
    return load_as<C>(p, type, i);
  }
  template <class C>
  GS_DEVICE void set(int64_t i, C v) const {
    store_as<C>(p, type, i, v);
  }
};

}  // namespace gradstep::cuda
