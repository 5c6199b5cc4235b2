# SPDX-License-Identifier: Apache-2.0
"""The accelerator of this machine, if there is one: CUDA under names that are nobody's."""

from __future__ import annotations

from typing import Any

from gradstep import _C, cuda

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]


def is_available() -> bool:
    """True if there is a GPU."""
    return cuda.is_available()


def device_count() -> int:
    """The number of GPUs."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> _C.device | None:
    """device("cuda"), or None without a GPU."""
    return _C.device("cuda") if cuda.is_available() else None


def _need() -> None:
    if not cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index() -> int:
    """The GPU that is used where none is named."""
    _need()
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Chooses it."""
    _need()
    cuda.set_device(device)


current_device_idx = current_device_index
set_device_idx = set_device_index


def current_stream(device: Any = None) -> Any:
    """The stream that launches go to."""
    _need()
    return cuda.current_stream(device)


def set_stream(stream: Any) -> None:
    """Chooses it."""
    _need()
    cuda.set_stream(stream)


def synchronize(device: Any = None) -> None:
    """Waits for the GPU."""
    _need()
    cuda.synchronize(device)


class device_index:
    """Another GPU within the block; None changes nothing."""

    def __init__(self, device: int | None) -> None:
        self.idx = device
        self.before = 0

    def __enter__(self) -> None:
        if self.idx is not None:
            self.before = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *exc: Any) -> None:
        if self.idx is not None:
            set_device_index(self.before)


def empty_cache() -> None:
    """Gives unused memory back; nothing without a GPU."""
    if cuda.is_available():
        cuda.empty_cache()


def memory_allocated(device_index: Any = None) -> int:
    """Bytes of tensors."""
    return cuda.memory_allocated(device_index)


def max_memory_allocated(device_index: Any = None) -> int:
    """The most that it was."""
    return cuda.max_memory_allocated(device_index)


def memory_reserved(device_index: Any = None) -> int:
    """Bytes that are held."""
    return cuda.memory_reserved(device_index)


def max_memory_reserved(device_index: Any = None) -> int:
    """The most that it was."""
    return cuda.max_memory_reserved(device_index)


def memory_stats(device_index: Any = None) -> Any:
    """All figures."""
    return cuda.memory_stats(device_index)


def reset_peak_memory_stats(device_index: Any = None) -> None:
    """The most is what is there now."""
    cuda.reset_peak_memory_stats(device_index)
