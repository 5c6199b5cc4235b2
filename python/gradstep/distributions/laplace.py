# SPDX-License-Identifier: Apache-2.0
"""The Laplace distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradstep import _C
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep.distributions._bases import LocScale

__all__ = ["Laplace"]


class Laplace(LocScale):
    """Laplace(loc, scale): density exp(-|x - loc| / scale) / (2 scale)."""

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u = self.loc.new_empty(shape).uniform_(finfo(self.loc.dtype).eps - 1, 1)
        return self.loc - self.scale * u.sign() * _C.log1p(-u.abs())

    def _log_prob(self, value: Tensor) -> Tensor:
        return -_C.log(2 * self.scale) - _C.abs(value - self.loc) / self.scale

    def _cdf(self, value: Tensor) -> Tensor:
        off = value - self.loc
        return 0.5 - 0.5 * off.sign() * _C.expm1(-off.abs() / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        off = value - 0.5
        return self.loc - self.scale * off.sign() * _C.log1p(-2 * off.abs())

    def entropy(self) -> Tensor:
        return 1 + _C.log(2 * self.scale)
