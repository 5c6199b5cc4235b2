# SPDX-License-Identifier: Apache-2.0
"""Hooks for what a graph keeps, checkpoints, and hooks on several tensors, beside PyTorch."""

import warnings

import numpy as np
import pytest
import torch as real

import gradstep as torch
from gradstep import nn
from gradstep.autograd import graph
from gradstep.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_early_stop,
)

pytestmark = pytest.mark.cpu_only


# ---- hooks for saved tensors ----


def count_packs(t, fn):
    kept = []

    def pack(x):
        kept.append(tuple(x.shape))
        return x.numpy().copy() if t is torch else x.detach().numpy().copy()

    with t.autograd.graph.saved_tensors_hooks(pack, lambda v: t.tensor(v)):
        out = fn(t)
    return out, kept


FUNCTIONS = {
    "mul": lambda t, x, w: (x * w).sum(),
    "exp": lambda t, x, w: (x.exp() * w.tanh()).sum(),
    "matmul": lambda t, x, w: (x @ w.t()).square().sum(),
    "linear": lambda t, x, w: t.nn.functional.linear(x, w).relu().sum(),
    "softmax": lambda t, x, w: (x.softmax(-1) * w).sum(),
    "norm": lambda t, x, w: t.nn.functional.layer_norm(x, (3,), w[0]).pow(3).sum(),
    "index": lambda t, x, w: (x[1:, ::2] * w[:-1, 1:]).sum() + x[[0, 1], [1, 2]].square().sum(),
    "broadcast": lambda t, x, w: (x * w[0] / (w[1] ** 2 + 1)).sum(),
    "inplace": lambda t, x, w: (x * 1).mul_(w).add_(1).sigmoid_().sum(),
    "cat": lambda t, x, w: t.cat([x, w]).pow(2).sum(),
    "loss": lambda t, x, w: t.nn.functional.cross_entropy(x @ w.t(), t.tensor([0, 1, 2])),
    "conv": lambda t, x, w: t.nn.functional.conv1d(x[None], w[:, :, None]).square().sum(),
    "where": lambda t, x, w: t.where(x > 0, x * w, x).sum(),
    "max": lambda t, x, w: (x.max(1).values * w.sum(1)).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_through_packed_tensors_are_the_same(name):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 3))

    def run(t, hooks, second):
        x, w = (t.tensor(v, requires_grad=True) for v in values)

        def loss(t):
            return FUNCTIONS[name](t, x, w)

        out = count_packs(t, loss)[0] if hooks else loss(t)
        grads = t.autograd.grad(out, (x, w), create_graph=second)
        if second:
            total = sum((g * g).sum() for g in grads)
            grads = t.autograd.grad(total, (x, w), allow_unused=True)
        return [None if g is None else g.tolist() for g in grads]

    plain, hooked = run(torch, False, False), run(torch, True, False)
    assert hooked == plain
    np.testing.assert_allclose(hooked[0], run(real, True, False)[0], rtol=1e-6)
    if name not in ("norm", "conv", "loss", "softmax"):
        plain, hooked = run(torch, False, True), run(torch, True, True)
        assert hooked == plain


def test_hooks_see_what_is_kept_and_the_inner_ones_win():
    x = torch.randn(3, requires_grad=True)
    outer, inner = [], []
    with graph.saved_tensors_hooks(lambda t: outer.append(t) or t, lambda t: t):
        y = x.exp()
        with graph.saved_tensors_hooks(lambda t: inner.append(t) or t, lambda t: t):
            z = y.sin()
        z.cos()
    assert len(outer) == 2 and len(inner) == 1
    assert not outer[0].requires_grad
    z.sum().backward()
    assert torch.allclose(x.grad, x.exp().cos() * x.exp())


def test_packed_tensors_are_released_and_a_second_backward_raises():
    x = torch.randn(3, requires_grad=True)
    alive = []

    class Box:
        def __init__(self, t):
            self.t = t
            alive.append(1)

        def __del__(self):
            alive.pop()

    with graph.saved_tensors_hooks(Box, lambda b: b.t):
        y = (x * x).exp().sum()
    assert len(alive) == 3
    y.backward(retain_graph=True)
    y.backward()
    assert not alive
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_bad_hooks_raise():
    x = torch.randn(3, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp().sum()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got"):
        y.backward()
    with graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t):
        with pytest.raises(RuntimeError, match="modifying its input in place"):
            x.exp()
    with graph.saved_tensors_hooks(lambda t: 1 / 0, lambda t: t), pytest.raises(ZeroDivisionError):
        x.exp()
    with graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"):
            with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                pass
    x.exp().sum().backward()


def test_hooks_reach_custom_functions():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x**3
            ctx.save_for_backward(x, y, None)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y, nothing = ctx.saved_tensors
            assert nothing is None
            return g * 3 * y / x

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    packed = []
    with graph.saved_tensors_hooks(
        lambda t: packed.append(t) or len(packed) - 1, packed.__getitem__
    ):
        y = Cube.apply(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    assert len(packed) == 2
    assert torch.allclose(g, 3 * x**2) and torch.allclose(gg, 6 * x)


def test_save_on_cpu_gives_the_same_gradients():
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(5, 4)
    net(x).sum().backward()
    plain = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    with graph.save_on_cpu(pin_memory=True):
        y = net(x).sum()
    y.backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(plain, net.parameters(), strict=True))


# ---- checkpoint ----


