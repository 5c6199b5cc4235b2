# SPDX-License-Identifier: Apache-2.0
"""Number theory, bits of floats, and the functions around the gamma function. Computed in float64, rounded once.

Source of the formulas: NIST Digital Library of Mathematical Functions (https://dlmf.nist.gov), sections named below.
"""

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep._ops._smooth import promoted, smooth, to_double
from gradstep.autograd import Function

# ---- through numpy ----


def _tensors(name: str, *values: Any) -> list[Tensor]:
    like = next(v for v in values if isinstance(v, Tensor))
    return [
        v if isinstance(v, Tensor) else _C.tensor(v, dtype=like.dtype, device=like.device)
        for v in values
    ]


def _by_numpy(name: str, input: Tensor, other: Any, out: Tensor | None, integers: bool) -> Tensor:
    import numpy as np

    if not isinstance(other, Tensor):
        raise TypeError(
            f"{name}(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        )
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    dtype = _C.result_type(input, other)
    if dtype is _C.bool or dtype.is_floating_point == integers:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype}'")
    wide = _C.float32 if dtype in (_C.bfloat16, _C.float16) else dtype
    a, b = (t.detach().to(wide).cpu().numpy() for t in _C.broadcast_tensors(input, other))
    result = _C.from_numpy(np.asarray(getattr(np, name)(a, b))).to(input.device, dtype)
    return result if out is None else out.resize_(result.shape).copy_(result)


def gcd(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The greatest common divisor, at least 0.

    Shape: input and other (*), broadcast.
    Raises: RuntimeError where shapes do not broadcast.

    >>> gcd(torch.tensor([6, 0]), torch.tensor([4, -3]))
    tensor([2, 3])
    """
    return _by_numpy("gcd", input, other, out, True)


def lcm(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The least common multiple, at least 0.

    Shape: input and other (*), broadcast.
    Raises: RuntimeError where shapes do not broadcast.

    >>> lcm(torch.tensor([6]), torch.tensor([4]))
    tensor([12])
    """
    return _by_numpy("lcm", input, other, out, True)


def gcd_(input: Tensor, other: Tensor) -> Tensor:
    """gcd, written over input."""
    return input.copy_(gcd(input, other))


def lcm_(input: Tensor, other: Tensor) -> Tensor:
    """lcm, written over input."""
    return input.copy_(lcm(input, other))


class _NextAfter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor) -> Tensor:
        ctx.shapes = x.shape, other.shape
        return _by_numpy("nextafter", x, other, None, False)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        return g.sum_to_size(ctx.shapes[0]), _C.zeros_like(g).sum_to_size(ctx.shapes[1])


def nextafter(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The next floating-point number after input in the direction of other.

    Shape: input and other (*), broadcast.
    Raises: RuntimeError where shapes do not broadcast.
    """
    if _C.result_type(input, other) in (_C.bfloat16, _C.float16):
        raise NotImplementedError("nextafter of halves is not implemented")
    if out is not None:
        return _by_numpy("nextafter", input, other, out, False)
    return _NextAfter.apply(input, other)


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """(mantissa, exponent) with input = mantissa * 2^exponent and 1/2 <= |mantissa| < 1; the exponent is int32.

    Shape: (*) to mantissa and exponent (*), the exponent int32.
    """
    import numpy as np

    from gradstep._ops._results import named

    if not input.dtype.is_floating_point:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    x = input.detach().double()
    _, e = np.frexp(x.cpu().numpy())
    exponent = _C.from_numpy(np.asarray(e, np.int32)).to(input.device)
    # In two factors, because 2^1074 is no double.
    half = exponent.double().mul(-0.5).floor()
    other = -exponent.double() - half
    mantissa = (input.double() * half.exp2() * other.exp2()).to(input.dtype)
    if out is not None:
        return named("frexp", mantissa=out[0].copy_(mantissa), exponent=out[1].copy_(exponent))
    return named("frexp", mantissa=mantissa, exponent=exponent)


def angle(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The argument of a real number: 0, pi where it is negative, NaN where it is NaN."""
    x = promoted(input)
    result = _C.where(x.isnan(), x, _C.where(x < 0, x.new_full((), math.pi), 0.0))
    return result if out is None else out.resize_(result.shape).copy_(result)


# ---- zeta and polygamma ----

# B_2j / (2j)! for j = 1, 2, ..
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000,
)  # fmt: skip


def hurwitz(x: Tensor, q: Tensor) -> Tensor:
    """The zeta function of Hurwitz, sum of (q + k)^-x, by Euler and Maclaurin's formula (DLMF 25.11.5), in float64."""
    x, q = _C.broadcast_tensors(x, q)
    finite = q[(q > -1e6) & (q < 1e300)]
    n = 10 + (max(0, math.ceil(-float(finite.min().item()))) if finite.numel() else 0)
    total = _C.zeros_like(x)
    for k in range(n):
        total = total + (q + k) ** -x
    a = q + n
    total = total + a ** (1 - x) / (x - 1) + 0.5 * a**-x
    factor, power = x, a ** (-x - 1)
    for j, b in enumerate(_BERNOULLI):
        total = total + b * factor * power
        factor = factor * (x + 2 * j + 1) * (x + 2 * j + 2)
        power = power / (a * a)
    pole = (q <= 0) & (q == q.floor())
    total = _C.where((q <= 0) & ~pole & (x != x.floor()), math.nan, total)
    total = _C.where(pole, math.inf, total)
    return _C.where(x == 1, math.inf, _C.where(x < 1, math.nan, total))


