# SPDX-License-Identifier: Apache-2.0
"""The half-Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions._half import Half
from gradstep.distributions.cauchy import Cauchy

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """HalfCauchy(scale): |x| of Cauchy(0, scale)."""

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return _C.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance
