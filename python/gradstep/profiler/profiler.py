# SPDX-License-Identifier: Apache-2.0
"""profile(): the calls of modules, the steps of optimizers and record_function() blocks, with their times.

    with torch.profiler.profile() as prof:
        for x, y in loader:
            with torch.profiler.record_function("step"):
                train(x, y)
            prof.step()
    print(prof.key_averages().table(sort_by="cpu_time_total"))
    prof.export_chrome_trace("trace.json")     # for Perfetto or chrome://tracing

Times are of the host, in microseconds; on a GPU that is how long launching takes. Single operations are not recorded.
"""

from __future__ import annotations

import enum
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What to look at. Only the CPU's part is recorded."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a schedule says of a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """{ProfilerActivity.CPU}"""
    return {ProfilerActivity.CPU}


def kineto_available() -> bool:
    """False: that is PyTorch's library."""
    return False


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Steps to leave out, to warm up in and to record, in turn; `repeat` times, 0 for ever, after skip_first steps.

    skip_first_wait leaves out the first `wait`.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait != 0:
            step += wait
        length = wait + warmup + active
        if repeat > 0 and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


# ---- events ----


class FunctionEvent:
    """One call: its name, thread, start and length (microseconds), and the calls within it."""

    def __init__(self, name: str, thread: int, start: float) -> None:
        self.name = self.key = name
        self.thread = thread
        self.start = start
        self.cpu_time_total = 0.0
        self.cpu_children: list[FunctionEvent] = []
        self.count = 1

    @property
    def self_cpu_time_total(self) -> float:
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total

    def __repr__(self) -> str:
        return f"<FunctionEvent {self.name}: {self.cpu_time_total:.1f} us>"


class FunctionEventAvg:
    """All calls of one name."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        self.cpu_time_total = 0.0
        self.self_cpu_time_total = 0.0

    @property
    def cpu_time(self) -> float:
        """The mean."""
        return self.cpu_time_total / self.count if self.count else 0.0


def _shown(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


class EventList(list[Any]):
    """Events, or their averages: table() shows them."""

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """A table, longest first if sort_by names a time ("cpu_time_total", "self_cpu_time_total", "cpu_time", "count").

        Sorting by a time of a GPU keeps the order: there is none.
        """
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda e: getattr(e, sort_by, 0), reverse=True)
        whole = sum(e.self_cpu_time_total for e in self) or 1.0
        titles = (
            "Name",
            "Self CPU %",
            "Self CPU",
            "CPU total %",
            "CPU total",
            "CPU time avg",
            "# of Calls",
        )
        cells = [titles]
        for e in rows[: row_limit if row_limit >= 0 else None]:
            name = e.key
            if len(name) > max_name_column_width:
                name = name[: max_name_column_width - 3] + "..."
            cells.append(
                (
                    name,
                    f"{100 * e.self_cpu_time_total / whole:.2f}%",
                    _shown(e.self_cpu_time_total),
                    f"{100 * e.cpu_time_total / whole:.2f}%",
                    _shown(e.cpu_time_total),
                    _shown(e.cpu_time),
                    str(e.count),
                )
            )
        widths = [max(len(row[k]) for row in cells) for k in range(len(titles))]
        line = "  ".join("-" * w for w in widths)
        text = ["  ".join(c.rjust(w) for c, w in zip(row, widths)) for row in cells]
        head = [header] if header is not None else []
        total = f"Self CPU time total: {_shown(whole)}"
        return "\n".join([*head, line, text[0], line, *text[1:], line, total, ""])

    def __str__(self) -> str:
        return self.table()

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """One entry for each name."""
        found: dict[str, FunctionEventAvg] = {}
        for event in self:
            average = found.setdefault(event.key, FunctionEventAvg(event.key))
            average.count += event.count
            average.cpu_time_total += event.cpu_time_total
            average.self_cpu_time_total += event.self_cpu_time_total
        return EventList(found.values())

    def total_average(self) -> FunctionEventAvg:
        """All in one; times of nested calls count once."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.count += event.count
            total.self_cpu_time_total += event.self_cpu_time_total
        total.cpu_time_total = total.self_cpu_time_total
        return total

    @property
    def self_cpu_time_total(self) -> float:
        return float(sum(event.self_cpu_time_total for event in self))

    def export_chrome_trace(self, path: str) -> None:
        """Writes the events in Chrome's trace format."""
        with open(path, "w") as f:
            _write_trace(self, f)


def _write_trace(events: Iterable[FunctionEvent], out: TextIO) -> None:
    pid = os.getpid()
    json.dump(
        {
            "schemaVersion": 1,
            "displayTimeUnit": "ms",
            "traceEvents": [
                {
                    "ph": "X",
                    "cat": "user_annotation",
                    "name": e.name,
                    "pid": pid,
                    "tid": e.thread,
                    "ts": round(e.start, 3),
                    "dur": round(e.cpu_time_total, 3),
                }
                for e in events
            ],
        },
        out,
    )


# ---- recording ----


