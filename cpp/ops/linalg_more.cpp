// SPDX-License-Identifier: Apache-2.0
#include "ops/linalg_more.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <vector>

#include "ops/create.h"
#include "ops/index.h"
#include "ops/linalg.h"
#include "ops/nn_norm.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/view.h"

namespace gradstep {

// ---- einsum ----

namespace {

// Note [Pairwise contraction]
// All operands are given the same list of axes: those of the output, then those that are summed; an
// axis that an operand lacks has size 1. Two of them are contracted at a time, each as [batch, own,
// summed] matrices of one bmm. An axis is summed as soon as no later operand has it.

/// left * right summed over the axes of `summed`, which keep size 1.
Tensor contract(Tensor left, Tensor right, uint32_t summed) {
  const int n = left.ndim();
  Dims batch, own_left, own_right, both;
  int64_t n_batch = 1, n_left = 1, n_right = 1, n_both = 1;
  for (int d = 0; d < n; ++d) {
    const int64_t sl = left.sizes()[d], sr = right.sizes()[d];
    const bool in_left = sl != 1, in_right = sr != 1;
    if (summed >> d & 1) {
      if (in_left && !in_right) left = sum(left, {d}, true, left.dtype());
      if (in_right && !in_left) right = sum(right, {d}, true, right.dtype());
      both.push_back(d);
      n_both *= left.sizes()[d];
    } else if (in_left && in_right) {
      batch.push_back(d);
      n_batch *= sl;
    } else if (in_left) {
      own_left.push_back(d);
      n_left *= sl;
    } else {
      own_right.push_back(d);
      n_right *= sr;
    }
  }
  const auto arrange = [](const Tensor& x, std::initializer_list<const Dims*> groups) {
    Dims order;
    for (const Dims* g : groups) {
      for (const int64_t d : *g) order.push_back(d);
    }
    return permute(x, order);
  };
  const Tensor l =
      reshape(arrange(left, {&batch, &own_left, &both, &own_right}), {n_batch, n_left, n_both});
  const Tensor r =
      reshape(arrange(right, {&batch, &both, &own_right, &own_left}), {n_batch, n_both, n_right});
  const Tensor product =
      n_batch == 1 ? unsqueeze(mm(squeeze(l, {0}), squeeze(r, {0})), 0) : bmm(l, r);
  // Axes come out as batch, left's, right's, summed; back to their places.
  Dims order, sizes;
  for (const Dims* g : {&batch, &own_left, &own_right, &both}) {
    for (const int64_t d : *g) {
      order.push_back(d);
      const int at = static_cast<int>(d);
      sizes.push_back(g == &both ? 1 : std::max(left.sizes()[at], right.sizes()[at]));
      if (g != &both && (left.sizes()[at] == 0 || right.sizes()[at] == 0)) sizes.v[sizes.n - 1] = 0;
    }
  }
  Dims inverse = order;
  for (int d = 0; d < n; ++d) inverse[static_cast<int>(order[d])] = d;
  return permute(reshape(product, sizes), inverse);
}

/// One operand's or the output's subscripts: letters, with kEllipsis where "..." stands.
constexpr char kEllipsis = '.';

std::string parse_subscripts(const std::string& text, const std::string& where) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '.') {
      GS_CHECK(out.find(kEllipsis) == std::string::npos && text.compare(i, 3, "...") == 0,
               "einsum(): found '.' for {} that is not part of any ellipsis", where);
      i += 2;
      out += kEllipsis;
      continue;
    }
    GS_CHECK(std::isalpha(static_cast<unsigned char>(c)),
             "einsum(): invalid subscript given at index {} in the equation string, subscripts "
             "must be in [a-zA-Z]",
             i);
    out += c;
  }
  return out;
}

}  // namespace

