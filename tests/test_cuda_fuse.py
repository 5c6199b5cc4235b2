# SPDX-License-Identifier: Apache-2.0
"""Fused maps on a GPU: what is compiled at run time has the bits of the separate kernels, on the emulated GPU through
stand-ins of NVRTC and the driver that use the host's compiler; the real NVRTC, where there is one, takes the same
sources for sm_80 and sm_90."""

from __future__ import annotations

import ctypes
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cuda

PLUGIN = Path(os.environ.get("GRADSTEP_CUDA_PLUGIN", ""))
FAKE = PLUGIN.parent / "fake_nvrtc"
emulated = pytest.mark.skipif(
    not (FAKE / "libnvrtc.so.13").exists(), reason="no stand-in for NVRTC: not the emulated GPU"
)

PROGRAMS = """
import warnings
import gradstep as torch
from gradstep.nn import functional as F
warnings.simplefilter("error")
torch.set_default_device("cuda")

def bits(v):
    if isinstance(v, (list, tuple)):
        return [bits(x) for x in v]
    v = v.detach().cpu().contiguous()
    return (v.view(torch.int16) if v.dtype in (torch.bfloat16, torch.float16) else v).numpy().tobytes()

def chain(x, y):
    return ((x * y + 1.5).tanh() - x * x).exp() * y + x

def layer(x, row, column):
    z = F.gelu(x * row + column)
    return z.sum(), z * 2 - row

def gradients(x, y):
    x = x.detach().requires_grad_()
    loss = (F.silu(x * y) * x.sigmoid() + F.softplus(x) / (y * y + 1)).square().sum()
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    (gg,) = torch.autograd.grad((g * g).sum(), x)
    return g.detach(), gg.detach()

def types(x, n):
    a = (x.bfloat16() * 3 + 1).half() - x.double()
    b = torch.where((x > 0.25) & (n > 3), a, n.float() * 2)
    return b.clamp(-1, 2), (x * 100).to(torch.int8).float() + n, ~(x > 0), (x < n).half() * 0.3

def in_place(x, y):
    x.mul_(y).add_(1).relu_()
    y.copy_(x * 2)
    return x + y

def compare(fn, *args):
    captured = torch.capture(fn)
    for k in range(5):
        shifted = [a + k if a.is_floating_point() else a for a in args]
        one, two = [[a.clone() for a in shifted] for _ in range(2)]
        expected, found = fn(*one), captured(*two)
        assert bits(found) == bits(expected), (fn.__name__, k)
        assert bits(two) == bits(one), (fn.__name__, k)
    (entry,) = captured._entries()
    return [s["op"] for s in entry.steps].count("fused_map")

torch.manual_seed(0)
N = 0
for n in (1, 3, 64, 1027):
    N += compare(chain, torch.randn(n), torch.randn(n))
N += compare(chain, torch.randn(33, 8).t(), torch.randn(33, 8).t())
N += compare(chain, torch.randn(12, 9)[:, 1:8], torch.randn(12, 9)[:, 2:9])
for m in (8, 7):
    N += compare(layer, torch.randn(5, m), torch.randn(m), torch.randn(5, 1))
N += compare(gradients, torch.randn(70), torch.randn(70))
N += compare(types, torch.rand(50), torch.arange(50) % 7)
N += compare(in_place, torch.randn(40), torch.randn(40))
special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-40, 3e38, 65520.0])
N += compare(chain, special, special.flip(0))
N += compare(types, special, torch.arange(8))
print("fused", N)
"""


