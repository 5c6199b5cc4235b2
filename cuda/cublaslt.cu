// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt. See Note [Rows and columns].
#include "cuda/cublaslt.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "core/hash.h"
#include "core/warning.h"
#include "cuda/gemm.h"
#include "cuda/libraries.h"
#include "cuda/values.h"

namespace gradstep::cuda {

namespace {

// Note [Rows and columns]
// cuBLASLt stores matrices column after column. Rows that follow each other are the columns of the
// transpose, so C = A B is asked for as C^T = B^T A^T: its first operand is our B and its second
// our A, "not transposed" where our rows are contiguous. Its bias is added along columns of C^T,
// which are our rows.

using namespace lt;

/// All functions, or null where the library or one of them is missing.
const Functions* functions() {
  static const Functions* const found = []() -> const Functions* {
    static Functions f;
    bool all = true;
    const auto load = [&](auto& to, const char* name) {
      void* const p = symbol("cublaslt", name);
      all = all && p != nullptr;
      std::memcpy(&to, &p, sizeof p);
    };
    load(f.create, "cublasLtCreate");
    load(f.desc_create, "cublasLtMatmulDescCreate");
    load(f.desc_destroy, "cublasLtMatmulDescDestroy");
    load(f.desc_set, "cublasLtMatmulDescSetAttribute");
    load(f.layout_create, "cublasLtMatrixLayoutCreate");
    load(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
    load(f.layout_set, "cublasLtMatrixLayoutSetAttribute");
    load(f.preference_create, "cublasLtMatmulPreferenceCreate");
    load(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    load(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    load(f.heuristic, "cublasLtMatmulAlgoGetHeuristic");
    load(f.matmul, "cublasLtMatmul");
    return all ? &f : nullptr;
  }();
  return found;
}

void check_status(Status s, const char* function) {
  GS_CHECK(s == 0, "CUDA error: {} failed with status {}", function, s);
}

// ---- what an algorithm depends on ----

/// A factor as cuBLASLt sees it; false if neither its rows nor its columns are contiguous.
struct Stored {
  int64_t transposed, ld, batch, alignment;
};
bool stored(const Factor& f, int64_t rows, int64_t cols, Stored& s) {
  // As the layout of the CPU's matmul: an axis of one element may have any stride.
  if ((f.col == 1 || cols == 1) && (f.row >= cols || rows == 1)) {
    s = {0, rows == 1 ? cols : f.row, f.batch, 0};
  } else if ((f.row == 1 || rows == 1) && (f.col >= rows || cols == 1)) {
    s = {1, cols == 1 ? rows : f.col, f.batch, 0};
  } else {
    return false;
  }
  return true;
}

/// The power of two up to 256 that divides an address.
uint32_t alignment_of(const void* p) {
  const uintptr_t v = reinterpret_cast<uintptr_t>(p) | 256;
  return uint32_t(v & (~v + 1));
}

/// No padding: compared and hashed as bytes.
struct Key {
  int64_t m, n, k, batch;
  Stored a, b;
  int64_t c_row, c_batch;
  uint32_t c_alignment, vector_alignment, aux_alignment;
  uint32_t epilogue;
  int32_t type, compute, adds, device;
  bool operator==(const Key& o) const { return std::memcmp(this, &o, sizeof(Key)) == 0; }
};

/// The operands are exchanged: see Note [Rows and columns].
uint32_t epilogue_of(const Product& p) {
  switch (p.fused) {
    case Fused::None: return p.bias ? kEpilogueBias : kEpilogueNone;
    case Fused::Relu: return p.bias ? kEpilogueReluBias : kEpilogueRelu;
    case Fused::Gelu: return p.bias ? kEpilogueGeluBias : kEpilogueGelu;
    case Fused::GeluKeep: return p.bias ? kEpilogueGeluAuxBias : kEpilogueGeluAux;
    case Fused::GeluGrad: return kEpilogueGeluGrad;
    case Fused::SumA: return kEpilogueSumB;
    case Fused::SumB: return kEpilogueSumA;
  }
  return kEpilogueNone;
}

/// The arrays of an epilogue. The search for an algorithm looks at their addresses.
struct Extras {
  const void* vector;  // a bias, or the sums
  const void* aux;
};

/// Descriptors and the algorithm for a kind of product.
struct Plan {
  const Functions& f;
  Desc desc = nullptr;
  Layout a = nullptr, b = nullptr, c = nullptr;
  HeuristicResult best = {};
  bool found = false;

  explicit Plan(const Functions& functions) : f(functions) {}
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (desc) (void)f.desc_destroy(desc);
    for (const Layout l : {a, b, c}) {
      if (l) (void)f.layout_destroy(l);
    }
  }
};

struct Library {
  std::mutex mutex;  // a plan's pointers are set before each use
  Handle handles[kMostDevices] = {};
  std::unordered_map<Key, std::unique_ptr<Plan>, HashOfBytes<Key>> plans;
};
Library& lib() {
  static Library* const l = new Library;  // outlives the CUDA context at exit
  return *l;
}
constexpr size_t kMostPlans = 4096;
constexpr uint64_t kMostWorkspace = 32 << 20;  // what NVIDIA recommends for an H100

/// A matrix of so many rows, stored by rows, as cuBLASLt's columns.
Layout make_layout(const Functions& f, DataType type, int64_t rows, int64_t cols, int64_t ld,
                   int64_t batch, int64_t batch_step) {
  Layout layout = nullptr;
  check_status(f.layout_create(&layout, type, uint64_t(cols), uint64_t(rows), ld),
               "cublasLtMatrixLayoutCreate");
  if (batch > 1) {
    const int32_t count = int32_t(batch);
    check_status(f.layout_set(layout, kBatchCount, &count, sizeof count), "batch count");
    check_status(f.layout_set(layout, kBatchOffset, &batch_step, sizeof batch_step),
                 "batch offset");
  }
  return layout;
}

void set_extras(const Plan& plan, const Extras& e) {
  const auto set = [&](DescAttribute which, const void* p) {
    if (!p) return;
    check_status(plan.f.desc_set(plan.desc, which, &p, sizeof p), "cublasLtMatmulDescSetAttribute");
  };
  set(kBiasPointer, e.vector);
  set(kAuxPointer, e.aux);
}

std::unique_ptr<Plan> make_plan(const Functions& f, Handle handle, const Key& key,
                                const Extras& extras) {
  auto plan = std::make_unique<Plan>(f);
  const auto type = DataType(key.type);
  const bool is_double = type == kR64F;
  check_status(f.desc_create(&plan->desc, ComputeType(key.compute), is_double ? kR64F : kR32F),
               "cublasLtMatmulDescCreate");
  const auto set = [&](DescAttribute which, auto value) {
    check_status(f.desc_set(plan->desc, which, &value, sizeof value),
                 "cublasLtMatmulDescSetAttribute");
  };
  set(kTransA, int32_t(key.b.transposed ? kOpT : kOpN));
  set(kTransB, int32_t(key.a.transposed ? kOpT : kOpN));
  set(kEpilogue, key.epilogue);
  if (extras.aux) set(kAuxLd, key.c_row);
  set_extras(*plan, extras);
  const auto make = [&](const Stored& s, int64_t rows, int64_t cols) {
    return s.transposed ? make_layout(f, type, cols, rows, s.ld, key.batch, s.batch)
                        : make_layout(f, type, rows, cols, s.ld, key.batch, s.batch);
  };
  plan->a = make(key.b, key.k, key.n);
  plan->b = make(key.a, key.m, key.k);
  plan->c = make_layout(f, type, key.m, key.n, key.c_row, key.batch, key.c_batch);

  Preference preference = nullptr;
  check_status(f.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const auto prefer = [&](PreferenceAttribute which, auto value) {
    (void)f.preference_set(preference, which, &value, sizeof value);
  };
  prefer(kMaxWorkspace, kMostWorkspace);
  // Halves are added up in float, also between the parts of a split product.
  prefer(kReductionMask,
         uint32_t(type == kR16F || type == kR16BF ? kReduceInComputeType : kReduceAny));
  prefer(kAlignA, uint32_t(key.b.alignment));
  prefer(kAlignB, uint32_t(key.a.alignment));
  prefer(kAlignC, key.c_alignment);
  prefer(kAlignD, key.c_alignment);
  int n = 0;
  const Status s = f.heuristic(handle, plan->desc, plan->a, plan->b, plan->c, plan->c, preference,
                               1, &plan->best, &n);
  (void)f.preference_destroy(preference);
  plan->found = s == 0 && n > 0 && plan->best.state == 0;
  return plan;
}

// ---- bias ----

struct GatherArgs {
  const char* from;
  char* to;
  int64_t n, step;
  int32_t size;
};
/// Elements of any size, `step` apart, one after the other.
__global__ void gather_bias_kernel(const __grid_constant__ GatherArgs g) {
  for (int64_t i = first_index(); i < g.n * g.size; i += index_stride()) {
    g.to[i] = g.from[i / g.size * g.step * g.size + i % g.size];
  }
}

enum class Answer { Done, Unfit, NoAlgorithm };  // Unfit: not a product for this library

Answer try_multiply(const Call& call, const Product& p) {
  DataType type;
  switch (p.type) {
    case DType::Float32: type = kR32F; break;
    case DType::Float64: type = kR64F; break;
    case DType::Float16: type = kR16F; break;
    case DType::BFloat16: type = kR16BF; break;
    default: return Answer::Unfit;
  }
  const Functions* const f = functions();
  if (!f || p.k == 0 || p.batch > INT32_MAX) return Answer::Unfit;
  const int device = call.operands[0]->device.index;
  Key key;
  std::memset(&key, 0, sizeof key);
  if (!stored(p.a, p.m, p.k, key.a) || !stored(p.b, p.k, p.n, key.b)) {
    return Answer::Unfit;
  }
  key.a.alignment = alignment_of(p.a.data);
  key.b.alignment = alignment_of(p.b.data);
  key.m = p.m;
  key.n = p.n;
  key.k = p.k;
  key.batch = p.batch;
  key.c_row = p.m == 1 ? p.n : p.c_row;
  key.c_batch = p.c_batch;
  key.c_alignment = alignment_of(p.c);
  key.type = type;
  key.compute = type == kR64F                         ? kCompute64F
                : type == kR32F && flags().allow_tf32 ? kComputeTf32
                                                      : kCompute32F;
  key.epilogue = epilogue_of(p);
  key.adds = p.beta != 0;
  key.device = device;
  if (p.aux && (key.c_row % 8 != 0 || alignment_of(p.aux) < 16)) return Answer::Unfit;

  // The library wants the bias in one piece, and reads it in words of 16 bytes.
  const int64_t size = int64_t(element_size(p.type));
  const bool gathers = p.bias && ((p.bias_step != 1 && p.n > 1) || alignment_of(p.bias) < 16);
  const DeviceScratch<char> gathered(gathers ? p.n * size : 0, device);
  const Extras extras{p.sums ? p.sums : gathers ? gathered.data() : p.bias, p.aux};
  key.vector_alignment = extras.vector ? alignment_of(extras.vector) : 0;
  key.aux_alignment = extras.aux ? alignment_of(extras.aux) : 0;

  Library& l = lib();
  const std::lock_guard lock(l.mutex);
  // A first use may allocate, which a stream that is being captured would refuse.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  if (!l.handles[device]) {
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    const Status s = f->create(&l.handles[device]);
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    check_status(s, "cublasLtCreate");
  }
  auto at = l.plans.find(key);
  if (at == l.plans.end()) {
    if (l.plans.size() >= kMostPlans) l.plans.clear();
    at = l.plans.emplace(key, make_plan(*f, l.handles[device], key, extras)).first;
  }
  Plan& plan = *at->second;
  if (!plan.found) return Answer::NoAlgorithm;
  if (gathers) {
    launch_grid(call, &gather_bias_kernel, blocks_for(call, p.n * size, 256), 256,
                GatherArgs{static_cast<const char*>(p.bias), gathered.data(), p.n, p.bias_step,
                           int32_t(size)});
  }
  set_extras(plan, extras);
  const DeviceScratch<char> workspace(int64_t(plan.best.workspace), device);
  const float alpha32 = float(p.alpha), beta32 = float(p.beta);
  const bool is_double = type == kR64F;
  const void* const alpha = is_double ? static_cast<const void*>(&p.alpha) : &alpha32;
  const void* const beta = is_double ? static_cast<const void*>(&p.beta) : &beta32;
  const Status s = f->matmul(l.handles[device], plan.desc, alpha, p.b.data, plan.a, p.a.data,
                             plan.b, beta, p.c, plan.c, p.c, plan.c, &plan.best.algo,
                             workspace.data(), plan.best.workspace, stream_of(call));
  if (s == kInvalidValue || s == kNotSupported) {  // the search did not know; nothing was done
    plan.found = false;
    return Answer::NoAlgorithm;
  }
  check_status(s, "cublasLtMatmul");
  after_launch(call);
  return Answer::Done;
}

/// Tells once for each kind of product that our own kernel computes it.
void warn_of_missing_algorithm(const Product& p) {
  const auto side = [](const Factor& f) { return f.col == 1 ? "rows" : "columns"; };
  const std::string kind =
      format("{}products of {} matrices stored by {} and by {}", p.batch > 1 ? "batched " : "",
             name(p.type), side(p.a), side(p.b));
  warn_once(kind, format("cuBLASLt {} has no algorithm for {}, here {}x{} by {}x{}: gradstep's own "
                         "kernel computes them, slower.",
                         library_version("cublaslt"), kind, p.m, p.k, p.k, p.n));
}

}  // namespace

bool multiply_by_library(const Call& call, const Product& p) {
  const Answer answer = try_multiply(call, p);
  // What is fused is done in two steps else, and no worse than by other programs.
  if (answer == Answer::Done || p.fused != Fused::None) return answer == Answer::Done;
  if (answer == Answer::NoAlgorithm) warn_of_missing_algorithm(p);
#ifndef GS_CUDA_SHIM  // where it is missing on purpose
  if (is_floating(p.type) && !functions()) {
    warn_once("cublaslt",
              "cuBLASLt was not found: gradstep's own kernels compute matrix products, slower. pip "
              "install 'gradstep[cuda]' brings it.");
  }
#endif
  return false;
}

}  // namespace gradstep::cuda
