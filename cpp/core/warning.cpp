// SPDX-License-Identifier: Apache-2.0
#include "core/warning.h"

#include <cstdio>
#include <mutex>
#include <unordered_set>

namespace gradstep {

void warn_once(const std::string& kind, const std::string& text) {
  static std::mutex mutex;
  static std::unordered_set<std::string> told;
  {
    const std::lock_guard lock(mutex);
    if (!told.insert(kind).second) return;
  }
  if (g_tell_warning) return g_tell_warning(text);
  std::fprintf(stderr, "Warning: %s\n", text.c_str());
}

}  // namespace gradstep
