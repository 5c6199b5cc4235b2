# SPDX-License-Identifier: Apache-2.0
"""Tensors that a captured function makes from Python numbers and then writes to: each replay begins with the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradstep as gs
import gradstep.nn.functional as F

WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "add_": lambda a, x: a.add_(1),
    "mul_": lambda a, x: a.mul_(x),
    "out=": lambda a, x: gs.add(a, x, out=a),
    "addcmul_": lambda a, x: a.addcmul_(x, x),
    "cumsum_": lambda a, x: a.cumsum_(0),
    "relu_": lambda a, x: gs.relu_(a),
    "dropout": lambda a, x: F.dropout(a, 0.5, True, True),
    "renorm_": lambda a, x: a.view(3, 1).renorm_(2, 0, 1.0),
    "max_norm": lambda a, x: F.embedding(gs.tensor([0, 2]), a.view(3, 1), max_norm=1.0),
    "baddbmm_": lambda a, x: a.view(1, 1, 3).baddbmm_(x[:1].view(1, 1, 1), x.view(1, 1, 3)),
    "addmv_": lambda a, x: a.addmv_(gs.ones(3, 3), x),
    "tril_": lambda a, x: a.view(1, 3).tril_(),
    "a slice": lambda a, x: a[1:].add_(x[1:]),
    "fill_ of a slice": lambda a, x: a[:1].fill_(9.0),
    "copy_ to a slice": lambda a, x: a[:2].copy_(x[:2]),
    "normal_ of a slice": lambda a, x: a[1:].normal_(),
    "fill_ of one element, repeated": lambda a, x: a[:1].expand(3).fill_(9.0),
    "fill_diagonal_": lambda a, x: a.view(1, 3).fill_diagonal_(7.0),
    "index_fill_": lambda a, x: a.index_fill_(0, gs.tensor([1]), 3.0),
    "index_add_": lambda a, x: a.index_add_(0, gs.tensor([1, 2]), x[:2]),
    "index_put_": lambda a, x: a.index_put_((gs.tensor([0]),), x[0]),
    "put_": lambda a, x: a.put_(gs.tensor([1]), x[:1]),
    "a[i] =": lambda a, x: a.__setitem__(2, x[0]),
    "scatter_": lambda a, x: a.scatter_(0, gs.tensor([0]), x[:1]),
    "scatter_add_": lambda a, x: a.scatter_add_(0, gs.tensor([0, 0]), x[:2]),
    "masked_fill_": lambda a, x: a.masked_fill_(gs.tensor([True, False, True]), 4.0),
}


@pytest.mark.parametrize("write", WRITES)
def test_numbers_are_there_again(write: str) -> None:
    def function(x: Any) -> tuple[Any, Any]:
        a = gs.tensor([1.0, -2.0, 3.0])
        b = WRITES[write](a, x)
        return a, a * 1 if b is None else b

    def run(function: Callable[[Any], Any]) -> list[list[Any]]:
        gs.manual_seed(3)
        inputs = [gs.tensor([2.0, 0.5, 4.0]) + k for k in range(5)]
        return [[t.tolist() for t in function(x)] for x in inputs]

    assert run(gs.capture(function)) == run(function)


@pytest.mark.cpu_only  # on a GPU inputs are copied as bytes, too
def test_parts_that_together_cover_memory_need_no_data_from_before() -> None:
    """Attention's gradient of one tensor of queries, keys and values: three outputs of one call, side by side."""
    gs.manual_seed(0)
    layer = gs.nn.Linear(32, 96)
    x = gs.randn(4, 8, 32)

    def step(x: Any) -> Any:
        parts = layer(x).split(32, dim=2)
        heads = [p.view(4, 8, 2, 16).transpose(1, 2) for p in parts]
        F.scaled_dot_product_attention(*heads, is_causal=True).square().sum().backward()
        return layer.weight.grad

    captured = gs.capture(step)
    found = []
    for call in (step, captured, captured, captured):
        layer.zero_grad()
        found.append(call(x).tolist())
    assert all(f == found[0] for f in found)
    assert "uint8" not in str(captured.report())
