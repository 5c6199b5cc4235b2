// SPDX-License-Identifier: Apache-2.0
// Sorting: sort, mode, unique_rows, searchsorted, and topk, kthvalue and median of short rows;
// operands and params as in cpp/kernels/sort.cpp and scan.cpp. Every element becomes a key with its
// place (cuda/sort_items.h); rows of them are sorted whole (cuda/sort_keys.h), selections take what
// they need of the result.
#include "cuda/block.h"
#include "cuda/scan.h"
#include "cuda/sort_items.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 256;

// ---- whole sorts ----

template <class Item>
struct FillArgs {
  Item* items;
  int64_t rows, n;
  const char* data;
  DType type;
  bool descending;
  int64_t step;      // between the elements of a row
  Layout<1> starts;  // where the rows begin
};

template <class Item>
__global__ void fill_items(const __grid_constant__ FillArgs<Item> a) {
  for (int64_t e = first_index(); e < a.rows * a.n; e += index_stride()) {
    const int64_t row = e / a.n, j = e % a.n;
    int64_t at[1];
    a.starts.offsets(row, at);
    a.items[e] = item_of<Item>(a.data, a.type, at[0] + j * a.step, j, a.descending);
  }
}

/// Calls f(sorted items, rows, n): the slices of x along an axis.
template <class F>
void with_sorted(const Call& call, const TensorImpl& x, int64_t axis, bool descending, F f) {
  const Slices s(x, axis);
  by_item(x.dtype, s.n, [&](auto tag) {
    using Item = decltype(tag);
    const DeviceScratch<Item> items(s.rows * s.n, call), spare(s.rows * s.n, call);
    const TensorImpl* tensors[] = {&x};
    const FillArgs<Item> a{items.data(),
                           s.rows,
                           s.n,
                           x.data,
                           x.dtype,
                           descending,
                           step_of(x, axis),
                           starts_of(tensors, axis)};
    launch_grid(call, &fill_items<Item>, blocks_for(call, s.rows * s.n, kThreads), kThreads, a);
    f(sort_items(call, items.data(), spare.data(), s.rows, s.n), s);
  });
}

void sort(const Call& call) {
  const TensorImpl& x = call.in(0);
  take_sorted(call, call.i(0), call.i(1) != 0, 0, x.ndim() == 0 ? 1 : x.sizes[int(call.i(0))]);
}

GS_CUDA_KERNEL("sort", sort);

// ---- median, mode ----

template <class Item>
struct PickArgs {
  const Item* items;
  int64_t rows, n;
  char *values, *self;
  int64_t* places;
  int item;
  int64_t inner;  // self is [outer, n, inner]
  bool has_nan;   // floats: the greatest key is NaN's
  bool ignore_nan;
};

template <class Item>
GS_DEVICE void put_pick(const PickArgs<Item>& a, int64_t row, int64_t place) {
  const int64_t start = row / a.inner * a.n * a.inner + row % a.inner;
  copy_element(a.values + row * a.item, a.self + (start + place * a.inner) * a.item, a.item);
  a.places[row] = place;
}

/// The first item in [low, n) whose key is above `key`.
template <class Item>
GS_DEVICE int64_t end_of_run(const Item* items, int64_t low, int64_t n, uint64_t key) {
  int64_t high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (key_of(items[middle]) > key)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

template <class Item>
__global__ void pick_median(const __grid_constant__ PickArgs<Item> a) {
  for (int64_t row = first_index(); row < a.rows; row += index_stride()) {
    const Item* items = a.items + row * a.n;
    const int64_t numbers = a.has_nan ? end_of_run(items, 0, a.n, kLastKey<Item> - 1) : a.n;
    const bool nan = numbers == 0 || (numbers < a.n && !a.ignore_nan);
    put_pick(a, row, place_of(items[nan ? numbers : (numbers - 1) / 2]));
  }
}

struct Run {
  int64_t length, start;
};

/// A block for each row: the longest run of equal keys, of the least value if there are several.
template <class Item>
__global__ void __launch_bounds__(kThreads) pick_mode(const __grid_constant__ PickArgs<Item> a) {
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const Item* items = a.items + row * a.n;
    const auto longer = [] GS_LAMBDA(Run x, Run y) {
      const bool first = x.length > y.length || (x.length == y.length && x.start < y.start);
      return first ? x : y;
    };
    Run best{0, a.n};
    for (int64_t j = threadIdx.x; j < a.n; j += blockDim.x) {
      const uint64_t key = key_of(items[j]);
      const bool nan = a.has_nan && key == kLastKey<Item>;  // each differs from all others
      if (!nan && j > 0 && key_of(items[j - 1]) == key) continue;
      const Run mine{nan ? 1 : end_of_run(items, j + 1, a.n, key) - j, j};
      best = longer(best, mine);
    }
    best = block_reduce(best, longer, Run{0, a.n});
    if (threadIdx.x == 0) put_pick(a, row, place_of(items[best.start + best.length - 1]));
  }
}

