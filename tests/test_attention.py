# SPDX-License-Identifier: Apache-2.0
"""Attention in blocks: values, gradients and layouts against PyTorch, over the borders of blocks."""

import numpy as np
import pytest
import torch

import gradstep as gs
from gradstep.nn.attention import SDPBackend, sdpa_kernel

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def attention(lib, *args, **kwargs):
    return lib.nn.functional.scaled_dot_product_attention(*args, **kwargs)


def random(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def results(lib, arrays, weight, mask=None, **kwargs):
    """The output and the gradients of sum(output * weight)."""
    leaves = [lib.tensor(a.copy()).requires_grad_() for a in arrays]
    if mask is not None:
        kwargs["attn_mask"] = lib.tensor(mask)
    out = attention(lib, *leaves, **kwargs)
    grads = lib.autograd.grad((out * lib.tensor(weight)).sum(), leaves)
    return [t.detach().cpu().numpy() for t in (out, *grads)]


def check(shapes, dtype=np.float64, mask=None, **kwargs):
    arrays = [random(*s, dtype=dtype, seed=k) for k, s in enumerate(shapes)]
    lead = (
        np.broadcast_shapes(*(s[:-2] for s in shapes))
        if "enable_gqa" not in kwargs
        else shapes[0][:-2]
    )
    weight = random(*lead, shapes[0][-2], shapes[2][-1], dtype=dtype, seed=9)
    ours = results(gs, arrays, weight, mask, **kwargs)
    theirs = results(torch, arrays, weight, mask, **kwargs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(
            a, b, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(b).max(initial=0))
        )


def qkv(batch, heads, n_query, n_key, width, v_width=None):
    return [
        (batch, heads, n_query, width),
        (batch, heads, n_key, width),
        (batch, heads, n_key, v_width or width),
    ]


# ---- values and gradients ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("n_query", "n_key"),
    [(1, 1), (1, 300), (31, 33), (64, 64), (65, 17), (130, 129), (90, 260), (300, 300)],
)
def test_attention_has_torchs_values_and_gradients(n_query, n_key, causal, dtype):
    check(qkv(2, 1, n_query, n_key, 16), dtype, is_causal=causal)


@pytest.mark.parametrize(("width", "v_width"), [(1, 1), (5, 3), (33, 70), (300, 16)])
def test_any_width_of_heads(width, v_width):
    check(qkv(1, 3, 40, 70, width, v_width), np.float32)
    check(qkv(1, 3, 70, 70, width, v_width), np.float64, is_causal=True)


@pytest.mark.parametrize("scale", [0.0, 0.3, -1.5])
def test_any_scale(scale):
    check(qkv(1, 2, 20, 70, 8), scale=scale)


@pytest.mark.parametrize("causal", [False, True])
def test_few_heads_and_many_rows_are_cut_into_pieces(causal):
    check(qkv(1, 2, 700, 900, 8), is_causal=causal)


@pytest.mark.parametrize(
    "shape", [(70, 90), (1, 90), (70, 1), (2, 1, 1, 90), (1, 3, 70, 90), (2, 3, 70, 90)], ids=str
)
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks_broadcast(shape, kind):
    mask = random(*shape, seed=5)
    check(qkv(2, 3, 70, 90, 8), mask=mask > -0.5 if kind == "bool" else mask)


def test_an_added_mask_has_a_gradient():
    def run(lib):
        mask = lib.tensor(random(7, 9)).requires_grad_()
        out = attention(lib, *(lib.tensor(random(*s)) for s in qkv(2, 3, 7, 9, 4)), mask)
        return lib.autograd.grad((out * out).sum(), mask)[0].cpu().numpy()

    np.testing.assert_allclose(run(gs), run(torch), atol=1e-12)


