# SPDX-License-Identifier: Apache-2.0
"""Writing and reading tensors: `save`/`load` in PyTorch's formats, and safetensors.

    save({"model": model.state_dict(), "epoch": 3}, "run.pt")
    state = load("run.pt")                       # tensors and plain values only, no code is run
    save_safetensors(model.state_dict(), "weights.safetensors")

Files go both ways between gradstep and PyTorch. A path is written atomically: it holds the whole
new file or the old one. Zip, pickle and safetensors are imported when first used.
"""

from __future__ import annotations

import enum
import io
import mmap as _mmap
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

from ._C import device
from ._serialization import reader, writer
from ._serialization.allowed import (
    BadFile,
    Unsupported,
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
    unsafe_globals,
)
from ._serialization.atomic import atomic_write
from ._serialization.safetensors_files import load_safetensors, save_safetensors

__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "atomic_write",
    "clear_safe_globals",
    "default_restore_location",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "load_safetensors",
    "location_tag",
    "safe_globals",
    "save",
    "save_safetensors",
    "set_default_load_endianness",
    "set_default_mmap_options",
]

# ---- settings ----


class LoadEndianness(enum.Enum):
    """The byte order of files that do not say it."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


# For annotations of other packages.
MAP_LOCATION: TypeAlias = Callable[[Any, str], Any] | device | str | dict[str, str] | None

_endianness: LoadEndianness | None = None
_mmap_flags = _mmap.MAP_PRIVATE


def get_default_load_endianness() -> LoadEndianness | None:
    """What `set_default_load_endianness` has set; None is this machine's order."""
    return _endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """The byte order that `load` assumes of files that do not say it."""
    global _endianness
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _endianness = endianness


def _assumed_byteorder() -> str:
    import sys

    known = {LoadEndianness.LITTLE: "little", LoadEndianness.BIG: "big"}
    return known.get(_endianness, sys.byteorder)  # type: ignore[arg-type]


def get_default_mmap_options() -> int:
    """The flags with which `load(mmap=True)` maps files."""
    return _mmap_flags


