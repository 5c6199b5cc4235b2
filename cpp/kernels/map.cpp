// SPDX-License-Identifier: Apache-2.0
// The map skeleton on the CPU: one driver for all elementwise ops, plus copy and fill.
// Operands that are contiguous and of the compute type go to the op's loop as they are, over the
// whole range. Anything else (strides, broadcast, another dtype, a Python number) is brought to it
// 512 elements at a time. Compiled once for each instruction set.
#include "kernels/map.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/layout.h"
#include "core/threads.h"
#include "kernels/stream.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- conversion ----

namespace {

template <class To, class From>
void convert_all(void* dst, const void* src, int64_t n) {
  auto* d = static_cast<To*>(dst);
  const auto* s = static_cast<const From*>(src);
  int64_t i = 0;
#if defined(__F16C__)
  // g++ 12 does not find these instructions by itself.
  constexpr int kRounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  if constexpr (std::is_same_v<To, float> && std::is_same_v<From, Half>) {
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
      const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s + i));
      _mm512_storeu_ps(d + i, _mm512_cvtph_ps(h));
    }
#endif
    for (; i + 8 <= n; i += 8) {
      const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(s + i));
      _mm256_storeu_ps(d + i, _mm256_cvtph_ps(h));
    }
  } else if constexpr (std::is_same_v<To, Half> && std::is_same_v<From, float>) {
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(d + i),
                          _mm512_cvtps_ph(_mm512_loadu_ps(s + i), kRounding));
    }
#endif
    for (; i + 8 <= n; i += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(d + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(s + i), kRounding));
    }
  }
#endif
  for (; i < n; ++i) d[i] = ::gradstep::convert<To>(s[i]);
}

template <class To>
ConvertLoop convert_from(DType from) {
  return dispatch(from, [](auto tag) -> ConvertLoop {
    // A bool is a byte, 0 or 1: loops over bytes become vector instructions.
    using From = std::conditional_t<std::is_same_v<decltype(tag), bool>, uint8_t, decltype(tag)>;
    return &convert_all<To, From>;
  });
}

}  // namespace

ConvertLoop convert_loop(DType to, DType from) {
  return dispatch(to, [&](auto tag) { return convert_from<decltype(tag)>(from); });
}

void fill_number(void* dst, DType type, Params::Slot value, int64_t n) {
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    std::fill_n(
        static_cast<T*>(dst), n,
        is_floating(type) ? ::gradstep::convert<T>(value.f) : ::gradstep::convert<T>(value.i));
  });
}

// ---- strides ----

Walker::Walker(const TensorImpl& t, const Dims& out_sizes, const int* order)
    : data(t.data), dtype(t.dtype), item(static_cast<uint8_t>(element_size(t.dtype))) {
  const int offset = out_sizes.size() - t.ndim();
  for (int k = 0; k < out_sizes.size(); ++k) {
    const int axis = order[k] - offset;
    const int64_t size = out_sizes[order[k]];
    if (size == 1) continue;
    const bool broadcast = axis < 0 || t.sizes[axis] == 1;
    const int64_t stride = broadcast ? 0 : t.strides[axis] * item;
    if (ndim > 0 && strides[ndim - 1] == stride * size) {
      sizes[ndim - 1] *= size;
      strides[ndim - 1] = stride;
    } else {
      sizes[ndim] = size;
      strides[ndim] = stride;
      ++ndim;
    }
  }
}

