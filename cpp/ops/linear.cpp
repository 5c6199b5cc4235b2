// SPDX-License-Identifier: Apache-2.0
// Linear layers, alone and with the activation that follows them.
#include <array>
#include <atomic>

#include "core/cuda_api.h"
#include "graph/anomaly.h"
#include "ops/create.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/products.h"
#include "ops/reduce.h"
#include "ops/view.h"

namespace gradstep {

namespace {

// Note [Passes of a linear layer]
// y = act(z), z = x w^T + b on a GPU: beside the three products, what passes over z, dy and dz
// costs memory traffic. PyTorch has six such passes: forward reads z and writes y; backward reads
// dy and z and writes dz, and reads dz again for db, its sums over the rows. Here:
// * db is made by the kernel that makes dz (activation_grad_sums), or without an activation by
//   cuBLASLt while it reads dz for dw (matmul_sums).
// * gelu's tanh form is computed by cuBLASLt as it writes z, which is then not read (in
//   linear_gelu_tanh, for nn.Sequential), and the next layer multiplies the dy that it makes by
//   gelu's derivative (product_gelu_grad): one pass that reads z.
// The graph is what it would be: linear and activation each have their node, so hooks, restricted
// runs and derivatives of derivatives find what they expect. Where nobody can look in between, a
// derivative leaves a note at the node before it, in a place for a kept tensor that is else empty:
// * at a linear node, behind what it keeps: the gradient dz and its sums. It is heeded if what
//   arrives is that very tensor; with other gradients added to it, it is not.
// * at a gelu node: the gradient that is already multiplied by its derivative. Only where the next
//   layer is all that uses gelu's result, so that nothing can be added.

constexpr int kNotedGradient = 2, kNotedSums = 3;  // places at a linear node on a GPU

bool on_gpu(const Tensor& t) { return t.device().type == DeviceType::CUDA; }

/// True if nobody sees the gradients that this derivative returns but the nodes that they go to.
bool unseen(const Backward& b) {
  const bool all = b.mask == ~uint64_t{0};  // not a run to some of the inputs
  return b.run && all && !b.node.extra && !grad_enabled() && !g_anomaly.on;
}

void leave_note(Saved& place, const Tensor& t) {
  place.tensor = t.ref();
  place.version = t->version();
}
/// Takes the note away; true if it is about t, as t still is.
bool take_note(Saved& place, const Tensor& t) {
  const Ref<TensorImpl> noted = std::exchange(place.tensor, Ref<TensorImpl>());
  return noted && noted.get() == t.get() && noted->version() == place.version;
}

Tensor as_rows(const Tensor& t) { return t.ndim() == 2 ? t : reshape(t, {-1, t.sizes().back()}); }

const Op& gelu_tanh_op() {
  static const Op& op = Op::get("gelu_tanh");
  return op;
}

/// True where cuBLASLt computes gelu within its products of halves: on Hopper and Blackwell's
/// data-centre parts since 12.5. On others it makes passes of its own, and slower ones.
bool products_have_gelu(const Tensor& t) {
  if (!on_gpu(t) || !is_half(t.dtype())) return false;
  static std::array<std::atomic<int8_t>, 64> known = {};  // by device: 1 no, 2 yes
  const auto device = static_cast<size_t>(t.device().index);
  if (device >= known.size()) return false;
  if (known[device] == 0) {
    CudaProperties p;
    cuda_api().properties(static_cast<int>(device), &p);
    const bool has =
        (p.major == 9 || p.major == 10) && cuda_api().library_version("cublaslt") >= 120500;
    known[device] = has ? 2 : 1;
  }
  return known[device] == 2;
}

// ---- derivatives ----

/// The gelu node that made a linear layer's input, if its derivative can be part of the product:
/// null else.
Node* gelu_before(const Backward& b, const Tensor& dy) {
  Node* const g = b.node.edges[0].node.get();
  if (!g || g->op != &gelu_tanh_op() || g->n_saved < 2 || g->extra || g->queued || !unseen(b)) {
    return nullptr;
  }
  // Only this node refers to it, and the result that it made, which this node keeps.
  const TensorImpl* const made = b.node.saved[0].tensor.get();
  const uint32_t known = made && made->grad_fn == g ? 2 : 1;
  const Tensor z(g->saved[0].tensor);
  const bool fits = g->ref_count == known && z.defined() && z.contiguous() && z.ndim() >= 2 &&
                    z.numel() != 0 && z.dtype() == dy.dtype() && z.sizes().back() % 8 == 0;
  return fits && products_have_gelu(z) ? g : nullptr;
}

// dx = dy @ w
void give_input_gradient(Backward& b, const Tensor& dy, const Tensor& w) {
  Node* const gelu = gelu_before(b, dy);
  if (!gelu) return give_product(b, 0, dy, w), void();
  const Tensor z = Backward{*gelu, {}, {}}.saved(0);
  const Tensor dz = empty(z.sizes(), options_of(z));
  const Tensor left = readable(as_rows(dy)), right = readable(w);
  const Tensor rows = as_rows(dz), before = as_rows(z);
  static const Op& op = Op::get("product_gelu_grad");
  run(op, params(1.0, 0.0), {&rows}, {&left, &right, &before});
  leave_note(gelu->saved[1], dz);
  b.set(0, dz);
}

// dx = dy @ w, dw = dy^T @ x, db = dy summed over the rows.
void linear_backward(Backward& b) {
  const Tensor& dy = b.grad();
  const Tensor w = b.saved(1);
  Tensor sums;
  if (b.node.n_saved > kNotedSums) {
    const Ref<TensorImpl> noted = std::exchange(b.node.saved[kNotedSums].tensor, Ref<TensorImpl>());
    if (take_note(b.node.saved[kNotedGradient], dy)) sums = Tensor(noted);
  }
  if (b.needs(0)) give_input_gradient(b, dy, w);
  const bool vector = dy.ndim() == 1;
  const bool has_bias = b.node.n_edges > 2 && b.needs(2);
  const Tensor rows = vector ? unsqueeze(dy, 0) : as_rows(dy);
  if (b.needs(1)) {
    const bool wanted = has_bias && !vector && !sums.defined();
    const Tensor made =
        give_product(b, 1, t(rows), as_rows(b.saved(0)), 1, wanted ? Sums::OfLeft : Sums::None);
    if (wanted) sums = made;
  }
  if (has_bias) b.set(2, vector ? dy : sums.defined() ? sums : sum(rows, {0}));
}

const Op& linear_op() {
  static const Op& op = define("linear", &linear_backward);
  return op;
}

/// True if the linear layer before an activation takes the sums of the gradient that it gets.
bool takes_sums(const Node* n) {
  return n && n->op == &linear_op() && n->n_saved > kNotedSums && n->n_edges > 2 &&
         n->edges[2].node && !n->extra;
}

}  // namespace

// dz = dy * act'(z)
void activation_backward(Backward& b) {
  const Tensor& dy = b.grad();
  if (b.node.n_saved > 1 && take_note(b.node.saved[1], dy)) return b.set(0, dy);
  Node* const linear = b.node.edges[0].node.get();
  if (!takes_sums(linear) || !unseen(b) || dy.ndim() < 2 || dy.numel() == 0 || !on_gpu(dy) ||
      !dy.contiguous() || !is_floating(dy.dtype())) {
    return map_backward(b);
  }
  const Tensor saved = b.saved(0);
  if (!saved.contiguous() || !(saved.sizes() == dy.sizes()) || saved.dtype() != dy.dtype()) {
    return map_backward(b);
  }
  const int64_t which = b.node.op->saves_output ? 0 : b.node.op == &gelu_tanh_op() ? 2 : 1;
  const Tensor dz = empty(dy.sizes(), options_of(dy));
  const Tensor sums = empty({dy.sizes().back()}, options_of(dy));
  const Tensor rows = as_rows(dz), left = as_rows(dy), right = as_rows(saved);
  static const Op& op = Op::get("activation_grad_sums");
  run(op, params(which), {&rows, &sums}, {&left, &right});
  leave_note(linear->saved[kNotedGradient], dz);
  leave_note(linear->saved[kNotedSums], sums);
  b.set(0, dz);
}

namespace {

// ---- forward ----

/// Makes the node of a linear layer.
void record_linear(const Tensor& out, const Tensor& input, const Tensor& weight,
                   const Tensor& bias) {
  const Tensor none;
  const Save saves[] = {keep(weight.wants_grad() ? input : none),
                        keep(input.wants_grad() ? weight : none), keep(none), keep(none)};
  const Tensor* outputs[] = {&out};
  const Tensor* inputs[] = {&input, &weight, &bias};
  record(linear_op(), params(), outputs,
         std::span<const Tensor* const>(inputs, bias.defined() ? 3u : 2u),
         std::span<const Save>(saves, on_gpu(out) ? 4u : 2u));
  // PyTorch multiplies rows and gives the product its shape.
  show_as(out, input.ndim() == 2 ? bias.defined() ? Shown::Addmm : Shown::Mm
               : bias.defined()  ? Shown::View
                                 : Shown::UnsafeView);
}

/// Makes the node of an activation of z, a tensor with history.
void record_activation(const Op& op, const Tensor& out, const Tensor& z) {
  const Tensor none;
  const Tensor* inputs[] = {&z};
  const Save saves[] = {op.saves_output ? keep_output(out) : keep(z), keep(none)};
  const Ref<Node> node = make_node(op, params(), inputs, saves, 1);
  node->compute = compute_type(out.dtype());
  set_history(out, node, 0);
}

/// out = activation(alpha * x @ w + bias), which is also written into `before` if that is defined.
void activated_product(const Tensor& out, const Tensor& before, const Tensor& x, const Tensor& w,
                       const Tensor& bias, double alpha, bool gelu) {
  static const Op& op = Op::get("linear_activation");
  const Tensor *outputs[] = {&out, &before}, *inputs[] = {&x, &w, &bias};
  run(op, params(alpha, 0.0, int64_t{gelu}),
      std::span<const Tensor* const>(outputs, before.defined() ? 2u : 1u),
      std::span<const Tensor* const>(inputs, bias.defined() ? 3u : 2u), compute_type(out.dtype()));
}

/// A linear layer, then the tanh form of gelu if wanted: on a GPU only, and bias is a vector then.
Tensor layer(const Tensor& input, const Tensor& weight, const Tensor& bias, bool gelu) {
  GS_CHECK(input.ndim() > 0,
           "both arguments to linear need to be at least 1D, but they are 0D and {}D",
           weight.ndim());
  const int64_t k = weight.sizes()[1];
  const int64_t n = weight.sizes()[0];
  const int64_t m = input.sizes().back() == 0
                        ? count_elements(Dims(input.sizes().begin(), input.ndim() - 1))
                        : input.numel() / input.sizes().back();
  GS_CHECK(input.sizes().back() == k, "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
           m, input.sizes().back(), k, n);
  if (bias.defined()) {
    GS_CHECK(input.dtype() == weight.dtype(),
             "mat1 and mat2 must have the same dtype, but got {} and {}",
             scalar_name(input.dtype()), scalar_name(weight.dtype()));
  } else {
    GS_CHECK(input.dtype() == weight.dtype(),
             "expected m1 and m2 to have the same dtype, but got: {} != {}",
             element_name(input.dtype()), element_name(weight.dtype()));
  }
  if (bias.defined()) {
    GS_CHECK(bias.dtype() == weight.dtype(),
             "self and mat2 must have the same dtype, but got {} and {}", scalar_name(bias.dtype()),
             scalar_name(weight.dtype()));
    GS_CHECK(bias.ndim() <= 1 && (bias.numel() == n || bias.numel() == 1),
             "The expanded size of the tensor ({}) must match the existing size ({}) at "
             "non-singleton dimension 1.  "
             "Target sizes: [{}, {}].  Tensor sizes: {}",
             n, bias.ndim() ? bias.sizes()[0] : 1, m, n, bias.sizes());
    if (bias.numel() != n) return add(layer(input, weight, {}, false), bias);
  }
  common_device({&input, &weight, &bias}, "linear");
  Dims sizes = input.sizes();
  sizes[input.ndim() - 1] = n;
  const Tensor out = empty(sizes, options_of(input));
  const Tensor dense = input.ndim() == 2 ? input : contiguous(input);
  const Tensor x =
      readable(input.ndim() == 2 ? input : alias(dense, {m, k}, {k, 1}, dense.offset()));
  const Tensor w =
      readable(alias(weight, {k, n}, {weight.strides()[1], weight.strides()[0]}, weight.offset()));
  const auto flat = [&](const Tensor& t) {
    return input.ndim() == 2 || !t.defined() ? t : alias(t, {m, n}, {n, 1}, 0);
  };
  const Tensor y = flat(out);
  const bool recorded = needs_grad(input, weight, bias);
  if (gelu) [[unlikely]] {
    const Tensor z = recorded ? empty(sizes, options_of(input)) : Tensor();
    activated_product(y, flat(z), x, w, bias, 1, true);
    if (recorded) {
      record_linear(z, input, weight, bias);
      record_activation(gelu_tanh_op(), out, z);
    }
    return out;
  }
  static const Op& product_op = Op::get("matmul");
  if (bias.defined()) {
    run(product_op, params(1.0, 0.0), {&y}, {&x, &w, &bias});
  } else {
    run(product_op, params(1.0, 0.0), {&y}, {&x, &w});
  }
  if (recorded) record_linear(out, input, weight, bias);
  return out;
}

}  // namespace

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  GS_CHECK(weight.ndim() <= 2 && weight.ndim() > 0, "linear: weight must be 1-D or 2-D, got {}-D",
           weight.ndim());
  if (weight.ndim() == 1) {
    const Tensor y = matmul(input, weight);
    return bias.defined() ? add(y, bias) : y;
  }
  return layer(input, weight, bias, false);
}

