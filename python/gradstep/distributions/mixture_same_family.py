# SPDX-License-Identifier: Apache-2.0
"""Mixtures of distributions of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions.categorical import Categorical
from gradstep.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """MixtureSameFamily(mixture_distribution, component_distribution): the last batch axis of the components is
    what the Categorical chooses from."""

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of torch.distributions.Distribution"
            )
        components = component_distribution.batch_shape
        for a, b in zip(
            reversed(mixture_distribution.batch_shape), reversed(components[:-1]), strict=False
        ):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixture_distribution.batch_shape}) is not "
                    f"compatible with `component_distribution.batch_shape`({components[:-1]})"
                )
        n = mixture_distribution.probs.shape[-1]
        if components and n != components[-1]:
            raise ValueError(
                f"`mixture_distribution component` ({n}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({components[-1]})"
            )
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        self._num_component = n
        event = component_distribution.event_shape
        super().__init__(components[:-1], event, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> MixtureSameFamily:
        new: MixtureSameFamily = super().expand(batch_shape, _instance)
        new._num_component = self._num_component
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        components = (*batch_shape, self._num_component)
        new._component_distribution = self._component_distribution.expand(components)
        return new

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """What chooses the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components, along the last batch axis."""
        return self._component_distribution

    def _over_events(self, x: Tensor) -> Tensor:
        """x with an axis of size 1 for each of the event's."""
        return x.reshape(x.shape + (1,) * len(self._event_shape))

    @property
    def _axis(self) -> int:
        return -1 - len(self._event_shape)

    @property
    def mean(self) -> Tensor:
        weights = self._over_events(self._mixture_distribution.probs)
        return (weights * self._component_distribution.mean).sum(self._axis)

    @property
    def variance(self) -> Tensor:
        # The law of total variance.
        weights = self._over_events(self._mixture_distribution.probs)
        components = self._component_distribution
        within = (weights * components.variance).sum(self._axis)
        off = components.mean - self.mean.unsqueeze(self._axis)
        return within + (weights * off.square()).sum(self._axis)

    def _cdf(self, value: Tensor) -> Tensor:
        of_each = self._component_distribution.cdf(value.unsqueeze(self._axis))
        return (of_each * self._mixture_distribution.probs).sum(-1)

    def cdf(self, value: Tensor) -> Tensor:
        return self._cdf(value)

    def _log_prob(self, value: Tensor) -> Tensor:
        of_each = self._component_distribution.log_prob(value.unsqueeze(self._axis))
        weights = _C.log_softmax(self._mixture_distribution.logits, dim=-1)
        return _C.logsumexp(of_each + weights, dim=-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            n_sample, n_batch = len(sample_shape), len(self.batch_shape)
            chosen = self._mixture_distribution.sample(sample_shape)
            values = self._component_distribution.sample(sample_shape)
            axis = n_sample + n_batch
            index = chosen.reshape(chosen.shape + (1,) * (len(self._event_shape) + 1))
            index = index.expand(chosen.shape + (1,) + self._event_shape)
            return values.gather(axis, index).squeeze(axis)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
