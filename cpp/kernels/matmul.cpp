// SPDX-License-Identifier: Apache-2.0
// The matmul call on the CPU: finds out how each operand lies in memory and hands it to gemm.
#include <algorithm>

#include "core/threads.h"
#include "graph/call.h"
#include "kernels/gemm.h"
#include "kernels/matmul.h"

namespace gradstep {

Matrix layout(const TensorImpl& t) {
  const int n = t.ndim();
  const int64_t rows = t.sizes[n - 2], cols = t.sizes[n - 1];
  const int64_t rs = t.strides[n - 2], cs = t.strides[n - 1];
  const int64_t batch_stride = n == 3 ? t.strides[0] : 0;
  const bool by_rows = (cs == 1 || cols == 1) && (rs >= cols || rows == 1);
  if (by_rows) return {false, rows == 1 ? std::max<int64_t>(cols, 1) : rs, batch_stride};
  return {true, cols == 1 ? std::max<int64_t>(rows, 1) : cs, batch_stride};
}

namespace {

template <class T>
void product(const Call& call, const T* a, const T* b, T* c, Matrix la, Matrix lb,
             int64_t c_stride) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& left = call.in(0);
  const int n = out.ndim();
  const int64_t rows = out.sizes[n - 2], cols = out.sizes[n - 1], k = left.sizes[n - 1];
  const T alpha = static_cast<T>(call.f(0));
  const T beta = static_cast<T>(call.f(1));
  if (n == 2) {
    gemm(la.transposed, lb.transposed, rows, cols, k, alpha, a, la.ld, b, lb.ld, beta, c, cols);
  } else {
    gemm_batched(out.sizes[0], la.transposed, lb.transposed, rows, cols, k, alpha, a, la.ld,
                 la.batch_stride, b, lb.ld, lb.batch_stride, beta, c, cols, c_stride);
  }
}

template <class T>
void matmul_native(const Call& call) {
  const TensorImpl& out = call.out(0);
  const auto* a = reinterpret_cast<const T*>(call.in(0).data);
  const auto* b = reinterpret_cast<const T*>(call.in(1).data);
  auto* c = reinterpret_cast<T*>(out.data);
  const Matrix la = layout(call.in(0)), lb = layout(call.in(1));
  const int n = out.ndim();
  if (call.n_in < 3) return product(call, a, b, c, la, lb, out.sizes[n - 2] * out.sizes[n - 1]);
  const TensorImpl& bias = call.in(2);
  gemm_bias(la.transposed, lb.transposed, out.sizes[0], out.sizes[1], call.in(0).sizes[1],
            static_cast<T>(call.f(0)), a, la.ld, b, lb.ld, c, out.sizes[1],
            reinterpret_cast<const T*>(bias.data), bias.ndim() ? bias.strides[0] : 0);
}

// Integers: plain loops.
template <class T>
void matmul_integer(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& a = call.in(0);
  const TensorImpl& b = call.in(1);
  const int n = out.ndim();
  const int64_t batches = n == 3 ? out.sizes[0] : 1;
  const int64_t rows = out.sizes[n - 2], cols = out.sizes[n - 1], depth = a.sizes[n - 1];
  const auto alpha = static_cast<int64_t>(call.f(0));
  const auto beta = static_cast<int64_t>(call.f(1));
  const T* bias = call.n_in == 3 ? reinterpret_cast<const T*>(call.in(2).data) : nullptr;
  const int64_t bias_step = bias && call.in(2).ndim() ? call.in(2).strides[0] : 0;
  auto* c = reinterpret_cast<T*>(out.data);
  const auto row = [&](int64_t g, int64_t i) {
    const T* pa = reinterpret_cast<const T*>(a.data) + (n == 3 ? g * a.strides[0] : 0);
    const T* pb = reinterpret_cast<const T*>(b.data) + (n == 3 ? g * b.strides[0] : 0);
    for (int64_t j = 0; j < cols; ++j) {
      int64_t sum = 0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<int64_t>(pa[i * a.strides[n - 2] + k * a.strides[n - 1]]) *
               static_cast<int64_t>(pb[k * b.strides[n - 2] + j * b.strides[n - 1]]);
      }
      T& dst = c[(g * rows + i) * cols + j];
      const int64_t plus = bias ? static_cast<int64_t>(bias[j * bias_step]) : 0;
      dst = convert<T>(alpha * sum + plus + (beta ? beta * static_cast<int64_t>(dst) : 0));
    }
  };
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cols * depth));
  parallel_for(batches * rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r / rows, r % rows);
  });
}

void matmul(const Call& call) {
  if (call.out(0).numel == 0) return;
  dispatch(call.out(0).dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_floating_point_v<T>) {
      matmul_native<T>(call);
    } else if constexpr (std::is_integral_v<T>) {
      matmul_integer<T>(call);
    } else {
      matmul_half(call);
    }
  });
}
GS_CPU_KERNEL("matmul", matmul);

}  // namespace

}  // namespace gradstep
