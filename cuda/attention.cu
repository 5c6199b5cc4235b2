// SPDX-License-Identifier: Apache-2.0
// Attention in blocks on the GPU: the ops of cpp/kernels/attention.cpp, whose comment has operands
// and params. Storage may be of halves; log_sums is of the compute type. See Note [Tiles].
#include "core/warning.h"
#include "cuda/attention.h"

namespace gradstep::cuda {

namespace {

// Note [Tiles]
// A block of 16 x 16 threads owns kTile rows of its result, `kWide` columns at a time (wider heads
// take more blocks, each of which computes the scores again), and goes through all tiles of the
// other side. All products are two steps: tile_product() makes a tile of scores in registers, 4 x 4
// a thread; it is put into shared memory, and add_products() multiplies it with rows that are read
// there too. Backward has one kernel whose blocks own keys (dk, dv) and one whose blocks own
// queries (dq): two products more than one kernel would need, but no atomics, so results are
// reproducible. Rows beyond the end are read as zeros and never written.

constexpr int kThreads = 256;
constexpr int kDepth = 32;         // columns that tile_product() reads at once
constexpr int kPitch = kTile + 4;  // of a transposed tile: few bank conflicts, 16-byte aligned rows

/// Four neighbours in shared memory, moved 16 bytes at once.
template <class T>
struct alignas(16) Quad {
  T v[4];
};
template <class T>
GS_DEVICE Quad<T> quad_at(const T* p) {
  return *reinterpret_cast<const Quad<T>*>(p);
}

// ---- products of tiles ----

template <class T, int kWide>
struct Shared {
  static constexpr int kPair = 2 * kDepth * kPitch, kRows = kTile * kWide;
  static constexpr int kStage = kPair > kRows ? kPair : kRows;
  static constexpr size_t kBytes = (size_t(kStage) + kTile * kPitch) * sizeof(T);
};

/// Transposes kTile x kDepth elements into `to`: element (r, c) to [c * kPitch + r].
template <class T>
GS_DEVICE void stage_columns(const Rows& x, int64_t first, int64_t rows, int64_t col, int64_t width,
                             T* to) {
  // A warp reads 8 columns of 4 rows: whole sectors, and 32 banks when it writes.
  const int r0 = int(threadIdx.x) % 4 + int(threadIdx.x) / 128 * 4, c = int(threadIdx.x) / 4 % 32;
  GS_UNROLL
  for (int r = r0; r < kTile; r += 8) {
    to[c * kPitch + r] =
        first + r < rows && col + c < width ? load<T>(x, first + r, col + c) : T(0);
  }
}

/// s[r][c] = the product of row a0 + 4 * ty + r of a and row b0 + 4 * tx + c of b.
template <class T>
GS_DEVICE void tile_product(const Rows& a, int64_t a0, int64_t a_rows, const Rows& b, int64_t b0,
                            int64_t b_rows, int64_t width, T* stage, T (&s)[4][4]) {
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  T* const of_b = stage + kDepth * kPitch;
  GS_UNROLL
  for (int r = 0; r < 4; ++r) {
    GS_UNROLL
    for (int c = 0; c < 4; ++c) s[r][c] = T(0);
  }
  for (int64_t col = 0; col < width; col += kDepth) {
    __syncthreads();  // the stage's former use is over
    stage_columns(a, a0, a_rows, col, width, stage);
    stage_columns(b, b0, b_rows, col, width, of_b);
    __syncthreads();
    const int depth = width - col < kDepth ? int(width - col) : kDepth;
    for (int e = 0; e < depth; ++e) {
      const Quad<T> x = quad_at(stage + e * kPitch + 4 * ty),
                    y = quad_at(of_b + e * kPitch + 4 * tx);
      GS_UNROLL
      for (int r = 0; r < 4; ++r) {
        GS_UNROLL
        for (int c = 0; c < 4; ++c) s[r][c] += x.v[r] * y.v[c];
      }
    }
  }
}

/// Leaves s for add_products(): element (row, column) at [column * kPitch + row].
template <class T>
GS_DEVICE void put_tile(const T (&s)[4][4], T* tile) {
  __syncthreads();  // the former one was read
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  GS_UNROLL
  for (int c = 0; c < 4; ++c) {
    Quad<T> q;
    GS_UNROLL
    for (int r = 0; r < 4; ++r) q.v[r] = s[r][c];
    *reinterpret_cast<Quad<T>*>(tile + (4 * tx + c) * kPitch + 4 * ty) = q;
  }
}

/// sums += tile * (rows x0 .. x0 + kTile of x), columns col .. col + kWide. A thread's sums: rows
/// 4 * ty + r, columns 64 * (c / 4) + 4 * tx + c % 4.
template <class T, int kWide>
GS_DEVICE void add_products(const T* tile, const Rows& x, int64_t x0, int64_t rows, int64_t col,
                            int64_t width, T* stage, T (&sums)[4][kWide / 16]) {
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  __syncthreads();  // the stage's former use is over, the tile is there
  for (int i = int(threadIdx.x); i < kTile * kWide; i += kThreads) {
    const int r = i / kWide, c = i % kWide;
    stage[i] = x0 + r < rows && col + c < width ? load<T>(x, x0 + r, col + c) : T(0);
  }
  __syncthreads();
  const int depth = rows - x0 < kTile ? int(rows - x0) : kTile;
  for (int e = 0; e < depth; ++e) {
    const Quad<T> p = quad_at(tile + e * kPitch + 4 * ty);
    GS_UNROLL
    for (int c = 0; c < kWide / 64; ++c) {
      const Quad<T> y = quad_at(stage + e * kWide + 64 * c + 4 * tx);
      GS_UNROLL
      for (int r = 0; r < 4; ++r) {
        GS_UNROLL
        for (int k = 0; k < 4; ++k) sums[r][4 * c + k] += p.v[r] * y.v[k];
      }
    }
  }
}

/// Writes sums * factor[r] to rows first .. of x, as add_products() left them.
template <class T, int kWide>
GS_DEVICE void store_sums(const Rows& x, int64_t first, int64_t rows, int64_t col, int64_t width,
                          const T (&factor)[4], const T (&sums)[4][kWide / 16]) {
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  for (int r = 0; r < 4; ++r) {
    const int64_t row = first + 4 * ty + r;
    GS_UNROLL
    for (int c = 0; c < kWide / 16; ++c) {
      const int64_t at = col + 64 * (c / 4) + 4 * tx + c % 4;
      if (row < rows && at < width) {
        store_as<T>(x.data, x.type, x.start + row * x.row + at, sums[r][c] * factor[r]);
      }
    }
  }
}

// ---- forward ----

/// The combination of the values of the 16 threads that share rows.
template <class T, class Combine>
GS_DEVICE T reduce_16(T v, Combine combine) {
  GS_UNROLL
  for (int bits = 8; bits > 0; bits /= 2) {
    const T other = shuffle_xor(v, bits);
    v = (threadIdx.x & unsigned(bits)) ? combine(other, v) : combine(v, other);
  }
  return v;
}

template <class T, int kWide>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ ForwardArgs a) {
  GS_DYNAMIC_SHARED(T, stage);
  T* const tile = stage + Shared<T, kWide>::kStage;
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.queries), p.heads, p.causal);
  const int64_t i0 = at.tile * kTile, g = at.h / (p.heads / p.groups), col = blockIdx.y * kWide;
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  const Rows q = rows_of(p.q, at.b, at.h), k = rows_of(p.k, at.b, g), v = rows_of(p.v, at.b, g),
             out = rows_of(a.out, at.b, at.h);
  T highest[4], total[4], sums[4][kWide / 16] = {};
  GS_UNROLL
  for (int r = 0; r < 4; ++r) {
    highest[r] = T(-kInf);
    total[r] = T(0);  // this thread's part
  }
  Scores<T> score(p, rows_of(p.mask, at.b, at.h));
  const int64_t end = p.causal && i0 + kTile < p.keys ? i0 + kTile : p.keys;
  for (int64_t j0 = 0; j0 < end; j0 += kTile) {
    T s[4][4];
    score.enter(i0, j0);
    tile_product(q, i0, p.queries, k, j0, p.keys, p.width, stage, s);
    GS_UNROLL
    for (int r = 0; r < 4; ++r) {
      T top = highest[r];
      GS_UNROLL
      for (int c = 0; c < 4; ++c) {
        s[r][c] = score(i0 + 4 * ty + r, j0 + 4 * tx + c, s[r][c]);
        top = Higher{}(top, s[r][c]);
      }
      top = reduce_16(top, Higher{});
      // All hidden so far: any finite number, so that the power is 0.
      const T base = top == T(-kInf) ? T(0) : top;
      const T factor = exp2(highest[r] - base);
      highest[r] = top;
      total[r] *= factor;
      GS_UNROLL
      for (int c = 0; c < kWide / 16; ++c) sums[r][c] *= factor;
      GS_UNROLL
      for (int c = 0; c < 4; ++c) {
        s[r][c] = exp2(s[r][c] - base);
        total[r] += s[r][c];
      }
    }
    put_tile(s, tile);
    add_products<T, kWide>(tile, v, j0, p.keys, col, p.v_width, stage, sums);
  }
  T* const log_sums = reinterpret_cast<T*>(a.log_sums) + (at.b * p.heads + at.h) * p.queries;
  T factor[4];
  GS_UNROLL
  for (int r = 0; r < 4; ++r) {
    const T sum = reduce_16(total[r], AddValues{});
    // A row that sees nothing gives zeros, and no gradient.
    const bool blind = sum == T(0);
    factor[r] = blind ? T(0) : T(1) / sum;
    const int64_t row = i0 + 4 * ty + r;
    if (tx == 0 && blockIdx.y == 0 && row < p.queries) {
      log_sums[row] = blind ? T(kInf) : (highest[r] + log2(sum)) * T(kLn2);
    }
  }
  store_sums<T, kWide>(out, i0, p.queries, col, p.v_width, factor, sums);
}

