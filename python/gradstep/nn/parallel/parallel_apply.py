# SPDX-License-Identifier: Apache-2.0
"""parallel_apply(): each module with its own arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..modules.module import Module

__all__ = ["get_a_var", "parallel_apply"]


def get_a_var(obj: Any) -> Any:
    """A tensor out of nested lists, tuples and dicts, or None."""
    from gradstep._C import Tensor

    if isinstance(obj, Tensor):
        return obj
    for part in (
        obj.values() if isinstance(obj, dict) else obj if isinstance(obj, (list, tuple)) else ()
    ):
        found = get_a_var(part)
        if found is not None:
            return found
    return None


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:
    """[module(*input, **kwargs), ..]; one after the other, since launches on a GPU return at once anyway."""
    if len(modules) != len(inputs):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}"
        )
    kwargs = kwargs_tup if kwargs_tup is not None else [{}] * len(modules)
    return [
        module(*(args if isinstance(args, (list, tuple)) else (args,)), **(named or {}))
        for module, args, named in zip(modules, inputs, kwargs, strict=True)
    ]
