# SPDX-License-Identifier: Apache-2.0
"""`FloatTensor(..)` and its kin, and those of `torch.cuda`: old constructors of a fixed dtype and device."""

from typing import Any

from gradstep import _C

NAMES = {
    "FloatTensor": _C.float32,
    "DoubleTensor": _C.float64,
    "HalfTensor": _C.float16,
    "BFloat16Tensor": _C.bfloat16,
    "LongTensor": _C.int64,
    "IntTensor": _C.int32,
    "ShortTensor": _C.int16,
    "CharTensor": _C.int8,
    "ByteTensor": _C.uint8,
    "BoolTensor": _C.bool,
}


class _Meta(type):
    _dtype: Any
    _device: str

    def __instancecheck__(cls, obj: Any) -> bool:
        return (
            isinstance(obj, _C.Tensor)
            and obj.dtype is cls._dtype
            and obj.device.type == cls._device
        )


def _new(cls: Any, *args: Any, device: Any = None) -> Any:
    where = {"dtype": cls._dtype, "device": cls._device}
    if not args:
        return _C.empty(0, **where)
    if all(isinstance(a, int) for a in args):
        return _C.empty(*args, **where)
    if isinstance(args[0], _C.Size):
        return _C.empty(args[0], **where)
    return _C.tensor(args[0], **where)


def make_types(module: str, device: str) -> dict[str, Any]:
    """The classes by name, as they are found in `module`."""
    return {
        name: _Meta(
            name,
            (),
            {
                "__new__": _new,
                "_dtype": dtype,
                "_device": device,
                "dtype": dtype,
                "is_cuda": device == "cuda",
                "__module__": module,
            },
        )
        for name, dtype in NAMES.items()
    }


globals().update(make_types("torch", "cpu"))
