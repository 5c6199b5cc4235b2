// SPDX-License-Identifier: Apache-2.0
#include "python/interop.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <string>

#include "ops/create.h"
#include "ops/pointwise.h"
#include "python/function.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

// ---- numbers out ----

namespace {
Scalar read_item(const char* p, DType dtype) {
  return dispatch(dtype, [&](auto tag) -> Scalar {
    using T = decltype(tag);
    T v;
    std::memcpy(&v, p, sizeof(T));
    if constexpr (std::is_same_v<T, bool>) {
      return Scalar(v);
    } else if constexpr (std::is_integral_v<T>) {
      return Scalar(static_cast<int64_t>(v));
    } else if constexpr (std::is_same_v<T, double>) {
      return Scalar(v);
    } else {
      return Scalar(static_cast<double>(static_cast<float>(v)));
    }
  });
}

PyObject* to_list(const Tensor& t, int dim, const char* p) {
  refuse_capture("the values of a tensor are read");
  if (dim == t.ndim()) return wrap(read_item(p, t.dtype()));
  const int64_t n = t.sizes()[dim];
  const int64_t step = t.strides()[dim] * static_cast<int64_t>(element_size(t.dtype()));
  PyObject* list = check(PyList_New(n));
  for (int64_t i = 0; i < n; ++i)
    PyList_SET_ITEM(list, i, check(to_list(t, dim + 1, p + i * step)));
  return list;
}
}  // namespace

Scalar item(const Tensor& t) {
  GS_CHECK(t.numel() == 1, "a Tensor with {} elements cannot be converted to Scalar", t.numel());
  char element[8];
  read_element(*t.get(), 0, element);
  return read_item(element, t.dtype());
}

// ---- lists in ----

DType numpy_type(const py::dtype& d) {
  const char kind = d.kind();
  const auto size = d.itemsize();
  switch (kind) {
    case 'b': return DType::Bool;
    case 'u':
      if (size == 1) return DType::UInt8;
      break;
    case 'i':
      return size == 1   ? DType::Int8
             : size == 2 ? DType::Int16
             : size == 4 ? DType::Int32
                         : DType::Int64;
    case 'f':
      if (size == 2) return DType::Float16;
      if (size == 4) return DType::Float32;
      if (size == 8) return DType::Float64;
      break;
    default: break;
  }
  fail(ErrorKind::Type,
       "can't convert np.ndarray of type {}. The only supported types are: float64, float32, "
       "float16, int64, int32, "
       "int16, int8, uint8, and bool.",
       std::string(py::str(d.attr("type").attr("__name__"))));
}

namespace {

/// An array of numpy's or of a class made from it (memmap, recarray, ..).
bool is_ndarray(PyObject* o) {
  for (const PyTypeObject* type = Py_TYPE(o); type; type = type->tp_base) {
    if (std::strcmp(type->tp_name, "numpy.ndarray") == 0) return true;
  }
  return false;
}

bool is_numpy_array(PyObject* o) {
  return std::strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray") == 0 ||
         PyObject_HasAttrString(o, "__array_interface__");
}

/// The type of one element of a nested list.
DType element_type(PyObject* o) {
  if (PyBool_Check(o)) return DType::Bool;
  if (PyLong_Check(o)) return DType::Int64;
  if (PyFloat_CheckExact(o)) return default_dtype();
  if (is_tensor(o)) return unwrap(o).dtype();
  if (PyObject_HasAttrString(o, "dtype") && std::strncmp(Py_TYPE(o)->tp_name, "numpy.", 6) == 0) {
    return numpy_type(py::reinterpret_steal<py::dtype>(PyObject_GetAttrString(o, "dtype")));
  }
  if (PyFloat_Check(o)) return default_dtype();
  fail(ErrorKind::Type, "new(): invalid data type '{}'", Py_TYPE(o)->tp_name);
}

/// A Python number of exact type: most elements of most lists, told apart without asking for
/// attributes, each of which would cost an exception.
bool is_plain_number(PyObject* o) {
  return PyFloat_CheckExact(o) || PyLong_CheckExact(o) || PyBool_Check(o);
}

bool is_sequence(PyObject* o) {
  if (is_plain_number(o)) return false;
  if (PyList_Check(o) || PyTuple_Check(o)) return true;
  if (PyUnicode_Check(o) || PyBytes_Check(o) || PyDict_Check(o) || is_tensor(o) || number(o))
    return false;
  return PySequence_Check(o) != 0;
}

struct ListReader {
  Dims sizes;
  std::optional<DType> type;

