// SPDX-License-Identifier: Apache-2.0
// The multi skeleton on the CPU: one pass over a list of tensors of any sizes, for optimizer steps,
// zeroing, clipping, unscaling and norms. All tensors together are cut into chunks, so 161 tiny
// ones cost one region; what is contiguous and of the compute type runs as it is, the rest goes
// through L1. Compiled once for each instruction set. See Note [Operands of a multi call].
#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/layout.h"
#include "core/threads.h"
#include "fn/optim.h"
#include "fn/partial.h"
#include "graph/cut.h"
#include "kernels/map.h"
#include "kernels/stream.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

constexpr int64_t kMultiGrain =
    16384;  // elements: 3 to 5 streams of 64 KB, so that a chunk stays in L2

// ---- one element range ----

/// The operands of one parameter when some need conversion or have strides.
template <int kTensors>
struct Strided {
  Walker walker[kTensors];
  ConvertLoop load[kTensors];  // null: already of the compute type
  ConvertLoop store[kTensors];
};

template <class F>
struct Item {
  int64_t begin;    // its first element in the concatenation of all
  int64_t from;     // .. is this one of the parameter
  int64_t strided;  // index into the strided ones, or -1
  char* data[F::kTensors];
  F rule;
};

template <class F, class S, size_t... J>
GS_FN void apply_vector(const F& rule, S* const* p, int64_t at, std::index_sequence<J...>) {
  using V = Native<S>;
  V v[] = {V::load(p[J] + at)...};
  rule(v[J]...);
  ((F::kWrites >> J & 1 ? v[J].store(p[J] + at) : void()), ...);
}

template <class F, class S, size_t... J>
GS_FN void apply_rest(const F& rule, S* const* p, int64_t at, int n, std::index_sequence<J...>) {
  Native<S> v[] = {load_some<Native<S>>(p[J] + at, n)...};
  rule(v[J]...);
  ((F::kWrites >> J & 1 ? store_some(p[J] + at, v[J], n) : void()), ...);
}

/// The only arithmetic loop: contiguous, in the compute type.
template <class F, class S, size_t... J>
void run_loop(const F& shared, char* const* data, int64_t from, int64_t n,
              std::index_sequence<J...> all) {
  constexpr int kLanesOfS = Native<S>::size;
  const F rule = shared;
  S* const p[] = {reinterpret_cast<S*>(data[J]) + from...};
  int64_t i = 0;
  for (; i + kLanesOfS <= n; i += kLanesOfS) apply_vector<F, S>(rule, p, i, all);
  if (i < n) apply_rest<F, S>(rule, p, i, static_cast<int>(n - i), all);
}

/// `look` gets each chunk as it was loaded, before the rule; `writes` says what is stored.
template <class F, class S, class Look>
void run_strided(const F& rule, const Strided<F::kTensors>& t, int64_t from, int64_t n,
                 unsigned writes, const Look& look) {
  alignas(64) S buffer[F::kTensors][kChunk];
  alignas(64) char raw[kChunk * sizeof(double)];
  for (int64_t done = 0; done < n; done += kChunk) {
    const int64_t at = from + done, m = std::min<int64_t>(kChunk, n - done);
    char* p[F::kTensors];
    for (int j = 0; j < F::kTensors; ++j) {
      const Walker& w = t.walker[j];
      p[j] = reinterpret_cast<char*>(buffer[j]);
      char* const flat = w.is_flat() ? w.data + at * w.item : nullptr;
      if (!t.load[j]) {
        if (flat)
          p[j] = flat;
        else
          w.gather(at, m, p[j]);
      } else {
        if (!flat) w.gather(at, m, raw);
        t.load[j](p[j], flat ? flat : raw, m);
      }
    }
    look(p, 0, m);
    run_loop<F, S>(rule, p, 0, m, std::make_index_sequence<F::kTensors>());
    for (int j = 0; j < F::kTensors; ++j) {
      const Walker& w = t.walker[j];
      if (!(writes >> j & 1)) continue;
      char* const flat = w.is_flat() ? w.data + at * w.item : nullptr;
      if (!t.store[j]) {
        if (!flat) w.scatter(at, m, p[j]);
      } else {
        t.store[j](flat ? flat : raw, p[j], m);
        if (!flat) w.scatter(at, m, raw);
      }
    }
  }
}

