# SPDX-License-Identifier: Apache-2.0
"""Padding layers: (*, W) to (*, W + left + right), and so on for two and three dimensions.

Paddings are listed from the last dimension: (left, right, top, bottom, front, back).
"""

from __future__ import annotations

from typing import Any, ClassVar

from gradstep import _C
from gradstep._C import Tensor

from .module import Module


class _Pad(Module):
    __constants__ = ["padding"]
    _n: ClassVar[int]
    _mode: ClassVar[str]
    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        many = hasattr(padding, "__iter__")
        self.padding = tuple(padding) if many else (padding,) * (2 * self._n)

    def forward(self, input: Tensor) -> Tensor:
        return _C.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    __constants__ = ["padding", "value"]
    value: float

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return _C.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """ConstantPad1d(padding, value)

    Shape: (N, C, L) or (C, L) to the same with borders; padding is a number or 2 of them, the
    last axis first.
    """

    _n = 1


class ConstantPad2d(_ConstantPad):
    """ConstantPad2d(padding, value)

    Shape: (N, C, H, W) or (C, H, W) to the same with borders; padding is a number or 4 of them,
    the last axis first.
    """

    _n = 2


class ConstantPad3d(_ConstantPad):
    """ConstantPad3d(padding, value)

    Shape: (N, C, D, H, W) or (C, D, H, W) to the same with borders; padding is a number or 6 of
    them, the last axis first.
    """

    _n = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """ZeroPad1d(padding)

    Shape: (N, C, L) or (C, L) to the same with borders; padding is a number or 2 of them, the
    last axis first.
    """

    _n = 1


class ZeroPad2d(_ZeroPad):
    """ZeroPad2d(padding)

    Shape: (N, C, H, W) or (C, H, W) to the same with borders; padding is a number or 4 of them,
    the last axis first.

    >>> nn.ZeroPad2d(1)(gs.ones(1, 1, 2, 2)).shape
    torch.Size([1, 1, 4, 4])
    """

    _n = 2


class ZeroPad3d(_ZeroPad):
    """ZeroPad3d(padding)

    Shape: (N, C, D, H, W) or (C, D, H, W) to the same with borders; padding is a number or 6 of
    them, the last axis first.
    """

    _n = 3


class ReflectionPad1d(_Pad):
    """ReflectionPad1d(padding): mirrors at the border, without repeating it.

    Shape: (N, C, L) or (C, L) to the same with borders; padding is a number or 2 of them, the
    last axis first.
    Raises: RuntimeError where a border is not smaller than its axis.
    """

    _n = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """ReflectionPad2d(padding): mirrors at the border, without repeating it.

    Shape: (N, C, H, W) or (C, H, W) to the same with borders; padding is a number or 4 of them,
    the last axis first.
    Raises: RuntimeError where a border is not smaller than its axis.
    """

    _n = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """ReflectionPad3d(padding): mirrors at the border, without repeating it.

    Shape: (N, C, D, H, W) or (C, D, H, W) to the same with borders; padding is a number or 6 of
    them, the last axis first.
    Raises: RuntimeError where a border is not smaller than its axis.
    """

    _n = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """ReplicationPad1d(padding): repeats the border.

    Shape: (N, C, L) or (C, L) to the same with borders; padding is a number or 2 of them, the
    last axis first.
    """

    _n = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """ReplicationPad2d(padding): repeats the border.

    Shape: (N, C, H, W) or (C, H, W) to the same with borders; padding is a number or 4 of them,
    the last axis first.
    """

    _n = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """ReplicationPad3d(padding): repeats the border.

    Shape: (N, C, D, H, W) or (C, D, H, W) to the same with borders; padding is a number or 6 of
    them, the last axis first.
    """

    _n = 3
    _mode = "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (self._n + 1, self._n + 2):
            raise ValueError(
                f"expected {self._n + 1}D or {self._n + 2}D input (got {input.dim()}D input)"
            )
        return _C.pad(input, self.padding, "circular")


class CircularPad1d(_CircularPad):
    """CircularPad1d(padding): continues from the other side.

    Shape: (N, C, L) or (C, L) to the same with borders; padding is a number or 2 of them, the
    last axis first.
    Raises: RuntimeError where a border is larger than its axis.
    """

    _n = 1


class CircularPad2d(_CircularPad):
    """CircularPad2d(padding): continues from the other side.

    Shape: (N, C, H, W) or (C, H, W) to the same with borders; padding is a number or 4 of them,
    the last axis first.
    Raises: RuntimeError where a border is larger than its axis.
    """

    _n = 2


class CircularPad3d(_CircularPad):
    """CircularPad3d(padding): continues from the other side.

    Shape: (N, C, D, H, W) or (C, D, H, W) to the same with borders; padding is a number or 6 of
    them, the last axis first.
    Raises: RuntimeError where a border is larger than its axis.
    """

    _n = 3
