// SPDX-License-Identifier: Apache-2.0
#include "graph/node_names.h"

#include <cctype>
#include <string_view>

namespace gradstep {
namespace {

constexpr const char* kShown[] = {"",
                                  "AddmmBackward0",
                                  "AdaptiveAvgPool3DBackward0",
                                  "AvgPool3DBackward0",
                                  "BinaryCrossEntropyBackward0",
                                  "BinaryCrossEntropyWithLogitsBackward0",
                                  "HuberLossBackward0",
                                  "MaxPool3DWithIndicesBackward0",
                                  "MaxBackward1",
                                  "MeanBackward1",
                                  "MinBackward1",
                                  "MmBackward0",
                                  "MseLossBackward0",
                                  "MultiMarginLossBackward0",
                                  "MvBackward0",
                                  "NllLossBackward0",
                                  "NllLoss2DBackward0",
                                  "NormBackward1",
                                  "ProdBackward1",
                                  "SmoothL1LossBackward0",
                                  "SoftMarginLossBackward0",
                                  "SqueezeBackward1",
                                  "SumBackward1",
                                  "TBackward0",
                                  "TransposeBackward0",
                                  "UnsafeViewBackward0",
                                  "UpsampleBicubic2DBackward0",
                                  "UpsampleBilinear2DBackward0",
                                  "UpsampleLinear1DBackward0",
                                  "UpsampleNearest1DBackward0",
                                  "UpsampleNearest2DBackward0",
                                  "UpsampleNearest3DBackward0",
                                  "UpsampleTrilinear3DBackward0",
                                  "ViewBackward0"};
static_assert(std::size(kShown) == static_cast<size_t>(Shown::kCount));

/// Ops whose nodes PyTorch calls otherwise.
constexpr std::pair<std::string_view, const char*> kOfOps[] = {
    {"adaptive_avg_pool", "AdaptiveAvgPool2DBackward0"},
    {"avg_pool", "AvgPool2DBackward0"},
    {"batch_norm", "NativeBatchNormBackward0"},
    {"bce_elementwise", "BinaryCrossEntropyBackward0"},
    {"bce_with_logits_elementwise", "BinaryCrossEntropyWithLogitsBackward0"},
    {"bce_with_logits_pos_weight_elementwise", "BinaryCrossEntropyWithLogitsBackward0"},
    {"col2im", "Col2ImBackward0"},
    {"convolution_transposed", "ConvolutionBackward0"},
    {"cross_entropy", "NllLossBackward0"},
    {"cube", "PowBackward0"},
    {"grid_sample", "GridSampler2DBackward0"},
    {"group_norm", "NativeGroupNormBackward0"},
    {"huber_elementwise", "HuberLossBackward0"},
    {"im2col", "Im2ColBackward0"},
    {"inverse_square", "PowBackward0"},
    {"l1_elementwise", "AbsBackward0"},
    {"layer_norm", "NativeLayerNormBackward0"},
    {"logsigmoid", "LogSigmoidBackward0"},
    {"max_dim", "MaxBackward0"},
    {"max_pool_with_indices", "MaxPool2DWithIndicesBackward0"},
    {"median", "MedianBackward1"},
    {"median_all", "MedianBackward0"},
    {"min_dim", "MinBackward0"},
    {"mse_elementwise", "MseLossBackward0"},
    {"prelu", "PreluKernelBackward0"},
    {"relu6", "HardtanhBackward0"},
    {"rms_norm", "MulBackward0"},
    {"selu", "EluBackward0"},
    {"smooth_l1_elementwise", "SmoothL1LossBackward0"},
    {"soft_margin_elementwise", "SoftMarginLossBackward0"},
    {"softsign", "DivBackward0"},
    {"square", "PowBackward0"},
    {"tanhshrink", "SubBackward0"},
    {"vector_norm", "LinalgVectorNormBackward0"},
};

}  // namespace

std::string shown_name(const Node& node) {
  if (node.shown) return kShown[node.shown];
  for (const auto& [op, name] : kOfOps) {
    if (op == node.op->name) return name;
  }
  std::string out;
  bool upper = true;
  for (const char* p = node.op->name; *p; ++p) {
    if (*p == '_') {
      upper = true;
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(*p)) : *p;
    upper = false;
  }
  return out + "Backward0";
}

}  // namespace gradstep
