# SPDX-License-Identifier: Apache-2.0
"""Operators of one's own, written in Python.

    @torch.library.custom_op("mine::scale", mutates_args=())
    def scale(x: torch.Tensor, by: float) -> torch.Tensor:
        return x * by

    scale.register_autograd(lambda ctx, grad: (grad * ctx.by, None),
                            setup_context=lambda ctx, inputs, output: setattr(ctx, "by", inputs[1]))
    torch.ops.mine.scale(x, 2.0)

An operator runs as the Python it is; kernels for abstract tensors (`register_fake`) are kept and never called, since
nothing here computes shapes alone.
"""

from __future__ import annotations

import ast
import collections.abc
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd import Function
from gradstep.utils import _pytree

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "fallthrough_kernel",
    "get_ctx",
    "impl",
    "impl_abstract",
    "infer_schema",
    "register_autocast",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_torch_dispatch",
    "register_vmap",
]

_OPERATORS: dict[str, CustomOpDef] = {}
_ANY = "any"  # the key of a kernel for every device
_KEYS = {
    "CPU": "cpu",
    "CUDA": "cuda",
    "Autograd": "autograd",
    "AutogradCPU": "autograd",
    "AutogradCUDA": "autograd",
    "Meta": "fake",
    "cpu": "cpu",
    "cuda": "cuda",
    "default": _ANY,
    "": _ANY,
    "CompositeExplicitAutograd": _ANY,
    "CompositeImplicitAutograd": _ANY,
}


# ---- schemas ----

_NAMES: dict[Any, str] = {
    Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    _C.dtype: "ScalarType",
    _C.device: "Device",
}
_LISTS = (list, collections.abc.Sequence)


def _type_name(annotation: Any) -> str | None:
    """PyTorch's name of an annotated type, None where operators can't have it."""
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _LISTS and len(inside) == 1:
        name = _type_name(inside[0])
        return None if name is None else f"{name}[]"
    if inside and origin is not tuple:  # a union
        rest = tuple(t for t in inside if t is not type(None))
        optional = "?" if len(rest) < len(inside) else ""
        if set(rest) == {int, float, bool}:
            return f"Scalar{optional}"
        name = _type_name(rest[0]) if len(rest) == 1 else None
        return None if name is None else name + optional
    return None


def infer_schema(
    prototype_function: Callable[..., Any],
    /,
    *,
    mutates_args: Any,
    op_name: str | None = None,
) -> str:
    """The operator's types as text, read from the function's annotations: "(Tensor x, float by=2.0) -> Tensor"."""
    signature = inspect.signature(prototype_function)

    def refuse(what: str) -> NoReturn:
        raise ValueError(f"infer_schema(func): {what} Got func with signature {signature})")

    hints = typing.get_type_hints(prototype_function)
    out: list[str] = []
    star = False
    for place, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            refuse("We do not support positional-only args, varargs, or varkwargs.")
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            out.append("*")
        if name not in hints:
            refuse(f"Parameter {name} must have a type annotation.")
        kind = _type_name(hints[name])
        if kind is None:
            refuse(f"Parameter {name} has unsupported type {hints[name]}.")
        if mutates_args == "unknown" or name in mutates_args:
            if kind.startswith("Tensor"):
                kind = f"Tensor(a{place}!){kind[len('Tensor') :]}"
            elif mutates_args != "unknown":
                refuse(f"Parameter {name} is in mutable_args but only Tensors can be mutated")
        default = ""
        if parameter.default is not parameter.empty:
            value = parameter.default
            if value is not None and not isinstance(value, (int, float, bool, str, _C.dtype)):
                refuse(
                    f"Parameter {name} has an unsupported default value type {type(value)}. Please file an issue "
                    "on GitHub so we can prioritize this."
                )
            text = f'"{value}"' if isinstance(value, str) else str(value)
            default = "=" + text.removeprefix("torch.").removeprefix("gradstep.")
        out.append(f"{kind} {name}{default}")
    for name in () if mutates_args == "unknown" else mutates_args:
        if name not in signature.parameters:
            refuse(f"{name} in mutates_args was not found in the function's parameters.")
    if "return" not in hints:
        refuse("No return type annotation was provided. Please add one.")
    return f"{op_name or ''}({', '.join(out)}) -> {_return_name(hints['return'], refuse)}"


def _return_name(annotation: Any, refuse: Callable[[str], NoReturn]) -> str:
    if annotation is type(None):
        return "()"
    if typing.get_origin(annotation) is tuple:
        return "(" + ", ".join(_return_name(t, refuse) for t in typing.get_args(annotation)) + ")"
    name = _type_name(annotation)
    if name is None:
        refuse(f"Return has unsupported type {annotation}.")
    return name


