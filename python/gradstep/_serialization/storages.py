# SPDX-License-Identifier: Apache-2.0
"""PyTorch's names of typed storages, and what a view needs of its storage."""

from __future__ import annotations

from typing import Any

from gradstep import _C

# As they stand in files.
STORAGES = {
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
STORAGE_OF = {dtype: storage for storage, dtype in STORAGES.items()}
UNTYPED = "UntypedStorage"  # bytes
MISSING_STORAGES = {
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt32Storage": "qint32",
    "QInt8Storage": "qint8",
    "QUInt2x4Storage": "quint2x4",
    "QUInt4x2Storage": "quint4x2",
    "QUInt8Storage": "quint8",
}
# Dtypes of PyTorch that gradstep has not.
MISSING_DTYPES = frozenset(
    "complex32 complex64 complex128 uint16 uint32 uint64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz "
    "float8_e8m0fnu float4_e2m1fn_x2 qint8 qint32 quint8 quint2x4 quint4x2".split()
)


def dtype_name(dtype: Any) -> str:
    """ "float32" of torch.float32."""
    return str(dtype).rpartition(".")[2]


def extent(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """The number of storage elements that a view needs, counted from the storage's start."""
    if 0 in size:
        return 0
    return offset + 1 + sum((n - 1) * step for n, step in zip(size, stride))


def bytes_of(tensor: Any) -> memoryview:
    """The memory of a contiguous 1-d CPU tensor."""
    return memoryview(tensor.detach().view(_C.uint8).numpy())
