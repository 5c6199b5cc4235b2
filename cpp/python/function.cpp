// SPDX-License-Identifier: Apache-2.0
// The callable behind every native function and method, and the parser of its arguments.
// A signature is parsed at the first call of its function.
#include "python/function.h"

#include <structmember.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "core/overlap.h"
#include "ops/autocast.h"
#include "ops/pointwise.h"
#include "python/interop.h"
#include "python/overrides.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

enum class Kind : uint8_t {
  Tensor,
  Operand,
  Number,
  Int,
  Float,
  Bool,
  IntList,
  TensorList,
  DTypeArg,
  DeviceArg,
  Str,
  GeneratorArg,
  Object,
  Layout,
  MemoryFormat
};

struct Param {
  std::string name;
  PyObject* key = nullptr;       // interned name
  PyObject* fallback = nullptr;  // default; null: required
  Kind kind;
  bool nullable = false;
  bool keyword_only = false;
  bool variadic = false;
};

struct Parsed {
  const FunctionRow* row;
  std::vector<Param> params;
  int n_positional = 0;
  Cast cast[kDevices] = {};  // by device
};

const std::unordered_map<std::string_view, Kind>& kinds() {
  static const std::unordered_map<std::string_view, Kind> map = {
      {"Tensor", Kind::Tensor},
      {"Operand", Kind::Operand},
      {"Scalar", Kind::Number},
      {"Number", Kind::Number},
      {"int", Kind::Int},
      {"float", Kind::Float},
      {"bool", Kind::Bool},
      {"IntList", Kind::IntList},
      {"TensorList", Kind::TensorList},
      {"dtype", Kind::DTypeArg},
      {"device", Kind::DeviceArg},
      {"str", Kind::Str},
      {"Generator", Kind::GeneratorArg},
      {"object", Kind::Object},
      {"layout", Kind::Layout},
      {"memory_format", Kind::MemoryFormat}};
  return map;
}

