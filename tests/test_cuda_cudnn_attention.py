# SPDX-License-Identifier: Apache-2.0
"""Attention by cuDNN: that its stand-in (tests/cuda_shim/fake_cudnn_graph.cpp) computes from our graphs what our own
kernels do, which calls it gets at all, and on a real GPU that the two agree. The switches of torch.nn.attention."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import gradstep as torch
import gradstep.nn.functional as F
from gradstep.nn.attention import SDPBackend, sdpa_kernel
from test_cuda_conv import with_stand_in

HALVES = [torch.float16, torch.bfloat16]
OWN = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]


def runs() -> int:
    return torch._C._cuda_cudnn_attention_runs()


def heads(seed, batch, n, rows, width, dtype, thirds=False):
    """(batch, n, rows, width) on the GPU, in memory (batch, rows, n, width)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):
        x = torch.randn(batch, rows, n, width, generator=generator)
    return x.to(dtype).cuda().transpose(1, 2)


def inputs(dtype, batch=2, n=2, groups=None, queries=20, keys=128, width=16, v_width=None):
    groups = groups or n
    return [
        heads(1, batch, n, queries, width, dtype),
        heads(2, batch, groups, keys, width, dtype),
        heads(3, batch, groups, keys, v_width or width, dtype),
        heads(4, batch, n, queries, v_width or width, dtype),
    ]


def a_mask(*shape, kind="bool", blind=False):
    """Hides a third of the keys; `blind`: and all of them from some queries."""
    with torch.device("cpu"):
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    mask = noise > -0.4
    if blind:
        mask[..., 3:9, :] = False
    if kind != "bool":
        mask = torch.where(mask, noise, torch.tensor(float("-inf"), device="cpu"))
    return mask.cuda()


def results(tensors, mask=None, **options):
    """The output and the gradients of q, k and v."""
    *leaves, dy = (t.detach() for t in tensors)
    for leaf in leaves:
        leaf.requires_grad_()
    out = F.scaled_dot_product_attention(*leaves, attn_mask=mask, **options)
    out.backward(dy)
    return [t.detach().double().cpu() for t in (out, *(leaf.grad for leaf in leaves))]


def check(dtype, expected, mask=None, options=None, **shape):
    """`expected` of forward and gradient run by cuDNN; all results are near the exact ones."""
    tensors, options = inputs(dtype, **shape), options or {}
    wide = [t.cpu().double() for t in tensors]
    exact = results(wide, None if mask is None else mask.cpu(), **options)
    before = runs()
    got = results(tensors, mask, **options)
    assert runs() - before == expected, (runs() - before, shape)
    for name, a, b in zip(("out", "dq", "dk", "dv"), got, exact):
        error, size = float((a - b).abs().max()), max(1.0, float(b.abs().max()))
        assert error <= (4e-3 if dtype == torch.float16 else 3e-2) * size, (name, shape, error)


# What cuDNN is given: arguments of check(), and how many of forward and gradient it may do.
CASES = {
    "plain": (2, {}),
    "causal": (2, {"options": {"is_causal": True}, "queries": 70}),
    "more queries than keys": (2, {"options": {"is_causal": True}, "queries": 150}),
    "groups": (2, {"n": 4, "options": {"enable_gqa": True, "is_causal": True}}),
    "one group": (2, {"n": 3, "groups": 1, "options": {"enable_gqa": True}}),
    "two widths": (2, {"width": 8, "v_width": 24, "options": {"scale": 0.7}}),
    "one head": (2, {"batch": 1, "n": 1}),
    "odd keys": (2, {"keys": 70}),
    "mask": (2, {"mask": ((20, 128), "bool")}),
    "mask of keys": (2, {"mask": ((2, 1, 1, 128), "bool")}),
    "mask of each batch": (2, {"mask": ((2, 1, 20, 128), "float")}),
    "full mask": (2, {"mask": ((2, 2, 20, 128), "float")}),
    "blind rows": (2, {"mask": ((20, 128), "bool", True)}),
    "blind rows of keys": (2, {"mask": ((1, 2, 20, 128), "float", True)}),
    # The gradients where cuDNN's are not trusted are those of our own kernels.
    "mask of odd keys": (1, {"keys": 70, "mask": ((20, 70), "bool", True)}),
    "one query": (1, {"queries": 1}),
    # What cuDNN never gets.
    "one key": (0, {"keys": 1}),
    "width of 12": (0, {"width": 12}),
    "wide": (0, {"width": 264, "queries": 3, "batch": 1}),
}
CASES["groups"][1]["groups"] = 2


def check_case(name, dtype, expected=None):
    wanted, arguments = CASES[name]
    arguments = dict(arguments)
    if "mask" in arguments:
        shape, kind, *blind = arguments["mask"]
        arguments["mask"] = a_mask(*shape, kind=kind, blind=bool(blind))
    check(dtype, wanted if expected is None else expected, **arguments)


# ---- the stand-in ----

START = "import test_cuda_cudnn_attention as t\ntorch.set_default_device('cuda')\n"
pytestmark = pytest.mark.cuda


def run(tmp_path, code, **environment):
    return with_stand_in(tmp_path, START + code, **environment)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_cudnn_gets_the_graphs_that_are_meant(tmp_path, dtype):
    _, log = run(tmp_path, f"for name in t.CASES: t.check_case(name, {dtype})")
    assert not [line for line in log if line.startswith("error")]


