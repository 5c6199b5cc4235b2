# SPDX-License-Identifier: Apache-2.0
"""How much memory of a GPU is in use. Freed blocks stay with the process: see empty_cache()."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from gradstep import _C

from ._devices import index_of


def _figures(device: Any) -> dict[str, int]:
    """Nothing before CUDA is in use."""
    return _C._cuda_memory(index_of(device, optional=True)) if _C._cuda_is_initialized() else {}


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors use."""
    return _figures(device).get("allocated", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors used at once since the start or reset_peak_memory_stats()."""
    return _figures(device).get("peak_allocated", 0)


def memory_reserved(device: Any = None) -> int:
    """Bytes that tensors use or that are kept for them."""
    return _figures(device).get("reserved", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that were reserved at once since the start or reset_peak_memory_stats()."""
    return _figures(device).get("peak_reserved", 0)


memory_cached = memory_reserved
max_memory_cached = max_memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Starts the max_.. functions anew, from what is in use now."""
    if _C._cuda_is_initialized():
        _C._cuda_reset_peak(index_of(device, optional=True))


reset_max_memory_allocated = reset_peak_memory_stats
reset_max_memory_cached = reset_peak_memory_stats


def memory_stats(device: Any = None) -> dict[str, int]:
    """The figures under PyTorch's names, as far as they are counted; empty before CUDA is in use."""
    m = _figures(device)
    if not m:
        return OrderedDict()
    return OrderedDict(
        {
            "allocated_bytes.all.current": m["allocated"],
            "allocated_bytes.all.peak": m["peak_allocated"],
            "allocation.all.allocated": m["n_allocations"],
            "allocation.all.current": m["n_allocations"] - m["n_frees"],
            "allocation.all.freed": m["n_frees"],
            "num_alloc_retries": m["n_retries"],
            "num_ooms": m["n_failures"],
            "reserved_bytes.all.current": m["reserved"],
            "reserved_bytes.all.peak": m["peak_reserved"],
        }
    )


def _size(n: int) -> str:
    size, unit = float(n), 0
    while size >= 1024 and unit < 3:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.2f} {('KiB', 'MiB', 'GiB')[unit - 1]}"


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of the figures, to print."""
    m = _C._cuda_memory(index_of(device, optional=True))
    rows = [
        ("Allocated memory", _size(m["allocated"]), _size(m["peak_allocated"])),
        ("Reserved memory", _size(m["reserved"]), _size(m["peak_reserved"])),
    ]
    head = f"CUDA memory of device {index_of(device, optional=True)}"
    counts = f"CUDA OOMs: {m['n_failures']}   cudaMalloc retries: {m['n_retries']}"
    calls = f"Allocations: {m['n_allocations']}, freed: {m['n_frees']}"
    lines = [f" {head:<50} ", f" {counts:<50} ", f" {calls:<50} "]
    lines += [f" {'':<18}{'now':>16}{'peak':>16} "]
    lines += [f" {name:<18}{now:>16}{peak:>16} " for name, now, peak in rows]
    bar = "=" * 54
    return "\n".join([f"|{bar}|", *(f"|{line:<54}|" for line in lines), f"|{bar}|"])


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """memory_stats() with a dictionary for each part of the names."""
    nested: dict[str, Any] = {}
    for name, value in memory_stats(device).items():
        *parts, last = name.split(".")
        inside = nested
        for part in parts:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return nested


def get_allocator_backend() -> str:
    """PyTorch's name for an allocator of the library's own."""
    return "native"


def device_memory_used(device: Any = None) -> int:
    """Bytes of the GPU in use, all processes counted."""
    free, total = mem_get_info(device)
    return total - free


def empty_cache() -> None:
    """Gives the memory that no tensor uses back to the driver, for other processes."""
    _C._cuda_empty_cache()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of the GPU, all processes counted."""
    free, total = _C._cuda_memory_info(index_of(device, optional=True))
    return free, total
