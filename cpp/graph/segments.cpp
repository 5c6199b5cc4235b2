// SPDX-License-Identifier: Apache-2.0
#include "graph/segments.h"

#include <algorithm>
#include <cstring>

#include "core/cuda_api.h"

namespace gradstep {

// Note [Programs on a GPU]
// Neighbouring steps whose operands all lie on one GPU are a segment: they run once under stream
// capture and from then on as one CUDA graph. A graph has its kernels' arguments by value, so what
// changes from replay to replay is dealt with as follows.
//   inputs, results     copied to and from slots in the arena, one call each: a copy costs less
//                       than telling the graph other addresses, kernel by kernel, and a training
//                       step has two or three of them
//   numbers of groups   in the graph's block of memory, where the kernels of optimizers look
//   random numbers      so is their state; one copy per replay writes what has changed of both
//   counters, scale     in tensors on the device, as in eager mode
//   gradients           lie where they lay, unless somebody has kept or replaced the last ones
// Where memory did move, the steps run one by one, and a segment is captured again when it has
// stayed for a replay. What can't be captured splits a segment and runs by itself: copies from and
// to the CPU, counters on the CPU, generators of the user's, calls that ask the host to wait.

namespace {

constexpr size_t kLeast = 2;  // steps that are worth a graph

size_t at(int32_t k) { return static_cast<size_t>(k); }

bool is_result(const Program& p, int32_t place) {
  return std::any_of(p.results.begin(), p.results.end(),
                     [&](const Result& r) { return r.place == place; });
}

bool is_gradient(const Program& p, int32_t place) {
  return std::any_of(p.leaves.begin(), p.leaves.end(),
                     [&](const Leaf& leaf) { return leaf.result == place; });
}

/// Memory that is another one at each replay.
bool is_elsewhere(const Program& p, int32_t place) {
  const Home home = p.places[at(place)].home;
  return home == Home::Input || (home == Home::Escapes && is_result(p, place));
}

// ---- slots ----

class SlotMaker {
 public:
  explicit SlotMaker(Program& p) : p_(p) {}

  void run() {
    // What only the last steps use that write results needs no slot: they run by themselves.
    size_t end = p_.steps.size();
    while (end > 0 && writes_result(p_.steps[end - 1])) --end;
    if (end < kLeast) return;
    const size_t n_places = p_.places.size();
    for (size_t k = 0; k < n_places; ++k) {
      const auto place = static_cast<int32_t>(k);
      if (p_.places[k].device.type != DeviceType::CUDA || !is_elsewhere(p_, place)) continue;
      if (used_before(place, end) && !is_gradient(p_, place)) give_slot(place);
    }
    for (Leaf& leaf : p_.leaves) {
      for (int32_t* b : {&leaf.dropped_at, &leaf.made_at}) {
        if (*b >= 0) *b += static_cast<int32_t>(first_.size());
      }
    }
    p_.steps.insert(p_.steps.begin(), std::make_move_iterator(first_.begin()),
                    std::make_move_iterator(first_.end()));
    p_.steps.insert(p_.steps.end(), std::make_move_iterator(last_.begin()),
                    std::make_move_iterator(last_.end()));
  }

 private:
  int32_t place_of(int32_t operand) const { return p_.operands[at(operand)].place; }
  bool writes_result(const Step& s) const {
    return s.n_out > 0 && s.operands[0] >= 0 && is_elsewhere(p_, place_of(s.operands[0])) &&
           p_.places[at(place_of(s.operands[0]))].home == Home::Escapes;
  }
  bool used_before(int32_t place, size_t end) const {
    for (size_t i = 0; i < end; ++i) {
      for (const int32_t o : p_.steps[i].operands) {
        if (o >= 0 && place_of(o) == place) return true;
      }
    }
    return false;
  }

  /// The bytes [from, from + n) of a place as an operand.
  int32_t bytes_of(int32_t place, ptrdiff_t from, ptrdiff_t n) {
    Ref<TensorImpl> t(TensorImpl::create());
    t->dtype = DType::UInt8;
    t->device = p_.places[at(place)].device;
    t->sizes = {static_cast<int64_t>(n)};
    t->strides = {1};
    t->update_geometry();
    t->data = p_.places[at(place)].base + from;
    const auto index = static_cast<int32_t>(p_.operands.size());
    p_.operands.push_back({t, place, from});
    p_.places[at(place)].operands.push_back(index);
    return index;
  }
  Step copy(int32_t to, int32_t from, uint32_t line) const {
    static const Op& op = Op::get("copy");
    const Kernel kernel = op.kernel[static_cast<int>(DeviceType::CUDA)];
    return {&op, kernel, Compute::I64, 1, 1, -1, line, -1, {}, {to, from}, {}};
  }

