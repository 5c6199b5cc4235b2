// SPDX-License-Identifier: Apache-2.0
// What code that backward() calls, a hook, can ask about the pass that runs. May include core.
#pragma once
#include <cstdint>

namespace gradstep {

class Node;

/// The number of the backward pass that runs in this thread, the innermost one; 0: none.
uint32_t current_backward();
/// Whether it computes the gradients of given tensors only: `inputs` of backward(), or grad().
bool backward_is_restricted();
/// Whether it runs this node, now or before.
bool backward_runs(Node& node);

}  // namespace gradstep
