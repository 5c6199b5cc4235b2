# SPDX-License-Identifier: Apache-2.0
"""GradScaler against PyTorch on both devices: steps that are skipped where the gradients are, state that does not
move, several optimizers, optimizers of others. test_amp.py has the rest."""

import copy

import numpy as np
import pytest

import gradstep as gs

torch = pytest.importorskip("torch")

INF = float("inf")
SHAPES = [(3,), (2, 5), (600,)]


def numbers(t):
    return np.array(t.detach().to(device="cpu").double().tolist())


def parameters(lib, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(shape) for shape in SHAPES]
    return [lib.nn.Parameter(lib.tensor(v.tolist(), dtype=getattr(lib, dtype))) for v in values]


def give_gradients(lib, params, scaler, step, bad=()):
    """The gradients of a loss of which the scaler knows, infinite in the steps `bad`."""
    factor = scaler.scale(lib.ones(())).item()
    for i, p in enumerate(params):
        value = np.random.default_rng([step, i]).standard_normal(tuple(p.shape)) * factor
        p.grad = lib.tensor(value.tolist(), dtype=p.dtype)
    if step in bad:
        params[step % len(params)].grad.reshape(-1)[step % 3] = (INF, -INF, float("nan"))[step % 3]


def train(lib, name, options, bad, dtype="float32", clip=False, steps=7, scheduled=False):
    params = parameters(lib, dtype)
    optimizer = getattr(lib.optim, name)(params, **options)
    scaler = lib.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    scales = []
    for step in range(steps):
        give_gradients(lib, params, scaler, step, bad)
        if clip:
            scaler.unscale_(optimizer)
            lib.nn.utils.clip_grad_norm_(params, 1.5)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return params, optimizer, scaler, scales


def compare_runs(ours, theirs, rtol=2e-5, same_state=True):
    (params, optimizer, scaler, scales), (q_params, q_optimizer, q_scaler, q_scales) = ours, theirs
    assert scales == q_scales and scaler.state_dict() == q_scaler.state_dict()
    for p, q in zip(params, q_params, strict=True):
        np.testing.assert_allclose(numbers(p), numbers(q), rtol=rtol, atol=1e-6)
        kept, q_kept = optimizer.state.get(p, {}), q_optimizer.state.get(q, {})
        if same_state:
            assert set(kept) == set(q_kept)
        for key in set(kept) & set(q_kept):
            np.testing.assert_allclose(
                numbers(kept[key]), numbers(q_kept[key]), rtol=rtol, atol=1e-6
            )


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {"lr": 0.01}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Rprop", {}),
    ("ASGD", {"t0": 1}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIMIZERS]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=IDS)
