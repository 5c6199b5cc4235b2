// SPDX-License-Identifier: Apache-2.0
// 2-d convolutions with stride 1 and few channels, by their definition, with vectors along the
// image instead of the channels. Compiled once per instruction set (GS_ISA).
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/threads.h"
#include "fn/partial.h"
#include "kernels/conv.h"
#include "kernels/instruction_set.h"
#include "kernels/walk.h"

// Note [Direct convolution]
// Each input channel is copied into a plane with its padding as zeros. The padding right of a row
// is that left of the next one, so that a row has width + padding elements. In such planes an
// output is at the place of the first input that it reads, and tap (i, j) of the kernel is the same
// distance i * pitch + j from each output: the loops run over whole planes, with full vectors
// however narrow the image is. What they compute between two rows of outputs is dropped; for the
// gradient of the kernels, where these places would be summed, the outputs' gradient is zero there.

namespace gradstep {
inline namespace GS_ISA {
namespace {

using V = Native<float>;
constexpr int kWidth = V::size;
#if defined(__AVX512F__)
constexpr int kMaxOut = 8, kTile = 24;  // output channels, vectors of sums: of 32 registers
constexpr int kGradientOut = 6;
#elif defined(__AVX2__)
constexpr int kMaxOut = 4, kTile = 12;  // of 16
constexpr int kGradientOut = 3;
#else
constexpr int kMaxOut = 4, kTile = 8;
constexpr int kGradientOut = 2;
#endif
constexpr int kMaxTaps = 8;
constexpr int64_t kBand = 768;     // outputs of a channel that are computed in one go
constexpr int64_t kStage = 96;     // vectors of a channel that are summed in one go: all in the L1
constexpr int64_t kMaxChunks = 8;  // sums of gradients that are kept apart
constexpr int64_t kChunkProducts = 1 << 19;  // multiplications that are worth a chunk

int64_t round_up(int64_t n) { return (n + kWidth - 1) / kWidth * kWidth; }

/// The planes of a convolution.
struct Planes {
  int64_t height, width, pad[2], pitch;  // of the input; the pitch is both planes'
  int64_t out_height, out_width;
  int64_t vectors;            // of outputs
  int64_t in_size, out_size;  // elements
  int64_t kernel[2];

  explicit Planes(const ConvShape& s)
      : height(s.in[0]),
        width(s.in[1]),
        pad{s.pad[0], s.pad[1]},
        pitch(width + pad[1]),
        out_height(s.out[0]),
        out_width(s.out[1]),
        kernel{s.kernel[0], s.kernel[1]} {
    out_size = round_up((out_height - 1) * pitch + out_width);
    vectors = out_size / kWidth;
    // A band's last vector may begin anywhere: one more.
    in_size = round_up(std::max((height + pad[0]) * pitch,
                                (kernel[0] - 1) * pitch + kernel[1] - 1 + out_size + kWidth));
  }

  int64_t taps() const { return kernel[0] * kernel[1]; }
  /// Where the taps of `channels` planes, `step` apart, are from the first one's output.
  void offsets(int64_t channels, int64_t step, int64_t* to) const {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < kernel[0]; ++i)
        for (int64_t j = 0; j < kernel[1]; ++j) *to++ = c * step + i * pitch + j;
  }
  /// What surrounds the image is zero already.
  void stage_input(const float* x, float* plane) const {
    copy_rows(x, width, plane + pad[0] * pitch + pad[1], pitch, height, width);
  }
  void stage_output(const float* y, float* plane) const {
    copy_rows(y, out_width, plane, pitch, out_height, out_width);
  }
  void unstage_output(const float* plane, int64_t rows, float* y) const {
    copy_rows(plane, pitch, y, out_width, rows, out_width);
  }

 private:
  static void copy_rows(const float* from, int64_t from_pitch, float* to, int64_t to_pitch,
                        int64_t rows, int64_t n) {
    if (n < kWidth) {
      for (int64_t r = 0; r < rows; ++r)
        store_some(to + r * to_pitch, load_some<V>(from + r * from_pitch, static_cast<int>(n)),
                   static_cast<int>(n));
      return;
    }
    for (int64_t r = 0; r < rows; ++r, from += from_pitch, to += to_pitch) {
      for (int64_t i = 0; i + kWidth <= n; i += kWidth) V::load(from + i).store(to + i);
      V::load(from + n - kWidth).store(to + n - kWidth);
    }
  }
};

// ---- images ----

/// kVectors vectors of outputs of each of kOut channels. w has kOut biases, then kOut weights for
/// each tap.
template <int kOut, int kVectors>
GS_FN void convolve_tile(const float* x, const int64_t* offsets, int64_t taps, const float* w,
                         float* out, int64_t out_size) {
  V sum[kOut][kVectors];
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[o][v] = V(w[o]);
  for (int64_t t = 0; t < taps; ++t) {
    const float* const in = x + offsets[t];
    w += kOut;
    V d[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) d[v] = V::load(in + v * kWidth);
#pragma GCC unroll 8
    for (int o = 0; o < kOut; ++o) {
      const V weight(w[o]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[o][v] = sum[o][v] + weight * d[v];
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[o][v].store(out + o * out_size + v * kWidth);
}

template <int kOut>
void convolve_planes(const float* x, const int64_t* offsets, int64_t taps, const float* w,
                     float* out, int64_t out_size) {
  constexpr int kVectors = std::min(8, kTile / kOut);
  int64_t i = 0;
  for (; i + kVectors * kWidth <= out_size; i += kVectors * kWidth)
    convolve_tile<kOut, kVectors>(x + i, offsets, taps, w, out + i, out_size);
  for (; i < out_size; i += kWidth)
    convolve_tile<kOut, 1>(x + i, offsets, taps, w, out + i, out_size);
}

constexpr auto kConvolve = []<int... i>(std::integer_sequence<int, i...>) {
  return std::array{&convolve_planes<i + 1>...};
}(std::make_integer_sequence<int, kMaxOut>{});

/// y = conv(x, weight) + bias, where weight_of(o, c, t) is the weight of tap t.
template <class WeightOf>
void convolve(const ConvShape& s, const float* x, WeightOf weight_of, const float* bias, float* y) {
  const Planes p(s);
  const int64_t plane = p.height * p.width, out_plane = p.out_height * p.out_width;
  const int64_t taps = s.c_in * p.taps(), blocks = (s.c_out + kMaxOut - 1) / kMaxOut;
  const auto first_of = [&](int64_t block) { return block * s.c_out / blocks; };
  const Scratch<int64_t> offsets(taps);
  p.offsets(s.c_in, p.in_size, offsets.data());
  const Scratch<float> packed(s.c_out * (taps + 1));
  float* to = packed.data();
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t o = first_of(b); o < first_of(b + 1); ++o) *to++ = bias ? bias[o] : 0.0f;
    for (int64_t c = 0; c < s.c_in; ++c)
      for (int64_t t = 0; t < p.taps(); ++t)
        for (int64_t o = first_of(b); o < first_of(b + 1); ++o) *to++ = weight_of(o, c, t);
  }
  const int64_t products = std::max<int64_t>(1, taps * p.out_size * s.c_out / blocks);
  const int64_t grain = std::max<int64_t>(1, kChunkProducts / products);
  const int64_t bands = (p.out_size + kBand - 1) / kBand, rows = (p.out_height + bands - 1) / bands;
  const int64_t band_size = round_up((rows - 1) * p.pitch + p.out_width);
  parallel_for(s.batch * blocks, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> room(s.c_in * p.in_size + kMaxOut * band_size);
    float* const in = room.data();
    float* const out = in + s.c_in * p.in_size;
    std::memset(in, 0, sizeof(float) * static_cast<size_t>(s.c_in * p.in_size));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, b = i % blocks, first = first_of(b);
      const int64_t count = first_of(b + 1) - first;
      if (i == begin || b == 0) {
        for (int64_t c = 0; c < s.c_in; ++c)
          p.stage_input(x + (n * s.c_in + c) * plane, in + c * p.in_size);
      }
      for (int64_t row = 0; row < p.out_height; row += rows) {
        const int64_t some = std::min(rows, p.out_height - row);
        const int64_t size = round_up((some - 1) * p.pitch + p.out_width);
        kConvolve[static_cast<size_t>(count - 1)](in + row * p.pitch, offsets.data(), taps,
                                                  packed.data() + first * (taps + 1), out, size);
        for (int64_t o = 0; o < count; ++o)
          p.unstage_output(out + o * size, some,
                           y + (n * s.c_out + first + o) * out_plane + row * p.out_width);
      }
    }
  });
}

void forward(const ConvShape& s, const float* x, const float* weight, const float* bias, float* y) {
  const int64_t taps = s.kernel[0] * s.kernel[1];
  convolve(
      s, x, [&](int64_t o, int64_t c, int64_t t) { return weight[(o * s.c_in + c) * taps + t]; },
      bias, y);
}

void backward_data(const ConvShape& s, const float* dy, const float* weight, float* dx) {
  // The convolution of dy whose output is dx: the kernel is turned and its channels exchanged.
  const int64_t taps = s.kernel[0] * s.kernel[1];
  ConvShape t = s;
  std::swap(t.c_in, t.c_out);
  for (int d = 0; d < 2; ++d) {
    std::swap(t.in[d], t.out[d]);
    t.pad[d] = s.kernel[d] - 1 - s.pad[d];
  }
  convolve(
      t, dy,
      [&](int64_t o, int64_t c, int64_t i) {
        return weight[(c * s.c_in + o) * taps + taps - 1 - i];
      },
      nullptr, dx);
}

// ---- the gradient of the kernels ----

/// Staged images: channels' planes `channel` apart, images' `image` apart.
struct Staged {
  const float* data;
  int64_t image, channel;
};

/// sums[o][t] += dy[o] * x at the tap's offset, elementwise over the vectors of all images.
template <int kOut, int kCount>
void sum_products(const Staged& dy, const Staged& x, const int64_t* offsets, int64_t images,
                  int64_t vectors, float* sums, int64_t taps) {
  V sum[kOut][kCount];
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) sum[o][t] = V::load(sums + (o * taps + t) * kWidth);
  for (int64_t n = 0; n < images; ++n) {
    const float* const d = dy.data + n * dy.image;
    const float* in[kCount];
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) in[t] = x.data + n * x.image + offsets[t];
    for (int64_t i = 0; i < vectors * kWidth; i += kWidth) {
      V g[kOut];
#pragma GCC unroll 8
      for (int o = 0; o < kOut; ++o) g[o] = V::load(d + o * dy.channel + i);
#pragma GCC unroll 8
      for (int t = 0; t < kCount; ++t) {
        const V v = V::load(in[t] + i);
#pragma GCC unroll 8
        for (int o = 0; o < kOut; ++o) sum[o][t] = sum[o][t] + g[o] * v;
      }
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) sum[o][t].store(sums + (o * taps + t) * kWidth);
}

