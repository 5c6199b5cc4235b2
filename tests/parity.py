# SPDX-License-Identifier: Apache-2.0
"""The same call in gradstep and in PyTorch: `check(lambda lib, x: lib.sort(x)[0], x)` compares values, gradients
and gradients of gradients, for contiguous and permuted inputs; `check_error` compares what is raised."""

import numpy as np
import pytest

import gradstep as gs
from devices import text_of, wait

torch = pytest.importorskip("torch")


def floats(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def ints(low, high, *shape, seed=0, dtype=np.int64):
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def mask(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).random(shape) < 0.5


def tensor(lib, array, dtype=None):
    """A tensor with an array's values; `dtype` by name where numpy has none."""
    array = np.asarray(array)
    t = (
        lib.tensor(array.tolist(), dtype=getattr(lib, array.dtype.name))
        .reshape(tuple(array.shape))
        .clone()
    )
    return t if dtype is None else t.to(getattr(lib, dtype))


def to_numpy(t):
    t = t.detach()
    name = str(t.dtype).rsplit(".", 1)[-1]
    return (t.float() if name == "bfloat16" else t).cpu().numpy()


def flatten(out):
    if isinstance(out, (tuple, list)):
        return [t for part in out for t in flatten(part)]
    return [out]


def same(ours, theirs, rtol=1e-6, atol=1e-8):
    ours, theirs = flatten(ours), flatten(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert tuple(a.shape) == tuple(b.shape)
        assert str(a.dtype).rsplit(".", 1)[-1] == str(b.dtype).rsplit(".", 1)[-1]
        x, y = to_numpy(a), to_numpy(b)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, equal_nan=True)


def run(lib, fn, arrays, permuted, grad):
    """Values, first and second derivatives of fn."""
    leaves, inputs = [], []
    for array in arrays:
        flip = permuted and array.ndim > 1
        leaf = tensor(lib, array.T if flip else array)
        if grad and array.dtype.kind == "f":
            leaf.requires_grad_()
            leaves.append(leaf)
        inputs.append(leaf.permute(*reversed(range(array.ndim))) if flip else leaf)
    out = flatten(fn(lib, *inputs))
    results = [t.detach() for t in out]
    if not leaves:
        return results
    wanted = [t for t in out if t.requires_grad]
    assert wanted, "no output has a gradient"
    loss = sum(
        ((t * t + t) * tensor(lib, floats(*t.shape, seed=5)).to(t.dtype)).sum() for t in wanted
    )
    first = lib.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
    results += [g for g in first if g is not None]
    again = sum(
        (g * tensor(lib, floats(*g.shape, seed=6)).to(g.dtype)).sum()
        for g in first
        if g is not None and g.requires_grad
    )
    if not isinstance(again, int):
        results += [g for g in lib.autograd.grad(again, leaves, allow_unused=True) if g is not None]
    return results


def check(fn, *arrays, grad=True, permuted=(False, True)):
    arrays = [np.asarray(a) for a in arrays]
    for flip in permuted if any(a.ndim > 1 for a in arrays) else (False,):
        same(run(gs, fn, arrays, flip, grad), run(torch, fn, arrays, flip, grad))


def check_error(fn, *arrays):
    """fn raises the same type and the same first line in both libraries."""
    found = []
    for lib in (gs, torch):
        inputs = [tensor(lib, np.asarray(a)) for a in arrays]
        with pytest.raises(Exception) as info:
            fn(lib, *inputs)
            wait()
        found.append(info.value)
    ours, theirs = found
    assert type(ours).__name__ == type(theirs).__name__, (ours, theirs)
    assert text_of(ours).splitlines()[0] == str(theirs).splitlines()[0]
