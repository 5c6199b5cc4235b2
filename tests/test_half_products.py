# SPDX-License-Identifier: Apache-2.0
"""Products of bfloat16 and float16 against float64: sums are float and rounded once, however the product is cut,
transposed and batched, and by each of the ways that can multiply bfloat16."""

import os
import subprocess
import sys

import numpy as np
import pytest

import gradstep as gs

pytestmark = pytest.mark.cpu_only  # the CPU's kernels

# (batch, m, n, k): one number, vectors, tails of every tile, several blocks of k, thin, long, empty
SHAPES = (
    (0, 1, 1, 1), (0, 1, 300, 40), (0, 300, 1, 513), (0, 7, 5, 3), (0, 64, 96, 200), (0, 97, 33, 300),
    (0, 130, 270, 600), (0, 5000, 3, 70), (0, 3, 2000, 90), (0, 40, 40, 0), (0, 0, 4, 5), (0, 257, 129, 1),
    (0, 64, 64, 4200), (0, 32, 32, 17000),
    (1, 9, 8, 7), (3, 33, 17, 65), (6, 70, 65, 64), (40, 20, 16, 24), (2, 300, 260, 256), (4, 0, 3, 2),
)  # fmt: skip
DTYPES = ("bfloat16", "float16")


def matrix(rng, dtype, batch, rows, cols, transposed):
    """A tensor of halves, stored by columns if `transposed`, and its values."""
    shape = ((batch,) if batch else ()) + ((cols, rows) if transposed else (rows, cols))
    x = gs.tensor(rng.standard_normal(shape, dtype=np.float32)).to(dtype)
    x = x.transpose(-1, -2) if transposed else x
    return x, x.double().cpu().numpy()


def assert_rounded(got, exact, dtype, k):
    """One rounding of a sum of k products that were added in float."""
    eps = 2.0**-8 if dtype == gs.bfloat16 else 2.0**-11
    bound = np.abs(exact) * eps * 1.01 + 1e-6 * (1 + k)
    assert got.dtype == dtype
    error = np.abs(got.double().cpu().numpy() - exact)
    assert (error <= bound).all(), (got.shape, error.max())


def check_products(dtype):
    rng = np.random.default_rng(0)
    for batch, m, n, k in SHAPES:
        for trans_a, trans_b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            a, a64 = matrix(rng, dtype, batch, m, k, trans_a)
            b, b64 = matrix(rng, dtype, batch, k, n, trans_b)
            assert_rounded(gs.matmul(a, b), a64 @ b64, dtype, k)


def check_sums(dtype):
    """bias, alpha and beta are part of what is rounded."""
    rng = np.random.default_rng(1)
    for batch, m, n, k in ((0, 64, 96, 300), (0, 500, 3, 400), (0, 6, 7, 8), (5, 64, 66, 130)):
        a, a64 = matrix(rng, dtype, batch, m, k, 0)
        b, b64 = matrix(rng, dtype, batch, k, n, 1)
        c, c64 = matrix(rng, dtype, batch, m, n, 0)
        add = gs.baddbmm if batch else gs.addmm
        assert_rounded(add(c, a, b), c64 + a64 @ b64, dtype, k)
        exact = 0.5 * c64 - 2 * (a64 @ b64)
        assert_rounded(add(c, a, b, beta=0.5, alpha=-2), exact, dtype, k)
        if not batch:
            bias = c[0]
            exact = a64 @ b64 + c64[0]
            assert_rounded(gs.nn.functional.linear(a, b.t(), bias), exact, dtype, k)
            stepped = gs.stack([bias, bias], 1)[:, 0]
            assert_rounded(gs.nn.functional.linear(a, b.t(), stepped), exact, dtype, k)


def check_views(dtype):
    """Rows of a larger matrix, a shared matrix for a whole batch, and views that must be copied."""
    rng = np.random.default_rng(2)
    big, big64 = matrix(rng, dtype, 0, 300, 400, 0)
    a, a64 = big[10:210, 5:305], big64[10:210, 5:305]
    b, b64 = big[:300, 100:170], big64[:300, 100:170]
    assert_rounded(a @ b, a64 @ b64, dtype, 300)
    assert_rounded(a[::2, ::3] @ b[::3], a64[::2, ::3] @ b64[::3], dtype, 100)
    batch, batch64 = matrix(rng, dtype, 4, 100, 300, 0)
    assert_rounded(batch @ b, batch64 @ b64, dtype, 300)
    assert_rounded(b.t() @ batch.mT, b64.T @ batch64.swapaxes(1, 2), dtype, 300)
    shared = b.expand(4, 300, 70)
    assert_rounded(gs.bmm(batch, shared), batch64 @ b64, dtype, 300)


CHECKS = (check_products, check_sums, check_views)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("check", CHECKS)
def test_sums_are_rounded_once(check, dtype):
    check(getattr(gs, dtype))


def test_onednn_gives_the_same():
    """The way that machines with fast bfloat16 take; where there is none, the other one again."""
    env = dict(os.environ, GRADSTEP_BF16="onednn")
    env["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    code = "import gradstep as gs, test_half_products as t\nfor c in t.CHECKS: c(gs.bfloat16)"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_the_result(dtype):
    rng = np.random.default_rng(3)
    a, _ = matrix(rng, getattr(gs, dtype), 0, 200, 500, 0)
    b, _ = matrix(rng, getattr(gs, dtype), 0, 500, 300, 1)
    results = []
    for n in (1, 2, 3):
        gs.set_num_threads(n)
        results.append((a @ b).float().cpu().numpy())
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


def test_infinities_and_nan():
    x = gs.tensor([[float("inf"), 1.0], [float("nan"), 2.0], [3e38, 3e38]]).bfloat16()
    y = x @ gs.tensor([[1.0, 0.0], [1.0, 1.0]]).bfloat16()
    assert y[0, 0].item() == float("inf") and y[2, 0].item() == float("inf")
    assert all(v != v for v in (y[0, 1].item(), y[1, 0].item(), y[1, 1].item()))
