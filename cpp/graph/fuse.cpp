// SPDX-License-Identifier: Apache-2.0
#include "graph/fuse.h"

#include <algorithm>
#include <cstring>

#include "graph/fused_map.h"
#include "graph/uses.h"

namespace gradstep {

// Note [What passes may do]
// A captured step has the bits of the eager one, so a pass moves calls and memory, and leaves the
// arithmetic as it is. Calls may change places if neither writes what the other uses; memory is
// compared by place and by the range of bytes that a view spans. Memory from outside may be there
// under two names (two arrays over one buffer), so a write to it conflicts with every other use of
// memory from outside. What happens before a call that may raise is the same as in eager mode as
// far as anybody can see it afterwards.

namespace {

/// Takes steps (in ascending order) out and keeps the boundaries of the leaves.
void erase_steps(Program& p, const std::vector<size_t>& gone) {
  if (gone.empty()) return;
  for (Leaf& leaf : p.leaves) {
    for (int32_t* b : {&leaf.dropped_at, &leaf.made_at}) {
      if (*b >= 0)
        *b -=
            static_cast<int32_t>(std::lower_bound(gone.begin(), gone.end(), at(*b)) - gone.begin());
    }
  }
  size_t next = 0, to = 0;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    if (next < gone.size() && gone[next] == i) {
      ++next;
    } else {
      if (to != i) p.steps[to] = std::move(p.steps[i]);
      ++to;
    }
  }
  p.steps.resize(to);
}

}  // namespace

void drop_dead_steps(Program& p) {
  std::vector<bool> used(p.places.size());
  for (size_t k = 0; k < p.places.size(); ++k) used[k] = p.places[k].home != Home::Inside;
  std::vector<size_t> gone;
  for (size_t i = p.steps.size(); i-- > 0;) {
    const Step& s = p.steps[i];
    bool wanted = !is_quiet(s);
    for (size_t k = 0; k < s.n_out && !wanted; ++k)
      wanted = s.operands[k] >= 0 && used[at(p.operands[at(s.operands[k])].place)];
    if (!wanted) {
      gone.push_back(i);
      continue;
    }
    for (const int32_t o : s.operands) {
      if (o >= 0) used[at(p.operands[at(o)].place)] = true;
    }
  }
  std::reverse(gone.begin(), gone.end());
  erase_steps(p, gone);
}

// ---- maps ----

// Note [Fusing maps]
// A group of map calls over the same sizes becomes one call that runs their loops one after the
// other on chunks that stay in L1. Within a chunk the members run in their order, so a member may
// read or overwrite what another one wrote if it does so through the same view; anything else
// that overlaps keeps them apart. The group runs where its first member was, or later: each new
// member either moves up over the calls between, or the whole group moves down over them.

namespace {

constexpr size_t kWindow = 64;  // steps that are looked ahead

class MapFuser {
 public:
  explicit MapFuser(Program& p) : p_(p) {
    for (const Step& s : p.steps) uses_.push_back(uses_of(p, s));
  }

  void run() {
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      if (!fusible(i)) continue;
      collect(i);
      if (group_.size() > 1) i = emit();
    }
  }

 private:
  const TensorImpl& tensor(int32_t o) const { return *p_.operands[at(o)].tensor; }
  const Dims& sizes(size_t step) const { return tensor(p_.steps[step].operands[0]).sizes; }

  /// Elementwise, and no operand wants the tiles of the map driver.
  bool fusible(size_t i) const {
    const Step& s = p_.steps[i];
    const bool map = is_map(s);
    if (s.n_out != 1 || s.live >= 0 || !(map || is_named(s, {"copy", "fill"})) ||
        s.operands[0] < 0 || !on_one_device(p_, s))
      return false;
    // Integers may be computed in their own type, and their division may raise.
    if (map && s.compute == Compute::I64) return false;
    const TensorImpl& out = tensor(s.operands[0]);
    int inner = -1;  // the axis along which the output's memory runs
    for (int d = 0; d < out.ndim(); ++d) {
      if (out.sizes[d] > 1 && (inner < 0 || out.strides[d] <= out.strides[inner])) inner = d;
    }
    return out.numel != 0 && std::all_of(s.operands.begin(), s.operands.end(), [&](int32_t o) {
             return o < 0 || !is_transposed(tensor(o), inner - out.ndim());
           });
  }

