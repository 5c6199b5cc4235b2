# SPDX-License-Identifier: Apache-2.0
"""The profiler under its old names: `with torch.autograd.profiler.profile() as prof: ..`."""

from __future__ import annotations

from typing import Any

from gradstep.profiler.events import EventList, FunctionEvent, FunctionEventAvg, to_chrome_trace
from gradstep.profiler.profiler import Collector, record_function

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "emit_nvtx",
    "profile",
    "record_function",
]


class profile:
    """Records launches and ranges within its block; `enabled=False` does nothing."""

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = True,
        use_cpu: bool = True,
        **kwargs: Any,
    ) -> None:
        self.enabled = enabled
        self._collector = Collector(
            record_shapes, profile_memory, with_stack, use_cuda or use_device == "cuda"
        )
        self.function_events: EventList | None = None

    def __enter__(self) -> profile | None:
        if not self.enabled:
            return None
        if self.function_events is not None:
            raise RuntimeError("Profiler context manager is not reentrant")
        self._collector.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            self.function_events = self._collector.stop()

    def _found(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def __str__(self) -> str:
        return str(self._found()) if self.function_events is not None else "<unfinished profile>"

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The table of all events."""
        return self._found().table(*args, **kwargs)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **kwargs: Any
    ) -> EventList:
        """Averages by name."""
        return self._found().key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> FunctionEventAvg:
        """All events as one."""
        return self._found().total_average()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds in all events, without counting any twice."""
        return self._found().self_cpu_time_total

    def export_chrome_trace(self, path: str) -> None:
        """Writes a trace that chrome://tracing and Perfetto open."""
        to_chrome_trace(self._found(), path, {})

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Writes lines of Python with what they cost."""
        self._found().export_stacks(path, metric)


class emit_nvtx:
    """Accepted for PyTorch's sake: marks reach no profiler here."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled = enabled

    def __enter__(self) -> emit_nvtx:
        return self

    def __exit__(self, *exc: object) -> None:
        pass
