// SPDX-License-Identifier: Apache-2.0
// Batch norm by cuDNN (norm_cudnn.cu), for the calls of norm.cu:
//   if (cudnn_batch_norm(call)) return;
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

/// False, with nothing written, where cuDNN is missing or the case is not its.
bool cudnn_batch_norm(const Call& call);
bool cudnn_batch_norm_backward(const Call& call);

}  // namespace gradstep::cuda