def run(code: str, tmp_path: Path, **env: str) -> str:
    settings = {"LD_LIBRARY_PATH": str(FAKE), "XDG_CACHE_HOME": str(tmp_path / "cache"), **env}
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs above, run once: their sources and the log of the compilations."""
    folder = tmp_path_factory.mktemp("fused")
    out = run(
        PROGRAMS, folder, FAKE_NVRTC_KEEP=str(folder / "kept"), FAKE_NVRTC_LOG=str(folder / "log")
    )
    assert int(out.split()[-1]) >= 12
    return folder


@emulated
def test_fused_maps_have_the_bits_of_separate_kernels(compiled: Path) -> None:
    sources = [f.read_text() for f in (compiled / "kept").glob("*.cu")]
    assert any("Grad<Functor<" in s for s in sources)
    assert any("GradGrad<Functor<" in s for s in sources)
    # One kernel for all sizes and layouts.
    assert sum('Functor<"tanh">' in s and "Grad" not in s for s in sources) == 1


@emulated
def test_what_was_compiled_is_found_again(compiled: Path) -> None:
    log = compiled / "log"
    before = log.read_text()
    n = before.count("compiled 0")
    assert n == len(list((compiled / "kept").glob("*.cu")))
    files = sorted((compiled / "cache" / "gradstep" / "kernels").iterdir())
    assert len(files) == n and all(f.suffix == ".bin" for f in files)
    files[0].write_bytes(files[0].read_bytes()[:-9])  # cut off: compiled again
    text = bytearray(files[1].read_bytes())
    text[-1] ^= 1
    files[1].write_bytes(text)
    run(PROGRAMS, compiled, FAKE_NVRTC_LOG=str(log))
    assert log.read_text().count("compiled 0") == n + 2


ONE = """
import warnings
import gradstep as torch
f = torch.capture(lambda x: (x * 2 + 1).tanh() * x)
x = torch.randn(9, device="cuda")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(5):
        y = f(x)
        g = torch.capture(lambda x: (x * 3 + 2).exp())
        for _ in range(3):
            g(x)
assert torch.equal(y, (x * 2 + 1).tanh() * x)
print([str(w.message) for w in seen])
"""


@emulated
def test_without_nvrtc_maps_run_by_themselves_with_one_warning(tmp_path: Path) -> None:
    out = run(ONE, tmp_path, LD_LIBRARY_PATH="")
    assert out.startswith('["NVRTC was not found') and out.count("run by themselves") == 1
    out = run(ONE, tmp_path, FAKE_NVRTC="refuses")
    assert "the stand-in refuses" in out and out.count("run by themselves") == 1


# ---- the real NVRTC, without a GPU ----


def nvrtc() -> ctypes.CDLL | None:
    folders = [os.environ.get("GRADSTEP_NVRTC", ""), "/usr/local/cuda/lib64"]
    folders += [f"{p}/nvidia/cu13/lib" for p in (*site.getsitepackages(), *sys.path)]
    for folder in map(Path, folders):
        if (folder / "libnvrtc.so.13").exists():
            for builtins in folder.glob("libnvrtc-builtins.so.13.*"):
                ctypes.CDLL(str(builtins))
            return ctypes.CDLL(str(folder / "libnvrtc.so.13"))
    return None


def compile_with(lib: ctypes.CDLL, kept: Path, arch: str) -> bytes:
    """All kept sources as one program, which NVRTC compiles with the engine's flags."""
    include = kept / "include"
    headers = {
        str(f.relative_to(include)): f.read_bytes() for f in include.rglob("*") if f.is_file()
    }
    sources = [f.read_text() for f in sorted(kept.glob("*.cu"))]
    source = "".join(
        s.replace("struct Body", f"struct Body{k}").replace("(fused, Body)", f"(fused{k}, Body{k})")
        for k, s in enumerate(sources)
    )
    program = ctypes.c_void_p()
    texts = (ctypes.c_char_p * len(headers))(*headers.values())
    names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
    lib.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"fused.cu", len(headers), texts, names
    )
    flags = ["-std=c++20", "-fmad=false", "-default-device", "-w", "-DGS_RUNTIME_COMPILED"]
    flags.append(f"--gpu-architecture={arch}")
    options = (ctypes.c_char_p * len(flags))(*(f.encode() for f in flags))
    result = lib.nvrtcCompileProgram(program, len(flags), options)
    size = ctypes.c_size_t()
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    assert result == 0, f"{source}\n{log.value.decode()}"
    kind = "PTX" if arch.startswith("compute") else "CUBIN"
    getattr(lib, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    getattr(lib, f"nvrtcGet{kind}")(program, code)
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw


@emulated
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "compute_80"])
def test_nvrtc_compiles_the_sources(compiled: Path, arch: str) -> None:
    lib = nvrtc()
    if lib is None:
        pytest.skip("no NVRTC: pip install nvidia-cuda-nvrtc, or GRADSTEP_NVRTC=folder")
    code = compile_with(lib, compiled / "kept", arch)
    if arch != "compute_80":
        assert code.startswith(b"\x7fELF")
        return
    n = len(list((compiled / "kept").glob("*.cu")))
    assert code.count(b".visible .entry fused") == n
    # Rounded by themselves: without .rn a product and a sum might become one instruction.
    for plain in (b"mul.f32", b"add.f32", b"sub.f32", b"mul.f64", b"add.f64"):
        assert plain not in code
