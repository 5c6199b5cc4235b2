// SPDX-License-Identifier: Apache-2.0
// Running a program again: where its memory lies, the calls, what the run leaves behind.
#include "graph/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "core/memory.h"
#include "core/threads.h"
#include "graph/fuse.h"
#include "graph/node.h"
#include "graph/recorded_graph.h"
#include "graph/segments.h"
#include "graph/team.h"

namespace gradstep {

// ---- memory ----

namespace {
size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
}  // namespace

/// Results of maps are written over operands that die in the call: each place's owner, the one
/// whose memory it takes and whose life it prolongs.
std::vector<int32_t> Program::write_over_dying() {
  std::vector<int32_t> owner(places.size());
  for (size_t k = 0; k < owner.size(); ++k) owner[k] = static_cast<int32_t>(k);
  const auto view = [&](int32_t o) -> const OperandView& {
    return operands[static_cast<size_t>(o)];
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& s = steps[i];
    std::vector<int32_t> taken;
    for (int out = 0; out < s.n_out; ++out) {
      const int32_t o = s.operands[static_cast<size_t>(out)];
      if (o < 0) continue;
      Place& p = places[static_cast<size_t>(view(o).place)];
      if (p.home != Home::Inside || p.first != static_cast<int32_t>(i) || p.bytes == 0) continue;
      for (int in = 0; in < s.n_in; ++in) {
        const int32_t q = s.operands[static_cast<size_t>(s.n_out + in)];
        if (q < 0 || !may_overwrite(s, out, in)) continue;
        const Place& dying = places[static_cast<size_t>(view(q).place)];
        const TensorImpl &a = *view(o).tensor, &b = *view(q).tensor;
        const auto same_place = [&](int32_t x) { return x >= 0 && view(x).place == view(q).place; };
        if (dying.home != Home::Inside || dying.last != static_cast<int32_t>(i) ||
            dying.slot >= 0 || dying.bytes != p.bytes || a.dtype != b.dtype ||
            !(a.sizes == b.sizes) || !(a.strides == b.strides) ||
            view(o).from_base != view(q).from_base ||
            std::count_if(s.operands.begin(), s.operands.end(), same_place) != 1 ||
            std::count(taken.begin(), taken.end(), q) != 0) {
          continue;
        }
        taken.push_back(q);
        const int32_t root = owner[static_cast<size_t>(view(q).place)];
        owner[static_cast<size_t>(view(o).place)] = root;
        places[static_cast<size_t>(root)].last = p.last;
        break;
      }
    }
  }
  return owner;
}

/// Places whose lives do not overlap share memory: the largest first, each at the lowest offset
/// that is free during its life.
void Program::plan_arena() {
  const std::vector<int32_t> owner = write_over_dying();
  std::vector<int32_t> order;
  for (size_t k = 0; k < places.size(); ++k) {
    if (owner[k] == static_cast<int32_t>(k) && places[k].home == Home::Inside &&
        places[k].first >= 0 && places[k].bytes != 0)
      order.push_back(static_cast<int32_t>(k));
  }
  const auto at = [&](int32_t k) -> Place& { return places[static_cast<size_t>(k)]; };
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return at(a).bytes != at(b).bytes ? at(a).bytes > at(b).bytes : a < b;
  });
  arena_bytes = 0;
  while (!order.empty()) {
    const Device device = at(order[0]).device;
    std::vector<int32_t> others, placed;
    std::vector<std::pair<size_t, size_t>> taken;
    size_t total = 0;
    for (const int32_t k : order) {
      Place& p = at(k);
      if (!(p.device == device)) {
        others.push_back(k);
        continue;
      }
      taken.clear();
      for (const int32_t j : placed) {
        const Place& q = at(j);
        if (q.first <= p.last && p.first <= q.last)
          taken.emplace_back(q.offset, q.offset + rounded(q.bytes));
      }
      std::sort(taken.begin(), taken.end());
      size_t offset = 0;
      for (const auto& [from, to] : taken) {
        if (from >= offset + rounded(p.bytes)) break;
        offset = std::max(offset, to);
      }
      p.offset = offset;
      total = std::max(total, offset + rounded(p.bytes));
      placed.push_back(k);
    }
    const Ref<Storage> arena(Storage::create(total, device));
    for (size_t k = 0; k < places.size(); ++k) {
      if (std::find(placed.begin(), placed.end(), owner[k]) == placed.end()) continue;
      places[k].offset = at(owner[k]).offset;
      move(places[k], arena.get(), arena->data + places[k].offset);
    }
    arena_bytes += total;
    order.swap(others);
  }
}

