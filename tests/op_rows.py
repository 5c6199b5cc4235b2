# SPDX-License-Identifier: Apache-2.0
"""What the tables of ops (op_samples.py) are written with: the maker of inputs, the row, the usual kinds of rows."""

from dataclasses import dataclass, field

import numpy as np
import torch

# ---- the maker of inputs ----


class Maker:
    """Tensors of one dtype with seeded values in [low, high], not too close to kinks at whole numbers."""

    def __init__(self, dtype, low=-3.0, high=3.0):
        self.dtype, self.low, self.high = dtype, low, high
        self.rng = np.random.default_rng(7)

    def __call__(self, *shape, low=None, high=None):
        low = self.low if low is None else low
        high = self.high if high is None else high
        if self.dtype == torch.bool:
            return self.mask(*shape)
        values = self.rng.uniform(low, high, shape)
        if not self.dtype.is_floating_point:
            return torch.tensor(np.round(values), dtype=torch.float64).to(self.dtype)
        # Away from whole numbers, so that rounding and comparing ops do not hang on the last bit.
        near = np.round(values)
        values = np.where(
            np.abs(values - near) < 0.05, near + 0.05 * np.where(near >= high, -1, 1), values
        )
        return torch.tensor(values, dtype=self.dtype)

    def ints(self, end, *shape, dtype=torch.int64):
        return torch.tensor(self.rng.integers(0, end, shape), dtype=dtype)

    def mask(self, *shape):
        return torch.tensor(self.rng.random(shape) < 0.5)

    def distinct(self, *shape):
        """No two elements are equal: for sorts and maxima."""
        n = int(np.prod(shape))
        values = (self.rng.permutation(n) - n // 2) / (4 if self.dtype.is_floating_point else 1)
        return torch.tensor(values.reshape(shape), dtype=torch.float64).to(self.dtype)

    def spd(self, n):
        a = torch.tensor(self.rng.standard_normal((n, n)))
        return (a @ a.T + n * torch.eye(n, dtype=torch.float64)).to(self.dtype)


def call(*args, **kwargs):
    return args, kwargs


# ---- rows ----


@dataclass
class Row:
    """An op: its name, second names, samples, and in what it differs from the usual."""

    name: str
    samples: object
    aliases: tuple = ()
    low: float = -3.0
    high: float = 3.0
    grad: bool = True  # derivatives of floating inputs are compared
    gradgrad: bool = True  # second derivatives too
    values: bool = (
        True  # False: only shape and dtype can be compared (random numbers, uninitialised memory)
    )
    seeded: bool = False  # random, with PyTorch's numbers for the same seed
    strided: bool = True  # False: the result depends on the layout of the input
    inplace: bool = True  # False: a twin with an underscore is another op
    dtypes: tuple = ("float32", "float64", "bfloat16", "int64", "bool")
    tolerance: dict = field(default_factory=dict)  # dtype -> (rtol, atol)


SHAPES = ((2, 3), (), (0,), (3, 0, 2), (2, 1, 4))
PAIRS = (((2, 3), (2, 3)), ((), ()), ((2, 1, 3), (4, 1)), ((0,), (1,)), ((3,), ()))
TRIPLES = (((2, 3), (2, 3), (2, 3)), ((), (), ()), ((2, 1, 3), (4, 1), (3,)), ((0,), (1,), (0,)))


def unary(name, low=-3.0, high=3.0, **kw):
    return Row(name, lambda m: (call(m(*s)) for s in SHAPES), low=low, high=high, **kw)


def binary(name, low=-3.0, high=3.0, numbers=(), **kw):
    """Two tensors that broadcast; `numbers` are tried as the second operand."""

    def samples(m):
        yield from (call(m(*a), m(*b)) for a, b in PAIRS)
        yield from (call(m(2, 3), n) for n in numbers)

    return Row(name, samples, low=low, high=high, **kw)


def predicate(name, **kw):
    def samples(m):
        yield from (call(m(*s)) for s in SHAPES)
        if m.dtype.is_floating_point:
            yield call(
                torch.tensor(
                    [0.0, -0.0, 1.0, float("inf"), -float("inf"), float("nan")], dtype=m.dtype
                )
            )

    return Row(name, samples, grad=False, **kw)


def with_args(name, *arguments, shapes=((2, 3),), **kw):
    """x of each shape, with each of the argument lists."""
    return Row(
        name, lambda m: (call(m(*s), *a[0], **a[1]) for s in shapes for a in arguments), **kw
    )


def ternary(name, *extra, **kw):
    def samples(m):
        yield from (call(*(m(*s) for s in t)) for t in TRIPLES)
        yield from (call(m(2, 3), m(2, 3), m(3), **k) for k in extra)

    return Row(name, samples, **kw)


def reduction(
    name, whole=True, keepdims=True, lists=True, distinct=False, extra=(), empty=True, **kw
):
    """Over all elements, one axis, several, with keepdim; `extra` are more argument lists."""

    def samples(m):
        make = m.distinct if distinct else m
        x = make(3, 4, 2)
        if whole:
            yield call(x)
            yield call(make())
            if empty:
                yield call(make(0))
        yield call(x, 1)
        yield call(x, dim=-1, **({"keepdim": True} if keepdims else {}))
        yield call(make(), 0)
        if empty:
            yield call(make(3, 0, 2), 0)
        if lists:
            yield call(x, (0, 2))
            yield call(x, dim=(-1, 1), keepdim=True)
        yield from (call(x, *a[0], **a[1]) for a in extra)

    return Row(name, samples, **kw)


def scan(name, **kw):
    return Row(
        name,
        lambda m: (
            call(m(*s), d)
            for s, d in (((3, 4, 2), 1), ((5,), 0), ((), 0), ((0, 2), 0), ((2, 3), -1))
        ),
        **kw,
    )


def calls(name, samples, **kw):
    """Rows with samples of their own; `samples` may be a list that is made lazily from m."""
    return Row(name, samples, **kw)


FLOATS = ("float32", "float64", "bfloat16")
SINGLES = ("float32", "float64")
loose = {"float32": (1e-5, 1e-5), "float64": (1e-7, 1e-7)}


def a(*args, **kwargs):
    return args, kwargs
