// SPDX-License-Identifier: Apache-2.0
// Where a tensor lives.
#pragma once
#include <cstdint>
#include <string>

namespace gradstep {

enum class DeviceType : uint8_t { CPU, CUDA };
constexpr int kDevices = 2;

struct Device {
  DeviceType type = DeviceType::CPU;
  int8_t index = -1;  // -1: the current device of that type
  friend bool operator==(Device a, Device b) { return a.type == b.type && a.index == b.index; }
};

inline void append(std::string& out, Device d) {
  out += d.type == DeviceType::CPU ? "cpu" : "cuda";
  if (d.index >= 0) {
    out += ':';
    out += std::to_string(d.index);
  }
}

}  // namespace gradstep
