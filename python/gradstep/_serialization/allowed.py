# SPDX-License-Identifier: Apache-2.0
"""What a file may name, call and fill when it is loaded with `weights_only=True`: PyTorch's list, checked, and what the
user has added by `add_safe_globals`."""

from __future__ import annotations

import contextlib
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from gradstep import _C
from gradstep._tensor import _Storage

from .names import from_torch, is_torch, to_torch
from .storages import MISSING_DTYPES, MISSING_STORAGES, STORAGES, UNTYPED, extent
from .unpickler import check_key

# ---- safe globals of the user ----

_safe: dict[Any, Any] = {}  # (module, name) -> object; insertion order is the order of adding


def _key(item: Any) -> tuple[str, Any]:
    """(full name as files have it, object)."""
    if isinstance(item, tuple):
        obj, name = item
        return name, obj
    if not hasattr(item, "__qualname__") or not hasattr(item, "__module__"):
        raise TypeError(
            f"safe globals are functions, classes or pairs of them and a name, got {item!r}"
        )
    return ".".join(to_torch(item.__module__, item.__qualname__)), item


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets `load(weights_only=True)` build these classes and call these functions, for the rest of the program.

    An item is the class or function, or a pair of it and the name that stands in the file.
    """
    if not isinstance(safe_globals, (list, tuple, set)):
        raise TypeError(f"add_safe_globals takes a list, got {type(safe_globals).__name__}")
    _safe.update([_key(item) for item in safe_globals])


def get_safe_globals() -> list[Any]:
    """What `add_safe_globals` has added."""
    return list(_safe.values())


def clear_safe_globals() -> None:
    """Forgets what `add_safe_globals` has added."""
    _safe.clear()


class safe_globals(contextlib.ContextDecorator):
    """`with safe_globals([Point]): load(..)` allows them inside the block only."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.items = list(safe_globals)

    def __enter__(self) -> None:
        self.before = dict(_safe)
        add_safe_globals(self.items)

    def __exit__(self, *exc: Any) -> None:
        _safe.clear()
        _safe.update(self.before)


# ---- building tensors ----


class BadFile(RuntimeError):
    """The file is damaged or lies about itself."""


class Unsupported(NotImplementedError):
    """The file holds something that gradstep does not have."""


class Loaded(_Storage):
    """A storage that was read: its elements as a 1-d tensor."""

    @property
    def flat(self) -> Any:
        return self._tensor


def _ints(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list, _C.Size)):
        raise BadFile("a tensor's shape is not a tuple")
    for n in values:
        if type(n) is not int or n < 0:
            raise BadFile(f"a tensor has shape or stride {tuple(values)!r}")
    return tuple(values)


def rebuild_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Any:
    """A view of a storage, after checking that it lies inside."""
    if not isinstance(storage, Loaded):
        raise BadFile("a tensor without storage")
    size, stride = _ints(size), _ints(stride)
    (offset,) = _ints((offset,))
    if len(size) != len(stride) or extent(offset, size, stride) > storage.flat.numel():
        raise BadFile(
            f"a tensor of shape {size}, stride {stride} and offset {offset} does not fit its "
            f"storage of {storage.flat.numel()} elements"
        )
    tensor = storage.flat.as_strided(size, stride, offset if 0 not in size else 0)
    return tensor.requires_grad_() if requires_grad is True else tensor


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    backward_hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Any:
    """A tensor whose dtype stands beside an untyped storage."""
    if not isinstance(storage, Loaded) or not isinstance(dtype, _C.dtype):
        raise BadFile("a tensor without storage or dtype")
    if storage.flat.dtype is not dtype:
        if storage.flat.dtype is not _C.uint8 or storage.flat.numel() % dtype.itemsize:
            raise BadFile(f"a storage of {storage.flat.dtype} for a tensor of {dtype}")
        storage = Loaded(storage.flat.view(dtype))
    return rebuild_tensor(storage, offset, size, stride, requires_grad)


def _rebuild_parameter(data: Any, requires_grad: Any, backward_hooks: Any) -> Any:
    from gradstep.nn import Parameter

    if not isinstance(data, _C.Tensor):
        raise BadFile("a parameter without tensor")
    return Parameter(data, requires_grad=bool(requires_grad))


