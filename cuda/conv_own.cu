// SPDX-License-Identifier: Apache-2.0
// Convolution without cuDNN, right for every case and plain. See Note [Convolution as a product].
#include "cuda/block.h"
#include "cuda/conv.h"
#include "cuda/values.h"
#include "cuda/window.h"

namespace gradstep::cuda {

namespace {

// Note [Convolution as a product]
// Each product of a group is a matrix product, result (m, n) = sum over k of left(m, k) *
// right(k, n), whose matrices are not stored but looked up:
//   Forward  m: channel of y   n: image and place of y   k: channel of x and tap
//   Data     m: channel of x   n: image and place of x   k: channel of y and tap
//   Weight   m: channel of y   n: channel of x and tap   k: image and place of y
// A block computes 64 x 64 results from tiles in shared memory; groups of a few channels, most of
// whose tile would be empty, take a thread (Weight: a block) for each result. Weight has few
// results and long sums: they are cut into slices whose sums are added in order. Nothing depends on
// the order in which blocks run.

constexpr int kThreads = 256;
constexpr int kTile = 64;  // results of a block in each direction: 4 x 4 a thread
constexpr int kStep = 16;  // products between two barriers
constexpr int kLoads = kTile * kStep / kThreads;
constexpr int kPitch = kTile + 4;  // rows stay aligned for four and start in different banks
constexpr int64_t kFewRows = 8;    // below this many rows no tiles

struct ProductArgs {
  const char *x, *w, *y, *bias;
  char* out;
  DType type, out_type;
  int64_t m, n, k;  // of one group
  int64_t c_in, c_out, group_in, group_out, groups;
  Planes in, places, kernel;  // places are y's
  int64_t stride[3], pad[3], dilation[3];
  Splitter by_stride[3];
  int64_t slices, length;  // k is cut into slices of that length
  Splitter by_n, by_m;

