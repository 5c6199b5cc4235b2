// SPDX-License-Identifier: Apache-2.0
// Autograd's Python face: nodes, hooks, modes, custom functions.
#pragma once
#include <Python.h>

#include "graph/node.h"

namespace gradstep::python {

/// The Python object of a node (grad_fn); None for null.
PyObject* wrap_node(Ref<Node> node);
void add_autograd(PyObject* module);

}  // namespace gradstep::python
