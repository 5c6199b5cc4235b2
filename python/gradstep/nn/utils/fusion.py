# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation in eval mode is linear: it can be put into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from gradstep import _C
from gradstep._C import Tensor

from ..modules.module import Module
from ..parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]

_M = TypeVar("_M", bound=Module)


def _fused(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    gamma: Tensor | None,
    beta: Tensor | None,
    dim: int,
) -> tuple[Parameter, Parameter]:
    """(x * w + b - mean) / sqrt(var + eps) * gamma + beta as one weight and one bias; outputs lie in `dim`."""
    scale = _C.rsqrt(var + eps)
    if gamma is not None:
        scale = scale * gamma
    shape = [1] * weight.dim()
    shape[dim] = -1
    new_bias = ((0 if bias is None else bias) - mean) * scale
    if beta is not None:
        new_bias = new_bias + beta
    new_weight = weight * scale.to(weight.dtype).reshape(shape)
    new_bias = new_bias.to(weight.dtype if bias is None else bias.dtype)
    wanted = weight.requires_grad
    return (
        Parameter(new_weight.detach(), wanted),
        Parameter(new_bias.detach(), wanted if bias is None else bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does both."""
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, int(transpose))


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does both."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fuse(layer: _M, bn: Any, dim: int) -> _M:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    new: Any = copy.deepcopy(layer)
    new.weight, new.bias = _fused(
        new.weight, new.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, dim
    )
    return new  # type: ignore[no-any-return]


def fuse_conv_bn_eval(conv: _M, bn: Any, transpose: bool = False) -> _M:
    """A convolution that does what conv and then bn do in eval mode."""
    return _fuse(conv, bn, int(transpose))


def fuse_linear_bn_eval(linear: _M, bn: Any) -> _M:
    """A linear layer that does what linear and then bn do in eval mode."""
    if getattr(linear, "out_features", None) != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fuse(linear, bn, 0)
