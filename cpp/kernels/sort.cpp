// SPDX-License-Identifier: Apache-2.0
// Sorting and selection on the CPU. Every element becomes an unsigned key that orders as PyTorch
// does (NaN greatest, -0 equal to 0) paired with its place, so that any sort of the pairs is a
// stable sort.
//   sort(values, places; self), topk, kthvalue    along one axis, any strides
//   unique_rows, searchsorted                     on contiguous tensors
// May include core, fn, graph/call.h.
#include <bit>
#include <numeric>

#include "fn/sort_key.h"
#include "graph/call.h"
#include "kernels/walk.h"

namespace gradstep {

namespace {

// ---- keys ----

template <class T>
auto sort_key(T v) {
  if constexpr (std::is_same_v<T, double>) {
    return float_key(std::bit_cast<uint64_t>(v));
  } else if constexpr (std::is_same_v<T, float> || requires { v.bits; }) {
    return float_key(std::bit_cast<uint32_t>(convert<float>(v)));
  } else if constexpr (sizeof(T) == 8) {
    return integer_key(static_cast<int64_t>(v));
  } else {
    return integer_key(static_cast<int32_t>(v));
  }
}

/// A key with its place. Keys of 32 bits share one word with it.
struct Packed {
  uint64_t word;
  Packed() = default;
  Packed(uint32_t key, int64_t place) : word(uint64_t{key} << 32 | static_cast<uint64_t>(place)) {}
  uint32_t key() const { return static_cast<uint32_t>(word >> 32); }
  int64_t place() const { return static_cast<int64_t>(word & 0xffffffffu); }
  friend bool operator<(Packed a, Packed b) { return a.word < b.word; }
};
struct Wide {
  uint64_t k;
  int64_t p;
  Wide() = default;
  Wide(uint64_t key, int64_t place) : k(key), p(place) {}
  uint64_t key() const { return k; }
  int64_t place() const { return p; }
  friend bool operator<(const Wide& a, const Wide& b) { return a.k != b.k ? a.k < b.k : a.p < b.p; }
};

// ---- sorting pairs ----

constexpr int64_t kRadixFrom = 256;  // measured on random floats: std::sort is faster below

/// Sorts by key; items come in order of place and equal keys stay so. `spare` has room for n items.
template <class Item>
void sort_items(Item* items, Item* spare, int64_t n) {
  if (n < kRadixFrom) {
    std::sort(items, items + n);
    return;
  }
  constexpr int kBits = 8;  // 11 were slower for every n: the tables leave L1
  constexpr int kBuckets = 1 << kBits;
  using Key = decltype(items->key());
  Item* from = items;
  Item* to = spare;
  for (int shift = 0; shift < static_cast<int>(8 * sizeof(Key)); shift += kBits) {
    auto digit = [&](const Item& x) {
      return static_cast<size_t>(x.key() >> shift) & (kBuckets - 1);
    };
    int64_t start[kBuckets] = {};
    for (int64_t j = 0; j < n; ++j) ++start[digit(from[j])];
    if (start[digit(from[0])] == n) continue;
    int64_t sum = 0;
    for (int64_t& s : start) sum += std::exchange(s, sum);
    for (int64_t j = 0; j < n; ++j) to[start[digit(from[j])]++] = from[j];
    std::swap(from, to);
  }
  if (from != items) std::copy_n(from, n, items);
}

/// The k smallest items come first, in any order.
template <class Item>
void select_items(Item* items, int64_t n, int64_t k) {
  if (k >= n) return;
  if (k * 8 > n) {
    std::nth_element(items, items + k - 1, items + n);
    return;
  }
  std::make_heap(items, items + k);
  for (int64_t j = k; j < n; ++j) {
    if (!(items[j] < items[0])) continue;
    std::pop_heap(items, items + k);
    items[k - 1] = items[j];
    std::push_heap(items, items + k);
  }
}

/// Calls f(item type, base): the smaller kind of pair that holds the keys less base and places
/// below n.
template <class T, class F>
void with_item(const char* x, int64_t step, int64_t n, F&& f) {
  using Key = decltype(sort_key(T{}));
  if (n < int64_t{1} << 32) {
    if constexpr (sizeof(Key) == 4) {
      return f(Packed{}, Key{0});
    } else if constexpr (std::is_integral_v<T>) {
      // Most int64 values lie close together.
      Key low = ~Key{0}, high = 0;
      for (int64_t j = 0; j < n; ++j) {
        const Key key = sort_key(*reinterpret_cast<const T*>(x + j * step));
        low = std::min(low, key);
        high = std::max(high, key);
      }
      if (n > 0 && high - low < Key{1} << 32) return f(Packed{}, low);
    }
  }
  f(Wide{}, Key{0});
}

template <class Item, class T, class Key>
void fill_items(Item* items, const char* x, int64_t step, int64_t n, bool descending, Key base) {
  for (int64_t j = 0; j < n; ++j) {
    const Key key = sort_key(*reinterpret_cast<const T*>(x + j * step)) - base;
    items[j] = Item(static_cast<decltype(items->key())>(descending ? ~key : key), j);
  }
}

/// For each slice of self along dim: work(items, spare, n), then the first k items are written out.
template <class Work>
void for_slices(const Call& c, int64_t dim_param, bool descending, bool spare, int64_t k,
                Work&& work) {
  TensorImpl& values = c.out(0);
  TensorImpl& places = c.out(1);
  TensorImpl& self = c.in(0);
  const int dim = static_cast<int>(dim_param);
  const bool scalar = self.ndim() == 0;
  const int64_t n = scalar ? 1 : self.sizes[dim];
  if (self.numel == 0 || values.numel == 0) return;
  Walk<3> walk;
  for (int d = 0; d < self.ndim(); ++d) {
    if (d == dim) continue;
    walk.add(self.sizes[d], {byte_stride(values, d), byte_stride(places, d), byte_stride(self, d)});
  }
  const int64_t step_values = scalar ? 0 : byte_stride(values, dim);
  const int64_t step_places = scalar ? 0 : byte_stride(places, dim);
  const int64_t step_self = scalar ? 0 : byte_stride(self, dim);
  dispatch(self.dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool packed = sizeof(sort_key(T{})) == 4 && n < int64_t{1} << 32;
    const int64_t bytes = n * static_cast<int64_t>(packed ? sizeof(Packed) : sizeof(Wide));
    parallel_for(
        walk.numel, std::max<int64_t>(1, kGrain / 16 / n), [&](int64_t begin, int64_t end) {
          Scratch<char> buffer(spare ? 2 * bytes : bytes);
          auto slice = [&](char* v, char* i, const char* x) {
            with_item<T>(x, step_self, n, [&](auto item, auto base) {
              using Item = decltype(item);
              Item* items = reinterpret_cast<Item*>(buffer.data());
              fill_items<Item, T>(items, x, step_self, n, descending, base);
              work(items, spare ? items + n : nullptr, n);
              for (int64_t j = 0; j < k; ++j) {
                const int64_t at = items[j].place();
                *reinterpret_cast<T*>(v + j * step_values) =
                    *reinterpret_cast<const T*>(x + at * step_self);
                *reinterpret_cast<int64_t*>(i + j * step_places) = at;
              }
            });
          };
          walk.run(
              begin, end, {values.data, places.data, self.data}, [&](const auto& p, int64_t m) {
                for (int64_t r = 0; r < m; ++r) {
                  slice(p[0] + r * walk.step(0), p[1] + r * walk.step(1), p[2] + r * walk.step(2));
                }
              });
        });
  });
}

// dim, descending
void sort(const Call& c) {
  const int64_t n = c.in(0).ndim() == 0 ? 1 : c.in(0).sizes[static_cast<int>(c.i(0))];
  for_slices(c, c.i(0), c.i(1) != 0, n >= kRadixFrom, n,
             [](auto* items, auto* spare, int64_t count) { sort_items(items, spare, count); });
}

// dim, k, largest, sorted
void topk(const Call& c) {
  const int64_t k = c.i(1);
  const bool sorted = c.i(3) != 0;
  for_slices(c, c.i(0), c.i(2) != 0, false, k, [&](auto* items, auto*, int64_t n) {
    select_items(items, n, k);
    if (sorted) std::sort(items, items + k);
  });
}

// dim, k from 1; the outputs have size 1 along dim
void kthvalue(const Call& c) {
  const int64_t k = c.i(1);
  for_slices(c, c.i(0), false, false, 1, [&](auto* items, auto*, int64_t n) {
    std::nth_element(items, items + k - 1, items + n);
    items[0] = items[k - 1];
  });
}

GS_CPU_KERNEL("sort", sort);
GS_CPU_KERNEL("topk", topk);
GS_CPU_KERNEL("kthvalue", kthvalue);

// ---- unique ----

// Of the rows of self [n, m]: first[u] is a row of the u-th kind, inverse[r] the kind of row r,
// counts[u] how many rows are of it, total[0] the number of kinds. Kinds are sorted, or runs of
// equal rows.
void unique_rows(const Call& c) {
  auto* first = reinterpret_cast<int64_t*>(c.out(0).data);
  auto* inverse = reinterpret_cast<int64_t*>(c.out(1).data);
  auto* counts = reinterpret_cast<int64_t*>(c.out(2).data);
  auto* total = reinterpret_cast<int64_t*>(c.out(3).data);
  TensorImpl& self = c.in(0);
  const bool consecutive = c.i(0) != 0;
  const int64_t n = self.sizes[0];
  const int64_t m = self.sizes[1];
  Scratch<int64_t> order(n);
  dispatch(self.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const T* x = reinterpret_cast<const T*>(self.data);
    auto at = [&](int64_t row, int64_t j) { return convert<C>(x[row * m + j]); };
    if (consecutive) {
      std::iota(order.data(), order.data() + n, 0);
    } else if (m == 1) {
      with_item<T>(self.data, sizeof(T), n, [&](auto item, auto base) {
        using Item = decltype(item);
        Scratch<Item> items(2 * n);
        fill_items<Item, T>(items.data(), self.data, sizeof(T), n, false, base);
        sort_items(items.data(), items.data() + n, n);
        for (int64_t j = 0; j < n; ++j) order[j] = items[j].place();
      });
    } else {
      std::iota(order.data(), order.data() + n, 0);
      std::stable_sort(order.data(), order.data() + n, [&](int64_t a, int64_t b) {
        for (int64_t j = 0; j < m; ++j) {
          const auto u = sort_key(x[a * m + j]), v = sort_key(x[b * m + j]);
          if (u != v) return u < v;
        }
        return false;
      });
    }
    int64_t kinds = 0;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = order[j];
      bool same = j > 0;  // NaN differs from everything
      for (int64_t k = 0; same && k < m; ++k) same = at(row, k) == at(order[j - 1], k);
      if (!same) {
        first[kinds] = row;
        counts[kinds++] = 0;
      }
      inverse[row] = kinds - 1;
      ++counts[kinds - 1];
    }
    *total = kinds;
  });
}

