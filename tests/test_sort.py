# SPDX-License-Identifier: Apache-2.0
"""sort, topk, kthvalue, unique, searchsorted: against PyTorch, NaN and ties included."""

import numpy as np
import pytest

import gradstep as gs
from parity import check, check_error, floats, ints, same, tensor, torch

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
SHAPES = [
    ((), 0),
    ((1,), 0),
    ((0,), 0),
    ((9,), -1),
    ((4, 6), 0),
    ((4, 6), 1),
    ((3, 0, 2), 1),
    ((3, 4, 5), 1),
]


@pytest.mark.parametrize("shape,dim", SHAPES)
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable_along_every_axis(shape, dim, descending):
    for x in (floats(*shape), ints(0, 3, *shape).astype(np.float64)):
        check(lambda lib, x: lib.sort(x, dim=dim, descending=descending, stable=True), x)
        check(lambda lib, x: x.argsort(dim=dim, descending=descending, stable=True), x, grad=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [50, 3000, 70000])
def test_every_dtype_sorts_short_and_long(dtype, n):
    a = ints(0, 2, n) if dtype == "bool" else ints(0 if dtype == "uint8" else -100, 100, n)
    if dtype.startswith(("float", "bf")):
        a = a + floats(n)
    for descending in (False, True):
        same(
            *[tensor(lib, a, dtype).sort(descending=descending, stable=True) for lib in (gs, torch)]
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nan_is_greatest_and_zeros_are_equal(dtype):
    a = np.array([0.0, np.nan, -np.inf, -0.0, np.inf, 1.0, np.nan, 0.0, -1.0])
    for descending in (False, True):
        ours, theirs = [
            tensor(lib, a, dtype).sort(descending=descending, stable=True) for lib in (gs, torch)
        ]
        same(ours, theirs)
        same(1 / ours[0], 1 / theirs[0])  # the zeros kept their signs and places
    same(*[tensor(lib, a, dtype).topk(3).values for lib in (gs, torch)])
    same(*[tensor(lib, a, dtype).kthvalue(8).values for lib in (gs, torch)])


def test_extreme_integers_sort():
    a = np.array([2**63 - 1, -(2**63), 0, -1, 1, 2**40, -(2**40)])
    same(*[tensor(lib, a).sort() for lib in (gs, torch)])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    "shape,dim,k", [((9,), 0, 3), ((9,), 0, 9), ((9,), 0, 0), ((4, 6), 0, 2), ((3, 4, 5), 1, 3)]
)
def test_topk_values_and_gradients(shape, dim, k, largest):
    check(lambda lib, x: x.topk(k, dim, largest=largest), floats(*shape))


def test_topk_of_a_long_axis_and_of_a_scalar():
    x = floats(100000)
    for k in (1, 20, 50000):
        same(*[tensor(lib, x).topk(k) for lib in (gs, torch)])
    check(lambda lib, x: x.topk(1), np.float64(2.0))


