# SPDX-License-Identifier: Apache-2.0
"""The table of all ops: one row each, with the samples that every generic test of test_ops.py uses.

A new elementwise op is one line: `unary("softsign")`, `binary("hypot")`. A row is
    Row("name", samples)        torch.name, nn.functional.name or Tensor.name, whatever exists
    Row("F.unfold", samples)    where a name stands for two things: torch., F. or Tensor. in front
and `samples(m)` yields the argument lists, written with the maker m, which makes torch tensors of the dtype
under test: m(2, 3), m.ints(5, 2, 3), m.mask(2, 3). Non-contiguous copies, in-place twins, methods, dtypes,
first and second derivatives follow from the row; what PyTorch refuses for a dtype is left out.
"""

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


def loss(name, target, *extra, low=-3.0, high=3.0, batch=((3, 4), (2, 3, 2)), **kw):
    """(input, target) with every reduction; `target(m, shape)`."""

    def samples(m):
        for shape in batch:
            for reduction_ in ("mean", "sum", "none"):
                yield call(m(*shape), target(m, shape), reduction=reduction_)
        for options in extra:
            yield call(m(*batch[0]), target(m, batch[0]), **options(m))

    return Row(
        name, samples, low=low, high=high, **{"dtypes": ("float32", "float64", "bfloat16"), **kw}
    )


FLOATS = ("float32", "float64", "bfloat16")
SINGLES = ("float32", "float64")
loose = {"float32": (1e-5, 1e-5), "float64": (1e-7, 1e-7)}


def a(*args, **kwargs):
    return args, kwargs


def shaped(*sizes):
    """A creation function: sizes as arguments and as a tuple, with and without dtype."""

    def samples(m):
        yield from (call(*s) for s in sizes)
        yield from (call(s, dtype=m.dtype) for s in sizes)

    return samples


def classes(m, shape):
    return m.ints(shape[1], shape[0], *shape[2:])


def signs(m, shape):
    return (m.mask(*shape).to(torch.float64) * 2 - 1).to(m.dtype)


ELEMENTWISE = [
    unary("abs", aliases=("absolute",)),
    unary("neg", aliases=("negative",)),
    unary("sign"),
    unary("sgn"),
    unary("positive"),
    *[predicate(n) for n in "isreal".split()],
    *[unary(n) for n in "real conj".split()],
    unary("ceil"),
    unary("floor"),
    unary("trunc", aliases=("fix",)),
    unary("frac"),
    unary("square"),
    unary("sqrt", 0.1, 4),
    unary("rsqrt", 0.2, 4),
    unary("reciprocal", 0.3, 4),
    unary("exp"),
    unary("exp2"),
    unary("expm1"),
    unary("log", 0.1, 4),
    unary("log2", 0.1, 4),
    unary("log10", 0.1, 4),
    unary("log1p", -0.8, 4),
    unary("sin"),
    unary("cos"),
    unary("tan", -1.3, 1.3),
    unary("asin", -0.9, 0.9, aliases=("arcsin",)),
    unary("acos", -0.9, 0.9, aliases=("arccos",)),
    unary("atan", aliases=("arctan",)),
    unary("sinh"),
    unary("cosh"),
    unary("tanh"),
    unary("asinh", aliases=("arcsinh",)),
    unary("acosh", 1.1, 4, aliases=("arccosh",)),
    unary("atanh", -0.9, 0.9, aliases=("arctanh",)),
    unary("deg2rad"),
    unary("rad2deg"),
    unary("sinc"),
    unary("erf"),
    unary("erfc"),
    unary("erfinv", -0.9, 0.9, aliases=("special.erfinv",)),
    unary("lgamma", 0.3, 5, gradgrad=False),
    unary("digamma", 0.3, 5, aliases=("psi",), grad=False),
    unary("i0", grad=False),
    unary("sigmoid"),
    with_args("logit", a(), a(1e-3), a(eps=0.2), shapes=((2, 3), (), (0,)), low=0.05, high=0.95),
    with_args("nan_to_num", a(), a(0.5), a(nan=1.0, posinf=2.0, neginf=-2.0), shapes=SHAPES),
    with_args("round", a(), a(decimals=1), a(decimals=-1), shapes=SHAPES),
    *[predicate(n) for n in "isnan isinf isfinite isposinf isneginf signbit logical_not".split()],
    unary("bitwise_not", grad=False),
    binary("add", numbers=(2, 1.5, True), aliases=()),
    binary("sub", numbers=(2, 1.5), aliases=("subtract",)),
    with_args("rsub", a(2), a(1.5), a(2, alpha=3)),
    binary("mul", numbers=(2, 1.5, True), aliases=("multiply",)),
    binary("div", 0.5, 3, numbers=(2, 1.5), aliases=("divide", "true_divide")),
    binary("floor_divide", 0.5, 3, numbers=(2, 1.5), grad=False),
    binary("remainder", 0.5, 3, numbers=(2, 1.5, -2)),
    binary("fmod", 0.5, 3, numbers=(2, 1.5, -2)),
    binary("pow", 0.5, 3, numbers=(2, 1.5, 0, 1, 3, -1, -2, 0.5, -0.5, 4)),
    binary("float_power", 0.5, 3, numbers=(2, 1.5), inplace=False),
    binary("maximum"),
    binary("minimum"),
    binary("fmax"),
    binary("fmin"),
    binary("clamp_min", numbers=(0, 0.5)),
    binary("clamp_max", numbers=(0, 0.5)),
    with_args(
        "clamp",
        a(-1, 1),
        a(min=-0.5),
        a(max=0.5),
        a(1, -1),
        a(-1.5, 2),
        shapes=SHAPES,
        aliases=("clip",),
    ),
    binary("heaviside", grad=False),
    binary("atan2", aliases=("arctan2",)),
    binary("hypot"),
    binary("copysign", numbers=(-1.0, 2)),
    binary("logaddexp"),
    binary("logaddexp2", gradgrad=False),
    binary("xlogy", 0.2, 3, numbers=(2, 1.5)),
    binary("ldexp"),
    *[
        binary(n, numbers=(1, 0.5), grad=False, aliases=also)
        for n, also in (
            ("eq", ()),
            ("ne", ("not_equal",)),
            ("lt", ("less",)),
            ("le", ("less_equal",)),
            ("gt", ("greater",)),
            ("ge", ("greater_equal",)),
        )
    ],
    *[binary(n, grad=False) for n in "logical_and logical_or logical_xor".split()],
    *[
        binary(n, numbers=(3, True), grad=False)
        for n in "bitwise_and bitwise_or bitwise_xor".split()
    ],
    *[
        binary(n, 0, 5, numbers=(2,), grad=False)
        for n in "bitwise_left_shift bitwise_right_shift".split()
    ],
    ternary("addcmul", {"value": 2}, {"value": 0.5}),
    ternary("addcdiv", {"value": 2.0}, low=0.5, high=3.0),
    ternary("lerp"),
    calls("where", lambda m: (call(m.mask(*s), m(*s), m(*t)) for s, t in PAIRS), strided=True),
    binary("isclose", grad=False),
    binary("allclose", grad=False),
    binary("equal", grad=False),
]

