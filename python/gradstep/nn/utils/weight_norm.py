# SPDX-License-Identifier: Apache-2.0
"""Weight normalisation as a forward pre-hook: the older form of parametrizations.weight_norm.

Salimans and Kingma, 2016: w = g * v / |v|, the norm taken over all dimensions but `dim`.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad

from ..modules.module import Module
from ..parameter import Parameter, UninitializedParameter

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]

_M = TypeVar("_M", bound=Module)


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The 2-norm over all dimensions but dim, which stays as it is; over all of them where dim is -1."""
    if dim == -1:
        return v.norm()
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    return v.norm(2, others, keepdim=True) if others else v.abs()


def normalized(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """g * v / |v|"""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook: it makes the weight anew from <name>_g and <name>_v before each forward pass."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        v, g = getattr(module, self.name + "_v"), getattr(module, self.name + "_g")
        return normalized(v, g, self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Splits the parameter and installs the hook. RuntimeError if it is there already."""
        _warn("weight_norm")
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if isinstance(weight, UninitializedParameter):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure to run the dummy "
                "forward before applying weight normalization"
            )
        del module._parameters[name]
        with no_grad():
            norm = norm_except_dim(weight, hook.dim)
        module.register_parameter(name + "_g", Parameter(norm))
        module.register_parameter(name + "_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Puts the weight back as a parameter."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"], module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _warn(name: str) -> None:
    warnings.warn(
        f"`torch.nn.utils.{name}` is deprecated in favor of `torch.nn.utils.parametrizations.{name}`.",
        FutureWarning,
        stacklevel=4,
    )


def weight_norm(module: _M, name: str = "weight", dim: int | None = 0) -> _M:
    """Replaces the parameter by <name>_g (its norms) and <name>_v (its direction); returns the module.

    dim is the dimension that keeps a norm of its own for each index, None for one norm of all.

    Source: Salimans & Kingma, Weight Normalization, 2016.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: _M, name: str = "weight") -> _M:
    """Undoes weight_norm. ValueError if the parameter has none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
