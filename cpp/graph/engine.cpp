// SPDX-License-Identifier: Apache-2.0
// Backward. Nodes run in descending order of creation: whatever uses a node's output was made after
// it, so all of its gradients have arrived by then, and no dependency has to be counted. Everything
// happens in the caller's thread. Gradients wait in the nodes themselves.
#include <algorithm>
#include <atomic>
#include <unordered_map>
#include <unordered_set>

#include "core/layout.h"
#include "graph/anomaly.h"
#include "graph/engine.h"
#include "graph/node.h"

namespace gradstep {

namespace {

// See Note [Gradient donation].
bool sole_owner(const Tensor& t) { return t->ref_count == 1 && t->storage->ref_count == 1; }

bool strides_match(const Tensor& a, const Tensor& b) {
  for (int d = 0; d < a.ndim(); ++d) {
    if (a.sizes()[d] != 1 && a.strides()[d] != b.strides()[d]) return false;
  }
  return true;
}

struct Capture {
  Node* node;
  uint32_t slot;
  size_t index;
};

}  // namespace

class Run final : public EngineRun {
 public:
  Run(std::span<const Edge> roots, bool retain_graph, bool create_graph)
      : roots_(roots), retain_graph_(retain_graph), create_graph_(create_graph), id_(++last_id_) {}
  Run(const Run&) = delete;
  ~Run() {
    // After an exception: no gradient may wait for a later run.
    for (const Ref<Node>& n : heap_) clear(*n);
    for (const Ref<Node>& n : leaves_) clear(*n);
    for (Waiting& w : aside_) {
      w.node->queued = w.queued;
      std::move(w.grads.begin(), w.grads.end(), w.node->grads);
    }
  }

  // Note [Gradient donation]
  // The first gradient that arrives is moved in. A second one is added in place if nobody else owns
  // the first and no graph is being made of the backward pass itself; else the sum is a new tensor.
  void deliver(const Edge& edge, Tensor g) override {
    if (!edge.node || !g.defined()) return;
    if (edge.node->queued != id_) enqueue(edge.node);
    Ref<TensorImpl>& slot = edge.node->grads[edge.slot];
    if (!slot) {
      slot = std::move(g.ref());
    } else {
      Tensor have(std::move(slot));
      check_shape(*edge.node, g, have.sizes());
      if (!create_graph_ && have.contiguous() && sole_owner(have)) {
        engine_ops().add_inplace(have, g);
      } else {
        have = engine_ops().add(have, g);
      }
      slot = std::move(have.ref());
    }
  }

  // Note [Gradients added in place]
  // A product can be added to what is there already (beta = 1): one pass over the memory less than
  // to make it, deliver it and add it. What is there: a sum that waits in the node and that nobody
  // else owns, or the .grad of a leaf, where the sum would be added in the end anyway. Not where
  // somebody should see the gradient by itself (hooks, anomaly detection, a restricted run) or a
  // graph is made of it.
  Tensor sum_at(const Node& from, const Edge& edge) const {
    if (create_graph_ || from.extra || g_anomaly.on || !edge.node) return Tensor();
    const Node& to = *edge.node;
    const Tensor waiting(to.queued == id_ ? to.grads[edge.slot] : Ref<TensorImpl>());
    if (waiting.defined()) {  // owned by the slot and by `waiting`
      return waiting->ref_count == 2 && waiting->storage->ref_count == 1 ? waiting : Tensor();
    }
    if (restricted_ || !to.leaf || !to.leaf->meta) return Tensor();
    const AutogradMeta& meta = *to.leaf->meta;
    const bool seen = !meta.hooks.pre.empty() || !meta.hooks.post.empty();
    if (seen || !meta.grad || meta.grad->inference) return Tensor();
    if (g_watcher) [[unlikely]]
      g_watcher->gradient(*to.leaf, GradEvent::Added);
    return Tensor(meta.grad);
  }

