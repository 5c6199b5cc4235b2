// SPDX-License-Identifier: Apache-2.0
#include "python/types.h"

#include <structmember.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/cuda_api.h"
#include "python/function.h"
#include "python/tensor_type.h"

namespace gradstep::python {

namespace {

// ---- dtype ----

struct PyDType {
  PyObject_HEAD DType value;
};
PyTypeObject* dtype_type;
PyObject* dtypes[kDTypes];

PyObject* dtype_repr(PyObject* self) {
  return PyUnicode_FromFormat("torch.%s", name(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(name(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_itemsize(PyObject* self, void*) {
  return PyLong_FromSize_t(element_size(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_is_floating(PyObject* self, void*) {
  return PyBool_FromLong(is_floating(reinterpret_cast<PyDType*>(self)->value));
}
PyObject* dtype_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* dtype_is_signed(PyObject* self, void*) {
  const DType t = reinterpret_cast<PyDType*>(self)->value;
  return PyBool_FromLong(t != DType::Bool && t != DType::UInt8);
}
PyMethodDef dtype_methods[] = {{"__reduce__", dtype_reduce, METH_NOARGS, nullptr}, {}};
PyGetSetDef dtype_getset[] = {{"itemsize", dtype_itemsize, nullptr, "Bytes per element.", nullptr},
                              {"is_floating_point", dtype_is_floating, nullptr, nullptr, nullptr},
                              {"is_complex", dtype_false, nullptr, nullptr, nullptr},
                              {"is_signed", dtype_is_signed, nullptr, nullptr, nullptr},
                              {}};
PyType_Slot dtype_slots[] = {
    {Py_tp_doc, const_cast<char*>("The type of the elements of a tensor.")},
    {Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
    {Py_tp_methods, dtype_methods},
    {Py_tp_getset, dtype_getset},
    {0, nullptr}};
PyType_Spec dtype_spec = {"gradstep.dtype", sizeof(PyDType), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, dtype_slots};

// ---- device ----

}  // namespace

Device parse_device(const char* text) {
  const std::string s(text);
  const size_t colon = s.find(':');
  const std::string type = s.substr(0, colon);
  Device d;
  if (type == "cpu") {
    d.type = DeviceType::CPU;
  } else if (type == "cuda") {
    d.type = DeviceType::CUDA;
  } else {
    fail(ErrorKind::Runtime,
         "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, "
         "xla, lazy, "
         "vulkan, mps, meta, hpu, mtia, privateuseone device type at start of device string: {}",
         type);
  }
  if (colon != std::string::npos) {
    const std::string index = s.substr(colon + 1);
    const bool digits = !index.empty() && index.size() < 4 &&
                        index.find_first_not_of("0123456789") == std::string::npos;
    GS_CHECK(digits && std::stoi(index) < 128, "Invalid device string: '{}'", s);
    d.index = static_cast<int8_t>(std::stoi(index));
  }
  return d;
}

namespace {

struct PyDevice {
  PyObject_HEAD Device value;
};
PyTypeObject* device_type;

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"type", "index", nullptr};
  PyObject* type = nullptr;
  PyObject* index = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", const_cast<char**>(names), &type, &index))
    return nullptr;
  return guard([&] {
    Device d;
    if (PyLong_Check(type)) {
      d = {DeviceType::CUDA, static_cast<int8_t>(PyLong_AsLong(type))};
    } else {
      GS_CHECK_TYPE(is_device(type), "device(): argument 'type' must be str, not {}",
                    Py_TYPE(type)->tp_name);
      d = unwrap_device(type);
    }
    if (index != Py_None) {
      GS_CHECK(d.index < 0,
               "type (string) must not include an index because index was passed explicitly");
      d.index = static_cast<int8_t>(unwrap_int(index));
    }
    return wrap(d);
  });
}
PyObject* device_repr(PyObject* self) {
  const Device d = reinterpret_cast<PyDevice*>(self)->value;
  const char* type = d.type == DeviceType::CPU ? "cpu" : "cuda";
  if (d.index < 0) return PyUnicode_FromFormat("device(type='%s')", type);
  return PyUnicode_FromFormat("device(type='%s', index=%d)", type, d.index);
}
PyObject* device_str(PyObject* self) {
  return wrap(format("{}", reinterpret_cast<PyDevice*>(self)->value));
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(b) != device_type || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  const bool same = reinterpret_cast<PyDevice*>(a)->value == reinterpret_cast<PyDevice*>(b)->value;
  return PyBool_FromLong(same == (op == Py_EQ));
}
Py_hash_t device_hash(PyObject* self) {
  const Device d = reinterpret_cast<PyDevice*>(self)->value;
  return static_cast<int>(d.type) * 256 + d.index + 1;
}
PyObject* device_get_type(PyObject* self, void*) {
  return PyUnicode_FromString(
      reinterpret_cast<PyDevice*>(self)->value.type == DeviceType::CPU ? "cpu" : "cuda");
}
PyObject* device_get_index(PyObject* self, void*) {
  const int index = reinterpret_cast<PyDevice*>(self)->value.index;
  if (index < 0) Py_RETURN_NONE;
  return PyLong_FromLong(index);
}
PyObject* device_reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(N)", device_type, device_str(self));
}

// The default of this thread, and those that its `with device:` blocks hide.
thread_local Device t_default;
thread_local std::vector<Device> t_outer_defaults;

PyObject* device_enter(PyObject* self, PyObject*) {
  t_outer_defaults.push_back(t_default);
  t_default = reinterpret_cast<PyDevice*>(self)->value;
  return Py_NewRef(self);
}
PyObject* device_exit(PyObject*, PyObject*) {
  if (!t_outer_defaults.empty()) {
    t_default = t_outer_defaults.back();
    t_outer_defaults.pop_back();
  }
  Py_RETURN_FALSE;
}
PyMethodDef device_methods[] = {{"__reduce__", device_reduce, METH_NOARGS, nullptr},
                                {"__enter__", device_enter, METH_NOARGS, nullptr},
                                {"__exit__", device_exit, METH_VARARGS, nullptr},
                                {}};
PyGetSetDef device_getset[] = {{"type", device_get_type, nullptr, nullptr, nullptr},
                               {"index", device_get_index, nullptr, nullptr, nullptr},
                               {}};
PyType_Slot device_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(device_new)},
    {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
    {Py_tp_str, reinterpret_cast<void*>(device_str)},
    {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
    {Py_tp_methods, device_methods},
    {Py_tp_getset, device_getset},
    {Py_tp_doc, const_cast<char*>("device(type, index=None)\n--\n\nWhere a tensor lives.")},
    {0, nullptr}};
PyType_Spec device_spec = {"gradstep.device", sizeof(PyDevice), 0, Py_TPFLAGS_DEFAULT,
                           device_slots};

// ---- Size ----

PyTypeObject* size_type;

PyObject* size_repr(PyObject* self) {
  std::string out = "torch.Size([";
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
    PyObject* item = PyObject_Repr(PyTuple_GET_ITEM(self, i));
    if (!item) return nullptr;
    if (i) out += ", ";
    out += PyUnicode_AsUTF8(item);
    Py_DECREF(item);
  }
  return wrap(out + "])");
}
PyObject* size_numel(PyObject* self, PyObject*) {
  int64_t n = 1;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i)
    n *= PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
  return PyErr_Occurred() ? nullptr : PyLong_FromLongLong(n);
}
PyObject* as_size(PyObject* tuple) {
  if (!tuple || !PyTuple_CheckExact(tuple)) return tuple;
  PyObject* out = PyObject_CallOneArg(reinterpret_cast<PyObject*>(size_type), tuple);
  Py_DECREF(tuple);
  return out;
}
PyObject* size_subscript(PyObject* self, PyObject* key) {
  return as_size(PyTuple_Type.tp_as_mapping->mp_subscript(self, key));
}
PyObject* size_concat(PyObject* a, PyObject* b) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
PyObject* size_repeat(PyObject* a, Py_ssize_t n) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(a, n));
}
PyObject* size_reduce(PyObject* self, PyObject*) {
  PyObject* plain = PySequence_Tuple(self);
  if (plain && !PyTuple_CheckExact(plain)) {
    Py_DECREF(plain);
    plain = PyTuple_GetSlice(self, 0, PyTuple_GET_SIZE(self));
  }
  return plain ? Py_BuildValue("O(N)", size_type, plain) : nullptr;
}
PyMethodDef size_methods[] = {{"numel", size_numel, METH_NOARGS, "The product of all sizes."},
                              {"__reduce__", size_reduce, METH_NOARGS, nullptr},
                              {}};
PyType_Slot size_slots[] = {
    {Py_tp_doc, const_cast<char*>("The sizes of the axes: a tuple of ints.")},
    {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
    {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
    {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
    {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
    {Py_tp_methods, size_methods},
    {0, nullptr}};
PyType_Spec size_spec = {"gradstep.Size", 0, 0, Py_TPFLAGS_DEFAULT, size_slots};

// ---- layout and memory_format: names only ----

PyTypeObject* layout_type;
PyTypeObject* memory_format_type;
struct PyNamed {
  PyObject_HEAD const char* name;
};
PyObject* named_repr(PyObject* self) {
  return PyUnicode_FromString(reinterpret_cast<PyNamed*>(self)->name);
}
PyObject* named_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(std::strchr(reinterpret_cast<PyNamed*>(self)->name, '.') + 1);
}
PyMethodDef named_methods[] = {{"__reduce__", named_reduce, METH_NOARGS, nullptr}, {}};
PyType_Slot named_slots[] = {
    {Py_tp_doc, const_cast<char*>("A layout or a memory format, by its name.")},
    {Py_tp_repr, reinterpret_cast<void*>(named_repr)},
    {Py_tp_methods, named_methods},
    {0, nullptr}};
PyType_Spec layout_spec = {"gradstep.layout", sizeof(PyNamed), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, named_slots};
PyType_Spec memory_format_spec = {"gradstep.memory_format", sizeof(PyNamed), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                  named_slots};

// ---- Generator ----

struct PyGenerator {
  PyObject_HEAD Generator* value;
  bool owned;  // false for the default ones
};
PyTypeObject* generator_type;
PyObject* default_generator_object;

PyObject* generator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"device", nullptr};
  PyObject* device = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", const_cast<char**>(names), &device))
    return nullptr;
  return guard([&]() -> PyObject* {
    const Device where = full_device(device ? unwrap_device(device) : Device{});
    refuse_capture("a random generator is made, which a replay would not make anew");
    auto* self = reinterpret_cast<PyGenerator*>(check(type->tp_alloc(type, 0)));
    self->value = new Generator(Generator::kDefaultSeed, where);
    self->value->ref_count = 1;
    self->owned = true;
    return reinterpret_cast<PyObject*>(self);
  });
}
void generator_dealloc(PyObject* self) {
  auto* g = reinterpret_cast<PyGenerator*>(self);
  if (g->owned && --g->value->ref_count == 0) delete g->value;  // a program may hold it
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}
constexpr auto kSeeded =
    "a random generator is seeded or set, which a replay would not do; do it outside";
PyObject* generator_manual_seed(PyObject* self, PyObject* seed) {
  return guard([&] {
    refuse_capture(kSeeded);
    const int64_t s = unwrap_int(seed);
    Generator* g = reinterpret_cast<PyGenerator*>(self)->value;
    const std::lock_guard lock(g->mutex);
    g->manual_seed(static_cast<uint64_t>(s));
    return Py_NewRef(self);
  });
}
PyObject* generator_seed(PyObject* self, PyObject*) {
  return guard([&] {
    refuse_capture(kSeeded);
    return PyLong_FromUnsignedLongLong(reinterpret_cast<PyGenerator*>(self)->value->seed());
  });
}
PyObject* generator_initial_seed(PyObject* self, PyObject*) {
  return guard([&] {
    refuse_capture("the seed of a random generator is read");
    return PyLong_FromUnsignedLongLong(reinterpret_cast<PyGenerator*>(self)->value->initial_seed());
  });
}
PyObject* generator_get_state(PyObject* self, PyObject*) {
  return guard([&] {
    refuse_capture("the state of a random generator is read");
    const Generator& g = *reinterpret_cast<PyGenerator*>(self)->value;
    const Tensor t = empty({static_cast<int64_t>(g.state_bytes())}, DType::UInt8);
    g.get_state(t.data<uint8_t>());
    return wrap(t);
  });
}
PyObject* generator_set_state(PyObject* self, PyObject* state) {
  return guard([&] {
    refuse_capture(kSeeded);
    GS_CHECK_TYPE(is_tensor(state) && unwrap(state).dtype() == DType::UInt8 &&
                      unwrap(state).device().type == DeviceType::CPU,
                  "RNG state must be a torch.ByteTensor");
    const Tensor t = unwrap(state);
    GS_CHECK(t.contiguous(), "RNG state must be contiguous");
    reinterpret_cast<PyGenerator*>(self)->value->set_state(t.data<uint8_t>(),
                                                           static_cast<size_t>(t.numel()));
    return Py_NewRef(self);
  });
}
PyObject* generator_device(PyObject* self, void*) {
  return wrap(reinterpret_cast<PyGenerator*>(self)->value->device());
}
PyObject* generator_reduce(PyObject* self, PyObject*) {
  PyObject* device = generator_device(self, nullptr);
  PyObject* state = device ? generator_get_state(self, nullptr) : nullptr;
  if (!state) {
    Py_XDECREF(device);
    return nullptr;
  }
  // As PyTorch writes it: (seed, offset of a CUDA generator, state); the state's bytes hold all of
  // it.
  PyObject* seed = generator_initial_seed(self, nullptr);
  return Py_BuildValue("O(N)(NON)", generator_type, device, seed, Py_None, state);
}
PyObject* generator_setstate(PyObject* self, PyObject* state) {
  if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 3) state = PyTuple_GET_ITEM(state, 2);
  PyObject* out = generator_set_state(self, state);
  Py_XDECREF(out);
  return out ? Py_NewRef(Py_None) : nullptr;
}
PyMethodDef generator_methods[] = {
    {"manual_seed", generator_manual_seed, METH_O, "Sets the seed; returns the generator."},
    {"seed", generator_seed, METH_NOARGS, "A seed from the system's entropy."},
    {"initial_seed", generator_initial_seed, METH_NOARGS, nullptr},
    {"get_state", generator_get_state, METH_NOARGS, nullptr},
    {"set_state", generator_set_state, METH_O, nullptr},
    {"__reduce__", generator_reduce, METH_NOARGS, nullptr},
    {"__setstate__", generator_setstate, METH_O, nullptr},
    {}};
PyGetSetDef generator_getset[] = {{"device", generator_device, nullptr, nullptr, nullptr}, {}};
PyType_Slot generator_slots[] = {
    {Py_tp_doc, const_cast<char*>("Random numbers: a state, and the device that draws with it.")},
    {Py_tp_new, reinterpret_cast<void*>(generator_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(generator_dealloc)},
    {Py_tp_methods, generator_methods},
    {Py_tp_getset, generator_getset},
    {0, nullptr}};
PyType_Spec generator_spec = {"gradstep.Generator", sizeof(PyGenerator), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, generator_slots};

PyTypeObject* make_type(PyObject* module, PyType_Spec& spec, PyObject* bases = nullptr) {
  PyObject* type = check(PyType_FromSpecWithBases(&spec, bases));
  check(PyModule_AddObjectRef(module, std::strchr(spec.name, '.') + 1, type) == 0 ? type : nullptr);
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

void add_types(PyObject* module) {
  dtype_type = make_type(module, dtype_spec);
  for (int i = 0; i < kDTypes; ++i) {
    auto* d = check(dtype_type->tp_alloc(dtype_type, 0));
    reinterpret_cast<PyDType*>(d)->value = static_cast<DType>(i);
    dtypes[i] = d;
    PyModule_AddObjectRef(module, name(static_cast<DType>(i)), d);
  }
  const struct {
    const char* alias;
    DType type;
  } aliases[] = {{"float", DType::Float32}, {"double", DType::Float64}, {"half", DType::Float16},
                 {"long", DType::Int64},    {"int", DType::Int32},      {"short", DType::Int16}};
  for (const auto& a : aliases)
    PyModule_AddObjectRef(module, a.alias, dtypes[static_cast<int>(a.type)]);

  device_type = make_type(module, device_spec);
  PyObject* bases = check(PyTuple_Pack(1, &PyTuple_Type));
  size_type = make_type(module, size_spec, bases);
  Py_DECREF(bases);
  layout_type = make_type(module, layout_spec);
  memory_format_type = make_type(module, memory_format_spec);
  const auto named = [&](PyTypeObject* type, const char* full) {
    PyObject* o = check(type->tp_alloc(type, 0));
    reinterpret_cast<PyNamed*>(o)->name = full;
    PyModule_AddObjectRef(module, std::strchr(full, '.') + 1, o);
    Py_DECREF(o);
  };
  named(layout_type, "torch.strided");
  named(memory_format_type, "torch.contiguous_format");
  named(memory_format_type, "torch.preserve_format");
  named(memory_format_type, "torch.channels_last");
  named(memory_format_type, "torch.channels_last_3d");

  generator_type = make_type(module, generator_spec);
  default_generator_object = wrap_default_generator(Device{});
  PyModule_AddObjectRef(module, "default_generator", default_generator_object);
}

PyObject* wrap(DType t) { return Py_NewRef(dtypes[static_cast<int>(t)]); }

PyObject* wrap(Device d) {
  PyObject* o = check(device_type->tp_alloc(device_type, 0));
  reinterpret_cast<PyDevice*>(o)->value = d;
  return o;
}

PyObject* wrap(const Dims& v) {
  PyObject* t = check(size_type->tp_alloc(size_type, v.size()));
  for (int i = 0; i < v.size(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(v[i]));
  return t;
}

bool is_dtype(PyObject* o) {
  return Py_TYPE(o) == dtype_type || o == reinterpret_cast<PyObject*>(&PyFloat_Type) ||
         o == reinterpret_cast<PyObject*>(&PyLong_Type) ||
         o == reinterpret_cast<PyObject*>(&PyBool_Type);
}
DType unwrap_dtype(PyObject* o) {
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::Float64;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
  return reinterpret_cast<PyDType*>(o)->value;
}
bool is_device(PyObject* o) {
  return Py_TYPE(o) == device_type || PyUnicode_Check(o) || PyLong_CheckExact(o);
}
Device unwrap_device(PyObject* o) {
  if (Py_TYPE(o) == device_type) return reinterpret_cast<PyDevice*>(o)->value;
  if (PyLong_CheckExact(o)) return {DeviceType::CUDA, static_cast<int8_t>(PyLong_AsLong(o))};
  GS_CHECK_TYPE(PyUnicode_Check(o), "device must be a torch.device or a str, not {}",
                Py_TYPE(o)->tp_name);
  return parse_device(PyUnicode_AsUTF8(o));
}
Device default_device() { return t_default; }
void set_default_device(Device d) {
  (t_outer_defaults.empty() ? t_default : t_outer_defaults.front()) = d;
}
Device usable_device(std::optional<Device> d) { return full_device(d ? *d : default_device()); }
PyObject* wrap_default_generator(Device d) {
  PyObject* const object = check(generator_type->tp_alloc(generator_type, 0));
  reinterpret_cast<PyGenerator*>(object)->value = &default_generator(d);
  return object;
}
bool is_generator(PyObject* o) { return PyObject_TypeCheck(o, generator_type); }
Generator* unwrap_generator(PyObject* o) { return reinterpret_cast<PyGenerator*>(o)->value; }
bool is_layout(PyObject* o) { return Py_TYPE(o) == layout_type; }
bool is_memory_format(PyObject* o) { return Py_TYPE(o) == memory_format_type; }

// ---- numbers ----

std::optional<Scalar> number(PyObject* o) {
  if (PyFloat_CheckExact(o)) return Scalar(PyFloat_AS_DOUBLE(o));
  if (PyBool_Check(o)) return Scalar(o == Py_True);
  if (PyLong_Check(o)) {
    int overflow = 0;
    const long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) fail(ErrorKind::Overflow, "Overflow when unpacking long long");
    return Scalar(static_cast<int64_t>(v));
  }
  if (PyFloat_Check(o)) return Scalar(PyFloat_AS_DOUBLE(o));
  if (is_tensor(o) || !Py_TYPE(o)->tp_as_number) return {};
  // numpy scalars: by what they convert to without loss.
  const char* type = Py_TYPE(o)->tp_name;
  if (std::strncmp(type, "numpy.", 6) != 0) return {};
  if (std::strncmp(type + 6, "bool", 4) == 0) return Scalar(PyObject_IsTrue(o) == 1);
  if (PyIndex_Check(o)) {
    PyObject* i = PyNumber_Index(o);
    if (i) {
      const std::optional<Scalar> out = number(i);
      Py_DECREF(i);
      return out;
    }
    PyErr_Clear();
  }
  if (std::strncmp(type + 6, "float", 5) == 0 || std::strcmp(type + 6, "longdouble") == 0) {
    return Scalar(PyFloat_AsDouble(o));
  }
  return {};
}

Scalar item(const Tensor& t);  // python/interop.cpp

Scalar unwrap_scalar(PyObject* o) {
  if (const auto n = number(o)) return *n;
  GS_CHECK_TYPE(is_tensor(o), "expected a number, got {}", Py_TYPE(o)->tp_name);
  return item(unwrap(o));
}

int64_t unwrap_int(PyObject* o) {
  if (PyLong_Check(o)) {
    const long long v = PyLong_AsLongLong(o);
    if (v == -1 && PyErr_Occurred()) throw PythonError();
    return v;
  }
  if (is_tensor(o)) {
    const Scalar s = item(unwrap(o));
    GS_CHECK_TYPE(!s.is_float(),
                  "only integer tensors of a single element can be converted to an index");
    return s.to_int();
  }
  PyObject* i = check(PyNumber_Index(o));
  const long long v = PyLong_AsLongLong(i);
  Py_DECREF(i);
  if (v == -1 && PyErr_Occurred()) throw PythonError();
  return v;
}

}  // namespace gradstep::python
