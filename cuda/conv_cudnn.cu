// SPDX-License-Identifier: Apache-2.0
// Convolution by cuDNN: descriptors and the choice of an algorithm are kept for each shape, type
// and setting. See Note [Choice of algorithms].
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cuda/conv.h"
#include "cuda/cudnn.h"
#include "cuda/graph.h"

namespace gradstep::cuda {

namespace {

using namespace cudnn;

// Note [Choice of algorithms]
// cuDNN orders its algorithms by a rule (Get..Algorithm_v7) or, with cudnn.benchmark, by running
// them all once on the operands (Find..AlgorithmEx), which a captured graph can't. The first is
// taken that fits into memory and that cuDNN does not refuse after all; with cudnn.deterministic
// only those that give the same bits each time. float32 uses TF32 if cudnn.allow_tf32 says so. If
// none is left, the product is computed by kernels of our own; any other failure is an error.

struct Key {
  ConvShape shape;
  Product product;
  int device;
  bool tf32, deterministic, benchmark;
  static Key of(const Call& call, Product product, const ConvShape& s, bool benchmark) {
    Key k;
    std::memset(static_cast<void*>(&k), 0, sizeof(k));  // padding is compared too
    k.shape.nd = s.nd;
    k.shape.type = s.type;
    k.shape.batch = s.batch;
    k.shape.c_in = s.c_in;
    k.shape.c_out = s.c_out;
    k.shape.groups = s.groups;
    for (int d = 0; d < s.nd; ++d) {
      k.shape.in[d] = s.in[d];
      k.shape.kernel[d] = s.kernel[d];
      k.shape.stride[d] = s.stride[d];
      k.shape.pad[d] = s.pad[d];
      k.shape.dilation[d] = s.dilation[d];
      k.shape.out[d] = s.out[d];
    }
    k.product = product;
    k.device = call.operands[0]->device.index;
    k.tf32 = s.type == DType::Float32 && flags().cudnn_tf32;
    k.deterministic = flags().deterministic;
    k.benchmark = benchmark;
    return k;
  }
  bool operator==(const Key& o) const { return std::memcmp(this, &o, sizeof(*this)) == 0; }
};
static_assert(std::is_trivially_copyable_v<Key>);

/// Sizes for cuDNN, which knows images of two and three axes: one axis becomes the second of two.
struct Sizes {
  int nd;
  int v[5], strides[5];
  Sizes(int64_t first, int64_t second, const int64_t* rest, int count) : nd(count + 2) {
    if (count == 1) ++nd;
    v[0] = int(first);
    v[1] = int(second);
    v[2] = 1;
    for (int d = 0; d < count; ++d) v[nd - count + d] = int(rest[d]);
    int64_t step = 1;
    for (int d = nd - 1; d >= 0; --d) {
      strides[d] = int(step);
      step *= v[d];
    }
  }
};
/// A list with one value for each axis.
struct Axes {
  int v[3];
  Axes(const int64_t* list, int count, int missing) {
    v[0] = missing;
    const int shift = count == 1 ? 1 : 0;
    for (int d = 0; d < count; ++d) v[shift + d] = int(list[d]);
  }
};

struct Plan {
  TensorDesc x = nullptr, y = nullptr;
  FilterDesc w = nullptr;
  ConvDesc conv = nullptr;
  std::vector<Perf> candidates;  // best first; empty: cuDNN has none
  size_t chosen = 0;
  size_t workspace = 0;  // of the chosen one
  bool ready = false;    // `conv` and `workspace` are those of the chosen one

