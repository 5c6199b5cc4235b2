// SPDX-License-Identifier: Apache-2.0
// Elements of a tensor as items to sort or to select from: a key that orders as PyTorch does
// (fn/sort_key.h) and the place in the slice as the tie break.
#pragma once
#include "cuda/sort_keys.h"
#include "cuda/strides.h"
#include "cuda/values.h"
#include "fn/sort_key.h"

namespace gradstep::cuda {

/// True where keys need 64 bits.
inline bool is_wide(DType t) { return element_size(t) == 8; }

template <class Item>
GS_DEVICE Item item_of(const char* p, DType t, int64_t at, int64_t place, bool descending) {
  if constexpr (sizeof(Item) == sizeof(Word)) {
    const uint32_t key = is_floating(t) ? float_key(__float_as_uint(load_as<float>(p, t, at)))
                                        : integer_key(int32_t(load_as<int64_t>(p, t, at)));
    return {uint64_t(descending ? ~key : key) << 32 | uint64_t(place)};
  } else {
    const uint64_t key =
        t == DType::Float64
            ? float_key(uint64_t(__double_as_longlong(reinterpret_cast<const double*>(p)[at])))
            : integer_key(load_as<int64_t>(p, t, at));
    return {descending ? ~key : key, place};
  }
}
GS_DEVICE uint64_t key_of(Word w) { return w.v >> 32; }
GS_DEVICE uint64_t key_of(const Pair& p) { return p.key; }
GS_DEVICE int64_t place_of(Word w) { return int64_t(w.v & 0xffffffffu); }
GS_DEVICE int64_t place_of(const Pair& p) { return p.place; }

template <class Item>
inline constexpr int kKeyBits = sizeof(Item) == sizeof(Word) ? 32 : 64;
/// The greatest key: NaN's, and the greatest integer's.
template <class Item>
inline constexpr uint64_t kLastKey = ~uint64_t(0) >> (64 - kKeyBits<Item>);

GS_DEVICE void copy_element(char* to, const char* from, int bytes) {
  if (bytes == 4)
    *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(from);
  else if (bytes == 8)
    *reinterpret_cast<uint64_t*>(to) = *reinterpret_cast<const uint64_t*>(from);
  else if (bytes == 2)
    *reinterpret_cast<uint16_t*>(to) = *reinterpret_cast<const uint16_t*>(from);
  else
    *to = *from;
}

/// The slices of a tensor along one axis.
struct Slices {
  int64_t rows = 1, n = 1;

  Slices(const TensorImpl& t, int64_t axis) {
    for (int d = 0; d < t.ndim(); ++d) (d == axis ? n : rows) *= t.sizes[d];
  }
};
/// Where the slices begin in tensors of one shape, but for the axis; slices are counted in its
/// order.
template <int N>
Layout<N> starts_of(const TensorImpl* const (&tensors)[N], int64_t axis) {
  Layout<N> l;
  for (int d = tensors[0]->ndim() - 1; d >= 0; --d) {
    if (d == axis) continue;
    int64_t step[N];
    for (int j = 0; j < N; ++j) step[j] = tensors[j]->strides[d];
    l.add(tensors[0]->sizes[d], step);
  }
  l.finish();
  return l;
}
inline int64_t step_of(const TensorImpl& t, int64_t axis) {
  return t.ndim() == 0 ? 0 : t.strides[int(axis)];
}

/// Calls f(Item{}) with the smaller kind of item that holds keys of the type and places below n.
template <class F>
void by_item(DType type, int64_t n, F f) {
  if (is_wide(type) || n >= int64_t(1) << 32)
    f(Pair{});
  else
    f(Word{});
}

// ---- what is written of rows of items ----

template <class Item>
struct TakeArgs {
  const Item* items;
  int64_t rows, n, first, k;  // items [first, first + k) of each row
  char *values, *self;
  int64_t* places;
  int item;  // bytes of an element
  int64_t step[3];
  Layout<3> starts;  // of values, places, self
};

template <class Item>
__global__ void take_items_kernel(const __grid_constant__ TakeArgs<Item> a) {
  for (int64_t e = first_index(); e < a.rows * a.k; e += index_stride()) {
    const int64_t row = e / a.k, j = e % a.k;
    int64_t at[3];
    a.starts.offsets(row, at);
    const int64_t place = place_of(a.items[row * a.n + a.first + j]);
    copy_element(a.values + (at[0] + j * a.step[0]) * a.item,
                 a.self + (at[2] + place * a.step[2]) * a.item, a.item);
    a.places[at[1] + j * a.step[1]] = place;
  }
}

/// The outputs of (values, places; self) along an axis = items [first, first + k) of rows of n.
template <class Item>
void take_items(const Call& call, int64_t axis, const Item* items, int64_t rows, int64_t n,
                int64_t first, int64_t k) {
  constexpr int kThreads = 256;
  TensorImpl &values = call.out(0), &places = call.out(1), &self = call.in(0);
  const TensorImpl* tensors[] = {&values, &places, &self};
  const TakeArgs<Item> a{items,
                         rows,
                         n,
                         first,
                         k,
                         values.data,
                         self.data,
                         reinterpret_cast<int64_t*>(places.data),
                         int(element_size(self.dtype)),
                         {step_of(values, axis), step_of(places, axis), step_of(self, axis)},
                         starts_of(tensors, axis)};
  launch_grid(call, &take_items_kernel<Item>, blocks_for(call, rows * k, kThreads), kThreads, a);
}

/// The same from the slices of self, sorted whole.
void take_sorted(const Call& call, int64_t axis, bool descending, int64_t first, int64_t k);
/// The op "median" by a sort of the slices.
void take_median(const Call& call);

}  // namespace gradstep::cuda
