# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping: ``clip_grad_norm_(model.parameters(), 1.0)`` between backward and step.

All gradients in one native call; the total stays a tensor, so that nothing waits for the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from types import GeneratorType
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad


def _as_list(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


_FUSED_ORDERS = (1.0, 2.0, float("inf"))


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors, as if they were one vector.

    Raises: RuntimeError if the norm is not finite and error_if_nonfinite is set.
    """
    tensors = _as_list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return _C.tensor(0.0)
    with no_grad():
        if norm_type in _FUSED_ORDERS:
            total = _C._multi_norm(tensors, norm_type)
        else:
            device = tensors[0].device
            norms = _C.stack([tensor.norm(norm_type).to(device) for tensor in tensors])
            total = norms.norm(norm_type)
        _check_finite(total, norm_type, error_if_nonfinite)
    return total


def _check_finite(total: Tensor, norm_type: float, error_if_nonfinite: bool) -> None:
    if error_if_nonfinite and not _C.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the "
            "gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients so that a total norm already known becomes at most `max_norm`.

    Raises: RuntimeError if the norm is not finite and error_if_nonfinite is set.
    """
    _C._multi_scale_to_norm_(
        _C._grads_of(_as_list(parameters)), float(max_norm), total_norm.detach()
    )


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients so that their total norm is at most `max_norm`; returns the old norm.

    Raises: RuntimeError if the norm is not finite and error_if_nonfinite is set.
    Source: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks, 2013.
    """
    if isinstance(parameters, GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.",
                stacklevel=2,
            )
    grads = _C._grads_of(_as_list(parameters))
    norm_type = float(norm_type)
    if grads and norm_type in _FUSED_ORDERS and not error_if_nonfinite:
        return _C._multi_clip_norm_(grads, float(max_norm), norm_type)
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    _C._multi_scale_to_norm_(grads, float(max_norm), total)
    return total


def clip_grad_norm(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Deprecated name of clip_grad_norm_."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated "
        "in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(
    parameters: Iterable[Tensor] | Tensor, clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every gradient element to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    _C._multi_clamp_(_C._grads_of(_as_list(parameters)), -clip_value, clip_value)
