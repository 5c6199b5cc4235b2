// SPDX-License-Identifier: Apache-2.0
// The autograd graph. A Node is a call that can be differentiated: its op, its params, the tensors
// it keeps, and an Edge for each input that tells where that input's gradient goes. engine.cpp
// walks it.
//   if (needs_grad({a, b})) record(op, params, {out}, {a, b}, {Save::in(0), Save::in(1)});
// A derivative is a function `void(Backward& b)`: it reads b.grad(), b.saved(i), b.params() and
// calls b.set(k, gradient of input k) for each k with b.needs(k). It is written in ops, so it can
// be differentiated again. May include core and fn.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "graph/call.h"

namespace gradstep {

// ---- modes ----

inline bool grad_enabled() { return modes().grad; }

struct GradMode {  // RAII: sets grad mode, restores it at the end
  explicit GradMode(bool on) : before_(modes().grad) { modes().grad = on; }
  ~GradMode() { modes().grad = before_; }
  GradMode(const GradMode&) = delete;

 private:
  bool before_;
};

// ---- nodes ----

struct Edge {
  Ref<Node> node;  // null: no gradient wanted
  uint32_t slot = 0;
};

/// A tensor kept for backward, with the version that it must still have then.
struct Saved {
  Ref<TensorImpl> tensor;
  uint32_t version = 0;
  int8_t output = -1;  // its index if it is an output of the node itself, kept without history
};

/// A tensor that hooks have packed (autograd.graph.saved_tensors_hooks). Virtual, since they are
/// Python's.
struct PackedTensor {
  virtual ~PackedTensor() = default;
  virtual Tensor unpack() = 0;
};
/// What packs: see Modes::packer.
struct TensorPacker {
  virtual ~TensorPacker() = default;
  virtual std::unique_ptr<PackedTensor> pack(const Tensor& t) = 0;
};
/// What a node keeps in place of a kept tensor, of which only the geometry is left.
struct Packed {
  std::unique_ptr<PackedTensor> data;
  Edge history;  // where the tensor's gradient goes
};
/// A layer's own data at a node; ended with it.
struct NodeNote {
  virtual ~NodeNote() = default;
};

/// A function run around a node. Virtual, since Python's hooks come from the layer above.
struct Hook {
  uint64_t id = 0;
  virtual ~Hook() = default;
  /// Before the derivative (`in` empty) it may replace gradients of the outputs, after it of the
  /// inputs.
  virtual void run(std::span<Tensor> grad_inputs, std::span<Tensor> grad_outputs) = 0;
};

/// The derivative of a custom function, run in place of op->backward.
struct CustomBackward {
  virtual ~CustomBackward() = default;
  virtual void run(Backward& b) = 0;
  virtual void release_saved() = 0;
  virtual const char* name() const = 0;
  /// Where `node` stands for many (graph/recorded_graph.h): its edges lead to them from now on.
  virtual void unfold(Node& node) { static_cast<void>(node); }
  /// The same, where somebody wants to see all of the gradient of `t`, whose history `node` is: t
  /// gets the node that made it. Unless `always`, only if it is used within, too.
  virtual void settle(Node& node, const Tensor& t, bool always) {
    static_cast<void>(node), static_cast<void>(t), static_cast<void>(always);
  }
  /// A node that runs within this one and is in no edge; null: none.
  virtual Node* inner() const { return nullptr; }
  /// The same derivative around another inner node; null if it can't be repeated.
  virtual std::unique_ptr<CustomBackward> around(const Ref<Node>& inner) const;
};

/// The rare parts of a node.
struct NodeExtra {
  std::vector<std::unique_ptr<Hook>> pre;
  std::vector<std::unique_ptr<Hook>> post;
  std::unique_ptr<CustomBackward> custom;
  std::string origin;          // where it was made, if anomaly detection was on then
  std::vector<Packed> packed;  // by the index of what is kept; empty without hooks
  std::unique_ptr<NodeNote> note;
};

class Node : public RefCounted {
 public:
  const Op* op;
  uint64_t sequence;  // later nodes first; accumulators have 0
  Params params;
  uint16_t n_edges = 0;
  uint16_t n_saved = 0;
  uint16_t n_outputs = 0;
  bool released = false;
  Compute compute = Compute::F32;
  uint32_t queued = 0;         // the last engine run that put it into its heap
  uint16_t shown = 0;          // its name in Python, if that isn't op's: graph/node_names.h
  NodeExtra* extra = nullptr;  // owned, mostly null
  Ref<TensorImpl> leaf;        // accumulators: the tensor
  Edge* edges = nullptr;
  Saved* saved = nullptr;
  Ref<TensorImpl>* grads = nullptr;  // arriving gradients, one for each output
  void* py_object = nullptr;         // the live Python wrapper, not owned

