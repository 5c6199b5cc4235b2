# SPDX-License-Identifier: Apache-2.0
"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep import _C
from gradstep._C import Tensor
from gradstep._ops.numeric import _sample_dirichlet
from gradstep.distributions import constraints
from gradstep.distributions.exp_family import ExponentialFamily
from gradstep.nn import functional as F

__all__ = ["Dirichlet"]


class Dirichlet(ExponentialFamily):
    """Dirichlet(concentration): on the simplex of the last axis."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _tensors = {"concentration": 1}
    _mean_carrier_measure = 0

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        # With all concentrations below 1 the density is largest at a corner.
        corner = F.one_hot(self.concentration.argmax(-1), self.concentration.shape[-1])
        flat = (self.concentration < 1).all(-1, keepdim=True)
        return _C.where(flat, corner.to(mode.dtype), mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        mean = self.concentration / total
        return mean * (1 - mean) / (total + 1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return _sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def _log_prob(self, value: Tensor) -> Tensor:
        return (
            _C.xlogy(self.concentration - 1.0, value).sum(-1)
            + _C.lgamma(self.concentration.sum(-1))
            - _C.lgamma(self.concentration).sum(-1)
        )

    def entropy(self) -> Tensor:
        k = self.concentration.shape[-1]
        total = self.concentration.sum(-1)
        return (
            _C.lgamma(self.concentration).sum(-1)
            - _C.lgamma(total)
            - (k - total) * _C.digamma(total)
            - ((self.concentration - 1.0) * _C.digamma(self.concentration)).sum(-1)
        )

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.lgamma().sum(-1) - _C.lgamma(x.sum(-1))
