// SPDX-License-Identifier: Apache-2.0
// Opens cuDNN and keeps its handles; see cuda/cudnn.h.
#include "cuda/cudnn.h"

#include "core/warning.h"
#include "cuda/graph.h"
#include "cuda/libraries.h"

namespace gradstep::cuda::cudnn {

bool available() {
  if (!flags().cudnn_enabled) return false;
  if (library("cudnn")) return true;
#ifndef GS_CUDA_SHIM  // where it is missing on purpose
  static const bool told = [] {
    warn_once("cudnn",
              "cuDNN was not found: gradstep's own kernels compute convolutions, batch norm and "
              "recurrent layers, slower. pip install 'gradstep[cuda]' brings it.");
    return true;
  }();
  (void)told;
#endif
  return false;
}

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

RelaxedCapture::RelaxedCapture() : capturing_(is_capturing()) {
  if (capturing_) (void)cudaThreadExchangeStreamCaptureMode(&mode_);
}
RelaxedCapture::~RelaxedCapture() {
  if (capturing_) (void)cudaThreadExchangeStreamCaptureMode(&mode_);
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
    const RelaxedCapture relaxed;  // it allocates
    Handle h = nullptr;
    check(api().Create(&h), "cudnnCreate");
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
