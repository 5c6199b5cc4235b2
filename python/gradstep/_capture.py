# SPDX-License-Identifier: Apache-2.0
"""capture() and compile(): a function's launches are recorded once and replayed without Python.

    @gradstep.capture
    def train_step(x, y): ...

A captured call gives the bits of the eager call, or it raises `CaptureError`. To know that Python
would do the same again, a `_Walk` finds what the function can look at (modules, optimizers, cells,
globals) and a native guard compares it before each replay. See docs/capture.md.
"""

from __future__ import annotations

import contextvars
import functools
import gc
import io
import os
import random
import re
import sys
import types
import warnings
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from gradstep import _C
from gradstep._C import CaptureError, Tensor
from gradstep._capture_text import graph_of, report_of
from gradstep._serialization.names import is_ours
from gradstep.nn.modules import module as _modules
from gradstep.nn.modules.module import Module
from gradstep.optim import optimizer as _optimizers
from gradstep.optim.lr_scheduler import LRScheduler
from gradstep.optim.optimizer import FusedOptimizer, Optimizer

__all__ = ["CaptureError", "CapturedFunction", "OptimizedModule", "capture", "compile"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_C._capture_setup(_PACKAGE, _STANDARD)

# With these, code looks at names that its constants do not show.
_DYNAMIC = {"getattr", "setattr", "vars", "__dict__", "__getattribute__"}
# With these, code looks at all globals of its file.
_EVALUATING = {"eval", "exec", "globals"}
_NUMBERS = (int, float, bool, str, bytes, type(None))


@functools.cache
def _libraries() -> tuple[str, ...]:
    import sysconfig

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {sysconfig.get_path(name) for name in names}
    return tuple(os.path.abspath(path) + os.sep for path in paths if path)


@functools.cache
def _is_users(file: str | None) -> bool:
    """True for a source file that is neither gradstep's nor an installed library's."""
    if not file or file.startswith("<frozen"):
        return False
    return not os.path.abspath(file).startswith((_PACKAGE, *_libraries()))


def _user_frame() -> str:
    """The innermost line that is neither gradstep's nor of Python's own library: "file:line"."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        standard = file.startswith(_STANDARD) and "-packages" not in file
        if not (file.startswith(_PACKAGE) or standard):
            break
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"


def _is_constant(value: Any) -> bool:
    """Values that are compared by what they are."""
    if isinstance(value, tuple):
        return all(_is_constant(v) for v in value)
    return type(value) in _NUMBERS


def _words(constant: Any) -> list[str]:
    return re.findall(r"\w+", constant) if isinstance(constant, str) else []


def _is_rate(value: Any) -> bool:
    return isinstance(value, Tensor) or _is_constant(value)


# Hooks that run for all modules and optimizers.
_GLOBAL_HOOKS = [
    value
    for namespace in (_modules, _optimizers)
    for name, value in sorted(vars(namespace).items())
    if name.startswith("_global_") and isinstance(value, dict)
]
_LARGE = 1 << 16  # bytes of a numpy array that are compared before each replay


def _reader(path: str, value: Any) -> Callable[[], Any] | None:
    """How to see that something changed which is neither a tensor, dict nor list; None if it can't."""
    if isinstance(value, (set, frozenset)):
        return lambda: tuple(sorted(map(id, value)))
    if isinstance(value, deque):
        return lambda: tuple(value)
    if isinstance(value, (bytearray, array)):
        return lambda: bytes(value)
    if isinstance(value, np.ndarray):
        if value.nbytes > _LARGE:
            raise CaptureError(
                f"{_user_frame()}: {path} is a numpy array, whose values a replay would not look "
                "at; make it a tensor"
            )
        return lambda: value.tobytes()
    if isinstance(value, weakref.ref):
        return lambda: (value(),)
    if isinstance(value, contextvars.ContextVar):
        return lambda: (value.get(None),)
    if isinstance(value, random.Random):
        return lambda: value.getstate()
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        bits: Any = value  # both have it
        return lambda: repr(bits._bit_generator.state)
    if hasattr(type(value), "__next__") and not isinstance(value, io.IOBase):
        return lambda: object()  # what it gives next is not known: never the same
    slots = [
        slot
        for cls in type(value).__mro__
        if "__slots__" in vars(cls) and _is_user_class(cls)
        for slot in _slots_of(cls)
    ]
    return (lambda: tuple(getattr(value, slot, None) for slot in slots)) if slots else None


def _slots_of(cls: Any) -> tuple[str, ...]:
    slots = cls.__slots__
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_user_class(cls: type) -> bool:
    return cls.__module__ == "__main__" or _is_users(
        getattr(sys.modules.get(cls.__module__), "__file__", None)
    )


class _Walk:
    """Finds what a function can look at, and puts it into a guard."""

    def __init__(self, names: frozenset[str] = frozenset()) -> None:
        self.guard = _C._Guard()
        self.tensors: list[Tensor] = []
        self.containers: list[tuple[Any, Any]] = []  # with a copy, to undo what a run changed
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[int] = set()
        self._names = set(names)  # what the code looks up
        self._all = False  # .. by names that are made when it runs
        self._later: list[tuple[str, Any]] = []  # objects to look at when all names are known

    @staticmethod
    def of(fn: Callable[..., Any], arguments: list[Any]) -> _Walk:
        """A name that the last object's code looks up may be one of the first object's."""
        walk = _Walk()
        while True:
            known, everything = frozenset(walk._names), walk._all
            walk = _Walk(known)
            walk._all = everything
            walk.run(fn, arguments)
            if walk._names == known and walk._all == everything:
                return walk

    @staticmethod
    def of_hooks(tensors: list[Tensor]) -> _Walk:
        """What the hooks of leaves can look at."""
        found = [hook for t in tensors if t.is_leaf for hook in _C._hooks_of_leaf(t)]
        return _Walk.of(found[0], found[1:]) if found else _Walk()

    def run(self, fn: Callable[..., Any], arguments: list[Any]) -> None:
        for hooks in _GLOBAL_HOOKS:
            self._dict("a hook of all modules or optimizers", hooks)
        self._value("", fn)
        for k, argument in enumerate(arguments):
            self._value(f"argument {k}", argument)
        while self._later:
            # Modules first: a parameter is called by its name there, not by its optimizer's.
            modules = (k for k, (_, v) in enumerate(self._later) if isinstance(v, Module))
            path, value = self._later.pop(next(modules, 0))
            if isinstance(value, Module):
                self._module(path, value)
            elif isinstance(value, Optimizer):
                self._optimizer(path, value)
            else:
                self._object(path, value)

    def restore(self) -> None:
        """Gives all containers the contents that they had."""
        for namespace, variable, value in self.globals:
            namespace[variable] = value
        for container, copy in self.containers:
            if isinstance(container, dict):
                if dict.__len__(container) != len(copy) or any(
                    container.get(key, self) is not value for key, value in copy.items()
                ):
                    container.clear()
                    container.update(copy)
            elif isinstance(container, list):
                container[:] = copy
            elif isinstance(container, random.Random):
                container.setstate(copy)
            elif isinstance(container, (set, deque)):
                container.clear()
                container.extend(copy) if isinstance(container, deque) else container.update(copy)
            else:
                container.cell_contents = copy

    def keep(self, argument: Any) -> None:
        """Have restore() undo changes of the containers of an argument."""
        if isinstance(argument, Tensor):
            argument = argument.__dict__
        if isinstance(argument, dict):
            self.containers.append((argument, dict(argument)))
            argument = argument.values()
        elif isinstance(argument, list):
            self.containers.append((argument, list(argument)))
        elif not isinstance(argument, tuple):
            return
        for value in argument:
            self.keep(value)

    def knows(self, value: Any) -> bool:
        return id(value) in self._seen

    # ---- what there is ----

    def _value(self, path: str, value: Any) -> None:
        if type(value) in _NUMBERS or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, Tensor):
            self.tensors.append(value)
            self.guard.add_tensor(path, value)
            if value.__dict__:
                self._dict(path, value.__dict__)
        elif isinstance(value, (Module, Optimizer)):
            self._class(type(value))
            self._later.append((path, value))
        elif isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, types.MethodType):
            self._value(path, value.__func__)
            self._value(f"{path}.__self__" if path else "self", value.__self__)
        elif isinstance(value, (types.MethodWrapperType, types.BuiltinMethodType)):
            if not isinstance(value.__self__, (types.ModuleType, type(None))):
                self._value(path, value.__self__)  # of a module's native __call__
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._value(path, part)
        elif isinstance(value, dict):
            self._dict(path, value)
        elif isinstance(value, (list, tuple)):
            self._sequence(path, value)
        elif isinstance(value, types.ModuleType):
            if _is_users(getattr(value, "__file__", None)):
                self._later.append((path, value))
        elif isinstance(value, type):
            self._seen.discard(id(value))
            self._class(value)
        elif isinstance(value, types.MappingProxyType):
            for inside in gc.get_referents(value):
                self._value(path, inside)
        elif isinstance(value, LRScheduler):
            pass
        elif isinstance(value, CapturedFunction):
            self._value(path, value.__wrapped__)
        else:
            self._opaque(path, value)
            if hasattr(value, "__dict__"):
                self._class(type(value))
                self._later.append((path, value))

    def _opaque(self, path: str, value: Any) -> None:
        read = _reader(path, value)
        if read is None:
            return
        if isinstance(value, set):
            self.guard.add_set(path, value, read)
        else:
            self.guard.add_read(path, read)
        self._class(type(value))
        if isinstance(value, (set, deque)):
            self.containers.append((value, list(value)))
        elif isinstance(value, random.Random):
            self.containers.append((value, value.getstate()))
        parts = tuple(value) if isinstance(value, (set, frozenset)) else read()
        for k, part in enumerate(parts if isinstance(parts, tuple) else ()):
            self._value(f"{path}[{k}]", part)

    def _dict(self, path: str, d: dict[Any, Any], skip: Any = None) -> None:
        self.guard.add_dict(path, d, skip)
        self.containers.append((d, dict(d)))
        for key, value in d.items():
            if skip is None or key not in skip:
                self._value(f"{path}[{key!r}]" if not isinstance(key, Tensor) else path, value)

    def _sequence(self, path: str, values: Any) -> None:
        if isinstance(values, list):
            self.guard.add_list(path, values)
            self.containers.append((values, list(values)))
        for k, value in enumerate(values):
            self._value(f"{path}[{k}]", value)

    def _function(self, path: str, fn: types.FunctionType) -> None:
        if not _is_users(fn.__code__.co_filename):
            return
        name = fn.__qualname__
        self.guard.add_function(name, fn)
        if fn.__dict__:
            self._dict(name, fn.__dict__)
        for variable, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            try:
                contents = cell.cell_contents
            except ValueError:
                continue
            if id(cell) not in self._seen:
                self._seen.add(id(cell))
                self.guard.add_cell(f"{variable} (of {name})", cell)
                self.containers.append((cell, contents))
            self._value(variable, contents)
        for k, default in enumerate(fn.__defaults__ or ()):
            self._value(f"default {k} of {name}", default)
        if fn.__kwdefaults__:
            self._dict(name, fn.__kwdefaults__)
        names = self._code(fn.__code__)
        if not names.isdisjoint(_EVALUATING):
            numbers = {k for k, v in fn.__globals__.items() if _is_constant(v) and k[:2] != "__"}
            names |= numbers | names.union(*map(_words, fn.__code__.co_consts))
        for variable in sorted(names):
            if variable in fn.__globals__:
                self._global(variable, fn.__globals__)
        # Of Python's own modules these are what differs from run to run.
        if not names.isdisjoint(("environ", "getenv")):
            self._value("os.environ", vars(os.environ)["_data"])
        if "argv" in names:
            self._value("sys.argv", sys.argv)

    def _global(self, variable: str, namespace: dict[str, Any]) -> None:
        key = hash((id(namespace), variable))
        if key in self._seen:
            return
        self._seen.add(key)
        self.guard.add_entry(variable, namespace, sys.intern(variable))
        self.globals.append((namespace, variable, namespace[variable]))
        self._value(variable, namespace[variable])

    def _code(self, code: types.CodeType) -> set[str]:
        """The names that a code object and the ones inside it look up."""
        names = set(code.co_names)
        self._names |= names
        if _is_users(code.co_filename) and not names.isdisjoint(_DYNAMIC):
            self._all = True
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= self._code(constant)
            elif isinstance(constant, str):
                self._names.add(constant)
        return names

    def _class(self, cls: type) -> None:
        if id(cls) in self._seen:
            return
        self._seen.add(id(cls))
        for base in cls.__mro__:
            users = _is_user_class(base)
            for key, value in vars(base).items():
                if users and (not key.startswith("__") or callable(value)):
                    self.guard.add_class_entry(base.__qualname__, base, key)
                    if not isinstance(value, (types.FunctionType, property)):
                        self._value(f"{base.__qualname__}.{key}", value)
                fn = getattr(value, "__func__", value)
                fn = getattr(fn, "fget", fn)
                if not isinstance(fn, types.FunctionType):
                    continue
                if users:
                    self._value(base.__qualname__, fn)
                else:
                    self._code(fn.__code__)

    def _unused(self, d: dict[str, Any]) -> set[str]:
        """Numbers that no code names: what somebody else counts there makes no difference."""
        if self._all:
            return set()
        return {k for k, v in d.items() if _is_constant(v) and k not in self._names}

    def _module(self, path: str, module: Module) -> None:
        d = vars(module)
        self.guard.add_dict(path, d, self._unused(d))
        self.containers.append((d, dict(d)))
        for key, value in d.items():
            inner = path if key in ("_parameters", "_buffers", "_modules") else f"{path}.{key}"
            if isinstance(value, dict) and inner == path:
                self._table(path, value)
            else:
                self._value(inner, value)

    def _table(self, path: str, table: dict[str, Any]) -> None:
        if id(table) in self._seen:
            return
        self._seen.add(id(table))
        self.guard.add_dict(path, table)
        self.containers.append((table, dict(table)))
        for key, value in table.items():
            self._value(f"{path}.{key}" if path else key, value)

    def _optimizer(self, path: str, optimizer: Optimizer) -> None:
        d = vars(optimizer)
        self.guard.add_dict(path, d, ("_opt_called", "_step_count"))
        self.containers.append((d, dict(d)))
        for key, value in d.items():
            if key == "param_groups":
                self.guard.add_list(f"{path}.param_groups", value)
                self.containers.append((value, list(value)))
                for k, group in enumerate(value):
                    # The numbers of a group are read again before each replay.
                    fused = isinstance(optimizer, FusedOptimizer)
                    live = getattr(optimizer, "_live_numbers", None)
                    skip = {
                        name
                        for name, v in group.items()
                        if name != "params"
                        and fused
                        and (live is None or name in live)
                        and (_is_constant(v) or isinstance(v, (tuple, list)))
                    }
                    self._dict(f"{path}.param_groups[{k}]", group, skip)
            elif key not in ("_opt_called", "_step_count"):
                self._value(f"{path}.{key}", value)

    def _object(self, path: str, value: Any) -> None:
        d = vars(value)
        whole = self._all and not isinstance(value, types.ModuleType)
        skip = set() if whole else {k for k in d if k not in self._names}
        self.guard.add_dict(path, d, skip) if not isinstance(value, types.ModuleType) else None
        if isinstance(value, types.ModuleType):
            for key in sorted(set(d) - skip):
                self._global(key, d)
            return
        self.containers.append((d, dict(d)))
        for key, v in d.items():
            if key not in skip:
                self._value(f"{path}.{key}", v)


