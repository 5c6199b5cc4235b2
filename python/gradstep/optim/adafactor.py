# SPDX-License-Identifier: Apache-2.0
"""Adafactor: a second moment that is kept by rows and columns (Shazeer and Stern, 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep.autograd.grad_mode import enable_grad, no_grad
from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Adafactor"]


class Adafactor(FusedOptimizer):
    """Adafactor(params, lr=0.01, beta2_decay=-0.8, eps=(None, 0.001), d=1.0, weight_decay=0.0)

    Parameters of two and more dimensions keep an average of the squared gradients for each row and
    column (of the last two dimensions), others for each element. A step is relative to the root
    mean square of its parameter (at least eps[1]) and its own is at most d; lr is the largest
    relative step. eps[0] is the smallest estimate of a square; None means the parameter type's
    epsilon.

    Raises: ValueError for negative lr or weight_decay, or numbers outside of their range.
    Source: Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018.
    """

    _algorithm = "Adafactor"
    _live_numbers = frozenset({"lr", "beta2_decay", "weight_decay", "maximize"})
    _group_defaults = {"foreach": None}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _state_of(self, param: Any) -> dict[str, Any]:
        state: dict[str, Any] = self.state[param]
        if not state:
            state["step"] = _C.zeros(
                (),
                dtype=_C.float64 if _C.get_default_dtype() == _C.float64 else _C.float32,
                device=param.device,
            )
            grad = param.grad
            if grad.dim() > 1:
                *first, n_rows, n_cols = grad.shape
                state["row_var"] = grad.new_zeros((*first, n_rows, 1))
                state["col_var"] = grad.new_zeros((*first, 1, n_cols))
            else:
                state["variance"] = _C.zeros_like(grad)
        return state

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; `closure` as in every optimizer."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            states = [self._state_of(p) for p in params]
            if not params:
                continue
            eps1, eps2 = group["eps"]
            _C._adafactor_step(
                group,
                params,
                [p.grad for p in params],
                [s.get("row_var") for s in states],
                [s.get("col_var") for s in states],
                [s.get("variance") for s in states],
                [s["step"] for s in states],
                eps1,
                eps2,
                group["d"],
            )
        return loss


Adafactor.__module__ = "gradstep.optim"  # PyTorch's too: files name it
