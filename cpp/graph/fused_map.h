// SPDX-License-Identifier: Apache-2.0
// What a call of the op `fused_map` computes: several map calls over the same elements, run one
// after the other on a piece that stays in L1. The plan is made by graph/fuse.cpp; the kernel finds
// its address in slot 0 of the call's params. May include core, fn.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "graph/call.h"

namespace gradstep {

struct FusedMap {
  /// The elements of one tensor, as a member reads or writes them.
  struct Value {
    DType dtype;
    int16_t load = -1;   // the input of the call that holds it before
    int16_t store = -1;  // the output of the call that keeps it
  };
  struct Member {
    const Op* op;  // a map op, copy or fill
    Compute compute;
    uint8_t n_in;
    int16_t in[kMaxMapOperands];  // values; -1: the next number of params
    int16_t out;
    Params params;
  };
  static constexpr size_t kMaxValues = 24;

  std::vector<Value> values;
  std::vector<Member> members;
  /// What the kernel makes of it at its first run.
  mutable std::shared_ptr<void> compiled;
};

}  // namespace gradstep
