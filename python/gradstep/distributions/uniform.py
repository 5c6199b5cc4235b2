# SPDX-License-Identifier: Apache-2.0
"""The uniform distribution on an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import parameters, require, uniform

__all__ = ["Uniform"]


class Uniform(Distribution):
    """Uniform(low, high): on [low, high), low < high."""

    arg_constraints = {
        "low": constraints.dependent(is_discrete=False, event_dim=0),
        "high": constraints.dependent(is_discrete=False, event_dim=0),
    }
    has_rsample = True
    _tensors = {"low": 0, "high": 0}

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        (self.low, self.high), batch = parameters(low, high)
        super().__init__(batch, validate_args=validate_args)
        if self._validate_args:
            require(self.low < self.high, lambda _: "Uniform is not defined when low>= high")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return math.nan * self.high

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = uniform(self._extended_shape(sample_shape), self.low)
        return self.low + draws * (self.high - self.low)

    def _log_prob(self, value: Tensor) -> Tensor:
        inside = (self.low <= value) & (value < self.high)
        return _C.log(inside.type_as(self.low)) - _C.log(self.high - self.low)

    def _cdf(self, value: Tensor) -> Tensor:
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return _C.log(self.high - self.low)