def blocks(t, seed=0):
    t.manual_seed(seed)
    return t.nn.Sequential(
        t.nn.Linear(4, 8), t.nn.ReLU(), t.nn.Dropout(0.4), t.nn.Linear(8, 4), t.nn.Tanh()
    )


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_changes_no_gradient_and_no_random_number(reentrant):
    results = []
    for use in (False, True):
        net = blocks(torch)
        x = torch.randn(6, 4, requires_grad=True)
        y = checkpoint(net, x, use_reentrant=reentrant) if use else net(x)
        (y * torch.randn(6, 4)).sum().backward()
        results.append([x.grad, *(p.grad for p in net.parameters()), torch.rand(3)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_without_preserved_random_state_dropout_differs():
    net = nn.Dropout(0.5)
    x = torch.ones(1000, requires_grad=True)
    y = checkpoint(net, x, use_reentrant=False, preserve_rng_state=False)
    y.sum().backward()
    assert not torch.equal(x.grad, y.detach())
    x.grad = None
    y = checkpoint(net, x, use_reentrant=False)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize("early", [False, True])
def test_what_a_checkpoint_computes_and_when(early):
    calls = []

    def f(x, scale=1):
        calls.append(scale)
        return (x.exp() * scale).sin()

    x = torch.randn(3, requires_grad=True)
    with set_checkpoint_early_stop(early):
        y = checkpoint(f, x, scale=2, use_reentrant=False)
    assert calls == [2]
    y.sum().backward(retain_graph=True)
    assert calls == [2, 2]
    assert torch.allclose(x.grad, (x.exp() * 2).cos() * 2 * x.exp())
    with torch.no_grad():
        checkpoint(f, x, use_reentrant=False)
    assert calls == [2, 2, 1]


def test_nested_checkpoints_and_double_backward():
    def inner(x):
        return x.sin() * x

    def outer(x):
        return checkpoint(inner, x.exp(), use_reentrant=False).tanh()

    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(inner(x.exp()).tanh().sum(), x)[0]
    y = checkpoint(outer, x, use_reentrant=False).sum()
    assert torch.equal(torch.autograd.grad(y, x)[0], expected)
    y = checkpoint(outer, x, use_reentrant=False).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    (h,) = torch.autograd.grad(inner(x.exp()).tanh().sum(), x, create_graph=True)
    assert torch.allclose(gg, torch.autograd.grad(h.sum(), x)[0])


def test_checkpoints_keep_less_memory():
    net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(8)])
    x = torch.randn(2048, 64, requires_grad=True)

    def held(fn):
        before = torch._C.memory_stats()["allocated_bytes"]
        y = fn(x)
        used = torch._C.memory_stats()["allocated_bytes"] - before
        y.sum().backward()
        return used

    plain = held(net)
    for reentrant in (False, True):
        few = held(lambda x, r=reentrant: checkpoint_sequential(net, 4, x, use_reentrant=r))
        assert few < 0.65 * plain
    whole = held(lambda x: checkpoint(net, x, use_reentrant=False))
    assert whole < 0.2 * plain


def test_a_function_that_changes_its_mind_is_found():
    state = {"n": 0}

    def shapes(x):
        state["n"] += 1
        return x.exp() if state["n"] == 1 else x.exp()[:1].expand(3).exp()

    def fewer(x):
        state["n"] += 1
        y = x * 2 if state["n"] > 1 else x.exp().sin()
        return y

    for f, text in ((shapes, "different metadata"), (fewer, "different number of tensors")):
        state["n"] = 0
        x = torch.randn(3, requires_grad=True)
        y = checkpoint(f, x, use_reentrant=False)
        if f is shapes:
            y = checkpoint(lambda x: x[: 3 if state["n"] else 2].exp(), x, use_reentrant=False)
            state["n"] = 0
        with pytest.raises(CheckpointError, match=text):
            y.sum().backward()


def test_reentrant_checkpoints_refuse_what_they_cannot_do():
    x = torch.randn(3, requires_grad=True)
    y = checkpoint(torch.sin, x, use_reentrant=True).sum()
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        torch.autograd.grad(y, x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(torch.sin, torch.randn(3), use_reentrant=True)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed"):
        checkpoint(torch.sin, x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: a"):
        checkpoint(torch.sin, x, use_reentrant=True, a=3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_under_autocast(reentrant):
    results = []
    for use in (False, True):
        net = blocks(torch)
        x = torch.randn(6, 4, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = checkpoint(net, x, use_reentrant=reentrant) if use else net(x)
        y.float().square().sum().backward()
        results.append([y, x.grad, *(p.grad for p in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_arguments_written_in_between_are_found():
    x = torch.randn(3, requires_grad=True)
    z = x * 1
    y = checkpoint(lambda t: t.exp(), z, use_reentrant=False).sum()
    z.data.add_(0)  # not seen
    with torch.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# ---- hooks on several tensors ----


@pytest.mark.parametrize("mode", ["all", "any"])
def test_multi_grad_hooks_are_pytorchs(mode):
    seen = []
    for t in (torch, real):
        calls = []
        a, b, c = (t.tensor([v], requires_grad=True) for v in (1.0, 2.0, 3.0))
        d = a * b
        handle = t.autograd.graph.register_multi_grad_hook(
            (a, b, c, d), lambda g, calls=calls: calls.append(g), mode=mode
        )
        (d * 2).sum().backward(retain_graph=True)
        (d * c).sum().backward(retain_graph=True)
        handle.remove()
        (d * c).sum().backward()
        seen.append(
            [[None if g is None else g.tolist() for g in k] for k in calls]
            if mode == "all"
            else len(calls)
        )
    assert seen[0] == seen[1]


def test_metadata_of_a_node_stays():
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.grad_fn.metadata["made"] = "here"
    assert y.grad_fn.metadata == {"made": "here"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y.sum().backward()
