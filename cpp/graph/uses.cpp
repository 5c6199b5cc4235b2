// SPDX-License-Identifier: Apache-2.0
#include "graph/uses.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

namespace gradstep {

std::pair<ptrdiff_t, ptrdiff_t> span_of(const TensorImpl& t, ptrdiff_t from) {
  if (t.numel == 0) return {from, from};
  ptrdiff_t low = 0, high = 0;
  for (int d = 0; d < t.ndim(); ++d) {
    const ptrdiff_t reach = (t.sizes[d] - 1) * t.strides[d];
    (reach < 0 ? low : high) += reach;
  }
  const auto item = static_cast<ptrdiff_t>(element_size(t.dtype));
  return {from + low * item, from + (high + 1) * item};
}

bool has_each_element_once(const TensorImpl& t) {
  if (t.contiguous || t.numel == 0) return true;
  std::vector<std::pair<ptrdiff_t, ptrdiff_t>> axes;  // stride, reach
  for (int d = 0; d < t.ndim(); ++d) {
    const ptrdiff_t stride = std::abs(t.strides[d]);
    if (t.sizes[d] > 1) axes.emplace_back(stride, (t.sizes[d] - 1) * stride);
  }
  std::sort(axes.begin(), axes.end());
  ptrdiff_t reach = 0;  // of the axes inside
  for (const auto& [stride, own] : axes) {
    if (stride <= reach) return false;
    reach += own;
  }
  return true;
}

bool are_interleaved(const TensorImpl& a, const TensorImpl& b) {
  if (a.dtype != b.dtype || a.sizes != b.sizes || a.strides != b.strides) return false;
  const auto item = static_cast<ptrdiff_t>(element_size(a.dtype));
  const ptrdiff_t bytes = std::abs(a.data - b.data), distance = bytes / item;
  if (bytes % item != 0) return false;
  // Blocks no longer than the distance repeat every `period`, and both fit into one.
  ptrdiff_t block = 1, period = 0;
  for (int d = 0; d < a.ndim(); ++d) {
    const ptrdiff_t stride = a.strides[d];
    if (a.sizes[d] == 1) continue;
    if (stride <= distance) block += (a.sizes[d] - 1) * stride;
    if (stride > distance) period = std::gcd(period, stride);
    if (stride < 0) return false;
  }
  return block <= distance && (period == 0 || distance + block <= period);
}

Use use_of(const Program& p, int32_t operand, bool write) {
  const OperandView& v = p.operands[at(operand)];
  const auto [begin, end] = span_of(*v.tensor, v.from_base);
  return {v.place, operand, begin, end, write};
}

std::vector<Use> uses_of(const Program& p, const Step& s) {
  std::vector<Use> uses;
  uses.reserve(s.operands.size());
  for (size_t k = 0; k < s.operands.size(); ++k) {
    if (s.operands[k] < 0) continue;
    uses.push_back(use_of(p, s.operands[k], writes_operand(*s.op, s.n_out, static_cast<int>(k))));
  }
  return uses;
}

bool meet(const Program& p, const Use& a, const Use& b) {
  if (a.place == b.place) return a.begin < b.end && b.begin < a.end;
  const Place &x = p.places[at(a.place)], &y = p.places[at(b.place)];
  if (!is_outside(x) || !is_outside(y)) return false;
  // Program::gradients_fit has seen to it that they are apart.
  if ((x.home == Home::Gradient && y.home == Home::Outside) ||
      (x.home == Home::Outside && y.home == Home::Gradient)) {
    return false;
  }
  if (x.home != Home::Outside || y.home != Home::Outside) return true;
  return x.base + a.begin < y.base + b.end && y.base + b.begin < x.base + a.end;
}

bool meet_in_arena(const Program& p, const Use& a, const Use& b) {
  const Place &x = p.places[at(a.place)], &y = p.places[at(b.place)];
  if (a.place != b.place && x.home == Home::Inside && y.home == Home::Inside)
    return x.base + a.begin < y.base + b.end && y.base + b.begin < x.base + a.end;
  return meet(p, a, b);
}

bool conflict(const Program& p, const std::vector<Use>& a, const std::vector<Use>& b) {
  for (const Use& x : a) {
    for (const Use& y : b) {
      if ((x.write || y.write) && meet(p, x, y)) return true;
    }
  }
  return false;
}

bool on_one_device(const Program& p, const Step& s) {
  const Device device = p.operands[at(s.operands[0])].tensor->device;
  return std::all_of(s.operands.begin(), s.operands.end(), [&](int32_t o) {
    return o < 0 || p.operands[at(o)].tensor->device == device;
  });
}

bool is_map(const Step& s) { return s.op->loops[0][static_cast<int>(s.compute)] != nullptr; }

bool is_named(const Step& s, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const char* n) { return std::strcmp(s.op->name, n) == 0; });
}

bool is_quiet(const Step& s) {
  if (s.op->draws || s.n_out == 0) return false;
  if (s.op->rule != TypeRule::None) return s.compute != Compute::I64;  // division by zero raises
  return is_named(s, {"copy", "fill", "fused_map", "matmul", "sum", "mean", "amax", "amin", "cat",
                      "repeat", "flip", "triangle", "sequence"});
}

}  // namespace gradstep