namespace {

template <class T, bool kGather>
void move_run(char* base, int64_t stride, char* packed, int64_t n) {
  if (stride == static_cast<int64_t>(sizeof(T))) {
    if constexpr (kGather) {
      std::memcpy(packed, base, static_cast<size_t>(n) * sizeof(T));
    } else {
      std::memcpy(base, packed, static_cast<size_t>(n) * sizeof(T));
    }
    return;
  }
  T* p = reinterpret_cast<T*>(packed);
  if constexpr (kGather) {
    if (stride == 0) {
      const T v = *reinterpret_cast<T*>(base);
      for (int64_t i = 0; i < n; ++i) p[i] = v;
      return;
    }
    for (int64_t i = 0; i < n; ++i) p[i] = *reinterpret_cast<const T*>(base + i * stride);
  } else {
    for (int64_t i = 0; i < n; ++i) *reinterpret_cast<T*>(base + i * stride) = p[i];
  }
}

template <class T, bool kGather>
void walk(const Walker& w, int64_t begin, int64_t n, char* packed) {
  if (w.ndim == 0) {
    move_run<T, kGather>(w.data, 0, packed, n);
    return;
  }
  int64_t index[kMaxDims];
  char* base = w.data;
  for (int k = w.ndim - 1; k >= 0; --k) {
    index[k] = begin % w.sizes[k];
    begin /= w.sizes[k];
    base += index[k] * w.strides[k];
  }
  const int last = w.ndim - 1;
  while (true) {
    const int64_t run = std::min(n, w.sizes[last] - index[last]);
    move_run<T, kGather>(base, w.strides[last], packed, run);
    n -= run;
    if (n == 0) return;
    packed += run * static_cast<int64_t>(sizeof(T));
    base -= index[last] * w.strides[last];
    index[last] = 0;
    for (int k = last - 1; k >= 0; --k) {
      base += w.strides[k];
      if (++index[k] < w.sizes[k]) break;
      base -= w.sizes[k] * w.strides[k];
      index[k] = 0;
    }
  }
}

template <bool kGather>
void walk_items(const Walker& w, int64_t begin, int64_t n, char* packed) {
  switch (w.item) {
    case 1: return walk<uint8_t, kGather>(w, begin, n, packed);
    case 2: return walk<uint16_t, kGather>(w, begin, n, packed);
    case 4: return walk<uint32_t, kGather>(w, begin, n, packed);
    default: return walk<uint64_t, kGather>(w, begin, n, packed);
  }
}

}  // namespace

char* Walker::address(int64_t index) const {
  char* p = data;
  for (int k = ndim - 1; k >= 0; --k) {
    p += index % sizes[k] * strides[k];
    index /= sizes[k];
  }
  return p;
}

void Walker::gather(int64_t begin, int64_t n, void* dst) const {
  walk_items<true>(*this, begin, n, static_cast<char*>(dst));
}

void Walker::scatter(int64_t begin, int64_t n, const void* src) const {
  walk_items<false>(*this, begin, n, const_cast<char*>(static_cast<const char*>(src)));
}

// ---- tiles ----

// Note [Tiles of transposed operands]
// An operand whose memory runs along the output's last axis but one would be read one element from
// each cache line, a row of the output at a time. So its elements are brought over in tiles of
// kTile rows, whole cache lines at once, and the rows of the tile are handled one after the other.

namespace {

constexpr int64_t kTile = 16;  // rows: 64 bytes of floats

bool is_transposed(const Walker& w) {
  const int last = w.ndim - 1;
  return w.ndim >= 2 && w.strides[last - 1] == w.item && w.strides[last] != 0 &&
         w.strides[last] != w.item && w.sizes[last - 1] >= 4 && w.sizes[last] >= 4;
}

/// dst[r * row + c] = src[r + c * column], in elements, for all r < rows and c < columns.
template <class T>
void move_tile(const T* src, int64_t column, T* dst, int64_t row, int64_t rows, int64_t columns) {
  int64_t c = 0;
  if constexpr (sizeof(T) == 4) {
    typedef T V __attribute__((vector_size(16)));
    for (; c + 4 <= columns; c += 4) {
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        V a[4];
        for (int k = 0; k < 4; ++k) std::memcpy(&a[k], src + r + (c + k) * column, sizeof(V));
        const V lo = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5);
        const V hi = __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7);
        const V lo2 = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5);
        const V hi2 = __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
        const V out[4] = {__builtin_shufflevector(lo, lo2, 0, 1, 4, 5),
                          __builtin_shufflevector(lo, lo2, 2, 3, 6, 7),
                          __builtin_shufflevector(hi, hi2, 0, 1, 4, 5),
                          __builtin_shufflevector(hi, hi2, 2, 3, 6, 7)};
        for (int k = 0; k < 4; ++k) std::memcpy(dst + (r + k) * row + c, &out[k], sizeof(V));
      }
      for (; r < rows; ++r) {
        for (int k = 0; k < 4; ++k) dst[r * row + c + k] = src[r + (c + k) * column];
      }
    }
  }
  for (; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) dst[r * row + c] = src[r + c * column];
  }
}

