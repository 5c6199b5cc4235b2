# SPDX-License-Identifier: Apache-2.0
"""RMSprop (Hinton's lecture notes), optionally centered (Graves, arXiv:1308.0850)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["RMSprop"]


class RMSprop(FusedOptimizer):
    """RMSprop(params, lr=0.01, alpha=0.99, eps=1e-08, weight_decay=0, momentum=0, centered=False)

    v = alpha * v + (1 - alpha) * grad^2;  p -= lr * grad / (sqrt(v) + eps), through a buffer if
    momentum is not 0; centered takes the squared mean gradient off v.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Tieleman & Hinton, lecture 6.5, 2012; centered: Graves, Generating Sequences, 2013.
    """

    _algorithm = "RMSprop"
    _group_defaults = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)
