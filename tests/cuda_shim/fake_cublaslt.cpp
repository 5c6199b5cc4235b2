// SPDX-License-Identifier: Apache-2.0
// A stand-in for cuBLASLt in the tests of cuda/cublaslt.cu: it computes what the descriptors say by
// plain loops on the emulated GPU's memory, as NVIDIA's documentation describes it (matrices stored
// by columns, leading dimensions, transposes, strided batches, beta, epilogues: bias along columns,
// relu, gelu with its argument and its gradient, sums of a factor over the summed axis), and
// refuses what the real one would refuse. It proves the use of the API, not the values of its enums
// (tests/cuda_api does) nor anything about speed.
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/half.h"
#include "cuda/cublaslt.h"

using namespace gradstep::cuda::lt;

namespace {

constexpr Status kInvalid = kInvalidValue;
constexpr uint64_t kMagic = 0x6661636b65646c74;
constexpr size_t kWorkspace = 4096;

struct DescData {
  int compute, scale;
  int32_t transposes[2] = {kOpN, kOpN};
  uint32_t epilogue = kEpilogueNone;
  void* vector = nullptr;
  void* aux = nullptr;
  int64_t aux_ld = 0;
};
struct LayoutData {
  DataType type;
  int64_t rows, cols, ld;
  int32_t batch = 1;
  int64_t offset = 0;
};
struct PreferenceData {
  uint64_t workspace = 0;
  uint32_t reduction = kReduceAny;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

int g_products = 0, g_searches = 0, g_alive = 0;
int g_by_epilogue[1024] = {};
int g_refuses = 0;  // 1: the search finds nothing; 2: what it finds does not run

/// Opens and closes the emulated device's memory.
class Access {
 public:
  Access() { set(1); }
  ~Access() { set(0); }

