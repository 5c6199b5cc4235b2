# SPDX-License-Identifier: Apache-2.0
"""Convolution on a GPU: tails of tiles and sums in slices of our own kernels, and how cuDNN is called. The latter needs
the emulated GPU and its stand-in for cuDNN (tests/cuda_shim/fake_cudnn.cpp), in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gradstep as torch
import gradstep.nn.functional as F

pytestmark = pytest.mark.cuda


def gradients(device, dtype, x, w, bias, transposed=False, **options):
    f = getattr(F, f"conv{'_transpose' if transposed else ''}{len(x) - 2}d")
    torch.manual_seed(0)
    leaves = [torch.randn(s, device="cpu").to(dtype).to(device) for s in (x, w, bias)]
    for leaf in leaves:
        leaf.requires_grad_()
    y = f(*leaves, **options)
    y.backward(torch.randn(y.shape, device="cpu").to(dtype).to(device))
    return [t.cpu() for t in (y.detach(), *(leaf.grad for leaf in leaves))]


# Tiles are 64 x 64, steps 16; fewer than 8 rows take other kernels; sums of 512 and more are cut into slices.
SHAPES = [
    {"x": (2, 3, 17), "w": (5, 3, 3), "bias": (5,), "stride": 2},
    {"x": (2, 3, 11, 13), "w": (70, 3, 3, 3), "bias": (70,), "padding": 1},
    {
        "x": (3, 16, 9, 10),
        "w": (18, 8, 3, 2),
        "bias": (18,),
        "groups": 2,
        "stride": (2, 1),
        "dilation": (1, 2),
    },
    {"x": (2, 8, 12, 12), "w": (16, 1, 3, 3), "bias": (16,), "groups": 8, "padding": 1},
    {"x": (4, 3, 24, 23), "w": (9, 3, 3, 3), "bias": (9,), "padding": (0, 2)},
    {
        "x": (1, 4, 5, 6, 7),
        "w": (8, 2, 3, 2, 3),
        "bias": (8,),
        "groups": 2,
        "dilation": (1, 2, 2),
        "padding": 2,
    },
    {
        "x": (2, 16, 5, 6),
        "w": (16, 9, 3, 2),
        "bias": (9,),
        "transposed": True,
        "stride": (1, 2),
        "output_padding": (0, 1),
    },
    {
        "x": (2, 4, 9),
        "w": (4, 2, 3),
        "bias": (4,),
        "transposed": True,
        "groups": 2,
        "stride": 3,
        "padding": 1,
    },
]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}


def check(dtype, shape):
    for ours, theirs in zip(gradients("cuda", dtype, **shape), gradients("cpu", dtype, **shape)):
        a, b = ours.double(), theirs.double()
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert float((a - b).abs().max()) <= TOLERANCE[dtype] * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s["x"])))
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_products_equal_those_of_the_cpu(dtype, shape):
    check(dtype, shape)


# ---- cuDNN's stand-in ----


def with_stand_in(tmp_path, code, **environment):
    """The output of code in a process that finds the stand-in, and what that was asked for."""
    plugin = os.environ.get("GRADSTEP_CUDA_PLUGIN", "")
    folder = Path(plugin).parent / "fake"
    if not (folder / "libcudnn.so.9").exists():
        pytest.skip("the stand-in for cuDNN belongs to the emulated GPU")
    log = tmp_path / "log"
    log.write_text("")
    code = "import gradstep as torch\nimport test_cuda_conv as t\n" + code
    paths = [
        str(Path(__file__).parent),
        str(Path(torch.__file__).parents[1]),
        os.environ.get("PYTHONPATH", ""),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "FAKE_CUDNN_LOG": str(log),
            "PYTHONPATH": ":".join(p for p in paths if p),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, log.read_text().splitlines()


ONCE = "t.gradients('cuda', torch.float32, **t.SHAPES[1])\n"


def runs(log):
    return [line for line in log if "algorithm=" in line]


def test_cudnn_gets_descriptors_that_say_what_is_meant(tmp_path):
    _, log = with_stand_in(tmp_path, "for d in t.TOLERANCE:\n for s in t.SHAPES: t.check(d, s)")
    assert len(runs(log)) >= 3 * len(TOLERANCE) * len(SHAPES)
    # Algorithm 1 refuses groups when it runs: the next one is taken, and remembered.
    assert any("algorithm=0" in line for line in log) and any("algorithm=1" in line for line in log)


def test_cudnn_switches_choose_math_and_algorithms(tmp_path):
    _, log = with_stand_in(tmp_path, ONCE)
    assert len(runs(log)) == 3 and all("algorithm=1 math=0" in line for line in runs(log))
    _, log = with_stand_in(tmp_path, "torch.backends.cudnn.allow_tf32 = False\n" + ONCE)
    assert len(runs(log)) == 3 and all("algorithm=1 math=3" in line for line in runs(log))
    _, log = with_stand_in(tmp_path, "torch.backends.cudnn.deterministic = True\n" + ONCE)
    assert len(runs(log)) == 3 and all("algorithm=0" in line for line in runs(log))


def test_cudnn_searches_once_for_each_shape(tmp_path):
    _, log = with_stand_in(tmp_path, ONCE * 2)
    assert len(runs(log)) == 6 and sum(line.startswith("get ") for line in log) == 3
    checked = (
        "torch.backends.cudnn.benchmark = True\n" + "t.check(torch.float32, t.SHAPES[1])\n" * 2
    )
    _, log = with_stand_in(tmp_path, checked)
    assert len(runs(log)) == 6 and sum(line.startswith("find ") for line in log) == 3


def test_cudnn_that_fails_says_so_and_can_be_switched_off(tmp_path):
    code = f"try: {ONCE}except RuntimeError as e: print(e)\n"
    out, _ = with_stand_in(tmp_path, code, FAKE_CUDNN="fail")
    assert "CUDNN_STATUS_EXECUTION_FAILED (5000) in cudnnConvolutionForward of cuDNN 91901" in out
    assert "torch.backends.cudnn.enabled = False" in out
    off = "torch.backends.cudnn.enabled = False\nt.check(torch.float32, t.SHAPES[1])\n"
    _, log = with_stand_in(tmp_path, off, FAKE_CUDNN="fail")
    assert log == []


def test_without_an_algorithm_of_cudnn_our_kernels_run(tmp_path):
    _, log = with_stand_in(tmp_path, "t.check(torch.float32, t.SHAPES[1])\n", FAKE_CUDNN="none")
    assert runs(log) == [] and len(log) == 3
