# SPDX-License-Identifier: Apache-2.0
"""Writing PyTorch's files: the pickle, which has PyTorch's names only, and the storages beside it."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO

from gradstep import _C, _tensor

from .names import is_ours, to_torch
from .storages import STORAGE_OF, UNTYPED, bytes_of, dtype_name, extent

ALIGN = 64  # of each storage in the file, as PyTorch aligns them (its reader can then map them)
CHUNK = 1 << 24
MAGIC = 0x1950A86A20F9469CFC6C  # of the format before zip
OLD_PROTOCOL = 1001

# ---- storages ----


class Storage:
    """One block of memory on its way to a file; several tensors may view it."""

    def __init__(self, key: str, tensor: Any) -> None:
        self.key = key
        self.dtype = dtype_name(tensor.dtype)
        if self.dtype not in STORAGE_OF:
            raise TypeError(f"save: tensors of dtype {self.dtype} cannot be saved")
        self.tensor = tensor
        self.location = str(tensor.device)
        self.numel = 0

    def bytes(self) -> memoryview:
        return bytes_of(self.tensor.detach().as_strided((self.numel,), (1,), 0).cpu())


class Storages:
    """Finds the storage of a tensor again when another tensor views it."""

    def __init__(self) -> None:
        self.all: list[Storage] = []
        self.late = False  # whether a storage turned out to be longer than was written already
        self._by_address: dict[Any, Storage] = {}
        self._alive: list[Any] = []

    def of(self, tensor: Any) -> Storage:
        if tensor.numel() == 0:
            address: Any = id(tensor)
            self._alive.append(tensor)  # so that nobody else gets this id
        else:
            start = tensor.data_ptr() - tensor.storage_offset() * tensor.element_size()
            address = (str(tensor.device), start)
        found = self._by_address.get(address)
        if found is None:
            found = Storage(str(len(self.all)), tensor)
            self.all.append(found)
            self._by_address[address] = found
        if found.dtype != dtype_name(tensor.dtype):
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different "
                "types"
            )
        need = extent(tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        if need > found.numel:
            self.late = self.late or found.numel > 0
            found.numel = need
        return found


# ---- the pickle ----


class Named:
    """Pickles as a reference to something of PyTorch's, by name only."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Pickle wants callables for what it calls when reading."""


