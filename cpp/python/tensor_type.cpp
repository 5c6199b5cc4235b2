// SPDX-License-Identifier: Apache-2.0
// The type object: life cycle, number slots, comparison, item access. Methods are rows
// (functions_*.cpp) and properties (methods.cpp).
#include "python/tensor_type.h"

#include <structmember.h>

#include <initializer_list>
#include <new>
#include <optional>

#include "ops/autocast.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/view.h"
#include "python/function.h"
#include "python/indexing.h"
#include "python/interop.h"
#include "python/overrides.h"
#include "python/types.h"

namespace gradstep::python {

PyTypeObject* tensor_type = nullptr;

// ---- errors ----

PyObject* out_of_memory_error = nullptr;
PyObject* linalg_error = nullptr;
extern PyObject* capture_error;

PyObject* translate_exception() {
  try {
    throw;
  } catch (const PythonError&) {
    return nullptr;
  } catch (const Error& e) {
    PyObject* type = PyExc_RuntimeError;
    switch (e.kind()) {
      case ErrorKind::Runtime: break;
      case ErrorKind::Value: type = PyExc_ValueError; break;
      case ErrorKind::Index: type = PyExc_IndexError; break;
      case ErrorKind::Type: type = PyExc_TypeError; break;
      case ErrorKind::NotImplemented: type = PyExc_NotImplementedError; break;
      case ErrorKind::Overflow: type = PyExc_OverflowError; break;
      case ErrorKind::OutOfMemory: type = out_of_memory_error; break;
      case ErrorKind::Assertion: type = PyExc_AssertionError; break;
      case ErrorKind::Capture: type = capture_error; break;
      case ErrorKind::Linalg: type = linalg_error ? linalg_error : PyExc_RuntimeError; break;
    }
    PyErr_SetString(type, e.what());
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (const pybind11::builtin_exception& e) {
    e.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

// ---- life cycle ----

namespace {

constexpr int kFreeObjects = 128;
PyTensor* free_objects[kFreeObjects];
int n_free_objects = 0;

PyTensor* as_py(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

PyObject* new_object() {
  if (n_free_objects > 0) {
    PyTensor* o = free_objects[--n_free_objects];
    Py_INCREF(tensor_type);
    return PyObject_Init(reinterpret_cast<PyObject*>(o), tensor_type);
  }
  PyTensor* o = PyObject_New(PyTensor, tensor_type);
  return o ? reinterpret_cast<PyObject*>(o) : nullptr;
}

void attach(PyObject* o, const Tensor& t) {
  PyTensor* p = as_py(o);
  p->impl = Tensor(t).ref().release();
  p->dict = nullptr;
  p->weakrefs = nullptr;
  if (!p->impl->py_object) p->impl->py_object = o;
}

void tensor_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyTensor* p = as_py(o);
  if (p->weakrefs) PyObject_ClearWeakRefs(o);
  Py_CLEAR(p->dict);
  if (p->impl) {
    if (p->impl->py_object == o) p->impl->py_object = nullptr;
    Ref<TensorImpl>::adopt(p->impl).reset();
    p->impl = nullptr;
  }
  if (type == tensor_type && n_free_objects < kFreeObjects) {
    free_objects[n_free_objects++] = p;
  } else {
    type->tp_free(o);
  }
  Py_DECREF(type);
}

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guard([&]() -> PyObject* {
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0 && !PyDict_GetItemString(kwargs, "device")) {
      fail(ErrorKind::Type, "new(): unexpected keyword arguments");
    }
    Tensor t;
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n == 0) {
      t = empty({0}, default_dtype());
    } else if (n == 1 && is_tensor(PyTuple_GET_ITEM(args, 0))) {
      t = alias(unwrap(PyTuple_GET_ITEM(args, 0)));
    } else if (PyLong_CheckExact(PyTuple_GET_ITEM(args, 0))) {
      Dims sizes;
      for (Py_ssize_t i = 0; i < n; ++i) sizes.push_back(unwrap_int(PyTuple_GET_ITEM(args, i)));
      t = empty(sizes, default_dtype());
    } else if (Py_TYPE(PyTuple_GET_ITEM(args, 0))->tp_base == &PyTuple_Type &&
               PyTuple_Check(PyTuple_GET_ITEM(args, 0))) {
      Dims sizes;
      PyObject* s = PyTuple_GET_ITEM(args, 0);
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(s); ++i)
        sizes.push_back(unwrap_int(PyTuple_GET_ITEM(s, i)));
      t = empty(sizes, default_dtype());
    } else {
      t = tensor_from_object(PyTuple_GET_ITEM(args, 0), default_dtype());
    }
    return wrap_as(type, t);
  });
}

int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }

