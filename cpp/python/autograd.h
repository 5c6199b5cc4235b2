// SPDX-License-Identifier: Apache-2.0
// Autograd's Python face: nodes, hooks, modes, custom functions.
#pragma once
#include <Python.h>

#include <vector>

#include "graph/node.h"

namespace gradstep::python {

/// The Python object of a node (grad_fn); None for null.
PyObject* wrap_node(Ref<Node> node);
/// The Python functions that are a leaf's hooks.
std::vector<PyObject*> hooks_of_leaf(const TensorImpl& t);
void add_autograd(PyObject* module);

}  // namespace gradstep::python
