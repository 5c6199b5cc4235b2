# SPDX-License-Identifier: Apache-2.0
"""A distribution through transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.independent import Independent
from gradstep.distributions.transforms import ComposeTransform, Transform
from gradstep.distributions.utils import _sum_rightmost

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    """TransformedDistribution(base_distribution, transforms): y = f_n(.. f_1(x)), x of the base:

    log p(y) = log p(x) - log |dy/dx|.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        given = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(given, list) or not all(isinstance(t, Transform) for t in given):
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        self.transforms: list[Transform] = given
        self._set_base(base_distribution)
        base_shape = self.base_dist.batch_shape + self.base_dist.event_shape
        shape = ComposeTransform(self.transforms).forward_shape(base_shape)
        split = len(shape) - self._n_event
        super().__init__(shape[:split], shape[split:], validate_args=validate_args)

    def _set_base(self, base: Distribution) -> None:
        """Keeps the base, broadcast to the transforms' shapes, with their events as its own."""
        shape = base.batch_shape + base.event_shape
        whole = ComposeTransform(self.transforms)
        if len(shape) < whole.domain.event_dim:
            raise ValueError(
                "base_distribution needs to have shape with size at least "
                f"{whole.domain.event_dim}, but got {shape}."
            )
        expanded = whole.inverse_shape(whole.forward_shape(shape))
        if shape != expanded:
            base = base.expand(expanded[: len(expanded) - len(base.event_shape)])
        extra = whole.domain.event_dim - len(base.event_shape)
        self.base_dist: Distribution = Independent(base, extra) if extra > 0 else base
        grown = whole.codomain.event_dim - whole.domain.event_dim
        self._n_event = max(whole.codomain.event_dim, len(self.base_dist.event_shape) + grown)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new.transforms = self.transforms
        whole = ComposeTransform(self.transforms)
        shape = whole.inverse_shape(_C.Size(batch_shape) + self.event_shape)
        base_batch = shape[: len(shape) - len(self.base_dist.event_shape)]
        new.base_dist = self.base_dist.expand(base_batch)
        new._n_event = self._n_event
        return new

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has rsample."""
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        if not self.transforms:
            return self.base_dist.support  # type: ignore[no-any-return]
        support: constraints.Constraint = self.transforms[-1].codomain
        extra = len(self.event_shape) - support.event_dim
        return constraints.independent(support, extra) if extra > 0 else support

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            x = self.base_dist.sample(sample_shape)
            for transform in self.transforms:
                x = transform(x)
            return x

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        x = self.base_dist.rsample(sample_shape)
        for transform in self.transforms:
            x = transform(x)
        return x

    def _log_prob(self, value: Tensor) -> Tensor:
        n_event = len(self.event_shape)
        slopes: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            n_event += transform.domain.event_dim - transform.codomain.event_dim
            slope = transform.log_abs_det_jacobian(x, y)
            slopes = slopes - _sum_rightmost(slope, n_event - transform.domain.event_dim)
            y = x
        base = self.base_dist.log_prob(y)
        return _sum_rightmost(base, n_event - len(self.base_dist.event_shape)) + slopes

    def _flipped(self, value: Tensor) -> Tensor:
        """1 - value where the transforms fall, else value: probabilities the other way round."""
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        if isinstance(sign, int) and sign == 1:
            return value
        return sign * (value - 0.5) + 0.5  # type: ignore[no-any-return]

    def _cdf(self, value: Tensor) -> Tensor:
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        if self.base_dist._validate_args:
            self.base_dist._validate_sample(value)
        return self._flipped(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        value = self.base_dist.icdf(self._flipped(value))
        for transform in self.transforms:
            value = transform(value)
        return value
