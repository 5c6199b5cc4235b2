# SPDX-License-Identifier: Apache-2.0
"""record(): under torchrun, PyTorch writes a failure of the decorated main() where torchrun finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["record"]

_F = TypeVar("_F", bound=Callable[..., Any])


def record(fn: _F, error_handler: Any = None) -> _F:
    """The function as it is: its exception is seen in this process."""
    return fn
