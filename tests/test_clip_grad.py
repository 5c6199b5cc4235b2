# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping against PyTorch: orders, dtypes, layouts, infinities, known norms, values."""

import warnings

import numpy as np
import pytest

import gradstep as gs

torch = pytest.importorskip("torch")

SHAPES = [(3,), (), (0, 4), (40_000,), (5, 6), (33, 17)]


def parameters(lib, dtypes=("float32",), scale=1.0, shapes=SHAPES):
    out = []
    for i, shape in enumerate(shapes):
        value = scale * np.random.default_rng(i).standard_normal(shape)
        p = lib.nn.Parameter(lib.zeros(shape, dtype=getattr(lib, dtypes[i % len(dtypes)])))
        p.grad = lib.tensor(value.tolist(), dtype=p.dtype).reshape(shape)
        out.append(p)
    out[-2].grad = lib.ones(6, 5, dtype=out[-2].dtype).t()
    out.append(lib.nn.Parameter(lib.ones(2)))  # has no gradient
    return out


def numbers(t):
    return np.array(t.detach().to(device="cpu").double().tolist())


def compare(ours, theirs, rtol, atol=1e-30):
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            assert str(p.grad.dtype) == str(q.grad.dtype)
            np.testing.assert_allclose(numbers(p.grad), numbers(q.grad), rtol=rtol, atol=atol)


DTYPES = [("float32",), ("float64",), ("bfloat16",), ("float16",), ("float32", "bfloat16"),
          ("float16", "bfloat16"), ("float32", "float64")]  # fmt: skip


@pytest.mark.parametrize("dtypes", DTYPES, ids="-".join)
@pytest.mark.parametrize("order", [1, 2.0, float("inf"), 3.0, "inf"])
def test_clip_grad_norm_is_pytorchs(order, dtypes):
    low = set(dtypes) <= {"bfloat16", "float16"} and len(set(dtypes)) == 1
    rtol = 2e-2 if "bfloat16" in dtypes else 3e-3 if "float16" in dtypes else 3e-6
    for largest, scale in ((0.7, 1.0), (1e6, 1e-3)):
        if low and order == 1:
            scale /= 100  # float16's norm would be infinite
        # PyTorch has no maximum of nothing.
        shapes = [s for s in SHAPES if 0 not in s] if float(order) == float("inf") else SHAPES
        ours, theirs = (parameters(lib, dtypes, scale, shapes) for lib in (gs, torch))
        total = gs.nn.utils.clip_grad_norm_(ours, largest, order)
        wanted = torch.nn.utils.clip_grad_norm_(theirs, largest, order)
        assert str(total.dtype) == str(wanted.dtype) and total.shape == ()
        assert total.device == ours[0].device
        np.testing.assert_allclose(numbers(total), numbers(wanted), rtol=rtol)
        compare(ours, theirs, rtol, 1e-7 if "float16" in dtypes else 1e-30)


def test_small_norms_leave_gradients_as_they_are():
    params = parameters(gs)
    before = [p.grad.clone() for p in params[:-1]]
    versions = [p.grad._version for p in params[:-1]]
    gs.nn.utils.clip_grad_norm_(params, 1e9)
    for p, b, v in zip(params, before, versions):
        assert (p.grad == b).all() and p.grad._version == v + 1


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
def test_infinite_norms(order, value):
    shapes = [s for s in SHAPES if 0 not in s]
    for lib in (gs, torch):
        params = parameters(lib, shapes=shapes)
        params[0].grad[1] = value
        with pytest.raises(RuntimeError, match=f"The total norm of order {order} for gradients"):
            lib.nn.utils.clip_grad_norm_(params, 1.0, order, error_if_nonfinite=True)
    ours, theirs = (parameters(lib, shapes=shapes) for lib in (gs, torch))
    for params, lib in ((ours, gs), (theirs, torch)):
        params[0].grad[1] = value
        total = lib.nn.utils.clip_grad_norm_(params, 1.0, order)
        np.testing.assert_equal(numbers(total), value)
    compare(ours, theirs, 1e-6)


def test_the_parts_give_the_whole():
    whole, parts = parameters(gs), parameters(gs)
    wanted = gs.nn.utils.clip_grad_norm_(whole, 0.3)
    total = gs.nn.utils.get_total_norm([p.grad for p in parts if p.grad is not None])
    gs.nn.utils.clip_grads_with_norm_(parts, 0.3, total)
    assert wanted.item() == total.item()
    for p, q in zip(whole[:-1], parts):
        assert (p.grad == q.grad).all()
    theirs = parameters(torch)
    torch.nn.utils.clip_grads_with_norm_(theirs, 0.3, torch.tensor(total.item()))
    compare(parts, theirs, 2e-7)


def test_one_tensor_and_none():
    for lib in (gs, torch):
        p = parameters(lib)[0]
        assert lib.nn.utils.clip_grad_norm_(p, 1e-3).item() > 0.1
        np.testing.assert_allclose(np.linalg.norm(numbers(p.grad)), 1e-3, rtol=1e-4)
        assert lib.nn.utils.clip_grad_norm_([], 1.0).item() == 0
        assert lib.nn.utils.get_total_norm([]).item() == 0
        with pytest.warns(UserWarning, match="is an empty generator"):
            lib.nn.utils.clip_grad_norm_((q for q in ()), 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lib.nn.utils.clip_grad_norm_((q for q in [p]), 1.0)
        with pytest.warns(FutureWarning):
            lib.nn.utils.clip_grad_norm(p, 1.0)


@pytest.mark.parametrize("dtypes", DTYPES, ids="-".join)
def test_clip_grad_value_is_pytorchs(dtypes):
    for limit in (0.25, -0.25):
        ours, theirs = (parameters(lib, dtypes) for lib in (gs, torch))
        for params, lib in ((ours, gs), (theirs, torch)):
            params[0].grad[1], params[0].grad[2] = float("nan"), -float("inf")
            lib.nn.utils.clip_grad_value_(params, limit)
        compare(ours, theirs, 0)


@pytest.mark.cuda
def test_gradients_on_two_devices_count_together():
    params = [gs.nn.Parameter(gs.zeros(4, device=d)) for d in ("cuda", "cpu", "cuda")]
    for i, p in enumerate(params):
        p.grad = gs.full((4,), float(i + 1), device=p.device)
    total = gs.nn.utils.clip_grad_norm_(params, 1.0)
    np.testing.assert_allclose(total.item(), 56**0.5, rtol=1e-6)
    assert total.device == params[0].device
    for i, p in enumerate(params):
        np.testing.assert_allclose(numbers(p.grad), [(i + 1) / 56**0.5] * 4, rtol=1e-5)
