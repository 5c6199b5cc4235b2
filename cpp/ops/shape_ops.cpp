// SPDX-License-Identifier: Apache-2.0
// Joining, repeating, turning and padding: checks, shapes and derivatives.
#include "ops/shape_ops.h"

#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/resample.h"
#include "ops/view.h"

namespace gradstep {

namespace {
Dims dims_from(const Backward& b, int slot) {
  return Dims(&b.node.params.s[slot].i, b.node.params.count - slot);
}
}  // namespace

// ---- cat and stack ----

namespace {

// dx_k = its part of dy
void cat_backward(Backward& b) {
  const int64_t dim = b.i(0);
  int64_t start = 0;
  const Tensor sizes = b.saved(0);  // int64 [n]: each input's size along dim, -1 for a skipped one
  const Tensor types = b.saved(1);
  for (int k = 0; k < b.node.n_edges; ++k) {
    const int64_t n = sizes.data<int64_t>()[k];
    const auto type = static_cast<DType>(types.data<int64_t>()[k]);
    if (b.needs(k)) {
      b.set(k, n < 0 ? zeros({0}, {type, b.grad().device()})
                     : to(narrow(b.grad(), dim, start, n), type));
    }
    start += std::max<int64_t>(n, 0);
  }
}

/// The empty 1-d tensor that PyTorch lets stand anywhere in cat.
bool is_skipped(const Tensor& t) { return t.ndim() == 1 && t.sizes()[0] == 0; }

DType common_type(std::span<const Tensor> tensors) {
  const DType first = tensors[0].dtype();
  bool same = true;
  for (const Tensor& t : tensors) same &= t.dtype() == first;
  if (same) return first;
  std::vector<Operand> operands(tensors.begin(), tensors.end());
  return result_type(operands);
}

constexpr size_t kMaxParts = 60000;  // of one call: its operands are counted in 16 bits

/// Copies tensors one behind the other into out along dim and records the node.
void run_cat(const Tensor& out, std::span<const Tensor> tensors, int64_t dim) {
  static const Op& op = define("cat", &cat_backward);
  constexpr size_t kInline = 8;
  Tensor converted[kInline];
  std::vector<Tensor> many;
  Tensor* list = converted;
  if (tensors.size() > kInline) {
    many.resize(tensors.size());
    list = many.data();
  }
  size_t n = 0;
  {
    const GradMode off(false);
    for (const Tensor& t : tensors) {
      if (t.numel() != 0) list[n++] = to(t, out.dtype());
    }
  }
  const Tensor* fixed[kInline];
  std::vector<const Tensor*> many_pointers;
  const Tensor** pointers = fixed;
  if (tensors.size() > kInline) {
    many_pointers.resize(tensors.size());
    pointers = many_pointers.data();
  }
  for (size_t k = 0; k < n; ++k) pointers[k] = &list[k];
  const Tensor* outputs[] = {&out};
  if (n != 0) run(op, params(dim), outputs, {pointers, n}, compute_type(out.dtype()));
  if (!needs_grad(tensors) || !is_floating(out.dtype())) return;
  const auto count = static_cast<int64_t>(tensors.size());
  const Tensor sizes = empty({count}, DType::Int64), types = empty({count}, DType::Int64);
  std::vector<const Tensor*> inputs;
  for (int64_t k = 0; k < count; ++k) {
    const Tensor& t = tensors[static_cast<size_t>(k)];
    sizes.data<int64_t>()[k] =
        is_skipped(t) && out.ndim() != 1 ? -1 : t.sizes()[static_cast<int>(dim)];
    types.data<int64_t>()[k] = static_cast<int64_t>(t.dtype());
    inputs.push_back(&t);
  }
  const Save saves[] = {keep(sizes), keep(types)};
  record(op, params(dim), outputs, inputs, saves);
}

}  // namespace

Tensor cat(std::span<const Tensor> tensors, int64_t dim) {
  GS_CHECK_VALUE(!tensors.empty(), "torch.cat(): expected a non-empty list of Tensors");
  const Tensor* first = nullptr;
  for (size_t k = 0; k < tensors.size(); ++k) {
    GS_CHECK(tensors[k].ndim() != 0,
             "zero-dimensional tensor (at position {}) cannot be concatenated", k);
    if (!first && !is_skipped(tensors[k])) first = &tensors[k];
  }
  if (!first) first = &tensors[0];
  dim = wrap_dim(dim, first->ndim());
  Dims sizes = first->sizes();
  int64_t total = 0;
  for (size_t k = 0; k < tensors.size(); ++k) {
    const Tensor& t = tensors[k];
    if (is_skipped(t)) continue;
    GS_CHECK(t.ndim() == first->ndim(),
             "Tensors must have same number of dimensions: got {} and {}", first->ndim(), t.ndim());
    GS_CHECK(
        t.device() == first->device(),
        "Expected all tensors to be on the same device, but found at least two devices, {} and {}!",
        first->device(), t.device());
    for (int d = 0; d < sizes.size(); ++d) {
      GS_CHECK(d == dim || t.sizes()[d] == sizes[d],
               "Sizes of tensors must match except in dimension {}. Expected size {} but got size "
               "{} for tensor "
               "number {} in the list.",
               dim, sizes[d], t.sizes()[d], k);
    }
    GS_CHECK(!__builtin_add_overflow(total, t.sizes()[static_cast<int>(dim)], &total),
             "Storage size calculation overflowed with sizes={}", t.sizes());
  }
  if (tensors.size() > kMaxParts) {
    std::vector<Tensor> parts;
    for (size_t k = 0; k < tensors.size(); k += kMaxParts) {
      parts.push_back(cat(tensors.subspan(k, std::min(kMaxParts, tensors.size() - k)), dim));
    }
    return cat(parts, dim);
  }
  sizes[static_cast<int>(dim)] = total;
  const Tensor out = empty(sizes, common_type(tensors), first->device());
  run_cat(out, tensors, dim);
  return out;
}

Tensor stack(std::span<const Tensor> tensors, int64_t dim) {
  GS_CHECK(!tensors.empty(), "stack expects a non-empty TensorList");
  const Dims& sizes = tensors[0].sizes();
  dim = wrap_dim(dim, sizes.size() + 1);
  std::vector<Tensor> parts;
  parts.reserve(tensors.size());
  const bool history = needs_grad(tensors);
  Dims longer = sizes;
  longer.insert(static_cast<int>(dim), 1);
  for (size_t k = 0; k < tensors.size(); ++k) {
    const Tensor& t = tensors[k];
    GS_CHECK(t.sizes() == sizes,
             "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {}",
             sizes, t.sizes(), k);
    if (history) {
      parts.push_back(unsqueeze(t, dim));
    } else {
      Dims strides = t.strides();
      strides.insert(static_cast<int>(dim), 1);
      parts.push_back(alias(t, longer, strides, t.offset()));
    }
  }
  return cat(parts, dim);
}

namespace {
template <class F>
std::vector<Tensor> each(std::span<const Tensor> tensors, F&& f) {
  std::vector<Tensor> out;
  out.reserve(tensors.size());
  for (const Tensor& t : tensors) out.push_back(f(t));
  return out;
}
}  // namespace

Tensor hstack(std::span<const Tensor> tensors) {
  GS_CHECK(!tensors.empty(), "hstack expects a non-empty TensorList");
  const std::vector<Tensor> parts = each(tensors, &atleast_1d);
  return cat(parts, parts[0].ndim() == 1 ? 0 : 1);
}

Tensor vstack(std::span<const Tensor> tensors) {
  GS_CHECK(!tensors.empty(), "vstack expects a non-empty TensorList");
  return cat(each(tensors, &atleast_2d), 0);
}

Tensor dstack(std::span<const Tensor> tensors) {
  GS_CHECK(!tensors.empty(), "dstack expects a non-empty TensorList");
  return cat(each(tensors, &atleast_3d), 2);
}

Tensor column_stack(std::span<const Tensor> tensors) {
  GS_CHECK(!tensors.empty(), "column_stack expects a non-empty TensorList");
  return hstack(each(
      tensors, [](const Tensor& t) { return t.ndim() <= 1 ? reshape(t, {t.numel(), 1}) : t; }));
}

Tensor block_diag(std::span<const Tensor> tensors) {
  int64_t rows = 0, cols = 0;
  for (size_t k = 0; k < tensors.size(); ++k) {
    GS_CHECK(tensors[k].ndim() <= 2,
             "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {} has {} "
             "dimensions",
             k, tensors[k].ndim());
  }
  const std::vector<Tensor> parts = each(tensors, &atleast_2d);
  for (const Tensor& t : parts) {
    rows += t.sizes()[0];
    cols += t.sizes()[1];
  }
  if (parts.empty()) return empty({1, 0}, default_dtype());
  const Tensor out = zeros({rows, cols}, {common_type(tensors), parts[0].device()});
  rows = cols = 0;
  for (const Tensor& t : parts) {
    copy_(narrow(narrow(out, 0, rows, t.sizes()[0]), 1, cols, t.sizes()[1]), t);
    rows += t.sizes()[0];
    cols += t.sizes()[1];
  }
  return out;
}

// ---- repeating ----

namespace {

// dx = the sum of dy over the copies
void repeat_backward(Backward& b) {
  const Dims sizes = dims_from(b, 0);
  Tensor g = b.grad();
  const int extra = g.ndim() - sizes.size();
  for (int d = 0; d < g.ndim(); ++d) {
    const int64_t n = d < extra ? 1 : sizes[d - extra];
    if (g.sizes()[d] == n) continue;
    if (g.sizes()[d] == 0 || n == 0) {
      b.set(0, zeros(sizes, options_of(g)));
      return;
    }
    // [outer, copies, n * inner]
    Dims after = g.sizes();
    after[d] = n;
    int64_t outer = 1, rest = n;
    for (int k = 0; k < d; ++k) outer *= g.sizes()[k];
    for (int k = d + 1; k < g.ndim(); ++k) rest *= g.sizes()[k];
    const int64_t copies = g.sizes()[d] / n;
    g = reshape(sum_to_size(reshape(g, {outer, copies, rest}), {outer, 1, rest}), after);
  }
  b.set(0, reshape(g, sizes));
}

}  // namespace

Tensor repeat(const Tensor& x, const Dims& repeats) {
  static const Op& op = define("repeat", &repeat_backward);
  GS_CHECK(
      repeats.size() >= x.ndim(),
      "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  Dims padded = x.sizes(), strides = x.strides();
  while (padded.size() < repeats.size()) {
    padded.insert(0, 1);
    strides.insert(0, 0);
  }
  Dims sizes = padded;
  for (int d = 0; d < sizes.size(); ++d) {
    GS_CHECK(!__builtin_mul_overflow(sizes[d], repeats[d], &sizes[d]),
             "Storage size calculation overflowed with sizes={} and repeats={}", padded, repeats);
  }
  const Tensor out = empty(sizes, options_of(x));
  const Tensor from = alias(x, padded, strides, x.offset());
  if (out.numel() != 0) run(op, params(), {&out}, {&from});
  if (needs_grad(x)) record(op, params(x.sizes()), {&out}, {&x}, {});
  return out;
}

Tensor tile(const Tensor& x, const Dims& repeats) {
  Dims all = repeats;
  while (all.size() < x.ndim()) all.insert(0, 1);
  return repeat(x, all);
}

namespace {
int64_t index_sum(const Tensor& repeats) {
  if (repeats.numel() == 0) return 0;
  const IndexStatistics range = index_statistics(repeats);
  GS_CHECK(range.low >= 0, "repeats can not be negative");
  GS_CHECK(range.high <= (int64_t{1} << 60) / repeats.numel(),
           "Storage size calculation overflowed with repeats up to {}", range.high);
  return range.sum;
}
}  // namespace

Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size) {
  static const Op& op = Op::get("repeat_interleave_index");
  GS_CHECK(repeats.ndim() == 1, "repeat_interleave only accept 1D vector as repeat");
  GS_CHECK_KIND(NotImplemented, repeats.dtype() == DType::Int64 || repeats.dtype() == DType::Int32,
                "\"repeat_interleave_cpu\" not implemented for '{}'", scalar_name(repeats.dtype()));
  const Tensor r = contiguous(to(repeats, DType::Int64));
  const int64_t total = index_sum(r);
  GS_CHECK(!output_size || *output_size == total, "allocated size does not match required size");
  const Tensor out = empty({total}, DType::Int64, repeats.device());
  run(op, params(), {&out}, {&r});
  return repeats.dtype() == DType::Int64 ? out : to(out, repeats.dtype());
}

Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim,
                         std::optional<int64_t> output_size) {
  const Tensor input = dim ? x : reshape(x, {-1});
  const int64_t d = dim.value_or(0);
  GS_CHECK(repeats.ndim() <= 1, "repeats must be 0-dim or 1-dim tensor");
  const int64_t n = input.ndim() == 0 ? 1 : input.size(d);
  Tensor r = repeats;
  if (r.numel() == 1 && n != 1) {
    r = expand(reshape(r, {1}), {n});
  } else if (r.ndim() == 0) {
    r = reshape(r, {1});
  }
  GS_CHECK(r.numel() == n,
           "repeats must have the same size as input along dim, but got repeats.size(0) = {} and "
           "input.size({}) = "
           "{}",
           r.numel(), d, n);
  return index_select(input, d, repeat_interleave(r, output_size));
}

Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim) {
  GS_CHECK(repeats >= 0, "Repeats must be non-negative");
  const Tensor input = dim ? x : reshape(x, {-1});
  const int64_t d = wrap_dim(dim.value_or(0), input.ndim());
  if (input.ndim() == 0) return repeat(input, {repeats});
  // A new axis of copies behind dim, merged with it.
  Dims sizes = input.sizes(), merged = sizes;
  const int at = static_cast<int>(d);
  if (sizes.size() == kMaxDims) {
    return repeat_interleave(input, full({1}, repeats, {DType::Int64, x.device()}), d,
                             std::nullopt);
  }
  sizes.insert(at + 1, repeats);
  merged[at] = count_elements({merged[at], repeats});
  return reshape(clone(expand(unsqueeze(input, d + 1), sizes)), merged);
}

