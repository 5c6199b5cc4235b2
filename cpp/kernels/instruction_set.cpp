// SPDX-License-Identifier: Apache-2.0
// Which instruction set this machine has; see instruction_set.h.
#include "kernels/instruction_set.h"

#include <cstdlib>

namespace gradstep {

namespace {
int detect() {
#if defined(__x86_64__) && !defined(GS_SINGLE_ISA)
  __builtin_cpu_init();
  int level = __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : 2;
  if (const char* wish = std::getenv("GRADSTEP_ISA"); wish && wish[0] == 'v') {
    const int wanted = wish[1] - '0';
    if (wanted >= 2 && wanted < level) level = wanted;
  }
  return level;
#else
  return 0;
#endif
}
}  // namespace

int instruction_set() {
  static const int level = detect();
  return level;
}

}  // namespace gradstep