  void measure(PyObject* o, int depth) {
    if (!is_sequence(o)) {
      if (!is_plain_number(o) && (is_tensor(o) || is_numpy_array(o))) {
        // A nested tensor counts as the list it would be.
        const Tensor t = is_tensor(o) ? unwrap(o) : tensor_from_numpy(o);
        for (int d = 0; d < t.ndim(); ++d) extend(depth + d, t.sizes()[d]);
        GS_CHECK_VALUE(depth + t.ndim() == sizes.size(),
                       "only one element tensors can be converted to Python scalars");
        type = type ? promote(*type, t.dtype()) : t.dtype();
        closed_ = true;
        return;
      }
      GS_CHECK_VALUE(depth == sizes.size(),
                     "expected sequence of length {} at dim {} (got a number)",
                     sizes[std::min(depth, sizes.size() - 1)], depth);
      closed_ = true;
      const DType t = element_type(o);
      type = type ? promote(*type, t) : t;
      return;
    }
    PyObject* fast = check(PySequence_Fast(o, "not a sequence"));
    const py::object owner = py::reinterpret_steal<py::object>(fast);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(fast);
    extend(depth, n);
    // Looking at an item can run code that shortens the list.
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); ++i) {
      measure(py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(fast, i)).ptr(),
              depth + 1);
    }
  }

  void extend(int depth, int64_t n) {
    if (depth == sizes.size() && !closed_) {
      sizes.push_back(n);
      return;
    }
    GS_CHECK_TYPE(depth < sizes.size(), "must be real number, not list");
    GS_CHECK_VALUE(sizes[depth] == n, "expected sequence of length {} at dim {} (got {})",
                   sizes[depth], depth, n);
  }

  void read(PyObject* o, int depth, const Tensor& out, int64_t& at) {
    closed_ = true;
    const bool plain = is_plain_number(o);
    if (!plain && (is_tensor(o) || (!is_sequence(o) && is_numpy_array(o)))) {
      const Tensor t = to(contiguous(is_tensor(o) ? detach(unwrap(o)) : tensor_from_numpy(o)),
                          out.dtype(), Device{});
      GS_CHECK_VALUE(t.numel() <= out.numel() - at, "expected sequences of equal length");
      std::memcpy(out->data + at * static_cast<int64_t>(element_size(out.dtype())), t->data,
                  static_cast<size_t>(t.numel()) * element_size(out.dtype()));
      at += t.numel();
      return;
    }
    if (!plain && is_sequence(o)) {
      PyObject* fast = check(PySequence_Fast(o, "not a sequence"));
      const py::object owner = py::reinterpret_steal<py::object>(fast);
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); ++i) {
        read(py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(fast, i)).ptr(), depth + 1,
             out, at);
      }
      return;
    }
    const auto n = number(o);
    GS_CHECK_TYPE(n, "new(): invalid data type '{}'", Py_TYPE(o)->tp_name);
    GS_CHECK_VALUE(at < out.numel(), "expected sequences of equal length");
    dispatch(out.dtype(), [&](auto tag) {
      using T = decltype(tag);
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        const int64_t v = n->to_int();
        GS_CHECK(v >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
                     v <= static_cast<int64_t>(std::numeric_limits<T>::max()),
                 "value cannot be converted to type {} without overflow", name(out.dtype()));
      }
      out.data<T>()[at] = n->template to<T>();
    });
    ++at;
  }

 private:
  bool closed_ = false;
};

}  // namespace

