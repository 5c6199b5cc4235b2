# SPDX-License-Identifier: Apache-2.0
"""GradScaler: multiplies the loss, so that small gradients survive float16, and divides them again.

scaler = GradScaler("cpu")
scaler.scale(loss).backward()
scaler.step(optimizer)        # not taken if a gradient is infinite or NaN
scaler.update()

Whether a gradient was infinite stays on its device: gradstep's optimizers read it there and then do
nothing, so that neither step() nor update() waits for a GPU. Other optimizers are not called.
"""

from __future__ import annotations

import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.optim.optimizer import FusedOptimizer

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """What was done to an optimizer since the last update()."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


def _one(value: float, device: Any) -> Tensor:
    return _C.full((), value, dtype=_C.float32, device=device)


def _any_of(found: list[Tensor], device: Any) -> Tensor:
    """Their sum: not 0 if one of them is not 0."""
    total = found[0].to(device=device) if found else _one(0.0, device)
    for other in found[1:]:
        total = total + other.to(device=device)
    return total


class GradScaler:
    """Scales losses, unscales gradients, skips steps with infinite ones and adapts the scale.

    init_scale: the first scale.
    growth_factor: what the scale is multiplied by after `growth_interval` steps without infinities.
    backoff_factor: what it is multiplied by after a step with one.
    enabled: if False, everything is passed on as it is.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if device == "cuda" and enabled and not _C._cuda_device_count():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._init_growth_tracker = 0
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        # Tensors from the first scale() on: their device is that of the loss.
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh_state)

    # ---- scaling ----

    def scale(self, outputs: Any) -> Any:
        """The tensor, or each tensor of a list or iterable, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled  # type: ignore[call-arg]
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _scale_on(self, device: Any) -> Tensor:
        if self._scale is None:
            self._scale = _C.full((), self._init_scale, dtype=_C.float32, device=device)
            self._growth_tracker = _C.full(
                (), self._init_growth_tracker, dtype=_C.int32, device=device
            )
        return self._scale.to(device=device)

    def _check_scaled(self, name: str) -> tuple[Tensor, Tensor]:
        for attribute in ("_scale", "_growth_tracker"):
            if getattr(self, attribute) is None:
                raise AssertionError(
                    f"Attempted {name} but {attribute} is None.  This may indicate your script "
                    "did not use scaler.scale(loss or outputs) earlier in the iteration."
                )
        assert self._scale is not None and self._growth_tracker is not None
        return self._scale, self._growth_tracker

    # ---- unscaling ----

    def _unscale_grads_(
        self, optimizer: Any, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> dict[Any, Tensor]:
        """Gradients times inv_scale; for each device, 1 if one was infinite or NaN, else 0."""
        per_device: dict[Any, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if grad.dtype == _C.float16 and not allow_fp16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                per_device.setdefault(grad.device, []).append(grad)
        found = {}
        for device, grads in per_device.items():
            found[device] = found_inf.to(device=device)
            _C._amp_foreach_non_finite_check_and_unscale_(
                grads, found[device], inv_scale.to(device=device)
            )
        return found

    def _check_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        """The same for gradients that stay as they are: an optimizer unscales them itself."""
        scale, _ = self._check_scaled("_check_inf_per_device")
        found = self._unscale_grads_(
            optimizer, _one(1.0, scale.device), _one(0.0, scale.device), True
        )
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]  # type: ignore[no-any-return]

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of the optimizer's parameters by the scale: before clipping them."""
        if not self._enabled:
            return
        scale, _ = self._check_scaled("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inv_scale = scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._unscale_grads_(
            optimizer, inv_scale, _one(0.0, scale.device), False
        )
        state["stage"] = OptState.UNSCALED

    # ---- stepping ----

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """unscale_() unless that was done, then optimizer.step() unless a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        scale, _ = self._check_scaled("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        unscales = getattr(optimizer, "_step_supports_amp_scaling", False)
        if unscales and "grad_scaler" in inspect.signature(optimizer.step).parameters:
            warnings.warn(
                "GradScaler is going to stop passing itself as a keyword argument to the passed "
                "optimizer. In the near future GradScaler registers `grad_scale: Tensor` and "
                "`found_inf: Tensor` to the passed optimizer and let the optimizer use them "
                "directly.",
                FutureWarning,
                stacklevel=2,
            )
            result = optimizer.step(*args, **kwargs, grad_scaler=self)
            state["stage"] = OptState.STEPPED
            return result
        grad_scale = getattr(optimizer, "grad_scale", None)
        if state["stage"] is OptState.READY:
            if unscales:
                self._check_inf_per_device(optimizer)
                grad_scale = scale if grad_scale is None else scale * grad_scale
            else:
                self.unscale_(optimizer)
        found = list(state["found_inf_per_device"].values())
        if not found and not unscales:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if unscales or (
            isinstance(optimizer, FusedOptimizer) and optimizer._skips_infinite_steps()
        ):
            optimizer.grad_scale = grad_scale
            optimizer.found_inf = _any_of(found, scale.device)
            try:
                result = optimizer.step(*args, **kwargs)
            finally:
                del optimizer.grad_scale
                del optimizer.found_inf
        elif not any(_C._read_at_first(f) for f in found):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapts the scale to what the steps found, or sets it."""
        if not self._enabled:
            return
        scale, tracker = self._check_scaled("update")
        if isinstance(new_scale, Tensor):
            if (
                new_scale.device.type != self._device
                or new_scale.numel() != 1
                or new_scale.requires_grad
            ):
                raise AssertionError(
                    "new_scale should be a float or a 1-element torch.cuda.FloatTensor or "
                    "torch.FloatTensor with requires_grad=False."
                )
            scale.copy_(new_scale)
        elif new_scale is not None:
            scale.fill_(new_scale)
        else:
            found = [
                f
                for state in self._per_optimizer_states.values()
                for f in state["found_inf_per_device"].values()
            ]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            _C._amp_update_scale_(
                scale,
                tracker,
                _any_of(found, scale.device),
                self._growth_factor,
                self._backoff_factor,
                self._growth_interval,
            )
        self._per_optimizer_states.clear()

    # ---- settings ----

    def get_scale(self) -> float:
        """The scale; 1.0 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after enough good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets what the scale is multiplied by after enough good steps."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after a step with an infinite gradient."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets what the scale is multiplied by after a step with an infinite gradient."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row let the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets how many good steps in a row let the scale grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        if self._growth_tracker is None:
            return self._init_growth_tracker
        return int(self._growth_tracker.item())

    def is_enabled(self) -> bool:
        """True unless it was made with enabled=False."""
        return self._enabled

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """scale, growth_factor, backoff_factor, growth_interval, _growth_tracker; {} if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what state_dict() gave; nothing if disabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved "
                "from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None and self._growth_tracker is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, "
                    "or at the end after scaler.update()."
                )
            state.update(
                _init_scale=self.get_scale(),
                _init_growth_tracker=self._get_growth_tracker(),
                _scale=None,
                _growth_tracker=None,
            )
        return state
