# SPDX-License-Identifier: Apache-2.0
"""For functions written in Python: `@in_float32 def inv(A): ..` and `@in_lower` cast, `@as_it_is` does
not. Inside of them autocast is off, as in any other op."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from gradstep import _C

F = TypeVar("F", bound=Callable[..., Any])


def _apart(function: F, device: str, args: Any, kwargs: Any) -> Any:
    _C.set_autocast_enabled(device, False)
    try:
        return function(*args, **kwargs)
    finally:
        _C.set_autocast_enabled(device, True)


def _device_of(args: Any) -> str:
    return next((a.device.type for a in args if isinstance(a, _C.Tensor)), "cpu")


def _casting(function: F, lower: bool, devices: tuple[str, ...]) -> F:
    def cast(value: Any, to: Any) -> Any:
        return _C._autocast(value, to) if isinstance(value, _C.Tensor) else value

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = _device_of(args)
        if device in devices and _C.is_autocast_enabled(device):
            to = _C.get_autocast_dtype(device) if lower else _C.float32
            args = tuple(cast(a, to) for a in args)
            kwargs = {k: cast(v, to) for k, v in kwargs.items()}
            return _apart(function, device, args, kwargs)
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def in_float32(function: F) -> F:
    """Runs in float32 while autocast is on."""
    return _casting(function, False, ("cpu", "cuda"))


def in_float32_on_cpu(function: F) -> F:
    """Runs in float32 while the CPU's autocast is on: what PyTorch has in the CPU's list only."""
    return _casting(function, False, ("cpu",))


def in_lower(function: F) -> F:
    """Runs in the lower precision while autocast is on."""
    return _casting(function, True, ("cpu", "cuda"))


def as_it_is(function: F) -> F:
    """Runs in the types of its arguments, autocast or not."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        device = _device_of(args)
        if _C.is_autocast_enabled(device):
            return _apart(function, device, args, kwargs)
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]
