// SPDX-License-Identifier: Apache-2.0
// The fused optimizer steps for Python, and the C++ optimizers as gradstep._C._optim.SGD and so on.
// Python's own optimizers keep PyTorch's structures (param_groups, a list of dicts that anyone may
// edit, and state, a dict by parameter); each call reads them as they are then:
//   _optim_step("Adam", group, state, grad_scale, found_inf)
//                                         one fused step of a group, making missing state
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
#include "ops/pointwise.h"
#include "optim/lists.h"
#include "optim/matrix.h"
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

/// The state of one parameter as the kernel takes it, if there is all of it.
bool find_state(PyObject* state, PyObject* param, size_t n, PyObject* const* keys,
                TensorImpl** out) {
  PyObject* const kept = PyDict_GetItemWithError(state, param);
  if (!kept) {
    if (PyErr_Occurred()) throw PythonError();
    return n == 0;
  }
  expect(PyDict_Check(kept), "optimizer: the state of a parameter must be a dict");
  for (size_t k = 0; k < n; ++k) {
    PyObject* const v = PyDict_GetItemWithError(kept, keys[k]);
    if (!v && PyErr_Occurred()) throw PythonError();
    if (!v || !is_tensor(v)) return false;
    out[k] = impl_of(v);
  }
  return true;
}

/// Makes what is missing of it; says whether that was more than another form of what was there.
bool complete_state(PyObject* state, PyObject* param, const Variant& variant, PyObject* const* keys,
                    double* h, PyObject* lr, TensorImpl** out) {
  PyObject* kept = PyDict_GetItemWithError(state, param);
  if (!kept) {
    if (PyErr_Occurred()) throw PythonError();
    const Owned made(PyDict_New());
    if (PyDict_SetItem(state, param, made.p) < 0) throw PythonError();
    kept = made.p;  // state holds it
  }
  bool fresh = false;
  const size_t n = variant.states.size();
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
  // They are read again before each replay: no reason to refuse a rate that is a tensor.
  struct Unwatched {
    Watcher* const watcher = std::exchange(recording_watcher(), nullptr);
    ~Unwatched() { recording_watcher() = watcher; }
  } const unwatched;
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

/// An optional tensor of one element.
TensorImpl* live_number(PyObject* o, const char* name) {
  if (o == Py_None) return nullptr;
  GS_CHECK_TYPE(is_tensor(o), "optimizer: expected {} to be a Tensor, got {}", name,
                Py_TYPE(o)->tp_name);
  TensorImpl* const t = impl_of(o);
  GS_CHECK(t->numel == 1, "optimizer: expected {} of one element, got shape {}", name, t->sizes);
  return t;
}

// Note [Skipped steps]
// With GradScaler nobody waits for a GPU to learn whether a gradient was infinite: the kernel reads
// found_inf and does nothing if it is set. But then a first step must leave no state behind, as if
// it had not been taken (SGD's first buffer is the gradient itself, without dampening). So where
// state is to be made, found_inf is read here, once, and on a GPU that waits.

void step_group(PyObject* name, PyObject* group, PyObject* state, PyObject* grad_scale,
                PyObject* found_inf) {
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
  const LiveNumbers numbers{lr, live_number(grad_scale, "grad_scale"),
                            live_number(found_inf, "found_inf")};
  UpdateList list(variant, {h, n_hyper}, numbers, n);
  std::optional<UpdateList> first;
  const size_t n_states = variant.states.size();
  bool taken = !numbers.found_inf;  // known to be
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params); ++i) {
    PyObject* const param = PyList_GET_ITEM(params, i);
    GS_CHECK_TYPE(is_tensor(param),
                  "optimizer can only optimize Tensors, but one of the params is {}",
                  Py_TYPE(param)->tp_name);
    TensorImpl* const p = impl_of(param);
    TensorImpl* const g = read_grad(*p);
    if (!g) continue;
    TensorImpl* states[kMaxStates];
    bool fresh = false;
    if (!find_state(state, param, n_states, keys, states)) {
      if (!taken && read_at_first(unwrap(found_inf)) != 0) return;
      taken = true;
      fresh = complete_state(state, param, variant, keys, h, lr_object, states);
    }
    if (fresh && algorithm.first) {
      if (!first) first.emplace(*algorithm.first, std::span<const double>(h, n_hyper), numbers, n);
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
    expect(n == 5 && PyDict_Check(args[1]) && PyDict_Check(args[2]),
           "_optim_step(algorithm, group, state, grad_scale, found_inf): expected a name, two "
           "dicts and two tensors or None");
    step_group(args[0], args[1], args[2], args[3], args[4]);
    return none();
  });
}

// ---- Adafactor and Muon ----

/// The numbers of a group around a launch that has them as params.
struct GroupNumbers {
  const Names& names;
  double h[kMaxHyper];
  TensorImpl* lr;
  PyObject *name, *group;

