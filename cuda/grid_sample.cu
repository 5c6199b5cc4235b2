// SPDX-License-Identifier: Apache-2.0
// Values of an image at the places of a grid, and both gradients: grid_sample, grid_sample_dx,
// grid_sample_dgrid, operands and slots as in cpp/kernels/grid_sample.cpp. Contiguous float or
// double.
#include "cuda/values.h"
#include "fn/grid_sample.h"

namespace gradstep::cuda {

namespace {

using namespace grid;

template <class T>
struct Args {
  int nd;
  Interpolation mode;
  int taps;             // of an axis
  GridAxis<T> axis[3];  // in the order of the grid's last axis: x, y, z
  int64_t batch, channels, plane, places;
  const T *x, *grid, *dy;
  T* out;
};

/// The taps of one place along each axis.
template <class T>
struct Place {
  int32_t at[3][4];
  T weight[3][4], slope[3][4];
};

template <class T>
GS_DEVICE void find_taps(const Args<T>& a, int64_t n, int64_t p, Place<T>& out) {
  for (int d = 0; d < 3; ++d) {
    if (d >= a.nd) {
      out.at[d][0] = 0;
      out.weight[d][0] = out.slope[d][0] = T(1);
      continue;
    }
    const GridAxis<T>& axis = a.axis[d];
    const T limit = axis.limit(), place = axis.place(a.grid[(n * a.places + p) * a.nd + d]);
    const auto put = [&](int k, T e, T w, T s) {
      const bool valid = e >= T(0) && e <= limit;
      out.at[d][k] = int32_t(clip(e, limit));
      out.weight[d][k] = valid ? w : T(0);
      out.slope[d][k] = valid ? s : T(0);
    };
    if (axis.padding == kZeros)
      axis.template taps<kZeros>(a.mode, place, put);
    else if (axis.padding == kBorder)
      axis.template taps<kBorder>(a.mode, place, put);
    else
      axis.template taps<kReflection>(a.mode, place, put);
  }
}

/// Calls f(element of the plane, kx, ky, kz) for all taps, those of the first axis fastest.
template <class T, class F>
GS_DEVICE void each_tap(const Args<T>& a, const Place<T>& p, F f) {
  const int ny = a.nd > 1 ? a.taps : 1, nz = a.nd > 2 ? a.taps : 1;
  for (int kz = 0; kz < nz; ++kz) {
    for (int ky = 0; ky < ny; ++ky) {
      const int64_t row = (a.nd > 2 ? int64_t(p.at[2][kz]) * a.axis[1].size : 0) + p.at[1][ky];
      for (int kx = 0; kx < a.taps; ++kx) f(row * a.axis[0].size + p.at[0][kx], kx, ky, kz);
    }
  }
}

template <class T>
__global__ void forward(const __grid_constant__ Args<T> a) {
  for (int64_t i = first_index(); i < a.batch * a.places; i += index_stride()) {
    const int64_t n = i / a.places, p = i % a.places;
    Place<T> place;
    find_taps(a, n, p, place);
    for (int64_t c = n * a.channels; c < (n + 1) * a.channels; ++c) {
      const T* x = a.x + c * a.plane;
      T sum = T(0);
      each_tap(a, place, [&](int64_t at, int kx, int ky, int kz) {
        sum += place.weight[0][kx] * place.weight[1][ky] * place.weight[2][kz] * x[at];
      });
      a.out[c * a.places + p] = sum;
    }
  }
}

/// Of each tap the sum over the channels of dy * x, times the slope of its weight.
template <class T>
__global__ void grid_gradient(const __grid_constant__ Args<T> a) {
  for (int64_t i = first_index(); i < a.batch * a.places; i += index_stride()) {
    const int64_t n = i / a.places, p = i % a.places;
    Place<T> place;
    find_taps(a, n, p, place);
    T sums[3] = {T(0), T(0), T(0)};
    each_tap(a, place, [&](int64_t at, int kx, int ky, int kz) {
      T product = T(0);
      for (int64_t c = n * a.channels; c < (n + 1) * a.channels; ++c) {
        product += a.dy[c * a.places + p] * a.x[c * a.plane + at];
      }
      const T *wx = place.weight[0] + kx, *wy = place.weight[1] + ky, *wz = place.weight[2] + kz;
      sums[0] += place.slope[0][kx] * *wy * *wz * product;
      sums[1] += *wx * place.slope[1][ky] * *wz * product;
      sums[2] += *wx * *wy * place.slope[2][kz] * product;
    });
    for (int d = 0; d < a.nd; ++d) a.out[i * a.nd + d] = sums[d];
  }
}

constexpr int kPlanes = 32;

/// Each dy goes to the elements that were read. A thread has a plane and takes the places in their
/// order, so the sums are the same in every run, which adding in any order would not give. The warp
/// finds the taps of 32 places at a time. grid: (groups of planes of an image, images).
template <class T>
__global__ void __launch_bounds__(kPlanes) image_gradient(const __grid_constant__ Args<T> a) {
  __shared__ Place<T> found[kPlanes];
  const int64_t n = blockIdx.y, c = int64_t(blockIdx.x) * kPlanes + threadIdx.x;
  T* dx = a.out + (n * a.channels + c) * a.plane;
  const T* dy = a.dy + (n * a.channels + c) * a.places;
  for (int64_t first = 0; first < a.places; first += kPlanes) {
    __syncthreads();
    if (first + threadIdx.x < a.places) find_taps(a, n, first + threadIdx.x, found[threadIdx.x]);
    __syncthreads();
    if (c >= a.channels) continue;
    for (int64_t p = first; p < first + kPlanes && p < a.places; ++p) {
      const Place<T>& place = found[p - first];
      const T g = dy[p];
      each_tap(a, place, [&](int64_t at, int kx, int ky, int kz) {
        dx[at] += place.weight[0][kx] * place.weight[1][ky] * place.weight[2][kz] * g;
      });
    }
  }
}

template <class T>
Args<T> args_of(const Call& call, const TensorImpl& x, const TensorImpl& g) {
  Args<T> a{};
  a.nd = x.ndim() - 2;
  a.mode = Interpolation(call.i(0));
  a.taps = a.mode == kNearest ? 1 : a.mode == kBilinear ? 2 : 4;
  a.batch = x.sizes[0];
  a.channels = x.sizes[1];
  a.plane = 1;
  for (int d = 0; d < a.nd; ++d) {
    a.axis[d] = {x.sizes[x.ndim() - 1 - d], Padding(call.i(1)), call.i(2) != 0};
    a.plane *= a.axis[d].size;
  }
  a.places = a.batch ? g.numel / a.batch / a.nd : 0;
  a.x = reinterpret_cast<const T*>(x.data);
  a.grid = reinterpret_cast<const T*>(g.data);
  a.dy = reinterpret_cast<const T*>(call.in(0).data);
  a.out = reinterpret_cast<T*>(call.out(0).data);
  return a;
}

template <class F>
void by_type(const Call& call, F f) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  if (call.out(0).dtype == DType::Float64)
    f(double{});
  else
    f(float{});
}

template <class T>
unsigned blocks_of(const Call& call, const Args<T>& a) {
  return blocks_for(call, a.batch * a.places, 128);
}

void grid_sample(const Call& call) {
  by_type(call, [&](auto tag) {
    using T = decltype(tag);
    const Args<T> a = args_of<T>(call, call.in(0), call.in(1));
    launch_grid(call, &forward<T>, blocks_of(call, a), 128, a);
  });
}

void grid_sample_dgrid(const Call& call) {
  by_type(call, [&](auto tag) {
    using T = decltype(tag);
    const Args<T> a = args_of<T>(call, call.in(1), call.in(2));
    launch_grid(call, &grid_gradient<T>, blocks_of(call, a), 128, a);
  });
}

void grid_sample_dx(const Call& call) {
  by_type(call, [&](auto tag) {
    using T = decltype(tag);
    Args<T> a = args_of<T>(call, call.out(0), call.in(1));
    check(cudaMemsetAsync(a.out, 0, size_t(call.out(0).numel) * sizeof(T), stream_of(call)),
          call.op->name);
    const auto groups = unsigned((a.channels + kPlanes - 1) / kPlanes);
    constexpr int64_t kMost = 65535;  // of a grid's second axis
    const int64_t images = a.batch;
    for (int64_t n = 0; n < images; n += kMost) {
      a.batch = images - n < kMost ? images - n : kMost;
      launch_grid(call, &image_gradient<T>, dim3(groups, unsigned(a.batch)), kPlanes, a);
      a.out += a.batch * a.channels * a.plane;
      a.dy += a.batch * a.channels * a.places;
      a.grid += a.batch * a.places * a.nd;
    }
  });
}

GS_CUDA_KERNEL("grid_sample", grid_sample);
GS_CUDA_KERNEL("grid_sample_dx", grid_sample_dx);
GS_CUDA_KERNEL("grid_sample_dgrid", grid_sample_dgrid);

}  // namespace

}  // namespace gradstep::cuda