def _split_schema(schema: str) -> tuple[str, str]:
    """ "f(Tensor x) -> Tensor" as "f" and the rest."""
    name, bracket, rest = schema.partition("(")
    if not bracket:
        raise ValueError(f"expected a schema like 'f(Tensor x) -> Tensor' (got {schema!r})")
    return name.strip(), bracket + rest


def _signature(schema: str) -> inspect.Signature:
    """The arguments that a schema names, with their defaults."""
    inside = schema[1 : schema.rindex("->")].strip().removesuffix(")")
    parts, depth, start = [], 0, 0
    for at, c in enumerate(inside + ","):
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append(inside[start:at].strip())
            start = at + 1
    parameters = []
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for part in filter(None, parts):
        if part == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        left, given, text = part.partition("=")
        default: Any = inspect.Parameter.empty
        if given:
            try:
                default = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
            except (ValueError, SyntaxError):
                default = text
        parameters.append(inspect.Parameter(left.split()[-1], kind, default=default))
    return inspect.Signature(parameters)


# ---- operators ----


class CustomOpDef:
    """An operator: its kernels by device, and its derivative. Made by `custom_op` and `define`."""

    def __init__(self, name: str, schema: str, signature: inspect.Signature, strict: bool) -> None:
        self._name = name
        self._schema = f"{name}{schema}"
        self._signature = signature
        self._strict = strict  # made by custom_op: it has a derivative of its own or none
        self._kernels: dict[str, Callable[..., Any]] = {}
        self._backward: Callable[..., Any] | None = None
        self._setup_context: Callable[..., Any] | None = None
        self._autocast: dict[str, Any] = {}
        self._inside = False
        self._disabled: set[str] = set()
        self._function = _derived(self)

    @property
    def default(self) -> CustomOpDef:
        """The operator's only overload: itself."""
        return self

    @property
    def _qualname(self) -> str:
        return self._name

    @property
    def _opoverload(self) -> CustomOpDef:
        return self

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._name})>"

    def __str__(self) -> str:
        return self._name.replace("::", ".")

    # -- what can be added --

    def register_kernel(self, device_types: Any, fn: Any = None, /) -> Any:
        """The function for tensors on a device type ("cpu", "cuda", a list of them, None for all)."""

        def register(function: Any) -> Any:
            kinds = [_ANY] if device_types is None else device_types
            for kind in [kinds] if isinstance(kinds, str) else kinds:
                self._kernels[_KEYS.get(kind, kind)] = function
            return function

        return register if fn is None else register(fn)

    def register_fake(self, fn: Any, /) -> Any:
        """Kept, and not called: shapes alone are not computed here."""
        self._kernels["fake"] = fn
        return fn

    def register_vmap(self, func: Any = None) -> Any:
        """Accepted: vmap calls the operator for each slice."""
        return (lambda f: f) if func is None else func

    def register_torch_dispatch(self, torch_dispatch_class: Any, fn: Any = None, /) -> Any:
        """Accepted: there are no dispatch modes."""
        return (lambda f: f) if fn is None else fn

    def register_autocast(self, device_type: str, cast_inputs: Any) -> None:
        """Under autocast for the device type, floating point inputs are cast to the dtype."""
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in ("cpu", "cuda"):
            raise ValueError(f"Unknown device type: {device_type}")
        self._autocast[device_type] = cast_inputs

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """The derivative: backward(ctx, *grads) gives one gradient for each input, None where there is none;
        setup_context(ctx, inputs, output) keeps what it needs."""
        self._backward, self._setup_context = backward, setup_context

    # -- calls --

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise RuntimeError(f"{self._name}() {error}. Declaration: {self._schema}") from None
        bound.apply_defaults()
        values, named = bound.args, bound.kwargs
        if self._autocast:
            values, named = self._cast(values, named)
        leaves, spec = _pytree.tree_flatten((values, named))
        tensors = [t for t in leaves if isinstance(t, Tensor)]
        if "autograd" in self._kernels and not self._inside:
            self._inside = True
            try:
                return self._kernels["autograd"](*values, **named)
            finally:
                self._inside = False
        if not self._strict and self._backward is None:
            return self._compute(tensors, values, named)
        if not (_C.is_grad_enabled() and any(t.requires_grad for t in tensors)):
            return self._checked(self._compute(tensors, values, named), tensors)
        return self._function.apply(spec, *leaves)

    def _cast(self, values: Any, named: Any) -> Any:
        def cast(t: Any) -> Any:
            if not isinstance(t, Tensor) or not t.is_floating_point():
                return t
            kind = t.device.type
            on = kind in self._autocast and _C.is_autocast_enabled(kind)
            return t.to(self._autocast[kind]) if on else t

        return _pytree.tree_map(cast, (values, named))

    def _compute(self, tensors: list[Tensor], values: Any, named: Any) -> Any:
        kind = next((t.device.type for t in tensors), "cpu")
        kernel = self._kernels.get(kind, self._kernels.get(_ANY))
        if kernel is None:
            raise NotImplementedError(
                f"Could not run '{self._name}' with arguments from the '{kind.upper()}' backend: no kernel is "
                "registered for it."
            )
        return kernel(*values, **named)

    def _checked(self, result: Any, tensors: list[Tensor]) -> Any:
        places = {t.untyped_storage().data_ptr() for t in tensors if t.numel()}
        for t in _pytree.tree_leaves(result):
            if isinstance(t, Tensor) and t.numel() and t.untyped_storage().data_ptr() in places:
                raise RuntimeError(
                    f"{self._name}: The output of this custom operator (1) must not also be an input to this custom "
                    "operator and (2) may not alias any inputs to this custom operator or other returns. Return a "
                    "clone of the tensor."
                )
        return result


