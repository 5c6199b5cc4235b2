# SPDX-License-Identifier: Apache-2.0
"""Reading PyTorch's files: the zip format, the one before it, and where storages go.

A file is not believed: sizes and offsets are compared with what is there before anything is allocated.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
from typing import Any, BinaryIO

from gradstep import _C

from . import allowed
from .allowed import BadFile, Loaded, Unsupported
from .names import from_torch, is_torch
from .storages import MISSING_STORAGES, STORAGES, UNTYPED, bytes_of
from .unpickler import Unpickler
from .writer import CHUNK, MAGIC, OLD_PROTOCOL

# ---- places ----


class UsersError(Exception):
    """Carries what a user's function raised past those who look for signs of damage."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def place(flat: Any, location: str, map_location: Any) -> Any:
    """Moves a storage to where `map_location` wants it (None: where it was saved)."""
    if isinstance(map_location, dict):
        map_location = map_location.get(location, location)
    elif callable(map_location) and not isinstance(map_location, _C.device):
        try:
            moved = map_location(flat, location)
            if moved is not None:
                if not isinstance(moved, _C.Tensor) or moved.shape != flat.shape:
                    raise TypeError(
                        f"map_location returned {moved!r} for a storage of {flat.numel()} elements"
                    )
                return moved
        except Exception as error:
            raise UsersError(error) from None
        map_location = location
    target = _C.device(location if map_location is None else map_location)
    if target.type == "cpu":
        return flat
    count = _C._cuda_device_count()
    if not count:
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
            "False. If you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        )
    if target.index is not None and target.index >= count:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {target.index} but "
            f"torch.cuda.device_count() is {count}. Please use torch.load with map_location to map "
            "your storages to an existing device."
        )
    return flat.to(target)


def check_location(map_location: Any) -> None:
    """Raises for a map_location that can never work, before the file is read."""
    if map_location is None or isinstance(map_location, (dict, _C.device)):
        return
    if isinstance(map_location, (str, int)):
        _C.device(map_location)
    elif not callable(map_location):
        raise TypeError(
            f"map_location must be a device, a string, a dict or a function, got {type(map_location).__name__}"
        )


# ---- the pickle ----


