// SPDX-License-Identifier: Apache-2.0
#include "graph/waits.h"

#include <algorithm>

namespace gradstep {

std::vector<Wait> Waits::before(int strand, size_t step, uint32_t item,
                                const std::vector<Use>& uses, const std::vector<uint32_t>& after) {
  std::vector<Wait> found;
  for (int other = 0; other < n_; ++other) {
    if (other == strand) continue;
    uint32_t needed = waited(strand, other);
    if (!after.empty()) needed = std::max(needed, after[at(other)]);
    for (const Access& a : accesses_) {
      if (a.strand != other || a.step == step || a.item < needed) continue;
      const bool waits = std::any_of(uses.begin(), uses.end(), [&](const Use& u) {
        return (u.write || a.use.write) && meet_in_arena(p_, u, a.use);
      });
      if (waits) needed = a.item + 1;
    }
    if (needed == waited(strand, other)) continue;
    waited(strand, other) = needed;
    found.push_back({other, needed});
  }
  for (const Use& u : uses) accesses_.push_back({u, strand, item, step});
  return found;
}

void Waits::forget() {
  std::erase_if(accesses_, [&](const Access& a) {
    for (int other = 0; other < n_; ++other) {
      if (other != a.strand && waited(other, a.strand) <= a.item) return false;
    }
    return true;
  });
}

}  // namespace gradstep
