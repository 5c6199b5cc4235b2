# SPDX-License-Identifier: Apache-2.0
"""save/load: both ways with PyTorch, nothing lost, nothing believed of a damaged file."""

import io
import os
import pickle
import random
import signal
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import gradstep
from gradstep.serialization import atomic_write

pytestmark = pytest.mark.cpu_only  # formats of files

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()


def sample(lib):
    base = lib.arange(24, dtype=lib.float32)
    return {
        "base": base,
        "row": base[4:10],
        "columns": base.view(4, 6).t(),
        "scalar": lib.tensor(2.5),
        "empty": lib.empty(0, 3),
        "nested": [
            1,
            2.5,
            "text",
            None,
            True,
            (lib.ones(2), b"\x00\xff"),
            {3: {4}},
            10**30,
            1 + 2j,
        ],
        "ordered": OrderedDict(a=1, b=lib.zeros(1)),
        "dtype": lib.bfloat16,
        "size": lib.Size([2, 3]),
        "device": lib.device("cpu"),
        "grad": lib.ones(2).requires_grad_(),
        **{name: lib.tensor([0, 1, 1, 0]).to(getattr(lib, name)) for name in DTYPES},
    }


def as_numpy(tensor):
    return tensor.detach().double().numpy()


def same(a, b):
    """Equal in structure and values, whichever of the two libraries the tensors belong to."""
    if hasattr(a, "data_ptr"):
        assert str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
        assert tuple(a.shape) == tuple(b.shape)
        assert tuple(a.stride()) == tuple(b.stride())
        assert a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    elif isinstance(a, dict):
        assert type(a) is type(b) and list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)) and type(a) in (list, tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif "dtype" in type(a).__name__:
        assert str(a).rpartition(".")[2] == str(b).rpartition(".")[2]
    elif type(a).__name__ == "device":
        assert str(a) == str(b)
    else:
        assert a == b


def saved(obj, lib=gradstep):
    out = io.BytesIO()
    lib.save(obj, out)
    return out.getvalue()


def test_everything_comes_back():
    obj = sample(gradstep)
    same(obj, gradstep.load(io.BytesIO(saved(obj))))


def test_pytorch_reads_our_files():
    torch = pytest.importorskip("torch")
    same(sample(torch), torch.load(io.BytesIO(saved(sample(gradstep)))))


def test_pytorch_maps_our_files_into_memory(tmp_path):
    torch = pytest.importorskip("torch")
    gradstep.save(sample(gradstep), tmp_path / "x.pt")
    same(sample(torch), torch.load(tmp_path / "x.pt", mmap=True))


def test_we_read_pytorchs_files():
    torch = pytest.importorskip("torch")
    same(sample(gradstep), gradstep.load(io.BytesIO(saved(sample(torch), torch))))


def test_a_state_dict_goes_to_pytorch_and_back():
    torch = pytest.importorskip("torch")

    def net(lib):
        return lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 2))

    ours, theirs = net(gradstep), net(torch)
    theirs.load_state_dict(torch.load(io.BytesIO(saved(ours.state_dict()))))
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    again = net(gradstep)
    again.load_state_dict(gradstep.load(io.BytesIO(saved(theirs.state_dict(), torch))))
    for a, b in zip(ours.state_dict().values(), again.state_dict().values()):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))


def test_a_parameter_comes_back_as_a_parameter():
    weight = gradstep.load(io.BytesIO(saved({"w": gradstep.nn.Parameter(gradstep.ones(2))})))["w"]
    assert isinstance(weight, gradstep.nn.Parameter) and weight.requires_grad


def test_shared_memory_stays_shared_and_is_stored_once():
    base = gradstep.zeros(1000)
    data = saved({"a": base, "b": base[10:20], "c": base.view(10, 100)})
    assert len(data) < 6000
    back = gradstep.load(io.BytesIO(data))
    back["a"][12] = 5.0
    assert back["b"][2].item() == 5.0
    assert back["c"][0, 12].item() == 5.0


def test_a_small_view_does_not_store_what_lies_behind_it():
    assert len(saved(gradstep.zeros(100_000)[:10])) < 2000


def test_optimizer_state_round_trips():
    def run(steps, state=None):
        gradstep.manual_seed(3)
        net = gradstep.nn.Linear(3, 2)
        optimizer = gradstep.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        if state:
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
        for _ in range(steps):
            optimizer.zero_grad()
            net(gradstep.ones(4, 3)).square().sum().backward()
            optimizer.step()
        return {"net": net.state_dict(), "optimizer": optimizer.state_dict()}

    half = gradstep.load(io.BytesIO(saved(run(3))))
    resumed, whole = run(2, half), run(5)
    same(resumed["net"], whole["net"])


