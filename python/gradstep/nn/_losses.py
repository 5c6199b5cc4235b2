# SPDX-License-Identifier: Apache-2.0
"""The loss functions of nn.functional that are not the engine's own objects: they warn, or are made
of several ops. May include: the engine only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep._autocast import in_float32, in_float32_on_cpu
from gradstep._C import Tensor


def _legacy_reduction(size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that the deprecated flags ask for."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    result = "none" if not reduce else "mean" if size_average else "sum"
    warnings.warn(
        "size_average and reduce args will be deprecated, "
        f"please use reduction='{result}' instead.",
        stacklevel=3,
    )
    return result


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def _warn_other_size(input: Tensor, target: Tensor) -> None:
    warnings.warn(
        f"Using a target size ({target.size()}) that is different to the input size "
        f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
        "Please ensure they have the same size.",
        stacklevel=3,
    )


def _legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        return _legacy_reduction(size_average, reduce)
    return reduction


# ---- elementwise: the engine's, with the warnings that PyTorch gives ----


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2.

    Shape: input and target (*); the result (*) with reduction='none', else 0-d.
    Raises: ValueError for an unknown reduction; RuntimeError where shapes do not broadcast.
    """
    if target.shape != input.shape:
        _warn_other_size(input, target)
    reduction = _legacy(size_average, reduce, reduction)
    return _C.mse_loss(input, target, reduction=reduction, weight=weight)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|.

    Shape: input and target (*); the result (*) with reduction='none', else 0-d.
    Raises: ValueError for an unknown reduction; RuntimeError where shapes do not broadcast.
    """
    if target.shape != input.shape:
        _warn_other_size(input, target)
    reduction = _legacy(size_average, reduce, reduction)
    return _C.l1_loss(input, target, reduction=reduction, weight=weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2.

    Shape: input and target (*); the result (*) with reduction='none', else 0-d.
    Raises: ValueError for an unknown reduction; RuntimeError where shapes do not broadcast.
    Source: Girshick, Fast R-CNN, 2015.
    """
    if target.shape != input.shape:
        _warn_other_size(input, target)
    reduction = _legacy(size_average, reduce, reduction)
    return _C.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).

    Shape: input and target (*); the result (*) with reduction='none', else 0-d.
    Raises: ValueError for an unknown reduction; RuntimeError where shapes do not broadcast.
    Source: Huber, Robust Estimation of a Location Parameter, 1964.
    """
    if target.shape != input.shape:
        _warn_other_size(input, target)
    return _C.huber_loss(input, target, reduction=reduction, delta=delta, weight=weight)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input), where `input` holds log probabilities.

    Shape: input and target (*); the result (*) with reduction='none', else 0-d.
    Raises: ValueError for an unknown reduction; RuntimeError where shapes do not broadcast.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            stacklevel=2,
        )
    return _C.kl_div(input, target, reduction=reduction, log_target=log_target)


# ---- of several ops ----


@in_float32
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge between every wanted and every unwanted class; wanted indices end at the first -1.

    Shape: input and target (N, C) or (C); the result (N) with reduction='none', else 0-d.
    Raises: RuntimeError where shapes do not fit.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if input.dim() > 2 or 0 in input.shape[-1:]:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, "
            f"but got: {list(input.shape)}"
        )
    single = input.dim() < 2
    scores = input.reshape(1, -1) if single else input
    target = target.reshape(scores.shape)
    listed = (target < 0).cumsum(1) == 0
    index = target.clamp_min(0)
    wanted = _C.zeros_like(scores).scatter_add_(1, index, listed.to(scores.dtype)) > 0
    gap = (1 - scores.gather(1, index).unsqueeze(2) + scores.unsqueeze(1)).clamp_min(0)
    counted = listed.unsqueeze(2) & (~wanted).unsqueeze(1)
    loss = (gap * counted.to(gap.dtype)).sum((1, 2)) / scores.shape[1]
    return _reduce(loss.squeeze(0) if single else loss, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with a distance of one's own.

    Shape: anchor, positive and negative (N, D); the result (N) with reduction='none', else 0-d.
    Raises: ValueError for a margin that is not positive.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    n = (anchor.dim(), positive.dim(), negative.dim())
    if len(set(n)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {n[0]}D, positive {n[1]}D, and negative {n[2]}D inputs"
        )
    if distance_function is None:
        distance_function = lambda a, b: (a - b + 1e-6).norm(2, -1)  # noqa: E731
    to_positive = distance_function(anchor, positive)
    to_negative = distance_function(anchor, negative)
    if swap:
        to_negative = _C.minimum(to_negative, distance_function(positive, negative))
    return _reduce((margin + to_positive - to_negative).clamp_min(0), reduction)


@in_float32_on_cpu
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification (Graves et al., 2006): log_probs (T, N, C).

    The forward recursion in log space over the target with blanks between, all samples at once.

    Shape: targets (N, S) or all in one row, lengths (N); the result (N) with reduction='none',
    else 0-d.
    Raises: RuntimeError where they do not fit.
    """
    single = log_probs.dim() == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    n_steps, n_batch, _ = log_probs.shape

    def as_list(lengths: Any) -> list[int]:
        values = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
        return values if isinstance(values, list) else [values]

    in_lengths, out_lengths = as_list(input_lengths), as_list(target_lengths)
    if max(in_lengths, default=0) > n_steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {n_steps}, but got value "
            f"{max(in_lengths)} (while checking arguments for ctc_loss_cpu)"
        )
    flat = targets.reshape(-1).tolist()
    rows: list[list[int]] = []
    start = 0
    for i, length in enumerate(out_lengths):
        if targets.dim() == 2:
            start = i * targets.shape[1]
        rows.append(flat[start : start + length])
        start += length

    # Positions are blank, t0, blank, t1, .., blank; short rows are padded with blanks.
    width = 2 * max(out_lengths, default=0) + 1
    labels = [[blank] * width for _ in rows]
    may_skip = [[0.0] * width for _ in rows]
    for i, row in enumerate(rows):
        for j, label in enumerate(row):
            labels[i][2 * j + 1] = label
            may_skip[i][2 * j + 1] = float(j > 0 and row[j - 1] != label)
    device, dtype = log_probs.device, log_probs.dtype
    index = _C.tensor(labels, dtype=_C.int64, device=device)
    # A finite stand-in for log 0 keeps the gradients of logsumexp free of nan.
    low = -1e30
    skip = (_C.tensor(may_skip, dtype=dtype, device=device) - 1) * -low

    first = _C.full((n_batch, width), low, dtype=dtype, device=device)
    first[:, :2] = 0.0
    alpha = first + log_probs[0].gather(1, index)
    lengths = _C.tensor(in_lengths, device=device)
    # PyTorch's gradient is that of unnormalised scores, probability less posterior: what log_softmax
    # hands on is the same. This sum has the gradient and, less its own value, adds nothing.
    used = (_C.arange(n_steps, device=device).unsqueeze(1) < lengths).unsqueeze(2)
    mass = (log_probs.exp() * used).sum((0, 2))
    gap1 = _C.full((n_batch, 1), low, dtype=dtype, device=device)
    gap2 = _C.full((n_batch, 2), low, dtype=dtype, device=device)
    for t in range(1, n_steps):
        stay = alpha
        step = _C.cat([gap1, alpha[:, :-1]], 1)
        jump = _C.cat([gap2, alpha[:, :-2]], 1)[:, :width] + skip
        new = _C.logsumexp(_C.stack([stay, step, jump]), 0) + log_probs[t].gather(1, index)
        alpha = _C.where((lengths > t).unsqueeze(1), new, alpha)

    ends = _C.tensor([[2 * n, max(2 * n - 1, 0)] for n in out_lengths], device=device)
    last = alpha.gather(1, ends)
    blank_only = _C.tensor([[False, n == 0] for n in out_lengths], device=device)
    last = _C.where(blank_only, _C.full_like(last, low), last)
    loss = -_C.logsumexp(last, 1) + (mass - mass.detach())
    impossible = loss > -0.5 * low
    loss = _C.where(impossible, _C.full_like(loss, 0.0 if zero_infinity else math.inf), loss)
    if reduction == "mean":
        scale = _C.tensor([float(max(n, 1)) for n in out_lengths], dtype=dtype, device=device)
        return (loss / scale).mean()
    return _reduce(loss.squeeze(0) if single else loss, reduction)
