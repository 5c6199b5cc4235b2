# SPDX-License-Identifier: Apache-2.0
"""`FloatTensor(..)` and its kin: old constructors of a fixed dtype."""

from typing import Any

from gradstep import _C


class _Meta(type):
    def __instancecheck__(cls, obj: Any) -> bool:
        return isinstance(obj, _C.Tensor) and obj.dtype is cls._dtype  # type: ignore[attr-defined]


def _make(name: str, dtype: Any) -> Any:
    def new(cls: Any, *args: Any, device: Any = None) -> Any:
        if not args:
            return _C.empty(0, dtype=dtype, device="cpu")
        if all(isinstance(a, int) for a in args):
            return _C.empty(*args, dtype=dtype, device="cpu")
        if isinstance(args[0], _C.Size):
            return _C.empty(args[0], dtype=dtype, device="cpu")
        return _C.tensor(args[0], dtype=dtype, device="cpu")

    return _Meta(name, (), {"__new__": new, "_dtype": dtype, "dtype": dtype, "__module__": "torch"})


FloatTensor = _make("FloatTensor", _C.float32)
DoubleTensor = _make("DoubleTensor", _C.float64)
HalfTensor = _make("HalfTensor", _C.float16)
BFloat16Tensor = _make("BFloat16Tensor", _C.bfloat16)
LongTensor = _make("LongTensor", _C.int64)
IntTensor = _make("IntTensor", _C.int32)
ShortTensor = _make("ShortTensor", _C.int16)
CharTensor = _make("CharTensor", _C.int8)
ByteTensor = _make("ByteTensor", _C.uint8)
BoolTensor = _make("BoolTensor", _C.bool)
