// SPDX-License-Identifier: Apache-2.0
// Rows of convolution, pooling, windows as columns and shuffles.
#include "ops/conv.h"
#include "ops/pool.h"
#include "ops/resample.h"
#include "python/function.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

// ---- arguments ----

/// One number for all axes or one for each; PyTorch's text otherwise.
Dims list_of(const Args& a, int i, int nd, const char* what) {
  static constexpr const char* kCounts[] = {"", "one int", "two ints", "three ints"};
  const Dims given = a.dims(i);
  if (given.size() == 1 && nd > 1) return Dims::filled(nd, given[0]);
  GS_CHECK(given.size() == nd, "{}: {} must either be a single int, or a tuple of {}", a.row->name,
           what, kCounts[nd]);
  return given;
}

/// kernel_size, stride, padding[, dilation], ceil_mode from argument 1 on.
template <bool has_dilation>
Window window(const Args& a, int nd) {
  Window w;
  w.kernel = list_of(a, 1, nd, "kernel_size");
  w.stride = a.has(2) && a.dims(2).size() != 0 ? list_of(a, 2, nd, "stride") : w.kernel;
  w.padding = list_of(a, 3, nd, "padding");
  w.dilation = has_dilation ? list_of(a, 4, nd, "dilation") : Dims::filled(nd, 1);
  w.ceil_mode = a.flag(has_dilation ? 5 : 4);
  return w;
}

/// output_size of adaptive pooling: a number or a list in which None keeps the input's size.
Dims output_size(const Args& a, const Tensor& x, int nd) {
  PyObject* o = a.object(1);
  if (!PyTuple_Check(o) && !PyList_Check(o)) {
    return o == Py_None ? Dims(x.sizes().end() - nd, nd) : Dims::filled(nd, unwrap_int(o));
  }
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  PyObject* const* items = PySequence_Fast_ITEMS(o);
  GS_CHECK(n == nd || n == 1, "{}: output_size must be {}", a.row->name, nd);
  Dims out = Dims::filled(nd, 0);
  for (int d = 0; d < nd; ++d) {
    PyObject* item = items[n == 1 ? 0 : d];
    GS_CHECK(item != Py_None || x.ndim() >= nd, "{}: input has too few dimensions", a.row->name);
    out[d] = item == Py_None ? x.sizes()[x.ndim() - nd + d] : unwrap_int(item);
  }
  return out;
}

PyObject* resize_row(Args& a) {
  const std::string mode = a.str(3);
  const bool smooth = a.flag(5);
  const Resize resize_mode = mode == "nearest"         ? Resize::Nearest
                             : mode == "nearest-exact" ? Resize::NearestExact
                             : mode == "bicubic" ? (smooth ? Resize::CubicSmooth : Resize::Cubic)
                                                 : (smooth ? Resize::LinearSmooth : Resize::Linear);
  const std::vector<double> given = a.floats(2);
  GS_CHECK(given.size() <= 3 && a.dims(1).size() <= 3, "resize_axes: at most three axes");
  std::array<double, 3> scales{};
  std::copy(given.begin(), given.end(), scales.begin());
  return wrap(resize(a.tensor(0), a.dims(1), resize_mode, a.flag(4), scales));
}

PyObject* grid_sampler_row(Args& a) {
  const int64_t mode = a.i(2), outside = a.i(3);
  GS_CHECK(mode >= 0 && mode <= 2 && outside >= 0 && outside <= 2,
           "grid_sampler(): unknown interpolation_mode {} or padding_mode {}", mode, outside);
  return wrap(grid_sample(a.tensor(0), a.tensor(1), static_cast<Sampling>(mode),
                          static_cast<Outside>(outside), a.flag(4)));
}

Tensor pooled_input(const Args& a, int nd) {
  const Tensor x = a.tensor(0);
  if (nd == 1) {
    GS_CHECK(x.ndim() == 2 || x.ndim() == 3,
             "Expected 2 to 3 dimensions, but got {}-dimensional tensor for argument #1 'self' "
             "(while checking "
             "arguments for {})",
             x.ndim(), a.row->name);
  }
  return x;
}

// ---- one function for each rank ----

