# SPDX-License-Identifier: Apache-2.0
"""Types for annotations, with the names that torch.types has."""

import builtins
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Size, Tensor

_TensorOrTensors = Tensor | Sequence[Tensor]
_TensorOrTensorsOrGradEdge = Tensor | Sequence[Tensor] | Any
_int = builtins.int
_float = builtins.float
_bool = builtins.bool
_complex = builtins.complex
_dtype = _C.dtype
_device = _C.device
_layout = _C.layout
_size = Size | list[int] | tuple[int, ...]
Number = int | float | bool
Device = _C.device | str | int | None

__all__ = ["Device", "Number"]
