# SPDX-License-Identifier: Apache-2.0
"""For functions written in Python that autocast casts: `@in_float32 def inv(A): ..`, `@in_lower`."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from gradstep import _C

F = TypeVar("F", bound=Callable[..., Any])


def _casting(function: F, lower: bool) -> F:
    def cast(value: Any, to: Any) -> Any:
        return _C._autocast(value, to) if isinstance(value, _C.Tensor) else value

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in args if isinstance(a, _C.Tensor)), "cpu")
        # PyTorch has factorisations in the CPU's list only.
        if _C.is_autocast_enabled(device) and (lower or device == "cpu"):
            to = _C.get_autocast_dtype(device) if lower else _C.float32
            args = tuple(cast(a, to) for a in args)
            kwargs = {k: cast(v, to) for k, v in kwargs.items()}
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def in_float32(function: F) -> F:
    """Runs in float32 while autocast is on."""
    return _casting(function, lower=False)


def in_lower(function: F) -> F:
    """Runs in the lower precision while autocast is on."""
    return _casting(function, lower=True)
