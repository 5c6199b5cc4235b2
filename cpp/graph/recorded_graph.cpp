// SPDX-License-Identifier: Apache-2.0
// Graphs that outlive a replay, and their backward passes. See Note [Graphs of replays].
#include "graph/recorded_graph.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "graph/input_kind.h"

namespace gradstep {

// Note [Graphs of replays]
// A forward pass that is differentiated outside leaves a graph with values in it. The recording
// notes its nodes, their edges and which memory they keep; that memory is fresh in each replay. A
// replay hangs one node on its results, which stands for all the others (LiveGraph). When the
// engine reaches it, nothing that was made later is left to run, and nothing that was made earlier
// may run yet: the nodes of one call follow each other in the order of nodes. So the backward pass
// of the graph is one uninterrupted stretch of the engine's run, a function of the gradients that
// arrive, of those that wait where the graph ends, and of the leaves' .grad, to which products are
// added in place. It is a program, too: recorded where it first runs, replayed where all of these
// have the same geometry and the same owners.
//
// Where anybody looks at single nodes (create_graph, a run to some inputs only, anomaly detection),
// or something is not as it was, the node unfolds: it becomes the eager graph, and its own edges
// lead to it. So there is nothing that a graph of a replay does differently.

std::vector<const Storage*> kept_by_graph(const Tensor& root, uint64_t started) {
  std::vector<const Storage*> found;
  if (!root->grad_fn || root->grad_fn->sequence <= started) return found;
  std::vector<Node*> work{root->grad_fn};
  std::unordered_set<Node*> seen{root->grad_fn};
  const auto go = [&](Node* n) {
    if (n && n->sequence > started && seen.insert(n).second) work.push_back(n);
  };
  while (!work.empty()) {
    Node* const n = work.back();
    work.pop_back();
    for (int i = 0; i < n->n_saved; ++i) {
      if (n->saved[i].tensor && n->saved[i].tensor->storage)
        found.push_back(n->saved[i].tensor->storage.get());
    }
    for (const Edge& e : n->all_edges()) go(e.node.get());
    if (n->extra && n->extra->custom) go(n->extra->custom->inner());
  }
  return found;
}

// ---- recording ----

namespace {

const std::string kInside = "run backward() inside, too";

struct Reader {
  RecordedGraph& g;
  const Surroundings& s;
  std::vector<Node*> order;
  std::unordered_map<const Node*, int32_t> index = {};
  std::unordered_map<const TensorImpl*, int32_t> tensor_index = {};
  std::unordered_map<int32_t, int32_t> memory_index = {};

  [[noreturn]] void refuse(const Storage* about, const std::string& what) const {
    fail(ErrorKind::Capture, "{}: {}", s.maker(about), what);
  }

  void find_nodes(std::span<const Tensor> roots) {
    std::unordered_set<Node*> seen;
    const auto go = [&](Node* n) {
      if (n && n->sequence > s.started && seen.insert(n).second) order.push_back(n);
    };
    for (const Tensor& t : roots) {
      if (t.defined()) go(t->grad_fn);
    }
    for (size_t i = 0; i < order.size(); ++i) {
      Node& n = *order[i];
      const bool hooked = n.extra && (!n.extra->pre.empty() || !n.extra->post.empty());
      if (hooked)
        refuse(nullptr, "a hook on what is made inside is not repeated by a replay; " + kInside);
      if (n.extra && n.extra->custom) {
        go(n.extra->custom->inner());
        if (!n.extra->custom->around({}))
          refuse(nullptr, std::string(n.extra->custom->name()) +
                              ": the backward of a Python function is not repeated by a replay; " +
                              kInside);
      }
      for (const Edge& e : n.all_edges()) go(e.node.get());
    }
    std::sort(order.begin(), order.end(),
              [](Node* a, Node* b) { return a->sequence < b->sequence; });
    for (size_t i = 0; i < order.size(); ++i) index[order[i]] = static_cast<int32_t>(i);
  }