  /// x, w or y at an index.
  template <class C>
  GS_DEVICE C load(const char* p, int64_t i) const {
    return load_as<C>(p, type, i);
  }
};

/// What is known of a column before k is.
struct Column {
  int64_t start[3];
  int64_t from;
};

struct ForwardProduct {
  static constexpr bool k_is_inner = false;  // neighbours of a column lie beside each other
  GS_DEVICE static Column column(const ProductArgs& a, int64_t g, int64_t n) {
    Column c;
    const int64_t image = a.places.split(n, c.start);
    for (int d = 0; d < 3; ++d) c.start[d] = c.start[d] * a.stride[d] - a.pad[d];
    c.from = (image * a.c_in + g * a.group_in) * a.in.plane;
    return c;
  }
  template <class C>
  GS_DEVICE static C left(const ProductArgs& a, int64_t g, int64_t m, int64_t k) {
    return a.load<C>(a.w, (g * a.group_out + m) * a.k + k);
  }
  template <class C>
  GS_DEVICE static C right(const ProductArgs& a, const Column& c, int64_t k) {
    int64_t at[3];
    const int64_t channel = a.kernel.split(k, at);
    for (int d = 0; d < 3; ++d) {
      at[d] = c.start[d] + at[d] * a.dilation[d];
      if (at[d] < 0 || at[d] >= a.in.size[d]) return C(0);
    }
    return a.load<C>(a.x, c.from + channel * a.in.plane + a.in.offset(at[0], at[1], at[2]));
  }
  GS_DEVICE static int64_t place(const ProductArgs& a, int64_t g, int64_t m, int64_t n) {
    const int64_t image = a.places.by_plane.split(n);
    return (image * a.c_out + g * a.group_out + m) * a.places.plane + n;
  }
  GS_DEVICE static int64_t channel(const ProductArgs& a, int64_t g, int64_t m) {
    return g * a.group_out + m;
  }
};

struct DataProduct {
  static constexpr bool k_is_inner = false;
  GS_DEVICE static Column column(const ProductArgs& a, int64_t g, int64_t n) {
    Column c;
    const int64_t image = a.in.split(n, c.start);
    for (int d = 0; d < 3; ++d) c.start[d] += a.pad[d];
    c.from = (image * a.c_out + g * a.group_out) * a.places.plane;
    return c;
  }
  template <class C>
  GS_DEVICE static C left(const ProductArgs& a, int64_t g, int64_t m, int64_t k) {
    const int64_t channel = a.kernel.by_plane.split(k);
    return a.load<C>(a.w, ((g * a.group_out + channel) * a.group_in + m) * a.kernel.plane + k);
  }
  template <class C>
  GS_DEVICE static C right(const ProductArgs& a, const Column& c, int64_t k) {
    int64_t at[3];
    const int64_t channel = a.kernel.split(k, at);
    for (int d = 0; d < 3; ++d) {
      int64_t rest = c.start[d] - at[d] * a.dilation[d];
      if (rest < 0) return C(0);
      at[d] = a.by_stride[d].split(rest);
      if (rest != 0 || at[d] >= a.places.size[d]) return C(0);
    }
    return a.load<C>(a.y, c.from + channel * a.places.plane + a.places.offset(at[0], at[1], at[2]));
  }
  GS_DEVICE static int64_t place(const ProductArgs& a, int64_t g, int64_t m, int64_t n) {
    const int64_t image = a.in.by_plane.split(n);
    return (image * a.c_in + g * a.group_in + m) * a.in.plane + n;
  }
  GS_DEVICE static int64_t channel(const ProductArgs& a, int64_t g, int64_t m) {
    return g * a.group_in + m;
  }
};

struct WeightProduct {
  static constexpr bool k_is_inner = true;  // neighbours of a row of k do
  GS_DEVICE static Column column(const ProductArgs& a, int64_t g, int64_t n) {
    Column c;
    const int64_t channel = a.kernel.split(n, c.start);
    for (int d = 0; d < 3; ++d) c.start[d] = c.start[d] * a.dilation[d] - a.pad[d];
    c.from = (g * a.group_in + channel) * a.in.plane;
    return c;
  }
  template <class C>
  GS_DEVICE static C left(const ProductArgs& a, int64_t g, int64_t m, int64_t k) {
    const int64_t image = a.places.by_plane.split(k);
    return a.load<C>(a.y, (image * a.c_out + g * a.group_out + m) * a.places.plane + k);
  }
  template <class C>
  GS_DEVICE static C right(const ProductArgs& a, const Column& c, int64_t k) {
    int64_t at[3];
    const int64_t image = a.places.split(k, at);
    for (int d = 0; d < 3; ++d) {
      at[d] = c.start[d] + at[d] * a.stride[d];
      if (at[d] < 0 || at[d] >= a.in.size[d]) return C(0);
    }
    return a.load<C>(a.x, image * a.c_in * a.in.plane + c.from + a.in.offset(at[0], at[1], at[2]));
  }
  GS_DEVICE static int64_t place(const ProductArgs& a, int64_t g, int64_t m, int64_t n) {
    return (g * a.group_out + m) * a.n + n;
  }
  GS_DEVICE static int64_t channel(const ProductArgs&, int64_t, int64_t) { return 0; }
};

// ---- kernels ----

template <class C, class P>
GS_DEVICE void store_result(const ProductArgs& a, int64_t g, int64_t m, int64_t n, int64_t slice,
                            C v) {
  if (a.bias) v += a.load<C>(a.bias, P::channel(a, g, m));
  const int64_t shift = slice * a.groups * a.m * a.n;
  store_as<C>(a.out, a.out_type, shift + P::place(a, g, m, n), v);
}

template <class C>
struct alignas(Few<C, 4>) Tile {
  C v[kStep][kPitch];
};

template <class C, class P>
__global__ void __launch_bounds__(kThreads) tile_kernel(const __grid_constant__ ProductArgs a) {
  __shared__ Tile<C> left, right;
  // Rows first: blocks that run together read the same columns.
  const int64_t tiles_m = (a.m + kTile - 1) / kTile, tiles_n = (a.n + kTile - 1) / kTile;
  int64_t block = blockIdx.x;
  const int64_t m0 = block % tiles_m * kTile;
  block /= tiles_m;
  const int64_t n0 = block % tiles_n * kTile;
  block /= tiles_n;
  const int64_t slice = block % a.slices, g = block / a.slices;
  const int64_t begin = slice * a.length;
  const int64_t end = begin + a.length < a.k ? begin + a.length : a.k;

  // Which elements of the tiles a thread loads: (row or column, k) + load * step.
  const int t = int(threadIdx.x);
  constexpr int kColumnsOut = kThreads / kStep, kKsOut = kThreads / kTile;
  const int left_k = t % kStep, left_m = t / kStep;
  const int right_k = P::k_is_inner ? t % kStep : t / kTile;
  const int right_n = P::k_is_inner ? t / kStep : t % kTile;
  constexpr int kColumns = P::k_is_inner ? kLoads : 1;
  Column column[kColumns];
  GS_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    const int64_t n = n0 + right_n + j * kColumnsOut;
    column[j] = P::column(a, g, n < a.n ? n : 0);
  }
  C from_left[kLoads], from_right[kLoads];
  const auto load = [&](int64_t k0) {
    GS_UNROLL
    for (int j = 0; j < kLoads; ++j) {
      const int64_t m = m0 + left_m + j * kColumnsOut, k = k0 + left_k;
      from_left[j] = m < a.m && k < end ? P::template left<C>(a, g, m, k) : C(0);
    }
    GS_UNROLL
    for (int j = 0; j < kLoads; ++j) {
      const int64_t n = n0 + right_n + (P::k_is_inner ? j * kColumnsOut : 0);
      const int64_t k = k0 + right_k + (P::k_is_inner ? 0 : j * kKsOut);
      const Column& c = column[P::k_is_inner ? j : 0];
      from_right[j] = n < a.n && k < end ? P::template right<C>(a, c, k) : C(0);
    }
  };

