# SPDX-License-Identifier: Apache-2.0
"""The multivariate normal distribution."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep import linalg
from gradstep._C import Tensor
from gradstep._numerics import broadcast_shapes
from gradstep.distributions import constraints
from gradstep.distributions._bases import Centred, OfCovariance
from gradstep.distributions.utils import LOG_2_PI, standard_normal

__all__ = ["MultivariateNormal"]


def mahalanobis(factor: Tensor, x: Tensor) -> Tensor:
    """x^T M^-1 x for M = factor factor^T: factor [.., n, n], x [.., n], of broadcast batches."""
    batch = broadcast_shapes(factor.shape[:-2], x.shape[:-1])
    n = x.shape[-1]
    if factor.dim() == 2:  # one solve for all vectors
        rows = x.reshape(-1, n)
        solved = linalg.solve_triangular(factor, rows.mT, upper=False)
        return solved.square().sum(0).reshape(x.shape[:-1])
    factor = factor.expand(batch + factor.shape[-2:])
    x = x.expand((*batch, n)).unsqueeze(-1)
    return linalg.solve_triangular(factor, x, upper=False).square().sum((-2, -1))


class MultivariateNormal(Centred, OfCovariance):
    """MultivariateNormal(loc, covariance_matrix=None, precision_matrix=None, scale_tril=None): normal vectors of
    mean loc [.., n], with one of the covariance, its inverse or its Cholesky factor [.., n, n]."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _tensors = {"loc": 1, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = self._only_matrix(
            ValueError,
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        batch = broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.__dict__[name] = matrix.expand(batch + matrix.shape[-2:])
        self.loc = loc.expand(batch + loc.shape[-1:])
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)
        self._factorise(name, matrix)

    @property
    def variance(self) -> Tensor:
        square = self._unbroadcasted_scale_tril.square().sum(-1)
        return square.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._unbroadcasted_scale_tril @ draws.unsqueeze(-1)).squeeze(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        off = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * LOG_2_PI + off) - self._half_log_det()

    def entropy(self) -> Tensor:
        entropy = 0.5 * self._event_shape[0] * (1.0 + LOG_2_PI) + self._half_log_det()
        return entropy.expand(self._batch_shape)
