// SPDX-License-Identifier: Apache-2.0
// Matrix products. One kernel, "matmul": out[b] = a[b] @ b[b] over row-major matrices that may be
// transposed; every other product is a view of its operands.
#include "ops/linalg.h"

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/products.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

// ---- the kernel's call ----

Tensor readable(const Tensor& x) {
  const int n = x.ndim();
  const int64_t rows = x.sizes()[n - 2], cols = x.sizes()[n - 1];
  const int64_t rs = x.strides()[n - 2], cs = x.strides()[n - 1];
  const bool by_rows = (cs == 1 || cols == 1) && (rs >= std::max<int64_t>(cols, 1) || rows == 1);
  const bool by_cols = (rs == 1 || rows == 1) && (cs >= std::max<int64_t>(rows, 1) || cols == 1);
  return by_rows || by_cols ? x : contiguous(x);
}

namespace {

/// out = beta * out + alpha * a @ b for matrices or equal batches of them.
void product_into(const Tensor& out, const Tensor& a, const Tensor& b, double alpha, double beta,
                  Sums which = Sums::None, const Tensor& sums = Tensor()) {
  const Tensor left = readable(a);
  const Tensor right = readable(b);
  if (which != Sums::None) {
    static const Op& with_sums = Op::get("matmul_sums");
    const int64_t factor = which == Sums::OfLeft ? 0 : 1;
    return run(with_sums, params(alpha, beta, factor), {&out, &sums}, {&left, &right});
  }
  static const Op& op = Op::get("matmul");
  run(op, params(alpha, beta), {&out}, {&left, &right});
}

Tensor product(const Tensor& a, const Tensor& b) {
  Dims sizes = a.sizes();
  sizes[a.ndim() - 1] = b.sizes().back();
  const Tensor out = empty(sizes, options_of(a));
  product_into(out, a, b, 1, 0);
  return out;
}

void check_product(const char* op, const Tensor& a, const Tensor& b) {
  GS_CHECK(a.dtype() == b.dtype(), "expected m1 and m2 to have the same dtype, but got: {} != {}",
           element_name(a.dtype()), element_name(b.dtype()));
  common_device({&a, &b}, op);
}

// ---- derivatives ----

/// True for the types that the product adds up in without rounding twice.
bool adds_exactly(DType t) { return t == DType::Float32 || t == DType::Float64; }

}  // namespace

Tensor give_product(Backward& b, int k, const Tensor& left, const Tensor& right, double alpha,
                    Sums wanted) {
  // On a GPU a library may add a factor up while it reads it.
  const Sums which = left.device().type == DeviceType::CUDA && !grad_enabled() &&
                             is_floating(left.dtype()) && left.ndim() == 2
                         ? wanted
                         : Sums::None;
  Tensor sums;
  if (which != Sums::None) {
    sums = empty({which == Sums::OfLeft ? left.sizes()[0] : right.sizes()[1]}, options_of(left));
  }
  if (left.ndim() == 2 && right.ndim() == 2 && adds_exactly(left.dtype())) {
    const Tensor sum = b.sum_to_add_to(k, {left.sizes()[0], right.sizes()[1]}, {&left, &right});
    if (sum.defined()) {
      product_into(sum, left, right, alpha, 1, which, sums);
      bump_version(sum);
      return sums;
    }
  }
  if (which != Sums::None) {
    const Tensor g = empty({left.sizes()[0], right.sizes()[1]}, options_of(left));
    product_into(g, left, right, alpha, 0, which, sums);
    b.set(k, g);
    return sums;
  }
  const Tensor g = matmul(left, right);
  b.set(k, alpha == 1 ? g : mul(g, alpha));
  return sums;
}

namespace {

/// True for a matrix, or a batch of them, whose columns are contiguous: a transposed one.
bool lies_by_columns(const Tensor& x) {
  const int n = x.ndim();
  return x.strides()[n - 2] == 1 && x.strides()[n - 1] != 1 && x.sizes()[n - 1] > 1;
}

// da = dy @ b^T, db = a^T @ dy, for matrices and for batches. A gradient lies in memory as its
// operand: that of a transposed weight is turned back to the weight's own layout next.
void mm_backward(Backward& b) {
  const Tensor& dy = b.grad();
  if (b.needs(0)) {
    if (b.i(0)) {
      b.set(0, mT(matmul(b.saved(1), mT(dy))));
    } else {
      give_product(b, 0, dy, mT(b.saved(1)));
    }
  }
  if (b.needs(1)) {
    if (b.i(1)) {
      b.set(1, mT(matmul(mT(dy), b.saved(0))));
    } else {
      give_product(b, 1, mT(b.saved(0)), dy);
    }
  }
}

// d(beta * input) summed to its shape; the product as in mm, times alpha.
void addmm_backward(Backward& b) {
  const double beta = b.f(0);
  const double alpha = b.f(1);
  const Tensor& dy = b.grad();
  if (b.needs(1)) give_product(b, 1, dy, mT(b.saved(1)), alpha);
  // The gradient of a bias is the sum of what the product reads.
  const bool bias =
      b.needs(0) && alpha == 1 && dy.ndim() == 2 && b.i(2) == 1 && b.i(3) == dy.sizes()[1];
  Tensor sums;
  if (b.needs(2)) {
    sums = give_product(b, 2, mT(b.saved(0)), dy, alpha, bias ? Sums::OfRight : Sums::None);
  }
  if (b.needs(0)) {
    Dims sizes;
    for (int k = 0; k < b.i(2); ++k) sizes.push_back(b.i(3 + k));
    const Tensor g = sums.defined() ? sums : sum_to_size(dy, sizes);
    b.set(0, beta == 1 ? g : mul(g, beta));
  }
}

Tensor recorded_product(const Tensor& a, const Tensor& b, const Op& op) {
  const Tensor out = product(a, b);
  if (needs_grad(a, b)) {
    // Only what a wanted gradient reads is kept.
    const Tensor none;
    record(op, params(int64_t{lies_by_columns(a)}, int64_t{lies_by_columns(b)}), {&out}, {&a, &b},
           {keep(b.wants_grad() ? a : none), keep(a.wants_grad() ? b : none)});
  }
  return out;
}

}  // namespace

