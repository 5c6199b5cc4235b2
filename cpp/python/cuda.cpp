// SPDX-License-Identifier: Apache-2.0
// The functions behind torch.cuda and torch.backends, and pinned memory. Streams and events are
// opaque numbers here: the classes of python/gradstep/cuda/streams.py own them. Nothing of this
// loads the CUDA part before somebody asks for a GPU.
#include <pybind11/pybind11.h>

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "core/cuda_api.h"
#include "core/layout.h"
#include "ops/create.h"
#include "ops/pointwise.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

// ---- pinned memory ----

bool is_pinned(const Tensor& t) {
  return t.device().type == DeviceType::CPU && cuda_is_loaded() && t.numel() != 0 &&
         cuda_api().is_pinned(t->data);
}

Tensor pinned(const Tensor& t) {
  GS_CHECK(t.device().type == DeviceType::CPU,
           "cannot pin 'torch.cuda.{}Tensor' only dense CPU tensors can be pinned",
           scalar_name(t.dtype()));
  cuda_api();  // or its error
  if (is_pinned(t) || t.numel() == 0) return t;
  const Dims strides =
      is_dense(t.sizes(), t.strides()) ? t.strides() : contiguous_strides(t.sizes());
  const GradMode off(false);
  return copy_(empty_pinned(t.sizes(), strides, t.dtype()), t);
}