Tensor einsum(const std::string& equation, std::span<const Tensor> operands) {
  GS_CHECK(!operands.empty(), "einsum(): must provide at least one operand");
  const size_t arrow = equation.find("->");
  const std::string lhs = equation.substr(0, arrow);
  std::vector<std::string> inputs;
  for (size_t at = 0; at <= lhs.size();) {
    const size_t comma = std::min(lhs.find(',', at), lhs.size());
    inputs.push_back(
        parse_subscripts(lhs.substr(at, comma - at), format("operand {}", inputs.size())));
    at = comma + 1;
  }
  GS_CHECK(inputs.size() <= operands.size(),
           "einsum(): fewer operands were provided than specified in the equation");
  GS_CHECK(inputs.size() == operands.size(),
           "einsum(): more operands were provided than specified in the equation");

  // How many axes the ellipsis stands for, and how often each letter occurs.
  int ellipsis_axes = 0;
  std::array<int, 128> count{};
  bool any_ellipsis = false;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const bool has = inputs[k].find(kEllipsis) != std::string::npos;
    const int letters = static_cast<int>(inputs[k].size()) - (has ? 1 : 0);
    GS_CHECK(has ? operands[k].ndim() >= letters : operands[k].ndim() == letters,
             "einsum(): the number of subscripts in the equation ({}) {} the number of dimensions "
             "({}) for operand {}{}",
             letters, has ? "is more than" : "does not match", operands[k].ndim(), k,
             has ? "" : " and no ellipsis was given");
    if (has) ellipsis_axes = std::max(ellipsis_axes, operands[k].ndim() - letters);
    any_ellipsis |= has;
    for (const char c : inputs[k]) ++count[static_cast<size_t>(c)];
  }
  std::string output;
  if (arrow == std::string::npos) {
    // The ellipsis, then the letters that occur once, in order.
    if (any_ellipsis) output += kEllipsis;
    for (char c = 'A'; c <= 'z'; ++c) {
      if (count[static_cast<size_t>(c)] == 1) output += c;
    }
  } else {
    output = parse_subscripts(equation.substr(arrow + 2), "the output");
  }

  // The common list of axes: place[c] for letters; the ellipsis has ellipsis_axes places.
  std::array<int, 128> place;
  place.fill(-1);
  int ellipsis_at = -1;
  int n_axes = 0;
  const auto add_axis = [&](char c) {
    if (c == kEllipsis) {
      ellipsis_at = n_axes;
      n_axes += ellipsis_axes;
    } else if (place[static_cast<size_t>(c)] < 0) {
      place[static_cast<size_t>(c)] = n_axes++;
    }
  };
  for (const char c : output) {
    GS_CHECK(c == kEllipsis || place[static_cast<size_t>(c)] < 0,
             "einsum(): output subscript {} appears more than once in the output",
             std::string(1, c));
    GS_CHECK(c == kEllipsis || count[static_cast<size_t>(c)] > 0,
             "einsum(): output subscript {} does not appear in the equation for any input operand",
             std::string(1, c));
    add_axis(c);
  }
  const int n_output = n_axes;
  for (const std::string& s : inputs) {
    for (const char c : s) {
      if (c != kEllipsis || ellipsis_at < 0) add_axis(c);
    }
  }
  GS_CHECK(n_axes <= kMaxDims, "einsum(): more than {} different axes are not supported", kMaxDims);

  std::vector<Tensor> terms;
  for (size_t k = 0; k < inputs.size(); ++k) {
    Tensor x = operands[k];
    std::string s = inputs[k];
    // A repeated letter is a diagonal.
    for (size_t i = 0; i < s.size(); ++i) {
      const size_t twin = s[i] == kEllipsis ? std::string::npos : s.find(s[i], i + 1);
      if (twin == std::string::npos) continue;
      const auto axis = [&](size_t j) {
        const size_t dots = s.find(kEllipsis);
        const int covered =
            x.ndim() - (static_cast<int>(s.size()) - (dots == std::string::npos ? 0 : 1));
        return static_cast<int64_t>(j) + (dots < j ? covered - 1 : 0);
      };
      GS_CHECK(
          x.size(axis(i)) == x.size(axis(twin)),
          "einsum(): subscript {} is repeated for operand {} but the sizes don't match, {} != {}",
          std::string(1, s[i]), k, x.size(axis(twin)), x.size(axis(i)));
      const int64_t to = axis(i);
      x = movedim(diagonal(x, 0, axis(i), axis(twin)), {-1}, {to});
      s.erase(twin, 1);
      --i;
    }
    const bool has = s.find(kEllipsis) != std::string::npos;
    const int covered = x.ndim() - (static_cast<int>(s.size()) - (has ? 1 : 0));
    // source[axis of the common list] = axis of x
    std::array<int, kMaxDims> source;
    source.fill(-1);
    int at = 0;
    for (const char c : s) {
      if (c == kEllipsis) {
        for (int e = 0; e < covered; ++e)
          source[static_cast<size_t>(ellipsis_at + ellipsis_axes - covered + e)] = at++;
      } else {
        source[static_cast<size_t>(place[static_cast<size_t>(c)])] = at++;
      }
    }
    Dims order;
    for (int d = 0; d < n_axes; ++d) {
      if (source[static_cast<size_t>(d)] >= 0) order.push_back(source[static_cast<size_t>(d)]);
    }
    x = permute(x, order);
    for (int d = 0; d < n_axes; ++d) {
      if (source[static_cast<size_t>(d)] < 0) x = unsqueeze(x, d);
    }
    terms.push_back(x);
  }
  const auto axis_name = [&](int d) {
    for (char c = 'A'; c <= 'z'; ++c) {
      if (place[static_cast<size_t>(c)] == d) return std::string(1, c);
    }
    return std::string("...");
  };
  for (int d = 0; d < n_axes; ++d) {
    int64_t size = 1;
    for (size_t k = 0; k < terms.size(); ++k) {
      const int64_t s = terms[k].sizes()[d];
      GS_CHECK(s == 1 || size == 1 || s == size,
               "einsum(): subscript {} has size {} for operand {} which does not broadcast with "
               "previously seen size {}",
               axis_name(d), s, k, size);
      if (s != 1) size = s;
    }
  }

  uint32_t pending = 0;
  for (int d = n_output; d < n_axes; ++d) pending |= 1u << d;
  Tensor result = terms[0];
  if (terms.size() == 1) {
    Dims axes;
    for (int d = n_output; d < n_axes; ++d) axes.push_back(d);
    if (!axes.empty()) result = sum(result, axes, true);
  }
  for (size_t k = 1; k < terms.size(); ++k) {
    uint32_t now = pending;
    for (int d = n_output; d < n_axes; ++d) {
      for (size_t later = k + 1; later < terms.size(); ++later) {
        if (terms[later].sizes()[d] != 1) now &= ~(1u << d);
      }
    }
    result = contract(result, terms[k], now);
    pending &= ~now;
  }
  Dims gone;
  for (int d = n_output; d < n_axes; ++d) gone.push_back(d);
  return gone.empty() ? result : squeeze(result, gone);
}

