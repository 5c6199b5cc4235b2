# SPDX-License-Identifier: Apache-2.0
"""`torch.masked`: reductions and normalisations over the elements where a mask is true."""

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip


def _mask(input: Tensor, mask: Tensor | None) -> Tensor | None:
    if mask is None:
        return None
    if mask.dim() > input.dim():
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)"
        )
    return mask.to(_C.bool).expand(input.shape)


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """input with a value that doesn't count where the mask is false."""
    mask = _mask(input, mask)
    return (
        input
        if mask is None
        else _C.where(mask, input, _C.full((), value, dtype=input.dtype, device=input.device))
    )


def _axes(input: Tensor, dim: Any) -> list[int]:
    n = max(input.dim(), 1)
    dims = (
        range(input.dim()) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    )
    axes: list[int] = []
    for d in dims:
        if not -n <= d < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
            )
        if d % n in axes:
            raise RuntimeError(f"dim={d % n} appears multiple times in the list of dims")
        axes.append(d % n)
    return axes


def _wide(input: Tensor, dtype: Any) -> Any:
    """The dtype of sums."""
    if dtype is not None:
        return dtype
    return input.dtype if input.dtype.is_floating_point else _C.int64


def _extreme(input: Tensor, highest: bool) -> Any:
    if input.dtype.is_floating_point:
        return math.inf if highest else -math.inf
    if input.dtype is _C.bool:
        return highest
    from gradstep import iinfo

    return iinfo(input.dtype).max if highest else iinfo(input.dtype).min


def _count(input: Tensor, dim: Any, keepdim: Any, mask: Tensor | None) -> Tensor:
    ones = _C.ones(input.shape, dtype=_C.int64, device=input.device)
    return sum(ones, dim, keepdim=keepdim, mask=mask)


def sum(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The sum of the elements where mask is true."""
    x = _filled(input.to(_wide(input, dtype)), mask, 0)
    axes = _axes(input, dim)
    return x.sum(axes, keepdim=bool(keepdim)) if input.dim() else x.sum()


def prod(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The product of the elements where mask is true."""
    x = _filled(input.to(_wide(input, dtype)), mask, 1)
    for d in sorted(_axes(input, dim), reverse=True):
        x = x.prod(d, keepdim=bool(keepdim))
    return x


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running sums in which masked elements are 0."""
    return _filled(input, mask, 0).cumsum(dim, dtype=dtype or input.dtype)


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running products in which masked elements are 1."""
    return _filled(input, mask, 1).cumprod(dim, dtype=dtype or input.dtype)


def amax(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The largest of the elements where mask is true."""
    x = input if dtype is None else input.to(dtype)
    return _filled(x, mask, _extreme(x, False)).amax(_axes(input, dim), bool(keepdim))


def amin(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The smallest of the elements where mask is true."""
    x = input if dtype is None else input.to(dtype)
    return _filled(x, mask, _extreme(x, True)).amin(_axes(input, dim), bool(keepdim))


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The place of the largest element where mask is true, in input's dtype (as in PyTorch)."""
    x = input if dtype is None else input.to(dtype)
    return _filled(x, mask, _extreme(x, False)).argmax(dim, bool(keepdim)).to(x.dtype)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The place of the smallest element where mask is true, in input's dtype (as in PyTorch)."""
    x = input if dtype is None else input.to(dtype)
    return _filled(x, mask, _extreme(x, True)).argmin(dim, bool(keepdim)).to(x.dtype)


def mean(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of the elements where mask is true, NaN where there are none."""
    dtype = dtype or input.dtype
    if not dtype.is_floating_point:
        raise TypeError(f"mean expects floating point dtypes, got {dtype}")
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, dim, keepdim, mask)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The lower median of the elements where mask is true, NaN where there are none."""
    x = input if dtype is None else input.to(dtype)
    if not x.dtype.is_floating_point:
        raise ValueError(f"masked_median expects inputs with floating point type, got {x.dtype}")
    if mask is None:
        return x.median(dim, keepdim)[0]
    filled = _filled(x, mask, math.nan)
    if bool((x.isnan() & _mask(x, mask)).any().item()):
        raise ValueError("masked median expects no fully masked out rows or nan")
    return filled.nanmedian(dim, keepdim)[0]


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Any = None,
    *,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The vector norm of the elements where mask is true."""
    order = 2.0 if ord is None else float(ord)
    x = _filled(
        input if dtype is None else input.to(dtype), mask, math.inf if order == -math.inf else 0.0
    )
    return _C.linalg_vector_norm(x, order, _axes(input, dim), bool(keepdim))


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    *,
    correction: Any = None,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The variance of the elements where mask is true."""
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    dtype = dtype or (input.dtype if input.dtype.is_floating_point else _C.float32)
    x = input.to(dtype)
    n = _count(input, dim, True, mask)
    centred = _filled(x - sum(x, dim, keepdim=True, mask=mask) / n, mask, 0)
    total = sum(centred * centred, dim, keepdim=keepdim)
    count = n if keepdim else n.reshape(total.shape)
    return total / (count - correction).clamp(min=0).to(dtype)


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    *,
    correction: Any = None,
    keepdim: Any = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The square root of var."""
    return var(
        input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
    ).sqrt()


def logsumexp(
    input: Tensor,
    dim: Any = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The logarithm of the sum of exponentials where mask is true."""
    x = input if dtype is None else input.to(dtype)
    return _C.logsumexp(_filled(x, mask, _extreme(x, False)), _axes(input, dim), keepdim).to(
        x.dtype
    )


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: Any = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """log(exp(input) + exp(other)), without the terms whose mask is false."""
    x, y = (t if dtype is None else t.to(dtype) for t in (input, other))
    return _C.logaddexp(_filled(x, input_mask, -math.inf), _filled(y, other_mask, -math.inf))


def _normalised(
    fn: Any, input: Tensor, dim: int, dtype: Any, mask: Tensor | None, fill: float
) -> Tensor:
    x = input if dtype is None else input.to(dtype)
    return fn(_filled(x, mask, fill), dim)


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """softmax over the elements where mask is true."""
    return _normalised(_C.softmax, input, dim, dtype, mask, -math.inf)


def log_softmax(
    input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """log_softmax over the elements where mask is true."""
    return _normalised(_C.log_softmax, input, dim, dtype, mask, -math.inf)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """softmin over the elements where mask is true."""
    return _normalised(lambda x, d: _C.softmax(-x, d), input, dim, dtype, mask, math.inf)


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The elements where mask is true, divided by their norm (at least eps) along an axis."""
    x = input if dtype is None else input.to(dtype)
    length = norm(x, ord, dim, keepdim=True, mask=mask).clamp(min=eps)
    return _filled(x, mask, 0) / length
