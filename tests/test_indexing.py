# SPDX-License-Identifier: Apache-2.0
"""x[key] and x[key] = value: every kind of key, gradients, errors, and random keys against PyTorch and numpy."""

import numpy as np
import pytest

import gradstep as gs
from parity import check, check_error, floats, ints, mask, same, tensor, torch

N = None
E = Ellipsis
S = slice

# Arrays in a key become tensors of the library under test.
KEYS = [
    0,
    -1,
    S(None),
    S(1, 3),
    S(None, None, 2),
    S(-3, -1),
    S(5, 2),
    N,
    E,
    (),
    (0, 1),
    (S(None), 1),
    (E, 0),
    (E, S(0, 2)),
    (0, E, 0),
    (N, 0, N),
    (S(None), N, S(1, 2)),
    (E, N),
    True,
    False,
    (True, 0),
    (0, True),
    (S(None), False),
    [0, 2],
    [True, False, True, False],
    ([0, 1], [1, 2]),
    [[0, 1], [1, 2]],
    ([0, 1], S(None), [0, 1]),
    (S(None), [0, 1], [1, 2]),
    (S(None), [0, 1], N, [1, 2]),
    (0, S(None), [0, 1]),
    (S(None), 0, [0, 1]),
    ([[0], [1]], [0, 1, 2]),
    (E, [0, 1, 1]),
    ([0, 1], E),
    ([0, -1], 1),
    (1, [0, -1]),
    (N, [0, 1], S(None), 1),
    np.array([[0, 1], [3, 3]]),
    (S(None), np.array([0, 2], dtype=np.int32)),
    np.array(2),
    (np.array(2), np.array([0, 1])),
    mask(4),
    mask(4, 3),
    mask(4, 3, 5),
    (S(None), mask(3)),
    (S(None), mask(3, 5)),
    (mask(4), 0),
    (mask(4), E, [0]),
    (np.array([], dtype=np.int64),),
    np.array([1, 0, 0, 1], dtype=np.uint8),
    np.array(True),
    np.array(False),
    S(np.array(1), np.array(3)),
    [],
]


def for_lib(lib, key):
    if isinstance(key, np.ndarray):
        return tensor(lib, key)
    if isinstance(key, tuple):
        return tuple(for_lib(lib, k) for k in key)
    if isinstance(key, slice) and isinstance(key.start, np.ndarray):
        return slice(for_lib(lib, key.start), for_lib(lib, key.stop))
    return key


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.filterwarnings("ignore")
def test_reading_gives_the_values_and_gradients_of_pytorch(key):
    check(lambda lib, x: x[for_lib(lib, key)], floats(4, 3, 5))


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.filterwarnings("ignore")
def test_writing_a_number_changes_what_pytorch_changes(key):
    def write(lib, x):
        y = x * 1
        y[for_lib(lib, key)] = 2.5
        return y

    if isinstance(key, np.ndarray) and key.dtype == np.uint8:
        return  # PyTorch refuses
    check(write, floats(4, 3, 5))


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.filterwarnings("ignore")
def test_writing_a_tensor_passes_gradients_to_both(key):
    shape = torch.zeros(4, 3, 5)[for_lib(torch, key)].shape
    values = floats(*shape, seed=1)
    repeated = isinstance(key, np.ndarray) and key.shape == (
        2,
        2,
    )  # which write wins is not defined
    grad = key is not False  # PyTorch gives the value none

    def write(lib, x, v):
        y = x * 1
        y[for_lib(lib, key)] = v
        return y

    if not repeated:
        check(write, floats(4, 3, 5), values, grad=grad)
        if len(shape) > 0:
            check(write, floats(4, 3, 5), values[-1:] if shape[0] else values, grad=grad)


def test_numpy_keys_are_tensors():
    x = np.arange(12.0).reshape(4, 3)
    for key in (
        np.array([1, 3]),
        np.array([[0, 1], [1, 2]]),
        x > 4,
        np.int64(2),
        (np.array([0, 1]), np.int32(1)),
    ):
        np.testing.assert_array_equal(
            gs.tensor(x.tolist())[key].cpu().numpy(), x[key].astype(np.float32)
        )