  /// `inner` counts from the end.
  static bool is_transposed(const TensorImpl& t, int inner) {
    const int axis = t.ndim() + inner;
    if (axis < 0 || axis >= t.ndim() || t.sizes[axis] == 1 || t.strides[axis] <= 1) return false;
    for (int d = 0; d < t.ndim(); ++d) {
      if (d != axis && t.sizes[d] > 1 && t.strides[d] == 1) return true;
    }
    return false;
  }

  bool shares_operand(size_t j) const {
    for (const Use& u : uses_[j]) {
      if (std::find(operands_.begin(), operands_.end(), u.operand) != operands_.end()) return true;
    }
    return false;
  }

  /// Within a chunk only what goes through the same view is in order.
  bool fits(size_t j) const {
    for (const size_t m : group_) {
      for (const Use& x : uses_[m]) {
        for (const Use& y : uses_[j]) {
          if ((x.write || y.write) && x.operand != y.operand && meet(p_, x, y)) return false;
        }
      }
    }
    return true;
  }

  bool swaps(size_t member, size_t other) const {
    if (conflict(p_, uses_[member], uses_[other])) return false;
    // What an error leaves behind: writes that are seen from outside stay on their side of it.
    if (is_quiet(p_.steps[other])) return true;
    const Use& out = uses_[member][0];
    return !is_outside(p_.places[at(out.place)]);
  }

  void join(size_t j) {
    group_.push_back(j);
    for (const Use& u : uses_[j]) {
      if (std::find(operands_.begin(), operands_.end(), u.operand) == operands_.end())
        operands_.push_back(u.operand);
    }
  }

  void collect(size_t first) {
    group_.clear();
    operands_.clear();
    join(first);
    position_ = first;
    const size_t end = std::min(p_.steps.size(), first + kWindow);
    for (size_t j = first + 1; j < end; ++j) {
      if (operands_.size() + group_.size() + uses_[j].size() > FusedMap::kMaxValues) break;
      if (!fusible(j) || !(sizes(j) == sizes(first)) || !shares_operand(j) || !fits(j)) continue;
      std::vector<size_t> between;
      for (size_t k = position_ + 1; k < j; ++k) {
        if (std::find(group_.begin(), group_.end(), k) == group_.end()) between.push_back(k);
      }
      const bool up =
          std::all_of(between.begin(), between.end(), [&](size_t k) { return swaps(j, k); });
      const bool down = !up && std::all_of(group_.begin(), group_.end(), [&](size_t m) {
        return std::all_of(between.begin(), between.end(), [&](size_t k) { return swaps(m, k); });
      });
      if (down) position_ = j;
      if (up || down) join(j);
    }
  }

  bool is_member(size_t i) const {
    return std::find(group_.begin(), group_.end(), i) != group_.end();
  }

  /// Whether what the group leaves in that memory is looked at.
  bool is_kept(const Use& out) const {
    if (p_.places[at(out.place)].home != Home::Inside) return true;
    for (size_t i = group_[0] + 1; i < p_.steps.size(); ++i) {
      if (is_member(i)) continue;
      for (const Use& u : uses_[i]) {
        if (u.place == out.place && u.begin < out.end && out.begin < u.end) return true;
      }
    }
    return false;
  }

