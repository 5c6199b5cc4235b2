# SPDX-License-Identifier: Apache-2.0
"""Checks derivatives against central differences in float64.

gradcheck(torch.sin, (x,))   # x: float64, requires_grad; raises GradcheckError or returns True
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradstep import _C

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative differs from its numerical estimate."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _floating(xs: Sequence[Any]) -> list[Any]:
    return [x for x in xs if isinstance(x, _C.Tensor) and x.is_floating_point()]


def _outputs(func: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Any]:
    return _floating(_tuple(func(*inputs)))


def _numerical(
    func: Callable[..., Any], inputs: tuple[Any, ...], x: Any, eps: float
) -> list[np.ndarray]:
    """d(output)/dx for each output: arrays [x.numel, output.numel]."""
    data = x.detach()
    flat = data.view(-1) if data.is_contiguous() else None
    rows: list[list[np.ndarray]] = []
    for i in range(x.numel()):
        place = flat[i] if flat is not None else data[np.unravel_index(i, tuple(data.shape))]
        original = place.item()
        place.fill_(original + eps)
        plus = [o.detach().cpu().numpy().copy() for o in _outputs(func, inputs)]
        place.fill_(original - eps)
        minus = [o.detach().cpu().numpy().copy() for o in _outputs(func, inputs)]
        place.fill_(original)
        rows.append([((p - m) / (2 * eps)).reshape(-1) for p, m in zip(plus, minus, strict=True)])
    n_outputs = len(rows[0]) if rows else 0
    return [np.stack([r[k] for r in rows]) for k in range(n_outputs)]


def _analytical(output: Any, x: Any) -> np.ndarray:
    """The same matrix from backward, one row of output at a time."""
    out = np.zeros((x.numel(), output.numel()))
    seed = _C.zeros_like(output.detach())
    flat = seed.view(-1)
    for j in range(output.numel()):
        flat.zero_()
        flat[j] = 1
        (g,) = _C._grad(output, (x,), (seed,), True, False, True)
        if g is not None:
            if g.shape != x.shape:
                raise GradcheckError(f"gradient has shape {tuple(g.shape)}, input {tuple(x.shape)}")
            out[:, j] = g.detach().contiguous().cpu().numpy().reshape(-1)
    return out


def _direction(rng: np.random.Generator, like: Any) -> np.ndarray:
    """A random vector of length 1 with like's shape; no element is nearly zero."""
    shape = tuple(like.shape)
    vector = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
    return np.asarray(vector / max(float(np.sqrt((vector**2).sum())), 1e-300))


