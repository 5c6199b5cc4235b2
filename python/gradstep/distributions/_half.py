# SPDX-License-Identifier: Apache-2.0
"""|x| of a distribution that is symmetric about 0."""

from __future__ import annotations

import math

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions._bases import LocScale
from gradstep.distributions.transformed_distribution import TransformedDistribution
from gradstep.distributions.transforms import AbsTransform

__all__ = ["Half"]


class Half(TransformedDistribution):
    """|x| of `base`: its density, doubled."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    base_dist: LocScale

    def __init__(self, base: LocScale, validate_args: bool | None = None) -> None:
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> Tensor:
        """The scale of x."""
        return self.base_dist.scale

    @property
    def mode(self) -> Tensor:
        return _C.zeros_like(self.scale)

    def _log_prob(self, value: Tensor) -> Tensor:
        log_prob = self.base_dist._log_prob(value) + math.log(2)
        return _C.where(value >= 0, log_prob, -math.inf)

    def _cdf(self, value: Tensor) -> Tensor:
        return 2 * self.base_dist._cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)
