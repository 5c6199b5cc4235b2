// SPDX-License-Identifier: Apache-2.0
// The small Python types: dtype, device, Size, layout, memory_format, Generator; and numbers both
// ways.
#pragma once
#include <Python.h>

#include <optional>

#include "core/generator.h"
#include "core/scalar.h"
#include "core/tensor.h"

namespace gradstep::python {

void add_types(PyObject* module);

PyObject* wrap(DType t);  // new reference to the one object of that dtype
PyObject* wrap(Device d);
bool is_dtype(PyObject* o);
DType unwrap_dtype(PyObject* o);
/// A device object or a string such as "cuda:0".
bool is_device(PyObject* o);
Device unwrap_device(PyObject* o);
/// Where tensors go that were not told where: torch.set_default_device, `with torch.device(..)`.
/// "cuda:1" as a device; PyTorch's error for other texts.
Device parse_device(const char* text);
Device default_device();
void set_default_device(Device d);  // outside of `with` blocks, in this thread
/// The device that was asked for, or else the default one, with its number; raises PyTorch's error
/// where this machine or build does not have it.
Device usable_device(std::optional<Device> d);
bool is_generator(PyObject* o);
/// An object for a device's default generator.
PyObject* wrap_default_generator(Device d);
Generator* unwrap_generator(PyObject* o);
bool is_layout(PyObject* o);
bool is_memory_format(PyObject* o);

/// A Python number, numpy scalar or bool; nothing for other objects (tensors too).
std::optional<Scalar> number(PyObject* o);
/// A number or a tensor of one element.
Scalar unwrap_scalar(PyObject* o);
int64_t unwrap_int(PyObject* o);

}  // namespace gradstep::python
