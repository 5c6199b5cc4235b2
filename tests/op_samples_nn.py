# SPDX-License-Identifier: Apache-2.0
"""Rows of the ops of networks: activations, normalisation, losses, convolution and pooling; see op_samples.py."""

import torch

from op_rows import FLOATS, SHAPES, SINGLES, Row, a, call, calls, loose, unary, with_args

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


def classes(m, shape):
    return m.ints(shape[1], shape[0], *shape[2:])


def signs(m, shape):
    return (m.mask(*shape).to(torch.float64) * 2 - 1).to(m.dtype)


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
