# SPDX-License-Identifier: Apache-2.0
"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradstep import _C
from gradstep.nn.modules.module import Module
from gradstep.nn.modules.normalization import _BatchNorm

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]

Place = tuple[dict[str, Any], str]  # a table of a module and a name in it


def _places(module: Any) -> dict[str, Place]:
    """Where each parameter and buffer stands, under all of its names."""
    found: dict[str, Place] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is not None:
                    found[f"{prefix}.{name}" if prefix else name] = (table, name)
    return found


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other tensors in place of parameters and buffers.

    parameter_and_buffer_dicts: {name: tensor}, or a sequence of such dicts. tie_weights: a tensor
    given for one name of a shared parameter stands under all of them. strict: names must be all of
    the module's and no others.
    """
    given: dict[str, Any] = {}
    if isinstance(parameter_and_buffer_dicts, dict):
        given = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, Sequence):
        for part in parameter_and_buffer_dicts:
            if not isinstance(part, dict):
                raise ValueError(
                    "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
                )
            repeated = set(part) & set(given)
            if repeated:
                raise ValueError(
                    f"{sorted(repeated)} appeared in multiple dictionaries; behavior of functional "
                    "call is ambiguous"
                )
            given = {**given, **part}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(parameter_and_buffer_dicts)}"
        )
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    places = _places(module)
    unexpected = sorted(set(given) - set(places))
    missing = sorted(set(places) - set(given))
    if strict and (unexpected or missing):
        text = f"Error(s) in reparametrizing for {type(module).__name__}:"
        for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
            if keys:
                text += f"\n\t{what} key(s): " + ", ".join(f"'{k}'" for k in keys) + "."
        raise RuntimeError(text)
    swapped: list[tuple[Place, Any]] = []
    try:
        for name, value in given.items():
            if name not in places:
                continue
            table, key = places[name]
            old = table[key]
            tied = [place for place in places.values() if place[0][place[1]] is old]
            for place in tied if tie_weights else [(table, key)]:
                if not tie_weights or not any(p is place for p, _ in swapped):
                    swapped.append((place, place[0][place[1]]))
                place[0][place[1]] = value
        return module(*args, **(kwargs or {}))
    finally:
        for (table, key), old in reversed(swapped):
            # A buffer that the module itself replaced is the caller's new one.
            if key in table and isinstance(table[key], _C.Tensor):
                table[key] = old


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of modules of one class, each name's stacked along a new dimension 0."""
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    all_params = [dict(m.named_parameters()) for m in models]
    params = {}
    for name in all_params[0]:
        values = [p[name] for p in all_params]
        wanted = {v.requires_grad for v in values}
        if len(wanted) > 1:
            raise RuntimeError(
                "Expected parameters from different models to have the same .requires_grad"
            )
        params[name] = _C.stack([v.detach() for v in values]).requires_grad_(wanted.pop())
    all_buffers = [dict(m.named_buffers()) for m in models]
    buffers = {name: _C.stack([b[name] for b in all_buffers]) for name in all_buffers[0]}
    return params, buffers


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Takes the running statistics off all batch norms of a module, in place."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = None
            module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root
