// SPDX-License-Identifier: Apache-2.0
// Random numbers into contiguous memory, equal to PyTorch's on the CPU for the same state:
//   fill_normal(default_generator(), DType::Float32, out, n, 0.0, 1.0);
// The draws are serial, as PyTorch's are; the arithmetic behind them runs in parallel. Each
// function locks the generator. Arguments are checked with PyTorch's messages.
// See Note [Equal to PyTorch].
#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"
#include "core/generator.h"

namespace gradstep {

// Note [Equal to PyTorch]
// Compared with PyTorch 2.13 on x86-64, with its AVX2 and its AVX-512 kernels, and glibc 2.36: all
// functions here are equal bit for bit and leave the same state, for all dtypes. Two limits: log,
// log1p, tan, exp, sin and cos of doubles are the C library's, on both sides; and on a machine
// without AVX2 PyTorch's own normal of float32 and halves differs from its AVX2 one, ours does not.

/// In [from, to).
void fill_uniform(Generator& gen, DType dtype, void* out, int64_t n, double from, double to);

/// `contiguous`: whether the tensor to be filled is. PyTorch draws one by one for one that is not.
void fill_normal(Generator& gen, DType dtype, void* out, int64_t n, double mean, double std,
                 bool contiguous = true);
void fill_log_normal(Generator& gen, DType dtype, void* out, int64_t n, double mean, double std);
void fill_cauchy(Generator& gen, DType dtype, void* out, int64_t n, double median, double sigma);
void fill_exponential(Generator& gen, DType dtype, void* out, int64_t n, double lambda);
void fill_geometric(Generator& gen, DType dtype, void* out, int64_t n, double p);

/// 1 with probability p, else 0; of any dtype.
void fill_bernoulli(Generator& gen, DType dtype, void* out, int64_t n, double p);
/// One probability per element.
void fill_bernoulli(Generator& gen, DType dtype, void* out, int64_t n, DType p_dtype,
                    const void* p);
/// The factors by which dropout(p) multiplies: 0 with probability p, else 1 / (1 - p).
void fill_dropout_mask(Generator& gen, DType dtype, void* out, int64_t n, double p);

/// random_(): all non-negative values of the type, or up to 2^mantissa bits for a floating one.
void fill_random(Generator& gen, DType dtype, void* out, int64_t n);
/// random_(from, to), and so randint; without `to`, up to the type's largest value.
void fill_random(Generator& gen, DType dtype, void* out, int64_t n, int64_t from,
                 std::optional<int64_t> to);

/// A permutation of 0 .. n - 1.
void fill_randperm(Generator& gen, DType dtype, void* out, int64_t n);

/// weights: [n_rows, n_categories], not normalised; out: [n_rows, n_samples] of indices.
void fill_multinomial(Generator& gen, DType dtype, const void* weights, int64_t* out,
                      int64_t n_rows, int64_t n_categories, int64_t n_samples, bool replacement);

}  // namespace gradstep
