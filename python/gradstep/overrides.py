# SPDX-License-Identifier: Apache-2.0
"""`torch.overrides`: taking over functions, by classes with a `__torch_function__` and by modes.

How calls find their overrides: Note [Overrides] in cpp/python/overrides.cpp.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import gradstep
from gradstep import _C
from gradstep._C import (
    _get_function_stack_at,
    _has_torch_function as has_torch_function,
    _has_torch_function_unary as has_torch_function_unary,
    _has_torch_function_variadic as has_torch_function_variadic,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]

# What PyTorch asks no type about (a mode sees those that make tensors).
_IGNORED = """arange are_deterministic_algorithms_enabled as_strided as_tensor asarray autocast_decrement_nesting
autocast_increment_nesting can_cast clear_autocast_cache empty empty_strided eye fill from_numpy frombuffer full
get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype get_default_device get_default_dtype
get_float32_matmul_precision get_num_interop_threads get_num_threads get_rng_state initial_seed
is_anomaly_check_nan_enabled is_anomaly_enabled is_autocast_cache_enabled is_autocast_cpu_enabled
is_autocast_enabled is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled
is_storage is_tensor linspace logspace manual_seed normal ones promote_types rand rand_like randint
randint_like randn randn_like randperm range result_type scalar_tensor seed set_autocast_cache_enabled
set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
set_default_device set_default_tensor_type set_float32_matmul_precision set_num_interop_threads set_num_threads
set_printoptions set_rng_state tensor tril_indices triu_indices typename use_deterministic_algorithms zeros"""
# Names of torch that PyTorch calls by the module that they come from.
_FUNCTIONAL = frozenset(
    """atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod cdist chain_matmul einsum lu meshgrid
    norm split stft tensordot unique unique_consecutive unravel_index""".split()
)
_IGNORED_METHODS = (
    "_addmm_activation _make_subclass as_subclass new new_empty new_empty_strided new_full new_ones new_tensor "
    "new_zeros stride unflatten"
)


@functools.cache
def get_ignored_functions() -> set[Callable[..., Any]]:
    """The public functions that a `__torch_function__` of an argument does not take over."""
    functions = {getattr(gradstep, name) for name in _IGNORED.split()}
    return functions | {getattr(_C.Tensor, name) for name in _IGNORED_METHODS.split()}


@functools.cache
def get_default_nowrap_functions() -> set[Callable[..., Any]]:
    """The functions whose results Tensor.__torch_function__ leaves plain tensors."""
    tensor: Any = _C.Tensor
    return {tensor._base.__get__, tensor.grad.__get__, tensor._grad.__get__}


@functools.cache
def _index() -> tuple[dict[Any, list[Callable[..., Any]]], dict[Any, str]]:
    """(overridable functions by namespace, the name of each function that an override can be told)."""
    from gradstep import fft, linalg, nn, special

    functions: dict[Any, list[Callable[..., Any]]] = {}
    names: dict[Any, str] = {}
    tensor: Any = _C.Tensor
    spaces = [
        ("torch", gradstep, [*dir(gradstep), *gradstep._ops._HOME]),
        ("torch.nn.functional", nn.functional, dir(nn.functional)),
        ("torch.nn.init", nn.init, dir(nn.init)),
        ("torch.Tensor", tensor, dir(tensor)),
        ("torch.linalg", linalg, dir(linalg)),
        ("torch.fft", fft, dir(fft)),
        ("torch.special", special, [*dir(special), *special._BESSEL, *special._POLYNOMIALS]),
    ]
    ignored = get_ignored_functions()
    for label, space, keys in spaces:
        for key in keys:
            if space is not tensor and key[:2] == "__":
                continue
            func = getattr(space, key, None)
            if func is None or isinstance(func, (type, ModuleType)):
                continue
            if space is tensor and getattr(object, key, None) == func:
                continue
            private = space is not tensor and (key[0] == "_" or key[-1] == "_")
            if not callable(func):
                if space is not tensor or not hasattr(func, "__get__"):
                    continue
                names[func.__get__] = f"{label}.{key}.__get__"
                names[func.__set__] = f"{label}.{key}.__set__"
                functions.setdefault(func, []).append(func.__get__)
                continue
            # An alias has the name of what it stands for, if that is public.
            if func not in names or getattr(func, "__name__", key) == key:
                where = "torch.functional" if label == "torch" and key in _FUNCTIONAL else label
                names[func] = f"{where}.{key}"
            if not private and func not in ignored and getattr(func, "__stub__", None) is None:
                functions.setdefault(space, []).append(func)
    return functions, names


def get_overridable_functions() -> dict[Any, list[Callable[..., Any]]]:
    """The functions that can be taken over, by the namespace that they are in."""
    return _index()[0]


def resolve_name(f: Any) -> str | None:
    """The name of a function that an override was told; None for others.

    >>> import gradstep.overrides
    >>> gradstep.overrides.resolve_name(gs.Tensor.add)
    'torch.Tensor.add'
    """
    return _index()[1].get(f)


@functools.cache
def _methods() -> set[Callable[..., Any]]:
    return set(get_overridable_functions()[_C.Tensor])


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """True if a function that an override was told is a method of Tensor or the `__get__` of a property."""
    return func in _methods() or func.__name__ == "__get__"


def _answer(*args: Any, **kwargs: Any) -> int:
    return -1


@functools.cache
def get_testing_overrides() -> dict[Callable[..., Any], Callable[..., Any]]:
    """A function that takes the same arguments and returns -1, for each one that can be taken over."""
    import inspect

    found: dict[Callable[..., Any], Callable[..., Any]] = {}
    for functions in get_overridable_functions().values():
        for func in functions:
            stand_in = functools.partial(_answer)
            try:
                stand_in.__signature__ = inspect.signature(func)  # type: ignore[attr-defined]
            except (TypeError, ValueError):
                pass
            found[func] = stand_in
    return found


def is_tensor_like(inp: Any) -> bool:
    """True for a Tensor and for whatever has a `__torch_function__`."""
    return type(inp) is _C.Tensor or hasattr(inp, "__torch_function__")


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[[Any], Any]:
    """A decorator by which a function can be taken over, too; `dispatcher` gives the arguments that are asked."""

    def inner(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return inner


def _overloaded(relevant: Iterable[Any]) -> list[Any]:
    """The arguments that are asked, one of each type: subclasses first, then from left to right."""
    if not _C._is_torch_function_enabled():
        return []
    found: list[Any] = []
    for arg in relevant:
        kind = type(arg)
        if any(type(other) is kind for other in found) or not hasattr(kind, "__torch_function__"):
            continue
        if kind.__torch_function__ is _C._disabled_torch_function_impl:
            continue
        above = (i for i, other in enumerate(found) if issubclass(kind, type(other)))
        found.insert(next(above, len(found)), arg)
    return found


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the mode or one of the relevant arguments makes of `public_api(*args, **kwargs)`.

    Raises: TypeError where all of them return NotImplemented.
    """
    overloaded = _overloaded(relevant_args)
    types = tuple(map(type, overloaded))
    if _is_mode_enabled():
        with _pop_mode_temporarily() as mode:
            result = mode.__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    for arg in overloaded:
        method = arg.__torch_function__
        if getattr(method, "__self__", None) is arg:
            warnings.warn(
                "Defining your `__torch_function__ as a plain method is deprecated and "
                "will be an error in future, please define it as a classmethod.",
                DeprecationWarning,
                stacklevel=2,
            )
        result = method(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = f"{public_api.__module__}.{public_api.__name__}"
    message = (
        f"no implementation found for '{name}' on types that implement __torch_function__: "
        f"{[type(arg) for arg in overloaded]}"
    )
    if _is_mode_enabled():
        message += f" nor in mode {_get_current_function_mode()}"
    raise TypeError(message)


# ---- modes ----


class TorchFunctionMode:
    """A mode sees every call of a function in its `with` block, whatever the arguments are.

    >>> from gradstep.overrides import TorchFunctionMode, resolve_name
    >>> class Names(TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(resolve_name(func))
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     x = gs.ones(2) + 1
    torch.ones
    torch.Tensor.add
    """

    def __init__(self) -> None:
        pass

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What a call in the block gives; in here the mode is off."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        _push_on_torch_function_stack(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _pop_torch_function_stack()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """The older way to make one."""
        warnings.warn(
            "`Mode.push()` is no longer necessary and can be replaced with just `with Mode()`",
            stacklevel=2,
        )
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that calls each function as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """The call itself."""
        return func(*args, **(kwargs or {}))


def _is_mode_enabled() -> bool:
    return _len_torch_function_stack() > 0 and not _C._is_torch_function_all_disabled()


def _get_current_function_mode() -> Any:
    n = _len_torch_function_stack()
    return _get_function_stack_at(n - 1) if n > 0 else None


def _get_current_function_mode_stack() -> list[Any]:
    return [_get_function_stack_at(i) for i in range(_len_torch_function_stack())]


class _pop_mode_temporarily:
    """The innermost mode, which is off in the block."""

    def __enter__(self) -> Any:
        self._mode = _pop_torch_function_stack()
        return self._mode

    def __exit__(self, *exc: object) -> None:
        _push_on_torch_function_stack(self._mode)
