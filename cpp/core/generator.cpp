// SPDX-License-Identifier: Apache-2.0
#include "core/generator.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/error.h"

namespace gradstep {
namespace {

/// The bytes of torch.get_rng_state(): a C struct of their earlier engine, kept for old
/// checkpoints.
struct StateBytes {
  uint64_t seed;
  int32_t left;  // draws until the next twist, plus one
  int32_t seeded;
  uint64_t next;
  uint64_t state[624];
  double normal_x, normal_y, normal_rho;  // only y is in use
  int32_t has_normal_y;
  int32_t padding;
  float next_float_normal;
  uint8_t has_next_float_normal;
  uint8_t tail[3];
};
static_assert(sizeof(StateBytes) == Generator::kStateBytes);

uint64_t entropy() {
  uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) {
    value = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  return value;
}

}  // namespace

void Generator::manual_seed(uint64_t seed) {
  seed_ = seed;
  offset_ = 0;
  if (device_.type != DeviceType::CPU) return;
  state_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
  at_ = kWords;
  fresh_ = true;
  next_double_normal.reset();
  next_float_normal.reset();
}

uint64_t Generator::seed() {
  const uint64_t value = entropy();
  manual_seed(value);
  return value;
}

void Generator::twist() {
  const auto mix = [](uint32_t far, uint32_t high, uint32_t low) {
    const uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ (y >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
  };
  constexpr int kRest = kWords - kShift;
  for (int i = 0; i < kRest; ++i) state_[i] = mix(state_[i + kShift], state_[i], state_[i + 1]);
  for (int i = kRest; i < kWords - 1; ++i)
    state_[i] = mix(state_[i - kRest], state_[i], state_[i + 1]);
  state_[kWords - 1] = mix(state_[kShift - 1], state_[kWords - 1], state_[0]);
  at_ = 0;
  fresh_ = false;
}

void Generator::draw(uint32_t* out, int64_t n) {
  while (n > 0) {
    if (at_ == kWords) twist();
    const int64_t count = std::min<int64_t>(n, kWords - at_);
    const uint32_t* from = state_ + at_;
    for (int64_t i = 0; i < count; ++i) out[i] = temper(from[i]);
    at_ += static_cast<int>(count);
    out += count;
    n -= count;
  }
}

void Generator::draw64(uint64_t* out, int64_t n) {
  uint32_t words[512];
  while (n > 0) {
    const int64_t count = std::min<int64_t>(n, 256);
    draw(words, 2 * count);
    for (int64_t i = 0; i < count; ++i) out[i] = uint64_t{words[2 * i]} << 32 | words[2 * i + 1];
    out += count;
    n -= count;
  }
}

void Generator::get_state(uint8_t* out) const {
  if (device_.type != DeviceType::CPU) {
    std::memcpy(out, &seed_, sizeof seed_);
    std::memcpy(out + sizeof seed_, &offset_, sizeof offset_);
    return;
  }
  StateBytes bytes{};
  bytes.seed = seed_;
  bytes.left = fresh_ ? 1 : kWords + 1 - at_;
  bytes.seeded = 1;
  bytes.next = fresh_ ? 0 : static_cast<uint64_t>(at_);
  std::copy(state_, state_ + kWords, bytes.state);
  bytes.normal_y = next_double_normal.value_or(0.0);
  bytes.has_normal_y = next_double_normal.has_value();
  bytes.next_float_normal = next_float_normal.value_or(0.0f);
  bytes.has_next_float_normal = next_float_normal.has_value();
  std::memcpy(out, &bytes, sizeof bytes);
}

void Generator::set_state(const uint8_t* data, size_t size) {
  if (device_.type != DeviceType::CPU) {
    GS_CHECK(size == kCudaStateBytes || size == sizeof seed_, "RNG state is wrong size");
    uint64_t offset = 0;
    if (size == kCudaStateBytes) std::memcpy(&offset, data + sizeof seed_, sizeof offset);
    GS_CHECK(offset % 4 == 0, "offset must be a multiple of 4");
    std::memcpy(&seed_, data, sizeof seed_);
    offset_ = offset;
    return;
  }
  GS_CHECK(
      size == kStateBytes,
      "Expected a CPUGeneratorImplState of size {} but found the input RNG state size to be {}",
      kStateBytes, size);
  StateBytes bytes;
  std::memcpy(&bytes, data, sizeof bytes);
  GS_CHECK(bytes.seeded != 0 && bytes.left > 0 && bytes.left <= kWords &&
               bytes.next <= uint64_t{kWords} &&
               (bytes.left == 1 || bytes.next == static_cast<uint64_t>(kWords + 1 - bytes.left)),
           "Invalid mt19937 state");
  seed_ = bytes.seed;
  for (int i = 0; i < kWords; ++i) state_[i] = static_cast<uint32_t>(bytes.state[i]);
  at_ = kWords + 1 - bytes.left;
  fresh_ = bytes.left == 1 && bytes.next == 0;
  next_double_normal = bytes.has_normal_y ? std::optional(bytes.normal_y) : std::nullopt;
  next_float_normal =
      bytes.has_next_float_normal ? std::optional(bytes.next_float_normal) : std::nullopt;
}

Generator& default_generator() {
  static Generator& instance = []() -> Generator& {
    auto* generator = new Generator;  // never destroyed: module teardown may still draw
    generator->ref_count = 1;
    generator->seed();
    return *generator;
  }();
  return instance;
}

Generator& default_generator(Device d) {
  if (d.type == DeviceType::CPU) return default_generator();
  GS_CHECK(d.index >= 0 && d.index < kMostGpus, "there is no generator of {}", d);
  static Generator* const all = [] {
    auto* generators = static_cast<Generator*>(::operator new(kMostGpus * sizeof(Generator)));
    for (int i = 0; i < kMostGpus; ++i) {
      const Device device{DeviceType::CUDA, static_cast<int8_t>(i)};
      (new (generators + i) Generator(Generator::kDefaultSeed, device))->ref_count = 1;
    }
    return generators;  // never destroyed
  }();
  return all[d.index];
}

Generator& generator_on(Generator& given, Device d) {
  if (&given == &default_generator()) return default_generator(d);
  GS_CHECK(given.device().type == d.type,
           "Expected a '{}' device type for generator but found '{}'", Device{d.type, -1},
           Device{given.device().type, -1});
  return given;
}

}  // namespace gradstep