  void give_slot(int32_t place) {
    const bool input = p_.places[at(place)].home == Home::Input;
    ptrdiff_t begin = PTRDIFF_MAX, end = PTRDIFF_MIN;
    uint32_t line = 0;
    bool written = false;
    for (const Step& s : p_.steps) {
      for (size_t k = 0; k < s.operands.size(); ++k) {
        const int32_t o = s.operands[k];
        if (o < 0 || place_of(o) != place) continue;
        if (begin > end || line == 0) line = s.line;
        const TensorImpl& t = *p_.operands[at(o)].tensor;
        const auto item = static_cast<ptrdiff_t>(element_size(t.dtype));
        ptrdiff_t low = 0, high = t.numel == 0 ? -1 : 0;
        for (int d = 0; t.numel != 0 && d < t.ndim(); ++d) {
          const ptrdiff_t reach = (t.sizes[d] - 1) * t.strides[d];
          (reach < 0 ? low : high) += reach;
        }
        begin = std::min(begin, p_.operands[at(o)].from_base + low * item);
        end = std::max(end, p_.operands[at(o)].from_base + (high + 1) * item);
        written |= writes_operand(*s.op, s.n_out, static_cast<int>(k));
      }
    }
    if (begin >= end) return;
    const auto slot = static_cast<int32_t>(p_.places.size());
    Place& made = p_.places.emplace_back();
    made.home = Home::Inside;
    made.written = true;
    made.slot = 0;  // nothing is written over it
    made.bytes = static_cast<size_t>(end - begin) + kSlotAlignment;
    made.device = p_.places[at(place)].device;
    std::vector<int32_t> moved;
    moved.swap(p_.places[at(place)].operands);
    for (const int32_t o : moved) {
      p_.operands[at(o)].place = slot;
      p_.operands[at(o)].from_base -= begin;
    }
    p_.places[at(slot)].operands = std::move(moved);
    const int32_t outer = bytes_of(place, begin, end - begin),
                  inner = bytes_of(slot, 0, end - begin);
    if (input) {
      first_.push_back(copy(inner, outer, line));
      p_.slots.push_back({place, slot, begin});
    }
    if (!input || written) last_.push_back(copy(outer, inner, line));
  }

