# SPDX-License-Identifier: Apache-2.0
"""What the distributions share: broadcast parameters, probabilities and logits, values made at first use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Generic, TypeVar, overload

from gradstep import _C
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep.autograd.grad_mode import enable_grad
from gradstep.nn import functional as F

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

LOG_2_PI = math.log(2 * math.pi)
euler_constant = 0.57721566490153286060  # Euler and Mascheroni's

T = TypeVar("T")


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """The values as tensors of one shape. Numbers get the dtype and device of the first tensor."""
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects "
            "implementing __torch_function__."
        )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    options = (
        {"dtype": _C.get_default_dtype()}
        if like is None
        else {"dtype": like.dtype, "device": like.device}
    )
    tensors = [v if isinstance(v, Tensor) else _C.tensor(v, **options) for v in values]
    return tuple(_C.broadcast_tensors(*tensors))


def parameters(*values: Any) -> tuple[tuple[Tensor, ...], _C.Size]:
    """The values broadcast, and the batch shape that they give: none where all are numbers."""
    tensors = broadcast_all(*values)
    scalar = all(isinstance(v, Number) for v in values)
    return tensors, _C.Size() if scalar else tensors[0].shape


def one_of(name: str, first: Any, second: Any, names: Sequence[str]) -> None:
    """Raises unless just one of two ways to give a parameter is taken."""
    if (first is None) == (second is None):
        raise ValueError(
            f"{name}: either `{names[0]}` or `{names[1]}` must be specified, but not both."
        )


def require(ok: Tensor, message: Callable[[bool], str]) -> None:
    """ValueError(message(True)) unless all of ok is true; in a captured step at each replay, with message(False):
    values can't be shown while a step is recorded."""
    if _C._is_capturing():
        _C._require(ok, message(False))
    elif not ok.all():
        raise ValueError(message(True))


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities away from 0 and 1 by the dtype's epsilon."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log-odds, or of unnormalised log-probabilities along the last axis."""
    return _C.sigmoid(logits) if is_binary else F.softmax(logits, dim=-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of logits_to_probs, finite for probabilities of 0 and 1, too."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class lazy_property(Generic[T]):
    """A property that is computed once, with gradients, and then an attribute of its instance."""

    def __init__(self, wrapped: Callable[[Any], T]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: Any = None) -> lazy_property[T]: ...
    @overload
    def __get__(self, instance: Any, owner: Any = None) -> T: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        instance.__dict__[self.name] = value
        return value


def _standard_normal(shape: Sequence[int], dtype: _C.dtype, device: _C.device) -> Tensor:
    """Normal numbers of mean 0 and deviation 1. Libraries import it, as `_sum_rightmost`, from here."""
    return _C.randn(shape, dtype=dtype, device=device)


def standard_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Normal numbers of mean 0 and deviation 1, of the dtype and device of a tensor."""
    return _standard_normal(shape, like.dtype, like.device)


def uniform(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return _C.rand(shape, dtype=like.dtype, device=like.device)


def positive_uniform(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform numbers from the smallest normal one to 1."""
    return like.new_empty(shape).uniform_(finfo(like.dtype).tiny, 1)


def _sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last `dims` axes."""
    return value if dims == 0 else value.reshape(value.shape[: value.dim() - dims] + (-1,)).sum(-1)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle up to diagonal `diag` of [.., n, n], row by row: [.., entries]."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = _C.tril_indices(n, n, diag, device=mat.device)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of tril_matrix_to_vec: [.., entries] to [.., n, n], zero above."""
    # n from: entries = n (n + 1) / 2 + n diag - (diag (diag + 1) / 2 if diag > 0, what lies outside).
    entries = vec.shape[-1]
    n = next(
        (
            n
            for n in range(max(1, -diag), entries + abs(diag) + 2)
            if sum(min(max(row + 1 + diag, 0), n) for row in range(n)) == entries
        ),
        None,
    )
    if n is None:
        raise ValueError(
            f"The size of last dimension is {entries} which cannot be expressed as "
            "the lower triangular part of a square D x D matrix."
        )
    rows, columns = _C.tril_indices(n, n, diag, device=vec.device)
    mat = vec.new_zeros(vec.shape[:-1] + (n, n))
    mat[..., rows, columns] = vec
    return mat