class _Recorder:
    """The events of all threads while it is the recorder; each thread has a stack of open ones."""

    def __init__(self) -> None:
        self.events = EventList()
        self._open = threading.local()

    def push(self, name: str) -> FunctionEvent:
        event = FunctionEvent(name, threading.get_native_id(), time.perf_counter_ns() / 1e3)
        stack = self._open.__dict__.setdefault("stack", [])
        if stack:
            stack[-1].cpu_children.append(event)
        stack.append(event)
        self.events.append(event)
        return event

    def pop(self, event: FunctionEvent) -> None:
        event.cpu_time_total = time.perf_counter_ns() / 1e3 - event.start
        stack = self._open.__dict__.get("stack", [])
        while stack and stack.pop() is not event:  # what an exception left open ends here
            pass


_active: _Recorder | None = None


class record_function:
    """A block (or function, as a decorator) with a name of its own in the profile."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self._event: FunctionEvent | None = None
        self._recorder: _Recorder | None = None

    def __enter__(self) -> record_function:
        self._recorder = _active
        if self._recorder is not None:
            self._event = self._recorder.push(self.name)
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._recorder is not None and self._event is not None:
            self._recorder.pop(self._event)
            self._event = None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import functools

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return run


def _watch_modules(recorder: _Recorder) -> list[Any]:
    """Hooks of all modules and optimizers; the handles that take them off."""
    from gradstep.nn.modules import module as modules
    from gradstep.optim import optimizer as optimizers

    open_events: dict[int, list[FunctionEvent]] = {}

    def before(module: Any, *args: Any) -> None:
        kind = type(module).__name__
        name = (
            f"Optimizer.step#{kind}.step"
            if isinstance(module, optimizers.Optimizer)
            else f"nn.Module: {kind}"
        )
        key = hash((id(module), threading.get_ident()))
        open_events.setdefault(key, []).append(recorder.push(name))

    def after(module: Any, *args: Any) -> None:
        stack = open_events.get(hash((id(module), threading.get_ident())))
        if stack:
            recorder.pop(stack.pop())

    return [
        modules.register_module_forward_pre_hook(before),
        modules.register_module_forward_hook(after, always_call=True),
        optimizers.register_optimizer_step_pre_hook(before),
        optimizers.register_optimizer_step_post_hook(after),
    ]


# ---- the profiler ----


class profile:
    """profile(*, activities=None, schedule=None, on_trace_ready=None, record_shapes=False, profile_memory=False,
    with_stack=False, with_flops=False, with_modules=False, ..)

    Without a schedule the whole block is recorded. With one, step() ends a step, and on_trace_ready(self) is called at
    the end of each recorded part. What asks for shapes, memory, stacks or flops is accepted and adds nothing.
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
        custom_trace_id_callback: Any = None,
        post_processing_timeout_s: float | None = None,
    ) -> None:
        self.activities = set(activities) if activities is not None else supported_activities()
        if not self.activities:
            raise AssertionError("No valid profiler activities found")
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self._annotates = schedule is not None
        self.current_action = self.schedule(0)
        self._recorder: _Recorder | None = None
        self._last = EventList()
        self._handles: list[Any] = []
        self._step_event: FunctionEvent | None = None

    # ---- start and end ----

    def start(self) -> None:
        """What `with` does."""
        self._begin()

    def stop(self) -> None:
        """Ends the recording; on_trace_ready is called if something was recorded."""
        recording = self._recorder is not None
        self._end()
        if recording and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    def _begin(self) -> None:
        global _active
        wanted = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if wanted and self._recorder is None:
            if _active is not None:
                raise RuntimeError("Profiler is already enabled on this thread")
            self._recorder = _active = _Recorder()
            self._handles = _watch_modules(self._recorder)
        if self._recorder is not None and self._annotates:
            self._step_event = self._recorder.push(f"ProfilerStep#{self.step_num}")

    def _end(self) -> None:
        global _active
        if self._recorder is None:
            return
        for handle in self._handles:
            handle.remove()
        self._last = self._recorder.events
        self._recorder = _active = None

    def _end_step(self) -> None:
        if self._recorder is not None and self._step_event is not None:
            self._recorder.pop(self._step_event)
        self._step_event = None

    def step(self) -> None:
        """The end of a step of the loop."""
        self._end_step()
        done = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        stops = self.current_action in (ProfilerAction.NONE, ProfilerAction.WARMUP)
        if done is ProfilerAction.RECORD_AND_SAVE or done is ProfilerAction.RECORD and stops:
            self.stop()
        self._begin()

    # ---- results ----

    def events(self) -> EventList:
        """What was recorded last (or so far)."""
        return self._recorder.events if self._recorder is not None else self._last

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """One entry for each name."""
        return self.events().key_averages()

    def export_chrome_trace(self, path: str) -> None:
        """Writes the trace, compressed if the path ends in .gz."""
        import gzip

        if path.endswith(".gz"):
            with gzip.open(path, "wt") as f:
                _write_trace(self.events(), f)
        else:
            self.events().export_chrome_trace(path)

    def add_metadata(self, key: str, value: str) -> None:
        """Accepted."""

    def add_metadata_json(self, key: str, value: str) -> None:
        """Accepted."""


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """on_trace_ready that writes each trace into the folder."""

    def handle(prof: Any) -> None:
        import socket

        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle
