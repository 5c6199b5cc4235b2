# SPDX-License-Identifier: Apache-2.0
"""optim.lr_scheduler against PyTorch: lrs and momentums must be equal to the last bit."""

import copy
import math
import warnings

import pytest

import gradstep

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.cpu_only  # plain Python numbers

SCHEDULERS = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "LambdaLR_list": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (e + 1), lambda e: 0.5**e]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9 + 0.01 * (e % 3)),
    "StepLR": lambda s, o: s.StepLR(o, step_size=3, gamma=0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, milestones=[2, 5, 5, 9], gamma=0.7),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.3, total_iters=4),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0.1, end_factor=0.7, total_iters=6),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, gamma=0.87),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=7, power=1.7),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=5, eta_min=1e-3),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 1e-3),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1, total_iters=3), s.CosineAnnealingLR(o, 6), s.ExponentialLR(o, 0.9)],
        milestones=[3, 9],
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, total_iters=2), s.ExponentialLR(o, 0.9)], optimizer=o
    ),
    "CyclicLR_triangular": lambda s, o: s.CyclicLR(o, 0.001, 0.1, step_size_up=4),
    "CyclicLR_triangular2": lambda s, o: s.CyclicLR(o, 0.001, 0.1, 3, 5, mode="triangular2"),
    "CyclicLR_exp_range": lambda s, o: s.CyclicLR(o, 0.001, 0.1, 3, mode="exp_range", gamma=0.98),
    "CyclicLR_own": lambda s, o: s.CyclicLR(
        o, [0.001, 0.01], 0.1, 3, scale_fn=lambda x: 0.9**x, scale_mode="iterations"
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, max_lr=0.1, total_steps=20),
    "OneCycleLR_three": lambda s, o: s.OneCycleLR(
        o,
        max_lr=[0.1, 0.2],
        epochs=5,
        steps_per_epoch=4,
        anneal_strategy="linear",
        three_phase=True,
    ),
}


def make_optimizer(lib, kind="SGD"):
    groups = [{"params": [lib.nn.Parameter(lib.zeros(2))], "lr": lr} for lr in (0.05, 0.3)]
    return lib.optim.SGD(groups, lr=0.1, momentum=0.9) if kind == "SGD" else lib.optim.Adam(groups)


def values(optimizer):
    keys = ("lr", "momentum", "betas", "initial_lr")
    return [{k: group[k] for k in keys if k in group} for group in optimizer.param_groups]


def sequence(lib, build, steps=20, kind="SGD"):
    optimizer = make_optimizer(lib, kind)
    scheduler = build(lib.optim.lr_scheduler, optimizer)
    seen = [(values(optimizer), scheduler.get_last_lr())]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append((values(optimizer), scheduler.get_last_lr()))
    return seen


@pytest.mark.parametrize("name", SCHEDULERS)
def test_lrs_and_momentums_equal_pytorch_to_the_last_bit(name):
    assert sequence(gradstep, SCHEDULERS[name]) == sequence(torch, SCHEDULERS[name])


