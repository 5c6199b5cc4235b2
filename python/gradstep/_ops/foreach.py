# SPDX-License-Identifier: Apache-2.0
"""`torch._foreach_*`: an op for each of a list of tensors, one after the other."""

from typing import Any

from gradstep import _C
from gradstep._C import Tensor

_UNARY = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal round "
    "rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"
).split()
_BINARY = {
    "add": "add", "clamp_max": "minimum", "clamp_min": "maximum", "div": "div", "maximum": "maximum",
    "minimum": "minimum", "mul": "mul", "pow": "pow", "sub": "sub",
}  # fmt: skip


def _check(lists: list[Any]) -> None:
    if not lists[0]:
        raise RuntimeError("Tensor list must have at least one tensor.")
    for other in lists[1:]:
        if len(other) != len(lists[0]):
            raise RuntimeError(
                f"Tensor lists must have the same number of tensors, got {len(lists[0])} and {len(other)}"
            )


def _each(n: int, value: Any) -> list[Any]:
    """A list of n: a list or tuple as it is, one number or tensor for all."""
    return list(value) if isinstance(value, (list, tuple)) else [value] * n


def _finish(tensors: Any, results: list[Tensor], in_place: bool) -> Any:
    if not in_place:
        return tuple(results)
    for t, r in zip(tensors, results, strict=True):
        t.copy_(r)
    return None


def _unary(name: str, in_place: bool) -> Any:
    op = getattr(Tensor, name + "_" if in_place else name)

    def function(self: Any) -> Any:
        _check([self])
        results = [op(t) for t in self]
        return None if in_place else tuple(results)

    return function


def _binary(name: str, in_place: bool) -> Any:
    op = getattr(_C, _BINARY[name])

    def function(self: Any, other: Any, *, alpha: Any = 1) -> Any:
        _check([self, *([other] if isinstance(other, (list, tuple)) else [])])
        if name == "pow" and not isinstance(self, (list, tuple)):
            return tuple(op(self, e) for e in other)
        others = _each(len(self), other)
        if alpha != 1:
            others = [alpha * o for o in others]
        if name.startswith(("clamp", "m")) and name != "mul":
            others = [
                o if isinstance(o, Tensor) else t.new_tensor(o)
                for t, o in zip(self, others, strict=True)
            ]
        return _finish(self, [op(t, o) for t, o in zip(self, others, strict=True)], in_place)

    return function


def _ternary(name: str, in_place: bool) -> Any:
    op = getattr(_C, name)

    def function(
        self: Any, tensor1: Any, tensor2: Any, scalars: Any = None, *, value: Any = 1
    ) -> Any:
        _check([self, tensor1, tensor2])
        if isinstance(scalars, Tensor):
            scalars = scalars.tolist()
        values = _each(len(self), value if scalars is None else scalars)
        parts = zip(self, tensor1, tensor2, values, strict=True)
        return _finish(self, [op(t, a, b, value=v) for t, a, b, v in parts], in_place)

    return function


def _lerp(in_place: bool) -> Any:
    def function(self: Any, tensors1: Any, weight: Any) -> Any:
        _check([self, tensors1])
        parts = zip(self, tensors1, _each(len(self), weight), strict=True)
        return _finish(self, [_C.lerp(t, e, w) for t, e, w in parts], in_place)

    return function


def _copy(self: Any, src: Any, non_blocking: bool = False) -> None:
    _check([self, src])
    for t, s in zip(self, src, strict=True):
        t.copy_(s, non_blocking)


def _zero(self: Any) -> None:
    _check([self])
    for t in self:
        t.zero_()


def _norm(self: Any, ord: Any = 2, dtype: Any = None) -> Any:
    _check([self])
    return tuple(_C.linalg_vector_norm(t if dtype is None else t.to(dtype), ord) for t in self)


_OTHERS = {
    "clone": lambda self: tuple(t.clone() for t in self),
    "copy_": _copy,
    "lerp": _lerp(False),
    "lerp_": _lerp(True),
    "max": lambda self: tuple(t.max() for t in self),
    "mm": lambda self, mat2: tuple(_C.mm(a, b) for a, b in zip(self, mat2, strict=True)),
    "norm": _norm,
    "zero_": _zero,
}


def find(name: str) -> Any:
    """The function of that name, None where there is none."""
    rest = name.removeprefix("_foreach_")
    plain = rest.removesuffix("_")
    if rest in _OTHERS:
        made = _OTHERS[rest]
    elif plain in _UNARY:
        made = _unary(plain, plain != rest)
    elif plain in _BINARY:
        made = _binary(plain, plain != rest)
    elif plain in ("addcdiv", "addcmul"):
        made = _ternary(plain, plain != rest)
    else:
        return None
    made.__name__ = made.__qualname__ = name
    return made
