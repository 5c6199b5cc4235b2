# SPDX-License-Identifier: Apache-2.0
"""Adadelta (Zeiler, arXiv:1212.5701)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Adadelta"]


class Adadelta(FusedOptimizer):
    """Adadelta(params, lr=1.0, rho=0.9, eps=1e-06, weight_decay=0)

    The step is the gradient times the ratio of the root mean squares of past steps and gradients.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Zeiler, ADADELTA, 2012.
    """

    _algorithm = "Adadelta"
    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)
