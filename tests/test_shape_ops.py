# SPDX-License-Identifier: Apache-2.0
"""cat, stack, repeat, roll, flip, tril, pad, meshgrid and their kin: against PyTorch."""

import numpy as np
import pytest

import gradstep as gs
from parity import check, check_error, floats, ints, same, tensor, torch

# ---- joining ----


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_and_stack_with_gradients(dim):
    shapes = [[2, 3], [2, 3], [2, 3]]
    shapes[1][dim] = 5
    parts = [floats(*s, seed=i) for i, s in enumerate(shapes)]
    check(lambda lib, *t: lib.cat(t, dim), *parts)
    check(lambda lib, *t: lib.concat(t, dim=dim), *parts)
    check(lambda lib, *t: lib.stack(t, dim), *[floats(2, 3, seed=i) for i in range(3)])
    check(lambda lib, *t: lib.cat([t[0], t[0]], dim), parts[0])


def test_cat_of_many_of_one_and_of_empty_ones():
    check(
        lambda lib, *t: lib.cat(t), *[floats(2, i % 3 + 1, seed=i).T.copy()[:1] for i in range(20)]
    )
    check(lambda lib, x: lib.cat([x]), floats(2, 3))
    check(lambda lib, e, x: lib.cat([e, x]), np.zeros((0,)), floats(2, 3))
    check(lambda lib, e, x: lib.cat([e, x]), np.zeros((0, 3)), floats(2, 3))
    check(lambda lib, e: lib.cat([e, e]), np.zeros((0,)), grad=False)
    check(lambda lib, *t: lib.stack(t), np.float64(1), np.float64(2))


def test_cat_promotes_and_gives_each_its_own_gradient_type():
    check(lambda lib, a, b: lib.cat([a, b]), floats(3), floats(2, dtype=np.float32))
    check(lambda lib, a, b: lib.cat([a, b]), floats(3), ints(0, 5, 2))
    check(lambda lib, a, b: lib.cat([a, b]), ints(0, 2, 3) > 0, ints(0, 5, 2, dtype=np.uint8))


def test_cat_of_large_parts_in_parallel():
    a, b = floats(300, 200, dtype=np.float32), floats(300, 77, dtype=np.float32)
    np.testing.assert_array_equal(
        gs.cat([gs.tensor(a), gs.tensor(b)], 1).cpu().numpy(), np.concatenate([a, b], 1)
    )


def test_stacks_by_axis():
    for shape in ((), (3,), (2, 3), (2, 3, 4)):
        parts = [floats(*shape), floats(*shape, seed=1)]
        for name in ("hstack", "vstack", "dstack", "column_stack", "row_stack"):
            check(lambda lib, *t, name=name: getattr(lib, name)(t), *parts)


def test_block_diag():
    check(
        lambda lib, *t: lib.block_diag(*t), floats(2, 3), floats(4), np.float64(2.0), floats(1, 2)
    )
    check(lambda lib, t: lib.block_diag(t), floats(2, 3))


# ---- repeating ----


def test_repeat_and_tile_with_gradients():
    for counts in ((2, 3), (1, 1), (2, 1, 3), (0, 2), (4, 1, 2, 1)):
        check(lambda lib, x, c=counts: x.repeat(*c), floats(2, 3))
        check(lambda lib, x, c=counts: x.repeat(c), floats(2, 3))
    check(lambda lib, x: x.tile(2), floats(2, 3))
    check(lambda lib, x: lib.tile(x, (2, 1, 2)), floats(2, 3))
    check(lambda lib, x: x.repeat(3), np.float64(2.0))
    check(lambda lib, x: x.repeat(2, 2, 2, 2, 2), floats(2, 1, 2, 1, 2))


def test_repeat_interleave_with_numbers_and_tensors():
    x = floats(3, 4)
    check(lambda lib, x: x.repeat_interleave(2), x)
    check(lambda lib, x: x.repeat_interleave(2, dim=1), x)
    check(lambda lib, x: lib.repeat_interleave(x, 3, 0), x)
    check(lambda lib, x: x.repeat_interleave(0, 0), x)
    check(lambda lib, x, r: lib.repeat_interleave(x, r, dim=0), x, np.array([2, 0, 3]))
    check(lambda lib, x, r: lib.repeat_interleave(x, r, dim=1), x, np.array([2]))
    check(lambda lib, r: lib.repeat_interleave(r), np.array([2, 0, 3]))
    check(lambda lib, r: lib.repeat_interleave(r, output_size=5), np.array([2, 0, 3]))


# ---- turning ----


