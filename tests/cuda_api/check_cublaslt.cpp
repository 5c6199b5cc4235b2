// SPDX-License-Identifier: Apache-2.0
// cuda/cublaslt.h against NVIDIA's headers; compiling is the test. Include paths: the root, CUDA's
// headers and those of the package nvidia-cublas.
#include <cublasLt.h>

#include <type_traits>

#include "cuda/cublaslt.h"

namespace lt = gradstep::cuda::lt;

// ---- values ----

#define SAME(ours, theirs) static_assert(int64_t(lt::ours) == int64_t(theirs))
SAME(kR32F, CUDA_R_32F);
SAME(kR64F, CUDA_R_64F);
SAME(kR16F, CUDA_R_16F);
SAME(kR16BF, CUDA_R_16BF);
SAME(kCompute32F, CUBLAS_COMPUTE_32F);
SAME(kCompute64F, CUBLAS_COMPUTE_64F);
SAME(kComputeTf32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME(kOpN, CUBLAS_OP_N);
SAME(kOpT, CUBLAS_OP_T);
SAME(kBatchCount, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(kBatchOffset, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(kTransA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(kTransB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(kEpilogue, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(kBiasPointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(kAuxPointer, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
SAME(kAuxLd, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
SAME(kEpilogueNone, CUBLASLT_EPILOGUE_DEFAULT);
SAME(kEpilogueBias, CUBLASLT_EPILOGUE_BIAS);
SAME(kEpilogueRelu, CUBLASLT_EPILOGUE_RELU);
SAME(kEpilogueReluBias, CUBLASLT_EPILOGUE_RELU_BIAS);
SAME(kEpilogueGelu, CUBLASLT_EPILOGUE_GELU);
SAME(kEpilogueGeluBias, CUBLASLT_EPILOGUE_GELU_BIAS);
SAME(kEpilogueGeluAux, CUBLASLT_EPILOGUE_GELU_AUX);
SAME(kEpilogueGeluAuxBias, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
SAME(kEpilogueGeluGrad, CUBLASLT_EPILOGUE_DGELU);
SAME(kEpilogueSumA, CUBLASLT_EPILOGUE_BGRADA);
SAME(kEpilogueSumB, CUBLASLT_EPILOGUE_BGRADB);
SAME(kMaxWorkspace, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(kReductionMask, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(kAlignA, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(kAlignB, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(kAlignC, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(kAlignD, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(kReduceInComputeType, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(kReduceAny, CUBLASLT_REDUCTION_SCHEME_MASK);
static_assert(CUBLAS_STATUS_SUCCESS == 0);
SAME(kInvalidValue, CUBLAS_STATUS_INVALID_VALUE);
SAME(kNotSupported, CUBLAS_STATUS_NOT_SUPPORTED);

// ---- layouts ----

static_assert(sizeof(lt::Algo) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
#define SAME_PLACE(ours, theirs)                       \
  static_assert(offsetof(lt::HeuristicResult, ours) == \
                offsetof(cublasLtMatmulHeuristicResult_t, theirs))
SAME_PLACE(algo, algo);
SAME_PLACE(workspace, workspaceSize);
SAME_PLACE(state, state);
SAME_PLACE(waves, wavesCount);

// ---- functions: the same number of arguments, each of the same kind and size ----

template <class A, class B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                        std::is_floating_point_v<A> == std::is_floating_point_v<B>;
template <class A, class B>
constexpr bool kSameCall = false;
template <class R, class... A, class S, class... B>
constexpr bool kSameCall<R (*)(A...), S (*)(B...)> = [] {
  if constexpr (sizeof...(A) == sizeof...(B)) {
    return kAlike<R, S> && (kAlike<A, B> && ...);
  } else {
    return false;
  }
}();
#define SAME_CALL(ours, theirs) \
  static_assert(kSameCall<decltype(lt::Functions::ours), decltype(&theirs)>)
SAME_CALL(create, cublasLtCreate);
SAME_CALL(desc_create, cublasLtMatmulDescCreate);
SAME_CALL(desc_destroy, cublasLtMatmulDescDestroy);
SAME_CALL(desc_set, cublasLtMatmulDescSetAttribute);
SAME_CALL(layout_create, cublasLtMatrixLayoutCreate);
SAME_CALL(layout_destroy, cublasLtMatrixLayoutDestroy);
SAME_CALL(layout_set, cublasLtMatrixLayoutSetAttribute);
SAME_CALL(preference_create, cublasLtMatmulPreferenceCreate);
SAME_CALL(preference_destroy, cublasLtMatmulPreferenceDestroy);
SAME_CALL(preference_set, cublasLtMatmulPreferenceSetAttribute);
SAME_CALL(heuristic, cublasLtMatmulAlgoGetHeuristic);
SAME_CALL(matmul, cublasLtMatmul);
