# SPDX-License-Identifier: Apache-2.0
"""Adafactor, Muon, LBFGS and averages of weights: step for step as PyTorch's."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch.optim import swa_utils as torch_swa

import gradstep
from gradstep.optim import swa_utils


def pair(shapes, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(s) for s in shapes]
    ours = [gradstep.tensor(v, dtype=getattr(gradstep, dtype), requires_grad=True) for v in values]
    theirs = [torch.tensor(v, dtype=getattr(torch, dtype), requires_grad=True) for v in values]
    return ours, theirs


def give_gradients(ours, theirs, rng):
    for a, b in zip(ours, theirs, strict=True):
        g = rng.standard_normal(tuple(a.shape))
        a.grad = gradstep.tensor(g, dtype=a.dtype, device=a.device)
        b.grad = torch.tensor(g, dtype=b.dtype)


def assert_same(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        scale = max(b.detach().double().abs().max().item(), 1e-3)
        found = np.abs(a.detach().cpu().double().numpy() - b.detach().double().numpy()).max()
        assert found <= tolerance * scale


def assert_same_state(ours, theirs, tolerance):
    a, b = ours.state_dict(), theirs.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert a["state"].keys() == b["state"].keys()
    for k in a["state"]:
        assert list(a["state"][k]) == list(b["state"][k])
        for name, value in b["state"][k].items():
            assert a["state"][k][name].shape == value.shape
            assert_same([a["state"][k][name]], [value], tolerance)


ADAFACTOR = [
    {},
    {"lr": 0.1, "weight_decay": 0.1},
    {"maximize": True, "d": 2.0},
    {"eps": (1e-3, 1e-2), "beta2_decay": -0.5},
    {"eps": (0.0, 0.0)},
    {"lr": 1.0, "foreach": True},
]


@pytest.mark.parametrize("flags", ADAFACTOR)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adafactor_is_pytorchs(flags, dtype, device):
    ours, theirs = pair([(4, 3), (5,), (2, 3, 4), ()], dtype)
    ours = [p.detach().to(device).requires_grad_() for p in ours]
    a = gradstep.optim.Adafactor(ours, **flags)
    b = torch.optim.Adafactor(theirs, **flags)
    rng = np.random.default_rng(1)
    for _ in range(8):
        give_gradients(ours, theirs, rng)
        a.step()
        b.step()
        assert_same(ours, theirs, 2e-6 if dtype == "float32" else 1e-13)
    assert_same_state(a, b, 5e-6)


@pytest.mark.cpu_only
def test_adafactor_takes_over_pytorchs_state_and_a_rate_in_a_tensor():
    ours, theirs = pair([(4, 3), (5,)])
    b = torch.optim.Adafactor(theirs, lr=0.05)
    rng = np.random.default_rng(1)
    shadow = [p.detach().clone() for p in ours]
    give_gradients(shadow, theirs, rng)
    b.step()
    a = gradstep.optim.Adafactor(ours, lr=gradstep.tensor(0.3))
    state = b.state_dict()
    state = {
        "state": {
            k: {n: gradstep.tensor(t.numpy()) for n, t in s.items()}
            for k, s in state["state"].items()
        },
        "param_groups": state["param_groups"],
    }
    a.load_state_dict(state)
    a.param_groups[0]["lr"] = gradstep.tensor(0.05)
    with gradstep.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(gradstep.tensor(q.detach().numpy()))
    for _ in range(3):
        give_gradients(ours, theirs, rng)
        a.step()
        b.step()
        assert_same(ours, theirs, 2e-6)


MUON = [
    {},
    {"nesterov": False, "momentum": 0.8},
    {"lr": 0.1, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"},
    {"adjust_lr_fn": "original", "ns_steps": 3, "ns_coefficients": (3.0, -4.0, 2.0)},
]


@pytest.mark.parametrize("flags", MUON)
def test_muon_is_pytorchs_up_to_the_rounding_of_bfloat16(flags, device):
    ours, theirs = pair([(8, 5), (5, 8), (6, 6)])
    ours = [p.detach().to(device).requires_grad_() for p in ours]
    a = gradstep.optim.Muon(ours, **flags)
    b = torch.optim.Muon(theirs, **flags)
    rng = np.random.default_rng(1)
    lr = flags.get("lr", 1e-3) * (0.2 * 8**0.5 if "match" in str(flags) else 8 / 5)
    for k in range(5):
        give_gradients(ours, theirs, rng)
        a.step()
        b.step()
        # An orthogonal direction has elements of at most 1.2; bfloat16 has 8 bits.
        assert_same(ours, theirs, (k + 1) * lr * 0.03 + 1e-6)
    assert_same_state(a, b, 1e-6)


@pytest.mark.cpu_only
def test_muon_makes_directions_nearly_orthogonal():
    p = gradstep.zeros(6, 10, requires_grad=True)
    p.grad = gradstep.randn(6, 10)
    gradstep.optim.Muon([p], lr=1.0, weight_decay=0.0).step()
    values = gradstep.linalg.svdvals(p.detach())
    assert 0.5 < values.min() and values.max() < 1.3


@pytest.mark.cpu_only
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Adafactor", {"lr": -1}),
        ("Adafactor", {"beta2_decay": 0.1}),
        ("Adafactor", {"weight_decay": -1}),
        ("Adafactor", {"eps": (-1, 1e-3)}),
        ("Adafactor", {"eps": (None, -1)}),
        ("Adafactor", {"d": 0.5}),
        ("Muon", {"lr": -1}),
        ("Muon", {"momentum": -1}),
        ("Muon", {"weight_decay": -1}),
        ("Muon", {"adjust_lr_fn": "other"}),
        ("LBFGS", {"lr": -1}),
        ("SparseAdam", {"lr": 0.0}),
        ("SparseAdam", {"betas": (1.0, 0.9)}),
    ],
)
def test_bad_arguments_have_pytorchs_errors(name, args):
    ours, theirs = pair([(2, 2)])
    with pytest.raises(ValueError) as expected:
        getattr(torch.optim, name)(theirs, **args)
    with pytest.raises(ValueError) as found:
        getattr(gradstep.optim, name)(ours, **args)
    assert str(found.value) == str(expected.value)


@pytest.mark.cpu_only
def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        gradstep.optim.Muon([gradstep.zeros(3, requires_grad=True)])


@pytest.mark.cpu_only
@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_captured_steps_see_new_numbers_and_record_again_for_the_others(name):
    def world():
        gradstep.manual_seed(0)
        p = gradstep.randn(5, 3, requires_grad=True)
        return p, getattr(gradstep.optim, name)([p], lr=0.1)

    def run(captured):
        p, optimizer = world()

        def step(x):
            optimizer.zero_grad()
            ((x @ p) ** 2).sum().backward()
            optimizer.step()

        fn = gradstep.capture(step) if captured else step
        out = []
        for k in range(8):
            x = gradstep.ones(2, 5) * (k + 1)
            optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
            if k == 5:
                optimizer.param_groups[0]["eps" if name == "Muon" else "d"] = 2.0
            fn(x)
            out.append(p.detach().numpy().tobytes())
        if captured:
            assert sorted(e.replays for e in fn._entries()) == [2, 3]
        return out

    assert run(True) == run(False)


# ---- LBFGS ----


def rosenbrock(x):
    return (1 - x[:-1]).square().sum() + 100 * (x[1:] - x[:-1].square()).square().sum()


@pytest.mark.cpu_only
@pytest.mark.parametrize(
    "flags",
    [
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "lr": 0.3, "history_size": 2, "max_iter": 4},
        {"line_search_fn": "strong_wolfe", "max_eval": 3, "max_iter": 30},
        {"lr": 1e-3, "max_iter": 6},
        {"lr": 0.01, "history_size": 3, "tolerance_change": 1e-4},
    ],
)
def test_lbfgs_is_pytorchs(flags):
    start = np.array([-1.2, 1.0, 0.7, -0.3])
    results = []
    for t in (gradstep, torch):
        x = t.tensor(start, dtype=t.float64, requires_grad=True)
        y = t.tensor([0.5], dtype=t.float64, requires_grad=True)
        optimizer = t.optim.LBFGS([x, y], **flags)
        seen = []

        def closure(optimizer=optimizer, x=x, y=y):
            optimizer.zero_grad()
            loss = rosenbrock(x) + (y**2).sum()
            loss.backward()
            return loss

        for _ in range(5):
            loss = optimizer.step(closure)
            state = optimizer.state_dict()["state"][0]
            seen += [loss.item(), *x.tolist(), *y.tolist(), state["func_evals"], state["n_iter"]]
        results.append((seen, sorted(state)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6, atol=1e-10)
    assert results[0][1] == results[1][1]


@pytest.mark.cpu_only
def test_lbfgs_finds_the_minimum_and_its_state_can_be_loaded():
    x = gradstep.tensor([-1.2, 1.0], dtype=gradstep.float64, requires_grad=True)
    optimizer = gradstep.optim.LBFGS([x], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    state = copy.deepcopy(optimizer.state_dict())
    optimizer.step(closure)
    after = x.detach().clone()
    assert float((after - 1).abs().max()) < 1e-3
    optimizer.load_state_dict(state)
    assert optimizer.state[x]["n_iter"] == state["state"][0]["n_iter"]
    with pytest.raises(ValueError, match="parameter groups"):
        gradstep.optim.LBFGS([{"params": [x]}, {"params": [gradstep.ones(1, requires_grad=True)]}])


@pytest.mark.cpu_only
def test_lbfgs_in_a_captured_step_is_refused():
    x = gradstep.ones(2, requires_grad=True)
    optimizer = gradstep.optim.LBFGS([x])

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    fn = gradstep.capture(lambda: optimizer.step(closure).detach())
    with pytest.raises(gradstep.CaptureError):
        for _ in range(3):
            fn()


@pytest.mark.cpu_only
def test_sparse_adam_says_what_pytorchs_says():
    p = gradstep.ones(2, requires_grad=True)
    optimizer = gradstep.optim.SparseAdam([p])
    assert optimizer.step(lambda: 3) == 3
    p.grad = gradstep.ones(2)
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()


# ---- averages ----


def nets():
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = gradstep.nn.Sequential(gradstep.nn.Linear(3, 4), gradstep.nn.BatchNorm1d(4))
    ours.load_state_dict({k: gradstep.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def assert_same_models(ours, theirs):
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    for k in a:
        np.testing.assert_allclose(a[k].numpy(), b[k].numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.cpu_only
@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize(
    "average",
    [
        lambda s: {},
        lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.9)},
        lambda s: {"multi_avg_fn": s.get_swa_multi_avg_fn()},
        lambda s: {"avg_fn": s.get_ema_avg_fn(0.9)},
        lambda s: {"avg_fn": s.get_swa_avg_fn()},
    ],
)
def test_averaged_models_are_pytorchs(average, buffers):
    if (
        buffers
        and average(torch_swa).get("multi_avg_fn", None)
        and "swa" in str(average(torch_swa))
    ):
        pytest.skip("PyTorch's raises for integer buffers")
    ours, theirs = nets()
    a = swa_utils.AveragedModel(ours, use_buffers=buffers, **average(swa_utils))
    b = torch_swa.AveragedModel(theirs, use_buffers=buffers, **average(torch_swa))
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.standard_normal((5, 3)).astype("float32")
        ours(gradstep.tensor(x))
        theirs(torch.tensor(x))
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            delta = rng.standard_normal(tuple(p.shape)).astype("float32")
            p.data += gradstep.tensor(delta)
            q.data += torch.tensor(delta)
        a.update_parameters(ours)
        b.update_parameters(theirs)
        assert_same_models(a, b)
    batches = [rng.standard_normal((6, 3)).astype("float32") for _ in range(3)]
    swa_utils.update_bn([gradstep.tensor(x) for x in batches], a)
    torch_swa.update_bn([[torch.tensor(x), 0] for x in batches], b)
    assert_same_models(a, b)
    with pytest.raises(ValueError, match="Invalid decay value"):
        swa_utils.get_ema_avg_fn(1.5)


@pytest.mark.cpu_only
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 3])
def test_swalr_is_pytorchs(strategy, epochs):
    ours, theirs = pair([(2,), (3,)])
    seen = []
    for t, params, utils in ((gradstep, ours, swa_utils), (torch, theirs, torch_swa)):
        optimizer = t.optim.SGD(
            [{"params": [params[0]], "lr": 0.5}, {"params": [params[1]]}], lr=1.0
        )
        inner = t.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        scheduler = utils.SWALR(optimizer, [0.05, 0.1], epochs, strategy)
        rates = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(6):
                optimizer.step()
                scheduler.step()
                rates += [g["lr"] for g in optimizer.param_groups]
        state = scheduler.state_dict()
        scheduler.load_state_dict(state)
        seen.append((rates, sorted(state)))
        del inner
    np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-12)
    assert set(seen[0][1]) >= set(seen[1][1]) - {"verbose"}
