# SPDX-License-Identifier: Apache-2.0
"""Names of PyTorch that gradstep does not have: each answers with a placeholder, and using that says what is missing.

    from torch.fx import Interpreter      # works, so that a file imports that needs it in one branch only
    class Mine(Interpreter): ...          # NotImplementedError: torch.fx.Interpreter is not implemented in gradstep

The list of names is in _names.py and _tensor_names.py, which tools/make_names.py writes. A name that PyTorch does not have either stays an AttributeError.

Note [Feature tests]
Only an attribute expression (`torch.fx`) and `from torch import fx` get a placeholder. hasattr() and getattr() see what
is there, so that `if hasattr(torch, "x")` and `getattr(torch, "x", None)` choose the branch that can run. The two are
told apart by the instruction that the asking frame is at.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import Any, NoReturn

_ATTRIBUTE = frozenset(("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"))
_ROOT = __name__.partition(".")[0]
_shown = _ROOT  # what messages call the package; `gradstep run` makes it torch
_loaded: Callable[[ModuleType], None] | None = None  # told of each public module that is imported


def _by_attribute(frame: FrameType | None) -> bool:
    """True if the frame is at `a.b` or `from a import b`. See Note [Feature tests]."""
    if frame is None or frame.f_lasti < 0:
        return False
    import opcode

    return opcode.opname[frame.f_code.co_code[frame.f_lasti]] in _ATTRIBUTE


# ---- placeholders ----


class Missing:
    """Stands for a function, class or value of PyTorch's; it can be named, compared and annotated with, no more."""

    __stub__ = True

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name.rpartition(".")[2]
        self.__module__ = name.rpartition(".")[0]
        self._name = name

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{self._name} is not implemented in gradstep")

    __call__ = __mro_entries__ = __instancecheck__ = __subclasscheck__ = _refuse
    __iter__ = __len__ = __enter__ = __exit__ = __index__ = __int__ = __float__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name[:2] != "__" and _by_attribute(sys._getframe(1)):
            return Missing(f"{self._name}.{name}")
        raise AttributeError(f"{self._name} is not implemented in gradstep; it has no {name!r}")

    # Annotations: X[int], X | None.

    def __getitem__(self, parameters: Any) -> Missing:
        return self

    def __or__(self, other: Any) -> Any:
        from typing import Union

        return Union[self, other]  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        from typing import Union

        return Union[other, self]  # noqa: UP007

    def __eq__(self, other: object) -> bool:
        return type(other) is Missing and other._name == self._name  # isinstance() is refused

    def __hash__(self) -> int:
        return hash(self._name)

    def __reduce__(self) -> Any:
        return Missing, (self._name,)

    def __repr__(self) -> str:
        return f"<{self._name}, not implemented in gradstep>"


class MissingModule(ModuleType):
    """Stands for a module of PyTorch's."""

    __stub__ = True


# ---- looking up ----


def known(module: str, name: str) -> bool:
    """Whether PyTorch has the public name `name` in its module `module` ("" is torch itself)."""
    from ._names import NAMES

    names = NAMES.get(module)
    return names is not None and (
        name in names.split() or (f"{module}.{name}" if module else name) in NAMES
    )


def lookup(module: ModuleType, name: str, frame: FrameType | None) -> Any:
    """What module.name is to the asking frame, given that the module has no such attribute.

    A placeholder for a name of PyTorch's, else AttributeError.
    """
    ours = module.__name__
    inside = ours[len(_ROOT) + 1 :]
    message = f"module {_shown + ours[len(_ROOT) :]!r} has no attribute {name!r}"
    if name[:1] != "_" and known(inside, name):
        from ._names import NAMES

        named = _by_attribute(frame)
        if (f"{inside}.{name}" if inside else name) in NAMES:
            full = f"{ours}.{name}"
            if named or _Ours.find_spec(full, module.__dict__.get("__path__")) is not None:
                return importlib.import_module(
                    full
                )  # a module of ours is imported when it is asked for
        elif named:
            return Missing(".".join(filter(None, ("torch", inside, name))))
        message += " (PyTorch has it)"
    raise AttributeError(message)


def _adopt(module: ModuleType) -> None:
    """Lets the module answer for names that are missing in it."""
    own: Callable[[str], Any] | None = module.__dict__.get("__getattr__")

    def __getattr__(name: str) -> Any:
        if own is not None:
            try:
                return own(name)
            except AttributeError:
                pass
        return lookup(module, name, sys._getframe(1))

    module.__dict__["__getattr__"] = __getattr__


# ---- imports ----


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of ours, which then answers for what it lacks."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _adopt(module)
        if _loaded is not None:
            _loaded(module)


class _Ours:
    """First in sys.meta_path: gradstep's public modules."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_ROOT + ".") or "._" in fullname:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Theirs:
    """Last in sys.meta_path: modules that only PyTorch has."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_ROOT + ".") or "._" in fullname:
            return None
        from ._names import NAMES

        if fullname[len(_ROOT) + 1 :] not in NAMES:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Theirs, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return MissingModule(spec.name, "Not implemented in gradstep.")

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        _adopt(module)


def install() -> None:
    """Called by gradstep/__init__.py, before it imports anything else."""
    sys.meta_path.insert(0, _Ours)  # type: ignore[arg-type]
    sys.meta_path.append(_Theirs)  # type: ignore[arg-type]


# ---- methods of tensors ----


class _MissingMethod:
    """Tensor.to_sparse and its like: there for an attribute expression, not for hasattr()."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.answer(sys._getframe(1))

    def answer(self, frame: FrameType | None) -> Any:
        """What the asking frame gets."""
        if _by_attribute(frame):
            return Missing(f"torch.Tensor.{self.name}")
        raise AttributeError(f"'Tensor' object has no attribute {self.name!r} (PyTorch has it)")


def missing_method(cls: type, name: str) -> _MissingMethod | None:
    """The placeholder for an attribute of a tensor class, if it is one."""
    found = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    return found if isinstance(found, _MissingMethod) else None


def add_missing_methods(tensor: Any) -> None:
    """Gives the class placeholders for PyTorch's methods and properties that it lacks."""
    from ._tensor_names import TENSOR

    there = set(dir(tensor))
    for name in TENSOR.split():
        if name not in there:
            setattr(tensor, name, _MissingMethod(name))
