# SPDX-License-Identifier: Apache-2.0
"""Gives gradstep to whoever imports `torch` or a submodule of it, in this process and its multiprocessing workers.

    install()
    import torch.nn.functional as F      # gradstep.nn.functional

The rule is one: `torch.a.b` is the module `gradstep.a.b`, the same object under a second name. What gradstep does not
have is a ModuleNotFoundError that says so. Packages that are compiled against PyTorch's C++ library can't be loaded
into this process; importing them is an ImportError that says why.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradstep._serialization.names import attribute, to_torch

if TYPE_CHECKING:
    from .report import Report

# Their extension modules link libtorch, so they need the tensors of the real PyTorch.
COMPILED = frozenset(
    "apex bitsandbytes causal_conv1d deepspeed detectron2 fairseq flash_attn flash_attn_2_cuda mamba_ssm "
    "mmcv nvdiffrast pytorch3d spconv tensordict tinycudann torch_cluster torch_scatter torch_sparse "
    "torch_spline_conv torch_tensorrt torch_xla torchao torchaudio torchcodec torchrl torchtext "
    "transformer_engine vllm xformers".split()
)


class MissingModule(ModuleNotFoundError):
    """Something of PyTorch's that gradstep does not have was imported."""


def own_name(name: str) -> str:
    """gradstep's name of PyTorch's module `name`: torch.nn -> gradstep.nn."""
    return "gradstep" + name[len("torch") :]


def torch_name(name: str) -> str:
    """PyTorch's name of gradstep's module `name`."""
    return "torch" + name[len("gradstep") :]


# ---- finding modules ----


def _own_module(name: str) -> ModuleType:
    """The module of gradstep that stands for PyTorch's `name`."""
    ours = own_name(name)
    try:
        return importlib.import_module(ours)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != ours and not ours.startswith(missing + "."):
            raise  # a module that gradstep itself needs
    # A module may be known as an attribute only.
    parent, _, leaf = ours.rpartition(".")
    found = getattr(sys.modules.get(parent), leaf, None)
    if isinstance(found, ModuleType):
        return found
    raise MissingModule(f"No module named {name!r}: gradstep has no {ours}", name=name)


class _Alias(importlib.abc.Loader):
    """Loads nothing: the module is there, under another name."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: Any) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has just put the alias's there


class _Refused(importlib.abc.Loader):
    """A package that is installed and cannot work: importing it says why."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError(
            f"{self.name} is compiled against PyTorch's own C++ library and can't work with gradstep, which stands in "
            f"for torch in this process (gradstep run). Run the script with PyTorch, or without {self.name}.",
            name=self.name,
        )


class Finder(importlib.abc.MetaPathFinder):
    """The import hook; it stands first in sys.meta_path."""

    def __init__(self, report: Report | None = None) -> None:
        self.report = report

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top == "torch":
            return self._alias(fullname)
        if fullname in COMPILED:
            if importlib.machinery.PathFinder.find_spec(fullname, path) is None:
                return None  # not installed: Python says so
            return importlib.machinery.ModuleSpec(fullname, _Refused(fullname))
        return None

    def _alias(self, fullname: str) -> importlib.machinery.ModuleSpec:
        try:
            module = _own_module(fullname)
        except MissingModule:
            if self.report is not None:
                self.report.missing(fullname)
            raise
        if self.report is not None:
            if module.__dict__.get("__stub__"):
                self.report.missing(fullname)
            module = self.report.watched(module)
        return importlib.machinery.ModuleSpec(
            fullname, _Alias(module), is_package=hasattr(module, "__path__")
        )


# ---- names ----


def _rename(module: ModuleType) -> None:
    """The module's classes are PyTorch's by name: print(type(x)) gives <class 'torch.Tensor'>."""
    for name, value in list(module.__dict__.items()):
        if not isinstance(value, type) or not value.__module__.startswith("gradstep"):
            continue
        home = to_torch(value.__module__, value.__qualname__)[0]
        if "._" in home and home != "torch._C":
            continue
        # pickle looks for a class where it says that it is.
        if attribute(own_name(home), value.__qualname__) is not value and not issubclass(
            value, Exception
        ):
            home = torch_name(value.__module__)
        if name == value.__qualname__.lstrip("_"):
            with contextlib.suppress(TypeError):  # a type that can't be changed
                value.__module__ = home


def _take_names() -> None:
    from gradstep import _missing
    from gradstep._serialization import names

    names.ROOTS.add("torch")
    _missing._shown = "torch"
    _missing._loaded = _rename
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "gradstep" and "._" not in name.removesuffix("._C"):
            _rename(module)


# ---- this process and its workers ----


class _Activate:
    """Unpickled in a spawned worker before anything else, it puts the hook there."""

    def __init__(self, report_folder: str | None) -> None:
        self.report_folder = report_folder

    def __reduce__(self) -> Any:
        return install, (self.report_folder,)


def _follow_spawned_workers(report_folder: str | None) -> None:
    from multiprocessing import spawn

    original = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {"gradstep": _Activate(report_folder), **original(name)}

    spawn.get_preparation_data = get_preparation_data


def installed() -> Finder | None:
    """The hook, if this process has one."""
    return next((f for f in sys.meta_path if isinstance(f, Finder)), None)


def install(report_folder: str | None = None) -> Finder:
    """Puts the hook into this process and all that multiprocessing starts from it (once).

    With a folder, what is used of PyTorch is noted, and workers leave their notes in the folder.
    """
    there = installed()
    if there is not None:
        return there
    real = sys.modules.get("torch")
    if real is not None and real.__name__ == "torch":
        raise RuntimeError("gradstep run: this process has imported the real torch already")
    import gradstep
    from gradstep.torch_version import API, TorchVersion

    # Scripts compare it with versions of PyTorch.
    gradstep.__version__ = TorchVersion(f"{API}+gradstep{gradstep.__version__}")
    report = None
    if report_folder is not None:
        from .report import Report

        report = Report(report_folder)
    _take_names()
    finder = Finder(report)
    sys.meta_path.insert(0, finder)
    _follow_spawned_workers(report_folder)
    return finder