// ---- products of axes ----

Tensor tensordot(const Tensor& first, const Tensor& second, const Dims& dims_a,
                 const Dims& dims_b) {
  Tensor a = first, b = second;
  GS_CHECK(dims_a.size() == dims_b.size(), "both dimension lists should have same length");
  GS_CHECK(a.dtype() == b.dtype(), "both inputs should have same dtype");
  uint32_t in_a = 0, in_b = 0;
  Dims order_a, order_b, sizes;
  int64_t summed = 1;
  for (int k = 0; k < dims_a.size(); ++k) {
    const int64_t da = wrap_dim(dims_a[k], a.ndim()), db = wrap_dim(dims_b[k], b.ndim());
    // A contracted axis of size 1 broadcasts.
    if (a.size(da) == 1 && b.size(db) != 1) b = sum(b, {db}, true, b.dtype());
    if (b.size(db) == 1 && a.size(da) != 1) a = sum(a, {da}, true, a.dtype());
    GS_CHECK(a.size(da) == b.size(db),
             "contracted dimensions need to match, but first has size {} in dim {} and second has "
             "size {} in dim {}",
             a.size(da), da, b.size(db), db);
    in_a |= 1u << da;
    in_b |= 1u << db;
    summed *= a.size(da);
  }
  int64_t rows = 1, cols = 1;
  for (int d = 0; d < a.ndim(); ++d) {
    if (in_a >> d & 1) continue;
    order_a.push_back(d);
    sizes.push_back(a.sizes()[d]);
    rows *= a.sizes()[d];
  }
  for (int k = 0; k < dims_a.size(); ++k) order_a.push_back(wrap_dim(dims_a[k], a.ndim()));
  for (int k = 0; k < dims_b.size(); ++k) order_b.push_back(wrap_dim(dims_b[k], b.ndim()));
  for (int d = 0; d < b.ndim(); ++d) {
    if (in_b >> d & 1) continue;
    order_b.push_back(d);
    sizes.push_back(b.sizes()[d]);
    cols *= b.sizes()[d];
  }
  const Tensor left = reshape(permute(a, order_a), {rows, summed});
  const Tensor right = reshape(permute(b, order_b), {summed, cols});
  return reshape(mm(left, right), sizes);
}

