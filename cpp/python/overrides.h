// SPDX-License-Identifier: Apache-2.0
// The __torch_function__ protocol: subclasses of Tensor, other objects with that attribute and
// modes take over calls of functions, methods, operators and properties. See Note [Overrides] in
// overrides.cpp.
#pragma once
#include <Python.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace gradstep::python {

/// True once there has been an object or a mode that takes calls over; until then nobody asks.
extern bool overrides_in_use;

/// Which arguments of a native function are asked.
enum class Overridable : uint8_t { Never, ByModes, ByArguments };
Overridable how_overridable(std::string_view function);

/// What a call gives that an argument or a mode takes over, a new reference; null without an error
/// if nobody does. `func` is what the override is told, borrowed.
PyObject* overridden(PyObject* func, PyObject* const* args, Py_ssize_t n, PyObject* names,
                     Overridable by = Overridable::ByArguments);
/// The same for an operator; `name` is the method of Tensor that it stands for.
PyObject* overridden_method(const char* name, std::initializer_list<PyObject*> args);
/// The same for `a op b`, with the first argument a tensor: of 2 - x, __rsub__(x, 2). Errors of the
/// type TypeError become NotImplemented.
PyObject* overridden_operator(const char* name, const char* reflected, PyObject* a, PyObject* b);

/// Told of each new object of a subclass of Tensor.
void notice_subclass(PyTypeObject* type);
/// True if an argument or a mode would take over a call with this object.
bool takes_over(PyObject* o);

/// From here on, overrides are looked for. Defined by whoever has functions or properties.
void arm_functions();
void arm_properties();

void add_overrides(PyObject* module);

}  // namespace gradstep::python