ACTIVATIONS = [
    *[
        unary(n)
        for n in "relu relu6 selu silu mish logsigmoid softsign tanhshrink hardsigmoid hardswish".split()
    ],
    with_args("gelu", a(), a(approximate="tanh"), shapes=SHAPES),
    with_args("leaky_relu", a(), a(0.2), a(negative_slope=-0.5), shapes=SHAPES),
    with_args("hardtanh", a(), a(-0.5, 2.0), shapes=SHAPES),
    with_args("threshold", a(0.5, 2.0), a(-1.0, 0.0), shapes=SHAPES),
    *[with_args(n, a(), a(0.3), shapes=SHAPES) for n in "hardshrink softshrink".split()],
    *[with_args(n, a(), a(0.7), shapes=SHAPES) for n in "elu celu".split()],
    with_args("softplus", a(), a(2.0), a(1.0, 0.5), shapes=SHAPES),
    calls(
        "prelu",
        lambda m: (
            call(m(*s), m(n, low=0.1, high=0.5))
            for s, n in (((2, 3), 1), ((2, 3, 4), 3), ((4,), 1))
        ),
    ),
]

REDUCTIONS = [
    reduction("sum", extra=(a(dtype=torch.float64),), empty=True),
    reduction("mean", extra=(a(dtype=torch.float64),)),
    reduction("nansum"),
    reduction("nanmean"),
    reduction("prod", lists=False, low=0.5, high=2.0),
    reduction("amax", distinct=True, empty=False),
    reduction("amin", distinct=True, empty=False),
    reduction("any", grad=False),
    reduction("all", grad=False),
    reduction("var", extra=(a(dim=1, correction=0), a(unbiased=False)), tolerance=loose),
    reduction("std", extra=(a(dim=1, correction=0),), tolerance=loose),
    *[
        reduction(n, tolerance=loose, dtypes=SINGLES, extra=(a(dim=1, correction=0),))
        for n in "var_mean std_mean".split()
    ],
    *[
        reduction(n, lists=False, distinct=True, empty=False, gradgrad=n not in ("mode",))
        for n in "max min median nanmedian".split()
    ],
    calls("mode", lambda m: (call(m.ints(3, 4, 5).to(m.dtype), d) for d in (0, 1, -1)), grad=False),
    calls(
        "aminmax",
        lambda m: (
            call(m.distinct(3, 4)),
            call(m.distinct(3, 4), dim=1),
            call(m.distinct(3, 4), dim=0, keepdim=True),
        ),
    ),
    *[
        reduction(n, lists=False, distinct=True, empty=False, grad=False)
        for n in "argmax argmin".split()
    ],
    reduction("logsumexp", whole=False, tolerance=loose),
    reduction("count_nonzero", keepdims=False, grad=False, extra=(a(dim=(0, 1)),)),
    with_args(
        "norm",
        a(),
        a(2, 1),
        a(1, 0),
        a(3.0, -1, True),
        a(float("inf"), 1),
        a(dim=(0, 1)),
        shapes=((3, 4),),
        tolerance=loose,
    ),
    with_args(
        "linalg.vector_norm",
        a(),
        a(1),
        a(3.0, dim=1),
        a(float("inf"), dim=(0, 1)),
        shapes=((3, 4),),
    ),
    with_args("Tensor.sum_to_size", a(3, 1), a(1, 4), a(1), shapes=((3, 4),)),
    with_args("quantile", a(0.3), a(0.5, 1), a(0.7, dim=0, keepdim=True), shapes=((3, 4),)),
    with_args("nanquantile", a(0.3), a(0.5, 1), shapes=((3, 4),)),
    calls(
        "kthvalue",
        lambda m: (
            call(m.distinct(3, 4), 2),
            call(m.distinct(3, 4), 1, 0),
            call(m.distinct(5), 3, keepdim=True),
        ),
    ),
    binary("dist", tolerance=loose),
    *[scan(n) for n in "cumsum cumprod".split()],
    scan("logcumsumexp", tolerance=loose),
    *[scan(n, gradgrad=False) for n in "cummax cummin".split()],
    with_args("diff", a(), a(2), a(1, 0), a(n=1, dim=-1), shapes=((3, 4),)),
    with_args("trace", a(), shapes=((3, 3), (2, 4))),
]

