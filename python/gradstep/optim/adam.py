# SPDX-License-Identifier: Apache-2.0
"""Adam (Kingma and Ba, arXiv:1412.6980) with AMSGrad, and AdamW (Loshchilov and Hutter,
arXiv:1711.05101), whose weight decay shrinks the parameters instead of joining the gradient.
"""

from __future__ import annotations

from typing import Any

from gradstep._C import Tensor
from gradstep.optim.optimizer import FusedOptimizer, ParamsT

__all__ = ["Adam", "AdamW"]


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


class Adam(FusedOptimizer):
    """Adam(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0, amsgrad=False, ...)

    m and v are the running means of the gradient and its square, with the bias of their start
    corrected; p -= lr * m / (sqrt(v) + eps).

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Kingma & Ba, Adam: A Method for Stochastic Optimization, 2015; amsgrad: Reddi et al.,
    2018.
    """

    _algorithm = "Adam"
    _group_defaults = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        kinds = [isinstance(beta, Tensor) for beta in betas]
        if any(kinds) and not all(kinds):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if foreach and not capturable:
                    raise ValueError(
                        f"betas[{i}] as a Tensor is not supported for capturable=False and "
                        "foreach=True"
                    )
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": (_number(betas[0]), _number(betas[1])),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)


class AdamW(Adam):
    """AdamW(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01, ...)

    Adam whose weight decay is p *= 1 - lr * weight_decay.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