def test_rows_that_see_nothing_give_zeros_and_no_gradient():
    mask = random(70, 90, seed=5) > 0
    mask[3:60] = False
    check(qkv(1, 2, 70, 90, 8), np.float32, mask)
    check(qkv(1, 2, 70, 90, 8), np.float64, np.where(mask, 0.0, -np.inf))
    arrays = [random(*s) for s in qkv(1, 2, 70, 90, 8)]
    out, dq, _, _ = results(gs, arrays, np.ones((1, 2, 70, 8)), mask)
    assert not out[:, :, 3:60].any() and not dq[:, :, 3:60].any()
    with sdpa_kernel(SDPBackend.MATH):
        composed = results(gs, arrays, np.ones((1, 2, 70, 8)), mask)
    for a, b in zip(composed, results(gs, arrays, np.ones((1, 2, 70, 8)), mask), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_hidden_keys_get_exactly_no_gradient():
    arrays = [random(*s, dtype=np.float32) for s in qkv(1, 1, 20, 90, 8)]
    _, _, dk, dv = results(gs, arrays, np.ones((1, 1, 20, 8), np.float32), is_causal=True)
    assert not dk[:, :, 20:].any() and not dv[:, :, 20:].any()


def test_large_scores_do_not_overflow():
    arrays = [100 * random(*s, dtype=np.float32) for s in qkv(1, 2, 40, 300, 8)]
    weight = random(1, 2, 40, 8, dtype=np.float32)
    ours, theirs = results(gs, arrays, weight), results(torch, arrays, weight)
    np.testing.assert_allclose(ours[0], theirs[0], atol=0.01)
    assert all(np.isfinite(g).all() for g in ours)


def test_nan_and_infinity_are_not_lost():
    q, k, v = (gs.ones(1, 1, 3, 4) for _ in range(3))
    q[0, 0, 1] = float("nan")
    k[0, 0, 2, 0] = float("inf")
    out = attention(gs, q, k, v, is_causal=True)[0, 0]
    assert out[0].tolist() == [1.0] * 4
    assert out[1].isnan().all() and out[2].isnan().all()


# ---- shapes ----


@pytest.mark.parametrize("causal", [False, True])
def test_groups_of_heads_share_keys(causal):
    shapes = [(2, 6, 70, 8), (2, 2, 90, 8), (2, 2, 90, 4)]
    check(shapes, enable_gqa=True, is_causal=causal)
    check(shapes, enable_gqa=True, mask=random(2, 6, 70, 90))
    check([(2, 4, 5, 8), (2, 2, 6, 8), (2, 1, 6, 8)], enable_gqa=True)
    check([(4, 5, 8), (2, 6, 8), (2, 6, 8)], enable_gqa=True)


@pytest.mark.parametrize(
    "shapes",
    [
        [(40, 8), (50, 8), (50, 4)],
        [(3, 40, 8), (3, 50, 8), (3, 50, 4)],
        [(2, 2, 3, 4, 8), (2, 2, 3, 5, 8), (2, 2, 3, 5, 8)],
        [(2, 3, 4, 8), (1, 3, 5, 8), (2, 1, 5, 8)],
        [(1, 1, 4, 8), (2, 3, 5, 8), (3, 5, 8)],
    ],
    ids=str,
)
def test_leading_axes_of_any_rank_broadcast(shapes):
    check(shapes)
    check(shapes, is_causal=True)
    check(shapes, mask=random(shapes[0][-2], shapes[1][-2]) > -1)


@pytest.mark.parametrize(
    "shapes",
    [
        [(0, 3, 4, 8), (0, 3, 6, 8), (0, 3, 6, 8)],
        [(2, 0, 4, 8), (2, 0, 6, 8), (2, 0, 6, 8)],
        [(2, 3, 0, 8), (2, 3, 6, 8), (2, 3, 6, 8)],
        [(2, 3, 4, 8), (2, 3, 0, 8), (2, 3, 0, 8)],
        [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 0)],
    ],
    ids=str,
)
def test_axes_of_size_zero(shapes):
    check(shapes)
    check(shapes, is_causal=True)


# ---- layouts ----


def thirds(lib, x, n_heads, batch_axis):
    """The heads of the three thirds of rows, as (B, heads, L, width)."""
    out = []
    for part in x.chunk(3, -1):
        part = part.reshape(*part.shape[:2], n_heads, -1)
        out.append(part.transpose(1, 2) if batch_axis == 0 else part.permute(1, 2, 0, 3))
    return out


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_views_of_one_tensor_are_read_in_place(batch_axis):
    array = random(3, 70, 3 * 4 * 8)

    def run(lib):
        x = lib.tensor(array.copy()).requires_grad_()
        out = attention(lib, *thirds(lib, x, 4, batch_axis), is_causal=True)
        lib.autograd.backward((out * out).sum())
        return out.stride(), out.detach().cpu().numpy(), x.grad.cpu().numpy()

    ours, theirs = run(gs), run(torch)
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-12)
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-12)


def test_joining_the_heads_of_the_output_is_a_view():
    x = gs.randn(2, 5, 3 * 4 * 8)
    out = attention(gs, *thirds(gs, x, 4, 0))
    assert out.transpose(1, 2).view(2, 5, 32).is_contiguous()
    out = attention(gs, *thirds(gs, x, 4, 1))
    assert out.permute(2, 0, 1, 3).view(2, 5, 32).is_contiguous()