// ---- turning ----

namespace {

void flip_backward(Backward& b) { b.set(0, flip(b.grad(), dims_from(b, 0))); }

// dx = dy rolled back; params: n, shifts, axes
void roll_backward(Backward& b) {
  const auto n = static_cast<int>(b.i(0));
  Dims shifts, dims;
  for (int k = 0; k < n; ++k) {
    shifts.push_back(-b.i(1 + k));
    dims.push_back(b.i(1 + n + k));
  }
  b.set(0, roll(b.grad(), shifts, dims));
}

}  // namespace

Tensor flip(const Tensor& x, const Dims& dims) {
  static const Op& op = define("flip", &flip_backward);
  const uint32_t mask = dims.empty() ? 0 : dim_mask(dims, x.ndim());
  const Tensor out = empty_like(x);
  run(op, params(int64_t{mask}), {&out}, {&x});
  if (needs_grad(x)) record(op, params(dims), {&out}, {&x}, {});
  return out;
}

Tensor fliplr(const Tensor& x) {
  GS_CHECK(x.ndim() >= 2, "Input must be >= 2-d.");
  return flip(x, {1});
}

Tensor flipud(const Tensor& x) {
  GS_CHECK(x.ndim() >= 1, "Input must be >= 1-d.");
  return flip(x, {0});
}

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims) {
  static const Op& op = define("roll", &roll_backward);
  if (dims.empty() && shifts.size() == 1)
    return reshape(roll(reshape(x, {-1}), shifts, {0}), x.sizes());
  GS_CHECK(!shifts.empty(), "`shifts` required");
  GS_CHECK(shifts.size() == dims.size(), "shifts and dimensions must align. shifts: {}, dims:{}",
           shifts.size(), dims.size());
  GS_CHECK(shifts.size() <= 5, "roll: at most 5 axes at once are supported, got {}", shifts.size());
  Tensor out = x;
  {
    const GradMode off(false);
    for (int k = 0; k < shifts.size(); ++k) {
      const int64_t d = wrap_dim(dims[k], x.ndim());
      const int64_t n = x.ndim() == 0 ? 1 : x.sizes()[static_cast<int>(d)];
      const int64_t s = n == 0 ? 0 : ((shifts[k] % n) + n) % n;
      if (s != 0) out = cat({narrow(out, d, n - s, s), narrow(out, d, 0, n - s)}, d);
    }
    if (out.get() == x.get()) out = clone(x);
  }
  if (needs_grad(x)) record(op, params(int64_t{shifts.size()}, shifts, dims), {&out}, {&x}, {});
  return out;
}