def test_a_range_is_a_list_of_integers():
    same(gs.arange(6.0).reshape(3, 2)[range(2)], torch.arange(6.0).reshape(3, 2)[range(2)])


def random_key(rng, shape):
    """A key of a few parts; arrays of one key broadcast together."""
    parts, dim = [], 0
    index_shape = tuple(rng.integers(1, 4, rng.integers(0, 3)))
    while dim < len(shape) and rng.random() < 0.9:
        kind = rng.integers(0, 7)
        n = shape[dim]
        if kind == 0 and n > 0:
            parts.append(int(rng.integers(-n, n)))
        elif kind == 1:
            start, stop = sorted(int(v) for v in rng.integers(-n - 1, n + 2, 2))
            parts.append(slice(start, stop, int(rng.integers(1, 4))))
        elif kind == 2:
            parts.append(None)
            continue
        elif kind in (3, 4) and n > 0:
            own = tuple(
                1 if rng.random() < 0.3 else s
                for s in index_shape[rng.integers(0, len(index_shape) + 1) :]
            )
            parts.append(rng.integers(-n, n, own))
        elif kind == 5 and Ellipsis not in [p for p in parts if not isinstance(p, np.ndarray)]:
            parts.append(Ellipsis)
            dim += int(rng.integers(0, len(shape) - dim + 1)) - 1
        else:
            parts.append(slice(None))
        dim += 1
    return tuple(parts)


@pytest.mark.parametrize("seed", range(150))
def test_a_random_key_reads_writes_and_differentiates_as_in_pytorch(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(s) for s in rng.integers(0 if seed % 5 == 0 else 1, 5, rng.integers(1, 5)))
    key = random_key(rng, shape)
    x = floats(*shape, seed=seed)
    try:
        expected = tensor(torch, x)[for_lib(torch, key)]
    except IndexError as error:
        with pytest.raises(IndexError) as ours:
            tensor(gs, x)[for_lib(gs, key)]
        assert str(ours.value) == str(error)
        return
    check(lambda lib, t: t[for_lib(lib, key)], x)

    def add_in_place(lib, t, v):
        y = t * 1
        y[for_lib(lib, key)] = v
        return y

    where = [k for k in key if isinstance(k, np.ndarray)]
    if (
        not where
        or len(np.unique(np.stack(np.broadcast_arrays(*where)).reshape(len(where), -1), axis=1).T)
        == where[0].size
        == np.broadcast_arrays(*where)[0].size
        and all((w >= 0).all() for w in where)
    ):
        check(add_in_place, x, floats(*expected.shape, seed=seed + 1))


def test_views_share_memory_and_gathers_do_not():
    x = gs.zeros(3, 4)
    x[1][2] = 5
    x[:, 0][:] = 7
    x[[0, 1]][0] = 100
    expected = torch.zeros(3, 4)
    expected[1][2] = 5
    expected[:, 0] = 7
    same(x, expected)


def test_writing_from_an_overlapping_view_is_refused():
    for lib in (gs, torch):
        for key in (slice(1, None), [1, 2, 3]):
            x = lib.arange(4.0)
            with pytest.raises(
                RuntimeError, match="some elements of the input tensor and the written"
            ):
                x[key] = x[:-1]


def test_augmented_assignment_through_an_index():
    def step(lib, x):
        y = x * 1
        y[[0, 2]] += 1
        y[1, :2] *= 3
        y[y > 1] -= 0.5
        return y

    check(step, floats(4, 3))