// ---- all parameters ----

// Note [Operands of a multi call]
// Inputs stand parameter by parameter: the tensors of the functor (fn/optim.h), then its counters
// (0-d tensors, advanced by the kernel). After the last parameter come three operands that may be
// null, each one number: what replaces params[0] (a learning rate in a tensor); what the second
// tensor of each parameter, the gradient, is divided by first, in memory, too; and a float that, if
// it is not 0, turns the call into nothing at all: a gradient was infinite. Some inputs are written
// (kWrites, and the counters); n_out is 0. So a call replayed later sees the numbers of that time.

constexpr int kExtras = 3;

double read_number(const TensorImpl& t) {
  if (t.dtype == DType::Float32) return *reinterpret_cast<const float*>(t.data);
  return dispatch(t.dtype, [&](auto tag) {
    return ::gradstep::convert<double>(*reinterpret_cast<const decltype(tag)*>(t.data));
  });
}

void write_number(const TensorImpl& t, double value) {
  dispatch(t.dtype, [&](auto tag) {
    using T = decltype(tag);
    *reinterpret_cast<T*>(t.data) = ::gradstep::convert<T>(value);
  });
}

template <int kTensors>
Strided<kTensors> make_strided(TensorImpl* const* tensors, DType type) {
  Strided<kTensors> s;
  int order[kMaxDims];
  order_by_stride(tensors[0]->strides, order);
  for (int j = 0; j < kTensors; ++j) {
    const TensorImpl& t = *tensors[j];
    s.walker[j] = Walker(t, tensors[0]->sizes, order);
    s.load[j] = t.dtype == type ? nullptr : convert_loop(type, t.dtype);
    s.store[j] = t.dtype == type ? nullptr : convert_loop(t.dtype, type);
  }
  return s;
}

/// Calls body(item, from, n) for the pieces of items that lie in [begin, end) of the concatenation.
template <class AnyItem, class Body>
void for_pieces(const AnyItem* items, int64_t count, int64_t begin, int64_t end, Body&& body) {
  const AnyItem* item =
      std::upper_bound(items, items + count, begin,
                       [](int64_t at, const AnyItem& i) { return at < i.begin; }) -
      1;
  for (; begin < end; ++item) {
    const int64_t stop = std::min(end, item[1].begin);  // the last item has a successor, too
    body(*item, begin - item->begin, stop - begin);
    begin = stop;
  }
}

/// Lists that were gathered parameter by parameter and their run over all of them.
template <class F, class S>
class Update {
 public:
  static constexpr int kTensors = F::kTensors;
  explicit Update(int64_t n) : items_(n + 1) {}

  /// Elements [from, to) of a parameter.
  void add(TensorImpl* const* t, const F& rule, int64_t from, int64_t to) {
    if (from >= to) return;
    Item<F>& item = items_[count_++];
    item.begin = total_;
    item.from = from;
    item.strided = -1;
    item.rule = rule;
    total_ += to - from;
    bool direct = true;
    for (int j = 0; j < kTensors; ++j) {
      item.data[j] = t[j]->data;
      direct = direct && t[j]->dtype == dtype_of<S> && t[j]->contiguous;
    }
    if (!direct) {
      item.strided = static_cast<int64_t>(strided_.size());
      strided_.push_back(make_strided<kTensors>(t, dtype_of<S>));
    }
  }

  void add(TensorImpl* const* t, const F& rule) { add(t, rule, 0, t[0]->numel); }

  /// look(pointers, from, n) sees each range before the rule.
  template <class Look>
  void run(unsigned writes, const Look& look) {
    items_[count_].begin = total_;
    parallel_for(total_, kMultiGrain, [&](int64_t begin, int64_t end) {
      for_pieces(
          items_.data(), count_, begin, end, [&](const Item<F>& item, int64_t at, int64_t n) {
            const int64_t from = item.from + at;
            if (item.strided < 0) {
              look(item.data, from, n);
              run_loop<F, S>(item.rule, item.data, from, n, std::make_index_sequence<kTensors>());
            } else {
              run_strided<F, S>(item.rule, strided_[static_cast<size_t>(item.strided)], from, n,
                                writes, look);
            }
          });
    });
  }
  void run() {
    run(F::kWrites, [](char* const*, int64_t, int64_t) {});
  }