const char* kind_name(Kind k) {
  switch (k) {
    case Kind::Tensor: return "Tensor";
    case Kind::Operand: return "Tensor";
    case Kind::Number: return "Number";
    case Kind::Int: return "int";
    case Kind::Float: return "float";
    case Kind::Bool: return "bool";
    case Kind::IntList: return "tuple of ints";
    case Kind::TensorList: return "tuple of Tensors";
    case Kind::DTypeArg: return "torch.dtype";
    case Kind::DeviceArg: return "torch.device";
    case Kind::Str: return "str";
    case Kind::GeneratorArg: return "torch.Generator";
    case Kind::Layout: return "torch.layout";
    case Kind::MemoryFormat: return "torch.memory_format";
    case Kind::Object: return "object";
  }
  return "";
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

PyObject* parse_default(std::string_view text) {
  const std::string s(text);
  if (s == "None") return Py_NewRef(Py_None);
  if (s == "True") return Py_NewRef(Py_True);
  if (s == "False") return Py_NewRef(Py_False);
  if (s == "inf") return PyFloat_FromDouble(INFINITY);
  if (s[0] == '\'' || s[0] == '"')
    return PyUnicode_FromStringAndSize(s.data() + 1, static_cast<Py_ssize_t>(s.size()) - 2);
  if (s[0] == '(' || s[0] == '[') {
    PyObject* list = PyList_New(0);
    size_t at = 1;
    while (at + 1 < s.size()) {
      const size_t comma = std::min(s.find(',', at), s.size() - 1);
      PyObject* item = parse_default(trim(std::string_view(s).substr(at, comma - at)));
      PyList_Append(list, item);
      Py_DECREF(item);
      at = comma + 1;
    }
    PyObject* tuple = PyList_AsTuple(list);
    Py_DECREF(list);
    return tuple;
  }
  if (s.find_first_of(".e") != std::string::npos) return PyFloat_FromDouble(std::stod(s));
  return PyLong_FromLongLong(std::stoll(s));
}

Parsed parse(const FunctionRow& row) {
  Parsed out{
      &row, {}, 0, {cast_of(row.name, DeviceType::CPU), cast_of(row.name, DeviceType::CUDA)}};
  std::string_view s(row.signature);
  s = s.substr(1, s.rfind(')') - 1);
  bool keyword_only = false;
  while (!s.empty()) {
    // To the next comma outside of brackets.
    size_t end = 0;
    int depth = 0;
    while (end < s.size() && (s[end] != ',' || depth > 0)) {
      depth += s[end] == '(' || s[end] == '[';
      depth -= s[end] == ')' || s[end] == ']';
      ++end;
    }
    std::string_view item = trim(s.substr(0, end));
    s = end < s.size() ? s.substr(end + 1) : std::string_view();
    if (item.empty()) continue;
    if (item == "*") {
      keyword_only = true;
      continue;
    }
    Param p;
    const size_t space = item.find(' ');
    GS_ASSERT(space != std::string_view::npos);
    std::string_view type = item.substr(0, space);
    std::string_view rest = trim(item.substr(space + 1));
    if (type.back() == '*') {
      p.variadic = true;
      type.remove_suffix(1);
    }
    if (type.back() == '?') {
      p.nullable = true;
      type.remove_suffix(1);
    }
    const auto kind = kinds().find(type);
    GS_CHECK(kind != kinds().end(), "internal error: unknown type {} in the signature of {}", type,
             row.name);
    p.kind = kind->second;
    p.keyword_only = keyword_only;
    const size_t equals = rest.find('=');
    p.name = std::string(trim(rest.substr(0, equals)));
    if (equals != std::string_view::npos) {
      p.fallback = parse_default(trim(rest.substr(equals + 1)));
      if (p.fallback == Py_None) p.nullable = true;
    }
    p.key = PyUnicode_InternFromString(p.name.c_str());
    if (!keyword_only) ++out.n_positional;
    out.params.push_back(std::move(p));
  }
  GS_ASSERT(static_cast<int>(out.params.size()) <= Args::kMax);
  return out;
}

bool is_int(PyObject* o) {
  if (PyLong_Check(o)) return true;
  if (is_tensor(o)) {
    const Tensor t = unwrap(o);
    return t.numel() == 1 && !is_floating(t.dtype()) && t.ndim() == 0;
  }
  return !PyFloat_Check(o) && PyIndex_Check(o) && !PyArray_like(o);
}

bool is_number(PyObject* o) {
  if (PyFloat_Check(o) || PyLong_Check(o)) return true;
  if (is_tensor(o)) return unwrap(o).ndim() == 0 || unwrap(o).numel() == 1;
  return number(o).has_value();
}

bool accepts(const Param& p, PyObject* o) {
  if (o == Py_None) return p.nullable;
  switch (p.kind) {
    case Kind::Tensor: return is_tensor(o);
    case Kind::Operand: return is_tensor(o) || is_number(o);
    case Kind::Number:
    case Kind::Float: return is_number(o);
    case Kind::Int: return is_int(o);
    case Kind::Bool:
      return PyBool_Check(o) || (number(o) && number(o)->category() == Category::Bool) ||
             (PyLong_Check(o) && p.fallback && PyBool_Check(p.fallback));
    case Kind::IntList: {
      if (is_int(o)) return true;
      if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
      PyObject* const* items = PySequence_Fast_ITEMS(o);
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
        if (!is_int(items[i])) return false;
      }
      return true;
    }
    case Kind::TensorList: {
      if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
      PyObject* const* items = PySequence_Fast_ITEMS(o);
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
        if (!is_tensor(items[i])) return false;
      }
      return true;
    }
    case Kind::DTypeArg: return is_dtype(o);
    case Kind::DeviceArg: return is_device(o);
    case Kind::Str: return PyUnicode_Check(o);
    case Kind::GeneratorArg: return is_generator(o);
    case Kind::Layout: return is_layout(o);
    case Kind::MemoryFormat: return is_memory_format(o);
    case Kind::Object: return true;
  }
  return false;
}

