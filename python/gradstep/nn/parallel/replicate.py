# SPDX-License-Identifier: Apache-2.0
"""replicate(): the module once for each device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from gradstep._C import Tensor

from ..modules.module import Module
from .scatter_gather import device_of

__all__ = ["replicate"]


def _replica(module: Module, device: Any, detach: bool) -> Module:
    new = copy.copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        new.__dict__[name] = {}
    for name, child in module._modules.items():
        new._modules[name] = None if child is None else _replica(child, device, detach)
    for ours, theirs in (
        (new._buffers, module._parameters),
        (new._buffers, module._buffers),
    ):
        for name, tensor in theirs.items():
            moved: Tensor | None = None if tensor is None else tensor.to(device)
            ours[name] = moved.detach() if detach and moved is not None else moved
    return new


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """Copies whose tensors are the module's on each device; gradients flow back to the module's own."""
    return [_replica(network, device_of(d), detach) for d in devices]
