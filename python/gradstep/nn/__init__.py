# SPDX-License-Identifier: Apache-2.0
"""Neural networks: ``nn.Module``, layers, losses, ``nn.functional``, ``nn.init``, ``nn.utils``.

model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
"""

from typing import TYPE_CHECKING, Any

from . import (
    attention as attention,
    functional as functional,
    init as init,
    modules as modules,
    parameter as parameter,
    utils as utils,
)
from .modules import *  # noqa: F403
from .parameter import (
    Buffer as Buffer,
    Parameter as Parameter,
    UninitializedBuffer as UninitializedBuffer,
    UninitializedParameter as UninitializedParameter,
)

if TYPE_CHECKING:
    from . import common_types, parallel
    from .modules.linear_cross_entropy_options import LinearCrossEntropyOptions
    from .parallel import DataParallel
else:

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in ("common_types", "parallel"):
            return import_module(f"{__name__}.{name}")
        if name == "DataParallel":
            return import_module(f"{__name__}.parallel").DataParallel
        if name == "LinearCrossEntropyOptions":
            options = import_module(f"{__name__}.modules.linear_cross_entropy_options")
            return options.LinearCrossEntropyOptions
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
