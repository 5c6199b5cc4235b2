# SPDX-License-Identifier: Apache-2.0
"""Work that is under way while the host goes on: copies from and to pinned memory, streams, several GPUs. The emulated
GPU does what it is given at once; here the file runs once more with one that does nothing before it is waited for, in
the order that nobody asked for, and with two devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import gradstep as torch
from gradstep import nn

pytestmark = pytest.mark.cuda
two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
EMULATED = "shim" in os.environ.get("GRADSTEP_CUDA_PLUGIN", "")


@pytest.mark.skipif(not EMULATED or "GS_SHIM_ASYNC" in os.environ, reason="no emulated GPU")
def test_with_a_gpu_that_is_late():
    files = ("streams", "sharing", "graph", "api")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "cuda"]
        + [os.path.join(os.path.dirname(__file__), f"test_cuda_{name}.py") for name in files],
        env={**os.environ, "GS_SHIM_ASYNC": "1", "GS_SHIM_DEVICES": "2"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def cpu(n, value):
    return torch.full((n,), float(value), device="cpu")


# ---- pinned memory ----


def test_pinned_memory_is_not_reused_before_the_copy_has_read_it():
    n = 1 << 14
    arrived = []
    for i in range(8):
        staged = cpu(n, i).pin_memory()
        arrived.append(staged.to("cuda", non_blocking=True))
        del staged  # the copy may not have begun
    assert [x.sum().item() for x in arrived] == [float(n * i) for i in range(8)]


def test_pinned_memory_is_not_reused_before_the_copies_of_all_streams_have_read_it():
    n = 1 << 12
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    staged = cpu(n, 3).pin_memory()
    with torch.cuda.stream(first):
        a = staged.to("cuda", non_blocking=True)
    with torch.cuda.stream(second):
        b = staged.to("cuda", non_blocking=True)
    second.synchronize()
    del staged
    other = cpu(n, 7).pin_memory()
    first.synchronize()
    assert (a.sum().item(), b.sum().item(), other.sum().item()) == (3.0 * n, 3.0 * n, 7.0 * n)


def test_results_arrive_in_pinned_memory_behind_an_event():
    x = torch.arange(1000.0).reshape(10, 100)
    for y in (x, x.t(), x[:, ::2]):
        back = (y * 2).to("cpu", non_blocking=True)
        arrived = torch.cuda.current_stream().record_event()
        assert back.is_pinned()
        arrived.synchronize()
        assert back.tolist() == (y * 2).tolist()
    assert not x.cpu().is_pinned() and not x[:0].to("cpu", non_blocking=True).is_pinned()


def test_other_memory_may_be_changed_at_once():
    x = cpu(1000, 1)
    y = x.to("cuda", non_blocking=True)
    x.zero_()
    z = torch.zeros(1000)
    z.copy_(x.add_(2), non_blocking=True)
    x.zero_()
    assert y.sum().item() == 1000 and z.sum().item() == 2000
    back = torch.empty(1000, device="cpu")
    back.copy_(z, non_blocking=True)
    assert back.sum().item() == 2000


def test_copies_that_convert_wait_for_what_they_need():
    x = torch.arange(100.0, device="cpu").pin_memory()
    assert x.to("cuda", torch.float64, non_blocking=True).sum().item() == 4950
    out = torch.empty(10, 10, device="cpu").pin_memory()
    out.t().copy_(x.cuda().reshape(10, 10), non_blocking=True)
    torch.cuda.synchronize()
    assert out.tolist() == x.reshape(10, 10).t().tolist()


# ---- streams ----


def test_memory_of_another_stream_is_not_given_away_before_that_is_done():
    s = torch.cuda.Stream()
    x = torch.full((1 << 12,), 2.0)
    s.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(s):
        y = x * 3
        x.record_stream(s)
    del x
    z = torch.full((1 << 12,), 5.0)  # takes the block
    s.synchronize()
    assert y.sum().item() == 6.0 * (1 << 12) and z.sum().item() == 5.0 * (1 << 12)


def test_streams_wait_for_events():
    a, b = torch.cuda.Stream(), torch.cuda.Stream()
    with torch.cuda.stream(a):
        x = torch.ones(100) * 2
        ready = a.record_event()
    b.wait_event(ready)
    with torch.cuda.stream(b):
        y = x + 1
    b.synchronize()
    assert ready.query() and y.sum().item() == 300
    later = torch.cuda.Event(enable_timing=True)
    begin = torch.cuda.Event(enable_timing=True)
    begin.record()
    _ = x * x
    later.record()
    torch.cuda.synchronize()
    assert begin.elapsed_time(later) >= 0


# ---- several devices ----


@two_gpus
def test_tensors_move_between_gpus():
    for x in (torch.arange(12.0).reshape(3, 4), torch.arange(6, dtype=torch.bfloat16)):
        there = x.to("cuda:1")
        assert there.device == torch.device("cuda", 1) and there.tolist() == x.tolist()
        assert (there + 1).to("cuda:0").tolist() == (x + 1).tolist()
        assert there.to("cuda:0", torch.float64).tolist() == x.double().tolist()
        assert x.t().to("cuda:1").tolist() == x.t().tolist()
    out = torch.zeros(4, 3, device="cuda:1")
    out.t().copy_(torch.ones(3, 4))
    assert out.sum().item() == 12
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1!|cuda:1 and cuda:0!"):
        out + torch.ones(4, 3)


@two_gpus
def test_a_copy_between_gpus_waits_for_both_of_their_streams():
    n = 1 << 12
    source, target = torch.cuda.Stream(0), torch.cuda.Stream(1)
    y = torch.zeros(n, device="cuda:1")
    with torch.cuda.stream(source):
        x = torch.ones(n) * 2
        with torch.cuda.stream(target):
            target.wait_stream(torch.cuda.default_stream(1))
            y += 5  # before the copy overwrites it
            y.copy_(x)
            z = y * 10
        x.zero_()  # behind the copy
        x += 1
    torch.cuda.synchronize(1)
    assert z.sum().item() == 20.0 * n
    torch.cuda.synchronize(0)
    assert x.sum().item() == n


@two_gpus
def test_each_device_has_its_own_streams_events_memory_and_generator():
    c = torch.cuda
    with c.device(1):
        assert c.current_device() == 1 and c.current_stream().device_index == 1
        s = c.Stream()
        assert s.device_index == 1
        x = torch.ones(5, device="cuda")
        assert x.device.index == 1
        event = c.current_stream().record_event()
    assert c.current_device() == 0 and event.device == torch.device("cuda", 1)
    event.wait(c.current_stream())  # a stream of the other device may wait
    c.default_stream(1).wait_event(c.default_stream(0).record_event())
    with pytest.raises(
        RuntimeError, match="Event device 1 does not match recording stream's device 0"
    ):
        event.record(c.current_stream())
    with c.stream(s):
        assert c.current_device() == 1 and c.current_stream() == s
        y = torch.ones(5, device="cuda") * 2
        x.record_stream(s)
    assert c.current_device() == 0 and y.device.index == 1
    s.synchronize()
    assert y.sum().item() == 10 and s.query() and c.default_stream(1).query() in (True, False)
    before = c.memory_allocated(0), c.memory_allocated(1)
    z = torch.ones(1 << 16, device="cuda:1")
    assert c.memory_allocated(0) == before[0] and c.memory_allocated(1) > before[1]
    assert c.mem_get_info(1)[1] > 0 and c.get_device_properties(1).name
    c.manual_seed_all(3)
    assert torch.rand(4, device="cuda:1").tolist() == torch.rand(4, device="cuda:0").tolist()
    del z
    c.synchronize(1)


@two_gpus
def test_memory_used_on_the_other_devices_stream_is_waited_for():
    x = torch.full((1 << 12,), 2.0)
    s = torch.cuda.Stream(1)
    y = x.to("cuda:1")
    x.record_stream(s)
    y.record_stream(s)
    with torch.cuda.stream(s):
        s.wait_stream(torch.cuda.default_stream(1))
        z = y + 1
    del x, y
    w = torch.full((1 << 12,), 9.0, device="cuda:1")
    torch.cuda.synchronize(1)
    assert z.sum().item() == 3.0 * (1 << 12) and w.sum().item() == 9.0 * (1 << 12)


@two_gpus
def test_a_module_trains_on_the_second_gpu():
    torch.manual_seed(0)
    with torch.device("cpu"):
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
        x, labels = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])

    def losses(device):
        import copy

        mine = copy.deepcopy(net).to(device)
        optimizer = torch.optim.AdamW(mine.parameters(), lr=0.01)
        out = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(mine(x.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            out.append(loss.item())
        return out

    assert losses("cuda:1") == pytest.approx(losses("cpu"), rel=1e-5)


@two_gpus
def test_a_model_across_two_gpus():
    first, second = nn.Linear(3, 4, device="cuda:0"), nn.Linear(4, 2, device="cuda:1")
    out = second(first(torch.ones(5, 3)).relu().to("cuda:1"))
    out.sum().backward()
    assert first.weight.grad.device.index == 0 and second.weight.grad.device.index == 1
    assert first.weight.grad.abs().sum().item() >= 0


@two_gpus
def test_errors_of_kernels_belong_to_their_device():
    x = torch.ones(3, device="cuda:1")
    x[torch.tensor([7], device="cuda:1")]
    torch.cuda.synchronize(0)
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        torch.cuda.synchronize(1)


@two_gpus
def test_pinned_memory_serves_both_devices():
    n = 1 << 12
    staged = cpu(n, 3).pin_memory()
    a = staged.to("cuda:0", non_blocking=True)
    b = staged.to("cuda:1", non_blocking=True)
    torch.cuda.synchronize(1)
    del staged
    other = cpu(n, 7).pin_memory()
    assert (a.sum().item(), b.sum().item(), other.sum().item()) == (3.0 * n, 3.0 * n, 7.0 * n)