Tensor rot90(const Tensor& x, int64_t k, const Dims& dims) {
  GS_CHECK(dims.size() == 2, "expected total rotation dims == 2, but got dims = {}", dims.size());
  GS_CHECK(x.ndim() >= 2, "expected total dims >= 2, but got total dims = {}", x.ndim());
  GS_CHECK(dims[0] != dims[1] && std::abs(dims[0] - dims[1]) != x.ndim(),
           "expected rotation dims to be different, but got dim0 = {} and dim1 = {}", dims[0],
           dims[1]);
  for (const int64_t d : dims) {
    GS_CHECK(d < x.ndim() && d >= -x.ndim(), "Rotation dim{} out of range, dim{} = {}",
             d == dims[0] ? 0 : 1, d == dims[0] ? 0 : 1, d);
  }
  switch (((k % 4) + 4) % 4) {
    case 1: return clone(transpose(flip(x, {dims[1]}), dims[0], dims[1]));
    case 2: return flip(x, dims);
    case 3: return clone(transpose(flip(x, {dims[0]}), dims[0], dims[1]));
    default: return clone(x);
  }
}

// ---- triangles and diagonals ----

namespace {

void tril_backward(Backward& b) { b.set(0, tril(b.grad(), b.i(0))); }
void triu_backward(Backward& b) { b.set(0, triu(b.grad(), b.i(0))); }

Tensor triangle(const Op& op, const Tensor& x, int64_t k, bool upper, bool inplace) {
  static const Op& kernel = Op::get("triangle");
  GS_CHECK(x.ndim() >= 2, "{}: input tensor must have at least 2 dimensions", op.name);
  if (inplace) check_inplace(x, true);
  const Tensor out = inplace ? x : empty_like(x);
  run(kernel, params(k, int64_t{upper}), {&out}, {&x});
  finish_write(op, params(k), out, inplace, {&x}, {});
  return out;
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal, bool inplace) {
  static const Op& op = define("tril", &tril_backward);
  return triangle(op, x, diagonal, false, inplace);
}

Tensor triu(const Tensor& x, int64_t diagonal, bool inplace) {
  static const Op& op = define("triu", &triu_backward);
  return triangle(op, x, diagonal, true, inplace);
}

namespace {
Tensor triangle_indices(int64_t rows, int64_t cols, int64_t offset, Options options, bool upper) {
  GS_CHECK(rows >= 0, "row must be non-negative, got{}", rows);
  GS_CHECK(cols >= 0, "col must be non-negative, got{}", cols);
  static const Op& op = Op::get("triangle_indices");
  GS_CHECK_KIND(NotImplemented, options.dtype == DType::Int64 || options.dtype == DType::Int32,
                "\"{}_indices\" not implemented for '{}'", upper ? "triu" : "tril",
                scalar_name(options.dtype));
  offset = std::clamp(offset, -rows - 1, cols + 1);
  // Rows whose diagonal is left of the first column have all of it or nothing, and so on: the
  // places of the lower triangle are counted, what is above is the rest.
  const int64_t reach = upper ? offset - 1 : offset;           // the lower triangle's last diagonal
  const int64_t first = std::clamp<int64_t>(-reach, 0, rows);  // rows before have nothing
  const int64_t full = std::clamp<int64_t>(cols - reach, first, rows);  // rows from here have all
  const int64_t sloped = full - first;
  using Wide = __int128;  // rows * cols may be any two numbers of 63 bits
  const Wide lower =
      Wide(sloped) * (2 * (Wide(first) + reach) + sloped + 1) / 2 + Wide(rows - full) * cols;
  const Wide n = upper ? Wide(rows) * cols - lower : lower;
  GS_CHECK(n <= INT64_MAX / 32, "{}_indices: a triangle of {} by {} has too many places",
           upper ? "triu" : "tril", rows, cols);
  const Tensor at = empty({2, static_cast<int64_t>(n)}, options);
  run(op, params(rows, cols, reach, int64_t{upper}), {&at}, {});
  return at;
}
}  // namespace

Tensor tril_indices(int64_t rows, int64_t cols, int64_t offset, Options options) {
  return triangle_indices(rows, cols, offset, options, false);
}
Tensor triu_indices(int64_t rows, int64_t cols, int64_t offset, Options options) {
  return triangle_indices(rows, cols, offset, options, true);
}

namespace {
// dx = the diagonal of dy
void diag_embed_backward(Backward& b) { b.set(0, diagonal(b.grad(), b.i(0), b.i(1), b.i(2))); }
}  // namespace

Tensor diag_embed(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  static const Op& op = define("diag_embed", &diag_embed_backward);
  const int64_t a = wrap_dim(dim1, x.ndim() + 1), b = wrap_dim(dim2, x.ndim() + 1);
  GS_CHECK(a != b, "diagonal dimensions cannot be identical {}, {}", dim1, dim2);
  const int64_t n = x.sizes().back() + std::abs(offset);
  Dims sizes = x.sizes();
  sizes.erase(sizes.size() - 1);
  sizes.insert(static_cast<int>(std::min(a, b)), n);
  sizes.insert(static_cast<int>(std::max(a, b)), n);
  const Tensor out = zeros(sizes, options_of(x));
  {
    const GradMode off(false);
    copy_(diagonal(out, offset, a, b), x);
  }
  if (needs_grad(x)) record(op, params(offset, a, b), {&out}, {&x}, {});
  return out;
}

Tensor diag(const Tensor& x, int64_t diagonal) {
  GS_CHECK(x.ndim() == 1 || x.ndim() == 2, "diag(): Supports 1D or 2D tensors. Got {}D", x.ndim());
  return x.ndim() == 1 ? diag_embed(x, diagonal) : clone(gradstep::diagonal(x, diagonal));
}

Tensor diagflat(const Tensor& x, int64_t offset) { return diag_embed(reshape(x, {-1}), offset); }

// ---- padding ----

namespace {

// dx = dy without its border
void constant_pad_backward(Backward& b) {
  std::vector<int64_t> negative;
  for (int k = 0; k < b.node.params.count; ++k) negative.push_back(-b.i(k));
  b.set(0, pad(b.grad(), negative));
}

Tensor pad_constant(const Tensor& x, std::span<const int64_t> pad, const Scalar& value) {
  static const Op& op = define("constant_pad_nd", &constant_pad_backward);
  static const Op& copy = Op::get("copy");
  const auto n = static_cast<int>(pad.size() / 2);
  GS_CHECK(n <= x.ndim(),
           "Padding length should be less than or equal to two times the input dimension but got "
           "padding length "
           "{} and input of dimension {}",
           pad.size(), x.ndim());
  GS_CHECK(pad.size() <= Params::kSlots, "pad: at most {} axes are supported, got {}",
           Params::kSlots / 2, n);
  Dims sizes = x.sizes();
  for (int k = 0; k < n; ++k) {
    const int d = x.ndim() - 1 - k;
    const int64_t before = pad[static_cast<size_t>(2 * k)],
                  after = pad[static_cast<size_t>(2 * k + 1)];
    GS_CHECK(sizes[d] + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0) >= 0,
             "narrow(): length must be non-negative.");
    sizes[d] += before + after;
  }
  Tensor out;
  {
    const GradMode off(false);
    out = full(sizes, value, options_of(x));
    Tensor from = x, to = out;
    for (int k = 0; k < n; ++k) {
      const int d = x.ndim() - 1 - k;
      const int64_t before = pad[static_cast<size_t>(2 * k)],
                    after = pad[static_cast<size_t>(2 * k + 1)];
      const int64_t cut = std::max<int64_t>(-before, 0);
      const int64_t length = x.sizes()[d] - cut - std::max<int64_t>(-after, 0);
      from = narrow(from, d, cut, length);
      to = narrow(to, d, std::max<int64_t>(before, 0), length);
    }
    if (to.numel() != 0) run(copy, params(), {&to}, {&from});
  }
  if (needs_grad(x)) {
    Params p;
    for (const int64_t v : pad) p.push(v);
    record(op, p, {&out}, {&x}, {});
  }
  return out;
}

constexpr int64_t kMaxPad = int64_t{1} << 60;

}  // namespace

