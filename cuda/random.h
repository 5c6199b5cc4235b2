// SPDX-License-Identifier: Apache-2.0
// Random numbers on a GPU: the state that a call draws with, and where its numbers go.
//   const DrawPlan plan = plan_draws(call, n, 4);
//   launch_grid(call, kernel, plan.blocks, kRandomThreads, args..);
// See Note [Equal to PyTorch on a GPU].
#pragma once
#include "core/random_args.h"
#include "cuda/values.h"
#include "fn/random.h"

namespace gradstep::cuda {

// Note [Equal to PyTorch on a GPU]
// Thread t of a grid draws from subsequence t of Philox4x32-10 under the generator's seed, from the
// generator's offset on, four words a turn, as cuRAND does; the words of a turn go to elements
// t + k * threads, k = 0..3 (0, 1 where a number takes two words). The grid has a thread for each
// element, but no more than are resident: so the numbers depend on the GPU's size, here and there.
// The offset then moves by 4 for each turn of the busiest thread. With that these are PyTorch's
// numbers for the same seed, offset and GPU, up to the rounding of log, sincos and exp in float:
// uniform, normal, log_normal, cauchy, exponential, geometric, bernoulli, random, randint, and
// dropout, whose turns are laid out as in PyTorch's vectorised kernel. Not equal: tensors of 2^31
// elements and more (PyTorch splits them), poisson, randperm, multinomial with replacement.
// None of this was compared with PyTorch on a GPU: the tests have Random123's known answers and
// compute the rule above in Python.

constexpr int kRandomThreads = 256;

struct DrawPlan {
  Philox state;
  unsigned blocks;
};
/// Takes the draws of a call for n elements of which a turn gives `each`; 0 blocks for none.
DrawPlan plan_draws(const Call& call, int64_t n, int each);
/// Takes `draws` words of each subsequence.
Philox take_draws(const Call& call, uint64_t draws);

/// Fills that others are made of.
void fill_exponential(const Call& call, const TensorImpl& out, double lambda);
void fill_integers(const Call& call, const TensorImpl& out, const IntegerRange& range);

/// Turns of one subsequence: next() is the following four words.
class Draws {
 public:
  GS_DEVICE Draws(const Philox& p, int64_t subsequence)
      : seed_(p.live ? p.live[0] : p.seed),
        at_((p.live ? p.live[1] + p.offset : p.offset) / 4),
        subsequence_(uint64_t(subsequence)) {}
  GS_DEVICE Random4 next() { return gradstep::Philox{}(seed_, subsequence_, at_++); }

 private:
  uint64_t seed_, at_, subsequence_;
};

/// v as an element of type t holds it.
template <class C>
GS_DEVICE C as_stored(C v, DType t) {
  if constexpr (std::is_same_v<C, float>) {
    if (t == DType::Float16) return half_to_float(float_to_half(v));
    if (t == DType::BFloat16) return bfloat_to_float(float_to_bfloat(v));
  }
  return v;
}

}  // namespace gradstep::cuda