namespace {

// ---- streams ----

// Streams are handed out in turn from a few of each priority and live as long as the process: free
// memory belongs to them.
PyObject* next_stream(int device, int priority) {
  constexpr size_t kStreams = 32;
  struct Turn {
    std::vector<void*> streams;
    size_t next = 0;
  };
  static auto* turns = new std::map<std::pair<int, int>, Turn>;
  Turn& turn = (*turns)[{device, priority}];
  if (turn.streams.size() < kStreams) {
    turn.streams.push_back(cuda_api().create_stream(device, priority));
    return PyLong_FromVoidPtr(turn.streams.back());
  }
  return PyLong_FromVoidPtr(turn.streams[turn.next++ % kStreams]);
}

int device_at(const Args& a, int i) { return static_cast<int>(a.i(i)); }
void* handle_at(const Args& a, int i) {
  void* p = PyLong_AsVoidPtr(a.object(i));
  if (!p && PyErr_Occurred()) throw PythonError();
  return p;
}

// ---- facts ----

PyObject* as_object(py::object o) { return o.release().ptr(); }

PyObject* properties(int device) {
  CudaProperties p;
  cuda_api().properties(device, &p);
  py::dict d;
  d["name"] = static_cast<const char*>(p.name);
  d["major"] = p.major;
  d["minor"] = p.minor;
  d["total_memory"] = p.total_memory;
  d["multi_processor_count"] = p.multi_processor_count;
  d["max_threads_per_multi_processor"] = p.max_threads_per_multi_processor;
  d["warp_size"] = p.warp_size;
  d["L2_cache_size"] = p.l2_cache_size;
  d["shared_memory_per_block"] = p.shared_memory_per_block;
  d["shared_memory_per_multiprocessor"] = p.shared_memory_per_multiprocessor;
  d["regs_per_multiprocessor"] = p.regs_per_multiprocessor;
  d["is_integrated"] = p.is_integrated;
  return as_object(d);
}

PyObject* memory(int device) {
  CudaMemory m;
  cuda_api().memory(device, &m);
  py::dict d;
  d["allocated"] = m.allocated;
  d["reserved"] = m.reserved;
  d["peak_allocated"] = m.peak_allocated;
  d["peak_reserved"] = m.peak_reserved;
  d["n_allocations"] = m.n_allocations;
  d["n_frees"] = m.n_frees;
  d["n_retries"] = m.n_retries;
  d["n_failures"] = m.n_failures;
  return as_object(d);
}

bool& flag(std::string_view name) {
  CudaFlags& f = cuda_flags();
  const std::pair<std::string_view, bool*> all[] = {
      {"allow_tf32", &f.allow_tf32},
      {"cudnn_tf32", &f.cudnn_tf32},
      {"cudnn_benchmark", &f.cudnn_benchmark},
      {"cudnn_enabled", &f.cudnn_enabled},
      {"deterministic", &f.deterministic},
      {"cudnn_sdp", &f.cudnn_sdp},
      {"flash_sdp", &f.flash_sdp},
      {"mem_efficient_sdp", &f.mem_efficient_sdp},
      {"math_sdp", &f.math_sdp},
  };
  for (const auto& [known, value] : all) {
    if (known == name) return *value;
  }
  fail(ErrorKind::Value, "there is no CUDA flag '{}'", name);
}

/// What the CUDA part was built by and for; None where this build has none.
PyObject* build() {
#ifdef GS_CUDA_VERSION
  return Py_BuildValue("(ss)", GS_CUDA_VERSION, GS_CUDA_ARCHITECTURES);
#else
  return none();
#endif
}

const FunctionRow kRows[] = {
    // ---- devices ----
    {"_cuda_init", "()", Fn, "Loads the CUDA part or says why it can't.",
     [](Args&) {
       cuda_api();
       return none();
     }},
    {"_cuda_is_initialized", "()", Fn, "", [](Args&) { return wrap(cuda_is_loaded()); }},
    {"_cuda_build", "()", Fn, "", [](Args&) { return build(); }},
    {"_cuda_device_count", "()", Fn, "",
     [](Args&) {
       const CudaApi* cuda = find_cuda();
       return wrap(int64_t{cuda ? cuda->device_count() : 0});
     }},
    {"_cuda_current_device", "()", Fn, "",
     [](Args&) { return wrap(int64_t{cuda_api().current_device()}); }},
    {"_cuda_set_device", "(int device)", Fn, "",
     [](Args& a) {
       cuda_api().set_device(device_at(a, 0));
       return none();
     }},
    {"_cuda_properties", "(int device)", Fn, "",
     [](Args& a) { return properties(device_at(a, 0)); }},
    {"_cuda_synchronize", "(int device)", Fn, "",
     [](Args& a) {
       const int device = device_at(a, 0);
       const CudaApi& cuda = cuda_api();
       const py::gil_scoped_release others_may_run;
       cuda.synchronize(device);
       return none();
     }},

    // ---- memory ----
    {"_cuda_memory", "(int device)", Fn, "", [](Args& a) { return memory(device_at(a, 0)); }},
    {"_cuda_reset_peak", "(int device)", Fn, "",
     [](Args& a) {
       cuda_api().reset_peak(device_at(a, 0));
       return none();
     }},
    {"_cuda_memory_info", "(int device)", Fn, "",
     [](Args& a) {
       int64_t free = 0, total = 0;
       cuda_api().memory_info(device_at(a, 0), &free, &total);
       return Py_BuildValue("(LL)", static_cast<long long>(free), static_cast<long long>(total));
     }},
    {"_cuda_empty_cache", "()", Fn, "",
     [](Args&) {
       if (cuda_is_loaded()) cuda_api().empty_cache();
       return none();
     }},
    {"pin_memory", "(Tensor input, object device=None)", Method,
     "The tensor in memory that a GPU copies from and to by itself.",
     [](Args& a) { return wrap(pinned(a.tensor(0))); }},
    {"is_pinned", "(Tensor input, object device=None)", Method, "True if its memory is pinned.",
     [](Args& a) { return wrap(is_pinned(a.tensor(0))); }},
    {"record_stream", "(Tensor input, object s)", Method,
     "Its memory is used on that stream, too, and not given away before that has finished.",
     [](Args& a) {
       const Tensor t = a.tensor(0);
       GS_CHECK(t.device().type == DeviceType::CUDA,
                "record_stream: expected a CUDA tensor, got {}", t.device());
       const Owned handle(PyObject_GetAttrString(a.object(1), "cuda_stream"));
       const Owned device(PyObject_GetAttrString(a.object(1), "device_index"));
       if (t->storage->owned && t->storage->data) {
         cuda_api().record_stream(t->storage->data, t.device().index, PyLong_AsVoidPtr(handle.p),
                                  static_cast<int>(PyLong_AsLong(device.p)));
       }
       return none();
     }},

    // ---- streams and events ----
    {"_cuda_new_stream", "(int device, int priority)", Fn, "",
     [](Args& a) { return next_stream(device_at(a, 0), static_cast<int>(a.i(1))); }},
    {"_cuda_current_stream", "(int device)", Fn, "",
     [](Args& a) { return PyLong_FromVoidPtr(cuda_api().current_stream(device_at(a, 0))); }},
    {"_cuda_set_stream", "(int device, object stream)", Fn, "",
     [](Args& a) {
       cuda_api().set_stream(device_at(a, 0), handle_at(a, 1));
       return none();
     }},
    {"_cuda_query_stream", "(int device, object stream)", Fn, "",
     [](Args& a) { return wrap(cuda_api().query_stream(device_at(a, 0), handle_at(a, 1))); }},
    {"_cuda_synchronize_stream", "(int device, object stream)", Fn, "",
     [](Args& a) {
       const int device = device_at(a, 0);
       void* stream = handle_at(a, 1);
       const CudaApi& cuda = cuda_api();
       const py::gil_scoped_release others_may_run;
       cuda.synchronize_stream(device, stream);
       return none();
     }},
    {"_cuda_new_event", "(int device, bool timing, bool blocking)", Fn, "",
     [](Args& a) {
       return PyLong_FromVoidPtr(cuda_api().create_event(device_at(a, 0), a.flag(1), a.flag(2)));
     }},
    {"_cuda_destroy_event", "(object event)", Fn, "",
     [](Args& a) {
       void* event = handle_at(a, 0);
       if (const CudaApi* cuda = find_cuda()) cuda->destroy_event(event);
       return none();
     }},
    {"_cuda_record_event", "(object event, int device, object stream)", Fn, "",
     [](Args& a) {
       cuda_api().record_event(handle_at(a, 0), device_at(a, 1), handle_at(a, 2));
       return none();
     }},
    {"_cuda_wait_event", "(int device, object stream, object event)", Fn, "",
     [](Args& a) {
       cuda_api().wait_event(device_at(a, 0), handle_at(a, 1), handle_at(a, 2));
       return none();
     }},
    {"_cuda_query_event", "(object event)", Fn, "",
     [](Args& a) { return wrap(cuda_api().query_event(handle_at(a, 0))); }},
    {"_cuda_synchronize_event", "(object event)", Fn, "",
     [](Args& a) {
       void* event = handle_at(a, 0);
       const CudaApi& cuda = cuda_api();
       const py::gil_scoped_release others_may_run;
       cuda.synchronize_event(event);
       return none();
     }},
    {"_cuda_elapsed_time", "(object start, object end)", Fn, "Milliseconds.",
     [](Args& a) {
       return wrap(double{cuda_api().elapsed_time(handle_at(a, 0), handle_at(a, 1))});
     }},

    // ---- switches and libraries ----
    {"_cuda_flag", "(str name)", Fn, "", [](Args& a) { return wrap(flag(a.str(0))); }},
    {"_cuda_set_flag", "(str name, bool value)", Fn, "",
     [](Args& a) {
       flag(a.str(0)) = a.flag(1);
       return none();
     }},
    {"_cuda_cudnn_attention_runs", "()", Fn,
     "How often cuDNN has computed attention or its gradient.",
     [](Args&) { return wrap(cuda_flags().cudnn_attention_runs); }},
    {"_cuda_library_version", "(str name)", Fn, "0 if it is missing.",
     [](Args& a) {
       const CudaApi* cuda = find_cuda();
       return wrap(cuda ? cuda->library_version(a.str(0).c_str()) : int64_t{0});
     }},
};

}  // namespace

void add_cuda_functions() { add_functions(kRows); }

}  // namespace gradstep::python
