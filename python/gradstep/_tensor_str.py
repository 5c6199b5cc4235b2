# SPDX-License-Identifier: Apache-2.0
"""The text of a tensor, character by character what PyTorch prints.

tensor_repr(t) is called by the Tensor type; set_printoptions() changes precision, threshold,
edgeitems, linewidth and sci_mode. Reads a tensor through shape, dtype, slices and tolist() only.
May include: the engine only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from gradstep import _C


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}
PRINT_OPTS = _options = _Options()  # PyTorch's name, which library code reads


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; what is None stays, but sci_mode=None means automatic.

    precision: digits after the point. threshold: the number of elements above which only
    `edgeitems` at each end of a dimension are shown. linewidth: characters in a line.
    profile: "default", "short" or "full".
    """
    if profile is not None:
        for name, value in asdict(_PROFILES[profile]).items():
            setattr(_options, name, value)
    given = {"precision": precision, "threshold": threshold}
    given |= {"edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments of set_printoptions()."""
    return asdict(_options)


@contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Set options for a with block."""
    before = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**before)


# ---- numbers ----


class _Formatter:
    """The one format of all elements (integers with a point, fixed or scientific), one width."""

    def __init__(self, values: list[Any], floating: bool) -> None:
        self.floating = floating
        self.integral = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        finite = [v for v in values if v != 0 and math.isfinite(v)]
        if not finite:
            return
        low, high = min(map(abs, finite)), max(map(abs, finite))
        self.integral = all(v == math.ceil(v) for v in finite)
        if _options.sci_mode is None:
            self.scientific = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
        else:
            self.scientific = _options.sci_mode
        self.width = max(1, *(len(self._number(v)) for v in finite))

    def _number(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if self.integral:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{_options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self._number(value).rjust(self.width)


# ---- elements ----

_GAP = object()  # stands for elements that are left out


def _nested(t: Any, summarize: bool) -> Any:
    """The elements to show as nested lists, with _GAP where some are left out."""
    if t.dim() == 0:
        return t.item()
    edge = _options.edgeitems
    n = t.shape[0]
    left_out = summarize and n > 2 * edge
    if t.dim() == 1:
        if summarize and edge == 0:
            return [_GAP]
        return [*t[:edge].tolist(), _GAP, *t[n - edge :].tolist()] if left_out else t.tolist()
    if not left_out:
        return t.tolist() if not summarize else [_nested(t[i], True) for i in range(n)]
    head = [_nested(t[i], True) for i in range(edge)]
    return [*head, _GAP, *(_nested(t[i], True) for i in range(n - edge, n))]


def _flat(nested: Any) -> Iterator[Any]:
    if isinstance(nested, list):
        for part in nested:
            yield from _flat(part)
    elif nested is not _GAP:
        yield nested


def _vector(values: list[Any], indent: int, form: _Formatter) -> str:
    gap = " ..." if _options.edgeitems else "..."
    items = [gap if v is _GAP else form(v) for v in values]
    per_line = max(1, (_options.linewidth - indent) // (form.width + 2))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _layout(nested: Any, dim: int, indent: int, form: _Formatter) -> str:
    if dim == 0:
        return form(nested)
    if dim == 1:
        return _vector(nested, indent, form)
    parts = ["..." if p is _GAP else _layout(p, dim - 1, indent + 1, form) for p in nested]
    return "[" + ("," + "\n" * (dim - 1) + " " * (indent + 1)).join(parts) + "]"


def _tensor_str(self: Any, indent: int) -> str:
    """The elements between their brackets, as library code prints them."""
    return _contents(self.detach(), indent)


def _contents(t: Any, indent: int) -> str:
    if t.numel() == 0:
        return "[]"
    nested = _nested(t, t.numel() > _options.threshold)
    # As in PyTorch, without edge items nothing is looked at to choose the format.
    values = list(_flat(nested))
    return _layout(nested, t.dim(), indent, _Formatter(values, t.dtype.is_floating_point))


# ---- the whole ----


def _suffixes(t: Any) -> list[str]:
    out = []
    if t.device.type != "cpu":
        out.append(f"device='{t.device}'")
    default = _C.get_default_dtype()
    size = "size=" + str(tuple(t.shape))
    if t.numel() == 0:
        if t.dim() != 1:
            out.append(size)
        if t.dtype != default:
            out.append(f"dtype={t.dtype}")
    else:
        if not _options.edgeitems:
            out.append(size)
        if t.dtype not in (default, _C.int64, _C.bool):
            out.append(f"dtype={t.dtype}")
    try:
        grad_fn = t.grad_fn
        name = None if grad_fn is None else type(grad_fn).__name__
        if name == "Node":
            name = grad_fn.name()
    except RuntimeError:
        name = "Invalid"
    if name is not None:
        out.append(f"grad_fn=<{name}>")
    elif t.requires_grad:
        out.append("requires_grad=True")
    return out


def _join(text: str, suffixes: list[str], indent: int) -> str:
    last = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if last + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            last = indent + len(suffix)
        else:
            text += ", " + suffix
            last += len(suffix) + 2
    return text + ")"


def tensor_repr(t: Any) -> str:
    """repr(t): `tensor([1., 2.], requires_grad=True)`."""
    kind = type(t).__name__
    prefix = "tensor(" if kind in ("Tensor", "Parameter") else f"{kind}("
    contents = _contents(t.detach(), len(prefix))
    return _join(prefix + contents, _suffixes(t), len(prefix))
