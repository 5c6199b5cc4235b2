# SPDX-License-Identifier: Apache-2.0
"""PyTorch's name of a class or function of gradstep, and back: files carry PyTorch's names only.

`to_torch(nn.Linear)` is ("torch.nn.modules.linear", "Linear"); `from_torch("torch.nn.modules.linear", "Linear")` is
the class. PyTorch's modules are finer than ours in places: a class is looked for in the packages around, too.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

# First names of modules that are gradstep's; `gradstep run` adds torch, which its classes then call their home.
ROOTS = {"gradstep"}

# Where PyTorch keeps classes whose module has another name here.
_MODULES = {
    "BatchNorm": "torch.nn.modules.batchnorm",
    "InstanceNorm": "torch.nn.modules.instancenorm",
    "LazyBatchNorm": "torch.nn.modules.batchnorm",
    "LazyInstanceNorm": "torch.nn.modules.instancenorm",
    "SyncBatchNorm": "torch.nn.modules.batchnorm",
    "ChannelShuffle": "torch.nn.modules.channelshuffle",
    "Fold": "torch.nn.modules.fold",
    "Unfold": "torch.nn.modules.fold",
    "PixelShuffle": "torch.nn.modules.pixelshuffle",
    "PixelUnshuffle": "torch.nn.modules.pixelshuffle",
    "MultiheadAttention": "torch.nn.modules.activation",
    "AdamW": "torch.optim.adamw",
    "DistributedSampler": "torch.utils.data.distributed",
    "Generator": "torch._C",
    "_LinAlgError": "torch._C",
}


def to_torch(module: str, name: str) -> tuple[str, str]:
    """PyTorch's (module, name) of gradstep's; what is not gradstep's stays as it is."""
    if not is_ours(module):
        return module, name
    moved = _MODULES.get(name.rstrip("123").removesuffix("d").rstrip("123"), _MODULES.get(name))
    if moved is not None:
        return moved, name
    return "torch" + module[len(module.partition(".")[0]) :], name


def attribute(module: str, name: str) -> Any:
    """The object, or None where the module or the name is not there."""
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return None
        raise
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def from_torch(module: str, name: str) -> Any:
    """gradstep's object for PyTorch's (module, name); UnpicklingError if there is none."""
    ours = "gradstep" + module[len("torch") :]
    while ours:
        found = attribute(ours, name)
        if found is not None:
            return found
        ours = ours.rpartition(".")[0]
    raise pickle.UnpicklingError(f"the file needs {module}.{name}, which gradstep does not have")


def is_ours(module: str) -> bool:
    """Whether a module's name is gradstep's."""
    return module.partition(".")[0] in ROOTS


def is_torch(module: str) -> bool:
    """Whether a module's name is PyTorch's."""
    return module == "torch" or module.startswith("torch.")
