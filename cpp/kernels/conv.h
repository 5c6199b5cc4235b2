// SPDX-License-Identifier: Apache-2.0
// Convolution in 1, 2 and 3 dimensions on plain NCHW pointers, threaded over the batch:
//   ConvShape s{.batch = 32, .c_in = 3, .c_out = 64, .groups = 1, .nd = 2, .in = {32, 32}, ...};
//   conv_forward<float>(s, x, weight, bias, y);
// float runs directly where there are few channels (conv_direct.cpp), by Winograd's algorithm where
// that is faster (conv_winograd.cpp), then in oneDNN where the build has it (conv_dnnl.cpp),
// otherwise, and for double, as im2col and a matrix product (conv_im2col.cpp). Results do not
// depend on the number of threads. A transposed convolution is conv_transpose_forward with the
// shape of the convolution that it transposes; its gradients are conv_forward (data) and
// conv_backward_weights with x and dy exchanged.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace gradstep {

/// Of each array the first nd entries count. x: (batch, c_in, in..), y: (batch, c_out, out..),
/// weight: (c_out, c_in / groups, kernel..). out = conv_output_size(..), as the caller has computed
/// it.
struct ConvShape {
  int64_t batch, c_in, c_out, groups;
  int nd;
  int64_t in[3], kernel[3], stride[3], pad[3], dilation[3], out[3];
};

constexpr int64_t conv_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                                   int64_t dilation) {
  return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

/// y = conv(x, weight) + bias; bias may be nullptr.
template <class T>
void conv_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y);

/// dx, overwritten.
template <class T>
void conv_backward_data(const ConvShape& s, const T* dy, const T* weight, T* dx);

/// dweight and, unless it is nullptr, dbias; both overwritten.
template <class T>
void conv_backward_weights(const ConvShape& s, const T* x, const T* dy, T* dweight, T* dbias);

/// y (batch, s.c_in, s.in..) = conv_transpose(x (batch, s.c_out, s.out..), weight) + bias (s.c_in).
template <class T>
void conv_transpose_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y);

/// The same for bfloat16 images and kernels, which are read and written as they are; the gradients
/// of the kernels and all sums are floats. False, with nothing written, where only floats will do.
bool conv_forward(const ConvShape& s, const BFloat16* x, const BFloat16* weight, const float* bias,
                  BFloat16* y);
bool conv_backward_data(const ConvShape& s, const BFloat16* dy, const BFloat16* weight,
                        BFloat16* dx);
bool conv_backward_weights(const ConvShape& s, const BFloat16* x, const BFloat16* dy,
                           float* dweight, float* dbias);

/// Which implementation runs: Auto takes the fastest, Im2col is for tests and comparisons.
enum class ConvBackend : uint8_t { Auto, Im2col };
void set_conv_backend(ConvBackend backend);
/// "winograd", "onednn" or "im2col": the first that is tried.
const char* conv_backend_name();

// ---- implementations ----

template <class T>
void im2col_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y);
template <class T>
void im2col_backward_data(const ConvShape& s, const T* dy, const T* weight, T* dx);
template <class T>
void im2col_backward_weights(const ConvShape& s, const T* x, const T* dy, T* dweight, T* dbias);

// These return false, with nothing written, where oneDNN has no such primitive. `dtype` is that of
// x, weight, dy, y and dx: Float32 or BFloat16.
bool dnnl_forward(const ConvShape& s, DType dtype, const void* x, const void* weight,
                  const float* bias, void* y);
bool dnnl_backward_data(const ConvShape& s, DType dtype, const void* dy, const void* weight,
                        void* dx);
bool dnnl_backward_weights(const ConvShape& s, DType dtype, const void* x, const void* dy,
                           float* dweight, float* dbias);

/// 3x3 with stride 1; see Note [Winograd]. Compiled once per instruction set.
template <class T>
struct Winograd {
  void (*forward)(const ConvShape&, const T* x, const T* weight, const float* bias, T* y);
  void (*backward_data)(const ConvShape&, const T* dy, const T* weight, T* dx);
  void (*backward_weights)(const ConvShape&, const T* x, const T* dy, float* dweight, float* dbias);
};
struct WinogradTable {
  Winograd<float> f32;
  Winograd<BFloat16> bf16;
};

/// 2-d with stride 1 and few channels, padding less than the kernel; see Note [Direct convolution].
/// Compiled once per instruction set.
using DirectTable = Winograd<float>;

}  // namespace gradstep
