# SPDX-License-Identifier: Apache-2.0
"""Optimizers with PyTorch's names: `SGD(model.parameters(), lr=0.1)`, then `zero_grad()`,
`backward()`, `step()`. A step is one fused update of all tensors of a parameter group.
"""

from typing import TYPE_CHECKING, Any

from gradstep.optim import lr_scheduler
from gradstep.optim.adadelta import Adadelta
from gradstep.optim.adagrad import Adagrad
from gradstep.optim.adam import Adam, AdamW
from gradstep.optim.adamax import Adamax
from gradstep.optim.asgd import ASGD
from gradstep.optim.nadam import NAdam
from gradstep.optim.optimizer import Optimizer
from gradstep.optim.radam import RAdam
from gradstep.optim.rmsprop import RMSprop
from gradstep.optim.rprop import Rprop
from gradstep.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
]

# Loaded at first use: few programs need them.
_LAZY = {
    "Adafactor": "adafactor",
    "LBFGS": "lbfgs",
    "Muon": "muon",
    "SparseAdam": "sparse_adam",
    "lbfgs": "",
    "sparse_adam": "",
    "swa_utils": "",
}


if TYPE_CHECKING:
    from . import lbfgs as lbfgs, sparse_adam as sparse_adam, swa_utils as swa_utils
    from .adafactor import Adafactor as Adafactor
    from .lbfgs import LBFGS as LBFGS
    from .muon import Muon as Muon
    from .sparse_adam import SparseAdam as SparseAdam
else:

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            import importlib

            module = importlib.import_module(f"gradstep.optim.{_LAZY[name] or name}")
            value = getattr(module, name) if _LAZY[name] else module
            globals()[name] = value
            return value
        raise AttributeError(f"module 'gradstep.optim' has no attribute '{name}'")
