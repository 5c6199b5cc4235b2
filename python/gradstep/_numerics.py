# SPDX-License-Identifier: Apache-2.0
"""`finfo` and `iinfo`: the limits of the number types; `broadcast_shapes`."""

from typing import Any

from gradstep import _C


class finfo:
    """Limits of a floating type: bits, eps, max, min, tiny, smallest_normal, resolution."""

    __slots__ = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: Any = None) -> None:
        dtype = _C.get_default_dtype() if type is None else type
        if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{dtype}'"
            )
        self.dtype = repr(dtype).partition(".")[2]
        fraction, largest_exponent, self.bits = {
            "float16": (10, 15, 16),
            "bfloat16": (7, 127, 16),
            "float32": (23, 127, 32),
            "float64": (52, 1023, 64),
        }[self.dtype]
        self.eps = 2.0**-fraction
        self.max = (2.0 - self.eps) * 2.0**largest_exponent
        self.min = -self.max
        self.tiny = self.smallest_normal = 2.0 ** (1 - largest_exponent)
        self.resolution = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-15}[
            self.dtype
        ]

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer type: bits, max, min."""

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: Any) -> None:
        if not isinstance(type, _C.dtype) or type.is_floating_point or type is _C.bool:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'"
            )
        self.dtype = repr(type).partition(".")[2]
        self.bits = 8 * type.itemsize
        signed = type.is_signed
        self.max = 2 ** (self.bits - signed) - 1
        self.min = -(2 ** (self.bits - 1)) if signed else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def broadcast_shapes(*shapes: Any) -> _C.Size:
    """The shape that tensors of these shapes (ints or sequences of ints) have together.

    RuntimeError for sizes that do not fit, ValueError for negative ones.
    """
    found = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    result = [1] * max((len(shape) for shape in found), default=0)
    for index, shape in enumerate(found):
        for at in range(-1, -1 - len(shape), -1):
            if shape[at] < 0:
                raise ValueError("Attempting to broadcast a dimension with negative length!")
            if shape[at] == 1 or shape[at] == result[at]:
                continue
            if result[at] != 1:
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {shape[at]} at {at}! Mismatching "
                    f"argument at index {index} had {shape}; but expected shape should be broadcastable "
                    f"to {result}"
                )
            result[at] = shape[at]
    return _C.Size(result)