void Program::move(Place& place, Storage* storage, char* base) {
  if (place.storage.get() != storage) place.storage = Ref(storage);
  if (place.base == base) return;
  place.base = base;
  moves += place.in_graph;
  for (const int32_t k : place.operands) {
    OperandView& o = operands[static_cast<size_t>(k)];
    o.tensor->data = base + o.from_base;
  }
}

void Program::seal() {
  for (size_t k = 0; k < places.size(); ++k) {
    if (places[k].home != Home::Input) continue;
    for (size_t j = 0; j < places.size(); ++j) {
      if (places[j].home == Home::Outside && (places[j].written || places[k].written))
        kept_apart.emplace_back(static_cast<int32_t>(k), static_cast<int32_t>(j));
    }
  }
  drop_dead_steps(*this);
  fuse_maps(*this);
  recompute_cheap_steps(*this);
  give_slots(*this);
  for (Place& p : places) p.first = p.last = -1;
  for (size_t i = 0; i < steps.size(); ++i) {
    for (const int32_t o : steps[i].operands) {
      if (o < 0) continue;
      Place& p = places[static_cast<size_t>(operands[static_cast<size_t>(o)].place)];
      if (p.first < 0) p.first = static_cast<int32_t>(i);
      p.last = static_cast<int32_t>(i);
    }
  }
  for (Leaf& leaf : leaves) {
    if (leaf.start >= 0 && places[static_cast<size_t>(leaf.start)].first < 0) leaf.start = -1;
  }
  for (size_t k = 0; k < places.size(); ++k) {
    if (places[k].home == Home::Escapes) escaping_.push_back(static_cast<int32_t>(k));
  }
  plan_arena();
  size_t n = 0;
  for (const Step& s : steps) n += s.operands.size();
  pool_.resize(n);
  calls_.reserve(steps.size());
  size_t at = 0;
  for (const Step& s : steps) {
    TensorImpl** const first = pool_.data() + at;
    for (const int32_t o : s.operands)
      pool_[at++] = o < 0 ? nullptr : operands[static_cast<size_t>(o)].tensor.get();
    calls_.push_back({s.op, s.compute, s.n_out, s.n_in, first, s.params});
  }
  segments_ = std::make_shared<Segments>(*this, calls_);
  if (segments_->empty()) segments_.reset();
}

std::vector<std::pair<size_t, size_t>> Program::graphs() const {
  return segments_ ? segments_->graphs() : std::vector<std::pair<size_t, size_t>>();
}

void Program::time_next() {
  constexpr int kReplays = 5;
  to_time_ = segments_ ? 1 : kReplays;
}

void Program::set_numbers(int32_t live, std::span<const double> numbers) {
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].live != live) continue;
    Params& p = calls_[i].params;
    for (size_t k = 0; k < numbers.size() && k < p.count; ++k) p.s[k].f = numbers[k];
  }
}

// ---- a run ----

TensorImpl* Program::leaf_tensor(const Leaf& leaf, std::span<const Tensor> inputs) const {
  return leaf.input < 0 ? leaf.tensor.get() : inputs[static_cast<size_t>(leaf.input)].get();
}

bool Program::gradients_fit(std::span<const Tensor> inputs) const {
  for (const Leaf& leaf : leaves) {
    if (leaf.free_start && !leaf.pinned) continue;
    const TensorImpl* const t = leaf_tensor(leaf, inputs);
    const TensorImpl* const g = t->meta ? t->meta->grad.get() : nullptr;
    if ((g != nullptr) != leaf.had) return false;
    if (!g) continue;
    const TensorImpl& e = *leaf.expected;
    if (g->dtype != e.dtype || !(g->device == e.device) || !(g->sizes == e.sizes) ||
        !(g->strides == e.strides) || (leaf.pinned && g->data != leaf.pinned)) {
      return false;
    }
    // Steps were put in order for gradients that are apart from what the function knows otherwise.
    if (leaf.start < 0 || places[static_cast<size_t>(leaf.start)].base == g->data) continue;
    for (const Place& p : places) {
      if (p.home == Home::Outside && p.storage.get() == g->storage.get()) return false;
    }
  }
  return true;
}