  RecordedGraph::EdgeTo edge_to(const Edge& e) {
    using End = RecordedGraph::EdgeTo::End;
    if (!e.node) return {};
    if (const auto at = index.find(e.node.get()); at != index.end())
      return {End::Node, at->second, e.slot};
    RecordedGraph::Border b;
    for (size_t k = 0; k < s.input_edges.size() && b.input < 0; ++k) {
      if (s.input_edges[k].node == e.node && s.input_edges[k].slot == e.slot)
        b.input = static_cast<int32_t>(k);
    }
    if (b.input < 0 && e.node->leaf) {  // one that was made to require a gradient
      const auto input = std::find(s.inputs.begin(), s.inputs.end(), e.node->leaf);
      if (input != s.inputs.end()) b.input = static_cast<int32_t>(input - s.inputs.begin());
    }
    if (b.input < 0) {
      if (!e.node->leaf)
        refuse(nullptr,
               "a tensor from outside that is not an argument has a history, which a replay would "
               "not follow; pass it as an argument");
      const int32_t at = s.place_of(*e.node->leaf->storage);
      if (at >= 0 && s.program.places[static_cast<size_t>(at)].home != Home::Outside)
        refuse(e.node->leaf->storage.get(),
               "a result depends on a leaf that was made inside; " + kInside);
      b.leaf = e.node->leaf;
    }
    for (size_t k = 0; k < g.border.size(); ++k) {
      if (g.border[k].leaf == b.leaf && g.border[k].input == b.input)
        return {End::Border, static_cast<int32_t>(k), 0};
    }
    g.border.push_back(std::move(b));
    return {End::Border, static_cast<int32_t>(g.border.size()) - 1, 0};
  }

  /// Fresh in each replay: the memory of an argument, or what the run made.
  int32_t memory_of(int32_t place) {
    const auto [it, added] = memory_index.try_emplace(place, g.memory.size());
    if (added) {
      g.memory.push_back(place);
      Home& home = s.program.places[static_cast<size_t>(place)].home;
      if (home == Home::Inside) home = Home::Escapes;
    }
    return it->second;
  }

  int32_t kept(const Ref<TensorImpl>& t) {
    const auto known = tensor_index.find(t.get());
    if (known != tensor_index.end()) return known->second;
    RecordedGraph::Kept k;
    const auto input = std::find(s.inputs.begin(), s.inputs.end(), t);
    const bool ours = t->grad_fn && index.count(t->grad_fn) != 0;
    const int32_t at = t->storage ? s.place_of(*t->storage) : -1;
    const Home home = at < 0 ? Home::Outside : s.program.places[static_cast<size_t>(at)].home;
    if (input != s.inputs.end()) {
      k.input = static_cast<int32_t>(input - s.inputs.begin());
      if (home != Home::Outside) k.memory = memory_of(at);
    } else if (home == Home::Gradient) {
      refuse(t->storage.get(), "the graph of a result keeps a gradient; " + kInside);
    } else if (!t->storage || (home == Home::Outside && !ours)) {
      k.itself = t;
      k.data = t->data;
    } else {
      k.like = geometry_of(*t);
      k.like->requires_grad = t->requires_grad;
      k.like->version_owner = t->version_owner;
      if (home == Home::Outside) {
        k.like->storage = t->storage;
        k.data = t->data;
      } else {
        k.memory = memory_of(at);
        k.from_base = t->data - s.program.places[static_cast<size_t>(at)].base;
      }
      if (t->grad_fn) k.history = edge_to({Ref<Node>(t->grad_fn), t->output_nr});
    }
    const auto number = static_cast<int32_t>(g.tensors.size());
    tensor_index[t.get()] = number;
    g.tensors.push_back(std::move(k));
    return number;
  }