/// Other spellings that PyTorch takes from numpy's users.
bool same_key(const Param& p, PyObject* key) {
  if (p.key == key) return true;
  const char* k = PyUnicode_AsUTF8(key);
  if (!k) return false;
  if (p.name == k) return true;
  if (p.name == "dim") return std::strcmp(k, "axis") == 0;
  if (p.name == "keepdim") return std::strcmp(k, "keepdims") == 0;
  if (p.name == "input") return std::strcmp(k, "self") == 0;
  return false;
}

}  // namespace

namespace {

/// The casts of autocast: tensors and lists of tensors in `a` are replaced. Nothing is cast for
/// out=.
void cast_arguments(const Parsed& sig, Args& a) {
  if (sig.cast[0] == Cast::None && sig.cast[1] == Cast::None) return;
  const auto n = static_cast<int>(sig.params.size());
  std::vector<Tensor> tensors;
  for (int i = 0; i < n; ++i) {
    const Param& p = sig.params[static_cast<size_t>(i)];
    if (p.name == "out" && a.has(i)) return;
    if (a.is_tensor(i)) {
      tensors.push_back(a.tensor(i));
    } else if (p.kind == Kind::TensorList) {
      for (Tensor& t : a.tensors(i)) tensors.push_back(std::move(t));
    }
  }
  // One tensor on a GPU makes it the GPU's call; what is elsewhere stays as it is.
  DeviceType device = DeviceType::CPU;
  for (const Tensor& t : tensors) {
    if (t.device().type == DeviceType::CUDA) device = DeviceType::CUDA;
  }
  const Cast cast = sig.cast[static_cast<int>(device)];
  if (cast == Cast::None || !autocast_state().on[static_cast<int>(device)]) return;
  const DType to = autocast_type(cast, device, tensors);
  const auto cast_one = [&](const Tensor& t) {
    return t.device().type == device ? autocast(t, to) : t;
  };
  for (int i = 0; i < n; ++i) {
    if (a.is_tensor(i)) {
      a.own(i, wrap(cast_one(a.tensor(i))));
    } else if (sig.params[static_cast<size_t>(i)].kind == Kind::TensorList) {
      std::vector<Tensor> list = a.tensors(i);
      for (Tensor& t : list) t = cast_one(t);
      a.own(i, wrap(list));
    }
  }
}

}  // namespace

struct FunctionGroup {
  std::string name;
  const std::vector<FunctionRow>& rows;  // those of all objects of the name
  PyObject* owner;                       // borrowed: the callable
  std::vector<Parsed> parsed = {};

