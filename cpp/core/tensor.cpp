// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <cstring>
#include <new>

#include "core/cuda_api.h"
#include "core/memory.h"

namespace gradstep {

namespace {
thread_local Modes t_modes __attribute__((tls_model("initial-exec")));
}

Modes& modes() { return t_modes; }

Watcher* g_watcher = nullptr;
ProfilingWatcher* g_profiler = nullptr;

namespace {

char* allocate_on(size_t bytes, Device device) {
  return static_cast<char*>(
      device.type == DeviceType::CPU ? allocate(bytes) : cuda_api().allocate(bytes, device.index));
}

void deallocate_on(char* p, size_t bytes, Device device) {
  if (device.type == DeviceType::CPU) {
    deallocate(p, bytes);
  } else {
    find_cuda()->deallocate(p, bytes, device.index);
  }
}

}  // namespace

void read_element(const TensorImpl& t, int64_t index, void* out) {
  refuse_capture("the value of a tensor is read");
  const size_t size = element_size(t.dtype);
  const char* from = t.data + index * static_cast<int64_t>(size);
  if (t.device.type == DeviceType::CPU) {
    std::memcpy(out, from, size);
  } else {
    cuda_api().copy_bytes(out, {}, from, t.device, size, false);
  }
}

Storage* Storage::create(size_t bytes, Device device) {
  if (device.type == DeviceType::CUDA && device.index < 0) device = full_device(device);
  Storage* s = new (allocate(sizeof(Storage))) Storage;
  s->bytes = bytes;
  s->device = device;
  if (bytes != 0) {
    try {
      s->data = allocate_on(bytes, device);
    } catch (...) {
      deallocate(s, sizeof(Storage));
      throw;
    }
  }
  if (g_watcher) [[unlikely]]
    g_watcher->created(*s);
  return s;
}

Storage* Storage::wrap(void* data, size_t bytes, Device device, void (*free_external)(void*),
                       void* external) {
  Storage* s = new (allocate(sizeof(Storage))) Storage;
  s->data = static_cast<char*>(data);
  s->bytes = bytes;
  s->device = device;
  s->owned = false;
  s->free_external = free_external;
  s->external = external;
  if (g_watcher) [[unlikely]]
    g_watcher->created(*s);
  return s;
}

void Storage::destroy(Storage* s) {
  if (s->place != 0) [[unlikely]]
    g_watcher->destroyed(*s);
  if (s->owned) {
    if (s->data) deallocate_on(s->data, s->bytes, s->device);
  } else if (s->free_external) {
    s->free_external(s->external);
  }
  deallocate(s, sizeof(Storage));
}

TensorImpl* TensorImpl::create() {
  auto* t = new (allocate(sizeof(TensorImpl))) TensorImpl;
  t->inference = t_modes.inference;
  return t;
}

void TensorImpl::destroy(TensorImpl* t) {
  if (t->grad_fn || t->meta) release_autograd(t);
  t->~TensorImpl();
  deallocate(t, sizeof(TensorImpl));
}

namespace {
Tensor make(Ref<Storage> storage, const Dims& sizes, const Dims& strides, int64_t offset,
            DType dtype) {
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->sizes = sizes;
  t->strides = strides;
  t->dtype = dtype;
  t->device = storage->device;
  t->data = storage->data + offset * static_cast<int64_t>(element_size(dtype));
  t->storage = std::move(storage);
  t->update_geometry();
  return out;
}
}  // namespace

Tensor empty(const Dims& sizes, DType dtype, Device device) {
  Tensor out(TensorImpl::create());
  TensorImpl* t = out.get();
  t->sizes = sizes;
  t->numel = count_elements(sizes);
  t->strides = contiguous_strides(sizes);
  t->dtype = dtype;
  t->device = device;
  t->storage = Ref(Storage::create(static_cast<size_t>(t->numel) * element_size(dtype), device));
  t->data = t->storage->data;
  return out;
}

namespace {
/// One past the highest element that is reached, 0 when there is none.
int64_t extent(const Dims& sizes, const Dims& strides) {
  int64_t last = 0;
  for (int i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    GS_CHECK(strides[i] >= 0,
             "as_strided: Negative strides are not supported at the moment, got strides: {}",
             strides);
    int64_t reach = 0;
    GS_CHECK(!__builtin_mul_overflow(sizes[i] - 1, strides[i], &reach) &&
                 !__builtin_add_overflow(last, reach, &last) && last < (int64_t{1} << 60),
             "Storage size calculation overflowed with sizes={} and strides={}", sizes, strides);
  }
  return last + 1;
}
}  // namespace

Tensor empty_strided(const Dims& sizes, const Dims& strides, DType dtype, Device device) {
  GS_CHECK(sizes.size() == strides.size(),
           "dimensionality of sizes ({}) must match dimensionality of strides ({})", sizes.size(),
           strides.size());
  count_elements(sizes);
  const auto bytes = static_cast<size_t>(extent(sizes, strides)) * element_size(dtype);
  return make(Ref(Storage::create(bytes, device)), sizes, strides, 0, dtype);
}

Tensor alias(const Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset) {
  Tensor out = make(t->storage, sizes, strides, offset, t.dtype());
  out->version_owner = t->version_owner;
  out->inference = t->inference;
  return out;
}

void separate_version(const Tensor& t, uint32_t version) {
  t->version_owner = Ref(Storage::create(0, t.device()));
  t->version_owner->version = version;
}

void check_bounds(const Dims& sizes, const Dims& strides, int64_t offset, DType dtype,
                  size_t storage_bytes) {
  GS_CHECK(offset >= 0, "Tensor: invalid storage offset {}", offset);
  const int64_t n = extent(sizes, strides);
  GS_CHECK(offset < (int64_t{1} << 59) && n < (int64_t{1} << 59),
           "Storage size calculation overflowed with sizes={} and strides={}", sizes, strides);
  const int64_t needed = n == 0 ? 0 : (offset + n) * static_cast<int64_t>(element_size(dtype));
  GS_CHECK(needed <= static_cast<int64_t>(storage_bytes),
           "setStorage: sizes {}, strides {}, storage offset {}, and itemsize {} requiring a "
           "storage size of {} are out of bounds for storage of size {}",
           sizes, strides, offset, element_size(dtype), needed, storage_bytes);
}

}  // namespace gradstep
