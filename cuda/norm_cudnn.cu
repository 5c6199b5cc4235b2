// SPDX-License-Identifier: Apache-2.0
// Batch norm by cuDNN: descriptors are kept for each shape and type. See Note [Batch norm by
// cuDNN].
#include "cuda/norm.h"

#include <cstring>
#include <memory>
#include <unordered_map>

#include "cuda/cudnn.h"

namespace gradstep::cuda {

namespace {

using namespace cudnn;

// Note [Batch norm by cuDNN]
// cuDNN computes what PyTorch gives it: training, with weight and bias, over images (an axis behind
// the channels), float statistics for halves. In evaluation nothing is summed, and our one pass is
// all that there is to do; (N, C) and bfloat16 are ours too. The plain functions serve: the Ex ones
// differ for NHWC only, where they want a workspace and a reserve. Mode SPATIAL as in PyTorch,
// since SPATIAL_PERSISTENT loses accuracy.

constexpr int kMostAxes = 5;                  // of cuDNN's images
constexpr int64_t kMostSamples = 880801;      // PyTorch's limit of mode SPATIAL
constexpr int64_t kMostElements = INT32_MAX;  // cuDNN counts in ints

struct Key {
  int device, type, nd, sizes[kMostAxes];
  explicit Key(const TensorImpl& x) {
    std::memset(static_cast<void*>(this), 0, sizeof(*this));
    device = x.device.index;
    type = int(data_type(x.dtype));
    // Images have two or three axes; others become one beside an axis of size 1.
    nd = x.ndim() == 5 ? 5 : 4;
    for (int d = 0; d < nd; ++d) sizes[d] = 1;
    for (int d = 0; d < x.ndim(); ++d)
      sizes[x.ndim() <= kMostAxes || d < 2 ? d : 2] *= int(x.sizes[d]);
  }
  bool operator==(const Key& o) const { return std::memcmp(this, &o, sizeof(*this)) == 0; }
};

struct Plan {
  TensorDesc x = nullptr, channels = nullptr;

  explicit Plan(const Key& k) {
    const Api& c = api();
    int strides[kMostAxes], step = 1;
    for (int d = k.nd - 1; d >= 0; --d) {
      strides[d] = step;
      step *= k.sizes[d];
    }
    check(c.CreateTensorDescriptor(&x), "cudnnCreateTensorDescriptor");
    check(c.CreateTensorDescriptor(&channels), "cudnnCreateTensorDescriptor");
    check(c.SetTensorNdDescriptor(x, Data(k.type), k.nd, k.sizes, strides),
          "cudnnSetTensorNdDescriptor");
    check(c.DeriveBNTensorDescriptor(channels, x, BatchNorm::Spatial),
          "cudnnDeriveBNTensorDescriptor");
  }
  ~Plan() {
    if (x) (void)api().DestroyTensorDescriptor(x);
    if (channels) (void)api().DestroyTensorDescriptor(channels);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

const Plan& plan_of(const TensorImpl& x) {
  // Never destroyed: cuDNN may be gone by then.
  static auto& plans = *new std::unordered_map<Key, std::unique_ptr<Plan>, HashOfBytes<Key>>;
  constexpr size_t kMost = 4096;  // shapes that change all the time shall not fill the memory
  const Key key(x);
  const auto at = plans.find(key);
  if (at != plans.end()) return *at->second;
  if (plans.size() >= kMost) plans.clear();
  return *(plans[key] = std::make_unique<Plan>(key));
}

/// A factor of results: double for doubles.
class Factor {
 public:
  Factor(double value, DType type)
      : wide_(type == DType::Float64), d_(value), f_(static_cast<float>(value)) {}
  const void* data() const { return wide_ ? static_cast<const void*>(&d_) : &f_; }

 private:
  bool wide_;
  double d_;
  float f_;
};

DType statistics_type(const TensorImpl& x) {
  return x.dtype == DType::Float64 ? DType::Float64 : DType::Float32;
}

bool is_plain(const TensorImpl* t, DType type) {
  return t && t->dtype == type && (t->numel <= 1 || t->strides[0] == 1);
}

/// params: eps, training, momentum.
bool fits(const Call& call, const TensorImpl& x, const TensorImpl* weight) {
  return call.i(1) != 0 && call.f(0) >= 0 && x.ndim() >= 3 && x.dtype != DType::BFloat16 &&
         x.numel > 0 && x.numel < kMostElements && x.sizes[0] <= kMostSamples &&
         is_plain(weight, statistics_type(x)) && available();
}

}  // namespace

// batch_norm(y, mean, scale; x, weight, bias, running mean, running var)
bool cudnn_batch_norm(const Call& call) {
  const TensorImpl& x = call.in(0);
  const TensorImpl *bias = call.maybe_in(2), *mean = call.maybe_in(3), *var = call.maybe_in(4);
  const DType type = statistics_type(x);
  if (!fits(call, x, call.maybe_in(1)) || !is_plain(bias, type)) return false;
  if (mean ? !is_plain(mean, type) || !is_plain(var, type) : var != nullptr) return false;
  const Plan& p = plan_of(x);
  const Factor one(1, x.dtype), zero(0, x.dtype);
  const Status s = api().BatchNormalizationForwardTraining(
      handle(call), BatchNorm::Spatial, one.data(), zero.data(), p.x, x.data, p.x, call.out(0).data,
      p.channels, call.in(1).data, bias->data, call.f(2), mean ? mean->data : nullptr,
      var ? var->data : nullptr, call.f(0), call.out(1).data, call.out(2).data);
  if (is_unsupported(s)) return false;
  check(s, "cudnnBatchNormalizationForwardTraining");
  return true;
}

// batch_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
bool cudnn_batch_norm_backward(const Call& call) {
  const TensorImpl &dy = call.in(0), &x = call.in(1);
  if (!fits(call, x, call.maybe_in(2)) || dy.dtype != x.dtype) return false;
  const Plan& p = plan_of(x);
  const Factor one(1, x.dtype), zero(0, x.dtype);
  // cuDNN wants both gradients. They are of the statistics' type, or are left to our kernel.
  const DType type = statistics_type(x);
  TensorImpl* const results[] = {call.operands[1], call.operands[2]};
  for (const TensorImpl* t : results) {
    if (t && !is_plain(t, type)) return false;
  }
  const int64_t bytes = x.sizes[1] * int64_t(element_size(type));
  const DeviceScratch<char> unwanted(results[0] && results[1] ? 0 : 2 * bytes, call);
  void* const dweight = results[0] ? results[0]->data : unwanted.data();
  void* const dbias = results[1] ? results[1]->data : unwanted.data() + bytes;
  const Status s = api().BatchNormalizationBackward(
      handle(call), BatchNorm::Spatial, one.data(), zero.data(), one.data(), zero.data(), p.x,
      x.data, p.x, dy.data, p.x, call.out(0).data, p.channels, call.in(2).data, dweight, dbias,
      call.f(0), call.in(3).data, call.in(4).data);
  if (is_unsupported(s)) return false;
  check(s, "cudnnBatchNormalizationBackward");
  return true;
}

}  // namespace gradstep::cuda
