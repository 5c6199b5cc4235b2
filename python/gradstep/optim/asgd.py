# SPDX-License-Identifier: Apache-2.0
"""Averaged stochastic gradient descent (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["ASGD"]


class ASGD(FusedOptimizer):
    """ASGD(params, lr=0.01, lambd=0.0001, alpha=0.75, t0=1e6, weight_decay=0)

    SGD with a falling step size; `state[p]["ax"]` is the mean of p from step t0 on.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    _algorithm = "ASGD"
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
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
