// SPDX-License-Identifier: Apache-2.0
// Writing a program down. See Note [Recording].
#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "core/cuda_api.h"
#include "core/hash.h"
#include "graph/node.h"
#include "graph/program.h"
#include "graph/recorded_graph.h"
#include "graph/uses.h"

namespace gradstep {

// Note [Recording]
// The function runs as always; the recorder looks on. It learns of each call from launch(), of
// memory that comes and goes from Storage, and of gradients from the engine. It holds no memory
// that was made during the run: holding it would change what the engine may overwrite, and so the
// bits. What was there before is pinned at first sight.
//
// A program is right if all that enters a call is known to the next run: memory from outside (read
// where it lies), inputs, numbers in params (frozen: the layer above makes sure that they are the
// same, or refreshes those of a live group), and generators. What the host wrote into fresh memory
// (a tensor made from a Python list) is kept as a constant. What the host would read is refused.
//
// To be able to refuse, a run is undone: memory from outside is copied before the first write.

namespace {

const void* this_thread() {
  static thread_local char here __attribute__((tls_model("initial-exec")));
  return &here;
}

void copy_memory(const Storage& to, const Storage& from) {
  if (from.bytes == 0) return;
  if (from.device.type == DeviceType::CPU && to.device.type == DeviceType::CPU) {
    std::memcpy(to.data, from.data, from.bytes);
  } else {
    cuda_api().copy_bytes(to.data, to.device, from.data, from.device, from.bytes, false);
  }
}

Ref<TensorImpl> bytes_of(const Storage& s) {
  Ref<TensorImpl> out(TensorImpl::create());
  out->data = s.data;
  out->dtype = DType::UInt8;
  out->device = s.device;
  out->sizes = {static_cast<int64_t>(s.bytes)};
  out->strides = {1};
  out->update_geometry();
  return out;
}

bool same_geometry(const TensorImpl& a, const TensorImpl& b) {
  return a.data == b.data && a.dtype == b.dtype && a.sizes == b.sizes && a.strides == b.strides;
}

}  // namespace

Ref<TensorImpl> geometry_of(const TensorImpl& t) {
  Ref<TensorImpl> out(TensorImpl::create());
  out->data = t.data;
  out->numel = t.numel;
  out->sizes = t.sizes;
  out->strides = t.strides;
  out->dtype = t.dtype;
  out->device = t.device;
  out->contiguous = t.contiguous;
  out->inference = t.inference;
  return out;
}

Recorder::Recorder(std::span<const Tensor> inputs, std::span<const Tensor> leaves)
    : program_(std::make_unique<Program>()), thread_(this_thread()) {
  for (const Tensor& t : inputs) {
    inputs_.push_back(t.get());
    inputs_like_.push_back(t.ref());
    Node* const node = gradstep::grad_fn(t);
    input_wants_.push_back(t->requires_grad);
    input_edges_.push_back(node ? Edge{Ref<Node>(node), t->output_nr} : gradient_edge(t));
  }
  note_start(leaves);
  started = last_sequence();
}

Recorder::Recorder(std::span<TensorImpl* const> inputs, std::span<const Tensor> leaves)
    : program_(std::make_unique<Program>()), looks_on_(true), thread_(this_thread()) {
  for (TensorImpl* t : inputs) {
    inputs_.push_back(t);
    inputs_like_.push_back(geometry_of(*t));
  }
  note_start(leaves);
}

void Recorder::note_start(std::span<const Tensor> leaves) {
  GS_ASSERT(!recording_watcher());
  for (size_t k = 0; k < inputs_.size(); ++k) {
    TensorImpl& t = *inputs_[k];
    if (t.storage->place == 0) {
      program_->places[static_cast<size_t>(new_place(*t.storage, Home::Input, t.data))].slot =
          static_cast<int32_t>(k);
    }
  }
  // An input in the memory of a tensor that is known by itself: both are where they are.
  for (const Tensor& t : leaves) {
    if (t->storage->place != 0) program_->places[t->storage->place - 1].home = Home::Outside;
  }
  for (const Tensor& t : leaves) {
    known_.insert(t.get());
    if (t->requires_grad && !t->grad_fn) leaf_of(*t.get());
  }
  for (TensorImpl* t : inputs_) {
    if (t->requires_grad && !t->grad_fn) leaf_of(*t);
  }
  recording_watcher() = this;
}

Recorder::~Recorder() { stop(); }

void Recorder::stop() {
  if (recording_watcher() == this) recording_watcher() = nullptr;
  for (Seen& s : seen_) {
    if (s.storage) s.storage->place = 0;
  }
  seen_.clear();
}

// ---- places ----

int32_t Recorder::new_place(Storage& s, Home home, char* base) {
  const auto index = static_cast<int32_t>(program_->places.size());
  Place& p = program_->places.emplace_back();
  p.home = home;
  p.bytes = s.bytes;
  p.device = s.device;
  p.base = base;
  const bool held =
      home == Home::Input || home == Home::Gradient ? !looks_on_ : home != Home::Inside;
  if (held) p.storage = Ref(&s);
  seen_.push_back({&s, home != Home::Inside, s.version});
  s.place = static_cast<uint32_t>(index) + 1;
  return index;
}

int32_t Recorder::place_of(Storage& s, char* base) {
  return s.place != 0 ? static_cast<int32_t>(s.place - 1) : new_place(s, Home::Outside, base);
}

void Recorder::created(Storage& s) {
  if (paused_ || this_thread() != thread_) return;
  new_place(s, Home::Inside, s.data);
  live_bytes_ += s.bytes;
  program_->eager_bytes = std::max(program_->eager_bytes, live_bytes_);
}

void Recorder::destroyed(Storage& s) {
  seen_[s.place - 1].storage = nullptr;
  if (program_->places[s.place - 1].home == Home::Inside) live_bytes_ -= s.bytes;
}

bool Recorder::pinned(const Tensor& input) const {
  const uint32_t place = input->storage->place;
  return place != 0 && program_->places[place - 1].home == Home::Outside;
}

/// A gradient whose memory is also known otherwise has to stay where it is.
void Recorder::stays(Place& gradient) {
  Leaf& leaf = program_->leaves[static_cast<size_t>(gradient.slot)];
  leaf.pinned = leaf.expected->data;
  leaf.start = -1;
  gradient.home = Home::Outside;
}

int32_t Recorder::operand_of(const TensorImpl& t) {
  const int32_t at = place_of(*t.storage, t.storage->data);
  Place& place = program_->places[static_cast<size_t>(at)];
  if (place.home == Home::Gradient) {
    const TensorImpl* const grad = start_gradients_[static_cast<size_t>(place.slot)].get();
    if (&t != grad && (!t.base || (t.base.get() != grad && t.base != grad->base))) stays(place);
  }
  for (const int32_t k : place.operands) {
    if (same_geometry(*program_->operands[static_cast<size_t>(k)].tensor, t)) return k;
  }
  const auto index = static_cast<int32_t>(program_->operands.size());
  program_->operands.push_back({geometry_of(t), at, t.data - place.base});
  place.operands.push_back(index);
  return index;
}

// ---- calls ----

void Recorder::keep_for_undo(int32_t at) {
  Place& place = program_->places[static_cast<size_t>(at)];
  if (looks_on_ || place.home == Home::Inside || place.written || place.bytes == 0) return;
  paused_ = true;
  const Ref<Storage> copy(Storage::create(place.bytes, place.device));
  copy_memory(*copy, *place.storage);
  paused_ = false;
  undo_.push_back({place.storage, copy});
}

void Recorder::keep_generator(const Op& op, const Params& params, Device device) {
  if (!op.draws) return;
  auto* given = reinterpret_cast<Generator*>(static_cast<intptr_t>(params.s[0].i));
  Generator& g = generator_on(*given, device);
  for (Generator* each : {given, &g}) {
    if (std::any_of(draws_.begin(), draws_.end(),
                    [&](const Draws& d) { return d.generator.get() == each; })) {
      continue;
    }
    Draws& d = draws_.emplace_back();
    d.generator = Ref(each);
    d.state.resize(each->state_bytes());
    each->get_state(d.state.data());
    d.next_double = each->next_double_normal;
    d.next_float = each->next_float_normal;
    program_->generators.push_back(d.generator);
  }
}

/// The memory has values that no call made: they came from the host.
void Recorder::keep_host_data(int32_t at) {
  Seen& seen = seen_[static_cast<size_t>(at)];
  seen.initialised = true;
  if (seen.storage->bytes == 0) return;
  paused_ = true;
  const Ref<Storage> kept(Storage::create(seen.storage->bytes, seen.storage->device));
  copy_memory(*kept, *seen.storage);
  paused_ = false;
  const Ref<TensorImpl> from = bytes_of(*kept), to = bytes_of(*seen.storage);
  const int32_t source = new_place(*kept, Home::Outside, kept->data);
  static const Op& copy = Op::get("copy");
  Step step{&copy,
            copy.kernel[static_cast<int>(kept->device.type)],
            Compute::I64,
            1,
            1,
            -1,
            line ? line() : UINT32_MAX,
            static_cast<int32_t>(program_->steps.size()),
            {},
            {},
            {}};
  for (const auto& [tensor, place] : {std::pair(to, at), std::pair(from, source)}) {
    const auto index = static_cast<int32_t>(program_->operands.size());
    program_->operands.push_back({tensor, place, 0});
    program_->places[static_cast<size_t>(place)].operands.push_back(index);
    step.operands.push_back(index);
  }
  program_->steps.push_back(std::move(step));
}

namespace {
/// Whether a call writes all of a storage: a write to a part leaves what the host may have written
/// elsewhere. Outputs that repeat elements are taken for a part.
bool covers(const Call& call, const Storage& storage) {
  std::vector<const TensorImpl*> parts;
  size_t bytes = 0;
  for (int k = 0; k < call.n_out; ++k) {
    const TensorImpl* const t = call.operands[k];
    if (!t || t->storage.get() != &storage) continue;
    const bool apart = std::all_of(parts.begin(), parts.end(),
                                   [&](const TensorImpl* p) { return are_interleaved(*p, *t); });
    if (!apart || !has_each_element_once(*t)) return false;
    parts.push_back(t);
    bytes += static_cast<size_t>(t->numel) * element_size(t->dtype);
  }
  return bytes >= storage.bytes;
}
}  // namespace

void Recorder::launching(const Call& call) {
  if (this_thread() != thread_) return;
  look_back();
  const int n = call.n_out + call.n_in;
  const DeviceType device = call.operands[0]->device.type;
  Step step{call.op,
            call.op->kernel[static_cast<int>(device)],
            call.compute,
            call.n_out,
            call.n_in,
            live,
            line ? line() : UINT32_MAX,
            static_cast<int32_t>(program_->steps.size()),
            {},
            {},
            {}};
  step.params.count = call.params.count;
  std::copy(call.params.s, call.params.s + call.params.count, step.params.s);
  step.operands.reserve(static_cast<size_t>(n));
  for (int k = 0; k < n; ++k) {
    const TensorImpl* t = call.operands[k];
    if (!t) {
      step.operands.push_back(-1);
      continue;
    }
    step.operands.push_back(operand_of(*t));
  }
  const auto place_of_operand = [&](int k) {
    return program_->operands[static_cast<size_t>(step.operands[static_cast<size_t>(k)])].place;
  };
  // Before anything counts as written: a call that works in place reads what the host made.
  for (int k = 0; k < n; ++k) {
    if (!call.operands[k]) continue;
    const int32_t at = place_of_operand(k);
    const Seen& seen = seen_[static_cast<size_t>(at)];
    if (!seen.initialised && (k >= call.n_out || !covers(call, *seen.storage))) keep_host_data(at);
  }
  for (int k = 0; k < n; ++k) {
    if (!call.operands[k] || !writes_operand(*call.op, call.n_out, k)) continue;
    const int32_t at = place_of_operand(k);
    keep_for_undo(at);
    program_->places[static_cast<size_t>(at)].written = true;
    seen_[static_cast<size_t>(at)].initialised = true;
  }
  keep_generator(*call.op, call.params, call.operands[0]->device);
  program_->steps.push_back(std::move(step));
  if (audits) note_inputs();
}

// ---- looking at what kernels do ----

uint64_t hash_of(const TensorImpl& t) {
  uint64_t h = kHashStart;
  const auto item = static_cast<int64_t>(element_size(t.dtype));
  int64_t at[kMaxDims] = {};
  std::vector<char> host(static_cast<size_t>(item));
  for (int64_t i = 0; i < t.numel; ++i) {
    int64_t offset = 0;
    for (int d = 0; d < t.ndim(); ++d) offset += at[d] * t.strides[d];
    const char* p = t.data + offset * item;
    if (t.device.type != DeviceType::CPU) {
      cuda_api().copy_bytes(host.data(), {}, p, t.device, static_cast<size_t>(item), false);
      p = host.data();
    }
    h = hash_bytes(p, static_cast<size_t>(item), h);
    for (int d = t.ndim() - 1; d >= 0 && ++at[d] == t.sizes[d]; --d) at[d] = 0;
  }
  return h == 0 ? 1 : h;
}

uint64_t Program::hash_written(const Step& step) const {
  uint64_t h = 1;
  for (size_t k = 0; k < step.operands.size(); ++k) {
    if (step.operands[k] < 0 || !writes_operand(*step.op, step.n_out, static_cast<int>(k)))
      continue;
    h = h * 31 + hash_of(*operands[static_cast<size_t>(step.operands[k])].tensor);
  }
  return h;
}

/// The inputs of the last step that its op does not write, nor through another operand.
template <class F>
void Recorder::for_read_operands(const F& f) const {
  const Program& p = *program_;
  const Step& s = p.steps.back();
  const auto place = [&](size_t k) { return p.operands[static_cast<size_t>(s.operands[k])].place; };
  for (size_t k = 0; k < s.operands.size(); ++k) {
    if (s.operands[k] < 0) continue;
    bool written = false;
    for (size_t j = 0; j < s.operands.size(); ++j) {
      written |= s.operands[j] >= 0 && writes_operand(*s.op, s.n_out, static_cast<int>(j)) &&
                 place(j) == place(k);
    }
    if (!written && seen_[static_cast<size_t>(place(k))].storage)
      f(*p.operands[static_cast<size_t>(s.operands[k])].tensor);
  }
}

void Recorder::note_inputs() {
  inputs_before_.clear();
  for_read_operands([&](const TensorImpl& t) { inputs_before_.push_back(hash_of(t)); });
}

void Recorder::look_back() {
  if (program_->steps.empty() || !(hashes || audits)) return;
  const Step& s = program_->steps.back();
  const bool alive = std::all_of(s.operands.begin(), s.operands.end(), [&](int32_t o) {
    return o < 0 ||
           seen_[static_cast<size_t>(program_->operands[static_cast<size_t>(o)].place)].storage;
  });
  if (audits && alive && !inputs_before_.empty() && undeclared_.empty()) {
    size_t k = 0;
    for_read_operands([&](const TensorImpl& t) {
      if (k < inputs_before_.size() && hash_of(t) != inputs_before_[k]) undeclared_ = s.op->name;
      ++k;
    });
  }
  if (!hashes || written_.size() == program_->steps.size()) return;
  written_.resize(program_->steps.size());
  written_.back() = alive ? program_->hash_written(s) : 0;
}

namespace {
uint64_t hash_of_gradient(const TensorImpl& leaf) {
  return leaf.meta && leaf.meta->grad ? hash_of(*leaf.meta->grad) : 0;
}
std::vector<uint8_t> state_of(const Generator& g) {
  std::vector<uint8_t> state(g.state_bytes());
  g.get_state(state.data());
  return state;
}
}  // namespace

Written Recorder::written(std::span<const Tensor> outputs) const {
  Written w;
  for (const Undo& u : undo_) w.memory.emplace_back(u.storage, hash_of(*bytes_of(*u.storage)));
  for (TensorImpl* t : leaf_tensors_) {
    if (t) w.gradients.emplace_back(Ref(t), hash_of_gradient(*t));
  }
  for (const Tensor& t : outputs) w.results.push_back(hash_of(*t.get()));
  for (const Draws& d : draws_) w.draws.emplace_back(d.generator, state_of(*d.generator));
  return w;
}

std::string Written::difference(std::span<const Tensor> now) const {
  for (size_t k = 0; k < results.size() && k < now.size(); ++k) {
    if (hash_of(*now[k].get()) != results[k]) return format("result {}", k);
  }
  for (const auto& [leaf, hash] : gradients) {
    if (hash_of_gradient(*leaf) != hash) return format("a gradient of shape {}", leaf->sizes);
  }
  for (const auto& [storage, hash] : memory) {
    if (hash_of(*bytes_of(*storage)) != hash)
      return format("memory of {} bytes that the function writes", storage->bytes);
  }
  for (const auto& [generator, state] : draws) {
    if (state_of(*generator) != state) return "the state of a random number generator";
  }
  return {};
}

// ---- gradients ----

int32_t Recorder::leaf_of(TensorImpl& t) {
  for (size_t k = 0; k < leaf_tensors_.size(); ++k) {
    if (leaf_tensors_[k] == &t) return static_cast<int32_t>(k);
  }
  const auto index = static_cast<int32_t>(leaf_tensors_.size());
  Leaf& leaf = program_->leaves.emplace_back();
  leaf_tensors_.push_back(&t);
  leaf_seen_.push_back(false);
  for (size_t k = 0; k < inputs_.size(); ++k) {
    if (inputs_[k] == &t) leaf.input = static_cast<int32_t>(k);
  }
  TensorImpl* const grad = t.meta ? t.meta->grad.get() : nullptr;
  start_gradients_.push_back(Ref(grad));
  leaf.had = grad != nullptr;
  if (!grad) return index;
  leaf.expected = geometry_of(*grad);
  if (grad->storage->place == 0) {
    leaf.start = new_place(*grad->storage, Home::Gradient, grad->data);
    program_->places[static_cast<size_t>(leaf.start)].slot = index;
  } else {
    Place& place = program_->places[grad->storage->place - 1];
    if (place.home == Home::Gradient) stays(place);  // two gradients in one memory
    if (place.home != Home::Inside) {
      place.home = Home::Outside;
      leaf.pinned = grad->data;
    }
  }
  return index;
}

void Recorder::gradient(TensorImpl& t, GradEvent event) {
  if (this_thread() != thread_ || paused_ || !t.storage) return;
  if (event == GradEvent::Gone) {
    const auto at = std::find(leaf_tensors_.begin(), leaf_tensors_.end(), &t);
    if (at != leaf_tensors_.end()) *at = nullptr;
    return;
  }
  differentiates |= event == GradEvent::Added;
  // Where a tensor is no leaf its gradient is a temporary as any other.
  if (!t.requires_grad || t.grad_fn) return;
  const int32_t index = leaf_of(t);
  Leaf& leaf = program_->leaves[static_cast<size_t>(index)];
  if (!leaf_seen_[static_cast<size_t>(index)]) leaf.free_start = event == GradEvent::Replaced;
  leaf_seen_[static_cast<size_t>(index)] = true;
  if (event == GradEvent::Read) return;
  const auto now = static_cast<int32_t>(program_->steps.size());
  if (leaf.dropped_at < 0) leaf.dropped_at = now;
  leaf.made_at = now;
}

// ---- the end ----

void Recorder::refuse(const char* what) {
  if (this_thread() != thread_ || paused_) return;
  const std::string where = line && describe ? describe(line()) : std::string();
  if (refused_.empty()) refused_ = where.empty() ? what : format("{}: {}", where, what);
  if (!looks_on_) throw Error(ErrorKind::Capture, refused_);
}

void Recorder::roll_back() {
  stop();
  for (const Undo& u : undo_) copy_memory(*u.storage, *u.copy);
  for (size_t k = 0; k < leaf_tensors_.size(); ++k) {
    TensorImpl* const t = leaf_tensors_[k];
    if (t && (t->meta || start_gradients_[k])) {
      autograd_meta(t).grad = start_gradients_[k];
    }
  }
  for (const Draws& d : draws_) {
    d.generator->set_state(d.state.data(), d.state.size());
    d.generator->next_double_normal = d.next_double;
    d.generator->next_float_normal = d.next_float;
  }
}

int32_t Recorder::held_place(std::span<const Tensor> outputs) const {
  std::unordered_set<const Storage*> kept;
  for (const Tensor& t : outputs) {
    if (!has_own_graph(t)) continue;
    const auto more = kept_by_graph(t, started);
    kept.insert(more.begin(), more.end());
    if (t->base) kept.insert(t->base->storage.get());
  }
  for (size_t k = 0; k < seen_.size(); ++k) {
    const Storage* const s = seen_[k].storage;
    const Home home = program_->places[k].home;
    if (home != Home::Inside || !s || s->bytes == 0) continue;
    const bool known =
        kept.count(s) != 0 ||
        std::any_of(outputs.begin(), outputs.end(),
                    [&](const Tensor& t) { return t->storage.get() == s; }) ||
        std::any_of(leaf_tensors_.begin(), leaf_tensors_.end(), [&](const TensorImpl* t) {
          return t && t->meta && t->meta->grad && t->meta->grad->storage.get() == s;
        });
    if (!known) return static_cast<int32_t>(k);
  }
  return -1;
}

/// The line that made it; null: the one that runs now.
std::string Recorder::maker_of(const Storage* storage) const {
  if (!describe) return "?";
  uint32_t who = storage || !line ? UINT32_MAX : line();
  for (const Step& s : program_->steps) {
    if (!storage || storage->place == 0) break;
    const bool uses = std::any_of(s.operands.begin(), s.operands.end(), [&](int32_t o) {
      return o >= 0 && program_->operands[static_cast<size_t>(o)].place ==
                           static_cast<int32_t>(storage->place - 1);
    });
    if (!uses) continue;
    who = s.line;
    break;
  }
  return describe(who);
}

/// Memory that was made in the run and lives on must be a result or a gradient.
void Recorder::check_held(std::span<const Tensor> outputs) const {
  const int32_t held = held_place(outputs);
  if (held < 0) return;
  fail(ErrorKind::Capture,
       "{}: a tensor made here is still held after the function ended, by something that is "
       "neither its result nor a gradient. Return it, or drop it (detach() what you keep the graph "
       "of)",
       maker_of(seen_[static_cast<size_t>(held)].storage));
}

// ---- results ----

/// Whether replays may share the graph that ends here: it can only raise "a second time", since the
/// run has used it up.
bool Recorder::is_shared(Node* root) const {
  std::vector<Node*> work{root};
  std::unordered_set<Node*> seen{root};
  bool ends = false, custom = false;
  while (!work.empty()) {
    Node* const n = work.back();
    work.pop_back();
    ends |= n->released;
    if (n->released) continue;
    custom |= n->extra && n->extra->custom;
    if (n->sequence != 0 && n->sequence <= started) return false;
    if (n->leaf && input_of(n->leaf.get()) >= 0) return false;
    for (int i = 0; i < n->n_saved; ++i) {
      if (n->saved[i].tensor && n->saved[i].output >= -1) return false;
    }
    for (const Edge& e : n->all_edges()) {
      if (e.node && seen.insert(e.node.get()).second) work.push_back(e.node.get());
    }
  }
  return ends;
}

/// A graph that backward has been through keeps its leaves, which nobody can reach by it any more:
/// those that were made here go (what a gradient penalty is taken at).
void Recorder::drop_spent_leaves(std::span<const Tensor> outputs) const {
  const auto made_here = [&](const Storage* s) {
    for (size_t k = 0; k < seen_.size(); ++k) {
      if (seen_[k].storage == s) return program_->places[k].home == Home::Inside;
    }
    return false;
  };
  for (const Tensor& t : outputs) {
    Node* const root = looks_on_ ? nullptr : gradstep::grad_fn(t);
    if (!root || root->sequence <= started || !is_shared(root)) continue;
    std::vector<Node*> work{root};
    std::unordered_set<Node*> seen{root};
    while (!work.empty()) {
      Node* const n = work.back();
      work.pop_back();
      for (Edge& e : n->all_edges()) {
        if (!e.node) continue;
        if (e.node->leaf && n->released && made_here(e.node->leaf->storage.get())) {
          e.node.reset();
        } else if (e.node->sequence > started && seen.insert(e.node.get()).second) {
          work.push_back(e.node.get());
        }
      }
    }
  }
}

bool Recorder::has_own_graph(const Tensor& t) const {
  Node* const node = looks_on_ ? nullptr : gradstep::grad_fn(t);
  return node && node->sequence > started && !is_shared(node);
}

int32_t Recorder::input_of(const TensorImpl* t) const {
  for (size_t k = inputs_.size(); k-- > 0;) {
    if (inputs_[k] != t) continue;
    // An onlooker's input may be gone, and another tensor be where it was.
    const TensorImpl& like = *inputs_like_[k];
    if (!looks_on_ || (same_geometry(like, *t) && t->storage->place != 0 &&
                       program_->places[t->storage->place - 1].home == Home::Input)) {
      return static_cast<int32_t>(k);
    }
  }
  return -1;
}

/// What a result with a graph is a view of belongs to it: a write into one changes the other's
/// history.
std::vector<Tensor> Recorder::with_bases(std::span<const Tensor> outputs) const {
  std::vector<Tensor> all(outputs.begin(), outputs.end());
  for (const Tensor& t : outputs) {
    if (!t->base || input_of(t.get()) >= 0) continue;
    const Tensor base(t->base);
    const uint32_t place = base->storage->place;
    const bool made = place != 0 && program_->places[place - 1].home != Home::Outside &&
                      program_->places[place - 1].home != Home::Input;
    const bool known =
        std::any_of(all.begin(), all.end(), [&](const Tensor& o) { return o.ref() == base.ref(); });
    if (made && !known && (has_own_graph(t) || has_own_graph(base))) all.push_back(base);
  }
  return all;
}

Result Recorder::base_of(const Tensor& t, std::span<const Tensor> outputs, Result r) const {
  if (!t->base) return r;
  r.view_no_grad = t->view_no_grad;
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (outputs[k].ref() == t->base) r.base = static_cast<int32_t>(k);
  }
  for (size_t k = 0; k < inputs_.size() && !looks_on_; ++k) {
    if (inputs_[k] == t->base.get() || inputs_[k]->base == t->base)
      r.base_input = static_cast<int32_t>(k);
  }
  const uint32_t place = t->base->storage->place;
  if (r.base < 0 && r.base_input < 0 &&
      (place == 0 || program_->places[place - 1].home == Home::Outside))
    r.base_outside = t->base;
  return r;
}

