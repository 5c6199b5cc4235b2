// SPDX-License-Identifier: Apache-2.0
// x[key] and x[key] = value with Python objects as keys.
#pragma once
#include <Python.h>

#include "core/tensor.h"

namespace gradstep::python {

/// Throws Error or PythonError.
Tensor getitem(const Tensor& self, PyObject* key);
void setitem(const Tensor& self, PyObject* key, PyObject* value);

/// For the type's slots: a new reference or null, 0 or -1, with the Python error set.
PyObject* tensor_getitem(PyObject* self, PyObject* key);
int tensor_setitem(PyObject* self, PyObject* key, PyObject* value);

}  // namespace gradstep::python
