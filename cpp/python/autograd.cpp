// SPDX-License-Identifier: Apache-2.0
// backward(), grad(), hooks, grad modes, grad_fn objects, and the native half of autograd.Function:
// Python's autograd/function.py makes the context object, this file makes the node that calls its
// backward.
#include "python/autograd.h"

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "graph/anomaly.h"
#include "graph/engine.h"
#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"
#include "python/function.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

namespace {

// ---- grad_fn objects ----

struct PyNode {
  PyObject_HEAD Node* node;  // owned
};
PyTypeObject* node_type;

Node& node_of(PyObject* self) { return *reinterpret_cast<PyNode*>(self)->node; }

void node_dealloc(PyObject* self) {
  Node* n = reinterpret_cast<PyNode*>(self)->node;
  PyTypeObject* type = Py_TYPE(self);
  if (n) {
    if (n->py_object == self) n->py_object = nullptr;
    Ref<Node>::adopt(n).reset();
  }
  type->tp_free(self);
  Py_DECREF(type);
}
PyObject* node_repr(PyObject* self) {
  const Node& node = node_of(self);
  const std::string name = node.display_name();
  const char* module = node.extra && node.extra->custom && name.ends_with("Backward")
                           ? "torch.autograd.function."
                           : "";
  return PyUnicode_FromFormat("<%s%s object at %p>", module, name.c_str(), self);
}
PyObject* node_name(PyObject* self, PyObject*) {
  // PyTorch's names of the nodes that are no operation.
  const std::string name = node_of(self).display_name();
  return wrap(name == "AccumulateGrad" || name == "CopySlices" ? "torch::autograd::" + name : name);
}
PyObject* node_next(PyObject* self, void*) {
  Node& n = node_of(self);
  PyObject* out = PyTuple_New(n.n_edges);
  for (int k = 0; k < n.n_edges; ++k) {
    PyTuple_SET_ITEM(out, k, Py_BuildValue("(NI)", wrap_node(n.edges[k].node), n.edges[k].slot));
  }
  return out;
}
PyObject* node_variable(PyObject* self, void*) {
  Node& n = node_of(self);
  if (!n.leaf) {
    PyErr_SetString(PyExc_AttributeError, "variable");
    return nullptr;
  }
  return wrap(Tensor(n.leaf));
}
PyObject* node_sequence(PyObject* self, PyObject*) {
  return PyLong_FromUnsignedLongLong(node_of(self).sequence);
}

PyObject* context_of(CustomBackward& custom);  // null if it is not a function of Python

/// Node.metadata: a dict for whoever walks the graph.
struct Metadata : NodeNote {
  py::dict dict;
  ~Metadata() override {
    if (!Py_IsInitialized()) dict.release();
  }
};
PyObject* node_metadata(PyObject* self, void*) {
  return guard([&] {
    std::unique_ptr<NodeNote>& note = node_of(self).make_extra().note;
    if (!note) note = std::make_unique<Metadata>();
    return Py_NewRef(static_cast<Metadata*>(note.get())->dict.ptr());
  });
}

// ---- hooks for saved tensors ----

struct PyPacked : PackedTensor {
  py::object value, unpack_hook;
  PyPacked(py::object v, py::object u) : value(std::move(v)), unpack_hook(std::move(u)) {}
  ~PyPacked() override {
    if (Py_IsInitialized()) return;
    value.release();
    unpack_hook.release();
  }
  Tensor unpack() override {
    const py::object out = unpack_hook(value);
    GS_CHECK_TYPE(is_tensor(out.ptr()),
                  "Output of saved tensor unpack_hook expected to be a Tensor but got result of "
                  "type {}",
                  std::string(py::str(py::type::of(out))));
    return unwrap(out.ptr());
  }
};
struct PyPacker : TensorPacker {
  py::object pack_hook, unpack_hook;
  PyPacker(PyObject* p, PyObject* u)
      : pack_hook(py::reinterpret_borrow<py::object>(p)),
        unpack_hook(py::reinterpret_borrow<py::object>(u)) {}
  std::unique_ptr<PackedTensor> pack(const Tensor& t) override {
    const uint32_t version = t->version();
    py::object value = pack_hook(py::reinterpret_steal<py::object>(wrap(t)));
    GS_CHECK(t->version() == version,
             "A saved tensor pack hook is modifying its input in place. Tensors provided as input "
             "to pack hook can not be modified by in-place operations as this can lead to "
             "unexpected side-effects. Please open an issue if you need to perform in-place "
             "operations on the input to a pack hook.");
    return std::make_unique<PyPacked>(std::move(value), unpack_hook);
  }
};

/// This thread's packers; nodes use the last one. Never ended: a thread can outlive Python.
std::vector<std::unique_ptr<PyPacker>>& packers() {
  static thread_local auto* const stack = new std::vector<std::unique_ptr<PyPacker>>;
  return *stack;
}
void use_last_packer() { modes().packer = packers().empty() ? nullptr : packers().back().get(); }

PyObject* push_saved_hooks(Args& a) {
  packers().push_back(std::make_unique<PyPacker>(a.object(0), a.object(1)));
  use_last_packer();
  return none();
}
PyObject* pop_saved_hooks(Args&) {
  GS_CHECK(!packers().empty(), "there are no hooks for saved tensors");
  packers().pop_back();
  use_last_packer();
  return none();
}
/// For custom functions, whose tensors are kept by Python.
PyObject* saved_hooks(Args&) {
  if (packers().empty()) return none();
  const PyPacker& p = *packers().back();
  return py::make_tuple(p.pack_hook, p.unpack_hook).release().ptr();
}

// ---- hooks ----

uint64_t next_hook_id = 1;

void replace_one(Tensor& old, const Tensor& g) {
  if (old.defined() && g.defined()) {
    GS_CHECK(g.sizes() == old.sizes(), "hook has changed the size of value");
    GS_CHECK(g.dtype() == old.dtype(),
             "hook has changed the type of value (was torch.{}Tensor got torch.{}Tensor)",
             scalar_name(old.dtype()), scalar_name(g.dtype()));
  }
  old = g;
}

/// Gives a result of Python back into the gradients it may replace.
void replace(PyObject* result, std::span<Tensor> grads) {
  if (result == Py_None) return;
  if (is_tensor(result)) {
    GS_CHECK(grads.size() == 1, "hook has returned an incorrect number of values");
    replace_one(grads[0], unwrap(result));
    return;
  }
  GS_CHECK(
      PyTuple_Check(result) && PyTuple_GET_SIZE(result) == static_cast<Py_ssize_t>(grads.size()),
      "hook has returned an incorrect number of values");
  for (size_t i = 0; i < grads.size(); ++i) {
    PyObject* item = PyTuple_GET_ITEM(result, static_cast<Py_ssize_t>(i));
    GS_CHECK_TYPE(item == Py_None || is_tensor(item), "expected Tensor, but hook returned '{}'",
                  Py_TYPE(item)->tp_name);
    replace_one(grads[i], item == Py_None ? Tensor() : unwrap(item));
  }
}

PyObject* as_tuple(std::span<const Tensor> tensors) {
  PyObject* t = check(PyTuple_New(static_cast<Py_ssize_t>(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i)
    PyTuple_SET_ITEM(t, static_cast<Py_ssize_t>(i), wrap(tensors[i]));
  return t;
}

struct PyHook : Hook {
  enum Kind { TensorHook, PreHook, PostHook, AccumulateHook } kind;
  py::object fn;
  uint32_t slot;

  PyHook(Kind k, PyObject* f, uint32_t s)
      : kind(k), fn(py::reinterpret_borrow<py::object>(f)), slot(s) {
    id = next_hook_id++;
  }
  void run(std::span<Tensor> grad_inputs, std::span<Tensor> grad_outputs) override {
    switch (kind) {
      case TensorHook:
      case AccumulateHook: {
        if (!grad_outputs[slot].defined()) return;
        const py::object arg = py::reinterpret_steal<py::object>(wrap(grad_outputs[slot]));
        const py::object out = fn(arg);
        if (kind == TensorHook && !out.is_none()) {
          GS_CHECK_TYPE(is_tensor(out.ptr()), "hook should return None or a Tensor, got {}",
                        Py_TYPE(out.ptr())->tp_name);
          const Tensor g = unwrap(out.ptr());
          replace_one(grad_outputs[slot], g);
        }
        return;
      }
      case PreHook: {
        const py::object out = fn(py::reinterpret_steal<py::object>(as_tuple(grad_outputs)));
        replace(out.ptr(), grad_outputs);
        return;
      }
      case PostHook: {
        const py::object out = fn(py::reinterpret_steal<py::object>(as_tuple(grad_inputs)),
                                  py::reinterpret_steal<py::object>(as_tuple(grad_outputs)));
        replace(out.ptr(), grad_inputs);
        return;
      }
    }
  }
};

/// A callable that takes a hook off again: list and id.
struct Remover {
  Ref<Node> node;
  Tensor leaf;
  uint64_t id;
  void remove() {
    const auto drop = [&](std::vector<std::unique_ptr<Hook>>& v) {
      std::erase_if(v, [&](const std::unique_ptr<Hook>& h) { return h->id == id; });
    };
    if (node && node->extra) {
      drop(node->extra->pre);
      drop(node->extra->post);
    }
    if (leaf.defined() && leaf->meta) {
      drop(leaf->meta->hooks.pre);
      drop(leaf->meta->hooks.post);
    }
  }
};

PyObject* removable(Remover r) {
  auto shared = std::make_shared<Remover>(std::move(r));
  static PyObject* make = [] {
    const py::module_ m = py::module_::import("gradstep._handles");
    return py::object(m.attr("NativeHandle")).release().ptr();
  }();
  const py::cpp_function remove([shared] { shared->remove(); });
  return check(PyObject_CallOneArg(make, remove.ptr()));
}

PyObject* register_hook(Args& a) {
  const Tensor t = a.tensor(0);
  GS_CHECK(t.wants_grad(), "cannot register a hook on a tensor that doesn't require gradient");
  auto add = [&](std::vector<std::unique_ptr<Hook>>& v, uint32_t slot) {
    v.push_back(std::make_unique<PyHook>(PyHook::TensorHook, a.object(1), slot));
    return v.back()->id;
  };
  if (Node* node = grad_fn_to_look_at(t)) {
    const uint64_t id = add(node->make_extra().pre, t->output_nr);
    return removable({Ref<Node>(node), {}, id});
  }
  return removable({{}, t, add(autograd_meta(t.get()).hooks.pre, 0)});
}

PyObject* register_accumulate_hook(Args& a) {
  const Tensor t = a.tensor(0);
  GS_CHECK(t->requires_grad && is_leaf(t),
           "post accumulate grad hooks cannot be registered on non-leaf tensors");
  auto& hooks = autograd_meta(t.get()).hooks.post;
  hooks.push_back(std::make_unique<PyHook>(PyHook::AccumulateHook, a.object(1), 0));
  return removable({{}, t, hooks.back()->id});
}

PyObject* node_register(PyObject* self, PyObject* fn, PyHook::Kind kind) {
  return guard([&] {
    Node& n = node_of(self);
    auto& list = kind == PyHook::PreHook ? n.make_extra().pre : n.make_extra().post;
    list.push_back(std::make_unique<PyHook>(kind, fn, 0));
    return removable({Ref<Node>(&n), {}, list.back()->id});
  });
}
PyObject* node_register_hook(PyObject* self, PyObject* fn) {
  return node_register(self, fn, PyHook::PostHook);
}
PyObject* node_register_prehook(PyObject* self, PyObject* fn) {
  return node_register(self, fn, PyHook::PreHook);
}

/// The node of a custom function has what its context has: its attributes and saved_tensors.
PyObject* node_getattr(PyObject* self, PyObject* name) {
  PyObject* const found = PyObject_GenericGetAttr(self, name);
  if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
  const Node& n = node_of(self);
  PyObject* const context = n.extra && n.extra->custom ? context_of(*n.extra->custom) : nullptr;
  if (!context) return nullptr;
  PyErr_Clear();
  return PyObject_GetAttr(context, name);
}

PyMethodDef node_methods[] = {{"name", node_name, METH_NOARGS, nullptr},
                              {"register_hook", node_register_hook, METH_O, nullptr},
                              {"register_prehook", node_register_prehook, METH_O, nullptr},
                              {"_sequence_nr", node_sequence, METH_NOARGS, nullptr},
                              {}};
PyGetSetDef node_getset[] = {
    {"metadata", node_metadata, nullptr, "A dict for whoever walks the graph.", nullptr},
    {"next_functions", node_next, nullptr, "Where the gradients of the inputs go.", nullptr},
    {"variable", node_variable, nullptr, "The leaf of an AccumulateGrad node.", nullptr},
    {}};
PyType_Slot node_slots[] = {
    {Py_tp_doc, const_cast<char*>("A node of the graph that backward() runs through.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(node_repr)},
    {Py_tp_getattro, reinterpret_cast<void*>(node_getattr)},
    {Py_tp_methods, node_methods},
    {Py_tp_getset, node_getset},
    {0, nullptr}};
PyType_Spec node_spec = {
    "gradstep.autograd.Node", sizeof(PyNode), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, node_slots};

// ---- custom functions ----

/// Calls ctx._backward(*grads), a method of Python's context object, which returns one gradient per
/// input.
struct PyCustom : CustomBackward {
  py::object context;
  std::string label;
  explicit PyCustom(PyObject* ctx, std::string name)
      : context(py::reinterpret_borrow<py::object>(ctx)), label(std::move(name)) {}
  ~PyCustom() override {
    if (!Py_IsInitialized()) context.release();
  }
  void run(Backward& b) override {
    const py::object needs = py::reinterpret_steal<py::object>(check(PyTuple_New(b.node.n_edges)));
    for (int k = 0; k < b.node.n_edges; ++k) {
      PyTuple_SET_ITEM(needs.ptr(), k, PyBool_FromLong(b.needs(k)));
    }
    const py::object grads = py::reinterpret_steal<py::object>(as_tuple(b.out_grads));
    const py::object node = py::reinterpret_steal<py::object>(wrap_node(Ref<Node>(&b.node)));
    const py::object out = context.attr("_run_backward")(node, grads, needs);
    for (int k = 0; k < b.node.n_edges; ++k) {
      PyObject* g = PyTuple_GET_ITEM(out.ptr(), k);
      if (g == Py_None || !b.needs(k)) continue;
      b.set(k, unwrap(g));
    }
  }
  void release_saved() override { context.attr("_release")(); }
  const char* name() const override { return label.c_str(); }
};

PyObject* context_of(CustomBackward& custom) {
  const auto* function = dynamic_cast<const PyCustom*>(&custom);
  return function ? function->context.ptr() : nullptr;
}

/// _attach_function(ctx, name, inputs, outputs, dirty): hangs one node on all outputs that can be
/// differentiated.
PyObject* attach_function(Args& a) {
  static const Op& op = Op::get("custom_function");
  const std::vector<Tensor> inputs = a.tensors(2);
  const std::vector<Tensor> outputs = a.tensors(3);
  Ref<Node> node(
      Node::create(op, static_cast<int>(inputs.size()), 0, static_cast<int>(outputs.size())));
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (is_floating(inputs[k].dtype())) node->edges[k] = gradient_edge(inputs[k]);
  }
  node->make_extra().custom = std::make_unique<PyCustom>(a.object(0), a.str(1));
  const std::vector<Tensor> dirty = a.tensors(4);
  for (size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& t = outputs[k];
    if (!is_floating(t.dtype())) continue;
    const bool written = std::any_of(dirty.begin(), dirty.end(),
                                     [&](const Tensor& d) { return d.get() == t.get(); });
    if (written && t->base) {
      rebase_history(t, node);
    } else {
      set_history(t, node, static_cast<uint32_t>(k));
    }
  }
  return wrap_node(node);
}

// ---- backward and grad ----

std::vector<Tensor> tensors_or_none(PyObject* o) {
  std::vector<Tensor> out;
  if (o == Py_None) return out;
  if (is_tensor(o)) return {unwrap(o)};
  const py::object fast = py::reinterpret_steal<py::object>(
      check(PySequence_Fast(o, "expected a Tensor or a sequence of Tensors")));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.ptr()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(fast.ptr(), i);
    GS_CHECK_TYPE(item == Py_None || is_tensor(item), "expected Tensors or None, got {}",
                  Py_TYPE(item)->tp_name);
    out.push_back(item == Py_None ? Tensor() : unwrap(item));
  }
  return out;
}

/// Gradients in the types of what they belong to: kernels read them as such.
void match_types(const std::vector<Tensor>& roots, std::vector<Tensor>& grads) {
  for (size_t i = 0; i < std::min(roots.size(), grads.size()); ++i) {
    if (!roots[i].defined() || !grads[i].defined() || roots[i].dtype() == grads[i].dtype())
      continue;
    grads[i] = to(grads[i], roots[i].dtype());
  }
}

PyObject* run_backward(Args& a) {
  const std::vector<Tensor> roots = tensors_or_none(a.object(0));
  std::vector<Tensor> grads = tensors_or_none(a.object(1));
  match_types(roots, grads);
  GS_CHECK(grads.empty() || grads.size() == roots.size(), "got {} tensors and {} gradients",
           roots.size(), grads.size());
  const bool create = a.flag(3);
  const bool retain = a.has(2) ? a.flag(2) : create;
  const std::vector<Tensor> inputs = tensors_or_none(a.object(4));
  GS_CHECK(!a.has(4) || !inputs.empty(), "`inputs` argument to `backward()` cannot be empty.");
  backward(roots, grads, retain, create, inputs);
  return none();
}

PyObject* run_grad(Args& a) {
  const std::vector<Tensor> roots = tensors_or_none(a.object(0));
  const std::vector<Tensor> inputs = tensors_or_none(a.object(1));
  std::vector<Tensor> grads = tensors_or_none(a.object(2));
  match_types(roots, grads);
  const bool create = a.flag(4);
  const bool retain = a.has(3) ? a.flag(3) : create;
  const bool materialize = a.flag(6);
  GS_CHECK_VALUE(
      !(materialize && a.has(5) && !a.flag(5)),
      "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
      "allow_unused=False.");
  const bool unused = a.has(5) ? a.flag(5) : materialize;
  std::vector<Tensor> out = gradients(roots, grads, inputs, retain, create, unused);
  for (size_t i = 0; materialize && i < out.size(); ++i) {
    if (!out[i].defined()) out[i] = zeros_like(inputs[i]);
  }
  return wrap(out);
}

// ---- anomaly detection ----

bool has_nan(const Tensor& t) {
  const py::object found = py::reinterpret_steal<py::object>(wrap(any(isnan(t))));
  return PyObject_IsTrue(found.ptr()) == 1;
}

void note_origin(Node& node) {
  const py::object lines = py::module_::import("traceback").attr("format_stack")();
  node.make_extra().origin = py::str("").attr("join")(lines).cast<std::string>();
}

void tell_origin(const Node& node) {
  const std::string origin = node.extra ? node.extra->origin : "";
  const std::string text =
      "Error detected in " + node.display_name() + ". " +
      (origin.empty()
           ? "No forward pass information available. Enable detect anomaly during forward pass for "
             "more information."
           : "Traceback of forward call that caused the error:\n" + origin);
  // As an error, the warning would hide the failure that it explains.
  if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) != 0) PyErr_Clear();
}

const FunctionRow kRows[] = {
    {"backward",
     "(object input, object gradient=None, bool? retain_graph=None, bool create_graph=False, "
     "object inputs=None)",
     Method, "Accumulates the gradient of this tensor into the leaves' .grad.", &run_backward},
    {"_backward",
     "(object tensors, object grad_tensors=None, bool? retain_graph=None, bool create_graph=False, "
     "object inputs=None)",
     Fn, "", &run_backward},
    {"_grad",
     "(object outputs, object inputs, object grad_outputs=None, bool? retain_graph=None, bool "
     "create_graph=False, "
     "bool? allow_unused=None, bool materialize_grads=False)",
     Fn, "", &run_grad},
    {"register_hook", "(Tensor input, object hook)", Method,
     "Calls hook(grad) when the gradient is known; it may return another.", &register_hook},
    {"register_post_accumulate_grad_hook", "(Tensor input, object hook)", Method,
     "Calls hook(tensor) after a gradient has arrived in .grad of a leaf.",
     &register_accumulate_hook},
    {"_attach_function",
     "(object ctx, str name, TensorList inputs, TensorList outputs, TensorList dirty)", Fn, "",
     &attach_function},
    {"_push_saved_tensors_hooks", "(object pack, object unpack)", Fn, "", &push_saved_hooks},
    {"_pop_saved_tensors_hooks", "()", Fn, "", &pop_saved_hooks},
    {"_saved_tensors_hooks", "()", Fn, "", &saved_hooks},
    {"_current_graph_task_id", "()", Fn, "The number of the backward pass that runs here, or -1.",
     [](Args&) {
       const uint32_t id = current_backward();
       return wrap(id == 0 ? int64_t{-1} : int64_t{id});
     }},
    {"_is_checkpoint_valid", "()", Fn,
     "Whether that pass computes all gradients, as a reentrant checkpoint needs.",
     [](Args&) { return wrap(!backward_is_restricted()); }},
    {"_will_engine_execute_node", "(object node)", Fn, "Whether that pass runs the node.",
     [](Args& a) {
       GS_CHECK_TYPE(PyObject_TypeCheck(a.object(0), node_type), "expected a node, got {}",
                     Py_TYPE(a.object(0))->tp_name);
       return wrap(backward_runs(node_of(a.object(0))));
     }},
    {"_check_inplace", "(Tensor input)", Fn, "",
     [](Args& a) {
       check_inplace(a.tensor(0));
       return none();
     }},
    {"_bump_version", "(Tensor input)", Fn, "",
     [](Args& a) {
       bump_version(a.tensor(0));
       return none();
     }},
    {"_with_history", "(Tensor input, object node, int output_nr)", Fn,
     "A kept output as a result of its node again.",
     [](Args& a) {
       GS_CHECK_TYPE(PyObject_TypeCheck(a.object(1), node_type),
                     "_with_history: expected a node, got {}", Py_TYPE(a.object(1))->tp_name);
       const Tensor t = alias(a.tensor(0));
       set_history(t, Ref<Node>(&node_of(a.object(1))), static_cast<uint32_t>(a.i(2)));
       return wrap(t);
     }},
    {"_alias", "(Tensor input)", Fn,
     "A view without history, for what a custom function returns unchanged.",
     [](Args& a) { return wrap(alias(a.tensor(0))); }},
    {"_view_of", "(Tensor input)", Fn, "",
     [](Args& a) { return wrap(view(a.tensor(0), a.tensor(0).sizes())); }},
    {"_set_anomaly", "(bool on, bool check_nan)", Fn, "",
     [](Args& a) {
       g_anomaly = {a.flag(0), a.flag(1), &has_nan, &note_origin, &tell_origin};
       return none();
     }},
    {"is_anomaly_enabled", "()", Fn, "True if backward looks for the cause of errors.",
     [](Args&) { return wrap(g_anomaly.on); }},
    {"is_anomaly_check_nan_enabled", "()", Fn,
     "True if anomaly detection checks gradients for NaN.",
     [](Args&) { return wrap(g_anomaly.check_nan); }},
    {"is_grad_enabled", "()", Fn, "True if operations are recorded for backward.",
     [](Args&) { return wrap(modes().grad); }},
    {"_set_grad_enabled", "(bool mode)", Fn, "",
     [](Args& a) {
       modes().grad = a.flag(0);
       return none();
     }},
    {"is_inference_mode_enabled", "()", Fn, "True in inference mode.",
     [](Args&) { return wrap(modes().inference); }},
    {"_set_inference_mode", "(bool mode)", Fn, "",
     [](Args& a) {
       modes().inference = a.flag(0);
       return none();
     }},
};

}  // namespace

