// SPDX-License-Identifier: Apache-2.0
// Convolution as a matrix product: each output position becomes a column of the inputs that it
// reads. The columns are made a few output rows at a time, so that they stay in the cache.
#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "core/threads.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"

namespace gradstep {

namespace {

constexpr int64_t kColumnElements =
    1 << 16;  // one block of columns: 256 KiB of floats, part of the L2
constexpr int64_t kParallelWork = 1 << 19;     // multiplications of one chunk of images
constexpr int64_t kMaxPartials = 16;           // partial weight gradients
constexpr int64_t kPartialElements = 1 << 21;  // all of them together, unless two need more

/// A shape in three dimensions, with one group's matrices.
struct Geometry {
  int64_t in[3], kernel[3], stride[3], pad[3], dilation[3], out[3];
  int64_t batch, groups, c_in, c_out;  // channels of one group
  int64_t in_plane, out_plane, taps;   // taps: elements of one kernel
  int64_t depth;                       // rows of the column matrix: c_in * taps
  int64_t out_rows;                    // out[0] * out[1]
  int64_t row_step;                    // output rows per block of columns
  bool direct;                         // 1x1 with stride 1: the image is its own column matrix

  explicit Geometry(const ConvShape& s) : batch(s.batch), groups(s.groups) {
    for (int d = 0; d < 3; ++d) {
      const int from = d - (3 - s.nd);
      in[d] = from < 0 ? 1 : s.in[from];
      kernel[d] = from < 0 ? 1 : s.kernel[from];
      stride[d] = from < 0 ? 1 : s.stride[from];
      pad[d] = from < 0 ? 0 : s.pad[from];
      dilation[d] = from < 0 ? 1 : s.dilation[from];
      out[d] = from < 0 ? 1 : s.out[from];
    }
    c_in = s.c_in / groups;
    c_out = s.c_out / groups;
    in_plane = in[0] * in[1] * in[2];
    out_plane = out[0] * out[1] * out[2];
    taps = kernel[0] * kernel[1] * kernel[2];
    depth = c_in * taps;
    out_rows = out[0] * out[1];
    row_step =
        std::clamp<int64_t>(kColumnElements / std::max<int64_t>(1, depth * out[2]), 1, out_rows);
    direct = taps == 1 && in_plane == out_plane;
    for (int d = 0; d < 3; ++d) direct = direct && stride[d] == 1 && pad[d] == 0;
  }
  bool few_images() const { return batch * groups < 4; }
  int64_t column_elements() const { return direct ? 0 : depth * row_step * out[2]; }
  int64_t image_grain() const {
    return std::max<int64_t>(1, kParallelWork / std::max<int64_t>(1, c_out * depth * out_plane));
  }
};

template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n)
      : bytes_(n * sizeof(T)), data_(n > 0 ? static_cast<T*>(allocate(bytes_)) : nullptr) {}
  ~Buffer() {
    if (data_) deallocate(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

/// Calls visit(row of the column matrix, its first column, image row or nullptr, first and last
/// valid output x, input x of output x = 0) for every kernel tap and output row in [begin, end).
template <class T, class Visit>
void visit_columns(const Geometry& g, T* image, int64_t begin, int64_t end, Visit&& visit) {
  const int64_t width = g.out[2];
  int64_t row = 0;
  for (int64_t c = 0; c < g.c_in; ++c) {
    for (int64_t kd = 0; kd < g.kernel[0]; ++kd) {
      for (int64_t kh = 0; kh < g.kernel[1]; ++kh) {
        for (int64_t kw = 0; kw < g.kernel[2]; ++kw, ++row) {
          const int64_t x0 = kw * g.dilation[2] - g.pad[2];
          const int64_t step = g.stride[2];
          const int64_t first = x0 >= 0 ? 0 : std::min(width, (-x0 + step - 1) / step);
          const int64_t last =
              g.in[2] - x0 <= 0 ? 0 : std::min(width, (g.in[2] - x0 - 1) / step + 1);
          for (int64_t r = begin; r < end; ++r) {
            const int64_t z = r / g.out[1] * g.stride[0] - g.pad[0] + kd * g.dilation[0];
            const int64_t y = r % g.out[1] * g.stride[1] - g.pad[1] + kh * g.dilation[1];
            const bool inside = z >= 0 && z < g.in[0] && y >= 0 && y < g.in[1];
            T* source = inside ? image + ((c * g.in[0] + z) * g.in[1] + y) * g.in[2] : nullptr;
            visit(row, (r - begin) * width, source, first, std::max(first, last), x0);
          }
        }
      }
    }
  }
}

template <class T>
void image_to_columns(const Geometry& g, const T* image, int64_t begin, int64_t end, T* columns) {
  const int64_t width = g.out[2], n = (end - begin) * width, step = g.stride[2];
  visit_columns(
      g, image, begin, end,
      [&](int64_t row, int64_t at, const T* source, int64_t first, int64_t last, int64_t x0) {
        T* out = columns + row * n + at;
        if (!source) return std::fill_n(out, width, T(0)), void();
        for (int64_t i = 0; i < first; ++i) out[i] = T(0);
        if (step == 1) {
          const T* from = source + x0;
          for (int64_t i = first; i < last; ++i) out[i] = from[i];
        } else {
          for (int64_t i = first; i < last; ++i) out[i] = source[x0 + i * step];
        }
        for (int64_t i = last; i < width; ++i) out[i] = T(0);
      });
}

template <class T>
void add_columns_to_image(const Geometry& g, const T* columns, int64_t begin, int64_t end,
                          T* image) {
  const int64_t n = (end - begin) * g.out[2], step = g.stride[2];
  visit_columns(g, image, begin, end,
                [&](int64_t row, int64_t at, T* target, int64_t first, int64_t last, int64_t x0) {
                  if (!target) return;
                  const T* from = columns + row * n + at;
                  if (step == 1) {
                    T* to = target + x0;
                    for (int64_t i = first; i < last; ++i) to[i] += from[i];
                  } else {
                    for (int64_t i = first; i < last; ++i) target[x0 + i * step] += from[i];
                  }
                });
}

/// Images in parallel, each product in one thread; with few images the other way round.
template <class Body>
void for_images(const Geometry& g, Body&& body) {
  if (g.few_images()) return body(int64_t{0}, g.batch * g.groups);
  parallel_for(g.batch * g.groups, g.image_grain(), body);
}

template <class T>
void multiply(const Geometry& g, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
              const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if constexpr (std::is_integral_v<T>) {
    gemm_plain<T>(trans_a, trans_b, m, n, k, T(1), a, lda, b, ldb, beta, c, ldc);
  } else {
    const auto run = g.few_images() ? &gemm<T> : &gemm_serial<T>;
    run(trans_a, trans_b, m, n, k, T(1), a, lda, b, ldb, beta, c, ldc);
  }
}

/// Calls body(begin row, end row, first column, number of columns) for each block of columns.
template <class Body>
void for_blocks(const Geometry& g, Body&& body) {
  const int64_t step = g.direct ? g.out_rows : g.row_step;
  for (int64_t r = 0; r < g.out_rows; r += step) {
    const int64_t end = std::min(r + step, g.out_rows);
    body(r, end, r * g.out[2], (end - r) * g.out[2]);
  }
}

}  // namespace

template <class T>
void im2col_forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const Geometry g(s);
  for_images(g, [&](int64_t begin, int64_t end) {
    Buffer<T> columns(g.column_elements());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i % g.groups;
      const T* image = x + i * g.c_in * g.in_plane;
      const T* w = weight + group * g.c_out * g.depth;
      T* out = y + i * g.c_out * g.out_plane;
      if (bias) {
        for (int64_t c = 0; c < g.c_out; ++c)
          std::fill_n(out + c * g.out_plane, g.out_plane, bias[group * g.c_out + c]);
      }
      for_blocks(g, [&](int64_t first, int64_t last, int64_t at, int64_t n) {
        const T* b = image;
        if (!g.direct) {
          image_to_columns(g, image, first, last, columns.data());
          b = columns.data();
        }
        multiply<T>(g, false, false, g.c_out, n, g.depth, w, g.depth, b, n, bias ? T(1) : T(0),
                    out + at, g.out_plane);
      });
    }
  });
}