def _check_fast(
    func: Callable[..., Any],
    inputs: tuple[Any, ...],
    checked: list[Any],
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    """v . J u of each pair of input and output for random u, v: two forward passes for an input,
    one backward pass for an output."""
    rng = np.random.default_rng(0)
    us = [_direction(rng, x) for x in checked]
    numerical = []
    _C._set_grad_enabled(False)
    try:
        for x, u in zip(checked, us, strict=True):
            data = x.detach()
            original = data.clone()
            step = _C.tensor(eps * u, dtype=x.dtype, device=x.device)
            ends = []
            for sign in (1, -1):
                data.copy_(original + sign * step)
                ends.append([o.detach().cpu().numpy().copy() for o in _outputs(func, inputs)])
            data.copy_(original)
            numerical.append([(p - m) / (2 * eps) for p, m in zip(*ends, strict=True)])
    finally:
        _C._set_grad_enabled(True)
    outputs = _outputs(func, inputs)
    some = any(o.requires_grad for o in outputs)
    for k, output in enumerate(outputs):
        if some and not output.requires_grad:
            continue
        v = _direction(rng, output)
        found: Sequence[Any] = [None] * len(checked)
        if output.requires_grad:
            seed = _C.tensor(v, dtype=output.dtype, device=output.device)
            found = _C._grad(output, checked, (seed,), True, False, True)
        for index, (x, u, g) in enumerate(zip(checked, us, found, strict=True)):
            if g is not None and g.shape != x.shape:
                raise GradcheckError(f"gradient has shape {tuple(g.shape)}, input {tuple(x.shape)}")
            got = 0.0 if g is None else float((g.detach().cpu().numpy() * u).sum())
            expected = float((numerical[index][k] * v).sum())
            # Errors of atol in each element of J sum up to this much.
            bound = atol * float(np.abs(u).sum() * np.abs(v).sum())
            if not np.allclose(got, expected, rtol=rtol, atol=bound, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {index} in fast mode,\n"
                    f"numerical:{expected}\nanalytical:{got}\n"
                )


def _refuse_forward_mode(**wanted: bool) -> None:
    for name, value in wanted.items():
        if value:
            raise NotImplementedError(f"{name}=True: gradstep has no forward-mode derivatives")


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """True if the derivatives of `func` at `inputs` agree with central differences of step `eps`.

    fast_mode compares v . J u for one pair of random vectors in place of all elements of the
    Jacobian J. With check_batched_grad nothing more is checked: `vmap` is a loop here.

    Raises: GradcheckError where they do not agree, unless raise_exception=False; ValueError if no
    input wants a gradient; NotImplementedError for forward-mode derivatives.
    """
    assert check_forward_ad or check_backward_ad, (
        "Expected at least one of check_forward_ad or check_backward_ad to be True"
    )
    assert check_backward_ad or not check_batched_grad, (
        "Setting check_batched_grad=True requires check_backward_ad to be True"
    )
    assert check_forward_ad or not check_batched_forward_grad, (
        "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
    )
    _refuse_forward_mode(check_forward_ad=check_forward_ad)
    inputs = _tuple(inputs)
    checked = [x for x in inputs if isinstance(x, _C.Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    try:
        # With no differentiable output at all, the numerical derivatives must be zero.
        outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
        if fast_mode:
            _check_fast(func, inputs, checked, eps, atol, rtol)
            return True
        for index, x in enumerate(checked):
            _C._set_grad_enabled(False)
            try:
                numerical = _numerical(func, inputs, x, eps)
            finally:
                _C._set_grad_enabled(True)
            all_outputs = _outputs(func, inputs)
            for k, output in enumerate(all_outputs):
                if outputs and not output.requires_grad:
                    continue  # among differentiable ones, what says that it is none is left alone
                expected = numerical[k] if numerical else np.zeros((0, output.numel()))
                got = _analytical(output, x) if outputs else np.zeros_like(expected)
                if not np.allclose(got, expected, rtol=rtol, atol=atol, equal_nan=True):
                    raise GradcheckError(
                        f"Jacobian mismatch for output {k} with respect to input {index},\n"
                        f"numerical:{expected}\nanalytical:{got}\n"
                    )
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """gradcheck of the gradients of `func`: its second derivatives.

    Raises: GradcheckError where they do not agree, unless raise_exception=False; ValueError if no
    input wants a gradient; NotImplementedError for forward-mode derivatives.
    """
    _refuse_forward_mode(check_fwd_over_rev=check_fwd_over_rev)
    assert check_rev_over_rev, (
        "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    )
    inputs = _tuple(inputs)
    outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        grads = [
            _C.tensor(
                rng.standard_normal(tuple(o.shape)), dtype=o.dtype, device=o.device
            ).requires_grad_(True)
            for o in outputs
        ]
    else:
        grads = list(_tuple(grad_outputs))
    n = len(inputs)

    def gradients(*args: Any) -> tuple[Any, ...]:
        xs, gs = args[:n], args[n:]
        wanted = [x for x in xs if isinstance(x, _C.Tensor) and x.requires_grad]
        before = _C.is_grad_enabled()
        _C._set_grad_enabled(True)
        try:
            outs = [o for o in _outputs(func, xs) if o.requires_grad]
            result = _C._grad(outs, wanted, list(gs), True, True, True)
        finally:
            _C._set_grad_enabled(before)
        return tuple(
            _C.zeros_like(x) if r is None else r for r, x in zip(result, wanted, strict=True)
        )

    return gradcheck(
        gradients,
        (*inputs, *grads),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        fast_mode=fast_mode,
    )
