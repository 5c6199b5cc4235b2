# SPDX-License-Identifier: Apache-2.0
"""Every op of op_samples.py against PyTorch: values, dtypes, shapes, layouts, methods, in-place twins, first and
second derivatives. An op of the native module without a row fails the suite."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from op_rows import Maker  # noqa: E402
from op_samples import NOT_OPS, NOT_OPS_METHODS, ROWS, UNCHECKED  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
TOLERANCES = {
    "float32": (2e-6, 1e-5),
    "float64": (1e-9, 1e-10),
    "bfloat16": (2.5e-2, 1e-2),
    "float16": (1e-3, 1e-4),
}
SPACES = ((), ("nn", "functional"), ("Tensor",))
PREFIXES = {
    "F": ("nn", "functional"),
    "Tensor": ("Tensor",),
    "torch": (),
    "linalg": ("linalg",),
    "special": ("special",),
    "masked": ("masked",),
    "fft": ("fft",),
    "windows": ("signal", "windows"),
}


# ---- carrying a call over ----


def resolve(lib, name):
    """The function of that name: in F., in torch., or a method."""
    prefix, _, rest = name.rpartition(".")
    for space in [PREFIXES[prefix]] if prefix else [SPACES[1], SPACES[0], SPACES[2]]:
        where = lib
        for part in space:
            where = getattr(where, part, None)
        if (found := getattr(where, rest, None)) is not None:
            return found
    return None


def walk(fn, x):
    """x with fn applied to the tensors and dtypes inside."""
    if isinstance(x, (list, tuple)):
        return type(x)(walk(fn, v) for v in x)
    if isinstance(x, dict):
        return {k: walk(fn, v) for k, v in x.items()}
    return fn(x) if isinstance(x, (torch.Tensor, torch.dtype)) else x


def ours(x):
    """A gradstep tensor with a copy of x's memory and the same strides; the dtype of the same name."""
    if isinstance(x, torch.dtype):
        return getattr(gs, str(x).partition(".")[2])
    x = x.detach()
    extent = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride())) if x.numel() else 0
    flat = x.as_strided((extent,), (1,)).clone()
    raw = (
        gs.tensor(flat.view(torch.int16).numpy()).view(gs.bfloat16)
        if x.dtype == torch.bfloat16
        else gs.tensor(flat.numpy())
    )
    return raw.as_strided(tuple(x.shape), x.stride(), 0)


def gappy(x):
    """x with its axes reversed in memory and with gaps."""
    if not isinstance(x, torch.Tensor) or x.dim() == 0:
        return x
    memory = torch.zeros(*reversed(x.shape), 2, dtype=x.dtype)
    view = memory[..., 1].permute(*reversed(range(x.dim())))
    return view.copy_(x)


def leaves(result):
    if isinstance(result, (list, tuple)):
        return [t for r in result for t in leaves(r)]
    return [result]


def numpy_of(t):
    t = t.detach()
    t = (
        t.clone() if isinstance(t, torch.Tensor) else t
    )  # PyTorch's gradients of zeros may have no memory
    return np.array((t.float() if str(t.dtype).endswith("bfloat16") else t).cpu().numpy())


def same(mine, theirs, tolerance, what, values=True):
    mine, theirs = leaves(mine), leaves(theirs)
    assert len(mine) == len(theirs), what
    for m, t in zip(mine, theirs):
        if not isinstance(t, torch.Tensor):
            assert m == t or str(m) == str(t), what
            continue
        assert tuple(m.shape) == tuple(t.shape), what
        name = str(t.dtype).partition(".")[2]
        assert str(m.dtype).partition(".")[2] == name, what
        if values:
            rtol, atol = tolerance.get(name) or TOLERANCES.get(name, (0, 0))
            np.testing.assert_allclose(numpy_of(m), numpy_of(t), rtol=rtol, atol=atol, err_msg=what)


def describe(row, args, kwargs):
    text = walk(
        lambda x: f"{str(x.dtype)[6:]}{list(x.shape)}" if isinstance(x, torch.Tensor) else x,
        [args, kwargs],
    )
    return f"{row.name}{text[0]} {text[1] or ''}"


def samples(row, dtype):
    return [(list(args), kwargs) for args, kwargs in row.samples(Maker(dtype, row.low, row.high))]


def attempt(fn, args, kwargs):
    """PyTorch's result, None where it refuses."""
    try:
        torch.manual_seed(3)
        return (fn(*copy.deepcopy(args), **kwargs),)
    except (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError, AttributeError):
        return None


def run(fn, args, kwargs):
    gs.manual_seed(3)
    return fn(*walk(ours, args), **walk(ours, kwargs))


def ids(rows):
    return [row.name for row in rows]


