// SPDX-License-Identifier: Apache-2.0
// Selection from rows without sorting them: topk, kthvalue, median; operands and params as in
// cpp/kernels/sort.cpp and scan.cpp. See Note [Radix select].
#include "cuda/scan.h"
#include "cuda/sort_items.h"

namespace gradstep::cuda {

namespace {

// Note [Radix select]
// The key of the item of rank k is found digit by digit, from the highest: items with the digits
// found so far are counted by their next digit, which tells in which bin the rank falls. Counts are
// integers, so the order of the atomics does not matter. Then one more pass takes the items below
// that key, and of those equal to it the first ones by place, as a stable sort would. A block does
// all of this for a row; few long rows are cut into pieces, a launch for each step.

constexpr int kThreads = 512;
constexpr int kDigit = 11;  // three passes for keys of 32 bits
constexpr int kBins = 1 << kDigit;
constexpr int kBinsEach = kBins / kThreads;
constexpr int kAhead = 4;  // elements in flight of a thread

constexpr int64_t kLeastRow = 4096;     // shorter ones are sorted
constexpr int64_t kEnoughRows = 128;    // for a block each
constexpr int64_t kLeastPiece = 16384;  // elements of a row
constexpr int64_t kMostPieces = 1024;

struct State {
  uint64_t prefix;  // the digits of the key found so far; the others are 0
  int64_t rank;     // from 1, among the items with these digits
  int64_t k;        // from 1, among all
};

template <class Item>
struct SelectArgs {
  const char* data;
  DType type;
  int64_t rows, n, step;
  Layout<3> starts;  // of self, values, places
  bool descending;
  int64_t k;  // 0: the median's rank
  bool ignore_nan;
  int64_t piece, pieces;
  Item* items;  // the first k of each row, in any order; null: that of rank k is written to
  char* values;
  int64_t* places;
  uint32_t* bins;  // where rows have pieces: [rows, kBins],
  State* states;   // [rows],
  int64_t* taken;  // [rows, pieces, 2]: items below the key, items equal to it

  GS_DEVICE int64_t start(int64_t row) const {
    int64_t at[3];
    starts.offsets(row, at);
    return at[0];
  }
  GS_DEVICE void put(int64_t row, int64_t place) const {
    int64_t at[3];
    starts.offsets(row, at);
    const int bytes = int(element_size(type));
    copy_element(values + at[1] * bytes, data + (at[0] + place * step) * bytes, bytes);
    places[at[2]] = place;
  }
  GS_DEVICE Item item(int64_t base, int64_t j) const {
    return item_of<Item>(data, type, base + j * step, j, descending);
  }
  GS_DEVICE bool is_nan(uint64_t key) const { return is_floating(type) && key == kLastKey<Item>; }
};

/// Calls f(item) for elements [begin, end) of the row that starts at `base`; all threads share.
template <class Item, class F>
GS_DEVICE void each_item(const SelectArgs<Item>& a, int64_t base, int64_t begin, int64_t end, F f) {
  for (int64_t j = begin + threadIdx.x; j < end; j += kThreads * kAhead) {
    Item items[kAhead];
    GS_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int64_t at = j + u * kThreads;
      items[u] = a.item(base, at < end ? at : j);
    }
    GS_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      if (j + u * kThreads < end) f(items[u]);
    }
  }
}

GS_DEVICE void clear_bins(uint32_t* bins) {
  for (int b = int(threadIdx.x); b < kBins; b += kThreads) bins[b] = 0;
  __syncthreads();
}

/// Counts the items that have the digits above bit `high` by the digit that begins at `low`.
template <class Item>
GS_DEVICE void count_digits(const SelectArgs<Item>& a, int64_t base, int64_t begin, int64_t end,
                            uint64_t prefix, int high, int low, uint32_t* bins) {
  each_item(a, base, begin, end, [&](const Item& item) {
    const uint64_t key = key_of(item);
    // Shifts by less than 64: high is 64 only while no digit is known.
    if (high < kKeyBits<Item> && (key >> (high & 63)) != (prefix >> (high & 63))) return;
    atomicAdd(bins + (int(key >> low) & (kBins - 1)), 1u);
  });
  __syncthreads();
}

struct AddNumbers {
  GS_FN int64_t operator()(int64_t a, int64_t b) const { return a + b; }
};

