// SPDX-License-Identifier: Apache-2.0
// Tensors to and from Python objects: numbers, nested lists, numpy arrays, DLPack.
#pragma once
#include <Python.h>

#include <optional>

#include "core/scalar.h"
#include "core/tensor.h"

namespace pybind11 {
class dtype;
}

namespace gradstep::python {

/// Ours for one of numpy's types, which errors call an array's.
DType numpy_type(const pybind11::dtype& d);
/// numpy's for one of ours; a TypeError where there is none (bfloat16).
pybind11::dtype numpy_dtype(DType t);

/// A copy of a number, nested lists, a tensor or anything with __array__, as torch.tensor() makes
/// it.
Tensor tensor_from_object(PyObject* data, std::optional<DType> dtype);
/// Shares memory with a numpy array where the dtype allows (copy = false), as torch.from_numpy().
Tensor tensor_from_numpy(PyObject* array);
/// A tensor in memory that is somebody else's until free(owner); strides count elements and are not
/// negative.
Tensor tensor_of_memory(void* data, const Dims& sizes, const Dims& strides, DType dtype,
                        Device device, void (*free)(void*), void* owner);
/// Shares the memory of an object with __cuda_array_interface__; undefined for any other. Where the
/// object has no elements, and so no memory, `device` says where the tensor is.
Tensor tensor_from_cuda_array(PyObject* o, std::optional<Device> device);
/// Shares the memory of another library's tensor, by DLPack.
Tensor tensor_from_dlpack(PyObject* o, std::optional<Device> device, std::optional<bool> copy);
/// The number in a tensor of one element.
Scalar item(const Tensor& t);
/// True for numpy arrays with one dimension or more, which must not pass for a number.
bool PyArray_like(PyObject* o);

/// A copy in pinned host memory, the tensor itself if it is there; python/cuda.cpp.
Tensor pinned(const Tensor& t);

void add_interop(PyObject* module);
void add_memory_sharing();  // DLPack and __cuda_array_interface__: python/dlpack.cpp

}  // namespace gradstep::python
