// SPDX-License-Identifier: Apache-2.0
// Attention of halves on the tensor cores, for heads up to 128 wide; sums, scores and exponentials
// are in float. Operands and order of work are those of cuda/attention.cu; weights and their
// gradients are rounded to halves where they are multiplied. See Note [Tiles of halves].
#include "cuda/attention.h"
#include "cuda/mma.h"

namespace gradstep::cuda {

namespace {

// Note [Tiles of halves]
// A block of four warps owns kTile rows of its result, a warp 16 of them. Every product is of two
// tiles in shared memory whose rows are summed over neighbouring elements (a b^T), or of scores in
// registers and such a tile; what is summed over its rows lies there transposed, too. Rows of tiles
// are 8 elements longer than they need be: the 32 words that a warp reads at once lie in 32 banks.
// Scores of a warp: float (&s)[8][4], as cuda/mma.h says, of columns 8 n to 8 n + 8.

constexpr int kThreads = 128;
constexpr int kColumns = kTile + 8;  // of a transposed tile

/// `width` columns of a tile, rounded up.
template <int D>
constexpr int kPitch = D + 8;
template <int D>
constexpr int kRowTile = kTile * kPitch<D>;
template <int D>
constexpr int kColumnTile = D * kColumns;

/// 8 neighbours, zeros beyond the end.
struct Eight {
  uint16_t v[8];
};
GS_DEVICE Eight load_eight(const Rows& x, int64_t row, int64_t rows, int64_t col, int64_t width,
                           bool aligned) {
  Eight e = {};
  if (row >= rows || col >= width) return e;
  const auto* from = reinterpret_cast<const uint16_t*>(x.data) + x.start + row * x.row + col;
  if (aligned) {
    const uint4 u = *reinterpret_cast<const uint4*>(from);
    memcpy(&e, &u, sizeof e);
    return e;
  }
  GS_UNROLL
  for (int k = 0; k < 8; ++k) {
    if (col + k < width) e.v[k] = from[k];
  }
  return e;
}

/// Rows first .. first + kTile of x.
template <int D>
GS_DEVICE void stage_rows(const Rows& x, int64_t first, int64_t rows, int64_t width, bool aligned,
                          uint16_t* to) {
  for (int i = int(threadIdx.x); i < kTile * (D / 8); i += kThreads) {
    const int r = i / (D / 8), c = i % (D / 8) * 8;
    const Eight e = load_eight(x, first + r, rows, c, width, aligned);
    uint4 u;
    memcpy(&u, &e, sizeof u);
    *reinterpret_cast<uint4*>(to + r * kPitch<D> + c) = u;
  }
}

/// The same transposed. A lane has two rows of 8 columns and writes their pairs.
template <int D>
GS_DEVICE void stage_columns(const Rows& x, int64_t first, int64_t rows, int64_t width,
                             bool aligned, uint16_t* to) {
  const int lane = int(threadIdx.x) % 32;
  for (int c = int(threadIdx.x) / 32 * 8; c < D; c += kThreads / 32 * 8) {
    const Eight low = load_eight(x, first + 2 * lane, rows, c, width, aligned),
                high = load_eight(x, first + 2 * lane + 1, rows, c, width, aligned);
    GS_UNROLL
    for (int k = 0; k < 8; ++k) {
      *reinterpret_cast<uint32_t*>(to + (c + k) * kColumns + 2 * lane) =
          low.v[k] | uint32_t(high.v[k]) << 16;
    }
  }
}

GS_DEVICE uint32_t pair_at(const uint16_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

/// sums += a * tile^T for one step of k; `tile` has N * 8 rows of kRow elements.
template <bool kBFloat, int kRow, int N>
GS_DEVICE void add_step(const uint32_t (&a)[4], const uint16_t* tile, int k, float (&sums)[N][4]) {
  const int lane = int(threadIdx.x) % 32;
  const uint16_t* const from = tile + lane / 4 * kRow + lane % 4 * 2 + 16 * k;
  GS_UNROLL
  for (int n = 0; n < N; ++n) {
    const uint32_t b[2] = {pair_at(from + 8 * n * kRow), pair_at(from + 8 * n * kRow + 8)};
    add_tile_product<kBFloat>(sums[n], a, b);
  }
}

/// s = this warp's rows of tile a times the rows of tile b.
template <bool kBFloat, int D>
GS_DEVICE void tile_product(const uint16_t* a, const uint16_t* b, float (&s)[8][4]) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const uint16_t* const from = a + (16 * warp + lane / 4) * kPitch<D> + lane % 4 * 2;
  GS_UNROLL
  for (int n = 0; n < 8; ++n) {
    GS_UNROLL
    for (int e = 0; e < 4; ++e) s[n][e] = 0;
  }
  GS_UNROLL
  for (int k = 0; k < D / 16; ++k) {
    const uint16_t* const at = from + 16 * k;
    const uint32_t of_a[4] = {pair_at(at), pair_at(at + 8 * kPitch<D>), pair_at(at + 8),
                              pair_at(at + 8 * kPitch<D> + 8)};
    add_step<kBFloat, kPitch<D>>(of_a, b, k, s);
  }
}

/// sums += s * x for a transposed tile of x.
template <bool kBFloat, int D>
GS_DEVICE void add_products(const float (&s)[8][4], const uint16_t* x, float (&sums)[D / 8][4]) {
  GS_UNROLL
  for (int k = 0; k < kTile / 16; ++k) {
    uint32_t a[4];
    GS_UNROLL
    for (int e = 0; e < 4; ++e) {
      const float* from = s[2 * k + e / 2] + e % 2 * 2;
      a[e] = pack_halves<kBFloat>(from[0], from[1]);
    }
    add_step<kBFloat, kColumns>(a, x, k, sums);
  }
}

/// Row r (0 or 1) of this lane's two.
GS_DEVICE int row_of(int r) {
  return int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4 + 8 * r;
}
/// The column of element e of a row in s[n][2 * r + e].
GS_DEVICE int column_of(int n, int e) { return 8 * n + int(threadIdx.x) % 4 * 2 + e; }

/// Writes sums * factor[r] to rows first .. of x.
template <bool kBFloat, int D>
GS_DEVICE void store_sums(const Rows& x, int64_t first, int64_t rows, int64_t width, bool aligned,
                          const float (&factor)[2], const float (&sums)[D / 8][4]) {
  GS_UNROLL
  for (int r = 0; r < 2; ++r) {
    const int64_t row = first + row_of(r);
    if (row >= rows) continue;
    auto* const to = reinterpret_cast<uint16_t*>(x.data) + x.start + row * x.row;
    GS_UNROLL
    for (int n = 0; n < D / 8; ++n) {
      const int col = column_of(n, 0);
      const uint32_t pair =
          pack_halves<kBFloat>(sums[n][2 * r] * factor[r], sums[n][2 * r + 1] * factor[r]);
      if (aligned && col < width) {
        *reinterpret_cast<uint32_t*>(to + col) = pair;
        continue;
      }
      if (col < width) to[col] = uint16_t(pair);
      if (col + 1 < width) to[col + 1] = uint16_t(pair >> 16);
    }
  }
}

/// The combination of the values of the 4 lanes that share rows.
template <class Combine>
GS_DEVICE float reduce_4(float v, Combine combine) {
  v = combine(v, __shfl_xor_sync(~0u, v, 1));
  return combine(v, __shfl_xor_sync(~0u, v, 2));
}

// ---- forward ----

template <bool kBFloat, int D>
__global__ void __launch_bounds__(kThreads)
    half_forward_kernel(const __grid_constant__ ForwardArgs a, bool aligned) {
  GS_DYNAMIC_SHARED(uint16_t, queries);
  uint16_t* const keys = queries + kRowTile<D>;
  uint16_t* const values = keys + kRowTile<D>;
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.queries), p.heads, p.causal);
  const int64_t i0 = at.tile * kTile, g = at.h / (p.heads / p.groups);
  const Rows q = rows_of(p.q, at.b, at.h), k = rows_of(p.k, at.b, g), v = rows_of(p.v, at.b, g),
             out = rows_of(a.out, at.b, at.h);
  stage_rows<D>(q, i0, p.queries, p.width, aligned, queries);
  const float none = float(-kInf);
  float highest[2] = {none, none}, total[2] = {}, sums[D / 8][4] = {};
  Scores<float> score(p, rows_of(p.mask, at.b, at.h));
  const int64_t end = p.causal && i0 + kTile < p.keys ? i0 + kTile : p.keys;
  for (int64_t j0 = 0; j0 < end; j0 += kTile) {
    __syncthreads();  // the former tiles were read
    stage_rows<D>(k, j0, p.keys, p.width, aligned, keys);
    stage_columns<D>(v, j0, p.keys, p.v_width, aligned, values);
    __syncthreads();
    float s[8][4];
    score.enter(i0, j0);
    tile_product<kBFloat, D>(queries, keys, s);
    GS_UNROLL
    for (int r = 0; r < 2; ++r) {
      float top = highest[r];
      GS_UNROLL
      for (int n = 0; n < 8; ++n) {
        GS_UNROLL
        for (int e = 0; e < 2; ++e) {
          float& x = s[n][2 * r + e];
          x = score(i0 + row_of(r), j0 + column_of(n, e), x);
          top = Higher{}(top, x);
        }
      }
      top = reduce_4(top, Higher{});
      // All hidden so far: any finite number, so that the power is 0.
      const float base = top == none ? 0.0f : top, factor = exp2(highest[r] - base);
      highest[r] = top;
      total[r] *= factor;
      GS_UNROLL
      for (int n = 0; n < D / 8; ++n) {
        sums[n][2 * r] *= factor;
        sums[n][2 * r + 1] *= factor;
      }
      GS_UNROLL
      for (int n = 0; n < 8; ++n) {
        GS_UNROLL
        for (int e = 0; e < 2; ++e) {
          s[n][2 * r + e] = exp2(s[n][2 * r + e] - base);
          total[r] += s[n][2 * r + e];
        }
      }
    }
    add_products<kBFloat, D>(s, values, sums);
  }
  float* const log_sums =
      reinterpret_cast<float*>(a.log_sums) + (at.b * p.heads + at.h) * p.queries;
  float factor[2];
  GS_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float sum = reduce_4(total[r], AddValues{});
    // A row that sees nothing gives zeros, and no gradient.
    const bool blind = sum == 0.0f;
    factor[r] = blind ? 0.0f : 1.0f / sum;
    const int64_t row = i0 + row_of(r);
    if (threadIdx.x % 4 == 0 && row < p.queries) {
      log_sums[row] = blind ? float(kInf) : (highest[r] + log2(sum)) * float(kLn2);
    }
  }
  store_sums<kBFloat, D>(out, i0, p.queries, p.v_width, aligned, factor, sums);
}

