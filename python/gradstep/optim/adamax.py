# SPDX-License-Identifier: Apache-2.0
"""Adamax: Adam with the infinity norm (Kingma and Ba, arXiv:1412.6980, section 7.1)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Adamax"]


class Adamax(FusedOptimizer):
    """Adamax(params, lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0)

    u = max(beta2 * u, |grad| + eps);  p -= lr / (1 - beta1^t) * m / u.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Kingma & Ba, Adam, section 7.1, 2015.
    """

    _algorithm = "Adamax"
    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
