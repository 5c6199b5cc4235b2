// SPDX-License-Identifier: Apache-2.0
// Lists of tensors. See lists.h.
#include "optim/lists.h"

#include <vector>

#include "graph/node.h"
#include "ops/op.h"
#include "ops/pointwise.h"

namespace gradstep {

namespace {

/// The operands of one call.
struct Bucket {
  Device device;
  Compute compute;
  std::vector<TensorImpl*> operands;
};

/// Tensors by device and compute type, in the order in which they come.
std::vector<Bucket> buckets_of(const char* name, std::span<TensorImpl* const> tensors,
                               std::span<TensorImpl* const> partners = {}) {
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorImpl* const t = tensors[i];
    GS_CHECK(is_floating(t->dtype), "{}: expected floating point tensors, got {}", name, t->dtype);
    Bucket* found = nullptr;
    for (Bucket& b : buckets) {
      if (b.device == t->device && b.compute == compute_type(t->dtype) &&
          b.operands.size() + 2 + kExtras <= kMaxOperands) {
        found = &b;
      }
    }
    if (!found) found = &buckets.emplace_back(Bucket{t->device, compute_type(t->dtype), {}});
    found->operands.push_back(t);
    if (!partners.empty()) found->operands.push_back(partners[i]);
  }
  return buckets;
}

void raise_versions(std::span<TensorImpl* const> tensors) {
  for (TensorImpl* t : tensors) ++t->version();
}

/// Runs a rule without state. `live` may be undefined; else it replaces the first number.
void run_rule(const char* name, std::span<TensorImpl* const> x, std::span<TensorImpl* const> y,
              std::initializer_list<double> numbers, const Tensor& live = {}) {
  Params params;
  for (const double v : numbers) params.push(v);
  for (Bucket& b : buckets_of(name, x, y)) {
    const Tensor beside = live.defined() ? to(live, live.dtype(), b.device) : live;
    b.operands.insert(b.operands.end(), {beside.get(), nullptr, nullptr});
    launch_list(Op::get(name), b.compute, b.operands, params);
  }
  raise_versions(x);
}

void check_pairs(const char* name, std::span<TensorImpl* const> x, std::span<TensorImpl* const> y) {
  GS_CHECK(x.size() == y.size(), "{}: expected lists of the same length, got {} and {}", name,
           x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    GS_CHECK(y[i]->sizes == x[i]->sizes && y[i]->device == x[i]->device,
             "{}: expected tensors of the same shape and device, got {} on {} and {} on {}", name,
             x[i]->sizes, x[i]->device, y[i]->sizes, y[i]->device);
  }
}

}  // namespace

// ---- rules without state ----

void multi_zero(std::span<TensorImpl* const> tensors) {
  static const Op& op = Op::get("multi_zero");
  // One device at a time; almost always there is only one.
  std::vector<TensorImpl*> same;
  std::vector<TensorImpl*> rest(tensors.begin(), tensors.end());
  while (!rest.empty()) {
    const Device device = rest[0]->device;
    std::vector<TensorImpl*> others;
    same.clear();
    for (TensorImpl* t : rest)
      (t->device == device && same.size() < kMaxOperands ? same : others).push_back(t);
    launch_list(op, Compute::F32, same, Params());
    rest.swap(others);
  }
  raise_versions(tensors);
}

void multi_add_scaled(std::span<TensorImpl* const> x, std::span<TensorImpl* const> y,
                      double alpha) {
  check_pairs("multi_add_scaled", x, y);
  run_rule("multi_add_scaled", x, y, {alpha});
}

void multi_lerp(std::span<TensorImpl* const> x, std::span<TensorImpl* const> y, double weight) {
  check_pairs("multi_lerp", x, y);
  run_rule("multi_lerp", x, y, {weight});
}

void multi_clamp(std::span<TensorImpl* const> tensors, double low, double high) {
  run_rule("multi_clamp", tensors, {}, {low, high});
}

void zero_grad(std::span<TensorImpl* const> params, bool set_to_none) {
  if (set_to_none) {
    for (TensorImpl* p : params) {
      if (!p->meta) continue;
      if (g_watcher) [[unlikely]]
        g_watcher->gradient(*p, GradEvent::Replaced);
      p->meta->grad.reset();
    }
    return;
  }
  std::vector<TensorImpl*> grads;
  grads.reserve(params.size());
  for (TensorImpl* p : params) {
    TensorImpl* const g = read_grad(*p);
    if (!g) continue;
    if (g->grad_fn) release_autograd(g);  // detach_()
    g->requires_grad = false;
    grads.push_back(g);
  }
  if (!grads.empty()) multi_zero(grads);
}

