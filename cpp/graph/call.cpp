// SPDX-License-Identifier: Apache-2.0
#include "graph/call.h"

#include <memory>
#include <string>
#include <unordered_map>

namespace gradstep {

namespace {
struct Registry {
  std::unordered_map<std::string, std::unique_ptr<Op>> ops;
};
Registry& registry() {
  static auto* r = new Registry;  // never destroyed: kernels may run until the process ends
  return *r;
}
}  // namespace

Op& Op::get(std::string_view name) {
  auto [it, added] = registry().ops.try_emplace(std::string(name));
  if (added) {
    it->second = std::make_unique<Op>();
    it->second->name = it->first.c_str();
  }
  return *it->second;
}

Op* Op::find(std::string_view name) {
  const auto it = registry().ops.find(std::string(name));
  return it == registry().ops.end() ? nullptr : it->second.get();
}

void launch_watched(const Call& call, Kernel kernel) {
  g_watcher->launching(call);
  kernel(call);
  if (g_watcher) g_watcher->launched(call);
}

void fail_no_kernel(const Call& call, DeviceType device) {
  fail(ErrorKind::NotImplemented, "Could not run '{}' on the {} device: it has no such kernel.",
       call.op->name, device == DeviceType::CPU ? "CPU" : "CUDA");
}

}  // namespace gradstep
