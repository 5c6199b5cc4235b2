# SPDX-License-Identifier: Apache-2.0
"""The half-normal distribution."""

from __future__ import annotations

import math
from typing import Any

from gradstep._C import Tensor
from gradstep.distributions._half import Half
from gradstep.distributions.normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Half):
    """HalfNormal(scale): |x| of Normal(0, scale)."""

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(0, scale, validate_args=False), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi)