  /// Fills `a` if the arguments fit; else says why in `reason`.
  bool match(const Parsed& sig, Args& a, PyObject* const* args, Py_ssize_t n, PyObject* names,
             std::string* reason) {
    const auto& params = sig.params;
    const auto count = static_cast<Py_ssize_t>(params.size());
    a.row = sig.row;
    PyObject* const* keyword_values = args + n;
    Py_ssize_t used = std::min<Py_ssize_t>(n, sig.n_positional);
    for (Py_ssize_t i = 0; i < used; ++i) {
      const Param& p = params[static_cast<size_t>(i)];
      if (p.variadic && (n > i + 1 || is_int(args[i])) && n > i) {
        // x.view(2, 3): everything from here on is the list.
        PyObject* tuple = check(PyTuple_New(n - i));
        for (Py_ssize_t j = i; j < n; ++j) PyTuple_SET_ITEM(tuple, j - i, Py_NewRef(args[j]));
        Py_XSETREF(a.variadic, tuple);
        a.value[i] = tuple;
        if (!accepts(p, tuple)) return mismatch(p, i, args[i], reason);
        used = i + 1;
        n = used;
        break;
      }
      if (!accepts(p, args[i])) return mismatch(p, i, args[i], reason);
      a.value[i] = args[i];
    }
    if (n > used) {
      if (reason) {
        *reason =
            format("{}() takes {} positional argument{} but {} {} given", name, sig.n_positional,
                   sig.n_positional == 1 ? "" : "s", n, n == 1 ? "was" : "were");
      }
      return false;
    }
    for (Py_ssize_t i = used; i < count; ++i) a.value[i] = nullptr;
    if (names) {
      const Py_ssize_t n_names = PyTuple_GET_SIZE(names);
      for (Py_ssize_t k = 0; k < n_names; ++k) {
        PyObject* key = PyTuple_GET_ITEM(names, k);
        Py_ssize_t i = 0;
        while (i < count && !same_key(params[static_cast<size_t>(i)], key)) ++i;
        if (i == count) {
          if (reason)
            *reason =
                format("{}() got an unexpected keyword argument '{}'", name, PyUnicode_AsUTF8(key));
          return false;
        }
        if (a.value[i]) {
          if (reason)
            *reason =
                format("{}() got multiple values for argument '{}'", name, PyUnicode_AsUTF8(key));
          return false;
        }
        PyObject* v = keyword_values[k];
        if (!accepts(params[static_cast<size_t>(i)], v))
          return mismatch(params[static_cast<size_t>(i)], -1, v, reason);
        a.value[i] = v;
      }
    }
    for (Py_ssize_t i = used; i < count; ++i) {
      if (a.value[i]) continue;
      a.value[i] = params[static_cast<size_t>(i)].fallback;
      if (!a.value[i]) {
        if (reason) {
          *reason = format("{}() missing 1 required positional arguments: \"{}\"", name,
                           params[static_cast<size_t>(i)].name);
        }
        return false;
      }
    }
    return true;
  }

  bool mismatch(const Param& p, Py_ssize_t position, PyObject* got, std::string* reason) const {
    if (!reason) return false;
    *reason = format("{}(): argument '{}'", name, p.name);
    if (position >= 0) *reason += format(" (position {})", position + 1);
    *reason += format(" must be {}, not {}", kind_name(p.kind), Py_TYPE(got)->tp_name);
    return false;
  }

  PyObject* call(PyObject* const* args, Py_ssize_t n, PyObject* names) {
    if (parsed.empty()) {
      for (const FunctionRow& r : rows) parsed.push_back(parse(r));
    }
    Args a;
    for (const Parsed& p : parsed) {
      if (!match(p, a, args, n, names, nullptr)) continue;
      if (modes().autocast) [[unlikely]]
        cast_arguments(p, a);
      return p.row->impl(a);
    }
    if (PyObject* result = overridden(owner, args, n, names, how_overridable(name))) return result;
    std::string reason;
    if (parsed.size() == 1) {
      match(parsed[0], a, args, n, names, &reason);
    } else {
      reason = format("{}() received an invalid combination of arguments - got (", name);
      for (Py_ssize_t i = 0; i < n; ++i)
        reason += format("{}{}", i ? ", " : "", Py_TYPE(args[i])->tp_name);
      for (Py_ssize_t k = 0; names && k < PyTuple_GET_SIZE(names); ++k) {
        reason += format("{}{}={}", n + k ? ", " : "", PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, k)),
                         Py_TYPE(args[n + k])->tp_name);
      }
      reason += "), but expected one of:";
      for (const Parsed& p : parsed) reason += format("\n * {}", p.row->signature);
    }
    throw Error(ErrorKind::Type, reason);
  }
};

// ---- the callable ----