template <int nd>
PyObject* conv_row(Args& a) {
  return wrap(
      conv(nd, a.tensor(0), a.tensor(1), a.tensor(2), a.dims(3), a.dims(4), a.dims(5), a.i(6)));
}
template <int nd>
PyObject* conv_padded_row(Args& a) {
  return wrap(
      conv(nd, a.tensor(0), a.tensor(1), a.tensor(2), a.dims(3), a.str(4), a.dims(5), a.i(6)));
}
template <int nd>
PyObject* conv_transpose_row(Args& a) {
  return wrap(conv_transpose(nd, a.tensor(0), a.tensor(1), a.tensor(2), a.dims(3), a.dims(4),
                             a.dims(5), a.i(6), a.dims(7)));
}
template <int nd>
PyObject* max_pool_row(Args& a) {
  const bool with_indices = a.flag(6);
  const ValuesIndices result = max_pool(a.tensor(0), window<true>(a, nd), with_indices);
  return with_indices ? wrap(std::vector<Tensor>{result.values, result.indices})
                      : wrap(result.values);
}
template <int nd>
PyObject* max_pool_with_indices_row(Args& a) {
  const ValuesIndices result = max_pool(a.tensor(0), window<true>(a, nd), true);
  return wrap(std::vector<Tensor>{result.values, result.indices});
}
template <int nd>
PyObject* avg_pool_row(Args& a) {
  const std::optional<int64_t> divisor = nd == 1 ? std::nullopt : a.opt_int(6);
  return wrap(avg_pool(pooled_input(a, nd), window<false>(a, nd), a.flag(5), divisor));
}
template <int nd>
PyObject* adaptive_avg_row(Args& a) {
  const Tensor x = pooled_input(a, nd);
  return wrap(adaptive_avg_pool(x, output_size(a, x, nd)));
}
template <int nd>
PyObject* adaptive_max_row(Args& a) {
  const Tensor x = pooled_input(a, nd);
  const ValuesIndices result = adaptive_max_pool(x, output_size(a, x, nd));
  return wrap(std::vector<Tensor>{result.values, result.indices});
}

#define GS_CONV(nd)                                                                               \
  {"conv" #nd "d",                                                                                \
   "(Tensor input, Tensor weight, Tensor? bias=None, IntList stride=1, IntList padding=0, "       \
   "IntList dilation=1, "                                                                         \
   "int groups=1)",                                                                               \
   Fn | NnFunctional,                                                                             \
   "Convolution (cross-correlation) of (N, C, " #nd " axes) with (C_out, C / groups, kernel).",   \
   &conv_row<nd>},                                                                                \
      {"conv" #nd "d",                                                                            \
       "(Tensor input, Tensor weight, Tensor? bias=None, IntList stride=1, str padding='valid', " \
       "IntList dilation=1, int groups=1)",                                                       \
       Fn | NnFunctional,                                                                         \
       "padding: 'valid' (none) or 'same' (the output is as large as the input).",                \
       &conv_padded_row<nd>},                                                                     \
  {                                                                                               \
    "conv_transpose" #nd "d",                                                                     \
        "(Tensor input, Tensor weight, Tensor? bias=None, IntList stride=1, IntList padding=0, "  \
        "IntList output_padding=0, int groups=1, IntList dilation=1)",                            \
        Fn | NnFunctional,                                                                        \
        "The gradient of convolution with respect to its input, as an operation.",                \
        &conv_transpose_row<nd>                                                                   \
  }