// ---- backward ----
// With P = exp(scores - log_sums), dP = dout v^T and delta = sum of dout * out over a row:
// dS = P * (dP - delta), dv = P^T dout, dk = scale * dS^T q, dq = scale * dS k.

/// A warp for each row.
template <class T>
__global__ void __launch_bounds__(kThreads) delta_kernel(const __grid_constant__ BackwardArgs a) {
  const Problem& p = a.p;
  const int lane = int(threadIdx.x) % 32;
  for (int64_t i = first_index() / 32; i < p.batch * p.heads * p.queries;
       i += index_stride() / 32) {
    const int64_t row = i % p.queries, h = i / p.queries % p.heads, b = i / p.queries / p.heads;
    const Rows x = rows_of(a.dout, b, h), y = rows_of(a.out, b, h);
    T sum = 0;
    for (int64_t e = lane; e < p.v_width; e += 32) sum += load<T>(x, row, e) * load<T>(y, row, e);
    sum = warp_reduce(sum, AddValues{});
    if (lane == 0) reinterpret_cast<T*>(a.delta)[i] = sum;
  }
}

/// P and dS of query i and key j. Out of range the score is -inf, so both are 0.
template <class T>
GS_DEVICE void gradients_of(const BackwardArgs& a, const Scores<T>& score, int64_t rows, int64_t i,
                            int64_t j, T product, T dweight, T& weight, T& dscore) {
  const bool exists = i < a.p.queries;
  const T log_sum = exists ? reinterpret_cast<const T*>(a.log_sums)[rows + i] * T(kLog2e) : T(0);
  const T delta = exists ? reinterpret_cast<const T*>(a.delta)[rows + i] : T(0);
  weight = exp2(score(i, j, product) - log_sum);
  dscore = weight * (dweight - delta);
}