// ---- backward: the formulas stand in cuda/attention.cu ----

/// A row's log-sum and delta; rows that are not there get no gradient.
GS_DEVICE void load_row(const BackwardArgs& a, int64_t rows, int64_t i, float& log_sum,
                        float& delta) {
  const bool exists = i < a.p.queries;
  log_sum =
      exists ? reinterpret_cast<const float*>(a.log_sums)[rows + i] * float(kLog2e) : float(kInf);
  delta = exists ? reinterpret_cast<const float*>(a.delta)[rows + i] : 0.0f;
}

template <bool kBFloat, int D>
__global__ void __launch_bounds__(kThreads)
    half_query_gradient_kernel(const __grid_constant__ BackwardArgs a, bool aligned) {
  GS_DYNAMIC_SHARED(uint16_t, queries);
  uint16_t* const douts = queries + kRowTile<D>;
  uint16_t* const keys = douts + kRowTile<D>;
  uint16_t* const values = keys + kRowTile<D>;
  uint16_t* const key_columns = values + kRowTile<D>;
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.queries), p.heads, p.causal);
  const int64_t i0 = at.tile * kTile, g = at.h / (p.heads / p.groups),
                rows = (at.b * p.heads + at.h) * p.queries;
  const Rows k = rows_of(p.k, at.b, g), v = rows_of(p.v, at.b, g);
  stage_rows<D>(rows_of(p.q, at.b, at.h), i0, p.queries, p.width, aligned, queries);
  stage_rows<D>(rows_of(a.dout, at.b, at.h), i0, p.queries, p.v_width, aligned, douts);
  float log_sum[2], delta[2], sums[D / 8][4] = {};
  for (int r = 0; r < 2; ++r) load_row(a, rows, i0 + row_of(r), log_sum[r], delta[r]);
  Scores<float> score(p, rows_of(p.mask, at.b, at.h));
  const int64_t end = p.causal && i0 + kTile < p.keys ? i0 + kTile : p.keys;
  for (int64_t j0 = 0; j0 < end; j0 += kTile) {
    __syncthreads();  // the former tiles were read
    stage_rows<D>(k, j0, p.keys, p.width, aligned, keys);
    stage_rows<D>(v, j0, p.keys, p.v_width, aligned, values);
    stage_columns<D>(k, j0, p.keys, p.width, aligned, key_columns);
    __syncthreads();
    float s[8][4], d[8][4];
    score.enter(i0, j0);
    tile_product<kBFloat, D>(queries, keys, s);
    tile_product<kBFloat, D>(douts, values, d);
    GS_UNROLL
    for (int n = 0; n < 8; ++n) {
      GS_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2;
        const float x = score(i0 + row_of(r), j0 + column_of(n, e % 2), s[n][e]);
        d[n][e] = exp2(x - log_sum[r]) * (d[n][e] - delta[r]);
      }
    }
    add_products<kBFloat, D>(d, key_columns, sums);
  }
  const float factor[2] = {float(p.scale), float(p.scale)};
  store_sums<kBFloat, D>(rows_of(a.dq, at.b, at.h), i0, p.queries, p.width, aligned, factor, sums);
}

