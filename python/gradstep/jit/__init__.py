# SPDX-License-Identifier: Apache-2.0
"""torch.jit without a compiler: functions and modules stay as they are, and run as Python.

    @torch.jit.script
    def f(x): ...                  # f itself

What needs TorchScript's own form (its files, graphs, code) raises NotImplementedError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar

from gradstep.nn import Module

__all__ = [
    "Attribute",
    "Error",
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "fork",
    "freeze",
    "fuser",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "optimized_execution",
    "run_frozen_optimizations",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "strict_fusion",
    "trace",
    "trace_module",
    "unused",
    "wait",
]

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


class Error(RuntimeError):
    """What TorchScript raises; nothing here does."""


class TracerWarning(Warning):
    """What PyTorch's tracer warns with; here there is nothing to warn of."""


class ScriptFunction:
    """The type of PyTorch's compiled functions; no function here is one."""


class ScriptModule(Module):
    """A module; methods marked with script_method are ordinary methods."""


class Attribute(tuple[Any, Any]):
    """Attribute(value, type): a value with its type."""

    def __new__(cls, value: Any, type: Any) -> Attribute:
        return super().__new__(cls, (value, type))

    @property
    def value(self) -> Any:
        return self[0]

    @property
    def type(self) -> Any:
        return self[1]


def is_scripting() -> bool:
    """False: everything runs as Python."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


def _no_torchscript(what: str) -> NoReturn:
    raise NotImplementedError(
        f"torch.jit.{what}: gradstep has no TorchScript; save state_dict() instead"
    )


def script(
    obj: _T,
    optimize: Any = None,
    _frames_up: int = 0,
    _rcb: Any = None,
    example_inputs: Any = None,
) -> _T:
    """The function, class or module as it is."""
    return obj


def trace(
    func: _T,
    example_inputs: Any = None,
    optimize: Any = None,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float = 1e-5,
    strict: bool = True,
    _force_outplace: bool = False,
    _module_class: Any = None,
    _compilation_unit: Any = None,
    example_kwarg_inputs: dict[str, Any] | None = None,
    _store_inputs: bool = True,
) -> _T:
    """The function or module as it is, after one run with the examples, whose errors are seen here as with PyTorch."""
    from gradstep import no_grad

    call: Any = func
    if example_kwarg_inputs is not None:
        if type(example_kwarg_inputs) is not dict:
            raise RuntimeError("example_kwarg_inputs should be a dict")
        args: Any = ()
    elif example_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict")
    else:
        args = example_inputs if type(example_inputs) in (tuple, list) else (example_inputs,)
    with no_grad():
        call(*args, **(example_kwarg_inputs or {}))
    return func


def trace_module(mod: _T, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> _T:
    """The module as it is, after one run of each method that is named."""
    from gradstep import no_grad

    with no_grad():
        for name, examples in inputs.items():
            getattr(mod, name)(*(examples if type(examples) is tuple else (examples,)))
    return mod


def save(m: Any, f: Any, _extra_files: Any = None) -> NoReturn:
    """NotImplementedError: there is no TorchScript to save."""
    _no_torchscript("save")


def load(
    f: Any, map_location: Any = None, _extra_files: Any = None, _restore_shapes: bool = False
) -> NoReturn:
    """NotImplementedError: a TorchScript file holds a program in TorchScript's own form."""
    _no_torchscript("load")


def _same(fn: _F) -> _F:
    return fn


script_method = export = script_if_tracing = _script_if_tracing = _same


def interface(obj: _T) -> _T:
    """The class as it is."""
    return obj


def _marker(drop: Any = False, **kwargs: Any) -> Any:
    return drop if callable(drop) else _same


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator, also with arguments (`@ignore(drop=True)`): the function as it is."""
    return _marker(drop, **kwargs)


def unused(fn: Any) -> Any:
    """A decorator: the function as it is."""
    return fn


def annotate(the_type: Any, the_value: _T) -> _T:
    """The value."""
    return the_value


def _overload(func: _F) -> _F:
    return func


_overload_method = _overload


def isinstance(obj: Any, target_type: Any) -> bool:
    """Python's isinstance, which also takes List[int] and its like and then looks at the elements."""
    import builtins
    import types
    from typing import Union, get_args, get_origin

    if builtins.isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, args = get_origin(target_type), get_args(target_type)
    if origin is None:
        return builtins.isinstance(obj, target_type)
    if origin in (Union, types.UnionType):
        return any(obj is None if t is type(None) else isinstance(obj, t) for t in args)
    if not builtins.isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, args[0]) and isinstance(v, args[1]) for k, v in obj.items())
    if origin is tuple and not (len(args) == 2 and args[1] is ...):
        return len(obj) == len(args) and all(isinstance(x, t) for x, t in zip(obj, args))
    return all(isinstance(x, args[0]) for x in obj)


def freeze(mod: _T, preserved_attrs: Any = None, optimize_numerics: bool = True) -> _T:
    """The module as it is."""
    return mod


def optimize_for_inference(mod: _T, other_methods: Any = None) -> _T:
    """The module as it is."""
    return mod


def run_frozen_optimizations(
    mod: Any, optimize_numerics: bool = True, preserved_methods: Any = None
) -> None:
    """Nothing is to be done."""


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A torch.futures.Future of func(*args, **kwargs), which is called at once, as in PyTorch outside of scripts."""
    from gradstep.futures import Future

    future = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Any) -> Any:
    """The value of what fork() returned."""
    return future.wait()


@contextlib.contextmanager
def fuser(name: str) -> Iterator[None]:
    """Accepted: there is no fuser to choose."""
    yield


@contextlib.contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """Accepted."""
    yield


@contextlib.contextmanager
def strict_fusion() -> Iterator[None]:
    """Accepted."""
    yield


def set_fusion_strategy(strategy: Any) -> Any:
    """Accepted; returns the strategy."""
    return strategy


def enable_onednn_fusion(enabled: bool) -> None:
    """Accepted."""


def onednn_fusion_enabled() -> bool:
    return False
