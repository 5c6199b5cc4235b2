# SPDX-License-Identifier: Apache-2.0
"""Optimizers with PyTorch's names: `SGD(model.parameters(), lr=0.1)`, then `zero_grad()`,
`backward()`, `step()`. A step is one fused update of all tensors of a parameter group.
"""

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
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "lr_scheduler",
]