bool Program::inputs_apart(std::span<const Tensor> inputs) const {
  return std::none_of(kept_apart.begin(), kept_apart.end(), [&](const auto& pair) {
    const Place& input = places[static_cast<size_t>(pair.first)];
    return inputs[static_cast<size_t>(input.slot)]->storage.get() ==
           places[static_cast<size_t>(pair.second)].storage.get();
  });
}

void Program::place_inputs(std::span<const Tensor> inputs) {
  for (Place& p : places) {
    if (p.home != Home::Input) continue;
    const TensorImpl* const t = inputs[static_cast<size_t>(p.slot)].get();
    move(p, t->storage.get(), t->data);
  }
  // Kernels choose their loops by the alignment of addresses, and sums differ with them.
  for (const Slot& s : slots) {
    Place& p = places[static_cast<size_t>(s.place)];
    const char* const from = places[static_cast<size_t>(s.input)].base + s.from;
    move(p, p.storage.get(),
         p.storage->data + p.offset + reinterpret_cast<uintptr_t>(from) % kSlotAlignment);
  }
}

void Program::place_gradients(std::span<const Tensor> inputs) {
  for (const Leaf& leaf : leaves) {
    if (leaf.start < 0) continue;
    TensorImpl* const g = leaf_tensor(leaf, inputs)->meta->grad.get();
    move(places[static_cast<size_t>(leaf.start)], g->storage.get(), g->data);
  }
}

/// The memory of the last replay's gradients is used again if nobody else has it: no result lies in
/// it, and each gradient is only held by the program, and its leaf if that still has it.
bool Program::can_reuse(const Place& place, size_t index, std::span<const Tensor> inputs) const {
  uint32_t holders = 1;  // the place
  for (const Result& r : results) {
    if (r.place == static_cast<int32_t>(index)) return false;
  }
  for (const Leaf& leaf : leaves) {
    if (leaf.result != static_cast<int32_t>(index)) continue;
    const TensorImpl* const t = leaf_tensor(leaf, inputs);
    if (leaf.start >= 0 || !leaf.made || leaf.made->storage != place.storage) return false;
    const bool there = t->meta && t->meta->grad == leaf.made;
    if (leaf.made->ref_count != 1 + uint32_t{there}) return false;
    ++holders;
  }
  return place.storage && place.storage->ref_count == holders;
}

namespace {
/// A new tensor of that geometry, where the place lies now.
Ref<TensorImpl> tensor_in(const Place& place, const TensorImpl& like, ptrdiff_t from_base) {
  Ref<TensorImpl> t(TensorImpl::create());
  t->sizes = like.sizes;
  t->strides = like.strides;
  t->dtype = like.dtype;
  t->device = like.device;
  t->inference = like.inference;
  t->storage = place.storage;
  t->data = place.base + from_base;
  t->update_geometry();
  return t;
}
}  // namespace

void Program::finish_leaves(std::span<const Tensor> inputs, int32_t failed_at) {
  for (Leaf& leaf : leaves) {
    if (leaf.end == Leaf::End::Same || leaf.made_at < 0) continue;
    TensorImpl* const t = leaf_tensor(leaf, inputs);
    if (failed_at >= 0 && failed_at < leaf.dropped_at) continue;
    if (leaf.end == Leaf::End::None || (failed_at >= 0 && failed_at < leaf.made_at)) {
      if (t->meta) t->meta->grad.reset();
      continue;
    }
    const Place& place = places[static_cast<size_t>(leaf.result)];
    Ref<TensorImpl>& grad = autograd_meta(t).grad;
    if (leaf.made && grad == leaf.made && leaf.made->storage == place.storage) {
      ++leaf.made->version();
      continue;
    }
    leaf.made = tensor_in(place, *leaf.like, leaf.from_base);
    grad = leaf.made;
  }
}