  static Node* create(const Op& op, int n_edges, int n_saved, int n_outputs);
  static void destroy(Node* node);
  void release_saved();
  NodeExtra& make_extra();
  std::span<Edge> all_edges() { return {edges, n_edges}; }
  /// The name that Python shows: "MulBackward0".
  std::string display_name() const;
};

/// The number of the node that this thread made last.
uint64_t last_sequence();
/// Numbers for `n` nodes after `after` and all others of this thread: the first one is returned
/// + 2.
uint64_t reserve_sequence(size_t n, uint64_t after);

/// What a node that stands for many asks of the run of the engine that it is part of.
class EngineRun {
 public:
  /// Whether nobody looks at single nodes: no graph of the backward pass, no restriction, no
  /// anomaly detection.
  virtual bool plain() const = 0;
  virtual bool retains_graph() const = 0;
  virtual void deliver(const Edge& edge, Tensor gradient) = 0;
  /// The gradient that waits where an edge ends; null if none does.
  virtual Ref<TensorImpl>* waiting(const Edge& edge) = 0;
  /// Runs what waits in nodes that were made after number `sequence`.
  virtual void work_down_to(uint64_t sequence) = 0;
  /// The leaves at which gradients wait, in the order in which they came.
  virtual std::span<const Ref<Node>> leaves() const = 0;

 protected:
  ~EngineRun() = default;
};
class Run;

/// What a derivative sees.
struct Backward {
  Node& node;
  std::span<Tensor> out_grads;  // of the node's outputs; undefined means zero
  std::span<Tensor> in_grads;   // to fill, one for each edge

  /// May be undefined (zero) where the node has several outputs.
  const Tensor& grad(int i = 0) const { return out_grads[static_cast<size_t>(i)]; }
  uint64_t mask = ~uint64_t{0};  // bit k: the gradient of input k is wanted (k < 64)

