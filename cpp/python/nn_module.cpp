// SPDX-License-Identifier: Apache-2.0
// ModuleBase: the part of nn.Module that runs at every call of a layer. Calling a module without
// hooks goes straight to its forward(); an attribute that is a parameter, buffer or submodule is
// found in the tables at the speed of a plain attribute. The type has no fields: everything stays
// in the instance's dict, where Python code may edit it. See Note [Module attributes].
#include <Python.h>

#include "ops/autocast.h"
#include "ops/linalg.h"
#include "python/function.h"
#include "python/overrides.h"
#include "python/tensor_type.h"

namespace gradstep::python {

namespace {

PyTypeObject* module_type;
PyObject *getattr_name, *getattribute_name, *missing_name, *forward_name, *hooked_name,
    *call_with_hooks_name, *weight_name, *bias_name, *values_name, *approximate_name,
    *linear_forward_name, *gelu_forward_name;
PyObject *linear_function, *gelu_function;  // gradstep._C.linear, gelu
PyObject* table_names[3];                   // in PyTorch's order of search

// Note [Module attributes]
// An attribute is looked for as always, then, by `__getattr__`, in the tables `_parameters`,
// `_modules` and `_buffers` of the instance's dict, then by the Python method `_missing_attribute`,
// which raises (or makes a hook table: Note [Hook tables] in module.py). A subclass may override
// `__getattr__` and call super().__getattr__(). But a class with a `__getattr__` has CPython's
// general slot, which makes an exception before each look into the tables. Module's
// __init_subclass__ therefore puts find_attribute(), which does all steps, into the slot of every
// class that has ModuleBase's own `__getattr__` and object's `__getattribute__`; when either is
// assigned to a class later, CPython puts its general slot back by itself.

/// The instance's dict, borrowed; null where there is none yet.
PyObject* dict_of(PyObject* self) {
  PyObject** const at = _PyObject_GetDictPtr(self);
  return at ? *at : nullptr;
}

/// table[name] as a new reference; null without an error if it is not there.
PyObject* find_in(PyObject* table, PyObject* name) {
  if (PyDict_Check(table)) return Py_XNewRef(PyDict_GetItemWithError(table, name));
  const int has = PySequence_Contains(table, name);  // a mapping of the user's own
  return has == 1 ? PyObject_GetItem(table, name) : nullptr;
}

/// A parameter, submodule or buffer, a new reference; null without an error if there is none.
PyObject* find_in_tables(PyObject* dict, PyObject* name) {
  if (!dict) return nullptr;
  for (PyObject* const table_name : table_names) {
    PyObject* const table = PyDict_GetItemWithError(dict, table_name);
    if (!table) return nullptr;  // Module.__init__() did not run yet
    PyObject* const found = find_in(table, name);
    if (found || PyErr_Occurred()) return found;
  }
  return nullptr;
}

PyObject* missing_attribute(PyObject* self, PyObject* name) {
  return PyObject_CallMethodOneArg(self, missing_name, name);
}

/// For tp_getattro: all of the search.
PyObject* find_attribute(PyObject* self, PyObject* name) {
  PyObject* dict = dict_of(self);
  PyObject* found;
  if (PyUnicode_CheckExact(name) && dict && !_PyType_Lookup(Py_TYPE(self), name)) {
    found = Py_XNewRef(PyDict_GetItemWithError(dict, name));
  } else {
    found = PyObject_GenericGetAttr(self, name);
    if (!found && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    dict = dict_of(self);  // a property can do anything
  }
  if (found || PyErr_Occurred()) return found;
  found = find_in_tables(dict, name);
  if (found || PyErr_Occurred()) return found;
  return missing_attribute(self, name);
}

/// __getattr__: for what the usual search did not find.
PyObject* getattr(PyObject* self, PyObject* name) {
  PyObject* const found = find_in_tables(dict_of(self), name);
  return found || PyErr_Occurred() ? found : missing_attribute(self, name);
}

/// True if the class has under this name what `owner` itself defines.
bool is_from(PyTypeObject* type, PyTypeObject* owner, PyObject* name) {
  PyObject* const own = _PyType_Lookup(owner, name);
  return own && _PyType_Lookup(type, name) == own;
}

/// _take_attribute_slot(cls), see Note [Module attributes].
PyObject* take_attribute_slot(PyObject*, PyObject* cls) {
  if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), module_type)) {
    PyErr_SetString(PyExc_TypeError, "expected a subclass of Module");
    return nullptr;
  }
  auto* const type = reinterpret_cast<PyTypeObject*>(cls);
  if (is_from(type, module_type, getattr_name) &&
      is_from(type, &PyBaseObject_Type, getattribute_name)) {
    type->tp_getattro = &find_attribute;
    PyType_Modified(type);
  }
  return none();
}

// ---- calling ----

/// 1 if the module, or every module, may have hooks; -1 with an error set.
int has_hooks(PyObject* self, PyObject* dict) {
  PyObject* flag = dict ? PyDict_GetItemWithError(dict, hooked_name) : nullptr;
  if (!flag) flag = _PyType_Lookup(Py_TYPE(self), hooked_name);
  if (flag == Py_False) return 0;
  return flag ? PyObject_IsTrue(flag) : 0;
}

