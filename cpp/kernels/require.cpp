// SPDX-License-Identifier: Apache-2.0
// require_all(; ok), bool and contiguous: raises the message at the address in slot 0, of the kind
// in slot 1, where an element is false.
#include <algorithm>
#include <bit>

#include "core/error.h"
#include "graph/call.h"

namespace gradstep {

namespace {

void require_all(const Call& call) {
  const TensorImpl& ok = call.in(0);
  const bool* const p = reinterpret_cast<const bool*>(ok.data);
  if (std::find(p, p + ok.numel, false) == p + ok.numel) return;
  fail(static_cast<ErrorKind>(call.i(1)), "{}",
       std::bit_cast<const char*>(static_cast<intptr_t>(call.i(0))));
}
GS_CPU_KERNEL("require_all", require_all);

}  // namespace

}  // namespace gradstep
