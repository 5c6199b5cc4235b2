# SPDX-License-Identifier: Apache-2.0
"""GPUs: devices, streams, memory. Nothing of CUDA is loaded before a GPU is asked for.

>>> torch.cuda.is_available()  # doctest: +SKIP
True
>>> x = torch.randn(1000, 1000, device="cuda")  # doctest: +SKIP
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gradstep import _C

from .._legacy import make_types as make_types
from . import amp as amp, nccl as nccl, nvtx as nvtx, profiler as profiler
from ._devices import index_of as index_of
from .graphs import (
    CUDAGraph as CUDAGraph,
    graph as graph,
    graph_pool_handle as graph_pool_handle,
    is_current_stream_capturing as is_current_stream_capturing,
)
from .memory import (
    device_memory_used as device_memory_used,
    empty_cache as empty_cache,
    get_allocator_backend as get_allocator_backend,
    max_memory_allocated as max_memory_allocated,
    max_memory_cached as max_memory_cached,
    max_memory_reserved as max_memory_reserved,
    mem_get_info as mem_get_info,
    memory_allocated as memory_allocated,
    memory_cached as memory_cached,
    memory_reserved as memory_reserved,
    memory_stats as memory_stats,
    memory_stats_as_nested_dict as memory_stats_as_nested_dict,
    memory_summary as memory_summary,
    reset_max_memory_allocated as reset_max_memory_allocated,
    reset_max_memory_cached as reset_max_memory_cached,
    reset_peak_memory_stats as reset_peak_memory_stats,
)
from .random import (
    default_generators as default_generators,
    get_rng_state as get_rng_state,
    get_rng_state_all as get_rng_state_all,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    manual_seed_all as manual_seed_all,
    seed as seed,
    seed_all as seed_all,
    set_rng_state as set_rng_state,
    set_rng_state_all as set_rng_state_all,
)
from .streams import (
    Event as Event,
    ExternalStream as ExternalStream,
    Stream as Stream,
    StreamContext as StreamContext,
    current_stream as current_stream,
    default_stream as default_stream,
    get_stream_from_external as get_stream_from_external,
    set_stream as set_stream,
    stream as stream,
)

OutOfMemoryError = _C.OutOfMemoryError
has_half, has_magma = True, False
globals().update(make_types("torch.cuda", "cuda"))  # FloatTensor and its kin


class CudaError(RuntimeError):
    """A call of CUDA's runtime that failed, by its number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"CUDA error {code} ({code})")


class DeferredCudaCallError(Exception):
    """Never raised: nothing waits for CUDA to be loaded."""


# ---- what is there ----


def is_available() -> bool:
    """True if there is a GPU that this build can use. Never raises."""
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs; 0 where none can be used."""
    return int(_C._cuda_device_count())


def init() -> None:
    """Loads the CUDA part; raises where there is none, no driver or no GPU."""
    _C._cuda_init()


def is_initialized() -> bool:
    """True once the CUDA part was loaded."""
    return bool(_C._cuda_is_initialized())


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """True if the current GPU computes with bfloat16."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


def is_tf32_supported() -> bool:
    """True if the current GPU's matrix units take float32 as TF32."""
    return is_available() and get_device_capability()[0] >= 8


def get_arch_list() -> list[str]:
    """What the CUDA part was compiled for: `["sm_80", "sm_90", "compute_90"]`."""
    build = _C._cuda_build()
    if not build or not is_available():
        return []
    codes: list[str] = []
    for arch in build[1].split():
        number, _, kind = arch.partition("-")
        codes += [f"sm_{number}"] * (kind != "virtual") + [f"compute_{number}"] * (kind != "real")
    return sorted(codes, key=lambda code: (code.startswith("compute"), code))


def get_gencode_flags() -> str:
    """nvcc's options for get_arch_list()."""
    flags = []
    for code in get_arch_list():
        kind, _, number = code.partition("_")
        flags.append(f"-gencode compute=compute_{number},code={kind}_{number}")
    return " ".join(flags)


def cudart() -> Any:
    """Some functions of CUDA's runtime, under their names."""
    _C._cuda_init()
    return SimpleNamespace(
        cudaProfilerStart=profiler.start,
        cudaProfilerStop=profiler.stop,
        cudaMemGetInfo=mem_get_info,
        cudaDeviceSynchronize=synchronize,
    )


# ---- the current device ----


def current_device() -> int:
    """The number of the current GPU."""
    return int(_C._cuda_current_device())


def set_device(device: Any) -> None:
    """Makes a GPU the current one; `with torch.cuda.device(d):` also goes back."""
    index = index_of(device)
    if index >= 0:
        _C._cuda_set_device(index)


class device:
    """Makes a GPU the current one in a `with` block: an index, a torch.device, a string or None (no change)."""

    def __init__(self, device: Any) -> None:
        self.idx = index_of(device, optional=True) if device is not None else -1
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = current_device()
            _C._cuda_set_device(self.idx)

    def __exit__(self, *exc: Any) -> None:
        if self.idx >= 0:
            _C._cuda_set_device(self.prev_idx)


class device_of(device):
    """The device of a tensor as the current one; no change for a tensor on the CPU."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else None)


def synchronize(device: Any = None) -> None:
    """Waits until the GPU is idle, and raises what its kernels found wrong."""
    _C._cuda_synchronize(index_of(device, optional=True))


# ---- properties ----


class _DeviceProperties(SimpleNamespace):
    """What a GPU is: name, major, minor, total_memory, multi_processor_count, .."""

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory >> 20}MB, "
            f"multi_processor_count={self.multi_processor_count}, "
            f"L2_cache_size={self.L2_cache_size >> 20}MB)"
        )


def get_device_properties(device: Any = None) -> Any:
    """The properties of a GPU, the current one by default."""
    index = index_of(device, optional=True)
    if index >= device_count():
        raise AssertionError("Invalid device id")
    return _DeviceProperties(**_C._cuda_properties(index))


def get_device_name(device: Any = None) -> str:
    """The name of a GPU."""
    return str(get_device_properties(device).name)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability: (9, 0) for an H100."""
    p = get_device_properties(device)
    return p.major, p.minor


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """False: copies between GPUs go through the driver."""
    for d in (device, peer_device):
        if not 0 <= index_of(d, optional=True) < device_count():
            raise AssertionError("Invalid device id")
    return False


def ipc_collect() -> None:
    """Accepted: memory is not shared between processes."""