class set_default_mmap_options:
    """Maps files with MAP_PRIVATE (writes stay in memory) or MAP_SHARED (writes reach the file); also for a `with`."""

    def __init__(self, flags: int) -> None:
        global _mmap_flags
        if flags not in (_mmap.MAP_PRIVATE, _mmap.MAP_SHARED):
            raise ValueError(
                f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self.before, _mmap_flags = _mmap_flags, flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        global _mmap_flags
        _mmap_flags = self.before


def location_tag(storage: Any) -> str:
    """Where a storage (or tensor) lives, as files say it: "cpu", "cuda:0"."""
    return str(getattr(storage, "_tensor", storage).device)


def default_restore_location(storage: Any, location: str) -> Any:
    """The storage on the device `location`; for functions that are given as `map_location`."""
    return reader.place(storage, str(location), None)


# ---- save ----


def save(
    obj: Any,
    f: str | os.PathLike[str] | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Writes nested containers of tensors and plain values to a path or a binary file.

    Tensors that share memory still share it after `load`. Modules, optimizers and other objects are pickled, with
    PyTorch's names for what is gradstep's. `_use_new_zipfile_serialization=False` writes the format before zip.

    >>> save({"w": gradstep.ones(2)}, "w.pt")
    >>> load("w.pt")["w"]
    tensor([1., 1.])
    """
    if not hasattr(f, "write"):
        if not isinstance(f, (str, os.PathLike)):
            raise AttributeError(
                f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {type(f).__name__}"
            )
        with atomic_write(f) as out:
            save(
                obj,
                out,
                pickle_module,
                pickle_protocol,
                _use_new_zipfile_serialization,
                _disable_byteorder_record,
            )
        return
    if not _use_new_zipfile_serialization:
        writer.write_old(f, obj, pickle_module, pickle_protocol)  # type: ignore[arg-type]
        return
    storages = writer.Storages()
    data = writer.pickled(obj, storages, pickle_module, pickle_protocol)
    writer.write_archive(f, data, storages, not _disable_byteorder_record)  # type: ignore[arg-type]


# ---- load ----


def _check_start(f: BinaryIO, what: str) -> bool:
    """Whether the file is a zip archive; raises for what is neither that nor a pickle."""
    start = f.tell()
    magic = f.read(4)
    f.seek(start + 257)
    tar = f.read(5) == b"ustar"
    f.seek(start)
    if not magic:
        raise EOFError("Ran out of input")
    if tar:
        raise RuntimeError(
            f"{what}: it is a tar archive, PyTorch's format before version 0.1.10; write it anew with PyTorch"
        )
    if magic[:2] == b"PK":
        return True
    if magic[:1] != b"\x80":  # pickles of protocol 2 and later start so
        raise RuntimeError(
            f"{what}: it is not a file as save() writes it (or its start is damaged)"
        )
    return False


def _mapped(f: Any, is_zip: bool) -> _mmap.mmap:
    if not is_zip:
        raise RuntimeError(
            "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True), please "
            "torch.save your checkpoint with this option in order to use mmap."
        )
    return _mmap.mmap(f.fileno(), 0, flags=_mmap_flags, prot=_mmap.PROT_READ | _mmap.PROT_WRITE)


def _env(name: str) -> bool:
    return os.environ.get(name, "0").lower() in ("1", "y", "yes", "true")


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what `save` (or torch.save) wrote, to a path or a file.

    Only tensors, containers and plain values are built, and what `add_safe_globals` allows, unless
    `weights_only=False`, which can run any code that the file contains. `map_location` is a device, a dict from saved
    to wanted locations, or a function of (1-d tensor, location). With `mmap=True` the tensors of a path are views of the
    mapped file, which is read when they are.

    Raises pickle.UnpicklingError for a file that holds something else than weights, RuntimeError for one that is
    damaged, NotImplementedError for tensors that gradstep does not have (complex, sparse, quantized). The environment
    variables TORCH_FORCE_WEIGHTS_ONLY_LOAD and TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD (1) act as in PyTorch.
    """
    if _env("TORCH_FORCE_WEIGHTS_ONLY_LOAD"):
        if _env("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
            raise RuntimeError(
                "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set, but "
                "both were set."
            )
        weights_only = True
    elif weights_only is None:
        weights_only = pickle_module is None and not _env("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    reader.check_location(map_location)
    if not hasattr(f, "read"):
        shared = mmap and _mmap_flags == _mmap.MAP_SHARED
        with open(f, "r+b" if shared else "rb") as opened:  # type: ignore[arg-type]
            return _load(opened, map_location, pickle_module, weights_only, mmap, pickle_load_args)
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    return _load(f, map_location, pickle_module, weights_only, False, pickle_load_args)


def _load(
    f: Any,
    map_location: Any,
    pickle_module: Any,
    weights_only: bool,
    mmap: bool | None,
    options: dict[str, Any],
) -> Any:
    name = getattr(f, "name", None)
    what = f"load: cannot read {name}" if isinstance(name, str) else "load: cannot read the file"
    if not (hasattr(f, "seekable") and f.seekable()):
        f = io.BytesIO(f.read())
    is_zip = _check_start(f, what)
    mapped = _mapped(f, is_zip) if mmap else None
    if not weights_only:
        options = {"encoding": "utf-8", **options, "pickle_module": pickle_module}
    try:
        if is_zip:
            return reader.read_archive(
                f, map_location, weights_only, mapped, _assumed_byteorder(), options
            )
        return reader.read_old(f, map_location, weights_only, options)
    except reader.UsersError as error:
        raise error.error from None
    except BadFile as error:
        raise RuntimeError(f"{what}: {error}") from None
    except Unsupported as error:
        raise NotImplementedError(f"{what}: it holds {error}") from None
    except pickle.UnpicklingError as error:
        if "Weights only" in str(error) or not weights_only:
            raise
        raise pickle.UnpicklingError(f"Weights only load failed. {what}: {error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise RuntimeError(f"{what}: it is truncated or damaged ({error})") from None
    except (
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        if not weights_only:
            raise
        raise RuntimeError(
            f"{what}: its pickle is damaged ({type(error).__name__}: {error})"
        ) from None
    except NotImplementedError as error:  # of zipfile: a way of packing that it does not know
        if is_zip and weights_only:
            raise RuntimeError(f"{what}: it is truncated or damaged ({error})") from None
        raise


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike[str] | BinaryIO) -> list[str]:
    """The classes and functions in a file that `load(weights_only=True)` would refuse, by name, sorted."""
    if not hasattr(f, "read"):
        with open(f, "rb") as opened:  # type: ignore[arg-type]
            return get_unsafe_globals_in_checkpoint(opened)
    if not _check_start(f, "get_unsafe_globals_in_checkpoint"):  # type: ignore[arg-type]
        raise ValueError("Expected input to be a checkpoint returned by torch.save")
    try:
        return sorted(set(unsafe_globals(reader.Archive(f).read("data.pkl"))))  # type: ignore[arg-type]
    except (BadFile, ValueError) as error:
        raise RuntimeError(f"get_unsafe_globals_in_checkpoint: {error}") from None
