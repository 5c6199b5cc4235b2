# SPDX-License-Identifier: Apache-2.0
"""Whole objects between gradstep and PyTorch, PyTorch's older format, memory maps, the allow-list, and files that were
made to do harm."""

import copy
import inspect
import io
import mmap
import pickle
import random
import signal
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest

import gradstep
from gradstep import serialization

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.cpu_only  # formats of files

BOTH_WAYS = [(gradstep, torch), (torch, gradstep)]


def saved(lib, obj, **options):
    out = io.BytesIO()
    lib.save(obj, out, **options)
    return out.getvalue()


def passed(source, target, obj, **options):
    """obj of one library, read by the other."""
    return target.load(io.BytesIO(saved(source, obj)), **options)


def plain(tensor):
    return tensor.detach().double().numpy()


# ---- whole objects ----

LAYERS = {
    "linear": (lambda nn: nn.Linear(4, 3), (2, 4)),
    "conv": (lambda nn: nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), (1, 4, 5, 5)),
    "transposed": (lambda nn: nn.ConvTranspose2d(4, 2, 3, stride=2), (1, 4, 5, 5)),
    "norms": (
        lambda nn: nn.Sequential(
            nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)
        ),
        (2, 4, 3, 3),
    ),
    "layer norm": (lambda nn: nn.Sequential(nn.LayerNorm(4), nn.RMSNorm(4)), (2, 4)),
    "pools": (
        lambda nn: nn.Sequential(
            nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        (1, 4, 8, 8),
    ),
    "activations": (
        lambda nn: nn.Sequential(
            nn.ReLU(), nn.GELU(), nn.PReLU(), nn.Softmax(dim=1), nn.ELU(), nn.Hardtanh(), nn.SiLU()
        ),
        (2, 4),
    ),
    "lstm": (lambda nn: nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True), (2, 5, 4)),
    "gru": (lambda nn: nn.GRU(4, 3), (2, 5, 4)),
    "cell": (lambda nn: nn.GRUCell(4, 3), (2, 4)),
    "transformer": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), 2
        ),
        (2, 5, 4),
    ),
    "shuffle": (
        lambda nn: nn.Sequential(nn.PixelShuffle(2), nn.Upsample(scale_factor=2)),
        (1, 4, 2, 2),
    ),
    "containers": (
        lambda nn: nn.Sequential(OrderedDict(a=nn.Linear(4, 4), b=nn.Dropout(), c=nn.Identity())),
        (2, 4),
    ),
}


