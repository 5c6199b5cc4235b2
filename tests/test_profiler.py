# SPDX-License-Identifier: Apache-2.0
"""torch.profiler: what is recorded, when, and the trace that is written."""

import gzip
import json

import pytest
import torch

import gradstep
from gradstep import profiler

pytestmark = pytest.mark.cpu_only


def train(steps, after=lambda: None):
    net = gradstep.nn.Sequential(gradstep.nn.Linear(2, 2), gradstep.nn.ReLU())
    optimizer = gradstep.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        with profiler.record_function("forward"):
            loss = net(gradstep.ones(1, 2)).sum()
        loss.backward()
        optimizer.step()
        after()


def test_modules_steps_and_named_blocks_are_recorded(tmp_path):
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], record_shapes=True) as prof:
        train(3)
    train(1)  # not recorded
    found = {e.key: e for e in prof.key_averages()}
    assert {key: e.count for key, e in found.items()} == {
        "forward": 3,
        "nn.Module: Sequential": 3,
        "nn.Module: Linear": 3,
        "nn.Module: ReLU": 3,
        "Optimizer.step#SGD.step": 3,
    }
    assert found["forward"].cpu_time_total >= found["nn.Module: Sequential"].cpu_time_total > 0
    assert all(e.self_cpu_time_total >= 0 for e in found.values())
    table = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=2)
    assert "Name" in table and "Self CPU time total" in table and len(table.splitlines()) == 7
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    prof.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert json.loads(gzip.open(tmp_path / "trace.json.gz").read()) == trace
    events = trace["traceEvents"]
    assert len(events) == 15 and all(e["ph"] == "X" and e["dur"] > 0 for e in events)
    inside, outside = events[1], events[0]
    assert outside["ts"] <= inside["ts"] and inside["dur"] <= outside["dur"]


def test_schedules_are_pytorchs():
    for kwargs in (
        dict(wait=1, warmup=1, active=2),
        dict(wait=0, warmup=1, active=1, repeat=2, skip_first=3),
        dict(wait=2, warmup=0, active=3, skip_first_wait=1),
    ):
        ours, theirs = profiler.schedule(**kwargs), torch.profiler.schedule(**kwargs)
        for step in range(20):
            assert ours(step).name == theirs(step).name, (kwargs, step)


def test_a_schedule_saves_each_of_its_parts(tmp_path):
    told = []
    with profiler.profile(
        schedule=profiler.schedule(wait=1, warmup=1, active=2, repeat=2),
        on_trace_ready=lambda p: told.append([e.name for e in p.events() if "Step#" in e.name]),
    ) as prof:
        train(10, prof.step)
    assert told == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    with profiler.profile(on_trace_ready=profiler.tensorboard_trace_handler(str(tmp_path), "me")):
        train(1)
    assert [p.name.startswith("me.") for p in tmp_path.glob("*.pt.trace.json")] == [True]


def test_an_exception_leaves_nothing_open():
    with pytest.raises(ZeroDivisionError):
        with profiler.profile() as prof:
            with profiler.record_function("outer"):
                1 / 0  # noqa: B018
    assert [e.name for e in prof.events()] == ["outer"]
    with profiler.profile():
        with pytest.raises(RuntimeError, match="already enabled"):
            profiler.profile().start()


def test_the_older_form():
    with gradstep.autograd.profiler.profile(use_cuda=False) as prof:
        with gradstep.autograd.profiler.record_function("block"):
            gradstep.ones(1)
    assert "block" in prof.table() and prof.total_average().count == 1
    with pytest.raises(TypeError):
        gradstep.autograd.profiler.profile(nothing=1)
