// SPDX-License-Identifier: Apache-2.0
// require_all(; ok): reports the message at the address in slot 0, of the kind in slot 1, where an
// element is false.
#include <bit>

#include "cuda/block.h"

namespace gradstep::cuda {

namespace {

struct RequireArgs {
  int64_t n;
  const bool* ok;
  Reporter reporter;
  int64_t message;
};
constexpr int kRequireThreads = 256;

__global__ void __launch_bounds__(kRequireThreads)
    require_kernel(const __grid_constant__ RequireArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    if (!a.ok[i]) report_trouble(a.reporter, Trouble::Message, a.message, 0, 0, 0);
  }
}

void require_all(const Call& call) {
  const TensorImpl& ok = call.in(0);
  if (ok.numel == 0) return;
  const DeviceGuard guard(ok.device.index);
  const char* const text = std::bit_cast<const char*>(static_cast<intptr_t>(call.i(0)));
  const RequireArgs a{ok.numel, reinterpret_cast<const bool*>(ok.data), reporter(call),
                      message_number(text, static_cast<ErrorKind>(call.i(1)))};
  launch_grid(call, &require_kernel, blocks_for(call, a.n, kRequireThreads), kRequireThreads, a);
}
GS_CUDA_KERNEL("require_all", require_all);

}  // namespace

}  // namespace gradstep::cuda