PRODUCTS = [
    calls("mm", lambda m: (call(m(2, 3), m(3, 4)), call(m(0, 3), m(3, 2)), call(m(2, 0), m(0, 3)))),
    calls("bmm", lambda m: (call(m(2, 2, 3), m(2, 3, 4)), call(m(0, 2, 3), m(0, 3, 4)))),
    calls(
        "matmul",
        lambda m: (
            call(m(*s), m(*t))
            for s, t in (
                ((2, 3), (3, 2)),
                ((3,), (3,)),
                ((3,), (3, 2)),
                ((2, 3), (3,)),
                ((2, 1, 2, 3), (4, 3, 2)),
                ((2, 3, 4), (4,)),
                ((3,), (2, 3, 4)),
            )
        ),
    ),
    calls("mv", lambda m: (call(m(2, 3), m(3)),)),
    calls("dot", lambda m: (call(m(3), m(3)), call(m(0), m(0)))),
    calls("inner", lambda m: (call(m(3), m(3)), call(m(2, 3), m(4, 3)))),
    calls("outer", lambda m: (call(m(3), m(2)),), aliases=("ger",)),
    *[
        calls(
            n,
            lambda m, s=s: (
                call(*(m(*d) for d in s)),
                call(*(m(*d) for d in s), beta=2, alpha=3),
                call(m(1), *(m(*d) for d in s[1:]), beta=0),
            ),
        )
        for n, s in (
            ("addmm", ((2, 4), (2, 3), (3, 4))),
            ("addmv", ((2,), (2, 3), (3,))),
        )
    ],
    calls(  # gelu: test_products.py
        "_addmm_activation",
        lambda m: (
            call(m(4), m(2, 3), m(3, 4)),
            call(m(2, 4), m(2, 3), m(3, 4), beta=2, alpha=3),
            call(m(4), m(0, 3), m(3, 4), alpha=2),
        ),
        grad=False,  # PyTorch has none
        gradgrad=False,
    ),
    calls(
        "addr",
        lambda m: (call(m(2, 3), m(2), m(3)), call(m(2, 3), m(2), m(3), beta=2, alpha=3)),
        dtypes=("float32", "float64", "bfloat16", "int64"),
    ),
    calls(
        "baddbmm",
        lambda m: (
            call(m(2, 2, 4), m(2, 2, 3), m(2, 3, 4)),
            call(m(4), m(2, 2, 3), m(2, 3, 4), beta=2, alpha=3),
        ),
    ),
    calls("chain_matmul", lambda m: (call(m(2, 3), m(3, 4), m(4, 2)),)),
    calls(
        "linear",
        lambda m: (
            call(m(2, 3), m(4, 3)),
            call(m(2, 5, 3), m(4, 3), m(4)),
            call(m(3), m(4, 3), m(4)),
        ),
    ),
    calls(
        "bilinear",
        lambda m: (call(m(2, 3), m(2, 4), m(5, 3, 4), m(5)), call(m(3), m(4), m(2, 3, 4))),
    ),
    calls(
        "einsum",
        lambda m: (
            call("ij,jk->ik", m(2, 3), m(3, 4)),
            call("bij,bjk->bik", m(2, 2, 3), m(2, 3, 2)),
            call("ii", m(3, 3)),
            call("ij->ji", m(2, 3)),
            call("...i,...i->...", m(2, 3), m(2, 3)),
            call("i,j", m(2), m(3)),
        ),
    ),
    calls(
        "tensordot",
        lambda m: (call(m(2, 3), m(3, 4), 1), call(m(2, 3, 4), m(4, 3, 2), dims=([1, 2], [1, 0]))),
    ),
    calls("kron", lambda m: (call(m(2, 3), m(2, 2)), call(m(2), m(3)))),
    calls("cross", lambda m: (call(m(2, 3), m(2, 3), dim=1), call(m(3), m(3), dim=0))),
    calls(
        "cdist",
        lambda m: (call(m(3, 2), m(4, 2)), call(m(2, 3, 2), m(2, 4, 2), 1.0)),
        tolerance=loose,
        gradgrad=False,
    ),
    calls(
        "cosine_similarity",
        lambda m: (call(m(2, 3), m(2, 3)), call(m(2, 3), m(2, 3), dim=0)),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "pairwise_distance",
        lambda m: (
            call(m(2, 3), m(2, 3)),
            call(m(2, 3), m(2, 3), p=1.0),
            call(m(2, 3), m(2, 3), keepdim=True),
        ),
        tolerance=loose,
    ),
    with_args("normalize", a(), a(1.0, 0), a(p=3.0, dim=1), shapes=((3, 4),), tolerance=loose),
]

VIEWS = [
    with_args("Tensor.view", a(6), a(3, 2), a((1, 6)), a(-1, 2), strided=False),
    with_args("view_as", a(torch.zeros(3, 2)), strided=False),
    with_args("reshape", a((6,)), a((3, -1)), a((1, 2, 3))),
    with_args("reshape_as", a(torch.zeros(3, 2))),
    with_args("as_strided", a((2, 2), (1, 2)), a((3,), (2,), 1), strided=False),
    with_args("permute", a((1, 0)), a((-1, 0))),
    with_args("transpose", a(0, 1), a(-1, 0), aliases=("swapaxes", "swapdims")),
    with_args("t", a(), shapes=((2, 3), (3,), ())),
    with_args("adjoint", a()),
    with_args("movedim", a(0, 2), a((0, 1), (1, 0)), shapes=((2, 3, 4),), aliases=("moveaxis",)),
    with_args("expand", a(4, 2, 3), a(-1, 3), shapes=((2, 3),), strided=True),
    with_args("expand_as", a(torch.zeros(4, 2, 3))),
    with_args("broadcast_to", a((4, 2, 3))),
    with_args("squeeze", a(), a(1), a((0, 1)), a(-1), shapes=((1, 1, 3), (2, 1, 3))),
    with_args("unsqueeze", a(0), a(-1), a(1), shapes=((2, 3), (2,))),
    with_args("flatten", a(), a(0, -1), a(1), a(0, 1), shapes=((2, 3, 2), (3, 2))),
    with_args("ravel", a(), shapes=((2, 3), ())),
    with_args("unflatten", a(1, (3, 2)), a(-1, (2, -1)), shapes=((2, 6),)),
    with_args("select", a(0, 1), a(1, -1)),
    with_args("narrow", a(1, 1, 2), a(0, 0, 1), a(-1, -2, 1)),
    with_args("split", a(2), a([1, 2], 1), a(1, dim=-1), shapes=((4, 3),), aliases=()),
    with_args("split_with_sizes", a([1, 3]), a([1, 2], 1), shapes=((4, 3),)),
    with_args("tensor_split", a(2), a(3, 1), a((1, 2), 0), shapes=((4, 3),)),
    with_args("chunk", a(2), a(3, 1), shapes=((4, 3),)),
    with_args("unbind", a(), a(1)),
    *[with_args(n, a(2), a([1, 3]), shapes=((4, 4, 4),)) for n in "hsplit vsplit dsplit".split()],
    with_args("diagonal", a(), a(1), a(-1), a(0, 1, 0), shapes=((3, 4),)),
    with_args("Tensor.unfold", a(0, 2, 1), a(1, 3, 2), shapes=((3, 5),)),
    with_args("detach", a(), grad=False, inplace=False),
    with_args("clone", a(), shapes=SHAPES),
    with_args("contiguous", a(), shapes=SHAPES),
]

