# SPDX-License-Identifier: Apache-2.0
"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions import constraints
from gradstep.distributions._bases import Odds
from gradstep.distributions.exp_family import ExponentialFamily
from gradstep.distributions.utils import broadcast_all, clamp_probs, require, uniform
from gradstep.nn import functional as F

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Odds, ExponentialFamily):
    """ContinuousBernoulli(probs=None, logits=None, lims=(0.499, 0.501)): density ~ p^x (1 - p)^(1 - x) on [0, 1]
    (Loaiza-Ganem and Cunningham, 2019). Within `lims` a Taylor series about 1/2 is taken."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._give(probs, logits)
        self._lims = lims
        if "probs" in self.__dict__:
            probs = self.probs
            if self._validate_args if validate_args is None else validate_args:
                inside = self.arg_constraints["probs"].check(probs)
                require(inside, lambda _: "The parameter probs has invalid values")
            self.probs = clamp_probs(probs)
        super().__init__(self._given_shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ContinuousBernoulli:
        new: ContinuousBernoulli = super().expand(batch_shape, _instance)
        new._lims = self._lims
        return new

    def _outside(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _off_half(self) -> tuple[Tensor, Tensor]:
        """Where the closed forms hold, and probabilities that are safe for them."""
        outside = self._outside()
        return outside, _C.where(outside, self.probs, _C.full_like(self.probs, self._lims[0]))

    def _log_constant(self) -> Tensor:
        # 2 artanh(1 - 2p) / (1 - 2p), whose series about p = 1/2 is 2 (1 + d^2/3 + d^4/5 ..), d = 1 - 2p.
        outside, safe = self._off_half()
        ratio = (_C.log1p(-safe) - _C.log(safe)) / (1 - 2 * safe)
        square = (self.probs - 0.5).square()
        series = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * square) * square
        return _C.where(outside, _C.log(ratio.abs()), series)

    @property
    def mean(self) -> Tensor:
        outside, safe = self._off_half()
        closed = safe / (2.0 * safe - 1.0) + 1.0 / (_C.log1p(-safe) - _C.log(safe))
        off = self.probs - 0.5
        return _C.where(outside, closed, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * off.square()) * off)

    @property
    def variance(self) -> Tensor:
        outside, safe = self._off_half()
        closed = (
            safe * (safe - 1.0) / (1.0 - 2.0 * safe).square()
            + 1.0 / (_C.log1p(-safe) - _C.log(safe)).square()
        )
        square = (self.probs - 0.5).square()
        series = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * square) * square
        return _C.where(outside, closed, series)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.probs))

    def _log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, value)
        likelihood = -F.binary_cross_entropy_with_logits(logits, value, reduction="none")
        return likelihood + self._log_constant()

    def _cdf(self, value: Tensor) -> Tensor:
        outside, safe = self._off_half()
        powers = _C.pow(safe, value) * _C.pow(1.0 - safe, 1.0 - value)
        closed = (powers + safe - 1.0) / (2.0 * safe - 1.0)
        return _C.where(outside, closed, value).clamp(0.0, 1.0)

    def icdf(self, value: Tensor) -> Tensor:
        outside, safe = self._off_half()
        closed = (_C.log1p(-safe + value * (2.0 * safe - 1.0)) - _C.log1p(-safe)) / (
            _C.log(safe) - _C.log1p(-safe)
        )
        return _C.where(outside, closed, value)

    def entropy(self) -> Tensor:
        failure = _C.log1p(-self.probs)
        return self.mean * (failure - _C.log(self.probs)) - self._log_constant() - failure

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return _C.log(_C.where(x.abs() < 1e-3, 1 + x / 2 + x * x / 6, _C.expm1(x) / x))
