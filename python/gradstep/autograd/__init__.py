# SPDX-License-Identifier: Apache-2.0
"""Automatic differentiation: `backward`, `grad`, grad modes, custom functions, gradient checks."""

import warnings
from typing import TYPE_CHECKING, Any

from gradstep import _C
from gradstep._C import Node

from . import graph
from .function import Function, FunctionCtx
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

Variable = _C.Tensor

__all__ = [
    "Function",
    "Node",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates the sum of the gradients of `tensors` into the leaves' `.grad`.

    Raises: RuntimeError if an output is no number and has no gradient given, if there is no
    graph, or if it was freed.
    """
    _C._backward(
        tensors,
        grad_tensors if grad_variables is None else grad_variables,
        retain_graph,
        create_graph,
        inputs,
    )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[_C.Tensor, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching `.grad`.

    Raises: RuntimeError if an output is no number and has no gradient given, if there is no
    graph, or if it was freed.
    """
    if is_grads_batched:
        stacked = [
            grad(
                outputs,
                inputs,
                _rows(grad_outputs, i),
                True,
                create_graph,
                True,
                allow_unused,
                False,
                materialize_grads,
            )
            for i in range(len(_listed(grad_outputs)[0]))
        ]
        rows: Any = zip(*stacked, strict=True)
        found: list[Any] = [None if gs[0] is None else _C.stack(list(gs)) for gs in rows]
        return tuple(found)
    return _C._grad(
        outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads
    )


def _listed(x: Any) -> list[Any]:
    return [x] if isinstance(x, _C.Tensor) else list(x)


def _rows(x: Any, i: int) -> list[Any]:
    return [None if t is None else t[i] for t in _listed(x)]


class set_detect_anomaly:
    """With it on, backward raises where a function returns a NaN gradient, and names that function.

    Takes effect at once; as a context manager it restores what was set before at the end.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (_C.is_anomaly_enabled(), _C.is_anomaly_check_nan_enabled())
        _C._set_anomaly(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        _C._set_anomaly(*self._before)


class detect_anomaly:
    """Anomaly detection inside a `with` block; see `set_detect_anomaly`."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = (_C.is_anomaly_enabled(), _C.is_anomaly_check_nan_enabled())
        _C._set_anomaly(True, self._check_nan)

    def __exit__(self, *exc: Any) -> None:
        _C._set_anomaly(*self._before)


if TYPE_CHECKING:
    from . import functional as functional, profiler as profiler
    from .gradcheck import (
        GradcheckError as GradcheckError,
        gradcheck as gradcheck,
        gradgradcheck as gradgradcheck,
    )
else:

    def __getattr__(name: str) -> Any:
        if name in ("gradcheck", "gradgradcheck", "GradcheckError"):
            import importlib

            module = importlib.import_module("gradstep.autograd.gradcheck")
            # The submodule of the same name was just put here by the import system: the function wins.
            globals()["gradcheck"] = module.gradcheck
            return getattr(module, name)
        if name in ("anomaly_mode", "functional", "profiler"):
            import importlib

            return importlib.import_module(f"gradstep.autograd.{name}")
        raise AttributeError(f"module 'gradstep.autograd' has no attribute '{name}'")
