// SPDX-License-Identifier: Apache-2.0
#include "graph/team.h"

#include <algorithm>
#include <utility>

#include "core/threads.h"
#include "graph/stretch.h"
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

double least_nanoseconds = 25e3;  // of a stretch: with less there is no gain

}  // namespace

double Team::set_least(double nanoseconds) { return std::exchange(least_nanoseconds, nanoseconds); }

// ---- making ----

/// The items of a region's strands: calls, and parts of calls.
class Team::Items {
 public:
  Items(Team& team, Region& region)
      : t_(team), p_(team.p_), region_(region), waits_(team.p_, team.n_threads_) {}

  /// What is added from here on belongs to that step of the program.
  void begin_step(size_t step) {
    step_ = step;
    if (step % 32 == 31) waits_.forget();
  }

  uint32_t count(int strand) const {
    return static_cast<uint32_t>(region_.strands[at(strand)].items.size());
  }

  /// `after`: by strand, how many of its items come before in any case.
  void add(int strand, const Call& call, const std::vector<Use>& uses,
           const std::vector<uint32_t>& after = {}) {
    Strand& s = region_.strands[at(strand)];
    const auto index = static_cast<uint32_t>(s.items.size());
    const std::vector<Wait> waits = waits_.before(strand, step_, index, uses, after);
    s.items.push_back({call.op->kernel[static_cast<int>(DeviceType::CPU)], call, step_,
                       static_cast<uint32_t>(s.waits.size()), static_cast<uint32_t>(waits.size())});
    s.waits.insert(s.waits.end(), waits.begin(), waits.end());
    if (p_.steps[step_].live >= 0) t_.live_.push_back({&s, index});
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

  void add_part(int strand, const Cut& cut, int64_t begin, int64_t end, int64_t address) {
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
      if (cut.more_bytes != 0) call.params.push(address);
    } else if (is_named(s, {"fused_map"})) {  // its kernel keeps what depends on the geometry
      const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(call.i(0)));
      t_.plans_.push_back(std::make_unique<FusedMap>(plan));
      t_.plans_.back()->compiled.reset();
      call.params.s[0].i = static_cast<int64_t>(reinterpret_cast<intptr_t>(t_.plans_.back().get()));
    }
    call.operands = operands.get();
    add(strand, call, uses);
  }

  Team& t_;
  const Program& p_;

 private:
  const TensorImpl& tensor(int32_t o) const { return *p_.operands[at(o)].tensor; }

  Region& region_;
  Waits waits_;
  size_t step_ = 0;
};

/// Hands out the steps of a stretch.
class Team::Builder {
 public:
  Builder(Team& team, const Stretch& from, Region& region)
      : t_(team),
        p_(team.p_),
        from_(from),
        region_(region),
        items_(team, region),
        load_(at(team.n_threads_), 0) {}

  void run() {
    region_.begin = from_.begin;
    region_.end = from_.begin + from_.cuts.size();
    region_.strands = std::make_unique<Strand[]>(at(t_.n_threads_));
    for (size_t k = 0; k < from_.cuts.size(); ++k) {
      const Cut& cut = from_.cuts[k];
      const size_t i = from_.begin + k;
      finish_before(p_.steps[i]);
      items_.begin_step(i);
      if (cut.size == 0) {
        const auto lightest = std::min_element(load_.begin(), load_.end());
        *lightest += cut.nanoseconds;
        items_.add(static_cast<int>(lightest - load_.begin()), t_.calls_[i],
                   uses_of(p_, p_.steps[i]));
        continue;
      }
      if (cut.then) begin_rest(i, cut);
      for_parts(cut.size, cut.unit, [&](int t, int64_t from, int64_t to) {
        load_[at(t)] +=
            cut.nanoseconds * static_cast<double>(to - from) / static_cast<double>(cut.size);
        items_.add_part(t, cut, from, to, cut.then ? rests_.back().address : 0);
        if (cut.then) rests_.back().after[at(t)] = items_.count(t);
      });
    }
    while (!rests_.empty()) finish(0);
  }

 private:
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

  // ---- what follows when all parts are there: no sooner than somebody looks, so nobody waits ----

  struct Rest {
    size_t step;
    const Op* op;
    Params params;
    int64_t rows, address;        // 0: there is one call, there is no memory
    std::vector<uint32_t> after;  // by strand: so many of its items come before
    std::vector<Use> uses;        // what the parts leave whole
  };