void Recorder::record_graph(std::span<const Tensor> outputs) {
  for (size_t k = 0; k < input_edges_.size(); ++k) {
    const TensorImpl& t = *inputs_[k];
    GS_CHECK_KIND(Capture, !t.grad_fn || input_edges_[k].node.get() == t.grad_fn,
                  "{}: an argument was written to in place and has another history now, which it "
                  "would not get from a replay; clone() it",
                  maker_of(nullptr));
    if (t.requires_grad != input_wants_[k] && !t.grad_fn)
      program_->requires_grad.emplace_back(static_cast<int32_t>(k), t.requires_grad);
  }
  std::vector<Tensor> roots;
  bool any = false;
  for (const Tensor& t : outputs) {
    const bool own = input_of(t.get()) < 0 && has_own_graph(t);
    roots.push_back(own ? t : Tensor());
    any |= own;
  }
  if (!any) return;
  const Surroundings s{*program_,
                       inputs_like_,
                       input_edges_,
                       started,
                       [&](Storage& storage) { return static_cast<int32_t>(storage.place) - 1; },
                       [&](const Storage* storage) { return maker_of(storage); }};
  program_->graph = RecordedGraph::of(roots, s);
  for (const int32_t place : program_->graph->memory) {
    if (!seen_[static_cast<size_t>(place)].initialised) keep_host_data(place);
  }
}