bool PyArray_like(PyObject* o) {
  if (!is_ndarray(o)) return false;
  return py::reinterpret_borrow<py::array>(o).ndim() > 0;
}

Tensor tensor_from_numpy(PyObject* array) {
  py::array a = py::array::ensure(py::reinterpret_borrow<py::object>(array));
  if (!a) throw PythonError();
  const py::dtype d = a.dtype();
  GS_CHECK_VALUE(d.byteorder() == '=' || d.byteorder() == '|' || d.byteorder() == '<',
                 "given numpy array has byte order different from the native byte order. "
                 "Conversion between byte "
                 "orders is currently not supported.");
  const DType type = numpy_type(d);
  const auto item_size = static_cast<int64_t>(element_size(type));
  Dims sizes, strides;
  for (py::ssize_t k = 0; k < a.ndim(); ++k) {
    GS_CHECK_VALUE(a.strides(k) >= 0 || a.shape(k) <= 1,
                   "At least one stride in the given numpy array is negative, and tensors with "
                   "negative strides are "
                   "not currently supported. (You can probably work around this by making a copy "
                   "of your array  with "
                   "array.copy().) ");
    GS_CHECK_VALUE(a.strides(k) % item_size == 0,
                   "given numpy array strides not a multiple of the element byte size. Copy the "
                   "numpy array to "
                   "reallocate the memory.");
    sizes.push_back(a.shape(k));
    strides.push_back(a.shape(k) <= 1 ? 1 : a.strides(k) / item_size);
  }
  refuse_capture("a numpy array comes in, whose values a replay would not look at");
  if (is_contiguous(sizes, strides)) strides = contiguous_strides(sizes);
  return tensor_of_memory(
      const_cast<void*>(a.data()), sizes, strides, type, {},
      [](void* owner) { Py_DECREF(static_cast<PyObject*>(owner)); }, a.inc_ref().ptr());
}

Tensor tensor_of_memory(void* data, const Dims& sizes, const Dims& strides, DType dtype,
                        Device device, void (*free)(void*), void* owner) {
  int64_t last = 0;
  for (int d = 0; d < sizes.size(); ++d) {
    int64_t reach = 0;
    GS_CHECK(!__builtin_mul_overflow(std::max<int64_t>(0, sizes[d] - 1), strides[d], &reach) &&
                 !__builtin_add_overflow(last, reach, &last) && last < (int64_t{1} << 59),
             "Storage size calculation overflowed with sizes={} and strides={}", sizes, strides);
  }
  const size_t bytes =
      count_elements(sizes) == 0 ? 0 : static_cast<size_t>(last + 1) * element_size(dtype);
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->storage = Ref(Storage::wrap(data, bytes, device, free, owner));
  t->sizes = sizes;
  t->strides = strides;
  t->dtype = dtype;
  t->device = device;
  t->data = t->storage->data;
  t->update_geometry();
  return out;
}

Tensor tensor_from_object(PyObject* data, std::optional<DType> dtype) {
  const GradMode off(false);
  if (is_tensor(data)) {
    const Tensor t = unwrap(data);
    return to(contiguous(t), dtype.value_or(t.dtype()), true);
  }
  if (const auto n = number(data)) {
    const DType type = dtype ? *dtype : element_type(data);
    return full({}, *n, {type, {}});
  }
  const bool is_list = PyList_Check(data) || PyTuple_Check(data);
  if (!is_list) {
    if (const Tensor t = tensor_from_cuda_array(data, {})) {
      return to(contiguous(t), dtype.value_or(t.dtype()), true);
    }
  }
  if (!is_list && is_numpy_array(data)) {
    const Tensor t = tensor_from_numpy(data);
    return to(contiguous(t), dtype.value_or(t.dtype()), true);
  }
  if (!is_sequence(data) && PyObject_HasAttrString(data, "__array__")) {
    const py::object a =
        py::reinterpret_steal<py::object>(check(PyObject_CallMethod(data, "__array__", nullptr)));
    return tensor_from_object(a.ptr(), dtype);
  }
  GS_CHECK_TYPE(is_sequence(data), "new(): invalid data type '{}'", Py_TYPE(data)->tp_name);
  ListReader reader;
  reader.measure(data, 0);
  // A second look with the shape known finds ragged rows.
  const Tensor out = empty(reader.sizes, dtype ? *dtype : reader.type.value_or(default_dtype()));
  int64_t at = 0;
  reader.read(data, 0, out, at);
  GS_CHECK_VALUE(at == out.numel(), "expected sequences of equal length");
  return out;
}