  const int tm = t / 16 * 4, tn = t % 16 * 4;
  C sum[4][4] = {};
  load(begin);
  for (int64_t k0 = begin; k0 < end; k0 += kStep) {
    GS_UNROLL
    for (int j = 0; j < kLoads; ++j) {
      left.v[left_k][left_m + j * kColumnsOut] = from_left[j];
      if constexpr (P::k_is_inner) {
        right.v[right_k][right_n + j * kColumnsOut] = from_right[j];
      } else {
        right.v[right_k + j * kKsOut][right_n] = from_right[j];
      }
    }
    __syncthreads();
    load(k0 + kStep);  // while the tiles are used; zeros behind the end
    GS_UNROLL
    for (int k = 0; k < kStep; ++k) {
      const Few<C, 4> l = *reinterpret_cast<const Few<C, 4>*>(&left.v[k][tm]);
      const Few<C, 4> r = *reinterpret_cast<const Few<C, 4>*>(&right.v[k][tn]);
      GS_UNROLL
      for (int i = 0; i < 4; ++i) {
        GS_UNROLL
        for (int j = 0; j < 4; ++j) sum[i][j] += l.v[i] * r.v[j];
      }
    }
    __syncthreads();
  }
  GS_UNROLL
  for (int i = 0; i < 4; ++i) {
    GS_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int64_t m = m0 + tm + i, n = n0 + tn + j;
      if (m < a.m && n < a.n) store_result<C, P>(a, g, m, n, slice, sum[i][j]);
    }
  }
}

/// A thread for each result.
template <class C, class P>
__global__ void __launch_bounds__(kThreads) thread_kernel(const __grid_constant__ ProductArgs a) {
  const int64_t results = a.groups * a.m * a.n;
  for (int64_t i = first_index(); i < results; i += index_stride()) {
    int64_t n = i;
    int64_t m = a.by_n.split(n);
    const int64_t g = a.by_m.split(m);
    const Column column = P::column(a, g, n);
    C sum = 0;
    for (int64_t k = 0; k < a.k; ++k)
      sum += P::template left<C>(a, g, m, k) * P::template right<C>(a, column, k);
    store_result<C, P>(a, g, m, n, 0, sum);
  }
}

/// A block for each result.
template <class C, class P>
__global__ void __launch_bounds__(kThreads) block_kernel(const __grid_constant__ ProductArgs a) {
  const int64_t results = a.groups * a.m * a.n;
  for (int64_t i = blockIdx.x; i < results; i += gridDim.x) {
    int64_t n = i;
    int64_t m = a.by_n.split(n);
    const int64_t g = a.by_m.split(m);
    const Column column = P::column(a, g, n);
    C sum = 0;
    for (int64_t k = threadIdx.x; k < a.k; k += kThreads)
      sum += P::template left<C>(a, g, m, k) * P::template right<C>(a, column, k);
    sum = block_sum(sum);
    if (threadIdx.x == 0) store_result<C, P>(a, g, m, n, 0, sum);
  }
}

template <class C>
__global__ void __launch_bounds__(kThreads)
    sum_slices_kernel(const C* partial, int64_t slices, int64_t n, char* out, DType type) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    C sum = 0;
    for (int64_t k = 0; k < slices; ++k) sum += partial[k * n + i];
    store_as<C>(out, type, i, sum);
  }
}

template <class C>
void launch_sum(const Call& call, const C* partial, int64_t slices, const TensorImpl& out) {
  launch_grid(call, &sum_slices_kernel<C>, blocks_for(call, out.numel, kThreads), kThreads, partial,
              slices, out.numel, out.data, out.dtype);
}

// ---- launches ----

