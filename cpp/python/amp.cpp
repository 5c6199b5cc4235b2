// SPDX-License-Identifier: Apache-2.0
// The state of autocast for Python, under PyTorch's names. python/gradstep/amp has the classes.
// Each device has a switch and a lower precision of its own.
#include "ops/autocast.h"
#include "python/function.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

/// Whoever asks without a device means CUDA, as in PyTorch.
DeviceType device_type(const Args& a, int i) {
  const std::string type = a.has(i) ? a.str(i) : "cuda";
  return parse_device(type.c_str()).type;
}

bool is_enabled(DeviceType device) { return autocast_state().on[static_cast<int>(device)]; }
DType& dtype_of(DeviceType device) { return autocast_state().dtype[static_cast<int>(device)]; }

void set_dtype(DeviceType device, DType dtype) {
  GS_CHECK(is_floating(dtype), "autocast: expected a floating dtype, got {}", dtype);
  dtype_of(device) = dtype;
}

constexpr char kEnabledDoc[] = "True if autocast is on for the device type ('cuda' by default).";

const FunctionRow kRows[] = {
    {"is_autocast_enabled", "(str? device_type=None)", Fn, kEnabledDoc,
     [](Args& a) { return wrap(is_enabled(device_type(a, 0))); }},
    {"set_autocast_enabled", "(str device_type, bool enabled)", Fn, "",
     [](Args& a) {
       set_autocast(device_type(a, 0), a.flag(1));
       return none();
     }},
    {"set_autocast_enabled", "(bool enabled)", Fn, "Of CUDA.",
     [](Args& a) {
       set_autocast(DeviceType::CUDA, a.flag(0));
       return none();
     }},
    {"get_autocast_dtype", "(str device_type)", Fn, "The lower precision of the device type.",
     [](Args& a) { return wrap(dtype_of(device_type(a, 0))); }},
    {"set_autocast_dtype", "(str device_type, dtype dtype)", Fn,
     "Sets the lower precision of autocast for a device type.",
     [](Args& a) {
       set_dtype(device_type(a, 0), *a.opt_dtype(1));
       return none();
     }},
    {"is_autocast_cpu_enabled", "()", Fn, "True if autocast is on for the CPU.",
     [](Args&) { return wrap(is_enabled(DeviceType::CPU)); }},
    {"set_autocast_cpu_enabled", "(bool enabled)", Fn, "Turns autocast on the CPU on or off.",
     [](Args& a) {
       set_autocast(DeviceType::CPU, a.flag(0));
       return none();
     }},
    {"get_autocast_cpu_dtype", "()", Fn, "The lower precision of autocast on the CPU.",
     [](Args&) { return wrap(dtype_of(DeviceType::CPU)); }},
    {"set_autocast_cpu_dtype", "(dtype dtype)", Fn,
     "Sets the lower precision of autocast on the CPU.",
     [](Args& a) {
       set_dtype(DeviceType::CPU, *a.opt_dtype(0));
       return none();
     }},
    {"get_autocast_gpu_dtype", "()", Fn, "The lower precision of autocast on CUDA.",
     [](Args&) { return wrap(dtype_of(DeviceType::CUDA)); }},
    {"set_autocast_gpu_dtype", "(dtype dtype)", Fn, "Sets the lower precision of autocast on CUDA.",
     [](Args& a) {
       set_dtype(DeviceType::CUDA, *a.opt_dtype(0));
       return none();
     }},
    {"is_autocast_cache_enabled", "()", Fn, "True if casts of leaves are kept within a region.",
     [](Args&) { return wrap(autocast_state().cache); }},
    {"set_autocast_cache_enabled", "(bool enabled)", Fn,
     "Sets whether casts of leaves are kept within a region.",
     [](Args& a) {
       autocast_state().cache = a.flag(0);
       return none();
     }},
    {"autocast_increment_nesting", "()", Fn,
     "Enters a region of autocast; returns how many there are.",
     [](Args&) { return wrap(int64_t{++autocast_state().nesting}); }},
    {"autocast_decrement_nesting", "()", Fn,
     "Leaves a region of autocast; returns how many are left.",
     [](Args&) { return wrap(int64_t{--autocast_state().nesting}); }},
    {"clear_autocast_cache", "()", Fn, "Forgets the casts of leaves.",
     [](Args&) {
       clear_autocast_cache();
       return none();
     }},
    {"_autocast", "(Tensor input, dtype dtype)", Fn,
     "input in that type if it is of another floating type than float64.",
     [](Args& a) { return wrap(autocast(a.tensor(0), *a.opt_dtype(1))); }},
};

}  // namespace

void add_amp_functions() { add_functions(kRows); }

}  // namespace gradstep::python
