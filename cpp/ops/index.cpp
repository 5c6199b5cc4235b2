// SPDX-License-Identifier: Apache-2.0
// x[...], advanced indexing, index_select and its kin, take and put, masks.
#include "ops/index.h"

#include <array>

#include "core/overlap.h"
#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/sort.h"
#include "ops/view.h"

namespace gradstep {

// ---- writing ----

Tensor write_target(const Tensor& self, bool inplace, std::initializer_list<const Tensor*> reads,
                    bool may_repeat) {
  if (inplace) {
    check_inplace(self, may_repeat);
    for (const Tensor* t : reads) check_apart(*self.get(), *t->get());
    return self;
  }
  const GradMode off(false);
  return clone(self);
}

void finish_write(const Op& op, const Params& params, const Tensor& out, bool inplace,
                  std::initializer_list<const Tensor*> inputs, std::initializer_list<Save> saves) {
  if (inplace) bump_version(out);
  bool wanted = false;
  for (const Tensor* t : inputs) wanted |= needs_grad(*t);
  if (!wanted || !is_floating(out.dtype())) return;
  if (inplace) {
    rebase_history(out, make_node(op, params, {inputs.begin(), inputs.size()},
                                  {saves.begin(), saves.size()}, 1));
  } else {
    record(op, params, {&out}, inputs, saves);
  }
}

namespace {

const Tensor kNone;

/// A source that lies in the memory which is about to be written is copied first.
Tensor apart(const Tensor& source, const Tensor& target) {
  if (source->storage != target->storage) return source;
  const GradMode off(false);
  return clone(source);
}

Dims dims_from(const Backward& b, int slot) {
  return Dims(&b.node.params.s[slot].i, b.node.params.count - slot);
}

Tensor zero_like(const Tensor& t) { return scalar_tensor(0, options_of(t)); }

}  // namespace

// ---- nonzero ----

Tensor nonzero(const Tensor& self) {
  static const Op& count_op = Op::get("nonzero_count");
  static const Op& op = Op::get("nonzero");
  const GradMode off(false);
  const Tensor x = contiguous(self);
  const Tensor count = empty({1}, DType::Int64, self.device());
  run(count_op, params(), {&count}, {&x});
  const Tensor out = empty({host_value<int64_t>(count), self.ndim()}, DType::Int64, self.device());
  run(op, params(), {&out}, {&x});
  return out;
}

std::vector<Tensor> nonzero_tuple(const Tensor& self) {
  const Tensor at = nonzero(self.ndim() == 0 ? unsqueeze(detach(self), 0) : self);
  std::vector<Tensor> out;
  for (int d = 0; d < at.sizes()[1]; ++d) out.push_back(select(at, 1, d));
  return out;
}

IndexStatistics index_statistics(const Tensor& index) {
  static const Op& op = Op::get("index_statistics");
  const Tensor out = empty({3}, DType::Int64, index.device());
  const Tensor x = contiguous(index);
  run(op, params(), {&out}, {&x});
  return {host_value<int64_t>(out, 0), host_value<int64_t>(out, 1), host_value<int64_t>(out, 2)};
}

// ---- advanced indexing ----

namespace {

/// Index tensors brought to int64, broadcast together, with the axes that they index.
struct AdvancedIndex {
  std::vector<Tensor> tensors;  // of shape `sizes`
  uint32_t axes = 0;            // bit d: axis d of self is indexed
  Dims sizes;
  int before = 0;  // axes of self in front of the index's axes in the result

