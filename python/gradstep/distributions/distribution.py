# SPDX-License-Identifier: Apache-2.0
"""Distribution: the base of all distributions, with what follows from a distribution's parameters alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gradstep import _C
from gradstep._C import Size, Tensor
from gradstep._serialization.names import is_ours
from gradstep.autograd.grad_mode import no_grad
from gradstep.distributions import constraints
from gradstep.distributions.utils import lazy_property, require

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Distribution"]


class Distribution:
    """A distribution of tensors: a batch of independent ones, each of which gives an event.

    A sample has the shape ``sample_shape + batch_shape + event_shape``; log_prob has
    ``sample_shape + batch_shape``. Parameters and values are checked (``validate_args``), with
    ValueError, unless Python runs with -O or set_default_validate_args(False) was called.

    Raises: ValueError for parameters or values outside of their constraints (unless
    validate_args=False);
    NotImplementedError for what a distribution does not have.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    #: The tensors that make up the distribution: how many of the last axes of each belong to an event.
    _tensors: ClassVar[dict[str, int]] = {}

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their parameters and values from now on."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        try:
            arg_constraints = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` "
                "or initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        for name, constraint in arg_constraints.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # the other form was given
            value = getattr(self, name)
            self._require(
                constraint.check(value),
                value,
                f"parameter {name}",
                "of distribution {0} to satisfy the constraint {1}",
                constraint,
            )

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """The distribution with its batch expanded to batch_shape, without copies."""
        new = self._get_checked_instance(self._own_class(), _instance)
        batch_shape = Size(batch_shape)
        for name, n_event in self._tensors.items():
            if name in self.__dict__:
                value = self.__dict__[name]
                event = value.shape[value.dim() - n_event :]
                new.__dict__[name] = value.expand(batch_shape + event)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one event; empty for numbers."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The constraint of each parameter of __init__."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The constraint that all values fulfil."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The value of the largest density or probability."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Values of shape sample_shape + batch_shape + event_shape, outside autograd."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Values through which gradients reach the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """n values; deprecated for sample((n,))."""
        warnings.warn(
            "sample_n(n) will be deprecated. Use .sample((n,)) instead.",
            UserWarning,
            stacklevel=2,
        )
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return self._log_prob(value)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to this one."""
        if self._validate_args:
            self._validate_sample(value)
        return self._cdf(value)

    def _log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def _cdf(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile: the inverse of cdf."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a finite support, along a new first axis."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy of each distribution of the batch, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return _C.exp(self.entropy())

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        n_event = len(self._event_shape)
        if value.shape[value.dim() - n_event :] != self._event_shape:
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.shape} vs {self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for a, b in zip(reversed(value.shape), reversed(expected), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.shape} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        self._require(
            support.check(value),
            value,
            "value argument",
            "to be within the support ({1}) of the distribution {0}",
            support,
        )

    def _require(
        self, ok: Tensor, value: Tensor, what: str, wanted: str, constraint: constraints.Constraint
    ) -> None:
        def message(values: bool) -> str:
            shape = f"({type(value).__name__} of shape {tuple(value.shape)})"
            both = (self, constraint)
            shown = [repr(x) if values else type(x).__name__ for x in both]
            text = f"Expected {what} {shape} {wanted.format(*shown)}, but found invalid values"
            return f"{text}:\n{value}" if values else text

        require(ok, message)

    def _own_class(self) -> type:
        """The class of this package that a user's class may be derived from."""
        return next(
            c
            for c in type(self).__mro__
            if is_ours(c.__module__) and c.__module__.split(".")[1:2] == ["distributions"]
        )

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ "
                "method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        shown = [(name, self.__dict__[name]) for name in names]
        parts = (f"{name}: {v if v.numel() == 1 else v.shape}" for name, v in shown)
        return f"{type(self).__name__}({', '.join(parts)})"