_REBUILD_TENSOR = Named("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = Named("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_WITH_STATE = Named("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_FROM_TYPE = Named("torch._tensor", "_rebuild_from_type_v2")
_TENSOR = Named("torch", "Tensor")
_SIZE = Named("torch", "Size")
_DEVICE = Named("torch", "device")
_LAYOUT = Named("torch.serialization", "_get_layout")
_KINDS = {dtype: Named("torch", kind) for dtype, kind in STORAGE_OF.items()}
_UNTYPED = Named("torch.storage", UNTYPED)


def _reduced_tensor(tensor: Any, storages: Storages) -> Any:
    """How PyTorch writes this tensor: (function, arguments)."""
    from gradstep.nn.parameter import Buffer, Parameter

    attributes = dict(tensor.__dict__)
    if isinstance(tensor, Parameter):
        start: Any = tensor.detach(), bool(tensor.requires_grad), OrderedDict()
        if not attributes:
            return _REBUILD_PARAMETER, start
        return _REBUILD_PARAMETER_WITH_STATE, (*start, attributes)
    place = tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())
    made: Any = (storages.of(tensor), *place, bool(tensor.requires_grad), OrderedDict())
    kind: Any = _TENSOR
    if isinstance(tensor, Buffer):
        attributes["_is_buffer"] = True
    elif type(tensor) is not _C.Tensor:
        kind = type(tensor)
    if kind is _TENSOR and not attributes:
        return _REBUILD_TENSOR, made
    return _REBUILD_FROM_TYPE, (_REBUILD_TENSOR, kind, made, attributes)


def make_pickler(
    out: BinaryIO, storages: Storages, pickle_module: Any, protocol: int, old: bool = False
) -> Any:
    """A pickler that gives tensors to `storages` and writes PyTorch's names."""
    import gradstep

    # Written in Python: it lets a class decide which name it writes.
    base: Any = pickle._Pickler  # type: ignore[attr-defined]
    given = getattr(pickle_module, "Pickler", None)
    if isinstance(given, type) and issubclass(given, base):  # dill's, for example
        base = given
    elif pickle_module not in (None, pickle):
        raise TypeError(
            f"save: the Pickler of {getattr(pickle_module, '__name__', pickle_module)} can't be used: it is not derived "
            "from Python's pickle._Pickler"
        )
    # The format before zip says in a sixth part which part of another storage this one is.
    more = (None,) if old else ()

    class Pickler(base):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, Storage):
                return "storage", _KINDS[obj.dtype], obj.key, obj.location, obj.numel, *more
            if isinstance(obj, _tensor._Storage):
                t = obj._tensor.detach()
                whole = t.as_strided((obj.nbytes() // t.element_size(),), (1,), 0)
                kept = storages.of(whole.view(_C.uint8))
                return "storage", _UNTYPED, kept.key, kept.location, kept.numel, *more
            return None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _C.Tensor):
                return _reduced_tensor(obj, storages)
            if isinstance(obj, gradstep.nn.Module):
                return self.reduced_module(obj)
            if isinstance(obj, _C.dtype):
                return dtype_name(obj)  # a name: goes to save_global
            if isinstance(obj, _C.device):
                return _DEVICE, (str(obj),)
            if isinstance(obj, _C.layout):
                return _LAYOUT, (str(obj),)
            if type(obj) is not tuple and isinstance(obj, _C.Size):
                return _SIZE, (tuple(obj),)
            return NotImplemented

        def reduced_module(self, module: Any) -> Any:
            """As it pickles by itself, with the tables that PyTorch's modules have from the start."""
            reduced = module.__reduce_ex__(2)
            if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], dict):
                state = module._pytorch_state(reduced[2])
                return *reduced[:2], state, *reduced[3:]
            return reduced

        def save_global(self, obj: Any, name: str | None = None) -> None:
            if isinstance(obj, _C.dtype):
                self.save_named(obj, "torch", dtype_name(obj))
                return
            module = str(getattr(obj, "__module__", None))
            if not is_ours(module):
                super().save_global(obj, name)
                return
            name = name or obj.__qualname__
            if module == "gradstep._C" and not isinstance(
                obj, type
            ):  # a function: it is known by its public name
                functional = gradstep.nn.functional
                public = functional if getattr(functional, name, None) is obj else gradstep
                module = public.__name__
            self.save_named(obj, *to_torch(module, name))

        def save_type(self, obj: Any) -> None:
            (Pickler.save_global if is_ours(str(obj.__module__)) else base.dispatch[type])(
                self, obj
            )

        def save_named(self, obj: Any, module: str = "", name: str = "") -> None:
            module, name = module or obj.module, name or obj.name
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            self.memoize(obj)

        dispatch = {**base.dispatch, Named: save_named, type: save_type}

    return Pickler(out, protocol=protocol)


def pickled(
    obj: Any, storages: Storages, pickle_module: Any = None, protocol: int = 2, old: bool = False
) -> bytes:
    """The pickle of `obj`; `storages` gets its tensors' memory."""
    while True:
        storages.late = False
        out = io.BytesIO()
        make_pickler(out, storages, pickle_module, protocol, old).dump(obj)
        if not storages.late:
            return out.getvalue()
        # How much of a storage the file needs is known only when all of its views were seen: once more.


# ---- files ----


def write_archive(out: BinaryIO, data: bytes, storages: Storages, byteorder: bool) -> None:
    """PyTorch's zip format."""
    import sys
    import zipfile

    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def add(name: str, data: bytes | memoryview) -> None:
            info = zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
            info.file_size = len(data)
            # The data starts at a multiple of 64: pad by an extra field, as PyTorch does.
            big = 20 if info.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0
            start = archive.start_dir + 30 + len(info.filename.encode()) + 4 + big
            padding = -start % ALIGN
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            with archive.open(info, "w") as entry:
                for at in range(0, len(data), CHUNK):
                    entry.write(data[at : at + CHUNK])

        add("data.pkl", data)
        add(".format_version", b"1")
        add(".storage_alignment", str(ALIGN).encode())
        if byteorder:
            add("byteorder", sys.byteorder.encode())
        for storage in storages.all:
            add(f"data/{storage.key}", storage.bytes())
        add("version", b"3\n")


def write_old(out: BinaryIO, obj: Any, pickle_module: Any, protocol: int) -> None:
    """PyTorch's format before zip: five pickles, then the storages."""
    import sys

    storages = Storages()
    data = pickled(obj, storages, pickle_module, protocol, old=True)
    system = {
        "protocol_version": OLD_PROTOCOL,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for part in (MAGIC, OLD_PROTOCOL, system):
        out.write(pickle.dumps(part, protocol))
    out.write(data)
    out.write(pickle.dumps([storage.key for storage in storages.all], protocol))
    for storage in storages.all:
        out.write(storage.numel.to_bytes(8, "little"))
        memory = storage.bytes()
        for at in range(0, len(memory), CHUNK):
            out.write(memory[at : at + CHUNK])
