# SPDX-License-Identifier: Apache-2.0
"""The type stub of the native module: fresh, complete, and enough for mypy to follow a user's script."""

import ast
import importlib.util
import pathlib

import pytest

from gradstep import _C

pytestmark = pytest.mark.cpu_only  # reads sources

ROOT = pathlib.Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "gradstep" / "_C.pyi"

SCRIPT = """
import gradstep as torch
import gradstep.nn.functional as F
from gradstep import nn

x: torch.Tensor = torch.zeros(2, 3)
y = x.sum(dim=1, keepdim=True)
out: torch.Tensor = torch.nn.Linear(3, 4)(x)
values, places = torch.max(x, 1)
n: int = x.size(0)
shape: torch.Size = x.size()
loss: float = x.mean().item()
kind: torch.dtype = torch.float32
moved = x.to(device=torch.device("cuda", 0)).view(-1, 6).reshape((3, 2)) + 2 * x[0, 1:]
noise = torch.randn(2, 3, requires_grad=True, generator=torch.Generator()).uniform_(-1, 1)


@torch.no_grad()
def evaluate(t: torch.Tensor) -> torch.Tensor:
    return F.relu(torch.where(t > 0, t, 0.0)).softmax(-1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t)


torch.cat([x, y], dim=1).backward()
reveal_type(y)
reveal_type(torch.max(x, 1))
x.no_such_method()
torch.zeros(2, 3, dtype="float32")
"""


def maker():
    spec = importlib.util.spec_from_file_location("make_stubs", ROOT / "tools" / "make_stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(body):
    """The names that the statements of a stub define."""
    found = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
    return found


def test_the_committed_stub_is_what_the_tool_prints():
    assert STUB.read_text() == maker().render(), "run: python tools/make_stubs.py --write"


def test_every_public_name_of_the_native_module_is_in_the_stub():
    body = ast.parse(STUB.read_text()).body
    assert {n for n in dir(_C) if not n.startswith("_")} <= names(body)
    (tensor,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == "Tensor")
    there = {n for n in dir(_C.Tensor) if not n.startswith("_") and hasattr(_C.Tensor, n)}
    assert there <= names(tensor.body)
    assert "to_sparse_bsr" not in names(tensor.body)  # a placeholder


def test_the_package_says_that_it_is_typed():
    assert (STUB.parent / "py.typed").exists()


def test_mypy_follows_a_script_and_finds_its_errors(tmp_path):
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    found, errors, _ = api.run(
        [
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(tmp_path / "cache"),
            str(script),
        ]
    )
    assert errors == ""
    lines = [line.partition(": ")[2] for line in found.splitlines()]
    assert [line for line in lines if line.startswith("note: Revealed")] == [
        'note: Revealed type is "gradstep._C.Tensor"',
        'note: Revealed type is "tuple[gradstep._C.Tensor, gradstep._C.Tensor]"',
    ]
    (first, second) = (line for line in lines if line.startswith("error:"))
    assert '"Tensor" has no attribute "no_such_method"' in first
    assert "No overload variant" in second