def test_unsorted_topk_holds_the_same_values():
    x = floats(1000)
    ours = tensor(gs, x).topk(30, sorted=False)
    np.testing.assert_array_equal(np.sort(ours.values.cpu().numpy()), np.sort(x)[-30:])
    np.testing.assert_array_equal(x[ours.indices.cpu().numpy()], ours.values.cpu().numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16"])
@pytest.mark.parametrize(
    "shape, dim", [((5000,), 0), ((40000,), 0), ((3, 6000), 1), ((5000, 3), 0)]
)
def test_selection_from_long_lines_is_that_of_a_stable_sort(shape, dim, dtype):
    rng = np.random.default_rng(len(shape))
    for spread in (50, 2**14):  # many equal elements; few
        x = rng.integers(-spread, spread, shape).astype(dtype)
        if dtype.startswith("float"):
            x = np.where(x == 3, np.nan, x / 7).astype(dtype)
        t = gs.tensor(x)
        order = t.sort(dim).indices
        assert order.tolist() == np.argsort(x, axis=dim, kind="stable").tolist()
        for k in (1, 7, 300):
            for largest in (False, True):
                found = t.topk(k, dim, largest=largest)
                ranked = t.sort(dim, descending=largest).indices.narrow(dim, 0, k)
                assert found.indices.tolist() == ranked.tolist()
                same(found.values, torch.tensor(x).gather(dim, torch.tensor(ranked.tolist())))
            found = t.kthvalue(k, dim)
            assert found.indices.tolist() == order.select(dim, k - 1).tolist()
        for ours, theirs in zip(
            (t.median(dim), t.nanmedian(dim)) if dtype.startswith("float") else (t.median(dim),),
            (torch.tensor(x).median(dim), torch.tensor(x).nanmedian(dim)),
            strict=False,
        ):
            same(ours.values, theirs.values)


@pytest.mark.parametrize("keepdim", [False, True])
def test_kthvalue_with_gradients(keepdim):
    for shape, dim, k in (((9,), 0, 1), ((4, 6), 0, 4), ((4, 6), 1, 3), ((), 0, 1)):
        check(lambda lib, x, k=k, dim=dim: x.kthvalue(k, dim, keepdim), floats(*shape))


def test_msort_sorts_the_first_axis():
    check(lambda lib, x: lib.msort(x), floats(4, 3))


def test_named_results():
    s = gs.sort(gs.tensor([2.0, 1.0]))
    assert s.values.tolist() == [1.0, 2.0] and s.indices.tolist() == [1, 0]
    assert gs.tensor([2.0, 1.0]).topk(1).indices.tolist() == [0]


# ---- unique ----


@pytest.mark.parametrize("shape", [(0,), (1,), (50,), (4, 6), (5000,)])
def test_unique_elements_with_inverse_and_counts(shape):
    for x in (ints(0, 9, *shape), ints(0, 9, *shape).astype(np.float32)):
        check(lambda lib, x: lib.unique(x, return_inverse=True, return_counts=True), x, grad=False)
        check(lambda lib, x: x.unique(return_counts=True), x, grad=False)
        check(lambda lib, x: x.unique(), x, grad=False)
        check(
            lambda lib, x: lib.unique_consecutive(x, return_inverse=True, return_counts=True),
            x,
            grad=False,
        )


def test_each_nan_is_unique():
    x = np.array([np.nan, 1.0, np.nan, 1.0])
    check(lambda lib, x: x.unique(return_counts=True), x, grad=False)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_unique_slices_along_an_axis(dim):
    x = ints(0, 2, 6, 5, 2)
    x[3] = x[1]
    x[:, 4] = x[:, 0]
    check(lambda lib, x: lib.unique(x, dim=dim, return_inverse=True, return_counts=True), x)
    check(
        lambda lib, x: lib.unique_consecutive(x, dim=dim, return_inverse=True, return_counts=True),
        x,
    )


# ---- searchsorted ----


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted_and_bucketize(right):
    bounds, x = np.sort(ints(0, 20, 8)).astype(np.float64), ints(-2, 22, 3, 5).astype(np.float64)
    rows = np.sort(floats(3, 8), axis=1)
    check(lambda lib, b, x: lib.searchsorted(b, x, right=right), bounds, x, grad=False)
    check(lambda lib, b, x: lib.bucketize(x, b, right=right), bounds, x, grad=False)
    check(
        lambda lib, b, x: lib.searchsorted(b, x, right=right, out_int32=True),
        rows,
        floats(3, 5),
        grad=False,
    )
    check(lambda lib, b: lib.searchsorted(b, 7, right=right), bounds, grad=False)
    check(lambda lib, b: lib.bucketize(7.5, b, right=right), bounds, grad=False)
    check(lambda lib, b, x: lib.searchsorted(b, x, side="right"), bounds, x, grad=False)
    shuffled = ints(0, 20, 8).astype(np.float64)
    check(
        lambda lib, b, x: lib.searchsorted(b, x, sorter=b.argsort(stable=True)),
        shuffled,
        x,
        grad=False,
    )


# ---- errors ----

ERRORS = [
    lambda lib, x: x.sort(3),
    lambda lib, x: x.topk(4),
    lambda lib, x: x.topk(1, 3),
    lambda lib, x: x.kthvalue(4),
    lambda lib, x: x.kthvalue(0),
    lambda lib, x: lib.unique(x, dim=3),
    lambda lib, x: lib.searchsorted(x, lib.tensor([1.0])),
    lambda lib, x: lib.searchsorted(x[0], x, side="foo"),
    lambda lib, x: lib.searchsorted(x[0], x, side="left", right=True),
    lambda lib, x: lib.searchsorted(x, 1.5),
    lambda lib, x: lib.bucketize(lib.tensor([1.0]), x),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_bad_argument_raises_pytorchs_error(number):
    check_error(ERRORS[number], floats(2, 3, dtype=np.float32))
