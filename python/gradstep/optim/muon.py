# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum whose matrix is made orthogonal (Jordan, 2024; Liu et al., 2025)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep.autograd.grad_mode import enable_grad, no_grad
from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Muon"]


def _ratio(n_rows: int, n_cols: int, adjust: str | None) -> float:
    """What the learning rate of a matrix is multiplied by."""
    if adjust is None or adjust == "original":
        return math.sqrt(max(1, n_rows / n_cols))
    return 0.2 * math.sqrt(max(n_rows, n_cols))


class Muon(FusedOptimizer):
    """Muon(params, lr=0.001, weight_decay=0.1, momentum=0.95, nesterov=True)

    For matrices only. The direction is the momentum (looked ahead along with nesterov), made nearly
    orthogonal by `ns_steps` iterations of Newton and Schulz in bfloat16. adjust_lr_fn: "original"
    (None) multiplies lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by
    0.2 * sqrt(max(rows, columns)).

    Raises: ValueError for negative lr or weight_decay, or numbers outside of their range.
    Source: Jordan et al., Muon: An Optimizer for Hidden Layers in Neural Networks, 2024.
    """

    _algorithm = "Muon"
    _live_numbers = frozenset({"lr", "weight_decay", "momentum", "nesterov"})

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with "
                        f"size: {p.size()}"
                    )

    def _momentum_of(self, param: Any) -> Any:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = _C.zeros_like(param.grad)
        return state["momentum_buffer"]

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; `closure` as in every optimizer."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            if group["ns_steps"] >= 100:
                raise ValueError(
                    "Number of steps must be less than 100 for computational efficiency"
                )
            if len(group["ns_coefficients"]) != 3:
                raise ValueError("Coefficients must be a tuple of exactly 3 values")
            _C._muon_step(
                group,
                params,
                [p.grad for p in params],
                [self._momentum_of(p) for p in params],
                [_ratio(p.shape[0], p.shape[1], group["adjust_lr_fn"]) for p in params],
                tuple(group["ns_coefficients"]),
                group["ns_steps"],
                group["eps"],
            )
        return loss


Muon.__module__ = "gradstep.optim"  # PyTorch's too: files name it
