// SPDX-License-Identifier: Apache-2.0
// Elements laid out anew: cat, repeat, flip, triangles; number sequences.
#include "core/layout.h"
#include "cuda/units.h"
#include "cuda/values.h"

namespace gradstep::cuda {

namespace {

constexpr int kShapeThreads = 256;

// ---- copies by strides ----

struct CopyArgs {
  char* out;
  const char* in;
  Layout<2> layout;
};

template <class U>
__global__ void __launch_bounds__(kShapeThreads)
    copy_units_kernel(const __grid_constant__ CopyArgs a) {
  for (int64_t i = first_index(); i < a.layout.numel; i += index_stride()) {
    int64_t at[2];
    a.layout.offsets(i, at);
    reinterpret_cast<U*>(a.out)[at[0]] = reinterpret_cast<const U*>(a.in)[at[1]];
  }
}

/// The layout is in elements.
void copy_units(const Call& call, CopyArgs a, DType dtype) {
  if (a.layout.numel == 0) return;
  by_unit(widen(a.layout, element_size(dtype), 0b11, {a.out, a.in}), [&](auto tag) {
    launch_grid(call, &copy_units_kernel<decltype(tag)>,
                blocks_for(call, a.layout.numel, kShapeThreads), kShapeThreads, a);
  });
}

// ---- cat ----

/// Inputs that lie as the output does: each is `outer` pieces of bytes.
struct CatArgs {
  static constexpr int kMost = 64;
  char* out;
  int64_t outer, out_step;  // in units
  int count;
  const char* in[kMost];
  int64_t at[kMost], size[kMost];  // of a piece, in units
};

template <class U>
__global__ void __launch_bounds__(kShapeThreads) cat_kernel(const __grid_constant__ CatArgs a) {
  const int k = int(blockIdx.y);
  const int64_t size = a.size[k];
  const U* const in = reinterpret_cast<const U*>(a.in[k]);
  U* const out = reinterpret_cast<U*>(a.out) + a.at[k];
  for (int64_t i = first_index(); i < a.outer * size; i += index_stride()) {
    const int64_t row = a.outer == 1 ? 0 : i / size;
    out[row * a.out_step + (i - row * size)] = in[i];
  }
}

void launch_cat(const Call& call, CatArgs& a) {
  if (a.count == 0) return;
  uint64_t together = uint64_t(a.out_step) | reinterpret_cast<uintptr_t>(a.out);
  int64_t largest = 0;
  for (int k = 0; k < a.count; ++k) {
    together |= uint64_t(a.at[k]) | uint64_t(a.size[k]) | reinterpret_cast<uintptr_t>(a.in[k]);
    largest = a.size[k] > largest ? a.size[k] : largest;
  }
  int unit = 16;
  while (together % uint64_t(unit) != 0) unit /= 2;
  a.out_step /= unit;
  for (int k = 0; k < a.count; ++k) {
    a.at[k] /= unit;
    a.size[k] /= unit;
  }
  by_unit(unit, [&](auto tag) {
    const unsigned blocks = blocks_for(call, a.outer * (largest / unit), kShapeThreads);
    launch_grid(call, &cat_kernel<decltype(tag)>, dim3(blocks, unsigned(a.count)), kShapeThreads,
                a);
  });
  a.count = 0;
}

void cat(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const int dim = int(call.i(0));
  const auto element = int64_t(element_size(out.dtype));
  int64_t outer = 1;
  for (int d = 0; d < dim; ++d) outer *= out.sizes[d];
  CatArgs a;
  a.out = out.data;
  a.outer = outer;
  a.count = 0;
  int64_t begin = 0;
  for (int k = 0; k < call.n_in; ++k) {
    const TensorImpl& x = call.in(k);
    const int64_t at = begin;
    begin += x.sizes[dim];
    if (x.numel == 0) continue;
    if (out.contiguous && x.contiguous) {
      a.out_step = out.numel / outer * element;
      a.in[a.count] = x.data;
      a.at[a.count] = out.numel / outer / out.sizes[dim] * at * element;
      a.size[a.count] = x.numel / outer * element;
      if (++a.count == CatArgs::kMost) launch_cat(call, a);
      continue;
    }
    int order[kMaxDims];
    order_by_stride(out.strides, order);
    CopyArgs c{out.data + at * out.strides[dim] * element, x.data, {}};
    for (int d = x.ndim() - 1; d >= 0; --d) {
      c.layout.add(x.sizes[order[d]], {out.strides[order[d]], x.strides[order[d]]});
    }
    c.layout.finish();
    copy_units(call, c, out.dtype);
  }
  launch_cat(call, a);
}

// ---- repeat ----

struct RepeatArgs {
  char* out;
  const char* in;
  int64_t n;
  int ndim;
  int64_t out_sizes[kMaxDims], sizes[kMaxDims], strides[kMaxDims];  // the innermost axis first
};

template <class U>
__global__ void __launch_bounds__(kShapeThreads)
    repeat_kernel(const __grid_constant__ RepeatArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t rest = i, from = 0;
    for (int d = 0; d < a.ndim; ++d) {
      const int64_t q = d + 1 == a.ndim ? 0 : rest / a.out_sizes[d];
      from += (rest - q * a.out_sizes[d]) % a.sizes[d] * a.strides[d];
      rest = q;
    }
    reinterpret_cast<U*>(a.out)[i] = reinterpret_cast<const U*>(a.in)[from];
  }
}

/// out[i0, i1, ..] = self[i0 % size0, ..]; out is contiguous, self has its leading axes already.
void repeat(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& self = call.in(0);
  if (out.numel == 0 || self.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  RepeatArgs a{out.data, self.data, out.numel, 0, {}, {}, {}};
  for (int d = out.ndim() - 1; d >= 0; --d) {
    // An axis that is not repeated joins one that it continues.
    const int64_t size = self.sizes[d], step = size == 1 ? 0 : self.strides[d];
    if (out.sizes[d] == 1) continue;
    const int last = a.ndim - 1;
    if (last >= 0 && a.out_sizes[last] == a.sizes[last] && size > 1 &&
        step == a.strides[last] * a.sizes[last]) {
      a.out_sizes[last] *= out.sizes[d];
      a.sizes[last] *= size;
      continue;
    }
    a.out_sizes[a.ndim] = out.sizes[d];
    a.sizes[a.ndim] = size;
    a.strides[a.ndim++] = step;
  }
  // Whole units, where each repetition of the innermost axis has some.
  const size_t element = element_size(out.dtype);
  int64_t join = 16 / int64_t(element);
  const auto fits = [&] {
    bool ok = a.ndim > 0 && a.strides[0] == 1 && a.sizes[0] % join == 0;
    for (int d = 1; d < a.ndim; ++d) ok = ok && a.strides[d] % join == 0;
    const size_t unit = size_t(join) * element;
    return ok && reinterpret_cast<uintptr_t>(a.out) % unit == 0 &&
           reinterpret_cast<uintptr_t>(a.in) % unit == 0;
  };
  while (join > 1 && !fits()) join /= 2;
  if (join > 1) {
    a.n /= join;
    a.out_sizes[0] /= join;
    a.sizes[0] /= join;
    for (int d = 1; d < a.ndim; ++d) a.strides[d] /= join;
  }
  by_unit(int(join * int64_t(element)), [&](auto tag) {
    launch_grid(call, &repeat_kernel<decltype(tag)>, blocks_for(call, a.n, kShapeThreads),
                kShapeThreads, a);
  });
}

// ---- flip ----

/// The axes of the mask run backwards.
void flip(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& self = call.in(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  int order[kMaxDims];
  order_by_stride(out.strides, order);
  CopyArgs a{out.data, self.data, {}};
  for (int k = out.ndim() - 1; k >= 0; --k) {
    const int d = order[k];
    const int64_t step = self.strides[d];
    const bool back = call.i(0) >> d & 1;
    if (back) a.in += (self.sizes[d] - 1) * step * int64_t(element_size(out.dtype));
    a.layout.add(out.sizes[d], {out.strides[d], back ? -step : step});
  }
  a.layout.finish();
  copy_units(call, a, out.dtype);
}

// ---- triangles ----

struct TriangleArgs {
  char* out;
  const char* in;
  Layout<3> layout;  // out, self, column - row
  int64_t diagonal;
  bool upper;
};

template <class U>
__global__ void __launch_bounds__(kShapeThreads)
    triangle_kernel(const __grid_constant__ TriangleArgs a) {
  for (int64_t i = first_index(); i < a.layout.numel; i += index_stride()) {
    int64_t at[3];
    a.layout.offsets(i, at);
    const bool keep = a.upper ? at[2] >= a.diagonal : at[2] <= a.diagonal;
    reinterpret_cast<U*>(a.out)[at[0]] = keep ? reinterpret_cast<const U*>(a.in)[at[1]] : U(0);
  }
}

/// The last two axes: elements with column - row above (tril) or below (triu) k become 0.
void triangle(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& self = call.in(0);
  const DeviceGuard guard(out.device.index);
  TriangleArgs a{out.data, self.data, {}, call.i(0), call.i(1) != 0};
  int order[kMaxDims];
  order_by_stride(out.strides, order);
  for (int k = out.ndim() - 1; k >= 0; --k) {
    const int d = order[k], from_end = out.ndim() - 1 - d;
    a.layout.add(out.sizes[d], {out.strides[d], self.strides[d],
                                from_end == 0   ? 1
                                : from_end == 1 ? -1
                                                : 0});
  }
  a.layout.finish();
  by_unit(int(element_size(out.dtype)), [&](auto tag) {
    using U = decltype(tag);
    if constexpr (!std::is_same_v<U, uint4>) {
      launch_grid(call, &triangle_kernel<U>, blocks_for(call, a.layout.numel, kShapeThreads),
                  kShapeThreads, a);
    }
  });
}

// ---- sequences ----

template <class C>
struct SequenceArgs {
  char* out;
  DType dtype;
  int64_t n, half;  // from `half` on it counts down from end
  C start, step, end;
};

template <class C>
__global__ void __launch_bounds__(kShapeThreads)
    sequence_kernel(const __grid_constant__ SequenceArgs<C> a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    store_as<C>(a.out, a.dtype, i,
                i < a.half ? a.start + a.step * C(i) : a.end - a.step * C(a.n - 1 - i));
  }
}

/// out[i] = start + i * step, rounded once; the second half counts down from `end` when asked, as
/// linspace does.
void sequence(const Call& call) {
  const TensorImpl& out = call.out(0);
  const DeviceGuard guard(out.device.index);
  const int64_t half = call.i(3) ? (out.numel + 1) / 2 : out.numel;
  const unsigned blocks = blocks_for(call, out.numel, kShapeThreads);
  if (is_floating(out.dtype)) {
    const SequenceArgs<double> a{out.data,  out.dtype, out.numel, half,
                                 call.f(0), call.f(1), call.f(2)};
    launch_grid(call, &sequence_kernel<double>, blocks, kShapeThreads, a);
  } else {
    const SequenceArgs<int64_t> a{out.data,  out.dtype, out.numel, half,
                                  call.i(0), call.i(1), call.i(2)};
    launch_grid(call, &sequence_kernel<int64_t>, blocks, kShapeThreads, a);
  }
}

}  // namespace

GS_CUDA_KERNEL("cat", cat);
GS_CUDA_KERNEL("repeat", repeat);
GS_CUDA_KERNEL("flip", flip);
GS_CUDA_KERNEL("triangle", triangle);
GS_CUDA_KERNEL("sequence", sequence);

}  // namespace gradstep::cuda
