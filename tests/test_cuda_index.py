# SPDX-License-Identifier: Apache-2.0
"""Indexed writes on a GPU at sizes where their ways differ: lines, owned places, sorted words of several tiles; the
same bits in each run; bad indices are reported and harm nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradstep

pytestmark = pytest.mark.cuda

Write = Callable[[gradstep.Tensor, gradstep.Tensor, gradstep.Tensor], gradstep.Tensor]

WRITES: dict[str, Write] = {
    "index_add": lambda x, i, v: x.index_add(0, i, v),
    "index_copy": lambda x, i, v: x.index_copy(0, i, v),
    "index_put": lambda x, i, v: x.index_put((i,), v),
    "index_put_accumulate": lambda x, i, v: x.index_put((i,), v, True),
    "scatter": lambda x, i, v: x.scatter(0, i.unsqueeze(1).expand_as(v).contiguous(), v),
    "scatter_add": lambda x, i, v: x.scatter_add(0, i.unsqueeze(1).expand_as(v).contiguous(), v),
    "scatter_add_expanded": lambda x, i, v: x.scatter_add(0, i.unsqueeze(1).expand_as(v), v),
    "scatter_amax": lambda x, i, v: x.scatter_reduce(0, i.unsqueeze(1).expand_as(v), v, "amax"),
    "scatter_prod": lambda x, i, v: x.scatter_reduce(
        0, i.unsqueeze(1).expand_as(v), 1 + v / 1000, "prod", include_self=False
    ),
    "scatter_mean": lambda x, i, v: x.scatter_reduce(0, i.unsqueeze(1).expand_as(v), v, "mean"),
}


def operands(n: int, places: int, rows: int) -> tuple[gradstep.Tensor, ...]:
    gradstep.manual_seed(n + places)
    x = gradstep.randn(rows, 3, device="cpu")
    i = gradstep.randint(0, places, (n,), device="cpu")
    return x, i, gradstep.randn(n, 3, device="cpu")


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    ("n", "places", "rows"),
    [(20, 5, 7), (33, 5, 7), (2048, 3, 3), (2049, 40, 90_000), (9000, 2, 2), (9000, 4000, 4000)],
)
def test_repeated_places_are_combined_in_order(name: str, n: int, places: int, rows: int) -> None:
    on_cpu = operands(n, places, rows)
    expected = WRITES[name](*on_cpu)
    on_gpu = [t.to("cuda") for t in on_cpu]
    first, second = (WRITES[name](*on_gpu).cpu() for _ in range(2))
    assert gradstep.equal(first, second)
    if name in ("index_copy", "index_put", "scatter", "scatter_amax"):
        assert gradstep.equal(first, expected)
    else:
        gradstep.testing.assert_close(first, expected, rtol=1e-4, atol=1e-4 * n**0.5)


def test_sums_of_halves_do_not_stagnate() -> None:
    v = gradstep.ones(4000, 2, dtype=gradstep.bfloat16)
    out = gradstep.zeros(2, 2, dtype=gradstep.bfloat16).index_add(0, gradstep.arange(4000) % 2, v)
    assert out.tolist() == [[2000.0] * 2] * 2


def test_embedding_gradient_of_frequent_rows() -> None:
    _, i, dy = operands(5000, 3, 1)
    i[100:200] = 9
    for options in ({}, {"padding_idx": 1}, {"scale_grad_by_freq": True}):
        grads = []
        for device in ("cpu", "cuda"):
            w = gradstep.zeros(10, 3, device=device).requires_grad_()
            y = gradstep.nn.functional.embedding(i.to(device), w, **options)
            y.backward(dy.to(device))
            assert w.grad is not None
            grads.append(w.grad.cpu())
        gradstep.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049, 40_000])
def test_positions_of_several_tiles(n: int) -> None:
    mask = gradstep.arange(n, device="cpu") % 7 < 2
    at = mask.to("cuda").nonzero()
    assert gradstep.equal(at.cpu(), mask.nonzero())
    times = gradstep.arange(n, device="cpu") % 3
    repeated = gradstep.repeat_interleave(gradstep.arange(n), times.to("cuda"))
    assert gradstep.equal(
        repeated.cpu(), gradstep.repeat_interleave(gradstep.arange(n, device="cpu"), times)
    )


@pytest.mark.parametrize("n", [1, 40, 5000])
def test_a_bad_index_is_reported_and_harms_nothing(n: int) -> None:
    x = gradstep.zeros(n + 1)
    i = gradstep.arange(n)
    i[-1] = n + 1
    for write in (
        lambda: x.index_put((i,), gradstep.ones(n)),
        lambda: x.index_add(0, i, gradstep.ones(n)),
        lambda: x.scatter_add(0, i, gradstep.ones(n)),
        lambda: x[i],
        lambda: x.gather(0, i),
    ):
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            write().sum().item()
    assert (x.index_put((i[:-1],), gradstep.ones(n - 1)) == 1).sum().item() == n - 1
