# SPDX-License-Identifier: Apache-2.0
"""DataParallel: here the batch is not divided, and the module runs on the first device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

from ..modules.module import Module
from .scatter_gather import device_of

__all__ = ["DataParallel", "data_parallel"]


def moved(value: Any, device: Any) -> Any:
    """The structure with its tensors on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(v, device) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(moved(v, device) for v in value)
    if isinstance(value, dict):
        return type(value)((k, moved(v, device)) for k, v in value.items())
    return value


def _devices(device_ids: Sequence[Any] | None) -> list[int]:
    from gradstep import cuda

    if not cuda.is_available():
        return []
    if device_ids is None:
        return list(range(cuda.device_count()))
    return [device_of(d).index or 0 for d in device_ids]


class DataParallel(Module):
    """DataParallel(module, device_ids=None, output_device=None, dim=0)

    The module under the name `module`, as PyTorch's wrapper shows it. PyTorch divides a batch among the GPUs; here the
    first of them takes all of it, which gives the same results. Without a GPU it is the module alone.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.module = module
        self.device_ids = _devices(device_ids)
        if not self.device_ids:
            return
        self.output_device = device_of(
            self.device_ids[0] if output_device is None else output_device
        ).index
        self.src_device_obj = _C.device("cuda", self.device_ids[0])
        self.module.to(self.src_device_obj)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.device != self.src_device_obj:
                raise RuntimeError(
                    "module must have its parameters and buffers on device "
                    f"{self.src_device_obj} (device_ids[0]) but found one of them on device: {tensor.device}"
                )
        out = self.module(*moved(inputs, self.src_device_obj), **moved(kwargs, self.src_device_obj))
        return moved(out, _C.device("cuda", self.output_device))


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """DataParallel(module, ..)(*inputs, **module_kwargs)"""
    if not isinstance(inputs, tuple):
        inputs = (inputs,) if inputs is not None else ()
    return DataParallel(module, device_ids, output_device, dim)(*inputs, **(module_kwargs or {}))
