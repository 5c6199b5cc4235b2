# SPDX-License-Identifier: Apache-2.0
"""torch.ops: operators by namespace. `torch.ops.mine.f` is what torch.library has registered; `torch.ops.aten.f` is the
function, method or function of nn.functional that has the name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

from gradstep._missing import Missing, _by_attribute


class _Overloads:
    """torch.ops.aten.f: called like f; f.default and f.Tensor are f, too."""

    def __init__(self, name: str, function: Any) -> None:
        self._name, self._function = name, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return _Overloads(f"{self._name}.{name}", self._function)

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self._name}')>"

    def __str__(self) -> str:
        return self._name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Overloads) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)


class _OpNamespace(ModuleType):
    """torch.ops.NAME"""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        space = self.__name__.rpartition(".")[2]
        found = _aten(name) if space in ("aten", "prims") else _registered(f"{space}::{name}")
        if found is None:
            # PyTorch has more of these than gradstep can name: library code lists them when it is imported.
            if space == "aten" and _by_attribute(sys._getframe(1)):
                return Missing(f"torch.ops.aten.{name}")
            raise AttributeError(f"'_OpNamespace' {space!r} object has no attribute {name!r}")
        self.__dict__[name] = found
        return found


def _registered(name: str) -> Any:
    from . import library

    return library._OPERATORS.get(name)


def _aten(name: str) -> Any:
    import gradstep
    from gradstep.nn import functional

    for home in (gradstep, gradstep.Tensor, functional):
        found = getattr(home, name, None)
        if callable(found):
            return _Overloads(f"aten.{name}", found)
    return None


def load_library(path: Any) -> NoReturn:
    """OSError: such a library needs the tensors of PyTorch's own C++ library."""
    raise OSError(
        f"Could not load this library: {path} (gradstep has no C++ interface of PyTorch's)"
    )


def __getattr__(name: str) -> Any:
    if name[:2] == "__":
        raise AttributeError(name)
    space = globals()[name] = _OpNamespace(f"torch.ops.{name}")
    return space
