# SPDX-License-Identifier: Apache-2.0
"""Pooling layers over (N, C, *) or (C, *), in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from gradstep import _C
from gradstep._C import Tensor

from .. import functional as F
from .._vision import _max_unpool, _tuple
from .module import Module


def _one(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


# ---- maximum ----


class _MaxPool(Module):
    __constants__ = [
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "return_indices",
        "ceil_mode",
    ]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )

    def _pool(self, fn: Any, input: Tensor) -> Any:
        return fn(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool1d(_MaxPool):
    """MaxPool1d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
    ceil_mode=False)

    Shape: (N, C, L) or (C, L) to (N, C, L'), L' = floor((L + 2 padding - dilation (kernel_size -
    1) - 1) / stride) + 1 (ceil with
    ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool1d, input)


class MaxPool2d(_MaxPool):
    """MaxPool2d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
    ceil_mode=False)

    Shape: (N, C, H, W) or (C, H, W) to (N, C, H', W'), L' = floor((L + 2 padding - dilation
    (kernel_size - 1) - 1) / stride) + 1 (ceil with
    ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.

        >>> nn.MaxPool2d(2)(gs.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 4, 4])
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool2d, input)


class MaxPool3d(_MaxPool):
    """MaxPool3d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
    ceil_mode=False)

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W'), L' = floor((L + 2 padding -
    dilation (kernel_size - 1) - 1) / stride) + 1 (ceil with
    ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.
    """

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool3d, input)


class _MaxUnpool(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        n = self._n
        self.kernel_size = _tuple(kernel_size, n)
        self.stride = _tuple(kernel_size if stride is None else stride, n)
        self.padding = _tuple(padding, n)

    _n: int

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return _max_unpool(
            self._n, input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool1d(_MaxUnpool):
    """MaxUnpool1d(kernel_size, stride=None, padding=0)

    Shape: values and indices (N, C, L') to (N, C, L), the smallest size that fits, or
    output_size.
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """

    _n = 1


class MaxUnpool2d(_MaxUnpool):
    """MaxUnpool2d(kernel_size, stride=None, padding=0)

    Shape: values and indices (N, C, H', W') to (N, C, H, W), the smallest size that fits, or
    output_size.
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """

    _n = 2


class MaxUnpool3d(_MaxUnpool):
    """MaxUnpool3d(kernel_size, stride=None, padding=0)

    Shape: values and indices (N, C, D', H', W') to (N, C, D, H, W), the smallest size that fits,
    or output_size.
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """

    _n = 3


# ---- mean ----


class AvgPool1d(Module):
    """AvgPool1d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True)

    Shape: (N, C, L) or (C, L) to (N, C, L'), L' = floor((L + 2 padding - kernel_size) / stride) +
    1 (ceil with ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.
    """

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _one(kernel_size)
        self.stride = _one(kernel_size if stride is None else stride)
        self.padding = _one(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return _C.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    __constants__ = [
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def _pool(self, fn: Any, input: Tensor) -> Tensor:
        return fn(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPool):
    """AvgPool2d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None)

    Shape: (N, C, H, W) or (C, H, W) to (N, C, H', W'), L' = floor((L + 2 padding - kernel_size) /
    stride) + 1 (ceil with ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.

        >>> nn.AvgPool2d(2)(gs.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 4, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        return self._pool(_C.avg_pool2d, input)


class AvgPool3d(_AvgPool):
    """AvgPool3d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None)

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W'), L' = floor((L + 2 padding -
    kernel_size) / stride) + 1 (ceil with ceil_mode).
    Raises: RuntimeError if padding exceeds half a kernel or nothing is left.
    """

    def forward(self, input: Tensor) -> Tensor:
        return self._pool(_C.avg_pool3d, input)


# ---- power mean ----


class _LPPool(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """LPPool1d(norm_type, kernel_size, stride=None, ceil_mode=False)

    Shape: (N, C, L) or (C, L) to (N, C, L'), L' = floor((L + 2 padding - kernel_size) / stride) +
    1 (ceil with ceil_mode).
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool2d(_LPPool):
    """LPPool2d(norm_type, kernel_size, stride=None, ceil_mode=False)

    Shape: (N, C, H, W) or (C, H, W) to (N, C, H', W'), L' = floor((L + 2 padding - kernel_size) /
    stride) + 1 (ceil with ceil_mode).
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool3d(_LPPool):
    """LPPool3d(norm_type, kernel_size, stride=None, ceil_mode=False)

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, D', H', W'), L' = floor((L + 2 padding -
    kernel_size) / stride) + 1 (ceil with ceil_mode).
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


# ---- to a given size ----


class _AdaptiveAvgPool(Module):
    __constants__ = ["output_size"]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """AdaptiveAvgPool1d(output_size)

    Shape: (N, C, L) or (C, L) to (N, C, *output_size).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """AdaptiveAvgPool2d(output_size); None keeps a size.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, *output_size).

    >>> nn.AdaptiveAvgPool2d(1)(gs.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 1, 1])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """AdaptiveAvgPool3d(output_size); None keeps a size.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, *output_size).
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMaxPool(Module):
    __constants__ = ["output_size", "return_indices"]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """AdaptiveMaxPool1d(output_size, return_indices=False)

    Shape: (N, C, L) or (C, L) to (N, C, *output_size).
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """AdaptiveMaxPool2d(output_size, return_indices=False); None keeps a size.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, *output_size).
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """AdaptiveMaxPool3d(output_size, return_indices=False); None keeps a size.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, *output_size).
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