Tensor inner(const Tensor& a, const Tensor& b) {
  if (a.ndim() == 0 || b.ndim() == 0) return mul(a, b);
  GS_CHECK(a.sizes().back() == b.sizes().back(),
           "inner() the last dimension must match on both input tensors but got shapes {} and {}",
           a.sizes(), b.sizes());
  return tensordot(a, b, {-1}, {-1});
}

Tensor kron(const Tensor& a, const Tensor& b) {
  const int n = std::max(a.ndim(), b.ndim());
  Dims sizes_a, sizes_b, sizes;
  for (int d = 0; d < n; ++d) {
    const int64_t sa = d < n - a.ndim() ? 1 : a.sizes()[d - n + a.ndim()];
    const int64_t sb = d < n - b.ndim() ? 1 : b.sizes()[d - n + b.ndim()];
    sizes_a.push_back(sa);
    sizes_a.push_back(1);
    sizes_b.push_back(1);
    sizes_b.push_back(sb);
    sizes.push_back(sa * sb);
  }
  return reshape(mul(reshape(a, sizes_a), reshape(b, sizes_b)), sizes);
}

Tensor cross(const Tensor& a, const Tensor& b, std::optional<int64_t> dim) {
  const Dims sizes = broadcast(a.sizes(), b.sizes());
  const Tensor x = expand(a, sizes), y = expand(b, sizes);
  int64_t axis = -1;
  if (dim) {
    axis = wrap_dim(*dim, x.ndim());
  } else {
    for (int d = 0; d < x.ndim() && axis < 0; ++d) {
      if (x.sizes()[d] == 3) axis = d;
    }
    GS_CHECK(axis >= 0, "no dimension of size 3 in input");
  }
  GS_CHECK(x.size(axis) == 3, "linalg.cross: inputs dimension {} must have length 3. Got {} and {}",
           axis, a.size(axis), b.size(axis));
  // (a x b)[i] = a[i + 1] b[i + 2] - a[i + 2] b[i + 1]
  const auto turned = [&](const Tensor& t, int64_t by) { return roll(t, {-by}, {axis}); };
  return sub(mul(turned(x, 1), turned(y, 2)), mul(turned(x, 2), turned(y, 1)));
}

Tensor chain_matmul(std::span<const Tensor> matrices) {
  GS_CHECK(!matrices.empty(), "chain_matmul(): Expected one or more matrices");
  const size_t n = matrices.size();
  for (const Tensor& m : matrices) {
    GS_CHECK(m.ndim() == 2, "Tensor dimension is {}, expected 2 instead.", m.ndim());
  }
  // cost[i][j]: the fewest multiplications for matrices i..j; cut[i][j]: where the last product
  // splits them.
  std::vector<std::vector<double>> cost(n, std::vector<double>(n, 0));
  std::vector<std::vector<size_t>> cut(n, std::vector<size_t>(n, 0));
  for (size_t length = 1; length < n; ++length) {
    for (size_t i = 0; i + length < n; ++i) {
      const size_t j = i + length;
      cost[i][j] = INFINITY;
      for (size_t k = i; k < j; ++k) {
        const double last = static_cast<double>(matrices[i].size(0)) *
                            static_cast<double>(matrices[k].size(1)) *
                            static_cast<double>(matrices[j].size(1));
        const double total = cost[i][k] + cost[k + 1][j] + last;
        if (total < cost[i][j]) {
          cost[i][j] = total;
          cut[i][j] = k;
        }
      }
    }
  }
  const auto product = [&](const auto& self, size_t i, size_t j) -> Tensor {
    return i == j ? matrices[i] : mm(self(self, i, cut[i][j]), self(self, cut[i][j] + 1, j));
  };
  return product(product, 0, n - 1);
}

// ---- distances and layers ----

