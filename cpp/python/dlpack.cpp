// SPDX-License-Identifier: Apache-2.0
// Memory shared with other libraries, on the CPU and on GPUs: DLPack, and numba's
// __cuda_array_interface__.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "core/cuda_api.h"
#include "ops/pointwise.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

namespace {

[[noreturn]] void raise(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  throw PythonError();
}

/// What `consumer` of that device is given from now on comes behind what `producer` has so far.
void order_streams(int device, void* producer, void* consumer) {
  if (producer == consumer) return;
  const CudaApi& cuda = cuda_api();
  void* event = cuda.create_event(device, false, false);
  cuda.record_event(event, device, producer);
  cuda.wait_event(device, consumer, event);
  cuda.destroy_event(event);
}

// ---- DLPack: the C structures of its versions 0.8 and 1.0, by their published layout ----

struct DLDevice {
  int32_t type;
  int32_t id;
  bool operator==(const DLDevice&) const = default;
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
  static constexpr const char *name = "dltensor", *used = "used_dltensor";
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;  // 2: a copy
  DLTensor tensor;
  static constexpr const char *name = "dltensor_versioned", *used = "used_dltensor_versioned";
};
constexpr int kDlCpu = 1, kDlCuda = 2, kDlPinned = 3;

DLDevice dl_device(Device d) {
  if (d.type == DeviceType::CPU) return {kDlCpu, 0};
  return {kDlCuda, full_device(d).index};
}
Device from_dl_device(DLDevice d) {
  GS_CHECK(d.type == kDlCpu || d.type == kDlPinned || d.type == kDlCuda,
           "from_dlpack: only memory of the CPU and of CUDA can be shared, got device type {}",
           d.type);
  if (d.type != kDlCuda) return {};
  return full_device({DeviceType::CUDA, static_cast<int8_t>(d.id)});
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

// ---- DLPack: out ----

/// Makes the consumer's stream wait: None or 1 is the default one, -1 asks for no order.
void obey_stream(Device device, PyObject* stream) {
  if (stream != Py_None && !PyLong_CheckExact(stream)) {
    raise(PyExc_TypeError, "stream must be ``int`` or ``none``");
  }
  const bool is_cuda = device.type == DeviceType::CUDA;
  const long number = stream == Py_None ? (is_cuda ? 1 : -1) : PyLong_AsLong(stream);
  if (number == -1) {
    if (PyErr_Occurred()) throw PythonError();
    return;
  }
  if (!is_cuda) raise(PyExc_AssertionError, "stream should be None on cpu.");
  if (number == 2) raise(PyExc_BufferError, "per-thread default stream is not supported.");
  if (number == 0) raise(PyExc_AssertionError, "unsupported stream on CUDA: 0.");
  order_streams(device.index, cuda_api().current_stream(device.index),
                number == 1 ? nullptr : reinterpret_cast<void*>(number));  // NOLINT: a handle
}

template <class Managed>
PyObject* capsule_of(const Tensor& t, [[maybe_unused]] bool is_copy) {
  struct Export {
    Managed managed{};
    Tensor tensor;
  };
  // A tensor of its own: the consumer reads sizes and strides in place.
  auto* e = new Export{{}, alias(t)};
  TensorImpl* impl = e->tensor.get();
  e->managed.tensor = {impl->data,
                       dl_device(impl->device),
                       impl->ndim(),
                       dl_type(impl->dtype),
                       impl->sizes.v,
                       impl->strides.v,
                       0};
  e->managed.context = e;
  e->managed.deleter = [](Managed* m) {
    const PyGILState_STATE gil = PyGILState_Ensure();
    delete static_cast<Export*>(m->context);
    PyGILState_Release(gil);
  };
  if constexpr (requires { e->managed.major; }) {
    e->managed.major = 1;
    e->managed.flags = is_copy ? 2 : 0;
  }
  return check(PyCapsule_New(&e->managed, Managed::name, [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, Managed::name)) return;  // somebody took it over
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::name));
    m->deleter(m);
  }));
}