  /// Replaces the group; the index from which to go on.
  size_t emit() {
    auto plan = std::make_unique<FusedMap>();
    std::vector<int32_t> outs, ins;
    std::vector<std::pair<int32_t, int16_t>> now;  // operand -> value
    const auto value_of = [&](int32_t operand) -> int16_t* {
      for (auto& [o, v] : now) {
        if (o == operand) return &v;
      }
      return nullptr;
    };
    Step fused = p_.steps[group_[0]];
    fused.replaces.clear();
    for (const size_t g : group_) {
      const Step& s = p_.steps[g];
      fused.replaces.push_back(s.op);
      FusedMap::Member& m = plan->members.emplace_back();
      m.op = s.op;
      m.compute = s.compute;
      m.n_in = static_cast<uint8_t>(s.n_in);
      m.params = s.params;
      for (int k = 0; k < s.n_in; ++k) {
        const int32_t o = s.operands[static_cast<size_t>(1 + k)];
        if (o < 0) {
          m.in[k] = -1;
          continue;
        }
        if (!value_of(o)) {
          now.emplace_back(o, static_cast<int16_t>(plan->values.size()));
          plan->values.push_back({tensor(o).dtype, static_cast<int16_t>(ins.size())});
          ins.push_back(o);
        }
        m.in[k] = *value_of(o);
      }
      m.out = static_cast<int16_t>(plan->values.size());
      plan->values.push_back({tensor(s.operands[0]).dtype});
      if (int16_t* v = value_of(s.operands[0])) {
        *v = m.out;
      } else {
        now.emplace_back(s.operands[0], m.out);
      }
    }
    for (const size_t g : group_) {
      const Use& out = uses_[g][0];
      FusedMap::Value& v = plan->values[at(*value_of(out.operand))];
      if (v.store >= 0 || !is_kept(out)) continue;
      v.store = static_cast<int16_t>(outs.size());
      outs.push_back(out.operand);
    }
    const size_t position = position_;
    std::vector<size_t> gone(group_);
    if (!outs.empty()) {
      static const Op& op = Op::get("fused_map");
      fused.op = &op;
      fused.kernel = op.kernel[static_cast<int>(tensor(outs[0]).device.type)];
      fused.n_out = static_cast<uint8_t>(outs.size());
      fused.n_in = static_cast<uint16_t>(ins.size());
      fused.params.count = 0;
      fused.params.push(static_cast<int64_t>(reinterpret_cast<intptr_t>(plan.get())));
      fused.operands = outs;
      fused.operands.insert(fused.operands.end(), ins.begin(), ins.end());
      p_.steps[position] = std::move(fused);
      uses_[position] = uses_of(p_, p_.steps[position]);
      p_.fused.push_back(std::move(plan));
      gone.erase(std::find(gone.begin(), gone.end(), position));
    }
    erase_steps(p_, gone);
    for (size_t k = gone.size(); k-- > 0;)
      uses_.erase(uses_.begin() + static_cast<ptrdiff_t>(gone[k]));
    return group_[0] - (gone[0] == group_[0] ? 1 : 0);
  }

  Program& p_;
  std::vector<std::vector<Use>> uses_;  // of each step
  std::vector<size_t> group_;           // in order
  std::vector<int32_t> operands_;       // of the group
  size_t position_ = 0;
};

}  // namespace

void fuse_maps(Program& p) { MapFuser(p).run(); }

// ---- memory ----

// Note [Computing twice]
// Most of the arena is what backward wants back from forward. Some of it is one pass over something
// that is kept anyway: gelu's result of its argument, a layer norm's of its input. Where such a
// place lies idle while the arena is fullest, the call is made again just before the place is used
// again, or, if nobody looked at it, only then. The same kernel on the same values gives the same
// bits. It stops at kEnough.

namespace {

constexpr size_t kLarge = size_t{256} << 10;  // smaller places are not worth a call
constexpr double kEnough = 0.64;              // of what eager mode takes; packing adds some

class Recomputer {
 public:
  explicit Recomputer(Program& p) : p_(p) {}

  void run() {
    do {
      find_uses();
    } while (peak() > kEnough * static_cast<double>(p_.eager_bytes) && improve());
  }

 private:
  void find_uses() {
    uses_.clear();
    by_place_.assign(p_.places.size(), {});
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      uses_.push_back(uses_of(p_, p_.steps[i]));
      for (const Use& u : uses_[i]) by_place_[at(u.place)].emplace_back(i, u.write);
    }
  }

