# SPDX-License-Identifier: Apache-2.0
"""Memory shared with numpy and, through DLPack, with PyTorch; pickling and copying."""

import copy
import io
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402

pytestmark = pytest.mark.cpu_only  # shares memory with numpy

NUMPY_TYPES = "bool uint8 int8 int16 int32 int64 float16 float32 float64".split()
TYPES = NUMPY_TYPES + ["bfloat16"]


# ---- numpy ----


@pytest.mark.parametrize("name", NUMPY_TYPES)
def test_numpy_and_back_share_memory(name):
    array = np.array([[0, 1, 0], [1, 1, 0]]).astype(name)
    x = gs.from_numpy(array)
    assert str(x.dtype) == "torch." + name and tuple(x.shape) == (2, 3)
    array[0, 0] = 1
    assert x[0, 0].item() == 1
    x[1, 2] = 1
    assert array[1, 2] == 1
    again = x.numpy()
    assert again.ctypes.data == array.ctypes.data == x.data_ptr()
    assert again.dtype == array.dtype


def test_strides_are_kept_both_ways():
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (array.transpose(2, 0, 1), array[:, ::2], array[1], array[..., 1:3]):
        x = gs.from_numpy(view)
        assert x.data_ptr() == view.ctypes.data
        assert tuple(8 * s for s in x.stride()) == view.strides
        np.testing.assert_array_equal(x.numpy(), view)
        assert x.numpy().strides == view.strides


def test_an_array_outlives_its_tensor_and_the_other_way_round():
    array = gs.arange(1000).numpy()
    assert array.sum() == 499500
    x = gs.from_numpy(np.arange(1000))
    assert x.sum().item() == 499500


def test_numpy_refuses_what_it_cannot_share():
    for lib in (gs, torch):
        with pytest.raises(
            RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"
        ):
            lib.ones(2, requires_grad=True).numpy()
        with pytest.raises(TypeError, match="BFloat16"):
            lib.ones(2, dtype=lib.bfloat16).numpy()
        with pytest.raises(ValueError, match="negative"):
            lib.from_numpy(np.arange(3)[::-1])
        with pytest.raises(TypeError):
            lib.from_numpy([1, 2])
        with pytest.raises(TypeError, match="can't convert np.ndarray of type"):
            lib.from_numpy(np.array(["a"]))
    assert gs.ones(2, requires_grad=True).numpy(force=True).tolist() == [1.0, 1.0]


def test_numpy_functions_take_tensors():
    x = gs.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(np.asarray(x), x.numpy())
    assert np.asarray(x).ctypes.data == x.data_ptr()
    assert np.array(x).ctypes.data != x.data_ptr()
    assert np.asarray(x, dtype=np.int32).dtype == np.int32
    assert float(np.sum(x)) == 15.0
    assert np.mean(x.numpy(), axis=1).tolist() == [1.0, 4.0]
    assert np.stack([x, x]).shape == (2, 2, 3)


def test_arithmetic_with_numpy_numbers_and_arrays():
    for lib in (gs, torch):
        x = lib.ones(2)
        assert (x * np.float32(2)).dtype is lib.float32
        assert (x * np.float64(2)).dtype is lib.float32
        assert (x + np.int64(1)).tolist() == [2.0, 2.0]
        assert x[np.int64(1)].item() == 1.0
        assert tuple(lib.zeros(np.int64(2), np.int32(3)).shape) == (2, 3)
        assert lib.tensor(np.float32(0.5)).dtype is lib.float32


# ---- DLPack ----


@pytest.mark.parametrize("name", TYPES)
def test_dlpack_to_torch_shares_memory(name):
    x = gs.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(gs, name))
    y = torch.from_dlpack(x)
    assert str(y.dtype) == "torch." + name
    assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride()
    assert y.double().tolist() == x.double().tolist()
    x.zero_()
    assert y.double().sum() == 0


@pytest.mark.parametrize("name", TYPES)
def test_dlpack_from_torch_shares_memory(name):
    y = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(torch, name))
    x = gs.from_dlpack(y)
    assert str(x.dtype) == "torch." + name
    assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride()
    y.zero_()
    assert x.double().sum().item() == 0