/// (tensor, stream, max_version, dl_device, copy)
PyObject* to_dlpack(const Args& a) {
  refuse_capture("the memory of a tensor is given away by DLPack");
  const GradMode off(false);
  const Tensor t = a.tensor(0);
  if (t.wants_grad()) {
    raise(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
  }
  if (t.device().type == DeviceType::CUDA) {
    const int current = cuda_api().current_device();
    if (t.device().index != current) {
      raise(PyExc_BufferError,
            format("Can't export tensors on a different CUDA device index. Expected: {}. Current "
                   "device: {}.",
                   int(t.device().index), current));
    }
  }
  obey_stream(t.device(), a.object(1));
  Tensor out = t;
  if (a.has(3)) {
    const auto wanted = py::cast<std::pair<int, int>>(py::handle(a.object(3)));
    const Device device = from_dl_device({wanted.first, wanted.second});
    if (device != t.device()) {
      GS_CHECK_VALUE(a.opt_flag(4).value_or(true),
                     "cannot move (i.e. copy=False) tensor from {} to {} without copying.",
                     t.device(), device);
      out = to(t, t.dtype(), device);
    }
  }
  if (a.opt_flag(4).value_or(false) && out.get() == t.get()) out = clone(t);
  const bool is_copy = out.get() != t.get();
  if (a.has(2) && py::cast<std::pair<int, int>>(py::handle(a.object(2))).first >= 1) {
    return capsule_of<DLManagedTensorVersioned>(out, is_copy);
  }
  return capsule_of<DLManagedTensor>(out, is_copy);
}

// ---- DLPack: in ----

template <class Managed>
Tensor from_capsule(PyObject* capsule) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::name));
  if (!m) throw PythonError();
  if constexpr (requires { m->major; }) {
    GS_CHECK(m->major == 1, "unsupported DLPack capsule major version: {}", m->major);
  }
  const DLTensor& d = m->tensor;
  const Device device = from_dl_device(d.device);
  const DType type = from_dl_type(d.dtype);
  const Dims sizes(d.shape, d.ndim);
  const Dims strides = d.strides ? Dims(d.strides, d.ndim) : contiguous_strides(sizes);
  for (int k = 0; k < sizes.size(); ++k) {
    GS_CHECK_VALUE(strides[k] >= 0 || sizes[k] <= 1,
                   "from_dlpack: negative strides are not supported, got {}", strides);
  }
  const Tensor out = tensor_of_memory(
      static_cast<char*>(d.data) + d.byte_offset, sizes, strides, type, device,
      [](void* p) {
        auto* owner = static_cast<Managed*>(p);
        if (owner->deleter) owner->deleter(owner);
      },
      m);
  PyCapsule_SetName(capsule, Managed::used);
  return out;
}

Tensor from_any_capsule(PyObject* o) {
  if (PyCapsule_IsValid(o, DLManagedTensorVersioned::name)) {
    return from_capsule<DLManagedTensorVersioned>(o);
  }
  GS_CHECK(PyCapsule_IsValid(o, DLManagedTensor::name),
           "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed "
           "only once, so you might have already constructed a tensor from it once.");
  return from_capsule<DLManagedTensor>(o);
}

/// o.__dlpack__() with all that its library understands: each was added by a later version.
py::object ask(const py::object& o, py::dict& options) {
  for (const char* newer : {"max_version", "copy", "dl_device"}) {
    try {
      return o.attr("__dlpack__")(**options);
    } catch (py::error_already_set& e) {
      if (!e.matches(PyExc_TypeError)) throw;
    }
    if (options.contains(newer)) options.attr("pop")(newer);
  }
  return o.attr("__dlpack__")(**options);
}

}  // namespace