Tensor pad(const Tensor& x, std::span<const int64_t> pad, const std::string& mode,
           std::optional<Scalar> value) {
  GS_CHECK(pad.size() % 2 == 0, "Padding length must be divisible by 2");
  for (const int64_t v : pad) {
    GS_CHECK(v > -kMaxPad && v < kMaxPad,
             "Storage size calculation overflowed with a padding of {}", v);
  }
  GS_CHECK(static_cast<int>(pad.size()) <= 2 * x.ndim(),
           "Padding length should be less than or equal to two times the input dimension but got "
           "padding length "
           "{} and input of dimension {}",
           pad.size(), x.ndim());
  if (mode == "constant") return pad_constant(x, pad, value.value_or(Scalar(0)));
  GS_CHECK(!value || value->to_double() == 0, "Padding mode \"{}\" doesn't take in value argument",
           mode);
  const bool reflect = mode == "reflect", circular = mode == "circular";
  GS_CHECK_KIND(NotImplemented, reflect || circular || mode == "replicate",
                "Unrecognised padding mode {}", mode);
  const auto n = static_cast<int>(pad.size() / 2);
  GS_CHECK_KIND(NotImplemented, n >= 1 && n <= 3 && (x.ndim() == n + 1 || x.ndim() == n + 2),
                "Padding size {} is not supported for {}D input tensor.", pad.size(), x.ndim());
  for (int k = 0; k < n; ++k) {
    const int d = x.ndim() - 1 - k;
    const int64_t before = pad[static_cast<size_t>(2 * k)],
                  after = pad[static_cast<size_t>(2 * k + 1)];
    const int64_t size = x.sizes()[d];
    if (before == 0 && after == 0) continue;
    if (reflect) {
      GS_CHECK(before < size && after < size,
               "Argument #4: Padding size should be less than the corresponding input dimension, "
               "but got: padding "
               "({}, {}) at dimension {} of input {}",
               before, after, d, x.sizes());
    } else if (circular) {
      GS_CHECK(before <= size && after <= size,
               "Padding value causes wrapping around more than once.");
      GS_CHECK(before + after + size >= 0,
               "Negative padding value is resulting in an empty dimension");
    } else {
      GS_CHECK(size > 0, "Expected non-empty input for replicate padding, but got {}", x.sizes());
    }
    GS_CHECK(size + before + after > 0,
             "input (size {}) is too small for padding ({}, {}) at dimension {}", size, before,
             after, d);
  }
  return pad_repeat(x, pad,
                    reflect    ? Border::Reflect
                    : circular ? Border::Circular
                               : Border::Replicate);
}

