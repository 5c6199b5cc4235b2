// SPDX-License-Identifier: Apache-2.0
// Note [Overrides]
// Nobody pays for what no program has: as long as there is no object of an overriding class and no
// mode, calls run as if this file were not there. The first of them arms the package: native
// functions get another entry (arm_functions), properties other getters (arm_properties), functions
// written in Python another code object (gradstep/_overrides.py), operators look at
// `overrides_in_use`. An object that is no Tensor is noticed by its class statement (build_class),
// else where a native function would refuse it. From then on an entry looks for arguments whose
// type has a __torch_function__ and asks them in PyTorch's order: the innermost mode, then
// subclasses before their bases, then left to right.
#include "python/overrides.h"

#include <structmember.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/view.h"
#include "python/function.h"
#include "python/tensor_type.h"

namespace gradstep::python {

bool overrides_in_use = false;

namespace {

enum class Off : int { No, Subclasses, All };

struct State {
  Off off = Off::No;
  std::vector<PyObject*> modes;  // owned; the innermost last
};
thread_local State state;

/// Sets what is off for a scope.
class OffScope {
 public:
  explicit OffScope(Off off) : before_(std::exchange(state.off, std::max(state.off, off))) {}
  ~OffScope() { state.off = before_; }
  OffScope(const OffScope&) = delete;
  OffScope& operator=(const OffScope&) = delete;

 private:
  Off before_;
};

PyObject* watching_build_class;
PyObject* protocol;       // "__torch_function__"
PyObject* disabled_impl;  // what a class has that takes part in nothing, such as Parameter
PyObject* nowrap;         // a frozenset of the properties whose results stay plain tensors

bool mode_is_on() { return !state.modes.empty() && state.off != Off::All; }

bool is_plain(PyTypeObject* t) {
  return t == tensor_type || t == &PyLong_Type || t == &PyFloat_Type || t == &PyBool_Type ||
         t == &PyUnicode_Type || t == &PyTuple_Type || t == &PyList_Type || t == &PyDict_Type ||
         t == Py_TYPE(Py_None) || t == &PySlice_Type || t == Py_TYPE(Py_Ellipsis);
}

bool type_overrides(PyTypeObject* t) {
  PyObject* const found = _PyType_Lookup(t, protocol);
  return found && found != disabled_impl;
}

/// A tensor of PyTorch's in the same process: its __torch_function__ is about PyTorch's functions.
bool is_foreign(PyTypeObject* t) {
  for (; t; t = t->tp_base) {
    if (std::strcmp(t->tp_name, "torch._C.TensorBase") == 0) return true;
  }
  return false;
}

/// Whether the object has a __torch_function__ that is not switched off.
bool has_override(PyObject* o) {
  PyTypeObject* const t = Py_TYPE(o);
  if (is_plain(t)) return false;
  if (_PyType_Lookup(t, protocol)) return type_overrides(t) && !is_foreign(t);
  if (t->tp_getattro == PyObject_GenericGetAttr || PyType_Check(o) || PyModule_Check(o))
    return false;
  PyObject* const found = PyObject_GetAttr(o, protocol);
  if (!found) PyErr_Clear();
  Py_XDECREF(found);
  return found && found != disabled_impl;
}

PyObject* plain_build_class;  // what builtins.__build_class__ was

/// Puts a function into the place of builtins.__build_class__ if `there` is what stands there.
void set_build_class(PyObject* there, PyObject* function) {
  const Owned builtins(PyImport_ImportModule("builtins"));
  const Owned now(PyObject_GetAttrString(builtins.p, "__build_class__"));
  if (there && now.p != there) return;
  if (PyObject_SetAttrString(builtins.p, "__build_class__", function) < 0) throw PythonError();
}

void arm() {
  if (overrides_in_use) return;
  overrides_in_use = true;
  set_build_class(watching_build_class, plain_build_class);
  PyObject* const properties = check(PySet_New(nullptr));
  for (const char* name : {"_base", "grad", "_grad"}) {
    const Owned descriptor(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), name));
    const Owned get(PyObject_GetAttrString(descriptor.p, "__get__"));
    if (PySet_Add(properties, get.p) < 0) throw PythonError();
  }
  nowrap = properties;
  arm_functions();
  arm_properties();
  const Owned module(PyImport_ImportModule("gradstep._overrides"));
  Py_DECREF(check(PyObject_CallMethod(module.p, "arm", nullptr)));
}

