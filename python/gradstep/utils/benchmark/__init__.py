# SPDX-License-Identifier: Apache-2.0
"""Timing of statements: `Timer("x @ x", globals={"x": x}).blocked_autorange().median`, in seconds."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradstep import _C

__all__ = ["Measurement", "TaskSpec", "Timer", "timer"]


def timer() -> float:
    """Seconds; a GPU has finished what was launched before."""
    if _C._cuda_device_count():
        from gradstep import cuda

        cuda.synchronize()
    return timeit.default_timer()


@dataclass(frozen=True)
class TaskSpec:
    """What was measured."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        return self.stmt if "\n" not in self.stmt else "stmt:\n" + self.stmt


@dataclass
class Measurement:
    """Times of runs, each of `number_per_run` executions. `times` are seconds for one."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.times)

    @property
    def iqr(self) -> float:
        """The interquartile range."""
        times = self.times
        if len(times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(times, n=4, method="inclusive")
        return high - low

    @property
    def has_warnings(self) -> bool:
        return self.iqr / self.median > 0.1 if self.median else False

    @property
    def title(self) -> str:
        return self.task_spec.title

    def __repr__(self) -> str:
        scale, unit = next(
            ((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if self.median >= s),
            (1e-9, "ns"),
        )
        n = len(self.raw_times)
        return (
            f"<gradstep.utils.benchmark.Measurement object at {hex(id(self))}>\n{self.title}\n"
            f"  {'Median' if n > 1 else 'Time'}: {self.median / scale:.2f} {unit}\n"
            + (f"  IQR:    {self.iqr / scale:.2f} {unit}\n" if n > 3 else "")
            + f"  {n} measurement{'s' if n > 1 else ''}, {self.number_per_run} runs per "
            f"measurement, {self.task_spec.num_threads} thread"
            f"{'s' if self.task_spec.num_threads > 1 else ''}"
        )


class Timer:
    """Times a statement, which is compiled once, with the given number of threads.

    Unlike timeit, it runs with one thread unless told otherwise, and waits for GPUs.
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        if str(language).lower() not in ("python", "py", "language.python"):
            raise NotImplementedError("utils.benchmark.Timer: only language='python' is supported")
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply "
                "be moved to `setup`."
            )
        self._task_spec = TaskSpec(
            stmt, setup, global_setup, label, sub_label, description, env, num_threads
        )
        self._timer = timeit.Timer(stmt, setup, timer, {**(globals or {})})

    def _time(self, number: int) -> float:
        before = _C.get_num_threads()
        _C.set_num_threads(self._task_spec.num_threads)
        try:
            return self._timer.timeit(number)
        finally:
            _C.set_num_threads(before)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One run of `number` executions, after a short one."""
        self._time(max(number // 100, 2))
        return Measurement(number, [self._time(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Not there, as in PyTorch: see blocked_autorange()."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Callable[[int, float], None] | None = None) -> None:
        """Not there, as in PyTorch: see blocked_autorange()."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block_size(self, min_run_time: float) -> int:
        """So many executions that reading the clock costs less than a thousandth of them."""
        overhead = statistics.median([timeit.Timer("pass").timeit(0) for _ in range(5)])
        number = 1
        while True:
            taken = self._time(number)
            if taken >= max(1000 * overhead, 1e-4) or taken >= min_run_time / 1000:
                if taken >= max(1000 * overhead, 1e-4) or number >= 10**6:
                    return number
            number *= 10

    def blocked_autorange(
        self,
        callback: Callable[[int, float], None] | None = None,
        min_run_time: float = 0.2,
    ) -> Measurement:
        """Runs of as many executions as the clock needs, until `min_run_time` seconds are over."""
        number = self._block_size(min_run_time)
        return self._measure(number, min_run_time, callback, lambda times: True)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], None] | None = None,
    ) -> Measurement:
        """The same until the interquartile range is at most `threshold` of the median."""
        number = self._block_size(0.05)

        def enough(times: list[float]) -> bool:
            m = Measurement(number, times, self._task_spec)
            return len(times) > 3 and m.iqr <= threshold * m.median

        return self._measure(number, min_run_time, callback, enough, max_run_time)

    def _measure(
        self,
        number: int,
        min_run_time: float,
        callback: Callable[[int, float], None] | None,
        enough: Callable[[list[float]], bool],
        max_run_time: float | None = None,
    ) -> Measurement:
        times: list[float] = []
        total = 0.0
        while not times or (
            (total < min_run_time or not enough(times))
            and (max_run_time is None or total < max_run_time)
        ):
            taken = self._time(number)
            if callback is not None:
                callback(number, taken)
            times.append(taken)
            total += taken
        return Measurement(number, times, self._task_spec)
