// SPDX-License-Identifier: Apache-2.0
// Views. A view shares storage and remembers its base, so that in-place writes reach both histories
// (graph/node.h). The gradient of a view is dy in the input's shape: reshaped, or put into zeros.
#include "ops/view.h"

#include <limits>

#include "ops/create.h"
#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/shape_ops.h"

namespace gradstep {

namespace {

Tensor make_view(const Tensor& x, const Dims& sizes, const Dims& strides, int64_t offset) {
  Tensor v = alias(x, sizes, strides, offset);
  set_base(v, x);
  return v;
}

/// Puts a list of sizes into params, with its length in front.
void push_dims(Params& p, const Dims& d) {
  p.push(static_cast<int64_t>(d.size()));
  p.push(d);
}

Dims read_dims(const Params& p, int at) {
  Dims d;
  for (int k = 0; k < p.s[at].i; ++k) d.push_back(p.s[at + 1 + k].i);
  return d;
}

Tensor with_history(Tensor v, const Tensor& x, const Op& op, const Params& p) {
  record(op, p, {&v}, {&x}, {});
  return v;
}

// Views that keep every element: dx = dy in the old shape.
void reshape_backward(Backward& b) { b.set(0, reshape(b.grad(), read_dims(b.node.params, 0))); }

Tensor reshaped_view(const Tensor& x, const Dims& sizes, const Dims& strides, const Op& op) {
  Tensor v = make_view(x, sizes, strides, x.offset());
  if (!needs_grad(x)) return v;
  Params p;
  push_dims(p, x.sizes());
  return with_history(std::move(v), x, op, p);
}

/// The strides of `sizes` over x's elements, if no copy is needed.
std::optional<Dims> view_strides(const Tensor& x, const Dims& sizes) {
  if (x.contiguous()) return contiguous_strides(sizes);
  if (x.numel() == 0) return x.sizes() == sizes ? x.strides() : contiguous_strides(sizes);
  Dims out = Dims::filled(sizes.size(), 0);
  // Walks from the last axis: a block of x's axes that lie regularly in memory takes the new axes
  // that fill it.
  int to = sizes.size() - 1;
  int64_t block = 1;
  int64_t step = x.ndim() == 0 ? 1 : x.strides().back();
  int64_t filled = 1;
  for (int d = x.ndim() - 1; d >= 0; --d) {
    block *= x.sizes()[d];
    const bool ends = d == 0 || (x.sizes()[d - 1] != 1 && x.strides()[d - 1] != block * step);
    if (!ends) continue;
    while (to >= 0 && (filled < block || sizes[to] == 1)) {
      out[to] = filled * step;
      filled *= sizes[to];
      --to;
    }
    if (filled != block) return std::nullopt;
    if (d > 0) {
      step = x.strides()[d - 1];
      block = 1;
      filled = 1;
    }
  }
  return to < 0 ? std::optional(out) : std::nullopt;
}

/// Replaces a -1 by what is left.
Dims infer_sizes(const Dims& sizes, int64_t numel) {
  Dims out = sizes;
  int64_t product = 1;
  int inferred = -1;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == -1) {
      GS_CHECK(inferred < 0, "only one dimension can be inferred");
      inferred = d;
    } else {
      GS_CHECK(sizes[d] >= 0, "invalid shape dimension {} at index {} of shape {}", sizes[d], d,
               sizes);
      GS_CHECK(!__builtin_mul_overflow(product, sizes[d], &product),
               "shape '{}' is invalid for input of size {}", sizes, numel);
    }
  }
  if (inferred >= 0) {
    GS_CHECK(product != 0,
             "cannot reshape tensor of 0 elements into shape {} because the unspecified dimension "
             "size -1 can be "
             "any value and is ambiguous",
             sizes);
    out[inferred] = numel / product;
    product *= out[inferred];
  }
  GS_CHECK(product == numel, "shape '{}' is invalid for input of size {}", sizes, numel);
  return out;
}

}  // namespace

Tensor view(const Tensor& x, const Dims& sizes) {
  static const Op& op = define("view", &reshape_backward);
  const Dims to = infer_sizes(sizes, x.numel());
  const std::optional<Dims> strides = view_strides(x, to);
  GS_CHECK(strides,
           "view size is not compatible with input tensor's size and stride (at least one "
           "dimension spans across "
           "two contiguous subspaces). Use .reshape(...) instead.");
  return reshaped_view(x, to, *strides, op);
}

