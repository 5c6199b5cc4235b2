# SPDX-License-Identifier: Apache-2.0
"""Named tensors in the safetensors format, through the package safetensors (imported when first used)."""

from __future__ import annotations

import os
from typing import Any

from gradstep import _C

from .atomic import atomic_write
from .storages import bytes_of, dtype_name

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
        dtype = dtype_name(tensor.dtype)
        if dtype not in _SAFETENSORS.values():
            raise TypeError(f"save_safetensors: {name!r} has dtype {dtype}")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        alive.append(flat)
        what = {"dtype": dtype, "shape": list(tensor.shape)}
        if hasattr(library, "TensorSpec"):
            place = {"data_ptr": flat.data_ptr(), "data_len": flat.numel() * flat.element_size()}
            views[name] = library.TensorSpec(**what, **place)
        else:  # safetensors before 0.8
            views[name] = {**what, "data": bytes(bytes_of(flat)) if flat.numel() else b""}
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
