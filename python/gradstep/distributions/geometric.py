# SPDX-License-Identifier: Apache-2.0
"""The geometric distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions._bases import Odds
from gradstep.distributions.utils import broadcast_all, positive_uniform, require
from gradstep.nn import functional as F

__all__ = ["Geometric"]


class Geometric(Odds):
    """Geometric(probs=None, logits=None): how many trials fail before the first success, each of which has
    probability probs in (0, 1]."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._give(probs, logits)
        super().__init__(self._given_shape, validate_args=validate_args)
        if self._validate_args and probs is not None:
            require(self.probs > 0, self._not_positive)

    def _not_positive(self, values: bool) -> str:
        shape = f"({type(self.probs).__name__} of shape {tuple(self.probs.shape)})"
        shown = repr(self) if values else "Geometric"
        text = f"Expected parameter probs {shape} of distribution {shown} to be positive but found invalid values"
        return f"{text}:\n{self.probs}" if values else text

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return _C.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            u = positive_uniform(self._extended_shape(sample_shape), self.probs)
            return (u.log() / (-self.probs).log1p()).floor()

    def _log_prob(self, value: Tensor) -> Tensor:
        value, probs = broadcast_all(value, self.probs)
        failures = _C.where((probs == 1) & (value == 0), _C.zeros_like(probs), probs)
        return value * (-failures).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return (
            F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")
            / self.probs
        )
