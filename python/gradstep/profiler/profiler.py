# SPDX-License-Identifier: Apache-2.0
"""profile, its schedules and ranges. See __init__.py."""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from gradstep import _C
from gradstep.optim import optimizer as _optimizers

from .events import EventList, events_of, to_chrome_trace

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(Enum):
    """What to look at. All but CPU and CUDA are accepted and change nothing."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(Enum):
    """What a profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """CPU, and CUDA where there is a GPU."""
    found = {ProfilerActivity.CPU}
    if _C._cuda_device_count():
        found.add(ProfilerActivity.CUDA)
    return found


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """What to do in each step: after `skip_first` steps, cycles of wait, warm up and record.

    repeat: how many cycles; 0 means until the end. skip_first_wait: not 0, no wait in the first.
    """
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError(
            f"Invalid profiler schedule arguments. Got wait={wait} (need >= 0), warmup={warmup} "
            f"(need >= 0), active={active} (need > 0), repeat={repeat} (need >= 0), "
            f"skip_first={skip_first} (need >= 0)."
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle, place = divmod(step, wait + warmup + active)
        if repeat > 0 and cycle >= repeat:
            return ProfilerAction.NONE
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        last = place == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def _always(_: int) -> ProfilerAction:
    return ProfilerAction.RECORD


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """For on_trace_ready: a file for each trace in the folder that TensorBoard's plug-in reads."""

    def handler(prof: Any) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handler


class record_function:
    """A range of its own name around what runs inside; also a decorator."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args
        self._event = -1

    def __enter__(self) -> record_function:
        self._event = _C._profiler_begin(self.name)
        return self

    def __exit__(self, *exc: object) -> None:
        _C._profiler_end(self._event)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return func(*args, **kwargs)

        return wrapper


# ---- collecting ----


class Collector:
    """Turns the native profiler on and off, with a range around each optimizer's step."""

    def __init__(self, shapes: bool, memory: bool, stacks: bool, cuda: bool) -> None:
        self.options = (shapes, memory, stacks, cuda)
        self.epoch = 0

    def start(self) -> None:
        _C._profiler_start(*self.options)
        self.epoch = time.time_ns()
        _optimizers._profiler_on = True

    def stop(self) -> EventList:
        _optimizers._profiler_on = False
        shapes, memory, _, _ = self.options
        return EventList(events_of(_C._profiler_stop(), self.epoch), memory=memory, shapes=shapes)


class profile:
    """Records each launch of a kernel, and the ranges of record_function, with their times.

        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
            train_step()
        print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
        prof.export_chrome_trace("trace.json")

    activities: CPU, and CUDA for the times that kernels take on a GPU. None: all that there are.
    schedule: what to do in each step, which `step()` ends; without it everything is recorded.
    on_trace_ready: called with the profiler at the end of each recorded cycle.
    record_shapes, profile_memory, with_stack: shapes of operands, bytes taken, lines of Python.
    with_flops and with_modules are accepted and change nothing.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None,
    ) -> None:
        chosen = set(activities) if activities else supported_activities()
        if use_cuda:
            chosen.add(ProfilerActivity.CUDA)
        self.activities = chosen & supported_activities() or {ProfilerActivity.CPU}
        self.schedule = schedule or _always
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.acc_events = acc_events
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._collector: Collector | None = None
        self._events: EventList | None = None
        self._metadata: dict[str, Any] = {}
        self._range: record_function | None = None

    # ---- collecting ----

    def _records(self) -> bool:
        return self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)

    def _begin(self) -> None:
        if self._records() and self._collector is None:
            self._collector = Collector(
                self.record_shapes,
                self.profile_memory,
                self.with_stack,
                ProfilerActivity.CUDA in self.activities,
            )
            self._collector.start()
        if self.record_steps:
            self._range = record_function(f"ProfilerStep#{self.step_num}")
            self._range.__enter__()

    def _end_range(self) -> None:
        if self._range is not None:
            self._range.__exit__()
            self._range = None

    def _finish(self) -> None:
        """Ends a recording and shows it."""
        if self._collector is None:
            return
        found = self._collector.stop()
        self._collector = None
        if self.acc_events and self._events is not None:
            found = EventList(
                [*self._events, *found], memory=self.profile_memory, shapes=self.record_shapes
            )
        self._events = found
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def start(self) -> None:
        """Begins with step 0."""
        self.current_action = self.schedule(self.step_num)
        self._begin()

    def step(self) -> None:
        """Ends a step and begins the next one."""
        self._end_range()
        saves = self.current_action is ProfilerAction.RECORD_AND_SAVE
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if saves or not self._records():
            self._finish()
        self._begin()

    def stop(self) -> None:
        """Ends the recording."""
        self._end_range()
        self._finish()

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- results ----

    def events(self) -> EventList:
        """All events of the last recording."""
        if self._events is None:
            raise AssertionError("Profiler must be initialized before accessing events")
        return self._events

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """Averages by name; print its table()."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str) -> None:
        """Writes a trace that chrome://tracing and Perfetto open; .gz compresses it."""
        to_chrome_trace(self.events(), path, self._metadata)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Writes lines of Python with what they cost; needs with_stack=True."""
        self.events().export_stacks(path, metric)

    def add_metadata(self, key: str, value: str) -> None:
        """A text that traces carry."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """A JSON value that traces carry."""
        self._metadata[key] = json.loads(value)

    def preset_metadata_json(self, key: str, value: str) -> None:
        """The same, before the recording."""
        self.add_metadata_json(key, value)
