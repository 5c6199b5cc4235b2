// SPDX-License-Identifier: Apache-2.0
#include "graph/team.h"

#include <algorithm>
#include <utility>

#include "core/threads.h"
#include "graph/cut.h"
#include "graph/uses.h"

namespace gradstep {

// Note [Teams]
// A parallel region for each call costs a microsecond or two, and what one core wrote the other one
// reads. In a captured step all calls are known, so a stretch of them is one region. Each thread
// has a strand of work: of every call its part, the same rows of everything as far as possible, or
// small calls as a whole. A strand does not wait for the others unless memory that an item uses was
// used by items of theirs that come before it in the program; what it waits for is known from the
// start, as a number of items that the other strand has to have done. A net of tanh layers (256
// points, 50 wide, second derivatives) took 405 us with a region for each call, as long as with one
// thread.
// Only calls that raise nothing are part of a stretch. A call is cut where its kernel says that
// parts have the bits of the whole (graph/cut.h); calls that are not cut run their parallel_for
// inline, which gives the same bits, too. A product or a sum over the rows that each thread made is
// cut along them, and added up when somebody looks. An update is cut into elements of every
// parameter, so that a thread keeps to its part of the weights, too.
// Nobody waits for a thread that is not there: a strand that no thread has taken is advanced by
// whoever waits for it.

namespace {

double least_nanoseconds = 25e3;        // of a stretch: with less there is no gain
constexpr double kMostWhole = 12e3;     // of a call that is not cut
constexpr double kWholePerByte = 0.05;  // nanoseconds, about
constexpr size_t kLeastCuts = 2;

}  // namespace

double Team::set_least(double nanoseconds) { return std::exchange(least_nanoseconds, nanoseconds); }

// ---- making ----

class Team::Builder {
 public:
  Builder(Team& team) : t_(team), p_(team.p_) {}

  void run() {
    std::vector<Cut> cuts;
    for (size_t i = 0; i < p_.steps.size();) {
      cuts.clear();
      double total = 0;
      size_t n_cut = 0, end = i;
      for (; end < p_.steps.size(); ++end) {
        Cut cut;
        if (!fits(end, cut)) break;
        total += cut.nanoseconds;
        n_cut += cut.size > 0;
        cuts.push_back(std::move(cut));
      }
      const bool worth = n_cut >= kLeastCuts && total >= least_nanoseconds;
      if (worth || (n_cut > 0 && least_nanoseconds == 0)) make(i, cuts);
      i = std::max(end, i + 1);
    }
  }

 private:
  struct Access {
    Use use;
    int strand;
    uint32_t item;
    size_t step;
  };

  const TensorImpl& tensor(int32_t o) const { return *p_.operands[at(o)].tensor; }

  /// Whether a step can be part of a stretch; cut.size is 0 if it stays whole.
  bool fits(size_t i, Cut& cut) const {
    const Step& s = p_.steps[i];
    if (s.op->draws || s.operands.empty() || s.operands[0] < 0) return false;
    double bytes = 0;
    uint64_t constant = 0;
    for (size_t k = 0; k < s.operands.size(); ++k) {
      const int32_t o = s.operands[k];
      if (o < 0) continue;
      if (k < 64 && is_constant(o)) constant |= uint64_t{1} << k;
      if (tensor(o).device.type != DeviceType::CPU) return false;
      bytes +=
          static_cast<double>(tensor(o).numel) * static_cast<double>(element_size(tensor(o).dtype));
    }
    if (!overlaps_itself(s) && cut_call(t_.calls_[i], t_.n_threads_, constant, cut)) return true;
    if (s.live >= 0 || s.n_out == 0) return false;
    cut = Cut();
    cut.nanoseconds = 200 + kWholePerByte * bytes;
    if (is_named(s, {"matmul"})) cut.nanoseconds += product_work(s) / 64;
    return is_quiet(s) && cut.nanoseconds <= kMostWhole;
  }

  bool is_constant(int32_t o) const {
    const Place& place = p_.places[at(p_.operands[at(o)].place)];
    return !place.written && (place.home == Home::Outside || place.home == Home::Input);
  }

  double product_work(const Step& s) const {
    const TensorImpl& a = tensor(s.operands[1]);
    const TensorImpl& out = tensor(s.operands[0]);
    return static_cast<double>(out.numel) * static_cast<double>(a.sizes[a.ndim() - 1]);
  }