/// The tile that begins at element `at` of a transposed operand, in rows of dst that lie `row`
/// elements apart.
void gather_tile(const Walker& w, int64_t at, int64_t rows, int64_t columns, void* dst,
                 int64_t row) {
  const char* src = w.address(at);
  const int64_t column = w.strides[w.ndim - 1] / w.item;
  switch (w.item) {
    case 1:
      return move_tile(reinterpret_cast<const uint8_t*>(src), column, static_cast<uint8_t*>(dst),
                       row, rows, columns);
    case 2:
      return move_tile(reinterpret_cast<const uint16_t*>(src), column, static_cast<uint16_t*>(dst),
                       row, rows, columns);
    case 4:
      return move_tile(reinterpret_cast<const uint32_t*>(src), column, static_cast<uint32_t*>(dst),
                       row, rows, columns);
    default:
      return move_tile(reinterpret_cast<const uint64_t*>(src), column, static_cast<uint64_t*>(dst),
                       row, rows, columns);
  }
}

/// How the output is cut: rows of `columns` elements, `rows` of them to each part that repeats.
struct Tiling {
  int64_t rows = 1, columns = 0;  // columns is 0 where there are no tiles
  explicit Tiling(const Walker& w) {
    if (!is_transposed(w)) return;
    columns = w.sizes[w.ndim - 1];
    rows = w.sizes[w.ndim - 2];
  }
  Tiling() = default;
  bool operator==(const Tiling&) const = default;

  /// Calls f(first element, rows, columns) for the tiles of an output of n elements, in parallel.
  template <class F>
  void for_tiles(int64_t n, F f) const {
    const int64_t down = (rows + kTile - 1) / kTile, across = (columns + kChunk - 1) / kChunk;
    parallel_for(n / (rows * columns) * down * across, 2, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t r = k / across % down * kTile, c = k % across * kChunk;
        f(k / across / down * rows * columns + r * columns + c, std::min(kTile, rows - r),
          std::min<int64_t>(kChunk, columns - c));
      }
    });
  }
};

/// True for an output that is large and not written over one of the inputs: see Note [Streaming
/// stores].
bool streams(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (!is_streamed(out.numel * static_cast<int64_t>(element_size(out.dtype)))) return false;
  for (int k = 0; k < call.n_in; ++k) {
    const TensorImpl* t = call.maybe_in(k);
    if (t && t->data == out.data) return false;
  }
  return true;
}

}  // namespace

// ---- map ----