  /// Only custom functions, hooks and a leaf whose data was replaced can bring a gradient of
  /// another shape.
  static void check_shape(const Node& node, const Tensor& g, const Dims& expected) {
    GS_CHECK(g.sizes() == expected,
             "Function {} returned an invalid gradient at index 0 - got {} but expected shape "
             "compatible with {}",
             node.display_name(), g.sizes(), expected);
  }

  /// All nodes behind the roots.
  std::vector<Node*> reachable() const {
    std::vector<Node*> order;
    std::unordered_set<Node*> seen;
    for (const Edge& e : roots_) {
      if (e.node && seen.insert(e.node.get()).second) order.push_back(e.node.get());
    }
    for (size_t i = 0; i < order.size(); ++i) {
      const NodeExtra* const extra = order[i]->extra;
      if (extra && extra->custom) extra->custom->unfold(*order[i]);
      for (const Edge& e : order[i]->all_edges()) {
        if (e.node && seen.insert(e.node.get()).second) order.push_back(e.node.get());
      }
    }
    return order;
  }

  uint32_t id() const { return id_; }
  bool is_restricted() const { return restricted_; }
  static Run* innermost() { return innermost_; }
  bool runs(Node& node) {
    if (restricted_) return paths_.count(&node) || needed_.count(&node);
    if (reached_.empty()) {
      const std::vector<Node*> all = reachable();
      reached_.insert(all.begin(), all.end());
    }
    return reached_.count(&node) != 0;
  }

  /// Restricts the run to the paths that end in these places.
  void restrict_to(std::vector<Capture> captures) {
    captures_ = std::move(captures);
    restricted_ = true;
    for (const Capture& c : captures_) needed_.insert(c.node);
    std::vector<Node*> order = reachable();
    std::sort(order.begin(), order.end(),
              [](Node* a, Node* b) { return a->sequence < b->sequence; });
    for (Node* n : order) {
      for (const Edge& e : n->all_edges()) {
        if (e.node && needed_.count(e.node.get())) {
          paths_.insert(n);
          needed_.insert(n);
          break;
        }
      }
    }
  }

  bool plain() const override { return !create_graph_ && !restricted_ && !g_anomaly.on; }
  bool retains_graph() const override { return retain_graph_; }
  Ref<TensorImpl>* waiting(const Edge& edge) override {
    Node* const n = edge.node.get();
    return n && n->queued == id_ && n->grads[edge.slot] ? &n->grads[edge.slot] : nullptr;
  }
  void work_down_to(uint64_t sequence) override {
    while (!heap_.empty() && heap_.front()->sequence > sequence) run_latest({});
  }

  std::span<const Ref<Node>> leaves() const override { return leaves_; }

  void work(std::span<Tensor> captured) {
    const GradMode mode(create_graph_);
    struct Innermost {
      Run* const before;
      explicit Innermost(Run* r) : before(std::exchange(innermost_, r)) {}
      ~Innermost() { innermost_ = before; }
    } const innermost(this);
    while (!heap_.empty()) run_latest(captured);
    // By index: a hook may run backward itself, but only this run's leaves are in the list.
    for (size_t i = 0; i < leaves_.size(); ++i) finish_leaf(*leaves_[i], captured);
    leaves_.clear();
  }

 private:
  void run_latest(std::span<Tensor> captured) {
    std::pop_heap(heap_.begin(), heap_.end(), &earlier);
    const Ref<Node> node = std::move(heap_.back());
    heap_.pop_back();
    run_node(*node, captured);
  }

  static bool earlier(const Ref<Node>& a, const Ref<Node>& b) { return a->sequence < b->sequence; }

  /// A node of an outer run, in which this one was started by a hook: what waits there is put back
  /// at the end.
  struct Waiting {
    Ref<Node> node;
    uint32_t queued;
    std::vector<Ref<TensorImpl>> grads;
  };