Tensor mm(const Tensor& a, const Tensor& b) {
  static const Op& op = define("mm", &mm_backward);
  GS_CHECK(a.ndim() == 2, "self must be a matrix");
  GS_CHECK(b.ndim() == 2, "mat2 must be a matrix");
  GS_CHECK(a.sizes()[1] == b.sizes()[0],
           "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})", a.sizes()[0],
           a.sizes()[1], b.sizes()[0], b.sizes()[1]);
  check_product("mm", a, b);
  return recorded_product(a, b, op);
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  static const Op& op = define("bmm", &mm_backward);
  GS_CHECK(a.ndim() == 3, "batch1 must be a 3D tensor");
  GS_CHECK(b.ndim() == 3, "batch2 must be a 3D tensor");
  GS_CHECK(
      a.sizes()[0] == b.sizes()[0] && a.sizes()[2] == b.sizes()[1],
      "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}].",
      a.sizes()[0], a.sizes()[2], b.sizes()[0], b.sizes()[1]);
  check_product("bmm", a, b);
  return recorded_product(a, b, op);
}

namespace {
// da = dy * b, db = dy * a.
void dot_backward(Backward& b) {
  for (const int k : {0, 1}) {
    if (b.needs(k)) b.set(k, mul(b.saved(1 - k), b.grad()));
  }
}
}  // namespace

Tensor dot(const Tensor& a, const Tensor& b) {
  GS_CHECK(a.ndim() == 1 && b.ndim() == 1, "1D tensors expected, but got {}D and {}D tensors",
           a.ndim(), b.ndim());
  GS_CHECK(a.dtype() == b.dtype(),
           "dot : expected both vectors to have same dtype, but found {} and {}",
           scalar_name(a.dtype()), scalar_name(b.dtype()));
  GS_CHECK(a.numel() == b.numel(),
           "inconsistent tensor size, expected tensor [{}] and src [{}] to have the same number of "
           "elements, but got "
           "{} and {} elements respectively",
           a.numel(), b.numel(), a.numel(), b.numel());
  static const Op& op = define("dot", &dot_backward);
  const Tensor out = reshape(product(unsqueeze(a, 0), unsqueeze(b, 1)), {});
  if (needs_grad(a, b)) {
    const Tensor none;
    record(op, params(), {&out}, {&a, &b},
           {keep(b.wants_grad() ? a : none), keep(a.wants_grad() ? b : none)});
  }
  return out;
}

