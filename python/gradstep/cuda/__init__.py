# SPDX-License-Identifier: Apache-2.0
"""CUDA's names, answered sensibly by a build without a CUDA part."""

from typing import Any

from . import amp  # noqa: F401

_MESSAGE = "Found no NVIDIA driver on your system, or this build of gradstep has no CUDA part. Use device='cpu'."


class OutOfMemoryError(RuntimeError):
    """Raised when a GPU has no memory left."""


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def is_initialized() -> bool:
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    return False


def init() -> None:
    raise RuntimeError(_MESSAGE)


def current_device() -> int:
    raise RuntimeError(_MESSAGE)


def get_device_name(device: Any = None) -> str:
    raise RuntimeError(_MESSAGE)


def get_device_properties(device: Any = None) -> Any:
    raise RuntimeError(_MESSAGE)


def set_device(device: Any) -> None:
    raise RuntimeError(_MESSAGE)


def synchronize(device: Any = None) -> None:
    raise RuntimeError(_MESSAGE)


def empty_cache() -> None:
    """Nothing is cached without a GPU."""


def manual_seed(seed: int) -> None:
    """Without a GPU there is no generator to seed; ignored, as in PyTorch."""


def manual_seed_all(seed: int) -> None:
    """As manual_seed."""


def memory_allocated(device: Any = None) -> int:
    return 0


def max_memory_allocated(device: Any = None) -> int:
    return 0


def memory_reserved(device: Any = None) -> int:
    return 0


def max_memory_reserved(device: Any = None) -> int:
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing to reset without a GPU."""