Tensor reshape(const Tensor& x, const Dims& sizes) {
  static const Op& op = define("view", &reshape_backward);
  const Dims to = infer_sizes(sizes, x.numel());
  if (const std::optional<Dims> strides = view_strides(x, to))
    return reshaped_view(x, to, *strides, op);
  return view(contiguous(x), to);
}

Tensor view_as_type(const Tensor& x, DType dtype) {
  if (dtype == x.dtype()) return alias(x);
  GS_CHECK(element_size(dtype) == element_size(x.dtype()) || x.contiguous(),
           "self.view(dtype) needs a contiguous tensor when the element size changes");
  const auto from = static_cast<int64_t>(element_size(x.dtype()));
  const auto to_size = static_cast<int64_t>(element_size(dtype));
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  if (from != to_size) {
    GS_CHECK(x.ndim() > 0, "self.dim() cannot be 0 to view {} as {} (different element sizes)",
             x.dtype(), dtype);
    const int64_t bytes = sizes.back() * from;
    GS_CHECK(bytes % to_size == 0,
             "self.size(-1) must be divisible by {} to view {} as {} (different element sizes), "
             "but got {}",
             to_size / from, x.dtype(), dtype, sizes.back());
    sizes[x.ndim() - 1] = bytes / to_size;
    strides = contiguous_strides(sizes);
  }
  GS_CHECK(
      (x->data - x->storage->data) % to_size == 0,
      "self.storage_offset() must be divisible by {} to view {} as {} (different element sizes)",
      to_size / from, x.dtype(), dtype);
  Tensor v = alias(x, sizes, strides, 0);
  v->dtype = dtype;
  v->data = x->data;
  return v;
}

// ---- as_strided ----

namespace {

/// Sums src into a flat zero tensor of n elements at the places that sizes and strides describe.
Tensor scatter_strided(const Tensor& src, int64_t n, const Dims& sizes, const Dims& strides,
                       int64_t offset) {
  const Tensor flat = zeros({n}, options_of(src));
  const Tensor places =
      contiguous(alias(arange(0, n, 1, {DType::Int64, src.device()}), sizes, strides, offset));
  return index_add(flat, 0, reshape(places, {places.numel()}), reshape(src, {src.numel()}), 1);
}

int64_t span_of(const Dims& sizes, const Dims& strides, int64_t offset) {
  int64_t last = offset;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return offset;
    last += (sizes[d] - 1) * strides[d];
  }
  return last + 1;
}

// dy goes to its places in a flat image of the storage; dx is the input's view of that image.
void as_strided_backward(Backward& b) {
  const Tensor& geometry = Tensor(b.node.saved[0].tensor);  // the input's
  const Tensor out_geometry(b.node.saved[1].tensor);
  const int64_t in_offset = b.i(0);
  const int64_t out_offset = b.i(1);
  const int64_t n = std::max(span_of(geometry.sizes(), geometry.strides(), in_offset),
                             span_of(out_geometry.sizes(), out_geometry.strides(), out_offset));
  const Tensor image =
      scatter_strided(b.grad(), n, out_geometry.sizes(), out_geometry.strides(), out_offset);
  b.set(0, clone(as_strided(image, geometry.sizes(), geometry.strides(), in_offset)));
}

/// Sizes and strides without memory, to be kept by a node.
Tensor geometry_only(const Tensor& t) {
  Tensor g(TensorImpl::create());
  g->sizes = t.sizes();
  g->strides = t.strides();
  g->dtype = t.dtype();
  g->storage = Ref(Storage::create(0, t.device()));
  return g;
}

}  // namespace

Tensor as_strided(const Tensor& x, const Dims& sizes, const Dims& strides, int64_t offset) {
  static const Op& op = define("as_strided", &as_strided_backward);
  GS_CHECK(sizes.size() == strides.size(), "mismatch in length of strides and shape");
  check_bounds(sizes, strides, offset, x.dtype(), x->storage->bytes);
  Tensor v = make_view(x, sizes, strides, offset);
  if (!needs_grad(x)) return v;
  const Tensor in_geometry = geometry_only(x);
  const Tensor out_geometry = geometry_only(v);
  const int64_t low = std::min(x.offset(), offset);
  record(op, params(x.offset() - low, offset - low), {&v}, {&x},
         {keep(in_geometry), keep(out_geometry)});
  return v;
}

