# SPDX-License-Identifier: Apache-2.0
"""Infinities, NaN, signed zeros, denormals and the largest numbers through every elementwise op, against PyTorch."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from devices import wait  # noqa: E402
from test_ops import resolve  # noqa: E402


def special(dtype):
    limits = np.finfo(dtype)
    tiny, most = float(limits.tiny), float(limits.max)
    values = [
        0.0,
        np.inf,
        np.nan,
        tiny,
        tiny / 8,
        float(limits.smallest_subnormal),
        most,
        most / 2,
        1.0,
        0.5,
        2.0,
        3.0,
        1e-3,
        20.0,
        100.0,
        1e4,
        1e10,
    ]
    return np.array([sign * v for v in values for sign in (1, -1)], dtype)


# What a vector register does not hold: results below the smallest normal number may be 0.
def same(mine, theirs, rtol, what, atol=0.0, zeros=True):
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, what
    if mine.dtype.kind != "f":
        np.testing.assert_array_equal(mine, theirs, err_msg=what)
        return
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs), err_msg=what)
    np.testing.assert_array_equal(np.isinf(mine), np.isinf(theirs), err_msg=what)
    finite = np.isfinite(theirs)
    np.testing.assert_allclose(
        mine[~np.isnan(mine)],
        theirs[~np.isnan(theirs)],
        rtol=rtol,
        atol=max(atol, float(np.finfo(mine.dtype).tiny)),
        err_msg=what,
    )
    zero = finite & (theirs == 0) & (mine == 0) & zeros
    np.testing.assert_array_equal(
        np.signbit(mine[zero]), np.signbit(theirs[zero]), err_msg="sign of zero: " + what
    )


UNARY = (
    "abs neg sign sgn ceil floor trunc round frac square sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan asin "
    "acos atan sinh cosh tanh asinh acosh atanh deg2rad rad2deg sinc erf erfc erfinv lgamma digamma i0 sigmoid logit nan_to_num "
    "isnan isinf isfinite isposinf isneginf signbit logical_not relu relu6 selu silu mish logsigmoid softsign tanhshrink "
    "hardsigmoid hardswish gelu leaky_relu hardtanh hardshrink softshrink elu celu softplus"
).split()
# softshrink's zeros have either sign in PyTorch, by position. Arguments beyond which the relative error of the reference itself is not defined, or PyTorch's own answer depends
# on whether it takes its vector or its scalar path.
SKIP = {
    "sin": lambda x: np.abs(x) > 1e5,
    "cos": lambda x: np.abs(x) > 1e5,
    "tan": lambda x: np.abs(x) > 1e5,
    "sinc": lambda x: np.abs(x) > 1e4,
    "lgamma": lambda x: x < 0,
    "digamma": lambda x: x < 0,
    "i0": np.isinf,  # PyTorch has NaN there
    # PyTorch has NaN where oneDNN computes it, x elsewhere.
    "gelu": lambda x: (x > 1e38) & (x.dtype == np.float32),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    x = special(dtype)
    if name in SKIP:
        x = x[~SKIP[name](x)]
    rtol = 3e-6 if dtype == "float32" else 1e-11
    for values in (x, np.concatenate([x, x])[::-1].copy(), x[:3].copy()):
        mine = resolve(gs, name)(gs.tensor(values)).cpu().numpy()
        theirs = resolve(torch, name)(torch.from_numpy(values)).numpy()
        # PyTorch's gelu loses digits below 0 and is 0 too early; tanhshrink cancels.
        same(
            mine,
            theirs,
            {"gelu": 3e-4, "tanhshrink": max(rtol, 2e-9)}.get(name, rtol),
            f"{name}({values.tolist()})",
            atol=1e-15 if name == "gelu" else 0.0,
            zeros=name != "softshrink",
        )
        if name == "gelu":
            keep = (values > 0) | np.isnan(values)
            same(mine[keep], theirs[keep], rtol, "gelu, x > 0")


@pytest.mark.parametrize(
    "name",
    "abs neg sqrt exp log sin tanh sigmoid relu gelu silu softplus log1p expm1 erf rsqrt".split(),
)
def test_gradient_of_unary(name):
    x = special("float64")
    if name in SKIP:
        x = x[~SKIP[name](x)]
    results = []
    for lib in (gs, torch):
        t = lib.tensor(x.copy()).requires_grad_()
        resolve(lib, name)(t).sum().backward()
        results.append(t.grad.cpu().numpy())
    # y (1 - y) of sigmoid shows the last bit of y near 1, which PyTorch rounds down at 20.
    same(*results, 1e-10, name, atol={"gelu": 1e-80, "sigmoid": 2e-16}.get(name, 1e-300))


BINARY = (
    "add sub mul div floor_divide remainder fmod pow maximum minimum fmax fmin clamp_min clamp_max heaviside atan2 hypot copysign "
    "logaddexp xlogy eq ne lt le gt ge logical_and logical_or logical_xor isclose"
).split()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    values = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, -2.5, 0.5, 3.0, 1e-3, 7.0], dtype
    )
    pairs = np.array(list(itertools.product(values, values)), dtype)
    a, b = pairs[:, 0].copy(), pairs[:, 1].copy()
    mine = getattr(gs, name)(gs.tensor(a), gs.tensor(b)).cpu().numpy()
    theirs = getattr(torch, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    # Which of 0 and -0 a bound lets through is not defined.
    same(
        mine,
        theirs,
        3e-6 if dtype == "float32" else 1e-12,
        name,
        zeros=not name.startswith("clamp"),
    )


@pytest.mark.parametrize(
    "name",
    ["add", "mul", "div", "floor_divide", "remainder", "fmod", "maximum", "bitwise_and", "eq"],
)
def test_integer_edges(name):
    edges = np.array(
        [0, 1, -1, 2, -2, 7, -7, 2**31, -(2**31), 2**62, -(2**63), 2**63 - 1], np.int64
    )
    pairs = np.array(list(itertools.product(edges, edges)), np.int64)
    a, b = pairs[:, 0].copy(), pairs[:, 1].copy()
    if name in ("floor_divide", "remainder", "fmod"):
        keep = (b != 0) & ~((a == -(2**63)) & (b == -1))
        a, b = a[keep], b[keep]
    mine = getattr(gs, name)(gs.tensor(a), gs.tensor(b)).cpu().numpy()
    theirs = getattr(torch, name)(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_remainders_are_exact(dtype):
    """Quotients just below an integer, of every size, and operands of every exponent, as numpy's."""
    rng = np.random.default_rng(0)
    bits = np.finfo(dtype).nmant + 1
    b = rng.uniform(0.1, 10, 4000).astype(dtype)
    near = (b * rng.integers(1, 2 ** rng.integers(1, bits + 3, 4000))).astype(dtype)
    below = np.nextafter(near, np.array(0, dtype))
    span = 2.0 ** rng.integers(-140, 120, (2, 8000))
    wild = (rng.standard_normal((2, 8000)) * span).astype(dtype)
    odd = rng.integers(-(2**20), 2**20, (2, 4000)).astype(dtype)
    odd[1][odd[1] == 0] = 3
    x = np.concatenate([near, -below, np.nextafter(near, b * np.inf), wild[0], odd[0], b])
    y = np.concatenate([b, b, -b, wild[1], odd[1], b])
    mine = gs.fmod(gs.tensor(x), gs.tensor(y)).cpu().numpy()
    np.testing.assert_array_equal(mine.view(np.uint8), np.fmod(x, y).view(np.uint8))
    mine = gs.remainder(gs.tensor(x), gs.tensor(y)).cpu().numpy()
    np.testing.assert_array_equal(mine, np.remainder(x, y))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integer_division_by_zero_raises(name):
    for lib in (gs, torch):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            getattr(lib, name)(lib.tensor([1, 2]), lib.tensor([1, 0]))
            wait()