namespace {

/// True where elements of type t are read and written by a loop for `type` as they are.
bool is_stored_as(DType t, DType type) {
  return t == type || (t == DType::Bool && element_size(type) == 1);
}

/// How one operand reaches the loop.
struct Source {
  enum Kind : uint8_t { Direct, Constant, Gathered, Rows, Tiled } kind = Direct;
  const char* data = nullptr;     // Direct: the first element
  ConvertLoop convert = nullptr;  // Gathered: to the compute type, null if it is that already
  Walker walker;
};

constexpr int64_t kMapGrain =
    16384;  // elements for each chunk of work: 2-10 us of typical arithmetic

// Everything is contiguous, of one shape and of the compute type: one pass over memory.
bool all_direct(const Call& call, DType type) {
  const TensorImpl& out = call.out(0);
  if (!out.contiguous || !is_stored_as(out.dtype, type)) return false;
  for (int k = 0; k < call.n_in; ++k) {
    const TensorImpl* t = call.maybe_in(k);
    if (t && !(t->contiguous && is_stored_as(t->dtype, type) && t->numel == out.numel))
      return false;
  }
  return true;
}

void map_direct(const Call& call, MapLoop loop, DType type) {
  const auto item = static_cast<int64_t>(element_size(type));
  const int64_t n = call.out(0).numel;
  const bool streamed = streams(call);
  alignas(64) char constants[kMaxMapOperands][kChunk * 8];
  const char* data[kMaxMapOperands] = {};
  int slot = 0;
  int64_t step = streamed ? kChunk : n;
  for (int k = 0; k < call.n_in; ++k) {
    if (const TensorImpl* t = call.maybe_in(k)) {
      data[k] = t->data;
    } else {
      step = kChunk;
      fill_number(constants[k], type, call.params.s[slot++], std::min<int64_t>(n, kChunk));
    }
  }
  parallel_for(n, kMapGrain, [&](int64_t begin, int64_t end) {
    const void* in[kMaxMapOperands];
    for (int64_t at = begin; at < end; at += step) {
      const int64_t count = std::min(step, end - at);
      for (int k = 0; k < call.n_in; ++k) in[k] = data[k] ? data[k] + at * item : constants[k];
      char* out = call.out(0).data + at * item;
      if (streamed) {
        alignas(64) char result[kChunk * 8];
        loop(result, in, count);
        stream_out(out, result, count * item);
      } else {
        loop(out, in, count);
      }
    }
    if (streamed) stream_end();
  });
}

void map_chunked(const Call& call, MapLoop loop, DType type) {
  const TensorImpl& out = call.out(0);
  const auto item = static_cast<int64_t>(element_size(type));
  int order[kMaxDims];
  order_by_stride(out.strides, order);

  Source sources[kMaxMapOperands];
  alignas(64) char constants[kMaxMapOperands][kChunk * 8];
  int slot = 0;
  for (int k = 0; k < call.n_in; ++k) {
    Source& s = sources[k];
    const TensorImpl* t = call.maybe_in(k);
    if (!t) {
      s.kind = Source::Constant;
      fill_number(constants[k], type, call.params.s[slot++], kChunk);
      continue;
    }
    s.walker = Walker(*t, out.sizes, order);
    if (!is_stored_as(t->dtype, type)) s.convert = convert_loop(type, t->dtype);
    if (s.walker.is_constant()) {
      s.kind = Source::Constant;
      alignas(64) char raw[kChunk * 8];
      s.walker.gather(0, 1, raw);
      if (s.convert) {
        s.convert(constants[k], raw, 1);
      } else {
        std::memcpy(constants[k], raw, static_cast<size_t>(item));
      }
      // Doubles the first element up to the whole chunk.
      for (int64_t have = item; have < kChunk * item; have *= 2) {
        std::memcpy(constants[k] + have, constants[k],
                    static_cast<size_t>(std::min(have, kChunk * item - have)));
      }
    } else if (s.walker.is_flat() && !s.convert) {
      s.kind = Source::Direct;
      s.data = t->data;
    } else {
      s.kind = Source::Gathered;
    }
  }
  const Walker target(out, out.sizes, order);
  const bool direct_out = target.is_flat() && is_stored_as(out.dtype, type),
             streamed = streams(call);
  const ConvertLoop convert_out =
      is_stored_as(out.dtype, type) ? nullptr : convert_loop(out.dtype, type);

  // See Note [Tiles of transposed operands]: the first such operand decides.
  Tiling tiling;
  for (int k = 0; k < call.n_in && tiling.columns == 0; ++k) {
    if (sources[k].kind == Source::Gathered) tiling = Tiling(sources[k].walker);
  }
  // Rows that repeat (a bias) are read where they are, if chunks end at the rows' ends.
  int64_t row = 0;
  for (int k = 0; k < call.n_in && tiling.columns == 0; ++k) {
    const Walker& w = sources[k].walker;
    if (sources[k].kind != Source::Gathered || sources[k].convert || w.ndim == 0) continue;
    const int64_t length = w.sizes[w.ndim - 1];
    if (w.strides[w.ndim - 1] == w.item && length >= 64 && (row == 0 || row == length))
      row = length;
  }
  for (int k = 0; k < call.n_in; ++k) {
    Source& s = sources[k];
    if (s.kind != Source::Gathered) continue;
    if (tiling.columns != 0 && Tiling(s.walker) == tiling) {
      s.kind = Source::Tiled;
    } else if (row != 0 && !s.convert && s.walker.strides[s.walker.ndim - 1] == s.walker.item &&
               s.walker.sizes[s.walker.ndim - 1] == row) {
      s.kind = Source::Rows;
    }
  }

  // Elements [at, at + count), count at most kChunk; they are row `r` of the tile, if there is one.
  const auto chunk = [&](int64_t at, int64_t count, const char* const* tiles, int64_t r) {
    alignas(64) char gathered[kMaxMapOperands][kChunk * 8];
    alignas(64) char raw[kChunk * 8];
    alignas(64) char result[kChunk * 8];
    const void* in[kMaxMapOperands];
    for (int k = 0; k < call.n_in; ++k) {
      const Source& s = sources[k];
      switch (s.kind) {
        case Source::Constant: in[k] = constants[k]; break;
        case Source::Direct: in[k] = s.data + at * item; break;
        case Source::Rows: in[k] = s.walker.address(at); break;
        case Source::Tiled: {
          const char* packed = tiles[k] + r * kChunk * s.walker.item;
          if (s.convert) s.convert(gathered[k], packed, count);
          in[k] = s.convert ? gathered[k] : packed;
          break;
        }
        case Source::Gathered:
          in[k] = gathered[k];
          if (!s.convert) {
            s.walker.gather(at, count, gathered[k]);
          } else if (s.walker.is_flat()) {
            s.convert(gathered[k], s.walker.data + at * s.walker.item, count);
          } else {
            s.walker.gather(at, count, raw);
            s.convert(gathered[k], raw, count);
          }
      }
    }
    if (direct_out && !streamed) return loop(out.data + at * item, in, count);
    loop(result, in, count);
    if (!convert_out) {
      if (direct_out) return stream_out(out.data + at * item, result, count * item);
      target.scatter(at, count, result);
    } else if (!target.is_flat()) {
      convert_out(raw, result, count);
      target.scatter(at, count, raw);
    } else if (!streamed) {
      convert_out(out.data + at * target.item, result, count);
    } else {
      convert_out(raw, result, count);
      stream_out(out.data + at * target.item, raw, count * target.item);
    }
  };
  if (tiling.columns == 0) {
    return parallel_for(out.numel, kMapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end;) {
        int64_t count = std::min<int64_t>(kChunk, end - at);
        if (row != 0) count = std::min(count, row - at % row);
        chunk(at, count, nullptr, 0);
        at += count;
      }
      if (streamed) stream_end();
    });
  }
  tiling.for_tiles(out.numel, [&](int64_t at, int64_t rows, int64_t columns) {
    const Scratch<char> memory(call.n_in * kTile * kChunk * 8);
    const char* tiles[kMaxMapOperands];
    for (int k = 0; k < call.n_in; ++k) {
      if (sources[k].kind != Source::Tiled) continue;
      char* tile = memory.data() + k * kTile * kChunk * 8;
      gather_tile(sources[k].walker, at, rows, columns, tile, kChunk);
      tiles[k] = tile;
    }
    for (int64_t r = 0; r < rows; ++r) chunk(at + r * tiling.columns, columns, tiles, r);
    if (streamed) stream_end();
  });
}

