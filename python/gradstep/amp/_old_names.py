# SPDX-License-Identifier: Apache-2.0
"""autocast and GradScaler of torch.cpu.amp and torch.cuda.amp: PyTorch's old names, which warn."""

from __future__ import annotations

import warnings
from typing import Any

from .autocast_mode import autocast
from .grad_scaler import GradScaler


def warn(device: str, name: str, instead: str) -> None:
    warnings.warn(
        f"`torch.{device}.amp.{name}(args...)` is deprecated. "
        f"Please use `torch.amp.{instead}` instead.",
        FutureWarning,
        stacklevel=3,
    )


def old_names(device: str, dtype: Any) -> tuple[type[autocast], type[GradScaler]]:
    """The two classes with the device as their first argument, and a warning."""

    class OldAutocast(autocast):
        def __init__(
            self, enabled: bool = True, dtype: Any = dtype, cache_enabled: bool = True
        ) -> None:
            warn(device, "autocast", f"autocast('{device}', args...)")
            super().__init__(device, enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)

    class OldGradScaler(GradScaler):
        def __init__(
            self,
            init_scale: float = 2.0**16,
            growth_factor: float = 2.0,
            backoff_factor: float = 0.5,
            growth_interval: int = 2000,
            enabled: bool = True,
        ) -> None:
            warn(device, "GradScaler", f"GradScaler('{device}', args...)")
            super().__init__(
                device, init_scale, growth_factor, backoff_factor, growth_interval, enabled
            )

    for cls, name in ((OldAutocast, "autocast"), (OldGradScaler, "GradScaler")):
        cls.__name__ = cls.__qualname__ = name
        cls.__module__ = f"gradstep.{device}.amp"
    return OldAutocast, OldGradScaler
