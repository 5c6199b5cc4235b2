# SPDX-License-Identifier: Apache-2.0
"""Helpers around training: `utils.data` (data sets, samplers, loaders), `utils.dlpack`,
`utils.checkpoint` (less memory for more time), `utils.benchmark`."""

from typing import TYPE_CHECKING, Any

from . import data, dlpack

__all__ = ["benchmark", "checkpoint", "data", "dlpack", "hooks"]


if TYPE_CHECKING:
    from . import benchmark as benchmark, checkpoint as checkpoint, hooks as hooks
else:

    def __getattr__(name: str) -> Any:
        if name in ("benchmark", "checkpoint", "hooks"):
            import importlib

            return importlib.import_module(f"gradstep.utils.{name}")
        raise AttributeError(f"module 'gradstep.utils' has no attribute '{name}'")
