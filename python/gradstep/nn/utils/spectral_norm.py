# SPDX-License-Identifier: Apache-2.0
"""Spectral normalisation as a forward pre-hook: the older form of parametrizations.spectral_norm.

Miyato et al., 2018: the weight divided by its largest singular value, which one step of the power method for each
forward pass follows.
"""

from __future__ import annotations

from typing import Any, TypeVar

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad

from .. import functional as F
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..modules.module import Module
from ..parameter import Parameter, UninitializedParameter

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]

_M = TypeVar("_M", bound=Module)


def default_dim(module: Module) -> int:
    """The dimension of the outputs: 1 for transposed convolutions, else 0."""
    return int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """(outputs, everything else)"""
    if dim != 0:
        weight = weight.transpose(0, dim) if weight.dim() == 2 else weight.movedim(dim, 0)
    return weight.reshape(weight.shape[0], -1)


def power_step(matrix: Tensor, u: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """One step of the power method: the new left and right singular vectors (u, v)."""
    v = F.normalize(_C.mv(matrix.t(), u), dim=0, eps=eps)
    return F.normalize(_C.mv(matrix, v), dim=0, eps=eps), v


class SpectralNorm:
    """The hook: it makes the weight anew from <name>_orig before each forward pass."""

    _version = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        return as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight over its largest singular value; the vectors move on if asked to."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                new_u, new_v = u, v
                for _ in range(self.n_power_iterations):
                    new_u, new_v = power_step(matrix, new_u, self.eps)
                u.copy_(new_u)
                v.copy_(new_v)
                # The graph of this pass keeps its own, since the next pass writes into the buffers.
                u, v = new_u.clone(), new_v.clone()
        return weight / _C.dot(u, _C.mv(matrix, v))

    def remove(self, module: Module) -> None:
        """Puts the weight back as a parameter."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        delattr(module, self.name)
        for end in ("_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))

    @staticmethod
    def apply(
        module: Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> SpectralNorm:
        """Replaces the parameter and installs the hook. RuntimeError if it is there already."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if isinstance(weight, UninitializedParameter):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make sure to run the dummy "
                "forward before applying spectral normalization"
            )
        with no_grad():
            h, w = as_matrix(weight, dim).shape
            u = F.normalize(weight.new_empty(h).normal_(0, 1), dim=0, eps=eps)
            v = F.normalize(weight.new_empty(w).normal_(0, 1), dim=0, eps=eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        return hook


def spectral_norm(
    module: _M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> _M:
    """Divides the parameter by its largest singular value in each forward pass; returns the module.

    Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.
    """
    dim = default_dim(module) if dim is None else dim
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module: _M, name: str = "weight") -> _M:
    """Undoes spectral_norm. ValueError if the parameter has none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
