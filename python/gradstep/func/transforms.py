# SPDX-License-Identifier: Apache-2.0
"""Derivatives of functions as functions: grad, vjp, jvp, jacobians, hessian.

grad(lambda x: (x**3).sum())(x)        jacrev(f)(x)        hessian(f)(x)

Arguments and results are tensors or nested tuples, lists and dicts of them. They can be nested, and
a result can be differentiated outside by whatever it was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep.autograd.grad_mode import enable_grad

from ._tree import flatten, tree_map

__all__ = [
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "vjp",
]

Argnums = int | tuple[int, ...]

# ---- arguments and results ----


class _Level:
    """One differentiation: fresh copies of tensors, by which results are differentiated."""

    def __init__(self) -> None:
        self.outside_records = _C.is_grad_enabled()
        self.fresh: list[Any] = []

    def copy(self, tree: Any) -> Any:
        """The tree with tensors that gradients of this level stop at."""
        return tree_map(self._copy, tree)

    def _copy(self, x: Any) -> Any:
        if not isinstance(x, _C.Tensor):
            return x
        if x.requires_grad and self.outside_records:
            made = x.view_as(x)
        else:
            made = x.detach()
            if x.is_floating_point():
                made.requires_grad_()
        self.fresh.append(made)
        return made

    def leave(self, tree: Any) -> Any:
        """Results without the history that leads to this level only."""
        own = {id(t) for t in self.fresh}
        return tree_map(
            lambda x: (
                x if not isinstance(x, _C.Tensor) or self._reaches_outside(x, own) else x.detach()
            ),
            tree,
        )

    def _reaches_outside(self, x: Any, own: set[int]) -> bool:
        if not x.requires_grad or not self.outside_records:
            return False
        if x.grad_fn is None:
            return id(x) not in own
        nodes, seen = [x.grad_fn], {x.grad_fn}
        while nodes:
            node = nodes.pop()
            leaf = getattr(node, "variable", None)
            if leaf is not None and id(leaf) not in own:
                return True
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    nodes.append(following)
        return False


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> tuple[tuple[int, ...], Any]:
    """(places, whether there is one only): the arguments that are differentiated."""
    single = isinstance(argnums, int)
    if not single and (not isinstance(argnums, tuple) or not argnums):
        raise RuntimeError(f"argnums must be an int or a non-empty tuple of ints, got {argnums!r}")
    places = (argnums,) if isinstance(argnums, int) else argnums
    out = []
    for place in places:
        if not -len(args) <= place < len(args):
            raise RuntimeError(f"Got argnum={place}, but only {len(args)} positional inputs")
        out.append(place % len(args))
    if len(set(out)) != len(out):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(out), single


def _differentiated(
    level: _Level, args: tuple[Any, ...], argnums: Argnums
) -> tuple[tuple[Any, ...], Any, bool]:
    """(all arguments, those by which is differentiated as a tree, whether that is one argument)."""
    places, single = _chosen(args, argnums)
    copies = list(args)
    for place in places:
        copies[place] = level.copy(args[place])
    chosen = tuple(copies[p] for p in places)
    return tuple(copies), chosen[0] if single else chosen, single


def _with_aux(out: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return out


def _grads(outputs: list[Any], inputs: list[Any], vectors: list[Any], create: bool) -> list[Any]:
    """The gradients of outputs, zeros for what they do not depend on."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    places = [i for i, x in enumerate(inputs) if isinstance(x, _C.Tensor) and x.requires_grad]
    found: Any = [None] * len(places)
    if pairs and places:
        found = _C._grad(
            [o for o, _ in pairs],
            [inputs[i] for i in places],
            [v for _, v in pairs],
            True,
            create,
            True,
        )
    grads = [_C.zeros_like(x) if isinstance(x, _C.Tensor) else None for x in inputs]
    for place, g in zip(places, found, strict=True):
        if g is not None:
            grads[place] = g
    return grads


def _tensors_only(tree: Any, name: str, what: str) -> list[Any]:
    leaves, _ = flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, _C.Tensor):
            raise RuntimeError(
                f"{name}: Expected {what} to be Tensors or nested structures of them, got "
                f"{type(leaf).__name__}"
            )
    return leaves