// ---- combining shapes ----

std::vector<Tensor> broadcast_tensors(std::span<const Tensor> tensors) {
  Dims sizes;
  for (const Tensor& t : tensors) sizes = broadcast(sizes, t.sizes());
  return each(tensors, [&](const Tensor& t) { return expand(t, sizes); });
}

std::vector<Tensor> meshgrid(std::span<const Tensor> tensors, const std::string& indexing) {
  GS_CHECK(!tensors.empty(), "meshgrid expects a non-empty TensorList");
  GS_CHECK(indexing == "ij" || indexing == "xy",
           "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {}", indexing);
  for (const Tensor& t : tensors) {
    GS_CHECK(t.dtype() == tensors[0].dtype(),
             "meshgrid expects all tensors to have the same dtype");
    GS_CHECK(t.ndim() <= 1,
             "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {}D", t.ndim());
  }
  std::vector<Tensor> in(tensors.begin(), tensors.end());
  const bool swap = indexing == "xy" && in.size() >= 2;
  if (swap) std::swap(in[0], in[1]);
  Dims sizes;
  for (const Tensor& t : in) sizes.push_back(t.numel());
  for (size_t k = 0; k < in.size(); ++k) {
    Dims own = Dims::filled(sizes.size(), 1);
    own[static_cast<int>(k)] = in[k].numel();
    in[k] = expand(view(in[k].contiguous() ? in[k] : contiguous(in[k]), own), sizes);
  }
  if (swap) std::swap(in[0], in[1]);
  return in;
}