/// The digit in whose bin the rank falls, for all threads.
GS_DEVICE void choose_digit(State& s, const uint32_t* bins, int low) {
  __shared__ State chosen;
  const int first = int(threadIdx.x) * kBinsEach;
  int64_t mine = 0, total;
  GS_UNROLL
  for (int b = 0; b < kBinsEach; ++b) mine += bins[first + b];
  int64_t before = block_scan(mine, AddNumbers{}, int64_t(0), &total);
  if (before < s.rank && s.rank <= before + mine) {
    int b = first;
    for (; s.rank > before + bins[b]; ++b) before += bins[b];
    chosen = {s.prefix | uint64_t(b) << low, s.rank - before, s.k};
  }
  __syncthreads();
  s = chosen;
  __syncthreads();
}

/// The rank that is wanted of a row with so many numbers that are not NaN.
template <class Item>
GS_DEVICE State start_state(const SelectArgs<Item>& a, int64_t numbers) {
  int64_t k = a.k;
  if (k == 0) {
    const bool nan = numbers == 0 || (numbers < a.n && !a.ignore_nan);
    k = nan ? numbers + 1 : (numbers - 1) / 2 + 1;
  }
  return {0, k, k};
}

template <class Item>
GS_DEVICE int64_t count_numbers(const SelectArgs<Item>& a, int64_t base, int64_t begin,
                                int64_t end) {
  int64_t nan = 0;
  each_item(a, base, begin, end, [&](const Item& item) { nan += a.is_nan(key_of(item)); });
  return end - begin - block_sum(nan);
}

/// Items below the key, and equal to it.
struct Taken {
  int64_t below, equal;
  GS_FN Taken operator+(const Taken& o) const { return {below + o.below, equal + o.equal}; }
};

/// Writes what is selected of elements [begin, end), after so many of the elements before.
template <class Item>
GS_DEVICE void write_selected(const SelectArgs<Item>& a, int64_t row, int64_t base, int64_t begin,
                              int64_t end, const State& s, Taken before) {
  for (int64_t tile = begin; tile < end; tile += kThreads) {
    const int64_t j = tile + threadIdx.x;
    const Item item = a.item(base, j < end ? j : end - 1);
    const uint64_t key = key_of(item);
    const Taken mine = {j < end && key < s.prefix, j < end && key == s.prefix};
    // Most tiles of a large row have nothing to give.
    if (!__syncthreads_or(int(mine.below + mine.equal))) continue;
    Taken total;
    const Taken at = before + block_scan(mine, AddValues{}, Taken{0, 0}, &total);
    if (!a.items) {
      if (mine.equal && at.equal + 1 == s.rank) a.put(row, j);
    } else {
      if (mine.below) a.items[row * a.k + at.below] = item;
      if (mine.equal && at.equal < s.rank) a.items[row * a.k + (s.k - s.rank) + at.equal] = item;
    }
    before = before + total;
  }
}

template <class Item>
__global__ void __launch_bounds__(kThreads)
    select_rows(const __grid_constant__ SelectArgs<Item> a) {
  __shared__ uint32_t bins[kBins];
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const int64_t base = a.start(row);
    State s = start_state(a, a.k ? a.n : count_numbers(a, base, 0, a.n));
    for (int high = kKeyBits<Item>; high > 0; high -= kDigit) {
      const int low = high > kDigit ? high - kDigit : 0;
      clear_bins(bins);
      count_digits(a, base, 0, a.n, s.prefix, high, low, bins);
      choose_digit(s, bins, low);
    }
    write_selected(a, row, base, 0, a.n, s, Taken{0, 0});
    __syncthreads();
  }
}

// ---- the same step by step, several blocks for a row ----

/// Calls f(row, piece, begin, end) for the pieces of this block.
template <class Item, class F>
GS_DEVICE void for_pieces(const SelectArgs<Item>& a, F f) {
  for (int64_t task = blockIdx.x; task < a.rows * a.pieces; task += gridDim.x) {
    const int64_t row = task / a.pieces, piece = task % a.pieces, begin = piece * a.piece;
    f(row, piece, begin, begin + a.piece < a.n ? begin + a.piece : a.n);
    __syncthreads();
  }
}

