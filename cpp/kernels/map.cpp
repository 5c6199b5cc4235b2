// SPDX-License-Identifier: Apache-2.0
// The map skeleton on the CPU: one driver for all elementwise ops, plus copy and fill.
// Operands that are contiguous and of the compute type go to the op's loop as they are, over the
// whole range. Anything else (strides, broadcast, another dtype, a Python number) is brought to it
// 512 elements at a time. Compiled once for each instruction set.
#include "kernels/map.h"

#include <algorithm>
#include <cstring>

#include "core/layout.h"
#include "core/threads.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- conversion ----

namespace {

template <class To, class From>
void convert_all(void* dst, const void* src, int64_t n) {
  auto* d = static_cast<To*>(dst);
  const auto* s = static_cast<const From*>(src);
  for (int64_t i = 0; i < n; ++i) d[i] = convert<To>(s[i]);
}

template <class To>
ConvertLoop convert_from(DType from) {
  return dispatch(from, [](auto tag) -> ConvertLoop { return &convert_all<To, decltype(tag)>; });
}

}  // namespace

ConvertLoop convert_loop(DType to, DType from) {
  return dispatch(to, [&](auto tag) { return convert_from<decltype(tag)>(from); });
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

void Walker::gather(int64_t begin, int64_t n, void* dst) const {
  walk_items<true>(*this, begin, n, static_cast<char*>(dst));
}

void Walker::scatter(int64_t begin, int64_t n, const void* src) const {
  walk_items<false>(*this, begin, n, const_cast<char*>(static_cast<const char*>(src)));
}

// ---- map ----

namespace {

void fill_number(void* dst, Compute c, Params::Slot value, int64_t n) {
  switch (c) {
    case Compute::F32: std::fill_n(static_cast<float*>(dst), n, static_cast<float>(value.f)); break;
    case Compute::F64: std::fill_n(static_cast<double*>(dst), n, value.f); break;
    case Compute::I64: std::fill_n(static_cast<int64_t*>(dst), n, value.i); break;
  }
}

/// How one operand reaches the loop.
struct Source {
  enum Kind : uint8_t { Direct, Constant, Gathered } kind = Direct;
  const char* data = nullptr;     // Direct: the first element
  ConvertLoop convert = nullptr;  // Gathered: to the compute type, null if it is that already
  Walker walker;
};

constexpr int64_t kMapGrain =
    16384;  // elements for each chunk of work: 2-10 us of typical arithmetic

// Everything is contiguous, of one shape and of the compute type: one pass over memory.
bool all_direct(const Call& call, DType type) {
  const TensorImpl& out = call.out(0);
  if (!out.contiguous || out.dtype != type) return false;
  for (int k = 0; k < call.n_in; ++k) {
    const TensorImpl* t = call.maybe_in(k);
    if (t && !(t->contiguous && t->dtype == type && t->numel == out.numel)) return false;
  }
  return true;
}

void map_direct(const Call& call, MapLoop loop, int64_t item) {
  const int64_t n = call.out(0).numel;
  alignas(64) char constants[kMaxMapOperands][kChunk * 8];
  const char* data[kMaxMapOperands] = {};
  int slot = 0;
  int64_t step = n;
  for (int k = 0; k < call.n_in; ++k) {
    if (const TensorImpl* t = call.maybe_in(k)) {
      data[k] = t->data;
    } else {
      step = kChunk;
      fill_number(constants[k], call.compute, call.params.s[slot++], std::min<int64_t>(n, kChunk));
    }
  }
  parallel_for(n, kMapGrain, [&](int64_t begin, int64_t end) {
    const void* in[kMaxMapOperands];
    for (int64_t at = begin; at < end; at += step) {
      const int64_t count = std::min(step, end - at);
      for (int k = 0; k < call.n_in; ++k) in[k] = data[k] ? data[k] + at * item : constants[k];
      loop(call.out(0).data + at * item, in, count);
    }
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
      fill_number(constants[k], call.compute, call.params.s[slot++], kChunk);
      continue;
    }
    s.walker = Walker(*t, out.sizes, order);
    if (t->dtype != type) s.convert = convert_loop(type, t->dtype);
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
  const bool direct_out = target.is_flat() && out.dtype == type;
  const ConvertLoop convert_out = out.dtype == type ? nullptr : convert_loop(out.dtype, type);

  parallel_for(out.numel, kMapGrain, [&](int64_t begin, int64_t end) {
    alignas(64) char gathered[kMaxMapOperands][kChunk * 8];
    alignas(64) char raw[kChunk * 8];
    alignas(64) char result[kChunk * 8];
    const void* in[kMaxMapOperands];
    for (int64_t at = begin; at < end; at += kChunk) {
      const int64_t count = std::min<int64_t>(kChunk, end - at);
      for (int k = 0; k < call.n_in; ++k) {
        const Source& s = sources[k];
        if (s.kind == Source::Constant) {
          in[k] = constants[k];
        } else if (s.kind == Source::Direct) {
          in[k] = s.data + at * item;
        } else if (!s.convert) {
          s.walker.gather(at, count, gathered[k]);
          in[k] = gathered[k];
        } else if (s.walker.is_flat()) {
          s.convert(gathered[k], s.walker.data + at * s.walker.item, count);
          in[k] = gathered[k];
        } else {
          s.walker.gather(at, count, raw);
          s.convert(gathered[k], raw, count);
          in[k] = gathered[k];
        }
      }
      if (direct_out) {
        loop(out.data + at * item, in, count);
        continue;
      }
      loop(result, in, count);
      if (!convert_out) {
        target.scatter(at, count, result);
      } else if (target.is_flat()) {
        convert_out(out.data + at * target.item, result, count);
      } else {
        convert_out(raw, result, count);
        target.scatter(at, count, raw);
      }
    }
  });
}

void map_kernel(const Call& call) {
  if (call.out(0).numel == 0) return;
  const auto loop =
      reinterpret_cast<MapLoop>(const_cast<void*>(call.op->loops[static_cast<int>(call.compute)]));
  const DType type = storage_type(call.compute);
  GS_CHECK_KIND(NotImplemented, loop, "\"{}\" not implemented for '{}'", call.op->name,
                scalar_name(type));
  if (all_direct(call, type)) {
    map_direct(call, loop, static_cast<int64_t>(element_size(type)));
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
  fill_number(wide, call.compute, call.params.s[0], std::min<int64_t>(kChunk, out.numel));
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