namespace {

/// Where a function is found. torch.add, Tensor.add and F.relu are objects of their own, as
/// overrides tell them apart.
enum class Home : uint8_t { Torch, Tensor, Functional };

struct PyFunction {
  PyObject_HEAD vectorcallfunc vectorcall;
  FunctionGroup* group;
  Home home;
};
PyTypeObject* function_type;
PyObject* native_module;

PyObject* function_call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  return guard([&] {
    return reinterpret_cast<PyFunction*>(self)->group->call(args, PyVectorcall_NARGS(nargsf),
                                                            names);
  });
}
/// The entry once there are overrides.
PyObject* function_call_overridable(PyObject* self, PyObject* const* args, size_t nargsf,
                                    PyObject* names) {
  return guard([&] {
    FunctionGroup* const group = reinterpret_cast<PyFunction*>(self)->group;
    const Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject* const result = overridden(self, args, n, names);
    return result ? result : group->call(args, n, names);
  });
}
PyObject* function_call_by_modes(PyObject* self, PyObject* const* args, size_t nargsf,
                                 PyObject* names) {
  return guard([&] {
    FunctionGroup* const group = reinterpret_cast<PyFunction*>(self)->group;
    const Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject* const result = overridden(self, args, n, names, Overridable::ByModes);
    return result ? result : group->call(args, n, names);
  });
}
PyObject* function_get(PyObject* self, PyObject* object, PyObject*) {
  return object ? PyMethod_New(self, object) : Py_NewRef(self);
}
PyObject* function_repr(PyObject* self) {
  return PyUnicode_FromFormat("<built-in method %s>",
                              reinterpret_cast<PyFunction*>(self)->group->name.c_str());
}
PyObject* function_name(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<PyFunction*>(self)->group->name.c_str());
}
PyObject* function_qualname(PyObject* self, void*) {
  const auto* f = reinterpret_cast<PyFunction*>(self);
  return wrap((f->home == Home::Tensor ? "Tensor." : "") + f->group->name);
}
PyObject* function_module(PyObject* self, void*) {
  const bool functional = reinterpret_cast<PyFunction*>(self)->home == Home::Functional;
  return PyUnicode_FromString(functional ? "gradstep.nn.functional" : "gradstep._C");
}
std::string texts_of(const std::vector<FunctionRow>& rows) {
  std::string texts;
  for (const FunctionRow& r : rows) {
    if (r.doc && *r.doc) texts += std::string("\n") + r.doc + "\n";
  }
  return texts;
}
/// The rows of a name and its objects, by Home; null where there is none.
struct Functions {
  std::vector<FunctionRow> rows = {};
  PyFunction* at[3] = {};
};
std::unordered_map<std::string, Functions>& functions() {
  static auto* map = new std::unordered_map<std::string, Functions>;
  return *map;
}
PyObject* function_at(const std::string& name, Home home) {
  Functions& f = functions()[name];
  PyFunction*& o = f.at[static_cast<int>(home)];
  if (!o) {
    o = reinterpret_cast<PyFunction*>(check(function_type->tp_alloc(function_type, 0)));
    o->vectorcall = &function_call;
    o->group = new FunctionGroup{name, f.rows, reinterpret_cast<PyObject*>(o)};
    o->home = home;
  }
  return reinterpret_cast<PyObject*>(o);
}
/// The signatures, then what the function does; of an in-place form what the plain one does, too.
/// What families of functions share (shapes, dtypes, errors) is added by gradstep._texts.
PyObject* function_doc(PyObject* self, void*) {
  const FunctionGroup* g = reinterpret_cast<PyFunction*>(self)->group;
  std::string doc;
  for (const FunctionRow& r : g->rows) doc += g->name + r.signature + "\n";
  doc += texts_of(g->rows);
  if (g->name.size() > 1 && g->name.back() == '_') {
    const auto plain = functions().find(g->name.substr(0, g->name.size() - 1));
    if (plain != functions().end()) doc += texts_of(plain->second.rows);
  }
  PyObject* const texts = check(PyImport_ImportModule("gradstep._texts"));
  PyObject* const whole = PyObject_CallMethod(texts, "complete", "Os", self, doc.c_str());
  Py_DECREF(texts);
  return check(whole);
}
/// The dtype rule of the op that an elementwise function calls, None for others.
PyObject* function_rule(PyObject* self, void*) {
  static constexpr const char* kNames[] = {nullptr, "floating", "arithmetic", "comparison",
                                           "bitwise"};  // as TypeRule
  const Op* const op = reinterpret_cast<PyFunction*>(self)->group->rows[0].op;
  return op && op->rule != TypeRule::None ? wrap(std::string(kNames[static_cast<int>(op->rule)]))
                                          : none();
}
PyObject* function_signatures(PyObject* self, void*) {
  PyObject* list = PyList_New(0);
  for (const FunctionRow& r : reinterpret_cast<PyFunction*>(self)->group->rows) {
    PyObject* s = PyUnicode_FromString(r.signature);
    PyList_Append(list, s);
    Py_DECREF(s);
  }
  return list;
}
PyObject* function_reduce(PyObject* self, PyObject*) { return function_qualname(self, nullptr); }