template <bool kBFloat, int D>
__global__ void __launch_bounds__(kThreads)
    half_key_gradient_kernel(const __grid_constant__ BackwardArgs a, bool aligned) {
  GS_DYNAMIC_SHARED(uint16_t, keys);
  uint16_t* const values = keys + kRowTile<D>;
  uint16_t* const queries = values + kRowTile<D>;
  uint16_t* const douts = queries + kRowTile<D>;
  uint16_t* const query_columns = douts + kRowTile<D>;
  uint16_t* const dout_columns = query_columns + kColumnTile<D>;
  __shared__ float log_sums[kTile], deltas[kTile];
  const Problem& p = a.p;
  const Place at = place_of(tiles_of(p.keys), p.groups, false);
  const int64_t j0 = at.tile * kTile, shared = p.heads / p.groups;
  stage_rows<D>(rows_of(p.k, at.b, at.h), j0, p.keys, p.width, aligned, keys);
  stage_rows<D>(rows_of(p.v, at.b, at.h), j0, p.keys, p.v_width, aligned, values);
  float dk_sums[D / 8][4] = {}, dv_sums[D / 8][4] = {};
  for (int64_t h = at.h * shared; h < (at.h + 1) * shared; ++h) {
    const Rows q = rows_of(p.q, at.b, h), dout = rows_of(a.dout, at.b, h);
    const int64_t rows = (at.b * p.heads + h) * p.queries;
    Scores<float> score(p, rows_of(p.mask, at.b, h));
    for (int64_t i0 = p.causal ? j0 : 0; i0 < p.queries; i0 += kTile) {
      __syncthreads();  // the former tiles were read
      stage_rows<D>(q, i0, p.queries, p.width, aligned, queries);
      stage_rows<D>(dout, i0, p.queries, p.v_width, aligned, douts);
      stage_columns<D>(q, i0, p.queries, p.width, aligned, query_columns);
      stage_columns<D>(dout, i0, p.queries, p.v_width, aligned, dout_columns);
      if (const int r = int(threadIdx.x); r < kTile) {
        load_row(a, rows, i0 + r, log_sums[r], deltas[r]);
      }
      __syncthreads();
      float s[8][4], d[8][4];  // rows are keys
      score.enter(i0, j0);
      tile_product<kBFloat, D>(keys, queries, s);
      tile_product<kBFloat, D>(values, douts, d);
      GS_UNROLL
      for (int n = 0; n < 8; ++n) {
        GS_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int i = column_of(n, e % 2);
          const float x = score(i0 + i, j0 + row_of(e / 2), s[n][e]);
          s[n][e] = exp2(x - log_sums[i]);
          d[n][e] = s[n][e] * (d[n][e] - deltas[i]);
        }
      }
      add_products<kBFloat, D>(s, dout_columns, dv_sums);
      add_products<kBFloat, D>(d, query_columns, dk_sums);
    }
  }
  const float factor[2] = {float(p.scale), float(p.scale)}, one[2] = {1.0f, 1.0f};
  store_sums<kBFloat, D>(rows_of(a.dk, at.b, at.h), j0, p.keys, p.width, aligned, factor, dk_sums);
  store_sums<kBFloat, D>(rows_of(a.dv, at.b, at.h), j0, p.keys, p.v_width, aligned, one, dv_sums);
}

