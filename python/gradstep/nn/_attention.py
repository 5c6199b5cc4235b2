# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention for nn.functional, on the engine's linear and attention."""

from __future__ import annotations

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor


def _additive(mask: Tensor | None, dtype: Any) -> Tensor | None:
    """A mask to add to scores: True in a bool mask means 'not allowed'."""
    if mask is None or mask.is_floating_point():
        return mask
    zeros = _C.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill_(mask, -math.inf)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention (Vaswani et al., 2017) of query (L, N, E) over key and value (S, N, E)."""
    batched = query.dim() == 3
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D "
            "query tensor"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    n_query, n_batch, embed_dim = query.shape
    n_key = key.shape[0]
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    head_dim = embed_dim // num_heads
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")

    # ---- projections ----
    b_q, b_k, b_v = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    if use_separate_proj_weight:
        assert q_proj_weight is not None and k_proj_weight is not None and v_proj_weight is not None
        q = _C.linear(query, q_proj_weight, b_q)
        k = _C.linear(key, k_proj_weight, b_k)
        v = _C.linear(value, v_proj_weight, b_v)
    elif query is key and key is value:
        assert in_proj_weight is not None
        q, k, v = _C.linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        w_q, w_k, w_v = in_proj_weight.chunk(3)  # type: ignore[union-attr]
        q, k, v = _C.linear(query, w_q, b_q), _C.linear(key, w_k, b_k), _C.linear(value, w_v, b_v)

    # ---- masks ----
    mask = _additive(attn_mask, q.dtype)
    if mask is not None:
        if mask.dim() == 2:
            expected: tuple[int, ...] = (n_query, n_key)
        else:
            expected = (n_batch * num_heads, n_query, n_key)
        if tuple(mask.shape) != expected:
            raise RuntimeError(
                f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be "
                f"{expected}."
            )
        mask = (
            mask.view(1, 1, *expected)
            if mask.dim() == 2
            else mask.view(n_batch, num_heads, n_query, n_key)
        )
    padding = _additive(key_padding_mask, q.dtype)
    if padding is not None:
        if tuple(padding.shape) != (n_batch, n_key):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(n_batch, n_key)}, but got {padding.shape}"
            )
        padding = padding.view(n_batch, 1, 1, n_key)
        mask = padding if mask is None else mask + padding

    # ---- extra keys ----
    n_extra = 0
    if bias_k is not None and bias_v is not None:
        k = _C.cat([k, bias_k.expand(1, n_batch, embed_dim)])
        v = _C.cat([v, bias_v.expand(1, n_batch, embed_dim)])
        n_extra += 1
    if add_zero_attn:
        zero = _C.zeros((1, n_batch, embed_dim), dtype=k.dtype, device=k.device)
        k, v = _C.cat([k, zero]), _C.cat([v, zero])
        n_extra += 1
    if mask is not None and n_extra:
        mask = _C.pad(mask, (0, n_extra))

    # ---- attention: (N, heads, length, head_dim) ----
    def heads(t: Tensor) -> Tensor:
        return t.reshape(t.shape[0], n_batch, num_heads, head_dim).permute(1, 2, 0, 3)

    q, k, v = heads(q), heads(k), heads(v)
    if static_k is not None:
        k = static_k.view(n_batch, num_heads, -1, head_dim)
    if static_v is not None:
        v = static_v.view(n_batch, num_heads, -1, head_dim)
    drop = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head_dim)) @ k.transpose(-2, -1)
        if mask is not None:
            scores = scores + mask
        weights = _C.softmax(scores, -1)
        if drop > 0:
            weights = _C.dropout(weights, drop, True)
        out = weights @ v
    else:
        out = _C.scaled_dot_product_attention(q, k, v, mask, drop)
    out = out.permute(2, 0, 1, 3).reshape(n_query, n_batch, embed_dim)
    out = _C.linear(out, out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        out = out.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return out, weights
