# SPDX-License-Identifier: Apache-2.0
"""Which layer may include which: docs/architecture.md, enforced on every `#include` line of cpp/ and cuda/."""

import pathlib
import re

import pytest

pytestmark = pytest.mark.cpu_only  # reads sources

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = sorted(
    p
    for folder in ("cpp", "cuda")
    for p in (ROOT / folder).rglob("*")
    if p.suffix in {".h", ".cpp", ".cu", ".cuh"}
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)

# A folder means all of its headers; nobody includes kernels/ or cuda/ from outside.
ALLOWED = {
    "core": {"core"},
    "fn": {"fn"},
    "graph": {"core", "fn", "graph"},
    "kernels": {
        "core",
        "fn",
        "kernels",
        "graph/call.h",
        "graph/cut.h",
        "graph/fused_map.h",
        "graph/build_info.h",
    },  # fmt: skip
    "cuda": {"core", "fn", "cuda", "graph/call.h", "graph/fused_map.h"},
    "ops": {"core", "fn", "graph", "ops"},
    "optim": {"core", "graph", "ops", "optim"},
    "python": {"core", "fn", "graph", "ops", "optim", "python"},
}
PYTHON = re.compile(
    r"^(Python\.h|structmember\.h|frameobject\.h|datetime\.h|pybind11/.*|numpy/.*)$"
)
CUDA = re.compile(
    r"^(cuda.*|cu(blas|dnn|rand|solver|sparse|b/).*|nvrtc.*|nvml.*|cooperative_groups.*)$"
)
# What cpp/fn may take from the standard library: fixed-width integers, integer sequences; simd.h and partial.h are
# host only.
FN_SYSTEM = {"cstdint", "utility"}
HOST_ONLY = {"cpp/fn/simd.h", "cpp/fn/partial.h"}


def layer_of(path):
    parts = path.relative_to(ROOT).parts
    return "cuda" if parts[0] == "cuda" else parts[1]


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def name(path):
    return str(path.relative_to(ROOT))


def fault(layer, bracket, header):
    """Why this include is not allowed; empty if it is."""
    if PYTHON.match(header):
        return "" if layer == "python" else "Python and pybind11 belong to cpp/python"
    if CUDA.match(header) and bracket == "<":
        return "" if layer == "cuda" else "CUDA headers belong to cuda/"
    if bracket == "<":
        allowed = layer != "fn" or header in FN_SYSTEM
        return "" if allowed else "cpp/fn is also compiled for GPUs: no system headers"
    if "/" not in header or header.startswith("."):
        return 'includes are relative to cpp/: "core/tensor.h"'
    allowed = header in ALLOWED[layer] or header.split("/")[0] in ALLOWED[layer]
    return "" if allowed else f"{layer} may not include {header.split('/')[0]}"


@pytest.mark.smoke
def test_includes_follow_the_layers():
    assert SOURCES
    faults = [
        f"{name(path)}: {header}: {why}"
        for path in SOURCES
        for bracket, header in includes(path)
        if not (name(path) in HOST_ONLY and bracket == "<")
        if (why := fault(layer_of(path), bracket, header))
    ]
    assert not faults, "\n".join(faults)


def test_every_folder_is_a_known_layer():
    assert {layer_of(p) for p in SOURCES} <= set(ALLOWED)


@pytest.mark.parametrize(
    ("layer", "bracket", "header"),
    [
        ("core", '"', "graph/call.h"),
        ("fn", '"', "core/tensor.h"),
        ("fn", "<", "cmath"),
        ("graph", '"', "ops/op.h"),
        ("kernels", '"', "graph/node.h"),
        ("kernels", '"', "ops/op.h"),
        ("ops", '"', "kernels/map.h"),
        ("ops", "<", "Python.h"),
        ("optim", "<", "pybind11/pybind11.h"),
        ("optim", '"', "fn/optim.h"),
        ("python", '"', "kernels/map.h"),
        ("python", '"', "cuda/runtime.h"),
        ("kernels", "<", "cuda_runtime.h"),
        ("core", "<", "cudnn.h"),
        ("core", '"', "error.h"),
    ],
)
def test_forbidden_includes_are_found(layer, bracket, header):
    assert fault(layer, bracket, header)


def test_headers_are_included_once():
    missing = [
        name(p)
        for p in SOURCES
        if p.suffix in {".h", ".cuh"} and "#pragma once" not in p.read_text()
    ]
    assert not missing


def test_every_file_names_its_licence():
    missing = [
        name(p)
        for p in SOURCES
        if not p.read_text().startswith("// SPDX-License-Identifier: Apache-2.0\n")
    ]
    assert not missing