  GroupNumbers(PyObject* n, PyObject* g) : names(names_of(n)), name(n), group(g) {
    PyObject* const rate = hyper_object(group, names, 0);
    lr = is_tensor(rate) ? impl_of(rate) : nullptr;
    read_numbers(names, group, h);
  }
  std::span<const double> numbers() const { return {h, names.algorithm->hyper.size()}; }
  LiveScope live(const char* op) const {
    const auto read = [](PyObject* n, PyObject* g, const Op*, double* out, size_t* count) {
      const Names& known = names_of(n);
      read_numbers(known, g, out);
      *count = known.algorithm->hyper.size();
      return true;
    };
    return LiveScope(name, group, &Op::get(op), read);
  }
};

/// The tensors of a list in which None stands for none.
std::vector<Tensor> optional_tensors(PyObject* list) {
  expect(PyList_Check(list), "expected a list of Tensors or None");
  std::vector<Tensor> out;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i) {
    PyObject* const o = PyList_GET_ITEM(list, i);
    GS_CHECK_TYPE(o == Py_None || is_tensor(o), "expected a Tensor or None, but got {}",
                  Py_TYPE(o)->tp_name);
    out.push_back(o == Py_None ? Tensor() : unwrap(o));
  }
  return out;
}

PyObject* adafactor_step(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 10,
           "_adafactor_step(group, params, grads, rows, cols, variances, steps, eps1, eps2, d): "
           "expected 10 arguments");
    static PyObject* const name = PyUnicode_InternFromString("Adafactor");
    const GroupNumbers group(name, args[0]);
    const std::vector<TensorImpl*> params = tensor_list(args[1]), steps = tensor_list(args[6]);
    const std::vector<Tensor> grads = optional_tensors(args[2]), rows = optional_tensors(args[3]),
                              cols = optional_tensors(args[4]), each = optional_tensors(args[5]);
    for (const size_t size : {grads.size(), rows.size(), cols.size(), each.size(), steps.size()}) {
      expect(size == params.size(), "_adafactor_step: expected lists of one length");
    }
    std::vector<AdafactorFactors> factors;
    {
      const LiveScope live = group.live("multi_adafactor");
      factors = adafactor_factors(params, steps, group.numbers(), group.lr);
    }
    const double eps1 = args[7] == Py_None ? -1 : number_of(args[7]);
    for (size_t i = 0; i < params.size(); ++i) {
      adafactor_update(Tensor(Ref(params[i])), grads[i], {rows[i], cols[i], each[i]}, factors[i],
                       eps1, number_of(args[8]), number_of(args[9]));
    }
    return none();
  });
}

PyObject* muon_step(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 8,
           "_muon_step(group, params, grads, buffers, ratios, coefficients, steps, eps): expected "
           "8 arguments");
    static PyObject* const name = PyUnicode_InternFromString("Muon");
    const GroupNumbers group(name, args[0]);
    const std::vector<TensorImpl*> params = tensor_list(args[1]), grads = tensor_list(args[2]),
                                   buffers = tensor_list(args[3]);
    expect(PyList_Check(args[4]) && PyTuple_Check(args[5]) && PyTuple_GET_SIZE(args[5]) == 3,
           "_muon_step: expected a list of ratios and three coefficients");
    expect(grads.size() == params.size() && buffers.size() == params.size() &&
               PyList_GET_SIZE(args[4]) == static_cast<Py_ssize_t>(params.size()),
           "_muon_step: expected lists of one length");
    const auto coefficient = [&](int k) { return number_of(PyTuple_GET_ITEM(args[5], k)); };
    const auto steps = static_cast<int64_t>(number_of(args[6]));
    std::vector<Tensor> directions;
    {
      const LiveScope live = group.live("multi_muon_momentum");
      directions = muon_directions(params, grads, buffers, group.numbers(), group.lr);
    }
    for (size_t i = 0; i < params.size(); ++i) {
      Tensor& direction = directions[i];
      direction = newton_schulz(direction, coefficient(0), coefficient(1), coefficient(2), steps,
                                number_of(args[7]));
      const double ratio = number_of(PyList_GET_ITEM(args[4], static_cast<Py_ssize_t>(i)));
      if (ratio != 1) direction = mul(to(direction, wide_type(params[i]->dtype)), ratio);
    }
    const LiveScope live = group.live("multi_muon");
    muon_update(params, directions, group.numbers(), group.lr);
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

PyObject* norm_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 2, "_multi_norm(tensors, order): expected 2 arguments");
    return wrap(total_norm(tensor_list(args[0]), number_of(args[1])));
  });
}

PyObject* clip_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3, "_multi_clip_norm_(tensors, largest, order): expected 3 arguments");
    return wrap(clip_norm(tensor_list(args[0]), number_of(args[1]), number_of(args[2])));
  });
}

PyObject* scale_list_to_norm(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3 && is_tensor(args[2]),
           "_multi_scale_to_norm_(tensors, largest, total): expected 3 arguments");
    scale_to_norm(tensor_list(args[0]), number_of(args[1]), Tensor(Ref(impl_of(args[2]))));
    return none();
  });
}

PyObject* clamp_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3, "_multi_clamp_(tensors, low, high): expected 3 arguments");
    multi_clamp(tensor_list(args[0]), number_of(args[1]), number_of(args[2]));
    return none();
  });
}

