# SPDX-License-Identifier: Apache-2.0
"""ExponentialFamily: densities exp(<natural parameters, t(x)> - F + k(x))."""

from __future__ import annotations

from typing import Any

from gradstep import _C, autograd
from gradstep._C import Tensor
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import _sum_rightmost

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A distribution with natural parameters and the log normaliser F of them.

    The entropy follows from F by its gradient (Nielsen and Nock, "Entropies and cross-entropies of
    exponential families", 2010), unless a distribution knows it in closed form.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """F - <parameters, F's gradient> - E[k], differentiable."""
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        gradients = autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for parameter, gradient in zip(natural, gradients, strict=True):
            result = result - _sum_rightmost(parameter * gradient, len(self._event_shape))
        return _C.broadcast_to(result, self._batch_shape)