  void begin_rest(size_t i, const Cut& cut) {
    const Step& s = p_.steps[i];
    Rest rest{i, cut.then, cut.params, cut.then_rows, 0, {}, {}};
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
        return std::any_of(uses.begin(), uses.end(), [&](const Use& u) {
          return (u.write || x.write) && meet_in_arena(p_, u, x);
        });
      });
      looks ? finish(k) : void(++k);
    }
  }

  void finish(size_t index) {
    const Rest rest = rests_[index];
    rests_.erase(rests_.begin() + static_cast<ptrdiff_t>(index));
    items_.begin_step(rest.step);
    Call call = t_.calls_[rest.step];
    call.op = rest.op;
    call.params = rest.params;
    const auto finish_with = [&](int strand, const std::vector<Use>& uses) {
      if (rest.address != 0) call.params.push(rest.address);
      items_.add(strand, call, uses, rest.after);
    };
    if (rest.rows == 0) return finish_with(0, rest.uses);
    for_parts(rest.rows, 1, [&](int t, int64_t from, int64_t to) {
      call.params = rest.params;
      call.params.push(from);
      call.params.push(to);
      const int32_t out = p_.steps[rest.step].operands[0];
      finish_with(t, {items_.part_of(out, 0, rest.rows, from, to, true).use});
    });
  }

  Team& t_;
  const Program& p_;
  const Stretch& from_;
  Region& region_;
  Items items_;
  std::vector<double> load_;  // by strand, nanoseconds
  std::vector<Rest> rests_;
};

Team::Team(const Program& p, std::span<const Call> calls, int n_threads)
    : p_(p), calls_(calls), n_threads_(n_threads) {
  if (n_threads == 1) return;
  for (const Stretch& s : find_stretches(p, calls, n_threads, least_nanoseconds))
    Builder(*this, s, *regions_.emplace_back(std::make_unique<Region>())).run();
}

// ---- running ----

/// Whether strand k has done `to` items, after as many of them as this thread may run for it.
bool Team::advance(Region& r, int k, uint32_t to) {
  Strand& strand = r.strands[at(k)];
  if (strand.done.load(std::memory_order_acquire) >= to) return true;
  if (strand.taken.exchange(true, std::memory_order_acquire)) return false;
  uint32_t done = strand.done.load(std::memory_order_relaxed);
  while (done < to && !r.failed.load(std::memory_order_relaxed)) {
    run_item(r, k, strand.items[done]);
    strand.done.store(++done, std::memory_order_release);
  }
  strand.taken.store(false, std::memory_order_release);
  return true;
}

void Team::wait(Region& r, int k, const Item& item) {
  const Strand& strand = r.strands[at(k)];
  for (uint32_t w = item.first_wait; w < item.first_wait + item.n_waits; ++w) {
    const Wait& wait = strand.waits[w];
    const std::atomic<uint32_t>& done = r.strands[at(wait.strand)].done;
    for (int round = 0; done.load(std::memory_order_acquire) < wait.items; ++round) {
      if (r.failed.load(std::memory_order_relaxed)) return;
      wait_a_little(round);
      if (round % 16 == 15) advance(r, wait.strand, wait.items);
    }
  }
}

void Team::run_item(Region& r, int k, const Item& item) {
  try {
    wait(r, k, item);
    if (r.failed.load(std::memory_order_relaxed)) return;
    item.kernel(item.call);
  } catch (...) {
    r.failed_at.store(item.step, std::memory_order_relaxed);
    r.failed.store(true, std::memory_order_relaxed);
    throw;
  }
}

void Team::run_region(Region& r, size_t& at_step) {
  for (int k = 0; k < n_threads_; ++k) r.strands[at(k)].done.store(0, std::memory_order_relaxed);
  r.failed.store(false, std::memory_order_relaxed);
  const auto all_of = [&](int k) { return static_cast<uint32_t>(r.strands[at(k)].items.size()); };
  try {
    parallel_for(n_threads_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const int strand = static_cast<int>(k);
        // Another thread may have begun with it while it waited.
        for (int round = 0; !advance(r, strand, all_of(strand)); ++round) {
          if (r.failed.load(std::memory_order_relaxed)) return;
          wait_a_little(round);
        }
      }
    });
  } catch (...) {
    for (int k = 0; k < n_threads_; ++k)
      r.strands[at(k)].taken.store(false, std::memory_order_relaxed);
    at_step = r.failed_at.load(std::memory_order_relaxed);
    throw;
  }
  at_step = r.end;
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
    while (k < regions_.size() && regions_[k]->end <= at_step) ++k;
    if (k < regions_.size() && regions_[k]->begin == at_step) {
      run_region(*regions_[k], at_step);
    } else {
      p_.steps[at_step].kernel(calls_[at_step]);
      ++at_step;
    }
  }
}

}  // namespace gradstep