GS_CPU_KERNEL("unique_rows", unique_rows);

// ---- searchsorted ----

// out[.., j] = how many boundaries are below values[.., j] (right: at most that); all are
// contiguous
void searchsorted(const Call& c) {
  TensorImpl& bounds = c.in(0);
  TensorImpl& values = c.in(1);
  const TensorImpl* sorter = c.maybe_in(2);
  auto* out = reinterpret_cast<int64_t*>(c.out(0).data);
  const bool right = c.i(0) != 0;
  const int64_t n = bounds.sizes.back();
  const int64_t per_row =
      bounds.ndim() == 1 || values.numel == 0 ? values.numel : values.sizes.back();
  dispatch(bounds.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    parallel_for(values.numel, kGrain / 8, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t row = j / per_row;
        const T* b = reinterpret_cast<const T*>(bounds.data) + row * n;
        const int64_t* s =
            sorter ? reinterpret_cast<const int64_t*>(sorter->data) + row * n : nullptr;
        const C v = convert<C>(reinterpret_cast<const T*>(values.data)[j]);
        int64_t low = 0;
        for (int64_t high = n; low < high;) {
          const int64_t mid = low + (high - low) / 2;
          const C m = convert<C>(b[s ? s[mid] : mid]);
          if (right ? !(m > v) : !(m >= v)) {
            low = mid + 1;
          } else {
            high = mid;
          }
        }
        out[j] = low;
      }
    });
  });
}

GS_CPU_KERNEL("searchsorted", searchsorted);

}  // namespace
}  // namespace gradstep
