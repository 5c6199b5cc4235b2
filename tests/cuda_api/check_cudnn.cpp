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
template <> constexpr char kLetter<size_t> = 'z';
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
static_assert(int(own::Format::NCHW) == CUDNN_TENSOR_NCHW);
static_assert(int(own::Mode::CrossCorrelation) == CUDNN_CROSS_CORRELATION);
static_assert(int(own::Math::Default) == CUDNN_DEFAULT_MATH);
static_assert(int(own::Math::TensorOp) == CUDNN_TENSOR_OP_MATH);
static_assert(int(own::Math::Fma) == CUDNN_FMA_MATH);
static_assert(int(own::Determinism::No) == CUDNN_NON_DETERMINISTIC);
static_assert(int(own::Determinism::Yes) == CUDNN_DETERMINISTIC);
static_assert(own::kForwardAlgorithms == CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
static_assert(own::kDataAlgorithms == CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
static_assert(own::kFilterAlgorithms == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);

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