namespace {
void check_vector(const Tensor& t) {
  GS_CHECK(t.ndim() == 1, "Expect a 1D vector, but got shape {}", t.sizes());
}
}  // namespace

Tensor cartesian_prod(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) check_vector(t);
  if (tensors.size() == 1) return tensors[0];
  return stack(each(meshgrid(tensors), [](const Tensor& t) { return reshape(t, {-1}); }), 1);
}

Tensor combinations(const Tensor& x, int64_t r, bool with_replacement) {
  check_vector(x);
  GS_CHECK(r >= 0, "Expect a non-negative number, but got {}", r);
  if (r == 0) return empty({0}, options_of(x));
  const Tensor places = arange(0, x.numel(), 1, {DType::Int64, x.device()});
  const std::vector<Tensor> grids = meshgrid(std::vector<Tensor>(static_cast<size_t>(r), places));
  Tensor mask = ones(grids[0].sizes(), {DType::Bool, x.device()});
  for (size_t k = 0; k + 1 < grids.size(); ++k) {
    mask = logical_and(mask,
                       with_replacement ? le(grids[k], grids[k + 1]) : lt(grids[k], grids[k + 1]));
  }
  return stack(
      each(grids, [&](const Tensor& g) { return index_select(x, 0, masked_select(g, mask)); }), 1);
}

