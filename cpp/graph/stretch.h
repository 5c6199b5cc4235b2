// SPDX-License-Identifier: Apache-2.0
// The first pass for a team (graph/team.h): which steps of a sealed program threads share.
//   for (const Stretch& s : find_stretches(program, calls, num_threads(), 25e3)) ..
// May include core, fn.
#pragma once
#include <span>
#include <vector>

#include "graph/cut.h"
#include "graph/program.h"

namespace gradstep {

/// Steps [begin, begin + cuts.size()). A call whose cut has no size stays whole.
struct Stretch {
  size_t begin = 0;
  std::vector<Cut> cuts;
};

/// Those that take at least so many nanoseconds in one thread; 0: all that can be shared.
std::vector<Stretch> find_stretches(const Program& p, std::span<const Call> calls, int n_threads,
                                    double least_nanoseconds);

}  // namespace gradstep