/// The arguments that are asked, one of each type, in order. Borrowed.
struct Asked {
  std::vector<PyObject*> args;

  void add(PyObject* o) {
    size_t at = args.size();
    for (size_t i = 0; i < args.size(); ++i) {
      if (Py_TYPE(args[i]) == Py_TYPE(o)) return;
      if (at == args.size() && PyType_IsSubtype(Py_TYPE(o), Py_TYPE(args[i]))) at = i;
    }
    args.insert(args.begin() + static_cast<std::ptrdiff_t>(at), o);
  }
  void look_at(PyObject* o) {
    if (PyTuple_Check(o) || PyList_Check(o)) {
      PyObject* const* items = PySequence_Fast_ITEMS(o);
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
        if (has_override(items[i])) add(items[i]);
      }
    }
    if (has_override(o)) add(o);
  }
};

Asked find(PyObject* const* args, Py_ssize_t n, Overridable by) {
  Asked asked;
  if (state.off != Off::No || by != Overridable::ByArguments) return asked;
  for (Py_ssize_t i = 0; i < n; ++i) asked.look_at(args[i]);
  return asked;
}

struct Call {
  PyObject* func;
  PyObject* types;
  PyObject* args;
  PyObject* kwargs;  // null: none
};

PyObject* ask(PyObject* handler, const Call& c) {
  return check(PyObject_CallFunctionObjArgs(handler, c.func, c.types, c.args, c.kwargs, nullptr));
}

/// A str's text; some have none in UTF-8.
std::string utf8(PyObject* text) {
  const char* const bytes = PyUnicode_AsUTF8(text);
  if (!bytes) throw PythonError();
  return bytes;
}
/// "torch.Tensor.add": what errors call a function.
std::string name_of(PyObject* func) {
  const Owned overrides(PyImport_ImportModule("gradstep._overrides"));
  const Owned text(PyObject_CallMethod(overrides.p, "name_of", "O", func));
  return utf8(text.p);
}
std::string repr_of(PyObject* o) {
  const Owned text(PyObject_Repr(o));
  return utf8(text.p);
}

[[noreturn]] void refuse(const Call& c, PyObject* mode, const Asked& asked) {
  std::string text = format(
      "Multiple dispatch failed for '{}'; all __torch_function__ handlers returned "
      "NotImplemented:\n\n",
      name_of(c.func));
  if (mode) text += format("  - mode object {}\n", repr_of(mode));
  for (PyObject* o : asked.args)
    text += format("  - tensor subclass {}\n", repr_of(reinterpret_cast<PyObject*>(Py_TYPE(o))));
  fail(ErrorKind::Type, "{}\nFor more information, try re-running with TORCH_LOGS=not_implemented",
       text);
}

PyObject* dispatch(PyObject* func, PyObject* args, PyObject* kwargs, const Asked& asked) {
  const Owned types(PyTuple_New(static_cast<Py_ssize_t>(asked.args.size())));
  for (size_t i = 0; i < asked.args.size(); ++i) {
    PyTuple_SET_ITEM(types.p, static_cast<Py_ssize_t>(i),
                     Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(asked.args[i]))));
  }
  const Call call{func, types.p, args, kwargs};
  PyObject* mode = nullptr;
  if (mode_is_on()) {
    // Inside of its own handler a mode is not there.
    mode = state.modes.back();
    state.modes.pop_back();
    struct Back {
      PyObject* mode;
      ~Back() { state.modes.push_back(mode); }
    } back{mode};
    const Owned handler(PyObject_GetAttr(mode, protocol));
    PyObject* const result = ask(handler.p, call);
    if (result != Py_NotImplemented) return result;
    Py_DECREF(result);
  }
  for (PyObject* o : asked.args) {
    const Owned handler(PyObject_GetAttr(o, protocol));
    if (PyMethod_Check(handler.p) && PyMethod_GET_SELF(handler.p) == o &&
        PyErr_WarnEx(PyExc_UserWarning,
                     "Defining your `__torch_function__` as a plain method is deprecated and will "
                     "be an error in future, please define it as a classmethod.",
                     1) < 0) {
      throw PythonError();
    }
    PyObject* const result = ask(handler.p, call);
    if (result != Py_NotImplemented) return result;
    Py_DECREF(result);
  }
  refuse(call, mode, asked);
}

