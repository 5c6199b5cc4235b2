// SPDX-License-Identifier: Apache-2.0
// The calls of convolution on the CPU. All are over one shape, that of y = conv(x, weight):
//   conv_forward: y; x, weight[, bias]      conv_data: x; y, weight[, bias]      conv_weight:
//   weight[, bias]; x, y
// conv_data is the gradient of the input and, with a bias, a transposed convolution. Slots: nd,
// groups, then nd each of stride, padding, dilation. Operands are contiguous. Halves are computed
// in float, integers in int64.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/memory.h"
#include "core/threads.h"
#include "graph/call.h"
#include "kernels/conv.h"
#include "kernels/convert.h"

namespace gradstep {

namespace {

ConvShape shape_of(const Call& call, const TensorImpl& x, const TensorImpl& weight,
                   const TensorImpl& y) {
  ConvShape s{};
  s.nd = static_cast<int>(call.i(0));
  s.groups = call.i(1);
  s.batch = x.sizes[0];
  s.c_in = x.sizes[1];
  s.c_out = y.sizes[1];
  for (int d = 0; d < s.nd; ++d) {
    s.in[d] = x.sizes[2 + d];
    s.kernel[d] = weight.sizes[2 + d];
    s.out[d] = y.sizes[2 + d];
    s.stride[d] = call.i(2 + d);
    s.pad[d] = call.i(2 + s.nd + d);
    s.dilation[d] = call.i(2 + 2 * s.nd + d);
  }
  return s;
}

/// The elements of a tensor as T: its own memory, or for halves and narrow integers a wider copy
/// that is stored back at the end.
template <class T>
class Values {
 public:
  Values(const TensorImpl& t, bool written) : tensor_(t), written_(written) {
    if (t.dtype != kWide) {
      values_ = static_cast<T*>(allocate(bytes()));
      if (!written) move<true>();
    } else {
      values_ = reinterpret_cast<T*>(t.data);
    }
  }
  Values(const Values&) = delete;
  ~Values() {
    if (static_cast<const void*>(values_) == tensor_.data) return;
    if (written_) move<false>();
    deallocate(values_, bytes());
  }
  T* get() const { return values_; }

 private:
  static constexpr DType kWide = std::is_same_v<T, double>  ? DType::Float64
                                 : std::is_same_v<T, float> ? DType::Float32
                                                            : DType::Int64;
  size_t bytes() const { return static_cast<size_t>(tensor_.numel) * sizeof(T); }

  template <bool load>
  void move() {
    const ConvertLoop convert =
        load ? convert_loop_for(kWide, tensor_.dtype) : convert_loop_for(tensor_.dtype, kWide);
    const auto item = static_cast<int64_t>(element_size(tensor_.dtype));
    parallel_for(tensor_.numel, kGrain, [&](int64_t begin, int64_t end) {
      char* const narrow = tensor_.data + begin * item;
      T* const values = values_ + begin;
      convert(load ? static_cast<void*>(values) : narrow,
              load ? narrow : static_cast<void*>(values), end - begin);
    });
  }

