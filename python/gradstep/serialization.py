# SPDX-License-Identifier: Apache-2.0
"""Writing and reading tensors: `save`/`load` in PyTorch's zip format, and safetensors.

    save({"model": model.state_dict(), "epoch": 3}, "run.pt")
    state = load("run.pt")                       # tensors and plain values only, no code is run
    save_safetensors(model.state_dict(), "weights.safetensors")

Files go both ways between gradstep and PyTorch. A path is written atomically: it holds the whole
new file or the old one. Zip, pickle and safetensors are imported when first used.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from gradstep import _C

__all__ = ["add_safe_globals", "load", "load_safetensors", "save", "save_safetensors"]

# PyTorch's names of typed storages, as they stand in files.
_STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
}
_STORAGE_OF = {dtype: storage for storage, dtype in _STORAGES.items()}
_ALIGN = 64  # of each storage in the file, as PyTorch aligns them (its reader can then map them)
_CHUNK = 1 << 24

# ---- atomic files ----


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


# ---- tensors and their storages ----


def _dtype_name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def _extent(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """The number of storage elements that a view needs, counted from the storage's start."""
    if 0 in size:
        return 0
    return offset + 1 + sum((n - 1) * step for n, step in zip(size, stride))


def _bytes_of(tensor: Any) -> memoryview:
    """The memory of a contiguous 1-d CPU tensor."""
    return memoryview(tensor.detach().view(_C.uint8).numpy())


class _Storage:
    """One block of memory on its way to a file; several tensors may view it."""

    def __init__(self, key: str, tensor: Any) -> None:
        self.key = key
        self.dtype = _dtype_name(tensor.dtype)
        if self.dtype not in _STORAGE_OF:
            raise TypeError(f"save: tensors of dtype {self.dtype} cannot be saved")
        self.tensor = tensor
        self.location = str(tensor.device)
        self.numel = 0

    def bytes(self) -> memoryview:
        return _bytes_of(self.tensor.detach().as_strided((self.numel,), (1,), 0).cpu())


class _Storages:
    """Finds the storage of a tensor again when another tensor views it."""

    def __init__(self) -> None:
        self.all: list[_Storage] = []
        self._by_address: dict[Any, _Storage] = {}
        self._alive: list[Any] = []

    def of(self, tensor: Any) -> _Storage:
        if tensor.numel() == 0:
            address: Any = id(tensor)
            self._alive.append(tensor)  # so that nobody else gets this id
        else:
            start = tensor.data_ptr() - tensor.storage_offset() * tensor.element_size()
            address = (str(tensor.device), start)
        found = self._by_address.get(address)
        if found is None:
            found = _Storage(str(len(self.all)), tensor)
            self.all.append(found)
            self._by_address[address] = found
        if found.dtype != _dtype_name(tensor.dtype):
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different "
                "types"
            )
        need = _extent(tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        found.numel = max(found.numel, need)
        return found


# ---- save ----


class _Named:
    """Pickles as a reference to something of PyTorch's, by name only."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Pickle wants callables for what it calls when reading."""


_REBUILD_TENSOR = _Named("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = _Named("torch._utils", "_rebuild_parameter")


def _pickler(out: BinaryIO, storages: _Storages) -> Any:
    import pickle
    from collections import OrderedDict

    import gradstep

    named: dict[Any, _Named] = {}

    def name(module: str, name: str) -> _Named:
        return named.setdefault((module, name), _Named(module, name))

    # The pickler written in Python: it lets a class decide which name it writes.
    base: Any = pickle._Pickler  # type: ignore[attr-defined]

    class Pickler(base):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, _Storage):
                return None
            kind = name("torch", _STORAGE_OF[obj.dtype])
            return ("storage", kind, obj.key, obj.location, obj.numel)

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _C.Tensor):
                if isinstance(obj, gradstep.nn.Parameter):
                    plain = obj.detach()
                    return _REBUILD_PARAMETER, (plain, bool(obj.requires_grad), OrderedDict())
                leaf = bool(obj.requires_grad)
                place = obj.storage_offset(), tuple(obj.shape), tuple(obj.stride())
                return _REBUILD_TENSOR, (storages.of(obj), *place, leaf, OrderedDict())
            if isinstance(obj, _C.dtype):
                return _dtype_name(obj)  # a name: goes to save_global
            if isinstance(obj, _C.device):
                return name("torch", "device"), (str(obj),)
            if type(obj) is not tuple and isinstance(obj, _C.Size):
                return name("torch", "Size"), (tuple(obj),)
            return NotImplemented

        def save_global(self, obj: Any, name: str | None = None) -> None:
            if isinstance(obj, _C.dtype):
                self.save_named(obj, "torch", _dtype_name(obj))
            else:
                super().save_global(obj, name)

        def save_named(self, obj: Any, module: str = "", name: str = "") -> None:
            module, name = module or obj.module, name or obj.name
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            self.memoize(obj)

        dispatch = {**base.dispatch, _Named: save_named}

    return Pickler(out, protocol=2)


