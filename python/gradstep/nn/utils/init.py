# SPDX-License-Identifier: Apache-2.0
"""skip_init: a module whose parameters are not filled."""

from __future__ import annotations

import inspect
from typing import Any

from ..modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """module_cls(*args, **kwargs) with uninitialised parameters and no random number drawn."""
    from gradstep import default_generator

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = default_generator.get_state()
    module = module_cls(*args, **kwargs)
    default_generator.set_state(state)
    return module
