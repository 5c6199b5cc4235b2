# SPDX-License-Identifier: Apache-2.0
"""torch.fx without a tracer: what library code says to it while it is imported or asks of it while it runs."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["Proxy", "is_fx_tracing", "wrap"]

_T = TypeVar("_T")


class Proxy:
    """The type of a value that a tracer follows; nothing traces, so nothing has it."""


def wrap(fn_or_name: _T) -> _T:
    """The function as it is: `wrap` tells a tracer to leave it alone. The name of a function is taken, too."""
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError(
            "Unsupported type for global function! Must be either a callable or string name"
        )
    return fn_or_name


def is_fx_tracing() -> Any:
    """False."""
    return False