  /// An output that shares memory with an input, other than element by element.
  bool overlaps_itself(const Step& s) const {
    for (size_t k = 0; k < s.n_out; ++k) {
      if (s.operands[k] < 0) continue;
      const Use out = use_of(p_, s.operands[k], true);
      for (size_t j = 0; j < s.operands.size(); ++j) {
        const int32_t o = s.operands[j];
        if (j == k || o < 0 || o == s.operands[k]) continue;
        const Use in = use_of(p_, o, false);
        const TensorImpl &a = tensor(o), &b = tensor(s.operands[k]);
        const bool same = in.begin == out.begin &&
                          p_.places[at(in.place)].base == p_.places[at(out.place)].base &&
                          a.sizes == b.sizes && a.strides == b.strides && a.dtype == b.dtype;
        const bool apart = in.place == out.place && are_interleaved(a, b);
        if (!same && !apart && meet_now(in, out)) return true;
      }
    }
    return false;
  }

  /// The arena is planned: places inside lie where they lie.
  bool meet_now(const Use& a, const Use& b) const {
    const Place &x = p_.places[at(a.place)], &y = p_.places[at(b.place)];
    if (a.place != b.place && x.home == Home::Inside && y.home == Home::Inside)
      return x.base + a.begin < y.base + b.end && y.base + b.begin < x.base + a.end;
    return meet(p_, a, b);
  }

  void make(size_t begin, const std::vector<Cut>& cuts) {
    stretch_ = t_.stretches_.emplace_back(std::make_unique<Stretch>()).get();
    stretch_->begin = begin;
    stretch_->end = begin + cuts.size();
    const auto n = at(t_.n_threads_);
    stretch_->strands = std::make_unique<Strand[]>(n);
    accesses_.clear();
    rests_.clear();
    waited_.assign(n * n, 0);
    load_.assign(n, 0);
    for (size_t k = 0; k < cuts.size(); ++k) {
      const Cut& cut = cuts[k];
      finish_before(p_.steps[begin + k]);
      step_ = begin + k;
      if (cut.size == 0) {
        const auto lightest = std::min_element(load_.begin(), load_.end());
        *lightest += cut.nanoseconds;
        whole(static_cast<int>(lightest - load_.begin()));
        continue;
      }
      if (cut.then) begin_rest(cut);
      for_parts(cut.size, cut.unit, [&](int t, int64_t from, int64_t to) {
        load_[at(t)] +=
            cut.nanoseconds * static_cast<double>(to - from) / static_cast<double>(cut.size);
        part(t, cut, from, to);
        if (cut.then) rests_.back().after[at(t)] = n_items(t);
      });
      if (k % 32 == 31) forget();
    }
    while (!rests_.empty()) finish(0);
  }

  template <class F>
  void for_parts(int64_t size, int64_t unit, const F& f) {
    const int64_t units = (size + unit - 1) / unit;
    int64_t from = 0;
    for (int t = 0; t < t_.n_threads_; ++t) {
      const int64_t to = std::min(size, units * (t + 1) / t_.n_threads_ * unit);
      if (to > from) f(t, from, to);
      from = to;
    }
  }

  uint32_t n_items(int strand) const {
    return static_cast<uint32_t>(stretch_->strands[at(strand)].items.size());
  }

  // ---- what follows when all parts are there: no sooner than somebody looks, so nobody waits ----

  struct Rest {
    size_t step;
    const Op* op;
    Params params;
    int64_t rows, address;        // 0: there is one call, there is no memory
    std::vector<uint32_t> after;  // by strand: so many of its items come before
    std::vector<Use> uses;        // what the parts leave whole
  };

  void begin_rest(const Cut& cut) {
    const Step& s = p_.steps[step_];
    Rest rest{step_, cut.then, cut.params, cut.then_rows, 0, {}, {}};
    rest.after.assign(at(t_.n_threads_), 0);
    for (size_t k = 0; k < s.operands.size(); ++k) {
      if (s.operands[k] < 0 || cut.along[k] != Cut::kWhole) continue;
      const bool write = writes_operand(*s.op, s.n_out, static_cast<int>(k));
      rest.uses.push_back(use_of(p_, s.operands[k], write));
    }
    if (cut.more_bytes != 0) {
      t_.sums_.emplace_back(Storage::create(cut.more_bytes, Device{}));
      rest.address = reinterpret_cast<intptr_t>(t_.sums_.back()->data);
    }
    rests_.push_back(std::move(rest));
  }

  void finish_before(const Step& s) {
    const std::vector<Use> uses = uses_of(p_, s);
    for (size_t k = 0; k < rests_.size();) {
      const std::vector<Use>& own = rests_[k].uses;
      const bool looks = std::any_of(own.begin(), own.end(), [&](const Use& x) {
        return std::any_of(uses.begin(), uses.end(),
                           [&](const Use& u) { return (u.write || x.write) && meet_now(u, x); });
      });
      looks ? finish(k) : void(++k);
    }
  }