// ---- numbers ----

/// A tensor or a number as an operand; `held` keeps the tensor. False for anything else.
bool as_operand(PyObject* o, Tensor& held, Operand& out) {
  if (is_tensor(o)) {
    held = unwrap(o);
    out = Operand(held);
    return true;
  }
  if (PyFloat_CheckExact(o)) {
    out = Operand(PyFloat_AS_DOUBLE(o));
    return true;
  }
  if (const auto n = number(o)) {
    out = Operand(*n);
    return true;
  }
  return false;
}

/// What an operator is to overrides: methods of Tensor, those that PyTorch calls for it.
struct Methods {
  const char* plain;      // x op y
  const char* reflected;  // 2 op x
  const char* in_place;   // x op= y
};

PyObject* other_operand(const char* name, const char* reflected, PyObject* a, PyObject* b) {
  if (PyObject* result = overridden_operator(name, reflected, a, b)) return result;
  Py_RETURN_NOTIMPLEMENTED;
}

/// number op tensor, tensor op number, tensor op tensor; NotImplemented for anything else.
template <class F>
PyObject* binary(const Methods& m, PyObject* a, PyObject* b, F&& f) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_operator(m.plain, m.reflected, a, b)) return result;
    }
    Tensor x, y;
    Operand left(0), right(0);
    if (!as_operand(a, x, left) || !as_operand(b, y, right))
      return other_operand(m.plain, m.reflected, a, b);
    return wrap(f(left, right));
  });
}
template <class F>
PyObject* inplace(const Methods& m, PyObject* a, PyObject* b, F&& f) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_operator(m.in_place, m.in_place, a, b)) return result;
    }
    Tensor x, y;
    Operand left(0), right(0);
    if (!as_operand(a, x, left) || !as_operand(b, y, right))
      return other_operand(m.in_place, m.in_place, a, b);
    f(left, right);
    return Py_NewRef(a);
  });
}
/// A slot without a second operand that counts.
template <class F>
PyObject* unary(const char* method, PyObject* a, F&& f) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_method(method, {a})) return result;
    }
    return f(a);
  });
}
/// The value of an override that has to be a number; -1 with an error set where it is none.
/// nothing: nobody takes over.
std::optional<Py_ssize_t> overridden_number(const char* method,
                                            std::initializer_list<PyObject*> args) {
  if (!overrides_in_use) return {};
  std::optional<Py_ssize_t> value;
  const int status = guard_int([&] {
    PyObject* const result = overridden_method(method, args);
    if (!result) return;
    value = PyLong_Check(result) ? PyLong_AsSsize_t(result) : PyObject_IsTrue(result);
    Py_DECREF(result);
  });
  if (status < 0) return -1;
  return value;
}

#define GS_OP(slot, op, ...)                                                              \
  PyObject* nb_##slot(PyObject* a, PyObject* b) {                                         \
    static const Op& kOp = Op::get(op);                                                   \
    return binary(Methods{__VA_ARGS__}, a, b,                                             \
                  [](const Operand& x, const Operand& y) { return map(kOp, {x, y}); });   \
  }                                                                                       \
  PyObject* nb_inplace_##slot(PyObject* a, PyObject* b) {                                 \
    static const Op& kOp = Op::get(op);                                                   \
    return inplace(Methods{__VA_ARGS__}, a, b,                                            \
                   [](const Operand& x, const Operand& y) { map_inplace(kOp, {x, y}); }); \
  }
GS_OP(add, "add", "add", "add", "add_")
GS_OP(multiply, "mul", "mul", "mul", "mul_")
GS_OP(true_divide, "div", "div", "__rtruediv__", "div_")
GS_OP(floor_divide, "floor_divide", "__floordiv__", "__rfloordiv__", "floor_divide_")
GS_OP(remainder, "remainder", "remainder", "__rmod__", "remainder_")
GS_OP(and, "bitwise_and", "__and__", "bitwise_and", "__iand__")
GS_OP(or, "bitwise_or", "__or__", "bitwise_or", "__ior__")
GS_OP(xor, "bitwise_xor", "__xor__", "bitwise_xor", "__ixor__")
GS_OP(lshift, "bitwise_left_shift", "__lshift__", "__rlshift__", "__ilshift__")
GS_OP(rshift, "bitwise_right_shift", "__rshift__", "__rrshift__", "__irshift__")
#undef GS_OP
constexpr Methods kSub{"sub", "__rsub__", "sub_"};
constexpr Methods kPow{"__pow__", "__rpow__", "__ipow__"};