  bool indexes(int d) const { return axes >> d & 1; }
  /// self's axes with the indexed ones first.
  Tensor self_geometry(const Tensor& self) const {
    Dims s, st;
    for (int pass = 0; pass < 2; ++pass) {
      for (int d = 0; d < self.ndim(); ++d) {
        if (indexes(d) != (pass == 0)) continue;
        s.push_back(self.sizes()[d]);
        st.push_back(self.strides()[d]);
      }
    }
    return alias(self, s, st, self.offset());
  }
  Dims result_sizes(const Tensor& self) const {
    Dims out;
    int rest = 0;
    for (int d = 0; d <= self.ndim(); ++d) {
      if (rest == before && out.size() == before) {
        for (const int64_t s : sizes) out.push_back(s);
        rest = -1;
      }
      if (d == self.ndim()) break;
      if (indexes(d)) continue;
      out.push_back(self.sizes()[d]);
      if (rest >= 0) ++rest;
    }
    return out;
  }
  /// The result (or values expanded to it) with the index's axes first.
  Tensor flat_geometry(const Tensor& result) const {
    if (before == 0) return result;
    Dims s, st;
    const int n = sizes.size();
    auto take = [&](int from, int to) {
      for (int d = from; d < to; ++d) {
        s.push_back(result.sizes()[d]);
        st.push_back(result.strides()[d]);
      }
    };
    take(before, before + n);
    take(0, before);
    take(before + n, result.ndim());
    return alias(result, s, st, result.offset());
  }
  Params params(IndexRule rule) const {
    constexpr int64_t kNames =
        0x76543210;  // PyTorch's messages number the index tensors, not the axes
    return gradstep::params(static_cast<int64_t>(rule), kNames, int64_t{sizes.size()});
  }
  /// As index() and index_put() take them.
  static std::vector<Tensor> by_axis(const Backward& b, uint32_t axes) {
    std::vector<Tensor> out;
    int at = 0;
    for (int d = 0; axes >> d; ++d) out.push_back(axes >> d & 1 ? b.saved(at++) : Tensor());
    return out;
  }
};

std::string shapes_of(std::span<const Tensor> tensors) {
  std::string out;
  for (const Tensor& t : tensors) {
    if (!out.empty()) out += ", ";
    append(out, t.sizes());
  }
  return out;
}

AdvancedIndex resolve(const Tensor& self, std::span<const Tensor> indices) {
  AdvancedIndex a;
  const GradMode off(false);
  int dim = 0;
  auto take = [&](Tensor t) {
    GS_CHECK_INDEX(dim < self.ndim(), "too many indices for tensor of dimension {} (got {})",
                   self.ndim(), indices.size());
    a.tensors.push_back(std::move(t));
    a.axes |= 1u << dim++;
  };
  for (size_t k = 0; k < indices.size(); ++k) {
    const Tensor& t = indices[k];
    GS_CHECK(!t.defined() || t.device().type == DeviceType::CPU || t.device() == self.device(),
             "indices should be either on cpu or on the same device as the indexed tensor ({})",
             self.device());
    if (!t.defined()) {
      GS_CHECK_INDEX(dim < self.ndim(), "too many indices for tensor of dimension {} (got {})",
                     self.ndim(), indices.size());
      ++dim;
    } else if (t.dtype() == DType::Bool || t.dtype() == DType::UInt8) {
      GS_CHECK_INDEX(dim + t.ndim() <= self.ndim(), "too many indices for tensor of dimension {}",
                     self.ndim());
      for (int d = 0; d < t.ndim(); ++d) {
        GS_CHECK_INDEX(t.sizes()[d] == self.sizes()[dim + d],
                       "The shape of the mask {} at index {} does not match the shape of the "
                       "indexed tensor {} "
                       "at index {}",
                       t.sizes(), d, self.sizes(), dim + d);
      }
      for (const Tensor& column : nonzero_tuple(t)) take(to(column, DType::Int64, self.device()));
    } else {
      GS_CHECK_INDEX(t.dtype() == DType::Int64 || t.dtype() == DType::Int32,
                     "tensors used as indices must be long, int, byte or bool tensors");
      take(to(t, DType::Int64, self.device()));
    }
  }
  if (a.tensors.empty()) return a;
  a.sizes = a.tensors[0].sizes();
  for (const Tensor& t : a.tensors) {
    const bool fits = [&] {
      for (int i = 1; i <= std::min(a.sizes.size(), t.ndim()); ++i) {
        const int64_t x = a.sizes[a.sizes.size() - i], y = t.sizes()[t.ndim() - i];
        if (x != y && x != 1 && y != 1) return false;
      }
      return true;
    }();
    GS_CHECK_INDEX(
        fits, "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
        shapes_of(a.tensors));
    a.sizes = broadcast(a.sizes, t.sizes());
  }
  for (Tensor& t : a.tensors) {
    if (!(t.sizes() == a.sizes)) t = expand(t, a.sizes);
  }
  // Axes next to each other: the index's axes take their place; otherwise they come first.
  const int first = std::countr_zero(a.axes);
  a.before = std::has_single_bit((a.axes >> first) + 1) ? first : 0;
  return a;
}

// result = self[indices]: dself is zero but for dy added at the indices
void index_backward(Backward& b) {
  const Dims sizes = dims_from(b, 1);
  const std::vector<Tensor> indices = AdvancedIndex::by_axis(b, static_cast<uint32_t>(b.i(0)));
  b.set(0, index_put(zeros(sizes, options_of(b.grad())), indices, b.grad(), true, true));
}

// self[indices] = values: dself = dy with 0 there (dy if added), dvalues = dy[indices]
void index_put_backward(Backward& b) {
  const std::vector<Tensor> indices = AdvancedIndex::by_axis(b, static_cast<uint32_t>(b.i(1)));
  if (b.needs(0)) {
    b.set(0, b.i(0) ? b.grad() : index_put(b.grad(), indices, zero_like(b.grad())));
  }
  if (b.needs(1)) b.set(1, sum_to_size(index(b.grad(), indices), dims_from(b, 2)));
}

std::vector<Save> keep_all(const std::vector<Tensor>& tensors) {
  std::vector<Save> out;
  for (const Tensor& t : tensors) out.push_back(keep(t));
  return out;
}

std::vector<const Tensor*> pointers(std::initializer_list<const Tensor*> first,
                                    const std::vector<Tensor>& rest) {
  std::vector<const Tensor*> out(first);
  for (const Tensor& t : rest) out.push_back(&t);
  return out;
}

}  // namespace

Tensor index(const Tensor& self, std::span<const Tensor> indices, IndexRule rule) {
  static const Op& op = define("index", &index_backward);
  // A mask of several leading axes: they are merged first, so that one place each is found and
  // looked up.
  if (indices.size() == 1 && indices[0].defined() && indices[0].dtype() == DType::Bool &&
      self.contiguous() && indices[0].ndim() > 1 && indices[0].ndim() <= self.ndim() &&
      std::equal(indices[0].sizes().begin(), indices[0].sizes().end(), self.sizes().begin())) {
    const Tensor mask[] = {reshape(indices[0], {indices[0].numel()})};
    Dims sizes{indices[0].numel()};
    for (int d = indices[0].ndim(); d < self.ndim(); ++d) sizes.push_back(self.sizes()[d]);
    return index(view(self, sizes), mask, rule);
  }
  const AdvancedIndex a = resolve(self, indices);
  if (a.tensors.empty()) return view(self, self.sizes());
  const Tensor out = empty(a.result_sizes(self), options_of(self));
  const Tensor from = a.self_geometry(self);
  const Tensor flat = a.flat_geometry(out);
  const Tensor* outputs[] = {&flat};
  run(op, a.params(rule), outputs, pointers({&from}, a.tensors), Compute::I64);
  if (needs_grad(self)) {
    outputs[0] = &out;
    const Tensor* inputs[] = {&self};
    record(op, params(int64_t{a.axes}, self.sizes()), outputs, inputs, keep_all(a.tensors));
  }
  return out;
}

Tensor index_put(const Tensor& self, std::span<const Tensor> indices, const Tensor& values,
                 bool accumulate, bool inplace) {
  static const Op& op = define("index_put", &index_put_backward);
  GS_CHECK(self.dtype() == values.dtype(),
           "Index put requires the source and destination dtypes match, got {} for the destination "
           "and {} for "
           "the source.",
           scalar_name(self.dtype()), scalar_name(values.dtype()));
  if (values.ndim() == 0 && values.device().type == DeviceType::CPU && self.device() != Device{}) {
    return index_put(self, indices, to(values, values.dtype(), self.device()), accumulate, inplace);
  }
  const AdvancedIndex a = resolve(self, indices);
  GS_CHECK(!a.tensors.empty(), "index_put: at least one index tensor is needed");
  const Dims sizes = a.result_sizes(self);
  GS_CHECK(
      expandable_to(values.sizes(), sizes),
      "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
      values.sizes(), sizes);
  const Tensor out = write_target(self, inplace, {&values}, true);
  if (inplace) {
    for (const Tensor& t : a.tensors) check_apart(*self.get(), *t.get());
  }
  {
    const GradMode off(false);
    const Tensor source = apart(values, out);
    const Tensor to = a.self_geometry(out);
    const Tensor flat = a.flat_geometry(source.sizes() == sizes ? source : expand(source, sizes));
    Params p = a.params(IndexRule::Advanced);
    p.push(int64_t{accumulate});
    const Tensor* outputs[] = {&to};
    run(op, p, outputs, pointers({&to, &flat}, a.tensors), compute_type(self.dtype()));
  }
  if (inplace) bump_version(out);
  if (is_floating(out.dtype()) && needs_grad(self, values)) {
    const Params p = params(int64_t{accumulate}, int64_t{a.axes}, values.sizes());
    const Tensor* inputs[] = {&self, &values};
    const Ref<Node> node = make_node(op, p, inputs, keep_all(a.tensors), 1);
    if (inplace) {
      rebase_history(out, node);
    } else {
      set_history(out, node, 0);
    }
  }
  return out;
}

// ---- x[...] ----

namespace {

/// Applies the items that make views; the tensors among them stay, by axis of the result.
Tensor basic_index(const Tensor& self, std::span<const IndexItem> items,
                   std::vector<Tensor>& indices) {
  using Kind = IndexItem::Kind;
  int consumed = 0;
  for (const IndexItem& item : items) {
    if (item.kind == Kind::Integer || item.kind == Kind::Slice) ++consumed;
    if (item.kind == Kind::Advanced) {
      const bool mask = item.tensor.dtype() == DType::Bool || item.tensor.dtype() == DType::UInt8;
      consumed += mask ? item.tensor.ndim() : 1;
    }
  }
  GS_CHECK_INDEX(self.ndim() != 0 || items.size() != 1 || items[0].kind != Kind::Integer,
                 "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                 "`tensor.item<T>()` in C++ to "
                 "convert a 0-dim tensor to a number");
  GS_CHECK_INDEX(self.ndim() != 0 || items.size() != 1 || items[0].kind != Kind::Slice,
                 "slice() cannot be applied to a 0-dim tensor.");
  GS_CHECK_INDEX(consumed <= self.ndim(), "too many indices for tensor of dimension {}",
                 self.ndim());
  Tensor x = self;
  int dim = 0;
  bool seen_ellipsis = false;
  auto put = [&](Tensor t) {
    while (static_cast<int>(indices.size()) < dim) indices.emplace_back();
    indices.push_back(std::move(t));
  };
  for (const IndexItem& item : items) {
    switch (item.kind) {
      case Kind::Integer: {
        const int64_t size = x.sizes()[dim];
        GS_CHECK_INDEX(item.start >= -size && item.start < size,
                       "index {} is out of bounds for dimension {} with size {}", item.start,
                       &item - items.data(), size);  // the item's place, as in PyTorch
        x = select(x, dim, item.start);
        break;
      }
      case Kind::Slice:
        if (item.start != 0 || item.stop != INT64_MAX || item.step != 1) {
          x = slice(x, dim, item.start, item.stop, item.step);
        }
        ++dim;
        break;
      case Kind::NewAxis: x = unsqueeze(x, dim++); break;
      case Kind::Ellipsis:
        if (!seen_ellipsis) dim += self.ndim() - consumed;
        seen_ellipsis = true;
        break;
      case Kind::Bool:
        x = unsqueeze(x, dim);
        put(full({1}, item.start != 0, {DType::Bool, self.device()}));
        ++dim;
        break;
      case Kind::Advanced: {
        const Tensor& t = item.tensor;
        const bool mask = t.dtype() == DType::Bool || t.dtype() == DType::UInt8;
        if (mask && t.ndim() == 0) {
          x = unsqueeze(x, dim);
          put(unsqueeze(t, 0));
          ++dim;
        } else if (mask) {
          // The message names the axis of the tensor as it stands after the views.
          put(t);
          for (int d = 1; d < t.ndim(); ++d) put(Tensor());
          dim += t.ndim();
        } else {
          GS_CHECK_INDEX(t.dtype() == DType::Int64 || t.dtype() == DType::Int32,
                         "tensors used as indices must be long, int, byte or bool tensors");
          put(t);
          ++dim;
        }
        break;
      }
    }
  }
  return x;
}

/// Masks count as one entry for all of their axes in index().
void drop_mask_fillers(std::vector<Tensor>& indices) {
  std::vector<Tensor> out;
  for (size_t k = 0; k < indices.size(); ++k) {
    const Tensor& t = indices[k];
    out.push_back(t);
    if (t.defined() && (t.dtype() == DType::Bool || t.dtype() == DType::UInt8)) {
      k += static_cast<size_t>(std::max(t.ndim() - 1, 0));
    }
  }
  indices = std::move(out);
}

/// Leading axes of size 1 that the target lacks are dropped from a value, as in PyTorch.
Tensor drop_leading_ones(const Tensor& value, int ndim) {
  int extra = 0;
  while (value.ndim() - extra > ndim && value.sizes()[extra] == 1) ++extra;
  if (extra == 0) return value;
  return view(value.contiguous() ? value : contiguous(value),
              Dims(value.sizes().begin() + extra, value.ndim() - extra));
}

}  // namespace

Tensor index(const Tensor& self, std::span<const IndexItem> items) {
  std::vector<Tensor> indices;
  const Tensor x = basic_index(self, items, indices);
  if (!indices.empty()) {
    drop_mask_fillers(indices);
    return index(x, indices);
  }
  return x.get() == self.get() ? view(self, self.sizes()) : x;
}

namespace {
/// PyTorch writes through a view of self, and says so of a leaf.
void check_leaf(const Tensor& self) {
  GS_CHECK(!(grad_enabled() && self->requires_grad && !self->grad_fn),
           "a view of a leaf Variable that requires grad is being used in an in-place operation.");
}
void copy_to_view(const Tensor& x, const Tensor& value) {
  const Tensor v = drop_leading_ones(value, x.ndim());
  if (!expandable_to(v.sizes(), x.sizes())) (void)expand(v, x.sizes());  // raises
  copy_(x, v);
}
}  // namespace

void assign_index(const Tensor& self, std::span<const IndexItem> items, const Tensor& value) {
  std::vector<Tensor> indices;
  const Tensor x = basic_index(self, items, indices);
  if (indices.empty()) {
    check_leaf(self);
    copy_to_view(x, value);
    return;
  }
  drop_mask_fillers(indices);
  index_put(x, indices, drop_leading_ones(value, 0), false, true);
}

void assign_index(const Tensor& self, std::span<const IndexItem> items, const Scalar& value) {
  std::vector<Tensor> indices;
  const Tensor x = basic_index(self, items, indices);
  if (indices.empty()) {
    check_leaf(self);
    fill_(x, value);
    return;
  }
  drop_mask_fillers(indices);
  if (indices.size() == 1 && indices[0].dtype() == DType::Bool && indices[0].sizes() == x.sizes()) {
    masked_fill(x, to(indices[0], DType::Bool, x.device()), value, true);
    return;
  }
  index_put(x, indices, scalar_tensor(value, options_of(x)), false, true);
}

// ---- along one axis ----

namespace {

/// An index argument as an int64 vector; `what` is PyTorch's complaint.
Tensor as_int64(const Tensor& index) {
  return index.dtype() == DType::Int64 ? index : to(index, DType::Int64);
}

Tensor as_vector(const Tensor& index) { return index.ndim() == 0 ? unsqueeze(index, 0) : index; }

bool is_index_type(const Tensor& t) {
  return t.dtype() == DType::Int64 || t.dtype() == DType::Int32;
}

/// The same elements with axis `dim` first.
Tensor axis_first(const Tensor& t, int64_t dim) {
  if (dim == 0) return t;
  Dims s = t.sizes(), st = t.strides();
  s.erase(static_cast<int>(dim));
  st.erase(static_cast<int>(dim));
  s.insert(0, t.sizes()[static_cast<int>(dim)]);
  st.insert(0, t.strides()[static_cast<int>(dim)]);
  return alias(t, s, st, t.offset());
}

/// A 0-d tensor as one of size 1, without history.
Tensor at_least_1d(const Tensor& t) { return t.ndim() == 0 ? alias(t, {1}, {1}, t.offset()) : t; }

void write_axis(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& values,
                bool accumulate, IndexRule rule) {
  static const Op& op = Op::get("index_put");
  const Tensor to = axis_first(at_least_1d(self), dim);
  const Tensor from = axis_first(at_least_1d(apart(values, self)), dim);
  const Params p = params(static_cast<int64_t>(rule), dim, int64_t{1}, int64_t{accumulate});
  run(op, p, {&to}, {&to, &from, &index}, compute_type(self.dtype()));
}

// dself = zeros with dy added at index
void index_select_backward(Backward& b) {
  const Dims sizes = dims_from(b, 1);
  b.set(0, index_add(zeros(sizes, options_of(b.grad())), b.i(0), b.saved(0), b.grad(), 1, true));
}

// dsource = dy[index]
void index_add_backward(Backward& b) {
  if (b.needs(0)) b.set(0, b.grad());
  if (b.needs(1)) b.set(1, reshape(index_select(b.grad(), b.i(0), b.saved(0)), dims_from(b, 1)));
}

void index_copy_backward(Backward& b) {
  if (b.needs(0)) b.set(0, index_fill(b.grad(), b.i(0), b.saved(0), 0));
  if (b.needs(1)) b.set(1, reshape(index_select(b.grad(), b.i(0), b.saved(0)), dims_from(b, 1)));
}

void index_fill_backward(Backward& b) {
  if (b.needs(0)) b.set(0, index_fill(b.grad(), b.i(0), b.saved(0), 0));
  if (b.needs(1)) {
    const Tensor at = unique(b.saved(0)).values;
    b.set(1, sum_to_size(index_select(b.grad(), b.i(0), at), {}));
  }
}

}  // namespace

Tensor index_select(const Tensor& self, int64_t dim, const Tensor& index) {
  static const Op& op = define("index_select", &index_select_backward);
  static const Op& read = Op::get("index");
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK_INDEX(index.ndim() <= 1, "index_select(): Index is supposed to be a vector");
  GS_CHECK(is_index_type(index), "index_select(): Expected dtype int32 or int64 for index");
  const Tensor at = as_vector(as_int64(index));
  Dims sizes = self.sizes();
  if (self.ndim() == 0) {
    GS_CHECK_INDEX(at.numel() == 1,
                   "index_select(): Index to scalar can have only 1 value, got {} value(s)",
                   at.numel());
  } else {
    sizes[static_cast<int>(dim)] = at.numel();
  }
  const Tensor out = empty(sizes, options_of(self));
  const Tensor from = axis_first(at_least_1d(self), dim);
  const Tensor to = axis_first(at_least_1d(out), dim);
  run(read, params(static_cast<int64_t>(IndexRule::Select), dim, int64_t{1}), {&to}, {&from, &at});
  if (needs_grad(self)) record(op, params(dim, self.sizes()), {&out}, {&self}, {keep(at)});
  return out;
}

Tensor index_add(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha, bool inplace) {
  static const Op& op = define("index_add", &index_add_backward);
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK(is_index_type(index), "index_add_(): Expected dtype int32/int64 for index but got: {}",
           scalar_name(index.dtype()));
  GS_CHECK_INDEX(
      index.ndim() <= 1,
      "index_add_(): Index is supposed to be a vector, but got dim: {} with type: {} and size: {}",
      index.ndim(), scalar_name(index.dtype()), index.sizes());
  GS_CHECK(self.dtype() == source.dtype(),
           "index_add_(): self ({}) and source ({}) must have the same scalar type",
           scalar_name(self.dtype()), scalar_name(source.dtype()));
  const int64_t n = source.ndim() == 0 ? 1 : source.size(dim);
  GS_CHECK(
      index.numel() == n,
      "index_add_(): Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {}",
      index.numel(), n, dim);
  bool same = self.ndim() == source.ndim() || self.numel() == source.numel();
  for (int d = 0; d < self.ndim() && same && self.ndim() == source.ndim(); ++d) {
    same = d == dim || self.sizes()[d] == source.sizes()[d];
  }
  GS_CHECK(
      same,
      "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
      "self.shape = {} source.shape = {}",
      self.sizes(), source.sizes());
  const Tensor values = alpha.to_double() == 1 ? source : to(mul(source, alpha), self.dtype());
  const Tensor at = as_vector(as_int64(index));
  const Tensor out = write_target(self, inplace, {&index, &source});
  write_axis(out, dim, at, values, true, IndexRule::Gather);
  finish_write(op, params(dim, values.sizes()), out, inplace, {&self, &values}, {keep(at)});
  return out;
}

Tensor index_copy(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source,
                  bool inplace) {
  static const Op& op = define("index_copy", &index_copy_backward);
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK_INDEX(index.ndim() <= 1, "index_copy_(): Index should have dimension 1 or 0 (got {})",
                 index.ndim());
  const int64_t n = source.ndim() == 0 ? 1 : source.size(dim);
  if (source.ndim() == 0) {
    GS_CHECK_INDEX(index.numel() == 1,
                   "index_copy_(): When source is scalar, index should have one element (got {})",
                   index.numel());
  } else if (self.ndim() != 0) {
    GS_CHECK_INDEX(
        source.ndim() == self.ndim(),
        "index_copy_(): When source and destination are not scalars, their dimensionality must "
        "match. Source dimensionality ({}), destination dimensionality ({})",
        source.ndim(), self.ndim());
  }
  GS_CHECK(index.dtype() == DType::Int64,
           "index_copy_(): Expected a long tensor for index, but got {}",
           scalar_name(index.dtype()));
  GS_CHECK(self.dtype() == source.dtype(),
           "index_copy_(): self and source expected to have the same dtype, but got (self) {} and "
           "(source) {}",
           scalar_name(self.dtype()), scalar_name(source.dtype()));
  Dims a = self.sizes(), b = source.sizes();
  if (!a.empty()) a.erase(static_cast<int>(dim));
  if (!b.empty()) b.erase(static_cast<int>(dim));
  for (int d = 0; d < std::max(a.size(), b.size()); ++d) {
    GS_CHECK(a == b,
             "index_copy_(): Source/destination tensor must have same slice shapes. Destination "
             "slice shape: "
             "{} at dimension {} and source slice shape: {} at dimension 0.",
             d < a.size() ? a[d] : 1, dim, d < b.size() ? b[d] : 1);
  }
  GS_CHECK_INDEX(index.numel() == n,
                 "index_copy_(): Number of indices ({}) should be equal to source.size(dim) ({})",
                 index.numel(), n);
  const Tensor at = as_vector(index);
  const Tensor out = write_target(self, inplace, {&index, &source});
  write_axis(out, dim, at, source, false, IndexRule::Copy);
  finish_write(op, params(dim, source.sizes()), out, inplace, {&self, &source}, {keep(at)});
  return out;
}

Tensor index_fill(const Tensor& self, int64_t dim, const Tensor& index, const Operand& value,
                  bool inplace) {
  static const Op& op = define("index_fill", &index_fill_backward);
  GS_CHECK(!value.tensor || value.tensor->ndim() == 0,
           "index_fill_ only supports a 0-dimensional value tensor, but got tensor with {} "
           "dimension(s).",
           value.tensor ? value.tensor->ndim() : 0);
  dim = wrap_dim(dim, self.ndim());
  GS_CHECK_INDEX(index.dtype() == DType::Int64, "index_fill_(): Expected dtype int64 for index.");
  GS_CHECK(index.ndim() <= 1, "Index has to be a vector/scalar");
  const Tensor at = as_vector(index);
  const Tensor v = value.tensor ? to(*value.tensor, self.dtype())
                                : scalar_tensor(value.number, options_of(self));
  const Tensor out = write_target(self, inplace, {&index}, true);
  {
    const GradMode off(false);
    Dims sizes = self.ndim() == 0 ? Dims{1} : self.sizes();
    sizes[static_cast<int>(dim)] = at.numel();
    write_axis(out, dim, at, expand(apart(v, out), sizes), false, IndexRule::Advanced);
  }
  finish_write(op, params(dim), out, inplace, {&self, &v}, {keep(at)});
  return out;
}

// ---- flat ----

namespace {
void put_backward(Backward& b) {
  if (b.needs(0)) {
    b.set(0, b.i(0) ? b.grad()
                    : put(b.grad(), b.saved(0), expand(zero_like(b.grad()), b.saved(0).sizes())));
  }
  if (b.needs(1)) b.set(1, reshape(take(b.grad(), b.saved(0)), dims_from(b, 1)));
}
}  // namespace

Tensor take(const Tensor& self, const Tensor& index) {
  GS_CHECK(index.dtype() == DType::Int64, "take(): Expected a long tensor for index, but got {}",
           scalar_name(index.dtype()));
  GS_CHECK_INDEX(self.numel() != 0 || index.numel() == 0,
                 "take(): tried to take from an empty tensor");
  return gradstep::index(reshape(self, {-1}), std::array<Tensor, 1>{index}, IndexRule::Take);
}

Tensor put(const Tensor& self, const Tensor& index, const Tensor& source, bool accumulate,
           bool inplace) {
  static const Op& op = define("put", &put_backward);
  GS_CHECK(index.dtype() == DType::Int64, "put_(): Expected a long tensor for index, but got {}",
           scalar_name(index.dtype()));
  GS_CHECK(self.dtype() == source.dtype(),
           "put_(): self and source expected to have the same dtype, but got self.dtype = {} and "
           "source.dtype = "
           "{}",
           scalar_name(self.dtype()), scalar_name(source.dtype()));
  GS_CHECK_INDEX(source.numel() == index.numel(),
                 "put_(): Expected source and index to have the same number of elements, but got "
                 "source.numel() "
                 "= {}, index.numel() = {}",
                 source.numel(), index.numel());
  const Tensor out = write_target(self, inplace, {&index, &source});
  {
    const GradMode off(false);
    const Tensor dense = contiguous(out);
    const Tensor flat = alias(dense, {dense.numel()}, {1}, dense.offset());
    write_axis(flat, 0, reshape(index, {-1}), reshape(source, {-1}), accumulate, IndexRule::Take);
    if (dense.get() != out.get()) {
      static const Op& copy = Op::get("copy");
      run(copy, params(), {&out}, {&dense});
    }
  }
  finish_write(op, params(int64_t{accumulate}, source.sizes()), out, inplace, {&self, &source},
               {keep(index)});
  return out;
}

// ---- masks ----

namespace {

// dself = dy where the mask is not set, dvalue = the sum of dy where it is
void masked_fill_backward(Backward& b) {
  const Tensor mask = b.saved(0);
  if (b.needs(0)) b.set(0, masked_fill(b.grad(), mask, 0));
  if (b.needs(1)) b.set(1, sum_to_size(where(mask, b.grad(), 0), {}));
}

void check_covers(const Tensor& self, const Dims& mask) {
  GS_CHECK(expandable_to(mask, self.sizes()),
           "output with shape {} doesn't match the broadcast shape {}", self.sizes(),
           broadcast(self.sizes(), mask));
}

}  // namespace

Tensor masked_fill(const Tensor& self, const Tensor& mask, const Operand& value, bool inplace) {
  static const Op& op = define("masked_fill", &masked_fill_backward);
  static const Op& where_op = Op::get("where");
  GS_CHECK(!value.tensor || value.tensor->ndim() == 0,
           "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} "
           "dimension(s).",
           value.tensor ? value.tensor->ndim() : 0);
  GS_CHECK(mask.dtype() == DType::Bool,
           "masked_fill_ only supports boolean masks, but got mask with dtype {}",
           element_name(mask.dtype()));
  const Dims sizes = broadcast(mask.sizes(), self.sizes());
  if (inplace) check_covers(self, mask.sizes());
  const Tensor x = self.sizes() == sizes ? self : expand(self, sizes);
  Tensor v;
  Scalar number = value.number;
  if (value.tensor) {
    v = to(*value.tensor, self.dtype());
    if (v.device().type == DeviceType::CPU) v = to(v, v.dtype(), self.device());
  } else if (!is_floating(self.dtype())) {
    number = self.dtype() == DType::Bool ? Scalar(number.to_bool()) : Scalar(number.to_int());
  }
  if (inplace) {
    check_inplace(self, true);
    check_partial_overlap(*self.get(), *mask.get());
  }
  const Tensor out = inplace ? self : empty(sizes, options_of(self));
  const Operand operands[] = {mask, value.tensor ? Operand(v) : Operand(number), x};
  map_into(where_op, out, operands);
  finish_write(op, params(), out, inplace, {&x, &v}, {keep(mask)});
  return out;
}

Tensor masked_select(const Tensor& self, const Tensor& mask) {
  GS_CHECK(mask.dtype() == DType::Bool || mask.dtype() == DType::UInt8,
           "masked_select: expected BoolTensor for mask");
  const Dims sizes = broadcast(mask.sizes(), self.sizes());
  const Tensor x = self.sizes() == sizes ? self : expand(self, sizes);
  const Tensor m = mask.sizes() == sizes ? mask : expand(mask, sizes);
  if (sizes.empty()) return index(unsqueeze(x, 0), std::array<Tensor, 1>{unsqueeze(m, 0)});
  return index(x, std::array<Tensor, 1>{m});
}

Tensor masked_scatter(const Tensor& self, const Tensor& mask, const Tensor& source, bool inplace) {
  GS_CHECK(mask.dtype() == DType::Bool,
           "masked_scatter_ only supports boolean masks, but got mask with dtype {}",
           scalar_name(mask.dtype()));
  GS_CHECK(self.dtype() == source.dtype(),
           "masked_scatter: expected self and source to have same dtypes but got{} and {}",
           scalar_name(self.dtype()), scalar_name(source.dtype()));
  const Dims sizes = broadcast(self.sizes(), mask.sizes());
  if (inplace) check_covers(self, mask.sizes());
  const Tensor m = mask.sizes() == sizes ? mask : expand(mask, sizes);
  const std::vector<Tensor> at = nonzero_tuple(m);
  const int64_t n = at[0].numel();
  GS_CHECK(source.numel() >= n, "Number of elements of source < number of ones in mask");
  if (inplace) check_inplace(self);
  const Tensor read = inplace && source->storage == self->storage ? clone(source) : source;
  const Tensor values = narrow(reshape(read, {-1}), 0, 0, n);
  Tensor x = self.sizes() == sizes ? self : expand(self, sizes);
  if (x.ndim() == 0) {
    if (!inplace) return reshape(index_put(unsqueeze(x, 0), at, values), {});
    index_put(unsqueeze(x, 0), at, values, false, true);
    return self;
  }
  return index_put(x, at, values, false, inplace);
}

}  // namespace gradstep
