# SPDX-License-Identifier: Apache-2.0
"""What several distributions are made of: a centre, a place and a scale, odds, a Categorical, a covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C, linalg
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions.categorical import Categorical
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import (
    lazy_property,
    logits_to_probs,
    one_of,
    parameters,
    probs_to_logits,
)

__all__ = ["Centred", "LocScale", "OfCategorical", "OfCovariance", "Odds"]


class Centred(Distribution):
    """Of a place ``loc`` that is the mean and the mode."""

    loc: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc


class LocScale(Centred):
    """Of all numbers, with a place that is the mean and the mode, and a scale > 0."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _tensors = {"loc": 0, "scale": 0}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        (self.loc, self.scale), batch = parameters(loc, scale)
        super().__init__(batch, validate_args=validate_args)


class Odds(Distribution):
    """A yes or no, by ``probs`` or ``logits`` = log(probs / (1 - probs)); the other one is computed when it is asked for."""

    _tensors = {"probs": 0, "logits": 0}

    def _give(self, probs: Any, logits: Any, *others: Any) -> tuple[Tensor, ...]:
        """Takes the one that is given, broadcast with `others`, which come back."""
        one_of(type(self).__name__, probs, logits, ("probs", "logits"))
        name, value = ("probs", probs) if logits is None else ("logits", logits)
        (mine, *rest), self._given_shape = parameters(value, *others)
        self.__dict__[name] = mine
        return tuple(rest)

    @lazy_property
    def logits(self) -> Tensor:
        """The log-odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]

    @property
    def param_shape(self) -> _C.Size:
        """The shape of the parameter that was given."""
        return self._param.shape


class OfCategorical(Distribution):
    """Made of the draws of a Categorical, whose parameters it has; an event is a vector of its categories."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args=validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """The log-probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self) -> _C.Size:
        """The shape of the parameter that was given."""
        return self._categorical.param_shape


def factor_of_precision(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of a positive definite matrix."""
    # With J the exchange matrix, P = (J L J)^T (J L J) for the factor L of J P J.
    flipped = linalg.cholesky(precision.flip((-2, -1))).flip((-2, -1)).mT
    eye = _C.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg.solve_triangular(flipped, eye, upper=False)


class OfCovariance(Distribution):
    """With a covariance [.., n, n], given as such, as its inverse or as its Cholesky factor."""

    def _only_matrix(self, error: type[Exception], **matrices: Tensor | None) -> tuple[str, Tensor]:
        """The matrix that is given and its name."""
        given = [(name, m) for name, m in matrices.items() if m is not None]
        if len(given) != 1:
            raise error(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        name, matrix = given[0]
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        return name, matrix

    def _factorise(self, name: str, matrix: Tensor) -> None:
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = linalg.cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = factor_of_precision(matrix)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        return new

    def _expanded(self, matrix: Tensor) -> Tensor:
        return matrix.expand(self._batch_shape + matrix.shape[-2:])

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
        return self._expanded(linalg.cholesky_inverse(self._unbroadcasted_scale_tril))

    def _half_log_det(self) -> Tensor:
        """Half the log-determinant of the covariance."""
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
