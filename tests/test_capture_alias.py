# SPDX-License-Identifier: Apache-2.0
"""Arguments that share memory with a known tensor at one call and not at another: ops that write look whether their
source lies in the target's own memory, which they copy first or refuse, so such a call has a recording of its own."""

import numpy as np
import pytest

import gradstep as torch
from gradstep import capture

N = 16
ORDER = np.random.default_rng(1).permutation(N)


def tensor(seed=0):
    return torch.tensor(np.random.default_rng(seed).standard_normal((N, N)).astype(np.float32))


def through(w, x, rows, columns):
    y = (x * 2).tanh()
    w.copy_(x)
    return y


SCRIPTS = {
    "copy_": (lambda w, x, rows, columns: w.copy_(x).sum(), lambda w: w.t()),
    "copy_ after a chain": (through, lambda w: w.t()),
    "w[rows] = x": (lambda w, x, rows, columns: w.__setitem__(rows, x), lambda w: w),
    "index_copy_": (lambda w, x, rows, columns: w.index_copy_(0, rows, x).sum(), lambda w: w),
    "index_add_": (lambda w, x, rows, columns: w.index_add_(0, rows, x).sum(), lambda w: w),
    "scatter_": (lambda w, x, rows, columns: w.scatter_(0, columns, x).sum(), lambda w: w),
    "scatter_add_": (lambda w, x, rows, columns: w.scatter_add_(0, columns, x).sum(), lambda w: w),
    "a shifted part": (lambda w, x, rows, columns: w[1:].copy_(x[:-1]).sum(), lambda w: w),
    "shifted columns": (lambda w, x, rows, columns: w[:, 1:].copy_(x[:, :-1]).sum(), lambda w: w),
    "reading only": (lambda w, x, rows, columns: w + x, lambda w: w.t()),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_memory_shared_at_a_replay_only(name):
    body, shared = SCRIPTS[name]
    rows = torch.tensor(ORDER)
    columns = rows.reshape(N, 1).expand(N, N).contiguous()
    found = []
    for captured in (False, True):
        w = tensor()

        def step(x, w=w):
            return body(w, x, rows, columns)

        step = capture(step) if captured else step
        outcomes = []
        # Apart: as it is, recorded, replayed. Then shared, likewise; and apart once more.
        for x in (*(tensor(k) for k in range(4)), *[shared(w)] * 3, tensor(9)):
            try:
                result = step(x)
            except RuntimeError as error:
                result = None
                outcomes.append(str(error))
            outcomes.append(w.cpu().numpy().tobytes())
            if isinstance(result, torch.Tensor):
                outcomes.append(result.cpu().numpy().tobytes())
        found.append(outcomes)
    assert found[0] == found[1]