class _Zeta(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, q: Tensor) -> Tensor:
        ctx.save_for_backward(x, q)
        dtype = _C.result_type(x, q)
        dtype = dtype if dtype.is_floating_point else _C.get_default_dtype()
        return hurwitz(to_double(x), to_double(q)).to(dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:
        # d zeta(x, q) / dq = -x zeta(x + 1, q)
        x, q = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            raise NotImplementedError("the derivative for 'special_zeta: self' is not implemented.")
        return None, (g * -x * _Zeta.apply(x + 1, q)).sum_to_size(q.shape)


def zeta(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """The zeta function of Hurwitz."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError("special_zeta() received an invalid combination of arguments")
    x, q = _tensors("zeta", input, other)
    result = _Zeta.apply(x, q)
    return result if out is None else out.resize_(result.shape).copy_(result)


def _polygamma(n: int) -> Any:
    def value(x: Tensor) -> Tensor:
        if n == 0:
            return _C.digamma(x)
        if n == 1:
            # psi'(1 - x) + psi'(x) = (pi / sin(pi x))^2 (DLMF 5.15.6)
            low = x < 0.5
            y = hurwitz(_C.full_like(x, 2.0), _C.where(low, 1 - x, x))
            return _C.where(low, (math.pi / _C.sin(math.pi * x)) ** 2 - y, y)
        sign = 1.0 if n % 2 else -1.0
        return sign * math.factorial(n) * hurwitz(_C.full_like(x, n + 1.0), x)

    return value


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of digamma.

    Shape: (*) to (*).

    >>> polygamma(1, torch.tensor([1.0]))
    tensor([1.6449])
    """
    if isinstance(n, Tensor):  # the method: x.polygamma(n)
        n, input = int(input), n
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    result = smooth(_polygamma(n), lambda x: polygamma(n + 1, x), input)
    return result if out is None else out.resize_(result.shape).copy_(result)


def mvlgamma(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p (DLMF 35.3.5).

    Shape: (*) to (*).
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = promoted(input)
    shifts = _C.arange(p, dtype=x.dtype, device=x.device) * -0.5
    result = _C.lgamma(x.unsqueeze(-1) + shifts).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)
    return result if out is None else out.resize_(result.shape).copy_(result)


# ---- the incomplete gamma functions ----


def _lower_and_upper(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """P(a, x) by its series (DLMF 8.11.4) where x < a + 1, else Q by its continued fraction (8.9.2), by Lentz."""
    a, x = _C.broadcast_tensors(a, x)
    inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    sa, sx = _C.where(inside, a, 1.0), _C.where(inside, x, 1.0)
    by_series = sx < sa + 1
    front = _C.exp(sa * _C.log(sx) - sx - _C.lgamma(sa))
    xs, ac = _C.where(by_series, sx, 1.0), _C.where(by_series, sa, 1.0)
    term = 1 / ac
    total = term
    for k in range(1, 10000):
        term = term * xs / (ac + k)
        total = total + term
        if not bool((term > total * 1e-17).any().item()):
            break
    xf, af = _C.where(by_series, 3.0, sx), _C.where(by_series, 1.0, sa)
    b = xf + 1 - af
    c = _C.full_like(b, 1e300)
    d = 1 / b
    h = d
    for k in range(1, 10000):
        an = k * (af - k)
        b = b + 2
        d = 1 / (an * d + b)
        c = b + an / c
        h = h * d * c
        if not bool(((d * c - 1).abs() > 1e-16).any().item()):
            break
    lower = _C.where(by_series, front * total, 1 - front * h)
    upper = _C.where(by_series, 1 - front * total, front * h)
    nan = (
        (a < 0) | (x < 0) | a.isnan() | x.isnan() | ((a == 0) & (x == 0)) | (a.isinf() & x.isinf())
    )
    one = ((a == 0) & (x > 0)) | (x == math.inf)
    zero = (x == 0) | (a == math.inf)

    def finish(y: Tensor, at_one: float) -> Tensor:
        y = _C.where(inside, y, _C.where(zero, 1 - at_one, y))
        return _C.where(nan, math.nan, _C.where(one, at_one, y))

    return finish(lower, 1.0), finish(upper, 0.0)


class _IncompleteGamma(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor, upper: bool) -> Tensor:
        ctx.save_for_backward(a, x)
        ctx.upper = upper
        return _lower_and_upper(to_double(a), to_double(x))[upper].to(_C.result_type(a, x))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, None]:
        # dP/dx = x^(a-1) exp(-x) / Gamma(a)
        a, x = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            raise NotImplementedError("the derivative for 'igamma: input' is not implemented.")
        slope = _C.exp((a - 1) * _C.log(x) - x - _C.lgamma(a))
        return None, (g * (-slope if ctx.upper else slope)).sum_to_size(x.shape), None


def _incomplete(name: str, a: Tensor, x: Tensor, upper: bool, out: Tensor | None) -> Tensor:
    a, x = _tensors(name, a, x)
    if not _C.result_type(a, x).is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{a.dtype}'")
    result = _IncompleteGamma.apply(a, x, upper)
    return result if out is None else out.resize_(result.shape).copy_(result)


def igamma(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The regularised lower incomplete gamma function P(input, other); differentiable in other.

    Shape: input and other (*), broadcast.
    Raises: RuntimeError where shapes do not broadcast.
    """
    return _incomplete("igamma_cpu", input, other, False, out)


def igammac(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 - igamma(input, other), the regularised upper incomplete gamma function.

    Shape: input and other (*), broadcast.
    Raises: RuntimeError where shapes do not broadcast.
    """
    return _incomplete("igammac_cpu", input, other, True, out)
