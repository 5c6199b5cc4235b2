// SPDX-License-Identifier: Apache-2.0
// The fused optimizer steps for Python, and the C++ optimizers as gradstep._C._optim.SGD and so on.
// Python's own optimizers keep PyTorch's structures (param_groups, a list of dicts that anyone may
// edit, and state, a dict by parameter); each call reads them as they are then:
//   _optim_step("Adam", group, state)     one fused step of a group, making missing state
//   _optim_check("Adam", defaults)        PyTorch's errors for hyperparameters out of range
//   _zero_grad(params, set_to_none)       and the _multi_ functions on lists of tensors
#include <Python.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "graph/node.h"
#include "ops/op.h"
#include "optim/optimizer.h"
#include "python/capture.h"
#include "python/function.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

// ---- reading Python's structures ----

TensorImpl* impl_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->impl; }

/// group[key], borrowed; KeyError if it is missing.
PyObject* item(PyObject* dict, PyObject* key) {
  PyObject* const v = PyDict_GetItemWithError(dict, key);
  if (!v) {
    if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, key);
    throw PythonError();
  }
  return v;
}

double number_of(PyObject* o) {
  if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
  if (o == Py_None || o == Py_False) return 0;
  if (o == Py_True) return 1;
  if (is_tensor(o)) return unwrap_scalar(o).to_double();
  const double v = PyFloat_AsDouble(o);
  if (v == -1 && PyErr_Occurred()) throw PythonError();
  return v;
}

/// The names of an algorithm as interned strings, made once.
struct Names {
  const Algorithm* algorithm;
  PyObject* name;
  PyObject* hyper[kMaxHyper];
};

const Names& names_of(PyObject* name) {
  static std::vector<Names*> known;  // never freed, a handful
  for (const Names* n : known) {
    if (n->name == name) return *n;
  }
  if (!PyUnicode_Check(name)) fail(ErrorKind::Type, "expected the name of an optimizer");
  const char* text = PyUnicode_AsUTF8(name);
  if (!text) throw PythonError();
  const Algorithm& algorithm = Algorithm::find(text);
  for (const Names* n : known) {
    if (n->algorithm == &algorithm) return *n;
  }
  auto* n = new Names{&algorithm, name, {}};
  for (size_t i = 0; i < n->algorithm->hyper.size(); ++i) {
    n->hyper[i] = check(PyUnicode_InternFromString(n->algorithm->hyper[i].name));
  }
  Py_INCREF(name);
  known.push_back(n);
  return *n;
}

PyObject* state_key(const char* name) {
  static std::vector<std::pair<const char*, PyObject*>> known;
  for (const auto& [text, key] : known) {
    if (text == name) return key;
  }
  PyObject* const key = check(PyUnicode_InternFromString(name));
  known.emplace_back(name, key);
  return key;
}

/// A hyperparameter's object, borrowed: group["betas"][0] for a pair.
PyObject* hyper_object(PyObject* group, const Names& names, size_t i) {
  PyObject* const v = item(group, names.hyper[i]);
  const int index = names.algorithm->hyper[i].index;
  if (index < 0) return v;
  if (PyTuple_Check(v) && index < PyTuple_GET_SIZE(v)) return PyTuple_GET_ITEM(v, index);
  if (PyList_Check(v) && index < PyList_GET_SIZE(v)) return PyList_GET_ITEM(v, index);
  fail(ErrorKind::Type, "expected {} to be a pair of numbers", names.algorithm->hyper[i].name);
}

void expect(bool ok, const char* what) { GS_CHECK_TYPE(ok, "{}", what); }

/// The tensors of a list or tuple. The caller's list keeps them alive.
std::vector<TensorImpl*> tensor_list(PyObject* list) {
  expect(PyList_Check(list) || PyTuple_Check(list), "expected a list of Tensors");
  std::vector<TensorImpl*> out;
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
  out.reserve(static_cast<size_t>(n));
  PyObject** const items = PySequence_Fast_ITEMS(list);
  for (Py_ssize_t i = 0; i < n; ++i) {
    GS_CHECK_TYPE(is_tensor(items[i]), "expected a list of Tensors, but got {}",
                  Py_TYPE(items[i])->tp_name);
    out.push_back(impl_of(items[i]));
  }
  return out;
}

// ---- step ----

/// A learning rate on a GPU: the kernel reads it there, nobody waits for it.
bool is_remote(PyObject* o) { return is_tensor(o) && impl_of(o)->device.type != DeviceType::CPU; }

