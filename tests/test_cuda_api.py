# SPDX-License-Identifier: Apache-2.0
"""What a user sees of CUDA: torch.cuda, moving tensors, pinned memory, mixed devices, files. And that without a GPU
there are PyTorch's errors."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
import threading

import pytest

import gradstep as torch
from gradstep import nn
from gradstep.utils.data import DataLoader, TensorDataset

cuda_only = pytest.mark.cuda


def cpu(*values):
    return torch.tensor(*values, device="cpu")


# ---- without a GPU ----


def without_gpu(code: str) -> str:
    """What the code prints in a process that sees no GPU."""
    env = {k: v for k, v in os.environ.items() if k != "GRADSTEP_CUDA_PLUGIN"}
    env |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


USES = """
torch.ones(2, device="cuda")
torch.ones(2).cuda()
torch.ones(2).to("cuda:0")
torch.nn.Linear(2, 2).cuda()
torch.tensor([1.0], device="cuda")
torch.empty(2, pin_memory=True)
torch.ones(2).pin_memory()
torch.cuda.init()
torch.cuda.synchronize()
torch.cuda.current_device()
torch.cuda.set_device(0)
torch.cuda.get_device_name()
torch.cuda.get_device_properties(0)
torch.cuda.current_stream()
torch.cuda.Stream()
torch.cuda.Event()
torch.cuda.mem_get_info()
torch.cuda.memory_summary()
torch.set_default_device("cuda"); torch.ones(2)
"""


@pytest.mark.cpu_only
def test_each_use_of_a_missing_gpu_raises_and_says_why():
    out = without_gpu(f"""
import gradstep as torch
for line in {USES!r}.strip().splitlines():
    torch.set_default_device("cpu")
    try:
        exec(line)
        print("nothing raised by", line)
    except (RuntimeError, AssertionError) as error:
        print(error)
""")
    reasons = (
        "Found no NVIDIA driver on your system",
        "not compiled with CUDA enabled",
        "No CUDA GPUs are available",
    )
    lines = out.splitlines()
    assert len(lines) == len(USES.strip().splitlines())
    for line, use in zip(lines, USES.strip().splitlines(), strict=True):
        assert any(reason in line for reason in reasons), (use, line)


@pytest.mark.cpu_only
def test_what_needs_no_gpu_works_without_one():
    out = without_gpu("""
import gradstep as torch, sys
c = torch.cuda
print(c.is_available(), c.device_count(), c.is_initialized(), c.is_bf16_supported(), c.get_arch_list())
print(c.memory_allocated(), c.max_memory_allocated(), c.memory_reserved(), c.memory_stats())
c.empty_cache(); c.reset_peak_memory_stats(); c.manual_seed(1); c.manual_seed_all(1)
with c.stream(None), c.device(None): pass
print(torch.ones(2).is_pinned(), torch.ones(2).is_cuda, torch.ones(2).get_device(), torch.device("cuda:1"))
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.benchmark = True
print(torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.cudnn.version())
print(torch.backends.cudnn.is_available(), issubclass(c.OutOfMemoryError, RuntimeError))
""")
    assert out.splitlines() == [
        "False 0 False False []",
        "0 0 0 OrderedDict()",
        "False False -1 cuda:1",
        "high True None",
        "False True",
    ]


@pytest.mark.cpu_only
def test_importing_loads_nothing_of_cuda():
    out = without_gpu("""
import gradstep
maps = open("/proc/self/maps").read()
print("libcuda" in maps or "gradstep_cuda" in maps, gradstep._C._cuda_is_initialized())
""")
    assert out.split() == ["False", "False"]


@pytest.mark.cpu_only
def test_a_checkpoint_of_a_gpu_needs_map_location_without_one(tmp_path):
    path = str(tmp_path / "x.pt")
    torch.save({"w": torch.ones(2)}, path)
    data = open(path, "rb").read()
    assert data.count(b"X\x03\x00\x00\x00cpu") == 1  # pickle's opcode, the length, the text
    # The checksum of the pickle would not hold: written anew below.
    out = without_gpu(f"""
