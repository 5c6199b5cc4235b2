// SPDX-License-Identifier: Apache-2.0
// The Python type Tensor: a hand-written heap type around a TensorImpl, with number slots and a
// free list, since pybind11's class_ costs ten times as much per call. pybind11 functions take and
// return Tensor through the type_caster at the end.
#pragma once
#include <Python.h>
#include <pybind11/pybind11.h>

#include "core/tensor.h"

namespace gradstep::python {

struct PyTensor {
  PyObject_HEAD TensorImpl* impl;  // owned
  PyObject* dict;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) {
  // The middle test is Parameter's: it saves the walk over the bases.
  return Py_TYPE(o) == tensor_type || Py_TYPE(o)->tp_base == tensor_type ||
         PyObject_TypeCheck(o, tensor_type);
}
/// The tensor of a Python object for which is_tensor() holds.
inline Tensor unwrap(PyObject* o) { return Tensor(reinterpret_cast<PyTensor*>(o)->impl); }

/// The Python object of a tensor, a new reference: the one that lives already or a new one. None if
/// undefined.
PyObject* wrap(const Tensor& t);
/// A new object of a subclass that shares t's storage (Tensor._make_subclass).
PyObject* wrap_as(PyTypeObject* type, const Tensor& t);

/// Sets the Python error of the exception in flight; returns null.
PyObject* translate_exception();

/// Runs f and turns C++ exceptions into Python's.
template <class F>
PyObject* guard(F&& f) {
  try {
    return f();
  } catch (...) {
    return translate_exception();
  }
}
template <class F>
int guard_int(F&& f) {
  try {
    f();
    return 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}

/// Thrown where a Python error is already set.
struct PythonError {};
/// Throws it if the object is null; returns the object.
inline PyObject* check(PyObject* o) {
  if (!o) throw PythonError();
  return o;
}

/// A function of any METH_ convention in a PyMethodDef.
template <class F>
PyCFunction as_function(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

/// A new reference that is dropped at the end of the scope; throws if it is null.
struct Owned {
  PyObject* p;
  explicit Owned(PyObject* o) : p(check(o)) {}
  ~Owned() { Py_DECREF(p); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

void add_tensor_type(PyObject* module);
/// For other files: adds a getset or method to the type before the module is complete.
void set_tensor_attribute(const char* name, PyObject* value);

}  // namespace gradstep::python

namespace pybind11::detail {
template <>
struct type_caster<gradstep::Tensor> {
  PYBIND11_TYPE_CASTER(gradstep::Tensor, const_name("Tensor"));
  bool load(handle src, bool) {
    if (src.is_none()) return true;
    if (!gradstep::python::is_tensor(src.ptr())) return false;
    value = gradstep::python::unwrap(src.ptr());
    return true;
  }
  static handle cast(const gradstep::Tensor& t, return_value_policy, handle) {
    return gradstep::python::wrap(t);
  }
};
}  // namespace pybind11::detail
