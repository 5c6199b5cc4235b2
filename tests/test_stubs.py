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


def test_the_script_that_uses_the_api_is_typed(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(ROOT / "python"))
    script = ROOT / "tests" / "typed_script.py"
    options = ["--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    found, errors, _ = api.run([*options, str(script)])
    assert errors == ""
    assert [line for line in found.splitlines() if "typed_script.py" in line] == []
    assert "Module has no attribute" not in found  # names that are imported at first use


def test_the_script_that_uses_the_api_runs(capsys):
    import typed_script

    typed_script.main()
    assert int(capsys.readouterr().out) > 0


def test_the_stub_has_the_arguments_that_calls_take():
    """Names, kinds and defaults, read back from the stub, against the signatures that calls are matched with."""
    classes = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)]
    (tensor,) = (node.body for node in classes if node.name == "Tensor")
    checked = 0
    for owner, body in ((_C, ast.parse(STUB.read_text()).body), (_C.Tensor, tensor)):
        found = {}
        for node in body:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append(node.args)
        for name, overloads in found.items():
            for signature in getattr(getattr(owner, name, None), "__signatures__", ()):
                if name in ("size", "stride", "_make_subclass"):
                    continue  # an overload for each type of result; a static method
                assert any(same_arguments(a, signature) for a in overloads), (name, signature)
                checked += 1
    assert checked > 1000


def same_arguments(stub, signature):
    parts = [p for p in split_at_commas(signature[1 : signature.rindex(")")]) if p]
    star = parts.index("*") if "*" in parts else len(parts)
    names = [p.partition("=")[0].split()[-1] for p in parts if p != "*"]
    given = [a.arg.rstrip("_") for a in (*stub.posonlyargs, *stub.args)]
    given += [stub.vararg.arg] if stub.vararg else []
    keywords = [a.arg.rstrip("_") for a in stub.kwonlyargs]
    if given and given[0] == "self":
        names[0] = "self"
    if [n.rstrip("_") for n in names] != given + keywords or len(given) != star:
        return False
    wanted = [p.partition("=")[2] for p in parts if p != "*"]
    none = [None] * (len(stub.args) - len(stub.defaults))
    defaults = [*none, *stub.defaults, *([None] if stub.vararg else []), *stub.kw_defaults]
    for text, node in zip(wanted, defaults, strict=True):
        if node is None:
            if text and not stub.vararg:
                return False
        elif text and not isinstance(value := ast.literal_eval(node), type(...)):
            if repr(value) != text and str(value) != text and repr(value) != repr(ast.literal_eval(text)):  # fmt: skip
                return False
    return True


def split_at_commas(text):
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts]