def test_inputs_of_any_strides():
    def run(lib):
        q = lib.tensor(random(2, 3, 8, 40)).transpose(2, 3).requires_grad_()
        k = lib.tensor(random(2, 3, 100, 8))[:, :, ::2]
        v = lib.tensor(random(50, 8)).expand(2, 3, 50, 8)
        mask = lib.tensor(random(50, 40)).t()
        out = attention(lib, q, k, v, mask)
        return out.detach().cpu().numpy(), lib.autograd.grad(out.sum(), q)[0].cpu().numpy()

    for a, b in zip(run(gs), run(torch), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


# ---- the rest ----


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("shapes", "kwargs"),
    [
        (qkv(1, 2, 40, 40, 8), {}),
        (qkv(1, 2, 130, 130, 64), {"is_causal": True}),
        (qkv(2, 1, 70, 130, 80, 128), {}),
        (qkv(1, 2, 70, 66, 33, 7), {"mask": random(70, 66) > -1}),
        (qkv(1, 1, 20, 70, 16, 140), {"mask": random(20, 70)}),
        ([(2, 4, 33, 16), (2, 2, 65, 16), (2, 2, 65, 16)], {"enable_gqa": True}),
    ],
    ids=str,
)
def test_halves_are_computed_in_float(dtype, shapes, kwargs):
    kind = getattr(gs, dtype)
    halves = [gs.tensor(random(*s, seed=k)).to(kind) for k, s in enumerate(shapes)]
    weight = random(*shapes[0][:-1], shapes[2][-1], seed=9)
    exact = results(torch, [t.double().cpu().numpy() for t in halves], weight, **kwargs)
    if "mask" in kwargs:
        mask = gs.tensor(kwargs["mask"])
        kwargs = {"attn_mask": mask if mask.dtype == gs.bool else mask.float()}
    leaves = [t.requires_grad_() for t in halves]
    out = attention(gs, *leaves, **kwargs)
    grads = gs.autograd.grad((out.double() * gs.tensor(weight)).sum(), leaves)
    for ours, wanted in zip((out, *grads), exact, strict=True):
        assert ours.dtype == kind
        atol = (4e-3 if dtype == "float16" else 3e-2) * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(ours.detach().double().cpu().numpy(), wanted, rtol=0, atol=atol)


def test_dropout_keeps_the_mean_and_has_gradients():
    q, k = gs.zeros(1, 1, 200, 8), gs.zeros(1, 1, 200, 8)
    v = gs.ones(1, 1, 200, 1).requires_grad_()
    gs.manual_seed(0)
    out = attention(gs, q, k, v, dropout_p=0.5)
    assert abs(out.mean().item() - 1) < 0.02 and out.std().item() > 0.01
    out.sum().backward()
    assert abs(v.grad.mean().item() - 1) < 0.05


@pytest.mark.parametrize("kwargs", [{}, {"is_causal": True}, {"enable_gqa": True}], ids=str)
def test_attention_can_be_differentiated_twice(kwargs):
    heads = 4 if kwargs.get("enable_gqa") else 2
    leaves = [
        gs.tensor(random(1, h, n, 3, seed=n)).requires_grad_()
        for h, n in ((heads, 3), (2, 5), (2, 5))
    ]
    mask = None if "is_causal" in kwargs else gs.tensor(random(3, 5) > -1)
    assert gs.autograd.gradgradcheck(lambda *x: attention(gs, *x, mask, **kwargs), leaves)


@pytest.mark.cpu_only  # the CPU's threads
def test_results_do_not_depend_on_the_number_of_threads():
    arrays = [random(*s, dtype=np.float32) for s in qkv(1, 2, 600, 600, 16)]
    weight = random(1, 2, 600, 16, dtype=np.float32)
    gs.set_num_threads(1)
    one = results(gs, arrays, weight, is_causal=True)
    gs.set_num_threads(4)
    four = results(gs, arrays, weight, is_causal=True)
    for a, b in zip(one, four, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("shapes", "kwargs"),
    [
        ([(8,), (8,), (8,)], {}),
        ([(2, 3, 4, 8), (2, 3, 6, 7), (2, 3, 6, 8)], {}),
        ([(3, 4, 8), (3, 6, 8), (3, 5, 8)], {}),
        ([(2, 3, 4, 8), (3, 3, 6, 8), (2, 3, 6, 8)], {}),
        ([(2, 4, 3, 8), (2, 3, 6, 8), (2, 3, 6, 8)], {"enable_gqa": True}),
        ([(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)], {"mask": np.zeros((5, 6))}),
        ([(1, 4, 8), (1, 6, 8), (1, 6, 8)], {"mask": np.zeros((3, 4, 6))}),
        ([(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)], {"mask": np.zeros((4, 6), np.int64)}),
    ],
    ids=str,
)
def test_bad_shapes_raise_torchs_errors(shapes, kwargs):
    def error(lib):
        tensors = [lib.tensor(random(*s)) for s in shapes]
        options = dict(kwargs)
        mask = options.pop("mask", None)
        with pytest.raises((RuntimeError, IndexError)) as info:
            attention(lib, *tensors, None if mask is None else lib.tensor(mask), **options)
        return str(info.value)[:60]

    assert error(gs) == error(torch)


def test_attention_can_be_composed_and_needs_something_that_is_allowed():
    arrays = [random(*s) for s in qkv(2, 3, 20, 30, 8)]
    weight = random(2, 3, 20, 8, seed=9)
    fused = results(gs, arrays, weight, is_causal=True)
    with sdpa_kernel(SDPBackend.MATH):
        composed = results(gs, arrays, weight, is_causal=True)
    for a, b in zip(fused, composed, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    with sdpa_kernel([]), pytest.raises(RuntimeError, match="No viable backend"):
        attention(gs, *(gs.tensor(a) for a in arrays))