 private:
  const Scratch<Item<F>> items_;
  std::vector<Strided<kTensors>> strided_;
  int64_t count_ = 0, total_ = 0;
};

/// x /= divisor
template <class S>
void divide(char* data, int64_t from, int64_t n, S divisor) {
  S* const p = reinterpret_cast<S*>(data) + from;
  for (int64_t i = 0; i < n; ++i) p[i] /= divisor;
}

/// What of a call is done: elements by share_of(), counters, or all.
struct Share {
  int64_t begin = 0, end = 1, of = 1;
  int n_numbers;  // of params
  bool updates = true, counts = true;
};

template <class F, class S>
void run_update(const Call& call, const Share& share) {
  constexpr int kTensors = F::kTensors, kCounters = F::kCounters, kWidth = kTensors + kCounters;
  const int n_tensors = call.n_in - kExtras;
  const TensorImpl* const lr = call.maybe_in(n_tensors);
  const TensorImpl* const grad_scale = call.maybe_in(n_tensors + 1);
  const TensorImpl* const found_inf = call.maybe_in(n_tensors + 2);
  if (found_inf && read_number(*found_inf) != 0) return;
  const int64_t n_params = n_tensors / kWidth;
  double h[Params::kSlots];
  for (int i = 0; i < share.n_numbers; ++i) h[i] = call.f(i);
  if (lr) h[0] = read_number(*lr);

  Update<F, S> update(n_params);
  double last[3] = {-1, -1, -1};
  double next[3] = {};
  bool last_single = false;
  F rule = {};
  bool made = false;
  for (int64_t i = 0; i < n_params; ++i) {
    TensorImpl* const* t = call.operands + call.n_out + i * kWidth;
    // Parameters with equal counters share the rule's numbers.
    double now[3];
    bool same = made;
    const bool single = kCounters == 0 || t[kTensors]->dtype != DType::Float64;
    for (int c = 0; c < kCounters; ++c) {
      now[c] = read_number(*t[kTensors + c]);
      same = same && now[c] == last[c];
    }
    if (!same || single != last_single) {
      for (int c = 0; c < kCounters; ++c) next[c] = last[c] = now[c];
      rule = F::make(h, next, single);
      last_single = single;
      made = true;
    }
    for (int c = 0; share.counts && c < kCounters; ++c) write_number(*t[kTensors + c], next[c]);
    const int64_t n = t[0]->numel;
    if (share.updates)
      update.add(t, rule, share_of(n, share.begin, share.of), share_of(n, share.end, share.of));
  }
  if (!share.updates) return;
  if constexpr (kTensors > 1) {
    if (grad_scale) {
      const S scale = static_cast<S>(read_number(*grad_scale));
      return update.run(F::kWrites | 2u, [=](char* const* data, int64_t from, int64_t n) {
        divide<S>(data[1], from, n, scale);
      });
    }
  }
  update.run();
}

template <template <class> class F>
void update_by_type(const Call& call, const Share& share) {
  if (call.compute == Compute::F64)
    run_update<F<double>, double>(call, share);
  else
    run_update<F<float>, float>(call, share);
}

template <template <class> class F>
void update_kernel(const Call& call) {
  update_by_type<F>(call, {.n_numbers = call.params.count});
}

// ---- parts of a call: each has its elements of every parameter ----

// params: those of the whole, the number of parts, begin, end.
template <template <class> class F>
void update_part(const Call& call) {
  const int n = call.params.count - 3;
  update_by_type<F>(call, {call.i(n + 1), call.i(n + 2), call.i(n), n, true, false});
}

// params: those of the whole, the number of parts.
template <template <class> class F>
void update_counters(const Call& call) {
  update_by_type<F>(call, {.n_numbers = call.params.count - 1, .updates = false});
}

