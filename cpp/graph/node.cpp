// SPDX-License-Identifier: Apache-2.0
// Nodes and the history of tensors: recording, leaves, views and in-place writes.
#include "graph/node.h"
#include "graph/node_names.h"

#include <algorithm>
#include <new>

#include "core/memory.h"
#include "core/overlap.h"
#include "graph/anomaly.h"

namespace gradstep {

namespace {
// Even numbers; the odd one after a node's is that of the views of what it made, see grad_fn().
thread_local uint64_t t_sequence __attribute__((tls_model("initial-exec"))) = 0;

const Op& accumulate_op() {
  static const Op& op = Op::get("accumulate_grad");
  return op;
}
}  // namespace

EngineOps& engine_ops() {
  static EngineOps ops;
  return ops;
}

// ---- nodes ----

namespace {
size_t node_bytes(int n_edges, int n_saved, int n_outputs) {
  return sizeof(Node) + static_cast<size_t>(n_edges) * sizeof(Edge) +
         static_cast<size_t>(n_saved) * sizeof(Saved) +
         static_cast<size_t>(n_outputs) * sizeof(Ref<TensorImpl>);
}
}  // namespace

uint64_t last_sequence() { return t_sequence; }

uint64_t reserve_sequence(size_t n, uint64_t after) {
  const uint64_t from = std::max(t_sequence, (after + 1) & ~uint64_t{1});
  t_sequence = from + 2 * n;
  return from;
}

std::unique_ptr<CustomBackward> CustomBackward::around(const Ref<Node>&) const { return nullptr; }

Node* Node::create(const Op& op, int n_edges, int n_saved, int n_outputs) {
  GS_CHECK(std::max({n_edges, n_saved, n_outputs}) <= UINT16_MAX,
           "{}: functions of more than {} tensors are not supported by autograd", op.name,
           UINT16_MAX);
  auto* memory = static_cast<char*>(allocate(node_bytes(n_edges, n_saved, n_outputs)));
  Node* n = new (memory) Node;
  memory += sizeof(Node);
  n->op = &op;
  n->sequence = t_sequence += 2;
  n->n_edges = static_cast<uint16_t>(n_edges);
  n->n_saved = static_cast<uint16_t>(n_saved);
  n->n_outputs = static_cast<uint16_t>(n_outputs);
  n->edges = reinterpret_cast<Edge*>(memory);
  n->saved = reinterpret_cast<Saved*>(n->edges + n_edges);
  n->grads = reinterpret_cast<Ref<TensorImpl>*>(n->saved + n_saved);
  std::uninitialized_default_construct_n(n->edges, n_edges);
  std::uninitialized_default_construct_n(n->saved, n_saved);
  std::uninitialized_default_construct_n(n->grads, n_outputs);
  if (g_anomaly.on) [[unlikely]]
    g_anomaly.note_origin(*n);
  return n;
}

// Note [Iterative release]
// A long graph is a chain of nodes that own each other, so releasing its end recursively would
// overflow the stack. destroy() therefore puts nodes on a list that the outermost call works off.
// A dead node has no Python wrapper: the place of that pointer links the list.
namespace {
thread_local Node* t_dead __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local bool t_destroying __attribute__((tls_model("initial-exec"))) = false;
}  // namespace

void Node::destroy(Node* node) {
  if (node->leaf && node->leaf->meta && node->leaf->meta->accumulator == node) {
    node->leaf->meta->accumulator = nullptr;
  }
  node->py_object = std::exchange(t_dead, node);
  if (t_destroying) return;
  t_destroying = true;
  while (Node* const n = t_dead) {
    t_dead = static_cast<Node*>(n->py_object);
    delete n->extra;
    const size_t bytes = node_bytes(n->n_edges, n->n_saved, n->n_outputs);
    std::destroy_n(n->edges, n->n_edges);
    std::destroy_n(n->saved, n->n_saved);
    std::destroy_n(n->grads, n->n_outputs);
    n->~Node();
    deallocate(n, bytes);
  }
  t_destroying = false;
}

void Node::release_saved() {
  // A node that kept no values can run again. Below -1, what is kept is only a geometry
  // (ops/op.cpp).
  for (int i = 0; i < n_saved; ++i) {
    if (saved[i].output < -1) continue;
    released |= static_cast<bool>(saved[i].tensor);
    saved[i].tensor.reset();
  }
  if (extra) extra->packed.clear();
  if (extra && extra->custom) extra->custom->release_saved();
}

NodeExtra& Node::make_extra() {
  if (!extra) extra = new NodeExtra;
  return *extra;
}

std::string Node::display_name() const {
  if (leaf) return "AccumulateGrad";
  if (extra && extra->custom) return extra->custom->name();
  return shown_name(*this);
}

namespace {
/// `maker` is the node that made the tensor, null for a leaf.
[[noreturn]] void fail_written(const Node* maker, TensorImpl& t, uint32_t expected) {
  std::string origin;
  if (maker) {
    // Names as PyTorch has them here: "Exp", not "ExpBackward0".
    std::string name = maker->display_name();
    name =
        name == "CopySlices" ? "torch::autograd::" + name : name.substr(0, name.find("Backward"));
    origin = ", which is output " + std::to_string(t.output_nr) + " of " + name + ",";
  }
  fail(ErrorKind::Runtime,
       "one of the variables needed for gradient computation has been modified by an inplace "
       "operation: "
       "[torch.{}Tensor {}]{} is at version {}; expected version {} instead. Hint: {}",
       scalar_name(t.dtype), t.sizes, origin, t.version(), expected,
       g_anomaly.on ? "the backtrace further above shows the operation that failed to compute its "
                      "gradient. The "
                      "variable in question was changed in there or anywhere later. Good luck!"
                    : "enable anomaly detection to find the operation that failed to compute its "
                      "gradient, with "
                      "torch.autograd.set_detect_anomaly(True, check_nan=False).");
}
}  // namespace

// Note [Packed tensors]
// With hooks for saved tensors, what a node keeps is given to a packer when the node is made, and
// only a geometry stays in its place, because derivatives ask for sizes without wanting values. The
// values come back when a derivative asks for them, without a check of the version: the tensor that
// was kept may be gone. With create_graph they get the history of the tensor that was packed.
namespace {
Tensor without_memory(const Tensor& t) {
  Tensor g(TensorImpl::create());
  g->sizes = t.sizes();
  g->strides = t.strides();
  g->dtype = t.dtype();
  g->device = t.device();
  g->storage = Ref(Storage::create(0, t.device()));
  g->data = g->storage->data;
  g->update_geometry();
  return g;
}

Tensor unpacked(Node& node, int i) {
  const Packed& p = node.extra->packed[static_cast<size_t>(i)];
  const int output = node.saved[i].output;
  Tensor t = p.data->unpack();
  if (!grad_enabled() || (output < 0 && !p.history.node)) return t;
  t = alias(t);
  if (output >= 0)
    set_history(t, Ref<Node>(&node), static_cast<uint32_t>(output));
  else
    set_history(t, p.history.node, p.history.slot);
  return t;
}
}  // namespace

void pack_saved(Node& node) {
  TensorPacker& packer = *modes().packer;
  const GradMode off(false);
  for (int i = 0; i < node.n_saved; ++i) {
    Saved& s = node.saved[i];
    if (s.output < -1 || !s.tensor || !s.tensor->storage) continue;
    const Tensor t(s.tensor);
    if (t->storage->bytes == 0 && t->numel != 0) continue;  // kept for its geometry
    NodeExtra& extra = node.make_extra();
    extra.packed.resize(node.n_saved);
    Packed& p = extra.packed[static_cast<size_t>(i)];
    if (s.output < 0 && is_floating(t.dtype()) && t.wants_grad()) p.history = gradient_edge(t);
    p.data = packer.pack(alias(t));
    s.tensor = without_memory(t).ref();
    s.version = 0;
  }
}

Tensor Backward::saved(int i) const {
  const Saved& s = node.saved[i];
  if (!s.tensor) {
    GS_CHECK(
        !node.released,
        "Trying to backward through the graph a second time (or directly access saved tensors "
        "after they have already been freed). Saved intermediate values of the graph are freed "
        "when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to "
        "backward through the graph a second time or if you need to access saved tensors after "
        "calling backward.");
    return Tensor();
  }
  if (node.extra && !node.extra->packed.empty() && node.extra->packed[i].data) [[unlikely]]
    return unpacked(node, i);
  const uint32_t now = s.tensor->version();
  if (now != s.version) {
    fail_written(s.output >= 0 ? &node : grad_fn(Tensor(s.tensor)), *s.tensor, s.version);
  }
  Tensor t(s.tensor);
  if (s.output >= 0 && grad_enabled()) {
    // The kept output has no history, or it would own its own node; a double backward needs one.
    t = alias(t);
    set_history(t, Ref<Node>(&node), static_cast<uint32_t>(s.output));
  }
  return t;
}

// ---- leaves ----

AutogradMeta& autograd_meta(TensorImpl* t) {
  if (!t->meta) t->meta = new AutogradMeta;
  return *t->meta;
}

void set_grad(const Tensor& t, Tensor grad) {
  if (g_watcher) [[unlikely]]
    g_watcher->gradient(*t.get(), GradEvent::Replaced);
  autograd_meta(t.get()).grad = std::move(grad.ref());
}

namespace {
/// Adds the arriving gradient to `.grad` of a non-leaf; its tensor unhooks it when it goes.
struct RetainHook : Hook {
  TensorImpl* tensor;
  explicit RetainHook(TensorImpl* t) : tensor(t) {}
  void run(std::span<Tensor>, std::span<Tensor> grad_outputs) override {
    const Tensor& g = grad_outputs[tensor->output_nr];
    if (!g.defined()) return;
    Ref<TensorImpl>& kept = tensor->meta->grad;
    kept = kept ? engine_ops().add(Tensor(kept), g).ref() : engine_ops().clone(g).ref();
  }
};
}  // namespace

void retain_grad(const Tensor& t) {
  GS_CHECK(t.wants_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  Node* node = grad_fn_to_look_at(t);
  if (!node || autograd_meta(t.get()).retains_grad) return;
  t->meta->retains_grad = true;
  node->make_extra().pre.push_back(std::make_unique<RetainHook>(t.get()));
}

namespace {
/// Takes the hook off the tensor's node; null if there is none.
std::unique_ptr<Hook> take_retain_hook(const TensorImpl* t) {
  if (!t->grad_fn || !t->grad_fn->extra) return nullptr;
  auto& hooks = t->grad_fn->extra->pre;
  for (auto h = hooks.begin(); h != hooks.end(); ++h) {
    const auto* r = dynamic_cast<RetainHook*>(h->get());
    if (!r || r->tensor != t) continue;
    std::unique_ptr<Hook> found = std::move(*h);
    hooks.erase(h);
    return found;
  }
  return nullptr;
}

/// After an in-place write the gradient to keep is that of the new value.
void move_retain_hook(const TensorImpl* t, Node* to) {
  auto hook = take_retain_hook(t);
  if (hook && to) to->make_extra().pre.push_back(std::move(hook));
}
}  // namespace

void release_autograd(TensorImpl* t) {
  if (t->meta) {
    if (g_watcher) [[unlikely]]
      g_watcher->gradient(*t, GradEvent::Gone);
    if (t->meta->retains_grad) take_retain_hook(t);
    delete std::exchange(t->meta, nullptr);
  }
  if (t->grad_fn) Ref<Node>::adopt(std::exchange(t->grad_fn, nullptr)).reset();
}

Edge gradient_edge(const Tensor& t) {
  if (!t.wants_grad() && !t->base) return {};
  if (Node* node = grad_fn(t)) return {Ref<Node>(node), t->output_nr};
  if (!t->requires_grad) return {};
  AutogradMeta& meta = autograd_meta(t.get());
  if (!meta.accumulator) {
    Ref<Node> node(Node::create(accumulate_op(), 0, 0, 1));
    node->sequence = 0;
    node->leaf = t.ref();
    meta.accumulator = node.get();
    return {std::move(node), 0};
  }
  return {Ref<Node>(meta.accumulator), 0};
}

// ---- recording ----

bool needs_grad(std::span<const Tensor> tensors) {
  return grad_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return needs_grad(t); });
}

