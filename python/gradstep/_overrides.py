# SPDX-License-Identifier: Apache-2.0
"""Functions written in Python as part of the __torch_function__ protocol.

Nothing is checked in them as long as no program has a type or a mode that overrides functions. The first one arms them
(cpp/python/overrides.cpp): each public function keeps its identity and its signature, but gets the code of `_entry`,
which asks the arguments and the mode and else calls what the function was.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

# Modules whose public functions are PyTorch's.
_MODULES = (
    "nn.functional linalg fft special _ops.views _ops.matrices _ops.lu _ops.numeric _ops.arithmetic _ops.bessel "
    "_ops.polynomials"
).split()
_SINGLE = {
    "nn.init": "uniform_ normal_ constant_ kaiming_uniform_",  # the others are made of methods, as in PyTorch
    "autograd": "grad backward",
}
# Nobody is asked about these methods; copy.copy goes by __reduce_ex__ in PyTorch, which makes the class again.
_NOT_ASKED = frozenset("new __copy__ __init__ __new__ __dir__ __torch_function__".split())


def _entry(*args: Any, _gate: Any, **kwargs: Any) -> Any:
    return _gate(*args, **kwargs)


def _arm_function(func: FunctionType, told: Any = None) -> None:
    """Lets the function ask for overrides; they are told `told`, the function itself unless it is given."""
    if func.__code__.co_filename == __file__:
        return
    plain = FunctionType(
        func.__code__, func.__globals__, func.__name__, func.__defaults__, func.__closure__
    )
    plain.__kwdefaults__ = func.__kwdefaults__  # type: ignore[assignment]
    plain.__annotations__ = func.__annotations__
    plain.__qualname__, plain.__module__ = func.__qualname__, func.__module__
    plain.__doc__ = func.__doc__
    plain.__dict__.update(func.__dict__)
    func.__code__ = _entry.__code__.replace(co_freevars=func.__code__.co_freevars)
    func.__defaults__ = None
    func.__kwdefaults__ = {"_gate": _C._overridable(func if told is None else told, plain)}
    func.__wrapped__ = plain  # type: ignore[attr-defined]


def _functions() -> Iterator[FunctionType]:
    for name in _MODULES:
        module = importlib.import_module(f"gradstep.{name}")
        for key, value in list(vars(module).items()):
            ours = isinstance(value, FunctionType) and value.__module__.startswith("gradstep.")
            if ours and key[:1] != "_":
                yield value
    for name, functions in _SINGLE.items():
        module = importlib.import_module(f"gradstep.{name}")
        for key in functions.split():
            yield getattr(module, key)


def arm() -> None:
    """Called once, at the first object or mode that overrides functions."""
    for func in _functions():
        _arm_function(func)
    for name, value in list(vars(Tensor).items()):
        if name in _NOT_ASKED:
            continue
        if isinstance(value, FunctionType):
            _arm_function(value)
        elif isinstance(value, property) and isinstance(value.fget, FunctionType):
            _arm_function(value.fget, value.__get__)


def name_of(func: Any) -> str:
    """What errors call a function: `torch.Tensor.add`."""
    from gradstep.overrides import resolve_name

    return resolve_name(func) or str(getattr(func, "__qualname__", func))