# ---- values ----


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_values_equal_pytorch(row, dtype, device):
    if dtype not in row.dtypes:
        return
    theirs, mine = resolve(torch, row.name), resolve(gs, row.name)
    assert mine is not None, f"gradstep has no {row.name}"
    for args, kwargs in samples(row, getattr(torch, dtype)):
        for layout in (lambda x: x, gappy) if row.strided and not row.seeded else (lambda x: x,):
            given = walk(layout, args)
            expected = attempt(theirs, given, kwargs)
            if expected is not None:
                same(
                    run(mine, given, kwargs),
                    expected[0],
                    row.tolerance,
                    describe(row, args, kwargs),
                    row.values and not (row.seeded and device == "cuda"),
                )


ALIASES = [(row, alias) for row in ROWS for alias in row.aliases]


@pytest.mark.parametrize("row,alias", ALIASES, ids=[alias for _, alias in ALIASES])
def test_second_names(row, alias):
    mine, theirs = resolve(gs, alias), resolve(torch, alias)
    assert mine is not None, f"gradstep has no {alias}"
    for args, kwargs in samples(row, torch.float32)[:2]:
        expected = attempt(theirs, args, kwargs)
        if expected is not None:
            same(run(mine, args, kwargs), expected[0], row.tolerance, describe(row, args, kwargs))


METHODS = [
    row
    for row in ROWS
    if "." not in row.name and hasattr(torch.Tensor, row.name) and row.values and not row.seeded
]


@pytest.mark.parametrize("row", METHODS, ids=ids(METHODS))
def test_method_equals_pytorch(row):
    for args, kwargs in samples(row, torch.float32):
        if isinstance(args[0], torch.Tensor) and (
            expected := attempt(getattr(torch.Tensor, row.name), args, kwargs)
        ):
            assert hasattr(gs.Tensor, row.name), f"gradstep has no Tensor.{row.name}"
            same(
                run(getattr(gs.Tensor, row.name), args, kwargs),
                expected[0],
                row.tolerance,
                describe(row, args, kwargs),
            )


# ---- in place ----


def twin(row):
    return row.name.rpartition(".")[2] + "_"


TWINS = [row for row in ROWS if row.inplace and row.values and hasattr(torch.Tensor, twin(row))]


@pytest.mark.parametrize("row", TWINS, ids=ids(TWINS))
def test_in_place_twin(row):
    mine, theirs = getattr(gs.Tensor, twin(row), None), getattr(torch.Tensor, twin(row))
    assert mine is not None, f"gradstep has no Tensor.{twin(row)}"
    for dtype in (torch.float32, torch.int64):
        for args, kwargs in samples(row, dtype):
            if not isinstance(args[0], torch.Tensor):
                continue
            for layout in (lambda x: x, gappy) if row.strided else (lambda x: x,):
                given = [layout(args[0]), *args[1:]]
                if (expected := attempt(theirs, given, kwargs)) is None:
                    continue
                what = "in place: " + describe(row, args, kwargs)
                x = ours(given[0])
                before = x._version
                y = mine(x, *walk(ours, given[1:]), **walk(ours, kwargs))
                assert y is x and x._version > before, what
                same(x, expected[0], row.tolerance, what)


@pytest.mark.parametrize("row", [r for r in TWINS if r.grad], ids=ids([r for r in TWINS if r.grad]))
def test_gradient_of_in_place_twin(row):
    name = twin(row)
    for args, kwargs in samples(row, torch.float64):
        if not isinstance(args[0], torch.Tensor):
            continue

        def run_in(lib, convert, args=args, kwargs=kwargs):
            given = walk(convert, args)
            wanted = [t.requires_grad_() for t in leaves(given) if is_floating(t)]
            x = given[0] * 1
            getattr(x, name)(*given[1:], **walk(convert, kwargs))
            return gradients(lib, [x], wanted, 1)

        try:
            expected = run_in(torch, lambda x: x.clone() if isinstance(x, torch.Tensor) else x)
        except (RuntimeError, TypeError, NotImplementedError):
            continue
        same_gradients(run_in(gs, ours), expected, row, "in place: " + describe(row, args, kwargs))


# ---- derivatives ----


def is_floating(x):
    return isinstance(x, (torch.Tensor, gs.Tensor)) and x.is_floating_point()


def weights_like(lib, t, seed):
    values = np.random.default_rng([seed, *t.shape]).standard_normal(tuple(t.shape))
    return lib.tensor(values.tolist(), dtype=lib.float64).reshape(tuple(t.shape)).to(t.dtype)


def gradients(lib, outputs, wanted, order):
    """Gradients of the outputs weighted by random numbers, then of those gradients."""
    found = []
    for level in range(order):
        terms = [
            (t * weights_like(lib, t, level + k)).sum()
            for k, t in enumerate(outputs)
            if is_floating(t) and t.requires_grad
        ]
        if not terms:
            break
        outputs = lib.autograd.grad(
            sum(terms[1:], terms[0]), wanted, create_graph=level + 1 < order, allow_unused=True
        )
        found.append(outputs)
    return found