/// The type of integers narrower than int64 in which the call can be computed; Int64 if none.
DType narrow_type(const Call& call) {
  constexpr int64_t kLow[] = {0, 0, INT8_MIN, INT16_MIN, INT32_MIN};
  constexpr int64_t kHigh[] = {1, UINT8_MAX, INT8_MAX, INT16_MAX, INT32_MAX};
  const TensorImpl* first = nullptr;
  for (int k = 0; k < call.n_in; ++k) {
    const TensorImpl* t = call.maybe_in(k);
    if (!t) continue;
    if (!first) first = t;
    if (t->dtype != first->dtype) return DType::Int64;
  }
  if (!first) return DType::Int64;  // numbers only
  const bool truth = call.op->rule == TypeRule::Comparison;
  const DType stored = first->dtype, out = call.out(0).dtype;
  if (stored >= DType::Int64 || out != (truth ? DType::Bool : stored)) return DType::Int64;
  // Bools are bytes, 0 or 1: sums, which may be 2, are left to the conversion.
  if (stored == DType::Bool && call.op->rule == TypeRule::Arithmetic) return DType::Int64;
  for (int k = 0; k < call.params.count; ++k) {
    const int64_t value = call.params.s[k].i;
    const auto type = static_cast<int>(stored);
    if (value < kLow[type] || value > kHigh[type]) return DType::Int64;
  }
  return stored == DType::Bool ? DType::UInt8 : stored;
}

