# SPDX-License-Identifier: Apache-2.0
"""Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011)."""

from __future__ import annotations

from typing import Any

from gradstep import _C
from gradstep.optim.optimizer import FusedOptimizer, ParamsT, tensors_of

__all__ = ["Adagrad"]


class Adagrad(FusedOptimizer):
    """Adagrad(params, lr=0.01, lr_decay=0, weight_decay=0, initial_accumulator_value=0, ...)

    sum += grad^2;  p -= lr / (1 + (step - 1) * lr_decay) * grad / (sqrt(sum) + eps).

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Duchi et al., Adaptive Subgradient Methods, 2011.
    """

    _algorithm = "Adagrad"
    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "fused": None,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for p in tensors_of(self.param_groups):
            self.state[p] = {
                "step": _C.tensor(0.0, device=p.device),
                "sum": _C.full_like(p, initial_accumulator_value, requires_grad=False),
            }

    def share_memory(self) -> None:
        """Move the sums to shared memory."""
        for p in tensors_of(self.param_groups):
            self.state[p]["sum"].share_memory_()
