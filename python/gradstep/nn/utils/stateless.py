# SPDX-License-Identifier: Apache-2.0
"""functional_call: a module's forward pass with other parameters and buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gradstep._C import Tensor

from ..modules.module import Module

__all__ = ["functional_call"]


def _tied(module: Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values under all names of a parameter that the module has several times."""
    by_tensor: dict[int, list[str]] = {}
    for named in (
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    ):
        for name, tensor in named:
            by_tensor.setdefault(id(tensor), []).append(name)
    out = dict(tensors)
    for names in by_tensor.values():
        given = [n for n in names if n in tensors]
        if len({id(tensors[n]) for n in given}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(given)}, which are tied. "
                "Consider using tie_weights=False"
            )
        for name in names if given else ():
            out[name] = tensors[given[0]]
    return out


@contextlib.contextmanager
def _swapped(module: Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """Within the block the module's tables hold the given tensors."""
    undo: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, tensor in tensors.items():
            path, _, leaf = name.rpartition(".")
            owner = module.get_submodule(path) if path else module
            for table in (owner._parameters, owner._buffers):
                if leaf in table:
                    undo.append((table, leaf, table[leaf]))
                    table[leaf] = tensor  # type: ignore[assignment]
                    break
            else:
                undo.append((owner.__dict__, leaf, owner.__dict__[leaf]))
                owner.__dict__[leaf] = tensor
        yield
    finally:
        for table, leaf, old in reversed(undo):
            table[leaf] = old


def functional_call(
    module: Module,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with the given tensors in place of those of the same names.

    `parameters_and_buffers` is a dict or a tuple of dicts. Gradients flow to the given tensors. RuntimeError with
    strict=True if names are missing or unknown.
    """
    if isinstance(parameters_and_buffers, (list, tuple)):
        tensors: dict[str, Tensor] = {}
        for part in parameters_and_buffers:
            if tensors.keys() & part.keys():
                twice = sorted(tensors.keys() & part.keys())
                raise ValueError(f"{twice} appeared in multiple dictionaries")
            tensors.update(part)
    else:
        tensors = dict(parameters_and_buffers)
    known = {n for n, _ in module.named_parameters(remove_duplicate=False)}
    known |= {n for n, _ in module.named_buffers(remove_duplicate=False)}
    unknown = tensors.keys() - known
    if tie_weights:
        tensors = _tied(module, tensors)
    missing = known - tensors.keys()
    if strict and (unknown or missing):
        parts = [f"Unexpected key(s): {', '.join(sorted(unknown))}."] if unknown else []
        parts += [f"Missing key(s): {', '.join(sorted(missing))}."] if missing else []
        raise RuntimeError("Error(s) in functional_call. " + " ".join(parts))
    for name in unknown:
        owner: Any = module
        for part in name.split(".")[:-1]:
            owner = getattr(owner, part)
        if not isinstance(getattr(owner, name.rpartition(".")[2], None), Tensor):
            raise AttributeError(
                f"{type(module).__name__} has no attribute `{name.rpartition('.')[2]}`"
            )
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _swapped(module, tensors):
        return module(*args, **(kwargs or {}))
