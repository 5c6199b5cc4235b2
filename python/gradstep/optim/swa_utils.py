# SPDX-License-Identifier: Apache-2.0
"""Averages of weights: stochastic weight averaging (Izmailov et al., 2018) and exponential averages.

ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
...
optimizer.step(); ema.update_parameters(model)
update_bn(loader, ema)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from gradstep import _C
from gradstep.autograd.grad_mode import no_grad
from gradstep.nn.modules.module import Module
from gradstep.nn.modules.normalization import _BatchNorm
from gradstep.optim._lr_base import LR, LRScheduler, _per_group

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Tensors = list[Any] | tuple[Any, ...]

# ---- averages ----


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Tensors, Tensors, Any], None]:
    """average = decay * average + (1 - decay) * value, for lists, in place and in one pass."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: Tensors, values: Tensors, _: Any) -> None:
        if averages[0].is_floating_point():
            _C._multi_lerp_(averages, values, 1 - decay)
            return
        for average, value in zip(averages, values, strict=True):
            average.copy_(average * decay + value * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Tensors, Tensors, Any], None]:
    """The mean of all values so far, for lists, in place and in one pass."""

    @no_grad()
    def swa_update(averages: Tensors, values: Tensors, num_averaged: Any) -> None:
        if averages[0].is_floating_point():
            _C._multi_lerp_(averages, values, 1 / (float(num_averaged) + 1))
            return
        for average, value in zip(averages, values, strict=True):
            average.copy_(average + (value - average) / (num_averaged + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """decay * average + (1 - decay) * value, for one tensor."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Any, value: Any, num_averaged: Any) -> Any:
        return decay * average + (1 - decay) * value

    return ema_update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """The mean of all values so far, for one tensor."""

    @no_grad()
    def swa_update(average: Any, value: Any, num_averaged: Any) -> Any:
        return average + (value - average) / (num_averaged + 1)

    return swa_update


def _grouped(averages: list[Any], values: list[Any]) -> Iterable[tuple[list[Any], list[Any]]]:
    groups: dict[Any, tuple[list[Any], list[Any]]] = {}
    for average, value in zip(averages, values, strict=True):
        pair = groups.setdefault((str(average.device), average.dtype), ([], []))
        pair[0].append(average)
        pair[1].append(value)
    return groups.values()


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    avg_fn(average, value, num_averaged) gives the next average of a tensor; multi_avg_fn does so for
    lists in place. Without them the average is the mean. use_buffers: average buffers too; else they
    are copied.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization,
    2018.
    """

    n_averaged: Any

    def __init__(
        self,
        model: Any,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Tensors, Tensors, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _C.tensor(0, dtype=_C.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's."""
        return self.module(*args, **kwargs)

    def _tensors_of(self, model: Any) -> list[Any]:
        own = model.parameters()
        return [t.detach() for t in (chain(own, model.buffers()) if self.use_buffers else own)]

    def update_parameters(self, model: Any) -> None:
        """Takes a model's parameters into the average; the first time it copies them."""
        averages = self._tensors_of(self.module)
        values = [v.to(a.device) for a, v in zip(averages, self._tensors_of(model), strict=False)]
        averages = averages[: len(values)]
        if self.n_averaged == 0:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
        elif self.avg_fn is not None:
            for average, value in zip(averages, values, strict=True):
                count = self.n_averaged.to(average.device)
                average.copy_(self.avg_fn(average, value, count))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            for some, theirs in _grouped(averages, values):
                update(some, theirs, self.n_averaged.to(some[0].device))
        if not self.use_buffers:
            for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(value.detach().to(average.device))
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Any, device: Any = None) -> None:
    """Computes the running statistics of the model's batch norms anew, over one pass of a loader.

    A batch is a tensor, or a list or tuple whose first element is the model's input.
    """
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    for batch in loader:
        if isinstance(batch, (list, tuple)):
            batch = batch[0]
        model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


# ---- the rate ----


def _linear(t: float) -> float:
    return t


def _cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


class SWALR(LRScheduler):
    """Moves the learning rate to `swa_lr` within `anneal_epochs` and keeps it there.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization,
    2018.
    """

    _hidden = ("optimizer", "anneal_func")

    def __init__(
        self,
        optimizer: Any,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(
            _per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._set_anneal_func(anneal_strategy)
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _set_anneal_func(self, strategy: str) -> None:
        self._anneal_strategy = strategy
        self.anneal_func = _cosine if strategy == "cos" else _linear

    def _share(self, step: int) -> float:
        """How far it is on the way to swa_lr."""
        return self.anneal_func(max(0, min(1, step / max(1, self.anneal_epochs))))

    def get_lr(self) -> list[LR]:
        """From the current rate: where it started follows from how far it should be by now."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict()` gave."""
        super().load_state_dict(state_dict)
        self._set_anneal_func(self._anneal_strategy)
