# SPDX-License-Identifier: Apache-2.0
"""The old names of gradstep.amp for CUDA; each warns, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradstep import _C, amp
from gradstep.amp._old_names import old_names, warn

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]

autocast, GradScaler = old_names("cuda", _C.float16)


def custom_fwd(fwd: Callable[..., Any] | None = None, *, cast_inputs: Any = None) -> Any:
    """custom_fwd(device_type="cuda", ...)."""
    warn("cuda", "custom_fwd", "custom_fwd(args..., device_type='cuda')")
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Any:
    """custom_bwd(device_type="cuda")."""
    warn("cuda", "custom_bwd", "custom_bwd(args..., device_type='cuda')")
    return amp.custom_bwd(bwd, device_type="cuda")
