# SPDX-License-Identifier: Apache-2.0
"""The older form of torch.profiler."""

from __future__ import annotations

from typing import Any

from gradstep.profiler import profiler as _profiler
from gradstep.profiler.profiler import EventList, FunctionEvent, FunctionEventAvg, record_function

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "profile", "record_function"]


class profile:
    """profile(enabled=True, ..): records the block; what asks for shapes, stacks or a GPU's times adds nothing."""

    def __init__(self, enabled: bool = True, **kwargs: Any) -> None:
        known = (
            "use_cuda use_device record_shapes with_flops profile_memory with_stack with_modules use_kineto use_cpu "
            "experimental_config acc_events custom_trace_id_callback post_processing_timeout_s"
        ).split()
        for name in kwargs:
            if name not in known:
                raise TypeError(f"profile() got an unexpected keyword argument {name!r}")
        self.enabled = enabled
        self._profile = _profiler.profile()

    def __enter__(self) -> profile:
        if self.enabled:
            self._profile.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.enabled:
            self._profile.stop()

    @property
    def function_events(self) -> EventList:
        return self._profile.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds."""
        return self._profile.events().self_cpu_time_total

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        return self._profile.key_averages()

    def total_average(self) -> FunctionEventAvg:
        return self._profile.events().total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        return self._profile.events().table(*args, **kwargs)

    def export_chrome_trace(self, path: str) -> None:
        self._profile.export_chrome_trace(path)

    def __str__(self) -> str:
        return str(self._profile.events())
