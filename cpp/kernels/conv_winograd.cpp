// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions with stride 1 by Winograd's minimal filtering F(4x4, 3x3). Compiled once per
// instruction set (GS_ISA).
#include <algorithm>
#include <cstring>

#include "core/half.h"
#include "core/threads.h"
#include "fn/partial.h"
#include "kernels/conv.h"
#include "kernels/instruction_set.h"
#include "kernels/walk.h"

// Note [Winograd]
// A tile of 4x4 outputs is Aᵀ[(G g Gᵀ) * (Bᵀ d B)]A: d is the 6x6 piece of the image that it reads,
// g the kernel, * the product of elements. Summed over channels the middle is 36 matrix products,
// one for each element of the 6x6 tile, with 36 multiplications where the definition has 144. The
// matrices evaluate polynomials at 0, 3/4, -3/4, 3/2, -3/2 and infinity: powers of these stay near
// one, so that less is lost to rounding than with the textbook's 0, 1, -1, 2, -2 (a fifth of the
// largest error).
//
// The gradient of the image is the same computation with the kernel turned and its channels
// exchanged. That of the kernel is Gᵀ[sum over tiles of (A dy Aᵀ) * (Bᵀ d B)]G.
//
// Everything between NCHW on both sides has a vector of channels innermost: the transforms are
// then plain arithmetic on vectors, and the products read rows. Two orders of work:
//   many tiles: a block of tiles at a time, all of it in the L2; the transformed kernels are made
//     once and pass by for each block;
//   few tiles, many channels: the transformed tiles are made once, and pass by for each panel of
//     output channels, whose kernels are transformed where they are used.

