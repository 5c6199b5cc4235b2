// SPDX-License-Identifier: Apache-2.0
// cuDNN 9's plain C API, as far as it is used: declarations of our own, so that building needs no
// headers of cuDNN, and the library opened at first need.
//   if (cudnn::available()) cudnn::check(cudnn::api().SetStream(handle, stream), "cudnnSetStream");
// tests/cuda_api/check_cudnn.cpp compares every value and function with NVIDIA's headers.
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda::cudnn {

// ---- types ----

using Handle = struct HandleObject*;
using TensorDesc = struct TensorObject*;
using FilterDesc = struct FilterObject*;
using ConvDesc = struct ConvObject*;

enum class Status : int { Success = 0, NotSupported = 3000, InternalError = 4000 };
/// The problem is right but has no implementation: any code of the class of NotSupported.
inline bool is_unsupported(Status s) {
  return s >= Status::NotSupported && s < Status::InternalError;
}
enum class Data : int { Float = 0, Double = 1, Half = 2, BFloat16 = 9 };
enum class Format : int { NCHW = 0 };
enum class Mode : int { CrossCorrelation = 1 };
enum class Math : int { Default = 0, TensorOp = 1, Fma = 3 };
enum class Determinism : int { No = 0, Yes = 1 };
constexpr int kForwardAlgorithms = 8, kDataAlgorithms = 6, kFilterAlgorithms = 7;

/// What cuDNN tells of an algorithm; the same for all three products, whose enums are ints.
struct Perf {
  int algorithm;
  Status status;
  float time;
  size_t memory;
  Determinism determinism;
  Math math;
  int reserved[3];
};

// ---- functions: name, result, arguments ----

#define GS_CUDNN_FUNCTIONS(X)                                                                     \
  X(GetVersion, size_t, ())                                                                       \
  X(GetErrorString, const char*, (Status))                                                        \
  X(GetLastErrorString, void, (char*, size_t))                                                    \
  X(Create, Status, (Handle*))                                                                    \
  X(SetStream, Status, (Handle, cudaStream_t))                                                    \
  X(CreateTensorDescriptor, Status, (TensorDesc*))                                                \
  X(SetTensorNdDescriptor, Status, (TensorDesc, Data, int, const int*, const int*))               \
  X(DestroyTensorDescriptor, Status, (TensorDesc))                                                \
  X(CreateFilterDescriptor, Status, (FilterDesc*))                                                \
  X(SetFilterNdDescriptor, Status, (FilterDesc, Data, Format, int, const int*))                   \
  X(DestroyFilterDescriptor, Status, (FilterDesc))                                                \
  X(CreateConvolutionDescriptor, Status, (ConvDesc*))                                             \
  X(SetConvolutionNdDescriptor, Status,                                                           \
    (ConvDesc, int, const int*, const int*, const int*, Mode, Data))                              \
  X(SetConvolutionGroupCount, Status, (ConvDesc, int))                                            \
  X(SetConvolutionMathType, Status, (ConvDesc, Math))                                             \
  X(DestroyConvolutionDescriptor, Status, (ConvDesc))                                             \
  X(GetConvolutionForwardAlgorithm_v7, Status,                                                    \
    (Handle, TensorDesc, FilterDesc, ConvDesc, TensorDesc, int, int*, Perf*))                     \
  X(FindConvolutionForwardAlgorithmEx, Status,                                                    \
    (Handle, TensorDesc, const void*, FilterDesc, const void*, ConvDesc, TensorDesc, void*, int,  \
     int*, Perf*, void*, size_t))                                                                 \
  X(GetConvolutionForwardWorkspaceSize, Status,                                                   \
    (Handle, TensorDesc, FilterDesc, ConvDesc, TensorDesc, int, size_t*))                         \
  X(ConvolutionForward, Status,                                                                   \
    (Handle, const void*, TensorDesc, const void*, FilterDesc, const void*, ConvDesc, int, void*, \
     size_t, const void*, TensorDesc, void*))                                                     \
  X(GetConvolutionBackwardDataAlgorithm_v7, Status,                                               \
    (Handle, FilterDesc, TensorDesc, ConvDesc, TensorDesc, int, int*, Perf*))                     \
  X(FindConvolutionBackwardDataAlgorithmEx, Status,                                               \
    (Handle, FilterDesc, const void*, TensorDesc, const void*, ConvDesc, TensorDesc, void*, int,  \
     int*, Perf*, void*, size_t))                                                                 \
  X(GetConvolutionBackwardDataWorkspaceSize, Status,                                              \
    (Handle, FilterDesc, TensorDesc, ConvDesc, TensorDesc, int, size_t*))                         \
  X(ConvolutionBackwardData, Status,                                                              \
    (Handle, const void*, FilterDesc, const void*, TensorDesc, const void*, ConvDesc, int, void*, \
     size_t, const void*, TensorDesc, void*))                                                     \
  X(GetConvolutionBackwardFilterAlgorithm_v7, Status,                                             \
    (Handle, TensorDesc, TensorDesc, ConvDesc, FilterDesc, int, int*, Perf*))                     \
  X(FindConvolutionBackwardFilterAlgorithmEx, Status,                                             \
    (Handle, TensorDesc, const void*, TensorDesc, const void*, ConvDesc, FilterDesc, void*, int,  \
     int*, Perf*, void*, size_t))                                                                 \
  X(GetConvolutionBackwardFilterWorkspaceSize, Status,                                            \
    (Handle, TensorDesc, TensorDesc, ConvDesc, FilterDesc, int, size_t*))                         \
  X(ConvolutionBackwardFilter, Status,                                                            \
    (Handle, const void*, TensorDesc, const void*, TensorDesc, const void*, ConvDesc, int, void*, \
     size_t, const void*, FilterDesc, void*))

struct Api {
#define GS_MEMBER(name, result, arguments) result(*name) arguments;
  GS_CUDNN_FUNCTIONS(GS_MEMBER)
#undef GS_MEMBER
};

// ---- the library ----

/// The library is there and not switched off (torch.backends.cudnn.enabled).
bool available();
/// Its functions; an error if it lacks one.
const Api& api();
/// The handle of a call's device, set to the call's stream.
Handle handle(const Call& call);
/// Raises what a failed function means; `function` with its prefix.
void check(Status s, const char* function);

inline Data data_type(DType t) {
  return t == DType::Float64    ? Data::Double
         : t == DType::Float16  ? Data::Half
         : t == DType::BFloat16 ? Data::BFloat16
                                : Data::Float;
}

}  // namespace gradstep::cuda::cudnn