  void read() {
    for (Node* n : order) {
      RecordedGraph::NodeAs as{n->op,       n->sequence - s.started,
                               {},          n->compute,
                               n->released, n->n_outputs,
                               {},          {},
                               nullptr,     -1};
      as.params = n->params;
      for (const Edge& e : n->all_edges()) as.edges.push_back(edge_to(e));
      for (int i = 0; i < n->n_saved; ++i) {
        const Saved& from = n->saved[i];
        RecordedGraph::SavedAs& to = as.saved.emplace_back();
        to.output = from.output;
        if (!from.tensor) continue;
        to.tensor = kept(from.tensor);
        if (from.output < -1) continue;  // only a geometry
        to.behind = from.tensor->version() - from.version;
        g.stale |= to.behind != 0;
      }
      if (n->extra && n->extra->custom) {
        if (Node* const inner = n->extra->custom->inner()) as.inner = index.at(inner);
        as.custom = n->extra->custom->around({});
      }
      g.nodes.push_back(std::move(as));
    }
    g.span = order.empty() ? 0 : order.back()->sequence - s.started;
  }
};

}  // namespace

std::shared_ptr<RecordedGraph> RecordedGraph::of(std::span<const Tensor> roots,
                                                 const Surroundings& s) {
  auto g = std::make_shared<RecordedGraph>();
  Reader reader{*g, s, {}};
  reader.find_nodes(roots);
  reader.read();
  for (const Tensor& t : roots)
    g->roots.push_back(t.defined() ? reader.edge_to({Ref<Node>(t->grad_fn), t->output_nr})
                                   : EdgeTo());
  for (const EdgeTo& root : g->roots) g->used_within.push_back(g->uses(root));
  return g;
}

/// Whether nodes use that output of a node, or keep it.
bool RecordedGraph::uses(const EdgeTo& made) const {
  const auto same = [&](const EdgeTo& e) {
    return e.end == made.end && e.index == made.index && e.slot == made.slot;
  };
  if (made.end != EdgeTo::End::Node) return false;
  const auto& saved = nodes[static_cast<size_t>(made.index)].saved;
  return std::any_of(saved.begin(), saved.end(), [](const SavedAs& s) { return s.output >= 0; }) ||
         std::any_of(tensors.begin(), tensors.end(),
                     [&](const Kept& k) { return same(k.history); }) ||
         std::any_of(nodes.begin(), nodes.end(), [&](const NodeAs& n) {
           return std::any_of(n.edges.begin(), n.edges.end(), same);
         });
}

// ---- a backward pass that was recorded ----

namespace {
/// Whether the engine may overwrite it.
bool sole_owner(const Tensor& t) { return t->ref_count == 1 && t->storage->ref_count == 1; }

/// A gradient that arrives or waits.
struct GradientKind {
  int32_t where = -1;  // a root, or behind them a border
  bool sole = false;
  InputKind kind;
  bool fits(int32_t at, const Tensor& t, std::span<const Tensor> before) const {
    return where == at && sole == sole_owner(t) && kind.fits(*t.get(), before);
  }
};

/// The .grad of a leaf at which nothing waits, where a product may be added to it.
struct LeafKind {
  enum class State : uint8_t { Apart, None, There } state = State::Apart;
  InputKind kind;

  static State state_of(const TensorImpl* leaf, bool waits) {
    if (!leaf || waits) return State::Apart;
    if (!leaf->meta) return State::None;
    const AutogradMeta& m = *leaf->meta;
    const bool seen = !m.hooks.pre.empty() || !m.hooks.post.empty();
    if (seen || (m.grad && m.grad->inference)) return State::Apart;
    return m.grad ? State::There : State::None;
  }
  LeafKind(const TensorImpl* leaf, bool waits) : state(state_of(leaf, waits)) {
    if (state == State::There) kind = InputKind(*leaf->meta->grad, {});
  }
  bool fits(const TensorImpl* leaf, bool waits) const {
    return state == state_of(leaf, waits) &&
           (state != State::There || kind.fits(*leaf->meta->grad, {}));
  }
};

/// Storages that were met, told by a mark that they carry for that time.
class Met {
 public:
  Met() = default;
  Met(const Met&) = delete;
  ~Met() {
    for (Storage* s : met_) s->place = 0;
  }
  /// False if it was met before.
  bool add(Storage* s) {
    if (s->place != 0) return false;
    s->place = 1;
    met_.push_back(s);
    return true;
  }
  static bool has(const Tensor& t) { return t->storage->place != 0; }

