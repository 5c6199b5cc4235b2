# SPDX-License-Identifier: Apache-2.0
"""Less memory for more time: what a function keeps for backward is computed again there
(Chen et al., 2016).

y = checkpoint(block, x, use_reentrant=False)

use_reentrant=False: what the graph keeps is replaced by numbers (hooks for saved tensors); when
backward asks for the first of them, the function runs again and its tensors are taken in the same
order. Anything can be differentiated, also twice, and checkpoints can be nested.
use_reentrant=True: the function runs without a graph, and backward runs it again with one and
differentiates that. Outputs need an input that requires grad; `torch.autograd.grad` is refused.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gradstep import _C
from gradstep.amp import autocast
from gradstep.autograd import Function, backward
from gradstep.autograd.function import written_since
from gradstep.autograd.grad_mode import enable_grad, no_grad
from gradstep.autograd.graph import saved_tensors_hooks
from gradstep.random import fork_rng, get_rng_state, set_rng_state

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

_DEFAULT_DETERMINISM = "default"
_early_stop: bool | None = None  # None: as each checkpoint says
_debug: bool | None = None


class CheckpointError(RuntimeError):
    """The function computed something else in backward than before."""


class set_checkpoint_early_stop:
    """Within it, `early_stop` of all checkpoints is this: whether a function is left as soon as
    backward has what it needs."""

    def __init__(self, enable: bool) -> None:
        self.enable = enable

    def __enter__(self) -> None:
        global _early_stop
        self.before, _early_stop = _early_stop, self.enable

    def __exit__(self, *exc: object) -> None:
        global _early_stop
        _early_stop = self.before


class set_checkpoint_debug_enabled:
    """Within it, `debug` of all checkpoints is this; None leaves it to them."""

    def __init__(self, enabled: bool | None) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        global _debug
        self.before, _debug = _debug, self.enabled

    def __exit__(self, *exc: object) -> None:
        global _debug
        _debug = self.before


def noop_context_fn() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The default of `context_fn`: nothing around forward and recomputation."""
    return nullcontext(), nullcontext()


# ---- the state of the world that the function must find again ----


def _tensors(values: Iterable[Any]) -> list[Any]:
    return [v for v in values if isinstance(v, _C.Tensor)]


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors without history, wanting gradients where they did; the rest as it is."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: ",
            type(inputs).__name__,
        )
    return tuple(
        v.detach().requires_grad_(v.requires_grad) if isinstance(v, _C.Tensor) else v
        for v in inputs
    )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns where no input requires grad: then no gradient comes out of a reentrant checkpoint."""
    if not any(v.requires_grad for v in inputs if isinstance(v, _C.Tensor)):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """The GPUs of the tensors among the arguments and the states of their generators."""
    devices = sorted({t.get_device() for t in _tensors(args) if t.is_cuda})
    if not devices:
        return [], []
    from gradstep import cuda

    return devices, [cuda.get_rng_state(d) for d in devices]


def set_device_states(devices: list[int], states: list[Any], *, device_type: Any = None) -> None:
    """Gives GPUs' generators their states back."""
    if devices:
        from gradstep import cuda

        for device, state in zip(devices, states, strict=True):
            cuda.set_rng_state(state, device)


class _World:
    """Random states and autocast at the time of the call, to be entered again."""

    def __init__(self, preserve_rng_state: bool, args: Any) -> None:
        self.devices: list[int] = []
        self.cpu_state = None
        # A step that is captured can't go back to a state; where nothing is drawn there is no need.
        self.drawn = _C._capture_draws() if preserve_rng_state else -1
        if preserve_rng_state and self.drawn < 0:
            self.cpu_state = get_rng_state()
            self.devices, self.states = get_device_states(*args)
        self.casts: list[dict[str, Any]] = [
            {
                "device_type": device,
                "enabled": _C.is_autocast_enabled(device),
                "dtype": _C.get_autocast_dtype(device),
                "cache_enabled": _C.is_autocast_cache_enabled(),
            }
            for device in ("cpu", "cuda")
            if device == "cpu" or _C._cuda_device_count()
        ]

    def check(self) -> None:
        """After the first run: a captured step refuses random numbers that are to be drawn again."""
        if self.drawn >= 0 and _C._capture_draws() != self.drawn:
            _C._refuse_capture(
                "a checkpointed function draws random numbers, which a replay would not draw again; "
                "draw them outside, or capture the step without the checkpoint"
            )

    def run(self, fn: Callable[[], Any]) -> Any:
        with fork_rng(self.devices, enabled=self.cpu_state is not None):
            if self.cpu_state is not None:
                set_rng_state(self.cpu_state)
                set_device_states(self.devices, self.states)
            casts = [autocast(**c) for c in self.casts]
            for cast in casts:
                cast.__enter__()
            try:
                return fn()
            finally:
                for cast in reversed(casts):
                    cast.__exit__()