Tensor atleast_1d(const Tensor& x) { return x.ndim() == 0 ? view(x, {1}) : x; }

Tensor atleast_2d(const Tensor& x) {
  return x.ndim() == 0 ? view(x, {1, 1}) : x.ndim() == 1 ? unsqueeze(x, 0) : x;
}

Tensor atleast_3d(const Tensor& x) {
  switch (x.ndim()) {
    case 0: return view(x, {1, 1, 1});
    case 1: return unsqueeze(unsqueeze(x, 0), 2);
    case 2: return unsqueeze(x, 2);
    default: return x;
  }
}

// ---- splitting ----

namespace {
constexpr int64_t kMaxSections = int64_t{1}
                                 << 26;  // more tensors than the memory of a machine holds
}

std::vector<Tensor> tensor_split(const Tensor& x, int64_t sections, int64_t dim) {
  GS_CHECK(x.ndim() > 0,
           "tensor_split expected at least a 1-dimensional tensor, but got a tensor with {} dims",
           x.ndim());
  dim = wrap_dim(dim, x.ndim());
  GS_CHECK(sections > 0, "number of sections must be larger than 0, got {}", sections);
  GS_CHECK(sections <= kMaxSections, "number of sections must be at most {}, got {}", kMaxSections,
           sections);
  const int64_t n = x.size(dim);
  std::vector<Tensor> out;
  int64_t start = 0;
  for (int64_t k = 0; k < sections; ++k) {
    const int64_t length = n / sections + (k < n % sections ? 1 : 0);
    out.push_back(slice(x, dim, start, start + length));
    start += length;
  }
  return out;
}

