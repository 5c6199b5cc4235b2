// SPDX-License-Identifier: Apache-2.0
// What cuda/cublaslt.cu uses of cuBLASLt, declared here so that NVIDIA's headers are not needed.
// tests/cuda_api/check_cublaslt.cpp compares all of it with the headers where they are installed.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace gradstep::cuda::lt {

// ---- types: handles are opaque pointers, enums are ints ----

using Handle = void*;
using Desc = void*;
using Layout = void*;
using Preference = void*;
using Status = int;  // 0: success
constexpr Status kInvalidValue = 7, kNotSupported = 15;

struct Algo {
  uint64_t data[8];
};
struct HeuristicResult {
  Algo algo;
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};

// ---- values ----

enum DataType : int { kR32F = 0, kR64F = 1, kR16F = 2, kR16BF = 14 };
enum ComputeType : int { kCompute32F = 68, kCompute64F = 70, kComputeTf32 = 77 };
enum Operation : int { kOpN = 0, kOpT = 1 };
enum LayoutAttribute : int { kBatchCount = 5, kBatchOffset = 6 };  // int32, int64
enum DescAttribute : int {
  kTransA = 3,       // int32
  kTransB = 4,       // int32
  kEpilogue = 7,     // uint32
  kBiasPointer = 8,  // void*: a bias, or where the sums of a factor go
  kAuxPointer = 11,  // void*: what gelu is applied to, in the type of the result
  kAuxLd = 12,       // int64, a multiple of 8
};
/// Activations: the bias is added before. BGRADA and BGRADB are sums of a factor over the summed
/// axis.
enum Epilogue : uint32_t {
  kEpilogueNone = 1,
  kEpilogueBias = 4,
  kEpilogueRelu = 2,
  kEpilogueReluBias = 6,
  kEpilogueGelu = 32,
  kEpilogueGeluBias = 36,
  kEpilogueGeluAux = 160,
  kEpilogueGeluAuxBias = 164,
  kEpilogueGeluGrad = 192,  // DGELU
  kEpilogueSumA = 256,      // BGRADA: as many elements as the result has rows
  kEpilogueSumB = 512,      // BGRADB: columns
};
enum PreferenceAttribute : int {
  kMaxWorkspace = 1,   // uint64
  kReductionMask = 3,  // uint32
  kAlignA = 5,         // uint32
  kAlignB = 6,
  kAlignC = 7,
  kAlignD = 8,
};
enum ReductionScheme : uint32_t { kReduceInComputeType = 2, kReduceAny = 7 };

// ---- functions, found by dlsym under the names in comments ----

struct Functions {
  Status (*create)(Handle*);                                     // cublasLtCreate
  Status (*desc_create)(Desc*, ComputeType, DataType scale);     // cublasLtMatmulDescCreate
  Status (*desc_destroy)(Desc);                                  // ..MatmulDescDestroy
  Status (*desc_set)(Desc, DescAttribute, const void*, size_t);  // ..MatmulDescSetAttribute
  Status (*layout_create)(Layout*, DataType, uint64_t rows, uint64_t cols, int64_t ld);
  Status (*layout_destroy)(Layout);                                    // ..MatrixLayoutDestroy
  Status (*layout_set)(Layout, LayoutAttribute, const void*, size_t);  // ..SetAttribute
  Status (*preference_create)(Preference*);                            // ..MatmulPreferenceCreate
  Status (*preference_destroy)(Preference);
  Status (*preference_set)(Preference, PreferenceAttribute, const void*, size_t);
  Status (*heuristic)(Handle, Desc, Layout a, Layout b, Layout c, Layout d, Preference, int wanted,
                      HeuristicResult*, int* found);  // ..MatmulAlgoGetHeuristic
  Status (*matmul)(Handle, Desc, const void* alpha, const void* a, Layout, const void* b, Layout,
                   const void* beta, const void* c, Layout, void* d, Layout, const Algo*,
                   void* workspace, size_t workspace_bytes, cudaStream_t);  // cublasLtMatmul
};

}  // namespace gradstep::cuda::lt
