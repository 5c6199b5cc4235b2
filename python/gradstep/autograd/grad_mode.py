# SPDX-License-Identifier: Apache-2.0
"""`no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`: context managers and decorators.

with no_grad(): y = model(x)        @no_grad() def evaluate(): ...
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from gradstep import _C

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]


class _Mode:
    """Enters with `_enter()`; as a decorator it wraps every call (and every step of a generator)."""

    def clone(self) -> "_Mode":
        return type(self)()

    def __call__(self, func: F) -> F:
        import inspect

        if inspect.isclass(func):
            func.__init__ = self(func.__init__)  # type: ignore[method-assign]
            return func
        if inspect.isgeneratorfunction(func):

            @functools.wraps(func)
            def generator(*args: Any, **kwargs: Any) -> Any:
                inner = func(*args, **kwargs)
                resume, value = inner.send, None
                try:
                    while True:
                        with self.clone():
                            item = resume(value)
                        try:
                            resume, value = inner.send, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # thrown in by the caller
                            resume, value = inner.throw, error
                except StopIteration as stop:
                    return stop.value
                finally:
                    with self.clone():
                        inner.close()

            return generator  # type: ignore[return-value]

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return func(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc: Any) -> None:
        raise NotImplementedError


class no_grad(_Mode):
    """Results inside have no history. Usable as `@no_grad` and `@no_grad()` too."""

    def __new__(cls, func: Any = None) -> Any:
        if func is not None:
            return no_grad()(func)
        return super().__new__(cls)

    def __init__(self, func: Any = None) -> None:
        self._before = False

    def __enter__(self) -> None:
        self._before = _C.is_grad_enabled()
        _C._set_grad_enabled(False)

    def __exit__(self, *exc: Any) -> None:
        _C._set_grad_enabled(self._before)


class enable_grad(_Mode):
    """Results inside have history, also within `no_grad`."""

    def __new__(cls, func: Any = None) -> Any:
        if func is not None:
            return enable_grad()(func)
        return super().__new__(cls)

    def __init__(self, func: Any = None) -> None:
        self._before = False

    def __enter__(self) -> None:
        self._before = _C.is_grad_enabled()
        _C._set_grad_enabled(True)

    def __exit__(self, *exc: Any) -> None:
        _C._set_grad_enabled(self._before)


class set_grad_enabled(_Mode):
    """Sets grad mode at once; as a context manager it restores the old mode at the end."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(
                "set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                + type(mode).__name__
            )
        self._before = _C.is_grad_enabled()
        self.mode = mode
        _C._set_grad_enabled(mode)

    def clone(self) -> "set_grad_enabled":
        return set_grad_enabled(self.mode)

    def __call__(self, func: F) -> F:
        _C._set_grad_enabled(self._before)
        return super().__call__(func)

    def __enter__(self) -> None:
        _C._set_grad_enabled(self.mode)

    def __exit__(self, *exc: Any) -> None:
        _C._set_grad_enabled(self._before)


class inference_mode(_Mode):
    """As `no_grad`; tensors made inside also cannot take part in a graph later."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode) and not isinstance(mode, bool):
            return inference_mode()(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode
        self._before = (True, False)

    def clone(self) -> "inference_mode":
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self._before = (_C.is_grad_enabled(), _C.is_inference_mode_enabled())
        _C._set_inference_mode(self.mode)
        _C._set_grad_enabled(not self.mode)

    def __exit__(self, *exc: Any) -> None:
        grad, inference = self._before
        _C._set_grad_enabled(grad)
        _C._set_inference_mode(inference)
