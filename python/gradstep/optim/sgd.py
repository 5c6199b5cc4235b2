# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent, optionally with (Nesterov) momentum."""

from __future__ import annotations

from typing import Any

from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["SGD"]


class SGD(FusedOptimizer):
    """SGD(params, lr=0.001, momentum=0, dampening=0, weight_decay=0, nesterov=False, ...)

    d = grad + weight_decay * p;  buf = momentum * buf + (1 - dampening) * d, at first d itself;
    p -= lr * (d + momentum * buf if nesterov else buf).

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Robbins & Monro, 1951; momentum: Sutskever et al., On the Importance of Initialization
    and Momentum, 2013.

        >>> p = gs.nn.Parameter(gs.ones(2))
        >>> p.grad = gs.ones(2)
        >>> gs.optim.SGD([p], lr=0.5).step()
        >>> p.tolist()
        [0.5, 0.5]
    """

    _algorithm = "SGD"
    _group_defaults = {
        "nesterov": False,
        "maximize": False,
        "foreach": None,
        "differentiable": False,
        "fused": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