# ---- reentrant ----


class CheckpointFunction(Function):
    """The function without a graph; its backward runs it again with one."""

    @staticmethod
    def forward(ctx: Any, run_function: Any, preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.world = _World(preserve_rng_state, args)
        ctx.values = [None if isinstance(a, _C.Tensor) else a for a in args]
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, _C.Tensor)]
        ctx.save_for_backward(*_tensors(args))
        with no_grad():
            outputs = run_function(*args)
        ctx.world.check()
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if not _C._is_checkpoint_valid():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument."
            )
        values = list(ctx.values)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            values[place] = tensor
        inputs = detach_variable(tuple(values))

        def again() -> Any:
            with enable_grad():
                return ctx.run_function(*inputs)

        outputs = ctx.world.run(again)
        if isinstance(outputs, _C.Tensor):
            outputs = (outputs,)
        pairs = [
            (o, g)
            for o, g in zip(outputs, grads, strict=True)
            if isinstance(o, _C.Tensor) and o.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([o for o, _ in pairs], [g for _, g in pairs])
        return (
            None,
            None,
            *(v.grad if isinstance(v, _C.Tensor) else None for v in inputs),
        )


# ---- by hooks ----


class _Enough(Exception):
    """Everything that backward needs was computed again."""


class _Handle:
    """Stands in the graph for a kept tensor; goes with its node."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int) -> None:
        self.index = index


def _described(t: Any) -> dict[str, Any]:
    return {"shape": t.shape, "dtype": t.dtype, "device": t.device}


class _Frame:
    """One call of a checkpointed function: what its graph keeps, and how to compute that again."""

    def __init__(
        self, again: Callable[[], Any], determinism: str, debug: bool, early_stop: bool
    ) -> None:
        self.again = again
        self.early_stop = early_stop
        self.determinism = determinism
        self.debug = debug
        self.handles: list[weakref.ref[_Handle]] = []
        self.expected: list[dict[str, Any]] = []
        self.names: list[str] = []  # the functions' lines, for debug
        self.values: weakref.WeakKeyDictionary[_Handle, Any] = weakref.WeakKeyDictionary()

    # In the first run:

    def pack(self, tensor: Any) -> _Handle:
        handle = _Handle(len(self.handles))
        self.handles.append(weakref.ref(handle))
        self.expected.append(_described(tensor))
        if self.debug:
            self.names.append(_line())
        return handle

    def unpack(self, handle: _Handle) -> Any:
        if handle not in self.values:
            self._recompute()
        if handle not in self.values:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors are missing: "
                f"tensor at position {handle.index}"
            )
        return self.values[handle]

    # In the second:

    def _recompute(self) -> None:
        seen: list[Any] = []
        lines: list[str] = []

        def keep(tensor: Any) -> Any:
            index = len(seen)
            seen.append(_described(tensor))
            if self.debug:
                lines.append(_line())
            if index < len(self.handles):
                handle = self.handles[index]()
                if handle is not None:
                    self._check_one(index, seen[index], lines)
                    self.values[handle] = tensor.detach()
                if self.early_stop and index + 1 == len(self.handles):
                    raise _Enough
            return tensor.detach()

        def refuse(value: Any) -> Any:
            # A derivative inside of the function: its own graph is a plain one.
            return value

        try:
            with saved_tensors_hooks(keep, refuse), enable_grad():
                self.again()
        except _Enough:
            return
        if len(seen) != len(self.handles) and self.determinism != "none":
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the "
                "original forward and recomputation.\n"
                f"Number of tensors saved during forward: {len(self.handles)}\n"
                f"Number of tensors saved during recomputation: {len(seen)}.\n"
                "Tip: To see a more detailed error message, either pass `debug=True` to\n"
                "`torch.utils.checkpoint.checkpoint(...)` or wrap the code block\n"
                "with `with torch.utils.checkpoint.set_checkpoint_debug_enabled(True):` to\n"
                "enable checkpoint‑debug mode globally."
            )

    def _check_one(self, index: int, found: dict[str, Any], lines: list[str]) -> None:
        if self.determinism == "none" or self.expected[index] == found:
            return
        where = (
            f"saved by {self.names[index]}first and by {lines[index]}again\n" if self.debug else ""
        )
        raise CheckpointError(
            "torch.utils.checkpoint: Recomputed values for the following tensors have different "
            "metadata than during the forward pass.\n"
            f"tensor at position {index}:\n"
            f"saved metadata: {self.expected[index]}\n"
            f"recomputed metadata: {found}\n" + where
        )


class _Argument:
    """An argument until it is needed again; within another checkpoint, that one keeps it."""

    def __init__(self, given: Any) -> None:
        self.given, self.unpack = given, None
        if not isinstance(given, _C.Tensor):
            return
        self.requires_grad, self.version = given.requires_grad, given._version
        hooks: Any = _C._saved_tensors_hooks()
        if hooks is not None:
            pack, self.unpack = hooks
            self.given = pack(given.detach())

    def value(self) -> Any:
        if self.unpack is not None:
            return self.unpack(self.given).detach().requires_grad_(self.requires_grad)
        if not isinstance(self.given, _C.Tensor):
            return self.given
        if self.given._version != self.version:
            raise RuntimeError(written_since(self.given, self.version))
        return self.given.detach().requires_grad_(self.requires_grad)


def _line() -> str:
    """The innermost line outside of this package."""
    import os
    import traceback

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for entry in reversed(traceback.extract_stack()):
        if not entry.filename.startswith(package):
            return "".join(traceback.format_list([entry]))
    return ""


def _by_hooks(
    function: Any,
    args: Any,
    kwargs: Any,
    preserve: bool,
    context_fn: Any,
    determinism: str,
    debug: bool,
    early_stop: bool,
) -> Any:
    forward_context, recompute_context = context_fn()
    if not _C.is_grad_enabled():
        with forward_context:
            return function(*args, **kwargs)
    world = _World(preserve, (*args, *kwargs.values()))
    kept = [_Argument(a) for a in args]
    kept_by_name = {k: _Argument(a) for k, a in kwargs.items()}

    def again() -> Any:
        values = [k.value() for k in kept]
        named = {name: k.value() for name, k in kept_by_name.items()}

        def run() -> Any:
            with recompute_context:
                return function(*values, **named)

        return world.run(run)

    frame = _Frame(again, determinism, debug, early_stop)
    with saved_tensors_hooks(frame.pack, frame.unpack), forward_context:
        outputs = function(*args, **kwargs)
    world.check()
    return outputs


def _warn_about_default(name: str) -> None:
    warnings.warn(
        f"torch.utils.checkpoint.{name}: the use_reentrant parameter should be passed explicitly. "
        "use_reentrant=False is recommended, but if you need to preserve the current default "
        "behavior, you can pass use_reentrant=True.",
        stacklevel=3,
    )


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[
        [], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]
    ] = noop_context_fn,
    determinism_check: str = _DEFAULT_DETERMINISM,
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), which keeps nothing for backward but its arguments.

    preserve_rng_state=True (a keyword): random numbers are drawn again as they were. context_fn:
    gives two contexts, for the call and for computing it again. determinism_check: "default"
    compares shapes, dtypes and devices of what is computed again, "none" does not. Raises
    CheckpointError where they differ.
    """
    if use_reentrant is None:
        _warn_about_default("checkpoint")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], got {determinism_check}"
        )
    return _by_hooks(
        function,
        args,
        kwargs,
        preserve,
        context_fn,
        determinism_check,
        debug if _debug is None else _debug,
        early_stop if _early_stop is None else _early_stop,
    )


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """A Sequential or list of modules in `segments` parts, all but the last one checkpointed."""
    if use_reentrant is None:
        _warn_about_default("checkpoint_sequential")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    from gradstep.nn import Sequential

    modules = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    size = len(modules) // segments

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for module in modules[start:end]:
                x = module(x)
            return x

        return forward

    last = (segments - 1) * size
    for start in range(0, last, size) if size else ():
        input = checkpoint(
            part(start, start + size),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve,
        )
    return part(last, len(modules))(input)
