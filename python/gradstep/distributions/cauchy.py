# SPDX-License-Identifier: Apache-2.0
"""The Cauchy (Lorentz) distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import parameters

__all__ = ["Cauchy"]


class Cauchy(Distribution):
    """Cauchy(loc, scale): median loc, half width at half maximum scale; it has no mean."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _tensors = {"loc": 0, "scale": 0}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        (self.loc, self.scale), batch = parameters(loc, scale)
        super().__init__(batch, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return _C.full_like(self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return _C.full_like(self.loc, math.inf)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        draws = self.loc.new_empty(self._extended_shape(sample_shape)).cauchy_()
        return self.loc + draws * self.scale

    def _log_prob(self, value: Tensor) -> Tensor:
        off = (value - self.loc) / self.scale
        return -math.log(math.pi) - self.scale.log() - off.square().log1p()

    def _cdf(self, value: Tensor) -> Tensor:
        return _C.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return _C.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()
