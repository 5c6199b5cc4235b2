# SPDX-License-Identifier: Apache-2.0
"""Device memory shared with other libraries: __cuda_array_interface__ and DLPack, both ways, in the order of streams.
What hands the memory out here is another tensor behind the interface alone, or a bare address."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gradstep as torch

pytestmark = pytest.mark.cuda


class CudaArray:
    """What numba's and CuPy's arrays show."""

    def __init__(self, tensor, **changes):
        self.tensor = tensor
        self.interface = tensor.__cuda_array_interface__ | changes

    @property
    def __cuda_array_interface__(self):
        return self.interface


class Producer:
    """A library's array with DLPack of an older version: it takes only these options."""

    def __init__(self, tensor, *names):
        self.tensor, self.names, self.calls = tensor, names, []

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options):
        self.calls.append(options)
        if unknown := set(options) - set(self.names):
            raise TypeError(f"unexpected {unknown}")
        return self.tensor.__dlpack__(**options)


# ---- __cuda_array_interface__ ----


@pytest.mark.parametrize(
    "dtype", "bool uint8 int8 int16 int32 int64 float16 float32 float64".split()
)
def test_memory_behind_the_interface_is_shared(dtype):
    x = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    for view in (x, x.t(), x[:, 1], x[1:, ::2], x[0, 0], x[:0]):
        y = torch.as_tensor(CudaArray(view), device="cuda")
        assert y.dtype == view.dtype and y.shape == view.shape and y.device == x.device
        assert y.tolist() == view.tolist()
        if view.numel():
            assert y.data_ptr() == view.data_ptr()
    torch.as_tensor(CudaArray(x), device="cuda")[1, 2] = 1
    assert x[1, 2].item() == 1
    assert torch.asarray(CudaArray(x)).data_ptr() == x.data_ptr()


def test_the_constructors_copy_as_pytorchs():
    x = torch.arange(3.0)
    made = torch.tensor(CudaArray(x), device="cuda")
    assert made.data_ptr() != x.data_ptr() and made.tolist() == x.tolist()
    assert torch.as_tensor(CudaArray(x), dtype=torch.int64, device="cuda").dtype == torch.int64
    with torch.device("cpu"):  # the default device, as for numpy's arrays
        assert torch.as_tensor(CudaArray(x)).device.type == "cpu"
    assert torch.tensor([CudaArray(x).tensor, x]).tolist() == [x.tolist()] * 2


def test_the_object_lives_as_long_as_the_tensor():
    holder = CudaArray(torch.arange(4.0))
    seen = weakref.ref(holder)
    y = torch.as_tensor(holder, device="cuda")[1:]
    del holder
    gc.collect()
    assert seen() is not None and y.tolist() == [1.0, 2.0, 3.0]
    del y
    gc.collect()
    assert seen() is None


def test_work_of_the_objects_stream_comes_first():
    other = torch.cuda.Stream()
    x = torch.zeros(1000)
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        x += 1
    y = torch.as_tensor(CudaArray(x, version=3, stream=other.cuda_stream), device="cuda") * 1
    assert y.sum().item() == 1000
    for stream in (None, 1):
        assert torch.as_tensor(CudaArray(x, version=3, stream=stream), device="cuda").is_cuda
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        torch.as_tensor(CudaArray(x, version=3, stream=0), device="cuda")


@pytest.mark.parametrize(
    "changes, error, text",
    [
        ({"typestr": None}, TypeError, "attribute `typestr` must exist"),
        ({"shape": None}, TypeError, "attribute `shape` must exist"),
        ({"data": 3}, TypeError, "`data` must be a 2-tuple of"),
        ({"data": (0, True)}, TypeError, "the read only flag is not supported"),
        ({"strides": (3, 8)}, ValueError, "strides not a multiple of the element byte size"),
        ({"strides": (4,)}, TypeError, "strides must be a sequence of the same length as shape"),
        ({"strides": (-12, 4)}, ValueError, "negative"),
        ({"typestr": ">f4"}, ValueError, "byte order"),
        ({"typestr": "<c8"}, TypeError, "can't convert"),
        ({"mask": 1}, TypeError, "masks are not supported"),
        ({"shape": (1 << 62, 1 << 62)}, RuntimeError, "overflow"),
    ],
    ids=str,
)
def test_what_can_not_be_shared(changes, error, text):
    array = CudaArray(torch.ones(2, 3), **changes)
    array.interface = {k: v for k, v in array.interface.items() if not (k in changes and v is None)}
    with pytest.raises(error, match=text):
        torch.as_tensor(array, device="cuda")


def test_an_address_of_the_host_is_refused():
    array = CudaArray(torch.ones(4))
    host = np.ones(4, np.float32)
    array.interface["data"] = (host.ctypes.data, False)
    with pytest.raises(RuntimeError, match="resides on host memory"):
        torch.as_tensor(array, device="cuda")
    array.interface = 3
    with pytest.raises(TypeError, match="`__cuda_array_interface__` must be a dict"):
        torch.tensor(array)


