# SPDX-License-Identifier: Apache-2.0
"""Making tensors: from numbers, nested lists, arrays and tensors, filled, in sequences; and taking numbers out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402


def both(fn, strides=True):
    """fn(lib) in both: dtype, shape, strides and values are equal."""
    mine, theirs = fn(gs), fn(torch)
    assert str(mine.dtype) == str(theirs.dtype)
    assert tuple(mine.shape) == tuple(theirs.shape)
    assert not strides or mine.stride() == theirs.stride()
    np.testing.assert_array_equal(mine.double().cpu().numpy(), theirs.double().cpu().numpy())
    assert mine.requires_grad == theirs.requires_grad
    return mine


@pytest.mark.parametrize(
    "data",
    [1, 1.5, True, [], [[]], [[], []], [1, 2], [1, 2.5], [True, 2], [[1, 2], [3, 4]], [[[1.0]]], (1, 2), [(1, 2), (3, 4)],
     range(3), [np.float64(1), np.float64(2)], [np.int32(3)], np.float32(2), [[np.ones(2), np.zeros(2)]], [1e40], [2**40], [True, False]],
    ids=repr,
)  # fmt: skip
def test_tensor_infers_dtype_and_shape(data):
    both(lambda lib: lib.tensor(data))


@pytest.mark.parametrize("name", "bool uint8 int32 int64 float16 bfloat16 float32 float64".split())
def test_tensor_with_dtype(name):
    both(lambda lib: lib.tensor([[0, 1], [2, 3]], dtype=getattr(lib, name)))
    both(
        lambda lib: lib.tensor(
            [0.5, 1.5, -0.0] if "uint" not in name else [0.5], dtype=getattr(lib, name)
        )
    )


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
def test_tensor_of_an_array_copies_it(dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    x = both(lambda lib: lib.tensor(array))
    array[:] = 0
    assert x.double().sum().item() > 0
    both(lambda lib: lib.tensor(np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype).T), strides=False)


def test_tensor_of_tensors():
    both(lambda lib: lib.tensor([lib.tensor(1.0), lib.tensor(2.0)]))
    with pytest.warns(UserWarning):
        torch.tensor(torch.ones(2))
    x = gs.ones(2)
    gs.tensor(x).add_(1)
    assert x.tolist() == [1.0, 1.0]


def test_ragged_lists_are_refused():
    for lib in (gs, torch):
        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
            lib.tensor([[1, 2], [3]])
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            lib.tensor("abc")
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            lib.tensor([1, None])


def test_integers_that_do_not_fit_are_refused():
    for lib in (gs, torch):
        with pytest.raises((ValueError, OverflowError), match="Overflow when unpacking long long"):
            lib.tensor(2**70)


def test_requires_grad_needs_a_floating_type():
    for lib in (gs, torch):
        assert lib.tensor(1.0, requires_grad=True).requires_grad
        assert lib.zeros(2, requires_grad=True).requires_grad
        with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
            lib.tensor([1], requires_grad=True)
        with pytest.raises(RuntimeError, match="floating point"):
            lib.zeros(2, dtype=lib.int64, requires_grad=True)


@pytest.mark.parametrize(
    "arguments",
    [
        (5,),
        (0,),
        (1, 5),
        (5, 1, -1),
        (0, 1, 0.1),
        (0.5, 3),
        (1, 2, 0.3),
        (-3, 3, 2),
        (0, 10, 3),
        (0.0, 1.0, 1 / 3),
        (10, 0, -2.5),
    ],
    ids=str,
)
def test_arange(arguments):
    both(lambda lib: lib.arange(*arguments))
    both(lambda lib: lib.arange(*arguments, dtype=lib.float64))
    both(lambda lib: lib.arange(*arguments, dtype=lib.int32))


def test_arange_errors():
    for lib in (gs, torch):
        with pytest.raises(RuntimeError, match="step must be nonzero"):
            lib.arange(0, 5, 0)
        with pytest.raises(
            RuntimeError, match="upper bound and l(ower|arger) bound inconsistent with step sign"
        ):
            lib.arange(0, 5, -1)


@pytest.mark.parametrize(
    "arguments",
    [(0, 1, 5), (-2, 3, 7), (5, 1, 4), (1, 1, 3), (0, 1, 1), (0, 1, 0), (0, 10, 101)],
    ids=str,
)
@pytest.mark.parametrize("name", ["float32", "float64", "int64"])
def test_linspace(arguments, name):
    mine = gs.linspace(*arguments, dtype=getattr(gs, name)).double().cpu().numpy()
    theirs = torch.linspace(*arguments, dtype=getattr(torch, name)).double().numpy()
    np.testing.assert_allclose(mine, theirs, rtol=1e-6 if name == "float32" else 1e-12, atol=1e-12)


def test_filled_tensors():
    for name in ("zeros", "ones"):
        both(lambda lib, name=name: getattr(lib, name)(2, 3))
        both(lambda lib, name=name: getattr(lib, name)((2, 0)))
        both(lambda lib, name=name: getattr(lib, name)([]))
        both(lambda lib, name=name: getattr(lib, name)(2, dtype=lib.bool))
        both(lambda lib, name=name: getattr(lib, name)(size=(2, 1)))
        both(lambda lib, name=name: getattr(lib, name + "_like")(lib.ones(2, 3, dtype=lib.int32)))
        both(lambda lib, name=name: getattr(lib.ones(1), "new_" + name)(2, 3))
    both(lambda lib: lib.full((2, 2), 7))
    both(lambda lib: lib.full((2,), 1.5))
    both(lambda lib: lib.full((2,), True))
    both(lambda lib: lib.full_like(lib.ones(2), 3, dtype=lib.int64))
    both(lambda lib: lib.ones(2, dtype=lib.float64).new_full((1, 2), 4))
    both(lambda lib: lib.ones(2, dtype=lib.int32).new_tensor([1.7, 2.2]))
    both(lambda lib: lib.eye(3))
    both(lambda lib: lib.eye(2, 4, dtype=lib.int64))


def test_empty_has_the_geometry_that_was_asked_for():
    for lib in (gs, torch):
        assert tuple(lib.empty(2, 3).shape) == (2, 3)
        assert lib.empty(2, dtype=lib.int8).dtype is lib.int8
        assert lib.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
        assert lib.empty_like(lib.ones(2, 3).t()).stride() == (1, 3) or lib is gs
        with pytest.raises(RuntimeError, match="negative dimension"):
            lib.empty(-1)


@pytest.mark.cpu_only
def test_as_tensor_shares_memory_and_tensor_does_not():
    array = np.zeros(3, np.float32)
    x = gs.as_tensor(array)
    array[0] = 5
    assert x[0].item() == 5
    t = gs.ones(2)
    assert gs.as_tensor(t) is t
    assert gs.as_tensor(t, dtype=gs.float64).dtype is gs.float64
    assert gs.asarray(array).data_ptr() == x.data_ptr()


def test_item_and_tolist():
    assert gs.tensor(3).item() == 3 and isinstance(gs.tensor(3).item(), int)
    assert isinstance(gs.tensor(3.0).item(), float)
    assert gs.tensor([[True]]).item() is True
    assert gs.arange(6).reshape(2, 3).t().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert gs.tensor(2.5).tolist() == 2.5
    assert gs.zeros(0).tolist() == [] and gs.zeros(2, 0).tolist() == [[], []]
    for lib in (gs, torch):
        with pytest.raises(
            RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"
        ):
            lib.ones(2).item()


def test_python_numbers_from_tensors():
    for lib in (gs, torch):
        assert (
            float(lib.tensor(1.5)) == 1.5
            and int(lib.tensor(2.7)) == 2
            and bool(lib.tensor(0)) is False
        )
        assert [10, 20, 30][lib.tensor(1)] == 20
        assert f"{lib.tensor(1.25):.1f}" == "1.2"
        assert len(lib.ones(3, 2)) == 3
        with pytest.raises(TypeError, match="len\\(\\) of a 0-d tensor"):
            len(lib.tensor(1))
        with pytest.raises(
            RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"
        ):
            bool(lib.ones(2))
        with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
            iter(lib.tensor(1.0))


def test_sizes_print_and_compare_as_in_pytorch():
    for lib in (gs, torch):
        size = lib.ones(2, 3).shape
        assert repr(size) == "torch.Size([2, 3])"
        assert size == (2, 3) and size[0] == 2 and size.numel() == 6 and isinstance(size, tuple)
        assert lib.ones(2, 3).size() == size and lib.ones(2, 3).size(-1) == 3
        assert isinstance(size[:1], type(size))


@pytest.mark.cpu_only  # a text that names the device otherwise
@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.tensor(1.5),
        lambda lib: lib.tensor([1, 2, 3]),
        lambda lib: lib.tensor([1.0, 2.5, -3.25]),
        lambda lib: lib.tensor([1.0, 2.0]),
        lambda lib: lib.tensor([[True, False]]),
        lambda lib: lib.tensor([1e-8, 1.0, 1e8]),
        lambda lib: lib.tensor([float("nan"), float("inf"), -1.0]),
        lambda lib: lib.arange(2000),
        lambda lib: lib.zeros(2, 0),
        lambda lib: lib.ones(2, 2, dtype=lib.float64),
        lambda lib: lib.ones(2, requires_grad=True),
        lambda lib: lib.ones(2, requires_grad=True).exp() * 0,
        lambda lib: lib.arange(24).reshape(2, 3, 4).float(),
    ],
)
def test_repr_equals_pytorch(make):
    mine, theirs = repr(make(gs)), repr(make(torch))
    if "grad_fn" in theirs:
        mine, theirs = mine.partition("grad_fn")[0], theirs.partition("grad_fn")[0]
    assert mine == theirs


def test_old_constructors():
    for name in (
        "FloatTensor",
        "LongTensor",
        "DoubleTensor",
        "ByteTensor",
        "BoolTensor",
        "IntTensor",
    ):
        mine, theirs = getattr(gs, name)([1, 0, 2]), getattr(torch, name)([1, 0, 2])
        assert str(mine.dtype) == str(theirs.dtype) and mine.tolist() == theirs.tolist()
        assert tuple(getattr(gs, name)(2, 3).shape) == (2, 3)
        assert isinstance(mine, getattr(gs, name))
    assert not isinstance(gs.ones(1), gs.LongTensor)
    assert gs.Tensor([1, 2]).dtype is gs.float32 and tuple(gs.Tensor(2, 3).shape) == (2, 3)