  bool needs(int k) const { return node.edges[k].node && (k >= 64 || (mask >> k & 1)); }
  void set(int k, Tensor g) { in_grads[static_cast<size_t>(k)] = std::move(g); }
  Run* run = nullptr;
  EngineRun& engine_run() const;
  /// Where a derivative may add the gradient of input k itself instead of set(): the sum that waits
  /// there or the leaf's .grad, contiguous, of these sizes, apart from the memory of `reads`.
  /// Mostly undefined. See Note [Gradients added in place] in engine.cpp.
  Tensor sum_to_add_to(int k, const Dims& sizes, std::initializer_list<const Tensor*> reads) const;
  /// The i-th kept tensor; raises PyTorch's error if it was modified in place or freed.
  Tensor saved(int i) const;
  bool has_saved(int i) const { return static_cast<bool>(node.saved[i].tensor); }
  int64_t i(int slot) const { return node.params.s[slot].i; }
  double f(int slot) const { return node.params.s[slot].f; }
};

// ---- recording ----

/// Gradient state that only leaves and hooked tensors have.
struct AutogradMeta {
  Ref<TensorImpl> grad;
  Node* accumulator = nullptr;  // alive while some graph refers to it, not owned
  bool retains_grad = false;
  NodeExtra hooks;  // of a leaf: pre = tensor hooks, post = after accumulation
};
AutogradMeta& autograd_meta(TensorImpl* t);

/// The gradient of a leaf or of a tensor that retains it; undefined before the first backward.
inline TensorImpl* read_grad(TensorImpl& t) {
  if (g_watcher) [[unlikely]]
    g_watcher->gradient(t, GradEvent::Read);
  return t.meta ? t.meta->grad.get() : nullptr;
}
inline Tensor grad_of(const Tensor& t) { return Tensor(read_grad(*t.get())); }
void set_grad(const Tensor& t, Tensor grad);

/// Where the gradient of t goes. Makes the accumulator of a leaf and refreshes a stale view's
/// history.
Edge gradient_edge(const Tensor& t);
/// The node that made t (null for a leaf); of a view whose base was written in place, a fresh one.
Node* grad_fn(const Tensor& t);
/// The same, for who looks at the gradient that arrives there (see CustomBackward::settle).
Node* grad_fn_to_look_at(const Tensor& t, bool always = false);
inline bool is_leaf(const Tensor& t) { return grad_fn(t) == nullptr; }

inline bool needs_grad(const Tensor& a) { return grad_enabled() && a.defined() && a.wants_grad(); }
template <class... Rest>
bool needs_grad(const Tensor& a, const Rest&... rest) {
  return needs_grad(a) || needs_grad(rest...);
}
bool needs_grad(std::span<const Tensor> tensors);

/// What a node keeps: an input or an output by position, or any tensor.
struct Save {
  const Tensor* tensor;
  int8_t output = -1;
};
inline Save keep(const Tensor& t) { return {&t, -1}; }
inline Save keep_output(const Tensor& t, int index = 0) { return {&t, static_cast<int8_t>(index)}; }

/// Makes the node of a differentiable call; record() also hangs it on the outputs (floating ones
/// only).
Ref<Node> make_node(const Op& op, const Params& params, std::span<const Tensor* const> inputs,
                    std::span<const Save> saves, int n_outputs);
Node* record(const Op& op, const Params& params, std::initializer_list<const Tensor*> outputs,
             std::initializer_list<const Tensor*> inputs, std::initializer_list<Save> saves);
Node* record(const Op& op, const Params& params, std::span<const Tensor* const> outputs,
             std::span<const Tensor* const> inputs, std::span<const Save> saves);
/// Gives what a fresh node keeps to the packer of this thread.
void pack_saved(Node& node);
/// Makes `node` the history of output `index`.
void set_history(const Tensor& output, const Ref<Node>& node, uint32_t index);
/// Keeps the gradient of a non-leaf in its `.grad`.
void retain_grad(const Tensor& t);

/// Before an in-place write to `t`: raises where PyTorch does (leaf that requires grad, view of
/// one, ..). An axis that repeats elements is taken only where equal ones are given equal values.
void check_inplace(const Tensor& t, bool may_repeat = false);
/// After an in-place write that `node` describes (with t among its inputs if it read it): t's
/// history is now that node; for a view, the base's history becomes a copy-into-slice of it. Edge 0
/// of the node must be that of t itself.
void rebase_history(const Tensor& t, const Ref<Node>& node);
/// An in-place write of a value without gradient: raises the version, nothing more.
inline void mark_written(const Tensor& t) { bump_version(t); }

/// Attaches history to a view made by a view op: its base, and the node if gradients are on.
void set_base(const Tensor& view, const Tensor& of);

// ---- engine ----

/// Accumulates d(roots)/d(leaf) into the leaves' `.grad`. Undefined root gradients mean 1 for
/// scalars.
void backward(std::span<const Tensor> roots, std::span<const Tensor> grads, bool retain_graph,
              bool create_graph, std::span<const Tensor> inputs = {});
/// The gradients of the roots with respect to `inputs`, without touching `.grad`.
std::vector<Tensor> gradients(std::span<const Tensor> roots, std::span<const Tensor> grads,
                              std::span<const Tensor> inputs, bool retain_graph, bool create_graph,
                              bool allow_unused);

/// Arithmetic that the engine needs from the layer above; cpp/ops fills it in.
struct EngineOps {
  Tensor (*add)(const Tensor& a, const Tensor& b) = nullptr;
  void (*add_inplace)(const Tensor& a, const Tensor& b) = nullptr;
  Tensor (*clone)(const Tensor& t) = nullptr;
  void (*copy_inplace)(const Tensor& dst, const Tensor& src) = nullptr;
  void (*zero_inplace)(const Tensor& t) = nullptr;
  Tensor (*ones_like)(const Tensor& t) = nullptr;
  /// The view of `base` that has `view`'s geometry, differentiable.
  Tensor (*as_view)(const Tensor& base, const Dims& sizes, const Dims& strides,
                    int64_t offset) = nullptr;
};
EngineOps& engine_ops();

}  // namespace gradstep
