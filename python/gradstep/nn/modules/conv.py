# SPDX-License-Identifier: Apache-2.0
"""Convolution layers: Conv1d/2d/3d and their transposes.

Shapes: (N, C_in, *) or (C_in, *) to (N, C_out, *), with as many sizes * as the name says.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from gradstep import _C
from gradstep._C import Tensor

from .. import init
from ..parameter import Parameter, UninitializedParameter, is_lazy
from .lazy import LazyModuleMixin
from .module import Module


def _tuple(value: Any, n: int) -> tuple[Any, ...]:
    if isinstance(value, (tuple, list)) or hasattr(value, "__iter__"):
        return tuple(value)
    return (value,) * n


class _ConvNd(Module):
    __constants__ = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]
    _n: ClassVar[int]
    _name: ClassVar[str]  # of the engine's function
    _transposed: ClassVar[bool] = False

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Tensor
    bias: Tensor | None

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        n = self._n
        Module.__init__(self)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        kernel_size, stride, dilation = (_tuple(v, n) for v in (kernel_size, stride, dilation))
        if isinstance(padding, str):
            valid = ("same", "valid")
            if padding not in valid:
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {set(valid)}"
                )
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        else:
            padding = _tuple(padding, n)
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(
                f"padding_mode must be one of {set(modes)}, but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = self._transposed
        self.output_padding = _tuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        # What F.pad needs: the last dimension first, before and after.
        if padding == "valid":
            sides = [(0, 0)] * n
        elif padding == "same":
            totals = [d * (k - 1) for d, k in zip(dilation, kernel_size)]
            sides = [(total // 2, total - total // 2) for total in totals]
        else:
            sides = [(p, p) for p in padding]
        self._reversed_padding_repeated_twice = [p for side in reversed(sides) for p in side]
        first, second = (
            (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        )
        self.weight = Parameter(
            _C.empty((first, second // groups, *kernel_size), device=device, dtype=dtype)
        )
        if bias:
            self.bias = Parameter(_C.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform within 1/sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        n = len(self.kernel_size)
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


# ---- convolution ----


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = _C.pad(input, self._reversed_padding_repeated_twice, self.padding_mode)
            padding = (0,) * self._n
        elif isinstance(padding, str):
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            if padding == "same" and any(total % 2 for total in totals):
                input = _C.pad(input, self._reversed_padding_repeated_twice)
                totals = []
            n = self._n
            padding = tuple(t // 2 for t in totals) if padding == "same" and totals else (0,) * n
        return getattr(_C, self._name)(
            input, weight, bias, self.stride, padding, self.dilation, self.groups
        )

    def forward(self, input: Tensor) -> Tensor:
        params = self._parameters
        try:  # see Linear.forward
            return self._conv_forward(input, params["weight"], params["bias"])  # type: ignore[arg-type]
        except KeyError:
            return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Conv1d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
    bias=True, padding_mode='zeros', device=None, dtype=None)

    Cross-correlation of (N, C_in, L) with (C_out, C_in / groups, K).

    Shape: (N, C_in, L) or (C_in, L) to (N, C_out, L'), L' = floor((L + 2 padding - dilation
    (kernel_size - 1) - 1) / stride) + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.Conv1d(16, 33, 3, stride=2)(gs.randn(20, 16, 50)).shape
        torch.Size([20, 33, 24])
    """

    _n = 1
    _name = "conv1d"


class Conv2d(_Conv):
    """Conv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
    bias=True, padding_mode='zeros', device=None, dtype=None)

    Cross-correlation of (N, C_in, H, W) with (C_out, C_in / groups, K_h, K_w).

    Shape: (N, C_in, H, W) or (C_in, H, W) to (N, C_out, H', W'), L' = floor((L + 2 padding -
    dilation (kernel_size - 1) - 1) / stride) + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.Conv2d(16, 33, 3, stride=2)(gs.randn(20, 16, 50, 100)).shape
        torch.Size([20, 33, 24, 49])
    """

    _n = 2
    _name = "conv2d"


class Conv3d(_Conv):
    """Conv3d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
    bias=True, padding_mode='zeros', device=None, dtype=None)

    Cross-correlation of (N, C_in, D, H, W) with (C_out, C_in / groups, K_d, K_h, K_w).

    Shape: (N, C_in, D, H, W) or (C_in, D, H, W) to (N, C_out, D', H', W'), L' = floor((L + 2
    padding - dilation (kernel_size - 1) - 1) / stride) + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.Conv3d(2, 3, 3)(gs.randn(1, 2, 5, 6, 7)).shape
        torch.Size([1, 3, 3, 4, 5])
    """

    _n = 3
    _name = "conv3d"