def test_skipped_steps_leave_no_trace(case, clip):
    for bad in ((), (0, 1, 4)):  # the first steps leave no state either
        ours, theirs = (train(lib, *case, bad, clip=clip) for lib in (gs, torch))
        compare_runs(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_a_fused_optimizer_unscales_by_itself(name, dtype):
    if name == "SGD" and dtype in ("bfloat16", "float16"):
        pytest.skip("PyTorch 2.13's fused SGD is wrong for vectors of 16-bit types")
    options = {"lr": 0.01, "fused": True}
    bad = (3,)
    ours, theirs = (train(lib, name, options, bad, dtype) for lib in (gs, torch))
    rtol = {"bfloat16": 2e-2, "float16": 3e-3}.get(dtype, 2e-5)
    compare_runs(ours, theirs, rtol=rtol, same_state=False)
    for p, q in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(numbers(p.grad), numbers(q.grad), rtol=rtol)


def test_only_fused_optimizers_take_float16_gradients():
    for lib in (gs, torch):
        with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
            train(lib, "SGD", {"lr": 0.01}, (), "float16")


def test_numbers_that_are_lent_reach_the_kernel():
    for lib in (gs, torch):
        params = parameters(lib)
        optimizer = lib.optim.SGD(params, lr=1.0, fused=True)
        before = [numbers(p) for p in params]
        for p in params:
            p.grad = lib.full_like(p, 6.0)
        optimizer.grad_scale, optimizer.found_inf = lib.full((), 3.0), lib.zeros(())
        optimizer.step()
        for p, b in zip(params, before):
            np.testing.assert_allclose(numbers(p), b - 2, atol=1e-6)
            assert (numbers(p.grad) == 2).all()
        optimizer.found_inf = lib.ones(())
        optimizer.step()
        for p, b in zip(params, before):
            np.testing.assert_allclose(numbers(p), b - 2, atol=1e-6)
            assert (numbers(p.grad) == 2).all()


def test_strided_gradients_are_divided_in_place():
    p = gs.nn.Parameter(gs.zeros(6, 4))
    p.grad = gs.full((4, 6), 8.0).t()
    optimizer = gs.optim.SGD([p], lr=1.0, fused=True)
    optimizer.grad_scale = gs.full((), 4.0)
    optimizer.step()
    assert (numbers(p) == -2).all() and (numbers(p.grad) == 2).all()
    h = gs.nn.Parameter(gs.zeros(700, dtype=gs.float16))
    h.grad = gs.full((700,), 8.0, dtype=gs.float16)
    optimizer = gs.optim.Adam([h], lr=1.0, fused=True)
    optimizer.grad_scale = gs.full((), 4.0)
    optimizer.step()
    assert (numbers(h) == -1).all() and (numbers(h.grad) == 2).all()


@pytest.mark.parametrize("lib", [gs, torch])
def test_two_optimizers_are_skipped_apart(lib):
    first, second = parameters(lib), parameters(lib, seed=1)
    optimizers = [lib.optim.SGD(first, lr=1.0), lib.optim.Adam(second, lr=1.0)]
    scaler = lib.amp.GradScaler("cpu", init_scale=8.0)
    give_gradients(lib, first, scaler, 1)
    give_gradients(lib, second, scaler, 2, bad=(2,))
    before = [[numbers(p) for p in params] for params in (first, second)]
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0
    assert all((numbers(p) != b).any() for p, b in zip(first, before[0]))
    assert all((numbers(p) == b).all() for p, b in zip(second, before[1]))


@pytest.mark.parametrize("lib", [gs, torch])
def test_an_optimizer_with_a_step_of_its_own_is_not_called(lib):
    calls = []

    class Own(lib.optim.SGD):
        def step(self, closure=None):
            calls.append(self)
            return super().step(closure)

    params = parameters(lib)
    optimizer = Own(params, lr=1.0)
    scaler = lib.amp.GradScaler("cpu")
    for step in (1, 2):
        give_gradients(lib, params, scaler, step, bad=(1,))
        scaler.step(optimizer)
        scaler.update()
        assert len(calls) == step - 1


def test_lent_numbers_are_taken_back():
    params = parameters(gs)
    optimizer = gs.optim.SGD(params, lr=1.0)
    scaler = gs.amp.GradScaler("cpu")
    give_gradients(gs, params, scaler, 1)
    params[0].grad = gs.ones(3)
    optimizer.param_groups[0]["lr"] = "many"
    with pytest.raises(TypeError):
        scaler.step(optimizer)
    assert not hasattr(optimizer, "found_inf") and not hasattr(optimizer, "grad_scale")


def test_state_is_carried_over():
    params, optimizer, scaler, _ = train(gs, "Adam", {}, (4,))
    other = gs.amp.GradScaler("cpu")
    other.load_state_dict(copy.deepcopy(scaler.state_dict()))
    assert other.state_dict() == scaler.state_dict()
    theirs = torch.amp.GradScaler("cpu")
    theirs.load_state_dict(scaler.state_dict())
    assert theirs.state_dict() == scaler.state_dict()


@pytest.mark.parametrize("found", [0.0, 1.0])
@pytest.mark.parametrize("scale", [4.0, 3e38, 1e-45])
@pytest.mark.parametrize("tracker", [0, 1])
def test_update_scale_is_pytorchs(tracker, scale, found):
    results = []
    for lib in (gs, torch):
        tensors = (
            lib.tensor(scale),
            lib.tensor(tracker, dtype=lib.int32),
            lib.tensor(found),
        )
        where = gs._C if lib is gs else torch
        where._amp_update_scale_(*tensors, 2.5, 0.25, 2)
        results.append([numbers(t).tolist() for t in tensors])
    assert results[0] == results[1]


@pytest.mark.parametrize("place", [None, 0, 5, 20_000, 40_000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_unscale_finds_every_infinity(dtype, place):
    for value in (INF, -INF, float("nan")):
        base = gs.ones(40_001, dtype=getattr(gs, dtype))
        tensors = [gs.ones(3, dtype=base.dtype), base, gs.ones(4, 5, dtype=base.dtype)[:, 1:3]]
        if place is not None:
            base[place] = value
        found = gs.zeros(())
        gs._C._amp_foreach_non_finite_check_and_unscale_(tensors, found, gs.tensor(0.5))
        assert found.item() == (place is not None)
        assert (numbers(tensors[0]) == 0.5).all() and (numbers(tensors[2]) == 0.5).all()
        rest = numbers(base)
        assert np.isfinite(rest).sum() == (rest == 0.5).sum() == 40_001 - (place is not None)


def test_what_is_refused():
    one, grads = gs.ones(()), [gs.ones(2)]
    unscale = gs._C._amp_foreach_non_finite_check_and_unscale_
    with pytest.raises(RuntimeError, match="found_inf must be a 1-element tensor"):
        unscale(grads, gs.ones(2), one)
    with pytest.raises(RuntimeError, match="inv_scale must be a float tensor"):
        unscale(grads, one, one.double())
    with pytest.raises(RuntimeError, match="growth_tracker must be an int tensor"):
        gs._C._amp_update_scale_(one, one, one, 2.0, 0.5, 2)
    optimizer = gs.optim.SGD(parameters(gs), lr=1.0)
    give_gradients(gs, optimizer.param_groups[0]["params"], gs.amp.GradScaler("cpu"), 1)
    optimizer.found_inf = gs.ones(2)
    with pytest.raises(RuntimeError, match="expected found_inf of one element"):
        optimizer.step()
    optimizer.found_inf = 0.0
    with pytest.raises(TypeError, match="expected found_inf to be a Tensor"):
        optimizer.step()
