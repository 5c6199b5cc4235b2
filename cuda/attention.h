// SPDX-License-Identifier: Apache-2.0
// What the ways of attention share: operands, places, scores. cuda/attention.cu computes in
// registers and takes all types, cuda/attention_half.cu multiplies halves on the tensor cores, and
// cuda/attention_cudnn.cu gives them to cuDNN. All leave the natural logarithms of the rows' sums.
#pragma once
#include "cuda/block.h"
#include "cuda/values.h"
#include "fn/math.h"

namespace gradstep::cuda {

constexpr int kTile = 64;  // rows of queries, rows of keys

/// A (B, H, rows, columns) operand, columns side by side.
struct Heads {
  char* data;
  DType type;
  int64_t batch, head, row, col;
};
/// Rows of one head.
struct Rows {
  char* data;
  DType type;
  int64_t start, row;
};
GS_DEVICE Rows rows_of(const Heads& h, int64_t b, int64_t head) {
  return {h.data, h.type, b * h.batch + head * h.head, h.row};
}

/// As load_as; halves in place, for here each element is loaded by itself.
template <class T>
GS_DEVICE T load(const Rows& x, int64_t row, int64_t col) {
  const int64_t i = x.start + row * x.row + col;
  if (x.type == dtype_of<T>) return reinterpret_cast<const T*>(x.data)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(x.data)[i];
  return T(x.type == DType::BFloat16 ? bfloat_to_float(bits) : half_to_float(bits));
}

struct Problem {
  Heads q, k, v, mask;  // mask.data may be null
  int64_t batch, heads, groups, queries, keys, width, v_width;
  double scale;
  bool causal;
};

struct ForwardArgs {
  Problem p;
  Heads out;
  char* log_sums;
};

struct BackwardArgs {
  Problem p;
  Heads dout, out, dq, dk, dv;
  const char* log_sums;
  char* delta;  // like log_sums
};

/// What the products of a tile of queries and a tile of keys become: scores in powers of 2, -inf
/// where they are hidden.
template <class T>
struct Scores {
  const Problem& p;
  Rows mask;  // of one head
  T exponent;
  bool whole = false;  // the tile is inside and none of it hidden, as most are

  GS_DEVICE Scores(const Problem& problem, const Rows& of_head)
      : p(problem), mask(of_head), exponent(T(problem.scale * kLog2e)) {}
  /// Before the scores of a tile.
  GS_DEVICE void enter(int64_t i0, int64_t j0) {
    whole = !mask.data && i0 + kTile <= p.queries && j0 + kTile <= p.keys &&
            (!p.causal || j0 + kTile <= i0 + 1);
  }
  GS_DEVICE T operator()(int64_t i, int64_t j, T product) const {
    if (whole) return product * exponent;
    if (i >= p.queries || j >= p.keys || (p.causal && j > i)) return T(-kInf);
    if (!mask.data) return product * exponent;
    const Rows m = {mask.data, mask.type, mask.start + j * p.mask.col, mask.row};
    return product * exponent + load<T>(m, i, 0) * T(kLog2e);
  }
};

GS_DEVICE int64_t tiles_of(int64_t n) { return (n + kTile - 1) / kTile; }

/// Which tile of which head a block owns. Under a causal mask the last queries have most keys: they
/// start first.
struct Place {
  int64_t b, h, tile;
};
GS_DEVICE Place place_of(int64_t tiles, int64_t heads, bool backwards) {
  const int64_t pair = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  return {pair / heads, pair % heads, backwards ? tiles - 1 - tile : tile};
}

struct Higher {
  template <class T>
  GS_FN T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};

/// Runs a call by cuDNN where that is there, allowed and trusted, and says whether it did.
bool attention_of_cudnn(const Call& call, const ForwardArgs& a);
bool attention_backward_of_cudnn(const Call& call, const BackwardArgs& a);
/// Why it did not, the last time.
const char* why_not_cudnn();
/// Runs a call whose operands are halves of widths that it takes, and says whether it did.
bool attention_of_halves(const Call& call, const ForwardArgs& a);
bool attention_backward_of_halves(const Call& call, const BackwardArgs& a);

}  // namespace gradstep::cuda
