# SPDX-License-Identifier: Apache-2.0
"""The Cauchy (Lorentz) distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions._bases import LocScale

__all__ = ["Cauchy"]


class Cauchy(LocScale):
    """Cauchy(loc, scale): median loc, half width at half maximum scale; it has no mean."""

    @property
    def mean(self) -> Tensor:
        return _C.full_like(self.loc, math.nan)

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
