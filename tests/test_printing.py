# SPDX-License-Identifier: Apache-2.0
"""repr(tensor) is PyTorch's, character by character."""

import numpy as np
import pytest
import torch

import gradstep as gs
from gradstep import _tensor_str

pytestmark = pytest.mark.cpu_only  # texts

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTS = ["uint8", "int8", "int16", "int32", "int64", "bool"]


@pytest.fixture(autouse=True)
def default_options():
    yield
    _tensor_str.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def options(**kwargs):
    _tensor_str.set_printoptions(**kwargs)
    torch.set_printoptions(**kwargs)


def same_text(fn):
    assert repr(fn(gs)) == repr(fn(torch))


def of(lib, values, dtype):
    t = lib.tensor(np.asarray(values, np.float64).reshape(-1).tolist(), dtype=lib.float64)
    return t.reshape(np.shape(values)).to(getattr(lib, dtype))


def values(rng, dtype):
    shape = [int(rng.choice([1, 2, 3, 7, 12])) for _ in range(rng.integers(0, 5))]
    if rng.random() < 0.1:
        shape = [*shape, 0]
    x = rng.standard_normal(shape) * 10.0 ** rng.choice([-6, -3, -1, 0, 0, 1, 2, 4, 9])
    if rng.random() < 0.3:
        x = np.round(x)
    if dtype in INTS:
        return np.clip(np.round(x), 0, 120)
    if rng.random() < 0.3:
        x = np.where(rng.random(x.shape) < 0.3, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0]), x)
    return np.clip(x, -6e4, 6e4) if dtype == "float16" else x


OPTIONS = [
    {"profile": "default"},
    {"profile": "short"},
    {"profile": "full"},
    {"precision": 2, "linewidth": 40},
    {"threshold": 5, "edgeitems": 2},
    {"threshold": 0, "edgeitems": 1, "linewidth": 120},
    {"threshold": 10, "edgeitems": 0},
    {"sci_mode": True},
    {"sci_mode": False, "precision": 6},
]


@pytest.mark.parametrize("dtype", FLOATS + INTS)
@pytest.mark.parametrize("chosen", OPTIONS, ids=str)
def test_text_of_random_tensors_is_torchs(chosen, dtype):
    options(**chosen)
    rng = np.random.default_rng(3)
    for _ in range(12):
        x = values(rng, dtype)
        same_text(lambda lib: of(lib, x, dtype))


@pytest.mark.parametrize(
    "shape", [(), (1,), (0,), (2, 0), (3, 4), (1000,), (1001,), (40, 60), (5, 30, 30)], ids=str
)
def test_text_of_every_shape_is_torchs(shape):
    same_text(lambda lib: lib.arange(int(np.prod(shape))).reshape(shape))
    same_text(lambda lib: lib.arange(int(np.prod(shape))).reshape(shape) / 7)


def test_dtype_is_told_where_it_cannot_be_guessed():
    for dtype in FLOATS + INTS:
        same_text(lambda lib: of(lib, [1, 0], dtype))
        same_text(lambda lib: lib.zeros(0, dtype=getattr(lib, dtype)))
        same_text(lambda lib: lib.zeros(2, 0, dtype=getattr(lib, dtype)))


def test_gradients_are_told():
    same_text(lambda lib: lib.ones(3, requires_grad=True))
    same_text(lambda lib: lib.ones(3, requires_grad=True) * 2)
    same_text(lambda lib: lib.ones(18, requires_grad=True) * 2)
    same_text(lambda lib: lib.ones(3, 4, requires_grad=True).sum())
    same_text(lambda lib: lib.nn.Parameter(lib.ones(3)))


def test_views_print_their_own_elements():
    same_text(lambda lib: lib.arange(12).reshape(3, 4).t())
    same_text(lambda lib: lib.arange(12.0).reshape(3, 4)[:, ::2])
    same_text(lambda lib: lib.arange(3).expand(2, 3))


def test_str_and_format_are_torchs():
    x, y = gs.tensor([1.5, 2.0]), torch.tensor([1.5, 2.0])
    assert str(x) == str(y) and f"{x}" == f"{y}" and f"{x[0]:.3f}" == f"{y[0]:.3f}"


def test_options_can_be_read_and_set_for_a_block():
    before = _tensor_str.get_printoptions()
    with _tensor_str.printoptions(precision=1):
        assert repr(gs.tensor([1.26])) == "tensor([1.3])"
    assert _tensor_str.get_printoptions() == before
