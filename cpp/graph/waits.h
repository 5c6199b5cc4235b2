// SPDX-License-Identifier: Apache-2.0
// Who waits for whom: the last pass for a team (graph/team.h).
//   Waits waits(program, n_strands);
//   for (const Wait& w : waits.before(strand, step, item, uses)) ..   // items come as in the
//   program
// May include core, fn.
#pragma once
#include <cstdint>
#include <vector>

#include "graph/program.h"
#include "graph/uses.h"

namespace gradstep {

struct Wait {
  int32_t strand;
  uint32_t items;  // so many of its items are to be done
};

class Waits {
 public:
  Waits(const Program& p, int n_strands)
      : p_(p), n_(n_strands), waited_(at(n_strands) * at(n_strands), 0) {}

  /// What `item`, the next one of a strand, waits for that no item before it has waited for. Parts
  /// of one step are apart. `after`: by strand, how many of its items come before in any case.
  std::vector<Wait> before(int strand, size_t step, uint32_t item, const std::vector<Use>& uses,
                           const std::vector<uint32_t>& after = {});
  /// Drops what every other strand has waited for; worth it now and then.
  void forget();

 private:
  struct Access {
    Use use;
    int strand;
    uint32_t item;
    size_t step;
  };
  uint32_t& waited(int strand, int other) { return waited_[at(strand * n_ + other)]; }

  const Program& p_;
  int n_;
  std::vector<uint32_t> waited_;  // by strand and other strand: so many items
  std::vector<Access> accesses_;
};

}  // namespace gradstep
