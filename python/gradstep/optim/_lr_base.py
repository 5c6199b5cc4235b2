# SPDX-License-Identifier: Apache-2.0
"""What every scheduler of lr_scheduler.py is: the base class, and how learning rates are read and written."""

from __future__ import annotations

import types
import warnings
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gradstep import _C

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available."
)
_ORDER = "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`."

LR = Any  # a float, or a 0-d tensor that is updated in place (read live by captured programs)

# ---- helpers ----


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "fill_")


def _own(value: LR) -> LR:
    """A value that later in-place updates of `value` do not change."""
    return value.clone() if _is_tensor(value) else value


def _read(optimizer: Any, key: str = "lr") -> list[LR]:
    return [_own(group[key]) for group in optimizer.param_groups]


def _write(group: dict[str, Any], key: str, value: LR) -> None:
    if _is_tensor(group[key]):
        group[key].fill_(value.squeeze() if _is_tensor(value) else value)
    else:
        group[key] = value


def _per_group(name: str, optimizer: Any, value: Any) -> list[Any]:
    """One value for each parameter group, from a list or by repeating a scalar."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * count
    elif len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return [_own(v) for v in value]


def _check_optimizer(optimizer: Any) -> None:
    from gradstep.optim import Optimizer

    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def _watch_step(optimizer: Any) -> None:
    """Notes the first `optimizer.step()`, for the warning about the order of the two steps.

    The wrapper takes itself off again, so that later steps cost nothing.
    """
    if getattr(optimizer, "_opt_called", False) or hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    weak = weakref.ref(optimizer)
    override = vars(optimizer).get("step")

    def step(*args: Any, **kwargs: Any) -> Any:
        opt = weak()
        if opt is None:
            raise ReferenceError("the optimizer of this step() no longer exists")
        opt._opt_called = True
        if vars(opt).get("step") is step:
            if override is None:
                del opt.step
            else:
                opt.step = override
        return (
            type(opt).step(opt, *args, **kwargs) if override is None else override(*args, **kwargs)
        )

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step


def _function_state(fn: Any) -> dict[str, Any] | None:
    """What a state dict keeps of a callable: the attributes of an object, nothing of a function."""
    return None if fn is None or isinstance(fn, types.FunctionType) else dict(vars(fn))


# ---- base ----


class LRScheduler:
    """Adjusts `param_groups[i]["lr"]` at each `step()`; subclasses say how in `get_lr()`.

    An epoch is a call of step(), which comes after that of the optimizer.
    Raises: KeyError if last_epoch is not -1 and the groups have no initial_lr.
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _hidden: tuple[str, ...] = ("optimizer",)  # attributes that a state dict leaves out

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0.\nThis typically happens when:\n"
                    "1. You're trying to resume training from a checkpoint but haven't properly "
                    "loaded the optimizer state\n"
                    "2. You're using last_epoch >= 0 for a fresh training run (not recommended)"
                )
        self.base_lrs: list[LR] = _read(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _watch_step(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Every attribute but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k not in self._hidden}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict()` gave; load the optimizer's state too."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[LR]:
        """The lrs that the last `step()` set, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[LR]:
        """The lrs for `self.last_epoch`, one for each group."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Sets the next lrs; call it after `optimizer.step()`."""
        _C._refuse_capture("scheduler.step() changes Python numbers; call it outside")
        if self._step_count == 1:
            self._warn_about_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _warn_about_order(self) -> None:
        watched = hasattr(self.optimizer.step, "_wrapped_by_lr_sched")
        called = getattr(self.optimizer, "_opt_called", False)
        if not watched and (not called or "step" in vars(self.optimizer)):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                f"initialization. {_ORDER}",
                UserWarning,
                stacklevel=3,
            )
        elif not called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call "
                "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`. "
                "Failure to do this skips the first value of the learning rate schedule.",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._stepping():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        self._set_lrs(values)

    def _set_lrs(self, values: Iterable[LR]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            _write(group, "lr", lr)
        self._last_lr: list[LR] = _read(self.optimizer)

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _scaled(self, factor: float) -> list[LR]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class _LRScheduler(LRScheduler):
    """The base class's name before PyTorch 2.0; old scripts derive from it."""
