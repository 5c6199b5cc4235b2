# SPDX-License-Identifier: Apache-2.0
"""What module hooks are made of: the handle that removes one, and the taps that call them
in the backward pass. Used by module.py; users meet only the handles.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep._C import Tensor


class RemovableHandle:
    """A handle to a registered hook: ``handle.remove()``, or ``with handle: ...``."""

    next_id = 0

    def __init__(self, hooks: OrderedDict[int, Any], *, extra_dict: Any = None) -> None:
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        tables = [hooks]
        if extra_dict is not None:
            tables += extra_dict if isinstance(extra_dict, list) else [extra_dict]
        self._tables = [weakref.ref(table) for table in tables]

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        for ref in self._tables:
            table = ref()
            if table is not None:
                table.pop(self.id, None)

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(ref() for ref in self._tables), self.id

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        tables, self.id = state
        self._tables = [weakref.ref(OrderedDict() if t is None else t) for t in tables]
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


# ---- taps: identity nodes that see every gradient of a group of tensors at once ----

_tap_class: Any = None


def _tap() -> Any:
    """The tap's autograd function, made at first use: importing nn must not load autograd."""
    global _tap_class
    if _tap_class is None:
        from gradstep.autograd import Function

        class ModuleTap(Function):
            @staticmethod
            def forward(ctx: Any, on_grad: Any, *tensors: Any) -> Any:
                ctx.on_grad = on_grad
                return tuple(t.view_as(t) for t in tensors)

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                return (None, *ctx.on_grad(grads))

        _tap_class = ModuleTap
    return _tap_class


class BackwardHook:
    """Calls a module's full backward hooks: once the gradients of its inputs are known."""

    def __init__(self, module: Any, hooks: list[Any], pre_hooks: list[Any]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_output: tuple[Any, ...] | None = None
        self.n_inputs = 0
        self.input_places: list[int] | None = None
        self.n_outputs = 0

    def setup_input_hook(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tap the tensors among the positional arguments."""
        self.n_inputs = len(args)
        args, self.input_places = self._attach(args, self._on_input_grads)
        return args

    def setup_output_hook(self, result: Any) -> Any:
        """Tap the module's output, a tensor or a tuple."""
        single = not isinstance(result, tuple)
        outputs = (result,) if single else result
        self.n_outputs = len(outputs)
        outputs, self.output_places = self._attach(outputs, self._on_output_grads)
        return outputs[0] if single else outputs

    @staticmethod
    def _attach(values: tuple[Any, ...], on_grad: Any) -> tuple[tuple[Any, ...], Any]:
        places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
        if not places or not _C.is_grad_enabled():
            return values, None
        tapped = _tap().apply(on_grad, *(values[i] for i in places))
        if isinstance(tapped, Tensor):
            tapped = (tapped,)
        out = list(values)
        for i, t in zip(places, tapped):
            out[i] = t
        return tuple(out), places

    @staticmethod
    def _spread(grads: tuple[Any, ...], places: list[int], n: int) -> tuple[Any, ...]:
        out: list[Any] = [None] * n
        for i, g in zip(places, grads):
            out[i] = g
        return tuple(out)

    def _on_output_grads(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full = self._spread(grads, self.output_places, self.n_outputs)
        for hook in self.pre_hooks:
            result = hook(self.module, full)
            if result is not None:
                full = self._checked(result, len(full), "Backward pre hook", "grad_output")
        self.grad_output = full
        if self.input_places is None:  # nothing will come back to the inputs: call now
            for hook in self.hooks:
                result = hook(self.module, (None,) * self.n_inputs, full)
                if result is not None and not (
                    isinstance(result, tuple) and all(r is None for r in result)
                ):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should "
                        "always return None or None for all gradients."
                    )
            self.grad_output = None
        return tuple(full[i] for i in self.output_places)

    def _on_input_grads(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_output is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. "
                "This happens because the gradient in your nn.Module flows to the Module's "
                "input without passing through the Module's output. Make sure that the output "
                "depends on the input and that the loss is computed based on the output."
            )
        full = self._spread(grads, self.input_places or [], self.n_inputs)
        for hook in self.hooks:
            result = hook(self.module, full, self.grad_output)
            if result is not None:
                full = self._checked(result, len(full), "Backward hook", "grad_input")
        self.grad_output = None
        return tuple(full[i] for i in self.input_places or [])

    @staticmethod
    def _checked(result: Any, n: int, who: str, what: str) -> tuple[Any, ...]:
        values = result if isinstance(result, tuple) else (result,)
        if len(values) != n:
            raise RuntimeError(
                f"{who} returned an invalid number of {what}, got {len(values)}, but expected {n}"
            )
        return values


class WithModule:
    """A hook that gets the module in front of its arguments, without keeping it alive."""

    def __init__(self, hook: Callable[..., Any], module: Any) -> None:
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args: Any) -> Any:
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args)

    def __getstate__(self) -> dict[str, Any]:
        return {"hook": self.hook, "module": self.module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["module"] is None:
            raise RuntimeError("You are trying to revive the hook of a dead Module!")
        self.hook = state["hook"]
        self.module = weakref.ref(state["module"])