Tensor linear_gelu_tanh(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const bool vector =
      bias.defined() && weight.ndim() == 2 && bias.ndim() == 1 && bias.numel() == weight.sizes()[0];
  const bool one_call = weight.ndim() == 2 && (vector || !bias.defined());
  if (one_call && products_have_gelu(input)) return layer(input, weight, bias, true);
  return map(gelu_tanh_op(), {linear(input, weight, bias)});
}

Tensor addmm_activation(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta,
                        Scalar alpha, bool use_gelu) {
  static const Op &relu = Op::get("relu"), &gelu = Op::get("gelu");
  const Op& activation = !use_gelu ? relu : on_gpu(a) ? gelu_tanh_op() : gelu;
  const DType type = a.dtype();
  const bool one_call = on_gpu(a) && is_floating(type) && a.ndim() == 2 && b.ndim() == 2 &&
                        a.sizes()[1] == b.sizes()[0] && input.ndim() == 1 &&
                        input.numel() == b.sizes()[1] && beta.to_double() == 1 &&
                        b.dtype() == type && input.dtype() == type && b.device() == a.device() &&
                        input.device() == a.device();
  if (!one_call) return map(activation, {addmm(input, a, b, beta, alpha)});
  const bool recorded = needs_grad(input, a, b);
  const Tensor out = empty({a.sizes()[0], b.sizes()[1]}, options_of(a));
  const Tensor z = recorded && use_gelu ? empty(out.sizes(), options_of(a)) : Tensor();
  activated_product(out, z, readable(a), readable(b), input, alpha.to_double(), use_gelu);
  if (recorded) {
    const Tensor before = use_gelu ? z : alias(out);
    record_addmm(before, input, a, b, 1, alpha.to_double());
    record_activation(activation, out, before);
  }
  return out;
}

}  // namespace gradstep