template <template <class> class F>
bool cut_update(const Call& call, int parts, Cut& cut) {
  constexpr double kNanoseconds = 0.12;  // of an element of a tensor
  constexpr int kTensors = F<float>::kTensors, kWidth = kTensors + F<float>::kCounters;
  const int n_tensors = call.n_in - kExtras;
  if (call.params.count + 3 > Params::kSlots || call.n_out != 0) return false;
  int64_t total = 0;
  cut.along.assign(call.n_in, Cut::kWhole);
  for (int i = 0; i < n_tensors; ++i) {
    if (i % kWidth >= kTensors) continue;
    total += call.in(i).numel;
    cut.along[static_cast<size_t>(i)] = Cut::kElements;
  }
  if (total == 0) return false;
  static const Op &part = Op::get(std::string(call.op->name) + "_part"),
                  &counters = Op::get(std::string(call.op->name) + "_counters");
  cut.op = &part;
  cut.then = F<float>::kCounters > 0 ? &counters : nullptr;
  cut.params = call.params;
  cut.params.push(int64_t{parts});
  cut.size = parts;
  cut.nanoseconds = kNanoseconds * static_cast<double>(total);
  return true;
}

// ---- zero ----

struct Bytes {
  int64_t begin;
  char* data;
  const TensorImpl* strided;
};

/// Inputs: the tensors, of any dtypes.
void zero_kernel(const Call& call) {
  const Scratch<Bytes> items(call.n_in + 1);
  int64_t count = 0, total = 0;
  for (int i = 0; i < call.n_in; ++i) {
    const TensorImpl& t = call.in(i);
    if (t.numel == 0) continue;
    items[count++] = {total, t.data, t.contiguous ? nullptr : &t};
    total += t.numel * static_cast<int64_t>(element_size(t.dtype));
  }
  items[count].begin = total;
  const bool streamed = is_streamed(total);
  parallel_for(total, kMultiGrain * 8, [&](int64_t begin, int64_t end) {
    for_pieces(items.data(), count, begin, end, [&](const Bytes& item, int64_t from, int64_t n) {
      if (!item.strided) {
        if (!streamed) {
          std::memset(item.data + from, 0, static_cast<size_t>(n));
          return;
        }
        alignas(64) const char zeros[4096] = {};
        for (int64_t i = 0; i < n; i += 4096) {
          stream_out(item.data + from + i, zeros, std::min<int64_t>(4096, n - i));
        }
        stream_end();
        return;
      }
      const TensorImpl& t = *item.strided;
      int order[kMaxDims];
      order_by_stride(t.strides, order);
      const Walker walker(t, t.sizes, order);
      const int64_t size = walker.item, first = (from + size - 1) / size,
                    end_of = (from + n + size - 1) / size;
      alignas(64) const char zeros[kChunk * 8] = {};
      for (int64_t at = first; at < end_of; at += kChunk) {
        walker.scatter(at, std::min<int64_t>(kChunk, end_of - at), zeros);
      }
    });
  });
}

// ---- norms ----

struct SquareSum {
  template <class T>
  GS_FN static T add(T sum, T x) {
    return mul_add(x, x, sum);
  }
  template <class T>
  GS_FN static T merge(T a, T b) {
    return a + b;
  }
};
struct AbsSum {
  template <class T>
  GS_FN static T add(T sum, T x) {
    return sum + abs(x);
  }
  template <class T>
  GS_FN static T merge(T a, T b) {
    return a + b;
  }
};
struct AbsMax {
  template <class T>
  GS_FN static T add(T most, T x) {
    return merge(most, abs(x));
  }
  template <class T>
  GS_FN static T merge(T a, T b) {
    return select(isnan(a), a, select(b <= a, a, b));  // a NaN wins
  }
};

template <class N, class S>
double norm_of_range(const char* data, int64_t from, int64_t n) {
  using V = Native<S>;
  constexpr int kStep = V::size;
  const S* p = reinterpret_cast<const S*>(data) + from;
  V sum[4] = {V(S(0)), V(S(0)), V(S(0)), V(S(0))};
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) {
    for (int k = 0; k < 4; ++k) sum[k] = N::add(sum[k], V::load(p + i + k * kStep));
  }
  for (; i + kStep <= n; i += kStep) sum[0] = N::add(sum[0], V::load(p + i));
  if (i < n) sum[0] = N::add(sum[0], load_some<Native<S>>(p + i, static_cast<int>(n - i)));
  const V all = N::merge(N::merge(sum[0], sum[1]), N::merge(sum[2], sum[3]));
  return reduce(all, [](auto a, auto b) { return N::merge(a, b); });
}