Ref<Node> make_node(const Op& op, const Params& params, std::span<const Tensor* const> inputs,
                    std::span<const Save> saves, int n_outputs) {
  Ref<Node> node(
      Node::create(op, static_cast<int>(inputs.size()), static_cast<int>(saves.size()), n_outputs));
  node->params.count = params.count;
  std::copy(params.s, params.s + params.count, node->params.s);
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k]->defined() && is_floating(inputs[k]->dtype())) {
      node->edges[k] = gradient_edge(*inputs[k]);
    }
  }
  for (size_t k = 0; k < saves.size(); ++k) {
    const Tensor& t = *saves[k].tensor;
    if (!t.defined()) continue;
    Saved& s = node->saved[k];
    s.output = saves[k].output;
    s.tensor = s.output >= 0 ? alias(t).ref() : t.ref();
    s.version = t->version();
    GS_CHECK(
        !t->inference,
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
        "inference mode "
        "in computation tracked by autograd. To work around this, you can make a clone to get a "
        "normal tensor "
        "and use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.");
  }
  if (modes().packer) [[unlikely]]
    pack_saved(*node);
  return node;
}

// Note [Saved results of writes into views]
// The node of a write into a view is not part of the graph: CopySlices runs it (see there). A kept
// result of that write, when a double backward gives it its history back, is therefore the view of
// what CopySlices made.
namespace {
struct SliceWrite {
  const Node* inner = nullptr;  // the write
  Node* outer = nullptr;        // CopySlices
  const Dims *base_sizes, *base_strides, *sizes, *strides;
  int64_t offset;
};
thread_local SliceWrite t_slice_write __attribute__((tls_model("initial-exec")));

struct SliceWriteScope {
  explicit SliceWriteScope(const SliceWrite& w) : before(std::exchange(t_slice_write, w)) {}
  ~SliceWriteScope() { t_slice_write = before; }
  SliceWrite before;
};

/// Each thread numbers its nodes itself: one that uses what another thread made comes after it all
/// the same.
void follow_inputs(Node& node) {
  for (const Edge& e : node.all_edges()) {
    if (e.node && e.node->sequence >= node.sequence) [[unlikely]] {
      node.sequence = t_sequence = (e.node->sequence + 2) & ~uint64_t{1};
    }
  }
}

/// Takes the history of `view` from its base's. What uses the view comes after it in the order of
/// nodes, even where it was made before this.
void take_history(const Tensor& view, const Tensor& base, const Dims& sizes, const Dims& strides,
                  int64_t offset) {
  const GradMode on(true);
  const Tensor fresh = engine_ops().as_view(base, sizes, strides, offset);
  fresh->grad_fn->sequence = base->grad_fn->sequence + 1;
  set_history(view, Ref<Node>(fresh->grad_fn), fresh->output_nr);
}
}  // namespace

