// SPDX-License-Identifier: Apache-2.0
// Instantiates the kernels of the functor lists below; nothing else.
#include "cuda/map.h"

namespace gradstep::cuda {

static const bool kRegistered = (register_maps(TernaryOps{} + Comparisons{} + BitwiseOps{}), true);

}  // namespace gradstep::cuda