/// The state of one parameter as the kernel takes it; says whether something had to be made.
bool read_state(PyObject* state, PyObject* param, const Variant& variant, PyObject* const* keys,
                double* h, PyObject* lr, TensorImpl** out) {
  PyObject* kept = PyDict_GetItemWithError(state, param);
  if (!kept) {
    if (PyErr_Occurred()) throw PythonError();
    const Owned made(PyDict_New());
    if (PyDict_SetItem(state, param, made.p) < 0) throw PythonError();
    kept = made.p;  // state holds it
  }
  expect(PyDict_Check(kept), "optimizer: the state of a parameter must be a dict");
  bool fresh = false;
  const size_t n = variant.states.size();
  size_t found = 0;
  while (found < n) {
    PyObject* const v = PyDict_GetItemWithError(kept, keys[found]);
    if (!v || !is_tensor(v)) break;
    out[found++] = impl_of(v);
  }
  if (found == n) return false;
  if (PyErr_Occurred()) throw PythonError();
  // Something has to be made, perhaps of the learning rate.
  if (is_remote(lr)) h[0] = number_of(lr);
  // Counters first: PyTorch's order of the keys.
  for (const bool counters : {true, false}) {
    for (size_t k = 0; k < n; ++k) {
      const StateSpec& spec = variant.states[k];
      if (spec.counter != counters) continue;
      PyObject* const v = PyDict_GetItemWithError(kept, keys[k]);
      if (v && is_tensor(v)) {
        out[k] = impl_of(v);
        continue;
      }
      if (!v && PyErr_Occurred()) throw PythonError();
      StateSpec wanted = spec;
      if (v && v != Py_None) {  // a counter as old checkpoints have it: a Python number
        expect(spec.counter, "optimizer: expected a Tensor in the state");
        wanted.initial = number_of(v);
        wanted.initial_hyper = -1;
      } else {
        fresh = true;
      }
      const Tensor made = make_state(wanted, *impl_of(param), h);
      const Owned object(wrap(made));
      if (PyDict_SetItem(kept, keys[k], object.p) < 0) throw PythonError();
      out[k] = made.get();
    }
  }
  return fresh;
}

/// The numbers of a group as they are now; a rate on a GPU is read there by the kernel.
void read_numbers(const Names& names, PyObject* group, double* h) {
  PyObject* const lr = hyper_object(group, names, 0);
  h[0] = is_remote(lr) ? 0 : number_of(lr);
  for (size_t i = 1; i < names.algorithm->hyper.size(); ++i)
    h[i] = number_of(hyper_object(group, names, i));
}

/// For a captured step: see LiveScope.
bool read_live_numbers(PyObject* name, PyObject* group, const Op* op, double* h, size_t* n) {
  const Names& names = names_of(name);
  read_numbers(names, group, h);
  *n = names.algorithm->hyper.size();
  return names.algorithm->variant(h).op == std::string_view(op->name);
}

void step_group(PyObject* name, PyObject* group, PyObject* state) {
  const Names& names = names_of(name);
  static PyObject* const params_key = PyUnicode_InternFromString("params");
  const Algorithm& algorithm = *names.algorithm;
  const size_t n_hyper = algorithm.hyper.size();
  double h[kMaxHyper];
  PyObject* const lr_object = hyper_object(group, names, 0);
  TensorImpl* const lr = is_tensor(lr_object) ? impl_of(lr_object) : nullptr;
  read_numbers(names, group, h);
  const Variant& variant = algorithm.variant(h);
  const LiveScope live(name, group, &Op::get(variant.op), &read_live_numbers);
  PyObject* keys[kMaxStates];
  for (size_t k = 0; k < variant.states.size(); ++k) keys[k] = state_key(variant.states[k].name);

  PyObject* const params = item(group, params_key);
  expect(PyList_Check(params), "optimizer: param_group['params'] must be a list");
  const auto n = static_cast<size_t>(PyList_GET_SIZE(params));
  UpdateList list(variant, {h, n_hyper}, lr, n);
  std::optional<UpdateList> first;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params); ++i) {
    PyObject* const param = PyList_GET_ITEM(params, i);
    GS_CHECK_TYPE(is_tensor(param),
                  "optimizer can only optimize Tensors, but one of the params is {}",
                  Py_TYPE(param)->tp_name);
    TensorImpl* const p = impl_of(param);
    TensorImpl* const g = read_grad(*p);
    if (!g) continue;
    TensorImpl* states[kMaxStates];
    if (!variant.states.empty() && read_state(state, param, variant, keys, h, lr_object, states) &&
        algorithm.first) {
      if (!first) first.emplace(*algorithm.first, std::span<const double>(h, n_hyper), lr, n);
      first->add(p, g, states);
    } else {
      list.add(p, g, states);
    }
  }
  if (first) first->run();
  list.run();
}