void set_history(const Tensor& output, const Ref<Node>& node, uint32_t index) {
  TensorImpl* t = output.get();
  if (node.get() == t_slice_write.inner && node) [[unlikely]] {
    const SliceWrite w = t_slice_write;
    const SliceWriteScope none({});
    const Tensor base = alias(output, *w.base_sizes, *w.base_strides, output.offset() - w.offset);
    set_history(base, Ref<Node>(w.outer), 0);
    take_history(output, base, *w.sizes, *w.strides, w.offset);
    return;
  }
  if (t->meta && t->meta->retains_grad) move_retain_hook(t, node.get());
  if (node) follow_inputs(*node);
  Ref<Node> copy = node;
  if (t->grad_fn) Ref<Node>::adopt(t->grad_fn).reset();
  t->grad_fn = copy.release();
  t->output_nr = index;
  t->view_version = t->version();
}

Node* record(const Op& op, const Params& params, std::span<const Tensor* const> outputs,
             std::span<const Tensor* const> inputs, std::span<const Save> saves) {
  Ref<Node> node = make_node(op, params, inputs, saves, static_cast<int>(outputs.size()));
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (outputs[k]->defined() && is_floating(outputs[k]->dtype())) {
      set_history(*outputs[k], node, static_cast<uint32_t>(k));
    }
  }
  return node.get();
}