 private:
  std::vector<Storage*> met_;
};
}  // namespace

struct RecordedGraph::RecordedBackward {
  std::vector<GradientKind> gradients;
  std::vector<LeafKind> leaves;          // by border
  std::vector<int32_t> argument_leaves;  // borders that are arguments with a .grad
  bool retains = false;
  CudaFlags flags;
  std::unique_ptr<Program> program;  // null: it runs as eager does
  std::vector<int32_t> delivers;     // the border of each result
  std::vector<bool> ran;             // by node
  int64_t replays = 0;
};

RecordedGraph::~RecordedGraph() = default;

std::vector<RecordedGraph::BackwardProgram> RecordedGraph::backward_programs() const {
  std::vector<BackwardProgram> found;
  for (const auto& b : backwards) {
    if (b->program) found.push_back({b->program.get(), b->replays});
  }
  return found;
}

namespace {

constexpr size_t kMostBackwards = 8;

bool same_flags(const CudaFlags& a, const CudaFlags& b) {
  return a.allow_tf32 == b.allow_tf32 && a.cudnn_tf32 == b.cudnn_tf32 &&
         a.cudnn_benchmark == b.cudnn_benchmark && a.cudnn_enabled == b.cudnn_enabled &&
         a.deterministic == b.deterministic;
}

/// The derivative of the node that a replay hangs on its results.
struct LiveGraph final : CustomBackward {
  std::shared_ptr<RecordedGraph> graph;
  std::vector<Tensor> memory;      // what is kept of this replay
  std::vector<Tensor> inputs;      // .. arguments that nodes keep
  std::vector<uint32_t> versions;  // of all that is kept, behind the replay
  std::vector<char*> data;         // .. of the arguments
  std::vector<bool> ran;           // by node: their values are gone; empty: none ran
  uint64_t first = 0;              // the nodes' numbers begin behind this one
  bool unfolded = false, freed = false;

  const char* name() const override { return "CompiledFunctionBackward"; }
  void release_saved() override {}  // a backward pass has done so itself

  void run(Backward& b) override {
    EngineRun& engine = b.engine_run();
    const bool recordable =
        !unfolded && engine.plain() && !recording_watcher() && b.node.extra->post.empty();
    if (recordable && is_as_it_was() && run_recorded(b, engine)) return;
    unfold(b.node);
    for (size_t k = 0; k < b.out_grads.size(); ++k)
      b.set(static_cast<int>(k), std::move(b.out_grads[k]));
  }

  // ---- as the eager graph ----

  TensorImpl* find(const RecordedGraph::Kept& k) const {
    return k.itself ? k.itself.get() : inputs[static_cast<size_t>(k.input)].get();
  }

  void unfold(Node& node) override { unfold(node, nullptr); }
  void unfold(Node& node, std::vector<const Node*>* nodes) {
    if (unfolded) return;
    unfolded = true;
    const RecordedGraph& g = *graph;
    using End = RecordedGraph::EdgeTo::End;
    const std::vector<Edge> border(node.edges, node.edges + g.border.size());
    std::vector<Ref<Node>> made;
    for (const auto& as : g.nodes) {
      Node* const n = Node::create(*as.op, static_cast<int>(as.edges.size()),
                                   static_cast<int>(as.saved.size()), as.n_outputs);
      n->sequence = first + as.number;
      n->params = as.params;
      n->compute = as.compute;
      n->released = as.released;
      made.emplace_back(n);
      if (nodes) nodes->push_back(n);
    }
    const auto edge = [&](const RecordedGraph::EdgeTo& to) -> Edge {
      if (to.end == End::None) return {};
      if (to.end == End::Node) return {made[static_cast<size_t>(to.index)], to.slot};
      return border[static_cast<size_t>(to.index)];
    };
    std::vector<Ref<TensorImpl>> tensors(g.tensors.size());
    const auto tensor = [&](int32_t index) {
      Ref<TensorImpl>& t = tensors[static_cast<size_t>(index)];
      if (!t) t = make(g.tensors[static_cast<size_t>(index)], edge);
      return t;
    };
    for (size_t i = 0; i < made.size(); ++i) {
      const auto& as = g.nodes[i];
      Node& n = *made[i];
      for (size_t k = 0; k < as.edges.size(); ++k) n.edges[k] = edge(as.edges[k]);
      const bool gone = !ran.empty() && ran[i];
      for (size_t k = 0; k < as.saved.size(); ++k) {
        const auto& from = as.saved[k];
        n.saved[k].output = from.output;
        if (from.tensor < 0) continue;
        if (gone && from.output >= -1) {
          n.released = true;
          continue;
        }
        n.saved[k].tensor = tensor(from.tensor);
        if (from.output >= -1)
          n.saved[k].version = versions[static_cast<size_t>(from.tensor)] - from.behind;
      }
      if (as.custom)
        n.make_extra().custom =
            as.custom->around(as.inner < 0 ? Ref<Node>() : made[static_cast<size_t>(as.inner)]);
    }
    for (int k = 0; k < node.n_edges; ++k) {
      const auto at = static_cast<size_t>(k);
      node.edges[k] = at < g.roots.size() ? edge(g.roots[at]) : Edge{};
    }
    memory.clear();
    inputs.clear();
  }