#define GS_POOL(nd, divisor)                                                                      \
  {"max_pool" #nd "d",                                                                            \
   "(Tensor input, IntList kernel_size, IntList? stride=None, IntList padding=0, IntList "        \
   "dilation=1, "                                                                                 \
   "bool ceil_mode=False, bool return_indices=False)",                                            \
   Fn | NnFunctional, "The maximum over sliding windows of the last " #nd " axes.",               \
   &max_pool_row<nd>},                                                                            \
      {"max_pool" #nd "d_with_indices",                                                           \
       "(Tensor input, IntList kernel_size, IntList? stride=None, IntList padding=0, IntList "    \
       "dilation=1, "                                                                             \
       "bool ceil_mode=False)",                                                                   \
       Fn | NnFunctional, "max_pool" #nd "d and the flat position of each maximum in its plane.", \
       &max_pool_with_indices_row<nd>},                                                           \
      {"avg_pool" #nd "d",                                                                        \
       "(Tensor input, IntList kernel_size, IntList? stride=None, IntList padding=0, bool "       \
       "ceil_mode=False, "                                                                        \
       "bool count_include_pad=True" divisor ")",                                                 \
       Fn | NnFunctional, "The mean over sliding windows of the last " #nd " axes.",              \
       &avg_pool_row<nd>},                                                                        \
      {"adaptive_avg_pool" #nd "d", "(Tensor input, object output_size)", Fn | NnFunctional,      \
       "The mean over output_size windows of the last " #nd " axes; None keeps a size.",          \
       &adaptive_avg_row<nd>},                                                                    \
  {                                                                                               \
    "adaptive_max_pool" #nd "d", "(Tensor input, object output_size)", Fn | NnFunctional,         \
        "The maximum over output_size windows, and the flat position of each maximum.",           \
        &adaptive_max_row<nd>                                                                     \
  }

const FunctionRow kRows[] = {
    GS_CONV(1),
    GS_CONV(2),
    GS_CONV(3),
    {"convolution",
     "(Tensor input, Tensor weight, Tensor? bias, IntList stride, IntList padding, IntList "
     "dilation, bool transposed, "
     "IntList output_padding, int groups)",
     Fn, "Convolution or transposed convolution of a batched input, by the rank of weight.",
     [](Args& a) {
       return wrap(convolution(a.tensor(0), a.tensor(1), a.tensor(2), a.dims(3), a.dims(4),
                               a.dims(5), a.flag(6), a.dims(7), a.i(8)));
     }},

    GS_POOL(1, ""),
    GS_POOL(2, ", int? divisor_override=None"),
    GS_POOL(3, ", int? divisor_override=None"),

    {"im2col",
     "(Tensor input, IntList kernel_size, IntList dilation=1, IntList padding=0, IntList stride=1)",
     NnFunctional,
     "Windows as columns: (N, C, H, W) to (N, C * kernel, windows); torch.nn.functional.unfold.",
     [](Args& a) {
       return wrap(im2col(a.tensor(0), list_of(a, 1, 2, "kernel_size"),
                          list_of(a, 2, 2, "dilation"), list_of(a, 3, 2, "padding"),
                          list_of(a, 4, 2, "stride")));
     }},
    {"col2im",
     "(Tensor input, IntList output_size, IntList kernel_size, IntList dilation=1, IntList "
     "padding=0, "
     "IntList stride=1)",
     NnFunctional,
     "The adjoint of im2col: sums columns at the places of their windows; "
     "torch.nn.functional.fold.",
     [](Args& a) {
       return wrap(col2im(a.tensor(0), list_of(a, 1, 2, "output_size"),
                          list_of(a, 2, 2, "kernel_size"), list_of(a, 3, 2, "dilation"),
                          list_of(a, 4, 2, "padding"), list_of(a, 5, 2, "stride")));
     }},

    {"resize_axes",
     "(Tensor input, IntList size, object scales, str mode, bool align_corners=False, bool "
     "antialias=False)",
     NnFunctional, "The last axes at another size; torch.nn.functional.interpolate.", &resize_row},
    {"grid_sampler",
     "(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners)",
     Fn, "The values of an image at the places of a grid; torch.nn.functional.grid_sample.",
     &grid_sampler_row},
    {"pixel_shuffle", "(Tensor input, int upscale_factor)", Fn | NnFunctional,
     "(*, C r^2, H, W) to (*, C, H r, W r).",
     [](Args& a) { return wrap(pixel_shuffle(a.tensor(0), a.i(1))); }},
    {"pixel_unshuffle", "(Tensor input, int downscale_factor)", Fn | NnFunctional,
     "(*, C, H r, W r) to (*, C r^2, H, W).",
     [](Args& a) { return wrap(pixel_unshuffle(a.tensor(0), a.i(1))); }},
    {"channel_shuffle", "(Tensor input, int groups)", Fn | NnFunctional,
     "Channels (g, C / g) in the order (C / g, g).",
     [](Args& a) { return wrap(channel_shuffle(a.tensor(0), a.i(1))); }},
};

}  // namespace

void add_conv_pool_functions() { add_functions(kRows); }

}  // namespace gradstep::python
