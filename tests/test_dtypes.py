# SPDX-License-Identifier: Apache-2.0
"""Type promotion, conversion and rounding against PyTorch, for all pairs of dtypes, Python numbers and 0-d tensors."""

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402

NAMES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
FLOATS = [n for n in NAMES if "float" in n]
NUMBERS = [True, 3, 2.5]


def short(dtype):
    return str(dtype).partition(".")[2]


def operand(lib, kind, name):
    """A dimensioned tensor, a 0-d tensor or a Python number."""
    if kind == "number":
        return name
    return lib.ones(() if kind == "0-d" else (2,), dtype=getattr(lib, name))


OPERANDS = (
    [("tensor", n) for n in NAMES] + [("0-d", n) for n in NAMES] + [("number", v) for v in NUMBERS]
)


def test_result_type_of_all_pairs_equals_pytorch():
    wrong = []
    for a, b in itertools.product(OPERANDS, OPERANDS):
        theirs = short(torch.result_type(operand(torch, *a), operand(torch, *b)))
        mine = short(gs.result_type(operand(gs, *a), operand(gs, *b)))
        if mine != theirs:
            wrong.append((a, b, mine, theirs))
    assert wrong == []


@pytest.mark.parametrize("name", ["add", "mul", "true_divide", "pow", "maximum", "eq", "where"])
def test_ops_promote_like_pytorch(name):
    wrong = []
    for a, b in itertools.product(OPERANDS, OPERANDS):
        if a[0] == b[0] == "number" or (name in ("maximum", "where") and "number" in (a[0], b[0])):
            continue
        results = []
        for lib in (torch, gs):
            x, y = operand(lib, *a), operand(lib, *b)
            try:
                out = (
                    lib.where(lib.tensor([True, False]), x, y)
                    if name == "where"
                    else getattr(lib, name)(x, y)
                )
                results.append(short(out.dtype))
            except (RuntimeError, TypeError, NotImplementedError):
                results.append("error")
        if results[0] != "error" and results[0] != results[1]:
            wrong.append((a, b, *results))
    assert wrong == []


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("b", NAMES)
def test_promote_types_and_can_cast(a, b):
    assert short(gs.promote_types(getattr(gs, a), getattr(gs, b))) == short(
        torch.promote_types(getattr(torch, a), getattr(torch, b))
    )
    assert gs.can_cast(getattr(gs, a), getattr(gs, b)) == torch.can_cast(
        getattr(torch, a), getattr(torch, b)
    )


def test_in_place_refuses_a_higher_category():
    for lib in (gs, torch):
        with pytest.raises(
            RuntimeError, match="result type Float can't be cast to the desired output type Long"
        ):
            lib.ones(2, dtype=lib.int64).add_(1.5)
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type Bool"):
            lib.ones(2, dtype=lib.bool).add_(2)
        assert (
            lib.ones(2, dtype=lib.float16).add_(lib.ones(2, dtype=lib.float64)).dtype is lib.float16
        )


VALUES = [0.0, -0.0, 0.4, 0.5, 0.6, 1.0, 1.5, 2.5, -0.5, -1.5, -2.7, 3.99, 100.25, 127.0, -128.0]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_conversion_equals_pytorch(source, target):
    values = (
        VALUES
        if "float" in source
        else [int(abs(v)) for v in VALUES]
        if source == "uint8"
        else [int(v) for v in VALUES]
    )
    results = []
    for lib in (gs, torch):
        x = (
            lib.tensor(values, dtype=getattr(lib, source)).abs()
            if target == "uint8" and source != "bool"
            else lib.tensor(values, dtype=getattr(lib, source))
        )
        y = x.to(getattr(lib, target))
        assert short(y.dtype) == target
        results.append(y.double().tolist())
        assert x.to(getattr(lib, source)) is x
    np.testing.assert_array_equal(results[0], results[1])


def test_integers_wrap_when_narrowed():
    values = [255, 256, -1, 300, -129, 2**31, -(2**40) + 7]
    for name in ("uint8", "int8", "int16", "int32"):
        assert (
            gs.tensor(values).to(getattr(gs, name)).tolist()
            == torch.tensor(values).to(getattr(torch, name)).tolist()
        )


