# SPDX-License-Identifier: Apache-2.0
"""The chi-squared distribution."""

from __future__ import annotations

from typing import Any

from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions.gamma import Gamma

__all__ = ["Chi2"]


class Chi2(Gamma):
    """Chi2(df): the sum of df squares of standard normal numbers; Gamma(df / 2, 1 / 2)."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2