def test_a_plan_is_made_once_for_each_shape_and_layout(tmp_path):
    code = "for i in range(3): t.check_case('causal', torch.float16)\n"
    _, log = run(tmp_path, code)
    assert [line.split()[0] for line in log] == ["plan", "run", "plan", "run"] + ["run"] * 4
    assert "select" in log[0] and "reshape" in log[2]
    code += """
q, k, v, dy = t.inputs(torch.float16, queries=70)
with torch.no_grad():
    F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.1)  # the same plan
    F.scaled_dot_product_attention(q.contiguous(), k, v, is_causal=True)
    F.scaled_dot_product_attention(q, k, v)
"""
    _, log = run(tmp_path, "import gradstep.nn.functional as F\n" + code)
    assert sum(line.startswith("plan") for line in log) == 4


def test_layouts_that_cudnn_does_not_take_are_computed_by_our_kernels(tmp_path):
    code = """
import gradstep.nn.functional as F
q, k, v, dy = t.inputs(torch.float16)
odd = torch.randn(2 * 2 * 20 * 16 + 1, dtype=torch.float16)[1:].view(2, 2, 20, 16)
narrow = torch.randn(2, 2, 20, 20, dtype=torch.float16)[..., :16]
for x in (odd, narrow):
    with torch.nn.attention.sdpa_kernel(t.OWN):
        own = F.scaled_dot_product_attention(x, k, v)
    assert torch.equal(F.scaled_dot_product_attention(x, k, v), own)
F.scaled_dot_product_attention(q.float(), k.float(), v.float())
"""
    assert run(tmp_path, code)[1] == []


def test_deterministic_gradients_are_those_of_our_kernels(tmp_path):
    code = "torch.use_deterministic_algorithms(True)\nt.check_case('plain', torch.float16, 1)\n"
    _, log = run(tmp_path, code)
    assert [line.split()[0] for line in log] == ["plan", "run"]


@pytest.mark.parametrize(
    ("version", "expected"), [("90800", 0), ("91400", 1), ("91500", 1), ("91501", 2)]
)
def test_cudnn_is_trusted_by_its_version(tmp_path, version, expected):
    code = f"t.check_case('odd keys', torch.float16, {expected})"
    run(tmp_path, code, FAKE_CUDNN_VERSION=version)


@pytest.mark.parametrize("mode", ["none", "refuse"])
def test_without_a_plan_of_cudnn_our_kernels_run(tmp_path, mode):
    _, log = run(tmp_path, "t.check_case('mask', torch.float16, 0)", FAKE_CUDNN=mode)
    assert not any(line.startswith("run") for line in log)


def test_cudnn_that_fails_says_so(tmp_path):
    code = "try: t.check_case('plain', torch.float16)\nexcept RuntimeError as e: print(e)"
    out, _ = run(tmp_path, code, FAKE_CUDNN="fail")
    assert "CUDNN_STATUS_EXECUTION_FAILED (5000) in cudnnBackendExecute" in out


def test_switches_choose_who_computes(tmp_path):
    code = """
import gradstep.nn.functional as F
from gradstep.nn.attention import SDPBackend as B, sdpa_kernel
q, k, v, dy = t.inputs(torch.float16)
def ran(*allowed):
    before = t.runs()
    with sdpa_kernel(list(allowed)):
        F.scaled_dot_product_attention(q, k, v)
    return t.runs() - before
assert ran(B.CUDNN_ATTENTION) == ran(B.CUDNN_ATTENTION, B.MATH) == 1
assert ran(B.MATH) == ran(B.FLASH_ATTENTION) == ran(B.EFFICIENT_ATTENTION, B.MATH) == 0
torch.backends.cudnn.enabled = False
assert ran(B.CUDNN_ATTENTION, B.MATH) == 0
try: ran(B.CUDNN_ATTENTION)
except RuntimeError as e: print(e)
torch.backends.cudnn.enabled = True
with sdpa_kernel(B.CUDNN_ATTENTION):
    try: F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    except RuntimeError as e: print(e)
"""
    out, _ = run(tmp_path, code)
    assert out.splitlines() == [
        "No available kernel. Aborting execution. (cuDNN: it is missing or switched off)",
        "No available kernel. Aborting execution. (cuDNN: it takes float16 and bfloat16)",
    ]


# ---- cuDNN itself ----


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", list(CASES))
def test_cudnn_and_our_kernels_agree(name, dtype):
    if not torch.backends.cudnn.is_available():
        pytest.skip("no cuDNN")
    check_case(name, dtype)
    with sdpa_kernel(OWN):
        check_case(name, dtype, 0)


def test_cudnn_has_plans_for_our_graphs():
    plugin = os.environ.get("GRADSTEP_CUDA_PLUGIN", "")
    program = Path(plugin).parent.parent / "cuda_api" / "attention_plans"
    if not program.exists():
        pytest.skip("tests/cuda_api was not built")
    done = subprocess.run([program], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("no cuDNN")
    assert done.returncode == 0, done.stdout


# ---- the switches ----


def enabled():
    cuda = torch.backends.cuda
    return (
        cuda.cudnn_sdp_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
    )


def test_sdpa_kernel_sets_the_switches_and_restores_them():
    assert enabled() == (True, True, True, True)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION]):
        assert enabled() == (True, False, False, True)
        with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION, set_priority=True):
            assert enabled() == (False, False, True, False)
        assert enabled() == (True, False, False, True)
    assert enabled() == (True, True, True, True)
    torch.backends.cuda.enable_flash_sdp(False)
    assert enabled() == (True, False, True, True)
    torch.backends.cuda.enable_flash_sdp(True)
    with torch.backends.cuda.sdp_kernel(enable_math=False):
        assert enabled() == (True, True, True, False)
    with pytest.raises(TypeError, match="SDPBackend"):
        sdpa_kernel("math")

    @sdpa_kernel(SDPBackend.MATH)
    def inside():
        return enabled()

    assert inside() == (False, False, False, True) and enabled() == (True, True, True, True)