@pytest.mark.parametrize("name", ["CyclicLR_triangular", "OneCycleLR"])
def test_cycles_move_beta1_of_adam_like_pytorch(name):
    ours = sequence(gradstep, SCHEDULERS[name], kind="Adam")
    assert ours == sequence(torch, SCHEDULERS[name], kind="Adam")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_state_dict_resumes_in_the_middle(name):
    lib = gradstep
    optimizer = make_optimizer(lib)
    scheduler = SCHEDULERS[name](lib.optim.lr_scheduler, optimizer)
    for _ in range(7):
        optimizer.step()
        scheduler.step()
    saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))

    other = make_optimizer(lib)
    resumed = SCHEDULERS[name](lib.optim.lr_scheduler, other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for _ in range(9):
        for o, s in ((optimizer, scheduler), (other, resumed)):
            o.step()
            s.step()
        assert values(other) == values(optimizer)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_state_dict_has_pytorchs_keys(name):
    def keys(lib):
        state = SCHEDULERS[name](lib.optim.lr_scheduler, make_optimizer(lib)).state_dict()
        return {k for k in state if k not in ("_get_lr_called_within_step", "_is_initial")}

    assert keys(gradstep) == keys(torch)


@pytest.mark.parametrize(
    "name",
    [
        "StepLR",
        "MultiStepLR",
        "ConstantLR",
        "LinearLR",
        "ExponentialLR",
        "PolynomialLR",
        "CosineAnnealingLR",
    ],
)
def test_step_to_an_epoch_uses_the_closed_form_and_warns(name):
    def jump(lib):
        optimizer = make_optimizer(lib)
        scheduler = SCHEDULERS[name](lib.optim.lr_scheduler, optimizer)
        optimizer.step()
        lrs = []
        for epoch in (4, 1, 8):
            with pytest.warns(UserWarning, match="epoch parameter"):
                scheduler.step(epoch)
            lrs.append(scheduler.get_last_lr())
        return lrs

    assert jump(gradstep) == jump(torch)


def test_warm_restarts_take_fractional_epochs_like_pytorch():
    def jump(lib):
        optimizer = make_optimizer(lib)
        scheduler = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2)
        lrs = []
        for epoch in (0.5, 2.75, 3.0, 8.9, 9.1, 0.1):
            scheduler.step(epoch)
            lrs.append((scheduler.get_last_lr(), scheduler.T_cur, scheduler.T_i))
        return lrs

    assert jump(gradstep) == jump(torch)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 1, "threshold_mode": "abs", "threshold": 0.1},
        {"patience": 0, "cooldown": 2, "min_lr": [0.01, 0.02], "factor": 0.3},
    ],
)
def test_reduce_on_plateau_equals_pytorch(options):
    metrics = [1.0, 0.9, 0.95, 0.9, 0.9, 0.91, 0.8, 0.9, math.nan, 0.9, 0.9, 0.9, 0.9, 0.9, 0.7]

    def run(lib):
        optimizer = make_optimizer(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, **{"patience": 2, **options}
        )
        lrs = []
        for metric in metrics:
            scheduler.step(lib.tensor(metric))
            lrs.append((scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.in_cooldown))
        return lrs, scheduler.best

    assert run(gradstep) == run(torch)


def test_last_epoch_resumes_without_a_state_dict_like_pytorch():
    def resume(lib):
        optimizer = make_optimizer(lib)
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.7
        scheduler = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, last_epoch=4)
        return scheduler.get_last_lr(), scheduler.last_epoch

    assert resume(gradstep) == resume(torch)


def test_a_tensor_lr_is_updated_in_place():
    lr = gradstep.tensor(0.5)
    optimizer = make_optimizer(gradstep)
    optimizer.param_groups[0]["lr"] = lr
    scheduler = gradstep.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scheduler._opt_called = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == 0.25
    assert scheduler.base_lrs[0].item() == 0.5


def test_scheduler_before_optimizer_warns_once():
    optimizer = make_optimizer(gradstep)
    scheduler = gradstep.optim.lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_the_right_order_does_not_warn_and_leaves_step_unwrapped():
    optimizer = make_optimizer(gradstep)
    schedulers = [gradstep.optim.lr_scheduler.StepLR(optimizer, 2) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
    assert not hasattr(optimizer.step, "_wrapped_by_lr_sched")


def test_get_lr_outside_step_warns():
    scheduler = gradstep.optim.lr_scheduler.StepLR(make_optimizer(gradstep), 2)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


@pytest.mark.parametrize(
    "build",
    [
        lambda s, o: s.StepLR(object(), 2),
        lambda s, o: s.StepLR(o, 2, last_epoch=3),
        lambda s, o: s.LambdaLR(o, [len]),
        lambda s, o: s.MultiplicativeLR(o, 0.5),
        lambda s, o: s.ConstantLR(o, factor=1.5),
        lambda s, o: s.LinearLR(o, start_factor=0),
        lambda s, o: s.LinearLR(o, end_factor=2),
        lambda s, o: s.SequentialLR(o, [], []),
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
        lambda s, o: s.ChainedScheduler([]),
        lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
        lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
        lambda s, o: s.ReduceLROnPlateau(o, mode="up"),
        lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
        lambda s, o: s.CyclicLR(o, [0.1], 0.2),
        lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
        lambda s, o: s.OneCycleLR(o, 0.1),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=9, pct_start=1.5),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=9, anneal_strategy="log"),
        lambda s, o: s.StepLR(o, 2, verbose=True),
    ],
)
def test_mistakes_raise_pytorchs_exceptions(build):
    def error(lib):
        with pytest.raises((ValueError, TypeError, KeyError)) as caught:
            build(lib.optim.lr_scheduler, make_optimizer(lib))
        return caught.type

    assert error(gradstep) is error(torch)


def test_one_cycle_refuses_more_steps_than_announced():
    optimizer = make_optimizer(gradstep)
    scheduler = gradstep.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    optimizer.step()
    scheduler.step()
    scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        scheduler.step()