  /// The bytes that live in the fullest step, which becomes full_.
  double peak() {
    std::vector<double> change(p_.steps.size() + 1, 0.0);
    for (size_t k = 0; k < p_.places.size(); ++k) {
      if (p_.places[k].home != Home::Inside || by_place_[k].empty()) continue;
      change[by_place_[k].front().first] += static_cast<double>(p_.places[k].bytes);
      change[by_place_[k].back().first + 1] -= static_cast<double>(p_.places[k].bytes);
    }
    double most = 0, now = 0;
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      now += change[i];
      if (now > most) {
        most = now;
        full_ = i;
      }
    }
    return most;
  }

  bool improve() {
    for (size_t i = 0; i < full_; ++i) {
      const Step& s = p_.steps[i];
      if (s.live >= 0 || s.n_out == 0 || s.operands[0] < 0) continue;
      // Nobody has looked at it yet: it is made later instead of twice.
      const auto& used = by_place_[at(uses_[i][0].place)];
      const bool late = is_quiet(s) && s.n_out == 1 && used.size() > 1 && used[1].first > full_;
      const bool cheap = (is_map(s) && is_quiet(s)) || is_named(s, {"layer_norm"});
      if (!late && !cheap) continue;
      const size_t next = next_use(i);
      if (next == 0 || !inputs_stay(i, next)) continue;
      again(i, next);
      if (late) erase_steps(p_, {i});
      return true;
    }
    return false;
  }

  /// The first use of the step's result after the fullest step, if there is none between; or 0.
  size_t next_use(size_t i) const {
    const int32_t place = uses_[i][0].place;
    if (p_.places[at(place)].home != Home::Inside || p_.places[at(place)].bytes < kLarge) return 0;
    size_t next = 0;
    for (const auto& [step, write] : by_place_[at(place)]) {
      if (write != (step == i) || step == full_) return 0;
      if (next == 0 && step > full_) next = step;
    }
    return next;
  }

  bool inputs_stay(size_t i, size_t next) const {
    for (const Use& u : uses_[i]) {
      if (u.write) continue;
      const Place& input = p_.places[at(u.place)];
      if (input.home == Home::Inside && by_place_[at(u.place)].back().first <= next) return false;
      for (size_t k = i + 1; k < next; ++k) {
        for (const Use& other : uses_[k]) {
          if (other.write && meet(p_, u, other)) return false;
        }
      }
    }
    return true;
  }

  int32_t copy_of(int32_t operand, int32_t place) {
    const auto index = static_cast<int32_t>(p_.operands.size());
    const OperandView& from = p_.operands[at(operand)];
    p_.operands.push_back({geometry_of(*from.tensor), place, from.from_base});
    p_.places[at(place)].operands.push_back(index);
    return index;
  }
  int32_t place_like(int32_t place) {
    Place& made = p_.places.emplace_back();
    const Place& like = p_.places[at(place)];
    made.written = true;
    made.home = Home::Inside;
    made.bytes = like.bytes;
    made.device = like.device;
    return static_cast<int32_t>(p_.places.size() - 1);
  }

  void again(size_t i, size_t next) {
    Step step = p_.steps[i];
    const int32_t old = uses_[i][0].place;
    for (size_t k = 0; k < step.n_out; ++k) {
      if (step.operands[k] < 0) continue;
      step.operands[k] =
          copy_of(step.operands[k], place_like(p_.operands[at(step.operands[k])].place));
    }
    const int32_t place = p_.operands[at(step.operands[0])].place;
    std::vector<std::pair<int32_t, int32_t>> renamed;
    for (size_t k = next; k < p_.steps.size(); ++k) {
      for (int32_t& o : p_.steps[k].operands) {
        if (o < 0 || p_.operands[at(o)].place != old) continue;
        const auto known = std::find_if(renamed.begin(), renamed.end(),
                                        [&](const auto& r) { return r.first == o; });
        if (known != renamed.end()) {
          o = known->second;
        } else {
          renamed.emplace_back(o, copy_of(o, place));
          o = renamed.back().second;
        }
      }
    }
    p_.steps.insert(p_.steps.begin() + static_cast<ptrdiff_t>(next), std::move(step));
    for (Leaf& leaf : p_.leaves) {
      for (int32_t* b : {&leaf.dropped_at, &leaf.made_at}) {
        if (*b > static_cast<int32_t>(next)) ++*b;
      }
    }
  }

  Program& p_;
  std::vector<std::vector<Use>> uses_;                          // of each step
  std::vector<std::vector<std::pair<size_t, bool>>> by_place_;  // step, whether it writes
  size_t full_ = 0;
};

}  // namespace

void recompute_cheap_steps(Program& p) { Recomputer(p).run(); }

bool may_overwrite(const Step& s, int out, int in) {
  if (s.op->rule != TypeRule::None) return true;
  if (!is_named(s, {"fused_map"})) return false;
  const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(s.params.s[0].i));
  bool written = false;
  for (const FusedMap::Member& m : plan.members) {
    for (int k = 0; k < m.n_in; ++k) {
      if (written && m.in[k] >= 0 && plan.values[at(m.in[k])].load == in) return false;
    }
    written |= plan.values[at(m.out)].store == out;
  }
  return written;
}

}  // namespace gradstep