struct NormItem {
  int64_t begin;
  char* data;
  int64_t strided;
};

/// The norm of the first n inputs as one vector; partial results are merged in the order of chunks,
/// whoever computed them.
template <class N, class S>
double total_norm(const Call& call, int n_tensors) {
  constexpr DType kType = dtype_of<S>;
  const Scratch<NormItem> items(n_tensors + 1);
  std::vector<Strided<1>> strided;
  int64_t count = 0, total = 0;
  for (int i = 0; i < n_tensors; ++i) {
    TensorImpl& t = call.in(i);
    if (t.numel == 0) continue;
    const bool direct = t.dtype == kType && t.contiguous;
    items[count++] = {total, t.data, direct ? -1 : static_cast<int64_t>(strided.size())};
    TensorImpl* const p = &t;
    if (!direct) strided.push_back(make_strided<1>(&p, kType));
    total += t.numel;
  }
  if (count == 0) return 0;
  items[count].begin = total;
  const int64_t chunk = chunk_size(total, kMultiGrain), n_chunks = chunk_count(total, kMultiGrain);
  const Scratch<double> partial(n_chunks);
  parallel_for(total, kMultiGrain, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for_pieces(items.data(), count, begin, end, [&](const NormItem& item, int64_t from, int64_t n) {
      if (item.strided < 0) {
        sum = N::merge(sum, norm_of_range<N, S>(item.data, from, n));
        return;
      }
      const Strided<1>& t = strided[static_cast<size_t>(item.strided)];
      alignas(64) S buffer[kChunk];
      alignas(64) char raw[kChunk * sizeof(double)];
      for (int64_t at = from; at < from + n; at += kChunk) {
        const int64_t m = std::min<int64_t>(kChunk, from + n - at);
        t.walker[0].gather(at, m, t.load[0] ? static_cast<void*>(raw) : buffer);
        if (t.load[0]) t.load[0](buffer, raw, m);
        sum = N::merge(sum, norm_of_range<N, S>(reinterpret_cast<const char*>(buffer), 0, m));
      }
    });
    partial[begin / chunk] = sum;
  });
  double sum = 0;
  for (int64_t c = 0; c < n_chunks; ++c) sum = N::merge(sum, partial[c]);
  return kSame<N, SquareSum> ? __builtin_sqrt(sum) : sum;
}

template <class S>
double norm_of_order(const Call& call, int n_tensors) {
  const double order = call.f(0);
  if (order == 2) return total_norm<SquareSum, S>(call, n_tensors);
  if (order == 1) return total_norm<AbsSum, S>(call, n_tensors);
  return total_norm<AbsMax, S>(call, n_tensors);
}

/// params: the order, 1, 2 or infinity. Output: the norm of all inputs, of any floating types.
void total_norm_kernel(const Call& call) {
  write_number(call.out(0), call.compute == Compute::F64 ? norm_of_order<double>(call, call.n_in)
                                                         : norm_of_order<float>(call, call.n_in));
}

template <class S>
void clip_norm(const Call& call) {
  const int n_tensors = call.n_in - 1;
  const TensorImpl& total = call.in(n_tensors);
  write_number(total, norm_of_order<S>(call, n_tensors));
  const double h[] = {read_number(total), call.f(1)};
  const auto rule = ScaleToNorm<S>::make(h, nullptr, true);
  if (rule.factor == S(1)) return;
  Update<ScaleToNorm<S>, S> update(n_tensors);
  for (int i = 0; i < n_tensors; ++i) update.add(call.operands + i, rule);
  update.run();
}

/// params: the order, the largest norm. Inputs: tensors of one compute type, which are scaled to
/// that, and last one number, where the norm that they had is written.
void clip_norm_kernel(const Call& call) {
  if (call.compute == Compute::F64)
    clip_norm<double>(call);
  else
    clip_norm<float>(call);
}

// ---- the scale of a loss ----