def _set_attributes(tensor: Any, state: Any) -> Any:
    """Attributes that a tensor had in Python."""
    if isinstance(state, tuple) and len(state) == 2:
        state = {**(state[0] or {}), **(state[1] or {})}
    if not isinstance(state, dict) or not all(type(name) is str for name in state):
        raise BadFile("a tensor whose attributes are no dict")
    tensor.__dict__.update(state)
    return tensor


def _rebuild_parameter_with_state(
    data: Any, requires_grad: Any, backward_hooks: Any, state: Any
) -> Any:
    return _set_attributes(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type(func: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor of a subclass, or with attributes."""
    if not isinstance(func, Call) or not isinstance(args, tuple):
        raise BadFile("a tensor without a function that makes it")
    tensor = func(*args)
    if not isinstance(tensor, _C.Tensor):
        raise BadFile("a tensor that is none")
    if isinstance(kind, type) and issubclass(kind, _C.Tensor) and type(tensor) is not kind:
        tensor = _C.Tensor._make_subclass(kind, tensor.detach(), tensor.requires_grad)
    if isinstance(state, dict) and state.get("_is_buffer") is True:
        from gradstep.nn.parameter import Buffer

        grad = tensor.requires_grad
        tensor = Buffer(tensor.detach(), persistent=bool(state.get("persistent", True)))
        tensor.requires_grad_(grad)
        state = {k: v for k, v in state.items() if k not in ("_is_buffer", "persistent")}
    return _set_attributes(tensor, state)


def _layout(name: Any) -> Any:
    if name != "torch.strided":
        raise Unsupported(f"the layout {name}, which gradstep does not have")
    return _C.strided


# ---- the list ----


class Call:
    """A function that a file may call, but not change."""

    __slots__ = ("_fn",)
    _fn: Callable[..., Any]

    def __init__(self, fn: Callable[..., Any]) -> None:
        object.__setattr__(self, "_fn", fn)

    def __call__(self, *args: Any) -> Any:
        return self._fn(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("read-only")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How old pickle protocols write bytes."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise BadFile("bytes in an unknown encoding")
    return text.encode("latin1")


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is not None:
        return bytearray(_encode(data, encoding))
    if not isinstance(data, (bytes, bytearray)):
        raise BadFile("a bytearray that is not made of bytes")
    return bytearray(data)


def _keyed(kind: Any) -> Call:
    """A container that hashes what it is made of."""

    def make(items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise BadFile(f"a {kind.__name__} of a {type(items).__name__}")
        for item in items:
            pair = kind is OrderedDict and isinstance(item, (list, tuple)) and len(item) == 2
            check_key(item[0] if pair else item)
        return kind(items)

    return Call(make)


class Kind:
    """A class that may be named and not called."""

    __slots__ = ()


def _allowed() -> dict[str, Any]:
    allowed: dict[str, Any] = {
        "collections.OrderedDict": _keyed(OrderedDict),
        "collections.Counter": _keyed(Counter),
        "torch._utils._rebuild_tensor": Call(rebuild_tensor),
        "torch._utils._rebuild_tensor_v2": Call(rebuild_tensor),
        "torch._utils._rebuild_tensor_v3": Call(_rebuild_tensor_v3),
        "torch._utils._rebuild_parameter": Call(_rebuild_parameter),
        "torch._utils._rebuild_parameter_with_state": Call(_rebuild_parameter_with_state),
        "torch._tensor._rebuild_from_type_v2": Call(_rebuild_from_type),
        "torch.serialization._get_layout": Call(_layout),
        "torch.Size": Call(lambda size=(): _C.Size(_ints(size))),
        "torch.device": Call(_C.device),
        "torch.Tensor": Kind(),
        "torch.nn.parameter.Parameter": Kind(),
        "_codecs.encode": Call(_encode),
    }
    for module in ("builtins", "__builtin__"):
        allowed[f"{module}.set"] = _keyed(set)
        allowed[f"{module}.frozenset"] = _keyed(frozenset)
        allowed[f"{module}.complex"] = Call(complex)
        allowed[f"{module}.bytearray"] = Call(_bytearray)
    for storage, dtype in STORAGES.items():
        allowed[f"torch.{storage}"] = allowed[f"torch.cuda.{storage}"] = storage
        allowed[f"torch.{dtype}"] = getattr(_C, dtype)
    allowed["torch.storage.UntypedStorage"] = allowed["torch.UntypedStorage"] = UNTYPED
    return allowed


ALLOWED = _allowed()


def check_supported(full: str) -> None:
    """Raises for what PyTorch has and gradstep has not."""
    module, _, name = full.rpartition(".")
    if module in ("torch", "torch.cuda") and name in MISSING_STORAGES:
        raise Unsupported(
            f"tensors of dtype {MISSING_STORAGES[name]}, which gradstep does not have"
        )
    if module == "torch" and name in MISSING_DTYPES:
        raise Unsupported(f"the dtype {name}, which gradstep does not have")
    if module == "torch._utils" and name.startswith("_rebuild_") and full not in ALLOWED:
        what = {
            "_rebuild_sparse_tensor": "a sparse tensor",
            "_rebuild_qtensor": "a quantized tensor",
            "_rebuild_nested_tensor": "a nested tensor",
            "_rebuild_meta_tensor_no_storage": "a tensor on the device meta",
        }.get(name, f"a tensor made by {full}")
        raise Unsupported(f"{what}, which gradstep does not have")


def find(module: str, name: str) -> Any:
    """What the file's `module.name` stands for; UnpicklingError if it is not allowed."""
    full = f"{module}.{name}"
    if full in _safe:
        return _safe[full]
    if full in ALLOWED:
        return ALLOWED[full]
    check_supported(full)
    if (
        is_torch(module) and _safe
    ):  # the user's class may have been added under another of its names
        with contextlib.suppress(pickle.UnpicklingError):
            ours = from_torch(module, name)
            if any(ours is obj for obj in _safe.values()):
                return ours
    short = full.removeprefix("__main__.")
    raise pickle.UnpicklingError(
        f"Weights only load failed. Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
        f"`torch.serialization.add_safe_globals([{short}])` or the `torch.serialization.safe_globals([{short}])` context "
        "manager to allowlist this global if you trust this class/function. Re-running `torch.load` with "
        "`weights_only=False` loads the file too, but can run any code that it contains: do that only if you trust its "
        "source."
    )


def _is_users(obj: Any) -> bool:
    return any(obj is safe for safe in _safe.values())


def call(fn: Any, args: tuple[Any, ...]) -> Any:
    """What REDUCE may do."""
    if isinstance(fn, Call) or _is_users(fn):
        return fn(*args)
    raise pickle.UnpicklingError(f"Weights only load failed. {fn!r} may not be called")


def new(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What NEWOBJ may do."""
    if isinstance(cls, type) and _is_users(cls):
        return cls.__new__(cls, *args, **kwargs)
    if isinstance(cls, Call) and not kwargs:
        return cls(*args)
    raise pickle.UnpicklingError(f"Weights only load failed. {cls!r} may not be created")


def build(obj: Any, state: Any) -> None:
    """What BUILD may do."""
    kind = type(obj)
    if isinstance(obj, _C.Tensor):
        _set_attributes(obj, state)
    elif kind is OrderedDict and isinstance(state, dict):
        obj.__dict__.update(state)
    elif _is_users(kind):
        if hasattr(obj, "__setstate__"):
            obj.__setstate__(state)
            return
        slots = None
        if isinstance(state, tuple) and len(state) == 2:
            state, slots = state
        if state:
            obj.__dict__.update(state)
        for name, value in (slots or {}).items():
            setattr(obj, name, value)
    else:
        raise pickle.UnpicklingError(f"Weights only load failed. A {kind.__name__} takes no state")


def unsafe_globals(data: bytes) -> Iterator[str]:
    """The names in a pickle that `find` would refuse."""
    import pickletools

    strings: list[Any] = []
    for code, argument, _ in pickletools.genops(data):
        if code.name == "GLOBAL":
            full = str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL" and len(strings) >= 2:
            full = ".".join(strings[-2:])
        else:
            if isinstance(argument, str):
                strings.append(argument)
            continue
        if full not in ALLOWED and full not in _safe:
            yield full
