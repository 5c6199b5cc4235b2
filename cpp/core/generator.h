// SPDX-License-Identifier: Apache-2.0
// Where random numbers come from. On the CPU it is mt19937 with PyTorch's seeding, draw order and
// state bytes, so that manual_seed(n) gives PyTorch's numbers and states can be exchanged. Lock
// `mutex` to draw:
//   const std::lock_guard lock(gen.mutex);  gen.draw(buffer, n);
// A GPU's is a seed and an offset: kernels compute the numbers from them (fn/random.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "core/device.h"
#include "core/error.h"
#include "core/ref.h"

namespace gradstep {

class Generator : public RefCounted {
 public:
  static constexpr uint64_t kDefaultSeed = 67280421310721;  // of torch.Generator()
  static constexpr size_t kStateBytes = 5056;
  static constexpr size_t kCudaStateBytes = 16;  // seed, offset

  explicit Generator(uint64_t seed = kDefaultSeed, Device device = {}) : device_(device) {
    manual_seed(seed);
  }
  static void destroy(Generator* generator) { delete generator; }

  void manual_seed(uint64_t seed);
  uint64_t seed();  // seeds from the system's entropy; returns the seed
  uint64_t initial_seed() const { return seed_; }
  Device device() const { return device_; }

  // ---- on the CPU ----

  /// The next 32 bits.
  uint32_t random() {
    if (at_ == kWords) twist();
    return temper(state_[at_++]);
  }
  /// The next 64 bits: the first draw is the high half.
  uint64_t random64() {
    const uint64_t high = random();
    return high << 32 | random();
  }
  /// The next n results of random(), or of random64().
  void draw(uint32_t* out, int64_t n);
  void draw64(uint64_t* out, int64_t n);

  // ---- on a GPU ----

  /// The offset to draw at; the next one is `draws` 32-bit numbers further, rounded up to 4.
  uint64_t take(uint64_t draws) {
    const std::lock_guard lock(mutex);
    const uint64_t now = offset_;
    offset_ += (draws + 3) / 4 * 4;
    return now;
  }

  // ---- state ----

  size_t state_bytes() const {
    return device_.type == DeviceType::CPU ? kStateBytes : kCudaStateBytes;
  }
  /// PyTorch's layout, as torch.get_rng_state() has it. set_state throws if the bytes are no state.
  void get_state(uint8_t* out) const;
  void set_state(const uint8_t* bytes, size_t size);

  // The second value of a pair of normal ones, kept for the next call.
  std::optional<double> next_double_normal;
  std::optional<float> next_float_normal;

  std::mutex mutex;

 private:
  static constexpr int kWords = 624;
  static constexpr int kShift = 397;

  static uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  void twist();

  Device device_;
  uint64_t seed_ = 0;
  uint64_t offset_ = 0;
  int at_ = kWords;    // next word to use
  bool fresh_ = true;  // seeded and not drawn from: PyTorch's state says so with next = 0
  uint32_t state_[kWords];
};

/// The generator that is used where none is given; seeded from entropy, as PyTorch's.
Generator& default_generator();
/// A device's; there, and seeded by manual_seed, before CUDA is loaded.
GS_API Generator& default_generator(Device d);
constexpr int kMostGpus = 16;
/// The generator for numbers on a device, of one that was given: the CPU's default one stands for
/// the device's. Raises for any other of another kind.
GS_API Generator& generator_on(Generator& given, Device d);

}  // namespace gradstep
