// SPDX-License-Identifier: Apache-2.0
// What is compared before a captured function is replayed: see the note below.
//   Guard guard;  guard.add_dict("model", vars);  ..  guard.check() < 0     // all is as it was
// python/gradstep/_capture.py fills it.
#pragma once
#include <Python.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "graph/node.h"
#include "python/tensor_type.h"

namespace gradstep::python {

namespace py = pybind11;

// Note [What is compared before a replay]
// A replay is the eager run only if Python would do the same. So a guard keeps, for each place in
// which Python looks something up (the dicts of modules and optimizers, lists, cells of closures,
// globals that the function names), the objects that were found there; a replay wants to find the
// same ones. Numbers may be equal instead of identical. For tensors the memory and requires_grad
// are compared, too. The numbers of parameter groups are not compared: they are read again.
//
// CPython gives a class another version tag when anything of it changes, and (up to 3.11) a dict,
// too. Items next to each other that look into the same class or dict are passed over while its
// tag is the one with which they were last found as they were.

inline bool is_plain(PyObject* o) {
  return PyLong_CheckExact(o) || PyFloat_CheckExact(o) || PyUnicode_CheckExact(o) ||
         PyBool_Check(o) || PyBytes_CheckExact(o) || o == Py_None;
}

/// Equal where identity does not matter: numbers, strings, tuples of them.
inline bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (!a || !b || Py_TYPE(a) != Py_TYPE(b)) return false;
  if (PyTuple_CheckExact(a)) {
    if (PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b)) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); ++i) {
      if (!same_value(PyTuple_GET_ITEM(a, i), PyTuple_GET_ITEM(b, i))) return false;
    }
    return true;
  }
  if (PyFloat_CheckExact(a)) {  // -0.0 is another number than 0.0, and NaN is itself
    const double x = PyFloat_AS_DOUBLE(a), y = PyFloat_AS_DOUBLE(b);
    return std::memcmp(&x, &y, sizeof x) == 0;
  }
  if (PyMethod_Check(a)) {
    return PyMethod_GET_SELF(a) == PyMethod_GET_SELF(b) &&
           PyMethod_GET_FUNCTION(a) == PyMethod_GET_FUNCTION(b);
  }
  if (!is_plain(a)) return false;
  const int equal = PyObject_RichCompareBool(a, b, Py_EQ);
  if (equal < 0) PyErr_Clear();
  return equal == 1;
}

/// How many attributes somebody has set on a tensor.
inline Py_ssize_t attributes_of(PyObject* tensor) {
  PyObject* const d = reinterpret_cast<PyTensor*>(tensor)->dict;
  return d ? PyDict_GET_SIZE(d) : 0;
}

class Guard {
 public:
  Guard() = default;
  Guard(const Guard&) = delete;