SHAPING = [
    *[
        calls(
            n,
            lambda m: (
                call([m(2, 3), m(1, 3)]),
                call([m(2, 2), m(2, 3)], dim=1),
                call((m(0, 3), m(2, 3))),
            ),
            aliases=also,
        )
        for n, also in (("cat", ("concat", "concatenate")),)
    ],
    calls(
        "stack",
        lambda m: (call([m(2, 3), m(2, 3)]), call([m(2, 3), m(2, 3)], dim=-1), call([m(), m()])),
    ),
    *[
        calls(
            n,
            lambda m: (call([m(2, 3), m(2, 3)]), call([m(3), m(3)]), call([m(), m()])),
            aliases=also,
        )
        for n, also in (
            ("hstack", ()),
            ("vstack", ("row_stack",)),
            ("dstack", ()),
            ("column_stack", ()),
        )
    ],
    calls("block_diag", lambda m: (call(m(2, 3), m(1, 2), m(3)),)),
    calls("broadcast_tensors", lambda m: (call(m(2, 1), m(3)),)),
    calls("meshgrid", lambda m: (call(m(2), m(3), indexing="ij"), call(m(2), m(3), indexing="xy"))),
    calls("cartesian_prod", lambda m: (call(m(2), m(3)), call(m(2)))),
    with_args("combinations", a(), a(3), a(2, True), shapes=((4,),)),
    *[
        with_args(n, a(), shapes=((), (3,), (2, 3)))
        for n in "atleast_1d atleast_2d atleast_3d".split()
    ],
    with_args("Tensor.repeat", a(2, 1), a(2, 1, 3)),
    with_args("tile", a((2,)), a((2, 1, 3))),
    with_args("repeat_interleave", a(2), a(torch.tensor([1, 2]), 0), a(2, dim=1)),
    with_args("flip", a((0,)), a((0, 1)), a((-1,))),
    *[with_args(n, a()) for n in "fliplr flipud".split()],
    with_args("roll", a(1), a(-1, 0), a((1, 2), (0, 1))),
    with_args("rot90", a(), a(2), a(-1, (1, 0))),
    *[with_args(n, a(), a(1), a(-1), shapes=((3, 4), (2, 3, 3))) for n in "tril triu".split()],
    with_args("diag", a(), a(1), a(-1), shapes=((3,), (3, 4))),
    with_args("diag_embed", a(), a(1), shapes=((3,), (2, 3))),
    with_args("diagflat", a(), a(1), shapes=((3,), (2, 2))),
    with_args("pad", a((1, 2)), a((1, 0, 2, 1), "constant", 1.5), a((-1, 1)), shapes=((2, 3),)),
    calls(
        "F.pad",
        lambda m: (call(m(1, 2, 4), (1, 2), mode) for mode in ("reflect", "replicate", "circular")),
    ),
    with_args("channel_shuffle", a(2), shapes=((1, 4, 2, 2),)),
    with_args("pixel_shuffle", a(2), shapes=((1, 4, 2, 3),)),
    with_args("pixel_unshuffle", a(2), shapes=((1, 1, 4, 2),)),
]