// ---- Tensor.__torch_function__ ----

/// A result as an object of the class: the same tensor if its references are all ours.
PyObject* as_subclass(PyTypeObject* cls, PyObject* result, Py_ssize_t ours) {
  const Tensor t = unwrap(result);
  const bool only_ours = Py_REFCNT(result) == ours && Py_TYPE(result) == tensor_type &&
                         !reinterpret_cast<PyTensor*>(result)->dict && t->py_object == result;
  if (!only_ours) return wrap_as(cls, view(t, t.sizes()));
  t->py_object = nullptr;
  return wrap_as(cls, t);
}

/// A level of nested results; a list may hold itself.
struct Level {
  Level() {
    if (Py_EnterRecursiveCall(" in a result of a __torch_function__")) throw PythonError();
  }
  ~Level() { Py_LeaveRecursiveCall(); }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
};

bool has_tensor(PyObject* sequence) {
  const Level level;
  PyObject* const* items = PySequence_Fast_ITEMS(sequence);
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); ++i) {
    if (is_tensor(items[i])) return true;
    if ((PyTuple_Check(items[i]) || PyList_Check(items[i])) && has_tensor(items[i])) return true;
  }
  return false;
}

/// The result with its tensors as objects of the class; takes a reference. So many are ours.
PyObject* convert(PyTypeObject* cls, PyObject* result, Py_ssize_t ours = 1) {
  const Owned held(result);
  const Level level;
  if (is_tensor(result)) {
    return PyObject_TypeCheck(result, cls) ? Py_NewRef(result) : as_subclass(cls, result, ours);
  }
  const bool list = PyList_Check(result);
  if ((!list && !PyTuple_Check(result)) || !has_tensor(result)) return Py_NewRef(result);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(result);
  const Py_ssize_t items_ours = Py_REFCNT(result) == ours ? 2 : 0;
  const Owned items(PyList_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* const item = PySequence_Fast_GET_ITEM(result, i);
    PyList_SET_ITEM(items.p, i, convert(cls, Py_NewRef(item), items_ours));
  }
  return check(PyObject_CallOneArg(reinterpret_cast<PyObject*>(Py_TYPE(result)), items.p));
}

PyObject* run(PyObject* func, PyObject* args, PyObject* kwargs) {
  const OffScope off(Off::Subclasses);
  const Owned tuple(PySequence_Tuple(args));
  return check(PyObject_Call(func, tuple.p, kwargs == Py_None ? nullptr : kwargs));
}

/// As PyTorch's: the call with subclasses switched off, its tensors as objects of the class.
PyObject* default_torch_function(PyObject* cls, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"func", "types", "args", "kwargs", nullptr};
  PyObject *func, *types, *args = nullptr, *kwargs = Py_None;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|OO:__torch_function__",
                                   const_cast<char**>(names), &func, &types, &args, &kwargs)) {
    return nullptr;
  }
  return guard([&]() -> PyObject* {
    const Owned none_given(PyTuple_New(0));
    const Owned list(PySequence_Fast(types, "types must be a sequence"));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.p); ++i) {
      const int below = PyObject_IsSubclass(cls, PySequence_Fast_GET_ITEM(list.p, i));
      if (below < 0) throw PythonError();
      if (below == 0) Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject* const result = run(func, args ? args : none_given.p, kwargs);
    auto* const type = reinterpret_cast<PyTypeObject*>(cls);
    if (type == tensor_type) return result;
    const int plain = nowrap ? PySet_Contains(nowrap, func) : 0;
    if (plain < 0) PyErr_Clear();  // a function that cannot be hashed
    return plain > 0 ? result : convert(type, result);
  });
}