  void settle(Node& node, const Tensor& t, bool always) override {
    const uint32_t k = t->output_nr;
    if (!unfolded && !always && !graph->used_within[k]) return;
    unfold(node, nullptr);
    const Edge made = node.edges[k];
    set_history(t, made.node, made.slot);
  }

  template <class F>
  Ref<TensorImpl> make(const RecordedGraph::Kept& k, const F& edge) const {
    if (!k.like) return Ref<TensorImpl>(find(k));
    Ref<TensorImpl> t = geometry_of(*k.like);
    t->requires_grad = k.like->requires_grad;
    t->version_owner = k.like->version_owner;
    if (k.memory >= 0) {
      const Tensor& m = memory[static_cast<size_t>(k.memory)];
      t->storage = m->storage;
      t->data = m->data + k.from_base;
    } else {
      t->storage = k.like->storage;
    }
    const Edge history = edge(k.history);
    if (history.node) {
      t->grad_fn = Ref<Node>(history.node).release();
      t->output_nr = history.slot;
      t->view_version = t->version();
    }
    return t;
  }

  // ---- as a program ----

  /// Whether nobody wrote to what is kept, nor put other memory in its place.
  bool is_as_it_was() const {
    if (freed || graph->stale) return false;
    for (size_t i = 0; i < graph->tensors.size(); ++i) {
      const auto& k = graph->tensors[i];
      uint32_t now = 0;
      if (k.like && k.memory >= 0) {
        const Tensor& m = memory[static_cast<size_t>(k.memory)];
        now = k.like->version_owner ? k.like->version_owner->version : m->storage->version;
      } else if (k.like) {
        now = k.like->version();
      } else {
        const TensorImpl* const t = find(k);
        if (!t->storage) continue;
        now = t->version();
        if (t->data != (k.itself ? k.data : data[static_cast<size_t>(k.input)])) return false;
      }
      if (now != versions[i]) return false;
    }
    return true;
  }

  /// What the engine has for this node: gradients that arrive, and those that wait where it ends.
  /// They are moved from there, so that their owners are as many as before.
  struct Arrived {
    std::vector<Tensor> tensors;
    std::vector<int32_t> where;
    std::vector<Ref<TensorImpl>*> waits;    // by border; null: nothing does
    std::vector<const TensorImpl*> leaves;  // by border; null: it is none

    Arrived(Backward& b, EngineRun& engine, size_t n_border) : waits(n_border), leaves(n_border) {
      const auto n_roots = static_cast<int32_t>(b.out_grads.size());
      for (int32_t k = 0; k < n_roots; ++k) {
        Tensor& t = b.out_grads[static_cast<size_t>(k)];
        if (!t.defined()) continue;
        tensors.push_back(std::move(t));
        where.push_back(k);
      }
      for (size_t k = 0; k < n_border; ++k) {
        const Edge& e = b.node.edges[k];
        waits[k] = engine.waiting(e);
        leaves[k] = e.node->leaf.get();
        if (!waits[k]) continue;
        tensors.emplace_back(std::move(*waits[k]));
        where.push_back(n_roots + static_cast<int32_t>(k));
      }
    }
    void put_back(Backward& b) {
      const size_t n_roots = b.out_grads.size();
      for (size_t i = 0; i < tensors.size(); ++i) {
        const auto at = static_cast<size_t>(where[i]);
        if (at < n_roots) {
          b.out_grads[at] = std::move(tensors[i]);
        } else {
          *waits[at - n_roots] = std::move(tensors[i].ref());
        }
      }
    }
  };

  /// Memory under two names: a program would not know what the eager pass sees.
  bool has_aliases(const Arrived& a) const {
    Met met;
    for (const Tensor& m : memory) met.add(m->storage.get());
    for (const auto& k : graph->tensors) {
      if (k.itself && k.itself->storage) met.add(k.itself->storage.get());
    }
    for (size_t k = 0; k < a.leaves.size(); ++k) {
      if (LeafKind::state_of(a.leaves[k], a.waits[k]) == LeafKind::State::There &&
          !met.add(a.leaves[k]->meta->grad->storage.get()))
        return true;
    }
    return std::any_of(a.tensors.begin(), a.tensors.end(), &Met::has);
  }

