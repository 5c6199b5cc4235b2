# SPDX-License-Identifier: Apache-2.0
"""Custom differentiable functions.

class Double(Function):
    @staticmethod
    def forward(ctx, x): return x * 2
    @staticmethod
    def backward(ctx, grad): return grad * 2
y = Double.apply(x)
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

from gradstep import _C

from .grad_mode import no_grad

__all__ = ["Function", "FunctionCtx", "once_differentiable"]

_SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have "
    "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
    "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
    "if you need to access saved tensors after calling backward."
)


class FunctionCtx:
    """What `forward` leaves for `backward`. It is also what the graph's node calls."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._saved_places: tuple[int, ...] = ()
        self._node: Any = None
        self._unpack: Any = None  # of hooks for saved tensors
        self._histories: list[Any] = []
        self._released = False
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._n_outputs = 1
        self._outputs_meta: list[Any] = []
        self._inputs_meta: list[Any] = []
        self._output_places: list[int] = []
        self._function: Any = None
        self._backward: Any = None
        self._positions: list[int] = []
        self._n_args = 0

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors for backward; they come back from `saved_tensors`."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, _C.Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for PyTorch's sake: there is no forward mode here."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Names inputs that forward wrote in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Names outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: gradients of unused outputs come as None instead of zeros."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        if self._released:
            raise RuntimeError(_SECOND_TIME)
        if self._unpack is not None:
            return self._unpacked()
        for t, version in zip(self._saved, self._versions, strict=True):
            if t is not None and t._version != version:
                raise RuntimeError(written_since(t, version))
        if self._node is None or not _C.is_grad_enabled():
            return self._saved
        # A kept output has no history, which would be a cycle; a double backward gets it back.
        return tuple(
            t if place < 0 else _C._with_history(t, self._node, place)
            for t, place in zip(self._saved, self._saved_places, strict=True)
        )

    saved_variables = saved_tensors

    def _pack(self, hooks: Any) -> None:
        """Gives what is kept to the hooks for saved tensors, if there are any."""
        if hooks is None:
            return
        pack, self._unpack = hooks
        self._histories = [
            get_history(t) if t is not None and t.requires_grad and _C.is_grad_enabled() else None
            for t in self._saved
        ]
        with no_grad():
            self._saved = tuple(None if t is None else pack(t.detach()) for t in self._saved)

    def _unpacked(self) -> tuple[Any, ...]:
        assert self._unpack is not None
        out = []
        for value, place, history in zip(
            self._saved, self._saved_places, self._histories, strict=True
        ):
            t = None if value is None else self._unpack(value)
            if t is not None and not isinstance(t, _C.Tensor):
                raise TypeError(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of "
                    f"type {type(t)}"
                )
            if t is not None and _C.is_grad_enabled():
                if place >= 0 and self._node is not None:
                    t = _C._with_history(t, self._node, place)
                elif history is not None:
                    t = _C._with_history(t, *history)
            out.append(t)
        return tuple(out)

    # ---- called by the native node ----

    def _run_backward(
        self, node: Any, grads: tuple[Any, ...], needs: tuple[bool, ...]
    ) -> tuple[Any, ...]:
        self._node = node
        try:
            return self._gradients(grads)
        finally:
            self._node = None

    def _gradients(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        given: list[Any] = [None] * self._n_outputs
        for place, g in zip(self._output_places, grads, strict=True):
            given[place] = g
        if self._materialize:
            given = [
                _C.zeros(m[0], dtype=m[1], device=m[2]) if g is None and m is not None else g
                for g, m in zip(given, self._outputs_meta, strict=True)
            ]
        result = self._backward(self, *given)
        if not isinstance(result, tuple):
            result = (result,)
        name = self._function.__name__
        if len(result) > self._n_args and any(r is not None for r in result[self._n_args :]):
            raise RuntimeError(
                f"function {name}Backward returned an incorrect number of gradients (expected {self._n_args}, got {len(result)})"
            )
        if len(result) < self._n_args:
            raise RuntimeError(
                f"function {name}Backward returned an incorrect number of gradients (expected {self._n_args}, got {len(result)})"
            )
        tensors = {meta[0] for meta in self._inputs_meta}
        for i, g in enumerate(result[: self._n_args]):
            if g is not None and i not in tensors:
                raise RuntimeError(
                    f"function {name}Backward returned a gradient different than None at position "
                    f"{i + 1}, but the corresponding forward input was not a Variable"
                )
        out = []
        for position, shape, dtype, device in self._inputs_meta:
            g = result[position]
            if g is not None:
                if not isinstance(g, _C.Tensor):
                    raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
                if g.shape != shape:
                    if not _expandable(shape, g.shape):
                        raise RuntimeError(
                            f"Function {name}Backward returned an invalid gradient at index {position} - got {list(g.shape)} "
                            f"but expected shape compatible with {list(shape)}"
                        )
                    g = _sum_to(g, shape)
                if g.device != device and g.dim() > 0:
                    raise RuntimeError(
                        f"Function {name}Backward returned an invalid gradient at index {position} - expected device "
                        f"{device} but got {g.device}"
                    )
                if g.dtype != dtype or g.device != device:
                    g = g.to(device, dtype)
            out.append(g)
        return tuple(out)

    def _release(self) -> None:
        self._saved = ()
        self._versions = ()
        self._released = True


def written_since(t: Any, expected: int) -> str:
    """The error of a kept tensor that was written since."""
    made = ""
    if t.grad_fn is not None:
        name = t.grad_fn.name().partition("Backward")[0]
        made = f", which is output {t.output_nr} of {name},"
    return (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{t.type()} {list(t.shape)}]{made} is at version {t._version}; expected version {expected} instead. Hint: "
        + (
            "the backtrace further above shows the operation that failed to compute its gradient. The variable in "
            "question was changed in there or anywhere later. Good luck!"
            if _C.is_anomaly_enabled()
            else "enable anomaly detection to find the operation that failed to compute its gradient, with "
            "torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )
    )


def get_history(t: Any) -> tuple[Any, int]:
    """Where the gradient of a tensor goes: node and slot."""
    from .graph import get_gradient_edge

    edge = get_gradient_edge(t)
    return edge.node, edge.output_nr


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of a tensor that was broadcast from `shape`."""
    added = g.dim() - len(shape)
    dims = [d for d in range(g.dim()) if d < added or (shape[d - added] == 1 and g.shape[d] != 1)]
    return g.sum(dims, keepdim=True).reshape(shape)


def _expandable(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    return all(s in (1, n) for s, n in zip(reversed(small), reversed(large), strict=False))


class Function(FunctionCtx):
    """Base class of custom functions: static methods `forward` and `backward`, called by `apply`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, "
            "so you should invoke them on the class itself. Instantiating an autograd function will "
            "raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward without history and records one node that calls backward."""
        ctx: Any = FunctionCtx()
        ctx._function = cls
        own = cls.backward is not Function.backward
        if own and hasattr(cls, "vjp"):
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
                "should only implement one of them."
            )
        ctx._backward = cls.vjp if hasattr(cls, "vjp") else cls.backward
        ctx._to_save = ()
        ctx._n_args = len(args)
        tensors = [(i, a) for i, a in enumerate(args) if isinstance(a, _C.Tensor)]
        ctx.needs_input_grad = tuple(isinstance(a, _C.Tensor) and a.requires_grad for a in args)
        recording = _C.is_grad_enabled() and any(t.requires_grad for _, t in tensors)
        separate = cls.setup_context is not Function.setup_context
        _C._set_grad_enabled(False) if recording else None
        try:
            if separate:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        finally:
            _C._set_grad_enabled(True) if recording else None
        single = not isinstance(result, tuple)
        outputs = [result] if single else list(result)
        _check_marked("mark_dirty", ctx._dirty)
        _check_marked("mark_non_differentiable", ctx._non_differentiable)
        if any(all(t is not o for o in outputs) for t in ctx._dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the Function."
            )
        by_id = {id(t) for _, t in tensors}
        dirty = {id(t) for t in ctx._dirty}
        fixed = {id(t) for t in ctx._non_differentiable}
        for t in ctx._dirty:
            if recording:
                if t.is_leaf and t.requires_grad:
                    raise RuntimeError(
                        "a leaf Variable that requires grad has been used in an in-place operation."
                    )
                _C._check_inplace(t)
            _C._bump_version(t)
        if recording:
            # An input that is returned unchanged comes out as a view, or it would get two histories.
            outputs = [
                _C._alias(o)
                if isinstance(o, _C.Tensor) and id(o) in by_id and id(o) not in dirty
                else o
                for o in outputs
            ]
            differentiable = [
                i
                for i, o in enumerate(outputs)
                if isinstance(o, _C.Tensor) and o.is_floating_point() and id(o) not in fixed
            ]
            ctx._n_outputs = len(outputs)
            ctx._output_places = differentiable
            ctx._outputs_meta = [
                (o.shape, o.dtype, o.device) if isinstance(o, _C.Tensor) else None for o in outputs
            ]
            ctx._inputs_meta = [(i, t.shape, t.dtype, t.device) for i, t in tensors]
            saved = ctx._to_save
            _C._attach_function(
                ctx,
                f"{cls.__name__}Backward",
                [t for _, t in tensors],
                [outputs[i] for i in differentiable],
                list(ctx._dirty),
            )
            # Outputs are kept without history, which would make a cycle.
            places = {id(outputs[i]): k for k, i in enumerate(differentiable)}
            ctx._saved_places = tuple(places.get(id(s), -1) for s in saved)
            ctx._saved = tuple(
                s.detach() if p >= 0 else s for s, p in zip(saved, ctx._saved_places, strict=True)
            )
            ctx._versions = tuple(0 if s is None else s._version for s in saved)
            ctx._pack(_C._saved_tensors_hooks())
        else:
            ctx._saved = ctx._to_save
            ctx._versions = tuple(0 if s is None else s._version for s in ctx._saved)
            ctx._saved_places = (-1,) * len(ctx._saved)
        del ctx._to_save
        if single:
            return outputs[0]
        return tuple(outputs)