PyObject* disabled_torch_function(PyObject*, PyObject* arguments) {
  PyObject *func, *types, *args = nullptr, *kwargs = Py_None;
  if (!PyArg_ParseTuple(arguments, "OO|OO", &func, &types, &args, &kwargs)) return nullptr;
  return guard([&] {
    const Owned none_given(PyTuple_New(0));
    return run(func, args ? args : none_given.p, kwargs);
  });
}

// ---- classes that are no tensors ----

/// True if the body of a class that is no Tensor has a __torch_function__, and it is neither ours
/// nor PyTorch's: a program may compare the two.
bool defines_override(PyObject* cls) {
  if (!cls || !PyType_Check(cls)) return false;
  auto* const type = reinterpret_cast<PyTypeObject*>(cls);
  if (PyDict_Contains(type->tp_dict, protocol) != 1 || PyType_IsSubtype(type, tensor_type) ||
      is_foreign(type))
    return false;
  PyObject* const module = PyDict_GetItemString(type->tp_dict, "__module__");
  const char* const name = module && PyUnicode_Check(module) ? PyUnicode_AsUTF8(module) : "";
  if (!name) {
    PyErr_Clear();
    return true;
  }
  const std::string_view package = std::string_view(name).substr(0, std::strcspn(name, "."));
  return package != "gradstep" && package != "torch";
}

/// What a class statement calls until the package is armed: what it called before, and a look at
/// the class. A function written in Python could not tell otherwise that there is such an object.
PyObject* build_class(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  PyObject* const cls = PyObject_Vectorcall(plain_build_class, args, static_cast<size_t>(n), names);
  if (!overrides_in_use && defines_override(cls)) {
    if (guard_int([] { arm(); }) < 0) {
      Py_DECREF(cls);
      return nullptr;
    }
  }
  return cls;
}
PyMethodDef build_class_method = {"__build_class__", as_function(&build_class),
                                  METH_FASTCALL | METH_KEYWORDS, nullptr};

// ---- what gradstep.overrides is made of ----

PyObject* has_torch_function(PyObject*, PyObject* args) {
  return guard([&] {
    const Owned list(PySequence_Fast(args, "expected a sequence"));
    const Asked asked = find(PySequence_Fast_ITEMS(list.p), PySequence_Fast_GET_SIZE(list.p),
                             Overridable::ByArguments);
    return wrap(mode_is_on() || !asked.args.empty());
  });
}
PyObject* has_torch_function_unary(PyObject*, PyObject* arg) { return wrap(takes_over(arg)); }
PyObject* has_torch_function_variadic(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(
      [&] { return wrap(mode_is_on() || !find(args, n, Overridable::ByArguments).args.empty()); });
}
PyObject* push_mode(PyObject*, PyObject* mode) {
  return guard([&] {
    arm();
    state.modes.push_back(Py_NewRef(mode));
    return none();
  });
}
PyObject* pop_mode(PyObject*, PyObject*) {
  if (state.modes.empty()) {
    PyErr_SetString(PyExc_RuntimeError, "trying to pop from an empty stack of modes");
    return nullptr;
  }
  PyObject* const mode = state.modes.back();
  state.modes.pop_back();
  return mode;
}
PyObject* n_modes(PyObject*, PyObject*) { return PyLong_FromSize_t(state.modes.size()); }
PyObject* mode_at(PyObject*, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || i >= static_cast<Py_ssize_t>(state.modes.size())) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "no mode at this place of the stack");
    return nullptr;
  }
  return Py_NewRef(state.modes[static_cast<size_t>(i)]);
}
PyObject* is_enabled(PyObject*, PyObject*) { return wrap(state.off == Off::No); }
PyObject* is_all_disabled(PyObject*, PyObject*) { return wrap(state.off == Off::All); }
/// _torch_function_off(level): sets what is off; returns what was.
PyObject* set_off(PyObject*, PyObject* level) {
  const long wanted = PyLong_AsLong(level);
  if (wanted == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(
      static_cast<long>(std::exchange(state.off, static_cast<Off>(std::clamp(wanted, 0L, 2L)))));
}

// ---- functions written in Python ----

/// The object behind the other code of a Python function: calls `plain` unless someone takes over.
struct PyGate {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* func;
  PyObject* plain;
};
PyTypeObject* gate_type;

PyObject* gate_call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  return guard([&] {
    const auto* g = reinterpret_cast<PyGate*>(self);
    PyObject* const result = overridden(g->func, args, PyVectorcall_NARGS(nargsf), names);
    return result ? result : check(PyObject_Vectorcall(g->plain, args, nargsf, names));
  });
}
/// _overridable(func, plain)
PyObject* make_gate(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2) {
    PyErr_SetString(PyExc_TypeError, "_overridable(func, plain) takes two arguments");
    return nullptr;
  }
  auto* const g = reinterpret_cast<PyGate*>(gate_type->tp_alloc(gate_type, 0));
  if (!g) return nullptr;
  g->vectorcall = &gate_call;
  g->func = Py_NewRef(args[0]);
  g->plain = Py_NewRef(args[1]);
  return reinterpret_cast<PyObject*>(g);
}
PyMemberDef gate_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyGate, vectorcall), READONLY, nullptr}, {}};
PyType_Slot gate_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                            {Py_tp_members, gate_members},
                            {0, nullptr}};