PyMethodDef function_methods[] = {{"__reduce__", function_reduce, METH_NOARGS, nullptr}, {}};
PyGetSetDef function_getset[] = {{"__name__", function_name, nullptr, nullptr, nullptr},
                                 {"__qualname__", function_qualname, nullptr, nullptr, nullptr},
                                 {"__module__", function_module, nullptr, nullptr, nullptr},
                                 {"__doc__", function_doc, nullptr, nullptr, nullptr},
                                 {"__signatures__", function_signatures, nullptr, nullptr, nullptr},
                                 {"__rule__", function_rule, nullptr, nullptr, nullptr},
                                 {}};
PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyFunction, vectorcall), READONLY, nullptr}, {}};
PyType_Slot function_slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_descr_get, reinterpret_cast<void*>(function_get)},
                                {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
                                {Py_tp_methods, function_methods},
                                {Py_tp_getset, function_getset},
                                {Py_tp_members, function_members},
                                {0, nullptr}};
PyType_Spec function_spec = {"gradstep.builtin_function", sizeof(PyFunction), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
                                 Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             function_slots};

}  // namespace

void init_functions(PyObject* module) {
  native_module = module;
  function_type = reinterpret_cast<PyTypeObject*>(check(PyType_FromSpec(&function_spec)));
}

void add_functions(std::span<const FunctionRow> rows) {
  for (const FunctionRow& row : rows) {
    Functions& f = functions()[row.name];
    f.rows.push_back(row);
    if (row.as & (Fn | NnFunctional))
      PyModule_AddObjectRef(native_module, row.name, function_at(row.name, Home::Torch));
    if (row.as & Method) set_tensor_attribute(row.name, function_at(row.name, Home::Tensor));
  }
}

PyObject* functional_twin(PyObject* function) {
  GS_CHECK_TYPE(Py_TYPE(function) == function_type, "expected a native function, got {}",
                Py_TYPE(function)->tp_name);
  return Py_NewRef(
      function_at(reinterpret_cast<PyFunction*>(function)->group->name, Home::Functional));
}

void arm_functions() {
  for (auto& [name, f] : functions()) {
    const Overridable how = how_overridable(name);
    for (PyFunction* o : f.at) {
      if (!o || how == Overridable::Never) continue;
      o->vectorcall =
          how == Overridable::ByModes ? &function_call_by_modes : &function_call_overridable;
    }
  }
}

// ---- Args ----