import gradstep as torch, zipfile, io, warnings
old, new = zipfile.ZipFile({path!r}), io.BytesIO()
with zipfile.ZipFile(new, "w") as z:
    for name in old.namelist():
        z.writestr(name, old.read(name).replace(b"X\\x03\\x00\\x00\\x00cpu", b"X\\x06\\x00\\x00\\x00cuda:0"))
for where in (None, "cpu", {{"cuda:0": "cpu"}}, lambda storage, location: storage):
    new.seek(0)
    try:
        print(torch.load(new, map_location=where)["w"].tolist())
    except RuntimeError as error:
        print(error)
""")
    first, *others = out.splitlines()
    assert (
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False"
        in first
    )
    assert "map_location=torch.device('cpu')" in first
    assert others == ["[1.0, 1.0]"] * 3


@pytest.mark.cpu_only
def test_pinning_in_a_loader_without_a_gpu_warns():
    out = without_gpu("""
import gradstep as torch, warnings
from gradstep.utils.data import DataLoader
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    print([x.tolist() for x in DataLoader([1, 2, 3], batch_size=2, pin_memory=True)])
print("no accelerator is found" in str(seen[0].message))
""")
    assert out.splitlines() == ["[[1, 2], [3]]", "True"]


# ---- the default device ----


def test_the_default_device_of_blocks_and_of_the_thread(device):
    before = torch.get_default_device()
    assert before.type == device
    with torch.device("cpu"):
        assert torch.ones(2).device.type == "cpu"
        with torch.device(device):
            assert torch.ones(2).device.type == device
        assert torch.get_default_device() == torch.device("cpu")
    assert torch.get_default_device() == before
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.ones(2).device.type))
    thread.start()
    thread.join()
    assert seen == ["cpu"]  # the default is the thread's own


FACTORIES = {
    "zeros": lambda **kw: torch.zeros(2, **kw),
    "ones": lambda **kw: torch.ones(2, **kw),
    "empty": lambda **kw: torch.empty(2, **kw),
    "full": lambda **kw: torch.full((2,), 3.0, **kw),
    "tensor": lambda **kw: torch.tensor([1, 2], **kw),
    "as_tensor": lambda **kw: torch.as_tensor([1, 2], **kw),
    "asarray": lambda **kw: torch.asarray([1, 2], **kw),
    "as_tensor of a tensor": lambda **kw: torch.as_tensor(cpu([1, 2]), **kw),
    "scalar_tensor": lambda **kw: torch.scalar_tensor(2, **kw),
    "arange": lambda **kw: torch.arange(5, **kw),
    "linspace": lambda **kw: torch.linspace(0, 1, 5, **kw),
    "logspace": lambda **kw: torch.logspace(0, 1, 5, **kw),
    "eye": lambda **kw: torch.eye(3, **kw),
    "empty_strided": lambda **kw: torch.empty_strided((2, 2), (1, 2), **kw),
    "tril_indices": lambda **kw: torch.tril_indices(3, 3, **kw),
    "rand": lambda **kw: torch.rand(3, **kw),
    "randn": lambda **kw: torch.randn(3, **kw),
    "randint": lambda **kw: torch.randint(3, (4,), **kw),
    "randperm": lambda **kw: torch.randperm(4, **kw),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_follow_the_default_device(name, device):
    make = FACTORIES[name]
    assert make().device.type == device
    assert make(device="cpu").device.type == "cpu"
    assert make(device=device).device == make().device
    with torch.device("cpu"):
        assert make().device.type == "cpu"
        assert make(device=device).device.type == device


def test_tensors_made_from_a_tensor_are_where_it_is(device):
    x = torch.ones(2, 3)
    made = [
        torch.zeros_like(x),
        torch.rand_like(x),
        x.new_zeros(2),
        x.new_full((2,), 3),
        x.new_empty(2),
        x.new_tensor([1, 2]),
        x.new(2, 3),
        x.clone(),
        copy.copy(x),
        copy.deepcopy(x),
        pickle.loads(pickle.dumps(x)),
    ]
    with torch.device("cpu"):
        made += (
            [torch.tensor(x), torch.as_tensor(x), torch.zeros_like(x)] if device == "cpu" else []
        )
    assert {t.device for t in made} == {x.device}
    assert torch.zeros_like(x, device="cpu").device.type == "cpu"
    assert x.new_tensor([1], device="cpu").device.type == "cpu"


# ---- torch.cuda ----


@cuda_only
def test_devices():
    c = torch.cuda
    assert c.is_available() and c.is_initialized() and c.device_count() >= 1
    p = c.get_device_properties()
    assert p.name == c.get_device_name(0) == c.get_device_name("cuda:0") and p.total_memory > 0
    assert c.get_device_capability() == (p.major, p.minor) and p.multi_processor_count > 0
    assert repr(p).startswith(f"_CudaDeviceProperties(name='{p.name}', major={p.major}")
    before = c.current_device()
    c.set_device(before)
    c.set_device(-1)  # no change
    with c.device(before), c.device_of(torch.ones(1)), c.device_of(cpu(1)):
        assert c.current_device() == before
    assert torch.ones(1).get_device() == before
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        c.set_device(99)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1, device="cuda:99")
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        c.set_device("cpu")
    with pytest.raises(AssertionError, match="Invalid device id"):
        c.get_device_properties(99)


@cuda_only
def test_streams():
    c = torch.cuda
    s = c.Stream()
    assert s != c.default_stream() and c.current_stream() == c.default_stream()
    assert s.device == torch.ones(1).device and len({s, c.Stream(), c.default_stream()}) == 3
    x = torch.ones(1000)
    s.wait_stream(c.current_stream())
    with c.stream(s):
        assert c.current_stream() == s
        with c.stream(None):
            assert c.current_stream() == s
        y = x * 2
        x.record_stream(s)
    assert c.current_stream() == c.default_stream()
    c.current_stream().wait_stream(s)
    y.record_stream(c.current_stream())
    assert (y + x).sum().item() == 3000
    s.synchronize()
    assert s.query()
    with s:
        assert c.current_stream() == s
    assert c.ExternalStream(s.cuda_stream) == s
    assert (
        repr(s)
        == f"<torch.cuda.Stream device=cuda:{s.device_index} cuda_stream={s.cuda_stream:#x}>"
    )
    names = {c.Stream().cuda_stream for _ in range(100)}
    assert len(names) <= 32  # they are handed out in turn
    with pytest.raises(RuntimeError, match="expected a CUDA tensor"):
        cpu(1.0).record_stream(s)


@cuda_only
def test_the_current_stream_is_the_threads_own():
    s = torch.cuda.Stream()
    seen = []
    with torch.cuda.stream(s):
        thread = threading.Thread(target=lambda: seen.append(torch.cuda.current_stream()))
        thread.start()
        thread.join()
    assert seen == [torch.cuda.default_stream()]


@cuda_only
def test_events_measure_time():
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    assert start.query() and repr(start) == "<torch.cuda.Event uninitialized>"
    with pytest.raises(RuntimeError, match="Both events must be recorded"):
        start.elapsed_time(end)
    start.record()
    x = torch.ones(1000) + 1
    torch.cuda.current_stream().record_event(end)
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0
    end.wait(torch.cuda.Stream())
    plain = torch.cuda.Stream().record_event()
    plain.synchronize()
    with pytest.raises(RuntimeError, match="enable_timing=True"):
        start.elapsed_time(plain)
    assert x[0].item() == 2


@cuda_only
def test_memory_is_counted():
    c = torch.cuda
    c.synchronize()
    before = c.memory_allocated()
    x = torch.empty(1 << 18)
    assert c.memory_allocated() - before >= 1 << 20
    assert (
        c.max_memory_allocated() >= c.memory_allocated()
        and c.memory_reserved() >= c.memory_allocated()
    )
    del x
    assert c.memory_allocated() == before < c.max_memory_allocated()
    c.reset_peak_memory_stats()
    assert c.max_memory_allocated() == before
    stats = c.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert (
        stats["allocation.all.current"]
        == stats["allocation.all.allocated"] - stats["allocation.all.freed"]
    )
    free, total = c.mem_get_info()
    assert 0 < free <= total
    c.empty_cache()
    assert c.memory_reserved() <= stats["reserved_bytes.all.current"]
    assert "Allocated memory" in c.memory_summary()


@cuda_only
def test_running_out_of_memory_leaves_the_process_usable():
    c = torch.cuda
    total = c.mem_get_info()[1]
    failed = c.memory_stats()["num_ooms"]
    with pytest.raises(c.OutOfMemoryError, match="CUDA out of memory. Tried to allocate ") as error:
        torch.empty(4 * total, dtype=torch.uint8)
    assert c.OutOfMemoryError is torch.OutOfMemoryError and isinstance(error.value, RuntimeError)
    for what in (
        f"GPU {c.current_device()} has a total capacity of",
        "is free",
        "is allocated",
        "is reserved",
    ):
        assert what in str(error.value)
    assert c.memory_stats()["num_ooms"] == failed + 1 and c.memory_stats()["num_alloc_retries"] > 0
    assert (torch.ones(10) + 1).sum().item() == 20


@cuda_only
def test_a_forked_process_is_told_that_it_has_no_cuda():
    torch.cuda.init()
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            torch.ones(2)
        except RuntimeError as error:
            os.write(send, str(error).encode())
        os._exit(0)
    os.close(send)
    os.waitpid(child, 0)
    with os.fdopen(receive) as f:
        assert "Cannot re-initialize CUDA in forked subprocess" in f.read()


# ---- moving ----


@cuda_only
@pytest.mark.parametrize("dtype", "bool uint8 int64 float16 bfloat16 float32 float64".split())
def test_there_and_back(dtype):
    there = getattr(torch, dtype)
    x = torch.arange(24, device="cpu").reshape(4, 6).to(there)
    for view in (x, x.t(), x[:, 1], x[::2, ::3], x[:0], x[0, 0], x[0].expand(3, 6)):
        y = view.cuda()
        assert y.is_cuda and y.dtype == there and y.shape == view.shape
        assert y.cpu().tolist() == view.tolist() == y.tolist()
        assert y.to("cpu", torch.float64).tolist() == view.double().tolist()
        assert y.to("cuda") is y and view.cpu() is view and y.cuda(y.device) is y
    assert x.t().cuda().stride() == (1, 6) and x.t().cuda().cpu().stride() == (1, 6)
    target = torch.zeros(6, 4, dtype=there)
    target.t().copy_(x)
    assert target.tolist() == x.t().tolist()
    back = torch.zeros(4, 6, dtype=there, device="cpu")
    back.t().copy_(target)
    assert back.tolist() == x.tolist()


@cuda_only
def test_moving_is_differentiable():
    x = cpu([1.0, 2.0]).requires_grad_()
    y = x.cuda()
    (y * y).sum().backward()
    assert y.device.type == "cuda" and x.grad.device.type == "cpu" and x.grad.tolist() == [2.0, 4.0]
    x.grad = None
    (x.cuda() * 3).sum().backward(cpu(2.0))  # a CPU number is a gradient, too
    assert x.grad.tolist() == [6.0, 6.0]
    with pytest.raises(RuntimeError, match="expected device cuda:0 but got cpu"):
        x.cuda().backward(cpu([1.0, 1.0]))
    with pytest.raises(RuntimeError, match="assigned grad has data located on a different device"):
        x.grad = torch.ones(2)


@cuda_only
def test_facts():
    x = torch.ones(2, 3)
    assert (
        x.is_cuda and not x.is_cpu and x.device == torch.device("cuda", 0) and x.get_device() == 0
    )
    assert repr(x) == "tensor([[1., 1., 1.],\n        [1., 1., 1.]], device='cuda:0')"
    assert x.type() == "torch.cuda.FloatTensor" and x.type("torch.FloatTensor").device.type == "cpu"
    assert cpu([1.0]).type("torch.cuda.HalfTensor").dtype == torch.float16
    with pytest.raises(
        TypeError, match="can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu"
    ):
        x.numpy()
    assert x.numpy(force=True).sum() == 6
    assert (
        f"{x[0, 0]:.2f}" == "1.00"
        and float(x[0, 0]) == 1.0
        and bool(x[0, 0])
        and x.tolist() == [[1.0] * 3] * 2
    )
    assert torch.tensor([x[0, 0], x[0, 1]]).tolist() == [1.0, 1.0]
    y = torch.ones(2)
    y.resize_(4)[2:] = 5
    assert y.tolist() == [1.0, 1.0, 5.0, 5.0]


@cuda_only
def test_cuda_array_interface():
    x = torch.arange(6.0).reshape(2, 3)
    assert x.__cuda_array_interface__ == {
        "typestr": "<f4", "shape": (2, 3), "strides": None, "data": (x.data_ptr(), False), "version": 2,
    }  # fmt: skip
    assert x.t().__cuda_array_interface__["strides"] == (4, 12)
    with pytest.raises(RuntimeError, match="requires grad"):
        _ = torch.ones(2, requires_grad=True).__cuda_array_interface__
    with pytest.raises(AttributeError, match="non-CUDA tensor"):
        _ = cpu([1.0]).__cuda_array_interface__


# ---- pinned memory ----


@cuda_only
def test_pinned_memory():
    x = torch.arange(1000.0, device="cpu")
    p = x.pin_memory()
    assert p.is_pinned() and not x.is_pinned() and p.pin_memory() is p and torch.equal(p, x)
    assert p[10:].is_pinned() and not torch.ones(1).is_pinned()
    on_gpu = p.to("cuda", non_blocking=True)
    back = torch.empty(1000, device="cpu", pin_memory=True)
    back.copy_(on_gpu, non_blocking=True)
    torch.cuda.synchronize()
    assert torch.equal(back, x) and back.is_pinned()
    assert torch.rand(3, device="cpu", pin_memory=True).is_pinned()
    assert torch.tensor([1], device="cpu", pin_memory=True).is_pinned()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        on_gpu.pin_memory()


@cuda_only
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_pins_its_batches(workers):
    with torch.device("cpu"):
        data = TensorDataset(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    for x, y in DataLoader(data, batch_size=4, pin_memory=True, num_workers=workers):
        assert x.is_pinned() and y.is_pinned()
        assert x.cuda(non_blocking=True)[:, 0].tolist() == [2.0 * i for i in y.tolist()]


@cuda_only
def test_a_loader_of_tensors_on_the_gpu():
    data = TensorDataset(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    order = torch.Generator("cuda")
    for loader in (
        DataLoader(data, batch_size=4, shuffle=True),
        DataLoader(data, 4, shuffle=True, generator=order),
    ):
        batches = list(loader)
        assert all(x.is_cuda and y.is_cuda for x, y in batches)
        assert sorted(i for _, y in batches for i in y.tolist()) == list(range(6))


# ---- several devices in one operation ----


@cuda_only
@pytest.mark.parametrize(
    "op",
    [
        lambda x, s: x + s, lambda x, s: s + x, lambda x, s: s - x, lambda x, s: x * s, lambda x, s: s / x,
        lambda x, s: x ** s, lambda x, s: x > s, lambda x, s: torch.maximum(x, s), lambda x, s: torch.where(x > 1, x, s),
        lambda x, s: torch.where(x > 1, s, s), lambda x, s: x.clamp(s, s + 1), lambda x, s: x.masked_fill(x > 1, s),
        lambda x, s: x.clone().add_(s), lambda x, s: x.clone().mul_(s), lambda x, s: x.clone().fill_(s),
        lambda x, s: x.long() + s, lambda x, s: x.half() * s.double(), lambda x, s: x.addcmul(s, x),
        lambda x, s: x[0, 0] + s, lambda x, s: x.lerp(x + 1, s), lambda x, s: torch.atan2(s, x),
    ],
)  # fmt: skip
def test_a_number_on_the_cpu_goes_with_tensors_on_the_gpu(op):
    x, s = cpu([[0.5, 1.0, 2.0]]), cpu(1.5)
    expected, got = op(x, s), op(x.cuda(), s)
    assert got.is_cuda and got.dtype == expected.dtype and got.shape == expected.shape
    torch.testing.assert_close(got.cpu(), expected)


@cuda_only
def test_gradients_reach_a_number_on_the_cpu():
    s = cpu(2.0).requires_grad_()
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * s + x / s).sum().backward()
    assert s.grad.device.type == "cpu" and s.grad.item() == 3 - 3 / 4
    assert x.grad.tolist() == [2.5, 2.5]
    y = torch.ones(2)
    y.mul_(s)
    y.sum().backward()
    assert s.grad.item() == 3 - 3 / 4 + 2


@cuda_only
@pytest.mark.parametrize(
    "op",
    [
        lambda x, y: x + y, lambda x, y: y * x, lambda x, y: torch.where(x > 0, x, y), lambda x, y: y.add_(x),
        lambda x, y: x.add_(y), lambda x, y: y[0].clone().add_(x), lambda x, y: y + x[0], lambda x, y: x @ y,
        lambda x, y: torch.cat([x, y]), lambda x, y: torch.stack([x, y]), lambda x, y: torch.equal(x, y),
        lambda x, y: nn.functional.linear(x, y), lambda x, y: nn.functional.mse_loss(x, y),
        lambda x, y: nn.functional.cross_entropy(x[None], y.long()[:1]), lambda x, y: x.gather(0, y.long()),
        lambda x, y: x.index_select(0, y.long()), lambda x, y: x.masked_fill(y > 0, 0.0), lambda x, y: x.scatter(0, y.long(), x),
        lambda x, y: nn.functional.embedding(y.long(), x[None]), lambda x, y: nn.functional.layer_norm(x, (2,), y),
        lambda x, y: torch.dot(x, y), lambda x, y: nn.Linear(2, 2, device="cpu")(x), lambda x, y: torch.linalg.solve(torch.eye(2), y),
    ],
)  # fmt: skip
def test_tensors_of_two_devices_are_refused(op):
    x, y = torch.tensor([1.0, 1.0]), cpu([1.0, 1.0])
    with pytest.raises(
        RuntimeError,
        match="Expected all tensors to be on the same device, but found at least two devices, (cpu|cuda:0) and (cpu|cuda:0)!",
    ):
        op(x, y)
    assert (x + 1).tolist() == [2.0, 2.0]
    torch.cuda.synchronize()


@cuda_only
def test_indices_on_the_cpu():
    x = torch.arange(12.0).reshape(3, 4)
    rows = cpu([2, 0])
    assert x[rows].tolist() == x.cpu()[rows].tolist() and x[rows].is_cuda
    assert x[:, rows].tolist() == x.cpu()[:, rows].tolist()
    assert x[rows, cpu([1, 1])].tolist() == [9.0, 1.0]
    assert x[cpu(1)].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert x[cpu([True, False, True])].tolist() == x.cpu()[[0, 2]].tolist()
    assert x[x.cpu() > 9].tolist() == [10.0, 11.0]
    x[rows] = cpu(-1.0)
    x[x.cpu() > 6] = 0
    x[1, cpu([0, 1])] = torch.tensor([20.0, 21.0])
    x[0] = cpu([1.0, 2.0, 3.0, 4.0])  # a copy: any device
    assert x.tolist() == [[1.0, 2.0, 3.0, 4.0], [20.0, 21.0, 6.0, 0.0], [-1.0] * 4]
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        x[rows] = cpu([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(
        RuntimeError,
        match=r"indices should be either on cpu or on the same device as the indexed tensor \(cpu\)",
    ):
        x.cpu()[rows.cuda()]


# ---- modules, optimizers, files ----


def small_net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def train_step(net, optimizer, x):
    optimizer.zero_grad()
    loss = net(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


@cuda_only
def test_modules_move():
    net = small_net().cpu()
    params = list(net.parameters())
    assert net.cuda() is net and all(
        p.is_cuda and p.is_leaf and p.requires_grad for p in net.parameters()
    )
    assert all(a is b for a, b in zip(params, net.parameters(), strict=True))
    assert all(b.is_cuda for b in net.buffers())
    assert {p.device.type for p in net.cpu().parameters()} == {"cpu"}
    net.to("cuda").to(torch.float64)
    assert {(p.device.type, p.dtype) for p in net.parameters()} == {("cuda", torch.float64)}
    assert {p.device.type for p in net.to("cpu", torch.float32).parameters()} == {"cpu"}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    assert all(p.grad.is_cuda for p in net.cuda().parameters())
    assert (
        copy.deepcopy(net)[0].weight.is_cuda and pickle.loads(pickle.dumps(net))[0].weight.is_cuda
    )
    assert nn.Linear(2, 2, device="cpu").weight.device.type == "cpu"


@cuda_only
@pytest.mark.parametrize(
    "make", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad], ids=lambda c: c.__name__
)
def test_training_goes_on_on_the_other_device(make):
    options = {"lr": 0.01} | ({"momentum": 0.9} if make is torch.optim.SGD else {})
    torch.manual_seed(0)
    net = small_net().cpu()
    x = torch.randn(8, 3, device="cpu")
    start = copy.deepcopy(net)
    optimizer = make(net.parameters(), **options)
    losses = [train_step(net, optimizer, x) for _ in range(4)]

    other = start.cuda()
    on_gpu = make(other.parameters(), **options)
    got = [train_step(other, on_gpu, x.cuda()) for _ in range(2)]
    file = io.BytesIO()
    torch.save({"net": other.state_dict(), "optimizer": on_gpu.state_dict()}, file)
    assert all(v.device.type == "cuda" for v in other.state_dict().values())

    back = small_net().cpu()
    again = make(back.parameters(), **options)
    file.seek(0)
    state = torch.load(file, map_location="cpu")
    back.load_state_dict(state["net"])
    again.load_state_dict(state["optimizer"])
    got += [train_step(back, again, x)]

    there = small_net()
    last = make(there.parameters(), **options)
    there.load_state_dict(back.state_dict())  # from the CPU to the GPU
    last.load_state_dict(again.state_dict())
    got += [train_step(there, last, x.cuda())]
    assert got == pytest.approx(losses, rel=1e-4)


@cuda_only
def test_files_know_the_device():
    x = torch.arange(6.0).reshape(2, 3)
    file = io.BytesIO()
    torch.save({"x": x, "view": x[1], "y": x.cpu(), "p": nn.Parameter(x.clone())}, file)

    def load(where=None):
        file.seek(0)
        return torch.load(file, map_location=where)

    found = load()
    assert found["x"].device == x.device and found["p"].is_cuda and found["y"].device.type == "cpu"
    assert torch.equal(found["x"], x) and found["view"].data_ptr() == found["x"][1].data_ptr()
    for where in ("cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda s, location: s):
        assert {t.device.type for t in load(where).values()} == {"cpu"}
    for where in ("cuda", "cuda:0", torch.device("cuda", 0), lambda s, location: s.cuda()):
        assert {t.device for t in load(where).values()} == {x.device}
    with pytest.raises(RuntimeError, match="CUDA device 99 but torch.cuda.device_count"):
        load("cuda:99")


@cuda_only
def test_factorisations_come_back_to_the_gpu():
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    for f in (
        torch.linalg.inv,
        torch.linalg.det,
        torch.linalg.cholesky,
        torch.linalg.svdvals,
        torch.linalg.eigvalsh,
    ):
        out = f(a)
        assert out.is_cuda
        torch.testing.assert_close(out.detach().cpu(), f(a.detach().cpu()))
        out.sum().backward()
        assert a.grad.is_cuda


# ---- autocast ----


@cuda_only
def test_autocast_of_the_gpu_is_its_own():
    x, c = torch.randn(3, 3), torch.ones(3, 3, device="cpu")
    w = torch.randn(3, 3, requires_grad=True)
    F = nn.functional
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled() and not torch.is_autocast_enabled("cpu")
        for lower in (x @ x, torch.mm(x, x), F.linear(x, w)):
            assert lower.dtype == torch.float16
        for wide in (
            x.half().exp(),
            F.softmax(x.half(), -1),
            x.half().sum(),
            F.mse_loss(x.half(), x),
        ):
            assert wide.dtype == torch.float32
        assert (c @ c).dtype == (x * x).dtype == torch.float32
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            F.binary_cross_entropy(x.sigmoid(), x.sigmoid())
        with torch.autocast("cpu"):
            assert (c @ c).dtype == torch.bfloat16 and (x @ x).dtype == torch.float16
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out = F.linear(x, w)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and w.grad.dtype == torch.float32
    assert torch.amp.GradScaler().is_enabled() and not torch.is_autocast_enabled()


@cuda_only
def test_a_scaler_skips_a_step_with_an_infinity():
    w = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([w], lr=1.0)
    scaler = torch.amp.GradScaler("cuda", init_scale=4.0, growth_interval=1)
    scaler.scale((w * 2).sum()).backward()
    assert w.grad.tolist() == [8.0] * 3
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [-1.0] * 3 and scaler.get_scale() == 8.0
    w.grad[1] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [-1.0] * 3 and scaler.get_scale() == 4.0


# ---- switches ----


@pytest.mark.cpu_only
def test_switches():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    assert (matmul.allow_tf32, matmul.fp32_precision, torch.get_float32_matmul_precision()) == (
        False,
        "none",
        "highest",
    )
    try:
        torch.set_float32_matmul_precision("high")
        assert matmul.allow_tf32 and matmul.fp32_precision == "tf32"
        matmul.allow_tf32 = False
        assert torch.get_float32_matmul_precision() == "highest"
        matmul.fp32_precision = "tf32"
        assert matmul.allow_tf32
        with pytest.raises(RuntimeError, match="Unknown precision"):
            matmul.fp32_precision = "tf31"
        with pytest.raises(AttributeError):
            matmul.allow_tf33 = True
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (
        True,
        False,
        False,
        True,
    )
    with cudnn.flags(enabled=False, benchmark=True, deterministic=True, allow_tf32=False):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (
            False,
            True,
            True,
            False,
        )
        assert cudnn.conv.fp32_precision == "ieee" and torch._C._cuda_flag("deterministic")
        torch.use_deterministic_algorithms(True)
    assert torch.are_deterministic_algorithms_enabled() and torch._C._cuda_flag("deterministic")
    torch.use_deterministic_algorithms(False)
    assert not torch._C._cuda_flag("deterministic") and cudnn.conv.fp32_precision == "tf32"
    assert isinstance(torch.backends.cuda.is_built(), bool)
