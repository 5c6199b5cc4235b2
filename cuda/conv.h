// SPDX-License-Identifier: Apache-2.0
// The three products of convolution, y = conv(x, w) and its two gradients, computed by cuDNN
// (conv_cudnn.cu) or by kernels of our own (conv_own.cu); conv.cu has the calls.
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

enum class Product : int { Forward, Data, Weight };

/// Of each array the first nd entries count. x: (batch, c_in, in..), y: (batch, c_out, out..),
/// w: (c_out, c_in / groups, kernel..), all contiguous and of one type.
struct ConvShape {
  int nd;
  DType type;
  int64_t batch, c_in, c_out, groups;
  int64_t in[3], kernel[3], stride[3], pad[3], dilation[3], out[3];
};

/// The product's result is written, the other two are read.
struct ConvOperands {
  char *x, *w, *y;
};

/// False, with nothing written that stays, where cuDNN has no implementation.
bool run_cudnn(const Call& call, Product product, const ConvShape& s, const ConvOperands& p);
/// bias, or nullptr, is added to the result of Forward and Data.
void run_own(const Call& call, Product product, const ConvShape& s, const ConvOperands& p,
             const char* bias);

/// out[i] = the sum of partial[k * n + i] over k < slices, in order.
void sum_slices(const Call& call, const float* partial, int64_t slices, const TensorImpl& out);
void sum_slices(const Call& call, const double* partial, int64_t slices, const TensorImpl& out);

}  // namespace gradstep::cuda
