# SPDX-License-Identifier: Apache-2.0
"""Nested lists, tuples and dicts as a flat list of leaves and a description of the nesting."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

PyTree = Any
Context = Any
FlattenFunc = Callable[[Any], tuple[list[Any], Any]]
UnflattenFunc = Callable[[Iterable[Any], Any], Any]


class NodeDef(NamedTuple):
    type: type
    flatten_fn: FlattenFunc
    unflatten_fn: UnflattenFunc


SUPPORTED_NODES: dict[type, NodeDef] = {}


def register_pytree_node(
    cls: type, flatten_fn: FlattenFunc, unflatten_fn: UnflattenFunc, **kwargs: Any
) -> None:
    """Makes a class a node: flatten_fn(x) gives (children, context), unflatten_fn(children, context) x again."""
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def _dict(cls: type) -> None:
    SUPPORTED_NODES[cls] = NodeDef(
        cls, lambda d: (list(d.values()), list(d)), lambda v, keys: cls(zip(keys, v))
    )


SUPPORTED_NODES[list] = NodeDef(list, lambda x: (x, None), lambda v, _: list(v))
SUPPORTED_NODES[tuple] = NodeDef(tuple, lambda x: (list(x), None), lambda v, _: tuple(v))
SUPPORTED_NODES[namedtuple] = NodeDef(  # type: ignore[index]
    tuple, lambda x: (list(x), type(x)), lambda v, cls: cls(*v)
)
SUPPORTED_NODES[deque] = NodeDef(
    deque, lambda x: (list(x), x.maxlen), lambda v, maxlen: deque(v, maxlen=maxlen)
)
SUPPORTED_NODES[defaultdict] = NodeDef(
    defaultdict,
    lambda d: (list(d.values()), [d.default_factory, list(d)]),
    lambda v, c: defaultdict(c[0], zip(c[1], v)),
)
_dict(dict)
_dict(OrderedDict)


def _get_node_type(tree: Any) -> Any:
    cls = type(tree)
    if cls not in SUPPORTED_NODES and isinstance(tree, tuple) and hasattr(cls, "_fields"):
        return namedtuple
    return cls


@dataclass(frozen=True)
class TreeSpec:
    """How leaves are nested: the kind of node, its context (keys, ..) and its children."""

    type: Any
    context: Any
    children_specs: list[TreeSpec]

    @property
    def num_leaves(self) -> int:
        return sum(child.num_leaves for child in self.children_specs)

    @property
    def num_children(self) -> int:
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        return False

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves. ValueError if their number is another."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
                f"holds {self.num_leaves} items ({self})."
            )
        return self._build(iter(leaves))

    def _build(self, leaves: Any) -> Any:
        children = [child._build(leaves) for child in self.children_specs]
        return SUPPORTED_NODES[self.type].unflatten_fn(children, self.context)


@dataclass(frozen=True)
class LeafSpec(TreeSpec):
    """A leaf."""

    type: Any = None
    context: Any = None
    children_specs: list[TreeSpec] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "children_specs", [])

    @property
    def num_leaves(self) -> int:
        return 1

    def is_leaf(self) -> bool:
        return True

    def _build(self, leaves: Any) -> Any:
        return next(leaves)

    def __repr__(self) -> str:
        return "*"


_LEAF = LeafSpec()


def _flatten(tree: Any, leaves: list[Any], is_leaf: Callable[[Any], bool] | None) -> TreeSpec:
    kind = _get_node_type(tree)
    if kind not in SUPPORTED_NODES or is_leaf is not None and is_leaf(tree):
        leaves.append(tree)
        return _LEAF
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return TreeSpec(kind, context, [_flatten(child, leaves, is_leaf) for child in children])


def tree_flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """(leaves, nesting)"""
    leaves: list[Any] = []
    spec = _flatten(tree, leaves, is_leaf)
    return leaves, spec


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree again."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but got item of type "
            f"{type(treespec)}."
        )
    return treespec.unflatten(leaves)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves."""
    return tree_flatten(tree, is_leaf)[0]


tree_iter = tree_leaves


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The nesting."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any],
    tree: Any,
    *rests: Any,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """The tree of func(leaf, ..); further trees have the first one's nesting, or more below its leaves."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(_up_to(spec, rest) for rest in rests)]
    return spec.unflatten([func(*args) for args in zip(*columns)])


def _up_to(spec: TreeSpec, tree: Any) -> list[Any]:
    if spec.is_leaf():
        return [tree]
    kind = _get_node_type(tree)
    if kind != spec.type:
        raise ValueError(f"Node type mismatch; expected {spec.type}, but got {kind}.")
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    if len(children) != spec.num_children:
        raise ValueError(
            f"Node arity mismatch; expected {spec.num_children}, but got {len(children)}."
        )
    if isinstance(tree, dict) and context != spec.context:
        children = [tree[key] for key in spec.context]  # another order of the same keys
    return [x for s, child in zip(spec.children_specs, children) for x in _up_to(s, child)]


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Any = None) -> Any:
    """Calls func on each leaf and returns the tree itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def map_only(cls: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """A decorator: the function for values of that type (a type, tuple of types or predicate), others stay."""
    wanted = cls if callable(cls) and not isinstance(cls, type) else lambda x: isinstance(x, cls)
    return lambda func: lambda x: func(x) if wanted(x) else x


def tree_map_only(cls: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Any = None) -> Any:
    """tree_map for leaves of a type."""
    return tree_map(map_only(cls)(func), tree, is_leaf=is_leaf)


def tree_map_only_(cls: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Any = None) -> Any:
    """tree_map_ for leaves of a type."""
    return tree_map_(map_only(cls)(func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether it holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether it holds for one of the leaves."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
