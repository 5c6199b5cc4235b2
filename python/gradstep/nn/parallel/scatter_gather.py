# SPDX-License-Identifier: Apache-2.0
"""scatter() cuts tensors into a part for each device, gather() joins them again; both look into lists, tuples and dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

__all__ = ["gather", "scatter", "scatter_kwargs"]


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def device_of(target: Any) -> Any:
    """A device from an index, a name or a device."""
    return _C.device("cuda", target) if isinstance(target, int) else _C.device(target)


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """One copy of the structure for each device: tensors are cut along dim, other things are shared."""
    n = len(target_gpus)
    if isinstance(inputs, Tensor):
        parts = inputs.chunk(n, dim)
        return tuple(p.to(device_of(d)) for p, d in zip(parts, target_gpus))
    if _is_namedtuple(inputs):
        return [
            type(inputs)(*args) for args in zip(*(scatter(x, target_gpus, dim) for x in inputs))
        ]
    if isinstance(inputs, tuple) and inputs:
        return list(zip(*(scatter(x, target_gpus, dim) for x in inputs)))
    if isinstance(inputs, list) and inputs:
        return [list(i) for i in zip(*(scatter(x, target_gpus, dim) for x in inputs))]
    if isinstance(inputs, dict) and inputs:
        values = (scatter(x, target_gpus, dim) for x in inputs.values())
        return [type(inputs)(zip(inputs, i)) for i in zip(*values)]
    return [inputs for _ in target_gpus]


def scatter_kwargs(
    inputs: tuple[Any, ...], kwargs: dict[str, Any] | None, target_gpus: Sequence[Any], dim: int = 0
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Positional and keyword arguments for each device."""
    args: list[Any] = list(scatter(inputs, target_gpus, dim)) if inputs else []
    named: list[Any] = list(scatter(kwargs, target_gpus, dim)) if kwargs else []
    args += [()] * (len(named) - len(args))
    named += [{}] * (len(args) - len(named))
    return tuple(args), tuple(named)


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """Joins the outputs of the devices along dim, on target_device (-1 is the CPU)."""
    first = outputs[0]
    if isinstance(first, Tensor):
        device = _C.device("cpu") if target_device == -1 else device_of(target_device)
        if all(t.dim() == 0 for t in outputs):
            return _C.stack([t.to(device) for t in outputs])
        return _C.cat([t.to(device) for t in outputs], dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if not all(len(first) == len(d) for d in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((k, gather([d[k] for d in outputs], target_device, dim)) for k in first)
    parts = (gather(list(i), target_device, dim) for i in zip(*outputs))
    return type(first)(*parts) if _is_namedtuple(first) else type(first)(parts)