namespace {

Tensor zero_where(const Tensor& condition, const Tensor& x) { return where(condition, 0, x); }

// dx1 = sum over the rows of x2 of (x1 - x2) * dy / distance: a matrix product.
void euclidean_backward(Backward& b) {
  const Tensor x1 = b.saved(0), x2 = b.saved(1), y = b.saved(2);
  const Tensor ratio = zero_where(eq(y, 0), b.grad() / y);
  if (b.needs(0)) b.set(0, x1 * sum(ratio, {-1}, true) - matmul(ratio, x2));
  if (b.needs(1)) {
    b.set(1, x2 * unsqueeze(sum(ratio, {-2}), -1) - matmul(transpose(ratio, -1, -2), x1));
  }
}

/// |a - b|^2 = |a|^2 - 2 ab + |b|^2 as one product of [-2a, |a|^2, 1] and [b, 1, |b|^2].
Tensor euclidean(const Tensor& x1, const Tensor& x2) {
  static const Op& op = define("euclidean_dist", &euclidean_backward);
  static const Op& clamp_min = Op::get("clamp_min");
  static const Op& root = Op::get("sqrt");
  const Tensor y = [&] {
    const GradMode off(false);
    const Tensor norm1 = sum(square(x1), {-1}, true), norm2 = sum(square(x2), {-1}, true);
    const Tensor left[] = {mul(x1, -2), norm1, ones_like(norm1)};
    const Tensor right[] = {x2, ones_like(norm2), norm2};
    const Tensor squares = matmul(cat(left, -1), transpose(cat(right, -1), -1, -2));
    map_inplace(clamp_min, {squares, 0});
    return map_inplace(root, {squares});
  }();
  if (needs_grad(x1, x2)) {
    record(op, params(), {&y}, {&x1, &x2}, {keep(x1), keep(x2), keep_output(y)});
  }
  return y;
}

/// As the kernel, in ops: where the gradient is differentiated itself.
Tensor distance_slopes(const Tensor& x1, const Tensor& x2, const Tensor& y, const Tensor& dy,
                       double p) {
  const Tensor d = sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), size = abs(d);
  const Tensor distance = unsqueeze(y, -1), g = unsqueeze(dy, -1);
  if (p == 1) return sign(d) * g;
  if (std::isinf(p)) return where(eq(size, distance), sign(d) * g, 0);
  const Tensor factor = zero_where(eq(distance, 0), g / pow(distance, p - 1));
  return zero_where(eq(d, 0), sign(d) * pow(size, p - 1)) * factor;
}

void cdist_backward(Backward& b) {
  static const Op& kernel = Op::get("cdist_grad");
  const Tensor x1 = b.saved(0), x2 = b.saved(1), y = b.saved(2), dy = b.grad();
  const double p = b.f(0);
  if (p == 0) {
    b.set(0, zeros_like(x1));
    return b.set(1, zeros_like(x2));
  }
  if (grad_enabled()) {
    const Tensor slopes = distance_slopes(x1, x2, y, dy, p);
    b.set(0, sum(slopes, {-2}));
    return b.set(1, neg(sum(slopes, {-3})));
  }
  const auto launch_for = [&](int k, const Tensor& a, const Tensor& c, const Tensor& g,
                              const Tensor& distance) {
    const Tensor dx = empty(a.sizes(), options_of(a)), dense_g = contiguous(g);
    const Tensor dense_distance = contiguous(distance);
    run(kernel, params(p), {&dx}, {&dense_g, &a, &c, &dense_distance});
    b.set(k, dx);
  };
  if (b.needs(0)) launch_for(0, x1, x2, dy, y);
  if (b.needs(1)) launch_for(1, x2, x1, transpose(dy, -1, -2), transpose(y, -1, -2));
}

}  // namespace

