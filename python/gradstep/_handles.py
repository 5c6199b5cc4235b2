# SPDX-License-Identifier: Apache-2.0
"""The handle that registering a hook on a tensor or node returns."""

from collections.abc import Callable
from typing import Any


class NativeHandle:
    """Takes a hook off again with `remove()`; also a context manager that does so at its end."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove = remove

    def remove(self) -> None:
        self._remove()

    def __enter__(self) -> "NativeHandle":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()
