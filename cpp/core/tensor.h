// SPDX-License-Identifier: Apache-2.0
// Storage (bytes with a version), TensorImpl (a strided view of a storage, with its place in the
// autograd graph) and Tensor (the handle that everything passes around). Knows no op.
//   Tensor t = empty({2, 3}, DType::Float32);  t.data<float>()[0] = 1;
//   Tensor v = make_view(t, {3}, {1}, t.offset());        // shares storage and version
#pragma once
#include <cstdint>

#include "core/device.h"
#include "core/dtype.h"
#include "core/ref.h"
#include "core/shape.h"

namespace gradstep {

class Node;           // graph/node.h
struct AutogradMeta;  // graph/node.h: gradient, hooks and what else a leaf needs
struct Call;          // graph/call.h
struct Storage;
struct TensorImpl;
struct TensorPacker;                   // graph/node.h
void release_autograd(TensorImpl* t);  // drops grad_fn and meta

/// What happens to the gradient of a leaf. Read: somebody asked whether there is one, or for it.
enum class GradEvent : uint8_t { Read, Added, Replaced, Gone };

/// Who looks on while a step is recorded (graph/recorder.h) or profiled (python/profiler.cpp).
struct Watcher {
  virtual ~Watcher() = default;
  virtual void created(Storage& s) = 0;
  virtual void destroyed(Storage& s) = 0;  // only those with a place
  virtual void launching(const Call& call) = 0;
  virtual void launched(const Call&) {}                          // not where the kernel raised
  virtual void gradient(TensorImpl& leaf, GradEvent event) = 0;  // before it happens
  /// Before anything that depends on values in memory is done outside of a kernel. Raises.
  virtual void refuse(const char* what) = 0;
  uint64_t started = 0;  // nodes of the graph up to this number were there before
};
extern GS_API Watcher* g_watcher;  // null almost always

/// A profiler stands in front of a recording and passes everything on to it.
struct ProfilingWatcher : Watcher {
  Watcher* recording = nullptr;
};
extern GS_API ProfilingWatcher* g_profiler;  // where there is one, it is g_watcher
/// Who records, if anyone does.
inline Watcher*& recording_watcher() { return g_profiler ? g_profiler->recording : g_watcher; }

/// What a captured step can't do: reading a tensor on the host, looking at memory from Python.
inline void refuse_capture(const char* what) {
  if (g_watcher) [[unlikely]]
    g_watcher->refuse(what);
}

/// A block of memory with a version that every in-place write raises.
struct GS_API Storage : RefCounted {
  char* data = nullptr;
  size_t bytes = 0;
  uint32_t version = 0;
  Device device;
  bool owned = true;                       // from our allocator; else `free_external` ends it
  uint32_t place = 0;                      // what g_watcher calls it; 0: unknown to it
  void (*free_external)(void*) = nullptr;  // called with `external`
  void* external = nullptr;

  static Storage* create(size_t bytes, Device device);
  /// Memory of somebody else (numpy, DLPack); `free_external(external)` is called at the end.
  static Storage* wrap(void* data, size_t bytes, Device device, void (*free_external)(void*),
                       void* external);
  static void destroy(Storage* s);
};

struct GS_API TensorImpl : RefCounted {
  Ref<Storage> storage;
  Ref<Storage>
      version_owner;     // of x.data and its views: whose version counts; null: the storage's own
  char* data = nullptr;  // the first element: storage->data + offset * element size
  int64_t numel = 0;
  Dims sizes;
  Dims strides;
  DType dtype = DType::Float32;
  Device device;
  bool contiguous = true;
  bool requires_grad = false;  // a leaf that wants a gradient; non-leaves have grad_fn
  bool inference = false;      // made under inference_mode
  bool view_no_grad = false;   // a view made while gradients were off
  uint32_t output_nr = 0;      // which output of grad_fn this is
  uint32_t view_version = 0;   // the storage's version when grad_fn of a view was made
  Node* grad_fn = nullptr;     // owned
  AutogradMeta* meta = nullptr;
  Ref<TensorImpl> base;       // of a view
  void* py_object = nullptr;  // the live Python object, not owned

