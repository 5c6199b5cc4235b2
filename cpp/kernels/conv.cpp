// SPDX-License-Identifier: Apache-2.0
// Which convolution runs; see conv.h.
#include "kernels/conv.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/threads.h"
#include "graph/build_info.h"
#include "kernels/instruction_set.h"

GS_DECLARE_ISA_TABLE(DirectTable, kDirect)
GS_DECLARE_ISA_TABLE(WinogradTable, kWinograd)

namespace gradstep {

namespace {

ConvBackend backend_ = ConvBackend::Auto;

// Below this many multiplications of the definition (a millisecond of one core at the most) the
// last digits of the definition are worth more than the time.
int64_t winograd_work_ = int64_t{1} << 25;

int64_t product(const int64_t* x, int n) {
  int64_t p = 1;
  for (int i = 0; i < n; ++i) p *= x[i];
  return p;
}

/// No output element or no product: nothing that the implementations would want to see.
bool is_empty(const ConvShape& s) {
  return s.batch == 0 || s.c_in == 0 || s.c_out == 0 || product(s.in, s.nd) == 0 ||
         product(s.out, s.nd) == 0;
}

/// Winograd's algorithm computes it, and does so faster than the others.
bool use_winograd(const ConvShape& s) {
  if (backend_ != ConvBackend::Auto || s.nd != 2 || s.groups != 1) return false;
  int64_t tiles = s.batch, outputs = s.batch;
  for (int d = 0; d < 2; ++d) {
    if (s.kernel[d] != 3 || s.stride[d] != 1 || s.dilation[d] != 1 || s.pad[d] > 2) return false;
    tiles *= (s.out[d] + 3) / 4;
    outputs *= s.out[d];
  }
  // Measured on 8 to 512 channels, images of 2x2 to 56x56 and 1 to 64 of them. A tile has 36
  // multiplications where its outputs have 9 each: 2x2 and 5x5 images gain too little.
  return std::min(s.c_in, s.c_out) >= 16 && tiles >= 4 && outputs >= 7 * tiles &&
         outputs * s.c_in * s.c_out * 9 >= winograd_work_;
}

// The direct convolution's vectors lie along the image, oneDNN's and Winograd's over the channels.
// Measured on 1 to 64 channels, kernels of 2x2 to 7x7 and images of 8x8 to 112x112: it gains where
// few channels leave much of a vector empty, more than what its planes lose between the rows.

/// It computes this convolution, and not with more memory than it was measured with.
bool has_direct(const ConvShape& s) {
  if (backend_ == ConvBackend::Im2col || s.nd != 2 || s.groups != 1) return false;
  for (int d = 0; d < 2; ++d) {
    if (s.kernel[d] > 7 || s.stride[d] != 1 || s.dilation[d] != 1 || s.pad[d] >= s.kernel[d])
      return false;
  }
  const int64_t taps = product(s.kernel, 2), channels = s.c_in * s.c_out;
  return taps > 1 && std::min(s.c_in, s.c_out) < 16 && channels <= 512 &&
         channels * taps <= 16384 &&
         std::max(s.c_in * product(s.in, 2), s.c_out * product(s.out, 2)) <= 1 << 18;
}

int64_t channel_lanes() { return instruction_set() == 4 ? 16 : 8; }

/// Its part of useful lanes as a multiple of that over `c_out` output channels; `pitch` is that of
/// its planes.
double gain(int64_t c_out, int64_t width, int64_t pitch) {
  const int64_t lanes = channel_lanes();
  return static_cast<double>((c_out + lanes - 1) / lanes * lanes * width) /
         static_cast<double>(c_out * pitch);
}

bool use_direct_forward(const ConvShape& s) {
  if (!has_direct(s)) return false;
  const double g = gain(s.c_out, s.out[1], s.in[1] + s.pad[1]);
  return g >= 1 || (g >= 0.85 && s.c_in <= 8 && s.out[0] * s.out[1] <= 4096);
}

bool use_direct_backward_data(const ConvShape& s) {
  return has_direct(s) && s.c_out <= 8 * s.c_in &&
         gain(s.c_in, s.in[1], s.out[1] + s.kernel[1] - 1 - s.pad[1]) >= 1.2;
}

bool use_direct_backward_weights(const ConvShape& s) {
  return has_direct(s) && (s.c_in > 3 || s.c_out % channel_lanes() != 0);
}

/// A plain matrix product over planes that are long enough for it: oneDNN would change the layout
/// of both images first. (512-512 on 4x4: 0.7 of oneDNN's speed; 64-64 on 32x32 and above: 1.4.)
[[maybe_unused]] bool is_product(const ConvShape& s) {
  if (s.groups != 1) return false;
  int64_t plane = 1;
  for (int d = 0; d < s.nd; ++d) {
    if (s.kernel[d] != 1 || s.stride[d] != 1 || s.pad[d] != 0) return false;
    plane *= s.out[d];
  }
  return plane >= 64;
}

template <class T>
bool use_dnnl() {
#ifdef GS_WITH_ONEDNN
  return std::is_same_v<T, float> && backend_ != ConvBackend::Im2col;
#else
  return false;
#endif
}

/// y[n][c][..] += bias[c]
template <class T>
void add_bias(int64_t batch, int64_t channels, int64_t plane, const T* bias, T* y) {
  parallel_for(batch * channels, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, plane)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const T b = bias[i % channels];
                   T* row = y + i * plane;
                   for (int64_t j = 0; j < plane; ++j) row[j] += b;
                 }
               });
}

}  // namespace

