// SPDX-License-Identifier: Apache-2.0
// What reads and writes at indexed places share: the axes of a call, and the places that its index
// tensor names.
//   Indexed x = indexed_by_axis(call, ...);  move_indexed(call, x, kRead);
#pragma once
#include "core/index_rule.h"
#include "cuda/units.h"

namespace gradstep::cuda {

/// The places of an index tensor, in elements of the indexed tensor.
struct Places {
  const int64_t* index;
  int64_t size, step;
  int64_t skipped = INT64_MIN;  // an index that names nothing
  int64_t dim = 0;              // its number in messages
  IndexRule rule = IndexRule::Advanced;
  bool wraps = false;  // negative ones count from the end
  bool ready = false;  // checked already; negative ones name nothing
  Reporter reporter{};

  /// Element i of the index tensor as a place; -1: nothing, which is reported if it is an error.
  GS_DEVICE int64_t at(int64_t i) const {
    const int64_t v = index[i];
    if (ready) return v < 0 ? -1 : v * step;
    const int64_t k = v < 0 && wraps ? v + size : v;
    if (uint64_t(k) < uint64_t(size)) return v == skipped ? -1 : k * step;
    if (v != skipped) report_trouble(reporter, Trouble::Index, int64_t(rule), v, dim, size);
    return -1;
  }
};
Places places_of(const Call& call, const TensorImpl& index, IndexRule rule, int64_t dim,
                 int64_t size, int64_t step);

/// A tensor (self) that is indexed, and one (flat) whose elements are or get those at the places.
/// Strides are in elements. Along `step` axes places may repeat, and the last axis comes first
/// here; elsewhere self has axes of its own.
struct Indexed {
  struct Axis {
    int64_t size, self, flat, index;
    bool step;
    bool own_index() const { return step || index != 0; }
  };
  int n = 0;
  Axis axes[kMaxDims];
  Places places;
  char* self;
  char* flat;
  DType dtype;

  void add(int64_t size, int64_t self_stride, int64_t flat_stride, int64_t index_stride,
           bool step) {
    axes[n++] = {size, self_stride, flat_stride, index_stride, step};
  }
  int64_t numel() const {
    int64_t count = 1;
    for (int k = 0; k < n; ++k) count *= axes[k].size;
    return count;
  }
};

/// The innermost first: those with the smaller first stride, or the smaller second one.
inline void sort_axes(Indexed& x, int64_t Indexed::Axis::* first, int64_t Indexed::Axis::* second) {
  const auto before = [&](const Indexed::Axis& a, const Indexed::Axis& b) {
    return a.*first != b.*first ? a.*first < b.*first : a.*second < b.*second;
  };
  for (int i = 1; i < x.n; ++i) {
    const Indexed::Axis a = x.axes[i];
    int at = i;
    for (; at > 0 && before(a, x.axes[at - 1]); --at) x.axes[at] = x.axes[at - 1];
    x.axes[at] = a;
  }
}

enum class Move { Read, Write };
/// flat = self at the places (0 where there is none), or the other way round; places that repeat
/// must get the same.
void move_indexed(const Call& call, Indexed x, Move move);

/// Several index tensors as one array of places, row-major in their shape.
struct JoinedIndex {
  const int64_t* places;  // in units; negative ones name nothing
  int64_t unit;           // in elements of self
  int64_t span;           // all places are below, in units
};
/// Of in(first) and all that follow, into `out`; null: they are checked only.
JoinedIndex join_index(const Call& call, int first, const TensorImpl& self, int64_t* out);

/// The operands of index and index_put: self = [indexed axes, rest], flat = [B, rest].
Indexed indexed_axes(const Call& call, int first, const TensorImpl& self, const TensorImpl& flat,
                     const JoinedIndex* joined = nullptr);
/// Those of gather and scatter.
Indexed indexed_along(const Call& call, const TensorImpl& self, const TensorImpl& flat,
                      const TensorImpl& index);

/// counts[x[i]] += 1, after setting all to 0; values outside are left out.
void count_values(const Call& call, const int64_t* x, int64_t n, int64_t* counts, int64_t bins);

}  // namespace gradstep::cuda
