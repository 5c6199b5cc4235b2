// SPDX-License-Identifier: Apache-2.0
// How a call is cut into parts that several threads compute, with the bits of the whole call:
//   Cut cut;
//   if (cut_call(call, 2, cut)) ..   // then graph/team.cpp makes two calls of it
// Map calls are cut by the elements of their output. Other kernels register what they allow beside
// their implementation. May include core, fn.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/call.h"

namespace gradstep {

struct Cut {
  int64_t size = 0;           // what is divided counts so many,
  int64_t unit = 1;           // .. a part's begin is a multiple of this
  std::vector<int8_t> along;  // by operand: the axis that is divided, in proportion; -1: none
  const Op* op = nullptr;     // of a part. Null: the same op on parts of the operands; else it gets
  Params params;              // .. all operands, and these params followed by its begin and end
  double nanoseconds = 0;     // what the whole takes one thread, about
};

/// False where a call can't be cut into so many parts that do work of their own and raise nothing.
using CutFn = bool (*)(const Call& call, int parts, Cut& cut);

/// For static initialisers in kernels/.
struct CutRegistration {
  CutRegistration(std::string_view op, CutFn fn);
};

bool cut_call(const Call& call, int parts, Cut& cut);

/// Cuts along axis 0 of the first output, and axis 0 of those operands whose bit is set.
bool cut_rows(const Call& call, int parts, uint32_t operands, Cut& cut);

}  // namespace gradstep
