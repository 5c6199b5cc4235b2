#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes python/gradstep/_names.py and _tensor_names.py: the public names of PyTorch by module, from the installed torch.

    python tools/make_names.py --write     # after a change of the reference version
    python tools/make_names.py --check     # exit 1 if the file is out of date

Public is what has no underscore in its path and was made in torch: a module's `__all__` and what is defined in it (in a
package: what it shows). Tools, examples and the insides of compilers are left out (_LEFT_OUT).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "gradstep"
_LEFT_OUT = tuple(
    "ao.nn ao.ns ao.pruning ao.quantization.backend_config ao.quantization.fx backends.xeon contrib cuda.tunable "
    "distributed.checkpoint.examples distributed.elastic distributed.examples distributed.flight_recorder "
    "distributed.nn.api distributed.nn.jit export.passes export.pt2_archive fx.experimental fx.passes "
    "masked.maskedtensor mtia.mtia_graph nativert nn.backends nn.intrinsic.modules nn.intrinsic.qat "
    "nn.intrinsic.quantized nn.qat nn.quantizable.modules nn.quantized.dynamic nn.quantized.modules onnx.ops "
    "onnx.symbolic_helper package.analyze quantization.fx utils.benchmark.examples utils.benchmark.op_fuzzers "
    "utils.benchmark.utils utils.bundled_inputs utils.data.datapipes utils.hipify utils.jit utils.serialization "
    "utils.tensorboard.summary utils.tensorboard.writer utils.viz".split()
)
_OPSETS = "onnx.symbolic_opset"
# Without the package tensorboard, PyTorch's module can't be imported.
_TENSORBOARD = "FileWriter RecordWriter SummaryWriter"


def _import(name: str) -> ModuleType | None:
    silent = io.StringIO()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            return importlib.import_module(name)
    except BaseException:  # noqa: B036  what an optional module raises is its own affair
        return None


def _modules(package: ModuleType) -> list[str]:
    found = []
    for info in pkgutil.iter_modules(getattr(package, "__path__", ())):
        name = f"{package.__name__}.{info.name}"
        inside = name.partition(".")[2]
        left_out = any(inside == n or inside.startswith(n + ".") for n in _LEFT_OUT)
        if info.name.startswith("_") or left_out or inside.startswith(_OPSETS):
            continue
        found.append(name)
        module = _import(name) if info.ispkg else None
        if module is not None:
            found += _modules(module)
    return found


def _is_theirs(value: Any, module: ModuleType) -> bool:
    if isinstance(value, ModuleType):
        return False  # a module is a key of its own
    made_in = getattr(value, "__module__", None)
    if type(value).__module__ in ("typing", "__future__"):
        return False
    if not isinstance(made_in, str):
        return True
    if made_in == module.__name__ or (made_in.startswith("torch") and hasattr(module, "__path__")):
        return True
    return not callable(value) and made_in.startswith("torch") and not isinstance(value, type)


def public_names(name: str) -> list[str]:
    """The public names of one module."""
    module = _import(name)
    if module is None:
        return []
    listed = frozenset(getattr(module, "__all__", ()))
    out = set()
    for n in {*listed, *dir(module)}:
        if isinstance(n, str) and n[:1] != "_" and n not in ("TYPE_CHECKING", "annotations"):
            value = getattr(module, n, None)
            if isinstance(value, ModuleType):
                continue
            if n in listed or _is_theirs(value, module):
                out.add(n)
    return sorted(out)


def files() -> dict[Path, str]:
    """The two files."""
    warnings.simplefilter("ignore")
    import torch

    version = torch.__version__.partition("+")[0]
    modules = sorted(["torch", *_modules(torch)])
    names = {name.partition(".")[2]: " ".join(public_names(name)) for name in modules}
    names["utils.tensorboard"] = _TENSORBOARD
    members = " ".join(sorted(n for n in dir(torch.Tensor) if n[:1] != "_"))
    start = "# SPDX-License-Identifier: Apache-2.0\n"
    by = f"of PyTorch {version}. Written by tools/make_names.py."
    listed = "".join(f'    "{key}": "{value}",\n' for key, value in sorted(names.items()))
    return {
        PACKAGE / "_names.py": f'{start}"""Public names {by}"""\n\nNAMES = {{\n{listed}}}\n',
        PACKAGE
        / "_tensor_names.py": f'{start}"""Members of Tensor {by}"""\n\nTENSOR = "{members}"\n',
    }


def main() -> int:
    new = files()
    if "--write" in sys.argv:
        for path, text in new.items():
            path.write_text(text)
        return 0
    return int(any(not path.exists() or path.read_text() != text for path, text in new.items()))


if __name__ == "__main__":
    sys.exit(main())
