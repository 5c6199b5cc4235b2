# SPDX-License-Identifier: Apache-2.0
"""One expression in gradstep and in torch: `check(lambda lib, x: x.sum(1), array)` compares values,
dtypes, first and second derivatives. Floating arrays get gradients; `views` lists how inputs are laid out."""

import itertools

import numpy as np
import torch

import gradstep as gs
from devices import text_of, wait


def numpy_of(t):
    return t.detach().numpy(force=True)


def leaves(result):
    """The tensors of a result that may be a tensor, a (named) tuple or a list."""
    if isinstance(result, (tuple, list)):
        return [t for r in result for t in leaves(r)]
    return [result]


def numbers(*shape, seed=0, dtype=np.float32):
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), dtype)


def tensor(lib, array, grad):
    t = lib.tensor(array.tolist(), dtype=getattr(lib, str(array.dtype))).reshape(array.shape)
    return t.requires_grad_() if grad and array.dtype.kind == "f" else t


def close(ours, theirs, rtol, atol, what):
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], what
    assert tuple(ours.shape) == tuple(theirs.shape), what
    np.testing.assert_allclose(numpy_of(ours), numpy_of(theirs), rtol=rtol, atol=atol, err_msg=what)


def derivatives(lib, outputs, inputs, order):
    """Gradients of all floating outputs, each weighted by its own numbers; then of these gradients."""
    found = []
    for level in range(order):
        total = None
        for k, t in enumerate(outputs):
            if t is None or not t.is_floating_point() or not t.requires_grad:
                continue
            weight = tensor(
                lib, numbers(*t.shape, seed=level + k + 1, dtype=numpy_of(t).dtype), False
            )
            term = (t * weight).sum()
            total = term if total is None else total + term
        if total is None or not total.requires_grad:
            break
        outputs = lib.autograd.grad(
            total, inputs, create_graph=level + 1 < order, allow_unused=True
        )
        found.append(outputs)
    return found


def check(fn, *arrays, order=2, rtol=1e-5, atol=1e-6):
    results = []
    for lib in (gs, torch):
        inputs = [tensor(lib, a, order > 0) for a in arrays]
        outputs = leaves(fn(lib, *inputs))
        wanted = [t for t in inputs if t.is_floating_point()]
        results.append((outputs, derivatives(lib, outputs, wanted, order) if wanted else []))
    (ours, our_grads), (theirs, their_grads) = results
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        close(a, b, rtol, atol, "value")
    missing = [None] * len(wanted)
    for level, (a, b) in enumerate(
        itertools.zip_longest(our_grads, their_grads, fillvalue=missing)
    ):
        for k, (x, y) in enumerate(zip(a, b)):
            what = f"derivative {level + 1} of input {k}"
            if x is None or y is None:  # no gradient and a gradient of zeros say the same
                rest = x if y is None else y
                assert rest is None or not numpy_of(rest).any(), what
            else:
                close(x, y, rtol * 4, atol * 4, what)


def same_error(fn):
    """`fn(lib)` raises the same type with the same text in both libraries."""
    errors = []
    for lib in (gs, torch):
        try:
            fn(lib)
            wait()
            errors.append(None)
        except Exception as e:  # noqa: BLE001
            errors.append((type(e), text_of(e)))
    assert errors[0] is not None and errors[0] == errors[1]
