// SPDX-License-Identifier: Apache-2.0
// One hash of bytes for our tables and files: hash_bytes(text.data(), text.size()), and
// std::unordered_map<Key, Plan, HashOfBytes<Key>> for keys without padding (or with zeros there).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace gradstep {

inline constexpr uint64_t kHashStart = 14695981039346656037u;

/// FNV-1a over words of eight bytes, the last one filled up with zeros. `h` goes on from other
/// bytes.
inline uint64_t hash_bytes(const void* data, size_t n, uint64_t h = kHashStart) {
  const char* p = static_cast<const char*>(data);
  for (size_t i = 0; i < n; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, p + i, n - i < 8 ? n - i : 8);
    h = (h ^ word) * 1099511628211u;
    h ^= h >> 29;  // or the high bits would not reach the low ones
  }
  return h;
}

template <class Key>
struct HashOfBytes {
  static_assert(std::is_trivially_copyable_v<Key>);
  size_t operator()(const Key& k) const { return static_cast<size_t>(hash_bytes(&k, sizeof k)); }
};

}  // namespace gradstep
