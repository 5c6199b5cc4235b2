# SPDX-License-Identifier: Apache-2.0
"""torch.compiler: what scripts say to the compiler. `compile` is gradstep's capture; the rest needs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from ._capture import compile as compile

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "reset",
    "set_stance",
    "wrap_numpy",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def is_compiling() -> bool:
    """False: a captured function is an ordinary run of Python that is recorded."""
    return False


def is_dynamo_compiling() -> bool:
    """False."""
    return False


def is_exporting() -> bool:
    """False."""
    return False


def reset() -> None:
    """Nothing is kept between compiled functions."""


def allow_in_graph(fn: _F) -> _F:
    """The function as it is."""
    return fn


def assume_constant_result(fn: _F) -> _F:
    """The function as it is."""
    return fn


def wrap_numpy(fn: _F) -> _F:
    """The function as it is."""
    return fn


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function as it is, or a decorator that gives it: nothing is compiled behind the caller's back."""
    return (lambda f: f) if fn is None else fn


def cudagraph_mark_step_begin() -> None:
    """Results of a replay are the caller's own here."""


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """["inductor"]: every backend is gradstep's capture."""
    return ["inductor"]


class set_stance(contextlib.ContextDecorator):
    """Accepted, as a function, context manager or decorator: capture does not choose when to compile."""

    def __init__(
        self,
        stance: str = "default",
        *,
        skip_guard_eval_unsafe: bool = False,
        force_backend: Any = None,
    ) -> None:
        if stance not in (
            "default",
            "eager_then_compile",
            "aot_eager_then_compile",
            "force_eager",
            "eager_on_recompile",
            "fail_on_recompile",
        ):
            raise RuntimeError(f"invalid torch.compile stance '{stance}'")
        self.stance = stance

    def __enter__(self) -> set_stance:
        return self

    def __exit__(self, *exc: Any) -> None:
        pass