  void enqueue(const Ref<Node>& node) {
    if (node->queued != 0) {
      Waiting w{node, node->queued, {}};
      for (int i = 0; i < node->n_outputs; ++i) w.grads.push_back(std::move(node->grads[i]));
      aside_.push_back(std::move(w));
    }
    node->queued = id_;
    if (node->sequence == 0) {
      leaves_.push_back(node);
    } else {
      heap_.push_back(node);
      std::push_heap(heap_.begin(), heap_.end(), &earlier);
    }
  }

  void clear(Node& n) const {
    if (n.queued != id_) return;
    n.queued = 0;
    for (int i = 0; i < n.n_outputs; ++i) n.grads[i].reset();
  }

  void capture(const Node& node, std::span<const Tensor> grads, std::span<Tensor> captured) {
    for (const Capture& c : captures_) {
      if (c.node == &node) captured[c.index] = grads[c.slot];
    }
  }

  void run_node(Node& node, std::span<Tensor> captured) {
    node.queued = 0;
    constexpr int kInline = 8;
    Tensor inline_out[kInline];
    Tensor inline_in[kInline];
    std::vector<Tensor> more_out;
    std::vector<Tensor> more_in;
    std::span<Tensor> out_grads(inline_out, node.n_outputs);
    std::span<Tensor> in_grads(inline_in, node.n_edges);
    if (node.n_outputs > kInline) {
      more_out.resize(node.n_outputs);
      out_grads = more_out;
    }
    if (node.n_edges > kInline) {
      more_in.resize(node.n_edges);
      in_grads = more_in;
    }
    bool any = false;
    for (size_t i = 0; i < node.n_outputs; ++i) {
      any |= static_cast<bool>(node.grads[i]);
      out_grads[i] = Tensor(std::move(node.grads[i]));
    }
    if (!any) return;
    if (node.extra) {
      // What keeps the gradient (id 0) sees what the other hooks made of it.
      const auto& hooks = node.extra->pre;
      for (size_t i = 0; i < hooks.size(); ++i) {
        if (hooks[i]->id != 0) hooks[i]->run({}, out_grads);
      }
      for (size_t i = 0; i < hooks.size(); ++i) {
        if (hooks[i]->id == 0) hooks[i]->run({}, out_grads);
      }
      any = std::any_of(out_grads.begin(), out_grads.end(),
                        [](const Tensor& g) { return g.defined(); });
      if (!any) return;
    }
    if (!captures_.empty()) capture(node, out_grads, captured);
    if (restricted_ && !paths_.count(&node)) return;
    if (g_watcher) [[unlikely]]
      refuse_history(node);

    Backward b{node, out_grads, in_grads};
    b.run = this;
    if (restricted_) {
      b.mask = 0;
      for (int k = 0; k < node.n_edges && k < 64; ++k) {
        if (needed_.count(node.edges[k].node.get())) b.mask |= uint64_t{1} << k;
      }
    }
    try {
      differentiate(b);
    } catch (...) {
      if (g_anomaly.on) g_anomaly.tell_origin(node);
      throw;
    }
    if (node.extra) {
      for (size_t i = 0; i < node.extra->post.size(); ++i)
        node.extra->post[i]->run(in_grads, out_grads);
    }
    if (!retain_graph_) node.release_saved();
    for (Tensor& g : out_grads) g = Tensor();
    for (size_t k = 0; k < node.n_edges; ++k) deliver(node.edges[k], std::move(in_grads[k]));
  }

  static void differentiate(Backward& b) {
    Node& node = b.node;
    if (node.released) b.saved(0);  // raises "a second time"
    if (node.extra && node.extra->custom) {
      node.extra->custom->run(b);
    } else {
      GS_CHECK_KIND(NotImplemented, node.op->backward,
                    "the derivative for '{}' is not implemented.", node.op->name);
      node.op->backward(b);
    }
    if (g_anomaly.on && g_anomaly.check_nan) [[unlikely]]
      look_for_nan(node, b.in_grads);
  }

  static void look_for_nan(const Node& node, std::span<const Tensor> grads) {
    const GradMode off(false);
    for (size_t k = 0; k < grads.size(); ++k) {
      GS_CHECK(!grads[k].defined() || !g_anomaly.has_nan(grads[k]),
               "Function '{}' returned nan values in its {}th output.", node.display_name(), k);
    }
  }

