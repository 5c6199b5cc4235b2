# SPDX-License-Identifier: Apache-2.0
"""What a profiler saw: events that know their children, averages by name, tables, traces.

Names are those of gradstep's ops ("addmm", "multi_adam"); ranges are those of record_function.
Times are in microseconds, memory in bytes.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval", "to_chrome_trace"]


class Interval(NamedTuple):
    """From start to end, microseconds since the profiler was started."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        return self.end - self.start


class _Times:
    """What an event and an average of events have in common."""

    key: str
    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    device_time_total: float
    self_device_time_total: float

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        return self.device_time_total / self.count if self.count else 0.0

    @property
    def cuda_time(self) -> float:
        return self.device_time

    @property
    def cuda_time_total(self) -> float:
        return self.device_time_total

    @property
    def self_cuda_time_total(self) -> float:
        return self.self_device_time_total

    @property
    def cpu_time_str(self) -> str:
        return format_time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        return format_time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        return format_time(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """One launch, or one range of record_function (`is_user_annotation`)."""

    def __init__(self, id: int, row: tuple[Any, ...], epoch: int) -> None:
        name, start, end, thread, launch, memory, shapes, stack, device, gpu_start, gpu_end = row
        self.id = id
        self.name = self.key = name
        self.count = 1
        self.time_range = Interval((start - epoch) / 1e3, (end - epoch) / 1e3)
        self.thread = thread
        self.is_user_annotation = not launch
        self.is_async = False
        self.cpu_memory_usage = memory
        self.device_memory_usage = 0
        self.input_shapes = [list(s) for s in shapes]
        self.stack = list(stack)
        self.device_index = device
        self.device_range = Interval((gpu_start - epoch) / 1e3, (gpu_end - epoch) / 1e3)
        self.own_device_time = (gpu_end - gpu_start) / 1e3
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:  # type: ignore[override]
        return self.cpu_time_total - sum(c.cpu_time_total for c in self.cpu_children)

    @property
    def device_time_total(self) -> float:  # type: ignore[override]
        return self.own_device_time + sum(c.device_time_total for c in self.cpu_children)

    @property
    def self_device_time_total(self) -> float:  # type: ignore[override]
        return self.own_device_time

    @property
    def self_cpu_memory_usage(self) -> int:
        return int(self.cpu_memory_usage - sum(c.cpu_memory_usage for c in self.cpu_children))

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"thread={self.thread} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(_Times):
    """Events of one name (and shapes or lines, if grouped by them): sums and averages."""

    def __init__(self) -> None:
        self.key = ""
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.device_time_total = self.self_device_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.input_shapes: Any = ""
        self.stack: list[str] = []
        self.is_user_annotation = False

    def add(self, other: Any) -> FunctionEventAvg:
        """Takes an event, or another average, into the sums."""
        if not self.key:
            self.key = other.key
            self.input_shapes = other.input_shapes
            self.stack = other.stack
            self.is_user_annotation = other.is_user_annotation
        for name in (
            "count",
            "cpu_time_total",
            "self_cpu_time_total",
            "device_time_total",
            "self_device_time_total",
            "cpu_memory_usage",
            "self_cpu_memory_usage",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def __iadd__(self, other: Any) -> FunctionEventAvg:
        return self.add(other)

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} input_shapes={self.input_shapes}>"
        )


def events_of(rows: Iterable[tuple[Any, ...]], epoch: int) -> list[FunctionEvent]:
    """Events in the order of their starts, each with its parent: the innermost around it."""
    events = [FunctionEvent(i, row, epoch) for i, row in enumerate(rows)]
    events.sort(key=lambda e: (e.time_range.start, -e.time_range.end, e.id))
    running: dict[int, list[FunctionEvent]] = {}
    for e in events:
        stack = running.setdefault(e.thread, [])
        while stack and stack[-1].time_range.end < e.time_range.end:
            stack.pop()
        if stack:
            e.cpu_parent = stack[-1]
            stack[-1].cpu_children.append(e)
        stack.append(e)
    return events


# ---- text ----


def format_time(us: float) -> str:
    """12.000us, 1.200ms, 1.200s"""
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def format_memory(n: float) -> str:
    """12 B, 1.20 KB"""
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(n) >= size:
            return f"{n / size:.2f} {unit}"
    return f"{int(n)} B"


def _share(part: float, whole: float) -> str:
    return f"{part / whole * 100:.2f}%" if whole else "NaN"


_SORT_NAMES = {
    name.replace("device", "cuda"): name
    for name in ("device_time", "device_time_total", "self_device_time_total")
}
_SORTABLE = (
    "cpu_time",
    "cpu_time_total",
    "self_cpu_time_total",
    "cpu_memory_usage",
    "self_cpu_memory_usage",
    "device_time",
    "device_time_total",
    "self_device_time_total",
    "count",
)