bool Args::has(int i) const { return value[i] != Py_None; }
bool Args::is_tensor(int i) const { return python::is_tensor(value[i]); }
Tensor Args::tensor(int i) const { return has(i) ? unwrap(value[i]) : Tensor(); }
std::vector<Tensor> Args::tensors(int i) const {
  std::vector<Tensor> out;
  if (!has(i)) return out;
  PyObject* const* items = PySequence_Fast_ITEMS(value[i]);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(value[i]);
  out.reserve(static_cast<size_t>(n));
  for (Py_ssize_t k = 0; k < n; ++k) out.push_back(unwrap(items[k]));
  return out;
}
Operand Args::operand(int i) const {
  if (is_tensor(i)) {
    held_[i] = unwrap(value[i]);
    return held_[i];
  }
  return scalar(i);
}
Scalar Args::scalar(int i) const { return unwrap_scalar(value[i]); }
std::optional<Scalar> Args::opt_scalar(int i) const {
  return has(i) ? std::optional(scalar(i)) : std::nullopt;
}
int64_t Args::i(int i) const { return unwrap_int(value[i]); }
std::optional<int64_t> Args::opt_int(int k) const {
  return has(k) ? std::optional(i(k)) : std::nullopt;
}
double Args::f(int i) const {
  return PyFloat_CheckExact(value[i]) ? PyFloat_AS_DOUBLE(value[i])
                                      : unwrap_scalar(value[i]).to_double();
}
std::optional<double> Args::opt_double(int i) const {
  return has(i) ? std::optional(f(i)) : std::nullopt;
}
bool Args::flag(int i) const {
  return value[i] == Py_True || (value[i] != Py_False && PyObject_IsTrue(value[i]) == 1);
}
std::optional<bool> Args::opt_flag(int i) const {
  return has(i) ? std::optional(flag(i)) : std::nullopt;
}
Dims Args::dims(int i) const {
  Dims out;
  PyObject* o = value[i];
  if (o == Py_None) return out;
  if (!PyTuple_Check(o) && !PyList_Check(o)) {
    out.push_back(unwrap_int(o));
    return out;
  }
  PyObject* const* items = PySequence_Fast_ITEMS(o);
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) out.push_back(unwrap_int(items[k]));
  return out;
}
Dims Args::dims(int i, int n, const char* what) const {
  Dims out = dims(i);
  if (out.size() == 1 && n != 1) out = Dims::filled(n, out[0]);
  GS_CHECK(out.size() == n,
           "expected {} to be a single integer value or a list of {} values, but got {}={}", what,
           n, what, out);
  return out;
}
std::vector<double> Args::floats(int i) const {
  std::vector<double> out;
  PyObject* o = value[i];
  if (!PyTuple_Check(o) && !PyList_Check(o)) return {f(i)};
  PyObject* const* items = PySequence_Fast_ITEMS(o);
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
    out.push_back(unwrap_scalar(items[k]).to_double());
  return out;
}
std::optional<DType> Args::opt_dtype(int i) const {
  return has(i) ? std::optional(unwrap_dtype(value[i])) : std::nullopt;
}
std::optional<Device> Args::opt_device(int i) const {
  return has(i) ? std::optional(unwrap_device(value[i])) : std::nullopt;
}
std::string Args::str(int i) const {
  if (!has(i)) return {};
  const char* s = PyUnicode_AsUTF8(value[i]);
  if (!s) throw PythonError();
  return s;
}
Generator* Args::generator(int i) const {
  return has(i) ? unwrap_generator(value[i]) : &default_generator();
}

// ---- results ----