def unpickle(
    data: bytes, start: int, persistent_load: Any, weights_only: bool, options: dict[str, Any]
) -> tuple[Any, int]:
    """(the value of the pickle at `start`, where it ended)."""
    if weights_only:
        reader = Unpickler(
            data,
            start,
            allowed.find,
            persistent_load,
            allowed.call,
            allowed.new,
            allowed.build,
            options.get("encoding", "utf-8"),
        )
        return reader.load(), reader.end
    options = dict(options)
    base: Any = (options.pop("pickle_module", None) or pickle).Unpickler
    source = io.BytesIO(data)
    source.seek(start)

    class Trusting(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if not is_torch(module):
                return super().find_class(module, name)
            full = f"{module}.{name}"
            known = allowed.ALLOWED.get(full)
            if known is not None and not isinstance(known, allowed.Kind):
                return known
            allowed.check_supported(full)
            return from_torch(module, name)

        def persistent_load(self, pid: Any) -> Any:
            return persistent_load(pid)

    value = Trusting(source, **options).load()
    return value, source.tell()


def _storage_id(pid: Any, parts: int) -> tuple[str, str, str, int]:
    """The checked parts of a persistent id: (kind, key, location, number of elements)."""
    if not isinstance(pid, tuple) or len(pid) != parts or pid[0] != "storage":
        raise BadFile("it refers to something that is not a storage")
    _, kind, key, location, numel = pid[:5]
    if type(kind) is not str or kind not in STORAGES and kind != UNTYPED:
        if kind in MISSING_STORAGES:
            raise Unsupported(f"tensors of dtype {MISSING_STORAGES[kind]}")
        raise BadFile(f"storage {key!r} has an unknown type")
    if type(key) is not str or type(location) is not str:
        raise BadFile(f"storage {key!r} has no name or location")
    if type(numel) is not int or numel < 0:
        raise BadFile(f"storage {key!r} has {numel!r} elements")
    return kind, key, location, numel


def _dtype(kind: str) -> Any:
    return _C.uint8 if kind == UNTYPED else getattr(_C, STORAGES[kind])


def _swap(flat: Any) -> None:
    """The bytes of each element in the other order."""
    size = flat.element_size()
    if size > 1:
        raw = flat.view(_C.uint8).numpy().reshape(-1, size)
        raw[:] = raw[:, ::-1].copy()


# ---- the zip format ----


class Archive:
    """The entries of a zip file of PyTorch's layout, its names and sizes checked."""

    def __init__(self, f: BinaryIO) -> None:
        import zipfile

        self.f = f
        start = f.tell()
        f.seek(0, os.SEEK_END)
        self.file_size = f.tell() - start
        f.seek(start)
        try:
            self.zip = zipfile.ZipFile(f)
        except zipfile.BadZipFile as error:
            raise BadFile(f"it is truncated or damaged ({error})") from None
        entries = self.zip.infolist()
        names = {entry.filename for entry in entries}
        # Entries that lie over each other would make much of little.
        if sum(entry.compress_size for entry in entries) > self.file_size:
            raise BadFile("its entries are larger than the file")
        pickles = [n for n in names if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(pickles) != 1:
            if any(n.endswith("/constants.pkl") for n in names):
                raise BadFile("it is a TorchScript archive")
            raise BadFile("it has no data.pkl")
        self.root = pickles[0][: -len("data.pkl")]
        if any(n.endswith("/constants.pkl") for n in names):
            raise BadFile("it is a TorchScript archive")
        self.byteorder: str | None = None
        if f"{self.root}byteorder" in names:
            self.byteorder = self.read("byteorder").decode("ascii", "replace")
            if self.byteorder not in ("little", "big"):
                raise BadFile(f"its byte order is {self.byteorder!r}")

    def info(self, name: str) -> Any:
        """The entry, once it is clear that the file can hold it."""
        try:
            info = self.zip.getinfo(self.root + name)
        except KeyError:
            raise BadFile(f"it has no entry {name!r}") from None
        if info.compress_type != 0 or info.flag_bits & 1:
            raise BadFile(f"entry {name!r} is compressed or encrypted")
        if not 0 <= info.header_offset <= self.file_size - 30:
            raise BadFile(f"entry {name!r} starts outside of the file")
        if info.file_size > self.file_size or info.file_size != info.compress_size:
            raise BadFile(f"entry {name!r} claims {info.file_size} bytes, more than there are")
        return info

    def read(self, name: str) -> bytes:
        return self.zip.read(self.info(name))

    def read_into(self, name: str, target: memoryview) -> None:
        with self.zip.open(self.root + name) as entry:
            at = 0
            while at < len(target):
                n = entry.readinto(target[at : at + CHUNK])  # type: ignore[attr-defined]
                if not n:
                    raise BadFile(f"entry {name!r} is truncated")
                at += n
            entry.read(1)  # at the end, where the checksum is compared

    def offset(self, name: str) -> int:
        """Where the entry's bytes start in the file."""
        info = self.info(name)
        self.f.seek(info.header_offset)
        header = self.f.read(30)
        if len(header) != 30 or header[:4] != b"PK\3\4":
            raise BadFile(f"entry {name!r} has no header")
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = info.header_offset + 30 + lengths
        if start + info.file_size > self.file_size:
            raise BadFile(f"entry {name!r} is truncated")
        return start


def read_archive(
    f: BinaryIO,
    map_location: Any,
    weights_only: bool,
    mapped: mmap.mmap | None,
    byteorder: str,
    options: dict[str, Any],
) -> Any:
    """What a file of the zip format holds; its storages are views of `mapped` if that is given."""
    import numpy as np

    archive = Archive(f)
    swapped = (archive.byteorder or byteorder) != sys.byteorder
    storages: dict[str, Loaded] = {}

    def read(kind: str, key: str, numel: int) -> Any:
        dtype = _dtype(kind)
        entry = f"data/{key}"
        have = archive.info(entry).file_size
        if have != numel * dtype.itemsize:
            raise BadFile(
                f"storage {key!r} has {have} bytes where {numel} elements of {dtype.itemsize} bytes were announced"
            )
        if mapped is not None and numel and not swapped:
            start = archive.offset(entry)
            if start % dtype.itemsize == 0:
                raw = np.frombuffer(mapped, np.uint8, have, start)
                return _C.from_numpy(raw).view(dtype)
        flat = _C.empty(numel, dtype=dtype, device="cpu")
        if numel:
            archive.read_into(entry, bytes_of(flat))
            if swapped:
                _swap(flat)
        return flat

    def persistent_load(pid: Any) -> Any:
        kind, key, location, numel = _storage_id(pid, 5)
        found = storages.get(key)
        if found is None:
            found = Loaded(place(read(kind, key, numel), location, map_location))
            storages[key] = found
        return found

    data = archive.read("data.pkl")
    return unpickle(data, 0, persistent_load, weights_only, options)[0]


# ---- the format before zip ----


def read_old(f: BinaryIO, map_location: Any, weights_only: bool, options: dict[str, Any]) -> Any:
    """Five pickles, then the storages; leaves the file behind the last byte."""
    start = f.tell()
    data = f.read()
    at = 0

    promised = 0  # bytes of all storages so far

    def part() -> Any:
        nonlocal at
        value, at = unpickle(data, at, persistent_load, weights_only, options)
        return value

    storages: dict[str, tuple[Any, Loaded]] = {}  # key -> (memory to fill, storage)
    views: dict[Any, Loaded] = {}

    def persistent_load(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 2 and pid[0] == "module":
            return pid[1][0] if isinstance(pid[1], tuple) and pid[1] else pid[1]
        nonlocal promised
        kind, key, location, numel = _storage_id(pid, 6)
        dtype, view = _dtype(kind), pid[5]
        if key not in storages:
            promised += numel * dtype.itemsize
            if promised > len(data):
                raise BadFile(f"storage {key!r} has {numel} elements, more than the file can hold")
            flat = _C.empty(numel, dtype=dtype, device="cpu")
            storages[key] = flat, Loaded(place(flat, location, map_location))
        whole = storages[key][1]
        if view is None:
            return whole
        if not isinstance(view, tuple) or len(view) != 3 or type(view[0]) is not str:
            raise BadFile(f"storage {key!r} has a part that is none")
        name, offset, size = view
        if type(offset) is not int or type(size) is not int or offset < 0 or size < 0:
            raise BadFile(f"storage {key!r} has a part at {offset!r} of {size!r} elements")
        if offset + size > whole.flat.numel():
            raise BadFile(f"storage {key!r} is shorter than its part at {offset}")
        return views.setdefault(name, Loaded(whole.flat.narrow(0, offset, size)))

    if part() != MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = part()
    if version != OLD_PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {version}")
    system = part()
    swapped = isinstance(system, dict) and system.get("little_endian", True) != (
        sys.byteorder == "little"
    )
    value = part()
    keys = part()
    if not isinstance(keys, list) or not set(map(str, keys)) >= set(storages):
        raise BadFile("storages are missing")
    for key in keys:
        if key not in storages:
            raise BadFile(f"storage {key!r} belongs to nothing")
        flat, storage = storages.pop(key)
        size = flat.numel() * flat.element_size()
        numel = int.from_bytes(data[at : at + 8], "little", signed=True)
        if numel not in (flat.numel(), size) or at + 8 + size > len(data):
            raise BadFile(f"storage {key!r} is truncated or has another length than announced")
        if size:
            bytes_of(flat)[:] = data[at + 8 : at + 8 + size]
            if swapped:
                _swap(flat)
        at += 8 + size
        if storage.flat is not flat:  # it lives on another device
            storage.flat.copy_(flat)
    f.seek(start + at)
    return value
