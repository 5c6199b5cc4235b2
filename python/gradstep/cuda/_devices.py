# SPDX-License-Identifier: Apache-2.0
"""What torch.cuda's functions take as a device."""

from __future__ import annotations

from typing import Any

from gradstep import _C


def index_of(device: Any, optional: bool = False) -> int:
    """The number of a GPU given as a number, a string or a torch.device.

    "cuda" and, where that is allowed, None are the current one. Raises where there is no CUDA.
    """
    _C._cuda_init()
    if device is None:
        if not optional:
            raise ValueError(
                f"Expected a torch.device with a specified index or an integer, but got:{device}"
            )
        return int(_C._cuda_current_device())
    if isinstance(device, int):
        return device
    device = _C.device(device)
    if device.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {device}")
    return int(_C._cuda_current_device() if device.index is None else device.index)