# ---- gradients ----


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (gradient, value), or (gradient, (value, aux)) with has_aux.

    The gradient has the form of argument `argnums`, or is a tuple for a tuple of numbers.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level = _Level()
        with enable_grad():
            copies, by, _ = _differentiated(level, args, argnums)
            out, aux = _with_aux(func(*copies, **kwargs), has_aux, "grad_and_value(f)(*args)")
            if not isinstance(out, _C.Tensor):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a single tensor, got "
                    f"{type(out)}"
                )
            if out.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got "
                    f"tensor with {out.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs "
                    "instead?"
                )
            inputs, rebuild = flatten(by)
            _tensors_only(by, "grad", "inputs")
            found = _grads([out], inputs, [None], level.outside_records)
        grads = level.leave(rebuild(found))
        value = level.leave(out)
        return (grads, (value, level.leave(aux))) if has_aux else (grads, value)

    return wrapper


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of `func`, which returns one number.

    >>> import gradstep as torch
    >>> torch.func.grad(lambda x: (x**2).sum())(torch.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    both = grad_and_value(func, argnums, has_aux)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), vjp_fn) and aux with has_aux; vjp_fn(v) gives v^T J for each primal."""
    level = _Level()
    with enable_grad():
        copies = level.copy(primals)
        out, aux = _with_aux(func(*copies), has_aux, "vjp(f, *primals)")
        outputs = _tensors_only(out, "vjp(f, *primals)", "f(*primals)")
    inputs, rebuild = flatten(copies)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        create = _C.is_grad_enabled() if create_graph is None else create_graph
        vectors = flatten(cotangents)[0]
        if len(vectors) != len(outputs):
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function: {len(outputs)} tensors and {len(vectors)}"
            )
        with enable_grad():
            grads = rebuild(_grads(outputs, inputs, vectors, create))
        grads = level.leave(grads) if create else tree_map(lambda g: g.detach(), grads)
        return grads

    result = level.leave(out)
    return (result, vjp_fn, level.leave(aux)) if has_aux else (result, vjp_fn)


def _pushforward(
    func: Callable[..., Any], primals: Any, has_aux: bool, name: str
) -> tuple[_Level, Any, Any, Callable[[Any], Any]]:
    """J v is the derivative of v^T J by v, which is linear in v: no forward mode is needed."""
    level = _Level()
    copies = level.copy(primals)
    out, aux = _with_aux(func(*copies), has_aux, name)
    outputs, rebuild = flatten(out)
    _tensors_only(out, name, "f(*primals)")
    inputs, _ = flatten(copies)
    seeds = [_C.zeros_like(o).requires_grad_() for o in outputs]
    pulled = _grads(outputs, inputs, seeds, True)

    def push(tangents: list[Any]) -> Any:
        return rebuild(_grads(pulled, seeds, tangents, level.outside_records))

    return level, out, aux, push


def _check_tangents(primals: Any, tangents: Any, name: str) -> list[Any]:
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError(f"{name}: Expected primals and tangents to be tuples")
    left, right = flatten(primals)[0], flatten(tangents)[0]
    if len(left) != len(right):
        raise RuntimeError(
            f"{name}: Expected primals and tangents to have the same structure, got {len(left)} "
            f"and {len(right)} tensors"
        )
    for p, t in zip(left, right, strict=True):
        if p.shape != t.shape:
            raise RuntimeError(
                f"{name}: primal and tangent have different sizes: {p.shape} and {t.shape}"
            )
    return right


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(func(*primals), J tangents), and aux with has_aux. Both arguments are tuples."""
    vectors = _check_tangents(primals, tangents, "jvp(f, primals, tangents)")
    with enable_grad():
        level, out, aux, push = _pushforward(func, primals, has_aux, "jvp(f, primals, tangents)")
        tangent = push(vectors)
    results = (level.leave(out), level.leave(tangent))
    return (*results, level.leave(aux)) if has_aux else results


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), jvp_fn): jvp_fn(*tangents) is J tangents, without computing func again."""
    with enable_grad():
        level, out, _, push = _pushforward(func, primals, False, "linearize(f, *primals)")

    def jvp_fn(*tangents: Any) -> Any:
        vectors = _check_tangents(primals, tangents, "jvp_fn(*tangents)")
        with enable_grad():
            return level.leave(push(vectors))

    return level.leave(out), jvp_fn


# ---- jacobians ----


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that returns the Jacobian, of shape output.shape + input.shape.

    One backward pass for each number of the output; `chunk_size` changes nothing.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        level = _Level()
        with enable_grad():
            copies, by, _ = _differentiated(level, args, argnums)
            out, aux = _with_aux(func(*copies, **kwargs), has_aux, "jacrev(f)(*args)")
            outputs, rebuild_outputs = flatten(out)
            _tensors_only(out, "jacrev", "outputs")
            inputs, rebuild_inputs = flatten(by)
            _tensors_only(by, "jacrev", "inputs")
            blocks = [_block(o, inputs, level.outside_records) for o in outputs]
            result = rebuild_outputs([rebuild_inputs(b) for b in blocks])
        result = level.leave(result)
        return (result, level.leave(aux)) if has_aux else result

    return wrapper


def _block(out: Any, inputs: list[Any], create: bool) -> list[Any]:
    """The derivatives of one output by all inputs."""
    flat = out.reshape(-1)
    rows = [_grads([flat[j]], inputs, [None], create) for j in range(out.numel())]
    return [
        _C.stack([row[k] for row in rows]).reshape(out.shape + x.shape)
        if rows
        else _C.zeros(out.shape + x.shape, dtype=x.dtype, device=x.device)
        for k, x in enumerate(inputs)
    ]


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """The same as jacrev(), and computed like it: there is no forward mode."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of `func`: the Jacobian of its Jacobian."""
    return jacrev(jacrev(func, argnums), argnums)
