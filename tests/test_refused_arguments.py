# SPDX-License-Identifier: Apache-2.0
"""Arguments that PyTorch refuses: the same exception type here, and nothing written."""

import pytest
import torch

import gradstep


def _refusals(t):
    x = t.arange(6.0)
    grid = t.arange(12.0).reshape(3, 4)
    index = t.tensor([0, 1, 2])
    expanded = t.zeros(1).expand(3)
    return {
        "remainder": lambda: t.remainder(2, 3),
        "pow": lambda: t.pow(2, 3),
        "float_power": lambda: t.float_power(2, 3),
        "xlogy": lambda: t.xlogy(2, 3),
        "gather_dtype": lambda: t.gather(x, 0, index, out=t.zeros(3, dtype=t.float64)),
        "gather_input": lambda: t.gather(x, 0, index, out=x[:3]),
        "take_index": lambda: t.take(t.arange(6), index, out=index),
        "take": lambda: t.take(x, index, out=x[:3]),
        "index_select": lambda: t.index_select(x, 0, index, out=x[1:4]),
        "index_select_expanded": lambda: t.index_select(x, 0, index, out=expanded),
        "masked_select": lambda: t.masked_select(x, x > -1, out=x),
        "cat": lambda: t.cat([x[:3], x[3:]], out=x),
        "cat_row": lambda: t.cat([grid[0], grid[1]], out=grid.reshape(-1)[4:]),
        "multinomial": lambda: t.multinomial(t.ones(3), 2, out=t.zeros(2)),
        "roll": lambda: t.roll(t.tensor(1.0), 0, 0),
        "narrow_bool": lambda: t.narrow(x, 0, t.tensor(True), 2),
        "rrelu": lambda: t.nn.functional.rrelu(x, 0.3, 0.1),
        "multilabel_margin_loss": lambda: t.nn.functional.multilabel_margin_loss(
            t.zeros(0), t.zeros(0, dtype=t.int64)
        ),
    }


@pytest.mark.parametrize("name", list(_refusals(gradstep)))
def test_refused_as_in_pytorch(name):
    with pytest.raises(Exception) as expected:
        _refusals(torch)[name]()
    with pytest.raises(expected.type):
        _refusals(gradstep)[name]()


def test_out_keeps_its_values_when_refused():
    x = gradstep.arange(6.0)
    with pytest.raises(RuntimeError, match="single memory location"):
        gradstep.cat([x[3:], x[:3]], out=x)
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


def _accepted(t):
    x = t.arange(6.0)
    index = t.tensor([2, 0])
    return [
        t.gather(x, 0, index, out=t.zeros(2)),
        t.gather(t.arange(6), 0, index.flip(0), out=index.flip(0)),
        t.index_select(x[:3], 0, index, out=x[3:5]),
        t.take(x, index, out=t.zeros(5)[1:3]),
        t.masked_select(x, x > 2, out=t.empty(0)),
        t.cat([x[:2], x[4:]], out=x.new_zeros(4)),
        t.narrow(x, 0, t.tensor(1), 2),
        t.roll(t.tensor(1.0), 1),
        t.pow(2, x),
        t.remainder(7, x + 1),
    ]


def test_what_pytorch_takes_is_taken():
    for ours, theirs in zip(_accepted(gradstep), _accepted(torch), strict=True):
        assert ours.shape == tuple(theirs.shape)
        assert ours.tolist() == theirs.tolist()
