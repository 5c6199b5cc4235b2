# SPDX-License-Identifier: Apache-2.0
"""NAdam: Adam with Nesterov momentum (Dozat, 2016)."""

from __future__ import annotations

from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.optim.optimizer import FusedOptimizer, ParamsT, tensors_of

__all__ = ["NAdam"]


class NAdam(FusedOptimizer):
    """NAdam(params, lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0, momentum_decay=0.004)

    Adam whose step looks ahead along the momentum, with a momentum that grows to beta1.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016.
    """

    _algorithm = "NAdam"
    _group_defaults = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for p in tensors_of(self.param_groups):
            kept = self.state.get(p)
            if kept and not isinstance(kept["mu_product"], Tensor):
                kept["mu_product"] = _C.tensor(float(kept["mu_product"]), device=p.device)