  /// A gradient of the leaf's own: the arriving one if nobody else has it and its layout is the
  /// leaf's.
  Tensor own_gradient(Tensor g, const Tensor& leaf) const {
    const bool same_layout =
        is_dense(leaf.sizes(), leaf.strides()) ? strides_match(g, leaf) : g.contiguous();
    if (sole_owner(g) && same_layout) return g;
    if (create_graph_) return engine_ops().clone(g);
    const Tensor own = is_dense(leaf.sizes(), leaf.strides())
                           ? empty_strided(leaf.sizes(), leaf.strides(), g.dtype(), g.device())
                           : empty_like(g);
    engine_ops().copy_inplace(own, g);
    return own;
  }

  /// A recorded backward pass stays in what was recorded.
  [[gnu::cold]] static void refuse_history(const Node& node) {
    Watcher* const recording = recording_watcher();
    if (!recording || node.sequence > recording->started) return;
    recording->refuse(
        "backward() goes on into a history that was made outside, which a replay would not "
        "follow; detach() the argument, or compute it inside");
  }

  void finish_leaf(Node& node, std::span<Tensor> captured) {
    node.queued = 0;
    Tensor g(std::move(node.grads[0]));
    if (!g.defined()) return;
    const Tensor leaf(node.leaf);
    AutogradMeta& meta = autograd_meta(leaf.get());
    for (size_t i = 0; i < meta.hooks.pre.size(); ++i) meta.hooks.pre[i]->run({}, {&g, 1});
    if (!g.defined()) return;
    if (restricted_) {
      capture(node, {&g, 1}, captured);
      if (!accumulate_into_.count(leaf.get())) return;
    }
    check_shape(node, g, leaf.sizes());
    GS_CHECK(g.device() == leaf.device(),
             "Function {} returned an invalid gradient at index 0 - expected device {} but got {}",
             node.display_name(), leaf.device(), g.device());
    if (meta.grad) check_shape(node, g, meta.grad->sizes);
    if (g_watcher) [[unlikely]]
      g_watcher->gradient(*leaf.get(), GradEvent::Added);
    if (!meta.grad) {
      meta.grad = own_gradient(std::move(g), leaf).ref();
    } else if (create_graph_) {
      meta.grad = engine_ops().add(Tensor(meta.grad), g).ref();
    } else {
      engine_ops().add_inplace(Tensor(meta.grad), g);
    }
    for (size_t i = 0; i < meta.hooks.post.size(); ++i) {
      Tensor self = leaf;
      meta.hooks.post[i]->run({}, {&self, 1});
    }
  }

 public:
  std::unordered_set<TensorImpl*> accumulate_into_;

