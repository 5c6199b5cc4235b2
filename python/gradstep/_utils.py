# SPDX-License-Identifier: Apache-2.0
"""Helpers that training code takes from torch._utils."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor


def _flatten_dense_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """One 1-d tensor of all elements."""
    return _C.cat([t.contiguous().view(-1) for t in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of `flat` with the shapes of the tensors."""
    out, at = [], 0
    for t in tensors:
        out.append(flat.narrow(0, at, t.numel()).view(t.shape))
        at += t.numel()
    return tuple(out)


def _element_size(dtype: Any) -> int:
    """Bytes of an element."""
    return int(dtype.itemsize)


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The index of a device, a name or an index; with `optional`, the current one's for None."""
    if isinstance(device, int):
        return device
    if device is None:
        if not optional:
            raise ValueError(
                "Expected a torch.device with a specified index or an integer, but got:None"
            )
        from gradstep import cuda

        return cuda.current_device() if cuda.is_available() else -1
    device = _C.device(device)
    if device.type == "cpu":
        if not allow_cpu:
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        return -1
    index = device.index
    if index is None:
        if not optional:
            raise ValueError(
                f"Expected a torch.device with a specified index or an integer, but got:{device}"
            )
        from gradstep import cuda

        return cuda.current_device()
    return int(index)
