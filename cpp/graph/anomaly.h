// SPDX-License-Identifier: Apache-2.0
// Anomaly detection: with it on, every new node notes where it was made, the engine looks for NaN
// in every gradient that a node returns, and tells for a node that fails where it was made. The
// switch is for the whole process, as in PyTorch. May include core.
#pragma once
#include "core/tensor.h"

namespace gradstep {

struct Anomaly {
  bool on = false;
  bool check_nan = true;
  /// Filled in by the layer above, like EngineOps.
  bool (*has_nan)(const Tensor& t) = nullptr;
  void (*note_origin)(Node& node) = nullptr;
  void (*tell_origin)(const Node& node) = nullptr;
};
inline Anomaly g_anomaly;

}  // namespace gradstep
