# SPDX-License-Identifier: Apache-2.0
"""The profiler: what it counts, its schedules beside PyTorch's, its tables and traces."""

import gzip
import json
import time

import pytest
import torch as real

import gradstep as torch
from gradstep import nn
from gradstep.profiler import (
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from gradstep.utils import benchmark


def world(device="cpu"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(4, 8, device=device)

    def step():
        optimizer.zero_grad()
        with record_function("forward"):
            loss = net(x).square().mean()
        loss.backward()
        optimizer.step()

    step()
    return step


def test_launches_are_counted_under_the_ranges_that_they_are_in(device):
    step = world(device)
    with profile(record_shapes=True, profile_memory=True, with_stack=True) as prof:
        for _ in range(3):
            step()
    averages = {e.key: e for e in prof.key_averages()}
    assert averages["matmul"].count == 15 or device != "cpu"
    assert averages["multi_adam"].count == averages["forward"].count == 3
    parents = {e.name: e.cpu_parent.name for e in prof.events() if e.cpu_parent}
    assert parents["relu"] == "forward"
    assert parents["multi_adam"] == "Optimizer.step#Adam.step"
    for e in prof.events():
        assert 0 <= e.self_cpu_time_total <= e.cpu_time_total
    relu = next(e for e in prof.events() if e.name == "relu")
    assert [4, 8] in relu.input_shapes
    assert any("test_profiler.py" in line for line in relu.stack)
    table = prof.key_averages(group_by_input_shape=True).table(
        sort_by="cpu_time_total", row_limit=4
    )
    lines = table.splitlines()
    assert "CPU Mem" in lines[1] and "Input Shapes" in lines[1]
    assert len(lines) >= 4 + 3 and lines[-1].startswith("Self C")
    with pytest.raises(AttributeError):
        prof.key_averages().table(sort_by="no_such")


@pytest.mark.cpu_only
def test_nothing_is_looked_at_while_no_profiler_is_on():
    step = world()
    assert not torch._C._profiler_enabled()
    with profile() as prof:
        pass
    step()
    assert len(prof.events()) == 0
    with profile(), pytest.raises(RuntimeError, match="already enabled"):
        torch._C._profiler_start(False, False, False, False)
    with pytest.raises(IndexError), profile():
        torch.nn.functional.embedding(torch.tensor([9]), torch.ones(2, 2)).exp()
    assert not torch._C._profiler_enabled()


@pytest.mark.cpu_only
@pytest.mark.parametrize(
    "args",
    [
        {"wait": 1, "warmup": 1, "active": 2},
        {"wait": 0, "warmup": 1, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 0, "active": 3, "repeat": 1, "skip_first": 2},
        {"wait": 2, "warmup": 1, "active": 1, "skip_first": 1, "skip_first_wait": 1},
    ],
)
def test_schedules_are_pytorchs(args):
    ours, theirs = schedule(**args), real.profiler.schedule(**args)
    assert [ours(k).name for k in range(20)] == [theirs(k).name for k in range(20)]


@pytest.mark.cpu_only
def test_a_schedule_records_its_steps_and_hands_them_over():
    step = world()
    seen = []

    def ready(prof):
        seen.append([e.name for e in prof.events() if e.name.startswith("ProfilerStep")])

    with profile(
        schedule=schedule(wait=1, warmup=1, active=2, repeat=2), on_trace_ready=ready
    ) as p:
        for _ in range(10):
            step()
            p.step()
    assert seen == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]


@pytest.mark.cpu_only
def test_traces_are_what_chrome_and_perfetto_read(tmp_path):
    step = world()
    with profile(
        on_trace_ready=tensorboard_trace_handler(str(tmp_path), "w", use_gzip=True)
    ) as prof:
        step()
    prof.add_metadata_json("batch", "[4, 8]")
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = json.loads((tmp_path / "trace.json").read_text())
    (packed,) = tmp_path.glob("w.*.pt.trace.json.gz")
    assert json.loads(gzip.open(packed).read())["traceEvents"]
    assert trace["batch"] == [4, 8]
    complete = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {"matmul", "forward"} <= {e["name"] for e in complete}
    for e in complete:
        assert {"name", "cat", "pid", "tid", "ts", "dur"} <= set(e)
    forward = next(e for e in complete if e["name"] == "forward")
    relu = next(e for e in complete if e["name"] == "relu")
    assert forward["ts"] <= relu["ts"] and relu["dur"] <= forward["dur"]


@pytest.mark.cpu_only
def test_captured_steps_are_profiled_and_recorded_as_without():
    def run(profiled):
        step = torch.capture(world())
        for _ in range(2):
            step()
        if not profiled:
            step()
            return step, None
        with profile() as prof:
            step()
        return step, prof

    step, prof = run(True)
    assert {"multi_adam", "matmul"} <= {e.key for e in prof.key_averages()}
    assert step._entries()[0].replays == run(False)[0]._entries()[0].replays == 1
    with profile():  # recording while a profiler looks on
        step = torch.capture(world())
        for _ in range(4):
            step()
    assert step._entries()[0].replays == 2


@pytest.mark.cpu_only
def test_the_old_names_and_the_stacks(tmp_path):
    with torch.autograd.profiler.profile(with_stack=True) as prof:
        with torch.autograd.profiler.record_function("mine"):
            torch.ones(3).exp()
    assert prof.total_average().count == len(prof.function_events)
    assert "mine" in prof.table()
    prof.export_stacks(str(tmp_path / "stacks"))
    for line in (tmp_path / "stacks").read_text().splitlines():
        assert line.rsplit(" ", 1)[1].isdigit()
    with torch.autograd.profiler.profile(enabled=False) as nothing:
        assert nothing is None
    assert ProfilerActivity.CPU in supported_activities()

    @record_function("named")
    def f(x):
        return x.exp()

    with profile(activities=[ProfilerActivity.CPU]) as p:
        f(torch.ones(2))
    assert "named" in {e.key for e in p.events()}


@pytest.mark.cuda
def test_a_gpu_tells_how_long_its_kernels_took():
    step = world("cuda")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as prof:
        step()
    assert sum(e.self_device_time_total for e in prof.key_averages()) > 0
    assert "CUDA total" in prof.key_averages().table()


@pytest.mark.cpu_only
def test_a_timer_measures_seconds_for_one_execution():
    timer = benchmark.Timer("sleep(0.002)", globals={"sleep": time.sleep}, label="nap")
    measured = timer.timeit(3)
    assert 0.002 <= measured.median < 0.1 and measured.title == "nap"
    measured = timer.blocked_autorange(min_run_time=0.01)
    assert 0.002 <= measured.mean and "runs per measurement" in repr(measured)
    with pytest.raises(NotImplementedError):
        benchmark.Timer(language="c++")