  static bool fits(const RecordedGraph::RecordedBackward& r, const Arrived& a) {
    if (r.gradients.size() != a.tensors.size()) return false;
    for (size_t i = 0; i < a.tensors.size(); ++i) {
      if (!r.gradients[i].fits(a.where[i], a.tensors[i], {a.tensors.data(), i})) return false;
    }
    for (size_t k = 0; k < a.leaves.size(); ++k) {
      if (!r.leaves[k].fits(a.leaves[k], a.waits[k])) return false;
    }
    return true;
  }

  /// False if it has to run as the eager graph.
  bool run_recorded(Backward& b, EngineRun& engine) {
    auto& known = graph->backwards;
    Arrived a(b, engine, graph->border.size());
    const bool usable =
        std::all_of(a.leaves.begin(), a.leaves.end(),
                    [](const TensorImpl* l) { return !l || (l->requires_grad && !l->grad_fn); }) &&
        !has_aliases(a);
    bool refused = false;
    for (size_t i = 0; usable && i < known.size(); ++i) {
      const auto r = known[i];
      if (r->retains != engine.retains_graph() || !same_flags(r->flags, cuda_flags()) ||
          !fits(*r, a))
        continue;
      std::rotate(known.begin(), known.begin() + static_cast<long>(i),
                  known.begin() + static_cast<long>(i) + 1);
      refused = !r->program;
      if (refused) break;
      replay(*r, b, engine, a);
      return true;
    }
    const auto r = std::make_shared<RecordedGraph::RecordedBackward>();
    if (usable && !refused) {
      r->retains = engine.retains_graph();
      r->flags = cuda_flags();
      for (size_t i = 0; i < a.tensors.size(); ++i)
        r->gradients.push_back({a.where[i], sole_owner(a.tensors[i]),
                                InputKind(*a.tensors[i].get(), {a.tensors.data(), i})});
      for (size_t k = 0; k < a.leaves.size(); ++k)
        r->leaves.emplace_back(a.leaves[k], a.waits[k] != nullptr);
    }
    a.put_back(b);
    if (!usable || refused) return false;
    record(*r, b, engine, a);
    known.insert(known.begin(), r);
    if (known.size() > kMostBackwards) known.pop_back();
    return true;
  }

  void replay(RecordedGraph::RecordedBackward& r, Backward& b, EngineRun& engine, Arrived& a) {
    ++r.replays;
    for (const int32_t k : r.argument_leaves) a.tensors.emplace_back(b.node.edges[k].node->leaf);
    a.tensors.insert(a.tensors.end(), memory.begin(), memory.end());
    std::vector<Tensor> results = r.program->replay(a.tensors);
    a.tensors.clear();
    for (size_t i = 0; i < results.size(); ++i) {
      const auto k = static_cast<size_t>(r.delivers[i]);
      if (a.waits[k]) {
        *a.waits[k] = std::move(results[i].ref());
      } else {
        engine.deliver(b.node.edges[k], std::move(results[i]));
      }
    }
    if (!engine.retains_graph()) release(r.ran);
  }

  /// The values of the nodes that ran are gone, as in the eager graph.
  void release(const std::vector<bool>& nodes) {
    if (ran.empty()) ran.resize(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) ran[i] = ran[i] || nodes[i];
    freed = true;
    std::vector<bool> needed(memory.size());
    bool inputs_needed = false;
    for (size_t i = 0; i < ran.size(); ++i) {
      if (ran[i]) continue;
      for (const auto& from : graph->nodes[i].saved) {
        if (from.tensor < 0 || from.output < -1) continue;
        const auto& k = graph->tensors[static_cast<size_t>(from.tensor)];
        if (k.memory >= 0) needed[static_cast<size_t>(k.memory)] = true;
        inputs_needed |= k.input >= 0;
      }
    }
    for (size_t k = 0; k < memory.size(); ++k) {
      if (!needed[k]) memory[k] = Tensor();
    }
    if (!inputs_needed) inputs.assign(inputs.size(), Tensor());
  }

