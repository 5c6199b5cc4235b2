// SPDX-License-Identifier: Apache-2.0
// What a user should know but can do without, told once:
//   warn_once("cublaslt", "cuBLASLt was not found: ..");
// The Python layer makes a UserWarning of it; a C++ program reads it on stderr.
#pragma once
#include <string>

#include "core/error.h"

namespace gradstep {

/// Once for each kind in the life of the process.
GS_API void warn_once(const std::string& kind, const std::string& text);

/// Filled in by the layer above; null: stderr.
inline void (*g_tell_warning)(const std::string& text) = nullptr;

}  // namespace gradstep
