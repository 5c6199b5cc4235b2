# SPDX-License-Identifier: Apache-2.0
"""patch() of the modules of settings: other values within a block or function."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any


class _Patch(contextlib.ContextDecorator):
    def __init__(self, owner: Any, values: dict[str, Any]) -> None:
        self.owner, self.values = owner, values
        self.before: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self.before.append({name: getattr(self.owner, name) for name in self.values})
        for name, value in self.values.items():
            setattr(self.owner, name, value)

    def __exit__(self, *exc: Any) -> None:
        for name, value in self.before.pop().items():
            setattr(self.owner, name, value)


def patcher(module: str) -> Callable[..., Any]:
    """patch("name", value), patch({"name": value}) or patch(name=value) for that module's settings."""

    def patch(arg1: Any = None, arg2: Any = None, **kwargs: Any) -> Any:
        values = dict(arg1) if isinstance(arg1, dict) else {} if arg1 is None else {arg1: arg2}
        return _Patch(sys.modules[module], values | kwargs)

    return patch
