# SPDX-License-Identifier: Apache-2.0
"""The multivariate normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C, linalg
from gradstep._C import Tensor
from gradstep._numerics import broadcast_shapes
from gradstep.distributions import constraints
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import LOG_2_PI, lazy_property, standard_normal

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


def factor_of_precision(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of a positive definite matrix."""
    # With J the exchange matrix, P = (J L J)^T (J L J) for the factor L of J P J.
    flipped = linalg.cholesky(precision.flip((-2, -1))).flip((-2, -1)).mT
    eye = _C.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg.solve_triangular(flipped, eye, upper=False)


class MultivariateNormal(Distribution):
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
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = [(name, m) for name, m in matrices.items() if m is not None]
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = given
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.__dict__[name] = matrix.expand(batch + matrix.shape[-2:])
        self.loc = loc.expand(batch + loc.shape[-1:])
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)
        if scale_tril is not None:
            self._unbroadcasted_scale_tril = scale_tril
        elif covariance_matrix is not None:
            self._unbroadcasted_scale_tril = linalg.cholesky(covariance_matrix)
        else:
            self._unbroadcasted_scale_tril = factor_of_precision(matrix)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> MultivariateNormal:
        new: MultivariateNormal = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        return new

    def _expanded(self, matrix: Tensor) -> Tensor:
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._expanded(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor = self._unbroadcasted_scale_tril
        return self._expanded(factor @ factor.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        factor = self._unbroadcasted_scale_tril
        eye = _C.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        inverse = linalg.solve_triangular(factor, eye, upper=False)
        return self._expanded(inverse.mT @ inverse)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        square = self._unbroadcasted_scale_tril.square().sum(-1)
        return square.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._unbroadcasted_scale_tril @ draws.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Tensor:
        diagonal = self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1)
        return diagonal.log().sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        off = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * LOG_2_PI + off) - self._half_log_det()

    def entropy(self) -> Tensor:
        entropy = 0.5 * self._event_shape[0] * (1.0 + LOG_2_PI) + self._half_log_det()
        return entropy.expand(self._batch_shape)