// ---- the scale of a loss: PyTorch's functions under their names ----

TensorImpl* one_number(PyObject* o, const char* name, DType dtype) {
  GS_CHECK_TYPE(is_tensor(o), "expected {} to be a Tensor, got {}", name, Py_TYPE(o)->tp_name);
  TensorImpl* const t = impl_of(o);
  GS_CHECK(t->numel == 1, "{} must be a 1-element tensor.", name);
  GS_CHECK(t->dtype == dtype, "{} must be {} tensor.", name,
           dtype == DType::Float32 ? "a float" : "an int");
  return t;
}

PyObject* unscale_list(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 3,
           "_amp_foreach_non_finite_check_and_unscale_(grads, found_inf, inv_scale): expected 3 "
           "arguments");
    TensorImpl* const factor = one_number(args[2], "inv_scale", DType::Float32);
    unscale(tensor_list(args[0]), one_number(args[1], "found_inf", DType::Float32), factor);
    return none();
  });
}

PyObject* update_scale(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard([&] {
    expect(n == 6,
           "_amp_update_scale_(scale, growth_tracker, found_inf, growth_factor, backoff_factor, "
           "growth_interval): expected 6 arguments");
    TensorImpl* const found_inf = one_number(args[2], "found_inf", DType::Float32);
    TensorImpl* const scale = one_number(args[0], "current_scale", DType::Float32);
    TensorImpl* const tracker = one_number(args[1], "growth_tracker", DType::Int32);
    GS_CHECK(scale->device == tracker->device && scale->device == found_inf->device,
             "_amp_update_scale_: expected all tensors on {}, got {} and {}", scale->device,
             tracker->device, found_inf->device);
    update_loss_scale(scale, tracker, found_inf, number_of(args[3]), number_of(args[4]),
                      static_cast<int64_t>(number_of(args[5])));
    return Py_NewRef(args[0]);
  });
}

PyMethodDef methods[] = {
    {"_optim_step", as_function(&optim_step), METH_FASTCALL,
     "_optim_step(algorithm, group, state, grad_scale, found_inf)\n--\n\nOne fused update of a "
     "parameter group."},
    {"_adafactor_step", as_function(&adafactor_step), METH_FASTCALL,
     "_adafactor_step(group, params, grads, rows, cols, variances, steps, eps1, eps2, "
     "d)\n--\n\nOne "
     "step of Adafactor for a parameter group."},
    {"_muon_step", as_function(&muon_step), METH_FASTCALL,
     "_muon_step(group, params, grads, buffers, ratios, coefficients, steps, eps)\n--\n\nOne step "
     "of "
     "Muon for a parameter group."},
    {"_optim_check", as_function(&optim_check), METH_FASTCALL,
     "_optim_check(algorithm, defaults)\n--\n\nRaises for hyperparameters out of range."},
    {"_zero_grad", as_function(&zero_grad_of_list), METH_FASTCALL,
     "_zero_grad(params, set_to_none)\n--\n\nGradients to None, or detached and zeroed in place."},
    {"_multi_zero_", &zero_list, METH_O,
     "_multi_zero_(tensors)\n--\n\nZeros all tensors in one pass."},
    {"_multi_add_", as_function(&add_list), METH_FASTCALL,
     "_multi_add_(x, y, alpha)\n--\n\nx += alpha * y for two lists."},
    {"_multi_lerp_", as_function(&lerp_list), METH_FASTCALL,
     "_multi_lerp_(x, y, weight)\n--\n\nx += weight * (y - x) for two lists."},
    {"_grads_of", &gradients_of, METH_O,
     "_grads_of(params)\n--\n\nThe gradients of those that have one, as a list."},
    {"_multi_norm", as_function(&norm_list), METH_FASTCALL,
     "_multi_norm(tensors, order)\n--\n\nThe norm (order 1, 2 or inf) of all tensors as one "
     "vector."},
    {"_multi_clip_norm_", as_function(&clip_list), METH_FASTCALL,
     "_multi_clip_norm_(tensors, largest, order)\n--\n\nScales all tensors so that their norm is "
     "at most `largest`; the norm before."},
    {"_multi_scale_to_norm_", as_function(&scale_list_to_norm), METH_FASTCALL,
     "_multi_scale_to_norm_(tensors, largest, total)\n--\n\nThe same where the norm is known."},
    {"_multi_clamp_", as_function(&clamp_list), METH_FASTCALL,
     "_multi_clamp_(tensors, low, high)\n--\n\nLimits all elements."},
    {"_amp_foreach_non_finite_check_and_unscale_", as_function(&unscale_list), METH_FASTCALL,
     "_amp_foreach_non_finite_check_and_unscale_(grads, found_inf, inv_scale)\n--\n\nMultiplies "
     "all of them; found_inf becomes 1 if an element is infinite or NaN."},
    {"_amp_update_scale_", as_function(&update_scale), METH_FASTCALL,
     "_amp_update_scale_(scale, growth_tracker, found_inf, growth_factor, backoff_factor, "
     "growth_interval)\n--\n\nGradScaler's scale after an iteration."},
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