@pytest.mark.parametrize("source, target", BOTH_WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_whole_module_computes_the_same_in_the_other_library(source, target, name):
    make, shape = LAYERS[name]
    source.manual_seed(0)
    model = make(source.nn).eval()
    other = passed(source, target, model, weights_only=False)
    assert isinstance(other, target.nn.Module) and not other.training
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    a, b = (m(lib.from_numpy(values)) for m, lib in ((model, source), (other, target)))
    if isinstance(a, tuple):
        a, b = a[0], b[0]
    np.testing.assert_allclose(plain(a), plain(b), atol=1e-5)
    other.train()
    b = other(target.from_numpy(values))  # and it can be trained
    if any(p.requires_grad for p in other.parameters()):
        (b[0] if isinstance(b, tuple) else b).sum().backward()
        assert all(p.grad is not None for p in other.parameters())


@pytest.mark.parametrize("source, target", BOTH_WAYS)
def test_hooks_can_be_added_to_a_module_of_the_other_library(source, target):
    model = passed(source, target, source.nn.Linear(2, 2), weights_only=False)
    seen = []
    model.register_forward_hook(lambda *_: seen.append("after"))
    model.register_forward_pre_hook(lambda *_: seen.append("before"))
    model(target.ones(1, 2))
    assert seen == ["before", "after"]


@pytest.mark.parametrize("source, target", BOTH_WAYS)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
def test_optimizers_and_schedulers_go_on_in_the_other_library(source, target, kind):
    def step(lib, p, optimizer, scheduler):
        p.grad = lib.full((3,), 0.5)
        optimizer.step()
        scheduler.step()
        return p

    p = source.nn.Parameter(source.ones(3))
    optimizer = getattr(source.optim, kind)([p], lr=0.1)
    scheduler = source.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    step(source, p, optimizer, scheduler)
    state = {"p": p, "optimizer": optimizer, "scheduler": scheduler}
    other = passed(source, target, state, weights_only=False)
    assert other["optimizer"].param_groups[0]["params"][0] is other["p"]
    a = step(source, p, optimizer, scheduler)
    b = step(target, other["p"], other["optimizer"], other["scheduler"])
    np.testing.assert_allclose(plain(a), plain(b), rtol=1e-6)
    # A state dict needs no trust.
    loaded = passed(source, target, optimizer.state_dict())
    fresh = getattr(target.optim, kind)([target.nn.Parameter(target.ones(3))], lr=9.0)
    fresh.load_state_dict(loaded)
    assert fresh.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_every_class_is_written_under_the_name_that_pytorch_gives_it():
    from gradstep._serialization.names import from_torch, to_torch

    wrong = []
    for path in ("nn", "optim", "optim.lr_scheduler", "utils.data", "nn.parameter"):
        ours, theirs = gradstep, torch
        for part in path.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        for name in dir(ours):
            a, b = getattr(ours, name), getattr(theirs, name, None)
            if (
                not inspect.isclass(a)
                or not inspect.isclass(b)
                or b.__module__ in ("typing", "abc")
            ):
                continue
            if getattr(a, "__stub__", False) or not a.__module__.startswith("gradstep"):
                continue
            written = to_torch(a.__module__, a.__qualname__)
            if written != (b.__module__, b.__qualname__) or from_torch(*written) is not a:
                wrong.append((written, b.__module__, b.__qualname__))
    assert not wrong


def attributes(lib):
    tensor, parameter = lib.ones(2), lib.nn.Parameter(lib.ones(2), requires_grad=False)
    tensor.tag, parameter.tags = "x", [1, {"y": 2}]
    return {
        "tensor": tensor,
        "parameter": parameter,
        "buffer": lib.nn.Buffer(lib.ones(2), persistent=False),
        "layout": lib.strided,
        "counter": Counter("aab"),
        "expanded": lib.ones(1).expand(2, 3),
        "steps": lib.arange(20.0)[1::3],
    }


@pytest.mark.parametrize("source, target", BOTH_WAYS)
def test_attributes_buffers_and_strides_survive_with_weights_only(source, target):
    back = passed(source, target, attributes(source))
    assert back["tensor"].tag == "x" and back["parameter"].tags == [1, {"y": 2}]
    assert isinstance(back["parameter"], target.nn.Parameter)
    assert isinstance(back["buffer"], target.nn.Buffer) and back["buffer"].persistent is False
    assert back["layout"] is target.strided and back["counter"] == Counter("aab")
    assert back["expanded"].stride() == (0, 0) and back["steps"].stride() == (3,)


@pytest.mark.parametrize("source, target", BOTH_WAYS)
def test_a_generator_goes_on_with_the_same_numbers(source, target):
    generator = source.Generator()
    generator.manual_seed(5)
    source.rand(3, generator=generator)
    other = passed(source, target, generator, weights_only=False)
    assert source.rand(4, generator=generator).tolist() == target.rand(4, generator=other).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, dtype=torch.complex64),
        lambda: torch.zeros(2, dtype=torch.uint16),
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.ones(2, device="meta"),
    ],
)
@pytest.mark.parametrize("weights_only", [True, False])
def test_tensors_that_gradstep_has_not_are_named(make, weights_only):
    with pytest.raises(NotImplementedError, match="which gradstep does not have"):
        passed(torch, gradstep, make(), weights_only=weights_only)


# ---- the format before zip ----


