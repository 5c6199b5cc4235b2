// SPDX-License-Identifier: Apache-2.0
// Recurrent layers by cuDNN (rnn_cudnn.cu), for the calls of rnn.cu:
//   if (cudnn_rnn(call)) return;
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

/// False, with nothing written, where cuDNN is missing or the case is not its. What a training call
/// keeps is a block of bytes for cuDNN; see Note [Recurrent layers by cuDNN].
bool cudnn_rnn(const Call& call);
/// True if the kept values are cuDNN's.
bool cudnn_rnn_backward(const Call& call);

}  // namespace gradstep::cuda
