# SPDX-License-Identifier: Apache-2.0
"""Softmax and normalisations against PyTorch: values, two orders of derivatives, running statistics."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import check, numbers, numpy_of, same_error

# ---- softmax ----


@pytest.mark.parametrize("shape", [(7,), (3, 10), (3, 4, 5), (2, 3, 4, 150), (2, 3000)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_along_any_axis_has_torchs_values_and_derivatives(name, shape):
    for dim in range(-1, len(shape)):
        check(lambda lib, x: getattr(x, name)(dim), numbers(*shape, dtype=np.float64) * 3)
        check(lambda lib, x: getattr(x, name)(dim), numbers(*shape) * 30, order=1, atol=1e-5)


def test_softmax_of_views_scalars_and_nothing():
    check(lambda lib, x: x.t().softmax(1), numbers(4, 6, dtype=np.float64))
    check(lambda lib, x: x[::2, 1:].log_softmax(0), numbers(6, 5, dtype=np.float64))
    check(lambda lib, x: x.softmax(0), numbers(), order=1)
    check(lambda lib, x: x.softmax(1), numbers(0, 5), order=1)


def test_softmax_of_huge_numbers_is_finite_and_of_masked_ones_zero():
    x = np.array([[1e30, 1e30, -1e30], [-np.inf, 0, 1], [88.8, 700, -700]], np.float32)
    for dim in (0, 1):
        check(lambda lib, t: (t.softmax(dim), t.log_softmax(dim)), x, order=0)


def test_softmax_takes_dtype_and_halves():
    check(lambda lib, x: x.softmax(1, dtype=lib.float64), numbers(3, 5), order=1)
    check(
        lambda lib, x: x.to(lib.float16).softmax(1).to(lib.float32),
        numbers(3, 5),
        order=1,
        atol=2e-3,
    )
    check(lambda lib, x: lib.nn.functional.softmin(x, dim=1), numbers(3, 5))
    same_error(lambda lib: lib.zeros(2, 3, dtype=lib.int64).softmax(1))
    same_error(lambda lib: lib.zeros(2, 3).softmax(2))


# ---- layer norm and its kin ----


@pytest.mark.parametrize("affine", ["none", "weight", "both"])
@pytest.mark.parametrize(
    "shape, normal", [((3, 5), (5,)), ((2, 3, 40), (3, 40)), ((2, 70, 33), (33,)), ((9,), (9,))]
)
def test_layer_norm_has_torchs_values_and_derivatives(shape, normal, affine):
    def layer_norm(lib, x, w=None, b=None):
        return lib.nn.functional.layer_norm(x, normal, w, b, 1e-3)

    extra = {"none": 0, "weight": 1, "both": 2}[affine]
    arrays = [numbers(*normal, seed=k + 1, dtype=np.float64) for k in range(extra)]
    check(layer_norm, numbers(*shape, dtype=np.float64), *arrays, rtol=1e-4)
    arrays = [a.astype(np.float32) for a in arrays]
    check(layer_norm, numbers(*shape), *arrays, order=1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape, normal", [((3, 5), (5,)), ((2, 3, 40), (3, 40)), ((2, 70, 33), (33,))]
)
def test_rms_norm_has_torchs_values_and_derivatives(shape, normal):
    x, w = numbers(*shape, dtype=np.float64), numbers(*normal, seed=1, dtype=np.float64)
    check(lambda lib, x, w: lib.nn.functional.rms_norm(x, normal, w), x, w, rtol=1e-4)
    check(lambda lib, x: lib.nn.functional.rms_norm(x, normal, eps=0.1), x, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 5), (2, 6, 4, 9), (1, 6, 300)])
def test_group_norm_has_torchs_values_and_derivatives(shape, groups):
    if shape == (3, 6) and groups == 6:
        shape = (3, 6, 2)  # a group of one element has no gradient to compare
    w, b = numbers(6, seed=1, dtype=np.float64), numbers(6, seed=2, dtype=np.float64)
    x = numbers(*shape, dtype=np.float64)
    check(
        lambda lib, x, w, b: lib.nn.functional.group_norm(x, groups, w, b, 1e-2), x, w, b, rtol=1e-4
    )
    check(lambda lib, x: lib.nn.functional.group_norm(x, groups, eps=1e-2), x, rtol=1e-4)


# ---- batch norm ----


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(200, 3), (5, 3, 7), (4, 3, 5, 6), (2, 3, 70)])
def test_batch_norm_has_torchs_values_derivatives_and_statistics(shape, training, affine):
    def batch_norm(lib, x, w=None, b=None):
        mean = lib.tensor([0.1, 0.2, 0.3], dtype=lib.float64)
        var = lib.tensor([1.1, 0.9, 1.3], dtype=lib.float64)
        y = lib.nn.functional.batch_norm(x, mean, var, w, b, training, 0.3, 1e-3)
        return y, mean, var

    arrays = [numbers(3, seed=k, dtype=np.float64) for k in (1, 2)] if affine else []
    check(batch_norm, numbers(*shape, dtype=np.float64), *arrays, rtol=1e-4)


def test_batch_norm_of_a_view_and_of_float32():
    def batch_norm(lib, x):
        return lib.nn.functional.batch_norm(x.transpose(1, 3), None, None, training=True)

    check(batch_norm, numbers(4, 5, 6, 3, dtype=np.float64), rtol=1e-4)
    check(batch_norm, numbers(16, 5, 6, 3), order=1, rtol=1e-4, atol=1e-5)


def test_batch_norm_refuses_what_torch_refuses():
    same_error(lambda lib: lib.nn.functional.batch_norm(lib.zeros(1, 4), None, None, training=True))
    same_error(
        lambda lib: lib.nn.functional.batch_norm(
            lib.zeros(3, 4), lib.zeros(3), lib.zeros(4), training=True
        )
    )
    same_error(lambda lib: lib.nn.functional.layer_norm(lib.zeros(3, 4), (5,)))
    same_error(lambda lib: lib.nn.functional.layer_norm(lib.zeros(3, 4), (4,), lib.zeros(3)))


def test_instance_norm_has_torchs_values_derivatives_and_statistics():
    def instance_norm(lib, x, w, b):
        mean, var = lib.zeros(3, dtype=lib.float64), lib.ones(3, dtype=lib.float64)
        y = lib.nn.functional.instance_norm(x, mean, var, w, b, True, 0.2, 1e-3)
        return y, mean, var

    w, b = numbers(3, seed=1, dtype=np.float64), numbers(3, seed=2, dtype=np.float64)
    check(instance_norm, numbers(4, 3, 5, 6, dtype=np.float64), w, b, rtol=1e-4)


@pytest.mark.cpu_only  # the CPU's threads
def test_row_ops_do_not_depend_on_the_number_of_threads():
    x, w = gs.tensor(numbers(513, 700)), gs.tensor(numbers(700, seed=1))
    results = []
    for n in (1, 3):
        gs.set_num_threads(n)
        a, v = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = gs.nn.functional.layer_norm(a, (700,), v).log_softmax(1)
        grads = gs.autograd.grad(y.square().sum(), [a, v])
        results.append([numpy_of(t).tobytes() for t in (y, *grads)])
    assert results[0] == results[1]


def test_batch_norm_statistics_are_as_accurate_as_torchs():
    x = numbers(64, 2, 50, 50) * 0.01 + 100
    results = []
    for lib in (gs, torch):
        mean, var = lib.zeros(2), lib.ones(2)
        lib.nn.functional.batch_norm(lib.tensor(x), mean, var, training=True, momentum=1.0)
        results.append(numpy_of(var))
    exact = x.astype(np.float64).var((0, 2, 3), ddof=1)
    assert np.abs(results[0] / exact - 1).max() <= max(np.abs(results[1] / exact - 1).max(), 1e-5)


# Groups of small planes, planes beyond one block, few channels, planes shorter than a vector.
@pytest.mark.parametrize(
    "shape", [(40, 9, 8, 7), (3, 8, 50, 43), (5, 2, 49, 50), (300, 16, 1, 3)], ids=str
)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_batch_norm_of_float32_is_that_of_float64(shape, training):
    arrays = [
        numbers(*shape, seed=1) + 10,
        numbers(shape[1], seed=2),
        numbers(shape[1], seed=3),
        numbers(shape[1], seed=4),
        1 + numbers(shape[1], seed=5) ** 2,
        numbers(*shape, seed=6),
    ]

    def results(lib, dtype):
        x, w, b, mean, var, dy = (lib.tensor(a.astype(np.float32)).to(dtype) for a in arrays)
        operands = [t.requires_grad_(True) for t in (x, w, b)]
        y = lib.nn.functional.batch_norm(x, mean, var, w, b, training)
        return [
            t.detach().cpu().numpy() for t in (y, mean, var, *lib.autograd.grad(y, operands, dy))
        ]

    for ours, exact in zip(results(gs, gs.float32), results(torch, torch.float64), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