@pytest.mark.parametrize("source, target", [*BOTH_WAYS, (gradstep, gradstep)])
@pytest.mark.parametrize("weights_only", [True, False])
def test_the_format_before_zip_goes_both_ways(source, target, weights_only):
    base = source.arange(12.0)
    obj = {"a": base, "b": base[3:].view(3, 3).t(), "c": [source.tensor(True)], "e": source.ones(0)}
    data = saved(source, obj, _use_new_zipfile_serialization=False)
    f = io.BytesIO(data + b"rest")
    back = target.load(f, weights_only=weights_only)
    assert f.read() == b"rest"
    assert back["a"].tolist() == base.tolist() and back["b"].tolist() == obj["b"].tolist()
    back["a"][4] = 50.0
    assert back["b"][1, 0] == 50.0 and back["c"][0].item() is True and back["e"].shape == (0,)


def test_damage_of_an_old_file_is_an_exception():
    data = saved(gradstep, {"w": gradstep.arange(9.0)}, _use_new_zipfile_serialization=False)
    for n in range(len(data)):
        with pytest.raises((RuntimeError, pickle.UnpicklingError, EOFError)):
            gradstep.load(io.BytesIO(data[:n]))
    rng = random.Random(3)
    for _ in range(1500):
        try_to_load(flipped(data, rng))


# ---- memory maps ----


def test_a_mapped_file_is_read_when_it_is_looked_at_and_never_written(tmp_path):
    path = tmp_path / "x.pt"
    for lib in (gradstep, torch):
        base = lib.arange(1000.0)
        lib.save(
            {"a": base, "b": base[10:20], "h": lib.ones(3, dtype=lib.bfloat16), "e": lib.ones(0)},
            path,
        )
        before = path.read_bytes()
        back = gradstep.load(path, mmap=True)
        assert back["a"].tolist() == base.tolist() and back["h"].tolist() == [1, 1, 1]
        back["a"][12] = -1.0
        assert back["b"][2].item() == -1.0 and path.read_bytes() == before
        del back
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        gradstep.load(path, mmap=True)["a"][12] = -1.0
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    assert gradstep.load(path, mmap=True)["a"][12].item() == -1.0
    with pytest.raises(ValueError, match="f must be a file path"):
        gradstep.load(io.BytesIO(before), mmap=True)
    gradstep.save({}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="mmap can only be used"):
        gradstep.load(path, mmap=True)


def test_a_mapped_file_that_lies_about_its_offsets_is_an_error(tmp_path):
    path = tmp_path / "x.pt"
    gradstep.save({"a": gradstep.arange(100.0)}, path)
    data, rng = path.read_bytes(), random.Random(1)
    for _ in range(100):
        path.write_bytes(flipped(data, rng))
        try:
            gradstep.load(path, mmap=True)["a"].sum()
        except (RuntimeError, pickle.UnpicklingError, KeyError):
            pass


# ---- settings and files ----


def test_a_file_of_the_other_byte_order_is_swapped():
    values = gradstep.tensor([1, -2, 300], dtype=gradstep.int32)
    data = saved(gradstep, {"x": values})
    other = {"little": "big", "big": "little"}[sys.byteorder]
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("byteorder"):
                content = other.encode()
            elif name.endswith("data/0"):
                content = np.frombuffer(content, np.int32).byteswap().tobytes()
            new.writestr(name, content)
    assert gradstep.load(io.BytesIO(made.getvalue()))["x"].tolist() == [1, -2, 300]
    silent = saved(gradstep, {"x": values}, _disable_byteorder_record=True)
    serialization.set_default_load_endianness(serialization.LoadEndianness[other.upper()])
    try:
        assert gradstep.load(io.BytesIO(silent))["x"].tolist() != [1, -2, 300]
    finally:
        serialization.set_default_load_endianness(None)
    assert gradstep.load(io.BytesIO(silent))["x"].tolist() == [1, -2, 300]


