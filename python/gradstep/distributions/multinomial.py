# SPDX-License-Identifier: Apache-2.0
"""The multinomial distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions._bases import OfCategorical
from gradstep.distributions.binomial import Binomial
from gradstep.distributions.utils import broadcast_all

__all__ = ["Multinomial"]


class Multinomial(OfCategorical):
    """Multinomial(total_count=1, probs=None, logits=None): how often each category of the last axis comes in
    total_count draws; total_count is an int."""

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Multinomial:
        new: Multinomial = super().expand(batch_shape, _instance)
        new.total_count = self.total_count
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = _C.Size(sample_shape)
        with no_grad():
            drawn = self._categorical.sample((self.total_count, *shape))
            drawn = drawn.movedim(0, -1)  # the draws of a value are its last axis
            counts = drawn.new_zeros(self._extended_shape(shape))
            counts.scatter_add_(-1, drawn, _C.ones_like(drawn))
            return counts.type_as(self.probs)

    def _log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, value)
        choices = _C.lgamma(value.sum(-1) + 1) - _C.lgamma(value + 1).sum(-1)
        return choices + (value * logits.masked_fill((value == 0) & (logits == -math.inf), 0)).sum(
            -1
        )

    def entropy(self) -> Tensor:
        n = _C.tensor(float(self.total_count), dtype=self.probs.dtype, device=self.probs.device)
        counts = _C.arange(1, self.total_count + 1, dtype=n.dtype, device=n.device)
        counts = counts.view((-1,) + (1,) * len(self.param_shape))
        # The log of a count's factorial has its mean by the binomial marginals.
        marginal = _C.exp(Binomial(self.total_count, probs=self.probs).log_prob(counts))
        logs = (marginal * _C.lgamma(counts + 1)).sum((0, -1))
        return n * self._categorical.entropy() - _C.lgamma(n + 1) + logs