/// The most taps that are summed together for that many output channels.
constexpr int taps_of(int64_t out) { return std::min(kMaxTaps, kTile / static_cast<int>(out)); }

constexpr auto kSumProducts = []<int... i>(std::integer_sequence<int, i...>) {
  return std::array{
      &sum_products<i / kMaxTaps + 1, std::min(i % kMaxTaps + 1, taps_of(i / kMaxTaps + 1))>...};
}(std::make_integer_sequence<int, kGradientOut * kMaxTaps>{});

void backward_weights(const ConvShape& s, const float* x, const float* dy, float* dweight,
                      float* dbias) {
  const Planes p(s);
  const int64_t plane = p.height * p.width, out_plane = p.out_height * p.out_width;
  // The gradient of the bias is that of one more tap, on a channel of ones.
  const int64_t channels = s.c_in + (dbias != nullptr), weights = s.c_in * p.taps(),
                taps = weights + (dbias != nullptr);
  const int64_t bytes =
      static_cast<int64_t>(sizeof(float)) * (channels * p.in_size + s.c_out * p.out_size);
  const int64_t stage = std::clamp<int64_t>(kStage / p.vectors, 1, s.batch);
  const Scratch<int64_t> offsets(taps);
  p.offsets(s.c_in, stage * p.in_size, offsets.data());
  if (dbias) offsets[weights] = s.c_in * stage * p.in_size;
  const int64_t blocks = (s.c_out + kGradientOut - 1) / kGradientOut;
  const int64_t grain = std::max((s.batch + kMaxChunks - 1) / kMaxChunks,
                                 kChunkProducts / (taps * s.c_out * p.out_size));
  const int64_t size = s.c_out * taps * kWidth, chunks = chunk_count(s.batch, grain),
                step = chunk_size(s.batch, grain);
  const Scratch<float> sums(chunks * size);
  parallel_for(s.batch, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> room(stage * (channels * p.in_size + s.c_out * p.out_size));
    float* const in = room.data();
    float* const out = in + stage * channels * p.in_size;
    std::memset(in, 0, static_cast<size_t>(stage * bytes));
    if (dbias) std::fill_n(in + s.c_in * stage * p.in_size, stage * p.in_size, 1.0f);
    float* const mine = sums.data() + begin / step * size;
    std::fill_n(mine, size, 0.0f);
    for (int64_t first = begin; first < end; first += stage) {
      const int64_t images = std::min(stage, end - first);
      for (int64_t n = 0; n < images; ++n) {
        for (int64_t c = 0; c < s.c_in; ++c)
          p.stage_input(x + ((first + n) * s.c_in + c) * plane, in + (c * stage + n) * p.in_size);
        for (int64_t o = 0; o < s.c_out; ++o)
          p.stage_output(dy + ((first + n) * s.c_out + o) * out_plane,
                         out + (o * stage + n) * p.out_size);
      }
      for (int64_t i = 0; i < p.vectors; i += kStage) {
        const Staged input{in + i * kWidth, p.in_size, stage * p.in_size};
        const int64_t vectors = std::min(kStage, p.vectors - i);
        for (int64_t b = 0; b < blocks; ++b) {
          const int64_t o = b * s.c_out / blocks, n_out = (b + 1) * s.c_out / blocks - o;
          const int64_t groups = (taps + taps_of(n_out) - 1) / taps_of(n_out);
          const Staged gradient{out + o * stage * p.out_size + i * kWidth, p.out_size,
                                stage * p.out_size};
          for (int64_t g = 0; g < groups; ++g) {
            const int64_t t = g * taps / groups, n_taps = (g + 1) * taps / groups - t;
            kSumProducts[static_cast<size_t>((n_out - 1) * kMaxTaps + n_taps - 1)](
                gradient, input, offsets.data() + t, images, vectors,
                mine + (o * taps + t) * kWidth, taps);
          }
        }
      }
    }
  });
  for (int64_t o = 0; o < s.c_out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      const float* const at = sums.data() + (o * taps + t) * kWidth;
      V total = V::load(at);
      for (int64_t q = 1; q < chunks; ++q) total += V::load(at + q * size);
      (t < weights ? dweight[o * weights + t] : dbias[o]) = hsum(total);
    }
  }
}

}  // namespace

extern const DirectTable kDirect;
const DirectTable kDirect = {&forward, &backward_data, &backward_weights};

}  // namespace GS_ISA
}  // namespace gradstep