// ---- axes ----

namespace {
void permute_backward(Backward& b) {
  const Dims dims = read_dims(b.node.params, 0);
  Dims inverse = dims;
  for (int d = 0; d < dims.size(); ++d) inverse[static_cast<int>(dims[d])] = d;
  b.set(0, permute(b.grad(), inverse));
}

void expand_backward(Backward& b) { b.set(0, sum_to_size(b.grad(), read_dims(b.node.params, 0))); }
}  // namespace

Tensor permute(const Tensor& x, const Dims& dims) {
  static const Op& op = define("permute", &permute_backward);
  GS_CHECK(dims.size() == x.ndim(),
           "permute(sparse_coo): number of dimensions in the tensor input does not match the "
           "length of the desired "
           "ordering of dimensions i.e. input.dim() = {} is not equal to len(dims) = {}",
           x.ndim(), dims.size());
  Dims order = dims, sizes = dims, strides = dims;
  uint32_t seen = 0;
  for (int d = 0; d < dims.size(); ++d) {
    order[d] = wrap_dim(dims[d], x.ndim());
    const int from = static_cast<int>(order[d]);
    GS_CHECK(!(seen >> from & 1), "permute(): duplicate dims are not allowed.");
    seen |= 1u << from;
    sizes[d] = x.sizes()[from];
    strides[d] = x.strides()[from];
  }
  Tensor v = make_view(x, sizes, strides, x.offset());
  if (!needs_grad(x)) return v;
  Params p;
  push_dims(p, order);
  return with_history(std::move(v), x, op, p);
}

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  const int64_t a = wrap_dim(dim0, x.ndim());
  const int64_t b = wrap_dim(dim1, x.ndim());
  if (x.ndim() > 0 && !needs_grad(x)) {
    Dims sizes = x.sizes(), strides = x.strides();
    std::swap(sizes[static_cast<int>(a)], sizes[static_cast<int>(b)]);
    std::swap(strides[static_cast<int>(a)], strides[static_cast<int>(b)]);
    return make_view(x, sizes, strides, x.offset());
  }
  Dims order = Dims::filled(x.ndim(), 0);
  for (int d = 0; d < x.ndim(); ++d) order[d] = d;
  if (x.ndim() > 0) std::swap(order[static_cast<int>(a)], order[static_cast<int>(b)]);
  return show_as(permute(x, order), Shown::Transpose);
}

Tensor t(const Tensor& x) {
  GS_CHECK(x.ndim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is {}D", x.ndim());
  return show_as(x.ndim() < 2 ? transpose(x, 0, 0) : transpose(x, 0, 1), Shown::T);
}

Tensor mT(const Tensor& x) {
  GS_CHECK(x.ndim() >= 2,
           "tensor.mT is only supported on matrices or batches of matrices. Got {}-D tensor.",
           x.ndim());
  return transpose(x, -2, -1);
}

Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination) {
  GS_CHECK(source.size() == destination.size(),
           "movedim: Invalid source or destination dims: source ({} dims) should contain the same "
           "number of dims as "
           "destination ({} dims)",
           source, destination);
  const int n = x.ndim();
  Dims order = Dims::filled(n, -1);
  uint32_t taken = 0;
  for (int k = 0; k < source.size(); ++k) {
    const int64_t s = wrap_dim(source[k], n);
    const int64_t d = wrap_dim(destination[k], n);
    GS_CHECK(!(taken >> s & 1), "movedim: repeated dim in `source` ({})", source);
    GS_CHECK(n == 0 || order[static_cast<int>(d)] < 0,
             "movedim: repeated dim in `destination` ({})", destination);
    taken |= 1u << s;
    if (n > 0) order[static_cast<int>(d)] = s;
  }
  int next = 0;
  for (int d = 0; d < n; ++d) {
    if (order[d] >= 0) continue;
    while (taken >> next & 1) ++next;
    order[d] = next++;
  }
  return permute(x, order);
}