void Recorder::classify_results(std::span<const Tensor> outputs) {
  for (const Tensor& t : outputs) {
    const auto index = static_cast<int32_t>(program_->results.size());
    Result& r = program_->results.emplace_back();
    r.input = input_of(t.get());
    if (r.input >= 0) continue;
    const auto same = std::find_if(outputs.begin(), outputs.end(),
                                   [&](const Tensor& o) { return o.ref() == t.ref(); });
    if (same - outputs.begin() < index) {
      r.same = static_cast<int32_t>(same - outputs.begin());
      continue;
    }
    const bool own = has_own_graph(t);
    if (own) r.root = index;
    if (t->storage->place == 0 && !own) {  // no call has seen it
      r.like = t.ref();
      continue;
    }
    if (t->storage->place == 0) new_place(*t->storage, Home::Outside, t->storage->data);
    const auto at = static_cast<int32_t>(t->storage->place - 1);
    if (!seen_[static_cast<size_t>(at)].initialised) keep_host_data(at);
    Place& place = program_->places[static_cast<size_t>(at)];
    if (place.home == Home::Outside && !own && (known_.count(t.get()) != 0 || !t->base)) {
      r.like = t.ref();
      continue;
    }
    if (place.home == Home::Inside) place.home = Home::Escapes;
    r.place = at;
    r.from_base = t->data - place.base;
    r.like = geometry_of(*t.get());
    r.like->requires_grad = t->requires_grad;
    if (own || t->base) r = base_of(t, outputs, r);
    if (t->grad_fn && !own) {
      r.like->grad_fn = t->grad_fn;
      ++t->grad_fn->ref_count;
      r.like->output_nr = t->output_nr;
    }
  }
}