class Pipe:
    """A file that can only be read from front to back."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, n=-1):
        return self.data.read(n)


def test_streams_open_files_and_offsets_can_be_read(tmp_path):
    data = saved(gradstep, {"x": gradstep.ones(2)})
    assert gradstep.load(Pipe(data))["x"].tolist() == [1, 1]
    (tmp_path / "x.pt").write_bytes(data)
    with open(tmp_path / "x.pt", "rb") as f:
        assert gradstep.load(f)["x"].tolist() == [1, 1]
    with pytest.raises(AttributeError, match="string, path, or a file-like object"):
        gradstep.save({}, 3)
    with pytest.raises(TypeError, match="map_location"):
        gradstep.load(io.BytesIO(data), map_location=2.5)


def test_map_location_functions_get_the_storage_and_its_place():
    data = saved(torch, {"x": torch.arange(6.0)[2:]})
    seen = []

    def where(storage, location):
        seen.append((storage.numel(), location, serialization.location_tag(storage)))
        return serialization.default_restore_location(storage, "cpu")

    assert gradstep.load(io.BytesIO(data), map_location=where)["x"].tolist() == [2, 3, 4, 5]
    assert seen == [(6, "cpu", "cpu")]
    with pytest.raises(TypeError, match="map_location returned"):
        gradstep.load(io.BytesIO(data), map_location=lambda storage, location: "cuda")


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    import os

    path = tmp_path / "x.pt"
    gradstep.save({"a": 1}, path)
    child = os.fork()
    if child == 0:

        class Killer:
            def __reduce__(self):
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            gradstep.save([gradstep.ones(1000), Killer()], path)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert gradstep.load(path) == {"a": 1}


# ---- the allow-list ----


class Point:
    def __init__(self, x):
        self.x = x


class Slots:
    __slots__ = ("a", "b")


def test_safe_globals_let_classes_in_and_forget_them():
    slots = Slots()
    slots.a = gradstep.ones(1)
    data = saved(gradstep, [Point(gradstep.ones(2)), slots, deque([1, 2])])
    names = [f"{__name__}.Point", f"{__name__}.Slots", "collections.deque"]
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == sorted(
        [*names, "copyreg._reconstructor", "builtins.object"]
        if b"_reconstructor" in data
        else names
    )
    with pytest.raises(pickle.UnpicklingError) as caught:
        gradstep.load(io.BytesIO(data))
    for part in ("weights_only=False", "add_safe_globals([", "Point", "safe_globals"):
        assert part in str(caught.value)
    with serialization.safe_globals([Point, Slots, deque]):
        point, slots, queue = gradstep.load(io.BytesIO(data))
        assert len(serialization.get_safe_globals()) == 3
    assert point.x.tolist() == [1, 1] and slots.a.tolist() == [1] and queue == deque([1, 2])
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(Point, f"{__name__}.Point")])
    assert gradstep.load(io.BytesIO(saved(gradstep, Point(1)))).x == 1
    serialization.clear_safe_globals()
    with pytest.raises(pickle.UnpicklingError):
        gradstep.load(io.BytesIO(saved(gradstep, Point(1))))


@pytest.mark.parametrize("source", [gradstep, torch])
def test_modules_can_be_allowed_by_their_classes(source):
    data = saved(source, source.nn.Linear(2, 1))
    with serialization.safe_globals([gradstep.nn.Linear]):
        assert gradstep.load(io.BytesIO(data))(gradstep.ones(1, 2)).shape == (1, 1)


def test_numpy_scalars_load_once_numpy_is_allowed():
    scalar = np.float64(1.5)
    data = saved(torch, {"best": scalar})
    kinds = [type(np.dtype(np.float64)), np.dtype, np._core.multiarray.scalar]
    with serialization.safe_globals(kinds):
        assert gradstep.load(io.BytesIO(data)) == {"best": 1.5}


def test_a_pickle_module_is_for_trusted_files():
    data = saved(gradstep, Point(1), pickle_module=pickle)
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        gradstep.load(io.BytesIO(data), pickle_module=pickle, weights_only=True)
    assert gradstep.load(io.BytesIO(data), pickle_module=pickle).x == 1


def test_the_environment_forces_one_way_or_the_other(monkeypatch):
    data = saved(gradstep, Point(1))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert gradstep.load(io.BytesIO(data)).x == 1
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="both were set"):
        gradstep.load(io.BytesIO(data))
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        gradstep.load(io.BytesIO(data), weights_only=False)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol):
    obj = {"a": gradstep.arange(3), "b": [b"x", bytearray(b"y"), {1}, frozenset((2,)), 2**70, "é"]}
    back = gradstep.load(io.BytesIO(saved(gradstep, obj, pickle_protocol=protocol)))
    assert back["a"].tolist() == [0, 1, 2] and back["b"] == obj["b"]


# ---- files that were made to do harm ----


def flipped(data, rng, most=3):
    damaged = bytearray(data)
    for _ in range(rng.randint(1, most)):
        damaged[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(damaged)


def with_pickle(data, name="data.pkl", more=(), method=zipfile.ZIP_STORED):
    """An honest archive around any pickle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(f"archive/{name}", data)
        archive.writestr("archive/version", "3\n")
        for entry, content in more:
            archive.writestr(f"archive/{entry}", content)
    return made.getvalue()


