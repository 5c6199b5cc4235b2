# SPDX-License-Identifier: Apache-2.0
"""Derivatives of functions rather than of tensors: products with the Jacobian and the Hessian, and both whole.

jacobian(torch.exp, x)        hessian(lambda x: (x**3).sum(), x)        _, g = vjp(torch.sin, x, v)

Inputs, outputs and vectors are a tensor or a tuple of tensors, and results follow that form.
"""

from collections.abc import Callable
from typing import Any

from gradstep import _C

from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Any, ...]


# ---- arguments and results ----


def _tensors(x: Any, what: str, fn: str) -> tuple[bool, Tensors]:
    """(x was a tuple, x as a tuple of tensors)."""
    is_tuple = isinstance(x, tuple)
    values = x if is_tuple else (x,)
    for i, value in enumerate(values):
        if not isinstance(value, _C.Tensor):
            place = f"value at index {i} has" if is_tuple else f"given {what} has"
            raise TypeError(
                f"The {what} given to {fn} must be either a Tensor or a tuple of Tensors but the {place} type {type(value)}."
            )
    return is_tuple, values


def _outputs(x: Any, fn: str) -> tuple[bool, Tensors]:
    return _tensors(x, "outputs of the user-provided function", fn)


def _leaves(inputs: Tensors, keep_history: bool) -> Tensors:
    """The inputs as tensors to differentiate by, part of their own graph only where that is wanted."""
    if keep_history:
        return tuple(
            x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs
        )
    return tuple(x.detach().requires_grad_() for x in inputs)


def _results(values: Tensors, is_tuple: bool, keep_history: bool) -> Any:
    if not keep_history:
        values = tuple(v.detach() for v in values)
    return values if is_tuple else values[0]