Tensor cdist(const Tensor& x1, const Tensor& x2, double p, const std::string& mode) {
  static const Op& op = define("cdist", &cdist_backward);
  constexpr int64_t kManyRows = 25;  // from which PyTorch takes the product
  GS_CHECK(x1.ndim() >= 2, "cdist only supports at least 2D tensors, X1 got: {}D", x1.ndim());
  GS_CHECK(x2.ndim() >= 2, "cdist only supports at least 2D tensors, X2 got: {}D", x2.ndim());
  GS_CHECK(x1.size(-1) == x2.size(-1),
           "X1 and X2 must have the same number of columns. X1: {} X2: {}", x1.size(-1),
           x2.size(-1));
  for (const Tensor* x : {&x1, &x2}) {
    GS_CHECK(is_floating(x->dtype()), "cdist only supports floating-point dtypes, X{} got: {}",
             x == &x1 ? 1 : 2, scalar_name(x->dtype()));
  }
  GS_CHECK(p >= 0, "cdist only supports non-negative p values");
  const bool product = mode == "use_mm_for_euclid_dist";
  const bool by_size = mode.empty() || mode == "use_mm_for_euclid_dist_if_necessary";
  GS_CHECK_VALUE(product || by_size || mode == "donot_use_mm_for_euclid_dist",
                 "{} is not a valid value for compute_mode", mode);
  common_device({&x1, &x2}, "cdist");
  const DType type = promote(x1.dtype(), x2.dtype());
  if (is_half(type)) {
    return to(cdist(to(x1, DType::Float32), to(x2, DType::Float32), p, mode), type);
  }
  const int64_t rows1 = x1.size(-2), rows2 = x2.size(-2), width = x1.size(-1);
  const Dims batch =
      broadcast(Dims(x1.sizes().begin(), x1.ndim() - 2), Dims(x2.sizes().begin(), x2.ndim() - 2));
  const auto flat = [&](const Tensor& x, int64_t rows) {
    Dims sizes = batch;
    sizes.push_back(rows);
    sizes.push_back(width);
    return contiguous(reshape(expand(to(x, type), sizes), {count_elements(batch), rows, width}));
  };
  const Tensor a = flat(x1, rows1), b = flat(x2, rows2);
  Dims sizes = batch;
  sizes.push_back(rows1);
  sizes.push_back(rows2);
  if (p == 2 && width != 0 && a.numel() != 0 && b.numel() != 0 &&
      (product || (by_size && (rows1 > kManyRows || rows2 > kManyRows)))) {
    return reshape(euclidean(a, b), sizes);
  }
  const Tensor y = empty({a.sizes()[0], rows1, rows2}, options_of(a));
  if (y.numel() != 0) run(op, params(p), {&y}, {&a, &b});
  if (needs_grad(a, b)) {
    record(op, params(p), {&y}, {&a, &b}, {keep(a), keep(b), keep_output(y)});
  }
  return reshape(y, sizes);
}

Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& weight, const Tensor& bias) {
  GS_CHECK(x1.ndim() == x2.ndim(), "bilinear(): input dimensions do not match: got {} and {}",
           x1.ndim(), x2.ndim());
  for (int d = 0; d + 1 < x1.ndim(); ++d) {
    GS_CHECK(x1.sizes()[d] == x2.sizes()[d],
             "bilinear(): input batch dimensions do not match at dim {}: got {} and {}", d,
             x1.sizes()[d], x2.sizes()[d]);
  }
  GS_CHECK(x1.size(-1) == weight.size(1),
           "bilinear(): input1 size does not match weight size: got {} but expected {}",
           x1.size(-1), weight.size(1));
  GS_CHECK(x2.size(-1) == weight.size(2),
           "bilinear(): input2 size does not match weight size: got {} but expected {}",
           x2.size(-1), weight.size(2));
  GS_CHECK(!bias.defined() || bias.size(0) == weight.size(0),
           "bilinear(): bias size does not match weight size: got {} but expected {}", bias.size(0),
           weight.size(0));
  const int64_t n_out = weight.size(0), n1 = weight.size(1), n2 = weight.size(2);
  const int64_t rows = count_elements(Dims(x1.sizes().begin(), x1.ndim() - 1));
  const Tensor left =
      mm(reshape(x1, {rows, n1}), reshape(permute(weight, {1, 0, 2}), {n1, n_out * n2}));
  const Tensor y = squeeze(bmm(reshape(left, {rows, n_out, n2}), reshape(x2, {rows, n2, 1})), {-1});
  Dims sizes = x1.sizes();
  sizes[x1.ndim() - 1] = n_out;
  const Tensor out = reshape(y, sizes);
  return bias.defined() ? add(out, bias) : out;
}

Tensor normalize(const Tensor& x, double p, int64_t dim, double eps) {
  const Tensor norm = map(Op::get("clamp_min"), {vector_norm(x, p, {dim}, true), eps});
  return div(x, norm);
}

}  // namespace gradstep
