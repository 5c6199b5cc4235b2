# SPDX-License-Identifier: Apache-2.0
"""Meta's accelerators: there are none for gradstep."""

from __future__ import annotations

from typing import Any

__all__ = ["device_count", "empty_cache", "is_available", "synchronize"]


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def empty_cache() -> None:
    """Nothing is held."""


def synchronize(device: Any = None) -> None:
    """Nothing runs."""
