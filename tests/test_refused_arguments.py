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
    empty, vectors = t.zeros(0), t.ones(3, 3)
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
        "cat_empty": lambda: t.cat([empty, x], out=empty),
        "kthvalue": lambda: t.kthvalue(x, 2, out=(x, t.tensor(0))),
        "take_along_dim": lambda: t.take_along_dim(x, index, out=x[:3]),
        "cross": lambda: t.linalg.cross(vectors, vectors, out=vectors),
        "aminmax": lambda: t.aminmax(x, out=(t.tensor(0.0), t.tensor(0.0, dtype=t.float64))),
        "softshrink": lambda: t.nn.functional.softshrink(x, -0.5),
        "softshrink_half": lambda: t.nn.functional.softshrink(x.half(), 1e5),
        "addr_float": lambda: t.addr(t.ones(3, 3, dtype=t.int64), index, index, alpha=0.5),
        "addr_bool": lambda: t.addr(t.ones(3, 3), x[:3], x[:3], beta=True),
        "linear_cross_entropy": lambda: t.nn.functional.linear_cross_entropy(
            t.ones(3), t.ones(2, 4, 3), t.ones(2, 4)
        ),
        "linear_cross_entropy_features": lambda: t.nn.functional.linear_cross_entropy(
            t.ones(2, 3), t.ones(2, 4), index[:2]
        ),
        "linear_cross_entropy_ignored": lambda: t.nn.functional.linear_cross_entropy(
            t.ones(2, 3), t.ones(4, 3), t.ones(2, 4), ignore_index=1
        ),
        "batch_norm_vector": lambda: t.nn.functional.batch_norm(x, t.zeros(0), t.ones(0)),
        "conv_of_bools": lambda: t.nn.functional.conv1d(
            t.ones(1, 1, 4, dtype=t.bool), t.ones(1, 1, 2, dtype=t.bool)
        ),
        "conv_transpose_of_int32": lambda: t.nn.functional.conv_transpose1d(
            t.ones(1, 1, 4, dtype=t.int32), t.ones(1, 1, 2, dtype=t.int32)
        ),
    }


_TWICE = "more than one element of the written-to tensor"
_PARTLY = "some elements of the input tensor and the written-to tensor"


def _overlaps(t):
    """Writes whose result depends on the order of the elements."""
    x = t.arange(20.0).reshape(5, 4)
    square, rows = x[:4], t.tensor([0, 1, 2, 3])
    wide = t.arange(4.0).expand(3, 4)
    mask = t.ones(4, dtype=t.bool).expand(3, 4)
    ones = t.ones(3, 4)
    index = t.zeros(3, 4, dtype=t.int64)
    twice = [
        lambda: wide.add_(1),
        lambda: wide.mul_(ones),
        lambda: wide.copy_(ones),
        lambda: wide.relu_(),
        lambda: wide.uniform_(),
        lambda: wide.index_add_(0, rows[:3], ones),
        lambda: wide.index_copy_(0, rows[:3], ones),
        lambda: wide.scatter_(0, index, 1.0),
        lambda: wide.scatter_add_(0, index, ones),
        lambda: wide.masked_scatter_(mask, ones),
        lambda: wide.addmm_(t.ones(3, 2), t.ones(2, 4)),
        lambda: wide.cumsum_(0),
        lambda: t.add(ones, 1, out=wide),
        lambda: t.mm(t.ones(3, 2), t.ones(2, 4), out=wide) if t is gradstep else wide.add_(1),
    ]
    partly = [
        lambda: x[1:].add_(x[:-1]),
        lambda: x[1:].copy_(x[:-1]),
        lambda: square.mul_(square.t()),
        lambda: square.copy_(square.t()),
        lambda: x[1:].lerp_(t.ones(4, 4), x[:-1]),
        lambda: x[1:].addcmul_(t.ones(4, 4), x[:-1]),
        lambda: x[1:].clamp_(min=x[:-1]),
        lambda: square.index_add_(0, rows, x[1:]),
        lambda: square.index_copy_(0, rows, x[1:]),
        lambda: square.index_put_((rows,), x[1:]),
        lambda: square.scatter_(0, t.zeros(4, 4, dtype=t.int64), x[1:]),
        lambda: x[1:].bernoulli_(x[:-1]),
        lambda: t.add(x[:-1], 1, out=x[1:]),
        lambda: t.exp(x[:-1], out=x[1:]),
        lambda: t.cumsum(x[:-1], 0, out=x[1:]),
    ]
    return [(f, _TWICE) for f in twice] + [(f, _PARTLY) for f in partly]


@pytest.mark.parametrize("k", range(len(_overlaps(gradstep))))
def test_overlapping_writes_are_refused(k):
    for library in (torch, gradstep):
        write, text = _overlaps(library)[k]
        with pytest.raises(RuntimeError, match=text):
            write()


def test_writes_of_one_value_to_repeated_elements_are_taken():
    def results(t):
        def wide():
            return t.arange(4.0).expand(3, 4)

        mask = t.tensor([True, False, True, False]).expand(3, 4)
        return [
            wide().fill_(2),
            wide().zero_(),
            wide().masked_fill_(mask, 5),
            wide().index_fill_(1, t.tensor([1, 3]), 7),
            wide().index_put_((t.tensor([0]),), t.tensor([9.0, 8.0, 7.0, 6.0])),
        ]

    for mine, theirs in zip(results(gradstep), results(torch), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_the_same_elements_may_be_read_and_written():
    def results(t):
        x = t.arange(20.0).reshape(5, 4)
        return [
            x.add_(x),
            x[:2].mul_(x[2:4]),
            x[1:].sub_(x.clone()[:-1]),
            t.mul(x, 2, out=x),
        ]

    for mine, theirs in zip(results(gradstep), results(torch), strict=True):
        assert mine.tolist() == theirs.tolist()


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