Tensor expand(const Tensor& x, const Dims& sizes) {
  static const Op& op = define("expand", &expand_backward);
  const int extra = sizes.size() - x.ndim();
  GS_CHECK(extra >= 0,
           "expand(torch.{}Tensor{{}}, size={}): the number of sizes provided ({}) must be greater "
           "or equal to the "
           "number of dimensions in the tensor ({})",
           scalar_name(x.dtype()), x.sizes(), sizes, sizes.size(), x.ndim());
  Dims to = sizes;
  Dims strides = sizes;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    const int from = d - extra;
    const int64_t have = from >= 0 ? x.sizes()[from] : 1;
    if (to[d] == -1) {
      GS_CHECK(from >= 0,
               "The expanded size of the tensor ({}) isn't allowed in a leading, non-existing "
               "dimension {}",
               to[d], d);
      to[d] = have;
    }
    GS_CHECK(to[d] >= 0, "The expanded size of the tensor ({}) isn't allowed", to[d]);
    if (have == to[d]) {
      strides[d] = from >= 0 ? x.strides()[from] : 0;
      if (from < 0) strides[d] = 0;
    } else {
      GS_CHECK(have == 1,
               "The expanded size of the tensor ({}) must match the existing size ({}) at "
               "non-singleton dimension {}.  "
               "Target sizes: {}.  Tensor sizes: {}",
               to[d], have, d, to, x.sizes());
      strides[d] = 0;
    }
  }
  Tensor v = make_view(x, to, strides, x.offset());
  if (!needs_grad(x)) return v;
  Params p;
  push_dims(p, x.sizes());
  return with_history(std::move(v), x, op, p);
}

namespace {
Tensor drop_axes(const Tensor& x, uint32_t mask) {
  static const Op& op = define("squeeze", &reshape_backward);
  Dims sizes, strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if ((mask >> d & 1) && x.sizes()[d] == 1) continue;
    sizes.push_back(x.sizes()[d]);
    strides.push_back(x.strides()[d]);
  }
  return reshaped_view(x, sizes, strides, op);
}
}  // namespace

Tensor squeeze(const Tensor& x, const Dims& dims) {
  return show_as(drop_axes(x, dims.empty() ? 0u : dim_mask(dims, x.ndim())), Shown::Squeeze1);
}
Tensor squeeze(const Tensor& x) { return drop_axes(x, ~0u); }

Tensor unsqueeze(const Tensor& x, int64_t dim) {
  static const Op& op = define("unsqueeze", &reshape_backward);
  const int at = static_cast<int>(wrap_dim(dim, x.ndim() + 1));
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  const int64_t step = at < x.ndim() ? x.sizes()[at] * x.strides()[at] : 1;
  sizes.insert(at, 1);
  strides.insert(at, step);
  return reshaped_view(x, sizes, strides, op);
}

Tensor flatten(const Tensor& x, int64_t start_dim, int64_t end_dim) {
  const int a = static_cast<int>(wrap_dim(start_dim, x.ndim()));
  const int b = static_cast<int>(wrap_dim(end_dim, x.ndim()));
  GS_CHECK(a <= b, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (x.ndim() == 0) return reshape(x, {1});
  if (a == b) return x;
  Dims sizes;
  int64_t merged = 1;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < a || d > b) {
      sizes.push_back(x.sizes()[d]);
      continue;
    }
    merged *= x.sizes()[d];
    if (d == b) sizes.push_back(merged);
  }
  return reshape(x, sizes);
}

Tensor unflatten(const Tensor& x, int64_t dim, const Dims& sizes) {
  const int at = static_cast<int>(wrap_dim(dim, x.ndim()));
  GS_CHECK(sizes.size() > 0, "unflatten: sizes must be non-empty");
  int64_t product = 1;
  int inferred = -1;
  Dims to = sizes;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == -1) {
      inferred = d;
    } else {
      GS_CHECK(!__builtin_mul_overflow(product, sizes[d], &product),
               "unflatten: Provided sizes {} don't multiply up to the size of dim {} ({}) in the "
               "input tensor",
               sizes, dim, x.sizes()[at]);
    }
  }
  if (inferred >= 0 && product != 0) to[inferred] = x.sizes()[at] / product;
  if (inferred >= 0) product *= to[inferred];
  GS_CHECK(product == x.sizes()[at],
           "unflatten: Provided sizes {} don't multiply up to the size of dim {} ({}) in the input "
           "tensor",
           sizes, dim, x.sizes()[at]);
  Dims all;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d != at) {
      all.push_back(x.sizes()[d]);
    } else {
      for (const int64_t s : to) all.push_back(s);
    }
  }
  return view(x, all);
}

