// SPDX-License-Identifier: Apache-2.0
// The native half of gradstep.profiler: a watcher that times each launch, beside ranges that Python
// opens. Nothing of it costs anything while no profiler is on.
//   _profiler_start(shapes, memory, stacks, cuda);  i = _profiler_begin("loss");  _profiler_end(i)
//   events = _profiler_stop()
#include <Python.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/cuda_api.h"
#include "core/memory.h"
#include "graph/call.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

namespace {

struct Event {
  std::string name;
  int64_t start = 0, end = -1;  // nanoseconds since 1970
  uint64_t thread = 0;
  bool launch = false;             // else a range of Python
  int64_t memory = 0;              // bytes in use at the start, then how many more at the end
  std::vector<Dims> shapes;        // of the operands that are read
  std::vector<std::string> stack;  // innermost first
  int device = -1;                 // of a launch on CUDA
  void *gpu_start = nullptr, *gpu_end = nullptr;
};

struct Profiler : ProfilingWatcher {
  bool shapes, memory, stacks, cuda;
  std::mutex mutex;
  std::vector<Event> events;
  std::vector<void*> bases;  // by device: the event from which its times count
  std::vector<int64_t> base_times;

  Profiler(bool s, bool m, bool k, bool c) : shapes(s), memory(m), stacks(k), cuda(c) {
    const int n = cuda && find_cuda() ? find_cuda()->device_count() : 0;
    for (int d = 0; d < n; ++d) {
      bases.push_back(cuda_api().create_event(d, true, false));
      cuda_api().synchronize(d);
      base_times.push_back(now());
      cuda_api().record_event(bases.back(), d, cuda_api().current_stream(d));
    }
  }
  ~Profiler() override {
    for (void* e : bases) cuda_api().destroy_event(e);
    for (const Event& e : events) {
      if (e.gpu_start) cuda_api().destroy_event(e.gpu_start);
      if (e.gpu_end) cuda_api().destroy_event(e.gpu_end);
    }
  }

  static int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  static uint64_t this_thread() {
    return std::hash<std::thread::id>()(std::this_thread::get_id()) % 1000000;
  }
  int64_t bytes_in_use() const { return memory ? memory_stats().allocated : 0; }

  size_t begin(std::string name, bool launch) {
    Event e;
    e.name = std::move(name);
    e.launch = launch;
    e.thread = this_thread();
    if (stacks) e.stack = python_stack();
    e.memory = bytes_in_use();
    const std::lock_guard lock(mutex);
    e.start = now();
    events.push_back(std::move(e));
    return events.size() - 1;
  }
  void end(size_t k) {
    const int64_t at = now(), bytes = bytes_in_use();
    const std::lock_guard lock(mutex);
    if (k >= events.size() || events[k].end >= 0) return;
    events[k].end = at;
    events[k].memory = bytes - events[k].memory;
  }

  // Calls of one thread that are running, innermost last. A kernel that raises leaves its own
  // behind: the next one that ends takes it off.
  struct Running {
    const Call* call;
    size_t event;
  };
  static std::vector<Running>& running() {
    static thread_local std::vector<Running> stack;
    return stack;
  }

  void launching(const Call& call) override {
    if (recording) recording->launching(call);
    const size_t k = begin(call.op->name, true);
    running().push_back({&call, k});
    const Device device = call.operands[0]->device;
    const bool on_gpu = cuda && device.type == DeviceType::CUDA;
    void* const mark = on_gpu ? marked(device.index) : nullptr;
    const std::lock_guard lock(mutex);
    Event& e = events[k];
    for (int i = 0; shapes && i < call.n_in; ++i) {
      if (const TensorImpl* t = call.maybe_in(i)) e.shapes.push_back(t->sizes);
    }
    if (on_gpu) {
      e.device = device.index;
      e.gpu_start = mark;
    }
  }
  void launched(const Call& call) override {
    auto& stack = running();
    while (!stack.empty()) {
      const Running last = stack.back();
      stack.pop_back();
      if (last.call != &call) continue;
      const Device device = call.operands[0]->device;
      void* const mark = cuda && device.type == DeviceType::CUDA ? marked(device.index) : nullptr;
      end(last.event);
      const std::lock_guard lock(mutex);
      events[last.event].gpu_end = mark;
      break;
    }
    if (recording) recording->launched(call);
  }
  static void* marked(int device) {
    void* const e = cuda_api().create_event(device, true, false);
    cuda_api().record_event(e, device, cuda_api().current_stream(device));
    return e;
  }

