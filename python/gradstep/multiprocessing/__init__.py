# SPDX-License-Identifier: Apache-2.0
"""Python's multiprocessing, which sends tensors by value, or as shared memory after share_memory_().

mp.spawn(train, args=(model.share_memory(),), nprocs=2)
"""

import multiprocessing as _python
from multiprocessing import *  # noqa: F403
from typing import Any

from . import reductions
from .spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [
    *_python.__all__,  # type: ignore[attr-defined]
    "ProcessContext",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

_strategy = "file_descriptor"
reductions.init_reductions()


def get_all_sharing_strategies() -> set[str]:
    """{"file_descriptor", "file_system"}"""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """What set_sharing_strategy() chose."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted: memory is shared by file descriptors, of which each shared tensor holds one."""
    global _strategy
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(f"{new_strategy} is not one of {get_all_sharing_strategies()}")
    _strategy = new_strategy


def __getattr__(name: str) -> Any:
    return getattr(_python, name)