Node* record(const Op& op, const Params& params, std::initializer_list<const Tensor*> outputs,
             std::initializer_list<const Tensor*> inputs, std::initializer_list<Save> saves) {
  return record(op, params, std::span<const Tensor* const>(outputs.begin(), outputs.size()),
                std::span<const Tensor* const>(inputs.begin(), inputs.size()),
                std::span<const Save>(saves.begin(), saves.size()));
}

// ---- views and in-place writes ----

void set_base(const Tensor& view, const Tensor& of) {
  TensorImpl* v = view.get();
  v->base = of->base ? of->base : of.ref();
  v->view_no_grad = !grad_enabled();
  v->view_version = v->version();
}

Node* grad_fn(const Tensor& t) {
  TensorImpl* v = t.get();
  // A view's own history is stale once the storage was written through another view: the version
  // tells, or a node of the base that is newer (the source of a write is looked at between the
  // two).
  if (v->base && v->base->wants_grad() && is_floating(v->dtype) &&
      (v->view_version != v->version() ||
       (v->grad_fn && v->base->grad_fn && v->grad_fn->sequence < v->base->grad_fn->sequence))) {
    const Tensor base(v->base);
    v->view_version = v->version();
    if (base->grad_fn) take_history(t, base, v->sizes, v->strides, v->offset() - base.offset());
  }
  return v->grad_fn;
}