PyObject* nb_subtract(PyObject* a, PyObject* b) {
  return binary(kSub, a, b, [](const Operand& x, const Operand& y) { return sub(x, y); });
}
PyObject* nb_inplace_subtract(PyObject* a, PyObject* b) {
  static const Op& op = Op::get("sub");
  return inplace(kSub, a, b, [](const Operand& x, const Operand& y) { map_inplace(op, {x, y}); });
}
PyObject* nb_power(PyObject* a, PyObject* b, PyObject* mod) {
  if (mod != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_operator(kPow.plain, kPow.reflected, a, b)) return result;
    }
    Tensor x, y;
    Operand base(0), exponent(0);
    if (!as_operand(a, x, base) || !as_operand(b, y, exponent))
      return other_operand(kPow.plain, kPow.reflected, a, b);
    if (modes().autocast) [[unlikely]]
      autocast_arguments("pow", {&x, &y});
    return wrap(
        gradstep::pow(x.defined() ? Operand(x) : base, y.defined() ? Operand(y) : exponent));
  });
}
PyObject* nb_inplace_power(PyObject* a, PyObject* b, PyObject*) {
  return inplace(kPow, a, b, [](const Operand& x, const Operand& y) { pow_inplace(*x.tensor, y); });
}
PyObject* nb_matmul(PyObject* a, PyObject* b) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_operator("matmul", "__rmatmul__", a, b)) return result;
    }
    if (!is_tensor(a) || !is_tensor(b)) return other_operand("matmul", "__rmatmul__", a, b);
    Tensor x = unwrap(a), y = unwrap(b);
    if (modes().autocast) [[unlikely]]
      autocast_arguments("matmul", {&x, &y});
    return wrap(matmul(x, y));
  });
}
PyObject* nb_divmod(PyObject* a, PyObject* b) {
  PyObject* q = nb_floor_divide(a, b);
  if (!q || q == Py_NotImplemented) return q;
  PyObject* r = nb_remainder(a, b);
  return r ? Py_BuildValue("(NN)", q, r) : (Py_DECREF(q), nullptr);
}
PyObject* nb_negative(PyObject* a) {
  return unary("neg", a, [](PyObject* x) { return wrap(neg(unwrap(x))); });
}
PyObject* nb_positive(PyObject* a) {
  return unary("positive", a, [](PyObject* x) { return Py_NewRef(x); });
}
PyObject* nb_absolute(PyObject* a) {
  return unary("abs", a, [](PyObject* x) { return wrap(gradstep::abs(unwrap(x))); });
}
PyObject* nb_invert(PyObject* a) {
  static const Op& bits = Op::get("bitwise_not");
  return unary("__invert__", a, [](PyObject* o) {
    const Tensor x = unwrap(o);
    GS_CHECK_TYPE(!is_floating(x.dtype()),
                  "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
    return wrap(x.dtype() == DType::Bool ? logical_not(x) : map(bits, {x}));
  });
}
int nb_bool(PyObject* a) {
  if (const auto given = overridden_number("__bool__", {a})) return static_cast<int>(*given);
  int result = -1;
  guard_int([&] {
    const Tensor t = unwrap(a);
    GS_CHECK(t.numel() <= 1, "Boolean value of Tensor with more than one value is ambiguous");
    GS_CHECK(t.numel() == 1, "Boolean value of Tensor with no values is ambiguous");
    result = item(t).to_bool();
  });
  return result;
}
PyObject* nb_int(PyObject* a) {
  return unary("__int__", a, [](PyObject* o) -> PyObject* {
    const Scalar s = item(unwrap(o));
    return s.is_float() ? check(PyLong_FromDouble(s.to_double())) : wrap(s.to_int());
  });
}
PyObject* nb_float(PyObject* a) {
  return unary("__float__", a, [](PyObject* o) { return wrap(item(unwrap(o)).to_double()); });
}
PyObject* nb_index(PyObject* a) {
  return unary("__index__", a, [](PyObject* o) {
    const Tensor t = unwrap(o);
    GS_CHECK_TYPE(t.numel() == 1 && !is_floating(t.dtype()),
                  "only integer tensors of a single element can be converted to an index");
    return wrap(item(t).to_int());
  });
}

PyObject* tensor_compare(PyObject* a, PyObject* b, int op) {
  static const Op* ops[] = {&Op::get("lt"), &Op::get("le"), &Op::get("eq"),
                            &Op::get("ne"), &Op::get("gt"), &Op::get("ge")};
  static constexpr Methods kMethods[] = {{"lt", "gt", ""},         {"le", "ge", ""},
                                         {"__eq__", "__eq__", ""}, {"ne", "ne", ""},
                                         {"gt", "lt", ""},         {"ge", "le", ""}};
  return binary(kMethods[op], a, b,
                [op](const Operand& x, const Operand& y) { return map(*ops[op], {x, y}); });
}
Py_hash_t tensor_hash(PyObject* o) {
  return static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(o) >> 4);
}