def test_roll_flip_and_rot90_with_gradients():
    x = floats(3, 4, 2)
    check(lambda lib, x: x.roll(1), x)
    check(lambda lib, x: lib.roll(x, -5, 1), x)
    check(lambda lib, x: lib.roll(x, (1, 2), (0, 1)), x)
    check(lambda lib, x: lib.roll(x, (1, 2), (0, 0)), x)
    check(lambda lib, x: lib.roll(x, 0, 0), x)
    check(lambda lib, x: lib.roll(x, 1), np.zeros((0, 3)))
    for dims in ((0,), (1, 2), (0, 1, 2), (-1,), ()):
        check(lambda lib, x, d=dims: lib.flip(x, d), x)
    check(lambda lib, x: x.flip(0, 1), x)
    check(lambda lib, x: x.fliplr(), x)
    check(lambda lib, x: x.flipud(), x)
    for k in range(-1, 5):
        check(lambda lib, x, k=k: lib.rot90(x, k, (1, 2)), x)


# ---- triangles and diagonals ----


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 3, 3), (0, 3), (3, 0), (1, 1)])
def test_tril_and_triu_with_gradients(shape):
    for k in (-9, -1, 0, 2, 9):
        check(lambda lib, x, k=k: x.tril(k), floats(*shape))
        check(lambda lib, x, k=k: lib.triu(x, diagonal=k), floats(*shape))
        check(lambda lib, x, k=k: (x * 1).tril_(k), floats(*shape))
        check(lambda lib, x, k=k: (x * 1).triu_(k), floats(*shape))


def test_triangle_indices():
    for rows, cols, offset in ((3, 4, 0), (4, 3, -1), (3, 3, 5), (0, 3, 0), (3, 3, -9)):
        same(gs.tril_indices(rows, cols, offset), torch.tril_indices(rows, cols, offset))
        same(gs.triu_indices(rows, cols, offset), torch.triu_indices(rows, cols, offset))
    same(gs.triu_indices(3, 3, dtype=gs.int32), torch.triu_indices(3, 3, dtype=torch.int32))


def test_diag_and_diag_embed_with_gradients():
    for k in (-2, 0, 1):
        check(lambda lib, x, k=k: lib.diag(x, k), floats(3))
        check(lambda lib, x, k=k: x.diag(k), floats(3, 4))
        check(lambda lib, x, k=k: lib.diag_embed(x, k), floats(2, 3))
        check(lambda lib, x, k=k: lib.diag_embed(x, k, 0, 2), floats(2, 3))
        check(lambda lib, x, k=k: lib.diagflat(x, k), floats(2, 2))


# ---- padding ----


def test_constant_padding_with_gradients():
    for pad in ((1, 2), (1, 2, 3, 0), (-1, 0), (2, -1, 0, 1), (0, 0), (1, 1, 1, 1, 1, 1)):
        check(lambda lib, x, p=pad: lib.nn.functional.pad(x, p), floats(2, 3, 4))
        check(lambda lib, x, p=pad: lib.nn.functional.pad(x, p, value=1.5), floats(2, 3, 4))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_by_what_is_there_with_gradients(mode):
    def call(pad):
        return lambda lib, x: lib.nn.functional.pad(x, pad, mode=mode)

    check(call((2, 1)), floats(2, 3, 4))
    check(call((2, 1)), floats(3, 4))
    check(call((1, 2, 2, 0)), floats(2, 2, 3, 4))
    check(call((1, 2, 2, 0)), floats(2, 3, 4))
    check(call((1, 1, 1, 0, 1, 1)), floats(1, 2, 3, 3, 3))
    check(call((-1, 2)), floats(2, 3, 4))


# ---- combining and splitting ----


def test_grids_products_and_combinations():
    a, b, c = floats(3), floats(2, seed=1), np.float64(4)
    check(lambda lib, a, b, c: lib.meshgrid(a, b, c, indexing="ij"), a, b, c)
    check(lambda lib, a, b: lib.meshgrid(a, b, indexing="xy"), a, b)
    check(lambda lib, a, b: lib.meshgrid([a, b], indexing="ij"), a, b)
    check(lambda lib, a: lib.meshgrid(a, indexing="ij"), a)
    check(lambda lib, a, b: lib.cartesian_prod(a, b), a, b)
    check(lambda lib, a: lib.combinations(a), floats(4))
    check(lambda lib, a: lib.combinations(a, 3, with_replacement=True), floats(4))


def test_broadcasting_and_at_least():
    check(lambda lib, a, b: lib.broadcast_tensors(a, b), floats(3, 1), floats(4))
    check(lambda lib, a: lib.broadcast_to(a, (2, 3)), floats(3))
    check(lambda lib, a: a.broadcast_to((2, 3)), floats(3))
    for shape in ((), (3,), (2, 3), (2, 3, 4)):
        for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
            check(lambda lib, x, name=name: getattr(lib, name)(x), floats(*shape))
            check(lambda lib, x, name=name: getattr(lib, name)(x, x), floats(*shape))