def _derived(op: CustomOpDef) -> type[Function]:
    """The autograd function of an operator; its arguments are the tree of the operator's and the leaves of that."""

    def forward(ctx: Any, spec: Any, *leaves: Any) -> Any:
        values, named = _pytree.tree_unflatten(leaves, spec)
        tensors = [t for t in leaves if isinstance(t, Tensor)]
        result = op._checked(op._compute(tensors, values, named), tensors)
        ctx._spec = spec
        needs = ctx.needs_input_grad[1:]
        ctx.needs_input_grad = _pytree.tree_unflatten(needs, spec)[0]
        if op._setup_context is not None:
            extra = {"keyword_only_inputs": named} if named else {}
            op._setup_context(ctx=ctx, inputs=values, output=result, **extra)
        return tuple(result) if isinstance(result, list) else result

    def backward(ctx: Any, *grads: Any) -> Any:
        if op._backward is None:
            raise RuntimeError(
                f"Trying to backward through {op}.default but no autograd formula was registered. Please use "
                "register_autograd to add one."
            )
        found = op._backward(ctx, *grads)
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        values, named = _pytree.tree_unflatten(range(ctx._spec.num_leaves), ctx._spec)
        if len(found) != len(values):
            raise RuntimeError(
                f"{op}: expected {len(values)} gradients of backward, one for each input (got {len(found)})"
            )
        out: list[Any] = [None] * (1 + ctx._spec.num_leaves)
        for places, grad in zip(values, found, strict=True):
            leaves = _pytree.tree_leaves(places)
            listed = isinstance(places, (list, tuple))
            for at, g in zip(
                leaves, grad if listed and grad is not None else [grad] * len(leaves), strict=True
            ):
                out[1 + at] = g
        return tuple(out)

    name = f"GeneratedBackwardFor_{op._name.replace('::', '_')}_default"
    return type(
        name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def _find(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    name = str(op)
    if name not in _OPERATORS:
        raise RuntimeError(f"operator {name} does not exist")
    return _OPERATORS[name]


def _add(name: str, schema: str, signature: inspect.Signature, strict: bool) -> CustomOpDef:
    space, colons, leaf = name.partition("::")
    if not colons or not space or not leaf:
        raise ValueError(
            f"Expected qualname to be of the form 'namespace::name', but got {name}. The qualname passed to the "
            "torch.library APIs must consist of a namespace and a name, e.g. aten::sin"
        )
    from . import ops

    getattr(ops, space).__dict__.pop(leaf, None)
    op = _OPERATORS[name] = CustomOpDef(name, schema, signature, strict)
    return op


# ---- what scripts call ----


def custom_op(
    name: str,
    fn: Any = None,
    /,
    *,
    mutates_args: Any,
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Makes an operator of a Python function with annotated arguments; also a decorator.

    `mutates_args` names the tensors that it writes; `device_types` the devices that it is for (all).
    """

    def make(function: Callable[..., Any]) -> CustomOpDef:
        text = infer_schema(function, mutates_args=mutates_args) if schema is None else schema
        op = _add(name, text, inspect.signature(function), True)
        op.register_kernel(device_types, function)
        return op

    return make if fn is None else make(fn)


def define(qualname: Any, schema: Any, *, lib: Any = None, tags: Any = ()) -> None:
    """Makes an operator without kernels: define("mine::f", "(Tensor x) -> Tensor")."""
    if isinstance(qualname, Library):
        qualname.define(schema, tags=tags)
        return
    if not isinstance(qualname, str):
        raise ValueError(
            f"define(qualname, schema): expected qualname to be instance of str, got {type(qualname)}"
        )
    _, text = _split_schema(schema)
    _add(qualname, text, _signature(text), False)


def impl(qualname: Any, types: Any, func: Any = None, *, lib: Any = None) -> Any:
    """Registers a kernel: impl("mine::f", "cpu", function); without a function a decorator."""
    if isinstance(qualname, Library):  # impl(library, name, key)
        library, op_name, key = qualname, types, "" if func is None else func

        def on_library(function: Any) -> Any:
            library.impl(op_name, function, key)
            return function

        return on_library
    return _find(qualname).register_kernel(types, func)


def register_kernel(op: Any, device_types: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """The operator's function for device types."""
    return _find(op).register_kernel(device_types, func)


def register_autograd(
    op: Any, backward: Callable[..., Any], /, *, setup_context: Any = None, lib: Any = None
) -> None:
    """The operator's derivative; see CustomOpDef.register_autograd."""
    _find(op).register_autograd(backward, setup_context=setup_context)


def register_fake(
    op: Any,
    func: Any = None,
    /,
    *,
    lib: Any = None,
    _stacklevel: int = 1,
    allow_override: bool = False,
) -> Any:
    """The operator's function for abstract tensors: kept, and not called."""

    def register(function: Any) -> Any:
        found = _OPERATORS.get(op if isinstance(op, str) else op._name)
        if found is not None:
            found.register_fake(function)
        return function

    return register if func is None else register(func)


impl_abstract = register_fake


def register_autocast(op: Any, device_type: str, cast_inputs: Any, /, *, lib: Any = None) -> None:
    """The dtype to which autocast brings the operator's inputs."""
    _find(op).register_autocast(device_type, cast_inputs)


def register_vmap(op: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """Accepted: vmap calls the operator for each slice."""
    return _find(op).register_vmap(func)


def register_torch_dispatch(
    op: Any, torch_dispatch_class: Any, func: Any = None, /, *, lib: Any = None
) -> Any:
    """Accepted: there are no dispatch modes."""
    return _find(op).register_torch_dispatch(torch_dispatch_class, func)


def get_ctx() -> NoReturn:
    """The context of a fake kernel's run; nothing runs one."""
    raise RuntimeError(
        "get_ctx() can only be called inside of a fake kernel, and those are not run here"
    )


def fallthrough_kernel(*args: Any, **kwargs: Any) -> NoReturn:
    """Stands for `no kernel of its own`; it can be registered, not called."""
    raise NotImplementedError("fallthrough_kernel() should never be called.")


class Library:
    """Operators of one namespace: Library("mine", "DEF") makes them, "FRAGMENT" adds to them, "IMPL" adds kernels."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("IMPL", "DEF", "FRAGMENT"):
            raise ValueError("Unsupported kind: ", kind)
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key
        self._defined: list[str] = []

    def __repr__(self) -> str:
        return f"Library(kind={self.kind}, ns={self.ns}, dispatch_key={self.dispatch_key})>"

    def define(
        self, schema: str, alias_analysis: str = "", *, tags: Iterable[Any] | Any = ()
    ) -> str:
        """Makes an operator: define("f(Tensor x) -> Tensor")."""
        name, text = _split_schema(schema)
        full = f"{self.ns}::{name}"
        if full in _OPERATORS:
            raise RuntimeError(
                f"Tried to register an operator ({full}{text}) with the same name and overload name multiple times. "
                "Each overload's schema should only be registered with a single call to def()."
            )
        _add(full, text, _signature(text), False)
        self._defined.append(full)
        return name

    def impl(
        self,
        op_name: Any,
        fn: Any,
        dispatch_key: str = "",
        *,
        with_keyset: bool = False,
        allow_override: bool = False,
    ) -> None:
        """Adds a kernel for a dispatch key: CPU, CUDA, Autograd, CompositeExplicitAutograd, .."""
        key = dispatch_key or self.dispatch_key
        if key not in _KEYS:
            raise NotImplementedError(
                f"torch.library.Library.impl for the dispatch key {key} is not implemented in gradstep"
            )
        if not callable(fn):
            raise TypeError(
                f"Input function is required to be a callable but found type {type(fn)}"
            )
        if fn is fallthrough_kernel:
            return
        name = op_name if isinstance(op_name, str) else str(op_name).replace(".", "::")
        full = name if "::" in name else f"{self.ns}::{name}"
        _find(full)._kernels[_KEYS[key]] = fn

    def fallback(self, fn: Any, dispatch_key: str = "", *, with_keyset: bool = False) -> NoReturn:
        """Not there: there is no dispatcher to fall back in."""
        raise NotImplementedError("torch.library.Library.fallback is not implemented in gradstep")

    def _destroy(self) -> None:
        for name in self._defined:
            _OPERATORS.pop(name, None)