// ---- parts ----

namespace {

// dx is zero but for the part that was taken.
template <class Part>
void part_backward(Backward& b, const Dims& sizes, Part&& part) {
  const Tensor dx = zeros(sizes, options_of(b.grad()));
  copy_(part(dx), b.grad());
  b.set(0, dx);
}

void select_backward(Backward& b) {
  part_backward(b, read_dims(b.node.params, 2),
                [&](const Tensor& dx) { return select(dx, b.i(0), b.i(1)); });
}
void slice_backward(Backward& b) {
  part_backward(b, read_dims(b.node.params, 4),
                [&](const Tensor& dx) { return slice(dx, b.i(0), b.i(1), b.i(2), b.i(3)); });
}
void diagonal_backward(Backward& b) {
  part_backward(b, read_dims(b.node.params, 3),
                [&](const Tensor& dx) { return diagonal(dx, b.i(0), b.i(1), b.i(2)); });
}
}  // namespace

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  static const Op& op = define("select", &select_backward);
  GS_CHECK_INDEX(x.ndim() > 0, "select() cannot be applied to a 0-dim tensor.");
  const int at = static_cast<int>(wrap_dim(dim, x.ndim()));
  const int64_t size = x.sizes()[at];
  GS_CHECK_INDEX(index >= -size && index < size,
                 "index {} is out of bounds for dimension {} with size {}", index, at, size);
  const int64_t i = index < 0 ? index + size : index;
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  const int64_t offset = x.offset() + i * strides[at];
  sizes.erase(at);
  strides.erase(at);
  Tensor v = make_view(x, sizes, strides, offset);
  if (!needs_grad(x)) return v;
  Params p = params(static_cast<int64_t>(at), i);
  push_dims(p, x.sizes());
  return with_history(std::move(v), x, op, p);
}

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end, int64_t step) {
  static const Op& op = define("slice", &slice_backward);
  GS_CHECK(x.ndim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  const int at = static_cast<int>(wrap_dim(dim, x.ndim()));
  GS_CHECK_VALUE(step > 0, "step must be greater than zero");
  const int64_t size = x.sizes()[at];
  const auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  const int64_t a = clamp(start);
  const int64_t b = std::max(a, clamp(end));
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  sizes[at] = b == a ? 0 : (b - a - 1) / step + 1;
  if (sizes[at] > 1) strides[at] *= step;
  Tensor v = make_view(x, sizes, strides, x.offset() + a * x.strides()[at]);
  if (!needs_grad(x)) return v;
  Params p = params(static_cast<int64_t>(at), a, b, step);
  push_dims(p, x.sizes());
  return with_history(std::move(v), x, op, p);
}

Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  GS_CHECK(x.ndim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  GS_CHECK(length >= 0, "narrow(): length must be non-negative.");
  const int64_t size = x.size(dim);
  GS_CHECK_INDEX(start >= -size && start <= size,
                 "start out of range (expected to be in range of [{}, {}], but got {})", -size,
                 size, start);
  const int64_t a = start < 0 ? start + size : start;
  GS_CHECK(length <= size - a, "start ({}) + length ({}) exceeds dimension size ({}).", a, length,
           size);
  return slice(x, dim, a, a + length, 1);
}

// ---- all parts ----

namespace {

// Note [Parts of one gradient]
// All parts of a tensor are the outputs of one node, whose derivative writes one tensor. It has
// nothing to write where an op laid the parts' gradients side by side already, as attention does
// for query, key and value.

/// The tensor of `sizes` whose parts along `axis` the gradients are, if they lie in memory like
/// that.
Tensor joined(std::span<const Tensor> grads, const Dims& sizes, int axis, bool drops_axis) {
  const Tensor& first = grads[0];
  Dims strides = first.strides();
  if (drops_axis) {
    const int64_t step = grads.size() > 1 && grads[1]->storage.get() == first->storage.get()
                             ? grads[1].offset() - first.offset()
                             : 0;
    if (step <= 0) return {};
    strides.insert(axis, step);
  }
  int64_t at = first.offset();
  for (const Tensor& g : grads) {
    if (g->storage.get() != first->storage.get() || g.strides() != first.strides() ||
        g.dtype() != first.dtype() || g.offset() != at) {
      return {};
    }
    at += strides[axis] * (drops_axis ? 1 : g.sizes()[axis]);
  }
  return alias(first, sizes, strides, first.offset());
}

/// params: axis, length of a part (0: the axis is dropped), input sizes.
void parts_backward(Backward& b) {
  const int axis = static_cast<int>(b.i(0));
  const int64_t length = b.i(1);
  const Dims sizes = read_dims(b.node.params, 2);
  const std::span<const Tensor> grads = b.out_grads;
  bool all = true;
  const Tensor* some = nullptr;
  for (const Tensor& g : grads) {
    all &= g.defined();
    if (g.defined()) some = &g;
  }
  if (!some) return;
  if (all && !grad_enabled()) {
    if (Tensor whole = joined(grads, sizes, axis, length == 0); whole.defined())
      return b.set(0, std::move(whole));
  }
  if (all) return b.set(0, length == 0 ? stack(grads, axis) : cat(grads, axis));
  const Tensor dx = zeros(sizes, options_of(*some));
  for (size_t k = 0; k < grads.size(); ++k) {
    if (!grads[k].defined()) continue;
    const auto at = static_cast<int64_t>(k);
    const Tensor part =
        length == 0 ? select(dx, axis, at) : narrow(dx, axis, at * length, grads[k].sizes()[axis]);
    copy_(part, grads[k]);
  }
  b.set(0, dx);
}

constexpr int64_t kMaxParts = 65535;  // outputs that a node can have

/// An axis of an empty tensor may be of any length.
void check_count(const char* op, int64_t parts, const Tensor& x) {
  GS_CHECK(parts <= int64_t{1} << 24, "{}: {} parts of a tensor of shape {} are too many", op,
           parts, x.sizes());
}

/// The parts along an axis, each of `length` (the last may be shorter) or without the axis.
std::vector<Tensor> all_parts(const Tensor& x, int axis, int64_t length, const Op& op) {
  const int64_t n = x.sizes()[axis], step = length == 0 ? 1 : length;
  Dims sizes = x.sizes(), strides = x.strides();
  if (length == 0) {
    sizes.erase(axis);
    strides.erase(axis);
  }
  std::vector<Tensor> out;
  out.reserve(static_cast<size_t>((n - 1) / step + 1));
  for (int64_t at = 0; at < n; at += std::min(step, n)) {
    if (length != 0) sizes[axis] = std::min(length, n - at);
    out.push_back(make_view(x, sizes, strides, x.offset() + at * x.strides()[axis]));
  }
  if (needs_grad(x) && !out.empty()) {
    Params p = params(static_cast<int64_t>(axis), length);
    push_dims(p, x.sizes());
    std::vector<const Tensor*> outputs;
    for (const Tensor& t : out) outputs.push_back(&t);
    const Tensor* inputs[] = {&x};
    record(op, p, outputs, inputs, std::span<const Save>());
  }
  return out;
}

}  // namespace

std::vector<Tensor> split(const Tensor& x, const Dims& sections, int64_t dim) {
  int64_t total = 0;
  bool fits = true, equal = !sections.empty() && sections[0] > 0;
  for (const int64_t s : sections) {
    GS_CHECK(s >= 0,
             "split_with_sizes expects split_sizes have only non-negative entries, but got "
             "split_sizes={}",
             sections);
    fits &= !__builtin_add_overflow(total, s, &total);
    equal &= s == sections[0];
  }
  GS_CHECK(fits && total == x.size(dim),
           "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at "
           "dimension {}), but got "
           "split_sizes={}",
           x.size(dim), dim, sections);
  if (equal) return split(x, sections[0], dim);
  std::vector<Tensor> out;
  int64_t at = 0;
  for (const int64_t s : sections) {
    out.push_back(slice(x, dim, at, at + s, 1));
    at += s;
  }
  return out;
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim) {
  static const Op& op = define("split", &parts_backward);
  GS_CHECK(x.ndim() > 0, "split expects at least a 1-dimensional tensor");
  GS_CHECK(size >= 0, "split expects split_size be non-negative, but got split_size={}", size);
  const int64_t n = x.size(dim);
  GS_CHECK(size > 0 || n == 0,
           "split_size can only be 0 if dimension size is 0, but got dimension size of {}", n);
  std::vector<Tensor> out;
  if (n == 0) {
    out.push_back(slice(x, dim, 0, 0, 1));
    return out;
  }
  check_count("split", (n - 1) / size + 1, x);
  if ((n - 1) / size < kMaxParts)
    return all_parts(x, static_cast<int>(wrap_dim(dim, x.ndim())), size, op);
  for (int64_t at = 0; at < n; at += size)
    out.push_back(slice(x, dim, at, std::min(at + size, n), 1));
  return out;
}

std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim) {
  GS_CHECK(x.ndim() > 0, "chunk expects at least a 1-dimensional tensor");
  GS_CHECK(chunks > 0, "chunk expects `chunks` to be greater than 0, got: {}", chunks);
  const int64_t n = x.size(dim);
  const int64_t size = n == 0 ? 0 : (n - 1) / chunks + 1;
  GS_CHECK(size > 0 || chunks <= (int64_t{1} << 26),
           "chunk: too many chunks of an empty tensor: {}", chunks);
  if (size == 0) return std::vector<Tensor>(static_cast<size_t>(chunks), slice(x, dim, 0, 0, 1));
  return split(x, size, dim);
}

