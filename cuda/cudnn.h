// SPDX-License-Identifier: Apache-2.0
// cuDNN 9's plain C API, as far as it is used: declarations of our own, so that building needs no
// headers of cuDNN, and the library opened at first need.
//   if (cudnn::available()) cudnn::check(cudnn::api().SetStream(handle, stream), "cudnnSetStream");
// Graphs of operations (the backend API) are made with cuda/cudnn_graph.h.
// tests/cuda_api/check_cudnn.cpp compares every value and function with NVIDIA's headers.
#pragma once
#include "core/hash.h"
#include "cuda/runtime.h"

namespace gradstep::cuda::cudnn {

// ---- types ----

using Handle = struct HandleObject*;
using TensorDesc = struct TensorObject*;
using FilterDesc = struct FilterObject*;
using ConvDesc = struct ConvObject*;
using DropoutDesc = struct DropoutObject*;
using RnnDesc = struct RnnObject*;
using RnnDataDesc = struct RnnDataObject*;

enum class Status : int { Success = 0, NotSupported = 3000, InternalError = 4000 };
/// The problem is right but has no implementation: any code of the class of NotSupported.
inline bool is_unsupported(Status s) {
  return s >= Status::NotSupported && s < Status::InternalError;
}
enum class Data : int { Float = 0, Double = 1, Half = 2, Int32 = 4, BFloat16 = 9, Boolean = 11 };
enum class Format : int { NCHW = 0 };
enum class Mode : int { CrossCorrelation = 1 };
enum class Math : int { Default = 0, TensorOp = 1, Fma = 3 };
enum class Determinism : int { No = 0, Yes = 1 };
using Seed = unsigned long long;
enum class BatchNorm : int { Spatial = 1 };
enum class RnnAlgorithm : int { Standard = 0, PersistentSmall = 3 };
enum class RnnUse : int { Inference = 0, Training = 1 };
enum class RnnCell : int { Relu = 0, Tanh = 1, Lstm = 2, Gru = 3 };
enum class RnnBias : int { Double = 2 };
enum class RnnDirections : int { One = 0, Two = 1 };
enum class RnnInput : int { Linear = 0 };
enum class RnnLayout : int { Steps = 0, Packed = 1, Batch = 2 };
enum class RnnGradient : int { Add = 0 };
constexpr unsigned kRnnPacked = 0, kRnnPadded = 1;
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

// ---- graphs of operations: name here, value, name in NVIDIA's headers ----

using Descriptor = void*;

#define GS_CUDNN_DESCRIPTORS(X)                                           \
  X(Pointwise, 0, CUDNN_BACKEND_POINTWISE_DESCRIPTOR)                     \
  X(EngineConfig, 3, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)                  \
  X(EngineHeuristics, 4, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)             \
  X(ExecutionPlan, 5, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)            \
  X(OperationPointwise, 13, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) \
  X(OperationGraph, 15, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)          \
  X(VariantPack, 16, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)               \
  X(Tensor, 17, CUDNN_BACKEND_TENSOR_DESCRIPTOR)                          \
  X(Matmul, 18, CUDNN_BACKEND_MATMUL_DESCRIPTOR)                          \
  X(OperationMatmul, 19, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)       \
  X(Reduction, 21, CUDNN_BACKEND_REDUCTION_DESCRIPTOR)                    \
  X(OperationReduction, 22, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) \
  X(OperationReshape, 31, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)     \
  X(DeviceProperties, 38, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)

#define GS_CUDNN_ATTRIBUTES(X)                                        \
  X(PointwiseMode, 0, CUDNN_ATTR_POINTWISE_MODE)                      \
  X(PointwiseCompute, 1, CUDNN_ATTR_POINTWISE_MATH_PREC)              \
  X(PointwiseAxis, 9, CUDNN_ATTR_POINTWISE_AXIS)                      \
  X(HeuristicsMode, 200, CUDNN_ATTR_ENGINEHEUR_MODE)                  \
  X(HeuristicsGraph, 201, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)      \
  X(HeuristicsResults, 202, CUDNN_ATTR_ENGINEHEUR_RESULTS)            \
  X(HeuristicsDevice, 204, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP)          \
  X(PlanHandle, 400, CUDNN_ATTR_EXECUTION_PLAN_HANDLE)                \
  X(PlanEngineConfig, 401, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)   \
  X(PlanWorkspaceSize, 402, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) \
  X(PlanDevice, 407, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP)            \
  X(OpPointwise, 750, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)   \
  X(OpPointwiseX, 751, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)          \
  X(OpPointwiseB, 752, CUDNN_ATTR_OPERATION_POINTWISE_BDESC)          \
  X(OpPointwiseY, 753, CUDNN_ATTR_OPERATION_POINTWISE_YDESC)          \
  X(OpPointwiseT, 758, CUDNN_ATTR_OPERATION_POINTWISE_TDESC)          \
  X(GraphHandle, 800, CUDNN_ATTR_OPERATIONGRAPH_HANDLE)               \
  X(GraphOperations, 801, CUDNN_ATTR_OPERATIONGRAPH_OPS)              \
  X(TensorAlignment, 900, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)           \
  X(TensorType, 901, CUDNN_ATTR_TENSOR_DATA_TYPE)                     \
  X(TensorSizes, 902, CUDNN_ATTR_TENSOR_DIMENSIONS)                   \
  X(TensorStrides, 903, CUDNN_ATTR_TENSOR_STRIDES)                    \
  X(TensorId, 906, CUDNN_ATTR_TENSOR_UNIQUE_ID)                       \
  X(TensorIsVirtual, 907, CUDNN_ATTR_TENSOR_IS_VIRTUAL)               \
  X(TensorIsByValue, 908, CUDNN_ATTR_TENSOR_IS_BY_VALUE)              \
  X(PackIds, 1000, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)                \
  X(PackPointers, 1001, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)        \
  X(PackWorkspace, 1003, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)           \
  X(MatmulCompute, 1500, CUDNN_ATTR_MATMUL_COMP_TYPE)                 \
  X(OpMatmulA, 1520, CUDNN_ATTR_OPERATION_MATMUL_ADESC)               \
  X(OpMatmulB, 1521, CUDNN_ATTR_OPERATION_MATMUL_BDESC)               \
  X(OpMatmulC, 1522, CUDNN_ATTR_OPERATION_MATMUL_CDESC)               \
  X(OpMatmul, 1523, CUDNN_ATTR_OPERATION_MATMUL_DESC)                 \
  X(ReductionOperator, 1600, CUDNN_ATTR_REDUCTION_OPERATOR)           \
  X(ReductionCompute, 1601, CUDNN_ATTR_REDUCTION_COMP_TYPE)           \
  X(OpReductionX, 1610, CUDNN_ATTR_OPERATION_REDUCTION_XDESC)         \
  X(OpReductionY, 1611, CUDNN_ATTR_OPERATION_REDUCTION_YDESC)         \
  X(OpReduction, 1612, CUDNN_ATTR_OPERATION_REDUCTION_DESC)           \
  X(OpReshapeX, 2200, CUDNN_ATTR_OPERATION_RESHAPE_XDESC)             \
  X(OpReshapeY, 2201, CUDNN_ATTR_OPERATION_RESHAPE_YDESC)             \
  X(DeviceJson, 2702, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION)

#define GS_CUDNN_VALUE_KINDS(X)                        \
  X(Handle, 0, CUDNN_TYPE_HANDLE)                      \
  X(Type, 1, CUDNN_TYPE_DATA_TYPE)                     \
  X(Boolean, 2, CUDNN_TYPE_BOOLEAN)                    \
  X(Int64, 3, CUDNN_TYPE_INT64)                        \
  X(Pointer, 6, CUDNN_TYPE_VOID_PTR)                   \
  X(Heuristic, 8, CUDNN_TYPE_HEUR_MODE)                \
  X(Pointwise, 14, CUDNN_TYPE_POINTWISE_MODE)          \
  X(Descriptor, 15, CUDNN_TYPE_BACKEND_DESCRIPTOR)     \
  X(Reduction, 18, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE) \
  X(Char, 24, CUDNN_TYPE_CHAR)

#define GS_CUDNN_POINTWISE(X)                      \
  X(Add, 0, CUDNN_POINTWISE_ADD)                   \
  X(Mul, 1, CUDNN_POINTWISE_MUL)                   \
  X(Div, 6, CUDNN_POINTWISE_DIV)                   \
  X(Sub, 9, CUDNN_POINTWISE_SUB)                   \
  X(Exp, 13, CUDNN_POINTWISE_EXP)                  \
  X(Log, 15, CUDNN_POINTWISE_LOG)                  \
  X(Identity, 21, CUDNN_POINTWISE_IDENTITY)        \
  X(IsGreaterOrEqual, 303, CUDNN_POINTWISE_CMP_GE) \
  X(Index, 501, CUDNN_POINTWISE_GEN_INDEX)         \
  X(Select, 601, CUDNN_POINTWISE_BINARY_SELECT)

#define GS_ENUMERATOR(name, value, nvidia) name = value,
enum class DescriptorType : int { GS_CUDNN_DESCRIPTORS(GS_ENUMERATOR) };
enum class Attribute : int { GS_CUDNN_ATTRIBUTES(GS_ENUMERATOR) };
enum class ValueKind : int { GS_CUDNN_VALUE_KINDS(GS_ENUMERATOR) };
enum class Pointwise : int { GS_CUDNN_POINTWISE(GS_ENUMERATOR) };
#undef GS_ENUMERATOR
enum class Reduce : int { Add = 0, Max = 3 };
enum class Heuristic : int { Fallback = 2, A = 3 };

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
     size_t, const void*, FilterDesc, void*))                                                     \
  X(DeriveBNTensorDescriptor, Status, (TensorDesc, TensorDesc, BatchNorm))                        \
  X(BatchNormalizationForwardTraining, Status,                                                    \
    (Handle, BatchNorm, const void*, const void*, TensorDesc, const void*, TensorDesc, void*,     \
     TensorDesc, const void*, const void*, double, void*, void*, double, void*, void*))           \
  X(BatchNormalizationBackward, Status,                                                           \
    (Handle, BatchNorm, const void*, const void*, const void*, const void*, TensorDesc,           \
     const void*, TensorDesc, const void*, TensorDesc, void*, TensorDesc, const void*, void*,     \
     void*, double, const void*, const void*))                                                    \
  X(GetTensorNdDescriptor, Status, (TensorDesc, int, Data*, int*, int*, int*))                    \
  X(CreateDropoutDescriptor, Status, (DropoutDesc*))                                              \
  X(SetDropoutDescriptor, Status, (DropoutDesc, Handle, float, void*, size_t, Seed))              \
  X(DestroyDropoutDescriptor, Status, (DropoutDesc))                                              \
  X(CreateRNNDescriptor, Status, (RnnDesc*))                                                      \
  X(SetRNNDescriptor_v8, Status,                                                                  \
    (RnnDesc, RnnAlgorithm, RnnCell, RnnBias, RnnDirections, RnnInput, Data, Data, Math, int32_t, \
     int32_t, int32_t, int32_t, DropoutDesc, uint32_t))                                           \
  X(DestroyRNNDescriptor, Status, (RnnDesc))                                                      \
  X(CreateRNNDataDescriptor, Status, (RnnDataDesc*))                                              \
  X(SetRNNDataDescriptor, Status,                                                                 \
    (RnnDataDesc, Data, RnnLayout, int, int, int, const int*, void*))                             \
  X(DestroyRNNDataDescriptor, Status, (RnnDataDesc))                                              \
  X(GetRNNTempSpaceSizes, Status, (Handle, RnnDesc, RnnUse, RnnDataDesc, size_t*, size_t*))       \
  X(GetRNNWeightSpaceSize, Status, (Handle, RnnDesc, size_t*))                                    \
  X(GetRNNWeightParams, Status,                                                                   \
    (Handle, RnnDesc, int32_t, size_t, const void*, int32_t, TensorDesc, void**, TensorDesc,      \
     void**))                                                                                     \
  X(RNNForward, Status,                                                                           \
    (Handle, RnnDesc, RnnUse, const int32_t*, RnnDataDesc, const void*, RnnDataDesc, void*,       \
     TensorDesc, const void*, void*, TensorDesc, const void*, void*, size_t, const void*, size_t, \
     void*, size_t, void*))                                                                       \
  X(RNNBackwardData_v8, Status,                                                                   \
    (Handle, RnnDesc, const int32_t*, RnnDataDesc, const void*, const void*, RnnDataDesc, void*,  \
     TensorDesc, const void*, const void*, void*, TensorDesc, const void*, const void*, void*,    \
     size_t, const void*, size_t, void*, size_t, void*))                                          \
  X(RNNBackwardWeights_v8, Status,                                                                \
    (Handle, RnnDesc, RnnGradient, const int32_t*, RnnDataDesc, const void*, TensorDesc,          \
     const void*, RnnDataDesc, const void*, size_t, void*, size_t, void*, size_t, void*))         \
  X(BackendCreateDescriptor, Status, (DescriptorType, Descriptor*))                               \
  X(BackendDestroyDescriptor, Status, (Descriptor))                                               \
  X(BackendSetAttribute, Status, (Descriptor, Attribute, ValueKind, int64_t, const void*))        \
  X(BackendGetAttribute, Status, (Descriptor, Attribute, ValueKind, int64_t, int64_t*, void*))    \
  X(BackendFinalize, Status, (Descriptor))                                                        \
  X(BackendExecute, Status, (Handle, Descriptor, Descriptor))

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

/// Memory for a workspace, or null where there is none to be had.
class Workspace {
 public:
  Workspace(size_t bytes, const Call& call)
      : bytes_(bytes), device_(call.operands[0]->device.index) {
    try {
      p_ = cuda::allocate(bytes, device_);
      fits_ = true;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::OutOfMemory) throw;
    }
  }
  ~Workspace() { cuda::deallocate(p_, bytes_, device_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  bool fits() const { return fits_; }
  void* data() const { return p_; }

 private:
  size_t bytes_;
  int device_;
  bool fits_ = false;
  void* p_ = nullptr;
};

/// While it lives a capture refuses nothing that cuDNN may do beside launching (allocate, load a
/// kernel).
class RelaxedCapture {
 public:
  RelaxedCapture();
  ~RelaxedCapture();
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  bool capturing_;
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

inline Data data_type(DType t) {
  return t == DType::Float64    ? Data::Double
         : t == DType::Float16  ? Data::Half
         : t == DType::BFloat16 ? Data::BFloat16
                                : Data::Float;
}

}  // namespace gradstep::cuda::cudnn
