// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention.
//   scaled_dot_product_attention(q, k, v, {}, 0, true, {}, false, gen)      causal, no mask
#pragma once
#include <optional>

#include "core/generator.h"
#include "ops/op.h"

namespace gradstep {

/// softmax(query @ key^T * scale + mask) @ value. attn_mask: bool (true = look) or added; may be
/// undefined. Rows that see nothing give zeros. CudaFlags says what may compute it.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const Tensor& attn_mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa, Generator& gen);

}  // namespace gradstep