  Program& p_;
  std::vector<Step> first_, last_;
};

}  // namespace

void give_slots(Program& p) {
  const bool here = std::any_of(p.places.begin(), p.places.end(), [](const Place& place) {
    return place.device.type == DeviceType::CUDA;
  });
  if (here) SlotMaker(p).run();
}

// ---- segments ----

Segments::Segments(Program& p, std::span<const Call> calls)
    : p_(p), calls_(calls), alone_(p.steps.size()) {
  for (size_t i = 0; i < p.steps.size(); ++i) alone_[i] = !fits(i);
  find(0, p.steps.size());
  for (const Segment& s : segments_) {
    for (size_t i = s.begin; i < s.end; ++i) {
      for (const int32_t o : p.steps[i].operands) {
        if (o >= 0) p.places[at(p.operands[at(o)].place)].in_graph = true;
      }
    }
  }
}

Segments::~Segments() {
  for (Segment& s : segments_) drop(s);
}

bool Segments::fits(size_t step) const {
  const Step& s = p_.steps[step];
  return std::all_of(s.operands.begin(), s.operands.end(), [&](int32_t o) {
    if (o < 0) return true;
    const OperandView& v = p_.operands[at(o)];
    return v.tensor->device.type == DeviceType::CUDA &&
           v.tensor->device == calls_[step].operands[0]->device && !is_elsewhere(p_, v.place);
  });
}

/// Makes segments of the steps [from, to).
void Segments::find(size_t from, size_t to) {
  for (size_t i = from; i < to;) {
    size_t end = i;
    while (end < to && !alone_[end] &&
           calls_[end].operands[0]->device == calls_[i].operands[0]->device) {
      ++end;
    }
    if (end - i >= kLeast) {
      Segment& s = segments_.emplace_back();
      s.begin = i;
      s.end = end;
      s.device = calls_[i].operands[0]->device;
    }
    i = std::max(end, i + 1);
  }
  std::sort(segments_.begin(), segments_.end(),
            [](const Segment& a, const Segment& b) { return a.begin < b.begin; });
}

void Segments::drop(Segment& s) {
  if (s.graph) cuda_api().destroy_graph(s.graph);
  s.graph = nullptr;
}

std::vector<double> Segments::numbers_of(const Segment& s) const {
  std::vector<double> numbers;
  for (const size_t i : s.live) {
    const Params& params = calls_[i].params;
    for (int k = 0; k < params.count; ++k) numbers.push_back(params.s[k].f);
  }
  return numbers;
}

bool Segments::replay(Segment& s) {
  if (!s.graph || s.moves != p_.moves) return false;
  std::vector<double> now = numbers_of(s);
  const bool changed = now.size() != s.numbers.size() ||
                       std::memcmp(now.data(), s.numbers.data(), now.size() * sizeof(double)) != 0;
  cuda_api().replay_graph(s.graph, changed ? now.data() : nullptr);
  s.numbers.swap(now);
  return true;
}

namespace {
/// Launches of this thread go to a stream that nothing else uses while one lives.
class CaptureStream {
 public:
  explicit CaptureStream(int device)
      : api_(cuda_api()), device_(device), before_(api_.current_stream(device)) {
    static void* streams[128] = {};
    void*& stream = streams[device];
    if (!stream) stream = api_.create_stream(device, 0);
    api_.set_stream(device, stream);
  }
  ~CaptureStream() { api_.set_stream(device_, before_); }
  CaptureStream(const CaptureStream&) = delete;
  CaptureStream& operator=(const CaptureStream&) = delete;

 private:
  const CudaApi& api_;
  int device_;
  void* before_;
};
}  // namespace

/// Makes the graph of segment k. False where a step refuses: the segment is split there.
bool Segments::capture(size_t k) {
  Segment& s = segments_[k];
  drop(s);
  const CudaApi& api = cuda_api();
  const CaptureStream stream(s.device.index);
  size_t i = s.begin;
  s.live.clear();
  s.numbers.clear();
  api.begin_capture(s.device.index);
  try {
    for (; i < s.end; ++i) {
      const bool live = p_.steps[i].live >= 0;
      if (live) {
        s.live.push_back(i);
        api.begin_live_call(calls_[i].params.count);
      }
      p_.steps[i].kernel(calls_[i]);
      if (live && !api.end_live_call()) break;  // its numbers would be frozen
    }
  } catch (const Error&) {
    // What is wrong with it in earnest is raised when it runs by itself.
  }
  if (i == s.end) {
    s.graph = api.end_capture(true);
    s.moves = p_.moves;
    return true;
  }
  api.end_capture(false);
  const size_t begin = s.begin, end = s.end;
  alone_[i] = true;
  segments_.erase(segments_.begin() + static_cast<ptrdiff_t>(k));
  find(begin, end);
  return false;
}

void Segments::ran_alone() { moves_ = p_.moves; }

void Segments::run(size_t& at) {
  // A capture around this one takes the launches; waiting for each needs them one by one.
  const bool plain = cuda_api().is_capturing() || cuda_flags().sync;
  const bool settled = moves_ == p_.moves;
  size_t k = 0;
  const size_t n = calls_.size();
  while (at < n) {
    while (k < segments_.size() && segments_[k].end <= at) ++k;
    const bool here = !plain && k < segments_.size() && segments_[k].begin == at;
    if (here && settled && (!segments_[k].graph || segments_[k].moves != p_.moves) && !capture(k))
      continue;
    if (here && replay(segments_[k])) {
      at = segments_[k].end;
      continue;
    }
    p_.steps[at].kernel(calls_[at]);
    ++at;
  }
  moves_ = p_.moves;
}

std::vector<std::pair<size_t, size_t>> Segments::graphs() const {
  std::vector<std::pair<size_t, size_t>> out;
  for (const Segment& s : segments_) {
    if (s.graph && s.moves == p_.moves) out.emplace_back(s.begin, s.end);
  }
  return out;
}

}  // namespace gradstep