PyObject* optim_step(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3 && PyDict_Check(args[1]) && PyDict_Check(args[2]),
           "_optim_step(algorithm, group, state): expected a name and two dicts");
    step_group(args[0], args[1], args[2]);
    return none();
  });
}

PyObject* optim_check(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 2 && PyDict_Check(args[1]),
           "_optim_check(algorithm, defaults): expected a name and a dict");
    const Names& names = names_of(args[0]);
    double h[kMaxHyper];
    for (size_t i = 0; i < names.algorithm->hyper.size(); ++i) {
      PyObject* const o = hyper_object(args[1], names, i);
      h[i] = number_of(o);
      const HyperSpec& s = names.algorithm->hyper[i];
      if (!s.message || (s.low <= h[i] && (h[i] < s.below || s.below == __builtin_huge_val())))
        continue;
      const Owned text(PyObject_Str(o));  // -1 stays -1, where a double would be -1.0
      const char* utf8 = PyUnicode_AsUTF8(text.p);
      if (!utf8) throw PythonError();
      fail(ErrorKind::Value, s.message, utf8);
    }
    if (names.algorithm->check) names.algorithm->check(h);
    return none();
  });
}

// ---- lists of tensors ----

PyObject* zero_grad_of_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 2, "_zero_grad(params, set_to_none): expected 2 arguments");
    const int set_to_none = PyObject_IsTrue(args[1]);
    if (set_to_none < 0) throw PythonError();
    gradstep::zero_grad(tensor_list(args[0]), set_to_none != 0);
    return none();
  });
}

PyObject* zero_list(PyObject*, PyObject* list) {
  return guard([&] {
    gradstep::multi_zero(tensor_list(list));
    return none();
  });
}

PyObject* scale_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 2, "_multi_scale_(tensors, factor): expected 2 arguments");
    TensorImpl* const live = is_tensor(args[1]) ? impl_of(args[1]) : nullptr;
    GS_CHECK(!live || live->numel == 1,
             "_multi_scale_: expected a factor of one element, got shape {}", live->sizes);
    multi_scale(tensor_list(args[0]), live ? 0 : number_of(args[1]), live);
    return none();
  });
}

PyObject* add_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3, "_multi_add_(x, y, alpha): expected 3 arguments");
    multi_add_scaled(tensor_list(args[0]), tensor_list(args[1]), number_of(args[2]));
    return none();
  });
}

PyObject* lerp_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3, "_multi_lerp_(x, y, weight): expected 3 arguments");
    multi_lerp(tensor_list(args[0]), tensor_list(args[1]), number_of(args[2]));
    return none();
  });
}

PyObject* gradients_of(PyObject*, PyObject* params) {
  return guard([&] {
    const Owned out(PyList_New(0));
    for (TensorImpl* p : tensor_list(params)) {
      TensorImpl* const g = read_grad(*p);
      if (!g) continue;
      const Owned grad(wrap(Tensor(g)));
      if (PyList_Append(out.p, grad.p) < 0) throw PythonError();
    }
    return Py_NewRef(out.p);
  });
}

PyObject* one_kind(PyObject*, PyObject* list) {
  return guard([&] {
    const std::vector<TensorImpl*> tensors = tensor_list(list);
    return wrap(std::all_of(tensors.begin(), tensors.end(), [&](const TensorImpl* t) {
      return t->dtype == tensors[0]->dtype && t->device == tensors[0]->device;
    }));
  });
}

PyObject* norm_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 2, "_multi_norm(tensors, order): expected 2 arguments");
    return wrap(multi_norm(tensor_list(args[0]), number_of(args[1])));
  });
}

PyMethodDef methods[] = {
    {"_optim_step", as_function(&optim_step), METH_FASTCALL,
     "_optim_step(algorithm, group, state)\n--\n\nOne fused update of a parameter group."},
    {"_optim_check", as_function(&optim_check), METH_FASTCALL,
     "_optim_check(algorithm, defaults)\n--\n\nRaises for hyperparameters out of range."},
    {"_zero_grad", as_function(&zero_grad_of_list), METH_FASTCALL,
     "_zero_grad(params, set_to_none)\n--\n\nGradients to None, or detached and zeroed in place."},
    {"_multi_zero_", &zero_list, METH_O,
     "_multi_zero_(tensors)\n--\n\nZeros all tensors in one pass."},
    {"_multi_scale_", as_function(&scale_list), METH_FASTCALL,
     "_multi_scale_(tensors, factor)\n--\n\nMultiplies all tensors by a number or a 0-d tensor."},
    {"_multi_add_", as_function(&add_list), METH_FASTCALL,
     "_multi_add_(x, y, alpha)\n--\n\nx += alpha * y for two lists."},
    {"_multi_lerp_", as_function(&lerp_list), METH_FASTCALL,
     "_multi_lerp_(x, y, weight)\n--\n\nx += weight * (y - x) for two lists."},
    {"_grads_of", &gradients_of, METH_O,
     "_grads_of(params)\n--\n\nThe gradients of those that have one, as a list."},
    {"_one_kind", &one_kind, METH_O,
     "_one_kind(tensors)\n--\n\nTrue if all have the dtype and the device of the first."},
    {"_multi_norm", as_function(&norm_list), METH_FASTCALL,
     "_multi_norm(tensors, order)\n--\n\nThe norm (order 1, 2 or inf) of each tensor, as one "
     "tensor."},
    {nullptr, nullptr, 0, nullptr}};

