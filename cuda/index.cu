// SPDX-License-Identifier: Apache-2.0
// Elements read from or written to indexed places where the order does not matter: index, gather,
// and what cuda/scatter.cu hands on.
#include "cuda/index.h"

#include <numeric>

namespace gradstep::cuda {

Places places_of(const Call& call, const TensorImpl& index, IndexRule rule, int64_t dim,
                 int64_t size, int64_t step) {
  Places p;
  p.index = reinterpret_cast<const int64_t*>(index.data);
  p.size = size;
  p.step = step;
  p.dim = dim;
  p.rule = rule;
  p.wraps = allows_negative(rule);
  p.reporter = reporter(call);
  return p;
}

// ---- moving ----

namespace {

constexpr int kIndexThreads = 256;

struct MoveArgs {
  char* flat;
  char* self;
  Places places;
  Layout<3> layout;  // flat, self, index
  Move move;
};

template <class U>
__global__ void __launch_bounds__(kIndexThreads) move_kernel(const __grid_constant__ MoveArgs a) {
  for (int64_t i = first_index(); i < a.layout.numel; i += index_stride()) {
    int64_t at[3];
    a.layout.offsets(i, at);
    const int64_t place = a.places.at(at[2]);
    U* const flat = reinterpret_cast<U*>(a.flat) + at[0];
    U* const self = reinterpret_cast<U*>(a.self);
    if (a.move == Move::Read)
      *flat = place < 0 ? U{} : self[at[1] + place];
    else if (place >= 0)
      self[at[1] + place] = *flat;
  }
}

}  // namespace

void move_indexed(const Call& call, Indexed x, Move move) {
  sort_axes(x, &Indexed::Axis::flat, &Indexed::Axis::self);
  MoveArgs a{x.flat, x.self, x.places, {}, move};
  for (int k = 0; k < x.n; ++k) {
    const Indexed::Axis& axis = x.axes[k];
    a.layout.add(axis.size, {axis.flat, axis.self, axis.index});
  }
  a.layout.finish();
  if (a.layout.numel == 0) return;
  const auto element = int64_t(element_size(x.dtype));
  const int unit = widen(a.layout, size_t(element), 0b011, {a.flat, a.self}, {a.places.step});
  a.places.step /= unit / element;
  by_unit(unit, [&](auto tag) {
    launch_grid(call, &move_kernel<decltype(tag)>, blocks_for(call, a.layout.numel, kIndexThreads),
                kIndexThreads, a);
  });
}

// ---- several index tensors ----

namespace {

struct JoinArgs {
  int64_t* out;  // null: the indices are checked only
  int count;
  Places places[kMaxDims];
  Layout<kMaxDims> layout;
};

__global__ void __launch_bounds__(kIndexThreads) join_kernel(const __grid_constant__ JoinArgs a) {
  for (int64_t i = first_index(); i < a.layout.numel; i += index_stride()) {
    int64_t at[kMaxDims];
    a.layout.offsets(i, at);
    int64_t sum = 0;
    for (int k = 0; k < a.count; ++k) {
      const int64_t place = a.places[k].at(at[k]);
      sum = place < 0 || sum < 0 ? -1 : sum + place;
    }
    if (a.out) a.out[i] = sum;
  }
}

}  // namespace

JoinedIndex join_index(const Call& call, int first, const TensorImpl& self, int64_t* out) {
  const auto rule = static_cast<IndexRule>(call.i(0));
  const int axes = call.n_in - first;
  JoinedIndex joined{out, 0, 1};
  for (int k = 0; k < axes; ++k) {
    if (self.sizes[k] > 1) joined.unit = std::gcd(joined.unit, self.strides[k]);
  }
  if (joined.unit == 0) joined.unit = 1;
  const auto step = [&](int k) { return self.sizes[k] > 1 ? self.strides[k] / joined.unit : 0; };
  for (int k = 0; k < axes; ++k) joined.span += (self.sizes[k] - 1) * step(k);
  JoinArgs a;
  a.out = out;
  a.count = axes;
  const TensorImpl& like = call.in(first);
  for (int k = 0; k < a.count; ++k) {
    a.places[k] = places_of(call, call.in(first + k), rule, call.i(1) >> (4 * k) & 15,
                            self.sizes[k], step(k));
  }
  for (int d = like.ndim() - 1; d >= 0; --d) {
    int64_t steps[kMaxDims] = {};
    for (int k = 0; k < a.count; ++k) steps[k] = call.in(first + k).strides[d];
    a.layout.add(like.sizes[d], steps);
  }
  a.layout.finish();
  launch_grid(call, &join_kernel, blocks_for(call, a.layout.numel, kIndexThreads), kIndexThreads,
              a);
  return joined;
}

// ---- the geometry of calls ----

Indexed indexed_axes(const Call& call, int first, const TensorImpl& self, const TensorImpl& flat,
                     const JoinedIndex* joined) {
  const int n_b = int(call.i(2)), n_axes = call.n_in - first;
  const TensorImpl& index = call.in(first);
  Indexed x;
  x.self = self.data;
  x.flat = flat.data;
  x.dtype = self.dtype;
  x.places = places_of(call, index, static_cast<IndexRule>(call.i(0)), call.i(1) & 15,
                       self.sizes[0], self.strides[0]);
  if (joined) {
    x.places.index = joined->places;
    x.places.ready = true;
    x.places.size = joined->span;
    x.places.step = joined->unit;
  }
  for (int d = n_b; d < flat.ndim(); ++d) {
    x.add(flat.sizes[d], self.strides[d - n_b + n_axes], flat.strides[d], 0, false);
  }
  int64_t row_major = 1;
  for (int d = n_b - 1; d >= 0; --d) {
    x.add(flat.sizes[d], 0, flat.strides[d], joined ? row_major : index.strides[d], true);
    row_major *= flat.sizes[d];
  }
  return x;
}

Indexed indexed_along(const Call& call, const TensorImpl& self, const TensorImpl& flat,
                      const TensorImpl& index) {
  const int dim = int(call.i(0));
  const bool scalar = self.ndim() == 0;
  Indexed x;
  x.self = self.data;
  x.flat = flat.data;
  x.dtype = self.dtype;
  x.places = places_of(call, index, IndexRule::Gather, dim, scalar ? 1 : self.sizes[dim],
                       scalar ? 0 : self.strides[dim]);
  for (int d = 0; d < index.ndim(); ++d) {
    x.add(index.sizes[d], d == dim || scalar ? 0 : self.strides[d],
          flat.ndim() == 0 ? 0 : flat.strides[d], index.strides[d], d == dim);
  }
  return x;
}

// ---- the ops ----

namespace {

void index(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& self = call.in(0);
  const DeviceGuard guard(out.device.index);
  if (call.n_in == 2 && out.numel != 0) {
    return move_indexed(call, indexed_axes(call, 1, self, out), Move::Read);
  }
  // Where nothing is read the indices are checked all the same.
  const DeviceScratch<int64_t> buffer(out.numel == 0 ? 0 : call.in(1).numel, call);
  const JoinedIndex joined = join_index(call, 1, self, buffer.data());
  move_indexed(call, indexed_axes(call, 1, self, out, &joined), Move::Read);
}

void gather(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  move_indexed(call, indexed_along(call, call.in(0), call.out(0), call.in(1)), Move::Read);
}

}  // namespace

GS_CUDA_KERNEL("index", index);
GS_CUDA_KERNEL("gather", gather);

}  // namespace gradstep::cuda
