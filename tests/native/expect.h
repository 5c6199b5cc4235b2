// SPDX-License-Identifier: Apache-2.0
// EXPECT(a == b) prints what does not hold and goes on; main() returns n_failed != 0.
#pragma once
#include <cstdio>

inline int n_failed = 0;

#define EXPECT(condition)                                                          \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++n_failed;                                                                  \
    }                                                                              \
  } while (false)
