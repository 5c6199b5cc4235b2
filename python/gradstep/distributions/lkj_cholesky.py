# SPDX-License-Identifier: Apache-2.0
"""The LKJ distribution of correlation matrices (Lewandowski, Kurowicka and Joe, 2009), as Cholesky factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C, special
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions.beta import Beta
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import broadcast_all, standard_normal

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """LKJCholesky(dim, concentration=1.0): Cholesky factors of dim x dim correlation matrices M, whose density is
    ~ det(M)^(concentration - 1).

    Source: Lewandowski, Kurowicka & Joe, Generating Random Correlation Matrices, 2009.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _tensors = {"concentration": 0}

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # Row i's squared length left of the diagonal is a beta number (the onion method, section 3.2).
        row = _C.arange(dim, dtype=self.concentration.dtype, device=self.concentration.device)
        offset = (row - 1).clamp(min=0)
        right = self.concentration.unsqueeze(-1) + 0.5 * (dim - 2) - 0.5 * offset
        left = offset + 0.5
        self._beta = Beta(left, right)
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> LKJCholesky:
        new: LKJCholesky = super().expand(batch_shape, _instance)
        new.dim = self.dim
        new._beta = self._beta.expand((*batch_shape, self.dim))
        return new

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            squares = self._beta.sample(sample_shape).unsqueeze(-1)
            normal = standard_normal(self._extended_shape(sample_shape), self.concentration)
            directions = normal.tril(-1)
            directions = directions / directions.norm(dim=-1, keepdim=True)
            directions[..., 0, :] = 0.0  # there is nothing left of the first diagonal
            factor = squares.sqrt() * directions
            rest = (1 - factor.square().sum(-1)).clamp(min=finfo(factor.dtype).tiny)
            return factor + rest.sqrt().diag_embed()

    def _log_prob(self, value: Tensor) -> Tensor:
        n, eta = self.dim, self.concentration
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = _C.arange(2, n + 1, dtype=value.dtype, device=value.device)
        powers = 2 * (eta - 1).unsqueeze(-1) + n - order
        alpha = eta + 0.5 * (n - 1)
        normalizer = (
            0.5 * (n - 1) * math.log(math.pi)
            + special.multigammaln(alpha - 0.5, n - 1)
            - _C.lgamma(alpha) * (n - 1)
        )
        return (powers * diagonal.log()).sum(-1) - normalizer
