// SPDX-License-Identifier: Apache-2.0
// Number sequences on the CPU.
#include "core/threads.h"
#include "graph/call.h"

namespace gradstep {

namespace {

/// out[i] = start + i * step, rounded once; the second half counts down from `end` when asked, as
/// linspace does.
void sequence(const Call& call) {
  const TensorImpl& out = call.out(0);
  dispatch(out.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = std::conditional_t<std::is_same_v<compute_t<T>, int64_t>, int64_t, double>;
    const auto slot = [&](int k) {
      if constexpr (std::is_same_v<C, int64_t>) {
        return call.i(k);
      } else {
        return static_cast<C>(call.f(k));
      }
    };
    const C start = slot(0);
    const C step = slot(1);
    const C end = slot(2);
    const int64_t half = call.i(3) ? (out.numel + 1) / 2 : out.numel;
    T* p = reinterpret_cast<T*>(out.data);
    parallel_for(out.numel, kGrain, [&](int64_t begin, int64_t stop) {
      for (int64_t i = begin; i < stop; ++i) {
        const C v = i < half ? start + step * static_cast<C>(i)
                             : end - step * static_cast<C>(out.numel - 1 - i);
        p[i] = convert<T>(v);
      }
    });
  });
}
GS_CPU_KERNEL("sequence", sequence);

}  // namespace

}  // namespace gradstep