/// The same as the plain loop, but each step is timed, what it wrote is looked at, and a profiler
/// sees it.
void Program::run_watched(size_t& at, std::vector<uint64_t>* written) {
  using Clock = std::chrono::steady_clock;
  const bool timed = to_time_ > 0;
  to_time_ -= timed;
  if (timed) seconds.resize(calls_.size(), std::numeric_limits<double>::infinity());
  for (const size_t n = calls_.size(); at < n; ++at) {
    const Clock::time_point start = Clock::now();
    if (g_profiler)
      launch_watched(calls_[at], steps[at].kernel);
    else
      steps[at].kernel(calls_[at]);
    if (timed) {
      const double took = std::chrono::duration<double>(Clock::now() - start).count();
      seconds[at] = std::min(seconds[at], took);
    }
    if (!written || steps[at].recorded < 0) continue;
    const auto number = static_cast<size_t>(steps[at].recorded);
    if (number >= written->size()) written->resize(number + 1);
    (*written)[number] = hash_written(steps[at]);
  }
}

std::vector<Tensor> Program::run(std::span<const Tensor> inputs, std::vector<uint64_t>* written) {
  GS_CHECK_KIND(Capture, !running_, "a captured function can't call itself");
  struct Running {
    bool& on;
    explicit Running(bool& b) : on(b) { on = true; }
    ~Running() { on = false; }
  } const running(running_);
  place_inputs(inputs);
  place_gradients(inputs);
  for (const int32_t k : escaping_) {
    Place& p = places[static_cast<size_t>(k)];
    if (can_reuse(p, static_cast<size_t>(k), inputs)) continue;
    const Ref<Storage> fresh(Storage::create(p.bytes, p.device));
    move(p, fresh.get(), fresh->data);
  }
  size_t at = 0;
  const auto raise_versions = [&] {
    for (Place& p : places) {
      if (p.versions != 0) p.storage->version += p.versions;
    }
  };
  try {
    if (written || to_time_ > 0 || g_profiler) [[unlikely]] {
      run_watched(at, written);
      if (segments_) segments_->ran_alone();
    } else if (segments_) {
      segments_->run(at);
    } else if (num_threads() == 1 || in_parallel_region()) {
      for (const size_t n = calls_.size(); at < n; ++at) steps[at].kernel(calls_[at]);
    } else {
      if (!team_ || team_->n_threads() != num_threads())
        team_ = std::make_shared<Team>(*this, calls_, num_threads());
      team_->run(at);
    }
  } catch (...) {
    raise_versions();
    finish_leaves(inputs, static_cast<int32_t>(at));
    throw;
  }
  raise_versions();
  finish_leaves(inputs, -1);
  std::vector<Tensor> out;
  out.reserve(results.size());
  for (const Result& r : results) {
    if (r.input >= 0) {
      out.push_back(inputs[static_cast<size_t>(r.input)]);
      continue;
    }
    if (r.same >= 0) {
      out.push_back(out[static_cast<size_t>(r.same)]);
      continue;
    }
    if (r.gradient >= 0) {
      out.emplace_back(leaf_tensor(leaves[static_cast<size_t>(r.gradient)], inputs)->meta->grad);
      continue;
    }
    if (r.place < 0) {
      out.emplace_back(r.like);
      continue;
    }
    const Place& place = places[static_cast<size_t>(r.place)];
    Tensor t(tensor_in(place, *r.like, r.from_base));
    t->requires_grad = r.like->requires_grad;
    if (r.like->grad_fn) {
      t->grad_fn = r.like->grad_fn;
      ++t->grad_fn->ref_count;
      t->output_nr = r.like->output_nr;
    }
    t->view_version = t->version();
    out.push_back(std::move(t));
  }
  for (size_t k = 0; k < results.size(); ++k) {
    const Result& r = results[k];
    const Tensor of = r.base >= 0         ? out[static_cast<size_t>(r.base)]
                      : r.base_input >= 0 ? inputs[static_cast<size_t>(r.base_input)]
                                          : Tensor(r.base_outside);
    if (!of.defined()) continue;
    out[k]->base = of->base ? of->base : of.ref();
    out[k]->view_no_grad = r.view_no_grad;
  }
  for (const auto& [k, on] : requires_grad) inputs[static_cast<size_t>(k)]->requires_grad = on;
  if (graph) graph->attach(*this, inputs, out);
  out.resize(n_results);
  // Nobody but the results holds their memory: it is theirs.
  for (const int32_t k : escaping_) {
    Place& p = places[static_cast<size_t>(k)];
    const bool result =
        std::any_of(results.begin(), results.end(), [&](const Result& r) { return r.place == k; });
    if (result) p.storage.reset();
  }
  for (Place& p : places) {
    if (p.home == Home::Input || p.home == Home::Gradient) p.storage.reset();
  }
  return out;
}

}  // namespace gradstep
