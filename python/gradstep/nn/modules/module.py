# SPDX-License-Identifier: Apache-2.0
"""Module: the base class of every layer and model.

Subclass it, assign parameters and submodules in ``__init__``, write ``forward``.
A module without hooks is called with one flag check: see Note [Hook tables].
The state-dict half of the class is in _state_dict.py, hook registration in _hook_api.py.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad

from ..parameter import Buffer, Parameter, UninitializedBuffer
from ._hook_api import HookApi
from ._hooks import BackwardHook, RemovableHandle
from ._state_dict import StateDictApi, _IncompatibleKeys  # noqa: F401  libraries import it from here

if TYPE_CHECKING:
    from typing_extensions import Self

# Note [Hook tables]
# An instance starts without hook dictionaries. The first read of one of the names below ends in
# _missing_attribute(), which creates the table and, for the tables that __call__ must consult, sets
# `_hooked` on the instance. So whoever can add a hook has switched the fast path off, even by
# writing to `module._forward_hooks` directly. Global hooks set `Module._hooked` for everybody.
_CALL_TABLES = frozenset(
    ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
)
_OTHER_TABLES = frozenset(
    (
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks_with_kwargs",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
    )
)
_global_forward_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
_global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
_global_forward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_backward_hooks: OrderedDict[int, Any] = OrderedDict()
_global_backward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_parameter_hooks: OrderedDict[int, Any] = OrderedDict()
_global_buffer_hooks: OrderedDict[int, Any] = OrderedDict()
_global_module_hooks: OrderedDict[int, Any] = OrderedDict()

_set = object.__setattr__


def typename(obj: Any) -> str:
    """The name that error messages use for an object's type."""
    if isinstance(obj, Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    module = cls.__module__
    return cls.__qualname__ if module in ("builtins", None) else f"{module}.{cls.__qualname__}"


def _indent(text: str, n: int) -> str:
    return text.replace("\n", "\n" + " " * n)


def _forward_unimplemented(self: Any, *input: Any) -> None:
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(HookApi, StateDictApi, _C.ModuleBase):
    """Module()

    Base class of layers and models: a tree of parameters, buffers and submodules.

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(2, 1)
        ...     def forward(self, x):
        ...         return self.fc(x)
        >>> Net()(gs.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    dump_patches: bool = False
    _version: int = 1
    call_super_init: bool = False
    _hooked: bool = False
    _is_full_backward_hook: bool | None = None
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                    f"'{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but "
                    f"{len(args) + 1} were given"
                )
        _set(self, "training", True)
        _set(self, "_parameters", {})
        _set(self, "_buffers", {})
        _set(self, "_non_persistent_buffers_set", set())
        _set(self, "_modules", {})
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _forward_unimplemented

    # ---- calling ----

    # __call__ is ModuleBase's: forward(), or _call_with_hooks() if `_hooked` is set.
    _call_impl = _C.ModuleBase.__call__

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        table = self.__dict__.get
        forward_hooks = table("_forward_hooks")
        pre_hooks = table("_forward_pre_hooks")
        backward_hooks = table("_backward_hooks")
        backward_pre_hooks = table("_backward_pre_hooks")
        if not (
            forward_hooks
            or pre_hooks
            or backward_hooks
            or backward_pre_hooks
            or _global_forward_hooks
            or _global_forward_pre_hooks
            or _global_backward_hooks
            or _global_backward_pre_hooks
        ):
            return self.forward(*args, **kwargs)

        result = None
        done: set[int] = set()
        try:
            with_kwargs = table("_forward_pre_hooks_with_kwargs") or ()
            for key, hook in (
                *_global_forward_pre_hooks.items(),
                *(pre_hooks.items() if pre_hooks else ()),
            ):
                if key in with_kwargs:
                    change = hook(self, args, kwargs)
                    if change is not None:
                        if not (isinstance(change, tuple) and len(change) == 2):
                            raise RuntimeError(
                                "forward pre-hook must return None or a tuple "
                                f"of (new_args, new_kwargs), but got {change}."
                            )
                        args, kwargs = change
                else:
                    change = hook(self, args)
                    if change is not None:
                        args = change if isinstance(change, tuple) else (change,)

            tap = None
            if (
                backward_hooks
                or backward_pre_hooks
                or _global_backward_hooks
                or (_global_backward_pre_hooks)
            ):
                tap = BackwardHook(
                    self,
                    [*_global_backward_hooks.values(), *(backward_hooks or {}).values()],
                    [*_global_backward_pre_hooks.values(), *(backward_pre_hooks or {}).values()],
                )
                args = tap.setup_input_hook(args)

            result = self.forward(*args, **kwargs)
            for key, hook, takes_kwargs, always in self._all_forward_hooks():
                if always:
                    done.add(key)
                change = (
                    hook(self, args, kwargs, result) if takes_kwargs else hook(self, args, result)
                )
                if change is not None:
                    result = change

            if tap is not None:
                if not isinstance(result, (Tensor, tuple)):
                    warnings.warn(
                        "For backward hooks to be called, module output should be a Tensor or a "
                        f"tuple of Tensors but received {type(result)}",
                        stacklevel=3,
                    )
                result = tap.setup_output_hook(result)
            return result
        except Exception:
            for key, hook, takes_kwargs, always in self._all_forward_hooks():
                if not always or key in done:
                    continue
                try:
                    change = (
                        hook(self, args, kwargs, result)
                        if takes_kwargs
                        else hook(self, args, result)
                    )
                    if change is not None:
                        result = change
                except Exception as e:
                    scope = "global module" if key in _global_forward_hooks else "module"
                    warnings.warn(
                        f"{scope} forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {e}",
                        stacklevel=3,
                    )
            raise

    def _all_forward_hooks(self) -> list[tuple[int, Any, bool, bool]]:
        table = self.__dict__.get
        with_kwargs = table("_forward_hooks_with_kwargs") or ()
        always = table("_forward_hooks_always_called") or ()
        hooks = [
            (
                key,
                hook,
                key in _global_forward_hooks_with_kwargs,
                key in _global_forward_hooks_always_called,
            )
            for key, hook in _global_forward_hooks.items()
        ]
        for key, hook in (table("_forward_hooks") or {}).items():
            hooks.append((key, hook, key in with_kwargs, key in always))
        return hooks

    # ---- attributes ----

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _C._take_attribute_slot(cls)

    def _missing_attribute(self, name: str) -> Any:
        """What ModuleBase asks for a name that is nowhere, not in the tables either."""
        d = self.__dict__
        if "_parameters" in d and (name in _CALL_TABLES or name in _OTHER_TABLES):
            table = d[name] = OrderedDict()
            if name in _CALL_TABLES and not d.get("_hooked"):
                d["_hooked"] = True
            return table
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        d = self.__dict__
        parameters = d.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, parameters)
            self.register_parameter(name, value)
            return
        if parameters is None:
            if isinstance(value, Module):
                raise AttributeError("cannot assign module before Module.__init__() call")
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            _set(self, name, value)
        elif name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, d["_modules"])
            for hook in _global_module_hooks.values():
                change = hook(self, name, value)
                if change is not None:
                    value = change
            d["_modules"][name] = value
        elif name in d["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            d["_modules"][name] = None
        elif name in d["_buffers"] or isinstance(value, Buffer):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            if isinstance(value, Buffer):
                self._forget(name, d["_buffers"])
                self.register_buffer(name, value, value.persistent)
            else:
                for hook in _global_buffer_hooks.values():
                    change = hook(self, name, value)
                    if change is not None:
                        value = change
                d["_buffers"][name] = value
        else:
            _set(self, name, value)

    def _forget(self, name: str, keep: dict[str, Any]) -> None:
        """Drop a name from everywhere but the table `keep`, where its place stays."""
        d = self.__dict__
        d.pop(name, None)
        for table in (d["_parameters"], d["_buffers"], d["_modules"]):
            if table is not keep:
                table.pop(name, None)
        if keep is not d["_buffers"]:
            d["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        d = self.__dict__
        if name in d.get("_parameters", ()):
            del d["_parameters"][name]
        elif name in d.get("_buffers", ()):
            del d["_buffers"][name]
            d["_non_persistent_buffers_set"].discard(name)
        elif name in d.get("_modules", ()):
            del d["_modules"][name]
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        keys = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted(key for key in keys if not key[0].isdigit())

    # ---- registration ----

    def _check_new_name(self, kind: str, table: str, name: Any) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[table] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the state but is not trained, such as a running mean."""
        self._check_new_name("buffer", "_buffers", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        for hook in _global_buffer_hooks.values():
            change = hook(self, name, tensor)
            if change is not None:
                tensor = change
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the place in `state_dict` order without one."""
        self._check_new_name("parameter", "_parameters", name)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another "
                    "Tensor, compute the value in the forward() method."
                )
            for hook in _global_parameter_hooks.values():
                change = hook(self, name, param)
                if change is not None:
                    param = change
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under a name."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_new_name("module", "_modules", name)
        for hook in _global_module_hooks.values():
            change = hook(self, name, module)
            if change is not None:
                module = change
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Alias of `add_module`."""
        self.add_module(name, module)

    # ---- looking up by dotted name ----

    def get_submodule(self, target: str) -> Module:
        """The submodule at a dotted path; the empty path is the module itself."""
        module: Any = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{module._get_name()} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replace, or unless `strict` add, the submodule at a dotted path."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return module._buffers[name]  # type: ignore[return-value]

    # ---- walking the tree ----

    def _named_members(
        self, members: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for module_prefix, module in modules:
            for name, value in members(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{module_prefix}.{name}" if module_prefix else name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; with `recurse=False` only the module's own."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names."""
        yield from self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names."""
        yield from self._named_members(
            lambda m: m._buffers.items(), prefix, recurse, remove_duplicate
        )

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module itself and all modules below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself and all modules below it, with dotted names."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                sub_prefix = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, sub_prefix, remove_duplicate)

    # ---- changing every tensor ----

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call `fn` on every submodule, then on the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                new = fn(param)
            if new is not param:
                param.data = new
            grad = param.grad
            if grad is not None:
                with no_grad():
                    new_grad = fn(grad)
                if new_grad is not grad:
                    # Not `grad.data = ...`: the parameter's dtype may have changed under it.
                    param.grad = None
                    param.grad = new_grad.requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if isinstance(buffer, UninitializedBuffer):  # stays what it is
                buffer.data = fn(buffer)
            elif buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """to(device=None, dtype=None, non_blocking=False, *, memory_format=None), or to(tensor)

        Move and cast all parameters and buffers in place; `dtype` touches floating ones only.
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(t: Tensor) -> Tensor:
            options: dict[str, Any] = {}
            if device is not None:
                options["device"] = device
            if dtype is not None and (t.is_floating_point() or t.is_complex()):
                options["dtype"] = dtype
            if memory_format is not None and t.dim() in (4, 5):
                options["memory_format"] = memory_format
            return t.to(non_blocking=non_blocking, **options) if options else t

        return self._apply(convert)

    def cuda(self, device: Any = None) -> Self:
        """Move all parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Cast all floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Cast all floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Cast all floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Cast all floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move parameters and buffers to a device without copying their values."""
        return self._apply(lambda t: _C.empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Self:
        """Move all parameters and buffers to memory that other processes can map."""
        return self._apply(lambda t: t.share_memory_())

    # ---- modes ----

    def train(self, mode: bool = True) -> Self:
        """Switch training behaviour (dropout, batch norm) on or off."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """The same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze or unfreeze all parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        _C._zero_grad(list(self.parameters()), set_to_none)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have calls of this module replayed as those of `torch.compile(module)`, with its arguments;
        the module stays what it is, and so do the keys of its state_dict()."""
        from gradstep._capture import CapturedFunction, OptimizedModule, compile

        compiled = compile(self, *args, **kwargs)
        if isinstance(compiled, OptimizedModule):
            # The call looks at this flag anyway: see ModuleBase.
            _set(self, "_hooked", CapturedFunction(self._call_eagerly, **compiled._options))

    @property
    def _compiled_call_impl(self) -> Any:
        flag = self.__dict__.get("_hooked", False)
        return None if isinstance(flag, bool) else flag

    def _call_eagerly(self, *args: Any, **kwargs: Any) -> Any:
        return self._call_with_hooks(args, kwargs)

    # ---- text ----

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What `__repr__` shows besides the children; override it in layers."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [
            f"({name}): {_indent(repr(module), 2)}" for name, module in self._modules.items()
        ]
        text = self._get_name() + "("
        if len(extra_lines) == 1 and not child_lines:
            text += extra_lines[0]
        elif extra_lines or child_lines:
            text += "\n  " + "\n  ".join(extra_lines + child_lines) + "\n"
        return text + ")"

    # ---- copying ----

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._compiled_call_impl is not None:
            state["_hooked"] = True  # a copy is not compiled
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        tables = _CALL_TABLES | _OTHER_TABLES
        # PyTorch's modules carry empty tables; here the first reader of one makes it: Note [Hook tables].
        self.__dict__.update((k, v) for k, v in state.items() if v or k not in tables)
        self.__dict__.setdefault(
            "_non_persistent_buffers_set", set()
        )  # older than these are some files
        if any(state.get(name) for name in _CALL_TABLES):
            _set(self, "_hooked", True)

    def _pytorch_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """A pickled state with what PyTorch's module of this class has besides."""
        tables: dict[str, Any] = {name: OrderedDict() for name in _CALL_TABLES | _OTHER_TABLES}
        state = {"_is_full_backward_hook": None, **tables, **state}
        state.pop("_hooked", None)
        return state


_C._take_attribute_slot(Module)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """Sort out the call forms to(device, dtype), to(dtype), to(tensor)."""
    memory_format = kwargs.pop("memory_format", None)
    device = kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    non_blocking = kwargs.pop("non_blocking", False)
    kwargs.pop("copy", None)
    tensor = kwargs.pop("tensor", kwargs.pop("other", None))
    if kwargs:
        raise TypeError(f"to() received an invalid keyword argument '{next(iter(kwargs))}'")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        tensor = rest.pop(0)
    elif rest and isinstance(rest[0], _C.dtype):
        dtype = rest.pop(0)
    elif rest:
        device = rest.pop(0)
        if rest and not isinstance(rest[0], bool):
            dtype = rest.pop(0)
    if rest:
        non_blocking = rest.pop(0)
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    if device is not None:
        device = _C.device(device)
    if dtype is not None and not isinstance(dtype, _C.dtype):
        raise TypeError(f"to(): argument 'dtype' must be torch.dtype, not {typename(dtype)}")
    return device, dtype, non_blocking, memory_format


# ---- hooks on all modules ----


def _register_global(
    hooks: OrderedDict[int, Any], hook: Any, extras: list[OrderedDict[int, bool]] | None = None
) -> RemovableHandle:
    handle = RemovableHandle(hooks, extra_dict=extras)
    hooks[handle.id] = hook
    for table in extras or ():
        table[handle.id] = True
    Module._hooked = True
    return handle


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, args)` before every module's forward."""
    return _register_global(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after every module's forward."""
    extras = []
    if with_kwargs:
        extras.append(_global_forward_hooks_with_kwargs)
    if always_call:
        extras.append(_global_forward_hooks_always_called)
    return _register_global(_global_forward_hooks, hook, extras)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_output)` before every module's backward."""
    return _register_global(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` after every module's backward."""
    return _register_global(_global_backward_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, parameter)` whenever a parameter is registered."""
    return _register_global(_global_parameter_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, buffer)` whenever a buffer is registered."""
    return _register_global(_global_buffer_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, name, submodule)` whenever a submodule is registered."""
    return _register_global(_global_module_hooks, hook)