template <class S>
void unscale(const Call& call) {
  using F = ScaleInPlace<S>;
  const int n_tensors = call.n_in - 2;
  const double h[] = {read_number(call.in(n_tensors))};
  const auto rule = F::make(h, nullptr, true);
  Update<F, S> update(n_tensors);
  for (int i = 0; i < n_tensors; ++i) update.add(call.operands + i, rule);
  std::atomic<bool> found = false;
  update.run(F::kWrites, [&](char* const* data, int64_t from, int64_t n) {
    const double most = norm_of_range<AbsMax, S>(data[0], from, n);  // leaves it in the cache
    if (most - most != 0) found.store(true, std::memory_order_relaxed);
  });
  if (found) write_number(call.in(n_tensors + 1), 1);
}

/// Inputs: tensors of one compute type, which are multiplied; one number, the factor; one number
/// that becomes 1 if an element was infinite or NaN.
void unscale_kernel(const Call& call) {
  if (call.compute == Compute::F64)
    unscale<double>(call);
  else
    unscale<float>(call);
}

/// Inputs: scale (float), tracker (int32), found_inf (float). params: growth factor, backoff
/// factor, growth interval. The factors count as float here, as PyTorch's do on the CPU.
void loss_scale_kernel(const Call& call) {
  const auto as_float = [&](int slot) {
    return static_cast<double>(static_cast<float>(call.f(slot)));
  };
  update_loss_scale(*reinterpret_cast<float*>(call.in(0).data),
                    *reinterpret_cast<int32_t*>(call.in(1).data), read_number(call.in(2)) != 0,
                    as_float(0), as_float(1), call.i(2));
}

// ---- registration ----

template <class S>
using SgdFirst = SgdMomentumUpdate<S, true>;
template <class S>
using SgdNext = SgdMomentumUpdate<S, false>;
template <class S>
using RmspropPlain = RmspropUpdate<S, false, false>;
template <class S>
using RmspropCentered = RmspropUpdate<S, true, false>;
template <class S>
using RmspropMomentum = RmspropUpdate<S, false, true>;
template <class S>
using RmspropBoth = RmspropUpdate<S, true, true>;

void add(const std::string& name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}

template <template <class> class F>
void add_update(const std::string& name) {
  add(name, &update_kernel<F>);
  add(name + "_part", &update_part<F>);
  add(name + "_counters", &update_counters<F>);
  [[maybe_unused]] static const CutRegistration cut(name, cut_update<F>);
}

}  // namespace

void register_multi_kernels() {
  add_update<SgdUpdate>("multi_sgd");
  add_update<SgdFirst>("multi_sgd_first");
  add_update<SgdNext>("multi_sgd_momentum");
  add_update<AdamUpdate>("multi_adam");
  add_update<AdamAmsgradUpdate>("multi_adam_amsgrad");
  add_update<NAdamUpdate>("multi_nadam");
  add_update<RAdamUpdate>("multi_radam");
  add_update<AdamaxUpdate>("multi_adamax");
  add_update<RmspropPlain>("multi_rmsprop");
  add_update<RmspropCentered>("multi_rmsprop_centered");
  add_update<RmspropMomentum>("multi_rmsprop_momentum");
  add_update<RmspropBoth>("multi_rmsprop_centered_momentum");
  add_update<AdagradUpdate>("multi_adagrad");
  add_update<AdadeltaUpdate>("multi_adadelta");
  add_update<RpropUpdate>("multi_rprop");
  add_update<AsgdUpdate>("multi_asgd");
  add_update<AdafactorNumbers>("multi_adafactor");
  add_update<MuonMomentum>("multi_muon_momentum");
  add_update<MuonUpdate>("multi_muon");
  add_update<ScaleToNorm>("multi_scale_to_norm");
  add_update<ClampInPlace>("multi_clamp");
  add_update<AddScaled>("multi_add_scaled");
  add_update<LerpInPlace>("multi_lerp");
  add("multi_zero", &zero_kernel);
  add("multi_total_norm", &total_norm_kernel);
  add("multi_clip_norm", &clip_norm_kernel);
  add("multi_unscale", &unscale_kernel);
  add("update_loss_scale", &loss_scale_kernel);
}

}  // namespace GS_ISA
}  // namespace gradstep
