# SPDX-License-Identifier: Apache-2.0
"""The generalised Pareto distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import parameters, uniform

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """GeneralizedPareto(loc, scale, concentration): the tail above a threshold loc (Pickands, 1975); an
    exponential one where the concentration is 0."""

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    _tensors = {"loc": 0, "scale": 0, "concentration": 0}

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        found, batch = parameters(loc, scale, concentration)
        self.loc, self.scale, self.concentration = found
        super().__init__(batch, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        bounded = self.concentration < 0
        upper = self.loc - self.scale / _C.where(bounded, self.concentration, -1.0)
        return constraints.interval(self.loc, upper.masked_fill(~bounded, math.inf))

    def _flat(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is 0, and one that may be divided by."""
        flat = _C.isclose(self.concentration, _C.zeros_like(self.concentration))
        return flat, self.concentration.masked_fill(flat, 1.0)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.loc))

    def _log_prob(self, value: Tensor) -> Tensor:
        flat, k = self._flat()
        z = (value - self.loc) / self.scale
        power = -(1 + 1 / k) * _C.log1p((k * z).masked_fill(flat, 0.0))
        return -self.scale.log() + _C.where(flat, -z, power)

    def _cdf(self, value: Tensor) -> Tensor:
        flat, k = self._flat()
        z = (value - self.loc) / self.scale
        power = -_C.log1p((k * z).masked_fill(flat, 0.0)) / k
        return -_C.expm1(_C.where(flat, -z, power))

    def icdf(self, value: Tensor) -> Tensor:
        flat, k = self._flat()
        log_above = _C.log1p(-value)
        return self.loc + self.scale * _C.where(flat, -log_above, _C.expm1(-k * log_above) / k)

    @property
    def mean(self) -> Tensor:
        mean = self.loc + self.scale / (1 - self.concentration)
        return mean.masked_fill(self.concentration >= 1, math.nan)

    @property
    def variance(self) -> Tensor:
        k = self.concentration
        variance = self.scale.square() / ((1 - k).square() * (1 - 2 * k))
        return variance.masked_fill(k >= 0.5, math.nan)

    def entropy(self) -> Tensor:
        entropy = self.scale.log() + self.concentration + 1
        return _C.broadcast_to(entropy, self._batch_shape)

    @property
    def mode(self) -> Tensor:
        return self.loc