template <bool kMode>
void pick(const Call& call) {
  TensorImpl &values = call.out(0), &x = call.in(0);
  if (values.numel == 0 || x.numel == 0) return;
  const DeviceGuard guard(values.device.index);
  const int64_t axis = call.i(0);
  int64_t inner = 1;
  for (int d = int(axis) + 1; d < x.ndim(); ++d) inner *= x.sizes[d];
  with_sorted(call, x, axis, false, [&](auto* items, const Slices& s) {
    using Item = std::remove_pointer_t<decltype(items)>;
    const PickArgs<Item> a{items,
                           s.rows,
                           s.n,
                           values.data,
                           x.data,
                           reinterpret_cast<int64_t*>(call.out(1).data),
                           int(element_size(x.dtype)),
                           inner,
                           is_floating(x.dtype),
                           call.i(1) != 0};
    if constexpr (kMode) {
      launch_grid(call, &pick_mode<Item>, blocks_for(call, s.rows * kThreads, kThreads), kThreads,
                  a);
    } else {
      launch_grid(call, &pick_median<Item>, blocks_for(call, s.rows, 128), 128, a);
    }
  });
}

void mode(const Call& call) { pick<true>(call); }

GS_CUDA_KERNEL("mode", mode);

// ---- unique ----

struct UniqueArgs {
  int64_t n, m;
  const char* data;
  DType type;
  int64_t* order;  // the rows, equal ones side by side
  int64_t* kind;   // at j: how many kinds begin in front of j
  int64_t* first;  // outputs, see cpp/kernels/sort.cpp
  int64_t* inverse;
  int64_t* counts;
  int64_t* total;
};

__global__ void first_order(const __grid_constant__ UniqueArgs a) {
  for (int64_t j = first_index(); j < a.n; j += index_stride()) a.order[j] = j;
}

template <class Item>
__global__ void column_items(const __grid_constant__ UniqueArgs a, Item* items, int64_t column) {
  for (int64_t j = first_index(); j < a.n; j += index_stride()) {
    items[j] = item_of<Item>(a.data, a.type, a.order[j] * a.m + column, j, false);
  }
}
/// order = the old order at the places of the sorted items.
template <class Item>
__global__ void reorder(const __grid_constant__ UniqueArgs a, const Item* items,
                        const int64_t* old) {
  for (int64_t j = first_index(); j < a.n; j += index_stride())
    a.order[j] = old[place_of(items[j])];
}

template <class C>
GS_DEVICE bool begins_kind(const UniqueArgs& a, int64_t j) {
  if (j == 0) return true;
  const int64_t row = a.order[j] * a.m, before = a.order[j - 1] * a.m;
  for (int64_t k = 0; k < a.m; ++k) {
    // NaN differs from everything.
    if (!(load_as<C>(a.data, a.type, row + k) == load_as<C>(a.data, a.type, before + k)))
      return true;
  }
  return false;
}

template <class C>
__global__ void mark_kinds(const __grid_constant__ UniqueArgs a) {
  for (int64_t j = first_index(); j < a.n; j += index_stride()) a.kind[j] = begins_kind<C>(a, j);
}

/// kind is summed up by now. counts holds where kinds begin until count_kinds.
template <class C>
__global__ void write_kinds(const __grid_constant__ UniqueArgs a, int64_t* begins) {
  for (int64_t j = first_index(); j < a.n; j += index_stride()) {
    const bool begins_here = begins_kind<C>(a, j);
    const int64_t kind = a.kind[j] + begins_here - 1;
    a.inverse[a.order[j]] = kind;
    if (begins_here) {
      a.first[kind] = a.order[j];
      begins[kind] = j;
    }
    if (j == a.n - 1) a.total[0] = kind + 1;
  }
}
__global__ void count_kinds(const __grid_constant__ UniqueArgs a, const int64_t* begins) {
  for (int64_t k = first_index(); k < a.total[0]; k += index_stride()) {
    a.counts[k] = (k + 1 < a.total[0] ? begins[k + 1] : a.n) - begins[k];
  }
}

