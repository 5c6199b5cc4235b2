# SPDX-License-Identifier: Apache-2.0
"""What library code asks of torch._C and gradstep's native module does not have: the state of a tracer and a dispatcher
that are not there."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "DispatchKey",
    "DispatchKeySet",
    "_ExcludeDispatchKeyGuard",
    "_are_functorch_transforms_active",
    "_get_tracing_state",
    "_log_api_usage_once",
]


class _Keys(type):
    def __getattr__(cls, name: str) -> str:
        if name[:1] == "_":
            raise AttributeError(name)
        return name


class DispatchKey(metaclass=_Keys):
    """DispatchKey.CPU, ..: names only."""


class DispatchKeySet(frozenset[str]):
    """Names of dispatch keys."""

    def __new__(cls, *keys: str) -> DispatchKeySet:
        return super().__new__(cls, keys)

    def has(self, key: str) -> bool:
        """Whether the set has the key."""
        return key in self


class _Nothing(contextlib.nullcontext[None]):
    """A context that changes nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__()


_ExcludeDispatchKeyGuard = DisableTorchFunction = DisableTorchFunctionSubclass = _Nothing


def _get_tracing_state() -> None:
    """None: nothing is traced."""


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _are_functorch_transforms_active() -> bool:
    """False: vmap and grad call functions as they are."""
    return False