  /// Runs the eager graph, and notes what that launches.
  void record(RecordedGraph::RecordedBackward& r, Backward& b, EngineRun& engine,
              const Arrived& a) {
    const size_t n_roots = b.out_grads.size();
    const std::vector<Edge> border(b.node.edges, b.node.edges + graph->border.size());
    std::vector<Tensor> leaves;
    for (size_t k = 0; k < border.size(); ++k) {
      if (r.leaves[k].state != LeafKind::State::There) continue;
      if (graph->border[k].input < 0) {
        leaves.push_back(Tensor(border[k].node->leaf));
      } else {
        r.argument_leaves.push_back(static_cast<int32_t>(k));
      }
    }
    std::vector<TensorImpl*> given;
    for (const int32_t at : a.where) {
      const auto k = static_cast<size_t>(at);
      given.push_back(k < n_roots ? b.out_grads[k].get() : a.waits[k - n_roots]->get());
    }
    for (const int32_t k : r.argument_leaves)
      given.push_back(border[static_cast<size_t>(k)].node->leaf.get());
    for (const Tensor& t : memory) given.push_back(t.get());
    Recorder recorder(given, leaves);
    std::vector<const Node*> nodes;
    unfold(b.node, &nodes);
    const std::vector<Edge> roots(b.node.edges, b.node.edges + n_roots);
    for (size_t k = 0; k < n_roots; ++k) engine.deliver(roots[k], std::move(b.out_grads[k]));
    engine.work_down_to(first);
    for (const Node* n : nodes) r.ran.push_back(n->released);
    // In the order in which the engine came to the leaves: it is that of their hooks.
    const auto order = engine.leaves();
    const auto turn = [&](int32_t k) {
      return std::find(order.begin(), order.end(), border[static_cast<size_t>(k)].node) -
             order.begin();
    };
    for (size_t k = 0; k < border.size(); ++k) {
      if (engine.waiting(border[k])) r.delivers.push_back(static_cast<int32_t>(k));
    }
    std::stable_sort(r.delivers.begin(), r.delivers.end(),
                     [&](int32_t x, int32_t y) { return turn(x) < turn(y); });
    std::vector<Tensor> results;
    for (const int32_t k : r.delivers)
      results.emplace_back(*engine.waiting(border[static_cast<size_t>(k)]));
    try {
      r.program = recorder.finish(results);
      r.program->time_next();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::Capture) throw;
    }
  }
};

}  // namespace

void RecordedGraph::attach(const Program& program, std::span<const Tensor> inputs,
                           std::span<const Tensor> results) {
  static const Op& op = Op::get("compiled_function");
  auto live = std::make_unique<LiveGraph>();
  live->graph = shared_from_this();
  std::vector<Edge> edges;
  uint64_t before = 0;
  for (const Border& b : border) {
    edges.push_back(gradient_edge(b.leaf ? Tensor(b.leaf) : inputs[static_cast<size_t>(b.input)]));
    before = std::max(before, edges.back().node->sequence);
  }
  const Ref<Node> node(Node::create(op, static_cast<int>(std::max(border.size(), roots.size())), 0,
                                    static_cast<int>(roots.size())));
  const size_t n = span / 2 + 1;
  live->first = reserve_sequence(n, before);
  node->sequence = live->first + 2 * n;
  std::move(edges.begin(), edges.end(), node->edges);
  for (const int32_t k : memory) {
    const Place& place = program.places[static_cast<size_t>(k)];
    Tensor t(TensorImpl::create());
    t->storage = place.storage;
    t->data = place.base;
    t->dtype = DType::UInt8;
    t->device = place.device;
    live->memory.push_back(std::move(t));
  }
  live->inputs.resize(inputs.size());
  live->data.resize(inputs.size());
  for (const Kept& k : tensors) {
    uint32_t version = 0;
    if (k.input >= 0) {
      const auto at = static_cast<size_t>(k.input);
      live->inputs[at] = inputs[at];
      live->data[at] = inputs[at]->data;
      version = inputs[at]->version();
    } else if (k.itself) {
      if (k.itself->storage) version = k.itself->version();
    } else if (k.like->version_owner) {
      version = k.like->version_owner->version;
    } else {
      version = k.memory < 0 ? k.like->storage->version
                             : live->memory[static_cast<size_t>(k.memory)]->storage->version;
    }
    live->versions.push_back(version);
  }
  node->make_extra().custom = std::move(live);
  for (size_t k = 0; k < roots.size(); ++k) {
    if (roots[k].end != EdgeTo::End::None) set_history(results[k], node, static_cast<uint32_t>(k));
  }
}

}  // namespace gradstep
