# SPDX-License-Identifier: Apache-2.0
"""Says to NVIDIA's profilers what to look at: nsys profile --capture-range=cudaProfilerApi."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

from gradstep import _C

__all__ = ["profile", "start", "stop"]


def _call(name: str) -> int:
    _C._cuda_init()
    try:
        return int(getattr(ctypes.CDLL("libcuda.so.1"), name)())
    except OSError:  # an emulated GPU
        return 0


def start() -> int:
    """The profiler collects from here on."""
    return _call("cuProfilerStart")


def stop() -> int:
    """The profiler collects no more."""
    return _call("cuProfilerStop")


@contextlib.contextmanager
def profile() -> Iterator[None]:
    """The profiler collects what the block does."""
    start()
    try:
        yield
    finally:
        stop()