ProductArgs product_args(Product product, const ConvShape& s, const ConvOperands& p,
                         const char* bias) {
  ProductArgs a{};
  a.x = p.x;
  a.w = p.w;
  a.y = p.y;
  a.bias = bias;
  a.out = product == Product::Forward ? p.y : product == Product::Data ? p.x : p.w;
  a.type = a.out_type = s.type;
  a.c_in = s.c_in;
  a.c_out = s.c_out;
  a.groups = s.groups;
  a.group_in = s.c_in / s.groups;
  a.group_out = s.c_out / s.groups;
  int64_t in = s.batch, out = s.batch, taps = 1;
  for (int d = 0; d < s.nd; ++d) {
    in *= s.in[d];
    out *= s.out[d];
    taps *= s.kernel[d];
  }
  const int64_t of_in = a.group_in * taps, of_out = a.group_out * taps;
  a.in = Planes(s.in, s.nd, in);
  a.places = Planes(s.out, s.nd, out);
  a.kernel = Planes(s.kernel, s.nd, of_in > of_out ? of_in : of_out);
  for (int d = 0; d < 3; ++d) {
    const int own = d - (3 - s.nd);
    a.stride[d] = own < 0 ? 1 : s.stride[own];
    a.pad[d] = own < 0 ? 0 : s.pad[own];
    a.dilation[d] = own < 0 ? 1 : s.dilation[own];
    a.by_stride[d] = Splitter(a.stride[d], a.in.size[d] + a.pad[d]);
  }
  switch (product) {
    case Product::Forward: a.m = a.group_out, a.n = out, a.k = of_in; break;
    case Product::Data: a.m = a.group_in, a.n = in, a.k = of_out; break;
    case Product::Weight: a.m = a.group_out, a.n = of_in, a.k = out; break;
  }
  a.slices = 1;
  a.length = a.k;
  const int64_t results = a.groups * a.m * a.n;
  a.by_n = Splitter(a.n, results);
  a.by_m = Splitter(a.m, results);
  return a;
}

template <class C, class P>
void launch_image(const Call& call, const ProductArgs& a) {
  if (a.m < kFewRows) {
    const int64_t results = a.groups * a.m * a.n;
    return launch_grid(call, &thread_kernel<C, P>, blocks_for(call, results, kThreads), kThreads,
                       a);
  }
  const int64_t tiles = (a.m + kTile - 1) / kTile * ((a.n + kTile - 1) / kTile) * a.groups;
  launch_grid(call, &tile_kernel<C, P>, unsigned(tiles), kThreads, a);
}

template <class C>
void launch_weight(const Call& call, ProductArgs a) {
  if (a.m < kFewRows) {
    const int64_t results = a.groups * a.m * a.n, most = int64_t(1) << 30;
    return launch_grid(call, &block_kernel<C, WeightProduct>,
                       unsigned(results < most ? results : most), kThreads, a);
  }
  const int64_t tiles = (a.m + kTile - 1) / kTile * ((a.n + kTile - 1) / kTile) * a.groups;
  // Two blocks for each multiprocessor, with sums that are worth the second pass.
  const TensorImpl& out = call.out(0);
  const int64_t want = (2 * multiprocessors(out.device.index) + tiles - 1) / tiles;
  const int64_t most = a.k / 512;
  a.slices = want < most ? want : most > 1 ? most : 1;
  if (a.slices == 1)
    return launch_grid(call, &tile_kernel<C, WeightProduct>, unsigned(tiles), kThreads, a);
  a.length = (a.k + a.slices - 1) / a.slices;
  const DeviceScratch<C> partial(a.slices * out.numel, call);
  a.out = reinterpret_cast<char*>(partial.data());
  a.out_type = dtype_of<C>;
  launch_grid(call, &tile_kernel<C, WeightProduct>, unsigned(tiles * a.slices), kThreads, a);
  launch_sum(call, partial.data(), a.slices, out);
}

template <class C>
void launch_product(const Call& call, Product product, const ProductArgs& a) {
  switch (product) {
    case Product::Forward: return launch_image<C, ForwardProduct>(call, a);
    case Product::Data: return launch_image<C, DataProduct>(call, a);
    case Product::Weight: return launch_weight<C>(call, a);
  }
}

}  // namespace

void sum_slices(const Call& call, const float* partial, int64_t slices, const TensorImpl& out) {
  launch_sum(call, partial, slices, out);
}
void sum_slices(const Call& call, const double* partial, int64_t slices, const TensorImpl& out) {
  launch_sum(call, partial, slices, out);
}

void run_own(const Call& call, Product product, const ConvShape& s, const ConvOperands& p,
             const char* bias) {
  const ProductArgs a = product_args(product, s, p, bias);
  if (s.type == DType::Float64) return launch_product<double>(call, product, a);
  launch_product<float>(call, product, a);
}

}  // namespace gradstep::cuda