  void finish(size_t index) {
    const Rest rest = rests_[index];
    rests_.erase(rests_.begin() + static_cast<ptrdiff_t>(index));
    step_ = rest.step;
    Call call = t_.calls_[step_];
    call.op = rest.op;
    call.params = rest.params;
    const auto finish_with = [&](int strand, const std::vector<Use>& uses) {
      if (rest.address != 0) call.params.push(rest.address);
      add(strand, call, uses, rest.after);
    };
    if (rest.rows == 0) return finish_with(0, rest.uses);
    for_parts(rest.rows, 1, [&](int t, int64_t from, int64_t to) {
      call.params = rest.params;
      call.params.push(from);
      call.params.push(to);
      const int32_t out = p_.steps[step_].operands[0];
      finish_with(t, {part_of(out, 0, rest.rows, from, to, true).use});
    });
  }

  void whole(int strand) {
    const Step& s = p_.steps[step_];
    add(strand, t_.calls_[step_], uses_of(p_, s));
  }

  struct PartView {
    Ref<TensorImpl> tensor;
    ptrdiff_t from;  // bytes of the place
    Use use;
  };

  /// Elements [begin, end) of `size` along an axis of an operand.
  PartView part_of(int32_t o, int axis, int64_t size, int64_t begin, int64_t end,
                   bool write) const {
    const OperandView& v = p_.operands[at(o)];
    const int64_t scale = v.tensor->sizes[axis] / size;
    Ref<TensorImpl> view = geometry_of(*v.tensor);
    view->sizes[axis] = (end - begin) * scale;
    view->update_geometry();
    const auto item = static_cast<ptrdiff_t>(element_size(view->dtype));
    const ptrdiff_t from = v.from_base + begin * scale * view->strides[axis] * item;
    const auto [low, high] = span_of(*view, from);
    return {std::move(view), from, {v.place, o, low, high, write}};
  }

  void part(int strand, const Cut& cut, int64_t begin, int64_t end) {
    const Step& s = p_.steps[step_];
    Call call = t_.calls_[step_];
    std::vector<Use> uses;
    auto& operands = t_.operands_.emplace_back(std::make_unique<TensorImpl*[]>(s.operands.size()));
    for (size_t k = 0; k < s.operands.size(); ++k) {
      operands[k] = call.operands[k];
      const int32_t o = s.operands[k];
      if (o < 0) continue;
      const bool write = writes_operand(*s.op, s.n_out, static_cast<int>(k));
      if (cut.along[k] == Cut::kElements && tensor(o).contiguous) {
        Use use = use_of(p_, o, write);
        const auto item = static_cast<ptrdiff_t>(element_size(tensor(o).dtype));
        const int64_t n = tensor(o).numel;
        use.end = use.begin + share_of(n, end, cut.size) * item;
        use.begin += share_of(n, begin, cut.size) * item;
        if (use.begin < use.end) uses.push_back(use);
        continue;
      }
      if (cut.along[k] < 0) {
        if (!write || cut.more_bytes == 0 || begin == 0) uses.push_back(use_of(p_, o, write));
        continue;
      }
      PartView v = part_of(o, cut.along[k], cut.size, begin, end, write);
      uses.push_back(v.use);
      if (cut.op) continue;
      const Place& place = p_.places[at(v.use.place)];
      v.tensor->data = place.base + v.from;
      if (place.home != Home::Inside && place.home != Home::Outside)
        t_.moving_.push_back({v.tensor.get(), v.use.place, v.from});
      operands[k] = v.tensor.get();
      t_.views_.push_back(std::move(v.tensor));
    }
    if (cut.op) {
      call.op = cut.op;
      call.params = cut.params;
      call.params.push(begin);
      call.params.push(end);
      if (cut.more_bytes != 0) call.params.push(rests_.back().address);
    } else if (is_named(s, {"fused_map"})) {  // its kernel keeps what depends on the geometry
      const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(call.i(0)));
      t_.plans_.push_back(std::make_unique<FusedMap>(plan));
      t_.plans_.back()->compiled.reset();
      call.params.s[0].i = static_cast<int64_t>(reinterpret_cast<intptr_t>(t_.plans_.back().get()));
    }
    call.operands = operands.get();
    add(strand, call, uses);
  }

  uint32_t& waited(int strand, int other) { return waited_[at(strand * t_.n_threads_ + other)]; }

  /// `after`: by strand, how many of its items come before in any case.
  void add(int strand, const Call& call, const std::vector<Use>& uses,
           const std::vector<uint32_t>& after = {}) {
    Strand& s = stretch_->strands[at(strand)];
    Item item{call.op->kernel[static_cast<int>(DeviceType::CPU)], call, step_,
              static_cast<uint32_t>(s.waits.size()), 0};
    for (int other = 0; other < t_.n_threads_; ++other) {
      if (other == strand) continue;
      uint32_t needed = waited(strand, other);
      if (!after.empty()) needed = std::max(needed, after[at(other)]);
      for (const Access& a : accesses_) {
        if (a.strand != other || a.step == step_ || a.item < needed) continue;
        const bool waits = std::any_of(uses.begin(), uses.end(), [&](const Use& u) {
          return (u.write || a.use.write) && meet_now(u, a.use);
        });
        if (waits) needed = a.item + 1;
      }
      if (needed == waited(strand, other)) continue;
      waited(strand, other) = needed;
      s.waits.push_back({other, needed});
      ++item.n_waits;
    }
    const auto index = static_cast<uint32_t>(s.items.size());
    if (p_.steps[step_].live >= 0) t_.live_.push_back({&s, index});
    for (const Use& u : uses) accesses_.push_back({u, strand, index, step_});
    s.items.push_back(item);
  }

