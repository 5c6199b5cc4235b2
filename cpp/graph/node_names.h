// SPDX-License-Identifier: Apache-2.0
// What Python calls a node where its op has another name than PyTorch's, or stands for several.
// Includes only graph.
#pragma once

#include "graph/node.h"

namespace gradstep {

/// Names for single nodes; NameOfOp is the ordinary case.
enum class Shown : uint16_t {
  NameOfOp,
  Addmm,
  AdaptiveAvgPool3D,
  AvgPool3D,
  BinaryCrossEntropy,
  BinaryCrossEntropyWithLogits,
  HuberLoss,
  MaxPool3DWithIndices,
  Max1,
  Mean1,
  Min1,
  Mm,
  MseLoss,
  MultiMarginLoss,
  Mv,
  NllLoss,
  NllLoss2D,
  Norm1,
  Prod1,
  SmoothL1Loss,
  SoftMarginLoss,
  Squeeze1,
  Sum1,
  T,
  Transpose,
  UnsafeView,
  UpsampleBicubic2D,
  UpsampleBilinear2D,
  UpsampleLinear1D,
  UpsampleNearest1D,
  UpsampleNearest2D,
  UpsampleNearest3D,
  UpsampleTrilinear3D,
  View,
  kCount
};

/// Gives the tensor's node a name; nothing where it has none.
inline const Tensor& show_as(const Tensor& t, Shown name) {
  if (t->grad_fn) t->grad_fn->shown = static_cast<uint16_t>(name);
  return t;
}

/// The node's name in Python: "MulBackward0".
std::string shown_name(const Node& node);

}  // namespace gradstep