def _check_marked(name: str, marked: tuple[Any, ...]) -> None:
    for i, t in enumerate(marked):
        if not isinstance(t, _C.Tensor):
            raise RuntimeError(
                f"{name} can only accept variables, but argument {i} is of type {type(t).__name__}"
            )


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A backward that is not differentiable itself: a double backward through it raises."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        recording = _C.is_grad_enabled() and any(
            isinstance(a, _C.Tensor) and a.requires_grad for a in args
        )
        before = _C.is_grad_enabled()
        _C._set_grad_enabled(False)
        try:
            outputs = fn(ctx, *args)
        finally:
            _C._set_grad_enabled(before)
        if not recording:
            return outputs
        single = not isinstance(outputs, tuple)
        listed = (outputs,) if single else outputs

        class Failing(Function):
            @staticmethod
            def forward(ctx: Any, x: Any, carrier: Any) -> Any:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                raise RuntimeError(
                    "trying to differentiate twice a function that was marked with @once_differentiable"
                )

        carrier = next(a for a in args if isinstance(a, _C.Tensor) and a.requires_grad)
        marked = tuple(
            Failing.apply(o, carrier) if isinstance(o, _C.Tensor) and o.is_floating_point() else o
            for o in listed
        )
        return marked[0] if single else marked

    return wrapper
