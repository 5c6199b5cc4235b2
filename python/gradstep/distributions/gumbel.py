# SPDX-License-Identifier: Apache-2.0
"""The Gumbel distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep.distributions import constraints
from gradstep.distributions.transformed_distribution import TransformedDistribution
from gradstep.distributions.transforms import AffineTransform, ExpTransform, Transform
from gradstep.distributions.uniform import Uniform
from gradstep.distributions.utils import euler_constant, parameters

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """Gumbel(loc, scale): loc - scale log(-log(u)), u uniform."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        (self.loc, self.scale), batch = parameters(loc, scale)
        limits = finfo(self.loc.dtype)
        base = Uniform(
            _C.full_like(self.loc, limits.tiny),
            _C.full_like(self.loc, 1 - limits.eps),
            validate_args=False,
        )
        base = base.expand(batch)
        super().__init__(base, self._maps(), validate_args=validate_args)

    def _maps(self) -> list[Transform]:
        return [
            ExpTransform().inv,
            AffineTransform(0, -_C.ones_like(self.scale)),
            ExpTransform().inv,
            AffineTransform(self.loc, -self.scale),
        ]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(Gumbel, _instance)
        new.loc = self.loc.expand(batch_shape)
        new.scale = self.scale.expand(batch_shape)
        return super().expand(batch_shape, _instance=new)

    def _log_prob(self, value: Tensor) -> Tensor:
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
