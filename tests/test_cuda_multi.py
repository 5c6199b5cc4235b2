# SPDX-License-Identifier: Apache-2.0
"""Lists of tensors on a GPU: how many kernels a step takes, old drivers, capture, several devices."""

import os
import subprocess
import sys

import pytest

import gradstep as torch
from devices import launches
from gradstep import nn

pytestmark = pytest.mark.cuda

MANY = 161  # ResNet-50's parameters


def parameters(n=MANY):
    params = [nn.Parameter(torch.ones(i % 5 + 1)) for i in range(n)]
    for p in params:
        p.grad = torch.full_like(p, 0.5)
    return params


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "NAdam", "ASGD", "Adagrad"])
def test_a_step_is_one_launch(name):
    for n in (4, MANY):
        params = parameters(n)
        optimizer = getattr(torch.optim, name)(params, lr=0.1)
        optimizer.step()  # makes the state
        assert launches(optimizer.step) == 1
        optimizer.param_groups[0]["lr"] = torch.tensor(0.1)
        assert launches(optimizer.step) == 1
        if name != "SGD":
            assert all(optimizer.state[p]["step"].item() == 3 for p in params)


def test_lists_beyond_the_arguments_take_several_launches():
    params = parameters(1500)
    optimizer = torch.optim.Adam(params, lr=0.1)
    optimizer.step()
    assert launches(optimizer.step) == 3
    assert {optimizer.state[p]["step"].item() for p in params} == {2.0}
    assert len({p[0].item() for p in params}) == 1


def test_clipping_is_two_launches():
    params = parameters()
    clip = nn.utils.clip_grad_norm_
    assert launches(lambda: clip(params, 0.5)) == 2
    assert launches(lambda: clip(params, 0.5, float("inf"))) == 2
    assert launches(lambda: nn.utils.get_total_norm([p.grad for p in params])) == 2
    total = torch.tensor(3.0)
    assert launches(lambda: nn.utils.clip_grads_with_norm_(params, 0.5, total)) == 1
    assert launches(lambda: nn.utils.clip_grad_value_(params, 0.1)) == 1


def test_unscaling_and_the_scale_are_one_launch_each():
    params = parameters()
    optimizer = torch.optim.Adam(params)
    scaler = torch.amp.GradScaler("cuda")
    found, one = torch.zeros(()), torch.ones(())
    grads = [p.grad for p in params]
    unscale = torch._C._amp_foreach_non_finite_check_and_unscale_
    assert launches(lambda: unscale(grads, found, one)) == 1
    scaler.scale(one)
    scaler.step(optimizer)
    assert launches(scaler.update) == 1
    # Three for 1 / scale, one each for unscaling and the step; zeroing found_inf is no kernel.
    assert launches(lambda: scaler.step(optimizer)) == 5


def test_no_step_with_a_scaler_waits_for_the_gpu():
    """Where a graph is captured the host can read nothing."""
    for fused in (None, True):
        p = nn.Parameter(torch.ones(5))
        p.grad = torch.ones(5)
        optimizer = torch.optim.Adam([p], lr=0.5, fused=fused)
        scaler = torch.amp.GradScaler("cuda", init_scale=8.0, growth_interval=2)
        loss, source = torch.ones(()), torch.full((5,), 8.0)

        def step(p=p, optimizer=optimizer, scaler=scaler, loss=loss, source=source):
            p.grad.copy_(source)
            scaler.scale(loss)
            scaler.step(optimizer)
            scaler.update()

        step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        scales, counts, values = [], [], []
        for bad in (False, True, True, False, False):
            source.fill_(float("inf") if bad else 8.0)
            graph.replay()
            scales.append(scaler.get_scale())
            counts.append(optimizer.state[p]["step"].item())
            values.append(p[0].item())
        assert scales == [16.0, 8.0, 4.0, 4.0, 8.0]
        assert counts == [2, 2, 2, 3, 4]
        assert values[0] == values[1] == values[2] > values[3] > values[4]


def test_streams_count_apart():
    params = parameters(4)
    optimizer = torch.optim.Adam(params, lr=0.1)
    for stream in (torch.cuda.Stream(), torch.cuda.Stream()):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            optimizer.step()
        torch.cuda.current_stream().wait_stream(stream)
    optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in params] == [3.0] * 4


