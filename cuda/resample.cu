// SPDX-License-Identifier: Apache-2.0
// Resizing and padding of the last 1 to 3 axes: resample and resample_grad, operands and slots as
// in cpp/kernels/resample.cpp. Each axis becomes a list of taps for each output (fn/resample.h);
// the list the other way round is the adjoint's, so both directions gather, and each element is
// written once.
#include "cuda/values.h"
#include "fn/resample.h"

namespace gradstep::cuda {

namespace {

/// Output i of an axis is the sum over e in [begin[i], begin[i + 1]) of weight[e] * input at[e].
template <class T>
struct TapLists {
  const int64_t* begin;
  const int32_t* at;
  const T* weight;
};

// ---- making the lists: an axis has some thousand elements at most ----

template <class T>
struct ListArgs {
  ResampleAxis<T> axis;  // of the forward direction
  int64_t *begin, *used;
  int32_t* at;
  T* weight;
};

template <class T>
__global__ void forward_lists(const __grid_constant__ ListArgs<T> a) {
  const int64_t count = a.axis.count();
  for (int64_t i = first_index(); i <= a.axis.out; i += index_stride()) {
    a.begin[i] = i * count;
    if (i == a.axis.out) break;
    a.axis.taps(i, [&](int64_t k, int64_t index, T w) {
      a.at[i * count + k] = int32_t(index);
      a.weight[i * count + k] = w;
    });
  }
}

/// Calls f(output, weight) for the outputs that read input j, in their order.
template <class T, class F>
GS_DEVICE void each_reader(const ResampleAxis<T>& axis, int64_t j, F f) {
  for (int64_t i = 0; i < axis.out; ++i) {
    axis.taps(i, [&](int64_t, int64_t index, T w) {
      if (index == j && w != T(0)) f(i, w);
    });
  }
}

template <class T>
__global__ void count_readers(const __grid_constant__ ListArgs<T> a) {
  for (int64_t j = first_index(); j < a.axis.in; j += index_stride()) {
    int64_t n = 0;
    each_reader(a.axis, j, [&](int64_t, T) { ++n; });
    a.used[j] = n;
  }
}

template <class T>
__global__ void sum_readers(const __grid_constant__ ListArgs<T> a) {
  int64_t sum = 0;
  for (int64_t j = 0; j < a.axis.in; ++j) {
    a.begin[j] = sum;
    sum += a.used[j];
  }
  a.begin[a.axis.in] = sum;
}

template <class T>
__global__ void adjoint_lists(const __grid_constant__ ListArgs<T> a) {
  for (int64_t j = first_index(); j < a.axis.in; j += index_stride()) {
    int64_t e = a.begin[j];
    each_reader(a.axis, j, [&](int64_t i, T w) {
      a.at[e] = int32_t(i);
      a.weight[e++] = w;
    });
  }
}

/// The lists of one axis, in memory of their own.
template <class T>
class AxisLists {
 public:
  AxisLists(const Call& call, const ResampleAxis<T>& axis, bool is_adjoint)
      : begin_((is_adjoint ? axis.in : axis.out) + 1, call),
        used_(axis.in, call),
        at_(axis.out * axis.count(), call),
        weight_(axis.out * axis.count(), call) {
    const ListArgs<T> a{axis, begin_.data(), used_.data(), at_.data(), weight_.data()};
    constexpr int kThreads = 128;
    if (is_adjoint) {
      launch_grid(call, &count_readers<T>, blocks_for(call, axis.in, kThreads), kThreads, a);
      launch_grid(call, &sum_readers<T>, 1, 1, a);
      launch_grid(call, &adjoint_lists<T>, blocks_for(call, axis.in, kThreads), kThreads, a);
    } else {
      launch_grid(call, &forward_lists<T>, blocks_for(call, axis.out + 1, kThreads), kThreads, a);
    }
  }
  TapLists<T> lists() const { return {begin_.data(), at_.data(), weight_.data()}; }

