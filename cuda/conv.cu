// SPDX-License-Identifier: Apache-2.0
// The calls of convolution on a GPU; operands and slots are those of cpp/kernels/conv_calls.cpp.
// Biases have kernels of their own: one addition in place, and sums over the channels whose order
// depends on the shape only.
#include "cuda/block.h"
#include "cuda/conv.h"
#include "cuda/cudnn.h"
#include "cuda/values.h"
#include "cuda/window.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 256;

ConvShape shape_of(const Call& call, const TensorImpl& x, const TensorImpl& w,
                   const TensorImpl& y) {
  ConvShape s{};
  s.nd = int(call.i(0));
  s.type = call.out(0).dtype;
  GS_CHECK(is_floating(s.type), "convolution: expected a floating dtype, got {}", s.type);
  s.groups = call.i(1);
  s.batch = x.sizes[0];
  s.c_in = x.sizes[1];
  s.c_out = y.sizes[1];
  for (int d = 0; d < s.nd; ++d) {
    s.in[d] = x.sizes[2 + d];
    s.kernel[d] = w.sizes[2 + d];
    s.out[d] = y.sizes[2 + d];
    s.stride[d] = call.i(2 + d);
    s.pad[d] = call.i(2 + s.nd + d);
    s.dilation[d] = call.i(2 + 2 * s.nd + d);
  }
  return s;
}

/// Elements of one channel of one image.
int64_t plane_of(const TensorImpl& t) {
  int64_t n = 1;
  for (int d = 2; d < t.ndim(); ++d) n *= t.sizes[d];
  return n;
}

// ---- bias ----

struct BiasArgs {
  char* image;
  const char* bias;
  DType type;
  int64_t n, plane, channels, batch;
  Splitter by_plane, by_channels;
};
BiasArgs bias_args(const TensorImpl& image, const char* bias) {
  const int64_t plane = plane_of(image);
  return {image.data,
          bias,
          image.dtype,
          image.numel,
          plane,
          image.sizes[1],
          image.sizes[0],
          Splitter(plane, image.numel),
          Splitter(image.sizes[1], image.numel)};
}

/// image[b][c][..] += bias[c]; W elements at a time, which lie in one plane.
template <class C, int W>
__global__ void __launch_bounds__(kThreads) add_bias_kernel(const __grid_constant__ BiasArgs a) {
  for (int64_t k = first_index(); k * W < a.n; k += index_stride()) {
    int64_t channel = a.by_plane.divide(k * W);
    a.by_channels.split(channel);
    const C shift = load_as<C>(a.bias, a.type, channel);
    Few<C, W> v = load_few<W, C>(a.image, a.type, k * W);
    GS_UNROLL
    for (int e = 0; e < W; ++e) v.v[e] += shift;
    store_few<W, C>(a.image, a.type, k * W, v);
  }
}

template <class C>
void add_bias(const Call& call, const TensorImpl& image, const TensorImpl& bias) {
  constexpr int W = kFew<C>;
  const BiasArgs a = bias_args(image, bias.data);
  const unsigned blocks = blocks_for(call, a.n, kThreads, W);
  if (a.plane % W == 0 && aligned_few(a.image, a.type))
    return launch_grid(call, &add_bias_kernel<C, W>, blocks, kThreads, a);
  launch_grid(call, &add_bias_kernel<C, 1>, blocks, kThreads, a);
}

/// partial[slice][c] = the sum of channel c over a part of the images and places. The blocks of a
/// slice follow each other.
template <class C>
__global__ void __launch_bounds__(kThreads)
    channel_sum_kernel(const __grid_constant__ BiasArgs a, C* partial, int64_t length) {
  const int64_t slice = int64_t(blockIdx.x) / a.channels;
  const int64_t channel = int64_t(blockIdx.x) - slice * a.channels;
  const int64_t all = a.batch * a.plane, begin = slice * length;
  const int64_t end = begin + length < all ? begin + length : all;
  C sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    int64_t place = i;
    const int64_t image = a.by_plane.split(place);
    sum += load_as<C>(a.image, a.type, (image * a.channels + channel) * a.plane + place);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// out[c] = the sum of y over all but the channels.
template <class C>
void sum_channels(const Call& call, const TensorImpl& y, const TensorImpl& out) {
  const BiasArgs a = bias_args(y, nullptr);
  // As many blocks as keep the device busy, each with at least a few elements a thread.
  const int64_t all = a.batch * a.plane;
  const int64_t want = 4 * multiprocessors(y.device.index) / a.channels;
  const int64_t most = all / (8 * kThreads);
  const int64_t slices = std::max<int64_t>(1, std::min(want, most));
  const DeviceScratch<C> partial(slices * a.channels, call);
  launch_grid(call, &channel_sum_kernel<C>, unsigned(slices * a.channels), kThreads, a,
              partial.data(), (all + slices - 1) / slices);
  sum_slices(call, partial.data(), slices, out);
}

/// Calls f with a value of the type in which `type` is computed.
template <class F>
void by_float(DType type, F f) {
  if (type == DType::Float64) return f(double{});
  f(float{});
}

// ---- calls ----

bool use_cudnn(const TensorImpl& x, const TensorImpl& w, const TensorImpl& y) {
  return x.numel > 0 && w.numel > 0 && y.numel > 0 && cudnn::available();
}

void run_image(const Call& call, Product product, const TensorImpl& x, const TensorImpl& w,
               const TensorImpl& y) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const ConvShape s = shape_of(call, x, w, y);
  const ConvOperands p{x.data, w.data, y.data};
  const TensorImpl* const bias = call.n_in > 2 ? call.maybe_in(2) : nullptr;
  if (!use_cudnn(x, w, y) || !run_cudnn(call, product, s, p))
    return run_own(call, product, s, p, bias ? bias->data : nullptr);
  if (bias) by_float(s.type, [&](auto tag) { add_bias<decltype(tag)>(call, out, *bias); });
}

void conv_forward(const Call& call) {
  run_image(call, Product::Forward, call.in(0), call.in(1), call.out(0));
}
void conv_data(const Call& call) {
  run_image(call, Product::Data, call.out(0), call.in(1), call.in(0));
}
void conv_weight(const Call& call) {
  const TensorImpl &x = call.in(0), &y = call.in(1), &w = call.out(0);
  const DeviceGuard guard(w.device.index);
  const ConvShape s = shape_of(call, x, w, y);
  const ConvOperands p{x.data, w.data, y.data};
  if (w.numel > 0 && (!use_cudnn(x, w, y) || !run_cudnn(call, Product::Weight, s, p)))
    run_own(call, Product::Weight, s, p, nullptr);
  if (call.n_out > 1 && call.out(1).numel > 0)
    by_float(s.type, [&](auto tag) { sum_channels<decltype(tag)>(call, y, call.out(1)); });
}

}  // namespace

GS_CUDA_KERNEL("conv_forward", conv_forward);
GS_CUDA_KERNEL("conv_data", conv_data);
GS_CUDA_KERNEL("conv_weight", conv_weight);

}  // namespace gradstep::cuda
