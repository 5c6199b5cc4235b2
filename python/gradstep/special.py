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

_BESSEL = (
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 erfcx i0e i1 i1e modified_bessel_i0 modified_bessel_i1 "
    "modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0"
).split()
_POLYNOMIALS = [
    *(f"{s}chebyshev_polynomial_{kind}" for s in ("", "shifted_") for kind in "tuvw"),
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
]

__all__ = [
    *_BESSEL,
    *_POLYNOMIALS,
    "gammainc",
    "gammaincc",
    "multigammaln",
    "polygamma",
    "zeta",
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
    from gradstep._ops.bessel import erfcx

    x = _C.where(input < -1, input, -1.0)  # where ndtr is too small a number
    tail = _C.log(0.5 * erfcx(-_SQRT_HALF * x)) - 0.5 * x * x
    near = _C.where(input < -1, 0.0, input)
    return _C.where(input < -1, tail, _C.log1p(-0.5 * erfc(_SQRT_HALF * near)))


@as_it_is
def ndtri(input: _C.Tensor) -> _C.Tensor:
    """The inverse of ndtr.

    >>> ndtri(torch.tensor([0.5]))
    tensor([0.])
    """
    x = input if input.is_floating_point() else input.to(_C.get_default_dtype())
    return erfinv(2 * x - 1) / _SQRT_HALF


def xlog1py(input: Any, other: Any) -> _C.Tensor:
    """x log(1 + y), 0 where x is 0 and y is not NaN.

    >>> xlog1py(torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """
    if not isinstance(input, _C.Tensor) and not isinstance(other, _C.Tensor):
        raise TypeError("special_xlog1py() received an invalid combination of arguments")
    return xlogy(input, other + 1)


def multigammaln(input: _C.Tensor, p: int) -> _C.Tensor:
    """The logarithm of the multivariate gamma function of dimension p."""
    from gradstep._ops.arithmetic import mvlgamma

    return mvlgamma(input, p)


def gammainc(input: _C.Tensor, other: _C.Tensor) -> _C.Tensor:
    """The regularised lower incomplete gamma function."""
    from gradstep._ops.arithmetic import igamma

    return igamma(input, other)


def gammaincc(input: _C.Tensor, other: _C.Tensor) -> _C.Tensor:
    """The regularised upper incomplete gamma function."""
    from gradstep._ops.arithmetic import igammac

    return igammac(input, other)


def polygamma(n: int, input: _C.Tensor) -> _C.Tensor:
    """The n-th derivative of digamma."""
    from gradstep._ops import arithmetic

    return arithmetic.polygamma(n, input)


def zeta(input: Any, other: Any, *, out: _C.Tensor | None = None) -> _C.Tensor:
    """The zeta function of Hurwitz: the sum over k of (other + k)^-input; differentiable in other."""
    from gradstep._ops import arithmetic

    return arithmetic.zeta(input, other, out=out)


def __getattr__(name: str) -> Any:
    import importlib

    if name in _BESSEL or name in _POLYNOMIALS:
        family = "bessel" if name in _BESSEL else "polynomials"
        return getattr(importlib.import_module(f"gradstep._ops.{family}"), name)
    raise AttributeError(f"module 'gradstep.special' has no attribute '{name}'")
