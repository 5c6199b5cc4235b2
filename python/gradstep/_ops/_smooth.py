# SPDX-License-Identifier: Apache-2.0
"""A function of one variable from its value in float64 and its derivative, made of differentiable functions."""

from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd import Function


def promoted(input: Tensor) -> Tensor:
    """input, integers as the default floating-point dtype."""
    return input if input.dtype.is_floating_point else input.to(_C.get_default_dtype())


def to_double(input: Tensor) -> Tensor:
    return input.detach().double()


class _Smooth(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Any, derivative: Any) -> Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return value(to_double(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return g * ctx.derivative(x), None, None


def smooth(value: Any, derivative: Any, input: Tensor) -> Tensor:
    """value(input), computed in float64, with the gradient g * derivative(input)."""
    return _Smooth.apply(promoted(input), value, derivative)


def without_derivative(name: str) -> Any:
    """The derivative of a function that PyTorch doesn't differentiate either."""

    def derivative(x: Tensor) -> Tensor:
        raise NotImplementedError(f"derivative for {name} is not implemented")

    return derivative
