# SPDX-License-Identifier: Apache-2.0
"""Multivariate normal distributions of low rank."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep import _C, linalg
from gradstep._C import Tensor
from gradstep._numerics import broadcast_shapes
from gradstep.distributions import constraints
from gradstep.distributions._bases import Centred
from gradstep.distributions.multivariate_normal import mahalanobis
from gradstep.distributions.utils import LOG_2_PI, lazy_property, standard_normal

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Centred):
    """LowRankMultivariateNormal(loc, cov_factor, cov_diag): covariance W W^T + diag(D), W of shape [.., n, rank].

    Solves and determinants cost rank^3, by Woodbury's identity and the matrix determinant lemma.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _tensors = {"loc": 1, "cov_factor": 2, "cov_diag": 1}

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch dimensions"
            )
        if cov_factor.shape[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.shape[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        batch = broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc = loc.expand(batch + event)
        self.cov_factor = cov_factor.expand(batch + cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(batch + event)
        super().__init__(batch, event, validate_args=validate_args)

    @lazy_property
    def _scaled(self) -> Tensor:
        """D^-1 W."""
        return self.cov_factor / self.cov_diag.unsqueeze(-1)

    @lazy_property
    def _capacitance(self) -> Tensor:
        """The Cholesky factor of I + W^T D^-1 W."""
        product = self.cov_factor.mT @ self._scaled
        eye = _C.eye(product.shape[-1], dtype=product.dtype, device=product.device)
        return linalg.cholesky(product + eye)

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        """The variances of the elements."""
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance, [.., n, n]."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance, [.., n, n]."""
        root = self.cov_diag.sqrt()
        inner = self.cov_factor / root.unsqueeze(-1)
        eye = _C.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        return root.unsqueeze(-1) * linalg.cholesky(inner @ inner.mT + eye)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance, [.., n, n]."""
        half = linalg.solve_triangular(self._capacitance, self._scaled.mT, upper=False)
        return self.cov_diag.reciprocal().diag_embed() - half.mT @ half

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        factors = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc)
        own = standard_normal(shape, self.loc)
        common = (self.cov_factor @ factors.unsqueeze(-1)).squeeze(-1)
        return self.loc + common + self.cov_diag.sqrt() * own

    def _log_det(self) -> Tensor:
        inner = self._capacitance.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * inner + self.cov_diag.log().sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        off = value - self.loc
        inner = (self._scaled.mT @ off.unsqueeze(-1)).squeeze(-1)
        distance = (off.square() / self.cov_diag).sum(-1) - mahalanobis(self._capacitance, inner)
        return -0.5 * (self._event_shape[0] * LOG_2_PI + self._log_det() + distance)

    def entropy(self) -> Tensor:
        entropy = 0.5 * (self._event_shape[0] * (1.0 + LOG_2_PI) + self._log_det())
        return entropy.expand(self._batch_shape)
