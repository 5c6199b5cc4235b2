// SPDX-License-Identifier: Apache-2.0
// Opens cuDNN and keeps its handles; see cuda/cudnn.h.
#include "cuda/cudnn.h"

#include "cuda/graph.h"
#include "cuda/libraries.h"

namespace gradstep::cuda::cudnn {

bool available() { return flags().cudnn_enabled && library("cudnn") != nullptr; }

const Api& api() {
  static const Api functions = [] {
    Api a;
#define GS_LOAD(name, result, arguments)                                          \
  a.name = reinterpret_cast<result(*) arguments>(symbol("cudnn", "cudnn" #name)); \
  GS_CHECK(a.name,                                                                \
           "cuDNN {} lacks cudnn" #name                                           \
           "; torch.backends.cudnn.enabled = False computes without it",          \
           library_version("cudnn"));
    GS_CUDNN_FUNCTIONS(GS_LOAD)
#undef GS_LOAD
    return a;
  }();
  return functions;
}

void check(Status s, const char* function) {
  if (s == Status::Success) [[likely]]
    return;
  char why[512] = "";
  api().GetLastErrorString(why, sizeof(why) - 1);
  (void)cudaGetLastError();
  fail(ErrorKind::Runtime,
       "cuDNN error: {} ({}) in {} of cuDNN {}{}{}. torch.backends.cudnn.enabled = False computes "
       "without it.",
       api().GetErrorString(s), int(s), function, int64_t(api().GetVersion()), *why ? ": " : "",
       why);
}

Handle handle(const Call& call) {
  struct OfDevice {
    Handle handle = nullptr;
    cudaStream_t stream = nullptr;
  };
  static OfDevice all[kMostDevices];
  OfDevice& d = all[call.operands[0]->device.index];
  const cudaStream_t stream = stream_of(call);
  if (!d.handle) {
    // It allocates, which a capture would refuse.
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    if (is_capturing()) (void)cudaThreadExchangeStreamCaptureMode(&mode);
    Handle h = nullptr;
    const Status s = api().Create(&h);
    if (is_capturing()) (void)cudaThreadExchangeStreamCaptureMode(&mode);
    check(s, "cudnnCreate");
    check(api().SetStream(h, stream), "cudnnSetStream");
    d = {h, stream};
  }
  if (d.stream != stream) {
    check(api().SetStream(d.handle, stream), "cudnnSetStream");
    d.stream = stream;
  }
  return d.handle;
}

}  // namespace gradstep::cuda::cudnn
