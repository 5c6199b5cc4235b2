# SPDX-License-Identifier: Apache-2.0
"""Runs a script or a module as `python script.py` and `python -m module` would: arguments, `__main__`, sys.path,
tracebacks and exit codes are those of Python.

    main(["--report", "train.py", "--epochs", "3"])
"""

from __future__ import annotations

import atexit
import importlib.machinery
import importlib.util
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import CodeType, ModuleType, TracebackType
from typing import NamedTuple

from .hook import MissingModule, install

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
USAGE = """\
usage: gradstep run [--report] script.py [args ..]
       gradstep run [--report] -m package [args ..]

Runs a PyTorch program, as it is, on gradstep: `import torch` gives gradstep in that process and in the workers that
multiprocessing starts from it.

  --report  list at the end, on stderr, which names of PyTorch were used and which are missing, with their lines
"""


class UsageError(Exception):
    """The command line names nothing to run; one line, exit code 2."""


# ---- what to run ----


class _Program(NamedTuple):
    """Code and what its `__main__` module says of itself."""

    code: CodeType
    file: str | None
    spec: importlib.machinery.ModuleSpec | None
    loader: object
    package: str | None
    path: str  # its entry in sys.path


def _script(path: str) -> _Program:
    path = os.path.abspath(path)
    if os.path.isdir(path) or path.endswith((".zip", ".pyz", ".egg")):
        spec = importlib.machinery.PathFinder.find_spec("__main__", [path])
        if spec is None or spec.loader is None:
            raise UsageError(f"can't find '__main__' module in {path!r}")
        code = spec.loader.get_code("__main__")  # type: ignore[attr-defined]
        return _Program(code, spec.origin, spec, spec.loader, "", path)
    try:
        with io.open_code(path) as f:
            source = f.read()
    except OSError as error:
        raise UsageError(f"can't open file {path!r}: {error.strerror}") from None
    code = compile(source, path, "exec", dont_inherit=True)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    return _Program(code, path, None, loader, None, os.path.dirname(os.path.realpath(path)))


def _module(name: str) -> _Program:
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            package, name = name, f"{name}.__main__"
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise UsageError(
                    f"No module named {name}; {package!r} is a package and cannot be directly executed"
                )
    except (ModuleNotFoundError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not name.startswith(f"{error.name}"):
            raise  # the parent package was found, and lacks something itself
        raise UsageError(f"No module named {name}") from None
    if spec is None:
        raise UsageError(f"No module named {name}")
    code = spec.loader.get_code(name) if hasattr(spec.loader, "get_code") else None  # type: ignore[union-attr]
    if code is None:
        raise UsageError(f"No code object available for {name}")
    return _Program(code, spec.origin, spec, spec.loader, spec.parent, os.getcwd())


def _first_path(path: str) -> None:
    """Replaces the first entry of sys.path, which is the command's own, as Python would have put it."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = path


def _become(program: _Program, argv: list[str]) -> ModuleType:
    """Makes a new `__main__` for the program."""
    module = ModuleType("__main__")
    module.__dict__.update(
        __builtins__=__builtins__,
        __file__=program.file,
        __cached__=None,
        __loader__=program.loader,
        __package__=program.package,
        __spec__=program.spec,
    )
    if program.file is None:
        del module.__file__
    sys.modules["__main__"] = module
    sys.argv = argv
    return module


# ---- how it ends ----


def _without_us(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's first frame on."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


class _Ending:
    """After a KeyboardInterrupt that nobody caught, the process ends by SIGINT, as Python itself would."""

    interrupted = False

    def __call__(self) -> None:
        if self.interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)


def _package_of(error: BaseException) -> tuple[str, str, BaseException] | None:
    """The installed package whose line met something that gradstep lacks, that line, and what was said there."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        told = any(word in str(link) for word in ("gradstep", "'torch", "torch.", "PyTorch"))
        lacking = isinstance(link, (ImportError, AttributeError, NotImplementedError)) and told
        if not lacking and not isinstance(link, MissingModule):
            continue
        for frame in reversed(traceback.extract_tb(link.__traceback__)):
            if frame.filename.startswith((_OURS, "<frozen")):
                continue
            parts = frame.filename.replace(os.sep, "/").split("/")
            for folder in {"site-packages", "dist-packages"} & set(parts[:-1]):
                package = parts[parts.index(folder) + 1].removesuffix(".py")
                return package, f"{frame.filename}:{frame.lineno}", link
            break  # a line of the program itself
    return None


def _explain(error: BaseException) -> None:
    found = _package_of(error)
    if found is not None:
        package, place, lack = found
        print(
            f"\ngradstep run: the package {package} relies on a part of PyTorch that gradstep does not have "
            f"({place}): {lack}\nIt needs the real PyTorch: run this program with python, or without {package}.",
            file=sys.stderr,
        )


def _run(program: _Program, argv: list[str], ending: _Ending) -> int:
    module = _become(program, argv)
    _first_path(program.path)
    try:
        exec(program.code, module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        trace = _without_us(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        _explain(error)
        ending.interrupted = isinstance(error, KeyboardInterrupt)
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> tuple[bool, str | None, list[str]]:
    """(report wanted, name of the module or None, script and its arguments)."""
    rest = list(arguments)
    report = False
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--report":
            report = True
        elif option == "-m" or (option.startswith("-m") and not option.startswith("--")):
            if option != "-m":
                rest.insert(0, option[2:])
            if not rest:
                raise UsageError("-m needs the name of a module")
            return report, rest[0], rest
        elif option == "--" and rest:
            break
        else:
            raise UsageError(f"unknown option {option} (see gradstep run --help)")
    if not rest:
        raise UsageError("a script or -m and a module is needed (see gradstep run --help)")
    return report, None, rest


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line says; returns the exit code, or raises the program's SystemExit."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    ending = _Ending()
    atexit.register(ending)  # before anything else is registered, so that it runs after all of that
    folder: str | None = None
    owner = os.getpid()
    try:
        want_report, module, rest = _parse(arguments)
        if want_report:
            folder = tempfile.mkdtemp(prefix="gradstep-report-")
        finder = install(folder)
        if module is None:
            program = _script(rest[0])
        else:
            _first_path(os.getcwd())
            program = _module(module)
            rest[0] = program.file or rest[0]
        try:
            return _run(program, rest, ending)
        finally:
            if finder.report is not None and os.getpid() == owner:
                finder.report.print(sys.stderr)
    except UsageError as error:
        print(f"gradstep run: error: {error}", file=sys.stderr)
        return 2
    except SyntaxError as error:  # of the script itself
        sys.excepthook(type(error), error.with_traceback(None), None)
        return 1
    finally:
        if folder is not None and os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