def test_counters_of_parameters_without_elements_go_on():
    p = nn.Parameter(torch.ones(0, 3))
    p.grad = torch.ones(0, 3)
    optimizer = torch.optim.Adam([p])
    for _ in range(3):
        optimizer.step()
    assert optimizer.state[p]["step"].item() == 3


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_counters_on_the_cpu_know_of_skipped_steps(found):
    params = parameters(3)
    optimizer = torch.optim.Adam(params, lr=0.1)
    optimizer.step()
    for p in params:
        optimizer.state[p]["step"] = optimizer.state[p]["step"].cpu()
    optimizer.found_inf = torch.tensor(found)
    before = params[0].tolist()
    optimizer.step()
    assert optimizer.state[params[0]]["step"].item() == 2 - found
    assert (params[0].tolist() == before) == bool(found)


def test_parameters_on_two_devices_in_one_optimizer():
    rate = torch.tensor(0.25)
    for lr in (0.25, rate, rate.cpu()):
        for name in ("SGD", "Adam"):
            params = [nn.Parameter(torch.ones(3, device=d)) for d in ("cuda", "cpu", "cuda")]
            optimizer = getattr(torch.optim, name)(params, lr=lr)
            for _ in range(2):
                for p in params:
                    p.grad = torch.ones(3, device=p.device)
                optimizer.step()
            for p in params:
                torch.testing.assert_close(p.detach().cpu(), torch.full((3,), 0.5, device="cpu"))
    scaler = torch.amp.GradScaler("cuda", init_scale=4.0)
    scaler.scale(torch.ones(()))
    params[1].grad[0] = float("inf")
    before = [p.tolist() for p in params]
    scaler.step(optimizer)
    scaler.update()
    assert [p.tolist() for p in params] == before and scaler.get_scale() == 2.0


def test_a_gradient_on_another_device_is_refused():
    p = nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError, match="device"):
        p.grad = torch.ones(3, device="cpu")
    p.grad = torch.ones(3)
    optimizer = torch.optim.Adam([p])
    optimizer.step()
    state = optimizer.state[p]
    state["exp_avg"] = state["exp_avg"].cpu()
    with pytest.raises(RuntimeError, match="the state exp_avg of shape"):
        optimizer.step()


OLD_DRIVER = """
import gradstep as torch
from devices import launches
from test_cuda_multi import parameters
torch.set_default_device("cuda")
params = parameters()
optimizer = torch.optim.Adam(params, lr=0.1)
optimizer.step()
count = launches(optimizer.step)
total = torch.nn.utils.clip_grad_norm_(parameters(600), 1.0).item()
print(count, sorted({round(p[0].item(), 4) for p in params}), round(total, 3))
"""


def test_an_old_driver_gets_short_arguments():
    found = []
    for driver in ("12000", "12010"):
        env = {**os.environ, "GS_SHIM_DRIVER": driver, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", OLD_DRIVER], env=env, capture_output=True, text=True
        )
        if "shim_launches" in run.stderr or "Skipped" in run.stderr:
            pytest.skip("only the emulated GPU has a driver to choose")
        assert run.returncode == 0, run.stderr
        found.append(run.stdout.split(maxsplit=1))
    assert (found[0][0], found[1][0]) == ("3", "1") and found[0][1] == found[1][1]


@pytest.mark.parametrize(
    "fill, dtype, text",
    [
        (lambda t: t.normal_(), "int64", "normal_kernel_cuda"),
        (lambda t: t.log_normal_(), "int64", "log_normal_cuda"),
        (lambda t: t.geometric_(0.5), "bool", "geometric_cuda"),
        (lambda t: torch.randperm(3, dtype=torch.bool), "bool", "randperm_out_cuda"),
        (lambda t: t.random_(-(2**63), None), "bool", "random_full_64_bits_range_kernel_cuda"),
    ],
)
def test_errors_of_random_fills_name_the_gpus_kernels(fill, dtype, text):
    with pytest.raises(NotImplementedError, match=f'"{text}" not implemented for'):
        fill(torch.zeros(3, dtype=getattr(torch, dtype)))
