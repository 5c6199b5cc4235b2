# SPDX-License-Identifier: Apache-2.0
"""Orthogonal polynomials by their three-term recurrences (NIST Digital Library of Mathematical Functions, 18.9).

The degree may be a tensor: the recurrence runs to the highest one. A negative degree gives 0. Without derivatives.
"""

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep._ops._smooth import without_derivative
from gradstep.autograd import Function


class _Polynomial(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, n: Tensor, name: str, first: Any, step: Any) -> Tensor:
        ctx.polynomial = name
        dtype = _C.result_type(x, n)
        dtype = dtype if dtype.is_floating_point else _C.get_default_dtype()
        x, n = _C.broadcast_tensors(x.detach().double(), n.detach().double().trunc())
        result = _C.where(n < 0, 0.0, _C.ones_like(x))
        before, now = _C.ones_like(x), first(x)
        highest = n[n < math.inf].max().item() if n.numel() else 0
        for k in range(1, int(highest) + 1):
            result = _C.where(n == k, now, result)
            before, now = now, step(k, x, now, before)
        return _C.where(x.isnan() | n.isnan(), math.nan, result).to(dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return without_derivative(f"special_{ctx.polynomial}")(g)


def _family(name: str, doc: str, first: Any, step: Any) -> Any:
    """p_0 = 1, p_1 = first(x), p_(k+1) = step(k, x, p_k, p_(k-1))."""

    def function(input: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        like = input if isinstance(input, Tensor) else n
        if not isinstance(like, Tensor):
            raise TypeError(f"special_{name}() received an invalid combination of arguments")
        input = input if isinstance(input, Tensor) else _C.tensor(input, device=like.device)
        n = n if isinstance(n, Tensor) else _C.tensor(n, device=like.device)
        result = _Polynomial.apply(input, n, name, first, step)
        return result if out is None else out.resize_(result.shape).copy_(result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}\n\nShape: input and the degree n (*), broadcast.\nSource: NIST DLMF, chapter 18, https://dlmf.nist.gov/18."
    return function


def _chebyshev(k: int, x: Tensor, now: Tensor, before: Tensor) -> Tensor:
    return 2 * x * now - before


def _shifted(step: Any) -> Any:
    return lambda k, x, now, before: step(k, 2 * x - 1, now, before)


_FIRST = {
    "t": lambda x: x,
    "u": lambda x: 2 * x,
    "v": lambda x: 2 * x - 1,
    "w": lambda x: 2 * x + 1,
}
for _kind, _first in _FIRST.items():
    _name = f"chebyshev_polynomial_{_kind}"
    globals()[_name] = _family(
        _name, f"Chebyshev's polynomial of kind {_kind.upper()}.", _first, _chebyshev
    )
    _name = "shifted_" + _name
    globals()[_name] = _family(
        _name,
        f"Chebyshev's polynomial of kind {_kind.upper()}, of 2x - 1.",
        lambda x, first=_first: first(2 * x - 1),
        _shifted(_chebyshev),
    )

hermite_polynomial_h = _family(
    "hermite_polynomial_h",
    "Hermite's polynomial of the physicists.",
    lambda x: 2 * x,
    lambda k, x, now, before: 2 * (x * now - k * before),
)
hermite_polynomial_he = _family(
    "hermite_polynomial_he",
    "Hermite's polynomial of the probabilists.",
    lambda x: x,
    lambda k, x, now, before: x * now - k * before,
)
laguerre_polynomial_l = _family(
    "laguerre_polynomial_l",
    "Laguerre's polynomial.",
    lambda x: 1 - x,
    lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
)
legendre_polynomial_p = _family(
    "legendre_polynomial_p",
    "Legendre's polynomial.",
    lambda x: x,
    lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
)
