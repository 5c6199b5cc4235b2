# SPDX-License-Identifier: Apache-2.0
"""`torch.special`: special functions, under SciPy's names where PyTorch has those."""

from typing import Any

from gradstep import _C
from gradstep._autocast import as_it_is
from gradstep._C import (
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    i0,
    log1p,
    log_softmax,
    logit,
    logsumexp,
    psi,
    round,
    sinc,
    softmax,
    xlogy,
)

expit = _C.sigmoid
gammaln = _C.lgamma

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "i0",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
]

_SQRT_HALF = 0.5**0.5


def entr(input: _C.Tensor) -> _C.Tensor:
    """-x log(x): 0 at 0, -inf below.

    >>> entr(torch.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return _C.where(input < 0, -float("inf"), 0 - xlogy(input, input))


def ndtr(input: _C.Tensor) -> _C.Tensor:
    """The distribution function of the standard normal distribution.

    >>> ndtr(torch.tensor([0.0]))
    tensor([0.5000])
    """
    return 0.5 * erfc(-_SQRT_HALF * input)


@as_it_is
def log_ndtr(input: _C.Tensor) -> _C.Tensor:
    """log(ndtr(x)).

    >>> log_ndtr(torch.tensor([0.0]))
    tensor([-0.6931])
    """
    return _C.log(ndtr(input))


@as_it_is
def ndtri(input: _C.Tensor) -> _C.Tensor:
    """The inverse of ndtr.

    >>> ndtri(torch.tensor([0.5]))
    tensor([0.])
    """
    return erfinv(2 * input - 1) / _SQRT_HALF


def xlog1py(input: Any, other: Any) -> _C.Tensor:
    """x log(1 + y), 0 where x is 0 and y is not NaN.

    >>> xlog1py(torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """
    return xlogy(input, other + 1)