  const TensorImpl& tensor_;
  bool written_;
  T* values_;
};

/// An operand that may be absent.
template <class T>
struct OptionalValues {
  alignas(Values<T>) char memory[sizeof(Values<T>)];
  Values<T>* values = nullptr;
  OptionalValues(const TensorImpl* t, bool written) {
    if (t) values = new (memory) Values<T>(*t, written);
  }
  ~OptionalValues() {
    if (values) values->~Values<T>();
  }
  T* get() const { return values ? values->get() : nullptr; }
};

template <class F>
void with_compute_type(const Call& call, F&& f) {
  const DType dtype = call.out(0).dtype;
  if (dtype == DType::Float64) {
    f(double{});
  } else if (is_floating(dtype)) {
    f(float{});
  } else {
    f(int64_t{});
  }
}

/// Nothing to sum over: zeros, or the bias of each channel.
template <class T>
void fill_channels(T* out, int64_t batch, int64_t channels, int64_t inner, const T* bias) {
  for (int64_t i = 0; i < batch * channels; ++i)
    std::fill_n(out + i * inner, inner, bias ? bias[i % channels] : T(0));
}

int64_t inner_size(const TensorImpl& t) {
  int64_t n = 1;
  for (int d = 2; d < t.ndim(); ++d) n *= t.sizes[d];
  return n;
}

template <class T>
T* data_of(const TensorImpl& t) {
  return reinterpret_cast<T*>(t.data);
}

/// bfloat16 without a float copy of the images; false where that has no kernel.
template <bool transposed>
bool apply_bfloat16(const Call& call) {
  const TensorImpl &out = call.out(0), &in = call.in(0), &weight = call.in(1);
  if (out.dtype != DType::BFloat16) return false;
  using T = BFloat16;
  const TensorImpl* const bias = call.n_in > 2 ? call.maybe_in(2) : nullptr;
  if constexpr (transposed) {
    return !bias && conv_backward_data(shape_of(call, out, weight, in), data_of<T>(in),
                                       data_of<T>(weight), data_of<T>(out));
  } else {
    const OptionalValues<float> shift(bias, false);
    return conv_forward(shape_of(call, in, weight, out), data_of<T>(in), data_of<T>(weight),
                        shift.get(), data_of<T>(out));
  }
}

template <bool transposed>
void apply(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0 || apply_bfloat16<transposed>(call)) return;
  with_compute_type(call, [&](auto tag) {
    using T = decltype(tag);
    const Values<T> result(out, true), in(call.in(0), false), weight(call.in(1), false);
    const OptionalValues<T> bias(call.n_in > 2 ? call.maybe_in(2) : nullptr, false);
    if (call.in(0).numel == 0 || call.in(1).numel == 0) {
      fill_channels(result.get(), out.sizes[0], out.sizes[1], inner_size(out), bias.get());
    } else if constexpr (transposed) {
      const ConvShape s = shape_of(call, out, call.in(1), call.in(0));
      if (bias.get()) {
        conv_transpose_forward<T>(s, in.get(), weight.get(), bias.get(), result.get());
      } else {
        conv_backward_data<T>(s, in.get(), weight.get(), result.get());
      }
    } else {
      conv_forward<T>(shape_of(call, call.in(0), call.in(1), out), in.get(), weight.get(),
                      bias.get(), result.get());
    }
  });
}

void conv_forward_call(const Call& call) { apply<false>(call); }
GS_CPU_KERNEL("conv_forward", conv_forward_call);

void conv_data_call(const Call& call) { apply<true>(call); }
GS_CPU_KERNEL("conv_data", conv_data_call);

void conv_weight_call(const Call& call) {
  with_compute_type(call, [&](auto tag) {
    using T = decltype(tag);
    const TensorImpl& x = call.in(0);
    const TensorImpl& y = call.in(1);
    const Values<T> dweight(call.out(0), true);
    const OptionalValues<T> dbias(call.n_out > 1 ? &call.out(1) : nullptr, true);
    if (x.numel == 0 || y.numel == 0 || call.out(0).numel == 0) {
      std::fill_n(dweight.get(), call.out(0).numel, T(0));
      if (T* p = dbias.get()) {
        std::fill_n(p, call.out(1).numel, T(0));
        const Values<T> dy(y, false);
        const int64_t inner = inner_size(y);
        for (int64_t i = 0; i < y.numel; ++i) p[i / inner % y.sizes[1]] += dy.get()[i];
      }
      return;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (x.dtype == DType::BFloat16 &&
          conv_backward_weights(shape_of(call, x, call.out(0), y), data_of<BFloat16>(x),
                                data_of<BFloat16>(y), dweight.get(), dbias.get()))
        return;
    }
    const Values<T> in(x, false), dy(y, false);
    conv_backward_weights<T>(shape_of(call, x, call.out(0), y), in.get(), dy.get(), dweight.get(),
                             dbias.get());
  });
}
GS_CPU_KERNEL("conv_weight", conv_weight_call);

}  // namespace

}  // namespace gradstep