def _vector(v: Any, like: Tensors, like_is_tuple: bool, fn: str, keep_history: bool) -> Tensors:
    """The vector of a product, checked against the tensors that it multiplies."""
    _, values = _tensors(v, "v", fn)
    if len(values) != len(like):
        if like_is_tuple:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(like)} but got {len(values)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (value, other) in enumerate(zip(values, like, strict=True)):
        if value.shape != other.shape:
            entry = f"Entry {i} in " if like_is_tuple else ""
            raise RuntimeError(
                f"{entry}v has invalid size: should be {other.shape} but got {value.shape}."
            )
    return values if keep_history else tuple(value.detach() for value in values)


def _ones(like: Tensors, message: str) -> Tensors:
    """The default vector: one number, 1."""
    if len(like) != 1 or like[0].numel() != 1:
        raise RuntimeError(message)
    return (_C.ones_like(like[0]),)


def _found(outputs: Tensors, inputs: Tensors, vector: Any, create_graph: bool) -> Tensors:
    """The gradients, None where an input was not used."""
    pairs = list(zip(outputs, vector or (None,) * len(outputs), strict=True))
    pairs = [(o, v) for o, v in pairs if o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    return _C._grad(
        [o for o, _ in pairs], list(inputs), [v for _, v in pairs], True, create_graph, True
    )


def _filled(found: Tensors, inputs: Tensors) -> Tensors:
    return tuple(_C.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True))


def _grads(
    outputs: Tensors, inputs: Tensors, vector: Any, create_graph: bool, missing: str | None
) -> Tensors:
    """The gradients, zero where an input was not used; `missing` is the error for that in strict mode."""
    found = _found(outputs, inputs, vector, create_graph)
    for i, g in enumerate(found):
        if g is None and missing is not None:
            raise RuntimeError(missing.format(i))
    return _filled(found, inputs)


_INDEPENDENT = "The output of the user-provided function is independent of input {}. This is not allowed in strict mode."
_NO_GRADIENT = (
    "Output {} of the user-provided function does not require gradients. The outputs must be computed in a "
    "differentiable manner from the input when running in strict mode."
)
_NO_JACOBIAN = "The jacobian of the user-provided function is independent of input {}. This is not allowed in strict mode{}."


def _strict_outputs(outputs: Tensors, strict: bool) -> None:
    for i, o in enumerate(outputs):
        if strict and not o.requires_grad:
            raise RuntimeError(_NO_GRADIENT.format(i))


def _strict_results(values: Tensors, strict: bool) -> None:
    for i, v in enumerate(values):
        if strict and not v.requires_grad:
            raise RuntimeError(_NO_JACOBIAN.format(i, " when create_graph=True"))


# ---- products with the Jacobian ----


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(outputs, v^T J) of `func` at `inputs`; v has the form of the outputs and is 1 for a single number.

    Raises: RuntimeError if v does not have the right shapes; TypeError if func does not return
    tensors.

    >>> import gradstep as torch
    >>> torch.autograd.functional.vjp(lambda x: (x * x).sum(), torch.tensor([1.0, 2.0]))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        is_tuple, given = _tensors(inputs, "inputs", "vjp")
        leaves = _leaves(given, create_graph)
        out_is_tuple, outputs = _outputs(func(*leaves), "vjp")
        _strict_outputs(outputs, strict)
        if v is None:
            vector = _ones(
                outputs,
                "The vector v can only be None if the user-provided function returns a single Tensor with a single element.",
            )
        else:
            vector = _vector(v, outputs, out_is_tuple, "vjp", create_graph)
        result = _grads(outputs, leaves, vector, create_graph, _INDEPENDENT if strict else None)
        _strict_results(result, strict and create_graph)
    return _results(outputs, out_is_tuple, create_graph), _results(result, is_tuple, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(outputs, J v) of `func` at `inputs`, by differentiating v^T J with respect to v.

    Raises: RuntimeError if v does not have the right shapes; TypeError if func does not return
    tensors.
    """
    with enable_grad():
        is_tuple, given = _tensors(inputs, "inputs", "jvp")
        leaves = _leaves(given, create_graph)
        if v is None:
            vector = _ones(
                leaves,
                "The vector v can only be None if the input to the user-provided function is a single Tensor "
                "with a single element.",
            )
        else:
            vector = _vector(v, leaves, is_tuple, "jvp", create_graph)
        out_is_tuple, outputs = _outputs(func(*leaves), "jvp")
        _strict_outputs(outputs, strict)
        # J^T u is linear in u, and its derivative with respect to u, times v, is J v.
        seeds = tuple(_C.zeros_like(o).requires_grad_() for o in outputs)
        transposed = _grads(outputs, leaves, seeds, True, _INDEPENDENT if strict else None)
        result = _grads(transposed, seeds, vector, create_graph, _INDEPENDENT if strict else None)
        _strict_results(result, strict and create_graph)
    return _results(outputs, out_is_tuple, create_graph), _results(
        result, out_is_tuple, create_graph
    )


def _check_vectorized(strategy: str, vectorize: bool, strict: bool) -> None:
    """PyTorch's limits, for the same errors."""
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is"
            "only implemented for `vectorize=True`."
        )
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian, of shape output.shape + input.shape: nested tuples [output][input] where there are several.

    One backward pass for each number of the outputs; `vectorize` and `strategy` are accepted and change nothing.

    Raises: RuntimeError if v does not have the right shapes; TypeError if func does not return
    tensors.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    _check_vectorized(strategy, vectorize, strict)
    with enable_grad():
        is_tuple, given = _tensors(inputs, "inputs", "jacobian")
        leaves = _leaves(given, create_graph)
        out_is_tuple, outputs = _outputs(func(*leaves), "jacobian")
        _strict_outputs(outputs, strict)
        rows: list[Any] = []
        for i, out in enumerate(outputs):
            found: list[list[Any]] = [[] for _ in leaves]
            flat = out.reshape(-1)
            missing = (
                f"Output {i} of the user-provided function is independent of input {{}}. This is not allowed in strict mode."
                if strict
                else None
            )
            for j in range(out.numel()):
                grads = _found((flat[j],), leaves, None, create_graph)
                for k, g in enumerate(grads):
                    if g is None and missing is not None:
                        raise RuntimeError(missing.format(k))
                    if strict and create_graph and not g.requires_grad:
                        raise RuntimeError(_NO_JACOBIAN.format(i, " when create_graph=True"))
                for k, g in enumerate(_filled(grads, leaves)):
                    found[k].append(g)
            blocks = tuple(
                _C.stack(gs).reshape(out.shape + x.shape)
                if gs
                else _C.zeros(out.shape + x.shape, dtype=x.dtype, device=x.device)
                for gs, x in zip(found, leaves, strict=True)
            )
            rows.append(_results(blocks, is_tuple, create_graph))
    return tuple(rows) if out_is_tuple else rows[0]


# ---- second derivatives ----


def _scalar(out: Any, fn: str) -> Any:
    is_tuple, outputs = _outputs(out, fn)
    if is_tuple:
        raise RuntimeError(f"The function given to {fn} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {fn} should contain a single element"
        )
    return outputs[0].reshape(())


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function that returns one number: nested tuples [input][input].

    Raises: RuntimeError if func does not return one number.
    """
    if outer_jacobian_strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    _check_vectorized(outer_jacobian_strategy, vectorize, strict)
    is_tuple, given = _tensors(inputs, "inputs", "hessian")

    def gradient(*xs: Any) -> Any:
        result = jacobian(lambda *ys: _scalar(func(*ys), "hessian"), xs, create_graph=True)
        for i, g in enumerate(result):
            if strict and not g.requires_grad:
                raise RuntimeError(
                    "While computing the hessian, found that the jacobian of the user-provided"
                    f" function with respect to input {i} is independent of the input. This is not"
                    " allowed in strict mode. You should ensure that your function is twice"
                    " differentiable and that the jacobian depends on the inputs (this would be"
                    " violated by a linear function for example)."
                )
        return result if is_tuple else result[0]

    result = jacobian(gradient, given, create_graph=create_graph, strict=strict)
    if is_tuple:
        return result
    return result[0]


def _products(
    func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool, fn: str
) -> Any:
    """(func(inputs), H v). The Hessian is symmetric, so v^T H and H v are the same numbers."""
    with enable_grad():
        is_tuple, given = _tensors(inputs, "inputs", fn)
        leaves = _leaves(given, create_graph)
        if v is None:
            vector = _ones(
                leaves,
                "The vector v can only be None if the input to the user-provided function is a single Tensor "
                "with a single element.",
            )
        else:
            vector = _vector(v, leaves, is_tuple, fn, create_graph)
        raw = func(*leaves)
        _scalar(raw, fn)
        _strict_outputs((raw,), strict)
        first = _grads((raw,), leaves, None, True, _INDEPENDENT if strict else None)
        result = _grads(
            first, leaves, vector, create_graph, _NO_JACOBIAN.format("{}", "") if strict else None
        )
        _strict_results(result, strict and create_graph)
    return _results((raw,), False, create_graph), _results(result, is_tuple, create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(inputs), v^T H) for a function that returns one number, without making H.

    Raises: RuntimeError if func does not return one number.
    """
    return _products(func, inputs, v, create_graph, strict, "vhp")


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(inputs), H v) for a function that returns one number, without making H.

    Raises: RuntimeError if func does not return one number.
    """
    return _products(func, inputs, v, create_graph, strict, "hvp")