namespace {
/// A type of its own for each kind of node: scripts look at type(grad_fn).__name__.
PyTypeObject* type_of(const Node& node) {
  static auto* types = new std::unordered_map<std::string, PyTypeObject*>;
  const std::string name = node.display_name();
  PyTypeObject*& type = (*types)[name];
  if (!type) {
    auto* full = new std::string("gradstep.autograd." + name);
    PyType_Slot slots[] = {{0, nullptr}};
    PyType_Spec spec = {full->c_str(), 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                        slots};
    const py::object bases = py::reinterpret_steal<py::object>(check(PyTuple_Pack(1, node_type)));
    type = reinterpret_cast<PyTypeObject*>(check(PyType_FromSpecWithBases(&spec, bases.ptr())));
  }
  return type;
}
}  // namespace

PyObject* wrap_node(Ref<Node> node) {
  if (!node) Py_RETURN_NONE;
  if (node->py_object) return Py_NewRef(static_cast<PyObject*>(node->py_object));
  PyTypeObject* type = type_of(*node);
  PyObject* o = check(type->tp_alloc(type, 0));
  node->py_object = o;
  reinterpret_cast<PyNode*>(o)->node = node.release();
  return o;
}

void add_autograd(PyObject* module) {
  node_type = reinterpret_cast<PyTypeObject*>(check(PyType_FromSpec(&node_spec)));
  PyModule_AddObjectRef(module, "Node", reinterpret_cast<PyObject*>(node_type));
  add_functions(kRows);
}

std::vector<PyObject*> hooks_of_leaf(const TensorImpl& t) {
  std::vector<PyObject*> found;
  if (!t.meta) return found;
  for (const auto* list : {&t.meta->hooks.pre, &t.meta->hooks.post}) {
    for (const auto& hook : *list) {
      if (const auto* h = dynamic_cast<const PyHook*>(hook.get())) found.push_back(h->fn.ptr());
    }
  }
  return found;
}

}  // namespace gradstep::python
