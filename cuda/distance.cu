// SPDX-License-Identifier: Apache-2.0
// Distances between all rows of two matrices, for each of a batch: cdist and cdist_grad, operands
// as in cpp/kernels/distance.cpp. Contiguous float or double.
#include "cuda/values.h"
#include "fn/distance.h"

namespace gradstep::cuda {

namespace {

using namespace distance;

struct Args {
  int64_t batch, p, r, m;
  const char *x1, *x2, *y, *dy;
  char* out;
};

constexpr int kTile = 16;

/// A block has 16 x 16 pairs and brings 16 elements of each of its rows to shared memory at a time.
template <class T, class Norm>
__global__ void __launch_bounds__(kTile* kTile)
    distances(const __grid_constant__ Args a, Norm norm) {
  __shared__ T left[kTile][kTile + 1], right[kTile][kTile + 1];
  const int64_t down = (a.p + kTile - 1) / kTile, across = (a.r + kTile - 1) / kTile;
  const int64_t b = int64_t(blockIdx.x) / (down * across),
                block = int64_t(blockIdx.x) % (down * across);
  const int row = int(threadIdx.x) / kTile, lane = int(threadIdx.x) % kTile;
  const int64_t i0 = block / across * kTile, j0 = block % across * kTile;
  const T* x1 = reinterpret_cast<const T*>(a.x1) + b * a.p * a.m;
  const T* x2 = reinterpret_cast<const T*>(a.x2) + b * a.r * a.m;
  T sum = T(0);
  for (int64_t k0 = 0; k0 < a.m; k0 += kTile) {
    const bool inside = k0 + lane < a.m;
    left[row][lane] = inside && i0 + row < a.p ? x1[(i0 + row) * a.m + k0 + lane] : T(0);
    right[row][lane] = inside && j0 + row < a.r ? x2[(j0 + row) * a.m + k0 + lane] : T(0);
    __syncthreads();
    const int n = a.m - k0 < kTile ? int(a.m - k0) : kTile;
    for (int k = 0; k < n; ++k) sum = norm.add(sum, abs(left[row][k] - right[lane][k]));
    __syncthreads();
  }
  if (i0 + row < a.p && j0 + lane < a.r) {
    reinterpret_cast<T*>(a.out)[(b * a.p + i0 + row) * a.r + j0 + lane] = norm.finish(sum);
  }
}

/// A thread has one element of dx1 and goes through all rows of x2.
template <class T, class Slope>
__global__ void gradients(const __grid_constant__ Args a, Slope slope) {
  for (int64_t e = first_index(); e < a.batch * a.p * a.m; e += index_stride()) {
    const int64_t i = e / a.m, k = e % a.m, b = i / a.p;
    const T x = reinterpret_cast<const T*>(a.x1)[e];
    const T* x2 = reinterpret_cast<const T*>(a.x2) + b * a.r * a.m + k;
    const T* dy = reinterpret_cast<const T*>(a.dy) + i * a.r;
    const T* y = reinterpret_cast<const T*>(a.y) + i * a.r;
    T sum = T(0);
    for (int64_t j = 0; j < a.r; ++j) {
      sum += slope.factor(dy[j], y[j]) * slope.slope(x - x2[j * a.m], y[j]);
    }
    reinterpret_cast<T*>(a.out)[e] = sum;
  }
}

template <class T, class Norm>
void run_distances(const Call& c, const Args& a, Norm norm) {
  const int64_t blocks = a.batch * ((a.p + kTile - 1) / kTile) * ((a.r + kTile - 1) / kTile);
  GS_CHECK(blocks < (int64_t(1) << 31), "cdist: {} x {} x {} pairs are too many for one launch",
           a.batch, a.p, a.r);
  launch_grid(c, &distances<T, Norm>, unsigned(blocks), kTile * kTile, a, norm);
}

template <class T, class Slope>
void run_gradients(const Call& c, const Args& a, Slope slope) {
  launch_grid(c, &gradients<T, Slope>, blocks_for(c, a.batch * a.p * a.m, 256), 256, a, slope);
}

template <class F>
void by_type(const Call& c, F f) {
  if (c.out(0).numel == 0) return;
  const DeviceGuard guard(c.out(0).device.index);
  if (c.out(0).dtype == DType::Float64)
    f(double{});
  else
    f(float{});
}

void cdist(const Call& c) {
  const Dims &s1 = c.in(0).sizes, &s2 = c.in(1).sizes;
  const Args a{s1[0],        s1[1],   s2[1],   s1[2],        c.in(0).data,
               c.in(1).data, nullptr, nullptr, c.out(0).data};
  const double p = c.f(0);
  by_type(c, [&](auto tag) {
    using T = decltype(tag);
    if (p == 0) return run_distances<T>(c, a, Count{});
    if (p == 1) return run_distances<T>(c, a, Sum{});
    if (p == 2) return run_distances<T>(c, a, Euclid{});
    if (p == kInf) return run_distances<T>(c, a, Largest{});
    run_distances<T>(c, a, Power{p});
  });
}

void cdist_grad(const Call& c) {
  const Dims &s1 = c.in(1).sizes, &s2 = c.in(2).sizes;
  const Args a{s1[0],        s1[1],        s2[1],        s1[2],        c.in(1).data,
               c.in(2).data, c.in(3).data, c.in(0).data, c.out(0).data};
  const double p = c.f(0);
  by_type(c, [&](auto tag) {
    using T = decltype(tag);
    if (p == 1) return run_gradients<T>(c, a, SumSlope{});
    if (p == 2) return run_gradients<T>(c, a, EuclidSlope{});
    if (p == kInf) return run_gradients<T>(c, a, LargestSlope{});
    run_gradients<T>(c, a, PowerSlope{p});
  });
}

GS_CUDA_KERNEL("cdist", cdist);
GS_CUDA_KERNEL("cdist_grad", cdist_grad);

}  // namespace

}  // namespace gradstep::cuda
