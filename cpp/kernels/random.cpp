// SPDX-License-Identifier: Apache-2.0
// The calls that fill a contiguous tensor with random numbers. Slot 0 of each is the generator's
// address; the other slots are the arguments of random_fill.h in its order.
#include <bit>

#include "graph/call.h"
#include "kernels/random_fill.h"

namespace gradstep {

namespace {

Generator& generator(const Call& call) {
  return generator_on(*std::bit_cast<Generator*>(static_cast<intptr_t>(call.i(0))), Device{});
}

using RealFill = void (*)(Generator&, DType, void*, int64_t, double, double);
using RateFill = void (*)(Generator&, DType, void*, int64_t, double);

template <RealFill fill>
void real(const Call& call) {
  const TensorImpl& out = call.out(0);
  fill(generator(call), out.dtype, out.data, out.numel, call.f(1), call.f(2));
}

template <RateFill fill>
void rate(const Call& call) {
  const TensorImpl& out = call.out(0);
  fill(generator(call), out.dtype, out.data, out.numel, call.f(1));
}

constexpr auto random_uniform = real<&fill_uniform>;
constexpr auto random_log_normal = real<&fill_log_normal>;
constexpr auto random_cauchy = real<&fill_cauchy>;
constexpr auto random_exponential = rate<&fill_exponential>;
constexpr auto random_geometric = rate<&fill_geometric>;
constexpr auto dropout_mask = rate<&fill_dropout_mask>;
const KernelRegistration kReal[] = {
    {"random_uniform", DeviceType::CPU, random_uniform},
    {"random_log_normal", DeviceType::CPU, random_log_normal},
    {"random_cauchy", DeviceType::CPU, random_cauchy},
    {"random_exponential", DeviceType::CPU, random_exponential},
    {"random_geometric", DeviceType::CPU, random_geometric},
    {"dropout_mask", DeviceType::CPU, dropout_mask},
};

// Slot 3: whether the tensor that the user fills is contiguous.
void random_normal(const Call& call) {
  const TensorImpl& out = call.out(0);
  fill_normal(generator(call), out.dtype, out.data, out.numel, call.f(1), call.f(2),
              call.i(3) != 0);
}
GS_CPU_KERNEL("random_normal", random_normal);

// One probability for all, or one for each element in a tensor.
void random_bernoulli(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (call.n_in == 0) {
    fill_bernoulli(generator(call), out.dtype, out.data, out.numel, call.f(1));
  } else {
    fill_bernoulli(generator(call), out.dtype, out.data, out.numel, call.in(0).dtype,
                   call.in(0).data);
  }
}
GS_CPU_KERNEL("random_bernoulli", random_bernoulli);

// Slot 1: how many bounds follow (0: the type's own range; 1: from; 2: from, to).
void random_integers(const Call& call) {
  const TensorImpl& out = call.out(0);
  Generator& gen = generator(call);
  switch (call.i(1)) {
    case 0: return fill_random(gen, out.dtype, out.data, out.numel);
    case 1: return fill_random(gen, out.dtype, out.data, out.numel, call.i(2), std::nullopt);
    default: return fill_random(gen, out.dtype, out.data, out.numel, call.i(2), call.i(3));
  }
}
GS_CPU_KERNEL("random_integers", random_integers);

void random_permutation(const Call& call) {
  const TensorImpl& out = call.out(0);
  fill_randperm(generator(call), out.dtype, out.data, out.numel);
}
GS_CPU_KERNEL("random_permutation", random_permutation);

// in: weights [rows, categories]; out: int64 [rows, samples]. Slot 1: replacement.
void random_multinomial(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& weights = call.in(0);
  fill_multinomial(generator(call), weights.dtype, weights.data,
                   reinterpret_cast<int64_t*>(out.data), weights.sizes[0], weights.sizes[1],
                   out.sizes[1], call.i(1) != 0);
}
GS_CPU_KERNEL("random_multinomial", random_multinomial);

}  // namespace

}  // namespace gradstep
