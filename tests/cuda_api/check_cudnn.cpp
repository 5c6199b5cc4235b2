// SPDX-License-Identifier: Apache-2.0
// cuda/cudnn.h says what NVIDIA's headers say; compiled where those are found, nothing to run.
#include <cudnn.h>

#include "cuda/cudnn.h"

namespace {

namespace own = gradstep::cuda::cudnn;

// ---- functions: as many arguments, each of the same kind ----

template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                        std::is_floating_point_v<A> == std::is_floating_point_v<B>;
template <>
constexpr bool kAlike<void, void> = true;

template <class A, class B>
constexpr bool kSameFunction = false;
template <class R, class... A, class S, class... B>
constexpr bool kSameFunction<R (*)(A...), S (*)(B...)> = [] {
  if constexpr (sizeof...(A) == sizeof...(B)) {
    return kAlike<R, S> && (kAlike<A, B> && ...);
  } else {
    return false;
  }
}();

#define GS_COMPARE(name, result, arguments) \
  static_assert(kSameFunction<decltype(own::Api::name), decltype(&cudnn##name)>, "cudnn" #name);
GS_CUDNN_FUNCTIONS(GS_COMPARE)
#undef GS_COMPARE

// ---- what a descriptor is in which place ----

template <class T>
constexpr char kLetter = '-';
template <> constexpr char kLetter<own::Handle> = 'h';
template <> constexpr char kLetter<cudnnHandle_t> = 'h';
template <> constexpr char kLetter<own::TensorDesc> = 't';
template <> constexpr char kLetter<cudnnTensorDescriptor_t> = 't';
template <> constexpr char kLetter<own::FilterDesc> = 'f';
template <> constexpr char kLetter<cudnnFilterDescriptor_t> = 'f';
template <> constexpr char kLetter<own::ConvDesc> = 'c';
template <> constexpr char kLetter<cudnnConvolutionDescriptor_t> = 'c';
template <> constexpr char kLetter<own::Data> = 'd';
template <> constexpr char kLetter<cudnnDataType_t> = 'd';
template <> constexpr char kLetter<own::Math> = 'm';
template <> constexpr char kLetter<cudnnMathType_t> = 'm';
template <> constexpr char kLetter<own::Mode> = 'o';
template <> constexpr char kLetter<cudnnConvolutionMode_t> = 'o';
template <> constexpr char kLetter<own::Format> = 'n';
template <> constexpr char kLetter<cudnnTensorFormat_t> = 'n';
template <> constexpr char kLetter<own::DropoutDesc> = 'D';
template <> constexpr char kLetter<cudnnDropoutDescriptor_t> = 'D';
template <> constexpr char kLetter<own::RnnDesc> = 'R';
template <> constexpr char kLetter<cudnnRNNDescriptor_t> = 'R';
template <> constexpr char kLetter<own::RnnDataDesc> = 'S';
template <> constexpr char kLetter<cudnnRNNDataDescriptor_t> = 'S';
template <> constexpr char kLetter<own::BatchNorm> = 'b';
template <> constexpr char kLetter<cudnnBatchNormMode_t> = 'b';
template <> constexpr char kLetter<own::RnnAlgorithm> = 'a';
template <> constexpr char kLetter<cudnnRNNAlgo_t> = 'a';
template <> constexpr char kLetter<own::RnnUse> = 'u';
template <> constexpr char kLetter<cudnnForwardMode_t> = 'u';
template <> constexpr char kLetter<own::RnnCell> = 'C';
template <> constexpr char kLetter<cudnnRNNMode_t> = 'C';
template <> constexpr char kLetter<own::RnnBias> = 'B';
template <> constexpr char kLetter<cudnnRNNBiasMode_t> = 'B';
template <> constexpr char kLetter<own::RnnDirections> = 'T';
template <> constexpr char kLetter<cudnnDirectionMode_t> = 'T';
template <> constexpr char kLetter<own::RnnInput> = 'l';
template <> constexpr char kLetter<cudnnRNNInputMode_t> = 'l';
template <> constexpr char kLetter<own::RnnLayout> = 'L';
template <> constexpr char kLetter<cudnnRNNDataLayout_t> = 'L';
template <> constexpr char kLetter<own::RnnGradient> = 'G';
template <> constexpr char kLetter<cudnnWgradMode_t> = 'G';
template <> constexpr char kLetter<double> = 'F';
template <> constexpr char kLetter<own::DescriptorType> = '1';
template <> constexpr char kLetter<cudnnBackendDescriptorType_t> = '1';
template <> constexpr char kLetter<own::Attribute> = '2';
template <> constexpr char kLetter<cudnnBackendAttributeName_t> = '2';
template <> constexpr char kLetter<own::ValueKind> = '3';
template <> constexpr char kLetter<cudnnBackendAttributeType_t> = '3';
template <> constexpr char kLetter<int64_t> = '4';
template <> constexpr char kLetter<int64_t*> = '5';
template <> constexpr char kLetter<size_t> = 'z';
template <> constexpr char kLetter<void**> = 'W';
template <> constexpr char kLetter<const void*> = 'r';
template <> constexpr char kLetter<void*> = 'w';
template <> constexpr char kLetter<size_t*> = 'Z';
template <> constexpr char kLetter<int*> = 'I';
template <> constexpr char kLetter<const int*> = 'i';
template <> constexpr char kLetter<own::Perf*> = 'p';
template <> constexpr char kLetter<cudnnConvolutionFwdAlgoPerf_t*> = 'p';
template <> constexpr char kLetter<cudnnConvolutionBwdDataAlgoPerf_t*> = 'p';
template <> constexpr char kLetter<cudnnConvolutionBwdFilterAlgoPerf_t*> = 'p';

template <class A, class B>
constexpr bool kSamePlaces = false;
template <class R, class... A, class S, class... B>
constexpr bool kSamePlaces<R (*)(A...), S (*)(B...)> = ((kLetter<A> == kLetter<B>) && ...);

#define GS_COMPARE(name, result, arguments) \
  static_assert(kSamePlaces<decltype(own::Api::name), decltype(&cudnn##name)>, "cudnn" #name);
GS_CUDNN_FUNCTIONS(GS_COMPARE)
#undef GS_COMPARE

// ---- values ----

static_assert(int(own::Status::Success) == CUDNN_STATUS_SUCCESS);
static_assert(int(own::Status::NotSupported) == CUDNN_STATUS_NOT_SUPPORTED);
static_assert(int(own::Status::InternalError) == CUDNN_STATUS_INTERNAL_ERROR);
static_assert(int(own::Data::Float) == CUDNN_DATA_FLOAT);
static_assert(int(own::Data::Double) == CUDNN_DATA_DOUBLE);
static_assert(int(own::Data::Half) == CUDNN_DATA_HALF);
static_assert(int(own::Data::BFloat16) == CUDNN_DATA_BFLOAT16);
static_assert(int(own::Data::Int32) == CUDNN_DATA_INT32);
static_assert(int(own::Data::Boolean) == CUDNN_DATA_BOOLEAN);
static_assert(int(own::Format::NCHW) == CUDNN_TENSOR_NCHW);
static_assert(int(own::Mode::CrossCorrelation) == CUDNN_CROSS_CORRELATION);
static_assert(int(own::Math::Default) == CUDNN_DEFAULT_MATH);
static_assert(int(own::Math::TensorOp) == CUDNN_TENSOR_OP_MATH);
static_assert(int(own::Math::Fma) == CUDNN_FMA_MATH);
static_assert(int(own::Determinism::No) == CUDNN_NON_DETERMINISTIC);
static_assert(int(own::Determinism::Yes) == CUDNN_DETERMINISTIC);
static_assert(int(own::BatchNorm::Spatial) == CUDNN_BATCHNORM_SPATIAL);
static_assert(CUDNN_BN_MIN_EPSILON == 0);
static_assert(int(own::RnnAlgorithm::Standard) == CUDNN_RNN_ALGO_STANDARD);
static_assert(int(own::RnnAlgorithm::PersistentSmall) == CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H);
static_assert(int(own::RnnUse::Inference) == CUDNN_FWD_MODE_INFERENCE);
static_assert(int(own::RnnUse::Training) == CUDNN_FWD_MODE_TRAINING);
static_assert(int(own::RnnCell::Relu) == CUDNN_RNN_RELU);
static_assert(int(own::RnnCell::Tanh) == CUDNN_RNN_TANH);
static_assert(int(own::RnnCell::Lstm) == CUDNN_LSTM);
static_assert(int(own::RnnCell::Gru) == CUDNN_GRU);
static_assert(int(own::RnnBias::Double) == CUDNN_RNN_DOUBLE_BIAS);
static_assert(int(own::RnnDirections::One) == CUDNN_UNIDIRECTIONAL);
static_assert(int(own::RnnDirections::Two) == CUDNN_BIDIRECTIONAL);
static_assert(int(own::RnnInput::Linear) == CUDNN_LINEAR_INPUT);
static_assert(int(own::RnnLayout::Steps) == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED);
static_assert(int(own::RnnLayout::Packed) == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED);
static_assert(int(own::RnnLayout::Batch) == CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED);
static_assert(int(own::RnnGradient::Add) == CUDNN_WGRAD_MODE_ADD);
static_assert(own::kRnnPacked == CUDNN_RNN_PADDED_IO_DISABLED);
static_assert(own::kRnnPadded == CUDNN_RNN_PADDED_IO_ENABLED);
static_assert(own::kForwardAlgorithms == CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
static_assert(own::kDataAlgorithms == CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
static_assert(own::kFilterAlgorithms == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);

#define GS_COMPARE(name, value, nvidia) static_assert(int(own::DescriptorType::name) == nvidia);
GS_CUDNN_DESCRIPTORS(GS_COMPARE)
#undef GS_COMPARE
#define GS_COMPARE(name, value, nvidia) static_assert(int(own::Attribute::name) == nvidia);
GS_CUDNN_ATTRIBUTES(GS_COMPARE)
#undef GS_COMPARE
#define GS_COMPARE(name, value, nvidia) static_assert(int(own::ValueKind::name) == nvidia);
GS_CUDNN_VALUE_KINDS(GS_COMPARE)
#undef GS_COMPARE
#define GS_COMPARE(name, value, nvidia) static_assert(int(own::Pointwise::name) == nvidia);
GS_CUDNN_POINTWISE(GS_COMPARE)
#undef GS_COMPARE
static_assert(int(own::Reduce::Add) == CUDNN_REDUCE_TENSOR_ADD);
static_assert(int(own::Reduce::Max) == CUDNN_REDUCE_TENSOR_MAX);
static_assert(int(own::Heuristic::A) == CUDNN_HEUR_MODE_A);
static_assert(int(own::Heuristic::Fallback) == CUDNN_HEUR_MODE_FALLBACK);
static_assert(std::is_same_v<own::Descriptor, cudnnBackendDescriptor_t>);

template <class P>
constexpr bool kSamePerf =
    sizeof(P) == sizeof(own::Perf) && offsetof(P, algo) == offsetof(own::Perf, algorithm) &&
    offsetof(P, status) == offsetof(own::Perf, status) &&
    offsetof(P, time) == offsetof(own::Perf, time) &&
    offsetof(P, memory) == offsetof(own::Perf, memory) &&
    offsetof(P, determinism) == offsetof(own::Perf, determinism) &&
    offsetof(P, mathType) == offsetof(own::Perf, math);
static_assert(kSamePerf<cudnnConvolutionFwdAlgoPerf_t>);
static_assert(kSamePerf<cudnnConvolutionBwdDataAlgoPerf_t>);
static_assert(kSamePerf<cudnnConvolutionBwdFilterAlgoPerf_t>);

}  // namespace
