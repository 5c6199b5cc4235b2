// SPDX-License-Identifier: Apache-2.0
#include "graph/cut.h"

#include <unordered_map>

#include "graph/fused_map.h"

namespace gradstep {

namespace {

std::unordered_map<const Op*, CutFn>& registered() {
  static auto* all = new std::unordered_map<const Op*, CutFn>;  // never destroyed, as the ops
  return *all;
}

/// Elements of a map are apart: any axis of the output will do, the outermost that is long enough
/// keeps parts in one piece of memory.
bool cut_map(const Call& call, int parts, double per_element, Cut& cut) {
  const TensorImpl& out = call.out(0);
  int axis = 0;
  while (axis < out.ndim() && out.sizes[axis] < parts) ++axis;
  if (axis == out.ndim() || out.numel == 0) return false;
  cut.size = out.sizes[axis];
  for (int k = 0; k < call.n_out + call.n_in; ++k) {
    const TensorImpl* const t = call.operands[k];
    const int own = t ? axis - (out.ndim() - t->ndim()) : -1;
    cut.along.push_back(static_cast<int8_t>(own >= 0 && t->sizes[own] != 1 ? own : -1));
  }
  cut.nanoseconds = per_element * static_cast<double>(out.numel);
  return true;
}

}  // namespace

CutRegistration::CutRegistration(std::string_view op, CutFn fn) { registered()[&Op::get(op)] = fn; }

bool cut_rows(const Call& call, int parts, uint32_t operands, Cut& cut) {
  cut.size = call.out(0).sizes[0];
  if (cut.size < parts) return false;
  for (int k = 0; k < call.n_out + call.n_in; ++k) {
    const TensorImpl* const t = call.operands[k];
    const bool divided = t && (operands >> k & 1);
    if (divided && (t->ndim() == 0 || t->sizes[0] % cut.size != 0)) return false;
    cut.along.push_back(static_cast<int8_t>(divided ? 0 : -1));
  }
  return true;
}

bool cut_call(const Call& call, int parts, uint64_t constant, Cut& cut) {
  static const Op &copy = Op::get("copy"), &fill = Op::get("fill"), &fused = Op::get("fused_map");
  cut = Cut();
  cut.constant = constant;
  if (call.op->loops[0][static_cast<int>(call.compute)])
    return call.compute != Compute::I64 && cut_map(call, parts, 0.4, cut);
  if (call.op == &copy || call.op == &fill) return cut_map(call, parts, 0.15, cut);
  if (call.op == &fused) {
    const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(call.i(0)));
    return cut_map(call, parts, 0.2 * static_cast<double>(plan.members.size()), cut);
  }
  const auto found = registered().find(call.op);
  return found != registered().end() && found->second(call, parts, cut);
}

}  // namespace gradstep