void map_kernel(const Call& call) {
  if (call.out(0).numel == 0) return;
  const void* found =
      call.op->loops[static_cast<int>(DeviceType::CPU)][static_cast<int>(call.compute)];
  DType type = storage_type(call.compute);
  if (call.compute == Compute::I64 && call.op->narrow_loops[0]) {
    type = narrow_type(call);
    if (type != DType::Int64) {
      found = call.op->narrow_loops[static_cast<int>(type) - static_cast<int>(DType::UInt8)];
    }
  }
  const auto loop = reinterpret_cast<MapLoop>(const_cast<void*>(found));
  GS_CHECK_KIND(NotImplemented, loop, "\"{}\" not implemented for '{}'", call.op->name,
                scalar_name(type));
  if (all_direct(call, type)) {
    map_direct(call, loop, type);
  } else {
    map_chunked(call, loop, type);
  }
}

// ---- integer division ----

bool has_zero(const TensorImpl& t) {
  const ConvertLoop widen = convert_loop(DType::Int64, t.dtype);
  int order[kMaxDims];
  order_by_stride(t.strides, order);
  const Walker all(t, t.sizes, order);
  alignas(64) char raw[kChunk * 8];
  alignas(64) int64_t wide[kChunk];
  for (int64_t at = 0; at < t.numel; at += kChunk) {
    const int64_t n = std::min<int64_t>(kChunk, t.numel - at);
    all.gather(at, n, raw);
    widen(wide, raw, n);
    if (std::find(wide, wide + n, 0) != wide + n) return true;
  }
  return false;
}

void division_kernel(const Call& call) {
  if (call.compute == Compute::I64 && call.out(0).numel != 0) {
    const TensorImpl* divisor = call.maybe_in(1);
    const int slot = call.maybe_in(0) ? 0 : 1;
    const bool zero = divisor ? has_zero(*divisor) : call.params.s[slot].i == 0;
    GS_CHECK(!zero, "ZeroDivisionError");
  }
  map_kernel(call);
}

// ---- copy and fill ----