// ---- drivers ----

/// True if rows may be moved 16 bytes at once.
bool is_aligned(const Heads& x) {
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.batch % 8 == 0 && x.head % 8 == 0 &&
         x.row % 8 == 0;
}

/// Calls f(whether they are bfloat16, width of tiles) if the operands are halves of a width that
/// fits.
template <class F>
bool by_half(const Problem& p, F f) {
  const int64_t width = p.width > p.v_width ? p.width : p.v_width;
  if (!is_half(p.q.type) || width > 128) return false;
  const auto with = [&](auto is_bfloat) {
    if (width <= 64)
      f(is_bfloat, std::integral_constant<int, 64>{});
    else
      f(is_bfloat, std::integral_constant<int, 128>{});
  };
  if (p.q.type == DType::BFloat16)
    with(std::true_type{});
  else
    with(std::false_type{});
  return true;
}

unsigned blocks_of(int64_t pairs, int64_t rows) {
  return unsigned(pairs * ((rows + kTile - 1) / kTile));
}

}  // namespace

bool attention_of_halves(const Call& call, const ForwardArgs& a) {
  const Problem& p = a.p;
  const bool aligned = p.width % 8 == 0 && p.v_width % 8 == 0 && is_aligned(p.q) &&
                       is_aligned(p.k) && is_aligned(p.v) && is_aligned(a.out);
  return by_half(p, [&](auto is_bfloat, auto wide) {
    constexpr bool kBFloat = decltype(is_bfloat)::value;
    constexpr int D = decltype(wide)::value;
    launch_shared(call, &half_forward_kernel<kBFloat, D>, blocks_of(p.batch * p.heads, p.queries),
                  kThreads, (2 * kRowTile<D> + kColumnTile<D>)*sizeof(uint16_t), a, aligned);
  });
}

bool attention_backward_of_halves(const Call& call, const BackwardArgs& a) {
  const Problem& p = a.p;
  const bool aligned = p.width % 8 == 0 && p.v_width % 8 == 0 && is_aligned(p.q) &&
                       is_aligned(p.k) && is_aligned(p.v) && is_aligned(a.dout) &&
                       is_aligned(a.dq) && is_aligned(a.dk) && is_aligned(a.dv);
  return by_half(p, [&](auto is_bfloat, auto wide) {
    constexpr bool kBFloat = decltype(is_bfloat)::value;
    constexpr int D = decltype(wide)::value;
    launch_shared(call, &half_query_gradient_kernel<kBFloat, D>,
                  blocks_of(p.batch * p.heads, p.queries), kThreads,
                  (4 * kRowTile<D> + kColumnTile<D>)*sizeof(uint16_t), a, aligned);
    launch_shared(call, &half_key_gradient_kernel<kBFloat, D>,
                  blocks_of(p.batch * p.groups, p.keys), kThreads,
                  (4 * kRowTile<D> + 2 * kColumnTile<D>)*sizeof(uint16_t), a, aligned);
  });
}

}  // namespace gradstep::cuda
