// SPDX-License-Identifier: Apache-2.0
// Keys of x[key]: ints, slices, None, Ellipsis, bools, tensors, numpy arrays, lists, and tuples of
// them. They become IndexItems (ops/index.h); a plain int or slice goes to its view at once.
#include "python/indexing.h"

#include <array>

#include "ops/index.h"
#include "ops/pointwise.h"
#include "ops/view.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

/// The items of one key; most keys are short.
class Items {
 public:
  void add(IndexItem item) {
    if (n_ < kInline) {
      inline_[n_++] = std::move(item);
      return;
    }
    if (many_.empty())
      many_.assign(std::make_move_iterator(inline_.begin()),
                   std::make_move_iterator(inline_.end()));
    many_.push_back(std::move(item));
  }
  std::span<const IndexItem> view() const {
    return many_.empty() ? std::span<const IndexItem>(inline_.data(), n_)
                         : std::span<const IndexItem>(many_);
  }

 private:
  static constexpr size_t kInline = 4;
  std::array<IndexItem, kInline> inline_;
  size_t n_ = 0;
  std::vector<IndexItem> many_;
};

/// Throws Python's IndexError for ints beyond 64 bits.
int64_t as_int(PyObject* o) {
  const Py_ssize_t i = PyNumber_AsSsize_t(o, PyExc_IndexError);
  if (i == -1 && PyErr_Occurred()) throw PythonError();
  return i;
}

struct SliceBounds {
  int64_t start, stop, step;
};

SliceBounds unpack_slice(PyObject* o) {
  Py_ssize_t start = 0, stop = 0, step = 0;
  if (PySlice_Unpack(o, &start, &stop, &step) < 0) throw PythonError();
  GS_CHECK_VALUE(step > 0, "step must be greater than zero");
  return {start, stop, std::min<int64_t>(step, INT32_MAX)};
}

[[noreturn]] void fail_key(PyObject* o) {
  fail(ErrorKind::Index,
       "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
       "indices (got {})",
       Py_TYPE(o)->tp_name);
}

/// A list or range of numbers as an index tensor: bools are a mask, floats are cut to integers.
Tensor sequence_index(PyObject* o) {
  if (PyUnicode_Check(o) || PyBytes_Check(o)) {
    fail(ErrorKind::Type, "new(): invalid data type '{}'", Py_TYPE(o)->tp_name);
  }
  const Tensor t = tensor_from_object(o, std::nullopt);
  return t.dtype() == DType::Bool ? t : to(t, DType::Int64);
}

IndexItem tensor_item(const Tensor& t) {
  if (t.ndim() == 0 && is_integral(t.dtype()) && t.dtype() != DType::UInt8) {
    return IndexItem::integer(item(t).to_int());
  }
  GS_CHECK_INDEX(t.dtype() == DType::Int64 || t.dtype() == DType::Int32 ||
                     t.dtype() == DType::Bool || t.dtype() == DType::UInt8,
                 "tensors used as indices must be long, int, byte or bool tensors");
  return IndexItem::advanced(t);
}

IndexItem make_item(PyObject* o) {
  if (PyLong_CheckExact(o)) return IndexItem::integer(as_int(o));
  if (PySlice_Check(o)) {
    const SliceBounds s = unpack_slice(o);
    return IndexItem::slice(s.start, s.stop, s.step);
  }
  if (o == Py_None) return IndexItem::new_axis();
  if (o == Py_Ellipsis) return IndexItem::ellipsis();
  if (PyBool_Check(o)) return IndexItem::boolean(o == Py_True);
  if (is_tensor(o)) return tensor_item(unwrap(o));
  if (PyObject_HasAttrString(o, "__array__") && !PyIndex_Check(o))
    return tensor_item(tensor_from_object(o, {}));
  if (PyArray_like(o)) return tensor_item(tensor_from_object(o, {}));
  if (PySequence_Check(o)) return tensor_item(sequence_index(o));
  if (PyIndex_Check(o)) return IndexItem::integer(as_int(o));
  if (const std::optional<Scalar> s = number(o); s && s->category() == Category::Bool) {
    return IndexItem::boolean(s->to_bool());
  }
  fail_key(o);
}

/// numpy's old rule: a short list that holds anything but numbers stands for a tuple.
bool is_tuple_like(PyObject* o) {
  if (PyTuple_Check(o)) return true;
  if (!PyList_Check(o)) return false;
  const Py_ssize_t n = PyList_GET_SIZE(o);
  if (n >= 32) return false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* x = PyList_GET_ITEM(o, i);
    if (x == Py_None || x == Py_Ellipsis || PySlice_Check(x) || is_tensor(x) || PySequence_Check(x))
      return true;
  }
  return false;
}

void unpack_key(PyObject* key, Items& items) {
  if (!is_tuple_like(key)) return items.add(make_item(key));
  PyObject* const* values = PySequence_Fast_ITEMS(key);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(key);
  for (Py_ssize_t i = 0; i < n; ++i) items.add(make_item(values[i]));
}

[[noreturn, gnu::noinline]] void fail_scalar_index() {
  fail(ErrorKind::Index,
       "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
       "C++ to convert a "
       "0-dim tensor to a number");
}

}  // namespace

Tensor getitem(const Tensor& self, PyObject* key) {
  if (PyLong_CheckExact(key)) {
    if (self.ndim() == 0) fail_scalar_index();
    return select(self, 0, as_int(key));
  }
  if (PySlice_Check(key) && self.ndim() != 0) {
    const SliceBounds s = unpack_slice(key);
    return slice(self, 0, s.start, s.stop, s.step);
  }
  Items items;
  unpack_key(key, items);
  return index(self, items.view());
}

void setitem(const Tensor& self, PyObject* key, PyObject* value) {
  if (!value) fail(ErrorKind::Type, "Tensor does not support deleting items");
  Items items;
  if (is_tensor(value)) {
    unpack_key(key, items);
    return assign_index(self, items.view(), unwrap(value));
  }
  const std::optional<Scalar> scalar = number(value);
  if (!scalar) {
    fail(ErrorKind::Type, "can't assign a {} to a torch.{}Tensor", Py_TYPE(value)->tp_name,
         scalar_name(self.dtype()));
  }
  unpack_key(key, items);
  assign_index(self, items.view(), *scalar);
}

PyObject* tensor_getitem(PyObject* self, PyObject* key) {
  return guard([&] { return wrap(getitem(unwrap(self), key)); });
}

int tensor_setitem(PyObject* self, PyObject* key, PyObject* value) {
  return guard_int([&] { setitem(unwrap(self), key, value); });
}

}  // namespace gradstep::python
