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
  static constexpr int8_t kWhole = -1, kElements = -2;

  uint64_t constant = 0;  // bits of the first 64 operands that nobody writes: given
  int64_t size = 0;       // what is divided counts so many,
  int64_t unit = 1;       // .. a part's begin is a multiple of this
  // By operand: the axis that is divided, in proportion; kWhole; or kElements, see share_of().
  std::vector<int8_t> along;
  const Op* op = nullptr;  // of a part. Null: the same op on parts of the operands; else it gets
  Params params;           // .. all operands, and these params followed by its begin and end
  // Work on what is whole that is left when all parts are there: one call of `then` with the same
  // operands and params, or some, each for rows of the output, whose begin and end follow.
  const Op* then = nullptr;
  int64_t then_rows = 0;
  // Parts of sums: of what is whole only the first one writes outputs. All calls get the address of
  // this many bytes of other memory as their last number.
  size_t more_bytes = 0;
  double nanoseconds = 0;  // what the whole takes one thread, about
};

/// False where a call can't be cut into so many parts that do work of their own and raise nothing.
using CutFn = bool (*)(const Call& call, int parts, Cut& cut);

/// For static initialisers in kernels/.
struct CutRegistration {
  CutRegistration(std::string_view op, CutFn fn);
};

bool cut_call(const Call& call, int parts, uint64_t constant, Cut& cut);

/// Where part i of n elements begins, and part i - 1 ends.
inline int64_t share_of(int64_t n, int64_t i, int64_t parts) {
  constexpr int64_t kUnit = 16;
  return i == parts ? n : n * i / parts / kUnit * kUnit;
}

/// Cuts along axis 0 of the first output, and axis 0 of those operands whose bit is set.
bool cut_rows(const Call& call, int parts, uint32_t operands, Cut& cut);

}  // namespace gradstep