Tensor tensor_from_dlpack(PyObject* object, std::optional<Device> device,
                          std::optional<bool> copy) {
  refuse_capture("the memory of another library's tensor comes in by DLPack");
  if (!PyObject_HasAttrString(object, "__dlpack__")) {
    if (device || copy) {
      raise(PyExc_AssertionError,
            "device and copy kwargs not supported when ext_tensor is already a DLPack capsule.");
    }
    return from_any_capsule(object);
  }
  const auto o = py::reinterpret_borrow<py::object>(object);
  const auto found = o.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  const DLDevice from{found.first, found.second};
  py::dict options;
  options["max_version"] = py::make_tuple(1, 0);
  if (copy) options["copy"] = *copy;
  bool moves = false;
  if (device) {
    const DLDevice there = dl_device(*device);
    const py::tuple wanted = py::make_tuple(there.type, there.id);
    moves = there != from;
    GS_CHECK_VALUE(!moves || copy.value_or(true),
                   "cannot move DLPack tensor from device {} to {} without copying. Set copy=None "
                   "or copy=True.",
                   std::string(py::str(py::make_tuple(from.type, from.id))),
                   std::string(py::str(wanted)));
    if (!moves) options["dl_device"] = wanted;
  }
  if (from.type == kDlCuda) {
    void* stream = cuda_api().current_stream(from_dl_device(from).index);
    options["stream"] = stream ? reinterpret_cast<intptr_t>(stream) : 1;
  }
  const py::object capsule = ask(o, options);
  const Tensor t = from_any_capsule(capsule.ptr());
  const GradMode off(false);
  if (moves) return to(t, t.dtype(), *device);
  return copy.value_or(false) && !options.contains("copy") ? clone(t) : t;
}

// ---- __cuda_array_interface__ ----

namespace {

PyObject* cuda_array_interface(PyObject* self, void*) {
  return guard([&] {
    const Tensor t = unwrap(self);
    if (t.device().type != DeviceType::CUDA) {
      raise(
          PyExc_AttributeError,
          "Can't get __cuda_array_interface__ on non-CUDA tensor: use tensor.cuda() to copy it to "
          "device memory.");
    }
    GS_CHECK(!t.wants_grad(),
             "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
             "aren't required, use var.detach() to get Variable that doesn't require grad.");
    refuse_capture("the address of a tensor is read");
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
    d["version"] = 2;  // as PyTorch: without a stream
    return d.release().ptr();
  });
}
PyGetSetDef kCudaArrayInterface = {"__cuda_array_interface__", cuda_array_interface, nullptr,
                                   nullptr, nullptr};

/// Since its version 3 the interface names the stream whose work has to be waited for: 1 is the
/// default one, 2 that of each thread, None asks for nothing.
void wait_for_stream(const py::dict& d, Device device) {
  if (!d.contains("stream") || d["stream"].is_none()) return;
  const auto number = d["stream"].cast<intptr_t>();
  GS_CHECK_VALUE(number != 0, "__cuda_array_interface__: stream 0 is ambiguous");
  void* theirs = number == 1 ? nullptr : reinterpret_cast<void*>(number);  // NOLINT: a handle
  order_streams(device.index, theirs, cuda_api().current_stream(device.index));
}

}  // namespace