constexpr Py_ssize_t kInline = 8;  // arguments, without keywords

/// method(self, *args, **kwargs) without a tuple of its own for a few arguments.
PyObject* call_method(PyObject* method, PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* stack[1 + kInline];
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  stack[0] = self;
  for (Py_ssize_t i = 0; i < n; ++i) stack[i + 1] = PyTuple_GET_ITEM(args, i);
  return PyObject_VectorcallDict(method, stack, static_cast<size_t>(n) + 1, kwargs);
}

PyObject* call_with_hooks(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* const keywords = kwargs ? Py_NewRef(kwargs) : PyDict_New();
  if (!keywords) return nullptr;
  PyObject* const result =
      PyObject_CallMethodObjArgs(self, call_with_hooks_name, args, keywords, nullptr);
  Py_DECREF(keywords);
  return result;
}

/// tp_call: self.forward(*args, **kwargs), with hooks around it where there are any.
PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* const dict = dict_of(self);
  const int hooked = has_hooks(self, dict);
  if (hooked < 0) return nullptr;
  if (hooked != 0) {
    PyObject* const compiled = dict ? PyDict_GetItemWithError(dict, hooked_name) : nullptr;
    if (!compiled || PyBool_Check(compiled)) return call_with_hooks(self, args, kwargs);
    const Owned held(Py_NewRef(compiled));  // by Module.compile(); it may replace itself
    return PyObject_Call(held.p, args, kwargs);
  }
  const bool replaced = dict && PyDict_GetItemWithError(dict, forward_name);
  PyObject* const method = replaced ? nullptr : _PyType_Lookup(Py_TYPE(self), forward_name);
  if (method && PyTuple_GET_SIZE(args) <= kInline &&
      PyType_HasFeature(Py_TYPE(method), Py_TPFLAGS_METHOD_DESCRIPTOR)) {
    PyObject* const held = Py_NewRef(method);  // forward may replace itself
    PyObject* const result = call_method(held, self, args, kwargs);
    Py_DECREF(held);
    return result;
  }
  if (PyErr_Occurred()) return nullptr;
  PyObject* const bound = PyObject_GetAttr(self, forward_name);
  if (!bound) return nullptr;
  PyObject* const result = PyObject_Call(bound, args, kwargs);
  Py_DECREF(bound);
  return result;
}

// ---- forward of the layers whose own cost is next to nothing ----

/// The only argument of a forward(input).
PyObject* only_input(const char* layer, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  const Py_ssize_t n_names = names ? PyTuple_GET_SIZE(names) : 0;
  GS_CHECK_TYPE(n + n_names == 1, "{}.forward() takes 2 positional arguments but {} were given",
                layer, n + n_names + 1);
  GS_CHECK_TYPE(
      n == 1 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "input") == 0,
      "{}.forward() got an unexpected keyword argument '{}'", layer,
      PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, 0)));
  return args[0];
}

/// Linear.forward: F.linear(input, self.weight, self.bias).
PyObject* linear_forward(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  return guard([&] {
    PyObject* const input = only_input("Linear", args, n, names);
    const Owned weight(PyObject_GetAttr(self, weight_name)),
        bias(PyObject_GetAttr(self, bias_name));
    const bool tensors =
        is_tensor(input) && is_tensor(weight.p) && (is_tensor(bias.p) || bias.p == Py_None);
    // The function makes the casts of autocast, and asks whoever overrides it.
    if (tensors && !modes().autocast && !overrides_in_use) {
      return wrap(
          linear(unwrap(input), unwrap(weight.p), bias.p == Py_None ? Tensor() : unwrap(bias.p)));
    }
    return check(PyObject_CallFunctionObjArgs(linear_function, input, weight.p, bias.p, nullptr));
  });
}

/// GELU.forward: F.gelu(input, approximate=self.approximate).
PyObject* gelu_forward(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  return guard([&] {
    PyObject* const input = only_input("GELU", args, n, names);
    const Owned approximate(PyObject_GetAttr(self, approximate_name));
    return check(PyObject_CallFunctionObjArgs(gelu_function, input, approximate.p, nullptr));
  });
}

/// True if calling the module does no more than ModuleBase's forward method of that name.
bool just_runs(PyObject* module, PyObject* method_name) {
  PyTypeObject* const type = Py_TYPE(module);
  if (type->tp_call != &call) return false;
  PyObject* const dict = dict_of(module);
  const bool same = _PyType_Lookup(type, forward_name) == _PyType_Lookup(module_type, method_name);
  return same && dict && !PyDict_GetItemWithError(dict, forward_name) &&
         has_hooks(module, dict) == 0;
}

