# SPDX-License-Identifier: Apache-2.0
"""Files that are whole at any moment: `with atomic_write(path) as f: f.write(..)`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


def _sweep(folder: str, start: str) -> None:
    """Removes what killed processes of this machine left half-written."""
    try:
        names = [n for n in os.listdir(folder) if n.startswith(start) and n.endswith(".tmp")]
    except OSError:
        return  # the writing itself will say what is wrong
    for name in names:
        pid = name[len(start) :].partition(".")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
        except (ValueError, OSError):
            pass  # not ours


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends without an exception.

    Written next to it, flushed to disk, then renamed: a crash at any moment leaves the whole old
    file or the whole new one.
    """
    target = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(target)
    if os.path.exists(target) and not os.path.isfile(target):
        if os.path.isdir(target):
            raise IsADirectoryError(f"cannot write {path}: it is a folder")
        with open(target, "wb") as f:  # a device or a pipe
            yield f
        return
    mine = f".{name}.{os.uname().nodename}."
    _sweep(folder, mine)
    temporary = os.path.join(folder, f"{mine}{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
    try:
        with os.fdopen(handle, "w+b") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):  # Ctrl-C just after the renaming
            os.unlink(temporary)
        raise
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # not everywhere can a folder be opened
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
