// SPDX-License-Identifier: Apache-2.0
// What the steps of a program read and write, for those who change their order (graph/fuse.cpp,
// graph/team.cpp). May include core, fn.
#pragma once
#include <initializer_list>
#include <vector>

#include "graph/program.h"

namespace gradstep {

inline size_t at(int32_t k) { return static_cast<size_t>(k); }

struct Use {
  int32_t place, operand;
  ptrdiff_t begin, end;  // bytes of the place
  bool write;
};

Use use_of(const Program& p, int32_t operand, bool write);
std::vector<Use> uses_of(const Program& p, const Step& s);

/// The bytes that a tensor whose first element is byte `from` of a place spans there.
std::pair<ptrdiff_t, ptrdiff_t> span_of(const TensorImpl& t, ptrdiff_t from);

/// False if a view may have an element of its storage twice (expand, as_strided).
bool has_each_element_once(const TensorImpl& t);
/// Whether two views of a storage surely share no element although their spans meet: columns of one
/// matrix, heads that lie side by side.
bool are_interleaved(const TensorImpl& a, const TensorImpl& b);

inline bool is_outside(const Place& p) { return p.home != Home::Inside && p.home != Home::Escapes; }

/// Whether two uses may be of the same memory; before the arena is planned, that of other places
/// inside is apart.
bool meet(const Program& p, const Use& a, const Use& b);
/// The same once it is planned: places inside lie where they lie.
bool meet_in_arena(const Program& p, const Use& a, const Use& b);
/// Whether the order of two calls makes a difference.
bool conflict(const Program& p, const std::vector<Use>& a, const std::vector<Use>& b);

bool on_one_device(const Program& p, const Step& s);
bool is_map(const Step& s);
bool is_named(const Step& s, std::initializer_list<const char*> names);
/// Calls that raise for no values and do nothing but write their outputs.
bool is_quiet(const Step& s);

}  // namespace gradstep