/// taken[row, piece, 0] = the numbers of the piece.
template <class Item>
__global__ void __launch_bounds__(kThreads)
    count_pieces(const __grid_constant__ SelectArgs<Item> a) {
  for_pieces(a, [&](int64_t row, int64_t piece, int64_t begin, int64_t end) {
    const int64_t numbers = count_numbers(a, a.start(row), begin, end);
    if (threadIdx.x == 0) a.taken[2 * (row * a.pieces + piece)] = numbers;
  });
}

/// A block for a row: the state before the first digit, and empty bins.
template <class Item>
__global__ void __launch_bounds__(kThreads)
    start_pieces(const __grid_constant__ SelectArgs<Item> a) {
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    int64_t numbers = 0;
    for (int64_t p = threadIdx.x; !a.k && p < a.pieces; p += kThreads) {
      numbers += a.taken[2 * (row * a.pieces + p)];
    }
    numbers = block_sum(numbers);
    if (threadIdx.x == 0) a.states[row] = start_state(a, numbers);
    clear_bins(a.bins + row * kBins);
  }
}

template <class Item>
__global__ void __launch_bounds__(kThreads)
    digit_pieces(const __grid_constant__ SelectArgs<Item> a, int high, int low) {
  __shared__ uint32_t bins[kBins];
  for_pieces(a, [&](int64_t row, int64_t, int64_t begin, int64_t end) {
    clear_bins(bins);
    count_digits(a, a.start(row), begin, end, a.states[row].prefix, high, low, bins);
    for (int b = int(threadIdx.x); b < kBins; b += kThreads) {
      if (bins[b] != 0) atomicAdd(a.bins + row * kBins + b, bins[b]);
    }
  });
}

/// A block for a row: takes the digit and empties the bins.
template <class Item>
__global__ void __launch_bounds__(kThreads)
    choose_pieces(const __grid_constant__ SelectArgs<Item> a, int low) {
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    uint32_t* const bins = a.bins + row * kBins;
    State s = a.states[row];
    choose_digit(s, bins, low);
    if (threadIdx.x == 0) a.states[row] = s;
    clear_bins(bins);
  }
}

template <class Item>
__global__ void __launch_bounds__(kThreads)
    count_taken(const __grid_constant__ SelectArgs<Item> a) {
  for_pieces(a, [&](int64_t row, int64_t piece, int64_t begin, int64_t end) {
    const uint64_t prefix = a.states[row].prefix;
    Taken t = {0, 0};
    each_item(a, a.start(row), begin, end, [&](const Item& item) {
      const uint64_t key = key_of(item);
      t = t + Taken{key < prefix, key == prefix};
    });
    t = block_reduce(t, AddValues{}, Taken{0, 0});
    if (threadIdx.x != 0) return;
    a.taken[2 * (row * a.pieces + piece)] = t.below;
    a.taken[2 * (row * a.pieces + piece) + 1] = t.equal;
  });
}

template <class Item>
__global__ void __launch_bounds__(kThreads)
    write_pieces(const __grid_constant__ SelectArgs<Item> a) {
  for_pieces(a, [&](int64_t row, int64_t piece, int64_t begin, int64_t end) {
    const int64_t* const taken = a.taken + 2 * row * a.pieces;
    if (taken[2 * piece] + taken[2 * piece + 1] == 0) return;
    Taken before = {0, 0};
    for (int64_t p = threadIdx.x; p < piece; p += kThreads) {
      before = before + Taken{taken[2 * p], taken[2 * p + 1]};
    }
    before = block_reduce(before, AddValues{}, Taken{0, 0});
    write_selected(a, row, a.start(row), begin, end, a.states[row], before);
  });
}