def test_a_number_is_converted_to_the_tensors_type():
    for value in (1.75, -1, True):
        for key in (0, [0, 1], np.array([True, False, True])):
            x, y = gs.arange(3), torch.arange(3)
            x[for_lib(gs, key)] = value
            y[for_lib(torch, key)] = value
            same(x, y)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16"]
)
def test_every_dtype_can_be_indexed(dtype):
    a = ints(0, 2, 4, 3)
    for key in (0, (S(None), 1), [0, 3, 3], ([0, 1], [2, 0]), mask(4, 3)):
        x, y = tensor(gs, a, dtype), tensor(torch, a, dtype)
        same(x[for_lib(gs, key)], y[for_lib(torch, key)])
        x[for_lib(gs, key)] = 1
        y[for_lib(torch, key)] = 1
        same(x, y)


def test_index_put_adds_repeated_places():
    def put(lib, x, v):
        return x.index_put((lib.tensor([0, 1, 0]),), v, accumulate=True)

    check(put, floats(3, 4), floats(3, 4, seed=1))
    check(put, floats(3, 4), floats(4, seed=1))
    check(lambda lib, x, v: (x * 1).index_put_([lib.tensor([1, 2])], v), floats(3), floats(seed=1))


@pytest.mark.cpu_only  # the CPU's threads
def test_large_reads_and_writes_do_not_depend_on_the_number_of_threads():
    x, at = floats(3000, 64, dtype=np.float32), ints(0, 3000, 20000)
    results = []
    for threads in (1, 2):
        gs.set_num_threads(threads)
        t, i = gs.tensor(x), gs.tensor(at)
        read = t[i]
        added = gs.zeros(3000, 64).index_put((i,), read, accumulate=True)
        results.append((read.cpu().numpy(), added.cpu().numpy()))
    np.testing.assert_array_equal(results[0][0], x[at])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


ERRORS = [
    lambda lib, x: x[0, 0, 0],
    lambda lib, x: x["a"],
    lambda lib, x: x[1.5],
    lambda lib, x: x[{}],
    lambda lib, x: x[5],
    lambda lib, x: x[:, -4],
    lambda lib, x: x[lib.tensor([5])],
    lambda lib, x: x[:, lib.tensor([-5])],
    lambda lib, x: x[lib.tensor([True])],
    lambda lib, x: x[:, lib.tensor([[True, False]])],
    lambda lib, x: x[lib.tensor([1.0])],
    lambda lib, x: x[lib.tensor([0, 1]), lib.tensor([0, 1, 2])],
    lambda lib, x: x[::-1],
    lambda lib, x: x[::0],
    lambda lib, x: x[0.5:1],
    lambda lib, x: x["a":1],
    lambda lib, x: lib.tensor(1.0)[0],
    lambda lib, x: lib.tensor(1.0)[:],
    lambda lib, x: lib.tensor(1.0)[0, 0],
    lambda lib, x: x.__setitem__(0, lib.zeros(4)),
    lambda lib, x: x.__setitem__(lib.tensor([0, 1]), lib.zeros(4)),
    lambda lib, x: x.__setitem__(lib.tensor([0, 1]), lib.zeros(3, dtype=lib.int64)),
    lambda lib, x: x.__setitem__(x > 2, lib.tensor([1.0, 2.0])),
    lambda lib, x: x.__setitem__(0, "a"),
    lambda lib, x: x.__setitem__(0, [1, 2, 3]),
    lambda lib, x: x.__setitem__(0, None),
    lambda lib, x: x.__delitem__(0),
    lambda lib, x: x.index_put_((lib.tensor([0]),), lib.tensor([1])),
    lambda lib, x: x.index_put_((lib.tensor([0]),) * 3, lib.tensor([1.0])),
    lambda lib, x: x.requires_grad_().__setitem__(0, 1.0),
    lambda lib, x: x.requires_grad_().__setitem__([0], 1.0),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_bad_key_raises_pytorchs_error(number):
    check_error(ERRORS[number], floats(2, 3, dtype=np.float32))


@pytest.mark.cpu_only  # a GPU finds it while it writes: test_cuda_index.py
def test_a_bad_index_leaves_the_tensor_alone():
    x = gs.zeros(3, 2)
    with pytest.raises(IndexError):
        x[gs.tensor([0, 1, 7])] = 1.0
    assert x.sum().item() == 0 and x._version == 0