Tensor tensor_from_cuda_array(PyObject* object, std::optional<Device> wanted) {
  if (!PyObject_HasAttrString(object, "__cuda_array_interface__")) return {};
  refuse_capture("the memory of another library's array comes in");
  const auto o = py::reinterpret_borrow<py::object>(object);
  const py::object found = o.attr("__cuda_array_interface__");
  GS_CHECK_TYPE(py::isinstance<py::dict>(found), "`__cuda_array_interface__` must be a dict");
  const auto d = py::reinterpret_borrow<py::dict>(found);
  GS_CHECK_TYPE(d.contains("shape"), "attribute `shape` must exist");
  GS_CHECK_TYPE(d.contains("typestr"), "attribute `typestr` must exist");
  GS_CHECK_TYPE(d.contains("data"), "attribute `data` must exist");
  const py::object data = d["data"];
  GS_CHECK_TYPE(py::isinstance<py::tuple>(data) && py::len(data) == 2,
                "`data` must be a 2-tuple of (int, bool)");
  const auto address = data[py::int_(0)].cast<uintptr_t>();
  GS_CHECK_TYPE(!data[py::int_(1)].cast<bool>(),
                "the read only flag is not supported, should always be False");
  GS_CHECK_TYPE(!d.contains("mask") || d["mask"].is_none(),
                "__cuda_array_interface__: masks are not supported");
  const py::dtype type_there(py::reinterpret_borrow<py::object>(d["typestr"]).cast<std::string>());
  GS_CHECK_VALUE(type_there.byteorder() != '>',
                 "given array has byte order different from the native byte order. Conversion "
                 "between byte orders is currently not supported.");
  const DType type = numpy_type(type_there);
  const auto size = static_cast<int64_t>(element_size(type));

  Dims sizes;
  for (const py::handle n : d["shape"]) sizes.push_back(n.cast<int64_t>());
  Dims strides = contiguous_strides(sizes);
  if (d.contains("strides") && !d["strides"].is_none()) {
    GS_CHECK_TYPE(py::isinstance<py::sequence>(d["strides"]) &&
                      static_cast<int>(py::len(d["strides"])) == sizes.size(),
                  "strides must be a sequence of the same length as shape");
    int k = 0;
    for (const py::handle s : d["strides"]) {
      const auto bytes = s.cast<int64_t>();
      GS_CHECK_VALUE(bytes % size == 0,
                     "given array strides not a multiple of the element byte size. Make a copy of "
                     "the array to reallocate the memory.");
      GS_CHECK_VALUE(bytes >= 0 || sizes[k] <= 1,
                     "At least one stride in the given array is negative, and tensors with "
                     "negative strides are not currently supported.");
      strides[k++] = bytes / size;
    }
  }

  const CudaApi& cuda = cuda_api();
  Device device{DeviceType::CUDA, static_cast<int8_t>(cuda.current_device())};
  if (address) {
    const int where = cuda.device_of(reinterpret_cast<void*>(address));  // NOLINT: an address
    GS_CHECK(where >= 0,
             "The specified pointer resides on host memory and is not registered with any CUDA "
             "device.");
    device.index = static_cast<int8_t>(where);
  } else if (wanted && wanted->type == DeviceType::CUDA) {
    device = full_device(*wanted);
  }
  wait_for_stream(d, device);
  return tensor_of_memory(
      reinterpret_cast<void*>(address), sizes, strides, type, device,  // NOLINT: an address
      [](void* owner) {
        const PyGILState_STATE gil = PyGILState_Ensure();
        Py_DECREF(static_cast<PyObject*>(owner));
        PyGILState_Release(gil);
      },
      Py_NewRef(object));
}

namespace {

const FunctionRow kRows[] = {
    {"__dlpack__",
     "(Tensor input, *, object? stream=-1, object max_version=None, object dl_device=None, bool? "
     "copy=None)",
     Method, "", [](Args& a) { return to_dlpack(a); }},
    {"__dlpack_device__", "(Tensor input)", Method, "",
     [](Args& a) {
       const DLDevice d = dl_device(a.tensor(0).device());
       return Py_BuildValue("(ii)", d.type, d.id);
     }},
    {"from_dlpack", "(object ext_tensor, *, device? device=None, bool? copy=None)", Fn,
     "Shares the memory of another library's tensor.",
     [](Args& a) { return wrap(tensor_from_dlpack(a.object(0), a.opt_device(1), a.opt_flag(2))); }},
};

}  // namespace

void add_memory_sharing() {
  add_functions(kRows);
  const Owned property(PyDescr_NewGetSet(tensor_type, &kCudaArrayInterface));
  set_tensor_attribute("__cuda_array_interface__", property.p);
}

}  // namespace gradstep::python