def special_bits():
    """Patterns that rounding to a half type gets wrong: ties, overflow, denormals, infinities."""
    rng = np.random.default_rng(0)
    random = rng.integers(0, 2**32, 20000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    small = (rng.standard_normal(4000) * 2.0 ** rng.integers(-30, 20, 4000)).astype(np.float32)
    ties = (np.arange(0, 4096, dtype=np.uint32) << 12).view(np.float32)
    edges = np.array(
        [
            0.0,
            -0.0,
            np.inf,
            -np.inf,
            65504,
            65519.996,
            65520,
            1e38,
            3.4e38,
            5.9e-8,
            2.98e-8,
            2.99e-8,
        ],
        np.float32,
    )
    x = np.concatenate([random, small, ties, edges])
    return x[~np.isnan(x)]


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_rounding_to_half_types_is_exact(name):
    x = special_bits()
    mine = gs.tensor(x.copy()).to(getattr(gs, name)).float().cpu().numpy()
    theirs = torch.from_numpy(x.copy()).to(getattr(torch, name)).float().numpy()
    np.testing.assert_array_equal(mine.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("name", FLOATS)
def test_nan_stays_nan(name):
    x = gs.tensor([math.nan, 1.0]).to(getattr(gs, name))
    assert x.isnan().tolist() == [True, False]
    assert x.bool().tolist() == [True, True]


@pytest.mark.cpu_only  # a type's name says the device
@pytest.mark.parametrize("name", NAMES)
def test_facts_about_a_dtype(name):
    mine, theirs = getattr(gs, name), getattr(torch, name)
    assert repr(mine) == repr(theirs)
    assert mine.itemsize == theirs.itemsize
    assert mine.is_floating_point == theirs.is_floating_point
    assert mine.is_complex == theirs.is_complex
    assert mine.is_signed == theirs.is_signed
    x = gs.ones(2, dtype=mine)
    y = torch.ones(2, dtype=theirs)
    assert x.is_floating_point() == y.is_floating_point() and x.is_signed() == y.is_signed()
    assert x.element_size() == y.element_size() and x.type() == y.type() and x.nbytes == y.nbytes


def test_second_names_of_dtypes_are_the_same_object():
    for a, b in (
        ("float", "float32"),
        ("double", "float64"),
        ("half", "float16"),
        ("long", "int64"),
        ("int", "int32"),
        ("short", "int16"),
    ):
        assert getattr(gs, a) is getattr(gs, b)


@pytest.mark.parametrize("name", FLOATS)
def test_finfo_equals_pytorch(name):
    mine, theirs = gs.finfo(getattr(gs, name)), torch.finfo(getattr(torch, name))
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(mine, field) == getattr(theirs, field), field
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_iinfo_equals_pytorch(name):
    mine, theirs = gs.iinfo(getattr(gs, name)), torch.iinfo(getattr(torch, name))
    for field in ("bits", "max", "min", "dtype"):
        assert getattr(mine, field) == getattr(theirs, field), field
    assert repr(mine) == repr(theirs)


def test_finfo_of_an_integer_type_is_a_type_error():
    for lib in (gs, torch):
        with pytest.raises(TypeError, match="requires a floating point input type"):
            lib.finfo(lib.int64)
        with pytest.raises(TypeError, match="requires an integer input type"):
            lib.iinfo(lib.float32)


def test_default_dtype_is_what_floats_become():
    assert gs.get_default_dtype() is gs.float32
    try:
        gs.set_default_dtype(gs.float64)
        assert gs.tensor(1.5).dtype is gs.float64
        assert gs.zeros(2).dtype is gs.float64
        assert (gs.tensor([1, 2]) / 2).dtype is gs.float64
        assert (gs.tensor([1, 2]) * 1.5).dtype is gs.float64
    finally:
        gs.set_default_dtype(gs.float32)


def test_gradient_of_a_conversion_has_the_dtype_of_the_input():
    x = gs.ones(3, dtype=gs.bfloat16, requires_grad=True)
    (x.double() * 2).sum().backward()
    assert x.grad.dtype is gs.bfloat16 and x.grad.tolist() == [2.0, 2.0, 2.0]
    y = gs.ones(3, requires_grad=True)
    (y * gs.ones(3, dtype=gs.float64)).sum().backward()
    assert y.grad.dtype is gs.float32


INTEGERS = "bool uint8 int8 int16 int32".split()


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("layout", ["whole", "strided", "row", "number"])
def test_arithmetic_of_small_integers_equals_pytorch(name, layout):
    rng = np.random.default_rng(0)
    kind = getattr(np, "bool_" if name == "bool" else name)
    a, b = (rng.integers(-(2**33), 2**33, (7, 523)).astype(kind) for _ in range(2))
    a[:, ::3] = b[:, ::3]

    def run(lib, f):
        x, y = lib.tensor(a.copy()), lib.tensor(b.copy())
        if layout == "strided":
            x, y = x[:, ::2], y.t().contiguous().t()[:, ::2]
        elif layout == "row":
            y = y[0]
        elif layout == "number":
            y = True if name == "bool" else 5
        try:
            return f(lib, x, y)
        except (RuntimeError, TypeError) as error:
            return type(error)

    wrong = []
    names = "add sub mul eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor"
    functions = {n: (lambda lib, x, y, n=n: getattr(lib, n)(x, y)) for n in names.split()}
    functions |= {
        "add alpha": lambda lib, x, y: lib.add(x, y, alpha=1 if name == "bool" else 3),
        "neg": lambda lib, x, y: -x,
        "not": lambda lib, x, y: ~x,
        "logical_not": lambda lib, x, y: lib.logical_not(x),
        "shift": lambda lib, x, y: x << 3,
        "reversed": lambda lib, x, y: 3 - x if name != "bool" else 3 * x,
        "mixed": lambda lib, x, y: x + lib.ones(x.shape[-1], dtype=lib.int16),
        "in place": lambda lib, x, y: x.mul_(y),
    }
    if name == "bool" and layout == "number":
        del functions["sub"]  # PyTorch refuses it
    for label, f in functions.items():
        theirs, mine = run(torch, f), run(gs, f)
        same = (
            theirs == mine
            if isinstance(theirs, type)
            else (
                not isinstance(mine, type)
                and short(mine.dtype) == short(theirs.dtype)
                and np.array_equal(mine.cpu().numpy(), theirs.numpy())
            )
        )
        if not same:
            wrong.append((label, theirs, mine))
    assert not wrong


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("shape", [(1000, 3), (3, 1000), (70, 70), (1, 1), (33000, 2)])
def test_extremes_of_small_integers_equal_pytorch(name, shape):
    kind = getattr(np, "bool_" if name == "bool" else name)
    values = np.random.default_rng(0).integers(-(2**33), 2**33, shape).astype(kind)
    for a in (values, np.ones_like(values), np.zeros_like(values)):
        x, y = gs.tensor(a), torch.from_numpy(a)
        for op in ("amax", "amin", "any", "all"):
            for dims in ((), (0,), (1,)):
                mine, theirs = getattr(x, op)(*dims), getattr(y, op)(*dims)
                assert short(mine.dtype) == short(theirs.dtype)
                np.testing.assert_array_equal(mine.cpu().numpy(), theirs.numpy())
        assert x.max().item() == y.max().item() and x.min().item() == y.min().item()


def test_operators_of_two_numbers_are_computed_as_int64():
    assert gs.sub(300, 1, alpha=2).item() == torch.sub(torch.tensor(300), 1, alpha=2).item() == 298
    assert gs.add(2**40, 1).item() == 2**40 + 1


def _of_integers(t, name):
    dtype = getattr(t, name)
    x, index = t.arange(6).to(dtype), t.tensor([1, 2])
    grid = x.reshape(2, 3)
    return [
        t.addmv(x[:2], grid, x[:3], beta=2.9, alpha=1.7),
        t.addr(grid, x[1:3], x[:3], beta=2, alpha=3),
        t.addr(grid.bool(), index > 1, x[:3].bool(), beta=3, alpha=2),
        x[1].sum_to_size(()),
        (x[1] > 0).sum_to_size(()),
        t.logspace(4.3, 1.2, 4, 2.0, dtype=dtype),
        t.logspace(0, 5, 7, 2.0, dtype=dtype),
        t.linalg.vander(x[:4]),
        t.unravel_index(x, (2, 3))[1],
        t.masked.cumsum(x, 0, mask=x > 2),
        t.masked.cumprod(x, 0, mask=x > 2),
    ]


@pytest.mark.parametrize("name", [n for n in NAMES if "int" in n])
def test_results_of_integers_equal_pytorch(name):
    for mine, theirs in zip(_of_integers(gs, name), _of_integers(torch, name), strict=True):
        assert short(mine.dtype) == short(theirs.dtype)
        np.testing.assert_array_equal(mine.cpu().numpy(), theirs.numpy())


def test_norms_of_halves_are_summed_in_float():
    for name, value in (("float16", 300.0), ("bfloat16", 3.0)):
        x, y = (lib.full((9,), value, dtype=getattr(lib, name)) for lib in (gs, torch))
        for order in (2, 3, 6):
            mine, theirs = x.norm(order), y.norm(order)
            assert short(mine.dtype) == name and mine.item() == theirs.item()
        mine, theirs = gs.dist(x, x * 0), torch.dist(y, y * 0)
        assert mine.item() == theirs.item()