template <class T, int kWide>
__global__ void __launch_bounds__(kThreads)
    query_gradient_kernel(const __grid_constant__ BackwardArgs a) {
  GS_DYNAMIC_SHARED(T, stage);
  T* const tile = stage + Shared<T, kWide>::kStage;
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.queries), p.heads, p.causal);
  const int64_t i0 = at.tile * kTile, g = at.h / (p.heads / p.groups), col = blockIdx.y * kWide,
                rows = (at.b * p.heads + at.h) * p.queries;
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  const Rows q = rows_of(p.q, at.b, at.h), k = rows_of(p.k, at.b, g), v = rows_of(p.v, at.b, g),
             dout = rows_of(a.dout, at.b, at.h), dq = rows_of(a.dq, at.b, at.h);
  T sums[4][kWide / 16] = {};
  Scores<T> score(p, rows_of(p.mask, at.b, at.h));
  const int64_t end = p.causal && i0 + kTile < p.keys ? i0 + kTile : p.keys;
  for (int64_t j0 = 0; j0 < end; j0 += kTile) {
    T s[4][4], d[4][4];
    score.enter(i0, j0);
    tile_product(q, i0, p.queries, k, j0, p.keys, p.width, stage, s);
    tile_product(dout, i0, p.queries, v, j0, p.keys, p.v_width, stage, d);
    GS_UNROLL
    for (int r = 0; r < 4; ++r) {
      GS_UNROLL
      for (int c = 0; c < 4; ++c) {
        T weight;
        gradients_of(a, score, rows, i0 + 4 * ty + r, j0 + 4 * tx + c, s[r][c], d[r][c], weight,
                     d[r][c]);
      }
    }
    put_tile(d, tile);
    add_products<T, kWide>(tile, k, j0, p.keys, col, p.width, stage, sums);
  }
  const T scale = T(p.scale), factor[4] = {scale, scale, scale, scale};
  store_sums<T, kWide>(dq, i0, p.queries, col, p.width, factor, sums);
}