/// Results that are a leaf's .grad itself.
void Recorder::classify_gradients(std::span<const Tensor> outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    Result& r = program_->results[i];
    for (size_t k = 0; k < program_->leaves.size() && r.input < 0 && r.same < 0; ++k) {
      const Leaf& leaf = program_->leaves[k];
      const TensorImpl* const t =
          leaf.input < 0 ? leaf.tensor.get() : inputs_[static_cast<size_t>(leaf.input)];
      if (!t->meta || t->meta->grad != outputs[i].ref()) continue;
      r.gradient = static_cast<int32_t>(k);
      r.place = r.root = r.base = r.base_input = -1;
    }
  }
}

void Recorder::classify_leaves() {
  Program& p = *program_;
  std::vector<Leaf> kept;
  std::vector<int32_t> renamed(p.leaves.size(), -1);
  for (size_t k = 0; k < p.leaves.size(); ++k) {
    Leaf& leaf = p.leaves[k];
    TensorImpl* const t = leaf_tensors_[k];
    if (!t) continue;  // made and dropped in the run
    // Made in the run, and nobody can look at it: only the graph of a result holds it.
    if (leaf.input < 0 && leaf.start < 0 && !t->py_object) continue;
    const bool used =
        leaf.start >= 0 && !p.places[static_cast<size_t>(leaf.start)].operands.empty();
    if (!leaf_seen_[k] && !used) continue;
    if (used) leaf.free_start = false;
    renamed[k] = static_cast<int32_t>(kept.size());
    if (leaf.input < 0) leaf.tensor = Ref(t);
    TensorImpl* const grad = t->meta ? t->meta->grad.get() : nullptr;
    if (!grad) {
      leaf.end = Leaf::End::None;
    } else if (grad == start_gradients_[k].get()) {
      leaf.end = Leaf::End::Same;
    } else {
      leaf.end = Leaf::End::New;
      GS_CHECK_KIND(Capture, grad->storage->place != 0,
                    "a gradient was set to memory from outside");
      leaf.result = static_cast<int32_t>(grad->storage->place - 1);
      if (!seen_[static_cast<size_t>(leaf.result)].initialised) keep_host_data(leaf.result);
      Place& place = p.places[static_cast<size_t>(leaf.result)];
      GS_CHECK_KIND(Capture, place.home == Home::Inside || place.home == Home::Escapes,
                    "a gradient was set to memory from outside of the captured function");
      place.home = Home::Escapes;
      leaf.like = geometry_of(*grad);
      leaf.from_base = grad->data - place.base;
    }
    kept.push_back(std::move(leaf));
  }
  for (Place& place : p.places) {
    if (place.home == Home::Gradient) place.slot = renamed[static_cast<size_t>(place.slot)];
  }
  p.leaves = std::move(kept);
}

std::unique_ptr<Program> Recorder::finish(std::span<const Tensor> outputs) {
  GS_CHECK_KIND(Capture, refused_.empty(), "{}", refused_);
  Program& p = *program_;
  paused_ = true;
  drop_spent_leaves(outputs);
  check_held(outputs);
  const std::vector<Tensor> all = with_bases(outputs);
  p.n_results = outputs.size();
  record_graph(all);
  classify_results(all);
  classify_leaves();
  classify_gradients(all);
  p.n_recorded = p.steps.size();
  for (size_t k = 0; k < p.places.size(); ++k) {
    Place& place = p.places[k];
    if (place.home != Home::Inside && seen_[k].storage)
      place.versions = seen_[k].storage->version - seen_[k].version;
  }
  stop();
  for (Place& place : p.places) {
    if (place.home == Home::Input || place.home == Home::Gradient) place.storage.reset();
  }
  std::unique_ptr<Program> done = std::move(program_);
  done->seal();
  return done;
}

}  // namespace gradstep