template <class T>
void im2col_backward_data(const ConvShape& s, const T* dy, const T* weight, T* dx) {
  const Geometry g(s);
  for_images(g, [&](int64_t begin, int64_t end) {
    Buffer<T> columns(g.column_elements());
    for (int64_t i = begin; i < end; ++i) {
      const T* w = weight + i % g.groups * g.c_out * g.depth;
      const T* grad = dy + i * g.c_out * g.out_plane;
      T* image = dx + i * g.c_in * g.in_plane;
      if (g.direct) {
        multiply<T>(g, true, false, g.depth, g.out_plane, g.c_out, w, g.depth, grad, g.out_plane,
                    T(0), image, g.out_plane);
        continue;
      }
      std::fill_n(image, g.c_in * g.in_plane, T(0));
      for_blocks(g, [&](int64_t first, int64_t last, int64_t at, int64_t n) {
        multiply<T>(g, true, false, g.depth, n, g.c_out, w, g.depth, grad + at, g.out_plane, T(0),
                    columns.data(), n);
        add_columns_to_image(g, columns.data(), first, last, image);
      });
    }
  });
}

// Each chunk of images has a partial gradient of its own; they are added in order.
template <class T>
void im2col_backward_weights(const ConvShape& s, const T* x, const T* dy, T* dweight, T* dbias) {
  const Geometry g(s);
  const int64_t weights = g.groups * g.c_out * g.depth, channels = g.groups * g.c_out;
  const int64_t partial = weights + channels;
  const int64_t most = std::clamp<int64_t>(kPartialElements / partial, 2, kMaxPartials);
  const int64_t grain =
      std::max((g.image_grain() + g.groups - 1) / g.groups, (g.batch + most - 1) / most);
  const int64_t size = chunk_size(g.batch, grain), n_chunks = chunk_count(g.batch, grain);
  Buffer<T> partials(partial * n_chunks);
  parallel_for(g.batch, grain, [&](int64_t begin, int64_t end) {
    Buffer<T> columns(g.column_elements());
    T* const dw = partials.data() + begin / size * partial;
    T* const db = dw + weights;
    if (dbias) std::fill_n(db, channels, T(0));
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t group = 0; group < g.groups; ++group) {
        const T* image = x + (i * g.groups + group) * g.c_in * g.in_plane;
        const T* grad = dy + (i * g.groups + group) * g.c_out * g.out_plane;
        for_blocks(g, [&](int64_t first, int64_t last, int64_t at, int64_t n) {
          const T* b = image;
          if (!g.direct) {
            image_to_columns(g, image, first, last, columns.data());
            b = columns.data();
          }
          multiply<T>(g, false, true, g.c_out, g.depth, n, grad + at, g.out_plane, b, n,
                      i == begin && first == 0 ? T(0) : T(1), dw + group * g.c_out * g.depth,
                      g.depth);
        });
        if (!dbias) continue;
        for (int64_t c = 0; c < g.c_out; ++c) {
          const T* row = grad + c * g.out_plane;
          T lane[8] = {};  // eight sums: short, and the compiler can keep them in registers
          int64_t j = 0;
          for (; j + 8 <= g.out_plane; j += 8) {
            for (int l = 0; l < 8; ++l) lane[l] += row[j + l];
          }
          for (; j < g.out_plane; ++j) lane[0] += row[j];
          db[group * g.c_out + c] += ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
                                     ((lane[4] + lane[5]) + (lane[6] + lane[7]));
        }
      }
    }
  });
  parallel_for(dbias ? partial : weights, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t q = 1; q < n_chunks; ++q) {
      T* const sum = partials.data();
      const T* const more = sum + q * partial;
      for (int64_t i = begin; i < end; ++i) sum[i] += more[i];
    }
  });
  std::memcpy(dweight, partials.data(), weights * sizeof(T));
  if (dbias) std::memcpy(dbias, partials.data() + weights, channels * sizeof(T));
}

#define GS_INSTANTIATE(T)                                                              \
  template void im2col_forward<T>(const ConvShape&, const T*, const T*, const T*, T*); \
  template void im2col_backward_data<T>(const ConvShape&, const T*, const T*, T*);     \
  template void im2col_backward_weights<T>(const ConvShape&, const T*, const T*, T*, T*);
GS_INSTANTIATE(float)
GS_INSTANTIATE(double)
GS_INSTANTIATE(int64_t)
#undef GS_INSTANTIATE

}  // namespace gradstep