// Functions of modules live as long as the program: so do their gates.
PyType_Spec gate_spec = {
    "gradstep._C._Gate", sizeof(PyGate), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    gate_slots};

PyMethodDef functions[] = {
    {"_has_torch_function", has_torch_function, METH_O,
     "True if one of the objects has a __torch_function__ that is not switched off, or a mode is "
     "on."},
    {"_has_torch_function_unary", has_torch_function_unary, METH_O,
     "has_torch_function((object,))."},
    {"_has_torch_function_variadic", as_function(&has_torch_function_variadic), METH_FASTCALL,
     "has_torch_function(objects)."},
    {"_disabled_torch_function_impl", disabled_torch_function, METH_VARARGS, nullptr},
    {"_push_on_torch_function_stack", push_mode, METH_O, nullptr},
    {"_pop_torch_function_stack", pop_mode, METH_NOARGS, nullptr},
    {"_len_torch_function_stack", n_modes, METH_NOARGS, nullptr},
    {"_get_function_stack_at", mode_at, METH_O, nullptr},
    {"_is_torch_function_enabled", is_enabled, METH_NOARGS, nullptr},
    {"_is_torch_function_all_disabled", is_all_disabled, METH_NOARGS, nullptr},
    {"_torch_function_off", set_off, METH_O, nullptr},
    {"_overridable", as_function(&make_gate), METH_FASTCALL, nullptr},
    {}};
PyMethodDef default_method = {"__torch_function__", as_function(&default_torch_function),
                              METH_VARARGS | METH_KEYWORDS | METH_CLASS,
                              "Calls the function and gives its tensors the class."};

const FunctionRow kRows[] = {
    {"_functional_twin", "(object function)", Fn, "",
     [](Args& a) { return functional_twin(a.object(0)); }},
    {"as_subclass", "(Tensor input, object cls)", Method,
     "The same data and history as an object of a subclass of Tensor.", [](Args& a) {
       PyObject* const type = a.object(1);
       GS_CHECK_TYPE(PyType_Check(type),
                     "as_subclass(): argument 'cls' (position 1) must be type, not {}",
                     Py_TYPE(type)->tp_name);
       auto* const cls = reinterpret_cast<PyTypeObject*>(type);
       GS_CHECK_TYPE(PyType_IsSubtype(cls, tensor_type),
                     "Creating a Tensor subclass from a class that does not inherit from Tensor is "
                     "not possible. Make sure your class inherits from Tensor.");
       const Tensor t = a.tensor(0);
       return wrap_as(cls, view(t, t.sizes()));
     }}};

}  // namespace

