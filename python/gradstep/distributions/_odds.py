# SPDX-License-Identifier: Apache-2.0
"""Odds: the base of distributions of a yes or no, given by a probability or by its log-odds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.utils import (
    lazy_property,
    logits_to_probs,
    one_of,
    parameters,
    probs_to_logits,
)

__all__ = ["Odds"]


class Odds(Distribution):
    """``probs`` or ``logits`` = log(probs / (1 - probs)); the other one is computed when it is asked for."""

    _tensors = {"probs": 0, "logits": 0}

    def _give(self, probs: Any, logits: Any, *others: Any) -> tuple[Tensor, ...]:
        """Takes the one that is given, broadcast with `others`, which come back."""
        one_of(type(self).__name__, probs, logits, ("probs", "logits"))
        name, value = ("probs", probs) if logits is None else ("logits", logits)
        (mine, *rest), self._given_shape = parameters(value, *others)
        self.__dict__[name] = mine
        return tuple(rest)

    @lazy_property
    def logits(self) -> Tensor:
        """The log-odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]

    @property
    def param_shape(self) -> _C.Size:
        """The shape of the parameter that was given."""
        return self._param.shape

    def _new(self, shape: Sequence[int]) -> Tensor:
        return self._param.new_empty(shape)
