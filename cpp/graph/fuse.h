// SPDX-License-Identifier: Apache-2.0
// Passes over the steps of a program before it is sealed: they change how often memory is walked
// over, never a value. See the notes in fuse.cpp. May include core, fn.
#pragma once
#include "graph/program.h"

namespace gradstep {

/// Removes calls whose results nobody looks at.
void drop_dead_steps(Program& p);
/// Puts map calls over the same elements together.
void fuse_maps(Program& p);

/// Computes large cheap results a second time where that makes the arena smaller.
void recompute_cheap_steps(Program& p);

/// Whether output `out` of a step may lie where its input `in`, of the same geometry, does: each
/// element of the input is read before that of the output is written.
bool may_overwrite(const Step& s, int out, int in);

}  // namespace gradstep
