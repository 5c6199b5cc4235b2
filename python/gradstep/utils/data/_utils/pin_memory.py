# SPDX-License-Identifier: Apache-2.0
"""Batches in page-locked memory: `pin_memory` copies the tensors of nested containers there, `Pinner` does so in a thread
for what worker processes send.

    pinner = Pinner(workers)
    epoch, kind, batch = pinner.take(workers[0], timeout=5)   # EOFError if the worker is gone
    pinner.close()
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradstep import _C

from .collate import _like_mapping, _like_sequence
from .worker import WorkerError, receive


def pin_memory(data: Any, device: Any = None) -> Any:
    """The tensors in nested containers, and what has a method pin_memory(), in pinned memory; the rest stays."""
    if isinstance(data, _C.Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: pin_memory(value) for key, value in data.items()})
    if isinstance(data, tuple):
        values = [pin_memory(value) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else type(data)(values)
    if isinstance(data, Sequence):
        return _like_sequence(data, [pin_memory(value) for value in data])
    return data


class Pinner:
    """Receives in a thread of its own, so that pinning takes no time of the loop that trains.

    It knows the workers and not their owner, which may so be dropped while the thread waits.
    """

    def __init__(self, workers: Sequence[Any]) -> None:
        # Imported here: a process that is forked meanwhile would find a half-done import.
        from multiprocessing.connection import Pipe, wait

        self._boxes: dict[Any, deque[Any]] = {worker: deque() for worker in workers}
        self._filled = threading.Condition()
        self._owner = os.getpid()
        wake, self._wake = Pipe(duplex=False)
        self._thread = threading.Thread(
            target=_run,
            args=(wait, self._boxes, self._filled, wake, _C._cuda_current_device()),
            name="gradstep-pin",
            daemon=True,
        )
        self._thread.start()

    def take(self, worker: Any, timeout: float | None) -> Any:
        """The worker's next message; EOFError if it is gone, TimeoutError if nothing came."""
        self.first((worker,), timeout)
        message = self._boxes[worker].popleft()
        if message is None:
            raise EOFError
        return message

    def first(self, workers: Iterable[Any], timeout: float | None) -> Any:
        """The first of the workers that has a message or is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._filled:
            while True:
                for worker in workers:
                    if self._boxes[worker]:
                        return worker
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._filled.wait(left)

    def close(self) -> None:
        """Ends the thread; the workers' pipes may then be closed."""
        # A forked copy has no thread; at the end of the program it does not run any more.
        if os.getpid() != self._owner or sys.is_finalizing():
            return
        self._wake.send_bytes(b"end")
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._wake.close()


def _run(wait: Any, boxes: dict[Any, deque[Any]], filled: Any, wake: Any, device: int) -> None:
    _C._cuda_set_device(device)
    living = list(boxes)
    while True:
        ready = set(
            wait([wake, *(w.results for w in living), *(w.process.sentinel for w in living)])
        )
        if wake in ready:
            wake.close()
            return
        for worker in list(living):
            if not ready & {worker.results, worker.process.sentinel}:
                continue
            message = None  # it is gone
            try:
                # A worker that has ended may have left its last results in the pipe.
                if worker.results in ready or worker.results.poll(0):
                    message = _pinned_message(receive(worker.results), device)
            except (EOFError, OSError):
                pass
            if message is None:
                living.remove(worker)
            with filled:
                boxes[worker].append(message)
                filled.notify_all()
        del ready


def _pinned_message(message: Any, device: int) -> Any:
    epoch, kind, data = message
    if kind != "batch":
        return message
    try:
        return epoch, kind, pin_memory(data)
    except Exception as error:
        return epoch, "error", WorkerError(error, f"in pin memory thread for device {device}")
