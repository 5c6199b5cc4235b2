// SPDX-License-Identifier: Apache-2.0
// Batch norm of the stand-in for cuDNN; see fake_cudnn.cpp.
#include <cmath>

#include "fake_cudnn.h"

namespace {

Data parameters_of(Data t) { return t == Data::Double ? Data::Double : Data::Float; }

/// `p` has a value for each channel of the image x.
bool describes_channels(const TensorObject& p, const TensorObject& x) {
  if (p.type != parameters_of(x.type) || p.sizes.size() != x.sizes.size()) return false;
  for (size_t d = 0; d < p.sizes.size(); ++d) {
    if (p.sizes[d] != (d == 1 ? x.sizes[1] : 1)) return false;
  }
  return is_packed(p);
}

bool is_same(const TensorObject& a, const TensorObject& b) {
  return a.type == b.type && a.sizes == b.sizes && a.strides == b.strides;
}

bool fits(BatchNorm mode, const TensorObject& x, const TensorObject& p, double eps) {
  const size_t nd = x.sizes.size();
  return mode == BatchNorm::Spatial && (nd == 4 || nd == 5) && is_packed(x) && count(x.sizes) > 0 &&
         x.type != Data::BFloat16 && describes_channels(p, x) && eps >= 0;
}

/// A factor that cuDNN reads from the host: 1 or 0.
bool is_factor(const void* p, Data type, double value) {
  return type == Data::Double ? *static_cast<const double*>(p) == value
                              : *static_cast<const float*>(p) == float(value);
}

/// Calls f(index) for each element of channel k.
template <class F>
void each(const TensorObject& x, int k, F f) {
  const int64_t inner = count(x.sizes) / x.sizes[0] / x.sizes[1];
  for (int64_t n = 0; n < x.sizes[0]; ++n) {
    for (int64_t i = 0; i < inner; ++i) f((n * x.sizes[1] + k) * inner + i);
  }
}

}  // namespace

Status cudnnDeriveBNTensorDescriptor(TensorDesc p, TensorDesc x, BatchNorm mode) {
  if (mode != BatchNorm::Spatial) return kBadParam;
  p->type = parameters_of(x->type);
  p->sizes.assign(x->sizes.size(), 1);
  p->strides.assign(x->sizes.size(), 1);
  p->sizes[1] = p->strides[0] = x->sizes[1];
  return Status::Success;
}

Status cudnnBatchNormalizationForwardTraining(Handle h, BatchNorm mode, const void* alpha,
                                              const void* beta, TensorDesc x, const void* px,
                                              TensorDesc y, void* py, TensorDesc p,
                                              const void* weight, const void* bias, double factor,
                                              void* running_mean, void* running_var, double eps,
                                              void* mean, void* scale) {
  log("norm forward type=%d nd=%d\n", int(x->type), int(x->sizes.size()));
  if (mode_is("fail")) return kExecutionFailed;
  if (mode_is("none")) return Status::NotSupported;
  if (!fits(mode, *x, *p, eps) || !is_same(*x, *y) || !px || !py || !weight || !bias || !mean ||
      !scale || (running_mean == nullptr) != (running_var == nullptr) ||
      !is_factor(alpha, x->type, 1) || !is_factor(beta, x->type, 0))
    return kBadParam;
  on_device(h, [=, x = *x, t = p->type] {
    for (int k = 0; k < x.sizes[1]; ++k) {
      double n = 0, sum = 0, squares = 0;
      each(x, k, [&](int64_t i) {
        sum += load(px, x.type, i);
        ++n;
      });
      const double m = sum / n;
      each(x, k, [&](int64_t i) { squares += std::pow(load(px, x.type, i) - m, 2); });
      const double inverse = 1 / std::sqrt(squares / n + eps);
      each(x, k, [&](int64_t i) {
        store(py, x.type, i,
              (load(px, x.type, i) - m) * inverse * load(weight, t, k) + load(bias, t, k));
      });
      store(mean, t, k, m);
      store(scale, t, k, inverse);
      if (!running_mean) continue;
      const auto update = [&](void* running, double value) {
        store(running, t, k, (1 - factor) * load(running, t, k) + factor * value);
      };
      update(running_mean, m);
      update(running_var, squares / (n - 1));
    }
  });
  return Status::Success;
}

Status cudnnBatchNormalizationBackward(Handle h, BatchNorm mode, const void* alpha,
                                       const void* beta, const void* alpha_p, const void* beta_p,
                                       TensorDesc x, const void* px, TensorDesc dy, const void* pdy,
                                       TensorDesc dx, void* pdx, TensorDesc p, const void* weight,
                                       void* dweight, void* dbias, double eps, const void* mean,
                                       const void* scale) {
  log("norm backward type=%d nd=%d\n", int(x->type), int(x->sizes.size()));
  if (mode_is("fail")) return kExecutionFailed;
  if (mode_is("none")) return Status::NotSupported;
  if (!fits(mode, *x, *p, eps) || !is_same(*x, *dy) || !is_same(*x, *dx) || !px || !pdy || !pdx ||
      !weight || !dweight || !dbias || dweight == dbias || !mean || !scale ||
      !is_factor(alpha, x->type, 1) || !is_factor(beta, x->type, 0) ||
      !is_factor(alpha_p, x->type, 1) || !is_factor(beta_p, x->type, 0))
    return kBadParam;
  on_device(h, [=, x = *x, t = p->type] {
    for (int k = 0; k < x.sizes[1]; ++k) {
      const double m = load(mean, t, k), s = load(scale, t, k);
      double n = 0, of_dy = 0, of_both = 0;
      each(x, k, [&](int64_t i) {
        const double g = load(pdy, x.type, i);
        of_dy += g;
        of_both += g * (load(px, x.type, i) - m) * s;
        ++n;
      });
      each(x, k, [&](int64_t i) {
        const double z = (load(px, x.type, i) - m) * s;
        store(pdx, x.type, i,
              load(weight, t, k) * s * (load(pdy, x.type, i) - of_dy / n - z * of_both / n));
      });
      store(dweight, t, k, of_both);
      store(dbias, t, k, of_dy);
    }
  });
  return Status::Success;
}
