// SPDX-License-Identifier: Apache-2.0
// Views: other shapes on the same storage, each with its own derivative.
#pragma once
#include <vector>

#include "ops/op.h"

namespace gradstep {

Tensor view(const Tensor& x,
            const Dims& sizes);  // raises if strides do not allow it; one size may be -1
Tensor reshape(const Tensor& x, const Dims& sizes);  // a view where possible, else a copy
Tensor view_as_type(const Tensor& x, DType dtype);   // x.view(dtype)
Tensor as_strided(const Tensor& x, const Dims& sizes, const Dims& strides, int64_t offset);
Tensor permute(const Tensor& x, const Dims& dims);
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
Tensor t(const Tensor& x);   // of at most 2 dimensions
Tensor mT(const Tensor& x);  // swaps the last two
Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination);
Tensor expand(const Tensor& x, const Dims& sizes);  // -1 keeps a size
Tensor squeeze(const Tensor& x, const Dims& dims);  // size-1 axes among dims
Tensor squeeze(const Tensor& x);                    // all of them
Tensor unsqueeze(const Tensor& x, int64_t dim);
Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1);
Tensor unflatten(const Tensor& x, int64_t dim, const Dims& sizes);
Tensor select(const Tensor& x, int64_t dim, int64_t index);
/// x[start:end:step] along dim, with Python's clamping; step > 0.
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end, int64_t step = 1);
Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);
std::vector<Tensor> split(const Tensor& x, const Dims& sections, int64_t dim);
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim);
std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim);
std::vector<Tensor> unbind(const Tensor& x, int64_t dim);
Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);
Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step);

}  // namespace gradstep