 private:
  std::span<const Edge> roots_;
  bool retain_graph_;
  bool create_graph_;
  bool restricted_ = false;
  uint32_t id_;
  static inline std::atomic<uint32_t> last_id_ = 0;
  static inline thread_local Run* innermost_ = nullptr;
  std::vector<Ref<Node>> heap_;
  std::vector<Ref<Node>> leaves_;
  std::vector<Waiting> aside_;
  std::vector<Capture> captures_;
  std::unordered_set<Node*> needed_;   // a wanted gradient can be reached
  std::unordered_set<Node*> paths_;    // .. through its inputs
  std::unordered_set<Node*> reached_;  // for runs()
};

EngineRun& Backward::engine_run() const { return *run; }

Tensor Backward::sum_to_add_to(int k, const Dims& sizes,
                               std::initializer_list<const Tensor*> reads) const {
  const Tensor sum = run ? run->sum_at(node, node.edges[k]) : Tensor();
  if (!sum.defined() || !sum.contiguous() || !(sum.sizes() == sizes)) return Tensor();
  for (const Tensor* t : reads) {
    if ((*t)->storage == sum->storage || t->dtype() != sum.dtype()) return Tensor();
  }
  return sum;
}

namespace {

/// The gradient to start from: the given one, or 1 for a scalar.
Tensor root_gradient(const Tensor& root, const Tensor& given, size_t index) {
  GS_CHECK(root.wants_grad(),
           "element {} of tensors does not require grad and does not have a grad_fn", index);
  if (!given.defined()) {
    GS_CHECK(root.numel() == 1, "grad can be implicitly created only for scalar outputs");
    const GradMode off(false);
    return engine_ops().ones_like(root);
  }
  GS_CHECK(
      given.sizes() == root.sizes(),
      "Mismatch in shape: grad_output[{}] has a shape of torch.Size({}) and output[{}] has a shape "
      "of torch.Size({}).",
      index, given.sizes(), index, root.sizes());
  if (given.device() == root.device()) return given;
  GS_CHECK(given.ndim() == 0, "invalid gradient at index {} - expected device {} but got {}", index,
           root.device(), given.device());
  const GradMode off(false);
  Tensor moved = empty_like(root);
  engine_ops().copy_inplace(moved, given);
  return moved;
}

std::vector<Edge> root_edges(std::span<const Tensor> roots) {
  std::vector<Edge> edges;
  for (const Tensor& r : roots) edges.push_back(gradient_edge(r));
  return edges;
}

std::vector<Capture> capture_points(std::span<const Tensor> inputs) {
  std::vector<Capture> captures;
  for (size_t i = 0; i < inputs.size(); ++i) {
    GS_CHECK(inputs[i].wants_grad(), "One of the differentiated Tensors does not require grad");
    grad_fn_to_look_at(inputs[i], true);
    const Edge e = gradient_edge(inputs[i]);
    // The edge is dropped here: a node with no other owner is not in the graph, so it cannot be
    // reached.
    captures.push_back({e.node->ref_count > 1 ? e.node.get() : nullptr, e.slot, i});
  }
  return captures;
}

void deliver_roots(Run& run, std::span<const Tensor> roots, std::span<const Tensor> grads,
                   const std::vector<Edge>& edges) {
  for (size_t i = 0; i < roots.size(); ++i) {
    run.deliver(edges[i], root_gradient(roots[i], i < grads.size() ? grads[i] : Tensor(), i));
  }
}

}  // namespace

uint32_t current_backward() { return Run::innermost() ? Run::innermost()->id() : 0; }
bool backward_is_restricted() { return Run::innermost() && Run::innermost()->is_restricted(); }
bool backward_runs(Node& node) { return Run::innermost() && Run::innermost()->runs(node); }

void backward(std::span<const Tensor> roots, std::span<const Tensor> grads, bool retain_graph,
              bool create_graph, std::span<const Tensor> inputs) {
  const std::vector<Edge> edges = root_edges(roots);
  Run run(edges, retain_graph, create_graph);
  if (!inputs.empty()) {
    for (const Tensor& t : inputs) {
      run.accumulate_into_.insert(t.get());
      if (!is_leaf(t)) retain_grad(t);
    }
    run.restrict_to(capture_points(inputs));
  }
  deliver_roots(run, roots, grads, edges);
  std::vector<Tensor> captured(inputs.size());
  run.work(captured);
}

std::vector<Tensor> gradients(std::span<const Tensor> roots, std::span<const Tensor> grads,
                              std::span<const Tensor> inputs, bool retain_graph, bool create_graph,
                              bool allow_unused) {
  const std::vector<Edge> edges = root_edges(roots);
  Run run(edges, retain_graph, create_graph);
  run.restrict_to(capture_points(inputs));
  deliver_roots(run, roots, grads, edges);
  std::vector<Tensor> captured(inputs.size());
  run.work(captured);
  if (!allow_unused) {
    for (size_t i = 0; i < captured.size(); ++i) {
      GS_CHECK(
          captured[i].defined(),
          "The differentiated Tensor at index {} appears to not have been used in the graph. Set "
          "allow_unused=True if this is the desired behavior.",
          i);
    }
  }
  return captured;
}

}  // namespace gradstep