def test_rng_state_round_trips():
    gradstep.manual_seed(11)
    gradstep.rand(5)
    state = gradstep.load(io.BytesIO(saved({"rng": gradstep.get_rng_state()})))["rng"]
    first = gradstep.randn(7).tolist()
    gradstep.set_rng_state(state)
    assert gradstep.randn(7).tolist() == first


def test_map_location_takes_device_dict_and_function():
    data = saved({"x": gradstep.ones(3)})
    for where in ("cpu", gradstep.device("cpu"), {"cuda:0": "cpu"}, lambda flat, location: flat):
        assert gradstep.load(io.BytesIO(data), map_location=where)["x"].tolist() == [1, 1, 1]


class Evil:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_code_in_a_file_is_refused_by_default():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        gradstep.load(io.BytesIO(out.getvalue()))


class Point:
    def __init__(self, x):
        self.x = x


def test_other_classes_need_weights_only_false():
    data = saved({"p": Point(gradstep.ones(2))})
    with pytest.raises(pickle.UnpicklingError):
        gradstep.load(io.BytesIO(data))
    assert gradstep.load(io.BytesIO(data), weights_only=False)["p"].x.tolist() == [1, 1]


def test_every_truncation_is_an_error():
    data = saved({"w": gradstep.rand(50), "n": 3})
    with pytest.raises(EOFError):
        gradstep.load(io.BytesIO())
    for length in range(1, len(data), 23):
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match="cannot read"):
            gradstep.load(io.BytesIO(data[:length]))


def test_flipped_bits_never_change_tensors_silently_and_never_crash():
    values = gradstep.arange(64).double()
    data = saved({"w": values})
    rng = random.Random(5)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            back = gradstep.load(io.BytesIO(bytes(damaged)))
        except (RuntimeError, pickle.UnpicklingError):
            continue
        if "w" in back:
            assert back["w"].tolist() == values.tolist()


def archive_with(pid_numel, size, stride, offset, stored):
    """A file that says these things about one float storage."""
    from gradstep._serialization import writer

    class Fake:
        def __reduce__(self):
            part = writer.Storage("0", gradstep.zeros(1))
            part.numel = pid_numel
            return writer._REBUILD_TENSOR, (part, offset, size, stride, False, OrderedDict())

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", writer.pickled(Fake(), writer.Storages()))
        archive.writestr("archive/data/0", b"\0" * stored)
    return io.BytesIO(made.getvalue())


@pytest.mark.parametrize(
    "lie",
    [
        (10**15, (10**15,), (1,), 0, 16),
        (4, (5,), (1,), 0, 16),
        (4, (2, 2), (3, 1), 0, 16),
        (4, (2,), (1,), 3, 16),
        (4, (-2,), (1,), 0, 16),
        (4, (2,), (-1,), 1, 16),
        (4, (2,), (1,), -1, 16),
        (4, (2,), (1, 1), 0, 16),
        (-4, (0,), (1,), 0, 16),
        (4, (2**62, 4), (2**62, 1), 0, 16),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_an_error(lie):
    assert gradstep.load(archive_with(4, (2, 2), (2, 1), 0, 16)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(RuntimeError, match="cannot read"):
        gradstep.load(archive_with(*lie))


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "x.pt"
    gradstep.save({"a": 1}, path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        gradstep.save({"a": lambda: 1}, path)
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as f:
        f.write(b"half of it")
        raise KeyboardInterrupt
    assert gradstep.load(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "x.pt"
    child = os.fork()
    if child == 0:
        with atomic_write(path) as f:
            f.write(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(os.listdir(tmp_path)) == 1 and not path.exists()
    gradstep.save({"a": 1}, path)
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_missing_file_or_folder_is_named():
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        gradstep.load("no/such/file.pt")
    with pytest.raises(FileNotFoundError, match="no/such/folder"):
        gradstep.save({}, "no/such/folder.pt")


@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_round_trip_and_agree_with_the_library(dtype, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    tensor = gradstep.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(gradstep, dtype))
    tensors = {"a": tensor, "t": tensor.t(), "empty": tensor[:0], "scalar": tensor[0, 1]}
    gradstep.save_safetensors(tensors, path, {"who": "me"})
    back = gradstep.load_safetensors(path)
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype and tuple(back[name].shape) == tuple(value.shape)
        assert back[name].tolist() == value.tolist()
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    for name, value in load_file(path).items():
        assert value.dtype == getattr(torch, dtype) and value.tolist() == tensors[name].tolist()


def test_damaged_safetensors_are_an_error(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    gradstep.save_safetensors({"a": gradstep.ones(100)}, path)
    data = path.read_bytes()
    for length in (0, 4, 20, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(RuntimeError, match="cannot read"):
            gradstep.load_safetensors(path)