# ---- transposed convolution ----


class _ConvTransposeNd(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Any) -> Any:
        """The output padding that makes the output exactly `output_size`."""
        if output_size is None:
            return self.output_padding
        n = self._n
        has_batch = input.dim() == n + 2
        n_lead = 2 if has_batch else 1
        output_size = list(output_size)
        if len(output_size) == n_lead + n:
            output_size = output_size[n_lead:]
        if len(output_size) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{n_lead + n} elements (got {len(output_size)})"
            )
        smallest = [
            (input.shape[d + n_lead] - 1) * self.stride[d]
            - 2 * int(self.padding[d])
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d in range(n)
        ]
        largest = [smallest[d] + self.stride[d] - 1 for d in range(n)]
        for d in range(n):
            if not smallest[d] <= output_size[d] <= largest[d]:
                raise ValueError(
                    f"requested an output size of {output_size}, but valid sizes range from "
                    f"{smallest} to {largest} (for an input of {input.size()[2:]})"
                )
        return [output_size[d] - smallest[d] for d in range(n)]

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return getattr(_C, self._name)(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self._output_padding(input, output_size),
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """ConvTranspose1d(in_channels, out_channels, kernel_size, stride=1, padding=0,
    output_padding=0, groups=1, bias=True, dilation=1, padding_mode='zeros', ...)

    The gradient of Conv1d with respect to its input.

    Shape: (N, C_in, L) or (C_in, L) to (N, C_out, L'), L' = (L - 1) stride - 2 padding + dilation
    (kernel_size - 1) + output_padding + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.ConvTranspose1d(4, 2, 3, stride=2)(gs.randn(1, 4, 5)).shape
        torch.Size([1, 2, 11])
    """

    _n = 1
    _name = "conv_transpose1d"


class ConvTranspose2d(_ConvTransposeNd):
    """ConvTranspose2d(in_channels, out_channels, kernel_size, stride=1, padding=0,
    output_padding=0, groups=1, bias=True, dilation=1, padding_mode='zeros', ...)

    The gradient of Conv2d with respect to its input.

    Shape: (N, C_in, H, W) or (C_in, H, W) to (N, C_out, H', W'), L' = (L - 1) stride - 2 padding
    + dilation (kernel_size - 1) + output_padding + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.ConvTranspose2d(4, 2, 3, stride=2)(gs.randn(1, 4, 5, 5)).shape
        torch.Size([1, 2, 11, 11])
    """

    _n = 2
    _name = "conv_transpose2d"


class ConvTranspose3d(_ConvTransposeNd):
    """ConvTranspose3d(in_channels, out_channels, kernel_size, stride=1, padding=0,
    output_padding=0, groups=1, bias=True, dilation=1, padding_mode='zeros', ...)

    The gradient of Conv3d with respect to its input.

    Shape: (N, C_in, D, H, W) or (C_in, D, H, W) to (N, C_out, D', H', W'), L' = (L - 1) stride -
    2 padding + dilation (kernel_size - 1) + output_padding + 1.
    Raises: ValueError if groups does not divide both numbers of channels; RuntimeError where the
    input does not fit.

        >>> nn.ConvTranspose3d(4, 2, 3)(gs.randn(1, 4, 5, 5, 5)).shape
        torch.Size([1, 2, 7, 7, 7])
    """

    _n = 3
    _name = "conv_transpose3d"


# ---- lazy ----


class _LazyConv(LazyModuleMixin):
    """The layer without its first argument; in_channels comes with the first input."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self: Any, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        # No channels yet: the arguments are checked and stored, and nothing is drawn.
        super().__init__(0, 0, kernel_size, *args, **kwargs)
        self.out_channels = out_channels
        like = {"device": self.weight.device, "dtype": self.weight.dtype}
        self.weight = UninitializedParameter(**like)
        if self.bias is not None:
            self.bias = UninitializedParameter(**like)

    def reset_parameters(self: Any) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self: Any, input: Tensor, *args: Any) -> None:
        """Take the number of channels from the first input."""
        if not is_lazy(self.weight):
            return
        if input.dim() not in (self._n + 1, self._n + 2):
            raise RuntimeError(
                f"Expected {self._n + 1}D (unbatched) or {self._n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[-self._n - 1]
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d without in_channels."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d without in_channels."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d without in_channels."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """ConvTranspose1d without in_channels."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """ConvTranspose2d without in_channels."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """ConvTranspose3d without in_channels."""

    cls_to_become = ConvTranspose3d
