// SPDX-License-Identifier: Apache-2.0
// Checks of values that raise when they are computed, not when they are written down: on a GPU at
// the next synchronisation, in a captured step at each replay.
//   require_all(le(x, one), ErrorKind::Value, "x is above 1");
#pragma once
#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace gradstep {

/// Raises `message` where an element of `ok` is zero.
void require_all(const Tensor& ok, ErrorKind kind, const std::string& message);

}  // namespace gradstep
