# SPDX-License-Identifier: Apache-2.0
"""Where the time goes: `with profile() as prof: ..`, `print(prof.key_averages().table())`.

It looks on at launches (the one place that all kernels pass) and costs nothing while it is off.
"""

from .events import EventList, FunctionEvent, FunctionEventAvg
from .profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


def kineto_available() -> bool:
    """True: traces can be recorded."""
    return True
