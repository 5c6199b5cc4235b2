# SPDX-License-Identifier: Apache-2.0
"""Reductions, rows and norms on the GPU at the sizes where their kernels change shape: the same call on the CPU is
the reference, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradstep as gs

pytestmark = pytest.mark.cuda

F = gs.nn.functional
# Threads of a row: parts of a warp, warps, a full block in registers, rows in shared memory, rows that are read
# again, by one block and by several.
ROWS = [1, 3, 8, 31, 33, 64, 257, 768, 1000, 4104, 8192, 8193, 30001, 33000]


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
        ((3000, 64), 0),  # four columns a thread
        ((3, 40, 2, 132), (1,)),
        ((6, 32, 33, 4), (0, 2)),
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


@pytest.mark.parametrize(
    "sizes, dim", [((9000,), 0), ((3, 700), 1), ((50, 2100), 0), ((2, 40, 3), 1)]
)
def test_running_products_have_gradients_around_zeros(sizes: tuple[int, ...], dim: int) -> None:
    for zeros in (0, 1, 2):
        x = 1 + numbers(*sizes) / 1000
        for k in range(zeros):
            x.select(dim, sizes[dim] // 3 + 5 * k).zero_()
        on_both(lambda t: t.cumprod(dim), x)
    x = numbers(*sizes)
    on_both(lambda t: t.cummax(dim).values, x)
    on_both(lambda t: t.logcumsumexp(dim), x)


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
    for n in (6, 100, 300, 5001):
        on_both(
            lambda t, p, q, n=n: F.layer_norm(t, (n,), p, q),
            numbers(900 if n < 1000 else 70, n),
            numbers(n),
            numbers(n) * 2,
        )
    x, target = numbers(3000, 10), gs.arange(3000, dtype=gs.int64, device="cpu") % 10
    on_both(lambda t, k: F.cross_entropy(t, k), x, target)


@pytest.mark.parametrize("dtype", [gs.float16, gs.bfloat16])
def test_halves_are_read_and_written_as_they_are(dtype: gs.dtype) -> None:
    def check(fn: Callable[..., gs.Tensor], *inputs: gs.Tensor) -> None:
        found = []
        for device in ("cpu", "cuda"):
            xs = [t.to(dtype).to(device).requires_grad_() for t in inputs]
            before = gs.cuda.memory_allocated()
            y = fn(*xs)
            if device == "cuda":  # no float copy is kept
                assert gs.cuda.memory_allocated() - before < 2.5 * xs[0].nbytes + 4096
            y.backward(gs.ones_like(y) if y.ndim == 0 else xs[0].detach().cos())
            found.append([y.detach(), *(t.grad for t in xs)])
        for want, got in zip(*found, strict=True):
            assert got.dtype == want.dtype == dtype
            want, got = want.to(gs.float64), got.cpu().to(gs.float64)
            assert ((got - want).abs() <= 1e-2 * want.abs().max()).all().item()

    for n in (37, 3000, 9001):
        target = gs.arange(6, device="cpu")
        check(lambda t: F.softmax(t, -1), numbers(6, n))
        check(lambda t: F.log_softmax(t, -1), numbers(6, n))
        check(lambda t, k=target: F.cross_entropy(t, k.to(t.device)), numbers(6, n))
        check(
            lambda t, p, q, n=n: F.layer_norm(t, (n,), p, q), numbers(6, n), numbers(n), numbers(n)
        )
        check(lambda t, p, n=n: F.rms_norm(t, (n,), p), numbers(6, n), numbers(n))
    x, w = numbers(4, 6, 5, 7), numbers(6)
    check(lambda t, p, q: F.group_norm(t, 3, p, q), x, w, w)
    check(lambda t, p, q: F.batch_norm(t, None, None, p, q, training=True), x, w, w)


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
