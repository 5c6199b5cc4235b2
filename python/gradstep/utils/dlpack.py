# SPDX-License-Identifier: Apache-2.0
"""Tensors shared with other libraries by DLPack.

>>> from_dlpack(to_dlpack(gradstep.arange(3)))
tensor([0, 1, 2])
"""

from __future__ import annotations

from typing import Any

from gradstep._C import Tensor, from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule for from_dlpack() of another library, which takes it once."""
    return tensor.__dlpack__()