# ---- DLPack ----


@pytest.mark.parametrize(
    "dtype", "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
)
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
def test_capsules_of_both_versions(dtype, version):
    x = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).t()
    capsule = x.__dlpack__(max_version=version)
    assert ("versioned" in repr(capsule)) == (version is not None and version[0] >= 1)
    y = torch.from_dlpack(capsule)
    assert (y.data_ptr(), y.stride(), y.dtype) == (x.data_ptr(), x.stride(), x.dtype)
    assert y.tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="received an invalid capsule.*consumed only once"):
        torch.from_dlpack(capsule)


def test_a_capsule_keeps_its_geometry():
    x = torch.arange(6.0).reshape(2, 3)
    capsule = x.__dlpack__()
    x.t_()
    assert torch.from_dlpack(capsule).shape == (2, 3)


@pytest.mark.parametrize(
    "names", [(), ("stream",), ("stream", "copy"), ("stream", "max_version", "dl_device", "copy")]
)
def test_older_libraries_are_asked_for_less(names):
    x = torch.arange(3.0)
    if "stream" not in names:
        with pytest.raises(TypeError):  # without a stream there would be no order
            torch.from_dlpack(Producer(x, *names))
        return
    y = torch.from_dlpack(Producer(x, *names))
    assert y.data_ptr() == x.data_ptr()
    there = torch.from_dlpack(Producer(x, *names), device=x.device)
    assert there.data_ptr() == x.data_ptr()
    assert torch.from_dlpack(Producer(x, *names), copy=True).data_ptr() != x.data_ptr()
    back = torch.from_dlpack(Producer(x, *names), device="cpu")
    assert back.device.type == "cpu" and back.tolist() == x.tolist()
    with pytest.raises(ValueError, match="without copying"):
        torch.from_dlpack(Producer(x, *names), device="cpu", copy=False)
    assert torch.as_tensor(Producer(x, *names), device="cuda").data_ptr() == x.data_ptr()
    assert torch.asarray(Producer(x, *names)).data_ptr() == x.data_ptr()


def test_the_consumers_stream_is_told_and_waits():
    x = torch.ones(1000)
    s = torch.cuda.Stream()
    s.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(s):
        x += 1
        shared = Producer(x, "stream")
        torch.from_dlpack(shared)
        assert shared.calls[-1] == {"stream": s.cuda_stream}
        capsule = x.__dlpack__(stream=1)  # what comes on the default stream waits for s
    y = torch.from_dlpack(capsule) * 1
    torch.from_dlpack(shared)
    assert shared.calls[-1] == {"stream": 1}
    assert y.sum().item() == 2000


def test_pytorchs_errors():
    x = torch.ones(2)
    for options, error, text in (
        ({"stream": 0}, AssertionError, "unsupported stream on CUDA: 0."),
        ({"stream": 2}, BufferError, "per-thread default stream is not supported."),
        ({"stream": "1"}, TypeError, "stream must be ``int`` or ``none``"),
        ({"dl_device": (1, 0), "copy": False}, ValueError, "from cuda:0 to cpu without copying"),
        ({"dl_device": (13, 0)}, RuntimeError, "device type 13"),
    ):
        with pytest.raises(error, match=text):
            x.__dlpack__(**options)
    for stream in (None, -1, 1):
        assert torch.from_dlpack(x.__dlpack__(stream=stream)).data_ptr() == x.data_ptr()
    with pytest.raises(AssertionError, match="stream should be None on cpu"):
        x.cpu().__dlpack__(stream=1)
    with pytest.raises(BufferError, match="require gradient"):
        x.clone().requires_grad_().__dlpack__()
    with pytest.raises(AssertionError, match="not supported when ext_tensor is already a DLPack"):
        torch.from_dlpack(x.__dlpack__(), device="cpu")
    assert torch.from_dlpack(x.__dlpack__(dl_device=(1, 0))).device.type == "cpu"
    pinned = torch.ones(2, device="cpu").pin_memory()
    assert np.from_dlpack(pinned).tolist() == [1.0, 1.0]
    assert (
        torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x)).data_ptr() == x.data_ptr()
    )


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_memory_of_a_gpu_that_is_not_the_current_one():
    x = torch.arange(3.0, device="cuda:1")
    with pytest.raises(
        BufferError, match="different CUDA device index. Expected: 1. Current device: 0"
    ):
        x.__dlpack__()
    with torch.cuda.device(1):
        capsule = x.__dlpack__()
        assert x.__dlpack_device__() == (2, 1)
    y = torch.from_dlpack(capsule)
    assert y.device == x.device and y.data_ptr() == x.data_ptr()
    z = torch.as_tensor(CudaArray(x), device="cuda:1")
    assert z.device == x.device and z.data_ptr() == x.data_ptr()
    assert torch.as_tensor(CudaArray(x), device="cuda:0").device.index == 0
