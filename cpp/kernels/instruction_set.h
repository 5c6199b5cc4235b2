// SPDX-License-Identifier: Apache-2.0
// One table of functions per instruction set, one of them chosen when the program starts.
//   file compiled per set:  namespace gradstep { inline namespace GS_ISA { const Table kTable =
//   {...}; } } file that calls:        GS_DECLARE_ISA_TABLE(Table, kTable)   ...
//   GS_ISA_TABLE(kTable).f(x);
// See cmake/instruction_sets.cmake for the flags. Includes nothing.
#pragma once

#ifndef GS_ISA
#define GS_ISA generic
#endif

#if defined(__x86_64__) && !defined(GS_SINGLE_ISA)
#define GS_DECLARE_ISA_TABLE(Table, name) \
  namespace gradstep::v2 {                \
  extern const Table name;                \
  }                                       \
  namespace gradstep::v3 {                \
  extern const Table name;                \
  }                                       \
  namespace gradstep::v4 {                \
  extern const Table name;                \
  }
#define GS_ISA_TABLE(name)                                     \
  (::gradstep::instruction_set() == 4   ? ::gradstep::v4::name \
   : ::gradstep::instruction_set() == 3 ? ::gradstep::v3::name \
                                        : ::gradstep::v2::name)
#else
#define GS_DECLARE_ISA_TABLE(Table, name) \
  namespace gradstep::generic {           \
  extern const Table name;                \
  }
#define GS_ISA_TABLE(name) (::gradstep::generic::name)
#endif

namespace gradstep {

/// The x86-64 micro-architecture level in use: 4 (AVX-512), 3 (AVX2 and FMA) or 2; 0 on other
/// machines. The environment variable GRADSTEP_ISA=v2|v3|v4 lowers it, for tests.
int instruction_set();

}  // namespace gradstep
