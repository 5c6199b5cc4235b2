// SPDX-License-Identifier: Apache-2.0
// What the rest of the bindings tells a recording: which launches belong to a parameter group,
// whose numbers are read again before each replay.
#pragma once
#include <Python.h>

#include <span>

#include "optim/optimizer.h"

namespace gradstep::python {

/// The value of a tensor that is looked at only where state is made: allowed in the first call of a
/// captured function, which is not recorded; later calls do not get there.
double read_at_first(const Tensor& t);

/// `const LiveScope live(group, read);` around the launches of an optimizer's group.
struct LiveScope {
  /// Reads the numbers of a group as they are now; false if another variant of the algorithm runs
  /// then.
  using Read = bool (*)(PyObject* name, PyObject* group, const Op* op, double* numbers, size_t* n);
  LiveScope(PyObject* name, PyObject* group, const Op* op, Read read);
  ~LiveScope();
  LiveScope(const LiveScope&) = delete;
};

}  // namespace gradstep::python