// ---- the C++ optimizers ----

/// Declares a class whose keyword arguments are the fields of its options struct.
template <class O, class Options, class... Fields>
void add_class(pybind11::module_& m, const char* name,
               const std::pair<const char*, Fields Options::*>&... fields) {
  pybind11::class_<O, Optimizer>(m, name).def(
      pybind11::init([=](std::vector<Tensor> params, const pybind11::kwargs& kwargs) {
        Options o;
        size_t known = 0;
        const auto read = [&](const char* key, auto field) {
          if (!kwargs.contains(key)) return;
          o.*field = kwargs[key].template cast<std::decay_t<decltype(o.*field)>>();
          ++known;
        };
        (read(fields.first, fields.second), ...);
        GS_CHECK_TYPE(known == kwargs.size(), "{} got an unexpected keyword argument", name);
        return O(std::move(params), o);
      }),
      pybind11::arg("params"));
}

template <class Options, class Field>
std::pair<const char*, Field Options::*> option(const char* name, Field Options::* field) {
  return {name, field};
}

void add_classes(PyObject* module) {
  auto m = pybind11::reinterpret_borrow<pybind11::module_>(module).def_submodule(
      "_optim", "The optimizers of C++.");
  pybind11::class_<Optimizer>(m, "Optimizer")
      .def("step", &Optimizer::step)
      .def("zero_grad", &Optimizer::zero_grad, pybind11::arg("set_to_none") = true)
      .def("set",
           [](Optimizer& o, size_t group, const std::string& name, double value) {
             GS_CHECK_INDEX(group < o.groups().size(), "there is no parameter group {}", group);
             o.groups()[group].set(name, value);
           })
      .def("add_param_group",
           [](Optimizer& o, std::vector<Tensor> params) { o.add_param_group(std::move(params)); })
      .def("state", [](const Optimizer& o, const Tensor& p, const std::string& name) {
        return o.state(p, name);
      });
  add_class<SGD, SgdOptions>(
      m, "SGD", option("lr", &SgdOptions::lr), option("momentum", &SgdOptions::momentum),
      option("dampening", &SgdOptions::dampening),
      option("weight_decay", &SgdOptions::weight_decay), option("nesterov", &SgdOptions::nesterov),
      option("maximize", &SgdOptions::maximize));
  add_class<Adam, AdamOptions>(
      m, "Adam", option("lr", &AdamOptions::lr), option("beta1", &AdamOptions::beta1),
      option("beta2", &AdamOptions::beta2), option("eps", &AdamOptions::eps),
      option("weight_decay", &AdamOptions::weight_decay), option("amsgrad", &AdamOptions::amsgrad),
      option("maximize", &AdamOptions::maximize));
  add_class<AdamW, AdamWOptions>(
      m, "AdamW", option("lr", &AdamWOptions::lr), option("beta1", &AdamWOptions::beta1),
      option("beta2", &AdamWOptions::beta2), option("eps", &AdamWOptions::eps),
      option("weight_decay", &AdamWOptions::weight_decay),
      option("amsgrad", &AdamWOptions::amsgrad), option("maximize", &AdamWOptions::maximize));
  add_class<RMSprop, RmspropOptions>(
      m, "RMSprop", option("lr", &RmspropOptions::lr), option("alpha", &RmspropOptions::alpha),
      option("eps", &RmspropOptions::eps), option("weight_decay", &RmspropOptions::weight_decay),
      option("momentum", &RmspropOptions::momentum), option("centered", &RmspropOptions::centered),
      option("maximize", &RmspropOptions::maximize));
  add_class<Adagrad, AdagradOptions>(
      m, "Adagrad", option("lr", &AdagradOptions::lr),
      option("lr_decay", &AdagradOptions::lr_decay),
      option("weight_decay", &AdagradOptions::weight_decay),
      option("initial_accumulator_value", &AdagradOptions::initial_accumulator_value),
      option("eps", &AdagradOptions::eps), option("maximize", &AdagradOptions::maximize));
}

}  // namespace

void add_optim(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError();
  add_classes(module);
}

}  // namespace gradstep::python
