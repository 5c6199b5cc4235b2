// SPDX-License-Identifier: Apache-2.0
// Instantiates the loops of the functor lists below; nothing else. Compiled once for each
// instruction set.
#include "kernels/map_loops.h"

namespace gradstep {
inline namespace GS_ISA {

void register_activation_loops() { register_loops(Activations{} + Losses{}); }

}  // namespace GS_ISA
}  // namespace gradstep
