# SPDX-License-Identifier: Apache-2.0
"""Pooling, columns and shuffles against PyTorch: values, two orders of derivatives, errors."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import check, numbers, same_error

F64 = np.float64
SIZES = {1: (2, 3, 9), 2: (2, 3, 7, 6), 3: (2, 2, 5, 4, 6)}


def F(lib):
    return lib.nn.functional


def call(lib, name, *args, **kwargs):
    return getattr(F(lib), name)(*args, **kwargs)


# kernel, stride, padding, dilation
WINDOWS = {
    "two by two": (2, None, 0, 1),
    "overlapping": (3, 1, 1, 1),
    "strided": (3, 2, 1, 1),
    "gaps": (1, 3, 0, 1),
    "dilated": (2, 2, 1, 2),
}


@pytest.mark.parametrize("indices", [False, True], ids=["", "indices"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["", "ceil"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_max_pool_has_torchs_values_and_derivatives(nd, window, ceil_mode, indices):
    check(
        lambda lib, x: call(
            lib, f"max_pool{nd}d", x, *WINDOWS[window], ceil_mode=ceil_mode, return_indices=indices
        ),
        numbers(*SIZES[nd], dtype=F64),
    )


@pytest.mark.parametrize("count_include_pad", [False, True], ids=["", "pad counts"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["", "ceil"])
@pytest.mark.parametrize("window", [w for w in WINDOWS if w != "dilated"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_avg_pool_has_torchs_values_and_derivatives(nd, window, ceil_mode, count_include_pad):
    args = (*WINDOWS[window][:3], ceil_mode, count_include_pad)
    check(lambda lib, x: call(lib, f"avg_pool{nd}d", x, *args), numbers(*SIZES[nd], dtype=F64))


@pytest.mark.parametrize("divisor", [1, 3, -2])
@pytest.mark.parametrize("nd", [2, 3])
def test_avg_pool_divides_by_the_given_divisor(nd, divisor):
    check(
        lambda lib, x: call(lib, f"avg_pool{nd}d", x, 2, divisor_override=divisor),
        numbers(*SIZES[nd], dtype=F64),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_adaptive_pool_has_torchs_values_and_derivatives(nd, kind, size):
    check(
        lambda lib, x: call(lib, f"adaptive_{kind}_pool{nd}d", x, size),
        numbers(*SIZES[nd], dtype=F64),
    )


def test_adaptive_pool_takes_a_size_for_each_axis_and_none_keeps_one():
    x = numbers(*SIZES[2], dtype=F64)
    check(lambda lib, x: F(lib).adaptive_avg_pool2d(x, (None, 2)), x)
    check(lambda lib, x: F(lib).adaptive_avg_pool2d(x, (3, 1)), x)
    check(lambda lib, x: F(lib).adaptive_max_pool2d(x, (3, 4), return_indices=True), x)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_an_unbatched_input_gives_an_unbatched_output(nd, name):
    check(lambda lib, x: call(lib, f"{name}{nd}d", x, 2), numbers(*SIZES[nd][1:], dtype=F64))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_views_and_empty_batches_are_pooled(name):
    check(lambda lib, x: call(lib, name, x.transpose(2, 3), 2), numbers(*SIZES[2], dtype=F64))
    check(lambda lib, x: call(lib, name, x, 2), np.zeros((0, 3, 4, 4)))


@pytest.mark.parametrize("kernel", [2, 3])
def test_nan_is_the_maximum_and_its_place_is_torchs(kernel):
    x = numbers(2, 2, 6, 6, dtype=F64)
    x[x > 1] = np.nan
    check(lambda lib, x: F(lib).max_pool2d(x, kernel, return_indices=True), x, order=0)
    check(
        lambda lib, x: F(lib).max_pool2d(x, kernel, return_indices=True),
        np.full((1, 1, 6, 6), -np.inf),
        order=0,
    )


@pytest.mark.parametrize(
    "window", [(2, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 0, 3), (3, 3, 1, 1)], ids=str
)
@pytest.mark.parametrize("width", [5, 31, 32, 33, 66, 71])
def test_rows_longer_than_a_vector_are_pooled(width, window):
    kernel, stride, padding, dilation = window
    x = numbers(2, 3, 7, width, seed=width, dtype=np.float32)
    x = np.round(2 * x)  # many equal maxima
    x[0, 1, 2, width // 2] = np.nan

    def pooled(lib):
        functional, t = lib.nn.functional, lib.tensor(x)
        y, places = functional.max_pool2d(t, *window, return_indices=True)
        return [y, places, functional.avg_pool2d(t, kernel, stride, padding)]

    for ours, theirs in zip(pooled(gs), pooled(torch), strict=True):
        np.testing.assert_allclose(ours.cpu().numpy(), theirs.numpy(), rtol=1e-6, atol=1e-6)


def test_integers_have_maxima():
    check(
        lambda lib, x: F(lib).max_pool2d(x, 2),
        np.arange(32).reshape(1, 2, 4, 4)[..., ::-1].copy(),
        order=0,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_halves_are_averaged_in_float(name, dtype):
    results = []
    for lib in (gs, torch):
        x = lib.tensor(numbers(*SIZES[2]).tolist()).to(getattr(lib, dtype)).requires_grad_()
        y = call(lib, name, x, 3)
        y.sum().backward()
        results.append((y.detach().float().cpu().numpy(), x.grad.float().cpu().numpy()))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2)


def test_a_maximum_in_two_windows_gets_both_gradients():
    x = gs.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = 1
    x.requires_grad_()
    F(gs).max_pool2d(x, 2, 1).sum().backward()
    assert x.grad[0, 0, 1, 1].item() == 4 and x.grad.sum().item() == 4


# ---- windows as columns, shuffles ----

FOLDS = [(2, 1, 0, 1), (3, 1, 1, 2), ((1, 2), (1, 2), (0, 1), (2, 1)), (2, 2, 1, 1)]


@pytest.mark.parametrize("args", FOLDS, ids=str)
@pytest.mark.parametrize("batched", [False, True])
def test_unfold_and_fold_have_torchs_values_and_derivatives(args, batched):
    shape = (2, 3, 7, 6) if batched else (3, 7, 6)
    check(lambda lib, x: F(lib).unfold(x, *args), numbers(*shape, dtype=F64))
    check(
        lambda lib, x: F(lib).fold(F(lib).unfold(x, *args), (7, 6), *args),
        numbers(*shape, dtype=F64),
    )
    columns = torch.nn.functional.unfold(torch.zeros(shape), *args).shape
    check(lambda lib, x: F(lib).fold(x, (7, 6), *args), numbers(*columns, dtype=F64))


def test_native_columns_are_unfold_and_fold():
    x = gs.tensor(numbers(2, 3, 7, 6).tolist())
    columns = gs._C.im2col(x, 3, 1, 1, 2)
    assert columns.tolist() == F(gs).unfold(x, 3, 1, 1, 2).tolist()
    np.testing.assert_allclose(
        gs._C.col2im(columns, (7, 6), 3, 1, 1, 2).cpu().numpy(),
        F(gs).fold(columns, (7, 6), 3, 1, 1, 2).cpu().numpy(),
        rtol=1e-6,
    )


@pytest.mark.parametrize("space", ["torch", "nn.functional"])
def test_shuffles_have_torchs_values_and_derivatives(space):
    def at(lib):
        return lib if space == "torch" else F(lib)

    check(lambda lib, x: at(lib).pixel_shuffle(x, 2), numbers(2, 8, 3, 4, dtype=F64))
    check(lambda lib, x: at(lib).pixel_shuffle(x, 2), numbers(8, 3, 4, dtype=F64))
    check(lambda lib, x: at(lib).pixel_unshuffle(x, 2), numbers(2, 3, 4, 6, dtype=F64))
    check(lambda lib, x: at(lib).channel_shuffle(x, 2), numbers(2, 4, 4, 6, dtype=F64))


# ---- errors ----

X = (1, 3, 8, 8)
FAULTS = {
    "kernel 0": ("max_pool2d", X, (0,)),
    "stride 0": ("max_pool2d", X, (3, 0)),
    "padding of more than half": ("max_pool2d", X, (3, 1, 2)),
    "negative padding": ("max_pool2d", X, (3, 1, -1)),
    "dilation 0": ("max_pool2d", X, (3, 1, 0, 0)),
    "a window larger than the input": ("max_pool2d", X, (9,)),
    "three sizes for two axes": ("max_pool2d", X, ((3, 3, 3),)),
    "rank": ("max_pool2d", (8, 8), (3,)),
    "no channels": ("max_pool2d", (1, 0, 8, 8), (3,)),
    "an empty axis": ("max_pool2d", (1, 3, 0, 8), (3,)),
    "1-d window": ("max_pool1d", (3, 8), (9,)),
    "1-d rank": ("max_pool1d", (8,), (2,)),
    "1-d kernel": ("max_pool1d", (2, 3, 8), (0,)),
    "1-d stride": ("max_pool1d", (2, 3, 8), (2, 0)),
    "1-d padding": ("max_pool1d", (2, 3, 8), (2, 1, 2)),
    "1-d dilation": ("max_pool1d", (2, 3, 8), (2, 1, 0, 0)),
    "3-d rank": ("max_pool3d", (3, 8, 8), (2,)),
    "3-d window": ("max_pool3d", (1, 3, 8, 8, 8), (9,)),
    "mean of a window larger than the input": ("avg_pool2d", X, (9,)),
    "mean with too much padding": ("avg_pool2d", X, (3, 1, 2)),
    "mean with stride 0": ("avg_pool2d", X, (3, 0)),
    "mean with three sizes": ("avg_pool2d", X, ((2, 2, 2),)),
    "mean divided by 0": ("avg_pool2d", X, (2, 2, 0, False, True, 0)),
    "mean of one axis, rank": ("avg_pool1d", (8,), (2,)),
    "mean of one axis, window": ("avg_pool1d", (2, 3, 8), (9,)),
    "mean of three axes, rank": ("avg_pool3d", (3, 8, 8), (2,)),
    "adaptive rank": ("adaptive_avg_pool2d", (8, 8), (2,)),
    "adaptive sizes": ("adaptive_avg_pool2d", X, ((2, 2, 2),)),
    "adaptive negative size": ("adaptive_avg_pool2d", X, ((-1, 2),)),
    "adaptive empty axis": ("adaptive_avg_pool2d", (1, 3, 0, 8), (2,)),
    "adaptive 1-d rank": ("adaptive_avg_pool1d", (8,), (2,)),
    "shuffle of 3 channels": ("pixel_shuffle", X, (2,)),
    "shuffle by 0": ("pixel_shuffle", (1, 4, 8, 8), (0,)),
    "channels in groups": ("channel_shuffle", X, (2,)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_use_is_torchs_error(name):
    function, shape, args = FAULTS[name]
    shuffle = function.endswith("shuffle")
    same_error(lambda lib: getattr(lib if shuffle else F(lib), function)(lib.ones(shape), *args))


@pytest.mark.parametrize(("name", "dtype"), [("max_pool2d", "bool"), ("avg_pool2d", "int32")])
def test_a_dtype_without_a_kernel_is_torchs_error(name, dtype):
    same_error(lambda lib: call(lib, name, lib.ones(X, dtype=getattr(lib, dtype)), 2))


def test_a_window_beside_the_image_has_no_gradient():
    x = gs.ones(2, 3, 1, 1, requires_grad=True)
    y = gs.nn.functional.max_pool2d(x, 2, stride=1, padding=1, dilation=2)
    assert y.shape == (2, 3, 1, 1) and (y == -float("inf")).all()
    y.sum().backward()
    assert x.grad.tolist() == [[[[0.0]]] * 3] * 2


def test_avg_pool2d_of_integers_divides_towards_zero():
    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 6, 7))
    for kwargs in ({}, {"stride": 1, "padding": 1}, {"count_include_pad": False, "padding": 1}):
        ours, theirs = (call(lib, "avg_pool2d", lib.tensor(x), 3, **kwargs) for lib in (gs, torch))
        assert ours.dtype == gs.int64 and ours.tolist() == theirs.tolist()


def test_unfold_moves_bools():
    x = np.random.default_rng(0).random((2, 3, 5, 5)) < 0.5
    ours, theirs = (lib.nn.functional.unfold(lib.tensor(x), 2) for lib in (gs, torch))
    assert ours.dtype == gs.bool and ours.tolist() == theirs.tolist()