def try_to_load(data):
    try:
        gradstep.load(io.BytesIO(data))
    except (RuntimeError, pickle.UnpicklingError, EOFError):
        pass


def test_any_pickle_is_a_value_or_an_exception():
    obj = {"w": gradstep.arange(20.0), "n": [1, 2.5, "x", (None, True), {3}, OrderedDict(a=1)]}
    archive = saved(gradstep, obj)
    with zipfile.ZipFile(io.BytesIO(archive)) as z:
        data, storage = z.read("archive/data.pkl"), z.read("archive/data/0")
    rng = random.Random(7)
    for _ in range(3000):
        try_to_load(with_pickle(flipped(data, rng), more=[("data/0", storage)]))
    for n in range(len(data)):
        with pytest.raises((RuntimeError, pickle.UnpicklingError)):
            gradstep.load(io.BytesIO(with_pickle(data[:n], more=[("data/0", storage)])))


BOMBS = {
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b".",
    "string": b"\x80\x02X\xff\xff\xff\x7f.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".",
    "deep key": b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.",
    "wide key": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
    "deep element": b"\x80\x04\x8f()" + b"\x85" * 100_000 + b"\x90.",
    "deep frozen": b"\x80\x04()" + b"\x85" * 100_000 + b"\x91.",
    "tensor call": b"\x80\x02ctorch\nTensor\n\x8a\x05\x00\x00\x00\x00\x10\x85R.",
    "parameter": b"\x80\x02ctorch.nn.parameter\nParameter\n)\x81.",
    "state of dtype": b"\x80\x02ctorch\nfloat32\n}X\x01\x00\x00\x00aNsb.",
    "state of a function": b"\x80\x02ccollections\nOrderedDict\n}X\x03\x00\x00\x00_fnNsb.",
    "class of a module": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x0fserialization.os\x93.",
    "instance": b"\x80\x02(ios\nsystem\n.",
    "extension": b"\x80\x02\x82\x01.",
    "empty stack": b"\x80\x02R.",
    "storage number": b"\x80\x02K\x01Q.",
    "no mark": b"\x80\x02u.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_crafted_pickles_are_refused_at_once(name):
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        gradstep.load(io.BytesIO(with_pickle(BOMBS[name])))
    gradstep.nn.Linear(1, 1)  # nothing was changed


def test_huge_memo_entries_and_frames_allocate_nothing():
    for data in (
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    ):
        assert gradstep.load(io.BytesIO(with_pickle(data))) is None


def test_deep_nesting_that_is_never_hashed_is_read():
    data = with_pickle(b"\x80\x02)" + b"\x85" * 5000 + b".")
    value, depth = gradstep.load(io.BytesIO(data)), 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 5000


def test_packed_and_overlapping_entries_are_refused():
    honest = saved(gradstep, {"w": gradstep.zeros(100_000)})
    with zipfile.ZipFile(io.BytesIO(honest)) as z:
        parts = {n.removeprefix("archive/"): z.read(n) for n in z.namelist()}
    packed = with_pickle(
        parts["data.pkl"], more=[("data/0", parts["data/0"])], method=zipfile.ZIP_DEFLATED
    )
    assert len(packed) < 5000
    with pytest.raises(RuntimeError, match="compressed"):
        gradstep.load(io.BytesIO(packed))
    # Many entries of the directory that all mean the same bytes.
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", parts["data.pkl"])
        archive.writestr("archive/data/0", parts["data/0"])
        first = archive.getinfo("archive/data/0")
        for i in range(1, 50):
            again = copy.copy(first)
            again.filename = f"archive/data/{i}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True
    with pytest.raises(RuntimeError, match="larger than the file"):
        gradstep.load(io.BytesIO(made.getvalue()))


# ---- copy and pickle ----


def views(lib):
    base = lib.arange(6.0)
    return [
        base,
        base[2:],
        base.view(2, 3).t(),
        lib.ones(1).expand(3),
        lib.tensor(2),
        lib.ones(0, 2),
    ]


def test_deepcopy_keeps_sharing_strides_and_attributes_like_pytorch():
    results = []
    for lib in (gradstep, torch):
        made = views(lib)
        made[0].tag = [1]
        copied = copy.deepcopy(made)
        copied[0][3] = 9.0
        assert made[0][3] == 3.0 and copied[0].tag == [1] and copied[0].tag is not made[0].tag
        results.append([(t.tolist(), t.stride(), t.storage_offset()) for t in copied])
    assert results[0] == results[1]


def test_deepcopy_of_modules_and_optimizers_is_independent_and_keeps_gradients_as_pytorch_does():
    for lib in (gradstep, torch):
        model = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.BatchNorm1d(2))
        model.shared = model[0].weight
        model(lib.ones(3, 2)).sum().backward()
        other = copy.deepcopy(model)
        assert other.shared is other[0].weight and other[0].weight is not model[0].weight
        optimizer = lib.optim.Adam(model.parameters())
        optimizer.step()
        twin = copy.deepcopy(optimizer)
        assert twin.param_groups[0]["params"][0] is not model[0].weight
        leaf = lib.ones(2, requires_grad=True)
        leaf.grad = lib.ones(2)
        assert copy.deepcopy(leaf).grad.tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="graph leaves"):
            copy.deepcopy(leaf * 2)


class Tagged(gradstep.Tensor):
    pass


def test_pickle_keeps_values_strides_types_and_attributes():
    for tensor in views(gradstep):
        back = pickle.loads(pickle.dumps(tensor))
        assert back.tolist() == tensor.tolist() and back.dtype == tensor.dtype
    turned = gradstep.arange(6.0).view(2, 3).t()
    assert pickle.loads(pickle.dumps(turned)).stride() == (1, 3)
    big = gradstep.zeros(100_000)
    assert len(pickle.dumps(big[:10])) < 2000 and len(pickle.dumps(big[::10_000])) < 2000
    tagged = gradstep.ones(2).requires_grad_()
    tagged = gradstep.Tensor._make_subclass(Tagged, tagged, True)
    tagged.name = "t"
    for back in (pickle.loads(pickle.dumps(tagged)), copy.deepcopy(tagged)):
        assert type(back) is Tagged and back.name == "t" and back.requires_grad
    for dtype in (gradstep.bfloat16, gradstep.bool, gradstep.float16):
        assert pickle.loads(pickle.dumps(gradstep.ones(3, dtype=dtype))).dtype == dtype
