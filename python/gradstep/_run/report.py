# SPDX-License-Identifier: Apache-2.0
"""Which names of PyTorch a program used and which were missing, with the lines (`gradstep run --report`).

The program gets a stand-in for each module, which notes who asks it for what and passes on everything else; attributes
of tensors are noted too. Each process keeps its own notes; workers write theirs to a file when they end.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from types import CodeType, FrameType, ModuleType
from typing import Any, TextIO

from gradstep import _C, _missing

from .hook import torch_name

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_PLACES = 4  # lines that are printed for one name
Place = tuple[str, int]


def _is_users(code: CodeType) -> bool:
    """Whether a line of this code is worth telling: neither gradstep's nor Python's own."""
    file = code.co_filename
    if file.startswith((_OURS, "<frozen")):
        return False
    return not file.startswith(_LIBRARY) or "site-packages" in file


class Report:
    """The notes of this process; `folder` is where workers leave theirs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._watched: dict[str, ModuleType] = {}
        self._seen: set[tuple[str, bool, CodeType, int]] = set()
        self._users: dict[CodeType, bool] = {}
        self._watch_tensors()
        self._follow_workers()

    # ---- noting ----

    def note(self, name: str, frame: FrameType | None, missing: bool = False) -> None:
        """Somebody at `frame` asked for `name`."""
        while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if frame is None:
            return
        code = frame.f_code
        users = self._users.get(code)
        if users is None:
            users = self._users[code] = _is_users(code)
        if users:
            self._seen.add((name, missing, code, frame.f_lasti))

    def missing(self, name: str) -> None:
        """The import of a module failed."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not _is_users(frame.f_code):
            frame = frame.f_back
        self.note(name, frame, missing=True)

    def watched(self, module: ModuleType) -> ModuleType:
        """The stand-in for one of gradstep's modules."""
        found = self._watched.get(module.__name__)
        if found is None:
            found = self._watched[module.__name__] = _Watched(module, self)
        return found

    def _watch_tensors(self) -> None:
        plain: Any = _C.Tensor.__getattribute__
        report = self

        def get(tensor: Any, name: str) -> Any:
            try:
                value = plain(tensor, name)
            except AttributeError:
                frame = sys._getframe(1)
                report.note(f"torch.Tensor.{name}", frame, missing=True)
                method = _missing.missing_method(type(tensor), name)
                if method is None:
                    raise
                return method.answer(frame)
            if not name.startswith("__"):
                stub = type(value) is _missing.Missing
                report.note(f"torch.Tensor.{name}", sys._getframe(1), missing=stub)
            return value

        _C.Tensor.__getattribute__ = get  # type: ignore[method-assign,assignment]

    # ---- workers ----

    def _follow_workers(self) -> None:
        from multiprocessing import process, util

        def at_the_end() -> None:
            util.Finalize(None, self._leave, exitpriority=100)

        util.register_after_fork(self, Report._forget)
        if process.parent_process() is not None:
            at_the_end()
        self._at_the_end = at_the_end

    def _forget(self) -> None:
        """In a forked child: the notes so far are the parent's."""
        self._seen.clear()
        self._at_the_end()

    def _leave(self) -> None:
        try:
            with open(os.path.join(self.folder, f"{os.getpid()}.json"), "w") as f:
                json.dump(self._lines(), f)
        except OSError:
            pass  # the parent has gone, and nobody will read it

    def _lines(self) -> list[tuple[str, bool, str, int]]:
        """(name, missing, file, line) of each note."""
        lines = set()
        for name, missing, code, at in self._seen:
            line = next((n for a, b, n in code.co_lines() if a <= at < b and n), 0)
            lines.add((name, missing, code.co_filename, line))
        return sorted(lines)

    def _all_lines(self) -> set[tuple[str, bool, str, int]]:
        lines = set(self._lines())
        for file in sorted(os.listdir(self.folder)):
            try:
                with open(os.path.join(self.folder, file)) as f:
                    lines.update((n, m, p, at) for n, m, p, at in json.load(f))
            except ValueError:
                pass  # a worker that was killed while it wrote
        return lines

    # ---- the list ----

    def print(self, out: TextIO) -> None:
        """The names, missing ones first, each with its first lines."""
        places: dict[tuple[bool, str], list[Place]] = defaultdict(list)
        for name, missing, file, line in sorted(self._all_lines()):
            places[missing, name].append((_shorter(file), line))
        for missing in (True, False):
            names = sorted(name for m, name in places if m is missing)
            what = "missing in gradstep" if missing else "used"
            print(f"gradstep run: names of PyTorch {what}: {len(names)}", file=out)
            for name in names:
                told = places[missing, name]
                more = f" and {len(told) - _PLACES} more" if len(told) > _PLACES else ""
                lines = ", ".join(f"{file}:{line}" for file, line in told[:_PLACES])
                print(f"  {name:40} {lines}{more}", file=out)
        out.flush()


def _shorter(file: str) -> str:
    """The path from the current folder, if the file lies below it."""
    here = os.getcwd() + os.sep
    return file[len(here) :] if file.startswith(here) else file


class _Watched(ModuleType):
    """Stands for a module of gradstep, under PyTorch's name."""

    def __init__(self, module: ModuleType, report: Report) -> None:
        super().__init__(torch_name(module.__name__), module.__doc__)
        for name in ("__path__", "__file__", "__all__", "__version__", "__loader__"):
            if hasattr(module, name):
                object.__setattr__(self, name, getattr(module, name))
        object.__setattr__(self, "_gradstep_module", module)
        object.__setattr__(self, "_gradstep_report", report)

    def __getattribute__(self, name: str) -> Any:
        module = object.__getattribute__(self, "_gradstep_module")
        if name == "__dict__":
            return module.__dict__
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)
        report = object.__getattribute__(self, "_gradstep_report")
        full = f"{torch_name(module.__name__)}.{name}"
        try:
            value = getattr(module, name)
        except AttributeError:
            report.note(full, sys._getframe(1), missing=True)
            try:  # as the module itself does, for the frame that asks
                value = _missing.lookup(module, name, sys._getframe(1))
            except AttributeError:
                raise AttributeError(
                    f"module {torch_name(module.__name__)!r} has no attribute {name!r}"
                ) from None
        if isinstance(value, ModuleType):
            if value.__dict__.get("__stub__"):
                report.note(full, sys._getframe(1), missing=True)
            ours = value.__name__.startswith("gradstep.")
            return report.watched(value) if ours else value
        stub = type(value) is not _C.Tensor and getattr(value, "__stub__", False) is True
        report.note(full, sys._getframe(1), missing=stub)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") and name.endswith("__"):
            object.__setattr__(self, name, value)
        elif not isinstance(value, _Watched):  # the import system ties submodules to their parents
            setattr(object.__getattribute__(self, "_gradstep_module"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_gradstep_module"), name)

    def __dir__(self) -> list[str]:
        return dir(object.__getattribute__(self, "_gradstep_module"))