INDEXING = [
    calls("gather", lambda m: (call(m(3, 4), d, m.ints(3, 2, 3)) for d in (0, 1, -1))),
    calls(
        "take_along_dim",
        lambda m: (call(m(3, 4), m.ints(3, 2, 4), 0), call(m(3, 4), m.ints(12, 5))),
    ),
    calls("take", lambda m: (call(m(3, 4), m.ints(12, 5)), call(m(3, 4), torch.tensor(-1)))),
    calls("index_select", lambda m: (call(m(3, 4), d, m.ints(3, 5)) for d in (0, 1))),
    calls("masked_select", lambda m: (call(m(3, 4), m.mask(3, 4)), call(m(3, 4), m.mask(4)))),
    calls("masked_fill", lambda m: (call(m(3, 4), m.mask(4), 2), call(m(3, 4), m.mask(3, 4), m()))),
    calls("masked_scatter", lambda m: (call(m(3, 4), m.mask(3, 4), m(12)),)),
    calls(
        "scatter",
        lambda m: (
            call(m(3, 4), 0, torch.tensor([[0, 1, 2], [2, 0, 1]]), m(2, 3)),
            call(m(3, 4), 1, torch.tensor([[0, 1], [2, 0], [3, 1]]), 2),
        ),
    ),
    calls(
        "scatter_add",
        lambda m: (
            call(m(3, 4), 0, m.ints(3, 2, 4), m(2, 4)),
            call(m(3, 4), 1, m.ints(4, 3, 5), m(3, 5)),
        ),
    ),
    calls(
        "scatter_reduce",
        lambda m: (
            call(m.distinct(3, 4), 0, m.ints(3, 2, 4), m.distinct(2, 4) + 1, how, include_self=keep)
            for how in ("sum", "mean", "amax", "amin", "prod")
            for keep in (True, False)
        ),
        dtypes=SINGLES,
        gradgrad=False,
        tolerance=loose,
    ),
    calls(
        "index_add",
        lambda m: (
            call(m(3, 4), 0, m.ints(3, 5), m(5, 4)),
            call(m(3, 4), 1, m.ints(4, 2), m(3, 2), alpha=2),
        ),
    ),
    calls("index_copy", lambda m: (call(m(3, 4), 0, torch.tensor([2, 0]), m(2, 4)),)),
    calls(
        "index_fill",
        lambda m: (
            call(m(3, 4), 0, torch.tensor([2, 0]), 1),
            call(m(3, 4), 1, torch.tensor([1]), m()),
        ),
    ),
    calls(
        "index_put",
        lambda m: (
            call(m(3, 4), (torch.tensor([0, 2]), torch.tensor([1, 1])), m(2)),
            call(m(3, 4), (torch.tensor([0, 0]),), m(2, 4), accumulate=True),
        ),
    ),
    calls("Tensor.put", lambda m: (call(m(3, 4), torch.tensor([1, 5]), m(2)),)),
    calls(
        "embedding",
        lambda m: (call(m.ints(5, 2, 3), m(5, 4)), call(m.ints(5, 3), m(5, 4), padding_idx=1)),
        dtypes=FLOATS,
    ),
    calls(
        "one_hot",
        lambda m: (call(m.ints(4, 3), 5), call(m.ints(4, 2, 2))),
        grad=False,
        dtypes=("int64",),
    ),
    calls("nonzero", lambda m: (call(m.mask(3, 4)), call(m(3), as_tuple=True)), grad=False),
    with_args("argwhere", a(), grad=False),
    calls(
        "sort",
        lambda m: (
            call(m.distinct(3, 4)),
            call(m.distinct(3, 4), 0, True),
            call(m.distinct(5), stable=True),
        ),
    ),
    calls(
        "argsort", lambda m: (call(m.distinct(3, 4)), call(m.distinct(3, 4), 0, True)), grad=False
    ),
    calls("msort", lambda m: (call(m.distinct(3, 4)),)),
    calls("topk", lambda m: (call(m.distinct(3, 4), 2), call(m.distinct(3, 4), 2, 0, False))),
    calls("searchsorted", lambda m: (call(m.distinct(5).sort()[0], m(2, 3)),), grad=False),
    calls(
        "bucketize",
        lambda m: (
            call(m(2, 3), m.distinct(5).sort()[0]),
            call(m(3), m.distinct(5).sort()[0], right=True),
        ),
        grad=False,
    ),
    calls(
        "isin",
        lambda m: (call(m.ints(5, 2, 3), m.ints(5, 2)), call(m.ints(5, 4), 2, invert=True)),
        grad=False,
        dtypes=("int64",),
    ),
    calls(
        "histc",
        lambda m: (call(m(3, 4), 5), call(m(20), 4, -1, 2), call(m(5), 3, 1, 1)),
        grad=False,
        dtypes=SINGLES,
    ),
    calls(
        "bincount",
        lambda m: (call(m.ints(4, 6)), call(m.ints(4, 6), minlength=6)),
        grad=False,
        dtypes=("int64",),
    ),
    calls(
        "unique",
        lambda m: (
            call(m.ints(4, 6).to(m.dtype)),
            call(m.ints(3, 6), return_inverse=True, return_counts=True),
        ),
        grad=False,
    ),
    calls("unique_consecutive", lambda m: (call(m.ints(2, 6).to(m.dtype)),), grad=False),
    calls("tril_indices", lambda m: (call(3, 4), call(3, 3, 1)), grad=False),
    calls("triu_indices", lambda m: (call(3, 4), call(3, 3, 1)), grad=False),
]

