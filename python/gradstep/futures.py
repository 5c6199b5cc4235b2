# SPDX-License-Identifier: Apache-2.0
"""Future: a value that comes later, as asynchronous collectives return it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Future", "collect_all", "wait_all"]


class Future:
    """Future(*, devices=None): set_result() or set_exception() once, wait() for it anywhere."""

    def __init__(self, *, devices: Any = None) -> None:
        self._event = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future], Any]] = []

    def done(self) -> bool:
        return self._event.is_set()

    def wait(self) -> Any:
        """Blocks until there is a value, returns it or raises the exception."""
        self._event.wait()
        return self.value()

    def value(self) -> Any:
        """The value; RuntimeError if there is none yet."""
        if not self.done():
            raise RuntimeError("Future is not completed")
        if self._error is not None:
            raise self._error
        return self._value

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self.done():
            raise RuntimeError("Future can only be marked completed once")
        self._value, self._error = value, error
        self._event.set()
        for callback in self._callbacks:
            callback(self)

    def set_result(self, result: Any) -> None:
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        self._finish(None, result)

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Calls callback(self) when there is a value, at once if there is one."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A future of what callback(self) returns."""
        after = Future()

        def run(future: Future) -> None:
            try:
                after.set_result(callback(future))
            except Exception as error:
                after.set_exception(error)

        self.add_done_callback(run)
        return after


def collect_all(futures: list[Future]) -> Future:
    """A future of the futures, done when all of them are."""
    out = Future()
    left = [len(futures)]

    def one(future: Future) -> None:
        left[0] -= 1
        if left[0] == 0:
            out.set_result(futures)

    for future in futures:
        future.add_done_callback(one)
    if not futures:
        out.set_result(futures)
    return out


def wait_all(futures: list[Future]) -> list[Any]:
    """The values of all."""
    return [future.wait() for future in futures]
