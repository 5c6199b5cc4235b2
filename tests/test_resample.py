# SPDX-License-Identifier: Apache-2.0
"""Resizing, borders and sampling by a grid against PyTorch: random sizes, both types of arithmetic."""

import warnings

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import numpy_of


def compare(f, *arrays, order=2, tolerance=1e-4):
    """Values and derivatives of f(lib.nn.functional, ..); the second is that of the adjoint."""
    found = []
    for lib in (torch, gs):
        inputs = [
            lib.tensor(a.tolist(), dtype=getattr(lib, str(a.dtype))).requires_grad_()
            for a in arrays
        ]
        y = f(lib.nn.functional, *inputs)
        weight = np.cos(np.arange(y.numel())).reshape(tuple(y.shape))
        dy = lib.tensor(weight.tolist(), dtype=y.dtype).requires_grad_()
        first = lib.autograd.grad(y, inputs, dy, create_graph=order > 1)
        second = lib.autograd.grad((first[0] * first[0]).sum(), dy) if order > 1 else ()
        found.append([numpy_of(t) for t in (y, *first, *second)])
    for expected, ours in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def numbers(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
def test_resized_images_equal_torchs(mode, seed):
    rng = np.random.default_rng(seed)
    dtype = ("float32", "float64")[seed % 2]
    # PyTorch 2.13's antialias is wrong from width 1 to width 1.
    h, w, d, oh, ow, od = (int(v) for v in rng.integers(2, 14, 6))
    corners = None if mode in ("nearest", "nearest-exact", "area") else bool(seed // 2 % 2)
    options = {"mode": mode, "align_corners": corners}
    x = numbers(rng, dtype, 2, 3, h, w)
    compare(lambda F, t: F.interpolate(t, (oh, ow), **options), x)
    scale = float(rng.random() * 2 + 1)
    for again in (False, True):
        compare(
            lambda F, t: F.interpolate(
                t, scale_factor=scale, recompute_scale_factor=again, **options
            ),
            x,
        )
    if mode in ("bilinear", "bicubic"):
        compare(lambda F, t: F.interpolate(t, (oh, ow), antialias=True, **options), x)
    else:
        compare(lambda F, t: F.interpolate(t, ow, **options), x[:, :, 0])
        compare(lambda F, t: F.interpolate(t, (od, oh, ow), **options), x[:, :, None])
    if mode == "bilinear":
        line = {"mode": "linear", "align_corners": corners}
        cube = {"mode": "trilinear", "align_corners": corners}
        compare(lambda F, t: F.interpolate(t, ow, **line), x[:, :, 0])
        volume = numbers(rng, dtype, 2, 1, d, h, w)
        compare(lambda F, t: F.interpolate(t, (od, oh, ow), **cube), volume)


def test_nearest_copies_other_types():
    for name in ("uint8", "float16", "bfloat16"):
        x, t = (lib.arange(24).reshape(1, 2, 3, 4).to(getattr(lib, name)) for lib in (gs, torch))
        ours = gs.nn.functional.interpolate(x, (5, 9))
        assert str(ours.dtype).endswith(name)
        assert ours.tolist() == torch.nn.functional.interpolate(t, (5, 9)).tolist()
    with pytest.raises(NotImplementedError):
        gs.nn.functional.interpolate(gs.ones(1, 1, 3, 3, dtype=gs.int64), 5)
    with pytest.raises(ValueError, match="Anti-alias option"):
        gs.nn.functional.interpolate(gs.ones(1, 1, 3, 3), 5, antialias=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_sampled_images_equal_torchs(mode, padding, seed):
    rng = np.random.default_rng(seed)
    h, w, d, oh, ow = (int(v) for v in rng.integers(2, 20, 5))
    corners = bool(seed % 2)
    x = numbers(rng, "float64", 2, 11, h, w)
    grid = rng.uniform(-1.6, 1.6, (2, oh, ow, 2))
    compare(
        lambda F, t, g: F.grid_sample(t, g, mode, padding, corners),
        x,
        grid,
        order=1,
        tolerance=1e-8,
    )
    if mode != "bicubic":
        volume, places = (
            numbers(rng, "float64", 2, 3, d, h, w),
            rng.uniform(-2, 2, (2, 3, oh, ow, 3)),
        )
        compare(
            lambda F, t, g: F.grid_sample(t, g, mode, padding, corners),
            volume,
            places,
            order=1,
            tolerance=1e-8,
        )


def test_places_that_are_not_numbers_are_outside():
    x, grid = gs.ones(1, 1, 3, 3), gs.full((1, 1, 2, 2), float("nan"))
    assert gs.nn.functional.grid_sample(x, grid, align_corners=False).tolist() == [[[[0, 0]]]]


@pytest.mark.parametrize("corners", [False, True])
def test_affine_grids_equal_torchs(corners):
    rng = np.random.default_rng(0)
    compare(
        lambda F, t: F.affine_grid(t, (2, 1, 4, 1), corners),
        rng.standard_normal((2, 2, 3)),
        order=1,
    )
    compare(
        lambda F, t: F.affine_grid(t, (2, 1, 3, 4, 5), corners),
        rng.standard_normal((2, 3, 4)),
        order=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gs.nn.functional.affine_grid(gs.ones(1, 2, 3), (1, 1, 2, 2))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_borders_equal_torchs(mode):
    rng = np.random.default_rng(0)
    for pad in ((2, 1), (0, 3), (2, 1, 1, 2), (0, 0, 3, 1), (2, 2, 1, 1, 1, 3)):
        n = len(pad) // 2
        for lead in ((2,), (2, 3)):
            x = rng.standard_normal((*lead, *(5, 6, 12)[-n:]))
            compare(lambda F, t: F.pad(t, pad, mode), x)
    if mode != "circular":  # negative there has a wrong gradient in PyTorch 2.13
        compare(lambda F, t: F.pad(t, (-1, 2, 1, -2), mode), rng.standard_normal((1, 2, 6, 7)))
    ints = gs.arange(10).reshape(1, 10)
    expected = torch.nn.functional.pad(torch.arange(10).reshape(1, 10), (3, 4), mode)
    assert gs.nn.functional.pad(ints, (3, 4), mode).tolist() == expected.tolist()


def test_a_circle_is_closed_by_what_negative_padding_leaves():
    x = gs.arange(5.0).reshape(1, 5).requires_grad_()
    y = gs.nn.functional.pad(x, (-1, 2), "circular")
    assert y.tolist() == [[1, 2, 3, 4, 1, 2]]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 2, 2, 1, 1]]


@pytest.mark.parametrize("shape, size", [((1, 1, 2, 2), (0, 1)), ((1, 1, 0, 2), (2, 2))])
def test_no_size_is_zero(shape, size):
    for lib in (torch, gs):
        with pytest.raises(RuntimeError, match="Input and output sizes should be greater than 0"):
            lib.nn.functional.interpolate(lib.ones(shape), size=size, mode="bilinear")