Tensor mv(const Tensor& a, const Tensor& x) {
  GS_CHECK(a.ndim() == 2 && x.ndim() == 1, "vector + matrix @ vector expected, got {}, {}, {}", 1,
           a.ndim(), x.ndim());
  GS_CHECK(a.sizes()[1] == x.sizes()[0], "size mismatch, got input ({}), mat ({}x{}), vec ({})",
           a.sizes()[0], a.sizes()[0], a.sizes()[1], x.sizes()[0]);
  return show_as(squeeze(mm(a, unsqueeze(x, 1)), {1}), Shown::Mv);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  GS_CHECK(a.ndim() == 1, "outer: Expected 1-D argument self, but got {}-D", a.ndim());
  GS_CHECK(b.ndim() == 1, "outer: Expected 1-D argument vec2, but got {}-D", b.ndim());
  return mul(unsqueeze(a, 1), b);
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  GS_CHECK(a.ndim() > 0 && b.ndim() > 0,
           "both arguments to matmul need to be at least 1D, but they are {}D and {}D", a.ndim(),
           b.ndim());
  if (a.ndim() == 2 && b.ndim() == 2) return mm(a, b);
  if (a.ndim() == 1 && b.ndim() == 1) return dot(a, b);
  if (a.ndim() == 2 && b.ndim() == 1) return mv(a, b);
  if (a.ndim() == 1) return squeeze(matmul(unsqueeze(a, 0), b), {-2});
  if (b.ndim() == 1) return show_as(squeeze(matmul(a, unsqueeze(b, 1)), {-1}), Shown::UnsafeView);
  if (a.ndim() == 3 && b.ndim() == 3 && a.sizes()[0] == b.sizes()[0]) {
    GS_CHECK(a.sizes()[2] == b.sizes()[1],
             "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: "
             "[{}, {}].",
             a.sizes()[0], a.sizes()[2], b.sizes()[0], b.sizes()[1]);
    return bmm(a, b);
  }
  const int64_t k = a.sizes().back();
  if (b.ndim() == 2) {
    // One tall product instead of a batch of small ones.
    GS_CHECK(k == b.sizes()[0], "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
             k == 0 ? 0 : a.numel() / k, k, b.sizes()[0], b.sizes()[1]);
    Dims sizes = a.sizes();
    sizes[a.ndim() - 1] = b.sizes()[1];
    return show_as(
        view(
            mm(reshape(a, {k == 0 ? count_elements(Dims(a.sizes().begin(), a.ndim() - 1)) : -1, k}),
               b),
            sizes),
        Shown::UnsafeView);
  }
  // Batches broadcast against each other.
  const Dims batch_a(a.sizes().begin(), a.ndim() - 2);
  const Dims batch_b(b.sizes().begin(), b.ndim() - 2);
  const Dims batch = broadcast(batch_a, batch_b);
  const auto flat = [&](const Tensor& x) {
    Dims sizes = batch;
    sizes.push_back(x.sizes()[x.ndim() - 2]);
    sizes.push_back(x.sizes().back());
    return reshape(expand(x, sizes),
                   {count_elements(batch), sizes[batch.size()], sizes[batch.size() + 1]});
  };
  Dims sizes = batch;
  sizes.push_back(a.sizes()[a.ndim() - 2]);
  sizes.push_back(b.sizes().back());
  return view(bmm(flat(a), flat(b)), sizes);
}

namespace {
void record_sum(const Op& op, const Tensor& out, const Tensor& input, const Tensor& a,
                const Tensor& b, double beta, double alpha) {
  const Params p = params(beta, alpha, static_cast<int64_t>(input.ndim()), input.sizes());
  const Tensor none;
  record(op, p, {&out}, {&input, &a, &b},
         {keep(b.wants_grad() ? a : none), keep(a.wants_grad() ? b : none)});
}

Tensor add_product(const Op& op, const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta,
                   Scalar alpha, const Dims& sizes) {
  common_device({&input, &a, &b}, op.name);
  GS_CHECK(expandable_to(input.sizes(), sizes),
           "The expanded size of the tensor ({}) must match the existing size ({}) at "
           "non-singleton dimension {}.  "
           "Target sizes: {}.  Tensor sizes: {}",
           sizes.back(), input.ndim() ? input.sizes().back() : 1, sizes.size() - 1, sizes,
           input.sizes());
  GS_CHECK(input.dtype() == a.dtype(), "self and mat2 must have the same dtype, but got {} and {}",
           scalar_name(input.dtype()), scalar_name(b.dtype()));
  const Tensor out = empty(sizes, options_of(a));
  if (beta.to_double() != 0) {
    static const Op& copy = Op::get("copy");
    run(copy, params(), {&out}, {&input});
  }
  product_into(out, a, b, alpha.to_double(), beta.to_double());
  if (needs_grad(input, a, b)) {
    record_sum(op, out, input, a, b, beta.to_double(), alpha.to_double());
  }
  return out;
}

const Op& addmm_op() {
  static const Op& op = define("addmm", &addmm_backward);
  return op;
}
}  // namespace

void record_addmm(const Tensor& out, const Tensor& input, const Tensor& a, const Tensor& b,
                  double beta, double alpha) {
  record_sum(addmm_op(), out, input, a, b, beta, alpha);
}

Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  const Op& op = addmm_op();
  GS_CHECK(a.ndim() == 2, "mat1 must be a matrix, got {}-D tensor", a.ndim());
  GS_CHECK(b.ndim() == 2, "mat2 must be a matrix, got {}-D tensor", b.ndim());
  GS_CHECK(a.sizes()[1] == b.sizes()[0],
           "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})", a.sizes()[0],
           a.sizes()[1], b.sizes()[0], b.sizes()[1]);
  check_product("addmm", a, b);
  return add_product(op, input, a, b, beta, alpha, {a.sizes()[0], b.sizes()[1]});
}

Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  static const Op& op = define("baddbmm", &addmm_backward);
  GS_CHECK(a.ndim() == 3, "batch1 must be a 3D tensor");
  GS_CHECK(b.ndim() == 3, "batch2 must be a 3D tensor");
  GS_CHECK(
      a.sizes()[0] == b.sizes()[0] && a.sizes()[2] == b.sizes()[1],
      "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}].",
      a.sizes()[0], a.sizes()[2], b.sizes()[0], b.sizes()[1]);
  check_product("baddbmm", a, b);
  return add_product(op, input, a, b, beta, alpha, {a.sizes()[0], a.sizes()[1], b.sizes()[2]});
}

}  // namespace gradstep
