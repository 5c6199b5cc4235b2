# SPDX-License-Identifier: Apache-2.0
"""The negative binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions._bases import Odds
from gradstep.distributions.gamma import Gamma
from gradstep.nn import functional as F

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Odds):
    """NegativeBinomial(total_count, probs=None, logits=None): successes of probability probs in [0, 1) before
    total_count trials have failed."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _tensors = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        (count,) = self._give(probs, logits, total_count)
        self.total_count = count.type_as(self._param)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * _C.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / _C.sigmoid(-self.logits)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():  # Poisson counts of gamma rates
            rates = Gamma(self.total_count, _C.exp(-self.logits), validate_args=False)
            return _C.poisson(rates.sample(sample_shape))

    def _log_prob(self, value: Tensor) -> Tensor:
        n = self.total_count
        likelihood = n * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        choices = _C.lgamma(1.0 + value) + _C.lgamma(n) - _C.lgamma(n + value)
        return likelihood - choices.masked_fill(n + value == 0.0, 0.0)