namespace gradstep {
inline namespace GS_ISA {
namespace {

using V = Native<float>;
constexpr int kWidth = V::size;
constexpr int kPanel = 2 * kWidth;  // columns of the register tile
#if defined(__AVX512F__)
constexpr int kRows = 12;  // 24 of 32 registers hold the tile
#elif defined(__AVX2__)
constexpr int kRows = 6;  // 12 of 16
#else
constexpr int kRows = 4;
#endif
constexpr int kOut = 4, kIn = 6, kElements = kIn * kIn;
constexpr int64_t kDepth = 128;                // channels of one product
constexpr int64_t kBlockBytes = 3 << 18;       // a block of transformed tiles: part of the L2
constexpr int64_t kPartialElements = 1 << 21;  // all partial gradients, unless two need more

// ---- the transforms ----

constexpr float kA = 0.75f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;
constexpr float kN0 = 1 / (kA2 * kB2), kNa = 1 / (2 * kA2 * (kA2 - kB2)),
                kNb = 1 / (2 * kB2 * (kB2 - kA2));

struct Image {  // Bᵀ
  static constexpr int from = kIn, to = kIn;
  GS_FN static void apply(const V (&d)[from], V (&u)[to]) {
    const V even_a = d[4] - V(kB2) * d[2], odd_a = V(kA) * (d[3] - V(kB2) * d[1]);
    const V even_b = d[4] - V(kA2) * d[2], odd_b = V(kB) * (d[3] - V(kA2) * d[1]);
    u[0] = V(kA2 * kB2) * d[0] - V(kA2 + kB2) * d[2] + d[4];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = V(kA2 * kB2) * d[1] - V(kA2 + kB2) * d[3] + d[5];
  }
};

struct Kernel3 {  // G
  static constexpr int from = 3, to = kIn;
  GS_FN static void apply(const V (&g)[from], V (&u)[to]) {
    const V even_a = V(kNa) * g[0] + V(kA2 * kNa) * g[2], odd_a = V(kA * kNa) * g[1];
    const V even_b = V(kNb) * g[0] + V(kB2 * kNb) * g[2], odd_b = V(kB * kNb) * g[1];
    u[0] = V(kN0) * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
};

struct Result {  // Aᵀ
  static constexpr int from = kIn, to = kOut;
  GS_FN static void apply(const V (&m)[from], V (&y)[to]) {
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const V even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = V(kA) * odd_a + V(kB) * odd_b;
    y[2] = V(kA2) * even_a + V(kB2) * even_b;
    y[3] = m[5] + (V(kA3) * odd_a + V(kB3) * odd_b);
  }
};

struct ResultGradient {  // A
  static constexpr int from = kOut, to = kIn;
  GS_FN static void apply(const V (&y)[from], V (&u)[to]) {
    const V even_a = y[0] + V(kA2) * y[2], odd_a = V(kA) * y[1] + V(kA3) * y[3];
    const V even_b = y[0] + V(kB2) * y[2], odd_b = V(kB) * y[1] + V(kB3) * y[3];
    u[0] = y[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = y[3];
  }
};

struct KernelGradient {  // Gᵀ
  static constexpr int from = kIn, to = 3;
  GS_FN static void apply(const V (&u)[from], V (&g)[to]) {
    const V even_a = V(kNa) * (u[1] + u[2]), odd_a = V(kA * kNa) * (u[1] - u[2]);
    const V even_b = V(kNb) * (u[3] + u[4]), odd_b = V(kB * kNb) * (u[3] - u[4]);
    g[0] = V(kN0) * u[0] + (even_a + even_b);
    g[1] = odd_a + odd_b;
    g[2] = u[5] + (V(kA2) * even_a + V(kB2) * even_b);
  }
};

/// store(i, j, v) gets the elements of T X Tᵀ; load(i, j) gives those of X.
template <class T, class Load, class Store>
GS_FN void transform(Load load, Store store) {
  V half[T::from][T::to];
#pragma GCC unroll 6
  for (int j = 0; j < T::from; ++j) {
    V in[T::from], out[T::to];
#pragma GCC unroll 6
    for (int i = 0; i < T::from; ++i) in[i] = load(i, j);
    T::apply(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < T::to; ++i) half[j][i] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < T::to; ++i) {
    V in[T::from], out[T::to];
#pragma GCC unroll 6
    for (int j = 0; j < T::from; ++j) in[j] = half[j][i];
    T::apply(in, out);
#pragma GCC unroll 6
    for (int j = 0; j < T::to; ++j) store(i, j, out[j]);
  }
}

// ---- channels innermost ----

typedef uint16_t Halves __attribute__((vector_size(2 * kWidth)));
typedef uint32_t Words __attribute__((vector_size(4 * kWidth)));

/// The first n values as floats.
GS_FN V load_floats(const float* p, int n) { return n == kWidth ? V::load(p) : load_some<V>(p, n); }
GS_FN V load_floats(const BFloat16* p, int n) {
  Halves h{};
  if (n == kWidth) {
    std::memcpy(&h, p, sizeof h);
  } else {
    std::memcpy(&h, p, 2 * static_cast<size_t>(n));
  }
  return V(V::V(__builtin_convertvector(h, Words) << 16));
}

GS_FN void store_floats(float* p, V v, int n) {
  if (n == kWidth) {
    v.store(p);
  } else {
    store_some(p, v, n);
  }
}
/// Rounded to nearest even, as BFloat16 does.
GS_FN void store_floats(BFloat16* p, V v, int n) {
  const Words u = Words(v.v), rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const Halves h = __builtin_convertvector(v.v == v.v ? rounded : Words{} + 0x7fc0, Halves);
  std::memcpy(&p->bits, &h, 2 * static_cast<size_t>(n));
}

/// f(i, v) for each i < n: v holds p[i], p[i + stride], .. of the first `rows` rows and zeros.
/// Nothing at `end` or after it is read.
template <class T, class F>
GS_FN void columns_of(const T* p, int64_t stride, int rows, int64_t n, const T* end, F f) {
  for (int64_t i = 0; i < n; i += kWidth) {
    V v[kWidth];
    const int count = static_cast<int>(std::min<int64_t>(n - i, kWidth));
    if (rows == kWidth && p + i + (kWidth - 1) * stride + kWidth <= end) {
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r) v[r] = load_floats(p + i + r * stride, kWidth);
    } else {
      for (int r = 0; r < kWidth; ++r)
        v[r] = r < rows ? load_floats(p + i + r * stride, count) : V(0.0f);
    }
    transpose(v);
    for (int c = 0; c < count; ++c) f(i + c, v[c]);
  }
}

/// The reverse: p[i + r * stride] = f(i)[r] for each i < n and r < rows.
template <class T, class F>
GS_FN void store_columns(T* p, int64_t stride, int rows, int64_t n, F f) {
  for (int64_t i = 0; i < n; i += kWidth) {
    V v[kWidth];
    const int count = static_cast<int>(std::min<int64_t>(n - i, kWidth));
    for (int c = 0; c < count; ++c) v[c] = f(i + c);
    for (int c = count; c < kWidth; ++c) v[c] = V(0.0f);
    transpose(v);
    for (int r = 0; r < rows; ++r) store_floats(p + i + r * stride, v[r], count);
  }
}

// ---- geometry ----

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int64_t lanes(int64_t channels) { return round_up(channels, kWidth); }
/// n floats, rounded up to an odd number of lines: the 36 elements of a tile, that far apart, do
/// not compete for the same lines of a cache.
int64_t spread(int64_t n) { return ((n + 15) / 16 | 1) * 16; }

/// Images with their tiles. A row of tiles is the unit of work; it belongs to one image.
struct Plane {
  int64_t batch, channels, height, width;
  int64_t tile_rows, tile_columns;  // of the convolution's output
  int64_t padding[2];

  int64_t rows() const { return batch * tile_rows; }
  int64_t tiles() const { return rows() * tile_columns; }
};

/// Tiles of 6x6 transformed elements: element e of tile t is at e * step + t * channels.
struct Tiles {
  float* data;
  int64_t channels, step;
  static int64_t size(int64_t tiles, int64_t channels) {
    return kElements * spread(tiles * channels);
  }
  Tiles(float* p, int64_t tiles, int64_t channel_count)
      : data(p), channels(channel_count), step(spread(tiles * channel_count)) {}
};

/// Transforms the tiles of one row, of one vector of channels; the row's first tile becomes tile
/// `at`. T is Image, whose tiles are 6 wide and overlap, or ResultGradient, whose are 4 wide.
template <class T, class S>
void transform_row(const Plane& p, const S* x, int64_t row, int64_t channel, const Tiles& to,
                   int64_t at, float* strip) {
  constexpr int64_t kSize = T::from;
  const int64_t pad_y = T::from == kIn ? p.padding[0] : 0,
                pad_x = T::from == kIn ? p.padding[1] : 0;
  const int64_t image = row / p.tile_rows, top = row % p.tile_rows * kOut - pad_y;
  const int64_t width = p.tile_columns * kOut + (kSize - kOut), plane = p.height * p.width;
  const int64_t first = std::clamp<int64_t>(top, 0, p.height),
                last = std::clamp<int64_t>(top + kSize, 0, p.height);
  const int64_t inside = std::min(p.width, width - pad_x);  // columns of the image that are read
  const V zero = V(0.0f);
  for (int64_t r = 0; r < kSize; ++r) {
    float* line = strip + r * width * kWidth;
    const bool empty = top + r < first || top + r >= last;
    for (int64_t c = 0; c < (empty ? width : pad_x); ++c) zero.store(line + c * kWidth);
    for (int64_t c = pad_x + inside; c < width; ++c) zero.store(line + c * kWidth);
  }
  const S* from = x + (image * p.channels + channel) * plane;
  const S* const end = x + p.batch * p.channels * plane;
  const int rows = static_cast<int>(std::min<int64_t>(kWidth, p.channels - channel));
  if (inside == p.width) {
    int64_t y = first, column = 0;
    columns_of(from + first * p.width, plane, rows, (last - first) * p.width, end,
               [&](int64_t, V v) {
                 v.store(strip + ((y - top) * width + pad_x + column) * kWidth);
                 if (++column == p.width) column = 0, ++y;
               });
  } else {
    for (int64_t y = first; y < last; ++y) {
      float* line = strip + ((y - top) * width + pad_x) * kWidth;
      columns_of(from + y * p.width, plane, rows, inside, end,
                 [&](int64_t i, V v) { v.store(line + i * kWidth); });
    }
  }
  for (int64_t t = 0; t < p.tile_columns; ++t) {
    const float* tile = strip + t * kOut * kWidth;
    float* out = to.data + (at + t) * to.channels + channel;
    transform<T>([&](int i, int j) { return V::load(tile + (i * width + j) * kWidth); },
                 [&](int i, int j, V v) { v.store(out + (i * kIn + j) * to.step); });
  }
}

/// Floats that transform_row and store_row need.
int64_t strip_size(const Plane& p) { return kIn * (p.tile_columns * kOut + 2) * kWidth; }

/// The outputs of one row of tiles, of one vector of channels, from their products.
template <class S>
void store_row(const Plane& p, const Tiles& from, int64_t at, int64_t column, const float* bias,
               S* y, int64_t row, int64_t channel, float* strip) {
  const int64_t image = row / p.tile_rows, top = row % p.tile_rows * kOut;
  const int64_t height = std::min<int64_t>(kOut, p.height - top), plane = p.height * p.width;
  const int rows = static_cast<int>(std::min<int64_t>(kWidth, p.channels - channel));
  const int64_t width = p.tile_columns * kOut;
  const V shift = bias ? load_some<V>(bias + channel, rows) : V(0.0f);
  for (int64_t t = 0; t < p.tile_columns; ++t) {
    const float* in = from.data + (at + t) * from.channels + column;
    float* out = strip + t * kOut * kWidth;
    transform<Result>(
        [&](int i, int j) { return V::load(in + (i * kIn + j) * from.step); },
        [&](int i, int j, V v) { (v + shift).store(out + (i * width + j) * kWidth); });
  }
  S* to = y + (image * p.channels + channel) * plane + top * p.width;
  if (width == p.width) {
    store_columns(to, plane, rows, height * width,
                  [&](int64_t i) { return V::load(strip + i * kWidth); });
  } else {
    int64_t r = 0, c = 0;
    store_columns(to, plane, rows, height * p.width, [&](int64_t) {
      const V v = V::load(strip + (r * width + c) * kWidth);
      if (++c == p.width) c = 0, ++r;
      return v;
    });
  }
}

// ---- kernels ----

/// The 3x3 kernels [out][in][3][3] as one side of the products: input channels are rows, output
/// channels columns. Turned, the two exchange their places.
template <class S>
struct Kernels {
  const S* data;
  int64_t in, out;
  bool turned;
};

/// Transforms the kernels of input channels [begin, end) and one panel of output channels: element
/// e of (i, o) is at e * step + (i - begin) * kPanel + o.
template <class S>
void transform_kernels(const Kernels<S>& k, int64_t panel, int64_t begin, int64_t end, float* to,
                       int64_t step) {
  V taps[9 * kWidth];
  const auto finish = [&](const V* g, float* out) {
    transform<Kernel3>([&](int i, int j) { return g[k.turned ? 8 - 3 * i - j : 3 * i + j]; },
                       [&](int i, int j, V v) { v.store(out + (i * kIn + j) * step); });
  };
  for (int half = 0; half < 2; ++half) {
    const int64_t o = panel * kPanel + half * kWidth;
    const int count = static_cast<int>(std::clamp<int64_t>(k.out - o, 0, kWidth));
    float* const out = to + half * kWidth;
    const S* const last = k.data + 9 * k.in * k.out;
    if (k.turned) {  // stored as [in][out][9]
      for (int64_t i = begin; i < end; ++i) {
        columns_of(k.data + (i * k.out + std::min(o, k.out)) * 9, 9, count, 9, last,
                   [&](int64_t tap, V v) { taps[tap] = v; });
        finish(taps, out + (i - begin) * kPanel);
      }
    } else {
      for (int64_t i = begin; i < end; i += kWidth) {
        const int64_t n = std::min<int64_t>(kWidth, end - i);
        columns_of(k.data + (std::min(o, k.out) * k.in + i) * 9, 9 * k.in, count, 9 * n, last,
                   [&](int64_t at, V v) { taps[at] = v; });
        for (int64_t j = 0; j < n; ++j) finish(taps + 9 * j, out + (i + j - begin) * kPanel);
      }
    }
  }
}

// ---- products ----

/// c = a b, or c + a b, for R rows and a panel of columns.
template <int R>
GS_FN void multiply(int64_t k, const float* a, int64_t a_row, int64_t a_col, const float* b,
                    int64_t b_row, float* c, int64_t c_row, bool add) {
  V sum[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    sum[r][0] = add ? V::load(c + r * c_row) : V(0.0f);
    sum[r][1] = add ? V::load(c + r * c_row + kWidth) : V(0.0f);
  }
  for (int64_t i = 0; i < k; ++i) {
    const V left = V::load(b + i * b_row), right = V::load(b + i * b_row + kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V x = V(a[r * a_row + i * a_col]);
      sum[r][0] += x * left;
      sum[r][1] += x * right;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    sum[r][0].store(c + r * c_row);
    sum[r][1].store(c + r * c_row + kWidth);
  }
}

template <int R>
void multiply_rest(int64_t rows, int64_t k, const float* a, int64_t a_row, int64_t a_col,
                   const float* b, int64_t b_row, float* c, int64_t c_row, bool add) {
  if constexpr (R > 0) {
    if (rows == R) {
      multiply<R>(k, a, a_row, a_col, b, b_row, c, c_row, add);
    } else {
      multiply_rest<R - 1>(rows, k, a, a_row, a_col, b, b_row, c, c_row, add);
    }
  }
}

/// The same for any number of rows.
void multiply_panel(int64_t m, int64_t k, const float* a, int64_t a_row, int64_t a_col,
                    const float* b, int64_t b_row, float* c, int64_t c_row, bool add) {
  // The rows are shared out evenly: 16 are 8 + 8, not 12 + 4.
  const int64_t size = (m + (m + kRows - 1) / kRows - 1) / ((m + kRows - 1) / kRows);
  for (int64_t r = 0; r < m; r += size)
    multiply_rest<kRows>(std::min(size, m - r), k, a + r * a_row, a_row, a_col, b, b_row,
                         c + r * c_row, c_row, add);
}

// ---- forward and the gradient of the image ----

/// Products and outputs of tile rows [begin, end), tiles counted from `origin`, for one panel.
template <class S>
struct Pass {
  const Plane& out;
  const Kernels<S>& kernels;
  const float* bias;
  S* y;

  /// `ready`: the panel's transformed kernels, or null to transform them here, in `room`.
  void operator()(const Tiles& in, int64_t origin, int64_t begin, int64_t end, int64_t panel,
                  const float* ready, float* room, float* products, float* strip) const {
    const int64_t tiles = (end - begin) * out.tile_columns;
    const int64_t at = (begin - origin) * out.tile_columns;
    const Tiles sums(products, tiles, kPanel);
    for (int64_t k = 0; k < kernels.in; k += kDepth) {
      const int64_t depth = std::min(kDepth, kernels.in - k);
      const float* b = room;
      int64_t step = spread(kDepth * kPanel);
      if (ready) {
        step = spread(kernels.in * kPanel);
        b = ready + k * kPanel;
      } else {
        transform_kernels(kernels, panel, k, k + depth, room, step);
      }
      for (int e = 0; e < kElements; ++e) {
        multiply_panel(tiles, depth, in.data + e * in.step + at * in.channels + k, in.channels, 1,
                       b + e * step, kPanel, sums.data + e * sums.step, kPanel, k > 0);
      }
    }
    for (int64_t half = 0; half < kPanel; half += kWidth) {
      const int64_t channel = panel * kPanel + half;
      if (channel >= out.channels) break;
      for (int64_t row = begin; row < end; ++row)
        store_row(out, sums, (row - begin) * out.tile_columns, half, bias, y, row, channel, strip);
    }
  }
};

/// True if the tiles, not the kernels, are what should stay in the cache.
bool by_tiles(int64_t tiles, int64_t c_in, int64_t c_out) {
  return tiles >= 2 * std::max(c_in, c_out);
}

template <class S>
void convolve(const Plane& in, const Plane& out, const Kernels<S>& kernels, const float* bias,
              const S* x, S* y) {
  const int64_t c_in = lanes(in.channels);
  const int64_t panels = (out.channels + kPanel - 1) / kPanel;
  const Pass<S> pass{out, kernels, bias, y};
  const int64_t strip = std::max(strip_size(in), strip_size(out));
  const auto rows_of = [&](int64_t bytes) {
    return std::clamp<int64_t>(bytes / (kElements * 4 * in.tile_columns * (c_in + kPanel)), 1,
                               in.rows());
  };
  if (by_tiles(in.tiles(), in.channels, out.channels)) {
    const int64_t step = spread(in.channels * kPanel), panel_size = kElements * step;
    const Scratch<float> transformed(panels * panel_size);
    parallel_for(panels * in.channels, std::max<int64_t>(1, kGrain / 64 / kPanel),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t at = begin; at < end;) {
                     const int64_t panel = at / in.channels, from = at % in.channels;
                     const int64_t to = std::min(in.channels, from + end - at);
                     transform_kernels(kernels, panel, from, to,
                                       transformed.data() + panel * panel_size + from * kPanel,
                                       step);
                     at += to - from;
                   }
                 });
    const int64_t block = rows_of(kBlockBytes), tiles = block * in.tile_columns;
    parallel_for((in.rows() + block - 1) / block, 1, [&](int64_t first, int64_t last) {
      const Scratch<float> room(Tiles::size(tiles, c_in) + Tiles::size(tiles, kPanel) + strip);
      const Tiles staged(room.data(), tiles, c_in);
      float* const products = room.data() + Tiles::size(tiles, c_in);
      float* const line = products + Tiles::size(tiles, kPanel);
      for (int64_t i = first; i < last; ++i) {
        const int64_t begin = i * block, end = std::min(in.rows(), begin + block);
        for (int64_t row = begin; row < end; ++row) {
          for (int64_t c = 0; c < in.channels; c += kWidth)
            transform_row<Image>(in, x, row, c, staged, (row - begin) * in.tile_columns, line);
        }
        for (int64_t panel = 0; panel < panels; ++panel)
          pass(staged, begin, begin, end, panel, transformed.data() + panel * panel_size, nullptr,
               products, line);
      }
    });
    return;
  }
  const Scratch<float> all(Tiles::size(in.tiles(), c_in));
  const Tiles staged(all.data(), in.tiles(), c_in);
  const int64_t vectors = c_in / kWidth;
  parallel_for(in.rows() * vectors,
               std::max<int64_t>(1, kGrain / 8 / (kElements * in.tile_columns)),
               [&](int64_t begin, int64_t end) {
                 const Scratch<float> line(strip);
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t row = i / vectors;
                   transform_row<Image>(in, x, row, i % vectors * kWidth, staged,
                                        row * in.tile_columns, line.data());
                 }
               });
  const int64_t tiles = in.tiles();
  parallel_for(panels, 1, [&](int64_t first, int64_t last) {
    const int64_t kernel_size = kElements * spread(kDepth * kPanel);
    const Scratch<float> room(kernel_size + Tiles::size(tiles, kPanel) + strip);
    float* const products = room.data() + kernel_size;
    for (int64_t panel = first; panel < last; ++panel)
      pass(staged, 0, 0, in.rows(), panel, nullptr, room.data(), products,
           products + Tiles::size(tiles, kPanel));
  });
}

Plane input_plane(const ConvShape& s) {
  return {s.batch,
          s.c_in,
          s.in[0],
          s.in[1],
          (s.out[0] + kOut - 1) / kOut,
          (s.out[1] + kOut - 1) / kOut,
          {s.pad[0], s.pad[1]}};
}
Plane output_plane(const ConvShape& s) {
  return {s.batch,
          s.c_out,
          s.out[0],
          s.out[1],
          (s.out[0] + kOut - 1) / kOut,
          (s.out[1] + kOut - 1) / kOut,
          {0, 0}};
}

template <class S>
void forward(const ConvShape& s, const S* x, const S* weight, const float* bias, S* y) {
  convolve<S>(input_plane(s), output_plane(s), {weight, s.c_in, s.c_out, false}, bias, x, y);
}

template <class S>
void backward_data(const ConvShape& s, const S* dy, const S* weight, S* dx) {
  // The convolution of dy whose output is dx.
  ConvShape t = s;
  std::swap(t.c_in, t.c_out);
  for (int d = 0; d < 2; ++d) {
    std::swap(t.in[d], t.out[d]);
    t.pad[d] = 2 - s.pad[d];
  }
  convolve<S>(input_plane(t), output_plane(t), {weight, t.c_in, t.c_out, true}, nullptr, dy, dx);
}

// ---- the gradient of the kernels ----

/// A block of the kernels' gradients: output channels [begin, end) by a panel of input channels.
/// Element e of (o, i) is at e * step() + (o - begin) * kPanel + i.
struct Block {
  int64_t begin, end, panel;
  int64_t step() const { return spread((end - begin) * kPanel); }

  /// sums (+)= the sum of dy * x over the tiles.
  void multiply(const Tiles& dy, const Tiles& x, int64_t tiles, float* sums, bool add) const {
    for (int e = 0; e < kElements; ++e)
      multiply_panel(end - begin, tiles, dy.data + e * dy.step + begin, 1, dy.channels,
                     x.data + e * x.step + panel * kPanel, x.channels, sums + e * step(), kPanel,
                     add);
  }
  /// The 3x3 gradients of output channels [from, to).
  void store(const ConvShape& s, const float* sums, int64_t from, int64_t to,
             float* dweight) const {
    for (int64_t o = from; o < to; ++o) {
      for (int64_t i = panel * kPanel; i < std::min(s.c_in, (panel + 1) * kPanel); i += kWidth) {
        const float* in = sums + (o - begin) * kPanel + (i - panel * kPanel);
        V taps[9];
        transform<KernelGradient>(
            [&](int a, int b) { return V::load(in + (a * kIn + b) * step()); },
            [&](int a, int b, V v) { taps[3 * a + b] = v; });
        store_columns(dweight + (o * s.c_in + i) * 9, 9,
                      static_cast<int>(std::min<int64_t>(kWidth, s.c_in - i)), 9,
                      [&](int64_t t) { return taps[t]; });
      }
    }
  }
};

template <class S>
void backward_weights(const ConvShape& s, const S* x, const S* dy, float* dweight, float* dbias) {
  const Plane in = input_plane(s), out = output_plane(s);
  const int64_t c_in = round_up(s.c_in, kPanel), c_out = lanes(s.c_out), panels = c_in / kPanel;
  const int64_t strip = std::max(strip_size(in), strip_size(out));
  if (dbias) {
    parallel_for(s.c_out, 1, [&](int64_t begin, int64_t end) {
      const int64_t plane = out.height * out.width;
      for (int64_t c = begin; c < end; ++c) {
        double total = 0;
        for (int64_t n = 0; n < s.batch; ++n) {
          const S* p = dy + (n * s.c_out + c) * plane;
          V sum = V(0.0f);
          for (int64_t i = 0; i < plane; i += kWidth)
            sum += load_floats(p + i, static_cast<int>(std::min<int64_t>(kWidth, plane - i)));
          total += hsum(sum);
        }
        dbias[c] = static_cast<float>(total);
      }
    });
  }
  const auto stage = [&](int64_t begin, int64_t end, const Tiles& images, const Tiles& gradients,
                         float* line) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = (row - begin) * in.tile_columns;
      for (int64_t c = 0; c < s.c_in; c += kWidth)
        transform_row<Image>(in, x, row, c, images, at, line);
      for (int64_t c = 0; c < s.c_out; c += kWidth)
        transform_row<ResultGradient>(out, dy, row, c, gradients, at, line);
    }
  };
  if (by_tiles(in.tiles(), s.c_in, s.c_out)) {
    // Blocks of tiles; chunks of them have sums of their own, which are added in order.
    const int64_t block = std::clamp<int64_t>(
        kBlockBytes / (kElements * 4 * in.tile_columns * (c_in + c_out)), 1, in.rows());
    const int64_t tiles = block * in.tile_columns, blocks = (in.rows() + block - 1) / block;
    const int64_t step = Block{0, s.c_out, 0}.step(), panel_size = kElements * step;
    const int64_t most = std::clamp<int64_t>(kPartialElements / (panels * panel_size), 2, 8);
    const int64_t grain = (blocks + most - 1) / most;
    const int64_t chunks = chunk_count(blocks, grain), size = chunk_size(blocks, grain);
    const Scratch<float> sums(chunks * panels * panel_size);
    parallel_for(blocks, grain, [&](int64_t first, int64_t last) {
      const Scratch<float> room(Tiles::size(tiles, c_in) + Tiles::size(tiles, c_out) + strip);
      const Tiles images(room.data(), tiles, c_in),
          gradients(room.data() + Tiles::size(tiles, c_in), tiles, c_out);
      float* const line = gradients.data + Tiles::size(tiles, c_out);
      float* const mine = sums.data() + first / size * panels * panel_size;
      for (int64_t i = first; i < last; ++i) {
        const int64_t begin = i * block, end = std::min(in.rows(), begin + block);
        stage(begin, end, images, gradients, line);
        for (int64_t panel = 0; panel < panels; ++panel)
          Block{0, s.c_out, panel}.multiply(gradients, images, (end - begin) * in.tile_columns,
                                            mine + panel * panel_size, i > first);
      }
    });
    parallel_for(panels * s.c_out, 4, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end;) {
        const int64_t panel = at / s.c_out, from = at % s.c_out,
                      to = std::min(s.c_out, from + end - at);
        float* const sum = sums.data() + panel * panel_size;
        for (int64_t q = 1; q < chunks; ++q) {
          for (int e = 0; e < kElements; ++e) {
            float* a = sum + e * step;
            const float* b = a + q * panels * panel_size;
            for (int64_t i = from * kPanel; i < to * kPanel; i += kWidth)
              (V::load(a + i) + V::load(b + i)).store(a + i);
          }
        }
        Block{0, s.c_out, panel}.store(s, sum, from, to, dweight);
        at += to - from;
      }
    });
    return;
  }
  const Scratch<float> all(Tiles::size(in.tiles(), c_in) + Tiles::size(in.tiles(), c_out));
  const Tiles images(all.data(), in.tiles(), c_in),
      gradients(all.data() + Tiles::size(in.tiles(), c_in), in.tiles(), c_out);
  parallel_for(in.rows(), 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> line(strip);
    const auto from = [&](const Tiles& t) {
      Tiles part = t;
      part.data += begin * in.tile_columns * t.channels;
      return part;
    };
    stage(begin, end, from(images), from(gradients), line.data());
  });
  const int64_t blocks = (s.c_out + kDepth - 1) / kDepth;
  parallel_for(panels * blocks, 1, [&](int64_t first, int64_t last) {
    const Scratch<float> sums(kElements * Block{0, kDepth, 0}.step());
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i / panels * kDepth;
      const Block block{begin, std::min(s.c_out, begin + kDepth), i % panels};
      block.multiply(gradients, images, in.tiles(), sums.data(), false);
      block.store(s, sums.data(), block.begin, block.end, dweight);
    }
  });
}

}  // namespace

extern const WinogradTable kWinograd;
const WinogradTable kWinograd = {
    {&forward<float>, &backward_data<float>, &backward_weights<float>},
    {&forward<BFloat16>, &backward_data<BFloat16>, &backward_weights<BFloat16>}};

}  // namespace GS_ISA
}  // namespace gradstep
