# SPDX-License-Identifier: Apache-2.0
"""Pruning and orthogonal weights beside PyTorch."""

import copy
import importlib

import pytest
import torch

import gradstep

pytestmark = pytest.mark.cpu_only


def both(run):
    return [
        run(t, importlib.import_module(f"{t.__name__}.nn.utils.prune")) for t in (gradstep, torch)
    ]


def state(m):
    return {k: v.tolist() for k, v in m.state_dict().items()}, m.weight.tolist()


STEPS = {
    "l1": lambda p, m: p.l1_unstructured(m, "weight", 0.3),
    "random": lambda p, m: p.random_unstructured(m, "weight", amount=4),
    "ln": lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=2, dim=0),
    "structured": lambda p, m: p.random_structured(m, "weight", amount=1, dim=1),
    "bias": lambda p, m: p.identity(m, "bias"),
    "global": lambda p, m: p.global_unstructured([(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.4),
    "remove": lambda p, m: p.remove(m, "weight"),
}  # fmt: skip


@pytest.mark.parametrize("steps", ["l1", "random", "ln", "structured", "l1 ln", "ln l1 random", "bias l1 remove",
                                   "global", "l1 global structured", "structured ln", "l1 remove ln"])  # fmt: skip
def test_masks_equal_pytorchs(steps):
    def run(t, p):
        t.manual_seed(3)
        m = t.nn.Linear(5, 4)
        out = []
        for step in steps.split():
            STEPS[step](p, m)
            out.append((state(m), p.is_pruned(m), len(m._forward_pre_hooks)))
        m(t.ones(2, 5)).sum().backward()
        out.append([g.grad.tolist() for g in m.parameters()])
        return out

    ours, theirs = both(run)
    assert ours[:-1] == theirs[:-1]
    for a, b in zip(ours[-1], theirs[-1], strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b))


@pytest.mark.parametrize("amount", [-1, 1.5, "a"])
def test_amounts_that_are_refused(amount):
    def run(t, p):
        with pytest.raises((ValueError, TypeError)) as error:
            p.l1_unstructured(t.nn.Linear(2, 2), "weight", amount)
        return type(error.value), str(error.value)

    assert len(set(both(run))) == 1


def test_a_failure_leaves_the_module_as_it_was():
    from gradstep.nn.utils import prune

    m = gradstep.nn.Linear(3, 2)
    with pytest.raises(ValueError, match="should be smaller than the number of parameters"):
        prune.l1_unstructured(m, "weight", amount=100)
    assert sorted(m.state_dict()) == ["bias", "weight"] and not prune.is_pruned(m)
    prune.l1_unstructured(m, "weight", amount=1)
    before = copy.deepcopy(state(m))
    with pytest.raises(ValueError):
        prune.ln_structured(m, "weight", amount=100, n=2, dim=0)
    assert state(m) == before and len(m._forward_pre_hooks) == 1
    prune.remove(m, "weight")


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("kind", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("around", [True, False])
def test_orthogonal_weights(shape, kind, around):
    results = []
    for t in (gradstep, torch):
        t.manual_seed(0)
        m = t.nn.Linear(shape[1], shape[0])
        if not around:
            t.nn.init.orthogonal_(m.weight)
        t.manual_seed(1)
        t.nn.utils.parametrizations.orthogonal(m, "weight", kind, use_trivialization=around)
        w = m.weight
        square = w.T @ w if shape[0] >= shape[1] else w @ w.T
        torch.testing.assert_close(
            torch.tensor(square.tolist()), torch.eye(min(shape)), atol=1e-5, rtol=0
        )
        (m(t.arange(2.0 * shape[1]).view(2, -1) / 10) ** 3).sum().backward()
        grad = next(p.grad for n, p in m.named_parameters() if "original" in n)
        results.append([torch.tensor(w.tolist()), torch.tensor(grad.tolist())])
    torch.testing.assert_close(results[0], results[1], atol=1e-3, rtol=1e-3)