template <class T, int kWide>
__global__ void __launch_bounds__(kThreads)
    key_gradient_kernel(const __grid_constant__ BackwardArgs a) {
  GS_DYNAMIC_SHARED(T, stage);
  T* const tile = stage + Shared<T, kWide>::kStage;
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.keys), p.groups, false);
  const int64_t j0 = at.tile * kTile, shared = p.heads / p.groups, col = blockIdx.y * kWide;
  const int ty = int(threadIdx.x) / 16, tx = int(threadIdx.x) % 16;
  const Rows k = rows_of(p.k, at.b, at.h), v = rows_of(p.v, at.b, at.h),
             dk = rows_of(a.dk, at.b, at.h), dv = rows_of(a.dv, at.b, at.h);
  T dk_sums[4][kWide / 16] = {}, dv_sums[4][kWide / 16] = {};
  for (int64_t h = at.h * shared; h < (at.h + 1) * shared; ++h) {
    const Rows q = rows_of(p.q, at.b, h), dout = rows_of(a.dout, at.b, h);
    const int64_t rows = (at.b * p.heads + h) * p.queries;
    Scores<T> score(p, rows_of(p.mask, at.b, h));
    for (int64_t i0 = p.causal ? j0 : 0; i0 < p.queries; i0 += kTile) {
      T s[4][4], d[4][4];  // rows are keys
      score.enter(i0, j0);
      tile_product(k, j0, p.keys, q, i0, p.queries, p.width, stage, s);
      tile_product(v, j0, p.keys, dout, i0, p.queries, p.v_width, stage, d);
      GS_UNROLL
      for (int r = 0; r < 4; ++r) {
        GS_UNROLL
        for (int c = 0; c < 4; ++c) {
          gradients_of(a, score, rows, i0 + 4 * tx + c, j0 + 4 * ty + r, s[r][c], d[r][c], s[r][c],
                       d[r][c]);
        }
      }
      put_tile(s, tile);
      add_products<T, kWide>(tile, dout, i0, p.queries, col, p.v_width, stage, dv_sums);
      put_tile(d, tile);
      add_products<T, kWide>(tile, q, i0, p.queries, col, p.width, stage, dk_sums);
    }
  }
  const T scale = T(p.scale), factor[4] = {scale, scale, scale, scale};
  const T one[4] = {T(1), T(1), T(1), T(1)};
  store_sums<T, kWide>(dk, j0, p.keys, col, p.width, factor, dk_sums);
  store_sums<T, kWide>(dv, j0, p.keys, col, p.v_width, one, dv_sums);
}

// ---- drivers ----

Heads heads_of(const TensorImpl* t) {
  if (!t) return {};
  return {t->data, t->dtype, t->strides[0], t->strides[1], t->strides[2], t->strides[3]};
}