  void created(Storage& s) override {
    if (recording) recording->created(s);
  }
  void destroyed(Storage& s) override {
    if (recording) recording->destroyed(s);
  }
  void gradient(TensorImpl& leaf, GradEvent event) override {
    if (recording) recording->gradient(leaf, event);
  }
  void refuse(const char* what) override {
    if (recording) recording->refuse(what);
  }

  static std::vector<std::string> python_stack() {
    std::vector<std::string> out;
    if (!PyGILState_Check()) return out;
    PyFrameObject* frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame && out.size() < 32) {
      PyCodeObject* const code = PyFrame_GetCode(frame);
      const char* file = PyUnicode_AsUTF8(code->co_filename);
      const char* name = PyUnicode_AsUTF8(code->co_name);
      if (!file || !name) PyErr_Clear();
      out.push_back(std::string(file ? file : "?") + "(" +
                    std::to_string(PyFrame_GetLineNumber(frame)) + "): " + (name ? name : "?"));
      Py_DECREF(code);
      PyFrameObject* const back = PyFrame_GetBack(frame);
      Py_DECREF(frame);
      frame = back;
    }
    Py_XDECREF(frame);
    return out;
  }

  /// (name, start, end, thread, launch, memory, shapes, stack, device, GPU start, GPU end), times
  /// in nanoseconds.
  py::list results() {
    py::list out;
    for (size_t d = 0; d < bases.size(); ++d) cuda_api().synchronize(static_cast<int>(d));
    for (const Event& e : events) {
      if (e.end < 0) continue;
      int64_t gpu_start = 0, gpu_end = 0;
      if (e.gpu_start && e.gpu_end) {
        const auto d = static_cast<size_t>(e.device);
        const auto since = [&](void* mark) {
          return base_times[d] +
                 static_cast<int64_t>(1e6 * cuda_api().elapsed_time(bases[d], mark));
        };
        gpu_start = since(e.gpu_start);
        gpu_end = since(e.gpu_end);
      }
      py::list sizes;
      for (const Dims& s : e.shapes) sizes.append(std::vector<int64_t>(s.begin(), s.end()));
      out.append(py::make_tuple(e.name, e.start, e.end, e.thread, e.launch, e.memory, sizes,
                                e.stack, e.device, gpu_start, gpu_end));
    }
    return out;
  }
};

std::unique_ptr<Profiler> g_running;

}  // namespace

void add_profiler(PyObject* module) {
  auto m = py::reinterpret_borrow<py::module_>(module);
  m.def("_profiler_start", [](bool shapes, bool memory, bool stacks, bool cuda) {
    GS_CHECK(!g_running, "Profiler is already enabled on this thread");
    g_running = std::make_unique<Profiler>(shapes, memory, stacks, cuda);
    g_running->recording = g_watcher;
    g_profiler = g_running.get();
    g_watcher = g_profiler;
  });
  m.def("_profiler_stop", [] {
    GS_CHECK(g_running, "Profiler is not running");
    g_watcher = g_running->recording;
    g_profiler = nullptr;
    const std::unique_ptr<Profiler> done = std::move(g_running);
    return done->results();
  });
  m.def("_profiler_enabled", [] { return g_running != nullptr; });
  m.def("_profiler_begin", [](std::string name) -> int64_t {
    return g_running ? static_cast<int64_t>(g_running->begin(std::move(name), false)) : -1;
  });
  m.def("_profiler_end", [](int64_t k) {
    if (g_running && k >= 0) g_running->end(static_cast<size_t>(k));
  });
}

}  // namespace gradstep::python
