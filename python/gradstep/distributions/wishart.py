# SPDX-License-Identifier: Apache-2.0
"""The Wishart distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Number
from typing import Any

from gradstep import _C, linalg, special
from gradstep._C import Tensor
from gradstep._numerics import broadcast_shapes
from gradstep.distributions import constraints
from gradstep.distributions._bases import OfCovariance
from gradstep.distributions.gamma import Gamma
from gradstep.distributions.utils import require, standard_normal

__all__ = ["Wishart"]


class Wishart(OfCovariance):
    """Wishart(df, covariance_matrix=None, precision_matrix=None, scale_tril=None): sums of df outer products of
    normal vectors of mean 0; df > n - 1 for [.., n, n] matrices. One of the matrices is given.

    Source: Bartlett, On the Theory of Statistical Regression, 1933 (the sampler).
    """

    arg_constraints = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
        "df": constraints.greater_than(0),
    }
    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _tensors = {"df": 0, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = self._only_matrix(
            AssertionError,
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        event = matrix.shape[-2:]
        if isinstance(df, Number):
            df = _C.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = broadcast_shapes(df.shape, matrix.shape[:-2])
        self.df = df.expand(batch)
        self.__dict__[name] = matrix.expand(batch + event)
        n = event[-1]
        bound = f"expected to be greater than ndim - 1 = {n - 1}."
        require(self.df > n - 1, lambda values: f"Value of df={df if values else ''} {bound}")
        super().__init__(batch, event, validate_args=validate_args)
        self._factorise(name, matrix)

    @property
    def mean(self) -> Tensor:
        return self.df.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        factor = factor.masked_fill(factor <= 0, math.nan)
        return factor.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.view(self._batch_shape + (1, 1)) * (v.square() + outer)

    def rsample(
        self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None
    ) -> Tensor:
        # Bartlett's decomposition: the factor of a Wishart matrix of the unit covariance. It is positive definite
        # but for rounding, so nothing has to be drawn again (max_try_correction is PyTorch's).
        n = self._event_shape[-1]
        lower = _C.arange(n, dtype=self.df.dtype, device=self.df.device)
        half_df = (self.df.unsqueeze(-1) - lower) / 2
        chi2 = Gamma(half_df, _C.full_like(half_df, 0.5), validate_args=False).rsample(sample_shape)
        below = standard_normal(self._extended_shape(sample_shape), self.df).tril(-1)
        factor = self._unbroadcasted_scale_tril @ (below + chi2.sqrt().diag_embed())
        return factor @ factor.mT

    def _log_prob(self, value: Tensor) -> Tensor:
        n, df = self._event_shape[-1], self.df
        normalizer = df * (n * math.log(2) / 2 + self._half_log_det()) + special.multigammaln(
            df / 2, n
        )
        trace = linalg.cholesky_solve(value, self._unbroadcasted_scale_tril)
        trace = trace.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (df - n - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2 - normalizer

    def entropy(self) -> Tensor:
        n, df = self._event_shape[-1], self.df
        steps = _C.arange(n, dtype=df.dtype, device=df.device)
        digammas = _C.digamma((df.unsqueeze(-1) - steps) / 2).sum(-1)
        return (
            (n + 1) * (self._half_log_det() + n * math.log(2) / 2)
            + special.multigammaln(df / 2, n)
            - (df - n - 1) / 2 * digammas
            + df * n / 2
        )
