# SPDX-License-Identifier: Apache-2.0
"""The von Mises distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradstep import _C, special
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions._bases import Centred
from gradstep.distributions.utils import LOG_2_PI, broadcast_all, lazy_property

__all__ = ["VonMises"]


class VonMises(Centred):
    """VonMises(loc, concentration): angles in [-pi, pi), density ~ exp(concentration cos(x - loc)).

    Source: Best & Fisher, Efficient Simulation of the von Mises Distribution, 1979 (the sampler).
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _tensors = {"loc": 0, "concentration": 0}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def _log_prob(self, value: Tensor) -> Tensor:
        k = self.concentration
        return k * _C.cos(value - self.loc) - LOG_2_PI - special.i0e(k).log() - k

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        # Best and Fisher, "Efficient simulation of the von Mises distribution", 1979, in double.
        shape = self._extended_shape(sample_shape)
        with no_grad():
            loc = self.loc.double().expand(shape)
            k = self.concentration.double()
            tau = 1 + (1 + 4 * k.square()).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            # 1 / k + k is the limit of (1 + rho^2) / (2 rho), which cancels for small k.
            radius = _C.where(k < 1e-5, 1 / k + k, (1 + rho.square()) / (2 * rho)).expand(shape)
            k = k.expand(shape)
            angle = _C.zeros(shape, dtype=_C.float64, device=loc.device)
            wanted = _C.ones(shape, dtype=_C.bool, device=loc.device)
            while wanted.any():
                u1, u2, u3 = _C.rand((3, *shape), dtype=_C.float64, device=loc.device).unbind()
                z = _C.cos(math.pi * u1)
                f = (1 + radius * z) / (radius + z)
                c = k * (radius - f)
                accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                drawn = (u3 - 0.5).sign() * f.clamp(-1, 1).acos()
                angle = _C.where(wanted & accepted, drawn, angle)
                wanted = wanted & ~accepted
            return ((angle + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        """The circular variance, 1 - I1 / I0."""
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)
