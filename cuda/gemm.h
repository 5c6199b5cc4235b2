// SPDX-License-Identifier: Apache-2.0
// Matrix products on a GPU for all drivers: cuBLASLt where it is there, else a kernel of our own.
//   Product p{.type = DType::Float32, .m = m, .n = n, .k = k};
//   p.a = {x, k, 1};                     // element (i, l) is x[i * k + l]
//   p.b = {w, 1, k};                     // w transposed
//   p.c = y, p.c_row = n;                // y = x w^T
//   multiply(call, p);
#pragma once
#include "cuda/launch.h"

namespace gradstep::cuda {

/// A matrix or a batch of them: steps between elements of a column, of a row, between matrices.
struct Factor {
  const void* data = nullptr;
  int64_t row = 0, col = 0, batch = 0;
};

/// What else a product does in its one pass over C or over a factor. See multiply_fused().
enum class Fused {
  None,
  Relu,
  Gelu,      // the tanh form
  GeluKeep,  // the same; `aux` gets what gelu is applied to
  GeluGrad,  // C is multiplied by gelu's derivative at `aux`
  SumA,      // `sums` gets the sums of A's rows, m elements
  SumB,      // `sums` gets the sums of B's columns, n elements
};

/// C (m x n) = alpha A B + beta C + bias, for each entry of a batch. C's rows are contiguous.
/// Halves are added up in float and rounded once; where beta is 0, C is not read.
struct Product {
  DType type = DType::Float32;  // of all four
  int64_t batch = 1, m = 0, n = 0, k = 0;
  Factor a, b;
  void* c = nullptr;
  int64_t c_row = 0, c_batch = 0;
  double alpha = 1, beta = 0;
  const void* bias = nullptr;  // n elements
  int64_t bias_step = 1;
  Fused fused = Fused::None;
  void* aux = nullptr;  // m x n, laid out as C
  void* sums = nullptr;
};

/// C = alpha A B + beta C from a call's output 0, inputs 0 and 1, params 0 and 1; all contiguous
/// but the factors.
Product product_of(const Call& call);
/// Adds a vector, or one number for all columns.
void set_bias(Product& p, const TensorImpl& bias);

/// On the call's device and stream; `call` names the op in errors.
void multiply(const Call& call, const Product& p);
/// A product that is more than one (p.fused); false, and nothing is done, where that would not be
/// one pass: the caller then does it in two.
bool multiply_fused(const Call& call, const Product& p);

/// The same by cuBLASLt; false if it is missing or has no algorithm for that product.
bool multiply_by_library(const Call& call, const Product& p);

}  // namespace gradstep::cuda
