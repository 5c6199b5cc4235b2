# SPDX-License-Identifier: Apache-2.0
"""Convolution against PyTorch: values, two orders of derivatives, geometries, dtypes, errors."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import check, numbers, same_error

F64 = np.float64


def conv(lib, nd, *args, **kwargs):
    return getattr(lib.nn.functional, f"conv{nd}d")(*args, **kwargs)


def conv_transpose(lib, nd, *args, **kwargs):
    return getattr(lib.nn.functional, f"conv_transpose{nd}d")(*args, **kwargs)


def operands(nd, groups, bias, transposed=False, kernel=None, unbatched=False, dtype=F64):
    c_in, c_out = 2 * groups, 3 * groups
    window = (3, 2, 2)[:nd] if kernel is None else kernel
    image = (7, 6, 5)[:nd]
    x = numbers(*(() if unbatched else (2,)), c_in, *image, seed=1, dtype=dtype)
    weight = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    arrays = [x, numbers(*weight, *window, seed=2, dtype=dtype)]
    return [*arrays, numbers(c_out, seed=3, dtype=dtype)] if bias else arrays


GEOMETRY = {
    "plain": (1, 0, 1),
    "padded": (1, 1, 1),
    "strided": (2, 1, 1),
    "dilated": (1, 1, 2),
    "all": (3, 2, 2),
}


def tolerance(dtype):
    return {"rtol": 1e-9, "atol": 1e-9} if dtype is F64 else {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("dtype", [np.float32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_convolution_has_torchs_values_and_derivatives(nd, geometry, groups, bias, dtype):
    stride, padding, dilation = GEOMETRY[geometry]
    check(
        lambda lib, x, w, b=None: conv(lib, nd, x, w, b, stride, padding, dilation, groups),
        *operands(nd, groups, bias, dtype=dtype),
        **tolerance(dtype),
    )


@pytest.mark.parametrize("dtype", [np.float32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("geometry", GEOMETRY)
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_transposed_convolution_has_torchs_values_and_derivatives(
    nd, geometry, groups, bias, dtype
):
    stride, padding, dilation = GEOMETRY[geometry]
    extra = stride - 1
    check(
        lambda lib, x, w, b=None: conv_transpose(
            lib, nd, x, w, b, stride, padding, extra, groups, dilation
        ),
        *operands(nd, groups, bias, transposed=True, dtype=dtype),
        **tolerance(dtype),
    )


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_output_padding_of_a_whole_stride_equals_torchs(padding):
    check(
        lambda lib, x, w, b: conv_transpose(lib, 2, x, w, b, (1, 2), padding, (1, 1), 1, (2, 1)),
        *operands(2, 1, True, transposed=True),
        rtol=1e-9,
    )


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_padding_same_keeps_the_size_as_in_torch(nd, kernel, dilation):
    check(
        lambda lib, x, w, b: conv(lib, nd, x, w, b, padding="same", dilation=dilation),
        *operands(nd, 1, True, kernel=(kernel, 2, 3)[:nd]),
        rtol=1e-9,
    )


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_an_unbatched_input_gives_an_unbatched_output(nd):
    check(
        lambda lib, x, w, b: conv(lib, nd, x, w, b, padding="valid"),
        *operands(nd, 1, True, unbatched=True),
    )
    check(
        lambda lib, x, w: conv_transpose(lib, nd, x, w),
        *operands(nd, 1, False, transposed=True, unbatched=True),
    )


def test_operands_may_be_views():
    check(
        lambda lib, x, w, b: conv(lib, 2, x.transpose(2, 3), w.permute(0, 1, 3, 2), b[::2]),
        numbers(2, 3, 5, 6, dtype=F64),
        numbers(4, 3, 3, 2, dtype=F64),
        numbers(8, dtype=F64),
    )
    check(lambda lib, x, w: conv(lib, 1, x.expand(2, 3, 6), w), numbers(1, 3, 6), numbers(4, 3, 2))


def test_convolution_by_its_general_name_equals_torchs():
    arrays = operands(2, 1, True)
    check(
        lambda lib, x, w, b: lib.convolution(x, w, b, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
        *arrays,
    )
    arrays = operands(2, 1, True, transposed=True)
    check(
        lambda lib, x, w, b: lib.convolution(x, w, b, [2, 1], [1, 0], [1, 1], True, [1, 0], 1),
        *arrays,
    )


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_wanted_gradients_are_made(wanted):
    grads = []
    for lib in (gs, torch):
        xs = [lib.tensor(a.tolist()) for a in operands(2, 1, True)]
        for k in wanted:
            xs[k].requires_grad_()
        conv(lib, 2, *xs).square().sum().backward()
        grads.append([None if x.grad is None else x.grad.cpu().numpy() for x in xs])
    for k, (a, b) in enumerate(zip(*grads)):
        assert (a is None) == (b is None) == (k not in wanted)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float(dtype):
    results = []
    for lib in (gs, torch):
        xs = [
            lib.tensor(a.tolist()).to(getattr(lib, dtype)).requires_grad_()
            for a in operands(2, 1, True)
        ]
        y = conv(lib, 2, *xs, padding=1)
        y.sum().backward()
        results.append([t.detach().float().cpu().numpy() for t in (y, *(x.grad for x in xs))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2 if dtype == "float16" else 2e-1)


# 3x3; strided; 1x1; few channels; grouped; the values are those of bfloat16 operands, rounded once
@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "stride", "groups"),
    [(32, 48, 3, 1, 1), (20, 33, 3, 2, 1), (32, 16, 1, 1, 1), (3, 8, 5, 1, 1), (16, 16, 3, 1, 16)],
)
def test_bfloat16_convolutions_sum_in_float(c_in, c_out, kernel, stride, groups):
    shapes = [(5, c_in, 11, 9), (c_out, c_in // groups, kernel, kernel), (c_out,)]
    operands = [gs.tensor(numbers(*shape, seed=i)).bfloat16() for i, shape in enumerate(shapes)]

    def results(dtype):
        x, w, b = (t.to(dtype).requires_grad_(True) for t in operands)
        y = gs.nn.functional.conv2d(x, w, b, stride, 1, groups=groups)
        dy = gs.tensor(numbers(*y.shape, seed=7)).bfloat16().to(dtype)
        return [t.detach().double().cpu().numpy() for t in (y, *gs.autograd.grad(y, [x, w, b], dy))]

    for ours, exact in zip(results(gs.bfloat16), results(gs.float64), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=2**-8, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("x", [(0, 3, 8, 8), (2, 3, 8, 8)])
def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(x):
    check(
        lambda lib, x, w, b: conv(lib, 2, x, w, b),
        numbers(*x),
        numbers(4, 3, 3, 3),
        numbers(4),
        order=1,
        rtol=1e-3,
    )


FAULTS = {
    "channels": ((1, 3, 8, 8), (4, 2, 3, 3), ()),
    "rank of the input": ((3, 8), (4, 3, 3, 3), ()),
    "rank of the input, too large": ((1, 1, 3, 8, 8), (4, 3, 3, 3), ()),
    "rank of the weight": ((1, 3, 8, 8), (4, 3, 3), ()),
    "stride 0": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 0)),
    "negative stride": ((1, 3, 8, 8), (4, 3, 3, 3), (None, -1)),
    "negative padding": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 1, -1)),
    "dilation 0": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 1, 0, 0)),
    "a kernel larger than the input": ((1, 3, 8, 8), (4, 3, 9, 9), ()),
    "three strides": ((1, 3, 8, 8), (4, 3, 3, 3), (None, (1, 1, 1))),
    "same with stride": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 2, "same")),
    "another word": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 1, "foo")),
    "no groups": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 1, 0, 1, 0)),
    "groups and input": ((1, 3, 8, 8), (4, 3, 3, 3), (None, 1, 0, 1, 2)),
    "groups and output": ((1, 4, 8, 8), (3, 2, 3, 3), (None, 1, 0, 1, 2)),
    "no outputs": ((2, 3, 8, 8), (0, 3, 3, 3), ()),
    "an empty image": ((2, 3, 8, 0), (4, 3, 3, 3), ()),
}
TRANSPOSED_FAULTS = {
    "channels": ((1, 3, 8, 8), (4, 3, 3, 3), ()),
    "output padding": ((1, 3, 8, 8), (3, 4, 3, 3), (None, 1, 0, 1)),
    "output padding of a stride": ((1, 3, 8, 8), (3, 4, 3, 3), (None, 2, 0, 2)),
    "negative output padding": ((1, 3, 8, 8), (3, 4, 3, 3), (None, 2, 0, -1)),
    "nothing left": ((1, 3, 1, 1), (3, 4, 1, 1), (None, 1, 3)),
    "groups": ((1, 3, 8, 8), (3, 4, 3, 3), (None, 1, 0, 0, 2)),
    "rank": ((1, 3), (3, 4, 3, 3), ()),
}


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_convolution_is_torchs_error(name):
    x, w, args = FAULTS[name]
    same_error(lambda lib: conv(lib, 2, lib.ones(x), lib.ones(w), *args))


@pytest.mark.parametrize("name", TRANSPOSED_FAULTS)
def test_wrong_transposed_convolution_is_torchs_error(name):
    x, w, args = TRANSPOSED_FAULTS[name]
    same_error(lambda lib: conv_transpose(lib, 2, lib.ones(x), lib.ones(w), *args))


def test_a_bias_of_another_size_is_torchs_error():
    same_error(lambda lib: conv(lib, 2, lib.ones(1, 3, 8, 8), lib.ones(4, 3, 3, 3), lib.ones(5)))
    same_error(
        lambda lib: conv_transpose(lib, 2, lib.ones(1, 3, 8, 8), lib.ones(3, 4, 3, 3), lib.ones(3))
    )


@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "float64", "float32"),
        ("float16", "float32", "float32"),
        ("float32", "float32", "float64"),
    ],
)
def test_operands_of_different_dtypes_are_torchs_error(dtypes):
    shapes = (1, 3, 8, 8), (4, 3, 3, 3), (4,)
    same_error(
        lambda lib: conv(
            lib, 2, *(lib.ones(s, dtype=getattr(lib, d)) for s, d in zip(shapes, dtypes))
        )
    )


# ---- 3x3 kernels by Winograd's algorithm ----

# batch, channels in, channels out, image, padding: many tiles; few tiles; sizes that leave rests everywhere
WINOGRAD = [
    (6, 16, 32, (24, 20), 1),
    (2, 160, 40, (8, 8), 1),
    (5, 17, 21, (7, 10), 0),
    (3, 33, 16, (4, 3), 2),
    (1, 16, 16, (9, 30), 1),
]


@pytest.fixture
def winograd_for_all_sizes():
    before = gs._C._set_winograd_work(0)
    yield
    gs._C._set_winograd_work(before)


@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_3x3_convolutions_are_those_of_float64(case, winograd_for_all_sizes):
    batch, c_in, c_out, image, padding = case
    arrays = [
        numbers(batch, c_in, *image, seed=1, dtype=np.float32),
        numbers(c_out, c_in, 3, 3, seed=2, dtype=np.float32),
        numbers(c_out, seed=3, dtype=np.float32),
    ]

    def results(lib, dtype):
        operands = [lib.tensor(a).to(dtype).requires_grad_(True) for a in arrays]
        y = lib.nn.functional.conv2d(*operands, padding=padding)
        dy = lib.tensor(numbers(*y.shape, seed=4, dtype=np.float32)).to(dtype)
        return [t.detach().cpu().numpy() for t in (y, *lib.autograd.grad(y, operands, dy))]

    # Output, gradients of image, weight, bias; without fused multiply-adds a little more than documented.
    bounds = (3e-5, 3e-5, 1.5e-5, 1e-6)
    found = zip(bounds, results(gs, gs.float32), results(torch, torch.float64), strict=True)
    for bound, ours, exact in found:
        assert np.abs(ours - exact).max() < bound * np.sqrt(np.square(exact).mean())


@pytest.mark.cpu_only  # the CPU's threads
def test_3x3_convolutions_do_not_depend_on_the_number_of_threads(winograd_for_all_sizes):
    x, w = gs.randn(3, 32, 33, 16, requires_grad=True), gs.randn(48, 32, 3, 3, requires_grad=True)
    few = gs.randn(2, 96, 8, 8, requires_grad=True), gs.randn(80, 96, 3, 3, requires_grad=True)
    found = []
    for threads in (1, 3):
        gs.set_num_threads(threads)
        for operands in ((x, w), few):
            y = gs.nn.functional.conv2d(*operands, padding=1)
            found += [y, *gs.autograd.grad(y, operands, gs.ones_like(y))]
    for one, three in zip(found[:6], found[6:], strict=True):
        assert gs.equal(one, three)


def test_small_3x3_convolutions_are_computed_by_their_definition():
    x, w = gs.randn(2, 16, 16, 16), gs.randn(32, 16, 3, 3)
    exact = gs.nn.functional.conv2d(x.double(), w.double()).cpu().numpy()
    error = np.abs(gs.nn.functional.conv2d(x, w).cpu().numpy() - exact).max() / exact.std()
    assert error < 3e-6


@pytest.mark.cpu_only
def test_the_precision_of_3x3_convolutions_can_be_asked_for(winograd_for_all_sizes):
    conv = gs.backends.mkldnn.conv
    assert conv.fp32_precision == torch.backends.mkldnn.conv.fp32_precision == "none"
    x, w = gs.randn(2, 64, 16, 16), gs.randn(64, 64, 3, 3)
    exact = gs.nn.functional.conv2d(x.double(), w.double()).cpu().numpy()

    def error():
        return np.abs(gs.nn.functional.conv2d(x, w).cpu().numpy() - exact).max() / exact.std()

    try:
        default = error()
        conv.fp32_precision = "ieee"
        assert error() < 3e-6 and error() < default
    finally:
        conv.fp32_precision = "none"
    assert error() == default
    same_error(lambda lib: setattr(lib.backends.mkldnn.conv, "fp32_precision", "half"))


# ---- few channels ----

# batch, channels in, channels out, image, kernel, padding
FEW_CHANNELS = [
    (64, 1, 6, (28, 28), (5, 5), (2, 2)),
    (10, 6, 16, (14, 14), (5, 5), (0, 0)),
    (3, 3, 32, (32, 32), (3, 3), (1, 1)),
    (1, 1, 1, (1, 1), (3, 3), (1, 1)),
    (1, 2, 1, (3, 2), (2, 2), (1, 1)),
    (2, 3, 2, (5, 3), (4, 3), (3, 0)),
    (1, 15, 7, (9, 17), (7, 5), (3, 2)),
    (5, 7, 15, (40, 33), (1, 7), (0, 6)),
    (9, 13, 3, (31, 61), (6, 2), (5, 0)),
    (2, 64, 5, (8, 11), (3, 3), (2, 1)),
    (17, 4, 11, (13, 15), (2, 4), (0, 2)),
    (1, 2, 3, (130, 70), (7, 1), (0, 0)),
    (3, 8, 8, (16, 16), (3, 3), (0, 2)),
    (1, 4, 9, (20, 200), (3, 7), (2, 3)),
]


@pytest.mark.cpu_only  # the CPU's kernels and their sizes
@pytest.mark.parametrize("case", FEW_CHANNELS, ids=str)
def test_convolutions_of_few_channels_are_those_of_float64(case):
    batch, c_in, c_out, image, kernel, padding = case
    arrays = [
        numbers(batch, c_in, *image, seed=1, dtype=np.float32),
        numbers(c_out, c_in, *kernel, seed=2, dtype=np.float32),
        numbers(c_out, seed=3, dtype=np.float32),
    ]

    def results(lib, dtype):
        operands = [lib.tensor(a).to(dtype).requires_grad_(True) for a in arrays]
        y = lib.nn.functional.conv2d(*operands, padding=padding)
        dy = lib.tensor(numbers(*y.shape, seed=4, dtype=np.float32)).to(dtype)
        plain = lib.nn.functional.conv2d(*operands[:2], padding=padding)
        (dweight,) = lib.autograd.grad(plain, operands[1:2], dy)
        return [
            t.detach().cpu().numpy()
            for t in (y, plain, dweight, *lib.autograd.grad(y, operands, dy))
        ]

    for ours, exact in zip(results(gs, gs.float32), results(torch, torch.float64), strict=True):
        assert np.abs(ours - exact).max() < 1e-5 * np.sqrt(np.square(exact).mean())


@pytest.mark.cpu_only  # the CPU's threads
def test_convolutions_of_few_channels_do_not_depend_on_the_number_of_threads():
    cases = [
        (gs.randn(n, i, s, s, requires_grad=True), gs.randn(o, i, 5, 5, requires_grad=True))
        for n, i, o, s in ((37, 1, 6, 28), (21, 6, 16, 14), (3, 12, 7, 40))
    ]
    found = {}
    for threads in (1, 3):
        gs.set_num_threads(threads)
        found[threads] = []
        for operands in cases:
            bias = gs.zeros(operands[1].shape[0], requires_grad=True)
            y = gs.nn.functional.conv2d(*operands, bias, padding=2)
            dy = y.detach().sin()
            found[threads] += [y, *gs.autograd.grad(y, (*operands, bias), dy)]
    for one, three in zip(found[1], found[3], strict=True):
        assert gs.equal(one, three)


@pytest.mark.cpu_only
@pytest.mark.parametrize("name", ["int64", "int32", "int16", "int8", "uint8"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_integers_equal_pytorch(nd, name):
    for groups, stride, padding, dilation in [(1, 1, 0, 1), (2, 2, 1, 1), (1, 1, 2, 2)]:
        if dilation > 1 and name != "int64":
            continue  # PyTorch has no kernel
        arrays = [np.rint(3 * a).astype(name) for a in operands(nd, groups, True)]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        mine = conv(gs, nd, *map(gs.tensor, arrays), **options)
        theirs = conv(torch, nd, *map(torch.from_numpy, arrays), **options)
        assert str(mine.dtype) == str(theirs.dtype)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        if name == "int64":
            arrays = [np.rint(3 * a).astype(name) for a in operands(nd, groups, True, True)]
            mine = conv_transpose(gs, nd, *map(gs.tensor, arrays), **options)
            theirs = conv_transpose(torch, nd, *map(torch.from_numpy, arrays), **options)
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
