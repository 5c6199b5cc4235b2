// SPDX-License-Identifier: Apache-2.0
// Joining, repeating, turning and padding: ops that copy elements to another shape.
//   cat({a, b}, 0)    pad(x, {1, 1}, "reflect")    tril_(x)    tensor_split(x, 3, 0)
#pragma once
#include <span>
#include <string>
#include <vector>

#include "ops/op.h"

namespace gradstep {

// ---- joining ----

Tensor cat(std::span<const Tensor> tensors, int64_t dim = 0);
inline Tensor cat(std::initializer_list<Tensor> tensors, int64_t dim = 0) {
  return cat(std::span<const Tensor>(tensors.begin(), tensors.size()), dim);
}
Tensor stack(std::span<const Tensor> tensors, int64_t dim = 0);
Tensor hstack(std::span<const Tensor> tensors);
Tensor vstack(std::span<const Tensor> tensors);
Tensor dstack(std::span<const Tensor> tensors);
Tensor column_stack(std::span<const Tensor> tensors);
Tensor block_diag(std::span<const Tensor> tensors);

// ---- repeating ----

Tensor repeat(const Tensor& x, const Dims& repeats);
Tensor tile(const Tensor& x, const Dims& repeats);
Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim);
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim,
                         std::optional<int64_t> output_size = {});
/// repeats = [2, 0, 1] -> [0, 0, 2]
Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size = {});

// ---- turning ----

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims);
Tensor flip(const Tensor& x, const Dims& dims);  // an empty list turns nothing
Tensor fliplr(const Tensor& x);
Tensor flipud(const Tensor& x);
Tensor rot90(const Tensor& x, int64_t k, const Dims& dims);

// ---- triangles and diagonals ----

Tensor tril(const Tensor& x, int64_t diagonal = 0, bool inplace = false);
Tensor triu(const Tensor& x, int64_t diagonal = 0, bool inplace = false);
Tensor tril_indices(int64_t rows, int64_t cols, int64_t offset, Options options);
Tensor triu_indices(int64_t rows, int64_t cols, int64_t offset, Options options);
Tensor diag(const Tensor& x, int64_t diagonal = 0);
Tensor diag_embed(const Tensor& x, int64_t offset = 0, int64_t dim1 = -2, int64_t dim2 = -1);
Tensor diagflat(const Tensor& x, int64_t offset = 0);

// ---- padding ----

/// pairs of (before, after) from the last axis on; mode: constant, reflect, replicate, circular.
/// value: constant only, 0 where it is not given.
Tensor pad(const Tensor& x, std::span<const int64_t> pad, const std::string& mode = "constant",
           std::optional<Scalar> value = {});

// ---- combining shapes ----

std::vector<Tensor> broadcast_tensors(std::span<const Tensor> tensors);
std::vector<Tensor> meshgrid(std::span<const Tensor> tensors, const std::string& indexing = "ij");
Tensor cartesian_prod(std::span<const Tensor> tensors);
Tensor combinations(const Tensor& x, int64_t r = 2, bool with_replacement = false);
Tensor atleast_1d(const Tensor& x);
Tensor atleast_2d(const Tensor& x);
Tensor atleast_3d(const Tensor& x);

// ---- splitting ----

std::vector<Tensor> tensor_split(const Tensor& x, int64_t sections, int64_t dim);
std::vector<Tensor> tensor_split(const Tensor& x, std::span<const int64_t> borders, int64_t dim);
/// hsplit, vsplit and dsplit: the axis that they mean, after their checks. sections 0: a list was
/// given.
int64_t split_axis(const Tensor& x, const char* op, int64_t sections);

}  // namespace gradstep
