# SPDX-License-Identifier: Apache-2.0
"""Copies of views, and tensors with one view of them replaced."""

import functools
from typing import Any

from gradstep import _C
from gradstep._C import Tensor


def _fresh(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.clone(memory_format=_C.contiguous_format)
    return tuple(_fresh(r) for r in result)


def _copying(name: str, view: Any) -> Any:
    @functools.wraps(view)
    def copy(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = _fresh(view(*args, **kwargs))
        if out is None:
            return result
        if isinstance(result, Tensor):
            return out.resize_(result.shape).copy_(result)
        for o, r in zip(out, result, strict=True):
            o.resize_(r.shape).copy_(r)
        return None

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"{name}: the result of {name.removesuffix('_copy')} in memory of its own."
    return copy


def _slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    return input[(slice(None),) * _axis(input, dim) + (slice(start, end, step),)]


def _axis(input: Tensor, dim: int) -> int:
    n = max(input.dim(), 1)
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim % n


alias_copy = _copying("alias_copy", lambda input: input)
as_strided_copy = _copying("as_strided_copy", _C.as_strided)
detach_copy = _copying("detach_copy", Tensor.detach)
diagonal_copy = _copying("diagonal_copy", _C.diagonal)
expand_copy = _copying("expand_copy", lambda input, size, *, implicit=False: input.expand(size))
narrow_copy = _copying("narrow_copy", _C.narrow)
permute_copy = _copying("permute_copy", _C.permute)
select_copy = _copying("select_copy", Tensor.select)
slice_copy = _copying("slice_copy", _slice)
split_copy = _copying("split_copy", _C.split)
split_with_sizes_copy = _copying("split_with_sizes_copy", Tensor.split_with_sizes)
squeeze_copy = _copying("squeeze_copy", _C.squeeze)
t_copy = _copying("t_copy", _C.t)
transpose_copy = _copying("transpose_copy", _C.transpose)
unbind_copy = _copying("unbind_copy", _C.unbind)
unfold_copy = _copying("unfold_copy", Tensor.unfold)
unsqueeze_copy = _copying("unsqueeze_copy", _C.unsqueeze)
view_copy = _copying("view_copy", Tensor.view)

unsafe_chunk = _C.chunk
unsafe_split = _C.split
unsafe_split_with_sizes = Tensor.split_with_sizes


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """input, resized in place to the shape of a template."""
    return input.resize_as_(the_template, memory_format=memory_format)


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The conjugate: a copy, as all tensors are real."""
    return input.clone() if out is None else out.copy_(input)


def resolve_conj(input: Tensor) -> Tensor:
    """input itself: real tensors have no pending conjugation."""
    return input


def resolve_neg(input: Tensor) -> Tensor:
    """input itself: no tensor has a pending sign."""
    return input


# ---- one view replaced ----


def _replaced(input: Tensor, src: Tensor, view: Any) -> Tensor:
    out = input.clone()
    place = view(out)
    if place.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
            f"slice size = {list(place.shape)}"
        )
    place.copy_(src)
    return out


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of input whose elements at an as_strided view are src's.

    Shape: input (*), src as the part that it replaces; the result as input.
    Raises: RuntimeError where src does not have the shape of that part.
    """
    offset = input.storage_offset() if storage_offset is None else storage_offset
    return _replaced(input, src, lambda x: x.as_strided(size, stride, offset))


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of input with src on a diagonal.

    Shape: input (*), src as the part that it replaces; the result as input.
    Raises: RuntimeError where src does not have the shape of that part.
    """
    return _replaced(input, src, lambda x: x.diagonal(offset, dim1, dim2))


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with src at one index of an axis.

    Shape: input (*), src as the part that it replaces; the result as input.
    Raises: RuntimeError where src does not have the shape of that part.
    """
    return _replaced(input, src, lambda x: x.select(dim, index))


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of input with src in a slice of an axis.

    Shape: input (*), src as the part that it replaces; the result as input.
    Raises: RuntimeError where src does not have the shape of that part.
    """
    return _replaced(input, src, lambda x: _slice(x, dim, start, end, step))


# ---- shapes and strides ----


def new_empty_strided(
    input: Tensor,
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """An uninitialised tensor of given strides, of input's dtype and device."""
    return _C.empty_strided(
        size,
        stride,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def empty_permuted(size: Any, physical_layout: Any, **options: Any) -> Tensor:
    """An uninitialised tensor whose axes lie in memory in the order of physical_layout, outermost first."""
    if sorted(physical_layout) != list(range(len(size))):
        if len(physical_layout) != len(size):
            raise RuntimeError(
                "Number of dimensions in the sizes does not match the length of the physical_layout; i.e. "
                f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(physical_layout)}"
            )
        raise RuntimeError(f"physical_layout {list(physical_layout)} is not a permutation of axes")
    memory = _C.empty([size[d] for d in physical_layout], **options)
    return memory.permute([list(physical_layout).index(d) for d in range(len(size))])


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """Pads the last axes with a constant; pad counts from the last axis, two numbers each."""
    return _C.pad(input, list(pad), "constant", value)


def _chunk_cat(tensors: Any, dim: int, num_chunks: int, *, out: Tensor | None = None) -> Tensor:
    """Each tensor cut into chunks along an axis (padded with zeros to a multiple), their flattened rows side by side."""
    if not tensors:
        raise RuntimeError("_chunk_cat expects a non-empty input tensor list")
    if num_chunks < 1:
        raise RuntimeError("_chunk_cat expects positive num_chunks")
    if any(t.numel() == 0 for t in tensors):
        raise RuntimeError("_chunk_cat expects non-empty tensor")
    first = tensors[0]
    axis = _axis(first, dim)
    rows = []
    for t in tensors:
        if t.shape[:axis] != first.shape[:axis]:
            raise RuntimeError(
                "_chunk_cat expects same sizes of 0,...,dim-1 dimensions for all tensors"
            )
        lacking = -t.shape[axis] % num_chunks
        if lacking:
            t = _C.pad(t, [0, 0] * (t.dim() - axis - 1) + [0, lacking])
        rows.append(t.reshape(*t.shape[:axis], num_chunks, -1))
    result = _C.cat(rows, -1)
    return result if out is None else out.resize_(result.shape).copy_(result)
