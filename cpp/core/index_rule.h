// SPDX-License-Identifier: Apache-2.0
// What counts as a valid index and how an invalid one is reported: each family of ops has PyTorch's
// own way.
#pragma once
#include <cstdint>

#include "core/error.h"

namespace gradstep {

enum class IndexRule : int64_t {
  Advanced,  // x[index], index_fill: negative ones count from the end; IndexError
  Select,    // index_select, embedding: IndexError
  Gather,    // gather, scatter, index_add: RuntimeError
  Copy,      // index_copy: IndexError
  Take       // take, put_: negative ones count from the end; IndexError
};

constexpr bool allows_negative(IndexRule rule) {
  return rule == IndexRule::Advanced || rule == IndexRule::Take;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_index(IndexRule rule, int64_t index,
                                                              int64_t dim, int64_t size) {
  switch (rule) {
    case IndexRule::Advanced:
      fail(ErrorKind::Index, "index {} is out of bounds for dimension {} with size {}", index, dim,
           size);
    case IndexRule::Select: fail(ErrorKind::Index, "index out of range in self");
    case IndexRule::Gather:
      fail(ErrorKind::Runtime, "index {} is out of bounds for dimension {} with size {}", index,
           dim, size);
    case IndexRule::Copy:
      fail(ErrorKind::Index,
           "index_copy_(): index {} is out of bounds for dimension {} with size {}", index, dim,
           size);
    case IndexRule::Take:
      fail(ErrorKind::Index, "out of range: tried to access index {} on a tensor of {} elements.",
           index, size);
  }
  __builtin_unreachable();
}

/// The index as a position in [0, size), or the error.
inline int64_t checked_index(IndexRule rule, int64_t index, int64_t dim, int64_t size) {
  const int64_t at = index < 0 && allows_negative(rule) ? index + size : index;
  if (static_cast<uint64_t>(at) >= static_cast<uint64_t>(size)) [[unlikely]] {
    fail_index(rule, index, dim, size);
  }
  return at;
}

}  // namespace gradstep