// ---- items ----

Py_ssize_t tensor_length(PyObject* o) {
  if (const auto given = overridden_number("__len__", {o})) return *given;
  const Tensor t = unwrap(o);
  if (t.ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return static_cast<Py_ssize_t>(t.sizes()[0]);
}
/// Apart from the function that calls it, whose registers it would take. Null if nobody takes over.
[[gnu::noinline]] PyObject* overridden_subscript(PyObject* o, PyObject* key) {
  return overridden_method("__getitem__", {o, key});
}
PyObject* tensor_subscript(PyObject* o, PyObject* key) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_subscript(o, key)) return result;
    }
    const Tensor t = unwrap(o);
    if (PyLong_CheckExact(key)) {
      GS_CHECK_INDEX(t.ndim() > 0,
                     "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                     "`tensor.item<T>()` in C++ to "
                     "convert a 0-dim tensor to a number");
      return wrap(select(t, 0, unwrap_int(key)));
    }
    return wrap(getitem(t, key));
  });
}
int tensor_assign_subscript(PyObject* o, PyObject* key, PyObject* value) {
  return guard_int([&] {
    GS_CHECK_TYPE(value, "Tensor does not support deleting items");
    if (overrides_in_use) [[unlikely]] {
      if (PyObject* result = overridden_method("__setitem__", {o, key, value})) {
        Py_DECREF(result);
        return;
      }
    }
    setitem(unwrap(o), key, value);
  });
}
PyObject* tensor_item_at(PyObject* o, Py_ssize_t i) {
  return guard([&]() -> PyObject* {
    if (overrides_in_use) [[unlikely]] {
      const Owned index(PyLong_FromSsize_t(i));
      if (PyObject* result = overridden_subscript(o, index.p)) return result;
    }
    return wrap(select(unwrap(o), 0, i));
  });
}
int tensor_contains(PyObject* o, PyObject* value) {
  if (const auto given = overridden_number("__contains__", {o, value}))
    return static_cast<int>(*given);
  PyObject* any = nullptr;
  PyObject* equal = PyObject_RichCompare(o, value, Py_EQ);
  if (equal && is_tensor(equal)) any = PyObject_CallMethod(equal, "any", nullptr);
  Py_XDECREF(equal);
  if (!any) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_RuntimeError,
                   "Tensor.__contains__ only supports Tensor or scalar, but you passed in a %s.",
                   Py_TYPE(value)->tp_name);
    return -1;
  }
  const int result = PyObject_IsTrue(any);
  Py_DECREF(any);
  return result;
}
PyObject* tensor_iter(PyObject* o) {
  return guard([&]() -> PyObject* {
    const Tensor t = unwrap(o);
    GS_CHECK_TYPE(t.ndim() > 0, "iteration over a 0-d tensor");
    if (overrides_in_use) Py_DECREF(check(PyObject_CallMethod(o, "dim", nullptr)));
    PyObject* tuple =
        overrides_in_use ? check(PyObject_CallMethod(o, "unbind", "i", 0)) : wrap(unbind(t, 0));
    PyObject* iter = PyObject_GetIter(tuple);
    Py_DECREF(tuple);
    return iter;
  });
}

PyObject* tensor_repr(PyObject* o) {
  static PyObject* fn = nullptr;
  if (!fn) {
    PyObject* module = PyImport_ImportModule("gradstep._tensor_str");
    if (!module) return nullptr;
    fn = PyObject_GetAttrString(module, "tensor_repr");
    Py_DECREF(module);
    if (!fn) return nullptr;
  }
  return unary("__repr__", o, [](PyObject* x) { return check(PyObject_CallOneArg(fn, x)); });
}

PyMemberDef tensor_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {}};
PyGetSetDef tensor_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr}, {}};

