# SPDX-License-Identifier: Apache-2.0
"""vmap: a function of one example as a function of a batch. It calls the function for each example
and stacks the results, so it is as right as the function, and not faster than a loop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradstep import _C

from ._tree import broadcast, flatten

__all__ = ["vmap"]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """vmap(func)(*args): func of each slice of the arguments along `in_dims`, stacked at `out_dims`.

    in_dims: a dimension, None for an argument that all share, or nested tuples of them.
    randomness: "error" refuses random numbers inside, "different" draws new ones for each example,
    "same" gives all the same. chunk_size changes nothing.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
        if not args:
            raise ValueError(
                f"vmap({name})(<inputs>): got no inputs. Maybe you forgot "
                "to add inputs, or you are trying to vmap over a function with no inputs. "
                "The latter is unsupported."
            )
        leaves, rebuild = flatten(args)
        dims = broadcast(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
        if dims is None:
            raise ValueError(f"{call}: in_dims is not compatible with the structure of inputs.")
        dims = [_checked(d, x, call) for d, x in zip(dims, leaves, strict=True)]
        named, rebuild_named = flatten(kwargs)  # keywords: always along dimension 0
        named_dims = [0 if isinstance(x, _C.Tensor) and x.dim() > 0 else None for x in named]
        sizes = {
            x.shape[d]
            for x, d in zip(leaves + named, dims + named_dims, strict=True)
            if d is not None
        }
        if not sizes:
            raise ValueError(f"{call}: at least one input must be mapped over")
        if len(sizes) > 1:
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sorted(sizes)} for the mapped dimension"
            )
        (n,) = sizes
        start = _C.get_rng_state()
        results = []
        for i in range(n):
            if i and randomness == "same":
                _C.set_rng_state(start)
            results.append(
                func(
                    *rebuild(_slices(leaves, dims, i)),
                    **rebuild_named(_slices(named, named_dims, i)),
                )
            )
            if randomness == "error" and not _C.equal(start, _C.get_rng_state()):
                _C.set_rng_state(start)
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either "
                    "use the 'same' or 'different' randomness flags on vmap or perform the "
                    "randomness operation out of vmap"
                )
        if not results:
            raise RuntimeError("vmap: a mapped dimension of size 0 is not supported")
        return _stacked(results, out_dims)

    return wrapped


def _checked(dim: Any, x: Any, call: str) -> int | None:
    """A dimension as a number of x's, or None."""
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(f"{call}: in_dims must be int, None or nested tuples of them, got {dim!r}")
    if not isinstance(x, _C.Tensor):
        raise ValueError(
            f"{call}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot "
            "vmap over non-Tensor arguments, please use None as the respective in_dim"
        )
    if not -x.dim() <= dim < x.dim():
        raise ValueError(
            f"{call}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
            f"{x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
        )
    return dim % x.dim()


def _slices(leaves: list[Any], dims: list[Any], i: int) -> list[Any]:
    return [x if d is None else x.select(d, i) for x, d in zip(leaves, dims, strict=True)]


def _stacked(results: list[Any], out_dims: Any) -> Any:
    columns = [flatten(r)[0] for r in results]
    first, rebuild = flatten(results[0])
    dims = broadcast(out_dims, results[0])
    if dims is None or len(dims) != len(first):
        raise ValueError(f"vmap: out_dims={out_dims} is not compatible with the outputs' structure")
    out = []
    for k, dim in enumerate(dims):
        values = [c[k] for c in columns]
        if not isinstance(values[0], _C.Tensor):
            raise ValueError(
                f"vmap: the function must only return Tensors, got type {type(values[0])}."
            )
        out.append(values[0] if dim is None else _C.stack(values, dim))
    return rebuild(out)
