# SPDX-License-Identifier: Apache-2.0
"""gather, scatter and their kin, masks, take and put, embedding, one_hot, bincount: against PyTorch."""

import numpy as np
import pytest

import gradstep as gs
from parity import check, check_error, floats, ints, mask, same, tensor, torch

DTYPES = ["uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


# ---- gather and scatter ----


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_gather_and_scatter_with_gradients_along_every_axis(dim):
    x, at = floats(3, 4, 5), ints(0, 3, 3, 4, 5)
    unique = np.argsort(floats(3, 4, 5, seed=9), axis=dim)
    src = floats(3, 4, 5, seed=1)
    check(lambda lib, x, i: x.gather(dim, i), x, at)
    check(lambda lib, x, i: lib.take_along_dim(x, i, dim), x, unique)
    check(lambda lib, x, i, s: x.scatter(dim, i, s), x, unique, src)
    check(lambda lib, x, i, s: (x * 1).scatter_(dim, i, s), x, unique, src)
    check(lambda lib, x, i: x.scatter(dim, i, 2.5), x, at)
    check(lambda lib, x, i, s: x.scatter_add(dim, i, s), x, at, src)
    check(lambda lib, x, i, s: (x * 1).scatter_add_(dim, i, s), x, at, src)


def test_index_may_be_smaller_than_self_and_src():
    x, at = floats(4, 5), ints(0, 4, 2, 3)
    check(lambda lib, x, i: x.gather(0, i), x, at)
    check(lambda lib, x, i, s: x.scatter_add(0, i, s[:2, :3]), x, at, floats(4, 5, seed=1))
    check(lambda lib, x, i, s: x.scatter_add(0, i, s), x, at, floats(4, 5, seed=1), grad=False)
    check(
        lambda lib, x, i, s: x.scatter(0, i, s),
        x,
        ints(0, 1, 1, 3),
        floats(4, 5, seed=1),
        grad=False,
    )


def test_scalars_and_empty_indices():
    check(lambda lib, x, i: x.gather(0, i), np.float64(3.0), np.int64(0))
    check(lambda lib, x, i: x.scatter(0, i, 2.0), np.float64(3.0), np.int64(0))
    check(lambda lib, x, i: x.gather(1, i), floats(3, 4), np.zeros((0, 4), np.int64), grad=False)
    check(lambda lib, x, i, s: x.scatter_add(0, i, s), floats(3), np.zeros(0, np.int64), floats(0))


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_values_and_gradients(reduce, include_self):
    def call(lib, x, i, s):
        return x.scatter_reduce(1, i, s, reduce, include_self=include_self)

    x, at, src = floats(3, 4), ints(0, 4, 3, 5), floats(3, 5, seed=1)
    check(call, x, at, src)
    check(
        lambda lib, x, i, s: (x * 1).scatter_reduce_(1, i, s, reduce, include_self=include_self),
        x,
        at,
        src,
    )
    for dtype in ("int32", "float16"):
        a = [ints(1, 9, 3, 4), at, ints(1, 9, 3, 5)]
        same(
            *[
                call(lib, tensor(lib, a[0], dtype), tensor(lib, a[1]), tensor(lib, a[2], dtype))
                for lib in (gs, torch)
            ]
        )


def test_a_product_with_one_zero_has_the_gradient_of_the_others():
    src = floats(2, 4, seed=1)
    src[0, 1] = 0
    check(
        lambda lib, x, i, s: x.scatter_reduce(1, i, s, "prod"), floats(2, 3), ints(0, 2, 2, 4), src
    )


def test_scatter_with_reduce_adds_or_multiplies():
    x, at = floats(3, 4), ints(0, 4, 3, 4)
    for how in ("add", "multiply"):
        check(
            lambda lib, x, i, s, how=how: x.scatter(1, i, s, reduce=how),
            x,
            at,
            floats(3, 4, seed=1),
            grad=False,
        )
        check(lambda lib, x, i, how=how: x.scatter(1, i, 2.0, reduce=how), x, at, grad=False)


# ---- along one axis ----


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_index_ops_along_an_axis_with_gradients(dim):
    x, at = floats(4, 5, 6), np.array([2, 0, 2])
    shape = [4, 5, 6]
    shape[dim] = 3
    src = floats(*shape, seed=1)
    once = np.array([2, 0, 1])
    check(lambda lib, x, i: x.index_select(dim, i), x, at)
    check(lambda lib, x, i: x.index_select(dim, i.int()), x, at)
    check(lambda lib, x, i, s: x.index_add(dim, i, s), x, at, src)
    check(lambda lib, x, i, s: x.index_add(dim, i, s, alpha=-2), x, at, src)
    check(lambda lib, x, i, s: (x * 1).index_add_(dim, i, s), x, at, src)
    check(lambda lib, x, i, s: x.index_copy(dim, i, s), x, once, src)
    check(lambda lib, x, i, s: (x * 1).index_copy_(dim, i, s), x, once, src)
    check(lambda lib, x, i: x.index_fill(dim, i, 3.0), x, at)
    check(lambda lib, x, i, v: x.index_fill(dim, i, v), x, at, np.float64(2.0))
    check(lambda lib, x, i: (x * 1).index_fill_(dim, i, -1), x, at)


def test_index_ops_of_a_scalar():
    check(lambda lib, x, i: x.index_select(0, i), np.float64(2.0), np.array([0]))
    check(
        lambda lib, x, i, s: x.index_add(0, i, s), np.float64(2.0), np.array([0]), np.float64(3.0)
    )
    check(lambda lib, x, i: x.index_fill(0, i, 5), np.float64(2.0), np.array([0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_every_dtype_are_moved_and_added(dtype):
    a, at, src = ints(0, 5, 4, 3), ints(0, 4, 4, 3), ints(0, 5, 4, 3, seed=2)
    for lib_call in (
        lambda lib, x, i, s: x.gather(0, i),
        lambda lib, x, i, s: x.scatter_add(0, i, s),
        lambda lib, x, i, s: x.index_add(0, i[:, 0], s),
        lambda lib, x, i, s: x.index_select(1, i[0].clamp(max=2)),
        lambda lib, x, i, s: x.put_(i, s, accumulate=True),
        lambda lib, x, i, s: x.masked_fill(i > 1, 3),
        lambda lib, x, i, s: lib.cat([x, s], 1),
        lambda lib, x, i, s: x.tril(),
        lambda lib, x, i, s: x.nonzero(),
    ):
        same(
            *[
                lib_call(lib, tensor(lib, a, dtype), tensor(lib, at), tensor(lib, src, dtype))
                for lib in (gs, torch)
            ]
        )


# ---- flat ----


def test_take_and_put_use_the_flattened_tensor():
    x, at = floats(3, 4), np.array([[0, -1, 5], [5, 2, 11]])
    once = np.array([3, 0, -1])
    check(lambda lib, x, i: x.take(i), x, at)
    check(lambda lib, x, i, s: x.put(i, s), x, once, floats(3, seed=1))
    check(lambda lib, x, i, s: x.put(i, s, accumulate=True), x, at, floats(2, 3, seed=1))
    check(lambda lib, x, i, s: (x * 1).put_(i, s), x, once, floats(3, seed=1))
    check(lambda lib, x, i: lib.take_along_dim(x, i), x, ints(0, 12, 5), permuted=(False,))
    check(lambda lib, x, i: lib.take_along_dim(x, i, 1), x, ints(0, 4, 1, 2))


# ---- masks ----


def test_masks_fill_select_and_scatter_with_gradients():
    x, m = floats(3, 4), mask(3, 4)
    check(lambda lib, x, m: x.masked_fill(m, 2.5), x, m)
    check(
        lambda lib, x, m: x.masked_fill(m, -lib.inf if hasattr(lib, "inf") else -float("inf")),
        x,
        m,
        grad=False,
    )
    check(lambda lib, x, m, v: x.masked_fill(m, v), x, m, np.float64(2.0))
    check(lambda lib, x, m: (x * 1).masked_fill_(m, 1), x, m)
    check(lambda lib, x, m: (x * 1).t().masked_fill_(m.t(), 1), x, m)
    check(lambda lib, x, m: x.masked_fill(m, 0), floats(4), m)
    check(lambda lib, x, m: x.masked_fill(m, 0), x, mask(4))
    check(lambda lib, x, m: x.masked_select(m), x, m)
    check(lambda lib, x, m: x.masked_select(m), x, mask(4))
    check(lambda lib, x, m: x.masked_select(m), floats(3, 1), mask(4))
    check(lambda lib, x, m: x.masked_select(m), np.float64(1.0), np.bool_(True))
    check(lambda lib, x, m, s: x.masked_scatter(m, s), x, m, floats(12, seed=1))
    check(lambda lib, x, m, s: (x * 1).masked_scatter_(m, s), x, m, floats(3, 5, seed=1))


def test_masked_fill_keeps_the_dtype_of_self():
    for dtype in ["bool", *DTYPES]:
        for value in (1.5, -1, True):
            if dtype == "uint8" and value == -1:
                continue
            a = ints(0, 2, 5)
            same(
                *[
                    tensor(lib, a, dtype).masked_fill(tensor(lib, a) > 0, value)
                    for lib in (gs, torch)
                ]
            )


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (2, 0, 3), (2, 3, 4), (70000,)])
def test_nonzero_lists_places_in_row_major_order(shape):
    x = (ints(0, 3, *shape) - 1).astype(np.float32)
    check(lambda lib, x: x.nonzero(), x, grad=False)
    check(lambda lib, x: lib.nonzero(x, as_tuple=True), x, grad=False)
    check(lambda lib, x: lib.where(x), x, grad=False)
    check(lambda lib, x: lib.argwhere(x), x, grad=False)


def test_negative_zero_is_zero_and_nan_is_not():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        a = np.array([0.0, -0.0, np.nan, 1e-30 if dtype == "float64" else 1.0])
        same(*[tensor(lib, a, dtype).nonzero() for lib in (gs, torch)])


def test_where_as_a_method_takes_self_second():
    check(lambda lib, x, m, y: x.where(m, y), floats(3, 4), mask(3, 4), floats(3, 4, seed=1))
    check(lambda lib, x, m: x.where(m, 0.0), floats(3, 4), mask(3, 4))


# ---- tables ----


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_embedding_and_its_gradients(kind):
    w = floats(7, 5)
    for shape in ((), (4,), (2, 3)):
        at = ints(0, 7, *shape).astype(kind)
        check(lambda lib, w, i: lib.nn.functional.embedding(i, w), w, at)
        check(lambda lib, w, i: lib.nn.functional.embedding(i, w, padding_idx=3), w, at)
        check(lambda lib, w, i: lib.nn.functional.embedding(i, w, padding_idx=-1), w, at)
    check(lambda lib, w, i: lib.nn.functional.embedding(i, w), w, np.zeros(0, kind), grad=False)


def test_embedding_divides_gradients_by_frequency():
    def grad(lib):
        w = tensor(lib, floats(5, 3)).requires_grad_()
        i = lib.tensor([1, 1, 4, 0, 1])
        (lib.nn.functional.embedding(i, w, scale_grad_by_freq=True) ** 2).sum().backward()
        return w.grad

    same(grad(gs), grad(torch))


def test_embedding_renormalises_the_rows_that_are_read():
    for norm in (1.0, 2.0, float("inf")):
        rows = []
        for lib in (gs, torch):
            w = tensor(lib, floats(5, 3))
            i = lib.tensor([1, 1, 4])
            rows.append((lib.nn.functional.embedding(i, w, max_norm=0.5, norm_type=norm), w))
        same(*rows)


def test_one_hot_and_bincount():
    check(lambda lib, i: lib.nn.functional.one_hot(i), ints(0, 4, 2, 3))
    check(lambda lib, i: lib.nn.functional.one_hot(i, 6), ints(0, 4, 2, 3))
    check(lambda lib, i: lib.nn.functional.one_hot(i, 6), np.int64(2))
    check(lambda lib, i: lib.nn.functional.one_hot(i, 6), np.zeros((0, 2), np.int64))
    check(lambda lib, i: lib.bincount(i), ints(0, 9, 30))
    check(lambda lib, i: i.bincount(minlength=12), ints(0, 9, 30, dtype=np.uint8))
    check(lambda lib, i: lib.bincount(i, minlength=3), np.zeros(0, np.int64))
    for kind in (np.float32, np.float64, np.int64):
        w = ints(0, 5, 30, seed=3).astype(kind)
        check(lambda lib, i, w: lib.bincount(i, w), ints(0, 9, 30), w, grad=False)


# ---- errors ----

ERRORS = [
    lambda lib, x: x.gather(1, lib.tensor([[5]])),
    lambda lib, x: x.gather(1, lib.tensor([[-1]])),
    lambda lib, x: x.gather(1, lib.tensor([[1.0]])),
    lambda lib, x: x.gather(1, lib.tensor([1])),
    lambda lib, x: x.gather(1, lib.zeros(3, 1, dtype=lib.int64)),
    lambda lib, x: x.gather(2, lib.tensor([[1]])),
    lambda lib, x: x.scatter(1, lib.tensor([[5]]), 1.0),
    lambda lib, x: x.scatter(1, lib.tensor([[1.0]]), 1.0),
    lambda lib, x: x.scatter(1, lib.zeros(3, 1, dtype=lib.int64), 1.0),
    lambda lib, x: x.scatter(1, lib.zeros(2, 2, dtype=lib.int64), lib.zeros(2, 1)),
    lambda lib, x: x.scatter(1, lib.zeros(2, dtype=lib.int64), lib.zeros(2, 1)),
    lambda lib, x: x.scatter(1, lib.zeros(2, 1, dtype=lib.int64), lib.zeros(2, 1, dtype=lib.int64)),
    lambda lib, x: x.scatter(1, lib.tensor([[1]]), 2.0, reduce="foo"),
    lambda lib, x: x.scatter_reduce(1, lib.tensor([[1]]), x, "foo"),
    lambda lib, x: x.scatter_add(1, lib.tensor([[1]]), lib.zeros(2, 1, dtype=lib.int64)),
    lambda lib, x: x.index_select(1, lib.tensor([[1]])),
    lambda lib, x: x.index_select(1, lib.tensor([1.0])),
    lambda lib, x: x[0].double().index_select(0, lib.tensor([5])),
    lambda lib, x: x.index_add(1, lib.tensor([5]), lib.zeros(2, 1)),
    lambda lib, x: x.index_add(1, lib.tensor([1]), lib.zeros(2, 1).long()),
    lambda lib, x: x.index_add(1, lib.tensor([1]), lib.zeros(2, 2)),
    lambda lib, x: x.index_add(1, lib.tensor([1]), lib.zeros(3, 1)),
    lambda lib, x: x.index_add(1, lib.tensor([1.0]), lib.zeros(2, 1)),
    lambda lib, x: x.index_add(1, lib.tensor([[1]]), lib.zeros(2, 1)),
    lambda lib, x: x.index_copy(1, lib.tensor([5]), lib.zeros(2, 1)),
    lambda lib, x: x.index_copy(1, lib.tensor([-1]), lib.zeros(2, 1)),
    lambda lib, x: x.index_copy(1, lib.tensor([1]), lib.zeros(2, 1).long()),
    lambda lib, x: x.index_copy(1, lib.tensor([1]), lib.zeros(2, 2)),
    lambda lib, x: x.index_copy(1, lib.tensor([1]), lib.zeros(3, 1)),
    lambda lib, x: x.index_copy(1, lib.tensor([1.0]), lib.zeros(2, 1)),
    lambda lib, x: x.index_fill(1, lib.tensor([5]), 0.0),
    lambda lib, x: x.index_fill(1, lib.tensor([1]), lib.zeros(2)),
    lambda lib, x: x.index_fill(1, lib.tensor([1.0]), 0.0),
    lambda lib, x: x.take(lib.tensor([6])),
    lambda lib, x: x.take(lib.tensor([1.0])),
    lambda lib, x: x.put_(lib.tensor([6]), lib.tensor([1.0])),
    lambda lib, x: x.put_(lib.tensor([1]), lib.tensor([1.0, 2.0])),
    lambda lib, x: x.put_(lib.tensor([1]), lib.tensor([1])),
    lambda lib, x: x.masked_fill(lib.tensor([True, False]), 0),
    lambda lib, x: x.masked_fill(lib.tensor([1, 0, 1]), 0),
    lambda lib, x: x.masked_fill(x > 1, lib.zeros(1)),
    lambda lib, x: x[0].masked_fill_(x > 1, 0),
    lambda lib, x: x.masked_select(lib.tensor([1, 0, 1])),
    lambda lib, x: x.masked_select(lib.tensor([True, False])),
    lambda lib, x: x.masked_scatter(x == x, lib.tensor([1.0])),
    lambda lib, x: x.masked_scatter(x == x, lib.tensor([1, 1, 1, 1, 1, 1])),
    lambda lib, x: x.masked_scatter(x, x),
    lambda lib, x: lib.take_along_dim(x, lib.tensor([1]), 0),
    lambda lib, x: lib.nn.functional.embedding(lib.tensor([5]), x),
    lambda lib, x: lib.nn.functional.embedding(lib.tensor([-1]), x),
    lambda lib, x: lib.nn.functional.embedding(lib.tensor([1.0]), x),
    lambda lib, x: lib.nn.functional.embedding(lib.tensor([1]), x[0]),
    lambda lib, x: lib.nn.functional.embedding(lib.tensor([1]), x, padding_idx=5),
    lambda lib, x: lib.nn.functional.one_hot(lib.tensor([5]), 3),
    lambda lib, x: lib.nn.functional.one_hot(lib.tensor([-1]), 3),
    lambda lib, x: lib.nn.functional.one_hot(lib.tensor([1.0]), 3),
    lambda lib, x: lib.nn.functional.one_hot(lib.zeros(0, dtype=lib.int64)),
    lambda lib, x: lib.bincount(lib.tensor([-1])),
    lambda lib, x: lib.bincount(lib.tensor([1.0])),
    lambda lib, x: lib.bincount(lib.tensor([[1]])),
    lambda lib, x: lib.bincount(lib.tensor([1]), lib.tensor([1.0, 2.0])),
    lambda lib, x: lib.bincount(lib.tensor([1]), minlength=-1),
    lambda lib, x: lib.zeros(1).expand(3).scatter_(0, lib.tensor([0]), 1.0),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_bad_argument_raises_pytorchs_error(number):
    check_error(ERRORS[number], floats(2, 3, dtype=np.float32))


@pytest.mark.cpu_only  # a GPU finds it while it writes: test_cuda_index.py
@pytest.mark.parametrize(
    "write",
    [
        lambda x, i: x.scatter_(0, i[:, None], 1.0),
        lambda x, i: x.index_add_(0, i, gs.ones(3, 2)),
        lambda x, i: x.index_copy_(0, i, gs.ones(3, 2)),
        lambda x, i: x.index_fill_(0, i, 1.0),
        lambda x, i: x.put_(i, gs.ones(3)),
        lambda x, i: x.masked_scatter_(x == 0, gs.ones(1)),
    ],
)
def test_an_index_out_of_range_is_found_before_anything_is_written(write):
    x = gs.zeros(4, 2)
    with pytest.raises((IndexError, RuntimeError)):
        write(x, gs.tensor([0, 1, 99]))
    assert x.sum().item() == 0 and x._version == 0


def test_histc_of_a_range_beyond_float_stays_in_its_bins():
    assert gs.histc(gs.tensor([-3e38, 0.0, 3e38]), 3, -3e38, 3e38).sum().item() == 3
    assert gs.histc(gs.ones(4), 5, 1.0, 1.0 + 1e-9).sum().item() == 4


@pytest.mark.parametrize(
    "indices, weight",
    [
        ([1.0, 0.0], (4, 2)),
        ([True, False], (4, 2)),
        ([1, 0], (4,)),
        ([1, 0], (2, 3, 2)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"max_norm": 1.0}])
def test_what_is_no_embedding_is_refused(indices, weight, options):
    for lib in (gs, torch):
        w = lib.ones(weight)
        with pytest.raises(RuntimeError, match="2-D|2-dim|Long, Int"):
            lib.nn.functional.embedding(lib.tensor(indices), w, **options)
        assert bool((w == 1).all())
