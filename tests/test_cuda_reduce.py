# SPDX-License-Identifier: Apache-2.0
"""Reductions, rows and norms on the GPU at the sizes where their kernels change shape: the same call on the CPU is
the reference, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradstep as gs

pytestmark = pytest.mark.cuda

F = gs.nn.functional
# Threads of a row: parts of a warp, warps, a full block in registers, rows that are read again.
ROWS = [1, 3, 8, 31, 33, 64, 257, 768, 1000, 4104, 8192, 8193]


def numbers(*sizes: int) -> gs.Tensor:
    """The same for every run: values without a pattern that a wrong index could repeat."""
    n = 1
    for s in sizes:
        n *= s
    return (gs.sin(gs.arange(n, dtype=gs.float64, device="cpu") * 12.9898) * 3 + 0.5).reshape(sizes)


def on_both(fn: Callable[..., gs.Tensor], *inputs: gs.Tensor) -> None:
    """Values and gradients of fn(*inputs) on the GPU are those of the CPU."""
    found = []
    for device in ("cpu", "cuda"):
        xs = [x.clone().to(device) for x in inputs]
        xs = [x.requires_grad_() if x.dtype.is_floating_point else x for x in xs]
        y = fn(*xs)
        if y.requires_grad:
            y.backward(numbers(max(1, y.numel())).reshape(y.shape).to(device))
        found.append([y] + [x.grad for x in xs if x.dtype.is_floating_point])
    for want, got in zip(*found, strict=True):
        if want is None:
            assert got is None
            continue
        assert got.shape == want.shape and got.dtype == want.dtype
        want, got = want.detach(), got.detach().cpu()
        close = (
            (got == want)
            | (got.isnan() & want.isnan())
            | ((got - want).abs() <= 1e-9 * (1 + want.abs()))
        )
        assert close.all().item()


REDUCTIONS = {
    "sum": lambda x, d: x.sum(d),
    "amax": lambda x, d: gs.amax(x, d),
    "var": lambda x, d: x.var(d),
    "logsumexp": lambda x, d: gs.logsumexp(x, d),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(
    ("sizes", "dim"),
    [
        ((70000,), 0),  # several blocks share one output
        ((3, 20001), 1),  # .. and a tail
        ((20000, 3), 0),  # columns, shared by blocks
        ((300, 37), 0),
        ((37, 300), 1),
        ((5, 2, 33), (0, 2)),  # two axes
        ((5, 64, 32), (0, 2)),  # two axes, four elements at a time
        ((2000, 5), 1),  # many short rows
        ((4, 500, 70), 1),
    ],
)
def test_reductions_of_every_shape(
    name: str, sizes: tuple[int, ...], dim: int | tuple[int, ...]
) -> None:
    on_both(lambda x: REDUCTIONS[name](x, dim), numbers(*sizes))


def test_reductions_read_strided_tensors() -> None:
    on_both(lambda x: x[1:, 1:].sum(1), numbers(40, 130))
    on_both(lambda x: x[:, ::2].amax(0), numbers(40, 130))
    on_both(lambda x: x.t().var(0), numbers(40, 130))
    on_both(lambda x: x.unsqueeze(1).expand(40, 3, 130).sum((0, 1)), numbers(40, 130))


def test_the_first_of_equal_elements_is_found() -> None:
    x = gs.zeros(3, 50000, device="cuda")
    assert x.argmax(1).tolist() == [0, 0, 0] and x.argmin().item() == 0
    x[0, 700] = x[0, 44000] = 1.0
    x[1, 20000] = x[1, 30000] = float("nan")
    assert x.argmax(1).tolist() == [700, 20000, 0]
    assert x.t().contiguous().max(0).indices.tolist() == [700, 20000, 0]


def test_reductions_repeat_to_the_bit() -> None:
    x = numbers(100000).float().cuda()
    first = x.sum()
    assert all((x.sum() == first).item() for _ in range(3))


def test_variance_keeps_its_digits_far_from_zero() -> None:
    x = (numbers(4, 3000) + 1e6).cuda()
    assert ((x.var(1) / (x - 1e6).var(1) - 1).abs() < 1e-9).all().item()


@pytest.mark.parametrize("n", ROWS)
def test_rows_of_every_length(n: int) -> None:
    x, w, b = numbers(5, n), numbers(n), numbers(n) * 2
    on_both(lambda t: F.softmax(t, -1), x)
    on_both(lambda t: F.log_softmax(t, -1), x)
    on_both(
        lambda t, p, q: F.layer_norm(t, (n,), p, q),
        x + gs.arange(n, dtype=gs.float64, device="cpu") % 2,
        w,
        b,
    )
    on_both(lambda t, p: F.rms_norm(t, (n,), p), x, w)
    target = gs.arange(5, dtype=gs.int64, device="cpu") * 7 % n
    target[2] = -100
    for reduction in ("mean", "sum", "none"):
        on_both(lambda t, k, r=reduction: F.cross_entropy(t, k, reduction=r), x, target)


def test_many_rows_share_the_gradients_of_weights() -> None:
    for n in (6, 100, 300):
        on_both(
            lambda t, p, q, n=n: F.layer_norm(t, (n,), p, q),
            numbers(900, n),
            numbers(n),
            numbers(n) * 2,
        )
    x, target = numbers(3000, 10), gs.arange(3000, dtype=gs.int64, device="cpu") % 10
    on_both(lambda t, k: F.cross_entropy(t, k), x, target)


def test_softmax_along_outer_axes() -> None:
    for sizes, dim in (((5, 7, 3), 1), ((900, 40), 0), ((2, 65, 130), 1)):
        on_both(lambda t, d=dim: F.softmax(t, d), numbers(*sizes))
        on_both(lambda t, d=dim: F.log_softmax(t, d), numbers(*sizes))


@pytest.mark.parametrize("sizes", [(700, 20), (4, 6, 5), (3, 8, 6, 6), (5, 4, 64, 64)])
def test_norms_over_planes(sizes: tuple[int, ...]) -> None:
    c = sizes[1]
    x, w, b = numbers(*sizes), numbers(c), numbers(c) * 2
    on_both(lambda t, p, q: F.group_norm(t, 2, p, q), x, w, b)
    on_both(lambda t, p, q: F.batch_norm(t, None, None, p, q, training=True), x, w, b)
    mean, var = numbers(c), numbers(c).abs() + 1
    on_both(lambda t, p, q: F.batch_norm(t, mean.to(t.device), var.to(t.device), p, q), x, w, b)


def test_a_target_out_of_range_is_reported() -> None:
    for bad in (5, -1):
        for loss in (F.cross_entropy, F.nll_loss):
            loss(gs.zeros(3, 5, device="cuda"), gs.tensor([1, bad, 2], device="cuda"))
            with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
                gs.cuda.synchronize()
    assert F.cross_entropy(gs.zeros(1, 4, device="cuda"), gs.tensor([1], device="cuda")).item() > 1
