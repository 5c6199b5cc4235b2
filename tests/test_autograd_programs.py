# SPDX-License-Identifier: Apache-2.0
"""Random programs of views, in-place writes, hooks and plain operations on two leaves: their gradients, retained
gradients and second derivatives are PyTorch's. Where PyTorch refuses (a value that backward needs was
overwritten), gradstep may refuse too, or have kept a copy."""

import random

import numpy as np
import pytest

import gradstep as gs

torch = pytest.importorskip("torch")

KINDS = "view slice slice axis transpose write write write setitem op op op copy hook detach retain fill off".split()


def program(seed):
    """Steps (kind, four numbers in [0, 1) that choose operands and variants)."""
    rng = random.Random(seed)
    return [
        (rng.choice(KINDS), *(rng.random() for _ in range(4))) for _ in range(rng.randint(3, 14))
    ]


def views_of(x):
    if x.dim() == 2:
        return [
            lambda: x[:, 1:],
            lambda: x[1],
            lambda: x[::2],
            lambda: x[:, ::2],
            lambda: x.narrow(0, 0, 2),
            lambda: x.unsqueeze(0),
            lambda: x.diagonal(),
        ]
    if x.dim() == 1:
        return [lambda: x[1:], lambda: x[::2], lambda: x.unsqueeze(0)]
    return [lambda: x.squeeze()]


def writes_to(x, y):
    same = y.shape == x.shape
    return [
        lambda: x.mul_(1.5),
        lambda: x.add_(y if same else y.sum()),
        lambda: x.mul_(y if same else y.mean()),
        lambda: x.sin_(),
        lambda: x.exp_(),
        lambda: x.sigmoid_(),
        lambda: x.sub_(0.1),
        lambda: x.div_(1.1 + y.detach().abs().mean()),
        lambda: x.tanh_(),
        lambda: x.clamp_(min=0.2),
    ]


def results_of(x, y):
    return [
        lambda: x * y.mean(),
        lambda: x.sin(),
        lambda: x * x,
        lambda: x.exp() * 0.1,
        lambda: x + y if x.shape == y.shape else x + 1,
        lambda: x.tanh(),
        lambda: x.clone(),
        lambda: x.contiguous(),
        lambda: x.reshape(-1),
    ]


def step(t, tensors, kind, a, b, c, d):
    def pick(options, u):
        return options[int(u * len(options))]

    x, y = pick(tensors, a), pick(tensors, b)
    if kind == "view":
        tensors.append(x.view(-1) if x.is_contiguous() else x.t() if x.dim() == 2 else x[::2])
    elif kind == "slice":
        tensors.append(pick(views_of(x), c)())
    elif kind == "axis":
        tensors.append(x.unsqueeze(-1) if x.dim() < 3 else x.flatten())
    elif kind == "transpose":
        tensors.append(x.t() if x.dim() == 2 else x.sin())
    elif kind == "write":
        pick(writes_to(x, y), c)()
    elif kind == "setitem" and x.dim() == 2:
        x[int(c * x.shape[0])] = y.mean() * 2 if d < 0.5 else x[0] * 3
    elif kind == "setitem":
        x[int(c * x.shape[0]) :] = y.sum() * 0.1
    elif kind == "op":
        tensors.append(pick(results_of(x, y), c)())
    elif kind == "copy" and x is not y:
        x.copy_(y if y.shape == x.shape else y.mean())
    elif kind == "hook" and x._base is None:
        x.register_hook(lambda g: g * (1 + c))
    elif kind == "retain":
        x.retain_grad()
    elif kind == "detach":
        tensors.append(x.detach() * y.mean())
    elif kind == "fill":
        x.fill_(0.3) if c < 0.5 else x.zero_()
    elif kind == "off":
        with t.no_grad():
            x.mul_(1)


def run(t, steps, second):
    """(errors of the steps, gradients or None where backward was refused)."""
    inputs = [np.random.default_rng(k).uniform(0.5, 1.5, (3, 4)) for k in range(2)]
    leaves = [t.tensor(x.tolist(), dtype=t.float64, requires_grad=True) for x in inputs]
    tensors = [x * 1 for x in leaves]
    errors = []
    for s in steps:
        try:
            step(t, tensors, *s)
        except (RuntimeError, IndexError) as error:
            errors.append(str(error)[:60])
    loss = sum((x * x).sum() * k for k, x in enumerate(tensors, 1))
    try:
        if not second:
            loss.backward()
            found = [x.grad for x in leaves + [x for x in tensors if x.retains_grad]]
        else:
            found = list(t.autograd.grad(loss, leaves, create_graph=True, allow_unused=True))
            total = sum((g * g).sum() for g in found if g is not None)
            found += (
                t.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else []
            )
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
        return errors, None
    return errors, [None if g is None else g.detach().cpu().numpy() for g in found]


@pytest.mark.parametrize("second", [False, True], ids=["first order", "second order"])
@pytest.mark.parametrize("block", range(4))
def test_random_programs(block, second):
    n_compared = 0
    for seed in range(block * 30, block * 30 + 30):
        steps = program(seed)
        (our_errors, ours), (errors, theirs) = run(gs, steps, second), run(torch, steps, second)
        assert our_errors == errors, seed
        if theirs is None:
            continue
        assert ours is not None and len(ours) == len(theirs), seed
        for a, b in zip(ours, theirs):
            zero = np.zeros(1)  # no gradient and a gradient of zeros say the same
            a, b = zero if a is None else a, zero if b is None else b
            np.testing.assert_allclose(
                a, b, rtol=1e-9, atol=1e-12, err_msg=f"program {seed}: {steps}"
            )
        n_compared += 1
    assert n_compared > 10