@pytest.mark.parametrize(
    "name",
    [
        "sum",
        "mean",
        "max",
        "min",
        "amax",
        "prod",
        "argmax",
        "argmin",
        "std",
        "logsumexp",
        "softmax",
        "sort",
        "cumsum",
        "median",
    ],
)
def test_reductions_with_nan_and_infinities(name):
    values = np.array(
        [
            [1.0, np.nan, 2.0, 3.0],
            [1.0, np.inf, 2.0, -1.0],
            [-np.inf, -np.inf, -np.inf, -np.inf],
            [np.inf, -np.inf, 0.0, 1.0],
        ]
    )
    options = {"dim": 1}
    results = []
    for lib in (gs, torch):
        out = getattr(lib, name)(lib.tensor(values), **options)
        results.append([t.cpu().numpy() for t in (out if isinstance(out, tuple) else (out,))])
    for mine, theirs in zip(*results):
        same(mine, theirs, 1e-12, name)


def test_log_ndtr_of_numbers_whose_ndtr_is_too_small():
    """To the second derivative, where PyTorch's loses digits as well: against float64."""
    values = [-1e3, -40.0, -14.0, -9.0, -1.01, -1.0, 0.0, 8.0]
    found = []
    for lib, dtype in ((gs, gs.float32), (gs, gs.float64), (torch, torch.float64)):
        x = lib.tensor(values, dtype=dtype, requires_grad=True)
        y = lib.special.log_ndtr(x)
        (slope,) = lib.autograd.grad(y.sum(), x, create_graph=True)
        (bend,) = lib.autograd.grad(slope.sum(), x)
        found.append([t.detach().cpu().numpy() for t in (y, slope, bend)])
    for mine, wide, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(wide, theirs, rtol=1e-4)
        np.testing.assert_allclose(mine[1:], theirs[1:], rtol=1e-4)
    assert gs.special.ndtri(gs.tensor([0, 1], dtype=gs.uint8)).tolist() == [-np.inf, np.inf]