  /// All entries of a dict but those of `skip`.
  void add_dict(std::string path, const py::dict& d, const py::object& skip) {
    Item& item = add(Kind::Dict, std::move(path), d);
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(d.ptr(), &at, &key, &value)) {
      const int skipped = skip.is_none() ? 0 : PySequence_Contains(skip.ptr(), key);
      if (skipped < 0) throw py::error_already_set();
      item.keys.push_back(py::reinterpret_borrow<py::object>(key));
      item.values.push_back(skipped ? py::object() : py::reinterpret_borrow<py::object>(value));
    }
  }
  /// One entry of a dict, which may be missing.
  void add_entry(std::string path, const py::dict& d, const py::object& key) {
    Item& item = add(Kind::Entry, std::move(path), d);
    item.keys.push_back(key);
    item.values.push_back(
        py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(d.ptr(), key.ptr())));
  }
  void add_list(std::string path, const py::list& l) {
    Item& item = add(Kind::List, std::move(path), l);
    for (const py::handle& v : l) item.values.push_back(py::reinterpret_borrow<py::object>(v));
  }
  /// One attribute of a class, as its own dict has it.
  void add_class_entry(std::string path, const py::type& cls, const py::object& key) {
    add_entry(std::move(path),
              py::reinterpret_borrow<py::dict>(reinterpret_cast<PyTypeObject*>(cls.ptr())->tp_dict),
              key);
    items_.back().cls = cls;
  }
  /// The code and defaults of a function, which can be replaced.
  void add_function(std::string path, const py::object& fn) {
    Item& item = add(Kind::Function, std::move(path), fn);
    for (PyObject* o : parts_of(fn.ptr())) item.values.push_back(borrowed(o));
  }
  /// What `read` returns, for things that only Python can look into.
  void add_read(std::string path, const py::object& read) {
    Item& item = add(Kind::Read, std::move(path), read);
    item.values.push_back(read());
  }
  /// A set: what `read` returns for it, but an empty one is seen to be empty.
  void add_set(std::string path, const py::object& set, const py::object& read) {
    add_read(std::move(path), read);
    Item& item = items_.back();
    if (PySet_GET_SIZE(set.ptr()) != 0) return;
    item.kind = Kind::EmptySet;
    item.owner = set;
  }
  void add_cell(std::string path, const py::object& cell) {
    Item& item = add(Kind::Cell, std::move(path), cell);
    item.values.push_back(py::reinterpret_borrow<py::object>(PyCell_GET(cell.ptr())));
  }
  void add_tensor(std::string path, const py::object& object) {
    Item& item = add(Kind::TensorState, std::move(path), object);
    const TensorImpl& t = *unwrap(object.ptr()).get();
    item.data = t.data;
    item.requires_grad = t.requires_grad;
    item.is_leaf = t.grad_fn == nullptr;
    item.hooks = hooks_of(t);
    item.sizes = t.sizes;
    item.strides = t.strides;
    item.dtype = t.dtype;
    item.attributes = attributes_of(object.ptr());
  }

  /// From now on leaves have to have the hooks that they had when they were added.
  void compare_hooks() { compares_hooks_ = true; }
  /// All that another guard compares, too.
  void take(Guard& other) {
    for (Item& item : items_) item.same_tag = 0;
    std::move(other.items_.begin(), other.items_.end(), std::back_inserter(items_));
    other.items_.clear();
  }

  /// The first item that is not as it was, or -1.
  Py_ssize_t check() {
    for (size_t i = 0; i < items_.size();) {
      Item& first = items_[i];
      const uint64_t tag = tag_of(first);
      const size_t end = i + run_of(i);
      if (tag == 0 || tag != first.tag) {
        for (size_t k = i; k < end; ++k) {
          if (!matches(items_[k])) return static_cast<Py_ssize_t>(k);
        }
        first.tag = tag;
      }
      i = end;
    }
    return -1;
  }

  /// (kind, path, key, value then, value now) of an item that does not match.
  py::tuple explain(size_t index) {
    Item& item = items_.at(index);
    const auto shown = [](const py::object& o) { return o.ptr() ? o : py::object(py::none()); };
    switch (item.kind) {
      case Kind::TensorState:
        return py::make_tuple("tensor", item.path, py::none(), item.requires_grad, item.owner);
      case Kind::Cell:
        return py::make_tuple(
            "cell", item.path, py::none(), shown(item.values[0]),
            shown(py::reinterpret_borrow<py::object>(PyCell_GET(item.owner.ptr()))));
      case Kind::Function:
        return py::make_tuple("function", item.path, py::none(), item.owner, item.owner);
      case Kind::EmptySet:
      case Kind::Read: return py::make_tuple("read", item.path, py::none(), py::none(), py::none());
      case Kind::List: {
        const py::list now = item.owner;
        for (size_t k = 0; k < std::min(item.values.size(), now.size()); ++k) {
          if (!same_value(item.values[k].ptr(), PyList_GET_ITEM(now.ptr(), k)))
            return py::make_tuple("list", item.path, k, item.values[k], now[k]);
        }
        return py::make_tuple("list", item.path, py::none(), item.values.size(), now.size());
      }
      default: {
        const py::dict now = item.owner;
        for (size_t k = 0; k < item.keys.size(); ++k) {
          PyObject* const v = PyDict_GetItemWithError(now.ptr(), item.keys[k].ptr());
          const bool wild = item.kind == Kind::Dict && !item.values[k].ptr();
          if (wild ? v != nullptr : same_value(item.values[k].ptr(), v)) continue;
          return py::make_tuple("dict", item.path, item.keys[k], shown(item.values[k]),
                                v ? py::reinterpret_borrow<py::object>(v) : py::object(py::none()));
        }
        for (const auto& [key, value] : now) {
          const bool known = std::any_of(item.keys.begin(), item.keys.end(),
                                         [&](const auto& k) { return k.ptr() == key.ptr(); });
          if (!known) return py::make_tuple("dict", item.path, key, py::none(), value);
        }
        return py::make_tuple("dict", item.path, py::none(), py::none(), py::none());
      }
    }
  }
  size_t size() const { return items_.size(); }

 private:
  enum class Kind : uint8_t { Dict, Entry, List, Cell, Function, Read, EmptySet, TensorState };
  struct Item {
    Kind kind;
    std::string path;
    py::object owner;
    py::object cls;         // of a class's entry
    uint64_t tag = 0;       // .. or a dict's: its version when all was as it was; 0: unknown
    uint32_t same_tag = 0;  // so many items from here on look into the same one; 0: not counted yet
    std::vector<py::object> keys, values;  // a value that is null matches anything (Dict)
    char* data = nullptr;
    bool requires_grad = false, is_leaf = true;
    DType dtype = DType::Float32;
    Dims sizes, strides;
    uint64_t hooks = 0;
    Py_ssize_t attributes = 0;  // how many were set on a tensor; their values are a dict's
  };

  static uint64_t tag_of(const Item& item) {
    if (item.cls) {
      const auto* const type = reinterpret_cast<PyTypeObject*>(item.cls.ptr());
      const bool valid = (type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG) != 0;
      return valid ? type->tp_version_tag : 0;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (item.kind == Kind::Dict || item.kind == Kind::Entry)
      return reinterpret_cast<PyDictObject*>(item.owner.ptr())->ma_version_tag;
#endif
    return 0;
  }
  size_t run_of(size_t i) {
    Item& first = items_[i];
    if (first.same_tag != 0) return first.same_tag;
    const bool tagged = first.kind == Kind::Dict || first.kind == Kind::Entry;
    do {
      ++first.same_tag;
      ++i;
    } while (tagged && i < items_.size() && items_[i].cls.ptr() == first.cls.ptr() &&
             items_[i].owner.ptr() == first.owner.ptr());
    return first.same_tag;
  }

  static py::object borrowed(PyObject* o) { return py::reinterpret_borrow<py::object>(o); }
  static std::array<PyObject*, 3> parts_of(PyObject* fn) {
    const auto* f = reinterpret_cast<PyFunctionObject*>(fn);
    return {f->func_code, f->func_defaults, f->func_kwdefaults};
  }
  /// Another number when a hook came or went: their ids only grow.
  static uint64_t hooks_of(const TensorImpl& t) {
    uint64_t sum = 0;
    if (!t.meta) return sum;
    for (const auto* list : {&t.meta->hooks.pre, &t.meta->hooks.post}) {
      for (const auto& hook : *list) sum = sum * 31 + hook->id;
    }
    return sum;
  }

  Item& add(Kind kind, std::string path, py::object owner) {
    Item& item = items_.emplace_back();
    item.kind = kind;
    item.path = std::move(path);
    item.owner = std::move(owner);
    return item;
  }

  /// Equal values take the place of the old ones, so that the next look finds them identical.
  static bool same(py::object& was, PyObject* now) {
    if (was.ptr() == now) return true;
    if (!same_value(was.ptr(), now)) return false;
    was = py::reinterpret_borrow<py::object>(now);
    return true;
  }

  bool matches(Item& item) const {
    switch (item.kind) {
      case Kind::Dict: {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        size_t k = 0;
        if (PyDict_GET_SIZE(item.owner.ptr()) != static_cast<Py_ssize_t>(item.keys.size()))
          return false;
        while (PyDict_Next(item.owner.ptr(), &at, &key, &value)) {
          if (key != item.keys[k].ptr()) return false;
          if (item.values[k].ptr() && value != item.values[k].ptr() && !same(item.values[k], value))
            return false;
          ++k;
        }
        return true;
      }
      case Kind::Entry:
        return same(item.values[0], PyDict_GetItemWithError(item.owner.ptr(), item.keys[0].ptr()));
      case Kind::List: {
        if (PyList_GET_SIZE(item.owner.ptr()) != static_cast<Py_ssize_t>(item.values.size()))
          return false;
        for (size_t k = 0; k < item.values.size(); ++k) {
          if (!same(item.values[k], PyList_GET_ITEM(item.owner.ptr(), k))) return false;
        }
        return true;
      }
      case Kind::Cell: return same(item.values[0], PyCell_GET(item.owner.ptr()));
      case Kind::Function: {
        const auto now = parts_of(item.owner.ptr());
        return std::equal(now.begin(), now.end(), item.values.begin(),
                          [](PyObject* o, const py::object& was) { return o == was.ptr(); });
      }
      case Kind::Read: {
        PyObject* const now = PyObject_CallNoArgs(item.owner.ptr());
        if (!now) PyErr_Clear();
        const Owned held(now);
        return now && same(item.values[0], now);
      }
      case Kind::EmptySet: return PySet_GET_SIZE(item.owner.ptr()) == 0;
      case Kind::TensorState: {
        const TensorImpl& t = *reinterpret_cast<PyTensor*>(item.owner.ptr())->impl;
        return t.data == item.data && t.requires_grad == item.requires_grad &&
               (t.grad_fn == nullptr) == item.is_leaf && t.dtype == item.dtype &&
               (!compares_hooks_ || hooks_of(t) == item.hooks) && t.sizes == item.sizes &&
               t.strides == item.strides && attributes_of(item.owner.ptr()) == item.attributes;
      }
    }
    return false;
  }

  std::vector<Item> items_;
  bool compares_hooks_ = false;
};

}  // namespace gradstep::python
