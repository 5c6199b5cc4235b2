// SPDX-License-Identifier: Apache-2.0
#include "python/interop.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <string>

#include "core/cuda_api.h"
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

namespace {

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
  if (std::strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray") != 0) return false;
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
  int64_t last = 0;
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
    last += std::max<int64_t>(0, a.shape(k) - 1) * strides[static_cast<int>(k)];
  }
  refuse_capture("a numpy array comes in, whose values a replay would not look at");
  const size_t bytes = a.size() == 0 ? 0 : static_cast<size_t>((last + 1) * item_size);
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->storage = Ref(Storage::wrap(
      const_cast<void*>(a.data()), bytes, {},
      [](void* owner) { Py_DECREF(static_cast<PyObject*>(owner)); }, a.inc_ref().ptr()));
  t->sizes = sizes;
  t->strides = strides;
  t->dtype = type;
  t->data = t->storage->data;
  t->update_geometry();
  if (t->contiguous) t->strides = contiguous_strides(sizes);
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
  if (is_numpy_array(data)) {
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

namespace {

py::dtype numpy_dtype(DType t) {
  static const char* names[kDTypes] = {"?",  "u1", "i1",    "i2", "i4",
                                       "i8", "f2", nullptr, "f4", "f8"};
  const char* n = names[static_cast<int>(t)];
  GS_CHECK_TYPE(n, "Got unsupported ScalarType {}", scalar_name(t));
  return py::dtype(n);
}

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

// ---- DLPack: the C structures of its version 0.8, by their published layout ----

struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
constexpr int kDlCpu = 1, kDlCuda = 2, kDlPinned = 3;

DLDevice dl_device(Device d) {
  if (d.type == DeviceType::CPU) return {kDlCpu, 0};
  return {kDlCuda, d.index};
}

/// Work of the current stream so far comes before what the consumer's stream does from now on.
/// By DLPack's convention 1 (or nothing) is the default stream, -1 asks for no order.
void order_streams(Device device, PyObject* consumer) {
  const CudaApi& cuda = cuda_api();
  const long stream = consumer == Py_None ? 1 : PyLong_AsLong(consumer);
  if (stream == -1) {
    if (PyErr_Occurred()) throw PythonError();
    return;
  }
  GS_CHECK(stream != 0, "__dlpack__: stream 0 is ambiguous: use 1 for the default stream");
  void* theirs = stream == 1 ? nullptr : reinterpret_cast<void*>(stream);  // NOLINT: a handle
  void* ours = cuda.current_stream(device.index);
  if (theirs == ours) return;
  void* event = cuda.create_event(device.index, false, false);
  cuda.record_event(event, ours);
  cuda.wait_event(theirs, event);
  cuda.destroy_event(event);
}

DLDataType dl_type(DType t) {
  const auto bits = static_cast<uint8_t>(8 * element_size(t));
  if (t == DType::Bool) return {6, 8, 1};
  if (t == DType::BFloat16) return {4, 16, 1};
  if (is_floating(t)) return {2, bits, 1};
  return {static_cast<uint8_t>(t == DType::UInt8 ? 1 : 0), bits, 1};
}

DType from_dl_type(DLDataType d) {
  GS_CHECK(d.lanes == 1, "ATen does not support lanes != 1");
  for (int i = 0; i < kDTypes; ++i) {
    const DLDataType have = dl_type(static_cast<DType>(i));
    if (have.code == d.code && have.bits == d.bits) return static_cast<DType>(i);
  }
  fail(ErrorKind::Runtime, "Unsupported DLPack type: code {}, bits {}", int(d.code), int(d.bits));
}

PyObject* to_dlpack(const Tensor& t, PyObject* stream) {
  if (t.wants_grad()) {
    PyErr_SetString(PyExc_BufferError,
                    "Can't export tensors that require gradient, use tensor.detach()");
    throw PythonError();
  }
  refuse_capture("the memory of a tensor is given away by DLPack");
  if (t.device().type == DeviceType::CUDA) order_streams(t.device(), stream);
  struct Export {
    DLManagedTensor managed;
    Tensor tensor;
  };
  auto* e = new Export{{}, t};
  TensorImpl* impl = t.get();
  e->managed = {{impl->data, dl_device(impl->device), impl->ndim(), dl_type(impl->dtype),
                 impl->sizes.v, impl->strides.v, 0},
                e,
                [](DLManagedTensor* m) {
                  const PyGILState_STATE gil = PyGILState_Ensure();
                  delete static_cast<Export*>(m->context);
                  PyGILState_Release(gil);
                }};
  return check(PyCapsule_New(&e->managed, "dltensor", [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // somebody took it over
    auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    m->deleter(m);
  }));
}

/// The capsule of another library's tensor, whose memory may be used on our current stream.
py::object exported(const py::object& o) {
  if (py::hasattr(o, "__dlpack_device__")) {
    const py::tuple device = o.attr("__dlpack_device__")();
    if (device[0].cast<int>() == kDlCuda) {
      void* stream = cuda_api().current_stream(device[1].cast<int>());
      return o.attr("__dlpack__")(py::arg("stream") =
                                      stream ? reinterpret_cast<intptr_t>(stream) : 1);
    }
  }
  return o.attr("__dlpack__")();
}

Tensor from_dlpack(PyObject* object) {
  py::object capsule = py::reinterpret_borrow<py::object>(object);
  if (PyObject_HasAttrString(object, "__dlpack__")) capsule = exported(capsule);
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (!m) throw PythonError();
  const DLTensor& d = m->tensor;
  GS_CHECK(d.device.type == kDlCpu || d.device.type == kDlPinned || d.device.type == kDlCuda,
           "from_dlpack: only memory of the CPU and of CUDA can be shared, got device type {}",
           d.device.type);
  const Device device = d.device.type == kDlCuda
                            ? full_device({DeviceType::CUDA, static_cast<int8_t>(d.device.id)})
                            : Device{};
  const DType type = from_dl_type(d.dtype);
  const Dims sizes(d.shape, d.ndim);
  const Dims strides = d.strides ? Dims(d.strides, d.ndim) : contiguous_strides(sizes);
  int64_t last = 0;
  for (int k = 0; k < sizes.size(); ++k) {
    GS_CHECK_VALUE(strides[k] >= 0 || sizes[k] <= 1,
                   "from_dlpack: negative strides are not supported, got {}", strides);
    int64_t reach = 0;
    GS_CHECK(!__builtin_mul_overflow(std::max<int64_t>(0, sizes[k] - 1), strides[k], &reach) &&
                 !__builtin_add_overflow(last, reach, &last) && last < (int64_t{1} << 59),
             "Storage size calculation overflowed with sizes={} and strides={}", sizes, strides);
  }
  const size_t bytes =
      count_elements(sizes) == 0 ? 0 : static_cast<size_t>(last + 1) * element_size(type);
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->storage = Ref(Storage::wrap(
      static_cast<char*>(d.data) + d.byte_offset, bytes, device,
      [](void* p) {
        auto* owner = static_cast<DLManagedTensor*>(p);
        if (owner->deleter) owner->deleter(owner);
      },
      m));
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  t->sizes = sizes;
  t->strides = strides;
  t->dtype = type;
  t->device = device;
  t->data = t->storage->data;
  t->update_geometry();
  return out;
}

// ---- numba's way to share the memory of a GPU ----

PyObject* cuda_array_interface(PyObject* self, void*) {
  return guard([&] {
    const Tensor t = unwrap(self);
    if (t.device().type != DeviceType::CUDA) {
      PyErr_SetString(PyExc_AttributeError,
                      "Can't get __cuda_array_interface__ on non-CUDA tensor: use tensor.cuda() to "
                      "copy it to device memory.");
      throw PythonError();
    }
    GS_CHECK(!t.wants_grad(),
             "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
             "aren't required, use var.detach() to get Variable that doesn't require grad.");
    const auto tuple = [](const Dims& dims, int64_t scale) {
      py::tuple out(static_cast<size_t>(dims.size()));
      for (int k = 0; k < dims.size(); ++k) out[static_cast<size_t>(k)] = dims[k] * scale;
      return out;
    };
    py::dict d;
    d["typestr"] = t.dtype() == DType::BFloat16 ? py::str("<f2")  // the same size, as PyTorch does
                                                : numpy_dtype(t.dtype()).attr("str");
    d["shape"] = tuple(t.sizes(), 1);
    d["strides"] = t.contiguous()
                       ? py::object(py::none())
                       : tuple(t.strides(), static_cast<int64_t>(element_size(t.dtype())));
    d["data"] = py::make_tuple(t.numel() ? reinterpret_cast<uintptr_t>(t->data) : 0, false);
    d["version"] = 2;
    return d.release().ptr();
  });
}
PyGetSetDef kCudaArrayInterface = {"__cuda_array_interface__", cuda_array_interface, nullptr,
                                   nullptr, nullptr};

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
       GS_CHECK_TYPE(std::strcmp(Py_TYPE(a.object(0))->tp_name, "numpy.ndarray") == 0,
                     "expected np.ndarray (got {})", Py_TYPE(a.object(0))->tp_name);
       return wrap(tensor_from_numpy(a.object(0)));
     }},
    {"__dlpack__",
     "(Tensor input, *, object stream=None, object max_version=None, object dl_device=None, object "
     "copy=None)",
     Method, "", [](Args& a) { return to_dlpack(a.tensor(0), a.object(1)); }},
    {"__dlpack_device__", "(Tensor input)", Method, "",
     [](Args& a) {
       const DLDevice d = dl_device(a.tensor(0).device());
       return Py_BuildValue("(ii)", d.type, d.id);
     }},
    {"from_dlpack", "(object ext_tensor, *, object device=None, object copy=None)", Fn,
     "Shares the memory of another library's tensor.",
     [](Args& a) { return wrap(from_dlpack(a.object(0))); }},
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
  const Owned property(PyDescr_NewGetSet(tensor_type, &kCudaArrayInterface));
  set_tensor_attribute("__cuda_array_interface__", property.p);
}

}  // namespace gradstep::python