#define GS_SLOT(id, fn) {id, reinterpret_cast<void*>(fn)}
PyType_Slot tensor_slots[] = {
    GS_SLOT(Py_tp_new, tensor_new),
    GS_SLOT(Py_tp_init, tensor_init),
    GS_SLOT(Py_tp_dealloc, tensor_dealloc),
    GS_SLOT(Py_tp_repr, tensor_repr),
    GS_SLOT(Py_tp_richcompare, tensor_compare),
    GS_SLOT(Py_tp_hash, tensor_hash),
    GS_SLOT(Py_tp_iter, tensor_iter),
    GS_SLOT(Py_tp_members, tensor_members),
    GS_SLOT(Py_tp_getset, tensor_getset),
    GS_SLOT(Py_nb_add, nb_add),
    GS_SLOT(Py_nb_subtract, nb_subtract),
    GS_SLOT(Py_nb_multiply, nb_multiply),
    GS_SLOT(Py_nb_true_divide, nb_true_divide),
    GS_SLOT(Py_nb_floor_divide, nb_floor_divide),
    GS_SLOT(Py_nb_remainder, nb_remainder),
    GS_SLOT(Py_nb_divmod, nb_divmod),
    GS_SLOT(Py_nb_power, nb_power),
    GS_SLOT(Py_nb_matrix_multiply, nb_matmul),
    GS_SLOT(Py_nb_and, nb_and),
    GS_SLOT(Py_nb_or, nb_or),
    GS_SLOT(Py_nb_xor, nb_xor),
    GS_SLOT(Py_nb_lshift, nb_lshift),
    GS_SLOT(Py_nb_rshift, nb_rshift),
    GS_SLOT(Py_nb_inplace_add, nb_inplace_add),
    GS_SLOT(Py_nb_inplace_subtract, nb_inplace_subtract),
    GS_SLOT(Py_nb_inplace_multiply, nb_inplace_multiply),
    GS_SLOT(Py_nb_inplace_true_divide, nb_inplace_true_divide),
    GS_SLOT(Py_nb_inplace_floor_divide, nb_inplace_floor_divide),
    GS_SLOT(Py_nb_inplace_remainder, nb_inplace_remainder),
    GS_SLOT(Py_nb_inplace_power, nb_inplace_power),
    GS_SLOT(Py_nb_inplace_and, nb_inplace_and),
    GS_SLOT(Py_nb_inplace_or, nb_inplace_or),
    GS_SLOT(Py_nb_inplace_xor, nb_inplace_xor),
    GS_SLOT(Py_nb_inplace_lshift, nb_inplace_lshift),
    GS_SLOT(Py_nb_inplace_rshift, nb_inplace_rshift),
    GS_SLOT(Py_nb_negative, nb_negative),
    GS_SLOT(Py_nb_positive, nb_positive),
    GS_SLOT(Py_nb_absolute, nb_absolute),
    GS_SLOT(Py_nb_invert, nb_invert),
    GS_SLOT(Py_nb_bool, nb_bool),
    GS_SLOT(Py_nb_int, nb_int),
    GS_SLOT(Py_nb_float, nb_float),
    GS_SLOT(Py_nb_index, nb_index),
    GS_SLOT(Py_mp_length, tensor_length),
    GS_SLOT(Py_mp_subscript, tensor_subscript),
    GS_SLOT(Py_mp_ass_subscript, tensor_assign_subscript),
    GS_SLOT(Py_sq_item, tensor_item_at),
    GS_SLOT(Py_sq_length, tensor_length),
    GS_SLOT(Py_sq_contains, tensor_contains),
    {Py_tp_doc, const_cast<char*>(
                    "A multi-dimensional array of one dtype that can record how it was computed.")},
    {0, nullptr}};
#undef GS_SLOT
PyType_Spec tensor_spec = {"gradstep.Tensor", sizeof(PyTensor), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, tensor_slots};

}  // namespace

// ---- wrapping ----

PyObject* wrap(const Tensor& t) {
  if (!t.defined()) Py_RETURN_NONE;
  if (t->py_object) return Py_NewRef(static_cast<PyObject*>(t->py_object));
  PyObject* o = check(new_object());
  attach(o, t);
  return o;
}

PyObject* wrap_as(PyTypeObject* type, const Tensor& t) {
  notice_subclass(type);
  PyObject* o = check(type->tp_alloc(type, 0));
  attach(o, t);
  return o;
}

void add_tensor_type(PyObject* module) {
  tensor_type = reinterpret_cast<PyTypeObject*>(check(PyType_FromSpec(&tensor_spec)));
  tensor_type->tp_name = "Tensor";  // as messages have it: 'Tensor' object has no attribute ..
  PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type));
  out_of_memory_error = check(PyErr_NewExceptionWithDoc("gradstep.OutOfMemoryError",
                                                        "Raised when a device has no memory left.",
                                                        PyExc_RuntimeError, nullptr));
  PyModule_AddObjectRef(module, "OutOfMemoryError", out_of_memory_error);
}

void set_tensor_attribute(const char* name, PyObject* value) {
  if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), name, value) < 0)
    throw PythonError();
}

}  // namespace gradstep::python