/// The rows of a matrix in order: by the last column first, each sort keeps what it finds equal.
template <class Item>
void sort_rows(const Call& call, const UniqueArgs& a, unsigned blocks) {
  const DeviceScratch<Item> items(a.n, call), spare(a.n, call);
  const DeviceScratch<int64_t> old(a.n, call);
  for (int64_t column = a.m - 1; column >= 0; --column) {
    launch_grid(call, &column_items<Item>, blocks, kThreads, a, items.data(), column);
    const Item* sorted = sort_items(call, items.data(), spare.data(), 1, a.n);
    check(cudaMemcpyAsync(old.data(), a.order, size_t(a.n) * sizeof(int64_t),
                          cudaMemcpyDeviceToDevice, stream_of(call)),
          call.op->name);
    launch_grid(call, &reorder<Item>, blocks, kThreads, a, sorted,
                static_cast<const int64_t*>(old.data()));
  }
}

struct AddCounts {
  GS_FN int64_t operator()(int64_t a, int64_t b) const { return a + b; }
};

void unique_rows(const Call& call) {
  const TensorImpl& self = call.in(0);
  const DeviceGuard guard(self.device.index);
  const auto out = [&](int i) { return reinterpret_cast<int64_t*>(call.out(i).data); };
  const int64_t n = self.sizes[0];
  if (n == 0) {
    return check(cudaMemsetAsync(out(3), 0, sizeof(int64_t), stream_of(call)), call.op->name);
  }
  const DeviceScratch<int64_t> order(n, call), kind(n, call), begins(n, call);
  const UniqueArgs a{n,           self.sizes[1], self.data, self.dtype, order.data(),
                     kind.data(), out(0),        out(1),    out(2),     out(3)};
  const unsigned blocks = blocks_for(call, n, kThreads);
  launch_grid(call, &first_order, blocks, kThreads, a);
  if (call.i(0) == 0) {
    if (is_wide(self.dtype) || n >= int64_t(1) << 32)
      sort_rows<Pair>(call, a, blocks);
    else
      sort_rows<Word>(call, a, blocks);
  }
  by_compute(compute_type(self.dtype), [&](auto tag) {
    using C = decltype(tag);
    launch_grid(call, &mark_kinds<C>, blocks, kThreads, a);
    scan_exclusive(call, kind.data(), n, AddCounts{}, int64_t(0));
    launch_grid(call, &write_kinds<C>, blocks, kThreads, a, begins.data());
    launch_grid(call, &count_kinds, blocks, kThreads, a,
                static_cast<const int64_t*>(begins.data()));
  });
}

GS_CUDA_KERNEL("unique_rows", unique_rows);

// ---- searchsorted ----

struct SearchArgs {
  int64_t count, n, per_row;
  const char *bounds, *values;
  DType bounds_type, values_type;
  const int64_t* sorter;
  int64_t* out;
  bool right;
};

template <class C>
__global__ void search(const __grid_constant__ SearchArgs a) {
  for (int64_t j = first_index(); j < a.count; j += index_stride()) {
    const int64_t base = j / a.per_row * a.n;
    const C v = load_as<C>(a.values, a.values_type, j);
    int64_t low = 0;
    for (int64_t high = a.n; low < high;) {
      const int64_t middle = low + (high - low) / 2;
      const C m =
          load_as<C>(a.bounds, a.bounds_type, base + (a.sorter ? a.sorter[base + middle] : middle));
      if (a.right ? !(m > v) : !(m >= v))
        low = middle + 1;
      else
        high = middle;
    }
    a.out[j] = low;
  }
}

void searchsorted(const Call& call) {
  const TensorImpl &bounds = call.in(0), &values = call.in(1);
  if (values.numel == 0) return;
  const DeviceGuard guard(values.device.index);
  const TensorImpl* sorter = call.maybe_in(2);
  const SearchArgs a{values.numel,
                     bounds.sizes.back(),
                     bounds.ndim() == 1 ? values.numel : values.sizes.back(),
                     bounds.data,
                     values.data,
                     bounds.dtype,
                     values.dtype,
                     sorter ? reinterpret_cast<const int64_t*>(sorter->data) : nullptr,
                     reinterpret_cast<int64_t*>(call.out(0).data),
                     call.i(0) != 0};
  by_compute(compute_type(bounds.dtype), [&](auto tag) {
    using C = decltype(tag);
    launch_grid(call, &search<C>, blocks_for(call, a.count, kThreads), kThreads, a);
  });
}

GS_CUDA_KERNEL("searchsorted", searchsorted);

}  // namespace

void take_sorted(const Call& call, int64_t axis, bool descending, int64_t first, int64_t k) {
  if (call.in(0).numel == 0 || call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  with_sorted(call, call.in(0), axis, descending, [&](auto* items, const Slices& s) {
    take_items(call, axis, items, s.rows, s.n, first, k);
  });
}

void take_median(const Call& call) { pick<false>(call); }

}  // namespace gradstep::cuda