std::vector<Tensor> tensor_split(const Tensor& x, std::span<const int64_t> borders, int64_t dim) {
  GS_CHECK(x.ndim() > 0,
           "tensor_split expected at least a 1-dimensional tensor, but got a tensor with {} dims",
           x.ndim());
  dim = wrap_dim(dim, x.ndim());
  std::vector<Tensor> out;
  int64_t start = 0;
  for (const int64_t border : borders) {
    out.push_back(slice(x, dim, start, border));
    start = border;
  }
  out.push_back(slice(x, dim, start, x.size(dim)));
  return out;
}

int64_t split_axis(const Tensor& x, const char* op, int64_t sections) {
  const int64_t least = op[0] == 'h' ? 1 : op[0] == 'v' ? 2 : 3;
  GS_CHECK(x.ndim() >= least,
           "torch.{} requires a tensor with at least {} dimension, but got a tensor with {} "
           "dimensions!",
           op, least, x.ndim());
  const int64_t dim = op[0] == 'h' ? (x.ndim() == 1 ? 0 : 1) : least - 2 + (op[0] == 'd' ? 1 : 0);
  GS_CHECK(sections == 0 || x.size(dim) % sections == 0,
           "torch.{} attempted to split along dimension {}, but the size of the dimension {} is "
           "not divisible by "
           "the split_size {}!",
           op, dim, x.size(dim), sections);
  return dim;
}

}  // namespace gradstep