 private:
  DeviceScratch<int64_t> begin_, used_;
  DeviceScratch<int32_t> at_;
  DeviceScratch<T> weight_;
};

// ---- the sums ----

template <class T>
struct SumArgs {
  int64_t n;
  int64_t in[3], out[3];
  TapLists<T> axis[3];
  const char* x;
  char* y;
};

/// An element of the output: inside its row the sum over taps of what the rows give there.
template <class T>
__global__ void weighted_sums(const __grid_constant__ SumArgs<T> a) {
  const T* x = reinterpret_cast<const T*>(a.x);
  for (int64_t e = first_index(); e < a.n; e += index_stride()) {
    const int64_t i2 = e % a.out[2], i1 = e / a.out[2] % a.out[1],
                  i0 = e / a.out[2] / a.out[1] % a.out[0];
    const T* plane = x + e / (a.out[0] * a.out[1] * a.out[2]) * (a.in[0] * a.in[1] * a.in[2]);
    T sum = T(0);
    for (int64_t c = a.axis[2].begin[i2]; c < a.axis[2].begin[i2 + 1]; ++c) {
      T mixed = T(0);
      for (int64_t p = a.axis[0].begin[i0]; p < a.axis[0].begin[i0 + 1]; ++p) {
        for (int64_t q = a.axis[1].begin[i1]; q < a.axis[1].begin[i1 + 1]; ++q) {
          const T w = a.axis[0].weight[p] * a.axis[1].weight[q];
          const int64_t row = int64_t(a.axis[0].at[p]) * a.in[1] + a.axis[1].at[q];
          if (w != T(0)) mixed += w * plane[row * a.in[2] + a.axis[2].at[c]];
        }
      }
      sum += a.axis[2].weight[c] * mixed;
    }
    reinterpret_cast<T*>(a.y)[e] = sum;
  }
}

/// One tap of weight 1 along each axis: nothing is computed, U is as wide as an element.
template <class U>
__global__ void copies(const __grid_constant__ SumArgs<float> a) {
  const U* x = reinterpret_cast<const U*>(a.x);
  for (int64_t e = first_index(); e < a.n; e += index_stride()) {
    const int64_t i2 = e % a.out[2], i1 = e / a.out[2] % a.out[1],
                  i0 = e / a.out[2] / a.out[1] % a.out[0];
    const int64_t plane = e / (a.out[0] * a.out[1] * a.out[2]);
    const int64_t row = (plane * a.in[0] + a.axis[0].at[i0]) * a.in[1] + a.axis[1].at[i1];
    reinterpret_cast<U*>(a.y)[e] = x[row * a.in[2] + a.axis[2].at[i2]];
  }
}

// ---- calls ----

template <class T, class Run>
void with_lists(const Call& call, bool is_adjoint, Run run) {
  const TensorImpl &x = call.in(0), &y = call.out(0);
  SumArgs<T> a{y.numel, {1, 1, 1}, {1, 1, 1}, {}, x.data, y.data};
  const int nd = int(call.i(0) & 7);
  const auto axis = [&](int k) {
    const int d = k - 3 + nd;  // among the resampled ones
    ResampleAxis<T> spec{Resampling::Nearest, false, 1, 1, 0, 0};
    if (d < 0) return spec;
    a.in[k] = x.sizes[x.ndim() - nd + d];
    a.out[k] = y.sizes[y.ndim() - nd + d];
    spec = {Resampling(call.i(0) >> 3 & 15),
            (call.i(0) >> 7 & 1) != 0,
            a.in[k],
            a.out[k],
            call.f(1 + d),
            call.i(1 + d)};
    if (is_adjoint) std::swap(spec.in, spec.out);
    return spec;
  };
  const AxisLists<T> first(call, axis(0), is_adjoint), second(call, axis(1), is_adjoint),
      third(call, axis(2), is_adjoint);
  a.axis[0] = first.lists();
  a.axis[1] = second.lists();
  a.axis[2] = third.lists();
  run(a);
}

template <class T>
void weighted(const Call& call, bool is_adjoint) {
  with_lists<T>(call, is_adjoint, [&](const SumArgs<T>& a) {
    launch_grid(call, &weighted_sums<T>, blocks_for(call, a.n, 256), 256, a);
  });
}

void resample_call(const Call& call, bool is_adjoint) {
  const TensorImpl& y = call.out(0);
  if (y.numel == 0) return;
  const DeviceGuard guard(y.device.index);
  const auto mode = Resampling(call.i(0) >> 3 & 15);
  const bool nearest = mode <= Resampling::NearestExact;
  // PyTorch places the nearest of doubles in double precision.
  if (!is_adjoint && (nearest || mode >= Resampling::Reflect) &&
      !(nearest && y.dtype == DType::Float64)) {
    return with_lists<float>(call, false, [&](const SumArgs<float>& a) {
      const unsigned blocks = blocks_for(call, a.n, 256);
      switch (element_size(y.dtype)) {
        case 1: return launch_grid(call, &copies<uint8_t>, blocks, 256, a);
        case 2: return launch_grid(call, &copies<uint16_t>, blocks, 256, a);
        case 4: return launch_grid(call, &copies<uint32_t>, blocks, 256, a);
        default: return launch_grid(call, &copies<uint64_t>, blocks, 256, a);
      }
    });
  }
  if (y.dtype == DType::Float64)
    weighted<double>(call, is_adjoint);
  else
    weighted<float>(call, is_adjoint);
}

void resample(const Call& call) { resample_call(call, false); }
void resample_grad(const Call& call) { resample_call(call, true); }

GS_CUDA_KERNEL("resample", resample);
GS_CUDA_KERNEL("resample_grad", resample_grad);

}  // namespace

}  // namespace gradstep::cuda
