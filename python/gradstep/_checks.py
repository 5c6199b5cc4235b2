# SPDX-License-Identifier: Apache-2.0
"""PyTorch's helpers for library code: conditions with an error of their own, symbolic numbers (plain ones here), and
control flow as functions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

_PLAIN = (
    "Expected cond to be True, but got False. (Could this error message be improved? If so, please report an "
    "enhancement request to PyTorch.)"
)


# ---- conditions ----


def _check_with(error: type[Exception], cond: Any, message: Any = None) -> None:
    """Raises error(message()) unless cond is True."""
    if not isinstance(cond, builtins.bool):
        if isinstance(cond, Tensor):
            raise TypeError(
                "cond must be a bool, but got a Tensor. For tensor conditions, use torch._check_tensor_all() to "
                "assert that all elements are True."
            )
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise error(_PLAIN)
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error(str(message()))


def _check(cond: Any, message: Any = None) -> None:
    """RuntimeError unless cond is True; `message` is a function that makes the text."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond: Any, message: Any = None) -> None:
    """IndexError unless cond is True."""
    _check_with(IndexError, cond, message)


def _check_value(cond: Any, message: Any = None) -> None:
    """ValueError unless cond is True."""
    _check_with(ValueError, cond, message)


def _check_type(cond: Any, message: Any = None) -> None:
    """TypeError unless cond is True."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: Any, message: Any = None) -> None:
    """NotImplementedError unless cond is True."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i: Any, message: Any = None, *, max: Any = None) -> None:
    """RuntimeError unless i is a size: not negative, and at most max."""
    _check(i >= 0, message)
    if max is not None:
        _check(i <= max, message)


def _check_tensor_all(cond: Any, message: Any = None) -> None:
    """RuntimeError unless all elements of the bool tensor are True."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype != _C.bool:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check(builtins.bool(cond.all().item()), message)


def _assert(condition: Any, message: str) -> None:
    """AssertionError(message) unless the condition holds."""
    assert condition, message


# ---- symbolic numbers ----


class SymInt:
    """The type of PyTorch's symbolic sizes; sizes here are numbers, so nothing has it."""


class SymFloat:
    """The type of PyTorch's symbolic floats; nothing has it."""


class SymBool:
    """The type of PyTorch's symbolic conditions; nothing has it."""


def sym_int(a: Any) -> int:
    """The number without its fraction."""
    return math.trunc(a)


def sym_float(a: Any) -> float:
    """The number as a float."""
    return builtins.float(a)


def sym_not(a: Any) -> Any:
    """not a"""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float if one of them is a float."""
    return _common(max(a, b), a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is a float."""
    return _common(min(a, b), a, b)


def _common(value: Any, *numbers: Any) -> Any:
    floats = any(isinstance(n, builtins.float) for n in numbers)
    return builtins.float(value) if floats else value


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """t if b else f"""
    return t if b else f


def sym_sum(args: Sequence[Any]) -> Any:
    """The sum of the numbers."""
    return sum(args)


def sym_sqrt(a: Any) -> float:
    """The square root of a number."""
    return math.sqrt(a)


def _shape_as_tensor(input: Tensor) -> Tensor:
    """The shape as a tensor of int64."""
    return _C.tensor(list(input.shape), dtype=_C.int64)


# ---- control flow ----


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()
) -> Any:
    """true_fn(*operands) if pred else false_fn(*operands); pred is a bool or a tensor of one element."""
    if not isinstance(pred, (builtins.bool, Tensor)):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {pred}.")
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    if not isinstance(operands, (list, tuple)):
        raise RuntimeError(
            "Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor leaves, "
            f"but got {operands}."
        )
    return (true_fn if pred else false_fn)(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Any
) -> Any:
    """Applies body_fn to the carried values as long as cond_fn of them holds."""
    carried = carried_inputs
    while cond_fn(*carried):
        carried = body_fn(*carried)
        if not isinstance(carried, (list, tuple)):
            raise RuntimeError(f"body_fn should return a tuple but got {type(carried)}")
    return carried


def get_device_module(device: Any = None) -> ModuleType:
    """The module of a device's type: torch.cuda, torch.cpu, .. Without a device: of the accelerator, or the CPU's."""
    import importlib

    if device is None:
        from . import accelerator

        found = accelerator.current_accelerator(check_available=True)
        kind = "cpu" if found is None else found.type
    elif isinstance(device, (str, _C.device)):
        kind = _C.device(device).type
    else:
        raise RuntimeError(f"Invalid value of device '{device}', expect torch.device, str, or None")
    return importlib.import_module(f"gradstep.{kind}")
