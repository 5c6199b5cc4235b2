# SPDX-License-Identifier: Apache-2.0
"""Marks for NVIDIA's profilers, accepted and not shown to them: programs that set them run unchanged."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]

_open = threading.local()


def range_push(msg: str) -> int:
    """Opens a range inside of those that the thread has open; returns how many these were."""
    depth = getattr(_open, "depth", 0)
    _open.depth = depth + 1
    return depth


def range_pop() -> int:
    """Closes the innermost range; returns how many are open then."""
    _open.depth = max(0, getattr(_open, "depth", 0) - 1)
    return int(_open.depth)


def range_start(msg: str) -> int:
    """Opens a range that may end in another thread; returns what range_end() takes."""
    return 0


def range_end(range_id: int) -> None:
    """Closes a range."""


def mark(msg: str) -> None:
    """A point in time."""


@contextlib.contextmanager
def range(msg: str, *args: object, **kwargs: object) -> Iterator[None]:
    """A range as long as the `with` block; the message is formatted with the arguments."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