def same_gradients(mine, theirs, row, what):
    tolerance = row.tolerance.get("float64", (1e-7, 1e-8))
    for level in range(max(len(mine), len(theirs))):
        count = len((mine or theirs)[0])
        for k in range(count):
            m = mine[level][k] if level < len(mine) else None
            t = theirs[level][k] if level < len(theirs) else None
            note = f"derivative {level + 1} with respect to tensor {k} of {what}"
            if m is None or t is None:  # no gradient and a gradient of zeros say the same
                rest = t if m is None else m
                assert rest is None or np.abs(numpy_of(rest)).max(initial=0) < 1e-12, note
            else:
                assert tuple(m.shape) == tuple(t.shape), note
                np.testing.assert_allclose(
                    numpy_of(m), numpy_of(t), rtol=tolerance[0], atol=tolerance[1], err_msg=note
                )


DIFFERENTIABLE = [row for row in ROWS if row.grad and row.values]


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=ids(DIFFERENTIABLE))
def test_derivatives_equal_pytorch(row):
    mine, theirs = resolve(gs, row.name), resolve(torch, row.name)
    order = 2 if row.gradgrad else 1
    for args, kwargs in samples(row, torch.float64):

        def run_in(lib, fn, convert, args=args, kwargs=kwargs):
            given, options = walk(convert, args), walk(convert, kwargs)
            wanted = [
                t.requires_grad_()
                for t in leaves([given, list(options.values())])
                if is_floating(t)
            ]
            return gradients(lib, leaves(fn(*given, **options)), wanted, order) if wanted else []

        try:
            expected = run_in(
                torch, theirs, lambda x: x.clone() if isinstance(x, torch.Tensor) else x
            )
        except (RuntimeError, TypeError, NotImplementedError, ValueError):
            continue
        same_gradients(run_in(gs, mine, ours), expected, row, describe(row, args, kwargs))


def check_inputs(lib, convert, name, args, kwargs):
    """The call as a function of its float64 tensors, with them; None if its result has no gradient."""
    fn = resolve(lib, name)

    def laid_out(x):
        return convert(x.contiguous() if isinstance(x, torch.Tensor) else x)

    given, options = walk(laid_out, args), walk(laid_out, kwargs)
    wanted = [t for t in leaves([given, list(options.values())]) if is_floating(t)]
    wanted = [t.requires_grad_() for t in wanted if t.dtype is lib.float64]
    if not sum(t.numel() for t in wanted):
        return None

    def outputs(*_):
        lib.manual_seed(3)  # so that what is random is one function
        results = leaves(fn(*given, **options))
        return tuple(t for t in results if is_floating(t) and t.dtype is lib.float64)

    return (outputs, wanted) if any(t.requires_grad for t in outputs()) else None


def check(lib, which, case):
    return getattr(lib.autograd, which)(*case, atol=1e-5, rtol=1e-3, fast_mode=True)


def float64_only(x):
    return x.clone() if isinstance(x, torch.Tensor) else x


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_gradcheck_and_gradgradcheck(row):
    """All that PyTorch can differentiate, against finite differences; what a row is excused from
    (UNCHECKED) has to fail in PyTorch too."""
    if row.seeded:
        return
    failed = False
    for args, kwargs in samples(row, torch.float64):
        try:
            theirs = check_inputs(torch, float64_only, row.name, args, kwargs)
        except (RuntimeError, TypeError, IndexError, ValueError, AttributeError):
            continue
        if theirs is None:
            continue
        note = describe(row, args, kwargs)
        for which in ("gradcheck", "gradgradcheck"):
            mine = check_inputs(gs, ours, row.name, args, kwargs)
            try:
                if mine is None:
                    raise NotImplementedError("no gradient")
                check(gs, which, mine)
            except (RuntimeError, NotImplementedError):
                if row.name not in UNCHECKED:
                    raise
                try:
                    check(torch, which, theirs)
                except RuntimeError:
                    failed = True
                    break
                pytest.fail(f"PyTorch passes {which}: {note}")
    assert failed or row.name not in UNCHECKED, "has no need to be in UNCHECKED"


# ---- nothing is left out ----


def test_every_native_function_has_a_row():
    covered = {n.rpartition(".")[2] for row in ROWS for n in (row.name, *row.aliases)}
    covered |= {n + "_" for n in covered} | {
        n.replace(".", "_") for row in ROWS for n in (row.name, *row.aliases)
    }
    other = {n for names in NOT_OPS.values() for n in names.split()}
    native = {n for n in dir(gs._C) if not n.startswith("_")}
    assert sorted(native - covered - {n + "_" for n in covered} - other) == []
    assert sorted(other - native) == [], "no longer exported"
    methods = {
        n for n in dir(gs.Tensor) if not n.startswith("_") and callable(getattr(gs.Tensor, n, None))
    }
    other |= {n for names in NOT_OPS_METHODS.values() for n in names.split()}
    assert sorted(methods - covered - other) == []


def test_rows_have_unique_names():
    names = [row.name for row in ROWS]
    assert sorted({n for n in names if names.count(n) > 1}) == []
