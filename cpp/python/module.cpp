// SPDX-License-Identifier: Apache-2.0
// The native module gradstep._C: types, then the function tables of every subject.
#include <pybind11/pybind11.h>

#include "core/cuda_api.h"
#include "core/memory.h"
#include "core/threads.h"
#include "core/warning.h"
#include "graph/build_info.h"
#include "python/autograd.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/overrides.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

void init_functions(PyObject* module);
void add_methods(PyObject* module);
void add_optim(PyObject* module);
void add_nn_module(PyObject* module);
void add_map_functions();
void add_pointwise_functions();
void add_core_functions();
void add_reduce_functions();
void add_nn_norm_loss_functions();
void add_index_functions();
void add_random_functions();
void add_conv_pool_functions();
void add_linalg_more_functions();
void add_rnn_functions();
void add_amp_functions();
void add_cuda_functions();
void add_cuda_graph_functions();
void add_capture(PyObject* module);
void add_profiler(PyObject* module);

namespace {

/// A UserWarning. Where the user made an error of it, it is dropped: this is called from inside of
/// operations.
void tell_warning(const std::string& text) {
  const py::gil_scoped_acquire python;
  if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) != 0) PyErr_Clear();
}

void add_settings(py::module_& m) {
  g_tell_warning = &tell_warning;
  m.def("get_num_threads", &num_threads, "How many threads an operation may use.");
  m.def(
      "set_num_threads",
      [](int n) {
        GS_CHECK(n > 0, "set_num_threads expects a positive integer");
        set_num_threads(n);
      },
      py::arg("n"),
      "Sets how many threads an operation may use.\n\nRaises: RuntimeError for less than 1.");
  m.def(
      "get_default_dtype", [] { return py::reinterpret_steal<py::object>(wrap(default_dtype())); },
      "The dtype of new floating tensors: float32, or what set_default_dtype() chose.");
  m.def(
      "set_default_dtype",
      [](py::object d) {
        GS_CHECK_TYPE(
            is_dtype(d.ptr()),
            "invalid dtype object: only floating-point types are supported as the default type");
        set_default_dtype(unwrap_dtype(d.ptr()));
      },
      py::arg("d"),
      "Sets the dtype of new floating tensors.\n\nRaises: TypeError for what is no floating "
      "dtype.");
  m.def(
      "get_default_device",
      [] { return py::reinterpret_steal<py::object>(wrap(full_device(default_device()))); },
      "Where new tensors are made: the CPU, or what set_default_device() chose.");
  m.def(
      "set_default_device",
      [](const py::object& d) {
        set_default_device(d.is_none() ? Device{} : unwrap_device(d.ptr()));
      },
      py::arg("d"),
      "Sets where new tensors are made; None is the CPU.\n\nRaises: RuntimeError for what is no "
      "device.");
  m.def("empty_cache", &empty_cache, "Gives free memory back to the system.");
  m.def(
      "memory_stats",
      [] {
        const MemoryStats s = memory_stats();
        py::dict d;
        d["allocated_bytes"] = s.allocated;
        d["reserved_bytes"] = s.reserved;
        d["cached_bytes"] = s.cached;
        d["peak_allocated_bytes"] = s.peak_allocated;
        d["peak_reserved_bytes"] = s.peak_reserved;
        d["allocations"] = s.n_allocations;
        d["live_blocks"] = s.n_live;
        return d;
      },
      "Figures of the CPU's allocator, in bytes and numbers of blocks.");
  m.def("reset_peak_memory_stats", &reset_peak,
        "Sets the highest use so far, of the CPU's memory, to the present one.");
  m.def("_set_winograd_work", &set_winograd_work);
  m.def("_build_info", [] {
    py::dict d;
    d["instruction_set"] = instruction_set_name();
    d["bfloat16"] = bfloat16_name();
    d["convolution"] = convolution_name();
    return d;
  });
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error&) {
      translate_exception();
    } catch (const PythonError&) {
      // already set
    }
  });
  init_functions(m.ptr());
  add_types(m.ptr());
  add_tensor_type(m.ptr());
  add_methods(m.ptr());
  add_interop(m.ptr());
  add_overrides(m.ptr());
  add_autograd(m.ptr());
  add_map_functions();
  add_pointwise_functions();
  add_core_functions();
  add_reduce_functions();
  add_nn_norm_loss_functions();
  add_index_functions();
  add_random_functions();
  add_conv_pool_functions();
  add_linalg_more_functions();
  add_rnn_functions();
  add_amp_functions();
  add_cuda_functions();
  add_cuda_graph_functions();
  add_optim(m.ptr());
  add_nn_module(m.ptr());
  add_capture(m.ptr());
  add_profiler(m.ptr());
  add_settings(m);
}

}  // namespace gradstep::python
