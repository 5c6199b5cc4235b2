# SPDX-License-Identifier: Apache-2.0
"""Resilient backpropagation (Riedmiller and Braun, 1993)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Rprop"]


class Rprop(FusedOptimizer):
    """Rprop(params, lr=0.01, etas=(0.5, 1.2), step_sizes=(1e-06, 50))

    Each element has a step size of its own, which grows while the gradient keeps its sign.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation, 1993.
    """

    _algorithm = "Rprop"
    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
