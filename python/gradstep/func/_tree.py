# SPDX-License-Identifier: Apache-2.0
"""Nested tuples, lists and dicts as flat lists, and back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

Rebuild = Callable[[list[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """The leaves from left to right, and what makes such a tree of as many others."""
    if isinstance(tree, (tuple, list)):
        keys, children = None, list(tree)
    elif type(tree) in (dict, OrderedDict, defaultdict):
        keys, children = list(tree), list(tree.values())
    else:
        return [tree], lambda leaves: leaves[0]
    parts = [flatten(child) for child in children]
    counts = [len(leaves) for leaves, _ in parts]

    def rebuild(leaves: list[Any]) -> Any:
        out, at = [], 0
        for (_, make), n in zip(parts, counts, strict=True):
            out.append(make(leaves[at : at + n]))
            at += n
        if keys is not None:
            pairs = zip(keys, out, strict=True)
            return OrderedDict(pairs) if isinstance(tree, OrderedDict) else dict(pairs)
        if hasattr(tree, "_fields"):
            return type(tree)(*out)
        return tuple(out) if isinstance(tree, tuple) else out

    return [leaf for leaves, _ in parts for leaf in leaves], rebuild


def tree_map(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with fn of each leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([fn(leaf) for leaf in leaves])


def broadcast(prefix: Any, tree: Any) -> list[Any] | None:
    """A leaf of `prefix` for each leaf of `tree`, whose upper part it resembles; None if it does not."""
    if isinstance(prefix, (tuple, list)):
        if type(prefix) is not type(tree) or len(prefix) != len(tree):
            return None
        parts = [broadcast(p, t) for p, t in zip(prefix, tree, strict=True)]
    elif isinstance(prefix, dict):
        if not isinstance(tree, dict) or list(prefix) != list(tree):
            return None
        parts = [broadcast(prefix[k], tree[k]) for k in tree]
    else:
        return [prefix] * len(flatten(tree)[0])
    if any(p is None for p in parts):
        return None
    return [leaf for p in parts if p is not None for leaf in p]
