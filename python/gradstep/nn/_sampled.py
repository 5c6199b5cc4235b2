# SPDX-License-Identifier: Apache-2.0
"""Fractional max pooling (Graham 2014, arXiv:1412.6071) and the fused name of a linear layer's cross entropy."""

from __future__ import annotations

import math
from typing import Any

from gradstep import _C
from gradstep._autocast import in_float32_on_cpu
from gradstep._C import Tensor


def _starts(sample: Tensor, n_in: int, n_out: int, kernel: int) -> Tensor:
    """Where the windows of an axis begin, a row for each sample u: floor((i + u) alpha) - floor(u alpha), the last at
    the end."""
    last = n_in - kernel
    if n_out == 1:
        return _C.full((*sample.shape, 1), last, dtype=_C.int64, device=sample.device)
    alpha = last / (n_out - 1)
    u = sample.unsqueeze(-1)
    i = _C.arange(n_out, device=sample.device)
    if sample.dtype is not _C.float64:
        alpha = float(_C.tensor(alpha, dtype=sample.dtype).item())
    found = ((i.to(sample.dtype) + u) * alpha).to(_C.int64) - (u * alpha).to(_C.int64)
    return _C.where(i == n_out - 1, last, found)


@in_float32_on_cpu
def fractional_max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    """The maximum over windows at random places, the same for all of a channel."""

    def each(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, (list, tuple)) else (value,) * n

    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}"
        )
    sizes = tuple(input.shape[-n:])
    if output_size is None:
        assert output_ratio is not None
        output_size = tuple(int(s * r) for s, r in zip(sizes, each(output_ratio), strict=True))
    kernel, out = each(kernel_size), each(output_size)
    for d in range(n):
        if kernel[d] < 1 or out[d] < 1:
            raise RuntimeError(f"{name}: kernel_size and output_size must be greater than zero")
        if out[d] + kernel[d] - 1 > sizes[d]:
            raise RuntimeError(
                f"{name}(): pool size {kernel[d]} too large relative to input size {sizes[d]}"
            )
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    if samples is None:
        samples = _C.rand(x.shape[0], x.shape[1], n, dtype=x.dtype, device=x.device)
    if samples.shape[-1] != n:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {n} got {samples.shape[-1]}.")
    # PyTorch's order: in two dimensions the last sample belongs to the first axis, in three the first one.
    index = None
    for d in range(n):
        start = _starts(samples[..., n - 1 - d if n == 2 else d], sizes[d], out[d], kernel[d])
        places = start.unsqueeze(-1) + _C.arange(kernel[d], device=x.device)  # N, C, out, kernel
        shape = [*places.shape[:2]] + [1] * (2 * n)
        shape[2 + d], shape[2 + n + d] = out[d], kernel[d]
        places = places.reshape(shape)
        index = places if index is None else index * sizes[d] + places
    assert index is not None
    index = index.reshape(*index.shape[: 2 + n], math.prod(kernel))
    flat = x.reshape(*x.shape[:2], math.prod(sizes))
    flat_index = index.reshape(*index.shape[:2], math.prod(index.shape[2:]))
    values = flat.gather(2, flat_index).reshape(index.shape)
    best = values.detach().argmax(-1, keepdim=True)
    result, where = values.gather(-1, best).squeeze(-1), index.gather(-1, best).squeeze(-1)
    if input.dim() == n + 1:
        result, where = result.squeeze(0), where.squeeze(0)
    return (result, where) if return_indices else result


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """The cross entropy of linear(input, linear_weight, linear_bias). The weight is (classes, .., in_features); options
    tell PyTorch how to cut the work and change nothing here."""
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    features, wanted = input.shape[-1], linear_weight.shape[-1]
    if features != wanted:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {features} and {wanted}, respectively"
        )
    classes, inner = linear_weight.shape[0], tuple(linear_weight.shape[1:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *inner):
        raise RuntimeError(
            f"expected linear_bias shape {(classes, *inner)}, got {tuple(linear_bias.shape)}"
        )
    if inner and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires"
            f" batched input, (N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    if ignore_index is not None and target.shape == (*input.shape[:-1], classes, *inner):
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    flat = linear_weight.reshape(-1, linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = _C.linear(input, flat, bias)
    if inner:
        logits = logits.reshape(*input.shape[:-1], classes, *inner)
    return _C.cross_entropy(
        logits,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