Node* grad_fn_to_look_at(const Tensor& t, bool always) {
  Node* const n = grad_fn(t);
  if (!n || !n->extra || !n->extra->custom) return n;
  n->extra->custom->settle(*n, t, always);
  return grad_fn(t);
}

void check_inplace(const Tensor& t, bool may_repeat) {
  GS_CHECK(modes().inference || !t->inference,
           "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a "
           "clone to get a normal tensor before doing inplace update.");
  if (!may_repeat) check_writable(*t.get());
  if (!grad_enabled()) return;
  const bool leaf = !t->grad_fn;
  GS_CHECK(!(leaf && t->requires_grad),
           "a leaf Variable that requires grad is being used in an in-place operation.");
  if (t->base) {
    GS_CHECK(
        !(t->base->requires_grad && !t->base->grad_fn),
        "a view of a leaf Variable that requires grad is being used in an in-place operation.");
    GS_CHECK(
        !(t->view_no_grad && t->base->wants_grad()),
        "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
        "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
        "your code by moving both the view and the inplace either both inside the no_grad block "
        "(if you don't want the inplace to be tracked) or both outside (if you want the inplace "
        "to be tracked).");
  }
}

namespace {
// The history of a base after a write into one of its views: inner is the write's own node.
struct CopySlices : CustomBackward {
  Ref<Node> write;
  Dims base_sizes, base_strides, sizes, strides;
  int64_t offset = 0;

  Node* inner() const override { return write.get(); }
  std::unique_ptr<CustomBackward> around(const Ref<Node>& other) const override {
    auto same = std::make_unique<CopySlices>(*this);
    same->write = other;
    return same;
  }

  void run(Backward& b) override {
    const EngineOps& ops = engine_ops();
    // The gradient in the base's geometry; the slice's part of it goes through the write.
    const Tensor result =
        empty_strided(base_sizes, base_strides, b.grad().dtype(), b.grad().device());
    ops.copy_inplace(result, b.grad());
    const Tensor slice = ops.as_view(result, sizes, strides, offset);
    Tensor slice_grad = ops.clone(slice);
    std::vector<Tensor> inner_grads(write->n_edges);
    Backward inside{*write, {&slice_grad, 1}, inner_grads};
    const SliceWriteScope scope(
        {write.get(), &b.node, &base_sizes, &base_strides, &sizes, &strides, offset});
    if (write->extra && write->extra->custom) {
      write->extra->custom->run(inside);
    } else {
      write->op->backward(inside);
    }
    for (int k = 1; k < b.node.n_edges; ++k) b.set(k, inner_grads[static_cast<size_t>(k)]);
    if (!b.needs(0)) return;
    if (inner_grads[0].defined()) {
      ops.copy_inplace(slice, inner_grads[0]);
    } else {
      ops.zero_inplace(slice);
    }
    b.set(0, result);
  }
  void release_saved() override {
    if (write) write->release_saved();
  }
  const char* name() const override { return "CopySlices"; }
};
}  // namespace

void rebase_history(const Tensor& t, const Ref<Node>& node) {
  TensorImpl* v = t.get();
  if (!v->base) {
    set_history(t, node, 0);
    return;
  }
  static const Op& op = Op::get("copy_slices");
  const Tensor base(v->base);
  Ref<Node> outer(Node::create(op, node->n_edges, 0, 1));
  std::copy(node->edges, node->edges + node->n_edges, outer->edges);
  outer->edges[0] = gradient_edge(base);
  node->edges[0] = outer->edges[0];
  auto slices = std::make_unique<CopySlices>();
  slices->write = node;
  slices->base_sizes = base.sizes();
  slices->base_strides = base.strides();
  slices->sizes = t.sizes();
  slices->strides = t.strides();
  slices->offset = t.offset() - base.offset();
  outer->make_extra().custom = std::move(slices);
  set_history(base, outer, 0);
  v->view_version = v->version() - 1;  // stale: refreshed at the next look
  grad_fn(t);
}

}  // namespace gradstep