 private:
  static void set(int on) {
    static const auto f = [] {
      void* const plugin = dlopen(std::getenv("GRADSTEP_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
      return reinterpret_cast<void (*)(int)>(plugin ? dlsym(plugin, "shim_access") : nullptr);
    }();
    if (!f) std::abort();
    f(on);
  }
};

template <class T>
Status take(T& to, const void* from, size_t size) {
  if (size != sizeof(T) || !from) return kInvalid;
  std::memcpy(&to, from, size);
  return 0;
}

size_t size_of(DataType t) { return t == kR64F ? 8 : t == kR32F ? 4 : 2; }
double load(const void* p, DataType t, int64_t i) {
  switch (t) {
    case kR64F: return static_cast<const double*>(p)[i];
    case kR32F: return static_cast<const float*>(p)[i];
    case kR16F: return double(float(static_cast<const gradstep::Half*>(p)[i]));
    default: return double(float(static_cast<const gradstep::BFloat16*>(p)[i]));
  }
}
void store(void* p, DataType t, int64_t i, double v) {
  switch (t) {
    case kR64F: static_cast<double*>(p)[i] = v; break;
    case kR32F: static_cast<float*>(p)[i] = float(v); break;
    case kR16F: static_cast<gradstep::Half*>(p)[i] = gradstep::Half(float(v)); break;
    default: static_cast<gradstep::BFloat16*>(p)[i] = gradstep::BFloat16(float(v)); break;
  }
}
/// What a tensor core reads of a float.
double rounded(double v, int compute) {
  if (compute != kComputeTf32) return v;
  const auto bits = std::bit_cast<uint32_t>(float(v));
  return double(std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu));
}

/// True if the four matrices fit each other.
bool fits(const DescData& d, const LayoutData& a, const LayoutData& b, const LayoutData& c,
          const LayoutData& to) {
  const bool ta = d.transposes[0] == kOpT, tb = d.transposes[1] == kOpT;
  const int64_t m = ta ? a.cols : a.rows, k = ta ? a.rows : a.cols, n = tb ? b.rows : b.cols;
  bool good = k == (tb ? b.cols : b.rows) && to.rows == m && to.cols == n && c.rows == m &&
              c.cols == n && m > 0 && n > 0 && k > 0;
  for (const LayoutData* l : {&a, &b, &c, &to}) {
    good = good && l->ld >= l->rows && l->type == to.type && l->batch == to.batch;
  }
  const bool is_double = to.type == kR64F;
  good = good && (d.scale == (is_double ? kR64F : kR32F));
  good = good &&
         (is_double ? d.compute == kCompute64F
                    : d.compute == kCompute32F || (d.compute == kComputeTf32 && to.type == kR32F));
  // What reads or writes more than the result is for single matrices here.
  const bool has_aux = (d.epilogue & 128) != 0;
  if (has_aux) {
    good = good && d.aux && d.aux_ld % 8 == 0 && d.aux_ld >= to.rows && to.batch == 1 &&
           reinterpret_cast<uintptr_t>(d.aux) % 16 == 0;
  }
  switch (d.epilogue) {
    case kEpilogueNone:
    case kEpilogueRelu: return good;
    case kEpilogueBias:
    case kEpilogueReluBias: return good && d.vector;
    case kEpilogueSumA:
    case kEpilogueSumB: return good && d.vector && to.batch == 1;
    case kEpilogueGelu:
    case kEpilogueGeluAux:
    case kEpilogueGeluGrad: return good && !is_double;
    case kEpilogueGeluBias:
    case kEpilogueGeluAuxBias: return good && !is_double && d.vector;
  }
  return false;
}

uint64_t alignment_of(const void* p) {
  const auto v = reinterpret_cast<uintptr_t>(p) | 256;
  return v & (~v + 1);
}
bool uses_vector(uint32_t epilogue) { return (epilogue & (4 | 256 | 512)) != 0; }

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
double gelu_gradient(double x) {
  const double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

bool is_aligned(const void* p, uint64_t bytes) {
  return bytes != 0 && reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

}  // namespace

#define FAKE extern "C" __attribute__((visibility("default")))

FAKE int fake_products() { return g_products; }
FAKE int fake_searches() { return g_searches; }
FAKE int fake_alive() { return g_alive; }
FAKE void fake_refuse(int when) { g_refuses = when; }
FAKE int fake_products_with(int epilogue) { return g_by_epilogue[epilogue]; }

FAKE size_t cublasLtGetVersion() { return 130100; }
FAKE Status cublasLtCreate(Handle* h) {
  *h = &g_products;
  return 0;
}
FAKE Status cublasLtMatmulDescCreate(Desc* d, ComputeType compute, DataType scale) {
  *d = new DescData{compute, scale};
  ++g_alive;
  return 0;
}
FAKE Status cublasLtMatmulDescDestroy(Desc d) {
  delete static_cast<DescData*>(d);
  --g_alive;
  return 0;
}
FAKE Status cublasLtMatmulDescSetAttribute(Desc desc, DescAttribute which, const void* p,
                                           size_t n) {
  auto* d = static_cast<DescData*>(desc);
  switch (which) {
    case kTransA: return take(d->transposes[0], p, n);
    case kTransB: return take(d->transposes[1], p, n);
    case kEpilogue: return take(d->epilogue, p, n);
    case kBiasPointer: return take(d->vector, p, n);
    case kAuxPointer: return take(d->aux, p, n);
    case kAuxLd: return take(d->aux_ld, p, n);
  }
  return kInvalid;
}
FAKE Status cublasLtMatrixLayoutCreate(Layout* l, DataType type, uint64_t rows, uint64_t cols,
                                       int64_t ld) {
  *l = new LayoutData{type, int64_t(rows), int64_t(cols), ld};
  ++g_alive;
  return 0;
}
FAKE Status cublasLtMatrixLayoutDestroy(Layout l) {
  delete static_cast<LayoutData*>(l);
  --g_alive;
  return 0;
}
FAKE Status cublasLtMatrixLayoutSetAttribute(Layout layout, LayoutAttribute which, const void* p,
                                             size_t n) {
  auto* l = static_cast<LayoutData*>(layout);
  switch (which) {
    case kBatchCount: return take(l->batch, p, n);
    case kBatchOffset: return take(l->offset, p, n);
  }
  return kInvalid;
}
FAKE Status cublasLtMatmulPreferenceCreate(Preference* p) {
  *p = new PreferenceData;
  ++g_alive;
  return 0;
}
FAKE Status cublasLtMatmulPreferenceDestroy(Preference p) {
  delete static_cast<PreferenceData*>(p);
  --g_alive;
  return 0;
}
FAKE Status cublasLtMatmulPreferenceSetAttribute(Preference preference, PreferenceAttribute which,
                                                 const void* p, size_t n) {
  auto* f = static_cast<PreferenceData*>(preference);
  switch (which) {
    case kMaxWorkspace: return take(f->workspace, p, n);
    case kReductionMask: return take(f->reduction, p, n);
    case kAlignA:
    case kAlignB:
    case kAlignC:
    case kAlignD: return take(f->alignments[which - kAlignA], p, n);
  }
  return kInvalid;
}

FAKE Status cublasLtMatmulAlgoGetHeuristic(Handle, Desc desc, Layout la, Layout lb, Layout lc,
                                           Layout ld, Preference preference, int wanted,
                                           HeuristicResult* result, int* found) {
  const auto& d = *static_cast<DescData*>(desc);
  const auto& f = *static_cast<PreferenceData*>(preference);
  *found = 0;
  ++g_searches;
  if (wanted < 1 || f.workspace < kWorkspace || g_refuses == 1) return kNotSupported;
  if (!fits(d, *static_cast<LayoutData*>(la), *static_cast<LayoutData*>(lb),
            *static_cast<LayoutData*>(lc), *static_cast<LayoutData*>(ld))) {
    return kInvalid;
  }
  *result = {};
  result->algo.data[0] = kMagic;
  for (int k = 0; k < 4; ++k) result->algo.data[1 + k] = f.alignments[k];
  result->algo.data[5] = d.epilogue;
  // The search looks at the addresses of an epilogue's arrays.
  result->algo.data[6] = uses_vector(d.epilogue) ? alignment_of(d.vector) : 1;
  result->algo.data[7] = d.epilogue & 128 ? alignment_of(d.aux) : 1;
  result->workspace = kWorkspace;
  result->waves = 1;
  *found = 1;
  return 0;
}

FAKE Status cublasLtMatmul(Handle handle, Desc desc, const void* alpha, const void* a, Layout la,
                           const void* b, Layout lb, const void* beta, const void* c, Layout lc,
                           void* to, Layout lto, const Algo* algo, void* workspace,
                           size_t workspace_bytes, cudaStream_t) {
  const auto& d = *static_cast<DescData*>(desc);
  const auto &A = *static_cast<LayoutData*>(la), &B = *static_cast<LayoutData*>(lb),
             &C = *static_cast<LayoutData*>(lc), &D = *static_cast<LayoutData*>(lto);
  const auto size = int64_t(size_of(D.type));
  const void* const operands[] = {a, b, c, to};
  if (handle != &g_products || !fits(d, A, B, C, D) || !algo || algo->data[0] != kMagic ||
      algo->data[5] != d.epilogue || !workspace || workspace_bytes < kWorkspace) {
    return kInvalid;
  }
  for (int k = 0; k < 4; ++k) {
    if (!is_aligned(operands[k], algo->data[1 + k])) return kInvalid;
  }
  if (!is_aligned(d.vector, algo->data[6]) || !is_aligned(d.aux, algo->data[7])) return kInvalid;
  if (uses_vector(d.epilogue) && !is_aligned(d.vector, 16)) return kInvalid;
  const bool biased = (d.epilogue & 4) != 0, sums = d.epilogue >= 256;
  const bool grad = d.epilogue == kEpilogueGeluGrad, is_gelu = (d.epilogue & 32) != 0,
             relu = (d.epilogue & 2) != 0, keeps = is_gelu && (d.epilogue & 128) != 0;
  if (g_refuses == 2) return kNotSupported;
  ++g_products;
  ++g_by_epilogue[d.epilogue];
  const Access access;
  std::memset(workspace, 0x33, workspace_bytes);
  const double x = d.scale == kR64F ? *static_cast<const double*>(alpha)
                                    : double(*static_cast<const float*>(alpha));
  const double y = d.scale == kR64F ? *static_cast<const double*>(beta)
                                    : double(*static_cast<const float*>(beta));
  const bool ta = d.transposes[0] == kOpT, tb = d.transposes[1] == kOpT;
  const int64_t depth = ta ? A.rows : A.cols;
  for (int64_t e = 0; e < D.batch; ++e) {
    const char* pa = static_cast<const char*>(a) + e * A.offset * size;
    const char* pb = static_cast<const char*>(b) + e * B.offset * size;
    const char* pc = static_cast<const char*>(c) + e * C.offset * size;
    char* pd = static_cast<char*>(to) + e * D.offset * size;
    for (int64_t j = 0; j < D.cols; ++j) {
      for (int64_t i = 0; i < D.rows; ++i) {
        double sum = 0;
        for (int64_t l = 0; l < depth; ++l) {
          sum += rounded(load(pa, A.type, ta ? l + i * A.ld : i + l * A.ld), d.compute) *
                 rounded(load(pb, B.type, tb ? j + l * B.ld : l + j * B.ld), d.compute);
        }
        double v = x * sum + (y != 0 ? y * load(pc, C.type, i + j * C.ld) : 0);
        if (biased) v += load(d.vector, D.type, i);
        if (keeps) store(d.aux, D.type, i + j * d.aux_ld, v);
        if (grad) v *= gelu_gradient(load(d.aux, D.type, i + j * d.aux_ld));
        if (is_gelu) v = gelu(v);
        if (relu) v = v < 0 ? 0 : v;
        store(pd, D.type, i + j * D.ld, v);
      }
    }
  }
  const int64_t summed = !sums ? 0 : d.epilogue == kEpilogueSumA ? D.rows : D.cols;
  for (int64_t i = 0; i < summed; ++i) {
    double sum = 0;
    for (int64_t l = 0; l < depth; ++l) {
      sum += d.epilogue == kEpilogueSumA ? load(a, A.type, ta ? l + i * A.ld : i + l * A.ld)
                                         : load(b, B.type, tb ? i + l * B.ld : l + i * B.ld);
    }
    store(d.vector, D.type, i, sum);
  }
  return 0;
}
