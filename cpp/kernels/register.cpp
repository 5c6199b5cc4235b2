// SPDX-License-Identifier: Apache-2.0
// Fills the ops' CPU kernels from the copy that was compiled for this machine's instruction set.
#include "graph/build_info.h"
#include "graph/call.h"
#include "kernels/conv.h"
#include "kernels/convert.h"
#include "kernels/instruction_set.h"
#include "kernels/matmul.h"

namespace gradstep {

#define GS_DECLARE_REGISTRATIONS(isa)             \
  namespace isa {                                 \
  void register_copy_kernels();                   \
  void register_fused_map();                      \
  void register_unary_loops();                    \
  void register_binary_loops();                   \
  void register_ternary_loops();                  \
  void register_activation_loops();               \
  void register_reduce_kernels();                 \
  void register_row_kernels();                    \
  void register_multi_kernels();                  \
  void register_pool_kernels();                   \
  void register_norm_kernels();                   \
  void register_attention_kernels();              \
  void register_rnn_kernels();                    \
  void register_distance_kernels();               \
  ConvertLoop convert_loop(DType to, DType from); \
  }
#define GS_REGISTER(isa)               \
  do {                                 \
    isa::register_copy_kernels();      \
    isa::register_fused_map();         \
    isa::register_unary_loops();       \
    isa::register_binary_loops();      \
    isa::register_ternary_loops();     \
    isa::register_activation_loops();  \
    isa::register_reduce_kernels();    \
    isa::register_row_kernels();       \
    isa::register_multi_kernels();     \
    isa::register_pool_kernels();      \
    isa::register_norm_kernels();      \
    isa::register_attention_kernels(); \
    isa::register_rnn_kernels();       \
    isa::register_distance_kernels();  \
  } while (false)

#ifdef GS_SINGLE_ISA
GS_DECLARE_REGISTRATIONS(generic)
#else
GS_DECLARE_REGISTRATIONS(v2)
GS_DECLARE_REGISTRATIONS(v3)
GS_DECLARE_REGISTRATIONS(v4)
#endif

namespace {
const bool kRegistered = [] {
#ifdef GS_SINGLE_ISA
  GS_REGISTER(generic);
#else
  switch (instruction_set()) {
    case 4: GS_REGISTER(v4); break;
    case 3: GS_REGISTER(v3); break;
    default: GS_REGISTER(v2); break;
  }
#endif
  return true;
}();
}  // namespace

ConvertLoop convert_loop_for(DType to, DType from) {
#ifdef GS_SINGLE_ISA
  return generic::convert_loop(to, from);
#else
  switch (instruction_set()) {
    case 4: return v4::convert_loop(to, from);
    case 3: return v3::convert_loop(to, from);
    default: return v2::convert_loop(to, from);
  }
#endif
}

const char* instruction_set_name() {
  switch (instruction_set()) {
    case 4: return "v4";
    case 3: return "v3";
    case 2: return "v2";
    default: return "generic";
  }
}

const char* bfloat16_name() { return bfloat16_backend_name(); }

const char* convolution_name() {
#ifdef GS_WITH_ONEDNN
  return "onednn";
#else
  return "im2col";
#endif
}

}  // namespace gradstep