void set_conv_backend(ConvBackend backend) { backend_ = backend; }
int64_t set_winograd_work(int64_t multiplications) {
  return std::exchange(winograd_work_, multiplications);
}

const char* conv_backend_name() {
  if (backend_ == ConvBackend::Auto && winograd_work_ != INT64_MAX) return "winograd";
  return use_dnnl<float>() ? "onednn" : "im2col";
}

template <class T>
void conv_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  if (is_empty(s)) {
    const int64_t plane = product(s.out, s.nd), n = s.batch * s.c_out * plane;
    for (int64_t i = 0; i < n; ++i) y[i] = bias ? bias[i / plane % s.c_out] : T(0);
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (use_direct_forward(s)) return GS_ISA_TABLE(kDirect).forward(s, x, weight, bias, y);
    if (use_winograd(s)) return GS_ISA_TABLE(kWinograd).f32.forward(s, x, weight, bias, y);
  }
#ifdef GS_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (use_dnnl<T>() && !is_product(s) && dnnl_forward(s, DType::Float32, x, weight, bias, y))
      return;
  }
#endif
  im2col_forward(s, x, weight, bias, y);
}

template <class T>
void conv_backward_data(const ConvShape& s, const T* dy, const T* weight, T* dx) {
  if (is_empty(s)) return std::fill_n(dx, s.batch * s.c_in * product(s.in, s.nd), T(0)), void();
  if constexpr (std::is_same_v<T, float>) {
    if (use_direct_backward_data(s)) return GS_ISA_TABLE(kDirect).backward_data(s, dy, weight, dx);
    if (use_winograd(s)) return GS_ISA_TABLE(kWinograd).f32.backward_data(s, dy, weight, dx);
  }
#ifdef GS_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (use_dnnl<T>() && !is_product(s) && dnnl_backward_data(s, DType::Float32, dy, weight, dx))
      return;
  }
#endif
  im2col_backward_data(s, dy, weight, dx);
}

template <class T>
void conv_backward_weights(const ConvShape& s, const T* x, const T* dy, T* dweight, T* dbias) {
  if (is_empty(s)) {
    std::fill_n(dweight, s.c_out * (s.c_in / s.groups) * product(s.kernel, s.nd), T(0));
    if (!dbias) return;
    const int64_t plane = product(s.out, s.nd);
    std::fill_n(dbias, s.c_out, T(0));
    for (int64_t i = 0; i < s.batch * s.c_out * plane; ++i) dbias[i / plane % s.c_out] += dy[i];
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (use_direct_backward_weights(s))
      return GS_ISA_TABLE(kDirect).backward_weights(s, x, dy, dweight, dbias);
    if (use_winograd(s))
      return GS_ISA_TABLE(kWinograd).f32.backward_weights(s, x, dy, dweight, dbias);
  }
#ifdef GS_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    const bool product = is_product(s) && s.batch > 1;  // images are what threads share
    if (use_dnnl<T>() && !product &&
        dnnl_backward_weights(s, DType::Float32, x, dy, dweight, dbias))
      return;
  }
#endif
  im2col_backward_weights(s, x, dy, dweight, dbias);
}

// ---- bfloat16 ----

namespace {

/// Winograd's algorithm or oneDNN; false if neither does it.
template <class Own, class Library>
bool run_bfloat16(const ConvShape& s, Own own, [[maybe_unused]] Library library) {
  if (is_empty(s)) return false;
  if (use_winograd(s)) return own(GS_ISA_TABLE(kWinograd).bf16), true;
#ifdef GS_WITH_ONEDNN
  return use_dnnl<float>() && library();
#else
  return false;
#endif
}

}  // namespace

bool conv_forward(const ConvShape& s, const BFloat16* x, const BFloat16* weight, const float* bias,
                  BFloat16* y) {
  return run_bfloat16(
      s, [&](const auto& own) { own.forward(s, x, weight, bias, y); },
      [&] { return dnnl_forward(s, DType::BFloat16, x, weight, bias, y); });
}

bool conv_backward_data(const ConvShape& s, const BFloat16* dy, const BFloat16* weight,
                        BFloat16* dx) {
  return run_bfloat16(
      s, [&](const auto& own) { own.backward_data(s, dy, weight, dx); },
      [&] { return dnnl_backward_data(s, DType::BFloat16, dy, weight, dx); });
}

bool conv_backward_weights(const ConvShape& s, const BFloat16* x, const BFloat16* dy,
                           float* dweight, float* dbias) {
  return run_bfloat16(
      s, [&](const auto& own) { own.backward_weights(s, x, dy, dweight, dbias); },
      [&] { return dnnl_backward_weights(s, DType::BFloat16, x, dy, dweight, dbias); });
}

template <class T>
void conv_transpose_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  conv_backward_data(s, x, weight, y);
  if (bias) add_bias(s.batch, s.c_in, product(s.in, s.nd), bias, y);
}

#define GS_INSTANTIATE(T)                                                               \
  template void conv_forward<T>(const ConvShape&, const T*, const T*, const T*, T*);    \
  template void conv_backward_data<T>(const ConvShape&, const T*, const T*, T*);        \
  template void conv_backward_weights<T>(const ConvShape&, const T*, const T*, T*, T*); \
  template void conv_transpose_forward<T>(const ConvShape&, const T*, const T*, const T*, T*);
GS_INSTANTIATE(float)
GS_INSTANTIATE(double)
GS_INSTANTIATE(int64_t)
#undef GS_INSTANTIATE

}  // namespace gradstep