std::vector<Tensor> unbind(const Tensor& x, int64_t dim) {
  GS_CHECK(x.ndim() > 0, "Dimension specified as {} but tensor has no dimensions", dim);
  static const Op& op = define("unbind", &parts_backward);
  const int64_t n = x.size(dim);
  check_count("unbind", n, x);
  if (n <= kMaxParts) return all_parts(x, static_cast<int>(wrap_dim(dim, x.ndim())), 0, op);
  std::vector<Tensor> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(select(x, dim, i));
  return out;
}

Tensor diagonal(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  static const Op& op = define("diagonal", &diagonal_backward);
  const int a = static_cast<int>(wrap_dim(dim1, x.ndim()));
  const int b = static_cast<int>(wrap_dim(dim2, x.ndim()));
  GS_CHECK(a != b, "diagonal dimensions cannot be identical {}, {}", dim1, dim2);
  const int64_t rows = offset >= 0 ? x.sizes()[a] : x.sizes()[a] + offset;
  const int64_t cols = offset >= 0 ? x.sizes()[b] - offset : x.sizes()[b];
  const int64_t n = std::max<int64_t>(0, std::min(rows, cols));
  int64_t at = x.offset();
  if (n > 0) at += offset >= 0 ? offset * x.strides()[b] : -offset * x.strides()[a];
  Dims sizes, strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == a || d == b) continue;
    sizes.push_back(x.sizes()[d]);
    strides.push_back(x.strides()[d]);
  }
  sizes.push_back(n);
  strides.push_back(x.strides()[a] + x.strides()[b]);
  Tensor v = make_view(x, sizes, strides, at);
  if (!needs_grad(x)) return v;
  Params p = params(offset, static_cast<int64_t>(a), static_cast<int64_t>(b));
  push_dims(p, x.sizes());
  return with_history(std::move(v), x, op, p);
}

Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step) {
  const int at = static_cast<int>(wrap_dim(dim, x.ndim()));
  const int64_t have = x.ndim() == 0 ? 1 : x.sizes()[at];
  GS_CHECK(size >= 0 && size <= have,
           "maximum size for tensor at dimension {} is {} but size is {}", dim, have, size);
  GS_CHECK(step > 0, "step is {} but must be > 0", step);
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  const int64_t stride = x.ndim() == 0 ? 1 : x.strides()[at];
  if (x.ndim() > 0) {
    sizes[at] = (have - size) / step + 1;
    if (sizes[at] > 1) strides[at] = step * stride;
  }
  sizes.push_back(size);
  strides.push_back(stride);
  return as_strided(x, sizes, strides, x.offset());
}

}  // namespace gradstep