PyObject* wrap(const std::vector<Tensor>& tensors) {
  PyObject* t = check(PyTuple_New(static_cast<Py_ssize_t>(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i)
    PyTuple_SET_ITEM(t, static_cast<Py_ssize_t>(i), wrap(tensors[i]));
  return t;
}
PyObject* wrap(bool v) { return PyBool_FromLong(v); }
PyObject* wrap(int64_t v) { return PyLong_FromLongLong(v); }
PyObject* wrap(double v) { return PyFloat_FromDouble(v); }
PyObject* wrap(const Scalar& v) {
  switch (v.category()) {
    case Category::Bool: return PyBool_FromLong(v.to_bool());
    case Category::Int: return PyLong_FromLongLong(v.to_int());
    default: return PyFloat_FromDouble(v.to_double());
  }
}
PyObject* wrap(const std::string& v) {
  return PyUnicode_FromStringAndSize(v.data(), static_cast<Py_ssize_t>(v.size()));
}
PyObject* none() { return Py_NewRef(Py_None); }

namespace {
/// torch.return_types.max(\nvalues=..,\nindices=..)
PyObject* named_repr(PyObject* self) {
  const PyTypeObject* type = Py_TYPE(self);
  std::string out = std::string("torch.return_types.") + type->tp_name + "(\n";
  if (std::strncmp(type->tp_name, "torch.", 6) == 0) out = std::string(type->tp_name) + "(\n";
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
    PyObject* text = PyObject_Repr(PyTuple_GET_ITEM(self, i));
    if (!text) return nullptr;
    out += format("{}{}={}", i ? ",\n" : "", type->tp_members[i].name, PyUnicode_AsUTF8(text));
    Py_DECREF(text);
  }
  return wrap(out + ")");
}
}  // namespace

PyObject* wrap_named(const char* type, std::initializer_list<const char*> fields,
                     std::initializer_list<Tensor> values) {
  static std::unordered_map<std::string, PyTypeObject*> types;
  PyTypeObject*& t = types[type];
  if (!t) {
    auto* list = new PyStructSequence_Field[fields.size() + 1]();
    size_t n = 0;
    for (const char* f : fields) list[n++] = {f, nullptr};
    auto* full = new std::string(std::string("torch.return_types.") + type);
    auto* desc =
        new PyStructSequence_Desc{full->c_str(), nullptr, list, static_cast<int>(fields.size())};
    t = PyStructSequence_NewType(desc);
    if (!t) throw PythonError();
    t->tp_repr = &named_repr;
    PyType_Modified(t);
  }
  PyObject* out = check(PyStructSequence_New(t));
  Py_ssize_t i = 0;
  for (const Tensor& v : values) PyStructSequence_SetItem(out, i++, wrap(v));
  return out;
}

namespace {
/// Compares out= (argument i) with the tensors before it.
void check_out(const Args& a, int i, const Tensor& out, bool apart) {
  const auto compare = [&](PyObject* o) {
    if (!python::is_tensor(o)) return;
    const Tensor t = unwrap(o);
    if (apart) {
      check_apart(*out.get(), *t.get());
    } else if (t.sizes() == out.sizes()) {
      check_partial_overlap(*out.get(), *t.get());
    }
  };
  for (int k = 0; k < i; ++k) {
    if (!PyTuple_Check(a.value[k]) && !PyList_Check(a.value[k])) {
      compare(a.value[k]);
      continue;
    }
    PyObject* const* items = PySequence_Fast_ITEMS(a.value[k]);
    for (Py_ssize_t n = 0; n < PySequence_Fast_GET_SIZE(a.value[k]); ++n) compare(items[n]);
  }
}
}  // namespace

PyObject* wrap_named_out(const Args& a, int i, const char* type,
                         std::initializer_list<const char*> fields, const Tensor& first,
                         const Tensor& second, bool apart) {
  if (!a.has(i)) return wrap_named(type, fields, {first, second});
  const std::vector<Tensor> out = a.tensors(i);
  GS_CHECK_TYPE(out.size() == 2, "{}(): out= takes a tuple of two tensors", type);
  for (const Tensor& o : out) check_out(a, i, o, apart);
  return wrap_named(type, fields, {write_out(out[0], first), write_out(out[1], second)});
}

PyObject* wrap_out(const Args& a, int i, const Tensor& result) {
  if (!a.has(i)) return wrap(result);
  const Tensor out = a.tensor(i);
  check_out(a, i, out, false);
  return wrap(write_out(out, result));
}

PyObject* wrap_out_apart(const Args& a, int i, const Tensor& result) {
  if (!a.has(i)) return wrap(result);
  const Tensor out = a.tensor(i);
  check_writable(*out.get());
  check_out(a, i, out, true);
  return wrap(write_out(out, result));
}

}  // namespace gradstep::python
