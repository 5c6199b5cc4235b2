# SPDX-License-Identifier: Apache-2.0
"""RAdam: Adam with a rectified variance (Liu et al., arXiv:1908.03265)."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["RAdam"]


class RAdam(FusedOptimizer):
    """RAdam(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0)

    Adam that moves along the mean gradient alone until enough steps tell its variance.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020.
    """

    _algorithm = "RAdam"
    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)