// ---- numpy out ----

py::dtype numpy_dtype(DType t) {
  static const char* names[kDTypes] = {"?",  "u1", "i1",    "i2", "i4",
                                       "i8", "f2", nullptr, "f4", "f8"};
  const char* n = names[static_cast<int>(t)];
  GS_CHECK_TYPE(n, "Got unsupported ScalarType {}", scalar_name(t));
  return py::dtype(n);
}

namespace {

PyObject* to_numpy(const Tensor& t, bool force) {
  refuse_capture("the memory of a tensor is given to numpy");
  if (force) return to_numpy(to(detach(t), t.dtype(), Device{}), false);
  GS_CHECK(!t.wants_grad(),
           "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
  GS_CHECK_TYPE(t.device().type == DeviceType::CPU,
                "can't convert {} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                "to host memory first.",
                t.device());
  std::vector<py::ssize_t> shape(t.sizes().begin(), t.sizes().end());
  std::vector<py::ssize_t> strides;
  for (const int64_t s : t.strides())
    strides.push_back(s * static_cast<int64_t>(element_size(t.dtype())));
  // The array keeps the storage alive.
  t->storage->ref_count++;
  const py::capsule owner(t->storage.get(),
                          [](void* s) { Ref<Storage>::adopt(static_cast<Storage*>(s)).reset(); });
  static char nothing;
  return py::array(numpy_dtype(t.dtype()), shape, strides,
                   t.numel() ? static_cast<void*>(t->data) : &nothing, owner)
      .release()
      .ptr();
}

const FunctionRow kRows[] = {
    {"item", "(Tensor input)", Method, "The value of a tensor of one element, as a Python number.",
     [](Args& a) { return wrap(item(a.tensor(0))); }},
    {"tolist", "(Tensor input)", Method, "A (nested) list of the elements.",
     [](Args& a) {
       const Tensor t = to(detach(a.tensor(0)), a.tensor(0).dtype(), Device{});
       return to_list(t, 0, t->data);
     }},
    {"numpy", "(Tensor input, *, bool force=False)", Method,
     "A numpy array that shares memory with the tensor.",
     [](Args& a) { return to_numpy(a.tensor(0), a.flag(1)); }},
    {"from_numpy", "(object ndarray)", Fn, "A tensor that shares memory with the array.",
     [](Args& a) {
       GS_CHECK_TYPE(is_ndarray(a.object(0)), "expected np.ndarray (got {})",
                     Py_TYPE(a.object(0))->tp_name);
       return wrap(tensor_from_numpy(a.object(0)));
     }},
    {"__array__", "(Tensor input, object dtype=None, object copy=None)", Method, "",
     [](Args& a) {
       const py::object array = py::reinterpret_steal<py::object>(to_numpy(a.tensor(0), false));
       const bool copy = a.object(2) == Py_True;
       if (!a.has(1)) return (copy ? array.attr("copy")() : py::object(array)).release().ptr();
       return array.attr("astype")(py::handle(a.object(1)), py::arg("copy") = copy).release().ptr();
     }},
};

}  // namespace

void add_interop(PyObject*) {
  add_functions(kRows);
  add_memory_sharing();
}

}  // namespace gradstep::python