  /// Drops what every other strand has waited for.
  void forget() {
    std::erase_if(accesses_, [&](const Access& a) {
      for (int t = 0; t < t_.n_threads_; ++t) {
        if (t != a.strand && waited(t, a.strand) <= a.item) return false;
      }
      return true;
    });
  }

  Team& t_;
  const Program& p_;
  Stretch* stretch_ = nullptr;
  size_t step_ = 0;
  std::vector<Access> accesses_;
  std::vector<uint32_t> waited_;  // by strand and other strand
  std::vector<double> load_;
  std::vector<Rest> rests_;
};

Team::Team(const Program& p, std::span<const Call> calls, int n_threads)
    : p_(p), calls_(calls), n_threads_(n_threads) {
  if (n_threads > 1) Builder(*this).run();
}

// ---- running ----

/// Whether strand k has done `to` items, after as many of them as this thread may run for it.
bool Team::advance(Stretch& s, int k, uint32_t to) {
  Strand& strand = s.strands[at(k)];
  if (strand.done.load(std::memory_order_acquire) >= to) return true;
  if (strand.taken.exchange(true, std::memory_order_acquire)) return false;
  uint32_t done = strand.done.load(std::memory_order_relaxed);
  while (done < to && !s.failed.load(std::memory_order_relaxed)) {
    run_item(s, k, strand.items[done]);
    strand.done.store(++done, std::memory_order_release);
  }
  strand.taken.store(false, std::memory_order_release);
  return true;
}

void Team::wait(Stretch& s, int k, const Item& item) {
  const Strand& strand = s.strands[at(k)];
  for (uint32_t w = item.first_wait; w < item.first_wait + item.n_waits; ++w) {
    const Wait& wait = strand.waits[w];
    const std::atomic<uint32_t>& done = s.strands[at(wait.strand)].done;
    for (int round = 0; done.load(std::memory_order_acquire) < wait.items; ++round) {
      if (s.failed.load(std::memory_order_relaxed)) return;
      wait_a_little(round);
      if (round % 16 == 15) advance(s, wait.strand, wait.items);
    }
  }
}

void Team::run_item(Stretch& s, int k, const Item& item) {
  try {
    wait(s, k, item);
    if (s.failed.load(std::memory_order_relaxed)) return;
    item.kernel(item.call);
  } catch (...) {
    s.failed_at.store(item.step, std::memory_order_relaxed);
    s.failed.store(true, std::memory_order_relaxed);
    throw;
  }
}

void Team::run_stretch(Stretch& s, size_t& at_step) {
  for (int k = 0; k < n_threads_; ++k) s.strands[at(k)].done.store(0, std::memory_order_relaxed);
  s.failed.store(false, std::memory_order_relaxed);
  const auto all_of = [&](int k) { return static_cast<uint32_t>(s.strands[at(k)].items.size()); };
  try {
    parallel_for(n_threads_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const int strand = static_cast<int>(k);
        // Another thread may have begun with it while it waited.
        for (int round = 0; !advance(s, strand, all_of(strand)); ++round) {
          if (s.failed.load(std::memory_order_relaxed)) return;
          wait_a_little(round);
        }
      }
    });
  } catch (...) {
    for (int k = 0; k < n_threads_; ++k)
      s.strands[at(k)].taken.store(false, std::memory_order_relaxed);
    at_step = s.failed_at.load(std::memory_order_relaxed);
    throw;
  }
  at_step = s.end;
}

void Team::run(size_t& at_step) {
  for (const MovingView& m : moving_) m.view->data = p_.places[at(m.place)].base + m.from;
  for (const auto& [strand, index] : live_) {
    Item& item = strand->items[index];
    const Params& now = calls_[item.step].params;
    std::copy_n(now.s, now.count, item.call.params.s);
  }
  size_t k = 0;
  for (const size_t n = calls_.size(); at_step < n;) {
    while (k < stretches_.size() && stretches_[k]->end <= at_step) ++k;
    if (k < stretches_.size() && stretches_[k]->begin == at_step) {
      run_stretch(*stretches_[k], at_step);
    } else {
      p_.steps[at_step].kernel(calls_[at_step]);
      ++at_step;
    }
  }
}

}  // namespace gradstep
