# SPDX-License-Identifier: Apache-2.0
"""Weights computed from others: weight_norm, spectral_norm, orthogonal. parametrize.remove_parametrizations() undoes
them."""

from __future__ import annotations

from typing import Any

from gradstep import _C, linalg
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep._ops.matrices import geqrf
from gradstep.autograd.grad_mode import no_grad

from .. import functional as F
from ..modules.module import Module
from . import parametrize
from .spectral_norm import as_matrix, default_dim
from .weight_norm import norm_except_dim, normalized

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """w = g * v / |v| (Salimans and Kingma, 2016); g is parametrizations.<name>.original0, v original1.

    State dicts of the older torch.nn.utils.weight_norm (<name>_g, <name>_v) load too.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def take_old_names(state: dict[str, Any], prefix: str, *rest: Any) -> None:
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state for key in old):
            for i, key in enumerate(old):
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)

    module._register_load_state_dict_pre_hook(take_old_names)
    return module


class _SpectralNorm(Module):
    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = as_matrix(weight, self.dim)
                h, w = matrix.shape
                u = F.normalize(matrix.new_empty(h).normal_(0, 1), dim=0, eps=eps)
                v = F.normalize(matrix.new_empty(w).normal_(0, 1), dim=0, eps=eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, n: int) -> None:
        u, v = self._u, self._v
        for _ in range(n):
            # u first: PyTorch's order, whose buffers are compared with ours.
            u = F.normalize(_C.mv(matrix, v), dim=0, eps=self.eps)
            v = F.normalize(_C.mv(matrix.t(), u), dim=0, eps=self.eps)
        self._u.copy_(u)
        self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Copies: the next forward pass writes into the buffers.
        u, v = self._u.clone(), self._v.clone()
        return weight / _C.dot(u, _C.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """The tensor over its largest singular value (Miyato et al., 2018), which the power method follows: 15 steps now,
    n_power_iterations at each reading in training mode."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    dim = default_dim(module) if dim is None else dim
    parametrize.register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )
    return module


# ---- orthogonal weights ----


def _orthonormal(a: Tensor) -> Tensor:
    """The factor Q of a = QR with a positive diagonal in R, for a of full rank [.., n, k]."""
    packed, tau = geqrf(a)
    q = linalg.householder_product(packed, tau)
    return q * packed.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthonormal(q: Tensor) -> bool:
    n, k = q.shape[-2:]
    if n < k:
        q = q.mT
        n, k = k, n
    eye = _C.eye(k, dtype=q.dtype, device=q.device)
    tolerance = 10.0 * n * finfo(q.dtype).eps
    return bool(_C.allclose(q.mT @ q, eye.expand(q.shape[:-2] + (k, k)), atol=tolerance, rtol=0.0))


class _Orthogonal(Module):
    """From [.., n, k] free numbers to a matrix whose shorter side is orthonormal."""

    base: Tensor

    def __init__(self, weight: Tensor, kind: str, use_trivialization: bool) -> None:
        super().__init__()
        self.kind = kind
        if (
            use_trivialization
        ):  # the result is a fixed orthogonal matrix times one near the identity
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[-2] < x.shape[-1]
        tall = x.mT if wide else x
        q = self._reflections(tall) if self.kind == "householder" else self._rotation(tall)
        if "base" in self._buffers:
            q = self.base @ q
        return q.mT if wide else q

    def _rotation(self, x: Tensor) -> Tensor:
        """exp(A) or Cayley's (I + A/2) / (I - A/2) of the skew matrix A that x's lower triangle gives."""
        n, k = x.shape[-2:]
        lower = x.tril()
        if n > k:
            lower = _C.cat((lower, lower.new_zeros(x.shape[:-1] + (n - k,))), -1)
        skew = lower - lower.mT
        if self.kind == "matrix_exp":
            q = linalg.matrix_exp(skew)
        else:
            eye = _C.eye(n, dtype=x.dtype, device=x.device)
            q = linalg.solve(eye - skew / 2, eye + skew / 2)
        return q[..., :k] if n > k else q

    @staticmethod
    def _reflections(x: Tensor) -> Tensor:
        """The product of the reflections along x's columns below the diagonal, which itself holds signs."""
        v = x.tril(-1)
        tau = 2.0 / (1.0 + (v * v).sum(-2))
        signs = x.diagonal(dim1=-2, dim2=-1).detach().trunc().unsqueeze(-2)
        return linalg.householder_product(v, tau) * signs

    @no_grad()
    def right_inverse(self, q: Tensor) -> Tensor:
        shape = q.shape
        wide = shape[-2] < shape[-1]
        tall = q.mT if wide else q
        n, k = tall.shape[-2:]
        if "base" not in self._buffers:
            if self.kind != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            packed, tau = geqrf(tall)
            signs = packed.diagonal(dim1=-2, dim2=-1).sign() * _C.where(tau == 0, -1.0, 1.0)
            packed = packed.tril(-1) + packed.triu(1)
            packed.diagonal(dim1=-2, dim2=-1).copy_(signs)
            return packed.mT if wide else packed
        if n == k:
            base = tall.clone() if _is_orthonormal(tall) else _orthonormal(tall)
        else:
            rest = _C.randn(tall.shape[:-1] + (n - k,), dtype=tall.dtype, device=tall.device)
            base = _orthonormal(_C.cat((tall, rest), -1))
        self.base = base
        # The free numbers that give the identity: no rotation, no reflection.
        start = _C.zeros(shape, dtype=q.dtype, device=q.device)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keeps a weight [.., n, k] orthogonal: its columns (rows, if k > n) are orthonormal.

    `orthogonal_map` is "matrix_exp" (square weights), "cayley" or "householder" (others). With `use_trivialization`
    it is computed around the matrix it was given last (Lezcano Casado, 2019).

    >>> layer = orthogonal(nn.Linear(3, 3))
    >>> bool((layer.weight @ layer.weight.T - gs.eye(3)).abs().max() < 1e-5)
    True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    parametrize.register_parametrization(module, name, made, unsafe=True)
    return module
