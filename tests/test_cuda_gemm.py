# SPDX-License-Identifier: Apache-2.0
"""Matrix products on a GPU beyond what the tests of all devices run there: tails of tiles, split sums, and the use of
cuBLASLt. On the emulated GPU a stand-in for that library computes what its descriptors say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gradstep as gs
from gradstep.nn import functional as F

pytestmark = pytest.mark.cuda

PLUGIN = Path(os.environ.get("GRADSTEP_CUDA_PLUGIN", ""))
FAKE = PLUGIN.parent / "fake" / "libcublasLt.so.13"
TOLERANCE = {
    gs.float64: 1e-11,
    gs.float32: 1e-4,
    gs.bfloat16: 0.05,
    gs.float16: 0.01,
    gs.int64: 0,
    gs.int32: 0,
}
SIZES = [
    (1, 1, 1),
    (3, 4, 5),
    (64, 16, 64),
    (65, 17, 66),
    (7, 130, 3),
    (1, 700, 1),
    (2, 1100, 3),
    (5, 0, 4),
]


def numbers(shape: tuple[int, ...], dtype: gs.dtype) -> gs.Tensor:
    """Small integers and halves: every type holds them."""
    n = 1
    for size in shape:
        n *= size
    values = (gs.arange(n, device="cpu") * 37 + 11) % 17 - 8
    return (values if dtype in (gs.int64, gs.int32) else values / 4).reshape(shape).to(dtype)


def assert_close(found: gs.Tensor, expected: gs.Tensor) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape and found.is_cuda
    tolerance = TOLERANCE[expected.dtype]
    gs.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance)


def layouts(shape: tuple[int, ...], dtype: gs.dtype) -> list[gs.Tensor]:
    """One matrix in several layouts: by rows, by columns, part of a larger one, with steps."""
    x = numbers(shape, dtype)
    by_columns = x.mT.contiguous().mT
    wide = gs.zeros((*shape[:-1], shape[-1] + 3), dtype=dtype, device="cpu")
    wide[..., 1 : shape[-1] + 1] = x
    steps = gs.zeros((*shape[:-1], 2 * shape[-1]), dtype=dtype, device="cpu")
    steps[..., ::2] = x
    return [x, by_columns, wide[..., 1 : shape[-1] + 1], steps[..., ::2]]


def on_gpu(x: gs.Tensor) -> gs.Tensor:
    """The same in the GPU's memory with the same strides and offset."""
    if x.numel() == 0:
        return x.cuda()
    base = gs.as_strided(x, (x.storage_offset() + span(x),), (1,), 0).to("cuda")
    return gs.as_strided(base, x.shape, x.stride(), x.storage_offset())


def span(x: gs.Tensor) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))


def check_products(dtype: gs.dtype) -> None:
    for m, k, n in SIZES:
        for batch in [(), (3,)]:
            left, right = layouts((*batch, m, k), dtype), layouts((*batch, k, n), dtype)
            for i in range(4):
                a, b = left[i], right[(i + m) % 4]
                assert_close(on_gpu(a) @ on_gpu(b), a @ b)
        a, b, c = numbers((m, k), dtype), numbers((k, n), dtype), numbers((m, n), dtype)
        assert_close(
            gs.addmm(c.cuda(), a.cuda(), b.cuda(), beta=2, alpha=3),
            gs.addmm(c, a, b, beta=2, alpha=3),
        )
        w = numbers((n, k), dtype)
        for bias in (
            numbers((n,), dtype),
            numbers((n + 1,), dtype)[1:],
            numbers((2 * n,), dtype)[::2],
        ):
            assert_close(F.linear(a.cuda(), w.cuda(), on_gpu(bias)), F.linear(a, w, bias))
        one = a[:1].expand(3, *a[:1].shape)
        many = numbers((3, k, n), dtype)
        assert_close(one.cuda()[:1].expand(3, 1, k) @ many.cuda(), one @ many)


