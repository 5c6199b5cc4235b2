# SPDX-License-Identifier: Apache-2.0
"""Neural networks: ``nn.Module``, layers, losses, ``nn.functional``, ``nn.init``, ``nn.utils``.

model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
"""

from . import attention, functional, init, modules, parameter, utils
from .modules import *  # noqa: F403
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