// ---- norms ----

namespace {

void check_order(double order) {
  GS_CHECK_VALUE(order == 1 || order == 2 || order == __builtin_huge_val(),
                 "norms of order {} are not fused", order);
}

/// The type of a norm over all of them.
DType norm_type(std::span<TensorImpl* const> tensors) {
  DType type = tensors[0]->dtype;
  for (const TensorImpl* t : tensors) type = promote(type, t->dtype);
  return type;
}

/// All on one device; `type` is that of the result.
Tensor norm_of_device(std::span<TensorImpl* const> tensors, double order, DType type) {
  static const Op& op = Op::get("multi_total_norm");
  const size_t most = kMaxOperands - 1;
  if (tensors.size() > most) {
    const Tensor parts[] = {norm_of_device(tensors.subspan(0, most), order, type),
                            norm_of_device(tensors.subspan(most), order, type)};
    TensorImpl* const both[] = {parts[0].get(), parts[1].get()};
    return norm_of_device(both, order, type);
  }
  const Tensor out = empty({}, type, tensors[0]->device);
  Params params;
  params.push(order);
  std::vector<TensorImpl*> operands = {out.get()};
  operands.insert(operands.end(), tensors.begin(), tensors.end());
  launch(
      {&op, compute_type(type), 1, static_cast<uint16_t>(tensors.size()), operands.data(), params});
  return out;
}

}  // namespace

Tensor total_norm(std::span<TensorImpl* const> tensors, double order) {
  check_order(order);
  const DType type = norm_type(tensors);
  std::vector<Bucket> buckets = buckets_of("total_norm", tensors);
  const Device device = tensors[0]->device;
  bool one_device = true;
  for (const Bucket& b : buckets) one_device = one_device && b.device == device;
  if (one_device) return norm_of_device(tensors, order, type);
  const DType wide = type == DType::Float64 ? type : DType::Float32;
  std::vector<Tensor> norms;
  std::vector<TensorImpl*> parts;
  for (const Bucket& b : buckets) {
    norms.push_back(to(norm_of_device(b.operands, order, wide), wide, device));
    parts.push_back(norms.back().get());
  }
  return norm_of_device(parts, order, type);
}

void scale_to_norm(std::span<TensorImpl* const> tensors, double largest, const Tensor& total) {
  GS_CHECK(total.numel() == 1, "clip_grads_with_norm_: expected one total norm, got shape {}",
           total.sizes());
  run_rule("multi_scale_to_norm", tensors, {}, {0, largest}, total);
}

Tensor clip_norm(std::span<TensorImpl* const> tensors, double largest, double order) {
  static const Op& op = Op::get("multi_clip_norm");
  check_order(order);
  std::vector<Bucket> buckets = buckets_of("clip_norm", tensors);
  if (buckets.size() > 1) {
    const Tensor total = total_norm(tensors, order);
    scale_to_norm(tensors, largest, total);
    return total;
  }
  const Tensor total = empty({}, norm_type(tensors), tensors[0]->device);
  Params params;
  params.push(order);
  params.push(largest);
  buckets[0].operands.push_back(total.get());
  launch_list(op, buckets[0].compute, buckets[0].operands, params);
  raise_versions(tensors);
  return total;
}

// ---- the scale of a loss ----

void unscale(std::span<TensorImpl* const> tensors, TensorImpl* found_inf, TensorImpl* factor) {
  static const Op& op = Op::get("multi_unscale");
  for (Bucket& b : buckets_of("unscale", tensors)) {
    GS_CHECK(b.device == found_inf->device && b.device == factor->device,
             "unscale: expected all tensors on {}, got found_inf on {} and the factor on {}",
             b.device, found_inf->device, factor->device);
    b.operands.insert(b.operands.end(), {factor, found_inf});
    launch_list(op, b.compute, b.operands, Params());
  }
  raise_versions(tensors);
  ++found_inf->version();
}

void update_loss_scale(TensorImpl* scale, TensorImpl* tracker, TensorImpl* found_inf, double growth,
                       double backoff, int64_t interval) {
  static const Op& op = Op::get("update_loss_scale");
  Params params;
  params.push(growth);
  params.push(backoff);
  params.push(interval);
  TensorImpl* const operands[] = {scale, tracker, found_inf};
  launch_list(op, Compute::F32, operands, params);
  ++scale->version();
  ++tracker->version();
}

}  // namespace gradstep
