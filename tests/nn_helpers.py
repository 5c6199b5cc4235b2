# SPDX-License-Identifier: Apache-2.0
"""Comparing gradstep.nn with torch.nn: `both` builds a module in both libraries from one seed,
`same` compares trees of tensors, `same_error` compares what a fault raises."""

import numpy as np
import pytest
import torch

import gradstep as gs
from devices import on_the_cpu, text_of, wait


def to_numpy(t):
    return t.detach().cpu().numpy()


def as_gs(array):
    return gs.tensor(np.array(array))


def as_torch(array):
    return torch.from_numpy(np.array(array))


def same(a, b, rtol=1e-5, atol=1e-6):
    if isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y, rtol, atol)
    elif a is None or b is None:
        assert a is None and b is None
    else:
        x, y = to_numpy(a), to_numpy(b)
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def both(build):
    """The module that `build(nn)` makes in gradstep and in torch, from the same seed."""
    gs.manual_seed(7)
    ours = on_the_cpu(lambda: build(gs.nn))
    torch.manual_seed(7)
    theirs = build(torch.nn)
    return ours, theirs


def same_error(fn):
    """`fn(lib)` raises the same error with the same text in both libraries."""
    errors = []
    for lib in (gs, torch):
        with pytest.raises(Exception) as info:
            fn(lib)
            wait()
        errors.append(info.value)
    ours, theirs = errors
    assert type(ours).__name__ == type(theirs).__name__, (ours, theirs)
    assert text_of(ours).replace("gradstep.", "torch.") == str(theirs)


def data(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