def test_dlpack_keeps_strides_and_offsets():
    x = gs.arange(24.0).reshape(2, 3, 4)[:, 1:].permute(2, 0, 1)
    y = torch.from_dlpack(x)
    assert y.stride() == x.stride() and y.data_ptr() == x.data_ptr()
    np.testing.assert_array_equal(x.numpy(), y.numpy())
    z = gs.from_dlpack(torch.arange(24.0).reshape(4, 6)[1:, ::2].t())
    assert z.stride() == (2, 6)
    assert z.tolist() == torch.arange(24.0).reshape(4, 6)[1:, ::2].t().tolist()


def test_dlpack_with_numpy():
    array = np.arange(5.0)
    x = gs.from_dlpack(array)
    assert x.data_ptr() == array.ctypes.data
    assert np.from_dlpack(gs.arange(3)).tolist() == [0, 1, 2]


def test_dlpack_memory_lives_as_long_as_either_side():
    y = torch.from_dlpack(gs.arange(100000))
    assert y.sum() == 4999950000
    x = gs.from_dlpack(torch.arange(100000))
    assert x.sum().item() == 4999950000
    for _ in range(50):  # capsules that nobody consumes free their tensor
        gs.ones(1000).__dlpack__()


def test_dlpack_refuses_tensors_with_history():
    for lib in (gs, torch):
        with pytest.raises(BufferError, match="require gradient"):
            lib.ones(2, requires_grad=True).__dlpack__()


def test_dlpack_device():
    assert tuple(gs.ones(1).__dlpack_device__()) == (1, 0)


# ---- buffers ----


def test_frombuffer_shares_memory():
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    x = gs.frombuffer(data, dtype=gs.float32)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    data[0:4] = np.float32(9).tobytes()
    assert x[0].item() == 9.0
    assert gs.frombuffer(data, dtype=gs.float32, count=2, offset=4).tolist() == [1.0, 2.0]
    for lib in (gs, torch):
        with pytest.raises(ValueError, match="buffer length"):
            lib.frombuffer(bytearray(7), dtype=lib.float32)
        with pytest.raises(ValueError, match="offset"):
            lib.frombuffer(bytearray(8), dtype=lib.float32, offset=8)


# ---- pickling and copying ----


@pytest.mark.parametrize("name", TYPES)
def test_pickle_keeps_everything(name):
    x = gs.tensor([[0, 1], [1, 0], [1, 1]]).to(getattr(gs, name)).t()
    y = pickle.loads(pickle.dumps(x))
    assert y.dtype is x.dtype and y.shape == x.shape
    assert y.double().tolist() == x.double().tolist()
    y.zero_()
    assert x.double().sum().item() == 4


def test_pickle_requires_grad_and_empty():
    x = gs.ones(3, requires_grad=True)
    assert pickle.loads(pickle.dumps(x)).requires_grad
    assert tuple(pickle.loads(pickle.dumps(gs.zeros(2, 0))).shape) == (2, 0)
    assert pickle.loads(pickle.dumps(gs.tensor(2.5))).item() == 2.5
    assert pickle.loads(pickle.dumps(gs.float16)) is gs.float16
    assert pickle.loads(pickle.dumps(gs.device("cpu"))) == gs.device("cpu")
    assert pickle.loads(pickle.dumps(gs.ones(2, 3).shape)) == (2, 3)


def test_pickle_of_a_slice_holds_only_the_slice():
    x = gs.zeros(100000)[:4]
    stream = io.BytesIO()
    pickle.dump(x, stream)
    assert len(stream.getvalue()) < 2000


def test_deepcopy():
    x = gs.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    pair = [x, x, {"x": x}]
    y = copy.deepcopy(pair)
    assert y[0] is y[1] is y[2]["x"] and y[0] is not x
    assert y[0].requires_grad and y[0].grad.tolist() == [2.0, 2.0, 2.0]
    with gs.no_grad():
        y[0].add_(1)
    assert x.tolist() == [1.0, 1.0, 1.0]
    for lib in (gs, torch):
        with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
            copy.deepcopy(lib.ones(2, requires_grad=True) * 2)


def test_shallow_copy_shares_memory():
    x = gs.ones(3)
    y = copy.copy(x)
    y.add_(1)
    assert x.tolist() == [2.0, 2.0, 2.0]