def check_gradients(dtype: gs.dtype) -> None:
    """Two passes: the second one adds to .grad within the product."""
    found = []
    for device in ("cpu", "cuda"):
        leaves = [
            numbers(shape, dtype).to(device).requires_grad_() for shape in [(2, 3, 9), (4, 9), (4,)]
        ]
        for _ in range(2):
            (F.linear(*leaves) * 0.5).sum().backward()
        found.append([t.grad for t in leaves])
    for expected, got in zip(*found, strict=True):
        assert_close(got, expected)


def check_no_products_of_old_values() -> None:
    """beta = 0 does not read the output: fresh memory of the emulated GPU is no number in halves."""
    out = gs.full((3, 3), float("nan"), device="cuda")
    assert_close(
        gs.addmm(out, gs.ones(3, 2, device="cuda"), gs.ones(2, 3, device="cuda"), beta=0)
        .cpu()
        .cuda(),
        gs.full((3, 3), 2.0, device="cpu"),
    )


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_products_of_all_layouts_equal_the_cpus(dtype: gs.dtype) -> None:
    check_products(dtype)


@pytest.mark.parametrize("dtype", [gs.float32, gs.float64, gs.bfloat16], ids=str)
def test_gradients_equal_the_cpus(dtype: gs.dtype) -> None:
    check_gradients(dtype)


def test_output_is_not_read_without_beta() -> None:
    check_no_products_of_old_values()


PROGRAM = """
import ctypes
import warnings
import gradstep as gs
import test_cuda_gemm as t

lib = ctypes.CDLL("libcublasLt.so.13")
for dtype in (gs.float64, gs.float32, gs.bfloat16, gs.float16):
    before = lib.fake_products()
    t.check_products(dtype)
    assert lib.fake_products() > before + 60, (dtype, lib.fake_products() - before)
before = lib.fake_products()
t.check_products(gs.int64)
assert lib.fake_products() == before
for dtype in (gs.float32, gs.float64, gs.bfloat16):
    t.check_gradients(dtype)
t.check_no_products_of_old_values()

# An algorithm is looked for once for each kind of product.
a = gs.ones(8, 8, device="cuda")
a @ a
searches, products = lib.fake_searches(), lib.fake_products()
for _ in range(5):
    a @ a
assert (lib.fake_searches(), lib.fake_products()) == (searches, products + 5)

# TF32 has 10 bits of the operands, where it is allowed.
x = gs.full((4, 4), 1 + 2.0**-12, device="cuda")
exact = (x @ x).cpu()
gs.backends.cuda.matmul.allow_tf32 = True
short = (x @ x).cpu()
assert exact[0, 0].item() > 4.001 and short[0, 0].item() == 4.0, (exact, short)

# Without an algorithm the own kernel does it, which is told once for each kind of product.
for refusal in (1, 2):
    lib.fake_refuse(refusal)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for n in (5, 6, 5):
            x = gs.ones(n, refusal + 3, device="cuda")
            other = gs.ones(refusal + 3, 2, device="cuda")
            assert (x @ (other if refusal == 1 else other.mT.contiguous().mT)).tolist() == [[refusal + 3.0] * 2] * n
    kind = "rows" if refusal == 1 else "columns"
    texts = [str(w.message) for w in told]
    assert len(texts) == 1 and f"has no algorithm for products of float32 matrices stored by rows and by {kind}" in texts[0], texts
print("done")
"""


def run_with_cublaslt(program: str) -> None:
    """In a process of its own, in which the stand-in is found."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(FAKE.parent)}
    package = str(Path(gs.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [package, str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0 and run.stdout.endswith("done\n"), run.stdout + run.stderr


needs_cublaslt = pytest.mark.skipif(
    not FAKE.exists(), reason="the stand-in for cuBLASLt is built with the emulated GPU"
)


@needs_cublaslt
def test_cublaslt_is_used_as_documented() -> None:
    run_with_cublaslt(PROGRAM)
