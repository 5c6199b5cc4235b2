# SPDX-License-Identifier: Apache-2.0
"""What scripts say to PyTorch's tracer: accepted, since capture has no tracer."""

from __future__ import annotations

from typing import Any

from .._capture import OptimizedModule
from ..compiler import allow_in_graph, assume_constant_result, disable, is_compiling, reset
from . import config

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "assume_constant_result",
    "config",
    "disable",
    "is_compiling",
    "list_backends",
    "mark_dynamic",
    "mark_static",
    "maybe_mark_dynamic",
    "optimize",
    "reset",
]


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """["inductor"]"""
    return ["inductor"]


def mark_dynamic(t: Any, index: Any, **kwargs: Any) -> None:
    """Accepted: each shape is recorded once."""


def maybe_mark_dynamic(t: Any, index: Any) -> None:
    """Accepted."""


def mark_static(t: Any, index: Any = None) -> None:
    """Accepted."""


def optimize(backend: Any = "inductor", **kwargs: Any) -> Any:
    """The decorator that torch.compile is."""
    from .._capture import compile

    return compile


def reset_code_caches() -> None:
    """Nothing is kept."""