def test_tensor_split_and_its_kin():
    x = floats(4, 6, 2)
    check(lambda lib, x: lib.tensor_split(x, 3, 1), x)
    check(lambda lib, x: lib.tensor_split(x, 4, dim=1), x)
    check(lambda lib, x: x.tensor_split([1, 4], 1), x)
    check(lambda lib, x: x.tensor_split((1, 9), 0), x)
    check(lambda lib, x, i: x.tensor_split(i.cpu(), 1), x, np.array([2, 3]))
    check(lambda lib, x, i: x.tensor_split(i.cpu()), x, np.int64(2))
    check(lambda lib, x: lib.hsplit(x, 2), x)
    check(lambda lib, x: x.hsplit([1, 3]), x)
    check(lambda lib, x: x.hsplit(2), floats(4))
    check(lambda lib, x: lib.vsplit(x, 2), x)
    check(lambda lib, x: lib.dsplit(x, (1,)), x)


def test_out_receives_the_result():
    a, b = gs.ones(2), gs.zeros(3)
    out = gs.empty(0)
    assert gs.cat([a, b], out=out) is out
    assert out.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "bfloat16"])
def test_every_dtype_is_moved(dtype):
    a = ints(0, 2, 3, 4)
    for call in (
        lambda lib, x: lib.cat([x, x], 1),
        lambda lib, x: x.repeat(2, 2),
        lambda lib, x: x.flip(1),
        lambda lib, x: x.roll(1, 1),
        lambda lib, x: x.tril(),
        lambda lib, x: lib.nn.functional.pad(x, (1, 1)),
        lambda lib, x: lib.diag_embed(x),
        lambda lib, x: x.repeat_interleave(2, 1),
    ):
        same(*[call(lib, tensor(lib, a, dtype)) for lib in (gs, torch)])


# ---- errors ----

ERRORS = [
    lambda lib, x: lib.cat([x, x[:, :2]], 0),
    lambda lib, x: lib.cat([x, x[0]], 0),
    lambda lib, x: lib.cat([]),
    lambda lib, x: lib.cat([x[0, 0]]),
    lambda lib, x: lib.cat([x], 3),
    lambda lib, x: lib.stack([x, x[0]]),
    lambda lib, x: lib.stack([]),
    lambda lib, x: x.repeat(2),
    lambda lib, x: x.repeat(2, -1),
    lambda lib, x: lib.repeat_interleave(x, -1),
    lambda lib, x: lib.repeat_interleave(x, lib.tensor([1, 2, 3]), 0),
    lambda lib, x: lib.repeat_interleave(x, lib.tensor([[1]]), 0),
    lambda lib, x: lib.repeat_interleave(x, lib.tensor([1.0, 1.0]), 0),
    lambda lib, x: lib.repeat_interleave(lib.tensor([1, -2])),
    lambda lib, x: lib.repeat_interleave(x, lib.tensor([1, 2]), 0, output_size=5),
    lambda lib, x: lib.roll(x, (1, 2)),
    lambda lib, x: lib.roll(x, (1, 2), (0,)),
    lambda lib, x: lib.flip(x, (0, 0)),
    lambda lib, x: lib.flip(x, (2,)),
    lambda lib, x: lib.tril(x[0]),
    lambda lib, x: lib.fliplr(x[0]),
    lambda lib, x: lib.flipud(x[0, 0]),
    lambda lib, x: lib.rot90(x, 1, (0, 0)),
    lambda lib, x: lib.rot90(x, 1, (0,)),
    lambda lib, x: lib.tril_indices(-1, 2),
    lambda lib, x: lib.diag(x[None]),
    lambda lib, x: lib.diag_embed(x, 0, 0, 0),
    lambda lib, x: lib.block_diag(x, x[None]),
    lambda lib, x: lib.meshgrid(lib.tensor([1]), lib.tensor([1.0]), indexing="ij"),
    lambda lib, x: lib.meshgrid(lib.tensor([1]), indexing="foo"),
    lambda lib, x: lib.cartesian_prod(x),
    lambda lib, x: lib.combinations(x),
    lambda lib, x: lib.tensor_split(x, 0),
    lambda lib, x: lib.hsplit(x, 2),
    lambda lib, x: lib.hsplit(x[0, 0], 2),
    lambda lib, x: lib.vsplit(x[0], 2),
    lambda lib, x: lib.dsplit(x, 2),
    lambda lib, x: lib.broadcast_to(x, (3, 3)),
    lambda lib, x: lib.broadcast_tensors(x, lib.zeros(4)),
    lambda lib, x: lib.nn.functional.pad(x, (1,)),
    lambda lib, x: lib.nn.functional.pad(x, (1, 1, 1, 1, 1, 1)),
    lambda lib, x: lib.nn.functional.pad(x, (-2, -2)),
    lambda lib, x: lib.nn.functional.pad(x[None], (3, 3), mode="reflect"),
    lambda lib, x: lib.nn.functional.pad(x, (1, 1), mode="foo"),
    lambda lib, x: lib.nn.functional.pad(x[0], (1, 1), mode="reflect"),
    lambda lib, x: lib.nn.functional.pad(x[None], (4, 4), mode="circular"),
    lambda lib, x: lib.nn.functional.pad(x, (1, 1), mode="reflect", value=1.0),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_bad_argument_raises_pytorchs_error(number):
    check_error(ERRORS[number], floats(2, 3, dtype=np.float32))
