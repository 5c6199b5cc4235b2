# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site, with a reference made from the docstrings of the installed package:

python -m sphinx -W --keep-going -b html docs build/site
"""

import importlib
import inspect
import pathlib
import re
import types
from typing import Any

import gradstep
import gradstep._ops

project = "gradstep"
release = gradstep.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
master_doc = "index"
html_theme = "alabaster"
autodoc_member_order = "alphabetical"
myst_heading_anchors = 3
# Links of the pages to sources, examples and bench/ lead out of the site.
suppress_warnings = ["myst.xref_missing", "myst.header"]

HERE = pathlib.Path(__file__).resolve().parent
# Page, title, modules whose public names it has.
PAGES = [
    ("tensor", "Tensor", ["gradstep.Tensor"]),
    ("functions", "Functions of tensors", ["gradstep"]),
    ("nn", "Layers, losses and containers", ["gradstep.nn"]),
    ("functional", "nn.functional", ["gradstep.nn.functional"]),
    ("nn_tools", "nn.init, nn.utils", ["gradstep.nn.init", "gradstep.nn.utils", "gradstep.nn.utils.rnn"]),
    ("optim", "Optimizers and schedules", ["gradstep.optim", "gradstep.optim.lr_scheduler", "gradstep.optim.swa_utils"]),
    ("autograd", "Derivatives", ["gradstep.autograd", "gradstep.autograd.functional", "gradstep.func"]),
    ("amp", "Mixed precision", ["gradstep.amp"]),
    ("data", "Data", ["gradstep.utils.data"]),
    ("distributions", "Distributions", ["gradstep.distributions"]),
    ("mathematics", "linalg, special, fft", ["gradstep.linalg", "gradstep.special", "gradstep.fft"]),
    ("devices", "CUDA", ["gradstep.cuda"]),
    ("files", "Files", ["gradstep.serialization"]),
    ("profiler", "Profiling", ["gradstep.profiler"]),
    ("overrides", "Overriding functions", ["gradstep.overrides"]),
]  # fmt: skip


def public_values(path: str) -> list[tuple[str, Any]]:
    """The classes and functions of a module, or of Tensor, that are gradstep's; no placeholders."""
    owner: Any = gradstep.Tensor if path == "gradstep.Tensor" else importlib.import_module(path)
    found = []
    names = set(getattr(owner, "__all__", dir(owner)))
    if owner is gradstep:  # those that are imported at first use, too
        names |= {*gradstep._LAZY_FROM, *gradstep._ops._HOME}
    for name in sorted(names):
        try:
            value = getattr(owner, name)
        except (AttributeError, NotImplementedError):  # a name of PyTorch that is missing
            continue
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        home = getattr(value, "__module__", None) or ""
        in_python = inspect.isfunction(value) or inspect.isclass(value)
        if getattr(value, "__stub__", False) or (in_python and not home.startswith("gradstep")):
            continue
        if callable(value) or inspect.isdatadescriptor(value):
            found.append((name, value))
    return found


def public_names(path: str) -> list[tuple[str, Any]]:
    return [(n, v) for n, v in public_values(path) if (inspect.getdoc(v) or "").strip()]


def names_without_text(path: str) -> list[str]:
    return [n for n, v in public_values(path) if not (v.__doc__ or "").strip()]


def write_pages() -> None:
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    for page, title, paths in PAGES:
        lines = [title, "=" * len(title), ""]
        for path in paths:
            if len(paths) > 1:
                lines += [path, "-" * len(path), ""]
            lines += [f".. py:currentmodule:: {path.removesuffix('.Tensor')}", ""]
            for name, value in public_names(path):
                if path == "gradstep.Tensor":
                    kind = "autoattribute" if inspect.isdatadescriptor(value) else "automethod"
                elif inspect.isclass(value):
                    kind = "autoclass"
                else:
                    kind = "autofunction"
                lines += [f".. {kind}:: {path}.{name}", "   :no-index:", ""]
        (folder / f"{page}.rst").write_text("\n".join(lines) + "\n")
    toc = [
        "Reference",
        "=========",
        "",
        "Names, arguments, defaults and results are PyTorch's. Shapes: ``(*)`` is any number of axes, ``N`` a batch,",
        "``C`` channels, ``0-d`` a tensor without axes. Every function raises TypeError for arguments that fit no",
        "signature, RuntimeError for operands on several devices, and torch.OutOfMemoryError where there is no memory.",
        "",
    ]
    toc += [".. toctree::", "   :maxdepth: 1", "", *(f"   {page}" for page, _, _ in PAGES)]
    (folder / "index.rst").write_text("\n".join(toc) + "\n")


def as_plain_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain English: signatures, indented lines and examples are shown as they are, `code` as code."""
    short = name.rpartition(".")[2]
    out: list[str] = []
    literal = False
    for line in lines:
        code = line.startswith((f"{short}(", "    ", ">>> ")) or (
            literal and line.strip() != "" and bool(out and out[-1])
        )
        if not line.strip():
            literal = False
            out.append("")
            continue
        if code:
            if not literal:
                out += ["", ".. code-block:: text", ""]
            literal = True
            out.append("   " + line)
            continue
        literal = False
        if line.startswith(("Shape: ", "Dtype: ", "Raises: ", "Source: ")):
            out.append("")
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        text = "".join(
            "``" + p.strip("`") + "``"
            if p.startswith("`") and len(p) > 2
            else re.sub(r"([\\*_|`])", r"\\\1", p)
            for p in parts
        )
        out.append(
            text if not re.match(r"(\s*)([-+]|\d+\.|\(?\w\))\s", text) else "\\" + text.lstrip()
        )
    lines[:] = [*out, ""]


def setup(app: Any) -> None:
    write_pages()
    app.connect("autodoc-process-docstring", as_plain_text)
