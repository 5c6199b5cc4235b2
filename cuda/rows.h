// SPDX-License-Identifier: Apache-2.0
// The row skeleton on a GPU: a group of threads has a row, keeps it in registers if it is short,
// and reduces it together.
//   const RowShape shape = row_shape(call, rows, n, {&x, &y});
//   by_row_length(shape, [&](auto held) { launch_rows(call, &kernel<C, held.value>, shape, args);
//   });
// In the kernel: for_rows(shape, [&](int64_t row, const RowPart<C>& part, bool exists) { .. }).
#pragma once
#include <algorithm>
#include <initializer_list>

#include "cuda/block.h"
#include "cuda/values.h"

namespace gradstep::cuda {

constexpr int kRowHeld = 8;      // elements of a row that a thread keeps
constexpr int kRowMost = 1024;   // threads of a block
constexpr int kRowsBlock = 128;  // threads of a block of several rows
constexpr int kLongRow = 512;    // threads of a row that is read again and again

struct RowShape {
  int64_t rows, n;
  int threads;  // of a row: a power of two up to 32 (some rows a block), or a block's warps
  bool few;     // rows are read kFew elements at a time

  GS_FN bool is_held() const { return n <= int64_t(kRowHeld) * threads; }
  int block() const { return threads > 32 ? threads : kRowsBlock; }
  GS_FN int in_block() const { return threads > 32 ? 1 : kRowsBlock / threads; }
};

/// Rows of n elements of the compute type, one after another in all the operands; null ones do not
/// matter. Rows that need more than `most` threads are not held.
inline RowShape row_shape(const Call& call, int64_t rows, int64_t n,
                          std::initializer_list<const TensorImpl*> operands, int most = kRowMost) {
  RowShape s{rows, n, 1, false};
  const int64_t want = (n + kRowHeld - 1) / kRowHeld;
  if (want <= 32) {
    while (s.threads < want) s.threads *= 2;
  } else {
    s.threads = want > most ? kLongRow : int((want + 31) / 32 * 32);
  }
  s.few = n % (call.compute == Compute::F32 ? kFew<float> : kFew<double>) == 0;
  for (const TensorImpl* t : operands) s.few = s.few && (!t || aligned_few(t->data, t->dtype));
  return s;
}

/// Calls f(std::true_type) if rows stay in registers, else f(std::false_type).
template <class F>
void by_row_length(const RowShape& s, F f) {
  if (s.is_held())
    f(std::true_type{});
  else
    f(std::false_type{});
}

/// Blocks that fill the device `waves` times at most.
inline unsigned row_blocks(const Call& call, const RowShape& s, int waves) {
  const int64_t want = (s.rows + s.in_block() - 1) / s.in_block();
  return unsigned(std::min<int64_t>(
      want, int64_t(multiprocessors(call.operands[0]->device.index)) * (2048 / s.block()) * waves));
}

template <class... P, class... A>
void launch_rows(const Call& call, void (*kernel)(P...), const RowShape& s, A... args) {
  launch_grid(call, kernel, row_blocks(call, s, 16), unsigned(s.block()), args...);
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
  /// Calls f(k) for all vectors.
  template <bool kHeld, class F>
  GS_DEVICE void each(F f) const {
    if constexpr (kHeld) {
      GS_UNROLL
      for (int k = 0; k < kRowHeld / W; ++k) f(k);
    } else {
      const int64_t turns = (n + int64_t(W) * threads - 1) / (int64_t(W) * threads);
      for (int64_t k = 0; k < turns; ++k) f(k);
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

/// A row of an operand: in registers, or read each time.
template <class C, bool kHeld>
struct Row {
  using Part = RowPart<C>;
  const Part& part;
  const char* p;
  DType type;
  int64_t base;
  C fill;
  typename Part::Vector held[kHeld ? kRowHeld / Part::W : 1];

  GS_DEVICE Row(const Part& part_, const char* p_, DType type_, int64_t row, bool exists,
                C fill_ = C(0))
      : part(part_), p(p_), type(type_), base(row * part_.n), fill(fill_) {
    if constexpr (kHeld) {
      part.template each<true>([&](int64_t k) {
        if (exists) {
          held[k] = part.load(p, type, base, k, fill);
        } else {
          GS_UNROLL
          for (int e = 0; e < Part::W; ++e) held[k].v[e] = fill;
        }
      });
    }
  }
  GS_DEVICE typename Part::Vector at(int64_t k) const {
    if constexpr (kHeld)
      return held[k];
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
template <class T>
GS_DEVICE T row_sum(const RowShape& s, T v) {
  return row_reduce(s, v, AddValues{}, T(0));
}

/// Calls f(row, part, exists) for the rows of this thread's group, as often in all of a block: a
/// row that does not exist takes part in its barriers.
template <class C, class F>
GS_DEVICE void for_rows(const RowShape& s, F f) {
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