Overridable how_overridable(std::string_view name) {
  static constexpr std::string_view kByModes[] = {"tensor", "as_tensor", "asarray"};
  static constexpr std::string_view kNever[] = {"as_subclass",
                                                "from_numpy",
                                                "can_cast",
                                                "promote_types",
                                                "get_rng_state",
                                                "set_rng_state",
                                                "initial_seed",
                                                "seed",
                                                "manual_seed",
                                                "is_grad_enabled",
                                                "is_anomaly_enabled",
                                                "is_anomaly_check_nan_enabled",
                                                "is_inference_mode_enabled"};
  if (name.starts_with("_") && !name.starts_with("__")) return Overridable::Never;
  if (name.find("autocast") != name.npos || std::ranges::count(kNever, name) != 0)
    return Overridable::Never;
  return std::ranges::count(kByModes, name) != 0 ? Overridable::ByModes : Overridable::ByArguments;
}

bool takes_over(PyObject* o) { return mode_is_on() || (state.off == Off::No && has_override(o)); }

void notice_subclass(PyTypeObject* type) {
  if (type == tensor_type) return;
  static PyObject* const dispatch_name = check(PyUnicode_InternFromString("__torch_dispatch__"));
  if (PyObject* const below = _PyType_Lookup(type, dispatch_name)) {
    const Owned module(PyImport_ImportModule("gradstep._C"));
    const Owned disabled(PyObject_GetAttrString(module.p, "_disabled_torch_dispatch_impl"));
    GS_CHECK_KIND(NotImplemented, below == disabled.p,
                  "{}.__torch_dispatch__: gradstep has no dispatcher below autograd; "
                  "__torch_function__ is what a subclass can override",
                  type->tp_name);
  }
  if (!overrides_in_use && type_overrides(type)) arm();
}

PyObject* overridden(PyObject* func, PyObject* const* args, Py_ssize_t n, PyObject* names,
                     Overridable by) {
  if (by == Overridable::Never) return nullptr;
  const Py_ssize_t n_names = names ? PyTuple_GET_SIZE(names) : 0;
  const Asked asked = find(args, n + n_names, by);
  if (asked.args.empty() && !mode_is_on()) return nullptr;
  arm();
  const Owned positional(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(positional.p, i, Py_NewRef(args[i]));
  if (n_names == 0) return dispatch(func, positional.p, nullptr, asked);
  const Owned kwargs(PyDict_New());
  for (Py_ssize_t i = 0; i < n_names; ++i) {
    if (PyDict_SetItem(kwargs.p, PyTuple_GET_ITEM(names, i), args[n + i]) < 0) throw PythonError();
  }
  return dispatch(func, positional.p, kwargs.p, asked);
}

PyObject* overridden_method(const char* name, std::initializer_list<PyObject*> args) {
  const auto n = static_cast<Py_ssize_t>(args.size());
  if (!mode_is_on() && find(args.begin(), n, Overridable::ByArguments).args.empty()) return nullptr;
  const Owned func(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), name));
  return overridden(func.p, args.begin(), n, nullptr);
}

PyObject* overridden_operator(const char* name, const char* reflected, PyObject* a, PyObject* b) {
  try {
    return is_tensor(a) ? overridden_method(name, {a, b}) : overridden_method(reflected, {b, a});
  } catch (...) {
    translate_exception();
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError();
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
  }
}

void add_overrides(PyObject* module) {
  protocol = check(PyUnicode_InternFromString("__torch_function__"));
  gate_type = reinterpret_cast<PyTypeObject*>(check(PyType_FromSpec(&gate_spec)));
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
  disabled_impl = check(PyObject_GetAttrString(module, "_disabled_torch_function_impl"));
  const Owned method(PyDescr_NewClassMethod(tensor_type, &default_method));
  set_tensor_attribute("__torch_function__", method.p);
  add_functions(kRows);
  const Owned builtins(PyImport_ImportModule("builtins"));
  plain_build_class = check(PyObject_GetAttrString(builtins.p, "__build_class__"));
  watching_build_class = check(PyCFunction_New(&build_class_method, nullptr));
  set_build_class(nullptr, watching_build_class);
}

}  // namespace gradstep::python