template <class Item>
void run_select(const Call& call, SelectArgs<Item>& a) {
  const auto blocks = [&](int64_t n) { return blocks_for(call, n * kThreads, kThreads); };
  if (a.rows >= kEnoughRows || a.n < 2 * kLeastPiece) {
    return launch_grid(call, &select_rows<Item>, blocks(a.rows), kThreads, a);
  }
  a.pieces = (a.n + kLeastPiece - 1) / kLeastPiece;
  if (a.pieces > kMostPieces) a.pieces = kMostPieces;
  a.piece = (a.n + a.pieces - 1) / a.pieces;
  const DeviceScratch<uint32_t> bins(a.rows * kBins, call);
  const DeviceScratch<State> states(a.rows, call);
  const DeviceScratch<int64_t> taken(2 * a.rows * a.pieces, call);
  a.bins = bins.data();
  a.states = states.data();
  a.taken = taken.data();
  const unsigned many = blocks(a.rows * a.pieces), few = blocks(a.rows);
  if (a.k == 0) launch_grid(call, &count_pieces<Item>, many, kThreads, a);
  launch_grid(call, &start_pieces<Item>, few, kThreads, a);
  for (int high = kKeyBits<Item>; high > 0; high -= kDigit) {
    const int low = high > kDigit ? high - kDigit : 0;
    launch_grid(call, &digit_pieces<Item>, many, kThreads, a, high, low);
    launch_grid(call, &choose_pieces<Item>, few, kThreads, a, low);
  }
  launch_grid(call, &count_taken<Item>, many, kThreads, a);
  launch_grid(call, &write_pieces<Item>, many, kThreads, a);
}

/// For the slices of self along an axis, those of outputs that lack it too.
template <class Item>
SelectArgs<Item> select_args(const Call& call, int64_t axis, bool descending, int64_t k) {
  TensorImpl &self = call.in(0), &values = call.out(0), &places = call.out(1);
  const Slices s(self, axis);
  SelectArgs<Item> a{};
  a.data = self.data;
  a.type = self.dtype;
  a.rows = s.rows;
  a.n = s.n;
  a.step = step_of(self, axis);
  for (int d = self.ndim() - 1; d >= 0; --d) {
    if (d == axis) continue;
    const int out = values.ndim() < self.ndim() && d > axis ? d - 1 : d;
    a.starts.add(self.sizes[d], {self.strides[d], values.strides[out], places.strides[out]});
  }
  a.starts.finish();
  a.descending = descending;
  a.k = k;
  a.values = values.data;
  a.places = reinterpret_cast<int64_t*>(places.data);
  return a;
}

/// values, places = the item of rank k of each slice in ascending order; of the median if k is 0.
void select_one(const Call& call, int64_t axis, int64_t k, bool ignore_nan) {
  const DeviceGuard guard(call.out(0).device.index);
  by_item(call.in(0).dtype, Slices(call.in(0), axis).n, [&](auto tag) {
    auto a = select_args<decltype(tag)>(call, axis, false, k);
    a.ignore_nan = ignore_nan;
    run_select(call, a);
  });
}

int64_t length(const Call& call, int64_t axis) { return Slices(call.in(0), axis).n; }
bool is_empty(const Call& call) { return call.in(0).numel == 0 || call.out(0).numel == 0; }

void topk(const Call& call) {
  if (is_empty(call)) return;
  const int64_t k = call.i(1), n = length(call, call.i(0));
  if (n < kLeastRow || k * 8 > n) return take_sorted(call, call.i(0), call.i(2) != 0, 0, k);
  const DeviceGuard guard(call.out(0).device.index);
  by_item(call.in(0).dtype, n, [&](auto tag) {
    using Item = decltype(tag);
    auto a = select_args<Item>(call, call.i(0), call.i(2) != 0, k);
    const DeviceScratch<Item> items(a.rows * k, call), spare(a.rows * k, call);
    a.items = items.data();
    run_select(call, a);
    const Item* const sorted = sort_items(call, items.data(), spare.data(), a.rows, k);
    take_items(call, call.i(0), sorted, a.rows, k, 0, k);
  });
}

void kthvalue(const Call& call) {
  if (is_empty(call)) return;
  const int64_t k = call.i(1);
  if (length(call, call.i(0)) < kLeastRow) return take_sorted(call, call.i(0), false, k - 1, 1);
  select_one(call, call.i(0), k, false);
}

void median(const Call& call) {
  if (is_empty(call)) return;
  if (length(call, call.i(0)) < kLeastRow) return take_median(call);
  select_one(call, call.i(0), 0, call.i(1) != 0);
}

GS_CUDA_KERNEL("topk", topk);
GS_CUDA_KERNEL("kthvalue", kthvalue);
GS_CUDA_KERNEL("median", median);

}  // namespace

}  // namespace gradstep::cuda