Problem problem_of(const Call& c, int first) {
  const TensorImpl &q = c.in(first), &k = c.in(first + 1), &v = c.in(first + 2);
  return {heads_of(&q), heads_of(&k), heads_of(&v), heads_of(c.maybe_in(first + 3)),
          q.sizes[0],   q.sizes[1],   k.sizes[1],   q.sizes[2],
          k.sizes[2],   q.sizes[3],   v.sizes[3],   c.f(0),
          c.i(1) != 0};
}

dim3 grid_of(int64_t pairs, int64_t rows, int64_t width, int wide) {
  const int64_t blocks = pairs * ((rows + kTile - 1) / kTile);
  return dim3(unsigned(blocks), unsigned((width + wide - 1) / wide));
}

/// Calls f(number of the compute type, columns of a block): wider blocks save scores, narrower ones
/// registers.
template <class F>
void by_width(const Call& c, int64_t width, F f) {
  if (c.compute == Compute::F64) return f(double{}, std::integral_constant<int, 64>{});
  if (width <= 64) return f(float{}, std::integral_constant<int, 64>{});
  f(float{}, std::integral_constant<int, 128>{});
}

void attention(const Call& c) {
  const ForwardArgs a{problem_of(c, 0), heads_of(&c.out(0)), c.out(1).data};
  const Problem& p = a.p;
  const DeviceGuard guard(c.out(0).device.index);
  if (attention_of_cudnn(c, a)) return;
  const CudaFlags& may = flags();
  GS_CHECK(may.flash_sdp || may.mem_efficient_sdp || may.math_sdp,
           "No available kernel. Aborting execution. (cuDNN: {})", why_not_cudnn());
  if (attention_of_halves(c, a)) return;
  by_width(c, p.v_width, [&](auto tag, auto wide) {
    using T = decltype(tag);
    constexpr int kWide = decltype(wide)::value;
    // Without values there are log-sums still.
    const int64_t width = p.v_width > 0 ? p.v_width : 1;
    launch_shared(c, &forward_kernel<T, kWide>, grid_of(p.batch * p.heads, p.queries, width, kWide),
                  kThreads, Shared<T, kWide>::kBytes, a);
  });
}

void attention_backward(const Call& c) {
  BackwardArgs a{problem_of(c, 1),    heads_of(&c.in(0)),  heads_of(&c.in(5)), heads_of(&c.out(0)),
                 heads_of(&c.out(1)), heads_of(&c.out(2)), c.in(6).data,       nullptr};
  const Problem& p = a.p;
  const DeviceGuard guard(c.out(0).device.index);
  if (attention_backward_of_cudnn(c, a)) return;
  const CudaFlags& may = flags();
  if (!may.flash_sdp && !may.mem_efficient_sdp && !may.math_sdp) {
    warn_once("attention_backward",
              format("only cuDNN may compute attention, but does not take this gradient ({}): "
                     "gradstep's own kernels compute it",
                     why_not_cudnn()));
  }
  by_width(c, p.width > p.v_width ? p.width : p.v_width, [&](auto tag, auto wide) {
    using T = decltype(tag);
    constexpr int kWide = decltype(wide)::value;
    const int64_t rows = p.batch * p.heads * p.queries;
    const DeviceScratch<T> delta(rows, c);
    a.delta = reinterpret_cast<char*>(delta.data());
    launch_grid(c, &delta_kernel<T>, blocks_for(c, 32 * rows, kThreads), kThreads, a);
    if (attention_backward_of_halves(c, a)) return;
    launch_shared(c, &query_gradient_kernel<T, kWide>,
                  grid_of(p.batch * p.heads, p.queries, p.width, kWide), kThreads,
                  Shared<T, kWide>::kBytes, a);
    launch_shared(
        c, &key_gradient_kernel<T, kWide>,
        grid_of(p.batch * p.groups, p.keys, p.width > p.v_width ? p.width : p.v_width, kWide),
        kThreads, Shared<T, kWide>::kBytes, a);
  });
}

GS_CUDA_KERNEL("scaled_dot_product_attention", attention);
GS_CUDA_KERNEL("scaled_dot_product_attention_backward", attention_backward);

}  // namespace

}  // namespace gradstep::cuda