  explicit Plan(const ConvShape& s) {
    const Api& c = api();
    check(c.CreateTensorDescriptor(&x), "cudnnCreateTensorDescriptor");
    check(c.CreateTensorDescriptor(&y), "cudnnCreateTensorDescriptor");
    check(c.CreateFilterDescriptor(&w), "cudnnCreateFilterDescriptor");
    check(c.CreateConvolutionDescriptor(&conv), "cudnnCreateConvolutionDescriptor");
    const Data type = data_type(s.type);
    const Sizes in(s.batch, s.c_in, s.in, s.nd), out(s.batch, s.c_out, s.out, s.nd),
        kernel(s.c_out, s.c_in / s.groups, s.kernel, s.nd);
    check(c.SetTensorNdDescriptor(x, type, in.nd, in.v, in.strides), "cudnnSetTensorNdDescriptor");
    check(c.SetTensorNdDescriptor(y, type, out.nd, out.v, out.strides),
          "cudnnSetTensorNdDescriptor");
    check(c.SetFilterNdDescriptor(w, type, Format::NCHW, kernel.nd, kernel.v),
          "cudnnSetFilterNdDescriptor");
    const Axes pad(s.pad, s.nd, 0), stride(s.stride, s.nd, 1), dilation(s.dilation, s.nd, 1);
    check(c.SetConvolutionNdDescriptor(conv, in.nd - 2, pad.v, stride.v, dilation.v,
                                       Mode::CrossCorrelation,
                                       s.type == DType::Float64 ? Data::Double : Data::Float),
          "cudnnSetConvolutionNdDescriptor");
    check(c.SetConvolutionGroupCount(conv, int(s.groups)), "cudnnSetConvolutionGroupCount");
  }
  ~Plan() {
    const Api& c = api();
    if (x) (void)c.DestroyTensorDescriptor(x);
    if (y) (void)c.DestroyTensorDescriptor(y);
    if (w) (void)c.DestroyFilterDescriptor(w);
    if (conv) (void)c.DestroyConvolutionDescriptor(conv);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

// ---- the three families of functions ----

constexpr int kMostAlgorithms = 8;
static_assert(kForwardAlgorithms <= kMostAlgorithms && kDataAlgorithms <= kMostAlgorithms &&
              kFilterAlgorithms <= kMostAlgorithms);

int algorithms_of(Product product) {
  return product == Product::Forward ? kForwardAlgorithms
         : product == Product::Data  ? kDataAlgorithms
                                     : kFilterAlgorithms;
}

Status get_algorithms(Handle h, Product product, const Plan& p, int n, int* found, Perf* perf) {
  const Api& c = api();
  switch (product) {
    case Product::Forward:
      return c.GetConvolutionForwardAlgorithm_v7(h, p.x, p.w, p.conv, p.y, n, found, perf);
    case Product::Data:
      return c.GetConvolutionBackwardDataAlgorithm_v7(h, p.w, p.y, p.conv, p.x, n, found, perf);
    default:
      return c.GetConvolutionBackwardFilterAlgorithm_v7(h, p.x, p.y, p.conv, p.w, n, found, perf);
  }
}

Status find_algorithms(Handle h, Product product, const Plan& p, const ConvOperands& o, int n,
                       int* found, Perf* perf, void* space, size_t bytes) {
  const Api& c = api();
  switch (product) {
    case Product::Forward:
      return c.FindConvolutionForwardAlgorithmEx(h, p.x, o.x, p.w, o.w, p.conv, p.y, o.y, n, found,
                                                 perf, space, bytes);
    case Product::Data:
      return c.FindConvolutionBackwardDataAlgorithmEx(h, p.w, o.w, p.y, o.y, p.conv, p.x, o.x, n,
                                                      found, perf, space, bytes);
    default:
      return c.FindConvolutionBackwardFilterAlgorithmEx(h, p.x, o.x, p.y, o.y, p.conv, p.w, o.w, n,
                                                        found, perf, space, bytes);
  }
}

Status workspace_size(Handle h, Product product, const Plan& p, int algorithm, size_t* bytes) {
  const Api& c = api();
  switch (product) {
    case Product::Forward:
      return c.GetConvolutionForwardWorkspaceSize(h, p.x, p.w, p.conv, p.y, algorithm, bytes);
    case Product::Data:
      return c.GetConvolutionBackwardDataWorkspaceSize(h, p.w, p.y, p.conv, p.x, algorithm, bytes);
    default:
      return c.GetConvolutionBackwardFilterWorkspaceSize(h, p.x, p.y, p.conv, p.w, algorithm,
                                                         bytes);
  }
}

/// result = product + (accumulate ? result : 0).
Status execute(Handle h, Product product, const Plan& p, const ConvOperands& o, DType type,
               void* space, bool accumulate) {
  const Api& c = api();
  const double one = 1, zero = 0;
  const float one_f = 1, zero_f = 0;
  const bool wide = type == DType::Float64;
  const void* const alpha = wide ? static_cast<const void*>(&one) : &one_f;
  const void* const none = wide ? static_cast<const void*>(&zero) : &zero_f;
  const void* const beta = accumulate ? alpha : none;
  const int algorithm = p.candidates[p.chosen].algorithm;
  switch (product) {
    case Product::Forward:
      return c.ConvolutionForward(h, alpha, p.x, o.x, p.w, o.w, p.conv, algorithm, space,
                                  p.workspace, beta, p.y, o.y);
    case Product::Data:
      return c.ConvolutionBackwardData(h, alpha, p.w, o.w, p.y, o.y, p.conv, algorithm, space,
                                       p.workspace, beta, p.x, o.x);
    default:
      return c.ConvolutionBackwardFilter(h, alpha, p.x, o.x, p.y, o.y, p.conv, algorithm, space,
                                         p.workspace, beta, p.w, o.w);
  }
}
const char* function_of(Product product) {
  return product == Product::Forward ? "cudnnConvolutionForward"
         : product == Product::Data  ? "cudnnConvolutionBackwardData"
                                     : "cudnnConvolutionBackwardFilter";
}

// ---- plans ----

Math math_of(const Key& key) {
  if (is_half(key.shape.type)) return Math::TensorOp;
  return key.shape.type == DType::Float32 && !key.tf32 ? Math::Fma : Math::Default;
}

void find_candidates(const Call& call, const Key& key, const ConvOperands& o, Plan& p) {
  const Handle h = handle(call);
  check(api().SetConvolutionMathType(p.conv, math_of(key)), "cudnnSetConvolutionMathType");
  const int n = algorithms_of(key.product);
  Perf perf[2 * kMostAlgorithms] = {};  // an algorithm may come with and without tensor cores
  int found = 0;
  Status s;
  if (key.benchmark) {
    size_t most = 0;
    for (int algorithm = 0; algorithm < n; ++algorithm) {
      size_t bytes = 0;
      if (workspace_size(h, key.product, p, algorithm, &bytes) == Status::Success && bytes > most)
        most = bytes;
    }
    while (true) {
      const Workspace space(most, call);
      if (!space.fits()) {
        most /= 2;
        continue;
      }
      s = find_algorithms(h, key.product, p, o, 2 * n, &found, perf, space.data(), most);
      break;
    }
  } else {
    s = get_algorithms(h, key.product, p, 2 * n, &found, perf);
  }
  if (is_unsupported(s)) return;
  check(s, key.benchmark ? "cudnnFindConvolution*AlgorithmEx" : "cudnnGetConvolution*Algorithm_v7");
  for (int i = 0; i < found; ++i) {
    if (perf[i].status != Status::Success) continue;
    if (key.deterministic && perf[i].determinism != Determinism::Yes) continue;
    if (math_of(key) == Math::Fma) perf[i].math = Math::Fma;
    p.candidates.push_back(perf[i]);
  }
}

Plan& plan_of(const Call& call, const Key& key, const ConvOperands& o) {
  // Never destroyed: cuDNN may be gone by then.
  static auto& plans = *new std::unordered_map<Key, std::unique_ptr<Plan>, HashOfBytes<Key>>;
  constexpr size_t kMost = 4096;  // shapes that change all the time shall not fill the memory
  const auto at = plans.find(key);
  if (at != plans.end()) return *at->second;
  if (plans.size() >= kMost) plans.clear();
  auto plan = std::make_unique<Plan>(key.shape);
  find_candidates(call, key, o, *plan);
  return *(plans[key] = std::move(plan));
}

/// True if done.
bool run_plan(const Call& call, const Key& key, const ConvOperands& o, bool accumulate) {
  Plan& p = plan_of(call, key, o);
  const Handle h = handle(call);
  bool too_large = false;
  for (; p.chosen < p.candidates.size(); ++p.chosen, p.ready = false) {
    const Perf& best = p.candidates[p.chosen];
    if (!p.ready) {
      check(api().SetConvolutionMathType(p.conv, best.math), "cudnnSetConvolutionMathType");
      const Status s = workspace_size(h, key.product, p, best.algorithm, &p.workspace);
      if (is_unsupported(s)) continue;
      check(s, "cudnnGetConvolution*WorkspaceSize");
      p.ready = true;
    }
    const Workspace space(p.workspace, call);
    if (!space.fits()) {
      too_large = true;
      continue;
    }
    const Status s = execute(h, key.product, p, o, key.shape.type, space.data(), accumulate);
    if (is_unsupported(s)) continue;
    check(s, function_of(key.product));
    return true;
  }
  if (too_large) p.chosen = 0;  // memory may be free again next time
  return false;
}

/// Elements of x, w and y.
struct Counts {
  int64_t x, w, y;
  explicit Counts(const ConvShape& s)
      : x(s.batch * s.c_in), w(s.c_out * (s.c_in / s.groups)), y(s.batch * s.c_out) {
    for (int d = 0; d < s.nd; ++d) {
      x *= s.in[d];
      w *= s.kernel[d];
      y *= s.out[d];
    }
  }
};

/// y has the size that cuDNN computes; it need not where a weight has got another shape since.
bool has_usual_size(const ConvShape& s) {
  for (int d = 0; d < s.nd; ++d) {
    const int64_t reach = s.in[d] + 2 * s.pad[d] - s.dilation[d] * (s.kernel[d] - 1) - 1;
    if (reach < 0 || s.out[d] != reach / s.stride[d] + 1) return false;
  }
  return true;
}

}  // namespace

bool run_cudnn(const Call& call, Product product, const ConvShape& shape, const ConvOperands& p) {
  constexpr int64_t kLimit = INT32_MAX;  // cuDNN counts elements in ints
  if (!has_usual_size(shape)) return false;
  const Counts all(shape);
  if (all.x <= kLimit && all.w <= kLimit && all.y <= kLimit) [[likely]] {
    const bool benchmark = flags().cudnn_benchmark && !is_capturing();
    return run_plan(call, Key::of(call, product, shape, benchmark), p, false);
  }
  // A few images at a time; no trial runs, which would write to what has been computed.
  const int64_t image = std::max(all.x, all.y) / shape.batch;
  if (image > kLimit || all.w > kLimit) return false;
  const int64_t part = kLimit / image;
  const auto item = int64_t(element_size(shape.type));
  for (int64_t first = 0; first < shape.batch; first += part) {
    ConvShape s = shape;
    s.batch = std::min(part, shape.batch - first);
    const ConvOperands o{p.x + first * (all.x / shape.batch) * item, p.w,
                         p.y + first * (all.y / shape.batch) * item};
    // If cuDNN refuses a later part, all of it is computed again.
    if (!run_plan(call, Key::of(call, product, s, false), o,
                  product == Product::Weight && first > 0))
      return false;
  }
  return true;
}

}  // namespace gradstep::cuda