LINALG = [
    with_args("linalg.norm", a(), a(2), a("fro"), a("nuc"), a(1, (0, 1)), a(3.0, 1), shapes=((3, 4),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args(
        "linalg.matrix_norm",
        a(), a("nuc"), a(1), a(-1), a(float("inf")), a(2), a("fro", keepdim=True),
        shapes=((3, 4), (2, 3, 3)), dtypes=SINGLES, tolerance=loose, gradgrad=False,
    ),
    *[
        calls(
            f"linalg.{n}", lambda m: (call(m.spd(3)), call(m.spd(3).expand(2, 3, 3))), dtypes=SINGLES, tolerance=loose,
        )
        for n in "inv det cholesky".split()
    ],
    calls(
        "linalg.solve",
        lambda m: (call(m.spd(3), m(3)), call(m.spd(3), m(3, 2)), call(m.spd(3), m(2, 3, 1)), call(m.spd(3), m(2, 3), left=False)),
        dtypes=SINGLES,
        tolerance=loose,
    ),
    with_args("linalg.qr", a(), shapes=((3, 2), (3, 3), (2, 4)), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    calls("linalg.eigvalsh", lambda m: (call(m.spd(3)),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args("linalg.svdvals", a(), shapes=((3, 2), (2, 3)), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args("linalg.pinv", a(), shapes=((3, 2),), dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)}, gradgrad=False),
    with_args("linalg.matrix_power", a(3), a(0), a(-1), shapes=((3, 3),), dtypes=SINGLES, tolerance={"float32": (1e-3, 1e-3)}),
    calls("linalg.multi_dot", lambda m: (call([m(2, 3), m(3, 4), m(4, 2)]),), dtypes=SINGLES, tolerance=loose),
    calls("linalg.vecdot", lambda m: (call(m(2, 3), m(2, 3)), call(m(2, 3), m(2, 3), dim=0)), dtypes=SINGLES),
]  # fmt: skip

SPECIAL = [
    *[
        unary(f"special.{n}", 0.05, 0.95, dtypes=SINGLES, tolerance=loose)
        for n in "entr ndtr log_ndtr ndtri expit".split()
    ],
    unary("special.gammaln", 0.3, 5, gradgrad=False, dtypes=SINGLES),
    binary("special.xlog1py", 0.2, 3, dtypes=SINGLES),
]

NORMS = [
    *[
        with_args(n, a(-1), a(0), a(1), shapes=((3, 4),), tolerance=loose)
        for n in "softmax log_softmax softmin".split()
    ],
    calls(
        "layer_norm",
        lambda m: (
            call(m(2, 3, 4), (4,)),
            call(m(2, 3, 4), (3, 4), m(3, 4), m(3, 4)),
            call(m(2, 4), (4,), m(4)),
        ),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "rms_norm",
        lambda m: (call(m(2, 3), (3,)), call(m(2, 3), (3,), m(3), 1e-5)),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "group_norm",
        lambda m: (call(m(2, 4, 3), 2), call(m(2, 4, 3), 2, m(4), m(4))),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "instance_norm",
        lambda m: (call(m(2, 3, 4)), call(m(2, 3, 4), weight=m(3), bias=m(3))),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "batch_norm",
        lambda m: (
            call(m(4, 3), None, None, training=True),
            call(m(4, 3, 2), None, None, m(3), m(3), True),
            call(
                m(4, 3),
                torch.zeros(3, dtype=m.dtype),
                torch.ones(3, dtype=m.dtype) * 2,
                m(3),
                m(3),
                False,
            ),
        ),
        tolerance=loose,
        dtypes=SINGLES,
    ),
]

LOSSES = [
    *[loss(n, lambda m, s: m(*s)) for n in "mse_loss l1_loss".split()],
    loss("smooth_l1_loss", lambda m, s: m(*s), lambda m: {"beta": 0.5}),
    loss("huber_loss", lambda m, s: m(*s), lambda m: {"delta": 0.5}),
    loss(
        "binary_cross_entropy", lambda m, s: m(*s), lambda m: {"weight": m(4)}, low=0.05, high=0.95
    ),
    loss(
        "binary_cross_entropy_with_logits",
        lambda m, s: m(*s, low=0.0, high=1.0),
        lambda m: {"weight": m(4), "pos_weight": m(4, low=0.5, high=2.0)},
    ),
    loss(
        "cross_entropy",
        classes,
        lambda m: {"weight": m(4, low=0.5, high=2.0), "label_smoothing": 0.1},
        lambda m: {"ignore_index": 1},
        tolerance=loose,
    ),
    loss("F.cross_entropy", lambda m, s: torch.softmax(m(*s), 1), tolerance=loose),
    loss(
        "nll_loss",
        classes,
        lambda m: {"weight": m(4, low=0.5, high=2.0)},
        lambda m: {"ignore_index": 1},
    ),
    loss("kl_div", lambda m, s: m(*s, low=0.1, high=1.0), lambda m: {"log_target": True}),
    loss(
        "poisson_nll_loss",
        lambda m, s: m(*s, low=0.1, high=3.0),
        lambda m: {"full": True},
        tolerance=loose,
    ),
    loss("soft_margin_loss", signs),
    loss("hinge_embedding_loss", signs, lambda m: {"margin": 0.5}),
    loss("multi_margin_loss", classes, lambda m: {"p": 2}, batch=((3, 4),), gradgrad=False),
    loss(
        "multilabel_soft_margin_loss",
        lambda m, s: m.mask(*s).to(m.dtype),
        batch=((3, 4),),
        tolerance=loose,
    ),
    calls(
        "gaussian_nll_loss",
        lambda m: (
            call(m(3, 4), m(3, 4), m(3, 4, low=0.5, high=2.0)),
            call(m(3, 4), m(3, 4), m(3, 1, low=0.5, high=2.0), full=True),
        ),
        dtypes=FLOATS,
        tolerance=loose,
    ),
    calls(
        "margin_ranking_loss",
        lambda m: (call(m(4), m(4), signs(m, (4,)), margin=g) for g in (0.0, 0.5)),
        dtypes=FLOATS,
    ),
    calls(
        "cosine_embedding_loss",
        lambda m: (call(m(3, 4), m(3, 4), signs(m, (3,)), margin=g) for g in (0.0, 0.2)),
        dtypes=SINGLES,
        tolerance=loose,
    ),
    calls(
        "triplet_margin_loss",
        lambda m: (
            call(m(3, 4), m(3, 4), m(3, 4), margin=g, swap=s)
            for g, s in ((1.0, False), (2.0, True))
        ),
        dtypes=SINGLES,
        tolerance=loose,
    ),
]


def convolution(name, n, transposed=False):
    def samples(m):
        size = (5, 4, 3)[:n]
        w = (2, 3) if transposed else (3, 2)
        yield call(m(2, 2, *size), m(*w, *([2] * n)), m(3))
        yield call(m(1, 2, *size), m(*w, *([2] * n)), stride=2, padding=1)
        yield call(m(2, *size), m(*w, *([2] * n)), dilation=2, padding=1)
        grouped = (4, 1) if transposed else (2, 2)
        yield call(m(1, 4, *size), m(*grouped, *([1] * n)), groups=4 if transposed else 2)

    return Row(name, samples, dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-5)}, gradgrad=n < 3)


def pooling(name, n, *options, **kw):
    def samples(m):
        make = m.distinct if "max" in name else m
        for o in options:
            yield call(make(1, 2, *(6, 5, 4)[:n]), *o[0], **o[1])

    return Row(name, samples, **{"dtypes": SINGLES, "tolerance": loose, **kw})


CONVOLUTIONS = [
    calls(
        "convolution",
        lambda m: (call(m(1, 2, 5), m(3, 2, 2), m(3), [2], [1], [1], False, [0], 1),),
        dtypes=SINGLES,
        tolerance=loose,
    ),
    *[convolution(f"conv{n}d", n) for n in (1, 2, 3)],
    *[convolution(f"conv_transpose{n}d", n, True) for n in (1, 2, 3)],
    *[
        pooling(f"max_pool{n}d", n, a(2), a(3, 2, 1), a(2, 1, ceil_mode=True), gradgrad=False)
        for n in (1, 2, 3)
    ],
    *[
        pooling(f"max_pool{n}d_with_indices", n, a(2), a(3, 2, 1), gradgrad=False)
        for n in (1, 2, 3)
    ],
    *[
        pooling(
            f"avg_pool{n}d",
            n,
            a(2),
            a(3, 2, 1),
            a(3, 2, 1, count_include_pad=False),
            a(2, ceil_mode=True),
        )
        for n in (1, 2, 3)
    ],
    *[pooling(f"adaptive_avg_pool{n}d", n, a(1), a(3)) for n in (1, 2, 3)],
    *[
        pooling(f"adaptive_max_pool{n}d", n, a(1), a(3), a(2, return_indices=True), gradgrad=False)
        for n in (1, 2, 3)
    ],
    calls(
        "F.unfold",
        lambda m: (call(m(1, 2, 4, 4), 2), call(m(1, 2, 4, 4), (2, 3), padding=1, stride=2)),
        dtypes=SINGLES,
    ),
    calls(
        "F.interpolate",
        lambda m: (
            *(call(m(1, 2, 3, 4), (5, 3), mode=s) for s in ("nearest", "bilinear", "bicubic")),
            call(m(1, 2, 3, 4), scale_factor=1.7, mode="bilinear", align_corners=True),
            call(m(1, 1, 6, 7), (3, 2), mode="bicubic", antialias=True),
        ),
        dtypes=SINGLES,
        tolerance=loose,
    ),
    calls(
        "grid_sampler",
        lambda m: (
            call(m(1, 2, 3, 4), m(1, 2, 3, 2), mode, padding, mode == 1)
            for mode in (0, 1, 2)
            for padding in (0, 1, 2)
        ),
        dtypes=SINGLES,
        tolerance=loose,
        gradgrad=False,
    ),
    calls("F.fold", lambda m: (call(m(1, 8, 9), (4, 4), 2),), dtypes=SINGLES),
    calls(
        "scaled_dot_product_attention",
        lambda m: (
            call(m(1, 2, 3, 4), m(1, 2, 5, 4), m(1, 2, 5, 4)),
            call(m(1, 2, 3, 4), m(1, 2, 3, 4), m(1, 2, 3, 4), is_causal=True),
            call(m(1, 2, 3, 4), m(1, 2, 5, 4), m(1, 2, 5, 4), attn_mask=m(3, 5), scale=0.3),
        ),
        dtypes=SINGLES,
        tolerance=loose,
    ),
]

CREATION = [
    *[Row(n, shaped((2, 3), (0,), (1,)), grad=False) for n in "zeros ones".split()],
    Row("empty", shaped((2, 3), (0,)), grad=False, values=False),
    calls(
        "full",
        lambda m: (call((2, 3), 2), call((2,), 1.5), call((), True), call((2,), 1, dtype=m.dtype)),
        grad=False,
    ),
    *[
        with_args(n, a(), a(dtype=torch.float64), grad=False, shapes=SHAPES)
        for n in "zeros_like ones_like".split()
    ],
    with_args("empty_like", a(), a(dtype=torch.int32), grad=False, values=False),
    with_args("full_like", a(2), a(1, dtype=torch.int64), grad=False, shapes=SHAPES),
    *[
        with_args(n, a((2,)), a((3, 1), dtype=torch.int64), grad=False)
        for n in "new_zeros new_ones".split()
    ],
    with_args("new_empty", a((2,)), grad=False, values=False),
    with_args("new_full", a((2,), 3), grad=False),
    with_args("new_tensor", a([[1, 2], [3, 4]]), grad=False),
    calls(
        "empty_strided", lambda m: (call((2, 3), (1, 2), dtype=m.dtype),), grad=False, values=False
    ),
    calls("scalar_tensor", lambda m: (call(2), call(1.5, dtype=m.dtype)), grad=False),
    calls(
        "arange",
        lambda m: (
            call(5),
            call(1, 7, 2),
            call(0.5, 3.0, 0.5),
            call(5, 0, -2),
            call(0),
            call(1, 4, dtype=m.dtype),
        ),
        grad=False,
        dtypes=("float32", "float64", "int64"),
    ),
    calls("range", lambda m: (call(1, 4), call(0.5, 3.0, 0.5)), grad=False, dtypes=SINGLES),
    calls(
        "linspace",
        lambda m: (call(0, 1, 5), call(-1.5, 2, 4, dtype=m.dtype), call(1, 2, 1)),
        grad=False,
        dtypes=FLOATS,
    ),
    calls(
        "logspace",
        lambda m: (call(0, 1, 5), call(0, 3, 4, base=2, dtype=m.dtype)),
        grad=False,
        dtypes=SINGLES,
        tolerance=loose,
    ),
    calls("eye", lambda m: (call(3), call(2, 4), call(3, dtype=m.dtype)), grad=False),
    calls(
        "tensor",
        lambda m: (call([[1, 2], [3, 4]]), call(1.5), call([True, False]), call([], dtype=m.dtype)),
        grad=False,
    ),
    *[
        calls(n, lambda m: (call([[1, 2], [3, 4]]), call(m(2, 3))), grad=False)
        for n in "as_tensor asarray".split()
    ],
]

RANDOM = [
    *[
        Row(n, shaped((2, 3), (20,), (0,)), seeded=True, grad=False, dtypes=SINGLES)
        for n in "rand randn".split()
    ],
    *[
        with_args(n, a(), seeded=True, grad=False, dtypes=SINGLES)
        for n in "rand_like randn_like".split()
    ],
    calls(
        "randint",
        lambda m: (call(10, (5,)), call(-3, 9, (2, 3)), call(2, (4,), dtype=m.dtype)),
        seeded=True,
        grad=False,
        dtypes=SINGLES,
    ),
    with_args("randint_like", a(10), a(2, 5), seeded=True, grad=False, dtypes=SINGLES),
    calls(
        "randperm", lambda m: (call(10), call(0), call(3)), seeded=True, grad=False, dtypes=SINGLES
    ),
    calls(
        "normal",
        lambda m: (call(m(2, 3), 1.0), call(0.0, 2.0, (3,)), call(1.0, m(4, low=0.5, high=1.0))),
        seeded=True,
        grad=False,
        inplace=False,
        dtypes=SINGLES,
    ),
    calls(
        "bernoulli",
        lambda m: (call(m(2, 3, low=0.0, high=1.0)),),
        seeded=True,
        grad=False,
        inplace=False,
        dtypes=SINGLES,
    ),
    calls(
        "multinomial",
        lambda m: (call(m(5, low=0.1, high=1.0), 3), call(m(2, 5, low=0.1, high=1.0), 4, True)),
        values=False,
        grad=False,
        dtypes=SINGLES,
    ),
    calls(
        "binomial",
        lambda m: (call(m(2, 3, low=1.0, high=9.0).floor(), m(3, low=0.1, high=0.9)),),
        values=False,
        grad=False,
        dtypes=SINGLES,
    ),
    calls(
        "poisson",
        lambda m: (call(m(2, 3, low=0.5, high=3.0)),),
        values=False,
        grad=False,
        dtypes=SINGLES,
    ),
    *[
        with_args(
            n,
            a(0.3),
            a(p=0.5, training=False),
            values=False,
            grad=False,
            shapes=((2, 4, 3),),
            dtypes=SINGLES,
        )
        for n in "dropout alpha_dropout feature_alpha_dropout".split()
    ],
    with_args(
        "feature_dropout",
        a(0.3, True),
        values=False,
        grad=False,
        shapes=((2, 4, 3),),
        dtypes=SINGLES,
    ),
    *[
        with_args(f"Tensor.{n}_", a(), seeded=True, grad=False, dtypes=SINGLES)
        for n in "uniform normal exponential cauchy log_normal random".split()
    ],
    with_args("Tensor.geometric_", a(0.4), seeded=True, grad=False, dtypes=SINGLES),
    with_args("Tensor.bernoulli_", a(0.4), a(), seeded=True, grad=False, dtypes=SINGLES),
]

CONVERSIONS = [
    with_args(
        "Tensor.to",
        a(torch.float64),
        a(torch.int32),
        a(torch.bool),
        a(torch.bfloat16),
        shapes=SHAPES,
        gradgrad=False,
    ),
    with_args("type_as", a(torch.zeros(1, dtype=torch.float64))),
    *[
        with_args(f"Tensor.{n}", a(), shapes=SHAPES, gradgrad=False)
        for n in "float double half bfloat16 long int short bool".split()
    ],
    *[
        with_args(f"Tensor.{n}", a(), shapes=SHAPES, low=0.0, grad=False)
        for n in "char byte".split()
    ],
    with_args("Tensor.copy_", a(torch.ones(3)), a(torch.ones(2, 3, dtype=torch.int64)), grad=False),
    with_args("fill", a(2), a(torch.tensor(1.5)), gradgrad=False),
    with_args("Tensor.fill_", a(2), a(True), grad=False),
    with_args("Tensor.zero_", a(), grad=False),
    with_args(
        "Tensor.fill_diagonal_", a(2), a(1, True), shapes=((3, 3), (5, 2), (2, 4)), grad=False
    ),
]

from op_samples_composed import COMPOSED  # noqa: E402  (it uses the helpers above)

ROWS = [
    *ELEMENTWISE, *ACTIVATIONS, *REDUCTIONS, *PRODUCTS, *LINALG, *SPECIAL, *VIEWS, *SHAPING, *INDEXING, *NORMS, *LOSSES,
    *CONVOLUTIONS, *CREATION, *RANDOM, *CONVERSIONS,
    *COMPOSED,
]  # fmt: skip

# Derivatives that finite differences do not confirm at some sample; PyTorch's fail there as well, which
# test_gradcheck_and_gradgradcheck asserts.
UNCHECKED = {
    name: reason
    for reason, names in {
        "not implemented in PyTorch, random": "binomial",
        "jumps at the sample": "round",
        "one element has no variance": "var var_mean std_mean",
        "kinks: equal elements": "mode scatter_reduce",
        "no second derivative in PyTorch": "cdist",
        "reads one half of a symmetric matrix": "linalg.cholesky linalg.cholesky_ex linalg.eigvalsh",
        "NaN or infinity by definition": "segment_reduce masked.log_softmax",
        "no derivative there either": "heaviside unique unique_consecutive igamma igammac special.gammainc "
        "special.gammaincc special.zeta geqrf histogram histogramdd",
    }.items()
    for name in names.split()
}
# Second derivatives that PyTorch has and gradstep does not: docs/differences.md.
NOT_YET = {("grid_sampler", "gradgradcheck"), ("dist", "gradgradcheck")}

# Exported by the native module, but nothing that a samples row could hold. Names with a leading underscore are
# the package's own and have tests with their callers (test_optim.py, test_autograd.py).
NOT_OPS = {
    "types": "CaptureError Generator ModuleBase Node OutOfMemoryError Size Tensor device dtype layout memory_format",
    "for library code (_native_names.py)": "DisableTorchFunction DisableTorchFunctionSubclass DispatchKey DispatchKeySet",
    "dtypes and constants": "bool uint8 int8 int16 short int32 int int64 long float16 half bfloat16 float32 float float64 double "
    "strided channels_last channels_last_3d contiguous_format preserve_format default_generator",
    "settings and state": "get_default_device set_default_device get_default_dtype set_default_dtype get_num_threads set_num_threads get_rng_state set_rng_state "
    "initial_seed manual_seed seed is_anomaly_check_nan_enabled is_anomaly_enabled is_grad_enabled is_inference_mode_enabled empty_cache memory_stats "
    "reset_peak_memory_stats",
    "autocast (test_amp.py)": "autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache "
    "get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype set_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled "
    "is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype "
    "set_autocast_enabled",
    "recurrent layers (test_rnn.py)": "gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell",
    "facts about tensors and dtypes (test_dtypes.py, test_creation.py)": "can_cast promote_types result_type is_complex "
    "is_floating_point is_inference is_nonzero is_signed numel",
    "the engine's side of F.unfold and F.fold, which have rows": "im2col col2im",
    "the engine's side of F.interpolate": "resize_axes",
    "memory shared with others (test_interop.py)": "from_dlpack from_numpy frombuffer",
}
NOT_OPS_METHODS = {
    "autograd (test_autograd.py)": "backward detach_ register_hook register_post_accumulate_grad_hook requires_grad_ retain_grad",
    "facts (test_views.py, test_creation.py)": "data_ptr dim element_size is_contiguous is_pinned is_set_to is_shared item "
    "ndimension nelement size storage storage_offset stride tolist type untyped_storage get_device",
    "memory and devices (test_interop.py, test_cuda_api.py)": "apply_ cpu cuda map_ numpy pin_memory record_stream share_memory_ resize_ resize_as_ new",
    "shortcuts to linalg, whose functions have rows": "inverse det slogdet pinverse matrix_power cholesky",
    "writes of functions that have rows": "conj_physical_ float_power_",
}
