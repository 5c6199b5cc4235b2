# SPDX-License-Identifier: Apache-2.0
"""Rows of the ops that look at, move, make and convert tensors: views, shapes, indices, creation; see op_samples.py."""

import torch

from op_rows import FLOATS, SHAPES, SINGLES, Row, a, call, calls, loose, with_args

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


def shaped(*sizes):
    """A creation function: sizes as arguments and as a tuple, with and without dtype."""

    def samples(m):
        yield from (call(*s) for s in sizes)
        yield from (call(s, dtype=m.dtype) for s in sizes)

    return samples


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