/// gelu(linear(value)) in one call, where the two modules on a GPU do no more than that; null where
/// they do. Nobody can see what is in between, and the graph is that of two calls.
PyObject* linear_and_gelu(PyObject* linear, PyObject* gelu, PyObject* value) {
  if (overrides_in_use || !just_runs(gelu, gelu_forward_name)) return nullptr;
  const Owned approximate(PyObject_GetAttr(gelu, approximate_name));
  const bool tanh = PyUnicode_Check(approximate.p) &&
                    PyUnicode_CompareWithASCIIString(approximate.p, "tanh") == 0;
  if (!tanh) return nullptr;
  const Owned weight(PyObject_GetAttr(linear, weight_name)),
      bias(PyObject_GetAttr(linear, bias_name));
  if (!is_tensor(weight.p) || !(is_tensor(bias.p) || bias.p == Py_None)) return nullptr;
  Tensor x = unwrap(value), w = unwrap(weight.p);
  Tensor b = bias.p == Py_None ? Tensor() : unwrap(bias.p);
  if (modes().autocast) autocast_arguments("linear", {&x, &w, &b});
  return wrap(linear_gelu_tanh(x, w, b));
}

/// Sequential.forward: one child after the other.
PyObject* sequential_forward(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  return guard([&] {
    PyObject* value = Py_NewRef(only_input("Sequential", args, n, names));
    try {
      const Owned children(PyObject_GetAttr(self, table_names[1]));
      const Owned values(PyObject_CallMethodNoArgs(children.p, values_name));
      const Owned iterator(PyObject_GetIter(values.p));
      struct Ahead {
        PyObject* p;
        ~Ahead() { Py_XDECREF(p); }
      } ahead{PyIter_Next(iterator.p)};
      while (ahead.p) {
        const Owned child(std::exchange(ahead.p, nullptr));
        PyObject* joined = nullptr;
        if (is_tensor(value) && unwrap(value).device().type == DeviceType::CUDA &&
            just_runs(child.p, linear_forward_name)) {
          ahead.p = PyIter_Next(iterator.p);
          if (ahead.p) joined = linear_and_gelu(child.p, ahead.p, value);
          if (PyErr_Occurred()) throw PythonError();
        }
        Py_SETREF(value, joined ? joined : check(PyObject_CallOneArg(child.p, value)));
        if (joined) Py_CLEAR(ahead.p);
        if (!ahead.p) ahead.p = PyIter_Next(iterator.p);
      }
      if (PyErr_Occurred()) throw PythonError();
    } catch (...) {
      Py_DECREF(value);
      throw;
    }
    return value;
  });
}

PyMethodDef module_methods[] = {
    {"_linear_forward", as_function(&linear_forward), METH_FASTCALL | METH_KEYWORDS,
     "_linear_forward($self, input)\n--\n\ninput W^T + b."},
    {"_gelu_forward", as_function(&gelu_forward), METH_FASTCALL | METH_KEYWORDS,
     "_gelu_forward($self, input)\n--\n\ngelu of the input."},
    {"_sequential_forward", as_function(&sequential_forward), METH_FASTCALL | METH_KEYWORDS,
     "_sequential_forward($self, input)\n--\n\nCalls the modules one after the other."},
    {"__getattr__", &getattr, METH_O,
     "__getattr__($self, name, /)\n--\n\nThe parameter, submodule or buffer of that name."},
    {}};
PyType_Slot module_slots[] = {
    {Py_tp_doc, const_cast<char*>("What nn.Module does natively: calls and attributes.")},
    {Py_tp_call, reinterpret_cast<void*>(&call)},
    {Py_tp_methods, module_methods},
    {0, nullptr}};
PyType_Spec module_spec = {"gradstep._C.ModuleBase", sizeof(PyObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, module_slots};

PyMethodDef functions[] = {
    {"_take_attribute_slot", &take_attribute_slot, METH_O,
     "_take_attribute_slot(cls)\n--\n\nGives a subclass of ModuleBase its fast attribute search."},
    {}};

}  // namespace

void add_nn_module(PyObject* module) {
  const std::pair<PyObject**, const char*> names[] = {{&getattr_name, "__getattr__"},
                                                      {&getattribute_name, "__getattribute__"},
                                                      {&missing_name, "_missing_attribute"},
                                                      {&forward_name, "forward"},
                                                      {&hooked_name, "_hooked"},
                                                      {&call_with_hooks_name, "_call_with_hooks"},
                                                      {&table_names[0], "_parameters"},
                                                      {&table_names[1], "_modules"},
                                                      {&table_names[2], "_buffers"},
                                                      {&weight_name, "weight"},
                                                      {&bias_name, "bias"},
                                                      {&values_name, "values"},
                                                      {&approximate_name, "approximate"},
                                                      {&linear_forward_name, "_linear_forward"},
                                                      {&gelu_forward_name, "_gelu_forward"}};
  for (const auto& [at, text] : names) *at = check(PyUnicode_InternFromString(text));
  linear_function = check(PyObject_GetAttrString(module, "linear"));
  gelu_function = check(PyObject_GetAttrString(module, "gelu"));
  PyObject* const type = check(PyType_FromSpec(&module_spec));
  module_type = reinterpret_cast<PyTypeObject*>(type);
  if (PyModule_AddObjectRef(module, "ModuleBase", type) < 0 ||
      PyModule_AddFunctions(module, functions) < 0) {
    throw PythonError();
  }
}

}  // namespace gradstep::python
