// SPDX-License-Identifier: Apache-2.0
// Tensors to and from Python objects: numbers, nested lists, numpy arrays, DLPack.
#pragma once
#include <Python.h>

#include <optional>

#include "core/scalar.h"
#include "core/tensor.h"

namespace gradstep::python {

/// A copy of a number, nested lists, a tensor or anything with __array__, as torch.tensor() makes
/// it.
Tensor tensor_from_object(PyObject* data, std::optional<DType> dtype);
/// Shares memory with a numpy array where the dtype allows (copy = false), as torch.from_numpy().
Tensor tensor_from_numpy(PyObject* array);
/// The number in a tensor of one element.
Scalar item(const Tensor& t);
/// True for numpy arrays with one dimension or more, which must not pass for a number.
bool PyArray_like(PyObject* o);

/// A copy in pinned host memory, the tensor itself if it is there; python/cuda.cpp.
Tensor pinned(const Tensor& t);

void add_interop(PyObject* module);

}  // namespace gradstep::python