/// out = in, converted; any strides, in broadcast to out.
void copy_kernel(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& in = call.in(0);
  if (out.numel == 0) return;
  const ConvertLoop convert = out.dtype == in.dtype ? nullptr : convert_loop(out.dtype, in.dtype);
  const auto out_item = static_cast<int64_t>(element_size(out.dtype));
  const auto in_item = static_cast<int64_t>(element_size(in.dtype));
  if (out.contiguous && in.contiguous && out.numel == in.numel) {
    parallel_for(out.numel, kMapGrain, [&](int64_t begin, int64_t end) {
      if (convert) {
        convert(out.data + begin * out_item, in.data + begin * in_item, end - begin);
      } else {
        std::memmove(out.data + begin * out_item, in.data + begin * in_item,
                     static_cast<size_t>((end - begin) * out_item));
      }
    });
    return;
  }
  int order[kMaxDims];
  order_by_stride(out.strides, order);
  const Walker to(out, out.sizes, order);
  const Walker from(in, out.sizes, order);
  const Tiling tiling(from);
  if (tiling.columns != 0 && to.is_flat()) {
    return tiling.for_tiles(out.numel, [&](int64_t at, int64_t rows, int64_t columns) {
      if (!convert) {
        return gather_tile(from, at, rows, columns, to.data + at * to.item, tiling.columns);
      }
      alignas(64) char tile[kTile * kChunk * 8];
      gather_tile(from, at, rows, columns, tile, kChunk);
      for (int64_t r = 0; r < rows; ++r) {
        convert(to.data + (at + r * tiling.columns) * to.item, tile + r * kChunk * from.item,
                columns);
      }
    });
  }
  parallel_for(out.numel, kMapGrain, [&](int64_t begin, int64_t end) {
    alignas(64) char raw[kChunk * 8];
    alignas(64) char converted[kChunk * 8];
    for (int64_t at = begin; at < end; at += kChunk) {
      const int64_t n = std::min<int64_t>(kChunk, end - at);
      if (!convert && to.is_flat()) {
        from.gather(at, n, to.data + at * to.item);
        continue;
      }
      if (!convert && from.is_flat() && !from.is_constant()) {
        to.scatter(at, n, from.data + at * from.item);
        continue;
      }
      from.gather(at, n, raw);
      if (convert) convert(converted, raw, n);
      const char* packed = convert ? converted : raw;
      if (to.is_flat()) {
        std::memcpy(to.data + at * to.item, packed, static_cast<size_t>(n * to.item));
      } else {
        to.scatter(at, n, packed);
      }
    }
  });
}

/// out = the number in slot 0, given in the compute type of out.
void fill_kernel(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  alignas(64) char wide[kChunk * 8];
  alignas(64) char value[kChunk * 8];
  const int64_t item = static_cast<int64_t>(element_size(out.dtype));
  fill_number(wide, storage_type(call.compute), call.params.s[0],
              std::min<int64_t>(kChunk, out.numel));
  convert_loop(out.dtype, storage_type(call.compute))(value, wide,
                                                      std::min<int64_t>(kChunk, out.numel));
  int order[kMaxDims];
  order_by_stride(out.strides, order);
  const Walker to(out, out.sizes, order);
  const bool zero = std::all_of(value, value + item, [](char c) { return c == 0; });
  parallel_for(out.numel, 4 * kMapGrain, [&](int64_t begin, int64_t end) {
    if (zero && to.is_flat()) {
      std::memset(to.data + begin * item, 0, static_cast<size_t>((end - begin) * item));
      return;
    }
    for (int64_t at = begin; at < end; at += kChunk) {
      const int64_t n = std::min<int64_t>(kChunk, end - at);
      if (to.is_flat()) {
        std::memcpy(to.data + at * item, value, static_cast<size_t>(n * item));
      } else {
        to.scatter(at, n, value);
      }
    }
  });
}

}  // namespace

void register_map_driver(Op& op) { op.kernel[static_cast<int>(DeviceType::CPU)] = &map_kernel; }

void register_division_driver(Op& op) {
  op.kernel[static_cast<int>(DeviceType::CPU)] = &division_kernel;
}

void register_copy_kernels() {
  const auto cpu = static_cast<int>(DeviceType::CPU);
  Op::get("copy").kernel[cpu] = &copy_kernel;
  Op::get("fill").kernel[cpu] = &fill_kernel;
}

}  // namespace GS_ISA
}  // namespace gradstep
