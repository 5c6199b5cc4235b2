# SPDX-License-Identifier: Apache-2.0
"""Switches of cuDNN, which computes convolutions and recurrent layers on the GPU where it is there.

>>> torch.backends.cudnn.benchmark = True  # measure the algorithms of each shape once
>>> torch.backends.cudnn.benchmark = False
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from gradstep import _C, _settings


def version() -> int | None:
    """cuDNN's version, 91002 for 9.10.2; None where it is missing."""
    return _C._cuda_library_version("cudnn") or None


def is_available() -> bool:
    """True if there is a GPU and cuDNN was found."""
    return version() is not None


class _Precision:
    """float32 in convolutions or recurrent layers: "tf32" (the default) or "ieee"."""

    __slots__ = ()

    @property
    def fp32_precision(self) -> str:
        return "tf32" if _C._cuda_flag("cudnn_tf32") else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        if value not in ("none", "ieee", "tf32"):
            raise RuntimeError(f"Unknown precision: {value}")
        _C._cuda_set_flag("cudnn_tf32", value != "ieee")


conv = _Precision()
rnn = _Precision()


def _flag(name: str) -> Any:
    def set_flag(self: Any, value: bool) -> None:
        _C._cuda_set_flag(name, bool(value))

    return property(lambda self: bool(_C._cuda_flag(name)), set_flag)


class _Switches(ModuleType):
    """The module's class, so that assignments to its switches are heard."""

    enabled = _flag("cudnn_enabled")
    benchmark = _flag("cudnn_benchmark")
    allow_tf32 = _flag("cudnn_tf32")
    benchmark_limit = 10

    @property
    def deterministic(self) -> bool:
        return bool(_settings._state["cudnn_deterministic"])

    @deterministic.setter
    def deterministic(self, value: bool) -> None:
        _settings._set_deterministic(cudnn_deterministic=bool(value))


_module: Any = sys.modules[__name__]
_module.__class__ = _Switches


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """The switches within a `with` block."""
    wanted = {
        "enabled": enabled,
        "benchmark": benchmark,
        "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }
    before = {name: getattr(_module, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(_module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(_module, name, value)
