# SPDX-License-Identifier: Apache-2.0
"""Transforms of functions: grad, vjp, jvp, jacrev, hessian, vmap, and functional_call for modules.

    torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, samples)     # gradients of each sample

Derivatives are those of autograd with create_graph, so they nest. vmap runs the function once for each slice and stacks
the results: what it gives is what PyTorch's gives, at the speed of a loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd import grad as _gradients
from gradstep.nn.utils.stateless import functional_call
from gradstep.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from .autograd.grad_mode import enable_grad

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "stack_module_state",
    "vjp",
    "vmap",
]

Argnums = int | tuple[int, ...]


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> tuple[Any, ...]:
    """The arguments of these positions, which may be negative."""
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    return tuple(args[n] for n in numbers)


def _fresh(tree: Any) -> Any:
    """The structure with tensors to differentiate by. They stay part of an outer transform's graph."""

    def one(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()

    return tree_map(one, tree)


def _with(args: tuple[Any, ...], argnums: Argnums, values: tuple[Any, ...]) -> list[Any]:
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    out = list(args)
    for n, value in zip(numbers, values, strict=True):
        out[n] = value
    return out


def _zeros_for_none(gradients: Sequence[Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [_C.zeros_like(x) if g is None else g for g, x in zip(gradients, inputs, strict=True)]


def _outer(args: Any) -> bool:
    """Whether results must stay differentiable: an outer transform or the caller differentiates."""
    return _C.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in tree_leaves(args)
    )


def _result(tree: Any, keep: bool) -> Any:
    return tree if keep else tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, tree)


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """(gradient, value) of a function with a 0-d result; with has_aux, func returns (result, aux) and this
    (gradient, (value, aux))."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        keep = _outer((args, kwargs))
        with enable_grad():
            inputs = _fresh(_chosen(args, argnums))
            out = func(*_with(args, argnums, inputs), **kwargs)
            aux = None
            if has_aux:
                if not (isinstance(out, tuple) and len(out) == 2):
                    raise RuntimeError(
                        "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is "
                        "True"
                    )
                out, aux = out
            if not isinstance(out, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}"
                )
            if out.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{out.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            leaves, spec = tree_flatten(inputs if isinstance(argnums, tuple) else inputs[0])
            tensors = [x for x in leaves if isinstance(x, Tensor)]
            found: Sequence[Any] = [None] * len(tensors)
            if out.requires_grad:
                found = _gradients(out, tensors, create_graph=True, allow_unused=True)
            parts = iter(_zeros_for_none(found, tensors))
            gradient = tree_unflatten(
                [next(parts) if isinstance(x, Tensor) else x for x in leaves], spec
            )
        value = (out, aux) if has_aux else out
        return _result(gradient, keep), _result(value, keep)

    return run


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a function with a 0-d result; with has_aux, (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return run


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), f) where f(cotangents) gives the products with the transposed Jacobian, one for each primal."""
    keep = _outer(primals)
    with enable_grad():
        inputs = _fresh(primals)
        out = func(*inputs)
        aux = None
        if has_aux:
            out, aux = out
    leaves, spec = tree_flatten(out)
    tensors, in_spec = tree_flatten(inputs)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, given_spec = tree_flatten(cotangents)
        if given_spec != spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given_spec}, primal output: {spec}"
            )
        pairs = [(o, g) for o, g in zip(leaves, given) if o.requires_grad]
        found: Sequence[Any] = [None] * len(tensors)
        if pairs:
            found = _gradients(
                [o for o, _ in pairs],
                tensors,
                [g for _, g in pairs],
                create_graph=True,
                allow_unused=True,
            )
        result = tree_unflatten(_zeros_for_none(found, tensors), in_spec)
        result = _result(result, keep or _outer(cotangents))
        return result[0] if len(primals) == 1 else result

    value = _result(out, keep)
    # As in PyTorch, the function gives a tuple also for one primal.
    wrapped = (lambda *a, **k: (pull(*a, **k),)) if len(primals) == 1 else pull
    return (value, wrapped, _result(aux, keep)) if has_aux else (value, wrapped)


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(func(*primals), Jacobian times tangents), by differentiating the transposed product by its cotangents."""
    keep = _outer((primals, tangents))
    with enable_grad():
        inputs = _fresh(tuple(primals))
        out = func(*inputs)
        aux = None
        if has_aux:
            out, aux = out
        leaves, spec = tree_flatten(out)
        sources, source_spec = tree_flatten(inputs)
        along, along_spec = tree_flatten(tuple(tangents))
        if along_spec != source_spec:
            raise RuntimeError("Expected primals and tangents to have the same python structure.")
        pushed = []
        for leaf in leaves:
            if not leaf.requires_grad:
                pushed.append(_C.zeros_like(leaf))
                continue
            dummy = _C.zeros_like(leaf).requires_grad_()
            back = _gradients(leaf, sources, dummy, create_graph=True, allow_unused=True)
            linear = [(b, t) for b, t in zip(back, along) if b is not None and b.requires_grad]
            if not linear:
                pushed.append(_C.zeros_like(leaf))
                continue
            found = _gradients(
                [b for b, _ in linear],
                dummy,
                [t for _, t in linear],
                create_graph=True,
                allow_unused=True,
            )
            pushed.extend(_zeros_for_none(found, [leaf]))
    value, tangent = _result(out, keep), _result(tree_unflatten(pushed, spec), keep)
    return (value, tangent, _result(aux, keep)) if has_aux else (value, tangent)


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """The Jacobian: for each output of shape (*out) and argument of shape (*in) a tensor (*out, *in)."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        keep = _outer((args, kwargs))
        with enable_grad():
            inputs = _fresh(_chosen(args, argnums))
            out = func(*_with(args, argnums, inputs), **kwargs)
            aux = None
            if has_aux:
                out, aux = out
            leaves, spec = tree_flatten(out)
            tensors, in_spec = tree_flatten(inputs if isinstance(argnums, tuple) else inputs[0])
            blocks = []
            for leaf in leaves:
                rows = []
                for element in leaf.reshape(-1).unbind() if leaf.numel() else ():
                    found: Sequence[Any] = [None] * len(tensors)
                    if element.requires_grad:
                        found = _gradients(element, tensors, create_graph=True, allow_unused=True)
                    rows.append(_zeros_for_none(found, tensors))
                columns = [
                    _C.stack([row[k] for row in rows]).reshape((*leaf.shape, *x.shape))
                    if rows
                    else x.new_zeros((*leaf.shape, *x.shape))
                    for k, x in enumerate(tensors)
                ]
                blocks.append(tree_unflatten(columns, in_spec))
            result = _result(tree_unflatten(blocks, spec), keep)
        return (result, _result(aux, keep)) if has_aux else result

    return run


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """The Jacobian, as jacrev computes it."""
    return jacrev(func, argnums, has_aux)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The Jacobian of the gradient."""
    return jacrev(jacrev(func, argnums), argnums)


# ---- vmap ----


def _dims(in_dims: Any, args: tuple[Any, ...]) -> tuple[list[Any], list[Any], Any]:
    """(leaves of the arguments, the mapped dimension of each or None, their nesting)"""
    leaves, spec = tree_flatten(args)
    if in_dims is None or isinstance(in_dims, int):
        dims = [in_dims if isinstance(x, Tensor) or in_dims is None else in_dims for x in leaves]
    else:
        if len(in_dims) != len(args):
            raise ValueError(
                "vmap: in_dims is not compatible with the structure of inputs. in_dims has structure "
                f"{in_dims} but inputs has {len(args)} arguments"
            )
        dims = []
        for dim, arg in zip(in_dims, args):
            if dim is None or isinstance(dim, int):
                dims += [dim] * len(tree_leaves(arg))
            else:
                dims += _broadcast(dim, arg)
    for x, dim in zip(leaves, dims):
        if dim is None:
            continue
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= dim < x.dim():
            raise ValueError(
                f"vmap: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {x.dim()} so "
                f"expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
    return leaves, dims, spec


def _broadcast(dims: Any, tree: Any) -> list[Any]:
    """One dimension for each leaf, where a number or None in `dims` stands for all leaves below."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(tree_leaves(tree))
    if isinstance(dims, dict):
        return [d for key in tree for d in _broadcast(dims[key], tree[key])]
    return [d for one, part in zip(dims, tree, strict=True) for d in _broadcast(one, part)]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """func over the slices of its arguments along in_dims; results are stacked along out_dims.

    It runs func once for each slice. randomness="same" gives every slice the same random numbers; "error" is not
    checked and draws as "different" does. ValueError for sizes that do not agree.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        leaves, dims, spec = _dims(in_dims, args)
        named, named_spec = tree_flatten(kwargs)
        # Keyword arguments are mapped over their first dimension.
        leaves, dims = leaves + named, dims + [0 if isinstance(x, Tensor) else None for x in named]
        sizes = [x.shape[d] for x, d in zip(leaves, dims) if d is not None]
        if not sizes:
            raise ValueError("vmap: at least one input must be mapped over a dimension, got none")
        if len(set(sizes)) > 1:
            raise ValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
                "mapped dimension"
            )
        n_args = len(leaves) - len(named)
        slices = [[x] * sizes[0] if d is None else x.unbind(d) for x, d in zip(leaves, dims)]
        state = _C.get_rng_state() if randomness == "same" else None
        outs, out_spec = [], None
        for i in range(sizes[0]):
            if state is not None:
                _C.set_rng_state(state)
            parts = [column[i] for column in slices]
            out = func(
                *tree_unflatten(parts[:n_args], spec), **tree_unflatten(parts[n_args:], named_spec)
            )
            flat, out_spec = tree_flatten(out)
            for x in flat:
                if not isinstance(x, Tensor):
                    raise ValueError(
                        f"vmap({getattr(func, '__name__', func)}, ...): `{getattr(func, '__name__', func)}` must only "
                        f"return Tensors, got type {type(x)}."
                    )
            outs.append(flat)
        if out_spec is None:
            raise ValueError(
                "vmap: the mapped dimension has size 0, so there is nothing to call func with"
            )
        template = tree_unflatten(list(range(out_spec.num_leaves)), out_spec)
        where = _broadcast(out_dims, template)
        stacked = []
        for k, dim in enumerate(where):
            column = [flat[k] for flat in outs]
            stacked.append(column[0] if dim is None else _C.stack(column, dim))
        return tree_unflatten(stacked, out_spec)

    return run


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of modules of one class, each stacked along a new first dimension."""
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stack(tables: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        out = {}
        for name, first in tables[0].items():
            both = _C.stack([t[name] for t in tables]).detach()
            out[name] = both.requires_grad_(first.requires_grad)
        return out

    return (
        stack([dict(m.named_parameters()) for m in models]),
        stack([dict(m.named_buffers()) for m in models]),
    )
