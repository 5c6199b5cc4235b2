# SPDX-License-Identifier: Apache-2.0
"""What library code asks of torch._C and gradstep's native module does not have: contexts in Python, the state of a
tracer and a dispatcher that are not there."""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import Any, NoReturn

from gradstep import _C

__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "DispatchKey",
    "DispatchKeySet",
    "_ExcludeDispatchKeyGuard",
    "_TensorMeta",
    "_are_functorch_transforms_active",
    "_disabled_torch_dispatch_impl",
    "_get_tracing_state",
    "_log_api_usage_once",
    "_nn",
]


class _Functional(ModuleType):
    """torch._C._nn: functions of nn.functional, and how Module.to() reads its arguments."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        from gradstep.nn import functional
        from gradstep.nn.modules import module

        return getattr(module if name == "_parse_to" else functional, name)


_nn = _Functional("gradstep._C._nn")
_TensorMeta = type  # the class of the class Tensor


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


_ExcludeDispatchKeyGuard = _Nothing


class DisableTorchFunctionSubclass:
    """In the block no argument takes over a function; modes do."""

    _off = 1

    def __enter__(self) -> None:
        before = _C._torch_function_off(2)
        _C._torch_function_off(max(self._off, before))
        self._before = before

    def __exit__(self, *exc: object) -> None:
        _C._torch_function_off(self._before)


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """In the block neither an argument nor a mode takes over a function."""

    _off = 2


def _disabled_torch_dispatch_impl(*args: Any) -> NoReturn:
    """What a class has that takes no part in __torch_dispatch__, which gradstep does not have."""
    raise NotImplementedError("__torch_dispatch__ is not implemented in gradstep")


def _get_tracing_state() -> None:
    """None: nothing is traced."""


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _are_functorch_transforms_active() -> bool:
    """False: vmap and grad call functions as they are."""
    return False