class EventList(list[Any]):
    """Events or averages of them."""

    def __init__(
        self, events: Iterable[Any] = (), *, memory: bool = False, shapes: bool = False
    ) -> None:
        super().__init__(events)
        self._memory, self._shapes = memory, shapes

    @property
    def self_cpu_time_total(self) -> float:
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(
        self,
        group_by_input_shapes: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """Averages by name, and by shapes or the innermost n lines of Python where asked."""
        found: dict[Any, FunctionEventAvg] = {}
        for e in self:
            key: tuple[Any, ...] = (e.key, e.is_user_annotation)
            if group_by_input_shapes:
                key += (str(e.input_shapes),)
            if group_by_stack_n > 0:
                key += tuple(e.stack[:group_by_stack_n])
            found.setdefault(key, FunctionEventAvg()).add(e)
        for average in found.values():
            if not group_by_input_shapes:
                average.input_shapes = ""
            average.stack = average.stack[:group_by_stack_n]
        return EventList(found.values(), memory=self._memory, shapes=group_by_input_shapes)

    def total_average(self) -> FunctionEventAvg:
        """All events as one."""
        total = FunctionEventAvg()
        for e in self:
            total += e
        total.key = "Total"
        return total

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
        """A table of the events, the largest `sort_by` first."""
        if len(self) == 0:
            return ""
        rows = [e for e in self if not top_level_events_only or getattr(e, "cpu_parent", 1) is None]
        if sort_by is not None:
            name = _SORT_NAMES.get(sort_by, sort_by)
            if name not in _SORTABLE:
                raise AttributeError(
                    f"cannot sort by '{sort_by}'; valid are {', '.join(_SORTABLE)}"
                )
            rows.sort(key=lambda e: getattr(e, name), reverse=True)
        cpu = sum(e.self_cpu_time_total for e in self)
        gpu = sum(e.self_device_time_total for e in self)
        columns: list[tuple[str, Callable[[Any], str]]] = [
            ("Name", lambda e: _cut(e.key, max_name_column_width)),
            ("Self CPU %", lambda e: _share(e.self_cpu_time_total, cpu)),
            ("Self CPU", lambda e: format_time(e.self_cpu_time_total)),
            ("CPU total %", lambda e: _share(e.cpu_time_total, cpu)),
            ("CPU total", lambda e: format_time(e.cpu_time_total)),
            ("CPU time avg", lambda e: format_time(e.cpu_time)),
        ]
        if gpu:
            columns += [
                ("Self CUDA", lambda e: format_time(e.self_device_time_total)),
                ("Self CUDA %", lambda e: _share(e.self_device_time_total, gpu)),
                ("CUDA total", lambda e: format_time(e.device_time_total)),
                ("CUDA time avg", lambda e: format_time(e.device_time)),
            ]
        if self._memory:
            columns += [
                ("CPU Mem", lambda e: format_memory(e.cpu_memory_usage)),
                ("Self CPU Mem", lambda e: format_memory(e.self_cpu_memory_usage)),
            ]
        columns.append(("# of Calls", lambda e: str(e.count)))
        if self._shapes:
            columns.append(
                ("Input Shapes", lambda e: _cut(str(e.input_shapes), max_shapes_column_width))
            )
        if any(e.stack for e in rows):
            columns.append(
                (
                    "Source Location",
                    lambda e: _cut(e.stack[0] if e.stack else "", max_src_column_width),
                )
            )
        cells = [[cell(e) for _, cell in columns] for e in rows[:row_limit]]
        widths = [
            max(len(title), *(len(row[k]) for row in cells)) for k, (title, _) in enumerate(columns)
        ]
        line = "  ".join("-" * w for w in widths)
        text = [header] if header else []
        text += [line, "  ".join(t.rjust(w) for (t, _), w in zip(columns, widths, strict=True))]
        text.append(line)
        text += ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        text += [line, f"Self CPU time total: {format_time(cpu)}"]
        if gpu:
            text.append(f"Self CUDA time total: {format_time(gpu)}")
        return "\n".join(text) + "\n"

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str) -> None:
        """Writes a trace that chrome://tracing and Perfetto open."""
        to_chrome_trace(self, path, {})

    def export_stacks(self, path: str, metric: str) -> None:
        """Writes lines of Python with what they cost, for a flame graph: "f1;f2;f3 123"."""
        if metric not in ("self_cpu_time_total", "self_cuda_time_total", "self_device_time_total"):
            raise ValueError("metric should be one of: self_cpu_time_total, self_cuda_time_total")
        with open(path, "w") as f:
            for e in self:
                value = int(getattr(e, metric))
                if e.stack and value > 0:
                    frames = (s.translate(str.maketrans(" ;\t\n", "____")) for s in e.stack)
                    f.write(";".join(reversed(list(frames))) + f" {value}\n")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


# ---- traces ----


def to_chrome_trace(events: Iterable[Any], path: str, metadata: dict[str, Any]) -> None:
    """Writes events in Chrome's trace format (JSON, compressed if the path ends with .gz)."""
    pid = os.getpid()
    out: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": "python"}}
    ]
    devices = set()
    for e in events:
        args: dict[str, Any] = {"Ev Idx": e.id}
        if e.input_shapes:
            args["Input Dims"] = e.input_shapes
        if e.stack:
            args["Call stack"] = ";".join(e.stack)
        if e.cpu_memory_usage:
            args["Bytes"] = e.cpu_memory_usage
        out.append(
            {
                "ph": "X",
                "cat": "user_annotation" if e.is_user_annotation else "cpu_op",
                "name": e.name,
                "pid": pid,
                "tid": e.thread,
                "ts": e.time_range.start,
                "dur": e.time_range.elapsed_us(),
                "args": args,
            }
        )
        if e.own_device_time > 0:
            devices.add(e.device_index)
            out.append(
                {
                    "ph": "X",
                    "cat": "kernel",
                    "name": e.name,
                    "pid": e.device_index,
                    "tid": 0,
                    "ts": e.device_range.start,
                    "dur": e.own_device_time,
                    "args": {"device": e.device_index, "Ev Idx": e.id},
                }
            )
    out += [
        {"ph": "M", "name": "process_name", "pid": d, "tid": 0, "args": {"name": f"GPU {d}"}}
        for d in sorted(devices)
    ]
    document = {
        "schemaVersion": 1,
        "displayTimeUnit": "ms",
        "traceName": path,
        **metadata,
        "traceEvents": out,
    }
    opened: Any = gzip.open(path, "wt") if path.endswith(".gz") else open(path, "w")
    with opened as f:
        json.dump(document, f)