  static TensorImpl* create();
  static void destroy(TensorImpl* t);

  int ndim() const { return sizes.size(); }
  int64_t offset() const {
    return (data - storage->data) / static_cast<int64_t>(element_size(dtype));
  }
  /// A view wants one as soon as its base does.
  bool wants_grad() const {
    return requires_grad || grad_fn ||
           (base && !view_no_grad && (base->requires_grad || base->grad_fn));
  }
  uint32_t& version() const { return version_owner ? version_owner->version : storage->version; }
  /// Call after sizes or strides were set.
  void update_geometry() {
    numel = count_elements(sizes);
    contiguous = is_contiguous(sizes, strides);
  }
};

/// What this thread records: graph/node.h has the guards.
struct Modes {
  bool grad = true;
  bool inference = false;
  bool autocast = false;           // ops/autocast.h has the rest
  TensorPacker* packer = nullptr;  // what nodes keep goes through it, not owned (graph/node.h)
};
Modes& modes();

/// A handle on a TensorImpl; copying it shares the tensor. A default-made one is undefined.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(TensorImpl* impl) : impl_(impl) {}
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  TensorImpl* get() const { return impl_.get(); }
  TensorImpl* operator->() const { return impl_.get(); }
  bool defined() const { return static_cast<bool>(impl_); }
  explicit operator bool() const { return defined(); }
  Ref<TensorImpl>& ref() { return impl_; }
  const Ref<TensorImpl>& ref() const { return impl_; }

  const Dims& sizes() const { return impl_->sizes; }
  const Dims& strides() const { return impl_->strides; }
  int64_t size(int64_t d) const { return impl_->sizes[static_cast<int>(wrap_dim(d, ndim()))]; }
  int64_t stride(int64_t d) const { return impl_->strides[static_cast<int>(wrap_dim(d, ndim()))]; }
  int ndim() const { return impl_->ndim(); }
  int64_t numel() const { return impl_->numel; }
  int64_t offset() const { return impl_->offset(); }
  DType dtype() const { return impl_->dtype; }
  Device device() const { return impl_->device; }
  bool contiguous() const { return impl_->contiguous; }
  bool wants_grad() const { return impl_->wants_grad(); }
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(impl_->data);
  }

 private:
  Ref<TensorImpl> impl_;
};

/// What a new tensor is made of.
struct Options {
  DType dtype = DType::Float32;
  Device device;
};
inline Options options_of(const Tensor& t) { return {t.dtype(), t.device()}; }

/// Uninitialised contiguous memory.
GS_API Tensor empty(const Dims& sizes, DType dtype, Device device = {});
inline Tensor empty(const Dims& sizes, Options o) { return empty(sizes, o.dtype, o.device); }
inline Tensor empty_like(const Tensor& t) { return empty(t.sizes(), t.dtype(), t.device()); }
/// Uninitialised memory with given strides (non-negative, of a dense layout or not).
GS_API Tensor empty_strided(const Dims& sizes, const Dims& strides, DType dtype,
                            Device device = {});

/// Another view of the same storage, without any autograd history. `offset` counts elements.
GS_API Tensor alias(const Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset);
/// The same view without history: shares storage and version.
inline Tensor alias(const Tensor& t) { return alias(t, t.sizes(), t.strides(), t.offset()); }

/// Raises unless every element that sizes and strides reach lies inside the storage.
void check_bounds(const Dims& sizes, const Dims& strides, int64_t offset, DType dtype,
                  size_t storage_bytes);

/// Element `index` of the memory that starts at t's first element, copied to the host; waits for a
/// GPU.
void read_element(const TensorImpl& t, int64_t index, void* out);
/// The same as a T, which must be t's type: host_value<int64_t>(count).
template <class T>
T host_value(const Tensor& t, int64_t index = 0) {
  T v;
  read_element(*t.get(), index, &v);
  return v;
}

inline void bump_version(const Tensor& t) { ++t->version(); }
/// Gives t a version of its own, starting at `version`.
void separate_version(const Tensor& t, uint32_t version);

}  // namespace gradstep
