// SPDX-License-Identifier: Apache-2.0
// The negative log-likelihood of classes on a GPU; see cpp/kernels/loss.cpp.
// params: ignore_index, C. Input is [N, C, inner], target int64 [N, inner], both contiguous.
#include "cuda/rows.h"
#include "cuda/strides.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 256;

struct NllArgs {
  int64_t n, classes, inner, ignore;
  const int64_t* target;
  Operand weight, x, loss, row_weight;  // backward: loss is dy, x is dx
  Reporter reporter;

  /// The class of row i, or -1 where it is ignored.
  GS_DEVICE int64_t class_of(int64_t i) const {
    const int64_t t = target[i];
    if (t == ignore) return -1;
    if (t >= 0 && t < classes) return t;
    report_trouble(reporter, Trouble::Target, 0, t, 0, 0);
    return -1;
  }
  GS_DEVICE int64_t place(int64_t i, int64_t t) const {
    return (i / inner * classes + t) * inner + i % inner;
  }
};

template <class C>
__global__ void __launch_bounds__(kThreads) nll_forward(const __grid_constant__ NllArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    const int64_t t = a.class_of(i);
    const C w = t < 0 ? C(0) : a.weight.p ? a.weight.get<C>(t) : C(1);
    a.row_weight.set(i, w);
    a.loss.set(i, t < 0 ? C(0) : -w * a.x.get<C>(a.place(i, t)));
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads) nll_backward(const __grid_constant__ NllArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    const int64_t t = a.class_of(i);
    if (t < 0) continue;
    const C w = a.weight.p ? a.weight.get<C>(t) : C(1);
    a.x.set(a.place(i, t), -w * a.loss.get<C>(i));
  }
}

NllArgs arguments(const Call& call, const TensorImpl& target, const TensorImpl* weight) {
  return {target.numel,
          call.i(1),
          target.sizes[1],
          call.i(0),
          reinterpret_cast<const int64_t*>(target.data),
          weight,
          {},
          {},
          {},
          reporter(call)};
}

/// Calls f(float{}) or f(double{}) for the op's type.
template <class F>
void by_type(const Call& call, F f) {
  const DType type = call.out(0).dtype;
  GS_CHECK_KIND(NotImplemented, is_floating(type), "\"{}\" not implemented for '{}'", "nll_loss",
                scalar_name(type));
  if (type == DType::Float64)
    f(double{});
  else
    f(float{});
}

// nll_rows(loss, row weight; x, target, weight)      loss = -weight[target] * x[target]
void nll_rows(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  NllArgs a = arguments(call, call.in(1), call.maybe_in(2));
  a.x = &call.in(0);
  a.loss = &call.out(0);
  a.row_weight = &call.out(1);
  by_type(call, [&](auto tag) {
    launch_grid(call, &nll_forward<decltype(tag)>, blocks_for(call, a.n, kThreads), kThreads, a);
  });
}

// nll_rows_backward(dx; dy, target, weight)          the transposed map of dy [N, inner]
void nll_rows_backward(const Call& call) {
  TensorImpl& dx = call.out(0);
  if (dx.numel == 0) return;
  const DeviceGuard guard(dx.device.index);
  NllArgs a = arguments(call, call.in(1), call.maybe_in(2));
  a.x = &dx;
  a.loss = &call.in(0);
  check(cudaMemsetAsync(dx.data, 0, size_t(dx.numel) * element_size(dx.dtype), stream_of(call)),
        call.op->name);
  by_type(call, [&](auto tag) {
    launch_grid(call, &nll_backward<decltype(tag)>, blocks_for(call, a.n, kThreads), kThreads, a);
  });
}

// ---- probabilities ----

struct CheckArgs {
  int64_t n;
  const char* x;
  DType type;
  Layout<1> layout;
  Reporter reporter;
  int64_t message;
};

__global__ void report_outside(const __grid_constant__ CheckArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t at[1];
    a.layout.offsets(i, at);
    const double v = load_as<double>(a.x, a.type, at[0]);
    if (!(v >= 0 && v <= 1)) report_trouble(a.reporter, Trouble::Message, a.message, 0, 0, 0);
  }
}

/// check_probabilities(; x): reports elements outside of [0, 1].
void check_probabilities(const Call& call) {
  const TensorImpl& x = call.in(0);
  if (x.numel == 0) return;
  const DeviceGuard guard(x.device.index);
  const TensorImpl* operands[] = {&x};
  const CheckArgs a{
      x.numel,
      x.data,
      x.dtype,
      Layout<1>(x.sizes, operands),
      reporter(call),
      message_number("all elements of input should be between 0 and 1", ErrorKind::Runtime)};
  launch_grid(call, &report_outside, blocks_for(call, a.n, kThreads), kThreads, a);
}

GS_CUDA_KERNEL("check_probabilities", check_probabilities);
GS_CUDA_KERNEL("nll_rows", nll_rows);
GS_CUDA_KERNEL("nll_rows_backward", nll_rows_backward);

}  // namespace

}  // namespace gradstep::cuda