def save(
    obj: Any,
    f: str | os.PathLike[str] | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes nested containers of tensors and plain values to a path or a binary file.

    Tensors that share memory still share it after `load`. The arguments after `f` are accepted
    for PyTorch's sake.

    >>> save({"w": gradstep.ones(2)}, "w.pt")
    >>> load("w.pt")["w"]
    tensor([1., 1.])
    """
    storages = _Storages()
    # Twice: how much of a storage the file needs is known only when all of its views were seen.
    _pickler(io.BytesIO(), storages).dump(obj)
    pickled = io.BytesIO()
    _pickler(pickled, storages).dump(obj)
    if hasattr(f, "write"):
        _write_archive(f, pickled.getvalue(), storages)  # type: ignore[arg-type]
        return
    with atomic_write(f) as out:  # type: ignore[arg-type]
        _write_archive(out, pickled.getvalue(), storages)


def _write_archive(out: BinaryIO, pickled: bytes, storages: _Storages) -> None:
    import sys
    import zipfile

    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def add(name: str, data: bytes | memoryview) -> None:
            info = zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
            info.file_size = len(data)
            # The data starts at a multiple of 64: pad by an extra field, as PyTorch does.
            big = 20 if info.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0
            start = archive.start_dir + 30 + len(info.filename.encode()) + 4 + big
            padding = -start % _ALIGN
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            with archive.open(info, "w") as entry:
                for at in range(0, len(data), _CHUNK):
                    entry.write(data[at : at + _CHUNK])

        add("data.pkl", pickled)
        add(".format_version", b"1")
        add(".storage_alignment", str(_ALIGN).encode())
        add("byteorder", sys.byteorder.encode())
        for storage in storages.all:
            add(f"data/{storage.key}", storage.bytes())
        add("version", b"3\n")


# ---- load ----

_safe_globals: dict[str, Any] = {}


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets `load(weights_only=True)` build these classes or call these functions too."""
    for item in safe_globals:
        obj, name = item if isinstance(item, tuple) else (item, None)
        _safe_globals[name or f"{obj.__module__}.{obj.__qualname__}"] = obj


class _Loaded:
    """A storage that was read: its elements as a 1-d tensor."""

    __slots__ = ("flat",)

    def __init__(self, flat: Any) -> None:
        self.flat = flat


class _Call:
    """A function that a file may call, but not change."""

    __slots__ = ("_fn",)
    _fn: Callable[..., Any]

    def __init__(self, fn: Callable[..., Any]) -> None:
        object.__setattr__(self, "_fn", fn)

    def __call__(self, *args: Any) -> Any:
        return self._fn(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("read-only")


class _BadFile(RuntimeError):
    """The file is damaged or lies about itself."""


def _ints(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list, _C.Size)):
        raise _BadFile("a tensor's shape is not a tuple")
    for n in values:
        if type(n) is not int or n < 0:
            raise _BadFile(f"a tensor has shape or stride {tuple(values)!r}")
    return tuple(values)


def _rebuild_tensor(
    storage: Any,
    offset: int,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Any:
    """A view of a storage, after checking that it lies inside."""
    if not isinstance(storage, _Loaded):
        raise _BadFile("a tensor without storage")
    size, stride = _ints(size), _ints(stride)
    (offset,) = _ints((offset,))
    if len(size) != len(stride) or _extent(offset, size, stride) > storage.flat.numel():
        raise _BadFile(
            f"a tensor of shape {size}, stride {stride} and offset {offset} does not fit its "
            f"storage of {storage.flat.numel()} elements"
        )
    tensor = storage.flat.as_strided(size, stride, offset if 0 not in size else 0)
    return tensor.requires_grad_() if requires_grad is True else tensor


def _rebuild_parameter(data: Any, requires_grad: Any, backward_hooks: Any) -> Any:
    import gradstep

    if not isinstance(data, _C.Tensor):
        raise _BadFile("a parameter without tensor")
    return gradstep.nn.Parameter(data, requires_grad=bool(requires_grad))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How old pickle protocols write bytes."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise _BadFile("bytes in an unknown encoding")
    return text.encode("latin1")


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is not None:
        return bytearray(_encode(data, encoding))
    if not isinstance(data, (bytes, bytearray)):
        raise _BadFile("a bytearray that is not made of bytes")
    return bytearray(data)


def _allowed() -> dict[str, Any]:
    """What a file may name without `weights_only=False`."""
    from collections import Counter, OrderedDict

    allowed: dict[str, Any] = {
        "collections.OrderedDict": _Call(OrderedDict),
        "collections.Counter": _Call(Counter),
        "torch._utils._rebuild_tensor_v2": _Call(_rebuild_tensor),
        "torch._utils._rebuild_parameter": _Call(_rebuild_parameter),
        "torch.Size": _Call(lambda size=(): _C.Size(_ints(size))),
        "torch.device": _Call(_C.device),
        "_codecs.encode": _Call(_encode),
    }
    for module in ("builtins", "__builtin__"):
        allowed[f"{module}.set"] = _Call(set)
        allowed[f"{module}.frozenset"] = _Call(frozenset)
        allowed[f"{module}.complex"] = _Call(complex)
        allowed[f"{module}.bytearray"] = _Call(_bytearray)
    for storage, dtype in _STORAGES.items():
        allowed[f"torch.{storage}"] = storage
        allowed[f"torch.{dtype}"] = getattr(_C, dtype)
    return allowed


def _place(flat: Any, location: str, map_location: Any) -> Any:
    """Moves a storage to where `map_location` wants it (None: where it was saved)."""
    if isinstance(map_location, dict):
        map_location = map_location.get(location, location)
    elif callable(map_location) and not isinstance(map_location, _C.device):
        moved = map_location(flat, location)
        if moved is not None:
            return moved
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


class _Archive:
    """The entries of a zip file of PyTorch's layout."""

    def __init__(self, f: BinaryIO) -> None:
        import sys
        import zipfile

        start = f.tell()
        magic = f.read(4)
        f.seek(0, os.SEEK_END)
        self.file_size = f.tell() - start
        f.seek(start)
        if not magic:
            raise _BadFile("the file is empty")
        if magic[:2] != b"PK":
            raise _BadFile("it is not a zip archive as save() writes it (or its start is damaged)")
        try:
            self.zip = zipfile.ZipFile(f)
        except zipfile.BadZipFile as error:
            raise _BadFile(f"it is truncated or damaged ({error})") from None
        names = self.zip.namelist()
        pickles = [n for n in names if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(pickles) != 1:
            if any(n.endswith("/constants.pkl") for n in names):
                raise _BadFile("it is a TorchScript archive")
            raise _BadFile("it has no data.pkl")
        self.root = pickles[0][: -len("data.pkl")]
        if f"{self.root}byteorder" in names and self.read("byteorder") != sys.byteorder.encode():
            raise _BadFile("it was written on a machine of the other byte order")

    def size(self, name: str) -> int:
        """The entry's size, once it is clear that the file can hold that much."""
        try:
            info = self.zip.getinfo(self.root + name)
        except KeyError:
            raise _BadFile(f"it has no entry {name!r}") from None
        if info.compress_type != 0 or info.flag_bits & 1:
            raise _BadFile(f"entry {name!r} is compressed or encrypted")
        if info.file_size > self.file_size or info.file_size != info.compress_size:
            raise _BadFile(f"entry {name!r} claims {info.file_size} bytes, more than there are")
        return info.file_size

    def read(self, name: str) -> bytes:
        self.size(name)
        return self.zip.read(self.root + name)

    def read_into(self, name: str, target: memoryview) -> None:
        with self.zip.open(self.root + name) as entry:
            at = 0
            while at < len(target):
                n = entry.readinto(target[at : at + _CHUNK])  # type: ignore[attr-defined]
                if not n:
                    raise _BadFile(f"entry {name!r} is truncated")
                at += n
            entry.read(1)  # at the end, where the checksum is compared


def _unpickle(archive: _Archive, map_location: Any, weights_only: bool) -> Any:
    import pickle

    allowed = _allowed()
    storages: dict[str, _Loaded] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            full = f"{module}.{name}"
            if full in allowed:
                return allowed[full]
            if full in _safe_globals:
                return _safe_globals[full]
            if weights_only:
                raise pickle.UnpicklingError(
                    f"Weights only load failed. Unsupported global: GLOBAL {full} was not an "
                    "allowed global by default. If you trust the file, use weights_only=False, or "
                    "allow it by gradstep.serialization.add_safe_globals."
                )
            if module == "torch" or module.startswith("torch."):
                module = "gradstep" + module[len("torch") :]
            return super().find_class(module, name)

        def persistent_load(self, pid: Any) -> Any:
            if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
                raise _BadFile("it refers to something that is not a storage")
            _, kind, key, location, numel = pid
            if type(kind) is not str or kind not in _STORAGES or type(key) is not str:
                raise _BadFile(f"storage {key!r} has an unknown type")
            if type(location) is not str:
                raise _BadFile(f"storage {key!r} has no location")
            if key not in storages:
                storages[key] = self.read_storage(kind, key, location, numel)
            return storages[key]

        def read_storage(self, kind: str, key: str, location: str, numel: Any) -> _Loaded:
            dtype = getattr(_C, _STORAGES[kind])
            if type(numel) is not int or numel < 0:
                raise _BadFile(f"storage {key!r} has {numel!r} elements")
            entry = f"data/{key}"
            have = archive.size(entry)
            itemsize = dtype.itemsize
            if have != numel * itemsize:
                raise _BadFile(
                    f"storage {key!r} has {have} bytes where {numel} elements of {itemsize} bytes "
                    "were announced"
                )
            flat = _C.empty(numel, dtype=dtype, device="cpu")
            if numel:
                archive.read_into(entry, _bytes_of(flat))
            return _Loaded(_place(flat, location, map_location))

    return Unpickler(io.BytesIO(archive.read("data.pkl"))).load()


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what `save` (or torch.save) wrote.

    Only tensors, containers and plain values are built unless `weights_only=False`, which can run
    any code that the file contains. `map_location` is a device, a dict from saved to wanted
    locations, or a function of (1-d tensor, location). Raises RuntimeError for a file that is
    damaged, pickle.UnpicklingError for one that holds something else than weights.
    """
    import pickle
    import zipfile
    import zlib

    if not hasattr(f, "read"):
        with open(f, "rb") as opened:  # type: ignore[arg-type]
            return load(opened, map_location, weights_only=weights_only)
    name = getattr(f, "name", None)
    what = f"load: cannot read {name}" if isinstance(name, str) else "load: cannot read the file"
    if not (hasattr(f, "seekable") and f.seekable()):  # type: ignore[union-attr]
        f = io.BytesIO(f.read())  # type: ignore[union-attr]
    try:
        return _unpickle(_Archive(f), map_location, weights_only is not False)  # type: ignore[arg-type]
    except _BadFile as error:
        raise RuntimeError(f"{what}: {error}") from None
    except pickle.UnpicklingError as error:
        if "Weights only" in str(error):
            raise
        raise RuntimeError(f"{what}: its pickle is damaged ({error})") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise RuntimeError(f"{what}: it is truncated or damaged ({error})") from None
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        if weights_only is False:
            raise
        raise RuntimeError(f"{what}: its pickle is damaged ({error})") from None


# ---- safetensors ----

_SAFETENSORS = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            "safetensors files need the package safetensors: pip install safetensors"
        ) from None
    return safetensors


def save_safetensors(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes named tensors to a safetensors file, atomically; `metadata` maps str to str."""
    library = _safetensors()
    views, alive = {}, []  # alive: the library reads their memory by address
    for name, tensor in state_dict.items():
        if not isinstance(tensor, _C.Tensor):
            raise TypeError(f"save_safetensors: {name!r} is a {type(tensor).__name__}, no tensor")
        dtype = _dtype_name(tensor.dtype)
        if dtype not in _SAFETENSORS.values():
            raise TypeError(f"save_safetensors: {name!r} has dtype {dtype}")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        alive.append(flat)
        what = {"dtype": dtype, "shape": list(tensor.shape)}
        if hasattr(library, "TensorSpec"):
            place = {"data_ptr": flat.data_ptr(), "data_len": flat.numel() * flat.element_size()}
            views[name] = library.TensorSpec(**what, **place)
        else:  # safetensors before 0.8
            views[name] = {**what, "data": bytes(_bytes_of(flat)) if flat.numel() else b""}
    try:
        blob = library.serialize(views, metadata)
    except library.SafetensorError as error:
        raise RuntimeError(f"save_safetensors: {error}") from None
    with atomic_write(path) as out:
        out.write(blob)


def load_safetensors(path: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Any]:
    """The tensors of a safetensors file by name; RuntimeError if it is damaged."""
    import numpy as np

    library = _safetensors()
    with open(path, "rb") as f:
        blob = f.read()
    try:
        entries = library.deserialize(blob)
    except library.SafetensorError as error:
        raise RuntimeError(f"load_safetensors: cannot read {path}: {error}") from None
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _SAFETENSORS:
            raise RuntimeError(f"load_safetensors: {name!r} has dtype {entry['dtype']}")
        dtype = getattr(_C, _SAFETENSORS[entry["dtype"]])
        shape = tuple(entry["shape"])
        if 0 in shape:
            tensor = _C.empty(shape, dtype=dtype, device="cpu")
        else:
            raw = np.frombuffer(entry["data"], dtype=np.uint8)
            tensor = _C.empty(raw.size, dtype=_C.uint8, device="cpu")
            tensor.numpy()[:] = raw
            tensor = tensor.view(dtype).reshape(shape)
        tensors[name] = tensor.to(device)
    return tensors