def _python_randomness() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    return random.getstate(), (state[0], tuple(state[1]), *state[2:])


def _restore_randomness(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])


def _check_result(result: Any, walk: _Walk, tensors: list[Tensor]) -> None:
    """A replay makes containers and tensors anew; other objects it can only give again."""
    made, constants = _C._flatten((result,), {})
    known = {id(t) for t in tensors}
    for value in (*constants, *(t for t in made if type(t) is not Tensor)):
        kind = type(value)
        if isinstance(value, (*_NUMBERS[:-1], np.generic, type)) or value is None:
            continue
        if is_ours(kind.__module__) and not isinstance(value, Tensor):
            continue  # dtypes, devices, generators
        if walk.knows(value) or id(value) in known:
            continue
        raise CaptureError(
            f"{_user_frame()}: the result has a {kind.__name__}, which a replay would not make anew; "
            "return tensors and numbers, in tuples, lists and dicts"
        )


def _same_objects(before: tuple[Any, Any], after: tuple[Any, Any]) -> bool:
    return all(
        len(was) == len(now) and all(a is b for a, b in zip(was, now, strict=True))
        for was, now in zip(before, after, strict=True)
    )


class CapturedFunction(_C._Captured):
    """What capture() returns: call it as the function. See `capture`."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        verify: int = 0,
        fallback: bool = False,
        programs: int = 8,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"capture() expects a function, got {type(fn).__name__}")
        functools.update_wrapper(self, fn)
        self.__wrapped__ = fn
        self._verify = verify
        self._fallback = fallback
        self._most = programs
        self._warm: set[tuple[Any, ...]] = set()  # the constants of eager calls
        self._eager: set[Any] = set()  # signatures that run eagerly since they were refused
        self.calls_recorded = 0

    # ---- calls that no program fits ----

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        fn = self.__wrapped__
        # A part of what is being recorded; or hooks from outside (a checkpoint's) want what its nodes
        # keep, and a replay makes no nodes.
        if _C._is_capturing() or _C._saved_tensors_hooks() is not None:
            return fn(*args, **kwargs)
        if not self._fallback:
            return self._record(args, kwargs, self._check_unchanged(args, kwargs))
        tensors, _ = _C._flatten(args, kwargs)
        signature = (
            _C.is_grad_enabled(),
            *((t.shape, t.dtype, t.device, type(t)) for t in tensors),
        )
        if signature in self._eager:
            return fn(*args, **kwargs)
        try:
            return self._record(args, kwargs, self._check_unchanged(args, kwargs))
        except CaptureError as error:
            if not self._eager:
                warnings.warn(f"{fn.__qualname__} runs eagerly: {error}", UserWarning, stacklevel=2)
            self._eager.add(signature)
            return fn(*args, **kwargs)

    def _check_unchanged(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Raise if a program of this signature does not fit since its world has changed; False if
        other numbers of its world ask for a program of their own."""
        refusal = None
        for entry in self._entries():
            if not entry.signature_fits(args, kwargs):
                continue
            index = entry.guard.check()
            if index < 0:
                return False
            kind, path, key, was, now = entry.guard.explain(index)
            if kind != "tensor" and _is_constant(was) and _is_constant(now) and kind != "list":
                return False  # another number, a module in another mode
            if ".param_groups[" in path and key != "params" and _is_rate(was) and _is_rate(now):
                return False  # a learning rate that is another tensor
            refusal = refusal or self._what_changed(kind, path, key, was, now)
        if refusal:
            raise CaptureError(
                f"{_user_frame()}: {refusal} since {self.__wrapped__.__qualname__} was recorded. "
                "Call its reset() to record it again"
            )
        return True

    @staticmethod
    def _what_changed(kind: str, path: str, key: Any, was: Any, now: Any) -> str:
        if kind == "tensor":
            if now.requires_grad != was:
                verb = "was frozen" if was else "requires a gradient"
                return f"{path or 'a tensor'} {verb}"
            return f"the memory, shape, hooks or attributes of {path or 'a tensor'} were changed"
        name = path
        if isinstance(key, str) and key != path:  # a global is its own path
            name = f"{path}.{key}" if path else key
        elif isinstance(key, int):
            name = f"{path}[{key}]"
        if kind in ("function", "read"):
            return f"{path} was changed"
        if kind == "list" and key is None:
            return f"{name} has {now} elements instead of {was}"
        if was is None:
            return f"{name} was added or set"
        if now is None:
            return f"{name} was removed"
        return f"{name} was replaced by another {type(now).__name__}"

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any], same_world: bool) -> Any:
        """Run, and keep what was launched. A first run may make what later ones find (the state of
        an optimizer), with other constants or in another world again: it is not kept."""
        fn = self.__wrapped__
        tensors, constants = _C._flatten(args, kwargs)
        key = tuple(c if type(c) in _NUMBERS else id(c) for c in constants)
        if _C.is_anomaly_enabled():
            raise CaptureError(f"{_user_frame()}: anomaly detection looks at values")
        for value in constants:
            if isinstance(value, (np.ndarray, np.generic)):
                raise CaptureError(
                    f"{_user_frame()}: an argument is a numpy array, whose values a replay would "
                    "not look at; pass a tensor"
                )
        walk = _Walk.of(fn, constants)
        if _C._has_torch_function((*tensors, *walk.tensors)):
            raise CaptureError(
                f"{_user_frame()}: a mode is on, or a tensor is of a class with a __torch_function__, "
                "which a replay would not call; pass tensor.as_subclass(torch.Tensor)"
            )
        walk.keep((args, kwargs))
        hooks = _Walk.of_hooks(walk.tensors)
        fitted = [entry for entry in self._entries() if entry.guard.check() < 0]
        before = _python_randomness()
        session = _C._CaptureSession(tensors, walk.tensors)
        if not self._warm:
            session.first_call()
        try:
            result = fn(*args, **kwargs)
            if session.refused:  # and the function caught it
                raise CaptureError(session.refused)
            if session.differentiates:  # and has called them
                walk.guard.take(hooks.guard)
                walk.guard.compare_hooks()
            changed = walk.guard.check()
            if changed >= 0 and key in self._warm and same_world:
                kind, path, key, was, now = walk.guard.explain(changed)
                raise CaptureError(
                    f"{_user_frame()}: {self._what_changed(kind, path, key, was, now)} inside "
                    f"{fn.__qualname__}, which a replay would not do; pass it as an argument, return "
                    "it, or do it outside"
                )
            if _python_randomness() != before:
                raise CaptureError(
                    f"{_user_frame()}: random numbers of Python or numpy are drawn inside "
                    f"{fn.__qualname__}; a replay would not draw new ones. Use gradstep's"
                )
            if changed >= 0 or not self._warm:
                self._warm.add(key)
                session.drop()
                if changed >= 0:  # what this run replaced (an optimizer's state) is gone for good
                    for entry in fitted:
                        if entry.guard.check() >= 0:
                            self._drop(entry)
                return result
            if not _same_objects((tensors, constants), _C._flatten(args, kwargs)):
                raise CaptureError(
                    f"{_user_frame()}: an argument's containers or attributes were changed inside "
                    f"{fn.__qualname__}, which a replay would not do; return what is new"
                )
            _check_result(result, walk, tensors)
            if session.holds(result):
                gc.collect()
            entry = session.finish(args, kwargs, result, walk.guard)
        except BaseException:
            session.roll_back()
            walk.restore()
            hooks.restore()
            _restore_randomness(before)
            raise
        # Traced replays launch one by one. Two more run as replays do: by several threads, and on a
        # GPU the one makes the graphs and the other launches them.
        entry.verify = self._verify + 2 if self._verify else 0
        entry.time_next()
        self._add(entry)
        self._keep(self._most)
        self.calls_recorded += 1
        if self.calls_recorded == 4 * self._most:
            warnings.warn(
                f"{fn.__qualname__} was recorded {self.calls_recorded} times: each call seems to have "
                "a signature of its own. Numbers among the arguments are part of it; a number that "
                "changes at each call can be passed as a tensor",
                UserWarning,
                stacklevel=3,
            )
        return result

    def _verified(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A replay whose every written bit is compared with an eager run from the same state."""
        fn = self.__wrapped__
        tensors, constants = _C._flatten(args, kwargs)
        walk = _Walk.of(fn, constants)
        session = _C._CaptureSession(tensors, walk.tensors)
        try:
            session.look()
            eager_steps, written = session.trace(fn(*args, **kwargs))
        finally:
            session.roll_back()
            walk.restore()
        if entry.verify < 2:  # the last two, as a whole
            result, steps = entry.replay(args, kwargs), []
        else:
            result, steps = entry.replay_traced(args, kwargs)
        difference = written.difference(result)
        if not difference:
            return result
        where = "no single op"
        for number, op, value in steps:
            if number < 0:  # a copy between an argument and the program's memory
                continue
            name, line, eager = eager_steps[number] if number < len(eager_steps) else ("", "", 0)
            if op != name or (value and eager and value != eager):
                where = f"first differs: {name or op} at {line}"
                break
        raise CaptureError(
            f"{_user_frame()}: a replay of {fn.__qualname__} is not its eager run: {difference} "
            f"differs; {where}"
        )

    # ---- what users ask ----

    def report(self) -> str:
        """What the programs launch: the last one used first, as text.

        Launches before and after fusion, the arena in bytes beside what eager held at most, and each
        launch with its time, the least of the program's first five replays (on a GPU: the time to
        launch it in the first one), in microseconds, and the line that it comes from.
        """
        text = [f"{self.__wrapped__.__qualname__}: {len(self._entries())} programs"]
        for number, entry in enumerate(self._entries()):
            names = ("n_recorded", "steps", "replays", "seconds", "graphs")
            known = {k: getattr(entry, k) for k in (*names, "arena_bytes", "eager_bytes")}
            text += report_of(f"program {number}", known)
            for k, backward in enumerate(entry.backwards):
                text += report_of(f"program {number}, backward pass {k}", backward)
        return "\n".join(text)

    def graph(self, program: int = 0, backward: int | None = None) -> str:
        """A program in the language of Graphviz: `graphviz.Source(step.graph())` draws it.

        Boxes are launches, in their order; what was there before and what is left are ellipses.
        backward: which of the backward passes that were recorded for the program's results; None
        is the program itself.
        """
        entry = self._entries()[program]
        steps = entry.steps if backward is None else entry.backwards[backward]["steps"]
        return graph_of(steps)

    def reset(self) -> None:
        """Forget all programs: the next call runs eagerly, the one after it records."""
        self._keep(0)
        self._eager.clear()
        self._warm.clear()


def capture(
    fn: Callable[..., Any] | None = None,
    *,
    verify: int = 0,
    fallback: bool = False,
    programs: int = 8,
) -> Any:
    """capture(fn, *, verify=0, fallback=False, programs=8) -> CapturedFunction

    Record what a function of tensors launches, and replay that instead of running its Python code.
    The first call runs eagerly, the second one records, later ones replay. Works as a decorator.

    verify: so many replays of each program are compared with an eager run, bit for bit;
    fallback: run eagerly, with one warning, what can't be captured, instead of raising;
    programs: how many programs (one for each signature of the arguments) are kept.

    Raises CaptureError, with the file and line, where a replay would not do what the function does.
    """
    if fn is None:
        return functools.partial(capture, verify=verify, fallback=fallback, programs=programs)
    return CapturedFunction(fn, verify=verify, fallback=fallback, programs=programs)


class OptimizedModule(Module):
    """What compile() makes of a module: its forward pass captured, everything else as it was.

    The module is its child `_orig_mod`, whose name is part of the keys of the state_dict. All other
    attributes are read from and written to that module.
    """

    def __init__(self, module: Module, **options: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_options", options)
        # What a call of a module calls, so that no Python runs before a replay.
        object.__setattr__(self, "forward", CapturedFunction(module.__call__, **options))
        super().__setattr__("_orig_mod", module)

    @property
    def _call(self) -> CapturedFunction:
        captured: CapturedFunction = self.__dict__["forward"]
        return captured

    @property
    def training(self) -> bool:
        return bool(self._orig_mod.training)

    @training.setter
    def training(self, mode: bool) -> None:
        if "_orig_mod" in self.__dict__.get("_modules", ()):  # not in Module.__init__
            self._orig_mod.training = mode

    def _missing_attribute(self, name: str) -> Any:
        if name == "_orig_mod":
            return super()._missing_attribute(name)
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_orig_mod" not in self.__dict__.get("_modules", ()) or name in (
            "_orig_mod",
            "training",
        ):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __reduce__(self) -> Any:
        return functools.partial(OptimizedModule, **self._options), (self._orig_mod,)


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """compile(model=None, *, fullgraph=False, dynamic=None, backend="inductor", mode=None, ..)

    `capture` under PyTorch's name. `options` may have capture's `verify`, `fallback` and `programs`;
    the other arguments are accepted and change nothing, but `disable=True`, which returns the model
    as it is. A module is wrapped; a function that is a whole training step is captured whole.
    """
    known = {k: v for k, v in (options or {}).items() if k in ("verify", "fallback", "programs")}
    if model is None:
        return functools.partial(
            compile,
            fullgraph=fullgraph,
            dynamic=dynamic,
            backend=backend,
            mode=mode,
            options=options,
            disable=disable,
        )
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model, **{"fallback": not fullgraph, **known})
    return CapturedFunction(model, **known)
