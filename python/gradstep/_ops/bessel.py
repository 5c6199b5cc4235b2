# SPDX-License-Identifier: Apache-2.0
"""Bessel functions, Airy's function and the scaled complementary error function.

In float64 from integrals over a period or over the real line, for which the trapezoidal rule converges exponentially
(Trefethen and Weideman 2014, SIAM Review 56), and from asymptotic series for large arguments. Formulas by their
numbers in the NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov.
"""

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep._ops._smooth import smooth, without_derivative

_EULER = 0.5772156649015329
_FAR = 25.0  # from here on the asymptotic series have all digits


def _hankel_terms(nu: float, n: int) -> list[float]:
    """a_k(nu) of DLMF 10.17.1."""
    terms = [1.0]
    for k in range(1, n):
        terms.append(terms[-1] * (4 * nu * nu - (2 * k - 1) ** 2) / (8 * k))
    return terms


def _series(terms: Any, x: Tensor) -> Tensor:
    """The sum of terms[k] / x^k."""
    total = _C.zeros_like(x)
    for t in reversed(list(terms)):
        total = total / x + t
    return total


# ---- J and Y ----


def _far_wave(nu: float, x: Tensor, second: bool) -> Tensor:
    """J, or Y, by DLMF 10.17.3 and 10.17.4."""
    a = _hankel_terms(nu, 30)
    p = _series([0.0 if k % 2 else (-1.0) ** (k // 2) * a[k] for k in range(30)], x)
    q = _series([(-1.0) ** (k // 2) * a[k] if k % 2 else 0.0 for k in range(30)], x)
    w = x - (nu / 2 + 0.25) * math.pi
    wave = p * w.sin() + q * w.cos() if second else p * w.cos() - q * w.sin()
    return wave * (2 / (math.pi * x)).sqrt()


def _near(x: Tensor) -> Tensor:
    return _C.where(x < _FAR, x, 1.0)


def _far(x: Tensor) -> Tensor:
    return _C.where(x < _FAR, _FAR, x)


_NODES = 80


def _j_near(n: int, x: Tensor) -> Tensor:
    # the mean of cos(n t - x sin t) over half a period: DLMF 10.9.2
    total = _C.zeros_like(x)
    for i in range(_NODES):
        t = math.pi * (i + 0.5) / _NODES
        total = total + (n * t - x * math.sin(t)).cos()
    return total / _NODES


def _j(n: int) -> Any:
    def value(x: Tensor) -> Tensor:
        z = x.abs()
        y = _C.where(z < _FAR, _j_near(n, _near(z)), _far_wave(n, _far(z), False))
        y = _C.where(z == math.inf, 0.0, y)
        return y * x.sign() if n % 2 else y

    return value


def _sum_over_even(x: Tensor, slope: bool) -> Tensor:
    """The sum over k of (-1)^k J_2k(x) / k, or its derivative: one integral, as J_2k is one."""
    total = _C.zeros_like(x)
    for i in range(_NODES):
        t = math.pi * (i + 0.5) / _NODES
        weight = sum((-1) ** k * math.cos(2 * k * t) / k for k in range(1, 37))
        s = math.sin(t)
        total = total + weight * (-s * (x * s).sin() if slope else (x * s).cos())
    return total / _NODES


def _y0(x: Tensor) -> Tensor:
    # DLMF 10.8.2 in Neumann's form: 10.23.15
    z = _near(x)
    near = (2 / math.pi) * (((z / 2).log() + _EULER) * _j_near(0, z) - 2 * _sum_over_even(z, False))
    return _at_the_edge(x, _C.where(x < _FAR, near, _far_wave(0.0, _far(x), True)))


def _y1(x: Tensor) -> Tensor:
    # Y1 is minus the derivative of Y0
    z = _near(x)
    near = (2 / math.pi) * (
        ((z / 2).log() + _EULER) * _j_near(1, z) - _j_near(0, z) / z + 2 * _sum_over_even(z, True)
    )
    return _at_the_edge(x, _C.where(x < _FAR, near, _far_wave(1.0, _far(x), True)))


def _at_the_edge(x: Tensor, y: Tensor) -> Tensor:
    y = _C.where(x == 0, -math.inf, _C.where(x < 0, math.nan, y))
    return _C.where(x == math.inf, 0.0, _C.where(x.isnan(), x, y))


def _spherical_j0(x: Tensor) -> Tensor:
    return _C.where(x.isinf(), 0.0, _C.where(x == 0, 1.0, x.sin() / x))


# ---- I and K ----


def _ie(n: int) -> Any:
    """exp(-|x|) I_n(x): DLMF 10.32.3 and 10.40.1."""

    def value(x: Tensor) -> Tensor:
        z = x.abs()
        near = _near(z)
        total = _C.zeros_like(z)
        for i in range(_NODES):
            t = math.pi * (i + 0.5) / _NODES
            total = total + (near * (math.cos(t) - 1)).exp() * math.cos(n * t)
        far = _far(z)
        terms = [(-1.0) ** k * a for k, a in enumerate(_hankel_terms(n, 30))]
        y = _C.where(z < _FAR, total / _NODES, _series(terms, far) / (2 * math.pi * far).sqrt())
        y = _C.where(z == math.inf, 0.0, y)
        if n:
            # The mean loses the leading digits of small arguments: I_1(x) = x/2 + x^3/16 + ..
            small = z < 1e-2
            s = _C.where(small, z, 0.0)
            y = _C.where(small, (s / 2) * (1 + s * s / 8 + s**4 / 192) * (-s).exp(), y)
            return y * x.sign()
        return y

    return value


def _grown(n: int) -> Any:
    return lambda x: _ie(n)(x) * x.abs().exp()


def _ke(nu: float, x: Tensor) -> Tensor:
    """exp(x) K_nu(x) for x > 0: DLMF 10.32.9 and 10.40.2."""
    near = _near(x)
    total = 0.5 * _C.ones_like(x)
    h, k = 0.1, 1
    # exp(-x cosh t) is below the last digit where x cosh t > 40.
    lowest = float(near[near > 0].min().item()) if bool((near > 0).any().item()) else 1.0
    last = math.acosh(1 + 42 / max(lowest, 1e-15)) * (1 + nu / 40) + 1
    while k * h < last:
        total = total + (near * (1 - math.cosh(k * h))).exp() * math.cosh(nu * k * h)
        k += 1
    far = _far(x)
    return _C.where(
        x < _FAR, h * total, _series(_hankel_terms(nu, 30), far) * (math.pi / (2 * far)).sqrt()
    )


def _k(n: int, scaled: bool) -> Any:
    def value(x: Tensor) -> Tensor:
        # For small x the limit 1/x, or -log(x/2) - gamma: DLMF 10.30.2 and 10.30.3.
        tiny = x < 1e-9
        z = _C.where((x > 0) & ~tiny, x, 1.0)
        y = _ke(n, z)
        y = _C.where(tiny, 1 / x if n else -((x / 2).log() + _EULER), y)
        y = y if scaled else y * _C.where(tiny, 1.0, (-z).exp())
        y = _C.where(x == 0, math.inf, _C.where(x < 0, math.nan, y))
        return _C.where(x == math.inf, 0.0, _C.where(x.isnan(), x, y))

    return value


# ---- Airy's function ----

_AI0 = 1 / (3 ** (2 / 3) * math.gamma(2 / 3))
_AI1 = 1 / (3 ** (1 / 3) * math.gamma(1 / 3))


def _airy_near(x: Tensor) -> Tensor:
    """Maclaurin's series, DLMF 9.4.1."""
    f = term_f = _C.ones_like(x)
    g = term_g = x
    cube = x**3
    for k in range(1, 60):
        term_f = term_f * cube / ((3 * k) * (3 * k - 1))
        term_g = term_g * cube / ((3 * k) * (3 * k + 1))
        f, g = f + term_f, g + term_g
    return _AI0 * f - _AI1 * g


def _airy(x: Tensor) -> Tensor:
    right = _C.where(x > 1, x, 1.0)
    z = (2 / 3) * right**1.5
    by_k = (right / 3).sqrt() / math.pi * _ke(1 / 3, z) * (-z).exp()  # DLMF 9.6.2
    left = _C.where(x < -8, -x, 8.0)
    z = (2 / 3) * left**1.5
    u = [1.0]  # DLMF 9.7.2
    for k in range(1, 24):
        u.append(u[-1] * (6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216 * k * (2 * k - 1)))
    p = _series([0.0 if k % 2 else (-1.0) ** (k // 2) * u[k] for k in range(24)], z)
    q = _series([(-1.0) ** (k // 2) * u[k] if k % 2 else 0.0 for k in range(24)], z)
    w = z - math.pi / 4
    by_wave = (w.cos() * p + w.sin() * q) / (math.sqrt(math.pi) * left**0.25)  # DLMF 9.7.9
    middle = _airy_near(_C.where((x >= -8) & (x <= 1), x, 0.0))
    y = _C.where(x > 1, by_k, _C.where(x < -8, by_wave, middle))
    return _C.where(x == math.inf, 0.0, _C.where(x.isnan() | (x == -math.inf), math.nan, y))


def _erfcx(x: Tensor) -> Tensor:
    near = _C.where(x < 8, x, 0.0)
    far = _C.where(x < 8, 8.0, x)
    terms, t = [1.0], 1.0
    for k in range(1, 24):
        t *= -(2 * k - 1) / 2
        terms.append(t)
    tail = _series(terms, far * far) / (far * math.sqrt(math.pi))  # DLMF 7.12.1
    return _C.where(x < 8, (near * near).exp() * _C.erfc(near), tail)


# ---- the public functions ----


def _function(name: str, doc: str, value: Any, derivative: Any = None) -> Any:
    slope = derivative or without_derivative(f"special_{name}")

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        result = smooth(value, slope, input)
        return result if out is None else out.resize_(result.shape).copy_(result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{doc}\n\nShape: input (*), result the same.\nSource: NIST DLMF, https://dlmf.nist.gov."
    )
    return function


def _i1_slope(x: Tensor) -> Tensor:
    zero = x == 0
    return _C.i0(x) - _C.where(zero, 0.5, i1(x) / _C.where(zero, 1.0, x))


def _i1e_slope(x: Tensor) -> Tensor:
    zero = x == 0
    s = _C.where(zero, 1.0, x)
    return _C.where(zero, 0.5, i0e(x) - i1e(x) * (s.sign() + 1 / s))


i0e: Any = _function("i0e", "exp(-|x|) I_0(x).", _ie(0), lambda x: i1e(x) - x.sign() * i0e(x))
i1: Any = _function("i1", "The modified Bessel function I_1.", _grown(1), _i1_slope)
i1e: Any = _function("i1e", "exp(-|x|) I_1(x).", _ie(1), _i1e_slope)
erfcx: Any = _function(
    "erfcx", "exp(x^2) erfc(x).", _erfcx, lambda x: 2 * x * erfcx(x) - 2 / math.sqrt(math.pi)
)
airy_ai = _function("airy_ai", "Airy's function Ai.", _airy)
bessel_j0 = _function("bessel_j0", "The Bessel function J_0.", _j(0))
bessel_j1 = _function("bessel_j1", "The Bessel function J_1.", _j(1))
bessel_y0 = _function("bessel_y0", "The Bessel function Y_0.", _y0)
bessel_y1 = _function("bessel_y1", "The Bessel function Y_1.", _y1)
modified_bessel_i0 = _function("modified_bessel_i0", "The modified Bessel function I_0.", _grown(0))
modified_bessel_i1 = _function("modified_bessel_i1", "The modified Bessel function I_1.", _grown(1))
modified_bessel_k0 = _function("modified_bessel_k0", "The modified function K_0.", _k(0, False))
modified_bessel_k1 = _function("modified_bessel_k1", "The modified function K_1.", _k(1, False))
scaled_modified_bessel_k0 = _function("scaled_modified_bessel_k0", "exp(x) K_0(x).", _k(0, True))
scaled_modified_bessel_k1 = _function("scaled_modified_bessel_k1", "exp(x) K_1(x).", _k(1, True))
spherical_bessel_j0 = _function("spherical_bessel_j0", "sin(x) / x.", _spherical_j0)
