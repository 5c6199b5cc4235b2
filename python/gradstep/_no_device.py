# SPDX-License-Identifier: Apache-2.0
"""What torch.mps, torch.mtia and torch.xpu say where there is no such device: never, for gradstep."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def empty_cache() -> None:
    """Nothing is held."""


def synchronize(device: Any = None) -> None:
    """Nothing runs."""
